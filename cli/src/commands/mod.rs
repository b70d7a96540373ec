//! One module a subcommand: its arguments, its work, its report.

pub mod calibrate;
pub mod compare;
pub mod decode;
pub mod encode;
pub mod info;

use anyhow::{Context, Result, ensure};
use fcm_codec::bitstream::Reduction;
use fcm_codec::reduction::learned::InferenceRuntime;
use fcm_codec::{Dtype, FrameKind, Layer, Limits, Sequence, Transform};
use serde::Serialize;
use std::fs::{self, File};
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

/// Reads a `.fcmt` file; its size is checked before memory is taken.
fn read_transform(path: &Path, limits: &Limits) -> Result<Arc<Transform>> {
    let read = || -> Result<Transform> {
        let length = fs::metadata(path)?.len();
        let most = limits.max_transform;
        ensure!(length <= most, "a transform of {length} bytes, legal are at most {most}");
        let mut bytes = Vec::new();
        File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
        Ok(Transform::from_bytes(&bytes, limits)?)
    };
    read().map(Arc::new).with_context(|| format!("cannot read transform {}", path.display()))
}

/// What runs the networks of learned transforms.
fn runtime() -> Arc<dyn InferenceRuntime> {
    Arc::new(fcm_infer::OnnxRuntime::default())
}

/// A layer in reports.
#[derive(Debug, Clone, Serialize)]
struct LayerReport {
    name: String,
    /// `[C, H, W]`, or `[C]` for a vector.
    shape: Vec<u32>,
    dtype: &'static str,
}

impl LayerReport {
    fn of(layer: &Layer) -> Self {
        let s = layer.shape;
        let shape = if s.is_vector() { vec![s.channels()] } else { vec![s.channels(), s.height(), s.width()] };
        Self { name: layer.name.clone(), shape, dtype: dtype_name(layer.dtype) }
    }

    /// Shape as `64x76x136`.
    fn shape_text(&self) -> String {
        self.shape.iter().map(u32::to_string).collect::<Vec<_>>().join("x")
    }
}

/// A mean and a standard deviation in reports.
#[derive(Debug, Clone, Copy, Serialize)]
struct PairReport {
    mean: f64,
    std_dev: f64,
}

impl From<fcm_codec::MeanStd> for PairReport {
    fn from(s: fcm_codec::MeanStd) -> Self {
        Self { mean: s.mean, std_dev: s.std_dev }
    }
}

const fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "f16",
        Dtype::F32 => "f32",
    }
}

const fn kind_name(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::RandomAccess => "random-access",
        FrameKind::Predicted => "predicted",
    }
}

/// Identity of the calibrated transform a stream names; `None` = block DCT.
fn transform_of(sequence: &Sequence) -> Option<String> {
    match sequence.reduction {
        Reduction::Dct => None,
        Reduction::Calibrated(id) => Some(id.to_string()),
    }
}

/// A frame rate as `25/1`.
fn framerate_text((n, d): (u32, u32)) -> String {
    format!("{n}/{d}")
}

/// Reads a share of something whole.
fn parse_share(text: &str) -> Result<f32, String> {
    parse_within(text, 0.0..=1.0)
}

/// Reads a gain of restoration.
fn parse_gain(text: &str) -> Result<f32, String> {
    parse_within(text, 1.0..=4.0)
}

fn parse_within(text: &str, legal: RangeInclusive<f32>) -> Result<f32, String> {
    let value = text.parse().ok().filter(|value| legal.contains(value));
    value.ok_or_else(|| format!("legal are {} to {}", legal.start(), legal.end()))
}

/// Reads a frame rate: `25` or `30000/1001`.
fn parse_framerate(text: &str) -> Result<(u32, u32), String> {
    let (n, d) = text.split_once('/').unwrap_or((text, "1"));
    match (n.trim().parse(), d.trim().parse()) {
        (Ok(n), Ok(d)) if n > 0 && d > 0 => Ok((n, d)),
        _ => Err("legal are N or N/D with N and D from 1 to 4294967295".into()),
    }
}
