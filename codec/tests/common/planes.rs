//! Luma planes of pictures without a gap between rows.
#![allow(dead_code, reason = "each test file uses its part")]

use fcm_codec::picture::{PictureFormat, Sample};

/// Bytes of a row of samples, and their type.
pub fn row(format: &PictureFormat) -> (usize, Sample) {
    let width = format.width as usize;
    if format.depth > 8 { (2 * width, Sample::U16) } else { (width, Sample::U8) }
}
