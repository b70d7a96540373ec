//! Times of presentation where a stream has none.
//!
//! A file or a TCP stream holds no times. The parser counts them in the order of decoding, which is not that of presentation in a stream
//! with B-frames; access units say both orders.

use fcm_codec::picture::PRESENTATION_NUMBERS;

/// Periods that a counted time may be off the one of a random access point before counting begins anew there.
const FAR: u64 = 32;

/// What was seen before.
#[derive(Debug, Default)]
pub struct Retiming {
    /// Presentation number, counted on beyond 256, and time in nanoseconds, of the random access point that times are counted from.
    anchor: Option<(i64, i64)>,
    /// Of the last picture, and its time as it came.
    last: Option<(i64, Option<i64>)>,
    /// Times come in the order of decoding.
    by_decoding: bool,
}

impl Retiming {
    /// The time of presentation of the next picture: `pts` unless it was counted in the order of decoding. All times in nanoseconds; `period` is that
    /// from one frame to the next, if it is known.
    pub fn time(
        &mut self,
        presentation: u8,
        random_access: bool,
        pts: Option<u64>,
        period: Option<u64>,
    ) -> Option<u64> {
        let all = PRESENTATION_NUMBERS as i64;
        // No picture is shown before one at which decoding can start and that came later: this is another stream.
        if let Some((last, _)) = self.last
            && random_access
            && (presentation == 0 || (i64::from(presentation) - last).rem_euclid(all) >= all / 2)
        {
            *self = Self { by_decoding: self.by_decoding, ..Self::default() };
        }
        let number = match self.last {
            None => i64::from(presentation),
            Some((last, _)) => {
                // The nearest number to the one before.
                let step = (i64::from(presentation) - last).rem_euclid(all);
                last + if step >= all / 2 { step - all } else { step }
            }
        };
        let given = pts.and_then(|pts| i64::try_from(pts).ok());
        let period = period.and_then(|period| i64::try_from(period).ok()).filter(|&period| period > 0);
        if let (Some(given), Some((last, Some(before))), Some(period)) = (given, self.last, period)
            && number - last != 1
        {
            // One period after the picture before, though in presentation more or less lies between.
            self.by_decoding = given.saturating_sub(before).abs_diff(period) < period as u64 / 4;
        }
        let counted = |(first, time): (i64, i64)| {
            period.and_then(|period| (number - first).checked_mul(period)).and_then(|since| time.checked_add(since))
        };
        let far = |time: i64| {
            let off = given.map_or(0, |given| given.abs_diff(time));
            off > period.map_or(0, |period| period as u64).saturating_mul(FAR)
        };
        let anew = random_access && (!self.by_decoding || self.anchor.and_then(counted).is_none_or(far));
        let anchor = match self.anchor {
            Some(anchor) if !(anew && given.is_some()) => anchor,
            _ => *self.anchor.insert((number, given.unwrap_or(0))),
        };
        self.last = Some((number, given));
        let time = if self.by_decoding { counted(anchor).or(given) } else { given.or_else(|| counted(anchor)) };
        time.and_then(|time| u64::try_from(time).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: u64 = 40;

    /// Pictures in the order of decoding by their number of presentation, and the times they come with.
    fn times(pictures: &[(u8, Option<u64>)]) -> Vec<Option<u64>> {
        let mut retiming = Retiming::default();
        let mut time =
            |(n, &(number, pts)): (usize, &(u8, Option<u64>))| retiming.time(number, n == 0, pts, Some(PERIOD));
        pictures.iter().enumerate().map(&mut time).collect()
    }

    #[test]
    fn true_times_are_left_alone() {
        let given = [(0, Some(0)), (3, Some(121)), (1, Some(39)), (2, Some(80)), (4, Some(160)), (5, Some(700))];
        assert_eq!(times(&given), given.map(|(_, pts)| pts));
        // Frames left out before the packer.
        let sparse = [(0, Some(0)), (1, Some(400)), (2, Some(440))];
        assert_eq!(times(&sparse), sparse.map(|(_, pts)| pts));
    }

    #[test]
    fn times_in_the_order_of_decoding_are_put_into_that_of_presentation() {
        let order = [250u8, 253, 251, 252, 0, 254, 255];
        let given: Vec<(u8, Option<u64>)> =
            order.iter().enumerate().map(|(n, &number)| (number, Some(n as u64 * PERIOD))).collect();
        let expected: Vec<Option<u64>> = [0, 3, 1, 2, 6, 4, 5].map(|n| Some(n * PERIOD)).to_vec();
        assert_eq!(times(&given), expected);
    }

    #[test]
    fn a_stream_that_starts_anew_goes_on_in_time() {
        let mut retiming = Retiming::default();
        let mut time =
            |number, random_access, n: u64| retiming.time(number, random_access, Some(n * PERIOD), Some(PERIOD));
        let first = [time(0, true, 0), time(3, false, 1), time(1, false, 2), time(2, false, 3)];
        assert_eq!(first, [0, 3, 1, 2].map(|n| Some(n * PERIOD)));
        let second = [time(0, true, 4), time(2, false, 5), time(1, false, 6)];
        assert_eq!(second, [4, 6, 5].map(|n| Some(n * PERIOD)));
    }

    #[test]
    fn without_times_they_are_counted() {
        assert_eq!(times(&[(7, None), (9, None), (8, None)]), [Some(0), Some(80), Some(40)]);
        assert_eq!(Retiming::default().time(3, true, None, None), None);
    }
}
