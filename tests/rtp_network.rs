//! Sender and receiver with UDP between them, over the bad network of examples/relay: what arrives is exactly what the loss leaves, and
//! feedback repairs the stream.

mod common;

#[path = "../examples/relay/channel.rs"]
mod channel;
#[path = "../examples/relay/relay.rs"]
mod relay;

use anyhow::{Context, Result, bail, ensure};
use channel::{Channel, Conditions, Loss};
use common::*;
use fcm_codec::{Dtype, Shape};
use gst::prelude::*;
use relay::Relay;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const RTP_CAPS: &str =
    "application/x-rtp,media=application,clock-rate=90000,encoding-name=FCM,rtcp-fb-nack-pli=true,rtcp-fb-ccm-fir=true";

/// Time between two frames.
const PERIOD: Duration = Duration::from_millis(20);

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Ports that are free at this moment.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let sockets: [UdpSocket; N] = std::array::from_fn(|_| UdpSocket::bind(local(0)).expect("a free port"));
    let mut ports = [0; N];
    for (port, socket) in ports.iter_mut().zip(&sockets) {
        *port = socket.local_addr()?.port();
    }
    Ok(ports)
}

fn digest(buffer: &gst::BufferRef) -> u64 {
    let mut hasher = DefaultHasher::new();
    buffer.map_readable().expect("mappable").hash(&mut hasher);
    hasher.finish()
}

/// A pipeline that is torn down whatever happens.
struct Pipeline(gst::Pipeline);

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

impl Pipeline {
    fn new(description: &str) -> Result<Self> {
        init();
        let pipeline = gst::parse::launch(description).with_context(|| description.to_owned())?;
        Ok(Self(pipeline.downcast().ok().context("not a pipeline")?))
    }

    fn play(&self) -> Result<()> {
        self.0.set_state(gst::State::Playing)?;
        Ok(())
    }

    fn start(description: &str) -> Result<Self> {
        let pipeline = Self::new(description)?;
        pipeline.play().with_context(|| description.to_owned())?;
        Ok(pipeline)
    }

    /// Hands every buffer that comes to the sink pad of element `name` to `see`.
    fn watch(&self, name: &str, see: impl Fn(&gst::BufferRef) + Send + Sync + 'static) -> Result<()> {
        let pad = self.0.by_name(name).and_then(|e| e.static_pad("sink")).with_context(|| format!("{name}:sink"))?;
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                see(buffer);
            }
            gst::PadProbeReturn::Ok
        });
        Ok(())
    }

    fn count(&self, element: &str, property: &str, name: &str) -> Result<u64> {
        let element = self.0.by_name(element).with_context(|| format!("no {element}"))?;
        Ok(element.property::<gst::Structure>(property).get(name)?)
    }

    fn check(&self) -> Result<()> {
        let bus = self.0.bus().context("no bus")?;
        while let Some(message) = bus.pop_filtered(&[gst::MessageType::Error]) {
            if let gst::MessageView::Error(e) = message.view() {
                bail!("{}: {:?}", e.error(), e.debug());
            }
        }
        Ok(())
    }
}

/// A sender of made-up features in real time, with or without RTCP.
struct Sender {
    pipeline: Pipeline,
    /// Digests of the frames as a decoder beside the encoder restores them, in order.
    reference: Arc<Mutex<Vec<u64>>>,
    /// Whether each of them was a random access unit.
    random_access: Arc<Mutex<Vec<bool>>>,
    end: Arc<AtomicBool>,
    feeder: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(feeder) = self.feeder.take() {
            let _ = feeder.join();
        }
    }
}

/// Ports of a connection: RTP goes through a relay.
#[derive(Clone, Copy)]
struct Ports {
    to_receiver: u16,
    to_sender: u16,
}

/// A `udpsink` to this port.
fn to(port: u16) -> String {
    format!("udpsink host=127.0.0.1 port={port} sync=false async=false")
}

impl Ports {
    /// What sends RTP to `relay`, and RTCP both ways.
    fn send(self, relay: SocketAddr) -> String {
        format!(
            "rtp.send_rtp_sink_0 rtpbin name=rtp rtp-profile=avpf rtp.send_rtp_src_0 ! {} \
             rtp.send_rtcp_src_0 ! {} udpsrc address=127.0.0.1 port={} ! rtp.recv_rtcp_sink_0",
            to(relay.port()),
            to(self.to_receiver),
            self.to_sender
        )
    }

    /// The same without `rtpbin`, with retransmission.
    fn send_again(self, relay: SocketAddr) -> String {
        format!(
            "rtprtxsend name=rtx payload-type-map=\"application/x-rtp-pt-map,96=(uint)97\" ! rtp.send_rtp_sink \
             rtpsession name=rtp rtp-profile=avpf rtp.send_rtp_src ! {} \
             rtp.send_rtcp_src ! {} udpsrc address=127.0.0.1 port={} ! rtp.recv_rtcp_sink",
            to(relay.port()),
            to(self.to_receiver),
            self.to_sender
        )
    }
}

impl Sender {
    /// Sends `frames` frames; `encoder`: properties of `fcmenc`; `send`: properties of `rtpfcmpay` and all that follows it.
    fn start(features: Features, frames: usize, encoder: &str, send: &str) -> Result<Self> {
        let pipeline = Pipeline::start(&format!(
            "appsrc name=src is-live=true format=time do-timestamp=true max-bytes=0 ! fcmenc name=enc qp=16 rd-strength=0 {encoder} ! tee name=t \
             t. ! queue ! fcmdec ! fakesink name=reference sync=false async=false \
             t. ! queue name=coded ! rtpfcmpay name=pay {send}"
        ))?;
        let reference = Arc::new(Mutex::new(Vec::new()));
        let random_access = Arc::new(Mutex::new(Vec::new()));
        let seen = reference.clone();
        pipeline.watch("reference", move |buffer| seen.lock().unwrap().push(digest(buffer)))?;
        let seen = random_access.clone();
        pipeline.watch("coded", move |buffer| seen.lock().unwrap().push(!is_delta(buffer)))?;
        let source = pipeline.0.by_name("src").and_then(|e| e.downcast::<gst_app::AppSrc>().ok()).context("appsrc")?;
        source.set_caps(Some(&features.caps_at(gst::Fraction::new(50, 1))));
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let feeder = std::thread::spawn(move || {
            let start = Instant::now();
            for t in 0..frames {
                let mut buffer = features.buffer(t);
                let unshared = buffer.make_mut();
                unshared.set_pts(gst::ClockTime::NONE);
                unshared.set_duration(gst::ClockTime::NONE);
                std::thread::sleep((start + PERIOD * t as u32).saturating_duration_since(Instant::now()));
                if ended.load(Ordering::Relaxed) || source.push_buffer(buffer).is_err() {
                    return;
                }
            }
        });
        Ok(Self { pipeline, reference, random_access, end, feeder: Some(feeder) })
    }

    /// Waits until all frames were sent.
    fn finish(&mut self) -> Result<()> {
        let feeder = self.feeder.take().context("finished already")?;
        feeder.join().map_err(|_| anyhow::anyhow!("the feeder panicked"))?;
        self.pipeline.check()
    }

    /// Frames of these digests; an error if one is of none.
    fn identify(&self, digests: &[u64]) -> Result<Vec<usize>> {
        let reference = self.reference.lock().unwrap();
        let known: HashMap<u64, usize> = reference.iter().copied().enumerate().map(|(n, digest)| (digest, n)).collect();
        ensure!(known.len() == reference.len(), "two frames are alike");
        let frames = digests.iter().map(|digest| known.get(digest).copied().context("a frame that was never sent"));
        let frames = frames.collect::<Result<Vec<_>>>()?;
        ensure!(frames.windows(2).all(|pair| pair[0] < pair[1]), "out of order: {frames:?}");
        Ok(frames)
    }
}

/// A receiver that decodes.
struct Receiver {
    pipeline: Pipeline,
    /// Digests of the frames, in order.
    frames: Arc<Mutex<Vec<u64>>>,
}

impl Receiver {
    /// Receives RTP at `port` without RTCP.
    fn start(port: u16, latency: u32) -> Result<Self> {
        Self::of(&format!(
            "udpsrc address=127.0.0.1 port={port} caps=\"{RTP_CAPS},payload=96\" \
             ! rtpjitterbuffer name=jitter latency={latency} do-lost=true"
        ))
    }

    /// Receives RTP at `port`, and RTCP both ways.
    fn with_rtcp(port: u16, ports: Ports, latency: u32) -> Result<Self> {
        Self::of(&format!(
            "udpsrc address=127.0.0.1 port={} ! rtp.recv_rtcp_sink_0 rtp.send_rtcp_src_0 ! {} \
             udpsrc address=127.0.0.1 port={port} caps=\"{RTP_CAPS},payload=96\" ! rtp.recv_rtp_sink_0 \
             rtpbin name=rtp rtp-profile=avpf latency={latency} do-lost=true rtp.",
            ports.to_receiver,
            to(ports.to_sender)
        ))
    }

    /// The same without `rtpbin`, with retransmission.
    fn with_retransmission(port: u16, ports: Ports, latency: u32) -> Result<Self> {
        Self::of(&format!(
            "udpsrc address=127.0.0.1 port={} ! rtp.recv_rtcp_sink rtp.send_rtcp_src ! {} \
             udpsrc address=127.0.0.1 port={port} caps=\"{RTP_CAPS}\" ! rtp.recv_rtp_sink \
             rtpsession name=rtp rtp-profile=avpf rtp.recv_rtp_src \
             ! rtprtxreceive name=rtx payload-type-map=\"application/x-rtp-pt-map,96=(uint)97\" \
             ! rtpssrcdemux ! rtpjitterbuffer latency={latency} do-lost=true do-retransmission=true",
            ports.to_receiver,
            to(ports.to_sender)
        ))
    }

    /// Receives RTP at `port` with forward error correction packets of payload type 122 in it.
    fn with_correction(port: u16, latency: u32) -> Result<Self> {
        Self::of(&format!(
            "udpsrc address=127.0.0.1 port={port} caps=\"{RTP_CAPS}\" ! rtpstorage name=storage size-time=1000000000 \
             ! rtpssrcdemux ! rtpjitterbuffer latency={latency} do-lost=true \
             ! rtpptdemux ignored-payload-types=<122> ! rtpulpfecdec name=fec pt=122"
        ))
    }

    /// Decodes what comes from the pipeline `source`.
    fn of(source: &str) -> Result<Self> {
        let pipeline = Pipeline::new(&format!(
            "{source} ! rtpfcmdepay name=depay ! fcmdec name=dec discard-corrupted-frames=true ! fakesink name=sink sync=false async=false"
        ))?;
        if let Some((fec, storage)) = pipeline.0.by_name("fec").zip(pipeline.0.by_name("storage")) {
            fec.set_property("storage", storage.property::<gst::glib::Object>("internal-storage"));
        }
        if let Some(rtp) = pipeline.0.by_name("rtp") {
            // RTCP has a twentieth of the bandwidth; by default so little that feedback waits its turn.
            let session = if rtp.has_property("bandwidth") {
                rtp.upcast::<gst::glib::Object>()
            } else {
                rtp.emit_by_name::<gst::glib::Object>("get-session", &[&0u32])
            };
            session.set_property("bandwidth", 2_000_000f64);
        }
        let frames = Arc::new(Mutex::new(Vec::new()));
        let seen = frames.clone();
        pipeline.watch("sink", move |buffer| {
            assert!(!buffer.flags().contains(gst::BufferFlags::CORRUPTED));
            seen.lock().unwrap().push(digest(buffer));
        })?;
        pipeline.play()?;
        Ok(Self { pipeline, frames })
    }

    fn received(&self) -> usize {
        self.frames.lock().unwrap().len()
    }

    /// Waits until `count` frames came, or nothing came for `patience`.
    fn wait(&self, count: usize, patience: Duration) -> Result<()> {
        let (mut received, mut since) = (self.received(), Instant::now());
        while received < count && since.elapsed() < patience {
            self.pipeline.check()?;
            std::thread::sleep(Duration::from_millis(20));
            let now = self.received();
            if now != received {
                (received, since) = (now, Instant::now());
            }
        }
        self.pipeline.check()
    }
}

/// Frames that a decoder can use of `frames` sent, one packet each, a random access unit every `key_int` of them.
fn survivors(conditions: &Conditions, frames: usize, key_int: usize) -> Vec<usize> {
    let mut channel = Channel::new(conditions.clone());
    let mut whole = false;
    (0..frames)
        .filter(|t| {
            let arrived = channel.pass(0, Duration::ZERO).next().is_some();
            whole = arrived && (whole || t % key_int == 0);
            whole
        })
        .collect()
}

/// Sends over a network in these conditions without feedback; checks that exactly the right frames arrive.
fn without_feedback(conditions: Conditions) -> Result<()> {
    const FRAMES: usize = 200;
    init();
    let [rtp] = free_ports()?;
    let receiver = Receiver::start(rtp, 500)?;
    let relay = Relay::start(local(0), local(rtp), conditions.clone())?;
    let mut sender = Sender::start(
        Features::small(),
        FRAMES,
        "key-int-max=16",
        &format!("mtu=4000 ! {}", to(relay.address().port())),
    )?;
    sender.finish()?;
    let expected = survivors(&conditions, FRAMES, 16);
    receiver.wait(expected.len(), PATIENCE)?;
    // Long enough for what must not come.
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(relay.counts().packets as usize, FRAMES, "one packet a frame");
    let got = sender.identify(&receiver.frames.lock().unwrap())?;
    println!("{} of {FRAMES} frames, {:?}", got.len(), relay.counts());
    assert_eq!(got, expected);
    Ok(())
}

#[test]
fn everything_arrives_where_nothing_is_lost() -> Result<()> {
    without_feedback(Conditions::default())
}

#[test]
fn one_per_cent_costs_the_frames_up_to_the_next_random_access_point() -> Result<()> {
    without_feedback(Conditions { seed: 4, loss: Loss::Random(0.01), ..Conditions::default() })
}

#[test]
fn so_does_five_per_cent() -> Result<()> {
    without_feedback(Conditions { seed: 5, loss: Loss::Random(0.05), ..Conditions::default() })
}

#[test]
fn so_does_twenty_per_cent() -> Result<()> {
    without_feedback(Conditions { seed: 6, loss: Loss::Random(0.2), ..Conditions::default() })
}

#[test]
fn so_do_bursts() -> Result<()> {
    let loss = Loss::Burst { enter: 0.02, leave: 0.2, good: 0.0, bad: 1.0 };
    without_feedback(Conditions { seed: 7, loss, ..Conditions::default() })
}

#[test]
fn delay_jitter_reordering_and_repetition_cost_nothing() -> Result<()> {
    let conditions = |seed| Conditions {
        seed,
        delay: Duration::from_millis(40),
        jitter: Duration::from_millis(30),
        reorder: 0.1,
        reorder_by: Duration::from_millis(45),
        duplicate: 0.1,
        ..Conditions::default()
    };
    // A jitter buffer cannot know of packets before the first that comes: the first ones are to come in order.
    let in_order = |seed: &u64| {
        let mut channel = Channel::new(conditions(*seed));
        let first: Vec<_> = (0..6).filter_map(|n| channel.pass(0, PERIOD * n).next()).collect();
        first.iter().all(|time| *time >= first[0] + PERIOD / 2 || *time == first[0])
    };
    without_feedback(conditions((8..).find(in_order).context("no seed")?))
}

/// Sends over a network in these conditions with PLI and, but for that, one random access point only. Gives the frames that were sent and that
/// arrived.
fn with_feedback(conditions: Conditions, frames: usize) -> Result<(Sender, Vec<usize>)> {
    init();
    let [rtp, to_receiver, to_sender] = free_ports()?;
    let ports = Ports { to_receiver, to_sender };
    let receiver = Receiver::with_rtcp(rtp, ports, 60)?;
    let relay = Relay::start(local(0), local(rtp), conditions)?;
    let mut sender = Sender::start(
        Features::small(),
        frames,
        "key-int-max=0",
        &format!("mtu=600 ! {}", ports.send(relay.address())),
    )?;
    sender.finish()?;
    receiver.wait(frames, Duration::from_secs(2))?;
    let got = sender.identify(&receiver.frames.lock().unwrap())?;
    let keys = sender.random_access.lock().unwrap().iter().filter(|key| **key).count();
    println!("{} of {frames} frames, {keys} random access units, {:?}", got.len(), relay.counts());
    let gaps: Vec<_> = got.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|gap| *gap > 0).collect();
    println!("frames missing at a time: {gaps:?}");
    Ok((sender, got))
}

#[test]
fn feedback_repairs_a_burst_of_total_loss() -> Result<()> {
    let (sender, got) =
        with_feedback(Conditions { drop: std::iter::once(60..70).collect(), ..Conditions::default() }, 150)?;
    let gaps: Vec<_> = got.windows(2).filter(|pair| pair[1] > pair[0] + 1).collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let (last, next) = (gaps[0][0], gaps[0][1]);
    println!("frames {} to {} are missing", last + 1, next - 1);
    ensure!(sender.random_access.lock().unwrap()[next], "frame {next} is what was asked for");
    // Packets are lost for about ten frames. Three frames and a round trip are what a quiet machine takes; this one may be busy.
    ensure!(next - last <= 10 + 15, "from frame {last} to {next}");
    ensure!(got.last() == Some(&149), "the end arrives");
    Ok(())
}

#[test]
fn feedback_repairs_one_per_cent() -> Result<()> {
    let (_, got) = with_feedback(Conditions { seed: 9, loss: Loss::Random(0.01), ..Conditions::default() }, 200)?;
    ensure!(got.len() > 150, "{} of 200", got.len());
    Ok(())
}

#[test]
fn feedback_repairs_five_per_cent() -> Result<()> {
    let (_, got) = with_feedback(Conditions { seed: 10, loss: Loss::Random(0.05), ..Conditions::default() }, 200)?;
    ensure!(got.len() > 90, "{} of 200", got.len());
    Ok(())
}

#[test]
fn feedback_keeps_the_stream_alive_at_twenty_per_cent() -> Result<()> {
    let (_, got) = with_feedback(Conditions { seed: 11, loss: Loss::Random(0.2), ..Conditions::default() }, 200)?;
    ensure!(got.len() > 15, "{} of 200", got.len());
    ensure!(*got.last().context("nothing arrived")? > 120, "the stream died at frame {:?}", got.last());
    Ok(())
}

#[test]
fn a_receiver_that_joins_late_or_restarts_asks_for_its_start() -> Result<()> {
    init();
    let [rtp, to_receiver, to_sender] = free_ports()?;
    let ports = Ports { to_receiver, to_sender };
    let relay = Relay::start(local(0), local(rtp), Conditions::default())?;
    let sender =
        Sender::start(Features::small(), 100_000, "key-int-max=0", &format!("! {}", ports.send(relay.address())))?;
    while sender.random_access.lock().unwrap().len() < 20 {
        std::thread::sleep(PERIOD);
    }
    for _ in 0..2 {
        let receiver = Receiver::with_rtcp(rtp, ports, 60)?;
        receiver.wait(10, PATIENCE)?;
        let got = sender.identify(&receiver.frames.lock().unwrap())?;
        ensure!(got.len() >= 10 && got[0] >= 20, "{got:?}");
        ensure!(sender.random_access.lock().unwrap()[got[0]]);
        ensure!(got.windows(2).all(|pair| pair[1] == pair[0] + 1), "{got:?}");
    }
    Ok(())
}

#[test]
fn a_sender_that_restarts_with_other_shapes_is_followed() -> Result<()> {
    init();
    let [rtp] = free_ports()?;
    let receiver = Receiver::start(rtp, 100)?;
    let relay = Relay::start(local(0), local(rtp), Conditions::default())?;
    let mut received = 0;
    let other = Features::new(vec![(Shape::chw(5, 9, 7), Dtype::F32)]);
    // A jitter buffer of its own takes numbers a little below the last for packets that come late; senders draw theirs by lot.
    for (features, first) in [(Features::small(), 1000), (other, 21000), (Features::small(), 41000)] {
        let send = format!("seqnum-offset={first} ! {}", to(relay.address().port()));
        let mut sender = Sender::start(features, 40, "key-int-max=1000", &send)?;
        sender.finish()?;
        receiver.wait(received + 40, PATIENCE)?;
        let frames = receiver.frames.lock().unwrap().split_off(received);
        let got = sender.identify(&frames)?;
        assert_eq!(got, (0..40).collect::<Vec<_>>());
        receiver.frames.lock().unwrap().extend(frames);
        received += 40;
    }
    assert_eq!(receiver.pipeline.count("dec", "stats", "corrupt")?, 0);
    Ok(())
}

/// Says that a test did nothing, because GStreamer has not got this element here.
fn lacks(element: &str) -> bool {
    init();
    let lacks = gst::ElementFactory::find(element).is_none();
    if lacks {
        println!("SKIPPED: there is no element {element}");
    }
    lacks
}

#[test]
fn forward_error_correction_restores_lost_packets() -> Result<()> {
    const FRAMES: usize = 120;
    if lacks("rtpulpfecenc") || lacks("rtpstorage") {
        return Ok(());
    }
    let [rtp] = free_ports()?;
    let receiver = Receiver::with_correction(rtp, 300)?;
    // Packets of data and of correction take turns; every fifth of data is lost.
    let drop: Vec<_> = (10..2 * FRAMES as u64).step_by(10).map(|n| n..n + 1).collect();
    let relay = Relay::start(local(0), local(rtp), Conditions { drop, ..Conditions::default() })?;
    let send = format!("mtu=4000 ! rtpulpfecenc pt=122 percentage=100 ! {}", to(relay.address().port()));
    let mut sender = Sender::start(Features::small(), FRAMES, "key-int-max=0", &send)?;
    sender.finish()?;
    receiver.wait(FRAMES, PATIENCE)?;
    let got = sender.identify(&receiver.frames.lock().unwrap())?;
    let recovered = receiver.pipeline.0.by_name("fec").context("fec")?.property::<u32>("recovered");
    println!("{} of {FRAMES} frames, {recovered} packets recovered, {:?}", got.len(), relay.counts());
    assert_eq!(relay.counts().packets as usize, 2 * FRAMES);
    assert_eq!(got, (0..FRAMES).collect::<Vec<_>>());
    ensure!(u64::from(recovered) == relay.counts().lost);
    Ok(())
}

#[test]
fn lost_packets_are_sent_again() -> Result<()> {
    const FRAMES: usize = 120;
    if lacks("rtprtxsend") {
        return Ok(());
    }
    let [rtp, to_receiver, to_sender] = free_ports()?;
    let ports = Ports { to_receiver, to_sender };
    let receiver = Receiver::with_retransmission(rtp, ports, 400)?;
    let relay =
        Relay::start(local(0), local(rtp), Conditions { drop: vec![20..22, 50..51, 70..73], ..Conditions::default() })?;
    let send = format!("mtu=4000 ! {}", ports.send_again(relay.address()));
    let mut sender = Sender::start(Features::small(), FRAMES, "key-int-max=0", &send)?;
    sender.finish()?;
    receiver.wait(FRAMES, Duration::from_secs(3))?;
    let got = sender.identify(&receiver.frames.lock().unwrap())?;
    let again = sender.pipeline.0.by_name("rtx").context("rtx")?.property::<u32>("num-rtx-packets");
    println!("{} of {FRAMES} frames, {again} packets sent again, {:?}", got.len(), relay.counts());
    ensure!(again >= 6);
    assert_eq!(got, (0..FRAMES).collect::<Vec<_>>());
    Ok(())
}
