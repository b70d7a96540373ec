//! A UDP relay that does to datagrams what a [`Channel`] says.

use super::channel::{Channel, Conditions, Counts};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for a datagram before the relay looks whether it is to end.
const TICK: Duration = Duration::from_millis(20);
/// Most datagrams under way; more would be a mistake of the caller's.
const MOST: usize = 100_000;

/// A relay in a thread of its own; it ends when this is dropped.
pub struct Relay {
    address: SocketAddr,
    counts: Arc<Mutex<Counts>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Relay {
    /// Receives at `from` (port 0: any free one) and sends to `to` what the network lets through.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(from: SocketAddr, to: SocketAddr, conditions: Conditions) -> io::Result<Self> {
        let socket = UdpSocket::bind(from)?;
        let address = socket.local_addr()?;
        let (counts, end) = (Arc::new(Mutex::new(Counts::default())), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (counts, end) = (counts.clone(), end.clone());
            std::thread::Builder::new()
                .name("relay".into())
                .spawn(move || run(&socket, to, conditions, &counts, &end))?
        };
        Ok(Self { address, counts, end, thread: Some(thread) })
    }

    /// Where it receives.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What became of the packets so far.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    socket: &UdpSocket,
    to: SocketAddr,
    conditions: Conditions,
    counts: &Mutex<Counts>,
    end: &AtomicBool,
) -> io::Result<()> {
    let mut channel = Channel::new(conditions);
    let start = Instant::now();
    // By time, and at equal times in the order in which they came.
    let mut under_way: BinaryHeap<Reverse<(Duration, u64, Vec<u8>)>> = BinaryHeap::new();
    let mut came = 0;
    let mut datagram = vec![0; 65_536];
    while !end.load(Ordering::Relaxed) {
        let now = start.elapsed();
        while under_way.peek().is_some_and(|Reverse((time, ..))| *time <= now) {
            if let Some(Reverse((_, _, bytes))) = under_way.pop() {
                // Nobody may be listening yet, or any more: that is what networks are like.
                let _ = socket.send_to(&bytes, to);
            }
        }
        let wait = under_way.peek().map_or(TICK, |Reverse((time, ..))| TICK.min(time.saturating_sub(now)));
        socket.set_read_timeout(Some(wait.max(Duration::from_micros(100))))?;
        match socket.recv_from(&mut datagram) {
            Ok((size, _)) => {
                for time in channel.pass(size, start.elapsed()) {
                    if under_way.len() < MOST {
                        under_way.push(Reverse((time, came, datagram[..size].to_vec())));
                        came += 1;
                    }
                }
                *counts.lock().unwrap() = channel.counts();
            }
            Err(err)
                if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused) => {
            }
            Err(err) => return Err(err),
        }
    }
    Ok(())
}
