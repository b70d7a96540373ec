//! A frame in slices (docs/bitstream.md §4.3): which units its entropy-coded parts go into, and back.

use crate::bitstream::Sequence;
use crate::bitstream::access_unit::{AccessUnit, MAX_SLICES, frame_head};
use crate::bitstream::unit::{self, UnitHeader, UnitType};
use crate::encoder::FrameKind;
use crate::error::{Error, Result};
use crate::inner::native::planes::{Levels, PlaneCoder};
use crate::inner::native::range_coder::{Reader, Recorder, Writer};
use crate::quantiser::QP_MAX;
use std::ops::Range;

/// What stands at the head of a frame's units.
#[derive(Debug, Clone, Copy)]
pub struct FrameHead {
    /// Random access or predicted.
    pub kind: FrameKind,
    /// Frame number, modulo [`crate::bitstream::FRAME_NUMBERS`].
    pub number: u32,
    /// Quantiser parameter.
    pub qp: u8,
    /// How much coarser the background is coded, in a sequence with relevance.
    pub background_offset: Option<u8>,
}

/// How a frame is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slicing {
    /// Not at all; frames of this sequence have no slices.
    Never,
    /// A new slice begins with the group that would make a unit longer than this many bytes; 0 = there is no such length.
    Longest(usize),
}

/// Bytes of a unit around what is entropy-coded: head, length of two bytes, number and qp, groups, end of the coder, check.
const AROUND: usize = 1 + 2 + 1 + 1 + 2 + unit::CHECK;

/// Writes frames.
#[derive(Debug, Default)]
pub struct SliceWriter {
    payload: Vec<u8>,
    recorder: Recorder,
}

impl SliceWriter {
    /// Appends the units of a frame to `out`; the last one ends the access unit. The units before it have `ahead` bytes. Returns how
    /// many bytes are entropy-coded.
    ///
    /// # Errors
    /// As [`PlaneCoder::code_group`].
    pub fn write(
        &mut self,
        head: FrameHead,
        slicing: Slicing,
        coder: &mut PlaneCoder,
        levels: &mut Levels,
        ahead: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize> {
        let random_access = head.kind == FrameKind::RandomAccess;
        let mapped = head.background_offset.is_some_and(|offset| offset > 0);
        let groups = coder.groups();
        coder.begin(random_access);
        let (limit, sliced) = match slicing {
            Slicing::Never => (0, false),
            Slicing::Longest(bytes) => (bytes, true),
        };
        let mut coded = 0;
        let mut first = 0;
        // Parameter sets share the packet of the first slice.
        let mut before = ahead;
        while first < groups {
            let prefix = self.start(head, sliced, first);
            let mut bits = Writer::new(&mut self.payload);
            if first == 0 && limit == 0 {
                coder.code_positions(&mut bits, levels, random_access, mapped);
            } else if first == 0 {
                coder.code_positions(&mut self.recorder, levels, random_access, mapped);
            }
            let mut next = first;
            while next < groups {
                if limit == 0 {
                    coder.code_group(&mut bits, levels, next)?;
                } else {
                    // The first group of a further slice was recorded when it did not fit into the one before.
                    if next > first || first == 0 {
                        coder.code_group(&mut self.recorder, levels, next)?;
                    }
                    if next > first && before + AROUND + prefix + bits.len() + self.recorder.bytes() > limit {
                        break;
                    }
                    self.recorder.replay(&mut bits);
                }
                next += 1;
            }
            bits.finish();
            coded += self.payload.len() - prefix;
            if sliced {
                self.payload[1] |= ((next - 1) as u8) << 3;
            }
            self.finish(head, next == groups, out);
            first = next;
            before = 0;
        }
        coder.end(levels);
        Ok(coded)
    }

    /// Begins the payload of a slice whose first group is `first`; returns its length so far.
    fn start(&mut self, head: FrameHead, sliced: bool, first: usize) -> usize {
        self.payload.clear();
        self.payload.push(frame_head(head.number, head.qp).1);
        if sliced {
            self.payload.push(first as u8);
        }
        if first == 0 {
            self.payload.extend(head.background_offset);
        }
        self.payload.len()
    }

    fn finish(&self, head: FrameHead, last: bool, out: &mut Vec<u8>) {
        let unit_type = match head.kind {
            FrameKind::RandomAccess => UnitType::RandomAccessFrame,
            FrameKind::Predicted => UnitType::PredictedFrame,
        };
        let (nibble, _) = frame_head(head.number, head.qp);
        unit::write(out, UnitHeader { unit_type, last, nibble }, &self.payload);
    }
}

/// What the slices of a frame gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRead {
    /// How much coarser the background is coded.
    pub background_offset: u8,
    /// Components whose levels came, of all that there are.
    pub components: usize,
    /// Groups that came.
    pub groups: usize,
}

/// Reads the levels of a frame; those of groups that are missing at its end are zero.
///
/// # Errors
/// `Corruption`, `LimitExceeded`.
pub fn read(
    unit: &AccessUnit<'_>,
    sequence: &Sequence,
    coder: &mut PlaneCoder,
    levels: &mut Levels,
) -> Result<FrameRead> {
    let random_access = unit.kind == FrameKind::RandomAccess;
    levels.levels.fill(0);
    coder.begin(random_access);
    if !sequence.error_resilient && unit.slices().len() > 1 {
        return Err(Error::corrupt(format!("a frame of {} slices in a sequence without", unit.slices().len())));
    }
    let (mut next, mut background_offset) = (0, 0);
    for &data in unit.slices() {
        let (groups, data) = slice_groups(data, sequence, coder.groups())?;
        if groups.start != next {
            return Err(Error::corrupt(format!("a slice that begins with group {}, expected is {next}", groups.start)));
        }
        let mut data = data;
        if groups.start == 0 && sequence.relevance {
            (background_offset, data) = split_offset(data)?;
        }
        let mut bits = Reader::new(data);
        if groups.start == 0 {
            coder.code_positions(&mut bits, levels, random_access, background_offset > 0);
        }
        for group in groups.clone() {
            coder.code_group(&mut bits, levels, group)?;
        }
        next = groups.end;
    }
    coder.end(levels);
    Ok(FrameRead { background_offset, components: coder.group(next - 1).end, groups: next })
}

/// The groups of a slice and what follows their byte.
fn slice_groups<'a>(data: &'a [u8], sequence: &Sequence, groups: usize) -> Result<(Range<usize>, &'a [u8])> {
    if !sequence.error_resilient {
        return Ok((0..groups, data));
    }
    let Some((&byte, data)) = data.split_first() else { return Err(Error::corrupt("a slice without its groups")) };
    let (first, last) = (usize::from(byte & 7), usize::from(byte >> 3 & 7));
    if byte >> 6 != 0 || first > last || last >= groups {
        return Err(Error::corrupt(format!("slice groups {byte:#04x}: {first} to {last} of {groups}")));
    }
    Ok((first..last + 1, data))
}

fn split_offset(data: &[u8]) -> Result<(u8, &[u8])> {
    match data.split_first() {
        Some((&offset, data)) if offset <= QP_MAX => Ok((offset, data)),
        Some((&offset, _)) => Err(Error::corrupt(format!("a background offset of {offset}, the largest is {QP_MAX}"))),
        None => Err(Error::corrupt("a frame without its background offset")),
    }
}

const _: () = assert!(MAX_SLICES == crate::inner::native::GROUPS);
