//! Levels chosen by what they cost in bits: the encoder's alternative to rounding.
//!
//! A level is the nearest one or none. Every choice minimises squared error / step² + λ · bits, greedily: positions in raster order and components from the strongest on,
//! as they are coded, so that what a level is coded under is known but for the position's bucket. That is guessed from the values;
//! where fewer components turn out to be worth their bits, the position is decided once more. Prediction is not chosen here: doing
//! that by cost too was no better at equal accuracy (docs/experiments.md).

use super::{LIMIT, Scaling};
use crate::inner::native::contexts::{CLASSES, activity_after, activity_class, bound_of, bucket_of, place_of};
use crate::inner::native::costs::{Costs, Place};
use crate::inner::native::planes::{INTER, INTRA, Mode};
use crate::inner::native::tables::BUCKETS;
use pulp::Arch;

/// Values that are looked at together for one that may become a level.
const CHUNK: usize = 32;
/// Classes of activities are told in steps of this, which is exact enough for an estimate.
const ACTIVITY_STEP: u16 = 8;
/// Steps up to the activity of endless levels of 3 or more.
const ACTIVITY_STEPS: usize = (3 << 12) / ACTIVITY_STEP as usize + 1;

/// A value that may be worth a level.
#[derive(Debug, Clone, Copy, Default)]
struct Candidate {
    component: u32,
    /// Value less prediction, in steps.
    rest: f32,
}

/// What a component is coded under wherever it is.
#[derive(Debug, Clone, Copy)]
struct Component {
    class: u8,
    /// Bucket of a position whose last level it is.
    bucket: u8,
}

/// A position decided.
#[derive(Debug, Default)]
struct Decision {
    /// A level for each candidate.
    levels: Vec<i32>,
    /// Activity after each component below the bound of the guessed bucket.
    activity: Vec<u16>,
    bucket: u8,
}

/// Chooser of levels for frames of one shape.
#[derive(Debug)]
pub struct RateDistortion {
    /// Squared steps that a bit is worth.
    lambda: f32,
    costs: Costs,
    components: Vec<Component>,
    activity_classes: [u8; ACTIVITY_STEPS],
    /// Magnitude of a rest, in steps, from which a level may pay, by class and mode.
    thresholds: [[f32; 2]; CLASSES],
    /// Candidates with their positions as they are found, component by component; and position by position, where those of
    /// position p are `starts[p]..starts[p + 1]`.
    found: Vec<(u32, Candidate)>,
    /// Of one component.
    rests: Vec<f32>,
    sorted: Vec<Candidate>,
    starts: Vec<u32>,
    /// Those of one position that is predicted within the frame.
    within: Vec<Candidate>,
    decision: Decision,
    neighbours: Neighbours,
}

impl RateDistortion {
    /// For `components` planes of `positions` values in rows of `width`, with `lambda` in squared steps a bit.
    pub fn new(lambda: f32, costs: Costs, components: usize, positions: usize, width: usize) -> Self {
        let component =
            |c| Component { class: place_of(c, true).0 as u8, bucket: bucket_of(c + 1).min(BUCKETS as u8 - 1) };
        // A level of one in place of a zero saves 2x − 1 of squared error.
        let threshold = |class, mode| 0.5 + 0.5 * lambda * costs.in_company(class, mode);
        Self {
            lambda,
            components: (0..components).map(component).collect(),
            activity_classes: std::array::from_fn(|step| activity_class(step as u16 * ACTIVITY_STEP) as u8),
            thresholds: std::array::from_fn(|class| [0, 1].map(|mode| threshold(class, mode))),
            found: Vec::new(),
            rests: vec![0.0; positions],
            sorted: Vec::new(),
            starts: vec![0; positions + 1],
            within: Vec::with_capacity(components),
            decision: Decision::default(),
            neighbours: Neighbours::new(components, positions, width),
            costs,
        }
    }

    /// Takes a frame's `planes`: finds the values that may be worth a level. `before` is what positions of mode inter are predicted from.
    /// Those of mode intra are predicted `within` the frame, or not at all.
    pub fn find(&mut self, planes: &[f32], before: &[i32], scaling: Scaling<'_>, modes: &[Mode], within: bool) {
        self.gather(planes, before, scaling, modes, within);
        self.sort();
    }

    /// Decides position `p`, those before it being decided, and gives its components with their levels. `rests` are what is left of an intra
    /// position that is predicted within the frame, in steps, component by component.
    pub fn decide(
        &mut self,
        p: usize,
        mode: Mode,
        rests: Option<impl Iterator<Item = f32>>,
    ) -> impl Iterator<Item = (usize, i32)> {
        let mut candidates = &self.sorted[self.starts[p] as usize..self.starts[p + 1] as usize];
        if let Some(rests) = rests {
            let thresholds = |c: usize| self.thresholds[usize::from(self.components[c].class)][usize::from(INTRA)];
            let large = rests.enumerate().filter(|&(c, rest)| rest.abs() >= thresholds(c));
            self.within.clear();
            self.within.extend(large.map(|(c, rest)| Candidate { component: c as u32, rest }));
            candidates = &self.within;
        }
        let decision = &mut self.decision;
        let around = self.neighbours.around(p);
        let mut buckets = [0.0; BUCKETS];
        self.costs.buckets(around.buckets, usize::from(mode), &mut buckets);
        let walk = Walk {
            lambda: self.lambda,
            costs: &self.costs,
            components: &self.components,
            activity_classes: &self.activity_classes,
            mode: usize::from(mode),
            candidates,
            around,
            buckets,
        };
        let guess = candidates.last().map_or(0, |last| self.components[last.component as usize].bucket);
        walk.decide(guess, decision);
        if decision.bucket < guess {
            walk.decide(decision.bucket, decision);
        }
        self.neighbours.push(p, candidates, decision);
        candidates.iter().zip(&self.decision.levels).map(|(candidate, &level)| (candidate.component as usize, level))
    }

    /// Finds the values that may be worth a level, and counts those of position p in `starts[p + 1]`; not those of intra positions if
    /// these are predicted `within` the frame, from what is decided only later.
    fn gather(&mut self, planes: &[f32], before: &[i32], scaling: Scaling<'_>, modes: &[u8], within: bool) {
        let positions = modes.len();
        self.found.clear();
        self.starts.fill(0);
        for (c, (plane, before)) in planes.chunks_exact(positions).zip(before.chunks_exact(positions)).enumerate() {
            let [intra, inter] = self.thresholds[usize::from(self.components[c].class)];
            let thresholds = [if within { f32::INFINITY } else { intra }, inter];
            large_rests(plane, before, scaling, modes, thresholds, &mut self.rests);
            for (n, rests) in self.rests.chunks(CHUNK).enumerate() {
                if rests.iter().fold(0, |any, rest| any | rest.to_bits()) == 0 {
                    continue;
                }
                for (i, &rest) in rests.iter().enumerate().filter(|&(_, &rest)| rest != 0.0) {
                    let p = n * CHUNK + i;
                    self.found.push((p as u32, Candidate { component: c as u32, rest }));
                    self.starts[p + 1] += 1;
                }
            }
        }
    }

    /// Puts what was found in the order of positions; components stay in order.
    fn sort(&mut self) {
        for p in 1..self.starts.len() {
            self.starts[p] += self.starts[p - 1];
        }
        self.sorted.clear();
        self.sorted.resize(self.found.len(), Candidate::default());
        // A start moves on to the next one's while its position is filled; after that all are moved back.
        for &(p, candidate) in &self.found {
            let at = &mut self.starts[p as usize];
            self.sorted[*at as usize] = candidate;
            *at += 1;
        }
        self.starts.rotate_right(1);
        self.starts[0] = 0;
    }
}

/// Values less their predictions, in steps, where they reach the threshold of their mode; zero elsewhere.
fn large_rests(
    values: &[f32],
    before: &[i32],
    scaling: Scaling<'_>,
    modes: &[u8],
    thresholds: [f32; 2],
    rests: &mut [f32],
) {
    let [intra, inter] = thresholds.map(f32::to_bits);
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let inputs = values.iter().zip(before).zip(scaling.inverse_steps).zip(modes);
            for (out, (((&v, &before), &inverse), &mode)) in rests.iter_mut().zip(inputs) {
                // Masks in place of branches, so that this goes in vectors.
                let predicted = 0u32.wrapping_sub(u32::from(mode == INTER));
                let prediction = (before as u32 & predicted) as i32;
                let threshold = f32::from_bits(intra ^ ((intra ^ inter) & predicted));
                let rest = ((v * scaling.to_units).clamp(-LIMIT, LIMIT) - prediction as f32) * inverse;
                let large = 0u32.wrapping_sub(u32::from(rest.abs() >= threshold));
                *out = f32::from_bits(rest.to_bits() & large);
            }
        },
    );
}

/// What was decided of the positions that others are coded under.
#[derive(Debug)]
struct Neighbours {
    components: usize,
    width: usize,
    /// Magnitudes up to 2 and activities of the last `width + 1` positions in turn, and a row of zeros for positions outside.
    magnitudes: Vec<u8>,
    activities: Vec<u16>,
    /// Of all positions.
    buckets: Vec<u8>,
}

/// What was decided left and above.
struct Around<'a> {
    left: (&'a [u8], &'a [u16]),
    up: (&'a [u8], &'a [u16]),
    buckets: [u8; 2],
}

impl Neighbours {
    fn new(components: usize, positions: usize, width: usize) -> Self {
        let values = (width + 2) * components;
        let (magnitudes, activities) = (vec![0; values], vec![0; values]);
        Self { components, width, magnitudes, activities, buckets: vec![0; positions] }
    }

    fn around(&self, p: usize) -> Around<'_> {
        let outside = self.width + 1;
        let of = |other: Option<usize>| {
            let at = other.map_or(outside, |p| p % outside) * self.components;
            (&self.magnitudes[at..at + self.components], &self.activities[at..at + self.components])
        };
        let left = (!p.is_multiple_of(self.width)).then(|| p - 1);
        let up = p.checked_sub(self.width);
        let buckets = [left, up].map(|other| other.map_or(0, |p| self.buckets[p]));
        Around { left: of(left), up: of(up), buckets }
    }

    fn push(&mut self, p: usize, candidates: &[Candidate], decision: &Decision) {
        let at = p % (self.width + 1) * self.components;
        let magnitudes = &mut self.magnitudes[at..at + self.components];
        magnitudes.fill(0);
        for (candidate, &level) in candidates.iter().zip(&decision.levels) {
            magnitudes[candidate.component as usize] = level.unsigned_abs().min(2) as u8;
        }
        // An activity stays as it is from the bound on.
        let bound = bound(decision.bucket, self.components);
        let (coded, rest) = self.activities[at..at + self.components].split_at_mut(bound);
        coded.copy_from_slice(&decision.activity[..bound]);
        rest.fill(coded.last().copied().unwrap_or(0));
        self.buckets[p] = decision.bucket;
    }
}

/// A position to be decided.
struct Walk<'a> {
    lambda: f32,
    costs: &'a Costs,
    components: &'a [Component],
    activity_classes: &'a [u8; ACTIVITY_STEPS],
    mode: usize,
    candidates: &'a [Candidate],
    around: Around<'a>,
    /// Bits of each bucket.
    buckets: [f32; BUCKETS],
}

impl Walk<'_> {
    /// Chooses a level for every candidate below the bound of `guess`, as if that were the position's bucket, and then the bucket
    /// up to that one from which on all are zero.
    fn decide(&self, guess: u8, out: &mut Decision) {
        out.levels.clear();
        out.levels.resize(self.candidates.len(), 0);
        out.activity.clear();
        out.bucket = 0;
        // Squared error less that of coding nothing, and bits, of the components so far; the least at the end of any bucket.
        let (mut cost, mut least) = (0f64, f64::from(self.lambda * self.buckets[0]));
        let (mut activity, mut next, mut kept) = (0u16, 0, 0);
        let end = bound(guess, self.components.len());
        for c in 0..end {
            let bucket = self.components[c].bucket;
            let place = self.place(c, guess, activity);
            let [zero, one] = self.costs.zero_flag(place);
            let mut magnitude = 0;
            match self.candidates.get(next) {
                Some(candidate) if candidate.component as usize == c => {
                    let (level, gain) = self.choose(candidate.rest, place, zero, one);
                    magnitude = level.unsigned_abs();
                    out.levels[next] = level;
                    cost += gain;
                    next += 1;
                }
                _ => cost += f64::from(self.lambda * zero),
            }
            activity = activity_after(activity, magnitude);
            out.activity.push(activity);
            if c + 1 == end || self.components[c + 1].bucket != bucket {
                let total = cost + f64::from(self.lambda * self.buckets[usize::from(bucket)]);
                if total < least {
                    (out.bucket, least, kept) = (bucket, total, next);
                }
            }
        }
        out.levels[kept..].fill(0);
    }

    #[inline(always)]
    fn place(&self, c: usize, guess: u8, activity: u16) -> Place {
        let Component { class, bucket } = self.components[c];
        let (left, up) = (self.around.left, self.around.up);
        let near_activity = ((u32::from(left.1[c]) + u32::from(up.1[c])) / 2) as u16;
        let class_of = |activity: u16| usize::from(self.activity_classes[usize::from(activity / ACTIVITY_STEP)]);
        Place {
            class: usize::from(class),
            mode: self.mode,
            to_bound: usize::from(guess - bucket).min(15),
            near: usize::from(left.0[c] + up.0[c]),
            activity: class_of(activity),
            near_activity: class_of(near_activity),
        }
    }

    /// The better of the nearest level for a rest and none, and its squared error less that of a zero plus λ · bits. `zero` and `one` are
    /// the bits of its flag. Levels made smaller by one save bits too, but tracks suffer by more than that (docs/experiments.md).
    #[inline(always)]
    fn choose(&self, rest: f32, place: Place, zero: f32, one: f32) -> (i32, f64) {
        let wanted = rest.abs();
        let none = wanted * wanted + self.lambda * zero;
        // At least 1: what may be worth a level reaches a threshold of half a step or more.
        let nearest = (wanted + 0.5) as u32;
        let error = wanted - nearest as f32;
        let bits = one + self.costs.magnitude(place.class, place.activity, nearest);
        let coded = error * error + self.lambda * bits;
        let level = if coded < none { nearest as i32 } else { 0 };
        (if rest < 0.0 { -level } else { level }, f64::from(coded.min(none)) - f64::from(wanted) * f64::from(wanted))
    }
}

/// Components below the end of bucket `b`, of `components` in all.
fn bound(b: u8, components: usize) -> usize {
    if usize::from(b) == BUCKETS - 1 { components } else { bound_of(b).min(components) }
}

#[cfg(test)]
mod tests;
