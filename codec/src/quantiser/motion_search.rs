//! The encoder's search for vectors: for every block the one that leaves the least beyond what quantisation drops, vector bits counted.

use super::{BITS, FREE, INTRA_BITS, Scaling, costs_of_prediction};
use crate::inner::native::vectors::{Beside, VectorModels};
use crate::motion::{Blocks, REACH, SPAN, Vector};
use pulp::{Arch, Simd, WithSimd};

/// Components that are looked at: those behind them are nearly all quantised to zero.
const NEAR: usize = 200;
/// Bits that a block may cost without a search being worth its time.
const CHEAP: f32 = 6.0;
/// Values of a row of candidates as they are summed: [`SPAN`], filled up to whole registers.
const ROW: usize = 8;

/// Searches frames of one shape; holds all memory that it needs.
#[derive(Debug)]
pub struct MotionSearch {
    blocks: Blocks,
    models: VectorModels,
    intra: Vec<f32>,
    still: Vec<f32>,
    /// Blocks that are searched, and their positions with where their candidates begin.
    searched: Vec<bool>,
    positions: Vec<(u32, u32)>,
    /// For each of those positions the cost of every vector, by rows.
    costs: Vec<[[f32; ROW]; SPAN]>,
    doubled: Doubled,
    arch: Arch,
}

impl MotionSearch {
    /// For `height × width` positions.
    pub fn new(height: usize, width: usize) -> Self {
        let (blocks, positions) = (Blocks::new(height, width), height * width);
        Self {
            blocks,
            models: VectorModels::FIRST,
            intra: vec![0.0; positions],
            still: vec![0.0; positions],
            searched: vec![false; blocks.count()],
            positions: Vec::with_capacity(positions),
            costs: Vec::with_capacity(positions),
            doubled: Doubled::new(height, width),
            arch: Arch::new(),
        }
    }

    /// Writes the vector of each block to `out`, for `planes` that are predicted from `before`.
    pub fn choose(&mut self, planes: &[f32], before: &[i32], scaling: Scaling<'_>, out: &mut [Vector]) {
        let n = self.intra.len();
        let near = planes.len().min(NEAR * n);
        let (planes, before) = (&planes[..near], &before[..near]);
        out.fill(Vector::STILL);
        costs_of_prediction(planes, before, scaling, &mut self.intra, &mut self.still);
        self.pick_blocks();
        if self.positions.is_empty() {
            return;
        }
        self.measure(planes, before, scaling);
        let mut next = 0;
        for b in 0..out.len() {
            if !self.searched[b] {
                continue;
            }
            let first = next;
            next += self.blocks.positions(b).count();
            let beside = Beside::of(b, self.blocks, out);
            let cost = |vector: Vector| {
                let (y, x) = ((vector.y + REACH as i8) as usize, (vector.x + REACH as i8) as usize);
                let positions = self.positions[first..next].iter().zip(&self.costs[first..next]);
                let beyond: f32 = positions
                    .map(|(&(p, _), costs)| {
                        let p = p as usize;
                        // Planes that are zero throughout cost the same for every vector, and were left out.
                        let moved = costs[y][x] + self.still[p] - costs[REACH][REACH];
                        moved.min(self.intra[p] + INTRA_BITS / BITS)
                    })
                    .sum();
                beyond * BITS + self.models.bits(vector, beside)
            };
            let standing = (Vector::STILL, cost(Vector::STILL));
            let least = Vector::all().map(|v| (v, cost(v)));
            out[b] = least.fold(standing, |least, next| if next.1 < least.1 { next } else { least }).0;
        }
    }

    /// Lists the blocks that cost more standing still than is cheap, and their positions.
    fn pick_blocks(&mut self) {
        self.positions.clear();
        for (b, searched) in self.searched.iter_mut().enumerate() {
            let beyond: f32 = self.blocks.positions(b).map(|p| self.still[p].min(self.intra[p])).sum();
            *searched = beyond * BITS > CHEAP;
            if *searched {
                let doubled = &self.doubled;
                self.positions.extend(self.blocks.positions(b).map(|p| (p as u32, doubled.first(p) as u32)));
            }
        }
    }

    /// Sums the cost of every vector for the positions listed.
    fn measure(&mut self, planes: &[f32], before: &[i32], scaling: Scaling<'_>) {
        let n = self.intra.len();
        self.costs.clear();
        self.costs.resize(self.positions.len(), [[0.0; ROW]; SPAN]);
        for (plane, before) in planes.chunks_exact(n).zip(before.chunks_exact(n)) {
            if before.iter().all(|&v| v == 0) {
                continue;
            }
            self.doubled.fill(before);
            let (positions, costs, doubled) = (&self.positions[..], &mut self.costs[..], &self.doubled);
            self.arch.dispatch(Plane { plane, scaling, positions, costs, doubled });
        }
    }
}

/// Adds what a component costs under every vector.
struct Plane<'a> {
    plane: &'a [f32],
    scaling: Scaling<'a>,
    positions: &'a [(u32, u32)],
    costs: &'a mut [[[f32; ROW]; SPAN]],
    doubled: &'a Doubled,
}

impl WithSimd for Plane<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (&(p, first), costs) in self.positions.iter().zip(self.costs) {
            let inverse = self.scaling.inverse_steps[p as usize];
            let value = self.plane[p as usize] * self.scaling.to_units * inverse;
            for (y, row) in costs.iter_mut().enumerate() {
                // By value, so that rows stay in registers.
                let (others, mut sums) = (*self.doubled.row(first as usize, y), *row);
                for i in 0..ROW {
                    sums[i] += ((value - others[i] * inverse).abs() - FREE).max(0.0);
                }
                *row = sums;
            }
        }
    }
}

/// A plane at twice its resolution, with an edge as wide as the longest vector.
#[derive(Debug)]
struct Doubled {
    height: usize,
    width: usize,
    stride: usize,
    values: Vec<f32>,
}

impl Doubled {
    fn new(height: usize, width: usize) -> Self {
        // A position of edge on each side, and room behind the last row for a whole row of candidates.
        let stride = 2 * (width + 2);
        Self { height, width, stride, values: vec![0.0; 2 * (height + 2) * stride + ROW] }
    }

    fn fill(&mut self, plane: &[i32]) {
        let (width, stride) = (self.width, self.stride);
        // Even rows: values and means of neighbours.
        for (y, row) in plane.chunks_exact(width).enumerate() {
            let out = &mut self.values[2 * (y + 1) * stride..][..stride];
            let (first, last) = (row[0] as f32, row[width - 1] as f32);
            out[..2].fill(first);
            for (pair, two) in out[2..].chunks_exact_mut(2).zip(row.windows(2)) {
                pair[0] = two[0] as f32;
                pair[1] = (two[0] as f32 + two[1] as f32) * 0.5;
            }
            out[2 * width..].fill(last);
        }
        let last = 2 * self.height;
        self.values.copy_within(2 * stride..3 * stride, 0);
        self.values.copy_within(last * stride..(last + 1) * stride, (last + 2) * stride);
        // Odd rows: means of those above and below.
        for y in 0..=self.height {
            let (above, below) = self.values[2 * y * stride..].split_at_mut(2 * stride);
            let (above, between) = above.split_at_mut(stride);
            for ((out, a), b) in between.iter_mut().zip(above.iter()).zip(below.iter()) {
                *out = (a + b) * 0.5;
            }
        }
    }

    /// Where the candidates of position `p` begin.
    fn first(&self, p: usize) -> usize {
        (2 * (p / self.width + 1) - REACH) * self.stride + 2 * (p % self.width + 1) - REACH
    }

    /// What the vectors of row `y` point to, from candidates that begin at `first`, and more behind it.
    #[inline(always)]
    fn row(&self, first: usize, y: usize) -> &[f32; ROW] {
        let at = first + y * self.stride;
        self.values[at..at + ROW].first_chunk().expect("the room for a row")
    }
}

const _: () = assert!(SPAN <= ROW && REACH == 2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::Compensation;

    /// A smooth pattern that repeats nowhere.
    fn pattern(height: usize, width: usize, y: f32, x: f32, k: usize) -> Vec<f32> {
        let value = |p: usize| {
            let (y, x) = ((p / width) as f32 + y, (p % width) as f32 + x);
            (0.9 * y + 0.3 * k as f32).sin() * 40.0 + (0.7 * x + 0.05 * y * x + k as f32).cos() * 40.0
        };
        (0..height * width).map(value).collect()
    }

    #[test]
    fn candidates_are_what_compensation_makes() {
        let (height, width) = (5, 7);
        let plane: Vec<i32> = (0..35).map(|i| (i * i * 37) % 801 - 400).map(|v| v * 4).collect();
        let mut doubled = Doubled::new(height, width);
        doubled.fill(&plane);
        for vector in Vector::all() {
            let mut compensation = Compensation::new(height, width);
            let mut moved = plane.clone();
            compensation.set(&vec![vector; Blocks::new(height, width).count()]);
            compensation.apply(&mut moved, |_, _| {});
            for (p, &expected) in moved.iter().enumerate() {
                let candidate = doubled.row(doubled.first(p), (vector.y + 2) as usize)[(vector.x + 2) as usize];
                assert_eq!(candidate, expected as f32, "{vector:?} at {p}");
            }
        }
    }

    #[test]
    fn a_pattern_that_moved_is_found_and_one_that_did_not_is_left() {
        let (height, width, k) = (8, 10, 6);
        for (vector, y, x) in [((0, 0), 0.0, 0.0), ((2, 0), 1.0, 0.0), ((0, -2), 0.0, -1.0), ((1, 1), 0.5, 0.5)] {
            let before: Vec<i32> =
                (0..k).flat_map(|k| pattern(height, width, 0.0, 0.0, k)).map(|v| v.round() as i32).collect();
            let planes: Vec<f32> = (0..k).flat_map(|k| pattern(height, width, y, x, k)).collect();
            let inverse_steps = vec![0.25; height * width];
            let scaling = Scaling { to_units: 1.0, inverse_steps: &inverse_steps };
            let mut search = MotionSearch::new(height, width);
            let mut vectors = vec![Vector { y: 2, x: 2 }; 20];
            search.choose(&planes, &before, scaling, &mut vectors);
            let wanted = Vector { y: vector.0, x: vector.1 };
            let inside = (0..20).filter(|b| (1..4).contains(&(b % 5)) && (1..3).contains(&(b / 5)));
            for b in inside {
                assert_eq!(vectors[b], wanted, "block {b} of {vectors:?}");
            }
        }
    }
}
