//! Feature conversion: the fused tensor as a picture and back (docs/bitstream.md §11.2).

pub mod quantise;
pub mod tiling;

use crate::error::{Error, Result};

/// How a sample lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// One byte.
    U8,
    /// Two bytes, least significant first, in the low bits.
    U16,
    /// Two bytes, least significant first, in bits 15 to 6, as in P010.
    U16High,
}

impl Sample {
    /// Bytes of a sample.
    pub const fn bytes(self) -> usize {
        match self {
            Sample::U8 => 1,
            Sample::U16 | Sample::U16High => 2,
        }
    }

    const fn shift(self) -> u32 {
        match self {
            Sample::U8 | Sample::U16 => 0,
            Sample::U16High => 6,
        }
    }
}

/// The luma plane of a picture, to be read.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// Bytes, row by row.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// How samples lie.
    pub sample: Sample,
}

/// A plane of a picture, to be written.
#[derive(Debug)]
pub struct PlaneMut<'a> {
    /// Bytes, row by row.
    pub data: &'a mut [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// How samples lie.
    pub sample: Sample,
}

/// Checks that a plane of `len` bytes holds `width` × `height` samples of `depth` bits.
fn check(len: usize, stride: usize, sample: Sample, depth: u8, width: usize, height: usize) -> Result<()> {
    let row = width.saturating_mul(sample.bytes());
    let needed = height.saturating_sub(1).saturating_mul(stride).saturating_add(row);
    if stride < row || len < needed {
        return Err(Error::input(format!(
            "a plane of {len} bytes, {stride} a row; {width} x {height} samples take {needed}, {row} a row"
        )));
    }
    if (depth > 8) != (sample != Sample::U8) {
        return Err(Error::input(format!("samples of {} bytes for {depth} bits", sample.bytes())));
    }
    Ok(())
}

impl Plane<'_> {
    /// Whether it holds `width` × `height` samples of `depth` bits.
    ///
    /// # Errors
    /// `InvalidInput` with both sizes.
    pub(crate) fn check(&self, depth: u8, width: usize, height: usize) -> Result<()> {
        check(self.data.len(), self.stride, self.sample, depth, width, height)
    }

    /// Puts the levels of the row `y` from column `x` on into `out`.
    pub(crate) fn row(&self, y: usize, x: usize, out: &mut [i32]) {
        let start = y * self.stride + x * self.sample.bytes();
        let bytes = &self.data[start..start + out.len() * self.sample.bytes()];
        match self.sample {
            Sample::U8 => out.iter_mut().zip(bytes).for_each(|(level, &b)| *level = i32::from(b)),
            Sample::U16 | Sample::U16High => {
                let shift = self.sample.shift();
                for (level, b) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *level = i32::from(u16::from_le_bytes(*b) >> shift);
                }
            }
        }
    }
}

impl PlaneMut<'_> {
    /// As [`Plane::check`].
    pub(crate) fn check(&self, depth: u8, width: usize, height: usize) -> Result<()> {
        check(self.data.len(), self.stride, self.sample, depth, width, height)
    }

    /// Writes `levels` to the row `y` from column `x` on.
    pub(crate) fn put_row(&mut self, y: usize, x: usize, levels: impl ExactSizeIterator<Item = u16>) {
        let start = y * self.stride + x * self.sample.bytes();
        let bytes = &mut self.data[start..start + levels.len() * self.sample.bytes()];
        match self.sample {
            Sample::U8 => bytes.iter_mut().zip(levels).for_each(|(b, level)| *b = level as u8),
            Sample::U16 | Sample::U16High => {
                let shift = self.sample.shift();
                for (b, level) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(levels) {
                    *b = (level << shift).to_le_bytes();
                }
            }
        }
    }

    /// Makes `width` × `height` samples of `depth` bits all the same: padding, and chroma that says nothing.
    ///
    /// # Errors
    /// `InvalidInput` when the plane is smaller.
    pub fn fill(&mut self, depth: u8, width: usize, height: usize, level: u16) -> Result<()> {
        self.check(depth, width, height)?;
        for y in 0..height {
            self.put_row(y, 0, std::iter::repeat_n(level, width));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_lie_as_the_sample_says_and_come_back() {
        for (sample, depth, expected) in [
            (Sample::U8, 8, vec![1u8, 200, 3]),
            (Sample::U16, 10, vec![1, 0, 200, 0, 3, 0]),
            (Sample::U16High, 10, vec![64, 0, 0, 50, 192, 0]),
        ] {
            let mut data = vec![0xEE; 2 * 8];
            let mut plane = PlaneMut { data: &mut data, stride: 8, sample };
            plane.check(depth, 3, 2).unwrap();
            plane.put_row(1, 0, [1, 200, 3].into_iter());
            assert_eq!(data[8..8 + expected.len()], expected);
            let mut levels = [0; 2];
            Plane { data: &data, stride: 8, sample }.row(1, 1, &mut levels);
            assert_eq!(levels, [200, 3]);
        }
    }

    #[test]
    fn a_plane_that_is_too_small_or_of_other_samples_is_refused() {
        let plane = |len: usize, stride, sample| Plane { data: &[0; 64][..len], stride, sample };
        assert!(plane(14, 8, Sample::U16).check(10, 3, 2).is_ok());
        assert!(plane(13, 8, Sample::U16).check(10, 3, 2).is_err());
        assert!(plane(64, 5, Sample::U16).check(10, 3, 2).is_err());
        assert!(plane(64, 8, Sample::U8).check(10, 3, 2).is_err());
        assert!(plane(64, 8, Sample::U16).check(8, 3, 2).is_err());
    }
}
