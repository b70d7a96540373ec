//! The decoder: access unit → inner decoding → refinement → inverse reduction → refinement.

use crate::bitstream::FRAME_NUMBERS;
use crate::bitstream::access_unit::AccessUnit;
use crate::bitstream::picture::{Pair, PictureParameters};
use crate::bitstream::{InnerCodec, Reduction, Sequence};
use crate::encoder::FrameKind;
use crate::error::{Error, ErrorKind, Result};
use crate::inner::native::planes::{BACKGROUND, INTER, Levels, PlaneCoder, Relevance};
use crate::intra::{self, IntraWeights};
use crate::kernels::moments::Moments;
use crate::limits::{self, Limits};
use crate::motion::Compensation;
use crate::quantiser::{self, Steps, VALUE_MAX};
use crate::reduction::forward;
use crate::reduction::grid::Grid;
use crate::reduction::inverse::{Fused, Inverse};
use crate::reduction::learned::InferenceRuntime;
use crate::reduction::{self, Transform};
use crate::refinement::Affine;
#[cfg(feature = "calibrate")]
use crate::refinement::RestorationStrength;
use crate::slices::{self, FrameRead};
use crate::statistics::{self, FrameStatistics, MeanStd, StatisticsMode};
use crate::tensor::{Dtype, Layout, TensorMut};
use crate::threads;
use half::slice::HalfFloatSliceExt;
use rayon::ThreadPool;
use std::sync::Arc;

pub(crate) mod picture;

/// Predicted frames after which the vectors are summed anew, so that rounding errors of endless prediction stay small.
const RENEWAL: u32 = 512;
/// Predicted frames that one with motion counts as: sources of vectors are averaged without the rounding of the components.
const MOVED: u32 = 8;

/// Largest finite binary16 value; restored values beyond it are clamped, not made infinite.
const F16_MAX: f32 = 65_504.0;

/// Settings of a [`Decoder`].
#[derive(Debug, Clone)]
pub struct DecoderConfig {
    /// Calibrated transforms that streams may name, any number.
    pub transforms: Vec<Arc<Transform>>,
    /// What runs the networks of learned transforms; other transforms need none.
    pub runtime: Option<Arc<dyn InferenceRuntime>>,
    /// Worker threads, 1 to 64; 0 = one for each core. Default: 1. The result is the same for any number, but with a learned transform in
    /// the last bits, as its runtime rounds.
    pub threads: usize,
    /// Whether frames are given out only if they are exactly what the encoder reconstructed. If not, an error-resilient stream goes
    /// on after a loss, with [`DecodedFrame::damage`]. Default: false.
    pub exact_only: bool,
    /// Bounds on what a stream may ask for.
    pub limits: Limits,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self { transforms: Vec::new(), runtime: None, threads: 1, exact_only: false, limits: Limits::default() }
    }
}

/// Decodes access units, whole ones in order. Holds the state of one stream.
pub struct Decoder {
    config: DecoderConfig,
    pool: Option<ThreadPool>,
    stream: Option<Box<Stream>>,
    /// Number of the frame decoded last; `None` after an error, a reset, and at the start.
    number: Option<u32>,
    /// Frames since the last one that was exact; 0 = the last one was.
    inexact: u32,
    layout_changed: bool,
}

/// What an access unit gave.
pub enum Decoded<'a> {
    /// A frame; write its tensors with [`DecodedFrame::write`].
    Frame(DecodedFrame<'a>),
    /// A predicted frame whose predecessor is missing (late join, loss, or an error before) in a stream that cannot go on without.
    /// Nothing can be shown until the next random access point. `missing` is how many frame numbers were skipped, if that is known.
    AwaitingRandomAccess {
        /// Frames missing before this one, modulo 64; `None` when nothing was decoded before.
        missing: Option<u32>,
    },
}

/// A decoded frame, borrowed from the decoder until its tensors are written.
pub struct DecodedFrame<'a> {
    stream: &'a mut Stream,
    kind: FrameKind,
    number: u32,
    qp: u8,
    refreshed: bool,
    layout_changed: bool,
    damage: Option<Damage>,
}

/// In what a frame differs from what the encoder reconstructed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Frames up to this one, since the last one that was exact; at least 1.
    pub frames: u32,
    /// Frames missing directly before this one, modulo 64; `None` where that is not known.
    pub missing: Option<u32>,
    /// Groups of components that came of this frame, strongest first, and that it has.
    pub groups: (usize, usize),
}

/// Everything that depends on the sequence.
pub(crate) struct Stream {
    sequence: Sequence,
    /// The sequence parameter set as it came.
    payload: Vec<u8>,
    inverse: Inverse,
    coder: PlaneCoder,
    levels: Levels,
    /// Columns of the grid.
    width: usize,
    reconstruction: Vec<i32>,
    /// One triple a component; none where intra positions are not predicted.
    intra_weights: Vec<IntraWeights>,
    compensation: Compensation,
    /// Σ and Σ² of the reconstruction, exact.
    sum: i128,
    squares: i128,
    scale: f32,
    /// A frame was decoded, and nothing failed since: a frame that is predicted from it makes sense.
    sound: bool,
    signalled: PictureParameters,
    since_renewal: u32,
    /// What restored layers are refined by, by region of a position.
    refine: Vec<[Affine; 2]>,
    moments: Vec<[Moments; 2]>,
    /// A binary16 layer before rounding.
    wide: Vec<f32>,
    statistics: FrameStatistics,
}

impl Decoder {
    /// Makes a decoder that waits for a random access point.
    ///
    /// # Errors
    /// `InvalidConfig` for more than 64 threads.
    pub fn new(config: DecoderConfig) -> Result<Self> {
        let pool = threads::pool(config.threads)?;
        Ok(Self { config, pool, stream: None, number: None, inexact: 0, layout_changed: false })
    }

    /// Adds a transform that streams may name.
    pub fn add_transform(&mut self, transform: Arc<Transform>) {
        self.config.transforms.push(transform);
    }

    /// Parameters of the stream, once a random access point was seen.
    pub fn sequence(&self) -> Option<&Sequence> {
        self.stream.as_ref().map(|s| &s.sequence)
    }

    /// Decodes one whole access unit, in byte-stream or packetized format.
    ///
    /// # Errors
    /// * `Corruption`, `InsufficientData`, `LimitExceeded`: the access unit is dropped; the decoder waits for the
    ///   next random access point and stays usable.
    /// * `Transform`: the stream's transform is missing or another one was given, and the message has both ids; or it is a learned pair that
    ///   cannot be run.
    /// * `Compatibility`, `Unsupported`: nothing of this stream can be decoded.
    pub fn decode(&mut self, access_unit: &[u8]) -> Result<Decoded<'_>> {
        let before = self.number.take();
        let unit = AccessUnit::read_whole(access_unit, &self.config.limits)?;
        let missing = before.map(|b| unit.number.wrapping_sub(b + 1) % FRAME_NUMBERS);
        let random_access = unit.kind == FrameKind::RandomAccess;
        if let Some(payload) = unit.sequence
            && let Err(error) = self.start(payload)
        {
            // What follows belongs to the sequence that cannot be decoded, not to the one before.
            self.reset();
            return Err(error);
        }
        let continuous = random_access || missing == Some(0);
        let exact_only = self.config.exact_only;
        let goes_on = |s: &Stream| s.sound && (continuous || (s.sequence.error_resilient && !exact_only));
        let stream = match &mut self.stream {
            Some(stream) if random_access || goes_on(stream) => stream,
            _ => return Ok(Decoded::AwaitingRandomAccess { missing }),
        };
        let read = stream.decode(&unit, self.pool.as_ref())?;
        let groups = (read.groups, stream.coder.groups());
        let exact = groups.0 == groups.1 && (random_access || (missing == Some(0) && self.inexact == 0));
        self.inexact = if exact { 0 } else { self.inexact.saturating_add(1) };
        if exact_only && !exact {
            return Ok(Decoded::AwaitingRandomAccess { missing });
        }
        self.number = Some(unit.number);
        let damage = Damage { frames: self.inexact, missing, groups };
        Ok(Decoded::Frame(DecodedFrame {
            stream,
            kind: unit.kind,
            number: unit.number,
            qp: unit.qp,
            refreshed: unit.picture.is_some(),
            layout_changed: std::mem::take(&mut self.layout_changed),
            damage: (!exact).then_some(damage),
        }))
    }

    /// The frame decoded last, its layers restored by another strength than the stream's.
    #[cfg(feature = "calibrate")]
    pub(crate) fn restored_by(&mut self, strength: RestorationStrength) -> Result<&mut Stream> {
        let stream = self.stream.as_mut().ok_or_else(|| Error::input("nothing was decoded"))?;
        stream.sequence.restoration = strength;
        stream.refine_layers();
        Ok(stream)
    }

    /// Something is missing before the next access unit, nobody knows how much (a discontinuity). An error-resilient stream goes on,
    /// inexactly; others wait for a random access point.
    pub fn discontinuity(&mut self) {
        self.number = None;
    }

    /// Forgets the stream and waits for a random access point (after a flush, or where another stream begins).
    pub fn reset(&mut self) {
        self.number = None;
        if let Some(stream) = &mut self.stream {
            stream.sound = false;
        }
    }

    /// Fixed-point fused tensor of the last frame, equal to [`crate::Encoder::reconstruction`] bit for bit.
    pub fn reconstruction(&self) -> &[i32] {
        self.stream.as_ref().map_or(&[], |s| &s.reconstruction)
    }

    /// Makes the state for the sequence in `payload`, unless it is the one at hand.
    fn start(&mut self, payload: &[u8]) -> Result<()> {
        // Every random access point repeats the same bytes: those need no parsing, which takes memory.
        if self.stream.as_ref().is_some_and(|s| s.payload == payload) {
            return Ok(());
        }
        let sequence = Sequence::parse(payload, &self.config.limits)?;
        if let InnerCodec::Picture(format) = sequence.inner {
            let message = format!("pictures coded by {}: a video decoder has to be asked", format.codec.name());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let same_layout = self.stream.as_ref().is_some_and(|s| s.sequence.layout == sequence.layout);
        let transform = match sequence.reduction {
            Reduction::Dct => None,
            Reduction::Calibrated(id) => Some(self.transform(id)?),
        };
        // The old state goes first: two of the largest size need not fit into memory together.
        self.layout_changed |= !same_layout;
        self.stream = None;
        self.stream = Some(Box::new(Stream::new(sequence, payload.to_vec(), transform.as_deref(), &self.config)?));
        Ok(())
    }

    fn transform(&self, id: crate::TransformId) -> Result<Arc<Transform>> {
        if let Some(t) = self.config.transforms.iter().find(|t| t.id() == id) {
            return Ok(t.clone());
        }
        let have: Vec<String> = self.config.transforms.iter().map(|t| t.id().to_string()).collect();
        let have = if have.is_empty() { "none was given".to_owned() } else { format!("given was {}", have.join(", ")) };
        Err(Error::new(ErrorKind::Transform, format!("the stream needs transform {id}, {have}")))
    }
}

impl Stream {
    fn new(
        sequence: Sequence,
        payload: Vec<u8>,
        transform: Option<&Transform>,
        config: &DecoderConfig,
    ) -> Result<Self> {
        let (limits, runtime) = (&config.limits, config.runtime.as_deref());
        let grid = Grid::new(&sequence.layout, limits)?;
        let components = forward::check(&sequence.layout, &grid, transform, Some(sequence.components), limits)
            .map_err(|e| if e.kind() == ErrorKind::InvalidConfig { Error::corrupt(e.to_string()) } else { e })?;
        let positions = grid.positions();
        limits::check("number of values in the fused tensor", components as u64 * positions as u64, limits.max_fused)?;
        let layers = sequence.layout.layers().len();
        let regions = sequence.regions();
        let narrow = sequence.layout.layers().iter().filter(|l| l.dtype == Dtype::F16);
        let inverse =
            Inverse::new(&sequence.layout, grid.clone(), transform, components, regions, runtime, config.threads)?;
        let widest = narrow.map(|l| l.shape.elements() as usize).max().unwrap_or(0);
        Ok(Self {
            coder: PlaneCoder::new(components, grid.height, grid.width, sequence.syntax(), limits.max_decisions),
            levels: Levels::new(components, grid.height, grid.width),
            reconstruction: vec![0; components * positions],
            width: grid.width,
            intra_weights: intra_weights(&sequence, &grid, transform)?,
            compensation: Compensation::new(grid.height, grid.width),
            sum: 0,
            squares: 0,
            scale: 1.0,
            sound: false,
            signalled: PictureParameters::default(),
            since_renewal: 0,
            refine: vec![[Affine::IDENTITY; 2]; layers],
            moments: vec![[Moments::new(0.0); 2]; layers],
            statistics: FrameStatistics { layers: vec![MeanStd::default(); layers], fused: MeanStd::default() },
            inverse,
            wide: vec![0.0; widest],
            sequence,
            payload,
        })
    }

    fn decode(&mut self, unit: &AccessUnit<'_>, pool: Option<&ThreadPool>) -> Result<FrameRead> {
        self.sound = false;
        let random_access = unit.kind == FrameKind::RandomAccess;
        self.read_parameters(unit, random_access)?;
        let read = slices::read(unit, &self.sequence, &mut self.coder, &mut self.levels)?;
        let steps =
            if self.sequence.lossless { Steps::uniform(1) } else { Steps::new(unit.qp, read.background_offset) };
        self.compensate();
        self.reconstruct(steps, random_access, read.components)?;
        let unit = quantiser::unit(self.scale);
        self.inverse.add(&self.levels.levels, unit, pool);
        if random_access {
            self.since_renewal = 0;
        } else {
            self.since_renewal += if self.compensation.moves().is_empty() { 1 } else { MOVED };
            if self.since_renewal >= RENEWAL {
                self.since_renewal = 0;
                self.inverse.clear();
                self.inverse.add(&self.reconstruction, unit, pool);
            }
        }
        self.refine_fused(unit)?;
        self.refine_layers();
        self.sound = true;
        Ok(read)
    }

    fn read_parameters(&mut self, unit: &AccessUnit<'_>, random_access: bool) -> Result<()> {
        let layers = self.sequence.layout.layers().len();
        if let Some((payload, explicit)) = unit.picture {
            self.signalled.parse(payload, self.sequence.statistics, layers, self.sequence.regions(), explicit)?;
        }
        if random_access {
            self.scale = self.signalled.reference_scale();
        }
        Ok(())
    }

    /// Moves the reconstruction of the frame before along the vectors.
    fn compensate(&mut self) {
        self.compensation.set(&self.levels.vectors);
        if self.compensation.moves().is_empty() {
            return;
        }
        let (mut sum, mut squares) = (self.sum, self.squares);
        for plane in self.reconstruction.chunks_exact_mut(self.levels.modes.len()) {
            self.compensation.apply(plane, |old, new| {
                let (old, new) = (i64::from(old), i64::from(new));
                sum += i128::from(new - old);
                squares += i128::from(new * new - old * old);
            });
        }
        (self.sum, self.squares) = (sum, squares);
        self.inverse.shift(self.compensation.moves());
    }

    /// Adds the levels to the prediction, and turns them into the changes of the reconstruction. Of components from `received` on
    /// nothing came: they stay as they are where a position is predicted and in a random access frame, which in a still scene is
    /// nearly right.
    fn reconstruct(&mut self, steps: Steps, random_access: bool, received: usize) -> Result<()> {
        let positions = self.levels.modes.len();
        if random_access {
            let (renewed, kept) = self.reconstruction.split_at_mut(received * positions);
            renewed.fill(0);
            self.sum = kept.iter().map(|&v| i128::from(v)).sum();
            self.squares = kept.iter().map(|&v| i128::from(i64::from(v) * i64::from(v))).sum();
            self.inverse.clear();
            self.levels.levels[received * positions..].copy_from_slice(kept);
        }
        let decoded = if random_access { received } else { self.reconstruction.len() / positions };
        let Levels { levels, modes, relevance, .. } = &mut self.levels;
        let planes = levels.chunks_exact_mut(positions).zip(self.reconstruction.chunks_exact_mut(positions));
        for (c, (levels, reconstruction)) in planes.take(decoded).enumerate() {
            if random_access && levels.iter().all(|&level| level == 0) {
                // Nothing predicts anything but zero.
                continue;
            }
            let weights = self.intra_weights.get(c);
            for (p, level) in levels.iter_mut().enumerate() {
                let old = i64::from(reconstruction[p]);
                let prediction = match modes[p] {
                    INTER => old,
                    _ => i64::from(intra::predict_in(reconstruction, p, self.width, weights)),
                };
                if *level == 0 && prediction == old {
                    continue;
                }
                let new = prediction + i64::from(*level) * i64::from(steps.of(relevance[p]));
                if new.abs() > i64::from(VALUE_MAX) {
                    return Err(Error::corrupt(format!("a value of {new}, the largest magnitude is {VALUE_MAX}")));
                }
                self.sum += i128::from(new - old);
                self.squares += i128::from(new * new) - i128::from(old * old);
                *level = (new - old) as i32;
                reconstruction[p] = new as i32;
            }
        }
        Ok(())
    }

    /// Σ and Σ² of the reconstruction, exact, and how many values they are of; by region.
    fn fused_sums(&self) -> [(i128, i128, usize); 2] {
        let Some(regions) = regions_of(&self.sequence, &self.levels) else {
            return [(self.sum, self.squares, self.reconstruction.len()), (0, 0, 0)];
        };
        let mut background = (0i128, 0i128);
        for plane in self.reconstruction.chunks_exact(regions.len()) {
            // Most values are zero.
            for (&v, _) in plane.iter().zip(regions).filter(|&(&v, &r)| v != 0 && r == BACKGROUND) {
                background.0 += i128::from(v);
                background.1 += i128::from(i64::from(v) * i64::from(v));
            }
        }
        let components = self.reconstruction.len() / regions.len();
        let count = components * regions.iter().filter(|&&r| r == BACKGROUND).count();
        let relevant = (self.sum - background.0, self.squares - background.1, self.reconstruction.len() - count);
        [relevant, (background.0, background.1, count)]
    }

    /// Refines the fused tensor and restores the layers of it.
    fn refine_fused(&mut self, unit: f32) -> Result<()> {
        let sums = self.fused_sums();
        let decoded = sums.map(|(sum, squares, count)| fused_moments(sum, squares, count, unit));
        let refine = [0, 1].map(|region: usize| match self.signalled.fused.get(region) {
            Some(to) => to_pair(decoded[region], *to),
            None => Affine::IDENTITY,
        });
        self.statistics.fused = match self.signalled.fused[..] {
            [to] => MeanStd { mean: f64::from(to.mean), std_dev: f64::from(to.std_dev) },
            [relevant, background] => {
                let counts = sums.map(|(_, _, count)| count as f64);
                statistics::pooled([relevant, background].map(MeanStd::from), counts)
            }
            _ => fused_moments(self.sum, self.squares, self.reconstruction.len(), unit),
        };
        self.restore(unit, refine)
    }

    /// Restores the layers of the fused tensor refined by `refine`, by region.
    fn restore(&mut self, unit: f32, refine: [Affine; 2]) -> Result<()> {
        let regions = regions_of(&self.sequence, &self.levels);
        self.inverse.restore(Fused { values: &self.reconstruction, unit, regions }, refine)
    }

    fn region_count(&self) -> usize {
        if regions_of(&self.sequence, &self.levels).is_some() { 2 } else { 1 }
    }

    fn refine_layers(&mut self) {
        let regions = self.region_count();
        for n in 0..self.moments.len() {
            for region in 0..regions {
                let of = regions_of(&self.sequence, &self.levels);
                self.moments[n][region] = self.inverse.moments(n, region, of);
            }
        }
        let strength = self.sequence.restoration;
        for region in 0..regions {
            let signalled = &self.signalled.layers;
            let common = match (self.sequence.statistics, signalled.get(region)) {
                (StatisticsMode::Simplified, Some(to)) => {
                    let decoded = statistics::aggregate(self.moments.iter().map(|m| MeanStd::from(&m[region])));
                    to_pair(decoded, *to).partly(strength)
                }
                _ => Affine::IDENTITY,
            };
            let layers = self.refine.len();
            for (n, (refine, moments)) in self.refine.iter_mut().zip(&self.moments).enumerate() {
                refine[region] = match self.sequence.statistics {
                    StatisticsMode::ZScore => {
                        to_pair(MeanStd::from(&moments[region]), signalled[region * layers + n]).partly(strength)
                    }
                    StatisticsMode::Simplified => common,
                    StatisticsMode::Ecs => {
                        Affine::energy_compensation(&moments[region], f64::from(self.signalled.peaks[n]))
                    }
                    StatisticsMode::None => Affine::IDENTITY,
                };
            }
        }
        for ((restored, refine), moments) in self.statistics.layers.iter_mut().zip(&self.refine).zip(&self.moments) {
            let of = |region: usize| {
                let (decoded, refine) = (MeanStd::from(&moments[region]), refine[region]);
                MeanStd { mean: refine.scale * decoded.mean + refine.offset, std_dev: refine.scale * decoded.std_dev }
            };
            *restored = match regions {
                1 => of(0),
                _ => statistics::pooled([of(0), of(1)], [0, 1].map(|region: usize| moments[region].count as f64)),
            };
        }
    }

    pub(crate) fn write(&mut self, n: usize, out: TensorMut<'_>) -> Result<()> {
        let layers = self.sequence.layout.layers();
        let Some(layer) = layers.get(n) else {
            return Err(Error::input(format!("layer {n}, there are {}", layers.len())));
        };
        let regions = regions_of(&self.sequence, &self.levels);
        let refine = self.refine[n];
        let fits = |len: usize| len as u64 == layer.shape.elements();
        match (layer.dtype, out) {
            (Dtype::F32, TensorMut::F32(out)) if fits(out.len()) => self.inverse.write(n, regions, refine, out, |v| v),
            (Dtype::F16, TensorMut::F16(out)) if fits(out.len()) => {
                let wide = &mut self.wide[..out.len()];
                self.inverse.write(n, regions, refine, wide, |v| v.clamp(-F16_MAX, F16_MAX));
                out.convert_from_f32_slice(wide);
            }
            (dtype, out) => {
                return Err(Error::input(format!(
                    "{} values of {:?} to write layer {n} to, it has {} of {dtype:?}",
                    out.len(),
                    out.dtype(),
                    layer.shape.elements()
                )));
            }
        }
        Ok(())
    }
}

/// Weights of the intra prediction of a stream, one triple a component.
fn intra_weights(sequence: &Sequence, grid: &Grid, transform: Option<&Transform>) -> Result<Vec<IntraWeights>> {
    if !sequence.intra_prediction {
        return Ok(Vec::new());
    }
    reduction::intra_weights(transform, grid, sequence.components as usize)
        .ok_or_else(|| Error::corrupt("intra prediction with a transform that has no weights for it"))
}

/// Regions with a refinement of their own: `None` where one holds for all positions.
fn regions_of<'a>(sequence: &Sequence, levels: &'a Levels) -> Option<&'a [Relevance]> {
    (sequence.relevance && sequence.statistics.restores_deviations()).then_some(&levels.relevance[..])
}

/// Mean and standard deviation of `count` fixed-point values with this sum and sum of squares; 0 of nothing.
fn fused_moments(sum: i128, squares: i128, count: usize, unit: f32) -> MeanStd {
    let n = count.max(1) as f64;
    let mean = sum as f64 / n;
    let variance = (squares as f64 / n - mean * mean).max(0.0);
    MeanStd { mean: mean * f64::from(unit), std_dev: variance.sqrt() * f64::from(unit) }
}

/// The map from values with the statistics `decoded` to values with those of `to`.
fn to_pair(decoded: MeanStd, to: Pair) -> Affine {
    Affine::z_score(decoded.mean, decoded.std_dev, f64::from(to.mean), f64::from(to.std_dev))
}

impl DecodedFrame<'_> {
    /// Layers of this frame.
    pub fn layout(&self) -> &Layout {
        &self.stream.sequence.layout
    }

    /// Parameters of the stream.
    pub fn sequence(&self) -> &Sequence {
        &self.stream.sequence
    }

    /// Whether the layout is not that of the frame before (also true for the first frame).
    pub fn layout_changed(&self) -> bool {
        self.layout_changed
    }

    /// Random access or predicted.
    pub fn kind(&self) -> FrameKind {
        self.kind
    }

    /// Frame number, modulo 64.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// In what it differs from what the encoder reconstructed; `None` if it is exactly that.
    pub fn damage(&self) -> Option<Damage> {
        self.damage
    }

    /// Quantiser parameter.
    pub fn qp(&self) -> u8 {
        self.qp
    }

    /// Whether the access unit carried statistics.
    pub fn refreshed(&self) -> bool {
        self.refreshed
    }

    /// Statistics of the frame: of the tensors as written (before rounding to binary16), and those signalled for the
    /// fused tensor (measured ones when the stream's mode signals none).
    pub fn statistics(&self) -> &FrameStatistics {
        &self.stream.statistics
    }

    /// Writes layer `n`, restored, into `out`. May be called for any layers in any order, each any number of times.
    ///
    /// # Errors
    /// `InvalidInput` when there is no layer `n` or `out` has another length or type than the layer.
    pub fn write(&mut self, n: usize, out: TensorMut<'_>) -> Result<()> {
        self.stream.write(n, out)
    }
}
