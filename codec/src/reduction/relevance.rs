//! Relevance: which positions of the grid matter to the network's second half (docs/bitstream.md §5.4).
//!
//! A probe is a linear map from the components of a position to a score, learnt at calibration from what the second half found
//! there. It costs the encoder one multiply–add a component and position; a decoder needs none of it, for streams carry the map.

use crate::error::{Error, Result};
use crate::inner::native::planes::{BACKGROUND, RELEVANT, Relevance};
use crate::statistics::MeanStd;

/// Most components that a probe looks at: the strongest ones tell enough.
pub const MAX_WEIGHTS: usize = 256;

/// Scores a position: `bias + Σ weights[k] · component[k]`; relevant are positions that score above 0, and those around them.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    bias: f32,
    weights: Vec<f32>,
}

impl Probe {
    /// A probe of the first `weights.len()` components.
    ///
    /// # Errors
    /// `InvalidInput` for no weights, for more than [`MAX_WEIGHTS`], and for values that are not finite.
    pub fn new(bias: f32, weights: Vec<f32>) -> Result<Self> {
        if weights.is_empty() || weights.len() > MAX_WEIGHTS {
            return Err(Error::input(format!("a probe of {} weights, legal are 1 to {MAX_WEIGHTS}", weights.len())));
        }
        if !bias.is_finite() || weights.iter().any(|w| !w.is_finite()) {
            return Err(Error::input("a probe with a value that is not finite"));
        }
        Ok(Self { bias, weights })
    }

    /// Score of a position without any component.
    pub fn bias(&self) -> f32 {
        self.bias
    }

    /// Weight of each component that counts.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Scores of all positions of `planes` (`[K][positions]`).
    pub(crate) fn score(&self, planes: &[f32], scores: &mut [f32]) {
        scores.fill(self.bias);
        for (plane, &weight) in planes.chunks_exact(scores.len()).zip(&self.weights) {
            scores.iter_mut().zip(plane).for_each(|(score, v)| *score += weight * v);
        }
    }
}

/// Writes the map of a grid `width` positions wide: relevant are positions with a score above 0 and the eight around each,
/// since what the second half finds at a position hangs on its surroundings.
pub(crate) fn map(scores: &[f32], width: usize, relevance: &mut [Relevance]) {
    let height = scores.len() / width.max(1);
    for y in 0..height {
        let rows = y.saturating_sub(1)..(y + 2).min(height);
        for x in 0..width {
            let columns = x.saturating_sub(1)..(x + 2).min(width);
            let near = rows.clone().any(|y| scores[y * width..][columns.clone()].iter().any(|&s| s > 0.0));
            relevance[y * width + x] = if near { RELEVANT } else { BACKGROUND };
        }
    }
}

/// Sums over the values of one region, less the pivot.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct RegionSums {
    pub count: u64,
    pub pivot: f64,
    pub sum: f64,
    pub squares: f64,
}

impl RegionSums {
    /// Adds what a position has.
    pub fn add(&mut self, count: u64, sum: f64, squares: f64) {
        self.count += count;
        self.sum += sum;
        self.squares += squares;
    }

    /// Mean and standard deviation; `None` of nothing.
    pub fn mean_std(self) -> Option<MeanStd> {
        let n = self.count as f64;
        let mean = self.sum / n;
        let std_dev = (self.squares / n - mean * mean).max(0.0).sqrt();
        (self.count > 0).then_some(MeanStd { mean: self.pivot + mean, std_dev })
    }
}

/// Sums over `planes` (`[K][positions]`) by region.
pub(crate) fn plane_moments(planes: &[f32], relevance: &[Relevance]) -> [RegionSums; 2] {
    let mut out = [RegionSums::default(); 2];
    for plane in planes.chunks_exact(relevance.len()) {
        for (&v, &r) in plane.iter().zip(relevance) {
            let v = f64::from(v);
            out[usize::from(r & 1)].add(1, v, v * v);
        }
    }
    out
}

#[cfg(feature = "calibrate")]
pub use train::ProbeTrainer;

#[cfg(feature = "calibrate")]
mod train {
    use super::*;
    use crate::limits::Limits;
    use crate::reduction::forward::Projection;
    use crate::reduction::grid::Grid;
    use crate::reduction::transform::Transform;
    use crate::tensor::{Layout, TensorRef};
    use faer::prelude::*;
    use faer::{Mat, Side};

    /// Strength of the regularisation, in mean variances of a value: components weaker than that say little and are noisy.
    const RIDGE: f64 = 0.4;
    /// Share of the relevant calibration positions that must score above 0.
    const RECALL: f64 = 0.95;

    /// Learns a [`Probe`] for a transform: ridge regression of labelled positions, both classes counting the same.
    pub struct ProbeTrainer {
        forward: Projection,
        layout: Layout,
        grid: Grid,
        weights: usize,
        mean_variance: f64,
        planes: Vec<f32>,
        /// By label: Σ x·xᵀ of the components with a one in front, and how many.
        products: [Mat<f64>; 2],
        counts: [u64; 2],
        /// Components of the relevant positions, to set the threshold by.
        relevant: Vec<f32>,
    }

    impl ProbeTrainer {
        /// For feature sets of `layout` and a transform that fits it.
        ///
        /// # Errors
        /// `Transform` when it does not fit or is a learned pair, `LimitExceeded`.
        pub fn new(transform: &Transform, layout: Layout, limits: &Limits) -> Result<Self> {
            let components = transform.components().min(MAX_WEIGHTS as u32);
            let forward = Projection::to_learn("probe", transform, &layout, components, limits)?;
            let (grid, weights) = (forward.grid().clone(), components as usize);
            let n = weights + 1;
            Ok(Self {
                forward,
                planes: vec![0.0; weights * grid.positions()],
                layout,
                grid,
                weights,
                mean_variance: transform.total_variance() / f64::from(transform.dimension()),
                products: [Mat::zeros(n, n), Mat::zeros(n, n)],
                counts: [0; 2],
                relevant: Vec::new(),
            })
        }

        /// Rows and columns of the grid: `labels` have one entry a position, in raster order.
        pub fn grid(&self) -> (usize, usize) {
            (self.grid.height, self.grid.width)
        }

        /// Adds one frame whose positions are relevant where `labels` say so.
        ///
        /// # Errors
        /// `InvalidInput` for other tensors than the layout's, or another number of labels than positions.
        pub fn add(&mut self, tensors: &[TensorRef<'_>], labels: &[bool]) -> Result<()> {
            let positions = self.grid.positions();
            if labels.len() != positions || tensors.len() != self.layout.layers().len() {
                return Err(Error::input(format!(
                    "{} tensors with {} labels, expected {} with {positions}",
                    tensors.len(),
                    labels.len(),
                    self.layout.layers().len()
                )));
            }
            self.layout.check(tensors)?;
            self.forward.gather(tensors, 0.0, false);
            self.forward.project(&mut self.planes, 1);
            let rows = |label: bool| (0..positions).filter(move |&p| labels[p] == label);
            for label in [false, true] {
                let n = rows(label).count();
                let mut x = Mat::<f64>::zeros(n, self.weights + 1);
                for (i, p) in rows(label).enumerate() {
                    x[(i, 0)] = 1.0;
                    for k in 0..self.weights {
                        x[(i, k + 1)] = f64::from(self.planes[k * positions + p]);
                    }
                }
                self.products[usize::from(label)] += x.transpose() * &x;
                self.counts[usize::from(label)] += n as u64;
            }
            for p in rows(true) {
                self.relevant.extend((0..self.weights).map(|k| self.planes[k * positions + p]));
            }
            Ok(())
        }

        /// The probe. 95 % of the positions labelled relevant score above 0.
        ///
        /// # Errors
        /// `InvalidInput` when no position or every position was labelled relevant.
        pub fn finish(mut self) -> Result<Probe> {
            let [background, relevant] = self.counts;
            if background == 0 || relevant == 0 {
                return Err(Error::input(format!(
                    "{relevant} relevant and {background} other positions to learn relevance from, both must be there"
                )));
            }
            // Both classes weigh the same; targets are +1 and −1.
            let (wide, n) = (background as f64 / relevant as f64, self.weights + 1);
            let mut normal = &self.products[0] + &self.products[1] * Scale(wide);
            let target = Mat::from_fn(n, 1, |i, _| wide * self.products[1][(0, i)] - self.products[0][(0, i)]);
            for i in 1..n {
                normal[(i, i)] += RIDGE * self.mean_variance * (background + relevant) as f64;
            }
            let solved = normal
                .llt(Side::Lower)
                .map_err(|e| Error::input(format!("the features do not determine a probe: {e:?}")))?
                .solve(&target);
            let weights: Vec<f32> = (1..n).map(|i| solved[(i, 0)] as f32).collect();
            let mut scores: Vec<f32> = self
                .relevant
                .drain(..)
                .as_slice()
                .chunks_exact(weights.len())
                .map(|x| x.iter().zip(&weights).map(|(x, w)| x * w).sum())
                .collect();
            scores.sort_by(f32::total_cmp);
            let bias = -scores[((1.0 - RECALL) * scores.len() as f64) as usize];
            Probe::new(bias, weights)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relevant_are_positions_above_zero_and_those_around_them() {
        let mut scores = [-1.0; 20];
        scores[7] = 0.5;
        let mut out = [BACKGROUND; 20];
        map(&scores, 5, &mut out);
        let expected: Vec<u8> = (0..20)
            .map(|p: i32| if (p / 5 - 1).abs() <= 1 && (p % 5 - 2).abs() <= 1 { RELEVANT } else { BACKGROUND })
            .collect();
        assert_eq!(out.as_slice(), expected);
        map(&[1.0], 1, &mut out[..1]);
        assert_eq!(out[0], RELEVANT);
    }

    #[test]
    fn a_probe_weighs_components_and_checks_its_values() {
        let probe = Probe::new(-1.0, vec![2.0, 0.5]).unwrap();
        let mut scores = [0.0; 2];
        probe.score(&[1.0, 0.0, 4.0, 1.0, 100.0, 100.0], &mut scores);
        assert_eq!(scores, [3.0, -0.5]);
        assert!(Probe::new(f32::NAN, vec![1.0]).is_err());
        assert!(Probe::new(0.0, vec![]).is_err());
        assert!(Probe::new(0.0, vec![0.0; MAX_WEIGHTS + 1]).is_err());
    }
}
