//! How good detections are against ground truth: of boxes alone, and of the tracks they make.

use anyhow::Result;
use fcm_analytics::detection::Detection;
use fcm_analytics::geometry::Rect;
use fcm_analytics::metrics::{ClearMot, Hota, Identity, average_precision};
use fcm_analytics::mot::Object;
use fcm_analytics::tracking::{Tracker, TrackerConfig};
use serde::{Deserialize, Serialize};

/// Names of the measures, in the order of [`Accuracy::values`].
pub const NAMES: [&str; 5] = ["AP50", "AP75", "MOTA", "IDF1", "HOTA"];
/// Which of them are of tracks.
pub const OF_TRACKS: std::ops::RangeFrom<usize> = 2..;
/// Least overlap of a box with an object that it finds, for MOTA and IDF1.
const LEAST_IOU: f64 = 0.5;

/// All measures. `None` where there is nothing to measure against.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub struct Accuracy {
    /// Average precision at an overlap of 0.5.
    pub ap50: Option<f64>,
    /// Average precision at an overlap of 0.75.
    pub ap75: Option<f64>,
    /// Accuracy of tracking (CLEAR MOT).
    pub mota: Option<f64>,
    /// Identity F1.
    pub idf1: Option<f64>,
    /// Higher order tracking accuracy.
    pub hota: Option<f64>,
}

impl Accuracy {
    /// The measures in the order of [`NAMES`].
    pub fn values(&self) -> [Option<f64>; 5] {
        [self.ap50, self.ap75, self.mota, self.idf1, self.hota]
    }
}

/// What detections and tracks are measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Truth {
    /// The ground truth of the sequences.
    #[default]
    Annotated,
    /// What is tracked in the uncompressed features: no labels are needed, and what the network itself gets wrong is no noise.
    Uncompressed,
}

/// Which boxes are tracked: networks differ in how sure they are of what they find.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Thresholds {
    /// Boxes of at least this score begin tracks.
    pub high: f32,
    /// Boxes of at least this score go on tracks.
    pub low: f32,
}

impl Default for Thresholds {
    fn default() -> Self {
        let TrackerConfig { high, low, .. } = TrackerConfig::default();
        Self { high, low }
    }
}

impl Thresholds {
    /// The tracker's settings.
    pub fn config(self) -> TrackerConfig {
        let Self { high, low } = self;
        TrackerConfig { high, low, ..TrackerConfig::default() }
    }
}

/// What was found in a sequence, and what there is.
pub struct Part<'a> {
    /// Persons found in every frame, in pixels of the picture.
    pub detections: &'a [Vec<Detection>],
    /// Persons of every frame.
    pub truth: &'a [Vec<Object>],
}

/// Measures one sequence, or several as if they were one long one whose parts share no persons.
///
/// # Errors
/// When the thresholds are not legal.
pub fn measure(parts: &[Part<'_>], tracker: Thresholds) -> Result<Accuracy> {
    let (mut clear, mut identity, mut hota) = (None, None, None);
    let (mut detections, mut boxes) = (Vec::new(), Vec::new());
    for part in parts {
        let tracks = track(part.detections, tracker)?;
        add(&mut clear, ClearMot::evaluate(part.truth, &tracks, LEAST_IOU), ClearMot::merge);
        add(&mut identity, Identity::evaluate(part.truth, &tracks, LEAST_IOU), Identity::merge);
        add(&mut hota, Hota::evaluate(part.truth, &tracks), Hota::merge);
        detections.extend_from_slice(part.detections);
        boxes.extend(part.truth.iter().map(|frame| frame.iter().map(|o| o.rect).collect::<Vec<Rect>>()));
    }
    let number = |x: f64| x.is_finite().then_some(x);
    Ok(Accuracy {
        ap50: average_precision(&detections, &boxes, 0.5),
        ap75: average_precision(&detections, &boxes, 0.75),
        mota: clear.and_then(|m| number(m.mota())),
        idf1: identity.and_then(|m| number(m.f1())),
        hota: hota.and_then(|m| number(m.hota())),
    })
}

fn add<T>(sum: &mut Option<T>, part: T, merge: impl FnOnce(&mut T, &T)) {
    match sum {
        Some(sum) => merge(sum, &part),
        None => *sum = Some(part),
    }
}

/// What the tracker makes of the detections of a sequence.
///
/// # Errors
/// When the thresholds are not legal.
pub fn track(detections: &[Vec<Detection>], thresholds: Thresholds) -> Result<Vec<Vec<Object>>> {
    let mut tracker = Tracker::new(thresholds.config())?;
    let objects = |found: &[Detection]| {
        let tracked = tracker.update(found);
        tracked.iter().map(|t| Object { id: t.id as i64, rect: t.rect }).collect()
    };
    Ok(detections.iter().map(Vec::as_slice).map(objects).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(frames: u32, at: f32) -> (Vec<Vec<Detection>>, Vec<Vec<Object>>) {
        let rect = |n: u32| Rect::new(at + n as f32, 10.0, 20.0, 50.0);
        let found = (0..frames).map(|n| vec![Detection { rect: rect(n), score: 0.9, class: 0 }]);
        let truth = (0..frames).map(|n| vec![Object { id: 1, rect: rect(n) }]);
        (found.collect(), truth.collect())
    }

    #[test]
    fn what_is_found_everywhere_is_perfect() {
        let (found, truth) = walk(10, 5.0);
        let accuracy = measure(&[Part { detections: &found, truth: &truth }], Thresholds::default()).unwrap();
        for (name, value) in NAMES.iter().zip(accuracy.values()) {
            assert!((value.unwrap() - 1.0).abs() < 1e-9, "{name} {value:?}");
        }
    }

    #[test]
    fn sequences_count_by_their_persons_and_do_not_share_them() {
        let (found, truth) = walk(30, 5.0);
        let (_, missed) = walk(10, 300.0);
        let nothing = vec![Vec::new(); 10];
        let parts = [Part { detections: &found, truth: &truth }, Part { detections: &nothing, truth: &missed }];
        let accuracy = measure(&parts, Thresholds::default()).unwrap();
        assert!((accuracy.ap50.unwrap() - 0.75).abs() < 1e-9);
        assert!((accuracy.mota.unwrap() - 0.75).abs() < 1e-9);
        // 30 of 40 right by one identity: 2 · 30 / (40 + 30).
        assert!((accuracy.idf1.unwrap() - 60.0 / 70.0).abs() < 1e-9);
    }

    #[test]
    fn without_anything_to_find_there_is_no_measure() {
        let accuracy = measure(&[Part { detections: &[vec![]], truth: &[vec![]] }], Thresholds::default()).unwrap();
        assert_eq!((accuracy.ap50, accuracy.mota), (None, None));
    }
}
