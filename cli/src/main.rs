//! The `fcm` command: calibrates transforms, encodes and decodes files of features, and looks into both.
//!
//! Results go to standard output, as text or with `--json` as exactly one JSON object; errors, warnings and progress to standard error.
//! Exit status: 0 done, 1 failed, 2 wrong use, 130 interrupted.
#![forbid(unsafe_code)]

mod commands;
mod feature_file;
mod output;
mod progress;
mod report;
mod stream_file;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Feature coding for machines: compresses the feature tensors of split neural networks.
///
/// Feature files are .npz (NumPy) or .safetensors: one array a layer, [T,C,H,W] or [C,H,W] feature maps, [T,C] or [C]
/// vectors, of f16 or f32 values.
#[derive(Parser)]
#[command(name = "fcm", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Calibrate(commands::calibrate::Arguments),
    Encode(commands::encode::Arguments),
    Decode(commands::decode::Arguments),
    Info(commands::info::Arguments),
    Compare(commands::compare::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = progress::catch_interrupts().and_then(|()| match arguments.command {
        Command::Calibrate(a) => commands::calibrate::run(&a),
        Command::Encode(a) => commands::encode::run(&a),
        Command::Decode(a) => commands::decode::run(&a),
        Command::Info(a) => commands::info::run(&a),
        Command::Compare(a) => commands::compare::run(&a),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fcm: error: {error:#}");
            if progress::interrupted() { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}
