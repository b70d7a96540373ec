//! Feature reduction: layers → fused tensor (`K × H × W`) and back (docs/bitstream.md §5).

#[cfg(feature = "calibrate")]
pub mod calibrate;
pub(crate) mod grid;
mod transform;

pub use transform::{CellShape, Transform, TransformId};
