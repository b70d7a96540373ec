//! Which positions changed since they were projected last, so that only those are projected again.
//!
//! In a still scene most vectors change by little more than noise. Their components would be quantised to what they were, so
//! neither the product with the basis, most of an encoder's work, nor the bits of their noise are spent on them.

use super::grid::LANES;
use crate::kernels::distance::squared_distances;
use rayon::prelude::*;
use std::ops::Range;

/// Share of the positions, in per cent, from which all are projected: then sorting them out costs more than it saves.
const NEARLY_ALL: usize = 85;

/// What was projected last of every position.
#[derive(Debug, Default)]
pub struct Changes {
    /// Vectors in the layout of the panels, `[block][D][LANES]`.
    reference: Vec<f32>,
    /// Those are what was projected last.
    known: bool,
    /// Vectors of this frame; of one block after the other where few are expected to have changed.
    gathered: Vec<f32>,
    /// Squared norm of the change of each position.
    distances: Vec<f32>,
    changed: Vec<u32>,
    /// Nearly all had changed in the frame before.
    restless: bool,
    /// Panels of the changed positions alone.
    compact: Vec<f32>,
}

/// What has to be projected, as panels.
pub enum Found<'a> {
    /// All positions.
    All(&'a [f32]),
    /// So many, those of [`Changes::scatter`].
    Some(usize, &'a [f32]),
}

impl Changes {
    /// Gathers the vectors of `positions` positions, of `dimension` values, by `gather`, which writes a block of them, and finds those that
    /// are further than `tolerance` (Euclidean) from what was projected last; they are then taken as projected. Where so many are that all
    /// have to be projected, all are taken as such, and where the tolerance is 0.
    pub fn find(
        &mut self,
        positions: usize,
        dimension: usize,
        tolerance: f32,
        parallel: bool,
        gather: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let size = dimension * LANES;
        let len = positions.div_ceil(LANES) * size;
        self.changed.clear();
        let known = std::mem::replace(&mut self.known, tolerance > 0.0);
        if !known || tolerance <= 0.0 {
            self.restless = true;
            self.reference.resize(len, 0.0);
            each_block(&mut self.reference, size, parallel, &gather);
            // As large as they can get, so that no later frame allocates.
            if tolerance > 0.0 {
                self.gathered.resize(len, 0.0);
                self.compact.resize(len, 0.0);
                self.distances.resize(len / dimension, 0.0);
            }
            return;
        }
        let limit = tolerance * tolerance;
        if self.restless || parallel {
            let (gathered, distances) = (&mut self.gathered, &mut self.distances);
            measure_all(&self.reference, gathered, distances, size, parallel, &gather);
            self.note(0, positions, limit);
            self.restless = self.changed.len() * 100 >= positions * NEARLY_ALL;
            if self.restless {
                std::mem::swap(&mut self.reference, &mut self.gathered);
                return;
            }
            let mut first = 0;
            for block in 0..len / size {
                let count = self.changed[first..].iter().take_while(|&&p| p as usize / LANES == block).count();
                self.take(block, first..first + count, size, block * size);
                first += count;
            }
        } else {
            // One block at a time, which stays in the second-level cache.
            for block in 0..len / size {
                let gathered = &mut self.gathered[..size];
                gather(block, gathered);
                let distances = squared_distances(&self.reference[block * size..(block + 1) * size], gathered);
                self.distances[block * LANES..(block + 1) * LANES].copy_from_slice(&distances);
                let first = self.changed.len();
                self.note(block * LANES, positions.min((block + 1) * LANES), limit);
                self.take(block, first..self.changed.len(), size, 0);
            }
            self.restless = self.changed.len() * 100 >= positions * NEARLY_ALL;
            if self.restless {
                each_block(&mut self.reference, size, false, &gather);
            }
        }
    }

    /// What [`Self::find`] found.
    pub fn found(&self) -> Found<'_> {
        if self.restless { Found::All(&self.reference) } else { Found::Some(self.changed.len(), &self.compact) }
    }

    /// The vectors of all positions, to be changed in place: only where the tolerance is always 0.
    pub fn all(&mut self) -> &mut [f32] {
        &mut self.reference
    }

    /// Lists which of the positions from `start` to `end` are further than the root of `limit`.
    fn note(&mut self, start: usize, end: usize, limit: f32) {
        let far = self.distances[start..end].iter().enumerate().filter(|&(_, &d)| d > limit || d.is_nan());
        self.changed.extend(far.map(|(p, _)| (start + p) as u32));
    }

    /// Takes the vectors of some changed positions, all of `block`, gathered at `at`, as projected, and puts them among the compact ones.
    fn take(&mut self, block: usize, changed: Range<usize>, size: usize, at: usize) {
        let gathered = self.gathered[at..at + size].as_chunks::<LANES>().0;
        // In the compact panels they begin in one block and may end in the next.
        let border = ((changed.start / LANES + 1) * LANES).min(changed.end);
        let mut masks = [0u32; LANES];
        for part in [changed.start..border, border..changed.end] {
            let (to, first) = (part.start / LANES, part.start % LANES);
            let lanes = &self.changed[part];
            if lanes.is_empty() {
                continue;
            }
            lanes.iter().for_each(|&p| masks[p as usize % LANES] = u32::MAX);
            // Row by row: the lanes of a row are next to each other, the rows of a lane are not.
            let compact = self.compact[to * size..(to + 1) * size].as_chunks_mut::<LANES>().0;
            for (row, compact) in gathered.iter().zip(compact) {
                for (to, &p) in compact[first..].iter_mut().zip(lanes) {
                    *to = row[p as usize % LANES];
                }
            }
        }
        if changed.is_empty() {
            return;
        }
        let reference = self.reference[block * size..(block + 1) * size].as_chunks_mut::<LANES>().0;
        for (row, reference) in gathered.iter().zip(reference) {
            for ((to, from), mask) in reference.iter_mut().zip(row).zip(masks) {
                *to = f32::from_bits(to.to_bits() & !mask | from.to_bits() & mask);
            }
        }
    }

    /// Takes the planes of the changed positions, `compact`, over into `planes` of all `positions`.
    pub fn scatter(&self, compact: &[f32], planes: &mut [f32], positions: usize) {
        let count = self.changed.len();
        if count == 0 {
            return;
        }
        for (from, to) in compact.chunks_exact(count).zip(planes.chunks_exact_mut(positions)) {
            for (&p, &value) in self.changed.iter().zip(from) {
                to[p as usize] = value;
            }
        }
    }

    /// Forgets what was projected: the next frame is projected as a whole.
    pub fn forget(&mut self) {
        self.known = false;
    }
}

/// Lets `gather` write every block.
fn each_block(panels: &mut [f32], size: usize, parallel: bool, gather: &(impl Fn(usize, &mut [f32]) + Sync)) {
    match parallel {
        true => panels.par_chunks_exact_mut(size).enumerate().for_each(|(b, panel)| gather(b, panel)),
        false => panels.chunks_exact_mut(size).enumerate().for_each(|(b, panel)| gather(b, panel)),
    }
}

/// The same, and measures how far each position is from its reference.
fn measure_all(
    reference: &[f32],
    gathered: &mut [f32],
    distances: &mut [f32],
    size: usize,
    parallel: bool,
    gather: &(impl Fn(usize, &mut [f32]) + Sync),
) {
    let measure = |block: usize, panel: &mut [f32], distances: &mut [f32], reference: &[f32]| {
        gather(block, panel);
        distances.copy_from_slice(&squared_distances(reference, panel));
    };
    match parallel {
        true => {
            let blocks = gathered.par_chunks_exact_mut(size).zip(distances.par_chunks_exact_mut(LANES));
            let blocks = blocks.zip(reference.par_chunks_exact(size)).enumerate();
            blocks.for_each(|(b, ((panel, distances), reference))| measure(b, panel, distances, reference));
        }
        false => {
            let blocks = gathered.chunks_exact_mut(size).zip(distances.chunks_exact_mut(LANES));
            let blocks = blocks.zip(reference.chunks_exact(size)).enumerate();
            blocks.for_each(|(b, ((panel, distances), reference))| measure(b, panel, distances, reference));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMENSION: usize = 5;
    const POSITIONS: usize = 70;

    /// Takes a frame with these values; what has changed, `None`: all have to be projected.
    fn find(
        changes: &mut Changes,
        tolerance: f32,
        parallel: bool,
        value: impl Fn(usize, usize) -> f32 + Sync,
    ) -> Option<Vec<u32>> {
        changes.find(POSITIONS, DIMENSION, tolerance, parallel, |block, panel| {
            for (i, out) in panel.iter_mut().enumerate() {
                *out = value(block * LANES + i % LANES, i / LANES);
            }
        });
        match changes.found() {
            Found::All(panels) => {
                let at = |p: usize, d: usize| p / LANES * DIMENSION * LANES + d * LANES + p % LANES;
                assert!((0..POSITIONS).all(|p| panels[at(p, 1)] == value(p, 1)), "all are those of this frame");
                None
            }
            Found::Some(count, compact) => {
                let changed = changes.changed.clone();
                assert_eq!(changed.len(), count);
                for (n, &p) in changed.iter().enumerate() {
                    let got = compact[n / LANES * DIMENSION * LANES + 2 * LANES + n % LANES];
                    assert_eq!(got.to_bits(), value(p as usize, 2).to_bits());
                }
                Some(changed)
            }
        }
    }

    #[test]
    fn what_moved_further_than_the_tolerance_is_found_and_small_steps_add_up() {
        for parallel in [false, true] {
            let mut changes = Changes::default();
            let mut find = |moved: f32| {
                let value = move |p: usize, d: usize| p as f32 + if p % 10 == 3 && d == 2 { moved } else { 0.0 };
                find(&mut changes, 1.0, parallel, value)
            };
            assert_eq!(find(0.0), None, "nothing was projected before");
            let moved: Vec<u32> = (0..7).map(|i| i * 10 + 3).collect();
            // Twice, since the first frame after one that was projected as a whole is looked for in another way.
            for start in [0.0, 1.2] {
                assert_eq!(find(start + 0.4), Some(vec![]));
                assert_eq!(find(start + 0.8), Some(vec![]));
                assert_eq!(find(start + 1.2), Some(moved.clone()), "measured from what was projected");
                assert_eq!(find(start + 1.3), Some(vec![]));
            }
            assert_eq!(find(f32::NAN), Some(moved));
            changes.forget();
            assert_eq!(super::tests::find(&mut changes, 1.0, parallel, |_, _| 0.0), None);
        }
    }

    #[test]
    fn where_nearly_all_changed_and_without_tolerance_all_are_projected() {
        for parallel in [false, true] {
            let mut changes = Changes::default();
            let moved = |count: usize, by: f32| move |p: usize, _: usize| if p < count { by } else { 0.1 };
            find(&mut changes, 1.0, parallel, moved(0, 0.0));
            assert_eq!(find(&mut changes, 1.0, parallel, moved(0, 0.0)), Some(vec![]));
            // From rest, in unrest, and at rest again; the few that did not change are taken as they are.
            assert_eq!(find(&mut changes, 1.0, parallel, moved(65, 9.0)), None);
            assert_eq!(find(&mut changes, 1.0, parallel, moved(65, 18.0)), None);
            assert_eq!(find(&mut changes, 1.0, parallel, moved(65, 18.0)), Some(vec![]));
            assert_eq!(find(&mut changes, 1.0, parallel, moved(50, 18.0)).map(|c| c.len()), Some(15));
            assert_eq!(find(&mut changes, 0.0, parallel, moved(40, 27.0)), None);
        }
    }
}
