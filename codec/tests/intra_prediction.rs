//! Intra positions are predicted from those around them, by weights that a transform brings or a block DCT has.
#![cfg(feature = "calibrate")]

mod common;
#[path = "common/streams.rs"]
mod streams;

use common::{frame, layout, panned};
use fcm_codec::bitstream::stream::Inspector;
use fcm_codec::reduction::calibrate::{Calibrator, IntraTrainer};
use fcm_codec::{
    Decoded, Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, ErrorKind, FrameKind, FrameRequest, Layout, Limits,
    RateControl, Result, Shape, Transform,
};
use std::sync::Arc;
use streams::{expect_exact, transform, write_all};

fn maps() -> Layout {
    layout(&[(Shape::chw(4, 32, 40), Dtype::F32), (Shape::chw(6, 16, 20), Dtype::F16)])
}

/// A transform calibrated on a scene, with weights learnt from it.
fn calibrated() -> Result<Transform> {
    let layout = maps();
    let mut calibrator = Calibrator::new(layout.clone(), &Limits::default())?;
    let frames: Vec<_> = (0..24).map(|t| frame(&layout, 11, 7 * t)).collect();
    frames.iter().try_for_each(|features| calibrator.add(&features.tensors()))?;
    let transform = calibrator.finish(Some(20))?;
    assert!(transform.intra_weights().is_none());
    let mut trainer = IntraTrainer::new(&transform, layout, &Limits::default())?;
    frames.iter().try_for_each(|features| trainer.add(&features.tensors()))?;
    trainer.finish()
}

fn config(transform: Transform) -> EncoderConfig {
    EncoderConfig {
        transform: Some(Arc::new(transform)),
        rate_control: RateControl::ConstantQp(16),
        key_int_max: 4,
        ..EncoderConfig::default()
    }
}

fn decoder(config: &EncoderConfig) -> Result<Decoder> {
    let transforms = config.transform.iter().cloned().collect();
    Decoder::new(DecoderConfig { transforms, ..DecoderConfig::default() })
}

/// Access units of a scene that moves and is cut in frame 6; every one decodes to what the encoder reconstructed.
fn exact(config: &EncoderConfig, layout: &Layout) -> Result<Vec<Vec<u8>>> {
    let (mut encoder, mut decoder) = (Encoder::new(config.clone(), layout.clone())?, decoder(config)?);
    let mut units = Vec::new();
    for t in 0..12 {
        let features = panned(layout, if t < 6 { 11 } else { 12 }, t, 0.7);
        let mut unit = Vec::new();
        encoder.encode(&features.tensors(), FrameRequest::default(), &mut unit)?;
        expect_exact(&mut decoder, &unit, encoder.reconstruction(), &|| format!("frame {t}"));
        units.push(unit);
    }
    Ok(units)
}

#[test]
fn random_access_frames_need_fewer_bits_for_the_same_error() -> Result<()> {
    let (layout, transform) = (maps(), calibrated()?);
    // Bytes of random access frames, and squared error of their layers.
    let measure = |intra_prediction, qp| {
        let rate_control = RateControl::ConstantQp(qp);
        let config = EncoderConfig { intra_prediction, rate_control, ..config(transform.clone()) };
        let (mut encoder, mut decoder) = (Encoder::new(config.clone(), layout.clone())?, decoder(&config)?);
        let (mut bytes, mut error) = (0, 0.0);
        for t in 200..206 {
            let (features, mut unit) = (frame(&layout, 11, t), Vec::new());
            encoder.encode(&features.tensors(), FrameRequest { random_access: true }, &mut unit)?;
            let Decoded::Frame(mut decoded) = decoder.decode(&unit)? else { panic!("awaiting at {t}") };
            let decoded = write_all(&mut decoded);
            let pairs = features.wide.iter().flatten().zip(decoded.iter().flatten());
            error += pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            bytes += unit.len();
        }
        Ok((bytes, error))
    };
    // Where more can be foretold, more stays within what is not worth a level: a step or two of qp make up for that.
    let (with, without) = (measure(true, 14)?, measure(false, 16)?);
    assert!(with.0 * 10 < without.0 * 8, "{} bytes, {} without prediction", with.0, without.0);
    assert!(with.1 < without.1, "an error of {:e}, {:e} without prediction", with.1, without.1);
    Ok(())
}

#[test]
fn every_kind_of_stream_is_predicted_exactly() -> Result<()> {
    let klt = || Ok::<_, fcm_codec::Error>(config(calibrated()?));
    let chained = EncoderConfig { error_resilient: false, ..klt()? };
    let sliced = EncoderConfig { slice_size: 60, ..klt()? };
    let rounded = EncoderConfig { rd_strength: 0.0, ..klt()? };
    let still = EncoderConfig { motion_compensation: false, skip_threshold: 0.0, ..klt()? };
    let fewer = EncoderConfig { components: Some(7), ..klt()? };
    let lossless = EncoderConfig { lossless: true, reference_scale: Some(1.0), ..klt()? };
    let fine = EncoderConfig { rate_control: RateControl::ConstantQp(0), ..klt()? };
    for config in [klt()?, chained, sliced, rounded, still, fewer, lossless, fine] {
        let units = exact(&config, &maps())?;
        let sequence = Inspector::default().read_header(&units[0])?.clone();
        assert_eq!((sequence.version, sequence.intra_prediction), (6, true));
    }
    // Weights that make no sense cost bits, nothing else; and a grid with a cell that is padded.
    let odd = layout(&[(Shape::chw(4, 9, 13), Dtype::F32), (Shape::chw(6, 5, 7), Dtype::F32)]);
    let wild = transform(&[(4, 2, 2, false), (6, 1, 1, false)], 20, 3);
    let wild = (*wild).clone().with_intra_weights(vec![[127, 127, -128]; 20])?;
    exact(&config(wild), &odd)?;
    Ok(())
}

#[test]
fn without_a_transform_means_of_cells_are_predicted() -> Result<()> {
    let of_dct = |intra_prediction, layout: &Layout| {
        let config = EncoderConfig {
            rate_control: RateControl::ConstantQp(16),
            key_int_max: 4,
            intra_prediction,
            ..EncoderConfig::default()
        };
        let units = exact(&config, layout)?;
        let sequence = Inspector::default().read_header(&units[0])?.clone();
        Ok::<_, fcm_codec::Error>((units[0].len(), sequence.version, sequence.intra_prediction))
    };
    let (with, without) = (of_dct(true, &maps())?, of_dct(false, &maps())?);
    assert_eq!(((with.1, with.2), (without.1, without.2)), ((7, true), (4, false)));
    assert!(with.0 * 10 < without.0 * 9, "{} bytes, {} without prediction", with.0, without.0);
    // The channels of a vector have nothing to do with each other.
    let vectors = layout(&[(Shape::vector(60), Dtype::F32)]);
    assert_eq!(of_dct(true, &vectors)?, of_dct(false, &vectors)?);
    Ok(())
}

#[test]
fn positions_that_come_into_sight_are_predicted_within_predicted_frames_too() -> Result<()> {
    let (layout, transform) = (maps(), calibrated()?);
    let second = |intra_prediction| {
        let config = EncoderConfig { intra_prediction, ..config(transform.clone()) };
        let mut encoder = Encoder::new(config, layout.clone())?;
        let mut unit = Vec::new();
        encoder.encode(&frame(&layout, 99, 0).tensors(), FrameRequest::default(), &mut unit)?;
        unit.clear();
        let encoded = encoder.encode(&frame(&layout, 11, 200).tensors(), FrameRequest::default(), &mut unit)?;
        assert_eq!(encoded.kind, FrameKind::Predicted);
        Ok(unit.len())
    };
    let (with, without) = (second(true)?, second(false)?);
    assert!(with * 10 < without * 9, "{with} bytes after a cut, {without} without prediction");
    Ok(())
}

#[test]
fn without_weights_or_when_asked_streams_are_as_before() -> Result<()> {
    let with = calibrated()?;
    let off = exact(&EncoderConfig { intra_prediction: false, ..config(with.clone()) }, &maps())?;
    let plain = Transform::from_bytes(&with.to_bytes(), &Limits::default())?.without_intra_weights();
    let none = exact(&config(plain), &maps())?;
    for (units, transform_differs) in [(&off, false), (&none, true)] {
        let sequence = Inspector::default().read_header(&units[0])?.clone();
        assert_eq!((sequence.version, sequence.intra_prediction), (4, false), "{transform_differs}");
    }
    // Only the identity of the transform differs, 8 bytes of every parameter set, and with it checks.
    assert!(off.iter().zip(&none).all(|(a, b)| a.len() == b.len()));
    Ok(())
}

#[test]
fn a_stream_that_needs_weights_is_refused_with_a_transform_that_has_none() -> Result<()> {
    // Only a forged stream can name such a transform: weights are part of its identity.
    let with = calibrated()?;
    let plain = with.clone().without_intra_weights();
    let config = config(with.clone());
    let mut unit = Vec::new();
    Encoder::new(config.clone(), maps())?.encode(
        &frame(&maps(), 11, 0).tensors(),
        FrameRequest::default(),
        &mut unit,
    )?;
    let mut other = decoder(&EncoderConfig { transform: Some(Arc::new(plain)), ..config })?;
    assert_eq!(other.decode(&unit).err().map(|e| e.kind()), Some(ErrorKind::Transform));
    Ok(())
}
