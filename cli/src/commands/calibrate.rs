//! `fcm calibrate`: learns a transform from features.

use super::read_transform;
use crate::feature_file::{FeatureReader, Values};
use crate::output::OutputFile;
use crate::progress::{Progress, warn};
use crate::report::{self, Table};
use anyhow::{Context, Result, ensure};
use fcm_codec::reduction::calibrate::Calibrator;
use fcm_codec::{Limits, TensorRef, Transform};
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// Components kept when nothing else was asked for; more cost time and hold next to nothing in the networks measured.
const DEFAULT_COMPONENTS: u32 = 640;
/// Vectors a dimension below which a basis follows its samples rather than the network.
const ENOUGH: u64 = 10;
/// Component counts of the printed table.
const COUNTS: [u32; 13] = [1, 4, 16, 32, 64, 128, 256, 384, 512, 640, 1024, 2048, 4096];

/// Learn a transform (.fcmt) from feature files: the Karhunen-Loeve basis of all their frames.
///
/// Varied frames make a better transform than many alike. The files must have layers of the same shapes, or of shapes with the same ratios
/// (another resolution of the same network).
#[derive(clap::Args)]
pub struct Arguments {
    /// Feature files (.npz, .safetensors)
    #[arg(required = true, value_name = "A.npz")]
    inputs: Vec<PathBuf>,
    /// Transform file to write
    #[arg(short, long, value_name = "T.fcmt")]
    output: PathBuf,
    /// Components to keep, 1 to the dimension [default: 640, or the dimension if that is less]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    components: Option<u32>,
    /// Use every N-th frame of each file
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    stride: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    output: PathBuf,
    inputs: Vec<PathBuf>,
    /// Identity of the transform.
    transform: String,
    dimension: u32,
    components: u32,
    frames: u64,
    samples: u64,
    /// 10 for each dimension.
    samples_advised: u64,
    /// Share of the variance that the first components hold.
    energy: Vec<Energy>,
    bytes: u64,
    seconds: f64,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Energy {
    components: u32,
    share: f64,
}

/// Runs the command.
///
/// # Errors
/// When an input cannot be read or does not fit the others, or the output cannot be written.
pub fn run(arguments: &Arguments) -> Result<()> {
    let start = Instant::now();
    let limits = Limits::default();
    let stride = arguments.stride;
    let mut readers = Vec::new();
    for path in &arguments.inputs {
        // Opened twice, so that every bad file is named before the long work begins, but few are open at a time.
        let reader = FeatureReader::open(path, &limits)?;
        readers.push((path, reader.layout().clone(), reader.frames()));
    }
    let mut calibrator = Calibrator::new(readers[0].1.clone(), &limits)
        .with_context(|| format!("cannot calibrate on {}", arguments.inputs[0].display()))?;
    for (path, layout, _) in &readers {
        let fits = calibrator.set_layout(layout.clone(), &limits);
        fits.with_context(|| format!("{} does not fit {}", path.display(), arguments.inputs[0].display()))?;
    }
    let dimension = calibrator.dimension();
    let components = arguments.components.unwrap_or(dimension.min(DEFAULT_COMPONENTS));
    ensure!(components <= dimension, "--components is {components}, legal are 1 to {dimension} for these layers");
    let output = OutputFile::create(&arguments.output)?;

    let frames = readers.iter().map(|(_, _, n)| n.div_ceil(stride)).sum();
    let progress = Progress::frames("calibrating", frames);
    for (path, layout, _) in readers {
        let context = || format!("cannot calibrate on {}", path.display());
        calibrator.set_layout(layout, &limits).with_context(context)?;
        let mut reader = FeatureReader::open(path, &limits)?;
        let mut index = 0;
        while let Some(values) = reader.next()? {
            if index % stride == 0 {
                let tensors: Vec<TensorRef<'_>> = values.iter().map(Values::tensor).collect();
                calibrator.add(&tensors).with_context(|| format!("frame {index}")).with_context(context)?;
                progress.advance(1)?;
            }
            index += 1;
        }
    }
    drop(progress);
    let samples = calibrator.samples();
    let samples_advised = ENOUGH * u64::from(dimension);
    let mut warnings = Vec::new();
    if samples < samples_advised {
        let warning = format!(
            "{samples} samples (frames x grid positions) for the dimension {dimension}: too few for a good transform, at \
             least {samples_advised} are advised; add more varied frames"
        );
        warn(&warning);
        warnings.push(warning);
    }
    let spinner = Progress::spinner("decomposing the covariance");
    let transform = calibrator.finish(Some(components))?;
    drop(spinner);
    let bytes = write(output, &transform)?;
    read_transform(&arguments.output, &limits).context("the transform written cannot be used")?;
    let mut counts: Vec<u32> = COUNTS.into_iter().filter(|k| *k < components).collect();
    counts.push(components);
    let energy = counts.into_iter().map(|k| Energy { components: k, share: transform.energy(k) }).collect();
    let report = Report {
        output: arguments.output.clone(),
        inputs: arguments.inputs.clone(),
        transform: transform.id().to_string(),
        dimension,
        components,
        frames,
        samples,
        samples_advised,
        energy,
        bytes,
        seconds: start.elapsed().as_secs_f64(),
        warnings,
    };
    report::print(arguments.json, &report, text)
}

fn write(mut output: OutputFile, transform: &Transform) -> Result<u64> {
    let bytes = transform.to_bytes();
    output.write_all(&bytes).context("cannot write the transform")?;
    output.commit()?;
    Ok(bytes.len() as u64)
}

fn text(r: &Report) -> String {
    let mut table = Table::new(["components", "energy"]);
    for e in &r.energy {
        table.row([e.components.to_string(), format!("{:.3} %", 100.0 * e.share)]);
    }
    format!(
        "{}: transform {}, {} of {} components, {}\n{} samples of {} frames, {:.1} s\n{table}",
        r.output.display(),
        r.transform,
        r.components,
        r.dimension,
        report::bytes(r.bytes),
        r.samples,
        r.frames,
        r.seconds
    )
}
