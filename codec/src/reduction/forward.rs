//! The encoder's half of the reduction: layers → planes of the fused tensor.

use super::changes::Changes;
use super::dct::Dct;
use super::grid::{Grid, LANES};
use super::relevance::RegionSums;
use super::transform::Transform;
use crate::error::{Error, ErrorKind, Result};
use crate::inner::native::planes::Relevance;
use crate::kernels::product::PackedMatrix;
use crate::limits::Limits;
use crate::tensor::Layout;
use rayon::prelude::*;

/// Reduces feature sets of one layout; holds all memory that it needs.
#[derive(Debug)]
pub struct Forward {
    grid: Grid,
    basis: Basis,
    components: usize,
    /// `[block][D][LANES]`.
    panels: Vec<f32>,
    scratch: Vec<f32>,
    changes: Changes,
}

#[derive(Debug)]
enum Basis {
    Klt { mean: Vec<f32>, packed: PackedMatrix },
    Dct(Dct),
}

impl Forward {
    /// A reduction of `grid` to `components` components of `transform`, or of the block DCT.
    pub fn new(grid: Grid, transform: Option<&Transform>, components: usize) -> Self {
        let basis = match transform {
            Some(t) => Basis::Klt {
                mean: t.mean().to_vec(),
                packed: PackedMatrix::new(components, grid.dimension, |k| t.vector(k)),
            },
            None => Basis::Dct(Dct::new(&grid, components)),
        };
        let panels = vec![0.0; grid.blocks() * grid.dimension * LANES];
        let scratch = match &basis {
            Basis::Dct(dct) => vec![0.0; dct.scratch()],
            Basis::Klt { .. } => Vec::new(),
        };
        Self { grid, basis, components, panels, scratch, changes: Changes::default() }
    }

    /// Gathers `layer(n)` of every layer into panels; the first half of [`Self::reduce`].
    pub fn gather<'a>(&mut self, layer: impl Fn(usize) -> &'a [f32] + Sync, parallel: bool) {
        let mean = match &self.basis {
            Basis::Klt { mean, .. } => Some(&mean[..]),
            Basis::Dct(_) => None,
        };
        let (grid, size) = (&self.grid, self.grid.dimension * LANES);
        if parallel {
            let panels = self.panels.par_chunks_mut(size).enumerate();
            panels.for_each(|(b, panel)| grid.gather(&layer, mean, b, panel));
        } else {
            let panels = self.panels.chunks_mut(size).enumerate();
            panels.for_each(|(b, panel)| grid.gather(&layer, mean, b, panel));
        }
    }

    /// The grid that features are gathered on.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Sums over the values of layer `n` that were gathered last, by region of their position; padding is left out. For a
    /// calibrated transform only: the block DCT works in the panels themselves.
    pub fn region_moments(&self, n: usize, relevance: &[Relevance]) -> [RegionSums; 2] {
        let mut out = [RegionSums::default(); 2];
        let Basis::Klt { mean, .. } = &self.basis else { return out };
        let (cells, positions) = (&self.grid.layers[n], self.grid.positions());
        for (b, panel) in self.panels.chunks_exact(self.grid.dimension * LANES).enumerate() {
            let lanes = LANES.min(positions - b * LANES);
            let (mut counts, mut sums, mut squares) = ([0u64; LANES], [0f64; LANES], [0f64; LANES]);
            for d in 0..cells.dimension() {
                let (row, mean) = (&panel[(cells.offset + d) * LANES..][..lanes], f64::from(mean[cells.offset + d]));
                for (lane, &v) in row.iter().enumerate() {
                    let counted = !cells.padded || self.grid.is_value(n, b * LANES + lane, d);
                    let v = if counted { f64::from(v) + mean } else { 0.0 };
                    counts[lane] += u64::from(counted);
                    sums[lane] += v;
                    squares[lane] += v * v;
                }
            }
            for lane in 0..lanes {
                let region = usize::from(relevance[b * LANES + lane] & 1);
                out[region].add(counts[lane], sums[lane], squares[lane]);
            }
        }
        out
    }

    /// The next frame is projected as a whole.
    pub fn forget(&mut self) {
        self.changes.forget();
    }

    /// Writes the planes (`[K][positions]`) of the features gathered last; the second half of [`Self::reduce`]. With a calibrated
    /// transform, positions whose vector is within `tolerance` (Euclidean) of what was projected last keep what `planes` has of
    /// them, which must be what this wrote there. Returns how many positions were projected.
    pub fn project(&mut self, planes: &mut [f32], threads: usize, tolerance: f32) -> usize {
        let positions = self.grid.positions();
        let size = self.grid.dimension * LANES;
        match &self.basis {
            Basis::Klt { packed, .. } => {
                let (dimension, parallel) = (self.grid.dimension, threads > 1);
                let changed =
                    self.changes.find(&self.panels, positions, dimension, tolerance, parallel).map(<[u32]>::len);
                let Some(count) = changed else {
                    times_panels(packed, &self.panels, positions, size, planes, threads);
                    return positions;
                };
                self.changes.planes.resize(planes.len(), 0.0);
                let compact = &mut self.changes.planes[..self.components * count];
                times_panels(packed, &self.changes.panels, count, size, compact, threads);
                self.changes.scatter(planes, positions);
                count
            }
            Basis::Dct(dct) => {
                for (b, panel) in self.panels.chunks_exact_mut(size).enumerate() {
                    let lanes = LANES.min(positions - b * LANES);
                    dct.forward(panel, &mut self.scratch);
                    dct.pick(panel, lanes, planes, positions, b * LANES);
                }
                positions
            }
        }
    }
}

/// The product of the basis with the first `columns` columns of `panels`, each of `size` values, as planes of so many values.
fn times_panels(
    packed: &PackedMatrix,
    panels: &[f32],
    columns: usize,
    size: usize,
    planes: &mut [f32],
    threads: usize,
) {
    if columns == 0 {
        return;
    }
    // Each part of the planes takes its strips of the basis and reads every panel.
    let part = |first: usize, planes: &mut [f32]| {
        for (b, panel) in panels.chunks_exact(size).take(columns.div_ceil(LANES)).enumerate() {
            let lanes = LANES.min(columns - b * LANES);
            packed.times_panel(first, panel, lanes, planes, columns, b * LANES);
        }
    };
    if threads > 1 {
        let components = planes.len() / columns;
        let rows = components.div_ceil(threads).next_multiple_of(packed.strip());
        let parts = planes.par_chunks_mut(rows * columns).enumerate();
        parts.for_each(|(i, planes)| part(i * rows, planes));
    } else {
        part(0, planes);
    }
}

/// Checks that `transform` fits `layout`, or that the tables of the block DCT are of a sane size, and that there are `components`;
/// returns the number to use.
pub fn check(
    layout: &Layout,
    grid: &Grid,
    transform: Option<&Transform>,
    components: Option<u32>,
    limits: &Limits,
) -> Result<usize> {
    let available = match transform {
        Some(t) if !t.fits(layout) => {
            let cells: Vec<String> =
                t.cells().iter().map(|c| format!("{}x{}x{}", c.channels, c.rows, c.cols)).collect();
            let layers: Vec<String> = layout.layers().iter().map(|l| l.shape.to_string()).collect();
            let message = format!(
                "transform {} was calibrated on cells {} (dimension {}), it does not fit layers {} (dimension {})",
                t.id(),
                cells.join(" "),
                t.dimension(),
                layers.join(" "),
                grid.dimension
            );
            return Err(Error::new(ErrorKind::Transform, message));
        }
        Some(t) => t.components(),
        None => {
            Dct::check(grid, limits)?;
            grid.dimension as u32
        }
    };
    match components {
        None => Ok(available as usize),
        Some(k) if (1..=available).contains(&k) => Ok(k as usize),
        Some(k) => Err(Error::config(format!("{k} components, legal are 1 to {available}"))),
    }
}
