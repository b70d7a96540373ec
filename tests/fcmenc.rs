//! What docs/caps.md promises of `fcmenc`, pad by pad.

mod common;

use anyhow::{Context, Result, ensure};
use common::*;
use fcm_codec::{Dtype, EncoderConfig, Shape};
use gst::prelude::*;
use gstfcm::statistics_meta;

fn key_unit_request(running_time: Option<gst::ClockTime>, count: u32) -> gst::Event {
    gst::event::CustomUpstream::new(
        gst::Structure::builder("GstForceKeyUnit")
            .field("running-time", running_time)
            .field("all-headers", true)
            .field("count", count)
            .build(),
    )
}

fn key_unit_events(bench: &mut Bench) -> Vec<gst::Structure> {
    let structure = |e: &gst::Event| e.structure().filter(|s| s.name() == "GstForceKeyUnit").map(|s| s.to_owned());
    bench.events().iter().filter_map(structure).collect()
}

#[test]
fn defaults_are_those_of_the_codec() {
    let enc = element("fcmenc", &[]);
    let config = EncoderConfig::default();
    assert_eq!(enc.property::<u32>("qp"), 20);
    assert_eq!(enc.property::<u32>("bitrate"), 0);
    assert_eq!(enc.property::<u32>("key-int-max"), config.key_int_max);
    assert_eq!(enc.property::<u32>("stats-period"), config.stats_period);
    assert_eq!(enc.property::<f32>("stats-threshold"), config.stats_threshold);
    assert_eq!(enc.property::<u32>("threads"), config.threads as u32);
    assert_eq!(enc.property::<f32>("skip-threshold"), config.skip_threshold);
    assert_eq!(enc.property::<f32>("rd-strength"), config.rd_strength);
    assert_eq!(enc.property::<f32>("restoration-strength"), -1.0);
    assert_eq!(enc.property::<f32>("restoration-gain"), 0.0);
    assert_eq!(enc.property::<bool>("error-resilient"), config.error_resilient);
    assert_eq!(enc.property::<bool>("motion-compensation"), config.motion_compensation);
    assert_eq!(enc.property::<bool>("intra-prediction"), config.intra_prediction);
    assert_eq!(enc.property::<u64>("min-force-key-unit-interval"), 0);
    assert_eq!(enc.property::<Option<String>>("transform"), None);
}

#[test]
fn every_property_is_given_back_as_set() {
    let values = [
        ("qp", "12"),
        ("bitrate", "300"),
        ("key-int-max", "7"),
        ("stats-period", "3"),
        ("stats-threshold", "0.5"),
        ("statistics", "ecs"),
        ("restoration-strength", "0.5"),
        ("restoration-gain", "1.5"),
        ("transform", "a.fcmt"),
        ("components", "9"),
        ("skip-threshold", "0.125"),
        ("rd-strength", "0.25"),
        ("error-resilient", "false"),
        ("motion-compensation", "false"),
        ("intra-prediction", "false"),
        ("threads", "2"),
        ("layout", "nhwc"),
        ("tensor-names", "p3,p4"),
        ("min-force-key-unit-interval", "1000"),
    ];
    let enc = element("fcmenc", &values);
    for (name, value) in values {
        let got = enc.property_value(name).serialize().expect("serialisable").to_string();
        let got = got.replace('\\', "").trim_matches('"').trim_end_matches('0').to_owned();
        assert_eq!(got, value.trim_end_matches('0'), "{name}");
    }
}

#[test]
fn motion_compensation_is_what_the_stream_says_of_itself() -> Result<()> {
    for (value, motion) in [("true", true), ("false", false)] {
        let (_, units) = encode(&Features::small(), 2, &[("motion-compensation", value)]);
        let map = units[0].map_readable()?;
        let mut inspector = fcm_codec::bitstream::stream::Inspector::default();
        let sequence = inspector.read_header(&map)?;
        assert_eq!(sequence.motion, motion);
    }
    Ok(())
}

#[test]
fn a_restoration_gain_raises_the_statistics_that_are_sent() -> Result<()> {
    let fused = |value| -> Result<f64> {
        let (_, units) = encode(&Features::small(), 1, &[("qp", "32"), ("restoration-gain", value)]);
        let map = units[0].map_readable()?;
        let mut decoder = fcm_codec::Decoder::new(fcm_codec::DecoderConfig::default())?;
        let fcm_codec::Decoded::Frame(frame) = decoder.decode(&map)? else { panic!("a whole frame") };
        Ok(frame.statistics().fused.std_dev)
    };
    let plain = fused("0")?;
    assert!((fused("2")? / plain - 2.0).abs() < 1e-4);
    assert_eq!(fused("1")?, plain);
    Ok(())
}

#[test]
fn the_stream_says_how_far_layers_are_restored() -> Result<()> {
    for (value, sixteenths) in [("0.25", 4), ("0", 0), ("1", 16), ("-1", 16)] {
        let (_, units) = encode(&Features::small(), 1, &[("restoration-strength", value)]);
        let map = units[0].map_readable()?;
        let mut inspector = fcm_codec::bitstream::stream::Inspector::default();
        assert_eq!(inspector.read_header(&map)?.restoration.sixteenths(), sixteenths, "{value}");
    }
    Ok(())
}

#[test]
fn one_access_unit_a_frame_in_one_memory_with_its_time() -> Result<()> {
    let features = Features::small();
    let (caps, units) = encode(&features, 7, &[("key-int-max", "3")]);
    for (t, unit) in units.iter().enumerate() {
        assert_eq!(unit.n_memory(), 1);
        assert_eq!(unit.pts(), Some(FRAME * t as u64));
        assert_eq!(unit.duration(), Some(FRAME));
        assert_eq!(is_delta(unit), t % 3 != 0, "frame {t}");
        assert_eq!(is_discont(unit), t == 0, "frame {t}");
    }
    let s = caps.structure(0).context("structure")?;
    assert_eq!(s.name(), "application/x-fcm");
    assert_eq!(s.get::<String>("stream-format")?, "byte-stream");
    assert_eq!(s.get::<String>("alignment")?, "au");
    assert!(s.get::<bool>("parsed")?);
    assert_eq!(s.get::<gst::Fraction>("framerate")?, gst::Fraction::new(25, 1));
    assert_eq!(s.get::<String>("inner-codec")?, "native");
    assert_eq!(s.get::<String>("statistics")?, "z-score");
    assert_eq!(s.get::<i32>("statistics-period")?, 0);
    assert_eq!(s.get::<gst::Caps>("original-caps")?, features.caps());
    assert!(!s.has_field("transform") && !s.has_field("codec_data"));
    ensure!(caps.to_string().len() < 512, "{caps}");
    Ok(())
}

/// A still picture's features, as `pngdec` and image capture give them.
#[test]
fn neither_frame_rate_nor_duration_is_needed() -> Result<()> {
    let features = Features::small();
    let mut bench = Bench::new(element("fcmenc", &[]));
    bench.harness.set_src_caps(features.caps_at(gst::Fraction::new(0, 1)));
    let mut frame = features.buffer(0);
    frame.make_mut().set_duration(None);
    bench.harness.push(frame)?;
    let unit = bench.harness.pull()?;
    ensure!(bench.errors().is_empty());
    assert_eq!(unit.duration(), None);
    assert_eq!(
        bench.harness.element().context("element")?.property::<gst::Structure>("stats").get::<u64>("frames")?,
        1
    );
    Ok(())
}

#[test]
fn a_transform_coarsens_the_quantiser_that_nobody_chose() {
    let enc = element("fcmenc", &[("transform", "street.fcmt")]);
    assert_eq!(enc.property::<u32>("qp"), 32);
    enc.set_property("qp", 20u32);
    assert_eq!(enc.property::<u32>("qp"), 20);
    let chosen_before = element("fcmenc", &[("qp", "20"), ("transform", "street.fcmt")]);
    assert_eq!(chosen_before.property::<u32>("qp"), 20);
}

#[test]
fn settings_that_leave_little_of_the_features_are_told_once() -> Result<()> {
    let features = Features::small();
    for (qp, told) in [("32", true), ("26", false)] {
        let mut bench = encoder(&features, &[("qp", qp)]);
        for t in 0..3 {
            bench.harness.push(features.buffer(t))?;
        }
        let advice = bench.advice();
        assert_eq!(advice.len(), usize::from(told), "{advice:?}");
        assert!(advice.iter().all(|text| text.contains("qp 32 without a transform")), "{advice:?}");
    }
    Ok(())
}

#[test]
fn packetized_for_a_peer_that_asks_with_parameter_sets_in_the_caps() -> Result<()> {
    let features = Features::small();
    let mut bench = Bench::new(element("fcmenc", &[]));
    bench.harness.set_sink_caps_str("application/x-fcm,stream-format=packetized");
    bench.harness.set_src_caps(features.caps());
    bench.harness.push(features.buffer(0))?;
    let caps = bench.src_caps().context("no caps")?;
    let s = caps.structure(0).context("structure")?;
    assert_eq!(s.get::<String>("stream-format")?, "packetized");
    let header = s.get::<gst::Buffer>("codec_data")?;
    let mut inspector = fcm_codec::bitstream::stream::Inspector::new(fcm_codec::Limits::default());
    let sequence = inspector.read_header(&header.map_readable()?)?;
    assert_eq!(sequence.layout, features.layout());
    let unit = bench.harness.pull()?;
    assert_ne!(unit.map_readable()?[..4], fcm_codec::bitstream::stream::MARKER);
    Ok(())
}

#[test]
fn peer_that_takes_no_access_units_is_an_error_on_the_bus() {
    let mut bench = Bench::new(element("fcmenc", &[]));
    bench.harness.set_sink_caps_str("application/x-fcm,alignment=frame");
    bench.harness.set_src_caps(Features::small().caps());
    let errors = bench.errors();
    assert!(errors.iter().any(|e| e.contains("downstream takes no application/x-fcm")), "{errors:?}");
}

#[test]
fn downstream_may_ask_for_the_other_framing_in_the_middle() -> Result<()> {
    let features = Features::small();
    let mut bench = encoder(&features, &[("key-int-max", "0")]);
    let framing = |bench: &Bench| -> Result<String> {
        Ok(bench.src_caps().context("caps")?.structure(0).context("structure")?.get("stream-format")?)
    };
    for t in 0..2 {
        bench.harness.push(features.buffer(t))?;
    }
    assert_eq!(framing(&bench)?, "byte-stream");
    bench.harness.set_sink_caps_str("application/x-fcm,stream-format=packetized");
    for t in 2..4 {
        bench.harness.push(features.buffer(t))?;
    }
    assert_eq!(framing(&bench)?, "packetized");
    assert_eq!(bench.pull_all().iter().map(|u| is_delta(u)).collect::<Vec<_>>(), [false, true, false, true]);
    Ok(())
}

#[test]
fn quality_of_service_goes_upstream() -> Result<()> {
    let features = Features::small();
    let mut bench = encoder(&features, &[]);
    bench.harness.push(features.buffer(0))?;
    bench.upstream_events();
    bench.harness.push_upstream_event(gst::event::Qos::new(gst::QOSType::Underflow, 2.0, 5, Some(FRAME)));
    ensure!(bench.upstream_events().iter().any(|e| e.type_() == gst::EventType::Qos));
    bench.harness.push(features.buffer(1))?;
    assert_eq!(bench.pull_all().len(), 2, "an encoder drops nothing");
    Ok(())
}

#[test]
fn gap_before_the_first_flexible_tensors_keeps_its_place() -> Result<()> {
    let features = Features::one(Shape::chw(4, 5, 6));
    let mut bench = Bench::new(element("fcmenc", &[]));
    bench.harness.set_src_caps_str("other/tensors,format=flexible,framerate=25/1");
    bench.harness.push_event(gst::event::Gap::builder(gst::ClockTime::ZERO).duration(FRAME).build());
    bench.harness.push(stamped(vec![flexible(&[6, 5, 4, 1], 7, &features.bytes(1)[0])], 1))?;
    let kinds: Vec<_> = bench.events().iter().map(|e| e.type_()).filter(|&t| t != gst::EventType::Tag).collect();
    use gst::EventType::{Caps, Gap, Segment, StreamStart};
    assert_eq!(kinds, [StreamStart, Caps, Segment, Gap]);
    Ok(())
}

#[test]
fn upstream_request_makes_the_next_frame_a_random_access_point() -> Result<()> {
    let features = Features::small();
    let mut bench = encoder(&features, &[("key-int-max", "0")]);
    for t in 0..2 {
        bench.harness.push(features.buffer(t))?;
    }
    bench.events();
    assert!(bench.harness.push_upstream_event(key_unit_request(None, 7)));
    for t in 2..4 {
        bench.harness.push(features.buffer(t))?;
    }
    let delta: Vec<bool> = bench.pull_all().iter().map(|b| is_delta(b)).collect();
    assert_eq!(delta, [false, true, false, true]);
    let announced = key_unit_events(&mut bench);
    assert_eq!(announced.len(), 1);
    assert_eq!(announced[0].get::<Option<gst::ClockTime>>("running-time")?, Some(FRAME * 2));
    assert_eq!(announced[0].get::<Option<gst::ClockTime>>("timestamp")?, Some(FRAME * 2));
    assert_eq!(announced[0].get::<Option<gst::ClockTime>>("stream-time")?, Some(FRAME * 2));
    assert!(announced[0].get::<bool>("all-headers")?);
    assert_eq!(announced[0].get::<u32>("count")?, 7);
    assert_eq!(bench.count("forced-key-units"), 1);
    let passed_on =
        bench.upstream_events().iter().any(|e| e.structure().is_some_and(|s| s.name() == "GstForceKeyUnit"));
    assert!(!passed_on, "the encoder answers the request itself");
    Ok(())
}

#[test]
fn request_for_a_running_time_waits_for_it() -> Result<()> {
    let features = Features::small();
    let mut bench = encoder(&features, &[("key-int-max", "0")]);
    bench.harness.push(features.buffer(0))?;
    bench.harness.push_upstream_event(key_unit_request(Some(FRAME * 3), 1));
    bench.harness.push_upstream_event(key_unit_request(Some(FRAME * 3), 2));
    for t in 1..6 {
        bench.harness.push(features.buffer(t))?;
    }
    let delta: Vec<bool> = bench.pull_all().iter().map(|b| is_delta(b)).collect();
    assert_eq!(delta, [false, true, true, false, true, true]);
    let announced = key_unit_events(&mut bench);
    assert_eq!(announced.len(), 1);
    assert_eq!(announced[0].get::<u32>("count")?, 2);
    Ok(())
}

#[test]
fn running_time_of_a_request_is_that_of_the_segment() -> Result<()> {
    let features = Features::small();
    let mut bench = encoder(&features, &[("key-int-max", "0")]);
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(FRAME * 10);
    segment.set_time(FRAME * 100);
    bench.harness.push_event(gst::event::Segment::new(&segment));
    bench.harness.push_upstream_event(key_unit_request(Some(FRAME * 2), 1));
    for t in 10..14 {
        bench.harness.push(features.buffer(t))?;
    }
    let delta: Vec<bool> = bench.pull_all().iter().map(|b| is_delta(b)).collect();
    assert_eq!(delta, [false, true, false, true]);
    let announced = key_unit_events(&mut bench);
    assert_eq!(announced[0].get::<Option<gst::ClockTime>>("timestamp")?, Some(FRAME * 12));
    assert_eq!(announced[0].get::<Option<gst::ClockTime>>("running-time")?, Some(FRAME * 2));
    assert_eq!(announced[0].get::<Option<gst::ClockTime>>("stream-time")?, Some(FRAME * 102));
    Ok(())
}

#[test]
fn downstream_request_comes_out_right_before_its_key_unit() -> Result<()> {
    let features = Features::small();
    let mut bench = encoder(&features, &[("key-int-max", "0")]);
    bench.harness.push(features.buffer(0))?;
    bench.events();
    let request = gst::Structure::builder("GstForceKeyUnit")
        .field("timestamp", FRAME)
        .field("stream-time", FRAME)
        .field("running-time", FRAME * 2)
        .field("all-headers", false)
        .field("count", 5u32)
        .build();
    assert!(bench.harness.push_event(gst::event::CustomDownstream::new(request)));
    bench.harness.push(features.buffer(1))?;
    assert!(key_unit_events(&mut bench).is_empty(), "it is held until its time");
    bench.harness.push(features.buffer(2))?;
    let announced = key_unit_events(&mut bench);
    assert_eq!(announced.len(), 1);
    assert_eq!(announced[0].get::<u32>("count")?, 5);
    let delta: Vec<bool> = bench.pull_all().iter().map(|b| is_delta(b)).collect();
    assert_eq!(delta, [false, true, false]);
    Ok(())
}

#[test]
fn requests_too_soon_wait_for_the_least_interval() -> Result<()> {
    let features = Features::small();
    let interval = (FRAME * 3).nseconds().to_string();
    let mut bench = encoder(&features, &[("key-int-max", "0"), ("min-force-key-unit-interval", &interval)]);
    bench.harness.push(features.buffer(0))?;
    bench.harness.push_upstream_event(key_unit_request(None, 1));
    for t in 1..6 {
        bench.harness.push(features.buffer(t))?;
    }
    let delta: Vec<bool> = bench.pull_all().iter().map(|b| is_delta(b)).collect();
    assert_eq!(delta, [false, true, true, false, true, true]);
    Ok(())
}

#[test]
fn flush_starts_anew_with_a_flagged_random_access_point() -> Result<()> {
    let features = Features::small();
    let mut bench = encoder(&features, &[("key-int-max", "0")]);
    for t in 0..2 {
        bench.harness.push(features.buffer(t))?;
    }
    bench.harness.push_event(gst::event::FlushStart::new());
    bench.harness.push_event(gst::event::FlushStop::new(true));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    bench.harness.push_event(gst::event::Segment::new(&segment));
    let before = bench.pull_all().len();
    for t in 2..4 {
        bench.harness.push(features.buffer(t))?;
    }
    let after = bench.pull_all();
    assert_eq!((before, after.len()), (2, 2));
    assert!(!is_delta(&after[0]) && is_discont(&after[0]));
    assert!(is_delta(&after[1]) && !is_discont(&after[1]));
    Ok(())
}

#[test]
fn new_shapes_bring_new_caps_and_a_random_access_point() -> Result<()> {
    let (a, b) = (Features::small(), Features::one(Shape::chw(4, 5, 6)));
    let mut bench = encoder(&a, &[("key-int-max", "0")]);
    for t in 0..2 {
        bench.harness.push(a.buffer(t))?;
    }
    bench.harness.set_src_caps(b.caps());
    for t in 2..4 {
        bench.harness.push(b.buffer(t))?;
    }
    let units = bench.pull_all();
    assert_eq!(units.iter().map(|u| is_delta(u)).collect::<Vec<_>>(), [false, true, false, true]);
    let caps = bench.src_caps().context("caps")?;
    assert_eq!(caps.structure(0).context("structure")?.get::<gst::Caps>("original-caps")?, b.caps());
    Ok(())
}

#[test]
fn same_tensors_in_other_words_go_on_without_a_random_access_point() -> Result<()> {
    let features = Features::one(Shape::chw(4, 5, 6));
    let mut bench = encoder(&features, &[("key-int-max", "0")]);
    bench.harness.push(features.buffer(0))?;
    let mut padded = features.caps();
    padded.make_mut().set("dimensions", "6:5:4:1");
    bench.harness.set_src_caps(padded);
    bench.harness.push(features.buffer(1))?;
    assert_eq!(bench.pull_all().iter().map(|u| is_delta(u)).collect::<Vec<_>>(), [false, true]);
    Ok(())
}

#[test]
fn flexible_tensors_may_change_shape_with_every_buffer() -> Result<()> {
    let mut bench = Bench::new(element("fcmenc", &[("key-int-max", "0")]));
    bench.harness.set_src_caps_str("other/tensors,format=flexible,framerate=25/1");
    assert!(bench.src_caps().is_none(), "nothing is known before the first buffer");
    let (a, b) = (Features::one(Shape::chw(4, 5, 6)), Features::one(Shape::chw(2, 5, 6)));
    let buffer = |f: &Features, t: usize| {
        let s = f.layers[0].0;
        stamped(vec![flexible(&[s.width(), s.height(), s.channels(), 1], 7, &f.bytes(t)[0])], t)
    };
    for (t, features) in [&a, &a, &b, &b].into_iter().enumerate() {
        bench.harness.push(buffer(features, t))?;
    }
    let units = bench.pull_all();
    assert_eq!(units.iter().map(|u| is_delta(u)).collect::<Vec<_>>(), [false, true, false, true]);
    let kinds: Vec<_> = bench.events().iter().map(|e| e.type_()).filter(|t| t.is_sticky()).collect();
    let at = |kind| kinds.iter().position(|&k| k == kind).with_context(|| format!("no {kind:?} in {kinds:?}"));
    ensure!(at(gst::EventType::StreamStart)? < at(gst::EventType::Caps)?, "{kinds:?}");
    ensure!(at(gst::EventType::Caps)? < at(gst::EventType::Segment)?, "{kinds:?}");
    let alone = encode(&a, 1, &[]).1;
    assert_eq!(alone[0].map_readable()?.as_slice(), units[0].map_readable()?.as_slice(), "same bits as static");
    Ok(())
}

#[test]
fn damaged_flexible_header_is_an_error_that_names_the_field() {
    let mut bench = Bench::new(element("fcmenc", &[]));
    bench.harness.set_src_caps_str("other/tensors,format=flexible,framerate=25/1");
    let bad = flexible(&[2, 2], 5, &[0; 16]);
    assert_eq!(bench.harness.push(stamped(vec![bad], 0)), Err(gst::FlowError::Error));
    let errors = bench.errors();
    assert!(errors.len() == 1 && errors[0].contains("type uint8"), "{errors:?}");
}

#[test]
fn every_spelling_of_the_dimensions_is_coded_alike() -> Result<()> {
    let features = Features::new(vec![(Shape::chw(3, 4, 5), Dtype::F32), (Shape::vector(10), Dtype::F16)]);
    let expected = encode(&features, 1, &[]).1[0].map_readable()?.to_vec();
    for (dimensions, types) in [
        ("5:4:3:1,10:1:1:1", "float32,float16"),
        ("5:4:3:1:1:1:1:1,10:1:1:1:1:1:1:1", "float32,float16"),
        ("5:4:3.10", "float32.float16"),
    ] {
        let mut bench = Bench::new(element("fcmenc", &[]));
        let mut caps = features.caps();
        caps.make_mut().set("dimensions", dimensions);
        caps.make_mut().set("types", types);
        bench.harness.set_src_caps(caps);
        bench.harness.push(features.buffer(0))?;
        assert_eq!(bench.harness.pull()?.map_readable()?.to_vec(), expected, "{dimensions}");
    }
    Ok(())
}

#[test]
fn number_typed_dimensions_and_a_missing_format_are_understood() -> Result<()> {
    let features = Features::one(Shape::vector(512));
    let mut bench = Bench::new(element("fcmenc", &[]));
    bench.harness.set_src_caps_str("other/tensors,num_tensors=1,types=float32,dimensions=512,framerate=25/1");
    bench.harness.push(features.buffer(0))?;
    assert_eq!(bench.harness.pull()?.size(), encode(&features, 1, &[]).1[0].size());
    Ok(())
}

#[test]
fn merged_memories_are_coded_like_separate_ones() -> Result<()> {
    let features = Features::small();
    let expected = encode(&features, 1, &[]).1[0].map_readable()?.to_vec();
    let mut bench = encoder(&features, &[]);
    bench.harness.push(stamped(vec![features.bytes(0).concat()], 0))?;
    assert_eq!(bench.harness.pull()?.map_readable()?.to_vec(), expected);
    Ok(())
}

#[test]
fn channel_last_tensors_are_coded_by_their_channels() -> Result<()> {
    let planes = Features::one(Shape::chw(6, 8, 10));
    let interleaved = Features { order: fcm_codec::ChannelOrder::Hwc, ..planes.clone() };
    let size = |f: &Features, p: &[(&str, &str)]| encode(f, 1, p).1[0].size() as f64;
    let (as_planes, as_nhwc) = (size(&planes, &[]), size(&interleaved, &[("layout", "nhwc")]));
    // The noise falls differently, the content is the same.
    ensure!((as_planes / as_nhwc - 1.0).abs() < 0.1, "{as_planes} bytes as planes, {as_nhwc} as nhwc");
    Ok(())
}

#[test]
fn caps_that_cannot_be_coded_are_named_on_the_bus() {
    for (caps, expected) in [
        ("types=float32,dimensions=(string)3:4:5:2", "batch 2, only batch 1"),
        ("types=uint8,dimensions=(string)3:4:5", "\"uint8\", legal are float16 and float32"),
        ("types=float32,dimensions=(string)\"3:4:5,1:2:3\"", "num_tensors=1, but dimensions has 2"),
        ("types=float32,dimensions=(string)3:x:5", "\"x\""),
        ("types=float32", "without dimensions"),
    ] {
        let mut bench = Bench::new(element("fcmenc", &[]));
        let caps = format!("other/tensors,format=static,num_tensors=1,framerate=25/1,{caps}");
        bench.harness.set_src_caps_str(&caps);
        let errors = bench.errors();
        assert!(errors.len() == 1 && errors[0].contains(expected), "{caps}: {errors:?}");
        assert_eq!(bench.harness.push(gst::Buffer::new()), Err(gst::FlowError::NotNegotiated));
    }
}

#[test]
fn nan_is_an_error_that_names_layer_and_index() {
    let features = Features::small();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bench = encoder(&features, &[]);
        let mut bytes = features.bytes(0);
        bytes[2][5 * 4..6 * 4].copy_from_slice(&bad.to_ne_bytes());
        assert_eq!(bench.harness.push(stamped(bytes, 0)), Err(gst::FlowError::Error));
        let errors = bench.errors();
        assert!(errors.len() == 1 && errors[0].contains("layer 2") && errors[0].contains('5'), "{errors:?}");
        assert!(bench.pull_all().is_empty());
    }
}

#[test]
fn buffer_of_other_size_is_an_error_with_both_sizes() {
    let features = Features::small();
    let mut bench = encoder(&features, &[]);
    let mut bytes = features.bytes(0);
    bytes[1].truncate(10);
    assert_eq!(bench.harness.push(stamped(bytes, 0)), Err(gst::FlowError::Error));
    let errors = bench.errors();
    assert!(errors.len() == 1 && errors[0].contains("6144, 10, 96 bytes"), "{errors:?}");
}

#[test]
fn latency_is_that_of_upstream() {
    let mut bench = encoder(&Features::small(), &[]);
    bench.harness.set_upstream_latency(gst::ClockTime::from_mseconds(7));
    assert_eq!(bench.harness.query_latency(), Some(gst::ClockTime::from_mseconds(7)));
}

#[test]
fn metas_are_kept_and_statistics_added() -> Result<()> {
    let features = Features { names: vec!["p3".into(), "p4".into(), "id".into()], ..Features::small() };
    let mut bench = encoder(&features, &[("tensor-names", "p3, p4,id"), ("key-int-max", "0")]);
    gst::meta::CustomMeta::register("TestQueryMeta", &[]);
    for t in 0..2 {
        let mut buffer = features.buffer(t);
        let unshared = buffer.get_mut().context("shared")?;
        let mut meta = gst::meta::CustomMeta::add(unshared, "TestQueryMeta")?;
        meta.mut_structure().set("client", 42u32);
        let reference = gst::Caps::new_empty_simple("timestamp/x-ntp");
        gst::ReferenceTimestampMeta::add(unshared, &reference, gst::ClockTime::from_seconds(9), gst::ClockTime::NONE);
        bench.harness.push(buffer)?;
        let unit = bench.harness.pull()?;
        let client = gst::meta::CustomMeta::from_buffer(&unit, "TestQueryMeta")?;
        assert_eq!(client.structure().get::<u32>("client")?, 42);
        let clock = unit.meta::<gst::ReferenceTimestampMeta>().context("no timestamp")?;
        assert_eq!(clock.timestamp(), gst::ClockTime::from_seconds(9));
        let statistics = statistics_meta::get(&unit).context("no statistics")?;
        assert_eq!(statistics.names, features.names);
        assert_eq!(statistics.refreshed, t == 0);
        for (n, (values, found)) in features.values(t).iter().zip(&statistics.values.layers).enumerate() {
            let (mean, deviation) = mean_and_deviation(values);
            ensure!((mean - found.mean).abs() < 1e-6 * deviation, "mean of layer {n} is {mean}, found {}", found.mean);
            ensure!((deviation / found.std_dev - 1.0).abs() < 1e-6, "{deviation}, found {}", found.std_dev);
        }
        ensure!(statistics.values.fused.std_dev > 0.0);
    }
    Ok(())
}

#[test]
fn stats_count_what_happened() -> Result<()> {
    let features = Features::small();
    let mut bench = encoder(&features, &[("key-int-max", "4"), ("qp", "20")]);
    for t in 0..6 {
        bench.harness.push(features.buffer(t))?;
    }
    let bytes: usize = bench.pull_all().iter().map(|b| b.size()).sum();
    assert_eq!(bench.count("frames"), 6);
    assert_eq!(bench.count("random-access-frames"), 2);
    ensure!(bench.count("refreshes") >= 2);
    assert_eq!(bench.count("bytes-in"), 6 * features.layout().bytes());
    assert_eq!(bench.count("bytes-out"), bytes as u64);
    assert_eq!(bench.count("bitrate"), bytes as u64 * 8 * 25 / 6);
    assert_eq!(bench.stats().get::<u32>("last-qp")?, 20);
    ensure!(bench.count("encode-time") > 0);
    Ok(())
}

#[test]
fn qp_and_bitrate_change_while_playing() -> Result<()> {
    let features = Features::small();
    let mut bench = encoder(&features, &[("qp", "10"), ("key-int-max", "1")]);
    bench.harness.push(features.buffer(0))?;
    bench.element().set_property("qp", 50u32);
    bench.harness.push(features.buffer(0))?;
    let sizes: Vec<usize> = bench.pull_all().iter().map(|b| b.size()).collect();
    ensure!(sizes[1] * 3 < sizes[0], "{sizes:?}");
    bench.element().set_property("bitrate", 40u32);
    for t in 0..400 {
        bench.harness.push(features.buffer(t))?;
    }
    let last: Vec<usize> = bench.pull_all().iter().skip(100).map(|b| b.size()).collect();
    let rate = last.iter().sum::<usize>() as f64 * 8.0 * 25.0 / last.len() as f64;
    ensure!((rate / 40_000.0 - 1.0).abs() < 0.1, "{rate} bit/s, 40000 asked for");
    Ok(())
}

#[test]
fn bitrate_without_a_frame_rate_is_refused() {
    let features = Features::small();
    let mut bench = Bench::new(element("fcmenc", &[("bitrate", "100")]));
    bench.harness.set_src_caps(features.caps_at(gst::Fraction::new(0, 1)));
    let errors = bench.errors();
    assert!(errors.len() == 1 && errors[0].contains("bitrate=100 needs a frame rate"), "{errors:?}");
}

#[test]
fn transform_that_cannot_be_read_stops_the_start_by_name() {
    for (path, content) in [("absent.fcmt", None), ("garbage.fcmt", Some(b"this is no transform".as_slice()))] {
        let path = std::env::temp_dir().join(format!("fcmenc-test-{}-{path}", std::process::id()));
        if let Some(content) = content {
            std::fs::write(&path, content).expect("a temporary file");
        }
        let enc = element("fcmenc", &[("transform", path.to_str().expect("UTF-8"))]);
        let bus = gst::Bus::new();
        enc.set_bus(Some(&bus));
        assert!(enc.set_state(gst::State::Paused).is_err());
        let message = bus.pop_filtered(&[gst::MessageType::Error]).expect("an error is posted");
        let gst::MessageView::Error(error) = message.view() else { unreachable!() };
        assert!(error.error().to_string().contains(path.to_str().expect("UTF-8")), "{error:?}");
        enc.set_state(gst::State::Null).expect("down");
        let _ = std::fs::remove_file(&path);
    }
}

#[test]
fn transform_for_other_shapes_is_refused() {
    let transform = TransformFile::of_four_channels(0.0);
    let mut bench = Bench::new(element("fcmenc", &[("transform", transform.path())]));
    bench.harness.set_src_caps(Features::one(Shape::chw(5, 6, 6)).caps());
    let errors = bench.errors();
    assert!(errors.len() == 1 && errors[0].contains(&transform.id.to_string()), "{errors:?}");
}

#[test]
fn tags_name_the_codec_beside_those_from_upstream() -> Result<()> {
    let features = Features::small();
    let mut bench = encoder(&features, &[("bitrate", "100")]);
    let mut tags = gst::TagList::new();
    tags.make_mut().add::<gst::tags::Title>(&"camera 3", gst::TagMergeMode::Append);
    bench.harness.push_event(gst::event::Tag::new(tags));
    bench.harness.push(features.buffer(0))?;
    let events = bench.events();
    let tags: Vec<_> = events
        .iter()
        .filter_map(|e| match e.view() {
            gst::EventView::Tag(t) => Some(t.tag_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(tags.len(), 1);
    assert_eq!(tags[0].get::<gst::tags::Title>().context("title")?.get(), "camera 3");
    assert_eq!(tags[0].get::<gst::tags::Encoder>().context("encoder")?.get(), "fcmenc");
    ensure!(tags[0].get::<gst::tags::Codec>().context("codec")?.get().contains("Feature Coding"));
    assert_eq!(tags[0].get::<gst::tags::NominalBitrate>().context("rate")?.get(), 100_000);
    Ok(())
}

#[test]
fn gaps_pass_and_empty_gap_buffers_become_gaps() -> Result<()> {
    let features = Features::small();
    let mut bench = encoder(&features, &[]);
    bench.harness.push(features.buffer(0))?;
    bench.events();
    bench.harness.push_event(gst::event::Gap::builder(FRAME).duration(FRAME).build());
    let mut empty = stamped(vec![], 2);
    empty.get_mut().context("shared")?.set_flags(gst::BufferFlags::GAP);
    bench.harness.push(empty)?;
    let gaps: Vec<_> = bench
        .events()
        .iter()
        .filter_map(|e| match e.view() {
            gst::EventView::Gap(g) => Some(g.get()),
            _ => None,
        })
        .collect();
    assert_eq!(gaps, [(FRAME, Some(FRAME)), (FRAME * 2, Some(FRAME))]);
    bench.harness.push(features.buffer(3))?;
    let units = bench.pull_all();
    assert_eq!(units.len(), 2);
    ensure!(is_delta(&units[1]), "a gap is no reason for a random access point");
    Ok(())
}

#[test]
fn flags_that_would_lose_units_are_not_passed_on() -> Result<()> {
    let features = Features::small();
    let mut bench = encoder(&features, &[]);
    bench.harness.push(features.buffer(0))?;
    let mut buffer = features.buffer(1);
    buffer.get_mut().context("shared")?.set_flags(
        gst::BufferFlags::DISCONT | gst::BufferFlags::GAP | gst::BufferFlags::DROPPABLE | gst::BufferFlags::MARKER,
    );
    bench.harness.push(buffer)?;
    let flags = bench.pull_all()[1].flags();
    ensure!(!flags.intersects(gst::BufferFlags::DISCONT | gst::BufferFlags::GAP | gst::BufferFlags::DROPPABLE));
    ensure!(flags.contains(gst::BufferFlags::MARKER | gst::BufferFlags::DELTA_UNIT));
    Ok(())
}

#[test]
fn end_of_stream_passes_with_and_without_frames() -> Result<()> {
    for frames in [0, 1] {
        let features = Features::small();
        let mut bench = encoder(&features, &[]);
        for t in 0..frames {
            bench.harness.push(features.buffer(t))?;
        }
        ensure!(bench.harness.push_event(gst::event::Eos::new()));
        ensure!(bench.events().iter().any(|e| e.type_() == gst::EventType::Eos));
        assert_eq!(bench.pull_all().len(), frames);
    }
    let mut bench = Bench::new(element("fcmenc", &[]));
    bench.harness.set_src_caps_str("other/tensors,format=flexible,framerate=25/1");
    ensure!(bench.harness.push_event(gst::event::Eos::new()));
    ensure!(bench.events().iter().any(|e| e.type_() == gst::EventType::Eos));
    Ok(())
}

#[test]
fn element_starts_again_after_it_was_stopped() -> Result<()> {
    let features = Features::small();
    let mut bench = encoder(&features, &[("key-int-max", "0")]);
    for _ in 0..2 {
        for t in 0..2 {
            bench.harness.push(features.buffer(t))?;
        }
        assert_eq!(bench.pull_all().iter().map(|u| is_delta(u)).collect::<Vec<_>>(), [false, true]);
        assert_eq!(bench.count("frames"), 2);
        bench.element().set_state(gst::State::Ready)?;
        assert_eq!(bench.count("frames"), 2, "counts stay readable");
        bench.element().set_state(gst::State::Playing)?;
        bench.harness.push_event(gst::event::StreamStart::new("again"));
        bench.harness.push_event(gst::event::Caps::new(&features.caps()));
        bench.harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    }
    Ok(())
}
