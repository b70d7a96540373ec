//! Coded features over the connections that GStreamer brings along, on the loopback interface: TCP, GDP, SRT, files; and who has another key.
//! RTP over UDP: `rtp_network.rs`. The recipes of docs/transport.md are these pipelines.

mod common;

use anyhow::{Context, Result, ensure};
use common::live::*;
use common::*;
use gst::prelude::*;
use std::time::Duration;

const FRAMES: usize = 60;
const KEY_INT: usize = 16;
const PERIOD: Duration = Duration::from_millis(10);
const SOURCE: &str = "appsrc name=src format=time is-live=true";

/// Frames that begin at a random access point, have no gap, and go on to the last one that was sent.
fn expect_tail(coded: &Coded, arrived: &Arrived, end: usize) -> Result<usize> {
    let numbers = coded.numbers(&arrived.frames())?;
    let first = *numbers.first().context("nothing arrived")?;
    ensure!(first % KEY_INT == 0, "begins at {first}");
    coded.expect(arrived, first..end)?;
    Ok(first)
}

/// Waits until the frame `number` arrived.
fn wait_for(coded: &Coded, arrived: &Arrived, number: usize) -> Result<()> {
    wait(&format!("frame {number}"), || {
        let frames = arrived.frames();
        frames.last().is_some_and(|last| coded.numbers(std::slice::from_ref(last)).is_ok_and(|n| n == [number]))
    })
}

/// A server that TCP clients can connect to.
fn tcp_server(port: u16, before: &str) -> Result<Running> {
    let server = Running::start(&format!(
        "{SOURCE} ! {before} tcpserversink name=server host=127.0.0.1 port={port} sync-method=latest-keyframe sync=false"
    ))?;
    wait("the server", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok(server)
}

fn clients(server: &Running, count: u32) -> Result<()> {
    let sink = server.element("server")?;
    wait("the client", || sink.property::<u32>("num-handles") >= count)
}

#[test]
fn tcp_carries_every_frame_and_ends_with_its_sender() -> Result<()> {
    let coded = Coded::small(FRAMES, KEY_INT)?;
    let port = free_port();
    let server = tcp_server(port, "")?;
    let (receiver, arrived) =
        Running::receive(&format!("tcpclientsrc host=127.0.0.1 port={port} ! fcmparse ! fcmdec"))?;
    clients(&server, 1)?;
    coded.feed(&server.0, 0..FRAMES, PERIOD)?.finish()?;
    arrived.wait(FRAMES)?;
    drop(server);
    receiver.finish()?;
    coded.expect(&arrived, 0..FRAMES)
}

#[test]
fn tcp_clients_join_late_leave_and_come_back() -> Result<()> {
    let coded = Coded::small(150, KEY_INT)?;
    let port = free_port();
    let server = tcp_server(port, "")?;
    let receive = format!("tcpclientsrc host=127.0.0.1 port={port} ! fcmparse ! fcmdec name=dec");
    let feed = coded.feed(&server.0, 0..150, PERIOD)?;
    std::thread::sleep(PERIOD * 20);
    for _ in 0..2 {
        let (receiver, arrived) = Running::receive(&receive)?;
        arrived.wait(10)?;
        let numbers = coded.numbers(&arrived.frames())?;
        ensure!(numbers[0] > 0 && numbers[0] % KEY_INT == 0, "{numbers:?}");
        ensure!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        assert_eq!(receiver.count("dec", "stats", "corrupt")?, 0);
    }
    let (_receiver, arrived) = Running::receive(&receive)?;
    feed.finish()?;
    wait_for(&coded, &arrived, 149)?;
    expect_tail(&coded, &arrived, 150)?;
    Ok(())
}

#[test]
fn a_tcp_sender_that_restarts_with_other_shapes_is_served_to_new_clients() -> Result<()> {
    let port = free_port();
    let other = Features::one(fcm_codec::Shape::chw(5, 9, 7));
    for coded in [Coded::small(20, KEY_INT)?, Coded::new(&other, 20, &[("qp", "18")])?] {
        let server = tcp_server(port, "")?;
        let (receiver, arrived) =
            Running::receive(&format!("tcpclientsrc host=127.0.0.1 port={port} ! fcmparse ! fcmdec"))?;
        clients(&server, 1)?;
        coded.feed(&server.0, 0..20, PERIOD)?.finish()?;
        arrived.wait(20)?;
        drop(server);
        receiver.finish()?;
        coded.expect(&arrived, 0..20)?;
    }
    Ok(())
}

/// Times of all frames are those that they were sent with.
fn expect_times(coded: &Coded, arrived: &Arrived) -> Result<()> {
    let frames = arrived.frames();
    for (frame, number) in frames.iter().zip(coded.numbers(&frames)?) {
        ensure!(frame.pts == Some(FRAME * number as u64), "frame {number} at {:?}", frame.pts);
    }
    Ok(())
}

#[test]
fn gdp_keeps_the_times_and_late_clients_get_caps() -> Result<()> {
    if lacks(&["gdppay"]) {
        return Ok(());
    }
    let coded = Coded::small(FRAMES, KEY_INT)?;
    let port = free_port();
    let server = tcp_server(port, "gdppay !")?;
    let receive = format!("tcpclientsrc host=127.0.0.1 port={port} ! gdpdepay ! fcmdec name=dec");
    let (receiver, arrived) = Running::receive(&receive)?;
    clients(&server, 1)?;
    let feed = coded.feed(&server.0, 0..FRAMES, PERIOD)?;
    arrived.wait(20)?;
    let (late_receiver, late) = Running::receive(&receive)?;
    feed.finish()?;
    arrived.wait(FRAMES)?;
    wait_for(&coded, &late, FRAMES - 1)?;
    drop(server);
    receiver.finish()?;
    late_receiver.finish()?;
    coded.expect(&arrived, 0..FRAMES)?;
    expect_times(&coded, &arrived)?;
    let first = expect_tail(&coded, &late, FRAMES)?;
    ensure!(first > 0, "the late client was early");
    expect_times(&coded, &late)
}

/// RFC 4571: what UDP would carry, with the distances of its times.
#[test]
fn rtp_over_tcp_keeps_the_distances_of_times() -> Result<()> {
    let coded = Coded::small(FRAMES, KEY_INT)?;
    let port = free_port();
    let (receiver, arrived) = Running::receive(&format!(
        "tcpserversrc host=127.0.0.1 port={port} do-timestamp=true \
         ! application/x-rtp-stream,media=application,clock-rate=90000,encoding-name=FCM,payload=96 \
         ! rtpstreamdepay ! rtpjitterbuffer mode=none latency=20 ! rtpfcmdepay ! fcmdec"
    ))?;
    std::thread::sleep(Duration::from_millis(200));
    let sender = Running::start(&format!(
        "{SOURCE} ! fcmparse ! rtpfcmpay mtu=600 ! rtpstreampay ! tcpclientsink host=127.0.0.1 port={port} sync=false"
    ))?;
    coded.feed(&sender.0, 0..FRAMES, PERIOD)?.finish()?;
    arrived.wait(FRAMES)?;
    sender.check()?;
    drop(sender);
    receiver.finish()?;
    coded.expect(&arrived, 0..FRAMES)?;
    let frames = arrived.frames();
    let first = frames[0].pts.context("a PTS")?;
    for (n, frame) in frames.iter().enumerate() {
        let time = frame.pts.context("a PTS")?.saturating_sub(first);
        // The clock of RTP has 90 kHz.
        let error = time.nseconds().abs_diff((FRAME * n as u64).nseconds());
        ensure!(error < 20_000, "frame {n} is at {time}");
    }
    Ok(())
}

#[test]
fn a_gdp_file_keeps_the_times() -> Result<()> {
    if lacks(&["gdppay"]) {
        return Ok(());
    }
    let coded = Coded::small(FRAMES, KEY_INT)?;
    let file = std::env::temp_dir().join(format!("fcm-test-{}.gdp", std::process::id()));
    let writer = Running::start(&format!("{SOURCE} ! gdppay ! filesink location={}", file.display()))?;
    coded.feed(&writer.0, 0..FRAMES, Duration::ZERO)?.end()?;
    writer.finish()?;
    let (reader, arrived) = Running::receive(&format!("filesrc location={} ! gdpdepay ! fcmdec", file.display()))?;
    let result = reader.finish();
    std::fs::remove_file(&file)?;
    result?;
    coded.expect(&arrived, 0..FRAMES)?;
    expect_times(&coded, &arrived)
}

/// A file that ends in the middle of an access unit, because its writer lost power, gives everything before that.
#[test]
fn a_file_that_was_cut_off_gives_all_whole_frames() -> Result<()> {
    let coded = Coded::small(FRAMES, KEY_INT)?;
    let file = std::env::temp_dir().join(format!("fcm-test-{}-cut.fcm", std::process::id()));
    let writer = Running::start(&format!("{SOURCE} ! filesink location={}", file.display()))?;
    coded.feed(&writer.0, 0..FRAMES, Duration::ZERO)?.end()?;
    writer.finish()?;
    let bytes = std::fs::read(&file)?;
    std::fs::write(&file, &bytes[..bytes.len() - 5])?;
    let (reader, arrived) = Running::receive(&format!("filesrc location={} ! fcmparse ! fcmdec", file.display()))?;
    let result = reader.finish();
    std::fs::remove_file(&file)?;
    result?;
    coded.expect(&arrived, 0..FRAMES - 1)?;
    expect_times(&coded, &arrived)
}

const SRT: [&str; 2] = ["srtsink", "srtsrc"];

/// Sends over SRT, with one passphrase at the sender and another or the same at the receiver; what arrived, and the receiver.
fn over_srt(coded: &Coded, port: u16, passphrases: [&str; 2]) -> Result<(Running, Arrived)> {
    let [own, other] = passphrases;
    let (receiver, arrived) = Running::receive(&format!(
        "srtsrc uri=srt://127.0.0.1:{port}?mode=listener passphrase={other} pbkeylen=16 latency=50 ! fcmparse ! fcmdec"
    ))?;
    std::thread::sleep(Duration::from_millis(300));
    let sender = Running::start(&format!(
        "{SOURCE} ! srtsink uri=srt://127.0.0.1:{port}?mode=caller passphrase={own} pbkeylen=16 latency=50 \
         wait-for-connection=false sync=false"
    ))?;
    // Connected, or refused.
    std::thread::sleep(Duration::from_millis(500));
    coded.feed(&sender.0, 0..coded.units.len(), PERIOD)?.finish()?;
    std::thread::sleep(Duration::from_millis(400));
    Ok((receiver, arrived))
}

#[test]
fn srt_carries_every_frame_encrypted() -> Result<()> {
    if lacks(&SRT) {
        return Ok(());
    }
    let coded = Coded::small(FRAMES, KEY_INT)?;
    let (receiver, arrived) = over_srt(&coded, free_port(), ["features-0123", "features-0123"])?;
    arrived.wait(FRAMES)?;
    receiver.check()?;
    coded.expect(&arrived, 0..FRAMES)
}

#[test]
fn srt_with_another_passphrase_gives_nothing() -> Result<()> {
    if lacks(&SRT) {
        return Ok(());
    }
    let coded = Coded::small(FRAMES, KEY_INT)?;
    let (_receiver, arrived) = over_srt(&coded, free_port(), ["features-0123", "features-9876"])?;
    assert_eq!(arrived.len(), 0);
    Ok(())
}

#[test]
fn an_srt_sender_that_restarts_is_heard_again() -> Result<()> {
    if lacks(&SRT) {
        return Ok(());
    }
    let coded = Coded::small(FRAMES, KEY_INT)?;
    let port = free_port();
    let (_receiver, arrived) = Running::receive(&format!(
        "srtsrc uri=srt://127.0.0.1:{port}?mode=listener keep-listening=true latency=50 ! fcmparse ! fcmdec"
    ))?;
    std::thread::sleep(Duration::from_millis(300));
    let mut arrived_before = 0;
    for _ in 0..2 {
        // The receiver may take seconds to notice that the sender before is gone: a camera calls until it is answered.
        for attempt in 1.. {
            let sender = Running::start(&format!(
                "{SOURCE} ! srtsink uri=srt://127.0.0.1:{port}?mode=caller latency=50 sync=false"
            ))?;
            std::thread::sleep(Duration::from_millis(500));
            coded.feed(&sender.0, 0..FRAMES, PERIOD)?.finish()?;
            std::thread::sleep(Duration::from_millis(400));
            if arrived.len() > arrived_before {
                // All of it, while its sender is there.
                wait_for(&coded, &arrived, FRAMES - 1)?;
                break;
            }
            ensure!(attempt < 8, "the receiver does not hear a sender that restarts");
        }
        let numbers = coded.numbers(&arrived.frames()[arrived_before..])?;
        ensure!(numbers[0] % KEY_INT == 0 && numbers.iter().copied().eq(numbers[0]..FRAMES), "{numbers:?}");
        arrived_before += numbers.len();
    }
    Ok(())
}

const SRTP: [&str; 2] = ["srtpenc", "srtpdec"];
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d";
const OTHER_KEY: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d";

fn over_srtp(coded: &Coded, keys: [&str; 2]) -> Result<(Running, Arrived)> {
    let port = free_port();
    let [own, other] = keys;
    let (receiver, arrived) = Running::receive(&format!(
        "udpsrc address=127.0.0.1 port={port} caps=\"application/x-srtp,media=application,clock-rate=90000,encoding-name=FCM,payload=96,\
         ssrc=(uint)7,srtp-key=(buffer){other},srtp-cipher=aes-128-icm,srtp-auth=hmac-sha1-80,srtcp-cipher=aes-128-icm,srtcp-auth=hmac-sha1-80\" \
         ! srtpdec name=srtp ! rtpjitterbuffer latency=200 do-lost=true ! rtpfcmdepay ! fcmdec"
    ))?;
    let sender = Running::start(&format!(
        "{SOURCE} ! fcmparse ! rtpfcmpay mtu=600 ssrc=7 ! srtpenc key={own} ! udpsink host=127.0.0.1 port={port} sync=false async=false"
    ))?;
    coded.feed(&sender.0, 0..coded.units.len(), PERIOD)?.finish()?;
    std::thread::sleep(Duration::from_millis(400));
    sender.check()?;
    Ok((receiver, arrived))
}

#[test]
fn srtp_carries_every_frame_encrypted() -> Result<()> {
    if lacks(&SRTP) {
        return Ok(());
    }
    let coded = Coded::small(FRAMES, KEY_INT)?;
    let (receiver, arrived) = over_srtp(&coded, [KEY, KEY])?;
    arrived.wait(FRAMES)?;
    receiver.check()?;
    coded.expect(&arrived, 0..FRAMES)
}

#[test]
fn srtp_with_another_key_gives_nothing() -> Result<()> {
    if lacks(&SRTP) {
        return Ok(());
    }
    let coded = Coded::small(FRAMES, KEY_INT)?;
    let (receiver, arrived) = over_srtp(&coded, [KEY, OTHER_KEY])?;
    let stats = receiver.element("srtp")?.property::<gst::Structure>("stats");
    println!("{stats}");
    ensure!(stats.get::<u32>("recv-drop-count")? > 0, "{stats}");
    assert_eq!(arrived.len(), 0);
    Ok(())
}
