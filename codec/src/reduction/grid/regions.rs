//! Sums over the values of a layer by the region that their position is in.

use super::{Grid, LayerCells};
use crate::inner::native::planes::Relevance;
use crate::kernels::moments::{Split, add_split};
use crate::reduction::relevance::RegionSums;
use crate::tensor::TensorRef;
use crate::tensor::value::Value;
use pulp::{Arch, Simd, WithSimd};

/// Values of a channel that the regions are spread out for at once: all channels have the same there.
const PIECE: usize = 4096;

impl Grid {
    /// Sums over `values`, those of layer `n` less `pivot`, which should be near their mean, by region of their position.
    pub fn region_sums(&self, n: usize, values: TensorRef<'_>, pivot: f32, relevance: &[Relevance]) -> [RegionSums; 2] {
        let (grid, cells) = (self, &self.layers[n]);
        let arch = Arch::new();
        match values {
            TensorRef::F16(values) => arch.dispatch(OfLayer { grid, cells, values, pivot, relevance }),
            TensorRef::F32(values) => arch.dispatch(OfLayer { grid, cells, values, pivot, relevance }),
        }
    }
}

struct OfLayer<'a, T> {
    grid: &'a Grid,
    cells: &'a LayerCells,
    values: &'a [T],
    pivot: f32,
    relevance: &'a [Relevance],
}

impl<T: Value> WithSimd for OfLayer<'_, T> {
    type Output = [RegionSums; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [RegionSums; 2] {
        let cells = self.cells;
        if cells.laid_out {
            let positions = self.grid.positions();
            return self.of_planes(cells.elements, positions, |index| index);
        }
        if cells.stride.2 == 1 {
            let width = cells.width;
            let position = |index: usize| index / width / cells.rows * self.grid.width + index % width / cells.cols;
            return self.of_planes(cells.elements, cells.height * width, position);
        }
        self.of_pixels()
    }
}

impl<T: Value> OfLayer<'_, T> {
    /// Of planes of `size` values each, the last of which may be cut short; `position` is that of a value of a plane.
    #[inline(always)]
    fn of_planes(&self, elements: usize, size: usize, position: impl Fn(usize) -> usize) -> [RegionSums; 2] {
        let mut split = Split::default();
        let mut background = 0;
        for start in (0..size).step_by(PIECE) {
            let len = PIECE.min(size - start);
            let mut shares = [0f32; PIECE];
            let region = |i: usize| self.relevance[position(start + i)] & 1;
            shares[..len].iter_mut().enumerate().for_each(|(i, share)| *share = f32::from(region(i)));
            let count = |len: usize| (0..len).map(|i| u64::from(region(i))).sum::<u64>();
            let whole = count(len);
            for plane in (start..elements).step_by(size) {
                let values = &self.values[plane..(plane + len).min(elements)];
                add_split(&mut split, values, &shares[..values.len()], self.pivot);
                background += if values.len() == len { whole } else { count(values.len()) };
            }
        }
        let counts = [elements as u64 - background, background];
        [0, 1].map(|r| RegionSums {
            count: counts[r],
            pivot: self.pivot.into(),
            sum: split.sums[r],
            squares: split.squares[r],
        })
    }

    /// Of pixels that have their channels together in memory.
    #[inline(always)]
    fn of_pixels(&self) -> [RegionSums; 2] {
        let cells = self.cells;
        let (_, sy, sx) = cells.stride;
        let mut sums = [RegionSums { pivot: self.pivot.into(), ..RegionSums::default() }; 2];
        for line in 0..cells.height {
            for column in 0..cells.width {
                let start = line * sy + column * sx;
                let position = line / cells.rows * self.grid.width + column / cells.cols;
                let sums = &mut sums[usize::from(self.relevance[position] & 1)];
                for value in &self.values[start..start + cells.channels] {
                    let value = f64::from(value.widen() - self.pivot);
                    sums.add(1, value, value * value);
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::tensor::{ChannelOrder, Dtype, Layer, Layout, Shape};

    #[test]
    fn every_kind_of_layer_has_the_sums_of_its_regions() {
        // Seven rows of ten positions.
        let shapes = [
            (Shape::chw(2, 7, 10), ChannelOrder::Chw),
            (Shape::chw(3, 140, 200), ChannelOrder::Chw),
            (Shape::chw(2, 13, 25), ChannelOrder::Chw),
            (Shape::chw(19, 14, 20), ChannelOrder::Hwc),
            (Shape::vector(100), ChannelOrder::Chw),
        ];
        let layers = shapes.map(|(shape, order)| Layer { order, ..Layer::new("", shape, Dtype::F32) });
        let layout = Layout::new(layers.to_vec(), &Limits::default()).unwrap();
        let grid = Grid::new(&layout, &Limits::default()).unwrap();
        let relevance: Vec<Relevance> = (0..70).map(|p| u8::from(p * 7 % 10 < 3)).collect();
        for (n, (shape, _)) in shapes.iter().enumerate() {
            // Far from zero: without the pivot, squares would cancel.
            let values: Vec<f32> = (0..shape.elements()).map(|i| 1000.0 + (i as f32 * 0.7).sin()).collect();
            let got =
                grid.region_sums(n, TensorRef::F32(&values), 1000.0, &relevance).map(|sums| sums.mean_std().unwrap());
            for (region, got) in got.iter().enumerate() {
                let mut of_region = Vec::new();
                grid.for_each_value(n, |index, position| {
                    if usize::from(relevance[position]) == region {
                        of_region.push(f64::from(values[index]));
                    }
                });
                let mean = of_region.iter().sum::<f64>() / of_region.len() as f64;
                let variance = of_region.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / of_region.len() as f64;
                assert!((got.mean - mean).abs() < 1e-6, "layer {n}, region {region}: {} for {mean}", got.mean);
                assert!((got.std_dev - variance.sqrt()).abs() < 1e-6, "layer {n}, region {region}: {}", got.std_dev);
            }
        }
    }
}
