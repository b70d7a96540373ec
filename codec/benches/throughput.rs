//! Throughput of the codec on the shapes of a nano detector at 608 × 1088 (1,157,632 values a frame, D = 1792, K = 640), on one and two
//! threads, with the share of each stage and the bounds that they stand under, measured in the same run:
//! the statistics pass against reading memory, the projection against a general matrix crate and the machine's multiply–add rate.
//!
//! `cargo bench -p fcm-codec --features calibrate --bench throughput [-- --json]`. Features are made here: drifting waves with noise in
//! every channel, so the transform, the sparsity and the rate are of real size though the scene is not.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Features, frame, layout};
use fcm_codec::reduction::calibrate::{Calibrator, IntraTrainer};
use fcm_codec::{
    Decoded, Decoder, DecoderConfig, Dtype, Encoder, EncoderConfig, FrameRequest, Layout, Limits, RateControl, Result,
    Shape, TensorMut, Transform,
};
use half::f16;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const K: u32 = 640;
const FRAMES: u32 = 32;
const ROUNDS: usize = 5;

/// What one configuration took.
#[derive(Default, Clone, Copy)]
struct Figures {
    encode: f64,
    decode: f64,
    statistics: f64,
    gather: f64,
    project: f64,
    quantise: f64,
    code: f64,
    kbit: f64,
}

fn main() -> Result<()> {
    let json = std::env::args().any(|a| a == "--json");
    let shapes = [Shape::chw(64, 76, 136), Shape::chw(128, 38, 68), Shape::chw(256, 19, 34)];
    let narrow = layout(&shapes.map(|s| (s, Dtype::F16)));
    let wide = layout(&shapes.map(|s| (s, Dtype::F32)));
    eprintln!("making {FRAMES} frames and calibrating on 24 others …");
    let frames: Vec<Features> = (0..FRAMES).map(|t| frame(&wide, 11, t)).collect();
    let halves: Vec<Features> = frames.iter().map(|f| Features::new(&narrow, f.wide.clone())).collect();
    let transform = Arc::new(calibrate(&wide)?);

    let read = read_bandwidth();
    let gemm = general_product();
    let peak = multiply_add_peak();
    // The statistics stage reads the layers and the fused tensor.
    let bytes = wide.bytes() as f64 + f64::from(K) * 646.0 * 4.0;
    let flop = 2.0 * f64::from(K) * 1792.0 * 646.0;
    let mut rows = Vec::new();
    for (name, layout, frames, threads) in [
        ("f32", &wide, &frames, 1),
        ("f16", &narrow, &halves, 1),
        ("f32", &wide, &frames, 2),
        ("f16", &narrow, &halves, 2),
    ] {
        rows.push((name, threads, measure(layout, frames, &transform, threads)?));
    }
    let one = rows[0].2;
    let statistics_read = bytes / one.statistics / 1e9;
    if json {
        let rows: Vec<String> = rows.iter().map(|(n, t, f)| json_row(n, *t, f)).collect();
        println!(
            "{{\"rows\":[{}],\"read_gb_s\":{read:.2},\"statistics_gb_s\":{statistics_read:.2},\"gemm_gflop_s\":{gemm:.1},\
             \"project_gflop_s\":{:.1},\"peak_gflop_s\":{peak:.1}}}",
            rows.join(","),
            flop / one.project / 1e9
        );
        return Ok(());
    }
    println!(
        "| values | threads | encode | decode | statistics | gather | project | quantise | code | kbit/s at 25 fps |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (name, threads, f) in &rows {
        let share = |t: f64| format!("{:.2} ms ({:.0} %)", t * 1e3, 100.0 * t / f.encode);
        println!(
            "| {name} | {threads} | {:.1} fps | {:.1} fps | {} | {} | {} | {} | {} | {:.0} |",
            1.0 / f.encode,
            1.0 / f.decode,
            share(f.statistics),
            share(f.gather),
            share(f.project),
            share(f.quantise),
            share(f.code),
            f.kbit
        );
    }
    println!();
    println!("| bound | measured | stage | share of the bound |");
    println!("|---|---|---|---|");
    println!(
        "| reading memory, one thread | {read:.1} GB/s | statistics of layers and fused tensor: {statistics_read:.1} GB/s | {:.0} % |",
        100.0 * statistics_read / read
    );
    println!(
        "| gemm crate, same product, one thread | {gemm:.0} GFLOP/s | projection: {:.0} GFLOP/s | {:.0} % |",
        flop / one.project / 1e9,
        100.0 * flop / one.project / 1e9 / gemm
    );
    println!(
        "| multiply–add in registers, one thread | {peak:.0} GFLOP/s | projection | {:.0} % |",
        100.0 * flop / one.project / 1e9 / peak
    );
    Ok(())
}

fn json_row(name: &str, threads: usize, f: &Figures) -> String {
    format!(
        "{{\"values\":\"{name}\",\"threads\":{threads},\"encode_fps\":{:.2},\"decode_fps\":{:.2},\"statistics_ms\":{:.3},\"gather_ms\":{:.3},\
         \"project_ms\":{:.3},\"quantise_ms\":{:.3},\"code_ms\":{:.3},\"kbit_s\":{:.1}}}",
        1.0 / f.encode,
        1.0 / f.decode,
        f.statistics * 1e3,
        f.gather * 1e3,
        f.project * 1e3,
        f.quantise * 1e3,
        f.code * 1e3,
        f.kbit
    )
}

fn calibrate(layout: &Layout) -> Result<Transform> {
    let mut calibrator = Calibrator::new(layout.clone(), &Limits::default())?;
    let frames = || (0..24).map(|t| frame(layout, 11, 1000 + 17 * t));
    frames().try_for_each(|features| calibrator.add(&features.tensors()))?;
    let mut trainer = IntraTrainer::new(&calibrator.finish(Some(K))?, layout.clone(), &Limits::default())?;
    frames().try_for_each(|features| trainer.add(&features.tensors()))?;
    trainer.finish()
}

/// The best of several rounds over all frames, each stage by itself: a shared machine only ever adds time.
fn measure(layout: &Layout, frames: &[Features], transform: &Arc<Transform>, threads: usize) -> Result<Figures> {
    let mut best = Figures { encode: f64::MAX, decode: f64::MAX, statistics: f64::MAX, ..Figures::default() };
    for _ in 0..ROUNDS {
        let f = round(layout, frames, transform, threads)?;
        if f.encode < best.encode {
            best = Figures { decode: best.decode, statistics: best.statistics, ..f };
        }
        best.decode = best.decode.min(f.decode);
        best.statistics = best.statistics.min(f.statistics);
    }
    Ok(best)
}

fn round(layout: &Layout, frames: &[Features], transform: &Arc<Transform>, threads: usize) -> Result<Figures> {
    let config = EncoderConfig {
        transform: Some(transform.clone()),
        rate_control: RateControl::ConstantQp(26),
        // The most work that a frame can be, however still the scene is.
        skip_threshold: 0.0,
        threads,
        ..EncoderConfig::default()
    };
    let mut encoder = Encoder::new(config, layout.clone())?;
    let mut decoder =
        Decoder::new(DecoderConfig { transforms: vec![transform.clone()], threads, ..DecoderConfig::default() })?;
    let sizes: Vec<usize> = layout.layers().iter().map(|l| l.shape.elements() as usize).collect();
    let mut wide: Vec<Vec<f32>> = sizes.iter().map(|&n| vec![0.0; n]).collect();
    let mut narrow: Vec<Vec<f16>> = sizes.iter().map(|&n| vec![f16::ZERO; n]).collect();
    let (mut encode, mut decode, mut bytes, mut unit) = (Duration::ZERO, Duration::ZERO, 0, Vec::new());
    let mut stages = [Duration::ZERO; 5];
    for features in frames {
        unit.clear();
        let tensors = features.tensors();
        let start = Instant::now();
        let t = encoder.encode(&tensors, FrameRequest::default(), &mut unit)?.times;
        encode += start.elapsed();
        for (sum, stage) in stages.iter_mut().zip([t.statistics, t.gather, t.project, t.quantise, t.code]) {
            *sum += stage;
        }
        bytes += unit.len();
        let start = Instant::now();
        let Decoded::Frame(mut frame) = decoder.decode(&unit)? else {
            unreachable!("every frame follows the one before")
        };
        for n in 0..sizes.len() {
            match layout.layers()[n].dtype {
                Dtype::F32 => frame.write(n, TensorMut::F32(&mut wide[n]))?,
                Dtype::F16 => frame.write(n, TensorMut::F16(&mut narrow[n]))?,
            }
        }
        decode += start.elapsed();
    }
    let n = frames.len() as f64;
    let [statistics, gather, project, quantise, code] = stages.map(|s| s.as_secs_f64() / n);
    let kbit = bytes as f64 * 8.0 * 25.0 / 1000.0 / n;
    Ok(Figures {
        encode: encode.as_secs_f64() / n,
        decode: decode.as_secs_f64() / n,
        statistics,
        gather,
        project,
        quantise,
        code,
        kbit,
    })
}

fn best_of(runs: usize, mut work: impl FnMut()) -> f64 {
    let time = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..runs).map(|_| time(&mut work)).fold(f64::MAX, f64::min)
}

/// GB/s of summing 128 MiB on one thread: more than any cache holds.
fn read_bandwidth() -> f64 {
    let values = vec![1u64; 16 << 20];
    let seconds = best_of(10, || {
        let sum = pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                values.chunks_exact(64).fold([0u64; 64], |mut sums, chunk| {
                    sums.iter_mut().zip(chunk).for_each(|(s, v)| *s = s.wrapping_add(*v));
                    sums
                })
            },
        );
        black_box(sum);
    });
    values.len() as f64 * 8.0 / seconds / 1e9
}

/// GFLOP/s of the `gemm` crate on the projection's shapes, one thread.
fn general_product() -> f64 {
    let (m, n, k) = (K as usize, 646, 1792);
    let matrix: Vec<f32> = (0..m * k).map(|i| (i % 1000) as f32 * 1e-3 - 0.5).collect();
    let panel: Vec<f32> = (0..k * n).map(|i| (i % 997) as f32 * 1e-3 - 0.5).collect();
    let mut out = vec![0f32; m * n];
    let seconds = best_of(20, || {
        // SAFETY: the pointers are to m × n, m × k and k × n values with the strides given, row-major all three.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out.as_mut_ptr(),
                1,
                n as isize,
                false,
                matrix.as_ptr(),
                1,
                k as isize,
                panel.as_ptr(),
                1,
                n as isize,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    });
    black_box(&out);
    2.0 * (m * n * k) as f64 / seconds / 1e9
}

/// GFLOP/s of multiply–adds on independent registers, one thread.
fn multiply_add_peak() -> f64 {
    struct Peak;
    impl pulp::WithSimd for Peak {
        type Output = f64;

        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, simd: S) -> f64 {
            let steps = 4_000_000usize;
            let (a, b) = (simd.splat_f32s(black_box(0.999)), simd.splat_f32s(black_box(0.001)));
            let mut acc = [simd.splat_f32s(1.0); 12];
            let start = Instant::now();
            for _ in 0..steps {
                for acc in &mut acc {
                    *acc = simd.mul_add_e_f32s(*acc, a, b);
                }
            }
            let seconds = start.elapsed().as_secs_f64();
            black_box(acc.map(|v| simd.reduce_sum_f32s(v)));
            2.0 * 12.0 * (steps * S::F32_LANES) as f64 / seconds / 1e9
        }
    }
    (0..5).map(|_| pulp::Arch::new().dispatch(Peak)).fold(0.0, f64::max)
}
