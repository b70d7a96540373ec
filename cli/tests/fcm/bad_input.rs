//! Input that is wrong: named errors, exit status, nothing half-written.

use crate::common::{Npy, Place, features, read_npz, values, write_npz};
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;
use zip::CompressionMethod::Stored;

fn map(name: &str) -> Npy {
    Npy::f32(name, &[2, 3, 4, 5], &values(1, 2, 3, 4, 5))
}

#[test]
fn unusable_feature_files_are_refused_by_name() -> Result<()> {
    let good = map("good");
    let cases: Vec<(&str, Vec<Npy>, &[&str])> = vec![
        ("pickled", vec![good.clone(), Npy { descr: "|O", ..map("p") }], &["\"p\"", "pickled"]),
        ("Fortran", vec![good.clone(), Npy { fortran: true, ..map("f") }], &["\"f\"", "Fortran"]),
        ("f64", vec![Npy { descr: "<f8", ..map("d") }], &["\"d\"", "<f8", "f16 and f32"]),
        ("absurd", vec![Npy { shape: vec![1 << 40, 1 << 40, 9, 9], ..map("x") }], &["\"x\"", "does not agree"]),
        ("longer than its data", vec![Npy { shape: vec![4, 3, 4, 5], ..map("x") }], &["\"x\"", "does not agree"]),
        ("frames", vec![good.clone(), Npy::f32("v", &[3, 2], &[0.5; 6])], &["\"v\" has 3 frames", "\"good\" has 2"]),
        ("no frames", vec![Npy { shape: vec![0, 3, 4, 5], bytes: vec![], ..map("x") }], &["0 frames"]),
        ("zero size", vec![Npy { shape: vec![2, 0, 4, 5], bytes: vec![], ..map("x") }], &["0"]),
        ("rank", vec![Npy { shape: vec![1, 2, 3, 4, 5], ..map("x") }], &["\"x\"", "5 dimensions"]),
        ("empty", vec![], &["no array"]),
    ];
    for (what, arrays, expected) in cases {
        let place = Place::new()?;
        write_npz(&place.path("a.npz"), &arrays, Stored)?;
        for command in ["encode a.npz -o out.fcm", "encode a.npz -o out.fcm --json", "calibrate a.npz -o out.fcmt"] {
            let run = place.run(command)?;
            let message = run.stderr();
            assert_eq!((run.code(), run.stdout().as_str()), (Some(1), ""), "{what}: {message}");
            assert!(expected.iter().all(|e| message.contains(e)), "{what}: {message}");
            assert!(message.contains("a.npz"), "{what}: {message}");
            assert_eq!(place.files()?, ["a.npz"], "{what} left files");
        }
    }
    Ok(())
}

#[test]
fn values_that_are_not_finite_are_refused_with_layer_and_index() -> Result<()> {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let place = Place::new()?;
        let mut x = values(1, 2, 3, 4, 5);
        // The second frame's value 17.
        x[60 + 17] = bad;
        write_npz(&place.path("a.npz"), &[Npy::f32("x", &[2, 3, 4, 5], &x)], Stored)?;
        for command in ["encode a.npz -o out.fcm", "calibrate a.npz -o out.fcmt", "compare a.npz a.npz"] {
            let run = place.run(command)?;
            let message = run.stderr();
            assert_eq!(run.code(), Some(1), "{command}: {message}");
            assert!(["x", "17", "frame 1"].iter().all(|e| message.contains(e)), "{command}: {message}");
            assert_eq!(place.files()?, ["a.npz"]);
        }
    }
    Ok(())
}

#[test]
fn broken_files_are_refused() -> Result<()> {
    let place = Place::new()?;
    write_npz(&place.path("a.npz"), &[map("x")], Stored)?;
    let whole = fs::read(place.path("a.npz"))?;
    for length in [0, 3, 40, 200, whole.len() - 1] {
        fs::write(place.path("cut.npz"), &whole[..length])?;
        let run = place.run("encode cut.npz -o out.fcm")?;
        assert_eq!(run.code(), Some(1), "{length} of {} bytes", whole.len());
        assert!(run.stderr().contains("cut.npz"), "{}", run.stderr());
    }
    // A changed value no longer fits the member's checksum.
    let mut flipped = whole.clone();
    let value = flipped.len() / 2;
    flipped[value] ^= 1;
    fs::write(place.path("flip.npz"), &flipped)?;
    let run = place.run("encode flip.npz -o out.fcm")?;
    assert_eq!(run.code(), Some(1));
    assert!(run.stderr().contains("checksum"), "{}", run.stderr());
    for (bytes, expected) in [
        (&b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"[..], "9223372036854775807"),
        (b"\x02\0\0\0\0\0\0\0{", "the file"),
        (b"\x02\0\0\0\0\0\0\0{]", "header cannot be read"),
        (b"\x02\0\0\0\0\0\0\0{}", "no array"),
        (b"\x02\0", "shorter"),
    ] {
        fs::write(place.path("a.safetensors"), bytes)?;
        let run = place.run("encode a.safetensors -o out.fcm")?;
        assert_eq!(run.code(), Some(1));
        assert!(run.stderr().contains(expected), "{}", run.stderr());
    }
    fs::write(place.path("t.fcmt"), b"FCMTFCMTFCMT")?;
    for (command, expected) in [
        ("encode a.npz -o out.fcm --transform t.fcmt", "t.fcmt"),
        ("encode none.npz -o out.fcm", "none.npz"),
        ("encode t.fcmt -o out.fcm", ".npz or .safetensors"),
        ("decode t.fcmt -o out.npz", "t.fcmt"),
        ("decode none.fcm -o out.npz", "none.fcm"),
        ("info t.fcmt", "t.fcmt"),
    ] {
        let run = place.run(command)?;
        assert_eq!((run.code(), run.stdout().as_str()), (Some(1), ""), "{command}");
        assert!(run.stderr().contains(expected), "{command}: {}", run.stderr());
    }
    assert!(place.files()?.iter().all(|f| !f.starts_with("out") && !f.starts_with('.')), "{:?}", place.files()?);
    Ok(())
}

#[test]
fn illegal_options_name_the_value_and_the_range() -> Result<()> {
    let place = Place::new()?;
    write_npz(&place.path("a.npz"), &[map("x")], Stored)?;
    for (options, code, expected) in [
        ("--qp 64", 2, &["64", "0..=63"][..]),
        ("--qp -1", 2, &["-1"]),
        ("--threads 65", 2, &["65", "0..=64"]),
        ("--bitrate 0", 2, &["0", "1.."]),
        ("--bitrate 100 --qp 20", 2, &["--bitrate", "--qp"]),
        ("--framerate 25/0", 2, &["25/0", "N/D"]),
        ("--statistics mean", 2, &["mean", "z-score", "simplified", "ecs", "none"]),
        ("--components 0", 2, &["0", "1.."]),
        ("--components 99999", 1, &["99999"]),
        ("--reference-scale 0", 1, &["0"]),
        ("--stats-threshold=-1", 1, &["-1"]),
    ] {
        let run = place.run(&format!("encode a.npz -o out.fcm {options}"))?;
        let message = run.stderr();
        assert_eq!((run.code(), run.stdout().as_str()), (Some(code), ""), "{options}: {message}");
        assert!(expected.iter().all(|e| message.contains(e)), "{options}: {message}");
    }
    let run = place.run("calibrate a.npz -o out.fcmt --components 99")?;
    assert_eq!(run.code(), Some(1));
    assert!(run.stderr().contains("99") && run.stderr().contains("1 to 3"), "{}", run.stderr());
    assert_eq!(place.files()?, ["a.npz"]);
    Ok(())
}

#[test]
fn files_that_do_not_belong_together_are_refused() -> Result<()> {
    let place = Place::new()?;
    write_npz(&place.path("a.npz"), &[map("x")], Stored)?;
    write_npz(&place.path("b.npz"), &[Npy::f32("x", &[2, 6, 4, 5], &values(1, 2, 6, 4, 5))], Stored)?;
    write_npz(&place.path("c.npz"), &[Npy::f32("x", &[1, 3, 4, 5], &values(1, 1, 3, 4, 5))], Stored)?;
    for (command, expected) in [
        ("calibrate a.npz b.npz -o out.fcmt", ["b.npz", "6x4x5"]),
        ("compare a.npz b.npz", ["3x4x5", "6x4x5"]),
        ("compare a.npz c.npz", ["2 frames", "has 1"]),
    ] {
        let run = place.run(command)?;
        assert_eq!(run.code(), Some(1), "{command}");
        assert!(expected.iter().all(|e| run.stderr().contains(e)), "{command}: {}", run.stderr());
    }
    place.run("calibrate a.npz -o t.fcmt")?.ok()?;
    assert_eq!(place.run("encode b.npz -o out.fcm --transform t.fcmt")?.code(), Some(1));
    Ok(())
}

#[test]
fn failed_run_leaves_the_old_file() -> Result<()> {
    let place = Place::new()?;
    let mut x = values(1, 2, 3, 4, 5);
    x[119] = f32::NAN;
    write_npz(&place.path("a.npz"), &[Npy::f32("x", &[2, 3, 4, 5], &x)], Stored)?;
    fs::write(place.path("out.fcm"), b"before")?;
    assert_eq!(place.run("encode a.npz -o out.fcm")?.code(), Some(1));
    assert_eq!(fs::read(place.path("out.fcm"))?, b"before");
    assert_eq!(place.files()?, ["a.npz", "out.fcm"]);
    Ok(())
}

/// Place of the first byte and number of bytes of an access unit.
type Extent = (usize, usize);

/// A stream of 12 frames, random access every 4, with the places that `info` gives of its frames.
fn stream(place: &Place) -> Result<(Vec<u8>, Vec<Extent>)> {
    write_npz(&place.path("a.npz"), &features(12), Stored)?;
    place.run("encode a.npz -o a.fcm --key-int-max 4 --qp 20")?.ok()?;
    place.run("decode a.fcm -o whole.npz")?.ok()?;
    let info = place.json("info a.fcm")?;
    let at = |f: &Value, key: &str| f[key].as_u64().map(|n| n as usize).with_context(|| key.to_owned());
    let frames = info["frames"].as_array().context("frames")?;
    let places = frames.iter().map(|f| Ok((at(f, "offset")?, at(f, "bytes")?))).collect::<Result<_>>()?;
    Ok((fs::read(place.path("a.fcm"))?, places))
}

/// Decodes `bytes` and checks that exactly the frames `kept` of the whole stream come out, bit for bit.
fn decodes_to(place: &Place, bytes: &[u8], kept: &[usize]) -> Result<Value> {
    fs::write(place.path("damaged.fcm"), bytes)?;
    let run = place.run("decode damaged.fcm -o damaged.npz --discard-corrupted-frames --json")?.ok()?;
    let whole = read_npz(&place.path("whole.npz"))?;
    for (a, b) in whole.iter().zip(read_npz(&place.path("damaged.npz"))?) {
        let size = a.bytes.len() / 12;
        let expected: Vec<u8> = kept.iter().flat_map(|&t| a.bytes[t * size..(t + 1) * size].to_vec()).collect();
        assert_eq!((a.name.as_str(), kept.len()), (b.name.as_str(), b.shape[0]));
        assert!(b.bytes == expected, "the frames of {} are not the frames {kept:?} of the whole stream", b.name);
    }
    let report = run.json()?;
    let damaged = !report["damage"].as_array().context("damage")?.is_empty();
    assert_eq!(run.stderr().contains("lost before output frame"), damaged, "{}", run.stderr());
    Ok(report)
}

#[test]
fn damaged_unit_costs_the_frames_to_the_next_random_access_point() -> Result<()> {
    let place = Place::new()?;
    let (mut bytes, places) = stream(&place)?;
    bytes[places[5].0 + places[5].1 / 2] ^= 0x10;
    let report = decodes_to(&place, &bytes, &[0, 1, 2, 3, 4, 8, 9, 10, 11])?;
    assert_eq!((&report["frames"], &report["lost_frames"]), (&9.into(), &3.into()));
    let damage = report["damage"].as_array().context("damage")?;
    assert_eq!(damage.len(), 1, "{report}");
    assert_eq!((&damage[0]["before_frame"], &damage[0]["offset"]), (&5.into(), &places[5].0.into()));
    let info = place.json("info damaged.fcm")?;
    assert_eq!(info["frames"].as_array().map(Vec::len), Some(9));
    assert_eq!(info["damage"].as_array().map(Vec::len), Some(1));

    fs::remove_file(place.path("damaged.npz"))?;
    let strict = place.run("decode damaged.fcm -o damaged.npz --strict")?;
    assert_eq!(strict.code(), Some(1));
    assert!(strict.stderr().contains("--strict"), "{}", strict.stderr());
    assert!(!place.path("damaged.npz").exists());
    Ok(())
}

#[test]
fn missing_unit_is_noticed_by_its_number() -> Result<()> {
    let place = Place::new()?;
    let (mut bytes, places) = stream(&place)?;
    bytes.drain(places[6].0..places[6].0 + places[6].1);
    let report = decodes_to(&place, &bytes, &[0, 1, 2, 3, 4, 5, 8, 9, 10, 11])?;
    assert_eq!(report["lost_frames"], 2);
    Ok(())
}

#[test]
fn frames_after_a_missing_unit_are_written_and_counted_as_inexact() -> Result<()> {
    let place = Place::new()?;
    let (mut bytes, places) = stream(&place)?;
    bytes.drain(places[5].0..places[5].0 + places[5].1);
    fs::write(place.path("damaged.fcm"), bytes)?;
    let report = place.json("decode damaged.fcm -o damaged.npz")?;
    // Random access points are every fourth frame: 6 and 7 are predicted from what is missing.
    let counts = ["frames", "lost_frames", "inexact_frames"].map(|name| report[name].as_u64());
    assert_eq!(counts, [Some(11), Some(1), Some(2)], "{report}");
    let strict = place.run("decode damaged.fcm -o strict.npz --strict")?;
    assert!(strict.code() != Some(0) && strict.stderr().contains("damaged in 1 places"), "{}", strict.stderr());
    Ok(())
}

#[test]
fn stream_joined_late_and_cut_off_gives_its_middle() -> Result<()> {
    let place = Place::new()?;
    let (bytes, places) = stream(&place)?;
    let part = &bytes[places[2].0 + 3..places[10].0 + places[10].1 / 2];
    let report = decodes_to(&place, part, &[4, 5, 6, 7, 8, 9])?;
    assert_eq!(report["damage"].as_array().map(Vec::len), Some(2), "{report}");
    Ok(())
}

#[test]
fn garbage_between_units_costs_nothing_at_a_random_access_point() -> Result<()> {
    let place = Place::new()?;
    let (mut bytes, places) = stream(&place)?;
    let garbage: Vec<u8> = (0..5000u32).map(|n| (n * n % 251) as u8).collect();
    bytes.splice(places[4].0..places[4].0, garbage);
    let report = decodes_to(&place, &bytes, &(0..12).collect::<Vec<_>>())?;
    assert_eq!((&report["lost_frames"], &report["damage"][0]["bytes"]), (&0.into(), &5000.into()));
    Ok(())
}

#[test]
fn joined_streams_decode_as_one() -> Result<()> {
    let place = Place::new()?;
    let (mut bytes, _) = stream(&place)?;
    bytes.extend_from_within(..);
    let kept: Vec<usize> = (0..12).chain(0..12).collect();
    let report = decodes_to(&place, &bytes, &kept)?;
    assert_eq!(report["lost_frames"], 0);
    Ok(())
}
