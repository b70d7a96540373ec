//! What `tensorinfer` counts, and the property `stats`.

use std::time::Duration;

/// What the property `stats` counts since the element was started.
#[derive(Debug, Clone, Default)]
pub(super) struct Stats {
    pub frames: u64,
    pub preprocess_time: Duration,
    pub inference_time: Duration,
}

impl Stats {
    /// What the property gives.
    pub fn structure(&self) -> gst::Structure {
        gst::Structure::builder("application/x-tensorinfer-stats")
            .field("frames", self.frames)
            .field("preprocess-time", self.preprocess_time.as_nanos() as u64)
            .field("inference-time", self.inference_time.as_nanos() as u64)
            .build()
    }
}
