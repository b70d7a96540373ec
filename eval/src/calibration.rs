//! The transform that a codec uses: read from a file, or learnt from other sequences and videos.

mod back;
mod restoration;

use crate::cache::{Cache, hash_file, hash_files};
use crate::chains::Wanted;
use crate::network::{Front, Network};
use crate::output;
use crate::patchwork::Patchworks;
use crate::progress::Progress;
use crate::sequence::{open_picture, pictures};
use crate::video::VideoReader;
use anyhow::{Context, Result, ensure};
use back::{Halves, sensitivity, with_probe};
use fcm_codec::reduction::calibrate::{Calibrator, IntraTrainer};
use fcm_codec::{Layout, Limits, Restoration, TensorRef, Transform};
use half::f16;
use half::slice::HalfFloatSliceExt;
use image::RgbImage;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Components kept when nothing else is asked for, as in `fcm calibrate`.
const COMPONENTS: u32 = 640;
/// The same of a transform fitted to a task, whose first ones hold most of what the task needs. More serve it a little better where objects are
/// small and rates are high, and take longer (docs/experiments.md).
const TASK_COMPONENTS: u32 = 192;
/// Directions of the features along which a task is measured, and pictures that it is measured on, spread over all. More of either is a
/// little better and takes as much longer (docs/experiments.md).
const DIRECTIONS: u32 = 256;
const MEASURED: u64 = 32;
/// Pictures that the strength of restoration is chosen on, spread over all.
const JUDGED: u64 = 64;
/// Pictures that weights of intra prediction are learnt from, spread over all.
const PREDICTED: u64 = 64;

/// A sequence or a video to learn from, every n-th picture of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    path: PathBuf,
    stride: usize,
}

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, stride) = match text.rsplit_once(':') {
            Some((path, stride)) if !stride.contains('/') => {
                let stride = stride.parse().ok().filter(|n| *n > 0);
                (path, stride.ok_or_else(|| format!("stride in {text:?}, legal are whole numbers above 0"))?)
            }
            _ => (text, 1),
        };
        Ok(Self { path: path.into(), stride })
    }
}

impl Source {
    /// Name and stride, without any path.
    pub fn label(&self) -> String {
        let name = self.path.file_name().map_or_else(|| self.path.to_string_lossy(), |n| n.to_string_lossy());
        if self.stride == 1 { name.into_owned() } else { format!("{name}:{}", self.stride) }
    }

    fn hash(&self) -> Result<String> {
        if self.path.is_dir() {
            hash_files(pictures(&self.path)?.1.iter().step_by(self.stride))
        } else {
            hash_file(&self.path)
        }
    }

    fn is(&self, folder: &Path) -> bool {
        match (self.path.canonicalize(), folder.canonicalize()) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        }
    }

    /// Gives the chosen pictures to `take`, one after the other.
    fn each(&self, mut take: impl FnMut(&RgbImage) -> Result<()>) -> Result<()> {
        if self.path.is_dir() {
            for path in pictures(&self.path)?.1.iter().step_by(self.stride) {
                take(&open_picture(path)?)?;
            }
            return Ok(());
        }
        let mut video = VideoReader::open(&self.path)?;
        let mut n = 0;
        while let Some(picture) = video.next()? {
            if n % self.stride == 0 {
                take(&picture)?;
            }
            n += 1;
        }
        Ok(())
    }
}

/// What a transform is learnt from, and how large it is.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Where its pictures come from.
    pub sources: Vec<Source>,
    /// [Patchworks] that are made, and learnt from, for every picture.
    pub patchworks: u32,
    /// Components; `None` = 640, of a transform fitted to the task 192, or the dimension if that is less.
    pub components: Option<u32>,
    /// How what is decoded is restored; `None` = of a transform fitted to the task as far as is best on these pictures, of others in full.
    pub restoration: Option<Restoration>,
}

impl Recipe {
    /// What is learnt from, without any path.
    fn label(&self) -> String {
        let sources: Vec<String> = self.sources.iter().map(Source::label).collect();
        let patchworks = match self.patchworks {
            0 => String::new(),
            1 => " and a patchwork for every picture".into(),
            n => format!(" and {n} patchworks for every picture"),
        };
        sources.join(", ") + &patchworks
    }

    /// Gives the features of every `every`-th picture to `take`, patchworks counted.
    fn each(
        &self,
        every: usize,
        front: &mut Front,
        layout: &Layout,
        mut take: impl FnMut(&[Vec<f16>]) -> Result<()>,
    ) -> Result<()> {
        let mut narrow: Vec<Vec<f16>> =
            layout.layers().iter().map(|l| vec![f16::ZERO; l.shape.elements() as usize]).collect();
        let mut patchworks = Patchworks::new(front.size());
        let mut n = 0;
        let mut picture = |picture: &RgbImage| {
            n += 1;
            if (n - 1) % every != 0 {
                return Ok(());
            }
            // Through binary16, as `fcm calibrate` sees them in a file of features.
            for (to, from) in narrow.iter_mut().zip(front.run(picture)?) {
                to.convert_from_f32_slice(&from);
            }
            take(&narrow)
        };
        for source in &self.sources {
            let each = source.each(|shown| {
                picture(shown)?;
                if self.patchworks > 0 {
                    patchworks.show(shown);
                }
                (0..self.patchworks).try_for_each(|_| picture(&patchworks.make()))
            });
            each.with_context(|| format!("cannot calibrate on {}", source.label()))?;
        }
        Ok(())
    }
}

/// Where the transform of a run comes from.
#[derive(Debug, Clone)]
pub enum Calibration {
    /// Nowhere: a block DCT.
    None,
    /// A file.
    File(PathBuf),
    /// Learnt by this recipe.
    Learn(Recipe),
}

/// A transform, and what reports say of it.
#[derive(Clone)]
pub struct Calibrated {
    /// The one learnt from features alone, or the one of a file; `None` = block DCT, or no chain wants it.
    pub transform: Option<Arc<Transform>>,
    /// The one fitted to the task; only where a chain wants it, and the same where a file was named.
    pub task: Option<Arc<Transform>>,
    /// Where it came from.
    pub label: String,
}

impl Calibrated {
    /// The transform that a chain wants.
    pub fn wanted(&self, wanted: Wanted) -> Option<&Arc<Transform>> {
        match wanted {
            Wanted::None => None,
            Wanted::Any => self.transform.as_ref(),
            Wanted::Task => self.task.as_ref(),
        }
    }
}

impl Calibration {
    /// The transforms for testing the sequence in `tested`, from which nothing is ever learnt; the one for the task if that is `wanted`.
    ///
    /// # Errors
    /// When a source cannot be read, or nothing is left to learn from.
    pub fn get(
        &self,
        tested: &Path,
        wanted: &[Wanted],
        network: &Network,
        threads: usize,
        cache: &Cache,
    ) -> Result<Calibrated> {
        let wants = |kind| wanted.contains(&kind);
        ensure!(
            !wants(Wanted::Task) || !matches!(self, Calibration::None),
            "chains with a transform for the task need --calibrate or --transform"
        );
        match self {
            Calibration::None => Ok(Calibrated { transform: None, task: None, label: "none (block DCT)".into() }),
            Calibration::File(path) => {
                let transform = Arc::new(read(path)?);
                let kind = if transform.networks().is_some() { "learned pair, " } else { "" };
                let label = format!("{} ({kind}K = {})", transform.id(), transform.components());
                // What it was made for is the business of who names it.
                Ok(Calibrated { task: Some(transform.clone()), transform: Some(transform), label })
            }
            Calibration::Learn(recipe) => {
                let mut recipe = recipe.clone();
                recipe.sources.retain(|s| !s.is(tested));
                let name = || tested.file_name().unwrap_or(tested.as_os_str()).to_string_lossy();
                ensure!(
                    !recipe.sources.is_empty(),
                    "nothing to calibrate on is left for {}, which is not learnt from",
                    name()
                );
                let learn = |kind| {
                    let learnt = || learn(&recipe, kind == Wanted::Task, network, threads, cache);
                    wants(kind).then(|| learnt().map(Arc::new)).transpose()
                };
                let (transform, task) = (learn(Wanted::Any)?, learn(Wanted::Task)?);
                let sizes = [(&transform, ""), (&task, " fitted to the task")];
                let sizes: Vec<String> = sizes
                    .iter()
                    .filter_map(|(t, what)| t.as_ref().map(|t| format!("K = {}{what}", t.components())))
                    .collect();
                let label = format!("{}, learnt from {}", sizes.join(" and "), recipe.label());
                Ok(Calibrated { transform, task, label })
            }
        }
    }
}

/// Reads a `.fcmt` file.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn read(path: &Path) -> Result<Transform> {
    let context = || format!("cannot read the transform {}", path.display());
    let bytes = std::fs::read(path).with_context(context)?;
    Transform::from_bytes(&bytes, &Limits::default()).with_context(context)
}

/// Learns a transform with a probe by a recipe, fitted to the task or not, unless that was done before.
///
/// # Errors
/// When a source cannot be read, the network fails, or there are not so many components.
pub fn learn(recipe: &Recipe, task: bool, network: &Network, threads: usize, cache: &Cache) -> Result<Transform> {
    let default = if task { TASK_COMPONENTS } else { COMPONENTS };
    let mut hashes = Vec::new();
    for source in &recipe.sources {
        hashes.push(json!([source.hash()?, source.stride]));
    }
    let key = json!({
        "network": network.front_key(), "sources": hashes, "patchworks": recipe.patchworks,
        "components": recipe.components.unwrap_or(default),
        "back": network.back_key(), "task": task.then(|| network.tracker().high),
        "restoration": recipe.restoration.map(|r| (r.strength.share(), r.gain.factor())),
        "code": [env!("FCM_EVAL_CALIBRATION"), env!("FCM_EVAL_CODEC"), env!("FCM_EVAL_NETWORK")],
    });
    let path = cache.path("fcmt", &key);
    if path.exists() {
        return read(&path);
    }
    let mut halves = Halves::open(recipe, network, threads)?;
    let mut calibrator = Calibrator::new(halves.layout().clone(), &Limits::default())?;
    let mut pictures = 0u64;
    let progress = Progress::counter("calibrating");
    halves.each(1, |_, narrow| {
        pictures += 1;
        calibrator.add(&tensors(narrow))?;
        progress.frame()
    })?;
    let dimension = calibrator.dimension();
    let components = recipe.components.unwrap_or_else(|| dimension.min(default));
    ensure!(components <= dimension, "--components is {components}, legal are 1 to {dimension} for these layers");
    let moments = calibrator.moments()?;
    let every = |wanted| spread(pictures, wanted, u64::from(recipe.patchworks) + 1) as usize;
    let transform = if task {
        let directions = moments.transform(Some(DIRECTIONS.min(dimension)))?;
        let meter = sensitivity(&mut halves, &directions, every(MEASURED))?;
        moments.transform_for(Some(components), &meter)?
    } else {
        moments.transform(Some(components))?
    };
    let transform = with_intra_weights(&mut halves, &transform, every(PREDICTED))?;
    let restoration = match recipe.restoration {
        Some(given) => given,
        None if task => restoration::strength(&mut halves, &transform, every(JUDGED), network.tracker().high)?.into(),
        None => Restoration::default(),
    };
    let transform = transform.with_restoration(restoration);
    let transform = with_probe(&mut halves, transform)?;
    output::write(&path, &transform.to_bytes())?;
    Ok(transform)
}

/// The transform with weights for the prediction of intra positions, learnt from every `every`-th picture.
fn with_intra_weights(halves: &mut Halves<'_>, transform: &Transform, every: usize) -> Result<Transform> {
    let mut trainer = IntraTrainer::new(transform, halves.layout().clone(), &Limits::default())?;
    let progress = Progress::counter("learning prediction, pictures");
    halves.each(every, |_, narrow| {
        trainer.add(&tensors(narrow))?;
        progress.frame()
    })?;
    Ok(trainer.finish()?)
}

/// Every how-manieth of `count` pictures makes about `wanted`. Each comes with its patchworks in a cycle, and whatever has a place in it is to be
/// among them.
fn spread(count: u64, wanted: u64, cycle: u64) -> u64 {
    let every = count.div_ceil(wanted).max(1);
    (every..).find(|every| (2..=cycle).all(|n| !every.is_multiple_of(n) || !cycle.is_multiple_of(n))).unwrap_or(every)
}

fn tensors(narrow: &[Vec<f16>]) -> Vec<TensorRef<'_>> {
    narrow.iter().map(|v| TensorRef::F16(v)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_and_patchworks_are_both_asked_about() {
        for (count, cycle) in [(1, 1), (7, 2), (238, 2), (384, 2), (357, 3), (1000, 6), (5000, 17)] {
            let every = spread(count, 32, cycle);
            let taken: Vec<u64> = (0..count).step_by(every as usize).collect();
            assert!(taken.len() <= 32 && taken.len() as u64 >= count.min(20), "{count}: {}", taken.len());
            let places: std::collections::HashSet<u64> = taken.iter().map(|n| n % cycle).collect();
            assert_eq!(places.len() as u64, cycle.min(count), "{count} in cycles of {cycle}");
        }
        assert_eq!(spread(0, 32, 2), 1);
    }

    #[test]
    fn a_stride_follows_the_last_colon() {
        let source = |text: &str| text.parse::<Source>();
        assert_eq!(source("a/b:3").unwrap(), Source { path: "a/b".into(), stride: 3 });
        assert_eq!(source("a:b/c").unwrap(), Source { path: "a:b/c".into(), stride: 1 });
        assert_eq!(source("x/TUD-Campus:2").unwrap().label(), "TUD-Campus:2");
        assert!(source("a:0").unwrap_err().contains("a:0"));
    }
}
