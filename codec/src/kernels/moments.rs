//! Sum, sum of squares and maximum of many values in one pass at memory speed.
//!
//! Values are taken relative to a pivot near their mean, so that squares do not cancel; 32 lanes of binary32 sums are folded into
//! binary64 every 16,384 values.

use crate::tensor::value::Value;
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
    pub fn add<T: Value>(&mut self, values: &[T]) {
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

struct Add<'a, T> {
    moments: &'a mut Moments,
    values: &'a [T],
}

impl<T: Value> WithSimd for Add<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { moments, values } = self;
        for chunk in values.chunks(FOLD) {
            let (groups, rest) = chunk.as_chunks::<WIDTH>();
            let mut lanes = Lanes { sum: [0.0; WIDTH], squares: [0.0; WIDTH], max: [f32::NEG_INFINITY; WIDTH] };
            // The same 32 lanes whatever the width of the machine's vectors, so the sums are the same too.
            match S::F32_LANES {
                16 => lanes.add::<T, S, 2>(simd, groups, moments.pivot as f32),
                8 => lanes.add::<T, S, 4>(simd, groups, moments.pivot as f32),
                4 => lanes.add::<T, S, 8>(simd, groups, moments.pivot as f32),
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
    fn add<T: Value, S: Simd, const V: usize>(&mut self, simd: S, groups: &[[T; WIDTH]], pivot: f32) {
        let pivot = simd.splat_f32s(pivot);
        let mut sum = [simd.splat_f32s(0.0); V];
        let mut squares = sum;
        let mut max = [simd.splat_f32s(f32::NEG_INFINITY); V];
        for group in groups {
            let mut wide = [0.0; WIDTH];
            wide.iter_mut().zip(group).for_each(|(wide, value)| *wide = value.widen());
            let (vectors, _) = S::as_simd_f32s(&wide);
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
    fn add_rest<T: Value>(&mut self, values: &[T], pivot: f32) {
        for (i, value) in values.iter().map(|v| v.widen()).enumerate() {
            let v = value - pivot;
            self.sum[i] += v;
            self.squares[i] += v * v;
            self.max[i] = if value > self.max[i] { value } else { self.max[i] };
        }
    }
}

/// Sums of values in two parts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Split {
    /// Σ (v − pivot) of each part.
    pub sums: [f64; 2],
    /// Σ (v − pivot)² of each part.
    pub squares: [f64; 2],
}

/// Adds `values`, at most [`FOLD`]; those whose share is 1 are of the second part, those whose share is 0 of the first. To be called in a
/// loop that has been dispatched to the machine's instructions.
#[inline(always)]
pub fn add_split<T: Value>(split: &mut Split, values: &[T], shares: &[f32], pivot: f32) {
    let mut lanes = [[0f32; WIDTH]; 4];
    let mut add = |values: &[T], shares: &[f32]| {
        for (i, (value, share)) in values.iter().zip(shares).enumerate() {
            let v = value.widen() - pivot;
            let (second, square) = (share * v, v * v);
            lanes[0][i] += v - second;
            lanes[1][i] += second;
            lanes[2][i] += square - second * v;
            lanes[3][i] += second * v;
        }
    };
    let ((groups, rest), (shares, shares_rest)) = (values.as_chunks::<WIDTH>(), shares.as_chunks::<WIDTH>());
    groups.iter().zip(shares).for_each(|(group, shares)| add(group, shares));
    add(rest, shares_rest);
    let total = |lanes: &[f32]| lanes.iter().map(|&v| f64::from(v)).sum::<f64>();
    for part in 0..2 {
        split.sums[part] += total(&lanes[part]);
        split.squares[part] += total(&lanes[2 + part]);
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
