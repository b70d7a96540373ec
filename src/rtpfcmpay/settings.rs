//! Settings and counters of `rtpfcmpay`: the properties, their defaults and ranges.

use gst::glib;
use gst::prelude::*;
use std::sync::LazyLock;

/// What the user wishes.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// As the property says.
    pub config_interval: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { config_interval: -1 }
    }
}

/// What `fcm-stats` reports; since the element started.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    pub access_units: u64,
    pub random_access_units: u64,
    pub packets: u64,
    pub bytes: u64,
    pub overhead: u64,
    pub omitted: u64,
    pub refused: u64,
}

impl Counters {
    /// What the property gives.
    pub fn structure(&self) -> gst::Structure {
        gst::Structure::builder("application/x-rtpfcmpay-stats")
            .field("access-units", self.access_units)
            .field("random-access-units", self.random_access_units)
            .field("packets", self.packets)
            .field("bytes", self.bytes)
            .field("overhead-bytes", self.overhead)
            .field("omitted-parameter-sets", self.omitted)
            .field("refused-units", self.refused)
            .build()
    }
}

/// All properties of the element beside those of the base class.
pub(super) fn properties() -> &'static [glib::ParamSpec] {
    static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        vec![
            glib::ParamSpecInt::builder("config-interval")
                .nick("Parameter Set Interval")
                .blurb(
                    "Least seconds from one sequence parameter set in the stream to the next, changes excepted \
                     (0 = never, receivers have it from the caps only; -1 = with every random access unit)",
                )
                .minimum(-1)
                .maximum(3600)
                .default_value(Settings::default().config_interval)
                .mutable_playing()
                .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("fcm-stats")
                .nick("Feature Stream Statistics")
                .blurb(
                    "Counters since the element started, each a 64-bit unsigned number: access-units, random-access-units, \
                     packets, bytes (of access units), overhead-bytes (RTP and payload headers), omitted-parameter-sets, \
                     refused-units (input that is not a whole access unit)",
                )
                .read_only()
                .build(),
        ]
    });
    &PROPERTIES
}
