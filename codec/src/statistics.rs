//! Global statistics of a tensor: mean and population standard deviation over all of its values.

use crate::bitstream::picture::Pair;
use crate::error::Error;
use crate::kernels::moments::Moments;
use crate::tensor::value::{Value, first_wild};

/// Mean and population standard deviation of all values of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MeanStd {
    /// Mean.
    pub mean: f64,
    /// Standard deviation, divisor n.
    pub std_dev: f64,
}

/// Which statistics travel and what the decoder does with them (docs/bitstream.md, "Statistics").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StatisticsMode {
    /// Mean and standard deviation of every layer and of the fused tensor, binary32.
    #[default]
    ZScore,
    /// One pair for all layers and one for the fused tensor, bfloat16.
    Simplified,
    /// Energy compensation scaling: maximum minus mean of every layer of every frame, binary32.
    Ecs,
    /// Nothing is restored.
    None,
}

impl StatisticsMode {
    /// The name used in caps, properties and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            StatisticsMode::ZScore => "z-score",
            StatisticsMode::Simplified => "simplified",
            StatisticsMode::Ecs => "ecs",
            StatisticsMode::None => "none",
        }
    }

    /// Whether layers get a mean and a deviation that were signalled, of which a [`crate::RestorationStrength`] can be a part.
    pub const fn restores_deviations(self) -> bool {
        matches!(self, StatisticsMode::ZScore | StatisticsMode::Simplified)
    }

    /// All modes, default first.
    pub const ALL: [StatisticsMode; 4] = [Self::ZScore, Self::Simplified, Self::Ecs, Self::None];
}

impl std::str::FromStr for StatisticsMode {
    type Err = crate::Error;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|m| m.name() == s).ok_or_else(|| {
            crate::Error::config(format!("statistics mode {s:?}, legal are z-score, simplified, ecs, none"))
        })
    }
}

/// Statistics of one frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FrameStatistics {
    /// One pair a layer, in order.
    pub layers: Vec<MeanStd>,
    /// Of the fused tensor.
    pub fused: MeanStd,
}

/// Measures `values` of layer `n`.
///
/// # Errors
/// `InvalidInput` for NaN or an infinity; the message has layer and index.
pub(crate) fn measure<T: Value>(n: usize, name: &str, values: &[T]) -> Result<Moments, Error> {
    let pivot = values.first().map_or(0.0, |v| v.widen());
    let mut moments = Moments::new(if pivot.is_finite() { pivot } else { 0.0 });
    moments.add(values);
    if moments.sum.is_finite() && moments.squares.is_finite() {
        return Ok(moments);
    }
    if let Some((at, value)) = first_wild(values) {
        return Err(Error::input(format!("layer {n} ({name:?}) holds {value} at index {at}")));
    }
    sum_wide(&mut moments, values.iter().map(|v| v.widen()));
    Ok(moments)
}

/// Sums of finite values whose differences or squares are beyond binary32: rare enough to be slow.
fn sum_wide(moments: &mut Moments, values: impl Iterator<Item = f32> + Clone) {
    let pivot = moments.pivot;
    moments.sum = values.clone().map(|v| f64::from(v) - pivot).sum();
    moments.squares = values.map(|v| (f64::from(v) - pivot).powi(2)).sum();
}

/// Measures the planes of a fused tensor. Where the reduction of huge values has left binary32, the planes are made finite.
pub(crate) fn measure_planes(planes: &mut [f32]) -> Moments {
    let mut moments = Moments::new(0.0);
    moments.add(planes);
    if !(moments.sum.is_finite() && moments.squares.is_finite()) {
        for v in planes.iter_mut().filter(|v| !v.is_finite()) {
            *v = if v.is_nan() { 0.0 } else { v.clamp(f32::MIN, f32::MAX) };
        }
        sum_wide(&mut moments, planes.iter().copied());
    }
    moments
}

/// The single pair of mode `simplified`: the mean of the means and the root of the mean variance, layers counting alike.
pub(crate) fn aggregate(layers: impl ExactSizeIterator<Item = MeanStd> + Clone) -> MeanStd {
    let n = layers.len().max(1) as f64;
    let mean = layers.clone().map(|m| m.mean).sum::<f64>() / n;
    let variance = layers.map(|m| m.std_dev * m.std_dev).sum::<f64>() / n;
    MeanStd { mean, std_dev: variance.sqrt() }
}

/// Statistics of all values of two parts with `counts` values.
pub(crate) fn pooled(parts: [MeanStd; 2], counts: [f64; 2]) -> MeanStd {
    let n = (counts[0] + counts[1]).max(1.0);
    let mean = (counts[0] * parts[0].mean + counts[1] * parts[1].mean) / n;
    let squares = |i: usize| counts[i] * (parts[i].std_dev.powi(2) + (parts[i].mean - mean).powi(2));
    MeanStd { mean, std_dev: ((squares(0) + squares(1)) / n).max(0.0).sqrt() }
}

impl From<Pair> for MeanStd {
    fn from(pair: Pair) -> Self {
        Self { mean: f64::from(pair.mean), std_dev: f64::from(pair.std_dev) }
    }
}

impl From<&Moments> for MeanStd {
    fn from(m: &Moments) -> Self {
        Self { mean: m.mean(), std_dev: m.std_dev() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::moments::FOLD;
    use half::f16;

    #[test]
    fn nan_and_infinity_are_named_with_layer_and_index() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = vec![0.5f32; 10_000];
            values[7777] = bad;
            let error = measure(3, "p4", &values).unwrap_err();
            assert_eq!(error.to_string(), format!("layer 3 (\"p4\") holds {bad} at index 7777"));
            values[0] = bad;
            assert!(measure(3, "p4", &values).unwrap_err().to_string().ends_with("index 0"));
        }
    }

    #[test]
    fn narrow_values_have_the_moments_of_the_same_values_wide() {
        let narrow: Vec<f16> = (0..2 * FOLD + 77).map(|i| f16::from_f32((i as f32 * 0.37).sin() * 3.0 + 1.0)).collect();
        let wide: Vec<f32> = narrow.iter().map(|v| v.to_f32()).collect();
        assert_eq!(measure(0, "", &narrow).unwrap(), measure(0, "", &wide).unwrap());
        let bad = [f16::ONE, f16::NEG_INFINITY];
        let error = measure(2, "p5", &bad).unwrap_err();
        assert_eq!(error.to_string(), "layer 2 (\"p5\") holds -inf at index 1");
    }

    #[test]
    fn huge_finite_values_are_measured_not_refused() {
        let values = [3e38f32, -3e38, 3e38, -3e38];
        let m = MeanStd::from(&measure(0, "", &values).unwrap());
        assert!(m.mean.abs() < 1e30 && (m.std_dev / 3e38 - 1.0).abs() < 1e-6, "{m:?}");
    }
}
