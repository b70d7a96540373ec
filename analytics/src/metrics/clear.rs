//! CLEAR MOT (Bernardin and Stiefelhagen, 2008), as py-motmetrics computes it.

use super::pairs::Pairs;
use super::share;
use crate::assignment::{self, assign};
use crate::mot::Object;

/// Counts of CLEAR MOT.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ClearMot {
    /// Frames.
    pub frames: u64,
    /// Objects over all frames.
    pub objects: u64,
    /// Results over all frames.
    pub predictions: u64,
    /// Objects that differ.
    pub unique_objects: u64,
    /// Objects found by the same result as before, or for the first time.
    pub matches: u64,
    /// Objects found by another result than before.
    pub switches: u64,
    /// Results that are no object.
    pub false_positives: u64,
    /// Objects that were not found.
    pub misses: u64,
    /// How often an object was lost and found again.
    pub fragmentations: u64,
    /// Objects found in at least 80 % of their frames.
    pub mostly_tracked: u64,
    /// Objects found in 20 % to 80 % of their frames.
    pub partially_tracked: u64,
    /// Objects found in less than 20 % of their frames.
    pub mostly_lost: u64,
    /// Sum of 1 − IoU of all that were found.
    pub distance: f64,
}

/// What became of one object so far.
#[derive(Clone, Copy, Default)]
struct History {
    /// The result that found it last.
    result: Option<usize>,
    found: u64,
    /// It was found before and was missed since.
    interrupted: bool,
}

impl ClearMot {
    /// Compares a sequence; an object is found by a result with an IoU of at least `least_iou`.
    ///
    /// In a frame, pairs of the frames before go on first, if they still overlap enough. The others are paired so that as
    /// many as possible are and their overlaps are largest.
    pub fn evaluate(truth: &[Vec<Object>], results: &[Vec<Object>], least_iou: f64) -> Self {
        let pairs = Pairs::new(truth, results);
        let mut histories = vec![History::default(); pairs.truth_counts.len()];
        let mut all = Self { unique_objects: histories.len() as u64, ..Self::default() };
        for frame in &pairs.frames {
            let (objects, predictions) = (&frame.truth, &frame.results);
            let possible = |o: usize, r: usize| frame.iou(o, r) >= least_iou && frame.iou(o, r) > 0.0;
            let mut partner: Vec<Option<usize>> = vec![None; objects.len()];
            let mut taken = vec![false; predictions.len()];
            for (o, &object) in objects.iter().enumerate() {
                let before = histories[object].result;
                let again = predictions.iter().position(|&result| Some(result) == before);
                if let Some(r) = again.filter(|&r| !taken[r] && possible(o, r)) {
                    (partner[o], taken[r]) = (Some(r), true);
                    all.matches += 1;
                }
            }
            let free_objects: Vec<_> = (0..objects.len()).filter(|&o| partner[o].is_none()).collect();
            let free_results: Vec<_> = (0..predictions.len()).filter(|&r| !taken[r]).collect();
            // One more pair is worth more than all overlaps together.
            let one_more = (free_objects.len().min(free_results.len()) as i64 + 1) * assignment::ONE;
            let chosen = assign(free_objects.len(), free_results.len(), |o, r| {
                let (o, r) = (free_objects[o], free_results[r]);
                if possible(o, r) { one_more + assignment::weight(frame.iou(o, r)) } else { 0 }
            });
            for (o, r) in chosen {
                let (o, r) = (free_objects[o], free_results[r]);
                let history = &mut histories[objects[o]];
                let switched = history.result.is_some_and(|before| before != predictions[r]);
                *(if switched { &mut all.switches } else { &mut all.matches }) += 1;
                history.result = Some(predictions[r]);
                (partner[o], taken[r]) = (Some(r), true);
            }
            for (o, &object) in objects.iter().enumerate() {
                let history = &mut histories[object];
                match partner[o] {
                    Some(r) => {
                        all.distance += 1.0 - frame.iou(o, r);
                        all.fragmentations += u64::from(history.interrupted);
                        history.interrupted = false;
                        history.found += 1;
                    }
                    None => {
                        all.misses += 1;
                        history.interrupted = history.found > 0;
                    }
                }
            }
            all.frames += 1;
            all.objects += objects.len() as u64;
            all.predictions += predictions.len() as u64;
            all.false_positives += taken.iter().filter(|&&taken| !taken).count() as u64;
        }
        for (history, &count) in histories.iter().zip(&pairs.truth_counts) {
            let ratio = history.found as f64 / count as f64;
            let kind = if ratio >= 0.8 {
                &mut all.mostly_tracked
            } else if ratio >= 0.2 {
                &mut all.partially_tracked
            } else {
                &mut all.mostly_lost
            };
            *kind += 1;
        }
        all
    }

    /// Adds another sequence.
    pub fn merge(&mut self, other: &Self) {
        self.frames += other.frames;
        self.objects += other.objects;
        self.predictions += other.predictions;
        self.unique_objects += other.unique_objects;
        self.matches += other.matches;
        self.switches += other.switches;
        self.false_positives += other.false_positives;
        self.misses += other.misses;
        self.fragmentations += other.fragmentations;
        self.mostly_tracked += other.mostly_tracked;
        self.partially_tracked += other.partially_tracked;
        self.mostly_lost += other.mostly_lost;
        self.distance += other.distance;
    }

    /// Objects that were found.
    pub fn detections(&self) -> u64 {
        self.matches + self.switches
    }

    /// Accuracy: 1 − (misses + switches + false positives) / objects, at most 1, and below 0 for poor results; NaN
    /// without objects.
    pub fn mota(&self) -> f64 {
        1.0 - share((self.misses + self.switches + self.false_positives) as f64, self.objects as f64)
    }

    /// Precision of the boxes as py-motmetrics has it: mean of 1 − IoU, 0 is best; NaN when nothing was found.
    pub fn motp(&self) -> f64 {
        share(self.distance, self.detections() as f64)
    }

    /// Share of the results that are objects; NaN without results.
    pub fn precision(&self) -> f64 {
        share(self.detections() as f64, (self.detections() + self.false_positives) as f64)
    }

    /// Share of the objects that were found; NaN without objects.
    pub fn recall(&self) -> f64 {
        share(self.detections() as f64, self.objects as f64)
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
    fn a_pair_goes_on_although_another_would_overlap_more() {
        let truth = [vec![object(1, 0.0)], vec![object(1, 0.0)]];
        let results = [vec![object(7, 0.0)], vec![object(8, 0.0), object(7, 3.0)]];
        let found = ClearMot::evaluate(&truth, &results, 0.5);
        assert_eq!((found.matches, found.switches, found.false_positives, found.misses), (2, 0, 1, 0));
    }

    #[test]
    fn as_many_as_possible_are_paired() {
        // The first result overlaps both, the second only the first object; greedily, one would be lost.
        let truth = [vec![object(1, 0.0), object(2, 4.0)]];
        let results = [vec![object(7, 1.0), object(8, -3.0)]];
        let found = ClearMot::evaluate(&truth, &results, 0.5);
        assert_eq!((found.matches, found.misses, found.false_positives), (2, 0, 0));
    }

    #[test]
    fn switches_and_fragmentations_are_counted() {
        let truth = vec![vec![object(1, 0.0)]; 6];
        let results = [vec![], vec![object(7, 0.0)], vec![], vec![object(7, 0.0)], vec![object(8, 0.0)], vec![]];
        let found = ClearMot::evaluate(&truth, &results, 0.5);
        assert_eq!((found.matches, found.switches, found.misses, found.fragmentations), (2, 1, 3, 1));
        assert_eq!((found.mota(), found.recall(), found.precision()), (1.0 - 4.0 / 6.0, 0.5, 1.0));
        assert_eq!((found.mostly_tracked, found.partially_tracked, found.mostly_lost), (0, 1, 0));
    }

    #[test]
    fn no_objects_have_no_accuracy() {
        let found = ClearMot::evaluate(&[], &[vec![object(1, 0.0)]], 0.5);
        assert!(found.mota().is_infinite() || found.mota().is_nan());
        assert_eq!((found.frames, found.false_positives), (1, 1));
    }
}
