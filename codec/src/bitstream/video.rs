//! The picture format at the end of a sequence parameter set with a picture inner codec (docs/bitstream.md §11.1).

use super::bytes::{Cursor, push_varint};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{self, Limits};

/// Longest side of a picture.
pub const MAX_SIDE: u32 = 65_534;
/// Bit 4 of the sample format: 4:2:0.
const SUBSAMPLED: u8 = 16;

/// Video codec of a picture inner codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum VideoCodec {
    /// H.264, byte stream.
    Avc,
    /// H.265, byte stream.
    #[default]
    Hevc,
    /// H.266, byte stream.
    Vvc,
    /// AV1, low-overhead stream of OBUs.
    Av1,
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
    /// JPEG pictures.
    Jpeg,
}

impl VideoCodec {
    /// All, in the order of their numbers from 1.
    pub const ALL: [VideoCodec; 7] = [Self::Avc, Self::Hevc, Self::Vvc, Self::Av1, Self::Vp8, Self::Vp9, Self::Jpeg];

    /// The name used in caps.
    pub const fn name(self) -> &'static str {
        match self {
            VideoCodec::Avc => "avc",
            VideoCodec::Hevc => "hevc",
            VideoCodec::Vvc => "vvc",
            VideoCodec::Av1 => "av1",
            VideoCodec::Vp8 => "vp8",
            VideoCodec::Vp9 => "vp9",
            VideoCodec::Jpeg => "jpeg",
        }
    }
}

/// Chroma planes of the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Chroma {
    /// None, 4:0:0.
    None,
    /// Two of a quarter of the samples, flat, 4:2:0: for encoders that take no other format.
    #[default]
    Flat420,
}

/// How the fused tensor lies in pictures, and who codes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PictureFormat {
    /// Video codec.
    pub codec: VideoCodec,
    /// Bits of a sample, 8 or 10.
    pub depth: u8,
    /// Chroma planes.
    pub chroma: Chroma,
    /// Tiles side by side.
    pub columns: u32,
    /// Columns of a picture, even.
    pub width: u32,
    /// Rows of a picture, even.
    pub height: u32,
}

impl PictureFormat {
    pub(super) fn parse(c: &mut Cursor<'_>, components: u32, limits: &Limits) -> Result<Self> {
        let number = c.u8()?;
        let codec = usize::from(number).checked_sub(1).and_then(|n| VideoCodec::ALL.get(n).copied());
        let codec = codec.ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("video codec {number}, this build has 1 to {}", VideoCodec::ALL.len()),
            )
        })?;
        let format = c.u8()?;
        let depth = match format & 15 {
            0 => 8,
            2 => 10,
            n => return Err(Error::corrupt(format!("pictures of {} bits, legal are 8 and 10", n + 8))),
        };
        if format & !(SUBSAMPLED | 15) != 0 {
            return Err(Error::corrupt(format!("a sample format {format:#04x} with a reserved bit set")));
        }
        let chroma = if format & SUBSAMPLED != 0 { Chroma::Flat420 } else { Chroma::None };
        let (columns, width, height) = (c.varint()?, c.varint()?, c.varint()?);
        if columns == 0 || columns > components {
            return Err(Error::corrupt(format!("{columns} tile columns, legal are 1 to {components}")));
        }
        let even = |side: u32| side.is_multiple_of(2) && (2..=MAX_SIDE).contains(&side);
        if !even(width) || !even(height) {
            let message = format!("pictures of {width} x {height}, legal are even sides of 2 to {MAX_SIDE}");
            return Err(Error::corrupt(message));
        }
        let samples = u64::from(width) * u64::from(height);
        limits::check("number of samples in a picture", samples, limits.max_fused)?;
        Ok(Self { codec, depth, chroma, columns, width, height })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let number = VideoCodec::ALL.iter().position(|&c| c == self.codec).unwrap_or(0) as u8 + 1;
        out.push(number);
        out.push((self.depth - 8) | if self.chroma == Chroma::Flat420 { SUBSAMPLED } else { 0 });
        push_varint(out, self.columns);
        push_varint(out, self.width);
        push_varint(out, self.height);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: PictureFormat = PictureFormat {
        codec: VideoCodec::Hevc,
        depth: 10,
        chroma: Chroma::Flat420,
        columns: 8,
        width: 272,
        height: 304,
    };
    const BYTES: [u8; 7] = [2, 0x12, 8, 0x90, 0x02, 0xB0, 0x02];

    fn parse(bytes: &[u8]) -> Result<PictureFormat> {
        PictureFormat::parse(&mut Cursor::new(bytes), 128, &Limits::default())
    }

    #[test]
    fn bytes_are_those_of_the_specification() {
        let mut out = Vec::new();
        FORMAT.write(&mut out);
        assert_eq!(out, BYTES);
        assert_eq!(parse(&BYTES).unwrap(), FORMAT);
        assert_eq!(parse(&[7, 0, 1, 64, 64]).unwrap().codec, VideoCodec::Jpeg);
    }

    #[test]
    fn what_no_picture_can_be_is_refused() {
        let with = |at: usize, value: u8| {
            let mut bytes = BYTES;
            bytes[at] = value;
            parse(&bytes).unwrap_err()
        };
        assert_eq!(with(0, 0).kind(), ErrorKind::Unsupported);
        assert_eq!(with(0, 8).to_string(), "video codec 8, this build has 1 to 7");
        assert_eq!(with(1, 0x11).to_string(), "pictures of 9 bits, legal are 8 and 10");
        assert_eq!(with(1, 0x32).kind(), ErrorKind::Corruption);
        assert_eq!(with(2, 0).kind(), ErrorKind::Corruption);
        assert_eq!(with(3, 0x91).kind(), ErrorKind::Corruption);
        let many = [2, 0x12, 0x81, 0x01, 64, 64];
        assert_eq!(parse(&many).unwrap_err().to_string(), "129 tile columns, legal are 1 to 128");
        let huge = [2, 0x12, 1, 0xFE, 0xFF, 0x03, 0xFE, 0xFF, 0x03];
        assert_eq!(parse(&huge).unwrap_err().kind(), ErrorKind::LimitExceeded);
        assert_eq!(parse(&BYTES[..6]).unwrap_err().kind(), ErrorKind::InsufficientData);
    }
}
