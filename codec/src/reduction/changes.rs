//! Which positions changed since they were projected last, so that only those are projected again.
//!
//! In a still scene most vectors change by little more than noise. Their components would be quantised to what they were, so
//! neither the product with the basis, most of an encoder's work, nor the bits of their noise are spent on them.

use super::grid::{Grid, LANES, Lanes};
use crate::tensor::TensorRef;
use half::f16;
use rayon::prelude::*;
use std::ops::Range;

/// Share of the positions, in per cent, from which all are projected: then sorting them out costs more than it saves.
const NEARLY_ALL: usize = 85;

/// What was projected last of every position.
#[derive(Debug, Default)]
pub struct Changes {
    /// The layers that this was, as they lie in memory: comparing them there reads everything once, from front to back.
    reference: Vec<Kept>,
    /// There was something.
    known: bool,
    /// Squared distance of each position from it.
    distances: Vec<f32>,
    changed: Vec<u32>,
    /// All positions are to be projected, not those that changed.
    all: bool,
    /// Vectors to be projected, `[block][D][LANES]`.
    panels: Vec<f32>,
}

/// What has to be projected, as panels.
pub enum Found<'a> {
    /// All positions.
    All(&'a [f32]),
    /// So many, those of [`Changes::scatter`].
    Some(usize, &'a [f32]),
}

impl Changes {
    /// Finds the positions of `tensors` whose vectors are further than `tolerance` (Euclidean) from what was projected last, gathers them,
    /// `offset` subtracted, and takes them as projected. Where nearly all are, all are taken as such, and where the tolerance is 0.
    pub fn find(
        &mut self,
        grid: &Grid,
        tensors: &[TensorRef<'_>],
        offset: Option<&[f32]>,
        tolerance: f32,
        parallel: bool,
    ) {
        let (positions, size) = (grid.positions(), grid.dimension * LANES);
        // As large as it can get, so that no later frame allocates; as are all that follow.
        self.panels.resize(positions.div_ceil(LANES) * size, 0.0);
        let comparable = tolerance > 0.0;
        let known = std::mem::replace(&mut self.known, comparable);
        self.all = !(known && comparable);
        if !self.all {
            self.measure(grid, tensors, parallel);
            let limit = tolerance * tolerance;
            let far = self.distances.iter().enumerate().filter(|&(_, &d)| d > limit);
            self.changed.clear();
            self.changed.extend(far.map(|(p, _)| p as u32));
            self.all = self.changed.len() * 100 >= positions * NEARLY_ALL;
        }
        let Self { changed, panels, all, .. } = self;
        let lanes = |block: usize| match *all {
            true => Lanes::block(block, positions),
            false => changed[block * LANES..].iter().map(|&p| p as usize).collect(),
        };
        let blocks = if *all { positions } else { changed.len() }.div_ceil(LANES);
        let gather = |(block, panel): (usize, &mut [f32])| grid.gather(tensors, offset, &lanes(block), panel);
        match parallel {
            true => panels.par_chunks_exact_mut(size).enumerate().take(blocks).for_each(gather),
            false => panels.chunks_exact_mut(size).enumerate().take(blocks).for_each(gather),
        }
        if !*all {
            for (n, (kept, tensor)) in self.reference.iter_mut().zip(tensors).enumerate() {
                (0..blocks).for_each(|block| kept.take(grid, n, &lanes(block), tensor));
            }
        } else if comparable {
            self.keep_all(tensors, positions);
        }
    }

    /// Measures how far each position is from what was projected last.
    fn measure(&mut self, grid: &Grid, tensors: &[TensorRef<'_>], parallel: bool) {
        let Self { reference, distances, .. } = self;
        // In one go, or one for each thread: the longer the runs in memory, the sooner they are there.
        let rows = if parallel { grid.height.div_ceil(rayon::current_num_threads()) } else { grid.height };
        let measure = |(band, sums): (usize, &mut [f32])| {
            sums.fill(0.0);
            let rows = band * rows..band * rows + sums.len() / grid.width;
            for (n, (kept, tensor)) in reference.iter().zip(tensors).enumerate() {
                kept.add_distances(grid, n, rows.clone(), tensor, sums);
            }
        };
        match parallel {
            true => distances.par_chunks_mut(rows * grid.width).enumerate().for_each(measure),
            false => distances.chunks_mut(rows * grid.width).enumerate().for_each(measure),
        }
    }

    fn keep_all(&mut self, tensors: &[TensorRef<'_>], positions: usize) {
        if self.reference.is_empty() {
            self.reference = tensors.iter().map(Kept::new).collect();
            self.distances.resize(positions, 0.0);
            self.changed.reserve(positions);
            return;
        }
        for (kept, tensor) in self.reference.iter_mut().zip(tensors) {
            kept.keep(tensor);
        }
    }

    /// What [`Self::find`] found.
    pub fn found(&self) -> Found<'_> {
        if self.all { Found::All(&self.panels) } else { Found::Some(self.changed.len(), &self.panels) }
    }

    /// The vectors of all positions, to be changed in place: only where the tolerance is always 0.
    pub fn all(&mut self) -> &mut [f32] {
        &mut self.panels
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

/// The values of a layer.
#[derive(Debug)]
enum Kept {
    F16(Vec<f16>),
    F32(Vec<f32>),
}

/// The layers of one layout always have the same types.
const SAME_TYPE: &str = "the type of the first frame";

impl Kept {
    fn new(tensor: &TensorRef<'_>) -> Self {
        match tensor {
            TensorRef::F16(values) => Self::F16(values.to_vec()),
            TensorRef::F32(values) => Self::F32(values.to_vec()),
        }
    }

    fn keep(&mut self, tensor: &TensorRef<'_>) {
        match (self, tensor) {
            (Self::F16(kept), TensorRef::F16(values)) => kept.copy_from_slice(values),
            (Self::F32(kept), TensorRef::F32(values)) => kept.copy_from_slice(values),
            _ => unreachable!("{SAME_TYPE}"),
        }
    }

    fn take(&mut self, grid: &Grid, n: usize, lanes: &Lanes, tensor: &TensorRef<'_>) {
        match (self, tensor) {
            (Self::F16(kept), TensorRef::F16(values)) => grid.copy(n, lanes, values, kept),
            (Self::F32(kept), TensorRef::F32(values)) => grid.copy(n, lanes, values, kept),
            _ => unreachable!("{SAME_TYPE}"),
        }
    }

    fn add_distances(&self, grid: &Grid, n: usize, rows: Range<usize>, tensor: &TensorRef<'_>, sums: &mut [f32]) {
        match (self, tensor) {
            (Self::F16(kept), TensorRef::F16(values)) => grid.add_distances(n, rows, kept, values, sums),
            (Self::F32(kept), TensorRef::F32(values)) => grid.add_distances(n, rows, kept, values, sums),
            _ => unreachable!("{SAME_TYPE}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::tensor::{ChannelOrder, Dtype, Layer, Layout, Shape};

    /// Seven rows of ten positions; a layer of each kind: of whole cells, with padding, with its channels last, and laid out over the grid.
    const SHAPES: [(Shape, ChannelOrder); 5] = [
        (Shape::chw(2, 7, 10), ChannelOrder::Chw),
        (Shape::chw(3, 14, 40), ChannelOrder::Chw),
        (Shape::chw(2, 13, 25), ChannelOrder::Chw),
        (Shape::chw(19, 14, 20), ChannelOrder::Hwc),
        (Shape::vector(100), ChannelOrder::Chw),
    ];
    const POSITIONS: usize = 70;

    struct Scene {
        grid: Grid,
        dtype: Dtype,
        changes: Changes,
        parallel: bool,
    }

    impl Scene {
        fn new(dtype: Dtype, parallel: bool) -> Self {
            let layers = SHAPES.map(|(shape, order)| Layer { order, ..Layer::new("", shape, dtype) });
            let layout = Layout::new(layers.to_vec(), &Limits::default()).unwrap();
            let grid = Grid::new(&layout, &Limits::default()).unwrap();
            assert_eq!(grid.positions(), POSITIONS);
            Self { grid, dtype, changes: Changes::default(), parallel }
        }

        /// Takes a frame whose values are `value(layer, position, index)`; the changed positions, `None`: all have to be projected.
        fn find(&mut self, tolerance: f32, value: impl Fn(usize, usize, usize) -> f32) -> Option<Vec<u32>> {
            let layers: Vec<Vec<f32>> = (0..SHAPES.len())
                .map(|n| {
                    let mut values = vec![f32::NAN; SHAPES[n].0.elements() as usize];
                    self.grid.for_each_value(n, |index, position| values[index] = value(n, position, index));
                    values
                })
                .collect();
            let narrow: Vec<Vec<f16>> = layers.iter().map(|v| v.iter().map(|&v| f16::from_f32(v)).collect()).collect();
            let tensors: Vec<TensorRef<'_>> = match self.dtype {
                Dtype::F16 => narrow.iter().map(|v| TensorRef::F16(v)).collect(),
                Dtype::F32 => layers.iter().map(|v| TensorRef::F32(v)).collect(),
            };
            let offset: Vec<f32> = (0..self.grid.dimension).map(|d| d as f32).collect();
            self.changes.find(&self.grid, &tensors, Some(&offset), tolerance, self.parallel);
            let mut expected = vec![0.0; self.grid.dimension * LANES];
            let (positions, panels, changed): (Vec<u32>, _, _) = match self.changes.found() {
                Found::All(panels) => ((0..POSITIONS as u32).collect(), panels, None),
                Found::Some(count, panels) => {
                    assert_eq!(self.changes.changed.len(), count);
                    (self.changes.changed.clone(), panels, Some(self.changes.changed.clone()))
                }
            };
            for (block, positions) in positions.chunks(LANES).enumerate() {
                let lanes: Lanes = positions.iter().map(|&p| p as usize).collect();
                self.grid.gather(&tensors, Some(&offset), &lanes, &mut expected);
                let panel = &panels[block * expected.len()..(block + 1) * expected.len()];
                for (got, expected) in panel.chunks_exact(LANES).zip(expected.chunks_exact(LANES)) {
                    let bits = |row: &[f32]| row[..lanes.len()].iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(got), bits(expected), "what is projected is of this frame");
                }
            }
            changed
        }
    }

    fn scenes() -> impl Iterator<Item = Scene> {
        let dtypes = [Dtype::F16, Dtype::F32].into_iter();
        dtypes.flat_map(|dtype| [false, true].map(|parallel| Scene::new(dtype, parallel)))
    }

    #[test]
    fn what_moved_further_than_the_tolerance_is_found_in_every_kind_of_layer_and_small_steps_add_up() {
        for mut scene in scenes() {
            let moved: Vec<u32> = (0..7).map(|i| i * 10 + 3).collect();
            for layer in 0..SHAPES.len() {
                // One value of every such position: the one with the lowest index.
                let first = {
                    let mut first = vec![usize::MAX; POSITIONS];
                    scene.grid.for_each_value(layer, |index, position| first[position] = first[position].min(index));
                    first
                };
                let mut find = |by: f32| {
                    scene.find(1.0, |n, position, index| {
                        let hit = n == layer && position % 10 == 3 && index == first[position];
                        (position % 16) as f32 + if hit { by } else { 0.0 }
                    })
                };
                assert_eq!(find(0.0), None, "nothing was projected before");
                assert_eq!(find(0.375), Some(vec![]));
                assert_eq!(find(0.75), Some(vec![]));
                assert_eq!(find(1.125), Some(moved.clone()), "measured from what was projected, layer {layer}");
                assert_eq!(find(1.25), Some(vec![]));
                assert_eq!(find(f32::INFINITY), Some(moved.clone()));
                scene.changes.forget();
            }
        }
    }

    #[test]
    fn the_distance_is_that_of_the_whole_vector_without_padding() {
        for mut scene in scenes() {
            let values: usize = SHAPES.iter().map(|(shape, _)| shape.elements() as usize).sum();
            scene.find(1.0, |_, _, _| 0.0);
            // Half a unit in every value.
            scene.find(1.0, |_, _, _| 0.5);
            let sum: f32 = scene.changes.distances.iter().sum();
            assert_eq!(sum, values as f32 / 4.0);
        }
    }

    #[test]
    fn where_nearly_all_changed_and_without_tolerance_all_are_projected() {
        for mut scene in scenes() {
            let moved = |count: usize, by: f32| move |_: usize, p: usize, _: usize| if p < count { by } else { 0.125 };
            scene.find(1.0, moved(0, 0.0));
            assert_eq!(scene.find(1.0, moved(0, 0.0)), Some(vec![]));
            // From rest, in unrest, and at rest again; the few that did not change are taken as they are.
            assert_eq!(scene.find(1.0, moved(65, 9.0)), None);
            assert_eq!(scene.find(1.0, moved(65, 18.0)), None);
            assert_eq!(scene.find(1.0, moved(65, 18.0)), Some(vec![]));
            assert_eq!(scene.find(1.0, moved(50, 18.0)).map(|c| c.len()), Some(15));
            assert_eq!(scene.find(0.0, moved(40, 27.0)), None);
        }
    }
}
