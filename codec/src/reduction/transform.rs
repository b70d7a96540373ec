//! The calibrated transform and its file, `.fcmt`.

use crate::error::Result;
use crate::limits::Limits;
use crate::tensor::Layout;

/// Identity of a transform: the first 8 bytes of the SHA-256 of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransformId(pub [u8; 8]);

impl std::fmt::Display for TransformId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// A calibrated Karhunen–Loève transform: mean and basis vectors by falling variance.
pub struct Transform {}

impl std::fmt::Debug for Transform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transform").field("id", &self.id().to_string()).finish_non_exhaustive()
    }
}

impl Transform {
    /// Reads a `.fcmt` file's bytes.
    ///
    /// # Errors
    /// `Corruption` (bad magic, checksum, or values), `InsufficientData`, `Compatibility`, `LimitExceeded`.
    pub fn from_bytes(bytes: &[u8], limits: &Limits) -> Result<Self> {
        let _ = (bytes, limits);
        todo!()
    }

    /// The `.fcmt` file of this transform.
    pub fn to_bytes(&self) -> Vec<u8> {
        todo!()
    }

    /// Its identity, which streams name.
    pub fn id(&self) -> TransformId {
        todo!()
    }

    /// Number of components K that it holds.
    pub fn components(&self) -> u32 {
        todo!()
    }

    /// Length D of a basis vector: values of all layers in one cell of the grid.
    pub fn dimension(&self) -> u32 {
        todo!()
    }

    /// Share of the calibration data's variance that the first `k` components hold, 0 to 1.
    pub fn energy(&self, k: u32) -> f64 {
        let _ = k;
        todo!()
    }

    /// Whether it was calibrated on layers of these shapes.
    pub fn fits(&self, layout: &Layout) -> bool {
        let _ = layout;
        todo!()
    }
}
