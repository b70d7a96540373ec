//! What `fcmdec` counts, and the property `stats`.

use std::time::Duration;

/// What the property `stats` counts since the element was started.
#[derive(Debug, Clone, Default)]
pub(super) struct Stats {
    pub frames: u64,
    /// Frames sent that are not exactly what was coded.
    pub inexact: u64,
    pub random_access_frames: u64,
    pub refreshes: u64,
    pub dropped: u64,
    pub corrupt: u64,
    pub missing: u64,
    pub awaiting: u64,
    pub concealed: u64,
    pub sync_requests: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub decode_time: Duration,
    pub last_qp: u32,
}

impl Stats {
    /// What the property gives.
    pub fn structure(&self) -> gst::Structure {
        gst::Structure::builder("application/x-fcmdec-stats")
            .field("frames", self.frames)
            .field("inexact", self.inexact)
            .field("random-access-frames", self.random_access_frames)
            .field("refreshes", self.refreshes)
            .field("dropped", self.dropped)
            .field("corrupt", self.corrupt)
            .field("missing", self.missing)
            .field("awaiting", self.awaiting)
            .field("concealed", self.concealed)
            .field("sync-requests", self.sync_requests)
            .field("bytes-in", self.bytes_in)
            .field("bytes-out", self.bytes_out)
            .field("last-qp", self.last_qp)
            .field("decode-time", self.decode_time.as_nanos() as u64)
            .build()
    }
}
