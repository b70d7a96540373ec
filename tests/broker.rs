//! Features through an MQTT broker (examples/broker): a real `mosquitto` in between; SKIPPED where there is none.

mod common;

#[allow(dead_code, reason = "its program uses more of it")]
#[path = "../examples/broker/link.rs"]
mod link;
#[allow(dead_code, reason = "its program uses more of it")]
#[path = "../examples/broker/message.rs"]
mod message;
#[path = "../examples/broker/publish.rs"]
mod publish;
#[path = "../examples/broker/subscribe.rs"]
mod subscribe;

use anyhow::{Context, Result, ensure};
use common::live::*;
use common::*;
use gst::prelude::*;
use link::Broker;
use publish::Publisher;
use rumqttc::QoS;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use subscribe::Subscriber;

const PERIOD: Duration = Duration::from_millis(10);
const TOPIC: &str = "site/gate";

/// A broker of the test's own on the loopback interface.
struct Mosquitto {
    child: Option<Child>,
    settings: PathBuf,
    port: u16,
}

impl Mosquitto {
    /// `None`, with a line that says so, where it is not installed.
    fn new() -> Result<Option<Self>> {
        let port = free_port();
        let settings = std::env::temp_dir().join(format!("fcm-test-mosquitto-{port}.conf"));
        std::fs::write(&settings, format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"))?;
        let mut broker = Self { child: None, settings, port };
        if let Err(error) = broker.start() {
            println!("SKIPPED: no mosquitto here ({error:#})");
            return Ok(None);
        }
        Ok(Some(broker))
    }

    fn start(&mut self) -> Result<()> {
        // Debian has it where only root looks.
        let spawn = |program: &str| {
            Command::new(program).arg("-c").arg(&self.settings).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        self.child = Some(spawn("mosquitto").or_else(|_| spawn("/usr/sbin/mosquitto"))?);
        wait("the broker to listen", || TcpStream::connect(("127.0.0.1", self.port)).is_ok())
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn client(&self, client: &str, qos: QoS) -> Broker {
        Broker { host: "127.0.0.1".into(), port: self.port, client: client.into(), login: None, qos }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_file(&self.settings);
    }
}

fn publisher(broker: &Mosquitto, name: &str, description: &str) -> Result<Publisher> {
    let publisher = Publisher::start(&broker.client(name, QoS::AtMostOnce), TOPIC, description)?;
    wait("the publisher's connection", || publisher.counts().connections == 1)?;
    Ok(publisher)
}

fn subscriber(broker: &Mosquitto, name: &str, end: bool) -> Result<(Subscriber, Arrived)> {
    let description = "fcmdec name=dec ! fakesink name=sink sync=false async=false";
    let subscriber = Subscriber::start(&broker.client(name, QoS::AtMostOnce), TOPIC, description, end)?;
    let arrived = Arrived::at(subscriber.pipeline(), "sink")?;
    wait("the subscriber's connection", || subscriber.counts().connections == 1)?;
    // Subscriptions travel too.
    std::thread::sleep(Duration::from_millis(200));
    Ok((subscriber, arrived))
}

const UNITS: &str = "appsrc name=src format=time is-live=true";

#[test]
fn every_frame_arrives_with_its_time_and_capture_time() -> Result<()> {
    const FRAMES: usize = 60;
    init();
    let Some(broker) = Mosquitto::new()? else { return Ok(()) };
    let mut coded = Coded::small(FRAMES, 16)?;
    let reference = gst::Caps::new_empty_simple("timestamp/x-unix");
    let captured = |n: usize| 1_700_000_000_000_000_000 + 40_000_000 * n as u64;
    for (n, unit) in coded.units.iter_mut().enumerate() {
        let time = gst::ClockTime::from_nseconds(captured(n));
        gst::ReferenceTimestampMeta::add(unit.make_mut(), &reference, time, None);
    }
    let (subscriber, arrived) = subscriber(&broker, "s", true)?;
    let publisher = publisher(&broker, "p", UNITS)?;
    coded.feed(publisher.pipeline(), 0..FRAMES, PERIOD)?.finish()?;
    arrived.wait(FRAMES)?;
    coded.expect(&arrived, 0..FRAMES)?;
    let frames = arrived.frames();
    let first = frames[0].pts.context("a PTS")?;
    for (n, frame) in frames.iter().enumerate() {
        assert_eq!(frame.pts, Some(first + FRAME * n as u64), "frame {n}");
        assert_eq!(frame.references, [("timestamp/x-unix".to_owned(), captured(n))], "frame {n}");
        assert_eq!(frame.discont, n == 0, "frame {n}");
    }
    assert_eq!(publisher.counts().dropped, 0);
    drop(publisher);
    // The publisher says that it goes, and the subscriber was to end then.
    let bus = subscriber.pipeline().bus().context("no bus")?;
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(10), &[gst::MessageType::Eos]);
    ensure!(message.is_some(), "the subscriber does not end");
    Ok(())
}

#[test]
fn who_subscribes_late_begins_at_a_random_access_point() -> Result<()> {
    const FRAMES: usize = 100;
    init();
    let Some(broker) = Mosquitto::new()? else { return Ok(()) };
    let coded = Coded::small(FRAMES, 16)?;
    let publisher = publisher(&broker, "p", UNITS)?;
    let feed = coded.feed(publisher.pipeline(), 0..FRAMES, PERIOD)?;
    wait("units", || publisher.counts().units > 20)?;
    let (_subscriber, arrived) = subscriber(&broker, "s", false)?;
    feed.finish()?;
    wait("the last frame", || {
        arrived.frames().last().is_some_and(|last| coded.numbers(std::slice::from_ref(last)).is_ok_and(|n| n == [99]))
    })?;
    let numbers = coded.numbers(&arrived.frames())?;
    ensure!(numbers[0] > 20 && numbers[0] % 16 == 0, "begins at {}", numbers[0]);
    coded.expect(&arrived, numbers[0]..FRAMES)
}

#[test]
fn who_subscribes_late_can_ask_the_encoder_for_it() -> Result<()> {
    init();
    let Some(broker) = Mosquitto::new()? else { return Ok(()) };
    let features = Features::small();
    let publisher =
        publisher(&broker, "p", "appsrc name=src format=time is-live=true ! fcmenc name=enc key-int-max=0")?;
    let frames = (0..600).map(|t| features.buffer(t)).collect();
    let _feed = Feed::start(publisher.pipeline(), &features.caps(), frames, PERIOD)?;
    wait("units", || publisher.counts().units > 20)?;
    let (_subscriber, arrived) = subscriber(&broker, "s", false)?;
    // Without a request there is none within these 600 frames.
    arrived.wait(10)?;
    ensure!(publisher.counts().requests > 0);
    Ok(())
}

#[test]
fn both_sides_come_back_after_the_broker_was_away() -> Result<()> {
    init();
    let Some(mut broker) = Mosquitto::new()? else { return Ok(()) };
    let features = Features::small();
    let publisher =
        publisher(&broker, "p", "appsrc name=src format=time is-live=true ! fcmenc name=enc key-int-max=0")?;
    let frames = (0..3000).map(|t| features.buffer(t)).collect();
    let (subscriber, arrived) = subscriber(&broker, "s", false)?;
    let _feed = Feed::start(publisher.pipeline(), &features.caps(), frames, PERIOD)?;
    arrived.wait(20)?;
    broker.stop();
    wait("units to be dropped", || publisher.counts().dropped > 5)?;
    let before = arrived.len();
    broker.start()?;
    arrived.wait(before + 20)?;
    let counts = subscriber.counts();
    ensure!(publisher.counts().connections >= 2 && counts.connections >= 2, "{counts:?}");
    ensure!(counts.missing > 0 && counts.sessions == 1, "{counts:?}");
    // What was predicted from lost units was not shown.
    let dec = subscriber.pipeline().by_name("dec").context("dec")?;
    assert_eq!(dec.property::<gst::Structure>("stats").get::<u64>("corrupt")?, 0);
    Ok(())
}

#[test]
fn a_publisher_that_restarts_with_other_shapes_is_followed() -> Result<()> {
    const FRAMES: usize = 20;
    init();
    let Some(broker) = Mosquitto::new()? else { return Ok(()) };
    let (subscriber, arrived) = subscriber(&broker, "s", false)?;
    let other = Features::one(fcm_codec::Shape::chw(5, 9, 7));
    let streams = [Coded::small(FRAMES, 16)?, Coded::new(&other, FRAMES, &[("qp", "18")])?];
    for (n, coded) in streams.iter().enumerate() {
        let publisher = publisher(&broker, "p", UNITS)?;
        coded.feed(publisher.pipeline(), 0..FRAMES, PERIOD)?.finish()?;
        arrived.wait((n + 1) * FRAMES)?;
        let numbers = coded.numbers(&arrived.frames()[n * FRAMES..])?;
        assert_eq!(numbers, (0..FRAMES).collect::<Vec<_>>());
    }
    assert_eq!(subscriber.counts().sessions, 2);
    Ok(())
}
