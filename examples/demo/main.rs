//! The codec at its main job: feature tensors through `fcmenc ! fcmparse ! fcmdec`, measured and plotted.
//!
//! `cargo run --release --example demo -- [--out FOLDER] [--qp LIST] [--own-only]` takes the repository's own features
//! (examples/data) and, where the measuring data is at hand (`../shared/data` or `FCM_DATA`), those of a real
//! sequence. It calibrates a transform on other features, runs the pipeline at every qp with and without restored
//! statistics, prints what came out and draws `demo.png`.

mod chain;
mod features;
mod measure;
mod plot;

use anyhow::{Context, Result, bail, ensure};
use chain::{FRAME_RATE, Run, Settings};
use fcm_codec::reduction::calibrate::Calibrator;
use fcm_codec::{Limits, StatisticsMode, TensorRef};
use features::Features;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const DEFAULT_QPS: [u32; 4] = [22, 28, 34, 40];

/// Features to run, and those to calibrate on.
struct Material {
    title: String,
    /// Stem of the transform's file.
    name: &'static str,
    test: PathBuf,
    calibration: Vec<PathBuf>,
    components: u32,
}

struct Arguments {
    out: PathBuf,
    qps: Vec<u32>,
    own_only: bool,
}

impl Arguments {
    /// The qp of the charts and tables that show one.
    fn middle_qp(&self) -> u32 {
        self.qps[self.qps.len() / 2]
    }
}

fn arguments() -> Result<Arguments> {
    let mut a = Arguments { out: "demo-out".into(), qps: DEFAULT_QPS.to_vec(), own_only: false };
    let mut given = std::env::args().skip(1);
    while let Some(option) = given.next() {
        match option.as_str() {
            "--out" => a.out = given.next().context("--out needs a folder")?.into(),
            "--qp" => {
                let list = given.next().context("--qp needs a list such as 22,28,34,40")?;
                a.qps = list.split(',').map(str::parse).collect::<Result<_, _>>().context("--qp")?;
                ensure!(a.qps.iter().all(|q| *q <= 63), "--qp {list}: values from 0 to 63");
            }
            "--own-only" => a.own_only = true,
            _ => bail!("unknown option {option:?}; there are --out FOLDER, --qp LIST, --own-only"),
        }
    }
    Ok(a)
}

fn main() -> Result<()> {
    let a = arguments()?;
    std::fs::create_dir_all(&a.out).with_context(|| a.out.display().to_string())?;
    gst::init()?;
    gstfcm::plugin_register_static()?;

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = root.join("examples/data");
    let mut materials = vec![Material {
        title: "Rendered street scene, features of the project's own small network".into(),
        name: "scene",
        test: data.join("scene.npz"),
        calibration: vec![data.join("calibration.npz")],
        components: 256,
    }];
    if !a.own_only {
        match real_sequence(root) {
            Ok(Some(m)) => materials.push(m),
            Ok(None) => {
                println!("No measuring data (../shared/data or FCM_DATA): only the repository's own features.\n")
            }
            Err(e) => println!("The real sequence is left out: {e:#}\n"),
        }
    }

    let mut done = Vec::new();
    for m in &materials {
        let features = Arc::new(Features::read(&m.test)?);
        let runs = runs(m, &features, &a)?;
        done.push((m, features, runs));
    }
    let rows: Vec<_> = done
        .iter()
        .map(|(m, features, runs)| plot::Row {
            title: m.title.clone(),
            names: features.layout.layers().iter().map(|l| l.name.clone()).collect(),
            runs,
            qp: a.middle_qp(),
        })
        .collect();
    let picture = a.out.join("demo.png");
    plot::draw(&picture, &rows)?;
    println!("Plot: {}", picture.display());
    Ok(())
}

/// Calibrates, then runs the pipeline at every qp with and without restored statistics, and prints both.
fn runs(material: &Material, features: &Arc<Features>, a: &Arguments) -> Result<Vec<Run>> {
    println!("== {}", material.title);
    let raw = features.bytes_per_frame() as f64 * 8.0 * f64::from(FRAME_RATE) / 1e6;
    let layers = features.layout.layers();
    let shapes: Vec<_> = layers.iter().map(|l| format!("{} {}", l.name, l.shape)).collect();
    println!(
        "{} frames of {} (float16): {raw:.1} Mbit/s raw at {FRAME_RATE} frames/s",
        features.frames,
        shapes.join(", ")
    );
    let transform = calibrate(material, &a.out)?;
    let qp = a.middle_qp();

    let mut all = Vec::new();
    for &q in &a.qps {
        for statistics in [StatisticsMode::None, StatisticsMode::ZScore] {
            let settings = Settings { qp: q, statistics, transform: transform.clone() };
            if q == qp && statistics == StatisticsMode::ZScore {
                println!("Pipeline: {}", chain::description(&features.layout, &settings));
            }
            all.push(chain::run(features, &settings)?);
        }
    }

    println!("\n  qp  statistics     kbit/s   ratio  encode ms  decode ms   cosine and NMSE of each layer");
    for r in &all {
        let rate = r.kbit_per_second();
        let worth: Vec<_> =
            r.layers.iter().zip(layers).map(|(m, l)| format!("{} {:.4} {:.4}", l.name, m.cosine(), m.nmse())).collect();
        println!(
            "  {:2}  {:<10}  {:9.1}  {:6.0}  {:9.2}  {:9.2}   {}",
            r.settings.qp,
            r.settings.statistics.name(),
            rate,
            raw * 1000.0 / rate,
            r.encode.as_secs_f64() * 1e3,
            r.decode.as_secs_f64() * 1e3,
            worth.join("   ")
        );
    }

    let find = |mode| all.iter().find(|r| r.settings.qp == qp && r.settings.statistics == mode).context("no such run");
    let (plain, restored) = (find(StatisticsMode::None)?, find(StatisticsMode::ZScore)?);
    println!(
        "\n  Each layer at qp {qp} (all layers travel together in one stream of {:.1} kbit/s):",
        restored.kbit_per_second()
    );
    println!("  layer       raw Mbit/s   mean: before  not restored  restored   std: before  not restored  restored");
    for (n, layer) in layers.iter().enumerate() {
        let (p, r) = (&plain.layers[n], &restored.layers[n]);
        println!(
            "  {:<10}  {:10.1}   {:12.5}  {:12.5}  {:8.5}   {:11.5}  {:12.5}  {:8.5}",
            layer.name,
            layer.bytes() as f64 * 8.0 * f64::from(FRAME_RATE) / 1e6,
            r.mean().0,
            p.mean().1,
            r.mean().1,
            r.std_dev().0,
            p.std_dev().1,
            r.std_dev().1
        );
    }
    println!();
    Ok(all)
}

/// Learns the transform, as `fcm calibrate` does, and writes it where the elements can load it.
fn calibrate(material: &Material, out: &Path) -> Result<PathBuf> {
    let mut calibrator: Option<Calibrator> = None;
    for path in &material.calibration {
        let features = Features::read(path)?;
        let calibrator = match &mut calibrator {
            Some(c) => c,
            none => none.insert(Calibrator::new(features.layout.clone(), &Limits::default())?),
        };
        for frame in 0..features.frames {
            let tensors: Vec<_> =
                (0..features.layout.layers().len()).map(|n| TensorRef::F16(features.tensor(n, frame))).collect();
            calibrator.add(&tensors)?;
        }
    }
    let calibrator = calibrator.context("no calibration files")?;
    let samples = calibrator.samples();
    let transform = calibrator.finish(Some(material.components))?;
    let path = out.join(format!("{}.fcmt", material.name));
    std::fs::write(&path, transform.to_bytes()).with_context(|| path.display().to_string())?;
    println!(
        "Transform {}: {} of {} components hold {:.2} % of the variance of {samples} vectors",
        transform.id(),
        transform.components(),
        transform.dimension(),
        100.0 * transform.energy(transform.components())
    );
    Ok(path)
}

/// Features of the real sequence, computed on first use by examples/features/extract.py; `None` without the data.
fn real_sequence(root: &Path) -> Result<Option<Material>> {
    let data = std::env::var_os("FCM_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    if !data.join("models").is_dir() {
        return Ok(None);
    }
    let cache = std::env::var_os("FCM_FEATURES").map_or_else(|| root.join(".cache/features"), PathBuf::from);
    let list = cache.join("features.json");
    if !list.exists() {
        println!("Computing the features of the real sequence, once ...");
        let status = Command::new("python3")
            .arg(root.join("examples/features/extract.py"))
            .arg("--data")
            .arg(&data)
            .arg("--out")
            .arg(&cache)
            .status()
            .context("python3 cannot be started")?;
        ensure!(status.success(), "its features could not be computed (see above)");
    }
    let list: serde_json::Value = serde_json::from_slice(&std::fs::read(&list)?)?;
    let file = |v: &serde_json::Value| v.as_str().map(|s| cache.join(s)).context("features.json names no file");
    let calibration = list["calibration"].as_array().context("features.json lists no calibration")?;
    Ok(Some(Material {
        title: "TUD-Stadtmitte, features of YOLOX-nano cut after its PAN neck".into(),
        name: "real",
        test: file(&list["test"])?,
        calibration: calibration.iter().map(file).collect::<Result<_>>()?,
        components: 640,
    }))
}
