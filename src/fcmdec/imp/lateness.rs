//! Quality of service: which frames come too late to be sent.

use super::{FcmDec, State};
use gst::subclass::prelude::*;

/// What downstream said of its timing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lateness {
    /// Running time before which a frame comes too late.
    earliest: gst::ClockTime,
    proportion: f64,
}

impl Lateness {
    /// What an event of quality of service says; `None` when downstream asks for everything.
    pub fn of_event(event: &gst::event::Qos<gst::EventRef>) -> Option<Self> {
        let (_, proportion, jitter, timestamp) = event.get();
        // A frame that is late by this much will be later still once decoded: the margin that GStreamer's video
        // decoders use.
        let ahead = if jitter > 0 { jitter.saturating_mul(2) } else { jitter };
        let earliest = i128::from(timestamp?.nseconds()) + i128::from(ahead);
        let most = i128::from(gst::ClockTime::MAX.nseconds());
        Some(Self { earliest: gst::ClockTime::from_nseconds(earliest.clamp(0, most) as u64), proportion })
    }
}

impl FcmDec {
    /// If the frame of `buffer` comes too late: counts it, and returns what to tell the application of it.
    pub(super) fn too_late(
        &self,
        state: &mut State,
        segment: Option<&gst::FormattedSegment<gst::ClockTime>>,
        buffer: &gst::BufferRef,
    ) -> Option<gst::Message> {
        let (segment, lateness, pts) = (segment?, state.lateness?, buffer.pts()?);
        let end = segment.to_running_time(pts + buffer.duration().unwrap_or(gst::ClockTime::ZERO))?;
        if end >= lateness.earliest {
            return None;
        }
        state.stats.dropped += 1;
        let jitter = lateness.earliest.nseconds() as i64 - end.nseconds() as i64;
        let (frames, dropped) = (state.stats.frames, state.stats.dropped);
        let message = gst::message::Qos::builder(false)
            .src(&*self.obj())
            .running_time(segment.to_running_time(pts))
            .stream_time(segment.to_stream_time(pts))
            .timestamp(pts)
            .duration(buffer.duration())
            .values(jitter, lateness.proportion, 1_000_000)
            .stats(gst::format::Buffers::from_u64(frames), gst::format::Buffers::from_u64(dropped))
            .build();
        Some(message)
    }
}
