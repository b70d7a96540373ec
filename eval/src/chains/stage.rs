//! A pipeline of video elements that is fed buffer by buffer, and its time.

use super::coder::{Coder, Take, Unit};
use crate::video::{Running, STUCK};
use anyhow::{Context, Result, bail};
use gst::prelude::*;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A pipeline from an application source to an application sink that gives one buffer for each it takes, at once.
pub struct Stage {
    pipeline: Running,
    source: gst_app::AppSrc,
    sink: gst_app::AppSink,
    framerate: (u32, u32),
    /// Buffers put in, and of them those in it.
    taken: u64,
    inside: u64,
    /// Time with a buffer in it.
    pub busy: Duration,
}

impl Stage {
    /// Starts `elements` on buffers with caps `caps` (to which the frame rate is added), up to buffers with caps `out`.
    ///
    /// # Errors
    /// When the pipeline cannot be made or started.
    pub fn start(caps: &str, framerate: (u32, u32), elements: &str, out: &str) -> Result<Self> {
        let pipeline = Running::launch(&format!(
            "appsrc name=from format=time ! {elements} ! {out} ! appsink name=to sync=false"
        ))?;
        let source: gst_app::AppSrc = pipeline.element("from")?;
        let caps = format!("{caps},framerate={}/{}", framerate.0, framerate.1);
        source.set_caps(Some(&caps.parse::<gst::Caps>()?));
        let sink = pipeline.element("to")?;
        pipeline.play()?;
        Ok(Self { pipeline, source, sink, framerate, taken: 0, inside: 0, busy: Duration::ZERO })
    }

    /// Puts a buffer in, the next in time, and takes out what comes of it.
    ///
    /// # Errors
    /// When an element fails or keeps the buffer.
    pub fn push(&mut self, mut buffer: gst::Buffer) -> Result<VecDeque<gst::Sample>> {
        stamp(buffer.make_mut(), self.taken, self.framerate);
        self.taken += 1;
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

impl Coder for Stage {
    fn push(&mut self, data: Vec<u8>, take: Take<'_>) -> Result<()> {
        hand_on(Stage::push(self, gst::Buffer::from_mut_slice(data))?, take)
    }

    fn finish(&mut self, take: Take<'_>) -> Result<()> {
        hand_on(Stage::finish(self)?, take)
    }

    fn busy(&self) -> Duration {
        self.busy
    }
}

fn hand_on(samples: VecDeque<gst::Sample>, take: Take<'_>) -> Result<()> {
    for sample in samples {
        let buffer = sample.buffer().context("a sample without a buffer")?;
        let map = buffer.map_readable().context("a buffer that cannot be read")?;
        take(Unit { data: &map, random_access: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) })?;
    }
    Ok(())
}

fn stamp(buffer: &mut gst::BufferRef, n: u64, (rate_n, rate_d): (u32, u32)) {
    let time = |n: u64| gst::ClockTime::SECOND.mul_div_floor(n * u64::from(rate_d), rate_n.into());
    buffer.set_pts(time(n));
    buffer.set_duration(time(1));
}

/// Versions of the plugins of elements, each named with the Debian package that has it.
///
/// # Errors
/// When one is not installed.
pub fn versions(elements: &[(&str, &str)]) -> Result<Vec<String>> {
    gst::init()?;
    let version = |&(element, package): &(&str, &str)| {
        let factory = gst::ElementFactory::find(element);
        let factory = factory.with_context(|| format!("there is no element {element} (Debian: {package})"))?;
        Ok(factory.plugin().map_or_else(String::new, |p| p.version().to_string()))
    };
    elements.iter().map(version).collect()
}
