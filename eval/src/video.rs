//! Pictures of video files, decoded by GStreamer.

use anyhow::{Context, Result, anyhow, bail, ensure};
use gst::prelude::*;
use image::RgbImage;
use std::path::Path;

/// Time without anything coming out after which a pipeline counts as stuck.
pub const STUCK: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// The decoded frames of a video, one after the other.
pub struct VideoReader {
    pipeline: Running,
    sink: gst_app::AppSink,
    name: String,
}

/// A pipeline that stops when it is dropped.
pub struct Running(pub gst::Pipeline);

impl Running {
    /// Builds a pipeline from a description and starts it.
    ///
    /// # Errors
    /// When an element is missing or the pipeline does not start.
    pub fn launch(description: &str) -> Result<Self> {
        gst::init()?;
        let built = gst::parse::launch_full(description, None, gst::ParseFlags::FATAL_ERRORS);
        let pipeline = built.map_err(|e| anyhow!("{e}; the elements needed are listed in docs/evaluation.md"))?;
        Ok(Self(pipeline.downcast().map_err(|_| anyhow!("not a pipeline"))?))
    }

    /// Lets data flow.
    ///
    /// # Errors
    /// When the pipeline does not start.
    pub fn play(&self) -> Result<()> {
        self.0.set_state(gst::State::Playing).map(|_| ()).map_err(|e| self.error().unwrap_or_else(|| e.into()))
    }

    /// The element of this name, which the description must have.
    pub fn element<T: IsA<gst::Element>>(&self, name: &str) -> Result<T> {
        let element = self.0.by_name(name).with_context(|| format!("no element {name}"))?;
        element.downcast().map_err(|_| anyhow!("{name} is of another kind"))
    }

    /// The first error that was posted, if there is one.
    pub fn error(&self) -> Option<anyhow::Error> {
        let message = self.0.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(e) = message.view() else { return None };
        let from = e.src().map_or_else(String::new, |s| format!("{}: ", s.name()));
        Some(anyhow!("{from}{}", e.error()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing is left to be done about a pipeline that will not stop.
        let _ = self.0.set_state(gst::State::Null);
    }
}

impl VideoReader {
    /// Opens a video file.
    ///
    /// # Errors
    /// When it cannot be read or no decoder for it is installed.
    pub fn open(path: &Path) -> Result<Self> {
        // Opened here for an error that names the file.
        std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let pipeline = Running::launch(
            "filesrc name=from ! decodebin ! videoconvert ! video/x-raw,format=RGB \
             ! appsink name=to sync=false max-buffers=4",
        )?;
        pipeline.element::<gst::Element>("from")?.set_property("location", path);
        let sink = pipeline.element("to")?;
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        pipeline.play().with_context(|| format!("cannot decode {name}"))?;
        Ok(Self { pipeline, sink, name })
    }

    /// The next picture; `None` after the last.
    ///
    /// # Errors
    /// When decoding fails.
    pub fn next(&mut self) -> Result<Option<RgbImage>> {
        let context = || format!("cannot decode {}", self.name);
        match self.sink.try_pull_sample(STUCK) {
            Some(sample) => picture(&sample).map(Some).with_context(context),
            None => match self.pipeline.error() {
                Some(e) => Err(e).with_context(context),
                None if self.sink.is_eos() => Ok(None),
                None => bail!("{}: nothing came out for {} s", context(), STUCK.seconds()),
            },
        }
    }
}

/// The picture in a sample of RGB video.
///
/// # Errors
/// When the sample is not a whole picture.
pub fn picture(sample: &gst::Sample) -> Result<RgbImage> {
    let buffer = sample.buffer().context("a sample without a buffer")?;
    let structure = sample.caps().and_then(|c| c.structure(0)).context("a sample without caps")?;
    let (width, height) = (structure.get::<i32>("width")?, structure.get::<i32>("height")?);
    ensure!(width > 0 && height > 0, "a picture of {width}x{height}");
    let (row, height) = (3 * width as usize, height as usize);
    let map = buffer.map_readable()?;
    // Rows begin at multiples of four bytes.
    let stride = row.next_multiple_of(4);
    ensure!(map.len() >= stride * (height - 1) + row, "{} bytes for {width}x{height} RGB pixels", map.len());
    let pixels = (0..height).flat_map(|y| &map[y * stride..y * stride + row]).copied().collect();
    RgbImage::from_raw(width as u32, height as u32, pixels).context("a picture of another size than its caps say")
}

/// A picture as a buffer of RGB video, rows at multiples of four bytes.
pub fn buffer(picture: &RgbImage) -> gst::Buffer {
    let row = 3 * picture.width() as usize;
    let stride = row.next_multiple_of(4);
    let mut bytes = vec![0; stride * picture.height() as usize];
    for (to, from) in bytes.chunks_exact_mut(stride).zip(picture.as_raw().chunks_exact(row)) {
        to[..row].copy_from_slice(from);
    }
    gst::Buffer::from_mut_slice(bytes)
}
