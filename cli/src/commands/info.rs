//! `fcm info`: what a coded stream says of itself, one row a frame, without decoding it.

use super::{LayerReport, PairReport, framerate_text, kind_name, transform_of};
use crate::progress::Progress;
use crate::report::{self, Table};
use crate::stream_file::{Item, StreamReader};
use anyhow::{Result, bail};
use fcm_codec::bitstream::stream::{AccessUnitInfo, Inspector};
use fcm_codec::{FrameKind, FrameStatistics, Limits, Sequence, StatisticsMode};
use serde::Serialize;
use std::path::PathBuf;

/// Show what a coded stream (.fcm) holds: one row a frame with its bytes, type and signalled statistics.
///
/// Works without the calibrated transform. Damaged parts get a row of their own.
#[derive(clap::Args)]
pub struct Arguments {
    /// Coded stream
    #[arg(value_name = "A.fcm")]
    input: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    input: PathBuf,
    sequence: SequenceReport,
    frames: Vec<FrameReport>,
    damage: Vec<DamageReport>,
    totals: Totals,
}

/// Parameters of the last sequence of the stream.
#[derive(Serialize)]
struct SequenceReport {
    layers: Vec<LayerReport>,
    inner_codec: &'static str,
    statistics: &'static str,
    /// How far layers are restored, 0 to 1.
    restoration_strength: f32,
    stats_period: u32,
    transform: Option<String>,
    components: u32,
    framerate: String,
    lossless: bool,
}

#[derive(Serialize)]
struct FrameReport {
    index: u64,
    offset: u64,
    /// Frame number, modulo 64.
    number: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    bytes: u64,
    header_bytes: u64,
    statistics_bytes: u64,
    qp: u8,
    /// As signalled with this frame; `null` = unchanged.
    statistics: Option<StatisticsReport>,
}

/// In mode `simplified` one pair in `layers` for all of them; in mode `ecs` `std_dev` is maximum − mean.
#[derive(Serialize)]
struct StatisticsReport {
    layers: Vec<PairReport>,
    fused: PairReport,
}

#[derive(Serialize)]
struct DamageReport {
    /// Index of the frame that follows.
    before_frame: u64,
    offset: u64,
    bytes: u64,
    reason: String,
}

#[derive(Serialize, Default)]
struct Totals {
    frames: u64,
    random_access: u64,
    predicted: u64,
    refreshes: u64,
    bytes: u64,
    header_bytes: u64,
    statistics_bytes: u64,
    kbit_per_second: Option<f64>,
}

/// Runs the command.
///
/// # Errors
/// When the stream cannot be read or holds no frame.
pub fn run(arguments: &Arguments) -> Result<()> {
    let limits = Limits::default();
    let context = || format!("cannot read {}", arguments.input.display());
    let mut stream = StreamReader::open(&arguments.input, limits.clone())?;
    let mut inspector = Inspector::new(limits);
    let progress = Progress::bytes("reading", stream.length());
    let mut totals = Totals::default();
    let mut frames: Vec<FrameReport> = Vec::new();
    let mut damage = Vec::new();
    while let Some(item) = stream.next()? {
        let (bytes, offset) = match item {
            Item::AccessUnit { bytes, offset, .. } => (bytes, offset),
            Item::Damage { offset, bytes } => {
                let reason = "bytes that belong to no whole access unit".into();
                damage.push(DamageReport { before_frame: totals.frames, offset, bytes, reason });
                progress.advance(bytes)?;
                continue;
            }
        };
        let size = bytes.len() as u64;
        match inspector.inspect(bytes) {
            Ok(info) => frames.push(totals.add(&info, offset)),
            Err(e) => {
                let reason = e.to_string();
                damage.push(DamageReport { before_frame: totals.frames, offset, bytes: size, reason });
            }
        }
        progress.advance(size)?;
    }
    drop(progress);
    let Some(sequence) = inspector.sequence().filter(|_| totals.frames > 0) else {
        match damage.first() {
            Some(d) => bail!("{}: it holds no whole frame: {} at byte {}", context(), d.reason, d.offset),
            None => bail!("{}: it holds no frame", context()),
        }
    };
    totals.kbit_per_second = report::kbit_per_second(totals.bytes, totals.frames, sequence.framerate);
    let mode = sequence.statistics;
    let sequence = sequence_report(sequence);
    let report = Report { input: arguments.input.clone(), sequence, frames, damage, totals };
    report::print(arguments.json, &report, |r| text(r, mode))
}

impl Totals {
    fn add(&mut self, info: &AccessUnitInfo, offset: u64) -> FrameReport {
        let index = self.frames;
        self.frames += 1;
        match info.kind {
            FrameKind::RandomAccess => self.random_access += 1,
            FrameKind::Predicted => self.predicted += 1,
        }
        self.refreshes += u64::from(info.statistics.is_some());
        self.bytes += info.bytes as u64;
        self.header_bytes += info.header_bytes as u64;
        self.statistics_bytes += info.statistics_bytes as u64;
        FrameReport {
            index,
            offset,
            number: info.number,
            kind: kind_name(info.kind),
            bytes: info.bytes as u64,
            header_bytes: info.header_bytes as u64,
            statistics_bytes: info.statistics_bytes as u64,
            qp: info.qp,
            statistics: info.statistics.as_ref().map(statistics_report),
        }
    }
}

fn statistics_report(s: &FrameStatistics) -> StatisticsReport {
    StatisticsReport { layers: s.layers.iter().map(|&p| p.into()).collect(), fused: s.fused.into() }
}

fn sequence_report(s: &Sequence) -> SequenceReport {
    SequenceReport {
        layers: s.layout.layers().iter().map(LayerReport::of).collect(),
        inner_codec: s.inner.name(),
        statistics: s.statistics.name(),
        restoration_strength: s.restoration.share(),
        stats_period: s.stats_period,
        transform: transform_of(s),
        components: s.components,
        framerate: framerate_text(s.framerate),
        lossless: s.lossless,
    }
}

fn text(r: &Report, mode: StatisticsMode) -> String {
    let pair = |p: &PairReport| format!("{} ± {}", report::number(p.mean), report::number(p.std_dev));
    let mut table = Table::new(["frame", "number", "type", "bytes", "qp", "statistics"]);
    let mut damage = r.damage.iter().peekable();
    let damaged = |table: &mut Table, d: &DamageReport| {
        let none = String::new;
        table.row(["damage".into(), none(), none(), d.bytes.to_string(), none(), d.reason.clone()]);
    };
    for f in &r.frames {
        while let Some(d) = damage.next_if(|d| d.before_frame <= f.index) {
            damaged(&mut table, d);
        }
        let statistics = f.statistics.as_ref().map_or_else(String::new, |s| match mode {
            StatisticsMode::Ecs => s.layers.iter().map(|p| report::number(p.std_dev)).collect::<Vec<_>>().join("  "),
            _ => s.layers.iter().chain([&s.fused]).map(pair).collect::<Vec<_>>().join("  "),
        });
        let cells = [f.index.to_string(), f.number.to_string(), f.kind.into(), f.bytes.to_string(), f.qp.to_string()];
        let [index, number, kind, bytes, qp] = cells;
        table.row([index, number, kind, bytes, qp, statistics]);
    }
    damage.for_each(|d| damaged(&mut table, d));
    let s = &r.sequence;
    let layers = s.layers.iter().map(|l| format!("{} {} {}", l.name, l.shape_text(), l.dtype));
    let t = &r.totals;
    let rate = t.kbit_per_second.map_or_else(
        || "unknown frame rate".into(),
        |k| format!("{} kbit/s at {} frames/s", report::number(k), s.framerate),
    );
    let restoration = match s.restoration_strength {
        1.0 => String::new(),
        share => format!(", layers restored by {share} of the way"),
    };
    format!(
        "{}: {} frames, {} random access, {} predicted\n\
         layers      {}\n\
         transform   {}, {} components\n\
         statistics  {} ({}, last pair fused), {} refreshes{restoration}\n\
         {table}\
         rate        {rate}\n\
         size        {}, headers {} bytes ({}), statistics {} bytes ({})\n",
        r.input.display(),
        t.frames,
        t.random_access,
        t.predicted,
        layers.collect::<Vec<_>>().join(", "),
        s.transform.as_deref().unwrap_or("none (block DCT)"),
        s.components,
        s.statistics,
        if mode == StatisticsMode::Ecs { "maximum - mean" } else { "mean ± standard deviation" },
        t.refreshes,
        report::bytes(t.bytes),
        t.header_bytes,
        report::percent(t.header_bytes as f64, t.bytes as f64),
        t.statistics_bytes,
        report::percent(t.statistics_bytes as f64, t.bytes as f64),
    )
}
