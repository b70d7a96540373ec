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

use crate::intra::IntraWeights;
use grid::Grid;

/// Weights of the intra prediction of so many components (docs/bitstream.md §6.2), one triple each: those of the transform, or of a block DCT
/// without one. `None` where the transform has none.
pub(crate) fn intra_weights(
    transform: Option<&Transform>,
    grid: &Grid,
    components: usize,
) -> Option<Vec<IntraWeights>> {
    match transform {
        Some(transform) => transform.intra_weights()?.get(..components).map(<[_]>::to_vec),
        None => Some(dct::intra_weights(grid, components)),
    }
}
