//! A bad network as a function: which packets get lost, and when copies of the others arrive. Everything random comes from a seed, and
//! every packet draws the same number of random numbers: the pattern depends on the order of the packets, not on the clock.

use std::ops::Range;
use std::time::Duration;

/// How packets get lost.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each with this probability, whatever happened to others.
    Random(f64),
    /// Gilbert and Elliott: a good and a bad state, each with its loss.
    Burst {
        /// Probability to go from good to bad, a packet.
        enter: f64,
        /// Probability to go from bad to good, a packet: bursts are `1 / leave` packets long.
        leave: f64,
        /// Loss in the good state.
        good: f64,
        /// Loss in the bad state.
        bad: f64,
    },
}

/// What the network does to packets.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// Seed of everything random.
    pub seed: u64,
    /// Loss.
    pub loss: Loss,
    /// Numbers of packets that are lost whatever the rest says, from 0.
    pub drop: Vec<Range<u64>>,
    /// Time that every packet takes.
    pub delay: Duration,
    /// Further time, even between 0 and this.
    pub jitter: Duration,
    /// Probability that a packet is held back for `reorder_by`.
    pub reorder: f64,
    /// How long such a packet is held back.
    pub reorder_by: Duration,
    /// Probability that a packet comes twice.
    pub duplicate: f64,
    /// Bits a second that the link carries; 0 = any.
    pub rate: u64,
    /// Longest wait for the link; what would wait longer is lost. Zero: 200 ms.
    pub queue: Duration,
}

/// What became of the packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came.
    pub packets: u64,
    /// Lost at random or as told.
    pub lost: u64,
    /// Lost because the link was too slow.
    pub overflowed: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// Held back.
    pub held_back: u64,
}

/// The network, packet by packet.
#[derive(Debug)]
pub struct Channel {
    conditions: Conditions,
    random: u64,
    bad: bool,
    /// When the link is free again.
    free: Duration,
    counts: Counts,
}

impl Channel {
    /// A network that is idle.
    pub fn new(conditions: Conditions) -> Self {
        // Neighbouring seeds must not give neighbouring sequences.
        let random = conditions.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        Self { conditions, random, bad: false, free: Duration::ZERO, counts: Counts::default() }
    }

    /// What became of the packets so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A packet of `bytes` bytes comes at `now`. Gives the times at which it, or copies of it, leave.
    pub fn pass(&mut self, bytes: usize, now: Duration) -> impl Iterator<Item = Duration> + use<> {
        let draws: [f64; 5] = std::array::from_fn(|_| self.draw());
        let number = self.counts.packets;
        self.counts.packets += 1;
        let c = &self.conditions;
        let lost = match c.loss {
            Loss::None => false,
            Loss::Random(probability) => draws[0] < probability,
            Loss::Burst { enter, leave, good, bad } => {
                self.bad = if self.bad { draws[1] >= leave } else { draws[1] < enter };
                draws[0] < if self.bad { bad } else { good }
            }
        };
        let lost = lost || c.drop.iter().any(|range| range.contains(&number));
        let mut times = [None, None];
        if lost {
            self.counts.lost += 1;
            return times.into_iter().flatten();
        }
        let mut leaves = now;
        if c.rate > 0 {
            let queue = if c.queue.is_zero() { Duration::from_millis(200) } else { c.queue };
            if self.free.saturating_sub(now) > queue {
                self.counts.overflowed += 1;
                return times.into_iter().flatten();
            }
            self.free = self.free.max(now) + Duration::from_secs_f64(bytes as f64 * 8.0 / c.rate as f64);
            leaves = self.free;
        }
        leaves += c.delay + c.jitter.mul_f64(draws[2]);
        if draws[3] < c.reorder {
            self.counts.held_back += 1;
            leaves += c.reorder_by;
        }
        times[0] = Some(leaves);
        if draws[4] < c.duplicate {
            self.counts.duplicated += 1;
            times[1] = Some(leaves);
        }
        times.into_iter().flatten()
    }

    /// An even number from 0 to 1 (splitmix64).
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ z >> 31) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of the packets that arrive, in the order and as often as they do; one packet a millisecond.
    fn arrivals(conditions: &Conditions, packets: u64) -> (Vec<u64>, Counts) {
        let mut channel = Channel::new(conditions.clone());
        let mut out = Vec::new();
        for n in 0..packets {
            out.extend(channel.pass(1000, Duration::from_millis(n)).map(|time| (time, n)));
        }
        out.sort();
        (out.into_iter().map(|(_, n)| n).collect(), channel.counts())
    }

    #[test]
    fn the_same_seed_loses_the_same_packets() {
        let of = |seed| arrivals(&Conditions { seed, loss: Loss::Random(0.1), ..Conditions::default() }, 10_000);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        let lost = of(1).1.lost;
        assert!((900..1100).contains(&lost), "{lost} of 10000 lost");
    }

    #[test]
    fn bursts_have_their_length_and_share() {
        let loss = Loss::Burst { enter: 0.01, leave: 0.2, good: 0.0, bad: 1.0 };
        let (arrived, counts) = arrivals(&Conditions { loss, ..Conditions::default() }, 100_000);
        let bursts = arrived.windows(2).filter(|pair| pair[1] > pair[0] + 1).count() as f64;
        let length = counts.lost as f64 / bursts;
        assert!((4.5..5.5).contains(&length), "bursts of {length} packets, 5 are right");
        assert!((4200..5300).contains(&counts.lost), "{} lost, 4762 are right", counts.lost);
    }

    #[test]
    fn a_slow_link_delays_and_then_loses() {
        // 1000 bytes a millisecond are 8 Mbit/s.
        let (arrived, counts) = arrivals(&Conditions { rate: 4_000_000, ..Conditions::default() }, 4000);
        assert_eq!(arrived.len() as u64 + counts.overflowed, 4000);
        assert!((1800..2000).contains(&counts.overflowed), "{counts:?}");
        let (_, counts) = arrivals(&Conditions { rate: 9_000_000, ..Conditions::default() }, 4000);
        assert_eq!(counts.overflowed, 0);
    }

    #[test]
    fn packets_are_held_back_and_repeated() {
        let conditions = Conditions {
            reorder: 0.1,
            reorder_by: Duration::from_millis(3),
            duplicate: 0.1,
            drop: std::iter::once(5..10).collect(),
            ..Conditions::default()
        };
        let (arrived, counts) = arrivals(&conditions, 1000);
        assert_eq!(counts.lost, 5);
        assert!((5..10).all(|n| !arrived.contains(&n)));
        assert_eq!(arrived.len() as u64, 995 + counts.duplicated);
        assert!((70..130).contains(&counts.duplicated) && (70..130).contains(&counts.held_back), "{counts:?}");
        assert!(arrived.windows(2).any(|pair| pair[0] > pair[1]));
    }
}
