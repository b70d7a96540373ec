//! The grid and its cells: which values of which layer make the vector of one grid position ("unshuffle").
//!
//! docs/bitstream.md §5.1. The grid has the height and width of the smallest layer. Every layer is cut into one cell a grid
//! position; the values of all cells of a position, layer by layer, make a vector of `dimension` values. Layers whose height or
//! width is no multiple of the grid's are padded by repeating their last row and column; vectors (and 1 × 1 layers) are laid
//! out over the grid. Padding is dropped again on the way back and never enters statistics.

/// Evaluates an expression for whole cells with so many columns as a constant, for the numbers that there is such code for, or the other.
macro_rules! with_columns {
    ($columns:expr, $constant:ident => $whole:expr, _ => $any:expr) => {
        match $columns {
            Some(1) => {
                const $constant: usize = 1;
                $whole
            }
            Some(2) => {
                const $constant: usize = 2;
                $whole
            }
            Some(4) => {
                const $constant: usize = 4;
                $whole
            }
            Some(8) => {
                const $constant: usize = 8;
                $whole
            }
            _ => $any,
        }
    };
}

mod gather;
mod regions;
mod scatter;

pub use gather::Lanes;
pub use scatter::{Refined, Refinement};

use crate::error::Result;
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
    /// Columns of a cell, for a layer whose channels lie in memory as planes of whole cells.
    fn whole_columns(&self) -> Option<usize> {
        (!self.laid_out && !self.padded && self.stride.2 == 1).then_some(self.cols)
    }

    /// Values of this layer in the vector of a position.
    pub fn dimension(&self) -> usize {
        self.channels * self.rows * self.cols
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
