//! Linear restoration: changed components → vectors by position → layers.
//!
//! Most components of most positions stay as they were in the frame before, so the vectors of the grid are kept and only what
//! changed is added. The decoder's z-score refinement of the fused tensor, `a·x + b` for all components, is folded in later:
//! `a · vectors + b · (sum of all synthesis vectors) + mean`.

use crate::kernels::moments::Moments;
use crate::kernels::sparse;
use crate::motion::Move;
use crate::reduction::dct::Dct;
use crate::reduction::grid::{Grid, Refined, Refinement};
use crate::reduction::transform::Linear;
use crate::refinement::Affine;
use rayon::ThreadPool;
use rayon::prelude::*;
use std::sync::Arc;

/// Positions that one thread takes at a time.
const PART: usize = 16;

/// Values that are summed together where vectors are shorter.
const LINE: usize = 4096;

/// Restores feature sets of one layout; holds all memory that it needs.
#[derive(Debug)]
pub struct Expansion {
    grid: Grid,
    basis: Basis,
    /// Σ of all synthesis vectors, and the calibrated mean.
    ones: Vec<f32>,
    mean: Vec<f32>,
    /// Σ component · synthesis vector by position, `row` values apart.
    vectors: Vec<f32>,
    row: usize,
    /// Vectors of positions that move, before they are put in place.
    moved: Vec<f32>,
    /// Changed components by position: terms of position p are `starts[p]..starts[p + 1]`.
    starts: Vec<u32>,
    terms: Vec<(u32, f32)>,
    /// Vectors refined as the fused tensor is are `base + factor · vectors`, by region of their position.
    base: [Vec<f32>; 2],
    factor: [f32; 2],
    line: [Vec<f32>; 2],
}

#[derive(Debug)]
enum Basis {
    Calibrated(Arc<Linear>),
    Dct(Dct),
}

impl Basis {
    /// Adds to each vector of `vectors` its terms, `terms[starts[i]..starts[i + 1]]`.
    fn add(&self, vectors: &mut [f32], row: usize, d: usize, starts: &[u32], terms: &[(u32, f32)]) {
        match self {
            Basis::Calibrated(linear) => sparse::add_terms(vectors, row, d, starts, terms, |k| linear.synthesis(k)),
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

impl Expansion {
    /// The inverse of [`crate::reduction::forward::Projection`] with the same arguments, for so many `regions`.
    pub fn new(grid: Grid, linear: Option<Arc<Linear>>, components: usize, regions: usize) -> Self {
        let d = grid.dimension;
        let mut ones = vec![0.0; d];
        let (basis, mean) = match linear {
            Some(linear) => {
                for k in 0..components {
                    ones.iter_mut().zip(linear.synthesis(k)).for_each(|(o, v)| *o += v);
                }
                let mean = linear.mean.clone();
                (Basis::Calibrated(linear), mean)
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
        let second = if regions > 1 { d } else { 0 };
        Self {
            grid,
            basis,
            ones,
            mean,
            vectors,
            row,
            moved: Vec::new(),
            starts: vec![0; positions + 1],
            terms: Vec::new(),
            base: [vec![0.0; d], vec![0.0; second]],
            factor: [1.0; 2],
            line: [vec![0.0; d.max(LINE)], vec![0.0; second]],
        }
    }

    /// All components zero.
    pub fn clear(&mut self) {
        self.vectors.fill(0.0);
    }

    /// Moves the vectors of positions, all at once: those of the means of components are the means of vectors, but for the rounding of
    /// the components.
    pub fn shift(&mut self, moves: &[Move]) {
        let (row, d) = (self.row, self.grid.dimension);
        // Once as large as it can get, so that no later frame allocates.
        self.moved.resize(self.vectors.len(), 0.0);
        for (m, out) in moves.iter().zip(self.moved.chunks_exact_mut(row)) {
            let [a, b, c, e] = m.from.map(|p| &self.vectors[p * row..p * row + d]);
            for ((((out, a), b), c), e) in out.iter_mut().zip(a).zip(b).zip(c).zip(e) {
                *out = ((a + b) + (c + e)) * 0.25;
            }
        }
        for (m, moved) in moves.iter().zip(self.moved.chunks_exact(row)) {
            self.vectors[m.to * row..m.to * row + d].copy_from_slice(&moved[..d]);
        }
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

    /// Takes `refine` as the refinement of the fused tensor in `region`.
    pub fn refine(&mut self, region: usize, refine: Affine) {
        self.factor[region] = refine.scale as f32;
        let b = refine.offset as f32;
        for ((base, mean), one) in self.base[region].iter_mut().zip(&self.mean).zip(&self.ones) {
            *base = mean + b * one;
        }
    }

    /// Moments of layer `n`, padding left out, of the positions of `region`, or of all where there are no `regions`.
    pub fn moments(&mut self, n: usize, region: usize, regions: Option<&[u8]>) -> Moments {
        let (base, scale) = (&self.base[region], self.factor[region]);
        let line = &mut self.line[0];
        let taken = |p: usize| regions.is_none_or(|regions| usize::from(regions[p]) == region);
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

    /// Writes layer `n`, refined by `refine`, by region where there are `regions`.
    pub fn write<T: Copy>(
        &mut self,
        n: usize,
        regions: Option<&[u8]>,
        refine: [Affine; 2],
        out: &mut [T],
        convert: impl Fn(f32) -> T,
    ) {
        let last = usize::from(regions.is_some());
        let mut factor = [0.0; 2];
        for (region, &Affine { scale, offset }) in refine.iter().enumerate().take(last + 1) {
            // One multiply–add a value: base and factor take in the layer's map.
            for (line, base) in self.line[region].iter_mut().zip(&self.base[region]) {
                *line = (scale * f64::from(*base) + offset) as f32;
            }
            factor[region] = (scale * f64::from(self.factor[region])) as f32;
        }
        let refinements = [0, last].map(|r: usize| Refinement { base: &self.line[r], scale: factor[r] });
        let source = Refined { vectors: &self.vectors, row: self.row, regions, refinements };
        self.grid.scatter(n, source, out, convert);
    }
}
