//! `fcm-eval compare`: what a change is worth.

use super::print;
use crate::report::{Report, compare};
use anyhow::Result;
use std::path::PathBuf;

/// Compare two results of `fcm-eval run`: the BD-rate of every chain of B against the same chain of A.
#[derive(clap::Args)]
pub struct Arguments {
    /// Result before
    #[arg(value_name = "A.json")]
    before: PathBuf,
    /// Result after
    #[arg(value_name = "B.json")]
    after: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When a file is no result, or the two have nothing in common.
pub fn run(arguments: &Arguments) -> Result<()> {
    let comparison = compare(&Report::read(&arguments.before)?, &Report::read(&arguments.after)?)?;
    print(&if arguments.json { serde_json::to_string(&comparison)? } else { comparison.text() })
}
