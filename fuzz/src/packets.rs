//! What the receiver of RTP packets promises (src/rtp of the plugin, which needs no GStreamer and is included here as it is).

use super::limits;
use super::rtp::assembly::{Assembled, Assembler, Received};
use super::rtp::packet;
use super::rtp::parameter_sets::check_of;
use super::source::Source;
use fcm_codec::bitstream::stream;
use fcm_codec::{Encoder, FrameKind, FrameRequest, StreamFormat};

/// One packet on its way.
struct Sent {
    /// Number of its access unit.
    unit: usize,
    payload: Vec<u8>,
    timestamp: u32,
    marker: bool,
}

/// An even first byte: any packets. An odd one: those of a real stream, of which some get lost, and some are damaged.
pub fn packets(data: &[u8]) {
    match data.split_first() {
        Some((&mode, rest)) if mode & 1 == 0 => wild(rest),
        Some((_, rest)) => real(rest),
        None => {}
    }
}

/// Whatever comes out, slices that are left of one too, is a whole access unit that passes its checks, within the limits, of the kind that it is said to be.
fn check(unit: &Assembled) {
    let mut spans = Vec::new();
    let (kind, number) = stream::split(&unit.bytes, &limits(), &mut spans).expect("a damaged access unit came out");
    assert_eq!((kind, number), (unit.kind, unit.number));
    assert!(unit.bytes.len() as u64 <= limits().max_access_unit);
    assert!(unit.sequence <= unit.bytes.len() && unit.missing < 64);
    assert!(!unit.bytes.starts_with(&stream::MARKER));
}

/// Packets of a control byte, two bytes of length and the payload.
fn wild(data: &[u8]) {
    let mut source = Source::new(data);
    let mut assembler = Assembler::new(limits());
    let mut timestamp = 0u32;
    while !source.is_empty() {
        let control = source.u8();
        let size = usize::from(source.u8()) | usize::from(source.u8() & 15) << 8;
        let payload = source.take(size);
        match control >> 5 {
            1 => assembler.lost().1.iter().for_each(check),
            2 => assembler.restart(),
            3 => {
                let _ = assembler.add_parameter_set(&payload);
                continue;
            }
            _ => {}
        }
        timestamp = timestamp.wrapping_add(u32::from(control >> 1 & 1) * 3600);
        let received =
            Received { payload: &payload, timestamp, marker: control & 1 == 1, after_loss: control & 4 == 4 };
        let outcome = assembler.push(&received);
        outcome.partial.iter().for_each(check);
        if let Some(unit) = outcome.unit {
            assert!(received.marker, "an access unit without its last packet");
            check(&unit);
        }
    }
}

/// Exactly the access units of which no packet is lost come out, as they were; damaged packets give nothing that fails its checks.
fn real(data: &[u8]) {
    let mut source = Source::new(data);
    let (mut config, layout) = source.config();
    config.format = StreamFormat::Packetized;
    let Ok(mut encoder) = Encoder::new(config, layout.clone()) else { return };
    let capacity = packet::LEAST_PAYLOAD + usize::from(source.u8());
    let options = source.u8();
    let (omit, damage) = (options & 1 == 1, options & 2 == 2);
    let (mut units, mut sent, mut spans, mut cut) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut sets = Vec::new();
    for t in 0..4 {
        let features = source.features(&layout);
        let mut unit = Vec::new();
        let request = FrameRequest { random_access: source.u8() & 7 == 7 };
        if encoder.encode(&features.tensors(), request, &mut unit).is_err() {
            continue;
        }
        let (kind, _) = stream::split(&unit, &limits(), &mut spans).expect("the encoder's own");
        let set = stream::sequence_header(&unit, &limits()).expect("the encoder's own").map(<[u8]>::to_vec);
        let check = set.as_deref().and_then(check_of).filter(|_| omit && kind == FrameKind::RandomAccess);
        if check.is_some() {
            sets.extend(set);
        }
        packet::cut(&spans, kind, capacity, check, &mut cut).expect("a legal capacity");
        for (n, packet) in cut.iter().enumerate() {
            let mut payload = vec![0; packet.header.size()];
            packet.header.write(&mut payload);
            payload.extend_from_slice(&unit[packet.body.clone()]);
            assert!(payload.len() <= capacity, "a packet of {} bytes, {capacity} fit", payload.len());
            sent.push(Sent { unit: units.len(), payload, timestamp: t * 3600, marker: n + 1 == cut.len() });
        }
        units.push(unit);
    }

    let mut assembler = Assembler::new(limits());
    for set in &sets {
        assembler.add_parameter_set(set).expect("the encoder's own");
    }
    let mut lost = vec![false; units.len()];
    let (mut after_loss, mut out) = (false, Vec::new());
    for packet in &mut sent {
        let fate = source.u8();
        if fate & 7 == 7 {
            (lost[packet.unit], after_loss) = (true, true);
            continue;
        }
        if damage && fate & 8 == 8 {
            let at = usize::from(source.u8()) % packet.payload.len();
            packet.payload[at] ^= source.u8();
        }
        let after_loss = std::mem::take(&mut after_loss);
        let received =
            Received { payload: &packet.payload, timestamp: packet.timestamp, marker: packet.marker, after_loss };
        let outcome = assembler.push(&received);
        outcome.partial.iter().for_each(check);
        out.extend(outcome.unit);
    }
    out.iter().for_each(check);
    if !damage {
        let whole = units.iter().zip(&lost).filter(|(_, lost)| !**lost).map(|(unit, _)| unit);
        assert!(out.iter().map(|unit| &unit.bytes).eq(whole), "other access units came out than were whole: {lost:?}");
    }
}
