//! Vectors of the blocks: what they are coded under (docs/bitstream.md §7.3, step 2).

use super::models::Counter;
use super::range_coder::Bits;
use crate::motion::{Blocks, REACH, SPAN, Vector};

/// Decisions after which counters learn no slower.
const LIMIT: u8 = 60;
/// Levels of the trees that code a length, and nodes of one.
const DEPTH: u32 = 3;
const NODES: usize = 1 << DEPTH;
/// Decisions that the first states count as.
const SEEN: u8 = 12;

/// The models of vectors.
#[derive(Debug, Clone, Copy)]
pub struct VectorModels {
    /// The vector is that of the block to the left: by whether the one above is the same, and whether it moves.
    left: [Counter; 4],
    /// It is that above: by whether that moves.
    up: [Counter; 2],
    /// Rows down, and columns right by whether there are rows.
    rows: [Counter; NODES],
    columns: [[Counter; NODES]; 2],
}

/// The vectors of the blocks to the left and above; those outside the grid, and of blocks without one, are still.
#[derive(Debug, Clone, Copy)]
pub struct Beside {
    /// To the left.
    pub left: Vector,
    /// Above.
    pub up: Vector,
}

impl Beside {
    /// Those beside block `b` of `blocks` with these `vectors`.
    pub fn of(b: usize, blocks: Blocks, vectors: &[Vector]) -> Self {
        let left = if b.is_multiple_of(blocks.columns) { Vector::STILL } else { vectors[b - 1] };
        Self { left, up: b.checked_sub(blocks.columns).map_or(Vector::STILL, |up| vectors[up]) }
    }

    fn left_context(self) -> usize {
        usize::from(self.left == self.up) * 2 + usize::from(self.left.moves())
    }
}

impl VectorModels {
    /// The first states: what vectors of YOLOX-nano's features were like on TUD-Campus, videos and rendered scenes, but that long ones are
    /// taken to be less rare. Normative.
    pub const FIRST: Self = {
        const fn seen(p: u16) -> Counter {
            Counter::new(p, SEEN)
        }
        const fn tree(p: [u16; NODES]) -> [Counter; NODES] {
            let mut nodes = [seen(1 << 15); NODES];
            let mut n = 0;
            while n < NODES {
                nodes[n] = seen(p[n]);
                n += 1;
            }
            nodes
        }
        Self {
            left: [seen(33_500), seen(16_100), seen(61_200), seen(42_500)],
            up: [seen(53_000), seen(33_800)],
            rows: tree([1 << 15, 2_000, 53_200, 400, 60_000, 15_800, 400, 1 << 15]),
            columns: [
                tree([1 << 15, 2_000, 42_400, 400, 48_800, 8_200, 400, 1 << 15]),
                tree([1 << 15, 2_000, 30_600, 400, 60_000, 31_200, 400, 1 << 15]),
            ],
        }
    };

    /// Writes `vector` to, or reads one from, `bits`.
    pub fn code<B: Bits>(&mut self, bits: &mut B, vector: Vector, beside: Beside) -> Vector {
        if self.left[beside.left_context()].code(bits, vector == beside.left, LIMIT) {
            return beside.left;
        }
        if beside.up != beside.left && self.up[usize::from(beside.up.moves())].code(bits, vector == beside.up, LIMIT) {
            return beside.up;
        }
        let y = code_length(bits, vector.y, &mut self.rows);
        let x = code_length(bits, vector.x, &mut self.columns[usize::from(y == 0)]);
        Vector { y, x }
    }

    /// Bits of `vector` as the models are.
    pub fn bits(&self, vector: Vector, beside: Beside) -> f32 {
        let left = self.left[beside.left_context()];
        if vector == beside.left {
            return cost(left, true);
        }
        let mut sum = cost(left, false);
        if beside.up != beside.left {
            let up = self.up[usize::from(beside.up.moves())];
            if vector == beside.up {
                return sum + cost(up, true);
            }
            sum += cost(up, false);
        }
        sum += length_bits(vector.y, &self.rows);
        sum + length_bits(vector.x, &self.columns[usize::from(vector.y == 0)])
    }
}

/// Codes a length each way as a number from 0; a reader of a damaged stream may meet one past the last.
fn code_length<B: Bits>(bits: &mut B, length: i8, models: &mut [Counter; NODES]) -> i8 {
    let number = (i32::from(length) + REACH as i32) as usize;
    let mut node = 1;
    for i in (0..DEPTH).rev() {
        node = node << 1 | usize::from(models[node].code(bits, number >> i & 1 == 1, LIMIT));
    }
    ((node - NODES).min(SPAN - 1) as i32 - REACH as i32) as i8
}

fn length_bits(length: i8, models: &[Counter; NODES]) -> f32 {
    let number = (i32::from(length) + REACH as i32) as usize | NODES;
    (0..DEPTH).map(|i| cost(models[number >> (i + 1)], number >> i & 1 == 1)).sum()
}

fn cost(counter: Counter, bit: bool) -> f32 {
    let one = f32::from(counter.p()) / 65_536.0;
    -(if bit { one } else { 1.0 - one }).log2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inner::native::range_coder::{Reader, Writer};

    #[test]
    fn every_vector_comes_back_beside_every_other() {
        let beside: Vec<Beside> =
            Vector::all().flat_map(|left| Vector::all().map(move |up| Beside { left, up })).collect();
        let mut bytes = Vec::new();
        let (mut models, mut bits) = (VectorModels::FIRST, Writer::new(&mut bytes));
        for &b in &beside {
            Vector::all().for_each(|v| assert_eq!(models.code(&mut bits, v, b), v));
        }
        bits.finish();
        let (mut models, mut bits) = (VectorModels::FIRST, Reader::new(&bytes));
        for &b in &beside {
            Vector::all().for_each(|v| assert_eq!(models.code(&mut bits, Vector::STILL, b), v));
        }
    }

    #[test]
    fn damaged_bytes_give_legal_vectors() {
        for seed in 0..64u8 {
            let bytes: Vec<u8> = (0..40).map(|i| seed.wrapping_mul(37) ^ (i as u8).wrapping_mul(151)).collect();
            let (mut models, mut bits) = (VectorModels::FIRST, Reader::new(&bytes));
            let mut left = Vector::STILL;
            for _ in 0..200 {
                left = models.code(&mut bits, Vector::STILL, Beside { left, up: Vector::STILL });
                assert!(Vector::all().any(|v| v == left), "{left:?}");
            }
        }
    }

    #[test]
    fn estimated_bits_are_those_that_are_written() {
        let beside = Beside { left: Vector { y: 1, x: 0 }, up: Vector::STILL };
        for vector in Vector::all() {
            let estimated: f32 = VectorModels::FIRST.bits(vector, beside) * 64.0;
            let mut bytes = Vec::new();
            let mut bits = Writer::new(&mut bytes);
            for _ in 0..64 {
                let mut models = VectorModels::FIRST;
                models.code(&mut bits, vector, beside);
            }
            // Something to tell the end from the zeros that a reader reads behind it.
            bits.bypass(0xA5A5_A5A5, 32);
            bits.finish();
            let written = bytes.len() as f32 * 8.0 - 32.0;
            assert!((written - estimated).abs() < 17.0, "{vector:?}: {written} bits, {estimated} estimated");
        }
    }
}
