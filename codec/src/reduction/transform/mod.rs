//! The calibrated transform: analysis and synthesis vectors (a Karhunen–Loève basis or vectors fitted to a task), or a learned pair of
//! networks. [`file`] reads and writes it.

mod file;

use super::grid::Grid;
use super::relevance::Probe;
use crate::error::{Error, Result};
use crate::intra::IntraWeights;
use crate::limits::Limits;
use crate::refinement::Restoration;
use crate::tensor::Layout;
use std::sync::Arc;

/// Identity of a transform: the first 8 bytes of the SHA-256 of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransformId(pub [u8; 8]);

impl std::fmt::Display for TransformId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// What a transform needs to know of a layer: the shape of its cell at one grid position. A transform fits every
/// resolution at which the cells have the same shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellShape {
    /// Channels, or planes of a layer that is laid out over the grid.
    pub channels: u32,
    /// Rows of a cell.
    pub rows: u16,
    /// Columns of a cell.
    pub cols: u16,
    /// Whether the layer is laid out over the grid (vectors).
    pub laid_out: bool,
}

impl CellShape {
    fn dimension(&self) -> u64 {
        u64::from(self.channels) * u64::from(self.rows) * u64::from(self.cols)
    }

    /// The cells of a layout, one a layer.
    ///
    /// # Errors
    /// `LimitExceeded`; `InvalidInput` for cells of more than 65535 rows or columns.
    pub fn of_layout(layout: &Layout, limits: &Limits) -> Result<Vec<Self>> {
        Self::of(&Grid::new(layout, limits)?)
    }

    pub(crate) fn of(grid: &Grid) -> Result<Vec<Self>> {
        let side = |n: usize| {
            u16::try_from(n)
                .map_err(|_| Error::input(format!("a cell of {n} rows or columns, a transform takes 65535")))
        };
        grid.layers
            .iter()
            .map(|l| {
                Ok(Self { channels: l.channels as u32, rows: side(l.rows)?, cols: side(l.cols)?, laid_out: l.laid_out })
            })
            .collect()
    }
}

/// A calibrated transform: what makes K components, by falling variance, of the values at a position of the grid, and values of them.
#[derive(Clone)]
pub struct Transform {
    id: TransformId,
    cells: Vec<CellShape>,
    dimension: u32,
    variances: Vec<f32>,
    total_variance: f64,
    samples: u64,
    probe: Option<Probe>,
    restoration: Restoration,
    /// One triple a component, shared since encoders and decoders keep transforms of their own.
    intra_weights: Option<Arc<[IntraWeights]>>,
    mapping: Mapping,
}

/// How a transform maps layers to components.
#[derive(Clone)]
pub(crate) enum Mapping {
    Linear(Arc<Linear>),
    Learned(Arc<NetworkPair>),
}

/// Mean, and the vectors that take components out of what is left (analysis) and put them together again (synthesis).
#[derive(Debug)]
pub(crate) struct Linear {
    pub mean: Vec<f32>,
    /// K vectors of D values, one after the other.
    analysis: Vec<f32>,
    /// As many; `None` where they are those of the analysis, an orthonormal basis.
    synthesis: Option<Vec<f32>>,
}

impl Linear {
    /// Analysis vector `k`.
    pub fn analysis(&self, k: usize) -> &[f32] {
        self.vector(&self.analysis, k)
    }

    /// Synthesis vector `k`.
    pub fn synthesis(&self, k: usize) -> &[f32] {
        self.vector(self.synthesis.as_ref().unwrap_or(&self.analysis), k)
    }

    fn vector<'a>(&self, vectors: &'a [f32], k: usize) -> &'a [f32] {
        &vectors[k * self.mean.len()..(k + 1) * self.mean.len()]
    }
}

/// The two networks of a learned transform, as ONNX files (docs/bitstream.md §5.5). Nothing in this crate looks into them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPair {
    /// Layers → fused tensor; at most 2^32 − 1 bytes.
    pub reduction: Vec<u8>,
    /// Fused tensor → layers; at most 2^32 − 1 bytes.
    pub restoration: Vec<u8>,
}

impl std::fmt::Debug for Transform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transform")
            .field("id", &self.id.to_string())
            .field("components", &self.components())
            .field("dimension", &self.dimension())
            .finish_non_exhaustive()
    }
}

impl Transform {
    /// Makes a transform of `mean` (D values), `basis` (K vectors of D values, one after the other) and the `variances` of the
    /// K components; `total_variance` is that of all D.
    ///
    /// # Errors
    /// `InvalidInput` when the lengths do not agree or a value is not finite.
    pub fn new(
        cells: Vec<CellShape>,
        mean: Vec<f32>,
        basis: Vec<f32>,
        variances: Vec<f32>,
        total_variance: f64,
        samples: u64,
    ) -> Result<Self> {
        Self::linear(cells, Linear { mean, analysis: basis, synthesis: None }, variances, total_variance, samples)
    }

    /// The same with `analysis` vectors that take the components out of layers, and `synthesis` vectors of their own that make layers of
    /// them (each K vectors of D values).
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn biorthogonal(
        cells: Vec<CellShape>,
        mean: Vec<f32>,
        analysis: Vec<f32>,
        synthesis: Vec<f32>,
        variances: Vec<f32>,
        total_variance: f64,
        samples: u64,
    ) -> Result<Self> {
        let linear = Linear { mean, analysis, synthesis: Some(synthesis) };
        Self::linear(cells, linear, variances, total_variance, samples)
    }

    fn linear(
        cells: Vec<CellShape>,
        linear: Linear,
        variances: Vec<f32>,
        total_variance: f64,
        samples: u64,
    ) -> Result<Self> {
        let (d, k) = (linear.mean.len(), variances.len());
        let vectors = || std::iter::once(&linear.analysis).chain(&linear.synthesis);
        if vectors().any(|v| k.checked_mul(d) != Some(v.len())) || dimension_of(&cells) != d as u64 {
            return Err(Error::input(format!(
                "a transform of {k} components, dimension {d}, {:?} basis values and cells of {} values: \
                 the basis must be K x D and the cells D",
                vectors().map(Vec::len).collect::<Vec<_>>(),
                dimension_of(&cells)
            )));
        }
        if !linear.mean.iter().chain(vectors().flatten()).all(|v| v.is_finite()) {
            return Err(Error::input("a transform with a value that is not finite"));
        }
        Self::checked(cells, Mapping::Linear(Arc::new(linear)), variances, total_variance, samples)
    }

    /// Makes a transform of a learned pair whose K components have these `variances`, falling or nearly so.
    ///
    /// # Errors
    /// `InvalidInput` for an empty network or one of 2^32 bytes or more, more components than the cells have values, and values that are not
    /// finite.
    pub fn learned(
        cells: Vec<CellShape>,
        networks: NetworkPair,
        variances: Vec<f32>,
        total_variance: f64,
        samples: u64,
    ) -> Result<Self> {
        for (name, network) in [("reduction", &networks.reduction), ("restoration", &networks.restoration)] {
            if network.is_empty() || u32::try_from(network.len()).is_err() {
                let bytes = network.len();
                return Err(Error::input(format!("a {name} network of {bytes} bytes, legal are 1 to {}", u32::MAX)));
            }
        }
        Self::checked(cells, Mapping::Learned(Arc::new(networks)), variances, total_variance, samples)
    }

    /// Checks what both kinds share.
    fn checked(
        cells: Vec<CellShape>,
        mapping: Mapping,
        variances: Vec<f32>,
        total_variance: f64,
        samples: u64,
    ) -> Result<Self> {
        let (d, k) = (dimension_of(&cells), variances.len());
        let dimension = u32::try_from(d)
            .ok()
            .filter(|&d| d > 0 && k > 0 && k as u64 <= u64::from(d))
            .ok_or_else(|| Error::input(format!("a transform of {k} components of dimension {d}: K must be 1 to D")))?;
        if !variances.iter().all(|v| v.is_finite()) || !total_variance.is_finite() || total_variance < 0.0 {
            return Err(Error::input("a transform with a variance that is not finite"));
        }
        let id = TransformId([0; 8]);
        let transform = Self {
            id,
            cells,
            dimension,
            variances,
            total_variance,
            samples,
            probe: None,
            restoration: Restoration::default(),
            intra_weights: None,
            mapping,
        };
        Ok(transform.identified())
    }

    /// The same transform with a probe of its components, which makes it another one with an identity of its own.
    ///
    /// # Errors
    /// `InvalidInput` when the probe looks at more components than there are.
    pub fn with_probe(self, probe: Probe) -> Result<Self> {
        let (weights, k) = (probe.weights().len(), self.variances.len());
        if weights > k {
            return Err(Error::input(format!("a probe of {weights} components for a transform of {k}")));
        }
        Ok(Self { probe: Some(probe), ..self }.identified())
    }

    /// The same transform for streams that are restored so, which makes it another one with an identity of its own.
    pub fn with_restoration(self, restoration: Restoration) -> Self {
        Self { restoration, ..self }.identified()
    }

    /// The same transform with weights for the prediction of intra positions, one triple a component: another one with an identity of its own.
    ///
    /// # Errors
    /// `InvalidInput` when there are not as many as components.
    pub fn with_intra_weights(self, weights: Vec<IntraWeights>) -> Result<Self> {
        let (n, k) = (weights.len(), self.variances.len());
        if n != k {
            return Err(Error::input(format!("intra weights of {n} components for a transform of {k}")));
        }
        Ok(Self { intra_weights: Some(weights.into()), ..self }.identified())
    }

    /// The same transform without weights for the prediction of intra positions: one that readers of earlier versions of the file take.
    pub fn without_intra_weights(self) -> Self {
        Self { intra_weights: None, ..self }.identified()
    }

    /// Its identity, which streams name.
    pub fn id(&self) -> TransformId {
        self.id
    }

    /// Number of components K that it holds.
    pub fn components(&self) -> u32 {
        self.variances.len() as u32
    }

    /// Values D of all layers in one cell of the grid: the length of a basis vector.
    pub fn dimension(&self) -> u32 {
        self.dimension
    }

    /// The networks of a learned transform; `None` of a linear one.
    pub fn networks(&self) -> Option<&NetworkPair> {
        match &self.mapping {
            Mapping::Linear(_) => None,
            Mapping::Learned(networks) => Some(networks),
        }
    }

    /// What tells relevant positions from background, if that was calibrated.
    pub fn probe(&self) -> Option<&Probe> {
        self.probe.as_ref()
    }

    /// How an encoder lets features be restored unless it is told.
    pub fn restoration(&self) -> Restoration {
        self.restoration
    }

    /// Weights of each component for the prediction of intra positions, in 1/64, if they were calibrated.
    pub fn intra_weights(&self) -> Option<&[IntraWeights]> {
        self.intra_weights.as_deref()
    }

    /// Variance of all D values on the calibration data; of a learned transform, of all K components.
    pub fn total_variance(&self) -> f64 {
        self.total_variance
    }

    /// Vectors that it was calibrated on.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Variance of each component on the calibration data, falling.
    pub fn variances(&self) -> &[f32] {
        &self.variances
    }

    /// Share of the calibration data's variance that the first `k` components hold, 0 to 1; of a learned transform, of the components'
    /// variance.
    pub fn energy(&self, k: u32) -> f64 {
        let held: f64 = self.variances.iter().take(k as usize).map(|&v| f64::from(v)).sum();
        if self.total_variance > 0.0 { (held / self.total_variance).clamp(0.0, 1.0) } else { 1.0 }
    }

    /// Whether it was calibrated on layers with cells of these shapes.
    pub fn fits(&self, layout: &Layout) -> bool {
        Grid::new(layout, &Limits { max_fused: u64::MAX, ..Limits::default() })
            .and_then(|grid| CellShape::of(&grid))
            .is_ok_and(|cells| cells == self.cells)
    }

    pub(crate) fn cells(&self) -> &[CellShape] {
        &self.cells
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Mean and vectors; `None` of a learned transform.
    #[cfg(feature = "calibrate")]
    pub(crate) fn vectors(&self) -> Option<&Linear> {
        match &self.mapping {
            Mapping::Linear(linear) => Some(linear),
            Mapping::Learned(_) => None,
        }
    }
}

/// Values of all cells; saturates.
fn dimension_of(cells: &[CellShape]) -> u64 {
    cells.iter().fold(0u64, |sum, c| sum.saturating_add(c.dimension()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Dtype, Layer, Shape};

    pub(super) fn transform() -> Transform {
        let cells = vec![
            CellShape { channels: 1, rows: 2, cols: 1, laid_out: false },
            CellShape { channels: 1, rows: 1, cols: 1, laid_out: false },
        ];
        let basis = vec![1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        Transform::new(cells, vec![1.0, 2.0, 3.0], basis, vec![3.0, 1.0], 5.0, 77).unwrap()
    }

    /// Both layers of [`transform`] as a learned pair that nothing can run.
    pub(super) fn learned() -> Transform {
        let networks = NetworkPair { reduction: b"down".to_vec(), restoration: b"up again".to_vec() };
        Transform::learned(transform().cells, networks, vec![3.0, 1.0], 4.0, 77).unwrap()
    }

    #[test]
    fn fits_any_resolution_with_the_same_cells() {
        let layout = |h, w, h2, w2| {
            let layer = |h, w| Layer::new("", Shape::chw(1, h, w), Dtype::F32);
            Layout::new(vec![layer(h, w), layer(h2, w2)], &Limits::default()).unwrap()
        };
        assert!(transform().fits(&layout(8, 5, 4, 5)));
        assert!(transform().fits(&layout(20, 30, 10, 30)));
        assert!(!transform().fits(&layout(8, 5, 8, 5)));
    }

    #[test]
    fn a_pair_has_networks_of_its_own_and_no_more_components_than_values() {
        assert_eq!(learned().networks().unwrap().restoration, b"up again");
        assert!(transform().networks().is_none());
        let pair = |reduction: &[u8], k: usize| {
            let networks = NetworkPair { reduction: reduction.to_vec(), restoration: vec![1] };
            Transform::learned(transform().cells, networks, vec![1.0; k], 4.0, 77)
        };
        assert!(pair(b"r", 3).is_ok());
        assert!(pair(b"r", 4).unwrap_err().to_string().contains("K must be 1 to D"));
        assert!(pair(b"r", 0).is_err());
        assert!(pair(b"", 3).unwrap_err().to_string().contains("reduction network of 0 bytes"));
    }
}
