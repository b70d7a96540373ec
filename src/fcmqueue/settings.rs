//! Settings of `fcmqueue`: the properties, their defaults and ranges.

use super::policy::{Level, Limits};
use gst::glib;
use gst::prelude::*;
use std::sync::LazyLock;

/// What the user wishes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub limits: Limits,
    /// Bit/s, 0 = no limit.
    pub rate: u64,
    pub request_keyframe: bool,
}

impl Default for Settings {
    /// Slices go from 200 ms on: until then a random access unit, which is several times as long as others, has passed a link that is
    /// just fast enough, at 25 frames/s and five times the size. At 400 ms what a tracker would get is old. 100 units are the bound of streams
    /// without times.
    fn default() -> Self {
        let most = Level { units: 100, bytes: 0, time: 400_000_000 };
        Self { limits: Limits { most, degrade_percent: 50 }, rate: 0, request_keyframe: false }
    }
}

impl Settings {
    /// Takes the new value of property `name`.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        const TYPE: &str = "GObject checks the type of a property";
        let number = || value.get::<u32>().expect(TYPE);
        match name {
            "max-size-buffers" => self.limits.most.units = number().into(),
            "max-size-bytes" => self.limits.most.bytes = number().into(),
            "max-size-time" => self.limits.most.time = value.get().expect(TYPE),
            "degrade-percent" => self.limits.degrade_percent = number(),
            "max-bitrate" => self.rate = u64::from(number()) * 1000,
            "request-keyframe" => self.request_keyframe = value.get().expect(TYPE),
            name => unreachable!("property {name} is not writable"),
        }
    }

    /// Value of property `name`.
    pub fn get(&self, name: &str) -> glib::Value {
        let most = &self.limits.most;
        match name {
            "max-size-buffers" => (most.units as u32).to_value(),
            "max-size-bytes" => (most.bytes as u32).to_value(),
            "max-size-time" => most.time.to_value(),
            "degrade-percent" => self.limits.degrade_percent.to_value(),
            "max-bitrate" => ((self.rate / 1000) as u32).to_value(),
            "request-keyframe" => self.request_keyframe.to_value(),
            name => unreachable!("there is no property {name}"),
        }
    }
}

/// All properties of the element.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let default = Settings::default();
        let most = default.limits.most;
        let number = |name, nick, blurb| glib::ParamSpecUInt::builder(name).nick(nick).blurb(blurb);
        let level = |name, nick, blurb| number(name, nick, blurb).read_only().build();
        vec![
            number("max-size-buffers", "Max. size (buffers)", "Access units in the queue above which frames are dropped (0 = no limit)")
                .default_value(most.units as u32)
                .mutable_playing()
                .build(),
            number("max-size-bytes", "Max. size (bytes)", "Bytes in the queue above which frames are dropped (0 = no limit)")
                .default_value(most.bytes as u32)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt64::builder("max-size-time")
                .nick("Max. size (ns)")
                .blurb(
                    "Nanoseconds that the access units in the queue last, the oldest left out, above which frames are dropped; and age from which on they \
                     go where a random access unit follows (0 = no limit)",
                )
                .default_value(most.time)
                .mutable_playing()
                .build(),
            number(
                "degrade-percent",
                "Degrade Percent",
                "Percent of a limit above which slices are dropped, the weakest first, then more and more up to the limit (100 = at the limit)",
            )
            .minimum(1)
            .maximum(100)
            .default_value(default.limits.degrade_percent)
            .mutable_playing()
            .build(),
            number(
                "max-bitrate",
                "Maximum Bit Rate",
                "Rate in kbit/s that the access units are sent at the most, without the headers of what carries them (0 = as fast as downstream takes them)",
            )
            .maximum(u32::MAX / 1000)
            .mutable_playing()
            .build(),
            glib::ParamSpecBoolean::builder("request-keyframe")
                .nick("Request Keyframe")
                .blurb("Ask upstream for a random access unit when whole frames were dropped, at most once a second; such units are large, which a full link has no room for")
                .default_value(default.request_keyframe)
                .mutable_playing()
                .build(),
            level("current-level-buffers", "Current level (buffers)", "Access units in the queue"),
            level("current-level-bytes", "Current level (bytes)", "Bytes in the queue"),
            glib::ParamSpecUInt64::builder("current-level-time")
                .nick("Current level (ns)")
                .blurb("Nanoseconds that the access units in the queue last, the oldest left out")
                .read_only()
                .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Statistics")
                .blurb(
                    "Counters since the element started, each a 64-bit unsigned number: access-units and bytes that came, sent-access-units, \
                     sent-bytes, shortened-access-units (sent without some slices), dropped-slices-1 to -3 (by priority), dropped-frames, \
                     dropped-random-access-frames (of those), dropped-bytes, degradations (times that dropping began), keyframe-requests",
                )
                .read_only()
                .build(),
        ]
    });
    &PROPERTIES
}
