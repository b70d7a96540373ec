//! Features in the shapes of a nano detector, coded once and sent by all senders.

use anyhow::{Context, Result};
use fcm_codec::reduction::calibrate::{Calibrator, IntraTrainer};
use fcm_codec::{Dtype, Layer, Layout, Limits, Shape, TensorRef};
use gst::prelude::*;
use std::path::Path;

/// YOLOX-nano 608×1088 after its neck: 1,157,632 values.
pub const SHAPES: [(u32, u32, u32); 3] = [(64, 76, 136), (128, 38, 68), (256, 19, 34)];

/// A coded stream: packetized access units, the first of which is random access.
#[derive(Clone)]
pub struct Coded {
    pub caps: gst::Caps,
    pub units: Vec<gst::Buffer>,
}

impl Coded {
    /// Mean rate at `fps` frames a second, kbit/s.
    pub fn rate(&self, fps: u32) -> f64 {
        let bytes: usize = self.units.iter().map(|unit| unit.size()).sum();
        bytes as f64 * 8.0 * f64::from(fps) / self.units.len() as f64 / 1000.0
    }
}

struct Random(u64);

impl Random {
    /// From −1 to 1 (splitmix64).
    fn signed(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ z >> 31) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Frame `t`: in every channel a drifting wave through a leaky rectifier, and a little noise.
pub fn frame(shapes: &[(u32, u32, u32)], t: u32) -> Vec<Vec<f32>> {
    let layer = |(n, &(channels, height, width)): (usize, &(u32, u32, u32))| {
        let (mut random, mut noise) = (Random(n as u64), Random(u64::from(t) << 8 | n as u64));
        let mut values = Vec::with_capacity((channels * height * width) as usize);
        for _ in 0..channels {
            let [fx, fy, phase, gain] = [(); 4].map(|()| random.signed());
            let mean = random.signed() + n as f32;
            for y in 0..height {
                for x in 0..width {
                    let (u, v) = ((x as f32 + 0.1 * t as f32) / width as f32, y as f32 / height as f32);
                    let wave = (6.0 * fx * u + 5.0 * fy * v + 3.0 * phase).sin() * 2.0 * gain + 0.05 * noise.signed();
                    values.push(mean + if wave < 0.0 { 0.1 * wave } else { wave });
                }
            }
        }
        values
    };
    shapes.iter().enumerate().map(layer).collect()
}

/// Raw caps of these shapes.
pub fn caps(shapes: &[(u32, u32, u32)], fps: u32) -> gst::Caps {
    let dimensions: Vec<String> = shapes.iter().map(|(c, h, w)| format!("{w}:{h}:{c}")).collect();
    gst::Caps::builder("other/tensors")
        .field("format", "static")
        .field("num_tensors", shapes.len() as i32)
        .field("types", vec!["float32"; shapes.len()].join(","))
        .field("dimensions", dimensions.join(","))
        .field("framerate", gst::Fraction::new(fps as i32, 1))
        .build()
}

/// A raw buffer of frame `t`.
pub fn buffer(shapes: &[(u32, u32, u32)], t: u32) -> gst::Buffer {
    let mut buffer = gst::Buffer::new();
    let unshared = buffer.get_mut().expect("new");
    for layer in frame(shapes, t) {
        unshared.append_memory(gst::Memory::from_slice(bytemuck::cast_slice::<f32, u8>(&layer).to_vec()));
    }
    buffer
}

/// Calibrates a transform of `components` components and writes it to `path`.
pub fn calibrate(shapes: &[(u32, u32, u32)], components: u32, path: &Path) -> Result<()> {
    let limits = Limits::default();
    let layers = shapes.iter().map(|&(c, h, w)| Layer::new("", Shape::chw(c, h, w), Dtype::F32));
    let layout = Layout::new(layers.collect(), &limits)?;
    let each = |take: &mut dyn FnMut(&[TensorRef<'_>]) -> fcm_codec::Result<()>| {
        (0..24).try_for_each(|t| {
            let values = frame(shapes, 1000 + 17 * t);
            take(&values.iter().map(|layer| TensorRef::F32(layer)).collect::<Vec<_>>())
        })
    };
    let mut calibrator = Calibrator::new(layout.clone(), &limits)?;
    each(&mut |tensors| calibrator.add(tensors))?;
    let mut trainer = IntraTrainer::new(&calibrator.finish(Some(components))?, layout, &limits)?;
    each(&mut |tensors| trainer.add(tensors))?;
    std::fs::write(path, trainer.finish()?.to_bytes())?;
    Ok(())
}

/// Codes `frames` frames with these properties of `fcmenc`.
pub fn code(shapes: &[(u32, u32, u32)], frames: u32, fps: u32, encoder: &str) -> Result<Coded> {
    let description = format!(
        "appsrc name=src format=time block=true max-buffers=2 max-bytes=0 ! fcmenc {encoder} \
         ! application/x-fcm,stream-format=packetized ! appsink name=out sync=false"
    );
    let pipeline = gst::parse::launch(&description)?.downcast::<gst::Pipeline>().ok().context("no pipeline")?;
    let source = pipeline.by_name("src").and_downcast::<gst_app::AppSrc>().context("no appsrc")?;
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().context("no appsink")?;
    source.set_caps(Some(&caps(shapes, fps)));
    pipeline.set_state(gst::State::Playing)?;
    let mut coded = Coded { caps: gst::Caps::new_empty(), units: Vec::new() };
    for t in 0..frames {
        source.push_buffer(buffer(shapes, t))?;
        let sample = sink.pull_sample().context("the encoder failed")?;
        coded.caps = sample.caps_owned().context("no caps")?;
        coded.units.push(sample.buffer_owned().context("no buffer")?);
    }
    pipeline.set_state(gst::State::Null)?;
    Ok(coded)
}
