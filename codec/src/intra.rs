//! Prediction within a frame: what intra positions are predicted from (docs/bitstream.md §6.2).
//!
//! Cells side by side look alike, so a component of one tells of the same component of the next. Each component has three weights of its
//! own, learnt at calibration: components that are odd across a cell change their sign from one cell to the next.

use crate::quantiser::VALUE_MAX;

/// Weights of one component, in 1/64: of the position to the left, the one above, and the one above left.
pub type IntraWeights = [i8; 3];

/// Weights count 64ths.
pub const WEIGHT_SHIFT: u32 = 6;
/// Largest magnitude of a prediction.
const LARGEST: i64 = VALUE_MAX as i64 / 2;

/// The positions left of, above and above left of `position` on a grid of `width` columns. Outside of the grid is what is nearest of the
/// others; `None` for the first position, which has none.
#[inline(always)]
pub fn neighbours(position: usize, width: usize) -> Option<[usize; 3]> {
    let (first, top) = (position.is_multiple_of(width), position < width);
    match (first, top) {
        (true, true) => None,
        (true, false) => Some([position - width; 3]),
        (false, true) => Some([position - 1; 3]),
        (false, false) => Some([position - 1, position - width, position - width - 1]),
    }
}

/// What `position` of a component is predicted to be from what its `plane` has before it; 0 where that is nothing, or without weights.
#[inline(always)]
pub fn predict_in(plane: &[i32], position: usize, width: usize, weights: Option<&IntraWeights>) -> i32 {
    let (Some(&weights), Some(neighbours)) = (weights, neighbours(position, width)) else { return 0 };
    predict(weights, neighbours.map(|p| plane[p]))
}

/// What the reconstructions of its [`neighbours`] predict a position to be.
#[inline(always)]
pub fn predict(weights: IntraWeights, neighbours: [i32; 3]) -> i32 {
    let sum: i64 = weights.iter().zip(neighbours).map(|(&w, v)| i64::from(w) * i64::from(v)).sum();
    ((sum + (1 << (WEIGHT_SHIFT - 1))) >> WEIGHT_SHIFT).clamp(-LARGEST, LARGEST) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_edges_is_what_is_nearest() {
        assert_eq!(neighbours(0, 4), None);
        assert_eq!(neighbours(3, 4), Some([2, 2, 2]));
        assert_eq!(neighbours(4, 4), Some([0, 0, 0]));
        assert_eq!(neighbours(6, 4), Some([5, 2, 1]));
        assert_eq!((neighbours(0, 1), neighbours(2, 1)), (None, Some([1, 1, 1])));
    }

    #[test]
    fn predictions_are_rounded_up_at_halves_and_bounded() {
        assert_eq!(predict([64, 0, 0], [7, 100, 100]), 7);
        assert_eq!(predict([32, 32, 0], [1, 2, 9]), 2);
        assert_eq!(predict([32, 32, 0], [-1, -2, 9]), -1);
        assert_eq!(predict([48, 48, -32], [100, 60, 20]), 110);
        assert_eq!(predict([127, 127, -128], [1 << 30, 1 << 30, -(1 << 30)]), 1 << 29);
        assert_eq!(predict([-128, -128, -128], [1 << 30; 3]), -(1 << 29));
    }
}
