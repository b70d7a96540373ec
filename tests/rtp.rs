//! What docs/rtp.md promises of `rtpfcmpay` and `rtpfcmdepay`, packet by packet.

mod common;

use anyhow::{Context, Result, ensure};
use common::*;
use fcm_codec::bitstream::stream::MARKER;
use fcm_codec::{Dtype, Shape};
use gst::prelude::*;
use gst_rtp::rtp_buffer::RTPBuffer;
use gstfcm::caps::CodedCaps;

const RTP_CAPS: &str = "application/x-rtp,media=application,clock-rate=90000,encoding-name=FCM,payload=96";

/// Caps and access units of a packetized stream.
fn packetized(
    features: &Features,
    frames: usize,
    properties: &[(&str, &str)],
) -> Result<(gst::Caps, Vec<gst::Buffer>)> {
    let mut bench = Bench::new(element("fcmenc", properties));
    bench.harness.set_sink_caps_str("application/x-fcm,stream-format=packetized");
    bench.harness.set_src_caps(features.caps());
    for t in 0..frames {
        bench.harness.push(features.buffer(t))?;
    }
    Ok((bench.src_caps().context("coded caps")?, bench.pull_all()))
}

fn bytes(buffer: &gst::BufferRef) -> Vec<u8> {
    buffer.map_readable().expect("mappable").to_vec()
}

fn payloader(caps: &gst::Caps, properties: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::new(element("rtpfcmpay", properties));
    bench.harness.set_src_caps(caps.clone());
    bench
}

fn depayloader(caps: &gst::Caps, properties: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::new(element("rtpfcmdepay", properties));
    bench.harness.set_src_caps(caps.clone());
    bench
}

fn count(bench: &Bench, name: &str) -> u64 {
    bench.element().property::<gst::Structure>("fcm-stats").get(name).unwrap_or_else(|e| panic!("no {name}: {e}"))
}

/// Caps and packets of these access units; each packet with the number of its access unit.
fn packets(
    caps: &gst::Caps,
    units: &[gst::Buffer],
    properties: &[(&str, &str)],
) -> Result<(gst::Caps, Vec<(usize, gst::Buffer)>)> {
    let mut bench = payloader(caps, properties);
    let mut packets = Vec::new();
    for (t, unit) in units.iter().enumerate() {
        bench.harness.push(unit.clone())?;
        packets.extend(bench.pull_all().into_iter().map(|packet| (t, packet)));
    }
    Ok((bench.src_caps().context("RTP caps")?, packets))
}

fn key_unit_requests(bench: &mut Bench) -> usize {
    let is_request = |e: &&gst::Event| e.structure().is_some_and(|s| s.name() == "GstForceKeyUnit");
    bench.upstream_events().iter().filter(is_request).count()
}

/// Frames of the access units in `out`, found by their bytes.
fn frames(out: &[gst::Buffer], units: &[gst::Buffer]) -> Vec<Option<usize>> {
    let strip = |buffer: &gst::BufferRef| {
        let bytes = bytes(buffer);
        bytes.strip_prefix(&MARKER).map(<[u8]>::to_vec).unwrap_or(bytes)
    };
    let known: Vec<_> = units.iter().map(|unit| strip(unit)).collect();
    out.iter().map(|buffer| known.iter().position(|unit| *unit == strip(buffer))).collect()
}

#[test]
fn packets_are_those_of_the_specification() -> Result<()> {
    let features = Features::small();
    let (caps, units) = packetized(&features, 5, &[("qp", "10"), ("key-int-max", "3")])?;
    let (rtp_caps, packets) =
        packets(&caps, &units, &[("mtu", "400"), ("timestamp-offset", "5000"), ("seqnum-offset", "65530")])?;
    let s = rtp_caps.structure(0).context("caps")?;
    assert_eq!(
        (s.name().as_str(), s.get::<&str>("media")?, s.get::<&str>("encoding-name")?),
        ("application/x-rtp", "application", "FCM")
    );
    assert_eq!(s.get::<i32>("clock-rate")?, 90_000);
    ensure!(s.get::<bool>("rtcp-fb-nack-pli")? && s.get::<bool>("rtcp-fb-ccm-fir")?);
    let set = gst::glib::base64_decode(s.get::<&str>("sprop-parameter-sets")?);
    ensure!(bytes(&units[0]).starts_with(&set) && set.len() > 20, "the parameter set is the first unit of the stream");

    ensure!(packets.iter().filter(|(t, _)| *t == 0).count() > 2, "a random access unit that is cut");
    for (n, (t, packet)) in packets.iter().enumerate() {
        ensure!(packet.size() <= 400, "{} bytes", packet.size());
        let rtp = RTPBuffer::from_buffer_readable(packet)?;
        let (first, last) = (n == 0 || packets[n - 1].0 != *t, packets.get(n + 1).is_none_or(|(next, _)| next != t));
        assert_eq!(
            (rtp.seq(), rtp.timestamp(), rtp.is_marker()),
            (65530u16.wrapping_add(n as u16), 5000 + 3600 * *t as u32, last)
        );
        let head = rtp.payload()?[0];
        assert_eq!(
            (head & 0x40 != 0, head & 0x20 != 0, head & 0x9C),
            (first, t % 3 == 0, 0),
            "packet {n}: {head:#04x}"
        );
        assert_eq!(is_delta(packet), t % 3 != 0);
        assert_eq!(packet.pts(), Some(FRAME * *t as u64));
    }
    Ok(())
}

#[test]
fn access_units_come_back_whatever_the_mtu() -> Result<()> {
    let features = Features::small();
    let (caps, units) = packetized(&features, 6, &[("qp", "10"), ("key-int-max", "4")])?;
    for mtu in ["28", "64", "200", "1200", "65000"] {
        let (rtp_caps, packets) = packets(&caps, &units, &[("mtu", mtu)])?;
        let mut bench = depayloader(&rtp_caps, &[]);
        for (_, packet) in packets {
            bench.harness.push(packet)?;
        }
        let out = bench.pull_all();
        assert_eq!(frames(&out, &units), (0..6).map(Some).collect::<Vec<_>>(), "mtu {mtu}");
        for (t, (unit, back)) in units.iter().zip(&out).enumerate() {
            assert_eq!(back.n_memory(), 1);
            assert_eq!((back.pts(), is_delta(back)), (unit.pts(), t % 4 != 0));
            ensure!(!is_discont(back) || t == 0);
        }
        assert_eq!((count(&bench, "access-units"), count(&bench, "damaged-units"), count(&bench, "losses")), (6, 0, 0));
        assert_eq!(key_unit_requests(&mut bench), 0);
    }
    Ok(())
}

#[test]
fn lists_of_packets_are_taken_like_packets() -> Result<()> {
    let features = Features::small();
    let (caps, units) = packetized(&features, 4, &[("qp", "10")])?;
    let pipeline =
        gst::parse::launch("appsrc name=src ! rtpfcmpay mtu=200 ! rtpfcmdepay ! appsink name=sink sync=false")?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().ok().context("pipeline")?;
    let source = pipeline.by_name("src").context("src")?.downcast::<gst_app::AppSrc>().ok().context("appsrc")?;
    let sink = pipeline.by_name("sink").context("sink")?.downcast::<gst_app::AppSink>().ok().context("appsink")?;
    source.set_caps(Some(&caps));
    source.set_format(gst::Format::Time);
    pipeline.set_state(gst::State::Playing)?;
    for unit in &units {
        source.push_buffer(unit.clone())?;
    }
    source.end_of_stream()?;
    let out: Vec<gst::Buffer> = std::iter::from_fn(|| sink.try_pull_sample(gst::ClockTime::from_seconds(20)))
        .map(|sample| sample.buffer_owned().expect("a buffer"))
        .collect();
    pipeline.set_state(gst::State::Null)?;
    assert_eq!(frames(&out, &units), (0..4).map(Some).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn downstream_chooses_the_framing_and_knows_the_caps_before_the_first_packet() -> Result<()> {
    let features = Features::small();
    let (caps, units) = packetized(&features, 1, &[])?;
    let (rtp_caps, packets) = packets(&caps, &units, &[])?;
    for (peer, marked) in [("ANY", true), ("application/x-fcm,stream-format=packetized", false)] {
        let mut bench = Bench::new(element("rtpfcmdepay", &[]));
        bench.harness.set_sink_caps_str(peer);
        bench.harness.set_src_caps(rtp_caps.clone());
        let early = bench.src_caps().context("caps before the first packet")?;
        let read = CodedCaps::parse(&early)?;
        assert_eq!((read.framerate, read.codec_data.is_some()), ((25, 1), !marked));
        assert_eq!(gstfcm::caps::parse_raw(read.original.as_deref().context("original-caps")?)?.tensors.len(), 3);
        for (_, packet) in &packets {
            bench.harness.push(packet.clone())?;
        }
        let out = bench.harness.pull()?;
        assert_eq!(bytes(&out).starts_with(&MARKER), marked, "{peer}");
        assert_eq!(bench.src_caps().context("caps")?, early);
    }
    Ok(())
}

#[test]
fn without_parameters_in_the_caps_the_stream_says_them() -> Result<()> {
    let features = Features::small();
    let (caps, units) = packetized(&features, 3, &[])?;
    let (_, packets) = packets(&caps, &units, &[])?;
    let mut bench = Bench::new(element("rtpfcmdepay", &[]));
    bench.harness.set_src_caps_str(RTP_CAPS);
    assert!(bench.src_caps().is_none());
    for (_, packet) in packets {
        bench.harness.push(packet)?;
    }
    assert_eq!(frames(&bench.pull_all(), &units), [Some(0), Some(1), Some(2)]);
    let caps = bench.src_caps().context("caps")?;
    assert_eq!(CodedCaps::parse(&caps)?.framerate, (25, 1));
    Ok(())
}

#[test]
fn parameter_sets_may_stay_out_of_the_stream() -> Result<()> {
    let features = Features::small();
    let (caps, units) = packetized(&features, 12, &[("key-int-max", "3")])?;
    // Four random access units; two seconds are 50 frames.
    for (interval, omitted) in [("-1", 0), ("0", 4), ("2", 3)] {
        let mut pay = payloader(&caps, &[("config-interval", interval)]);
        let mut packets = Vec::new();
        for unit in &units {
            pay.harness.push(unit.clone())?;
            packets.extend(pay.pull_all());
        }
        assert_eq!(count(&pay, "omitted-parameter-sets"), omitted, "config-interval={interval}");
        let mut bench = depayloader(&pay.src_caps().context("caps")?, &[]);
        for packet in &packets {
            bench.harness.push(packet.clone())?;
        }
        assert_eq!(
            frames(&bench.pull_all(), &units),
            (0..12).map(Some).collect::<Vec<_>>(),
            "config-interval={interval}"
        );
        // Without them in the caps, nothing is decoded with the parameters of another stream.
        let others = Features::one(Shape::chw(3, 12, 16));
        let (other_caps, other_units) = packetized(&others, 1, &[])?;
        let mut bench = depayloader(&self::packets(&other_caps, &other_units, &[])?.0, &[]);
        for packet in packets {
            bench.harness.push(packet)?;
        }
        assert_eq!(bench.pull_all().is_empty(), interval == "0", "config-interval={interval}");
        assert_eq!(count(&bench, "damaged-units") > 0, interval == "0");
    }
    Ok(())
}

#[test]
fn a_lost_packet_costs_its_access_unit_and_asks_for_a_random_access_point() -> Result<()> {
    let features = Features::small();
    let (caps, units) = packetized(&features, 8, &[("qp", "10"), ("key-int-max", "6")])?;
    let (rtp_caps, packets) = packets(&caps, &units, &[("mtu", "250")])?;
    for (wait, wanted) in [("false", vec![0, 1, 3, 4, 5, 6, 7]), ("true", vec![0, 1, 6, 7])] {
        let lost = packets.iter().rposition(|(t, _)| *t == 2).context("frame 2")?;
        let mut bench = depayloader(&rtp_caps, &[("wait-for-keyframe", wait)]);
        for (n, (_, packet)) in packets.iter().enumerate() {
            if n != lost {
                bench.harness.push(packet.clone())?;
            }
        }
        let out = bench.pull_all();
        assert_eq!(frames(&out, &units), wanted.iter().copied().map(Some).collect::<Vec<_>>());
        let disconts: Vec<_> = out.iter().map(|buffer| is_discont(buffer)).collect();
        assert_eq!(disconts.iter().skip(1).filter(|d| **d).count(), 1);
        ensure!(disconts[2], "the access unit after the loss says so");
        assert_eq!(key_unit_requests(&mut bench), 1);
        assert_eq!((count(&bench, "losses"), count(&bench, "sync-requests")), (1, 1));
        assert_eq!(count(&bench, "missing-frames"), if wait == "true" { 0 } else { 1 });
        assert_eq!(count(&bench, "dropped-units"), if wait == "true" { 3 } else { 0 });
    }
    let mut bench = depayloader(&rtp_caps, &[("request-keyframe", "false")]);
    for (n, (_, packet)) in packets.iter().enumerate() {
        if n % 5 != 4 {
            bench.harness.push(packet.clone())?;
        }
    }
    assert_eq!(key_unit_requests(&mut bench), 0);
    Ok(())
}

#[test]
fn the_jitterbuffers_word_of_a_loss_is_enough_to_ask() -> Result<()> {
    let features = Features::small();
    let (caps, units) = packetized(&features, 2, &[("qp", "10"), EVERY_CHANGE])?;
    let (rtp_caps, packets) = packets(&caps, &units, &[("mtu", "80")])?;
    let mut bench = depayloader(&rtp_caps, &[]);
    let start_of_second = packets.iter().position(|(t, _)| *t == 1).context("frame 1")?;
    ensure!(packets.len() > start_of_second + 1, "frame 1 is cut");
    for (_, packet) in &packets[..=start_of_second] {
        bench.harness.push(packet.clone())?;
    }
    let lost = gst::Structure::builder("GstRTPPacketLost")
        .field("seqnum", 7u32)
        .field("timestamp", FRAME)
        .field("duration", FRAME)
        .build();
    ensure!(bench.harness.push_event(gst::event::CustomDownstream::new(lost)));
    assert_eq!(key_unit_requests(&mut bench), 1);
    ensure!(bench.events().iter().any(|e| e.type_() == gst::EventType::Gap), "time goes on");
    for (_, packet) in &packets[start_of_second + 1..] {
        bench.harness.push(packet.clone())?;
    }
    assert_eq!(frames(&bench.pull_all(), &units), [Some(0)]);
    Ok(())
}

#[test]
fn who_joins_in_the_middle_gets_the_next_random_access_point_and_asks_for_it() -> Result<()> {
    let features = Features::small();
    let (caps, units) = packetized(&features, 8, &[("key-int-max", "5")])?;
    let (_, packets) = packets(&caps, &units, &[])?;
    let mut bench = Bench::new(element("rtpfcmdepay", &[]));
    bench.harness.set_src_caps_str(RTP_CAPS);
    for (_, packet) in packets.iter().filter(|(t, _)| *t >= 2) {
        bench.harness.push(packet.clone())?;
    }
    assert_eq!(frames(&bench.pull_all(), &units), [Some(5), Some(6), Some(7)]);
    assert_eq!(key_unit_requests(&mut bench), 1);
    assert_eq!(count(&bench, "dropped-units"), 3);
    Ok(())
}

#[test]
fn a_sender_that_restarts_with_other_shapes_is_followed() -> Result<()> {
    let first = Features::small();
    let second = Features::one(Shape::chw(5, 9, 7));
    let (caps, units) = packetized(&first, 3, &[])?;
    let (rtp_caps, mut sent) = packets(&caps, &units, &[("ssrc", "1")])?;
    let (caps, more) = packetized(&second, 3, &[])?;
    sent.extend(packets(&caps, &more, &[("ssrc", "2")])?.1);
    let mut bench = depayloader(&rtp_caps, &[]);
    let mut shapes = Vec::new();
    for (_, packet) in sent {
        bench.harness.push(packet)?;
        if bench.harness.try_pull().is_some() {
            let caps = bench.src_caps().context("caps")?;
            let read = CodedCaps::parse(&caps)?;
            shapes.push(gstfcm::caps::parse_raw(read.original.as_deref().context("original")?)?.tensors.len());
        }
    }
    assert_eq!(shapes, [3, 3, 3, 1, 1, 1]);
    Ok(())
}

#[test]
fn new_shapes_give_the_payloader_new_caps() -> Result<()> {
    let (caps, units) = packetized(&Features::small(), 1, &[])?;
    let (other_caps, other_units) = packetized(&Features::one(Shape::chw(5, 9, 7)), 1, &[])?;
    let mut bench = payloader(&caps, &[]);
    let set = |bench: &Bench| -> Result<String> {
        Ok(bench
            .src_caps()
            .context("caps")?
            .structure(0)
            .context("structure")?
            .get::<String>("sprop-parameter-sets")?)
    };
    bench.harness.push(units[0].clone())?;
    let before = set(&bench)?;
    // As in a stream whose caps stay: the access unit alone says it.
    bench.harness.push(other_units[0].clone())?;
    ensure!(set(&bench)? != before);
    assert_eq!(set(&payloader(&other_caps, &[]))?, set(&bench)?);
    Ok(())
}

#[test]
fn what_is_no_access_unit_is_not_sent() -> Result<()> {
    let (caps, units) = packetized(&Features::small(), 2, &[])?;
    let mut bench = payloader(&caps, &[]);
    for bad in [
        tampered(&units[0], |bytes| bytes.truncate(bytes.len() - 1)),
        tampered(&units[0], |bytes| bytes.push(0)),
        tampered(&units[0], |bytes| bytes[9] ^= 1),
        tampered(&units[0], Vec::clear),
    ] {
        bench.harness.push(bad)?;
    }
    assert_eq!(bench.pull_all().len(), 0);
    assert_eq!((count(&bench, "refused-units"), bench.warnings().len()), (4, 1));
    bench.harness.push(units[1].clone())?;
    assert_eq!(bench.pull_all().len(), 1);
    Ok(())
}

#[test]
fn hostile_packets_give_nothing_and_stop_nothing() -> Result<()> {
    let features = Features::small();
    let (caps, units) = packetized(&features, 6, &[("qp", "10"), ("key-int-max", "3")])?;
    let (rtp_caps, packets) = packets(&caps, &units, &[("mtu", "120")])?;
    let mut bench = depayloader(&rtp_caps, &[("max-access-unit", "65536")]);
    let mut seed = 11u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for _ in 0..3000 {
        let (_, packet) = &packets[random(packets.len())];
        let bad = tampered(packet, |bytes| match random(3) {
            0 => bytes.truncate(12 + random(bytes.len() - 11)),
            1 => bytes[12..].iter_mut().for_each(|byte| *byte = random(256) as u8),
            _ => {
                for _ in 0..1 + random(8) {
                    let at = random(bytes.len());
                    bytes[at] ^= 1 << random(8);
                }
            }
        });
        bench.harness.push(bad)?;
    }
    for buffer in bench.pull_all() {
        ensure!(frames(&[buffer], &units) != [None], "bytes that were never sent");
    }
    ensure!(count(&bench, "damaged-units") > 100);
    // Numbers far from those that the garbage may have had.
    for (n, (_, packet)) in packets.iter().enumerate() {
        let packet = tampered(packet, |bytes| bytes[2..4].copy_from_slice(&(40_000 + n as u16).to_be_bytes()));
        bench.harness.push(packet)?;
    }
    assert_eq!(frames(&bench.pull_all(), &units), (0..6).map(Some).collect::<Vec<_>>());
    ensure!(bench.errors().is_empty());
    Ok(())
}

#[test]
fn capture_times_travel_with_the_access_unit() -> Result<()> {
    let (caps, units) = packetized(&Features::small(), 3, &[("qp", "10")])?;
    let (rtp_caps, packets) = packets(&caps, &units, &[("mtu", "250")])?;
    let reference = gst::Caps::new_empty_simple("timestamp/x-ntp");
    let mut bench = depayloader(&rtp_caps, &[]);
    for (t, mut packet) in packets {
        let captured = gst::ClockTime::from_seconds(1000) + FRAME * t as u64;
        gst::ReferenceTimestampMeta::add(packet.make_mut(), &reference, captured, gst::ClockTime::NONE);
        bench.harness.push(packet)?;
    }
    for (t, buffer) in bench.pull_all().iter().enumerate() {
        let times: Vec<_> = buffer.iter_meta::<gst::ReferenceTimestampMeta>().map(|meta| meta.timestamp()).collect();
        assert_eq!(times, [gst::ClockTime::from_seconds(1000) + FRAME * t as u64], "frame {t}");
    }
    Ok(())
}

#[test]
fn overhead_at_100_kbit_per_second_is_below_six_per_cent() -> Result<()> {
    let features = Features::new(vec![(Shape::chw(32, 24, 32), Dtype::F32), (Shape::chw(64, 12, 16), Dtype::F32)]);
    let (caps, units) = packetized(&features, 150, &[("bitrate", "100"), ("key-int-max", "32")])?;
    let mut bench = payloader(&caps, &[("mtu", "1200")]);
    for unit in units {
        bench.harness.push(unit)?;
    }
    let (coded, overhead) = (count(&bench, "bytes"), count(&bench, "overhead-bytes"));
    let rate = coded as f64 * 8.0 * 25.0 / 150.0 / 1000.0;
    ensure!((80.0..120.0).contains(&rate), "{rate} kbit/s");
    let share = overhead as f64 / coded as f64;
    println!("{rate:.1} kbit/s, {} packets, {:.2} % overhead", count(&bench, "packets"), 100.0 * share);
    // IP and UDP take 28 bytes a packet more, whatever the payload format.
    ensure!(share < 0.06, "{share}");
    Ok(())
}

/// Frames of several slices, one packet each.
fn sliced() -> Result<(gst::Caps, Vec<gst::Buffer>)> {
    let features = Features::one(Shape::chw(48, 16, 20));
    packetized(&features, 6, &[("qp", "8"), ("key-int-max", "4"), ("slice-size", "400"), STANDING, EVERY_CHANGE])
}

#[test]
fn the_strongest_slices_of_a_damaged_access_unit_come_at_their_time_and_so_does_the_next() -> Result<()> {
    let (caps, units) = sliced()?;
    let (rtp_caps, sent) = packets(&caps, &units, &[("mtu", "1400")])?;
    let of = |t: usize| sent.iter().filter(|(frame, _)| *frame == t).count();
    ensure!((0..6).all(|t| of(t) > 2), "{} packets of {} frames", sent.len(), units.len());
    // The second and the last packet of frame 2 are lost: with that, the first of frame 3 ends both.
    let first = sent.iter().position(|(t, _)| *t == 2).context("frame 2")?;
    for lost in [first + 1..first + 2, first + 1..first + of(2), first + of(2) - 1..first + of(2)] {
        let mut bench = depayloader(&rtp_caps, &[]);
        for (n, (_, packet)) in sent.iter().enumerate() {
            if !lost.contains(&n) {
                bench.harness.push(packet.clone())?;
            }
        }
        let out = bench.pull_all();
        assert_eq!(out.iter().map(|b| b.pts()).collect::<Vec<_>>(), units.iter().map(|b| b.pts()).collect::<Vec<_>>());
        assert_eq!(count(&bench, "partial-units"), 1);
        assert_eq!(frames(&out, &units), [Some(0), Some(1), None, Some(3), Some(4), Some(5)]);
        ensure!(out[2].size() < units[2].size() && is_delta(&out[2]));
        let mut decoder = Bench::new(element("fcmdec", &[]));
        decoder.harness.set_src_caps(bench.src_caps().context("coded caps")?);
        for unit in out {
            decoder.harness.push(unit)?;
        }
        let flags: Vec<bool> =
            decoder.pull_all().iter().map(|b| b.flags().contains(gst::BufferFlags::CORRUPTED)).collect();
        assert_eq!(flags, [false, false, true, true, false, false], "exact again with frame 4");
        let warnings = decoder.warnings();
        ensure!(warnings.iter().any(|w| w.contains("slices are missing")), "{warnings:?}");
    }
    Ok(())
}

#[test]
fn one_packet_may_end_a_damaged_access_unit_and_be_the_next_one() -> Result<()> {
    let (caps, units) = sliced()?;
    let small = Features::one(Shape::chw(48, 16, 20));
    // The next frame is coded so coarsely that it is one packet.
    let (_, coarse) = packetized(&small, 2, &[("qp", "60"), ("key-int-max", "4")])?;
    let mut next = coarse[1].copy();
    next.make_mut().set_pts(FRAME * 2);
    let (rtp_caps, sent) = packets(&caps, &[units[0].clone(), units[1].clone(), next], &[("mtu", "1400")])?;
    assert_eq!(sent.iter().filter(|(t, _)| *t == 2).count(), 1);
    let lost = sent.iter().rposition(|(t, _)| *t == 1).context("frame 1")?;
    let mut bench = depayloader(&rtp_caps, &[]);
    for (_, packet) in sent.iter().enumerate().filter(|(n, _)| *n != lost).map(|(_, sent)| sent) {
        bench.harness.push(packet.clone())?;
    }
    let times: Vec<_> = bench.pull_all().iter().map(|b| b.pts().map(|pts| pts.nseconds() / FRAME.nseconds())).collect();
    assert_eq!(times, [Some(0), Some(1), Some(2)]);
    Ok(())
}

#[test]
fn a_known_loss_sends_what_is_usable_at_once() -> Result<()> {
    let (caps, units) = sliced()?;
    let (rtp_caps, sent) = packets(&caps, &units[..2], &[("mtu", "1400")])?;
    let mut bench = depayloader(&rtp_caps, &[]);
    let of_first = sent.iter().filter(|(t, _)| *t == 0).count();
    for (_, packet) in &sent[..of_first + 1] {
        bench.harness.push(packet.clone())?;
    }
    assert_eq!(bench.pull_all().len(), 1);
    let event = gst::Structure::builder("GstRTPPacketLost")
        .field("seqnum", 1u32)
        .field("timestamp", (FRAME + FRAME / 2).nseconds())
        .field("duration", FRAME.nseconds())
        .build();
    bench.harness.push_event(gst::event::CustomDownstream::new(event));
    let out = bench.pull_all();
    assert_eq!((out.len(), out[0].pts()), (1, Some(FRAME)));
    for (_, packet) in &sent[of_first + 2..] {
        bench.harness.push(packet.clone())?;
    }
    ensure!(bench.pull_all().is_empty(), "weaker slices are of no use without the missing one");
    assert_eq!(count(&bench, "stray-packets"), (sent.len() - of_first - 2) as u64);
    Ok(())
}
