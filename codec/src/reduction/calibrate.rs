//! Learning a [`Transform`] from features: streaming covariance, then an eigendecomposition; [`sensitivity`] fits it to a task.
//!
//! The covariance lives in tiles of its lower triangle. Vectors are collected until a batch is full; then every tile adds the
//! batch's products, made in binary32 by a matrix product and summed in binary64. One tile is always computed by one thread in the same
//! order, so the result is the same for any number of threads.

mod intra;
mod pair;
mod sensitivity;

pub use intra::IntraTrainer;
pub use pair::PairCalibrator;
pub use sensitivity::SensitivityMeter;

use super::Transform;
use super::grid::{Grid, LANES, Lanes};
use super::transform::CellShape;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{self, Limits};
use crate::tensor::value::first_wild;
use crate::tensor::{Layout, TensorRef};
use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

/// Largest dimension D: its covariance takes 1 GiB, its decomposition several times that.
pub const MAX_DIMENSION: u32 = 16384;

/// Rows and columns of a tile: a tile and its product stay in the second-level cache.
const TILE: usize = 256;
/// Vectors of a batch; a multiple of [`LANES`]. Long enough that the matrix product, not the summing of tiles, takes the time.
const BATCH: usize = 1024;

/// Gathers the covariance of features in bounded memory (D² values, whatever the number of frames).
pub struct Calibrator {
    layout: Layout,
    grid: Grid,
    cells: Vec<CellShape>,
    /// One block of the grid, `[D][LANES]`.
    panel: Vec<f32>,
    /// The batch, `[D][BATCH]`, of which the first `filled` columns are in use.
    batch: Vec<f32>,
    filled: usize,
    /// Subtracted from all vectors, so that a large common mean costs no precision: the mean of the first batch.
    shift: Option<Vec<f32>>,
    /// Sum of the shifted vectors.
    sum: Vec<f64>,
    tiles: Vec<Tile>,
    /// Vectors that went into `sum` and `tiles`.
    summed: u64,
}

/// A tile of the lower triangle: sums of products of shifted values, column by column.
struct Tile {
    row: usize,
    col: usize,
    rows: usize,
    cols: usize,
    sums: Vec<f64>,
}

impl Calibrator {
    /// Makes a calibrator for feature sets of `layout`.
    ///
    /// # Errors
    /// `LimitExceeded` when the dimension D is above [`MAX_DIMENSION`] (its covariance would take over 1 GiB).
    pub fn new(layout: Layout, limits: &Limits) -> Result<Self> {
        let grid = Grid::new(&layout, limits)?;
        let d = grid.dimension;
        limits::check("dimension of a transform to calibrate", d as u64, u64::from(MAX_DIMENSION))?;
        let cells = CellShape::of(&grid)?;
        let mut tiles = Vec::new();
        for row in (0..d).step_by(TILE) {
            for col in (0..=row).step_by(TILE) {
                let (rows, cols) = (TILE.min(d - row), TILE.min(d - col));
                tiles.push(Tile { row, col, rows, cols, sums: vec![0.0; rows * cols] });
            }
        }
        Ok(Self {
            layout,
            grid,
            cells,
            panel: vec![0.0; d * LANES],
            batch: vec![0.0; d * BATCH],
            filled: 0,
            shift: None,
            sum: vec![0.0; d],
            tiles,
            summed: 0,
        })
    }

    /// Goes on with feature sets of another `layout` whose cells have the same shapes, such as the same network at another
    /// resolution.
    ///
    /// # Errors
    /// `InvalidInput` when the cells have other shapes; the calibrator stays as it was.
    pub fn set_layout(&mut self, layout: Layout, limits: &Limits) -> Result<()> {
        same_cells(&self.cells, &self.layout, &layout, limits)?;
        self.grid = Grid::new(&layout, limits)?;
        self.layout = layout;
        Ok(())
    }

    /// Dimension D of the vectors gathered.
    pub fn dimension(&self) -> u32 {
        self.grid.dimension as u32
    }

    /// Vectors gathered so far: frames × grid positions. Well below 10 × D is too few for a good basis.
    pub fn samples(&self) -> u64 {
        self.summed + self.filled as u64
    }

    /// Adds one frame.
    ///
    /// # Errors
    /// `InvalidInput` as [`crate::Encoder::encode`]; nothing of the frame was added then.
    pub fn add(&mut self, tensors: &[TensorRef<'_>]) -> Result<()> {
        check(&self.layout, tensors)?;
        for block in 0..self.grid.positions().div_ceil(LANES) {
            let lanes = Lanes::block(block, self.grid.positions());
            self.grid.gather(tensors, None, &lanes, &mut self.panel);
            let lanes = lanes.len();
            let taken = lanes.min(BATCH - self.filled);
            copy_lanes(&self.panel, 0, taken, &mut self.batch, self.filled);
            self.filled += taken;
            if self.filled == BATCH {
                flush(&mut self.batch, BATCH, &mut self.shift, &mut self.sum, &mut self.tiles);
                self.summed += BATCH as u64;
                self.filled = lanes - taken;
                copy_lanes(&self.panel, taken, self.filled, &mut self.batch, 0);
            }
        }
        Ok(())
    }

    /// Decomposes the covariance and keeps the `components` strongest vectors (`None` = all D).
    ///
    /// # Errors
    /// `InvalidConfig` for 0 or more than D components; `InvalidInput` when fewer than 2 vectors were gathered.
    pub fn finish(self, components: Option<u32>) -> Result<Transform> {
        // Before the covariance, which is long work.
        number_of_components(components, self.grid.dimension)?;
        self.moments()?.transform(components)
    }

    /// Mean and covariance of what was gathered, from which several transforms can be made.
    ///
    /// # Errors
    /// `InvalidInput` when fewer than 2 vectors were gathered.
    pub fn moments(mut self) -> Result<Moments> {
        let d = self.grid.dimension;
        if self.filled > 0 {
            flush(&mut self.batch, self.filled, &mut self.shift, &mut self.sum, &mut self.tiles);
            self.summed += self.filled as u64;
            self.filled = 0;
        }
        let n = self.summed;
        let Some(shift) = self.shift.take().filter(|_| n >= 2) else {
            return Err(Error::input(format!("{n} vectors to calibrate on, at least 2 are needed")));
        };
        let mean: Vec<f64> = self.sum.iter().map(|s| s / n as f64).collect();
        let mut covariance = Mat::<f64>::zeros(d, d);
        // Tile by tile, each freed when it was copied: two covariances at once would be the peak of memory.
        for tile in std::mem::take(&mut self.tiles) {
            for (c, column) in tile.sums.chunks_exact(tile.rows).enumerate() {
                for (r, s) in column.iter().enumerate() {
                    let (i, j) = (tile.row + r, tile.col + c);
                    // Tiles on the diagonal have both triangles, equal but for rounding: the lower one counts.
                    if i >= j {
                        covariance[(i, j)] = s / n as f64 - mean[i] * mean[j];
                        covariance[(j, i)] = covariance[(i, j)];
                    }
                }
            }
        }
        let total_variance = (0..d).map(|i| covariance[(i, i)].max(0.0)).sum();
        let mean = mean.iter().zip(&shift).map(|(m, s)| (m + f64::from(*s)) as f32).collect();
        Ok(Moments { cells: self.cells, mean, covariance, total_variance, samples: n })
    }
}

/// What a [`Calibrator`] gathered: mean and covariance of the vectors.
pub struct Moments {
    cells: Vec<CellShape>,
    mean: Vec<f32>,
    covariance: Mat<f64>,
    total_variance: f64,
    samples: u64,
}

impl Moments {
    /// The Karhunen–Loève transform with the `components` strongest vectors (`None` = all D).
    ///
    /// # Errors
    /// `InvalidConfig` for 0 or more than D components; `InvalidInput` for a covariance that cannot be decomposed.
    pub fn transform(&self, components: Option<u32>) -> Result<Transform> {
        let k = number_of_components(components, self.mean.len())?;
        let (vectors, variances) = strongest(&self.covariance, k)?;
        let mut basis = Vec::with_capacity(k * self.mean.len());
        for vector in vectors.col_iter() {
            let sign = sign(vector.iter().copied());
            basis.extend(vector.iter().map(|v| (sign * v) as f32));
        }
        Transform::new(self.cells.clone(), self.mean.clone(), basis, variances, self.total_variance, self.samples)
    }
}

fn number_of_components(asked: Option<u32>, dimension: usize) -> Result<usize> {
    match asked.map_or(dimension, |k| k as usize) {
        k if (1..=dimension).contains(&k) => Ok(k),
        k => Err(Error::config(format!("{k} components, legal are 1 to {dimension}"))),
    }
}

/// The `k` strongest eigenvectors (columns) of a covariance, and their variances, falling.
fn strongest(covariance: &Mat<f64>, k: usize) -> Result<(Mat<f64>, Vec<f32>)> {
    let d = covariance.nrows();
    let (vectors, variances) = decompose(covariance)?;
    let vectors = Mat::from_fn(d, k, |i, j| vectors[(i, d - 1 - j)]);
    Ok((vectors, variances.iter().rev().take(k).map(|v| v.max(0.0) as f32).collect()))
}

/// The sign that makes the largest value positive. That of an eigenvector is free; fixing it makes the file the same however the solver
/// chose.
fn sign(vector: impl Iterator<Item = f64>) -> f64 {
    let peak = vector.fold(0.0f64, |peak, v| if v.abs() > peak.abs() { v } else { peak });
    if peak < 0.0 { -1.0 } else { 1.0 }
}

/// Values of one feature set in binary32.
struct Frame {
    layout: Layout,
    values: Vec<Vec<f32>>,
}

impl Frame {
    fn new(layout: Layout) -> Self {
        Self { values: layout.layers().iter().map(|l| vec![0.0; l.shape.elements() as usize]).collect(), layout }
    }

    /// Checks `tensors` and converts them to `values`.
    fn read(&mut self, tensors: &[TensorRef<'_>]) -> Result<()> {
        check(&self.layout, tensors)?;
        for (tensor, values) in tensors.iter().zip(&mut self.values) {
            match tensor {
                TensorRef::F16(v) => v.convert_to_f32_slice(values),
                TensorRef::F32(v) => values.copy_from_slice(v),
            }
        }
        Ok(())
    }
}

/// Whether `tensors` are those of `layout`, and finite.
fn check(layout: &Layout, tensors: &[TensorRef<'_>]) -> Result<()> {
    layout.check(tensors)?;
    for (n, (tensor, layer)) in tensors.iter().zip(layout.layers()).enumerate() {
        let wild = match tensor {
            TensorRef::F16(v) => first_wild(v),
            TensorRef::F32(v) => first_wild(v),
        };
        if let Some((index, value)) = wild {
            return Err(Error::input(format!(
                "layer {n} ({:?}) has the value {value} at index {index}, only finite values can be calibrated on",
                layer.name
            )));
        }
    }
    Ok(())
}

/// Whether `new` has the cells of `old`, which are `cells`.
fn same_cells(cells: &[CellShape], old: &Layout, new: &Layout, limits: &Limits) -> Result<()> {
    if CellShape::of_layout(new, limits)? == cells {
        return Ok(());
    }
    let (new, old) = (shapes(new), shapes(old));
    Err(Error::input(format!("layers {new}, their cells differ from those of layers {old}")))
}

fn shapes(layout: &Layout) -> String {
    layout.layers().iter().map(|l| l.shape.to_string()).collect::<Vec<_>>().join(", ")
}

/// Copies `count` lanes of a panel from lane `from` on into the columns of `batch` from `to` on.
fn copy_lanes(panel: &[f32], from: usize, count: usize, batch: &mut [f32], to: usize) {
    for (lanes, row) in panel.chunks_exact(LANES).zip(batch.chunks_exact_mut(BATCH)) {
        row[to..to + count].copy_from_slice(&lanes[from..from + count]);
    }
}

/// Adds the first `filled` columns of `batch` to the sums.
fn flush(batch: &mut [f32], filled: usize, shift: &mut Option<Vec<f32>>, sum: &mut [f64], tiles: &mut [Tile]) {
    let total = |row: &[f32]| row[..filled].iter().map(|&v| f64::from(v)).sum::<f64>();
    let shift =
        shift.get_or_insert_with(|| batch.chunks_exact(BATCH).map(|r| (total(r) / filled as f64) as f32).collect());
    for ((row, shift), sum) in batch.chunks_exact_mut(BATCH).zip(shift.iter()).zip(sum) {
        row[..filled].iter_mut().for_each(|v| *v -= shift);
        *sum += total(row);
    }
    let rows_of = |first: usize, rows: usize| {
        MatRef::from_row_major_slice_with_stride(&batch[first * BATCH..(first + rows) * BATCH], rows, filled, BATCH)
    };
    tiles.par_iter_mut().for_each_init(
        || vec![0.0f32; TILE * TILE],
        |product, tile| {
            let product = &mut product[..tile.rows * tile.cols];
            matmul(
                MatMut::from_column_major_slice_mut(product, tile.rows, tile.cols),
                Accum::Replace,
                rows_of(tile.row, tile.rows),
                rows_of(tile.col, tile.cols).transpose(),
                1.0f32,
                Par::Seq,
            );
            for (sum, p) in tile.sums.iter_mut().zip(product) {
                *sum += f64::from(*p);
            }
        },
    );
}

/// Eigenvectors (columns) and eigenvalues, rising, of the symmetric matrix in the lower triangle of `matrix`.
fn decompose(matrix: &Mat<f64>) -> Result<(Mat<f64>, Vec<f64>)> {
    let n = matrix.nrows();
    let mut vectors = Mat::zeros(n, n);
    let mut values = Diag::zeros(n);
    // One thread: more gain little at these sizes and may round differently on every machine.
    let par = Par::Seq;
    let scratch = self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, par, Default::default());
    self_adjoint_evd(
        matrix.as_ref(),
        values.as_mut(),
        Some(vectors.as_mut()),
        par,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .map_err(|e| Error::new(ErrorKind::InvalidInput, format!("a covariance without eigendecomposition ({e:?})")))?;
    let values = values.column_vector().iter().copied().collect();
    Ok((vectors, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduction::grid::{Refined, Refinement};
    use crate::reduction::transform::Linear;
    use crate::tensor::{Dtype, Layer, Shape};
    use half::f16;

    /// A 4 × 16 × 24 and an 8 × 8 × 12 layer: D = 4 · 2 · 2 + 8 = 24, 96 positions.
    const D: usize = 24;
    const POSITIONS: usize = 96;

    fn layout() -> Result<Layout> {
        let layers = vec![
            Layer::new("p3", Shape::chw(4, 16, 24), Dtype::F32),
            Layer::new("p4", Shape::chw(8, 8, 12), Dtype::F32),
        ];
        Layout::new(layers, &Limits::default())
    }

    /// Normally distributed numbers from a multiplicative congruential generator.
    struct Normal(u64);

    impl Normal {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((self.0 >> 33) as f64 + 0.5) / (1u64 << 31) as f64
        }

        fn next(&mut self) -> f64 {
            (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
        }
    }

    /// D orthonormal vectors (Gram and Schmidt's method on random ones).
    fn orthonormal(random: &mut Normal) -> Vec<Vec<f64>> {
        let mut basis: Vec<Vec<f64>> = Vec::new();
        while basis.len() < D {
            let mut v: Vec<f64> = (0..D).map(|_| random.next()).collect();
            for b in &basis {
                let dot: f64 = b.iter().zip(&v).map(|(a, b)| a * b).sum();
                v.iter_mut().zip(b).for_each(|(v, b)| *v -= dot * b);
            }
            let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
            basis.push(v.iter().map(|v| v / norm).collect());
        }
        basis
    }

    /// Frames whose vectors have mean 100 + d and the standard deviation 4 · 0.8^k along planted vector k.
    fn planted(frames: usize) -> (Vec<Vec<f64>>, Vec<Vec<f32>>) {
        let mut random = Normal(7);
        let basis = orthonormal(&mut random);
        let frames = (0..frames)
            .map(|_| {
                let mut vectors = Vec::with_capacity(POSITIONS * D);
                for _ in 0..POSITIONS {
                    let mut v: Vec<f64> = (0..D).map(|d| 100.0 + d as f64).collect();
                    for (k, b) in basis.iter().enumerate() {
                        let a = 4.0 * 0.8f64.powi(k as i32) * random.next();
                        v.iter_mut().zip(b).for_each(|(v, b)| *v += a * b);
                    }
                    vectors.extend(v.iter().map(|v| *v as f32));
                }
                vectors
            })
            .collect();
        (basis, frames)
    }

    fn add(calibrator: &mut Calibrator, vectors: &[f32]) -> Result<()> {
        let mut layers: Vec<Vec<f32>> = vec![vec![0.0; 4 * 16 * 24], vec![0.0; 8 * 8 * 12]];
        for (n, out) in layers.iter_mut().enumerate() {
            let refinements = [Refinement { base: &[0.0; D], scale: 1.0 }; 2];
            let source = Refined { vectors, row: D, regions: None, refinements };
            calibrator.grid.scatter(n, source, out, |v| v);
        }
        let tensors: Vec<TensorRef<'_>> = layers.iter().map(|l| TensorRef::F32(l)).collect();
        calibrator.add(&tensors)
    }

    fn calibrated(frames: &[Vec<f32>], components: Option<u32>) -> Result<Transform> {
        let mut calibrator = Calibrator::new(layout()?, &Limits::default())?;
        frames.iter().try_for_each(|f| add(&mut calibrator, f))?;
        assert_eq!(calibrator.samples(), (frames.len() * POSITIONS) as u64);
        calibrator.finish(components)
    }

    fn klt(transform: &Transform) -> &Linear {
        transform.vectors().expect("a calibrator makes a basis")
    }

    fn dot(a: &[f32], b: impl IntoIterator<Item = f64>) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum()
    }

    #[test]
    fn planted_basis_is_recovered() -> Result<()> {
        let (basis, frames) = planted(100);
        let transform = calibrated(&frames, None)?;
        assert_eq!((transform.components(), transform.dimension(), transform.samples()), (24, 24, 9600));
        for (k, b) in basis.iter().enumerate() {
            let cosine = dot(klt(&transform).analysis(k), b.iter().copied()).abs();
            assert!(cosine > 0.995, "vector {k} has the cosine {cosine} with the planted one");
            let planted = (4.0 * 0.8f64.powi(k as i32)).powi(2);
            let variance = f64::from(transform.variances()[k]);
            assert!((variance / planted - 1.0).abs() < 0.06, "variance {k} is {variance}, planted {planted}");
        }
        for (d, mean) in klt(&transform).mean.iter().enumerate() {
            assert!((mean - 100.0 - d as f32).abs() < 0.2, "mean {d} is {mean}");
        }
        Ok(())
    }

    #[test]
    fn variances_are_the_energies_of_the_projections() -> Result<()> {
        let (_, frames) = planted(23);
        let transform = calibrated(&frames, Some(20))?;
        let n = (23 * POSITIONS) as f64;
        let mut total = 0.0;
        for v in frames.iter().flatten().zip(klt(&transform).mean.iter().cycle()) {
            total += (f64::from(*v.0) - f64::from(*v.1)).powi(2) / n;
        }
        let mut held = 0.0;
        for k in 0..20 {
            let energy: f64 = frames
                .iter()
                .flat_map(|f| f.chunks_exact(D))
                .map(|v| {
                    let centred = v.iter().zip(&klt(&transform).mean).map(|(v, m)| f64::from(*v) - f64::from(*m));
                    dot(klt(&transform).analysis(k), centred).powi(2) / n
                })
                .sum();
            let (variance, strongest) = (f64::from(transform.variances()[k]), f64::from(transform.variances()[0]));
            assert!(
                (energy - variance).abs() < 1e-6 * strongest,
                "component {k} has the energy {energy}, its variance is {variance}"
            );
            held += energy;
            let share = transform.energy(k as u32 + 1);
            assert!((share - held / total).abs() < 1e-6, "{} components hold {share}, not {}", k + 1, held / total);
        }
        Ok(())
    }

    #[test]
    fn basis_is_orthonormal_ordered_and_its_signs_fixed() -> Result<()> {
        let transform = calibrated(&planted(30).1, None)?;
        assert!(transform.variances().is_sorted_by(|a, b| a >= b));
        for i in 0..D {
            for j in 0..=i {
                let product =
                    dot(klt(&transform).analysis(i), klt(&transform).analysis(j).iter().map(|&v| f64::from(v)));
                let expected = f64::from(i == j);
                assert!((product - expected).abs() < 1e-6, "vectors {i} and {j} have the product {product}");
            }
            let v = klt(&transform).analysis(i);
            let peak = v.iter().fold(0.0f32, |p, v| if v.abs() > p.abs() { *v } else { p });
            assert!(peak > 0.0, "the largest entry of vector {i} is {peak}");
        }
        Ok(())
    }

    #[test]
    fn order_of_frames_does_not_matter() -> Result<()> {
        let (_, mut frames) = planted(40);
        let a = calibrated(&frames, None)?;
        frames.reverse();
        let b = calibrated(&frames, None)?;
        let entry = |t: &Transform, i: usize, j: usize| -> f64 {
            (0..D)
                .map(|k| {
                    f64::from(t.variances()[k]) * f64::from(klt(t).analysis(k)[i]) * f64::from(klt(t).analysis(k)[j])
                })
                .sum()
        };
        let strongest = f64::from(a.variances()[0]);
        for i in 0..D {
            let (va, vb) = (f64::from(a.variances()[i]), f64::from(b.variances()[i]));
            assert!((va - vb).abs() < 1e-6 * strongest, "variance {i} is {va} in one order, {vb} in the other");
            assert!((klt(&a).mean[i] / klt(&b).mean[i] - 1.0).abs() < 1e-6);
            for j in 0..D {
                let (x, y) = (entry(&a, i, j), entry(&b, i, j));
                assert!(
                    (x - y).abs() < 1e-6 * strongest,
                    "covariance ({i}, {j}) is {x} in one order, {y} in the other"
                );
            }
        }
        Ok(())
    }

    #[test]
    fn threads_do_not_change_the_transform() -> Result<()> {
        let (_, frames) = planted(25);
        let on = |threads| -> Result<Transform> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
            pool.install(|| calibrated(&frames, None))
        };
        assert_eq!(on(1)?.id(), on(3)?.id());
        Ok(())
    }

    #[test]
    fn memory_does_not_grow_with_frames() -> Result<()> {
        let bytes = |c: &Calibrator| {
            c.batch.capacity() * 4
                + c.panel.capacity() * 4
                + c.sum.capacity() * 8
                + c.tiles.iter().map(|t| t.sums.capacity() * 8).sum::<usize>()
        };
        let (_, frames) = planted(40);
        let mut calibrator = Calibrator::new(layout()?, &Limits::default())?;
        let before = bytes(&calibrator);
        frames.iter().try_for_each(|f| add(&mut calibrator, f))?;
        assert_eq!(bytes(&calibrator), before);
        Ok(())
    }

    #[test]
    fn several_tiles_agree_with_a_plain_covariance() -> Result<()> {
        // D = 300 spans two tiles; 1200 vectors span two batches.
        let layout = Layout::new(vec![Layer::new("f", Shape::vector(300), Dtype::F16)], &Limits::default())?;
        let mut calibrator = Calibrator::new(layout, &Limits::default())?;
        let mut random = Normal(11);
        let mut frames: Vec<Vec<f16>> = Vec::new();
        for _ in 0..1200 {
            let common = random.next();
            let frame: Vec<f16> =
                (0..300).map(|d| f16::from_f64(3.0 + common * (d % 7) as f64 + random.next())).collect();
            calibrator.add(&[TensorRef::F16(&frame)])?;
            frames.push(frame);
        }
        let transform = calibrator.finish(Some(2))?;
        let n = frames.len() as f64;
        let mean: Vec<f64> = (0..300).map(|d| frames.iter().map(|f| f[d].to_f64()).sum::<f64>() / n).collect();
        // The first vector v and its variance must solve C v = λ v.
        let v = klt(&transform).analysis(0);
        let projections: Vec<f64> =
            frames.iter().map(|f| dot(v, f.iter().zip(&mean).map(|(x, m)| x.to_f64() - m))).collect();
        for d in 0..300 {
            let cv: f64 = frames.iter().zip(&projections).map(|(f, p)| (f[d].to_f64() - mean[d]) * p / n).sum();
            let expected = f64::from(transform.variances()[0]) * f64::from(v[d]);
            assert!((cv - expected).abs() < 1e-4, "entry {d} of C v is {cv}, of the scaled vector {expected}");
        }
        Ok(())
    }

    #[test]
    fn other_resolution_with_the_same_cells_is_accepted_and_other_cells_are_not() -> Result<()> {
        let mut calibrator = Calibrator::new(layout()?, &Limits::default())?;
        let layers = |h| {
            vec![
                Layer::new("p3", Shape::chw(4, 2 * h, 8), Dtype::F16),
                Layer::new("p4", Shape::chw(8, h, 4), Dtype::F16),
            ]
        };
        calibrator.set_layout(Layout::new(layers(5), &Limits::default())?, &Limits::default())?;
        calibrator.add(&[TensorRef::F16(&[f16::ONE; 320]), TensorRef::F16(&[f16::ONE; 160])])?;
        assert_eq!(calibrator.samples(), 20);
        let other = vec![Layer::new("p4", Shape::chw(8, 8, 12), Dtype::F16)];
        let error = calibrator.set_layout(Layout::new(other, &Limits::default())?, &Limits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("8x8x12"), "{error}");
        Ok(())
    }

    #[test]
    fn unusable_input_is_named() -> Result<()> {
        let mut calibrator = Calibrator::new(layout()?, &Limits::default())?;
        let (p3, mut p4) = (vec![0.0; 4 * 16 * 24], vec![0.0; 8 * 8 * 12]);
        p4[5] = f32::NAN;
        let error = calibrator.add(&[TensorRef::F32(&p3), TensorRef::F32(&p4)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("\"p4\"") && error.to_string().contains("index 5"), "{error}");
        let error = calibrator.add(&[TensorRef::F32(&p3)]).unwrap_err();
        assert!(error.to_string().contains("1 tensors"), "{error}");
        assert_eq!(calibrator.samples(), 0);
        let error = calibrator.finish(None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        Ok(())
    }

    #[test]
    fn components_out_of_range_are_refused() -> Result<()> {
        for components in [0, 25] {
            let mut calibrator = Calibrator::new(layout()?, &Limits::default())?;
            add(&mut calibrator, &planted(1).1[0])?;
            let error = calibrator.finish(Some(components)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.to_string().contains("1 to 24"), "{error}");
        }
        Ok(())
    }

    #[test]
    fn dimension_over_the_limit_is_refused_before_memory_is_taken() -> Result<()> {
        let layout = Layout::new(vec![Layer::new("f", Shape::vector(16385), Dtype::F32)], &Limits::default())?;
        let error = Calibrator::new(layout, &Limits::default()).err().expect("an error");
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        assert!(error.to_string().contains("16385"), "{error}");
        Ok(())
    }

    #[test]
    fn constant_features_give_no_variance_and_no_nan() -> Result<()> {
        let mut calibrator = Calibrator::new(layout()?, &Limits::default())?;
        calibrator.add(&[TensorRef::F32(&[2.5; 4 * 16 * 24]), TensorRef::F32(&[2.5; 8 * 8 * 12])])?;
        let transform = calibrator.finish(None)?;
        assert!(transform.variances().iter().all(|&v| v == 0.0));
        assert!(klt(&transform).mean.iter().all(|&m| m == 2.5));
        Ok(())
    }
}
