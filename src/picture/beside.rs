//! Events that go past a video encoder or decoder beside a picture, and the place where they wait for it.

use fcm_codec::picture::{PictureInfo, PictureRecord};
use gst::glib;
use gst::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Pictures that may be under way at once; more means that a video element swallows them.
const MOST: usize = 512;

/// From `fcmpack` to `fcmmux`.
#[derive(Debug, Clone, glib::Boxed)]
#[boxed_type(name = "GstFcmPictureRecord")]
pub struct Record(pub Arc<PictureRecord>);

/// From `fcmdemux` to `fcmunpack`.
#[derive(Debug, Clone, glib::Boxed)]
#[boxed_type(name = "GstFcmPictureInfo")]
pub struct Info(pub Arc<Known>);

/// What `fcmdemux` knows of a picture.
#[derive(Debug)]
pub struct Known {
    /// What its access unit said.
    pub info: PictureInfo,
    /// Whether statistics came with it.
    pub refreshed: bool,
    /// Whether pictures before it are missing. Decoders of video do not pass the flag of the buffer on.
    pub discont: bool,
}

/// What travels in such an event.
pub trait Content: Clone + StaticType + ToValue + Send + Sync + for<'a> glib::value::FromValue<'a> {
    /// Name of the event's structure.
    const NAME: &'static str;
}

impl Content for Record {
    const NAME: &'static str = "GstFcmPictureRecord";
}

impl Content for Info {
    const NAME: &'static str = "GstFcmPictureInfo";
}

/// A picture as it was before the video element.
#[derive(Debug, Clone)]
pub struct Beside<T> {
    /// What must be known of it.
    pub content: T,
    /// Its time. A video encoder may move times and segment together, but not the running time.
    pub pts: gst::ClockTime,
    /// Its duration.
    pub duration: Option<gst::ClockTime>,
    /// The segment that it belongs to.
    pub segment: gst::FormattedSegment<gst::ClockTime>,
}

impl<T: Content> Beside<T> {
    /// When it is to be shown; `None` outside the segment.
    fn running_time(&self) -> Option<i128> {
        running_time(&self.segment, self.pts)
    }

    /// The event that goes before the picture.
    pub fn event(&self) -> gst::Event {
        let structure = gst::Structure::builder(T::NAME)
            .field("content", self.content.to_value().try_into_send_value::<T>().expect("it is of this type"))
            .field("pts", self.pts)
            .field("duration", self.duration)
            .field("segment", self.segment.upcast_ref())
            .build();
        gst::event::CustomDownstream::new(structure)
    }

    /// Reads an event; `None` when it is another one.
    pub fn parse(event: &gst::EventRef) -> Option<Self> {
        let structure = event.structure().filter(|s| s.name() == T::NAME)?;
        Some(Self {
            content: structure.get("content").ok()?,
            pts: structure.get("pts").ok()?,
            duration: structure.get("duration").ok()?,
            segment: structure.get::<gst::Segment>("segment").ok()?.downcast().ok()?,
        })
    }
}

/// Running time in nanoseconds, before the start of the segment too.
fn running_time(segment: &gst::FormattedSegment<gst::ClockTime>, pts: gst::ClockTime) -> Option<i128> {
    match segment.to_running_time_full(pts)? {
        gst::Signed::Positive(time) => Some(i128::from(time.nseconds())),
        gst::Signed::Negative(time) => Some(-i128::from(time.nseconds())),
    }
}

/// Where they wait.
#[derive(Debug)]
pub struct Waiting<T> {
    by_time: BTreeMap<i128, VecDeque<Beside<T>>>,
    count: usize,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { by_time: BTreeMap::new(), count: 0 }
    }
}

impl<T: Content> Waiting<T> {
    /// Keeps what was said of a picture to come.
    pub fn insert(&mut self, beside: Beside<T>) {
        let Some(time) = beside.running_time() else { return };
        self.by_time.entry(time).or_default().push_back(beside);
        self.count += 1;
        while self.count > MOST {
            self.count -= self.by_time.pop_first().map_or(0, |(_, all)| all.len());
        }
    }

    /// What was said of the picture at `pts`.
    pub fn take(&mut self, segment: &gst::FormattedSegment<gst::ClockTime>, pts: gst::ClockTime) -> Option<Beside<T>> {
        let time = running_time(segment, pts)?;
        let all = self.by_time.get_mut(&time)?;
        let beside = all.pop_front();
        if all.is_empty() {
            self.by_time.remove(&time);
        }
        self.count -= usize::from(beside.is_some());
        beside
    }

    /// Forgets pictures before `pts`, which will not come any more; tells how many.
    pub fn forget_before(&mut self, segment: &gst::FormattedSegment<gst::ClockTime>, pts: gst::ClockTime) -> usize {
        let Some(time) = running_time(segment, pts) else { return 0 };
        let later = self.by_time.split_off(&time);
        let before = std::mem::replace(&mut self.by_time, later);
        let forgotten = before.values().map(VecDeque::len).sum();
        self.count -= forgotten;
        forgotten
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, glib::Boxed)]
    #[boxed_type(name = "GstFcmPictureTest")]
    struct Number(u32);

    impl Content for Number {
        const NAME: &'static str = "GstFcmPictureTest";
    }

    fn segment(start: u64) -> gst::FormattedSegment<gst::ClockTime> {
        let mut segment = gst::FormattedSegment::new();
        segment.set_start(gst::ClockTime::from_mseconds(start));
        segment
    }

    fn beside(number: u32, ms: u64) -> Beside<Number> {
        let pts = gst::ClockTime::from_mseconds(ms);
        Beside { content: Number(number), pts, duration: Some(gst::ClockTime::from_mseconds(40)), segment: segment(0) }
    }

    #[test]
    fn an_event_says_all_again() {
        gst::init().unwrap();
        let event = beside(7, 120).event();
        assert!(event.is_serialized() && event.is_downstream());
        let read = Beside::<Number>::parse(&event).unwrap();
        assert_eq!((read.content, read.pts), (Number(7), gst::ClockTime::from_mseconds(120)));
        assert_eq!((read.duration, read.segment), (Some(gst::ClockTime::from_mseconds(40)), segment(0)));
        assert!(Beside::<Record>::parse(&event).is_none());
    }

    #[test]
    fn pictures_are_found_by_running_time_in_any_order_and_segment() {
        gst::init().unwrap();
        let mut waiting = Waiting::default();
        for (n, ms) in [(0, 0), (1, 40), (2, 80), (3, 80), (4, 120)] {
            waiting.insert(beside(n, ms));
        }
        // An encoder that moved everything by an hour.
        let moved = segment(3_600_000);
        let mut take =
            |ms: u64| waiting.take(&moved, gst::ClockTime::from_mseconds(3_600_000 + ms)).map(|b| b.content.0);
        assert_eq!([take(80), take(0), take(80), take(80), take(41)], [Some(2), Some(0), Some(3), None, None]);
        assert_eq!(waiting.forget_before(&moved, gst::ClockTime::from_mseconds(3_600_120)), 1);
        assert_eq!(waiting.count, 1);
    }

    #[test]
    fn pictures_that_never_come_do_not_pile_up() {
        gst::init().unwrap();
        let mut waiting = Waiting::default();
        for n in 0..2 * MOST as u64 {
            waiting.insert(beside(0, n));
        }
        assert_eq!((waiting.count, waiting.by_time.len()), (MOST, MOST));
    }
}
