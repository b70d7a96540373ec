//! When frames were captured, and which are missing: what of that gets to the other side.

mod common;

#[allow(dead_code, reason = "its program uses more of it")]
#[path = "../examples/relay/channel.rs"]
mod channel;
#[path = "../examples/relay/relay.rs"]
mod relay;

use anyhow::{Context, Result, ensure};
use channel::Conditions;
use common::live::*;
use common::*;
use gst::prelude::*;
use gst_rtp::prelude::*;
use relay::Relay;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PERIOD: Duration = Duration::from_millis(20);
const RTP_CAPS: &str = "application/x-rtp,media=application,clock-rate=90000,encoding-name=FCM,payload=96";
/// Nanoseconds from 1900, where NTP counts from, to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800_000_000_000;

/// Raw buffers with a capture time each, `timestamp/x-ntp` and `timestamp/x-unix`.
fn captured(frames: usize, time: impl Fn(usize) -> u64) -> (Features, Vec<gst::Buffer>) {
    init();
    let features = Features::small();
    let buffers = (0..frames).map(|t| {
        let mut buffer = features.buffer(t);
        for (name, offset) in [("timestamp/x-ntp", NTP_TO_UNIX), ("timestamp/x-unix", 0)] {
            let reference = gst::Caps::new_empty_simple(name);
            let time = gst::ClockTime::from_nseconds(time(t) + offset);
            gst::ReferenceTimestampMeta::add(buffer.make_mut(), &reference, time, None);
        }
        buffer
    });
    let buffers = buffers.collect();
    (features, buffers)
}

fn reference(frame: &Frame, name: &str) -> Option<u64> {
    frame.references.iter().find(|(n, _)| n == name).map(|(_, time)| *time)
}

/// A time of day, different for each frame and not round.
fn time_of(t: usize) -> u64 {
    1_700_000_000_123_456_789 + 40_000_000 * t as u64
}

#[test]
fn capture_times_go_through_encoder_parser_and_decoder() -> Result<()> {
    const FRAMES: usize = 20;
    let (features, buffers) = captured(FRAMES, time_of);
    let (pipeline, arrived) =
        Running::receive("appsrc name=src format=time ! fcmenc rd-strength=0 ! fcmparse ! fcmdec")?;
    Feed::start(&pipeline.0, &features.caps(), buffers, Duration::ZERO)?.end()?;
    pipeline.finish()?;
    let frames = arrived.frames();
    assert_eq!(frames.len(), FRAMES);
    for (t, frame) in frames.iter().enumerate() {
        assert_eq!(reference(frame, "timestamp/x-ntp"), Some(time_of(t) + NTP_TO_UNIX), "frame {t}");
        assert_eq!(reference(frame, "timestamp/x-unix"), Some(time_of(t)), "frame {t}");
        assert_eq!(frame.pts, Some(FRAME * t as u64));
    }
    Ok(())
}

/// RFC 6051: the sender's own capture time, in the first packet of each frame, without RTCP.
#[test]
fn capture_times_travel_in_header_extensions() -> Result<()> {
    const FRAMES: usize = 30;
    const URI: &str = "urn:ietf:params:rtp-hdrext:ntp-64";
    if lacks(&["rtphdrextntp64"]) {
        return Ok(());
    }
    let (features, buffers) = captured(FRAMES, time_of);
    let port = free_port();
    let (receiver, arrived) = Running::receive(&format!(
        "udpsrc address=127.0.0.1 port={port} caps=\"{RTP_CAPS},extmap-1=(string){URI}\" \
         ! rtpjitterbuffer latency=100 do-lost=true ! rtpfcmdepay ! fcmdec discard-corrupted-frames=true"
    ))?;
    let sender = Running::new(&format!(
        "appsrc name=src format=time is-live=true ! fcmenc qp=22 rd-strength=0 ! fcmparse ! rtpfcmpay name=pay mtu=600 ! udpsink host=127.0.0.1 port={port} sync=false"
    ))?;
    let extension = gst_rtp::RTPHeaderExtension::create_from_uri(URI).context("no such extension")?;
    extension.set_id(1);
    extension.set_property("every-packet", true);
    sender.element("pay")?.emit_by_name::<()>("add-extension", &[&extension]);
    sender.0.set_state(gst::State::Playing)?;
    Feed::start(&sender.0, &features.caps(), buffers, PERIOD)?.finish()?;
    arrived.wait(FRAMES)?;
    receiver.check()?;
    for (t, frame) in arrived.frames().iter().enumerate() {
        let time = reference(frame, "timestamp/x-ntp").with_context(|| format!("frame {t} has no capture time"))?;
        // NTP's fractions of 2^-32 s.
        ensure!(time.abs_diff(time_of(t) + NTP_TO_UNIX) <= 1, "frame {t}: {time}");
    }
    Ok(())
}

/// A camera with RTCP, and the time of day at which each of its frames was handed to it, by frame.
struct Camera {
    _pipeline: Running,
    _feed: Feed,
    coded: Coded,
    given: Arc<Mutex<HashMap<usize, u64>>>,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

impl Camera {
    fn start(coded: &Coded, ports: [u16; 2]) -> Result<Self> {
        let [rtp, rtcp] = ports;
        let pipeline = Running::new(&format!(
            "appsrc name=src format=time is-live=true do-timestamp=true ! fcmparse ! rtpfcmpay mtu=1200 ! rtp.send_rtp_sink_0 \
             rtpbin name=rtp rtp-profile=avpf rtp.send_rtp_src_0 ! udpsink host=127.0.0.1 port={rtp} sync=false async=false \
             rtp.send_rtcp_src_0 ! udpsink host=127.0.0.1 port={rtcp} sync=false async=false"
        ))?;
        // The first report is to come soon, not after seconds.
        let rtp = pipeline.element("rtp")?;
        let session = rtp.emit_by_name::<gst::glib::Object>("get-session", &[&0u32]);
        session.set_property("bandwidth", 2_000_000f64);
        session.set_property("rtcp-min-interval", 200_000_000u64);
        pipeline.0.set_state(gst::State::Playing)?;
        let given: Arc<Mutex<HashMap<usize, u64>>> = Arc::default();
        let source = pipeline.element("src")?.static_pad("src").context("src")?;
        let (seen, count) = (given.clone(), std::sync::atomic::AtomicUsize::new(0));
        source.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            seen.lock().unwrap().insert(number, now());
            gst::PadProbeReturn::Ok
        });
        let bare = coded.units.iter().map(|unit| {
            let mut unit = unit.copy();
            unit.make_mut().set_pts(gst::ClockTime::NONE);
            unit
        });
        let feed = Feed::start(&pipeline.0, &coded.caps, bare.collect(), PERIOD)?;
        Ok(Self { _pipeline: pipeline, _feed: feed, coded: coded.clone(), given })
    }

    /// Pairs of capture time as it arrived, and as it was, of the frames that have one.
    fn times(&self, arrived: &Arrived) -> Result<Vec<(u64, u64)>> {
        let frames = arrived.frames();
        let numbers = self.coded.numbers(&frames)?;
        let given = self.given.lock().unwrap();
        let time = |(frame, number)| Some((reference(frame, "timestamp/x-ntp")? - NTP_TO_UNIX, *given.get(&number)?));
        Ok(frames.iter().zip(numbers).filter_map(time).collect())
    }
}

/// Two cameras that start at different times, each with clocks of its own: frames that were captured at the same time have the same NTP time at the
/// receiver, and it is the time of day at which they were captured.
#[test]
fn frames_of_two_cameras_are_aligned_by_ntp_time() -> Result<()> {
    const FRAMES: usize = 400;
    // What a busy machine adds between the clock and the frame.
    const TOLERANCE: u64 = 15_000_000;
    init();
    let ports = free_ports(4);
    let coded = Coded::small(FRAMES, 16)?;
    let receive = |ports: &[u16]| {
        Running::receive(&format!(
            "rtpbin name=rtp rtp-profile=avpf latency=100 do-lost=true add-reference-timestamp-meta=true \
             udpsrc address=127.0.0.1 port={} caps=\"{RTP_CAPS}\" ! rtp.recv_rtp_sink_0 \
             udpsrc address=127.0.0.1 port={} ! rtp.recv_rtcp_sink_0 rtp. ! rtpfcmdepay ! fcmdec discard-corrupted-frames=true",
            ports[0], ports[1]
        ))
    };
    let (_first_receiver, first_arrived) = receive(&ports[..2])?;
    let (_second_receiver, second_arrived) = receive(&ports[2..])?;
    let first = Camera::start(&coded, [ports[0], ports[1]])?;
    std::thread::sleep(Duration::from_millis(730));
    let second = Camera::start(&coded, [ports[2], ports[3]])?;
    wait("frames with capture times", || {
        let enough = |camera: &Camera, arrived| camera.times(arrived).is_ok_and(|times| times.len() >= 40);
        enough(&first, &first_arrived) && enough(&second, &second_arrived)
    })?;
    for (name, camera, arrived) in [("first", &first, &first_arrived), ("second", &second, &second_arrived)] {
        let mut errors: Vec<u64> = camera.times(arrived)?.iter().map(|(got, given)| got.abs_diff(*given)).collect();
        errors.sort_unstable();
        println!(
            "{name}: {} frames, error of the capture time at most {} µs",
            errors.len(),
            errors[errors.len() - 1] / 1000
        );
        let usual = errors[errors.len() * 9 / 10];
        ensure!(usual < TOLERANCE, "nine tenths of the {name} camera's frames are within {usual} ns");
    }
    // What a server does with it: the frame of the other camera that is nearest in time.
    let others = second.times(&second_arrived)?;
    let mut distances = first.times(&first_arrived)?.into_iter().filter_map(|(got, given)| {
        let nearest = others.iter().min_by_key(|(other, _)| other.abs_diff(got))?;
        // Only where both cameras were there.
        (nearest.0.abs_diff(got) <= PERIOD.as_nanos() as u64).then(|| nearest.1.abs_diff(given))
    });
    let worst = distances.by_ref().max().context("no frames at the same time")?;
    println!("frames taken for simultaneous were captured within {} µs", worst / 1000);
    ensure!(worst < PERIOD.as_nanos() as u64 / 2 + 2 * TOLERANCE, "{worst} ns");
    Ok(())
}

#[test]
fn the_receiver_sees_how_many_frames_are_missing() -> Result<()> {
    const FRAMES: usize = 64;
    let coded = Coded::small(FRAMES, 16)?;
    let port = free_port();
    let (receiver, arrived) = Running::receive(&format!(
        "udpsrc address=127.0.0.1 port={port} caps=\"{RTP_CAPS}\" ! rtpjitterbuffer latency=100 do-lost=true \
         ! rtpfcmdepay name=depay ! fcmdec name=dec discard-corrupted-frames=true"
    ))?;
    // One packet a frame: frames 20 to 22 and 40 are lost, and what is predicted from them up to frames 32 and 48.
    let conditions = Conditions { drop: vec![20..23, 40..41], ..Conditions::default() };
    let relay = Relay::start("127.0.0.1:0".parse()?, ([127, 0, 0, 1], port).into(), conditions)?;
    let sender = Running::start(&format!(
        "appsrc name=src format=time is-live=true ! fcmparse ! rtpfcmpay mtu=4000 ! udpsink host=127.0.0.1 port={} sync=false async=false",
        relay.address().port()
    ))?;
    coded.feed(&sender.0, 0..FRAMES, PERIOD)?.finish()?;
    let expected: Vec<usize> = (0..20).chain(32..40).chain(48..FRAMES).collect();
    arrived.wait(expected.len())?;
    assert_eq!(coded.numbers(&arrived.frames())?, expected);
    assert_eq!(relay.counts().packets as usize, FRAMES, "one packet a frame");
    assert_eq!(receiver.count("depay", "fcm-stats", "missing-frames")?, 4);
    // The decoder counts what it cannot use: its buffers say that something is missing (DISCONT), the depayloader knows how much.
    assert_eq!(receiver.count("dec", "stats", "awaiting")? as usize, FRAMES - 4 - expected.len());
    assert_eq!(receiver.count("dec", "stats", "corrupt")?, 0);
    // The frame after each gap says so.
    let after: Vec<usize> =
        arrived.frames().iter().zip(&expected).filter(|(frame, _)| frame.discont).map(|(_, n)| *n).collect();
    assert_eq!(after, [0, 32, 48]);
    Ok(())
}
