//! Finding access units in bytes: splitting a byte stream, resynchronisation, conversion between the framings,
//! and looking into an access unit without decoding it.

use super::{Sequence, StreamFormat};
use crate::encoder::FrameKind;
use crate::error::Result;
use crate::limits::Limits;
use crate::statistics::FrameStatistics;

/// The bytes that begin every random access unit of a byte stream (and so every `.fcm` file).
pub const MARKER: [u8; 4] = [0xFC, b'F', b'C', b'M'];

/// What is at the start of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scan {
    /// A whole access unit of `len` bytes, every check passed.
    AccessUnit {
        /// Bytes of it, the marker included.
        len: usize,
        /// Random access or predicted.
        kind: FrameKind,
        /// Frame number, modulo 64.
        number: u32,
    },
    /// The end-of-stream unit, `len` bytes.
    EndOfStream {
        /// Bytes of it.
        len: usize,
    },
    /// Not decodable here: skip `len` bytes, at least 1, and scan again. An access unit that fails its check, or
    /// bytes that belong to none.
    Skip {
        /// Bytes to skip.
        len: usize,
    },
    /// More bytes are needed to tell: at least `at_least` from the start.
    NeedMore {
        /// Total bytes wanted.
        at_least: usize,
    },
}

/// Looks at the start of `bytes` in the given format. Work is linear in `bytes.len()`.
///
/// `synced`: whether the bytes directly follow a whole access unit (or [`Scan::EndOfStream`]); if not, only a random
/// access point (its marker, in a byte stream) is accepted. `at_end`: no more bytes will come.
pub fn scan(bytes: &[u8], format: StreamFormat, synced: bool, at_end: bool, limits: &Limits) -> Scan {
    let _ = (bytes, format, synced, at_end, limits);
    todo!()
}

/// The same access unit in another format, appended to `out`. (A byte stream marks random access points.)
///
/// # Errors
/// As [`Inspector::inspect`] for damaged units.
pub fn convert(access_unit: &[u8], to: StreamFormat, limits: &Limits, out: &mut Vec<u8>) -> Result<()> {
    let _ = (access_unit, to, limits, out);
    todo!()
}

/// What an access unit says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessUnitInfo {
    /// Random access or predicted.
    pub kind: FrameKind,
    /// Frame number, modulo 64.
    pub number: u32,
    /// Quantiser parameter.
    pub qp: u8,
    /// Bytes of the access unit.
    pub bytes: usize,
    /// Bytes that are unit headers, parameter sets and checks, statistics values not counted.
    pub header_bytes: usize,
    /// Bytes that are statistics values.
    pub statistics_bytes: usize,
    /// Statistics carried with this frame as signalled; `None` = unchanged or mode `none`. In mode `simplified` there is one pair
    /// in `layers` for all of them; in mode `ecs` `mean` is 0 and `std_dev` holds maximum − mean.
    pub statistics: Option<FrameStatistics>,
}

/// Reads access units in order without decoding them; keeps the parameter sets.
#[derive(Debug, Default)]
pub struct Inspector {}

impl Inspector {
    /// Makes an inspector that waits for a random access point.
    pub fn new(limits: Limits) -> Self {
        let _ = limits;
        todo!()
    }

    /// Parameters of the stream, once a random access point was seen.
    pub fn sequence(&self) -> Option<&Sequence> {
        todo!()
    }

    /// Checks and reads one whole access unit of either format.
    ///
    /// # Errors
    /// `Corruption`, `InsufficientData`, `Compatibility`, `LimitExceeded`; `Corruption` too for a predicted frame before any
    /// random access point.
    pub fn inspect(&mut self, access_unit: &[u8]) -> Result<AccessUnitInfo> {
        let _ = access_unit;
        todo!()
    }

    /// Reads the parameter sets of a `codec_data`.
    ///
    /// # Errors
    /// As [`Inspector::inspect`].
    pub fn read_header(&mut self, codec_data: &[u8]) -> Result<&Sequence> {
        let _ = codec_data;
        todo!()
    }
}

/// The end-of-stream unit in either format.
pub fn end_of_stream() -> Vec<u8> {
    todo!()
}
