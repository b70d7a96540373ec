//! The calibrated transform and its file, `.fcmt` (docs/bitstream.md §9).

use super::grid::Grid;
use super::relevance::{MAX_WEIGHTS, Probe};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{self, Limits};
use crate::tensor::Layout;
use sha2::{Digest, Sha256};

const MAGIC: [u8; 4] = *b"FCMT";
/// Newest version; files without a probe are of version 1.
const VERSION: u8 = 2;
/// Bytes before the cells: magic, version, 3 reserved, layers, D, K, samples, total variance.
const FIXED: usize = 4 + 4 + 4 + 4 + 4 + 8 + 8;
const CELL: usize = 12;
const DIGEST: usize = 32;

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

/// A calibrated Karhunen–Loève transform: mean and orthonormal basis vectors by falling variance.
#[derive(Clone)]
pub struct Transform {
    id: TransformId,
    cells: Vec<CellShape>,
    mean: Vec<f32>,
    basis: Vec<f32>,
    variances: Vec<f32>,
    total_variance: f64,
    samples: u64,
    probe: Option<Probe>,
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
        let (d, k) = (mean.len(), variances.len());
        let of_cells = cells.iter().fold(0u64, |sum, c| sum.saturating_add(c.dimension()));
        if d == 0 || k == 0 || k > d || of_cells != d as u64 || k.checked_mul(d) != Some(basis.len()) {
            return Err(Error::input(format!(
                "a transform of {k} components, dimension {d}, {} basis values and cells of {of_cells} values: \
                 K must be 1 to D, the basis K x D and the cells D",
                basis.len()
            )));
        }
        let all = mean.iter().chain(&basis).chain(&variances);
        if !all.into_iter().all(|v| v.is_finite()) || !total_variance.is_finite() || total_variance < 0.0 {
            return Err(Error::input("a transform with a value that is not finite"));
        }
        let id = TransformId([0; 8]);
        let transform = Self { id, cells, mean, basis, variances, total_variance, samples, probe: None };
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

    fn identified(mut self) -> Self {
        self.id = id_of(&Sha256::digest(self.content()));
        self
    }

    /// Reads a `.fcmt` file's bytes.
    ///
    /// # Errors
    /// `Corruption` (bad magic, checksum, or values), `InsufficientData`, `Compatibility`, `LimitExceeded`.
    pub fn from_bytes(bytes: &[u8], limits: &Limits) -> Result<Self> {
        limits::check("number of bytes in a transform", bytes.len() as u64, limits.max_transform)?;
        if bytes.len() < FIXED + DIGEST {
            return Err(Error::truncated(format!(
                "a transform of {} bytes, the shortest has {}",
                bytes.len(),
                FIXED + DIGEST
            )));
        }
        if bytes[..4] != MAGIC {
            return Err(Error::corrupt(format!("a transform that begins {:02x?}, not \"FCMT\"", &bytes[..4])));
        }
        let version = bytes[4];
        if !(1..=VERSION).contains(&version) {
            return Err(Error::new(
                ErrorKind::Compatibility,
                format!("a transform of version {version}, this build reads versions 1 to {VERSION}"),
            ));
        }
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let (layers, d, k) = (u32_at(8), u32_at(12), u32_at(16));
        limits::check("number of layers", u64::from(layers), u64::from(limits.max_layers.min(256)))?;
        let (weights, content_start) = if version >= 2 { (u32_at(FIXED), FIXED + 4) } else { (0, FIXED) };
        limits::check("number of weights of a probe", u64::from(weights), MAX_WEIGHTS as u64)?;
        let probe_floats = if version >= 2 { u64::from(weights) + 1 } else { 0 };
        let floats = (u64::from(d) * u64::from(k)).saturating_add(u64::from(d) + u64::from(k) + probe_floats);
        let fixed = (content_start + DIGEST) as u64 + u64::from(layers) * CELL as u64;
        let expected = floats.saturating_mul(4).saturating_add(fixed);
        if bytes.len() as u64 != expected {
            let message = format!("a transform of {} bytes, its header promises {expected}", bytes.len());
            return Err(if (bytes.len() as u64) < expected {
                Error::truncated(message)
            } else {
                Error::corrupt(message)
            });
        }
        let (content, digest) = bytes.split_at(bytes.len() - DIGEST);
        let computed = Sha256::digest(content);
        if computed.as_slice() != digest {
            return Err(Error::corrupt("a transform whose checksum does not match its content"));
        }
        let samples = u64::from_le_bytes(bytes[20..28].try_into().expect("8 bytes"));
        let total_variance = f64::from_le_bytes(bytes[28..36].try_into().expect("8 bytes"));
        let (cells, values) = content[content_start..].split_at(layers as usize * CELL);
        // Whatever is read must be what `content` writes, or the identity would not be that of the file.
        let reserved = bytes[5..8].iter().chain(cells.chunks_exact(CELL).flat_map(|c| &c[9..CELL]));
        if reserved.into_iter().any(|&b| b != 0) || cells.chunks_exact(CELL).any(|c| c[8] > 1) {
            return Err(Error::corrupt("a transform with a reserved bit set"));
        }
        let cells = cells
            .chunks_exact(CELL)
            .map(|c| CellShape {
                channels: u32::from_le_bytes(c[..4].try_into().expect("4 bytes")),
                rows: u16::from_le_bytes([c[4], c[5]]),
                cols: u16::from_le_bytes([c[6], c[7]]),
                laid_out: c[8] != 0,
            })
            .collect();
        let mut values = values.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes")));
        let mut take = |n: usize| values.by_ref().take(n).collect::<Vec<f32>>();
        let (variances, mean) = (take(k as usize), take(d as usize));
        let basis = take(k as usize * d as usize);
        let probe = (version >= 2).then(|| (take(1)[0], take(weights as usize)));
        let transform = Self::new(cells, mean, basis, variances, total_variance, samples)
            .and_then(|t| match probe {
                Some((bias, weights)) => t.with_probe(Probe::new(bias, weights)?),
                None => Ok(t),
            })
            .map_err(|e| Error::corrupt(e.to_string()))?;
        debug_assert_eq!(transform.id, id_of(&computed));
        Ok(transform)
    }

    /// The `.fcmt` file of this transform.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.content();
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    fn content(&self) -> Vec<u8> {
        let floats = self.mean.len() + self.variances.len() + self.basis.len();
        let mut bytes = Vec::with_capacity(FIXED + self.cells.len() * CELL + floats * 4 + DIGEST);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[if self.probe.is_some() { 2 } else { 1 }, 0, 0, 0]);
        bytes.extend_from_slice(&(self.cells.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.dimension().to_le_bytes());
        bytes.extend_from_slice(&self.components().to_le_bytes());
        bytes.extend_from_slice(&self.samples.to_le_bytes());
        bytes.extend_from_slice(&self.total_variance.to_le_bytes());
        if let Some(probe) = &self.probe {
            bytes.extend_from_slice(&(probe.weights().len() as u32).to_le_bytes());
        }
        for c in &self.cells {
            bytes.extend_from_slice(&c.channels.to_le_bytes());
            bytes.extend_from_slice(&c.rows.to_le_bytes());
            bytes.extend_from_slice(&c.cols.to_le_bytes());
            bytes.extend_from_slice(&[u8::from(c.laid_out), 0, 0, 0]);
        }
        for v in self.variances.iter().chain(&self.mean).chain(&self.basis) {
            bytes.extend_from_slice(&v.to_le_bytes());
        }
        if let Some(probe) = &self.probe {
            for v in std::iter::once(probe.bias()).chain(probe.weights().iter().copied()) {
                bytes.extend_from_slice(&v.to_le_bytes());
            }
        }
        bytes
    }

    /// Its identity, which streams name.
    pub fn id(&self) -> TransformId {
        self.id
    }

    /// Number of components K that it holds.
    pub fn components(&self) -> u32 {
        self.variances.len() as u32
    }

    /// Length D of a basis vector: values of all layers in one cell of the grid.
    pub fn dimension(&self) -> u32 {
        self.mean.len() as u32
    }

    /// What tells relevant positions from background, if that was calibrated.
    pub fn probe(&self) -> Option<&Probe> {
        self.probe.as_ref()
    }

    /// Variance of all D values on the calibration data.
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

    /// Share of the calibration data's variance that the first `k` components hold, 0 to 1.
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

    pub(crate) fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Basis vector `k`.
    pub(crate) fn vector(&self, k: usize) -> &[f32] {
        &self.basis[k * self.mean.len()..(k + 1) * self.mean.len()]
    }
}

fn id_of(digest: &[u8]) -> TransformId {
    TransformId(digest[..8].try_into().expect("a digest of 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Dtype, Layer, Shape};

    fn transform() -> Transform {
        let cells = vec![
            CellShape { channels: 1, rows: 2, cols: 1, laid_out: false },
            CellShape { channels: 1, rows: 1, cols: 1, laid_out: false },
        ];
        let basis = vec![1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        Transform::new(cells, vec![1.0, 2.0, 3.0], basis, vec![3.0, 1.0], 5.0, 77).unwrap()
    }

    #[test]
    fn file_round_trip_keeps_content_and_id() {
        let a = transform();
        let b = Transform::from_bytes(&a.to_bytes(), &Limits::default()).unwrap();
        assert_eq!(a.id(), b.id());
        assert_eq!(a.to_bytes(), b.to_bytes());
        assert_eq!((b.components(), b.dimension(), b.samples()), (2, 3, 77));
        assert!((b.energy(1) - 0.6).abs() < 1e-12 && (b.energy(2) - 0.8).abs() < 1e-12);
    }

    #[test]
    fn a_probe_travels_in_version_2_and_changes_the_id() {
        let probe = Probe::new(-0.5, vec![1.0, 2.0]).unwrap();
        let with = transform().with_probe(probe.clone()).unwrap();
        assert_ne!(with.id(), transform().id());
        let bytes = with.to_bytes();
        assert_eq!((bytes[4], transform().to_bytes()[4]), (2, 1));
        let read = Transform::from_bytes(&bytes, &Limits::default()).unwrap();
        assert_eq!((read.id(), read.probe()), (with.id(), Some(&probe)));
        assert!(transform().with_probe(Probe::new(0.0, vec![0.0; 3]).unwrap()).is_err());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        every_flip_and_cut_is_refused(&transform().to_bytes());
        every_flip_and_cut_is_refused(&transform().with_probe(Probe::new(1.0, vec![3.0]).unwrap()).unwrap().to_bytes());
    }

    fn every_flip_and_cut_is_refused(file: &[u8]) {
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut bad = file.to_vec();
                bad[at] ^= 1 << bit;
                assert!(Transform::from_bytes(&bad, &Limits::default()).is_err(), "byte {at} bit {bit}");
            }
            let error = Transform::from_bytes(&file[..at], &Limits::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InsufficientData, "cut at {at}");
        }
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
    fn an_absurd_header_is_refused_before_allocation() {
        let mut file = transform().to_bytes();
        file[12..20].copy_from_slice(&[0xFF; 8]);
        assert_eq!(Transform::from_bytes(&file, &Limits::default()).unwrap_err().kind(), ErrorKind::InsufficientData);
    }
}
