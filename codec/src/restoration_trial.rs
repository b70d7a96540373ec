//! How features should be restored: as a decoder gives them in each way, for someone to judge by what they are for.
//!
//! The rate does not depend on it. So features of the calibration data are coded at a few qualities, restored in each way, and shown to the
//! task. Of these very pictures the transform leaves out less than of others, so that little restoration looks better on them than it is; the
//! preferred way has to be much worse to be given up (docs/evaluation.md).

use crate::decoder::{Decoder, DecoderConfig};
use crate::encoder::{Encoder, EncoderConfig, FrameRequest, RateControl};
use crate::error::Error;
use crate::reduction::Transform;
use crate::refinement::{Restoration, RestorationGain, RestorationStrength};
use crate::tensor::{Dtype, Layout, TensorMut, TensorRef};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::sync::Arc;

/// Ways that are tried, strength and gain in sixteenths: the preferred one, then strengths without a gain, the fullest first.
const WAYS: [(u8, u8); 4] = [(16, 20), (16, 16), (8, 16), (0, 16)];
/// Qualities, where accuracy falls; at all of them a gain is in force in full.
const QPS: [u8; 4] = [24, 28, 32, 36];
/// By how much another way must do better than the preferred one, in scores of one variant.
const LEAD: f64 = 0.125;
/// By how much a weaker one of the others must do better than a fuller one: smaller gains are noise of the calibration pictures.
const MARGIN: f64 = 0.01;

/// Restores features of one layout in every way.
pub struct RestorationTrial {
    transform: Arc<Transform>,
    layout: Layout,
    restored: Vec<Vec<f32>>,
    narrow: Vec<f16>,
}

impl RestorationTrial {
    /// Ways times qualities: how often [`Self::each`] gives features.
    pub const VARIANTS: usize = WAYS.len() * QPS.len();

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
                restoration_gain: Some(1.0),
                transform: Some(self.transform.clone()),
                ..EncoderConfig::default()
            };
            let mut unit = Vec::new();
            Encoder::new(config, self.layout.clone())?.encode(tensors, FrameRequest::default(), &mut unit)?;
            let transforms = vec![self.transform.clone()];
            let mut decoder = Decoder::new(DecoderConfig { transforms, ..DecoderConfig::default() })?;
            decoder.decode(&unit)?;
            for (w, way) in ways().enumerate() {
                let frame = decoder.restored_by(way)?;
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
                take(w * QPS.len() + q, &self.restored)?;
            }
        }
        Ok(())
    }

    /// The way that is preferred while nothing speaks against it.
    pub fn preferred() -> Restoration {
        ways().next().unwrap_or_default()
    }

    /// The preferred way, unless variants score much better in another; then the fullest of those in which they score as in the best, or less
    /// by no more than a margin. `scores` are one a variant.
    ///
    /// # Errors
    /// `InvalidInput` for another number of scores.
    pub fn choose(scores: &[f64]) -> Result<Restoration, Error> {
        if scores.len() != Self::VARIANTS {
            return Err(Error::input(format!("{} scores for {} variants", scores.len(), Self::VARIANTS)));
        }
        let means = scores.chunks_exact(QPS.len()).map(|scores| scores.iter().sum::<f64>() / QPS.len() as f64);
        let means: Vec<f64> = means.collect();
        let best = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if best - means[0] <= LEAD {
            return Ok(Self::preferred());
        }
        let mut good = ways().zip(&means).skip(1).filter(|&(_, &mean)| mean >= best - MARGIN);
        Ok(good.next().map(|(way, _)| way).unwrap_or_default())
    }
}

/// Every way, in order.
fn ways() -> impl Iterator<Item = Restoration> {
    WAYS.into_iter().filter_map(|(strength, gain)| {
        Some(Restoration { strength: RestorationStrength::new(strength)?, gain: RestorationGain::new(gain)? })
    })
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
    fn layers_get_the_deviations_signalled_as_far_as_each_way_says() {
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
            let mut firsts = [0.0; RestorationTrial::VARIANTS];
            let take = |variant: usize, layers: &[Vec<f32>]| {
                deviations[variant] = std_dev(&layers[0]);
                firsts[variant] = layers[0][0];
                Ok::<_, Error>(())
            };
            trial.each(&[tensor(3)], take).unwrap();
            let (original, quality) = (std_dev(&wide[3]), QPS.len() - 1);
            let distances: Vec<f64> =
                (0..WAYS.len()).map(|way| (deviations[way * QPS.len() + quality] / original - 1.0).abs()).collect();
            assert_ne!(firsts[quality], firsts[QPS.len() + quality], "a gain changes values");
            assert!(distances[0] < 1e-2 && distances[1] < 1e-2, "in full, whatever the gain: {distances:?}");
            assert!(distances[1..].windows(2).all(|w| w[1] > w[0]), "{distances:?}");
            assert!(distances[3] > 1e-2, "as decoded: {distances:?}");
        }
    }

    #[test]
    fn the_preferred_way_is_taken_unless_another_leads_by_much() {
        let mut scores = vec![1.0; RestorationTrial::VARIANTS];
        let qps = QPS.len();
        assert_eq!(chosen(&scores), WAYS[0]);
        scores[3 * qps] += 0.9 * LEAD * qps as f64;
        assert_eq!(chosen(&scores), WAYS[0]);
        scores[3 * qps + 1] += 0.2 * LEAD * qps as f64;
        assert_eq!(chosen(&scores), WAYS[3]);
        assert!(RestorationTrial::choose(&scores[1..]).is_err());
        assert_eq!(chosen(&[0.0; RestorationTrial::VARIANTS]), WAYS[0], "nothing to judge by");
    }

    #[test]
    fn of_the_others_the_fullest_is_taken_that_a_weaker_one_does_not_beat_by_the_margin() {
        let mut scores = vec![1.0; RestorationTrial::VARIANTS];
        let qps = QPS.len();
        scores[..qps].fill(0.0);
        assert_eq!(chosen(&scores), WAYS[1]);
        scores[2 * qps + 1] += 0.9 * MARGIN * qps as f64;
        assert_eq!(chosen(&scores), WAYS[1], "less than the margin better");
        scores[2 * qps + 2] += 0.2 * MARGIN * qps as f64;
        assert_eq!(chosen(&scores), WAYS[2]);
    }

    fn chosen(scores: &[f64]) -> (u8, u8) {
        let Restoration { strength, gain } = RestorationTrial::choose(scores).unwrap();
        (strength.sixteenths(), gain.sixteenths())
    }
}
