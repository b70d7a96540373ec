//! Learned pairs: made into a transform, and used in place of a basis.

use crate::common::{Npy, Place, read_npz, values, write_npz};
use crate::onnx::LinearPair;
use anyhow::{Context, Result, ensure};
use fcm_codec::reduction::CellShape;
use fcm_codec::{Dtype, Layer, Layout, Limits, Shape, Transform};
use prost::Message;
use std::fs;
use std::process::Command;
use zip::CompressionMethod::Stored;

fn maps(frames: usize) -> Vec<Npy> {
    vec![
        Npy::f16("p3", &[frames, 4, 16, 24], &values(1, frames, 4, 16, 24)),
        Npy::f32("p4", &[frames, 8, 8, 12], &values(2, frames, 8, 8, 12)),
    ]
}

/// A folder with `a.npz` and a pair for its layers, `r.onnx` and `s.onnx`.
fn place() -> Result<(Place, LinearPair)> {
    let (place, pair) = (Place::new()?, LinearPair::new(&[(4, 2), (8, 1)], 24));
    write_npz(&place.path("a.npz"), &maps(6), Stored)?;
    write_pair(&place, "", &pair)?;
    Ok((place, pair))
}

fn write_pair(place: &Place, prefix: &str, pair: &LinearPair) -> Result<()> {
    fs::write(place.path(&format!("{prefix}r.onnx")), pair.reduction().encode_to_vec())?;
    fs::write(place.path(&format!("{prefix}s.onnx")), pair.restoration().encode_to_vec())?;
    Ok(())
}

#[test]
fn a_pair_becomes_a_transform_that_codes_as_the_basis_it_computes() -> Result<()> {
    let (place, pair) = place()?;
    let report = place.json("calibrate --reduction r.onnx --restoration s.onnx -o pair.fcmt a.npz")?;
    assert_eq!(
        (&report["components"], &report["dimension"], &report["samples"]),
        (&24.into(), &24.into(), &576.into())
    );
    assert!(report["samples_advised"].is_null());
    let errors = report["errors"].as_array().context("errors")?;
    // All components of an orthonormal basis lose nothing.
    assert!(errors.len() == 2 && errors.iter().all(|e| e.as_f64().is_some_and(|e| e < 1e-6)), "{errors:?}");
    let layers =
        vec![Layer::new("p3", Shape::chw(4, 16, 24), Dtype::F16), Layer::new("p4", Shape::chw(8, 8, 12), Dtype::F32)];
    let cells = CellShape::of_layout(&Layout::new(layers, &Limits::default())?, &Limits::default())?;
    let klt = Transform::new(cells, pair.mean, pair.vectors.concat(), vec![1.0; 24], 24.0, 576)?;
    fs::write(place.path("klt.fcmt"), klt.to_bytes())?;
    for name in ["pair", "klt"] {
        let coded =
            format!("encode a.npz -o {name}.fcm --transform {name}.fcmt --qp 10 --skip-threshold 0 --threads 1");
        place.run(&coded)?.ok()?;
        place.run(&format!("decode {name}.fcm -o {name}.npz --transform {name}.fcmt"))?.ok()?;
    }
    assert_eq!(place.json("info pair.fcm")?["sequence"]["transform"], report["transform"]);
    let (by_pair, by_klt) = (read_npz(&place.path("pair.npz"))?, read_npz(&place.path("klt.npz"))?);
    for (a, b) in by_pair.iter().zip(&by_klt) {
        let (a, b) = (a.values(), b.values());
        let error: f32 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
        let energy: f32 = b.iter().map(|b| b * b).sum();
        assert!(error < 1e-4 * energy, "{error} of {energy}");
    }
    Ok(())
}

#[test]
fn another_resolution_of_the_same_network_is_measured_too() -> Result<()> {
    let (place, _) = place()?;
    let larger = [
        Npy::f16("p3", &[2, 4, 20, 28], &values(1, 2, 4, 20, 28)),
        Npy::f32("p4", &[2, 8, 10, 14], &values(2, 2, 8, 10, 14)),
    ];
    write_npz(&place.path("b.npz"), &larger, Stored)?;
    let report = place.json("calibrate --reduction r.onnx --restoration s.onnx -o pair.fcmt a.npz b.npz")?;
    assert_eq!(report["samples"], 576 + 280);
    Ok(())
}

#[test]
fn pairs_that_do_not_fit_are_refused_by_name_and_nothing_is_written() -> Result<()> {
    let (place, _) = place()?;
    write_pair(&place, "few-", &LinearPair::new(&[(4, 2), (8, 1)], 20))?;
    write_pair(&place, "other-", &LinearPair::new(&[(5, 2), (8, 1)], 20))?;
    fs::write(place.path("text.onnx"), "no network")?;
    let cases = [
        ("few-r.onnx", "s.onnx", "few-r.onnx with s.onnx"),
        ("few-r.onnx", "s.onnx", "1×24"),
        ("other-r.onnx", "s.onnx", "other-r.onnx"),
        ("other-r.onnx", "s.onnx", "1×4×16×24 is to go in"),
        ("r.onnx", "other-s.onnx", "1×20"),
        ("text.onnx", "s.onnx", "no ONNX file"),
        ("absent.onnx", "s.onnx", "absent.onnx"),
    ];
    let before = place.files()?;
    for (reduction, restoration, expected) in cases {
        let run =
            place.run(&format!("calibrate --reduction {reduction} --restoration {restoration} -o t.fcmt a.npz"))?;
        assert_eq!(run.code(), Some(1));
        assert!(run.stderr().contains(expected), "{reduction}, {restoration}: {}", run.stderr());
        assert_eq!(place.files()?, before);
    }
    for wrong in
        ["--reduction r.onnx", "--restoration s.onnx", "--reduction r.onnx --restoration s.onnx --components 4"]
    {
        assert_eq!(place.run(&format!("calibrate {wrong} -o t.fcmt a.npz"))?.code(), Some(2), "{wrong}");
    }
    Ok(())
}

#[test]
fn without_onnx_runtime_the_error_says_what_to_do() -> Result<()> {
    let (place, _) = place()?;
    let output = Command::new(env!("CARGO_BIN_EXE_fcm"))
        .args("calibrate --reduction r.onnx --restoration s.onnx -o t.fcmt a.npz".split(' '))
        .current_dir(place.path(""))
        .env("ORT_DYLIB_PATH", "no/such/libonnxruntime.so")
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && text.contains("no/such/libonnxruntime.so"), "{text}");
    ensure!(text.contains("ORT_DYLIB_PATH"), "{text}");
    Ok(())
}
