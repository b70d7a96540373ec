//! Cuts: an access unit that ends early is told apart from a damaged one, costs its frames to the next random access
//! point, and a scanner asks for bytes that are enough.

mod common;
#[path = "common/streams.rs"]
mod streams;
#[path = "common/units.rs"]
mod units;

use fcm_codec::bitstream::stream::{Inspector, Scan, convert, end_of_stream, scan};
use fcm_codec::{Decoded, Encoder, ErrorKind, Limits, Result, StreamFormat, Transform};
use streams::expect_exact;
use units::{RawUnit, join, split};

#[test]
fn a_cut_at_every_length_is_insufficient_data_in_every_reader() {
    for stream in streams::all() {
        let mut decoder = stream.decoder();
        for (n, unit) in stream.units.iter().enumerate() {
            for cut in 0..unit.len() {
                let what = || format!("{} frame {n}, {cut} of {} bytes", stream.name, unit.len());
                let kind = |r: Result<()>| r.err().map(|e| e.kind());
                let expected = Some(ErrorKind::InsufficientData);
                // Half a marker is not a marker, and 0xFC begins no unit.
                let in_marker = n % 3 == 0 && stream.config.format == StreamFormat::ByteStream && (1..4).contains(&cut);
                let expected = if in_marker { Some(ErrorKind::Corruption) } else { expected };
                assert_eq!(kind(decoder.decode(&unit[..cut]).map(|_| ())), expected, "{}", what());
                let mut inspector = Inspector::new(Limits::default());
                assert_eq!(kind(inspector.inspect(&unit[..cut]).map(|_| ())), expected, "{}", what());
                let mut out = vec![9];
                let converted = convert(&unit[..cut], StreamFormat::Packetized, &Limits::default(), &mut out);
                assert_eq!(kind(converted), expected, "{}", what());
                assert_eq!(out, [9]);
            }
        }
    }
}

#[test]
fn a_truncated_unit_is_an_error_and_the_next_random_access_point_is_exact() -> Result<()> {
    for stream in streams::all() {
        let mut decoder = stream.decoder();
        let half = stream.units[1].len() / 2;
        expect_exact(&mut decoder, &stream.units[0], &stream.reconstructions[0], &|| stream.name.into());
        assert!(decoder.decode(&stream.units[1][..half]).is_err());
        match decoder.decode(&stream.units[2])? {
            Decoded::AwaitingRandomAccess { .. } => assert!(!stream.config.error_resilient),
            Decoded::Frame(frame) => assert!(stream.config.error_resilient && frame.damage().is_some()),
        }
        for t in 3..6 {
            expect_exact(&mut decoder, &stream.units[t], &stream.reconstructions[t], &|| stream.name.into());
        }
    }
    Ok(())
}

#[test]
fn bytes_behind_an_access_unit_are_corruption_when_it_is_framed() {
    for stream in streams::all() {
        let unit = [&stream.units[0][..], &[0]].concat();
        let error = stream.decoder().decode(&unit).err().expect("one byte too many");
        assert_eq!(error.kind(), ErrorKind::Corruption);
        let message = format!("an access unit of {} bytes with 1 bytes behind it", unit.len() - 1);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn payloads_cut_short_under_a_right_check_are_errors_for_parameters_and_survived_for_frames() {
    for stream in streams::all() {
        let mut decoder = stream.decoder();
        let (marked, sound) = split(&stream.units[0]);
        for (u, unit) in sound.iter().enumerate() {
            for cut in 0..unit.payload.len() {
                let mut damaged = sound.clone();
                damaged[u].payload.truncate(cut);
                let result = decoder.decode(&join(marked, &damaged)).map(|_| ());
                if u < 2 {
                    let kind = result.err().map(|e| e.kind());
                    let legal = [Some(ErrorKind::InsufficientData), Some(ErrorKind::Corruption)];
                    assert!(legal.contains(&kind), "{}: unit {u} cut to {cut}: {kind:?}", stream.name);
                }
            }
        }
        expect_exact(&mut decoder, &stream.units[0], &stream.reconstructions[0], &|| stream.name.into());
    }
}

#[test]
fn scan_asks_for_more_until_it_has_enough_and_what_it_asks_for_is_enough() {
    let limits = Limits::default();
    for stream in streams::all() {
        let format = stream.config.format;
        for (n, unit) in stream.units.iter().enumerate() {
            for cut in 0..unit.len() {
                let Scan::NeedMore { at_least } = scan(&unit[..cut], format, true, false, &limits) else {
                    panic!("{} frame {n}: {cut} of {} bytes", stream.name, unit.len());
                };
                assert!(at_least > cut && at_least <= unit.len(), "{at_least} of {}, have {cut}", unit.len());
                // At the end of the stream nothing more is asked for.
                if cut > 0 {
                    let at_end = scan(&unit[..cut], format, true, true, &limits);
                    assert!(matches!(at_end, Scan::Skip { len } if (1..=cut).contains(&len)), "{at_end:?}");
                }
            }
            // Fed by its own wishes it comes to the whole in few steps.
            let (mut have, mut steps) = (0, 0);
            loop {
                match scan(&unit[..have], format, true, false, &limits) {
                    Scan::NeedMore { at_least } => (have, steps) = (at_least, steps + 1),
                    Scan::AccessUnit { len, .. } => break assert_eq!((len, have), (unit.len(), unit.len())),
                    other => panic!("{other:?}"),
                }
            }
            assert!(steps <= 16, "{steps} steps");
        }
        let end = end_of_stream();
        for cut in 0..end.len() {
            let more = scan(&end[..cut], format, true, false, &limits);
            assert!(matches!(more, Scan::NeedMore { at_least } if at_least > cut && at_least <= end.len()), "{more:?}");
        }
        assert_eq!(scan(&end, format, true, false, &limits), Scan::EndOfStream { len: end.len() });
    }
}

#[test]
fn the_sequence_header_is_read_whole_or_not_at_all() -> Result<()> {
    for stream in streams::all() {
        let encoder = Encoder::new(stream.config.clone(), stream.layout.clone())?;
        let header = encoder.sequence_header();
        let mut inspector = Inspector::new(Limits::default());
        for cut in 0..header.len() {
            assert!(inspector.read_header(&header[..cut]).is_err(), "{} bytes of {}", cut, header.len());
        }
        assert!(inspector.sequence().is_none());
        assert_eq!(inspector.read_header(&header)?, encoder.sequence());
        let picture = join(true, &[RawUnit::new(units::PICTURE, false, 0, &[])]);
        assert_eq!(inspector.read_header(&picture).err().map(|e| e.kind()), Some(ErrorKind::Corruption));
    }
    Ok(())
}

#[test]
fn a_transform_file_cut_anywhere_is_insufficient_data() {
    let file = streams::transform(&[(2, 2, 2, false), (1, 1, 1, true)], 4, 8).to_bytes();
    for cut in 0..file.len() {
        let error = Transform::from_bytes(&file[..cut], &Limits::default()).expect_err("cut");
        assert_eq!(error.kind(), ErrorKind::InsufficientData, "{cut} of {}", file.len());
    }
    let error = Transform::from_bytes(&[&file[..], &[0]].concat(), &Limits::default()).expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::Corruption);
}
