//! The machine of `boxtrack`: a line of detections in, the tracked boxes of the frame out.

use super::settings::{self, Settings};
use crate::boxes::caps::{self as box_caps, BoxCaps, BoxFormat};
use fcm_analytics::detection::Detection;
use fcm_analytics::tracking::Tracker;
use fcm_analytics::{json, mot};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_transform::{BaseTransformMode, GenerateOutputSuccess};
use gst_base::subclass::prelude::*;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

static CAT: LazyLock<gst::DebugCategory> =
    LazyLock::new(|| gst::DebugCategory::new("boxtrack", gst::DebugColorFlags::empty(), Some("Box tracker")));

/// What the property `stats` counts since the element was started.
#[derive(Debug, Clone, Default)]
struct Stats {
    frames: u64,
    skipped: u64,
    detections: u64,
    objects: u64,
    tracks: u64,
    time: Duration,
}

/// What is kept from frame to frame.
struct Stream {
    tracker: Tracker,
    format: BoxFormat,
    /// Number of the last frame.
    last: Option<u64>,
    detections: Vec<Detection>,
    /// Names of the classes seen so far, by their numbers.
    names: Vec<(u16, String)>,
    line: Vec<u8>,
    text: String,
}

/// Most names of classes that are remembered.
const MAX_NAMES: usize = 1000;

/// The element.
#[derive(Default)]
pub struct BoxTrack {
    settings: Mutex<Settings>,
    stats: Mutex<Stats>,
    stream: Mutex<Option<Stream>>,
}

impl Stream {
    fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            tracker: Tracker::new(settings.tracker.clone()).map_err(|error| error.to_string())?,
            format: BoxFormat::Json,
            last: None,
            detections: Vec::new(),
            names: Vec::new(),
            line: Vec::new(),
            text: String::new(),
        })
    }

    fn restart(&mut self) {
        self.tracker.reset();
        self.last = None;
    }

    /// Tracks the boxes of a frame and writes what is to be sent, which may be nothing.
    fn track(&mut self, line: &[u8], stats: &mut Stats) -> Result<&[u8], String> {
        let mut frame = json::Frame::parse(line).map_err(|error| error.to_string())?;
        // Frames that did not come had no detections; after max-lost of them all tracks have ended.
        let missing = self.last.map_or(0, |last| frame.frame.saturating_sub(last.saturating_add(1)));
        for _ in 0..missing.min(u64::from(self.tracker.config().max_lost) + 1) {
            self.tracker.update(&[]);
        }
        self.last = Some(frame.frame);
        for object in &mut frame.objects {
            let known = self.names.iter().any(|(class, _)| *class == object.class);
            if let Some(name) = object.label.take().filter(|_| !known && self.names.len() < MAX_NAMES) {
                self.names.push((object.class, name));
            }
        }
        self.detections.clear();
        self.detections.extend(frame.objects.iter().map(json::Object::detection));
        let tracked = self.tracker.update(&self.detections);
        stats.frames += 1;
        stats.skipped += missing;
        stats.detections += self.detections.len() as u64;
        stats.objects += tracked.len() as u64;
        stats.tracks = stats.tracks.max(tracked.iter().map(|tracked| tracked.id).max().unwrap_or(0));
        match self.format {
            BoxFormat::Json => {
                let name = |class: u16| self.names.iter().find(|(c, _)| *c == class).map(|(_, name)| name.as_str());
                frame.objects.clear();
                frame.objects.extend(tracked.iter().map(|t| json::Object::from_tracked(t, name(t.class))));
                self.line.clear();
                frame.write(&mut self.line);
                Ok(&self.line)
            }
            BoxFormat::Mot => {
                let number = u32::try_from(frame.frame.saturating_add(1)).ok().filter(|&n| n <= mot::MAX_FRAMES);
                let number = number.ok_or_else(|| {
                    format!("frame {}, MOTChallenge files hold {} frames", frame.frame, mot::MAX_FRAMES)
                })?;
                self.text.clear();
                tracked.iter().for_each(|tracked| mot::write_line(&mut self.text, number, tracked));
                Ok(self.text.as_bytes())
            }
        }
    }
}

impl BoxTrack {
    fn with_stream<R>(&self, f: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        self.stream.lock().unwrap().as_mut().map(f)
    }

    /// Nothing is known of this time.
    fn send_gap(&self, buffer: &gst::BufferRef) {
        if let Some(pts) = buffer.pts() {
            self.obj().src_pad().push_event(gst::event::Gap::builder(pts).duration(buffer.duration()).build());
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for BoxTrack {
    const NAME: &'static str = "GstFcmBoxTrack";
    type Type = super::BoxTrack;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for BoxTrack {
    fn properties() -> &'static [glib::ParamSpec] {
        settings::properties()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        self.settings.lock().unwrap().set(pspec.name(), value);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => {
                let stats = self.stats.lock().unwrap().clone();
                gst::Structure::builder("application/x-boxtrack-stats")
                    .field("frames", stats.frames)
                    .field("skipped", stats.skipped)
                    .field("detections", stats.detections)
                    .field("objects", stats.objects)
                    .field("tracks", stats.tracks)
                    .field("time", stats.time.as_nanos() as u64)
                    .build()
                    .to_value()
            }
            name => self.settings.lock().unwrap().get(name),
        }
    }
}

impl GstObjectImpl for BoxTrack {}

impl ElementImpl for BoxTrack {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Box tracker",
                "Filter/Analyzer/Metadata",
                "Gives the boxes of successive frames numbers that stay with the objects",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let out = box_caps::template(&[BoxFormat::Json, BoxFormat::Mot]);
            crate::coding_element::templates(box_caps::template(&[BoxFormat::Json]), out)
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for BoxTrack {
    const MODE: BaseTransformMode = BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings.lock().unwrap().clone();
        let stream = Stream::new(&settings)
            .map_err(|why| gst::error_msg!(gst::LibraryError::Settings, ["cannot start: {why}"]))?;
        *self.stats.lock().unwrap() = Stats::default();
        *self.stream.lock().unwrap() = Some(stream);
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *self.stream.lock().unwrap() = None;
        Ok(())
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let formats = self.settings.lock().unwrap().formats();
        let formats = if direction == gst::PadDirection::Sink { formats } else { &[BoxFormat::Json] };
        let other = formats.iter().flat_map(|&format| caps.iter().map(move |s| box_caps::structure_like(format, s)));
        Some(box_caps::filtered(other.collect(), filter))
    }

    fn set_caps(&self, incaps: &gst::Caps, outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        gst::debug!(CAT, imp = self, "{incaps} to {outcaps}");
        let format = BoxCaps::parse(outcaps).map_err(|why| gst::loggable_error!(CAT, "{why}"))?.format;
        self.with_stream(|stream| stream.format = format);
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if matches!(event.view(), gst::EventView::StreamStart(_) | gst::EventView::FlushStop(_)) {
            self.with_stream(Stream::restart);
        }
        self.parent_sink_event(event)
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        let Some(buffer) = self.take_queued_buffer() else { return Ok(GenerateOutputSuccess::NoOutput) };
        if buffer.size() == 0 {
            self.send_gap(&buffer);
            return Ok(GenerateOutputSuccess::NoOutput);
        }
        let started = Instant::now();
        let Ok(map) = buffer.map_readable() else {
            gst::element_imp_error!(self, gst::ResourceError::Read, ("the buffer cannot be mapped for reading"));
            return Err(gst::FlowError::Error);
        };
        let mut stats = self.stats.lock().unwrap().clone();
        let tracked = self
            .with_stream(|stream| stream.track(&map, &mut stats).map(|line| (!line.is_empty()).then(|| line.to_vec())));
        let line = match tracked {
            Some(Ok(line)) => line,
            Some(Err(why)) => {
                gst::element_imp_error!(self, gst::StreamError::Decode, ("cannot track boxes: {why}"));
                return Err(gst::FlowError::Error);
            }
            None => return Err(gst::FlowError::Flushing),
        };
        stats.time += started.elapsed();
        *self.stats.lock().unwrap() = stats;
        let Some(line) = line else {
            self.send_gap(&buffer);
            return Ok(GenerateOutputSuccess::NoOutput);
        };
        let mut out = gst::Buffer::from_mut_slice(line);
        let unshared = out.make_mut();
        unshared.set_pts(buffer.pts());
        unshared.set_dts(buffer.dts());
        unshared.set_duration(buffer.duration());
        unshared.set_flags(buffer.flags() & gst::BufferFlags::DISCONT);
        Ok(GenerateOutputSuccess::Buffer(out))
    }
}
