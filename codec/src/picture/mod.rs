//! Picture inner codecs (docs/bitstream.md §11): features as pictures for any video codec, and coded pictures in our units.
//!
//! tensors → [`PicturePacker`] → video encoder → [`PictureWriter`] → access units → [`PictureReader`] → video decoder →
//! [`PictureUnpacker`] → tensors. A [`PictureRecord`] must come from the packer to the writer beside the video encoder, a
//! [`PictureInfo`] from the reader to the unpacker beside the video decoder.

mod reader;
mod writer;

pub use crate::bitstream::{Chroma, PictureFormat, VideoCodec};
pub use crate::conversion::quantise::Range;
pub use crate::conversion::{Plane, PlaneMut, Sample};
pub use crate::decoder::picture::PictureUnpacker;
pub use crate::encoder::picture::{PackerConfig, PicturePacker};
pub use reader::{CodedPicture, PictureReader, Read};
pub use writer::{PictureWriter, WriterConfig, WrittenPicture};

use crate::bitstream::picture::PictureParameters;
use crate::{FrameStatistics, Sequence, StatisticsMode};
use std::sync::Arc;

/// Number of presentation numbers that a stream tells apart.
pub const PRESENTATION_NUMBERS: u64 = 256;

/// What a packer knows of a picture that its access unit must say.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureRecord {
    /// Parameters of the stream, but for the video codec.
    pub sequence: Arc<Sequence>,
    /// Measured statistics.
    pub statistics: FrameStatistics,
    /// Maximum minus mean of every layer.
    pub peaks: Vec<f32>,
    /// Range of the fused tensor.
    pub range: Range,
    /// Pictures packed before this one.
    pub number: u64,
}

/// What an access unit says of its picture beside the video.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureInfo {
    pub(crate) sequence: Arc<Sequence>,
    pub(crate) parameters: Arc<PictureParameters>,
    pub(crate) range: Option<Range>,
}

impl PictureInfo {
    /// Parameters of the stream.
    pub fn sequence(&self) -> &Arc<Sequence> {
        &self.sequence
    }
}

/// Whether the frames of a stream with these statistics carry the range of the fused tensor.
pub(crate) fn has_range(mode: StatisticsMode) -> bool {
    matches!(mode, StatisticsMode::Ecs | StatisticsMode::None)
}

#[cfg(test)]
mod tests;
