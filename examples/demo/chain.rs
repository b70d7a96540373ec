//! The pipeline of the demo: `appsrc ! fcmenc ! fcmparse ! fcmdec ! appsink`, with what passes through it measured.

use crate::features::Features;
use crate::measure::LayerMeasure;
use anyhow::{Context, Result, bail, ensure};
use fcm_codec::{Layout, StatisticsMode};
use gst::prelude::*;
use half::f16;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Frames a second that rates are counted at.
pub const FRAME_RATE: u32 = 25;

/// How long the last frames may take.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(300);

/// Settings of one run.
#[derive(Clone)]
pub struct Settings {
    pub qp: u32,
    pub statistics: StatisticsMode,
    pub transform: PathBuf,
}

/// What became of one frame.
#[derive(Clone, Copy)]
pub struct Coded {
    pub bytes: usize,
    pub random_access: bool,
}

/// What came out of one run.
pub struct Run {
    pub settings: Settings,
    pub coded: Vec<Coded>,
    pub layers: Vec<LayerMeasure>,
    pub encode: Duration,
    pub decode: Duration,
}

impl Run {
    pub fn kbit_per_second(&self) -> f64 {
        let bytes: usize = self.coded.iter().map(|c| c.bytes).sum();
        bytes as f64 * 8.0 * f64::from(FRAME_RATE) / self.coded.len() as f64 / 1000.0
    }
}

/// A frame's tensor, lent to GStreamer as bytes.
struct TensorBytes(Vec<f16>);

impl AsRef<[u8]> for TensorBytes {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// The caps of raw features: dimensions innermost first, as NNStreamer writes them.
fn caps(layout: &Layout) -> gst::Caps {
    let list = |f: &dyn Fn(&fcm_codec::Layer) -> String| layout.layers().iter().map(f).collect::<Vec<_>>().join(",");
    gst::Caps::builder("other/tensors")
        .field("format", "static")
        .field("num_tensors", layout.layers().len() as i32)
        .field("types", list(&|_| "float16".into()))
        .field("dimensions", list(&|l| format!("{}:{}:{}:1", l.shape.width(), l.shape.height(), l.shape.channels())))
        .field("framerate", gst::Fraction::new(FRAME_RATE as i32, 1))
        .build()
}

/// The elements between source and sink, as gst-launch-1.0 would take them.
pub fn description(layout: &Layout, settings: &Settings) -> String {
    let location = |p: &Path| p.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    let transform = location(&settings.transform);
    let names = layout.layers().iter().map(|l| l.name.as_str()).collect::<Vec<_>>().join(",");
    format!(
        "appsrc name=in ! fcmenc name=enc qp={} statistics={} tensor-names={names} transform=\"{transform}\" \
         ! fcmparse name=parse ! fcmdec name=dec transform=\"{transform}\" ! appsink name=out",
        settings.qp,
        settings.statistics.name(),
    )
}

/// Sums the time that an element keeps the streaming thread between taking a buffer and handing one on.
fn stopwatch(element: &gst::Element) -> Result<Arc<Mutex<Duration>>> {
    let total = Arc::new(Mutex::new(Duration::ZERO));
    let started = Arc::new(Mutex::new(Instant::now()));
    let pad = |name| element.static_pad(name).with_context(|| format!("{} has no pad {name}", element.name()));
    let begin = started.clone();
    pad("sink")?.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        *begin.lock().unwrap() = Instant::now();
        gst::PadProbeReturn::Ok
    });
    let sum = total.clone();
    pad("src")?.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        *sum.lock().unwrap() += started.lock().unwrap().elapsed();
        gst::PadProbeReturn::Ok
    });
    Ok(total)
}

/// Sends every frame of `features` through the pipeline and measures what comes out.
pub fn run(features: &Arc<Features>, settings: &Settings) -> Result<Run> {
    let pipeline =
        gst::parse::launch(&description(&features.layout, settings))?.downcast::<gst::Pipeline>().expect("a pipeline");
    let element = |name| pipeline.by_name(name).with_context(|| format!("no element {name}"));
    let source = element("in")?.downcast::<gst_app::AppSrc>().expect("an appsrc");
    let sink = element("out")?.downcast::<gst_app::AppSink>().expect("an appsink");
    source.set_caps(Some(&caps(&features.layout)));
    source.set_format(gst::Format::Time);
    source.set_block(true);
    source.set_max_bytes(4 * features.bytes_per_frame());
    sink.set_property("sync", false);

    let encode = stopwatch(&element("enc")?)?;
    let decode = stopwatch(&element("dec")?)?;
    let coded = Arc::new(Mutex::new(Vec::new()));
    let list = coded.clone();
    element("parse")?.static_pad("src").context("fcmparse has no pad src")?.add_probe(
        gst::PadProbeType::BUFFER,
        move |_, info| {
            if let Some(buffer) = info.buffer() {
                let random_access = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
                list.lock().unwrap().push(Coded { bytes: buffer.size(), random_access });
            }
            gst::PadProbeReturn::Ok
        },
    );

    let layers = Arc::new(Mutex::new(vec![LayerMeasure::default(); features.layout.layers().len()]));
    let (originals, measures, mut frame) = (features.clone(), layers.clone(), 0);
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                let buffer = sample.buffer().ok_or(gst::FlowError::Error)?;
                if let Err(error) = measure(buffer, &originals, frame, &mut measures.lock().unwrap()) {
                    gst::element_error!(sink, gst::StreamError::Failed, ["frame {frame}: {error:#}"]);
                    return Err(gst::FlowError::Error);
                }
                frame += 1;
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );

    pipeline.set_state(gst::State::Playing)?;
    let fed = feed(&source, features);
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let end = bus.timed_pop_filtered(PATIENCE, &[gst::MessageType::Eos, gst::MessageType::Error]);
    let failure = match end.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(e)) => Some(format!("{}: {}", e.error(), e.debug().unwrap_or_default())),
        Some(_) => None,
        None => Some(format!("the pipeline did not end within {PATIENCE} of the last frame")),
    };
    pipeline.set_state(gst::State::Null)?;
    if let Some(failure) = failure {
        bail!(failure);
    }
    fed?;
    let coded = std::mem::take(&mut *coded.lock().unwrap());
    let layers = layers.lock().unwrap().clone();
    ensure!(coded.len() == features.frames, "{} access units for {} frames", coded.len(), features.frames);
    ensure!(
        layers.iter().all(|l| l.frames() == features.frames),
        "{} frames came out, {} went in",
        layers[0].frames(),
        features.frames
    );
    let per_frame = |sum: &Mutex<Duration>| *sum.lock().unwrap() / features.frames as u32;
    Ok(Run { settings: settings.clone(), coded, layers, encode: per_frame(&encode), decode: per_frame(&decode) })
}

fn feed(source: &gst_app::AppSrc, features: &Features) -> Result<()> {
    let frame_time = gst::ClockTime::SECOND / u64::from(FRAME_RATE);
    for frame in 0..features.frames {
        let mut buffer = gst::Buffer::new();
        let b = buffer.make_mut();
        for layer in 0..features.layout.layers().len() {
            b.append_memory(gst::Memory::from_slice(TensorBytes(features.tensor(layer, frame).to_vec())));
        }
        b.set_pts(frame_time * frame as u64);
        b.set_duration(frame_time);
        source.push_buffer(buffer).with_context(|| format!("frame {frame} was not taken"))?;
    }
    source.end_of_stream()?;
    Ok(())
}

fn measure(buffer: &gst::BufferRef, features: &Features, frame: usize, layers: &mut [LayerMeasure]) -> Result<()> {
    ensure!(frame < features.frames, "more frames came out than went in");
    ensure!(buffer.n_memory() == layers.len(), "{} tensors for {} layers", buffer.n_memory(), layers.len());
    for (n, layer) in layers.iter_mut().enumerate() {
        let memory = buffer.peek_memory(n).map_readable()?;
        let decoded: &[f16] =
            bytemuck::try_cast_slice(&memory).map_err(|e| anyhow::anyhow!("layer {n} is not float16: {e}"))?;
        let original = features.tensor(n, frame);
        ensure!(decoded.len() == original.len(), "layer {n} has {} values, not {}", decoded.len(), original.len());
        layer.add(original, decoded);
    }
    Ok(())
}
