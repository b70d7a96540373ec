//! What the codec asks of whoever runs the networks of a learned transform (docs/bitstream.md §5.5). The crate itself runs none.

use super::TransformId;
use super::grid::Grid;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::tensor::{Layout, Shape};
use std::fmt::Debug;

/// Shapes of the tensors that go into and come out of a pair of networks; each has a batch dimension of 1 in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairShapes {
    /// The layers in order, channels × height × width; 1 × 1 maps for vectors.
    pub layers: Vec<Shape>,
    /// The fused tensor: components K × height × width of the grid.
    pub fused: Shape,
}

impl PairShapes {
    /// The shapes for feature sets of `layout` and a pair of `components` components.
    ///
    /// # Errors
    /// `LimitExceeded` when a frame has more values than the limits allow.
    pub fn new(layout: &Layout, components: u32, limits: &Limits) -> Result<Self> {
        Ok(Self::of(layout, &Grid::new(layout, limits)?, components))
    }

    pub(crate) fn of(layout: &Layout, grid: &Grid, components: u32) -> Self {
        let map = |s: Shape| Shape::chw(s.channels(), s.height(), s.width());
        Self {
            layers: layout.layers().iter().map(|l| map(l.shape)).collect(),
            fused: Shape::chw(components, grid.height as u32, grid.width as u32),
        }
    }
}

/// Opens the networks of learned transforms.
pub trait InferenceRuntime: Debug + Send + Sync {
    /// Opens a reduction network, the bytes of an ONNX file, for layers and a fused tensor of these shapes. `threads`: that compute one
    /// run, 1 to 64; 0 = one for each core.
    ///
    /// # Errors
    /// `Transform` when the network cannot be run or has other inputs or outputs.
    fn open_reduction(&self, network: &[u8], shapes: &PairShapes, threads: usize) -> Result<Box<dyn ReductionModel>>;

    /// Opens a restoration network; as [`Self::open_reduction`].
    ///
    /// # Errors
    /// As there.
    fn open_restoration(
        &self,
        network: &[u8],
        shapes: &PairShapes,
        threads: usize,
    ) -> Result<Box<dyn RestorationModel>>;
}

/// A reduction network, ready to run.
pub trait ReductionModel: Send + Sync {
    /// Makes the fused tensor of a frame. `layer(n)` are the values of layer `n`, dense in the order channels, rows, columns. `fused`
    /// takes the first planes, `[k][height · width]`: K of them, or fewer where weak components are not wanted.
    ///
    /// # Errors
    /// `Transform` when the network fails.
    fn reduce<'a>(&mut self, layer: &dyn Fn(usize) -> &'a [f32], fused: &mut [f32]) -> Result<()>;
}

/// A restoration network, ready to run.
pub trait RestorationModel: Send + Sync {
    /// Makes the layers of a frame from all K planes of its fused tensor and gives each, dense in the order channels, rows, columns,
    /// to `take`, once.
    ///
    /// # Errors
    /// `Transform` when the network fails.
    fn restore(&mut self, fused: &[f32], take: &mut dyn FnMut(usize, &[f32])) -> Result<()>;
}

/// Opens a network of the transform `id`, or says why it cannot be used.
pub(crate) fn open<M>(
    id: TransformId,
    runtime: Option<&dyn InferenceRuntime>,
    open: impl FnOnce(&dyn InferenceRuntime) -> Result<M>,
) -> Result<M> {
    let Some(runtime) = runtime else {
        let message =
            format!("transform {id} is a learned pair of networks, and there is no inference runtime to run them");
        return Err(Error::new(ErrorKind::Transform, message));
    };
    open(runtime).map_err(|e| Error::new(e.kind(), format!("transform {id} cannot be used: {e}")))
}
