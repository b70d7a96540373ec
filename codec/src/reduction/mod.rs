//! Feature reduction: layers → fused tensor (`K × H × W`) and back (docs/bitstream.md §5).

#[cfg(feature = "calibrate")]
pub mod calibrate;
mod changes;
mod dct;
pub(crate) mod forward;
pub(crate) mod grid;
pub(crate) mod inverse;
pub mod learned;
pub mod relevance;
mod transform;

pub use transform::{CellShape, NetworkPair, Transform, TransformId};
