//! How good detections and tracks are, and what they cost.
//!
//! Each agrees with the tool that people compare with: [`ClearMot`] and [`Identity`] with py-motmetrics, [`Hota`] with
//! TrackEval, [`bd_rate`] with SciPy's interpolation; `tests/reference` checks that. Results of several sequences add up with
//! `merge`, as those tools do it.
//!
//! A sequence is a list of frames, of truth and of results the same number; where one is shorter its last frames are empty.
//! A number occurs once in a frame; of more, only the first counts.

mod agreement;
mod average_precision;
mod bd_rate;
mod clear;
mod hota;
mod identity;
mod pairs;

pub use agreement::Agreement;
pub use average_precision::average_precision;
pub use bd_rate::bd_rate;
pub use clear::ClearMot;
pub use hota::{ALPHAS, Hota};
pub use identity::Identity;

/// A share; NaN when the whole is 0.
fn share(part: f64, whole: f64) -> f64 {
    part / whole
}
