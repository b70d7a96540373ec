//! Many streams in one process, each with a decoder of its own. A stream that fails, ends or comes back must not touch another one:
//!
//! * with a port each, a stream is a pipeline of its own, started again when it fails;
//! * with one port for all, `rtpbin` gives a pad for each SSRC. What its branch returns goes back to `rtpbin` and would end the socket's thread for all,
//!   so every branch is behind a pad that keeps errors to itself, and is made anew when it failed.

use anyhow::{Context, Result};
use gst::glib;
use gst::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const CAPS: &str = "application/x-rtp,media=application,clock-rate=90000,encoding-name=FCM,payload=96,\
                    rtcp-fb-nack-pli=true,rtcp-fb-ccm-fir=true";
/// How long a stream that failed rests.
const REST: Duration = Duration::from_secs(1);
/// Delay is counted in milliseconds up to this.
const LATEST: usize = 1000;

/// What a stream gave.
#[derive(Debug, Clone)]
pub struct Figures {
    pub frames: u64,
    pub last: Option<Instant>,
    /// Frames by the time from their packets' arrival to here, in milliseconds; the last one counts all that took longer.
    pub delay: Vec<u32>,
    /// Times that it failed.
    pub failures: u64,
    /// It is there; with one port, gone after BYE or a timeout.
    pub alive: bool,
}

impl Default for Figures {
    fn default() -> Self {
        Self { frames: 0, last: None, delay: vec![0; LATEST + 1], failures: 0, alive: true }
    }
}

/// Streams by name: the port, or the SSRC.
type Streams = Arc<Mutex<HashMap<u32, Figures>>>;
/// Handles every decoded frame of a stream; who needs more than counts.
pub type OnFrame = Arc<dyn Fn(u32, &gst::BufferRef) + Send + Sync>;

/// How to receive.
#[derive(Clone)]
pub struct Settings {
    /// Properties of `fcmdec`.
    pub decoder: String,
    /// Latency of the jitter buffer in milliseconds.
    pub latency: u32,
    pub on_frame: Option<OnFrame>,
}

/// Where streams come in.
#[derive(Debug, Clone)]
pub enum Entrance {
    /// A port for each stream.
    Ports(Vec<u16>),
    /// One for all; RTCP at the port `rtcp`, and to these ports, where there is any.
    Shared { rtp: u16, rtcp: Option<(u16, Vec<u16>)> },
}

/// A running receiver; it ends when this is dropped.
pub struct Receiver {
    pipelines: Vec<gst::Pipeline>,
    streams: Streams,
    end: Arc<AtomicBool>,
    watchers: Vec<JoinHandle<()>>,
}

impl Receiver {
    /// Receives at 127.0.0.1.
    pub fn start(entrance: &Entrance, settings: &Settings) -> Result<Self> {
        let mut receiver =
            Self { pipelines: Vec::new(), streams: Streams::default(), end: Arc::default(), watchers: Vec::new() };
        match entrance {
            Entrance::Ports(ports) => {
                for &port in ports {
                    receiver.own_port(port, settings)?;
                }
            }
            Entrance::Shared { rtp, rtcp } => receiver.shared_port(*rtp, rtcp.as_ref(), settings)?,
        }
        Ok(receiver)
    }

    /// What the streams gave so far.
    pub fn figures(&self) -> HashMap<u32, Figures> {
        self.streams.lock().unwrap().clone()
    }

    fn own_port(&mut self, port: u16, settings: &Settings) -> Result<()> {
        let description = format!(
            "udpsrc address=127.0.0.1 port={port} caps=\"{CAPS}\" ! rtpjitterbuffer name=jitter latency={} do-lost=true",
            settings.latency
        );
        let pipeline = gst::parse::launch(&description)?.downcast::<gst::Pipeline>().ok().context("no pipeline")?;
        let name = u32::from(port);
        let site = Site::new(&pipeline, settings, &self.streams);
        let pad = pipeline.by_name("jitter").and_then(|jitter| jitter.static_pad("src")).context("no jitter buffer")?;
        site.attach(&pad, name)?;
        self.watch(&pipeline, site)?;
        pipeline.set_state(gst::State::Playing)?;
        self.pipelines.push(pipeline);
        Ok(())
    }

    fn shared_port(&mut self, port: u16, rtcp: Option<&(u16, Vec<u16>)>, settings: &Settings) -> Result<()> {
        let mut description = format!(
            "rtpbin name=rtp rtp-profile=avpf latency={} do-lost=true autoremove=true \
             udpsrc address=127.0.0.1 port={port} buffer-size=2000000 caps=\"{CAPS}\" ! rtp.recv_rtp_sink_0",
            settings.latency
        );
        if let Some((at, to)) = rtcp {
            let clients = to.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",");
            description += &format!(
                " udpsrc address=127.0.0.1 port={at} ! rtp.recv_rtcp_sink_0 \
                 rtp.send_rtcp_src_0 ! multiudpsink clients={clients} sync=false async=false"
            );
        }
        let pipeline = gst::parse::launch(&description)?.downcast::<gst::Pipeline>().ok().context("no pipeline")?;
        let rtp = pipeline.by_name("rtp").context("no rtpbin")?;
        if rtcp.is_some() {
            // RTCP has a twentieth of the bandwidth; feedback is not to wait for its turn.
            rtp.emit_by_name::<glib::Object>("get-session", &[&0u32]).set_property("bandwidth", 2_000_000f64);
        }
        let site = Site::new(&pipeline, settings, &self.streams);
        let to = site.clone();
        rtp.connect_pad_added(move |_, pad| {
            let Some(ssrc) = ssrc_of(pad) else { return };
            if let Err(error) = to.attach(pad, ssrc) {
                eprintln!("SSRC {ssrc}: {error:#}");
            }
        });
        let from = site.clone();
        rtp.connect_pad_removed(move |_, pad| {
            if let Some(ssrc) = ssrc_of(pad) {
                from.remove(ssrc);
            }
        });
        self.watch(&pipeline, site)?;
        pipeline.set_state(gst::State::Playing)?;
        self.pipelines.push(pipeline);
        Ok(())
    }

    /// Repairs what fails, in a thread of its own.
    fn watch(&mut self, pipeline: &gst::Pipeline, site: Site) -> Result<()> {
        let (bus, end) = (pipeline.bus().context("no bus")?, self.end.clone());
        let watcher = std::thread::Builder::new().name("watch".into()).spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let tick = gst::ClockTime::from_mseconds(200);
                let message = bus.timed_pop_filtered(tick, &[gst::MessageType::Error]);
                if let Some(gst::MessageView::Error(error)) = message.as_ref().map(|message| message.view()) {
                    site.failed(error);
                }
            }
        })?;
        self.watchers.push(watcher);
        Ok(())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for watcher in self.watchers.drain(..) {
            let _ = watcher.join();
        }
        for pipeline in &self.pipelines {
            let _ = pipeline.set_state(gst::State::Null);
        }
    }
}

/// `recv_rtp_src_<session>_<ssrc>_<payload type>`
fn ssrc_of(pad: &gst::Pad) -> Option<u32> {
    pad.name().strip_prefix("recv_rtp_src_")?.split('_').nth(1)?.parse().ok()
}

/// From RTP packets to frames that are counted. Its sink pad never returns an error.
fn branch(name: u32, settings: &Settings, streams: &Streams) -> Result<gst::Bin> {
    let bin = gst::parse::bin_from_description(
        &format!(
            "rtpfcmdepay name=depay ! fcmdec name=dec {} ! fakesink name=sink sync=false async=false",
            settings.decoder
        ),
        false,
    )?;
    let inner = bin.by_name("depay").and_then(|depay| depay.static_pad("sink")).context("no depayloader")?;
    let failed = AtomicBool::new(false);
    let sink = gst::GhostPad::builder_with_target(&inner)?
        .name("sink")
        .chain_function(move |pad, parent, buffer| {
            if !failed.load(Ordering::Relaxed)
                && let Err(error) = gst::ProxyPad::chain_default(pad, parent, buffer)
                && error != gst::FlowError::Flushing
            {
                failed.store(true, Ordering::Relaxed);
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .build();
    sink.set_active(true)?;
    bin.add_pad(&sink)?;

    let (streams, on_frame) = (streams.clone(), settings.on_frame.clone());
    let last = bin.by_name("sink").and_then(|sink| sink.static_pad("sink")).context("no sink")?;
    last.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(buffer) = info.buffer() else { return gst::PadProbeReturn::Ok };
        if let Some(on_frame) = &on_frame {
            on_frame(name, buffer);
        }
        // The PTS is the running time at which the packets came, give or take the jitter.
        let now = pad.parent_element().and_then(|sink| sink.current_running_time());
        let delay = now.zip(buffer.pts()).map(|(now, pts)| now.saturating_sub(pts).mseconds() as usize);
        let mut streams = streams.lock().unwrap();
        let figures = streams.entry(name).or_default();
        figures.frames += 1;
        figures.last = Some(Instant::now());
        if let Some(delay) = delay {
            // None is kept of a stream that is gone.
            if let Some(count) = figures.delay.get_mut(delay.min(LATEST)) {
                *count += 1;
            }
        }
        gst::PadProbeReturn::Ok
    });
    Ok(bin)
}

/// A pipeline and the branches in it, by the names of their streams.
#[derive(Clone)]
struct Site {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    settings: Settings,
    streams: Streams,
    branches: Arc<Mutex<HashMap<u32, gst::Bin>>>,
}

impl Site {
    fn new(pipeline: &gst::Pipeline, settings: &Settings, streams: &Streams) -> Self {
        let (settings, streams) = (settings.clone(), streams.clone());
        Self { pipeline: pipeline.downgrade(), settings, streams, branches: Arc::default() }
    }

    /// Another branch behind `pad`, in the place of the one before if there is one.
    fn attach(&self, pad: &gst::Pad, name: u32) -> Result<()> {
        let pipeline = self.pipeline.upgrade().context("no pipeline")?;
        let branch = branch(name, &self.settings, &self.streams)?;
        pipeline.add(&branch)?;
        branch.sync_state_with_parent()?;
        pad.link(&branch.static_pad("sink").context("no sink pad")?)?;
        self.streams.lock().unwrap().entry(name).or_default().alive = true;
        if let Some(old) = self.branches.lock().unwrap().insert(name, branch) {
            discard(&pipeline, old);
        }
        Ok(())
    }

    /// The stream is gone.
    fn remove(&self, name: u32) {
        let branch = self.branches.lock().unwrap().remove(&name);
        if let Some((pipeline, branch)) = self.pipeline.upgrade().zip(branch) {
            discard(&pipeline, branch);
        }
        if let Some(figures) = self.streams.lock().unwrap().get_mut(&name) {
            figures.alive = false;
            figures.delay = Vec::new();
        }
    }

    fn failed(&self, error: &gst::message::Error) {
        let Some((pipeline, source)) = self.pipeline.upgrade().zip(error.src()) else { return };
        let branches = self.branches.lock().unwrap().clone();
        let Some((&name, branch)) = branches.iter().find(|(_, branch)| source.has_as_ancestor(*branch)) else {
            // More of a branch that was replaced meanwhile; or the entrance itself, which is in no branch.
            let ancestors = std::iter::successors(source.parent(), |object| object.parent());
            if ancestors.into_iter().all(|object| object.type_() != gst::Bin::static_type()) {
                eprintln!("{}: {}", source.path_string(), error.error());
                let _ = pipeline.set_state(gst::State::Null);
                std::thread::sleep(REST);
                let _ = pipeline.set_state(gst::State::Playing);
            }
            return;
        };
        eprintln!("{}: {}", source.path_string(), error.error());
        self.streams.lock().unwrap().entry(name).or_default().failures += 1;
        std::thread::sleep(REST);
        let Some((sink, pad)) = branch.static_pad("sink").and_then(|sink| Some((sink.clone(), sink.peer()?))) else {
            return;
        };
        let site = self.clone();
        // When no packet is under way into it.
        pad.add_probe(gst::PadProbeType::IDLE, move |pad, _| {
            if let Err(error) = pad.unlink(&sink).map_err(Into::into).and_then(|()| site.attach(pad, name)) {
                eprintln!("stream {name}: {error:#}");
            }
            gst::PadProbeReturn::Remove
        });
    }
}

/// Takes a branch down: not in the calling thread, which may stand in it.
fn discard(pipeline: &gst::Pipeline, branch: gst::Bin) {
    let _ = branch.set_locked_state(true);
    let pipeline = pipeline.clone();
    std::thread::spawn(move || {
        let _ = branch.set_state(gst::State::Null);
        let _ = pipeline.remove(&branch);
    });
}
