//! The coded stream: units, parameter sets, frames, and the byte-stream framing. Normative text: docs/bitstream.md.

mod sequence;
pub mod stream;

pub use sequence::{InnerCodec, Reduction, Sequence};

/// How access units are delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StreamFormat {
    /// Random access units begin with a 4-byte resync marker: for files and TCP.
    #[default]
    ByteStream,
    /// No markers: for transports that keep access units whole.
    Packetized,
}
