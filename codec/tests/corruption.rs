//! Damage: flipped bits, missing, doubled and swapped units, wrong transforms, garbage. The decoder never panics, and
//! decodes the frames from the next random access point on as if nothing had been.

mod common;
#[path = "common/counting.rs"]
mod counting;
#[path = "common/streams.rs"]
mod streams;
#[path = "common/units.rs"]
mod units;

use common::{frame, layout};
use fcm_codec::bitstream::stream::{Scan, end_of_stream, scan};
use fcm_codec::{
    Decoded, Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, ErrorKind, FrameKind, FrameRequest, Limits, Result,
    Shape, StreamFormat,
};
use streams::{Stream, expect_exact, transform, write_all};
use units::{MARKER, PICTURE, PREDICTED, RANDOM_ACCESS, RawUnit, SEQUENCE, SUPPLEMENTARY, join, split};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Frames from one random access point of the test streams to the next.
const PERIOD: usize = 3;

/// Decodes something that may be damaged; whatever it gives must be writable.
fn decode_any(decoder: &mut Decoder, unit: &[u8]) -> Option<ErrorKind> {
    match decoder.decode(unit) {
        Ok(Decoded::Frame(mut frame)) => {
            write_all(&mut frame);
            None
        }
        Ok(Decoded::AwaitingRandomAccess { .. }) => None,
        Err(e) => {
            assert!(!e.to_string().is_empty());
            Some(e.kind())
        }
    }
}

/// Decodes the period of frame `n` of `stream` with `damaged` in its place, and then the next period (of the stream
/// taken as a ring), which must be exact. Returns what became of the damaged unit.
fn play(
    decoder: &mut Decoder,
    stream: &Stream,
    n: usize,
    damaged: &[u8],
    what: &dyn Fn() -> String,
) -> Option<ErrorKind> {
    let first = n / PERIOD * PERIOD;
    for t in first..n {
        expect_exact(decoder, &stream.units[t], &stream.reconstructions[t], what);
    }
    let outcome = decode_any(decoder, damaged);
    for t in n + 1..first + PERIOD {
        decode_any(decoder, &stream.units[t]);
    }
    for t in first + PERIOD..first + 2 * PERIOD {
        let t = t % stream.units.len();
        expect_exact(decoder, &stream.units[t], &stream.reconstructions[t], what);
    }
    outcome
}

#[test]
fn every_flipped_bit_is_an_error_and_the_next_random_access_point_is_exact() {
    for stream in streams::all() {
        let mut decoder = stream.decoder();
        for (n, unit) in stream.units.iter().enumerate() {
            for bit in 0..unit.len() * 8 {
                let mut damaged = unit.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let what = || format!("{}, frame {n}, bit {bit}", stream.name);
                let outcome = play(&mut decoder, &stream, n, &damaged, &what);
                assert!(outcome.is_some(), "{}: the damage was not found", what());
            }
        }
    }
}

#[test]
fn flipped_bits_under_a_right_check_give_an_error_or_garbage_in_little_memory() {
    for stream in streams::all() {
        let mut decoder = stream.decoder();
        let (mut errors, mut accepted) = (0, 0);
        for (n, access_unit) in stream.units.iter().enumerate() {
            let (marked, sound) = split(access_unit);
            assert_eq!(join(marked, &sound), *access_unit);
            for (u, unit) in sound.iter().enumerate() {
                for bit in 0..(1 + unit.payload.len()) * 8 {
                    let mut damaged = sound.clone();
                    let byte = if bit < 8 { &mut damaged[u].head } else { &mut damaged[u].payload[bit / 8 - 1] };
                    *byte ^= 1 << (bit % 8);
                    let damaged = join(marked, &damaged);
                    let what = || format!("{}, frame {n}, unit {u}, bit {bit}", stream.name);
                    let mark = counting::peak_since_here();
                    let outcome = play(&mut decoder, &stream, n, &damaged, &what);
                    assert!(mark.bytes() < 16 << 20, "{}: {} bytes of memory", what(), mark.bytes());
                    if outcome.is_some() { errors += 1 } else { accepted += 1 }
                }
            }
        }
        // Both must happen, or the loop did not reach what it is for.
        assert!(errors > 20 && accepted > 20, "{}: {errors} errors, {accepted} accepted", stream.name);
    }
}

#[test]
fn bytes_of_zeros_and_ones_and_random_payloads_are_survived() {
    for stream in streams::all() {
        let mut decoder = stream.decoder();
        let mut random = common::Random(99);
        for (n, access_unit) in stream.units.iter().enumerate() {
            let (marked, sound) = split(access_unit);
            let last = sound.len() - 1;
            for round in 0..60 {
                let mut damaged = sound.clone();
                let payload = &mut damaged[last].payload;
                match round {
                    0 => payload[1..].fill(0),
                    1 => payload[1..].fill(0xFF),
                    2 => payload.truncate(1),
                    3 => payload.extend_from_slice(&[0xAA; 300]),
                    _ => payload[1..].iter_mut().for_each(|b| *b = random.next() as u8),
                }
                let damaged = join(marked, &damaged);
                play(&mut decoder, &stream, n, &damaged, &|| format!("{}, frame {n}, round {round}", stream.name));
            }
        }
    }
}

#[test]
fn missing_doubled_and_swapped_units_are_errors() {
    let stream = &streams::all()[0];
    let mut decoder = stream.decoder();
    let (_, sound) = split(&stream.units[0]);
    let [sequence, picture, coded] = &sound[..] else { panic!("{} units", sound.len()) };
    assert_eq!([sequence, picture, coded].map(RawUnit::unit_type), [SEQUENCE, PICTURE, RANDOM_ACCESS]);
    let (_, predicted) = split(&stream.units[1]);
    let predicted = predicted.last().expect("a frame");
    assert_eq!(predicted.unit_type(), PREDICTED);
    let continued = |u: &RawUnit| RawUnit { head: u.head & !0x10, ..u.clone() };
    let ended = |u: &RawUnit| RawUnit { head: u.head | 0x10, ..u.clone() };
    let cases: Vec<(&str, Vec<RawUnit>)> = vec![
        ("no sequence parameters", vec![picture.clone(), coded.clone()]),
        ("no picture parameters", vec![sequence.clone(), coded.clone()]),
        ("no parameters", vec![coded.clone()]),
        ("swapped", vec![picture.clone(), sequence.clone(), coded.clone()]),
        ("two sequence parameter sets", vec![sequence.clone(), sequence.clone(), picture.clone(), coded.clone()]),
        ("two picture parameter sets", vec![sequence.clone(), picture.clone(), picture.clone(), coded.clone()]),
        ("a predicted frame behind sequence parameters", vec![sequence.clone(), picture.clone(), predicted.clone()]),
        ("parameters that are the last unit", vec![sequence.clone(), ended(picture), coded.clone()]),
        ("two frames", vec![sequence.clone(), picture.clone(), coded.clone(), predicted.clone()]),
        ("a frame of no bytes", vec![sequence.clone(), picture.clone(), RawUnit::new(RANDOM_ACCESS, true, 0, &[])]),
        ("an end inside", vec![sequence.clone(), picture.clone(), RawUnit::new(6, true, 0, &[])]),
    ];
    for (name, units) in &cases {
        for marked in [false, true] {
            let error = play(&mut decoder, stream, 0, &join(marked, units), &|| (*name).to_owned());
            assert_eq!(error, Some(ErrorKind::Corruption), "{name}");
        }
    }
    // A frame and its parameters may not be cut short of the frame, nor of its last slice.
    let open = [sequence.clone(), picture.clone(), continued(coded)];
    let error = play(&mut decoder, stream, 0, &join(true, &open), &|| "a frame that is not the last unit".into());
    assert_eq!(error, Some(ErrorKind::InsufficientData));
    let error = play(&mut decoder, stream, 0, &join(true, &[sequence.clone(), picture.clone()]), &|| "cut".into());
    assert_eq!(error, Some(ErrorKind::InsufficientData));
    // Supplementary units may stand anywhere before the frame and change nothing.
    let extra = RawUnit::new(SUPPLEMENTARY, false, 7, b"anything");
    let units = [extra.clone(), sequence.clone(), extra.clone(), extra.clone(), picture.clone(), extra, coded.clone()];
    expect_exact(&mut decoder, &join(true, &units), &stream.reconstructions[0], &|| "supplementary".into());
}

#[test]
fn a_lost_doubled_or_late_predicted_frame_is_told_and_costs_its_period_only() -> Result<()> {
    for stream in streams::all() {
        let transforms = stream.config.transform.iter().cloned().collect();
        let mut decoder = match stream.config.error_resilient {
            true => Decoder::new(DecoderConfig { transforms, exact_only: true, ..DecoderConfig::default() })?,
            false => stream.decoder(),
        };
        let missing = |decoder: &mut Decoder, unit: &[u8]| match decoder.decode(unit)? {
            Decoded::AwaitingRandomAccess { missing } => Ok(missing),
            Decoded::Frame(f) => panic!("{}: frame {} decoded", stream.name, f.number()),
        };
        let what = || stream.name.to_owned();
        expect_exact(&mut decoder, &stream.units[0], &stream.reconstructions[0], &what);
        assert_eq!(missing(&mut decoder, &stream.units[2])?, Some(1), "frame 1 was lost");
        assert_eq!(missing(&mut decoder, &stream.units[1])?, None, "it comes too late");
        expect_exact(&mut decoder, &stream.units[3], &stream.reconstructions[3], &what);
        expect_exact(&mut decoder, &stream.units[4], &stream.reconstructions[4], &what);
        assert_eq!(missing(&mut decoder, &stream.units[4])?, Some(63), "frame 4 came twice");
        expect_exact(&mut decoder, &stream.units[0], &stream.reconstructions[0], &what);
    }
    Ok(())
}

#[test]
fn shapes_may_change_at_any_random_access_point() {
    let all = streams::all();
    let transforms = all.iter().filter_map(|s| s.config.transform.clone()).collect();
    let mut decoder = Decoder::new(DecoderConfig { transforms, ..DecoderConfig::default() }).unwrap();
    for (a, b) in [(0, 3), (3, 2), (2, 4), (4, 1), (1, 0), (0, 5)] {
        for (n, stream) in [(0, &all[a]), (1, &all[b])] {
            for t in 0..PERIOD {
                let unit = &stream.units[t];
                match decoder.decode(unit) {
                    Ok(Decoded::Frame(f)) => {
                        if n == 1 {
                            let changed = t == 0 && all[a].layout != all[b].layout;
                            assert_eq!(f.layout_changed(), changed, "{} to {}, frame {t}", all[a].name, stream.name);
                        }
                        assert_eq!(*f.layout(), stream.layout);
                    }
                    _ => panic!("{} frame {t}", stream.name),
                }
                assert!(decoder.reconstruction() == stream.reconstructions[t], "{} frame {t}", stream.name);
            }
        }
        // A predicted frame of the other stream has the right number, but not the right parameters to be sensible;
        // it must not panic, and the next random access point is exact.
        decode_any(&mut decoder, &all[a].units[1]);
        decode_any(&mut decoder, &all[a].units[2]);
    }
}

#[test]
fn a_wrong_or_missing_transform_is_named_and_the_right_one_may_come_later() -> Result<()> {
    let stream = &streams::all()[1];
    let right = stream.config.transform.clone().expect("a transform");
    let wrong = transform(&[(2, 2, 2, false), (3, 1, 1, false)], 7, 4);
    assert_ne!(right.id(), wrong.id());
    let mut decoder = Decoder::new(DecoderConfig::default())?;
    let error = decoder.decode(&stream.units[0]).err().expect("no transform");
    assert_eq!(error.kind(), ErrorKind::Transform);
    assert_eq!(error.to_string(), format!("the stream needs transform {}, none was given", right.id()));
    decoder.add_transform(wrong.clone());
    let error = decoder.decode(&stream.units[0]).err().expect("the wrong transform");
    assert_eq!(error.kind(), ErrorKind::Transform);
    assert_eq!(error.to_string(), format!("the stream needs transform {}, given was {}", right.id(), wrong.id()));
    assert!(matches!(decoder.decode(&stream.units[1])?, Decoded::AwaitingRandomAccess { .. }));
    decoder.add_transform(right);
    for t in 0..6 {
        expect_exact(&mut decoder, &stream.units[t], &stream.reconstructions[t], &|| format!("frame {t}"));
    }
    Ok(())
}

#[test]
fn a_transform_of_other_cells_is_refused_by_encoder_and_decoder() {
    let stream = &streams::all()[1];
    let right = stream.config.transform.clone().expect("a transform");
    let other = layout(&[(Shape::chw(2, 8, 6), Dtype::F32), (Shape::chw(3, 2, 3), Dtype::F16)]);
    let config = EncoderConfig { transform: Some(right.clone()), ..EncoderConfig::default() };
    let error = Encoder::new(config, other).err().expect("cells do not fit");
    assert_eq!(error.kind(), ErrorKind::Transform);
    assert!(error.to_string().contains(&right.id().to_string()), "{error}");
    // The same in a stream: layer 0 made higher in the sequence parameter set.
    let (marked, mut units) = split(&stream.units[0]);
    let height = 3 + 1 + 1 + 1;
    assert_eq!(units[0].payload[height - 1..=height + 1], [2, 4, 6]);
    units[0].payload[height] = 8;
    let mut decoder = stream.decoder();
    let error = decoder.decode(&join(marked, &units)).err().expect("cells do not fit");
    assert_eq!(error.kind(), ErrorKind::Transform);
    // More components than the transform has.
    let (marked, mut units) = split(&stream.units[0]);
    let at = units[0].payload.windows(8).position(|w| w == right.id().0).expect("the id") - 1;
    assert_eq!(units[0].payload[at], 7);
    units[0].payload[at] = 8;
    let error = decoder.decode(&join(marked, &units)).err().expect("too many components");
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Corruption, "8 components, legal are 1 to 7".into()));
}

/// What a parser finds in `bytes` that come in `chunks` bytes at a time: access units and the place of each.
fn found(bytes: &[u8], format: StreamFormat, chunk: usize, synced: bool) -> Vec<(usize, Vec<u8>, FrameKind)> {
    let limits = Limits::default();
    let (mut at, mut have, mut synced) = (0, 0, synced);
    let mut out = Vec::new();
    while have < bytes.len() || at < have {
        have = (have + chunk).min(bytes.len());
        let at_end = have == bytes.len();
        while at < have {
            match scan(&bytes[at..have], format, synced, at_end, &limits) {
                Scan::AccessUnit { len, kind, .. } => {
                    out.push((at, bytes[at..at + len].to_vec(), kind));
                    (at, synced) = (at + len, true);
                }
                Scan::EndOfStream { len } => (at, synced) = (at + len, true),
                Scan::Skip { len } => {
                    assert!(len >= 1 && at + len <= have);
                    (at, synced) = (at + len, false);
                }
                Scan::NeedMore { at_least } => {
                    assert!(!at_end, "more bytes are wanted at the end");
                    assert!(at_least > have - at, "{at_least} of {}", have - at);
                    break;
                }
            }
        }
    }
    out
}

#[test]
fn the_same_access_units_are_found_whatever_the_chunks_and_the_garbage() {
    let mut random = common::Random(5);
    for stream in streams::all().iter().filter(|s| s.config.format == StreamFormat::ByteStream) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (t, unit) in stream.units.iter().enumerate() {
            // Garbage before random access points, with parts of markers and one whole marker in it.
            if t % PERIOD == 0 {
                bytes.extend((0..20).map(|_| random.next() as u8));
                bytes.extend_from_slice(&[&units::MARKER[..], &[0x20, 0x90, 0xFC, 0x46, 0x43, 0xFC, 0x46]].concat());
            }
            expected.push((bytes.len(), unit.clone()));
            bytes.extend_from_slice(unit);
        }
        bytes.extend_from_slice(&end_of_stream());
        bytes.extend_from_slice(&[0xFC, 0x46, 0x43]);
        for chunk in (1..=bytes.len()).filter(|c| *c < 70 || c % 97 == 0 || *c == bytes.len()) {
            let got: Vec<_> =
                found(&bytes, StreamFormat::ByteStream, chunk, false).into_iter().map(|(at, u, _)| (at, u)).collect();
            assert!(got == expected, "{}: chunks of {chunk}", stream.name);
        }
    }
}

#[test]
fn garbage_inside_a_period_costs_the_rest_of_it() {
    let stream = &streams::all()[0];
    let mut bytes = stream.units[0].clone();
    bytes.extend_from_slice(b"garbage");
    bytes.extend_from_slice(&stream.units[1..].concat());
    let got: Vec<_> = found(&bytes, StreamFormat::ByteStream, 64, false).into_iter().map(|(_, u, _)| u).collect();
    let expected: Vec<_> = [0, 3, 4, 5].map(|t| stream.units[t].clone()).to_vec();
    assert!(got == expected);
}

#[test]
fn a_late_joiner_finds_the_next_random_access_point_from_every_byte() {
    for stream in streams::all().iter().filter(|s| s.config.format == StreamFormat::ByteStream) {
        let bytes = stream.bytes();
        let second: usize = stream.units[..PERIOD].iter().map(Vec::len).sum();
        for start in 1..=second {
            let got = found(&bytes[start..], StreamFormat::ByteStream, 33, false);
            let units: Vec<_> = got.iter().map(|(_, u, _)| u.clone()).collect();
            assert!(units == stream.units[PERIOD..], "{} from byte {start}", stream.name);
            assert_eq!(got[0].2, FrameKind::RandomAccess);
        }
    }
}

#[test]
fn every_damaged_byte_of_a_byte_stream_costs_at_most_its_period_whatever_the_chunks() {
    let stream = &streams::all()[3];
    let bytes = stream.bytes();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        let whole = found(&damaged, StreamFormat::ByteStream, damaged.len(), false);
        for chunk in [1, 7, 64] {
            assert!(found(&damaged, StreamFormat::ByteStream, chunk, false) == whole, "byte {at}, chunks of {chunk}");
        }
        let first: usize = stream.units[..PERIOD].iter().map(Vec::len).sum();
        let intact = if at < first { &stream.units[PERIOD..] } else { &stream.units[..PERIOD] };
        for unit in intact {
            assert!(whole.iter().any(|(_, u, _)| u == unit), "byte {at}: a sound access unit was not found");
        }
    }
}

#[test]
fn an_error_in_the_first_frame_does_not_stop_an_encoder_or_its_decoder() -> Result<()> {
    let layout = layout(&[(Shape::chw(2, 4, 6), Dtype::F32)]);
    let mut encoder = Encoder::new(EncoderConfig::default(), layout.clone())?;
    let mut bad = frame(&layout, 1, 0);
    bad.wide[0][5] = f32::NAN;
    let mut out = vec![1, 2, 3];
    assert!(encoder.encode(&bad.tensors(), FrameRequest::default(), &mut out).is_err());
    assert_eq!(out, [1, 2, 3]);
    out.clear();
    let encoded = encoder.encode(&frame(&layout, 1, 0).tensors(), FrameRequest::default(), &mut out)?;
    assert_eq!((encoded.index, encoded.kind), (0, FrameKind::RandomAccess));
    let mut decoder = Decoder::new(DecoderConfig::default())?;
    expect_exact(&mut decoder, &out, encoder.reconstruction(), &|| "first good frame".into());
    Ok(())
}

/// Markers every few bytes, each with right parameter sets and a frame that claims two million bytes of what follows.
#[test]
fn bytes_made_of_markers_are_scanned_in_linear_time() {
    const CLAIMED: usize = 2_000_000;
    let stream = &streams::all()[0];
    let (_, units) = split(&stream.units[0]);
    let mut bait = MARKER.to_vec();
    units.iter().filter(|u| u.unit_type() != RANDOM_ACCESS).for_each(|u| u.write(&mut bait));
    // Type 3, last; 2,000,000 as a varint.
    bait.extend_from_slice(&[0x70, 0x80, 0x89, 0x7A]);
    let bytes = bait.repeat(3 * CLAIMED / bait.len());
    let (mut at, mut checked) = (0, 0);
    while at < bytes.len() {
        let Scan::Skip { len } = scan(&bytes[at..], StreamFormat::ByteStream, false, true, &Limits::default()) else {
            panic!("a frame was found at {at}");
        };
        let whole = bytes[at..].starts_with(&MARKER) && bytes.len() - at > CLAIMED + bait.len();
        checked += if whole { CLAIMED } else { bait.len() };
        at += len;
    }
    assert!(checked <= 65 * bytes.len(), "{checked} bytes were checked of {}", bytes.len());
}
