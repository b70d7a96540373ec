//! Squares of differences. To be called in a loop that has been dispatched to the machine's instructions: all is inlined there.

use crate::tensor::value::Value;

const WIDTH: usize = 16;

/// Adds the square of `a - b` to each of `sums`.
#[inline(always)]
pub fn add_squares<T: Value>(sums: &mut [f32], a: &[T], b: &[T]) {
    for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
        let difference = a.widen() - b.widen();
        *sum += difference * difference;
    }
}

/// The sum of the squares of `a - b`. The same lanes for every instruction set, so the sum is the same too.
#[inline(always)]
pub fn squared_distance<T: Value>(a: &[T], b: &[T]) -> f32 {
    let mut lanes = [0f32; WIDTH];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<WIDTH>(), b.as_chunks::<WIDTH>());
    for (a, b) in a.iter().zip(b) {
        add_squares(&mut lanes, a, b);
    }
    add_squares(&mut lanes, a_rest, b_rest);
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    #[test]
    fn squares_are_added_one_by_one_and_summed() {
        let a: Vec<f32> = (0..37).map(|i| i as f32).collect();
        let b: Vec<f32> = (0..37).map(|i| 2.0 * i as f32).collect();
        let squares: Vec<f32> = a.iter().map(|v| v * v).collect();
        let narrow = |v: &[f32]| v.iter().map(|&v| f16::from_f32(v)).collect::<Vec<_>>();
        let mut sums = vec![1.0; 37];
        add_squares(&mut sums, &a, &b);
        assert!(sums.iter().zip(&squares).all(|(sum, square)| *sum == 1.0 + square));
        assert_eq!(squared_distance(&a, &b), squares.iter().sum());
        assert_eq!(squared_distance(&narrow(&a), &narrow(&b)), squares.iter().sum());
    }
}
