//! Two network namespaces joined by a cable, a `gst-launch-1.0` in each: what RTP does between machines, as far as one machine can show it.
//!
//! Needs Linux and the right to make namespaces (root); says SKIPPED elsewhere. The same over the loopback interface, everywhere: `rtp_network.rs`.
#![cfg(target_os = "linux")]

mod common;

#[path = "../examples/relay/channel.rs"]
mod channel;
#[allow(dead_code, reason = "rtp_network.rs uses more of it")]
#[path = "../examples/relay/relay.rs"]
mod relay;

use anyhow::{Context, Result, bail, ensure};
use channel::{Channel, Conditions, Loss};
use common::*;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const FRAMES: usize = 100;
const KEY_INT: usize = 16;
const RTP_CAPS: &str = "application/x-rtp,media=application,clock-rate=90000,encoding-name=FCM,payload=96";
/// The receiver's address on the cable, and its port.
const RECEIVER: &str = "10.77.0.2:5004";

fn run(program: &str, arguments: &str) -> Result<()> {
    let output =
        Command::new(program).args(arguments.split_whitespace()).output().with_context(|| format!("no {program}"))?;
    ensure!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Namespaces `a` and `b`, gone when this is.
struct Network {
    name: String,
    children: Vec<Child>,
    folder: PathBuf,
}

impl Drop for Network {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for side in ["a", "b"] {
            let _ = run("ip", &format!("netns del {}-{side}", self.name));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Network {
    /// `None`, with a line that says why, where this machine does not allow it.
    fn new() -> Result<Option<Self>> {
        let skip = |why: &dyn std::fmt::Display| {
            println!("SKIPPED: {why}");
            Ok(None)
        };
        // The library that the tests link is also built as the plugin, beside this program.
        let plugin = std::env::current_exe()?.with_file_name("libgstfcm.so");
        if !plugin.is_file() {
            return skip(&format!("no plugin at {}", plugin.display()));
        }
        if Command::new("gst-launch-1.0").arg("--version").output().is_err() {
            return skip(&"no gst-launch-1.0");
        }
        let name = format!("fcm{}", std::process::id());
        if let Err(error) = run("ip", &format!("netns add {name}-a")) {
            return skip(&format!("no network namespaces can be made here ({error})"));
        }
        let folder = std::env::temp_dir().join(&name);
        let network = Self { name, children: Vec::new(), folder };
        let name = &network.name;
        run("ip", &format!("netns add {name}-b"))?;
        if let Err(error) = run("ip", &format!("link add va netns {name}-a type veth peer name vb netns {name}-b")) {
            return skip(&format!("no cable between namespaces can be made here ({error})"));
        }
        for (side, address) in [("a", "10.77.0.1/24"), ("b", "10.77.0.2/24")] {
            run("ip", &format!("-n {name}-{side} addr add {address} dev v{side}"))?;
            run("ip", &format!("-n {name}-{side} link set v{side} up"))?;
            run("ip", &format!("-n {name}-{side} link set lo up"))?;
        }
        // A folder with nothing else, so that no other copy of the plugin is found.
        std::fs::create_dir(&network.folder)?;
        std::fs::copy(&plugin, network.folder.join("libgstfcm.so"))?;
        Ok(Some(network))
    }

    fn command(&self, side: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-{side}", self.name), program]);
        command.env("GST_PLUGIN_PATH", &self.folder).env("GST_REGISTRY", self.folder.join("registry.bin"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        command
    }

    fn start(&mut self, mut command: Command) -> Result<usize> {
        self.children.push(command.spawn()?);
        Ok(self.children.len() - 1)
    }

    fn launch(&mut self, side: &str, pipeline: &str) -> Result<usize> {
        let mut command = self.command(side, "gst-launch-1.0");
        command.arg("-q").args(pipeline.split_whitespace());
        self.start(command)
    }

    /// This test program as a relay on side a, from port 5004 there to the receiver.
    fn relay(&mut self, seed: u64, loss: f64) -> Result<()> {
        let program = std::env::current_exe()?;
        let mut command = self.command("a", program.to_str().context("UTF-8")?);
        command.args(["--exact", "relay_process", "--ignored"]).env("FCM_TEST_RELAY", format!("{seed} {loss}"));
        self.start(command)?;
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        let out = self.out();
        self.launch(
            "b",
            &format!(
                "udpsrc address=10.77.0.2 port=5004 caps={RTP_CAPS} ! rtpjitterbuffer latency=400 do-lost=true ! rtpfcmdepay ! fcmdec discard-corrupted-frames=true \
                 ! filesink buffer-mode=2 location={}",
                out.display()
            ),
        )?;
        // The file is there once the pipeline runs.
        let start = Instant::now();
        while !out.exists() {
            ensure!(start.elapsed() < Duration::from_secs(30), "the receiver does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_millis(300));
        Ok(())
    }

    fn out(&self) -> PathBuf {
        self.folder.join("received.raw")
    }

    /// Sends the access units to `to` and waits until all are sent and received.
    fn send(&mut self, units: &[gst::Buffer], to: &str) -> Result<()> {
        let file = self.folder.join("sent.fcm");
        let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.map_readable().expect("mappable").to_vec()).collect();
        std::fs::write(&file, bytes)?;
        let (host, port) = to.split_once(':').context("an address with a port")?;
        let sender = self.launch(
            "a",
            &format!(
                "filesrc location={} ! fcmparse ! identity sync=true ! rtpfcmpay mtu=1400 seqnum-offset=0 ! udpsink host={host} port={port}",
                file.display()
            ),
        )?;
        let status = self.children[sender].wait()?;
        ensure!(status.success(), "the sender: {status}");
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    }

    /// Numbers of the frames that were received; an error if bytes are those of no frame.
    fn received(&self, features: &Features, caps: &gst::Caps, units: &[gst::Buffer]) -> Result<Vec<usize>> {
        let mut bench = decoder(caps, &[]);
        let mut reference = Vec::new();
        for unit in units {
            bench.harness.push(unit.clone())?;
            reference.push(bench.harness.pull()?.map_readable()?.to_vec());
        }
        let size: usize = features.layers.iter().map(|(shape, dtype)| shape.elements() as usize * dtype.size()).sum();
        let bytes = std::fs::read(self.out())?;
        ensure!(bytes.len() % size == 0, "{} bytes are not frames of {size}", bytes.len());
        let frames = bytes
            .chunks_exact(size)
            .map(|frame| reference.iter().position(|r| r == frame).context("a frame that was never sent"));
        let frames = frames.collect::<Result<Vec<_>>>()?;
        ensure!(frames.windows(2).all(|pair| pair[0] < pair[1]), "out of order: {frames:?}");
        Ok(frames)
    }
}

/// Features, coded caps and access units, each of which fits into a packet.
fn stream() -> Result<(Features, gst::Caps, Vec<gst::Buffer>)> {
    let features = Features::small();
    let (caps, units) = encode(&features, FRAMES, &[("qp", "22"), ("key-int-max", &KEY_INT.to_string())]);
    ensure!(units.iter().all(|unit| unit.size() < 1380), "an access unit that needs two packets");
    Ok((features, caps, units))
}

#[test]
#[ignore = "the relay that the other tests start in a namespace"]
fn relay_process() -> Result<()> {
    let Ok(settings) = std::env::var("FCM_TEST_RELAY") else { bail!("started by hand") };
    let (seed, loss) = settings.split_once(' ').context("seed and loss")?;
    let conditions = Conditions { seed: seed.parse()?, loss: Loss::Random(loss.parse()?), ..Conditions::default() };
    let _relay = relay::Relay::start("0.0.0.0:5004".parse()?, RECEIVER.parse()?, conditions)?;
    // Not bound to the loopback address, from which nothing gets onto the cable. Until it is killed, or whoever started it has been for too long.
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}

fn over_a_cable_that_loses(seed: u64, loss: f64) -> Result<()> {
    let Some(mut network) = Network::new()? else { return Ok(()) };
    let (features, caps, units) = stream()?;
    run(
        "ip",
        &format!("netns exec {}-a tc qdisc add dev va root tbf rate 2mbit burst 16kb latency 400ms", network.name),
    )?;
    network.relay(seed, loss)?;
    network.receive()?;
    network.send(&units, "127.0.0.1:5004")?;
    let mut channel = Channel::new(Conditions { seed, loss: Loss::Random(loss), ..Conditions::default() });
    let mut whole = false;
    let expected: Vec<usize> = (0..FRAMES)
        .filter(|t| {
            let arrived = channel.pass(0, Duration::ZERO).next().is_some();
            whole = arrived && (whole || t % KEY_INT == 0);
            whole
        })
        .collect();
    let got = network.received(&features, &caps, &units)?;
    println!("{} of {FRAMES} frames over a cable that loses {} %", got.len(), 100.0 * loss);
    assert_eq!(got, expected);
    Ok(())
}

#[test]
fn two_processes_over_a_good_cable() -> Result<()> {
    over_a_cable_that_loses(0, 0.0)
}

#[test]
fn two_processes_over_a_cable_that_loses_five_per_cent() -> Result<()> {
    over_a_cable_that_loses(21, 0.05)
}

#[test]
fn two_processes_over_a_cable_that_loses_twenty_per_cent() -> Result<()> {
    over_a_cable_that_loses(22, 0.2)
}

#[test]
fn what_a_link_too_slow_lets_through_is_right() -> Result<()> {
    let Some(mut network) = Network::new()? else { return Ok(()) };
    let (features, caps, units) = stream()?;
    let rate = units.iter().map(|unit| unit.size()).sum::<usize>() * 8 * 25 / FRAMES;
    let link = rate * 3 / 4;
    let qdisc = format!("tc qdisc add dev va root tbf rate {link}bit burst 3kb latency 60ms");
    run("ip", &format!("netns exec {}-a {qdisc}", network.name))?;
    network.receive()?;
    network.send(&units, RECEIVER)?;
    let got = network.received(&features, &caps, &units)?;
    println!("{} of {FRAMES} frames of a stream of {rate} bit/s over a link of {link} bit/s", got.len());
    ensure!(got.len() > FRAMES / 10 && got.len() < FRAMES);
    Ok(())
}

#[test]
fn two_processes_where_the_kernel_drops_packets() -> Result<()> {
    let Some(mut network) = Network::new()? else { return Ok(()) };
    let rule = "iptables -A INPUT -p udp -m statistic --mode nth --every 10 --packet 5 -j DROP";
    if let Err(error) = run("ip", &format!("netns exec {}-b {rule}", network.name)) {
        println!("SKIPPED: no iptables with statistic here ({error})");
        return Ok(());
    }
    let (features, caps, units) = stream()?;
    network.receive()?;
    network.send(&units, RECEIVER)?;
    let mut whole = false;
    let expected: Vec<usize> = (0..FRAMES)
        .filter(|t| {
            whole = t % 10 != 5 && (whole || t % KEY_INT == 0);
            whole
        })
        .collect();
    assert_eq!(network.received(&features, &caps, &units)?, expected);
    Ok(())
}
