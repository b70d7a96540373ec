//! The adaptive models of a frame's syntax and their first states (docs/bitstream.md §7.2).

use super::contexts::{ACTIVITIES, BY_BOUND, BY_INDEX, CLASSES, GROUPS, INDEXED, Surroundings, bucket_of, class};
use super::models::{Counter, Mixer};
use super::prior::Prior;
use super::vectors::VectorModels;

/// Decisions of a magnitude that have a counter each.
pub const UNARY: usize = 14;
/// Buckets of a stream with groups, and nodes of the tree that codes one.
pub const BUCKETS: usize = 32;
/// First weights of the mixers, in 1/65536.
const BUCKET_WEIGHT: i32 = 26_000;
const ZERO_WEIGHT: i32 = 20_000;

/// What the syntax of a sequence depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syntax {
    /// 2 where positions have a relevance, else 1.
    pub regions: usize,
    /// Version 3: components form groups, and models start from the prior.
    pub grouped: bool,
    /// Every frame starts anew, so that it can be read without the one before.
    pub independent: bool,
    /// Version 4: blocks of positions are predicted along vectors.
    pub motion: bool,
}

/// All models of a sequence.
#[derive(Debug, Clone)]
pub struct Tables {
    /// Buckets, and nodes of the tree that codes one.
    pub buckets: usize,
    pub nodes: usize,
    pub relevance: [Counter; 16],
    pub mode: [Counter; 16],
    pub vector: VectorModels,
    pub bucket: [Vec<Counter>; 3],
    pub bucket_mix: Vec<Mixer<3>>,
    /// One table for each way in which [`Surroundings`] are looked at.
    pub zero: [Vec<Counter>; 4],
    pub zero_mix: Vec<Mixer<4>>,
    pub magnitude: Vec<Counter>,
}

impl Tables {
    const EVEN: Counter = Counter::new(1 << 15, 0);
    const RARE: Counter = Counter::new(5200, 2);
    const SMALL: Counter = Counter::new(20_000, 0);

    /// The first states for `components` components.
    pub fn new(components: usize, syntax: Syntax) -> Self {
        let tables = Self::blank(components, syntax);
        if syntax.grouped { tables.with(&Prior::built_in(), components, syntax.regions) } else { tables }
    }

    /// First states without a prior.
    pub fn blank(components: usize, syntax: Syntax) -> Self {
        let buckets = if syntax.grouped { BUCKETS } else { usize::from(bucket_of(components)) + 1 };
        let nodes = buckets.next_power_of_two();
        let square = buckets * buckets * nodes;
        let groups = if syntax.grouped { GROUPS } else { 1 };
        Self {
            buckets,
            nodes,
            relevance: [Self::EVEN; 16],
            mode: [Self::EVEN; 16],
            vector: VectorModels::FIRST,
            bucket: [
                vec![Self::EVEN; square],
                vec![Self::EVEN; square],
                vec![Self::EVEN; syntax.regions * buckets * 2 * nodes],
            ],
            bucket_mix: vec![Mixer::new(BUCKET_WEIGHT); nodes],
            zero: Surroundings::sizes(components.min(INDEXED), groups).map(|n| vec![Self::RARE; n]),
            zero_mix: vec![Mixer::new(ZERO_WEIGHT); syntax.regions * CLASSES * 2],
            magnitude: vec![Self::SMALL; CLASSES * ACTIVITIES * UNARY],
        }
    }

    /// Spreads a prior, which knows no single component, region, or bucket before.
    pub fn with(mut self, prior: &Prior, components: usize, regions: usize) -> Self {
        self.relevance.copy_from_slice(&prior.relevance);
        self.mode.copy_from_slice(&prior.mode);
        for around in 0..BUCKETS {
            for before in 0..BUCKETS {
                let row = (around * BUCKETS + before) * BUCKETS;
                self.bucket[0][row..row + BUCKETS].copy_from_slice(&prior.bucket_near[around * BUCKETS..][..BUCKETS]);
                let mean = (around + before).div_ceil(2);
                self.bucket[1][row..row + BUCKETS].copy_from_slice(&prior.bucket_near[mean * BUCKETS..][..BUCKETS]);
            }
        }
        for row in 0..regions * BUCKETS * 2 {
            let mode = row % 2;
            self.bucket[2][row * BUCKETS..][..BUCKETS].copy_from_slice(&prior.bucket_mode[mode * BUCKETS..][..BUCKETS]);
        }
        self.zero[0].copy_from_slice(&prior.zero_near);
        for (c, counters) in self.zero[1].chunks_exact_mut(BY_INDEX).take(components).enumerate() {
            counters.copy_from_slice(&prior.zero_class[class(c) * BY_INDEX..][..BY_INDEX]);
        }
        self.zero[2].copy_from_slice(&prior.zero_bound);
        self.zero[3].copy_from_slice(&prior.zero_activity);
        self.magnitude.copy_from_slice(&prior.magnitude);
        for weights in self.zero_mix.chunks_exact_mut(CLASSES * 2) {
            weights.copy_from_slice(&prior.zero_mix);
        }
        self
    }

    /// Takes the state of `other`, in place.
    pub fn restart(&mut self, other: &Self) {
        self.relevance = other.relevance;
        self.mode = other.mode;
        self.vector = other.vector;
        self.bucket.iter_mut().zip(&other.bucket).for_each(|(to, from)| to.copy_from_slice(from));
        self.bucket_mix.copy_from_slice(&other.bucket_mix);
        self.zero.iter_mut().zip(&other.zero).for_each(|(to, from)| to.copy_from_slice(from));
        self.zero_mix.copy_from_slice(&other.zero_mix);
        self.magnitude.copy_from_slice(&other.magnitude);
    }
}

/// Lengths of the parts of a prior, which its file has in this order.
pub mod lengths {
    use super::*;

    pub const MAP: usize = 16;
    pub const BUCKET_NEAR: usize = BUCKETS * BUCKETS;
    pub const BUCKET_MODE: usize = 2 * BUCKETS;
    pub const ZERO: [usize; 4] = Surroundings::sizes(CLASSES, GROUPS);
    pub const MAGNITUDE: usize = CLASSES * ACTIVITIES * UNARY;
    pub const ZERO_MIX: usize = CLASSES * 2;
    const _: () = assert!(ZERO[2] == GROUPS * BY_BOUND);
}
