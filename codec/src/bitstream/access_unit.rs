//! Access units: the units of one frame (docs/bitstream.md §3.3).

use super::Sequence;
use super::stream::MARKER;
use super::unit::{self, Unit, UnitType};
use crate::encoder::FrameKind;
use crate::error::{Error, Result};
use crate::limits::{self, Limits};

/// Frame numbers count modulo this.
pub const FRAME_NUMBERS: u32 = 64;

/// Most slices of a frame.
pub const MAX_SLICES: usize = 8;

/// The units of one access unit; every check has passed, parameter sets are not read yet.
#[derive(Debug, Clone, Copy)]
pub struct AccessUnit<'a> {
    /// Payload of the sequence parameter set; there is one exactly at random access points.
    pub sequence: Option<&'a [u8]>,
    /// Payload of the picture parameter set and whether it begins with a reference scale.
    pub picture: Option<(&'a [u8], bool)>,
    /// Random access or predicted.
    pub kind: FrameKind,
    /// Frame number, modulo [`FRAME_NUMBERS`].
    pub number: u32,
    /// Quantiser parameter.
    pub qp: u8,
    /// What follows that in each of its slices, strongest first.
    slices: [&'a [u8]; MAX_SLICES],
    slice_count: usize,
    /// Whether it begins with the resync marker.
    pub marked: bool,
    /// Bytes of the whole access unit.
    pub len: usize,
}

impl<'a> AccessUnit<'a> {
    /// Reads the access unit at the start of `bytes`, in either format.
    ///
    /// # Errors
    /// `InsufficientData` when `bytes` end inside it, `Corruption`, `LimitExceeded`.
    pub fn read(bytes: &'a [u8], limits: &Limits) -> Result<Self> {
        let marked = bytes.starts_with(&MARKER);
        let mut at = if marked { MARKER.len() } else { 0 };
        let (mut sequence, mut picture, mut frame) = (None, None, None);
        let (mut slices, mut slice_count) = ([&[][..]; MAX_SLICES], 0);
        loop {
            let unit = Unit::read(&bytes[at..], limits)?;
            at += unit.len;
            limits::check("number of bytes in an access unit", at as u64, limits.max_access_unit)?;
            let kind = match unit.header.unit_type {
                UnitType::Sequence
                    if sequence.is_none() && picture.is_none() && !unit.header.last && frame.is_none() =>
                {
                    sequence = Some(unit.payload);
                    continue;
                }
                UnitType::Picture
                    if picture.is_none() && !unit.header.last && unit.header.nibble < 2 && frame.is_none() =>
                {
                    picture = Some((unit.payload, unit.header.nibble == 1));
                    continue;
                }
                UnitType::Supplementary if !unit.header.last => continue,
                UnitType::RandomAccessFrame if sequence.is_some() && picture.is_some() => FrameKind::RandomAccess,
                UnitType::PredictedFrame if sequence.is_none() && !marked => FrameKind::Predicted,
                other => {
                    return Err(Error::corrupt(format!("a unit of type {other:?} out of place in an access unit")));
                }
            };
            let Some((&head, data)) = unit.payload.split_first() else {
                return Err(Error::corrupt("a frame of 0 bytes"));
            };
            let number = u32::from(head >> 6) << 4 | u32::from(unit.header.nibble);
            let slice = (kind, number, head & 63);
            if *frame.get_or_insert(slice) != slice {
                return Err(Error::corrupt("slices of different frames in an access unit"));
            }
            let Some(place) = slices.get_mut(slice_count) else {
                return Err(Error::corrupt(format!("a frame of more than {MAX_SLICES} slices")));
            };
            *place = data;
            slice_count += 1;
            if unit.header.last {
                let (kind, number, qp) = slice;
                return Ok(Self { sequence, picture, kind, number, qp, slices, slice_count, marked, len: at });
            }
        }
    }

    /// What follows number and quantiser parameter in each slice, strongest first; at least one.
    pub fn slices(&self) -> &[&'a [u8]] {
        &self.slices[..self.slice_count]
    }

    /// [`Self::read`] for bytes that are to be exactly one access unit.
    pub fn read_whole(bytes: &'a [u8], limits: &Limits) -> Result<Self> {
        let unit = Self::read(bytes, limits)?;
        if unit.len != bytes.len() {
            let message =
                format!("an access unit of {} bytes with {} bytes behind it", unit.len, bytes.len() - unit.len);
            return Err(Error::corrupt(message));
        }
        Ok(unit)
    }

    /// Bytes of values in the picture parameter set.
    pub fn statistics_bytes(&self) -> usize {
        self.picture.map_or(0, |(payload, _)| payload.len())
    }

    /// Bytes that are neither statistics nor entropy-coded, in a sequence of these parameters.
    pub fn header_bytes(&self, sequence: &Sequence) -> usize {
        let groups = if sequence.error_resilient { self.slice_count } else { 0 };
        let payload = self.slices().iter().map(|data| data.len()).sum::<usize>();
        self.len - self.statistics_bytes() - payload + groups + usize::from(sequence.relevance)
    }
}

/// The nibble and the first byte of a frame with this number.
pub fn frame_head(number: u32, qp: u8) -> (u8, u8) {
    ((number & 15) as u8, ((number >> 4 & 3) as u8) << 6 | (qp & 63))
}

/// Bytes that the access unit at the start of `bytes` needs in all, as far as these bytes tell.
pub fn needed(bytes: &[u8]) -> usize {
    let mut at = if bytes.starts_with(&MARKER) { MARKER.len() } else { 0 };
    loop {
        let Some(&head) = bytes.get(at) else { return at + 1 + 1 + unit::CHECK };
        let end = at + unit::needed(&bytes[at..]);
        if end > bytes.len() || head >> 4 & 1 == 1 {
            return end;
        }
        at = end;
    }
}

/// Bytes at the start of `bytes` over which checks were computed to find that this is no access unit: all units up to the first
/// damaged one, and that one if it is all there.
pub fn checked(bytes: &[u8], limits: &Limits) -> usize {
    let mut at = if bytes.starts_with(&MARKER) { MARKER.len() } else { 0 };
    while let Ok(unit) = Unit::read(&bytes[at..], limits) {
        at += unit.len;
        if unit.header.last {
            return at;
        }
    }
    let damaged = at + unit::needed(&bytes[at..]);
    if damaged <= bytes.len() { damaged } else { at }
}
