//! Units: header byte, length, payload, check (docs/bitstream.md §3).

use super::bytes::{Cursor, push_varint};
use crate::error::{Error, Result};
use crate::limits::{self, Limits};
use crc::{CRC_24_OPENPGP, Crc, Table};

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_24_OPENPGP);

/// The bit of the head that says that the unit ends its access unit.
const LAST: u8 = 1 << 4;

/// Bytes of the check at the end of a unit.
pub const CHECK: usize = 3;

/// Bytes that the payload of a parameter set may have: more than 256 layers with the longest names take. A damaged length shows
/// at once, and a reader does not wait for bytes that never come.
const MAX_PARAMETERS: u32 = 1 << 17;

/// What a unit holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitType {
    /// Sequence parameter set.
    Sequence,
    /// Picture parameter set: statistics.
    Picture,
    /// Coded frame that is a random access point.
    RandomAccessFrame,
    /// Coded frame that needs the one before it.
    PredictedFrame,
    /// Supplementary information or a later extension; a decoder passes over it.
    Supplementary,
    /// End of stream.
    End,
}

impl UnitType {
    fn code(self) -> u8 {
        match self {
            UnitType::Sequence => 1,
            UnitType::Picture => 2,
            UnitType::RandomAccessFrame => 3,
            UnitType::PredictedFrame => 4,
            UnitType::Supplementary => 5,
            UnitType::End => 6,
        }
    }

    /// Type of the unit that begins with `head`.
    pub fn of(head: u8) -> Option<Self> {
        Some(match head >> 5 {
            1 => UnitType::Sequence,
            2 => UnitType::Picture,
            3 => UnitType::RandomAccessFrame,
            4 => UnitType::PredictedFrame,
            5 => UnitType::Supplementary,
            6 => UnitType::End,
            _ => return None,
        })
    }

    /// Whether it is a frame, or a slice of one.
    pub fn is_frame(self) -> bool {
        matches!(self, UnitType::RandomAccessFrame | UnitType::PredictedFrame)
    }
}

/// First byte of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitHeader {
    /// What the unit holds.
    pub unit_type: UnitType,
    /// Whether it ends its access unit.
    pub last: bool,
    /// Four bits whose meaning depends on the type.
    pub nibble: u8,
}

impl UnitHeader {
    fn byte(self) -> u8 {
        self.unit_type.code() << 5 | if self.last { LAST } else { 0 } | self.nibble
    }

    fn from_byte(byte: u8) -> Result<Self> {
        let unit_type =
            UnitType::of(byte).ok_or_else(|| Error::corrupt(format!("unit type {}, legal are 1 to 6", byte >> 5)))?;
        Ok(Self { unit_type, last: byte & LAST != 0, nibble: byte & 15 })
    }
}

/// A unit whose check has passed.
#[derive(Debug, Clone, Copy)]
pub struct Unit<'a> {
    /// First byte.
    pub header: UnitHeader,
    /// What it holds.
    pub payload: &'a [u8],
    /// Bytes of the whole unit.
    pub len: usize,
}

impl<'a> Unit<'a> {
    /// Reads the unit at the start of `bytes`.
    ///
    /// # Errors
    /// `InsufficientData` when `bytes` end inside it ([`needed`] tells how many there must be); `Corruption`;
    /// `LimitExceeded` when it promises more bytes than an access unit may have.
    pub fn read(bytes: &'a [u8], limits: &Limits) -> Result<Self> {
        let mut cursor = Cursor::new(bytes);
        let header = UnitHeader::from_byte(cursor.u8()?)?;
        let length = cursor.varint()?;
        limits::check("number of bytes in a unit", u64::from(length), limits.max_access_unit)?;
        if length > MAX_PARAMETERS && matches!(header.unit_type, UnitType::Sequence | UnitType::Picture) {
            return Err(Error::corrupt(format!("a parameter set of {length} bytes, the longest has {MAX_PARAMETERS}")));
        }
        let payload = cursor.take(length as usize)?;
        let checked = cursor.position();
        let check = cursor.take(CHECK)?;
        let stored = u32::from(check[0]) << 16 | u32::from(check[1]) << 8 | u32::from(check[2]);
        let computed = CRC.checksum(&bytes[..checked]);
        if stored != computed {
            return Err(Error::corrupt(format!("a unit whose check is {stored:06x}, computed is {computed:06x}")));
        }
        Ok(Self { header, payload, len: cursor.position() })
    }
}

/// Bytes that the unit at the start of `bytes` needs in all, as far as these bytes tell.
pub fn needed(bytes: &[u8]) -> usize {
    let mut cursor = Cursor::new(bytes);
    match cursor.u8().and_then(|_| cursor.varint()) {
        Ok(length) => cursor.position() + length as usize + CHECK,
        Err(_) => bytes.len() + 1,
    }
}

/// Appends a unit.
pub fn write(out: &mut Vec<u8>, header: UnitHeader, payload: &[u8]) {
    let start = out.len();
    out.push(header.byte());
    push_varint(out, payload.len() as u32);
    out.extend_from_slice(payload);
    let check = CRC.checksum(&out[start..]);
    out.extend_from_slice(&check.to_be_bytes()[1..]);
}

/// Sets `last` in the whole unit `unit`.
pub fn end_access_unit(unit: &mut [u8]) {
    unit[0] |= LAST;
    let checked = unit.len() - CHECK;
    let check = CRC.checksum(&unit[..checked]);
    unit[checked..].copy_from_slice(&check.to_be_bytes()[1..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn the_worked_example_of_the_specification() {
        let header = UnitHeader { unit_type: UnitType::End, last: true, nibble: 0 };
        let mut bytes = Vec::new();
        write(&mut bytes, header, &[]);
        assert_eq!(bytes[..2], [0xD0, 0x00]);
        assert_eq!(bytes.len(), 5);
        let unit = Unit::read(&bytes, &Limits::default()).unwrap();
        assert_eq!((unit.header, unit.payload.len(), unit.len), (header, 0, 5));
    }

    #[test]
    fn the_check_is_crc_24_of_openpgp() {
        assert_eq!(CRC.checksum(b"123456789"), 0x21_CF02);
    }

    #[test]
    fn a_flipped_bit_is_found_and_a_cut_is_insufficient_data() {
        let mut good = Vec::new();
        write(&mut good, UnitHeader { unit_type: UnitType::Picture, last: false, nibble: 1 }, &[1, 2, 3, 4]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Unit::read(&bad, &Limits::default()).is_err(), "bit {bit}");
        }
        for cut in 0..good.len() {
            let error = Unit::read(&good[..cut], &Limits::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InsufficientData, "cut at {cut}");
            assert!(needed(&good[..cut]) > cut);
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_at_once() {
        let limits = Limits { max_access_unit: 1000, ..Limits::default() };
        let error = Unit::read(&[0x60, 0xE9, 0x07], &limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        assert_eq!(error.to_string(), "number of bytes in a unit is 1001, the limit is 1000");
    }
}
