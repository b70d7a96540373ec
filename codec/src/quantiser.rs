//! The fixed-point domain of the fused tensor and its uniform quantiser (docs/bitstream.md §6).
//!
//! Reconstructions are integers in units of reference scale / 1024, so that prediction is exact on every machine.

use crate::inner::native::planes::{BACKGROUND, INTER, Levels, Relevance};
use crate::motion::{Compensation, Vector};
use motion_search::MotionSearch;
use pulp::Arch;
use rate_distortion::RateDistortion;

mod motion_search;
pub mod rate_distortion;

/// Units of the fixed-point domain in one reference scale.
pub const UNITS: f64 = 1024.0;
/// Largest magnitude of a value in the fixed-point domain.
pub const VALUE_MAX: i32 = 1 << 30;
/// Largest quantiser parameter.
pub const QP_MAX: u8 = 63;
/// Share of a step, counted from the next level, from which a value is rounded up.
const ROUNDING: f32 = 0.33;
/// Part of a step that costs next to nothing, when predictions are compared.
const FREE: f32 = 0.6;

/// Half of the domain, and room for rounding up to a step, so that no difference of two values leaves it.
const LIMIT: f32 = (VALUE_MAX / 2 - (STEPS[3] << 10)) as f32;

/// round(128 · 2^(i/6)). Normative.
const STEPS: [i32; 6] = [128, 144, 161, 181, 203, 228];

/// Quantiser step of `qp` in units: 128 for 0, doubled every 6.
pub fn step(qp: u8) -> i32 {
    STEPS[usize::from(qp % 6)] << (qp / 6)
}

/// Reference scale that follows from statistics of the layers: the root of their mean variance, so that one qp means the same
/// error relative to the features for any network, transform and number of components.
pub fn reference_scale(std_dev: f64) -> f32 {
    let scale = std_dev as f32;
    // Layers that are all (nearly) constant have no scale of their own.
    if scale.is_finite() && scale >= 1e-20 { scale } else { 1.0 }
}

/// Quantiser steps of a frame, in units: of relevant positions and of the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps([i32; 2]);

impl Steps {
    /// The same step everywhere.
    pub fn uniform(step: i32) -> Self {
        Self([step; 2])
    }

    /// The step of `qp`, and that of a background coded `offset` coarser, at most that of the largest qp.
    pub fn new(qp: u8, offset: u8) -> Self {
        Self([step(qp), step(qp.saturating_add(offset).min(QP_MAX))])
    }

    /// The step of positions of this relevance.
    #[inline(always)]
    pub fn of(self, relevance: Relevance) -> i32 {
        self.0[usize::from(relevance == BACKGROUND)]
    }
}

/// The encoder's quantiser with its prediction state.
#[derive(Debug)]
pub struct Quantiser {
    positions: usize,
    /// Step of each position, and its inverse.
    steps: Vec<i32>,
    inverse_steps: Vec<f32>,
    /// Reconstruction of the frame before, and after [`Self::quantise`] of this one.
    reconstruction: Vec<i32>,
    intra_cost: Vec<f32>,
    inter_cost: Vec<f32>,
    rate_distortion: Option<RateDistortion>,
    motion: Option<Motion>,
}

/// What a stream with motion needs.
#[derive(Debug)]
struct Motion {
    search: MotionSearch,
    compensation: Compensation,
}

/// From values to steps of the quantiser.
#[derive(Debug, Clone, Copy)]
pub struct Scaling<'a> {
    /// Units of the fixed-point domain in a value of one.
    pub to_units: f32,
    /// Inverse of the step of each position.
    pub inverse_steps: &'a [f32],
}

impl Quantiser {
    /// For `components` planes of `height × width` values. Levels are rounded unless there is something to weigh their bits; `motion` says
    /// whether vectors may be used.
    pub fn new(
        components: usize,
        (height, width): (usize, usize),
        rate_distortion: Option<RateDistortion>,
        motion: bool,
    ) -> Self {
        let positions = height * width;
        let motion = motion.then(|| Motion {
            search: MotionSearch::new(height, width),
            compensation: Compensation::new(height, width),
        });
        Self {
            motion,
            positions,
            steps: vec![1; positions],
            inverse_steps: vec![1.0; positions],
            reconstruction: vec![0; components * positions],
            intra_cost: vec![0.0; positions],
            inter_cost: vec![0.0; positions],
            rate_distortion,
        }
    }

    /// Reconstruction of the frame quantised last.
    pub fn reconstruction(&self) -> &[i32] {
        &self.reconstruction
    }

    /// Number of values that would not be zero at `steps` without prediction: what a frame costs, roughly, times 7 bits.
    pub fn count_nonzero(planes: &[f32], scale: f32, steps: Steps, relevance: &[Relevance]) -> usize {
        let unit = unit(scale);
        let threshold = |r| (1.0 - ROUNDING) * steps.of(r) as f32 * unit;
        let values = planes.chunks_exact(relevance.len()).flat_map(|plane| plane.iter().zip(relevance));
        values.filter(|&(v, &r)| v.abs() >= threshold(r)).count()
    }

    /// Quantises `planes`: chooses a mode for every position and a vector for every block, writes them and the levels, and keeps the
    /// reconstruction. There may be fewer planes than components: the levels of the weaker ones are then 0.
    /// The relevance in `out` says which of the `steps` a position has; `steps` of `None` is the lossless mode. Returns the
    /// number of positions that are predicted.
    pub fn quantise(
        &mut self,
        planes: &[f32],
        scale: f32,
        steps: Option<Steps>,
        random_access: bool,
        out: &mut Levels,
    ) -> usize {
        let unit = unit(scale);
        let of = |r| steps.map_or(1, |steps| steps.of(r));
        for ((step, inverse), &r) in self.steps.iter_mut().zip(&mut self.inverse_steps).zip(&out.relevance) {
            *step = of(r);
            *inverse = 1.0 / *step as f32;
        }
        if random_access {
            out.modes.fill(0);
            out.vectors.fill(Vector::STILL);
        } else {
            self.compensate(planes, unit, &mut out.vectors);
            self.choose_modes(planes, unit, &mut out.modes);
        }
        match (steps, &mut self.rate_distortion) {
            (None, _) => self.quantise_lossless(planes, unit, out),
            (Some(_), None) => {
                self.quantise_lossy(planes, unit, out);
                out.levels[planes.len()..].fill(0);
                self.reconstruct(out);
            }
            (Some(_), Some(chooser)) => {
                let scaling = Scaling { to_units: 1.0 / unit, inverse_steps: &self.inverse_steps };
                chooser.choose(planes, &self.reconstruction, scaling, out);
                self.reconstruct(out);
            }
        }
        out.modes.iter().filter(|&&m| m == INTER).count()
    }

    /// Chooses vectors, and moves the reconstruction of the frame before along them.
    fn compensate(&mut self, planes: &[f32], unit: f32, vectors: &mut [Vector]) {
        let Some(motion) = &mut self.motion else { return };
        let scaling = Scaling { to_units: 1.0 / unit, inverse_steps: &self.inverse_steps };
        motion.search.choose(planes, &self.reconstruction, scaling, vectors);
        motion.compensation.set(vectors);
        for plane in self.reconstruction.chunks_exact_mut(self.positions) {
            motion.compensation.apply(plane, |_, _| {});
        }
    }

    fn choose_modes(&mut self, planes: &[f32], unit: f32, modes: &mut [u8]) {
        let scaling = Scaling { to_units: 1.0 / unit, inverse_steps: &self.inverse_steps };
        costs_of_prediction(planes, &self.reconstruction, scaling, &mut self.intra_cost, &mut self.inter_cost);
        for ((mode, intra), inter) in modes.iter_mut().zip(&self.intra_cost).zip(&self.inter_cost) {
            *mode = u8::from(inter <= intra);
        }
    }

    fn quantise_lossy(&self, planes: &[f32], unit: f32, out: &mut Levels) {
        let to_units = 1.0 / unit;
        let n = self.positions;
        let planes =
            planes.chunks_exact(n).zip(self.reconstruction.chunks_exact(n)).zip(out.levels.chunks_exact_mut(n));
        for ((plane, before), levels) in planes {
            let values = plane.iter().zip(before).zip(levels).zip(&out.modes).zip(&self.inverse_steps);
            for ((((&v, &before), level), &mode), &inverse) in values {
                let prediction = if mode == INTER { before } else { 0 };
                let rest = ((v * to_units).clamp(-LIMIT, LIMIT) - prediction as f32) * inverse;
                let magnitude = (rest.abs() + ROUNDING) as i32;
                *level = if rest < 0.0 { -magnitude } else { magnitude };
            }
        }
    }

    /// Takes over what a decoder makes of `frame`.
    fn reconstruct(&mut self, frame: &Levels) {
        let (n, reconstruction, steps) = (self.positions, &mut self.reconstruction, &self.steps);
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (reconstruction, levels) in reconstruction.chunks_exact_mut(n).zip(frame.levels.chunks_exact(n)) {
                    for (((r, &level), &mode), &step) in
                        reconstruction.iter_mut().zip(levels).zip(&frame.modes).zip(steps)
                    {
                        *r = if mode == INTER { *r } else { 0 } + level * step;
                    }
                }
            },
        );
    }

    fn quantise_lossless(&mut self, planes: &[f32], unit: f32, out: &mut Levels) {
        let n = self.positions;
        let max = f64::from(VALUE_MAX / 2 - 1);
        let planes =
            planes.chunks_exact(n).zip(self.reconstruction.chunks_exact_mut(n)).zip(out.levels.chunks_exact_mut(n));
        for ((plane, reconstruction), levels) in planes {
            for (((&v, r), level), &mode) in plane.iter().zip(reconstruction.iter_mut()).zip(levels).zip(&out.modes) {
                let value = fixed_point(v, unit, max);
                *level = value - if mode == INTER { *r } else { 0 };
                *r = value;
            }
        }
    }
}

/// What lies beyond [`FREE`] of every position, in steps: without prediction, and predicted from the same position of `before`.
fn costs_of_prediction(planes: &[f32], before: &[i32], scaling: Scaling<'_>, intra: &mut [f32], inter: &mut [f32]) {
    let n = intra.len();
    intra.fill(0.0);
    inter.fill(0.0);
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (plane, before) in planes.chunks_exact(n).zip(before.chunks_exact(n)) {
                let values = plane.iter().zip(before).zip(scaling.inverse_steps);
                for (((&v, &r), &inverse), (intra, inter)) in values.zip(intra.iter_mut().zip(inter.iter_mut())) {
                    let v = v * scaling.to_units;
                    *intra += ((v * inverse).abs() - FREE).max(0.0);
                    *inter += (((v - r as f32) * inverse).abs() - FREE).max(0.0);
                }
            }
        },
    );
}

/// Value of one unit of the fixed-point domain.
pub fn unit(scale: f32) -> f32 {
    (f64::from(scale) / UNITS) as f32
}

fn fixed_point(v: f32, unit: f32, max: f64) -> i32 {
    (f64::from(v) / f64::from(unit)).round().clamp(-max, max) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_doubles_every_six() {
        assert_eq!((step(0), step(6), step(63)), (128, 256, 185_344));
        for qp in 0..=QP_MAX - 6 {
            assert_eq!(step(qp + 6), 2 * step(qp));
            let exact = 128.0 * 2f64.powf(f64::from(qp) / 6.0);
            assert!((f64::from(step(qp)) / exact - 1.0).abs() < 0.003, "qp {qp}");
        }
    }

    #[test]
    fn values_beyond_the_domain_are_clamped_not_wrapped() {
        let mut quantiser = Quantiser::new(1, (2, 2), None, false);
        let mut levels = Levels::new(1, 2, 2);
        for qp in [0, 31, 63] {
            let values = [1e30, -1e30, 3e38, 0.0];
            quantiser.quantise(&values, 1e-3, Some(Steps::new(qp, 0)), true, &mut levels);
            assert!(
                quantiser.reconstruction().iter().all(|&r| r.abs() <= VALUE_MAX),
                "{:?}",
                quantiser.reconstruction()
            );
            assert!(quantiser.reconstruction()[0] > VALUE_MAX / 4 && quantiser.reconstruction()[1] < -VALUE_MAX / 4);
            let opposite = values.map(|v| -v);
            quantiser.quantise(&opposite, 1e-3, Some(Steps::new(qp, 0)), false, &mut levels);
            assert!(quantiser.reconstruction()[0] < -VALUE_MAX / 4);
        }
    }

    #[test]
    fn the_background_has_the_coarser_step() {
        let steps = Steps::new(12, 6);
        assert_eq!((steps.of(0), steps.of(BACKGROUND)), (512, 1024));
        assert_eq!(Steps::new(60, 9).of(BACKGROUND), step(QP_MAX));
        let mut quantiser = Quantiser::new(1, (1, 2), None, false);
        let mut levels = Levels::new(1, 1, 2);
        levels.relevance[1] = BACKGROUND;
        quantiser.quantise(&[0.9, 0.9], 1.0, Some(steps), true, &mut levels);
        assert_eq!((levels.levels.as_slice(), quantiser.reconstruction()), (&[2, 1][..], &[1024, 1024][..]));
        assert_eq!(Quantiser::count_nonzero(&[0.5, 0.5], 1.0, steps, &levels.relevance), 1);
    }

    #[test]
    fn a_repeated_frame_is_predicted_and_has_no_levels() {
        let values: Vec<f32> = (0..60).map(|i| (i as f32 * 0.7).sin() * 5.0).collect();
        let mut quantiser = Quantiser::new(6, (2, 5), None, true);
        let mut levels = Levels::new(6, 2, 5);
        quantiser.quantise(&values, 1.0, Some(Steps::new(12, 0)), true, &mut levels);
        assert!(levels.levels.iter().any(|&l| l != 0));
        let first = quantiser.reconstruction().to_vec();
        assert_eq!(quantiser.quantise(&values, 1.0, Some(Steps::new(12, 0)), false, &mut levels), 10);
        assert!(levels.levels.iter().all(|&l| l == 0));
        assert_eq!(quantiser.reconstruction(), first);
    }
}
