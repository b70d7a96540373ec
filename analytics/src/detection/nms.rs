//! Non-maximum suppression.

use super::Detection;

/// Sorts by score, highest first (equal ones keep their order), and leaves out of two detections of the same class
/// that overlap with an IoU above `iou_threshold` the later one.
pub fn suppress(detections: &mut Vec<Detection>, iou_threshold: f32) {
    detections.sort_by(|a, b| b.score.total_cmp(&a.score));
    let threshold = f64::from(iou_threshold);
    let mut kept = 0;
    for n in 0..detections.len() {
        let new = detections[n];
        let covered = |old: &Detection| old.class == new.class && old.rect.iou(&new.rect) > threshold;
        if !detections[..kept].iter().any(covered) {
            detections[kept] = new;
            kept += 1;
        }
    }
    detections.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Rect;

    fn at(x: f32, score: f32, class: u16) -> Detection {
        Detection { rect: Rect::new(x, 0.0, 10.0, 10.0), score, class }
    }

    #[test]
    fn the_best_of_overlapping_boxes_of_a_class_stays() {
        let mut found = vec![at(0.0, 0.5, 0), at(2.0, 0.9, 0), at(1.0, 0.7, 1), at(40.0, 0.6, 0)];
        suppress(&mut found, 0.5);
        assert_eq!(found, [at(2.0, 0.9, 0), at(1.0, 0.7, 1), at(40.0, 0.6, 0)]);
    }

    #[test]
    fn a_suppressed_box_suppresses_nothing() {
        // The first covers the second, the second the third, but the first does not cover the third.
        let mut found = vec![at(0.0, 0.9, 0), at(4.0, 0.8, 0), at(8.0, 0.7, 0)];
        suppress(&mut found, 0.4);
        assert_eq!(found, [at(0.0, 0.9, 0), at(8.0, 0.7, 0)]);
    }

    #[test]
    fn an_overlap_of_just_the_threshold_stays() {
        let mut found = vec![at(0.0, 0.9, 0), at(5.0, 0.8, 0)];
        suppress(&mut found, 1.0 / 3.0 + 1e-6);
        assert_eq!(found.len(), 2);
        suppress(&mut found, 0.333);
        assert_eq!(found.len(), 1);
    }
}
