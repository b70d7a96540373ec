//! The decoder: access unit → inner decoding → refinement → inverse reduction → refinement.

use crate::bitstream::Sequence;
use crate::encoder::FrameKind;
use crate::error::Result;
use crate::limits::Limits;
use crate::reduction::Transform;
use crate::statistics::FrameStatistics;
use crate::tensor::{Layout, TensorMut};
use std::sync::Arc;

/// Settings of a [`Decoder`].
#[derive(Debug, Clone)]
pub struct DecoderConfig {
    /// Calibrated transforms that streams may name, any number.
    pub transforms: Vec<Arc<Transform>>,
    /// Worker threads, 1 to 64; 0 = one for each core. Default: 1. The result is the same for any number.
    pub threads: usize,
    /// Bounds on what a stream may ask for.
    pub limits: Limits,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self { transforms: Vec::new(), threads: 1, limits: Limits::default() }
    }
}

/// Decodes access units, whole ones in order. Holds the state of one stream.
pub struct Decoder {}

/// What an access unit gave.
pub enum Decoded<'a> {
    /// A frame; write its tensors with [`DecodedFrame::write`].
    Frame(DecodedFrame<'a>),
    /// A predicted frame whose predecessor is missing (late join, loss, or an error before). Nothing can be shown
    /// until the next random access point. `missing` is how many frame numbers were skipped, if that is known.
    AwaitingRandomAccess {
        /// Frames missing before this one, modulo 64; `None` when nothing was decoded before.
        missing: Option<u32>,
    },
}

/// A decoded frame, borrowed from the decoder until its tensors are written.
pub struct DecodedFrame<'a> {
    _decoder: &'a mut Decoder,
}

impl Decoder {
    /// Makes a decoder that waits for a random access point.
    ///
    /// # Errors
    /// `InvalidConfig` for more than 64 threads.
    pub fn new(config: DecoderConfig) -> Result<Self> {
        let _ = config;
        todo!()
    }

    /// Adds a transform that streams may name.
    pub fn add_transform(&mut self, transform: Arc<Transform>) {
        let _ = transform;
        todo!()
    }

    /// Parameters of the stream, once a random access point was seen.
    pub fn sequence(&self) -> Option<&Sequence> {
        todo!()
    }

    /// Decodes one whole access unit, in byte-stream or packetized format.
    ///
    /// # Errors
    /// * `Corruption`, `InsufficientData`, `LimitExceeded`: the access unit is dropped; the decoder waits for the
    ///   next random access point and stays usable.
    /// * `Transform`: the stream's transform is missing or another one was given; the message has both ids.
    /// * `Compatibility`, `Unsupported`: nothing of this stream can be decoded.
    pub fn decode(&mut self, access_unit: &[u8]) -> Result<Decoded<'_>> {
        let _ = access_unit;
        todo!()
    }

    /// Forgets the stream and waits for a random access point (after a flush or a discontinuity).
    pub fn reset(&mut self) {
        todo!()
    }

    /// Fixed-point fused tensor of the last frame, equal to [`crate::Encoder::reconstruction`] bit for bit.
    pub fn reconstruction(&self) -> &[i32] {
        todo!()
    }
}

impl DecodedFrame<'_> {
    /// Layers of this frame.
    pub fn layout(&self) -> &Layout {
        todo!()
    }

    /// Whether the layout is not that of the frame before (also true for the first frame).
    pub fn layout_changed(&self) -> bool {
        todo!()
    }

    /// Random access or predicted.
    pub fn kind(&self) -> FrameKind {
        todo!()
    }

    /// Frame number, modulo 64.
    pub fn number(&self) -> u32 {
        todo!()
    }

    /// Quantiser parameter.
    pub fn qp(&self) -> u8 {
        todo!()
    }

    /// Whether the access unit carried statistics.
    pub fn refreshed(&self) -> bool {
        todo!()
    }

    /// Statistics of the frame: of the tensors as written, and those signalled for the fused tensor (measured ones
    /// when the stream's mode signals none).
    pub fn statistics(&self) -> &FrameStatistics {
        todo!()
    }

    /// Writes layer `n`, restored, into `out`. May be called for any layers in any order, each any number of times.
    ///
    /// # Errors
    /// `InvalidInput` when there is no layer `n` or `out` has another length or type than the layer.
    pub fn write(&mut self, n: usize, out: TensorMut<'_>) -> Result<()> {
        let _ = (n, out);
        todo!()
    }
}
