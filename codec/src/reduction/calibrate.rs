//! Learning a [`Transform`] from features: streaming covariance, then an eigendecomposition.

use super::Transform;
use crate::error::Result;
use crate::limits::Limits;
use crate::tensor::{Layout, TensorRef};

/// Gathers the covariance of features in bounded memory (D² values, whatever the number of frames).
pub struct Calibrator {}

impl Calibrator {
    /// Makes a calibrator for feature sets of `layout`.
    ///
    /// # Errors
    /// `LimitExceeded` when the dimension D is above 16384 (its covariance would take over 1 GiB).
    pub fn new(layout: Layout, limits: &Limits) -> Result<Self> {
        let _ = (layout, limits);
        todo!()
    }

    /// Dimension D of the vectors gathered.
    pub fn dimension(&self) -> u32 {
        todo!()
    }

    /// Vectors gathered so far: frames × grid positions. Well below 10 × D is too few for a good basis.
    pub fn samples(&self) -> u64 {
        todo!()
    }

    /// Adds one frame.
    ///
    /// # Errors
    /// `InvalidInput` as [`crate::Encoder::encode`].
    pub fn add(&mut self, tensors: &[TensorRef<'_>]) -> Result<()> {
        let _ = tensors;
        todo!()
    }

    /// Decomposes the covariance and keeps the `components` strongest vectors (`None` = all D).
    ///
    /// # Errors
    /// `InvalidConfig` for 0 or more than D components; `InvalidInput` when fewer than 2 vectors were gathered.
    pub fn finish(self, components: Option<u32>) -> Result<Transform> {
        let _ = components;
        todo!()
    }
}
