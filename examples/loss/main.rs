//! What packet loss costs a tracker: features through fcmenc, RTP packets, a seeded channel, fcmdec, the network's second half and a tracker,
//! against ground truth. One line of JSON a pattern of loss; `benches/evaluation/loss_table.py` makes docs/results/loss.md of them.
//!
//! ```sh
//! cargo run --release --example loss -- --source features.fcm --transform T.fcmt --model back.onnx --truth scenes/scene-00001 \
//!     --detect "input-width=512 input-height=288 iou-threshold=0.45" --loss 0.05 --seeds 8 --round-trip 3
//! ```

#[path = "../relay/channel.rs"]
#[allow(dead_code, reason = "the relay uses more of it")]
mod channel;

use anyhow::{Context, Result, anyhow, bail, ensure};
use channel::{Channel, Conditions, Loss};
use fcm_analytics::json::Frame;
use fcm_analytics::metrics::{ClearMot, Identity};
use fcm_analytics::mot::{self, Object};
use gst::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longest time that a pattern may take.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(120);
/// Overlap from which a result is the object.
const LEAST_IOU: f64 = 0.5;

const HELP: &str = "loss --source F.fcm --transform T.fcmt --model BACK.onnx --truth SEQUENCE [options]
  --detect PROPERTIES    of tensordetect
  --track PROPERTIES     of boxtrack
  --encode PROPERTIES    of fcmenc
  --decode PROPERTIES    of fcmdec
  --mtu BYTES            1200
  --loss P               probability that a packet is lost (0)
  --copies N             how often a packet is sent, and so may be lost, before it is missing (1): retransmission, FEC of 100 %
  --round-trip FRAMES    requests for random access frames are answered after this many frames; without it they are not
  --seeds N              patterns (1)
  --frames N             of the sequence (all of the source)
  --realtime             sends at the frame rate: what asks for random access frames waits in real time";

struct Arguments {
    source: PathBuf,
    transform: PathBuf,
    model: PathBuf,
    truth: PathBuf,
    detect: String,
    track: String,
    encode: String,
    decode: String,
    mtu: u32,
    loss: f64,
    copies: u32,
    round_trip: Option<u64>,
    seeds: u64,
    frames: Option<u32>,
    realtime: bool,
}

impl Arguments {
    fn parse() -> Result<Self> {
        let mut values = std::collections::HashMap::new();
        let mut words = std::env::args().skip(1);
        while let Some(name) = words.next() {
            ensure!(name != "--help", "{HELP}");
            let value = if name == "--realtime" {
                String::new()
            } else {
                words.next().with_context(|| format!("{name} without a value"))?
            };
            values.insert(name, value);
        }
        let mut take = |name: &str| values.remove(name);
        let text = |value: Option<String>| value.unwrap_or_default();
        let number = |name: &str, value: Option<String>, otherwise: f64| -> Result<f64> {
            value.map_or(Ok(otherwise), |v| v.parse().with_context(|| format!("{name} {v}: not a number")))
        };
        let path = |name: &str, value: Option<String>| {
            value.map(PathBuf::from).with_context(|| format!("{name} is needed\n{HELP}"))
        };
        let round_trip = take("--round-trip");
        let frames = take("--frames");
        let arguments = Self {
            source: path("--source", take("--source"))?,
            transform: path("--transform", take("--transform"))?,
            model: path("--model", take("--model"))?,
            truth: path("--truth", take("--truth"))?,
            detect: text(take("--detect")),
            track: text(take("--track")),
            encode: text(take("--encode")),
            decode: text(take("--decode")),
            mtu: number("--mtu", take("--mtu"), 1200.0)? as u32,
            loss: number("--loss", take("--loss"), 0.0)?,
            copies: number("--copies", take("--copies"), 1.0)? as u32,
            round_trip: round_trip.map(|v| v.parse().with_context(|| format!("--round-trip {v}"))).transpose()?,
            seeds: number("--seeds", take("--seeds"), 1.0)? as u64,
            frames: frames.map(|v| v.parse().with_context(|| format!("--frames {v}"))).transpose()?,
            realtime: take("--realtime").is_some(),
        };
        ensure!((0.0..1.0).contains(&arguments.loss), "--loss {}: legal are 0 to below 1", arguments.loss);
        if let Some(name) = values.keys().next() {
            bail!("unknown option {name}\n{HELP}");
        }
        Ok(arguments)
    }
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\""))
}

/// Ground truth, and the pictures' width, height and frame rate.
fn truth(folder: &Path, frames: Option<u32>) -> Result<(Vec<Vec<Object>>, mot::SequenceInfo)> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let info = mot::SequenceInfo::parse(&read("seqinfo.ini")?)?;
    let entries = mot::parse(&read("gt/gt.txt")?)?;
    let count = frames.unwrap_or(info.length).min(info.length);
    Ok((mot::by_frame(entries.iter().filter(|e| e.counts()), count), info))
}

/// Loses packets of the buffers and lists that pass.
fn lose_packets(pay: &gst::Element, copies: u32, loss: f64, seed: u64) -> Result<Arc<Mutex<(u64, u64)>>> {
    let pad = pay.static_pad("src").context("a payloader has a source pad")?;
    let mut channel =
        Channel::new(Conditions { seed, loss: Loss::Random(loss.powi(copies as i32)), ..Conditions::default() });
    let counts = Arc::new(Mutex::new((0, 0)));
    let seen = counts.clone();
    let channel = Mutex::new(move |bytes: usize| channel.pass(bytes, Duration::ZERO).next().is_some());
    let arrives = move |buffer: &gst::BufferRef| {
        let arrived = (channel.lock().unwrap())(buffer.size());
        let mut seen = seen.lock().unwrap();
        seen.0 += 1;
        seen.1 += u64::from(!arrived);
        arrived
    };
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) if !arrives(buffer) => return gst::PadProbeReturn::Drop,
            Some(gst::PadProbeData::BufferList(list)) => {
                list.make_mut().foreach_mut(|buffer, _| {
                    std::ops::ControlFlow::Continue(Some(buffer).filter(|buffer| arrives(buffer)))
                });
                if list.is_empty() {
                    return gst::PadProbeReturn::Drop;
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    Ok(counts)
}

/// Keeps requests for random access frames from the encoder for `round_trip` frames, or for ever.
fn delay_requests(encoder: &gst::Element, pay: &gst::Element, round_trip: Option<u64>) -> Result<Arc<Mutex<u64>>> {
    let pending: Arc<Mutex<Option<(u64, gst::Event)>>> = Arc::default();
    let (frame, answered) = (Arc::new(Mutex::new(0u64)), Arc::new(Mutex::new(0u64)));
    let (held, now) = (pending.clone(), frame.clone());
    let back = pay.static_pad("src").context("a payloader has a source pad")?;
    back.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        let request = info.event().filter(|e| e.structure().is_some_and(|s| s.name() == "GstForceKeyUnit")).cloned();
        let Some(request) = request else { return gst::PadProbeReturn::Ok };
        if let Some(round_trip) = round_trip {
            // The frame that is being sent has been counted.
            held.lock().unwrap().get_or_insert((*now.lock().unwrap() - 1 + round_trip, request));
        }
        gst::PadProbeReturn::Handled
    });
    let count = answered.clone();
    let (sink, src) = encoder.static_pad("sink").zip(encoder.static_pad("src")).context("an encoder has pads")?;
    sink.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let at = {
            let mut frame = frame.lock().unwrap();
            *frame += 1;
            *frame - 1
        };
        let due = {
            let mut pending = pending.lock().unwrap();
            if pending.as_ref().is_some_and(|(due, _)| *due <= at) { pending.take() } else { None }
        };
        if let Some((_, request)) = due {
            *count.lock().unwrap() += 1;
            src.send_event(request);
        }
        gst::PadProbeReturn::Ok
    });
    Ok(answered)
}

/// Runs one pattern; returns what is printed of it.
fn run(a: &Arguments, truth: &[Vec<Object>], info: &mot::SequenceInfo, seed: u64) -> Result<serde_json::Value> {
    let Arguments { detect, track, encode, decode, mtu, .. } = a;
    let (source, transform, model) = (quoted(&a.source), quoted(&a.transform), quoted(&a.model));
    let sync = a.realtime;
    let description = format!(
        "filesrc location={source} ! fcmparse ! fcmdec transform={transform} ! identity sync={sync} ! fcmenc name=enc transform={transform} {encode} \
         ! rtpfcmpay name=pay mtu={mtu} ! rtpfcmdepay name=depay ! fcmdec name=dec transform={transform} {decode} \
         ! tensorinfer model={model} ! tensordetect picture-width={} picture-height={} {detect} ! boxtrack {track} ! appsink name=out sync=false",
        info.width, info.height
    );
    let pipeline = gst::parse::launch(&description).with_context(|| description.clone())?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| anyhow!("not a pipeline"))?;
    let result = watch(&pipeline, a, truth, seed);
    pipeline.set_state(gst::State::Null)?;
    result
}

fn watch(pipeline: &gst::Pipeline, a: &Arguments, truth: &[Vec<Object>], seed: u64) -> Result<serde_json::Value> {
    let element = |name: &str| pipeline.by_name(name).with_context(|| format!("no element {name}"));
    let (encoder, pay, decoder, depay) = (element("enc")?, element("pay")?, element("dec")?, element("depay")?);
    let packets = lose_packets(&pay, a.copies, a.loss, seed)?;
    let answered = delay_requests(&encoder, &pay, a.round_trip)?;
    let results: Arc<Mutex<Vec<Vec<Object>>>> = Arc::new(Mutex::new(vec![Vec::new(); truth.len()]));
    let sink = element("out")?.downcast::<gst_app::AppSink>().map_err(|_| anyhow!("no appsink"))?;
    let (found, shown) = (results.clone(), Arc::new(Mutex::new(0u64)));
    let count = shown.clone();
    let take = move |sample: gst::Sample| -> Result<()> {
        let buffer = sample.buffer().context("a sample without a buffer")?;
        let caps = sample.caps().and_then(|caps| caps.structure(0)).context("a sample without caps")?;
        let rate = caps.get::<gst::Fraction>("framerate")?;
        let pts = buffer.pts().context("tracks without a time")?;
        let frame = (pts.nseconds() as f64 / 1e9 * f64::from(rate.numer()) / f64::from(rate.denom())).round() as usize;
        let tracks = Frame::parse(&buffer.map_readable()?)?;
        let persons = tracks.objects.iter().filter(|o| o.class == 0);
        let objects = persons.map(|o| Object { id: o.id.map_or(-1, |id| id as i64), rect: o.rect() });
        *count.lock().unwrap() += 1;
        if let Some(slot) = found.lock().unwrap().get_mut(frame) {
            *slot = objects.collect();
        }
        Ok(())
    };
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                take(sample).map(|()| gst::FlowSuccess::Ok).map_err(|error| {
                    eprintln!("{error:#}");
                    gst::FlowError::Error
                })
            })
            .build(),
    );
    pipeline.set_state(gst::State::Playing)?;
    let bus = pipeline.bus().context("a pipeline without a bus")?;
    let end = bus.timed_pop_filtered(PATIENCE, &[gst::MessageType::Eos, gst::MessageType::Error]);
    match end.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => {}
        // Loss may be so great that nothing could be decoded, which fcmdec takes for an error at the end.
        Some(gst::MessageView::Error(e)) if e.src() == Some(decoder.upcast_ref()) && *shown.lock().unwrap() == 0 => {}
        Some(gst::MessageView::Error(e)) => {
            bail!("{}: {}", e.src().map(|s| s.path_string()).unwrap_or_default(), e.error())
        }
        _ => bail!("no end within {PATIENCE}"),
    }
    let results = results.lock().unwrap();
    let clear = ClearMot::evaluate(truth, &results, LEAST_IOU);
    let identity = Identity::evaluate(truth, &results, LEAST_IOU);
    let stat = |element: &gst::Element, property: &str, name: &str| -> Result<u64> {
        element.property::<gst::Structure>(property).get(name).with_context(|| format!("{name} of {}", element.name()))
    };
    let (packets, lost) = *packets.lock().unwrap();
    Ok(serde_json::json!({
        "loss": a.loss, "copies": a.copies, "round_trip": a.round_trip, "seed": seed,
        "mota": clear.mota(), "idf1": identity.f1(),
        "packets": packets, "lost": lost, "requests_answered": *answered.lock().unwrap(),
        "bytes": stat(&encoder, "stats", "bytes-out")?,
        "frames": *shown.lock().unwrap(), "inexact": stat(&decoder, "stats", "inexact")?,
        "concealed": stat(&decoder, "stats", "concealed")?, "missing": stat(&decoder, "stats", "missing")?,
        "partial": stat(&depay, "fcm-stats", "partial-units")?,
    }))
}

fn main() -> Result<()> {
    let arguments = Arguments::parse()?;
    gst::init()?;
    gstfcm::plugin_register_static()?;
    let (truth, info) = truth(&arguments.truth, arguments.frames)?;
    for seed in 0..arguments.seeds {
        println!("{}", run(&arguments, &truth, &info, seed)?);
    }
    Ok(())
}
