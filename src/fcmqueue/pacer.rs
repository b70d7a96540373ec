//! When the next access unit may go out, if the rate is limited.

use std::time::{Duration, Instant};

/// How late a wake-up may be without costing rate: what a busy machine does to a thread that sleeps.
const LATE: Duration = Duration::from_millis(20);

/// A link of a given rate: what was sent occupies it for bits / rate.
///
/// By the machine's clock, not the pipeline's: the seconds of a bit rate are those of the network, whatever clock the pipeline runs by.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    /// When the link became busy, and with how many bits.
    busy: Option<(Instant, u64)>,
}

/// How long `bits` take at `rate` bit/s.
fn takes(bits: u64, rate: u64) -> Duration {
    let nanoseconds = u128::from(bits) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

impl Pacer {
    /// How long the link is busy yet at `rate` bit/s; `None`: it is free. Rate 0 has no limit.
    pub fn wait(&self, now: Instant, rate: u64) -> Option<Duration> {
        let (since, bits) = self.busy.filter(|_| rate > 0)?;
        let left = takes(bits, rate).saturating_sub(now.saturating_duration_since(since));
        (!left.is_zero()).then_some(left)
    }

    /// `bytes` go out now, when the link is free.
    pub fn sent(&mut self, now: Instant, bytes: usize, rate: u64) {
        let free = self.busy.and_then(|(since, bits)| since.checked_add(takes(bits, rate)));
        // A link that was idle for long has no rate saved up.
        let since = free.filter(|&free| free <= now && now - free <= LATE).unwrap_or(now);
        self.busy = Some((since, bytes as u64 * 8));
    }

    /// Nothing was sent yet.
    pub fn reset(&mut self) {
        self.busy = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_by_a_thread_that_wakes_late() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        let mut now = start;
        for _ in 0..100 {
            now += pacer.wait(now, 80_000).unwrap_or_default() + Duration::from_millis(3);
            assert_eq!(pacer.wait(now, 80_000), None);
            pacer.sent(now, 500, 80_000);
        }
        // 500 bytes take 50 ms.
        let passed = now - start;
        assert!((4950..=4960).contains(&passed.as_millis()), "{passed:?}");
    }

    #[test]
    fn an_idle_link_saves_nothing_up() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        pacer.sent(start, 1000, 8000);
        assert_eq!(pacer.wait(start, 8000), Some(Duration::from_secs(1)));
        let later = start + Duration::from_secs(60);
        assert_eq!(pacer.wait(later, 8000), None);
        pacer.sent(later, 1000, 8000);
        assert_eq!(pacer.wait(later, 8000), Some(Duration::from_secs(1)));
    }

    #[test]
    fn another_rate_holds_at_once() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        pacer.sent(start, 1000, 8000);
        let half = start + Duration::from_millis(500);
        assert_eq!(pacer.wait(half, 8000), Some(Duration::from_millis(500)));
        assert_eq!(pacer.wait(half, 4000), Some(Duration::from_millis(1500)));
        assert_eq!(pacer.wait(half, 16_000), None);
        assert_eq!(pacer.wait(half, 0), None);
        pacer.reset();
        assert_eq!(pacer.wait(start, 8000), None);
    }
}
