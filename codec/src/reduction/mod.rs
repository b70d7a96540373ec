//! Feature reduction: layers → fused tensor (`K × H × W`) and back.

#[cfg(feature = "calibrate")]
pub mod calibrate;
mod transform;

pub use transform::{Transform, TransformId};
