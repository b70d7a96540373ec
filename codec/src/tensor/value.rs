//! Values as they lie in memory, to be computed with as binary32.

use half::f16;

/// A value of a tensor.
pub trait Value: Copy + Send + Sync + 'static {
    /// Zero.
    const ZERO: Self;
    /// Whether it is binary32 already.
    const WIDE: bool;

    /// The same value as binary32.
    fn widen(self) -> f32;
}

impl Value for f32 {
    const ZERO: Self = 0.0;
    const WIDE: bool = true;

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Value for f16 {
    const ZERO: Self = f16::ZERO;
    const WIDE: bool = false;

    /// `half`'s conversion asks what the machine can do at every call, which no loop over it can be made of vectors with.
    #[inline(always)]
    fn widen(self) -> f32 {
        /// 2^112, the difference of the biases.
        const REBIAS: f32 = f32::from_bits((112 + 127) << 23);
        let bits = u32::from(self.to_bits());
        // Exponent and fraction go where binary32 has them. That is right for subnormal values too.
        let magnitude = f32::from_bits((bits & 0x7fff) << 13) * REBIAS;
        let infinite = if bits & 0x7c00 == 0x7c00 { f32::INFINITY.to_bits() } else { 0 };
        f32::from_bits(magnitude.to_bits() | infinite | (bits & 0x8000) << 16)
    }
}

/// The first value that is not finite, and where it is.
pub fn first_wild<T: Value>(values: &[T]) -> Option<(usize, f32)> {
    values.iter().map(|v| v.widen()).enumerate().find(|(_, v)| !v.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_binary16_is_widened_as_the_half_crate_does() {
        for bits in 0..=u16::MAX {
            let (value, expected) = (f16::from_bits(bits).widen(), f16::from_bits(bits).to_f32());
            assert!(
                value.to_bits() == expected.to_bits() || value.is_nan() && expected.is_nan(),
                "{bits:#06x}: {value}"
            );
        }
    }
}
