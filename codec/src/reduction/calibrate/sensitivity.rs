//! A transform fitted to a task: components that are worth their bits to what comes after the decoder.
//!
//! Not every change of the features matters to the second half of a network. Changing the features along one direction of their vectors
//! after the other, and looking at how far the half's outputs move, gives the inner products of the outputs' changes: a quadratic form S,
//! the mean cost δᵀ S δ of a small error δ of the vector of a position. The transform that is best for this cost plus the error itself is a
//! Karhunen–Loève transform after the vectors were stretched by T = (S + ρ·I)^½: analysis vectors Vᵀ T, synthesis vectors T⁻¹ V, where V are
//! the eigenvectors of T C T and C is the covariance. A uniform quantiser then makes errors that are small where the outputs move far.

use super::{Frame, Moments, decompose, number_of_components, sign, strongest};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::reduction::Transform;
use crate::reduction::grid::{Grid, Refined, Refinement};
use crate::tensor::{Layout, TensorRef};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};

/// Most directions that are measured: the outputs are computed once for each in every frame.
pub const MAX_DIRECTIONS: u32 = 1024;
/// What the squared error of the features counts (ρ) where the mean cost of the outputs' changes is 1. It keeps what no output of the
/// calibration frames depended on; a third of it is about as good, three times as much a little worse (docs/experiments.md).
const FAITHFULNESS: f64 = 1.0;
/// Size of a change, in standard deviations of a value: about what the quantiser does, where outputs are not linear.
const CHANGE: f64 = 0.5;
/// Outputs are folded into as many numbers; inner products survive that but for noise of 1 %.
const FOLDED: usize = 8192;

/// Measures how far the outputs of a task move when features change along the strongest directions of their vectors.
pub struct SensitivityMeter {
    frame: Frame,
    grid: Grid,
    /// As many vectors of D values: those of the Karhunen–Loève transform.
    directions: Vec<f32>,
    count: usize,
    change: f32,
    /// Changes by position, the changed features, and what the outputs made of them by direction.
    vectors: Vec<f32>,
    zeros: Vec<f32>,
    changed: Vec<Vec<f32>>,
    moved: Vec<f32>,
    product: Vec<f32>,
    /// Inner products of the outputs' changes, summed over frames: count × count.
    gram: Vec<f64>,
    frames: u64,
}

impl SensitivityMeter {
    /// For feature sets of `layout` along the first `directions` vectors of a linear transform of them, or all where it has fewer.
    ///
    /// # Errors
    /// `InvalidConfig` for 0 or more than [`MAX_DIRECTIONS`] directions, `Transform` when the transform does not fit or is a learned pair.
    pub fn new(transform: &Transform, layout: Layout, directions: u32, limits: &Limits) -> Result<Self> {
        if !(1..=MAX_DIRECTIONS).contains(&directions) {
            return Err(Error::config(format!("{directions} directions, legal are 1 to {MAX_DIRECTIONS}")));
        }
        let grid = Grid::new(&layout, limits)?;
        let Some(linear) = transform.vectors().filter(|_| transform.fits(&layout)) else {
            let message = format!("transform {} is a learned pair, or one of other layers", transform.id());
            return Err(Error::new(ErrorKind::Transform, message));
        };
        let count = transform.components().min(directions) as usize;
        let deviation = (transform.total_variance() / f64::from(transform.dimension())).sqrt();
        let frame = Frame::new(layout);
        Ok(Self {
            directions: (0..count).flat_map(|k| linear.analysis(k)).copied().collect(),
            count,
            change: (CHANGE * deviation) as f32,
            vectors: vec![0.0; grid.positions() * grid.dimension],
            zeros: vec![0.0; grid.dimension],
            changed: frame.values.clone(),
            moved: vec![0.0; count * FOLDED],
            product: vec![0.0; count * count],
            gram: vec![0.0; count * count],
            frames: 0,
            frame,
            grid,
        })
    }

    /// Measures one frame. `outputs` gives what a task makes of features (layers in order, channels first as the layout says), as numbers
    /// whose squared distances are what changes cost, always as many. It is asked for the frame as it is first, then for changed ones.
    ///
    /// # Errors
    /// `InvalidInput` as [`crate::Encoder::encode`]; those of `outputs`.
    pub fn measure<E: From<Error>>(
        &mut self,
        tensors: &[TensorRef<'_>],
        mut outputs: impl FnMut(&[Vec<f32>]) -> std::result::Result<Vec<f32>, E>,
    ) -> std::result::Result<(), E> {
        self.frame.read(tensors)?;
        let unchanged = outputs(&self.frame.values)?;
        for k in 0..self.count {
            self.change(k);
            let outputs = outputs(&self.changed)?;
            if outputs.len() != unchanged.len() {
                let (now, before) = (outputs.len(), unchanged.len());
                return Err(
                    Error::input(format!("{now} outputs of changed features, {before} of the unchanged")).into()
                );
            }
            fold(&outputs, &unchanged, 1.0 / self.change, &mut self.moved[k * FOLDED..(k + 1) * FOLDED]);
        }
        let moved = MatRef::from_row_major_slice(&self.moved, self.count, FOLDED);
        let product = MatMut::from_row_major_slice_mut(&mut self.product, self.count, self.count);
        matmul(product, Accum::Replace, moved, moved.transpose(), 1.0f32, Par::Seq);
        self.gram.iter_mut().zip(&self.product).for_each(|(sum, p)| *sum += f64::from(*p));
        self.frames += 1;
        Ok(())
    }

    /// Fills `changed` with the frame moved along direction `k`, at every position by as much, to and fro at random: so the changes of the
    /// outputs add up over positions as those of errors do.
    fn change(&mut self, k: usize) {
        let d = self.grid.dimension;
        let direction = &self.directions[k * d..(k + 1) * d];
        for (position, vector) in self.vectors.chunks_exact_mut(d).enumerate() {
            // The same signs for all directions of a frame, or their changes could not be compared.
            let sign = if hash(self.frames << 32 | position as u64) & 1 == 0 { self.change } else { -self.change };
            vector.iter_mut().zip(direction).for_each(|(v, x)| *v = sign * x);
        }
        let refinement = Refinement { base: &self.zeros, scale: 1.0 };
        let source = Refined { vectors: &self.vectors, row: d, regions: None, refinements: [refinement; 2] };
        for (n, (changed, values)) in self.changed.iter_mut().zip(&self.frame.values).enumerate() {
            self.grid.scatter(n, source, changed, |v| v);
            changed.iter_mut().zip(values).for_each(|(c, v)| *c += v);
        }
    }
}

impl Moments {
    /// The transform with `components` components (`None` = all D) that is best for the task that `meter` measured, in one step of the
    /// quantiser for all. It holds as much variance as the features, so that quantisers mean about what they do with
    /// [`Self::transform`].
    ///
    /// # Errors
    /// As [`Self::transform`]; `InvalidInput` when `meter` measured other layers, nothing, or a task that does not depend on the features.
    pub fn transform_for(&self, components: Option<u32>, meter: &SensitivityMeter) -> Result<Transform> {
        let d = self.mean.len();
        let k = number_of_components(components, d)?;
        if meter.grid.dimension != d || meter.frames == 0 {
            let (of, frames) = (meter.grid.dimension, meter.frames);
            return Err(Error::input(format!(
                "{frames} frames of vectors of {of} values measured, at least 1 of {d} is needed"
            )));
        }
        let stretch = Stretch::new(self, meter)?;
        let stretched = stretch.covariance(&self.covariance);
        let (vectors, variances) = strongest(&stretched, k)?;
        // As much variance as before, whatever the stretch.
        let total: f64 = (0..d).map(|i| stretched[(i, i)]).sum();
        let scale = (self.total_variance / total.max(f64::MIN_POSITIVE)).sqrt();
        let (analysis, synthesis) = (stretch.times(&vectors, false), stretch.times(&vectors, true));
        let (mut rows, mut columns) = (Vec::with_capacity(k * d), Vec::with_capacity(k * d));
        for (a, s) in analysis.col_iter().zip(synthesis.col_iter()) {
            let sign = sign(a.iter().copied());
            rows.extend(a.iter().map(|v| (sign * scale * v) as f32));
            columns.extend(s.iter().map(|v| (sign / scale * v) as f32));
        }
        let variances = variances.iter().map(|v| (f64::from(*v) * scale * scale) as f32).collect();
        let (cells, mean) = (self.cells.clone(), self.mean.clone());
        Transform::biorthogonal(cells, mean, rows, columns, variances, self.total_variance, self.samples)
    }
}

/// T = √ρ·I + W·diag(√(a + ρ) − √ρ)·Wᵀ: W are the orthonormal directions along which S has the eigenvalues a.
struct Stretch {
    /// D × n.
    directions: Mat<f64>,
    eigenvalues: Vec<f64>,
}

impl Stretch {
    fn new(moments: &Moments, meter: &SensitivityMeter) -> Result<Self> {
        let (d, n) = (meter.grid.dimension, meter.count);
        let measured = Mat::from_fn(d, n, |i, k| f64::from(meter.directions[k * d + i]));
        let projected = product(measured.transpose(), moments.covariance.as_ref());
        let along = product(projected.as_ref(), measured.as_ref());
        let gram = |i: usize, j: usize| 0.5 * (meter.gram[i * n + j] + meter.gram[j * n + i]);
        // The mean cost of an error that is distributed like the features, relative to its size.
        let cost: f64 = (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| gram(i, j) * along[(j, i)]).sum();
        let mean_cost = cost / moments.total_variance.max(f64::MIN_POSITIVE);
        if !(mean_cost.is_finite() && mean_cost > 0.0) {
            return Err(Error::input("outputs that do not change with the features, or not by finite numbers"));
        }
        let (vectors, eigenvalues) = decompose(&Mat::from_fn(n, n, |i, j| gram(i, j) / mean_cost))?;
        Ok(Self { directions: product(measured.as_ref(), vectors.as_ref()), eigenvalues })
    }

    /// What a vector along direction `n` is stretched by beyond √ρ, or shrunk by beyond 1/√ρ by the inverse.
    fn beyond(&self, n: usize, inverse: bool) -> f64 {
        let root = (self.eigenvalues[n].max(0.0) + FAITHFULNESS).sqrt();
        if inverse { 1.0 / root - 1.0 / FAITHFULNESS.sqrt() } else { root - FAITHFULNESS.sqrt() }
    }

    /// T · x, or T⁻¹ · x.
    fn times(&self, x: &Mat<f64>, inverse: bool) -> Mat<f64> {
        let mut along = product(self.directions.transpose(), x.as_ref());
        for column in along.col_iter_mut() {
            column.iter_mut().enumerate().for_each(|(n, v)| *v *= self.beyond(n, inverse));
        }
        let everywhere = if inverse { 1.0 / FAITHFULNESS.sqrt() } else { FAITHFULNESS.sqrt() };
        let beyond = product(self.directions.as_ref(), along.as_ref());
        Mat::from_fn(x.nrows(), x.ncols(), |i, j| everywhere * x[(i, j)] + beyond[(i, j)])
    }

    /// T C T.
    fn covariance(&self, covariance: &Mat<f64>) -> Mat<f64> {
        let half = self.times(covariance, false);
        self.times(&half.transpose().to_owned(), false)
    }
}

/// a · b. One thread, so that it rounds in the same way on every machine.
fn product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    matmul(out.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    out
}

/// Folds the change of the outputs, times `factor`, into as many numbers as `folded` has, each output into one of them with one sign.
fn fold(outputs: &[f32], unchanged: &[f32], factor: f32, folded: &mut [f32]) {
    folded.fill(0.0);
    for (n, (after, before)) in outputs.iter().zip(unchanged).enumerate() {
        let place = hash(n as u64);
        let change = factor * (after - before);
        folded[(place >> 1) as usize % FOLDED] += if place & 1 == 0 { change } else { -change };
    }
}

/// A well mixed function of `x`, the same everywhere.
fn hash(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::Calibrator;
    use super::*;
    use crate::tensor::{Dtype, Layer, Shape};

    /// One layer of six channels on a grid of 8 × 8: D = 6.
    const D: usize = 6;
    const POSITIONS: usize = 64;

    fn layout() -> Layout {
        Layout::new(vec![Layer::new("p", Shape::chw(D as u32, 8, 8), Dtype::F32)], &Limits::default()).unwrap()
    }

    /// Frames whose channels are independent, with the variances 6, 5, … 1.
    fn frames(count: u64) -> Vec<Vec<f32>> {
        let uniform = |n: u64| (hash(n) >> 40) as f32 / (1 << 24) as f32 - 0.5;
        let value = |f: u64, i: usize| ((D - i / POSITIONS) as f32 * 12.0).sqrt() * uniform(f << 16 | i as u64);
        (0..count).map(|f| (0..D * POSITIONS).map(|i| value(f, i)).collect()).collect()
    }

    fn moments() -> Moments {
        let mut calibrator = Calibrator::new(layout(), &Limits::default()).unwrap();
        frames(40).iter().for_each(|f| calibrator.add(&[TensorRef::F32(f)]).unwrap());
        calibrator.moments().unwrap()
    }

    /// A task that looks at `c · channel 4` and, a tenth as closely, at channel 1.
    fn task(c: f32) -> impl Fn(&[Vec<f32>]) -> Result<Vec<f32>> {
        move |layers| {
            let channel = |n: usize| layers[0][n * POSITIONS..(n + 1) * POSITIONS].iter();
            Ok(channel(4).map(|v| c * v).chain(channel(1).map(|v| 0.1 * c * v)).collect())
        }
    }

    fn measured(moments: &Moments, task: impl Fn(&[Vec<f32>]) -> Result<Vec<f32>>) -> Result<SensitivityMeter> {
        let transform = moments.transform(None)?;
        let mut meter = SensitivityMeter::new(&transform, layout(), MAX_DIRECTIONS, &Limits::default())?;
        for frame in frames(3) {
            meter.measure(&[TensorRef::F32(&frame)], &task)?;
        }
        Ok(meter)
    }

    /// Mean squared error of channel `c` where every component has one of variance 1.
    fn error(transform: &Transform, c: usize) -> f32 {
        let linear = transform.vectors().unwrap();
        (0..D).map(|k| linear.synthesis(k)[c].powi(2)).sum()
    }

    #[test]
    fn what_the_task_looks_at_gets_the_smaller_error() {
        let moments = moments();
        let transform = moments.transform_for(None, &measured(&moments, task(3.0)).unwrap()).unwrap();
        // S is diagonal with the share a of its mean at channel 4 (variance 2) and a/100 at channel 1 (variance 5); the mean is over 21.
        let a = 21.0 / (2.0 + 0.05);
        let unmeasured = error(&transform, 0);
        assert!(
            (unmeasured / error(&transform, 4) / (a + 1.0) - 1.0).abs() < 0.05,
            "{}",
            unmeasured / error(&transform, 4)
        );
        assert!((unmeasured / error(&transform, 1) / (a / 100.0 + 1.0) - 1.0).abs() < 0.05);
        let plain = moments.transform(None).unwrap();
        assert!((error(&plain, 0) / error(&plain, 4) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn analysis_and_synthesis_undo_each_other_and_keep_the_variance() {
        let moments = moments();
        let transform = moments.transform_for(None, &measured(&moments, task(3.0)).unwrap()).unwrap();
        let linear = transform.vectors().unwrap();
        for i in 0..D {
            for j in 0..D {
                let product: f32 = linear.analysis(i).iter().zip(linear.synthesis(j)).map(|(a, s)| a * s).sum();
                assert!((product - f32::from(u8::from(i == j))).abs() < 1e-4, "vectors {i} and {j}: {product}");
            }
        }
        assert!(transform.variances().windows(2).all(|v| v[0] >= v[1]));
        assert!((transform.energy(D as u32) - 1.0).abs() < 1e-4, "{}", transform.energy(D as u32));
        assert_eq!(moments.transform_for(Some(2), &measured(&moments, task(3.0)).unwrap()).unwrap().components(), 2);
    }

    #[test]
    fn the_unit_of_the_outputs_does_not_matter_and_the_same_data_give_the_same_file() {
        let moments = moments();
        let id = |c| moments.transform_for(None, &measured(&moments, task(c)).unwrap()).unwrap();
        assert_eq!(id(3.0).id(), id(3.0).id());
        for (a, b) in id(3.0).variances().iter().zip(id(300.0).variances()) {
            assert!((a / b - 1.0).abs() < 1e-3, "{a} {b}");
        }
    }

    #[test]
    fn folding_keeps_inner_products() {
        let (mut a, mut b) = (vec![0.0; FOLDED], vec![0.0; FOLDED]);
        let value = |n: u64| (hash(n) >> 40) as f32 / (1 << 24) as f32 - 0.5;
        let outputs: Vec<f32> = (0..50_000).map(value).collect();
        let zeros = vec![0.0; outputs.len()];
        let mixed: Vec<f32> = outputs.iter().zip(0..).map(|(v, n)| 0.5 * v + value(n + 1_000_000)).collect();
        fold(&outputs, &zeros, 1.0, &mut a);
        fold(&mixed, &zeros, 1.0, &mut b);
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let (folded, exact) = (product(&a, &b), product(&outputs, &mixed));
        assert!((folded / exact - 1.0).abs() < 0.05, "{folded} {exact}");
    }

    #[test]
    fn unusable_tasks_and_layers_are_named() {
        let moments = moments();
        let error = |meter: Result<SensitivityMeter>| {
            meter.and_then(|m| moments.transform_for(None, &m).map(|_| ())).unwrap_err().to_string()
        };
        assert!(error(measured(&moments, |_| Ok(vec![1.0]))).contains("do not change with the features"));
        assert!(
            error(measured(&moments, |layers| Ok(vec![layers[0][0] * f32::NAN]))).contains("not by finite numbers")
        );
        let shrinking = std::cell::Cell::new(9);
        let task = |_: &[Vec<f32>]| Ok(vec![0.0; shrinking.replace(shrinking.get() - 1)]);
        assert!(error(measured(&moments, task)).contains("8 outputs of changed features, 9 of the unchanged"));
        let transform = moments.transform(None).unwrap();
        let meter = |layout, count| SensitivityMeter::new(&transform, layout, count, &Limits::default());
        assert!(error(meter(layout(), 6)).contains("0 frames"));
        assert!(error(meter(layout(), 0)).contains("0 directions, legal are 1 to 1024"));
        let other = Layout::new(vec![Layer::new("p", Shape::chw(5, 8, 8), Dtype::F32)], &Limits::default()).unwrap();
        assert!(error(meter(other, 6)).contains("one of other layers"));
    }
}
