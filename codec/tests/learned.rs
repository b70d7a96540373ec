//! Learned transforms (docs/bitstream.md §5.5): a pair of networks does the work of a basis, and what they get wrong is an error.

mod common;
#[path = "common/networks.rs"]
mod networks;
#[path = "common/streams.rs"]
mod streams;

use common::{Features, frame};
use fcm_codec::picture::{
    PackerConfig, PicturePacker, PictureReader, PictureUnpacker, PictureWriter, Plane, PlaneMut, Read, Sample,
    WriterConfig,
};
use fcm_codec::reduction::relevance::Probe;
use fcm_codec::{
    ChannelOrder, Decoded, Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, Error, ErrorKind, FrameRequest,
    Layer, Layout, Limits, RateControl, Result, Shape, StatisticsMode, TensorMut, Transform,
};
use networks::{FAILING, Linear, NAN, SOUND, pair};
use std::sync::Arc;
use streams::{Basis, write_all};

/// A padded map, one with its channels last in memory, and a vector, on a grid of 8 x 10.
fn mixed() -> (Layout, Arc<Basis>) {
    let layers = vec![
        Layer::new("p3", Shape::chw(4, 15, 20), Dtype::F32),
        Layer { order: ChannelOrder::Hwc, ..Layer::new("p4", Shape::chw(6, 8, 10), Dtype::F16) },
        Layer::new("v", Shape::vector(60), Dtype::F32),
    ];
    let basis = Basis::new(&[(4, 2, 2, false), (6, 1, 1, false), (1, 1, 1, true)], 20, 1);
    (Layout::new(layers, &Limits::default()).unwrap(), Arc::new(basis))
}

fn config(basis: &Arc<Basis>, transform: Transform) -> EncoderConfig {
    EncoderConfig {
        transform: Some(Arc::new(transform)),
        runtime: Some(Arc::new(Linear(basis.clone()))),
        rate_control: RateControl::ConstantQp(8),
        key_int_max: 4,
        skip_threshold: 0.0,
        ..EncoderConfig::default()
    }
}

fn decoder(config: &EncoderConfig) -> Decoder {
    let transforms = config.transform.iter().cloned().collect();
    Decoder::new(DecoderConfig { transforms, runtime: config.runtime.clone(), ..DecoderConfig::default() }).unwrap()
}

/// Integers of a frame, and its restored layers.
type Frame = (Vec<i32>, Vec<Vec<f32>>);

/// Six frames, whose integers are exactly what the encoder reconstructed.
fn coded(config: EncoderConfig, layout: &Layout) -> Result<Vec<Frame>> {
    let mut decoder = decoder(&config);
    let mut encoder = Encoder::new(config, layout.clone())?;
    let mut out = Vec::new();
    for t in 0..6 {
        let mut unit = Vec::new();
        encoder.encode(&frame(layout, 5, t).tensors(), FrameRequest::default(), &mut unit)?;
        let Decoded::Frame(mut decoded) = decoder.decode(&unit)? else { panic!("a frame was expected") };
        let layers = write_all(&mut decoded);
        assert_eq!(decoder.reconstruction(), encoder.reconstruction(), "frame {t}");
        out.push((encoder.reconstruction().to_vec(), layers));
    }
    Ok(out)
}

/// Squared difference as a share of the variance.
fn nmse(a: &[f32], b: &[f32]) -> f64 {
    let mean = a.iter().map(|&v| f64::from(v)).sum::<f64>() / a.len() as f64;
    let variance: f64 = a.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum();
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>() / variance
}

/// Holds a learned pair against the basis that its networks are made of.
fn agree(what: &str, adapt: impl Fn(EncoderConfig) -> EncoderConfig, probe: Option<Probe>) -> Result<()> {
    let (layout, basis) = mixed();
    let probed = |t: Transform| match &probe {
        Some(probe) => t.with_probe(probe.clone()),
        None => Ok(t),
    };
    let klt = coded(adapt(config(&basis, probed(basis.transform())?)), &layout)?;
    let learned = coded(adapt(config(&basis, probed(pair(&basis, SOUND, SOUND))?)), &layout)?;
    for (t, ((a, a_layers), (b, b_layers))) in klt.iter().zip(&learned).enumerate() {
        // Sums in another order round differently: now and then a value falls on the other side of a threshold.
        let different = a.iter().zip(b).filter(|(a, b)| (*a - *b).abs() > 2).count();
        assert!(different * 200 <= a.len(), "{what}, frame {t}: {different} of {} integers differ", a.len());
        for (n, (a, b)) in a_layers.iter().zip(b_layers).enumerate() {
            let difference = nmse(a, b);
            assert!(difference < 1e-4, "{what}, frame {t}: layer {n} differs by {difference}");
        }
    }
    Ok(())
}

#[test]
fn a_learned_pair_codes_as_the_basis_that_its_networks_compute() -> Result<()> {
    for statistics in StatisticsMode::ALL {
        agree(statistics.name(), |config| EncoderConfig { statistics, ..config }, None)?;
    }
    agree("lossless", |config| EncoderConfig { lossless: true, ..config }, None)?;
    agree("two threads", |config| EncoderConfig { threads: 2, ..config }, None)
}

#[test]
fn components_that_are_left_out_are_zero_for_the_restoration() -> Result<()> {
    agree("7 of 20", |config| EncoderConfig { components: Some(7), ..config }, None)
}

#[test]
fn a_probe_tells_relevant_positions_by_the_fused_planes() -> Result<()> {
    let (layout, basis) = mixed();
    // A threshold that few positions are above.
    let whole = EncoderConfig { lossless: true, ..config(&basis, basis.transform()) };
    let mut encoder = Encoder::new(whole, layout.clone())?;
    encoder.encode(&frame(&layout, 5, 0).tensors(), FrameRequest::default(), &mut Vec::new())?;
    let mut first: Vec<i32> = encoder.reconstruction()[..80].to_vec();
    first.sort_unstable();
    let probe = Probe::new(-(first[75] as f32) * encoder.reference_scale() / 1024.0, vec![1.0])?;
    for statistics in [StatisticsMode::ZScore, StatisticsMode::Simplified] {
        agree("relevance", |config| EncoderConfig { statistics, background_offset: 6, ..config }, Some(probe.clone()))?;
    }
    let told = config(&basis, pair(&basis, SOUND, SOUND).with_probe(probe)?);
    let mut encoder = Encoder::new(EncoderConfig { background_offset: 6, ..told }, layout.clone())?;
    encoder.encode(&frame(&layout, 5, 0).tensors(), FrameRequest::default(), &mut Vec::new())?;
    let background = encoder.relevance().iter().filter(|&&r| r == 1).count();
    assert!((1..80).contains(&background), "{background} of 80 positions are background: the regions were not tested");
    Ok(())
}

#[test]
fn a_skip_threshold_is_accepted_and_all_positions_are_reduced() -> Result<()> {
    let (layout, basis) = mixed();
    let config = EncoderConfig { skip_threshold: 3.0, ..config(&basis, pair(&basis, SOUND, SOUND)) };
    let mut encoder = Encoder::new(config, layout.clone())?;
    for _ in 0..3 {
        encoder.encode(&frame(&layout, 5, 0).tensors(), FrameRequest::default(), &mut Vec::new())?;
        assert_eq!(encoder.projected(), 80);
    }
    Ok(())
}

fn transform_error<T>(result: Result<T>) -> Error {
    let error = result.err().expect("an error");
    assert_eq!(error.kind(), ErrorKind::Transform, "{error}");
    error
}

#[test]
fn without_a_runtime_both_sides_say_so_and_name_the_transform() -> Result<()> {
    let (layout, basis) = mixed();
    let whole = config(&basis, pair(&basis, SOUND, SOUND));
    let id = whole.transform.as_ref().unwrap().id().to_string();
    let without = EncoderConfig { runtime: None, ..whole.clone() };
    let mut unit = Vec::new();
    Encoder::new(whole, layout.clone())?.encode(&frame(&layout, 5, 0).tensors(), FrameRequest::default(), &mut unit)?;
    let mut decoder = decoder(&without);
    let errors = [transform_error(Encoder::new(without, layout)), transform_error(decoder.decode(&unit).map(|_| ()))];
    for error in errors.map(|e| e.to_string()) {
        assert!(error.contains(&id) && error.contains("no inference runtime"), "{error}");
    }
    Ok(())
}

#[test]
fn networks_that_cannot_be_opened_are_an_error_that_names_the_transform() -> Result<()> {
    let (layout, basis) = mixed();
    let error = transform_error(Encoder::new(config(&basis, pair(&basis, FAILING, SOUND)), layout.clone()));
    assert!(error.to_string().contains("it is broken") && error.to_string().contains("transform "), "{error}");
    let config = config(&basis, pair(&basis, SOUND, FAILING));
    let mut decoder = decoder(&config);
    let mut unit = Vec::new();
    Encoder::new(config, layout.clone())?.encode(
        &frame(&layout, 5, 0).tensors(),
        FrameRequest::default(),
        &mut unit,
    )?;
    let error = transform_error(decoder.decode(&unit).map(|_| ()));
    assert!(error.to_string().contains("it is broken"), "{error}");
    Ok(())
}

#[test]
fn nan_from_the_reduction_is_an_error_with_its_place_and_costs_one_frame() -> Result<()> {
    let (layout, basis) = mixed();
    let config = config(&basis, pair(&basis, NAN, SOUND));
    let mut decoder = decoder(&config);
    let mut encoder = Encoder::new(config, layout.clone())?;
    let mut unit = Vec::new();
    for t in 0..4 {
        unit.clear();
        let encoded = encoder.encode(&frame(&layout, 5, t).tensors(), FrameRequest::default(), &mut unit);
        if t % 2 == 1 {
            let error = transform_error(encoded).to_string();
            assert_eq!(error, "the reduction network gave NaN for component 19 of position 79");
            assert_eq!(unit, []);
            continue;
        }
        encoded?;
        assert!(matches!(decoder.decode(&unit)?, Decoded::Frame(_)), "frame {t}");
        assert_eq!(decoder.reconstruction(), encoder.reconstruction());
    }
    Ok(())
}

#[test]
fn nan_from_the_restoration_is_an_error_with_its_place() -> Result<()> {
    let (layout, basis) = mixed();
    let config = EncoderConfig { key_int_max: 1, ..config(&basis, pair(&basis, SOUND, NAN)) };
    let mut decoder = decoder(&config);
    let mut encoder = Encoder::new(config, layout.clone())?;
    for t in 0..4 {
        let mut unit = Vec::new();
        encoder.encode(&frame(&layout, 5, t).tensors(), FrameRequest::default(), &mut unit)?;
        let decoded = decoder.decode(&unit).map(|_| ());
        if t % 2 == 1 {
            let error = transform_error(decoded).to_string();
            assert!(
                error.contains("restoration network") && error.contains("layer 2 (\"v\") holds NaN at index 59"),
                "{error}"
            );
        } else {
            decoded?;
        }
    }
    Ok(())
}

/// What comes out of pictures of frame 0 made with `transform`.
fn through_pictures(basis: &Arc<Basis>, layout: &Layout, transform: Transform) -> Result<Vec<Vec<f32>>> {
    let (transform, runtime) = (Arc::new(transform), Some(Arc::new(Linear(basis.clone())) as Arc<_>));
    let config =
        PackerConfig { transform: Some(transform.clone()), runtime: runtime.clone(), ..PackerConfig::default() };
    let mut packer = PicturePacker::new(config, layout.clone())?;
    let format = *packer.format();
    let (stride, sample) = (format.width as usize * 2, Sample::U16);
    let mut plane = vec![0; stride * format.height as usize];
    let features: Features = frame(layout, 5, 0);
    let record = packer.pack(&features.tensors(), PlaneMut { data: &mut plane, stride, sample })?;
    let mut unit = Vec::new();
    PictureWriter::new(WriterConfig::default())?.write(&record, &plane, true, &mut unit)?;
    let mut reader = PictureReader::new(Limits::default());
    let Read::Picture(picture) = reader.read(&unit)? else { panic!("no picture") };
    let transforms = vec![transform];
    let mut unpacker = PictureUnpacker::new(DecoderConfig { transforms, runtime, ..DecoderConfig::default() })?;
    unpacker.unpack(&picture.info, Plane { data: picture.video, stride, sample })?;
    let layers = layout.layers().iter().enumerate().map(|(n, layer)| {
        let mut narrow = vec![half::f16::ZERO; layer.shape.elements() as usize];
        let mut wide = vec![0.0; layer.shape.elements() as usize];
        match layer.dtype {
            Dtype::F32 => unpacker.write(n, TensorMut::F32(&mut wide))?,
            Dtype::F16 => {
                unpacker.write(n, TensorMut::F16(&mut narrow))?;
                wide.iter_mut().zip(&narrow).for_each(|(to, from)| *to = from.to_f32());
            }
        }
        Ok(wide)
    });
    layers.collect()
}

#[test]
fn pictures_work_with_a_learned_pair_too() -> Result<()> {
    let (layout, basis) = mixed();
    let klt = through_pictures(&basis, &layout, basis.transform())?;
    let learned = through_pictures(&basis, &layout, pair(&basis, SOUND, SOUND))?;
    for (n, (a, b)) in klt.iter().zip(&learned).enumerate() {
        assert!(nmse(a, b) < 1e-4, "layer {n} differs by {}", nmse(a, b));
    }
    Ok(())
}
