//! Optimal assignment, by the Hungarian algorithm of the crate `pathfinding`.

use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;

/// What a weight of 1 is as an integer: the algorithm needs a total order, and integers add up exactly.
pub(crate) const ONE: i64 = 1 << 32;

/// A weight from a number of 0 to 1.
pub(crate) fn weight(value: f64) -> i64 {
    (value * ONE as f64).round() as i64
}

/// Pairs rows with columns so that the sum of the weights is largest. A pair of weight 0 is none.
/// Weights are not negative, and with `ONE` as the unit, their sum over all rows stays below 2³⁰.
pub(crate) fn assign(rows: usize, columns: usize, weight: impl Fn(usize, usize) -> i64) -> Vec<(usize, usize)> {
    if rows == 0 || columns == 0 {
        return Vec::new();
    }
    // The algorithm gives every row a column, so there must be enough of them.
    let turned = rows > columns;
    let at = |short: usize, long: usize| if turned { weight(long, short) } else { weight(short, long) };
    let (short, long) = if turned { (columns, rows) } else { (rows, columns) };
    let weights = Matrix::from_fn(short, long, |(short, long)| at(short, long));
    let (_, chosen) = kuhn_munkres(&weights);
    let pairs = chosen.into_iter().enumerate().filter(|&pair| weights[pair] > 0);
    let mut pairs: Vec<_> = pairs.map(|(short, long)| if turned { (long, short) } else { (short, long) }).collect();
    pairs.sort_unstable();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_largest_not_the_first_pair() {
        let weights = [[9, 8, 0], [8, 2, 0]];
        assert_eq!(assign(2, 3, |r, c| weights[r][c]), [(0, 1), (1, 0)]);
        assert_eq!(assign(3, 2, |r, c| weights[c][r]), [(0, 1), (1, 0)]);
    }

    #[test]
    fn pairs_of_no_weight_are_none() {
        assert_eq!(assign(2, 2, |r, c| i64::from(r == 1 && c == 0)), [(1, 0)]);
        assert_eq!(assign(0, 4, |_, _| 1), []);
        assert_eq!(assign(4, 0, |_, _| 1), []);
    }
}
