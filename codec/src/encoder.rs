//! The encoder: statistics → reduction → inner coding → access unit.

use crate::bitstream::StreamFormat;
use crate::error::Result;
use crate::limits::Limits;
use crate::reduction::Transform;
use crate::statistics::{FrameStatistics, StatisticsMode};
use crate::tensor::{Layout, TensorRef};
use std::sync::Arc;

/// How the encoder chooses the quantiser of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RateControl {
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

/// Settings of an [`Encoder`]. `Default` is the one source of the default values.
#[derive(Debug, Clone)]
pub struct EncoderConfig {
    /// Quantiser or bit rate. Default: constant qp 34.
    pub rate_control: RateControl,
    /// Most frames from one random access point to the next; 0 = only the first frame is one. Default: 32.
    pub key_int_max: u32,
    /// Frames between refreshes of the signalled statistics; 0 = with every random access point only. Default: 0.
    pub stats_period: u32,
    /// Relative drift of a layer's statistics (of mean or standard deviation, in standard deviations) past
    /// which they are refreshed at once; 0 = never. Default: 0.1.
    pub stats_threshold: f32,
    /// What the decoder restores. Default: z-score.
    pub statistics: StatisticsMode,
    /// Calibrated transform; `None` = block DCT, which needs no calibration.
    pub transform: Option<Arc<Transform>>,
    /// Components kept, strongest first; `None` = all that the transform has. 1 to that number.
    pub components: Option<u32>,
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

impl Default for EncoderConfig {
    fn default() -> Self {
        Self {
            rate_control: RateControl::ConstantQp(34),
            key_int_max: 32,
            stats_period: 0,
            stats_threshold: 0.1,
            statistics: StatisticsMode::ZScore,
            transform: None,
            components: None,
            threads: 1,
            format: StreamFormat::ByteStream,
            framerate: (0, 1),
            reference_scale: None,
            lossless: false,
            limits: Limits::default(),
        }
    }
}

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
}

/// Codes feature sets of one layout, frame by frame, with no delay. See docs/bitstream.md.
pub struct Encoder {}

impl Encoder {
    /// Checks `config` against `layout` and makes an encoder.
    ///
    /// # Errors
    /// `InvalidConfig` with the offending value and its legal range; `LimitExceeded`; `Transform` when the
    /// transform was calibrated on other shapes.
    pub fn new(config: EncoderConfig, layout: Layout) -> Result<Self> {
        let _ = (config, layout);
        todo!()
    }

    /// The layout that every frame must have.
    pub fn layout(&self) -> &Layout {
        todo!()
    }

    /// The settings in force.
    pub fn config(&self) -> &EncoderConfig {
        todo!()
    }

    /// Changes the rate control from the next frame on.
    ///
    /// # Errors
    /// `InvalidConfig`; the old settings stay.
    pub fn set_rate_control(&mut self, rate_control: RateControl) -> Result<()> {
        let _ = rate_control;
        todo!()
    }

    /// Codes one frame and appends its access unit to `out`.
    ///
    /// # Errors
    /// `InvalidInput` when `tensors` do not have the layout or hold NaN or an infinity (the message names layer
    /// and index). After an error `out` is as it was, and the next frame may be encoded.
    pub fn encode(
        &mut self,
        tensors: &[TensorRef<'_>],
        request: FrameRequest,
        out: &mut Vec<u8>,
    ) -> Result<EncodedFrame> {
        let _ = (tensors, request, out);
        todo!()
    }

    /// Measured statistics of the frame encoded last: of the unquantised tensors.
    pub fn statistics(&self) -> &FrameStatistics {
        todo!()
    }

    /// The encoder's own reconstruction of the fused tensor of the last frame, in fixed point: what a decoder
    /// must have, bit for bit. `K` planes, each of the grid's positions in raster order.
    pub fn reconstruction(&self) -> &[i32] {
        todo!()
    }

    /// The parameter sets of the sequence in the encoder's format, for `codec_data`.
    pub fn sequence_header(&self) -> Vec<u8> {
        todo!()
    }

    /// Forgets the stream: the next frame starts a new one with frame number 0.
    pub fn reset(&mut self) {
        todo!()
    }
}
