//! Running chains: every (sequence, chain, setting) is a task whose outcome is kept.

use crate::cache::Cache;
use crate::calibration::Calibrated;
use crate::chains::{Chain, FarSide, Input, Pictures, Setting};
use crate::features::{FeatureFile, FeatureWriter, layout};
use crate::network::{Back, Front, Network};
use crate::progress::Progress;
use crate::sequence::Sequence;
use anyhow::{Context, Result, anyhow, bail};
use fcm_analytics::detection::Detection;
use fcm_analytics::geometry::{Placement, Rect};
use half::f16;
use image::RgbImage;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A sequence with its features and the transform for it.
pub struct Prepared {
    /// Pictures and ground truth.
    pub sequence: Sequence,
    /// What the front half makes of the pictures.
    pub features: FeatureFile,
    /// The transform of codecs that use one.
    pub calibrated: Calibrated,
    /// Width and height of the network's input.
    input: (u32, u32),
    /// Where the pictures lie in it.
    placement: Placement,
    key: Value,
}

impl Prepared {
    /// Runs the front half over the sequence, unless that was done before.
    ///
    /// # Errors
    /// When a picture cannot be read, the model fails, or the cache cannot be written.
    pub fn new(
        sequence: Sequence,
        calibrated: Calibrated,
        network: &Network,
        threads: usize,
        cache: &Cache,
    ) -> Result<Self> {
        let key = json!({"network": network.front_key(), "pictures": sequence.hash, "frames": sequence.frames()});
        let path = cache.path("f16", &key);
        let mut front = network.open_front(threads)?;
        if !path.exists() {
            let progress = Progress::frames("features", sequence.frames());
            let mut writer = FeatureWriter::create(&path, &layout(&front.layers())?)?;
            for n in 0..sequence.frames() {
                let layers = front.run(&sequence.picture(n)?)?;
                writer.write(&layers.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
                progress.frame()?;
            }
            writer.commit()?;
            progress.line(format_args!("{}: features of {} frames", sequence.name, sequence.frames()));
        }
        let features = FeatureFile::open(&path)?;
        let (input, placement) = (front.size(), front.placement(sequence.size)?);
        Ok(Self { sequence, features, calibrated, input, placement, key })
    }
}

impl Pictures for Prepared {
    fn picture(&self, n: u64) -> Result<RgbImage> {
        self.sequence.picture(n)
    }

    fn scaled(&self) -> (u32, u32) {
        (self.placement.width, self.placement.height)
    }
}

/// A chain and the settings to run it at.
pub struct Run {
    /// The chain.
    pub chain: Box<dyn Chain>,
    /// From the highest rate to the lowest.
    pub settings: Vec<Setting>,
}

/// What one chain at one setting made of one sequence. Everything a report says is computed from this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Bytes sent.
    pub bytes: u64,
    /// Seconds from features or pictures to bytes.
    pub encoding: f64,
    /// Seconds from bytes to features or pictures.
    pub decoding: f64,
    /// Persons of every frame: left, top, width, height in pixels of the picture, score.
    persons: Vec<Vec<[f32; 5]>>,
}

impl Outcome {
    /// The persons as detections.
    pub fn detections(&self) -> Vec<Vec<Detection>> {
        let detection = |&[x, y, w, h, score]: &[f32; 5]| Detection { rect: Rect::new(x, y, w, h), score, class: 0 };
        self.persons.iter().map(|frame| frame.iter().map(detection).collect()).collect()
    }
}

struct Task<'a> {
    prepared: &'a Prepared,
    chain: &'a dyn Chain,
    setting: Setting,
    key: Value,
}

impl std::fmt::Display for Task<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let setting = self.setting.to_string();
        write!(
            f,
            "{}: {}{}{setting}",
            self.prepared.sequence.name,
            self.chain.name(),
            if setting.is_empty() { "" } else { " " }
        )
    }
}

/// Outcomes of all runs on all sequences: `[sequence][run][setting]`. What is in the cache is taken from there, and what
/// is computed put there at once.
///
/// # Errors
/// When a chain or the network fails, or on an interrupt.
pub fn outcomes(
    network: &Network,
    sequences: &[Prepared],
    runs: &[Run],
    workers: usize,
    cache: &Cache,
) -> Result<Vec<Vec<Vec<Outcome>>>> {
    let mut tasks = Vec::new();
    for prepared in sequences {
        for run in runs {
            let identity = run.chain.identity().with_context(|| format!("chain {}", run.chain.name()))?;
            let transform = prepared.calibrated.wanted(run.chain.wanted());
            for &setting in &run.settings {
                let key = json!({
                    "features": prepared.key, "back": network.back_key(), "chain": run.chain.name(), "identity": identity,
                    "chains": env!("FCM_EVAL_CHAINS"), "setting": setting, "framerate": prepared.sequence.framerate,
                    "transform": transform.map(|t| t.id().to_string()),
                });
                tasks.push(Task { prepared, chain: &*run.chain, setting, key });
            }
        }
    }
    let mut done: Vec<Option<Outcome>> = tasks.iter().map(|t| cache.get(&t.key)).collect();
    let open: Vec<usize> = (0..tasks.len()).filter(|&n| done[n].is_none()).collect();
    if !open.is_empty() {
        let kept = tasks.len() - open.len();
        let progress = Progress::frames("chains", open.iter().map(|&n| tasks[n].prepared.sequence.frames()).sum());
        if kept > 0 {
            progress.line(format_args!("{kept} of {} results were there already", tasks.len()));
        }
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let results = Mutex::new(Vec::new());
        let work = || -> Result<()> {
            let mut halves = None;
            while let Some(&n) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
                let task = &tasks[n];
                let outcome =
                    perform(task, network, &mut halves, &progress, &failed).with_context(|| task.to_string())?;
                cache.put(&task.key, &outcome)?;
                progress.line(format_args!("{task}: {:.1} kbit/s", kbit_per_second(outcome.bytes, task.prepared)));
                results.lock().map_err(|_| anyhow!("another worker failed"))?.push((n, outcome));
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let work = || work().inspect_err(|_| failed.store(true, Ordering::Relaxed));
            let threads: Vec<_> = (0..workers.min(open.len())).map(|_| scope.spawn(work)).collect();
            let ends: Vec<Result<()>> =
                threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(anyhow!("a worker panicked")))).collect();
            // The first cause, not that others stopped because of it.
            let mut errors: Vec<anyhow::Error> = ends.into_iter().filter_map(Result::err).collect();
            errors.sort_by_key(|e| e.is::<Stopped>());
            errors.into_iter().next().map_or(Ok(()), Err)
        })?;
        for (n, outcome) in results.into_inner().map_err(|_| anyhow!("a worker panicked"))? {
            done[n] = Some(outcome);
        }
    }
    let mut done = done.into_iter();
    let mut take = || done.next().flatten().context("a task without an outcome");
    sequences.iter().map(|_| runs.iter().map(|run| run.settings.iter().map(|_| take()).collect()).collect()).collect()
}

/// Rate of a sequence's bytes in kbit/s.
fn kbit_per_second(bytes: u64, prepared: &Prepared) -> f64 {
    let (n, d) = prepared.sequence.framerate;
    bytes as f64 * 8.0 / 1000.0 / prepared.sequence.frames() as f64 * f64::from(n) / f64::from(d)
}

/// Another worker failed.
#[derive(Debug)]
struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped, because another chain failed")
    }
}

impl std::error::Error for Stopped {}

/// Both halves of a worker; the same network for all its tasks.
struct Halves {
    front: Front,
    back: Back,
}

fn perform(
    task: &Task<'_>,
    network: &Network,
    halves: &mut Option<Halves>,
    progress: &Progress,
    failed: &AtomicBool,
) -> Result<Outcome> {
    let prepared = task.prepared;
    let halves = match halves {
        Some(halves) => halves,
        None => {
            let front = network.open_front(1)?;
            let names: Vec<String> = prepared.features.layout().layers().iter().map(|l| l.name.clone()).collect();
            let back = network.open_back(&names, prepared.input, 1)?;
            halves.insert(Halves { front, back })
        }
    };
    let mut far = Receiver { prepared, halves, progress, failed, persons: Vec::new() };
    let input = Input {
        features: &prepared.features,
        framerate: prepared.sequence.framerate,
        transform: prepared.calibrated.wanted(task.chain.wanted()).cloned(),
        pictures: prepared,
    };
    let sent = task.chain.send(&input, task.setting, &mut far)?;
    let (arrived, frames) = (far.persons.len() as u64, prepared.sequence.frames());
    if arrived != frames {
        bail!("{arrived} of {frames} frames arrived");
    }
    let (encoding, decoding) = (sent.encoding.as_secs_f64(), sent.decoding.as_secs_f64());
    Ok(Outcome { bytes: sent.bytes, encoding, decoding, persons: far.persons })
}

/// The far side: the back half, and for pictures the front half before it.
struct Receiver<'a> {
    prepared: &'a Prepared,
    halves: &'a mut Halves,
    progress: &'a Progress,
    failed: &'a AtomicBool,
    persons: Vec<Vec<[f32; 5]>>,
}

impl Receiver<'_> {
    fn take(&mut self, found: &[Detection], scale: (f32, f32)) -> Result<()> {
        let person = |d: &Detection| {
            [d.rect.x * scale.0, d.rect.y * scale.1, d.rect.width * scale.0, d.rect.height * scale.1, d.score]
        };
        self.persons.push(found.iter().map(person).collect());
        if self.failed.load(Ordering::Relaxed) {
            bail!(Stopped);
        }
        self.progress.frame()
    }
}

impl FarSide for Receiver<'_> {
    fn features(&mut self, layers: &[Vec<f16>]) -> Result<()> {
        let found = self.halves.back.run_f16(layers, &self.prepared.placement)?;
        self.take(&found, (1.0, 1.0))
    }

    fn picture(&mut self, picture: &RgbImage) -> Result<()> {
        let placement = self.halves.front.placement(picture.dimensions())?;
        let layers = self.halves.front.run(picture)?;
        let found = self.halves.back.run(&layers, &placement)?;
        let size = self.prepared.sequence.size;
        let scale = (size.0 as f32 / picture.width() as f32, size.1 as f32 / picture.height() as f32);
        self.take(&found, scale)
    }
}
