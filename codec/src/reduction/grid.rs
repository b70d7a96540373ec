//! The grid and its cells: which values of which layer make the vector of one grid position ("unshuffle").
//!
//! docs/bitstream.md §5.1. The grid has the height and width of the smallest layer. Every layer is cut into one cell a grid
//! position; the values of all cells of a position, layer by layer, make a vector of `dimension` values. Layers whose height or
//! width is no multiple of the grid's are padded by repeating their last row and column; vectors (and 1 × 1 layers) are laid
//! out over the grid. Padding is dropped again on the way back and never enters statistics.

use super::relevance::RegionSums;
use crate::error::Result;
use crate::inner::native::planes::Relevance;
use crate::limits::{self, Limits};
use crate::tensor::{ChannelOrder, Layer, Layout};

/// Grid positions that are processed together: one lane each.
pub const LANES: usize = 32;

/// Place of one layer in the vector of a position.
#[derive(Debug, Clone)]
pub struct LayerCells {
    /// Index of the first value in the vector.
    pub offset: usize,
    /// Rows of a cell.
    pub rows: usize,
    /// Columns of a cell.
    pub cols: usize,
    /// Channels of a cell; planes for a layer that is laid out over the grid.
    pub channels: usize,
    /// Whether the layer has one value a channel and is laid out over the grid in raster order.
    pub laid_out: bool,
    /// Whether any cell holds padding.
    pub padded: bool,
    /// Values of the layer.
    elements: usize,
    height: usize,
    width: usize,
    /// Distance in memory of neighbouring channels, rows, columns.
    stride: (usize, usize, usize),
}

impl LayerCells {
    /// Values of this layer in the vector of a position.
    pub fn dimension(&self) -> usize {
        self.channels * self.rows * self.cols
    }
}

/// A run of grid positions in one row of the grid and one block of lanes.
#[derive(Debug, Clone, Copy)]
struct Segment {
    lane: usize,
    y: usize,
    x: usize,
    len: usize,
}

/// An affine map of vectors: `base[d] + scale · vector[d]`.
#[derive(Debug, Clone, Copy)]
pub struct Refinement<'a> {
    /// Summand of each value of a vector.
    pub base: &'a [f32],
    /// Factor of all.
    pub scale: f32,
}

/// Vectors by position, refined on the way: position p by the refinement of its region.
#[derive(Debug, Clone, Copy)]
pub struct Refined<'a> {
    /// Vectors, `row` values apart.
    pub vectors: &'a [f32],
    /// Distance of neighbouring positions.
    pub row: usize,
    /// Region of each position; `None` where there is only one.
    pub regions: Option<&'a [u8]>,
    /// One refinement a region (the same twice where there is only one).
    pub refinements: [Refinement<'a>; 2],
}

impl<'a> Refined<'a> {
    #[inline(always)]
    fn refinement(&self, position: usize) -> Refinement<'a> {
        self.refinements[self.regions.map_or(0, |regions| usize::from(regions[position] & 1))]
    }

    fn value(&self, position: usize, d: usize) -> f32 {
        let Refinement { base, scale } = self.refinement(position);
        base[d] + scale * self.vectors[position * self.row + d]
    }
}

/// The grid of a layout.
#[derive(Debug, Clone)]
pub struct Grid {
    /// Rows of the grid.
    pub height: usize,
    /// Columns of the grid.
    pub width: usize,
    /// Values in the vector of a position (D).
    pub dimension: usize,
    /// One entry a layer.
    pub layers: Vec<LayerCells>,
}

impl Grid {
    /// The grid of `layout`.
    ///
    /// # Errors
    /// `LimitExceeded` when the padded values of a frame are more than `limits.max_fused`.
    pub fn new(layout: &Layout, limits: &Limits) -> Result<Self> {
        let is_map = |l: &&Layer| l.shape.height() > 1 || l.shape.width() > 1;
        let height = layout.layers().iter().filter(is_map).map(|l| l.shape.height()).min().unwrap_or(1) as usize;
        let width = layout.layers().iter().filter(is_map).map(|l| l.shape.width()).min().unwrap_or(1) as usize;
        let positions = height as u64 * width as u64;
        let mut dimension = 0u64;
        let mut layers = Vec::with_capacity(layout.layers().len());
        for layer in layout.layers() {
            let (c, h, w) = (layer.shape.channels(), layer.shape.height(), layer.shape.width());
            let laid_out = !is_map(&layer);
            let (channels, rows, cols) = if laid_out {
                (u64::from(c).div_ceil(positions), 1, 1)
            } else {
                (u64::from(c), u64::from(h).div_ceil(height as u64), u64::from(w).div_ceil(width as u64))
            };
            let offset = dimension;
            let cell = channels.saturating_mul(rows).saturating_mul(cols);
            dimension = dimension.saturating_add(cell);
            limits::check(
                "number of values in the fused tensor",
                dimension.saturating_mul(positions),
                limits.max_fused,
            )?;
            let elements = layer.shape.elements();
            let (c, h, w) = (c as usize, h as usize, w as usize);
            layers.push(LayerCells {
                offset: offset as usize,
                rows: rows as usize,
                cols: cols as usize,
                channels: channels as usize,
                laid_out,
                padded: cell * positions != elements,
                elements: elements as usize,
                height: h,
                width: w,
                stride: match layer.order {
                    ChannelOrder::Chw => (h * w, w, 1),
                    ChannelOrder::Hwc => (1, w * c, c),
                },
            });
        }
        Ok(Self { height, width, dimension: dimension as usize, layers })
    }

    /// Grid positions.
    pub fn positions(&self) -> usize {
        self.height * self.width
    }

    /// The runs that block `block` is made of. (Stored, they would outweigh the values on a grid of one column.)
    fn segments(&self, block: usize) -> impl Iterator<Item = Segment> {
        let (width, end) = (self.width, ((block + 1) * LANES).min(self.positions()));
        let mut position = block * LANES;
        std::iter::from_fn(move || {
            let (lane, y, x) = (position % LANES, position / width, position % width);
            let len = (end - position).min(width - x);
            position += len;
            (len > 0).then_some(Segment { lane, y, x, len })
        })
    }

    /// Gathers the vectors of the positions of block `block` into `panel` (`[dimension][LANES]`), `offset[d]` subtracted
    /// from each. `layer(n)` are the dense values of layer `n`. Lanes past the last position are left alone.
    pub fn gather<'a>(
        &self,
        layer: impl Fn(usize) -> &'a [f32],
        offset: Option<&[f32]>,
        block: usize,
        panel: &mut [f32],
    ) {
        for (n, cells) in self.layers.iter().enumerate() {
            let values = layer(n);
            let part = cells.offset..cells.offset + cells.dimension();
            let offset = offset.map(|o| &o[part.clone()]);
            let panel = &mut panel[part.start * LANES..part.end * LANES];
            if cells.laid_out {
                self.gather_laid_out(cells, values, offset, block, panel);
            } else {
                for segment in self.segments(block) {
                    match (cells.padded, cells.stride.2, cells.cols) {
                        (false, 1, 1) => gather_segment::<1>(cells, values, offset, segment, panel),
                        (false, 1, 2) => gather_segment::<2>(cells, values, offset, segment, panel),
                        (false, 1, 4) => gather_segment::<4>(cells, values, offset, segment, panel),
                        (false, 1, 8) => gather_segment::<8>(cells, values, offset, segment, panel),
                        _ => gather_any(cells, values, offset, segment, panel),
                    }
                }
            }
        }
    }

    fn gather_laid_out(
        &self,
        cells: &LayerCells,
        values: &[f32],
        offset: Option<&[f32]>,
        block: usize,
        panel: &mut [f32],
    ) {
        let positions = self.positions();
        let lanes = (positions - block * LANES).min(LANES);
        for (plane, row) in panel.chunks_exact_mut(LANES).enumerate() {
            let o = offset.map_or(0.0, |o| o[plane]);
            for (lane, out) in row[..lanes].iter_mut().enumerate() {
                let index = plane * positions + block * LANES + lane;
                *out = values[index.min(cells.elements - 1)] - o;
            }
        }
    }

    /// Writes layer `n` from `source`. Padding is dropped.
    pub fn scatter<T: Copy>(&self, n: usize, source: Refined<'_>, out: &mut [T], convert: impl Fn(f32) -> T) {
        let cells = &self.layers[n];
        if cells.laid_out {
            let positions = self.positions();
            for (i, out) in out.iter_mut().enumerate() {
                *out = convert(source.value(i % positions, cells.offset + i / positions));
            }
            return;
        }
        match (cells.padded, cells.stride.2, cells.cols) {
            (false, 1, 1) => self.scatter_whole::<1, T>(cells, source, out, convert),
            (false, 1, 2) => self.scatter_whole::<2, T>(cells, source, out, convert),
            (false, 1, 4) => self.scatter_whole::<4, T>(cells, source, out, convert),
            (false, 1, 8) => self.scatter_whole::<8, T>(cells, source, out, convert),
            _ => self.scatter_any(cells, source, out, convert),
        }
    }

    #[inline(always)]
    fn scatter_whole<const COLS: usize, T: Copy>(
        &self,
        cells: &LayerCells,
        source: Refined<'_>,
        out: &mut [T],
        convert: impl Fn(f32) -> T,
    ) {
        let Refined { vectors, row, regions, refinements } = source;
        for y in 0..self.height {
            let vectors = &vectors[y * self.width * row..];
            let regions = regions.map(|r| &r[y * self.width..(y + 1) * self.width]);
            for c in 0..cells.channels {
                for i in 0..cells.rows {
                    let d = cells.offset + (c * cells.rows + i) * COLS;
                    let maps = refinements.map(|r| {
                        let base: [f32; COLS] = r.base[d..d + COLS].try_into().expect("COLS values");
                        (base, r.scale)
                    });
                    let start = (c * cells.height + y * cells.rows + i) * cells.width;
                    let line = out[start..start + cells.width].chunks_exact_mut(COLS);
                    let refine = |x: usize, out: &mut [T], (base, scale): &([f32; COLS], f32)| {
                        let v = &vectors[x * row + d..x * row + d + COLS];
                        for j in 0..COLS {
                            out[j] = convert(base[j] + scale * v[j]);
                        }
                    };
                    match regions {
                        None => line.enumerate().for_each(|(x, out)| refine(x, out, &maps[0])),
                        Some(regions) => line
                            .zip(regions)
                            .enumerate()
                            .for_each(|(x, (out, &r))| refine(x, out, &maps[usize::from(r & 1)])),
                    }
                }
            }
        }
    }

    fn scatter_any<T: Copy>(&self, cells: &LayerCells, source: Refined<'_>, out: &mut [T], convert: impl Fn(f32) -> T) {
        let (sc, sy, sx) = cells.stride;
        for c in 0..cells.channels {
            for line in 0..cells.height {
                let (y, i) = (line / cells.rows, line % cells.rows);
                for col in 0..cells.width {
                    let (x, j) = (col / cells.cols, col % cells.cols);
                    let d = cells.offset + (c * cells.rows + i) * cells.cols + j;
                    out[c * sc + line * sy + col * sx] = convert(source.value(y * self.width + x, d));
                }
            }
        }
    }

    /// Whether the values of layer `n` lie in memory in the order channels, rows, columns.
    pub fn is_dense(&self, n: usize) -> bool {
        let cells = &self.layers[n];
        cells.laid_out || cells.stride.2 == 1
    }

    /// Gives the index in memory and the position of every value of layer `n`, in the order channels, rows, columns.
    #[inline(always)]
    pub fn for_each_value(&self, n: usize, mut visit: impl FnMut(usize, usize)) {
        let cells = &self.layers[n];
        if cells.laid_out {
            let positions = self.positions();
            (0..cells.elements).for_each(|index| visit(index, index % positions));
            return;
        }
        let (sc, sy, sx) = cells.stride;
        for c in 0..cells.elements / (cells.height * cells.width) {
            for line in 0..cells.height {
                let (start, first) = (c * sc + line * sy, line / cells.rows * self.width);
                for (x, columns) in (0..cells.width).step_by(cells.cols).enumerate() {
                    let end = (columns + cells.cols).min(cells.width);
                    (columns..end).for_each(|column| visit(start + column * sx, first + x));
                }
            }
        }
    }

    /// Sums over `values`, those of layer `n` in memory, by region of their position.
    pub fn region_sums(&self, n: usize, values: &[f32], relevance: &[Relevance]) -> [RegionSums; 2] {
        // Both regions' sums take every value, times 0 or 1: faster than choosing between them.
        let (mut background, mut sums, mut squares) = (0u64, [0f64; 2], [0f64; 2]);
        self.for_each_value(n, |index, position| {
            let (value, region) = (f64::from(values[index]), relevance[position] & 1);
            background += u64::from(region);
            for (r, share) in [1.0 - f64::from(region), f64::from(region)].into_iter().enumerate() {
                sums[r] += share * value;
                squares[r] += share * value * value;
            }
        });
        let counts = [self.layers[n].elements as u64 - background, background];
        [0, 1].map(|r: usize| RegionSums { count: counts[r], sum: sums[r], squares: squares[r] })
    }

    /// Whether value `d` (counted from the layer's offset) of layer `n` at `position` is of the layer, not padding.
    pub fn is_value(&self, n: usize, position: usize, d: usize) -> bool {
        let cells = &self.layers[n];
        if cells.laid_out {
            return d * self.positions() + position < cells.elements;
        }
        let (i, j) = (d / cells.cols % cells.rows, d % cells.cols);
        let (y, x) = (position / self.width, position % self.width);
        y * cells.rows + i < cells.height && x * cells.cols + j < cells.width
    }
}

#[inline(always)]
fn gather_segment<const COLS: usize>(
    cells: &LayerCells,
    values: &[f32],
    offset: Option<&[f32]>,
    s: Segment,
    panel: &mut [f32],
) {
    for c in 0..cells.channels {
        for i in 0..cells.rows {
            let start = (c * cells.height + s.y * cells.rows + i) * cells.width + s.x * COLS;
            let line = &values[start..start + s.len * COLS];
            let d = (c * cells.rows + i) * COLS;
            for j in 0..COLS {
                let o = offset.map_or(0.0, |o| o[d + j]);
                let out = &mut panel[(d + j) * LANES + s.lane..][..s.len];
                for (out, v) in out.iter_mut().zip(line.chunks_exact(COLS)) {
                    *out = v[j] - o;
                }
            }
        }
    }
}

fn gather_any(cells: &LayerCells, values: &[f32], offset: Option<&[f32]>, s: Segment, panel: &mut [f32]) {
    let (sc, sy, sx) = cells.stride;
    for c in 0..cells.channels {
        for i in 0..cells.rows {
            let y = (s.y * cells.rows + i).min(cells.height - 1);
            for j in 0..cells.cols {
                let d = (c * cells.rows + i) * cells.cols + j;
                let o = offset.map_or(0.0, |o| o[d]);
                let out = &mut panel[d * LANES + s.lane..][..s.len];
                for (k, out) in out.iter_mut().enumerate() {
                    let x = ((s.x + k) * cells.cols + j).min(cells.width - 1);
                    *out = values[c * sc + y * sy + x * sx] - o;
                }
            }
        }
    }
}
