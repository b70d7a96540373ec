//! What callers may hand in: bad tensors and settings are named with value and range and leave the encoder usable;
//! statistics are refreshed when they should be; a bit rate is held.

mod common;
#[path = "common/streams.rs"]
mod streams;

use common::{Features, Random, frame, layout, pyramid};
use fcm_codec::{
    Decoder, DecoderConfig, Dtype, EncodedFrame, Encoder, EncoderConfig, ErrorKind, FrameKind, FrameRequest, Layer,
    Layout, Limits, RateControl, Result, Shape, StatisticsMode, TensorMut, TensorRef,
};
use half::f16;
use streams::expect_exact;

fn encode(encoder: &mut Encoder, features: &Features) -> Result<(EncodedFrame, Vec<u8>)> {
    let mut unit = Vec::new();
    encoder.encode(&features.tensors(), FrameRequest::default(), &mut unit).map(|encoded| (encoded, unit))
}

/// Requires this error of `encode`, and that the encoder and its decoder go on as if the frame had not been.
#[track_caller]
fn expect_refusal(
    encoder: &mut Encoder,
    decoder: &mut Decoder,
    tensors: &[TensorRef<'_>],
    message: &str,
    next: &Features,
) {
    let mut out = vec![1, 2, 3];
    let error = encoder.encode(tensors, FrameRequest::default(), &mut out).expect_err(message);
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::InvalidInput, message.to_owned()));
    assert_eq!(out, [1, 2, 3]);
    let (_, unit) = encode(encoder, next).expect("a good frame");
    expect_exact(decoder, &unit, encoder.reconstruction(), &|| format!("after {message:?}"));
}

#[test]
fn nan_and_infinity_are_named_and_the_encoder_goes_on() -> Result<()> {
    let layout = layout(&[(Shape::chw(4, 6, 8), Dtype::F32), (Shape::chw(3, 3, 4), Dtype::F16)]);
    let mut encoder = Encoder::new(EncoderConfig::default(), layout.clone())?;
    let mut decoder = Decoder::new(DecoderConfig::default())?;
    let mut t = 0;
    let (_, unit) = encode(&mut encoder, &frame(&layout, 1, t))?;
    expect_exact(&mut decoder, &unit, encoder.reconstruction(), &|| "first".into());
    for (value, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        for (layer, index) in [(0, 0), (0, 191), (1, 0), (1, 17), (1, 35)] {
            t += 1;
            let mut bad = frame(&layout, 1, t);
            bad.wide[layer][index] = value;
            bad.narrow[layer][index] = f16::from_f32(value);
            let message = format!("layer {layer} (\"layer{layer}\") holds {name} at index {index}");
            expect_refusal(&mut encoder, &mut decoder, &bad.tensors(), &message, &frame(&layout, 1, t));
        }
    }
    Ok(())
}

#[test]
fn tensors_of_another_number_length_or_type_are_named() -> Result<()> {
    let layout = layout(&[(Shape::chw(2, 3, 4), Dtype::F32), (Shape::vector(5), Dtype::F16)]);
    let mut encoder = Encoder::new(EncoderConfig::default(), layout.clone())?;
    let mut decoder = Decoder::new(DecoderConfig::default())?;
    let good = frame(&layout, 1, 0);
    let tensors = good.tensors();
    let (short, long) = (vec![0f32; 23], vec![f16::ZERO; 6]);
    let (wide, narrow) = (vec![0f32; 5], vec![f16::ZERO; 24]);
    let cases: Vec<(Vec<TensorRef<'_>>, &str)> = vec![
        (vec![], "0 tensors, the layout has 2 layers"),
        (tensors[..1].to_vec(), "1 tensors, the layout has 2 layers"),
        ([&tensors[..], &tensors[..1]].concat(), "3 tensors, the layout has 2 layers"),
        (
            vec![TensorRef::F32(&short), tensors[1]],
            "layer 0 (\"layer0\") with 23 values of F32, 24 of F32 (2x3x4) were announced",
        ),
        (
            vec![TensorRef::F16(&narrow), tensors[1]],
            "layer 0 (\"layer0\") with 24 values of F16, 24 of F32 (2x3x4) were announced",
        ),
        (
            vec![tensors[0], TensorRef::F16(&long)],
            "layer 1 (\"layer1\") with 6 values of F16, 5 of F16 (5) were announced",
        ),
        (
            vec![tensors[0], TensorRef::F32(&wide)],
            "layer 1 (\"layer1\") with 5 values of F32, 5 of F16 (5) were announced",
        ),
    ];
    for (tensors, message) in &cases {
        expect_refusal(&mut encoder, &mut decoder, tensors, message, &good);
    }
    Ok(())
}

#[test]
fn output_of_another_layer_length_or_type_is_named() -> Result<()> {
    let layout = layout(&[(Shape::chw(2, 3, 4), Dtype::F32)]);
    let mut encoder = Encoder::new(EncoderConfig::default(), layout.clone())?;
    let (_, unit) = encode(&mut encoder, &frame(&layout, 1, 0))?;
    let mut decoder = Decoder::new(DecoderConfig::default())?;
    let fcm_codec::Decoded::Frame(mut frame) = decoder.decode(&unit)? else { panic!("a frame was expected") };
    let mut check = |n, out: TensorMut<'_>, message: &str| {
        let error = frame.write(n, out).expect_err(message);
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::InvalidInput, message.to_owned()));
    };
    check(1, TensorMut::F32(&mut [0.0; 24]), "layer 1, there are 1");
    check(0, TensorMut::F32(&mut [0.0; 23]), "23 values of F32 to write layer 0 to, it has 24 of F32");
    check(0, TensorMut::F16(&mut [f16::ZERO; 24]), "24 values of F16 to write layer 0 to, it has 24 of F32");
    frame.write(0, TensorMut::F32(&mut [0.0; 24]))
}

#[test]
fn bytes_that_are_no_values_are_refused() {
    let bytes = [0u8; 32];
    let aligned = bytes.as_ptr().align_offset(4);
    for (dtype, len, offset) in [(Dtype::F32, 7, 0), (Dtype::F16, 3, 0), (Dtype::F32, 8, 1), (Dtype::F16, 8, 1)] {
        let error = TensorRef::from_bytes(dtype, &bytes[aligned + offset..][..len]).expect_err("not values");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with(&format!("{len} bytes cannot be viewed as {dtype:?} values")), "{error}");
    }
    assert_eq!(TensorRef::from_bytes(Dtype::F32, &bytes[aligned..][..8]).map(|t| t.len()), Ok(2));
}

#[test]
fn empty_shapes_names_too_long_and_no_layers_are_refused() {
    let cases = [
        (vec![], "a feature set of 0 layers, 1 to 256 are legal".to_owned()),
        (vec![(Shape::chw(0, 2, 2), "a")], "layer 0 (\"a\") has the empty shape 0x2x2".into()),
        (vec![(Shape::vector(1), "b"), (Shape::chw(2, 0, 2), "c")], "layer 1 (\"c\") has the empty shape 2x0x2".into()),
        (vec![(Shape::chw(2, 2, 0), "")], "layer 0 (\"\") has the empty shape 2x2x0".into()),
        (vec![(Shape::vector(0), "v")], "layer 0 (\"v\") has the empty shape 0".into()),
    ];
    for (layers, message) in cases {
        let layers = layers.into_iter().map(|(s, name)| Layer::new(name, s, Dtype::F32)).collect();
        let error = Layout::new(layers, &Limits::default()).expect_err(&message);
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::InvalidInput, message));
    }
    let name = |n| Layout::new(vec![Layer::new("é".repeat(n), Shape::vector(1), Dtype::F32)], &Limits::default());
    assert_eq!(name(128).expect_err("256 bytes").to_string(), "the name of layer 0 is 256 bytes, the longest is 255");
    assert!(name(127).is_ok());
    let huge = vec![Layer::new("", Shape::chw(u32::MAX, u32::MAX, u32::MAX), Dtype::F32); 2];
    assert_eq!(Layout::new(huge, &Limits::default()).expect_err("huge").kind(), ErrorKind::LimitExceeded);
}

#[test]
fn every_setting_out_of_range_is_named_with_its_range() {
    let base = EncoderConfig::default;
    let bitrate = |kbit_per_second, frames_per_second| RateControl::Bitrate { kbit_per_second, frames_per_second };
    let cases = [
        (EncoderConfig { rate_control: RateControl::ConstantQp(64), ..base() }, "qp 64, legal are 0 to 63"),
        (EncoderConfig { rate_control: RateControl::ConstantQp(255), ..base() }, "qp 255, legal are 0 to 63"),
        (
            EncoderConfig { rate_control: bitrate(0, (25, 1)), ..base() },
            "a bit rate of 0 kbit/s, legal are 1 and above",
        ),
        (
            EncoderConfig { rate_control: bitrate(100, (0, 1)), ..base() },
            "a bit rate at 0/1 frames a second: it needs a known frame rate",
        ),
        (
            EncoderConfig { rate_control: bitrate(100, (25, 0)), ..base() },
            "a bit rate at 25/0 frames a second: it needs a known frame rate",
        ),
        (EncoderConfig { stats_threshold: -0.5, ..base() }, "a statistics threshold of -0.5, legal is 0 and above"),
        (EncoderConfig { stats_threshold: f32::NAN, ..base() }, "a statistics threshold of NaN, legal is 0 and above"),
        (
            EncoderConfig { rd_strength: -1.0, ..base() },
            "a rate-distortion strength of -1, legal are finite values from 0 on",
        ),
        (
            EncoderConfig { rd_strength: f32::INFINITY, ..base() },
            "a rate-distortion strength of inf, legal are finite values from 0 on",
        ),
        (EncoderConfig { components: Some(0), ..base() }, "0 components, legal are 1 to 6"),
        (EncoderConfig { components: Some(7), ..base() }, "7 components, legal are 1 to 6"),
        (EncoderConfig { threads: 65, ..base() }, "65 threads, legal are 0 (one a core) to 64"),
        (EncoderConfig { framerate: (25, 0), ..base() }, "a frame rate of 25/0"),
        (
            EncoderConfig { reference_scale: Some(0.0), ..base() },
            "a reference scale of 0, legal are finite values above 0",
        ),
        (
            EncoderConfig { reference_scale: Some(f32::INFINITY), ..base() },
            "a reference scale of inf, legal are finite values above 0",
        ),
    ];
    for (config, message) in cases {
        let layout = layout(&[(Shape::chw(6, 3, 4), Dtype::F32)]);
        let error = Encoder::new(config, layout).err().expect(message);
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::InvalidConfig, message.to_owned()));
    }
    let error = Decoder::new(DecoderConfig { threads: 65, ..DecoderConfig::default() }).err().expect("65 threads");
    assert_eq!(error.to_string(), "65 threads, legal are 0 (one a core) to 64");
    assert_eq!(
        "zscore".parse::<StatisticsMode>().expect_err("a wrong name").to_string(),
        "statistics mode \"zscore\", legal are z-score, simplified, ecs, none"
    );
}

#[test]
fn a_refused_change_of_the_rate_leaves_the_old_one() -> Result<()> {
    let layout = layout(&[(Shape::chw(6, 3, 4), Dtype::F32)]);
    let mut encoder = Encoder::new(EncoderConfig::default(), layout.clone())?;
    let error = encoder.set_rate_control(RateControl::ConstantQp(64)).expect_err("qp 64");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert_eq!(encode(&mut encoder, &frame(&layout, 1, 0))?.0.qp, RateControl::default_qp(false));
    encoder.set_rate_control(RateControl::ConstantQp(63))?;
    assert_eq!(encode(&mut encoder, &frame(&layout, 1, 1))?.0.qp, 63);
    Ok(())
}

#[test]
fn finite_values_of_any_size_make_streams_that_decode() -> Result<()> {
    let layout = layout(&[(Shape::chw(2, 4, 6), Dtype::F32), (Shape::chw(3, 2, 3), Dtype::F32)]);
    let patterns: [&dyn Fn(usize) -> f32; 6] = [
        &|i| if i.is_multiple_of(2) { f32::MAX } else { f32::MIN },
        &|i| if i.is_multiple_of(3) { 1e25 } else { -3.0 },
        &|_| f32::MAX,
        &|i| f32::from_bits(i as u32 + 1),
        &|i| if i == 5 { 1e-38 } else { 0.0 },
        &|i| 1e12 + i as f32,
    ];
    for (n, pattern) in patterns.iter().enumerate() {
        for statistics in StatisticsMode::ALL {
            let config = EncoderConfig { statistics, key_int_max: 2, ..EncoderConfig::default() };
            let mut encoder = Encoder::new(config, layout.clone())?;
            let mut decoder = Decoder::new(DecoderConfig::default())?;
            for t in 0..4 {
                let values = |len: usize| (0..len).map(|i| pattern(i + t % 2)).collect();
                let features = Features::new(&layout, vec![values(48), values(18)]);
                let (_, unit) = encode(&mut encoder, &features)?;
                let what = || format!("pattern {n}, {statistics:?}, frame {t}");
                expect_exact(&mut decoder, &unit, encoder.reconstruction(), &what);
            }
        }
    }
    Ok(())
}

/// Frames of a still scene, with `change` applied from frame `at` on; which frames were refreshed, and which kinds they are.
fn refreshes(
    config: EncoderConfig,
    frames: u32,
    at: u32,
    change: impl Fn(usize, f32) -> f32,
) -> Result<Vec<(FrameKind, bool)>> {
    let layout = pyramid();
    let mut encoder = Encoder::new(config, layout.clone())?;
    let mut decoder = Decoder::new(DecoderConfig::default())?;
    let mut out = Vec::new();
    for t in 0..frames {
        let mut wide = frame(&layout, 21, 0).wide;
        if t >= at {
            wide.iter_mut().enumerate().for_each(|(n, l)| l.iter_mut().for_each(|v| *v = change(n, *v)));
        }
        let (encoded, unit) = encode(&mut encoder, &Features::new(&layout, wide))?;
        expect_exact(&mut decoder, &unit, encoder.reconstruction(), &|| format!("frame {t}"));
        assert_eq!(encoded.refreshed, encoded.statistics_bytes > 0);
        out.push((encoded.kind, encoded.refreshed));
    }
    Ok(out)
}

fn only(refreshed: &[u32], frames: u32) -> Vec<bool> {
    (0..frames).map(|t| refreshed.contains(&t)).collect()
}

#[test]
fn a_jump_of_one_layers_mean_or_deviation_refreshes_the_statistics_with_that_frame() -> Result<()> {
    type Change = fn(usize, f32) -> f32;
    let changes: [(&str, Change); 3] = [
        ("mean of layer 1", |n, v| if n == 1 { v + 0.3 } else { v }),
        ("deviation of layer 2", |n, v| if n == 2 { v * 1.3 } else { v }),
        ("all layers", |_, v| v * 0.8 - 0.1),
    ];
    for statistics in [StatisticsMode::ZScore, StatisticsMode::Simplified] {
        for (name, change) in changes {
            // So coarse that positions are predicted across the jump: were they not, it would be a scene cut.
            let rate_control = RateControl::ConstantQp(32);
            let config = || EncoderConfig { statistics, rate_control, key_int_max: 0, ..EncoderConfig::default() };
            let got = refreshes(config(), 10, 6, change)?;
            // The one pair of mode simplified averages over layers: a single one moves it little.
            let expected =
                if statistics == StatisticsMode::ZScore || name == "all layers" { &[0, 6][..] } else { &[0] };
            let refreshed: Vec<bool> = got.iter().map(|g| g.1).collect();
            if statistics == StatisticsMode::ZScore || name == "all layers" {
                assert_eq!(refreshed, only(expected, 10), "{statistics:?}, {name}");
            }
            assert_eq!(got[6].0, FrameKind::Predicted, "{statistics:?}, {name}");
            // Not when it is switched off, and not below the threshold.
            let off = refreshes(EncoderConfig { stats_threshold: 0.0, ..config() }, 10, 6, change)?;
            assert!(off.iter().skip(1).all(|g| !g.1), "{statistics:?}, {name}");
            let high = refreshes(EncoderConfig { stats_threshold: 10.0, ..config() }, 10, 6, change)?;
            assert!(high.iter().skip(1).all(|g| !g.1), "{statistics:?}, {name}");
        }
    }
    Ok(())
}

#[test]
fn a_scene_cut_refreshes_the_statistics_though_they_stay_the_same() -> Result<()> {
    let layout = pyramid();
    // Fine enough that the noise is coded at all.
    let rate_control = RateControl::ConstantQp(8);
    let config = EncoderConfig { key_int_max: 0, stats_threshold: 5.0, rate_control, ..EncoderConfig::default() };
    let mut encoder = Encoder::new(config, layout.clone())?;
    let mut refreshed = Vec::new();
    for t in 0..12 {
        // Two scenes of the same statistics and nothing else in common, each nearly still.
        let mut scene = Random(if t < 7 { 50 } else { 51 });
        let mut noise = Random(1000 + t);
        let values = |len| (0..len).map(|_| scene.signed() + 0.02 * noise.signed()).collect();
        let layers: Vec<Vec<f32>> = layout.layers().iter().map(|l| l.shape.elements()).map(values).collect();
        let (encoded, _) = encode(&mut encoder, &Features::new(&layout, layers))?;
        refreshed.push(encoded.refreshed);
        assert_eq!(encoded.kind, if t == 0 { FrameKind::RandomAccess } else { FrameKind::Predicted });
    }
    assert_eq!(refreshed, only(&[0, 7], 12));
    Ok(())
}

#[test]
fn a_large_change_of_scale_starts_anew_with_a_random_access_point() -> Result<()> {
    for statistics in StatisticsMode::ALL {
        for factor in [10.0, 0.1] {
            let config = EncoderConfig { statistics, key_int_max: 0, ..EncoderConfig::default() };
            let got = refreshes(config, 8, 5, |_, v| v * factor)?;
            let kinds: Vec<bool> = got.iter().map(|g| g.0 == FrameKind::RandomAccess).collect();
            assert_eq!(kinds, only(&[0, 5], 8), "{statistics:?} x {factor}");
        }
    }
    Ok(())
}

#[test]
fn periods_of_statistics_and_random_access_are_kept_to_the_frame() -> Result<()> {
    let same = |_, v| v;
    for (key_int_max, stats_period, random_access, refreshed) in [
        (0, 0, &[0][..], &[0][..]),
        (5, 0, &[0, 5, 10], &[0, 5, 10]),
        (0, 4, &[0], &[0, 4, 8, 12]),
        (5, 2, &[0, 5, 10], &[0, 2, 4, 5, 7, 9, 10, 12]),
        (1, 3, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ] {
        let config = EncoderConfig { key_int_max, stats_period, ..EncoderConfig::default() };
        let got = refreshes(config, 13, 99, same)?;
        let kinds: Vec<bool> = got.iter().map(|g| g.0 == FrameKind::RandomAccess).collect();
        assert_eq!(kinds, only(random_access, 13), "key-int-max {key_int_max}");
        let all: Vec<bool> = got.iter().map(|g| g.1).collect();
        assert_eq!(all, only(refreshed, 13), "key-int-max {key_int_max}, stats-period {stats_period}");
    }
    Ok(())
}

#[test]
fn a_forced_random_access_point_is_made_and_counts_anew() -> Result<()> {
    let layout = pyramid();
    let mut encoder = Encoder::new(EncoderConfig { key_int_max: 4, ..EncoderConfig::default() }, layout.clone())?;
    let mut kinds = Vec::new();
    for t in 0..12 {
        let mut unit = Vec::new();
        let request = FrameRequest { random_access: t == 2 || t == 7 };
        kinds.push(encoder.encode(&frame(&layout, 3, 0).tensors(), request, &mut unit)?.kind);
    }
    let random_access: Vec<bool> = kinds.iter().map(|k| *k == FrameKind::RandomAccess).collect();
    assert_eq!(random_access, only(&[0, 2, 6, 7, 11], 12));
    Ok(())
}

/// A small scene: waves that move, with some that come and go, so that there is always something to code.
fn moving(layout: &Layout, t: u32, gain: f32, noise: f32) -> Features {
    let mut random = Random(77 + u64::from(t));
    let wide = frame(layout, 40, 3 * t).wide.into_iter();
    Features::new(layout, wide.map(|l| l.iter().map(|v| gain * (v + noise * random.signed())).collect()).collect())
}

/// kbit/s of frames at 25 frames a second.
fn rate(bytes: &[usize]) -> f64 {
    bytes.iter().sum::<usize>() as f64 * 8.0 * 25.0 / 1000.0 / bytes.len() as f64
}

fn small() -> Layout {
    layout(&[(Shape::chw(8, 12, 16), Dtype::F32), (Shape::chw(12, 6, 8), Dtype::F32)])
}

fn bitrate(kbit_per_second: u32) -> RateControl {
    RateControl::Bitrate { kbit_per_second, frames_per_second: (25, 1) }
}

#[test]
fn a_bit_rate_is_held_within_5_percent_at_any_target() -> Result<()> {
    let layout = small();
    for target in [15, 40, 80, 140] {
        let config = EncoderConfig { rate_control: bitrate(target), ..EncoderConfig::default() };
        let mut encoder = Encoder::new(config, layout.clone())?;
        let mut bytes = Vec::new();
        for t in 0..600 {
            bytes.push(encode(&mut encoder, &moving(&layout, t, 1.0, 0.3))?.0.bytes);
        }
        let got = rate(&bytes);
        assert!((got / f64::from(target) - 1.0).abs() < 0.05, "{got:.1} kbit/s of {target}");
        // No stretch of 8 seconds is far off either.
        for (n, part) in bytes.chunks(200).enumerate() {
            let got = rate(part);
            assert!((got / f64::from(target) - 1.0).abs() < 0.25, "{got:.1} kbit/s of {target} in part {n}");
        }
    }
    Ok(())
}

#[test]
fn a_first_frame_may_take_a_few_frames_share_so_that_it_is_hardly_coarser_than_the_rest() -> Result<()> {
    let layout = small();
    for target in [20, 25, 30] {
        let config = EncoderConfig { rate_control: bitrate(target), ..EncoderConfig::default() };
        let mut encoder = Encoder::new(config, layout.clone())?;
        let mut frames = Vec::new();
        for t in 0..100 {
            frames.push(encode(&mut encoder, &moving(&layout, t, 1.0, 0.3))?.0);
        }
        let share = frames[0].bytes as f64 * 8.0 / (f64::from(target) * 1000.0 / 25.0);
        let later = frames[50..].iter().map(|f| f64::from(f.qp)).sum::<f64>() / 50.0;
        assert!((2.0..=8.0).contains(&share), "{share:.1} times a frame's share of {target} kbit/s");
        let first = f64::from(frames[0].qp);
        assert!(first < later + 4.0, "qp {first}, {later:.1} later, at {target} kbit/s");
    }
    Ok(())
}

#[test]
fn a_new_target_is_met_while_running() -> Result<()> {
    let layout = small();
    let mut encoder =
        Encoder::new(EncoderConfig { rate_control: bitrate(60), ..EncoderConfig::default() }, layout.clone())?;
    for (part, target) in [60, 140, 30].into_iter().enumerate() {
        encoder.set_rate_control(bitrate(target))?;
        let mut bytes = Vec::new();
        for t in 0..600 {
            bytes.push(encode(&mut encoder, &moving(&layout, part as u32 * 600 + t, 1.0, 0.3))?.0.bytes);
        }
        let got = rate(&bytes);
        assert!((got / f64::from(target) - 1.0).abs() < 0.05, "{got:.1} kbit/s of {target}");
    }
    Ok(())
}

#[test]
fn a_change_of_content_does_not_break_the_rate() -> Result<()> {
    let layout = small();
    let target = 100;
    let mut encoder =
        Encoder::new(EncoderConfig { rate_control: bitrate(target), ..EncoderConfig::default() }, layout.clone())?;
    let mut bytes = Vec::new();
    for t in 0..900 {
        // Calm, then busy and twice as strong, then calm again.
        let (gain, noise) = if (300..600).contains(&t) { (2.0, 1.5) } else { (1.0, 0.15) };
        bytes.push(encode(&mut encoder, &moving(&layout, t, gain, noise))?.0.bytes);
    }
    let got = rate(&bytes);
    assert!((got / f64::from(target) - 1.0).abs() < 0.05, "{got:.1} kbit/s of {target}");
    Ok(())
}
