//! The prior: first states of the models of version 3, learned once from features of the project's own network on rendered
//! scenes, the same for all streams (docs/bitstream.md §7.2). `make prior` learns it again.

use super::models::{Counter, Mixer};
use super::tables::lengths;

/// Normative: docs/bitstream.md names its SHA-256.
static BUILT_IN: &[u8; Prior::BYTES] = include_bytes!("prior.bin");

/// First states for components of each class.
#[derive(Debug, Clone, PartialEq)]
pub struct Prior {
    /// Counters of the maps of relevance and modes.
    pub relevance: Vec<Counter>,
    pub mode: Vec<Counter>,
    /// Nodes of buckets by the mean bucket left and above, and by mode.
    pub bucket_near: Vec<Counter>,
    pub bucket_mode: Vec<Counter>,
    /// The four tables of zero flags; the second by class where streams have it by component.
    pub zero_near: Vec<Counter>,
    pub zero_class: Vec<Counter>,
    pub zero_bound: Vec<Counter>,
    pub zero_activity: Vec<Counter>,
    pub magnitude: Vec<Counter>,
    /// Weights by class and mode.
    pub zero_mix: Vec<Mixer<4>>,
}

/// Weights are stored in units of 16/65536.
const WEIGHT_SHIFT: u32 = 4;
/// Counts are stored in units of 4.
const COUNT_SHIFT: u32 = 2;

impl Prior {
    /// Counters and weights: 2 bytes each.
    const BYTES: usize = 2
        * (2 * lengths::MAP
            + lengths::BUCKET_NEAR
            + lengths::BUCKET_MODE
            + lengths::ZERO[0]
            + lengths::ZERO[1]
            + lengths::ZERO[2]
            + lengths::ZERO[3]
            + lengths::MAGNITUDE
            + 4 * lengths::ZERO_MIX);

    /// The prior of format version 3.
    pub fn built_in() -> Self {
        Self::from_bytes(BUILT_IN)
    }

    fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let mut words = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        let mut counters = |n: usize| -> Vec<Counter> {
            words.by_ref().take(n).map(|w| Counter::new(w & !15 | 8, ((w & 15) as u8) << COUNT_SHIFT)).collect()
        };
        let (relevance, mode) = (counters(lengths::MAP), counters(lengths::MAP));
        let (bucket_near, bucket_mode) = (counters(lengths::BUCKET_NEAR), counters(lengths::BUCKET_MODE));
        let [zero_near, zero_class, zero_bound, zero_activity] = lengths::ZERO.map(&mut counters);
        let magnitude = counters(lengths::MAGNITUDE);
        let weights: Vec<i32> = words.map(|w| i32::from(w as i16) << WEIGHT_SHIFT).collect();
        let zero_mix = weights.chunks_exact(4).map(|w| Mixer::with([w[0], w[1], w[2], w[3]])).collect();
        Self {
            relevance,
            mode,
            bucket_near,
            bucket_mode,
            zero_near,
            zero_class,
            zero_bound,
            zero_activity,
            magnitude,
            zero_mix,
        }
    }
}

#[cfg(feature = "calibrate")]
mod learning;
#[cfg(feature = "calibrate")]
pub use learning::PriorTrainer;

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn the_prior_is_the_one_that_the_specification_names() {
        let hash: String = Sha256::digest(BUILT_IN).iter().map(|b| format!("{b:02x}")).collect();
        let text = include_str!("../../../../docs/bitstream.md");
        assert!(text.contains(&hash), "{hash}");
    }

    #[test]
    fn counters_of_the_prior_are_legal() {
        let prior = Prior::built_in();
        let tables = [&prior.relevance, &prior.mode, &prior.bucket_near, &prior.zero_near, &prior.zero_bound];
        for counter in tables.into_iter().flatten() {
            assert!(counter.p() > 0 && counter.count() < 64);
        }
    }
}
