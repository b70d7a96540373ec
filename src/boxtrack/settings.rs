//! Settings of `boxtrack`: the properties, their defaults and ranges.

use super::TrackFormat;
use crate::boxes::caps::BoxFormat;
use fcm_analytics::tracking::TrackerConfig;
use gst::glib;
use gst::prelude::*;
use std::sync::LazyLock;

/// What the user wishes; the defaults are the tracker's.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub format: TrackFormat,
    pub tracker: TrackerConfig,
}

impl Settings {
    /// Formats that may be sent, the preferred one first.
    pub fn formats(&self) -> &'static [BoxFormat] {
        match self.format {
            TrackFormat::Auto => &[BoxFormat::Json, BoxFormat::Mot],
            TrackFormat::Json => &[BoxFormat::Json],
            TrackFormat::Mot => &[BoxFormat::Mot],
        }
    }

    /// Takes the new value of property `name`.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        const TYPE: &str = "GObject checks the type of a property";
        let tracker = &mut self.tracker;
        match name {
            "format" => self.format = value.get().expect(TYPE),
            "high-score" => tracker.high = value.get().expect(TYPE),
            "low-score" => tracker.low = value.get().expect(TYPE),
            "match-iou" => tracker.match_high = value.get().expect(TYPE),
            "low-match-iou" => tracker.match_low = value.get().expect(TYPE),
            "max-lost" => tracker.max_lost = value.get().expect(TYPE),
            "min-hits" => tracker.min_hits = value.get().expect(TYPE),
            name => unreachable!("property {name} is not writable"),
        }
    }

    /// Value of property `name`.
    pub fn get(&self, name: &str) -> glib::Value {
        let tracker = &self.tracker;
        match name {
            "format" => self.format.to_value(),
            "high-score" => tracker.high.to_value(),
            "low-score" => tracker.low.to_value(),
            "match-iou" => tracker.match_high.to_value(),
            "low-match-iou" => tracker.match_low.to_value(),
            "max-lost" => tracker.max_lost.to_value(),
            "min-hits" => tracker.min_hits.to_value(),
            name => unreachable!("there is no property {name}"),
        }
    }
}

/// All properties of the element.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let default = TrackerConfig::default();
        let share = |name: &'static str, nick, blurb, default: f32| {
            glib::ParamSpecFloat::builder(name)
                .nick(nick)
                .blurb(blurb)
                .minimum(0.0)
                .maximum(1.0)
                .default_value(default)
                .mutable_ready()
                .build()
        };
        let count = |name: &'static str, nick, blurb, least: u32, most: u32, default: u32| {
            glib::ParamSpecUInt::builder(name)
                .nick(nick)
                .blurb(blurb)
                .minimum(least)
                .maximum(most)
                .default_value(default)
                .mutable_ready()
                .build()
        };
        vec![
            glib::ParamSpecEnum::builder_with_default("format", TrackFormat::default())
                .nick("Format")
                .blurb("How tracks are written")
                .mutable_ready()
                .build(),
            share("high-score", "High Score", "Detections of at least this score are sure: they may begin a track", default.high),
            share("low-score", "Low Score", "Detections of at least this score can go on a track; not above high-score", default.low),
            share("match-iou", "Match IoU", "A sure detection must overlap more than this with the predicted box of its track", default.match_high),
            share("low-match-iou", "Low Match IoU", "An unsure detection must overlap more than this with the predicted box of its track", default.match_low),
            count("max-lost", "Maximum Lost", "Frames in a row without a detection after which a track ends", 0, 10_000, default.max_lost),
            count("min-hits", "Minimum Hits", "Frames in a row with a detection before a track is reported", 1, 1000, default.min_hits),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Stats")
                .blurb("Counts since the element was started: frames, skipped, detections, objects, tracks, time in nanoseconds")
                .read_only()
                .build(),
        ]
    });
    &PROPERTIES
}
