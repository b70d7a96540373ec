//! Restoration of statistics at the decoder: every refinement is one affine map (docs/bitstream.md §8).

use crate::error::{Error, Result};
use crate::kernels::moments::Moments;

/// x → scale · x + offset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Factor.
    pub scale: f64,
    /// Summand.
    pub offset: f64,
}

/// How far the decoder moves layers from how they are decoded to the statistics signalled for them, in sixteenths: 16 = all the way.
///
/// A transform fitted to a task leaves out what the task does not look at, and coarse quantisers leave it out first. Deviations
/// restored in full would make up for that with what the task does look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RestorationStrength(u8);

impl RestorationStrength {
    /// Layers get the statistics signalled. The default.
    pub const FULL: Self = Self(16);

    /// `sixteenths`, 0 to 16.
    pub const fn new(sixteenths: u8) -> Option<Self> {
        if sixteenths <= Self::FULL.0 { Some(Self(sixteenths)) } else { None }
    }

    /// `sixteenths`, 0 to 15: one that is worth telling, since without a word layers are restored in full.
    pub const fn partial(sixteenths: u8) -> Option<Self> {
        if sixteenths < Self::FULL.0 { Some(Self(sixteenths)) } else { None }
    }

    /// The one next to `share`, from 0 = as decoded to 1 = in full.
    ///
    /// # Errors
    /// `InvalidConfig` for anything else.
    pub fn of_share(share: f32) -> Result<Self> {
        if (0.0..=1.0).contains(&share) {
            Ok(Self((share * f32::from(Self::FULL.0)).round() as u8))
        } else {
            Err(Error::config(format!("a restoration strength of {share}, legal are 0 to 1")))
        }
    }

    /// 0 to 16.
    pub const fn sixteenths(self) -> u8 {
        self.0
    }

    /// 0 to 1.
    pub fn share(self) -> f32 {
        f32::from(self.0) / f32::from(Self::FULL.0)
    }
}

impl Default for RestorationStrength {
    fn default() -> Self {
        Self::FULL
    }
}

/// How many times its own mean and deviation the fused tensor is restored to, in sixteenths: 16 = just those.
///
/// What a transform and a coarse quantiser leave out of features takes evidence from whatever looks at them, so that scores sink. What is
/// left, enlarged, makes up for some of that (docs/experiments.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RestorationGain(u8);

impl RestorationGain {
    /// The fused tensor gets the statistics measured. The default.
    pub const NONE: Self = Self(16);
    /// Four times.
    const MOST: u8 = 64;
    /// Between these qps a gain is in force in full. Below it fades to none at qp 0, where nothing is missing.
    const FULL: (u8, u8) = (24, 32);
    /// Above it fades to none here, from where on what is left is noise as much as anything (docs/experiments.md).
    const NONE_FROM: u8 = 36;

    /// `sixteenths`, 16 to 64.
    pub const fn new(sixteenths: u8) -> Option<Self> {
        if sixteenths >= Self::NONE.0 && sixteenths <= Self::MOST { Some(Self(sixteenths)) } else { None }
    }

    /// The one next to `factor`, from 1 = none to 4.
    ///
    /// # Errors
    /// `InvalidConfig` for anything else.
    pub fn of_factor(factor: f32) -> Result<Self> {
        if (1.0..=4.0).contains(&factor) {
            Ok(Self((factor * f32::from(Self::NONE.0)).round() as u8))
        } else {
            Err(Error::config(format!("a restoration gain of {factor}, legal are 1 to 4")))
        }
    }

    /// 16 to 64.
    pub const fn sixteenths(self) -> u8 {
        self.0
    }

    /// 1 to 4.
    pub fn factor(self) -> f32 {
        f32::from(self.0) / f32::from(Self::NONE.0)
    }

    /// What is left of it in frames of `qp`.
    pub fn at(self, qp: u8) -> f32 {
        let (first, last) = Self::FULL;
        let rising = f32::from(qp.min(first)) / f32::from(first);
        let falling = f32::from(Self::NONE_FROM.saturating_sub(qp.max(last))) / f32::from(Self::NONE_FROM - last);
        1.0 + rising.min(falling) * (self.factor() - 1.0)
    }
}

impl Default for RestorationGain {
    fn default() -> Self {
        Self::NONE
    }
}

/// How what is decoded is restored: by default to the statistics measured, in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Restoration {
    /// Of the layers: the decoder's affair, so streams tell it.
    pub strength: RestorationStrength,
    /// Of the fused tensor: the encoder's affair, which signals statistics as much larger.
    pub gain: RestorationGain,
}

impl Restoration {
    /// For features unlike those that a transform was calibrated on, of which it leaves out more: layers in full, and a gain of 1.25
    /// (docs/experiments.md).
    pub const UNSEEN: Self = Self { strength: RestorationStrength::FULL, gain: RestorationGain(20) };
}

impl From<RestorationStrength> for Restoration {
    fn from(strength: RestorationStrength) -> Self {
        Self { strength, gain: RestorationGain::NONE }
    }
}

/// A standard deviation below this share of the mean's magnitude (or of 1e-20) is rounding noise: the tensor is constant.
const EPSILON: f64 = 1e-6;

impl Affine {
    /// Leaves values as they are.
    pub const IDENTITY: Affine = Affine { scale: 1.0, offset: 0.0 };

    /// The map from values with `mean` and `std_dev` to values with `to_mean` and `to_std_dev`; a constant `to_mean` where either
    /// deviation is (nearly) zero.
    pub fn z_score(mean: f64, std_dev: f64, to_mean: f64, to_std_dev: f64) -> Self {
        if std_dev <= (EPSILON * mean.abs()).max(1e-30) || to_std_dev == 0.0 {
            return Affine { scale: 0.0, offset: to_mean };
        }
        let scale = to_std_dev / std_dev;
        Affine { scale, offset: to_mean - scale * mean }
    }

    /// The map that goes `strength` of the way from leaving values as they are to this one.
    pub fn partly(self, strength: RestorationStrength) -> Self {
        if strength == RestorationStrength::FULL {
            return self;
        }
        let share = f64::from(strength.share());
        Affine { scale: 1.0 + share * (self.scale - 1.0), offset: share * self.offset }
    }

    /// Energy compensation scaling: keeps the mean of the decoded values, restores `peak` = maximum − mean.
    pub fn energy_compensation(decoded: &Moments, peak: f64) -> Self {
        let mean = decoded.mean();
        let decoded_peak = f64::from(decoded.max) - mean;
        if decoded_peak <= (EPSILON * mean.abs()).max(1e-30) {
            return Affine::IDENTITY;
        }
        let scale = peak / decoded_peak;
        Affine { scale, offset: mean - scale * mean }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z_score_maps_mean_and_deviation() {
        let a = Affine::z_score(2.0, 0.5, -1.0, 3.0);
        assert_eq!(a.scale * 2.0 + a.offset, -1.0);
        assert_eq!(a.scale * 2.5 + a.offset, 2.0);
        assert_eq!(Affine::z_score(2.0, 1e-9, -1.0, 3.0), Affine { scale: 0.0, offset: -1.0 });
        assert_eq!(Affine::z_score(2.0, 1.0, 7.0, 0.0), Affine { scale: 0.0, offset: 7.0 });
    }

    #[test]
    fn a_part_of_the_way_lies_between_the_value_and_its_restoration() {
        let full = Affine::z_score(2.0, 0.5, -1.0, 3.0);
        let strength = |share| RestorationStrength::of_share(share).unwrap();
        assert_eq!(full.partly(strength(1.0)), full);
        assert_eq!(full.partly(strength(0.0)), Affine::IDENTITY);
        let quarter = full.partly(strength(0.25));
        assert_eq!(quarter.scale * 2.5 + quarter.offset, 2.5 + 0.25 * (2.0 - 2.5));
    }

    #[test]
    fn strengths_are_sixteenths_from_none_to_all() {
        assert_eq!(RestorationStrength::of_share(0.5).unwrap().sixteenths(), 8);
        assert_eq!(RestorationStrength::of_share(0.03).unwrap().sixteenths(), 0);
        assert_eq!(RestorationStrength::new(16), Some(RestorationStrength::FULL));
        assert_eq!(RestorationStrength::new(17), None);
        assert_eq!(RestorationStrength::partial(15), RestorationStrength::new(15));
        assert_eq!(RestorationStrength::partial(16), None);
        for bad in [-0.1, 1.1, f32::NAN] {
            let message = RestorationStrength::of_share(bad).unwrap_err().to_string();
            assert!(message.contains(&format!("{bad}, legal are 0 to 1")), "{message}");
        }
    }

    #[test]
    fn gains_are_sixteenths_from_one_to_four_and_fade_towards_fine_and_coarse_qps() {
        let gain = RestorationGain::of_factor(1.5).unwrap();
        assert_eq!((gain.sixteenths(), gain.factor()), (24, 1.5));
        assert_eq!(RestorationGain::new(16), Some(RestorationGain::NONE));
        assert_eq!((RestorationGain::new(15), RestorationGain::new(65)), (None, None));
        assert_eq!([0, 12, 24, 32].map(|qp| gain.at(qp)), [1.0, 1.25, 1.5, 1.5]);
        assert_eq!([33, 34, 36, 63].map(|qp| gain.at(qp)), [1.375, 1.25, 1.0, 1.0]);
        assert_eq!(RestorationGain::NONE.at(40), 1.0);
        for bad in [0.9, 4.1, f32::NAN] {
            let message = RestorationGain::of_factor(bad).unwrap_err().to_string();
            assert!(message.contains(&format!("{bad}, legal are 1 to 4")), "{message}");
        }
    }

    #[test]
    fn energy_compensation_keeps_the_mean_and_restores_the_peak() {
        let mut m = Moments::new(0.0);
        m.add(&[0.0, 1.0, 2.0, 5.0]);
        let a = Affine::energy_compensation(&m, 6.0);
        assert_eq!((a.scale * 2.0 + a.offset, a.scale * 5.0 + a.offset), (2.0, 8.0));
        let mut flat = Moments::new(0.0);
        flat.add(&[4.0; 3]);
        assert_eq!(Affine::energy_compensation(&flat, 6.0), Affine::IDENTITY);
    }
}
