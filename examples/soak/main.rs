//! Cameras and a server for a long time over a bad network: memory is to stay flat, and no stream to stop.
//!
//! `cargo run --release --example soak -- --minutes 30`; `make soak` writes docs/results/soak.md. Four processes: the server, two cameras that stay,
//! and one that is killed or ended every minute and comes back with another SSRC and, every other time, other tensors. Packets go through the
//! relay of examples/relay, RTCP with requests for random access points straight.

#[path = "../relay/channel.rs"]
mod channel;
#[allow(dead_code, reason = "examples/streams uses more of it")]
#[path = "../streams/features.rs"]
mod features;
#[allow(dead_code, reason = "examples/streams uses more of it")]
#[path = "../streams/process.rs"]
mod process;
#[allow(dead_code, reason = "examples/streams uses more of it")]
#[path = "../streams/receiver.rs"]
mod receiver;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../relay/relay.rs"]
mod relay;

use anyhow::{Context, Result, bail, ensure};
use channel::{Conditions, Loss};
use gst::prelude::*;
use receiver::{Entrance, Receiver, Settings};
use relay::Relay;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const HELP: &str = "soak [--minutes N] [--restart SECONDS]   30 minutes; the third camera lives 60 seconds
Prints a table; fails when memory grows or a stream stops.";
const FPS: u32 = 25;
const KINDS: [&[(u32, u32, u32)]; 2] = [&[(16, 24, 32), (32, 12, 16)], &[(24, 16, 20)]];
/// A stream that gives no frame for so long has stopped.
const PATIENCE: Duration = Duration::from_secs(15);
/// Memory may grow by this, and by a twentieth.
const SLACK: f64 = 2.0 * 1048576.0;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    gst::init()?;
    gstfcm::plugin_register_static()?;
    let (mut minutes, mut restart) = (30.0, 60.0);
    match arguments.first().map(String::as_str) {
        Some("receive") => return receive(&arguments[1..]),
        Some("send") => return send(&arguments[1..]),
        _ => {}
    }
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { bail!("{HELP}") };
        let number: f64 = value.parse().with_context(|| format!("{name} {value}"))?;
        match name.as_str() {
            "--minutes" => minutes = number,
            "--restart" => restart = number,
            _ => bail!("unknown option {name}\n{HELP}"),
        }
    }
    ensure!(minutes > 0.0 && restart >= 5.0, "--minutes above 0, --restart 5 or more");
    soak(Duration::from_secs_f64(60.0 * minutes), Duration::from_secs_f64(restart))
}

/// A process that ends with this one.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(arguments: &[&str]) -> Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self(child))
    }

    fn memory(&self) -> Result<f64> {
        Ok(process::memory(self.0.id())? as f64)
    }

    /// Lets it say goodbye.
    fn end(mut self) {
        drop(self.0.stdin.take());
        let start = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A camera's way to the server.
struct Way {
    relay: Relay,
    to_server: u16,
    to_camera: u16,
}

impl Way {
    fn camera(&self, ssrc: u32, kind: usize) -> Result<Process> {
        let numbers = [self.relay.address().port(), self.to_server, self.to_camera].map(|port| port.to_string());
        let [relay, to_server, to_camera] = &numbers;
        Process::start(&["send", relay, to_server, to_camera, &ssrc.to_string(), &kind.to_string()])
    }
}

fn free_ports(count: usize) -> Result<Vec<u16>> {
    let sockets = (0..count).map(|_| std::net::UdpSocket::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    Ok(sockets.iter().map(|socket| Ok(socket.local_addr()?.port())).collect::<std::io::Result<_>>()?)
}

fn conditions() -> [Conditions; 3] {
    let ms = Duration::from_millis;
    [
        Conditions { seed: 1, loss: Loss::Random(0.01), delay: ms(20), jitter: ms(20), ..Conditions::default() },
        Conditions {
            seed: 2,
            loss: Loss::Burst { enter: 0.005, leave: 0.2, good: 0.0, bad: 1.0 },
            delay: ms(20),
            jitter: ms(10),
            reorder: 0.01,
            reorder_by: ms(50),
            duplicate: 0.01,
            ..Conditions::default()
        },
        Conditions { seed: 3, loss: Loss::Random(0.05), delay: ms(10), jitter: ms(30), ..Conditions::default() },
    ]
}

/// What the server said last: frames of every stream, and when they became more.
type Frames = Arc<Mutex<HashMap<u32, (u64, Instant)>>>;

fn soak(time: Duration, restart: Duration) -> Result<()> {
    let ports = free_ports(5)?;
    let (rtp, rtcp) = (ports[0], ports[1]);
    let ways = conditions()
        .into_iter()
        .zip(&ports[2..])
        .map(|(conditions, &to_camera)| {
            let relay = Relay::start("127.0.0.1:0".parse()?, ([127, 0, 0, 1], rtp).into(), conditions)?;
            Ok(Way { relay, to_server: rtcp, to_camera })
        })
        .collect::<Result<Vec<_>>>()?;
    let back = ports[2..].iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let mut server = Process::start(&["receive", &rtp.to_string(), &rtcp.to_string(), &back])?;
    let frames = Frames::default();
    let mut lines = BufReader::new(server.0.stdout.take().context("no output")?).lines();
    ensure!(lines.next().context("the server ended")?? == "ready", "the server is not ready");
    let heard = frames.clone();
    std::thread::spawn(move || hear(lines, &heard));

    let start = Instant::now();
    let (mut ssrc, mut life) = (1002, 0);
    let steady = [ways[0].camera(1000, 0)?, ways[1].camera(1001, 1)?];
    let mut restless = ways[2].camera(ssrc, 0)?;
    let mut born = start;
    println!("| minute | server | camera 1 | camera 2 | frames 1 | frames 2 | frames 3 | lives of camera 3 |");
    println!("|---|---|---|---|---|---|---|---|");
    let every = time / 180;
    let row = Duration::from_secs_f64((time.as_secs_f64() / 30.0).max(10.0));
    let (mut sampled, mut printed) = (start, start);
    let mut samples: Vec<(f64, [f64; 3])> = Vec::new();
    let mut gone = 0;
    while start.elapsed() < time {
        std::thread::sleep(Duration::from_millis(200));
        let seen = |ssrc| frames.lock().unwrap().get(&ssrc).copied();
        for (n, ssrc, since) in [(1, 1000, start), (2, 1001, start), (3, ssrc, born)] {
            let last = seen(ssrc).map_or(since, |(_, at)| at);
            ensure!(last.elapsed() < PATIENCE, "camera {n} gives no frames since {:?}", last.elapsed());
        }
        if born.elapsed() > restart {
            gone += seen(ssrc).map_or(0, |(frames, _)| frames);
            life += 1;
            // Every other time without a word, as where the power fails.
            if life % 2 == 0 {
                restless.end()
            } else {
                drop(restless)
            }
            ssrc += 1;
            restless = ways[2].camera(ssrc, life / 2 % 2)?;
            born = Instant::now();
        }
        if sampled.elapsed() >= every {
            sampled = Instant::now();
            let minute = start.elapsed().as_secs_f64() / 60.0;
            let memory = [server.memory()?, steady[0].memory()?, steady[1].memory()?];
            samples.push((minute, memory));
            if printed.elapsed() >= row {
                printed = Instant::now();
                let [server, one, two] = memory.map(|bytes| format!("{:.1} MiB", bytes / 1048576.0));
                let frames = |ssrc| seen(ssrc).map_or(0, |(frames, _)| frames);
                println!(
                    "| {minute:.1} | {server} | {one} | {two} | {} | {} | {} | {} |",
                    frames(1000),
                    frames(1001),
                    gone + frames(ssrc),
                    life + 1
                );
            }
        }
    }
    println!();
    for (n, way) in ways.iter().enumerate() {
        println!("Camera {}: {:?}  ", n + 1, way.relay.counts());
    }
    println!();
    let mut grown = Vec::new();
    for (n, name) in ["server", "camera 1", "camera 2"].into_iter().enumerate() {
        let (first, last) = ends(&samples, n);
        let growth = last - first;
        println!(
            "Memory of {name}, medians: {:.2} MiB in the second fifth, {:.2} MiB in the last, {:+.2} MiB  ",
            first / 1048576.0,
            last / 1048576.0,
            growth / 1048576.0
        );
        if growth > SLACK + 0.05 * first {
            grown.push(name);
        }
    }
    ensure!(grown.is_empty(), "memory grows: {grown:?}");
    println!("\nNo stream stopped, and memory is flat.");
    Ok(())
}

/// Medians of the second and the last fifth: the first one is warming up.
fn ends(samples: &[(f64, [f64; 3])], n: usize) -> (f64, f64) {
    let fifth = samples.len() / 5;
    let median = |part: &[(f64, [f64; 3])]| {
        let mut values: Vec<f64> = part.iter().map(|(_, memory)| memory[n]).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    (median(&samples[fifth..2 * fifth]), median(&samples[samples.len() - fifth..]))
}

fn hear(lines: impl Iterator<Item = std::io::Result<String>>, frames: &Frames) {
    for line in lines.map_while(Result::ok) {
        let mut frames = frames.lock().unwrap();
        for (ssrc, count) in line.split(' ').filter_map(|field| field.split_once(':')) {
            let (Ok(ssrc), Ok(count)) = (ssrc.parse::<u32>(), count.parse::<u64>()) else { continue };
            let known = frames.entry(ssrc).or_insert((0, Instant::now()));
            if count > known.0 {
                *known = (count, Instant::now());
            }
        }
    }
}

/// The server: says "ready", and then every half a second the frames of all streams that are alive.
fn receive(arguments: &[String]) -> Result<()> {
    let [rtp, rtcp, back] = arguments else { bail!("started by hand") };
    let back = back.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let entrance = Entrance::Shared { rtp: rtp.parse()?, rtcp: Some((rtcp.parse()?, back)) };
    let settings = Settings { decoder: "threads=1".into(), latency: 100, on_frame: None };
    let receiver = Receiver::start(&entrance, &settings)?;
    println!("ready");
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let alive = receiver.figures().into_iter().filter(|(_, figures)| figures.alive);
        let fields: Vec<String> = alive.map(|(ssrc, figures)| format!("{ssrc}:{}", figures.frames)).collect();
        println!("{}", fields.join(" "));
    }
}

/// A camera, until its standard input ends.
fn send(arguments: &[String]) -> Result<()> {
    let [relay, to_server, to_camera, ssrc, kind] = arguments else { bail!("started by hand") };
    let shapes = *KINDS.get(kind.parse::<usize>()?).context("no such kind")?;
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=src is-live=true do-timestamp=true format=time ! fcmenc qp=8 key-int-max=250 threads=1 min-force-key-unit-interval=100000000 \
         ! rtpfcmpay mtu=1200 ssrc={ssrc} ! rtp.send_rtp_sink_0 rtpbin name=rtp rtp-profile=avpf \
         rtp.send_rtp_src_0 ! udpsink host=127.0.0.1 port={relay} sync=false async=false \
         rtp.send_rtcp_src_0 ! udpsink host=127.0.0.1 port={to_server} sync=false async=false \
         udpsrc address=127.0.0.1 port={to_camera} ! rtp.recv_rtcp_sink_0"
    ))?
    .downcast::<gst::Pipeline>()
    .ok()
    .context("no pipeline")?;
    let source = pipeline.by_name("src").and_downcast::<gst_app::AppSrc>().context("no appsrc")?;
    source.set_caps(Some(&features::caps(shapes, FPS)));
    let scene: Vec<gst::Buffer> = (0..64).map(|t| features::buffer(shapes, t)).collect();
    pipeline.set_state(gst::State::Playing)?;
    let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let end = ended.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        end.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let bus = pipeline.bus().context("no bus")?;
    let (start, period) = (Instant::now(), Duration::from_secs(1) / FPS);
    for n in 0.. {
        std::thread::sleep((start + period * n).saturating_duration_since(Instant::now()));
        if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error])
            && let gst::MessageView::Error(error) = message.view()
        {
            bail!("{}: {:?}", error.error(), error.debug());
        }
        if ended.load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
        // There and back again, so that the scene has no cut.
        let t = n as usize % (2 * scene.len());
        source.push_buffer(scene[t.min(2 * scene.len() - 1 - t)].copy())?;
    }
    source.end_of_stream()?;
    // RTCP's BYE goes out with the end.
    bus.timed_pop_filtered(gst::ClockTime::from_seconds(1), &[gst::MessageType::Eos, gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null)?;
    Ok(())
}
