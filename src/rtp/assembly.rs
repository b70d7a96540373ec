//! From payloads of RTP packets back to access units, of which only whole and checked ones come out, or their strongest slices
//! (docs/rtp.md §6).

use super::packet::{Cut, Header, corrupt};
use super::parameter_sets::ParameterSets;
use fcm_codec::bitstream::stream::{self, UnitSpan};
use fcm_codec::bitstream::{FRAME_NUMBERS, UnitType};
use fcm_codec::{Error, FrameKind, Limits, Result};

/// What an RTP packet says.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The payload, header byte first.
    pub payload: &'a [u8],
    /// RTP timestamp, the same in all packets of an access unit.
    pub timestamp: u32,
    /// The marker bit: the last packet of its access unit.
    pub marker: bool,
    /// Packets are missing before this one.
    pub after_loss: bool,
}

/// A whole access unit, without a resync marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Random access or predicted.
    pub kind: FrameKind,
    /// Frame number, modulo 64.
    pub number: u32,
    /// Frames that the numbers say are missing before it, modulo 64.
    pub missing: u32,
    /// Bytes of its sequence parameter set, at the start; 0 without one.
    pub sequence: usize,
}

/// What a packet led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What is usable of an access unit that is given up because of it.
    pub partial: Option<Assembled>,
    /// An access unit that it completed.
    pub unit: Option<Assembled>,
    /// Why an access unit was given up because of it, or the packet itself.
    pub damage: Option<Error>,
    /// The packet was thrown away: it belongs to an access unit whose start is missing.
    pub stray: bool,
    /// The packet is the first of its access unit.
    pub starts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The next packet must start an access unit; others are thrown away.
    Between,
    /// Packets of an access unit came; `open`: the last one ended inside a unit.
    Inside { open: bool, random_access: bool, timestamp: u32 },
}

/// Puts access units together. Holds what came of one of them.
#[derive(Debug)]
pub struct Assembler {
    limits: Limits,
    state: State,
    bytes: Vec<u8>,
    units: Vec<UnitSpan>,
    parameter_sets: ParameterSets,
    last_number: Option<u32>,
    /// Length of the last access unit: likely that of the next.
    usual: usize,
}

impl Assembler {
    /// Waits for the start of an access unit. `limits` bounds the memory that packets can claim.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Between,
            bytes: Vec::new(),
            units: Vec::new(),
            parameter_sets: ParameterSets::default(),
            last_number: None,
            usual: 0,
        }
    }

    /// Learns a sequence parameter set that came apart from the stream.
    ///
    /// # Errors
    /// As [`ParameterSets::add`].
    pub fn add_parameter_set(&mut self, sequence: &[u8]) -> Result<()> {
        self.parameter_sets.add(sequence, &self.limits)
    }

    /// The sequence parameter set that came last, from wherever.
    pub fn parameter_set(&self) -> Option<&[u8]> {
        self.parameter_sets.latest()
    }

    /// Packets are known to be missing here. Returns whether that damaged an access unit that had begun, and what of it is usable.
    pub fn lost(&mut self) -> (bool, Option<Assembled>) {
        match std::mem::replace(&mut self.state, State::Between) {
            State::Between => (false, None),
            State::Inside { random_access, .. } => (true, self.salvage(random_access)),
        }
    }

    /// The slices of the frame that came before the first damage, as an access unit; `None` without any.
    fn salvage(&mut self, random_access: bool) -> Option<Assembled> {
        if self.bytes.starts_with(&stream::MARKER) {
            return None;
        }
        let (kind, number) = stream::salvage(&mut self.bytes, &self.limits, &mut self.units).ok()?;
        self.deliver(kind, number, random_access).ok()
    }

    /// Packets of a random access unit are coming, and so far all of them came.
    pub fn random_access_under_way(&self) -> bool {
        matches!(self.state, State::Inside { random_access: true, .. })
    }

    /// Forgets the stream (a flush, another sender); parameter sets stay, for they are known by their contents.
    pub fn restart(&mut self) {
        self.state = State::Between;
        self.last_number = None;
    }

    /// Takes the next packet in order.
    pub fn push(&mut self, packet: &Received<'_>) -> Outcome {
        // Padding and probes.
        if packet.payload.is_empty() {
            let (damage, partial) = if packet.after_loss { self.lost() } else { (false, None) };
            return Outcome { damage: damage.then(missing_packets), partial, ..Outcome::default() };
        }
        let mut outcome = Outcome::default();
        if packet.after_loss {
            let (damage, partial) = self.lost();
            outcome.damage = damage.then(missing_packets);
            outcome.partial = partial;
        }
        let (header, body) = match Header::parse(packet.payload) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.state = State::Between;
                outcome.damage = Some(error);
                return outcome;
            }
        };
        outcome.starts = header.starts;
        // Without a loss that explains it, this may be anything; taken for a start, the middle of an access unit could pass for one without
        // statistics.
        if header.starts && std::mem::replace(&mut self.state, State::Between) != State::Between {
            outcome.damage = Some(corrupt("a start inside an access unit".into()));
            return outcome;
        }
        match self.append(packet, &header, body) {
            Ok(true) => {}
            Ok(false) => {
                outcome.stray = true;
                return outcome;
            }
            Err(error) => {
                self.state = State::Between;
                outcome.damage = Some(error);
                return outcome;
            }
        }
        if packet.marker {
            match self.finish() {
                Ok(unit) => outcome.unit = Some(unit),
                Err(error) => {
                    outcome.damage = Some(error);
                    outcome.partial = outcome.partial.or_else(|| self.salvage(header.random_access));
                }
            }
        }
        outcome
    }

    /// Adds the bytes of a packet; `false` when it belongs to nothing.
    fn append(&mut self, packet: &Received<'_>, header: &Header, body: &[u8]) -> Result<bool> {
        let open = match self.state {
            State::Between if !header.starts => return Ok(false),
            State::Between => {
                self.bytes.clear();
                self.bytes.reserve(self.usual.max(body.len()));
                if let Some(check) = header.omitted {
                    let set = self.parameter_sets.get(check).ok_or_else(|| {
                        corrupt(format!("an access unit without its parameter set {check:02x?}, which is not known"))
                    })?;
                    self.bytes.extend_from_slice(set);
                }
                false
            }
            State::Inside { timestamp, random_access, .. }
                if timestamp != packet.timestamp || random_access != header.random_access =>
            {
                return Err(corrupt("packets of two access units without a start between them".into()));
            }
            State::Inside { open, .. } => open,
        };
        if open != matches!(header.cut, Cut::Middle | Cut::Last) {
            return Err(corrupt("fragments of a unit that do not follow each other".into()));
        }
        let size = self.bytes.len() as u64 + body.len() as u64;
        if size > self.limits.max_access_unit {
            let message = format!("an access unit of {size} bytes, the limit is {}", self.limits.max_access_unit);
            return Err(Error::new(fcm_codec::ErrorKind::LimitExceeded, message));
        }
        self.bytes.extend_from_slice(body);
        self.state = State::Inside {
            open: matches!(header.cut, Cut::First | Cut::Middle),
            random_access: header.random_access,
            timestamp: packet.timestamp,
        };
        Ok(true)
    }

    /// Checks the access unit whose last packet came.
    fn finish(&mut self) -> Result<Assembled> {
        let State::Inside { open, random_access, .. } = std::mem::replace(&mut self.state, State::Between) else {
            return Err(corrupt("an access unit without packets".into()));
        };
        if open {
            return Err(corrupt("an access unit that ends inside a unit".into()));
        }
        if self.bytes.starts_with(&stream::MARKER) {
            return Err(corrupt("an access unit with a resync marker".into()));
        }
        let (kind, number) = stream::split(&self.bytes, &self.limits, &mut self.units)?;
        self.deliver(kind, number, random_access)
    }

    /// Hands out the access unit in `bytes`, whose units are known.
    fn deliver(&mut self, kind: FrameKind, number: u32, random_access: bool) -> Result<Assembled> {
        if random_access != (kind == FrameKind::RandomAccess) {
            return Err(corrupt(format!("a frame that is {kind:?}, its packets say otherwise")));
        }
        let sequence = self.units.first().filter(|unit| unit.unit_type == UnitType::Sequence);
        let sequence = sequence.map_or(0, |unit| unit.range.end);
        if sequence > 0 {
            self.parameter_sets.add(&self.bytes[..sequence], &self.limits)?;
        }
        // A random access frame of number 0 may also be a new start of the encoder.
        let counts_on = kind == FrameKind::Predicted || number != 0;
        let missing = match self.last_number.replace(number) {
            Some(last) if counts_on => (number + 2 * FRAME_NUMBERS - last - 1) % FRAME_NUMBERS,
            _ => 0,
        };
        self.usual = self.bytes.len();
        Ok(Assembled { bytes: std::mem::take(&mut self.bytes), kind, number, missing, sequence })
    }
}

fn missing_packets() -> Error {
    corrupt("an access unit of which packets are missing".into())
}

#[cfg(test)]
mod tests {
    use super::super::packet::{self, LEAST_PAYLOAD};
    use super::super::parameter_sets::check_of;
    use super::*;
    use fcm_codec::{
        Decoded, Decoder, Dtype, Encoder, EncoderConfig, FrameRequest, Layer, Layout, RateControl, Shape, StreamFormat,
        TensorRef,
    };

    /// Access units of features that change, statistics with every frame, random access every fourth.
    fn units(frames: usize, channels: u32) -> Vec<Vec<u8>> {
        sliced_units(frames, channels, 0)
    }

    /// The same in slices of about `slice_size` bytes.
    fn sliced_units(frames: usize, channels: u32, slice_size: u32) -> Vec<Vec<u8>> {
        let shape = Shape::chw(channels, 6, 8);
        let layout = Layout::new(vec![Layer::new("a", shape, Dtype::F32)], &Limits::default()).unwrap();
        let config = EncoderConfig {
            format: StreamFormat::Packetized,
            key_int_max: 4,
            stats_period: 1,
            rate_control: RateControl::ConstantQp(12),
            slice_size,
            ..EncoderConfig::default()
        };
        let mut encoder = Encoder::new(config, layout).unwrap();
        let mut encode = |t: usize| {
            let value = |i: u64| {
                ((i as f32 * 0.37 + t as f32 * 0.21).sin() * 3.0) + ((i * 7919 + t as u64 * 104_729) % 97) as f32 / 97.0
            };
            let values: Vec<f32> = (0..shape.elements()).map(value).collect();
            let mut unit = Vec::new();
            encoder.encode(&[TensorRef::F32(&values)], FrameRequest::default(), &mut unit).unwrap();
            unit
        };
        (0..frames).map(&mut encode).collect()
    }

    /// Payload, marker and timestamp of every packet.
    fn send(units: &[Vec<u8>], capacity: usize, omit: bool) -> Vec<(Vec<u8>, bool, u32)> {
        let (mut spans, mut packets, mut sent) = (Vec::new(), Vec::new(), Vec::new());
        for (t, unit) in units.iter().enumerate() {
            let (kind, _) = stream::split(unit, &Limits::default(), &mut spans).unwrap();
            let set = stream::sequence_header(unit, &Limits::default()).unwrap().and_then(check_of);
            packet::cut(&spans, kind, capacity, set.filter(|_| omit), &mut packets).unwrap();
            for (n, packet) in packets.iter().enumerate() {
                let mut payload = vec![0; packet.header.size()];
                packet.header.write(&mut payload);
                payload.extend_from_slice(&unit[packet.body.clone()]);
                sent.push((payload, n + 1 == packets.len(), t as u32 * 3600));
            }
        }
        sent
    }

    /// What comes out of the packets that `keep` says arrive.
    fn receive(sent: &[(Vec<u8>, bool, u32)], keep: impl Fn(usize) -> bool) -> (Vec<Assembled>, usize) {
        let mut assembler = Assembler::new(Limits::default());
        let (mut out, mut damaged, mut after_loss) = (Vec::new(), 0, false);
        for (n, (payload, marker, timestamp)) in sent.iter().enumerate() {
            if !keep(n) {
                after_loss = true;
                continue;
            }
            let after_loss = std::mem::take(&mut after_loss);
            let outcome = assembler.push(&Received { payload, timestamp: *timestamp, marker: *marker, after_loss });
            damaged += usize::from(outcome.damage.is_some());
            out.extend(outcome.partial);
            out.extend(outcome.unit);
        }
        (out, damaged)
    }

    #[test]
    fn every_packet_size_gives_the_same_access_units_back() {
        let units = units(6, 12);
        for capacity in (LEAST_PAYLOAD..64).chain([100, 300, 1188, 9000]) {
            let (out, damaged) = receive(&send(&units, capacity, false), |_| true);
            assert_eq!(damaged, 0);
            assert!(out.iter().map(|unit| &unit.bytes).eq(&units), "{capacity} bytes of payload");
            assert!(out.iter().all(|unit| unit.missing == 0));
        }
    }

    #[test]
    fn any_lost_packet_costs_exactly_its_access_unit() {
        let units = units(6, 12);
        for capacity in [20, 40, 60] {
            let sent = send(&units, capacity, false);
            assert!(sent.len() > units.len());
            for lost in 0..sent.len() {
                let (out, _) = receive(&sent, |n| n != lost);
                let frame = sent[lost].2 as usize / 3600;
                let left: Vec<_> =
                    units.iter().enumerate().filter(|(t, _)| *t != frame).map(|(_, unit)| unit).collect();
                assert!(out.iter().map(|unit| &unit.bytes).eq(left), "packet {lost} of {}", sent.len());
            }
        }
    }

    #[test]
    fn a_lost_slice_costs_itself_and_the_weaker_ones_of_its_frame() {
        let units = sliced_units(6, 60, 300);
        let sent = send(&units, 340, false);
        let mut salvaged = 0;
        // Without the first packet no decoder knows the stream.
        for lost in 1..sent.len() {
            let frame = sent[lost].2 / 3600;
            let (out, damaged) = receive(&sent, |n| n != lost);
            let mut decoder = Decoder::new(fcm_codec::DecoderConfig::default()).unwrap();
            let mut inexact = Vec::new();
            for unit in &out {
                let Ok(Decoded::Frame(frame)) = decoder.decode(&unit.bytes) else { panic!("packet {lost}") };
                inexact.push(frame.damage());
            }
            // The first packet of an access unit has its start, all others leave what was before them.
            let first = sent[lost - 1].2 != sent[lost].2;
            assert_eq!(out.len(), units.len() - usize::from(first || frame == 5 && sent[lost].1), "packet {lost}");
            assert_eq!(damaged > 0, !(first || frame == 5 && sent[lost].1), "packet {lost}");
            let partial = inexact.iter().flatten().find(|damage| damage.groups.0 < damage.groups.1);
            assert_eq!(partial.is_some(), damaged > 0, "packet {lost}");
            salvaged += usize::from(partial.is_some());
        }
        assert!(salvaged > 6, "{salvaged} access units of several slices");
    }

    #[test]
    fn lost_statistics_are_not_taken_for_an_access_unit_without_any() {
        let units = units(3, 12);
        // The parameter set and the frame in packets of their own: without the first, the rest is well formed.
        let mut spans = Vec::new();
        stream::split(&units[1], &Limits::default(), &mut spans).unwrap();
        assert_eq!(spans[0].unit_type, UnitType::Picture);
        let capacity = 1 + spans.iter().map(|unit| unit.range.len()).max().unwrap();
        let sent = send(&units[1..2], capacity, false);
        assert_eq!(sent.len(), 2);
        let (out, _) = receive(&sent, |n| n != 0);
        assert_eq!(out, []);
    }

    #[test]
    fn numbers_tell_how_many_frames_are_missing() {
        let units = units(8, 12);
        let sent = send(&units, 1188, false);
        let (out, _) = receive(&sent, |n| !(2..5).contains(&(sent[n].2 / 3600)));
        assert_eq!(
            out.iter().map(|unit| (unit.number, unit.missing)).collect::<Vec<_>>(),
            [(0, 0), (1, 0), (5, 3), (6, 0), (7, 0)]
        );
    }

    #[test]
    fn omitted_parameter_sets_come_from_elsewhere_or_the_access_unit_is_lost() {
        let units = units(5, 12);
        let sent = send(&units, 300, true);
        let set = stream::sequence_header(&units[0], &Limits::default()).unwrap().unwrap();
        let run = |set: Option<&[u8]>| {
            let mut assembler = Assembler::new(Limits::default());
            set.into_iter().for_each(|set| assembler.add_parameter_set(set).unwrap());
            let mut out = Vec::new();
            for (payload, marker, timestamp) in &sent {
                let received = Received { payload, timestamp: *timestamp, marker: *marker, after_loss: false };
                out.extend(assembler.push(&received).unit);
            }
            out
        };
        assert!(run(Some(set)).iter().map(|unit| &unit.bytes).eq(&units));
        assert!(run(None).iter().all(|unit| unit.kind == FrameKind::Predicted));
        // Another stream's set is not taken for this one's.
        let others = self::units(1, 13);
        let other = stream::sequence_header(&others[0], &Limits::default()).unwrap().unwrap();
        assert!(run(Some(other)).iter().all(|unit| unit.kind == FrameKind::Predicted));
    }

    #[test]
    fn parameter_sets_are_learnt_from_the_stream() {
        let units = units(5, 12);
        let mut sent = send(&units[..4], 300, false);
        sent.extend(send(&units[4..], 300, true).into_iter().map(|(payload, marker, _)| (payload, marker, 4 * 3600)));
        assert!(receive(&sent, |_| true).0.iter().map(|unit| &unit.bytes).eq(&units));
    }

    #[test]
    fn a_flipped_bit_never_comes_out() {
        let units = units(2, 4);
        let sent = send(&units, 80, false);
        for (n, (payload, ..)) in sent.iter().enumerate() {
            for bit in 0..payload.len() * 8 {
                let mut bad = sent.clone();
                bad[n].0[bit / 8] ^= 1 << (bit % 8);
                for unit in receive(&bad, |_| true).0 {
                    assert!(units.contains(&unit.bytes), "packet {n} bit {bit}");
                }
            }
        }
    }

    #[test]
    fn shuffled_repeated_and_mixed_packets_give_nothing_that_was_not_sent() {
        let units = units(5, 12);
        let sent = send(&units, 60, false);
        let mut seed = 7u64;
        let mut random = move |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        for _ in 0..300 {
            let mut mixed = sent.clone();
            for _ in 0..1 + random(6) {
                let (a, b) = (random(mixed.len()), random(mixed.len()));
                match random(4) {
                    0 => mixed.swap(a, b),
                    1 => mixed.insert(a, sent[b % sent.len()].clone()),
                    2 => mixed[a].1 = !mixed[a].1,
                    // Parameter sets alone in a packet, of another access unit of the same sequence, cannot be told.
                    _ if mixed[a].0[0] & packet::START == 0 => mixed[a].2 = mixed[b].2,
                    _ => {}
                }
            }
            for unit in receive(&mixed, |_| true).0 {
                assert!(units.contains(&unit.bytes));
            }
        }
    }

    #[test]
    fn garbage_is_refused_and_claims_no_memory() {
        let limits = Limits { max_access_unit: 2000, ..Limits::default() };
        let mut assembler = Assembler::new(limits);
        let mut seed = 3u32;
        let mut byte = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        for n in 0..20_000u32 {
            let mut payload: Vec<u8> = (0..usize::from(byte()) * 4).map(|_| byte()).collect();
            if let Some(first) = payload.first_mut().filter(|_| n % 2 == 0) {
                // What the header byte would refuse at once is only half of the test.
                *first = if n % 8 == 0 { 0x41 } else { 0x02 };
            }
            let received = Received { payload: &payload, timestamp: 0, marker: byte() < 16, after_loss: byte() < 8 };
            assert_eq!(assembler.push(&received).unit, None);
            assert!(assembler.bytes.len() <= 2000 && assembler.bytes.capacity() <= 8000);
        }
    }

    #[test]
    fn padding_changes_nothing() {
        let units = units(3, 12);
        let mut sent = send(&units, 60, false);
        for at in (0..sent.len()).rev() {
            let stamp = sent[at].2;
            sent.insert(at, (Vec::new(), false, stamp));
        }
        let (out, damaged) = receive(&sent, |_| true);
        assert_eq!((out.len(), damaged), (3, 0));
    }
}
