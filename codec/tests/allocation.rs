//! In steady state coding takes no memory from the heap: nothing is allocated for a frame once every kind of frame was seen.

mod common;
#[path = "common/counting.rs"]
mod counting;
#[path = "common/networks.rs"]
mod networks;
#[path = "common/streams.rs"]
mod streams;

use common::{Features, frame, layout};
use fcm_codec::reduction::learned::InferenceRuntime;
use fcm_codec::{
    Decoded, Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, FrameRequest, RateControl, Result, Shape,
    StatisticsMode, StreamFormat, TensorMut,
};
use half::f16;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Buffers for every layer, both types.
struct Output {
    wide: Vec<Vec<f32>>,
    narrow: Vec<Vec<f16>>,
}

/// Decodes `unit`, writes every layer, and returns how many allocations that took.
fn decode(decoder: &mut Decoder, unit: &[u8], output: &mut Output) -> Result<u64> {
    let before = counting::allocations();
    let Decoded::Frame(mut frame) = decoder.decode(unit)? else { panic!("a frame was expected") };
    for n in 0..output.wide.len() {
        match frame.layout().layers()[n].dtype {
            Dtype::F32 => frame.write(n, TensorMut::F32(&mut output.wide[n]))?,
            Dtype::F16 => frame.write(n, TensorMut::F16(&mut output.narrow[n]))?,
        }
    }
    Ok(counting::allocations() - before)
}

#[test]
fn no_allocation_per_frame_once_a_period_has_passed() -> Result<()> {
    const PERIOD: u32 = 6;
    let cells = [(4, 2, 2, false), (6, 1, 1, false), (1, 1, 1, true)];
    let rate = RateControl::Bitrate { kbit_per_second: 200, frames_per_second: (25, 1) };
    for dtype in [Dtype::F32, Dtype::F16] {
        let layout =
            layout(&[(Shape::chw(4, 15, 20), dtype), (Shape::chw(6, 8, 10), dtype), (Shape::vector(60), dtype)]);
        let basis = Arc::new(streams::Basis::new(&cells, 16, 1));
        let learned = networks::pair(&basis, networks::SOUND, networks::SOUND);
        let runtime: Arc<dyn InferenceRuntime> = Arc::new(networks::Linear(basis.clone()));
        let weighted = basis.transform().with_intra_weights(vec![[40, 30, -20]; 16])?;
        for transform in [None, Some(basis.transform()), Some(weighted), Some(learned)].map(|t| t.map(Arc::new)) {
            for statistics in StatisticsMode::ALL {
                for rate_control in [RateControl::ConstantQp(20), rate] {
                    let config = EncoderConfig {
                        rate_control,
                        statistics,
                        transform: transform.clone(),
                        runtime: Some(runtime.clone()),
                        key_int_max: PERIOD,
                        stats_period: 2,
                        format: StreamFormat::ByteStream,
                        ..EncoderConfig::default()
                    };
                    let what = format!("{dtype:?}, {statistics:?}, {transform:?}, {rate_control:?}");
                    let mut encoder = Encoder::new(config, layout.clone())?;
                    let transforms = transform.iter().cloned().collect();
                    let mut decoder = Decoder::new(DecoderConfig {
                        transforms,
                        runtime: Some(runtime.clone()),
                        ..DecoderConfig::default()
                    })?;
                    let mut output = Output {
                        wide: layout.layers().iter().map(|l| vec![0.0; l.shape.elements() as usize]).collect(),
                        narrow: layout.layers().iter().map(|l| vec![f16::ZERO; l.shape.elements() as usize]).collect(),
                    };
                    // The same period again and again: content of constant statistics.
                    let period: Vec<Features> = (0..PERIOD).map(|t| frame(&layout, 12, t)).collect();
                    let mut unit = Vec::with_capacity(1 << 16);
                    // A bit rate settles slowly; buffers grow with the largest frame seen.
                    let warm_up = if rate_control == rate { 40 } else { 1 };
                    for (round, features) in (0..warm_up + 3).flat_map(|r| period.iter().map(move |f| (r, f))) {
                        unit.clear();
                        let tensors = features.tensors();
                        let before = counting::allocations();
                        let encoded = encoder.encode(&tensors, FrameRequest::default(), &mut unit)?;
                        let encoding = counting::allocations() - before;
                        let decoding = decode(&mut decoder, &unit, &mut output)?;
                        if round >= warm_up {
                            let frame = encoded.index;
                            assert_eq!((encoding, decoding), (0, 0), "{what}, frame {frame}, {:?}", encoded.kind);
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn the_counter_counts() {
    let before = counting::allocations();
    let values = std::hint::black_box(vec![1u8; 100]);
    assert_eq!(counting::allocations() - before, 1);
    let mark = counting::peak_since_here();
    drop(std::hint::black_box(vec![1u8; 5000]));
    assert!((5000..6000).contains(&mark.bytes()), "{}", mark.bytes());
    drop(values);
}
