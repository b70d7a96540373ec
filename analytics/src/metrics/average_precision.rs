//! Average precision of detections.

use crate::detection::Detection;
use crate::geometry::Rect;

/// Area under the curve of precision over recall, 0 to 1, interpolated at all points; `None` where there is nothing to find.
///
/// Best score first, a detection of a frame finds the box with which it overlaps most among those not yet found, if
/// the IoU is at least `iou`. Classes are not looked at: give those of one.
pub fn average_precision(detections: &[Vec<Detection>], truth: &[Vec<Rect>], iou: f64) -> Option<f64> {
    let total: usize = truth.iter().map(Vec::len).sum();
    if total == 0 {
        return None;
    }
    // Score, and whether it found something.
    let mut all: Vec<(f32, bool)> = Vec::new();
    for (n, frame) in detections.iter().enumerate() {
        let boxes = truth.get(n).map_or(&[][..], Vec::as_slice);
        let mut taken = vec![false; boxes.len()];
        let mut sorted: Vec<_> = frame.iter().filter(|d| !d.score.is_nan()).collect();
        sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
        for detection in sorted {
            let mut best: Option<(usize, f64)> = None;
            for (n, rect) in boxes.iter().enumerate().filter(|&(n, _)| !taken[n]) {
                let found = detection.rect.iou(rect);
                if found >= iou && best.is_none_or(|(_, most)| found > most) {
                    best = Some((n, found));
                }
            }
            if let Some((n, _)) = best {
                taken[n] = true;
            }
            all.push((detection.score, best.is_some()));
        }
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut found = 0;
    let mut precisions: Vec<f64> = Vec::with_capacity(all.len());
    for (n, (_, hit)) in all.iter().enumerate() {
        found += u64::from(*hit);
        precisions.push(found as f64 / (n + 1) as f64);
    }
    // A precision counts for all lower recalls.
    let (mut most, mut area) = (0f64, 0.0);
    for (precision, (_, hit)) in precisions.iter().zip(&all).rev() {
        most = most.max(*precision);
        if *hit {
            area += most;
        }
    }
    Some(area / total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detection(x: f32, score: f32) -> Detection {
        Detection { rect: Rect::new(x, 0.0, 10.0, 10.0), score, class: 0 }
    }

    #[test]
    fn area_is_that_under_the_interpolated_curve() {
        // Hit, miss, hit, of three to find: recall 1/3 at precision 1, 2/3 at precision 2/3, the last never.
        let truth =
            [vec![Rect::new(0.0, 0.0, 10.0, 10.0), Rect::new(50.0, 0.0, 10.0, 10.0)], vec![detection(0.0, 0.0).rect]];
        let found = [vec![detection(0.0, 0.9), detection(100.0, 0.8), detection(51.0, 0.7)], vec![]];
        let ap = average_precision(&found, &truth, 0.5).unwrap();
        assert!((ap - (1.0 + 2.0 / 3.0) / 3.0).abs() < 1e-12, "{ap}");
    }

    #[test]
    fn a_box_is_found_once() {
        let truth = [vec![detection(0.0, 0.0).rect]];
        let ap = average_precision(&[vec![detection(0.0, 0.9), detection(0.0, 0.8)]], &truth, 0.5);
        assert_eq!(ap, Some(1.0));
        assert_eq!(average_precision(&[vec![detection(90.0, 0.9), detection(0.0, 0.8)]], &truth, 0.5), Some(0.5));
    }

    #[test]
    fn nothing_to_find_has_no_precision_and_nothing_found_none() {
        assert_eq!(average_precision(&[vec![detection(0.0, 0.9)]], &[], 0.5), None);
        assert_eq!(average_precision(&[], &[vec![detection(0.0, 0.9).rect]], 0.5), Some(0.0));
        let nan = Detection { score: f32::NAN, ..detection(0.0, 0.9) };
        assert_eq!(average_precision(&[vec![nan]], &[vec![nan.rect]], 0.5), Some(0.0));
    }
}
