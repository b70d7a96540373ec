//! Min–max normalisation and the floor quantiser of FCTM, in binary32 as there.

/// Smallest and largest value of a fused tensor.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Range {
    /// Smallest.
    pub min: f32,
    /// Largest, not below `min`.
    pub max: f32,
}

/// Largest level of `depth` bits.
pub const fn top(depth: u8) -> u16 {
    ((1u32 << depth) - 1) as u16
}

impl Range {
    /// Range of finite `values`; both 0 of none.
    pub fn of(values: &[f32]) -> Self {
        const LANES: usize = 16;
        let (groups, rest) = values.as_chunks::<LANES>();
        let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        for group in groups {
            for ((low, high), &v) in low.iter_mut().zip(&mut high).zip(group) {
                // Not f32::min: its rules for NaN, which no value is, keep loops from becoming vector instructions.
                *low = if v < *low { v } else { *low };
                *high = if v > *high { v } else { *high };
            }
        }
        let min = low.iter().chain(rest).fold(f32::INFINITY, |a, &b| a.min(b));
        let max = high.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        if min <= max { Self { min, max } } else { Self::default() }
    }

    /// The level of `value`: ⌊clamp((value − min)/(max − min), 0, 1) · top⌋.
    pub fn level(&self, value: f32, top: u16) -> u16 {
        let span = self.max - self.min;
        if !span.is_finite() {
            // Half of both keeps the difference within binary32.
            return floor((value / 2.0 - self.min / 2.0) / (self.max / 2.0 - self.min / 2.0), top);
        }
        if span > 0.0 { floor((value - self.min) / span, top) } else { 0 }
    }

    /// The level that stands for 0, within the levels there are.
    pub fn zero(&self, top: u16) -> u16 {
        let span = f64::from(self.max) - f64::from(self.min);
        if span > 0.0 {
            (-f64::from(self.min) / span * f64::from(top) + 0.5).floor().clamp(0.0, top.into()) as u16
        } else {
            0
        }
    }

    /// What one level is worth.
    pub fn step(&self, top: u16) -> f64 {
        (f64::from(self.max) - f64::from(self.min)) / f64::from(top)
    }
}

#[inline(always)]
fn floor(u: f32, top: u16) -> u16 {
    // Not below 0, so cutting the fraction off is rounding down.
    (u.clamp(0.0, 1.0) * f32::from(top)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_rounded_down_as_in_fctm() {
        let range = Range::of(&[-1.0, 0.25, 3.0]);
        assert_eq!(range, Range { min: -1.0, max: 3.0 });
        // 0 lies at a quarter: 255.75, which rounding to the nearest would make 256.
        for (value, level) in [(-1.0, 0), (0.0, 255), (1.0, 511), (2.999, 1022), (3.0, 1023), (9.0, 1023), (-9.0, 0)] {
            assert_eq!(range.level(value, top(10)), level, "{value}");
        }
        assert_eq!((range.level(0.0, top(8)), range.level(3.0, top(8))), (63, 255));
        assert_eq!(range.zero(top(10)), 256);
        assert!((range.step(top(10)) - 4.0 / 1023.0).abs() < 1e-12);
    }

    #[test]
    fn constant_and_huge_values_have_levels_too() {
        let flat = Range::of(&[2.5; 40]);
        assert_eq!((flat.level(2.5, 1023), flat.zero(1023), flat.step(1023)), (0, 0, 0.0));
        let huge = Range::of(&[-3e38, 3e38]);
        assert_eq!((huge.level(-3e38, 1023), huge.level(0.0, 1023), huge.level(3e38, 1023)), (0, 511, 1023));
        assert_eq!(Range::of(&[]), Range::default());
        let positive = Range { min: 1.0, max: 2.0 };
        assert_eq!(positive.zero(1023), 0);
        assert_eq!(Range { min: -2.0, max: -1.0 }.zero(1023), 1023);
    }

    #[test]
    fn the_range_is_found_wherever_its_ends_lie() {
        let mut values = vec![0.0; 37];
        for at in 0..37 {
            values.fill(0.0);
            values[at] = -1.0;
            values[(at + 5) % 37] = 2.0;
            assert_eq!(Range::of(&values), Range { min: -1.0, max: 2.0 }, "{at}");
        }
    }
}
