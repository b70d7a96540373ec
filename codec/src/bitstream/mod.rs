//! The coded stream: units, parameter sets, access units, and the byte-stream framing. Normative text: docs/bitstream.md.

pub(crate) mod access_unit;
pub(crate) mod bytes;
pub(crate) mod picture;
mod sequence;
pub mod stream;
pub(crate) mod unit;
mod video;

pub use access_unit::{FRAME_NUMBERS, MAX_SLICES};
pub use sequence::{InnerCodec, Reduction, Sequence, VERSION};
pub use unit::UnitType;
pub use video::{Chroma, MAX_SIDE, PictureFormat, VideoCodec};

/// How access units are delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StreamFormat {
    /// Random access units begin with a 4-byte resync marker: for files and TCP.
    #[default]
    ByteStream,
    /// No markers: for transports that keep access units whole.
    Packetized,
}
