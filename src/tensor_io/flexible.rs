//! `format=flexible`: every tensor has NNStreamer's 128-byte header before it (docs/caps.md, "Flexible tensors").
//!
//! | bytes | field |
//! |---|---|
//! | 0–3 | magic `0xfeedcced` |
//! | 4–7 | version `0xde000000 \| major << 12 \| minor` |
//! | 8–11 | type |
//! | 12–75 | 16 dimensions, innermost first, 0 ends them |
//! | 76–79 | format: 0 static, 1 flexible, 2 sparse |
//! | 80–83 | media type, 4 = tensor |
//! | 84–87 | number of values stored (sparse only) |
//! | 88–127 | 0 |
//!
//! All numbers are `u32` in the machine's byte order.

use super::dimensions::{Dimensions, MAX_RANK};
use fcm_codec::{Dtype, Error, ErrorKind, Result};

/// Bytes of the header.
pub const HEADER_SIZE: usize = 128;

const MAGIC: u32 = 0xfeed_cced;
const VERSION_MARK: u32 = 0xde00_0000;
const MAJOR: u32 = 1;
const FORMAT_FLEXIBLE: u32 = 1;
const MEDIA_TENSOR: u32 = 4;
const LAST_MEDIA: u32 = 4;
/// Names of the types by their number.
const TYPES: [&str; 11] =
    ["int32", "uint32", "int16", "uint16", "int8", "uint8", "float64", "float32", "int64", "uint64", "float16"];
const TYPE_F32: u32 = 7;
const TYPE_F16: u32 = 10;

/// The header of one flexible tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Dimensions of the tensor.
    pub dimensions: Dimensions,
    /// Type of its values.
    pub dtype: Dtype,
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

impl Header {
    /// Reads and checks the header at the start of `bytes`.
    ///
    /// # Errors
    /// `InvalidInput` with the offending field.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let Some(header) = bytes.get(..HEADER_SIZE) else {
            return Err(invalid(format!(
                "a flexible tensor begins with a header of {HEADER_SIZE} bytes, {} are there",
                bytes.len()
            )));
        };
        let mut words = [0u32; HEADER_SIZE / 4];
        for (word, bytes) in words.iter_mut().zip(header.chunks_exact(4)) {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        if words[0] != MAGIC {
            return Err(invalid(format!("a flexible tensor begins with {:#010x}, not with {MAGIC:#010x}", words[0])));
        }
        if words[1] & 0xff00_0000 != VERSION_MARK || (words[1] >> 12) & 0xfff != MAJOR {
            return Err(invalid(format!(
                "flexible tensor header of version {:#010x}, known is major {MAJOR}",
                words[1]
            )));
        }
        let dtype = match words[2] {
            TYPE_F32 => Dtype::F32,
            TYPE_F16 => Dtype::F16,
            other => {
                let name = TYPES.get(other as usize).copied().unwrap_or("unknown");
                return Err(invalid(format!(
                    "flexible tensor of type {name} ({other}), legal are float16 ({TYPE_F16}) and float32 ({TYPE_F32})"
                )));
            }
        };
        let dimensions = Dimensions::new(&words[3..3 + MAX_RANK])?;
        // Some producers leave the format of a dense tensor at 0.
        if words[19] > FORMAT_FLEXIBLE {
            return Err(invalid(format!("flexible tensor header with format {}, legal are 0 and 1", words[19])));
        }
        if words[20] > LAST_MEDIA {
            return Err(invalid(format!(
                "flexible tensor header with media type {}, 0 to {LAST_MEDIA} are known",
                words[20]
            )));
        }
        Ok(Self { dimensions, dtype })
    }

    /// Writes the header.
    pub fn write(&self, out: &mut [u8; HEADER_SIZE]) {
        let mut words = [0u32; HEADER_SIZE / 4];
        words[0] = MAGIC;
        words[1] = VERSION_MARK | (MAJOR << 12);
        words[2] = match self.dtype {
            Dtype::F32 => TYPE_F32,
            Dtype::F16 => TYPE_F16,
        };
        // Four dimensions at least, as NNStreamer up to 2.2 wrote them.
        let rank = self.dimensions.rank().max(4);
        words[3..3 + rank].copy_from_slice(&self.dimensions.as_array()[..rank]);
        words[19] = FORMAT_FLEXIBLE;
        words[20] = MEDIA_TENSOR;
        for (bytes, word) in out.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
    }

    /// Bytes of the values behind the header.
    ///
    /// # Errors
    /// `InvalidInput` when they could not be addressed.
    pub fn payload(&self) -> Result<usize> {
        self.dimensions
            .as_array()
            .iter()
            .try_fold(self.dtype.size(), |size, &d| size.checked_mul(d as usize))
            .filter(|&size| size <= isize::MAX as usize)
            .ok_or_else(|| invalid(format!("a flexible tensor of {} has too many values to address", self.dimensions)))
    }
}

/// A tensor found in a memory: its header and where its values begin and end.
pub type Found = (Header, std::ops::Range<usize>);

/// Finds all tensors of one memory (or of several that a transport merged).
///
/// # Errors
/// `InvalidInput` as [`Header::parse`], when values are missing, and for more than `most` tensors.
pub fn walk(bytes: &[u8], most: usize) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if found.len() == most {
            return Err(invalid(format!("more than {most} flexible tensors in a buffer")));
        }
        let header = Header::parse(&bytes[at..])?;
        let start = at + HEADER_SIZE;
        let payload = header.payload()?;
        if bytes.len() - start < payload {
            return Err(invalid(format!(
                "flexible tensor of {} needs {payload} bytes, {} follow its header",
                header.dimensions,
                bytes.len() - start
            )));
        }
        at = start + payload;
        found.push((header, start..at));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Header of a float32 tensor 3:2, made by hand.
    fn hand_made() -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [0xfeed_ccedu32, 0xde00_1000, 7, 3, 2] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.resize(76, 0);
        for word in [1u32, 4] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.resize(128, 0);
        bytes
    }

    fn with(word: usize, value: u32) -> Vec<u8> {
        let mut bytes = hand_made();
        bytes[4 * word..4 * word + 4].copy_from_slice(&value.to_ne_bytes());
        bytes
    }

    fn error(bytes: &[u8]) -> String {
        Header::parse(bytes).unwrap_err().to_string()
    }

    #[test]
    fn hand_made_header_is_read() {
        let header = Header::parse(&hand_made()).unwrap();
        assert_eq!(header, Header { dimensions: "3:2".parse().unwrap(), dtype: Dtype::F32 });
        assert_eq!(header.payload().unwrap(), 24);
    }

    #[test]
    fn written_header_has_the_documented_bytes() {
        let mut out = [0xaa; HEADER_SIZE];
        Header { dimensions: "3:2:1:1".parse().unwrap(), dtype: Dtype::F32 }.write(&mut out);
        let mut expected = hand_made();
        expected[20..28].copy_from_slice(&[1u32.to_ne_bytes(), 1u32.to_ne_bytes()].concat());
        assert_eq!(out.as_slice(), expected.as_slice());
        let half = Header { dimensions: "8".parse().unwrap(), dtype: Dtype::F16 };
        half.write(&mut out);
        assert_eq!(Header::parse(&out).unwrap(), half);
        assert_eq!(half.payload().unwrap(), 16);
    }

    #[test]
    fn every_illegal_field_is_refused_by_name() {
        assert!(error(&hand_made()[..127]).contains("header of 128 bytes, 127 are there"));
        assert!(error(&with(0, 0xfeed_ccee)).contains("begins with 0xfeedccee"));
        assert!(error(&with(1, 0xde00_2000)).contains("version 0xde002000"));
        assert!(error(&with(1, 0x0000_1000)).contains("version 0x00001000"));
        assert!(error(&with(2, 5)).contains("type uint8 (5)"));
        assert!(error(&with(2, 11)).contains("type unknown (11)"));
        assert!(error(&with(3, 0)).contains("begin with 0"));
        assert!(error(&with(6, 9)).contains("after dimension 3 of 0"));
        assert!(error(&with(19, 2)).contains("format 2"));
        assert!(error(&with(20, 5)).contains("media type 5"));
    }

    #[test]
    fn absurd_dimensions_do_not_overflow() {
        let mut bytes = hand_made();
        for word in 3..19 {
            bytes[4 * word..4 * word + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
        }
        assert!(Header::parse(&bytes).unwrap().payload().unwrap_err().to_string().contains("too many values"));
    }

    #[test]
    fn merged_tensors_are_found_and_cut_ones_refused() {
        let mut bytes = hand_made();
        bytes.resize(128 + 24, 1);
        let one = bytes.clone();
        bytes.extend_from_slice(&one);
        let found = walk(&bytes, 2).unwrap();
        assert_eq!(found.iter().map(|f| f.1.clone()).collect::<Vec<_>>(), [128..152, 280..304]);
        assert!(walk(&bytes, 1).unwrap_err().to_string().contains("more than 1 flexible"));
        let cut = walk(&bytes[..303], 2).unwrap_err().to_string();
        assert!(cut.contains("needs 24 bytes, 23 follow"), "{cut}");
        assert!(walk(&bytes[..200], 2).is_err());
        assert!(walk(&[], 2).unwrap().is_empty());
    }
}
