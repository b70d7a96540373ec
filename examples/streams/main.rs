//! Many cameras and one server on this machine: what the server's process takes, by the number of streams.
//!
//! `cargo run --release --example streams -- --streams 1,8,16,24 --fps 5 --seconds 20`; `make bench-streams` writes docs/results/streams.md.
//! The server is a process of its own, so that only it is measured; the cameras send access units that were coded before.

mod features;
mod process;
mod receiver;
mod sender;

use anyhow::{Context, Result, bail, ensure};
use features::SHAPES;
use receiver::{Entrance, Receiver, Settings};
use sender::Sender;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const HELP: &str = "streams [options]
  --streams N,N…     numbers of streams to measure (1,8,16,24)
  --fps N            frames a second of each (5)
  --seconds N        how long each is measured (20)
  --components N     of the calibrated transform; 0: block DCT (640)
  --qp N             quantiser (20: about the rate of real features at 32)
Prints a table.";
/// A random access point every so many frames, and the length of the loop.
const KEY_INT: u32 = 32;
/// Until all cameras send.
const SETTLE: Duration = Duration::from_secs(12);

struct Options {
    streams: Vec<usize>,
    fps: u32,
    seconds: u64,
    components: u32,
    qp: u32,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    gst::init()?;
    gstfcm::plugin_register_static()?;
    if arguments.next_if(|argument| argument == "receive").is_some() {
        return receive(&arguments.collect::<Vec<_>>());
    }
    let mut options = Options { streams: vec![1, 8, 16, 24], fps: 5, seconds: 20, components: 640, qp: 20 };
    while let Some(name) = arguments.next() {
        if name == "--help" {
            println!("{HELP}");
            return Ok(());
        }
        let value = arguments.next().with_context(|| format!("{name} without a value\n{HELP}"))?;
        let number = || value.parse::<u32>().with_context(|| format!("{name} {value}"));
        match name.as_str() {
            "--streams" => options.streams = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--fps" => options.fps = number()?,
            "--seconds" => options.seconds = number()?.into(),
            "--components" => options.components = number()?,
            "--qp" => options.qp = number()?,
            _ => bail!("unknown option {name}\n{HELP}"),
        }
    }
    ensure!(options.fps > 0 && options.seconds > 0, "--fps and --seconds are 1 or more");
    measure(&options)
}

fn measure(options: &Options) -> Result<()> {
    let file = std::env::temp_dir().join(format!("fcm-streams-{}.fcmt", std::process::id()));
    let mut decoder = "threads=1".to_owned();
    let mut encoder = format!("qp={} key-int-max={KEY_INT}", options.qp);
    if options.components > 0 {
        eprintln!("calibrating {} components …", options.components);
        features::calibrate(&SHAPES, options.components, &file)?;
        for properties in [&mut decoder, &mut encoder] {
            *properties += &format!(" transform={}", file.display());
        }
    }
    eprintln!("coding {KEY_INT} frames …");
    let coded = features::code(&SHAPES, KEY_INT, options.fps, &encoder)?;
    println!("{:.0} kbit/s a stream\n", coded.rate(options.fps));
    println!(
        "| streams | entrance | frames/s decoded | of those sent | packet to frame: median, 99 %, worst | processor, of one core | memory |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut memories = Vec::new();
    for entrance in ["port each", "one port"] {
        for &streams in &options.streams {
            let row = one(options, &coded, entrance == "one port", streams, &decoder)?;
            println!("| {streams} | {entrance} | {}", row.text);
            memories.push((entrance, streams as f64, row.memory));
        }
    }
    println!();
    for entrance in ["port each", "one port"] {
        let of: Vec<_> = memories.iter().filter(|m| m.0 == entrance).collect();
        if let (Some(first), Some(last)) = (of.first(), of.last())
            && first.1 < last.1
        {
            println!("Memory a stream, {entrance}: {:.1} MiB", (last.2 - first.2) / (last.1 - first.1) / 1048576.0);
        }
    }
    let _ = std::fs::remove_file(&file);
    Ok(())
}

struct Row {
    text: String,
    memory: f64,
}

/// Free at this moment.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let sockets = (0..count).map(|_| std::net::UdpSocket::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    Ok(sockets.iter().map(|socket| Ok(socket.local_addr()?.port())).collect::<std::io::Result<_>>()?)
}

fn one(options: &Options, coded: &features::Coded, shared: bool, streams: usize, decoder: &str) -> Result<Row> {
    let ports = free_ports(if shared { 1 } else { streams })?;
    let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let mut child = Command::new(std::env::current_exe()?)
        .args(["receive", if shared { "shared" } else { "ports" }, &list, &options.seconds.to_string(), decoder])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    ensure!(lines.next().context("the receiver ended")?? == "ready", "the receiver is not ready");
    let period = Duration::from_secs(1) / options.fps;
    // Random access units are large, and those of cameras that know nothing of each other do not come at the same moment.
    let spread = period * KEY_INT / streams as u32;
    let senders = (0..streams)
        .map(|n| Sender::start(coded, ports[n % ports.len()], 1000 + n as u32, period, spread * n as u32))
        .collect::<Result<Vec<_>>>()?;
    ensure!(lines.next().context("the receiver ended")?? == "from here", "the receiver does not measure");
    let before: u64 = senders.iter().map(Sender::sent).sum();
    let text = lines.next().context("the receiver ended")??;
    let sent = senders.iter().map(Sender::sent).sum::<u64>() - before;
    child.wait()?;
    let fields: Vec<&str> = text.split(' ').collect();
    let [frames, least, median, most, worst, processor, memory] = fields[..] else { bail!("{text}") };
    let (frames, memory): (u64, f64) = (frames.parse()?, memory.parse()?);
    let text = format!(
        "{:.1} (slowest stream {:.2}) | {:.1} % | {median}, {most}, {worst} ms | {processor} % | {:.0} MiB |",
        frames as f64 / options.seconds as f64,
        least.parse::<f64>()? / options.seconds as f64,
        100.0 * frames as f64 / sent as f64,
        memory / 1048576.0
    );
    Ok(Row { text, memory })
}

/// The server. Says "ready", "from here", and then its figures.
fn receive(arguments: &[String]) -> Result<()> {
    let [kind, ports, seconds, decoder] = arguments else { bail!("started by hand") };
    let ports = ports.split(',').map(str::parse).collect::<Result<Vec<u16>, _>>()?;
    let seconds: u64 = seconds.parse()?;
    let entrance = match kind.as_str() {
        "shared" => Entrance::Shared { rtp: ports[0], rtcp: None },
        _ => Entrance::Ports(ports),
    };
    let settings = Settings { decoder: decoder.clone(), latency: 100, on_frame: None };
    let receiver = Receiver::start(&entrance, &settings)?;
    println!("ready");
    std::thread::sleep(SETTLE);
    let before = receiver.figures();
    let (start, processor) = (Instant::now(), process::processor_time()?);
    println!("from here");
    std::thread::sleep(Duration::from_secs(seconds));
    let (after, time) = (receiver.figures(), start.elapsed());
    let processor = process::processor_time()? - processor;
    let memory = process::memory(std::process::id())?;
    let counts: Vec<u64> =
        after.iter().map(|(name, f)| f.frames - before.get(name).map_or(0, |before| before.frames)).collect();
    let mut delays = vec![0u64; after.values().next().context("no stream came")?.delay.len()];
    for (name, figures) in &after {
        for (ms, (sum, count)) in delays.iter_mut().zip(&figures.delay).enumerate() {
            *sum += u64::from(*count - before.get(name).map_or(0, |before| before.delay[ms]));
        }
    }
    let total: u64 = delays.iter().sum();
    let quantile = |share: f64| {
        let mut seen = 0;
        delays.iter().position(|count| {
            seen += count;
            seen as f64 >= share * total as f64
        })
    };
    let ms = |share: f64| quantile(share).map_or("–".to_owned(), |ms| ms.to_string());
    println!(
        "{} {} {} {} {} {:.1} {memory}",
        counts.iter().sum::<u64>(),
        counts.iter().min().context("no stream")?,
        ms(0.5),
        ms(0.99),
        ms(1.0),
        100.0 * processor.as_secs_f64() / time.as_secs_f64()
    );
    Ok(())
}
