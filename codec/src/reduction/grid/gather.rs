//! Layers → vectors of grid positions, and how far those are from vectors gathered before.

use super::{Grid, LANES, LayerCells};
use crate::kernels::distance::{add_squares, squared_distance};
use crate::tensor::TensorRef;
use crate::tensor::value::Value;
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Sums that are kept at once: half of a first-level cache, and the runs of memory that they are of are long enough to be fetched ahead.
const PIECE: usize = 4096;

/// Grid positions that are processed together, one in each lane.
#[derive(Debug, Clone, Copy)]
pub struct Lanes {
    positions: [usize; LANES],
    len: usize,
}

impl Lanes {
    /// Positions `block * LANES` to `block * LANES + LANES - 1`, as far as there are so many as `positions`.
    pub fn block(block: usize, positions: usize) -> Self {
        (block * LANES..positions).take(LANES).collect()
    }

    /// Number of positions.
    #[cfg(any(test, feature = "calibrate"))]
    pub fn len(&self) -> usize {
        self.len
    }

    fn positions(&self) -> &[usize] {
        &self.positions[..self.len]
    }
}

impl FromIterator<usize> for Lanes {
    /// Of the first 32 positions.
    fn from_iter<I: IntoIterator<Item = usize>>(positions: I) -> Self {
        let mut lanes = Self { positions: [0; LANES], len: 0 };
        for (to, position) in lanes.positions.iter_mut().zip(positions) {
            *to = position;
            lanes.len += 1;
        }
        lanes
    }
}

/// Neighbouring cells in neighbouring lanes.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    /// The first lane.
    lane: usize,
    /// Where the first cell begins, relative to where that of the first position does, in columns of a cell.
    place: usize,
    /// Number of cells.
    len: usize,
}

impl Run {
    #[inline(always)]
    fn cells(&self) -> Range<usize> {
        self.place..self.place + self.len
    }
}

struct Runs {
    runs: [Run; LANES],
    len: usize,
}

impl Runs {
    fn all(&self) -> &[Run] {
        &self.runs[..self.len]
    }
}

impl Grid {
    /// Gathers the vectors of the positions `lanes` of `tensors`, one a layer, into `panel` (`[dimension][LANES]`), `offset[d]` subtracted
    /// from each. What is in the lanes beyond is of no use.
    pub fn gather(&self, tensors: &[TensorRef<'_>], offset: Option<&[f32]>, lanes: &Lanes, panel: &mut [f32]) {
        for (cells, tensor) in self.layers.iter().zip(tensors) {
            let part = cells.offset..cells.offset + cells.dimension();
            let offset = offset.map(|o| &o[part.clone()]);
            let panel = panel[part.start * LANES..part.end * LANES].as_chunks_mut::<LANES>().0;
            match tensor {
                TensorRef::F16(values) => self.gather_layer(cells, values, offset, lanes, panel),
                TensorRef::F32(values) => self.gather_layer(cells, values, offset, lanes, panel),
            }
        }
    }

    fn gather_layer<T: Value>(
        &self,
        cells: &LayerCells,
        values: &[T],
        offset: Option<&[f32]>,
        lanes: &Lanes,
        panel: &mut [[f32; LANES]],
    ) {
        with_columns!(cells.whole_columns(), COLS => {
            let (values, runs) = (values.as_chunks::<COLS>().0, self.runs(cells, lanes));
            Arch::new().dispatch(GatherWhole { cells, values, runs: runs.all(), offset, panel });
        }, _ => self.for_each_row(cells, lanes, |d, indices| {
            let o = offset.map_or(0.0, |o| o[d]);
            let mut picked = [T::ZERO; LANES];
            picked.iter_mut().zip(indices).for_each(|(to, &index)| *to = values[index]);
            panel[d].iter_mut().zip(picked).for_each(|(out, value)| *out = value.widen() - o);
        }))
    }

    /// Takes the values of layer `n` at the positions `lanes` over from one tensor into another.
    pub fn copy<T: Value>(&self, n: usize, lanes: &Lanes, from: &[T], to: &mut [T]) {
        let cells = &self.layers[n];
        with_columns!(
            cells.whole_columns(),
            COLS => self.copy_whole::<COLS, T>(cells, lanes, from, to),
            _ => self.for_each_row(cells, lanes, |_, indices| indices.iter().for_each(|&index| to[index] = from[index]))
        )
    }

    fn copy_whole<const COLS: usize, T: Value>(&self, cells: &LayerCells, lanes: &Lanes, from: &[T], to: &mut [T]) {
        let (from, to) = (from.as_chunks::<COLS>().0, to.as_chunks_mut::<COLS>().0);
        let runs = self.runs(cells, lanes);
        for line in cells.lines_of_cells::<COLS>() {
            let (from, to) = (&from[line..], &mut to[line..]);
            for run in runs.all() {
                for (to, from) in to[run.cells()].iter_mut().zip(&from[run.cells()]) {
                    *to = *from;
                }
            }
        }
    }

    /// Adds to `sums`, one for each position in the rows `rows` of the grid, the squared distances of the vectors of two tensors of layer
    /// `n`. Padding does not count.
    pub fn add_distances<T: Value>(&self, n: usize, rows: Range<usize>, a: &[T], b: &[T], sums: &mut [f32]) {
        Arch::new().dispatch(AddDistances { grid: self, cells: &self.layers[n], rows, a, b, sums });
    }

    #[inline(always)]
    fn add_distances_laid_out<T: Value>(
        &self,
        cells: &LayerCells,
        rows: Range<usize>,
        a: &[T],
        b: &[T],
        sums: &mut [f32],
    ) {
        for start in (0..cells.elements).step_by(self.positions()) {
            let part = start + rows.start * self.width..(start + rows.end * self.width).min(cells.elements);
            if !part.is_empty() {
                add_squares(sums, &a[part.clone()], &b[part]);
            }
        }
    }

    /// Channels that each lie in memory as a plane: of every one the same piece of neighbouring lines.
    #[inline(always)]
    fn add_distances_of_planes<T: Value>(
        &self,
        cells: &LayerCells,
        rows: Range<usize>,
        a: &[T],
        b: &[T],
        sums: &mut [f32],
    ) {
        let lines = cells.lines(rows.clone());
        let end = lines.end * cells.width;
        for start in (lines.start * cells.width..end).step_by(PIECE) {
            let len = PIECE.min(end - start);
            let mut piece = [0f32; PIECE];
            let piece = &mut piece[..len];
            for c in 0..cells.channels {
                let part = c * cells.stride.0 + start..c * cells.stride.0 + start + len;
                add_squares(piece, &a[part.clone()], &b[part]);
            }
            let mut at = start;
            while at < start + len {
                let (line, column) = (at / cells.width, at % cells.width);
                let row = &mut sums[(line / cells.rows - rows.start) * self.width..];
                let end = (start + len).min(at - column + cells.width);
                for (i, &sum) in piece[at - start..end - start].iter().enumerate() {
                    row[(column + i) / cells.cols] += sum;
                }
                at = end;
            }
        }
    }

    /// Pixels that have their channels together in memory.
    #[inline(always)]
    fn add_distances_of_pixels<T: Value>(
        &self,
        cells: &LayerCells,
        rows: Range<usize>,
        a: &[T],
        b: &[T],
        sums: &mut [f32],
    ) {
        let (_, sy, sx) = cells.stride;
        for line in cells.lines(rows.clone()) {
            let row = &mut sums[(line / cells.rows - rows.start) * self.width..];
            for column in 0..cells.width {
                let start = line * sy + column * sx;
                let part = start..start + cells.channels;
                row[column / cells.cols] += squared_distance(&a[part.clone()], &b[part]);
            }
        }
    }

    /// Which cells lie next to each other in memory.
    fn runs(&self, cells: &LayerCells, lanes: &Lanes) -> Runs {
        let mut runs = Runs { runs: [Run::default(); LANES], len: 0 };
        for (lane, &p) in lanes.positions().iter().enumerate() {
            let place = p / self.width * cells.rows * self.width + p % self.width;
            match runs.runs[..runs.len].last_mut() {
                Some(run) if run.place + run.len == place => run.len += 1,
                _ => {
                    runs.runs[runs.len] = Run { lane, place, len: 1 };
                    runs.len += 1;
                }
            }
        }
        runs
    }

    /// Gives `visit` every value d (counted from the layer's offset) of the cells with its index in memory in each lane; that of the value
    /// that is repeated, where it is padding.
    #[inline(always)]
    fn for_each_row(&self, cells: &LayerCells, lanes: &Lanes, mut visit: impl FnMut(usize, &[usize])) {
        let (sc, sy, sx) = if cells.laid_out { (self.positions(), 0, 0) } else { cells.stride };
        for i in 0..cells.rows {
            for j in 0..cells.cols {
                let of_first_channel = lanes.positions.map(|p| {
                    let y = (p / self.width * cells.rows + i).min(cells.height - 1);
                    let x = (p % self.width * cells.cols + j).min(cells.width - 1);
                    if cells.laid_out { p } else { y * sy + x * sx }
                });
                for c in 0..cells.channels {
                    // The last plane of what is laid out may be cut short.
                    let indices = of_first_channel.map(|index| (c * sc + index).min(cells.elements - 1));
                    visit((c * cells.rows + i) * cells.cols + j, &indices[..lanes.len]);
                }
            }
        }
    }
}

impl LayerCells {
    /// Where each line of each channel of the cell of the first position begins, in columns of a cell.
    #[inline(always)]
    fn lines_of_cells<const COLS: usize>(&self) -> impl Iterator<Item = usize> {
        let (plane, width, rows) = (self.stride.0, self.width, self.rows);
        (0..self.channels * rows).map(move |n| (n / rows * plane + n % rows * width) / COLS)
    }

    /// Lines of the layer in some rows of the grid.
    fn lines(&self, rows: Range<usize>) -> Range<usize> {
        let line = |row: usize| (row * self.rows).min(self.height);
        line(rows.start)..line(rows.end)
    }
}

/// [`Grid::gather`] of one layer of whole cells with so many columns. (Types, not closures: what is as long as this is not made with
/// the instructions that it was dispatched to otherwise.)
struct GatherWhole<'a, const COLS: usize, T> {
    cells: &'a LayerCells,
    values: &'a [[T; COLS]],
    runs: &'a [Run],
    offset: Option<&'a [f32]>,
    panel: &'a mut [[f32; LANES]],
}

impl<const COLS: usize, T: Value> WithSimd for GatherWhole<'_, COLS, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { cells, values, runs, offset, panel } = self;
        for (n, (line, rows)) in cells.lines_of_cells::<COLS>().zip(panel.chunks_exact_mut(COLS)).enumerate() {
            let from = &values[line..];
            let offset = |j: usize| offset.map_or(0.0, |o| o[n * COLS + j]);
            if T::WIDE {
                for run in runs {
                    let from = &from[run.cells()];
                    for (j, row) in rows.iter_mut().enumerate() {
                        let o = offset(j);
                        for (out, from) in row[run.lane..].iter_mut().zip(from) {
                            *out = from[j].widen() - o;
                        }
                    }
                }
                continue;
            }
            // First only moved, then converted: the one jumps about in memory, the other goes in vectors.
            let mut picked = [[T::ZERO; LANES]; COLS];
            for run in runs {
                let from = &from[run.cells()];
                for (j, row) in picked.iter_mut().enumerate() {
                    for (to, from) in row[run.lane..].iter_mut().zip(from) {
                        *to = from[j];
                    }
                }
            }
            for (j, (row, picked)) in rows.iter_mut().zip(&picked).enumerate() {
                let o = offset(j);
                for (out, value) in row.iter_mut().zip(picked) {
                    *out = value.widen() - o;
                }
            }
        }
    }
}

/// [`Grid::add_distances`].
struct AddDistances<'a, T> {
    grid: &'a Grid,
    cells: &'a LayerCells,
    rows: Range<usize>,
    a: &'a [T],
    b: &'a [T],
    sums: &'a mut [f32],
}

impl<T: Value> WithSimd for AddDistances<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { grid, cells, rows, a, b, sums } = self;
        match cells.stride.2 {
            _ if cells.laid_out => grid.add_distances_laid_out(cells, rows, a, b, sums),
            1 => grid.add_distances_of_planes(cells, rows, a, b, sums),
            _ => grid.add_distances_of_pixels(cells, rows, a, b, sums),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::tensor::{ChannelOrder, Dtype, Layer, Layout, Shape};
    use half::f16;

    /// Every kind of layer on a grid of seven rows of ten positions, each lane against the definition (docs/bitstream.md §5.1).
    #[test]
    fn vectors_have_the_values_of_their_cells_and_padding_repeats_the_last_line_and_column() {
        let shapes = [
            (Shape::chw(3, 7, 10), ChannelOrder::Chw),
            (Shape::chw(2, 14, 20), ChannelOrder::Chw),
            (Shape::chw(2, 28, 40), ChannelOrder::Chw),
            (Shape::chw(1, 7, 80), ChannelOrder::Chw),
            (Shape::chw(2, 13, 25), ChannelOrder::Chw),
            (Shape::chw(5, 14, 20), ChannelOrder::Hwc),
            (Shape::vector(100), ChannelOrder::Chw),
        ];
        let layers = shapes.map(|(shape, order)| Layer { order, ..Layer::new("", shape, Dtype::F16) });
        let layout = Layout::new(layers.to_vec(), &Limits::default()).unwrap();
        let grid = Grid::new(&layout, &Limits::default()).unwrap();
        let value = |n: usize, index: usize| (n * 256 + index % 251) as f32;
        let wide: Vec<Vec<f32>> = shapes
            .iter()
            .enumerate()
            .map(|(n, (s, _))| (0..s.elements() as usize).map(|i| value(n, i)).collect())
            .collect();
        let narrow: Vec<Vec<f16>> = wide.iter().map(|v| v.iter().map(|&v| f16::from_f32(v)).collect()).collect();
        let offset: Vec<f32> = (0..grid.dimension).map(|d| d as f32).collect();
        // A block of neighbours over the end of a row, and positions here and there with neighbours among them.
        for positions in [(32..64).collect::<Vec<usize>>(), vec![0, 1, 2, 9, 10, 33, 69]] {
            let lanes: Lanes = positions.iter().copied().collect();
            let mut panels = [vec![0.0; grid.dimension * LANES], vec![0.0; grid.dimension * LANES]];
            let of_narrow: Vec<TensorRef<'_>> = narrow.iter().map(|v| TensorRef::F16(v)).collect();
            let of_wide: Vec<TensorRef<'_>> = wide.iter().map(|v| TensorRef::F32(v)).collect();
            grid.gather(&of_narrow, Some(&offset), &lanes, &mut panels[0]);
            grid.gather(&of_wide, Some(&offset), &lanes, &mut panels[1]);
            let mut d = 0;
            for (n, (shape, order)) in shapes.iter().enumerate() {
                let (channels, height, width) =
                    (shape.channels() as usize, shape.height() as usize, shape.width() as usize);
                let (rows, cols) = (height.div_ceil(7), width.div_ceil(10));
                let planes = if shape.is_vector() { channels.div_ceil(70) } else { channels };
                for (c, i, j) in (0..planes).flat_map(|c| (0..rows * cols).map(move |k| (c, k / cols, k % cols))) {
                    for (lane, p) in positions.iter().enumerate() {
                        let (y, x) = ((p / 10 * rows + i).min(height - 1), (p % 10 * cols + j).min(width - 1));
                        let index = match order {
                            _ if shape.is_vector() => (c * 70 + p).min(channels - 1),
                            ChannelOrder::Chw => (c * height + y) * width + x,
                            ChannelOrder::Hwc => (y * width + x) * channels + c,
                        };
                        let expected = value(n, index) - d as f32;
                        let got = [0, 1].map(|of| panels[of][d * LANES + lane]);
                        assert_eq!(got, [expected; 2], "layer {n}, value {d}, position {p}");
                    }
                    d += 1;
                }
            }
            assert_eq!(d, grid.dimension);
        }
    }
}
