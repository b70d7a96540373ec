//! Relevance (docs/bitstream.md §5.4): positions that matter are coded finer, and both regions get statistics of their own back.
#![cfg(feature = "calibrate")]

mod common;

use common::layers::write_all;
use common::{Features, Random, frame, pyramid};
use fcm_codec::reduction::calibrate::Calibrator;
use fcm_codec::reduction::relevance::{Probe, ProbeTrainer};
use fcm_codec::{
    Decoded, Decoder, DecoderConfig, Encoder, EncoderConfig, FrameRequest, Layout, Limits, RateControl, Result,
    StatisticsMode, StreamFormat, Transform,
};
use std::sync::Arc;

const GRID: (usize, usize) = (6, 10);

/// Frame `t`, with something at (`row`, `column`) of the grid: its cells of all layers have other values.
fn street(layout: &Layout, t: u32, row: usize, column: usize) -> Features {
    let mut wide = frame(layout, 3, t).wide;
    let mut random = Random(u64::from(t) + 77);
    for (layer, values) in layout.layers().iter().zip(&mut wide) {
        let (h, w) = (layer.shape.height() as usize, layer.shape.width() as usize);
        let (rows, columns) = (h / GRID.0, w / GRID.1);
        for (n, value) in values.iter_mut().enumerate() {
            let (y, x) = (n / w % h / rows, n % w / columns);
            if (y, x) == (row, column) {
                *value += if n / (h * w) % 2 == 0 { 4.0 } else { -3.0 } + 2.0 * random.signed();
            }
        }
    }
    Features::new(layout, wide)
}

fn place(t: u32) -> (usize, usize) {
    (1 + t as usize / 4 % 4, 1 + t as usize % 8)
}

/// A transform of those scenes whose probe finds the thing.
fn transform(layout: &Layout) -> Result<Arc<Transform>> {
    let mut calibrator = Calibrator::new(layout.clone(), &Limits::default())?;
    for t in 0..40 {
        let (row, column) = place(t);
        calibrator.add(&street(layout, t, row, column).tensors())?;
    }
    let transform = calibrator.finish(Some(64))?;
    let mut trainer = ProbeTrainer::new(&transform, layout.clone(), &Limits::default())?;
    assert_eq!(trainer.grid(), GRID);
    for t in 0..40 {
        let (row, column) = place(t);
        let labels: Vec<bool> = (0..GRID.0 * GRID.1).map(|p| p == row * GRID.1 + column).collect();
        trainer.add(&street(layout, t, row, column).tensors(), &labels)?;
    }
    Ok(Arc::new(transform.with_probe(trainer.finish()?)?))
}

fn config(transform: &Arc<Transform>, offset: u8) -> EncoderConfig {
    EncoderConfig {
        rate_control: RateControl::ConstantQp(22),
        transform: Some(transform.clone()),
        background_offset: offset,
        key_int_max: 8,
        ..EncoderConfig::default()
    }
}

fn decoder(transform: &Arc<Transform>) -> Result<Decoder> {
    Decoder::new(DecoderConfig { transforms: vec![transform.clone()], ..DecoderConfig::default() })
}

fn layers(decoder: &mut Decoder, unit: &[u8]) -> Result<Vec<Vec<f32>>> {
    let Decoded::Frame(mut frame) = decoder.decode(unit)? else { panic!("awaiting a random access point") };
    let layers = frame.layout().layers().to_vec();
    write_all(&layers, |n, out| frame.write(n, out))
}

/// Values of layer `n` at the positions of one relevance.
fn region(layout: &Layout, n: usize, values: &[f32], relevance: &[u8], wanted: u8) -> Vec<f32> {
    let (h, w) = (layout.layers()[n].shape.height() as usize, layout.layers()[n].shape.width() as usize);
    let position = |i: usize| (i / w % h) / (h / GRID.0) * GRID.1 + i % w / (w / GRID.1);
    values.iter().enumerate().filter(|(i, _)| relevance[position(*i)] == wanted).map(|(_, &v)| v).collect()
}

#[test]
fn the_thing_is_found_and_decoder_and_encoder_agree_in_every_mode() -> Result<()> {
    let layout = pyramid();
    let transform = transform(&layout)?;
    for statistics in StatisticsMode::ALL {
        for format in [StreamFormat::ByteStream, StreamFormat::Packetized] {
            let mut encoder =
                Encoder::new(EncoderConfig { statistics, format, ..config(&transform, 6) }, layout.clone())?;
            let (mut decoder, mut found) = (decoder(&transform)?, 0);
            for t in 0..20 {
                let (row, column) = place(t);
                let features = street(&layout, t, row, column);
                let mut unit = Vec::new();
                let encoded = encoder.encode(&features.tensors(), FrameRequest::default(), &mut unit)?;
                assert_eq!(encoded.bytes, unit.len());
                found += u32::from(encoder.relevance()[row * GRID.1 + column] == 0);
                let background = encoder.relevance().iter().filter(|&&r| r == 1).count();
                assert!(background > GRID.0 * GRID.1 / 4, "{statistics:?} frame {t}: {background}");
                layers(&mut decoder, &unit)?;
                assert_eq!(encoder.reconstruction(), decoder.reconstruction(), "{statistics:?} frame {t}");
            }
            assert!(decoder.sequence().is_some_and(|s| s.relevance));
            // The probe's threshold lets 95 % of the calibration's relevant positions pass.
            assert!(found >= 18, "{statistics:?}: found in {found} of 20 frames");
        }
    }
    Ok(())
}

#[test]
fn the_background_costs_less_and_relevant_positions_stay_as_good() -> Result<()> {
    let layout = pyramid();
    let transform = transform(&layout)?;
    let mut bytes = [0, 0];
    let mut errors = [[0.0f64; 2]; 2];
    // The map of the coarser stream says what is relevant in both.
    let mut maps = Vec::new();
    for (i, offset) in [12, 0].into_iter().enumerate() {
        let statistics = StatisticsMode::None;
        let mut encoder = Encoder::new(EncoderConfig { statistics, ..config(&transform, offset) }, layout.clone())?;
        let mut decoder = decoder(&transform)?;
        for t in 0..16 {
            let (row, column) = place(t);
            let features = street(&layout, 200 + t, row, column);
            let mut unit = Vec::new();
            encoder.encode(&features.tensors(), FrameRequest::default(), &mut unit)?;
            bytes[i] += unit.len();
            if i == 0 {
                maps.push(encoder.relevance().to_vec());
            }
            for (n, decoded) in layers(&mut decoder, &unit)?.iter().enumerate() {
                for wanted in [0, 1] {
                    let part = |values: &[f32]| region(&layout, n, values, &maps[t as usize], wanted);
                    let difference = part(&features.wide[n]).into_iter().zip(part(decoded));
                    errors[i][usize::from(wanted)] += difference.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
                }
            }
        }
    }
    let [with, without] = errors;
    assert!(bytes[0] * 10 < bytes[1] * 9, "{bytes:?} bytes with and without");
    assert!(with[0] < 1.25 * without[0], "relevant positions: {with:?} against {without:?}");
    assert!(with[1] > 1.5 * without[1], "background: {with:?} against {without:?}");
    Ok(())
}

#[test]
fn both_regions_get_their_mean_and_deviation_back() -> Result<()> {
    let layout = pyramid();
    let transform = transform(&layout)?;
    let mut encoder = Encoder::new(config(&transform, 18), layout.clone())?;
    let mut decoder = decoder(&transform)?;
    let (row, column) = place(9);
    let features = street(&layout, 300, row, column);
    let mut unit = Vec::new();
    encoder.encode(&features.tensors(), FrameRequest::default(), &mut unit)?;
    let decoded = layers(&mut decoder, &unit)?;
    for (n, layer) in layout.layers().iter().enumerate() {
        for wanted in [0, 1] {
            let part = |values: &[f32]| common::mean_std(&region(&layout, n, values, encoder.relevance(), wanted));
            let original: Vec<f32> = match layer.dtype {
                fcm_codec::Dtype::F32 => features.wide[n].clone(),
                fcm_codec::Dtype::F16 => features.narrow[n].iter().map(|v| v.to_f32()).collect(),
            };
            let ((mean, std_dev), (to_mean, to_std_dev)) = (part(&decoded[n]), part(&original));
            assert!((mean - to_mean).abs() < 2e-3 * to_std_dev, "layer {n} region {wanted}: {mean} {to_mean}");
            assert!((std_dev / to_std_dev - 1.0).abs() < 2e-3, "layer {n} region {wanted}: {std_dev} {to_std_dev}");
        }
    }
    Ok(())
}

#[test]
fn damage_is_an_error_or_garbage_never_a_panic() -> Result<()> {
    let layout = pyramid();
    let transform = transform(&layout)?;
    let mut encoder = Encoder::new(config(&transform, 6), layout.clone())?;
    let mut units = Vec::new();
    for t in 0..3 {
        let mut unit = Vec::new();
        encoder.encode(&street(&layout, t, 2, 3).tensors(), FrameRequest::default(), &mut unit)?;
        units.push(unit);
    }
    let mut random = Random(5);
    for round in 0..400 {
        let mut decoder = decoder(&transform)?;
        let mut bad = units.clone();
        let at = random.next() as usize % bad.len();
        let byte = random.next() as usize % bad[at].len();
        if round % 3 == 0 {
            bad[at].truncate(byte);
        } else {
            bad[at][byte] ^= 1 << (round % 8);
        }
        for unit in &bad {
            let _ = decoder.decode(unit);
        }
    }
    Ok(())
}

#[test]
fn an_offset_without_a_probe_or_out_of_range_is_refused() -> Result<()> {
    let layout = pyramid();
    let with = transform(&layout)?;
    let error = |c: EncoderConfig| Encoder::new(c, layout.clone()).err().expect("an error").to_string();
    assert!(error(EncoderConfig { transform: None, ..config(&with, 3) }).contains("only 0 is legal"));
    assert!(error(config(&with, 64)).contains("background offset of 64, legal are 0 to 63"));
    // Not by default either.
    let plain = EncoderConfig { transform: Some(with), ..EncoderConfig::default() };
    let mut encoder = Encoder::new(plain, layout.clone())?;
    let mut unit = Vec::new();
    encoder.encode(&street(&layout, 0, 1, 1).tensors(), FrameRequest::default(), &mut unit)?;
    assert!(!encoder.sequence().relevance);
    Ok(())
}

#[test]
fn a_trainer_needs_both_kinds_of_positions() -> Result<()> {
    let layout = pyramid();
    let transform = transform(&layout)?;
    let mut trainer = ProbeTrainer::new(&transform, layout.clone(), &Limits::default())?;
    let features = street(&layout, 0, 1, 1);
    assert!(trainer.add(&features.tensors(), &[true]).is_err());
    trainer.add(&features.tensors(), &[false; 60])?;
    assert!(trainer.finish().err().is_some_and(|e| e.to_string().contains("0 relevant and 60 other positions")));
    assert!(Probe::new(0.0, vec![f32::INFINITY]).is_err());
    Ok(())
}
