//! The features as they are: what coding is measured against.

use super::{Chain, FarSide, Input, Sent, Setting};
use crate::features::Frame;
use anyhow::{Result, bail};
use serde_json::{Value, json};

/// Features that are not coded. The rate counted is that of binary32, as the network gives them.
pub struct Uncompressed;

impl Chain for Uncompressed {
    fn name(&self) -> &str {
        "uncompressed"
    }

    fn default_points(&self) -> Vec<Setting> {
        vec![Setting::Fixed]
    }

    fn parse_point(&self, text: &str) -> Result<Setting> {
        bail!("point {text:?}, this chain has none")
    }

    fn identity(&self) -> Result<Value> {
        Ok(json!({}))
    }

    fn send(&self, input: &Input<'_>, _: Setting, far: &mut dyn FarSide) -> Result<Sent> {
        let mut frame = Frame::default();
        for n in 0..input.features.frames() {
            input.features.read(n, &mut frame)?;
            far.features(&frame.layers)?;
        }
        let bytes = input.features.layout().elements() * 4 * input.features.frames();
        Ok(Sent { bytes, ..Sent::default() })
    }
}
