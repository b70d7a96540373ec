//! What docs/caps.md promises of boxes: `tensordetect`, `boxtrack`, `boxoverlay`.

mod common;

use anyhow::{Context, Result, bail, ensure};
use common::*;
use fcm_analytics::{json, mot};
use fcm_codec::Dtype;
use gst::prelude::*;

/// Cells of strides 8 and 16 in an input of 32 × 16 pixels, and columns of a YOLOX with two classes.
const CELLS: usize = 10;
const COLUMNS: usize = 7;

/// The output of a YOLOX that sees a box 8 pixels wide and 16 high around (x, y), of class 1, surely by `score`.
fn output(x: f32, y: f32, score: f32) -> Vec<f32> {
    let mut values = vec![0.0; CELLS * COLUMNS];
    let (column, row) = ((x / 8.0).floor(), (y / 8.0).floor());
    let cell = row as usize * 4 + column as usize;
    values[cell * COLUMNS..][..COLUMNS].copy_from_slice(&[
        x / 8.0 - column,
        y / 8.0 - row,
        0.0,
        2f32.ln(),
        1.0,
        0.0,
        score,
    ]);
    values
}

fn tensor_caps(dtype: &str) -> gst::Caps {
    gst::Caps::builder("other/tensors")
        .field("format", "static")
        .field("num_tensors", 1)
        .field("types", dtype)
        .field("dimensions", format!("{COLUMNS}:{CELLS}:1:1"))
        .field("framerate", gst::Fraction::new(25, 1))
        .build()
}

const SMALL: [(&str, &str); 3] = [("input-width", "32"), ("input-height", "16"), ("strides", "8,16")];

fn detector(properties: &[(&str, &str)]) -> Bench {
    let all: Vec<_> = SMALL.iter().chain(properties).copied().collect();
    Bench::new(element("tensordetect", &all))
}

fn lines(buffers: &[gst::Buffer]) -> Result<Vec<json::Frame>> {
    buffers.iter().map(|buffer| Ok(json::Frame::parse(&buffer.map_readable()?)?)).collect()
}

fn rects(frame: &json::Frame) -> Vec<[f32; 4]> {
    frame.objects.iter().map(|o| [o.x, o.y, o.w, o.h]).collect()
}

#[test]
fn tensors_become_boxes_with_their_time() -> Result<()> {
    let mut bench = detector(&[("labels", "person,bicycle")]);
    bench.harness.set_src_caps(tensor_caps("float32"));
    for t in [0, 1, 4] {
        bench.harness.push(stamped(vec![to_bytes(&output(12.0, 8.0, 0.75), Dtype::F32)], t))?;
    }
    let buffers = bench.pull_all();
    assert_eq!(buffers[2].pts(), Some(FRAME * 4));
    assert_eq!(buffers[2].duration(), Some(FRAME));
    let frames = lines(&buffers)?;
    assert_eq!(frames.iter().map(|f| f.frame).collect::<Vec<_>>(), [0, 1, 4], "a lost frame leaves a gap");
    let frame = &frames[1];
    assert_eq!((frame.pts, frame.width, frame.height), (Some(FRAME.nseconds()), 32, 16));
    assert_eq!(rects(frame), [[8.0, 0.0, 8.0, 16.0]]);
    let object = &frame.objects[0];
    assert_eq!((object.class, object.label.as_deref(), object.score, object.id), (1, Some("bicycle"), 0.75, None));
    let caps = bench.src_caps().context("caps")?;
    assert_eq!(
        caps.to_string(),
        "application/x-boxes, format=(string)json, framerate=(fraction)25/1, width=(int)32, height=(int)16"
    );
    assert_eq!(bench.count("objects"), 3);
    Ok(())
}

#[test]
fn half_precision_and_flexible_tensors_mean_the_same() -> Result<()> {
    let values = output(20.0, 8.0, 0.5);
    let halves = to_bytes(&values, Dtype::F16);
    let mut of_halves = detector(&[]);
    of_halves.harness.set_src_caps(tensor_caps("float16"));
    of_halves.harness.push(stamped(vec![halves.clone()], 3))?;
    let mut of_flexible = detector(&[]);
    of_flexible.harness.set_src_caps_str("other/tensors,format=flexible,framerate=25/1");
    let dimensions = [COLUMNS as u32, CELLS as u32, 1, 1];
    of_flexible.harness.push(stamped(vec![flexible(&dimensions, 10, &halves)], 3))?;
    let (a, b) = (lines(&of_halves.pull_all())?, lines(&of_flexible.pull_all())?);
    assert_eq!(a, b);
    assert_eq!(a[0].objects.len(), 1);
    let [x, y, w, h] = rects(&a[0])[0];
    ensure!(
        (x - 16.0).abs() < 0.1 && y.abs() < 0.1 && (w - 8.0).abs() < 0.1 && (h - 16.0).abs() < 0.1,
        "{x} {y} {w} {h}"
    );
    Ok(())
}

#[test]
fn boxes_are_brought_to_the_picture() -> Result<()> {
    // 64 x 64 fits 16 x 16: a scale of a quarter, padded by 8 pixels on either side when it is in the middle.
    let picture = [("picture-width", "64"), ("picture-height", "64")];
    for (scaling, left) in [("letterbox", 32.0), ("letterbox-centred", 0.0), ("stretch", 16.0)] {
        let properties: Vec<_> = picture.into_iter().chain([("scaling", scaling)]).collect();
        let mut bench = detector(&properties);
        bench.harness.set_src_caps(tensor_caps("float32"));
        bench.harness.push(stamped(vec![to_bytes(&output(12.0, 8.0, 0.9), Dtype::F32)], 0))?;
        let frame = lines(&bench.pull_all())?.remove(0);
        let width = if scaling == "stretch" { 16.0 } else { 32.0 };
        assert_eq!(rects(&frame), [[left, 0.0, width, 64.0]], "{scaling}");
        assert_eq!((frame.width, frame.height), (64, 64));
    }
    Ok(())
}

#[test]
fn other_tensors_are_refused_with_both_sizes() -> Result<()> {
    let mut bench = detector(&[]);
    let caps = tensor_caps("float32").to_string().replace(":10:", ":9:");
    bench.harness.set_src_caps_str(&caps);
    assert!(bench.harness.push(stamped(vec![vec![0; 9 * COLUMNS * 4]], 0)).is_err());
    let errors = bench.errors();
    ensure!(errors.iter().any(|e| e.contains("outputs [1, 10, 5 + classes], found [1, 9, 7]")), "{errors:?}");

    let mut bench = detector(&[("head", "nanodet")]);
    bench.harness.set_src_caps(tensor_caps("float32"));
    assert!(bench.harness.push(stamped(vec![to_bytes(&output(4.0, 4.0, 1.0), Dtype::F32)], 0)).is_err());
    let errors = bench.errors();
    ensure!(errors.iter().any(|e| e.contains("[1, 8, classes]") && e.contains("found [1, 10, 7]")), "{errors:?}");

    let mut bench = detector(&[]);
    bench.harness.set_src_caps(tensor_caps("float32"));
    assert!(bench.harness.push(stamped(vec![vec![0; 12]], 0)).is_err());
    ensure!(!bench.errors().is_empty());
    Ok(())
}

#[test]
fn properties_that_do_not_fit_are_refused_at_the_start() {
    for (properties, says) in [
        ([("strides", "8,x"), ("classes", "0")], "strides=8,x"),
        ([("classes", "person"), ("strides", "8")], "classes=person"),
        ([("picture-width", "64"), ("strides", "8")], "picture-width and picture-height"),
    ] {
        let element = element("tensordetect", &properties);
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        assert!(element.set_state(gst::State::Paused).is_err());
        let message = bus.pop_filtered(&[gst::MessageType::Error]).expect("an error message");
        let gst::MessageView::Error(error) = message.view() else { unreachable!("filtered") };
        let text = format!("{} {:?}", error.error(), error.debug());
        assert!(text.contains(says), "{text}");
        element.set_state(gst::State::Null).expect("stops");
    }
}

/// A line of boxes 40 pixels wide and 80 high at these places.
fn boxes(t: usize, places: &[(f32, f32)]) -> gst::Buffer {
    let object = |&(x, y): &(f32, f32)| json::Object {
        label: Some("person".into()),
        score: 0.9,
        x,
        y,
        w: 40.0,
        h: 80.0,
        ..json::Object::default()
    };
    let objects = places.iter().map(object).collect();
    let pts = Some((FRAME * t as u64).nseconds());
    let mut line = Vec::new();
    json::Frame { frame: t as u64, pts, width: 640, height: 480, objects }.write(&mut line);
    stamped(vec![line], t)
}

const BOX_CAPS: &str = "application/x-boxes,format=json,framerate=25/1,width=640,height=480";

fn tracker(properties: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::new(element("boxtrack", properties));
    bench.harness.set_src_caps_str(BOX_CAPS);
    bench
}

#[test]
fn tracks_keep_their_numbers_and_names() -> Result<()> {
    let mut bench = tracker(&[]);
    for t in 0..10 {
        bench.harness.push(boxes(t, &[(300.0 - 5.0 * t as f32, 100.0), (10.0 + 5.0 * t as f32, 100.0)]))?;
    }
    let buffers = bench.pull_all();
    assert_eq!(buffers[9].pts(), Some(FRAME * 9));
    for (t, frame) in lines(&buffers)?.iter().enumerate() {
        let found: Vec<_> = frame.objects.iter().map(|o| (o.id, o.label.as_deref(), o.x)).collect();
        let x = 5.0 * t as f32;
        assert_eq!(found, [(Some(1), Some("person"), 300.0 - x), (Some(2), Some("person"), 10.0 + x)]);
    }
    assert_eq!((bench.count("frames"), bench.count("objects"), bench.count("tracks")), (10, 20, 2));
    assert_eq!(bench.src_caps().context("caps")?, BOX_CAPS.parse::<gst::Caps>()?);
    Ok(())
}

#[test]
fn mot_lines_come_by_property_or_by_downstreams_wish() -> Result<()> {
    let mut by_property = tracker(&[("format", "mot")]);
    let mut by_wish = Bench::new(element("boxtrack", &[]));
    by_wish.harness.set_sink_caps_str("application/x-boxes,format=mot");
    by_wish.harness.set_src_caps_str(BOX_CAPS);
    for bench in [&mut by_property, &mut by_wish] {
        bench.harness.push(boxes(0, &[(10.0, 20.0)]))?;
        bench.harness.push(boxes(1, &[]))?;
        bench.harness.push(boxes(2, &[(11.0, 20.0), (300.0, 50.5)]))?;
        let buffers = bench.pull_all();
        let text: Vec<u8> = buffers.iter().flat_map(|b| b.map_readable().expect("mappable").to_vec()).collect();
        let text = String::from_utf8(text)?;
        assert_eq!(
            text,
            "1,1,10.00,20.00,40.00,80.00,0.9000,-1,-1,-1\n\
             3,1,11.00,20.00,40.00,80.00,0.9000,-1,-1,-1\n\
             3,2,300.00,50.50,40.00,80.00,0.9000,-1,-1,-1\n"
        );
        assert_eq!(mot::parse(&text)?.len(), 3);
        let gaps = bench.events().iter().filter(|e| e.type_() == gst::EventType::Gap).count();
        assert_eq!((buffers.len(), gaps), (2, 1), "a frame without boxes is a gap");
    }
    Ok(())
}

#[test]
fn frames_that_were_lost_count_as_lost() -> Result<()> {
    for (next, id) in [(6, 1), (7, 2)] {
        let mut bench = tracker(&[("max-lost", "5")]);
        bench.harness.push(boxes(0, &[(10.0, 20.0)]))?;
        bench.harness.push(boxes(next, &[(10.0, 20.0)]))?;
        let frames = lines(&bench.pull_all())?;
        assert_eq!(frames[1].objects[0].id, Some(id), "{next}");
        assert_eq!(bench.count("skipped"), next as u64 - 1);
    }
    Ok(())
}

#[test]
fn what_is_no_line_of_boxes_is_refused() -> Result<()> {
    let mut bench = tracker(&[]);
    assert!(bench.harness.push(stamped(vec![b"{\"frame\":1}\n".to_vec()], 0)).is_err());
    let errors = bench.errors();
    ensure!(errors.iter().any(|e| e.contains("missing field")), "{errors:?}");
    Ok(())
}

#[test]
fn numbers_begin_anew_with_a_new_stream() -> Result<()> {
    let mut bench = tracker(&[]);
    bench.harness.push(boxes(0, &[(10.0, 20.0)]))?;
    bench.harness.push(boxes(1, &[(300.0, 20.0)]))?;
    bench.harness.push_event(gst::event::FlushStart::new());
    bench.harness.push_event(gst::event::FlushStop::new(true));
    bench.harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    bench.harness.push(boxes(0, &[(300.0, 20.0)]))?;
    let ids: Vec<_> = lines(&bench.pull_all())?.iter().map(|f| f.objects[0].id).collect();
    assert_eq!(ids, [Some(1), Some(2), Some(1)]);
    Ok(())
}

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

    fn source(&self, name: &str, caps: &str) -> Result<gst_app::AppSrc> {
        let source = self.0.by_name(name).context("source")?.downcast::<gst_app::AppSrc>().ok().context("appsrc")?;
        source.set_caps(Some(&caps.parse()?));
        source.set_format(gst::Format::Time);
        Ok(source)
    }

    fn run(&self) -> Result<()> {
        self.0.set_state(gst::State::Playing)?;
        let bus = self.0.bus().context("no bus")?;
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(30), &kinds).context("nothing happens")?;
        match message.view() {
            gst::MessageView::Error(e) => bail!("{}: {:?}", e.error(), e.debug()),
            _ => Ok(()),
        }
    }

    fn stats(&self, element: &str) -> Result<gst::Structure> {
        Ok(self.0.by_name(element).context("element")?.property("stats"))
    }

    /// Every picture that came out: its frame number and whether something is drawn on it.
    fn pictures(&self) -> Result<Vec<(u64, bool)>> {
        let sink = self.0.by_name("out").context("out")?.downcast::<gst_app::AppSink>().ok().context("appsink")?;
        let mut all = Vec::new();
        while let Some(sample) = sink.try_pull_sample(gst::ClockTime::ZERO) {
            let buffer = sample.buffer().context("buffer")?;
            let drawn = buffer.map_readable()?.iter().any(|&value| value != 0);
            all.push((buffer.pts().context("time")?.nseconds() / FRAME.nseconds(), drawn));
        }
        Ok(all)
    }
}

const PICTURE_CAPS: &str = "video/x-raw,format=GRAY8,width=640,height=480,framerate=25/1";

fn picture(t: usize) -> gst::Buffer {
    stamped(vec![vec![0; 640 * 480]], t)
}

const OVERLAY: &str = "appsrc name=pictures ! overlay.video appsrc name=boxes ! overlay.boxes \
    boxoverlay name=overlay ! appsink name=out sync=false wait-on-eos=false";

/// Runs pictures 0 to `pictures` and boxes of some of them through the element.
fn overlaid(properties: &str, pictures: usize, with_boxes: &[usize]) -> Result<(Vec<(u64, bool)>, gst::Structure)> {
    let pipeline = Pipeline::new(&OVERLAY.replace("boxoverlay", &format!("boxoverlay {properties}")))?;
    let (video, lines) = (pipeline.source("pictures", PICTURE_CAPS)?, pipeline.source("boxes", BOX_CAPS)?);
    video.set_max_bytes(0);
    (0..pictures).try_for_each(|t| video.push_buffer(picture(t)).map(drop))?;
    video.end_of_stream()?;
    with_boxes.iter().try_for_each(|&t| lines.push_buffer(boxes(t, &[(100.0, 100.0)])).map(drop))?;
    lines.end_of_stream()?;
    pipeline.run()?;
    Ok((pipeline.pictures()?, pipeline.stats("overlay")?))
}

fn drawn(pictures: &[(u64, bool)]) -> Vec<u64> {
    pictures.iter().filter(|picture| picture.1).map(|picture| picture.0).collect()
}

#[test]
fn boxes_are_drawn_on_the_pictures_of_their_time() -> Result<()> {
    let (pictures, stats) = overlaid("", 10, &[0, 1, 4, 5, 9])?;
    assert_eq!(pictures.iter().map(|p| p.0).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert_eq!(drawn(&pictures), [0, 1, 4, 5, 9]);
    assert_eq!((stats.get::<u64>("matched")?, stats.get::<u64>("bare")?), (5, 5));
    Ok(())
}

#[test]
fn last_boxes_are_held_up_to_their_age() -> Result<()> {
    let (pictures, stats) = overlaid("max-age=80000000", 12, &[1, 6])?;
    assert_eq!(drawn(&pictures), [1, 2, 3, 6, 7, 8]);
    assert_eq!((stats.get::<u64>("matched")?, stats.get::<u64>("held")?, stats.get::<u64>("bare")?), (2, 4, 6));
    Ok(())
}

#[test]
fn the_stream_ends_with_the_pictures_and_not_with_the_boxes() -> Result<()> {
    let (pictures, _) = overlaid("", 6, &[0, 1])?;
    assert_eq!((pictures.len(), drawn(&pictures)), (6, vec![0, 1]));
    let (pictures, _) = overlaid("", 3, &[0, 1, 2, 3, 4, 5, 6, 7])?;
    assert_eq!((pictures.len(), drawn(&pictures)), (3, vec![0, 1, 2]));
    let (pictures, _) = overlaid("", 3, &[])?;
    assert_eq!((pictures.len(), drawn(&pictures)), (3, vec![]));
    Ok(())
}

#[test]
fn a_line_that_is_none_stops_with_an_error() -> Result<()> {
    let pipeline = Pipeline::new(OVERLAY)?;
    pipeline.source("pictures", PICTURE_CAPS)?.push_buffer(picture(0))?;
    pipeline.source("boxes", BOX_CAPS)?.push_buffer(stamped(vec![b"nonsense".to_vec()], 0))?;
    let error = pipeline.run().unwrap_err().to_string();
    ensure!(error.contains("cannot draw boxes"), "{error}");
    Ok(())
}

/// A teed source: the boxes of a frame are made of the same buffer as its picture, those of some frames are lost.
fn teed_pipeline(queues: bool, lost: fn(u64) -> bool) -> Result<Pipeline> {
    let queue = |max| {
        if queues { format!("queue max-size-buffers={max} max-size-bytes=0 max-size-time=0 !") } else { String::new() }
    };
    let pipeline = Pipeline::new(&format!(
        "videotestsrc num-buffers=40 pattern=black ! video/x-raw,format=GRAY8,width=64,height=48,framerate=25/1 ! tee name=t \
         t. ! {} overlay.video t. ! {} identity name=net ! capssetter join=false replace=true caps={} ! overlay.boxes \
         boxoverlay name=overlay text=false ! appsink name=out sync=false wait-on-eos=false",
        queue(20),
        queue(2),
        BOX_CAPS.replace(',', "\\,"),
    ))?;
    let network = pipeline.0.by_name("net").context("net")?.static_pad("src").context("src")?;
    network.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data else { return gst::PadProbeReturn::Ok };
        let t = buffer.pts().map_or(0, |pts| pts.nseconds() / FRAME.nseconds());
        if lost(t) {
            return gst::PadProbeReturn::Drop;
        }
        *buffer = boxes(t as usize, &[(100.0, 100.0)]);
        gst::PadProbeReturn::Ok
    });
    Ok(pipeline)
}

/// Runs it; times of the pictures that came out, and how many had boxes of their own.
fn teed(pipeline: &Pipeline) -> Result<(Vec<u64>, u64)> {
    pipeline.run()?;
    let times = pipeline.pictures()?.iter().map(|picture| picture.0).collect();
    Ok((times, pipeline.stats("overlay")?.get("matched")?))
}

#[test]
fn one_source_for_both_branches_does_not_block() -> Result<()> {
    let all: Vec<u64> = (0..40).collect();
    assert_eq!(teed(&teed_pipeline(false, |_| false)?)?, (all.clone(), 40));
    assert_eq!(teed(&teed_pipeline(true, |t| t % 7 == 3 || (20..30).contains(&t))?)?, (all, 25));
    Ok(())
}

#[test]
fn it_runs_again_after_a_stop_and_goes_on_after_a_seek() -> Result<()> {
    let pipeline = teed_pipeline(true, |_| false)?;
    for _ in 0..2 {
        assert_eq!(teed(&pipeline)?.1, 40);
        pipeline.0.set_state(gst::State::Null)?;
    }
    pipeline.0.set_state(gst::State::Paused)?;
    pipeline.0.state(gst::ClockTime::from_seconds(20)).0?;
    pipeline.0.seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE, FRAME * 100)?;
    let (times, matched) = teed(&pipeline)?;
    ensure!(times.first() == Some(&100) && times.windows(2).all(|pair| pair[1] == pair[0] + 1), "{times:?}");
    // The counters go on from the start: pictures before the seek may have been drawn as well.
    ensure!(matched >= times.len() as u64, "{matched} of {}", times.len());
    Ok(())
}

#[test]
fn a_live_pipeline_does_not_wait_for_boxes_that_do_not_come() -> Result<()> {
    let pipeline = Pipeline::new(
        "videotestsrc is-live=true num-buffers=12 pattern=black ! video/x-raw,format=GRAY8,width=64,height=48,framerate=25/1 \
         ! queue ! overlay.video appsrc name=boxes is-live=true ! queue ! overlay.boxes \
         boxoverlay name=overlay latency=40000000 ! appsink name=out sync=false wait-on-eos=false",
    )?;
    let source = pipeline.source("boxes", BOX_CAPS)?;
    source.push_buffer(boxes(2, &[(100.0, 100.0)]))?;
    // The source of the boxes neither sends more nor ends.
    pipeline.run()?;
    let pictures = pipeline.pictures()?;
    ensure!(pictures.len() >= 10, "{pictures:?}");
    let stats = pipeline.stats("overlay")?;
    ensure!(stats.get::<u64>("bare")? >= 8, "{stats}");
    Ok(())
}

#[test]
fn coded_tensors_become_a_result_file() -> Result<()> {
    let path = std::env::temp_dir().join(format!("fcm-tracks-{}.txt", std::process::id()));
    let pipeline = Pipeline::new(&format!(
        "appsrc name=src ! fcmenc qp=2 ! fcmparse ! fcmdec ! tensordetect input-width=32 input-height=16 strides=8,16 \
         score-threshold=0.3 ! tee name=t t. ! queue ! boxtrack format=mot low-match-iou=0.2 ! filesink location={} \
         t. ! queue ! boxtrack ! application/x-boxes,format=json ! fakesink",
        path.display()
    ))?;
    let source = pipeline.source("src", &tensor_caps("float32").to_string())?;
    for t in 0..20 {
        source.push_buffer(stamped(vec![to_bytes(&output(6.0 + t as f32, 9.0, 0.9), Dtype::F32)], t))?;
    }
    source.end_of_stream()?;
    pipeline.run()?;
    let text = std::fs::read_to_string(&path)?;
    std::fs::remove_file(&path)?;
    let entries = mot::parse(&text)?;
    assert_eq!(
        entries.iter().map(|e| (e.frame, e.id)).collect::<Vec<_>>(),
        (1..=20).map(|n| (n, 1)).collect::<Vec<_>>()
    );
    for (t, entry) in entries.iter().enumerate() {
        let centre = entry.rect.x + entry.rect.width / 2.0;
        ensure!((centre - 6.0 - t as f32).abs() < 1.0, "frame {t}: {entry:?}");
    }
    Ok(())
}
