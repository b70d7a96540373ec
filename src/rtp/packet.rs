//! Payloads of RTP packets: the header byte, and which bytes of an access unit go into which packet (docs/rtp.md §4).

use super::parameter_sets::{CHECK, Check};
use fcm_codec::bitstream::UnitType;
use fcm_codec::bitstream::stream::UnitSpan;
use fcm_codec::{Error, ErrorKind, FrameKind, Result};
use std::ops::Range;

const EXTENSION: u8 = 0x80;
pub(super) const START: u8 = 0x40;
const RANDOM_ACCESS: u8 = 0x20;
const OMITTED: u8 = 0x10;
const PRIORITY_SHIFT: u8 = 2;

/// What of a unit is in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// One or more whole units.
    Whole,
    /// The first fragment of a unit.
    First,
    /// A fragment that neither begins nor ends its unit.
    Middle,
    /// The last fragment of a unit.
    Last,
}

impl Cut {
    fn code(self) -> u8 {
        match self {
            Cut::Whole => 0,
            Cut::First => 1,
            Cut::Middle => 2,
            Cut::Last => 3,
        }
    }

    fn of(bits: u8) -> Self {
        match bits & 3 {
            0 => Cut::Whole,
            1 => Cut::First,
            2 => Cut::Middle,
            _ => Cut::Last,
        }
    }
}

/// What a payload begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The packet is the first of its access unit.
    pub starts: bool,
    /// The packet belongs to a random access unit.
    pub random_access: bool,
    /// Check of the sequence parameter set that was left out of the access unit; only in its first packet.
    pub omitted: Option<Check>,
    /// 0: the access unit is nothing without it; 1 to 3: what may be dropped, the highest first.
    pub priority: u8,
    /// What of its unit the packet holds.
    pub cut: Cut,
}

impl Header {
    /// Bytes of it.
    pub fn size(&self) -> usize {
        1 + self.omitted.map_or(0, |check| check.len())
    }

    /// Reads the header of `payload`; returns it with the bytes of units behind it.
    ///
    /// # Errors
    /// `Corruption` for an extension bit, for a header that contradicts itself, and for a payload without bytes of units.
    pub fn parse(payload: &[u8]) -> Result<(Self, &[u8])> {
        let Some((&byte, rest)) = payload.split_first() else { return Err(corrupt("an empty payload".into())) };
        if byte & EXTENSION != 0 {
            return Err(corrupt(format!("a payload header {byte:#04x} of a later version")));
        }
        let (starts, random_access) = (byte & START != 0, byte & RANDOM_ACCESS != 0);
        let cut = Cut::of(byte);
        let (omitted, body) = if byte & OMITTED == 0 {
            (None, rest)
        } else if starts && random_access {
            let (check, body) =
                rest.split_first_chunk::<CHECK>().ok_or_else(|| corrupt("a payload that ends in its header".into()))?;
            (Some(*check), body)
        } else {
            return Err(corrupt(format!("a payload header {byte:#04x} that omits what is not there")));
        };
        if starts && matches!(cut, Cut::Middle | Cut::Last) {
            return Err(corrupt(format!("a payload header {byte:#04x} that starts in the middle of a unit")));
        }
        if body.is_empty() {
            return Err(corrupt(format!("a payload of {} bytes, all of them header", payload.len())));
        }
        Ok((Self { starts, random_access, omitted, priority: byte >> PRIORITY_SHIFT & 3, cut }, body))
    }

    /// Writes it to the start of `out`, which must have room for [`Self::size`] bytes.
    pub fn write(&self, out: &mut [u8]) {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        out[0] = flag(self.starts, START)
            | flag(self.random_access, RANDOM_ACCESS)
            | flag(self.omitted.is_some(), OMITTED)
            | (self.priority & 3) << PRIORITY_SHIFT
            | self.cut.code();
        if let Some(check) = self.omitted {
            out[1..=CHECK].copy_from_slice(&check);
        }
    }
}

/// One packet of an access unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// What its payload begins with.
    pub header: Header,
    /// The bytes of the access unit behind that.
    pub body: Range<usize>,
}

/// Least bytes of payload that a packet must be able to carry.
pub const LEAST_PAYLOAD: usize = 1 + CHECK + 1;

/// Largest priority of a packet: the first to be dropped.
const PRIORITY_MAX: u8 = 3;

/// Cuts an access unit of these units into packets whose payloads have at most `capacity` bytes: small units share a packet, one that
/// is too large for a packet is cut into fragments of equal size. Every slice but the first begins a packet, and has a priority of its
/// own. `omit` leaves the sequence parameter set with this check out.
/// `packets` is cleared first; the last one gets the marker bit.
///
/// # Errors
/// `InvalidConfig` if `capacity` is below [`LEAST_PAYLOAD`].
pub fn cut(
    units: &[UnitSpan],
    kind: FrameKind,
    capacity: usize,
    omit: Option<Check>,
    packets: &mut Vec<Packet>,
) -> Result<()> {
    packets.clear();
    if capacity < LEAST_PAYLOAD {
        let message = format!("{capacity} bytes of payload a packet, at least {LEAST_PAYLOAD} are needed");
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    let header = |packets: &[Packet], priority, cut| Header {
        starts: packets.is_empty(),
        random_access: kind == FrameKind::RandomAccess,
        omitted: omit.filter(|_| packets.is_empty()),
        priority,
        cut,
    };
    let sent = units.iter().filter(|unit| omit.is_none() || unit.unit_type != UnitType::Sequence);
    let mut slices = 0u8;
    for UnitSpan { range, unit_type } in sent {
        let slice = matches!(unit_type, UnitType::RandomAccessFrame | UnitType::PredictedFrame);
        let priority = if slice { slices.min(PRIORITY_MAX) } else { 0 };
        slices = slices.saturating_add(u8::from(slice));
        if let Some(Packet { header: Header { cut: Cut::Whole, .. }, body }) = packets.last_mut()
            && body.end == range.start
            && priority == 0
        {
            let header = if packets.len() == 1 { 1 + omit.map_or(0, |check| check.len()) } else { 1 };
            let body = &mut packets.last_mut().expect("just seen").body;
            if header + (range.end - body.start) <= capacity {
                body.end = range.end;
                continue;
            }
        }
        let whole = header(packets, priority, Cut::Whole);
        if whole.size() + range.len() <= capacity {
            packets.push(Packet { header: whole, body: range.clone() });
            continue;
        }
        // Of equal size, because a forward error correction packet is as long as the longest that it protects.
        let room = capacity - whole.size();
        let size = range.len().div_ceil(range.len().div_ceil(room));
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at + size);
            let cut = match (at == range.start, end == range.end) {
                (true, _) => Cut::First,
                (false, false) => Cut::Middle,
                (false, true) => Cut::Last,
            };
            packets.push(Packet { header: header(packets, priority, cut), body: at..end });
            at = end;
        }
    }
    Ok(())
}

pub(super) fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corruption, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcm_codec::Limits;
    use fcm_codec::bitstream::stream;

    fn spans(sizes: &[(UnitType, usize)]) -> Vec<UnitSpan> {
        let mut at = 0;
        sizes
            .iter()
            .map(|&(unit_type, size)| {
                at += size;
                UnitSpan { unit_type, range: at - size..at }
            })
            .collect()
    }

    fn packets(sizes: &[(UnitType, usize)], kind: FrameKind, capacity: usize, omit: Option<Check>) -> Vec<Packet> {
        let mut packets = Vec::new();
        cut(&spans(sizes), kind, capacity, omit, &mut packets).unwrap();
        packets
    }

    const RANDOM: [(UnitType, usize); 3] =
        [(UnitType::Sequence, 60), (UnitType::Picture, 40), (UnitType::RandomAccessFrame, 3000)];

    #[test]
    fn a_small_access_unit_is_one_packet_of_one_byte_more() {
        let made = packets(&[(UnitType::PredictedFrame, 500)], FrameKind::Predicted, 1188, None);
        let header = Header { starts: true, random_access: false, omitted: None, priority: 0, cut: Cut::Whole };
        assert_eq!(made, [Packet { header, body: 0..500 }]);
        assert_eq!(header.size(), 1);
    }

    #[test]
    fn small_units_share_a_packet_and_a_large_one_is_cut_evenly() {
        let made = packets(&RANDOM, FrameKind::RandomAccess, 1188, None);
        let bodies: Vec<_> = made.iter().map(|p| (p.header.cut, p.body.clone())).collect();
        let wanted =
            [(Cut::Whole, 0..100), (Cut::First, 100..1100), (Cut::Middle, 1100..2100), (Cut::Last, 2100..3100)];
        assert_eq!(bodies, wanted);
        assert_eq!(made.iter().map(|p| p.header.starts).collect::<Vec<_>>(), [true, false, false, false]);
        assert!(made.iter().all(|p| p.header.random_access));
    }

    #[test]
    fn every_slice_begins_a_packet_and_weaker_ones_may_be_dropped_first() {
        use UnitType::{Picture, PredictedFrame};
        let slices = [
            (Picture, 40),
            (PredictedFrame, 900),
            (PredictedFrame, 1500),
            (PredictedFrame, 60),
            (PredictedFrame, 60),
            (PredictedFrame, 60),
        ];
        let made = packets(&slices, FrameKind::Predicted, 1188, None);
        let found: Vec<_> = made.iter().map(|p| (p.header.priority, p.header.cut, p.body.clone())).collect();
        let wanted = [
            (0, Cut::Whole, 0..940),
            (1, Cut::First, 940..1690),
            (1, Cut::Last, 1690..2440),
            (2, Cut::Whole, 2440..2500),
            (3, Cut::Whole, 2500..2560),
            (3, Cut::Whole, 2560..2620),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn an_omitted_parameter_set_leaves_its_check() {
        let made = packets(&RANDOM, FrameKind::RandomAccess, 1188, Some([1, 2, 3]));
        assert_eq!((made[0].header.omitted, made[0].body.clone()), (Some([1, 2, 3]), 60..100));
        assert!(made[1..].iter().all(|p| p.header.omitted.is_none()));
    }

    #[test]
    fn no_payload_is_longer_than_it_may_be_and_together_they_are_the_access_unit() {
        for capacity in LEAST_PAYLOAD..300 {
            for frame in [1, 2, 5, 100, 298, 299, 300, 301, 1000] {
                for omit in [None, Some([1, 2, 3])] {
                    let sizes =
                        [(UnitType::Sequence, 60), (UnitType::Picture, 40), (UnitType::RandomAccessFrame, frame)];
                    let made = packets(&sizes, FrameKind::RandomAccess, capacity, omit);
                    let longest = made.iter().map(|p| p.header.size() + p.body.len()).max().unwrap();
                    assert!(longest <= capacity, "{longest} of {capacity}");
                    let mut at = if omit.is_some() { 60 } else { 0 };
                    for packet in &made {
                        assert_eq!(packet.body.start, at);
                        assert!(!packet.body.is_empty());
                        at = packet.body.end;
                    }
                    assert_eq!(at, 100 + frame);
                }
            }
        }
    }

    #[test]
    fn headers_are_read_back() {
        for starts in [false, true] {
            for random_access in [false, true] {
                for priority in 0..4 {
                    for cut in [Cut::Whole, Cut::First, Cut::Middle, Cut::Last] {
                        for omitted in [None, Some([7, 8, 9])] {
                            let header = Header { starts, random_access, omitted, priority, cut };
                            let legal = (omitted.is_none() || (starts && random_access))
                                && !(starts && matches!(cut, Cut::Middle | Cut::Last));
                            let mut bytes = vec![0; header.size()];
                            header.write(&mut bytes);
                            bytes.push(42);
                            match Header::parse(&bytes) {
                                Ok(read) => assert_eq!((legal, read), (true, (header, &[42][..]))),
                                Err(error) => assert!(!legal, "{header:?}: {error}"),
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn headers_of_later_versions_and_without_content_are_refused() {
        for payload in
            [&[][..], &[0x80, 1, 2], &[0xC0, 1, 2], &[0x40], &[0x70, 1, 2], &[0x70, 1, 2, 3], &[0x10, 1, 2, 3, 4]]
        {
            assert_eq!(Header::parse(payload).unwrap_err().kind(), ErrorKind::Corruption, "{payload:?}");
        }
    }

    #[test]
    fn too_small_packets_are_refused_with_both_numbers() {
        let error = cut(&spans(&RANDOM), FrameKind::RandomAccess, 4, None, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "4 bytes of payload a packet, at least 5 are needed");
    }

    /// The bytes of docs/bitstream.md §10 in the packets of docs/rtp.md §4.4.
    #[test]
    fn the_worked_example_of_the_specification() {
        let bytes = |hex: &str| -> Vec<u8> {
            hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
        };
        let set = "20 13 03 00 02 01 01 01 02 02 06 6c 61 79 65 72 30 01 19 01 00 43 cc 7b";
        let first =
            "40 10 00 00 20 40 bd 1b 8f 3f 00 00 20 40 bd 1b 8f 3f 12 d9 51 70 07 0c 00 68 34 15 98 cf 05 c0 42";
        let second = "40 10 00 00 28 40 5a 81 a5 3f 00 00 28 40 5a 81 a5 3f 8f ee 97 91 04 0c 00 bc 80 43 82 68";
        let payloads = |unit: &[u8], capacity: usize| -> Vec<Vec<u8>> {
            let (mut units, mut packets) = (Vec::new(), Vec::new());
            let (kind, _) = stream::split(unit, &Limits::default(), &mut units).unwrap();
            cut(&units, kind, capacity, None, &mut packets).unwrap();
            let payload = |packet: &Packet| {
                let mut payload = vec![0; packet.header.size()];
                packet.header.write(&mut payload);
                payload.extend_from_slice(&unit[packet.body.clone()]);
                payload
            };
            packets.iter().map(payload).collect()
        };
        let (set, first, second) = (bytes(set), bytes(first), bytes(second));
        let random_access = [&set[..], &first].concat();
        assert_eq!(payloads(&random_access, 40), [[&[0x60], &set[..]].concat(), [&[0x20], &first[..]].concat()]);
        assert_eq!(payloads(&second, 40), [[&[0x40], &second[..]].concat()]);
        let cut = [
            [&[0x61], &set[..12]].concat(),
            [&[0x23], &set[12..]].concat(),
            [&[0x21], &first[..11]].concat(),
            [&[0x23], &first[11..21]].concat(),
            [&[0x20], &first[21..]].concat(),
        ];
        assert_eq!(payloads(&random_access, 20), cut);
    }
}
