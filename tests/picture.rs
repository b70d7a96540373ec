//! Features through real video encoders: `fcmpack`, `fcmmux`, `fcmdemux`, `fcmunpack`, and the bins around them. Where an encoder or a decoder
//! is not installed, its test says so and passes.

mod common;

use anyhow::{Context, Result, ensure};
use common::*;
use fcm_codec::bitstream::InnerCodec;
use fcm_codec::bitstream::stream::Inspector;
use fcm_codec::{FrameKind, Limits, Shape};
use gst::prelude::*;
use std::time::{Duration, Instant};

const STUCK: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// A pipeline from `appsrc` to `appsink`; torn down whatever happens.
struct Line {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    sink: gst_app::AppSink,
    warnings: Vec<String>,
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Elements of a description that are not installed.
fn missing(description: &str) -> Option<String> {
    init();
    let names = description.split('!').filter_map(|e| e.split_whitespace().next()).filter(|name| !name.contains('/'));
    let missing: Vec<&str> = names.filter(|name| gst::ElementFactory::find(name).is_none()).collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

impl Line {
    fn new(caps: &gst::Caps, elements: &str) -> Result<Self> {
        init();
        let text = format!("appsrc name=src format=time ! {elements} ! appsink name=sink sync=false");
        let pipeline = gst::parse::launch(&text).with_context(|| text.clone())?;
        let pipeline = pipeline.downcast::<gst::Pipeline>().ok().context("a pipeline")?;
        let by_name = |name: &str| pipeline.by_name(name).context(text.clone());
        let source = by_name("src")?.downcast::<gst_app::AppSrc>().ok().context("appsrc")?;
        let sink = by_name("sink")?.downcast::<gst_app::AppSink>().ok().context("appsink")?;
        source.set_caps(Some(caps));
        source.set_max_bytes(u64::MAX);
        pipeline.set_state(gst::State::Playing)?;
        Ok(Self { pipeline, source, sink, warnings: Vec::new() })
    }

    /// Everything that comes out of these buffers.
    fn all(mut self, buffers: impl IntoIterator<Item = gst::Buffer>) -> Result<(Vec<gst::Sample>, Vec<String>)> {
        for buffer in buffers {
            self.source.push_buffer(buffer)?;
        }
        self.source.end_of_stream()?;
        let samples = self.rest()?;
        Ok((samples, std::mem::take(&mut self.warnings)))
    }

    fn rest(&mut self) -> Result<Vec<gst::Sample>> {
        let mut samples = Vec::new();
        let started = Instant::now();
        while !self.sink.is_eos() {
            samples.extend(self.sink.try_pull_sample(gst::ClockTime::from_mseconds(100)));
            self.check()?;
            ensure!(started.elapsed() < Duration::from(STUCK), "no end of the stream");
        }
        self.check()?;
        Ok(samples)
    }

    fn check(&mut self) -> Result<()> {
        let bus = self.pipeline.bus().context("bus")?;
        while let Some(message) = bus.pop() {
            match message.view() {
                gst::MessageView::Error(e) => anyhow::bail!("{} {:?}", e.error(), e.debug()),
                gst::MessageView::Warning(w) => self.warnings.push(w.error().to_string()),
                _ => {}
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<gst::Sample> {
        let sample = self.sink.try_pull_sample(STUCK);
        self.check()?;
        sample.context("no sample")
    }
}

fn features() -> Features {
    let mut features = Features::new(vec![
        (Shape::chw(8, 24, 32), fcm_codec::Dtype::F32),
        (Shape::chw(12, 12, 16), fcm_codec::Dtype::F16),
    ]);
    features.names = vec!["p3".into(), "p4".into()];
    features
}

/// Frame `t`; neighbours differ more than by what coding loses.
fn at(features: &Features, t: usize) -> Vec<Vec<f32>> {
    features.values(6 * t)
}

fn frame(features: &Features, t: usize) -> gst::Buffer {
    stamped(features.bytes(6 * t), t)
}

fn frames(features: &Features, count: usize) -> Vec<gst::Buffer> {
    (0..count).map(|t| frame(features, t)).collect()
}

fn buffers(samples: &[gst::Sample]) -> Vec<gst::Buffer> {
    samples.iter().filter_map(|s| s.buffer_owned()).collect()
}

fn fields(unit: &gst::BufferRef, inspector: &mut Inspector) -> Result<FrameKind> {
    let map = unit.map_readable()?;
    Ok(inspector.inspect(&map)?.kind)
}

/// Every frame comes back in order, at its time, with its statistics and close to what it was.
fn comes_back(features: &Features, samples: &[gst::Sample], count: usize, most: f64) -> Result<()> {
    comes_back_lasting(Some(FRAME), features, samples, count, most)
}

/// The same where frames have another duration, or none.
fn comes_back_lasting(
    duration: Option<gst::ClockTime>,
    features: &Features,
    samples: &[gst::Sample],
    count: usize,
    most: f64,
) -> Result<()> {
    ensure!(samples.len() == count, "{} of {count} frames", samples.len());
    for (t, sample) in samples.iter().enumerate() {
        let buffer = sample.buffer().context("buffer")?;
        ensure!(buffer.pts() == Some(FRAME * t as u64), "frame {t} at {:?}", buffer.pts());
        ensure!(buffer.duration() == duration, "frame {t} lasts {:?}", buffer.duration());
        let segment = sample.segment().context("segment")?;
        let running = segment.downcast_ref::<gst::ClockTime>().context("time")?.to_running_time(buffer.pts());
        ensure!(running == buffer.pts(), "frame {t} runs at {running:?}");
        let statistics = gstfcm::statistics_meta::get(buffer).context("statistics")?;
        for (n, (wanted, got)) in at(features, t).iter().zip(features.read(buffer)).enumerate() {
            let error = nmse(wanted, &got);
            // Features move: those of the frame before or after are further off than this.
            ensure!(error < most, "frame {t}, layer {n}: {error}");
            let (mean, _) = mean_and_deviation(&got);
            ensure!((statistics.values.layers[n].mean - mean).abs() < 1e-2, "frame {t}, layer {n}: mean {mean}");
        }
    }
    let other = nmse(&at(features, 0)[0], &at(features, 1)[0]);
    ensure!(other > 2.0 * most, "frames differ by {other}");
    Ok(())
}

/// There and back through `coder`, a description of encoder and parser, and `decoder`.
fn round_trip(coder: &str, decoder: &str, depth: u8, most: f64) -> Result<()> {
    if let Some(missing) = missing(&format!("{coder} ! {decoder}")) {
        eprintln!("skipped: there is no element {missing}");
        return Ok(());
    }
    let features = features();
    let line = Line::new(&features.caps(), &format!("fcmpack tensor-names=p3,p4 ! {coder} ! fcmmux name=mux"))?;
    let mux = line.pipeline.by_name("mux").context("mux")?;
    let (units, _) = line.all(frames(&features, 20)).with_context(|| coder.to_owned())?;
    let stats = mux.property::<gst::Structure>("stats");
    ensure!(stats.get::<u64>("pictures")? == 20, "{stats}");
    let caps = units[0].caps_owned().context("caps")?;
    let mut inspector = Inspector::new(Limits::default());
    for (n, unit) in units.iter().enumerate() {
        let unit = unit.buffer().context("unit")?;
        let kind = fields(unit, &mut inspector)?;
        ensure!(is_delta(unit) == (kind == FrameKind::Predicted), "unit {n}");
        ensure!(gstfcm::statistics_meta::get(unit).is_some());
    }
    let InnerCodec::Picture(format) = inspector.sequence().context("sequence")?.inner else {
        anyhow::bail!("no pictures");
    };
    ensure!(format.depth == depth, "{format:?}");
    // Cells of 2 x 2 and 1 x 1 on a grid of 12 x 16: 8 · 4 + 12 = 4 · 11 components.
    ensure!((format.columns, format.width, format.height) == (4, 64, 132), "{format:?}");
    let (tensors, warnings) = Line::new(&caps, &format!("fcmdemux ! {decoder} ! fcmunpack"))?.all(buffers(&units))?;
    ensure!(warnings.is_empty(), "{warnings:?}");
    comes_back(&features, &tensors, 20, most).with_context(|| coder.to_owned())
}

#[test]
fn features_come_back_through_x265_with_ten_bits() -> Result<()> {
    round_trip(
        "x265enc qp=12 tune=zerolatency key-int-max=8 option-string=log-level=none ! h265parse config-interval=-1",
        "avdec_h265 max-threads=1",
        10,
        0.01,
    )
}

#[test]
fn features_come_back_through_x264() -> Result<()> {
    round_trip(
        "x264enc pass=quant quantizer=20 tune=zerolatency key-int-max=8 ! h264parse config-interval=-1",
        "avdec_h264 max-threads=1",
        10,
        0.01,
    )
}

#[test]
fn features_come_back_through_openh264() -> Result<()> {
    round_trip("openh264enc qp-min=12 qp-max=12 gop-size=8 ! h264parse", "h264parse ! openh264dec", 8, 0.01)
}

#[test]
fn features_come_back_through_libaom() -> Result<()> {
    round_trip(
        "av1enc cpu-used=8 lag-in-frames=0 end-usage=vbr min-quantizer=4 max-quantizer=4 keyframe-max-dist=8",
        "av1dec",
        8,
        0.02,
    )
}

#[test]
fn features_come_back_through_vp9() -> Result<()> {
    round_trip("vp9enc deadline=1 cpu-used=4 min-quantizer=4 max-quantizer=4", "vp9dec", 10, 0.02)
}

#[test]
fn features_come_back_through_jpeg() -> Result<()> {
    round_trip("jpegenc quality=95", "jpegdec", 8, 0.02)
}

/// Pictures that are delayed and reordered find their statistics, and statistics change from frame to frame here.
#[test]
fn delayed_and_reordered_pictures_are_matched_by_time() -> Result<()> {
    for coder in [
        "x264enc pass=quant quantizer=18 bframes=3 b-adapt=false key-int-max=12 ! h264parse config-interval=-1 ! fcmmux stats-threshold=0.001 ! fcmdemux ! avdec_h264",
        "x265enc qp=12 key-int-max=12 option-string=bframes=3:log-level=none ! h265parse config-interval=-1 ! fcmmux stats-threshold=0.001 ! fcmdemux ! avdec_h265",
    ] {
        if let Some(missing) = missing(coder) {
            eprintln!("skipped: there is no element {missing}");
            continue;
        }
        let features = features();
        let (tensors, warnings) =
            Line::new(&features.caps(), &format!("fcmpack ! {coder} ! fcmunpack"))?.all(frames(&features, 40))?;
        ensure!(warnings.is_empty(), "{warnings:?}");
        comes_back(&features, &tensors, 40, 0.015).with_context(|| coder.to_owned())?;
    }
    Ok(())
}

/// Access units with B-frames, coded by x264 or by what there is; `None` where nothing is.
fn coded(count: usize, options: &str) -> Result<Option<(Features, gst::Caps, Vec<gst::Buffer>)>> {
    let coder = format!("x264enc pass=quant quantizer=20 {options} ! h264parse config-interval=-1");
    if let Some(missing) = missing(&format!("{coder} ! avdec_h264")) {
        eprintln!("skipped: there is no element {missing}");
        return Ok(None);
    }
    let features = features();
    let line = Line::new(&features.caps(), &format!("fcmpack ! {coder} ! fcmmux"))?;
    let (units, _) = line.all(frames(&features, count))?;
    let caps = units[0].caps_owned().context("caps")?;
    Ok(Some((features, caps, buffers(&units))))
}

/// Features of still pictures, as `pngdec` and image capture give them: frame rate 0/1, no durations.
#[test]
fn neither_frame_rate_nor_durations_are_needed() -> Result<()> {
    let features = features();
    // x265enc does not start without a frame rate. Without a parser, which would make durations up.
    for (coder, decoder) in [
        ("x264enc pass=quant quantizer=18 tune=zerolatency", "avdec_h264"),
        ("x265enc qp=12 tune=zerolatency log-level=none", "avdec_h265"),
    ] {
        if let Some(missing) = missing(&format!("{coder} ! {decoder}")) {
            eprintln!("skipped: there is no element {missing}");
            continue;
        }
        let stills = frames(&features, 3).into_iter().map(|mut frame| {
            frame.make_mut().set_duration(None);
            frame
        });
        let road = format!("fcmpack ! {coder} ! fcmmux ! fcmdemux ! {decoder} max-threads=1 ! fcmunpack");
        let (tensors, _) = Line::new(&features.caps_at(gst::Fraction::new(0, 1)), &road)?.all(stills)?;
        comes_back_lasting(None, &features, &tensors, 3, 0.015)?;
        let caps = tensors[0].caps().and_then(|caps| caps.structure(0)).context("caps")?;
        assert_eq!(caps.get::<gst::Fraction>("framerate")?, gst::Fraction::new(0, 1), "{coder}");
    }
    Ok(())
}

#[test]
fn a_file_of_a_stream_with_b_frames_is_shown_in_order() -> Result<()> {
    let Some((features, _, units)) = coded(26, "bframes=2 b-adapt=false key-int-max=13")? else { return Ok(()) };
    let times: Vec<_> = units.iter().filter_map(|u| u.pts()).collect();
    ensure!(!times.is_sorted(), "there are no B-frames in {times:?}");
    let bytes: Vec<u8> = units.iter().flat_map(|u| u.map_readable().expect("mappable").to_vec()).collect();
    // What a file source does: bytes without times, cut anywhere.
    let pieces = bytes.chunks(1000).map(|piece| gst::Buffer::from_slice(piece.to_vec()));
    let caps = gst::Caps::builder("application/x-fcm").field("stream-format", "byte-stream").build();
    let line = Line::new(&caps, "fcmparse ! fcmdemux ! avdec_h264 max-threads=1 ! fcmunpack")?;
    let (tensors, warnings) = line.all(pieces)?;
    ensure!(warnings.is_empty(), "{warnings:?}");
    comes_back(&features, &tensors, 26, 0.015)
}

#[test]
fn damage_is_reported_and_nothing_predicted_from_it_comes_out() -> Result<()> {
    let Some((features, caps, units)) = coded(24, "tune=zerolatency key-int-max=8")? else { return Ok(()) };
    let damaged = units.iter().enumerate().map(|(n, unit)| match n {
        // In the middle of the coded picture, which a video decoder would conceal.
        10 => tampered(unit, |bytes| {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
        }),
        _ => unit.clone(),
    });
    let line = Line::new(&caps, "fcmdemux name=demux ! avdec_h264 max-threads=1 ! fcmunpack")?;
    let demux = line.pipeline.by_name("demux").context("demux")?;
    let (tensors, warnings) = line.all(damaged)?;
    let stats = demux.property::<gst::Structure>("stats");
    assert_eq!(
        (stats.get::<u64>("corrupt")?, stats.get::<u64>("awaiting")?, stats.get::<u64>("sync-requests")?),
        (1, 5, 1)
    );
    ensure!(warnings.len() == 1 && warnings[0].contains("damaged"), "{warnings:?}");
    let times: Vec<u64> = tensors.iter().filter_map(|s| s.buffer()?.pts()).map(|pts| pts / FRAME).collect();
    let whole: Vec<u64> = (0..10).chain(16..24).collect();
    assert_eq!(times, whole);
    let after = tensors[10].buffer().context("buffer")?;
    ensure!(is_discont(after) && !is_discont(tensors[9].buffer().context("buffer")?));
    for (sample, t) in tensors.iter().zip(whole) {
        let got = features.read(sample.buffer().context("buffer")?);
        ensure!(nmse(&at(&features, t as usize)[0], &got[0]) < 0.01, "frame {t}");
    }
    Ok(())
}

#[test]
fn a_receiver_joins_at_any_random_access_point() -> Result<()> {
    let Some((_, caps, units)) = coded(24, "tune=zerolatency key-int-max=8")? else { return Ok(()) };
    let line = Line::new(&caps, "fcmdemux name=demux ! avdec_h264 max-threads=1 ! fcmunpack")?;
    let demux = line.pipeline.by_name("demux").context("demux")?;
    let (tensors, warnings) = line.all(units.into_iter().skip(5))?;
    ensure!(warnings.is_empty(), "joining is no fault: {warnings:?}");
    let times: Vec<u64> = tensors.iter().filter_map(|s| s.buffer()?.pts()).map(|pts| pts / FRAME).collect();
    assert_eq!(times, (8..24).collect::<Vec<u64>>());
    assert_eq!(demux.property::<gst::Structure>("stats").get::<u64>("awaiting")?, 3);
    Ok(())
}

#[test]
fn a_request_of_the_receiver_makes_the_encoder_start_anew() -> Result<()> {
    let chain = "fcmpack ! x264enc tune=zerolatency key-int-max=1000 ! h264parse config-interval=-1 ! fcmmux";
    if let Some(missing) = missing(chain) {
        eprintln!("skipped: there is no element {missing}");
        return Ok(());
    }
    let features = features();
    let mut line = Line::new(&features.caps(), chain)?;
    let mut inspector = Inspector::new(Limits::default());
    let mut kinds = Vec::new();
    for t in 0..8 {
        if t == 5 {
            let request = gst::Structure::builder("GstForceKeyUnit").field("all-headers", true).build();
            ensure!(line.sink.send_event(gst::event::CustomUpstream::new(request)), "the request is refused");
        }
        line.source.push_buffer(frame(&features, t))?;
        kinds.push(fields(line.next()?.buffer().context("unit")?, &mut inspector)? == FrameKind::RandomAccess);
    }
    assert_eq!(kinds, [true, false, false, false, false, true, false, false]);
    Ok(())
}

#[test]
fn bins_code_with_every_encoder_they_know_and_add_no_delay() -> Result<()> {
    for encoder in ["x265enc", "x264enc", "openh264enc", "av1enc", "svtav1enc", "rav1enc", "vp9enc", "vp8enc"] {
        if let Some(missing) = missing(encoder) {
            eprintln!("skipped: there is no element {missing}");
            continue;
        }
        for rate in ["qp=12", "bitrate=2000"] {
            let features = features();
            let chain = format!("fcmvideoenc encoder={encoder} {rate} key-int-max=4 ! fcmvideodec");
            let mut line = Line::new(&features.caps(), &chain)?;
            let mut samples = Vec::new();
            for t in 0..6 {
                line.source.push_buffer(frame(&features, t))?;
                // Without end of stream or another frame: nothing holds it back.
                samples.push(line.next().with_context(|| format!("{chain}, frame {t}"))?);
            }
            comes_back(&features, &samples, 6, if rate == "qp=12" { 0.02 } else { 0.3 })
                .with_context(|| chain.clone())
                .or_else(|e| {
                    // At a bit rate only order and number matter.
                    if rate == "qp=12" || !format!("{e:#}").contains("frames differ") { Err(e) } else { Ok(()) }
                })?;
        }
    }
    Ok(())
}

#[test]
fn how_far_layers_are_restored_is_told_to_the_bin_and_stands_in_the_stream() -> Result<()> {
    let bin = element("fcmvideoenc", &[("encoder", "jpegenc"), ("restoration-strength", "0.25")]);
    assert_eq!(bin.property::<f32>("restoration-strength"), 0.25);
    if let Some(missing) = missing("jpegenc") {
        eprintln!("skipped: there is no element {missing}");
        return Ok(());
    }
    let features = features();
    let mut line = Line::new(&features.caps(), "fcmpack restoration-strength=0.25 ! jpegenc ! fcmmux")?;
    line.source.push_buffer(frame(&features, 0))?;
    let sample = line.next()?;
    let unit = sample.buffer().context("unit")?.map_readable()?;
    let mut inspector = Inspector::default();
    let sequence = inspector.read_header(&unit)?;
    assert_eq!((sequence.version, sequence.restoration.sixteenths()), (5, 4));
    Ok(())
}

#[test]
fn bins_name_what_is_missing_or_out_of_range() -> Result<()> {
    let fails = |chain: &str, part: &str| -> Result<()> {
        init();
        let features = features();
        let text = format!("appsrc name=src format=time ! {chain} ! fakesink");
        let pipeline = gst::parse::launch(&text)?.downcast::<gst::Pipeline>().ok().context("a pipeline")?;
        let source = pipeline.by_name("src").context("src")?.downcast::<gst_app::AppSrc>().ok().context("appsrc")?;
        source.set_caps(Some(&features.caps()));
        source.push_buffer(frame(&features, 0))?;
        let bus = pipeline.bus().context("bus")?;
        let _ = pipeline.set_state(gst::State::Playing);
        let message = bus.timed_pop_filtered(STUCK, &[gst::MessageType::Error]).context("no error")?;
        let _ = pipeline.set_state(gst::State::Null);
        let gst::MessageView::Error(e) = message.view() else { anyhow::bail!("{message:?}") };
        let text = format!("{} {:?}", e.error(), e.debug());
        ensure!(text.contains(part), "{text}");
        Ok(())
    };
    fails("fcmvideoenc encoder=nosuchenc", "there is no element nosuchenc")?;
    if gst::ElementFactory::find("x264enc").is_some() {
        fails("fcmvideoenc encoder=x264enc qp=51", "quantizer=51 for x264enc, legal are 0 to 50")?;
        fails("fcmvideoenc encoder=x264enc encoder-properties=\"x,nosuch=1\"", "x264enc has no property nosuch")?;
        fails("fcmpack ! x264enc ! fcmdemux", "").err().context("video is no stream of features")?;
        fails("fcmvideoenc encoder=x264enc ! fcmdec", "fcmvideodec")?;
        fails("fcmvideoenc encoder=x264enc ! fcmvideodec decoder=nosuchdec", "there is no element nosuchdec")?;
    } else {
        eprintln!("skipped: there is no element x264enc");
    }
    fails("fcmpack bit-depth=10 ! video/x-raw,format=I420", "no pictures that features can be put into")?;
    fails("fcmenc ! fcmdemux", "fcmdec decodes it")
}

#[test]
fn pipelines_of_the_element_pages_run() -> Result<()> {
    let path = std::env::temp_dir().join(format!("fcm-picture-{}.fcm", std::process::id()));
    let file = path.to_str().context("UTF-8")?;
    let source = "fakesrc num-buffers=10 sizetype=fixed sizemax=24576 filltype=zero format=time datarate=614400 ! \
                  other/tensors,format=static,num_tensors=1,types=float32,dimensions=(string)16:12:32,framerate=25/1";
    for chain in [
        format!(
            "{source} ! fcmpack ! x265enc tune=zerolatency key-int-max=32 ! h265parse config-interval=-1 ! fcmmux ! filesink location={file}"
        ),
        format!(
            "filesrc location={file} ! fcmparse ! fcmdemux ! avdec_h265 max-threads=1 ! fcmunpack name=last ! fakesink"
        ),
        format!(
            "{source} ! fcmpack ! x264enc bframes=2 key-int-max=32 ! h264parse config-interval=-1 ! fcmmux ! fcmdemux ! avdec_h264 ! fcmunpack name=last ! fakesink"
        ),
        format!("{source} ! fcmvideoenc encoder=x265enc qp=30 ! filesink location={file}"),
        format!("filesrc location={file} ! fcmparse ! fcmvideodec name=last ! fakesink"),
        format!(
            "{source} ! fcmvideoenc encoder=x264enc bitrate=200 encoder-properties=\"x264,speed-preset=fast\" ! fcmvideodec name=last ! fakesink"
        ),
    ] {
        if let Some(missing) = missing(&chain) {
            eprintln!("skipped: there is no element {missing}");
            continue;
        }
        let pipeline = gst::parse::launch(&chain)?.downcast::<gst::Pipeline>().ok().context("a pipeline")?;
        pipeline.set_state(gst::State::Playing)?;
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = pipeline.bus().context("bus")?.timed_pop_filtered(STUCK, &kinds);
        let stats = pipeline.by_name("last").map(|last| last.property::<gst::Structure>("stats"));
        pipeline.set_state(gst::State::Null)?;
        ensure!(end.as_ref().is_some_and(|m| m.type_() == gst::MessageType::Eos), "{chain}: {end:?}");
        if let Some(stats) = stats {
            let frames = stats.get::<u64>("frames").or_else(|_| stats.get::<u64>("pictures"))?;
            ensure!(frames == 10, "{chain}: {stats}");
        }
    }
    let _ = std::fs::remove_file(path);
    Ok(())
}

#[test]
fn a_picture_of_unknown_features_is_refused() -> Result<()> {
    if let Some(missing) = missing("x264enc") {
        eprintln!("skipped: there is no element {missing}");
        return Ok(());
    }
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", 64)
        .field("height", 64)
        .field("framerate", gst::Fraction::new(25, 1))
        .build();
    let line = Line::new(&caps, "x264enc ! fcmmux")?;
    let error = line.all([stamped(vec![vec![128; 64 * 64 * 3 / 2]], 0)]).unwrap_err();
    ensure!(format!("{error:#}").contains("fcmpack must be upstream"), "{error:#}");
    Ok(())
}

#[test]
fn streams_of_pictures_pass_the_parser_and_rtp() -> Result<()> {
    let Some((features, caps, units)) = coded(16, "tune=zerolatency key-int-max=8")? else { return Ok(()) };
    ensure!(caps.structure(0).context("caps")?.get::<String>("inner-codec")? == "avc", "{caps}");
    let chain = "fcmparse ! application/x-fcm,stream-format=packetized ! rtpfcmpay mtu=300 ! rtpfcmdepay ! fcmparse ! fcmvideodec";
    let (tensors, warnings) = Line::new(&caps, chain)?.all(units)?;
    ensure!(warnings.is_empty(), "{warnings:?}");
    comes_back(&features, &tensors, 16, 0.01)
}

#[test]
fn other_shapes_in_the_middle_start_a_new_stream() -> Result<()> {
    let chain = "fcmvideoenc encoder=x264enc qp=20 ! fcmvideodec";
    if let Some(missing) = missing("x264enc ! avdec_h264") {
        eprintln!("skipped: there is no element {missing}");
        return Ok(());
    }
    let (first, second) = (features(), Features::one(Shape::chw(6, 40, 24)));
    let mut line = Line::new(&first.caps(), chain)?;
    (0..3).try_for_each(|t| line.source.push_buffer(frame(&first, t)).map(|_| ()))?;
    line.source.set_caps(Some(&second.caps()));
    (3..6).try_for_each(|t| line.source.push_buffer(frame(&second, t)).map(|_| ()))?;
    line.source.end_of_stream()?;
    let samples = line.rest()?;
    assert_eq!(samples.len(), 6);
    for (t, sample) in samples.iter().enumerate() {
        let features = if t < 3 { &first } else { &second };
        let got = features.read(sample.buffer().context("buffer")?);
        ensure!(nmse(&at(features, t)[0], &got[0]) < 0.02, "frame {t}");
    }
    Ok(())
}
