//! The features as binary16 through a general compressor: what one gets without thinking about features.

use super::{Chain, FarSide, Input, Sent, Setting, number};
use crate::features::Frame;
use anyhow::{Context, Result, ensure};
use half::f16;
use serde_json::{Value, json};
use std::time::Instant;

/// Every frame on its own, the layers one after the other, through zstd. Without loss for binary16 values.
pub struct F16Zstd;

impl Chain for F16Zstd {
    fn name(&self) -> &str {
        "f16-zstd"
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
        for n in 0..input.features.frames() {
            input.features.read(n, &mut frame)?;
            let clock = Instant::now();
            let raw: Vec<u8> = frame.layers.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
            let coded = compressor.compress(&raw)?;
            sent.encoding += clock.elapsed();
            sent.bytes += coded.len() as u64;

            let clock = Instant::now();
            let decoded = decompressor.decompress(&coded, raw.len()).context("zstd")?;
            ensure!(decoded.len() == raw.len(), "zstd gave {} bytes of {}", decoded.len(), raw.len());
            let mut values = decoded.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]));
            for layer in &mut frame.layers {
                let length = layer.len();
                layer.clear();
                layer.extend(values.by_ref().take(length));
            }
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
    fn binary16_values_come_through_without_loss() {
        let folder = Folder::new().unwrap();
        let file = features(&folder.path().join("a.f16"), 4);
        let mut far = Collected::default();
        let sent = F16Zstd.send(&input(&file), Setting::Level(3), &mut far).unwrap();
        assert_eq!(far.features.len(), 4);
        let mut frame = Frame::default();
        for (n, got) in far.features.iter().enumerate() {
            file.read(n as u64, &mut frame).unwrap();
            assert_eq!(*got, frame.layers, "frame {n}");
        }
        assert!(sent.bytes > 0 && sent.bytes < file.layout().bytes() * 4 + 4 * 32);
    }
}
