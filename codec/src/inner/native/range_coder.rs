//! Binary arithmetic coder: 48-bit interval, 16-bit probabilities, bytes out (docs/bitstream.md §7.1).
//!
//! The same syntax code drives [`Writer`] and [`Reader`] through [`Bits`], so what is written and what is read cannot drift
//! apart. Integers only.

use std::sync::LazyLock;

/// Probability of a one in units of 2^-16; legal are 1 to 65535.
pub type Probability = u16;

const TOP: u64 = 1 << 48;
const BOTTOM: u64 = 1 << 40;

/// A coder of binary decisions, writing or reading.
pub trait Bits {
    /// Codes one decision under `p`, the probability of `true`. A writer codes `bit` and returns it; a reader ignores `bit` and
    /// returns what it read.
    fn bit(&mut self, bit: bool, p: Probability) -> bool;

    /// Codes the low `count` bits of `value`, most significant first, each with probability one half.
    fn bypass(&mut self, value: u32, count: u32) -> u32 {
        (0..count).rev().fold(0, |done, i| done << 1 | u32::from(self.bit(value >> i & 1 == 1, 1 << 15)))
    }
}

/// Writes decisions to bytes.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    low: u64,
    range: u64,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start, low: 0, range: TOP }
    }

    /// Bytes written so far, but for the end.
    pub fn len(&self) -> usize {
        self.out.len() - self.start
    }

    fn carry(&mut self) {
        if self.low >= TOP {
            self.low -= TOP;
            for byte in self.out[self.start..].iter_mut().rev() {
                *byte = byte.wrapping_add(1);
                if *byte != 0 {
                    break;
                }
            }
        }
    }

    /// Writes as few bytes as tell the reader everything; it reads zeros after the last.
    pub fn finish(mut self) {
        // The value with most trailing zeros inside the interval.
        let end = self.low + self.range - 1;
        let mut zeros = 48;
        while (end >> zeros) << zeros < self.low {
            zeros -= 1;
        }
        self.low = (end >> zeros) << zeros;
        self.carry();
        while self.low != 0 {
            self.out.push((self.low >> 40) as u8);
            self.low = self.low << 8 & (TOP - 1);
        }
        while self.out.len() > self.start && self.out.last() == Some(&0) {
            self.out.pop();
        }
    }
}

impl Bits for Writer<'_> {
    #[inline(always)]
    fn bit(&mut self, bit: bool, p: Probability) -> bool {
        let split = (self.range >> 16) * u64::from(p);
        if bit {
            self.range = split;
        } else {
            self.low += split;
            self.range -= split;
        }
        while self.range < BOTTOM {
            self.carry();
            self.out.push((self.low >> 40) as u8);
            self.low = self.low << 8 & (TOP - 1);
            self.range <<= 8;
        }
        bit
    }
}

/// Keeps decisions until it is known where they are to be written.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Decision in bit 16, probability below.
    decisions: Vec<u32>,
    /// Length of the code in 1/256 bits.
    cost: u64,
}

/// Length of the code of an outcome in 1/256 bits, by the high 12 bits of its probability.
static COSTS: LazyLock<[u16; 4096]> =
    LazyLock::new(|| std::array::from_fn(|i| (-((i as f64 + 0.5) / 4096.0).log2() * 256.0).round() as u16));

impl Recorder {
    /// Bytes that the decisions take, rounded up.
    pub fn bytes(&self) -> usize {
        self.cost.div_ceil(256 * 8) as usize
    }

    /// Writes all decisions to `writer` and forgets them.
    pub fn replay(&mut self, writer: &mut Writer<'_>) {
        for decision in self.decisions.drain(..) {
            writer.bit(decision >> 16 == 1, decision as u16);
        }
        self.cost = 0;
    }
}

impl Bits for Recorder {
    #[inline(always)]
    fn bit(&mut self, bit: bool, p: Probability) -> bool {
        self.decisions.push(u32::from(bit) << 16 | u32::from(p));
        let of_outcome = if bit { p } else { p.wrapping_neg() };
        self.cost += u64::from(COSTS[usize::from(of_outcome >> 4)]);
        bit
    }
}

/// Reads decisions from bytes; after the last byte it reads zeros.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    next: usize,
    /// Distance of the code value from the low end of the interval.
    value: u64,
    range: u64,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut reader = Self { bytes, next: 0, value: 0, range: TOP };
        for _ in 0..6 {
            reader.value = reader.value << 8 | reader.byte();
        }
        reader
    }

    #[inline(always)]
    fn byte(&mut self) -> u64 {
        let byte = self.bytes.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        u64::from(byte)
    }
}

impl Bits for Reader<'_> {
    #[inline(always)]
    fn bit(&mut self, _: bool, p: Probability) -> bool {
        let split = (self.range >> 16) * u64::from(p);
        let bit = self.value < split;
        if bit {
            self.range = split;
        } else {
            self.value -= split;
            self.range -= split;
        }
        while self.range < BOTTOM {
            self.value = self.value << 8 | self.byte();
            self.range <<= 8;
        }
        bit
    }
}

/// Adds up the exact length of the code of every decision.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct Meter {
    /// Length so far.
    pub bits: f64,
}

#[cfg(test)]
impl Bits for Meter {
    fn bit(&mut self, bit: bool, p: Probability) -> bool {
        let of_outcome = if bit { u32::from(p) } else { 65_536 - u32::from(p) };
        self.bits -= (f64::from(of_outcome) / 65_536.0).log2();
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator with a fixed seed (splitmix64).
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    #[test]
    fn what_is_written_is_read_at_all_probabilities() {
        for p in [1u16, 2, 100, 1 << 15, 65000, 65534, 65535] {
            let mut seed = u64::from(p);
            let bits: Vec<bool> = (0..20_000).map(|_| (random(&mut seed) & 0xFFFF) < u64::from(p)).collect();
            let mut bytes = vec![7];
            let mut writer = Writer::new(&mut bytes);
            bits.iter().for_each(|&b| assert_eq!(writer.bit(b, p), b));
            writer.finish();
            let mut reader = Reader::new(&bytes[1..]);
            bits.iter().enumerate().for_each(|(i, &b)| assert_eq!(reader.bit(false, p), b, "p {p} bit {i}"));
        }
    }

    #[test]
    fn length_is_within_a_thousandth_of_the_entropy() {
        let mut seed = 1;
        let (mut bytes, mut ideal) = (Vec::new(), 0.0);
        let mut writer = Writer::new(&mut bytes);
        for _ in 0..200_000 {
            let p = (random(&mut seed) % 65_535 + 1) as u16;
            let bit = (random(&mut seed) & 0xFFFF) < u64::from(p);
            ideal -= (f64::from(if bit { u32::from(p) } else { 65_536 - u32::from(p) }) / 65_536.0).log2();
            writer.bit(bit, p);
        }
        writer.finish();
        let bits = bytes.len() as f64 * 8.0;
        assert!(bits < ideal * 1.001 + 16.0, "{bits} bits for {ideal}");
    }

    #[test]
    fn a_carry_runs_through_bytes_of_ones() {
        // Many improbable-looking decisions near the top of the interval force long carry chains.
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        let bits: Vec<bool> = (0..5000).map(|i| i % 1000 == 999).collect();
        bits.iter().for_each(|&b| {
            writer.bit(b, 3);
        });
        writer.finish();
        let mut reader = Reader::new(&bytes);
        assert!(bits.iter().all(|&b| reader.bit(false, 3) == b));
    }

    #[test]
    fn recorded_decisions_take_the_bytes_that_were_foretold() {
        let mut seed = 3;
        let mut recorder = Recorder::default();
        let mut direct = Vec::new();
        let mut writer = Writer::new(&mut direct);
        for _ in 0..50_000 {
            let p = (random(&mut seed) % 65_535 + 1) as u16;
            let bit = (random(&mut seed) & 0xFFFF) < u64::from(p);
            writer.bit(recorder.bit(bit, p), p);
        }
        writer.finish();
        let foretold = recorder.bytes();
        let mut replayed = Vec::new();
        let mut writer = Writer::new(&mut replayed);
        recorder.replay(&mut writer);
        writer.finish();
        assert_eq!(replayed, direct);
        assert!(foretold.abs_diff(direct.len()) < direct.len() / 200, "{foretold}, {}", direct.len());
        assert_eq!(recorder.bytes(), 0);
    }

    #[test]
    fn no_decisions_take_no_bytes() {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes).finish();
        assert!(bytes.is_empty());
    }
}
