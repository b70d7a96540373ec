//! Settings of the encoder: what they mean, their defaults and legal ranges.

use crate::bitstream::StreamFormat;
use crate::error::{Error, Result};
use crate::intra::IntraWeights;
use crate::limits::Limits;
use crate::quantiser::QP_MAX;
use crate::reduction::grid::Grid;
use crate::reduction::learned::InferenceRuntime;
use crate::reduction::{self, Transform};
use crate::refinement::{Restoration, RestorationGain, RestorationStrength};
use crate::statistics::StatisticsMode;
use std::sync::Arc;

/// How the encoder chooses the quantiser of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RateControl {
    /// A constant quantiser parameter that leaves networks most of what they find: [`default_qp`](Self::default_qp).
    DefaultQp,
    /// The same quantiser parameter for every frame, 0 (near lossless) to 63 (unusable). The step doubles every 6.
    ConstantQp(u8),
    /// A long-run average of `kbit_per_second` at `frames_per_second` frames a second.
    Bitrate {
        /// Target in 1000 bit/s, at least 1.
        kbit_per_second: u32,
        /// Frame rate as a fraction; both at least 1.
        frames_per_second: (u32, u32),
    },
}

impl RateControl {
    /// Quantiser parameter of streams for which none is chosen: 32 with a calibrated transform, 20 without. A block DCT spreads what
    /// counts over more components, each of which loses it to a coarser quantiser sooner (docs/experiments.md, "Without a transform").
    pub const fn default_qp(calibrated: bool) -> u8 {
        if calibrated { 32 } else { 20 }
    }
}

/// Settings of an [`Encoder`](super::Encoder). `Default` is the one source of the default values.
#[derive(Debug, Clone)]
pub struct EncoderConfig {
    /// Quantiser or bit rate. Default: a constant qp that suits the transform.
    pub rate_control: RateControl,
    /// Most frames from one random access point to the next; 0 = only the first frame is one. Default: 32.
    pub key_int_max: u32,
    /// Frames between refreshes of the signalled statistics; 0 = with every random access point only. Default: 0.
    pub stats_period: u32,
    /// Relative drift of a layer's statistics (of mean or standard deviation, in standard deviations) past
    /// which they are refreshed at once; 0 = never. Default: 0.05.
    pub stats_threshold: f32,
    /// What the decoder restores. Default: z-score.
    pub statistics: StatisticsMode,
    /// How far the decoder moves layers to the statistics signalled, 0 = not at all to 1 = in full, to the nearest sixteenth. `None` = as the
    /// transform says, which was found when it was fitted to a task, or in full. Modes ecs and none have none to choose.
    pub restoration_strength: Option<f32>,
    /// How many times its own statistics the fused tensor is restored to, 1 = just those to 4, to the nearest sixteenth: makes up for scores
    /// that sink with what coding leaves out. In force from qp 24 to 32, fading to none at 0 and 36. `None` = as the transform
    /// says, or 1. Modes ecs and none have no such statistics, lossless streams nothing to make up for, and with a
    /// block DCT, which has no means that components could be larger against, layers restored in full stay as they are.
    pub restoration_gain: Option<f32>,
    /// Calibrated transform, a basis or a learned pair; `None` = block DCT, which needs no calibration.
    pub transform: Option<Arc<Transform>>,
    /// What runs the networks of a learned transform; other transforms need none.
    pub runtime: Option<Arc<dyn InferenceRuntime>>,
    /// Components kept, strongest first; `None` = all that the transform has. 1 to that number.
    pub components: Option<u32>,
    /// How much coarser positions are coded that the transform's probe finds irrelevant, in steps of qp, 0 to 63; 0 = as fine as
    /// the others, and nothing else is legal with a transform that has no probe. Default: 0.
    pub background_offset: u8,
    /// With a calibrated basis: positions whose values changed by less than this many quantiser steps (root mean square) since
    /// they were projected last are taken to be unchanged, which saves work and the bits of noise. 0 = none; random access frames
    /// take all positions as they are. Between them, components too weak to give a level are left out too, unless this is 0. Of no
    /// effect with a learned transform, whose network sees whole layers. Finite and at least 0. Default: 0.05.
    pub skip_threshold: f32,
    /// What a bit is worth when levels are chosen, each the nearest or none, in squared quantiser steps: the larger, the fewer bits and
    /// the larger the error at one qp. 0 = levels are rounded, whatever they cost. Finite and at least 0; lossless streams do not look
    /// at it. Default: 0.08.
    pub rd_strength: f32,
    /// Whether every frame can be entropy-decoded without the one before, so that a decoder goes on after a loss, and frames may be
    /// cut into slices. Costs 3 to 7 % of the rate. Default: true.
    pub error_resilient: bool,
    /// Whether blocks of positions may be predicted along vectors, which saves bits where cameras or objects move, and costs time only
    /// there. Of no effect on lossless streams. Default: true.
    pub motion_compensation: bool,
    /// Whether intra positions are predicted from those around them, by the weights of the transform, or fixed ones of a block DCT: fewer
    /// bits for random access frames and for what comes into sight. Of no effect with transforms that have none. Default: true.
    pub intra_prediction: bool,
    /// Bytes from which a frame is cut into slices, each about as long as that: a lost one costs only itself and what is
    /// weaker. 0 = one slice a frame; of no effect unless `error_resilient`. Default: 1150, which fits into a packet.
    pub slice_size: u32,
    /// Worker threads, 1 to 64; 0 = one for each core. Default: 1.
    pub threads: usize,
    /// Framing of the access units written. Default: byte stream.
    pub format: StreamFormat,
    /// Frame rate written into the sequence parameter set; `(0, 1)` = unknown.
    pub framerate: (u32, u32),
    /// Fixes the scale that quantiser steps are relative to, instead of taking it from the statistics at
    /// every random access point. Finite and above 0.
    pub reference_scale: Option<f32>,
    /// Codes the fixed-point fused tensor without loss (for tests of the inner codec): `qp` is then ignored.
    pub lossless: bool,
    /// Bounds on shapes.
    pub limits: Limits,
}

/// Quantiser parameter above which networks lose most of what they find when the reduction is a block DCT (docs/experiments.md,
/// "Without a transform").
const COARSE_FOR_DCT: u8 = 26;

impl Default for EncoderConfig {
    fn default() -> Self {
        Self {
            rate_control: RateControl::DefaultQp,
            key_int_max: 32,
            stats_period: 0,
            stats_threshold: 0.05,
            statistics: StatisticsMode::ZScore,
            restoration_strength: None,
            restoration_gain: None,
            transform: None,
            runtime: None,
            components: None,
            background_offset: 0,
            skip_threshold: 0.05,
            rd_strength: 0.08,
            error_resilient: true,
            motion_compensation: true,
            intra_prediction: true,
            slice_size: 1150,
            threads: 1,
            format: StreamFormat::ByteStream,
            framerate: (0, 1),
            reference_scale: None,
            lossless: false,
            limits: Limits::default(),
        }
    }
}

impl EncoderConfig {
    /// What speaks against these settings though they are legal, in words for whoever chose them; `None` = nothing.
    pub fn advice(&self) -> Option<String> {
        match self.rate_control {
            RateControl::ConstantQp(qp) if qp > COARSE_FOR_DCT && self.transform.is_none() && !self.lossless => {
                Some(format!(
                    "qp {qp} without a transform leaves little of most features: take {COARSE_FOR_DCT} or less, or a calibrated transform"
                ))
            }
            _ => None,
        }
    }
}

/// Checks what does not hang on the layout.
pub(super) fn check(config: &EncoderConfig) -> Result<()> {
    check_rate_control(config.rate_control)?;
    if !(config.stats_threshold.is_finite() && config.stats_threshold >= 0.0) {
        return Err(Error::config(format!(
            "a statistics threshold of {}, legal is 0 and above",
            config.stats_threshold
        )));
    }
    if !(config.skip_threshold.is_finite() && config.skip_threshold >= 0.0) {
        return Err(Error::config(format!("a skip threshold of {}, legal is 0 and above", config.skip_threshold)));
    }
    if !(config.rd_strength.is_finite() && config.rd_strength >= 0.0) {
        return Err(Error::config(format!(
            "a rate-distortion strength of {}, legal are finite values from 0 on",
            config.rd_strength
        )));
    }
    if config.framerate.1 == 0 {
        return Err(Error::config(format!("a frame rate of {}/0", config.framerate.0)));
    }
    if let Some(scale) = config.reference_scale
        && !(scale.is_finite() && scale > 0.0)
    {
        return Err(Error::config(format!("a reference scale of {scale}, legal are finite values above 0")));
    }
    Ok(())
}

/// Checks a rate control.
pub(super) fn check_rate_control(rate_control: RateControl) -> Result<()> {
    match rate_control {
        RateControl::ConstantQp(qp) if qp > QP_MAX => Err(Error::config(format!("qp {qp}, legal are 0 to {QP_MAX}"))),
        RateControl::Bitrate { kbit_per_second: 0, .. } => {
            Err(Error::config("a bit rate of 0 kbit/s, legal are 1 and above"))
        }
        RateControl::Bitrate { frames_per_second: (n, d), .. } if n == 0 || d == 0 => {
            Err(Error::config(format!("a bit rate at {n}/{d} frames a second: it needs a known frame rate")))
        }
        _ => Ok(()),
    }
}

/// The restoration that `config` asks for.
pub(super) fn restoration(config: &EncoderConfig) -> Result<Restoration> {
    let strength = config.restoration_strength.map(RestorationStrength::of_share).transpose()?;
    let gain = config.restoration_gain.map(RestorationGain::of_factor).transpose()?;
    if !config.statistics.restores_deviations() {
        return Ok(Restoration::default());
    }
    let found = config.transform.as_ref().map(|t| t.restoration()).unwrap_or_default();
    let gain = if config.lossless { RestorationGain::NONE } else { gain.unwrap_or(found.gain) };
    Ok(Restoration { strength: strength.unwrap_or(found.strength), gain })
}

/// Weights of the intra prediction that `config` asks for, one triple a component; none without it, or where nothing would be predicted.
pub(super) fn intra_weights(config: &EncoderConfig, grid: &Grid, components: usize) -> Vec<IntraWeights> {
    let weights =
        config.intra_prediction.then(|| reduction::intra_weights(config.transform.as_deref(), grid, components));
    weights.flatten().filter(|weights| weights.iter().any(|w| *w != [0; 3])).unwrap_or_default()
}

/// The background offset that `config` asks for.
pub(super) fn background_offset(config: &EncoderConfig) -> Result<u8> {
    let probe = config.transform.as_ref().is_some_and(|t| t.probe().is_some());
    match config.background_offset {
        _ if config.lossless => Ok(0),
        offset if offset > QP_MAX => {
            Err(Error::config(format!("a background offset of {offset}, legal are 0 to {QP_MAX}")))
        }
        offset if offset > 0 && !probe => Err(Error::config(format!(
            "a background offset of {offset} needs a transform that was calibrated with relevance; without one only 0 is legal"
        ))),
        offset => Ok(offset),
    }
}
