//! A connection to a broker that comes back by itself.

use anyhow::Result;
use rumqttc::{Client, Connection, Event, LastWill, MqttOptions, Packet, Publish, QoS, RecvTimeoutError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Messages that wait for the connection, at most; what does not fit is lost.
const QUEUE: usize = 64;
/// Largest message: `fcmdec` takes no larger access units.
const MAX_MESSAGE: usize = 128 << 20;
/// What has to go out when a link ends gets this long.
const FAREWELL: Duration = Duration::from_secs(2);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(500);

/// How to reach the broker.
#[derive(Debug, Clone)]
pub struct Broker {
    pub host: String,
    pub port: u16,
    /// Name of this client, another one for each.
    pub client: String,
    /// Name and password.
    pub login: Option<(String, String)>,
    pub qos: QoS,
}

/// What a link tells.
pub enum News {
    /// Connected, for the first time or again: subscriptions and retained messages are to be made.
    Connected,
    /// Not connected any more.
    Lost,
    /// A message of what was subscribed to.
    Message(Publish),
}

/// A connection in a thread of its own; it ends when this is dropped.
pub struct Link {
    client: Client,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Connects, and hands what happens to `tell`, in the thread of the connection.
    pub fn start(
        broker: &Broker,
        will: Option<LastWill>,
        mut tell: impl FnMut(&Client, News) + Send + 'static,
    ) -> Result<Self> {
        let mut options = MqttOptions::new(&broker.client, &broker.host, broker.port);
        options.set_keep_alive(Duration::from_secs(5)).set_max_packet_size(MAX_MESSAGE, MAX_MESSAGE);
        if let Some((name, password)) = &broker.login {
            options.set_credentials(name, password);
        }
        if let Some(will) = will {
            options.set_last_will(will);
        }
        let (client, mut connection) = Client::new(options, QUEUE);
        let end = Arc::new(AtomicBool::new(false));
        let (ended, own) = (end.clone(), client.clone());
        let thread = std::thread::Builder::new().name("broker".into()).spawn(move || {
            run(&mut connection, &own, &ended, &mut tell);
        })?;
        Ok(Self { client, end, thread: Some(thread) })
    }

    /// What messages are sent with.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Behind all that was published: with a connection, everything goes out first.
        let _ = self.client.try_disconnect();
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(connection: &mut Connection, client: &Client, end: &AtomicBool, tell: &mut impl FnMut(&Client, News)) {
    let mut connected = false;
    let mut last = None;
    loop {
        if end.load(Ordering::Relaxed) && last.get_or_insert_with(Instant::now).elapsed() > FAREWELL {
            return;
        }
        match connection.recv_timeout(Duration::from_millis(200)) {
            Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                connected = true;
                tell(client, News::Connected);
            }
            Ok(Ok(Event::Incoming(Packet::Publish(message)))) => {
                tell(client, News::Message(message));
            }
            Ok(Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect))) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                if std::mem::take(&mut connected) {
                    eprintln!("connection to the broker lost: {error}");
                    tell(client, News::Lost);
                }
                if end.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(PAUSE);
            }
            Err(RecvTimeoutError::Timeout) => {
                if last.is_some() {
                    return;
                }
            }
        }
    }
}
