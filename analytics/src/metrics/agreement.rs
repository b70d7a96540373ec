//! How well what is found in changed pictures or features agrees with what is found in the unchanged ones: accuracy without labels.

use super::{ClearMot, average_precision};
use crate::detection::Detection;
use crate::geometry::Rect;
use crate::mot::Object;

/// Collects what is found, by variant of the change.
#[derive(Debug, Clone)]
pub struct Agreement {
    high: f32,
    unchanged: Vec<Vec<Detection>>,
    changed: Vec<Vec<Vec<Detection>>>,
}

impl Agreement {
    /// Of so many variants. In the unchanged pictures, boxes of score `high` and above stand for the truth.
    pub fn new(variants: usize, high: f32) -> Self {
        Self { high, unchanged: Vec::new(), changed: vec![Vec::new(); variants] }
    }

    /// The next picture: what is found in it unchanged.
    pub fn picture(&mut self, found: &[Detection]) {
        self.unchanged.push(found.iter().filter(|d| d.score >= self.high).copied().collect());
    }

    /// What is found in a variant of it; each variant once a picture.
    pub fn variant(&mut self, variant: usize, found: Vec<Detection>) {
        self.changed[variant].push(found);
    }

    /// Boxes that stand for the truth.
    pub fn objects(&self) -> usize {
        self.unchanged.iter().map(Vec::len).sum()
    }

    /// By variant, at most 3: average precision at overlaps of .5 and .75, and what MOTA would be if tracks, of boxes of score `high` and
    /// above, never were mistaken for each other. 0 where there is nothing to agree with.
    pub fn scores(&self) -> Vec<f64> {
        if self.objects() == 0 {
            return vec![0.0; self.changed.len()];
        }
        let boxes: Vec<Vec<Rect>> = self.unchanged.iter().map(|t| t.iter().map(|d| d.rect).collect()).collect();
        let truth = self.certain(&self.unchanged);
        let score = |found: &Vec<Vec<Detection>>| {
            let precision = |iou| average_precision(found, &boxes, iou).unwrap_or(0.0);
            precision(0.5) + precision(0.75) + ClearMot::evaluate(&truth, &self.certain(found), 0.5).mota()
        };
        self.changed.iter().map(score).collect()
    }

    /// Boxes of score `high` and above, as objects that are in one picture only.
    fn certain(&self, found: &[Vec<Detection>]) -> Vec<Vec<Object>> {
        let mut id = 0;
        let mut object = |d: &Detection| {
            id += 1;
            Object { id, rect: d.rect }
        };
        found.iter().map(|found| found.iter().filter(|d| d.score >= self.high).map(&mut object).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detection(x: f32, score: f32) -> Detection {
        Detection { rect: Rect::new(x, 0.0, 10.0, 30.0), score, class: 0 }
    }

    #[test]
    fn what_sinks_below_the_threshold_is_missed_and_what_is_new_is_false() {
        let pictures =
            [vec![detection(0.0, 0.9), detection(50.0, 0.8), detection(90.0, 0.5)], vec![detection(0.0, 0.7)]];
        let mut agreement = Agreement::new(3, 0.6);
        for picture in &pictures {
            agreement.picture(picture);
            agreement.variant(0, picture.clone());
            let mut sunk = picture.clone();
            sunk.iter_mut().filter(|d| d.rect.x == 50.0).for_each(|d| d.score = 0.55);
            agreement.variant(1, sunk);
            agreement.variant(2, [&picture[..], &[detection(120.0, 0.65)]].concat());
        }
        assert_eq!(agreement.objects(), 3);
        let scores = agreement.scores();
        assert!((scores[0] - 3.0).abs() < 1e-9, "{scores:?}");
        assert!((scores[1] - (2.0 + 2.0 / 3.0)).abs() < 1e-9, "{scores:?}");
        // A false box in each picture, of a score below those of the truth: precision does not see it, tracks would.
        assert!((scores[2] - (2.0 + 1.0 / 3.0)).abs() < 1e-9, "{scores:?}");
    }

    #[test]
    fn with_nothing_to_agree_with_all_are_alike() {
        let mut agreement = Agreement::new(2, 0.6);
        agreement.picture(&[detection(0.0, 0.5)]);
        agreement.variant(0, vec![detection(0.0, 0.9)]);
        agreement.variant(1, Vec::new());
        assert_eq!(agreement.scores(), [0.0, 0.0]);
    }
}
