//! Finding access units in bytes: splitting a byte stream, resynchronisation, conversion between the formats,
//! and looking into an access unit without decoding it (docs/bitstream.md §3.4).

use super::access_unit::{self, AccessUnit};
use super::picture::PictureParameters;
use super::unit::{self, Unit, UnitHeader, UnitType};
use super::{Sequence, StreamFormat};
use crate::encoder::FrameKind;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::statistics::{FrameStatistics, MeanStd, StatisticsMode};
use std::ops::Range;

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
    /// Not decodable here: skip `len` bytes, at least 1, and scan again, no longer synced. An access unit that fails its check, or
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

/// Looks at the start of `bytes` in the given format. Work is linear in the bytes, whatever they are.
///
/// `synced`: whether the bytes directly follow a whole access unit (or [`Scan::EndOfStream`]); if not, only a random
/// access point (its marker, in a byte stream) is accepted. `at_end`: no more bytes will come.
pub fn scan(bytes: &[u8], format: StreamFormat, synced: bool, at_end: bool, limits: &Limits) -> Scan {
    if bytes.is_empty() {
        return Scan::NeedMore { at_least: 1 };
    }
    let marked = match format {
        StreamFormat::ByteStream => bytes.starts_with(&MARKER),
        StreamFormat::Packetized => bytes[0] >> 5 == 1,
    };
    if !marked {
        // Where the marker may begin in what is there; a part of one at the very end counts.
        if format == StreamFormat::ByteStream && MARKER.starts_with(bytes) && !at_end {
            return Scan::NeedMore { at_least: MARKER.len() };
        }
        if !synced {
            return Scan::Skip { len: skip(bytes, format, at_end) };
        }
    }
    if synced && let Some(len) = end_of_stream_at(bytes, limits) {
        return Scan::EndOfStream { len };
    }
    match AccessUnit::read(bytes, limits) {
        Ok(unit) if unit.kind == FrameKind::RandomAccess && !marked => Scan::Skip { len: skip(bytes, format, at_end) },
        Ok(unit) => Scan::AccessUnit { len: unit.len, kind: unit.kind, number: unit.number },
        Err(e) if e.kind() == ErrorKind::InsufficientData && !at_end => {
            let at_least = access_unit::needed(bytes);
            if at_least as u64 > limits.max_access_unit.saturating_add(64) {
                return Scan::Skip { len: skip(bytes, format, at_end) };
            }
            Scan::NeedMore { at_least: at_least.max(bytes.len() + 1) }
        }
        // Bytes made to look like many long access units would cost a check over each: what was checked is paid for.
        Err(_) if marked => {
            let checked = access_unit::checked(bytes, limits);
            Scan::Skip { len: skip(bytes, format, at_end).max(checked / CHECKED_PER_SKIPPED) }
        }
        Err(_) => Scan::Skip { len: skip(bytes, format, at_end) },
    }
}

/// Bytes that may be checked in vain for each byte skipped, so that the work is linear in what comes.
const CHECKED_PER_SKIPPED: usize = 64;

/// Length of the end-of-stream unit at the start of `bytes`, if there is one.
fn end_of_stream_at(bytes: &[u8], limits: &Limits) -> Option<usize> {
    if UnitType::of(bytes[0]) != Some(UnitType::End) {
        return None;
    }
    Unit::read(bytes, limits).ok().map(|unit| unit.len)
}

/// Bytes up to the next place where a random access unit may begin, at least 1.
fn skip(bytes: &[u8], format: StreamFormat, at_end: bool) -> usize {
    let found = match format {
        StreamFormat::ByteStream => bytes[1..].windows(MARKER.len()).position(|w| w == MARKER),
        StreamFormat::Packetized => bytes[1..].iter().position(|b| b >> 5 == 1),
    };
    if let Some(at) = found {
        return at + 1;
    }
    let keep = match (format, at_end) {
        (StreamFormat::ByteStream, false) => {
            (1..MARKER.len()).rev().find(|&n| n < bytes.len() && bytes.ends_with(&MARKER[..n])).unwrap_or(0)
        }
        _ => 0,
    };
    bytes.len() - keep
}

/// The same access unit in another format, appended to `out`. (A byte stream marks random access points.)
///
/// # Errors
/// As [`Inspector::inspect`] for damaged units.
pub fn convert(access_unit: &[u8], to: StreamFormat, limits: &Limits, out: &mut Vec<u8>) -> Result<()> {
    let unit = AccessUnit::read_whole(access_unit, limits)?;
    if to == StreamFormat::ByteStream && unit.kind == FrameKind::RandomAccess {
        out.extend_from_slice(&MARKER);
    }
    out.extend_from_slice(&access_unit[if unit.marked { MARKER.len() } else { 0 }..]);
    Ok(())
}

/// A unit inside an access unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitSpan {
    /// What it holds.
    pub unit_type: UnitType,
    /// Its bytes: head, length, payload and check.
    pub range: Range<usize>,
}

/// Checks one whole access unit of either format and tells where its units lie, in order, without a marker. `units` is cleared
/// first. Returns the kind of the frame and its number, modulo 64.
///
/// # Errors
/// `InsufficientData`, `Corruption`, `LimitExceeded`.
pub fn split(access_unit: &[u8], limits: &Limits, units: &mut Vec<UnitSpan>) -> Result<(FrameKind, u32)> {
    units.clear();
    let whole = AccessUnit::read_whole(access_unit, limits)?;
    let mut at = if whole.marked { MARKER.len() } else { 0 };
    while at < whole.len {
        let unit_type = UnitType::of(access_unit[at]).ok_or_else(|| Error::corrupt("a unit of no type"))?;
        let end = at + unit::needed(&access_unit[at..]);
        units.push(UnitSpan { unit_type, range: at..end });
        at = end;
    }
    Ok((whole.kind, whole.number))
}

/// Makes an access unit of what came of one, in the packetized format: the units up to the first that is damaged or missing, of
/// which the last ends it. `bytes` is shortened to that. `units` as for [`split`].
///
/// What is left has the strongest groups of components of its frame (docs/bitstream.md §4.3); only sequences that are error
/// resilient can use it.
///
/// # Errors
/// As [`split`], when not even the first slice of the frame is there.
pub fn salvage(bytes: &mut Vec<u8>, limits: &Limits, units: &mut Vec<UnitSpan>) -> Result<(FrameKind, u32)> {
    let (mut at, mut end) = (0, None);
    while let Ok(unit) = Unit::read(&bytes[at..], limits) {
        if unit.header.unit_type.is_frame() {
            end = Some((at, unit.header));
        }
        at += unit.len;
    }
    let Some((start, header)) = end else {
        return Err(Error::corrupt("an access unit of which no slice came"));
    };
    let length = unit::needed(&bytes[start..]);
    bytes.truncate(start + length);
    if !header.last {
        unit::end_access_unit(&mut bytes[start..]);
    }
    split(bytes, limits, units)
}

/// Bytes of an access unit that ends with each of its slices in turn, strongest first; one entry for a frame that is not sliced.
/// `units` as [`split`] gave them.
pub fn slice_ends(units: &[UnitSpan]) -> impl Iterator<Item = usize> + '_ {
    units.iter().filter(|unit| unit.unit_type.is_frame()).map(|unit| unit.range.end)
}

/// Appends to `out` the access unit without the slices of its frame behind the first `slices`, which are the weaker ones: the last that is left
/// ends it, with its check (docs/bitstream.md §4.3). Of either format, which stays. `units` as for [`split`]; they are those
/// of the whole access unit. Returns how many slices are left, fewer than asked for if there are no more.
///
/// # Errors
/// As [`split`], and `InvalidConfig` for 0 slices: nothing of a frame can be used without its first.
pub fn shorten(
    access_unit: &[u8],
    slices: usize,
    limits: &Limits,
    units: &mut Vec<UnitSpan>,
    out: &mut Vec<u8>,
) -> Result<usize> {
    if slices == 0 {
        return Err(Error::config("0 slices of an access unit, at least 1 is needed"));
    }
    split(access_unit, limits, units)?;
    let (left, last) =
        units.iter().filter(|unit| unit.unit_type.is_frame()).take(slices).enumerate().last().expect("a frame");
    let start = out.len() + last.range.start;
    out.extend_from_slice(&access_unit[..last.range.end]);
    if last.range.end < access_unit.len() {
        unit::end_access_unit(&mut out[start..]);
    }
    Ok(left + 1)
}

/// The sequence parameter set of a random access unit, whole, without a marker: the `codec_data` of a packetized stream. `None` for a
/// predicted frame.
///
/// # Errors
/// As [`Inspector::inspect`] for damaged units.
pub fn sequence_header<'a>(access_unit: &'a [u8], limits: &Limits) -> Result<Option<&'a [u8]>> {
    let unmarked = access_unit.strip_prefix(&MARKER).unwrap_or(access_unit);
    let unit = Unit::read(unmarked, limits)?;
    Ok((unit.header.unit_type == UnitType::Sequence).then(|| &unmarked[..unit.len]))
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
pub struct Inspector {
    limits: Limits,
    sequence: Option<Sequence>,
    parameters: PictureParameters,
}

impl Inspector {
    /// Makes an inspector that waits for a random access point.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Parameters of the stream, once a random access point was seen.
    pub fn sequence(&self) -> Option<&Sequence> {
        self.sequence.as_ref()
    }

    /// Checks and reads one whole access unit of either format.
    ///
    /// # Errors
    /// `Corruption`, `InsufficientData`, `Compatibility`, `LimitExceeded`; `Corruption` too for a predicted frame before any
    /// random access point.
    pub fn inspect(&mut self, access_unit: &[u8]) -> Result<AccessUnitInfo> {
        let unit = AccessUnit::read_whole(access_unit, &self.limits)?;
        if let Some(payload) = unit.sequence {
            self.sequence = Some(Sequence::parse(payload, &self.limits)?);
        }
        let Some(sequence) = &self.sequence else {
            return Err(Error::corrupt("a predicted frame before any random access point"));
        };
        let statistics = match unit.picture {
            Some((payload, explicit)) => {
                let layers = sequence.layout.layers().len();
                self.parameters.parse(payload, sequence.statistics, layers, sequence.regions(), explicit)?;
                signalled(&self.parameters, sequence)
            }
            None => None,
        };
        Ok(AccessUnitInfo {
            kind: unit.kind,
            number: unit.number,
            qp: unit.qp,
            bytes: unit.len,
            header_bytes: unit.header_bytes(sequence),
            statistics_bytes: unit.statistics_bytes(),
            statistics,
        })
    }

    /// Reads the parameter sets of a `codec_data`.
    ///
    /// # Errors
    /// As [`Inspector::inspect`].
    pub fn read_header(&mut self, codec_data: &[u8]) -> Result<&Sequence> {
        let unit = Unit::read(codec_data.strip_prefix(&MARKER).unwrap_or(codec_data), &self.limits)?;
        if unit.header.unit_type != UnitType::Sequence {
            return Err(Error::corrupt(format!(
                "codec data that begin with a unit of type {:?}",
                unit.header.unit_type
            )));
        }
        Ok(self.sequence.insert(Sequence::parse(unit.payload, &self.limits)?))
    }
}

/// The statistics that came; of the relevant positions in a stream with relevance.
fn signalled(parameters: &PictureParameters, sequence: &Sequence) -> Option<FrameStatistics> {
    let pair = |&p: &super::picture::Pair| MeanStd::from(p);
    let layers = parameters.layers.len() / sequence.regions();
    let peak = |&p: &f32| MeanStd { mean: 0.0, std_dev: f64::from(p) };
    (sequence.statistics != StatisticsMode::None).then(|| FrameStatistics {
        layers: parameters.layers[..layers].iter().map(pair).chain(parameters.peaks.iter().map(peak)).collect(),
        fused: parameters.fused.first().map(pair).unwrap_or_default(),
    })
}

/// The end-of-stream unit, the same in either format.
pub fn end_of_stream() -> Vec<u8> {
    let mut out = Vec::new();
    unit::write(&mut out, UnitHeader { unit_type: UnitType::End, last: true, nibble: 0 }, &[]);
    out
}
