//! All layers that a decoder restored.
#![allow(dead_code, reason = "each test file uses its part")]

use fcm_codec::{Dtype, Layer, Result, TensorMut};
use half::f16;

/// Has `write` write every layer, and returns the values as binary32.
pub fn write_all(layers: &[Layer], mut write: impl FnMut(usize, TensorMut<'_>) -> Result<()>) -> Result<Vec<Vec<f32>>> {
    let layer = |(n, layer): (usize, &Layer)| {
        let len = layer.shape.elements() as usize;
        match layer.dtype {
            Dtype::F32 => {
                let mut values = vec![0.0f32; len];
                write(n, TensorMut::F32(&mut values))?;
                Ok(values)
            }
            Dtype::F16 => {
                let mut values = vec![f16::ZERO; len];
                write(n, TensorMut::F16(&mut values))?;
                Ok(values.iter().map(|v| v.to_f32()).collect())
            }
        }
    };
    layers.iter().enumerate().map(layer).collect()
}
