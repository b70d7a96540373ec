//! Syntax of a coded frame: relevance and modes of the positions, vectors of the blocks, last-component buckets, then the levels component by
//! component (docs/bitstream.md §7.3).
//!
//! The same functions of [`PlaneCoder`] both write and read.

use super::contexts::{self, ACTIVITIES, Surroundings, activity_after, activity_class, bound_of, bucket_of};
use super::costs::Costs;
use super::models::{Counter, stretch_table};
use super::range_coder::Bits;
use super::tables::{BUCKETS, Syntax, Tables, UNARY};
use super::vectors::Beside;
use crate::error::{Error, Result};
use crate::motion::{Blocks, Vector};
use std::ops::Range;

/// How a position is predicted.
pub type Mode = u8;
/// Prediction 0.
pub const INTRA: Mode = 0;
/// Prediction from the frame before, along the vector of the position's block.
pub const INTER: Mode = 1;

/// How much a position matters.
pub type Relevance = u8;
/// Coded with the frame's quantiser step; so are all positions of a stream without relevance.
pub const RELEVANT: Relevance = 0;
/// Coded with the coarser step of the background.
pub const BACKGROUND: Relevance = 1;

/// Largest magnitude of a level. Larger ones do not occur in a legal stream.
pub const LEVEL_MAX: u32 = (1 << 30) - 1;

/// Learning rates of the mixers.
const BUCKET_RATE: i32 = 6;
const ZERO_RATE: i32 = 3;
/// Decisions after which counters learn no slower.
const MODE_LIMIT: u8 = 60;
const BUCKET_LIMIT: u8 = 60;
const ZERO_LIMIT: u8 = 62;
const MAGNITUDE_LIMIT: u8 = 40;

/// The levels of one frame, how its positions are predicted, and which of them matter.
#[derive(Debug)]
pub struct Levels {
    /// One relevance a position.
    pub relevance: Vec<Relevance>,
    /// One mode a position.
    pub modes: Vec<Mode>,
    /// One vector a block of positions; all still in a stream without motion.
    pub vectors: Vec<Vector>,
    /// `K` planes of `P` levels.
    pub levels: Vec<i32>,
}

impl Syntax {
    /// Bucket of the number of components up to the last non-zero one.
    fn bucket(self, count: usize) -> u8 {
        let bucket = bucket_of(count);
        if self.grouped { bucket.min(BUCKETS as u8 - 1) } else { bucket }
    }

    /// Components below the end of bucket `b`.
    fn bound(self, b: u8) -> usize {
        if self.grouped && usize::from(b) == BUCKETS - 1 { usize::MAX } else { bound_of(b) }
    }
}

impl Levels {
    /// All relevant, all intra, all still, all zero; of `components` planes of `height × width`.
    pub fn new(components: usize, height: usize, width: usize) -> Self {
        let positions = height * width;
        Self {
            relevance: vec![RELEVANT; positions],
            modes: vec![INTRA; positions],
            vectors: vec![Vector::STILL; Blocks::new(height, width).count()],
            levels: vec![0; components * positions],
        }
    }
}

/// Adaptive state of the coder of one sequence.
#[derive(Debug)]
pub struct PlaneCoder {
    syntax: Syntax,
    components: usize,
    width: usize,
    positions: usize,
    blocks: Blocks,
    max_decisions: u64,
    /// Of the frame before: magnitude of each level up to 2, relevance, mode and bucket of each position. Where frames are
    /// independent, these stay zero.
    before: Vec<u8>,
    before_relevance: Vec<Relevance>,
    before_mode: Vec<Mode>,
    before_bucket: Vec<u8>,
    /// Of this frame.
    bucket: Vec<u8>,
    activity: Vec<u16>,
    active: Vec<u32>,
    decisions: u64,
    /// Where the models start.
    first: Tables,
    pub(super) tables: Tables,
}

impl PlaneCoder {
    /// A coder of `components` planes of `height × width` levels.
    pub fn new(components: usize, height: usize, width: usize, syntax: Syntax, max_decisions: u64) -> Self {
        let positions = height * width;
        let first = Tables::new(components, syntax);
        Self {
            syntax,
            components,
            width,
            positions,
            blocks: Blocks::new(height, width),
            max_decisions,
            before: vec![0; if syntax.independent { positions } else { components * positions }],
            before_relevance: vec![RELEVANT; positions],
            before_mode: vec![INTRA; positions],
            before_bucket: vec![0; positions],
            bucket: vec![0; positions],
            activity: vec![0; positions],
            active: Vec::with_capacity(positions),
            decisions: 0,
            tables: first.clone(),
            first,
        }
    }

    /// What decisions cost in bits under the models' first states.
    pub fn costs(&self) -> Costs {
        Costs::new(&self.first, self.components)
    }

    /// Groups of components, each of which [`Self::code_group`] codes.
    pub fn groups(&self) -> usize {
        if self.syntax.grouped { contexts::groups_of(self.components) } else { 1 }
    }

    /// Components of group `group`.
    pub fn group(&self, group: usize) -> Range<usize> {
        match self.syntax.grouped {
            true => contexts::group_of_components(group, self.components),
            false => 0..self.components,
        }
    }

    /// Starts a frame: forgets everything learned at random access points, and for every frame where frames are independent.
    pub fn begin(&mut self, random_access: bool) {
        self.decisions = 0;
        self.activity.fill(0);
        if random_access || self.syntax.independent {
            self.tables.restart(&self.first);
        }
        if random_access && !self.syntax.independent {
            self.before.fill(0);
            self.before_relevance.fill(RELEVANT);
            self.before_mode.fill(INTRA);
            self.before_bucket.fill(0);
        }
    }

    /// Writes relevance, modes, vectors and buckets of `frame` to, or reads them from, `bits`; its relevance only if it is `mapped`, all
    /// positions are relevant otherwise. A reader must hand in levels that are all zero.
    pub fn code_positions<B: Bits>(&mut self, bits: &mut B, frame: &mut Levels, random_access: bool, mapped: bool) {
        if mapped {
            code_map(bits, self.width, &mut self.tables.relevance, &self.before_relevance, &mut frame.relevance);
        } else {
            frame.relevance.fill(RELEVANT);
        }
        if random_access {
            frame.modes.fill(INTRA);
        } else {
            code_map(bits, self.width, &mut self.tables.mode, &self.before_mode, &mut frame.modes);
        }
        if random_access || !self.syntax.motion {
            frame.vectors.fill(Vector::STILL);
        } else {
            self.code_vectors(bits, frame);
        }
        self.code_buckets(bits, frame);
        self.active.clear();
        self.active.extend((0..self.positions as u32).filter(|&p| self.bucket[p as usize] > 0));
    }

    /// Ends a frame.
    pub fn end(&mut self, frame: &Levels) {
        if !self.syntax.independent {
            self.before_relevance.copy_from_slice(&frame.relevance);
            self.before_mode.copy_from_slice(&frame.modes);
            self.before_bucket.copy_from_slice(&self.bucket);
        }
    }

    /// Codes the vectors of the blocks that have predicted positions; the others are still.
    fn code_vectors<B: Bits>(&mut self, bits: &mut B, frame: &mut Levels) {
        let blocks = self.blocks;
        for b in 0..blocks.count() {
            if blocks.positions(b).all(|p| frame.modes[p] == INTRA) {
                frame.vectors[b] = Vector::STILL;
                continue;
            }
            let beside = Beside::of(b, blocks, &frame.vectors);
            frame.vectors[b] = self.tables.vector.code(bits, frame.vectors[b], beside);
        }
    }

    fn code_buckets<B: Bits>(&mut self, bits: &mut B, frame: &Levels) {
        let stretch = stretch_table();
        let (buckets, nodes) = (self.tables.buckets, self.tables.nodes);
        let depth = nodes.ilog2();
        self.find_buckets(&frame.levels);
        for p in 0..self.positions {
            let left = if !p.is_multiple_of(self.width) { usize::from(self.bucket[p - 1]) } else { 0 };
            let up = if p >= self.width { usize::from(self.bucket[p - self.width]) } else { 0 };
            let before = usize::from(self.before_bucket[p]);
            let (mode, region) = (usize::from(frame.modes[p]), usize::from(frame.relevance[p]));
            let contexts = [
                (left + up).div_ceil(2) * buckets + before,
                left * buckets + up,
                (region * buckets + before) * 2 + mode,
            ];
            let mut node = 1usize;
            for i in (0..depth).rev() {
                let at = contexts.map(|c| c * nodes + node);
                let counters =
                    [self.tables.bucket[0][at[0]], self.tables.bucket[1][at[1]], self.tables.bucket[2][at[2]]];
                let inputs = counters.map(|c| i32::from(stretch[usize::from(c.p() >> 4)]));
                let bit = self.bucket[p] >> i & 1 == 1;
                let bit = self.tables.bucket_mix[node].code(bits, bit, inputs, BUCKET_RATE);
                for (model, at) in self.tables.bucket.iter_mut().zip(at) {
                    model[at].update(bit, BUCKET_LIMIT);
                }
                node = node << 1 | usize::from(bit);
            }
            // A reader of a damaged stream may meet a bucket past the last one.
            self.bucket[p] = ((node - nodes).min(buckets - 1)) as u8;
        }
    }

    /// Buckets of the levels handed in. (A reader hands in zeros, and the result is replaced by what is read.)
    fn find_buckets(&mut self, levels: &[i32]) {
        self.bucket.fill(0);
        for (c, plane) in levels.chunks_exact(self.positions).enumerate() {
            let b = self.syntax.bucket(c + 1);
            for (bucket, &level) in self.bucket.iter_mut().zip(plane) {
                if level != 0 {
                    *bucket = b;
                }
            }
        }
    }

    /// Writes the levels of the components in group `group` to, or reads them from, `bits`. All stronger groups come first.
    ///
    /// # Errors
    /// Reading only: `Corruption` for a level over [`LEVEL_MAX`], `LimitExceeded` past the bound on decisions.
    pub fn code_group<B: Bits>(&mut self, bits: &mut B, frame: &mut Levels, group: usize) -> Result<()> {
        let stretch = stretch_table();
        let (width, positions) = (self.width, self.positions);
        let mut decisions = self.decisions;
        let mut end = 0;
        for c in self.group(group) {
            if c >= end {
                // Buckets end together: the list of active positions changes only here.
                let bucket = &self.bucket;
                self.active.retain(|&p| self.syntax.bound(bucket[p as usize]) > c);
                end = self.active.iter().map(|&p| self.syntax.bound(bucket[p as usize])).min().unwrap_or(usize::MAX);
            }
            let plane = &mut frame.levels[c * positions..][..positions];
            let row = if self.syntax.independent { 0 } else { c * positions };
            let before = &mut self.before[row..][..positions];
            decisions += self.active.len() as u64;
            if decisions > self.max_decisions {
                return Err(too_many(decisions, self.max_decisions));
            }
            let (class, index, group) = contexts::place_of(c, self.syntax.grouped);
            let here = self.syntax.bucket(c + 1);
            let m = &mut self.tables;
            for &p in &self.active {
                let p = p as usize;
                let (left, left_activity) =
                    if !p.is_multiple_of(width) { (plane[p - 1], self.activity[p - 1]) } else { (0, 0) };
                let (up, up_activity) = if p >= width { (plane[p - width], self.activity[p - width]) } else { (0, 0) };
                let near_activity = (u32::from(left_activity) + u32::from(up_activity)) / 2;
                let surroundings = Surroundings {
                    index,
                    class,
                    group,
                    mode: usize::from(frame.modes[p]),
                    near: (left.unsigned_abs().min(2) + up.unsigned_abs().min(2)) as usize,
                    was: usize::from(before[p]),
                    activity: activity_class(self.activity[p]),
                    near_activity: activity_class(near_activity as u16),
                    to_bound: usize::from(self.bucket[p] - here).min(15),
                };
                let at = surroundings.contexts();
                let p_of = |i: usize| i32::from(stretch[usize::from(m.zero[i][at[i]].p() >> 4)]);
                let inputs = [p_of(0), p_of(1), p_of(2), p_of(3)];
                let level = plane[p];
                let region = usize::from(frame.relevance[p]);
                let mix = &mut m.zero_mix[(region * contexts::CLASSES + class) * 2 + surroundings.mode];
                let nonzero = mix.code(bits, level != 0, inputs, ZERO_RATE);
                for (zero, at) in m.zero.iter_mut().zip(at) {
                    zero[at].update(nonzero, ZERO_LIMIT);
                }
                let mut magnitude = 0;
                if nonzero {
                    let negative = bits.bit(level < 0, 1 << 15);
                    let at = (class * ACTIVITIES + surroundings.activity) * UNARY;
                    magnitude = code_magnitude(bits, level.unsigned_abs(), &mut m.magnitude[at..at + UNARY])?;
                    decisions += decisions_of(magnitude);
                    plane[p] = if negative { -(magnitude as i32) } else { magnitude as i32 };
                }
                self.activity[p] = activity_after(self.activity[p], magnitude);
            }
            if !self.syntax.independent {
                for (before, &level) in before.iter_mut().zip(plane.iter()) {
                    *before = level.unsigned_abs().min(2) as u8;
                }
            }
        }
        if decisions > self.max_decisions {
            return Err(too_many(decisions, self.max_decisions));
        }
        self.decisions = decisions;
        Ok(())
    }
}

/// Codes one bit a position, such as its mode; outside the grid bits count as ones.
fn code_map<B: Bits>(bits: &mut B, width: usize, models: &mut [Counter; 16], before: &[u8], map: &mut [u8]) {
    for p in 0..map.len() {
        let (first, top) = (p.is_multiple_of(width), p < width);
        let left = if !first { map[p - 1] } else { 1 };
        let up = if !top { map[p - width] } else { 1 };
        let corner = if !first && !top { map[p - width - 1] } else { 1 };
        let context = usize::from(left | up << 1 | before[p] << 2 | corner << 3);
        map[p] = u8::from(models[context].code(bits, map[p] == 1, MODE_LIMIT));
    }
}

fn too_many(decisions: u64, allowed: u64) -> Error {
    Error::limit("number of decisions in an access unit", decisions, allowed)
}

/// Decisions that the sign and magnitude of a level took: each costs time, so each counts towards the limit.
#[inline(always)]
fn decisions_of(magnitude: u32) -> u64 {
    match magnitude.checked_sub(UNARY as u32 + 1) {
        None => 1 + u64::from(magnitude),
        Some(rest) => 2 + UNARY as u64 + 2 * u64::from((rest + 1).ilog2()),
    }
}

/// Codes a magnitude of at least 1: unary while adaptive models last, then Exp-Golomb.
#[inline]
fn code_magnitude<B: Bits>(bits: &mut B, magnitude: u32, models: &mut [Counter]) -> Result<u32> {
    for (i, model) in models.iter_mut().enumerate() {
        if !model.code(bits, magnitude > i as u32 + 1, MAGNITUDE_LIMIT) {
            return Ok(i as u32 + 1);
        }
    }
    let rest = magnitude.wrapping_sub(UNARY as u32);
    let mut length = 0;
    while bits.bit(length < 31 && rest >> (length + 1) != 0, 1 << 15) {
        length += 1;
        if length > 30 {
            return Err(Error::corrupt("a level of over 31 bits"));
        }
    }
    let value = (1 << length | bits.bypass(rest, length)) + UNARY as u32;
    if value > LEVEL_MAX {
        return Err(Error::corrupt(format!("a level of magnitude {value}, the largest is {LEVEL_MAX}")));
    }
    Ok(value)
}
