//! Sum, sum of squares and maximum of many values in one pass at memory speed.
//!
//! Values are taken relative to a pivot near their mean, so that squares do not cancel; 32 lanes of binary32 sums are folded into
//! binary64 every 4096 values.

use pulp::Arch;

const WIDTH: usize = 32;
const FOLD: usize = 4096;

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
        Arch::new().dispatch(
            #[inline(always)]
            || self.add_inline(values),
        );
    }

    /// [`Self::add`] for callers that are dispatched themselves.
    #[inline(always)]
    pub fn add_inline(&mut self, values: &[f32]) {
        let pivot = self.pivot as f32;
        for chunk in values.chunks(FOLD) {
            let (mut sum, mut squares, mut max) = ([0f32; WIDTH], [0f32; WIDTH], [f32::NEG_INFINITY; WIDTH]);
            let mut groups = chunk.chunks_exact(WIDTH);
            for group in &mut groups {
                for i in 0..WIDTH {
                    let v = group[i] - pivot;
                    sum[i] += v;
                    squares[i] += v * v;
                    max[i] = if group[i] > max[i] { group[i] } else { max[i] };
                }
            }
            for (i, &value) in groups.remainder().iter().enumerate() {
                let v = value - pivot;
                sum[i] += v;
                squares[i] += v * v;
                max[i] = if value > max[i] { value } else { max[i] };
            }
            self.sum += sum.iter().map(|&v| f64::from(v)).sum::<f64>();
            self.squares += squares.iter().map(|&v| f64::from(v)).sum::<f64>();
            self.max = max.iter().fold(self.max, |a, &b| a.max(b));
        }
        self.count += values.len() as u64;
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
