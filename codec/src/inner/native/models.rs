//! Adaptive probabilities and their mixing in the logistic domain, in integers (docs/bitstream.md §7.2).

use super::range_coder::{Bits, Probability};
use std::sync::LazyLock;

/// `squash` at −8, −7.75 … 8: round(65536 / (1 + exp(−x))). Normative.
const SQUASH: [u16; 65] = [
    22, 28, 36, 47, 60, 77, 98, 126, 162, 208, 267, 342, 439, 562, 720, 922, 1179, 1506, 1921, 2446, 3108, 3938, 4971,
    6249, 7812, 9702, 11955, 14595, 17625, 21025, 24743, 28693, 32768, 36843, 40793, 44511, 47911, 50941, 53581, 55834,
    57724, 59287, 60565, 61598, 62428, 63090, 63615, 64030, 64357, 64614, 64816, 64974, 65097, 65194, 65269, 65328,
    65374, 65410, 65438, 65459, 65476, 65489, 65500, 65508, 65514,
];

/// Largest magnitude of a logistic value; the unit is 1/256.
pub const STRETCH_MAX: i32 = 2047;

/// Probability of the logistic value `x` (in 1/256): linear between the entries of the table.
#[inline(always)]
pub fn squash(x: i32) -> Probability {
    let x = (x.clamp(-STRETCH_MAX, STRETCH_MAX) + 2048) as u32;
    let (i, f) = ((x >> 6) as usize, x & 63);
    let (a, b) = (u32::from(SQUASH[i]), u32::from(SQUASH[i + 1]));
    ((a * (64 - f) + b * f + 32) >> 6) as u16
}

/// Inverse of [`squash`] on the high 12 bits of a probability: the smallest x whose squash is at least the middle of the step.
static STRETCH: LazyLock<[i16; 4096]> = LazyLock::new(|| {
    let mut table = [0i16; 4096];
    let mut x = -STRETCH_MAX;
    for (i, entry) in table.iter_mut().enumerate() {
        while x < STRETCH_MAX && u32::from(squash(x)) < i as u32 * 16 + 8 {
            x += 1;
        }
        *entry = x as i16;
    }
    table
});

/// The table behind `stretch`, fetched once a frame.
pub fn stretch_table() -> &'static [i16; 4096] {
    &STRETCH
}

/// Step of a counter after n decisions: 65536 / (n + 1.6), rounded down. Normative.
const RATES: [u32; 64] = {
    let mut rates = [0; 64];
    let mut n = 0;
    while n < 64 {
        rates[n] = (655_360 / (10 * n + 16)) as u32;
        n += 1;
    }
    rates
};

/// An adaptive probability: fast at first, then slower, down to 1 / (limit + 1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    p: u16,
    n: u8,
}

impl Counter {
    /// Starts at `p`, as if `n` decisions had been seen.
    pub const fn new(p: Probability, n: u8) -> Self {
        Self { p, n }
    }

    /// Probability of a one.
    #[inline(always)]
    pub fn p(self) -> Probability {
        self.p
    }

    /// Decisions seen, as far as the step depends on them.
    #[cfg(any(test, feature = "calibrate"))]
    pub fn count(self) -> u8 {
        self.n
    }

    /// Learns `bit`; the step never falls below that of `limit` decisions.
    #[inline(always)]
    pub fn update(&mut self, bit: bool, limit: u8) {
        let rate = RATES[usize::from(self.n)] as i32;
        let target = if bit { 65_535 - 16 } else { 16 };
        let p = i32::from(self.p);
        self.p = (p + (((target - p) * (rate >> 1)) >> 15)) as u16;
        self.n += u8::from(self.n < limit);
    }

    /// Codes `bit` under this counter alone and learns it.
    #[inline(always)]
    pub fn code<B: Bits>(&mut self, bits: &mut B, bit: bool, limit: u8) -> bool {
        let bit = bits.bit(bit, self.p);
        self.update(bit, limit);
        bit
    }
}

/// Weights of one mixer, in 1/65536.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mixer<const N: usize> {
    weights: [i32; N],
}

impl<const N: usize> Mixer<N> {
    /// All weights equal to `weight` / 65536.
    pub const fn new(weight: i32) -> Self {
        Self::with([weight; N])
    }

    /// Weights in 1/65536.
    pub const fn with(weights: [i32; N]) -> Self {
        Self { weights }
    }

    /// Weights in 1/65536.
    pub fn weights(&self) -> [i32; N] {
        self.weights
    }

    /// Mixes the logistic values `inputs` into a probability, codes `bit` under it, and learns.
    #[inline(always)]
    pub fn code<B: Bits>(&mut self, bits: &mut B, bit: bool, inputs: [i32; N], rate: i32) -> bool {
        let dot: i32 = self.weights.iter().zip(inputs).map(|(w, x)| (w * x) >> 8).sum();
        let p = squash(dot >> 8);
        let bit = bits.bit(bit, p);
        let error = (((i32::from(bit) << 16) - i32::from(p)) * rate) >> 4;
        for (w, x) in self.weights.iter_mut().zip(inputs) {
            *w = (*w + ((x * error + (1 << 13)) >> 14)).clamp(-(1 << 19), 1 << 19);
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretch_inverts_squash_within_a_step() {
        let table = stretch_table();
        for p in (100..65_400u32).step_by(37) {
            let back = u32::from(squash(i32::from(table[(p >> 4) as usize])));
            assert!(back.abs_diff(p) <= 16 + p.min(65_536 - p) / 100, "{p} {back}");
        }
        assert!(table.windows(2).all(|w| w[0] <= w[1]));
    }

    #[test]
    fn squash_is_the_logistic_function() {
        for x in -STRETCH_MAX..=STRETCH_MAX {
            let exact = 65_536.0 / (1.0 + (-f64::from(x) / 256.0).exp());
            assert!((f64::from(squash(x)) - exact).abs() < 0.01 * exact.min(65_536.0 - exact) + 1.0, "{x}");
        }
    }

    #[test]
    fn a_counter_finds_the_frequency_and_stays_legal() {
        let mut counter = Counter::new(1 << 15, 0);
        (0..4000).for_each(|i| counter.update(i % 10 == 0, 60));
        assert!((5000..8500).contains(&counter.p()), "{}", counter.p());
        (0..4000).for_each(|_| counter.update(true, 60));
        assert!(counter.p() > 65_000);
        (0..4000).for_each(|_| counter.update(false, 60));
        assert!(counter.p() > 0 && counter.p() < 200);
    }
}
