//! Syntax of a coded frame: relevance and modes of the positions, last-component buckets, then the levels component by
//! component (docs/bitstream.md §7.3).
//!
//! One function, [`PlaneCoder::code`], both writes and reads.

use super::models::{Counter, Mixer, stretch_table};
use super::range_coder::Bits;
use crate::error::{Error, Result};

/// How a position is predicted.
pub type Mode = u8;
/// Prediction 0.
pub const INTRA: Mode = 0;
/// Prediction from the same position of the frame before.
pub const INTER: Mode = 1;

/// How much a position matters.
pub type Relevance = u8;
/// Coded with the frame's quantiser step; so are all positions of a stream without relevance.
pub const RELEVANT: Relevance = 0;
/// Coded with the coarser step of the background.
pub const BACKGROUND: Relevance = 1;

/// Largest magnitude of a level. Larger ones do not occur in a legal stream.
pub const LEVEL_MAX: u32 = (1 << 30) - 1;

/// Components whose index has a context of its own; the others share that of the last.
const INDEXED: usize = 4096;
const CLASSES: usize = 16;
const ACTIVITIES: usize = 8;
const UNARY: usize = 14;
/// First weights of the mixers, in 1/65536.
const BUCKET_WEIGHT: i32 = 26_000;
const ZERO_WEIGHT: i32 = 20_000;
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
    /// `K` planes of `P` levels.
    pub levels: Vec<i32>,
}

impl Levels {
    /// All relevant, all intra, all zero.
    pub fn new(components: usize, positions: usize) -> Self {
        let relevance = vec![RELEVANT; positions];
        Self { relevance, modes: vec![INTRA; positions], levels: vec![0; components * positions] }
    }
}

/// Adaptive state of the coder of one sequence.
#[derive(Debug)]
pub struct PlaneCoder {
    width: usize,
    positions: usize,
    max_decisions: u64,
    /// Of the frame before: magnitude of each level up to 2, relevance, mode and bucket of each position.
    before: Vec<u8>,
    before_relevance: Vec<Relevance>,
    before_mode: Vec<Mode>,
    before_bucket: Vec<u8>,
    /// Of this frame.
    bucket: Vec<u8>,
    activity: Vec<u16>,
    active: Vec<u32>,
    models: Models,
}

#[derive(Debug)]
struct Models {
    /// Buckets, and nodes of the tree that codes one.
    buckets: usize,
    nodes: usize,
    relevance: [Counter; 16],
    mode: [Counter; 16],
    bucket: [Vec<Counter>; 3],
    bucket_mix: Vec<Mixer<3>>,
    /// One table for each way in which [`Surroundings`] are looked at.
    zero: [Vec<Counter>; 4],
    zero_mix: Vec<Mixer<4>>,
    magnitude: Vec<Counter>,
}

impl Models {
    const EVEN: Counter = Counter::new(1 << 15, 0);
    const RARE: Counter = Counter::new(5200, 2);
    const SMALL: Counter = Counter::new(20_000, 0);

    /// `regions`: 2 where positions have a relevance, else 1.
    fn new(components: usize, regions: usize) -> Self {
        let buckets = usize::from(bucket_of(components)) + 1;
        let nodes = buckets.next_power_of_two();
        let square = buckets * buckets * nodes;
        Self {
            buckets,
            nodes,
            relevance: [Self::EVEN; 16],
            mode: [Self::EVEN; 16],
            bucket: [
                vec![Self::EVEN; square],
                vec![Self::EVEN; square],
                vec![Self::EVEN; regions * buckets * 2 * nodes],
            ],
            bucket_mix: vec![Mixer::new(BUCKET_WEIGHT); nodes],
            zero: Surroundings::sizes(components).map(|n| vec![Self::RARE; n]),
            zero_mix: vec![Mixer::new(ZERO_WEIGHT); regions * CLASSES * 2],
            magnitude: vec![Self::SMALL; CLASSES * ACTIVITIES * UNARY],
        }
    }

    /// Back to the state of `new`, in place.
    fn reset(&mut self) {
        self.relevance.fill(Self::EVEN);
        self.mode.fill(Self::EVEN);
        self.bucket.iter_mut().for_each(|b| b.fill(Self::EVEN));
        self.bucket_mix.fill(Mixer::new(BUCKET_WEIGHT));
        self.zero.iter_mut().for_each(|z| z.fill(Self::RARE));
        self.zero_mix.fill(Mixer::new(ZERO_WEIGHT));
        self.magnitude.fill(Self::SMALL);
    }
}

/// What is known of a level before it is coded.
#[derive(Debug, Clone, Copy)]
struct Surroundings {
    /// Index of the component, at most `INDEXED` − 1, and its class.
    index: usize,
    class: usize,
    /// How the position is predicted.
    mode: usize,
    /// Magnitudes of the left and upper level of the component, each at most 2, added.
    near: usize,
    /// Magnitude of the level in the frame before, at most 2.
    was: usize,
    /// Class of the activity here, and of the mean activity left and above.
    activity: usize,
    near_activity: usize,
    /// Buckets from this component's to the position's.
    to_bound: usize,
}

impl Surroundings {
    /// Counters that each way of looking needs.
    fn sizes(components: usize) -> [usize; 4] {
        [
            CLASSES * 5 * 3 * ACTIVITIES * 2,
            components.min(INDEXED) * 9,
            2 * 16 * 3 * 3 * 4,
            CLASSES * ACTIVITIES * ACTIVITIES * 2,
        ]
    }

    /// The counter of each.
    #[inline(always)]
    fn contexts(self) -> [usize; 4] {
        let Self { index, class, mode, near, was, activity, near_activity, to_bound } = self;
        [
            (((class * 5 + near) * 3 + was) * ACTIVITIES + activity) * 2 + mode,
            index * 9 + near.min(2) * 3 + (activity / 2).min(2),
            (((mode * 16 + to_bound) * 3 + near.min(2)) * 3 + was) * 4 + activity / 2,
            ((class * ACTIVITIES + activity) * ACTIVITIES + near_activity) * 2 + usize::from(was > 0),
        ]
    }
}

/// Class of a component: 1.5 classes an octave, by integer comparison with ⌈2^(i/1.5)⌉.
fn class(component: usize) -> usize {
    const BOUNDS: [usize; CLASSES] = [1, 2, 3, 4, 7, 11, 16, 26, 41, 64, 102, 162, 256, 407, 646, 1024];
    BOUNDS.partition_point(|&b| b <= component + 1) - 1
}

/// Bucket of the number of components up to the last non-zero one: 0 for none, then half octaves.
fn bucket_of(count: usize) -> u8 {
    if count < 3 {
        return count as u8;
    }
    let octave = count.ilog2();
    let half = (count >> (octave - 1)) & 1;
    (2 * octave + half as u32) as u8
}

/// Components below the end of bucket `b`.
fn bound_of(b: u8) -> usize {
    match b {
        0..=2 => usize::from(b),
        _ => {
            let octave = u32::from(b / 2);
            let half = usize::from(b % 2);
            (1 << octave) + ((1 + half) << (octave - 1)) - 1
        }
    }
}

#[inline(always)]
fn activity_class(a: u16) -> usize {
    const STEPS: [u16; ACTIVITIES - 1] = [80, 200, 410, 820, 1640, 2870, 4500];
    STEPS.iter().map(|&s| usize::from(a >= s)).sum()
}

impl PlaneCoder {
    /// A coder of `components` planes of `height × width` levels; `regions` is 2 where positions have a relevance, else 1.
    pub fn new(components: usize, height: usize, width: usize, regions: usize, max_decisions: u64) -> Self {
        let positions = height * width;
        Self {
            width,
            positions,
            max_decisions,
            before: vec![0; components * positions],
            before_relevance: vec![RELEVANT; positions],
            before_mode: vec![INTRA; positions],
            before_bucket: vec![0; positions],
            bucket: vec![0; positions],
            activity: vec![0; positions],
            active: Vec::with_capacity(positions),
            models: Models::new(components, regions),
        }
    }

    /// Forgets everything learned, as at every random access point.
    fn reset(&mut self) {
        self.models.reset();
        self.before.fill(0);
        self.before_relevance.fill(RELEVANT);
        self.before_mode.fill(INTRA);
        self.before_bucket.fill(0);
    }

    /// Writes `frame` to, or reads it from, `bits`; its relevance only if it is `mapped`, all positions are relevant
    /// otherwise. A reader must hand in levels that are all zero.
    ///
    /// # Errors
    /// Reading only: `Corruption` for a level over [`LEVEL_MAX`], `LimitExceeded` past the bound on decisions.
    pub fn code<B: Bits>(&mut self, bits: &mut B, frame: &mut Levels, random_access: bool, mapped: bool) -> Result<()> {
        if random_access {
            self.reset();
        }
        if mapped {
            let (models, before) = (&mut self.models.relevance, &self.before_relevance);
            code_map(bits, self.width, models, before, &mut frame.relevance);
        } else {
            frame.relevance.fill(RELEVANT);
        }
        if random_access {
            frame.modes.fill(INTRA);
        } else {
            code_map(bits, self.width, &mut self.models.mode, &self.before_mode, &mut frame.modes);
        }
        self.code_buckets(bits, frame);
        self.code_planes(bits, frame)?;
        self.before_relevance.copy_from_slice(&frame.relevance);
        self.before_mode.copy_from_slice(&frame.modes);
        self.before_bucket.copy_from_slice(&self.bucket);
        Ok(())
    }

    fn code_buckets<B: Bits>(&mut self, bits: &mut B, frame: &Levels) {
        let stretch = stretch_table();
        let (buckets, nodes) = (self.models.buckets, self.models.nodes);
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
                    [self.models.bucket[0][at[0]], self.models.bucket[1][at[1]], self.models.bucket[2][at[2]]];
                let inputs = counters.map(|c| i32::from(stretch[usize::from(c.p() >> 4)]));
                let bit = self.bucket[p] >> i & 1 == 1;
                let bit = self.models.bucket_mix[node].code(bits, bit, inputs, BUCKET_RATE);
                for (model, at) in self.models.bucket.iter_mut().zip(at) {
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
            let b = bucket_of(c + 1);
            for (bucket, &level) in self.bucket.iter_mut().zip(plane) {
                if level != 0 {
                    *bucket = b;
                }
            }
        }
    }

    fn code_planes<B: Bits>(&mut self, bits: &mut B, frame: &mut Levels) -> Result<()> {
        let stretch = stretch_table();
        let width = self.width;
        let mut decisions = 0u64;
        self.activity.fill(0);
        self.active.clear();
        self.active.extend((0..self.positions as u32).filter(|&p| self.bucket[p as usize] > 0));
        let planes = frame.levels.chunks_exact_mut(self.positions).zip(self.before.chunks_exact_mut(self.positions));
        let mut end = 0;
        for (c, (plane, before)) in planes.enumerate() {
            if c >= end {
                // Buckets end together: the list of active positions changes only here.
                let bucket = &self.bucket;
                self.active.retain(|&p| bound_of(bucket[p as usize]) > c);
                end = self.active.iter().map(|&p| bound_of(bucket[p as usize])).min().unwrap_or(usize::MAX);
            }
            decisions += self.active.len() as u64;
            if decisions > self.max_decisions {
                return Err(too_many(decisions, self.max_decisions));
            }
            let (class, index, here) = (class(c), c.min(INDEXED - 1), bucket_of(c + 1));
            let m = &mut self.models;
            for &p in &self.active {
                let p = p as usize;
                let (left, left_activity) =
                    if !p.is_multiple_of(width) { (plane[p - 1], self.activity[p - 1]) } else { (0, 0) };
                let (up, up_activity) = if p >= width { (plane[p - width], self.activity[p - width]) } else { (0, 0) };
                let near_activity = (u32::from(left_activity) + u32::from(up_activity)) / 2;
                let surroundings = Surroundings {
                    index,
                    class,
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
                let mix = &mut m.zero_mix[(region * CLASSES + class) * 2 + surroundings.mode];
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
            for (before, &level) in before.iter_mut().zip(plane.iter()) {
                *before = level.unsigned_abs().min(2) as u8;
            }
        }
        if decisions > self.max_decisions {
            return Err(too_many(decisions, self.max_decisions));
        }
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

/// Running activity: 15 % of the way to the magnitude (at most 3), which counts 4096.
#[inline(always)]
fn activity_after(a: u16, magnitude: u32) -> u16 {
    let target = (magnitude.min(3) << 12) as i32;
    (i32::from(a) + (((target - i32::from(a)) * 39) >> 8)) as u16
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
