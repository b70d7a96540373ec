//! Bytes of headers: a checked cursor and variable-length integers (docs/bitstream.md §2).

use crate::error::{Error, Result};

/// Reads a header front to back.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or_else(|| {
            Error::truncated(format!("{} bytes left at byte {}, {count} are needed", rest.len(), self.at))
        })?;
        self.at += count;
        Ok(taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// A binary32 value, least significant byte first.
    pub fn f32(&mut self) -> Result<f32> {
        Ok(f32::from_le_bytes(self.take(4)?.try_into().expect("4 bytes")))
    }

    /// A bfloat16 value, least significant byte first.
    pub fn bf16(&mut self) -> Result<f32> {
        Ok(half::bf16::from_le_bytes(self.take(2)?.try_into().expect("2 bytes")).to_f32())
    }

    /// A variable-length integer: 7 bits a byte, least significant first, bit 7 set on all but the last byte; at most 5 bytes and
    /// the shortest form.
    pub fn varint(&mut self) -> Result<u32> {
        let start = self.at;
        let mut value = 0u32;
        for i in 0..5 {
            let byte = self.u8()?;
            let bits = u32::from(byte & 0x7F);
            if i == 4 && bits > 15 {
                break;
            }
            value |= bits << (7 * i);
            if byte & 0x80 == 0 {
                if byte == 0 && i > 0 {
                    break;
                }
                return Ok(value);
            }
        }
        Err(Error::corrupt(format!("a variable-length integer at byte {start} that is too long")))
    }

    /// Fails unless every byte was read.
    pub fn finish(self, what: &str) -> Result<()> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(Error::corrupt(format!("{what} of {} bytes, {} were expected", self.bytes.len(), self.at)))
        }
    }
}

/// Appends `value` in the form that [`Cursor::varint`] reads.
pub fn push_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn varints_round_trip_in_their_shortest_form_only() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, 1 << 21, 1 << 28, u32::MAX] {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, value);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(cursor.varint().unwrap(), value);
            cursor.finish("x").unwrap();
        }
        assert_eq!(Cursor::new(&[0xAC, 0x02]).varint().unwrap(), 300);
        for bad in [&[0x80, 0x00][..], &[0xFF, 0xFF, 0xFF, 0xFF, 0x10], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01]] {
            assert_eq!(Cursor::new(bad).varint().unwrap_err().kind(), ErrorKind::Corruption, "{bad:?}");
        }
        assert_eq!(Cursor::new(&[0x80]).varint().unwrap_err().kind(), ErrorKind::InsufficientData);
    }
}
