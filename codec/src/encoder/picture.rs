//! The encoder's chain up to a picture: statistics → reduction → conversion. A video encoder does the rest.

use super::{Clock, EncodeTimes, Encoder, EncoderConfig};
use crate::bitstream::{Chroma, InnerCodec, PictureFormat, Sequence};
use crate::conversion::PlaneMut;
use crate::conversion::quantise::Range;
use crate::conversion::tiling::{self, Tiling};
use crate::error::{Error, Result};
use crate::picture::PictureRecord;
use crate::reduction::Transform;
use crate::reduction::learned::InferenceRuntime;
use crate::statistics::{self, MeanStd, StatisticsMode};
use crate::tensor::{Layout, TensorRef};
use crate::{FrameStatistics, Limits};
use std::sync::Arc;
use std::time::Instant;

/// Settings of a [`PicturePacker`].
#[derive(Debug, Clone)]
pub struct PackerConfig {
    /// What the decoder restores. Default: z-score.
    pub statistics: StatisticsMode,
    /// How far the decoder moves layers to the statistics signalled: [`EncoderConfig::restoration_strength`].
    pub restoration_strength: Option<f32>,
    /// Calibrated transform; `None` = block DCT.
    pub transform: Option<Arc<Transform>>,
    /// What runs the networks of a learned transform; other transforms need none.
    pub runtime: Option<Arc<dyn InferenceRuntime>>,
    /// Components kept, strongest first; `None` = all that the transform has.
    pub components: Option<u32>,
    /// Bits of a sample, 8 or 10. Default: 10.
    pub depth: u8,
    /// Chroma planes that the video encoder wants. Default: 4:2:0.
    pub chroma: Chroma,
    /// Worker threads, 1 to 64; 0 = one for each core. Default: 1.
    pub threads: usize,
    /// Frame rate written into the sequence parameter set; `(0, 1)` = unknown.
    pub framerate: (u32, u32),
    /// Bounds on shapes.
    pub limits: Limits,
}

impl Default for PackerConfig {
    fn default() -> Self {
        Self {
            statistics: StatisticsMode::ZScore,
            restoration_strength: None,
            transform: None,
            runtime: None,
            components: None,
            depth: 10,
            chroma: Chroma::default(),
            threads: 1,
            framerate: (0, 1),
            limits: Limits::default(),
        }
    }
}

/// Turns feature sets of one layout into pictures, one each.
pub struct PicturePacker {
    /// Its first stages; it codes nothing.
    encoder: Encoder,
    sequence: Arc<Sequence>,
    format: PictureFormat,
    tiling: Tiling,
    times: EncodeTimes,
    number: u64,
}

impl PicturePacker {
    /// Checks `config` against `layout` and makes a packer.
    ///
    /// # Errors
    /// `InvalidConfig` with the offending value and its legal range; `LimitExceeded`; `Transform` when the transform was calibrated on
    /// other shapes, or is a learned pair that cannot be run.
    pub fn new(config: PackerConfig, layout: Layout) -> Result<Self> {
        if config.depth != 8 && config.depth != 10 {
            return Err(Error::config(format!("pictures of {} bits, legal are 8 and 10", config.depth)));
        }
        let (depth, chroma) = (config.depth, config.chroma);
        let config = EncoderConfig {
            statistics: config.statistics,
            restoration_strength: config.restoration_strength,
            // How much a video encoder will leave out is not known here.
            restoration_gain: Some(1.0),
            transform: config.transform,
            runtime: config.runtime,
            components: config.components,
            // A video encoder predicts by itself.
            intra_prediction: false,
            // A video encoder has skipping of its own.
            skip_threshold: 0.0,
            threads: config.threads,
            framerate: config.framerate,
            limits: config.limits,
            ..EncoderConfig::default()
        };
        let encoder = Encoder::new(config, layout)?;
        let (count, grid) = (encoder.sequence.components as usize, encoder.forward.grid());
        let format = tiling::format(count, grid.height, grid.width, depth, chroma, &encoder.config.limits)?;
        let tiling = Tiling::new(&format, count, grid.height, grid.width)?;
        let inner = InnerCodec::Picture(format);
        let version = Sequence::version_for(true, encoder.sequence.restoration, None);
        // The other tools are those of the native inner codec.
        let sequence = Sequence { version, inner, error_resilient: false, motion: false, ..encoder.sequence.clone() };
        let sequence = Arc::new(sequence);
        Ok(Self { encoder, sequence, format, tiling, times: EncodeTimes::default(), number: 0 })
    }

    /// The layout that every frame must have.
    pub fn layout(&self) -> &Layout {
        &self.sequence.layout
    }

    /// Parameters of the stream. Which video codec it is that will code the pictures, a packer does not know.
    pub fn sequence(&self) -> &Arc<Sequence> {
        &self.sequence
    }

    /// The pictures.
    pub fn format(&self) -> &PictureFormat {
        &self.format
    }

    /// Measured statistics of the frame packed last.
    pub fn statistics(&self) -> &FrameStatistics {
        self.encoder.statistics()
    }

    /// What the stages took for the frame packed last.
    pub fn times(&self) -> &EncodeTimes {
        &self.times
    }

    /// Counts the next picture as number 0.
    pub fn reset(&mut self) {
        self.number = 0;
    }

    /// Makes the luma plane of the picture of one frame. What it returns must reach the one who writes the coded picture into the stream.
    ///
    /// # Errors
    /// As [`Encoder::encode`]; `InvalidInput` too when the plane is too small or has other samples.
    pub fn pack(&mut self, tensors: &[TensorRef<'_>], out: PlaneMut<'_>) -> Result<PictureRecord> {
        let mut clock = Clock(Instant::now());
        let mut times = EncodeTimes::default();
        let encoder = &mut self.encoder;
        encoder.sequence.layout.check(tensors)?;
        encoder.measure(tensors)?;
        times.statistics = clock.lap();
        encoder.reduce(tensors, true, true, &mut times, &mut clock)?;
        encoder.measured.fused = MeanStd::from(&statistics::measure_planes(&mut encoder.planes));
        times.statistics += clock.lap();
        let range = Range::of(&encoder.planes);
        self.tiling.pack(&encoder.planes, &range, out)?;
        times.quantise = clock.lap();
        self.times = times;
        let record = PictureRecord {
            sequence: self.sequence.clone(),
            statistics: encoder.measured.clone(),
            peaks: encoder.peaks.clone(),
            range,
            number: self.number,
        };
        self.number += 1;
        Ok(record)
    }
}
