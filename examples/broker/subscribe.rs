//! From a broker to a pipeline that begins with `application/x-fcm`.

use super::link::{Broker, Link, News};
use super::message::{Message, Topics};
use anyhow::{Context, Result};
use gst::prelude::*;
use rumqttc::{Client, Publish, QoS};
use std::sync::{Arc, Mutex};

/// What became of the messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Subscribed {
    /// Access units handed to the pipeline.
    pub units: u64,
    /// Not handed on: predicted from what did not come.
    pub dropped: u64,
    /// Access units that are missing, by their numbers.
    pub missing: u64,
    /// Messages that are none.
    pub refused: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Sessions of the publisher that were seen.
    pub sessions: u64,
}

/// What is known of the stream.
#[derive(Default)]
struct State {
    session: Option<u32>,
    next: u32,
    /// Nothing can be decoded before the next random access unit.
    waiting: bool,
    /// From the publisher's times to running times here.
    offset: Option<i128>,
    counts: Subscribed,
}

/// A running pipeline and its connection.
pub struct Subscriber {
    pipeline: gst::Pipeline,
    state: Arc<Mutex<State>>,
    _link: Link,
}

impl Subscriber {
    /// Starts the pipeline `description`, whose only open sink pad takes `application/x-fcm`. With `end` the pipeline ends when the publisher
    /// goes offline.
    pub fn start(broker: &Broker, topic: &str, description: &str, end: bool) -> Result<Self> {
        let topics = Topics::new(topic)?;
        let pipeline = gst::Pipeline::new();
        let sink = gst::parse::bin_from_description(description, true).with_context(|| description.to_owned())?;
        // A pipeline that is too slow loses what is new, and the decoder sees the gap by the frame numbers.
        let source = gst_app::AppSrc::builder()
            .is_live(true)
            .format(gst::Format::Time)
            .max_bytes(64 << 20)
            .leaky_type(gst_app::AppLeakyType::Upstream)
            .build();
        pipeline.add_many([source.upcast_ref::<gst::Element>(), sink.upcast_ref()])?;
        source.link(&sink).context("the pipeline does not begin with application/x-fcm")?;
        let state = Arc::new(Mutex::new(State { waiting: true, ..State::default() }));
        pipeline.set_state(gst::State::Playing)?;

        let (known, names, to, qos) = (state.clone(), topics.clone(), source.clone(), broker.qos);
        let link = Link::start(broker, None, move |client, news| match news {
            News::Connected => {
                known.lock().unwrap().counts.connections += 1;
                for topic in [&names.caps, &names.units, &names.state] {
                    let _ = client.try_subscribe(topic, qos);
                }
            }
            News::Lost => {}
            News::Message(message) => take(&known, &names, &to, client, &message, end),
        })?;

        // The decoder asks for random access points upstream; the publisher's encoder can make them.
        let client = link.client().clone();
        let pad = source.static_pad("src").context("no source pad")?;
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            if info.event().is_some_and(|event| gst_video::ForceKeyUnitEvent::is(event)) {
                let _ = client.try_publish(&topics.requests, QoS::AtMostOnce, false, "");
            }
            gst::PadProbeReturn::Ok
        });
        Ok(Self { pipeline, state, _link: link })
    }

    /// The pipeline, for its bus and its elements.
    pub fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }

    /// What became of the messages so far.
    pub fn counts(&self) -> Subscribed {
        self.state.lock().unwrap().counts
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn take(
    state: &Mutex<State>,
    topics: &Topics,
    source: &gst_app::AppSrc,
    client: &Client,
    message: &Publish,
    end: bool,
) {
    let (topic, payload) = (message.topic.as_str(), &message.payload[..]);
    if topic == topics.caps {
        let caps = std::str::from_utf8(payload).ok().and_then(|text| text.parse::<gst::Caps>().ok());
        match caps.filter(|caps| caps.structure(0).is_some_and(|s| s.name() == "application/x-fcm")) {
            Some(caps) => source.set_caps(Some(&caps)),
            None => state.lock().unwrap().counts.refused += 1,
        }
    } else if topic == topics.state {
        if end && payload == b"offline" && state.lock().unwrap().counts.units > 0 {
            let _ = source.end_of_stream();
        }
    } else if topic == topics.units {
        // Units before the caps could not be handed on; the retained caps come first where there are any.
        let Some(buffer) = source.caps().and_then(|_| arrive(state, source, payload)) else {
            if state.lock().unwrap().waiting {
                ask_once(state, topics, client);
            }
            return;
        };
        let _ = source.push_buffer(buffer);
    }
}

/// Joining in the middle, or after a loss: asks for a random access point with the first unit that cannot be used, and every 25th after.
fn ask_once(state: &Mutex<State>, topics: &Topics, client: &Client) {
    if state.lock().unwrap().counts.dropped % 25 == 1 {
        let _ = client.try_publish(&topics.requests, QoS::AtMostOnce, false, "");
    }
}

/// The buffer of a message, if the decoder can use it.
fn arrive(state: &Mutex<State>, source: &gst_app::AppSrc, payload: &[u8]) -> Option<gst::Buffer> {
    let mut state = state.lock().unwrap();
    let message = match Message::parse(payload) {
        Ok(message) => message,
        Err(error) => {
            eprintln!("not an access unit: {error}");
            state.counts.refused += 1;
            return None;
        }
    };
    let mut discont = false;
    if state.session != Some(message.session) {
        state.counts.sessions += 1;
        (state.session, state.offset, state.waiting) = (Some(message.session), None, true);
    } else if message.number != state.next {
        let ahead = message.number.wrapping_sub(state.next);
        if ahead > u32::MAX / 2 {
            // A broker may deliver twice what it delivers at least once.
            state.counts.dropped += 1;
            return None;
        }
        state.counts.missing += u64::from(ahead);
        state.waiting = true;
    }
    state.next = message.number.wrapping_add(1);
    if state.waiting {
        if !message.random_access {
            state.counts.dropped += 1;
            return None;
        }
        (state.waiting, discont) = (false, true);
    }
    state.counts.units += 1;
    let mut buffer = gst::Buffer::from_slice(message.unit.to_vec());
    let unshared = buffer.get_mut()?;
    if !message.random_access {
        unshared.set_flags(gst::BufferFlags::DELTA_UNIT);
    }
    if discont {
        unshared.set_flags(gst::BufferFlags::DISCONT);
    }
    if let Some(pts) = message.pts {
        let now = source.current_running_time().map_or(0, |time| i128::from(time.nseconds()));
        // The first frame of a session is now, the others are as far from it as they were where they came from.
        let offset = *state.offset.get_or_insert(now - i128::from(pts));
        let time = u64::try_from(i128::from(pts) + offset).ok().map(gst::ClockTime::from_nseconds);
        unshared.set_pts(time);
    }
    unshared.set_duration(message.duration.map(gst::ClockTime::from_nseconds));
    if let Some(captured) = message.captured {
        let reference = gst::Caps::new_empty_simple("timestamp/x-unix");
        gst::ReferenceTimestampMeta::add(
            unshared,
            &reference,
            gst::ClockTime::from_nseconds(captured),
            gst::ClockTime::NONE,
        );
    }
    Some(buffer)
}
