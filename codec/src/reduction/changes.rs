//! Which positions changed since they were projected last, so that only those are projected again.
//!
//! In a still scene most vectors change by little more than noise. Their components would be quantised to what they were, so
//! neither the product with the basis, most of an encoder's work, nor the bits of their noise are spent on them.

use super::grid::LANES;
use rayon::prelude::*;

/// Share of the positions, in per cent, from which all are projected: then sorting them out costs more than it saves.
const NEARLY_ALL: usize = 85;

/// What was projected last of every position.
#[derive(Debug, Default)]
pub struct Changes {
    /// Vectors in the layout of the panels, `[block][D][LANES]`; empty before the first frame.
    reference: Vec<f32>,
    /// Squared norm of the change of each position.
    distances: Vec<f32>,
    changed: Vec<u32>,
    /// Panels of the changed positions alone, and their planes.
    pub panels: Vec<f32>,
    pub planes: Vec<f32>,
}

impl Changes {
    /// Positions, in raster order, whose vector is further than `tolerance` (Euclidean) from what was projected last; their vectors
    /// are then taken as projected and lie in [`Self::panels`]. `None`: so many that all have to be projected, and are taken as
    /// such. `dimension`: values of a vector.
    pub fn find(
        &mut self,
        panels: &[f32],
        positions: usize,
        dimension: usize,
        tolerance: f32,
        parallel: bool,
    ) -> Option<&[u32]> {
        let size = dimension * LANES;
        if self.reference.len() != panels.len() || tolerance <= 0.0 {
            self.reference.clear();
            if tolerance > 0.0 {
                self.reference.extend_from_slice(panels);
            }
            return None;
        }
        self.distances.resize(panels.len() / dimension, 0.0);
        let (distances, reference) = (&mut self.distances, &self.reference);
        let measure = |((distances, reference), panel): ((&mut [f32], &[f32]), &[f32])| {
            distances.copy_from_slice(&squared_distances(reference, panel));
        };
        match parallel {
            true => {
                let blocks = distances.par_chunks_exact_mut(LANES).zip(reference.par_chunks_exact(size));
                blocks.zip(panels.par_chunks_exact(size)).for_each(measure);
            }
            false => {
                let blocks = distances.chunks_exact_mut(LANES).zip(reference.chunks_exact(size));
                blocks.zip(panels.chunks_exact(size)).for_each(measure);
            }
        }
        let limit = tolerance * tolerance;
        self.changed.clear();
        let far = self.distances[..positions].iter().enumerate().filter(|&(_, &d)| d > limit || d.is_nan());
        self.changed.extend(far.map(|(p, _)| p as u32));
        if self.changed.len() * 100 >= positions * NEARLY_ALL {
            self.reference.copy_from_slice(panels);
            return None;
        }
        self.panels.resize(panels.len(), 0.0);
        // Block by block and row by row: the lanes of a row are next to each other, the rows of a lane are not.
        let mut first = 0;
        let blocks = panels.chunks_exact(size).zip(self.reference.chunks_exact_mut(size));
        for (b, (panel, reference)) in blocks.enumerate() {
            let count = self.changed[first..].iter().take_while(|&&p| p as usize / LANES == b).count();
            let lanes = &self.changed[first..first + count];
            // Where each lane goes.
            let mut places = [0; LANES];
            for (n, place) in places[..count].iter_mut().enumerate() {
                let to = first + n;
                *place = to / LANES * size + to % LANES;
            }
            let rows = panel.chunks_exact(LANES).zip(reference.chunks_exact_mut(LANES)).enumerate();
            for (d, (row, reference)) in rows.take(if count > 0 { dimension } else { 0 }) {
                for (&p, place) in lanes.iter().zip(places) {
                    let value = row[p as usize % LANES];
                    reference[p as usize % LANES] = value;
                    self.panels[place + d * LANES] = value;
                }
            }
            first += count;
        }
        Some(&self.changed)
    }

    /// Takes the planes of the changed positions over into `planes` of all `positions`.
    pub fn scatter(&self, planes: &mut [f32], positions: usize) {
        let count = self.changed.len();
        if count == 0 {
            return;
        }
        for (from, to) in self.planes.chunks_exact(count).zip(planes.chunks_exact_mut(positions)) {
            for (&p, &value) in self.changed.iter().zip(from) {
                to[p as usize] = value;
            }
        }
    }

    /// Forgets what was projected: the next frame is projected as a whole.
    pub fn forget(&mut self) {
        self.reference.clear();
    }
}

/// Of each lane, `Σ (a − b)²` over the rows.
fn squared_distances(a: &[f32], b: &[f32]) -> [f32; LANES] {
    let mut sums = [0f32; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            let difference = a - b;
            *sum += difference * difference;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMENSION: usize = 5;
    const POSITIONS: usize = 70;

    fn panels(value: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let mut out = vec![0.0; POSITIONS.div_ceil(LANES) * DIMENSION * LANES];
        for p in 0..POSITIONS {
            for d in 0..DIMENSION {
                out[p / LANES * DIMENSION * LANES + d * LANES + p % LANES] = value(p, d);
            }
        }
        out
    }

    #[test]
    fn what_moved_further_than_the_tolerance_is_found_and_small_steps_add_up() {
        for parallel in [false, true] {
            let mut changes = Changes::default();
            let find = |moved: f32, changes: &mut Changes| {
                let now = panels(|p, d| p as f32 + if p % 10 == 3 && d == 2 { moved } else { 0.0 });
                changes.find(&now, POSITIONS, DIMENSION, 1.0, parallel).map(<[u32]>::to_vec)
            };
            assert_eq!(find(0.0, &mut changes), None, "nothing was projected before");
            assert_eq!(find(0.4, &mut changes), Some(vec![]));
            assert_eq!(find(0.8, &mut changes), Some(vec![]));
            let moved: Vec<u32> = (0..7).map(|i| i * 10 + 3).collect();
            assert_eq!(find(1.2, &mut changes), Some(moved.clone()), "measured from what was projected");
            assert_eq!(changes.panels[2 * LANES + 1], 13.0 + 1.2);
            assert_eq!(find(1.3, &mut changes), Some(vec![]));
            changes.forget();
            assert_eq!(find(1.3, &mut changes), None);
            assert_eq!(find(f32::NAN, &mut changes), Some(moved));
        }
    }

    #[test]
    fn where_nearly_all_changed_and_without_tolerance_all_are_projected() {
        let mut changes = Changes::default();
        changes.find(&panels(|_, _| 0.0), POSITIONS, DIMENSION, 1.0, false);
        assert_eq!(changes.find(&panels(|p, _| f32::from(p < 65) * 9.0), POSITIONS, DIMENSION, 1.0, false), None);
        assert_eq!(
            changes.find(&panels(|p, _| f32::from(p < 65) * 9.0), POSITIONS, DIMENSION, 1.0, false),
            Some(&[][..])
        );
        assert_eq!(changes.find(&panels(|_, _| 0.0), POSITIONS, DIMENSION, 0.0, false), None);
    }
}
