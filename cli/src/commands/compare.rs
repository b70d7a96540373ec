//! `fcm compare`: how far two feature files are apart, layer by layer.

use super::LayerReport;
use crate::feature_file::{FeatureReader, Values};
use crate::progress::{Progress, warn};
use crate::report::{self, Table};
use anyhow::{Result, bail, ensure};
use fcm_codec::{Layout, Limits};
use serde::Serialize;
use std::path::PathBuf;

/// Compare two feature files layer by layer: A is the original, B what became of it.
///
/// nmse is the sum of squared differences over the sum of squares of A; cosine that between all values of A and B; mean and std
/// errors are the differences of each frame's mean and standard deviation, in standard deviations of A's frame, as
/// average over the frames and as maximum.
#[derive(clap::Args)]
pub struct Arguments {
    /// Original features
    #[arg(value_name = "A.npz")]
    original: PathBuf,
    /// Decoded features
    #[arg(value_name = "B.npz")]
    decoded: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    a: PathBuf,
    b: PathBuf,
    frames: u64,
    layers: Vec<LayerComparison>,
}

/// Ratios to zero (of a layer that is constant, or all zero) are `null`, unless both sides are equal.
#[derive(Serialize)]
struct LayerComparison {
    #[serde(flatten)]
    layer: LayerReport,
    nmse: f64,
    mean_error: f64,
    mean_error_max: f64,
    std_error: f64,
    std_error_max: f64,
    cosine: f64,
}

/// Sums over the frames of one layer.
#[derive(Default)]
struct Sums {
    difference: f64,
    a: f64,
    b: f64,
    product: f64,
    mean_error: f64,
    mean_error_max: f64,
    std_error: f64,
    std_error_max: f64,
}

impl Sums {
    fn add(&mut self, a: &[f32], b: &[f32]) {
        let n = a.len() as f64;
        let (mut sum_a, mut sum_b) = (0.0, 0.0);
        for (&x, &y) in a.iter().zip(b) {
            let (x, y) = (f64::from(x), f64::from(y));
            sum_a += x;
            sum_b += y;
            self.difference += (x - y) * (x - y);
            self.a += x * x;
            self.b += y * y;
            self.product += x * y;
        }
        let (mean_a, mean_b) = (sum_a / n, sum_b / n);
        let std_dev = |v: &[f32], mean: f64| (v.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n).sqrt();
        let (std_a, std_b) = (std_dev(a, mean_a), std_dev(b, mean_b));
        let mean_error = ratio((mean_b - mean_a).abs(), std_a);
        let std_error = ratio((std_b - std_a).abs(), std_a);
        self.mean_error += mean_error;
        self.std_error += std_error;
        self.mean_error_max = self.mean_error_max.max(mean_error);
        self.std_error_max = self.std_error_max.max(std_error);
    }

    fn finish(&self, layer: LayerReport, frames: u64) -> LayerComparison {
        let frames = frames as f64;
        let length = (self.a * self.b).sqrt();
        LayerComparison {
            layer,
            nmse: ratio(self.difference, self.a),
            mean_error: self.mean_error / frames,
            mean_error_max: self.mean_error_max,
            std_error: self.std_error / frames,
            std_error_max: self.std_error_max,
            cosine: if self.difference == 0.0 { 1.0 } else { self.product / length },
        }
    }
}

/// `part / whole`; nothing of nothing is nothing.
fn ratio(part: f64, whole: f64) -> f64 {
    if part == 0.0 { 0.0 } else { part / whole }
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read, the two have other layers or another number of frames, or hold a value that is not finite.
pub fn run(arguments: &Arguments) -> Result<()> {
    let limits = Limits::default();
    let mut a = FeatureReader::open(&arguments.original, &limits)?;
    let mut b = FeatureReader::open(&arguments.decoded, &limits)?;
    let frames = a.frames();
    ensure!(
        b.frames() == frames,
        "{} has {frames} frames, {} has {}; they must have the same number",
        arguments.original.display(),
        arguments.decoded.display(),
        b.frames()
    );
    let partners = partners(a.layout(), b.layout())?;
    let layout = a.layout().clone();
    let progress = Progress::frames("comparing", frames);
    let mut sums: Vec<Sums> = layout.layers().iter().map(|_| Sums::default()).collect();
    let (mut x, mut y) = (Vec::new(), Vec::new());
    let mut frame = 0u64;
    while let (Some(of_a), Some(of_b)) = (a.next()?, b.next()?) {
        for (n, sums) in sums.iter_mut().enumerate() {
            let read = |values: &Values, path: &PathBuf, out: &mut Vec<f32>| {
                values.to_f32(out);
                match out.iter().position(|v| !v.is_finite()) {
                    Some(i) => bail!(
                        "{}: frame {frame} of layer {:?} has the value {} at index {i}, only finite values can be compared",
                        path.display(),
                        layout.layers()[n].name,
                        out[i]
                    ),
                    None => Ok(()),
                }
            };
            read(&of_a[n], &arguments.original, &mut x)?;
            read(&of_b[partners[n]], &arguments.decoded, &mut y)?;
            sums.add(&x, &y);
        }
        frame += 1;
        progress.advance(1)?;
    }
    drop(progress);
    let layers = layout.layers().iter().zip(&sums).map(|(l, s)| s.finish(LayerReport::of(l), frames)).collect();
    let report = Report { a: arguments.original.clone(), b: arguments.decoded.clone(), frames, layers };
    report::print(arguments.json, &report, text)
}

/// For each layer of `a` the layer of `b` of the same name; if the names differ, of the same place.
fn partners(a: &Layout, b: &Layout) -> Result<Vec<usize>> {
    let (a, b) = (a.layers(), b.layers());
    ensure!(a.len() == b.len(), "A has {} layers, B has {}; they must have the same", a.len(), b.len());
    let by_name: Option<Vec<usize>> = a.iter().map(|l| b.iter().position(|m| m.name == l.name)).collect();
    let partners = by_name.unwrap_or_else(|| {
        warn("the names of the layers differ, they are compared in their order");
        (0..a.len()).collect()
    });
    for (layer, &n) in a.iter().zip(&partners) {
        ensure!(
            layer.shape == b[n].shape,
            "layer {:?} is {} in A, layer {:?} is {} in B; the shapes must be the same",
            layer.name,
            layer.shape,
            b[n].name,
            b[n].shape
        );
    }
    Ok(partners)
}

fn text(r: &Report) -> String {
    let mut table = Table::new(["layer", "shape", "nmse", "mean error", "max", "std error", "max", "cosine"]);
    for l in &r.layers {
        table.row([
            l.layer.name.clone(),
            l.layer.shape_text(),
            report::number(l.nmse),
            report::number(l.mean_error),
            report::number(l.mean_error_max),
            report::number(l.std_error),
            report::number(l.std_error_max),
            format!("{:.6}", l.cosine),
        ]);
    }
    format!("{} frames; mean and std errors in standard deviations\n{table}", r.frames)
}
