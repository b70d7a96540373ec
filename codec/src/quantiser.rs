//! The fixed-point domain of the fused tensor and its uniform quantiser (docs/bitstream.md §6).
//!
//! Reconstructions are integers in units of reference scale / 1024, so that prediction is exact on every machine.

use crate::inner::native::planes::{INTER, Levels};

/// Units of the fixed-point domain in one reference scale.
pub const UNITS: f64 = 1024.0;
/// Largest magnitude of a value in the fixed-point domain.
pub const VALUE_MAX: i32 = 1 << 30;
/// Largest quantiser parameter.
pub const QP_MAX: u8 = 63;
/// Share of a step, counted from the next level, from which a value is rounded up.
const ROUNDING: f32 = 0.33;
/// Part of a step that costs next to nothing, when intra and inter prediction are compared.
const FREE: f32 = 0.6;

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

/// The encoder's quantiser with its prediction state.
#[derive(Debug)]
pub struct Quantiser {
    positions: usize,
    /// Reconstruction of the frame before, and after [`Self::quantise`] of this one.
    reconstruction: Vec<i32>,
    intra_cost: Vec<f32>,
    inter_cost: Vec<f32>,
}

impl Quantiser {
    /// For `components` planes of `positions` values.
    pub fn new(components: usize, positions: usize) -> Self {
        Self {
            positions,
            reconstruction: vec![0; components * positions],
            intra_cost: vec![0.0; positions],
            inter_cost: vec![0.0; positions],
        }
    }

    /// Reconstruction of the frame quantised last.
    pub fn reconstruction(&self) -> &[i32] {
        &self.reconstruction
    }

    /// Number of values that would not be zero at `step` without prediction: what a frame costs, roughly, times 7 bits.
    pub fn count_nonzero(planes: &[f32], scale: f32, step: i32) -> usize {
        let threshold = (1.0 - ROUNDING) * step as f32 * unit(scale);
        planes.iter().filter(|v| v.abs() >= threshold).count()
    }

    /// Quantises `planes`: chooses a mode for every position, writes modes and levels, and keeps the reconstruction.
    /// `step` of `None` is the lossless mode. Returns the number of positions that are predicted.
    pub fn quantise(
        &mut self,
        planes: &[f32],
        scale: f32,
        step: Option<i32>,
        random_access: bool,
        out: &mut Levels,
    ) -> usize {
        let unit = unit(scale);
        if random_access {
            out.modes.fill(0);
        } else {
            self.choose_modes(planes, unit, step.unwrap_or(1), &mut out.modes);
        }
        match step {
            Some(step) => self.quantise_lossy(planes, unit, step, out),
            None => self.quantise_lossless(planes, unit, out),
        }
        out.modes.iter().filter(|&&m| m == INTER).count()
    }

    fn choose_modes(&mut self, planes: &[f32], unit: f32, step: i32, modes: &mut [u8]) {
        let to_steps = 1.0 / (unit * step as f32);
        let from_units = 1.0 / step as f32;
        self.intra_cost.fill(0.0);
        self.inter_cost.fill(0.0);
        let planes = planes.chunks_exact(self.positions).zip(self.reconstruction.chunks_exact(self.positions));
        for (plane, before) in planes {
            let costs = self.intra_cost.iter_mut().zip(&mut self.inter_cost);
            for ((&v, &r), (intra, inter)) in plane.iter().zip(before).zip(costs) {
                let v = v * to_steps;
                *intra += (v.abs() - FREE).max(0.0);
                *inter += ((v - r as f32 * from_units).abs() - FREE).max(0.0);
            }
        }
        for ((mode, intra), inter) in modes.iter_mut().zip(&self.intra_cost).zip(&self.inter_cost) {
            *mode = u8::from(inter <= intra);
        }
    }

    fn quantise_lossy(&mut self, planes: &[f32], unit: f32, step: i32, out: &mut Levels) {
        let to_steps = 1.0 / (unit * step as f32);
        let from_units = 1.0 / step as f32;
        // Half of the domain, so that no difference of two values leaves it.
        let max_level = (VALUE_MAX / 2 / step) as f32;
        let n = self.positions;
        let planes =
            planes.chunks_exact(n).zip(self.reconstruction.chunks_exact_mut(n)).zip(out.levels.chunks_exact_mut(n));
        for ((plane, reconstruction), levels) in planes {
            let values = plane.iter().zip(reconstruction.iter_mut()).zip(levels).zip(&out.modes);
            for (((&v, r), level), &mode) in values {
                let prediction = if mode == INTER { *r } else { 0 };
                let v = (v * to_steps).clamp(-max_level, max_level);
                let rest = v - prediction as f32 * from_units;
                let magnitude = (rest.abs() + ROUNDING) as i32;
                *level = if rest < 0.0 { -magnitude } else { magnitude };
                *r = prediction + *level * step;
            }
        }
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
        let mut quantiser = Quantiser::new(1, 4);
        let mut levels = Levels::new(1, 4);
        for qp in [0, 31, 63] {
            let values = [1e30, -1e30, 3e38, 0.0];
            quantiser.quantise(&values, 1e-3, Some(step(qp)), true, &mut levels);
            assert!(
                quantiser.reconstruction().iter().all(|&r| r.abs() <= VALUE_MAX),
                "{:?}",
                quantiser.reconstruction()
            );
            assert!(quantiser.reconstruction()[0] > VALUE_MAX / 4 && quantiser.reconstruction()[1] < -VALUE_MAX / 4);
            let opposite = values.map(|v| -v);
            quantiser.quantise(&opposite, 1e-3, Some(step(qp)), false, &mut levels);
            assert!(quantiser.reconstruction()[0] < -VALUE_MAX / 4);
        }
    }

    #[test]
    fn a_repeated_frame_is_predicted_and_has_no_levels() {
        let values: Vec<f32> = (0..60).map(|i| (i as f32 * 0.7).sin() * 5.0).collect();
        let mut quantiser = Quantiser::new(6, 10);
        let mut levels = Levels::new(6, 10);
        quantiser.quantise(&values, 1.0, Some(step(12)), true, &mut levels);
        assert!(levels.levels.iter().any(|&l| l != 0));
        let first = quantiser.reconstruction().to_vec();
        assert_eq!(quantiser.quantise(&values, 1.0, Some(step(12)), false, &mut levels), 10);
        assert!(levels.levels.iter().all(|&l| l == 0));
        assert_eq!(quantiser.reconstruction(), first);
    }
}
