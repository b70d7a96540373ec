//! Where the planes of a fused tensor lie in a picture.

use super::quantise::{Range, top};
use super::{Plane, PlaneMut};
use crate::bitstream::{Chroma, MAX_SIDE, PictureFormat, VideoCodec};
use crate::error::{Error, Result};
use crate::limits::{self, Limits};

/// No side of a picture is shorter: encoders refuse or mistreat smaller pictures.
const SHORTEST_SIDE: u64 = 64;

/// Tiles beside and above each other for `count` of them, each `height` × `width`: the factors nearest the root of `count`, the longer along
/// the shorter side of a tile. Columns, rows.
pub fn grid(count: usize, height: usize, width: usize) -> (usize, usize) {
    let short = (1..=count.isqrt().max(1)).rev().find(|s| count.is_multiple_of(*s)).unwrap_or(1);
    let long = count / short;
    if height > width { (long, short) } else { (short, long) }
}

/// `count` planes of `height` × `width` in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    count: usize,
    height: usize,
    width: usize,
    columns: usize,
    /// Sides of the picture.
    picture: (usize, usize),
    top: u16,
    depth: u8,
}

/// The format of pictures of `count` tiles of `height` × `width`.
///
/// # Errors
/// `LimitExceeded` for pictures that are larger than a stream can say or the limits allow.
pub fn format(
    count: usize,
    height: usize,
    width: usize,
    depth: u8,
    chroma: Chroma,
    limits: &Limits,
) -> Result<PictureFormat> {
    let (columns, rows) = grid(count, height, width);
    let side = |tiles: usize, side: usize| (tiles as u64 * side as u64).max(SHORTEST_SIDE).next_multiple_of(2);
    let (w, h) = (side(columns, width), side(rows, height));
    limits::check("a side of the picture", w.max(h), u64::from(MAX_SIDE))?;
    limits::check("number of samples in a picture", w * h, limits.max_fused)?;
    let (width, height) = (w as u32, h as u32);
    Ok(PictureFormat { codec: VideoCodec::default(), depth, chroma, columns: columns as u32, width, height })
}

impl Tiling {
    /// `count` tiles of `height` × `width` in pictures of `format`.
    ///
    /// # Errors
    /// `Corruption` when they do not fit.
    pub fn new(format: &PictureFormat, count: usize, height: usize, width: usize) -> Result<Self> {
        let (columns, picture) = (format.columns as usize, (format.width as usize, format.height as usize));
        let rows = count.div_ceil(columns.max(1));
        if columns == 0 || columns.saturating_mul(width) > picture.0 || rows.saturating_mul(height) > picture.1 {
            return Err(Error::corrupt(format!(
                "{count} tiles of {height} x {width} (rows x columns) in {columns} columns, in a picture of {} x {}",
                picture.1, picture.0
            )));
        }
        Ok(Self { count, height, width, columns, picture, top: top(format.depth), depth: format.depth })
    }

    /// Row and column of the first sample of tile `k`.
    fn place(&self, k: usize) -> (usize, usize) {
        (k / self.columns * self.height, k % self.columns * self.width)
    }

    /// Quantises `planes` into the picture.
    ///
    /// # Errors
    /// `InvalidInput` for a plane that is too small or of other samples.
    pub fn pack(&self, planes: &[f32], range: &Range, mut out: PlaneMut<'_>) -> Result<()> {
        out.check(self.depth, self.picture.0, self.picture.1)?;
        let covered = self.count * self.height * self.width;
        if covered < self.picture.0 * self.picture.1 {
            out.fill(self.depth, self.picture.0, self.picture.1, range.zero(self.top))?;
        }
        for (k, plane) in planes.chunks_exact(self.height * self.width).enumerate() {
            let (row, column) = self.place(k);
            for (y, values) in plane.chunks_exact(self.width).enumerate() {
                out.put_row(row + y, column, values.iter().map(|&v| range.level(v, self.top)));
            }
        }
        Ok(())
    }

    /// Puts the levels of all tiles into `levels`, plane after plane.
    ///
    /// # Errors
    /// As [`Self::pack`].
    pub fn unpack(&self, picture: Plane<'_>, levels: &mut [i32]) -> Result<()> {
        picture.check(self.depth, self.picture.0, self.picture.1)?;
        for (k, plane) in levels.chunks_exact_mut(self.height * self.width).enumerate() {
            let (row, column) = self.place(k);
            for (y, levels) in plane.chunks_exact_mut(self.width).enumerate() {
                picture.row(row + y, column, levels);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sample;
    use super::*;

    #[test]
    fn the_grids_are_those_of_fctm() {
        // Rows × columns of pictures of 64 channels, from the reference software's examples.
        for (h, w, size) in [
            (24, 42, (192, 336)),
            (25, 42, (200, 336)),
            (25, 40, (200, 320)),
            (19, 34, (152, 272)),
            (38, 25, (304, 200)),
        ] {
            let (columns, rows) = grid(64, h, w);
            assert_eq!((rows * h, columns * w), size);
        }
        assert_eq!(grid(128, 19, 34), (8, 16));
        assert_eq!(grid(128, 34, 19), (16, 8));
        assert_eq!((grid(7, 2, 3), grid(7, 3, 2), grid(1, 1, 1)), ((1, 7), (7, 1), (1, 1)));
    }

    #[test]
    fn tiles_lie_in_raster_order_and_padding_holds_the_level_of_zero() {
        let limits = Limits::default();
        let format = format(6, 3, 5, 8, Chroma::None, &limits).unwrap();
        assert_eq!((format.columns, format.width, format.height), (2, 64, 64));
        let tiling = Tiling::new(&format, 6, 3, 5).unwrap();
        let planes: Vec<f32> = (0..90).map(|i| i as f32 - 10.0).collect();
        let range = Range::of(&planes);
        let mut data = vec![0; 64 * 64];
        tiling.pack(&planes, &range, PlaneMut { data: &mut data, stride: 64, sample: Sample::U8 }).unwrap();
        // Component 3 is in row 1, column 1; its value (2, 4) is number 59.
        assert_eq!(data[(3 + 2) * 64 + 5 + 4], range.level(planes[59], 255) as u8);
        assert_eq!((data[10], data[9 * 64], range.zero(255)), (29, 29, 29));
        let mut levels = vec![0; 90];
        tiling.unpack(Plane { data: &data, stride: 64, sample: Sample::U8 }, &mut levels).unwrap();
        let expected: Vec<i32> = planes.iter().map(|&v| range.level(v, 255).into()).collect();
        assert_eq!(levels, expected);
    }

    #[test]
    fn large_pictures_are_made_even_and_absurd_ones_refused() {
        let limits = Limits::default();
        let odd = format(9, 33, 35, 10, Chroma::Flat420, &limits).unwrap();
        assert_eq!((odd.width, odd.height), (106, 100));
        assert!(format(127, 19, 4000, 10, Chroma::None, &limits).is_ok());
        assert!(format(65_537, 1, 2, 10, Chroma::None, &limits).is_err());
        let small = PictureFormat { columns: 4, ..odd };
        assert!(Tiling::new(&small, 9, 33, 35).is_err());
    }
}
