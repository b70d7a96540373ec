//! A real detector, cut here, against the whole; skipped where the measuring data are not at hand.

mod common;

use fcm_infer::Model;
use std::path::PathBuf;

fn data(file: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    let root = std::env::var_os("FCM_DATA").map_or(beside, PathBuf::from);
    let path = root.join("models").join(file);
    if path.is_file() {
        return Some(path);
    }
    println!("skipped: no {file} in ../shared/data/models or where FCM_DATA says");
    None
}

#[test]
fn front_and_back_of_a_real_detector_are_the_whole() {
    let Some(path) = data("yolox_nano_608x1088.onnx") else { return };
    let open = |inputs: &[&str], outputs: &[&str]| Model::open(&path, &common::options(inputs, outputs)).unwrap();
    let picture: Vec<f32> = (0..3 * 608 * 1088).map(|n| ((n / 7) % 256) as f32).collect();
    let whole = common::run(&mut open(&[], &[]), &[&picture]);
    for cut in [["956", "990", "1024"], ["781", "841", "886"]] {
        let mut front = open(&[], &cut);
        let mut back = open(&cut, &[]);
        assert_eq!(front.outputs(), back.inputs());
        assert_eq!(front.outputs()[0].dims, [1, 64, 76, 136]);
        let between = common::run(&mut front, &[&picture]);
        let between: Vec<&[f32]> = between.iter().map(Vec::as_slice).collect();
        let joined = common::run(&mut back, &between);
        assert_eq!(joined[0].len(), whole[0].len());
        let furthest = joined[0].iter().zip(&whole[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("cut at {cut:?}: largest difference {furthest}");
        assert!(furthest <= 1e-5, "cut at {cut:?}: {furthest}");
    }
}

#[test]
fn cuts_made_here_equal_files_cut_by_other_tools() {
    let (Some(path), Some(other)) = (data("yolox_nano_608x1088.onnx"), data("yolox_nano_608x1088.pan.front.onnx"))
    else {
        return;
    };
    let mut ours = Model::open(&path, &common::options(&[], &["956", "990", "1024"])).unwrap();
    let mut theirs = Model::open(&other, &common::options(&[], &[])).unwrap();
    assert_eq!(ours.outputs(), theirs.outputs());
    let picture: Vec<f32> = (0..3 * 608 * 1088).map(|n| ((n / 5) % 256) as f32).collect();
    assert_eq!(common::run(&mut ours, &[&picture]), common::run(&mut theirs, &[&picture]));
}
