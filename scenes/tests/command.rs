//! The command: what it writes, and what it says when it cannot.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Output};

fn run(out: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fcm-scenes")).arg("--out").arg(out).args(arguments).output().unwrap()
}

#[test]
fn it_writes_the_layout_of_motchallenge() {
    let folder = tempfile::tempdir().unwrap();
    let out = run(
        folder.path(),
        &["--seed", "41", "--scenes", "2", "--frames", "5", "--step", "2", "--width", "256", "--height", "144"],
    );
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    for seed in [41, 42] {
        let scene = folder.path().join(format!("scene-000{seed}"));
        for frame in 1..=3 {
            let picture = image::open(scene.join(format!("img1/{frame:06}.jpg"))).unwrap();
            assert_eq!((picture.width(), picture.height()), (256, 144));
        }
        assert!(!scene.join("img1/000004.jpg").exists());
        let info = std::fs::read_to_string(scene.join("seqinfo.ini")).unwrap();
        let expected = format!(
            "[Sequence]\nname=scene-000{seed}\nimDir=img1\nframeRate=12.5\nseqLength=3\nimWidth=256\nimHeight=144\nimExt=.jpg\n"
        );
        assert_eq!(info, expected);
        let rows = std::fs::read_to_string(scene.join("gt/gt.txt")).unwrap();
        let mut frames = HashSet::new();
        for row in rows.lines() {
            let v: Vec<f32> = row.split(',').map(|x| x.parse().unwrap()).collect();
            assert_eq!(v.len(), 9, "{row}");
            assert!(v[7] == 1.0 || v[7] == 3.0, "{row}");
            assert_eq!(v[6] == 1.0, v[8] >= 0.25, "{row}");
            frames.insert(v[0] as u32);
        }
        assert_eq!(frames, HashSet::from([1, 2, 3]));
    }
}

#[test]
fn png_holds_exactly_what_the_library_draws() {
    let folder = tempfile::tempdir().unwrap();
    let out = run(folder.path(), &["--seed", "3", "--frames", "2", "--png"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let read = image::open(folder.path().join("scene-00003/img1/000002.png")).unwrap().into_rgb8();
    let config = fcm_scenes::SceneConfig { frames: 2, ..Default::default() };
    let mut picture = vec![0; config.picture_bytes()];
    fcm_scenes::Scene::new(3, config).unwrap().frame(1, &mut picture).unwrap();
    assert!(read.into_raw() == picture);
}

#[test]
fn errors_name_the_value_and_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let out = run(folder.path(), &["--width", "7"]);
    assert!(!out.status.success());
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(text.contains("width is 7, must be 64 to 4096"), "{text}");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let out = run(&file, &["--frames", "1"]);
    assert!(!out.status.success());
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(text.contains("cannot be made") && text.contains("file"), "{text}");
}
