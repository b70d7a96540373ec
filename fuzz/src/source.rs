//! Settings, layouts and features out of fuzzed bytes. Every byte string gives legal settings; past its end it reads zeros.

use fcm_codec::reduction::CellShape;
use fcm_codec::{
    ChannelOrder, Dtype, EncoderConfig, Layer, Layout, Limits, RateControl, Shape, StatisticsMode, StreamFormat,
    TensorRef, Transform,
};
use half::f16;
use std::sync::Arc;

/// A front-to-back reader of fuzzed bytes.
pub struct Source<'a> {
    bytes: &'a [u8],
}

/// One frame of a layout.
pub struct Features {
    layers: Vec<Values>,
}

enum Values {
    F16(Vec<f16>),
    F32(Vec<f32>),
}

impl Values {
    fn view(&self) -> TensorRef<'_> {
        match self {
            Values::F16(v) => TensorRef::F16(v),
            Values::F32(v) => TensorRef::F32(v),
        }
    }
}

impl Features {
    pub fn tensors(&self) -> Vec<TensorRef<'_>> {
        self.layers.iter().map(Values::view).collect()
    }

    pub fn finite(&self) -> bool {
        self.layers.iter().all(|v| match v {
            Values::F16(v) => v.iter().all(|v| v.is_finite()),
            Values::F32(v) => v.iter().all(|v| v.is_finite()),
        })
    }
}

impl<'a> Source<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        let Some((&first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        first
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes([(); 4].map(|()| self.u8()))
    }

    /// The next `count` bytes, or as many as there are.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let (taken, rest) = self.bytes.split_at(count.min(self.bytes.len()));
        self.bytes = rest;
        taken.to_vec()
    }

    fn below(&mut self, n: u32) -> u32 {
        u32::from(self.u8()) % n
    }

    /// Legal settings and a small layout.
    pub fn config(&mut self) -> (EncoderConfig, Layout) {
        let layout = self.layout();
        let cells = cells(&layout);
        let dimension: usize = cells.iter().map(dimension).sum();
        let transform = (self.below(3) == 0).then(|| self.transform(cells, dimension));
        let available = transform.as_ref().map_or(dimension as u32, |t| t.components());
        let components = (self.below(2) == 0).then(|| 1 + self.below(255) % available);
        let rate_control = match self.below(4) {
            0 => RateControl::Bitrate {
                kbit_per_second: 1 + self.u32() % 100_000,
                frames_per_second: (1 + self.below(200), 1 + self.below(4)),
            },
            _ => RateControl::ConstantQp(self.u8() % 64),
        };
        let reference_scale = match self.below(6) {
            0 => Some(f32::from_bits(self.u32())).filter(|s| s.is_finite() && *s > 0.0),
            _ => None,
        };
        let flags = self.u8();
        let config = EncoderConfig {
            rate_control,
            key_int_max: self.below(8),
            stats_period: self.below(5),
            stats_threshold: f32::from(self.u8()) / 64.0,
            statistics: StatisticsMode::ALL[usize::from(flags & 3)],
            restoration_strength: (flags & 0x10 == 0).then_some(0.3),
            restoration_gain: (flags & 0x10 == 0).then_some(1.5),
            transform,
            runtime: None,
            components,
            background_offset: 0,
            skip_threshold: if flags & 0x80 == 0 { 1.0 } else { 0.0 },
            rd_strength: if flags & 0x80 == 0 { 0.08 } else { 0.0 },
            error_resilient: flags & 0x20 == 0,
            motion_compensation: flags & 0x40 == 0,
            intra_prediction: flags & 0x40 == 0,
            slice_size: if flags & 0x40 == 0 { 30 } else { 0 },
            threads: 1,
            format: if flags & 4 == 0 { StreamFormat::ByteStream } else { StreamFormat::Packetized },
            framerate: (self.below(200), 1 + self.below(200)),
            reference_scale,
            lossless: flags & 0x18 == 0x18,
            limits: super::limits(),
        };
        (config, layout)
    }

    fn layout(&mut self) -> Layout {
        let count = 1 + self.below(4);
        let layers = (0..count).map(|n| {
            let kind = self.u8();
            let shape = match kind & 3 {
                0 => Shape::vector(1 + self.below(60)),
                _ => Shape::chw(1 + self.below(6), 1 + self.below(10), 1 + self.below(12)),
            };
            let dtype = if kind & 4 == 0 { Dtype::F32 } else { Dtype::F16 };
            let order = if kind & 8 == 0 { ChannelOrder::Chw } else { ChannelOrder::Hwc };
            Layer { order, ..Layer::new(format!("l{n}"), shape, dtype) }
        });
        Layout::new(layers.collect(), &Limits::default()).expect("a legal layout")
    }

    /// Any finite basis: the codec must not rely on it being orthonormal.
    fn transform(&mut self, cells: Vec<CellShape>, dimension: usize) -> Arc<Transform> {
        let components = (1 + self.below(40) as usize).min(dimension);
        let gain = [1.0, 1e-3, 30.0, 1e12][self.below(4) as usize];
        let mut state = self.u32();
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / 8_388_608.0 - 1.0) * gain
        };
        let mean = (0..dimension).map(|_| random()).collect();
        let basis = (0..dimension * components).map(|_| random()).collect();
        let transform = Transform::new(cells, mean, basis, vec![1.0; components], components as f64, 1);
        let transform = transform.expect("a legal transform");
        if self.below(2) == 0 {
            return Arc::new(transform);
        }
        let weights = (0..components).map(|_| [self.u8() as i8, self.u8() as i8, self.u8() as i8]);
        Arc::new(transform.with_intra_weights(weights.collect()).expect("a triple for each component"))
    }

    /// Values of every layer, of one of several kinds.
    pub fn features(&mut self, layout: &Layout) -> Features {
        let layers = layout.layers().iter().map(|layer| {
            let kind = self.u8();
            let offset = f32::from_bits(u32::from(self.u8()) << 24 | u32::from(self.u8()) << 16);
            let gain = 2f32.powi(i32::from(self.u8() as i8));
            let mut state = u32::from(self.u8());
            let values = (0..layer.shape.elements()).map(|i| match kind % 6 {
                0 => offset,
                1 => gain * (i as f32 * 0.3 + state as f32).sin(),
                2 => {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    gain * ((state >> 8) as f32 / 8_388_608.0 - 1.0)
                }
                // Raw bits: subnormal, huge, NaN, infinite.
                3 => f32::from_bits(self.u32()),
                4 => f32::from(self.u8() as i8) * gain,
                _ => [f32::MAX, f32::MIN, 0.0, f32::MIN_POSITIVE, 1e19, -1e-30][(self.u8() % 6) as usize],
            });
            match layer.dtype {
                Dtype::F32 => Values::F32(values.collect()),
                Dtype::F16 => Values::F16(values.map(f16::from_f32).collect()),
            }
        });
        Features { layers: layers.collect() }
    }
}

fn dimension(cell: &CellShape) -> usize {
    cell.channels as usize * usize::from(cell.rows) * usize::from(cell.cols)
}

/// The cells of `layout` after docs/bitstream.md §5.1, independently of the codec.
fn cells(layout: &Layout) -> Vec<CellShape> {
    let maps = || layout.layers().iter().map(|l| l.shape).filter(|s| s.height() > 1 || s.width() > 1);
    let height = maps().map(|s| s.height()).min().unwrap_or(1);
    let width = maps().map(|s| s.width()).min().unwrap_or(1);
    let cell = |s: Shape| match s.height() > 1 || s.width() > 1 {
        true => CellShape {
            channels: s.channels(),
            rows: s.height().div_ceil(height) as u16,
            cols: s.width().div_ceil(width) as u16,
            laid_out: false,
        },
        false => CellShape { channels: s.channels().div_ceil(height * width), rows: 1, cols: 1, laid_out: true },
    };
    layout.layers().iter().map(|l| cell(l.shape)).collect()
}
