//! How far layers should be restored: features as a decoder gives them at each strength, for someone to judge by what they are for.
//!
//! The rate does not depend on the strength. So features of the calibration data are coded at a few qualities, restored at each strength,
//! and shown to the task; the fullest strength at which it does about as well as at the best is the transform's (docs/experiments.md).

use crate::decoder::{Decoder, DecoderConfig};
use crate::encoder::{Encoder, EncoderConfig, FrameRequest, RateControl};
use crate::error::Error;
use crate::reduction::Transform;
use crate::refinement::RestorationStrength;
use crate::tensor::{Dtype, Layout, TensorMut, TensorRef};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::sync::Arc;

/// Strengths that are tried, in sixteenths, the fullest first.
const STRENGTHS: [u8; 5] = [16, 12, 8, 4, 0];
/// Qualities: where accuracy falls.
const QPS: [u8; 4] = [24, 28, 32, 36];
/// By how much a weaker restoration must do better, in scores of one variant: smaller gains are noise of the calibration pictures, and what
/// is small in other pictures needs its contrast.
const MARGIN: f64 = 0.01;

/// Restores features of one layout at every strength.
pub struct RestorationTrial {
    transform: Arc<Transform>,
    layout: Layout,
    restored: Vec<Vec<f32>>,
    narrow: Vec<f16>,
}

impl RestorationTrial {
    /// Strengths times qualities: how often [`Self::each`] gives features.
    pub const VARIANTS: usize = STRENGTHS.len() * QPS.len();

    /// For features of `layout`, coded with `transform`.
    pub fn new(transform: &Transform, layout: Layout) -> Self {
        let restored = layout.layers().iter().map(|l| vec![0.0; l.shape.elements() as usize]).collect();
        Self { transform: Arc::new(transform.clone()), layout, restored, narrow: Vec::new() }
    }

    /// Codes one feature set and gives every variant of what is restored of it to `take`, with its number.
    ///
    /// # Errors
    /// As [`Encoder::new`] and [`Encoder::encode`], and those of `take`.
    pub fn each<E: From<Error>>(
        &mut self,
        tensors: &[TensorRef<'_>],
        mut take: impl FnMut(usize, &[Vec<f32>]) -> Result<(), E>,
    ) -> Result<(), E> {
        for (q, qp) in QPS.into_iter().enumerate() {
            let config = EncoderConfig {
                rate_control: RateControl::ConstantQp(qp),
                transform: Some(self.transform.clone()),
                ..EncoderConfig::default()
            };
            let mut unit = Vec::new();
            Encoder::new(config, self.layout.clone())?.encode(tensors, FrameRequest::default(), &mut unit)?;
            let transforms = vec![self.transform.clone()];
            let mut decoder = Decoder::new(DecoderConfig { transforms, ..DecoderConfig::default() })?;
            decoder.decode(&unit)?;
            for (s, strength) in strengths().enumerate() {
                let frame = decoder.restored_by(strength)?;
                for (n, (layer, to)) in self.layout.layers().iter().zip(&mut self.restored).enumerate() {
                    match layer.dtype {
                        Dtype::F32 => frame.write(n, TensorMut::F32(to))?,
                        Dtype::F16 => {
                            self.narrow.resize(to.len(), f16::ZERO);
                            frame.write(n, TensorMut::F16(&mut self.narrow))?;
                            self.narrow.convert_to_f32_slice(to);
                        }
                    }
                }
                take(s * QPS.len() + q, &self.restored)?;
            }
        }
        Ok(())
    }

    /// The fullest strength at which variants score as they do at the best one, or less by no more than a margin. `scores` are one a
    /// variant.
    ///
    /// # Errors
    /// `InvalidInput` for another number of scores.
    pub fn choose(scores: &[f64]) -> Result<RestorationStrength, Error> {
        if scores.len() != Self::VARIANTS {
            return Err(Error::input(format!("{} scores for {} variants", scores.len(), Self::VARIANTS)));
        }
        let means = scores.chunks_exact(QPS.len()).map(|scores| scores.iter().sum::<f64>() / QPS.len() as f64);
        let means: Vec<f64> = means.collect();
        let enough = means.iter().copied().fold(f64::NEG_INFINITY, f64::max) - MARGIN;
        let mut good = strengths().zip(&means).filter(|&(_, &mean)| mean >= enough);
        Ok(good.next().map(|(strength, _)| strength).unwrap_or_default())
    }
}

fn strengths() -> impl Iterator<Item = RestorationStrength> {
    STRENGTHS.into_iter().filter_map(RestorationStrength::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduction::calibrate::Calibrator;
    use crate::tensor::{Layer, Shape};
    use crate::{Limits, MeanStd};

    /// Waves over 4 × 6 positions, four channels each.
    fn features(frame: usize) -> Vec<f32> {
        (0..96).map(|i| (i as f32 * 0.7 + frame as f32).sin() * (1.0 + (i / 24) as f32)).collect()
    }

    fn std_dev(values: &[f32]) -> f64 {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        MeanStd { mean, std_dev: (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt() }
            .std_dev
    }

    #[test]
    fn every_strength_gives_deviations_between_decoded_and_signalled() {
        for dtype in [Dtype::F32, Dtype::F16] {
            let layout = Layout::new(vec![Layer::new("", Shape::chw(4, 4, 6), dtype)], &Limits::default()).unwrap();
            let mut calibrator = Calibrator::new(layout.clone(), &Limits::default()).unwrap();
            let narrow: Vec<Vec<f16>> = (0..8).map(|n| features(n).into_iter().map(f16::from_f32).collect()).collect();
            let wide: Vec<Vec<f32>> = (0..8).map(features).collect();
            let tensor = |n: usize| match dtype {
                Dtype::F32 => TensorRef::F32(&wide[n]),
                Dtype::F16 => TensorRef::F16(&narrow[n]),
            };
            (0..8).for_each(|n| calibrator.add(&[tensor(n)]).unwrap());
            let transform = calibrator.moments().unwrap().transform(Some(2)).unwrap();
            let mut deviations = [0.0; RestorationTrial::VARIANTS];
            let mut trial = RestorationTrial::new(&transform, layout);
            let take = |variant: usize, layers: &[Vec<f32>]| {
                deviations[variant] = std_dev(&layers[0]);
                Ok::<_, Error>(())
            };
            trial.each(&[tensor(3)], take).unwrap();
            let (original, quality) = (std_dev(&wide[3]), QPS.len() - 1);
            let by_strength: Vec<f64> = (0..STRENGTHS.len()).map(|s| deviations[s * QPS.len() + quality]).collect();
            assert!((by_strength[0] / original - 1.0).abs() < 1e-2, "in full: {by_strength:?}, {original}");
            let last = by_strength[STRENGTHS.len() - 1];
            assert!((last / original - 1.0).abs() > 1e-2, "as decoded: {by_strength:?}, {original}");
            let distances = by_strength.windows(2).map(|w| (w[1] - original).abs() - (w[0] - original).abs());
            assert!(distances.into_iter().all(|d| d > 0.0), "{by_strength:?}, {original}");
        }
    }

    #[test]
    fn the_fullest_is_taken_unless_a_weaker_one_scores_better_by_the_margin() {
        let mut scores = vec![1.0; RestorationTrial::VARIANTS];
        let chosen = |scores: &[f64]| RestorationTrial::choose(scores).map(RestorationStrength::sixteenths);
        assert_eq!(chosen(&scores).unwrap(), 16);
        let qps = QPS.len();
        scores[2 * qps + 1] += 0.9 * MARGIN * qps as f64;
        assert_eq!(chosen(&scores).unwrap(), 16, "less than the margin better");
        scores[2 * qps + 2] += 0.2 * MARGIN * qps as f64;
        assert_eq!(chosen(&scores).unwrap(), STRENGTHS[2]);
        scores[4 * qps] += 2.0 * MARGIN * qps as f64;
        assert_eq!(chosen(&scores).unwrap(), STRENGTHS[2], "the last is best, but by less than the margin");
        scores[4 * qps] += 2.0 * MARGIN * qps as f64;
        assert_eq!(chosen(&scores).unwrap(), STRENGTHS[4]);
        assert!(RestorationTrial::choose(&scores[1..]).is_err());
    }
}
