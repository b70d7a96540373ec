//! Block DCT of every cell: the reduction that needs no calibration (docs/bitstream.md §5.3).
//!
//! Orthonormal DCT-II over the rows and columns of each cell of each channel. Components are ordered by frequency, lowest first, so
//! that they fall in variance on any features that are smooth in space.

use super::grid::{Grid, LANES, LayerCells};
use crate::error::Result;
use crate::intra::IntraWeights;
use crate::limits::{self, Limits};

/// Weights of the intra prediction of components of frequency 0 of maps (docs/bitstream.md §6.2). Together they are one, so that what
/// all positions have in common is not coded again at each of them.
const OF_MEANS: IntraWeights = [36, 36, -8];

/// Weights of the intra prediction of the first `count` components, whose order is that of [`Dct::new`].
pub fn intra_weights(grid: &Grid, count: usize) -> Vec<IntraWeights> {
    // Values of a layer that is laid out have nothing to do with those beside them.
    let of_layer = |l: &LayerCells| if l.laid_out { [0; 3] } else { OF_MEANS };
    let means = grid.layers.iter().flat_map(|l| std::iter::repeat_n(of_layer(l), l.channels));
    means.chain(std::iter::repeat([0; 3])).take(count).collect()
}

/// Where a component comes from.
#[derive(Debug, Clone, Copy)]
struct Component {
    layer: u16,
    /// Frequency along the rows and columns of the cell.
    row: u16,
    col: u16,
    /// First value of the cell in the vector of a position.
    cell: u32,
}

/// The transform of one grid, cut to its first components.
#[derive(Debug)]
pub struct Dct {
    components: Vec<Component>,
    /// Of each layer: rows, columns, and the matrices for them (frequency by place).
    cells: Vec<Cell>,
}

#[derive(Debug)]
struct Cell {
    offset: usize,
    channels: usize,
    rows: usize,
    cols: usize,
    row_matrix: Vec<f32>,
    col_matrix: Vec<f32>,
}

/// Orthonormal DCT-II of size `n`, frequency by place.
fn matrix(n: usize) -> Vec<f32> {
    // The angles are multiples of π / 2n: 4n cosines hold all n² of them, also when a hostile header makes n large.
    let cosines: Vec<f64> = (0..4 * n).map(|k| (std::f64::consts::PI * k as f64 / (2 * n) as f64).cos()).collect();
    let value = |u: usize, i: usize| {
        let scale = if u == 0 { 1.0 / n as f64 } else { 2.0 / n as f64 };
        (scale.sqrt() * cosines[(2 * i + 1) * u % (4 * n)]) as f32
    };
    (0..n * n).map(|at| value(at / n, at % n)).collect()
}

impl Dct {
    /// Refuses a grid whose cells are so long that their tables (rows² + columns² values a layer) would outgrow the features.
    pub fn check(grid: &Grid, limits: &Limits) -> Result<()> {
        let square = |n: usize| (n as u64).saturating_mul(n as u64);
        let tables =
            grid.layers.iter().fold(0u64, |sum, l| sum.saturating_add(square(l.rows).saturating_add(square(l.cols))));
        limits::check("number of values in the tables of the block DCT", tables, limits.max_fused)?;
        // Frequencies are kept in 16 bits; only limits far above the defaults let this many through.
        let side = grid.layers.iter().map(|l| l.rows.max(l.cols)).max().unwrap_or(0);
        limits::check("number of rows or columns of a cell of the block DCT", side as u64, u64::from(u16::MAX))
    }

    /// The first `count` components of the transform of `grid`.
    pub fn new(grid: &Grid, count: usize) -> Self {
        let mut components = Vec::with_capacity(grid.dimension);
        for (n, layer) in grid.layers.iter().enumerate() {
            for c in 0..layer.channels {
                let cell = (layer.offset + c * layer.rows * layer.cols) as u32;
                for at in 0..layer.rows * layer.cols {
                    let (row, col) = ((at / layer.cols) as u16, (at % layer.cols) as u16);
                    components.push(Component { layer: n as u16, row, col, cell });
                }
            }
        }
        components.sort_by_key(|c| {
            let (row, col) = (u64::from(c.row), u64::from(c.col));
            (row * row + col * col, c.layer, c.row, c.col, c.cell)
        });
        components.truncate(count);
        components.shrink_to_fit();
        let cells = grid.layers.iter().map(|l| Cell {
            offset: l.offset,
            channels: l.channels,
            rows: l.rows,
            cols: l.cols,
            row_matrix: matrix(l.rows),
            col_matrix: matrix(l.cols),
        });
        Self { components, cells: cells.collect() }
    }

    /// Values that `scratch` of [`Self::forward`] must hold.
    pub fn scratch(&self) -> usize {
        self.cells.iter().map(|c| c.rows * c.cols * LANES).max().unwrap_or(0)
    }

    /// Transforms the vectors in `panel` (`[D][LANES]`) in place.
    pub fn forward(&self, panel: &mut [f32], scratch: &mut [f32]) {
        for cell in self.cells.iter().filter(|c| c.rows * c.cols > 1) {
            let size = cell.rows * cell.cols * LANES;
            for block in panel[cell.offset * LANES..][..cell.channels * size].chunks_exact_mut(size) {
                let scratch = &mut scratch[..size];
                // Columns, row by row: block → scratch.
                for (from, to) in block.chunks_exact(cell.cols * LANES).zip(scratch.chunks_exact_mut(cell.cols * LANES))
                {
                    combine(&cell.col_matrix, cell.cols, from, to, LANES);
                }
                // Rows, all columns at once: scratch → block.
                combine(&cell.row_matrix, cell.rows, scratch, block, cell.cols * LANES);
            }
        }
    }

    /// Copies the first `lanes` lanes of the transformed `panel` to the planes of their components.
    pub fn pick(&self, panel: &[f32], lanes: usize, planes: &mut [f32], stride: usize, column: usize) {
        for (component, plane) in self.components.iter().zip(planes.chunks_exact_mut(stride)) {
            let cols = self.cells[usize::from(component.layer)].cols;
            let d = component.cell as usize + usize::from(component.row) * cols + usize::from(component.col);
            plane[column..column + lanes].copy_from_slice(&panel[d * LANES..d * LANES + lanes]);
        }
    }

    /// Adds `weight` times basis vector `k` to `vector`.
    pub fn add(&self, k: usize, weight: f32, vector: &mut [f32]) {
        let component = self.components[k];
        let cell = &self.cells[usize::from(component.layer)];
        let cols = &cell.col_matrix[usize::from(component.col) * cell.cols..][..cell.cols];
        let rows = &cell.row_matrix[usize::from(component.row) * cell.rows..][..cell.rows];
        let values = &mut vector[component.cell as usize..][..cell.rows * cell.cols];
        for (line, r) in values.chunks_exact_mut(cell.cols).zip(rows) {
            let weight = weight * r;
            line.iter_mut().zip(cols).for_each(|(v, c)| *v += weight * c);
        }
    }
}

/// `to[u] = Σ matrix[u][i] · from[i]` for runs of `run` values.
fn combine(matrix: &[f32], n: usize, from: &[f32], to: &mut [f32], run: usize) {
    for (weights, to) in matrix.chunks_exact(n).zip(to.chunks_exact_mut(run)) {
        to.fill(0.0);
        for (w, from) in weights.iter().zip(from.chunks_exact(run)) {
            to.iter_mut().zip(from).for_each(|(t, f)| *t += w * f);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dtype, Layer, Layout, Shape};

    #[test]
    fn inverse_of_all_components_restores_the_vectors() {
        let layer = |c, h, w| Layer::new("", Shape::chw(c, h, w), Dtype::F32);
        let layout = Layout::new(vec![layer(2, 6, 8), layer(3, 2, 2), layer(1, 2, 4)], &Limits::default()).unwrap();
        let grid = Grid::new(&layout, &Limits::default()).unwrap();
        let d = grid.dimension;
        assert_eq!(d, 2 * 12 + 3 + 2);
        let dct = Dct::new(&grid, d);
        let panel: Vec<f32> = (0..d * LANES).map(|i| ((i * 7919 % 1000) as f32) / 500.0 - 1.0).collect();
        let mut transformed = panel.clone();
        dct.forward(&mut transformed, &mut vec![0.0; dct.scratch()]);
        let mut planes = vec![0.0; d * LANES];
        dct.pick(&transformed, LANES, &mut planes, LANES, 0);
        for lane in 0..LANES {
            let mut vector = vec![0.0; d];
            (0..d).for_each(|k| dct.add(k, planes[k * LANES + lane], &mut vector));
            for (i, v) in vector.iter().enumerate() {
                assert!((v - panel[i * LANES + lane]).abs() < 1e-5, "lane {lane} value {i}");
            }
        }
    }

    #[test]
    fn components_of_frequency_zero_come_first() {
        let layer = |c, h, w| Layer::new("", Shape::chw(c, h, w), Dtype::F32);
        let layout = Layout::new(vec![layer(2, 4, 4), layer(3, 2, 2)], &Limits::default()).unwrap();
        let grid = Grid::new(&layout, &Limits::default()).unwrap();
        let dct = Dct::new(&grid, 6);
        let at: Vec<_> = dct.components.iter().map(|c| (c.layer, c.row, c.col)).collect();
        assert_eq!(at, [(0, 0, 0), (0, 0, 0), (1, 0, 0), (1, 0, 0), (1, 0, 0), (0, 0, 1)]);
    }

    #[test]
    fn means_of_maps_are_predicted_and_nothing_else() {
        let layers = vec![
            Layer::new("", Shape::chw(2, 4, 4), Dtype::F32),
            Layer::new("", Shape::vector(5), Dtype::F32),
            Layer::new("", Shape::chw(1, 2, 2), Dtype::F32),
        ];
        let grid = Grid::new(&Layout::new(layers, &Limits::default()).unwrap(), &Limits::default()).unwrap();
        let dct = Dct::new(&grid, grid.dimension);
        let weights = intra_weights(&grid, grid.dimension);
        assert_eq!(weights.len(), grid.dimension);
        for (component, weights) in dct.components.iter().zip(weights) {
            let mean = (component.row, component.col) == (0, 0) && component.layer != 1;
            assert_eq!(weights, if mean { OF_MEANS } else { [0; 3] }, "{component:?}");
        }
        assert_eq!(intra_weights(&grid, 1), [OF_MEANS]);
    }
}
