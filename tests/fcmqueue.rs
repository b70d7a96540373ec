//! Promises of `fcmqueue`: what it drops when it fills, in which order and how it says so; and those of any queue.

mod common;

use anyhow::{Context, Result, bail, ensure};
use common::*;
use fcm_codec::bitstream::stream::{self, UnitSpan};
use fcm_codec::{Dtype, Limits, Shape};
use gst::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn until(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !done() {
        ensure!(start.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Features whose access units all have several slices.
fn sliced(frames: usize, more: &[(&str, &str)]) -> (gst::Caps, Vec<gst::Buffer>) {
    let features = Features::new(vec![(Shape::chw(96, 6, 8), Dtype::F32)]);
    // No prediction, so that all frames have about as many slices.
    let plain = [STANDING, EVERY_CHANGE, ("intra-prediction", "false")];
    encode(
        &features,
        frames,
        &[&[("qp", "4"), ("slice-size", "150"), ("key-int-max", "16")], &plain[..], more].concat(),
    )
}

fn bytes(buffer: &gst::BufferRef) -> Vec<u8> {
    buffer.map_readable().expect("mappable").to_vec()
}

fn slices(buffer: &gst::BufferRef) -> usize {
    let mut units: Vec<UnitSpan> = Vec::new();
    stream::split(&bytes(buffer), &Limits::default(), &mut units).expect("a whole access unit");
    stream::slice_ends(&units).count()
}

/// The queue in a harness, with a link after it that can be cut.
struct Link {
    bench: Bench,
    cut: Option<gst::PadProbeId>,
}

impl Link {
    fn new(caps: &gst::Caps, properties: &[(&str, &str)]) -> Self {
        let mut bench = Bench::new(element("fcmqueue", properties));
        bench.harness.play();
        bench.harness.set_src_caps(caps.clone());
        Self { bench, cut: None }
    }

    fn src(&self) -> gst::Pad {
        self.bench.element().static_pad("src").expect("src")
    }

    /// From the next buffer on nothing passes.
    fn cut(&mut self) {
        let kinds = gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER;
        self.cut = self.src().add_probe(kinds, |_, _| gst::PadProbeReturn::Ok);
    }

    fn mend(&mut self) {
        if let Some(id) = self.cut.take() {
            self.src().remove_probe(id);
        }
    }

    /// Pushes `units` into the cut link: the first is under way, all others are in the queue.
    fn fill(&mut self, units: &[gst::Buffer]) -> Result<()> {
        self.cut();
        let (first, others) = units.split_first().context("units")?;
        self.bench.harness.push(first.clone())?;
        until("the first is under way", || self.bench.count("sent-access-units") == 1)?;
        for unit in others {
            self.bench.harness.push(unit.clone())?;
        }
        Ok(())
    }

    /// Mends the link and ends the stream; returns what came out.
    fn drain(&mut self) -> Result<Vec<gst::Buffer>> {
        self.mend();
        self.bench.harness.push_event(gst::event::Eos::new());
        let mut events = Vec::new();
        until("the end of the stream", || {
            events.extend(self.bench.events());
            events.iter().any(|event| event.type_() == gst::EventType::Eos)
        })?;
        Ok(self.bench.pull_all())
    }

    fn level(&self, name: &str) -> u32 {
        self.bench.element().property(&format!("current-level-{name}"))
    }

    fn messages(&self) -> Vec<gst::Structure> {
        let messages = std::iter::from_fn(|| self.bench.bus.pop_filtered(&[gst::MessageType::Element]));
        messages.filter_map(|message| Some(message.structure()?.to_owned())).collect()
    }

    /// What came went out or was counted.
    fn adds_up(&self, out: &[gst::Buffer]) {
        let count = |name| self.bench.count(name);
        let sent: usize = out.iter().map(|buffer| buffer.size()).sum();
        assert_eq!((count("sent-access-units"), count("sent-bytes")), (out.len() as u64, sent as u64));
        assert_eq!(count("access-units"), out.len() as u64 + count("dropped-frames"));
        assert_eq!(count("bytes"), sent as u64 + count("dropped-bytes"));
    }
}

/// Numbers of the frames in `out`, by their times.
fn frames(out: &[gst::Buffer]) -> Vec<usize> {
    let number = |buffer: &gst::Buffer| (buffer.pts().expect("a time").nseconds() / FRAME.nseconds()) as usize;
    out.iter().map(number).collect()
}

fn disconts(out: &[gst::Buffer]) -> Vec<usize> {
    frames(&out.iter().filter(|buffer| is_discont(buffer)).cloned().collect::<Vec<_>>())
}

#[test]
fn below_the_limits_a_stream_passes_unchanged() -> Result<()> {
    for format in ["byte-stream", "packetized"] {
        let (caps, units) = {
            let (mut caps, mut units) = sliced(12, &[]);
            if format == "packetized" {
                caps.make_mut().set("stream-format", format);
                for unit in &mut units {
                    *unit = tampered(unit, |bytes| {
                        let mut out = Vec::new();
                        stream::convert(bytes, fcm_codec::StreamFormat::Packetized, &Limits::default(), &mut out)
                            .unwrap();
                        *bytes = out;
                    });
                }
            }
            (caps, units)
        };
        // Five of the six in the queue count for the time.
        for (most, count) in [("400000000", 7), ("0", 12)] {
            let mut link = Link::new(&caps, &[("max-size-time", most)]);
            link.fill(&units[..count])?;
            assert_eq!(link.level("buffers"), count as u32 - 1);
            let out = link.drain()?;
            assert_eq!(out.len(), count);
            for (t, (unit, out)) in units.iter().zip(&out).enumerate() {
                ensure!(bytes(unit) == bytes(out), "{format} {t}");
                assert_eq!(
                    (unit.flags(), unit.pts(), unit.duration()),
                    (out.flags(), out.pts(), out.duration()),
                    "{t}"
                );
                assert_eq!(unit.iter_meta::<gst::Meta>().count(), out.iter_meta::<gst::Meta>().count(), "{t}");
            }
            assert_eq!(link.bench.src_caps().as_ref(), Some(&caps));
            assert_eq!(link.bench.count("dropped-bytes"), 0);
            ensure!(link.messages().is_empty());
            link.adds_up(&out);
        }
    }
    Ok(())
}

#[test]
fn a_full_queue_gives_up_weak_slices_and_keeps_every_frame() -> Result<()> {
    let (caps, units) = sliced(12, &[]);
    ensure!(units.iter().all(|unit| slices(unit) > 3), "{:?}", units.iter().map(|u| slices(u)).collect::<Vec<_>>());
    let mut link = Link::new(&caps, &[]);
    link.fill(&units)?;
    let out = link.drain()?;
    assert_eq!(frames(&out), (0..12).collect::<Vec<_>>());
    assert_eq!(disconts(&out), [0], "no frame is missing");
    // The first was under way; of all others, eleven frames of which ten count, only the first slices are left.
    ensure!(bytes(&out[0]) == bytes(&units[0]));
    let left: Vec<usize> = out.iter().map(|unit| slices(unit)).collect();
    assert_eq!(left[1..], [1; 11]);
    let whole: usize = units[1..].iter().map(|unit| slices(unit)).sum();
    let dropped: u64 = (1..=3).map(|n| link.bench.count(&format!("dropped-slices-{n}"))).sum();
    assert_eq!(dropped as usize, whole - 11);
    assert_eq!((link.bench.count("shortened-access-units"), link.bench.count("dropped-frames")), (11, 0));
    link.adds_up(&out);
    // A decoder gives every frame, and says which are not what was coded.
    let mut decoder = decoder(&caps, &[]);
    for (unit, whole) in out.iter().zip(&units) {
        assert_eq!((unit.pts(), unit.duration(), is_delta(unit)), (whole.pts(), whole.duration(), is_delta(whole)));
        assert_eq!(unit.iter_meta::<gst::Meta>().count(), whole.iter_meta::<gst::Meta>().count());
        ensure!(gstfcm::statistics_meta::get(unit).is_some());
        decoder.harness.push(unit.clone())?;
    }
    let decoded = decoder.pull_all();
    let flagged = decoded.iter().map(|frame| frame.flags().contains(gst::BufferFlags::CORRUPTED));
    assert_eq!(flagged.collect::<Vec<_>>(), [&[false][..], &[true; 11]].concat());
    ensure!(decoder.warnings().len() <= 1 && decoder.errors().is_empty());
    Ok(())
}

#[test]
fn slices_go_by_priority_and_of_predicted_frames_first() -> Result<()> {
    let (caps, units) = sliced(9, &[("key-int-max", "4")]);
    // So many in the queue that the time is over the marks at 50, 58.3 and 66.7 percent of 400 ms.
    for (queued, predicted, random_access) in [(6, 5, 6), (7, 3, 3), (8, 2, 3)] {
        let mut link = Link::new(&caps, &[]);
        link.fill(&units[..queued + 1])?;
        let out = link.drain()?;
        assert_eq!(out.len(), queued + 1);
        for unit in &out[1..] {
            assert_eq!(slices(unit), if is_delta(unit) { predicted } else { random_access }, "{queued} in the queue");
        }
    }
    Ok(())
}

#[test]
fn beyond_the_limit_the_oldest_predicted_frames_go_and_the_next_says_so() -> Result<()> {
    let (caps, units) = sliced(16, &[]);
    let mut link = Link::new(&caps, &[]);
    link.fill(&units)?;
    assert_eq!(link.bench.element().property::<u64>("current-level-time"), 400_000_000);
    let out = link.drain()?;
    assert_eq!(frames(&out), [&[0][..], &(5..16).collect::<Vec<_>>()].concat());
    assert_eq!(disconts(&out), [0, 5]);
    assert_eq!((link.bench.count("dropped-frames"), link.bench.count("dropped-random-access-frames")), (4, 0));
    link.adds_up(&out);
    Ok(())
}

#[test]
fn a_stream_that_is_not_resilient_loses_all_up_to_the_next_random_access_unit() -> Result<()> {
    let (caps, units) = sliced(40, &[("error-resilient", "false")]);
    ensure!(units.iter().all(|unit| slices(unit) == 1));
    let mut link = Link::new(&caps, &[("max-size-buffers", "6"), ("max-size-time", "0"), ("degrade-percent", "100")]);
    link.fill(&units[..12])?;
    // Room again, but nothing to predict from.
    link.mend();
    until("an empty queue", || link.level("buffers") == 0)?;
    for unit in &units[12..] {
        link.bench.harness.push(unit.clone())?;
        until("an empty queue", || link.level("buffers") == 0)?;
    }
    let out = link.drain()?;
    assert_eq!(frames(&out), [(0..7).collect::<Vec<_>>(), (16..40).collect()].concat());
    assert_eq!(disconts(&out), [0, 16]);
    link.adds_up(&out);
    let mut decoder = decoder(&caps, &[]);
    for unit in out {
        decoder.harness.push(unit)?;
    }
    let decoded = decoder.pull_all();
    ensure!(decoded.iter().all(|frame| !frame.flags().contains(gst::BufferFlags::CORRUPTED)));
    assert_eq!(decoded.len(), 31, "every one can be decoded");
    Ok(())
}

#[test]
fn messages_say_what_was_dropped_and_when_all_is_well() -> Result<()> {
    let (caps, units) = sliced(48, &[]);
    let mut link = Link::new(&caps, &[]);
    link.fill(&units[..30])?;
    let messages = link.messages();
    assert_eq!(messages.len(), 1, "at most one a second: {messages:?}");
    assert_eq!(messages[0].name(), "fcm-queue-degraded");
    assert_eq!(messages[0].get::<u32>("current-level-buffers")?, 7, "when it began");
    ensure!(messages[0].get::<u64>("dropped-slices-3")? > 0 && messages[0].get::<u64>("dropped-bytes")? > 0);
    link.mend();
    until("an empty queue", || link.level("buffers") == 0)?;
    std::thread::sleep(Duration::from_millis(1050));
    link.bench.harness.push(units[30].clone())?;
    let messages = link.messages();
    assert_eq!(messages.iter().map(|s| s.name().as_str()).collect::<Vec<_>>(), ["fcm-queue-recovered"]);
    for name in ["dropped-slices-1", "dropped-slices-2", "dropped-slices-3", "dropped-frames", "dropped-bytes"] {
        assert_eq!(messages[0].get::<u64>(name)?, link.bench.count(name), "{name}");
    }
    assert_eq!(link.bench.count("degradations"), 1);
    // A stream that ends in trouble says its last too.
    link.cut();
    for unit in &units[31..] {
        link.bench.harness.push(unit.clone())?;
    }
    link.drain()?;
    let names: Vec<_> = link.messages().iter().map(|s| s.name().to_string()).collect();
    assert_eq!(names, ["fcm-queue-degraded", "fcm-queue-recovered"]);
    Ok(())
}

#[test]
fn a_random_access_unit_is_asked_for_only_where_wanted() -> Result<()> {
    let (caps, units) = sliced(16, &[]);
    for (wanted, requests) in [("false", 0), ("true", 1)] {
        let mut link = Link::new(&caps, &[("request-keyframe", wanted)]);
        link.fill(&units)?;
        let asked = link.bench.upstream_events().into_iter();
        let asked = asked.filter(|e| e.structure().is_some_and(|s| s.name() == "GstForceKeyUnit")).count();
        assert_eq!((asked as u64, link.bench.count("keyframe-requests")), (requests, requests));
        link.drain()?;
    }
    Ok(())
}

#[test]
fn what_is_no_access_unit_passes_as_it_is() -> Result<()> {
    let (caps, mut units) = sliced(12, &[]);
    units[3] = tampered(&units[3], |bytes| bytes[20] ^= 1);
    units[4] = tampered(&units[4], Vec::clear);
    let mut link = Link::new(&caps, &[]);
    link.fill(&units)?;
    let out = link.drain()?;
    ensure!(bytes(&out[3]) == bytes(&units[3]) && out[4].size() == 0);
    assert_eq!(out.len(), 12);
    link.adds_up(&out);
    Ok(())
}

#[test]
fn lower_limits_and_another_rate_hold_at_once() -> Result<()> {
    let (caps, units) = sliced(12, &[]);
    let mut link = Link::new(&caps, &[("max-size-time", "0")]);
    link.fill(&units)?;
    assert_eq!(link.level("buffers"), 11);
    link.bench.element().set_property("max-size-buffers", 3u32);
    assert_eq!(link.level("buffers"), 3);
    // An hour for each of those that are left.
    link.bench.element().set_property("max-bitrate", 1u32);
    link.mend();
    std::thread::sleep(Duration::from_millis(50));
    ensure!(link.level("buffers") >= 2);
    link.bench.element().set_property("max-bitrate", 0u32);
    assert_eq!(frames(&link.drain()?), [0, 9, 10, 11]);
    Ok(())
}

#[test]
fn the_rate_is_kept() -> Result<()> {
    let (caps, units) = sliced(40, &[]);
    // All but the last have to be through before the last goes.
    let bits: usize = units[..39].iter().map(|unit| unit.size() * 8).sum();
    let kbits = (bits / 800) as u32;
    let expected = Duration::from_secs_f64(bits as f64 / f64::from(kbits) / 1000.0);
    let mut link = Link::new(&caps, &[("max-size-time", "0"), ("max-bitrate", &kbits.to_string())]);
    let start = Instant::now();
    for unit in &units {
        link.bench.harness.push(unit.clone())?;
    }
    let out = link.drain()?;
    let took = start.elapsed();
    assert_eq!(out.len(), 40);
    println!("{expected:?} expected, {took:?} taken");
    ensure!(took >= expected.mul_f64(0.95) && took < expected + Duration::from_secs(4), "{took:?}, not {expected:?}");
    Ok(())
}

#[test]
fn the_end_of_the_stream_comes_after_all_that_waited() -> Result<()> {
    let (caps, units) = sliced(30, &[]);
    let mut link = Link::new(&caps, &[]);
    link.fill(&units)?;
    ensure!(link.bench.harness.push_event(gst::event::Eos::new()));
    assert_eq!(link.bench.harness.push(units[0].clone()), Err(gst::FlowError::Eos));
    link.mend();
    let mut last = None;
    until("the end", || {
        last = link.bench.events().last().map(|event| event.type_()).or(last);
        last == Some(gst::EventType::Eos)
    })?;
    let out = link.bench.pull_all();
    assert_eq!(out.len(), 12);
    link.adds_up(&out);
    // Another stream may follow.
    ensure!(link.bench.harness.push_event(gst::event::StreamStart::new("again")));
    link.bench.harness.set_src_caps(caps);
    link.bench.harness.push(units[0].clone())?;
    until("the first of another stream", || link.bench.harness.try_pull().is_some())
}

#[test]
fn a_flush_empties_a_full_queue_at_once() -> Result<()> {
    let (caps, units) = sliced(20, &[]);
    let mut link = Link::new(&caps, &[]);
    for _ in 0..3 {
        link.fill_again(&units)?;
        let tags = gst::event::Tag::new(gst::TagList::new());
        ensure!(link.bench.harness.push_event(tags));
        ensure!(link.bench.harness.push_event(gst::event::FlushStart::new()));
        assert_eq!(link.bench.harness.push(units[0].clone()), Err(gst::FlowError::Flushing));
        link.mend();
        ensure!(link.bench.harness.push_event(gst::event::FlushStop::new(true)));
        assert_eq!(link.level("buffers"), 0);
        ensure!(link.src().sticky_event::<gst::event::Tag>(0).is_some(), "sticky events outlive a flush");
        link.bench.pull_all();
        ensure!(
            link.bench.harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()))
        );
        link.bench.harness.push(units[16].clone())?;
        let mut next = None;
        until("the first after the flush", || {
            next = next.take().or_else(|| link.bench.harness.try_pull());
            next.is_some()
        })?;
        assert_eq!(frames(&[next.context("a buffer")?]), [16]);
    }
    Ok(())
}

#[test]
fn a_flush_may_come_from_the_thread_that_sends() -> Result<()> {
    let (caps, units) = sliced(6, &[]);
    let mut link = Link::new(&caps, &[]);
    let sink = link.bench.element().static_pad("sink").context("sink")?;
    link.src().add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if info.buffer().is_some_and(|buffer| buffer.pts() == Some(FRAME * 2)) {
            sink.send_event(gst::event::FlushStart::new());
            sink.send_event(gst::event::FlushStop::new(true));
            return gst::PadProbeReturn::Drop;
        }
        gst::PadProbeReturn::Ok
    });
    for unit in &units[..3] {
        link.bench.harness.push(unit.clone())?;
        until("an empty queue", || link.level("buffers") == 0)?;
    }
    until("the end of the flush", || {
        link.bench.events().iter().any(|event| event.type_() == gst::EventType::FlushStop)
    })?;
    link.bench.harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    link.bench.harness.push(units[5].clone())?;
    assert_eq!(frames(&link.drain()?), [0, 1, 5]);
    Ok(())
}

impl Link {
    /// As [`Self::fill`], in a stream that is under way.
    fn fill_again(&mut self, units: &[gst::Buffer]) -> Result<()> {
        self.cut();
        for unit in units {
            self.bench.harness.push(unit.clone())?;
        }
        Ok(())
    }
}

#[test]
fn caps_and_events_keep_their_place() -> Result<()> {
    let (caps, units) = sliced(20, &[]);
    let (other_caps, other_units) = encode(&Features::small(), 3, &[]);
    let mut link = Link::new(&caps, &[]);
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    link.src().add_probe(kinds, move |_, info| {
        let mut order = seen.lock().unwrap();
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => order.push(format!("{}", buffer.pts().unwrap().mseconds() / 40)),
            Some(gst::PadProbeData::Event(event)) => order.push(event.type_().name().to_string()),
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    link.fill(&units)?;
    order.lock().unwrap().clear();
    let structure = gst::Structure::new_empty("mark");
    ensure!(link.bench.harness.push_event(gst::event::CustomDownstream::new(structure)));
    link.bench.harness.push_event(gst::event::Caps::new(&other_caps));
    for unit in &other_units {
        link.bench.harness.push(unit.clone())?;
    }
    assert_eq!(link.bench.src_caps().as_ref(), Some(&caps), "not before its turn");
    link.drain()?;
    assert_eq!(link.bench.src_caps().as_ref(), Some(&other_caps));
    let order = order.lock().unwrap();
    let place = |what: &str| order.iter().position(|entry| entry == what).with_context(|| format!("{what}: {order:?}"));
    let (mark, caps_at) = (place("custom-downstream")?, place("caps")?);
    ensure!(
        mark + 1 == caps_at && order[mark - 1] == "19" && order[caps_at + 1..] == ["0", "1", "2", "eos"],
        "{order:?}"
    );
    Ok(())
}

#[test]
fn a_serialized_query_waits_for_its_turn() -> Result<()> {
    let (caps, units) = sliced(5, &[]);
    let mut link = Link::new(&caps, &[]);
    link.fill(&units)?;
    let pad = link.bench.element().static_pad("sink").context("sink")?;
    let ask = move || {
        let pad = pad.clone();
        std::thread::spawn(move || {
            let mut query = gst::query::Drain::new();
            pad.query(&mut query);
        })
    };
    let asked = ask();
    std::thread::sleep(Duration::from_millis(50));
    ensure!(!asked.is_finished());
    link.mend();
    until("an answer", || asked.is_finished())?;
    assert_eq!(link.bench.count("sent-access-units"), 5);
    assert_eq!(link.level("buffers"), 0);
    // A flush ends the wait.
    link.fill_again(&units[1..])?;
    let asked = ask();
    std::thread::sleep(Duration::from_millis(20));
    link.bench.harness.push_event(gst::event::FlushStart::new());
    until("an answer", || asked.is_finished())?;
    link.mend();
    link.bench.harness.push_event(gst::event::FlushStop::new(true));
    // And leaves nothing that anybody would wait for.
    link.bench.harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    link.bench.harness.push(units[0].clone())?;
    until("the next", || link.bench.count("sent-access-units") >= 6 && link.level("buffers") == 0)?;
    let asked = ask();
    until("an answer", || asked.is_finished())
}

#[test]
fn latency_has_room_for_what_the_queue_holds() -> Result<()> {
    let ms = gst::ClockTime::from_mseconds;
    for (time, upstream, room) in
        [("400000000", Some(ms(50)), Some(ms(450))), ("400000000", None, None), ("0", Some(ms(50)), None)]
    {
        let queue = element("fcmqueue", &[("max-size-time", time)]);
        let source = gst::Pad::builder(gst::PadDirection::Src)
            .query_function(move |_, _, query| match query.view_mut() {
                gst::QueryViewMut::Latency(query) => {
                    query.set(true, ms(7), upstream);
                    true
                }
                _ => false,
            })
            .build();
        source.set_active(true)?;
        source.link(&queue.static_pad("sink").context("sink")?)?;
        let mut query = gst::query::Latency::new();
        ensure!(queue.static_pad("src").context("src")?.query(&mut query));
        assert_eq!(query.result(), (true, ms(7), room), "{time}, {upstream:?}");
    }
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
        Ok(Self(pipeline.downcast().ok().context("not a pipeline")?))
    }

    fn by_name(&self, name: &str) -> Result<gst::Element> {
        self.0.by_name(name).with_context(|| format!("no {name}"))
    }

    fn count(&self, element: &str, name: &str) -> Result<u64> {
        Ok(self.by_name(element)?.property::<gst::Structure>("stats").get(name)?)
    }

    /// Plays; feeds one unit every `period`; waits for the end.
    fn feed(&self, caps: &gst::Caps, units: &[gst::Buffer], period: Duration) -> Result<()> {
        let source = self.by_name("src")?.downcast::<gst_app::AppSrc>().ok().context("appsrc")?;
        source.set_caps(Some(caps));
        source.set_format(gst::Format::Time);
        source.set_max_bytes(u64::MAX);
        self.0.set_state(gst::State::Playing)?;
        let start = Instant::now();
        for (t, unit) in units.iter().enumerate() {
            std::thread::sleep((period * t as u32).saturating_sub(start.elapsed()));
            source.push_buffer(unit.clone())?;
        }
        source.end_of_stream()?;
        self.end()
    }

    fn end(&self) -> Result<()> {
        let bus = self.0.bus().context("no bus")?;
        let message = bus.timed_pop_filtered(
            gst::ClockTime::from_seconds(PATIENCE.as_secs()),
            &[gst::MessageType::Eos, gst::MessageType::Error],
        );
        match message.context("no end of the stream")?.view() {
            gst::MessageView::Error(e) => bail!("{}: {:?}", e.error(), e.debug()),
            _ => Ok(()),
        }
    }

    /// The sink pad of `name` takes buffers as a link of `rate` bytes/s.
    fn slow(&self, name: &str, rate: f64) -> Result<()> {
        let pad = self.by_name(name)?.static_pad("sink").context("sink")?;
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                std::thread::sleep(Duration::from_secs_f64(buffer.size() as f64 / rate));
            }
            gst::PadProbeReturn::Ok
        });
        Ok(())
    }
}

#[test]
fn over_a_link_too_slow_every_first_slice_arrives() -> Result<()> {
    let (caps, units) = sliced(120, &[]);
    let mut spans = Vec::new();
    let mut first = 0;
    for unit in &units {
        stream::split(&bytes(unit), &Limits::default(), &mut spans)?;
        first += stream::slice_ends(&spans).next().context("a slice")?;
    }
    let all: usize = units.iter().map(|unit| unit.size()).sum();
    ensure!(all > 4 * first, "{first} of {all} bytes are in first slices");
    let period = Duration::from_millis(10);
    // The link takes half of what comes.
    let rate = all as f64 / 2.0 / (units.len() as f64 * period.as_secs_f64());
    // A wide queue, for a busy machine sleeps longer than it is told.
    let pipeline = Pipeline::new(
        "appsrc name=src ! fcmqueue name=queue max-size-time=2000000000 degrade-percent=20 ! identity name=link ! fcmdec name=dec ! fakesink name=sink sync=false",
    )?;
    pipeline.slow("link", rate)?;
    let flagged = Arc::new(AtomicU64::new(0));
    let seen = flagged.clone();
    pipeline.by_name("sink")?.static_pad("sink").context("sink")?.add_probe(
        gst::PadProbeType::BUFFER,
        move |_, info| {
            let flagged = info.buffer().is_some_and(|buffer| buffer.flags().contains(gst::BufferFlags::CORRUPTED));
            seen.fetch_add(u64::from(flagged), Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        },
    );
    pipeline.feed(&caps, &units, period)?;
    let count = |name| pipeline.count("queue", name);
    println!("{}", pipeline.by_name("queue")?.property::<gst::Structure>("stats"));
    assert_eq!((count("sent-access-units")?, count("dropped-frames")?), (120, 0));
    ensure!(count("shortened-access-units")? > 30);
    assert_eq!((pipeline.count("dec", "frames")?, pipeline.count("dec", "corrupt")?), (120, 0));
    let flagged = flagged.load(Ordering::Relaxed);
    ensure!(flagged >= count("shortened-access-units")? && flagged < 120, "{flagged} flagged");
    Ok(())
}

#[test]
fn a_sink_too_slow_gets_fewer_frames_and_all_random_access_units() -> Result<()> {
    let (caps, units) = sliced(100, &[]);
    let pipeline = Pipeline::new(
        "appsrc name=src ! fcmqueue name=queue ! identity name=link sleep-time=20000 ! fcmdec name=dec ! fakesink sync=false",
    )?;
    let random_access = Arc::new(AtomicU64::new(0));
    let seen = random_access.clone();
    pipeline.by_name("link")?.static_pad("sink").context("sink")?.add_probe(
        gst::PadProbeType::BUFFER,
        move |_, info| {
            seen.fetch_add(u64::from(info.buffer().is_some_and(|buffer| !is_delta(buffer))), Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        },
    );
    pipeline.feed(&caps, &units, Duration::from_millis(10))?;
    println!("{}", pipeline.by_name("queue")?.property::<gst::Structure>("stats"));
    let dropped = pipeline.count("queue", "dropped-frames")?;
    ensure!((20..80).contains(&dropped), "{dropped} dropped");
    assert_eq!(random_access.load(Ordering::Relaxed), 7);
    assert_eq!(pipeline.count("dec", "frames")?, 100 - dropped, "the decoder goes on after each gap");
    Ok(())
}

#[test]
fn a_full_queue_can_be_stopped_and_started_and_leaves_no_thread() -> Result<()> {
    let (caps, units) = sliced(14, &[]);
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let mut most = 0;
    for round in 0..12 {
        let pipeline = Pipeline::new(
            "appsrc name=src ! fcmqueue name=queue ! identity sleep-time=50000 ! fakesink sync=false async=false",
        )?;
        let source = pipeline.by_name("src")?.downcast::<gst_app::AppSrc>().ok().context("appsrc")?;
        source.set_caps(Some(&caps));
        source.set_format(gst::Format::Time);
        let queue = pipeline.by_name("queue")?;
        let src = queue.static_pad("src").context("src")?;
        for state in [gst::State::Playing, gst::State::Paused, gst::State::Ready, gst::State::Playing] {
            pipeline.0.set_state(state)?;
            if state == gst::State::Playing {
                for unit in &units {
                    source.push_buffer(unit.clone())?;
                }
                until("a full queue", || queue.property::<u32>("current-level-buffers") > 5)?;
            }
        }
        pipeline.0.set_state(gst::State::Null)?;
        assert_eq!((queue.property::<u32>("current-level-buffers"), src.task_state()), (0, gst::TaskState::Stopped));
        // GLib keeps a few idle threads for later.
        if round == 3 {
            most = threads();
        }
        ensure!(round <= 3 || threads() <= most + 2, "{} threads after round {round}, {most} before", threads());
    }
    Ok(())
}

#[test]
fn downstream_that_goes_away_is_told_upstream_and_may_come_back() -> Result<()> {
    let (caps, units) = sliced(4, &[]);
    let element = element("fcmqueue", &[]);
    let mut harness = gst_check::Harness::with_element(&element, Some("sink"), None);
    harness.play();
    harness.set_src_caps(caps);
    let mut result = Ok(gst::FlowSuccess::Ok);
    until("not linked", || {
        result = harness.push(units[0].clone());
        result == Err(gst::FlowError::NotLinked)
    })?;
    let tried = || element.property::<gst::Structure>("stats").get::<u64>("sent-access-units").expect("a counter");
    let before = tried();
    element.static_pad("src").context("src")?.send_event(gst::event::Reconfigure::new());
    let _ = harness.push(units[0].clone());
    until("another try", || tried() > before)?;
    until("not linked", || harness.push(units[0].clone()) == Err(gst::FlowError::NotLinked))?;
    // Upstream has sent its last: then only the element can say it.
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    ensure!(!harness.push_event(gst::event::Eos::new()));
    ensure!(bus.pop_filtered(&[gst::MessageType::Error]).is_some());
    Ok(())
}

#[test]
fn many_queues_at_once_pass_everything() -> Result<()> {
    let (caps, units) = sliced(60, &[]);
    let branches: String = (0..24)
        .map(|n| {
            format!(
                " t. ! fcmqueue name=q{n} max-size-time=0 ! fcmqueue name=r{n} max-size-time=0 ! fakesink sync=false"
            )
        })
        .collect();
    let pipeline = Pipeline::new(&format!("appsrc name=src ! tee name=t{branches}"))?;
    pipeline.feed(&caps, &units, Duration::from_millis(1))?;
    for n in 0..24 {
        for queue in ["q", "r"] {
            assert_eq!(pipeline.count(&format!("{queue}{n}"), "sent-access-units")?, 60, "{queue}{n}");
        }
    }
    Ok(())
}
