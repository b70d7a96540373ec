//! Linear reduction: products of the vectors of the grid with a calibrated basis, or the block DCT.

use crate::kernels::product::PackedMatrix;
use crate::reduction::changes::{Changes, Found};
use crate::reduction::dct::Dct;
use crate::reduction::grid::{Grid, LANES};
use crate::reduction::transform::Linear;
use crate::tensor::TensorRef;
use rayon::prelude::*;
#[cfg(feature = "calibrate")]
use {
    crate::error::{Error, ErrorKind, Result},
    crate::limits::Limits,
    crate::reduction::Transform,
    crate::tensor::Layout,
};

/// Reduces feature sets of one layout; holds all memory that it needs.
#[derive(Debug)]
pub struct Projection {
    grid: Grid,
    basis: Basis,
    components: usize,
    scratch: Vec<f32>,
    changes: Changes,
}

#[derive(Debug)]
enum Basis {
    Calibrated { mean: Vec<f32>, packed: PackedMatrix },
    Dct(Dct),
}

impl Projection {
    /// A reduction of `grid` to `components` components of the transform `linear`, or of the block DCT.
    pub fn new(grid: Grid, linear: Option<&Linear>, components: usize) -> Self {
        let basis = match linear {
            Some(linear) => Basis::Calibrated {
                mean: linear.mean.clone(),
                packed: PackedMatrix::new(components, grid.dimension, |k| linear.analysis(k)),
            },
            None => Basis::Dct(Dct::new(&grid, components)),
        };
        let scratch = match &basis {
            Basis::Dct(dct) => vec![0.0; dct.scratch()],
            Basis::Calibrated { .. } => Vec::new(),
        };
        Self { grid, basis, components, scratch, changes: Changes::default() }
    }

    /// A reduction of `layout` to `components` components of a linear `transform`, to learn `what` of them.
    ///
    /// # Errors
    /// `Transform` when it does not fit or is a learned pair, `LimitExceeded`.
    #[cfg(feature = "calibrate")]
    pub fn to_learn(
        what: &str,
        transform: &Transform,
        layout: &Layout,
        components: u32,
        limits: &Limits,
    ) -> Result<Self> {
        let grid = Grid::new(layout, limits)?;
        let components = super::check(layout, &grid, Some(transform), Some(components), limits)?;
        let Some(linear) = transform.vectors() else {
            let message = format!("transform {} is a learned pair: no {what} can be learnt for it", transform.id());
            return Err(Error::new(ErrorKind::Transform, message));
        };
        Ok(Self::new(grid, Some(linear), components))
    }

    /// Gathers `tensors`, one a layer; [`Self::project`] takes them from there. With a calibrated transform, positions whose vector is
    /// within `tolerance` (Euclidean) of what was projected last count as unchanged.
    pub fn gather(&mut self, tensors: &[TensorRef<'_>], tolerance: f32, parallel: bool) {
        let (mean, tolerance) = match &self.basis {
            Basis::Calibrated { mean, .. } => (Some(&mean[..]), tolerance),
            Basis::Dct(_) => (None, 0.0),
        };
        self.changes.find(&self.grid, tensors, mean, tolerance, parallel);
    }

    /// The grid that features are gathered on.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The next frame is projected as a whole.
    pub fn forget(&mut self) {
        self.changes.forget();
    }

    /// Writes the planes (`[components][positions]`) of the features gathered last, as many as `planes` has room for: from one frame to
    /// the next fewer, but for more call [`Self::forget`] before they are gathered. Unchanged positions keep what `planes` has of them,
    /// which must be what this wrote there. Returns how many positions were projected.
    pub fn project(&mut self, planes: &mut [f32], threads: usize) -> usize {
        let positions = self.grid.positions();
        let size = self.grid.dimension * LANES;
        match &self.basis {
            Basis::Calibrated { packed, .. } => match self.changes.found() {
                Found::All(panels) => {
                    times_panels(packed, panels, positions, size, planes, threads);
                    positions
                }
                Found::Some(count, panels) => {
                    let components = planes.len() / positions;
                    let mut compact = std::mem::take(&mut self.scratch);
                    // As large as it can get, so that no later frame allocates.
                    compact.resize(self.components * positions, 0.0);
                    times_panels(packed, panels, count, size, &mut compact[..components * count], threads);
                    self.changes.scatter(&compact[..components * count], planes, positions);
                    self.scratch = compact;
                    count
                }
            },
            Basis::Dct(dct) => {
                for (b, panel) in self.changes.all().chunks_exact_mut(size).enumerate() {
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
