//! The decoder's half of the reduction: fused tensor → layers.

mod expansion;
mod network;

pub use expansion::Expansion;
pub use network::RestorationNetwork;

use super::grid::Grid;
use super::learned::{self, InferenceRuntime, PairShapes};
use super::transform::{Mapping, Transform};
use crate::error::Result;
use crate::kernels::moments::Moments;
use crate::motion::Move;
use crate::refinement::Affine;
use crate::tensor::Layout;
use rayon::ThreadPool;
use std::sync::Arc;

/// Restores feature sets of one layout; holds all memory that it needs.
pub enum Inverse {
    /// By a calibrated basis or the block DCT.
    Linear(Box<Expansion>),
    /// By the network of a learned pair.
    Learned(Box<RestorationNetwork>),
}

/// The fused tensor as it was decoded.
#[derive(Debug, Clone, Copy)]
pub struct Fused<'a> {
    /// Planes (`[k][positions]`) of fixed-point values.
    pub values: &'a [i32],
    /// What one unit of them is worth.
    pub unit: f32,
    /// Region of each position; `None` where there is only one.
    pub regions: Option<&'a [u8]>,
}

impl Inverse {
    /// The inverse of [`super::forward::Forward`] with the same arguments, for so many `regions`.
    ///
    /// # Errors
    /// `Transform` when the network of a learned one cannot be run.
    pub fn new(
        layout: &Layout,
        grid: Grid,
        transform: Option<&Transform>,
        components: usize,
        regions: usize,
        runtime: Option<&dyn InferenceRuntime>,
        threads: usize,
    ) -> Result<Self> {
        let linear = match transform.map(|t| (t, t.mapping())) {
            Some((t, Mapping::Learned(networks))) => {
                let shapes = PairShapes::of(layout, &grid, t.components());
                let open =
                    |runtime: &dyn InferenceRuntime| runtime.open_restoration(&networks.restoration, &shapes, threads);
                let model = learned::open(t.id(), runtime, open)?;
                return Ok(Self::Learned(Box::new(RestorationNetwork::new(layout, grid, t.components(), model))));
            }
            Some((_, Mapping::Linear(linear))) => Some(Arc::clone(linear)),
            None => None,
        };
        Ok(Self::Linear(Box::new(Expansion::new(grid, linear, components, regions))))
    }

    /// All components zero.
    pub fn clear(&mut self) {
        if let Self::Linear(expansion) = self {
            expansion.clear();
        }
    }

    /// Moves the components of positions, all at once.
    pub fn shift(&mut self, moves: &[Move]) {
        if let Self::Linear(expansion) = self {
            expansion.shift(moves);
        }
    }

    /// Adds `changes` (`[k][positions]`), in units of `unit`, to the components.
    pub fn add(&mut self, changes: &[i32], unit: f32, pool: Option<&ThreadPool>) {
        if let Self::Linear(expansion) = self {
            expansion.add(changes, unit, pool);
        }
    }

    /// Restores the layers of the fused tensor refined by `refine`, by region. `fused` is the sum of all changes.
    ///
    /// # Errors
    /// `Transform` when a network fails or gives NaN or an infinity.
    pub fn restore(&mut self, fused: Fused<'_>, refine: [Affine; 2]) -> Result<()> {
        match self {
            Self::Linear(expansion) => {
                let regions = 1 + usize::from(fused.regions.is_some());
                for (region, refine) in refine.into_iter().enumerate().take(regions) {
                    expansion.refine(region, refine);
                }
                Ok(())
            }
            Self::Learned(network) => network.restore(fused, refine),
        }
    }

    /// Moments of layer `n`, padding left out, of the positions of `region`, or of all where there are no `regions`.
    pub fn moments(&mut self, n: usize, region: usize, regions: Option<&[u8]>) -> Moments {
        match self {
            Self::Linear(expansion) => expansion.moments(n, region, regions),
            Self::Learned(network) => network.moments(n, region, regions),
        }
    }

    /// Writes layer `n`, refined by `refine`, by region where there are `regions`.
    pub fn write<T: Copy>(
        &mut self,
        n: usize,
        regions: Option<&[u8]>,
        refine: [Affine; 2],
        out: &mut [T],
        convert: impl Fn(f32) -> T,
    ) {
        match self {
            Self::Linear(expansion) => expansion.write(n, regions, refine, out, convert),
            Self::Learned(network) => network.write(n, regions, refine, out, convert),
        }
    }
}
