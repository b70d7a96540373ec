//! Motion between frames: what predicted positions are predicted from (docs/bitstream.md §6.1).
//!
//! A vector holds for a block of [`BLOCK`] × [`BLOCK`] positions and points into the frame before in half positions. Half positions
//! are means of neighbours, which finds what moved by less than a position, and averages the noise of quantisation besides.

/// Rows and columns of a block.
pub const BLOCK: usize = 2;
/// Longest vector each way, in half positions.
pub const REACH: usize = 2;
/// Lengths each way.
pub const SPAN: usize = 2 * REACH + 1;

/// Where a block is predicted from: down and right, each in half positions, from −[`REACH`] to [`REACH`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vector {
    /// Down.
    pub y: i8,
    /// Right.
    pub x: i8,
}

impl Vector {
    /// The same place.
    pub const STILL: Self = Self { y: 0, x: 0 };

    /// All of them, by rows.
    pub fn all() -> impl Iterator<Item = Self> {
        let reach = REACH as i8;
        (-reach..=reach).flat_map(move |y| (-reach..=reach).map(move |x| Self { y, x }))
    }

    /// Whether it points elsewhere.
    pub fn moves(self) -> bool {
        self != Self::STILL
    }
}

/// Blocks of a grid of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    height: usize,
    width: usize,
    /// Blocks side by side; those at the right and lower edge may be smaller.
    pub columns: usize,
}

impl Blocks {
    /// Of `height × width` positions.
    pub fn new(height: usize, width: usize) -> Self {
        Self { height, width, columns: width.div_ceil(BLOCK) }
    }

    /// Number of blocks.
    pub fn count(self) -> usize {
        self.columns * self.height.div_ceil(BLOCK)
    }

    /// Positions of block `b`, in raster order.
    pub fn positions(self, b: usize) -> impl Iterator<Item = usize> {
        let (y, x) = (b / self.columns * BLOCK, b % self.columns * BLOCK);
        let columns = x..(x + BLOCK).min(self.width);
        (y..(y + BLOCK).min(self.height)).flat_map(move |y| columns.clone().map(move |x| y * self.width + x))
    }

    /// The four positions whose mean predicts `position` along `vector`; the same ones several times for whole positions. Beyond the
    /// edge is what is at the edge.
    pub fn sources(self, position: usize, vector: Vector) -> [usize; 4] {
        let ends = |at: usize, v: i8, size: usize| {
            let clamp = |i: isize| i.clamp(0, size as isize - 1) as usize;
            let (at, v) = (at as isize, isize::from(v));
            [clamp(at + v.div_euclid(2)), clamp(at + (v + 1).div_euclid(2))]
        };
        let [top, bottom] = ends(position / self.width, vector.y, self.height);
        let [left, right] = ends(position % self.width, vector.x, self.width);
        [(top, left), (top, right), (bottom, left), (bottom, right)].map(|(y, x)| y * self.width + x)
    }
}

/// A position that is predicted from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The position.
    pub to: usize,
    /// Positions of the frame before whose mean it is.
    pub from: [usize; 4],
}

/// The moves of one frame; holds all memory that it needs.
#[derive(Debug)]
pub struct Compensation {
    blocks: Blocks,
    moves: Vec<Move>,
    scratch: Vec<i32>,
}

impl Compensation {
    /// For `height × width` positions.
    pub fn new(height: usize, width: usize) -> Self {
        let most = height * width;
        Self { blocks: Blocks::new(height, width), moves: Vec::with_capacity(most), scratch: Vec::with_capacity(most) }
    }

    /// Takes the vector of each block.
    pub fn set(&mut self, vectors: &[Vector]) {
        let blocks = self.blocks;
        self.moves.clear();
        let moving = vectors.iter().enumerate().filter(|(_, v)| v.moves());
        self.moves.extend(
            moving.flat_map(|(b, &vector)| {
                blocks.positions(b).map(move |to| Move { to, from: blocks.sources(to, vector) })
            }),
        );
    }

    /// Where no block moves, nothing is to be done.
    pub fn moves(&self) -> &[Move] {
        &self.moves
    }

    /// Moves the values of `plane`, and tells of every value what it was and what it is.
    pub fn apply(&mut self, plane: &mut [i32], mut changed: impl FnMut(i32, i32)) {
        if self.moves.is_empty() || plane.iter().all(|&v| v == 0) {
            return;
        }
        self.scratch.clear();
        self.scratch.extend(self.moves.iter().map(|m| {
            // Values are at most 2^30, so four of them need more than 32 bits.
            let sum: i64 = m.from.iter().map(|&p| i64::from(plane[p])).sum();
            ((sum + 2) >> 2) as i32
        }));
        for (m, &new) in self.moves.iter().zip(&self.scratch) {
            changed(std::mem::replace(&mut plane[m.to], new), new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_position_once() {
        for (height, width) in [(1, 1), (2, 2), (3, 5), (4, 1), (5, 6)] {
            let blocks = Blocks::new(height, width);
            let mut seen: Vec<usize> = (0..blocks.count()).flat_map(|b| blocks.positions(b)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..height * width).collect::<Vec<_>>());
        }
        assert_eq!(Blocks::new(3, 5).positions(1).collect::<Vec<_>>(), [2, 3, 7, 8]);
    }

    #[test]
    fn vectors_average_in_halves_and_stop_at_the_edge() {
        let blocks = Blocks::new(3, 4);
        assert_eq!(blocks.sources(5, Vector { y: 2, x: -2 }), [8; 4]);
        assert_eq!(blocks.sources(5, Vector { y: 0, x: 1 }), [5, 6, 5, 6]);
        assert_eq!(blocks.sources(5, Vector { y: -1, x: 0 }), [1, 1, 5, 5]);
        assert_eq!(blocks.sources(0, Vector { y: -1, x: -2 }), [0; 4]);
        assert_eq!(blocks.sources(11, Vector { y: 1, x: 1 }), [11; 4]);
    }

    #[test]
    fn a_plane_moves_as_specified_and_what_changed_is_told() {
        let mut compensation = Compensation::new(2, 4);
        compensation.set(&[Vector { y: 0, x: 2 }, Vector { y: 1, x: 1 }]);
        let mut plane = [1, 2, 3, 4, 5, 6, 7, -9];
        let mut sum = plane.iter().sum::<i32>();
        compensation.apply(&mut plane, |old, new| sum += new - old);
        // Halves are rounded up, of negative numbers too: (4 + 4 − 9 − 9 + 2) >> 2 = −2.
        assert_eq!(plane, [2, 3, 1, -2, 6, 7, -1, -9]);
        assert_eq!(sum, plane.iter().sum::<i32>());
        compensation.set(&[Vector::STILL; 2]);
        assert!(compensation.moves().is_empty());
        let largest = [1 << 30; 8];
        compensation.set(&[Vector { y: 1, x: 1 }; 2]);
        let mut plane = largest;
        compensation.apply(&mut plane, |_, _| {});
        assert_eq!(plane, largest);
    }
}
