//! What codes pictures: video encoders and decoders, whether they give each back at once or all at the end.

use anyhow::Result;
use std::time::Duration;

/// What a coder gives for one picture: its access unit, or its samples.
pub struct Unit<'a> {
    pub data: &'a [u8],
    /// Whether a decoder can start at it.
    pub random_access: bool,
}

/// Takes what comes out, in order.
pub type Take<'a> = &'a mut dyn FnMut(Unit<'_>) -> Result<()>;

/// An encoder, which takes samples and gives access units, or a decoder, which does the opposite.
pub trait Coder {
    /// Puts in one picture.
    ///
    /// # Errors
    /// When coding, or `take`, fails.
    fn push(&mut self, data: Vec<u8>, take: Take<'_>) -> Result<()>;

    /// Gives what is left.
    ///
    /// # Errors
    /// As above.
    fn finish(&mut self, take: Take<'_>) -> Result<()>;

    /// The time it took, up to now.
    fn busy(&self) -> Duration;
}

/// How the samples of a picture lie in memory: 4:2:0, three planes, samples of more than 8 bits in 2 bytes, little endian.
#[derive(Debug, Clone, Copy)]
pub struct Picture {
    /// Columns, even.
    pub width: usize,
    /// Rows, even.
    pub height: usize,
    /// Bits of a sample.
    pub depth: u8,
    /// Rows begin at multiples of so many bytes.
    pub alignment: usize,
    /// Pictures a second, as a fraction.
    pub framerate: (u32, u32),
}

impl Picture {
    /// Bytes from one row of luma to the next.
    pub fn stride(&self) -> usize {
        (self.width * self.sample()).next_multiple_of(self.alignment)
    }

    /// Bytes of luma, which is first.
    pub fn luma_bytes(&self) -> usize {
        self.stride() * self.height
    }

    /// Bytes of the whole picture.
    pub fn bytes(&self) -> usize {
        self.luma_bytes() + (self.width / 2 * self.sample()).next_multiple_of(self.alignment) * self.height
    }

    fn sample(&self) -> usize {
        usize::from(self.depth).div_ceil(8)
    }
}
