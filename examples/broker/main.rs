//! Features through an MQTT broker: many cameras publish, whoever is interested subscribes, late ones too.
//!
//! ```text
//! cargo run --example broker -- publish --topic site/gate filesrc location=scene.fcm ! fcmparse ! identity sync=true
//! cargo run --example broker -- subscribe --topic site/gate fcmdec ! fakesink silent=false -v
//! ```
//!
//! One access unit a message (message.rs); caps are retained. Both sides reconnect. Between appsrc and appsink this is all an application needs.

mod link;
mod message;
mod publish;
mod subscribe;

use anyhow::{Context, Result, bail};
use gst::prelude::*;
use link::Broker;
use rumqttc::QoS;
use std::time::Instant;

const HELP: &str = "broker publish --topic TOPIC [options] PIPELINE    a pipeline that gives application/x-fcm
broker subscribe --topic TOPIC [options] PIPELINE  a pipeline that takes it
  --broker HOST:PORT   127.0.0.1:1883
  --qos 0|1            0: at most once; 1: at least once (0)
  --client NAME        another one for each client; of process and topic
  --user NAME          its password is in the environment variable FCM_BROKER_PASSWORD
  --end                subscribe: ends when the publisher does
Prints counts every ten seconds.";

enum Side {
    Publish(publish::Publisher),
    Subscribe(subscribe::Subscriber),
}

impl Side {
    fn bus(&self) -> Option<gst::Bus> {
        match self {
            Self::Publish(side) => side.pipeline().bus(),
            Self::Subscribe(side) => side.pipeline().bus(),
        }
    }

    fn report(&self) {
        match self {
            Self::Publish(side) => eprintln!("{:?}", side.counts()),
            Self::Subscribe(side) => eprintln!("{:?}", side.counts()),
        }
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let side = arguments.next().context(HELP)?;
    if side == "--help" {
        println!("{HELP}");
        return Ok(());
    }
    let mut broker =
        Broker { host: "127.0.0.1".into(), port: 1883, client: String::new(), login: None, qos: QoS::AtMostOnce };
    let (mut topic, mut end) = (None, false);
    while let Some(name) = arguments.next_if(|argument| argument.starts_with("--")) {
        if name == "--end" {
            end = true;
            continue;
        }
        let value = arguments.next().with_context(|| format!("{name} without a value\n{HELP}"))?;
        match name.as_str() {
            "--topic" => topic = Some(value),
            "--broker" => {
                let (host, port) = value.rsplit_once(':').with_context(|| format!("{name} {value}: no port"))?;
                broker.port = port.parse().with_context(|| format!("{name} {value}"))?;
                broker.host = host.to_owned();
            }
            "--qos" => {
                broker.qos = match value.as_str() {
                    "0" => QoS::AtMostOnce,
                    "1" => QoS::AtLeastOnce,
                    _ => bail!("{name} {value}: legal are 0 and 1"),
                }
            }
            "--client" => broker.client = value,
            "--user" => {
                let password = std::env::var("FCM_BROKER_PASSWORD").context("FCM_BROKER_PASSWORD is not set")?;
                broker.login = Some((value, password));
            }
            _ => bail!("unknown option {name}\n{HELP}"),
        }
    }
    let topic = topic.with_context(|| format!("--topic is needed\n{HELP}"))?;
    if broker.client.is_empty() {
        broker.client = format!("fcm-{side}-{}-{}", std::process::id(), topic.replace('/', "-"));
    }
    let description = arguments.collect::<Vec<_>>().join(" ");

    gst::init()?;
    // Links the plugin into this program. With the plugin installed this line is not needed.
    gstfcm::plugin_register_static()?;
    let side = match side.as_str() {
        "publish" => Side::Publish(publish::Publisher::start(&broker, &topic, &description)?),
        "subscribe" => Side::Subscribe(subscribe::Subscriber::start(&broker, &topic, &description, end)?),
        _ => bail!("{side}: legal are publish and subscribe\n{HELP}"),
    };
    let bus = side.bus().context("no bus")?;
    let mut reported = Instant::now();
    loop {
        let kinds = [gst::MessageType::Error, gst::MessageType::Eos, gst::MessageType::Warning];
        match bus.timed_pop_filtered(gst::ClockTime::SECOND, &kinds).as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(e)) => bail!("{}: {:?}", e.error(), e.debug()),
            Some(gst::MessageView::Warning(w)) => eprintln!("{}", w.error()),
            Some(_) => break,
            None => {}
        }
        if reported.elapsed().as_secs() >= 10 {
            side.report();
            reported = Instant::now();
        }
    }
    side.report();
    Ok(())
}
