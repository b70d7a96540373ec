//! Feature sets for tests: smooth, correlated, slowly moving, from fixed seeds.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod layers;

use fcm_codec::{Dtype, Layer, Layout, Limits, Shape, TensorRef};
use half::f16;

/// splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// Uniform in −1..1.
    pub fn signed(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// One frame: dense values of every layer, as binary32 and rounded to binary16.
pub struct Features {
    pub wide: Vec<Vec<f32>>,
    pub narrow: Vec<Vec<f16>>,
    dtypes: Vec<Dtype>,
}

impl Features {
    pub fn new(layout: &Layout, wide: Vec<Vec<f32>>) -> Self {
        let narrow = wide.iter().map(|l| l.iter().map(|&v| f16::from_f32(v)).collect()).collect();
        Self { wide, narrow, dtypes: layout.layers().iter().map(|l| l.dtype).collect() }
    }

    pub fn tensors(&self) -> Vec<TensorRef<'_>> {
        let layers = self.wide.iter().zip(&self.narrow).zip(&self.dtypes);
        layers.map(|((w, n), d)| if *d == Dtype::F32 { TensorRef::F32(w) } else { TensorRef::F16(n) }).collect()
    }
}

pub fn layout(layers: &[(Shape, Dtype)]) -> Layout {
    let layers = layers.iter().enumerate().map(|(n, (s, d))| Layer::new(format!("layer{n}"), *s, *d)).collect();
    Layout::new(layers, &Limits::default()).unwrap()
}

/// A pyramid of three layers.
pub fn pyramid() -> Layout {
    layout(&[
        (Shape::chw(8, 24, 40), Dtype::F32),
        (Shape::chw(16, 12, 20), Dtype::F16),
        (Shape::chw(24, 6, 10), Dtype::F32),
    ])
}

/// Frame `t` of a scene: a few waves that drift, a different mean for every layer, and a little noise; negative parts are damped as after a
/// leaky activation.
pub fn frame(layout: &Layout, seed: u64, t: u32) -> Features {
    let wide = layout.layers().iter().enumerate().map(|(n, layer)| {
        let mut random = Random(seed * 1000 + n as u64);
        let mut noise = Random(seed * 1_000_003 + u64::from(t) * 31 + n as u64);
        let (c, h, w) = (layer.shape.channels(), layer.shape.height(), layer.shape.width());
        let mut values = Vec::with_capacity((c * h * w) as usize);
        for _ in 0..c {
            let [fx, fy, phase, gain] = [(); 4].map(|()| random.signed());
            let mean = random.signed() + n as f32;
            for y in 0..h {
                for x in 0..w {
                    let u = (x as f32 + 0.1 * t as f32) / w as f32;
                    let v = y as f32 / h as f32;
                    let wave = (6.0 * fx * u + 5.0 * fy * v + 3.0 * phase).sin() * 2.0 * gain + 0.05 * noise.signed();
                    values.push(mean + if wave < 0.0 { 0.1 * wave } else { wave });
                }
            }
        }
        values
    });
    Features::new(layout, wide.collect())
}

/// Frame `t` of a scene that the camera pans over: every layer moves by `speed` of its values a frame down and half as much to the right,
/// measured at the smallest layer, the last one.
pub fn panned(layout: &Layout, seed: u64, t: u32, speed: f32) -> Features {
    let last = layout.layers().last().expect("a layer").shape;
    let wide = layout.layers().iter().enumerate().map(|(n, layer)| {
        let mut random = Random(seed * 1000 + n as u64);
        let (c, h, w) = (layer.shape.channels(), layer.shape.height(), layer.shape.width());
        let (rows, cols) = (last.height() as f32 / h as f32, last.width() as f32 / w as f32);
        let mut values = Vec::with_capacity((c * h * w) as usize);
        for _ in 0..c {
            let [a, b, c, d, phase] = [(); 5].map(|()| random.signed());
            for y in 0..h {
                for x in 0..w {
                    let (v, u) = (y as f32 * rows + speed * t as f32, x as f32 * cols + 0.5 * speed * t as f32);
                    values.push(((1.0 + a) * v + b * u + 3.0 * phase).sin() + ((1.0 + c) * u + d * v).cos());
                }
            }
        }
        values
    });
    Features::new(layout, wide.collect())
}

/// Mean and population standard deviation in double precision.
pub fn mean_std(values: &[f32]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}
