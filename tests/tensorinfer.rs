//! What docs/caps.md promises of `tensorinfer`, pad by pad and in pipelines, with models of known integers.
#![cfg(feature = "infer")]

mod common;
#[path = "../infer/tests/common/mod.rs"]
mod models;

use anyhow::{Context, Result, bail};
use common::*;
use gst::prelude::*;
use models::{F32, chain, chain_by_hand, constant, int, ints, model, node, value};
use prost::Message;

/// A model in a file, for as long as the test lasts.
fn file(model: &models::ModelProto) -> models::File {
    models::File::new("element.onnx", &model.encode_to_vec())
}

fn bench(file: &models::File, properties: &[(&str, &str)]) -> Bench {
    let path = file.path().to_str().expect("the temporary directory has a name in UTF-8");
    Bench::new(element("tensorinfer", &[&[("model", path)], properties].concat()))
}

fn tensors(dimensions: &str, types: &str) -> String {
    let number = types.split(',').count();
    format!(
        "other/tensors,format=static,num_tensors={number},types=(string)\"{types}\",dimensions=(string)\"{dimensions}\",framerate=25/1"
    )
}

fn floats(buffer: &gst::BufferRef) -> Vec<f32> {
    from_bytes(&buffer.map_readable().expect("mappable"), fcm_codec::Dtype::F32)
}

fn bytes(values: &[f32]) -> Vec<u8> {
    to_bytes(values, fcm_codec::Dtype::F32)
}

/// A picture of 4 × 4 pixels as packed bytes, and its planes red, green, blue.
fn picture(bytes_per_pixel: usize, offsets: [usize; 3], stride: usize) -> (Vec<u8>, Vec<f32>) {
    let mut data = vec![0xee; stride * 4];
    let mut planes = vec![0.0; 48];
    for (channel, offset) in offsets.into_iter().enumerate() {
        for n in 0..16 {
            let value = ((n * 37 + channel * 91) % 256) as u8;
            data[n / 4 * stride + n % 4 * bytes_per_pixel + offset] = value;
            planes[channel * 16 + n] = f32::from(value);
        }
    }
    (data, planes)
}

#[test]
fn caps_are_the_models_before_the_first_buffer() {
    let file = file(&chain());
    let mut b = bench(&file, &[("output-names", "positive,features")]);
    b.harness.set_src_caps_str(&tensors("4:4:3", "float32"));
    let caps = b.src_caps().expect("caps were sent");
    let raw = gstfcm::caps::parse_raw(&caps).unwrap();
    assert_eq!((raw.tensors.len(), raw.framerate), (2, (25, 1)));
    let dimensions = caps.structure(0).expect("one structure").get::<String>("dimensions").expect("text");
    assert_eq!(dimensions, "4:4:1:1,4:4:1:1");
}

#[test]
fn tensors_give_what_the_model_gives_with_their_time_and_metas() -> Result<()> {
    let file = file(&chain());
    let mut b = bench(&file, &[]);
    b.harness.set_src_caps_str(&tensors("4:4:3", "float32"));
    for t in 0..3 {
        let images: Vec<f32> = models::images().iter().map(|v| v + t as f32).collect();
        let mut buffer = stamped(vec![bytes(&images)], t);
        let unshared = buffer.get_mut().context("new")?;
        gst::ReferenceTimestampMeta::add(
            unshared,
            &gst::Caps::new_empty_simple("test/x"),
            gst::ClockTime::SECOND,
            None,
        );
        let layer = fcm_codec::Layer::new("p", fcm_codec::Shape::vector(1), fcm_codec::Dtype::F32);
        let layout = fcm_codec::Layout::new(vec![layer], &fcm_codec::Limits::default())?;
        let one = fcm_codec::MeanStd { mean: 1.0, std_dev: 1.0 };
        let statistics = fcm_codec::FrameStatistics { layers: vec![one], fused: one };
        gstfcm::statistics_meta::attach(unshared, &layout, &statistics, true);
        if t == 2 {
            unshared.set_flags(gst::BufferFlags::DISCONT);
        }
        b.harness.push(buffer)?;
        let out = b.harness.pull()?;
        assert_eq!(floats(&out), chain_by_hand(&images)[3], "frame {t}");
        assert_eq!((out.pts(), out.duration(), is_discont(&out)), (Some(FRAME * t as u64), Some(FRAME), t == 2));
        assert_eq!(out.iter_meta::<gst::ReferenceTimestampMeta>().count(), 1);
        assert_eq!(gstfcm::statistics_meta::get(&out), None, "the statistics were those of other tensors");
    }
    assert_eq!(b.count("frames"), 3);
    assert!(b.count("inference-time") > 0);
    Ok(())
}

#[test]
fn every_format_of_pictures_gives_the_same() -> Result<()> {
    let file = file(&chain());
    for (name, size, offsets) in [
        ("RGB", 3, [0, 1, 2]),
        ("BGR", 3, [2, 1, 0]),
        ("RGBx", 4, [0, 1, 2]),
        ("BGRx", 4, [2, 1, 0]),
        ("xRGB", 4, [1, 2, 3]),
        ("xBGR", 4, [3, 2, 1]),
    ] {
        let mut b = bench(&file, &[]);
        b.harness.set_src_caps_str(&format!("video/x-raw,format={name},width=4,height=4,framerate=30/1"));
        let (data, planes) = picture(size, offsets, 4 * size);
        b.harness.push(stamped(vec![data], 1))?;
        let out = b.harness.pull()?;
        assert_eq!(floats(&out), chain_by_hand(&planes)[3], "{name}");
        assert_eq!((out.pts(), out.n_memory()), (Some(FRAME), 1));
        let caps = b.src_caps().context("caps")?;
        let raw = gstfcm::caps::parse_raw(&caps)?;
        assert_eq!((raw.tensors[0].dimensions.to_string().as_str(), raw.framerate), ("2:2", (30, 1)));
    }
    Ok(())
}

#[test]
fn rows_of_pictures_lie_where_their_meta_says() -> Result<()> {
    let file = file(&chain());
    let mut b = bench(&file, &[]);
    b.harness.set_src_caps_str("video/x-raw,format=RGB,width=4,height=4,framerate=30/1");
    let (data, planes) = picture(3, [0, 1, 2], 20);
    let mut buffer = stamped(vec![data], 0);
    let unshared = buffer.get_mut().context("new")?;
    let flags = gst_video::VideoFrameFlags::empty();
    gst_video::VideoMeta::add_full(unshared, flags, gst_video::VideoFormat::Rgb, 4, 4, &[0], &[20])?;
    b.harness.push(buffer)?;
    let out = b.harness.pull()?;
    assert_eq!(floats(&out), chain_by_hand(&planes)[3]);
    assert_eq!(out.iter_meta::<gst_video::VideoMeta>().count(), 0, "the meta described the picture's memory");
    Ok(())
}

#[test]
fn pictures_are_scaled_ordered_and_normalised_as_asked() -> Result<()> {
    // The model gives back what went in, doubled.
    let double = model(
        vec![node("Add", &["x", "x"], &["y"], vec![])],
        vec![],
        vec![value("x", F32, &[1, 3, 4, 4])],
        vec![value("y", F32, &[1, 3, 4, 4])],
    );
    let file = file(&double);
    let mut b = bench(
        &file,
        &[
            ("scaling", "letterbox-centred"),
            ("pad-value", "7"),
            ("channel-order", "bgr"),
            ("mean", "1,2,3"),
            ("std-dev", "0.5,0.25,0.125"),
        ],
    );
    b.harness.set_src_caps_str("video/x-raw,format=RGB,width=8,height=4,framerate=30/1");
    // Red 10, green 20, blue 30 everywhere: scaling changes nothing but the place.
    let data = [10, 20, 30].repeat(32);
    b.harness.push(stamped(vec![data], 0))?;
    let out = floats(&*b.harness.pull()?);
    for (n, &value) in out.iter().enumerate() {
        let (channel, row) = (n / 16, n / 4 % 4);
        let raw = if (1..3).contains(&row) { [30.0, 20.0, 10.0][channel] } else { 7.0 };
        let expected = 2.0 * (raw - [1.0, 2.0, 3.0][channel]) / [0.5, 0.25, 0.125][channel];
        assert_eq!(value, expected, "channel {channel} row {row}");
    }
    Ok(())
}

#[test]
fn front_and_back_of_one_file_are_the_whole() -> Result<()> {
    let file = file(&chain());
    let mut front = bench(&file, &[("output-names", "lifted")]);
    front.harness.set_src_caps_str("video/x-raw,format=RGB,width=4,height=4,framerate=30/1");
    let mut back = bench(&file, &[("input-names", "lifted")]);
    back.harness.set_src_caps(front.src_caps().context("caps")?);
    let (data, planes) = picture(3, [0, 1, 2], 12);
    front.harness.push(stamped(vec![data], 0))?;
    back.harness.push(front.harness.pull()?)?;
    assert_eq!(floats(&*back.harness.pull()?), chain_by_hand(&planes)[3]);
    Ok(())
}

#[test]
fn several_tensors_go_in_and_come_out_in_order_merged_flexible_or_half() -> Result<()> {
    let two = model(
        vec![node("Sub", &["a", "b"], &["d"], vec![]), node("Mul", &["a", "k"], &["m"], vec![])],
        vec![constant("k", &[1], &[3.0])],
        vec![value("a", F32, &[1, 2]), value("b", F32, &[1, 2])],
        vec![value("d", F32, &[1, 2]), value("m", F32, &[1, 2])],
    );
    let file = file(&two);
    let (a, b_) = ([5.0, 7.0], [1.0, 2.0]);
    let check = |out: gst::Buffer, how: &str| {
        assert_eq!(out.n_memory(), 2, "{how}: one memory a tensor");
        assert_eq!(floats(&out), [4.0, 5.0, 15.0, 21.0], "{how}");
    };
    let mut b = bench(&file, &[]);
    b.harness.set_src_caps_str(&tensors("2,2", "float32,float32"));
    b.harness.push(stamped(vec![bytes(&a), bytes(&b_)], 0))?;
    check(b.harness.pull()?, "memories");
    b.harness.push(stamped(vec![[bytes(&a), bytes(&b_)].concat()], 1))?;
    check(b.harness.pull()?, "merged");
    let half = |values: &[f32]| to_bytes(values, fcm_codec::Dtype::F16);
    b.harness.set_src_caps_str(&tensors("2:1,2:1:1", "float16,float32"));
    b.harness.push(stamped(vec![half(&a), bytes(&b_)], 2))?;
    check(b.harness.pull()?, "half");
    b.harness.set_src_caps_str("other/tensors,format=flexible,framerate=25/1");
    b.harness.push(stamped(vec![flexible(&[2, 1], 7, &bytes(&a)), flexible(&[2], 10, &half(&b_))], 3))?;
    check(b.harness.pull()?, "flexible");
    let wrong = stamped(vec![flexible(&[2, 1], 7, &bytes(&a))], 4);
    assert_eq!(b.harness.push(wrong), Err(gst::FlowError::NotNegotiated));
    let errors = b.errors();
    assert!(
        errors[0].contains("tensors of float32 2 came, the model takes float32 2, float32 2 (a: f32 1×2"),
        "{errors:?}"
    );
    Ok(())
}

#[test]
fn downstream_gets_its_spelling_and_format() -> Result<()> {
    let file = file(&chain());
    for wish in ["4:4", "4:4:1", "4:4:1:1:1", "4:4:1:1"] {
        let mut b = bench(&file, &[("output-names", "lifted")]);
        b.harness.set_sink_caps_str(&tensors(wish, "float32"));
        b.harness.set_src_caps_str("video/x-raw,format=RGB,width=4,height=4,framerate=25/1");
        let caps = b.src_caps().context("caps")?;
        assert_eq!(caps.structure(0).context("structure")?.get::<String>("dimensions")?, wish);
    }
    let mut b = bench(&file, &[("output-names", "lifted")]);
    b.harness.set_sink_caps_str("other/tensors,format=flexible");
    b.harness.set_src_caps_str("video/x-raw,format=RGB,width=4,height=4,framerate=25/1");
    b.harness.push(stamped(vec![vec![0; 48]], 0))?;
    let out = b.harness.pull()?;
    assert_eq!(out.size(), 128 + 64);
    assert_eq!(floats(&out)[32..], [13.0; 16]);
    Ok(())
}

#[test]
fn caps_queries_answer_with_the_models_shapes() -> Result<()> {
    let file = file(&chain());
    let b = bench(&file, &[("output-names", "lifted")]);
    let pad = |name: &str| b.element().static_pad(name).context("a pad");
    let caps = |text: &str| text.parse::<gst::Caps>().expect("caps");
    let (sink, src) = (pad("sink")?.query_caps(None), pad("src")?.query_caps(None));
    assert!(src.can_intersect(&caps(&tensors("4:4:1:1", "float32"))), "{src}");
    assert!(!src.can_intersect(&caps(&tensors("5:4:1:1", "float32"))), "{src}");
    assert!(sink.can_intersect(&caps(&tensors("4:4:3:1", "float32"))), "{sink}");
    assert!(sink.can_intersect(&caps(&tensors("4:4:3", "float16"))), "{sink}");
    assert!(!sink.can_intersect(&caps(&tensors("4:4:4:1", "float32"))), "{sink}");
    assert!(sink.can_intersect(&caps("video/x-raw,format=RGB,width=640,height=480,framerate=25/1")), "{sink}");
    // A rare spelling in the filter is understood.
    let rare = caps(&tensors("4:4:3:1:1", "float32"));
    assert!(!pad("sink")?.query_caps(Some(&rare)).is_empty());
    // A model without pictures takes none.
    let back = bench(&file, &[("input-names", "lifted")]);
    let sink = back.element().static_pad("sink").context("sink")?.query_caps(None);
    assert!(!sink.can_intersect(&caps("video/x-raw,format=RGB")), "{sink}");
    // Downstream's frame rate is wished from upstream as well.
    let mut b = bench(&file, &[]);
    b.harness.set_sink_caps_str("other/tensors,framerate=10/1");
    let sink = b.element().static_pad("sink").context("sink")?.query_caps(None);
    assert!(!sink.can_intersect(&caps("video/x-raw,format=RGB,width=4,height=4,framerate=25/1")), "{sink}");
    assert!(sink.can_intersect(&caps("video/x-raw,format=RGB,width=4,height=4,framerate=10/1")), "{sink}");
    Ok(())
}

#[test]
fn caps_that_do_not_fit_the_model_are_errors_that_say_both() {
    let file = file(&chain());
    let error = |properties: &[(&str, &str)], caps: &str| {
        let mut b = bench(&file, properties);
        b.harness.set_src_caps_str(caps);
        let pushed = b.harness.push(stamped(vec![vec![0; 48]], 0));
        assert!(pushed.is_err(), "{caps}");
        b.errors().join("; ")
    };
    let wrong = error(&[], &tensors("4:5:3", "float32"));
    assert!(
        wrong.contains("tensors of float32 4:5:3 came, the model takes float32 4:4:3 (images: f32 1×3×4×4)"),
        "{wrong}"
    );
    let pictures = error(&[("input-names", "lifted")], "video/x-raw,format=RGB,width=4,height=4,framerate=25/1");
    assert!(pictures.contains("pictures came, but the input lifted: f32 1×1×4×4 takes no pictures"), "{pictures}");
}

#[test]
fn downstream_that_takes_other_tensors_is_an_error_with_both_caps() {
    let file = file(&chain());
    let mut b = bench(&file, &[]);
    b.harness.set_sink_caps_str(&tensors("3:2", "float32"));
    b.harness.set_src_caps_str("video/x-raw,format=RGB,width=4,height=4,framerate=25/1");
    let errors = b.errors().join("; ");
    assert!(errors.contains("the model gives other/tensors") && errors.contains("downstream takes"), "{errors}");
    assert!(errors.contains("2:2:1:1") && errors.contains("3:2"), "{errors}");
}

#[test]
fn buffers_of_another_size_than_the_caps_promise_are_errors() {
    let file = file(&chain());
    for (caps, size) in
        [(tensors("4:4:3", "float32"), 191), ("video/x-raw,format=RGB,width=4,height=4,framerate=25/1".to_owned(), 47)]
    {
        let mut b = bench(&file, &[]);
        b.harness.set_src_caps_str(&caps);
        assert_eq!(b.harness.push(stamped(vec![vec![0; size]], 0)), Err(gst::FlowError::Error), "{caps}");
        let errors = b.errors();
        assert!(errors[0].contains("cannot run the model"), "{errors:?}");
    }
}

/// What the element says when it cannot start, and how GStreamer classes it.
fn start_error(properties: &[(&str, &str)]) -> gst::glib::Error {
    let element = element("tensorinfer", properties);
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    assert!(element.set_state(gst::State::Paused).is_err(), "{properties:?}");
    let message = bus.pop_filtered(&[gst::MessageType::Error]).expect("an error message");
    let _ = element.set_state(gst::State::Null);
    match message.view() {
        gst::MessageView::Error(e) => e.error(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_keeps_it_from_starting_is_a_message_of_the_right_class() {
    let file = file(&chain());
    let path = file.path().to_str().unwrap();
    let none = start_error(&[]);
    assert!(none.matches(gst::LibraryError::Settings) && none.message().contains("property model"), "{none}");
    let missing = start_error(&[("model", "no/such/file.onnx")]);
    assert!(
        missing.matches(gst::ResourceError::NotFound) && missing.message().contains("no/such/file.onnx"),
        "{missing}"
    );
    let text = models::File::new("text.onnx", b"no model");
    let unreadable = start_error(&[("model", text.path().to_str().unwrap())]);
    assert!(
        unreadable.matches(gst::ResourceError::OpenRead) && unreadable.message().contains("no ONNX file"),
        "{unreadable}"
    );
    let unknown = start_error(&[("model", path), ("output-names", "lifted,feature")]);
    assert!(
        unknown.matches(gst::LibraryError::Settings) && unknown.message().contains("there are features"),
        "{unknown}"
    );
    let mean = start_error(&[("model", path), ("mean", "1,2")]);
    assert!(mean.matches(gst::LibraryError::Settings) && mean.message().contains("mean=1,2"), "{mean}");
    let std_dev = start_error(&[("model", path), ("std-dev", "1,0,1")]);
    assert!(std_dev.matches(gst::LibraryError::Settings) && std_dev.message().contains("deviation 0"), "{std_dev}");
    let library = start_error(&[("model", path), ("library", "no/such/libonnxruntime.so")]);
    assert!(library.matches(gst::LibraryError::Init) || library.message().contains("this process uses"), "{library}");
}

#[test]
fn outputs_that_other_tensors_cannot_say_are_refused_at_the_start() {
    let batch = model(
        vec![node("Concat", &["x", "x"], &["y"], vec![int("axis", 0)])],
        vec![],
        vec![value("x", F32, &[1, 3, 4, 4])],
        vec![value("y", F32, &[2, 3, 4, 4])],
    );
    let file = file(&batch);
    let error = start_error(&[("model", file.path().to_str().unwrap())]);
    assert!(
        error.message().contains("cannot be put in other/tensors") && error.message().contains("batch 2"),
        "{error}"
    );
}

#[test]
fn element_stops_and_starts_again() -> Result<()> {
    init();
    let file = file(&chain());
    let description = format!(
        "videotestsrc num-buffers=3 ! videoconvert ! tensorinfer name=infer model={} ! fakesink",
        file.path().display()
    );
    let pipeline = gst::parse::launch(&description)?.downcast::<gst::Pipeline>();
    let pipeline = pipeline.map_err(|_| anyhow::anyhow!("a pipeline"))?;
    let infer = pipeline.by_name("infer").context("infer")?;
    for (outputs, number) in [("", 1), ("features,lifted", 2), ("", 1)] {
        infer.set_property("output-names", outputs);
        pipeline.set_state(gst::State::Playing)?;
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = pipeline.bus().context("bus")?.timed_pop_filtered(gst::ClockTime::from_seconds(60), &ends);
        let caps = infer.static_pad("src").context("src")?.current_caps();
        pipeline.set_state(gst::State::Null)?;
        assert_eq!(end.context("a minute passed")?.type_(), gst::MessageType::Eos);
        assert_eq!(gstfcm::caps::parse_raw(&*caps.context("caps")?)?.tensors.len(), number, "{outputs}");
        assert_eq!(infer.property::<gst::Structure>("stats").get::<u64>("frames")?, 3);
    }
    Ok(())
}

#[test]
fn flush_and_end_of_stream_pass_and_nothing_is_held_back() -> Result<()> {
    let file = file(&chain());
    let mut b = bench(&file, &[]);
    b.harness.set_src_caps_str(&tensors("4:4:3", "float32"));
    let push = |b: &mut Bench, t| b.harness.push(stamped(vec![bytes(&models::images())], t));
    push(&mut b, 0)?;
    assert_eq!(b.pull_all().len(), 1);
    b.harness.push_event(gst::event::FlushStart::new());
    b.harness.push_event(gst::event::FlushStop::new(true));
    b.harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    push(&mut b, 1)?;
    assert_eq!(b.pull_all().len(), 1);
    let mut gap = gst::Buffer::new();
    let unshared = gap.get_mut().context("new")?;
    unshared.set_pts(FRAME * 2);
    unshared.set_flags(gst::BufferFlags::GAP);
    b.harness.push(gap)?;
    b.harness.push_event(gst::event::Eos::new());
    let kinds: Vec<gst::EventType> = b.events().iter().map(|e| e.type_()).collect();
    for kind in [
        gst::EventType::StreamStart,
        gst::EventType::Caps,
        gst::EventType::FlushStop,
        gst::EventType::Gap,
        gst::EventType::Eos,
    ] {
        assert!(kinds.contains(&kind), "{kind:?} in {kinds:?}");
    }
    let caps = kinds.iter().position(|k| *k == gst::EventType::Caps);
    let segment = kinds.iter().position(|k| *k == gst::EventType::Segment);
    assert!(caps < segment, "caps before the segment: {kinds:?}");
    b.harness.set_upstream_latency(gst::ClockTime::from_mseconds(7));
    assert_eq!(b.harness.query_latency(), Some(gst::ClockTime::from_mseconds(7)), "no latency of its own");
    Ok(())
}

#[test]
fn the_bus_says_what_the_model_takes_and_gives() {
    let file = file(&chain());
    let b = bench(&file, &[("output-names", "features")]);
    let message = b.bus.pop_filtered(&[gst::MessageType::Element]).expect("a message");
    let structure = message.structure().expect("with a structure");
    let first = |field: &str| structure.get::<gst::Array>(field).unwrap()[0].get::<String>().unwrap();
    assert_eq!(structure.name(), "tensorinfer-model");
    assert_eq!((first("inputs").as_str(), first("outputs").as_str()), ("images: f32 1×3×4×4", "features: f32 1×1×4×4"));
}

/// Pictures 64 × 48 to a map of 4 channels 12 × 16 and on to a map of 1 channel: a network in two halves.
fn halves() -> models::ModelProto {
    let weights: Vec<f32> = (0..12).map(|n| (n % 5) as f32 / 64.0 - 0.02).collect();
    model(
        vec![
            node("Conv", &["images", "w"], &["wide"], vec![]),
            node(
                "AveragePool",
                &["wide"],
                &["features"],
                vec![ints("kernel_shape", &[4, 4]), ints("strides", &[4, 4])],
            ),
            node("Conv", &["features", "v"], &["score"], vec![]),
        ],
        vec![constant("w", &[4, 3, 1, 1], &weights), constant("v", &[1, 4, 1, 1], &[1.0, -1.0, 0.5, 0.25])],
        vec![value("images", F32, &[1, 3, 48, 64])],
        vec![value("score", F32, &[1, 1, 12, 16])],
    )
}

#[test]
fn a_split_network_runs_around_the_codec() -> Result<()> {
    init();
    let file = file(&halves());
    let path = file.path().display();
    let description = format!(
        "videotestsrc num-buffers=8 pattern=ball ! video/x-raw,width=100,height=80,framerate=25/1 ! videoconvert \
         ! tensorinfer model={path} output-names=features scaling=letterbox channel-order=bgr name=front \
         ! tee name=t ! queue ! fcmenc qp=4 ! fcmdec ! tensorinfer model={path} input-names=features name=back \
         ! appsink name=coded sync=false t. ! queue ! tensorinfer model={path} input-names=features ! appsink name=direct sync=false"
    );
    let pipeline =
        gst::parse::launch(&description)?.downcast::<gst::Pipeline>().map_err(|_| anyhow::anyhow!("a pipeline"))?;
    pipeline.set_state(gst::State::Playing)?;
    let sink = |name: &str| {
        let element = pipeline.by_name(name).context("a sink")?;
        element.downcast::<gst_app::AppSink>().map_err(|_| anyhow::anyhow!("an appsink"))
    };
    let (coded, direct) = (sink("coded")?, sink("direct")?);
    let timeout = gst::ClockTime::from_seconds(60);
    for frame in 0..8 {
        let pull = |sink: &gst_app::AppSink| sink.try_pull_sample(timeout);
        let (Some(coded), Some(direct)) = (pull(&coded), pull(&direct)) else {
            let bus = pipeline.bus().context("bus")?;
            let error = bus.pop_filtered(&[gst::MessageType::Error]);
            let _ = pipeline.set_state(gst::State::Null);
            bail!("no frame {frame}: {error:?}")
        };
        let (coded, direct) = (coded.buffer().context("buffer")?, direct.buffer().context("buffer")?);
        assert_eq!(coded.pts(), direct.pts());
        let error = nmse(&floats(direct), &floats(coded));
        assert!(error < 0.02, "frame {frame}: nmse {error}");
        let (_, deviation) = mean_and_deviation(&floats(direct));
        assert!(deviation > 0.1, "there is something in the picture: {deviation}");
    }
    for name in ["front", "back"] {
        let stats: gst::Structure = pipeline.by_name(name).context("element")?.property("stats");
        assert_eq!(stats.get::<u64>("frames")?, 8, "{name}");
    }
    pipeline.set_state(gst::State::Null)?;
    Ok(())
}
