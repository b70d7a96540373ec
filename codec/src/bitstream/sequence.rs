//! The sequence parameter set.

use crate::reduction::TransformId;
use crate::statistics::StatisticsMode;
use crate::tensor::Layout;

/// Inner codec of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum InnerCodec {
    /// The project's own coder of fused planes.
    #[default]
    Native,
}

impl InnerCodec {
    /// The name used in caps.
    pub const fn name(self) -> &'static str {
        "native"
    }
}

/// Feature reduction of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Block DCT of every cell; needs no side data.
    Dct,
    /// Calibrated transform with this identity.
    Klt(TransformId),
}

/// What holds for all frames of a coded sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// The layers.
    pub layout: Layout,
    /// Inner codec.
    pub inner: InnerCodec,
    /// Statistics mode.
    pub statistics: StatisticsMode,
    /// Reduction.
    pub reduction: Reduction,
    /// Components K of the fused tensor.
    pub components: u32,
    /// Frame rate as a fraction; `(0, 1)` = unknown or variable.
    pub framerate: (u32, u32),
    /// Frames between refreshes of the statistics; 0 = with random access points only.
    pub stats_period: u32,
    /// Whether the fixed-point fused tensor is coded without loss.
    pub lossless: bool,
}
