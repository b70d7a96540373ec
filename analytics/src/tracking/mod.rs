//! Boxes of successive frames joined to tracks, in the manner of ByteTrack: sure detections first, then unsure ones for
//! the tracks that are left, so that a person half hidden does not end a track and a ghost does not begin one.

mod motion;

use crate::assignment::{self, assign};
use crate::detection::Detection;
use crate::geometry::Rect;
use crate::{Error, Result};
use motion::Motion;

/// Settings of a [`Tracker`]. The defaults are those usual for ByteTrack, but for `low`.
///
/// They were looked at with YOLOX-nano on three pedestrian sequences (TUD-Stadtmitte, TUD-Campus, PETS09-S2L1): `high` has the
/// largest effect, and 0.7 gives a higher MOTA still there, by fewer false positives. Detectors whose scores are lower
/// need a lower one. Weighing overlaps by scores costs identities; filtered boxes as results change next to nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackerConfig {
    /// Detections of at least this score are sure: they may begin a track. 0 to 1, not below `low`.
    pub high: f32,
    /// Detections below `high` and of at least this score can go on a track: 0 to 1.
    pub low: f32,
    /// Least IoU of a sure detection with the predicted box of a track: 0 to 1.
    pub match_high: f32,
    /// Least IoU of an unsure detection with the predicted box of a track: 0 to 1.
    pub match_low: f32,
    /// Frames in a row without a detection after which a track ends: 0 to 10000.
    pub max_lost: u32,
    /// Frames in a row with a detection before a track is reported: 1 to 1000.
    pub min_hits: u32,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self { high: 0.6, low: 0.15, match_high: 0.2, match_low: 0.5, max_lost: 30, min_hits: 1 }
    }
}

/// A tracked object in one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tracked {
    /// Number of the track, from 1; not used again before a reset.
    pub id: u64,
    /// Where.
    pub rect: Rect,
    /// Score of the detection.
    pub score: f32,
    /// Number of the class; all of a track are of the same.
    pub class: u16,
}

#[derive(Debug, Clone)]
struct Track {
    /// 0 until it is reported.
    id: u64,
    class: u16,
    motion: Motion,
    /// Frames with a detection.
    hits: u32,
    /// Frames since the last detection.
    lost: u32,
}

/// Most detections of a frame that are looked at, the best ones: the assignment takes time with their cube.
pub const MAX_DETECTIONS: usize = 1500;

/// Joins detections to tracks.
#[derive(Debug, Clone)]
pub struct Tracker {
    config: TrackerConfig,
    tracks: Vec<Track>,
    ids: u64,
    out: Vec<Tracked>,
    detections: Vec<Detection>,
}

impl Tracker {
    /// A tracker.
    ///
    /// # Errors
    /// `Setting`, naming the value and what is legal.
    pub fn new(config: TrackerConfig) -> Result<Self> {
        let shares = [
            ("score of sure detections", config.high),
            ("least score", config.low),
            ("IoU of sure detections", config.match_high),
            ("IoU of unsure detections", config.match_low),
        ];
        if let Some((name, value)) = shares.into_iter().find(|(_, value)| !(0.0..=1.0).contains(value)) {
            return Err(Error::Setting(format!("{name} of {value}, legal are 0 to 1")));
        }
        if config.low > config.high {
            let (low, high) = (config.low, config.high);
            return Err(Error::Setting(format!("least score of {low} above the {high} of sure detections")));
        }
        if config.max_lost > 10_000 {
            return Err(Error::Setting(format!("tracks lost for {} frames, legal are 0 to 10000", config.max_lost)));
        }
        if !(1..=1000).contains(&config.min_hits) {
            return Err(Error::Setting(format!("reported after {} frames, legal are 1 to 1000", config.min_hits)));
        }
        Ok(Self { config, tracks: Vec::new(), ids: 0, out: Vec::new(), detections: Vec::new() })
    }

    /// The settings.
    pub fn config(&self) -> &TrackerConfig {
        &self.config
    }

    /// Tracks that go on, the lost ones too.
    pub fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Whether no track goes on.
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Forgets all tracks; numbers begin at 1 again.
    pub fn reset(&mut self) {
        self.tracks.clear();
        self.ids = 0;
    }

    /// Takes the detections of the next frame and gives the tracks seen in it, in the order of their numbers.
    /// Detections whose numbers are not finite, and empty boxes, are left out.
    pub fn update(&mut self, detections: &[Detection]) -> &[Tracked] {
        self.tracks.iter_mut().for_each(|track| {
            track.motion.predict(track.lost == 0);
            track.lost += 1;
        });
        self.take(detections);
        let sure = self.detections.partition_point(|d| d.score >= self.config.high);
        let detections = std::mem::take(&mut self.detections);
        let (sure, unsure) = detections.split_at(sure);

        self.out.clear();
        let mut all: Vec<usize> = (0..self.tracks.len()).collect();
        let left = self.associate(&mut all, sure, self.config.match_high);
        // A track that was lost before comes back by a sure detection only.
        all.retain(|&n| self.tracks[n].lost == 1);
        self.associate(&mut all, unsure, self.config.match_low);
        for n in left {
            let Detection { rect, class, .. } = sure[n];
            self.tracks.push(Track { id: 0, class, motion: Motion::new(&rect), hits: 0, lost: 1 });
            self.see(self.tracks.len() - 1, &sure[n]);
        }
        // A track that was never reported is not waited for.
        let (max_lost, min_hits) = (self.config.max_lost, self.config.min_hits);
        self.tracks.retain(|track| track.lost <= if track.hits < min_hits { 0 } else { max_lost });
        self.out.sort_unstable_by_key(|tracked| tracked.id);
        self.detections = detections;
        &self.out
    }

    /// Keeps what can be tracked, best first.
    fn take(&mut self, detections: &[Detection]) {
        let usable = |d: &&Detection| {
            d.score >= self.config.low && d.score.is_finite() && d.rect.is_finite() && d.rect.area() > 0.0
        };
        self.detections.clear();
        self.detections.extend(detections.iter().filter(usable));
        self.detections.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.detections.truncate(MAX_DETECTIONS);
    }

    /// Joins detections to those of `tracks`, takes these out of the list, and gives back the detections left.
    fn associate(&mut self, tracks: &mut Vec<usize>, detections: &[Detection], least: f32) -> Vec<usize> {
        let boxes: Vec<_> = tracks.iter().map(|&n| (self.tracks[n].class, self.tracks[n].motion.rect())).collect();
        let pairs = assign(tracks.len(), detections.len(), |track, detection| {
            let ((class, predicted), found) = (&boxes[track], &detections[detection]);
            let iou = if *class == found.class { predicted.iou(&found.rect) } else { 0.0 };
            if iou > f64::from(least) { assignment::weight(iou) } else { 0 }
        });
        let mut left: Vec<_> = (0..detections.len()).collect();
        for &(track, detection) in &pairs {
            let found = &detections[detection];
            self.tracks[tracks[track]].motion.correct(&found.rect);
            self.see(tracks[track], found);
            left[detection] = usize::MAX;
        }
        left.retain(|&n| n != usize::MAX);
        let mut joined = pairs.iter().map(|pair| pair.0).peekable();
        let mut n = 0;
        tracks.retain(|_| {
            n += 1;
            joined.next_if_eq(&(n - 1)).is_none()
        });
        left
    }

    /// The track was seen in this frame.
    fn see(&mut self, track: usize, detection: &Detection) {
        let track = &mut self.tracks[track];
        track.lost = 0;
        track.hits = track.hits.saturating_add(1);
        if track.hits < self.config.min_hits {
            return;
        }
        if track.id == 0 {
            self.ids += 1;
            track.id = self.ids;
        }
        self.out.push(Tracked { id: track.id, rect: detection.rect, score: detection.score, class: track.class });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f32, y: f32, score: f32) -> Detection {
        Detection { rect: Rect::new(x, y, 40.0, 80.0), score, class: 0 }
    }

    fn tracker(change: fn(&mut TrackerConfig)) -> Tracker {
        let mut config = TrackerConfig::default();
        change(&mut config);
        Tracker::new(config).unwrap()
    }

    fn ids(tracked: &[Tracked]) -> Vec<u64> {
        tracked.iter().map(|t| t.id).collect()
    }

    #[test]
    fn two_who_cross_keep_their_numbers() {
        let mut tracker = tracker(|_| {});
        for n in 0..60 {
            let (a, b) = (100.0 + 4.0 * n as f32, 340.0 - 4.0 * n as f32);
            let found = tracker.update(&[at(b, 120.0, 0.9), at(a, 100.0, 0.8)]);
            let mut found: Vec<_> = found.iter().map(|t| (t.rect.y, t.id)).collect();
            found.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert_eq!(found, [(100.0, 2), (120.0, 1)], "frame {n}");
        }
    }

    #[test]
    fn a_hidden_one_comes_back_with_its_number_and_not_after_max_lost() {
        for (hidden, same) in [(30, true), (31, false)] {
            let mut tracker = tracker(|_| {});
            for n in 0..20 {
                tracker.update(&[at(3.0 * n as f32, 0.0, 0.9)]);
            }
            for _ in 0..hidden {
                assert!(tracker.update(&[]).is_empty());
            }
            let back = tracker.update(&[at(3.0 * (20 + hidden) as f32, 0.0, 0.9)]);
            assert_eq!(ids(back) == [1], same, "hidden for {hidden} frames");
        }
    }

    #[test]
    fn unsure_detections_go_on_a_track_but_begin_none() {
        let mut tracker = tracker(|_| {});
        assert!(tracker.update(&[at(0.0, 0.0, 0.59)]).is_empty());
        assert_eq!(ids(tracker.update(&[at(0.0, 0.0, 0.6)])), [1]);
        assert_eq!(ids(tracker.update(&[at(0.0, 0.0, 0.15), at(200.0, 0.0, 0.3)])), [1]);
        assert!(tracker.update(&[at(0.0, 0.0, 0.14)]).is_empty());
        // It was lost, now only a sure one brings it back.
        assert!(tracker.update(&[at(0.0, 0.0, 0.4)]).is_empty());
        assert_eq!(ids(tracker.update(&[at(0.0, 0.0, 0.6)])), [1]);
    }

    #[test]
    fn ghosts_of_few_frames_are_not_reported() {
        let mut tracker = tracker(|c| c.min_hits = 3);
        assert!(tracker.update(&[at(0.0, 0.0, 0.9)]).is_empty());
        assert!(tracker.update(&[at(0.0, 0.0, 0.9)]).is_empty());
        assert!(tracker.update(&[]).is_empty() && tracker.is_empty());
        for n in 0..5 {
            let found = tracker.update(&[at(0.0, 0.0, 0.9)]);
            assert_eq!(ids(found), if n < 2 { vec![] } else { vec![1] });
        }
    }

    #[test]
    fn classes_are_not_mixed() {
        let mut tracker = tracker(|_| {});
        tracker.update(&[at(0.0, 0.0, 0.9)]);
        let other = Detection { class: 2, ..at(0.0, 0.0, 0.9) };
        assert_eq!(ids(tracker.update(&[other])), [2]);
        assert_eq!(
            tracker.update(&[at(0.0, 0.0, 0.9), other]).iter().map(|t| (t.id, t.class)).collect::<Vec<_>>(),
            [(1, 0), (2, 2)]
        );
    }

    #[test]
    fn wild_numbers_are_left_out() {
        let mut tracker = tracker(|c| c.low = 0.0);
        let mut odd = vec![
            at(0.0, 0.0, f32::NAN),
            at(f32::NAN, 0.0, 1.0),
            at(0.0, f32::INFINITY, 1.0),
            at(0.0, 0.0, f32::INFINITY),
        ];
        odd.push(Detection { rect: Rect::new(0.0, 0.0, 0.0, 5.0), score: 1.0, class: 0 });
        assert!(tracker.update(&odd).is_empty());
        assert!(tracker.is_empty());
        let far = Detection { rect: Rect::new(f32::MAX, -f32::MAX, f32::MAX, 1.0), score: 1.0, class: 0 };
        for _ in 0..3 {
            tracker.update(&[far, at(0.0, 0.0, 0.9)]);
        }
    }

    #[test]
    fn numbers_begin_anew_after_a_reset() {
        let mut tracker = tracker(|_| {});
        tracker.update(&[at(0.0, 0.0, 0.9), at(100.0, 0.0, 0.9)]);
        tracker.reset();
        assert_eq!(ids(tracker.update(&[at(100.0, 0.0, 0.9)])), [1]);
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let error = |change: fn(&mut TrackerConfig)| {
            let mut config = TrackerConfig::default();
            change(&mut config);
            Tracker::new(config).unwrap_err().to_string()
        };
        assert!(error(|c| c.high = 1.1).contains("score of sure detections of 1.1"));
        assert!(error(|c| c.low = 0.7).contains("least score of 0.7 above the 0.6"));
        assert!(error(|c| c.match_low = f32::NAN).contains("IoU of unsure detections of NaN"));
        assert!(error(|c| c.max_lost = 10_001).contains("lost for 10001"));
        assert!(error(|c| c.min_hits = 0).contains("after 0 frames"));
    }
}
