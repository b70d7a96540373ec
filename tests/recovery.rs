//! How soon a stream is whole again, in frames, and how it follows its rate: the numbers of docs/rtp.md §7.

mod common;

#[allow(dead_code, reason = "its program uses more of it")]
#[path = "../examples/relay/channel.rs"]
mod channel;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../examples/relay/relay.rs"]
mod relay;

use anyhow::{Context, Result, ensure};
use channel::Conditions;
use common::live::*;
use common::*;
use gst::prelude::*;
use relay::Relay;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const RTP_CAPS: &str =
    "application/x-rtp,media=application,clock-rate=90000,encoding-name=FCM,payload=96,rtcp-fb-nack-pli=true";
const KEY_INT: usize = 16;

fn local(port: u16) -> std::net::SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// Without feedback, whatever the length of the burst and wherever it is: the next random access point is decoded, and everything after it.
#[test]
fn after_a_burst_the_next_random_access_point_is_decoded() -> Result<()> {
    const FRAMES: usize = 160;
    const PERIOD: Duration = Duration::from_millis(15);
    // First and last frame that are lost: within a period; only the frame before a random access point; a random access point itself; more than a period.
    let bursts = [20..24, 47..48, 64..65, 85..110, 130..144];
    let coded = Coded::small(FRAMES, KEY_INT)?;
    let port = free_port();
    let (_receiver, arrived) = Running::receive(&format!(
        "udpsrc address=127.0.0.1 port={port} caps=\"{RTP_CAPS}\" ! rtpjitterbuffer latency=60 do-lost=true ! rtpfcmdepay ! fcmdec discard-corrupted-frames=true"
    ))?;
    let drop = bursts.iter().map(|burst| burst.start as u64..burst.end as u64).collect();
    let relay = Relay::start(local(0), local(port), Conditions { drop, ..Conditions::default() })?;
    let sender = Running::start(&format!(
        "appsrc name=src format=time is-live=true ! fcmparse ! rtpfcmpay mtu=4000 ! udpsink host=127.0.0.1 port={} sync=false async=false",
        relay.address().port()
    ))?;
    coded.feed(&sender.0, 0..FRAMES, PERIOD)?.finish()?;
    let next = |frame: usize| frame.div_ceil(KEY_INT) * KEY_INT;
    let missing: Vec<_> = bursts.iter().map(|burst| burst.start..next(burst.end)).collect();
    let expected: Vec<usize> = (0..FRAMES).filter(|t| !missing.iter().any(|range| range.contains(t))).collect();
    arrived.wait(expected.len())?;
    assert_eq!(coded.numbers(&arrived.frames())?, expected);
    Ok(())
}

/// Loses ten frames of a stream with no other random access points than those asked for. Gives how many frames after the last lost one were lost too.
fn frames_until_feedback_helps(delay: Duration, period: Duration) -> Result<usize> {
    const FRAMES: usize = 60;
    const LOST: std::ops::Range<u64> = 25..35;
    let ports = free_ports(3);
    let (receiver, arrived) = Running::receive(&format!(
        "rtpbin name=rtp rtp-profile=avpf latency=40 do-lost=true udpsrc address=127.0.0.1 port={} caps=\"{RTP_CAPS}\" ! rtp.recv_rtp_sink_0 \
         udpsrc address=127.0.0.1 port={} ! rtp.recv_rtcp_sink_0 \
         rtp.send_rtcp_src_0 ! udpsink host=127.0.0.1 port={} sync=false async=false rtp. ! rtpfcmdepay ! fcmdec discard-corrupted-frames=true",
        ports[0], ports[1], ports[2]
    ))?;
    let session = receiver.element("rtp")?.emit_by_name::<gst::glib::Object>("get-session", &[&0u32]);
    session.set_property("bandwidth", 2_000_000f64);
    let conditions = Conditions { drop: vec![LOST], delay, ..Conditions::default() };
    let relay = Relay::start(local(0), local(ports[0]), conditions)?;
    let sender = Running::new(&format!(
        "appsrc name=src format=time is-live=true do-timestamp=true ! fcmenc qp=16 rd-strength=0 key-int-max=0 ! tee name=t \
         t. ! queue ! fcmdec ! fakesink name=reference sync=false async=false \
         t. ! queue ! rtpfcmpay mtu=4000 ! rtp.send_rtp_sink_0 rtpbin name=rtp rtp-profile=avpf \
         rtp.send_rtp_src_0 ! udpsink host=127.0.0.1 port={} sync=false async=false \
         rtp.send_rtcp_src_0 ! udpsink host=127.0.0.1 port={} sync=false async=false \
         udpsrc address=127.0.0.1 port={} ! rtp.recv_rtcp_sink_0",
        relay.address().port(),
        ports[1],
        ports[2]
    ))?;
    let sent = Arrived::at(&sender.0, "reference")?;
    sender.0.set_state(gst::State::Playing)?;
    let features = Features::small();
    let frames = (0..FRAMES).map(|t| {
        let mut buffer = features.buffer(t);
        buffer.make_mut().set_pts(gst::ClockTime::NONE);
        buffer
    });
    Feed::start(&sender.0, &features.caps_at(gst::Fraction::new(25, 1)), frames.collect(), period)?.finish()?;
    std::thread::sleep(delay + Duration::from_millis(200));
    sent.wait(FRAMES)?;
    let sent: Vec<u64> = sent.frames().iter().map(|frame| frame.digest).collect();
    let got: Vec<usize> = arrived
        .frames()
        .iter()
        .map(|frame| sent.iter().position(|digest| *digest == frame.digest).context("a frame that was never sent"))
        .collect::<Result<_>>()?;
    ensure!(got.iter().copied().take(25).eq(0..25), "{got:?}");
    let resumes = *got.get(25).context("the stream did not recover")?;
    ensure!(got[25..].iter().copied().eq(resumes..FRAMES), "{got:?}");
    ensure!(resumes >= LOST.end as usize, "{got:?}");
    Ok(resumes - LOST.end as usize)
}

/// The first packet after the burst tells of it; the request goes back, the next frame answers it: one round trip and up to three frames. A
/// machine that is busy at that moment may take longer, so the best of a few tries counts.
fn recovers_with_feedback(delay: Duration) -> Result<()> {
    let period = Duration::from_millis(40);
    let round_trip = delay.as_millis().div_ceil(period.as_millis()) as usize;
    let mut tries = Vec::new();
    for _ in 0..4 {
        tries.push(frames_until_feedback_helps(delay, period)?);
        println!(
            "{delay:?}: whole again {} frames after the burst, a round trip is {round_trip}",
            tries[tries.len() - 1]
        );
        if tries[tries.len() - 1] <= 3 + round_trip {
            return Ok(());
        }
    }
    anyhow::bail!("frames until the stream was whole again: {tries:?}")
}

#[test]
fn after_a_burst_feedback_makes_the_stream_whole_within_three_frames() -> Result<()> {
    recovers_with_feedback(Duration::ZERO)
}

#[test]
fn after_a_burst_feedback_makes_the_stream_whole_within_three_frames_and_a_round_trip() -> Result<()> {
    recovers_with_feedback(Duration::from_millis(120))
}

/// What the receiver gets follows `bitrate` down and up again, without a new stream.
#[test]
fn the_rate_follows_its_property_while_playing() -> Result<()> {
    const PERIOD: Duration = Duration::from_millis(5);
    const EACH: usize = 120;
    init();
    let port = free_port();
    let (receiver, arrived) = Running::receive(&format!(
        "udpsrc address=127.0.0.1 port={port} caps=\"{RTP_CAPS}\" ! rtpjitterbuffer latency=60 do-lost=true ! rtpfcmdepay ! fcmdec name=dec"
    ))?;
    let sizes: Arc<Mutex<Vec<usize>>> = Arc::default();
    let seen = sizes.clone();
    let pad = receiver.element("dec")?.static_pad("sink").context("sink")?;
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        seen.lock().unwrap().extend(info.buffer().map(|buffer| buffer.size()));
        gst::PadProbeReturn::Ok
    });
    let sender = Running::start(&format!(
        "appsrc name=src format=time is-live=true ! fcmenc name=enc bitrate=45 key-int-max=0 ! rtpfcmpay mtu=1200 ! udpsink host=127.0.0.1 port={port} sync=false"
    ))?;
    let features = Features::small();
    for (n, rate) in [45u32, 20, 35].into_iter().enumerate() {
        sender.element("enc")?.set_property("bitrate", rate);
        let frames = (n * EACH..(n + 1) * EACH).map(|t| features.buffer(t)).collect();
        Feed::start(&sender.0, &features.caps(), frames, PERIOD)?.finish()?;
        arrived.wait((n + 1) * EACH)?;
        // The second half: the rate control has found its quantiser.
        let bytes: usize = sizes.lock().unwrap()[n * EACH + EACH / 2..].iter().sum();
        let got = bytes as f64 * 8.0 * 25.0 / (EACH / 2) as f64 / 1000.0;
        println!("bitrate={rate}: {got:.1} kbit/s");
        ensure!((got - f64::from(rate)).abs() < 0.15 * f64::from(rate), "{got:.1} kbit/s instead of {rate}");
    }
    Ok(())
}
