//! Learned transforms through the elements: they code as the basis that their networks compute, and what is wrong with them is named.
#![cfg(feature = "infer")]

mod common;
#[path = "../infer/tests/common/mod.rs"]
mod models;

use anyhow::{Context, Result};
use common::*;
use fcm_codec::reduction::{CellShape, NetworkPair};
use fcm_codec::{Dtype, Limits, Shape, Transform};
use models::{File, LinearPair};
use prost::Message;

fn features() -> Features {
    Features::new(vec![(Shape::chw(4, 12, 16), Dtype::F32), (Shape::chw(8, 6, 8), Dtype::F16)])
}

fn pair() -> LinearPair {
    LinearPair::new(&[(4, 2), (8, 1)], 20)
}

fn cells() -> Vec<CellShape> {
    CellShape::of_layout(&features().layout(), &Limits::default()).expect("a legal layout")
}

fn file(name: &str, transform: &Transform) -> File {
    File::new(name, &transform.to_bytes())
}

fn learned(name: &str, reduction: &LinearPair, restoration: &LinearPair) -> Result<File> {
    let (reduction, restoration) = (reduction.reduction().encode_to_vec(), restoration.restoration().encode_to_vec());
    let networks = NetworkPair { reduction, restoration };
    Ok(file(name, &Transform::learned(cells(), networks, vec![1.0; 20], 20.0, 100)?))
}

fn basis(name: &str) -> Result<File> {
    let pair = pair();
    Ok(file(name, &Transform::new(cells(), pair.mean, pair.vectors.concat(), vec![1.0; 20], 20.0, 100)?))
}

fn path(file: &File) -> &str {
    file.path().to_str().expect("UTF-8")
}

#[test]
fn tensors_come_back_as_through_the_basis_that_the_networks_compute() -> Result<()> {
    let features = features();
    let mut decoded = Vec::new();
    for transform in [learned("pair.fcmt", &pair(), &pair())?, basis("basis.fcmt")?] {
        let properties = [("transform", path(&transform)), ("qp", "10"), ("skip-threshold", "0")];
        let (caps, units) = encode(&features, 5, &properties);
        assert!(caps.structure(0).context("structure")?.has_field("transform"));
        let mut bench = decoder(&caps, &[("transform", path(&transform))]);
        let mut frames = Vec::new();
        for unit in units {
            bench.harness.push(unit)?;
            let raw = bench.harness.pull()?;
            frames.push(features.read(&raw));
        }
        decoded.push(frames);
    }
    for (t, (by_pair, by_basis)) in decoded[0].iter().zip(&decoded[1]).enumerate() {
        for (n, (a, b)) in by_pair.iter().zip(by_basis).enumerate() {
            assert!(nmse(b, a) < 1e-4, "frame {t}, layer {n}: {}", nmse(b, a));
        }
    }
    Ok(())
}

#[test]
fn pictures_are_those_of_the_basis_but_for_rounding() -> Result<()> {
    let features = features();
    let mut pictures = Vec::new();
    for transform in [learned("picture-pair.fcmt", &pair(), &pair())?, basis("picture-basis.fcmt")?] {
        let mut bench = Bench::new(element("fcmpack", &[("transform", path(&transform)), ("bit-depth", "8")]));
        bench.harness.set_sink_caps_str("video/x-raw,format=I420");
        bench.harness.set_src_caps(features.caps());
        bench.harness.push(features.buffer(0))?;
        pictures.push(bench.harness.pull()?.map_readable()?.to_vec());
    }
    assert_eq!(pictures[0].len(), pictures[1].len());
    let most = pictures[0].iter().zip(&pictures[1]).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(most <= Some(1) && pictures[0].iter().any(|&v| v != pictures[0][0]), "samples differ by {most:?}");
    Ok(())
}

#[test]
fn networks_that_do_not_fit_are_element_errors_with_the_path() -> Result<()> {
    let (features, other) = (features(), LinearPair::new(&[(4, 2), (8, 1)], 19));
    let reduction = learned("wrong-reduction.fcmt", &other, &pair())?;
    let mut bench = Bench::new(element("fcmenc", &[("transform", path(&reduction))]));
    bench.harness.set_src_caps(features.caps());
    let errors = bench.errors();
    assert!(errors.len() == 1 && errors[0].contains(path(&reduction)), "{errors:?}");
    assert!(errors[0].contains("1×19×6×8") && errors[0].contains("1×20×6×8"), "{errors:?}");

    let restoration = learned("wrong-restoration.fcmt", &pair(), &other)?;
    let (caps, units) = encode(&features, 1, &[("transform", path(&restoration))]);
    let mut bench = decoder(&caps, &[("transform", path(&restoration))]);
    assert!(bench.harness.push(units[0].copy()).is_err());
    let errors = bench.errors();
    assert!(errors.len() == 1 && errors[0].contains(path(&restoration)), "{errors:?}");
    assert!(errors[0].contains("restoration network"), "{errors:?}");
    Ok(())
}
