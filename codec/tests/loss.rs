//! Lost access units and slices of error-resilient streams: the decoder goes on, says that it does, and is exact again with the next
//! whole random access unit.

mod common;
#[path = "common/streams.rs"]
mod streams;
#[path = "common/units.rs"]
mod units;

use fcm_codec::bitstream::stream::{MARKER, UnitSpan, salvage, shorten, slice_ends, split as spans};
use fcm_codec::{Damage, Decoded, Decoder, ErrorKind, Limits, Result};
use streams::{Stream, expect_exact, write_all};
use units::{PREDICTED, RANDOM_ACCESS, RawUnit, join, split};

/// First components of the groups (docs/bitstream.md §7.3).
const STARTS: [usize; 8] = [0, 3, 10, 25, 40, 63, 101, 161];

fn resilient() -> Vec<Stream> {
    streams::all().into_iter().filter(|s| s.config.error_resilient).collect()
}

/// Decodes a frame and tells its damage; what is given out must be writable and finite.
fn damage(decoder: &mut Decoder, unit: &[u8]) -> Result<Option<Damage>> {
    match decoder.decode(unit)? {
        Decoded::Frame(mut frame) => {
            let values = write_all(&mut frame);
            assert!(values.iter().flatten().all(|v| v.is_finite()));
            Ok(frame.damage())
        }
        Decoded::AwaitingRandomAccess { missing } => panic!("awaiting random access, {missing:?}"),
    }
}

#[test]
fn a_stream_goes_on_after_any_lost_frame_and_is_exact_from_the_next_random_access_point() -> Result<()> {
    for stream in resilient() {
        for lost in 1..stream.units.len() {
            let mut decoder = stream.decoder();
            let mut since = 0;
            for (t, unit) in stream.units.iter().enumerate().filter(|&(t, _)| t != lost) {
                // Every third frame is a random access point.
                since = if t % 3 > 0 && t > lost && t / 3 == lost / 3 { since + 1 } else { 0 };
                let found = damage(&mut decoder, unit)?;
                let what = format!("{}: frame {t} without {lost}", stream.name);
                assert_eq!(found.map_or(0, |d| d.frames), since, "{what}");
                if let Some(damage) = found {
                    assert_eq!(damage.missing, Some(u32::from(t == lost + 1)), "{what}");
                    assert_eq!(damage.groups.0, damage.groups.1, "{what}");
                } else {
                    assert!(decoder.reconstruction() == stream.reconstructions[t], "{what}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_lost_random_access_frame_leaves_a_stream_that_can_be_followed() -> Result<()> {
    for stream in resilient() {
        let mut decoder = stream.decoder();
        for t in [0, 1, 2] {
            assert_eq!(damage(&mut decoder, &stream.units[t])?, None);
        }
        for (n, t) in [4, 5].into_iter().enumerate() {
            let found = damage(&mut decoder, &stream.units[t])?.expect("frame 3 is missing");
            assert_eq!(found.frames, n as u32 + 1);
        }
        assert_eq!(damage(&mut decoder, &stream.units[0])?, None);
    }
    Ok(())
}

#[test]
fn a_discontinuity_of_unknown_length_is_damage_and_a_reset_waits() -> Result<()> {
    let stream = &resilient()[0];
    let mut decoder = stream.decoder();
    damage(&mut decoder, &stream.units[0])?;
    decoder.discontinuity();
    let found = damage(&mut decoder, &stream.units[1])?.expect("nobody knows what is missing");
    assert_eq!((found.frames, found.missing), (1, None));
    decoder.reset();
    assert!(matches!(decoder.decode(&stream.units[2])?, Decoded::AwaitingRandomAccess { .. }));
    assert_eq!(damage(&mut decoder, &stream.units[3])?, None);
    Ok(())
}

#[test]
fn frames_behind_a_sequence_that_cannot_be_decoded_are_not_taken_for_those_of_the_one_before() -> Result<()> {
    let all = resilient();
    let other = all.iter().find(|s| s.config.transform.is_some()).expect("a calibrated stream");
    let mut decoder = all[0].decoder();
    damage(&mut decoder, &all[0].units[0])?;
    let error = decoder.decode(&other.units[0]).err().expect("a transform that was not given");
    assert_eq!(error.kind(), ErrorKind::Transform);
    assert!(matches!(decoder.decode(&other.units[1])?, Decoded::AwaitingRandomAccess { missing: None }));
    assert_eq!(damage(&mut decoder, &all[0].units[3])?, None);
    Ok(())
}

fn sliced() -> Stream {
    streams::all().into_iter().find(|s| s.name == "moving").expect("a stream with slices")
}

#[test]
fn slices_are_about_as_long_as_asked_and_begin_with_the_group_after_the_last() {
    let stream = sliced();
    for unit in &stream.units {
        let (_, units) = split(unit);
        let frames: Vec<&RawUnit> =
            units.iter().filter(|u| [RANDOM_ACCESS, PREDICTED].contains(&u.unit_type())).collect();
        assert!(frames.len() > 1 || frames[0].unit_type() == PREDICTED, "{} slices", frames.len());
        let mut next = 0;
        for (n, slice) in frames.iter().enumerate() {
            let (first, last) = (slice.payload[1] & 7, slice.payload[1] >> 3);
            assert_eq!(first, next);
            assert_eq!(slice.head >> 4 & 1 == 1, n + 1 == frames.len());
            // A single group may be longer than a slice should be.
            assert!(slice.payload.len() <= 60 || first == last, "{} bytes", slice.payload.len());
            next = last + 1;
        }
    }
}

#[test]
fn the_first_slices_of_a_frame_give_its_strongest_components_exactly() -> Result<()> {
    let stream = sliced();
    let mut whole = Vec::new();
    for t in [0, 1, 3] {
        let (marked, units) = split(&stream.units[t]);
        let heads = units.iter().filter(|u| ![RANDOM_ACCESS, PREDICTED].contains(&u.unit_type())).count();
        for kept in heads + 1..units.len() {
            let mut decoder = stream.decoder();
            for before in t / 3 * 3..t {
                damage(&mut decoder, &stream.units[before])?;
            }
            let before = decoder.reconstruction().to_vec();
            let mut short = join(marked, &units[..kept]);
            let error = decoder.decode(&short).err().expect("it does not end");
            assert_eq!(error.kind(), ErrorKind::InsufficientData);
            salvage(&mut short, &Limits::default(), &mut whole)?;
            let mut decoder = stream.decoder();
            for before in t / 3 * 3..t {
                damage(&mut decoder, &stream.units[before])?;
            }
            let found = damage(&mut decoder, &short)?.expect("slices are missing");
            assert!(found.groups.0 < found.groups.1 && found.frames == 1);
            let positions = decoder.reconstruction().len() / decoder.sequence().expect("a stream").components as usize;
            let exact = STARTS[found.groups.0] * positions;
            assert!(decoder.reconstruction()[..exact] == stream.reconstructions[t][..exact], "frame {t}");
            if t == 0 && before.is_empty() {
                assert!(decoder.reconstruction()[exact..].iter().all(|&v| v == 0));
            }
            expect_exact(&mut decoder, &stream.units[0], &stream.reconstructions[0], &|| "the next start".into());
        }
    }
    Ok(())
}

#[test]
fn what_is_left_of_an_access_unit_is_cut_where_it_is_damaged() -> Result<()> {
    let stream = sliced();
    let (mut sound, mut left) = (Vec::new(), Vec::new());
    spans(&stream.units[0], &Limits::default(), &mut sound)?;
    for cut in 0..stream.units[0].len() {
        let mut bytes = stream.units[0][..cut].to_vec();
        // Sequence and picture parameters come first.
        let whole = sound.iter().filter(|unit| unit.range.end <= cut).count();
        match salvage(&mut bytes, &Limits::default(), &mut left) {
            Ok(_) => assert_eq!((left.len(), bytes.len()), (whole, sound[whole - 1].range.end)),
            Err(error) => assert!(whole < 3 && error.kind() == ErrorKind::Corruption, "cut at {cut}: {error}"),
        }
    }
    let mut flipped = stream.units[0].clone();
    flipped[sound[4].range.start + 3] ^= 1;
    salvage(&mut flipped, &Limits::default(), &mut left)?;
    assert_eq!(left.len(), 4);
    Ok(())
}

#[test]
fn a_shortened_access_unit_is_what_is_left_when_the_weaker_slices_are_lost() -> Result<()> {
    let (limits, mut found, mut left) = (Limits::default(), Vec::new(), Vec::new());
    let mut shorter = 0;
    for stream in streams::all() {
        for unit in &stream.units {
            spans(unit, &limits, &mut found)?;
            let ends: Vec<usize> = slice_ends(&found).collect();
            assert_eq!(ends.last(), Some(&unit.len()), "{}", stream.name);
            for slices in 1..=ends.len() + 1 {
                // What is there already stays.
                let mut out = vec![7];
                let kept = shorten(unit, slices, &limits, &mut found, &mut out)?;
                assert_eq!(kept, slices.min(ends.len()));
                let mut lost = unit[..ends[kept - 1]].to_vec();
                salvage_marked(&mut lost, &mut left)?;
                assert!(out[0] == 7 && out[1..] == lost, "{}: {slices} slices", stream.name);
                assert_eq!(lost == *unit, kept == ends.len());
                spans(&lost, &limits, &mut found)?;
                shorter += usize::from(kept < ends.len());
            }
        }
    }
    assert!(shorter > 2, "{shorter} access units of several slices");
    Ok(())
}

/// [`salvage`], which knows no markers, on a unit of a byte stream.
fn salvage_marked(unit: &mut Vec<u8>, left: &mut Vec<UnitSpan>) -> Result<()> {
    let marked = unit.starts_with(&MARKER);
    let mut bytes = unit.split_off(if marked { MARKER.len() } else { 0 });
    salvage(&mut bytes, &Limits::default(), left)?;
    unit.append(&mut bytes);
    Ok(())
}

#[test]
fn only_whole_access_units_are_shortened_and_never_to_nothing() {
    let (stream, mut out) = (sliced(), Vec::new());
    let unit = &stream.units[0];
    let mut refused =
        |unit: &[u8], slices| shorten(unit, slices, &Limits::default(), &mut Vec::new(), &mut out).unwrap_err();
    assert_eq!(refused(unit, 0).kind(), ErrorKind::InvalidConfig);
    assert_eq!(refused(&unit[..unit.len() - 1], 1).kind(), ErrorKind::InsufficientData);
    let mut flipped = unit.clone();
    flipped[30] ^= 1;
    assert_eq!(refused(&flipped, 1).kind(), ErrorKind::Corruption);
    assert_eq!(refused(&[&unit[..], &[0]].concat(), 1).kind(), ErrorKind::Corruption);
    assert!(out.is_empty());
}

#[test]
fn slices_out_of_order_doubled_or_of_other_frames_are_errors() {
    let stream = sliced();
    let (marked, units) = split(&stream.units[0]);
    let (heads, slices) = units.split_at(2);
    let continued = |u: &RawUnit| RawUnit { head: u.head & !0x10, ..u.clone() };
    let ended = |u: &RawUnit| RawUnit { head: u.head | 0x10, ..u.clone() };
    let other_qp = |u: &RawUnit| {
        let mut other = u.clone();
        other.payload[0] ^= 1;
        other
    };
    let groups = |u: &RawUnit, byte: u8| {
        let mut other = ended(u);
        other.payload[1] = byte;
        other
    };
    let cases = [
        ("without the first", vec![ended(&slices[1])]),
        ("swapped", vec![continued(&slices[1]), ended(&slices[0])]),
        ("doubled", vec![slices[0].clone(), continued(&slices[0]), ended(&slices[1])]),
        ("of two qps", vec![slices[0].clone(), other_qp(&ended(&slices[1]))]),
        ("first after last", vec![groups(&slices[0], 1)]),
        ("past the last group", vec![groups(&slices[0], 7 << 3)]),
        ("reserved bits", vec![groups(&slices[0], 0x40 | slices[0].payload[1])]),
        ("nine", (0..8).map(|_| slices[0].clone()).chain([ended(&slices[0])]).collect()),
    ];
    for (name, slices) in cases {
        let mut decoder = stream.decoder();
        let error = decoder.decode(&join(marked, &[heads, &slices[..]].concat())).err().expect(name);
        assert_eq!(error.kind(), ErrorKind::Corruption, "{name}: {error}");
    }
}
