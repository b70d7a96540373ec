//! The same input gives the same bytes for any number of threads, and the same bytes give the same frames whatever the
//! decoder did before.

mod common;
#[path = "common/streams.rs"]
mod streams;

use common::{frame, layout, pyramid};
use fcm_codec::{
    Decoded, Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, FrameRequest, Layout, RateControl, Result, Shape,
    StatisticsMode,
};
use streams::{stream, transform, write_all};

fn wide() -> Layout {
    // More grid positions than one block of lanes, cells of several sizes, padding.
    layout(&[(Shape::chw(6, 27, 41), Dtype::F16), (Shape::chw(5, 9, 14), Dtype::F32), (Shape::vector(300), Dtype::F32)])
}

fn configs() -> Vec<(&'static str, Layout, EncoderConfig)> {
    // Cells of 9 x 14: 27 rows of 3, 41 columns of 3.
    let klt = transform(&[(6, 3, 3, false), (5, 1, 1, false), (3, 1, 1, true)], 40, 9);
    let base = || EncoderConfig { key_int_max: 8, stats_period: 3, ..EncoderConfig::default() };
    let rate = RateControl::Bitrate { kbit_per_second: 300, frames_per_second: (25, 1) };
    vec![
        ("dct", pyramid(), base()),
        ("dct, padded", wide(), base()),
        ("klt, padded", wide(), EncoderConfig { transform: Some(klt.clone()), ..base() }),
        (
            "klt, cut, ecs",
            wide(),
            EncoderConfig { transform: Some(klt), components: Some(17), statistics: StatisticsMode::Ecs, ..base() },
        ),
        ("bit rate", pyramid(), EncoderConfig { rate_control: rate, ..base() }),
        ("lossless", pyramid(), EncoderConfig { lossless: true, ..base() }),
    ]
}

#[test]
fn streams_do_not_depend_on_the_number_of_threads() -> Result<()> {
    for (name, layout, config) in configs() {
        let mut streams = Vec::new();
        for threads in [1, 2, 4] {
            let mut encoder = Encoder::new(EncoderConfig { threads, ..config.clone() }, layout.clone())?;
            let (mut bytes, mut kept) = (Vec::new(), Vec::new());
            for t in 0..10 {
                encoder.encode(&frame(&layout, 2, t).tensors(), FrameRequest::default(), &mut bytes)?;
                kept.push((encoder.statistics().clone(), encoder.reconstruction().to_vec()));
            }
            streams.push((bytes, kept));
        }
        assert!(streams[0] == streams[1] && streams[1] == streams[2], "{name}");
    }
    Ok(())
}

/// A decoded frame: its reconstruction, and the bits of its layers.
type Frame = (Vec<i32>, Vec<Vec<u32>>);

/// Every frame of `units` that decodes.
fn decode_all(decoder: &mut Decoder, units: &[Vec<u8>]) -> Result<Vec<Frame>> {
    let mut out = Vec::new();
    for unit in units {
        let layers = match decoder.decode(unit)? {
            Decoded::Frame(mut frame) => write_all(&mut frame),
            Decoded::AwaitingRandomAccess { .. } => continue,
        };
        let bits = layers.iter().map(|l| l.iter().map(|v| v.to_bits()).collect()).collect();
        out.push((decoder.reconstruction().to_vec(), bits));
    }
    Ok(out)
}

#[test]
fn a_decoder_that_joins_late_or_was_reset_equals_the_continuous_one() -> Result<()> {
    for (name, layout, config) in configs() {
        let stream = stream(name, config.clone(), layout, 24);
        let decoder = |threads| {
            let transforms = config.transform.iter().cloned().collect();
            Decoder::new(DecoderConfig { transforms, threads, ..DecoderConfig::default() })
        };
        let whole = decode_all(&mut decoder(1)?, &stream.units)?;
        assert_eq!(whole.len(), 24, "{name}");
        for (t, (reconstruction, _)) in whole.iter().enumerate() {
            assert!(*reconstruction == stream.reconstructions[t], "{name}: frame {t}");
        }
        // Again, with threads, and in the decoder that just decoded something else.
        let mut used = decoder(4)?;
        for start in [1, 8, 11, 16, 0] {
            let late = decode_all(&mut used, &stream.units[start..])?;
            let joined = start.next_multiple_of(8);
            assert!(late == whole[joined..], "{name} from frame {start}");
            used.reset();
        }
        // A reset in the middle of a period waits for the next.
        let mut reset = decoder(1)?;
        decode_all(&mut reset, &stream.units[..5])?;
        reset.reset();
        assert!(decode_all(&mut reset, &stream.units[5..])? == whole[8..], "{name}");
    }
    Ok(())
}

#[test]
fn an_encoder_that_was_reset_writes_the_same_stream_again() -> Result<()> {
    for (name, layout, config) in configs() {
        let mut encoder = Encoder::new(config, layout.clone())?;
        let mut streams = Vec::new();
        for frames in [7, 10, 10] {
            let mut bytes = Vec::new();
            for t in 0..frames {
                encoder.encode(&frame(&layout, 2, t).tensors(), FrameRequest::default(), &mut bytes)?;
            }
            streams.push(bytes);
            encoder.reset();
        }
        assert!(streams[1] == streams[2], "{name}");
        assert!(streams[1].starts_with(&streams[0]), "{name}");
    }
    Ok(())
}
