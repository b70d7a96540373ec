//! Blocks of positions are predicted from where they were in the frame before.

mod common;
#[path = "common/streams.rs"]
mod streams;

use common::{Features, layout, panned, pyramid};
use fcm_codec::{
    Decoded, Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, FrameRequest, Layout, RateControl, Result, Shape,
};
use streams::{expect_exact, transform, write_all};

fn decoder(config: &EncoderConfig) -> Result<Decoder> {
    let transforms = config.transform.iter().cloned().collect();
    Decoder::new(DecoderConfig { transforms, ..DecoderConfig::default() })
}

/// Sizes of the access units of a scene panned over; every one decodes to what the encoder reconstructed.
fn sizes(config: &EncoderConfig, layout: &Layout, speed: f32, frames: u32) -> Result<Vec<usize>> {
    let (mut encoder, mut decoder) = (Encoder::new(config.clone(), layout.clone())?, decoder(config)?);
    let mut sizes = Vec::new();
    for t in 0..frames {
        let mut unit = Vec::new();
        encoder.encode(&panned(layout, 3, t, speed).tensors(), FrameRequest::default(), &mut unit)?;
        expect_exact(&mut decoder, &unit, encoder.reconstruction(), &|| format!("frame {t}"));
        sizes.push(unit.len());
    }
    Ok(sizes)
}

fn klt() -> EncoderConfig {
    EncoderConfig {
        transform: Some(transform(&[(4, 2, 2, false), (6, 1, 1, false)], 22, 3)),
        rate_control: RateControl::ConstantQp(14),
        key_int_max: 0,
        ..EncoderConfig::default()
    }
}

fn maps() -> Layout {
    layout(&[(Shape::chw(4, 32, 40), Dtype::F32), (Shape::chw(6, 16, 20), Dtype::F16)])
}

#[test]
fn a_panned_scene_costs_fewer_bits_and_a_still_one_no_more() -> Result<()> {
    let (with, without) = (klt(), EncoderConfig { motion_compensation: false, ..klt() });
    for speed in [0.5, 1.0] {
        let total = |config| Ok(sizes(config, &maps(), speed, 12)?[1..].iter().sum::<usize>());
        let (with, without) = (total(&with)?, total(&without)?);
        assert!(with * 10 < without * 8, "{with} bytes, {without} without vectors, at {speed} positions a frame");
    }
    let (with, without) = (sizes(&with, &maps(), 0.0, 4)?, sizes(&without, &maps(), 0.0, 4)?);
    assert_eq!(with[0], without[0], "a random access frame has no vectors");
    assert!(with[1..].iter().zip(&without[1..]).all(|(a, b)| *a <= b + 3), "{with:?} {without:?}");
    Ok(())
}

#[test]
fn every_kind_of_stream_moves_exactly() -> Result<()> {
    let chained = EncoderConfig { error_resilient: false, ..klt() };
    let sliced = EncoderConfig { slice_size: 60, ..klt() };
    let rounded = EncoderConfig { rd_strength: 0.0, ..klt() };
    for config in [chained, sliced, rounded] {
        sizes(&config, &maps(), 0.7, 8)?;
    }
    // The block DCT, and layers of other sizes.
    let dct = EncoderConfig { transform: None, ..klt() };
    sizes(&dct, &pyramid(), 0.7, 8)?;
    // Blocks cut off by the edge, and vectors laid out over the grid.
    let odd = layout(&[(Shape::chw(3, 5, 7), Dtype::F32), (Shape::vector(40), Dtype::F32)]);
    sizes(&dct, &odd, 0.7, 8)?;
    Ok(())
}

#[test]
fn a_lossless_stream_has_no_vectors_and_stays_lossless() -> Result<()> {
    let config = EncoderConfig { lossless: true, reference_scale: Some(1.0), ..klt() };
    let encoder = Encoder::new(config.clone(), maps())?;
    assert!(!encoder.sequence().motion && config.motion_compensation);
    sizes(&config, &maps(), 1.0, 4)?;
    Ok(())
}

/// Squared error of what is decoded, relative to the energy of the features.
fn error(frame: &Features, decoded: &[Vec<f32>]) -> f64 {
    let pairs = frame.wide.iter().flatten().zip(decoded.iter().flatten());
    let (mut error, mut energy) = (0.0, 0.0);
    for (&a, &b) in pairs {
        error += f64::from(a - b).powi(2);
        energy += f64::from(a).powi(2);
    }
    error / energy
}

#[test]
fn what_is_restored_does_not_drift_from_what_is_reconstructed() -> Result<()> {
    // A decoder that moves vectors of values rounds less than one that moves components: over hundreds of frames without a random access
    // point that must not add up.
    let (config, layout) = (EncoderConfig { rate_control: RateControl::ConstantQp(4), ..klt() }, maps());
    let (mut encoder, mut decoder) = (Encoder::new(config.clone(), layout.clone())?, decoder(&config)?);
    let mut errors = Vec::new();
    for t in 0..400 {
        let features = panned(&layout, 3, t, 0.7);
        let mut unit = Vec::new();
        encoder.encode(&features.tensors(), FrameRequest::default(), &mut unit)?;
        let Decoded::Frame(mut frame) = decoder.decode(&unit)? else { panic!("awaiting at {t}") };
        errors.push(error(&features, &write_all(&mut frame)));
    }
    let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
    let (early, late) = (mean(&errors[10..60]), mean(&errors[350..]));
    assert!(late < 1.1 * early, "a relative error of {late:e} at the end, {early:e} at the start");
    Ok(())
}
