//! The promises of the codec that fuzzing tries to break, one function each, of plain bytes.
//!
//! `cargo fuzz run <target>` drives them (docs in fuzz/README.md); `cargo test` replays fuzz/corpus/<target>/ through the
//! same functions (codec/tests/corpus.rs includes this file), so that what was found once stays found without nightly.

mod packets;
mod pictures;
#[path = "../../codec/tests/common/planes.rs"]
mod planes;
#[allow(dead_code, reason = "the elements use more of it")]
#[path = "../../src/rtp/mod.rs"]
pub mod rtp;
mod source;
#[path = "../../codec/tests/common/units.rs"]
mod units;

use fcm_codec::bitstream::stream::{Inspector, Scan, convert, scan};
use fcm_codec::picture::{PictureReader, Read};
use fcm_codec::{
    Decoded, Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, ErrorKind, FrameKind, FrameRequest, Layout, Limits,
    StatisticsMode, StreamFormat, TensorMut, Transform,
};
use half::f16;
pub use packets::packets;
pub use pictures::pictures;
use sha2::{Digest, Sha256};
use source::Source;
use units::{PICTURE, PREDICTED, RANDOM_ACCESS, RawUnit, join, split};

/// Small, so that no input takes long.
fn limits() -> Limits {
    Limits {
        max_elements: 1 << 14,
        max_fused: 1 << 15,
        max_components: 1 << 13,
        max_access_unit: 1 << 20,
        max_decisions: 1 << 20,
        ..Limits::default()
    }
}

fn decoder(config: &EncoderConfig) -> Decoder {
    let transforms = config.transform.iter().cloned().collect();
    Decoder::new(DecoderConfig { transforms, limits: limits(), ..DecoderConfig::default() }).expect("a legal config")
}

/// Decodes, and writes every layer of what comes out. Returns whether a frame did.
fn decode_and_write(decoder: &mut Decoder, unit: &[u8]) -> Result<bool, ErrorKind> {
    let mut frame = match decoder.decode(unit).map_err(|e| e.kind())? {
        Decoded::Frame(frame) => frame,
        Decoded::AwaitingRandomAccess { .. } => return Ok(false),
    };
    let layout = frame.layout().clone();
    write_layers(&layout, |n, out| frame.write(n, out));
    Ok(true)
}

/// Has `write` write every layer of `layout`.
fn write_layers(layout: &Layout, mut write: impl FnMut(usize, TensorMut<'_>) -> fcm_codec::Result<()>) {
    for (n, layer) in layout.layers().iter().enumerate() {
        let len = layer.shape.elements() as usize;
        match layer.dtype {
            Dtype::F32 => write(n, TensorMut::F32(&mut vec![0.0; len])),
            Dtype::F16 => write(n, TensorMut::F16(&mut vec![f16::ZERO; len])),
        }
        .expect("a buffer of the layer's size");
    }
}

/// Any bytes: as one access unit, and as a byte stream, and as packets. Nothing may panic or take long.
pub fn decode(data: &[u8]) {
    let mut decoder = decoder(&EncoderConfig::default());
    let mut inspector = Inspector::new(limits());
    let _ = decode_and_write(&mut decoder, data);
    let mut pictures = PictureReader::new(limits());
    let _ = inspector.inspect(data);
    let _ = inspector.read_header(data);
    let _ = pictures.read(data);
    for format in [StreamFormat::ByteStream, StreamFormat::Packetized] {
        let mut converted = Vec::new();
        if convert(data, format, &limits(), &mut converted).is_ok() {
            let mut back = Vec::new();
            convert(&converted, format, &limits(), &mut back).expect("what was converted can be converted");
            assert_eq!(back, converted);
        }
        for (_, unit) in access_units(data, format, &mut std::iter::repeat(usize::MAX)) {
            let inspected = inspector.inspect(&unit);
            let decoded = decode_and_write(&mut decoder, &unit);
            let picture = pictures.read(&unit).is_ok_and(|read| matches!(read, Read::Picture(_)));
            assert!(!picture || decoded != Ok(true), "a stream of two inner codecs");
            // What decodes can be inspected. (The opposite is not so: an inspector reads no payloads.)
            assert!(decoded != Ok(true) || inspected.is_ok(), "{decoded:?} {inspected:?}");
        }
    }
}

/// Access units in `data`, and where they begin, found by [`scan`] when data come in `chunks`.
fn access_units(data: &[u8], format: StreamFormat, chunks: &mut dyn Iterator<Item = usize>) -> Vec<(usize, Vec<u8>)> {
    let limits = limits();
    let (mut found, mut at, mut have, mut synced) = (Vec::new(), 0usize, 0usize, true);
    while at < data.len() {
        have = have.saturating_add(chunks.next().unwrap_or(usize::MAX).max(1)).min(data.len());
        let at_end = have == data.len();
        while at < have {
            match scan(&data[at..have], format, synced, at_end, &limits) {
                Scan::AccessUnit { len, .. } => {
                    assert!(len >= 1 && at + len <= have);
                    found.push((at, data[at..at + len].to_vec()));
                    (at, synced) = (at + len, true);
                }
                Scan::EndOfStream { len } => {
                    assert!(len >= 1 && at + len <= have);
                    (at, synced) = (at + len, true);
                }
                Scan::Skip { len } => {
                    assert!(len >= 1 && at + len <= have);
                    (at, synced) = (at + len, false);
                }
                Scan::NeedMore { at_least } => {
                    assert!(!at_end && at_least > have - at);
                    break;
                }
            }
        }
    }
    found
}

/// A byte stream cut in any way gives the same access units at the same places. The first byte tells how long a list of
/// chunk sizes follows it, which is taken in turns.
pub fn chunked(data: &[u8]) {
    let Some((&count, rest)) = data.split_first() else { return };
    let (sizes, stream) = rest.split_at(usize::from(count % 16).min(rest.len()));
    for format in [StreamFormat::ByteStream, StreamFormat::Packetized] {
        let whole = access_units(stream, format, &mut std::iter::repeat(usize::MAX));
        let mut cut = sizes.iter().cycle().map(|&s| usize::from(s));
        assert_eq!(access_units(stream, format, &mut cut), whole, "{format:?} in chunks of {sizes:?}");
        assert_eq!(access_units(stream, format, &mut std::iter::repeat(1)), whole, "{format:?} byte by byte");
    }
}

/// Valid sequence parameters, and behind them picture parameters and frames of wild bytes with right checks.
pub fn header_then_tail(data: &[u8]) {
    let mut source = Source::new(data);
    let (config, layout) = source.config();
    let Ok(encoder) = Encoder::new(config.clone(), layout) else { return };
    let mut decoder = decoder(&config);
    let (_, header) = split(&encoder.sequence_header());
    let mut number = 0u8;
    while !source.is_empty() {
        let control = source.u8();
        let statistics = (control & 1 == 1 || number == 0).then(|| {
            let size = statistics_bytes(&encoder) + if control & 2 == 2 { 4 } else { 0 };
            let size = if control & 0xC0 == 0xC0 { usize::from(source.u8()) } else { size };
            RawUnit::new(PICTURE, false, control >> 1 & 1, &source.take(size))
        });
        let mut payload = vec![source.u8() & 63 | (number >> 4 & 3) << 6];
        let size = usize::from(source.u8()) + usize::from(control >> 2 & 3) * 256;
        payload.extend_from_slice(&source.take(size));
        let unit_type = if number == 0 { RANDOM_ACCESS } else { PREDICTED };
        let coded = RawUnit::new(unit_type, true, number & 15, &payload);
        let units: Vec<RawUnit> =
            header.iter().filter(|_| number == 0).cloned().chain(statistics).chain([coded]).collect();
        let result = decode_and_write(&mut decoder, &join(false, &units));
        number = if result == Ok(true) { (number + 1) % 64 } else { 0 };
    }
}

fn statistics_bytes(encoder: &Encoder) -> usize {
    let layers = encoder.layout().layers().len();
    match encoder.sequence().statistics {
        StatisticsMode::ZScore => 8 * (layers + 1),
        StatisticsMode::Simplified => 8,
        StatisticsMode::Ecs => 4 * layers,
        StatisticsMode::None => 0,
    }
}

/// decode(encode(x)) has the encoder's own reconstruction bit for bit on every frame, for any settings, shapes and
/// values; input that is refused leaves no trace.
pub fn roundtrip(data: &[u8]) {
    let mut source = Source::new(data);
    let (config, layout) = source.config();
    let mut encoder = match Encoder::new(config.clone(), layout.clone()) {
        Ok(encoder) => encoder,
        Err(e) => panic!("{e}: the source makes legal settings"),
    };
    let mut decoder = decoder(&config);
    let mut inspector = Inspector::new(limits());
    for _ in 0..8 {
        let request = FrameRequest { random_access: source.u8() & 7 == 7 };
        let features = source.features(&layout);
        let mut unit = vec![0xAB];
        match encoder.encode(&features.tensors(), request, &mut unit) {
            Ok(encoded) => {
                assert!(features.finite(), "NaN or an infinity was taken");
                assert_eq!(encoded.bytes, unit.len() - 1);
                let decoded = decode_and_write(&mut decoder, &unit[1..]);
                assert_eq!(decoded, Ok(true), "frame {}: {config:?} {layout:?}", encoded.index);
                assert!(encoder.reconstruction() == decoder.reconstruction(), "frame {}", encoded.index);
                let info = inspector.inspect(&unit[1..]).expect("what decodes can be inspected");
                assert_eq!((info.bytes, info.qp, info.kind), (encoded.bytes, encoded.qp, encoded.kind));
                assert_eq!(info.header_bytes, encoded.header_bytes);
                assert_eq!(info.statistics_bytes, encoded.statistics_bytes);
                assert!(!request.random_access || encoded.kind == FrameKind::RandomAccess);
            }
            Err(e) => {
                let expected = if features.finite() { ErrorKind::LimitExceeded } else { ErrorKind::InvalidInput };
                assert_eq!(e.kind(), expected, "{e}");
                assert_eq!(unit, [0xAB]);
            }
        }
        if source.is_empty() {
            break;
        }
    }
}

/// Bytes of a transform file, as they are and with the checksum made right: what is accepted is the file of the transform
/// that was read.
pub fn transform(data: &[u8]) {
    let check = |bytes: &[u8]| {
        let Ok(transform) = Transform::from_bytes(bytes, &limits()) else { return };
        assert!(transform.to_bytes() == bytes, "another file comes out");
        assert_eq!(transform.id().0, bytes_of_digest(bytes));
        assert!((0.0..=1.0).contains(&transform.energy(transform.components())));
        let _ = transform.fits(&layout_of_one());
    };
    check(data);
    if let Some(content) = data.len().checked_sub(32) {
        let mut repaired = data[..content].to_vec();
        let digest = Sha256::digest(&repaired);
        repaired.extend_from_slice(&digest);
        check(&repaired);
    }
}

fn bytes_of_digest(file: &[u8]) -> [u8; 8] {
    file[file.len() - 32..][..8].try_into().expect("8 bytes")
}

fn layout_of_one() -> Layout {
    Layout::new(vec![fcm_codec::Layer::new("", fcm_codec::Shape::chw(2, 4, 4), Dtype::F32)], &limits()).expect("legal")
}
