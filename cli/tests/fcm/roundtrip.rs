//! Features through the command and back: files, reports, and what they promise.

use crate::common::{Npy, Place, features, read_npz, values, write_npz};
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;
use std::process::Command;
use zip::CompressionMethod::{self, Stored};

fn number(value: &Value) -> Result<f64> {
    value.as_f64().with_context(|| format!("{value} is no number"))
}

fn nmse(report: &Value, n: usize) -> Result<f64> {
    number(&report["layers"][n]["nmse"])
}

#[test]
fn npz_round_trip_keeps_names_order_shapes_and_types() -> Result<()> {
    let place = Place::new()?;
    let original = features(10);
    write_npz(&place.path("a.npz"), &original, Stored)?;
    place.run("encode a.npz -o a.fcm --qp 0 --stats-period 1")?.ok()?;
    place.run("decode a.fcm -o b.npz")?.ok()?;
    let decoded = read_npz(&place.path("b.npz"))?;
    assert_eq!(decoded.len(), 3);
    for (a, b) in original.iter().zip(&decoded) {
        assert_eq!((&a.name, a.descr, &a.shape), (&b.name, b.descr, &b.shape));
        let (x, y) = (a.values(), b.values());
        let (difference, energy) =
            x.iter().zip(&y).fold((0.0, 0.0), |(d, e), (x, y)| (d + (x - y) * (x - y), e + x * x));
        assert!(difference / energy < 0.02, "{} has the nmse {}", a.name, difference / energy);
    }
    Ok(())
}

#[test]
fn safetensors_in_and_out_give_the_same_as_npz() -> Result<()> {
    let place = Place::new()?;
    write_npz(&place.path("a.npz"), &features(5), Stored)?;
    place.run("encode a.npz -o a.fcm")?.ok()?;
    place.run("decode a.fcm -o b.npz")?.ok()?;
    place.run("decode a.fcm -o b.safetensors")?.ok()?;
    // The safetensors crate as an independent reader.
    let bytes = fs::read(place.path("b.safetensors"))?;
    let tensors = safetensors::SafeTensors::deserialize(&bytes)?;
    for array in read_npz(&place.path("b.npz"))? {
        let tensor = tensors.tensor(&array.name)?;
        assert_eq!((tensor.shape(), tensor.data()), (array.shape.as_slice(), array.bytes.as_slice()));
    }
    // Read again, layers come in the order in which they were written.
    place.run("encode b.npz -o c.fcm")?.ok()?;
    place.run("encode b.safetensors -o d.fcm")?.ok()?;
    assert_eq!(fs::read(place.path("c.fcm"))?, fs::read(place.path("d.fcm"))?);
    Ok(())
}

#[test]
fn deflated_and_big_endian_arrays_give_the_same_stream() -> Result<()> {
    let place = Place::new()?;
    let arrays = features(4);
    write_npz(&place.path("a.npz"), &arrays, Stored)?;
    // Deflated by hand with stored blocks: the test's zip crate packs nothing.
    let big: Vec<Npy> = arrays.iter().cloned().map(Npy::big_endian).collect();
    write_npz(&place.path("b.npz"), &big, Stored)?;
    fs::write(place.path("c.npz"), deflated_npz(&arrays)?)?;
    for name in ["a", "b", "c"] {
        place.run(&format!("encode {name}.npz -o {name}.fcm"))?.ok()?;
    }
    let a = fs::read(place.path("a.fcm"))?;
    assert!(a == fs::read(place.path("b.fcm"))?, "big-endian values were read differently");
    assert!(a == fs::read(place.path("c.fcm"))?, "deflated values were read differently");
    Ok(())
}

/// A `.npz` file whose members are deflated, put together from the format's records.
fn deflated_npz(arrays: &[Npy]) -> Result<Vec<u8>> {
    use std::io::Write;
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for array in arrays {
        let name = format!("{}.npy", array.name);
        let content = array.file();
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&content)?;
        let packed = encoder.finish()?;
        // Version, flags, method 8, time, date, checksum, sizes, length of name and extra field.
        let mut common = Vec::new();
        for word in [20u16, 0, 8, 0, 0x21] {
            common.extend_from_slice(&word.to_le_bytes());
        }
        for word in [crc32fast::hash(&content), packed.len() as u32, content.len() as u32] {
            common.extend_from_slice(&word.to_le_bytes());
        }
        common.extend_from_slice(&(name.len() as u16).to_le_bytes());
        common.extend_from_slice(&0u16.to_le_bytes());
        let offset = file.len() as u32;
        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
        file.extend_from_slice(b"PK\x03\x04");
        file.extend_from_slice(&common);
        file.extend_from_slice(name.as_bytes());
        file.extend_from_slice(&packed);
    }
    let (start, size, count) = (file.len() as u32, directory.len() as u32, arrays.len() as u16);
    file.extend_from_slice(&directory);
    file.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    file.extend_from_slice(&count.to_le_bytes());
    file.extend_from_slice(&count.to_le_bytes());
    file.extend_from_slice(&size.to_le_bytes());
    file.extend_from_slice(&start.to_le_bytes());
    file.extend_from_slice(&[0; 2]);
    Ok(file)
}

#[test]
fn arrays_without_frames_axis_are_one_frame() -> Result<()> {
    let place = Place::new()?;
    let arrays = [Npy::f32("map", &[4, 6, 8], &values(5, 1, 4, 6, 8)), Npy::f32("id", &[32], &values(6, 1, 32, 1, 1))];
    write_npz(&place.path("a.npz"), &arrays, CompressionMethod::Stored)?;
    let report = place.json("encode a.npz -o a.fcm --qp 0")?;
    assert_eq!(report["frames"], 1);
    assert_eq!(report["layers"][0]["shape"], serde_json::json!([4, 6, 8]));
    assert_eq!(report["layers"][1]["shape"], serde_json::json!([32]));
    place.run("decode a.fcm -o b.npz --dtype f16")?.ok()?;
    let decoded = read_npz(&place.path("b.npz"))?;
    assert_eq!((decoded[0].shape.as_slice(), decoded[0].descr), ([1, 4, 6, 8].as_slice(), "<f2"));
    assert_eq!((decoded[1].shape.as_slice(), decoded[1].descr), ([1, 32].as_slice(), "<f2"));
    Ok(())
}

#[test]
fn a_coarse_quantiser_without_a_transform_is_warned_of() -> Result<()> {
    let place = Place::new()?;
    write_npz(&place.path("a.npz"), &features(2), Stored)?;
    let coarse = place.run("encode a.npz -o a.fcm --qp 27")?.ok()?;
    assert!(coarse.stderr().contains("warning: qp 27 without a transform"), "{}", coarse.stderr());
    for fine in ["--qp 26", "--bitrate 50", "--qp 27 --lossless"] {
        let run = place.run(&format!("encode a.npz -o a.fcm {fine}"))?.ok()?;
        assert!(!run.stderr().contains("warning"), "{fine}: {}", run.stderr());
    }
    Ok(())
}

#[test]
fn calibrated_transform_saves_rate_and_is_demanded_by_its_streams() -> Result<()> {
    let place = Place::new()?;
    let maps = |frames| features(frames).into_iter().take(2).collect::<Vec<_>>();
    write_npz(&place.path("a.npz"), &maps(12), Stored)?;
    write_npz(&place.path("b.npz"), &maps(5), Stored)?;
    let report = place.json("calibrate -o t.fcmt a.npz b.npz --stride 2")?;
    assert_eq!((&report["frames"], &report["dimension"], &report["components"]), (&9.into(), &24.into(), &24.into()));
    assert_eq!(report["samples"], 9 * 96);
    assert_eq!(report["warnings"], serde_json::json!([]));
    let energy: Vec<f64> =
        report["energy"].as_array().context("energy")?.iter().map(|e| number(&e["share"])).collect::<Result<_>>()?;
    assert!(energy.is_sorted() && (energy[energy.len() - 1] - 1.0).abs() < 1e-6, "{energy:?}");

    let id = report["transform"].as_str().context("id")?.to_owned();
    let with = place.json("encode a.npz -o t.fcm --transform t.fcmt --qp 20")?;
    assert_eq!(with["transform"], id.as_str());
    place.run("decode t.fcm -o t.npz --transform t.fcmt")?.ok()?;
    let fine = place.json("compare a.npz t.npz")?;
    assert!(nmse(&fine, 0)? < 0.05 && nmse(&fine, 1)? < 0.05, "{fine}");

    let missing = place.run("decode t.fcm -o x.npz")?;
    assert_eq!(missing.code(), Some(1));
    assert!(missing.stderr().contains(&id), "{}", missing.stderr());
    let other = place.json("calibrate -o u.fcmt b.npz --components 5")?;
    let wrong = place.run("decode t.fcm -o x.npz --transform u.fcmt")?;
    assert_eq!(wrong.code(), Some(1));
    let both = [id.as_str(), other["transform"].as_str().context("id")?];
    assert!(both.iter().all(|id| wrong.stderr().contains(id)), "{}", wrong.stderr());
    place.run("decode t.fcm -o x.npz --transform u.fcmt --transform t.fcmt")?.ok()?;
    assert_eq!(fs::read(place.path("x.npz"))?.len(), fs::read(place.path("t.npz"))?.len());
    Ok(())
}

#[test]
fn calibration_warns_of_too_few_samples() -> Result<()> {
    let place = Place::new()?;
    write_npz(&place.path("a.npz"), &features(2)[..2], Stored)?;
    let run = place.run("calibrate -o t.fcmt a.npz --json")?.ok()?;
    assert!(run.stderr().contains("192 samples") && run.stderr().contains("at least 240"), "{}", run.stderr());
    assert_eq!(run.json()?["warnings"].as_array().context("warnings")?.len(), 1);
    Ok(())
}

#[test]
fn every_statistics_mode_round_trips_and_is_shown_by_info() -> Result<()> {
    let place = Place::new()?;
    write_npz(&place.path("a.npz"), &features(6), Stored)?;
    for (mode, pairs) in [("z-score", 3), ("simplified", 1), ("ecs", 3), ("none", 0)] {
        place.run(&format!("encode a.npz -o a.fcm --qp 10 --statistics {mode}"))?.ok()?;
        let info = place.json("info a.fcm")?;
        assert_eq!(info["sequence"]["statistics"], mode);
        let first = &info["frames"][0]["statistics"]["layers"];
        assert_eq!(first.as_array().map_or(0, Vec::len), pairs, "mode {mode}: {first}");
        let decoded = place.json("decode a.fcm -o b.npz")?;
        assert_eq!((&decoded["statistics"], &decoded["frames"]), (&mode.into(), &6.into()));
        let report = place.json("compare a.npz b.npz")?;
        assert!(nmse(&report, 0)? < 0.1, "mode {mode}: {report}");
    }
    Ok(())
}

#[test]
fn info_accounts_for_every_byte_and_frame() -> Result<()> {
    let place = Place::new()?;
    write_npz(&place.path("a.npz"), &features(10), Stored)?;
    let encoded = place
        .json("encode a.npz -o a.fcm --key-int-max 4 --stats-period 2 --stats-threshold 0 --framerate 30000/1001")?;
    let info = place.json("info a.fcm")?;
    let frames = info["frames"].as_array().context("frames")?;
    let kinds: Vec<bool> = frames.iter().map(|f| f["type"] == "random-access").collect();
    assert_eq!(kinds, [true, false, false, false, true, false, false, false, true, false]);
    let refreshed: Vec<bool> = frames.iter().map(|f| !f["statistics"].is_null()).collect();
    assert_eq!(refreshed, [true, false, true, false, true, false, true, false, true, false]);
    let sum = |key: &str| frames.iter().map(|f| f[key].as_u64().unwrap_or(0)).sum::<u64>();
    assert_eq!(info["totals"]["bytes"], sum("bytes"));
    assert_eq!(info["totals"]["header_bytes"], sum("header_bytes"));
    // 4 pairs of binary32 in each of 5 refreshes.
    assert_eq!((sum("statistics_bytes"), &encoded["statistics_bytes"]), (160, &160.into()));
    let size = fs::metadata(place.path("a.fcm"))?.len();
    assert_eq!(encoded["bytes"], size);
    assert!(size - sum("bytes") < 16, "only the end of the stream is outside access units");
    assert_eq!(info["sequence"]["framerate"], "30000/1001");
    let rate = size as f64 * 8.0 / 10.0 * 30000.0 / 1001.0 / 1000.0;
    assert!((number(&encoded["kbit_per_second"])? / rate - 1.0).abs() < 1e-9);
    let text = place.run("info a.fcm")?.ok()?.stdout();
    assert_eq!(text.lines().filter(|l| l.contains("random-access") || l.contains("predicted  ")).count(), 10, "{text}");
    Ok(())
}

#[test]
fn bitrate_is_lower_when_less_is_asked() -> Result<()> {
    let place = Place::new()?;
    write_npz(&place.path("a.npz"), &features(60), Stored)?;
    let at = |kbit: u32| number(&place.json(&format!("encode a.npz -o a.fcm --bitrate {kbit}"))?["kbit_per_second"]);
    let (low, high) = (at(12)?, at(36)?);
    assert!((6.0..20.0).contains(&low) && (20.0..50.0).contains(&high), "12 kbit/s gave {low}, 36 gave {high}");
    Ok(())
}

#[test]
fn compare_measures_what_it_says() -> Result<()> {
    let place = Place::new()?;
    let x = values(9, 3, 4, 8, 8);
    let scaled: Vec<f32> = x.iter().map(|v| 1.25 * v).collect();
    write_npz(&place.path("a.npz"), &[Npy::f32("x", &[3, 4, 8, 8], &x)], Stored)?;
    write_npz(&place.path("b.npz"), &[Npy::f32("x", &[3, 4, 8, 8], &scaled)], Stored)?;
    let same = place.json("compare a.npz a.npz")?;
    for key in ["nmse", "mean_error", "mean_error_max", "std_error", "std_error_max"] {
        assert_eq!(same["layers"][0][key], 0.0, "{key}");
    }
    assert_eq!(same["layers"][0]["cosine"], 1.0);
    let report = place.json("compare a.npz b.npz")?;
    assert!((nmse(&report, 0)? - 0.0625).abs() < 1e-6, "{report}");
    assert!((number(&report["layers"][0]["std_error"])? - 0.25).abs() < 1e-6, "{report}");
    assert!((number(&report["layers"][0]["cosine"])? - 1.0).abs() < 1e-9, "{report}");
    // Mean error in standard deviations, from a plain computation.
    let mut expected = 0.0;
    for frame in x.chunks_exact(256) {
        let mean = frame.iter().map(|&v| f64::from(v)).sum::<f64>() / 256.0;
        let variance = frame.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / 256.0;
        expected += 0.25 * mean.abs() / variance.sqrt() / 3.0;
    }
    assert!((number(&report["layers"][0]["mean_error"])? - expected).abs() < 1e-6, "{report}, expected {expected}");
    Ok(())
}

#[test]
fn numpy_reads_what_decode_writes() -> Result<()> {
    let place = Place::new()?;
    write_npz(&place.path("a.npz"), &features(3), Stored)?;
    place.run("encode a.npz -o a.fcm")?.ok()?;
    place.run("decode a.fcm -o b.npz")?.ok()?;
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    if !Command::new(&python).args(["-c", "import numpy"]).output().is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: {python} has no numpy");
        return Ok(());
    }
    let script = "import numpy, sys; z = numpy.load(sys.argv[1]); \
                  print(*[f'{k} {z[k].shape} {z[k].dtype} {float(z[k].astype(float).sum()):.6e}' for k in z.files], sep='\\n')";
    let output = Command::new(&python).args(["-c", script]).arg(place.path("b.npz")).output()?;
    let expected: String = read_npz(&place.path("b.npz"))?
        .iter()
        .map(|a| {
            let shape = a.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            let dtype = if a.descr == "<f2" { "float16" } else { "float32" };
            let sum: f64 = a.values().iter().map(|&v| f64::from(v)).sum();
            (format!("{} ({shape}) {dtype} ", a.name), sum)
        })
        .map(|(text, sum)| format!("{text}{sum:.6e}\n"))
        .collect();
    // Python writes exponents with a sign and two digits.
    let printed = String::from_utf8(output.stdout)?.replace("e+0", "e").replace("e-0", "e-");
    assert_eq!(printed, expected, "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
