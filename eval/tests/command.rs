//! The command from end to end, on a network made here that finds a bright block, and a sequence of one.

#[path = "../../infer/tests/common/mod.rs"]
mod onnx;

use fcm_codec::reduction::{CellShape, NetworkPair};
use fcm_codec::{Limits, RestorationGain, Transform};
use image::{Rgb, RgbImage};
use onnx::{F32, constant, int, ints, model, node, value};
use prost::Message;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Folder(PathBuf);

impl Folder {
    /// A folder with the network and the sequences `walk` and `other`.
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("fcm-eval-command-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("block.onnx"), network().encode_to_vec()).unwrap();
        let description =
            "name = 'block finder'\nmodel = 'block.onnx'\ncut = ['pooled']\n[head]\nstrides = [8]\nperson = 0\n";
        std::fs::write(folder.join("block.toml"), description).unwrap();
        sequence(&folder.join("walk"), 24, 2);
        sequence(&folder.join("other"), 12, 4);
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Runs the command in the folder.
    fn eval(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_fcm-eval")).args(arguments).current_dir(&self.0).output().unwrap()
    }

    fn report(&self, arguments: &[&str]) -> (Value, String) {
        let output = self.eval(&[&["run", "--network", "block.toml", "--json"], arguments].concat());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{errors}");
        (serde_json::from_slice(&output.stdout).expect("one JSON object on standard output"), errors)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `images` 1×3×48×64 → means of 8×8 pixels `pooled` → a box of 12×32 pixels for each cell, with a score that is high where four
/// cells below each other are bright under a dark one: [48, 6] as YOLOX has it.
fn network() -> onnx::ModelProto {
    let mut weights = vec![0.0; 2 * 3 * 5];
    // Object: the first channel's column of five cells.
    weights[..5].copy_from_slice(&[-0.05, 0.0125, 0.0125, 0.0125, 0.0125]);
    let nodes = vec![
        node("AveragePool", &["images"], &["pooled"], vec![ints("kernel_shape", &[8, 8]), ints("strides", &[8, 8])]),
        node("Conv", &["pooled", "none", "sides"], &["boxes"], vec![]),
        node("Conv", &["pooled", "column", "levels"], &["scores"], vec![ints("pads", &[2, 0, 2, 0])]),
        node("Sigmoid", &["scores"], &["probabilities"], vec![]),
        node("Concat", &["boxes", "probabilities"], &["all"], vec![int("axis", 1)]),
        node("Flatten", &["all"], &["planes"], vec![int("axis", 2)]),
        node("Transpose", &["planes"], &["output"], vec![ints("perm", &[1, 0])]),
    ];
    let constants = vec![
        constant("none", &[4, 3, 1, 1], &[0.0; 12]),
        constant("sides", &[4], &[0.5, 1.0, (12.0f32 / 8.0).ln(), (32.0f32 / 8.0).ln()]),
        constant("column", &[2, 3, 5, 1], &weights),
        constant("levels", &[2], &[-5.0, 8.0]),
    ];
    model(nodes, constants, vec![value("images", F32, &[1, 3, 48, 64])], vec![value("output", F32, &[48, 6])])
}

/// A bright block that moves by `step` pixels a frame, a person; and a vehicle that nobody is asked to find.
fn sequence(folder: &Path, frames: u32, step: u32) {
    std::fs::create_dir_all(folder.join("img1")).unwrap();
    std::fs::create_dir_all(folder.join("gt")).unwrap();
    let name = folder.file_name().unwrap().to_str().unwrap();
    let info = format!(
        "[Sequence]\nname={name}\nimDir=img1\nframeRate=25\nseqLength={frames}\nimWidth=64\nimHeight=48\nimExt=.png\n"
    );
    std::fs::write(folder.join("seqinfo.ini"), info).unwrap();
    let mut truth = String::new();
    for n in 1..=frames {
        let left = step * n;
        let bright = |x: u32, y: u32| (left..left + 12).contains(&x) && (8..40).contains(&y);
        let picture = RgbImage::from_fn(64, 48, |x, y| Rgb([if bright(x, y) { 240 } else { 20 + (x % 7) as u8 }; 3]));
        picture.save(folder.join(format!("img1/{n:06}.png"))).unwrap();
        truth += &format!("{n},1,{left},8,12,32,1,1,1\n{n},2,1,1,9,9,1,3,1\n");
    }
    std::fs::write(folder.join("gt/gt.txt"), truth).unwrap();
}

fn rows<'a>(report: &'a Value, sequence: &str, chain: &str) -> Vec<&'a Value> {
    let sequences = report["sequences"].as_array().unwrap();
    let sequence = sequences.iter().find(|s| s["name"] == sequence).unwrap();
    sequence["rows"].as_array().unwrap().iter().filter(|r| r["chain"] == chain).collect()
}

#[test]
fn a_run_measures_every_chain_and_the_next_one_has_it_all_already() {
    let folder = Folder::new("run");
    let arguments = [
        "--chains",
        "uncompressed,f16-zstd,fcm-none,fcm-z-score",
        "--points",
        "fcm=4,28,40",
        "--calibrate",
        "other",
        "walk",
        "-o",
        "out/walk",
    ];
    let (report, _) = folder.report(&arguments);
    let ap = |row: &Value| row["AP50"].as_f64().unwrap();
    let [original] = rows(&report, "walk", "uncompressed")[..] else { panic!("one row") };
    assert!(ap(original) > 0.5, "the network finds the block: {original}");
    // 3 × 6 × 8 values of four bytes, 25 times a second.
    assert_eq!(original["kbit_s"].as_f64().unwrap(), 144.0 * 32.0 * 25.0 / 1000.0);
    let [zstd] = rows(&report, "walk", "f16-zstd")[..] else { panic!("one row") };
    for measure in ["AP50", "AP75", "MOTA", "IDF1", "HOTA"] {
        assert_eq!(zstd[measure], original[measure], "{measure}");
    }
    let coded = rows(&report, "walk", "fcm-none");
    assert_eq!(coded.len(), 3);
    assert!((ap(coded[0]) - ap(original)).abs() < 0.05, "{} and {original}", coded[0]);
    let rates: Vec<f64> = coded.iter().map(|r| r["kbit_s"].as_f64().unwrap()).collect();
    assert!(rates[0] > rates[1] && rates[1] > rates[2], "{rates:?}");
    let files: Vec<bool> = ["md", "csv", "json"].map(|e| folder.0.join(format!("out/walk.{e}")).exists()).to_vec();
    assert_eq!(files, [true; 3]);
    let markdown = std::fs::read_to_string(folder.0.join("out/walk.md")).unwrap();
    assert!(!markdown.contains(folder.0.to_str().unwrap()), "the report names paths");

    let (again, errors) = folder.report(&arguments);
    assert_eq!(again["sequences"], report["sequences"]);
    assert!(!errors.contains("kbit/s"), "something was computed again: {errors}");

    // What was lost, and what is new, is made; the rest is taken from the cache.
    let results = std::fs::read_dir(folder.0.join(".cache/fcm-eval/json")).unwrap().map(|e| e.unwrap().path());
    let results: Vec<PathBuf> = results.collect();
    assert_eq!(results.len(), 8);
    std::fs::remove_file(&results[0]).unwrap();
    let (_, errors) = folder.report(&arguments);
    assert!(errors.contains("7 of 8 results were there already"), "{errors}");
    assert_eq!(errors.matches("kbit/s").count(), 1, "{errors}");
}

#[test]
fn several_sequences_are_reported_each_and_together() {
    let folder = Folder::new("several");
    let (report, _) = folder.report(&["--chains", "uncompressed,fcm-z-score", "--points", "fcm=20", "walk", "other"]);
    let names: Vec<&Value> = report["sequences"].as_array().unwrap().iter().map(|s| &s["name"]).collect();
    assert_eq!(names, ["walk", "other", "All sequences"]);
    let bytes = |sequence| rows(&report, sequence, "fcm-z-score")[0]["bytes"].as_u64().unwrap();
    assert_eq!(bytes("All sequences"), bytes("walk") + bytes("other"));
    let [all] = rows(&report, "All sequences", "fcm-z-score")[..] else { panic!("one row") };
    let expected = bytes("All sequences") as f64 * 8.0 / 1000.0 / (36.0 / 25.0);
    assert!((all["kbit_s"].as_f64().unwrap() - expected).abs() < 1e-9);
}

#[test]
fn nothing_is_learnt_from_a_sequence_that_is_tested() {
    let folder = Folder::new("held-out");
    let arguments = ["run", "--network", "block.toml", "--chains", "fcm-none", "--calibrate", "walk", "walk"];
    let output = folder.eval(&arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("nothing to calibrate on is left for walk"), "{errors}");
}

#[test]
fn bytes_of_the_codec_are_those_of_the_fcm_command() {
    // A test of another package cannot ask for that command; where the whole workspace is built it is beside this one.
    let fcm = Path::new(env!("CARGO_BIN_EXE_fcm-eval")).with_file_name("fcm");
    if !fcm.exists() {
        eprintln!("skipped: no command fcm was built");
        return;
    }
    let folder = Folder::new("bytes");
    let output = folder.eval(&["features", "--network", "block.toml", "walk", "-o", "walk.npz", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (report, _) = folder.report(&["--chains", "fcm-z-score,fcm-ecs", "--points", "fcm=12,26", "walk"]);
    for mode in ["z-score", "ecs"] {
        for (row, qp) in rows(&report, "walk", &format!("fcm-{mode}")).into_iter().zip(["12", "26"]) {
            let stream = folder.path("walk.fcm");
            let arguments = ["encode", "walk.npz", "-o", &stream, "--qp", qp, "--statistics", mode];
            assert!(Command::new(&fcm).args(arguments).current_dir(&folder.0).output().unwrap().status.success());
            let bytes = std::fs::metadata(&stream).unwrap().len();
            assert_eq!(row["bytes"].as_u64().unwrap(), bytes, "{mode} qp {qp}");
        }
    }
}

#[test]
fn compare_says_what_changed_between_two_results() {
    let folder = Folder::new("compare");
    folder.report(&["--chains", "fcm-none", "--points", "fcm=4,16,28,40", "walk", "-o", "a"]);
    let text = std::fs::read_to_string(folder.0.join("a.json")).unwrap();
    let mut report: Value = serde_json::from_str(&text).unwrap();
    for row in report["sequences"][0]["rows"].as_array_mut().unwrap() {
        row["kbit_s"] = (row["kbit_s"].as_f64().unwrap() * 2.0).into();
    }
    let hota: Vec<f64> = [0.9, 0.8, 0.7, 0.6].to_vec();
    let mut before: Value = serde_json::from_str(&text).unwrap();
    for (n, hota) in hota.into_iter().enumerate() {
        report["sequences"][0]["rows"][n]["HOTA"] = hota.into();
        before["sequences"][0]["rows"][n]["HOTA"] = hota.into();
    }
    std::fs::write(folder.0.join("a.json"), before.to_string()).unwrap();
    std::fs::write(folder.0.join("b.json"), report.to_string()).unwrap();
    let output = folder.eval(&["compare", "a.json", "b.json", "--json"]);
    let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rate = comparison["sequences"][0]["rows"][0]["rates"][4].as_f64().unwrap();
    assert!((rate - 100.0).abs() < 1e-6, "{comparison}");
    let output = folder.eval(&["compare", "a.json", "block.toml"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("not a result of fcm-eval run"));
}

#[test]
fn uncompressed_features_may_be_the_truth_of_sequences_without_labels() {
    let folder = Folder::new("truth");
    std::fs::remove_dir_all(folder.0.join("walk/gt")).unwrap();
    let chains = ["--chains", "uncompressed,fcm-z-score", "--points", "fcm=4,34", "--truth", "uncompressed"];
    let (report, _) = folder.report(&[&chains[..], &["walk", "-o", "walk"]].concat());
    assert_eq!(report["truth"], "uncompressed");
    let [original] = rows(&report, "walk", "uncompressed")[..] else { panic!("one row") };
    for measure in ["MOTA", "IDF1", "HOTA"] {
        assert!((original[measure].as_f64().unwrap() - 1.0).abs() < 1e-9, "{measure}: {original}");
    }
    let [fine, coarse] = rows(&report, "walk", "fcm-z-score")[..] else { panic!("two rows") };
    assert!(fine["HOTA"].as_f64() > coarse["HOTA"].as_f64(), "{report}");
    let markdown = std::fs::read_to_string(folder.0.join("walk.md")).unwrap();
    assert!(markdown.contains("against what is tracked in the uncompressed features"), "{markdown}");

    let error = |arguments: &[&str]| {
        let output = folder.eval(&[&["run", "--network", "block.toml"], arguments].concat());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(error(&["--chains", "fcm-z-score", "--truth", "uncompressed", "walk"]).contains("needs the chain"));
    assert!(error(&["--chains", "uncompressed", "walk"]).contains("gt.txt"), "the default is annotated");
}

#[test]
fn a_transform_is_fitted_to_the_task_and_written_for_the_elements() {
    let folder = Folder::new("task");
    let chains = ["--chains", "uncompressed,fcm-z-score,fcm-task,fcm-task-relevance", "--points", "fcm=20,34"];
    let (report, _) = folder.report(&[&chains[..], &["--calibrate", "other", "walk"]].concat());
    let ap = |chain| rows(&report, "walk", chain).iter().map(|r| r["AP50"].as_f64().unwrap()).collect::<Vec<_>>();
    assert!(ap("fcm-task")[0] > ap("uncompressed")[0] - 0.05, "{report}");

    let calibrate = |name: &str, more: &[&str]| {
        let arguments = ["calibrate", "--network", "block.toml", "--json", "-o", name, "other"];
        let output = folder.eval(&[&arguments[..], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let (task, plain) = (calibrate("task.fcmt", &[]), calibrate("plain.fcmt", &["--plain"]));
    assert_eq!((&task["task"], &plain["task"]), (&true.into(), &false.into()));
    assert_ne!(task["id"], plain["id"]);
    assert_ne!(calibrate("close.fcmt", &["--patchworks", "0"])["id"], task["id"]);
    // Version 6: with weights of intra prediction, 7: with a gain; behind it stands what the file is otherwise.
    let version = |name: &str| std::fs::read(folder.path(name)).unwrap()[4..6].to_vec();
    let (task_version, plain_version) = (version("task.fcmt"), version("plain.fcmt"));
    assert_eq!((&task_version[..], plain_version[0], plain_version[1] < 4), (&[6, 4][..], 6, true));
    let file = Transform::from_bytes(&std::fs::read(folder.path("task.fcmt")).unwrap(), &Limits::default()).unwrap();
    let (told, found) = (|what: &str| [&task, &plain].map(|of| of[what].as_f64().unwrap()), file.restoration());
    assert_eq!(told("restoration_strength"), [found.strength.share().into(), 1.0]);
    assert_eq!((told("restoration_gain"), found.gain), ([1.0; 2], RestorationGain::NONE));
    let unseen = [calibrate("unseen.fcmt", &["--unseen"]), calibrate("unseen-plain.fcmt", &["--unseen", "--plain"])];
    for unseen in unseen {
        assert_eq!(
            (unseen["restoration_strength"].as_f64(), unseen["restoration_gain"].as_f64()),
            (Some(1.0), Some(1.25))
        );
    }
    assert_eq!(version("unseen.fcmt"), [7, 12]);
    // The file is what the chain learns.
    let arguments = ["--chains", "fcm-z-score,fcm-task,fcm-restored-0,fcm-restored-1", "--points", "fcm=20,34"];
    let (read, _) = folder.report(&[&arguments[..], &["--transform", "task.fcmt", "walk"]].concat());
    for chain in ["fcm-z-score", "fcm-task"] {
        assert_eq!(rows(&read, "walk", chain)[1]["bytes"], rows(&report, "walk", "fcm-task")[1]["bytes"]);
    }
    // A strength costs a byte at the only random access point.
    let bytes = |chain| rows(&read, "walk", chain)[1]["bytes"].as_u64().unwrap();
    assert_eq!(bytes("fcm-restored-0"), bytes("fcm-restored-1") + 1);

    let output = folder.eval(&["run", "--network", "block.toml", "--chains", "fcm-task", "walk"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("need --calibrate or --transform"));
}

#[test]
fn a_learned_pair_is_run_and_named_as_one() {
    let folder = Folder::new("pair");
    let pair = onnx::LinearPair::new(&[(3, 1)], 3);
    let networks =
        NetworkPair { reduction: pair.reduction().encode_to_vec(), restoration: pair.restoration().encode_to_vec() };
    let cells = vec![CellShape { channels: 3, rows: 1, cols: 1, laid_out: false }];
    let transform = Transform::learned(cells, networks, vec![1.0; 3], 3.0, 48).unwrap();
    std::fs::write(folder.path("pair.fcmt"), transform.to_bytes()).unwrap();
    let arguments = ["--chains", "uncompressed,fcm-z-score", "--points", "fcm=4", "--transform", "pair.fcmt", "walk"];
    let (report, _) = folder.report(&[&arguments[..], &["-o", "out/pair"]].concat());
    let label = report["sequences"][0]["transform"].as_str().unwrap();
    assert_eq!(label, format!("{} (learned pair, K = 3)", transform.id()));
    let ap = |report, chain| rows(report, "walk", chain)[0]["AP50"].as_f64().unwrap();
    let (sent, uncompressed) = (ap(&report, "fcm-z-score"), ap(&report, "uncompressed"));
    assert!(sent > uncompressed - 0.05, "{sent} {uncompressed}");

    // Beside another transform, as a chain of its own, which does the same.
    let arguments = [
        "--chains",
        "fcm-z-score",
        "--pair",
        "own=pair.fcmt",
        "--points",
        "fcm-z=30",
        "--points",
        "fcm-pair=4",
        "walk",
    ];
    let (beside, _) = folder.report(&arguments);
    let label = beside["sequences"][0]["transform"].as_str().unwrap();
    assert_eq!(label, format!("none (block DCT); own: {} (learned pair, K = 3)", transform.id()));
    assert_eq!(rows(&beside, "walk", "fcm-pair-own")[0]["bytes"], rows(&report, "walk", "fcm-z-score")[0]["bytes"]);

    let basis = Transform::new(
        vec![CellShape { channels: 1, rows: 1, cols: 1, laid_out: false }],
        vec![0.0],
        vec![1.0],
        vec![1.0],
        1.0,
        1,
    );
    std::fs::write(folder.path("basis.fcmt"), basis.unwrap().to_bytes()).unwrap();
    let refused = folder.eval(&["run", "--network", "block.toml", "--pair", "own=basis.fcmt", "walk"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("basis.fcmt is a basis"));
}

#[test]
fn the_tracker_begins_tracks_at_the_score_that_the_network_asks_for() {
    let folder = Folder::new("tracker");
    let mota = |name: &str| {
        let output = folder.eval(&["run", "--network", name, "--chains", "uncompressed", "--json", "walk"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (
            report["tracker"]["high"].as_f64().unwrap(),
            rows(&report, "walk", "uncompressed")[0]["MOTA"].as_f64().unwrap(),
        )
    };
    let described = |name: &str, thresholds: &str| {
        let text = std::fs::read_to_string(folder.0.join("block.toml")).unwrap();
        std::fs::write(folder.0.join(name), format!("{text}[tracker]\n{thresholds}\n")).unwrap();
    };
    described("strict.toml", "high = 1.0");
    let ((usual, tracked), (strict, missed)) = (mota("block.toml"), mota("strict.toml"));
    assert!((usual - 0.6).abs() < 1e-6 && strict == 1.0);
    // It finds more than the block, so what is tracked may be worse than nothing.
    assert!(tracked != 0.0 && missed == 0.0, "{tracked} {missed}");

    let output = folder.eval(&["tracker", "--network", "strict.toml", "--json", "walk"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let trials: Value = serde_json::from_slice(&output.stdout).unwrap();
    let at = |high: f64| {
        let all = trials["trials"].as_array().unwrap();
        all.iter().find(|t| (t["high"].as_f64().unwrap() - high).abs() < 1e-6).unwrap()["MOTA"].as_f64().unwrap()
    };
    assert!((at(0.6) - tracked).abs() < 1e-9, "{trials}");
    let best = at(trials["best"].as_f64().unwrap());
    assert!(trials["trials"].as_array().unwrap().iter().all(|t| t["MOTA"].as_f64().unwrap() <= best), "{trials}");

    described("wrong.toml", "high = 0.1");
    let refused = folder.eval(&["tracker", "--network", "wrong.toml", "walk"]);
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && errors.contains("wrong.toml") && errors.contains("0.1"), "{errors}");
}
