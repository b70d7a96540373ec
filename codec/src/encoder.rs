//! The encoder: statistics → reduction → inner coding → access unit.

use crate::bitstream::FRAME_NUMBERS;
use crate::bitstream::picture::{Pair, PictureParameters};
use crate::bitstream::stream::MARKER;
use crate::bitstream::unit::{self, UnitHeader, UnitType};
use crate::bitstream::{InnerCodec, Reduction, Sequence, StreamFormat};
use crate::error::Result;
use crate::inner::native::planes::{Levels, PlaneCoder};
use crate::limits;
use crate::quantiser::rate_distortion::RateDistortion;
use crate::quantiser::{self, Quantiser, Steps};
use crate::rate_control::RateController;
use crate::reduction::forward::{self, Forward};
use crate::reduction::grid::Grid;
use crate::reduction::relevance;
use crate::refinement::RestorationGain;
use crate::slices::{FrameHead, SliceWriter, Slicing};
use crate::statistics::{self, FrameStatistics, MeanStd, StatisticsMode};
use crate::tensor::{Layout, TensorRef};
use crate::threads;
use std::time::{Duration, Instant};
use strength::Strength;

mod config;
pub(crate) mod picture;
mod signalling;
mod strength;

pub use config::{EncoderConfig, RateControl};

/// Positions without a usable prediction, in per cent, from which a predicted frame counts as a scene cut.
const SCENE_CUT: usize = 80;
/// The reference scale may be off by this factor before the frame is made a random access point.
const SCALE_DRIFT: f32 = 4.0;
/// What the caller wants of one frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameRequest {
    /// Make it a random access point.
    pub random_access: bool,
}

/// Whether a frame can be decoded on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// Decodable without any earlier access unit; carries all parameter sets.
    RandomAccess,
    /// Needs the frame before it.
    Predicted,
}

/// What became of one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncodedFrame {
    /// Frames encoded before this one.
    pub index: u64,
    /// Random access or predicted.
    pub kind: FrameKind,
    /// Bytes of the access unit.
    pub bytes: usize,
    /// Bytes of it that are unit headers, parameter sets and checks, statistics values not counted.
    pub header_bytes: usize,
    /// Bytes of it that are statistics values.
    pub statistics_bytes: usize,
    /// Quantiser parameter used.
    pub qp: u8,
    /// Whether the statistics were refreshed with this frame.
    pub refreshed: bool,
    /// Time spent in each stage.
    pub times: EncodeTimes,
}

/// Time that the stages of encoding one frame took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncodeTimes {
    /// Statistics.
    pub statistics: Duration,
    /// Finding the vectors of the grid that changed, and gathering them.
    pub gather: Duration,
    /// Projection on the components, or the run of the reduction network.
    pub project: Duration,
    /// Quantisation and choice of prediction.
    pub quantise: Duration,
    /// Entropy coding and writing.
    pub code: Duration,
}

/// Codes feature sets of one layout, frame by frame, with no delay. See docs/bitstream.md.
pub struct Encoder {
    config: EncoderConfig,
    sequence: Sequence,
    forward: Forward,
    /// Of a calibrated basis; `None` where all components are made anyway.
    strength: Option<Strength>,
    pool: Option<rayon::ThreadPool>,
    planes: Vec<f32>,
    quantiser: Quantiser,
    coder: PlaneCoder,
    levels: Levels,
    /// Score of each position; empty in a stream without relevance.
    scores: Vec<f32>,
    background_offset: u8,
    rate: Option<RateController>,
    measured: FrameStatistics,
    peaks: Vec<f32>,
    signalled: PictureParameters,
    /// Of the statistics of the fused tensor.
    gain: RestorationGain,
    /// Statistics of whole layers when they were signalled last, as they travel.
    held: Vec<Pair>,
    scale: f32,
    /// Quantiser of the frame before.
    last_qp: u8,
    /// Positions and components that were projected of the frame encoded last.
    projected: usize,
    projected_components: usize,
    /// Frames since the start, the last random access point, and the last refresh.
    index: u64,
    since_random_access: u32,
    since_refresh: u32,
    /// A frame was quantised but could not be written: no decoder has what it would predict from.
    broken: bool,
    payload: Vec<u8>,
    slices: SliceWriter,
}

impl Encoder {
    /// Checks `config` against `layout` and makes an encoder.
    ///
    /// # Errors
    /// `InvalidConfig` with the offending value and its legal range; `LimitExceeded`; `Transform` when the
    /// transform was calibrated on other shapes, or is a learned pair that cannot be run.
    pub fn new(config: EncoderConfig, layout: Layout) -> Result<Self> {
        config::check(&config)?;
        limits::check("number of values in a frame", layout.elements(), config.limits.max_elements)?;
        let grid = Grid::new(&layout, &config.limits)?;
        let components =
            forward::check(&layout, &grid, config.transform.as_deref(), config.components, &config.limits)?;
        limits::check("number of components", components as u64, u64::from(config.limits.max_components))?;
        let background_offset = config::background_offset(&config)?;
        let relevance = background_offset > 0;
        let restoration = config::restoration(&config)?;
        let pool = threads::pool(config.threads)?;
        let (transform, runtime) = (config.transform.as_deref(), config.runtime.as_deref());
        let forward = Forward::new(&layout, grid.clone(), transform, components, runtime, config.threads)?;
        let (height, width, positions) = (grid.height, grid.width, grid.positions());
        let layers = layout.layers().len();
        let weights = config::intra_weights(&config, &grid, components);
        let intra_prediction = !weights.is_empty();
        let reduction = config.transform.as_ref().map_or(Reduction::Dct, |t| Reduction::Calibrated(t.id()));
        let sequence = Sequence {
            version: Sequence::version_for(false, restoration.strength, intra_prediction.then_some(reduction)),
            layout,
            inner: InnerCodec::Native,
            statistics: config.statistics,
            reduction,
            components: components as u32,
            framerate: config.framerate,
            stats_period: config.stats_period,
            lossless: config.lossless,
            relevance,
            error_resilient: config.error_resilient,
            motion: config.motion_compensation && !config.lossless,
            restoration: restoration.strength,
            intra_prediction,
        };
        let coder = PlaneCoder::new(components, height, width, sequence.syntax(), u64::MAX);
        let chooser = (config.rd_strength > 0.0 && !config.lossless)
            .then(|| RateDistortion::new(config.rd_strength, coder.costs(), components, positions, width));
        Ok(Self {
            planes: vec![0.0; components * positions],
            quantiser: Quantiser::new(components, (height, width), chooser, sequence.motion, weights),
            coder,
            levels: Levels::new(components, height, width),
            scores: vec![0.0; if relevance { positions } else { 0 }],
            background_offset,
            rate: rate_controller(config.rate_control),
            measured: FrameStatistics { layers: vec![MeanStd::default(); layers], fused: MeanStd::default() },
            peaks: vec![0.0; layers],
            signalled: PictureParameters::default(),
            gain: restoration.gain,
            held: Vec::new(),
            scale: 1.0,
            last_qp: 0,
            projected: 0,
            projected_components: 0,
            index: 0,
            since_random_access: 0,
            since_refresh: 0,
            broken: false,
            payload: Vec::new(),
            slices: SliceWriter::default(),
            strength: strength(&config, components, relevance),
            forward,
            pool,
            sequence,
            config,
        })
    }

    /// The layout that every frame must have.
    pub fn layout(&self) -> &Layout {
        &self.sequence.layout
    }

    /// Parameters of the stream that is written.
    pub fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// The settings in force.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Changes the rate control from the next frame on.
    ///
    /// # Errors
    /// `InvalidConfig`; the old settings stay.
    pub fn set_rate_control(&mut self, rate_control: RateControl) -> Result<()> {
        config::check_rate_control(rate_control)?;
        match (&mut self.rate, rate_control) {
            (Some(rate), RateControl::Bitrate { kbit_per_second, frames_per_second }) => {
                rate.retarget(kbit_per_second, frames_per_second);
            }
            (rate, _) => *rate = rate_controller(rate_control),
        }
        self.config.rate_control = rate_control;
        Ok(())
    }

    /// Codes one frame and appends its access unit to `out`.
    ///
    /// # Errors
    /// `InvalidInput` when `tensors` do not have the layout or hold NaN or an infinity (the message names layer
    /// and index); `Transform` when the network of a learned one fails or gives such values. After an error `out` is as it was, and the next frame may be encoded.
    pub fn encode(
        &mut self,
        tensors: &[TensorRef<'_>],
        request: FrameRequest,
        out: &mut Vec<u8>,
    ) -> Result<EncodedFrame> {
        let mut clock = Clock(Instant::now());
        let mut times = EncodeTimes::default();
        self.sequence.layout.check(tensors)?;
        self.measure(tensors)?;
        times.statistics = clock.lap();
        let kind = self.choose_kind(request);
        let random_access = kind == FrameKind::RandomAccess;
        let due = self.refresh_is_due();
        self.reduce(tensors, random_access, random_access || due, &mut times, &mut clock)?;

        self.measured.fused = MeanStd::from(&statistics::measure_planes(&mut self.planes));
        let probe = self.config.transform.as_ref().and_then(|t| t.probe());
        if let Some(probe) = probe.filter(|_| self.sequence.relevance) {
            probe.score(&self.planes, &mut self.scores);
            relevance::map(&self.scores, self.forward.grid().width, &mut self.levels.relevance);
        }
        let mut refresh = random_access || due;
        if random_access {
            self.update_signalled(tensors, true);
            self.scale = self.signalled.reference_scale();
        }
        times.statistics += clock.lap();

        let qp = self.choose_qp(kind);
        self.last_qp = qp;
        let steps = (!self.config.lossless).then(|| Steps::new(qp, self.background_offset));
        let planes = &self.planes[..self.projected_components * self.levels.modes.len()];
        let predicted = self.quantiser.quantise(planes, self.scale, steps, random_access, &mut self.levels);
        let positions = self.levels.modes.len();
        refresh |= self.config.stats_threshold > 0.0 && (positions - predicted) * 100 >= positions * SCENE_CUT;
        refresh &= self.config.statistics != StatisticsMode::None || random_access;
        if refresh && !random_access {
            self.update_signalled(tensors, false);
        }
        if refresh {
            self.raise_fused(qp);
        }
        times.quantise = clock.lap();

        let start = out.len();
        self.broken = true;
        let (statistics_bytes, coded_bytes) = self.write(kind, qp, refresh, out)?;
        self.broken = false;
        times.code = clock.lap();

        let bytes = out.len() - start;
        let encoded = EncodedFrame {
            index: self.index,
            kind,
            bytes,
            header_bytes: bytes - statistics_bytes - coded_bytes,
            statistics_bytes,
            qp,
            refreshed: refresh,
            times,
        };
        if let Some(rate) = &mut self.rate {
            rate.update(kind, qp, bytes);
        }
        self.index += 1;
        self.since_random_access = if random_access { 1 } else { self.since_random_access.saturating_add(1) };
        self.since_refresh = if refresh { 1 } else { self.since_refresh.saturating_add(1) };
        Ok(encoded)
    }

    /// Measured statistics of the frame encoded last: of the unquantised tensors.
    pub fn statistics(&self) -> &FrameStatistics {
        &self.measured
    }

    /// The encoder's own reconstruction of the fused tensor of the last frame, in fixed point: what a decoder
    /// must have, bit for bit. `K` planes, each of the grid's positions in raster order.
    pub fn reconstruction(&self) -> &[i32] {
        self.quantiser.reconstruction()
    }

    /// The scale that quantiser steps are relative to (docs/bitstream.md §6), of the frame encoded last.
    pub fn reference_scale(&self) -> f32 {
        self.scale
    }

    /// The parameter sets of the sequence in the encoder's format, for `codec_data`.
    pub fn sequence_header(&self) -> Vec<u8> {
        let (mut out, mut payload) = (Vec::new(), Vec::new());
        if self.config.format == StreamFormat::ByteStream {
            out.extend_from_slice(&MARKER);
        }
        self.sequence.write(&mut payload);
        unit::write(&mut out, UnitHeader { unit_type: UnitType::Sequence, last: false, nibble: 0 }, &payload);
        out
    }

    /// Forgets the stream: the next frame starts a new one with frame number 0.
    pub fn reset(&mut self) {
        self.index = 0;
        self.rate = rate_controller(self.config.rate_control);
    }

    /// Positions of the frame encoded last that had changed, and so were projected: [`EncoderConfig::skip_threshold`].
    pub fn projected(&self) -> usize {
        self.projected
    }

    /// Components of the frame encoded last that can give levels, and so were projected: [`EncoderConfig::skip_threshold`].
    pub fn projected_components(&self) -> usize {
        self.projected_components
    }

    /// Which positions of the frame encoded last were found relevant, one byte each in raster order: 0 relevant, 1 background.
    pub fn relevance(&self) -> &[u8] {
        &self.levels.relevance
    }

    fn measure(&mut self, tensors: &[TensorRef<'_>]) -> Result<()> {
        for (n, tensor) in tensors.iter().enumerate() {
            let name = &self.sequence.layout.layers()[n].name;
            let moments = match tensor {
                TensorRef::F16(values) => statistics::measure(n, name, values)?,
                TensorRef::F32(values) => statistics::measure(n, name, values)?,
            };
            self.measured.layers[n] = MeanStd::from(&moments);
            self.peaks[n] = (f64::from(moments.max) - moments.mean()).clamp(0.0, f64::from(f32::MAX)) as f32;
        }
        Ok(())
    }

    /// Makes the planes of the fused tensor, `whole` if its statistics are to be signalled. If not, components too weak to give a level
    /// stay as they were: a scene cut, which is only found later, then signals statistics with those of the frame before.
    fn reduce(
        &mut self,
        tensors: &[TensorRef<'_>],
        random_access: bool,
        whole: bool,
        times: &mut EncodeTimes,
        clock: &mut Clock,
    ) -> Result<()> {
        let step = quantiser::step(self.last_qp) as f32 * quantiser::unit(self.scale);
        let tolerance = self.skip_tolerance(step);
        let planes = &mut self.planes;
        self.projected_components = self.sequence.components as usize;
        match &mut self.forward {
            Forward::Learned(network) => {
                network.reduce(tensors, planes)?;
                self.projected = network.grid().positions();
            }
            Forward::Linear(projection) => {
                let positions = projection.grid().positions();
                let mut forget = random_access;
                match &mut self.strength {
                    Some(_) if whole => forget = true,
                    Some(strength) => {
                        let (components, more) = strength.at(step);
                        self.projected_components = components;
                        forget |= more;
                    }
                    None => {}
                }
                if forget {
                    projection.forget();
                }
                let used = &mut planes[..self.projected_components * positions];
                match &self.pool {
                    Some(pool) => {
                        let threads = pool.current_num_threads();
                        pool.install(|| projection.gather(tensors, tolerance, true));
                        times.gather = clock.lap();
                        self.projected = pool.install(|| projection.project(used, threads));
                    }
                    None => {
                        projection.gather(tensors, tolerance, false);
                        times.gather = clock.lap();
                        self.projected = projection.project(used, 1);
                    }
                }
                if let Some(strength) = self.strength.as_mut().filter(|_| whole) {
                    strength.measure(planes, positions);
                }
            }
        }
        times.project = clock.lap();
        Ok(())
    }

    /// How far (Euclidean) the vector of a position may be from what was projected last and count as unchanged, at a quantiser step of
    /// `step` in values.
    fn skip_tolerance(&self, step: f32) -> f32 {
        if self.config.lossless {
            return 0.0;
        }
        self.config.skip_threshold * step * (self.forward.grid().dimension as f32).sqrt()
    }

    fn choose_kind(&self, request: FrameRequest) -> FrameKind {
        let due = self.config.key_int_max > 0 && self.since_random_access >= self.config.key_int_max;
        let std_dev = statistics::aggregate(self.measured.layers.iter().copied()).std_dev;
        let scale = quantiser::reference_scale(std_dev);
        // Constant layers set no scale, so none can have drifted away.
        let drifted = self.config.reference_scale.is_none()
            && !self.config.lossless
            && std_dev > 0.0
            && !(self.scale / SCALE_DRIFT..=self.scale * SCALE_DRIFT).contains(&scale);
        if self.index == 0 || self.broken || request.random_access || due || drifted {
            FrameKind::RandomAccess
        } else {
            FrameKind::Predicted
        }
    }

    fn choose_qp(&mut self, kind: FrameKind) -> u8 {
        match (&mut self.rate, self.config.rate_control) {
            (Some(rate), _) => {
                let (planes, scale, offset) = (&self.planes, self.scale, self.background_offset);
                let relevance = &self.levels.relevance;
                let levels = || Quantiser::count_nonzero(planes, scale, offset, relevance);
                rate.choose(kind, self.config.key_int_max, levels)
            }
            (None, RateControl::DefaultQp) => RateControl::default_qp(self.config.transform.is_some()),
            (None, RateControl::ConstantQp(qp)) => qp,
            (None, RateControl::Bitrate { .. }) => unreachable!("a bit rate comes with a controller"),
        }
    }

    /// Writes the access unit; returns how many bytes of it are statistics values, and how many are entropy-coded.
    fn write(&mut self, kind: FrameKind, qp: u8, refresh: bool, out: &mut Vec<u8>) -> Result<(usize, usize)> {
        let random_access = kind == FrameKind::RandomAccess;
        let start = out.len();
        let mut statistics_bytes = 0;
        if random_access {
            if self.config.format == StreamFormat::ByteStream {
                out.extend_from_slice(&MARKER);
            }
            self.payload.clear();
            self.sequence.write(&mut self.payload);
            unit::write(out, UnitHeader { unit_type: UnitType::Sequence, last: false, nibble: 0 }, &self.payload);
        }
        if refresh {
            self.payload.clear();
            self.signalled.write(self.config.statistics, &mut self.payload);
            statistics_bytes = self.payload.len();
            let nibble = u8::from(self.signalled.reference_scale.is_some());
            unit::write(out, UnitHeader { unit_type: UnitType::Picture, last: false, nibble }, &self.payload);
        }
        let head = FrameHead {
            kind,
            number: (self.index % u64::from(FRAME_NUMBERS)) as u32,
            qp,
            background_offset: self.sequence.relevance.then_some(self.background_offset),
        };
        let slicing = match self.sequence.error_resilient {
            true => Slicing::Longest(self.config.slice_size as usize),
            false => Slicing::Never,
        };
        let ahead = out.len() - start;
        let written =
            self.slices.write(head, slicing, &mut self.coder, &mut self.levels, ahead, out).and_then(|coded| {
                let bytes = (out.len() - start) as u64;
                limits::check("number of bytes in an access unit", bytes, self.config.limits.max_access_unit)?;
                Ok((statistics_bytes, coded))
            });
        written.inspect_err(|_| out.truncate(start))
    }
}

/// What tells the components that are worth projecting; `None` where all are made. With `relevance` those that the probe looks at are.
fn strength(config: &EncoderConfig, components: usize, relevance: bool) -> Option<Strength> {
    let transform = config.transform.as_ref().filter(|t| t.networks().is_none())?;
    let probe = transform.probe().filter(|_| relevance).map_or(0, |probe| probe.weights().len());
    (config.skip_threshold > 0.0 && !config.lossless)
        .then(|| Strength::new(&transform.variances()[..components], probe.min(components)))
}

/// Measures stretches of time one after the other.
struct Clock(Instant);

impl Clock {
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.0, now))
    }
}

fn rate_controller(rate_control: RateControl) -> Option<RateController> {
    match rate_control {
        RateControl::DefaultQp | RateControl::ConstantQp(_) => None,
        RateControl::Bitrate { kbit_per_second, frames_per_second } => {
            Some(RateController::new(kbit_per_second, frames_per_second))
        }
    }
}
