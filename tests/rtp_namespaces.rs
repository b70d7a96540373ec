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

const FRAMES: usize = 64;
const KEY_INT: usize = 16;
/// 25 frames a second.
const FRAME_TIME: Duration = Duration::from_millis(40);
const RTP_CAPS: &str = "application/x-rtp,media=application,clock-rate=90000,encoding-name=FCM,payload=96";
/// When nothing has come for so long, a busy machine is no longer the reason.
const SILENCE: Duration = Duration::from_secs(10);
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
    fn relay(&mut self, conditions: &str) -> Result<()> {
        let program = std::env::current_exe()?;
        let mut command = self.command("a", program.to_str().context("UTF-8")?);
        command.args(["--exact", "relay_process", "--ignored"]).env("FCM_TEST_RELAY", conditions);
        self.start(command)?;
        Ok(())
    }

    /// A receiver that writes frames to the file `name`.
    fn receive_to(&mut self, name: &str) -> Result<usize> {
        self.receiver(
            name,
            &format!("udpsrc address=10.77.0.2 port=5004 caps={RTP_CAPS} ! rtpjitterbuffer latency=400 do-lost=true"),
        )
    }

    /// The same behind the elements `source`.
    fn receiver(&mut self, name: &str, source: &str) -> Result<usize> {
        let out = self.folder.join(name);
        let pipeline = format!(
            "{source} ! rtpfcmdepay ! fcmdec discard-corrupted-frames=true ! filesink buffer-mode=2 async=false location={}",
            out.display()
        );
        let receiver = self.launch("b", &pipeline)?;
        // The file is there once the pipeline runs.
        let start = Instant::now();
        while !out.exists() {
            ensure!(start.elapsed() < Duration::from_secs(30), "the receiver does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_millis(300));
        Ok(receiver)
    }

    fn receive(&mut self) -> Result<usize> {
        self.receive_to("received.raw")
    }

    /// Adds a rule on the receiver's side; `false`, with a line that says so, where that cannot be done.
    fn iptables(&self, rule: &str) -> Result<bool> {
        let result = run("ip", &format!("netns exec {}-b iptables {rule}", self.name));
        if let Err(error) = &result {
            println!("SKIPPED: no iptables with statistic here ({error})");
        }
        Ok(result.is_ok())
    }

    fn kill(&mut self, child: usize) {
        let _ = self.children[child].kill();
        let _ = self.children[child].wait();
    }

    /// Writes the access units to a file for `filesrc`.
    fn store(&self, units: &[gst::Buffer]) -> Result<PathBuf> {
        let file = self.folder.join("sent.fcm");
        let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.map_readable().expect("mappable").to_vec()).collect();
        std::fs::write(&file, bytes)?;
        Ok(file)
    }

    /// Begins to send the access units to `to`; the first packet has the number `first`.
    fn begin(&mut self, units: &[gst::Buffer], to: &str, first: u16) -> Result<usize> {
        let file = self.store(units)?;
        let (host, port) = to.split_once(':').context("an address with a port")?;
        self.launch(
            "a",
            &format!(
                "filesrc location={} ! fcmparse ! identity sync=true ! rtpfcmpay mtu=1400 seqnum-offset={first} ! udpsink host={host} port={port}",
                file.display()
            ),
        )
    }

    /// Waits until the sender has sent and the receiver received everything.
    fn finish(&mut self, sender: usize) -> Result<()> {
        let status = self.children[sender].wait()?;
        ensure!(status.success(), "the sender: {status}");
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    }

    /// The same of a sender with `rtpbin`, which may not end by itself: rtpsession of GStreamer 1.22 sends EOS to the sink of RTCP only if
    /// its thread says BYE after the EOS has been noted on the pad that it came by, and both happen at once (docs/rtp.md, section 11.2).
    fn finish_session(&mut self, sender: usize, name: &str) -> Result<()> {
        let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
        let file = self.folder.join(name);
        let (mut received, mut since) = (size(&file), Instant::now());
        while since.elapsed() < SILENCE {
            if let Some(status) = self.children[sender].try_wait()? {
                ensure!(status.success(), "the sender: {status}");
                std::thread::sleep(Duration::from_secs(1));
                break;
            }
            std::thread::sleep(FRAME_TIME);
            let now = size(&file);
            if now != received {
                (received, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    fn send(&mut self, units: &[gst::Buffer], to: &str) -> Result<()> {
        let sender = self.begin(units, to, 0)?;
        self.finish(sender)
    }

    /// Numbers of the frames that were received; an error if bytes are those of no frame.
    fn received(&self, features: &Features, caps: &gst::Caps, units: &[gst::Buffer]) -> Result<Vec<usize>> {
        self.received_in("received.raw", features, caps, units)
    }

    /// The same of the file `name`.
    fn received_in(
        &self,
        name: &str,
        features: &Features,
        caps: &gst::Caps,
        units: &[gst::Buffer],
    ) -> Result<Vec<usize>> {
        let bytes = std::fs::read(self.folder.join(name))?;
        frames_in(&bytes, features, caps, units)
    }
}

fn frame_size(features: &Features) -> usize {
    features.layers.iter().map(|(shape, dtype)| shape.elements() as usize * dtype.size()).sum()
}

/// Numbers of the frames that these bytes are.
fn frames_in(bytes: &[u8], features: &Features, caps: &gst::Caps, units: &[gst::Buffer]) -> Result<Vec<usize>> {
    let mut bench = decoder(caps, &[]);
    let mut reference = Vec::new();
    for unit in units {
        bench.harness.push(unit.clone())?;
        reference.push(bench.harness.pull()?.map_readable()?.to_vec());
    }
    let size = frame_size(features);
    ensure!(bytes.len().is_multiple_of(size), "{} bytes are not frames of {size}", bytes.len());
    let frames = bytes
        .chunks_exact(size)
        .map(|frame| reference.iter().position(|r| r == frame).context("a frame that was never sent"));
    let frames = frames.collect::<Result<Vec<_>>>()?;
    ensure!(frames.windows(2).all(|pair| pair[0] < pair[1]), "out of order: {frames:?}");
    Ok(frames)
}

/// Features, coded caps and access units, each of which fits into a packet.
fn stream() -> Result<(Features, gst::Caps, Vec<gst::Buffer>)> {
    let features = Features::small();
    let (caps, units) = encode(&features, FRAMES, &[("qp", "22"), ("key-int-max", &KEY_INT.to_string()), EVERY_CHANGE]);
    ensure!(units.iter().all(|unit| unit.size() < 1380), "an access unit that needs two packets");
    Ok((features, caps, units))
}

/// Conditions as words: `seed=1 loss=0.05 burst=0.02,0.2 drop=20..30 delay=40 jitter=30 reorder=0.1 duplicate=0.1`, times in milliseconds.
fn conditions(words: &str) -> Result<Conditions> {
    let mut conditions = Conditions { reorder_by: Duration::from_millis(45), ..Conditions::default() };
    for word in words.split_whitespace() {
        let (name, value) = word.split_once('=').with_context(|| word.to_owned())?;
        let ms = || -> Result<Duration> { Ok(Duration::from_millis(value.parse()?)) };
        match name {
            "seed" => conditions.seed = value.parse()?,
            "loss" => conditions.loss = Loss::Random(value.parse()?),
            "burst" => {
                let (enter, leave) = value.split_once(',').context("two probabilities")?;
                conditions.loss = Loss::Burst { enter: enter.parse()?, leave: leave.parse()?, good: 0.0, bad: 1.0 };
            }
            "drop" => {
                let (first, end) = value.split_once("..").context("a range")?;
                conditions.drop.push(first.parse()?..end.parse()?);
            }
            "delay" => conditions.delay = ms()?,
            "jitter" => conditions.jitter = ms()?,
            "reorder" => conditions.reorder = value.parse()?,
            "duplicate" => conditions.duplicate = value.parse()?,
            _ => bail!("{word}"),
        }
    }
    Ok(conditions)
}

#[test]
#[ignore = "the relay that the other tests start in a namespace"]
fn relay_process() -> Result<()> {
    let Ok(words) = std::env::var("FCM_TEST_RELAY") else { bail!("started by hand") };
    let _relay = relay::Relay::start("0.0.0.0:5004".parse()?, RECEIVER.parse()?, conditions(&words)?)?;
    // Not bound to the loopback address, from which nothing gets onto the cable. Until it is killed, or whoever started it has been for too long.
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}

/// Sends through the relay over the cable; exactly what the loss leaves arrives.
fn over_a_cable(words: &str) -> Result<()> {
    let Some(mut network) = Network::new()? else { return Ok(()) };
    let (features, caps, units) = stream()?;
    run(
        "ip",
        &format!("netns exec {}-a tc qdisc add dev va root tbf rate 2mbit burst 16kb latency 400ms", network.name),
    )?;
    network.relay(words)?;
    network.receive()?;
    network.send(&units, "127.0.0.1:5004")?;
    let mut channel = Channel::new(conditions(words)?);
    let mut whole = false;
    let expected: Vec<usize> = (0..FRAMES)
        .filter(|t| {
            let arrived = channel.pass(0, Duration::ZERO).next().is_some();
            whole = arrived && (whole || t % KEY_INT == 0);
            whole
        })
        .collect();
    let got = network.received(&features, &caps, &units)?;
    println!("{} of {FRAMES} frames over a cable with {words}", got.len());
    assert_eq!(got, expected);
    Ok(())
}

#[test]
fn two_processes_over_a_good_cable() -> Result<()> {
    over_a_cable("")
}

#[test]
fn two_processes_over_a_cable_that_loses_five_per_cent() -> Result<()> {
    over_a_cable("seed=21 loss=0.05")
}

#[test]
fn two_processes_over_a_cable_that_loses_twenty_per_cent() -> Result<()> {
    over_a_cable("seed=22 loss=0.2")
}

#[test]
fn two_processes_over_a_cable_that_loses_bursts() -> Result<()> {
    over_a_cable("seed=23 burst=0.04,0.25")
}

/// The jitter buffer puts right what the network only shuffles.
#[test]
fn two_processes_over_a_cable_that_delays_shuffles_and_repeats() -> Result<()> {
    const WORDS: &str = "delay=40 jitter=30 reorder=0.1 duplicate=0.1";
    // A jitter buffer cannot know of packets before the first that comes: the first ones are to come in order.
    let in_order = |seed: &u64| {
        let mut channel = Channel::new(conditions(&format!("{WORDS} seed={seed}")).expect("legal"));
        let first: Vec<_> = (0..6).filter_map(|n| channel.pass(0, FRAME_TIME * n).next()).collect();
        first.windows(2).all(|pair| pair[0] < pair[1])
    };
    let seed = (1..).find(in_order).context("no seed")?;
    over_a_cable(&format!("{WORDS} seed={seed}"))
}

/// Frames that begin at a random access point and go on to the last one.
fn expect_tail(frames: &[usize]) -> Result<usize> {
    let first = *frames.first().context("nothing arrived")?;
    ensure!(first % KEY_INT == 0 && frames.iter().copied().eq(first..FRAMES), "{frames:?}");
    Ok(first)
}

#[test]
fn a_receiver_process_that_joins_late_or_restarts_begins_at_a_random_access_point() -> Result<()> {
    let Some(mut network) = Network::new()? else { return Ok(()) };
    let (features, caps, units) = stream()?;
    let sender = network.begin(&units, RECEIVER, 0)?;
    std::thread::sleep(Duration::from_millis(500));
    let first = network.receive_to("first.raw")?;
    std::thread::sleep(Duration::from_millis(400));
    network.kill(first);
    network.receive_to("second.raw")?;
    network.finish(sender)?;
    let late = expect_tail(&network.received_in("second.raw", &features, &caps, &units)?)?;
    ensure!(late > 0, "not late at all");
    let cut_off = network.received_in("first.raw", &features, &caps, &units)?;
    println!("the first receiver had {cut_off:?}, the second began at {late}");
    ensure!(cut_off.first().is_none_or(|first| first % KEY_INT == 0), "{cut_off:?}");
    ensure!(cut_off.windows(2).all(|pair| pair[1] == pair[0] + 1), "{cut_off:?}");
    Ok(())
}

#[test]
fn a_sender_process_that_restarts_with_other_parameters_is_followed() -> Result<()> {
    let Some(mut network) = Network::new()? else { return Ok(()) };
    let other = Features::one(fcm_codec::Shape::chw(10, 12, 14));
    let streams = [Features::small(), other].map(|features| {
        let (caps, units) =
            encode(&features, 25, &[("qp", "16"), ("key-int-max", "16"), ("statistics", "simplified"), EVERY_CHANGE]);
        (features, caps, units)
    });
    network.receive()?;
    for ((_, _, units), first) in streams.iter().zip([1000, 40_000]) {
        let sender = network.begin(units, RECEIVER, first)?;
        network.finish(sender)?;
    }
    let bytes = std::fs::read(network.folder.join("received.raw"))?;
    let mut rest = &bytes[..];
    for (features, caps, units) in &streams {
        let size = 25 * frame_size(features);
        ensure!(rest.len() >= size, "{} bytes are missing", size - rest.len());
        let (own, others) = rest.split_at(size);
        assert_eq!(frames_in(own, features, caps, units)?, (0..25).collect::<Vec<_>>());
        rest = others;
    }
    ensure!(rest.is_empty(), "{} bytes too many", rest.len());
    Ok(())
}

/// The only random access point but the first is one that the receiver asks for, over RTCP between the namespaces.
#[test]
fn feedback_between_two_processes_repairs_a_burst_of_total_loss() -> Result<()> {
    let Some(mut network) = Network::new()? else { return Ok(()) };
    let (features, _, units) = stream()?;
    let file = network.store(&units)?;
    network.relay("drop=20..26 delay=10")?;
    network.receiver(
        "received.raw",
        &format!(
            "rtpbin name=rtp rtp-profile=avpf latency=100 do-lost=true \
             udpsrc address=10.77.0.2 port=5004 caps={RTP_CAPS},rtcp-fb-nack-pli=true ! rtp.recv_rtp_sink_0 \
             udpsrc address=10.77.0.2 port=5005 ! rtp.recv_rtcp_sink_0 \
             rtp.send_rtcp_src_0 ! udpsink host=10.77.0.1 port=5006 sync=false async=false rtp."
        ),
    )?;
    let sender = network.launch(
        "a",
        &format!(
            "rtpbin name=rtp rtp-profile=avpf filesrc location={} ! fcmparse ! fcmdec ! identity sync=true \
             ! fcmenc qp=22 rd-strength=0 key-int-max=0 ! rtpfcmpay mtu=1400 ! rtp.send_rtp_sink_0 \
             rtp.send_rtp_src_0 ! udpsink host=127.0.0.1 port=5004 \
             rtp.send_rtcp_src_0 ! udpsink host=10.77.0.2 port=5005 sync=false async=false \
             udpsrc address=10.77.0.1 port=5006 ! rtp.recv_rtcp_sink_0",
            file.display()
        ),
    )?;
    network.finish_session(sender, "received.raw")?;
    let frames = std::fs::read(network.folder.join("received.raw"))?.len() / frame_size(&features);
    println!("{frames} of {FRAMES} frames");
    // Six are lost, and some until the request is answered; without it, all after the twentieth.
    ensure!((FRAMES - 6 - 20..FRAMES).contains(&frames), "{frames}");
    Ok(())
}

#[test]
fn what_the_kernel_drops_at_random_is_never_used() -> Result<()> {
    let Some(mut network) = Network::new()? else { return Ok(()) };
    if !network.iptables("-A INPUT -p udp -m statistic --mode random --probability 0.1 -j DROP")? {
        return Ok(());
    }
    let (features, caps, units) = stream()?;
    network.receive()?;
    network.send(&units, RECEIVER)?;
    let frames = network.received(&features, &caps, &units)?;
    println!("{frames:?}");
    let resumes = frames.windows(2).filter(|pair| pair[1] != pair[0] + 1).all(|pair| pair[1] % KEY_INT == 0);
    ensure!(resumes && frames.first().is_none_or(|first| first % KEY_INT == 0), "{frames:?}");
    Ok(())
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
    if !network.iptables("-A INPUT -p udp -m statistic --mode nth --every 10 --packet 5 -j DROP")? {
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
