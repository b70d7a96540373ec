//! What the outputs of known networks mean.

pub mod nanodet;
pub mod yolox;

use super::{Detection, Tensor};
use crate::geometry::Rect;
use crate::{Error, Result};

/// Which boxes are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Filter<'a> {
    /// Scores must be above this.
    pub threshold: f32,
    /// Wanted classes, all when `None`.
    pub classes: Option<&'a [u16]>,
}

impl Filter<'_> {
    /// Whether a score is wanted; NaN is not.
    fn passes(&self, score: f32) -> bool {
        score > self.threshold
    }

    /// The best wanted class of a cell and its score, unless NaN hides it.
    fn best(&self, scores: &[f32]) -> Option<(u16, f32)> {
        let mut best: Option<(u16, f32)> = None;
        let mut see = |class: u16, score: f32| {
            if score > best.map_or(f32::NEG_INFINITY, |(_, score)| score) {
                best = Some((class, score));
            }
        };
        match self.classes {
            None => scores.iter().zip(0..=u16::MAX).for_each(|(&score, class)| see(class, score)),
            Some(classes) => {
                classes.iter().for_each(|&c| scores.get(usize::from(c)).into_iter().for_each(|&score| see(c, score)));
            }
        }
        best
    }
}

/// Boxes before suppression.
#[derive(Debug, Clone, Default)]
pub struct Candidates(Vec<Detection>);

impl Candidates {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds the best wanted class of a cell whose box is `rect()`, if it passes.
    pub(super) fn see(&mut self, filter: &Filter<'_>, object: f32, classes: &[f32], rect: impl FnOnce() -> Rect) {
        // No class probability is above 1: most cells end here.
        if !filter.passes(object) {
            return;
        }
        let Some((class, probability)) = filter.best(classes) else { return };
        let score = object * probability;
        if filter.passes(score) {
            self.add(rect(), score, class);
        }
    }

    /// The `most` best, in any order.
    pub fn best(&mut self, most: usize) -> &[Detection] {
        if self.0.len() > most {
            self.0.select_nth_unstable_by(most, |a, b| b.score.total_cmp(&a.score));
            self.0.truncate(most);
        }
        &self.0
    }

    fn add(&mut self, rect: Rect, score: f32, class: u16) {
        if score.is_finite() && rect.is_finite() {
            self.0.push(Detection { rect, score, class });
        }
    }
}

/// What a head says of one cell: the probability that there is an object, those of the classes if there is, and its box.
pub type Visit<'a> = dyn FnMut(f32, &[f32], &dyn Fn() -> Rect) + 'a;

/// Rows and columns of a tensor whose leading dimensions are all 1 but for the last two.
fn rows_and_columns(tensor: &Tensor<'_>) -> Option<(usize, usize)> {
    match tensor.dims {
        [] => None,
        [columns] => Some((1, *columns)),
        [front @ .., rows, columns] => front.iter().all(|&dim| dim == 1).then_some((*rows, *columns)),
    }
}

/// Columns and rows of cells.
fn grid(input: (u32, u32), stride: u32) -> (usize, usize) {
    (input.0.div_ceil(stride) as usize, input.1.div_ceil(stride) as usize)
}

fn other_outputs(head: &str, expected: &[String], tensors: &[Tensor<'_>]) -> Error {
    let found: Vec<_> = tensors.iter().map(|tensor| format!("{:?}", tensor.dims)).collect();
    let found = if found.is_empty() { "none".into() } else { found.join(", ") };
    Error::Tensors(format!(
        "{head} with such an input and such strides has outputs {}, found {found}",
        expected.join(", ")
    ))
}

/// As many tensors as expected, or the error that says so.
fn check_count(head: &str, expected: &[String], tensors: &[Tensor<'_>]) -> Result<()> {
    if tensors.len() == expected.len() { Ok(()) } else { Err(other_outputs(head, expected, tensors)) }
}
