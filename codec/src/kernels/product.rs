//! Dense product of the basis with panels of vectors: `K × D` times `D × LANES`.
//!
//! The basis never changes, so it is packed once into strips of rows; the gather writes panels in the order in which the product
//! reads them. A call then allocates nothing and copies nothing, which no general matrix crate can offer (measured: as fast as
//! the `gemm` crate, see benches/).

use crate::reduction::grid::LANES;
use pulp::{Arch, Simd, WithSimd};

/// Depth of one pass over a panel, so that the part in use stays in the second-level cache.
const DEPTH: usize = 2048;

/// A matrix of `rows × depth` packed into strips for [`PackedMatrix::times_panel`].
#[derive(Debug)]
pub struct PackedMatrix {
    rows: usize,
    depth: usize,
    /// Rows of a strip: as many as the registers of this machine hold.
    strip: usize,
    /// Strips one after the other; in a strip, column by column.
    packed: Vec<f32>,
    arch: Arch,
}

impl PackedMatrix {
    /// Packs `rows` rows of `depth` values.
    pub fn new<'a>(rows: usize, depth: usize, row: impl Fn(usize) -> &'a [f32]) -> Self {
        let arch = Arch::new();
        let strip = match arch.dispatch(Lanes) {
            16.. => 12,
            8 => 6,
            _ => 4,
        };
        let mut packed = vec![0.0; rows.div_ceil(strip) * strip * depth];
        for r in 0..rows {
            let start = r / strip * strip * depth + r % strip;
            for (c, &v) in row(r).iter().enumerate() {
                packed[start + c * strip] = v;
            }
        }
        Self { rows, depth, strip, packed, arch }
    }

    /// Rows that one strip holds: parts of a product begin at multiples of it.
    pub fn strip(&self) -> usize {
        self.strip
    }

    /// Multiplies rows `first..` (a multiple of [`Self::strip`]) with `panel` (`[depth][LANES]`) and writes the first `lanes`
    /// columns to `out`: row `first + i` goes to `out[i * stride + column..]`. As many rows as `out` has room for.
    pub fn times_panel(
        &self,
        first: usize,
        panel: &[f32],
        lanes: usize,
        out: &mut [f32],
        stride: usize,
        column: usize,
    ) {
        debug_assert_eq!(first % self.strip, 0);
        let rows = out.len().div_ceil(stride).min(self.rows - first);
        let strips = &self.packed[first * self.depth..];
        let job = Job { strips, depth: self.depth, panel, rows, lanes, out, stride, column };
        match self.strip {
            12 => self.arch.dispatch(Strips::<12>(job)),
            6 => self.arch.dispatch(Strips::<6>(job)),
            _ => self.arch.dispatch(Strips::<4>(job)),
        }
    }
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

struct Job<'a> {
    strips: &'a [f32],
    depth: usize,
    panel: &'a [f32],
    rows: usize,
    lanes: usize,
    out: &'a mut [f32],
    stride: usize,
    column: usize,
}

struct Strips<'a, const R: usize>(Job<'a>);

impl<const R: usize> WithSimd for Strips<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let job = self.0;
        for start in (0..job.depth.max(1)).step_by(DEPTH) {
            let end = (start + DEPTH).min(job.depth);
            let panel = &job.panel[start * LANES..end * LANES];
            for (s, strip) in job.strips.chunks_exact(job.depth * R).take(job.rows.div_ceil(R)).enumerate() {
                let strip = &strip[start * R..end * R];
                let rows = R.min(job.rows - s * R);
                let mut sums = [[0f32; LANES]; R];
                if start > 0 {
                    for (i, sum) in sums[..rows].iter_mut().enumerate() {
                        let at = (s * R + i) * job.stride + job.column;
                        sum[..job.lanes].copy_from_slice(&job.out[at..at + job.lanes]);
                    }
                }
                let lanes = |step: usize| (0..job.lanes).step_by(step);
                match S::F32_LANES {
                    16 => part::<S, 2, R>(simd, strip, panel, &mut sums, 0),
                    8 => lanes(16).for_each(|j| part::<S, 2, R>(simd, strip, panel, &mut sums, j)),
                    4 => lanes(16).for_each(|j| part::<S, 4, R>(simd, strip, panel, &mut sums, j)),
                    n => lanes(n).for_each(|j| part::<S, 1, R>(simd, strip, panel, &mut sums, j)),
                }
                for (i, sum) in sums[..rows].iter().enumerate() {
                    let at = (s * R + i) * job.stride + job.column;
                    job.out[at..at + job.lanes].copy_from_slice(&sum[..job.lanes]);
                }
            }
        }
    }
}

/// Adds the product of one strip and `V` vectors of panel columns from `j` on to `sums`, in the order of the depth.
#[inline(always)]
fn part<S: Simd, const V: usize, const R: usize>(
    simd: S,
    strip: &[f32],
    panel: &[f32],
    sums: &mut [[f32; LANES]; R],
    j: usize,
) {
    let columns = j..j + V * S::F32_LANES;
    let mut acc = [[simd.splat_f32s(0.0); V]; R];
    for (acc, sum) in acc.iter_mut().zip(sums.iter()) {
        let (vectors, _) = S::as_simd_f32s(&sum[columns.clone()]);
        acc.copy_from_slice(&vectors[..V]);
    }
    for (a, x) in strip.chunks_exact(R).zip(panel.chunks_exact(LANES)) {
        let (x, _) = S::as_simd_f32s(&x[columns.clone()]);
        let (a, x): (&[f32; R], &[S::f32s; V]) = (a.try_into().expect("R"), x.try_into().expect("V"));
        for (acc, &a) in acc.iter_mut().zip(a) {
            let a = simd.splat_f32s(a);
            for (acc, &x) in acc.iter_mut().zip(x) {
                *acc = simd.mul_add_e_f32s(a, x, *acc);
            }
        }
    }
    for (acc, sum) in acc.iter().zip(sums.iter_mut()) {
        let (vectors, _) = S::as_mut_simd_f32s(&mut sum[columns.clone()]);
        vectors[..V].copy_from_slice(acc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(i: usize) -> f32 {
        ((i * 7919 % 2003) as f32) / 1000.0 - 1.0
    }

    #[test]
    fn equals_the_product_in_double_precision_whatever_the_part() {
        for (rows, depth, lanes) in [(1, 1, 1), (13, 5, 32), (29, 2050, 17), (24, 4097, 32)] {
            let matrix: Vec<f32> = (0..rows * depth).map(value).collect();
            let panel: Vec<f32> = (0..depth * LANES).map(|i| value(i + 31)).collect();
            let packed = PackedMatrix::new(rows, depth, |r| &matrix[r * depth..(r + 1) * depth]);
            let (stride, column) = (40, 3);
            let mut whole = vec![f32::NAN; rows * stride];
            packed.times_panel(0, &panel, lanes, &mut whole, stride, column);
            for r in 0..rows {
                for l in 0..lanes {
                    let exact: f64 =
                        (0..depth).map(|d| f64::from(matrix[r * depth + d]) * f64::from(panel[d * LANES + l])).sum();
                    let got = f64::from(whole[r * stride + column + l]);
                    assert!((got - exact).abs() < 2e-3, "{rows}x{depth} row {r} lane {l}: {got} {exact}");
                }
            }
            let first = packed.strip();
            if rows > first {
                let mut part = vec![f32::NAN; (rows - first) * stride];
                packed.times_panel(first, &panel, lanes, &mut part, stride, column);
                let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                assert!(part.iter().zip(&whole[first * stride..]).all(|(&a, &b)| same(a, b)));
            }
        }
    }
}
