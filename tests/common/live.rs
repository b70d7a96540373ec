//! What the tests of roads between hosts share: pipelines that run, coded streams that are fed into them, and what comes out at the other end.

use super::{EVERY_CHANGE, Features, decoder, encode, init};
use anyhow::{Context, Result, bail, ensure};
use gst::prelude::*;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a busy machine may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A UDP and TCP port that is free at this moment.
pub fn free_port() -> u16 {
    free_ports(1)[0]
}

/// Different ones.
pub fn free_ports(count: usize) -> Vec<u16> {
    let (mut ports, mut kept) = (Vec::new(), Vec::new());
    while ports.len() < count {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = tcp.local_addr().expect("bound").port();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        if udp.is_ok() {
            ports.push(port);
        }
        kept.push((tcp, udp));
    }
    ports
}

/// Says that a test did nothing, because GStreamer has not got one of these elements here.
pub fn lacks(elements: &[&str]) -> bool {
    init();
    let lacks: Vec<_> = elements.iter().filter(|name| gst::ElementFactory::find(name).is_none()).collect();
    if !lacks.is_empty() {
        println!("SKIPPED: no elements {lacks:?} here");
    }
    !lacks.is_empty()
}

/// Waits until `done`; an error after [`PATIENCE`].
pub fn wait(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !done() {
        ensure!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A pipeline that is torn down whatever happens.
pub struct Running(pub gst::Pipeline);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

impl Running {
    /// Not playing yet.
    pub fn new(description: &str) -> Result<Self> {
        init();
        let pipeline = gst::parse::launch(description).with_context(|| description.to_owned())?;
        Ok(Self(pipeline.downcast().ok().context("not a pipeline")?))
    }

    pub fn start(description: &str) -> Result<Self> {
        let running = Self::new(description)?;
        running.0.set_state(gst::State::Playing).with_context(|| description.to_owned())?;
        Ok(running)
    }

    /// One that ends in `fakesink name=sink`, and the frames that reach it.
    pub fn receive(description: &str) -> Result<(Self, Arrived)> {
        let running = Self::new(&format!("{description} ! fakesink name=sink sync=false async=false"))?;
        let arrived = Arrived::at(&running.0, "sink")?;
        running.0.set_state(gst::State::Playing).with_context(|| description.to_owned())?;
        Ok((running, arrived))
    }

    pub fn element(&self, name: &str) -> Result<gst::Element> {
        self.0.by_name(name).with_context(|| format!("no {name}"))
    }

    pub fn count(&self, element: &str, property: &str, name: &str) -> Result<u64> {
        Ok(self.element(element)?.property::<gst::Structure>(property).get(name)?)
    }

    /// An error that the pipeline posted.
    pub fn check(&self) -> Result<()> {
        let bus = self.0.bus().context("no bus")?;
        while let Some(message) = bus.pop_filtered(&[gst::MessageType::Error]) {
            if let gst::MessageView::Error(e) = message.view() {
                bail!("{}: {:?}", e.error(), e.debug());
            }
        }
        Ok(())
    }

    /// Waits for the end of the stream.
    pub fn finish(&self) -> Result<()> {
        let bus = self.0.bus().context("no bus")?;
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let time = gst::ClockTime::from_seconds(PATIENCE.as_secs());
        let message = bus.timed_pop_filtered(time, &kinds).context("the stream does not end")?;
        match message.view() {
            gst::MessageView::Error(e) => bail!("{}: {:?}", e.error(), e.debug()),
            _ => Ok(()),
        }
    }
}

/// A frame that arrived.
#[derive(Debug, Clone)]
pub struct Frame {
    pub digest: u64,
    pub pts: Option<gst::ClockTime>,
    pub discont: bool,
    /// Name and time of each reference timestamp.
    pub references: Vec<(String, u64)>,
    pub at: Instant,
}

/// The frames that arrived at a sink, in order.
#[derive(Clone, Default)]
pub struct Arrived(Arc<Mutex<Vec<Frame>>>);

impl Arrived {
    pub fn at(pipeline: &gst::Pipeline, sink: &str) -> Result<Self> {
        let pad = pipeline.by_name(sink).and_then(|e| e.static_pad("sink")).with_context(|| format!("{sink}:sink"))?;
        Ok(Self::at_pad(&pad))
    }

    pub fn at_pad(pad: &gst::Pad) -> Self {
        let arrived = Self::default();
        let list = arrived.0.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                list.lock().unwrap().push(frame(buffer));
            }
            gst::PadProbeReturn::Ok
        });
        arrived
    }

    pub fn frames(&self) -> Vec<Frame> {
        self.0.lock().unwrap().clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub fn wait(&self, count: usize) -> Result<()> {
        let done = wait(&format!("{count} frames"), || self.len() >= count);
        done.with_context(|| format!("{} frames arrived", self.len()))
    }
}

fn frame(buffer: &gst::BufferRef) -> Frame {
    let references = buffer.iter_meta::<gst::ReferenceTimestampMeta>().map(|meta| {
        let name = meta.reference().structure(0).map(|s| s.name().to_string()).unwrap_or_default();
        (name, meta.timestamp().nseconds())
    });
    Frame {
        digest: digest(buffer),
        pts: buffer.pts(),
        discont: super::is_discont(buffer),
        references: references.collect(),
        at: Instant::now(),
    }
}

pub fn digest(buffer: &gst::BufferRef) -> u64 {
    let mut hasher = DefaultHasher::new();
    buffer.map_readable().expect("mappable").hash(&mut hasher);
    hasher.finish()
}

/// A coded stream, and what a decoder restores of it where nothing is lost.
#[derive(Clone)]
pub struct Coded {
    pub caps: gst::Caps,
    pub units: Vec<gst::Buffer>,
    digests: HashMap<u64, usize>,
}

impl Coded {
    pub fn new(features: &Features, frames: usize, properties: &[(&str, &str)]) -> Result<Self> {
        let (caps, units) = encode(features, frames, &[&[EVERY_CHANGE], properties].concat());
        let mut bench = decoder(&caps, &[]);
        let mut digests = HashMap::new();
        for (n, unit) in units.iter().enumerate() {
            bench.harness.push(unit.clone())?;
            let decoded = bench.harness.pull()?;
            let same = digests.insert(digest(&decoded), n);
            ensure!(same.is_none(), "two frames are alike");
        }
        Ok(Self { caps, units, digests })
    }

    /// Small features with a random access point every `key_int` frames.
    pub fn small(frames: usize, key_int: usize) -> Result<Self> {
        Self::new(&Features::small(), frames, &[("qp", "22"), ("key-int-max", &key_int.to_string())])
    }

    /// Which frames these are; an error if one is of no frame.
    pub fn numbers(&self, frames: &[Frame]) -> Result<Vec<usize>> {
        let number = |frame: &Frame| self.digests.get(&frame.digest).copied().context("a frame that was never sent");
        frames.iter().map(number).collect()
    }

    /// That exactly these frames arrived, in order.
    pub fn expect(&self, arrived: &Arrived, frames: Range<usize>) -> Result<()> {
        let numbers = self.numbers(&arrived.frames())?;
        ensure!(numbers.iter().copied().eq(frames.clone()), "{numbers:?} arrived, {frames:?} are right");
        Ok(())
    }

    /// Hands the units of `frames` to `appsrc name=src` of this pipeline, one every `period`.
    pub fn feed(&self, pipeline: &gst::Pipeline, frames: Range<usize>, period: Duration) -> Result<Feed> {
        Feed::start(pipeline, &self.caps, self.units[frames].to_vec(), period)
    }
}

/// Buffers on their way into a pipeline.
pub struct Feed {
    source: gst_app::AppSrc,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    pub fn start(
        pipeline: &gst::Pipeline,
        caps: &gst::Caps,
        buffers: Vec<gst::Buffer>,
        period: Duration,
    ) -> Result<Self> {
        let source = pipeline.by_name("src").and_downcast::<gst_app::AppSrc>().context("no appsrc")?;
        source.set_format(gst::Format::Time);
        source.set_caps(Some(caps));
        let end = Arc::new(AtomicBool::new(false));
        let (to, ended) = (source.clone(), end.clone());
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            for (n, buffer) in buffers.into_iter().enumerate() {
                std::thread::sleep((start + period * n as u32).saturating_duration_since(Instant::now()));
                if ended.load(Ordering::Relaxed) || to.push_buffer(buffer).is_err() {
                    return;
                }
            }
        });
        Ok(Self { source, end, thread: Some(thread) })
    }

    /// Waits until all were handed over.
    pub fn finish(mut self) -> Result<()> {
        let thread = self.thread.take().context("finished already")?;
        thread.join().map_err(|_| anyhow::anyhow!("the feed panicked"))
    }

    /// The same, and ends the stream.
    pub fn end(self) -> Result<()> {
        let source = self.source.clone();
        self.finish()?;
        source.end_of_stream()?;
        Ok(())
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
