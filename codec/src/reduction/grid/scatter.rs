//! Vectors of grid positions → layers.

use super::{Grid, LayerCells};

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

impl Grid {
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
        with_columns!(
            cells.whole_columns(),
            COLS => self.scatter_whole::<COLS, T>(cells, source, out, convert),
            _ => self.scatter_any(cells, source, out, convert)
        )
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
}
