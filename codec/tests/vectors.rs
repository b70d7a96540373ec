//! Golden streams: what this build makes of streams that earlier builds wrote.
//!
//! codec/tests/vectors/NAME.fcm is a stream of either format, NAME.txt says why it is there, what it needs, and mean and
//! standard deviation of every decoded layer; NAME.rec holds the reconstructions, binary32-sized integers, least
//! significant byte first, frame after frame. Committed vectors are never changed: a decoder that needs other ones reads
//! another format.

mod common;
#[path = "common/golden.rs"]
mod golden;
#[path = "common/streams.rs"]
mod streams;

use common::{Features, Random, layout};
use fcm_codec::reduction::CellShape;
use fcm_codec::reduction::relevance::Probe;
use fcm_codec::{
    ChannelOrder, Decoded, Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, FrameKind, FrameRequest, Layer,
    Layout, Limits, RateControl, RestorationStrength, Shape, StatisticsMode, StreamFormat, Transform,
};
use golden::{Named, Vector, compare, directory, entry, layer_line, split};
use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use streams::{Stream, write_all};

/// Chosen so that some positions of the first frame are relevant and some are not.
const PROBE_BIAS: f32 = 0.2;

/// The text beside a vector, and its reconstructions.
type Description = (String, Vec<Vec<i32>>);

/// Decodes a vector; the text that describes it, and its reconstructions.
fn describe(
    reason: &str,
    transform: Option<&Named>,
    format: StreamFormat,
    bytes: &[u8],
) -> Result<Description, Box<dyn Error>> {
    let mut text = format!("reason {reason}\n");
    let name = if format == StreamFormat::ByteStream { "byte-stream" } else { "packetized" };
    writeln!(text, "format {name}")?;
    if let Some((file, _)) = transform {
        writeln!(text, "transform {file}")?;
    }
    let transforms = transform.into_iter().map(|(_, t)| t.clone()).collect();
    let mut decoder = Decoder::new(DecoderConfig { transforms, ..DecoderConfig::default() })?;
    let mut reconstructions = Vec::new();
    for unit in split(bytes, format) {
        let Decoded::Frame(mut frame) = decoder.decode(unit)? else { panic!("a frame was expected") };
        let kind = if frame.kind() == FrameKind::RandomAccess { "random-access" } else { "predicted" };
        writeln!(text, "frame {} {kind} qp {} refreshed {}", frame.number(), frame.qp(), frame.refreshed())?;
        for (layer, values) in frame.layout().clone().layers().iter().zip(write_all(&mut frame)) {
            writeln!(text, "{}", layer_line(layer, &values))?;
        }
        reconstructions.push(decoder.reconstruction().to_vec());
    }
    Ok((text, reconstructions))
}

#[test]
fn every_vector_decodes_to_the_integers_and_statistics_it_was_made_with() -> Result<(), Box<dyn Error>> {
    let vectors = golden::read(&directory())?;
    for Vector { name, text: expected, transform, bytes, recorded } in &vectors {
        let format = match entry(expected, "format") {
            Some("byte-stream") => StreamFormat::ByteStream,
            Some("packetized") => StreamFormat::Packetized,
            other => panic!("{name}: format {other:?}"),
        };
        let reason = entry(expected, "reason").unwrap_or_default();
        let (text, reconstructions) = describe(reason, transform.as_ref(), format, bytes)?;

        let integers: Vec<i32> = recorded.iter().copied().map(i32::from_le_bytes).collect();
        let mut rest = &integers[..];
        for (t, got) in reconstructions.iter().enumerate() {
            assert!(got.len() <= rest.len(), "{name}: frame {t} has {} values, {} are expected", got.len(), rest.len());
            let (expected, after) = rest.split_at(got.len());
            if let Some(at) = got.iter().zip(expected).position(|(a, b)| a != b) {
                panic!("{name}: frame {t} differs first at index {at}: {}, expected {}", got[at], expected[at]);
            }
            rest = after;
        }
        assert!(rest.is_empty(), "{name}: {} values too few", rest.len());
        compare(name, &text, expected);
    }
    assert!(vectors.len() >= 10, "{} vectors", vectors.len());
    Ok(())
}

#[test]
fn a_difference_would_be_found() {
    let line = "layer 2x4x6 F32 mean 1.000000e0 std 2.000000e0\n";
    compare("same", line, line);
    compare("near", line, "layer 2x4x6 F32 mean 1.000100e0 std 2.000100e0\n");
    for other in [
        "layer 2x4x6 F32 mean 1.001000e0 std 2.000000e0\n",
        "layer 2x4x6 F32 mean 1.000000e0 std 2.001000e0\n",
        "layer 2x4x5 F32 mean 1.000000e0 std 2.000000e0\n",
        "frame 0 predicted qp 2 refreshed false\n",
        "",
    ] {
        assert!(std::panic::catch_unwind(|| compare("other", other, line)).is_err(), "{other}");
    }
}

/// Streams that new vectors are made of; the name of a vector tells its content and must be new.
fn sources() -> Vec<(&'static str, Stream)> {
    let names = [
        ("dct-z-score", "two maps, block DCT, all defaults of a byte stream"),
        ("klt-z-score", "a calibrated transform"),
        ("padded-ecs-packetized", "shapes that are no multiples of the smallest, mode ecs, no markers"),
        ("vectors-simplified", "rank-1 features only, mode simplified"),
        ("map-and-vector-none", "a vector laid out over the grid, mode none"),
        ("lossless", "the fixed-point tensor without loss"),
        ("chained-3", "version 3, models and contexts that go on from frame to frame"),
        ("sliced-3", "version 3, error resilience, frames of several slices"),
        ("moving-4", "version 4, blocks predicted along vectors, frames of several slices"),
    ];
    let mut out: Vec<_> = streams::all()
        .into_iter()
        .zip(names)
        .map(|(stream, (name, reason))| (name, Stream { name: reason, ..stream }))
        .collect();
    let base =
        || EncoderConfig { key_int_max: 4, rate_control: RateControl::ConstantQp(16), ..EncoderConfig::default() };
    let last = |shape, dtype| Layer { order: ChannelOrder::Hwc, ..Layer::new("nhwc é", shape, dtype) };
    let hwc = Layout::new(
        vec![last(Shape::chw(3, 4, 6), Dtype::F16), last(Shape::chw(2, 2, 3), Dtype::F32)],
        &Limits::default(),
    );
    let hwc = hwc.expect("a legal layout");
    out.push(("channels-last", streams::stream("channels last, a name that is not ASCII", base(), hwc, 5)));
    let grid = layout(&[(Shape::chw(2, 13, 18), Dtype::F32), (Shape::chw(3, 6, 9), Dtype::F32)]);
    let config = EncoderConfig { components: Some(9), ..base() };
    out.push(("two-blocks-cut", streams::stream("more positions than one block, 9 components of 12", config, grid, 5)));
    out.push(("cuts-and-drift", drifting(base())));
    let klt = out[1].1.config.transform.clone().expect("the calibrated stream");
    out.push(("relevance-z-score", relevant(base(), &klt)));
    // Vectors of this name with another version exist.
    out.push((
        "klt-3",
        streams::stream("version 3, a calibrated transform", out[1].1.config.clone(), out[1].1.layout.clone(), 6),
    ));
    out.push(("relevance-3", relevant(EncoderConfig { slice_size: 40, ..base() }, &klt)));
    let grid = layout(&[(Shape::chw(2, 18, 26), Dtype::F32), (Shape::chw(3, 9, 13), Dtype::F16)]);
    let config = EncoderConfig { transform: out[1].1.config.transform.clone(), error_resilient: false, ..base() };
    out.push((
        "moving-klt-4",
        streams::moving(
            "version 4, vectors and a calibrated transform, an odd grid, models that go on",
            config,
            grid,
            6,
        ),
    ));
    let pair = layout(&[(Shape::chw(2, 16, 20), Dtype::F32), (Shape::chw(3, 8, 10), Dtype::F16)]);
    let task = fitted(&pair);
    let with = |transform: Transform| EncoderConfig { transform: Some(Arc::new(transform)), ..base() };
    out.push(("task-4", streams::stream("analysis and synthesis vectors", with(task.clone()), pair.clone(), 5)));
    let partial = task.with_restoration(RestorationStrength::new(6).expect("a legal strength").into());
    let reason = "version 5, layers restored by 6/16 of the way, a transform that says so";
    out.push(("partial-5", streams::stream(reason, with(partial), pair.clone(), 5)));
    let weights = vec![[48, 40, -24], [40, -30, 20], [-36, 44, 24], [10, 12, 0]];
    let task = fitted(&pair);
    let predicted = task.clone().with_intra_weights(weights.clone()).expect("a triple for each component");
    let reason = "version 6, intra positions predicted within frames, which move";
    out.push(("intra-6", streams::moving(reason, with(predicted.clone()), pair.clone(), 6)));
    let partial = predicted.with_restoration(RestorationStrength::new(6).expect("a legal strength").into());
    let config = EncoderConfig { slice_size: 40, ..with(partial) };
    out.push(("intra-relevance-6", relevant(config.clone(), config.transform.as_deref().expect("a transform"))));
    let layers = vec![
        Layer::new("a", Shape::chw(2, 18, 26), Dtype::F32),
        Layer::new("b", Shape::vector(200), Dtype::F16),
        Layer::new("c", Shape::chw(3, 9, 13), Dtype::F16),
    ];
    let grid = Layout::new(layers, &Limits::default()).expect("a legal layout");
    let reason =
        "version 7, block DCT, means of maps predicted within frames, which move, a vector laid out over the grid";
    out.push(("intra-dct-7", streams::moving(reason, EncoderConfig { slice_size: 200, ..base() }, grid, 6)));
    out
}

/// A transform with analysis and synthesis vectors that differ, as one fitted to a task has: a few values, each with a weight.
fn fitted(layout: &Layout) -> Transform {
    let cells = CellShape::of_layout(layout, &Limits::default()).expect("cells");
    let (weights, dimension) = ([0.5f32, 2.0, 1.0, 4.0], 11);
    let vectors = |weight: fn(f32) -> f32| -> Vec<f32> {
        let value = |k: usize, d: usize| if d == 3 * k { weight(weights[k]) } else { 0.0 };
        (0..weights.len()).flat_map(|k| (0..dimension).map(move |d| value(k, d))).collect()
    };
    let (mean, variances) = (vec![0.25; dimension], vec![4.0, 3.0, 2.0, 1.0]);
    Transform::biorthogonal(cells, mean, vectors(|w| w), vectors(|w| 1.0 / w), variances, 20.0, 99)
        .expect("a legal transform")
}

/// A stream of version 2: the same transform on a larger grid, with a probe that finds some of the positions relevant.
fn relevant(base: EncoderConfig, klt: &Transform) -> Stream {
    let layout = layout(&[(Shape::chw(2, 16, 20), Dtype::F32), (Shape::chw(3, 8, 10), Dtype::F16)]);
    let probe = Probe::new(PROBE_BIAS, vec![1.0, 0.5]).expect("a legal probe");
    let transform = Some(Arc::new(klt.clone().with_probe(probe).expect("a transform of two components")));
    let config = EncoderConfig { transform, background_offset: 6, ..base };
    let mut encoder = Encoder::new(config.clone(), layout.clone()).expect("a legal config");
    let tensors = common::frame(&layout, 11, 0);
    encoder.encode(&tensors.tensors(), FrameRequest::default(), &mut Vec::new()).expect("good features");
    let background = encoder.relevance().iter().filter(|&&r| r == 1).count();
    assert!((8..72).contains(&background), "{background} of 80 positions are background");
    streams::stream("relevance: a map, two quantiser steps, statistics by region", config, layout, 6)
}

/// A stream with a jump of the mean, a scene cut, a change of scale that forces a random access point, and a constant frame.
fn drifting(base: EncoderConfig) -> Stream {
    let layout = layout(&[(Shape::chw(3, 6, 8), Dtype::F32), (Shape::chw(2, 3, 4), Dtype::F16)]);
    let config = EncoderConfig { key_int_max: 0, rate_control: RateControl::ConstantQp(8), ..base };
    let mut encoder = Encoder::new(config.clone(), layout.clone()).expect("a legal config");
    let (mut units, mut reconstructions) = (Vec::new(), Vec::new());
    for t in 0..8u64 {
        let mut scene = Random(if t < 4 { 1 } else { 2 });
        let (gain, offset) = match t {
            0 | 1 => (1.0, 0.0),
            2..=4 => (1.0, 0.5),
            5 | 6 => (8.0, 0.5),
            _ => (0.0, 3.0),
        };
        let layers = layout.layers().iter().map(|l| l.shape.elements());
        let wide = layers.map(|len| (0..len).map(|_| gain * scene.signed() + offset).collect()).collect();
        let mut unit = Vec::new();
        let features = Features::new(&layout, wide);
        encoder.encode(&features.tensors(), FrameRequest::default(), &mut unit).expect("good features");
        units.push(unit);
        reconstructions.push(encoder.reconstruction().to_vec());
    }
    Stream { name: "drift, a scene cut, a change of scale, a constant frame", layout, config, units, reconstructions }
}

/// Makes the vectors that are not there yet: `cargo test -p fcm-codec --test vectors -- --ignored`. For a new one add a
/// source; existing files are left alone.
#[test]
#[ignore = "writes files"]
fn write_new_vectors() -> Result<(), Box<dyn Error>> {
    for (name, stream) in sources() {
        if directory().join(format!("{name}.fcm")).exists() {
            continue;
        }
        let transform = stream.config.transform.clone().map(|t| (format!("{name}.fcmt"), t));
        let bytes = stream.bytes();
        let (text, reconstructions) = describe(stream.name, transform.as_ref(), stream.config.format, &bytes)?;
        assert!(reconstructions == stream.reconstructions, "{name}: the decoder differs from the encoder");
        let recorded = reconstructions.iter().flatten().map(|v| v.to_le_bytes()).collect();
        golden::write(&directory(), &Vector { name: name.to_owned(), text, transform, bytes, recorded })?;
    }
    Ok(())
}

#[test]
fn vectors_hold_every_statistics_mode_and_both_reductions() -> Result<(), Box<dyn Error>> {
    // What the sources promise, asked of the streams themselves.
    let sources = sources();
    for mode in StatisticsMode::ALL {
        assert!(sources.iter().any(|(_, s)| s.config.statistics == mode), "{mode:?}");
    }
    for (name, _) in sources {
        assert!(directory().join(format!("{name}.fcm")).exists(), "{name} was not written yet: see write_new_vectors");
    }
    Ok(())
}
