//! Higher order tracking accuracy (Luiten et al., 2020), as TrackEval computes it.

use super::pairs::Pairs;
use crate::assignment::{self, assign};
use crate::mot::Object;

/// Number of thresholds of the IoU: 0.05 to 0.95 in steps of 0.05.
pub const ALPHAS: usize = 19;

/// HOTA and its parts at every threshold.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Hota {
    /// Objects that were found.
    pub true_positives: [u64; ALPHAS],
    /// Objects that were not found.
    pub misses: [u64; ALPHAS],
    /// Results that are no object.
    pub false_positives: [u64; ALPHAS],
    /// Sum of the association scores of all that were found.
    association: [f64; ALPHAS],
    /// Sum of the IoU of all that were found.
    localisation: [f64; ALPHAS],
}

/// Threshold number `n` as TrackEval's `arange` has it, less its tolerance.
fn threshold(n: usize) -> f64 {
    0.05 + n as f64 * 0.05 - f64::EPSILON
}

fn mean(values: [f64; ALPHAS]) -> f64 {
    values.iter().sum::<f64>() / ALPHAS as f64
}

impl Hota {
    /// Compares a sequence.
    ///
    /// First, pairs of object and result get a score over the whole sequence: how much they are together, of how much they
    /// are there. In a frame, those are paired whose scores times overlaps are largest.
    pub fn evaluate(truth: &[Vec<Object>], results: &[Vec<Object>]) -> Self {
        let pairs = Pairs::new(truth, results);
        let columns = pairs.result_counts.len();
        let mut together = vec![0f64; pairs.truth_counts.len() * columns];
        for frame in &pairs.frames {
            let sum = |range: usize, iou: &dyn Fn(usize) -> f64| (0..range).map(iou).sum::<f64>();
            let of_object: Vec<_> =
                (0..frame.truth.len()).map(|o| sum(frame.results.len(), &|r| frame.iou(o, r))).collect();
            let of_result: Vec<_> =
                (0..frame.results.len()).map(|r| sum(frame.truth.len(), &|o| frame.iou(o, r))).collect();
            for (o, &object) in frame.truth.iter().enumerate() {
                for (r, &result) in frame.results.iter().enumerate() {
                    let whole = of_result[r] + of_object[o] - frame.iou(o, r);
                    if whole > f64::EPSILON {
                        together[object * columns + result] += frame.iou(o, r) / whole;
                    }
                }
            }
        }
        let both = |object: usize, result: usize| (pairs.truth_counts[object] + pairs.result_counts[result]) as f64;
        let alignment = |object: usize, result: usize| {
            let together = together[object * columns + result];
            together / (both(object, result) - together)
        };
        let mut all = Self::default();
        let mut matches = vec![[0u32; ALPHAS]; together.len()];
        for frame in &pairs.frames {
            let chosen = assign(frame.truth.len(), frame.results.len(), |o, r| {
                assignment::weight(alignment(frame.truth[o], frame.results[r]) * frame.iou(o, r))
            });
            for (o, r) in chosen {
                let iou = frame.iou(o, r);
                let passed = (0..ALPHAS).take_while(|&n| iou >= threshold(n)).count();
                let matches = &mut matches[frame.truth[o] * columns + frame.results[r]];
                matches[..passed].iter_mut().for_each(|count| *count += 1);
                all.true_positives[..passed].iter_mut().for_each(|count| *count += 1);
                all.localisation[..passed].iter_mut().for_each(|sum| *sum += iou);
            }
        }
        let (objects, results) = (pairs.truth_counts.iter().sum::<u64>(), pairs.result_counts.iter().sum::<u64>());
        all.misses = all.true_positives.map(|found| objects - found);
        all.false_positives = all.true_positives.map(|found| results - found);
        for (pair, matches) in matches.iter().enumerate() {
            for (n, &matches) in matches.iter().enumerate().filter(|&(_, &matches)| matches > 0) {
                let matches = f64::from(matches);
                let whole = both(pair / columns, pair % columns) - matches;
                all.association[n] += matches * matches / whole.max(1.0);
            }
        }
        all
    }

    /// Adds another sequence.
    pub fn merge(&mut self, other: &Self) {
        for n in 0..ALPHAS {
            self.true_positives[n] += other.true_positives[n];
            self.misses[n] += other.misses[n];
            self.false_positives[n] += other.false_positives[n];
            self.association[n] += other.association[n];
            self.localisation[n] += other.localisation[n];
        }
    }

    /// Detection accuracy at every threshold, 0 to 1.
    pub fn detection_accuracies(&self) -> [f64; ALPHAS] {
        std::array::from_fn(|n| {
            let all = self.true_positives[n] + self.misses[n] + self.false_positives[n];
            self.true_positives[n] as f64 / all.max(1) as f64
        })
    }

    /// Association accuracy at every threshold, 0 to 1.
    pub fn association_accuracies(&self) -> [f64; ALPHAS] {
        std::array::from_fn(|n| self.association[n] / self.true_positives[n].max(1) as f64)
    }

    /// HOTA at every threshold, 0 to 1.
    pub fn accuracies(&self) -> [f64; ALPHAS] {
        let (detection, association) = (self.detection_accuracies(), self.association_accuracies());
        std::array::from_fn(|n| (detection[n] * association[n]).sqrt())
    }

    /// HOTA: mean over all thresholds, 0 to 1.
    pub fn hota(&self) -> f64 {
        mean(self.accuracies())
    }

    /// DetA: mean over all thresholds, 0 to 1.
    pub fn detection_accuracy(&self) -> f64 {
        mean(self.detection_accuracies())
    }

    /// AssA: mean over all thresholds, 0 to 1.
    pub fn association_accuracy(&self) -> f64 {
        mean(self.association_accuracies())
    }

    /// LocA: mean IoU of what was found, mean over all thresholds; 1 at thresholds where nothing was.
    pub fn localisation_accuracy(&self) -> f64 {
        mean(std::array::from_fn(|n| self.localisation[n].max(1e-10) / (self.true_positives[n] as f64).max(1e-10)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Rect;

    fn object(id: i64, x: f32) -> Object {
        Object { id, rect: Rect::new(x, 0.0, 10.0, 10.0) }
    }

    #[test]
    fn perfect_results_have_one_and_none_have_zero() {
        let truth = vec![vec![object(1, 0.0), object(2, 30.0)]; 4];
        let found = Hota::evaluate(&truth, &truth);
        assert_eq!((found.hota(), found.detection_accuracy(), found.association_accuracy()), (1.0, 1.0, 1.0));
        let found = Hota::evaluate(&truth, &[]);
        assert_eq!((found.hota(), found.misses[0], found.localisation_accuracy()), (0.0, 8, 1.0));
    }

    #[test]
    fn a_switch_in_the_middle_halves_the_association() {
        let truth = vec![vec![object(1, 0.0)]; 4];
        let results = [vec![object(7, 0.0)], vec![object(7, 0.0)], vec![object(8, 0.0)], vec![object(8, 0.0)]];
        let found = Hota::evaluate(&truth, &results);
        assert_eq!((found.detection_accuracy(), found.association_accuracy()), (1.0, 0.5));
        assert!((found.hota() - 0.5f64.sqrt()).abs() < 1e-12);
    }
}
