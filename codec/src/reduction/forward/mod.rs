//! The encoder's half of the reduction: layers → planes of the fused tensor.

mod network;
mod projection;

pub use network::ReductionNetwork;
pub use projection::Projection;

use super::dct::Dct;
use super::grid::Grid;
use super::learned::{self, InferenceRuntime, PairShapes};
use super::transform::{Mapping, Transform};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::tensor::Layout;

/// Reduces feature sets of one layout; holds all memory that it needs.
pub enum Forward {
    /// By a calibrated basis or the block DCT.
    Linear(Box<Projection>),
    /// By the network of a learned pair.
    Learned(Box<ReductionNetwork>),
}

impl Forward {
    /// A reduction of `layout` to the first `components` components of `transform`, or of the block DCT. `threads` are for a network.
    ///
    /// # Errors
    /// `Transform` when the network of a learned one cannot be run.
    pub fn new(
        layout: &Layout,
        grid: Grid,
        transform: Option<&Transform>,
        components: usize,
        runtime: Option<&dyn InferenceRuntime>,
        threads: usize,
    ) -> Result<Self> {
        let linear = match transform.map(|t| (t, t.mapping())) {
            Some((t, Mapping::Learned(networks))) => {
                let shapes = PairShapes::of(layout, &grid, t.components());
                let open =
                    |runtime: &dyn InferenceRuntime| runtime.open_reduction(&networks.reduction, &shapes, threads);
                let model = learned::open(t.id(), runtime, open)?;
                return Ok(Self::Learned(Box::new(ReductionNetwork::new(layout, grid, model))));
            }
            Some((_, Mapping::Linear(linear))) => Some(&**linear),
            None => None,
        };
        Ok(Self::Linear(Box::new(Projection::new(grid, linear, components))))
    }

    /// The grid of the fused tensor.
    pub fn grid(&self) -> &Grid {
        match self {
            Self::Linear(projection) => projection.grid(),
            Self::Learned(network) => network.grid(),
        }
    }
}

/// Checks that `transform` fits `layout`, or that the tables of the block DCT are of a sane size, and that there are `components`;
/// returns the number to use.
pub fn check(
    layout: &Layout,
    grid: &Grid,
    transform: Option<&Transform>,
    components: Option<u32>,
    limits: &Limits,
) -> Result<usize> {
    let available = match transform {
        Some(t) if !t.fits(layout) => {
            let cells: Vec<String> =
                t.cells().iter().map(|c| format!("{}x{}x{}", c.channels, c.rows, c.cols)).collect();
            let layers: Vec<String> = layout.layers().iter().map(|l| l.shape.to_string()).collect();
            let message = format!(
                "transform {} was calibrated on cells {} (dimension {}), it does not fit layers {} (dimension {})",
                t.id(),
                cells.join(" "),
                t.dimension(),
                layers.join(" "),
                grid.dimension
            );
            return Err(Error::new(ErrorKind::Transform, message));
        }
        Some(t) => t.components(),
        None => {
            Dct::check(grid, limits)?;
            grid.dimension as u32
        }
    };
    match components {
        None => Ok(available as usize),
        Some(k) if (1..=available).contains(&k) => Ok(k as usize),
        Some(k) => Err(Error::config(format!("{k} components, legal are 1 to {available}"))),
    }
}
