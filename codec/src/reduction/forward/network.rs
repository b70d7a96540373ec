//! Learned reduction: a network makes the fused tensor.

use crate::error::{Error, ErrorKind, Result};
use crate::reduction::grid::Grid;
use crate::reduction::learned::ReductionModel;
use crate::tensor::{ChannelOrder, Layout};

/// Reduces feature sets of one layout by a network.
pub struct ReductionNetwork {
    grid: Grid,
    model: Box<dyn ReductionModel>,
    /// Layers whose channels come last, in the order of the network; empty for the others.
    reordered: Vec<Vec<f32>>,
}

impl ReductionNetwork {
    /// `model` was opened for `layout`.
    pub fn new(layout: &Layout, grid: Grid, model: Box<dyn ReductionModel>) -> Self {
        let reordered = layout.layers().iter().map(|l| match l.order {
            ChannelOrder::Chw => Vec::new(),
            ChannelOrder::Hwc => vec![0.0; l.shape.elements() as usize],
        });
        Self { reordered: reordered.collect(), grid, model }
    }

    /// The grid of the fused tensor.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Writes the first planes, as many as `planes` has (`[k][positions]`), of the features with the values `layer(n)` in layer `n`.
    ///
    /// # Errors
    /// `Transform` when the network fails or gives NaN or an infinity.
    pub fn reduce<'a>(&mut self, layer: impl Fn(usize) -> &'a [f32], planes: &mut [f32]) -> Result<()> {
        for (n, chw) in self.reordered.iter_mut().enumerate().filter(|(_, chw)| !chw.is_empty()) {
            let (values, mut next) = (layer(n), chw.iter_mut());
            self.grid.for_each_value(n, |index, _| {
                if let Some(value) = next.next() {
                    *value = values[index];
                }
            });
        }
        let reordered = &self.reordered;
        self.model.reduce(&|n| if reordered[n].is_empty() { layer(n) } else { &reordered[n] }, planes)?;
        let positions = self.grid.positions();
        match planes.iter().position(|v| !v.is_finite()) {
            None => Ok(()),
            Some(at) => Err(Error::new(
                ErrorKind::Transform,
                format!(
                    "the reduction network gave {} for component {} of position {}",
                    planes[at],
                    at / positions,
                    at % positions
                ),
            )),
        }
    }
}
