//! From a pipeline that ends in `application/x-fcm` to a broker.

use super::link::{Broker, Link, News};
use super::message::{Message, Topics};
use anyhow::{Context, Result};
use gst::prelude::*;
use rumqttc::{Client, LastWill, QoS};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// What became of the access units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Published {
    /// Handed to the connection.
    pub units: u64,
    /// Dropped, because there was no connection, or it was too slow.
    pub dropped: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Random access points that subscribers asked for.
    pub requests: u64,
}

#[derive(Default)]
struct State {
    connected: bool,
    /// An access unit was dropped: those predicted from it are of no use to anybody.
    waiting: bool,
    caps: Option<gst::Caps>,
    number: u32,
    counts: Published,
}

/// A running pipeline and its connection.
pub struct Publisher {
    pipeline: gst::Pipeline,
    state: Arc<Mutex<State>>,
    topics: Topics,
    link: Link,
}

impl Publisher {
    /// Starts the pipeline `description`, whose only open source pad gives `application/x-fcm`.
    pub fn start(broker: &Broker, topic: &str, description: &str) -> Result<Self> {
        let topics = Topics::new(topic)?;
        let pipeline = gst::Pipeline::new();
        let source = gst::parse::bin_from_description(description, true).with_context(|| description.to_owned())?;
        let caps = gst::Caps::builder("application/x-fcm").field("alignment", "au").build();
        let sink = gst_app::AppSink::builder().caps(&caps).sync(false).max_buffers(4).build();
        pipeline.add_many([source.upcast_ref::<gst::Element>(), sink.upcast_ref()])?;
        source.link(&sink).context("the pipeline does not end in application/x-fcm; is there a fcmparse or fcmenc?")?;

        let state = Arc::new(Mutex::new(State::default()));
        let will = LastWill::new(&topics.state, "offline", QoS::AtLeastOnce, true);
        let (known, names, pad) = (state.clone(), topics.clone(), sink.static_pad("sink").context("no sink pad")?);
        let link = Link::start(broker, Some(will), move |client, news| hear(&known, &names, &pad, client, news))?;

        // The session tells a restarted publisher from the one before; the time is different then.
        let session = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u32;
        let (known, names, client, qos) = (state.clone(), topics.clone(), link.client().clone(), broker.qos);
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            publish(&known, &names, &client, qos, session, sink, &sample);
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
        pipeline.set_state(gst::State::Playing)?;
        Ok(Self { pipeline, state, topics, link })
    }

    /// The pipeline, for its bus.
    pub fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }

    /// What became of the access units so far.
    pub fn counts(&self) -> Published {
        self.state.lock().unwrap().counts
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
        let _ = self.link.client().try_publish(&self.topics.state, QoS::AtLeastOnce, true, "offline");
    }
}

/// In the thread of the connection.
fn hear(state: &Mutex<State>, topics: &Topics, pad: &gst::Pad, client: &Client, news: News) {
    let ask = match news {
        News::Connected => {
            let caps = {
                let mut state = state.lock().unwrap();
                state.connected = true;
                state.counts.connections += 1;
                state.caps.clone()
            };
            let _ = client.try_subscribe(&topics.requests, QoS::AtMostOnce);
            let _ = client.try_publish(&topics.state, QoS::AtLeastOnce, true, "online");
            if let Some(caps) = caps {
                let _ = client.try_publish(&topics.caps, QoS::AtLeastOnce, true, caps.to_string());
            }
            true
        }
        News::Lost => {
            let mut state = state.lock().unwrap();
            (state.connected, state.waiting) = (false, true);
            false
        }
        News::Message(_) => {
            state.lock().unwrap().counts.requests += 1;
            true
        }
    };
    if ask {
        pad.push_event(gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
    }
}

/// In the streaming thread.
fn publish(
    state: &Mutex<State>,
    topics: &Topics,
    client: &Client,
    qos: QoS,
    session: u32,
    sink: &gst_app::AppSink,
    sample: &gst::Sample,
) {
    let Some(buffer) = sample.buffer() else { return };
    let mut state = state.lock().unwrap();
    let State { connected, waiting, caps, number, counts } = &mut *state;
    if let Some(new) = sample.caps().filter(|new| caps.as_deref() != Some(new)) {
        *caps = Some(new.to_owned());
        if *connected {
            let _ = client.try_publish(&topics.caps, QoS::AtLeastOnce, true, new.to_string());
        }
    }
    let this = *number;
    *number = number.wrapping_add(1);
    let random_access = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
    let sent = *connected && (random_access || !*waiting) && {
        let Ok(unit) = buffer.map_readable() else { return };
        let message = Message {
            session,
            number: this,
            random_access,
            pts: buffer.pts().map(|time| time.nseconds()),
            duration: buffer.duration().map(|time| time.nseconds()),
            captured: captured(sink, sample, buffer),
            unit: &unit,
        };
        client.try_publish(&topics.units, qos, false, message.to_bytes()).is_ok()
    };
    if sent {
        *waiting = false;
        counts.units += 1;
        return;
    }
    counts.dropped += 1;
    // One request a loss; another one when the connection comes back.
    let ask = !std::mem::replace(waiting, true) && *connected;
    drop(state);
    if ask && let Some(pad) = sink.static_pad("sink") {
        pad.push_event(gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
    }
}

/// When the frame was captured, nanoseconds since 1970: what its metas say, else what its time in a live pipeline does.
fn captured(sink: &gst_app::AppSink, sample: &gst::Sample, buffer: &gst::BufferRef) -> Option<u64> {
    /// Seconds from 1900, where NTP counts from, to 1970.
    const NTP_TO_UNIX: u64 = 2_208_988_800;
    for meta in buffer.iter_meta::<gst::ReferenceTimestampMeta>() {
        let name = meta.reference().structure(0).map(|s| s.name().to_string());
        match name.as_deref() {
            Some("timestamp/x-unix") => return Some(meta.timestamp().nseconds()),
            Some("timestamp/x-ntp") => return meta.timestamp().nseconds().checked_sub(NTP_TO_UNIX * 1_000_000_000),
            _ => {}
        }
    }
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let age = sink.current_running_time()?.checked_sub(segment.to_running_time(buffer.pts()?)?)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos() as u64;
    now.checked_sub(age.nseconds())
}
