//! `fcm-eval run`: sequences through chains.

use super::{CacheOptions, NetworkOptions, SequenceOptions, command_line, cores, print};
use crate::accuracy::{self, Part, Thresholds, Truth};
use crate::calibration::{self, Calibration, Recipe, Source};
use crate::chains::{self, Setting, Wanted};
use crate::evaluate::{self, Outcome, Prepared, Run};
use crate::features::dims;
use crate::progress::warn;
use crate::report::{self, Report, Row, SequenceReport};
use crate::sequence::{Reading, Sequence, fraction};
use anyhow::{Context, Result, bail, ensure};
use fcm_codec::Transform;
use std::path::PathBuf;
use std::sync::Arc;

/// Chains that others are compared with, unless --reference says otherwise.
const REFERENCES: [&str; 4] = ["fcm-none", "fctm-x265", "remote-x265", "remote-x264"];

/// Run sequences through chains and report accuracy at each rate.
///
/// Every finished (sequence, chain, point) is kept in the cache; the same command after an interruption goes on from there.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    sequences: SequenceOptions,
    #[command(flatten)]
    network: NetworkOptions,
    /// Frame rate instead of the sequence's own
    #[arg(long, value_name = "F", value_parser = parse_rate)]
    fps: Option<f64>,
    /// Calibrated transform of the codec
    #[arg(long, value_name = "T.fcmt", conflicts_with = "calibrate")]
    transform: Option<PathBuf>,
    /// Learn the transform from sequences or videos, every STRIDE-th picture; a sequence that is tested is left out.
    /// Without this and --transform: block DCT
    #[arg(long, value_name = "SOURCE[:STRIDE]", num_args = 1)]
    calibrate: Vec<Source>,
    /// What accuracy is measured against: the sequences' ground truth, or what is tracked in the uncompressed features, whose chain has to be
    /// among those run; then sequences need no ground truth
    #[arg(long, value_enum, default_value_t)]
    truth: Truth,
    /// Components of learnt transforms [default: 640, of those fitted to the task 192, or the dimension if that is less]
    #[arg(long, value_name = "K", requires = "calibrate", value_parser = clap::value_parser!(u32).range(1..))]
    components: Option<u32>,
    /// Patchworks of four or nine pictures learnt from besides each picture; 0 = none
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=16))]
    patchworks: u32,
    /// Chains to run
    #[arg(long, value_name = "CHAIN,…", value_delimiter = ',', default_values_t = chains::NAMES.map(str::to_owned))]
    chains: Vec<String>,
    /// Run the codec with this learned pair too, as chain fcm-pair-NAME
    #[arg(long, value_name = "NAME=T.fcmt", value_parser = parse_pair)]
    pair: Vec<Pair>,
    /// Points of chains whose names begin with PREFIX: qp, for fcm also bit rates such as 200k, for zstd and pco levels
    #[arg(long, value_name = "PREFIX=POINT,…", value_parser = parse_points)]
    points: Vec<Points>,
    /// Chain that the others' BD-rates are against [default: fcm-none, fctm-x265, remote-x265, remote-x264]
    #[arg(long, value_name = "CHAIN")]
    reference: Vec<String>,
    /// Write NAME.md, .csv, .json and .png
    #[arg(short, long, value_name = "NAME")]
    output: Option<PathBuf>,
    /// Heading of the report
    #[arg(long, default_value = "Rate against accuracy")]
    title: String,
    /// Command that the report names, for scripts [default: this one]
    #[arg(long, value_name = "TEXT")]
    command: Option<String>,
    /// Chains that run at once, each on one thread [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
    #[command(flatten)]
    cache: CacheOptions,
    /// Print one JSON object, the report
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Points {
    prefix: String,
    points: Vec<String>,
}

fn parse_points(text: &str) -> Result<Points, String> {
    let (prefix, list) = text.split_once('=').ok_or("legal is PREFIX=POINT,…, such as fcm=26,29,32")?;
    Ok(Points { prefix: prefix.to_owned(), points: list.split(',').map(str::to_owned).collect() })
}

#[derive(Debug, Clone, PartialEq)]
struct Pair {
    name: String,
    path: PathBuf,
}

fn parse_pair(text: &str) -> Result<Pair, String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok(Pair { name: name.to_owned(), path: path.into() })
        }
        _ => Err("legal is NAME=T.fcmt".into()),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1e6).contains(&rate) => Ok(rate),
        _ => Err("legal are 0.001 to 1000000".into()),
    }
}

/// Runs the command.
///
/// # Errors
/// When something asked for is missing or fails, or on an interrupt.
pub fn run(arguments: &Arguments) -> Result<()> {
    let network = arguments.network.network()?;
    let pairs = pairs(&arguments.pair)?;
    let runs = runs(arguments, &pairs)?;
    for reference in &arguments.reference {
        let known = runs.iter().any(|r| r.chain.name() == reference);
        ensure!(known, "reference {reference:?} is none of the chains that are run");
    }
    let workers = arguments.jobs.map_or_else(cores, usize::from);
    let cache = arguments.cache.cache();
    let calibration = match (&arguments.transform, &arguments.calibrate[..]) {
        (Some(path), _) => Calibration::File(path.clone()),
        (None, []) => Calibration::None,
        (None, sources) => Calibration::Learn(Recipe {
            sources: sources.to_vec(),
            patchworks: arguments.patchworks,
            components: arguments.components,
            restoration: None,
        }),
    };
    let wanted: Vec<Wanted> = runs.iter().map(|r| r.chain.wanted()).collect();
    let learns = wanted.iter().any(|w| *w != Wanted::None);
    let calibration = if learns { calibration } else { Calibration::None };
    let reading = Reading { framerate: arguments.fps.map(fraction), truth: arguments.truth };
    let own = match arguments.truth {
        Truth::Annotated => None,
        Truth::Uncompressed => {
            let chain = runs.iter().position(|run| run.chain.name() == "uncompressed");
            Some(chain.context("--truth uncompressed needs the chain uncompressed")?)
        }
    };
    let mut prepared = arguments.sequences.prepare(reading, &calibration, &wanted, &network, workers, &cache)?;
    let outcomes = evaluate::outcomes(&network, &prepared, &runs, workers, &cache)?;
    if let Some(chain) = own {
        for (prepared, outcomes) in prepared.iter_mut().zip(&outcomes) {
            take_truth(&mut prepared.sequence, &outcomes[chain][0], network.tracker())?;
        }
    }
    let references = match &arguments.reference[..] {
        [] => REFERENCES.map(str::to_owned).to_vec(),
        given => given.to_vec(),
    };
    let report = Report {
        title: arguments.title.clone(),
        command: arguments.command.clone().unwrap_or_else(command_line),
        machine: report::machine(),
        commit: env!("FCM_EVAL_COMMIT").into(),
        network: network.name().into(),
        tracker: network.tracker(),
        truth: arguments.truth,
        workers,
        sequences: reports(&prepared, &runs, &pairs, &outcomes, &references, network.tracker())?,
    };
    if let Some(stem) = &arguments.output
        && let Some(error) = report.write(stem)?
    {
        warn(format_args!("no picture was drawn: {error:#}"));
    }
    print(&if arguments.json { serde_json::to_string(&report)? } else { report.markdown(None) })
}

/// Takes what is tracked in the uncompressed features for the truth.
fn take_truth(sequence: &mut Sequence, uncompressed: &Outcome, tracker: Thresholds) -> Result<()> {
    sequence.truth = accuracy::track(&uncompressed.detections(), tracker)?;
    let found = sequence.truth.iter().any(|frame| !frame.is_empty());
    ensure!(found, "{}: nothing is tracked in the uncompressed features", sequence.name);
    Ok(())
}

/// The learned pairs with the names they were given.
fn pairs(files: &[Pair]) -> Result<Vec<(&str, Arc<Transform>)>> {
    let mut pairs = Vec::new();
    for Pair { name, path } in files {
        let transform = calibration::read(path)?;
        let is_pair = transform.networks().is_some();
        ensure!(is_pair, "{} is a basis, not a learned pair: --transform takes it", path.display());
        pairs.push((name.as_str(), Arc::new(transform)));
    }
    Ok(pairs)
}

/// The chains asked for with their settings.
fn runs(arguments: &Arguments, pairs: &[(&str, Arc<Transform>)]) -> Result<Vec<Run>> {
    let mut all = arguments.chains.iter().map(|name| chains::by_name(name)).collect::<Result<Vec<_>>>()?;
    all.extend(pairs.iter().map(|(name, transform)| chains::pair(name, transform.clone())));
    let mut runs: Vec<Run> = Vec::new();
    for chain in all {
        let name = chain.name().to_owned();
        ensure!(runs.iter().all(|r| r.chain.name() != name), "chain {name:?} twice");
        // The longest prefix is the one that means this chain most.
        let fitting = arguments.points.iter().filter(|p| name.starts_with(&p.prefix));
        let settings = match fitting.max_by_key(|p| p.prefix.len()) {
            Some(points) => {
                let parse = |text: &String| chain.parse_point(text).with_context(|| format!("chain {name}"));
                points.points.iter().map(parse).collect::<Result<Vec<Setting>>>()?
            }
            None => chain.default_points(),
        };
        runs.push(Run { chain, settings });
    }
    for points in &arguments.points {
        if !runs.iter().any(|run| run.chain.name().starts_with(&points.prefix)) {
            bail!("points for {:?}, no chain that is run begins so", points.prefix);
        }
    }
    Ok(runs)
}

/// The report of each sequence, and of all together if there are several.
fn reports(
    prepared: &[Prepared],
    runs: &[Run],
    pairs: &[(&str, Arc<Transform>)],
    outcomes: &[Vec<Vec<Outcome>>],
    references: &[String],
    tracker: Thresholds,
) -> Result<Vec<SequenceReport>> {
    let mut all: Vec<Vec<usize>> = (0..prepared.len()).map(|n| vec![n]).collect();
    if prepared.len() > 1 {
        all.push((0..prepared.len()).collect());
    }
    let pair =
        |(name, t): &(&str, Arc<Transform>)| format!("; {name}: {} (learned pair, K = {})", t.id(), t.components());
    let pairs: String = pairs.iter().map(pair).collect();
    let mut reports = Vec::new();
    for members in all {
        let mut rows = Vec::new();
        for (r, run) in runs.iter().enumerate() {
            for (s, setting) in run.settings.iter().enumerate() {
                let of = |n: &usize| (&prepared[*n], &outcomes[*n][r][s]);
                rows.push(row(run.chain.name(), *setting, &members.iter().map(of).collect::<Vec<_>>(), tracker)?);
            }
        }
        let first = &prepared[members[0]];
        let persons = members.iter().flat_map(|&n| &prepared[n].sequence.truth).map(|f| f.len() as u64).sum();
        let frames = members.iter().map(|&n| prepared[n].sequence.frames()).sum();
        let bd_rates = report::bd_tables(&rows, references);
        let single = members.len() == 1;
        let layer = |l: &fcm_codec::Layer| {
            let sides: Vec<String> = dims(l.shape).iter().map(u32::to_string).collect();
            format!("{} {}", l.name, sides.join("x"))
        };
        reports.push(SequenceReport {
            name: if single { first.sequence.name.clone() } else { "All sequences".into() },
            frames,
            frames_per_second: single
                .then(|| f64::from(first.sequence.framerate.0) / f64::from(first.sequence.framerate.1)),
            persons,
            layers: if single { first.features.layout().layers().iter().map(layer).collect() } else { Vec::new() },
            transform: if single { format!("{}{pairs}", first.calibrated.label) } else { String::new() },
            rows,
            bd_rates,
        });
    }
    Ok(reports)
}

/// One chain at one setting on these sequences.
fn row(chain: &str, setting: Setting, members: &[(&Prepared, &Outcome)], tracker: Thresholds) -> Result<Row> {
    let detections: Vec<_> = members.iter().map(|(_, o)| o.detections()).collect();
    let parts: Vec<Part<'_>> =
        members.iter().zip(&detections).map(|((p, _), d)| Part { detections: d, truth: &p.sequence.truth }).collect();
    let seconds = |p: &Prepared| {
        let (n, d) = p.sequence.framerate;
        p.sequence.frames() as f64 * f64::from(d) / f64::from(n)
    };
    let frames: u64 = members.iter().map(|(p, _)| p.sequence.frames()).sum();
    let duration: f64 = members.iter().map(|(p, _)| seconds(p)).sum();
    let bytes: u64 = members.iter().map(|(_, o)| o.bytes).sum();
    let milliseconds = |total: f64| total * 1000.0 / frames as f64;
    Ok(Row {
        chain: chain.into(),
        setting: setting.to_string(),
        kbit_s: bytes as f64 * 8.0 / 1000.0 / duration,
        bytes,
        accuracy: accuracy::measure(&parts, tracker)?,
        encode_ms: milliseconds(members.iter().map(|(_, o)| o.encoding).sum()),
        decode_ms: milliseconds(members.iter().map(|(_, o)| o.decoding).sum()),
    })
}
