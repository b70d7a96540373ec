//! `fcm-eval features`: what the front half makes of a sequence, as a file for the `fcm` command.

use super::{CacheOptions, NetworkOptions, cores, print};
use crate::accuracy::Truth;
use crate::calibration::Calibration;
use crate::evaluate::Prepared;
use crate::npz;
use crate::sequence::{Reading, Sequence};
use anyhow::Result;
use serde_json::json;
use std::path::PathBuf;

/// Write the front half's features of a sequence as .npz, for `fcm calibrate` and `fcm encode`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Sequence: a folder with seqinfo.ini, img1/ and gt/gt.txt
    #[arg(value_name = "SEQUENCE")]
    sequence: PathBuf,
    #[command(flatten)]
    network: NetworkOptions,
    /// Use the first N frames
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    frames: Option<u32>,
    /// Feature file to write, binary16
    #[arg(short, long, value_name = "F.npz")]
    output: PathBuf,
    #[command(flatten)]
    cache: CacheOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When something cannot be read or written, or the network fails.
pub fn run(arguments: &Arguments) -> Result<()> {
    let network = arguments.network.network()?;
    let cache = arguments.cache.cache();
    // Features need no ground truth.
    let reading = Reading { truth: Truth::Uncompressed, ..Reading::default() };
    let sequence = Sequence::open(&arguments.sequence, arguments.frames.map(|n| n as usize), reading)?;
    let threads = cores();
    let calibrated = Calibration::None.get(&arguments.sequence, &[], &network, threads, &cache)?;
    let prepared = Prepared::new(sequence, calibrated, &network, threads, &cache)?;
    npz::write(&prepared.features, &arguments.output)?;
    let layers: Vec<String> =
        prepared.features.layout().layers().iter().map(|l| format!("{} {}", l.name, l.shape)).collect();
    let frames = prepared.features.frames();
    print(&if arguments.json {
        json!({"output": arguments.output, "frames": frames, "layers": layers}).to_string()
    } else {
        format!("{}: {frames} frames of {}", arguments.output.display(), layers.join(", "))
    })
}
