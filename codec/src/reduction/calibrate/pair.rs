//! What a transform file says of a learned pair, measured on features: the variances of the components, and how well the pair restores.

use super::{Frame, same_cells};
use crate::error::{Error, Result};
use crate::limits::{self, Limits};
use crate::reduction::forward::ReductionNetwork;
use crate::reduction::grid::Grid;
use crate::reduction::inverse::RestorationNetwork;
use crate::reduction::learned::{InferenceRuntime, PairShapes};
use crate::reduction::{CellShape, NetworkPair, Transform};
use crate::tensor::{Layout, TensorRef};
use std::sync::Arc;

/// Runs a learned pair on features and makes a [`Transform`] of it.
pub struct PairCalibrator {
    networks: NetworkPair,
    runtime: Arc<dyn InferenceRuntime>,
    threads: usize,
    cells: Vec<CellShape>,
    open: Open,
    components: Vec<Sums>,
    /// By layer, over all frames: squared error and energy around the mean.
    errors: Vec<f64>,
    energies: Vec<f64>,
    samples: u64,
}

/// What depends on the resolution.
struct Open {
    frame: Frame,
    reduction: ReductionNetwork,
    restoration: RestorationNetwork,
    planes: Vec<f32>,
}

/// Sums of values relative to the first one.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    count: u64,
    first: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, values: &[f32]) {
        if self.count == 0 {
            self.first = values.first().map_or(0.0, |&v| f64::from(v));
        }
        self.count += values.len() as u64;
        for &v in values {
            let v = f64::from(v) - self.first;
            self.sum += v;
            self.squares += v * v;
        }
    }

    fn variance(&self) -> f64 {
        let n = self.count.max(1) as f64;
        (self.squares / n - (self.sum / n).powi(2)).max(0.0)
    }
}

impl Open {
    fn new(
        layout: Layout,
        components: u32,
        networks: &NetworkPair,
        runtime: &dyn InferenceRuntime,
        threads: usize,
        limits: &Limits,
    ) -> Result<Self> {
        let grid = Grid::new(&layout, limits)?;
        let shapes = PairShapes::of(&layout, &grid, components);
        limits::check("number of values in the fused tensor", shapes.fused.elements(), limits.max_fused)?;
        let reduction = runtime.open_reduction(&networks.reduction, &shapes, threads)?;
        let restoration = runtime.open_restoration(&networks.restoration, &shapes, threads)?;
        Ok(Self {
            planes: vec![0.0; components as usize * grid.positions()],
            reduction: ReductionNetwork::new(&layout, grid.clone(), reduction),
            restoration: RestorationNetwork::new(&layout, grid, components, restoration),
            frame: Frame::new(layout),
        })
    }
}

impl PairCalibrator {
    /// Opens both networks for feature sets of `layout` and `components` components. `threads`: as of [`InferenceRuntime`].
    ///
    /// # Errors
    /// `Transform` when one of them cannot be run or has other inputs or outputs; `InvalidInput` when `components` is 0 or more than the
    /// values of a cell; `LimitExceeded`.
    pub fn new(
        layout: Layout,
        networks: NetworkPair,
        components: u32,
        runtime: Arc<dyn InferenceRuntime>,
        threads: usize,
        limits: &Limits,
    ) -> Result<Self> {
        let cells = CellShape::of_layout(&layout, limits)?;
        let dimension = Grid::new(&layout, limits)?.dimension;
        if !(1..=dimension).contains(&(components as usize)) {
            return Err(Error::input(format!("a pair of {components} components, legal are 1 to {dimension}")));
        }
        let layers = layout.layers().len();
        let open = Open::new(layout, components, &networks, &*runtime, threads, limits)?;
        Ok(Self {
            networks,
            runtime,
            threads,
            cells,
            open,
            components: vec![Sums::default(); components as usize],
            errors: vec![0.0; layers],
            energies: vec![0.0; layers],
            samples: 0,
        })
    }

    /// Goes on with feature sets of another `layout` whose cells have the same shapes.
    ///
    /// # Errors
    /// `InvalidInput` when the cells have other shapes, `Transform` when the pair does not take these; the calibrator stays as it was.
    pub fn set_layout(&mut self, layout: Layout, limits: &Limits) -> Result<()> {
        if layout == self.open.frame.layout {
            return Ok(());
        }
        same_cells(&self.cells, &self.open.frame.layout, &layout, limits)?;
        let components = self.components.len() as u32;
        self.open = Open::new(layout, components, &self.networks, &*self.runtime, self.threads, limits)?;
        Ok(())
    }

    /// Runs both networks on one frame, without quantisation in between.
    ///
    /// # Errors
    /// `InvalidInput` as [`crate::Encoder::encode`]; `Transform` when a network fails or gives NaN or an infinity.
    pub fn add(&mut self, tensors: &[TensorRef<'_>]) -> Result<()> {
        let Open { frame, reduction, restoration, planes } = &mut self.open;
        frame.read(tensors)?;
        reduction.reduce(tensors, planes)?;
        restoration.restore_planes(planes)?;
        let grid = reduction.grid();
        let positions = grid.positions();
        self.samples += positions as u64;
        for (sums, plane) in self.components.iter_mut().zip(planes.chunks_exact(positions)) {
            sums.add(plane);
        }
        for (n, values) in frame.values.iter().enumerate() {
            let mut restored = restoration.layer(n).iter();
            let (mut original, mut given, mut product) = (Sums::default(), Sums::default(), 0.0);
            grid.for_each_value(n, |index, _| {
                let (x, y) = (values[index], restored.next().copied().unwrap_or_default());
                original.add(&[x]);
                given.add(&[y]);
                product += (f64::from(x) - original.first) * (f64::from(y) - given.first);
            });
            let count = values.len() as f64;
            let covariance = product / count - original.sum / count * (given.sum / count);
            let energy = original.variance();
            let correlation = covariance / (energy * given.variance()).sqrt();
            // With mean and deviation of the original, the squared error is 2 (1 - correlation) times the variance.
            let error = if correlation.is_finite() { 2.0 * (1.0 - correlation) } else { 1.0 };
            self.energies[n] += count * energy;
            self.errors[n] += count * energy * error;
        }
        Ok(())
    }

    /// Of each layer: the squared error of what the pair restores from the unquantised fused tensor, once it has the statistics of the
    /// original (mode z-score), as a share of the variance.
    pub fn errors(&self) -> Vec<f64> {
        let layers = self.errors.iter().zip(&self.energies);
        layers.map(|(error, energy)| error / energy.max(f64::MIN_POSITIVE)).collect()
    }

    /// The transform.
    ///
    /// # Errors
    /// `InvalidInput` when nothing was added, or for networks without bytes.
    pub fn finish(self) -> Result<Transform> {
        if self.samples == 0 {
            return Err(Error::input("no frame to measure a pair of networks on, at least 1 is needed"));
        }
        let variances: Vec<f32> = self.components.iter().map(|sums| sums.variance() as f32).collect();
        let total = variances.iter().map(|&v| f64::from(v)).sum();
        Transform::learned(self.cells, self.networks, variances, total, self.samples)
    }
}
