//! The pipelines of the element pages and of docs/caps.md, run by GStreamer itself.

mod common;

use anyhow::{Context, Result, bail, ensure};
use common::*;
use gst::prelude::*;
use std::path::PathBuf;

/// Twenty-five frames of a 32 × 12 × 16 map from elements that every GStreamer has.
const SOURCE: &str = "fakesrc num-buffers=25 sizetype=fixed sizemax=24576 filltype=zero format=time";

const RAW_CAPS: &str =
    "other/tensors,format=static,num_tensors=1,types=float32,dimensions=(string)16:12:32,framerate=25/1";

/// A pipeline that is torn down whatever happens.
struct Pipeline(gst::Pipeline);

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

impl Pipeline {
    fn new(description: &str) -> Result<Self> {
        init();
        let pipeline = gst::parse::launch(description).with_context(|| description.to_owned())?;
        Ok(Self(pipeline.downcast().map_err(|_| anyhow::anyhow!("not a pipeline: {description}"))?))
    }

    /// Counts the buffers that reach the pad `pad` of element `name` and hands each to `see`.
    fn watch(&self, name: &str, pad: &str, see: impl Fn(&gst::BufferRef) + Send + Sync + 'static) -> Result<()> {
        let pad = self.0.by_name(name).and_then(|e| e.static_pad(pad)).with_context(|| format!("{name}:{pad}"))?;
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                see(buffer);
            }
            gst::PadProbeReturn::Ok
        });
        Ok(())
    }

    fn run(&self) -> Result<Vec<String>> {
        let bus = self.0.bus().context("no bus")?;
        self.0.set_state(gst::State::Playing)?;
        let mut warnings = Vec::new();
        loop {
            let message = bus.timed_pop(gst::ClockTime::from_seconds(60)).context("nothing happens for a minute")?;
            match message.view() {
                gst::MessageView::Eos(_) => return Ok(warnings),
                gst::MessageView::Error(e) => bail!("{}: {:?}", e.error(), e.debug()),
                gst::MessageView::Warning(w) => warnings.push(w.error().to_string()),
                _ => {}
            }
        }
    }

    fn count(&self, element: &str, stat: &str) -> Result<u64> {
        let element = self.0.by_name(element).with_context(|| format!("no {element}"))?;
        Ok(element.property::<gst::Structure>("stats").get(stat)?)
    }
}

/// Feeds frames of real content; those of [`SOURCE`] are all zero.
fn feed(pipeline: &Pipeline, features: &Features, frames: usize) -> Result<()> {
    let source = pipeline.0.by_name("src").context("src")?.downcast::<gst_app::AppSrc>().ok().context("appsrc")?;
    source.set_caps(Some(&features.caps()));
    source.set_format(gst::Format::Time);
    source.set_max_bytes(u64::MAX);
    for t in 0..frames {
        source.push_buffer(features.buffer(t))?;
    }
    source.end_of_stream()?;
    Ok(())
}

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("fcm-pipelines-{}-{name}", std::process::id()))
}

#[test]
fn pipelines_of_the_element_pages_run() -> Result<()> {
    let path = file("page.fcm");
    for coder in ["fcmenc qp=30 ! filesink location=FILE", "fcmenc bitrate=200 key-int-max=10 ! fcmdec ! fakesink"] {
        let coder = coder.replace("FILE", path.to_str().context("UTF-8")?);
        Pipeline::new(&format!("{SOURCE} ! {RAW_CAPS} ! {coder}"))?.run()?;
    }
    let bytes = std::fs::read(&path)?;
    std::fs::remove_file(&path)?;
    ensure!(bytes.starts_with(&fcm_codec::bitstream::stream::MARKER), "a byte stream begins with its marker");
    Ok(())
}

#[test]
fn queues_and_tees_change_nothing() -> Result<()> {
    let features = Features::small();
    let pipeline = Pipeline::new(
        "appsrc name=src ! queue ! fcmenc name=enc ! tee name=t \
         t. ! queue ! fcmdec name=a ! queue ! fakesink sync=false \
         t. ! queue ! fcmdec name=b ! fakesink sync=false",
    )?;
    feed(&pipeline, &features, 50)?;
    ensure!(pipeline.run()?.is_empty());
    for decoder in ["a", "b"] {
        assert_eq!(pipeline.count(decoder, "frames")?, 50);
        assert_eq!(pipeline.count(decoder, "bytes-in")?, pipeline.count("enc", "bytes-out")?);
    }
    Ok(())
}

#[test]
fn spellings_of_the_dimensions_link() -> Result<()> {
    for filter in ["16:12:32", "16:12:32:1", "16:12:32:1:1:1:1:1"] {
        for (sink_side, source_side) in [(filter, "16:12:32"), ("16:12:32", filter)] {
            let pipeline = Pipeline::new(&format!(
                "{SOURCE} ! other/tensors,format=static,num_tensors=1,types=float32,dimensions=(string){source_side},framerate=25/1 \
                 ! fcmenc ! queue ! fcmdec name=dec ! queue ! \
                 other/tensors,format=static,types=float32,dimensions=(string){sink_side} ! fakesink sync=false"
            ))?;
            pipeline.run().with_context(|| format!("{source_side} in, {sink_side} out"))?;
            assert_eq!(pipeline.count("dec", "frames")?, 25);
        }
    }
    Ok(())
}

#[test]
fn decoded_tensors_are_coded_again() -> Result<()> {
    for link in ["", "! other/tensors,format=flexible", "! other/tensors(meta:GstFcmStatisticsMeta)"] {
        let features = Features::small();
        let pipeline = Pipeline::new(&format!(
            "appsrc name=src ! fcmenc ! fcmdec {link} ! fcmenc ! application/x-fcm,stream-format=packetized ! fcmdec name=dec ! fakesink sync=false"
        ))?;
        feed(&pipeline, &features, 10)?;
        ensure!(pipeline.run()?.is_empty());
        assert_eq!(pipeline.count("dec", "frames")?, 10, "{link}");
    }
    Ok(())
}

#[test]
fn live_sources_keep_their_latency() -> Result<()> {
    let pipeline = Pipeline::new(&format!(
        "fakesrc is-live=true do-timestamp=true num-buffers=10 sizetype=fixed sizemax=24576 filltype=zero format=time ! {} \
         ! identity sleep-time=1000 ! fcmenc ! fcmdec name=dec ! fakesink name=sink sync=true",
        RAW_CAPS
    ))?;
    pipeline.run()?;
    assert_eq!(pipeline.count("dec", "frames")?, 10);
    let mut query = gst::query::Latency::new();
    ensure!(pipeline.0.query(&mut query));
    let (live, min, _) = query.result();
    ensure!(live && min == gst::ClockTime::ZERO, "live {live}, min {min}");
    Ok(())
}

#[test]
fn broken_data_costs_frames_but_not_the_pipeline() -> Result<()> {
    let features = Features::small();
    let pipeline = Pipeline::new(
        "appsrc name=src ! fcmenc key-int-max=5 error-resilient=false ! breakmydata seed=7 probability=0.002 ! fcmdec name=dec ! fakesink name=sink sync=false",
    )?;
    let (units, out) = (std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0)), 200);
    let seen = units.clone();
    pipeline.watch("sink", "sink", move |buffer| {
        assert!(!buffer.flags().contains(gst::BufferFlags::CORRUPTED));
        seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    })?;
    feed(&pipeline, &features, out)?;
    let warnings = pipeline.run()?;
    let (frames, corrupt, awaiting) =
        (pipeline.count("dec", "frames")?, pipeline.count("dec", "corrupt")?, pipeline.count("dec", "awaiting")?);
    ensure!(corrupt > 0 && frames > 0 && !warnings.is_empty(), "{frames} frames, {corrupt} corrupt, {warnings:?}");
    assert_eq!(frames + corrupt + awaiting, out as u64);
    assert_eq!(units.load(std::sync::atomic::Ordering::Relaxed), frames);
    Ok(())
}

#[test]
fn element_pages_are_complete() -> Result<()> {
    init();
    let video = ["fcmpack", "fcmmux", "fcmdemux", "fcmunpack", "fcmvideoenc", "fcmvideodec"];
    for name in ["fcmenc", "fcmdec", "fcmqueue", "rtpfcmpay", "rtpfcmdepay"].into_iter().chain(video) {
        let factory = gst::ElementFactory::find(name).context(name)?;
        ensure!(!factory.metadata("klass").context("klass")?.to_ascii_lowercase().ends_with("tensordecoder"));
        for property in factory.create().build()?.list_properties() {
            let blurb = property.blurb().with_context(|| format!("{name}:{} has no blurb", property.name()))?;
            ensure!(blurb.len() > 10 && !property.nick().is_empty(), "{name}:{}", property.name());
        }
    }
    Ok(())
}
