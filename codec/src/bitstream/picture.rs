//! The picture parameter set: statistics and reference scale (docs/bitstream.md §4.2).

use super::bytes::Cursor;
use crate::error::{Error, Result};
use crate::quantiser;
use crate::statistics::{MeanStd, StatisticsMode};
use half::bf16;

/// Mean and standard deviation as they travel.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pair {
    /// Mean.
    pub mean: f32,
    /// Standard deviation.
    pub std_dev: f32,
}

impl Pair {
    /// As binary32, within its range: a stream holds finite statistics only, whatever finite values the features have.
    pub fn wide(m: MeanStd) -> Self {
        let wide = |v: f64| v.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
        Self { mean: wide(m.mean), std_dev: wide(m.std_dev) }
    }

    /// As bfloat16, within its range.
    pub fn narrow(m: MeanStd) -> Self {
        let narrow = |v: f64| bf16::from_f64(v.clamp(bf16::MIN.to_f64(), bf16::MAX.to_f64())).to_f32();
        Self { mean: narrow(m.mean), std_dev: narrow(m.std_dev) }
    }

    /// How far `now` is from these statistics, in their standard deviations: the larger of the changes of mean and deviation.
    pub fn drift(&self, now: MeanStd) -> f64 {
        let unit = f64::from(self.std_dev).max(1e-12);
        let mean = (now.mean - f64::from(self.mean)).abs() / unit;
        mean.max((now.std_dev / unit - 1.0).abs())
    }
}

/// Parameters that hold from the frame they come with until the next set.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PictureParameters {
    /// Scale that quantiser steps are relative to, where it does not follow from the statistics.
    pub reference_scale: Option<f32>,
    /// Of the fused tensor (modes z-score and simplified), one pair a region.
    pub fused: Vec<Pair>,
    /// Region after region; mode z-score: of every layer, mode simplified: one pair for all.
    pub layers: Vec<Pair>,
    /// Mode ecs: maximum minus mean of every layer.
    pub peaks: Vec<f32>,
}

impl PictureParameters {
    /// Reads a payload into `self`; `explicit_scale` is bit 0 of the unit's nibble, `regions` how many regions have
    /// statistics of their own.
    ///
    /// # Errors
    /// `Corruption` for a value that is not finite or a negative deviation, `InsufficientData`.
    pub fn parse(
        &mut self,
        payload: &[u8],
        mode: StatisticsMode,
        layers: usize,
        regions: usize,
        explicit_scale: bool,
    ) -> Result<()> {
        let mut c = Cursor::new(payload);
        self.reference_scale = explicit_scale.then(|| c.f32()).transpose()?;
        if self.reference_scale.is_some_and(|s| !(s.is_finite() && s > 0.0)) {
            return Err(Error::corrupt(format!("a reference scale of {:?}", self.reference_scale)));
        }
        self.fused.clear();
        self.layers.clear();
        self.peaks.clear();
        match mode {
            StatisticsMode::ZScore => {
                for _ in 0..regions {
                    self.fused.push(pair(c.f32()?, c.f32()?)?);
                }
                for _ in 0..layers * regions {
                    self.layers.push(pair(c.f32()?, c.f32()?)?);
                }
            }
            StatisticsMode::Simplified => {
                for _ in 0..regions {
                    self.fused.push(pair(c.bf16()?, c.bf16()?)?);
                }
                for _ in 0..regions {
                    self.layers.push(pair(c.bf16()?, c.bf16()?)?);
                }
            }
            StatisticsMode::Ecs => {
                for n in 0..layers {
                    let peak = c.f32()?;
                    if !(peak.is_finite() && peak >= 0.0) {
                        return Err(Error::corrupt(format!("layer {n} with maximum minus mean {peak}")));
                    }
                    self.peaks.push(peak);
                }
            }
            StatisticsMode::None => {}
        }
        c.finish("a picture parameter set")
    }

    /// The scale that quantiser steps are relative to: the one sent, or that of the signalled layers.
    pub fn reference_scale(&self) -> f32 {
        self.reference_scale.unwrap_or_else(|| {
            let pairs = self.layers.iter().map(|p| f64::from(p.std_dev) * f64::from(p.std_dev));
            quantiser::reference_scale((pairs.sum::<f64>() / self.layers.len().max(1) as f64).sqrt())
        })
    }

    /// Appends the payload that [`Self::parse`] reads.
    pub fn write(&self, mode: StatisticsMode, out: &mut Vec<u8>) {
        if let Some(scale) = self.reference_scale {
            out.extend_from_slice(&scale.to_le_bytes());
        }
        let narrow = mode == StatisticsMode::Simplified;
        let mut push = |v: f32| match narrow {
            true => out.extend_from_slice(&bf16::from_f32(v).to_le_bytes()),
            false => out.extend_from_slice(&v.to_le_bytes()),
        };
        for p in self.fused.iter().chain(&self.layers) {
            push(p.mean);
            push(p.std_dev);
        }
        self.peaks.iter().for_each(|&p| push(p));
    }
}

fn pair(mean: f32, std_dev: f32) -> Result<Pair> {
    if mean.is_finite() && std_dev.is_finite() && std_dev >= 0.0 {
        Ok(Pair { mean, std_dev })
    } else {
        Err(Error::corrupt(format!("statistics with mean {mean} and standard deviation {std_dev}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_takes_64_bits_a_layer_and_64_for_the_fused_tensor() {
        let one = Pair { mean: 0.5, std_dev: 2.0 };
        let parameters = PictureParameters { fused: vec![one], layers: vec![one; 3], ..Default::default() };
        let mut bytes = Vec::new();
        parameters.write(StatisticsMode::ZScore, &mut bytes);
        assert_eq!(bytes.len() * 8, 64 * 4);
        assert_eq!(bytes[..8], [0, 0, 0, 0x3F, 0, 0, 0, 0x40]);
        let mut read = PictureParameters::default();
        read.parse(&bytes, StatisticsMode::ZScore, 3, 1, false).unwrap();
        assert_eq!(read, parameters);
        let twice = PictureParameters { fused: vec![one; 2], layers: vec![one; 6], ..Default::default() };
        bytes.clear();
        twice.write(StatisticsMode::ZScore, &mut bytes);
        assert_eq!(bytes.len() * 8, 2 * 64 * 4);
        read.parse(&bytes, StatisticsMode::ZScore, 3, 2, false).unwrap();
        assert_eq!(read, twice);
    }

    #[test]
    fn simplified_rounds_to_the_nearest_even_bfloat16() {
        let p = |mean| PictureParameters {
            fused: vec![Pair { mean, std_dev: 1.0 }],
            layers: vec![Pair { mean: 0.0, std_dev: 1.0 }],
            ..Default::default()
        };
        // 1 + 2^-8 lies between 1 and 1 + 2^-7: the even one is 1. 1 + 3·2^-8 goes up to 1 + 2^-6.
        for (value, bits) in [(1.0 + 1.0 / 256.0, 0x3F80u16), (1.0 + 3.0 / 256.0, 0x3F82)] {
            let mut bytes = Vec::new();
            p(value).write(StatisticsMode::Simplified, &mut bytes);
            assert_eq!((bytes.len(), u16::from_le_bytes([bytes[0], bytes[1]])), (8, bits));
        }
    }

    #[test]
    fn values_that_cannot_be_statistics_are_corruption() {
        let mut p = PictureParameters::default();
        for (mean, std_dev) in [(f32::NAN, 1.0), (0.0, f32::INFINITY), (0.0, -1.0)] {
            let bytes: Vec<u8> = [0.0, 1.0, mean, std_dev].iter().flat_map(|v: &f32| v.to_le_bytes()).collect();
            assert!(p.parse(&bytes, StatisticsMode::ZScore, 1, 1, false).is_err());
        }
        assert!(p.parse(&(-1f32).to_le_bytes(), StatisticsMode::Ecs, 1, 1, false).is_err());
        assert!(p.parse(&0f32.to_le_bytes(), StatisticsMode::None, 1, 1, true).is_err());
    }
}
