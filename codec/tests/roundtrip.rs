//! What is encoded is decoded: reconstruction bit for bit, statistics as signalled, shapes of every kind.

mod common;
#[path = "common/streams.rs"]
mod streams;

use common::{Features, frame, layout, mean_std, pyramid};
use fcm_codec::{
    ChannelOrder, Decoded, Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, FrameKind, FrameRequest, Layer,
    Layout, Limits, RateControl, Restoration, RestorationGain, RestorationStrength, Result, Shape, StatisticsMode,
    StreamFormat, TensorMut, Transform,
};
use half::f16;
use std::sync::Arc;
use streams::Basis;

/// Decoded layers of one frame as binary32.
fn decoded_layers(decoder: &mut Decoder, unit: &[u8]) -> Result<Vec<Vec<f32>>> {
    Ok(decoded(decoder, unit)?.1)
}

/// The deviation of the fused tensor as it was signalled, and the layers.
fn decoded(decoder: &mut Decoder, unit: &[u8]) -> Result<(f64, Vec<Vec<f32>>)> {
    let Decoded::Frame(mut frame) = decoder.decode(unit)? else { panic!("awaiting a random access point") };
    let layers = frame.layout().layers().to_vec();
    let mut out = Vec::new();
    for (n, layer) in layers.iter().enumerate() {
        let len = layer.shape.elements() as usize;
        out.push(match layer.dtype {
            Dtype::F32 => {
                let mut values = vec![f32::NAN; len];
                frame.write(n, TensorMut::F32(&mut values))?;
                values
            }
            Dtype::F16 => {
                let mut values = vec![f16::NAN; len];
                frame.write(n, TensorMut::F16(&mut values))?;
                values.iter().map(|v| v.to_f32()).collect()
            }
        });
    }
    Ok((frame.statistics().fused.std_dev, out))
}

fn nmse(a: &[f32], b: &[f32]) -> f64 {
    let (_, std_dev) = mean_std(a);
    let error: f64 = a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum();
    error / (a.len() as f64 * (std_dev * std_dev).max(1e-30))
}

/// Encodes and decodes `frames` and checks the reconstructions; returns the sum of bytes and the layers of every frame.
fn round_trip(config: EncoderConfig, layout: &Layout, frames: &[Features]) -> Result<(usize, Vec<Vec<Vec<f32>>>)> {
    let transforms = config.transform.iter().cloned().collect();
    let mut encoder = Encoder::new(config, layout.clone())?;
    let mut decoder = Decoder::new(DecoderConfig { transforms, ..DecoderConfig::default() })?;
    let (mut bytes, mut decoded) = (0, Vec::new());
    for (t, features) in frames.iter().enumerate() {
        let mut unit = Vec::new();
        let encoded = encoder.encode(&features.tensors(), FrameRequest::default(), &mut unit)?;
        assert_eq!(encoded.bytes, unit.len());
        bytes += unit.len();
        decoded.push(decoded_layers(&mut decoder, &unit)?);
        assert_eq!(encoder.reconstruction(), decoder.reconstruction(), "frame {t}");
    }
    Ok((bytes, decoded))
}

fn qp(qp: u8) -> EncoderConfig {
    EncoderConfig { rate_control: RateControl::ConstantQp(qp), ..EncoderConfig::default() }
}

#[test]
fn reconstruction_is_bit_exact_on_every_frame_in_every_mode() -> Result<()> {
    let layout = pyramid();
    let frames: Vec<_> = (0..20).map(|t| frame(&layout, 1, t)).collect();
    for statistics in StatisticsMode::ALL {
        for q in [0, 20, 34, 50, 63] {
            for format in [StreamFormat::ByteStream, StreamFormat::Packetized] {
                let config = EncoderConfig { statistics, format, key_int_max: 8, stats_period: 3, ..qp(q) };
                round_trip(config, &layout, &frames)?;
            }
        }
    }
    Ok(())
}

#[test]
fn error_falls_with_qp_and_qp_0_is_near_lossless() -> Result<()> {
    let layout = pyramid();
    let frames: Vec<_> = (0..6).map(|t| frame(&layout, 2, t)).collect();
    let mut before = (usize::MAX, 0.0);
    for q in [0, 12, 24, 36] {
        let (bytes, decoded) = round_trip(qp(q), &layout, &frames)?;
        let error = frames[5].wide.iter().zip(&decoded[5]).map(|(a, b)| nmse(a, b)).fold(0.0, f64::max);
        assert!(bytes < before.0 && error > before.1, "qp {q}: {bytes} bytes, nmse {error}, before {before:?}");
        before = (bytes, error);
        if q == 0 {
            assert!(error < 5e-3, "{error}");
        }
    }
    Ok(())
}

#[test]
fn a_quantiser_that_nobody_chose_suits_the_transform() -> Result<()> {
    let layout = pyramid();
    let features = frame(&layout, 1, 0);
    let basis = streams::transform(&[(8, 4, 4, false), (16, 2, 2, false), (24, 1, 1, false)], 8, 3);
    for (transform, qp) in [(None, 20), (Some(basis), 32)] {
        let mut encoder = Encoder::new(EncoderConfig { transform, ..EncoderConfig::default() }, layout.clone())?;
        let encoded = |encoder: &mut Encoder| {
            encoder.encode(&features.tensors(), FrameRequest::default(), &mut Vec::new()).map(|frame| frame.qp)
        };
        assert_eq!(encoded(&mut encoder)?, qp);
        encoder.set_rate_control(RateControl::ConstantQp(7))?;
        assert_eq!(encoded(&mut encoder)?, 7);
        encoder.set_rate_control(RateControl::DefaultQp)?;
        assert_eq!(encoded(&mut encoder)?, qp);
        assert_eq!(encoder.config().advice(), None);
    }
    Ok(())
}

#[test]
fn lossless_mode_gives_the_fixed_point_tensor_back() -> Result<()> {
    let layout = pyramid();
    let frames: Vec<_> = (0..5).map(|t| frame(&layout, 3, t)).collect();
    let config = EncoderConfig { lossless: true, statistics: StatisticsMode::None, ..EncoderConfig::default() };
    let (_, decoded) = round_trip(config, &layout, &frames)?;
    for (features, layers) in frames.iter().zip(&decoded) {
        for (a, b) in features.wide.iter().zip(layers) {
            assert!(nmse(a, b) < 2e-6, "{}", nmse(a, b));
        }
    }
    Ok(())
}

#[test]
fn the_price_of_bits_changes_lossy_streams_and_no_lossless_one() -> Result<()> {
    let layout = pyramid();
    let unit = |lossless, rd_strength| -> Result<Vec<u8>> {
        let mut unit = Vec::new();
        let mut encoder = Encoder::new(EncoderConfig { lossless, rd_strength, ..qp(20) }, layout.clone())?;
        encoder.encode(&frame(&layout, 5, 0).tensors(), FrameRequest::default(), &mut unit)?;
        Ok(unit)
    };
    assert_eq!(unit(true, 0.0)?, unit(true, 0.3)?);
    let (rounded, chosen) = (unit(false, 0.0)?.len(), unit(false, 0.3)?.len());
    assert!(chosen < rounded, "{chosen} bytes, {rounded} rounded");
    Ok(())
}

#[test]
fn on_refresh_frames_the_decoded_statistics_are_those_of_the_original() -> Result<()> {
    let layout = pyramid();
    for q in [18, 24, 30] {
        let mut encoder = Encoder::new(EncoderConfig { key_int_max: 6, stats_period: 3, ..qp(q) }, layout.clone())?;
        let mut decoder = Decoder::new(DecoderConfig::default())?;
        let mut refreshes = 0;
        for t in 0..12 {
            let features = frame(&layout, 4, t);
            let mut unit = Vec::new();
            let encoded = encoder.encode(&features.tensors(), FrameRequest::default(), &mut unit)?;
            assert_eq!(encoded.refreshed, encoded.statistics_bytes > 0);
            let layers = decoded_layers(&mut decoder, &unit)?;
            if !encoded.refreshed {
                continue;
            }
            refreshes += 1;
            assert_eq!(encoded.statistics_bytes * 8, 64 * 4);
            for (n, (a, b)) in features.wide.iter().zip(&layers).enumerate() {
                let ((am, asd), (bm, bsd)) = (mean_std(a), mean_std(b));
                assert!((bsd / asd - 1.0).abs() < 1e-3, "qp {q} frame {t} layer {n}: deviation {bsd}, was {asd}");
                assert!((bm - am).abs() < 1e-3 * am.abs().max(asd), "qp {q} frame {t} layer {n}: mean {bm}, was {am}");
            }
        }
        assert!(refreshes >= 4, "{refreshes}");
    }
    Ok(())
}

#[test]
fn layers_are_restored_as_far_as_the_stream_says() -> Result<()> {
    let layout = pyramid();
    let features = frame(&layout, 4, 0);
    // By strength: the deviations of the layers.
    let deviations = |statistics, share: Option<f32>| -> Result<(u8, Vec<f64>)> {
        let config = EncoderConfig { statistics, restoration_strength: share, intra_prediction: false, ..qp(34) };
        let (mut encoder, mut unit) = (Encoder::new(config, layout.clone())?, Vec::new());
        encoder.encode(&features.tensors(), FrameRequest::default(), &mut unit)?;
        let layers = decoded_layers(&mut Decoder::new(DecoderConfig::default())?, &unit)?;
        Ok((encoder.sequence().version, layers.iter().map(|l| mean_std(l).1).collect()))
    };
    for statistics in [StatisticsMode::ZScore, StatisticsMode::Simplified] {
        let (version, full) = deviations(statistics, None)?;
        assert_eq!(deviations(statistics, Some(1.0))?, (version, full.clone()));
        assert_eq!(version, 4, "nothing new is in it");
        let (version, half) = deviations(statistics, Some(0.5))?;
        assert_eq!(version, 5);
        let (_, none) = deviations(statistics, Some(0.0))?;
        for n in 0..layout.layers().len() {
            let middle = (full[n] + none[n]) / 2.0;
            assert!((full[n] / none[n] - 1.0).abs() > 0.01, "{statistics:?} layer {n}: nothing was to be restored");
            assert!((half[n] / middle - 1.0).abs() < 1e-3, "{statistics:?} layer {n}: {} of {middle}", half[n]);
        }
    }
    for statistics in [StatisticsMode::Ecs, StatisticsMode::None] {
        assert_eq!(deviations(statistics, Some(0.5))?, deviations(statistics, None)?, "{statistics:?} has no strength");
    }
    let error = deviations(StatisticsMode::ZScore, Some(1.5)).unwrap_err().to_string();
    assert_eq!(error, "a restoration strength of 1.5, legal are 0 to 1");
    Ok(())
}

#[test]
fn a_gain_enlarges_what_is_decoded_and_leaves_rate_and_layer_statistics_alone() -> Result<()> {
    let layout = pyramid();
    let features = frame(&layout, 4, 0);
    let coded = |number, gain: Option<f32>, strength, statistics| -> Result<(usize, f64, Vec<f64>)> {
        let config =
            EncoderConfig { statistics, restoration_gain: gain, restoration_strength: Some(strength), ..qp(number) };
        let (mut encoder, mut unit) = (Encoder::new(config, layout.clone())?, Vec::new());
        encoder.encode(&features.tensors(), FrameRequest::default(), &mut unit)?;
        let (fused, layers) = decoded(&mut Decoder::new(DecoderConfig::default())?, &unit)?;
        Ok((unit.len(), fused, layers.iter().map(|l| mean_std(l).1).collect()))
    };
    for statistics in [StatisticsMode::ZScore, StatisticsMode::Simplified] {
        let (bytes, fused, layers) = coded(34, None, 1.0, statistics)?;
        assert_eq!(coded(34, Some(1.0), 1.0, statistics)?, (bytes, fused, layers.clone()));
        for (qp, factor) in [(32, 1.5), (24, 1.5), (34, 1.25), (12, 1.25), (0, 1.0), (36, 1.0)] {
            let (plain, fused, layers) = coded(qp, None, 1.0, statistics)?;
            let (raised, larger, restored) = coded(qp, Some(1.5), 1.0, statistics)?;
            assert_eq!(raised, plain, "qp {qp}");
            assert!((larger / (factor * fused) - 1.0).abs() < 1e-2, "qp {qp}: {fused} to {larger}");
            let close = restored.iter().zip(&layers).all(|(a, b)| (a - b).abs() <= 1e-2 * b);
            assert!(close, "qp {qp}: {layers:?} to {restored:?}");
        }
        let (_, _, decoded) = coded(32, None, 0.0, statistics)?;
        let (_, _, enlarged) = coded(32, Some(1.5), 0.0, statistics)?;
        assert!(enlarged.iter().zip(&decoded).all(|(a, b)| a > b), "{decoded:?} to {enlarged:?}");
    }
    for statistics in [StatisticsMode::Ecs, StatisticsMode::None] {
        let (plain, raised) = (coded(30, None, 1.0, statistics)?, coded(30, Some(2.0), 1.0, statistics)?);
        assert_eq!(plain, raised, "{statistics:?} has no gain");
    }
    let error = coded(34, Some(0.5), 1.0, StatisticsMode::ZScore).unwrap_err().to_string();
    assert_eq!(error, "a restoration gain of 0.5, legal are 1 to 4");
    Ok(())
}

#[test]
fn encoders_follow_the_restoration_that_the_transform_says_unless_asked_otherwise() -> Result<()> {
    let layout = pyramid();
    let plain = Basis::new(&[(8, 4, 4, false), (16, 2, 2, false), (24, 1, 1, false)], 8, 3).transform();
    let (strength, gain) = (RestorationStrength::new(8).unwrap(), RestorationGain::new(24).unwrap());
    let restoration = Restoration { strength, gain };
    let fitted = plain.clone().with_restoration(restoration);
    let signalled = |transform: &Transform, gain, lossless| -> Result<(f64, Vec<Vec<f32>>)> {
        let transform = Some(Arc::new(transform.clone()));
        let config = EncoderConfig { transform: transform.clone(), restoration_gain: gain, lossless, ..qp(30) };
        let (mut encoder, mut unit) = (Encoder::new(config, layout.clone())?, Vec::new());
        encoder.encode(&frame(&layout, 9, 0).tensors(), FrameRequest::default(), &mut unit)?;
        let transforms = transform.into_iter().collect();
        decoded(&mut Decoder::new(DecoderConfig { transforms, ..DecoderConfig::default() })?, &unit)
    };
    let (one, values) = signalled(&plain, None, false)?;
    let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-4;
    assert!(near(signalled(&fitted, None, false)?.0, 1.5 * one));
    assert!(near(signalled(&fitted, Some(1.0), false)?.0, one));
    assert!(near(signalled(&fitted, Some(2.0), true)?.0, one), "nothing is missing in a lossless stream");
    let (two, enlarged) = signalled(&plain, Some(2.0), false)?;
    assert!(near(two, 2.0 * one));
    for (a, b) in enlarged.iter().zip(&values) {
        let ((mean, std_dev), (as_mean, as_std_dev)) = (mean_std(a), mean_std(b));
        assert!((mean - as_mean).abs() < 1e-2 * as_std_dev && (std_dev / as_std_dev - 1.0).abs() < 1e-2);
        assert!(nmse(b, a) > 1e-3, "components are larger against the means of the transform");
    }
    Ok(())
}

#[test]
fn shapes_of_every_kind_go_through() -> Result<()> {
    let cases: Vec<Vec<(Shape, Dtype)>> = vec![
        vec![(Shape::vector(512), Dtype::F32)],
        vec![(Shape::vector(1), Dtype::F16)],
        vec![(Shape::chw(1, 1, 1), Dtype::F32)],
        vec![(Shape::chw(3, 7, 5), Dtype::F16), (Shape::chw(2, 3, 4), Dtype::F32)],
        vec![(Shape::chw(2, 33, 1), Dtype::F32), (Shape::chw(2, 1, 40), Dtype::F32)],
        vec![(Shape::chw(4, 12, 16), Dtype::F32), (Shape::vector(100), Dtype::F16), (Shape::vector(192), Dtype::F32)],
        vec![(Shape::chw(2, 65, 100), Dtype::F32), (Shape::chw(2, 4, 6), Dtype::F16)],
        (0..256).map(|n| (Shape::chw(1 + n % 3, 2, 2), if n % 2 == 0 { Dtype::F16 } else { Dtype::F32 })).collect(),
    ];
    for shapes in &cases {
        let layout = layout(shapes);
        let frames: Vec<_> = (0..3).map(|t| frame(&layout, 5, t)).collect();
        let (_, decoded) = round_trip(qp(12), &layout, &frames)?;
        let scale = frames[2].wide.iter().map(|l| mean_std(l).1.powi(2)).sum::<f64>() / shapes.len() as f64;
        for (n, (a, b)) in frames[2].wide.iter().zip(&decoded[2]).enumerate() {
            // A layer of one value has no deviation; its value is its mean, which is restored.
            let error = a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>() / a.len() as f64;
            assert!(error <= 0.15 * scale + 1e-6, "{} layers, layer {n}: {error} of {scale}", shapes.len());
        }
    }
    Ok(())
}

#[test]
fn vectors_that_weigh_components_change_their_error_and_not_what_comes_back() -> Result<()> {
    let layout = layout(&[(Shape::chw(2, 4, 6), Dtype::F32), (Shape::chw(3, 2, 3), Dtype::F32)]);
    let features: Vec<Features> = (0..3).map(|t| frame(&layout, 5, t)).collect();
    let basis = Basis::new(&[(2, 2, 2, false), (3, 1, 1, false)], 11, 3);
    // Every vector taken twice as long, or four times, on the way in, and so much shorter on the way out.
    let weighted = |weight: f32| {
        let times = |w: f32| basis.vectors.iter().flatten().map(|v| w * v).collect::<Vec<f32>>();
        let (cells, mean) = (basis.cells.clone(), basis.mean.clone());
        Transform::biorthogonal(cells, mean, times(weight), times(1.0 / weight), basis.variances(), 100.0, 1000)
    };
    let error = |weight: f32| -> Result<f64> {
        let config = EncoderConfig {
            transform: Some(Arc::new(weighted(weight)?)),
            statistics: StatisticsMode::None,
            rd_strength: 0.0,
            ..qp(10)
        };
        let (_, decoded) = round_trip(config, &layout, &features)?;
        Ok(decoded.iter().zip(&features).map(|(d, f)| nmse(&f.wide[0], &d[0])).sum::<f64>() / 3.0)
    };
    let (once, four_times) = (error(1.0)?, error(4.0)?);
    // The step is the same for all components, so the error of the layers falls with the square of the weight.
    assert!(once < 0.2 && four_times < 0.15 * once, "{once} {four_times}");
    Ok(())
}

#[test]
fn channels_last_gives_the_same_stream_as_channels_first() -> Result<()> {
    let (c, h, w) = (5usize, 6usize, 8usize);
    let make = |order| {
        Layout::new(vec![Layer { order, ..Layer::new("x", Shape::chw(5, 6, 8), Dtype::F32) }], &Limits::default())
    };
    let (first, last) = (make(ChannelOrder::Chw)?, make(ChannelOrder::Hwc)?);
    let a = frame(&first, 6, 0);
    let mut swapped = vec![0.0; c * h * w];
    for (i, v) in a.wide[0].iter().enumerate() {
        let (ch, at) = (i / (h * w), i % (h * w));
        swapped[at * c + ch] = *v;
    }
    let b = Features::new(&last, vec![swapped.clone()]);
    let (bytes_a, _) = round_trip(qp(10), &first, &[a])?;
    let (bytes_b, decoded) = round_trip(qp(10), &last, &[b])?;
    assert_eq!(bytes_a, bytes_b);
    assert!(nmse(&swapped, &decoded[0][0]) < 0.05);
    Ok(())
}

#[test]
fn a_constant_tensor_comes_back_as_its_value() -> Result<()> {
    let layout = layout(&[(Shape::chw(4, 6, 6), Dtype::F32), (Shape::chw(4, 3, 3), Dtype::F32)]);
    let features = Features::new(&layout, vec![vec![2.5; 144], vec![-1.25; 36]]);
    let (_, decoded) = round_trip(qp(34), &layout, &[features])?;
    assert!(decoded[0][0].iter().all(|&v| v == 2.5));
    assert!(decoded[0][1].iter().all(|&v| v == -1.25));
    let zero = Features::new(&layout, vec![vec![0.0; 144], vec![0.0; 36]]);
    let (_, decoded) = round_trip(qp(34), &layout, &[zero])?;
    assert!(decoded[0].iter().flatten().all(|&v| v == 0.0));
    Ok(())
}

#[test]
fn any_number_of_threads_writes_the_same_stream() -> Result<()> {
    let layout = pyramid();
    let mut streams = Vec::new();
    for threads in [1, 2, 3] {
        let mut encoder = Encoder::new(EncoderConfig { threads, ..qp(30) }, layout.clone())?;
        let mut stream = Vec::new();
        for t in 0..10 {
            encoder.encode(&frame(&layout, 7, t).tensors(), FrameRequest::default(), &mut stream)?;
        }
        streams.push(stream);
    }
    assert!(streams[0] == streams[1] && streams[1] == streams[2]);
    Ok(())
}

#[test]
fn a_repeated_vector_costs_little_more_than_its_header() -> Result<()> {
    let layout = layout(&[(Shape::vector(512), Dtype::F32)]);
    let mut encoder = Encoder::new(qp(24), layout.clone())?;
    let features = frame(&layout, 8, 0);
    let mut sizes = Vec::new();
    for _ in 0..20 {
        let mut unit = Vec::new();
        sizes.push(encoder.encode(&features.tensors(), FrameRequest::default(), &mut unit)?.bytes);
    }
    assert!(sizes[1..].iter().all(|&s| s <= 16), "{sizes:?}");
    Ok(())
}

#[test]
fn headers_of_a_predicted_frame_take_at_most_8_bytes() -> Result<()> {
    let layout = pyramid();
    let mut encoder = Encoder::new(qp(28), layout.clone())?;
    for t in 0..40 {
        let mut unit = Vec::new();
        let encoded = encoder.encode(&frame(&layout, 9, t).tensors(), FrameRequest::default(), &mut unit)?;
        let units = 1 + usize::from(encoded.refreshed);
        if encoded.kind == FrameKind::Predicted {
            assert!(encoded.header_bytes <= 3 + 5 * units, "frame {t}: {}", encoded.header_bytes);
        }
    }
    Ok(())
}
