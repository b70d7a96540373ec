//! Learned reduction: a network makes the fused tensor.

use crate::error::{Error, ErrorKind, Result};
use crate::reduction::grid::Grid;
use crate::reduction::learned::ReductionModel;
use crate::tensor::value::Value;
use crate::tensor::{ChannelOrder, Dtype, Layout, TensorRef};
use half::slice::HalfFloatSliceExt;

/// Reduces feature sets of one layout by a network.
pub struct ReductionNetwork {
    grid: Grid,
    model: Box<dyn ReductionModel>,
    /// Layers that do not lie in memory as the network takes them, binary32 in the order channels, rows, columns; empty for the others.
    converted: Vec<Vec<f32>>,
}

impl ReductionNetwork {
    /// `model` was opened for `layout`.
    pub fn new(layout: &Layout, grid: Grid, model: Box<dyn ReductionModel>) -> Self {
        let converted = layout.layers().iter().map(|l| match (l.order, l.dtype) {
            (ChannelOrder::Chw, Dtype::F32) => Vec::new(),
            _ => vec![0.0; l.shape.elements() as usize],
        });
        Self { converted: converted.collect(), grid, model }
    }

    /// The grid of the fused tensor.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Writes the first planes, as many as `planes` has (`[k][positions]`), of the features `tensors`, one a layer.
    ///
    /// # Errors
    /// `Transform` when the network fails or gives NaN or an infinity.
    pub fn reduce(&mut self, tensors: &[TensorRef<'_>], planes: &mut [f32]) -> Result<()> {
        for (n, (to, tensor)) in self.converted.iter_mut().zip(tensors).enumerate() {
            match tensor {
                _ if to.is_empty() => {}
                TensorRef::F16(values) if self.grid.is_dense(n) => values.convert_to_f32_slice(to),
                TensorRef::F16(values) => convert(&self.grid, n, values, to),
                TensorRef::F32(values) => convert(&self.grid, n, values, to),
            }
        }
        let converted = &self.converted;
        let layer = |n: usize| match tensors[n] {
            TensorRef::F32(values) if converted[n].is_empty() => values,
            _ => &converted[n][..],
        };
        self.model.reduce(&layer, planes)?;
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

/// Writes the values of layer `n` in the order channels, rows, columns.
fn convert<T: Value>(grid: &Grid, n: usize, values: &[T], to: &mut [f32]) {
    let mut to = to.iter_mut();
    grid.for_each_value(n, |index, _| {
        if let Some(to) = to.next() {
            *to = values[index].widen();
        }
    });
}
