//! The features as binary16 through a compressor made for numbers.

use super::{Chain, FarSide, Input, Sent, Setting, number};
use crate::features::Frame;
use anyhow::{Context, Result, ensure};
use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress};
use serde_json::{Value, json};
use std::time::Instant;

/// Every layer of every frame on its own through pco. Without loss for binary16 values.
pub struct F16Pco;

impl Chain for F16Pco {
    fn name(&self) -> &str {
        "f16-pco"
    }

    fn default_points(&self) -> Vec<Setting> {
        vec![Setting::Level(8)]
    }

    fn parse_point(&self, text: &str) -> Result<Setting> {
        number(text, 0, 12).map(Setting::Level)
    }

    fn identity(&self) -> Result<Value> {
        Ok(json!({"pco": 1}))
    }

    fn send(&self, input: &Input<'_>, setting: Setting, far: &mut dyn FarSide) -> Result<Sent> {
        let Setting::Level(level) = setting else { anyhow::bail!("setting {setting:?}, legal are levels") };
        let config = ChunkConfig::default().with_compression_level(level.into());
        let mut sent = Sent::default();
        let mut frame = Frame::default();
        for n in 0..input.features.frames() {
            input.features.read(n, &mut frame)?;
            for layer in &mut frame.layers {
                let clock = Instant::now();
                let coded = simple_compress(layer, &config).context("pco")?;
                sent.encoding += clock.elapsed();
                sent.bytes += coded.len() as u64;

                let clock = Instant::now();
                let decoded = simple_decompress(&coded).context("pco")?;
                ensure!(decoded.len() == layer.len(), "pco gave {} values of {}", decoded.len(), layer.len());
                *layer = decoded;
                sent.decoding += clock.elapsed();
            }
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
        let file = features(&folder.path().join("a.f16"), 3);
        let mut far = Collected::default();
        let sent = F16Pco.send(&input(&file), Setting::Level(8), &mut far).unwrap();
        let mut frame = Frame::default();
        for (n, got) in far.features.iter().enumerate() {
            file.read(n as u64, &mut frame).unwrap();
            assert_eq!(*got, frame.layers, "frame {n}");
        }
        assert!(sent.bytes > 0 && sent.bytes < file.layout().bytes() * 3 + 1000);
    }
}
