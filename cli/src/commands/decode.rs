//! `fcm decode`: a coded stream back to features.
//!
//! Damage costs the frames up to the next random access point, as with video: they are left out, counted and
//! reported, and the others are written. `--strict` makes any damage an error.

use super::{LayerReport, framerate_text, read_transform, runtime, transform_of};
use crate::feature_file::{FeatureWriter, Values};
use crate::progress::{Progress, warn};
use crate::report::{self, Table};
use crate::stream_file::{Item, StreamReader};
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use fcm_codec::{Decoded, Decoder, DecoderConfig, Dtype, ErrorKind, Layout, Limits};
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Decode a coded stream (.fcm) into a feature file (.npz, .safetensors): [T,C,H,W] arrays, [T,C] for vectors.
///
/// A damaged access unit costs the frames up to the next random access point. They are left out of the output, named in
/// a warning and in the JSON object, and the exit status is 0 as long as any frame was decoded; --strict makes them an error.
#[derive(clap::Args)]
pub struct Arguments {
    /// Coded stream
    #[arg(value_name = "A.fcm")]
    input: PathBuf,
    /// Feature file to write (.npz, .safetensors)
    #[arg(short, long, value_name = "B.npz")]
    output: PathBuf,
    /// Calibrated transform that the stream names (may be given several times)
    #[arg(long, value_name = "T.fcmt")]
    transform: Vec<PathBuf>,
    /// Type of the values written
    #[arg(long, value_enum, default_value_t = OutputType::Stream)]
    dtype: OutputType,
    /// Worker threads, 0 = one for each core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=64))]
    threads: u16,
    /// Fail, and write nothing, when any part of the stream is damaged
    #[arg(long)]
    strict: bool,
    /// Leave out frames that are not exactly what was coded, because something before them is missing
    #[arg(long)]
    discard_corrupted_frames: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputType {
    /// As in the stream
    Stream,
    F16,
    F32,
}

#[derive(Serialize)]
struct Report {
    input: PathBuf,
    output: PathBuf,
    layers: Vec<LayerReport>,
    transform: Option<String>,
    statistics: &'static str,
    framerate: String,
    /// Frames written.
    frames: u64,
    /// Frames missing, as far as their numbers (modulo 64) tell.
    lost_frames: u64,
    /// Frames written that are not exactly what was coded.
    inexact_frames: u64,
    damage: Vec<Damage>,
    bytes: u64,
    kbit_per_second: Option<f64>,
    seconds: f64,
    /// Frames a second, writing of the file not counted.
    frames_per_second: f64,
}

/// Frames that could not be decoded, one after the other.
#[derive(Debug, Clone, Serialize)]
struct Damage {
    /// Index in the output of the frame that follows the gap.
    before_frame: u64,
    /// Place in the stream of the first byte concerned.
    offset: u64,
    /// Frames missing, modulo 64; `null` when that cannot be known (before the first frame or after the last).
    lost_frames: Option<u64>,
    /// Bytes that were passed over.
    bytes: u64,
    reason: String,
}

/// The gap that is open since the last decoded frame.
#[derive(Default)]
struct Gap {
    open: Option<Damage>,
    /// Access units of it that were whole but could not be used.
    units: u64,
}

impl Gap {
    fn extend(&mut self, before_frame: u64, offset: u64, bytes: u64, units: u64, reason: impl Into<String>) {
        let damage = self.open.get_or_insert_with(|| Damage {
            before_frame,
            offset,
            lost_frames: None,
            bytes: 0,
            reason: reason.into(),
        });
        damage.bytes += bytes;
        self.units += units;
    }
}

/// Runs the command.
///
/// # Errors
/// When the stream cannot be read, nothing in it can be decoded, its transform is missing, the output cannot be written, or
/// with `--strict` anything is damaged.
pub fn run(arguments: &Arguments) -> Result<()> {
    let start = Instant::now();
    let limits = Limits::default();
    let transforms = arguments.transform.iter().map(|path| read_transform(path, &limits)).collect::<Result<_>>()?;
    let config = DecoderConfig {
        transforms,
        runtime: Some(runtime()),
        threads: arguments.threads.into(),
        exact_only: arguments.discard_corrupted_frames,
        limits: limits.clone(),
    };
    let mut decoder = Decoder::new(config)?;
    let mut stream = StreamReader::open(&arguments.input, limits)?;
    let mut writer = FeatureWriter::create(&arguments.output)?;
    let dtype = match arguments.dtype {
        OutputType::Stream => None,
        OutputType::F16 => Some(Dtype::F16),
        OutputType::F32 => Some(Dtype::F32),
    };
    let context = || format!("cannot decode {}", arguments.input.display());

    let length = stream.length();
    let progress = Progress::bytes("decoding", length);
    let mut layout: Option<Layout> = None;
    let mut values: Vec<Values> = Vec::new();
    let mut last_number: Option<u32> = None;
    let mut gap = Gap::default();
    let mut damage: Vec<Damage> = Vec::new();
    let mut inexact_frames = 0;
    let mut decoding = Duration::ZERO;
    while let Some(item) = stream.next().with_context(context)? {
        let (bytes, number, offset) = match item {
            Item::AccessUnit { bytes, number, offset, .. } => (bytes, number, offset),
            Item::Damage { offset, bytes } => {
                gap.extend(writer.frames(), offset, bytes, 0, "bytes that belong to no whole access unit");
                progress.advance(bytes)?;
                continue;
            }
        };
        let size = bytes.len() as u64;
        let begun = Instant::now();
        match decoder.decode(bytes) {
            Ok(Decoded::Frame(mut frame)) => {
                if layout.is_none() {
                    writer.set_layout(frame.layout(), dtype)?;
                    values = frame.layout().layers().iter().map(Values::of).collect();
                    layout = Some(frame.layout().clone());
                } else if layout.as_ref() != Some(frame.layout()) {
                    bail!(
                        "{}: frame {} has other layers than the frames before, which one feature file cannot hold",
                        context(),
                        writer.frames()
                    );
                }
                for (n, values) in values.iter_mut().enumerate() {
                    frame.write(n, values.tensor_mut()).with_context(context)?;
                }
                decoding += begun.elapsed();
                if let Some(d) = frame.damage() {
                    inexact_frames += 1;
                    if d.missing != Some(0) && gap.open.is_none() {
                        gap.extend(writer.frames(), offset, 0, 0, "access units are missing");
                    }
                }
                // Numbers start anew with a new stream, so only an open gap makes a jump a loss.
                if let Some(mut lost) = gap.open.take() {
                    let jump = last_number.map(|last| u64::from(number.wrapping_sub(last).wrapping_sub(1) % 64));
                    lost.lost_frames = jump.map(|n| n.max(gap.units));
                    gap.units = 0;
                    progress.warn(describe(&lost));
                    damage.push(lost);
                }
                last_number = Some(number);
                writer.write(&values).with_context(|| format!("cannot write {}", arguments.output.display()))?;
            }
            Ok(Decoded::AwaitingRandomAccess { .. }) => {
                gap.extend(writer.frames(), offset, size, 1, "a predicted frame without the frame before it");
            }
            Err(e) => match e.kind() {
                ErrorKind::Corruption | ErrorKind::InsufficientData | ErrorKind::LimitExceeded => {
                    gap.extend(writer.frames(), offset, size, 1, e.to_string());
                }
                _ => return Err(e).with_context(context),
            },
        }
        progress.advance(size)?;
    }
    drop(progress);
    if let Some(mut lost) = gap.open.take() {
        lost.lost_frames = (gap.units > 0).then_some(gap.units);
        warn(describe(&lost));
        damage.push(lost);
    }
    let frames = writer.frames();
    let (Some(layout), Some(sequence)) = (layout, decoder.sequence().cloned()) else {
        match damage.first() {
            Some(d) => bail!("{}: no frame can be decoded: {} at byte {}", context(), d.reason, d.offset),
            None => bail!("{}: it holds no frame", context()),
        }
    };
    ensure!(
        !arguments.strict || damage.is_empty(),
        "{}: the stream is damaged in {} places and --strict was given",
        context(),
        damage.len()
    );
    writer.commit().with_context(|| format!("cannot write {}", arguments.output.display()))?;
    let report = Report {
        input: arguments.input.clone(),
        output: arguments.output.clone(),
        layers: layout
            .layers()
            .iter()
            .map(|l| LayerReport { dtype: super::dtype_name(dtype.unwrap_or(l.dtype)), ..LayerReport::of(l) })
            .collect(),
        transform: transform_of(&sequence),
        statistics: sequence.statistics.name(),
        framerate: framerate_text(sequence.framerate),
        frames,
        inexact_frames,
        lost_frames: damage.iter().filter_map(|d| d.lost_frames).sum(),
        damage,
        bytes: length,
        kbit_per_second: report::kbit_per_second(length, frames, sequence.framerate),
        seconds: start.elapsed().as_secs_f64(),
        frames_per_second: frames as f64 / decoding.as_secs_f64(),
    };
    report::print(arguments.json, &report, text)
}

fn describe(d: &Damage) -> String {
    let frames = d.lost_frames.map_or_else(|| "frames".into(), |n| format!("{n} frames"));
    format!(
        "{frames} lost before output frame {}: {}, {} bytes from byte {} on",
        d.before_frame, d.reason, d.bytes, d.offset
    )
}

fn text(r: &Report) -> String {
    let mut table = Table::new(["layer", "shape", "type"]);
    for l in &r.layers {
        table.row([l.name.clone(), l.shape_text(), l.dtype.into()]);
    }
    let rate = r.kbit_per_second.map_or_else(
        || "unknown frame rate".into(),
        |k| format!("{} kbit/s at {} frames/s", report::number(k), r.framerate),
    );
    let mut lost = match r.damage.len() {
        0 => String::new(),
        n => format!("lost        at least {} frames in {n} places\n", r.lost_frames),
    };
    if r.inexact_frames > 0 {
        lost += &format!("inexact     {} frames, up to the next random access points\n", r.inexact_frames);
    }
    format!(
        "{}: {} frames\n{table}rate        {rate}\nstatistics  {}\ntransform   {}\n{lost}speed       {} frames/s\n",
        r.output.display(),
        r.frames,
        r.statistics,
        r.transform.as_deref().unwrap_or("none (block DCT)"),
        report::number(r.frames_per_second),
    )
}
