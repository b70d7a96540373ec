//! Settings and counters of `rtpfcmdepay`: the properties, their defaults and ranges.

use fcm_codec::Limits;
use gst::glib;
use gst::prelude::*;
use std::sync::LazyLock;

/// What the user wishes.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub request_keyframe: bool,
    pub wait_for_keyframe: bool,
    pub max_access_unit: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { request_keyframe: true, wait_for_keyframe: false, max_access_unit: Limits::default().max_access_unit }
    }
}

impl Settings {
    /// Takes the new value of property `name`.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        const TYPE: &str = "GObject checks the type of a property";
        match name {
            "request-keyframe" => self.request_keyframe = value.get().expect(TYPE),
            "wait-for-keyframe" => self.wait_for_keyframe = value.get().expect(TYPE),
            "max-access-unit" => self.max_access_unit = value.get().expect(TYPE),
            name => unreachable!("property {name} is not writable"),
        }
    }

    /// Value of property `name`.
    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "request-keyframe" => self.request_keyframe.to_value(),
            "wait-for-keyframe" => self.wait_for_keyframe.to_value(),
            "max-access-unit" => self.max_access_unit.to_value(),
            name => unreachable!("there is no property {name}"),
        }
    }
}

/// What `fcm-stats` reports; since the element started.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    pub packets: u64,
    pub access_units: u64,
    pub random_access_units: u64,
    pub bytes: u64,
    pub losses: u64,
    pub stray_packets: u64,
    pub damaged_units: u64,
    /// Of the damaged ones, those whose strongest slices were sent on.
    pub partial_units: u64,
    pub missing_frames: u64,
    pub dropped_units: u64,
    pub sync_requests: u64,
}

impl Counters {
    /// What the property gives.
    pub fn structure(&self) -> gst::Structure {
        gst::Structure::builder("application/x-rtpfcmdepay-stats")
            .field("packets", self.packets)
            .field("access-units", self.access_units)
            .field("random-access-units", self.random_access_units)
            .field("bytes", self.bytes)
            .field("losses", self.losses)
            .field("stray-packets", self.stray_packets)
            .field("damaged-units", self.damaged_units)
            .field("partial-units", self.partial_units)
            .field("missing-frames", self.missing_frames)
            .field("dropped-units", self.dropped_units)
            .field("sync-requests", self.sync_requests)
            .build()
    }
}

/// All properties of the element beside those of the base class.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let default = Settings::default();
        vec![
            glib::ParamSpecBoolean::builder("request-keyframe")
                .nick("Request Keyframe")
                .blurb("Ask upstream for a random access point on loss and when joining, again while none comes")
                .default_value(default.request_keyframe)
                .mutable_playing()
                .build(),
            glib::ParamSpecBoolean::builder("wait-for-keyframe")
                .nick("Wait For Keyframe")
                .blurb("Drop predicted access units after a loss, up to the next random access point")
                .default_value(default.wait_for_keyframe)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt64::builder("max-access-unit")
                .nick("Maximum Access Unit")
                .blurb("Largest access unit accepted, in bytes: bounds the memory that packets can claim")
                .minimum(1024)
                .maximum(i32::MAX as u64)
                .default_value(default.max_access_unit)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("fcm-stats")
                .nick("Feature Stream Statistics")
                .blurb(
                    "Counters since the element started, each a 64-bit unsigned number: packets, access-units, \
                     random-access-units, bytes (of access units), losses (times that packets were missing), \
                     stray-packets (of access units whose start is missing), damaged-units (given up), missing-frames \
                     (as the frame numbers tell), dropped-units (whole, but of no use before a random access point), \
                     sync-requests",
                )
                .read_only()
                .build(),
        ]
    });
    &PROPERTIES
}
