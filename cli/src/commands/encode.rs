//! `fcm encode`: features to a coded stream.

use super::{LayerReport, framerate_text, parse_framerate, parse_gain, parse_share, read_transform, runtime};
use crate::feature_file::{FeatureReader, Values};
use crate::output::OutputFile;
use crate::progress::{Progress, warn};
use crate::report::{self, Table};
use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use fcm_codec::bitstream::stream::end_of_stream;
use fcm_codec::{
    Encoder, EncoderConfig, FrameKind, FrameRequest, Limits, RateControl, StatisticsMode, StreamFormat, TensorRef,
};
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Encode a feature file (.npz, .safetensors) into a coded stream (.fcm).
#[derive(clap::Args)]
pub struct Arguments {
    /// Feature file (.npz, .safetensors)
    #[arg(value_name = "A.npz")]
    input: PathBuf,
    /// Coded stream to write
    #[arg(short, long, value_name = "A.fcm")]
    output: PathBuf,
    /// Calibrated transform, a basis or a learned pair; without one a fixed block DCT is used, which needs more bits
    #[arg(long, value_name = "T.fcmt")]
    transform: Option<PathBuf>,
    #[arg(long, value_name = "Q", value_parser = clap::value_parser!(u8).range(0..=63), conflicts_with = "bitrate",
        help = format!("Quantiser of every frame, 0 (near lossless) to 63 (unusable) [default: {}, without a transform {}]",
            RateControl::default_qp(true), RateControl::default_qp(false)))]
    qp: Option<u8>,
    /// Long-run average rate to hold instead of a constant qp, in kbit/s at the frame rate
    #[arg(long, value_name = "KBITS", value_parser = clap::value_parser!(u32).range(1..))]
    bitrate: Option<u32>,
    /// Frame rate, N/D
    #[arg(long, value_name = "N/D", default_value = "25/1", value_parser = parse_framerate)]
    framerate: (u32, u32),
    /// Most frames from one random access point to the next, 0 = only the first is one
    #[arg(long, value_name = "P", default_value_t = EncoderConfig::default().key_int_max)]
    key_int_max: u32,
    /// Frames between refreshes of the statistics, 0 = with random access points only
    #[arg(long, value_name = "S", default_value_t = EncoderConfig::default().stats_period)]
    stats_period: u32,
    /// Drift of a layer's statistics, in standard deviations, that refreshes them at once, 0 = none does
    #[arg(long, value_name = "X", default_value_t = EncoderConfig::default().stats_threshold)]
    stats_threshold: f32,
    /// What the decoder restores
    #[arg(long, default_value = StatisticsMode::ZScore.name(), value_parser =
        PossibleValuesParser::new(StatisticsMode::ALL.map(StatisticsMode::name)).try_map(|s| s.parse::<StatisticsMode>()))]
    statistics: StatisticsMode,
    /// How far the decoder moves layers to the statistics sent, 0 = not at all to 1 = in full [default: what the transform says, else 1]
    #[arg(long, value_name = "X", value_parser = parse_share)]
    restoration_strength: Option<f32>,
    /// How many times its own statistics the fused tensor is restored to, 1 = just those to 4 [default: what the transform says, else 1]
    #[arg(long, value_name = "X", value_parser = parse_gain)]
    restoration_gain: Option<f32>,
    /// Components of the transform to keep, strongest first [default: all it has]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    components: Option<u32>,
    /// How much coarser positions are coded that the transform's probe finds irrelevant, in steps of qp, 0 = as fine as the
    /// others
    #[arg(long, value_name = "N", default_value_t = EncoderConfig::default().background_offset, value_parser = clap::value_parser!(u8).range(0..=63))]
    background_offset: u8,
    /// With a calibrated basis: root mean square change of a position's values, in quantiser steps, below which it is taken to be unchanged, 0 = none is
    #[arg(long, value_name = "X", default_value_t = EncoderConfig::default().skip_threshold)]
    skip_threshold: f32,
    /// What a bit is worth, in squared quantiser steps, when levels are chosen, each the nearest or none: more gives fewer bits
    /// and a larger error at one qp, 0 = levels are rounded, whatever they cost
    #[arg(long, value_name = "X", default_value_t = EncoderConfig::default().rd_strength)]
    rd_strength: f32,
    /// Whether every frame can be entropy-decoded without the one before, so that a lost one costs little; false saves 3 to 7 %
    #[arg(long, value_name = "BOOL", default_value_t = EncoderConfig::default().error_resilient, action = clap::ArgAction::Set)]
    error_resilient: bool,
    /// Whether blocks of positions may be predicted along motion vectors; false saves encoding time where much moves
    #[arg(long, value_name = "BOOL", default_value_t = EncoderConfig::default().motion_compensation, action = clap::ArgAction::Set)]
    motion_compensation: bool,
    /// Whether positions that are not predicted from the frame before are predicted from those around them, by weights of the transform, or
    /// fixed ones without a transform
    #[arg(long, value_name = "BOOL", default_value_t = EncoderConfig::default().intra_prediction, action = clap::ArgAction::Set)]
    intra_prediction: bool,
    /// Bytes from which an error-resilient frame is cut into slices, 0 = never
    #[arg(long, value_name = "BYTES", default_value_t = EncoderConfig::default().slice_size)]
    slice_size: u32,
    /// Scale that quantiser steps are relative to, instead of the stream's own statistics
    #[arg(long, value_name = "X")]
    reference_scale: Option<f32>,
    /// Worker threads, 0 = one for each core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=64))]
    threads: u16,
    /// Code the fixed-point fused tensor without loss, to test the inner codec
    #[arg(long, hide = true)]
    lossless: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    input: PathBuf,
    output: PathBuf,
    layers: Vec<LayerReport>,
    transform: Option<String>,
    statistics: &'static str,
    framerate: String,
    frames: u64,
    random_access: u64,
    predicted: u64,
    refreshes: u64,
    /// Bytes of the file.
    bytes: u64,
    /// Bytes of it that are unit headers, parameter sets and checks.
    header_bytes: u64,
    /// Bytes of it that are statistics values.
    statistics_bytes: u64,
    raw_bytes: u64,
    kbit_per_second: Option<f64>,
    /// Raw bytes a coded byte.
    ratio: f64,
    qp: QpReport,
    seconds: f64,
    /// Frames a second, reading of the file not counted.
    frames_per_second: f64,
}

#[derive(Serialize)]
struct QpReport {
    min: u8,
    mean: f64,
    max: u8,
}

/// Runs the command.
///
/// # Errors
/// When the input cannot be read or encoded, a setting is illegal, or the output cannot be written.
pub fn run(arguments: &Arguments) -> Result<()> {
    let start = Instant::now();
    let limits = Limits::default();
    let mut reader = FeatureReader::open(&arguments.input, &limits)?;
    let transform = arguments.transform.as_deref().map(|path| read_transform(path, &limits)).transpose()?;
    let defaults = EncoderConfig::default();
    let rate_control = match (arguments.qp, arguments.bitrate) {
        (Some(qp), _) => RateControl::ConstantQp(qp),
        (None, Some(kbit_per_second)) => {
            RateControl::Bitrate { kbit_per_second, frames_per_second: arguments.framerate }
        }
        (None, None) => defaults.rate_control,
    };
    let config = EncoderConfig {
        rate_control,
        key_int_max: arguments.key_int_max,
        stats_period: arguments.stats_period,
        stats_threshold: arguments.stats_threshold,
        statistics: arguments.statistics,
        restoration_strength: arguments.restoration_strength,
        restoration_gain: arguments.restoration_gain,
        transform: transform.clone(),
        runtime: Some(runtime()),
        components: arguments.components,
        background_offset: arguments.background_offset,
        skip_threshold: arguments.skip_threshold,
        rd_strength: arguments.rd_strength,
        error_resilient: arguments.error_resilient,
        motion_compensation: arguments.motion_compensation,
        intra_prediction: arguments.intra_prediction,
        slice_size: arguments.slice_size,
        threads: arguments.threads.into(),
        format: StreamFormat::ByteStream,
        framerate: arguments.framerate,
        reference_scale: arguments.reference_scale,
        lossless: arguments.lossless,
        limits,
    };
    let layout = reader.layout().clone();
    let context = || format!("cannot encode {}", arguments.input.display());
    config.advice().iter().for_each(warn);
    let mut encoder = Encoder::new(config, layout.clone()).with_context(context)?;
    let mut output = OutputFile::create(&arguments.output)?;

    let frames = reader.frames();
    let progress = Progress::frames("encoding", frames);
    let mut totals = Totals::default();
    let mut unit = Vec::new();
    while let Some(values) = reader.next()? {
        let tensors: Vec<TensorRef<'_>> = values.iter().map(Values::tensor).collect();
        unit.clear();
        let begun = Instant::now();
        let frame = encoder
            .encode(&tensors, FrameRequest::default(), &mut unit)
            .with_context(|| format!("frame {}", totals.frames))
            .with_context(context)?;
        totals.encoding += begun.elapsed();
        totals.add(&frame);
        output.write_all(&unit).with_context(|| format!("cannot write {}", arguments.output.display()))?;
        progress.advance(1)?;
    }
    drop(progress);
    let end = end_of_stream();
    output.write_all(&end).with_context(|| format!("cannot write {}", arguments.output.display()))?;
    output.commit()?;
    let bytes = totals.bytes + end.len() as u64;
    let raw_bytes = layout.bytes().saturating_mul(frames);
    let report = Report {
        input: arguments.input.clone(),
        output: arguments.output.clone(),
        layers: layout.layers().iter().map(LayerReport::of).collect(),
        transform: transform.map(|t| t.id().to_string()),
        statistics: arguments.statistics.name(),
        framerate: framerate_text(arguments.framerate),
        frames,
        random_access: totals.random_access,
        predicted: frames - totals.random_access,
        refreshes: totals.refreshes,
        bytes,
        header_bytes: totals.header_bytes + end.len() as u64,
        statistics_bytes: totals.statistics_bytes,
        raw_bytes,
        kbit_per_second: report::kbit_per_second(bytes, frames, arguments.framerate),
        ratio: raw_bytes as f64 / bytes as f64,
        qp: QpReport {
            min: totals.qp_min.unwrap_or(0),
            mean: totals.qp_sum as f64 / frames as f64,
            max: totals.qp_max,
        },
        seconds: start.elapsed().as_secs_f64(),
        frames_per_second: frames as f64 / totals.encoding.as_secs_f64(),
    };
    report::print(arguments.json, &report, text)
}

#[derive(Default)]
struct Totals {
    frames: u64,
    random_access: u64,
    refreshes: u64,
    bytes: u64,
    header_bytes: u64,
    statistics_bytes: u64,
    qp_min: Option<u8>,
    qp_max: u8,
    qp_sum: u64,
    encoding: Duration,
}

impl Totals {
    fn add(&mut self, frame: &fcm_codec::EncodedFrame) {
        self.frames += 1;
        self.random_access += u64::from(frame.kind == FrameKind::RandomAccess);
        self.refreshes += u64::from(frame.refreshed);
        self.bytes += frame.bytes as u64;
        self.header_bytes += frame.header_bytes as u64;
        self.statistics_bytes += frame.statistics_bytes as u64;
        self.qp_min = Some(self.qp_min.map_or(frame.qp, |q| q.min(frame.qp)));
        self.qp_max = self.qp_max.max(frame.qp);
        self.qp_sum += u64::from(frame.qp);
    }
}

fn text(r: &Report) -> String {
    let mut table = Table::new(["layer", "shape", "type"]);
    for l in &r.layers {
        table.row([l.name.clone(), l.shape_text(), l.dtype.into()]);
    }
    let share = |part: u64| format!("{part} bytes ({})", report::percent(part as f64, r.bytes as f64));
    format!(
        "{}: {} frames, {} random access, {} predicted\n{table}\
         rate        {} kbit/s at {} frames/s, 1 : {} of the raw {}\n\
         size        {}, {} a frame\n\
         headers     {}\n\
         statistics  {}, {} in {} refreshes\n\
         transform   {}\n\
         qp          {} (mean {}, {} to {})\n\
         speed       {} frames/s\n",
        r.output.display(),
        r.frames,
        r.random_access,
        r.predicted,
        report::number(r.kbit_per_second.unwrap_or(f64::NAN)),
        r.framerate,
        report::number(r.ratio),
        report::bytes(r.raw_bytes),
        report::bytes(r.bytes),
        report::bytes(r.bytes / r.frames.max(1)),
        share(r.header_bytes),
        r.statistics,
        share(r.statistics_bytes),
        r.refreshes,
        r.transform.as_deref().unwrap_or("none (block DCT)"),
        r.qp.mean.round(),
        report::number(r.qp.mean),
        r.qp.min,
        r.qp.max,
        report::number(r.frames_per_second),
    )
}
