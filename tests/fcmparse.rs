//! Promises of `fcmparse` and of the typefinder, on streams made by the real encoder.

use std::io::Write;
use std::sync::Once;

use fcm_codec::bitstream::stream;
use fcm_codec::{
    Dtype, Encoder, EncoderConfig, FrameKind, FrameRequest, Layer, Layout, Limits, RateControl, Shape, StreamFormat,
    TensorRef,
};
use gst::prelude::*;
use gst_check::Harness;

type TestResult = Result<(), Box<dyn std::error::Error>>;

const FRAME: gst::ClockTime = gst::ClockTime::from_mseconds(40);
const BYTE_STREAM: &str = "application/x-fcm,stream-format=byte-stream";
const PACKETIZED: &str = "application/x-fcm,stream-format=packetized";

fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().expect("GStreamer starts");
        gstfcm::plugin_register_static().expect("the plugin registers");
    });
}

/// A coded stream, one entry a frame.
struct Stream {
    units: Vec<Vec<u8>>,
    kinds: Vec<FrameKind>,
}

impl Stream {
    fn bytes(&self) -> Vec<u8> {
        self.units.concat()
    }

    /// Index of the first random access point at or after frame `n`.
    fn random_access_from(&self, n: usize) -> usize {
        (n..self.units.len())
            .find(|n| self.kinds[*n] == FrameKind::RandomAccess)
            .expect("there is a random access point")
    }
}

/// What a test stream is like.
#[derive(Clone)]
struct Recipe {
    frames: usize,
    channels: u32,
    format: StreamFormat,
    key_int_max: u32,
    framerate: (u32, u32),
}

impl Default for Recipe {
    fn default() -> Self {
        Self { frames: 14, channels: 8, format: StreamFormat::ByteStream, key_int_max: 4, framerate: (25, 1) }
    }
}

impl Recipe {
    /// Codes features that change a little from frame to frame.
    fn stream(&self) -> Stream {
        let shapes = [Shape::chw(self.channels, 6, 8), Shape::chw(2 * self.channels, 3, 4)];
        let layers = shapes.iter().enumerate().map(|(n, s)| Layer::new(format!("p{n}"), *s, Dtype::F32)).collect();
        let limits = Limits::default();
        let layout = Layout::new(layers, &limits).expect("a legal layout");
        let config = EncoderConfig {
            format: self.format,
            key_int_max: self.key_int_max,
            framerate: self.framerate,
            stats_threshold: 0.0,
            rate_control: RateControl::ConstantQp(12),
            ..EncoderConfig::default()
        };
        let mut encoder = Encoder::new(config, layout).expect("a legal configuration");
        let mut units = Vec::new();
        let mut kinds = Vec::new();
        for frame in 0..self.frames {
            // A pattern that moves, and noise, so that predicted access units are not a few bytes only.
            let noise = |i: u64| ((i ^ (frame as u64) << 20).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f32 / 2e7;
            let value = |i: u64| (i as f32 * 0.37 + frame as f32 * 0.11).sin() + noise(i);
            let tensors: Vec<Vec<f32>> = shapes.iter().map(|s| (0..s.elements()).map(value).collect()).collect();
            let views: Vec<TensorRef> = tensors.iter().map(|t| TensorRef::F32(t)).collect();
            let mut unit = Vec::new();
            let coded = encoder.encode(&views, FrameRequest::default(), &mut unit).expect("finite features are coded");
            units.push(unit);
            kinds.push(coded.kind);
        }
        Stream { units, kinds }
    }
}

fn default_stream() -> Stream {
    Recipe::default().stream()
}

/// An element with caps on its input; `None`: as from a file, in bytes and with nothing known.
fn harness(caps: Option<&str>) -> Harness {
    init();
    let mut h = Harness::new("fcmparse");
    h.play();
    match caps {
        Some(caps) => h.set_src_caps_str(caps),
        None => {
            h.push_event(gst::event::StreamStart::new("test"));
            h.push_event(gst::event::Caps::new(&gst::Caps::new_empty_simple("application/x-fcm")));
            h.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::format::Bytes>::new()));
        }
    }
    h
}

fn push_in_chunks(h: &mut Harness, bytes: &[u8], size: usize) -> Result<(), gst::FlowError> {
    for chunk in bytes.chunks(size) {
        h.push(gst::Buffer::from_slice(chunk.to_vec()))?;
    }
    Ok(())
}

fn outputs(h: &mut Harness) -> Vec<gst::Buffer> {
    std::iter::from_fn(|| h.try_pull()).collect()
}

fn payload(buffer: &gst::Buffer) -> Vec<u8> {
    buffer.map_readable().expect("a readable buffer").to_vec()
}

/// Asserts that `buffers` are the access units of these frames, with their flags and one memory each.
fn assert_frames(buffers: &[gst::Buffer], stream: &Stream, frames: &[usize]) {
    let found: Vec<Option<usize>> =
        buffers.iter().map(|b| stream.units.iter().position(|unit| *unit == payload(b))).collect();
    let wanted: Vec<Option<usize>> = frames.iter().map(|n| Some(*n)).collect();
    assert_eq!(found, wanted, "frames that came out (None: bytes of no access unit)");
    for (buffer, n) in buffers.iter().zip(frames) {
        let delta = buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        assert_eq!(delta, stream.kinds[*n] == FrameKind::Predicted, "DELTA_UNIT of frame {n}");
        assert_eq!(buffer.n_memory(), 1, "memories of frame {n}");
    }
}

fn disconts(buffers: &[gst::Buffer]) -> Vec<bool> {
    buffers.iter().map(|b| b.flags().contains(gst::BufferFlags::DISCONT)).collect()
}

fn pts(buffers: &[gst::Buffer]) -> Vec<Option<gst::ClockTime>> {
    buffers.iter().map(|b| b.pts()).collect()
}

fn frame_times(frames: &[usize]) -> Vec<Option<gst::ClockTime>> {
    frames.iter().map(|n| Some(FRAME * *n as u64)).collect()
}

fn stat(element: &gst::Element, name: &str) -> u64 {
    element.property::<gst::Structure>("stats").get(name).expect("a counter of this name")
}

/// A bus on the element, to see what it posts.
fn watch(h: &Harness) -> gst::Bus {
    let bus = gst::Bus::new();
    h.element().expect("an element").set_bus(Some(&bus));
    bus
}

fn posted(bus: &gst::Bus, kind: gst::MessageType) -> usize {
    std::iter::from_fn(|| bus.pop_filtered(&[kind])).count()
}

fn range(frames: std::ops::Range<usize>) -> Vec<usize> {
    frames.collect()
}

fn all(stream: &Stream) -> Vec<usize> {
    range(0..stream.units.len())
}

#[test]
fn pieces_of_any_size_give_the_same_access_units() -> TestResult {
    let stream = default_stream();
    let bytes = stream.bytes();
    assert!(stream.kinds.contains(&FrameKind::Predicted), "the test stream has predicted frames");
    for size in [1, 2, 3, 7, 64, 1000, bytes.len() - 1, bytes.len()] {
        let mut h = harness(None);
        push_in_chunks(&mut h, &bytes, size)?;
        h.push_event(gst::event::Eos::new());
        let buffers = outputs(&mut h);
        assert_frames(&buffers, &stream, &all(&stream));
        assert_eq!(pts(&buffers), frame_times(&all(&stream)), "in pieces of {size}");
        assert!(buffers.iter().all(|b| b.duration() == Some(FRAME)), "in pieces of {size}");
        let element = h.element().expect("an element");
        assert_eq!(stat(&element, "access-units"), stream.units.len() as u64);
        assert_eq!(stat(&element, "bytes"), bytes.len() as u64);
        assert_eq!(stat(&element, "skipped-bytes"), 0);
    }
    Ok(())
}

#[test]
fn packetized_stream_in_one_piece_is_cut_as_well() -> TestResult {
    let stream = Recipe { format: StreamFormat::Packetized, ..Recipe::default() }.stream();
    let mut h = harness(Some(PACKETIZED));
    push_in_chunks(&mut h, &stream.bytes(), 100)?;
    h.push_event(gst::event::Eos::new());
    assert_frames(&outputs(&mut h), &stream, &all(&stream));
    Ok(())
}

#[test]
fn caps_describe_the_stream() -> TestResult {
    let stream = default_stream();
    let mut h = harness(None);
    push_in_chunks(&mut h, &stream.bytes(), 512)?;
    let caps = h.sinkpad().and_then(|pad| pad.current_caps()).ok_or("no caps on the output")?;
    let s = caps.structure(0).ok_or("empty caps")?;
    assert_eq!(s.name(), "application/x-fcm");
    assert_eq!(s.get::<&str>("stream-format")?, "byte-stream");
    assert_eq!(s.get::<&str>("alignment")?, "au");
    assert!(s.get::<bool>("parsed")?);
    assert_eq!(s.get::<gst::Fraction>("framerate")?, gst::Fraction::new(25, 1));
    assert_eq!(s.get::<&str>("inner-codec")?, "native");
    assert_eq!(s.get::<&str>("statistics")?, "z-score");
    assert!(caps.to_string().len() < 512, "{} characters: {caps}", caps.to_string().len());
    Ok(())
}

#[test]
fn exact_timestamps_at_an_odd_frame_rate() -> TestResult {
    let stream = Recipe { frames: 100, framerate: (30000, 1001), ..Recipe::default() }.stream();
    let mut h = harness(None);
    push_in_chunks(&mut h, &stream.bytes(), 4096)?;
    let buffers = outputs(&mut h);
    assert_eq!(buffers.len(), 100);
    for (n, buffer) in buffers.iter().enumerate() {
        let exact = 1_001_000_000_000u64 * n as u64 / 30000;
        assert_eq!(buffer.pts().map(|t| t.nseconds()), Some(exact), "frame {n}");
    }
    Ok(())
}

#[test]
fn garbage_between_units_costs_frames_to_next_random_access() -> TestResult {
    let stream = default_stream();
    for garbage in [vec![0u8], vec![0xFC; 333], b"\xFCFCM".repeat(20), (0..=255u8).cycle().take(5000).collect()] {
        for size in [1, 50, 100_000] {
            let mut h = harness(None);
            let bus = watch(&h);
            let bytes = [stream.units[..6].concat(), garbage.clone(), stream.units[6..].concat()].concat();
            push_in_chunks(&mut h, &bytes, size)?;
            h.push_event(gst::event::Eos::new());

            let next = stream.random_access_from(6);
            let frames = [range(0..6), range(next..stream.units.len())].concat();
            let buffers = outputs(&mut h);
            assert_frames(&buffers, &stream, &frames);
            // The frame numbers tell how much is missing: what follows keeps its time.
            assert_eq!(pts(&buffers), frame_times(&frames));
            let discont: Vec<bool> = frames.iter().map(|n| *n == 0 || *n == next).collect();
            assert_eq!(disconts(&buffers), discont);

            let element = h.element().expect("an element");
            let lost: usize = stream.units[6..next].iter().map(Vec::len).sum();
            assert_eq!(stat(&element, "skipped-bytes"), (garbage.len() + lost) as u64);
            assert_eq!(stat(&element, "sync-losses"), 1);
            assert_eq!(stat(&element, "missing-frames"), (next - 6) as u64);
            assert_eq!(posted(&bus, gst::MessageType::Warning), 1, "{} bytes in pieces of {size}", garbage.len());
            assert_eq!(posted(&bus, gst::MessageType::Error), 0);
        }
    }
    Ok(())
}

#[test]
fn damaged_unit_costs_frames_to_next_random_access() -> TestResult {
    let stream = default_stream();
    for damaged in [0, 3, 4, 9, 13] {
        for at in [0usize, 5, 11, stream.units[damaged].len() / 2, stream.units[damaged].len() - 1] {
            let mut h = harness(None);
            let mut units = stream.units.clone();
            units[damaged][at] ^= 0x10;
            push_in_chunks(&mut h, &units.concat(), 333)?;
            h.push_event(gst::event::Eos::new());
            let after = damaged + 1;
            let resumed = (after..stream.units.len()).find(|n| stream.kinds[*n] == FrameKind::RandomAccess);
            let frames = [range(0..damaged), range(resumed.unwrap_or(stream.units.len())..stream.units.len())].concat();
            let buffers = outputs(&mut h);
            assert_frames(&buffers, &stream, &frames);
            if damaged > 0 {
                assert_eq!(pts(&buffers), frame_times(&frames), "frame {damaged} damaged at byte {at}");
            }
        }
    }
    Ok(())
}

#[test]
fn damaged_length_does_not_claim_the_rest_of_the_stream() -> TestResult {
    let stream = Recipe { frames: 60, key_int_max: 10, ..Recipe::default() }.stream();
    let mut units = stream.units.clone();
    // The length is a variable-length number from the second byte on; this one says 16 MiB.
    units[14][1..5].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0x07]);
    let mut h = harness(None);
    push_in_chunks(&mut h, &units.concat(), 512)?;
    // Before the end of the stream, which would settle it.
    let buffers = outputs(&mut h);
    assert_frames(&buffers, &stream, &[range(0..14), range(20..60)].concat());
    assert_eq!(stat(&h.element().expect("an element"), "sync-losses"), 1);
    Ok(())
}

#[test]
fn frames_cut_out_cleanly_leave_a_hole_in_time() -> TestResult {
    let stream = default_stream();
    // Frames 1 and 2 are gone, with nothing in their place.
    let bytes = [&stream.units[..1], &stream.units[3..]].concat().concat();
    for caps in [None, Some(BYTE_STREAM)] {
        let mut h = harness(caps);
        push_in_chunks(&mut h, &bytes, 300)?;
        let frames = [range(0..1), range(3..stream.units.len())].concat();
        let buffers = outputs(&mut h);
        assert_frames(&buffers, &stream, &frames);
        assert_eq!(pts(&buffers), frame_times(&frames));
        assert_eq!(&disconts(&buffers)[..3], [true, true, false]);
        assert_eq!(stat(&h.element().expect("an element"), "missing-frames"), 2);
    }
    Ok(())
}

#[test]
fn late_join_waits_for_a_random_access_point_without_complaint() -> TestResult {
    let stream = default_stream();
    let start = stream.units[..5].iter().map(Vec::len).sum::<usize>() + 7;
    let mut h = harness(None);
    let bus = watch(&h);
    push_in_chunks(&mut h, &stream.bytes()[start..], 99)?;
    h.push_event(gst::event::Eos::new());
    let first = stream.random_access_from(6);
    let buffers = outputs(&mut h);
    assert_frames(&buffers, &stream, &range(first..stream.units.len()));
    assert_eq!(buffers[0].pts(), Some(gst::ClockTime::ZERO));
    assert_eq!(posted(&bus, gst::MessageType::Warning), 0);
    assert_eq!(stat(&h.element().expect("an element"), "sync-losses"), 0);
    Ok(())
}

#[test]
fn more_garbage_than_the_base_class_bears_is_skipped() -> TestResult {
    let stream = default_stream();
    let mut h = harness(None);
    let bus = watch(&h);
    // BaseParse itself gives a stream up after 2 MiB.
    let garbage: Vec<u8> = (0..5 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    push_in_chunks(&mut h, &stream.units[..4].concat(), 4096)?;
    push_in_chunks(&mut h, &garbage, 65536)?;
    push_in_chunks(&mut h, &stream.units[4..].concat(), 4096)?;
    assert_frames(&outputs(&mut h), &stream, &all(&stream));
    assert_eq!(posted(&bus, gst::MessageType::Error), 0);
    assert_eq!(stat(&h.element().expect("an element"), "skipped-bytes"), garbage.len() as u64);
    Ok(())
}

#[test]
fn nothing_but_garbage_ends_in_an_error() -> TestResult {
    let mut h = harness(None);
    let bus = watch(&h);
    push_in_chunks(&mut h, &[0x55; 10_000], 1000)?;
    h.push_event(gst::event::Eos::new());
    assert_eq!(outputs(&mut h).len(), 0);
    assert_eq!(posted(&bus, gst::MessageType::Error), 1);
    Ok(())
}

#[test]
fn truncated_end_is_dropped_and_counted() -> TestResult {
    let stream = default_stream();
    let bytes = stream.bytes();
    let last = stream.units.len() - 1;
    for cut in [1, 3, stream.units[last].len() - 1] {
        let mut h = harness(None);
        push_in_chunks(&mut h, &bytes[..bytes.len() - cut], 1000)?;
        h.push_event(gst::event::Eos::new());
        assert_frames(&outputs(&mut h), &stream, &range(0..last));
        let element = h.element().expect("an element");
        assert_eq!(stat(&element, "skipped-bytes"), (stream.units[last].len() - cut) as u64, "{cut} bytes cut off");
        assert_eq!(stat(&element, "sync-losses"), 1);
        let events: Vec<_> = std::iter::from_fn(|| h.try_pull_event()).map(|event| event.type_()).collect();
        assert_eq!(events.last(), Some(&gst::EventType::Eos));
    }
    Ok(())
}

#[test]
fn end_of_stream_unit_is_no_frame_and_another_stream_may_follow() -> TestResult {
    let stream = default_stream();
    let mut h = harness(None);
    let bus = watch(&h);
    let once = [stream.bytes(), stream::end_of_stream()].concat();
    push_in_chunks(&mut h, &[once.clone(), once].concat(), 77)?;
    h.push_event(gst::event::Eos::new());
    let buffers = outputs(&mut h);
    let n = stream.units.len();
    assert_frames(&buffers, &stream, &[all(&stream), all(&stream)].concat());
    assert_eq!(pts(&buffers), frame_times(&range(0..2 * n)));
    assert_eq!(posted(&bus, gst::MessageType::Warning), 0);
    assert_eq!(stat(&h.element().expect("an element"), "skipped-bytes"), 0);
    Ok(())
}

#[test]
fn byte_stream_becomes_packetized_for_who_takes_only_that() -> TestResult {
    let stream = default_stream();
    let wanted = Recipe { format: StreamFormat::Packetized, ..Recipe::default() }.stream();
    let mut h = harness(None);
    h.set_sink_caps_str(PACKETIZED);
    push_in_chunks(&mut h, &stream.bytes(), 200)?;
    let buffers = outputs(&mut h);
    assert_frames(&buffers, &wanted, &all(&wanted));
    assert_eq!(pts(&buffers), frame_times(&all(&wanted)));
    let caps = h.sinkpad().and_then(|pad| pad.current_caps()).ok_or("no caps on the output")?;
    let s = caps.structure(0).ok_or("empty caps")?;
    assert_eq!(s.get::<&str>("stream-format")?, "packetized");
    // The parameter sets, and nothing more.
    let codec_data = payload(&s.get::<gst::Buffer>("codec_data")?);
    assert!(wanted.units[0].starts_with(&codec_data));
    let mut inspector = stream::Inspector::new(Limits::default());
    assert_eq!(inspector.read_header(&codec_data)?.framerate, (25, 1));
    assert!(inspector.read_header(&codec_data[..codec_data.len() - 1]).is_err());
    Ok(())
}

#[test]
fn codec_data_gives_caps_before_the_first_access_unit() -> TestResult {
    let stream = Recipe { format: StreamFormat::Packetized, ..Recipe::default() }.stream();
    let mut h = harness(None);
    h.set_sink_caps_str(PACKETIZED);
    push_in_chunks(&mut h, &default_stream().bytes(), 1000)?;
    let caps = h.sinkpad().and_then(|pad| pad.current_caps()).ok_or("no caps on the output")?;

    let mut next = harness(Some(&caps.to_string()));
    // A gap needs caps to go before it.
    next.push_event(gst::event::Gap::builder(gst::ClockTime::ZERO).duration(FRAME).build());
    let ahead = next.sinkpad().and_then(|pad| pad.current_caps()).ok_or("no caps before the first access unit")?;
    assert_eq!(ahead, caps);
    // And they are right: the stream does not change them.
    for unit in &stream.units {
        next.push(gst::Buffer::from_slice(unit.clone()))?;
    }
    assert_frames(&outputs(&mut next), &stream, &all(&stream));
    assert_eq!(next.sinkpad().and_then(|pad| pad.current_caps()), Some(caps));
    Ok(())
}

#[test]
fn packetized_becomes_byte_stream_for_who_takes_only_that() -> TestResult {
    let stream = Recipe { format: StreamFormat::Packetized, ..Recipe::default() }.stream();
    let wanted = default_stream();
    let mut h = harness(Some("application/x-fcm,stream-format=packetized,alignment=au"));
    h.set_sink_caps_str(BYTE_STREAM);
    for unit in &stream.units {
        h.push(gst::Buffer::from_slice(unit.clone()))?;
    }
    assert_frames(&outputs(&mut h), &wanted, &all(&wanted));
    Ok(())
}

#[test]
fn whole_access_units_pass_one_to_one_with_their_metadata() -> TestResult {
    for format in [StreamFormat::ByteStream, StreamFormat::Packetized] {
        let stream = Recipe { format, framerate: (0, 1), ..Recipe::default() }.stream();
        let name = if format == StreamFormat::ByteStream { BYTE_STREAM } else { PACKETIZED };
        let mut h = harness(Some(&format!("{name},alignment=au,parsed=true")));
        let reference = gst::Caps::new_empty_simple("timestamp/x-test");
        for (n, unit) in stream.units.iter().enumerate() {
            let mut buffer = gst::Buffer::from_slice(unit.clone());
            let b = buffer.get_mut().expect("own buffer");
            b.set_pts(gst::ClockTime::from_mseconds(1000 + 37 * n as u64 + (n as u64 % 3)));
            b.set_duration(gst::ClockTime::from_mseconds(30 + n as u64));
            gst::ReferenceTimestampMeta::add(b, &reference, gst::ClockTime::from_seconds(n as u64), None);
            h.push(buffer)?;
            // Not one buffer of delay.
            let out = h.try_pull().ok_or("an access unit was held back")?;
            assert_eq!(payload(&out), *unit);
            assert_eq!(out.pts(), Some(gst::ClockTime::from_mseconds(1000 + 37 * n as u64 + (n as u64 % 3))));
            assert_eq!(out.duration(), Some(gst::ClockTime::from_mseconds(30 + n as u64)));
            let meta = out.meta::<gst::ReferenceTimestampMeta>().ok_or("the meta is gone")?;
            assert_eq!(meta.timestamp(), gst::ClockTime::from_seconds(n as u64));
        }
    }
    Ok(())
}

#[test]
fn damaged_packet_does_not_harm_its_neighbours() -> TestResult {
    let stream = Recipe { format: StreamFormat::Packetized, ..Recipe::default() }.stream();
    let mut h = harness(Some("application/x-fcm,stream-format=packetized,alignment=au"));
    for (n, unit) in stream.units.iter().enumerate() {
        let mut unit = unit.clone();
        if n == 5 {
            unit.truncate(unit.len() / 2);
        }
        h.push(gst::Buffer::from_slice(unit))?;
    }
    let next = stream.random_access_from(6);
    assert_frames(&outputs(&mut h), &stream, &[range(0..5), range(next..stream.units.len())].concat());
    Ok(())
}

#[test]
fn timed_pieces_give_their_time_to_the_frames_that_begin_in_them() -> TestResult {
    let stream = default_stream();
    let mut h = harness(Some(BYTE_STREAM));
    for (n, unit) in stream.units.iter().enumerate() {
        let (head, tail) = unit.split_at(unit.len() / 3);
        let mut buffer = gst::Buffer::from_slice(head.to_vec());
        buffer.get_mut().expect("own buffer").set_pts(gst::ClockTime::from_mseconds(500 + 41 * n as u64));
        h.push(buffer)?;
        h.push(gst::Buffer::from_slice(tail.to_vec()))?;
    }
    let buffers = outputs(&mut h);
    assert_frames(&buffers, &stream, &all(&stream));
    let wanted: Vec<_> =
        (0..stream.units.len()).map(|n| Some(gst::ClockTime::from_mseconds(500 + 41 * n as u64))).collect();
    assert_eq!(pts(&buffers), wanted);
    Ok(())
}

#[test]
fn timed_segment_without_timestamps_counts_frames() -> TestResult {
    let stream = default_stream();
    let mut h = harness(Some(BYTE_STREAM));
    push_in_chunks(&mut h, &stream.bytes(), 111)?;
    let buffers = outputs(&mut h);
    assert_eq!(pts(&buffers), frame_times(&all(&stream)));
    Ok(())
}

#[test]
fn unknown_frame_rate_invents_no_durations() -> TestResult {
    let stream = Recipe { framerate: (0, 1), ..Recipe::default() }.stream();
    let mut h = harness(None);
    push_in_chunks(&mut h, &stream.bytes(), 111)?;
    let buffers = outputs(&mut h);
    assert_frames(&buffers, &stream, &all(&stream));
    assert!(buffers.iter().all(|b| b.duration().is_none()));
    assert!(buffers.iter().skip(1).all(|b| b.pts().is_none()));
    Ok(())
}

#[test]
fn frame_rate_of_the_caps_serves_a_stream_without_one() -> TestResult {
    let stream = Recipe { framerate: (0, 1), ..Recipe::default() }.stream();
    let mut h = harness(Some("application/x-fcm,stream-format=byte-stream,framerate=25/1"));
    push_in_chunks(&mut h, &stream.bytes(), 111)?;
    let buffers = outputs(&mut h);
    assert!(buffers.iter().all(|b| b.duration() == Some(FRAME)));
    let caps = h.sinkpad().and_then(|pad| pad.current_caps()).ok_or("no caps on the output")?;
    assert_eq!(caps.structure(0).ok_or("empty caps")?.get::<gst::Fraction>("framerate")?, gst::Fraction::new(25, 1));
    Ok(())
}

#[test]
fn flush_forgets_half_an_access_unit() -> TestResult {
    let stream = default_stream();
    let mut h = harness(Some(BYTE_STREAM));
    let bus = watch(&h);
    push_in_chunks(&mut h, &stream.units[..2].concat(), 4096)?;
    h.push(gst::Buffer::from_slice(stream.units[2][..10].to_vec()))?;
    h.push_event(gst::event::FlushStart::new());
    h.push_event(gst::event::FlushStop::new(true));
    h.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    // Somewhere else: predicted frames first.
    push_in_chunks(&mut h, &stream.units[6..].concat(), 4096)?;
    let next = stream.random_access_from(6);
    let buffers = outputs(&mut h);
    assert_frames(&buffers, &stream, &[range(0..2), range(next..stream.units.len())].concat());
    assert!(buffers[2].flags().contains(gst::BufferFlags::DISCONT));
    assert_eq!(posted(&bus, gst::MessageType::Warning), 0, "a seek is no damage");
    Ok(())
}

#[test]
fn another_segment_of_a_live_stream_costs_nothing() -> TestResult {
    let stream = default_stream();
    let mut h = harness(Some(BYTE_STREAM));
    push_in_chunks(&mut h, &stream.units[..2].concat(), 4096)?;
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(gst::ClockTime::from_seconds(1));
    h.push_event(gst::event::Segment::new(&segment));
    push_in_chunks(&mut h, &stream.units[2..].concat(), 4096)?;
    assert_frames(&outputs(&mut h), &stream, &all(&stream));
    Ok(())
}

#[test]
fn new_shapes_midstream_give_new_caps() -> TestResult {
    let first = default_stream();
    let second = Recipe { channels: 5, framerate: (50, 1), ..Recipe::default() }.stream();
    let mut h = harness(None);
    push_in_chunks(&mut h, &[first.bytes(), second.bytes()].concat(), 300)?;
    let buffers = outputs(&mut h);
    assert_frames(&buffers[..first.units.len()], &first, &all(&first));
    assert_frames(&buffers[first.units.len()..], &second, &all(&second));
    let rates: Vec<gst::Fraction> = std::iter::from_fn(|| h.try_pull_event())
        .filter_map(|event| match event.view() {
            gst::EventView::Caps(caps) => caps.caps().structure(0)?.get("framerate").ok(),
            _ => None,
        })
        .collect();
    assert_eq!(rates, [gst::Fraction::new(25, 1), gst::Fraction::new(50, 1)]);
    Ok(())
}

#[test]
fn access_unit_over_the_limit_is_refused() -> TestResult {
    init();
    let stream = Recipe { channels: 64, frames: 3, ..Recipe::default() }.stream();
    assert!(stream.units[0].len() > 1024, "the access unit has {} bytes", stream.units[0].len());
    let parse = gst::ElementFactory::make("fcmparse").property("max-access-unit", 1024u64).build()?;
    let mut h = Harness::with_element(&parse, Some("sink"), Some("src"));
    h.play();
    h.set_src_caps_str(BYTE_STREAM);
    push_in_chunks(&mut h, &stream.bytes(), 500)?;
    h.push_event(gst::event::Eos::new());
    assert_eq!(outputs(&mut h).len(), 0);
    assert_eq!(stat(&parse, "skipped-bytes"), stream.bytes().len() as u64);
    Ok(())
}

#[test]
fn unknown_stream_format_is_refused() {
    let mut h = harness(Some("application/x-fcm,stream-format=carrots"));
    assert_eq!(h.push(gst::Buffer::from_slice([0u8; 16])), Err(gst::FlowError::NotNegotiated));
}

#[test]
fn downstream_wishes_reach_upstream_without_the_framing() -> TestResult {
    init();
    let mut h = Harness::new("fcmparse");
    h.set_sink_caps_str("application/x-fcm,stream-format=packetized,statistics=ecs");
    h.play();
    let parse = h.element().ok_or("no element")?;
    let sink = parse.static_pad("sink").ok_or("no pad")?;
    let takes = |text: &str| text.parse::<gst::Caps>().map(|caps| sink.query_caps(None).can_intersect(&caps));
    assert!(takes("application/x-fcm,stream-format=byte-stream,statistics=ecs")?);
    assert!(!takes("application/x-fcm,statistics=none")?);
    let filter: gst::Caps = "video/x-raw".parse()?;
    assert!(sink.query_caps(Some(&filter)).is_empty());
    Ok(())
}

#[test]
fn element_starts_anew_after_a_stop() -> TestResult {
    let stream = default_stream();
    let mut h = harness(Some(BYTE_STREAM));
    push_in_chunks(&mut h, &stream.bytes()[..700.min(stream.bytes().len())], 4096)?;
    let element = h.element().ok_or("no element")?;
    outputs(&mut h);
    element.set_state(gst::State::Null)?;
    element.set_state(gst::State::Playing)?;
    assert_eq!(stat(&element, "access-units"), 0);
    h.push_event(gst::event::StreamStart::new("again"));
    h.push_event(gst::event::Caps::new(&BYTE_STREAM.parse::<gst::Caps>()?));
    h.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    push_in_chunks(&mut h, &stream.bytes(), 4096)?;
    assert_frames(&outputs(&mut h), &stream, &all(&stream));
    Ok(())
}

/// A stream in a file that is removed with this.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, bytes: &[u8]) -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("fcmparse-{}-{name}", std::process::id()));
        std::fs::File::create(&path)?.write_all(bytes)?;
        Ok(Self(path))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A pipeline that is stopped with this.
struct Running(gst::Pipeline);

impl Running {
    fn new(description: &str) -> Result<Self, gst::glib::Error> {
        init();
        let pipeline = gst::parse::launch(description)?;
        Ok(Self(pipeline.downcast().expect("several elements are a pipeline")))
    }

    fn element(&self, name: &str) -> gst::Element {
        self.0.by_name(name).expect("an element of this name")
    }

    fn wait_for(&self, kind: gst::MessageType) -> Result<gst::Message, String> {
        let bus = self.0.bus().expect("a pipeline has a bus");
        let message = bus
            .timed_pop_filtered(gst::ClockTime::from_seconds(20), &[kind, gst::MessageType::Error])
            .ok_or_else(|| format!("no {kind:?} in 20 s"))?;
        match message.view() {
            gst::MessageView::Error(err) => Err(format!("{} {:?}", err.error(), err.debug())),
            _ => Ok(message),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

/// Collects what a pad gets.
fn collect(sink: &gst::Element) -> std::sync::Arc<std::sync::Mutex<Vec<gst::Buffer>>> {
    let got = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let copy = got.clone();
    sink.static_pad("sink").expect("a sink has a pad").add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer() {
            copy.lock().expect("no panic elsewhere").push(buffer.clone());
        }
        gst::PadProbeReturn::Ok
    });
    got
}

#[test]
fn file_is_read_by_pulling_and_in_blocks_alike() -> TestResult {
    let stream = Recipe { frames: 60, key_int_max: 10, ..Recipe::default() }.stream();
    let file = File::new("read.fcm", &[stream.bytes(), stream::end_of_stream()].concat())?;
    for between in ["", "! queue"] {
        let run = Running::new(&format!(
            "filesrc location={} blocksize=777 {between} ! fcmparse ! fakesink name=sink sync=false",
            file.0.display()
        ))?;
        let got = collect(&run.element("sink"));
        run.0.set_state(gst::State::Playing)?;
        run.wait_for(gst::MessageType::Eos)?;
        let buffers = got.lock().expect("no panic elsewhere").clone();
        assert_frames(&buffers, &stream, &all(&stream));
        assert_eq!(pts(&buffers), frame_times(&all(&stream)));
    }
    Ok(())
}

#[test]
fn truncated_file_plays_to_its_last_whole_frame() -> TestResult {
    let stream = Recipe { frames: 20, ..Recipe::default() }.stream();
    let bytes = stream.bytes();
    let file = File::new("cut.fcm", &bytes[..bytes.len() - 5])?;
    let run = Running::new(&format!(
        "filesrc location={} ! fcmparse name=parse ! fakesink name=sink sync=false",
        file.0.display()
    ))?;
    let got = collect(&run.element("sink"));
    run.0.set_state(gst::State::Playing)?;
    run.wait_for(gst::MessageType::Eos)?;
    assert_frames(&got.lock().expect("no panic elsewhere"), &stream, &range(0..19));
    assert_eq!(stat(&run.element("parse"), "sync-losses"), 1);
    Ok(())
}

#[test]
fn seek_lands_on_a_random_access_point() -> TestResult {
    let stream = Recipe { frames: 200, key_int_max: 10, ..Recipe::default() }.stream();
    let file = File::new("seek.fcm", &stream.bytes())?;
    let run = Running::new(&format!(
        "filesrc location={} ! fcmparse name=parse ! fakesink name=sink sync=false",
        file.0.display()
    ))?;
    let got = collect(&run.element("sink"));
    // Once through, so that the index is complete.
    run.0.set_state(gst::State::Playing)?;
    run.wait_for(gst::MessageType::Eos)?;
    let duration = run.0.query_duration::<gst::ClockTime>().ok_or("no duration")?;
    // An estimate from the bytes read.
    assert!((7600..8400).contains(&duration.mseconds()), "duration {duration} of 200 frames at 25 frames/s");

    run.0.set_state(gst::State::Paused)?;
    got.lock().expect("no panic elsewhere").clear();
    let target = FRAME * 125;
    run.0.seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT | gst::SeekFlags::ACCURATE, target)?;
    run.wait_for(gst::MessageType::AsyncDone)?;
    run.0.set_state(gst::State::Playing)?;
    run.wait_for(gst::MessageType::Eos)?;
    let buffers = got.lock().expect("no panic elsewhere").clone();
    assert_frames(&buffers, &stream, &range(120..200));
    assert_eq!(pts(&buffers), frame_times(&range(120..200)));
    assert_eq!(stat(&run.element("parse"), "sync-losses"), 0, "a seek is no damage");

    assert!(
        run.0
            .seek(-1.0, gst::SeekFlags::FLUSH, gst::SeekType::Set, gst::ClockTime::ZERO, gst::SeekType::Set, target)
            .is_err()
    );
    Ok(())
}

#[test]
fn typefind_knows_a_stream_by_its_content() -> TestResult {
    let small = default_stream().bytes();
    let large = Recipe { channels: 512, ..Recipe::default() }.stream().bytes();
    let cut = small[..40].to_vec();
    for (name, bytes) in [("small", small), ("large", large), ("cut", cut)] {
        // A name that says nothing.
        let file = File::new(name, &bytes)?;
        let run = Running::new(&format!("filesrc location={} ! typefind name=find ! fakesink", file.0.display()))?;
        run.0.set_state(gst::State::Paused)?;
        run.wait_for(gst::MessageType::AsyncDone)?;
        let caps = run.element("find").property::<Option<gst::Caps>>("caps").ok_or("no type found")?;
        assert_eq!(caps.structure(0).ok_or("empty caps")?.name(), "application/x-fcm", "{name}");
    }
    Ok(())
}

#[test]
fn typefind_takes_no_other_data_for_a_stream() -> TestResult {
    for (name, bytes) in [("text", b"FCM is not FCM without its marker".repeat(100)), ("zeros", vec![0; 100_000])] {
        let file = File::new(name, &bytes)?;
        let run = Running::new(&format!("filesrc location={} ! typefind name=find ! fakesink", file.0.display()))?;
        run.0.set_state(gst::State::Paused)?;
        // An unknown type is an error of typefind, any other than ours is right.
        let _ = run.wait_for(gst::MessageType::AsyncDone);
        let caps = run.element("find").property::<Option<gst::Caps>>("caps");
        assert!(caps.is_none_or(|caps| !caps.to_string().contains("x-fcm")), "{name}");
    }
    Ok(())
}

#[test]
fn autoplugging_finds_parser_and_type() -> TestResult {
    let stream = default_stream();
    let file = File::new("auto.fcm", &stream.bytes())?;
    let run = Running::new(&format!(
        "filesrc location={} ! parsebin name=bin ! fakesink name=sink sync=false",
        file.0.display()
    ))?;
    let got = collect(&run.element("sink"));
    run.0.set_state(gst::State::Playing)?;
    run.wait_for(gst::MessageType::Eos)?;
    assert_frames(&got.lock().expect("no panic elsewhere"), &stream, &all(&stream));
    Ok(())
}

#[test]
fn autoplugging_decodes_a_file() -> TestResult {
    let stream = default_stream();
    let file = File::new("decode.fcm", &stream.bytes())?;
    let run = Running::new(&format!(
        "filesrc location={} ! decodebin caps=other/tensors ! other/tensors,format=static ! fakesink name=sink sync=false",
        file.0.display()
    ))?;
    let got = collect(&run.element("sink"));
    run.0.set_state(gst::State::Playing)?;
    run.wait_for(gst::MessageType::Eos)?;
    let buffers = got.lock().expect("no panic elsewhere").clone();
    assert_eq!(pts(&buffers), frame_times(&all(&stream)));
    // The values of both layers: 8x6x8 and 16x3x4.
    assert!(buffers.iter().all(|b| b.size() == 4 * (8 * 6 * 8 + 16 * 3 * 4)));
    Ok(())
}

#[test]
fn randomly_damaged_stream_plays_to_its_end() -> TestResult {
    let stream = Recipe { frames: 60, ..Recipe::default() }.stream();
    let file = File::new("damaged.fcm", &stream.bytes())?;
    for seed in 1..=8 {
        let run = Running::new(&format!(
            "filesrc location={} ! breakmydata seed={seed} probability=0.0005 ! fcmparse name=parse ! tee name=t \
             t. ! fakesink name=coded sync=false async=false t. ! fcmdec ! fakesink name=sink sync=false async=false",
            file.0.display()
        ))?;
        let coded = collect(&run.element("coded"));
        let decoded = collect(&run.element("sink"));
        run.0.set_state(gst::State::Playing)?;
        run.wait_for(gst::MessageType::Eos)?;
        // What comes through is what the encoder wrote, and the decoder can make something of every bit of it.
        let coded = coded.lock().expect("no panic elsewhere").clone();
        assert!(coded.iter().all(|buffer| stream.units.contains(&payload(buffer))), "seed {seed}");
        assert_eq!(decoded.lock().expect("no panic elsewhere").len(), coded.len(), "seed {seed}");
        assert!(stat(&run.element("parse"), "sync-losses") > 0, "seed {seed} damaged nothing");
        assert!(!coded.is_empty(), "seed {seed} left nothing");
    }
    Ok(())
}
