//! What decisions cost, in bits, under the first states of the models: for an encoder that weighs bits against distortion.
//!
//! These are estimates: models learn within a frame, and where frames are not independent they keep what they learned. The syntax is
//! that of streams with groups, the only one that is written.

use super::contexts::{ACTIVITIES, CLASSES, Surroundings, place_of};
use super::models::{STRETCH_MAX, squash, stretch_table};
use super::tables::{BUCKETS, Tables, UNARY};

/// Activities that the third context of zero flags tells apart, and buckets up to the bound.
const COARSE_ACTIVITIES: usize = ACTIVITIES / 2;
const TO_BOUND: usize = 16;
/// Sums of the magnitudes left and above, each at most 2.
const NEAR: usize = 5;
/// Neighbourhoods that the second and third context tell apart.
const COARSE_NEAR: usize = 3;

/// What a zero flag is coded under, as far as a position's place and prediction decide it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Class of the component.
    pub class: usize,
    /// 1 = predicted.
    pub mode: usize,
    /// Buckets from this component's to the position's.
    pub to_bound: usize,
    /// Magnitudes left and above, each at most 2, added.
    pub near: usize,
    /// Class of the activity here, and of the mean activity left and above.
    pub activity: usize,
    pub near_activity: usize,
}

/// Tables of costs.
#[derive(Debug)]
pub struct Costs {
    /// Shares of the mixed logistic value of a bucket's node: by mean bucket around, by both buckets around, and by mode.
    bucket: [Vec<i32>; 3],
    /// Shares of that of a zero flag: by `(class, mode, near, activity)`, `(class, mode, to bound, near, activity)` and
    /// `(class, mode, activity, activity around)`.
    zero: [Vec<i32>; 3],
    /// Of magnitudes from 1 to one past the last that has a counter, sign included, by class and activity.
    magnitude: Vec<f32>,
    /// Of a one under each logistic value.
    one: Vec<f32>,
}

impl Costs {
    /// Costs under the models of `tables`, whose frames have `components` components.
    pub fn new(tables: &Tables, components: usize) -> Self {
        let one = (-STRETCH_MAX..=STRETCH_MAX).map(|x| bits(f64::from(squash(x)))).collect();
        let magnitude = tables.magnitude.chunks_exact(UNARY).flat_map(|counters| {
            let mut sum = 1.0;
            let mut costs: Vec<f32> = Vec::with_capacity(UNARY + 1);
            for counter in counters {
                costs.push(sum + bits(65_536.0 - f64::from(counter.p())));
                sum += bits(f64::from(counter.p()));
            }
            costs.push(sum);
            costs
        });
        let (bucket, zero) = (bucket_shares(tables), zero_shares(tables, components));
        Self { bucket, zero, magnitude: magnitude.collect(), one }
    }

    /// Of every bucket, where those left and above are `around`.
    pub fn buckets(&self, around: [u8; 2], mode: usize, out: &mut [f32; BUCKETS]) {
        let [left, up] = around.map(usize::from);
        let rows = [
            &self.bucket[0][(left + up).div_ceil(2) * BUCKETS..][..BUCKETS],
            &self.bucket[1][(left * BUCKETS + up) * BUCKETS..][..BUCKETS],
            &self.bucket[2][mode * BUCKETS..][..BUCKETS],
        ];
        // Costs of the nodes of the tree, level by level; the leaves are the buckets.
        let mut costs = [0f32; 2 * BUCKETS];
        for node in 1..BUCKETS {
            let mixed = (rows[0][node] + rows[1][node] + rows[2][node]) >> 8;
            let [zero, one] = self.decision(mixed);
            costs[2 * node] = costs[node] + zero;
            costs[2 * node + 1] = costs[node] + one;
        }
        out.copy_from_slice(&costs[BUCKETS..]);
    }

    /// Of a level that is zero, and of the flag of one that is not.
    #[inline(always)]
    pub fn zero_flag(&self, place: Place) -> [f32; 2] {
        let Place { class, mode, to_bound, near, activity, near_activity } = place;
        let row = class * 2 + mode;
        let mixed = self.zero[0][(row * NEAR + near) * ACTIVITIES + activity]
            + self.zero[1]
                [((row * TO_BOUND + to_bound) * COARSE_NEAR + near.min(2)) * COARSE_ACTIVITIES + activity / 2]
            + self.zero[2][(row * ACTIVITIES + activity) * ACTIVITIES + near_activity];
        self.decision(mixed >> 8)
    }

    /// Of sign and magnitude of a level that is not zero.
    #[inline(always)]
    pub fn magnitude(&self, class: usize, activity: usize, magnitude: u32) -> f32 {
        let row = &self.magnitude[(class * ACTIVITIES + activity) * (UNARY + 1)..][..UNARY + 1];
        match magnitude.checked_sub(UNARY as u32 + 1) {
            None => row[magnitude as usize - 1],
            Some(rest) => row[UNARY] + 1.0 + 2.0 * (rest + 1).ilog2() as f32,
        }
    }

    /// What a level of one costs more than a zero where there are some others around, sign included.
    pub fn in_company(&self, class: usize, mode: usize) -> f32 {
        let activity = 3;
        let place = Place { class, mode, to_bound: 1, near: 1, activity, near_activity: activity };
        let [zero, one] = self.zero_flag(place);
        (one - zero + self.magnitude(class, activity, 1)).max(1.0)
    }

    #[inline(always)]
    fn decision(&self, mixed: i32) -> [f32; 2] {
        let x = mixed.clamp(-STRETCH_MAX, STRETCH_MAX);
        [self.one[(STRETCH_MAX - x) as usize], self.one[(STRETCH_MAX + x) as usize]]
    }
}

/// Bits of an outcome of probability `p` / 65536.
fn bits(p: f64) -> f32 {
    -(p / 65_536.0).log2() as f32
}

/// A counter's share of a mixed value.
fn share(weight: i32, p: u16) -> i32 {
    (weight * i32::from(stretch_table()[usize::from(p >> 4)])) >> 8
}

fn bucket_shares(tables: &Tables) -> [Vec<i32>; 3] {
    let weight = |at: usize, n: usize| tables.bucket_mix[at % BUCKETS].weights()[n];
    let share_of = |n: usize, at: usize| share(weight(at, n), tables.bucket[n][at].p());
    // Nothing is known of the bucket before: it counts as 0.
    let around = (0..BUCKETS * BUCKETS).map(|i| share_of(0, i / BUCKETS * BUCKETS * BUCKETS + i % BUCKETS));
    let pair = (0..BUCKETS * BUCKETS * BUCKETS).map(|i| share_of(1, i));
    let mode = (0..2 * BUCKETS).map(|i| share_of(2, i));
    [around.collect(), pair.collect(), mode.collect()]
}

fn zero_shares(tables: &Tables, components: usize) -> [Vec<i32>; 3] {
    let mut shares = [
        vec![0; CLASSES * 2 * NEAR * ACTIVITIES],
        vec![0; CLASSES * 2 * TO_BOUND * COARSE_NEAR * COARSE_ACTIVITIES],
        vec![0; CLASSES * 2 * ACTIVITIES * ACTIVITIES],
    ];
    // The first component of a class stands for all of it.
    let mut first = [None; CLASSES];
    for c in (0..components).rev() {
        let (class, index, group) = place_of(c, true);
        first[class] = Some((index, group));
    }
    for (class, place) in first.into_iter().enumerate() {
        let Some((index, group)) = place else { continue };
        for mode in 0..2 {
            let row = class * 2 + mode;
            let weights = tables.zero_mix[row].weights();
            let of = |n: usize, near: usize, activity: usize, near_activity: usize, to_bound: usize| {
                let was = 0;
                let at = Surroundings { index, class, group, mode, near, was, activity, near_activity, to_bound };
                share(weights[n], tables.zero[n][at.contexts()[n]].p())
            };
            for near in 0..NEAR {
                for activity in 0..ACTIVITIES {
                    shares[0][(row * NEAR + near) * ACTIVITIES + activity] =
                        of(0, near, activity, 0, 0) + of(1, near, activity, 0, 0);
                }
            }
            for to_bound in 0..TO_BOUND {
                for near in 0..COARSE_NEAR {
                    for activity in 0..COARSE_ACTIVITIES {
                        let at = ((row * TO_BOUND + to_bound) * COARSE_NEAR + near) * COARSE_ACTIVITIES + activity;
                        shares[1][at] = of(2, near, 2 * activity, 0, to_bound);
                    }
                }
            }
            for activity in 0..ACTIVITIES {
                for near_activity in 0..ACTIVITIES {
                    shares[2][(row * ACTIVITIES + activity) * ACTIVITIES + near_activity] =
                        of(3, 0, activity, near_activity, 0);
                }
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::super::contexts::{activity_after, activity_class, bucket_of};
    use super::super::planes::{INTRA, Levels, PlaneCoder};
    use super::super::range_coder::Meter;
    use super::super::tables::Syntax;
    use super::*;

    #[test]
    fn a_lone_position_costs_what_its_decisions_take() {
        let syntax = Syntax { regions: 1, grouped: true, independent: true, motion: false };
        // No two components of a class, so that nothing is learned in between.
        const K: usize = 4;
        for levels in [[0, 0, 0, 0], [3, 0, 0, 0], [0, -1, 0, 0], [-2, 1, 0, 7], [40, 0, 14, 15]] {
            let mut coder = PlaneCoder::new(K, 1, 1, syntax, u64::MAX);
            let costs = coder.costs();
            let mut frame = Levels::new(K, 1, 1);
            frame.levels.copy_from_slice(&levels);
            let mut meter = Meter::default();
            coder.begin(true);
            coder.code_positions(&mut meter, &mut frame, true, false);
            (0..coder.groups()).for_each(|group| coder.code_group(&mut meter, &mut frame, group).unwrap());

            let count = levels.iter().rposition(|&l| l != 0).map_or(0, |last| last + 1);
            let mut buckets = [0.0; BUCKETS];
            costs.buckets([0, 0], usize::from(INTRA), &mut buckets);
            let mut foretold = buckets[usize::from(bucket_of(count))];
            let mut activity = 0;
            for (c, &level) in levels.iter().enumerate().take(count) {
                let place = Place {
                    class: place_of(c, true).0,
                    mode: usize::from(INTRA),
                    to_bound: usize::from(bucket_of(count) - bucket_of(c + 1)),
                    near: 0,
                    activity: activity_class(activity),
                    near_activity: 0,
                };
                foretold += costs.zero_flag(place)[usize::from(level != 0)];
                if level != 0 {
                    foretold += costs.magnitude(place.class, place.activity, level.unsigned_abs());
                }
                activity = activity_after(activity, level.unsigned_abs());
            }
            assert!((f64::from(foretold) - meter.bits).abs() < 0.01, "{levels:?}: {foretold} bits, {}", meter.bits);
        }
    }
}
