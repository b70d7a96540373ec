//! Sends a coded stream over RTP again and again, in real time, as a camera would.

use super::features::Coded;
use anyhow::{Context, Result};
use gst::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One camera; it ends, without a word, when this is dropped.
pub struct Sender {
    pipeline: gst::Pipeline,
    end: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    /// Another stream to send instead.
    next: Arc<Mutex<Option<Coded>>>,
    feeder: Option<JoinHandle<()>>,
}

impl Sender {
    /// Sends to 127.0.0.1:`port`, a frame every `period`, the first one after `phase`.
    pub fn start(coded: &Coded, port: u16, ssrc: u32, period: Duration, phase: Duration) -> Result<Self> {
        let description = format!(
            "appsrc name=src is-live=true do-timestamp=true format=time ! rtpfcmpay mtu=1200 ssrc={ssrc} \
             ! udpsink host=127.0.0.1 port={port} sync=false async=false"
        );
        let pipeline = gst::parse::launch(&description)?.downcast::<gst::Pipeline>().ok().context("no pipeline")?;
        let source = pipeline.by_name("src").and_downcast::<gst_app::AppSrc>().context("no appsrc")?;
        source.set_caps(Some(&coded.caps));
        pipeline.set_state(gst::State::Playing)?;
        let (end, sent, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::default());
        let (ended, count, mut units) = (end.clone(), sent.clone(), coded.units.clone());
        let switched: Arc<Mutex<Option<Coded>>> = Arc::clone(&next);
        let feeder = std::thread::Builder::new().name(format!("camera {ssrc}")).spawn(move || {
            let start = Instant::now() + phase;
            let mut at = 0;
            for n in 0.. {
                std::thread::sleep((start + period * n).saturating_duration_since(Instant::now()));
                if let Some(other) = switched.lock().unwrap().take() {
                    source.set_caps(Some(&other.caps));
                    (units, at) = (other.units, 0);
                }
                let mut unit = units[at].copy();
                at = (at + 1) % units.len();
                if let Some(unshared) = unit.get_mut() {
                    unshared.set_pts(gst::ClockTime::NONE);
                }
                if ended.load(Ordering::Relaxed) || source.push_buffer(unit).is_err() {
                    return;
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        Ok(Self { pipeline, end, sent, next, feeder: Some(feeder) })
    }

    /// Goes on with another stream, as an encoder that was set up anew would.
    #[allow(dead_code, reason = "tests do")]
    pub fn switch(&self, coded: &Coded) {
        *self.next.lock().unwrap() = Some(coded.clone());
    }

    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(feeder) = self.feeder.take() {
            let _ = feeder.join();
        }
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
