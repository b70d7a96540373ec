//! Positions that hardly change between frames are neither projected nor coded again, nor are components too weak to give levels.

mod common;
#[path = "common/streams.rs"]
mod streams;

use common::{Features, layout};
use fcm_codec::{
    Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, ErrorKind, FrameRequest, RateControl, Result, Shape,
};
use streams::{expect_exact, transform};

const POSITIONS: usize = 8 * 12;

fn config(skip_threshold: f32) -> EncoderConfig {
    EncoderConfig {
        transform: Some(transform(&[(2, 2, 2, false), (3, 1, 1, false)], 7, 3)),
        rate_control: RateControl::ConstantQp(20),
        key_int_max: 4,
        skip_threshold,
        ..EncoderConfig::default()
    }
}

/// Noise of a hundredth of the deviation on a still scene, and a jump of one value in frames 2 and later.
fn scene(t: u32) -> Features {
    let layout = layout(&[(Shape::chw(2, 16, 24), Dtype::F32), (Shape::chw(3, 8, 12), Dtype::F32)]);
    let mut noise = common::Random(u64::from(t) + 100);
    let layers = layout.layers().iter().map(|l| {
        let still = |i: u64| (i as f32 * 0.7).sin() * 2.0;
        let mut values: Vec<f32> = (0..l.shape.elements()).map(|i| still(i) + 0.02 * noise.signed()).collect();
        if t >= 2 {
            values[30] += 5.0;
        }
        values
    });
    Features::new(&layout, layers.collect())
}

/// Bytes and projected positions of each frame; what is decoded is what the encoder reconstructed.
fn run(skip_threshold: f32) -> Result<Vec<(usize, usize)>> {
    let config = config(skip_threshold);
    let layout = layout(&[(Shape::chw(2, 16, 24), Dtype::F32), (Shape::chw(3, 8, 12), Dtype::F32)]);
    let transforms = config.transform.iter().cloned().collect();
    let mut decoder = Decoder::new(DecoderConfig { transforms, ..DecoderConfig::default() })?;
    let mut encoder = Encoder::new(config, layout)?;
    let mut out = Vec::new();
    for t in 0..6 {
        let mut unit = Vec::new();
        encoder.encode(&scene(t).tensors(), FrameRequest::default(), &mut unit)?;
        expect_exact(&mut decoder, &unit, encoder.reconstruction(), &|| format!("frame {t}"));
        out.push((unit.len(), encoder.projected()));
    }
    Ok(out)
}

#[test]
fn only_positions_that_changed_are_projected_and_random_access_frames_take_all() -> Result<()> {
    let frames = run(0.05)?;
    // Value 30 of the first layer and its counterpart in the second are in one position each.
    assert_eq!(frames.iter().map(|&(_, n)| n).collect::<Vec<_>>(), [POSITIONS, 0, 2, 0, POSITIONS, 0]);
    Ok(())
}

#[test]
fn without_a_threshold_every_frame_is_projected_and_noise_costs_bits() -> Result<()> {
    let (with, without) = (run(0.05)?, run(0.0)?);
    assert!(without.iter().all(|&(_, n)| n == POSITIONS));
    let bytes = |frames: &[(usize, usize)]| frames.iter().map(|&(bytes, _)| bytes).sum::<usize>();
    assert!(bytes(&with) <= bytes(&without), "{} bytes, {} without", bytes(&with), bytes(&without));
    assert_eq!(with[0].0, without[0].0, "a random access frame is the same");
    Ok(())
}

#[test]
fn components_too_weak_for_the_step_are_projected_with_random_access_frames_only() -> Result<()> {
    let layout = layout(&[(Shape::chw(2, 16, 24), Dtype::F32), (Shape::chw(3, 8, 12), Dtype::F32)]);
    let run = |skip_threshold: f32| -> Result<Vec<(usize, usize)>> {
        let config = EncoderConfig { stats_threshold: 0.0, ..config(skip_threshold) };
        let transforms = config.transform.iter().cloned().collect();
        let mut decoder = Decoder::new(DecoderConfig { transforms, ..DecoderConfig::default() })?;
        let mut encoder = Encoder::new(config, layout.clone())?;
        let mut projected = Vec::new();
        for (t, qp) in [34, 40, 20, 34, 34, 34].into_iter().enumerate() {
            encoder.set_rate_control(RateControl::ConstantQp(qp))?;
            let mut unit = Vec::new();
            encoder.encode(&scene(t as u32 % 2).tensors(), FrameRequest::default(), &mut unit)?;
            expect_exact(&mut decoder, &unit, encoder.reconstruction(), &|| format!("frame {t}"));
            projected.push((encoder.projected_components(), encoder.projected()));
        }
        Ok(projected)
    };
    let frames = run(0.05)?;
    // The step is taken from the frame before, as the rate control chooses after the projection.
    assert_eq!((frames[0], frames[4]), ((7, POSITIONS), (7, POSITIONS)));
    assert!((1..7).contains(&frames[1].0) && frames[2] == (frames[1].0, 0), "{frames:?}");
    assert_eq!(frames[3], (7, POSITIONS), "with the finer step of frame 2 in force: {frames:?}");
    assert_eq!(frames[5].0, frames[1].0, "{frames:?}");
    assert!(run(0.0)?.iter().all(|&frame| frame == (7, POSITIONS)));
    Ok(())
}

#[test]
fn an_illegal_threshold_is_named() {
    for threshold in [-1.0, f32::NAN, f32::INFINITY] {
        let layout = layout(&[(Shape::chw(2, 16, 24), Dtype::F32), (Shape::chw(3, 8, 12), Dtype::F32)]);
        let error = Encoder::new(config(threshold), layout).err().expect("illegal");
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains("skip threshold"), "{error}");
    }
}
