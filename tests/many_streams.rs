//! Many cameras and one receiving process (examples/streams/receiver.rs), with a port each and with one port for all: what happens to one stream is
//! nothing to the others.

mod common;

#[allow(dead_code, reason = "its program uses more of it")]
#[path = "../examples/streams/features.rs"]
mod features;
#[path = "../examples/streams/receiver.rs"]
mod receiver;
#[path = "../examples/streams/sender.rs"]
mod sender;

use anyhow::{Context, Result, ensure};
use common::live::*;
use common::*;
use features::Coded as Stream;
use receiver::{Entrance, Figures, Receiver, Settings};
use sender::Sender;
use std::time::Duration;

const PERIOD: Duration = Duration::from_millis(40);

/// Two different kinds of camera.
fn streams() -> Result<[Stream; 2]> {
    init();
    let code = |shapes: &[(u32, u32, u32)]| features::code(shapes, 16, 25, "qp=26 key-int-max=8");
    Ok([code(&[(8, 12, 16), (12, 6, 8)])?, code(&[(6, 10, 14)])?])
}

/// A receiver, and senders to it that are numbered.
struct Site {
    receiver: Receiver,
    ports: Vec<u16>,
}

/// SSRC of camera `n`.
fn ssrc(n: usize) -> u32 {
    1000 + n as u32
}

impl Site {
    fn new(shared: bool, cameras: usize) -> Result<Self> {
        let settings = Settings { decoder: "threads=1".into(), latency: 100, on_frame: None };
        let ports = free_ports(if shared { 1 } else { cameras });
        let entrance = match shared {
            true => Entrance::Shared { rtp: ports[0], rtcp: None },
            false => Entrance::Ports(ports.clone()),
        };
        let site = Self { receiver: Receiver::start(&entrance, &settings)?, ports };
        std::thread::sleep(Duration::from_millis(200));
        Ok(site)
    }

    fn shared(&self) -> bool {
        self.ports.len() == 1
    }

    fn camera(&self, n: usize, ssrc: u32, stream: &Stream) -> Result<Sender> {
        Sender::start(stream, self.ports[n % self.ports.len()], ssrc, PERIOD, Duration::from_millis(n as u64))
    }

    /// Figures of camera `n`, with this SSRC.
    fn figures(&self, n: usize, ssrc: u32) -> Figures {
        let name = if self.shared() { ssrc } else { u32::from(self.ports[n]) };
        self.receiver.figures().get(&name).cloned().unwrap_or_default()
    }

    fn frames(&self, n: usize) -> u64 {
        self.figures(n, ssrc(n)).frames
    }
}

/// All frames of these cameras arrived, each of them.
fn expect_all(site: &Site, cameras: Vec<(usize, Sender)>) -> Result<()> {
    for (n, camera) in cameras {
        // It stops between two frames.
        let sent = camera.sent();
        wait(&format!("{sent} frames of camera {n}, {} came", site.frames(n)), || site.frames(n) >= sent)?;
        let (frames, sent) = (site.frames(n), camera.sent());
        ensure!(frames >= sent - 1 && frames <= sent + 1, "camera {n}: {frames} of {sent} frames");
        assert_eq!(site.figures(n, ssrc(n)).failures, 0);
    }
    Ok(())
}

fn twenty_four(shared: bool) -> Result<()> {
    let streams = streams()?;
    let site = Site::new(shared, 24)?;
    let cameras = (0..24).map(|n| Ok((n, site.camera(n, ssrc(n), &streams[n % 2])?))).collect::<Result<Vec<_>>>()?;
    std::thread::sleep(Duration::from_secs(2));
    expect_all(&site, cameras)
}

#[test]
fn twenty_four_streams_at_once_with_a_port_each() -> Result<()> {
    twenty_four(false)
}

#[test]
fn twenty_four_streams_at_once_through_one_port() -> Result<()> {
    twenty_four(true)
}

/// Camera 1 vanishes in the middle of the stream, and comes back as another kind with another SSRC.
fn comes_back(shared: bool) -> Result<()> {
    let streams = streams()?;
    let site = Site::new(shared, 4)?;
    let camera = |n| Ok((n, site.camera(n, ssrc(n), &streams[0])?));
    let others = [0, 2, 3].into_iter().map(camera).collect::<Result<Vec<_>>>()?;
    let (_, first) = camera(1)?;
    wait("camera 1", || site.frames(1) > 10)?;
    drop(first);
    std::thread::sleep(Duration::from_millis(300));
    let before = if shared { 0 } else { site.frames(1) };
    let second = site.camera(1, 77, &streams[1])?;
    wait("camera 1 again", || site.figures(1, 77).frames >= before + 10)?;
    ensure!(second.sent() >= 10);
    expect_all(&site, others)
}

#[test]
fn a_stream_that_dies_and_comes_back_hurts_no_other_with_a_port_each() -> Result<()> {
    comes_back(false)
}

#[test]
fn a_stream_that_dies_and_comes_back_hurts_no_other_through_one_port() -> Result<()> {
    comes_back(true)
}

/// Camera 1 sends what the decoder must refuse with an error (it names a transform that nobody has), and is then set right.
fn fails(shared: bool) -> Result<()> {
    let streams = streams()?;
    let file = std::env::temp_dir().join(format!("fcm-test-{}-unknown.fcmt", std::process::id()));
    features::calibrate(&[(4, 8, 8)], 4, &file)?;
    let unknown = features::code(&[(4, 8, 8)], 16, 25, &format!("key-int-max=8 transform={}", file.display()))?;
    std::fs::remove_file(&file)?;
    let site = Site::new(shared, 4)?;
    let other = |n| Ok((n, site.camera(n, ssrc(n), &streams[0])?));
    let others = [0, 2, 3].into_iter().map(other).collect::<Result<Vec<_>>>()?;
    let camera = site.camera(1, ssrc(1), &unknown)?;
    wait("camera 1 to fail twice", || site.figures(1, ssrc(1)).failures >= 2)?;
    assert_eq!(site.frames(1), 0);
    camera.switch(&streams[1]);
    wait("camera 1 set right", || site.frames(1) > 10).with_context(|| format!("{} sent", camera.sent()))?;
    expect_all(&site, others)
}

#[test]
fn a_stream_that_fails_hurts_no_other_with_a_port_each() -> Result<()> {
    fails(false)
}

#[test]
fn a_stream_that_fails_hurts_no_other_through_one_port() -> Result<()> {
    fails(true)
}
