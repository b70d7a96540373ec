//! A street is followed by a network of which a camera runs the front half and a server the rest.
//!
//! `cargo run --release --example demo -- [--out FOLDER] [--frames N] [--qp LIST]` renders a street with ground truth, calibrates a
//! transform on others, sends the features of the front half through `fcmenc`, a TCP connection and `fcmdec`, and measures how
//! well the persons are still found and followed at each rate. It needs nothing but this repository and ONNX Runtime
//! (docs/inference.md), prints a table and draws `demo.png`.

mod calibration;
mod chain;
mod plot;
mod street;

use anyhow::{Context, Result, bail, ensure};
use chain::{Coding, Network, Run};
use fcm_analytics::json::Frame;
use fcm_analytics::metrics::{ClearMot, Identity, average_precision};
use fcm_analytics::mot::Object;
use fcm_codec::StatisticsMode;
use std::path::{Path, PathBuf};
use street::{FRAME_RATE, Street};

const DEFAULT_QPS: [u32; 4] = [20, 25, 30, 35];
/// The network's class of persons.
const PERSON: u16 = 0;
/// Overlap with a person from which on it is found.
const LEAST_IOU: f64 = 0.5;

struct Arguments {
    out: PathBuf,
    frames: u32,
    qps: Vec<u32>,
}

fn arguments() -> Result<Arguments> {
    let mut a = Arguments { out: "demo-out".into(), frames: 150, qps: DEFAULT_QPS.to_vec() };
    let mut given = std::env::args().skip(1);
    while let Some(option) = given.next() {
        match option.as_str() {
            "--out" => a.out = given.next().context("--out needs a folder")?.into(),
            "--frames" => {
                let number = given.next().context("--frames needs a number")?;
                a.frames = number.parse().with_context(|| format!("--frames {number}"))?;
                ensure!((1..=10_000).contains(&a.frames), "--frames {number}: 1 to 10000");
            }
            "--qp" => {
                let list = given.next().context("--qp needs a list such as 20,25,30,35")?;
                a.qps = list.split(',').map(str::parse).collect::<Result<_, _>>().context("--qp")?;
                ensure!(a.qps.iter().all(|q| *q <= 63), "--qp {list}: values from 0 to 63");
            }
            _ => bail!("unknown option {option:?}; there are --out FOLDER, --frames N, --qp LIST"),
        }
    }
    Ok(a)
}

/// How good the persons of a run are, against what was rendered.
pub struct Accuracy {
    pub ap50: f64,
    pub mota: f64,
    pub idf1: f64,
}

fn accuracy(run: &Run, street: &Street) -> Accuracy {
    let persons = |frame: &Frame| frame.objects.iter().filter(|o| o.class == PERSON).cloned().collect::<Vec<_>>();
    let boxes: Vec<_> = run.boxes.iter().map(|f| persons(f).iter().map(|o| o.detection()).collect()).collect();
    let truth: Vec<_> = street.persons.iter().map(|f| f.iter().map(|o| o.rect).collect()).collect();
    let object = |o: &fcm_analytics::json::Object| Some(Object { id: i64::try_from(o.id?).ok()?, rect: o.rect() });
    let tracks: Vec<Vec<_>> = run.tracks.iter().map(|f| persons(f).iter().filter_map(object).collect()).collect();
    Accuracy {
        ap50: average_precision(&boxes, &truth, LEAST_IOU).unwrap_or(f64::NAN),
        mota: ClearMot::evaluate(&street.persons, &tracks, LEAST_IOU).mota(),
        idf1: Identity::evaluate(&street.persons, &tracks, LEAST_IOU).f1(),
    }
}

fn main() -> Result<()> {
    let a = arguments()?;
    std::fs::create_dir_all(&a.out).with_context(|| a.out.display().to_string())?;
    gst::init()?;
    gstfcm::plugin_register_static()?;

    println!("Rendering {} frames of a street ({FRAME_RATE} a second) ...", a.frames);
    let street = Street::shown(a.frames)?;
    let network = Network::own(Path::new(env!("CARGO_MANIFEST_DIR")));
    println!("Calibrating a transform on {} other streets ...", calibration::SCENES);
    let transform = calibration::calibrate(&network, &a.out).context(
        "the front half of the network could not be run; where ONNX Runtime is missing, `make deps` fetches it (docs/inference.md)",
    )?;

    println!("\nWithout the codec, one pipeline:\n\n  gst-launch-1.0 {}\n", network.whole());
    let uncoded = network.run_uncoded(&street)?;
    let shown = Coding { qp: a.qps[(a.qps.len() - 1) / 2], statistics: StatisticsMode::ZScore };
    println!("With it, two pipelines and a TCP connection between them:\n");
    println!("  camera: gst-launch-1.0 {}", network.camera(&shown, &transform, 5000));
    println!("  server: gst-launch-1.0 {}\n", network.server(&transform).replace("port=0", "port=5000"));

    let mut runs = vec![(accuracy(&uncoded, &street), uncoded)];
    for statistics in [StatisticsMode::ZScore, StatisticsMode::None] {
        for &qp in &a.qps {
            println!("Running qp {qp}, statistics {} ...", statistics.name());
            let run = network.run_coded(&street, &Coding { qp, statistics }, &transform)?;
            runs.push((accuracy(&run, &street), run));
        }
    }
    table(&runs);

    let find = |(_, run): &&(Accuracy, Run)| {
        run.coding.as_ref().is_some_and(|c| c.qp == shown.qp && c.statistics == shown.statistics)
    };
    let coded = runs.iter().find(find).context("no such run")?;
    let picture = a.out.join("demo.png");
    plot::draw(&picture, &street, &runs[0], coded, &runs)?;
    println!("Picture: {}", picture.display());
    Ok(())
}

fn table(runs: &[(Accuracy, Run)]) {
    let raw = runs[0].1.kbit_per_second();
    println!(
        "\n  features       qp     kbit/s   ratio    AP50   MOTA   IDF1   front  encode  decode   back  codec   through"
    );
    println!(
        "                                                                  ms      ms      ms     ms  share        ms"
    );
    for (accuracy, run) in runs {
        let (name, qp) = match &run.coding {
            Some(c) => (c.statistics.name(), c.qp.to_string()),
            None => ("uncompressed", String::new()),
        };
        let rate = run.kbit_per_second();
        let [front, encode, decode, back] = run.times.map(|t| t.as_secs_f64() * 1e3);
        println!(
            "  {name:<12}  {qp:>3}  {rate:9.1}  {:6.0}   {:.3}  {:.3}  {:.3}  {front:6.1}  {encode:6.2}  {decode:6.2} {back:6.1}  {:3.0} %  {:8.1}",
            raw / rate,
            accuracy.ap50,
            accuracy.mota,
            accuracy.idf1,
            100.0 * run.codec_share(),
            run.through.as_secs_f64() * 1e3,
        );
    }
    println!(
        "\n  Persons, against what was rendered. Raw tensors (float32): {:.1} Mbit/s. Delay: 0 frames, since every picture's tracks\n  \
         were there before the next picture was sent; through = from picture to tracks, on this machine, mean.\n  \
         One street is an example; other streets give other numbers (make results measures several).\n",
        raw / 1000.0
    );
}
