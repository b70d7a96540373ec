//! Units as docs/bitstream.md §3 has them, read and written without the codec: to take real streams apart, to damage
//! them, and to give damaged units a right check.
#![allow(dead_code, reason = "each test file uses its part")]

/// The resync marker of a byte stream.
pub const MARKER: [u8; 4] = [0xFC, 0x46, 0x43, 0x4D];
/// Unit types.
pub const SEQUENCE: u8 = 1;
pub const PICTURE: u8 = 2;
pub const RANDOM_ACCESS: u8 = 3;
pub const PREDICTED: u8 = 4;
pub const SUPPLEMENTARY: u8 = 5;

/// CRC-24 of OpenPGP, bit by bit.
pub fn crc24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xB7_04CE, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 16, |crc, _| {
            let shifted = crc << 1;
            if shifted & 0x100_0000 != 0 { (shifted ^ 0x86_4CFB) & 0xFF_FFFF } else { shifted }
        })
    })
}

/// A unit: its first byte (type, last, nibble) and its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawUnit {
    pub head: u8,
    pub payload: Vec<u8>,
}

impl RawUnit {
    pub fn new(unit_type: u8, last: bool, nibble: u8, payload: &[u8]) -> Self {
        Self { head: unit_type << 5 | u8::from(last) << 4 | nibble, payload: payload.to_vec() }
    }

    pub fn unit_type(&self) -> u8 {
        self.head >> 5
    }

    /// The unit's bytes with the right length and check.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(self.head);
        let mut length = self.payload.len();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(&self.payload);
        let check = crc24(&out[start..]);
        out.extend_from_slice(&check.to_be_bytes()[1..]);
    }
}

/// Takes a sound access unit apart: whether it has a marker, and its units.
pub fn split(access_unit: &[u8]) -> (bool, Vec<RawUnit>) {
    let marked = access_unit.starts_with(&MARKER);
    let mut rest = if marked { &access_unit[4..] } else { access_unit };
    let mut units = Vec::new();
    while !rest.is_empty() {
        let (mut length, mut at) = (0usize, 1);
        loop {
            length |= usize::from(rest[at] & 0x7F) << (7 * (at - 1));
            at += 1;
            if rest[at - 1] & 0x80 == 0 {
                break;
            }
        }
        let end = at + length;
        assert_eq!(crc24(&rest[..end]).to_be_bytes()[1..], rest[end..end + 3], "the check of a unit");
        units.push(RawUnit { head: rest[0], payload: rest[at..end].to_vec() });
        rest = &rest[end + 3..];
    }
    (marked, units)
}

/// The opposite of [`split`].
pub fn join(marked: bool, units: &[RawUnit]) -> Vec<u8> {
    let mut out = if marked { MARKER.to_vec() } else { Vec::new() };
    units.iter().for_each(|u| u.write(&mut out));
    out
}
