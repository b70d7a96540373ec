//! The fixed-point domain of the fused tensor and its uniform quantiser (docs/bitstream.md §6).
//!
//! Reconstructions are integers in units of reference scale / 1024, so that prediction is exact on every machine.

use crate::inner::native::planes::{BACKGROUND, INTER, INTRA, Levels, Mode, RELEVANT, Relevance};
use crate::intra::IntraWeights;
use crate::motion::{Compensation, Vector};
use motion_search::MotionSearch;
use pulp::Arch;
use rate_distortion::RateDistortion;
use within::Within;

mod motion_search;
pub mod rate_distortion;
mod within;

/// Units of the fixed-point domain in one reference scale.
pub const UNITS: f64 = 1024.0;
/// Largest magnitude of a value in the fixed-point domain.
pub const VALUE_MAX: i32 = 1 << 30;
/// Largest quantiser parameter.
pub const QP_MAX: u8 = 63;
/// How many quantiser parameters there are.
pub const QPS: usize = QP_MAX as usize + 1;
/// Share of a step, counted from the next level, from which a value is rounded up.
const ROUNDING: f32 = 0.33;
/// Part of a step that costs next to nothing, when predictions are compared.
const FREE: f32 = 0.6;
/// Bits that a step of what is beyond [`FREE`] costs (measured: 7 to 8).
const BITS: f32 = 7.0;
/// Bits that a position which is not predicted from the frame before costs among those that are.
const INTRA_BITS: f32 = 4.0;

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
    within: Within,
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
    /// whether vectors may be used. With `intra_weights`, one triple a component, intra positions are predicted from those around them.
    pub fn new(
        components: usize,
        (height, width): (usize, usize),
        rate_distortion: Option<RateDistortion>,
        motion: bool,
        intra_weights: Vec<IntraWeights>,
    ) -> Self {
        let positions = height * width;
        let motion = motion.then(|| Motion {
            search: MotionSearch::new(height, width),
            compensation: Compensation::new(height, width),
        });
        Self {
            motion,
            within: Within::new(intra_weights, components, width),
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

    /// Numbers of values that would not be zero at each qp without prediction, a background being coded `offset` coarser.
    pub fn count_nonzero(planes: &[f32], scale: f32, offset: u8, relevance: &[Relevance]) -> [usize; QPS] {
        let unit = unit(scale);
        let threshold = |r, qp| (1.0 - ROUNDING) * Steps::new(qp, offset).of(r) as f32 * unit;
        let thresholds: [[f32; QPS]; 2] =
            [RELEVANT, BACKGROUND].map(|r| std::array::from_fn(|qp| threshold(r, qp as u8)));
        // Values by the number of qps, from 0 on, at which they are not zero.
        let mut values = [0; QPS + 1];
        for plane in planes.chunks_exact(relevance.len()) {
            for (v, &r) in plane.iter().zip(relevance) {
                let of_region = &thresholds[usize::from(r == BACKGROUND)];
                values[of_region.partition_point(|t| v.abs() >= *t)] += 1;
            }
        }
        std::array::from_fn(|qp| values[qp + 1..].iter().sum())
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
            out.modes.fill(INTRA);
            out.vectors.fill(Vector::STILL);
        } else {
            self.compensate(planes, unit, &mut out.vectors);
            self.choose_modes(planes, unit, &mut out.modes);
        }
        out.levels.fill(0);
        if let Some(chooser) = &mut self.rate_distortion {
            let scaling = Scaling { to_units: 1.0 / unit, inverse_steps: &self.inverse_steps };
            chooser.find(planes, &self.reconstruction, scaling, &out.modes, self.within.predicts());
        }
        for p in 0..self.positions {
            if self.within.predicts() {
                out.modes[p] = self.predict_within(planes, unit, p, random_access);
            }
            if out.modes[p] == INTRA {
                Column::of(&mut self.reconstruction, p, self.positions).set(self.within.predictions());
            }
            match steps {
                None => self.keep(planes, unit, p, &mut out.levels),
                Some(_) => self.choose_levels(planes, unit, p, out),
            }
        }
        out.modes.iter().filter(|&&m| m == INTER).count()
    }

    /// Predicts position `p` within the frame, if that is worth more than what the frame before predicts, and says which it is.
    fn predict_within(&mut self, planes: &[f32], unit: f32, p: usize, random_access: bool) -> Mode {
        let worth = |cost: f32| self.inter_cost[p] > cost + INTRA_BITS / BITS;
        if !random_access && !worth(0.0) {
            return INTER;
        }
        self.within.predict(&self.reconstruction, self.positions, p);
        let scaling = Scaling { to_units: 1.0 / unit, inverse_steps: &self.inverse_steps };
        if random_access || worth(self.within.cost(planes, p, scaling)) { INTRA } else { INTER }
    }

    /// Chooses the levels of position `p`, and adds them to what predicts them.
    fn choose_levels(&mut self, planes: &[f32], unit: f32, p: usize, out: &mut Levels) {
        let scaling = Scaling { to_units: 1.0 / unit, inverse_steps: &self.inverse_steps };
        let (mut reconstruction, step) = (Column::of(&mut self.reconstruction, p, self.positions), self.steps[p]);
        let mut levels = Column::of(&mut out.levels, p, self.positions);
        if let Some(chooser) = &mut self.rate_distortion {
            let within = out.modes[p] == INTRA && self.within.predicts();
            let rests = within.then(|| self.within.rests(planes, p, scaling));
            for (c, level) in chooser.decide(p, out.modes[p], rests) {
                *levels.at(c) = level;
                *reconstruction.at(c) += level * step;
            }
            return;
        }
        for (c, plane) in planes.chunks_exact(self.positions).enumerate() {
            let value = (plane[p] * scaling.to_units).clamp(-LIMIT, LIMIT);
            let level = round((value - *reconstruction.at(c) as f32) * scaling.inverse_steps[p]);
            *levels.at(c) = level;
            *reconstruction.at(c) += level * step;
        }
    }

    /// Takes position `p` as it is.
    fn keep(&mut self, planes: &[f32], unit: f32, p: usize, levels: &mut [i32]) {
        let mut reconstruction = Column::of(&mut self.reconstruction, p, self.positions);
        let mut levels = Column::of(levels, p, self.positions);
        for (c, plane) in planes.chunks_exact(self.positions).enumerate() {
            let value = fixed_point(plane[p], unit);
            *levels.at(c) = value - *reconstruction.at(c);
            *reconstruction.at(c) = value;
        }
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

    /// Chooses modes by what each leaves. What is predicted within the frame is decided later; until then it is predicted from the frame
    /// before.
    fn choose_modes(&mut self, planes: &[f32], unit: f32, modes: &mut [Mode]) {
        let scaling = Scaling { to_units: 1.0 / unit, inverse_steps: &self.inverse_steps };
        costs_of_prediction(planes, &self.reconstruction, scaling, &mut self.intra_cost, &mut self.inter_cost);
        for ((mode, intra), inter) in modes.iter_mut().zip(&self.intra_cost).zip(&self.inter_cost) {
            *mode = if inter <= intra || self.within.predicts() { INTER } else { INTRA };
        }
    }
}

/// The values of one position in planes, `[component][positions]`.
struct Column<'a> {
    values: &'a mut [i32],
    position: usize,
    positions: usize,
}

impl<'a> Column<'a> {
    fn of(values: &'a mut [i32], position: usize, positions: usize) -> Self {
        Self { values, position, positions }
    }

    fn at(&mut self, component: usize) -> &mut i32 {
        &mut self.values[component * self.positions + self.position]
    }

    fn set(self, to: &[i32]) {
        let values = self.values[self.position..].iter_mut().step_by(self.positions);
        values.zip(to).for_each(|(value, &to)| *value = to);
    }
}

/// The level of a rest in steps.
fn round(rest: f32) -> i32 {
    let magnitude = (rest.abs() + ROUNDING) as i32;
    if rest < 0.0 { -magnitude } else { magnitude }
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

fn fixed_point(v: f32, unit: f32) -> i32 {
    let max = f64::from(VALUE_MAX / 2 - 1);
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
        let mut quantiser = Quantiser::new(1, (2, 2), None, false, Vec::new());
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
        let mut quantiser = Quantiser::new(1, (1, 2), None, false, Vec::new());
        let mut levels = Levels::new(1, 1, 2);
        levels.relevance[1] = BACKGROUND;
        quantiser.quantise(&[0.9, 0.9], 1.0, Some(steps), true, &mut levels);
        assert_eq!((levels.levels.as_slice(), quantiser.reconstruction()), (&[2, 1][..], &[1024, 1024][..]));
        assert_eq!(Quantiser::count_nonzero(&[0.5, 0.5], 1.0, 6, &levels.relevance)[12], 1);
    }

    #[test]
    fn a_repeated_frame_is_predicted_and_has_no_levels() {
        let values: Vec<f32> = (0..60).map(|i| (i as f32 * 0.7).sin() * 5.0).collect();
        let mut quantiser = Quantiser::new(6, (2, 5), None, true, Vec::new());
        let mut levels = Levels::new(6, 2, 5);
        quantiser.quantise(&values, 1.0, Some(Steps::new(12, 0)), true, &mut levels);
        assert!(levels.levels.iter().any(|&l| l != 0));
        let first = quantiser.reconstruction().to_vec();
        assert_eq!(quantiser.quantise(&values, 1.0, Some(Steps::new(12, 0)), false, &mut levels), 10);
        assert!(levels.levels.iter().all(|&l| l == 0));
        assert_eq!(quantiser.reconstruction(), first);
    }
}
