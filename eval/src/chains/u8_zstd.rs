//! The features in 8 bits through a general compressor.

use super::{Chain, FarSide, Input, Sent, Setting, number};
use crate::features::Frame;
use anyhow::{Context, Result, ensure};
use half::f16;
use serde_json::{Value, json};
use std::time::Instant;

/// Bytes of the minimum and maximum of a layer.
const RANGE: usize = 8;

/// Every layer of every frame in 256 even steps from its minimum to its maximum, which go before; a frame through zstd.
pub struct U8Zstd;

/// Appends a layer, quantised.
fn write(layer: &[f16], out: &mut Vec<u8>) {
    let range =
        layer.iter().map(|v| v.to_f32()).fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    out.extend_from_slice(&range.0.to_le_bytes());
    out.extend_from_slice(&range.1.to_le_bytes());
    let scale = if range.1 > range.0 { 255.0 / (range.1 - range.0) } else { 0.0 };
    out.extend(layer.iter().map(|v| ((v.to_f32() - range.0) * scale).round() as u8));
}

/// Reads a layer of as many values as `layer` has; returns the rest of the bytes.
fn read<'a>(bytes: &'a [u8], layer: &mut [f16]) -> Result<&'a [u8]> {
    let (range, rest) = bytes.split_at_checked(RANGE).context("no range")?;
    let (levels, rest) = rest.split_at_checked(layer.len()).context("too few levels")?;
    let low = f32::from_le_bytes(range[..4].try_into()?);
    let high = f32::from_le_bytes(range[4..].try_into()?);
    let step = (high - low) / 255.0;
    layer.iter_mut().zip(levels).for_each(|(v, &level)| *v = f16::from_f32(low + f32::from(level) * step));
    Ok(rest)
}

impl Chain for U8Zstd {
    fn name(&self) -> &str {
        "u8-zstd"
    }

    fn default_points(&self) -> Vec<Setting> {
        vec![Setting::Level(3)]
    }

    fn parse_point(&self, text: &str) -> Result<Setting> {
        number(text, 1, 22).map(Setting::Level)
    }

    fn identity(&self) -> Result<Value> {
        Ok(json!({"zstd": zstd::zstd_safe::version_string()}))
    }

    fn send(&self, input: &Input<'_>, setting: Setting, far: &mut dyn FarSide) -> Result<Sent> {
        let Setting::Level(level) = setting else { anyhow::bail!("setting {setting:?}, legal are levels") };
        let mut compressor = zstd::bulk::Compressor::new(level.into())?;
        let mut decompressor = zstd::bulk::Decompressor::new()?;
        let mut sent = Sent::default();
        let mut frame = Frame::default();
        let mut raw = Vec::new();
        for n in 0..input.features.frames() {
            input.features.read(n, &mut frame)?;
            let clock = Instant::now();
            raw.clear();
            frame.layers.iter().for_each(|layer| write(layer, &mut raw));
            let coded = compressor.compress(&raw)?;
            sent.encoding += clock.elapsed();
            sent.bytes += coded.len() as u64;

            let clock = Instant::now();
            let decoded = decompressor.decompress(&coded, raw.len()).context("zstd")?;
            let mut rest = &decoded[..];
            for layer in &mut frame.layers {
                rest = read(rest, layer)?;
            }
            ensure!(rest.is_empty(), "{} bytes too many", rest.len());
            sent.decoding += clock.elapsed();
            far.features(&frame.layers)?;
        }
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Collected, Folder, features, input};

    #[test]
    fn values_come_back_to_half_a_step() {
        let folder = Folder::new().unwrap();
        let file = features(&folder.path().join("a.f16"), 3);
        let mut far = Collected::default();
        let sent = U8Zstd.send(&input(&file), Setting::Level(3), &mut far).unwrap();
        let mut frame = Frame::default();
        for (n, got) in far.features.iter().enumerate() {
            file.read(n as u64, &mut frame).unwrap();
            for (wanted, got) in frame.layers.iter().flatten().zip(got.iter().flatten()) {
                // Values from −1.7 to 2.3: half a step of 4/255, and rounding to binary16.
                assert!((wanted.to_f32() - got.to_f32()).abs() < 0.0095, "{wanted} became {got}");
            }
        }
        assert!(sent.bytes > 0 && sent.bytes < file.layout().elements() * 3 + 200);
        let mut flat = Vec::new();
        write(&[f16::ONE; 3], &mut flat);
        let mut layer = [f16::ZERO; 3];
        assert!(read(&flat, &mut layer).unwrap().is_empty());
        assert_eq!(layer, [f16::ONE; 3]);
        assert!(read(&flat[..10], &mut layer).is_err());
    }
}
