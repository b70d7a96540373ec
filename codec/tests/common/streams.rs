//! Small real streams in several modes and shapes, with what an undamaged decoder makes of them.
#![allow(dead_code, reason = "each test file uses its part")]

use crate::common::{Features, Random, frame, layers, layout, panned};
use fcm_codec::reduction::CellShape;
use fcm_codec::{
    Decoded, DecodedFrame, Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, FrameRequest, Layout, Limits,
    RateControl, Shape, StatisticsMode, StreamFormat, Transform,
};
use std::sync::Arc;

/// A stream: access units, and the reconstruction after each.
pub struct Stream {
    pub name: &'static str,
    pub layout: Layout,
    pub config: EncoderConfig,
    pub units: Vec<Vec<u8>>,
    pub reconstructions: Vec<Vec<i32>>,
}

impl Stream {
    pub fn bytes(&self) -> Vec<u8> {
        self.units.concat()
    }

    /// A decoder that has what the stream needs and takes nothing much larger.
    pub fn decoder(&self) -> Decoder {
        let transforms = self.config.transform.iter().cloned().collect();
        Decoder::new(DecoderConfig { transforms, limits: tight_limits(), ..DecoderConfig::default() }).unwrap()
    }
}

/// Far above the small streams here, far below the defaults: hostile headers cannot make tests slow.
pub fn tight_limits() -> Limits {
    Limits { max_elements: 1 << 14, max_fused: 1 << 15, max_components: 1 << 13, ..Limits::default() }
}

/// A mean and orthonormal vectors for layers with some cells.
pub struct Basis {
    pub cells: Vec<CellShape>,
    pub mean: Vec<f32>,
    pub vectors: Vec<Vec<f32>>,
}

impl Basis {
    /// Random orthonormal: `components` vectors for `cells`.
    pub fn new(cells: &[(u32, u16, u16, bool)], components: usize, seed: u64) -> Self {
        let cells: Vec<CellShape> = cells
            .iter()
            .map(|&(channels, rows, cols, laid_out)| CellShape { channels, rows, cols, laid_out })
            .collect();
        let d: usize = cells.iter().map(|c| c.channels as usize * usize::from(c.rows) * usize::from(c.cols)).sum();
        let mut random = Random(seed);
        let mut vectors: Vec<Vec<f32>> = Vec::new();
        while vectors.len() < components {
            let mut v: Vec<f32> = (0..d).map(|_| random.signed()).collect();
            for b in &vectors {
                let dot: f32 = v.iter().zip(b).map(|(x, y)| x * y).sum();
                v.iter_mut().zip(b).for_each(|(x, y)| *x -= dot * y);
            }
            let norm = v.iter().map(|x| x * x).sum::<f32>().sqrt();
            if norm > 1e-3 {
                v.iter_mut().for_each(|x| *x /= norm);
                vectors.push(v);
            }
        }
        let mean = (0..d).map(|_| random.signed()).collect();
        Self { cells, mean, vectors }
    }

    pub fn variances(&self) -> Vec<f32> {
        (0..self.vectors.len()).map(|k| 10.0 / (k + 1) as f32).collect()
    }

    pub fn transform(&self) -> Transform {
        let (cells, mean) = (self.cells.clone(), self.mean.clone());
        Transform::new(cells, mean, self.vectors.concat(), self.variances(), 100.0, 1000).unwrap()
    }
}

/// A transform with a random orthonormal basis of `components` vectors for layers with `cells`.
pub fn transform(cells: &[(u32, u16, u16, bool)], components: usize, seed: u64) -> Arc<Transform> {
    Arc::new(Basis::new(cells, components, seed).transform())
}

/// Encodes `frames` frames of a synthetic scene.
pub fn stream(name: &'static str, config: EncoderConfig, layout: Layout, frames: u32) -> Stream {
    let features = |t| frame(&layout, 11, t);
    encoded(name, config, &layout, frames, &features)
}

/// Encodes `frames` frames of a scene that is panned over by 0.7 positions of the grid a frame.
pub fn moving(name: &'static str, config: EncoderConfig, layout: Layout, frames: u32) -> Stream {
    let features = |t| panned(&layout, 5, t, 0.7);
    encoded(name, config, &layout, frames, &features)
}

fn encoded(
    name: &'static str,
    config: EncoderConfig,
    layout: &Layout,
    frames: u32,
    features: &dyn Fn(u32) -> Features,
) -> Stream {
    let mut encoder = Encoder::new(config.clone(), layout.clone()).unwrap();
    let (mut units, mut reconstructions) = (Vec::new(), Vec::new());
    for t in 0..frames {
        let mut unit = Vec::new();
        encoder.encode(&features(t).tensors(), FrameRequest::default(), &mut unit).unwrap();
        units.push(unit);
        reconstructions.push(encoder.reconstruction().to_vec());
    }
    Stream { name, layout: layout.clone(), config, units, reconstructions }
}

/// Streams of six frames, a random access point every third.
pub fn all() -> Vec<Stream> {
    let maps = || layout(&[(Shape::chw(2, 4, 6), Dtype::F32), (Shape::chw(3, 2, 3), Dtype::F16)]);
    let padded = || layout(&[(Shape::chw(2, 5, 7), Dtype::F16), (Shape::chw(1, 2, 3), Dtype::F32)]);
    let vectors = || layout(&[(Shape::vector(24), Dtype::F32), (Shape::vector(9), Dtype::F16)]);
    let mixed = || layout(&[(Shape::chw(2, 3, 4), Dtype::F32), (Shape::vector(17), Dtype::F16)]);
    let config = |qp, statistics, format| EncoderConfig {
        rate_control: RateControl::ConstantQp(qp),
        key_int_max: 3,
        stats_period: 2,
        statistics,
        format,
        ..EncoderConfig::default()
    };
    let (byte_stream, packetized) = (StreamFormat::ByteStream, StreamFormat::Packetized);
    let klt = EncoderConfig {
        transform: Some(transform(&[(2, 2, 2, false), (3, 1, 1, false)], 7, 3)),
        ..config(18, StatisticsMode::ZScore, byte_stream)
    };
    let lossless = EncoderConfig { lossless: true, ..config(0, StatisticsMode::None, byte_stream) };
    let chained = EncoderConfig { error_resilient: false, ..config(22, StatisticsMode::ZScore, byte_stream) };
    let rich = || layout(&[(Shape::chw(5, 8, 12), Dtype::F32), (Shape::chw(4, 4, 6), Dtype::F16)]);
    let partial = EncoderConfig { restoration_strength: Some(0.25), ..config(30, StatisticsMode::ZScore, byte_stream) };
    let weights = [[48, 40, -24], [40, -30, 20], [-36, 44, 24], [10, 12, 0], [50, 0, 9], [0, 60, 0], [1, 2, 3]];
    let weighted = transform(&[(2, 2, 2, false), (3, 1, 1, false)], 7, 3);
    let weighted = (*weighted).clone().with_intra_weights(weights.to_vec()).unwrap();
    let predicted = EncoderConfig { transform: Some(Arc::new(weighted)), ..klt.clone() };
    let sliced = EncoderConfig { slice_size: 60, ..config(14, StatisticsMode::ZScore, packetized) };
    vec![
        stream("dct z-score", config(24, StatisticsMode::ZScore, byte_stream), maps(), 6),
        stream("klt z-score", klt, maps(), 6),
        stream("padded ecs", config(20, StatisticsMode::Ecs, packetized), padded(), 6),
        stream("vectors simplified", config(12, StatisticsMode::Simplified, byte_stream), vectors(), 6),
        stream("maps and a vector, none", config(28, StatisticsMode::None, packetized), mixed(), 6),
        stream("lossless", lossless, maps(), 6),
        stream("chained", chained, maps(), 6),
        stream("sliced", sliced.clone(), rich(), 6),
        moving("moving", sliced, rich(), 6),
        stream("partly restored", partial, maps(), 6),
        stream("predicted within frames", predicted, maps(), 6),
    ]
}

/// Writes every layer of `frame` and returns the values as binary32.
pub fn write_all(frame: &mut DecodedFrame<'_>) -> Vec<Vec<f32>> {
    let layers = frame.layout().layers().to_vec();
    layers::write_all(&layers, |n, out| frame.write(n, out)).unwrap()
}

/// Decodes `unit` and requires the undamaged result.
pub fn expect_exact(decoder: &mut Decoder, unit: &[u8], expected: &[i32], what: &dyn Fn() -> String) {
    match decoder.decode(unit) {
        Ok(Decoded::Frame(mut frame)) => {
            write_all(&mut frame);
        }
        Ok(Decoded::AwaitingRandomAccess { missing }) => panic!("{}: awaiting random access, {missing:?}", what()),
        Err(e) => panic!("{}: {e}", what()),
    }
    assert!(decoder.reconstruction() == expected, "{}: another reconstruction", what());
}
