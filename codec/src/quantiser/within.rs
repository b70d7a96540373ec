//! The encoder's prediction within a frame (docs/bitstream.md §6.2): position by position, since each is predicted from what was decided
//! of those before it.

use super::{FREE, LIMIT, Scaling};
use crate::intra::{self, IntraWeights};

/// What the components of a position are predicted to be from those around it.
#[derive(Debug)]
pub struct Within {
    width: usize,
    /// Of every component; empty where intra positions are not predicted.
    weights: Vec<IntraWeights>,
    predictions: Vec<i32>,
}

impl Within {
    /// For `components` of a grid of `width` columns. Without weights predictions are 0.
    pub fn new(weights: Vec<IntraWeights>, components: usize, width: usize) -> Self {
        Self { width, weights, predictions: vec![0; components] }
    }

    /// Whether anything is predicted.
    pub fn predicts(&self) -> bool {
        !self.weights.is_empty()
    }

    /// Predicts position `p` from the `reconstruction` of those before it, `[component][positions]`.
    pub fn predict(&mut self, reconstruction: &[i32], positions: usize, p: usize) {
        let planes = reconstruction.chunks_exact(positions).zip(&self.weights);
        for (to, (plane, weights)) in self.predictions.iter_mut().zip(planes) {
            *to = intra::predict_in(plane, p, self.width, Some(weights));
        }
    }

    /// What was predicted, one value a component.
    pub fn predictions(&self) -> &[i32] {
        &self.predictions
    }

    /// Position `p` of `planes` less what was predicted, in steps, component by component.
    pub fn rests(&self, planes: &[f32], p: usize, scaling: Scaling<'_>) -> impl Iterator<Item = f32> {
        let (to_units, inverse) = (scaling.to_units, scaling.inverse_steps[p]);
        // There may be no planes at all.
        let values = planes.get(p..).unwrap_or_default().iter().step_by(scaling.inverse_steps.len());
        values
            .zip(&self.predictions)
            .map(move |(&value, &prediction)| ((value * to_units).clamp(-LIMIT, LIMIT) - prediction as f32) * inverse)
    }

    /// What of it lies beyond [`FREE`].
    pub fn cost(&self, planes: &[f32], p: usize, scaling: Scaling<'_>) -> f32 {
        self.rests(planes, p, scaling).map(|rest| (rest.abs() - FREE).max(0.0)).sum()
    }
}
