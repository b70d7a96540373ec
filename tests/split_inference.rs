//! The whole way from picture to track, with the project's own network and the codec between its halves.
#![cfg(feature = "infer")]

mod common;

use anyhow::{Context, Result, bail, ensure};
use common::*;
use fcm_analytics::json::{Frame, Object};
use fcm_scenes::{Scene, SceneConfig};
use gst::prelude::*;

const FRAMES: u32 = 12;
const PERSON: u16 = 0;
/// Longest time that one picture may take, on a busy machine and in a debug build.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// What stands between the halves, and the frames that came out behind the tracker.
fn tracks(between: &str, pictures: &[Vec<u8>], config: &SceneConfig) -> Result<Vec<Frame>> {
    init();
    let network = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data");
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=in format=time ! tensorinfer model=\"{network}/front.onnx\" {between} ! tensorinfer model=\"{network}/back.onnx\" \
         ! tensordetect input-width=512 input-height=288 score-threshold=0.3 iou-threshold=0.45 labels=person,vehicle \
         ! boxtrack high-score=0.45 low-score=0.3 ! appsink name=out sync=false"
    ))?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| anyhow::anyhow!("not a pipeline"))?;
    let frames = run(&pipeline, pictures, config);
    pipeline.set_state(gst::State::Null)?;
    frames
}

/// Sends each picture when the tracks of the one before have come out, so that a frame held back anywhere would never come.
fn run(pipeline: &gst::Pipeline, pictures: &[Vec<u8>], config: &SceneConfig) -> Result<Vec<Frame>> {
    let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>().context("appsrc")?;
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>().context("appsink")?;
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "RGB")
        .field("width", config.width as i32)
        .field("height", config.height as i32)
        .field("framerate", gst::Fraction::new(25, 1));
    source.set_caps(Some(&caps.build()));
    pipeline.set_state(gst::State::Playing)?;
    let mut frames = Vec::new();
    for (n, picture) in (0..).zip(pictures) {
        let mut buffer = gst::Buffer::from_slice(picture.clone());
        // Not from 0 and with a lost picture, so that times that are made up would differ.
        let pts = FRAME * (100 + n + u64::from(n > 5));
        let unshared = buffer.get_mut().context("new")?;
        unshared.set_pts(pts);
        unshared.set_duration(FRAME);
        source.push_buffer(buffer)?;
        let Some(sample) = sink.try_pull_sample(PATIENCE) else {
            let error = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
            bail!("picture {n} gave nothing before the next one: {error:?}");
        };
        let buffer = sample.buffer().context("buffer")?;
        ensure!(buffer.pts() == Some(pts), "picture {n}: {pts} became {:?}", buffer.pts());
        ensure!(buffer.duration() == Some(FRAME), "picture {n}: duration {:?}", buffer.duration());
        ensure!(sink.try_pull_sample(gst::ClockTime::ZERO).is_none(), "picture {n} gave more than one frame");
        frames.push(Frame::parse(&buffer.map_readable()?)?);
    }
    Ok(frames)
}

fn persons(frame: &Frame) -> impl Iterator<Item = &Object> {
    frame.objects.iter().filter(|o| o.class == PERSON)
}

#[test]
fn persons_are_found_behind_the_codec_without_delay_and_at_their_time() -> Result<()> {
    let config = SceneConfig { frames: FRAMES, ..SceneConfig::default() };
    let mut scene = Scene::new(4, config.clone())?;
    let mut pictures = vec![vec![0; config.picture_bytes()]; FRAMES as usize];
    for (n, picture) in (0..).zip(&mut pictures) {
        scene.frame(n, picture)?;
    }
    let original = tracks("", &pictures, &config)?;
    let decoded = tracks("! fcmenc qp=12 ! fcmparse ! fcmdec", &pictures, &config)?;
    let all: usize = original.iter().map(|f| persons(f).count()).sum();
    let found = original.iter().zip(&decoded).map(|(original, decoded)| {
        persons(original).filter(|o| persons(decoded).any(|d| d.rect().iou(&o.rect()) >= 0.5)).count()
    });
    let found: usize = found.sum();
    let invented = decoded.iter().map(|f| persons(f).count()).sum::<usize>().saturating_sub(found);
    ensure!(all >= 3 * FRAMES as usize, "the network finds {all} persons only: nothing to compare");
    ensure!(10 * found >= 9 * all, "{found} of {all} persons were found behind the codec");
    ensure!(10 * invented <= all, "{invented} persons more behind the codec than the {all} before it");
    ensure!(decoded.iter().flat_map(|f| &f.objects).all(|o| o.id.is_some()), "every track has a number");
    Ok(())
}
