//! Pictures in, tracks out: the front half of a network, fcmenc, fcmdec and the back half in one program.
//!
//! ```sh
//! cargo build --release
//! cargo run --release -p fcm-scenes -- --out scenes --seed 4
//! GST_PLUGIN_PATH=target/release cargo run --release --example split_tracking -- scenes/scene-00004/img1/*.jpg
//! ```
//!
//! prints a line of JSON a picture (docs/caps.md, "Boxes"). Each line is there before the next picture goes in. In a camera the
//! pipeline ends behind fcmenc, in a server it begins before fcmdec; `examples/demo` has a connection between the two.

use anyhow::{Context, Result, anyhow, ensure};
use gst::prelude::*;

const FRAME_TIME: gst::ClockTime = gst::ClockTime::from_mseconds(40);
/// Longest time that one picture may take.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// The first error on the bus, wherever in the pipeline it happened.
fn error(pipeline: &gst::Pipeline) -> Option<anyhow::Error> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(e) => {
            Some(anyhow!("{}: {}", e.src().map(|s| s.path_string()).unwrap_or_default(), e.error()))
        }
        _ => None,
    }
}

fn track(pipeline: &gst::Pipeline, pictures: &[String]) -> Result<()> {
    let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>().context("no appsrc")?;
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().context("no appsink")?;
    pipeline.set_state(gst::State::Playing)?;
    for (n, picture) in (0..).zip(pictures) {
        let bytes = std::fs::read(picture).with_context(|| picture.clone())?;
        let mut buffer = gst::Buffer::from_slice(bytes);
        let unshared = buffer.get_mut().context("a new buffer is not shared")?;
        unshared.set_pts(FRAME_TIME * n);
        unshared.set_duration(FRAME_TIME);
        source.push_buffer(buffer)?;
        // One in, one out: the tracks can be waited for right away.
        let sample = sink.try_pull_sample(PATIENCE).with_context(|| format!("no tracks for {picture}"))?;
        let tracks = sample.buffer().context("a sample without a buffer")?.map_readable()?;
        print!("{}", std::str::from_utf8(&tracks)?);
    }
    source.end_of_stream()?;
    let encoder = pipeline.by_name("enc").context("no encoder")?;
    let bits_per_second = encoder.property::<gst::Structure>("stats").get::<u64>("bitrate")?;
    eprintln!("{} pictures, {:.1} kbit/s from half to half", pictures.len(), bits_per_second as f64 / 1000.0);
    Ok(())
}

fn main() -> Result<()> {
    let pictures: Vec<String> = std::env::args().skip(1).collect();
    ensure!(!pictures.is_empty(), "name JPEG pictures, all of one size");
    gst::init()?;
    // The network's two halves; classes are 0 person and 1 vehicle. qp: higher means fewer bits.
    let network = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data");
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=in format=time caps=image/jpeg,framerate=25/1 ! jpegdec ! videoconvert \
         ! tensorinfer model=\"{network}/front.onnx\" ! fcmenc name=enc qp=30 \
         ! fcmdec ! tensorinfer model=\"{network}/back.onnx\" \
         ! tensordetect input-width=512 input-height=288 iou-threshold=0.45 labels=person,vehicle \
         ! boxtrack high-score=0.45 low-score=0.3 ! appsink name=out sync=false"
    ))
    .context("is GST_PLUGIN_PATH set, and the plugin built?")?
    .downcast::<gst::Pipeline>()
    .map_err(|_| anyhow!("the description is not a pipeline"))?;
    let done = track(&pipeline, &pictures);
    // What an element reports explains more than that nothing came.
    let cause = error(&pipeline);
    pipeline.set_state(gst::State::Null)?;
    match cause {
        Some(cause) => Err(cause),
        None => done,
    }
}
