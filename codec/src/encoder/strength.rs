//! Which components are strong enough to give levels, so that only those are projected.
//!
//! Components come strongest first. From some component on, values are so much smaller than a quantiser step that hardly any of them
//! becomes a level. The product with the basis, most of an encoder's work, is spent up to there.

/// A component is used whose deviation at this many positions is [`NEARLY`] a step. What matters may be small and far from the mean, so
/// that a standard deviation says little of it; a single position may be noise.
const POSITIONS: usize = 3;
/// Share of a step from which a value may become a level.
const NEARLY: f32 = 0.8;
/// Standard deviations, of the features that the basis was calibrated on, that a frame may reach after one that did not.
const REACH: f32 = 4.0;

/// How far the components of a calibrated basis reach, and how many of them are in use.
#[derive(Debug)]
pub struct Strength {
    /// Largest quantiser step that each may give a level at: by calibration, and by that and the last whole frame.
    calibrated: Vec<f32>,
    reach: Vec<f32>,
    /// As many are always in use.
    least: usize,
    /// Components in use since the last whole frame; `None` directly after it.
    used: Option<usize>,
}

impl Strength {
    /// For components with these `variances`, of which the first `least` are always used.
    pub fn new(variances: &[f32], least: usize) -> Self {
        let calibrated: Vec<f32> = variances.iter().map(|v| REACH * v.max(0.0).sqrt()).collect();
        Self { reach: calibrated.clone(), calibrated, least, used: None }
    }

    /// Takes over a whole frame's `planes` of `positions` values.
    pub fn measure(&mut self, planes: &[f32], positions: usize) {
        let planes = planes.chunks_exact(positions);
        for ((reach, &calibrated), plane) in self.reach.iter_mut().zip(&self.calibrated).zip(planes) {
            *reach = calibrated.max(deviation(plane) / NEARLY);
        }
        self.used = None;
    }

    /// Components to use at a quantiser step of `step`, in values: all up to the last one that can give a level, and never fewer than
    /// in the frames since the last whole one. `true` if they are more than in those, so that the weaker ones are out of date.
    pub fn at(&mut self, step: f32) -> (usize, bool) {
        let last = self.reach.iter().rposition(|&reach| reach >= step);
        let wanted = last.map_or(0, |last| last + 1).max(self.least).min(self.reach.len());
        let more = self.used.is_some_and(|used| wanted > used);
        let used = self.used.map_or(wanted, |used| used.max(wanted));
        self.used = Some(used);
        (used, more)
    }
}

/// What the deviations from the mean reach at [`POSITIONS`] positions. Whole frames are coded with all components, so what a plane has
/// throughout stays as it is.
fn deviation(plane: &[f32]) -> f32 {
    let mean = plane.iter().sum::<f32>() / plane.len() as f32;
    let mut largest = [0f32; POSITIONS];
    for v in plane {
        let deviation = (v - mean).abs();
        if deviation > largest[POSITIONS - 1] {
            let at = largest.iter().position(|&l| deviation > l).unwrap_or(POSITIONS - 1);
            largest.copy_within(at..POSITIONS - 1, at + 1);
            largest[at] = deviation;
        }
    }
    largest[POSITIONS.min(plane.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_that_reach_a_step_are_used_and_the_number_only_grows_until_a_whole_frame() {
        let mut strength = Strength::new(&[4.0, 1.0, 0.25, 0.01], 1);
        strength.measure(&[0.0; 16], 4);
        assert_eq!(strength.at(1e9), (1, false));
        assert_eq!(strength.at(4.0), (2, true));
        assert_eq!(strength.at(7.0), (2, false));
        assert_eq!(strength.at(0.4), (4, true));
        strength.measure(&[0.0; 16], 4);
        assert_eq!(strength.at(2.0), (3, false), "all are up to date after a whole frame");
    }

    #[test]
    fn a_few_positions_far_from_the_mean_are_enough_but_not_one() {
        let mut strength = Strength::new(&[0.0; 2], 0);
        let mut planes = [0.0; 400];
        planes[200] = 100.0;
        strength.measure(&planes, 200);
        assert_eq!(strength.at(10.0).0, 0);
        planes[230..232].fill(-100.0);
        strength.measure(&planes, 200);
        assert_eq!(strength.at(10.0).0, 2);
        // A plane that is far from zero throughout gives no levels once it was coded.
        planes[200..].fill(100.0);
        strength.measure(&planes, 200);
        assert_eq!(strength.at(10.0).0, 0);
    }

    #[test]
    fn the_third_largest_deviation_counts() {
        assert_eq!(deviation(&[0.0, 5.0, -5.0, 1.0, -1.0, 0.0]), 1.0);
        assert_eq!(deviation(&[3.0, -3.0]), 3.0);
        assert_eq!(deviation(&[7.0]), 0.0);
    }
}
