//! Numbers of frames.

/// Numbers frames by their time where that is possible, so that a lost frame leaves a gap, else by counting.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    next: u64,
}

impl Numbering {
    /// Frames from now on are in this segment.
    pub fn set_segment(&mut self, segment: &gst::Segment) {
        self.segment = segment.downcast_ref::<gst::ClockTime>().cloned();
    }

    /// Begins at 0 again.
    pub fn restart(&mut self) {
        self.next = 0;
    }

    /// The number of the next frame, from 0: its stream time in frames of `rate`; one more than the last where it has none.
    pub fn number(&mut self, pts: Option<gst::ClockTime>, rate: gst::Fraction) -> u64 {
        let time = pts.zip(self.segment.as_ref()).and_then(|(pts, segment)| segment.to_stream_time(pts));
        let positive = |n: i32| u64::try_from(n).ok().filter(|&n| n > 0);
        let by_time = time.zip(positive(rate.numer())).zip(positive(rate.denom())).and_then(|((time, n), d)| {
            let (frames, second) = (u128::from(time.nseconds()) * u128::from(n), u128::from(d) * 1_000_000_000);
            u64::try_from((frames + second / 2) / second).ok()
        });
        let number = by_time.unwrap_or(self.next);
        self.next = number.saturating_add(1);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_numbers_frames_and_counting_where_there_is_none() {
        gst::init().unwrap();
        let mut numbering = Numbering::default();
        let (rate, unknown) = (gst::Fraction::new(30000, 1001), gst::Fraction::new(0, 1));
        let ms = |n| Some(gst::ClockTime::from_mseconds(n));
        assert_eq!(numbering.number(ms(500), rate), 0, "no segment yet");
        numbering.set_segment(gst::FormattedSegment::<gst::ClockTime>::new().upcast_ref());
        assert_eq!(numbering.number(ms(33), rate), 1);
        assert_eq!(numbering.number(ms(1001), rate), 30);
        assert_eq!(numbering.number(None, rate), 31);
        assert_eq!(numbering.number(ms(7), unknown), 32);
        numbering.restart();
        assert_eq!(numbering.number(None, rate), 0);
    }
}
