//! Which statistics the encoder signals, and when.

use super::Encoder;
use crate::bitstream::picture::Pair;
use crate::quantiser;
use crate::reduction::relevance;
use crate::statistics::{self, MeanStd, StatisticsMode};
use crate::tensor::TensorRef;

impl Encoder {
    /// Whether the statistics of this frame have to be signalled, apart from random access.
    pub(super) fn refresh_is_due(&self) -> bool {
        let period = self.config.stats_period;
        match self.config.statistics {
            StatisticsMode::None => false,
            StatisticsMode::Ecs => true,
            _ if period > 0 && self.since_refresh >= period => true,
            mode => self.config.stats_threshold > 0.0 && self.drift(mode) > f64::from(self.config.stats_threshold),
        }
    }

    /// Largest change of a mean or standard deviation against what was signalled, in standard deviations.
    fn drift(&self, mode: StatisticsMode) -> f64 {
        if mode == StatisticsMode::Simplified {
            let now = statistics::aggregate(self.measured.layers.iter().copied());
            return self.held.first().map_or(f64::INFINITY, |then| then.drift(now));
        }
        self.measured.layers.iter().zip(&self.held).map(|(&now, then)| then.drift(now)).fold(0.0, f64::max)
    }

    /// Takes the measured statistics as those to be signalled.
    pub(super) fn update_signalled(&mut self, tensors: &[TensorRef<'_>], random_access: bool) {
        let mode = self.config.statistics;
        let (pair, narrow) = (Pair::wide, Pair::narrow);
        let whole = statistics::aggregate(self.measured.layers.iter().copied());
        let derived = quantiser::reference_scale(whole.std_dev);
        let s = &mut self.signalled;
        s.fused.clear();
        s.layers.clear();
        s.peaks.clear();
        self.held.clear();
        match mode {
            StatisticsMode::ZScore => self.held.extend(self.measured.layers.iter().map(|&m| pair(m))),
            StatisticsMode::Simplified => self.held.push(narrow(whole)),
            StatisticsMode::Ecs | StatisticsMode::None => {}
        }
        match mode {
            StatisticsMode::ZScore | StatisticsMode::Simplified if self.sequence.relevance => {
                let relevance = &self.levels.relevance;
                let fused = measure_regions(self.measured.fused, relevance::plane_moments(&self.planes, relevance));
                let layers = self.measured.layers.iter().enumerate();
                let layers = layers.map(|(n, &m)| {
                    measure_regions(m, self.forward.grid().region_sums(n, tensors[n], m.mean as f32, relevance))
                });
                let layers: Vec<[MeanStd; 2]> = layers.collect();
                for region in 0..2 {
                    match mode {
                        StatisticsMode::ZScore => {
                            s.fused.push(pair(fused[region]));
                            s.layers.extend(layers.iter().map(|m| pair(m[region])));
                        }
                        _ => {
                            s.fused.push(narrow(fused[region]));
                            s.layers.push(narrow(statistics::aggregate(layers.iter().map(|m| m[region]))));
                        }
                    }
                }
            }
            StatisticsMode::ZScore => {
                s.fused.push(pair(self.measured.fused));
                s.layers.extend_from_slice(&self.held);
            }
            StatisticsMode::Simplified => {
                s.fused.push(narrow(self.measured.fused));
                s.layers.extend_from_slice(&self.held);
            }
            StatisticsMode::Ecs => s.peaks.extend_from_slice(&self.peaks),
            StatisticsMode::None => {}
        }
        s.reference_scale = match self.config.reference_scale {
            _ if !random_access => None,
            Some(scale) => Some(scale),
            // Two regions do not tell the scale of the whole.
            None if !s.layers.is_empty() && !self.sequence.relevance => None,
            None => Some(derived),
        };
    }

    /// Raises the statistics of the fused tensor that were just taken by the gain of a frame of `qp`.
    pub(super) fn raise_fused(&mut self, qp: u8) {
        let gain = f64::from(self.gain.at(qp));
        let pair = if self.config.statistics == StatisticsMode::Simplified { Pair::narrow } else { Pair::wide };
        for fused in &mut self.signalled.fused {
            let MeanStd { mean, std_dev } = MeanStd::from(*fused);
            *fused = pair(MeanStd { mean: gain * mean, std_dev: gain * std_dev });
        }
    }
}

/// Statistics of both regions; a region without values takes those of the whole.
fn measure_regions(whole: MeanStd, regions: [relevance::RegionSums; 2]) -> [MeanStd; 2] {
    regions.map(|r| r.mean_std().unwrap_or(whole))
}
