//! Sum, sum of squares and maximum of many values in one pass at memory speed.
//!
//! Values are taken relative to a pivot near their mean, so that squares do not cancel; 32 lanes of binary32 sums are folded into
//! binary64 every 16,384 values.

use pulp::{Arch, Simd, WithSimd};

const WIDTH: usize = 32;
/// Values after which sums are folded: those added in parts of as many have the same moments as if added at once.
pub const FOLD: usize = 16_384;

/// Moments relative to a pivot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Values.
    pub count: u64,
    /// The pivot.
    pub pivot: f64,
    /// Σ (v − pivot).
    pub sum: f64,
    /// Σ (v − pivot)².
    pub squares: f64,
    /// Largest value.
    pub max: f32,
}

impl Moments {
    /// Nothing seen; values will be taken relative to `pivot`.
    pub fn new(pivot: f32) -> Self {
        Self { count: 0, pivot: f64::from(pivot), sum: 0.0, squares: 0.0, max: f32::NEG_INFINITY }
    }

    /// Adds `values`.
    pub fn add(&mut self, values: &[f32]) {
        Arch::new().dispatch(Add { moments: self, values });
    }

    /// Mean; 0 of nothing.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.pivot + self.sum / self.count as f64 }
    }

    /// Population standard deviation; 0 of nothing.
    pub fn std_dev(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let mean = self.sum / self.count as f64;
        (self.squares / self.count as f64 - mean * mean).max(0.0).sqrt()
    }
}

struct Add<'a> {
    moments: &'a mut Moments,
    values: &'a [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { moments, values } = self;
        for chunk in values.chunks(FOLD) {
            let (groups, rest) = chunk.as_chunks::<WIDTH>();
            let mut lanes = Lanes { sum: [0.0; WIDTH], squares: [0.0; WIDTH], max: [f32::NEG_INFINITY; WIDTH] };
            // The same 32 lanes whatever the width of the machine's vectors, so the sums are the same too.
            match S::F32_LANES {
                16 => lanes.add::<S, 2>(simd, groups, moments.pivot as f32),
                8 => lanes.add::<S, 4>(simd, groups, moments.pivot as f32),
                4 => lanes.add::<S, 8>(simd, groups, moments.pivot as f32),
                _ => groups.iter().for_each(|group| lanes.add_rest(group, moments.pivot as f32)),
            }
            lanes.add_rest(rest, moments.pivot as f32);
            moments.sum += lanes.sum.iter().map(|&v| f64::from(v)).sum::<f64>();
            moments.squares += lanes.squares.iter().map(|&v| f64::from(v)).sum::<f64>();
            moments.max = lanes.max.iter().fold(moments.max, |a, &b| a.max(b));
        }
        moments.count += values.len() as u64;
    }
}

/// Sums of every 32nd value.
struct Lanes {
    sum: [f32; WIDTH],
    squares: [f32; WIDTH],
    max: [f32; WIDTH],
}

impl Lanes {
    /// Adds whole groups, each `V` vectors. (Multiply and add are apart: fused, they would round differently where they exist.)
    #[inline(always)]
    fn add<S: Simd, const V: usize>(&mut self, simd: S, groups: &[[f32; WIDTH]], pivot: f32) {
        let pivot = simd.splat_f32s(pivot);
        let mut sum = [simd.splat_f32s(0.0); V];
        let mut squares = sum;
        let mut max = [simd.splat_f32s(f32::NEG_INFINITY); V];
        for group in groups {
            let (vectors, _) = S::as_simd_f32s(group);
            for i in 0..V {
                let v = simd.sub_f32s(vectors[i], pivot);
                sum[i] = simd.add_f32s(sum[i], v);
                squares[i] = simd.add_f32s(squares[i], simd.mul_f32s(v, v));
                max[i] = simd.max_f32s(max[i], vectors[i]);
            }
        }
        S::as_mut_simd_f32s(&mut self.sum).0.copy_from_slice(&sum);
        S::as_mut_simd_f32s(&mut self.squares).0.copy_from_slice(&squares);
        S::as_mut_simd_f32s(&mut self.max).0.copy_from_slice(&max);
    }

    /// Adds fewer values than a group has, or one group.
    #[inline(always)]
    fn add_rest(&mut self, values: &[f32], pivot: f32) {
        for (i, &value) in values.iter().enumerate() {
            let v = value - pivot;
            self.sum[i] += v;
            self.squares[i] += v * v;
            self.max[i] = if value > self.max[i] { value } else { self.max[i] };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_double_precision_even_far_from_zero() {
        for (offset, scale) in [(0.0, 1.0), (1000.0, 0.5), (-3e4, 20.0)] {
            let values: Vec<f32> =
                (0..100_003u64).map(|i| offset + scale * ((i * 7919 % 1009) as f32 / 504.5 - 1.0)).collect();
            let n = values.len() as f64;
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
            let std_dev = (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt();
            let mut moments = Moments::new(values[0]);
            moments.add(&values);
            assert!((moments.mean() - mean).abs() < 1e-6 * std_dev.max(mean.abs()), "{} {mean}", moments.mean());
            assert!((moments.std_dev() - std_dev).abs() < 1e-5 * std_dev, "{} {std_dev}", moments.std_dev());
            assert_eq!(moments.max, values.iter().copied().fold(f32::MIN, f32::max));
        }
    }

    #[test]
    fn parts_add_up_and_nothing_is_zero() {
        let values: Vec<f32> = (0..10_000).map(|i| (i as f32).sin()).collect();
        let (mut whole, mut parts) = (Moments::new(0.5), Moments::new(0.5));
        whole.add(&values);
        values.chunks(FOLD).for_each(|c| parts.add(c));
        assert_eq!(whole, parts);
        assert_eq!((Moments::new(3.0).mean(), Moments::new(3.0).std_dev()), (0.0, 0.0));
    }
}
