//! A pipeline of video elements that is fed buffer by buffer, and its time.

use crate::video::{Running, STUCK};
use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A pipeline from an application source to an application sink that gives one buffer for each it takes, at once.
pub struct Stage {
    pipeline: Running,
    source: gst_app::AppSrc,
    sink: gst_app::AppSink,
    /// Buffers in it.
    inside: u64,
    /// Time with a buffer in it.
    pub busy: Duration,
}

impl Stage {
    /// Starts `elements` on buffers with caps `caps`, up to buffers with caps `out`.
    ///
    /// # Errors
    /// When the pipeline cannot be made or started.
    pub fn start(caps: &str, elements: &str, out: &str) -> Result<Self> {
        let pipeline = Running::launch(&format!(
            "appsrc name=from format=time ! {elements} ! {out} ! appsink name=to sync=false"
        ))?;
        let source: gst_app::AppSrc = pipeline.element("from")?;
        source.set_caps(Some(&caps.parse::<gst::Caps>()?));
        let sink = pipeline.element("to")?;
        pipeline.play()?;
        Ok(Self { pipeline, source, sink, inside: 0, busy: Duration::ZERO })
    }

    /// Puts a buffer in and takes out what comes of it.
    ///
    /// # Errors
    /// When an element fails or keeps the buffer.
    pub fn push(&mut self, buffer: gst::Buffer) -> Result<VecDeque<gst::Sample>> {
        let clock = Instant::now();
        if self.source.push_buffer(buffer).is_err() {
            bail!(self.pipeline.error().unwrap_or_else(|| anyhow::anyhow!("the pipeline takes no more")));
        }
        self.inside += 1;
        // Nothing reorders or looks ahead, so what went in comes out; an encoder that keeps a frame is refused rather
        // than measured as if it had no delay.
        let sample = self.pull()?.context("the pipeline ended early")?;
        self.busy += clock.elapsed();
        Ok(VecDeque::from([sample]))
    }

    /// Takes out the rest.
    ///
    /// # Errors
    /// When an element fails.
    pub fn finish(&mut self) -> Result<VecDeque<gst::Sample>> {
        let clock = Instant::now();
        // A pipeline that is gone says so when it is asked for samples.
        let _ = self.source.end_of_stream();
        let mut rest = VecDeque::new();
        while let Some(sample) = self.pull()? {
            rest.push_back(sample);
        }
        self.busy += clock.elapsed();
        Ok(rest)
    }

    fn pull(&mut self) -> Result<Option<gst::Sample>> {
        match self.sink.try_pull_sample(STUCK) {
            Some(sample) => {
                self.inside = self.inside.saturating_sub(1);
                Ok(Some(sample))
            }
            None => match self.pipeline.error() {
                Some(e) => Err(e),
                None if self.sink.is_eos() => Ok(None),
                None => bail!("{} frames stay in the pipeline, it must have no delay", self.inside),
            },
        }
    }
}
