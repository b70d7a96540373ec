//! Restoration of statistics at the decoder: every refinement is one affine map (docs/bitstream.md §8).

use crate::kernels::moments::Moments;

/// x → scale · x + offset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Factor.
    pub scale: f64,
    /// Summand.
    pub offset: f64,
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
