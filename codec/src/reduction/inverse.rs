//! The decoder's half of the reduction: changed components → vectors by position → layers.
//!
//! Most components of most positions stay as they were in the frame before, so the vectors of the grid are kept and only what
//! changed is added. The decoder's z-score refinement of the fused tensor, `a·x + b` for all components, is folded in later:
//! `a · vectors + b · (sum of all basis vectors) + mean`.

use super::dct::Dct;
use super::grid::{Grid, Refined, Refinement};
use super::transform::Transform;
use crate::kernels::moments::Moments;
use crate::kernels::sparse;
use rayon::ThreadPool;
use rayon::prelude::*;
use std::sync::Arc;

/// Positions that one thread takes at a time.
const PART: usize = 16;

/// Restores feature sets of one layout; holds all memory that it needs.
#[derive(Debug)]
pub struct Inverse {
    grid: Grid,
    basis: Basis,
    /// Σ of all basis vectors, and the calibrated mean.
    ones: Vec<f32>,
    mean: Vec<f32>,
    /// Σ component · basis vector by position, `row` values apart.
    vectors: Vec<f32>,
    row: usize,
    /// Changed components by position: terms of position p are `starts[p]..starts[p + 1]`.
    starts: Vec<u32>,
    terms: Vec<(u32, f32)>,
}

#[derive(Debug)]
enum Basis {
    Klt(Arc<Transform>),
    Dct(Dct),
}

impl Basis {
    /// Adds to each vector of `vectors` its terms, `terms[starts[i]..starts[i + 1]]`.
    fn add(&self, vectors: &mut [f32], row: usize, d: usize, starts: &[u32], terms: &[(u32, f32)]) {
        match self {
            Basis::Klt(t) => sparse::add_terms(vectors, row, d, starts, terms, |k| t.vector(k)),
            Basis::Dct(dct) => {
                for (vector, range) in vectors.chunks_exact_mut(row).zip(starts.windows(2)) {
                    for &(k, w) in &terms[range[0] as usize..range[1] as usize] {
                        dct.add(k as usize, w, &mut vector[..d]);
                    }
                }
            }
        }
    }
}

impl Inverse {
    /// The inverse of [`super::forward::Forward`] with the same arguments.
    pub fn new(grid: Grid, transform: Option<Arc<Transform>>, components: usize) -> Self {
        let d = grid.dimension;
        let mut ones = vec![0.0; d];
        let (basis, mean) = match transform {
            Some(t) => {
                for k in 0..components {
                    ones.iter_mut().zip(t.vector(k)).for_each(|(o, v)| *o += v);
                }
                let mean = t.mean().to_vec();
                (Basis::Klt(t), mean)
            }
            None => {
                let dct = Dct::new(&grid, components);
                (0..components).for_each(|k| dct.add(k, 1.0, &mut ones));
                (Basis::Dct(dct), vec![0.0; d])
            }
        };
        // An odd number of cache lines, so that the same value of neighbouring positions does not fall into one cache set.
        // Short vectors do without: on a grid of many positions the gaps would outweigh the values.
        let row = if d < 64 { d } else { (d.div_ceil(16) | 1) * 16 };
        let positions = grid.positions();
        let vectors = vec![0.0; row * positions];
        Self { grid, basis, ones, mean, vectors, row, starts: vec![0; positions + 1], terms: Vec::new() }
    }

    /// All components zero.
    pub fn clear(&mut self) {
        self.vectors.fill(0.0);
    }

    /// Adds `change(k, p)` to component `k` of position `p` for all of the `components` planes of changes; most are zero.
    pub fn add(&mut self, changes: &[i32], unit: f32, pool: Option<&ThreadPool>) {
        let positions = self.grid.positions();
        self.starts.fill(0);
        for plane in changes.chunks_exact(positions) {
            self.starts[1..].iter_mut().zip(plane).for_each(|(n, &c)| *n += u32::from(c != 0));
        }
        let mut total = 0;
        for n in &mut self.starts[1..] {
            // Each holds the start of its position while terms are placed, and is its end afterwards.
            (*n, total) = (total, total + *n);
        }
        self.terms.resize(total as usize, (0, 0.0));
        for (k, plane) in changes.chunks_exact(positions).enumerate() {
            for (next, &c) in self.starts[1..].iter_mut().zip(plane) {
                if c != 0 {
                    self.terms[*next as usize] = (k as u32, c as f32 * unit);
                    *next += 1;
                }
            }
        }
        let (basis, terms, starts) = (&self.basis, &self.terms, &self.starts);
        let (row, d) = (self.row, self.grid.dimension);
        match pool {
            // Each position is summed by one thread in one order, so the result does not depend on their number.
            Some(pool) => pool.install(|| {
                let parts = self.vectors.par_chunks_mut(row * PART).enumerate();
                parts.for_each(|(i, vectors)| basis.add(vectors, row, d, &starts[i * PART..], terms));
            }),
            None => basis.add(&mut self.vectors, row, d, starts, terms),
        }
    }

    /// Vectors of the fused tensor refined by `a·x + b` are `a · vectors + base`.
    pub fn base(&self, b: f32, base: &mut [f32]) {
        for ((base, mean), one) in base.iter_mut().zip(&self.mean).zip(&self.ones) {
            *base = mean + b * one;
        }
    }

    /// Moments of layer `n` of the refined vectors of the positions `taken`, padding left out. `line` is scratch of at least
    /// D values; with more of it, short vectors are summed many at a time.
    pub fn moments(
        &self,
        n: usize,
        refinement: Refinement<'_>,
        taken: impl Fn(usize) -> bool,
        line: &mut [f32],
    ) -> Moments {
        let Refinement { base, scale } = refinement;
        let cells = &self.grid.layers[n];
        let part = cells.offset..cells.offset + cells.dimension();
        let base = &base[part.clone()];
        let pivot = base[0] + scale * self.vectors[part.start];
        let mut moments = Moments::new(if pivot.is_finite() { pivot } else { 0.0 });
        let mut count = 0;
        for (p, vector) in self.vectors.chunks_exact(self.row).enumerate().filter(|&(p, _)| taken(p)) {
            let vector = &vector[part.clone()];
            if count + vector.len() > line.len() {
                moments.add(&line[..count]);
                count = 0;
            }
            if cells.padded {
                for d in (0..vector.len()).filter(|&d| self.grid.is_value(n, p, d)) {
                    line[count] = base[d] + scale * vector[d];
                    count += 1;
                }
            } else {
                for ((out, b), v) in line[count..].iter_mut().zip(base).zip(vector) {
                    *out = b + scale * v;
                }
                count += vector.len();
            }
        }
        moments.add(&line[..count]);
        moments
    }

    /// Writes layer `n` of the vectors, each refined as its region is; `regions` of `None` is a single one.
    pub fn write<T: Copy>(
        &self,
        n: usize,
        regions: Option<&[u8]>,
        refinements: [Refinement<'_>; 2],
        out: &mut [T],
        convert: impl Fn(f32) -> T,
    ) {
        let source = Refined { vectors: &self.vectors, row: self.row, regions, refinements };
        self.grid.scatter(n, source, out, convert);
    }
}
