//! The outputs of a head as numbers whose squared distances say what a change costs the detector.

use super::{Detector, Tensor, cells};
use crate::Result;
use crate::geometry::Rect;

/// Below this score a cell's box is of no consequence.
const FOUND: f32 = 0.05;
/// What a box that moves by its own size counts against a score that goes from 0 to 1. With half of it boxes are placed a little worse, with
/// double a little less is found; with an eighth boxes lose their place first (docs/experiments.md).
const BOXES: f32 = 32.0;
/// Added to the variance of a score, so that scores of nearly 0 or 1 do not count without bounds.
const SURE: f32 = 0.01;

/// Makes such numbers of the outputs of one picture, and of the same picture with changed features.
#[derive(Debug, Clone)]
pub struct Response {
    detector: Detector,
    /// By cell: its box and what that counts; of the unchanged picture.
    boxes: Vec<(Rect, f32)>,
    /// By cell and wanted class: what the score counts.
    scores: Vec<f32>,
}

impl Response {
    /// For the outputs and classes that `detector` wants.
    pub fn new(detector: Detector) -> Self {
        Self { detector, boxes: Vec::new(), scores: Vec::new() }
    }

    /// Takes the outputs of another picture, unchanged; changes are then changes of these.
    ///
    /// # Errors
    /// As [`Detector::decode`].
    pub fn set_picture(&mut self, tensors: &[Tensor<'_>]) -> Result<()> {
        let Self { detector, boxes, scores } = self;
        boxes.clear();
        scores.clear();
        let config = detector.config();
        cells(config, tensors, &mut |object, classes, rect| {
            let mut best = 0.0f32;
            each_score(config.classes.as_deref(), object, classes, |score| {
                best = best.max(score);
                // The square root of the information of a Bernoulli variable.
                scores.push(1.0 / (score.clamp(0.0, 1.0) * (1.0 - score.clamp(0.0, 1.0)) + SURE).sqrt());
            });
            let weight = if best > FOUND { (BOXES * best).sqrt() } else { 0.0 };
            boxes.push((if weight > 0.0 { rect() } else { Rect::default() }, weight));
        })
    }

    /// The numbers: for every cell the scores of the wanted classes, then the four edges of its box. Always as many for one network.
    ///
    /// # Errors
    /// As [`Detector::decode`].
    pub fn numbers(&self, tensors: &[Tensor<'_>]) -> Result<Vec<f32>> {
        let mut numbers = Vec::with_capacity(self.scores.len() + 4 * self.boxes.len());
        let (mut boxes, mut weights) = (self.boxes.iter(), self.scores.iter());
        let config = self.detector.config();
        cells(config, tensors, &mut |object, classes, rect| {
            each_score(config.classes.as_deref(), object, classes, |score| {
                numbers.push(score * weights.next().copied().unwrap_or_default());
            });
            numbers.extend(match boxes.next() {
                Some((unchanged, weight)) if *weight > 0.0 => edges(rect(), *unchanged, *weight),
                _ => [0.0; 4],
            });
        })?;
        Ok(numbers)
    }
}

/// Gives the score of each wanted class of a cell to `take`, 0 for a class that is not there.
fn each_score(wanted: Option<&[u16]>, object: f32, classes: &[f32], mut take: impl FnMut(f32)) {
    match wanted {
        None => classes.iter().for_each(|probability| take(object * probability)),
        Some(wanted) => {
            wanted
                .iter()
                .for_each(|&c| take(classes.get(usize::from(c)).map_or(0.0, |probability| object * probability)));
        }
    }
}

/// Edges in sides of the unchanged box, times a weight.
fn edges(rect: Rect, unchanged: Rect, weight: f32) -> [f32; 4] {
    let (across, down) = (weight / unchanged.width.max(1.0), weight / unchanged.height.max(1.0));
    [rect.x * across, rect.y * down, (rect.x + rect.width) * across, (rect.y + rect.height) * down]
}

#[cfg(test)]
mod tests {
    use super::super::{Detector, DetectorConfig, Tensor};
    use super::*;

    /// 32 × 16 pixels, strides 8 and 16: 4 × 2 and 2 × 1 cells; two classes, of which the second is wanted.
    fn response() -> Response {
        let config = DetectorConfig {
            input: (32, 16),
            strides: vec![8, 16],
            classes: Some(vec![1]),
            ..DetectorConfig::default()
        };
        Response::new(Detector::new(config).unwrap())
    }

    /// One cell of ten: offset, logarithms of the sides, object, two classes.
    fn output(row: [f32; 7]) -> Vec<f32> {
        let mut values = vec![0.0; 70];
        values[42..49].copy_from_slice(&row);
        values
    }

    fn squared_distance(from: [f32; 7], to: [f32; 7]) -> f32 {
        let mut response = response();
        let dims: &[usize] = &[1, 10, 7];
        let (a, b) = (output(from), output(to));
        response.set_picture(&[Tensor { dims, values: &a }]).unwrap();
        let numbers = |values: &[f32]| response.numbers(&[Tensor { dims, values }]).unwrap();
        let (a, b) = (numbers(&a), numbers(&b));
        assert_eq!((a.len(), b.len()), (50, 50));
        a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum()
    }

    #[test]
    fn scores_count_by_how_sure_they_were() {
        let row = |object: f32| [0.5, 0.5, 0.0, 0.0, object, 0.0, 1.0];
        // Of a cell where nothing is found only the score counts: 0.01² / (0.01 · 0.99 + 0.01).
        assert!((squared_distance(row(0.01), row(0.02)) - 1e-4 / 0.0199).abs() < 1e-6);
        assert!((squared_distance(row(0.5), row(0.51)) - 1e-4 / 0.26).abs() < 1e-6);
    }

    #[test]
    fn boxes_count_in_their_own_size_where_something_is_found() {
        let row = |x: f32, object: f32| [x, 0.5, 2f32.ln(), 0.0, object, 0.0, 1.0];
        // Two strides wide, moved by a tenth of a stride: both edges by a twentieth of the width.
        assert!((squared_distance(row(0.5, 0.5), row(0.6, 0.5)) - 2.0 * 16.0 * 0.0025).abs() < 1e-4);
        assert_eq!(squared_distance(row(0.5, 0.04), row(0.6, 0.04)), 0.0);
    }

    #[test]
    fn classes_that_are_not_wanted_do_not_count() {
        let row = |first: f32| [0.5, 0.5, 0.0, 0.0, 0.9, first, 0.02];
        assert_eq!(squared_distance(row(0.1), row(0.9)), 0.0);
    }

    #[test]
    fn other_outputs_are_refused() {
        assert!(response().set_picture(&[]).is_err());
        assert!(response().numbers(&[Tensor { dims: &[1, 9, 7], values: &[0.0; 63] }]).is_err());
    }
}
