//! The elements add nothing to the codec and take nothing away: the same units and the same tensors, bit for bit, as
//! the crate `fcm_codec` gives without GStreamer.

mod common;

use anyhow::{Context, Result, ensure};
use common::*;
use fcm_codec::{ChannelOrder, Decoded, Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, FrameRequest};
use fcm_codec::{RateControl, Shape, StatisticsMode, TensorMut};
use half::f16;

/// Values of one frame, one vector a layer.
type Frame = Vec<Vec<f32>>;

/// Units and decoded values of `frames` frames from the codec alone.
fn with_codec_alone(features: &Features, frames: usize, config: EncoderConfig) -> Result<(Vec<Vec<u8>>, Vec<Frame>)> {
    let config = EncoderConfig { framerate: (25, 1), ..config };
    let mut encoder = Encoder::new(config, features.layout())?;
    let mut decoder = Decoder::new(DecoderConfig::default())?;
    let (mut units, mut decoded) = (Vec::new(), Vec::new());
    for t in 0..frames {
        let mut unit = Vec::new();
        with_refs(features, &features.values(t), |refs| encoder.encode(refs, FrameRequest::default(), &mut unit))?;
        let Decoded::Frame(mut frame) = decoder.decode(&unit)? else { anyhow::bail!("frame {t} awaits") };
        let mut layers = Vec::new();
        for (n, &(shape, dtype)) in features.layers.iter().enumerate() {
            let count = shape.elements() as usize;
            layers.push(match dtype {
                Dtype::F16 => {
                    let mut values = vec![f16::ZERO; count];
                    frame.write(n, TensorMut::F16(&mut values))?;
                    values.into_iter().map(f16::to_f32).collect()
                }
                Dtype::F32 => {
                    let mut values = vec![0.0; count];
                    frame.write(n, TensorMut::F32(&mut values))?;
                    values
                }
            });
        }
        decoded.push(layers);
        units.push(unit);
    }
    Ok((units, decoded))
}

fn same_as_codec(features: &Features, properties: &[(&str, &str)], config: EncoderConfig) -> Result<()> {
    let frames = 5;
    let (units, decoded) = with_codec_alone(features, frames, config)?;
    let (caps, coded) = encode(features, frames, properties);
    let mut bench = decoder(&caps, &[]);
    for (t, unit) in coded.into_iter().enumerate() {
        assert_eq!(unit.map_readable()?.as_slice(), units[t], "unit {t}");
        bench.harness.push(unit)?;
        let raw = bench.harness.pull()?;
        for (n, (wanted, got)) in decoded[t].iter().zip(features.read(&raw)).enumerate() {
            let differs = wanted.iter().zip(&got).position(|(a, b)| a.to_bits() != b.to_bits());
            assert_eq!(differs, None, "frame {t} layer {n}");
        }
    }
    Ok(())
}

#[test]
fn maps_of_both_types_and_a_vector() -> Result<()> {
    same_as_codec(&Features::small(), &[], EncoderConfig::default())
}

#[test]
fn sizes_that_are_no_multiples_of_each_other() -> Result<()> {
    let features = Features::new(vec![
        (Shape::chw(5, 13, 17), Dtype::F32),
        (Shape::chw(3, 7, 5), Dtype::F16),
        (Shape::chw(2, 4, 4), Dtype::F32),
    ]);
    same_as_codec(&features, &[], EncoderConfig::default())
}

#[test]
fn a_lone_embedding() -> Result<()> {
    same_as_codec(&Features::one(Shape::vector(512)), &[], EncoderConfig::default())
}

#[test]
fn a_single_value() -> Result<()> {
    same_as_codec(&Features::one(Shape::vector(1)), &[], EncoderConfig::default())
}

#[test]
fn more_layers_than_a_buffer_has_memories() -> Result<()> {
    for layers in [16, 17, 40, 256] {
        let set = (0..layers).map(|n| (Shape::chw(1 + n % 3, 4, 4), if n % 2 == 0 { Dtype::F16 } else { Dtype::F32 }));
        let features = Features::new(set.collect());
        same_as_codec(&features, &[], EncoderConfig::default()).with_context(|| format!("{layers} layers"))?;
    }
    Ok(())
}

#[test]
fn channel_last_tensors() -> Result<()> {
    let features = Features {
        order: ChannelOrder::Hwc,
        ..Features::new(vec![(Shape::chw(6, 8, 10), Dtype::F32), (Shape::chw(12, 4, 5), Dtype::F16)])
    };
    same_as_codec(&features, &[("layout", "nhwc")], EncoderConfig::default())
}

#[test]
fn every_setting_reaches_the_codec() -> Result<()> {
    let features = Features { names: vec!["a".into(), "b".into(), "c".into()], ..Features::small() };
    for (mode, name) in StatisticsMode::ALL.map(|mode| (mode, mode.name())) {
        let properties = [
            ("qp", "21"),
            ("key-int-max", "3"),
            ("stats-period", "2"),
            ("stats-threshold", "0.01"),
            ("statistics", name),
            ("components", "11"),
            ("threads", "2"),
            ("tensor-names", "a,b,c"),
        ];
        let config = EncoderConfig {
            rate_control: RateControl::ConstantQp(21),
            key_int_max: 3,
            stats_period: 2,
            stats_threshold: 0.01,
            statistics: mode,
            components: Some(11),
            threads: 2,
            ..EncoderConfig::default()
        };
        same_as_codec(&features, &properties, config).with_context(|| format!("statistics={name}"))?;
    }
    let rate_control = RateControl::Bitrate { kbit_per_second: 60, frames_per_second: (25, 1) };
    same_as_codec(
        &features,
        &[("bitrate", "60"), ("tensor-names", "a,b,c")],
        EncoderConfig { rate_control, ..Default::default() },
    )
}

#[test]
fn constant_tensors_come_back_constant() -> Result<()> {
    let features = Features::one(Shape::chw(2, 4, 4));
    let mut enc = encoder(&features, &[]);
    enc.harness.push(stamped(vec![to_bytes(&[1.5; 32], Dtype::F32)], 0))?;
    let mut dec = decoder(&enc.src_caps().context("caps")?, &[]);
    dec.harness.push(enc.harness.pull()?)?;
    let raw = dec.harness.pull()?;
    let values = features.read(&raw);
    ensure!(values[0].iter().all(|v| (v - 1.5).abs() < 1e-5), "{values:?}");
    Ok(())
}

#[test]
fn lower_qp_comes_closer() -> Result<()> {
    let features = Features::small();
    let mut before = f64::INFINITY;
    for qp in ["48", "36", "24", "12", "0"] {
        let (caps, units) = encode(&features, 1, &[("qp", qp)]);
        let mut bench = decoder(&caps, &[]);
        bench.harness.push(units[0].clone())?;
        let raw = bench.harness.pull()?;
        let got = features.read(&raw);
        let error: f64 = features.values(0).iter().zip(&got).map(|(a, b)| nmse(a, b)).sum();
        ensure!(error < before, "qp {qp}: {error}, before {before}");
        before = error;
    }
    ensure!(before < 0.01, "nmse {before} at qp 0");
    Ok(())
}
