//! What docs/caps.md promises of `fcmdec`, pad by pad.

mod common;

use anyhow::{Context, Result, ensure};
use common::*;
use fcm_codec::{Dtype, Shape, TransformId};
use gst::prelude::*;
use gstfcm::caps::CodedCaps;
use gstfcm::statistics_meta;

/// Streams whose frames need the one before to be read.
const CHAINED: (&str, &str) = ("error-resilient", "false");

fn key_unit_requests(bench: &mut Bench) -> usize {
    let is_request = |e: &&gst::Event| e.structure().is_some_and(|s| s.name() == "GstForceKeyUnit");
    bench.upstream_events().iter().filter(is_request).count()
}

/// The raw caps sent last, read.
fn sent(bench: &Bench) -> Result<gstfcm::caps::RawCaps> {
    let caps = bench.src_caps().context("no caps were sent")?;
    Ok(gstfcm::caps::parse_raw(&caps)?)
}

fn times(buffers: &[gst::Buffer]) -> Vec<u64> {
    buffers.iter().map(|b| b.pts().map_or(u64::MAX, |pts| pts.nseconds() / FRAME.nseconds())).collect()
}

#[test]
fn tensors_come_back_with_caps_time_and_statistics() -> Result<()> {
    let features = Features::small();
    let (caps, units) = encode(&features, 5, &[("qp", "6"), ("key-int-max", "3")]);
    let mut bench = decoder(&caps, &[]);
    for (t, unit) in units.into_iter().enumerate() {
        bench.harness.push(unit)?;
        let raw = bench.harness.pull()?;
        assert_eq!(raw.n_memory(), 3, "one memory a tensor");
        assert_eq!((raw.pts(), raw.duration()), (Some(FRAME * t as u64), Some(FRAME)));
        assert_eq!((is_delta(&raw), is_discont(&raw)), (false, t == 0));
        let meta = statistics_meta::get(&raw).context("no statistics")?;
        assert_eq!(meta.refreshed, t % 3 == 0);
        for (n, (wanted, got)) in features.values(t).iter().zip(features.read(&raw)).enumerate() {
            let error = nmse(wanted, &got);
            ensure!(error < 0.02, "frame {t} layer {n}: nmse {error}");
            let (mean, deviation) = mean_and_deviation(&got);
            let found = meta.values.layers[n];
            ensure!((mean - found.mean).abs() < 1e-3 * deviation, "mean {mean}, the meta says {}", found.mean);
            ensure!((deviation / found.std_dev - 1.0).abs() < 1e-3, "{deviation}, the meta says {}", found.std_dev);
            if meta.refreshed {
                let (mean, deviation) = mean_and_deviation(wanted);
                ensure!((mean - found.mean).abs() < 1e-3 * deviation, "mean {mean}, restored {}", found.mean);
                ensure!((deviation / found.std_dev - 1.0).abs() < 1e-3, "{deviation}, restored {}", found.std_dev);
            }
        }
    }
    assert_eq!(bench.src_caps().context("caps")?, features.caps());
    Ok(())
}

#[test]
fn caps_come_before_the_first_unit_from_either_hint() -> Result<()> {
    let features = Features::small();
    let original = encode(&features, 1, &[]).0;
    let mut packetized = Bench::new(element("fcmenc", &[]));
    packetized.harness.set_sink_caps_str("application/x-fcm,stream-format=packetized");
    packetized.harness.set_src_caps(features.caps());
    let mut header = packetized.src_caps().context("caps")?;
    header.make_mut().structure_mut(0).context("structure")?.remove_field("original-caps");
    for caps in [original, header] {
        let bench = decoder(&caps, &[]);
        let sent = bench.src_caps().with_context(|| format!("no caps from {caps}"))?;
        let read = |caps: &gst::CapsRef| gstfcm::caps::parse_raw(caps);
        assert_eq!(read(&sent)?, read(&features.caps())?);
    }
    Ok(())
}

#[test]
fn without_hints_caps_come_with_the_first_unit_and_before_the_segment() -> Result<()> {
    let features = Features::small();
    let (caps, units) = encode(&features, 1, &[]);
    let mut bench = decoder(&bare(&caps), &[]);
    assert!(bench.src_caps().is_none());
    bench.harness.push(units[0].clone())?;
    let kinds: Vec<_> = bench.events().iter().map(|e| e.type_()).collect();
    assert_eq!(kinds, [gst::EventType::StreamStart, gst::EventType::Caps, gst::EventType::Segment]);
    let raw = sent(&bench)?;
    assert_eq!(raw, gstfcm::caps::parse_raw(&features.caps())?, "the frame rate too is in the stream");
    Ok(())
}

#[test]
fn the_stream_wins_over_lying_caps() -> Result<()> {
    let features = Features::small();
    let (caps, units) = encode(&features, 1, &[]);
    let lie = CodedCaps { original: Some(Features::one(Shape::chw(9, 9, 9)).caps()), ..CodedCaps::parse(&caps)? };
    let mut bench = decoder(&lie.to_caps(), &[]);
    assert_ne!(bench.src_caps().context("early caps")?, features.caps());
    bench.harness.push(units[0].clone())?;
    let raw = sent(&bench)?;
    assert_eq!(raw, gstfcm::caps::parse_raw(&features.caps())?);
    Ok(())
}

#[test]
fn downstream_chooses_spelling_format_and_feature() -> Result<()> {
    let features = Features::one(Shape::chw(3, 4, 5));
    let (caps, units) = encode(&features, 1, &[("qp", "8")]);
    for peer in [
        "other/tensors,format=static,dimensions=(string)5:4:3",
        "other/tensors,format=static,dimensions=(string)5:4:3:1",
        "other/tensors,format=static,dimensions=(string)5:4:3:1:1:1:1:1",
        "other/tensors,format=flexible",
        "other/tensors(meta:GstFcmStatisticsMeta),format=static",
        "other/tensors(meta:GstFcmStatisticsMeta),format=flexible,framerate=25/1",
    ] {
        for caps in [caps.clone(), bare(&caps)] {
            let mut bench = Bench::new(element("fcmdec", &[]));
            bench.harness.set_sink_caps_str(peer);
            bench.harness.set_src_caps(caps);
            bench.harness.push(units[0].clone()).with_context(|| format!("{peer}: {:?}", bench.errors()))?;
            let sent = bench.src_caps().context("caps")?;
            let wanted: gst::Caps = peer.parse()?;
            ensure!(sent.is_subset(&wanted), "{sent} for {peer}");
            let raw = bench.harness.pull()?;
            let map = raw.map_readable()?;
            let values = if peer.contains("flexible") {
                let expected = flexible(&[5, 4, 3, 1], 7, &[]);
                assert_eq!(map[..128], expected[..], "{peer}");
                from_bytes(&map[128..], Dtype::F32)
            } else {
                from_bytes(&map, Dtype::F32)
            };
            ensure!(nmse(&features.values(0)[0], &values) < 0.01, "{peer}");
        }
    }
    Ok(())
}

#[test]
fn downstream_may_ask_for_the_other_format_in_the_middle() -> Result<()> {
    let features = Features::one(Shape::chw(3, 4, 5));
    let (caps, units) = encode(&features, 2, &[]);
    let mut bench = decoder(&caps, &[]);
    bench.harness.push(units[0].clone())?;
    assert_eq!(bench.harness.pull()?.size(), 240);
    bench.harness.set_sink_caps_str("other/tensors,format=flexible");
    bench.harness.push(units[1].clone())?;
    assert_eq!(bench.harness.pull()?.size(), 128 + 240);
    assert_eq!(sent(&bench)?.format, gstfcm::caps::TensorFormat::Flexible);
    Ok(())
}

#[test]
fn original_flexible_tensors_become_flexible_again() -> Result<()> {
    let features = Features::one(Shape::chw(3, 4, 5));
    let mut enc = Bench::new(element("fcmenc", &[]));
    enc.harness.set_src_caps_str("other/tensors,format=flexible,framerate=25/1");
    enc.harness.push(stamped(vec![flexible(&[5, 4, 3, 1], 7, &features.bytes(0)[0])], 0))?;
    let mut bench = decoder(&enc.src_caps().context("caps")?, &[]);
    bench.harness.push(enc.harness.pull()?)?;
    let sent = bench.src_caps().context("caps")?;
    assert_eq!(sent.structure(0).context("structure")?.get::<String>("format")?, "flexible");
    assert_eq!(bench.harness.pull()?.size(), 128 + 3 * 4 * 5 * 4);
    Ok(())
}

#[test]
fn downstream_that_takes_other_tensors_is_an_error_with_both_caps() {
    let (caps, units) = encode(&Features::one(Shape::chw(3, 4, 5)), 1, &[]);
    let mut bench = Bench::new(element("fcmdec", &[]));
    bench.harness.set_sink_caps_str("other/tensors,format=static,dimensions=(string)9:9:9");
    bench.harness.set_src_caps(bare(&caps));
    assert_eq!(bench.harness.push(units[0].clone()), Err(gst::FlowError::NotNegotiated));
    let errors = bench.errors();
    assert!(errors.len() == 1 && errors[0].contains("5:4:3:1") && errors[0].contains("9:9:9"), "{errors:?}");
}

#[test]
fn caps_query_tells_what_can_be_sent() -> Result<()> {
    let (caps, _) = encode(&Features::one(Shape::chw(3, 4, 5)), 1, &[]);
    let idle = element("fcmdec", &[]);
    let pad = idle.static_pad("src").context("src")?;
    assert_eq!(pad.query_caps(None), gstfcm::caps::raw_template());
    let bench = decoder(&caps, &[]);
    let pad = bench.element().static_pad("src").context("src")?;
    for (filter, possible) in [
        ("other/tensors,dimensions=(string)5:4:3", true),
        ("other/tensors,dimensions=(string)5:4:3:1", true),
        ("other/tensors,dimensions=(string)5:4:3:1:1", true),
        ("other/tensors,dimensions=(string)3:4:5", false),
        ("other/tensors,format=flexible", true),
        ("other/tensors,framerate=30/1", false),
    ] {
        let answer = pad.query_caps(Some(&filter.parse()?));
        assert_eq!(!answer.is_empty(), possible, "{filter}: {answer}");
    }
    Ok(())
}

#[test]
fn truncated_unit_costs_frames_to_the_next_random_access_point() -> Result<()> {
    let features = Features::small();
    let (caps, units) = encode(&features, 12, &[("key-int-max", "4"), CHAINED]);
    let mut bench = decoder(&caps, &[]);
    bench.upstream_events();
    for (t, unit) in units.iter().enumerate() {
        let unit = if t == 5 { tampered(unit, |bytes| bytes.truncate(bytes.len() / 2)) } else { unit.clone() };
        bench.harness.push(unit)?;
    }
    let out = bench.pull_all();
    assert_eq!(times(&out), [0, 1, 2, 3, 4, 8, 9, 10, 11]);
    let discont: Vec<u64> = times(&out.iter().filter(|b| is_discont(b)).cloned().collect::<Vec<_>>());
    assert_eq!(discont, [0, 8]);
    ensure!(out.iter().all(|b| !b.flags().contains(gst::BufferFlags::CORRUPTED)));
    assert_eq!((bench.count("frames"), bench.count("corrupt"), bench.count("awaiting")), (9, 1, 2));
    assert_eq!(key_unit_requests(&mut bench), 1);
    let warnings = bench.warnings();
    ensure!(warnings.len() == 1 && warnings[0].contains("cannot be decoded"), "{warnings:?}");
    ensure!(bench.errors().is_empty());
    Ok(())
}

#[test]
fn flipped_bits_anywhere_are_survived() -> Result<()> {
    let features = Features::one(Shape::chw(4, 6, 6));
    let (caps, units) = encode(&features, 4, &[("key-int-max", "2"), ("qp", "30")]);
    let mut bench = decoder(&bare(&caps), &[]);
    let mut rounds = 0;
    for hit in 0..2 {
        for at in 0..units[hit].size() {
            for bit in [0, 3, 7] {
                let bad = tampered(&units[hit], |bytes| bytes[at] ^= 1 << bit);
                for (t, unit) in units.iter().enumerate() {
                    let unit = if t == hit { bad.clone() } else { unit.clone() };
                    bench.harness.push(unit).with_context(|| format!("unit {hit}, byte {at}: {:?}", bench.errors()))?;
                }
                let out = times(&bench.pull_all());
                ensure!(out.ends_with(&[2, 3]), "unit {hit}, byte {at}, bit {bit}: {out:?} came out");
                rounds += 1;
            }
        }
    }
    ensure!(bench.errors().is_empty());
    ensure!(bench.count("corrupt") <= rounds && bench.count("corrupt") > rounds / 2, "{}", bench.stats());
    Ok(())
}

#[test]
fn missing_units_are_counted_and_reported() -> Result<()> {
    let (caps, units) = encode(&Features::small(), 10, &[("key-int-max", "5"), CHAINED]);
    let mut bench = decoder(&caps, &[]);
    bench.upstream_events();
    for (t, unit) in units.iter().enumerate().filter(|(t, _)| ![2, 3, 9].contains(t)) {
        bench.harness.push(unit.clone()).with_context(|| format!("frame {t}"))?;
    }
    let out = bench.pull_all();
    assert_eq!(times(&out), [0, 1, 5, 6, 7, 8]);
    ensure!(is_discont(&out[2]));
    assert_eq!((bench.count("missing"), bench.count("awaiting"), bench.count("corrupt")), (2, 1, 0));
    let warnings = bench.warnings();
    ensure!(warnings.len() == 1 && warnings[0].contains("2 access units are missing"), "{warnings:?}");
    assert_eq!(key_unit_requests(&mut bench), 1);
    Ok(())
}

#[test]
fn units_missing_right_before_a_random_access_point_are_counted_too() -> Result<()> {
    let (caps, units) = encode(&Features::small(), 7, &[("key-int-max", "5")]);
    let mut bench = decoder(&caps, &[]);
    for (_, unit) in units.iter().enumerate().filter(|(t, _)| ![3, 4].contains(t)) {
        bench.harness.push(unit.clone())?;
    }
    let out = bench.pull_all();
    assert_eq!(times(&out), [0, 1, 2, 5, 6]);
    ensure!(is_discont(&out[3]));
    assert_eq!((bench.count("missing"), bench.count("awaiting")), (2, 0));
    Ok(())
}

#[test]
fn late_join_waits_without_a_warning_but_asks() -> Result<()> {
    let (caps, units) = encode(&Features::small(), 8, &[("key-int-max", "4")]);
    let mut bench = decoder(&caps, &[]);
    bench.upstream_events();
    for unit in &units[2..] {
        bench.harness.push(unit.clone())?;
    }
    assert_eq!(times(&bench.pull_all()), [4, 5, 6, 7]);
    ensure!(bench.warnings().is_empty());
    assert_eq!((key_unit_requests(&mut bench), bench.count("sync-requests")), (1, 1));
    Ok(())
}

#[test]
fn requests_can_be_switched_off() -> Result<()> {
    let (caps, units) = encode(&Features::small(), 3, &[]);
    let mut bench = decoder(&caps, &[("automatic-request-sync-points", "false")]);
    bench.upstream_events();
    for unit in &units[1..] {
        bench.harness.push(unit.clone())?;
    }
    assert_eq!(key_unit_requests(&mut bench), 0);
    Ok(())
}

#[test]
fn least_interval_holds_between_requests() -> Result<()> {
    let (caps, units) = encode(&Features::small(), 12, &[("key-int-max", "3")]);
    let mut bench = decoder(&caps, &[("min-force-key-unit-interval", "60000000000")]);
    bench.upstream_events();
    for (t, unit) in units.iter().enumerate() {
        let unit = if t % 3 == 1 { tampered(unit, |bytes| bytes.truncate(5)) } else { unit.clone() };
        bench.harness.push(unit)?;
    }
    assert_eq!(bench.count("corrupt"), 4);
    assert_eq!(key_unit_requests(&mut bench), 1);
    Ok(())
}

#[test]
fn discontinuity_waits_for_a_random_access_point() -> Result<()> {
    let (caps, units) = encode(&Features::small(), 8, &[("key-int-max", "4"), CHAINED]);
    let mut bench = decoder(&caps, &[]);
    for (t, unit) in units.iter().enumerate() {
        let mut unit = unit.clone();
        if t == 2 {
            unit.make_mut().set_flags(gst::BufferFlags::DISCONT);
        }
        bench.harness.push(unit)?;
    }
    let out = bench.pull_all();
    assert_eq!(times(&out), [0, 1, 4, 5, 6, 7]);
    ensure!(is_discont(&out[2]));
    Ok(())
}

#[test]
fn more_errors_in_a_row_than_allowed_end_the_stream() -> Result<()> {
    let (caps, units) = encode(&Features::small(), 3, &[]);
    let bad = tampered(&units[1], |bytes| bytes.truncate(3));
    let mut bench = decoder(&caps, &[("max-errors", "1")]);
    bench.harness.push(units[0].clone())?;
    bench.harness.push(bad.clone())?;
    bench.harness.push(units[0].clone())?;
    bench.harness.push(bad.clone())?;
    assert_eq!(bench.harness.push(bad), Err(gst::FlowError::Error));
    assert_eq!(bench.errors().len(), 1);
    Ok(())
}

#[test]
fn garbage_is_survived_and_nothing_decoded_is_an_error_at_the_end() -> Result<()> {
    let (caps, _) = encode(&Features::small(), 1, &[]);
    let mut bench = decoder(&caps, &[]);
    for bytes in [vec![], vec![0], vec![0xff; 1000], b"\xfcFCM".to_vec(), vec![0; 70000]] {
        bench.harness.push(gst::Buffer::from_mut_slice(bytes))?;
    }
    assert_eq!(bench.count("corrupt"), 5);
    ensure!(bench.errors().is_empty());
    bench.harness.push_event(gst::event::Eos::new());
    let errors = bench.errors();
    ensure!(errors.len() == 1 && errors[0].contains("no frame could be decoded"), "{errors:?}");
    Ok(())
}

#[test]
fn warnings_are_not_one_a_unit() -> Result<()> {
    let (caps, _) = encode(&Features::small(), 1, &[]);
    let mut bench = decoder(&caps, &[]);
    for _ in 0..200 {
        bench.harness.push(gst::Buffer::from_mut_slice(vec![1, 2, 3]))?;
    }
    let warnings = bench.warnings().len();
    ensure!((1..20).contains(&warnings), "{warnings} warnings");
    Ok(())
}

#[test]
fn missing_transform_in_the_caps_is_an_error_with_its_id() -> Result<()> {
    let (caps, _) = encode(&Features::small(), 1, &[]);
    let named = CodedCaps { transform: Some(TransformId([1, 2, 3, 4, 5, 6, 7, 8])), ..CodedCaps::parse(&caps)? };
    let mut bench = decoder(&named.to_caps(), &[]);
    let errors = bench.errors();
    ensure!(
        errors.len() == 1 && errors[0].contains("0102030405060708") && errors[0].contains("none is given"),
        "{errors:?}"
    );
    ensure!(bench.harness.push(gst::Buffer::new()).is_err());
    Ok(())
}

#[test]
fn calibrated_transform_is_named_in_the_caps_and_needed_on_both_sides() -> Result<()> {
    let features = Features::one(Shape::chw(4, 6, 6));
    let (ours, other) = (TransformFile::of_four_channels(0.0), TransformFile::of_four_channels(1.0));
    let (caps, units) = encode(&features, 2, &[("transform", ours.path()), ("qp", "4")]);
    assert_eq!(caps.structure(0).context("structure")?.get::<String>("transform")?, ours.id.to_string());

    let both = format!("{}, {}", other.path(), ours.path());
    let mut bench = decoder(&caps, &[("transform", &both)]);
    for (t, unit) in units.iter().enumerate() {
        bench.harness.push(unit.clone())?;
        let raw = bench.harness.pull()?;
        let error = nmse(&features.values(t)[0], &features.read(&raw)[0]);
        ensure!(error < 0.02, "nmse {error}");
    }

    // The id is in the caps, or else in the stream: the error is as clear.
    for hidden in [false, true] {
        let caps =
            if hidden { CodedCaps { transform: None, ..CodedCaps::parse(&caps)? }.to_caps() } else { caps.clone() };
        for (given, named) in [(None, None), (Some(other.path()), Some(other.id.to_string()))] {
            let properties: Vec<_> = given.map(|path| ("transform", path)).into_iter().collect();
            let mut bench = decoder(&caps, &properties);
            ensure!(bench.harness.push(units[0].clone()).is_err());
            let errors = bench.errors();
            ensure!(errors.len() == 1 && errors[0].contains(&ours.id.to_string()), "{errors:?}");
            ensure!(named.is_none_or(|id| errors[0].contains(&id)), "{errors:?}");
        }
    }
    Ok(())
}

#[test]
fn late_frames_are_decoded_but_not_sent() -> Result<()> {
    let (caps, units) = encode(&Features::small(), 6, &[("key-int-max", "0")]);
    for (qos, expected) in [("true", vec![0, 3, 4, 5]), ("false", vec![0, 1, 2, 3, 4, 5])] {
        let mut bench = decoder(&caps, &[("qos", qos)]);
        bench.harness.push(units[0].clone())?;
        bench.upstream_events();
        // A frame for 40 ms came 60 ms late: twice that is added, so what ends before 160 ms is too late now.
        let late = gst::event::Qos::builder(gst::QOSType::Underflow, 2.0, 60_000_000).timestamp(FRAME).build();
        bench.harness.push_upstream_event(late);
        for unit in &units[1..] {
            bench.harness.push(unit.clone())?;
        }
        let out = bench.pull_all();
        assert_eq!(times(&out), expected, "qos={qos}");
        ensure!(bench.upstream_events().iter().any(|e| e.type_() == gst::EventType::Qos), "passed upstream");
        let message = bench.bus.pop_filtered(&[gst::MessageType::Qos]);
        assert_eq!(message.is_some(), qos == "true");
        assert_eq!(bench.count("dropped"), if qos == "true" { 2 } else { 0 });
        assert_eq!(is_discont(&out[1]), qos == "true");
    }
    Ok(())
}

#[test]
fn new_shapes_bring_new_caps_in_the_middle() -> Result<()> {
    let (a, b) = (Features::small(), Features::one(Shape::chw(4, 5, 6)));
    let mut enc = encoder(&a, &[("key-int-max", "0")]);
    enc.harness.push(a.buffer(0))?;
    let first = enc.src_caps().context("caps")?;
    enc.harness.set_src_caps(b.caps());
    enc.harness.push(b.buffer(1))?;
    enc.harness.push(b.buffer(2))?;
    let second = enc.src_caps().context("caps")?;
    let units = enc.pull_all();
    for hidden in [false, true] {
        let mut bench = decoder(&if hidden { bare(&first) } else { first.clone() }, &[]);
        bench.harness.push(units[0].clone())?;
        assert_eq!(bench.harness.pull()?.n_memory(), 3);
        if !hidden {
            bench.harness.set_src_caps(second.clone());
        }
        for unit in &units[1..] {
            bench.harness.push(unit.clone())?;
            let raw = bench.harness.pull()?;
            assert_eq!(raw.n_memory(), 1);
            assert_eq!(raw.size() as u64, b.layout().bytes());
        }
        let raw = sent(&bench)?;
        assert_eq!(raw, gstfcm::caps::parse_raw(&b.caps())?);
    }
    Ok(())
}

#[test]
fn flush_forgets_the_stream_and_goes_on() -> Result<()> {
    let features = Features::small();
    let (caps, units) = encode(&features, 6, &[("key-int-max", "3")]);
    let mut bench = decoder(&caps, &[]);
    for unit in &units[..2] {
        bench.harness.push(unit.clone())?;
    }
    bench.harness.push_event(gst::event::FlushStart::new());
    bench.harness.push_event(gst::event::FlushStop::new(true));
    bench.harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    bench.pull_all();
    for unit in &units[2..] {
        bench.harness.push(unit.clone())?;
    }
    let out = bench.pull_all();
    assert_eq!(times(&out), [3, 4, 5]);
    ensure!(is_discont(&out[0]));
    ensure!(bench.errors().is_empty());
    Ok(())
}

#[test]
fn metas_of_the_units_are_kept() -> Result<()> {
    let (caps, units) = encode(&Features::small(), 1, &[]);
    let mut bench = decoder(&caps, &[]);
    gst::meta::CustomMeta::register("TestQueryMeta", &[]);
    let mut unit = units[0].clone();
    let mut meta = gst::meta::CustomMeta::add(unit.make_mut(), "TestQueryMeta")?;
    meta.mut_structure().set("client", 7u32);
    bench.harness.push(unit)?;
    let raw = bench.harness.pull()?;
    assert_eq!(gst::meta::CustomMeta::from_buffer(&raw, "TestQueryMeta")?.structure().get::<u32>("client")?, 7);
    let ours = raw
        .iter_meta::<gst::Meta>()
        .filter(|m| m.try_as_custom_meta().is_some_and(|m| m.has_name("GstFcmStatisticsMeta")));
    assert_eq!(ours.count(), 1, "the encoder's statistics are replaced, not kept beside");
    Ok(())
}

#[test]
fn latency_is_that_of_upstream() {
    let (caps, _) = encode(&Features::small(), 1, &[]);
    let mut bench = decoder(&caps, &[]);
    bench.harness.set_upstream_latency(gst::ClockTime::from_mseconds(7));
    assert_eq!(bench.harness.query_latency(), Some(gst::ClockTime::from_mseconds(7)));
}

#[test]
fn gaps_pass_through() -> Result<()> {
    let (caps, units) = encode(&Features::small(), 2, &[]);
    let mut bench = decoder(&caps, &[]);
    bench.harness.push(units[0].clone())?;
    bench.events();
    bench.harness.push_event(gst::event::Gap::builder(FRAME).duration(FRAME).build());
    ensure!(bench.events().iter().any(|e| e.type_() == gst::EventType::Gap));
    bench.harness.push(units[1].clone())?;
    assert_eq!(bench.pull_all().len(), 2);
    Ok(())
}

#[test]
fn buffers_are_reused() -> Result<()> {
    let features = Features::small();
    let (caps, units) = encode(&features, 6, &[]);
    let mut bench = decoder(&caps, &[]);
    let mut seen = std::collections::HashSet::new();
    for unit in units {
        bench.harness.push(unit)?;
        seen.insert(bench.harness.pull()?.as_ptr() as usize);
    }
    ensure!(seen.len() <= 2, "{} different buffers for 6 frames", seen.len());
    Ok(())
}

#[test]
fn concealed_frames_are_the_last_one_again_and_flagged() -> Result<()> {
    let features = Features::small();
    let (caps, units) = encode(&features, 8, &[("key-int-max", "6"), CHAINED, EVERY_CHANGE]);
    let mut bench = decoder(&caps, &[("conceal", "repeat")]);
    let raw = |buffer: &gst::BufferRef| buffer.map_readable().expect("mappable").to_vec();
    let mut out = Vec::new();
    // Frame 2 never comes, frame 4 comes damaged.
    for (t, unit) in units.iter().enumerate().filter(|(t, _)| *t != 2) {
        let unit = if t == 4 { tampered(unit, |bytes| bytes[5] ^= 1) } else { unit.clone() };
        bench.harness.push(unit)?;
        out.extend(bench.pull_all());
    }
    // In place of frame 2, of which nothing tells, there is nothing.
    assert_eq!(times(&out), [0, 1, 3, 4, 5, 6, 7]);
    for (t, buffer) in times(&out).into_iter().zip(&out) {
        let concealed = (3..6).contains(&t);
        assert_eq!(buffer.flags().contains(gst::BufferFlags::CORRUPTED), concealed, "frame {t}");
        assert_eq!(raw(buffer) == raw(&out[1]), concealed || t == 1, "frame {t}");
        assert_eq!(is_discont(buffer), t == 0 || t == 6, "frame {t}");
        assert_eq!(statistics_meta::get(buffer).context("statistics")?.refreshed, t == 0 || t == 6);
    }
    assert_eq!((bench.count("concealed"), bench.count("frames")), (3, 4));

    let mut bench = decoder(&caps, &[("conceal", "repeat"), ("conceal-frames", "2")]);
    for (_, unit) in units.iter().enumerate().filter(|(t, _)| *t != 1) {
        bench.harness.push(unit.clone())?;
    }
    assert_eq!(times(&bench.pull_all()), [0, 2, 3, 6, 7], "old features do more harm than none");
    Ok(())
}

#[test]
fn loss_of_the_answer_is_followed_by_another_request() -> Result<()> {
    let features = Features::small();
    let (caps, units) = encode(&features, 30, &[("key-int-max", "0")]);
    let mut bench = decoder(&caps, &[]);
    bench.harness.push(units[0].clone())?;
    let discont = |unit: &gst::Buffer| {
        let mut unit = unit.copy();
        unit.make_mut().set_flags(gst::BufferFlags::DISCONT);
        unit
    };
    bench.harness.push(discont(&units[2]))?;
    bench.harness.push(discont(&units[4]))?;
    assert_eq!(key_unit_requests(&mut bench), 1, "not at once");
    std::thread::sleep(std::time::Duration::from_millis(210));
    bench.harness.push(units[5].clone())?;
    assert_eq!(key_unit_requests(&mut bench), 0, "nothing new is lost");
    bench.harness.push(discont(&units[7]))?;
    assert_eq!(key_unit_requests(&mut bench), 1);
    Ok(())
}

#[test]
fn an_error_resilient_stream_goes_on_after_a_loss_and_says_so() -> Result<()> {
    let (caps, units) = encode(&Features::small(), 12, &[("key-int-max", "6")]);
    let mut bench = decoder(&caps, &[]);
    bench.upstream_events();
    // Frames 2, 3 and 8 never come, frame 10 comes damaged.
    for (t, unit) in units.iter().enumerate().filter(|(t, _)| ![2, 3, 8].contains(t)) {
        let unit = if t == 10 { tampered(unit, |bytes| bytes[5] ^= 1) } else { unit.clone() };
        bench.harness.push(unit)?;
    }
    let out = bench.pull_all();
    assert_eq!(times(&out), [0, 1, 4, 5, 6, 7, 9, 11]);
    for (t, buffer) in times(&out).into_iter().zip(&out) {
        let damaged = [4, 5, 9, 11].contains(&t);
        assert_eq!(buffer.flags().contains(gst::BufferFlags::CORRUPTED), damaged, "frame {t}");
        assert_eq!(statistics_meta::damage(buffer).context("a note")? > 0, damaged, "frame {t}");
    }
    assert_eq!(statistics_meta::damage(&out[3]), Some(2), "the second inexact frame");
    let counts = ["frames", "inexact", "missing", "corrupt", "awaiting"].map(|name| bench.count(name));
    assert_eq!(counts, [8, 4, 3, 1, 0]);
    let warnings = bench.warnings();
    ensure!(warnings.len() == 1 && warnings[0].contains("2 access units are missing"), "{warnings:?}");
    ensure!(warnings[0].contains("inexact"), "{warnings:?}");
    assert_eq!(key_unit_requests(&mut bench), 2, "one a loss, but not two within 200 ms");
    Ok(())
}

#[test]
fn frames_that_are_not_exact_can_be_discarded() -> Result<()> {
    let (caps, units) = encode(&Features::small(), 8, &[("key-int-max", "4")]);
    let mut bench = decoder(&caps, &[("discard-corrupted-frames", "true")]);
    for (_, unit) in units.iter().enumerate().filter(|(t, _)| *t != 1) {
        bench.harness.push(unit.clone())?;
    }
    let out = bench.pull_all();
    assert_eq!(times(&out), [0, 4, 5, 6, 7]);
    ensure!(out.iter().all(|buffer| !buffer.flags().contains(gst::BufferFlags::CORRUPTED)));
    Ok(())
}

#[test]
fn missing_frames_are_the_last_one_again_at_their_times() -> Result<()> {
    let (caps, units) = encode(&Features::small(), 12, &[("key-int-max", "9")]);
    let mut bench = decoder(&caps, &[("conceal", "repeat"), ("conceal-frames", "2")]);
    let raw = |buffer: &gst::BufferRef| buffer.map_readable().expect("mappable").to_vec();
    // Three frames before a random access point are more than are made up.
    for (_, unit) in units.iter().enumerate().filter(|(t, _)| ![2, 3, 6, 7, 8].contains(t)) {
        bench.harness.push(unit.clone())?;
    }
    let out = bench.pull_all();
    assert_eq!(times(&out), [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11]);
    assert!(raw(&out[2]) == raw(&out[1]) && raw(&out[3]) == raw(&out[1]) && raw(&out[6]) == raw(&out[5]));
    let corrupted: Vec<bool> = out.iter().map(|b| b.flags().contains(gst::BufferFlags::CORRUPTED)).collect();
    assert_eq!(
        corrupted,
        [false, false, true, true, true, true, true, true, false, false, false],
        "frame 9 is exact again"
    );
    assert_eq!(bench.count("concealed"), 4);
    Ok(())
}

#[test]
fn a_discontinuity_within_the_reach_of_frame_numbers_loses_nothing() -> Result<()> {
    let (caps, units) = encode(&Features::small(), 4, &[]);
    let discont = |unit: &gst::Buffer, t: u64| {
        let mut unit = unit.copy();
        let unshared = unit.make_mut();
        unshared.set_flags(gst::BufferFlags::DISCONT);
        unshared.set_pts(FRAME * t);
        unit
    };
    // 25 frames a second: after 64 frames numbers start anew.
    for (t, exact) in [(2, true), (61, true), (66, false)] {
        let mut bench = decoder(&caps, &[]);
        bench.harness.push(units[0].clone())?;
        bench.harness.push(units[1].clone())?;
        bench.harness.push(discont(&units[2], t))?;
        let out = bench.pull_all();
        assert_eq!(out.len(), 3);
        assert_eq!(!out[2].flags().contains(gst::BufferFlags::CORRUPTED), exact, "{t}");
    }
    Ok(())
}
