//! How far the vectors of a block are from others: one lane each.

use crate::reduction::grid::LANES;
use pulp::Arch;

/// Of each lane, `Σ (a − b)²` over the rows, in their order.
pub fn squared_distances(a: &[f32], b: &[f32]) -> [f32; LANES] {
    // The same loop for every instruction set: lanes do not mix, so the sums are the same too.
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut sums = [0f32; LANES];
            for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
                for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                    let difference = a - b;
                    *sum += difference * difference;
                }
            }
            sums
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_has_a_sum_of_its_own() {
        let a: Vec<f32> = (0..3 * LANES).map(|i| i as f32).collect();
        let b: Vec<f32> = (0..3 * LANES).map(|i| i as f32 - (i % LANES) as f32).collect();
        let expected: Vec<f32> = (0..LANES).map(|lane| 3.0 * (lane * lane) as f32).collect();
        assert_eq!(squared_distances(&a, &b), expected[..]);
    }
}
