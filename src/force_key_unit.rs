//! The force-key-unit events of GStreamer's video elements, which feature streams use alike.
//!
//! Upstream: "I need a random access point" (a decoder after loss, a viewer that joined). Downstream: "one follows at
//! this time", so that what cuts the stream into files knows where. The field names are those of
//! gst-docs, "design/keyframe-force"; they are read here so that the plugin need not link the video library.

use std::time::{Duration, Instant};

/// Name of the structure in both events.
pub const NAME: &str = "GstForceKeyUnit";

/// A request for a random access point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Running time from which on; `None` = at once.
    pub running_time: Option<gst::ClockTime>,
    /// Whether all parameter sets are wanted too. They always come.
    pub all_headers: bool,
    /// Number of the request, given back in the downstream event.
    pub count: u32,
}

/// Reads an event of either direction; `None` when it is another event.
pub fn parse(event: &gst::EventRef) -> Option<Request> {
    let structure = event.structure().filter(|s| s.name() == NAME)?;
    let offset = event.running_time_offset();
    // Pads with an offset move the running time: away from it downstream, back upstream.
    let offset = if event.is_upstream() { offset.checked_neg().unwrap_or(0) } else { offset };
    let running_time = structure.get::<Option<gst::ClockTime>>("running-time").ok().flatten().map(|time| {
        let moved = i128::from(time.nseconds()) + i128::from(offset);
        gst::ClockTime::from_nseconds(moved.clamp(0, i128::from(gst::ClockTime::MAX.nseconds())) as u64)
    });
    Some(Request {
        running_time,
        all_headers: structure.get("all-headers").unwrap_or(false),
        count: structure.get("count").unwrap_or(0),
    })
}

/// The event that asks the encoder for a random access point.
pub fn upstream(request: &Request) -> gst::Event {
    gst::event::CustomUpstream::new(
        gst::Structure::builder(NAME)
            .field("running-time", request.running_time)
            .field("all-headers", request.all_headers)
            .field("count", request.count)
            .build(),
    )
}

/// The event that goes before a random access point.
pub fn downstream(
    timestamp: Option<gst::ClockTime>,
    stream_time: Option<gst::ClockTime>,
    running_time: Option<gst::ClockTime>,
    request: &Request,
) -> gst::Event {
    gst::event::CustomDownstream::new(
        gst::Structure::builder(NAME)
            .field("timestamp", timestamp)
            .field("stream-time", stream_time)
            .field("running-time", running_time)
            .field("all-headers", request.all_headers)
            .field("count", request.count)
            .build(),
    )
}

/// While frames are lost, the request is repeated this often: it, or what answers it, may have been lost as well.
const REPEAT: Duration = Duration::from_secs(1);
/// With signs of new loss meanwhile it is repeated sooner: what answered it may be what was lost.
const REPEAT_AFTER_LOSS: Duration = Duration::from_millis(200);

/// Decides when a receiver that lost frames asks for a random access point.
#[derive(Debug, Default)]
pub struct Pacer {
    last: Option<Instant>,
    waiting: bool,
    /// Requests so far: each says which one it is.
    count: u32,
}

impl Pacer {
    /// Frames cannot be used; `new_loss`: something was lost just now, it is not just that a random access point has not come yet. Returns
    /// whether to ask, not more often than every `interval`.
    fn lost(&mut self, now: Instant, new_loss: bool, interval: Duration) -> bool {
        let wait = match (std::mem::replace(&mut self.waiting, true), new_loss) {
            (false, _) => interval,
            (true, true) => interval.max(REPEAT_AFTER_LOSS),
            (true, false) => interval.max(REPEAT),
        };
        let ask = self.last.is_none_or(|last| now.saturating_duration_since(last) >= wait);
        if ask {
            self.last = Some(now);
        }
        ask
    }

    /// The request to send upstream now, if it is time to ask: as [`Self::lost`].
    pub fn ask(&mut self, new_loss: bool, interval: Duration) -> Option<gst::Event> {
        self.lost(Instant::now(), new_loss, interval).then(|| {
            let request = Request { running_time: None, all_headers: true, count: self.count };
            self.count = self.count.wrapping_add(1);
            upstream(&request)
        })
    }

    /// Another stream begins; requests go on being counted.
    pub fn restart(&mut self) {
        *self = Self { count: self.count, ..Self::default() };
    }

    /// A random access point came: the next loss may ask at once.
    pub fn recovered(&mut self) {
        self.waiting = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_both_events() {
        gst::init().unwrap();
        for running_time in [None, Some(gst::ClockTime::from_mseconds(40))] {
            let request = Request { running_time, all_headers: true, count: 3 };
            assert_eq!(parse(&upstream(&request)), Some(request));
            assert_eq!(parse(&downstream(None, None, running_time, &request)), Some(request));
        }
        assert_eq!(parse(&gst::event::Eos::new()), None);
    }

    #[test]
    fn pad_offsets_move_the_running_time() {
        gst::init().unwrap();
        let at = |ms| Some(gst::ClockTime::from_mseconds(ms));
        let request = Request { running_time: at(40), all_headers: false, count: 0 };
        let mut event = upstream(&request);
        event.make_mut().set_running_time_offset(10_000_000);
        assert_eq!(parse(&event).unwrap().running_time, at(30));
        event.make_mut().set_running_time_offset(90_000_000);
        assert_eq!(parse(&event).unwrap().running_time, at(0));
        let mut event = downstream(None, None, at(40), &request);
        event.make_mut().set_running_time_offset(10_000_000);
        assert_eq!(parse(&event).unwrap().running_time, at(50));
    }

    #[test]
    fn requests_are_repeated_sooner_where_more_is_lost() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pacer = Pacer::default();
        let mut ask = |ms, new_loss| pacer.lost(at(ms), new_loss, Duration::ZERO);
        let asked = [ask(0, true), ask(40, false), ask(80, true), ask(210, true), ask(900, false), ask(1250, false)];
        assert_eq!(asked, [true, false, false, true, false, true]);
        pacer.recovered();
        assert!(pacer.lost(at(1260), true, Duration::ZERO), "another loss");
        pacer.recovered();
        assert!(!pacer.lost(at(1300), true, Duration::from_millis(100)), "within the interval");
        assert!(pacer.lost(at(1461), true, Duration::from_millis(100)));
    }
}
