//! Weights of the prediction within a frame (docs/bitstream.md §6.2), by least squares for each component of a transform.

use super::{check, same_cells};
use crate::error::Result;
use crate::intra::{self, IntraWeights};
use crate::limits::Limits;
use crate::quantiser;
use crate::reduction::Transform;
use crate::reduction::forward::Projection;
use crate::tensor::{Layout, TensorRef};

/// Predictions come from quantised values. Weights are the best ones for values with the noise of this qp: on the fine side, since what
/// they gain there is lost at coarse ones more slowly than the other way round (docs/experiments.md).
const QP: u8 = 26;

/// Learns [`IntraWeights`] for the components of a transform from the features that it was calibrated on, or some of them.
pub struct IntraTrainer {
    transform: Transform,
    layout: Layout,
    projection: Projection,
    planes: Vec<f32>,
    components: Vec<Normal>,
}

/// Sums of products of a component around a position: of its neighbours with each other, and with the position.
#[derive(Debug, Clone, Copy, Default)]
struct Normal {
    count: f64,
    products: [[f64; 3]; 3],
    with: [f64; 3],
}

impl IntraTrainer {
    /// For feature sets of `layout`, and a `transform` that fits them.
    ///
    /// # Errors
    /// `Transform` when it does not fit or is a learned pair; `LimitExceeded`.
    pub fn new(transform: &Transform, layout: Layout, limits: &Limits) -> Result<Self> {
        let projection = projection(transform, &layout, limits)?;
        let components = transform.components() as usize;
        Ok(Self {
            planes: vec![0.0; components * projection.grid().positions()],
            components: vec![Normal::default(); components],
            transform: transform.clone(),
            layout,
            projection,
        })
    }

    /// Goes on with feature sets of another `layout` whose cells have the same shapes.
    ///
    /// # Errors
    /// `InvalidInput` when the cells have other shapes; the trainer stays as it was.
    pub fn set_layout(&mut self, layout: Layout, limits: &Limits) -> Result<()> {
        same_cells(self.transform.cells(), &self.layout, &layout, limits)?;
        self.projection = projection(&self.transform, &layout, limits)?;
        self.planes = vec![0.0; self.components.len() * self.projection.grid().positions()];
        self.layout = layout;
        Ok(())
    }

    /// Adds one frame.
    ///
    /// # Errors
    /// `InvalidInput` as [`crate::Encoder::encode`]; nothing of the frame was added then.
    pub fn add(&mut self, tensors: &[TensorRef<'_>]) -> Result<()> {
        check(&self.layout, tensors)?;
        self.projection.forget();
        self.projection.gather(tensors, 0.0, false);
        self.projection.project(&mut self.planes, 1);
        let (positions, width) = (self.projection.grid().positions(), self.projection.grid().width);
        for (normal, plane) in self.components.iter_mut().zip(self.planes.chunks_exact(positions)) {
            for (p, &value) in plane.iter().enumerate() {
                if let Some(around) = intra::neighbours(p, width) {
                    normal.add(around.map(|p| f64::from(plane[p])), f64::from(value));
                }
            }
        }
        Ok(())
    }

    /// The transform with the weights; as it is where no positions lie side by side, as of vectors.
    ///
    /// # Errors
    /// None in practice: there are as many weights as components.
    pub fn finish(self) -> Result<Transform> {
        if self.components.iter().all(|normal| normal.count == 0.0) {
            return Ok(self.transform);
        }
        // The reference scale of such features, about: the root of the mean variance of their values.
        let scale = (self.transform.total_variance() / f64::from(self.transform.dimension())).sqrt();
        let step = f64::from(quantiser::step(QP)) / quantiser::UNITS * scale;
        let noise = step * step / 12.0;
        let weights = self.components.iter().map(|normal| normal.weights(noise)).collect();
        self.transform.with_intra_weights(weights)
    }
}

fn projection(transform: &Transform, layout: &Layout, limits: &Limits) -> Result<Projection> {
    Projection::to_learn("intra weights", transform, layout, transform.components(), limits)
}

impl Normal {
    fn add(&mut self, around: [f64; 3], value: f64) {
        self.count += 1.0;
        for (i, a) in around.into_iter().enumerate() {
            self.with[i] += a * value;
            for (sum, b) in self.products[i].iter_mut().zip(around) {
                *sum += a * b;
            }
        }
    }

    /// What predicts values best from neighbours that have noise of this variance.
    fn weights(&self, noise: f64) -> IntraWeights {
        let n = self.count.max(1.0);
        let mut rows: [[f64; 4]; 3] = std::array::from_fn(|i| {
            let [a, b, c] = self.products[i].map(|sum| sum / n);
            [a, b, c, self.with[i] / n]
        });
        for (i, row) in rows.iter_mut().enumerate() {
            row[i] += noise.max(f64::MIN_POSITIVE);
        }
        // Positive definite, so that no pivot has to be looked for.
        for i in 0..3 {
            let pivot = rows[i];
            for (_, row) in rows.iter_mut().enumerate().filter(|&(j, _)| j != i) {
                let share = row[i] / pivot[i];
                row.iter_mut().zip(pivot).for_each(|(v, p)| *v -= share * p);
            }
        }
        let one = f64::from(1 << intra::WEIGHT_SHIFT);
        // The cast saturates.
        std::array::from_fn(|i| (rows[i][3] / rows[i][i] * one).round() as i8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduction::CellShape;
    use crate::tensor::{Dtype, Layer, Shape};

    fn normal(values: impl Iterator<Item = ([f64; 3], f64)>) -> Normal {
        let mut normal = Normal::default();
        values.for_each(|(around, value)| normal.add(around, value));
        normal
    }

    #[test]
    fn weights_are_those_that_predict_best_and_shrink_with_noise() {
        let around =
            |i: usize| [(i as f64 * 0.7).sin(), (i as f64 * 1.3).cos(), (i as f64 * 2.1).sin()].map(|v| 100.0 * v);
        let values = |a: [f64; 3]| 0.5 * a[0] + 0.75 * a[1] - 0.25 * a[2];
        let exact = normal((0..500).map(|i| (around(i), values(around(i)))));
        assert_eq!(exact.weights(1e-9), [32, 48, -16]);
        // Noise as strong as the values halves what can be told from them.
        let halved = exact.weights(5000.0);
        assert!(halved.iter().zip([16, 24, -8]).all(|(&w, half): (&i8, i8)| w.abs_diff(half) <= 2), "{halved:?}");
        assert_eq!(Normal::default().weights(0.0), [0; 3]);
    }

    #[test]
    fn neighbours_that_are_the_same_share_the_weight_and_wild_ones_saturate() {
        let same = normal((1..9).map(|i| ([f64::from(i); 3], f64::from(i))));
        let weights = same.weights(1e-6);
        assert!(weights.iter().all(|w| (20..=22).contains(w)), "{weights:?}");
        let wild = normal((1..9).map(|i| ([f64::from(i), 0.0, 0.0], -9.0 * f64::from(i))));
        assert_eq!(wild.weights(1e-9), [i8::MIN, 0, 0]);
    }

    #[test]
    fn a_transform_of_vectors_stays_as_it_is() {
        let layout = Layout::new(vec![Layer::new("", Shape::vector(2), Dtype::F32)], &Limits::default()).unwrap();
        let cells = CellShape::of_layout(&layout, &Limits::default()).unwrap();
        let transform = Transform::new(cells, vec![0.0; 2], vec![1.0, 0.0, 0.0, 1.0], vec![1.0; 2], 2.0, 9).unwrap();
        let mut trainer = IntraTrainer::new(&transform, layout, &Limits::default()).unwrap();
        trainer.add(&[TensorRef::F32(&[1.0, 2.0])]).unwrap();
        assert_eq!(trainer.finish().unwrap().id(), transform.id());
    }

    #[test]
    fn a_transform_gets_weights_from_frames_of_any_size() {
        let layout =
            |h, w| Layout::new(vec![Layer::new("", Shape::chw(2, h, w), Dtype::F32)], &Limits::default()).unwrap();
        let cells = CellShape::of_layout(&layout(1, 2), &Limits::default()).unwrap();
        let basis = vec![1.0, 0.0, 0.0, 1.0];
        let transform = Transform::new(cells, vec![0.0; 2], basis, vec![1.0; 2], 2.0, 9).unwrap();
        let mut trainer = IntraTrainer::new(&transform, layout(1, 2), &Limits::default()).unwrap();
        assert!(trainer.set_layout(layout(1, 1), &Limits::default()).is_err(), "a vector");
        trainer.set_layout(layout(8, 16), &Limits::default()).unwrap();
        // The first channel goes on from left to right, the second turns its sign from row to row.
        let values: Vec<f32> =
            (0..256)
                .map(|i| {
                    if i < 128 {
                        500.0 * ((i / 16 * 37 % 11) as f32 - 5.0)
                    } else {
                        500.0 - 1000.0 * (i / 16 % 2) as f32
                    }
                })
                .collect();
        trainer.add(&[TensorRef::F32(&values)]).unwrap();
        assert!(trainer.add(&[TensorRef::F32(&values[1..])]).is_err());
        let transform = trainer.finish().unwrap();
        let [across, down] = transform.intra_weights().unwrap() else { panic!("two components") };
        assert!(across[0] >= 40 && across[1].abs() < 14 && across[2].abs() < 14, "{across:?}");
        assert!(down[0] > 15 && down[1] < 0 && down[2] < 0, "{down:?}");
    }
}
