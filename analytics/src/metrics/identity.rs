//! Identity measures (Ristani et al., 2016), as py-motmetrics computes them.

use super::pairs::Pairs;
use super::share;
use crate::assignment::assign;
use crate::mot::Object;

/// Counts of the identity measures: every object is given at most one result for the whole sequence, so that they agree
/// in as many frames as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// Objects over all frames.
    pub objects: u64,
    /// Results over all frames.
    pub predictions: u64,
    /// Objects over all frames that were found by the result given to them.
    pub true_positives: u64,
}

impl Identity {
    /// Compares a sequence; an object is found by a result with an IoU of at least `least_iou`.
    pub fn evaluate(truth: &[Vec<Object>], results: &[Vec<Object>], least_iou: f64) -> Self {
        let pairs = Pairs::new(truth, results);
        let (rows, columns) = (pairs.truth_counts.len(), pairs.result_counts.len());
        let mut together = vec![0i64; rows * columns];
        for frame in &pairs.frames {
            for (o, &object) in frame.truth.iter().enumerate() {
                for (r, &result) in frame.results.iter().enumerate() {
                    let iou = frame.iou(o, r);
                    together[object * columns + result] += i64::from(iou >= least_iou && iou > 0.0);
                }
            }
        }
        let at = |object: usize, result: usize| together[object * columns + result];
        Self {
            objects: pairs.truth_counts.iter().sum(),
            predictions: pairs.result_counts.iter().sum(),
            true_positives: assign(rows, columns, at).into_iter().map(|(o, r)| at(o, r) as u64).sum(),
        }
    }

    /// Adds another sequence.
    pub fn merge(&mut self, other: &Self) {
        self.objects += other.objects;
        self.predictions += other.predictions;
        self.true_positives += other.true_positives;
    }

    /// IDF1, 0 to 1; NaN without objects and results.
    pub fn f1(&self) -> f64 {
        share(2.0 * self.true_positives as f64, (self.objects + self.predictions) as f64)
    }

    /// Share of the results that are right (IDP); NaN without results.
    pub fn precision(&self) -> f64 {
        share(self.true_positives as f64, self.predictions as f64)
    }

    /// Share of the objects that were found (IDR); NaN without objects.
    pub fn recall(&self) -> f64 {
        share(self.true_positives as f64, self.objects as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Rect;

    #[test]
    fn only_the_given_result_counts() {
        let object = |id| Object { id, rect: Rect::new(0.0, 0.0, 10.0, 10.0) };
        let truth = vec![vec![object(1)]; 5];
        let results = [vec![object(7)], vec![object(7)], vec![object(8)], vec![object(8)], vec![object(8)]];
        let found = Identity::evaluate(&truth, &results, 0.5);
        assert_eq!((found.true_positives, found.f1()), (3, 0.6));
    }
}
