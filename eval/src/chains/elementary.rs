//! Whole streams of coded video cut into pictures.

use super::coder::Unit;
use anyhow::{Context, Result, bail, ensure};

/// Cuts an IVF file with AV1 into its temporal units.
///
/// # Errors
/// When it is none.
pub fn ivf(file: &[u8]) -> Result<Vec<Unit<'_>>> {
    const FRAME_HEAD: usize = 12;
    let head = file.first_chunk::<8>().filter(|h| h.starts_with(b"DKIF")).context("no IVF file")?;
    let head_bytes = usize::from(u16::from_le_bytes([head[6], head[7]]));
    let mut rest = file.get(head_bytes..).with_context(|| format!("an IVF file with a head of {head_bytes} bytes"))?;
    let mut units = Vec::new();
    while !rest.is_empty() {
        let size = rest.first_chunk::<4>().map_or(usize::MAX, |&s| u32::from_le_bytes(s) as usize);
        let data = rest.get(FRAME_HEAD..).and_then(|after| after.get(..size));
        let data = data.with_context(|| format!("frame {} of an IVF file is not whole", units.len()))?;
        units.push(Unit { data, random_access: has_sequence_header(data)? });
        rest = &rest[FRAME_HEAD + size..];
    }
    Ok(units)
}

/// Whether a temporal unit of AV1 has a sequence header: encoders send it where a decoder can start.
fn has_sequence_header(mut unit: &[u8]) -> Result<bool> {
    const SEQUENCE_HEADER: u8 = 1;
    while let Some((&head, mut rest)) = unit.split_first() {
        let (kind, extension, has_size) = (head >> 3 & 15, head & 4 != 0, head & 2 != 0);
        if kind == SEQUENCE_HEADER {
            return Ok(true);
        }
        ensure!(has_size, "an OBU of type {kind} without its size");
        if extension {
            rest = rest.get(1..).context("an OBU is cut off")?;
        }
        let (size, after) = leb128(rest)?;
        unit = after.get(size..).with_context(|| format!("an OBU of type {kind} and {size} bytes is cut off"))?;
    }
    Ok(false)
}

/// A number of AV1 and what comes after it.
fn leb128(bytes: &[u8]) -> Result<(usize, &[u8])> {
    let mut value = 0u64;
    for (n, &byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 127) << (7 * n);
        if byte < 128 {
            return Ok((usize::try_from(value)?, &bytes[n + 1..]));
        }
    }
    bail!("a size of an OBU does not end")
}

/// Cuts a byte stream of VVC into access units (of one layer, a picture each).
///
/// # Errors
/// When it is none.
pub fn vvc(stream: &[u8]) -> Result<Vec<Unit<'_>>> {
    let starts = nal_units(stream);
    ensure!(starts.first() == Some(&0), "a byte stream of VVC does not begin with a start code");
    let mut units = Vec::new();
    let mut begin = 0;
    // Of the access unit that began there: whether it has slices, and whether a decoder can start at it.
    let (mut slices, mut random_access) = (false, false);
    for &start in &starts {
        let nal = Nal::parse(&stream[start..])?;
        if slices && nal.begins_access_unit() {
            units.push(Unit { data: &stream[begin..start], random_access });
            (begin, slices, random_access) = (start, false, false);
        }
        slices |= nal.is_slice();
        random_access |= nal.is_random_access();
    }
    ensure!(slices, "a byte stream of VVC ends without a picture");
    units.push(Unit { data: &stream[begin..], random_access });
    Ok(units)
}

/// Where NAL units begin, with the zero byte that may precede their start codes.
fn nal_units(stream: &[u8]) -> Vec<usize> {
    let codes = stream.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]);
    codes.map(|(at, _)| if at > 0 && stream[at - 1] == 0 { at - 1 } else { at }).collect()
}

/// What of a NAL unit says how it belongs to access units (H.266, 7.4.2.4.3 and .4).
struct Nal {
    kind: u8,
    /// Of a slice: whether the picture header is in it, so that it is the only one of its picture.
    whole_picture: bool,
}

impl Nal {
    fn parse(unit: &[u8]) -> Result<Self> {
        let zeros = unit.iter().position(|&b| b != 0).context("a NAL unit without a start code")?;
        let [_, kind, payload @ ..] = &unit[zeros + 1..] else { bail!("a NAL unit of less than 2 bytes") };
        Ok(Self { kind: kind >> 3, whole_picture: payload.first().is_some_and(|b| b & 128 != 0) })
    }

    fn is_slice(&self) -> bool {
        self.kind <= 11
    }

    /// Two kinds of IDR, and CRA.
    fn is_random_access(&self) -> bool {
        (7..=9).contains(&self.kind)
    }

    /// Whether it is the first of an access unit if slices came before it: parameter sets, what precedes slices, or a slice that
    /// needs no picture header before it.
    fn begins_access_unit(&self) -> bool {
        match self.kind {
            0..=11 => self.whole_picture,
            // OPI, DCI, VPS, SPS, PPS, prefix APS; picture header; delimiter; prefix SEI; reserved and free ones of that place.
            12..=17 | 19 | 20 | 23 | 26 | 28 | 29 => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes, and whether a decoder can start.
    fn shape(units: Result<Vec<Unit<'_>>>) -> Vec<(usize, bool)> {
        units.unwrap().iter().map(|u| (u.data.len(), u.random_access)).collect()
    }

    fn refusal(units: Result<Vec<Unit<'_>>>) -> String {
        units.err().unwrap().to_string()
    }

    /// Delimiter, sequence header and frame; delimiter and frame with an extension and a size of two bytes.
    fn ivf_file() -> Vec<u8> {
        let mut file = b"DKIF\0\0\x20\0AV01\x40\0\x40\0".to_vec();
        file.resize(32, 0);
        file.extend([8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0, 0x0A, 1, 9, 0x32, 1, 7]);
        file.extend([8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x12, 0, 0x36, 0, 0x82, 0, 0x0A, 0x0A]);
        file
    }

    #[test]
    fn ivf_frames_are_units_and_those_with_a_sequence_header_random_access() {
        let file = ivf_file();
        assert_eq!(shape(ivf(&file)), [(8, true), (8, false)]);
        assert_eq!(ivf(&file).unwrap()[1].data, &file[64..]);
        assert!(ivf(&file[..32]).unwrap().is_empty());
    }

    #[test]
    fn ivf_files_that_are_cut_off_are_refused() {
        let file = ivf_file();
        assert_eq!(refusal(ivf(b"RIFF0000")), "no IVF file");
        assert_eq!(refusal(ivf(&file[..20])), "an IVF file with a head of 32 bytes");
        assert_eq!(refusal(ivf(&file[..file.len() - 1])), "frame 1 of an IVF file is not whole");
        assert_eq!(refusal(ivf(&file[..40])), "frame 0 of an IVF file is not whole");
        let with = |at: usize, byte: u8| {
            let mut file = ivf_file();
            file[at] = byte;
            refusal(ivf(&file))
        };
        assert_eq!(with(68, 0x83), "an OBU of type 6 and 3 bytes is cut off");
        assert_eq!(with(66, 0x34), "an OBU of type 6 without its size");
    }

    const PARAMETERS: [u8; 7] = [0, 0, 0, 1, 0, 15 << 3 | 1, 0xAA];
    const IDR: [u8; 6] = [0, 0, 1, 0, 8 << 3 | 1, 0x80];
    const TRAIL: [u8; 8] = [0, 0, 0, 1, 0, 1, 0xC0, 3];
    const PICTURE_HEADER: [u8; 6] = [0, 0, 1, 0, 19 << 3 | 1, 3];
    const SLICE: [u8; 6] = [0, 0, 1, 0, 1, 0x40];
    const PREFIX: [u8; 6] = [0, 0, 1, 0, 17 << 3 | 1, 1];
    const SUFFIX: [u8; 6] = [0, 0, 1, 0, 24 << 3 | 1, 1];

    #[test]
    fn vvc_slices_with_a_picture_header_in_them_are_a_picture_each() {
        let stream = [&PARAMETERS[..], &IDR, &TRAIL, &TRAIL, &PARAMETERS, &IDR].concat();
        assert_eq!(shape(vvc(&stream)), [(13, true), (8, false), (8, false), (13, true)]);
        assert_eq!(vvc(&stream).unwrap()[1].data, TRAIL);
    }

    #[test]
    fn vvc_pictures_of_several_slices_begin_with_their_header() {
        let stream = [&PICTURE_HEADER[..], &SLICE, &SLICE, &PICTURE_HEADER, &SLICE].concat();
        assert_eq!(shape(vvc(&stream)), [(18, false), (12, false)]);
    }

    #[test]
    fn vvc_prefixes_go_with_the_next_picture_and_suffixes_with_the_last() {
        let stream = [&IDR[..], &SUFFIX, &PREFIX, &TRAIL, &SUFFIX].concat();
        assert_eq!(shape(vvc(&stream)), [(12, true), (20, false)]);
    }

    #[test]
    fn what_is_no_byte_stream_of_vvc_is_refused() {
        let begin = "a byte stream of VVC does not begin with a start code";
        assert_eq!(refusal(vvc(&[])), begin);
        assert_eq!(refusal(vvc(&[7, 0, 0, 1, 0, 1, 0x80])), begin);
        assert_eq!(refusal(vvc(&IDR[..4])), "a NAL unit of less than 2 bytes");
        assert_eq!(refusal(vvc(&PARAMETERS)), "a byte stream of VVC ends without a picture");
        assert_eq!(refusal(vvc(&[&IDR[..], &PREFIX].concat())), "a byte stream of VVC ends without a picture");
    }
}
