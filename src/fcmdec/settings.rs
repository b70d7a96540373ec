//! Settings of `fcmdec`: the properties, their defaults and ranges.

use super::Conceal;
use crate::properties;
use fcm_codec::DecoderConfig;
use gst::glib;
use gst::prelude::*;
use std::sync::LazyLock;

/// What the user wishes; the defaults are the codec's and those of GStreamer's video decoders.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub transform: Option<String>,
    pub threads: u32,
    pub max_errors: i32,
    pub automatic_request_sync_points: bool,
    pub min_force_key_unit_interval: gst::ClockTime,
    pub qos: bool,
    pub conceal: Conceal,
    pub conceal_frames: u32,
    pub discard_corrupted_frames: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            transform: None,
            threads: DecoderConfig::default().threads as u32,
            max_errors: -1,
            automatic_request_sync_points: true,
            min_force_key_unit_interval: gst::ClockTime::ZERO,
            qos: true,
            conceal: Conceal::default(),
            conceal_frames: 8,
            discard_corrupted_frames: false,
        }
    }
}

impl Settings {
    /// Takes the new value of property `name`.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        const TYPE: &str = "GObject checks the type of a property";
        match name {
            "transform" => self.transform = value.get().expect(TYPE),
            "threads" => self.threads = value.get().expect(TYPE),
            "max-errors" => self.max_errors = value.get().expect(TYPE),
            "automatic-request-sync-points" => self.automatic_request_sync_points = value.get().expect(TYPE),
            "min-force-key-unit-interval" => {
                let interval = value.get::<u64>().expect(TYPE);
                self.min_force_key_unit_interval = gst::ClockTime::try_from(interval).unwrap_or(gst::ClockTime::MAX);
            }
            "qos" => self.qos = value.get().expect(TYPE),
            "conceal" => self.conceal = value.get().expect(TYPE),
            "conceal-frames" => self.conceal_frames = value.get().expect(TYPE),
            "discard-corrupted-frames" => self.discard_corrupted_frames = value.get().expect(TYPE),
            name => unreachable!("property {name} is not writable"),
        }
    }

    /// Value of property `name`.
    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "transform" => self.transform.to_value(),
            "threads" => self.threads.to_value(),
            "max-errors" => self.max_errors.to_value(),
            "automatic-request-sync-points" => self.automatic_request_sync_points.to_value(),
            "min-force-key-unit-interval" => self.min_force_key_unit_interval.nseconds().to_value(),
            "qos" => self.qos.to_value(),
            "conceal" => self.conceal.to_value(),
            "conceal-frames" => self.conceal_frames.to_value(),
            "discard-corrupted-frames" => self.discard_corrupted_frames.to_value(),
            name => unreachable!("there is no property {name}"),
        }
    }
}

/// All properties of the element.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let default = Settings::default();
        vec![
            properties::transforms(),
            properties::threads("Worker threads", default.threads),
            glib::ParamSpecInt::builder("max-errors")
                .nick("Max Errors")
                .blurb("Most access units in a row that may be damaged before the element gives up (-1 = never)")
                .minimum(-1)
                .default_value(default.max_errors)
                .mutable_playing()
                .build(),
            glib::ParamSpecBoolean::builder("automatic-request-sync-points")
                .nick("Automatic Request Sync Points")
                .blurb("Ask upstream for a random access point when frames are lost, again every second while they are")
                .default_value(default.automatic_request_sync_points)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt64::builder("min-force-key-unit-interval")
                .nick("Minimum Force Key Unit Interval")
                .blurb("Least time in nanoseconds between two requests for a random access point (0 = every loss asks)")
                .default_value(default.min_force_key_unit_interval.nseconds())
                .mutable_playing()
                .build(),
            glib::ParamSpecBoolean::builder("qos")
                .nick("Quality of Service")
                .blurb("Do not send frames that downstream reports as late; they are decoded all the same")
                .default_value(default.qos)
                .mutable_playing()
                .build(),
            glib::ParamSpecEnum::builder_with_default("conceal", default.conceal)
                .nick("Conceal")
                .blurb("What is sent for frames that are missing or cannot be decoded because of loss")
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("conceal-frames")
                .nick("Conceal Frames")
                .blurb("Most frames in a row that are made up; old features do more harm than none (0 = any number)")
                .default_value(default.conceal_frames)
                .mutable_playing()
                .build(),
            glib::ParamSpecBoolean::builder("discard-corrupted-frames")
                .nick("Discard Corrupted Frames")
                .blurb("Send only frames that are exactly what was coded; else an error-resilient stream goes on after a loss with frames flagged CORRUPTED")
                .default_value(default.discard_corrupted_frames)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Stats")
                .blurb("Counts since the element was started: frames, inexact, dropped, corrupt, missing, awaiting, concealed, bytes, decode-time in nanoseconds")
                .read_only()
                .build(),
        ]
    });
    &PROPERTIES
}
