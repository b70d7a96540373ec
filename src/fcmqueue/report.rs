//! What the element says of what it drops: counters, and when a message is due.

use super::policy::{Dropped, Level};
use std::time::{Duration, Instant};

/// Least time between two messages about dropping, and without dropping before all is well.
const INTERVAL: Duration = Duration::from_secs(1);

/// A message that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// This was dropped since the last message.
    Degraded(Dropped),
    /// Nothing is dropped any more; what was, since all was well.
    Recovered(Dropped),
}

impl Notice {
    /// The structure of the element message, with what is in the queue.
    pub fn structure(&self, level: &Level) -> gst::Structure {
        let (name, dropped) = match self {
            Notice::Degraded(dropped) => ("fcm-queue-degraded", dropped),
            Notice::Recovered(dropped) => ("fcm-queue-recovered", dropped),
        };
        let level_fields = gst::Structure::builder(name)
            .field("current-level-buffers", u32::try_from(level.units).unwrap_or(u32::MAX))
            .field("current-level-bytes", u32::try_from(level.bytes).unwrap_or(u32::MAX))
            .field("current-level-time", level.time);
        add(level_fields, dropped).build()
    }
}

/// Adds what was dropped.
fn add(builder: gst::structure::Builder, dropped: &Dropped) -> gst::structure::Builder {
    builder
        .field("dropped-slices-1", dropped.slices[1])
        .field("dropped-slices-2", dropped.slices[2])
        .field("dropped-slices-3", dropped.slices[3])
        .field("dropped-frames", dropped.frames())
        .field("dropped-random-access-frames", dropped.random_access)
        .field("dropped-bytes", dropped.bytes)
}

/// Decides which message is due.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What was dropped since all was well; `None`: all is well.
    spell: Option<Dropped>,
    unreported: Dropped,
    last_drop: Option<Instant>,
    last_notice: Option<Instant>,
}

impl Report {
    /// `dropped` was dropped now, or nothing; `well`: the level asks for nothing to be dropped.
    pub fn note(&mut self, now: Instant, dropped: &Dropped, well: bool) -> Option<Notice> {
        let past = |since: Option<Instant>| since.is_none_or(|since| now.saturating_duration_since(since) >= INTERVAL);
        if !dropped.is_nothing() {
            self.spell.get_or_insert_default().add(dropped);
            self.unreported.add(dropped);
            self.last_drop = Some(now);
        }
        if self.spell.is_some() && well && past(self.last_drop) {
            return self.end();
        }
        if self.unreported.is_nothing() || !past(self.last_notice) {
            return None;
        }
        self.last_notice = Some(now);
        Some(Notice::Degraded(std::mem::take(&mut self.unreported)))
    }

    /// No more will be dropped.
    pub fn end(&mut self) -> Option<Notice> {
        self.unreported = Dropped::default();
        self.spell.take().map(Notice::Recovered)
    }

    /// Whether something was dropped and not all is well yet.
    pub fn degraded(&self) -> bool {
        self.spell.is_some()
    }
}

/// What the property `stats` counts since the element was started.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    pub access_units: u64,
    pub bytes: u64,
    pub sent_access_units: u64,
    pub sent_bytes: u64,
    pub shortened_access_units: u64,
    pub dropped: Dropped,
    pub degradations: u64,
    pub keyframe_requests: u64,
}

impl Counters {
    /// What the property gives.
    pub fn structure(&self) -> gst::Structure {
        let builder = gst::Structure::builder("application/x-fcmqueue-stats")
            .field("access-units", self.access_units)
            .field("bytes", self.bytes)
            .field("sent-access-units", self.sent_access_units)
            .field("sent-bytes", self.sent_bytes)
            .field("shortened-access-units", self.shortened_access_units);
        add(builder, &self.dropped)
            .field("degradations", self.degradations)
            .field("keyframe-requests", self.keyframe_requests)
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_one_message_a_second_and_nothing_is_left_out() {
        let start = Instant::now();
        let one = Dropped { predicted: 1, bytes: 10, ..Dropped::default() };
        let mut report = Report::default();
        let mut sums = (0, 0);
        for ms in (0..5000).step_by(40) {
            match report.note(start + Duration::from_millis(ms), &one, false) {
                Some(Notice::Degraded(dropped)) => {
                    assert_eq!(ms % 1000, 0);
                    sums = (sums.0 + 1, sums.1 + dropped.predicted);
                }
                other => assert_eq!(other, None),
            }
        }
        assert_eq!(sums, (5, 101), "every 40 ms to 4 s");
        assert_eq!(
            report.end(),
            Some(Notice::Recovered(Dropped { predicted: 125, bytes: 1250, ..Dropped::default() }))
        );
        assert_eq!(report.end(), None);
    }

    #[test]
    fn all_is_well_after_a_second_without_dropping_at_a_low_level() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (one, none) = (Dropped { slices: [0, 0, 0, 1], bytes: 10, ..Dropped::default() }, Dropped::default());
        let mut report = Report::default();
        assert_eq!(report.note(at(0), &none, true), None);
        assert_eq!(report.note(at(40), &one, false), Some(Notice::Degraded(one)));
        assert_eq!(report.note(at(80), &one, true), None);
        assert!(report.degraded());
        assert_eq!(report.note(at(1060), &none, true), Some(Notice::Degraded(one)), "the rest");
        assert_eq!(report.note(at(1100), &none, false), None);
        let Some(Notice::Recovered(both)) = report.note(at(1140), &none, true) else { panic!("a second") };
        assert_eq!((both.slices[3], both.bytes, report.degraded()), (2, 20, false));
        assert_eq!(report.note(at(1180), &one, true), None, "a second after the last message");
    }
}
