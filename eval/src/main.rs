//! The `fcm-eval` command: how good a network's task is done from what a chain sends, against the rate of it.
//!
//! Results go to files and to standard output, as text or with `--json` as exactly one JSON object; errors, warnings and progress to
//! standard error. Exit status: 0 done, 1 failed, 2 wrong use, 130 interrupted. docs/evaluation.md explains chains and measures.
#![forbid(unsafe_code)]

mod accuracy;
mod cache;
mod calibration;
mod chains;
mod commands;
mod evaluate;
mod features;
mod folder;
mod network;
mod npz;
mod output;
mod patchwork;
mod progress;
mod report;
mod sequence;
#[cfg(test)]
mod tests;
mod video;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Rate against task accuracy of feature coding.
///
/// Sequences are folders in the layout of MOTChallenge: seqinfo.ini, img1/, gt/gt.txt.
#[derive(Parser)]
#[command(name = "fcm-eval", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(Box<commands::run::Arguments>),
    Compare(commands::compare::Arguments),
    Features(commands::features::Arguments),
    Calibrate(commands::calibrate::Arguments),
    Tracker(commands::tracker::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = progress::catch_interrupts().and_then(|()| match arguments.command {
        Command::Run(a) => commands::run::run(&a),
        Command::Compare(a) => commands::compare::run(&a),
        Command::Features(a) => commands::features::run(&a),
        Command::Calibrate(a) => commands::calibrate::run(&a),
        Command::Tracker(a) => commands::tracker::run(&a),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fcm-eval: error: {error:#}");
            if progress::interrupted() { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}
