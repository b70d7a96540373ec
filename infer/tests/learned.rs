//! Learned transforms in ONNX Runtime: a pair that computes a basis codes as that basis does; what does not fit is refused and named.

mod common;

use common::{F32, LinearPair, model, node, value};
use fcm_codec::reduction::calibrate::PairCalibrator;
use fcm_codec::reduction::learned::PairShapes;
use fcm_codec::reduction::{CellShape, NetworkPair};
use fcm_codec::{
    Decoded, Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, ErrorKind, FrameRequest, Layer, Layout, Limits,
    RateControl, Result, Shape, StatisticsMode, TensorMut, TensorRef, Transform,
};
use fcm_infer::OnnxRuntime;
use prost::Message;
use std::sync::Arc;

/// Three scales of a pyramid whose smallest map has `h` rows and `w` columns.
fn layout(h: u32, w: u32) -> Layout {
    let layer = |name: &str, c, side| Layer::new(name, Shape::chw(c, h * side, w * side), Dtype::F32);
    Layout::new(vec![layer("p3", 4, 4), layer("p4", 6, 2), layer("p5", 8, 1)], &Limits::default()).unwrap()
}

fn linear() -> LinearPair {
    LinearPair::new(&[(4, 4), (6, 2), (8, 1)], 24)
}

fn networks(pair: &LinearPair) -> NetworkPair {
    NetworkPair { reduction: pair.reduction().encode_to_vec(), restoration: pair.restoration().encode_to_vec() }
}

fn klt(pair: &LinearPair) -> Result<Transform> {
    let cells = CellShape::of_layout(&layout(6, 8), &Limits::default())?;
    Transform::new(cells, pair.mean.clone(), pair.vectors.concat(), vec![1.0; 24], 100.0, 1000)
}

fn learned(networks: NetworkPair) -> Result<Transform> {
    let cells = CellShape::of_layout(&layout(6, 8), &Limits::default())?;
    Transform::learned(cells, networks, vec![1.0; 24], 24.0, 1000)
}

/// Waves that drift.
fn features(layout: &Layout, t: usize) -> Vec<Vec<f32>> {
    let wave =
        |n: usize, i: usize| ((i as f32 * 0.11 + t as f32 * 0.3).sin() + (i as f32 * 0.013).cos()) * (n + 1) as f32;
    let layers = layout.layers().iter().enumerate();
    layers.map(|(n, l)| (0..l.shape.elements() as usize).map(|i| wave(n, i)).collect()).collect()
}

fn tensors(layers: &[Vec<f32>]) -> Vec<TensorRef<'_>> {
    layers.iter().map(|l| TensorRef::F32(l)).collect()
}

/// Integers of a frame, and its layers.
type Frame = (Vec<i32>, Vec<Vec<f32>>);

/// Five frames; the decoder's integers are the encoder's.
fn coded(transform: Transform, config: EncoderConfig, layout: &Layout) -> Result<Vec<Frame>> {
    let (transform, runtime) = (Arc::new(transform), Some(Arc::new(OnnxRuntime::default()) as Arc<_>));
    let transforms = vec![transform.clone()];
    let config = EncoderConfig { transform: Some(transform), runtime: runtime.clone(), skip_threshold: 0.0, ..config };
    let mut decoder = Decoder::new(DecoderConfig { transforms, runtime, ..DecoderConfig::default() })?;
    let mut encoder = Encoder::new(config, layout.clone())?;
    let mut out = Vec::new();
    for t in 0..5 {
        let (features, mut unit) = (features(layout, t), Vec::new());
        encoder.encode(&tensors(&features), FrameRequest::default(), &mut unit)?;
        let Decoded::Frame(mut frame) = decoder.decode(&unit)? else { panic!("a frame was expected") };
        let mut layers: Vec<Vec<f32>> = features.iter().map(|l| vec![0.0; l.len()]).collect();
        for (n, layer) in layers.iter_mut().enumerate() {
            frame.write(n, TensorMut::F32(layer))?;
        }
        assert_eq!(decoder.reconstruction(), encoder.reconstruction(), "frame {t}");
        out.push((encoder.reconstruction().to_vec(), layers));
    }
    Ok(out)
}

#[test]
fn a_pair_that_computes_a_basis_codes_as_that_basis() -> Result<()> {
    let pair = linear();
    let base =
        || EncoderConfig { rate_control: RateControl::ConstantQp(10), key_int_max: 3, ..EncoderConfig::default() };
    let cases = [
        ("z-score", base()),
        ("simplified, two threads", EncoderConfig { statistics: StatisticsMode::Simplified, threads: 2, ..base() }),
        ("none", EncoderConfig { statistics: StatisticsMode::None, ..base() }),
        ("lossless", EncoderConfig { lossless: true, ..base() }),
        ("5 components", EncoderConfig { components: Some(5), ..base() }),
    ];
    for (what, config) in cases {
        for size in [(6, 8), (3, 5)] {
            let layout = layout(size.0, size.1);
            let by_basis = coded(klt(&pair)?, config.clone(), &layout)?;
            let by_pair = coded(learned(networks(&pair))?, config.clone(), &layout)?;
            for (t, ((a, a_layers), (b, b_layers))) in by_basis.iter().zip(&by_pair).enumerate() {
                // Sums in another order round differently: now and then a value falls on the other side of a threshold.
                let different = a.iter().zip(b).filter(|(a, b)| (*a - *b).abs() > 2).count();
                assert!(different * 100 <= a.len(), "{what}, {size:?}, frame {t}: {different} of {} integers", a.len());
                let pairs = || a_layers.iter().flatten().zip(b_layers.iter().flatten());
                let error: f32 = pairs().map(|(a, b)| (a - b).powi(2)).sum();
                let energy: f32 = pairs().map(|(a, _)| a.powi(2)).sum();
                assert!(error < 1e-4 * energy, "{what}, {size:?}, frame {t}: {error} of {energy}");
            }
        }
    }
    Ok(())
}

#[test]
fn calibration_measures_variances_and_what_the_pair_loses() -> Result<()> {
    let pair = linear();
    let runtime = OnnxRuntime::default();
    let layers = PairShapes::new(&layout(6, 8), 1, &Limits::default())?.layers;
    assert_eq!(runtime.components(&networks(&pair).reduction, &layers).unwrap(), 24);
    let mut calibrator =
        PairCalibrator::new(layout(6, 8), networks(&pair), 24, Arc::new(runtime), 1, &Limits::default())?;
    // One frame in the span of the first two vectors: what comes back is what went in.
    let layout = layout(6, 8);
    let (first, second) = (|p: usize| 3.0 * (p as f32 - 23.5), |p: usize| if p.is_multiple_of(2) { 5.0 } else { -5.0 });
    let mut features: Vec<Vec<f32>> = layout.layers().iter().map(|l| vec![0.0; l.shape.elements() as usize]).collect();
    let mut offset = 0;
    for (n, &(channels, side)) in pair.layers.iter().enumerate() {
        for p in 0..48 {
            for d in 0..channels * side * side {
                let (c, i, j) = (d / (side * side), d / side % side, d % side);
                let (y, x) = (p / 8 * side + i, p % 8 * side + j);
                let v = |k: usize| pair.vectors[k][offset + d];
                features[n][(c * 6 * side + y) * 8 * side + x] =
                    pair.mean[offset + d] + first(p) * v(0) + second(p) * v(1);
            }
        }
        offset += channels * side * side;
    }
    calibrator.add(&tensors(&features))?;
    assert!(calibrator.errors().iter().all(|&e| e < 1e-8), "{:?}", calibrator.errors());
    let transform = calibrator.finish()?;
    let variance = |f: &dyn Fn(usize) -> f32| (0..48).map(|p| f(p).powi(2)).sum::<f32>() / 48.0;
    let expected = [variance(&first), variance(&second), 0.0];
    for (k, expected) in expected.into_iter().enumerate() {
        let measured = transform.variances()[k];
        assert!((measured - expected).abs() < 1e-3 * expected.max(1.0), "component {k}: {measured}, not {expected}");
    }
    assert_eq!((transform.samples(), transform.components(), transform.dimension()), (48, 24, 96));
    Ok(())
}

/// The error of an encoder (or else a decoder) that has these networks.
fn refused(networks: NetworkPair) -> String {
    let transform = learned(networks).unwrap();
    let error = coded(transform, EncoderConfig::default(), &layout(6, 8)).expect_err("such networks are refused");
    assert_eq!(error.kind(), ErrorKind::Transform, "{error}");
    error.to_string()
}

#[test]
fn networks_that_do_not_fit_the_layers_are_refused_with_both_shapes() {
    let sound = networks(&linear());
    let other = LinearPair::new(&[(4, 4), (6, 2), (8, 1)], 20);
    let fewer = refused(NetworkPair { reduction: other.reduction().encode_to_vec(), ..sound.clone() });
    assert!(fewer.contains("the reduction network gives 1×20×6×8, these layers need 1×24×6×8"), "{fewer}");
    let channels = LinearPair::new(&[(5, 4), (6, 2), (8, 1)], 24);
    let input = refused(NetworkPair { reduction: channels.reduction().encode_to_vec(), ..sound.clone() });
    assert!(input.contains("\"layer0\" has the shape 1×5×rows0×columns0, 1×4×24×32 is to go in"), "{input}");
    let two = LinearPair::new(&[(4, 4), (6, 2)], 24);
    let count = refused(NetworkPair { restoration: two.restoration().encode_to_vec(), ..sound.clone() });
    assert!(count.contains("the restoration network gives 1×4×24×32, 1×6×12×16, these layers need"), "{count}");
    let inputs = refused(NetworkPair { reduction: two.reduction().encode_to_vec(), ..sound.clone() });
    assert!(inputs.contains("it has 2 inputs (layer0, layer1), 3 tensors are to go in"), "{inputs}");
    let text = refused(NetworkPair { reduction: b"no network".to_vec(), ..sound });
    assert!(text.contains("no ONNX file"), "{text}");
}

#[test]
fn components_of_a_network_with_two_outputs_are_refused() {
    let outputs = vec![value("a", F32, &[1, 2, 2, 2]), value("b", F32, &[1, 2, 2, 2])];
    let nodes = vec![node("Relu", &["x"], &["a"], vec![]), node("Neg", &["x"], &["b"], vec![])];
    let two = model(nodes, vec![], vec![value("x", F32, &[1, 2, 2, 2])], outputs).encode_to_vec();
    let error = OnnxRuntime::default().components(&two, &[Shape::chw(2, 2, 2)]).unwrap_err().to_string();
    assert!(error.contains("gives 1×2×2×2, 1×2×2×2, one tensor of 1×K×rows×columns is legal"), "{error}");
}
