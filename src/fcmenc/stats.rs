//! What `fcmenc` counts, and the property `stats`.

use std::time::Duration;

/// What the property `stats` counts since the element was started.
#[derive(Debug, Clone, Default)]
pub(super) struct Stats {
    pub frames: u64,
    pub random_access_frames: u64,
    pub refreshes: u64,
    pub forced_key_units: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub header_bytes: u64,
    pub statistics_bytes: u64,
    pub media_time: gst::ClockTime,
    pub encode_time: Duration,
    pub last_qp: u32,
}

impl Stats {
    /// Average bit rate in bit/s; 0 while no duration is known.
    fn bitrate(&self) -> u64 {
        let bits = u128::from(self.bytes_out) * 8 * 1_000_000_000;
        bits.checked_div(u128::from(self.media_time.nseconds())).map_or(0, |rate| rate as u64)
    }

    /// What the property gives.
    pub fn structure(&self) -> gst::Structure {
        gst::Structure::builder("application/x-fcmenc-stats")
            .field("frames", self.frames)
            .field("random-access-frames", self.random_access_frames)
            .field("refreshes", self.refreshes)
            .field("forced-key-units", self.forced_key_units)
            .field("bytes-in", self.bytes_in)
            .field("bytes-out", self.bytes_out)
            .field("header-bytes", self.header_bytes)
            .field("statistics-bytes", self.statistics_bytes)
            .field("bitrate", self.bitrate())
            .field("last-qp", self.last_qp)
            .field("encode-time", self.encode_time.as_nanos() as u64)
            .build()
    }
}
