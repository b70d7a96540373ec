//! The pipelines: pictures into tracks, with and without the codec between the halves of the network.

use crate::street::{FRAME_RATE, Street};
use anyhow::{Context, Result, anyhow, bail, ensure};
use fcm_analytics::json::Frame;
use fcm_codec::StatisticsMode;
use gst::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longest time that one frame may take.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// Boxes from the network's output, then tracks. Average precision wants the unsure boxes too, the tracker does not: of the
/// thresholds tried on scenes of this kind, those with suppression at .45 and tracks from boxes of .45, going on from .3, made the fewest mistakes
/// in tracking.
const BOXES: &str = "tensordetect name=detect input-width=512 input-height=288 score-threshold=0.05 iou-threshold=0.45 \
     labels=person,vehicle ! boxtrack name=track high-score=0.45 low-score=0.3";

/// The two halves of the network.
pub struct Network {
    front: String,
    back: String,
    /// The model of the second half.
    pub back_file: PathBuf,
}

/// What the codec is told.
#[derive(Clone)]
pub struct Coding {
    pub qp: u32,
    pub statistics: StatisticsMode,
}

/// What came out of one run.
pub struct Run {
    /// Nothing: the features were not coded.
    pub coding: Option<Coding>,
    /// Bytes that went from half to half.
    pub bytes: u64,
    /// Boxes of every frame, before the tracker.
    pub boxes: Vec<Frame>,
    /// Tracks of every frame.
    pub tracks: Vec<Frame>,
    /// Time a frame of: the front half with the scaling of pictures, the encoder, the decoder, the back half.
    pub times: [Duration; 4],
    /// Time a frame from picture to tracks, mean.
    pub through: Duration,
}

impl Run {
    /// Rate between the halves.
    pub fn kbit_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 * f64::from(FRAME_RATE) / self.tracks.len() as f64 / 1000.0
    }

    /// The codec's share of all the computing in network and codec.
    pub fn codec_share(&self) -> f64 {
        let [front, encode, decode, back] = self.times.map(|t| t.as_secs_f64());
        (encode + decode) / (front + encode + decode + back)
    }
}

/// A path as a value in a pipeline description.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\""))
}

/// A pipeline that is torn down whatever happens.
struct Pipeline(gst::Pipeline);

impl Drop for Pipeline {
    fn drop(&mut self) {
        // Nothing is left to do where even this fails.
        let _ = self.0.set_state(gst::State::Null);
    }
}

impl Pipeline {
    fn new(description: &str) -> Result<Self> {
        let element = gst::parse::launch(description).with_context(|| description.to_owned())?;
        Ok(Self(element.downcast().map_err(|_| anyhow!("not a pipeline: {description}"))?))
    }

    fn element(&self, name: &str) -> Result<gst::Element> {
        self.0.by_name(name).with_context(|| format!("no element {name}"))
    }

    fn source(&self, name: &str, caps: &gst::Caps) -> Result<gst_app::AppSrc> {
        let source = self.element(name)?.downcast::<gst_app::AppSrc>().map_err(|_| anyhow!("{name} is no appsrc"))?;
        source.set_caps(Some(caps));
        source.set_format(gst::Format::Time);
        Ok(source)
    }

    fn sink(&self, name: &str) -> Result<gst_app::AppSink> {
        let sink = self.element(name)?.downcast::<gst_app::AppSink>().map_err(|_| anyhow!("{name} is no appsink"))?;
        sink.set_property("sync", false);
        Ok(sink)
    }

    fn play(&self) -> Result<()> {
        match self.0.set_state(gst::State::Playing) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error().unwrap_or_else(|| error.into())),
        }
    }

    /// The error on the bus, if there is one.
    fn error(&self) -> Option<anyhow::Error> {
        let message = self.0.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(e) => {
                Some(anyhow!("{}: {}", e.src().map(|s| s.path_string()).unwrap_or_default(), e.error()))
            }
            _ => None,
        }
    }

    /// The next sample of `sink`, or what is wrong.
    fn pull(&self, sink: &gst_app::AppSink, what: impl Fn() -> String) -> Result<gst::Sample> {
        let sample = sink.try_pull_sample(PATIENCE);
        sample.ok_or_else(|| self.error().unwrap_or_else(|| anyhow!("{} did not come within {PATIENCE}", what())))
    }

    fn wait_for_end(&self) -> Result<()> {
        let bus = self.0.bus().context("a pipeline without a bus")?;
        let end = bus.timed_pop_filtered(PATIENCE, &[gst::MessageType::Eos, gst::MessageType::Error]);
        match end.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(e)) => bail!("{}", e.error()),
            Some(_) => Ok(()),
            None => bail!("the end of the pictures did not arrive within {PATIENCE}"),
        }
    }

    fn stat(&self, element: &str, name: &str) -> Result<u64> {
        let stats = self.element(element)?.property::<gst::Structure>("stats");
        stats.get(name).with_context(|| format!("{name} of {element}"))
    }

    /// Time that `tensorinfer` took, all of it.
    fn inference(&self, element: &str) -> Result<u64> {
        Ok(self.stat(element, "preprocess-time")? + self.stat(element, "inference-time")?)
    }
}

impl Network {
    /// The project's own, from examples/data.
    pub fn own(root: &Path) -> Self {
        let half = |name: &str| root.join("examples/data").join(name);
        let back_file = half("back.onnx");
        Self { front: quoted(&half("front.onnx")), back: quoted(&back_file), back_file }
    }

    /// The front half alone: features of every picture, float32 and in the order of the layers.
    pub fn features(
        &self,
        street: &Street,
        mut take: impl FnMut(&gst::CapsRef, Vec<Vec<f32>>) -> Result<()>,
    ) -> Result<()> {
        let pipeline = Pipeline::new(&format!("appsrc name=in ! tensorinfer model={} ! appsink name=out", self.front))?;
        let (source, sink) = (pipeline.source("in", &street.caps())?, pipeline.sink("out")?);
        pipeline.play()?;
        for frame in 0..street.pictures.len() {
            source.push_buffer(street.buffer(frame)).map_err(|e| pipeline.error().unwrap_or_else(|| e.into()))?;
            let sample = pipeline.pull(&sink, || format!("the features of frame {frame}"))?;
            let buffer = sample.buffer().context("a sample without a buffer")?;
            let tensors = buffer.iter_memories().map(|memory| {
                let bytes = memory.map_readable()?;
                anyhow::Ok(bytemuck::pod_collect_to_vec::<u8, f32>(&bytes))
            });
            take(sample.caps().context("a sample without caps")?, tensors.collect::<Result<_>>()?)?;
        }
        Ok(())
    }

    /// The whole network in one pipeline, nothing coded.
    pub fn whole(&self) -> String {
        let Self { front, back, .. } = self;
        format!(
            "appsrc name=in ! tensorinfer name=front model={front} ! tensorinfer name=back model={back} ! {BOXES} ! appsink name=out"
        )
    }

    /// The camera's pipeline.
    pub fn camera(&self, coding: &Coding, transform: &Path, port: u16) -> String {
        format!(
            "appsrc name=in ! tensorinfer name=front model={} ! fcmenc name=enc transform={} qp={} statistics={} threads=1 ! \
             tcpclientsink host=127.0.0.1 port={port} sync=false",
            self.front,
            quoted(transform),
            coding.qp,
            coding.statistics.name()
        )
    }

    /// The server's pipeline.
    pub fn server(&self, transform: &Path) -> String {
        format!(
            "tcpserversrc name=listen host=127.0.0.1 port=0 ! fcmparse ! fcmdec name=dec transform={} threads=1 ! \
             tensorinfer name=back model={} ! {BOXES} ! appsink name=out",
            quoted(transform),
            self.back
        )
    }

    /// Runs the street through both halves without the codec.
    pub fn run_uncoded(&self, street: &Street) -> Result<Run> {
        let pipeline = Pipeline::new(&self.whole())?;
        let bytes = Arc::new(Mutex::new(0));
        let sum = bytes.clone();
        watch(&pipeline.element("front")?, move |buffer| *sum.lock().unwrap() += buffer.size() as u64)?;
        let mut run = drive(&pipeline, &pipeline, street)?;
        run.bytes = *bytes.lock().unwrap();
        let nanoseconds = [pipeline.inference("front")?, 0, 0, pipeline.inference("back")?];
        run.times = nanoseconds.map(|n| Duration::from_nanos(n / street.pictures.len() as u64));
        Ok(run)
    }

    /// Runs the street through camera, socket and server.
    pub fn run_coded(&self, street: &Street, coding: &Coding, transform: &Path) -> Result<Run> {
        let server = Pipeline::new(&self.server(transform))?;
        server.play()?;
        let listen = server.element("listen")?;
        // The port is known once the socket is open, which playing begins with.
        let started = Instant::now();
        let port = loop {
            let port = listen.property::<i32>("current-port");
            if port != 0 {
                break u16::try_from(port)?;
            }
            if let Some(error) = server.error() {
                return Err(error);
            }
            ensure!(started.elapsed() < Duration::from_secs(10), "tcpserversrc opens no socket");
            std::thread::sleep(Duration::from_millis(2));
        };
        let camera = Pipeline::new(&self.camera(coding, transform, port))?;
        let mut run = drive(&camera, &server, street)?;
        run.coding = Some(coding.clone());
        run.bytes = camera.stat("enc", "bytes-out")?;
        let nanoseconds = [
            camera.inference("front")?,
            camera.stat("enc", "encode-time")?,
            server.stat("dec", "decode-time")?,
            server.inference("back")?,
        ];
        run.times = nanoseconds.map(|n| Duration::from_nanos(n / street.pictures.len() as u64));
        // tcpclientsink keeps the connection until it is stopped.
        drop(camera);
        server.wait_for_end()?;
        Ok(run)
    }
}

fn watch(element: &gst::Element, mut see: impl FnMut(&gst::Buffer) + Send + 'static) -> Result<()> {
    let pad = element.static_pad("src").with_context(|| format!("{} has no pad src", element.name()))?;
    let see = Mutex::new(move |buffer: &gst::Buffer| see(buffer));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer() {
            (see.lock().unwrap())(buffer);
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

fn parse(buffer: &gst::BufferRef) -> Result<Frame> {
    Ok(Frame::parse(&buffer.map_readable()?)?)
}

/// Sends pictures into `input` and takes tracks from `output`. The next picture goes in when the tracks of the last
/// one have come out: where anything held a frame back, this would fail.
fn drive(input: &Pipeline, output: &Pipeline, street: &Street) -> Result<Run> {
    let (source, sink) = (input.source("in", &street.caps())?, output.sink("out")?);
    let boxes = Arc::new(Mutex::new(Vec::new()));
    let list = boxes.clone();
    watch(&output.element("detect")?, move |buffer| list.lock().unwrap().push(parse(buffer)))?;
    // One object may be both.
    output.play()?;
    input.play()?;
    let mut tracks = Vec::new();
    let mut through = Duration::ZERO;
    for frame in 0..street.pictures.len() {
        let picture = street.buffer(frame);
        let pts = picture.pts();
        let start = Instant::now();
        source.push_buffer(picture).map_err(|e| input.error().unwrap_or_else(|| e.into()))?;
        let sample =
            output.pull(&sink, || format!("the tracks of frame {frame}, which nothing comes after,")).map_err(
                // What stopped the camera is the cause of what the server misses.
                |e| input.error().unwrap_or(e),
            )?;
        through += start.elapsed();
        let buffer = sample.buffer().context("a sample without a buffer")?;
        ensure!(buffer.pts() == pts, "frame {frame}: time {:?} became {:?}", pts, buffer.pts());
        tracks.push(parse(buffer)?);
    }
    source.end_of_stream()?;
    input.wait_for_end()?;
    let boxes = std::mem::take(&mut *boxes.lock().unwrap()).into_iter().collect::<Result<Vec<_>>>()?;
    ensure!(boxes.len() == tracks.len(), "boxes of {} frames, tracks of {}", boxes.len(), tracks.len());
    through /= tracks.len().max(1) as u32;
    Ok(Run { coding: None, bytes: 0, boxes, tracks, times: [Duration::ZERO; 4], through })
}

/// Draws the tracks of a frame on its picture, enlarged to `size`, with `boxoverlay`; packed RGB.
pub fn overlay(street: &Street, frame: usize, tracks: &Frame, size: (u32, u32)) -> Result<Vec<u8>> {
    let (width, height) = size;
    let pipeline = Pipeline::new(&format!(
        "appsrc name=picture ! videoscale method=lanczos ! video/x-raw,width={width},height={height} ! boxoverlay.video \
         appsrc name=tracks ! boxoverlay.boxes \
         boxoverlay name=boxoverlay line-width=2 ! videoconvert ! video/x-raw,format=RGB ! appsink name=out"
    ))?;
    let caps = gst::Caps::builder("application/x-boxes")
        .field("format", "json")
        .field("framerate", gst::Fraction::new(FRAME_RATE as i32, 1))
        .field("width", tracks.width as i32)
        .field("height", tracks.height as i32)
        .build();
    let (picture, boxes) = (pipeline.source("picture", &street.caps())?, pipeline.source("tracks", &caps)?);
    let sink = pipeline.sink("out")?;
    pipeline.play()?;
    let shown = street.buffer(frame);
    let mut line = Vec::new();
    tracks.write(&mut line);
    let mut tracks = gst::Buffer::from_slice(line);
    tracks.make_mut().set_pts(shown.pts());
    boxes.push_buffer(tracks)?;
    boxes.end_of_stream()?;
    picture.push_buffer(shown)?;
    picture.end_of_stream()?;
    let sample = pipeline.pull(&sink, || "the picture with boxes".into())?;
    let buffer = sample.buffer().context("a sample without a buffer")?;
    let bytes = buffer.map_readable()?;
    // Rows of video begin at multiples of four bytes.
    let (row, stride) = (3 * width as usize, (3 * width as usize).next_multiple_of(4));
    Ok(bytes.chunks(stride).take(height as usize).flat_map(|line| &line[..row]).copied().collect())
}
