//! `fcm calibrate`: learns a transform from features, or makes one of a pair of networks.

mod pair;

use super::read_transform;
use crate::feature_file::{FeatureReader, Values};
use crate::output::OutputFile;
use crate::progress::{Progress, warn};
use crate::report::{self, Table};
use anyhow::{Context, Result, ensure};
use fcm_codec::reduction::calibrate::{Calibrator, IntraTrainer, PairCalibrator};
use fcm_codec::{Layout, Limits, TensorRef, Transform};
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
///
/// With --reduction and --restoration the transform is a learned pair of networks instead of a basis: both are checked against the layers, run on
/// all frames and put into the file, with the variances of the components. ONNX Runtime runs them ("make deps" fetches it; or set
/// ORT_DYLIB_PATH).
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
    /// Reduction network of a learned pair: the layers, f32 [1,C,H,W] in order, to one fused tensor, f32 [1,K,h,w] with the height and width of
    /// the smallest layer, components by falling variance
    #[arg(long, value_name = "R.onnx", requires = "restoration", conflicts_with = "components")]
    reduction: Option<PathBuf>,
    /// Restoration network of a learned pair: the fused tensor to the layers
    #[arg(long, value_name = "S.onnx", requires = "reduction")]
    restoration: Option<PathBuf>,
    /// Threads of the networks, 0 = one for each core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=64))]
    threads: u16,
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
    /// 10 for each dimension; `null` for a learned pair.
    samples_advised: Option<u64>,
    /// Of each layer, what a learned pair loses without quantisation, statistics restored: squared error as a share of the variance; `null`
    /// for a basis.
    errors: Option<Vec<f64>>,
    /// Share of the variance that the first components hold; of a learned pair, of the components' variance.
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
    let mut learner = Learner::new(arguments, &readers[0].1, &limits)?;
    for (path, layout, _) in &readers {
        let fits = learner.set_layout(layout.clone(), &limits);
        fits.with_context(|| format!("{} does not fit {}", path.display(), arguments.inputs[0].display()))?;
    }
    let output = OutputFile::create(&arguments.output)?;

    let frames = readers.iter().map(|(_, _, n)| n.div_ceil(stride)).sum();
    show("calibrating", frames, &readers, stride, &mut learner)?;
    let Finished { mut transform, samples_advised, errors, warnings } = learner.finish()?;
    if transform.networks().is_none() {
        let mut trainer = IntraTrainer::new(&transform, readers[0].1.clone(), &limits)?;
        show("learning prediction", frames, &readers, stride, &mut trainer)?;
        transform = trainer.finish()?;
    }
    warnings.iter().for_each(warn);
    let components = transform.components();
    let bytes = write(output, &transform)?;
    read_transform(&arguments.output, &limits).context("the transform written cannot be used")?;
    let mut counts: Vec<u32> = COUNTS.into_iter().filter(|k| *k < components).collect();
    counts.push(components);
    let energy = counts.into_iter().map(|k| Energy { components: k, share: transform.energy(k) }).collect();
    let report = Report {
        output: arguments.output.clone(),
        inputs: arguments.inputs.clone(),
        transform: transform.id().to_string(),
        dimension: transform.dimension(),
        components,
        frames,
        samples: transform.samples(),
        samples_advised,
        errors,
        energy,
        bytes,
        seconds: start.elapsed().as_secs_f64(),
        warnings,
    };
    report::print(arguments.json, &report, text)
}

/// What is shown frames of one layout after the other.
trait Learn {
    fn set_layout(&mut self, layout: Layout, limits: &Limits) -> fcm_codec::Result<()>;
    fn add(&mut self, tensors: &[TensorRef<'_>]) -> fcm_codec::Result<()>;
}

impl Learn for IntraTrainer {
    fn set_layout(&mut self, layout: Layout, limits: &Limits) -> fcm_codec::Result<()> {
        IntraTrainer::set_layout(self, layout, limits)
    }

    fn add(&mut self, tensors: &[TensorRef<'_>]) -> fcm_codec::Result<()> {
        IntraTrainer::add(self, tensors)
    }
}

impl Learn for Learner {
    fn set_layout(&mut self, layout: Layout, limits: &Limits) -> fcm_codec::Result<()> {
        match self {
            Self::Basis { calibrator, .. } => calibrator.set_layout(layout, limits),
            Self::Pair(pair) => pair.set_layout(layout, limits),
        }
    }

    fn add(&mut self, tensors: &[TensorRef<'_>]) -> fcm_codec::Result<()> {
        match self {
            Self::Basis { calibrator, .. } => calibrator.add(tensors),
            Self::Pair(pair) => pair.add(tensors),
        }
    }
}

/// Shows every `stride`-th frame of all files, `frames` in all, to `learner`.
fn show(
    doing: &'static str,
    frames: u64,
    files: &[(&PathBuf, Layout, u64)],
    stride: u64,
    learner: &mut impl Learn,
) -> Result<()> {
    let limits = Limits::default();
    let progress = Progress::frames(doing, frames);
    for (path, layout, _) in files {
        let context = || format!("cannot calibrate on {}", path.display());
        learner.set_layout(layout.clone(), &limits).with_context(context)?;
        let mut reader = FeatureReader::open(path, &limits)?;
        let mut index = 0;
        while let Some(values) = reader.next()? {
            if index % stride == 0 {
                let tensors: Vec<TensorRef<'_>> = values.iter().map(Values::tensor).collect();
                learner.add(&tensors).with_context(|| format!("frame {index}")).with_context(context)?;
                progress.advance(1)?;
            }
            index += 1;
        }
    }
    Ok(())
}

/// What makes a transform of frames.
enum Learner {
    Basis { calibrator: Box<Calibrator>, components: u32 },
    Pair(Box<PairCalibrator>),
}

/// A transform, and what is to be said of it.
struct Finished {
    transform: Transform,
    samples_advised: Option<u64>,
    errors: Option<Vec<f64>>,
    warnings: Vec<String>,
}

impl Learner {
    fn new(arguments: &Arguments, layout: &Layout, limits: &Limits) -> Result<Self> {
        let context = || format!("cannot calibrate on {}", arguments.inputs[0].display());
        if let (Some(reduction), Some(restoration)) = (&arguments.reduction, &arguments.restoration) {
            let pair = pair::open(reduction, restoration, layout.clone(), arguments.threads.into(), limits);
            return Ok(Self::Pair(Box::new(pair.with_context(context)?)));
        }
        let calibrator = Box::new(Calibrator::new(layout.clone(), limits).with_context(context)?);
        let dimension = calibrator.dimension();
        let components = arguments.components.unwrap_or(dimension.min(DEFAULT_COMPONENTS));
        ensure!(components <= dimension, "--components is {components}, legal are 1 to {dimension} for these layers");
        Ok(Self::Basis { calibrator, components })
    }

    fn finish(self) -> Result<Finished> {
        match self {
            Self::Basis { calibrator, components } => {
                let (samples, advised) = (calibrator.samples(), ENOUGH * u64::from(calibrator.dimension()));
                let few = (samples < advised).then(|| {
                    format!(
                        "{samples} samples (frames x grid positions) for the dimension {}: too few for a good transform, at \
                         least {advised} are advised; add more varied frames",
                        calibrator.dimension()
                    )
                });
                let spinner = Progress::spinner("decomposing the covariance");
                let transform = calibrator.finish(Some(components))?;
                drop(spinner);
                let warnings = few.into_iter().collect();
                Ok(Finished { transform, samples_advised: Some(advised), errors: None, warnings })
            }
            Self::Pair(pair) => {
                let errors = pair.errors();
                let transform = pair.finish()?;
                let warnings = pair::disorder(transform.variances()).into_iter().collect();
                Ok(Finished { transform, samples_advised: None, errors: Some(errors), warnings })
            }
        }
    }
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
    let (kind, errors) = match &r.errors {
        None => ("transform", String::new()),
        Some(errors) => {
            let errors: Vec<String> = errors.iter().map(|e| format!("{:.3} %", 100.0 * e)).collect();
            ("learned pair", format!("error without quantisation, layer by layer: {}\n", errors.join(", ")))
        }
    };
    format!(
        "{}: {kind} {}, {} of {} components, {}\n{} samples of {} frames, {:.1} s\n{errors}{table}",
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
