//! What comes into the queue: buffers as the policy sees them.

use super::policy::Unit;
use crate::caps::CodedCaps;
use fcm_codec::bitstream::UnitType;
use fcm_codec::bitstream::stream::{self, Inspector, UnitSpan};
use fcm_codec::{FrameKind, Limits};

/// What upstream's thread keeps.
#[derive(Default)]
pub(super) struct Input {
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    /// Running time of the last access unit.
    last_time: Option<gst::ClockTime>,
    /// The sequence parameter set that came last, and whether its stream is error resilient.
    header: Vec<u8>,
    resilient: bool,
    units: Vec<UnitSpan>,
}

impl Input {
    /// What the policy has to know of an access unit. What is no whole one is as a predicted frame in one piece: to judge it is the decoder's part.
    pub fn look(&mut self, buffer: &gst::BufferRef) -> Unit {
        let time = buffer.dts_or_pts();
        let time = time.and_then(|time| self.segment.as_ref()?.to_running_time(time));
        // No longer than it lasts, for the stream may have paused before it; the oldest frame in the queue does not count.
        let since = time.zip(self.last_time).map(|(now, last)| now.saturating_sub(last));
        self.last_time = time.or(self.last_time);
        let length = [since, buffer.duration()].into_iter().flatten().min().filter(|_| time.is_some());
        let mut unit = self.split(buffer);
        unit.time = time.map(gst::ClockTime::nseconds);
        unit.length = length.map_or(0, gst::ClockTime::nseconds);
        unit
    }

    fn split(&mut self, buffer: &gst::BufferRef) -> Unit {
        let opaque = |resilient| Unit::new(FrameKind::Predicted, resilient, std::iter::once(buffer.size()));
        let Ok(map) = buffer.map_readable() else { return opaque(self.resilient) };
        let Ok((kind, _)) = stream::split(&map, &Limits::default(), &mut self.units) else {
            return opaque(self.resilient);
        };
        if let Some(set) = self.units.first().filter(|unit| unit.unit_type == UnitType::Sequence) {
            let set = set.range.clone();
            self.read_header(&map[set]);
        }
        Unit::new(kind, self.resilient, stream::slice_ends(&self.units))
    }

    /// Takes a sequence parameter set; they mostly repeat.
    fn read_header(&mut self, set: &[u8]) {
        if self.header != set {
            let mut inspector = Inspector::new(Limits::default());
            self.resilient = inspector.read_header(set).is_ok_and(|sequence| sequence.error_resilient);
            self.header.clear();
            self.header.extend_from_slice(set);
        }
    }

    /// Takes what an event says of the stream.
    pub fn note_event(&mut self, event: &gst::EventRef) {
        match event.view() {
            gst::EventView::Segment(e) => self.segment = e.segment().downcast_ref::<gst::ClockTime>().cloned(),
            // Access units before the first random access unit have no parameters of their own.
            gst::EventView::Caps(e) => {
                if let Some(set) = CodedCaps::parse(e.caps()).ok().and_then(|caps| caps.codec_data) {
                    self.read_header(&set);
                }
            }
            gst::EventView::StreamStart(_) => *self = Self::default(),
            _ => {}
        }
    }

    /// Forgets the position in the stream, not the stream.
    pub fn flush(&mut self) {
        (self.segment, self.last_time) = (None, None);
    }
}
