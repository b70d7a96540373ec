//! The machine of `boxoverlay`: pictures wait for their boxes, which are drawn in place.

use super::canvas::{Canvas, FORMATS};
use super::drawing;
use super::settings::{self, Settings};
use crate::boxes::caps::{self as box_caps, BoxFormat};
use fcm_analytics::json;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use gst_base::{AGGREGATOR_FLOW_NEED_DATA, AggregatorPad};
use gst_video::{VideoCapsBuilder, VideoFrameRef, VideoInfo};
use std::sync::{LazyLock, Mutex};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("boxoverlay", gst::DebugColorFlags::empty(), Some("Draws boxes on pictures"))
});

/// Times of a picture and of its boxes may differ by this: containers and RTP round them.
const TOLERANCE: gst::ClockTime = gst::ClockTime::from_mseconds(1);

/// What the property `stats` counts since the element was started.
#[derive(Debug, Clone, Default)]
struct Stats {
    frames: u64,
    matched: u64,
    held: u64,
    bare: u64,
    late: u64,
}

/// The last boxes and their running time.
struct Boxes {
    time: gst::ClockTime,
    /// Nothing for a gap.
    frame: Option<json::Frame>,
    drawn: bool,
}

/// What is kept from frame to frame.
#[derive(Default)]
struct Stream {
    info: Option<VideoInfo>,
    last: Option<Boxes>,
    text: String,
}

/// The element.
pub struct BoxOverlay {
    video: AggregatorPad,
    boxes: AggregatorPad,
    settings: Mutex<Settings>,
    stats: Mutex<Stats>,
    stream: Mutex<Stream>,
}

/// When a buffer of this pad is presented.
fn running_time(pad: &AggregatorPad, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    let segment = pad.segment();
    segment.downcast_ref::<gst::ClockTime>()?.to_running_time(buffer.pts()?)
}

impl BoxOverlay {
    /// Takes all boxes up to those of a picture at `time`. `false` when they may still come.
    fn collect(&self, stream: &mut Stream, time: gst::ClockTime, timeout: bool) -> Result<bool, String> {
        let until = time + TOLERANCE;
        loop {
            let Some(buffer) = self.boxes.peek_buffer() else {
                let here = stream.last.as_ref().is_some_and(|last| last.time + TOLERANCE >= time);
                return Ok(here || timeout || self.boxes.is_eos());
            };
            match running_time(&self.boxes, &buffer) {
                Some(later) if later > until => return Ok(true),
                boxes_time => {
                    self.boxes.drop_buffer();
                    // Boxes without a time, or outside of their segment, belong to no picture.
                    let Some(boxes_time) = boxes_time else { continue };
                    let skipped = stream.last.as_ref().is_some_and(|last| !last.drawn && last.frame.is_some());
                    self.stats.lock().unwrap().late += u64::from(skipped);
                    let frame = if buffer.size() == 0 {
                        None
                    } else {
                        let map = buffer.map_readable().map_err(|error| error.to_string())?;
                        Some(json::Frame::parse(&map).map_err(|error| error.to_string())?)
                    };
                    stream.last = Some(Boxes { time: boxes_time, frame, drawn: false });
                }
            }
        }
    }

    /// Draws what belongs on a picture at `time`.
    fn draw(&self, stream: &mut Stream, time: Option<gst::ClockTime>, buffer: &mut gst::Buffer) -> Result<(), String> {
        let settings = *self.settings.lock().unwrap();
        let Stream { info, last, text } = stream;
        let last = last.as_mut().zip(time).filter(|(last, time)| *time <= last.time + TOLERANCE.max(settings.max_age));
        let matched = last.as_ref().is_some_and(|(last, time)| *time <= last.time + TOLERANCE);
        let frame = last.and_then(|(last, _)| {
            last.drawn = true;
            last.frame.as_ref()
        });
        {
            let mut stats = self.stats.lock().unwrap();
            stats.frames += 1;
            match frame {
                Some(_) if matched => stats.matched += 1,
                Some(_) => stats.held += 1,
                None => stats.bare += 1,
            }
        }
        let Some(frame) = frame.filter(|frame| !frame.objects.is_empty()) else { return Ok(()) };
        let info = info.as_ref().ok_or("pictures came before their caps")?;
        let mapped = VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), info)
            .map_err(|_| "the picture cannot be mapped for writing")?;
        drawing::draw(&mut Canvas::new(mapped), frame, settings.style, text);
        Ok(())
    }

    /// The next picture with its boxes; `None` when something is missing.
    fn next(&self, stream: &mut Stream, timeout: bool) -> Result<Option<gst::Buffer>, String> {
        let picture = loop {
            let Some(picture) = self.video.peek_buffer() else { return Ok(None) };
            if picture.size() > 0 {
                break picture;
            }
            // A gap: there is nothing to draw on.
            self.video.drop_buffer();
        };
        let time = running_time(&self.video, &picture);
        if let Some(time) = time
            && !self.collect(stream, time, timeout)?
        {
            return Ok(None);
        }
        drop(picture);
        let Some(mut picture) = self.video.pop_buffer() else { return Ok(None) };
        self.draw(stream, time, &mut picture)?;
        Ok(Some(picture))
    }
}

#[glib::object_subclass]
impl ObjectSubclass for BoxOverlay {
    const NAME: &'static str = "GstFcmBoxOverlay";
    type Type = super::BoxOverlay;
    type ParentType = gst_base::Aggregator;

    fn with_class(_: &Self::Class) -> Self {
        let pad = |name: &str| {
            let template = Self::pad_templates().iter().find(|template| template.name_template() == name);
            gst::PadBuilder::from_template(template.expect("the element has this template")).build()
        };
        Self {
            video: pad("video"),
            boxes: pad("boxes"),
            settings: Mutex::default(),
            stats: Mutex::default(),
            stream: Mutex::default(),
        }
    }
}

impl ObjectImpl for BoxOverlay {
    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        for pad in [&self.video, &self.boxes] {
            obj.add_pad(pad).expect("a new element has no sink pads");
        }
    }

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
                gst::Structure::builder("application/x-boxoverlay-stats")
                    .field("frames", stats.frames)
                    .field("matched", stats.matched)
                    .field("held", stats.held)
                    .field("bare", stats.bare)
                    .field("late", stats.late)
                    .build()
                    .to_value()
            }
            name => self.settings.lock().unwrap().get(name),
        }
    }
}

impl GstObjectImpl for BoxOverlay {}

impl ElementImpl for BoxOverlay {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Box overlay",
                "Filter/Effect/Video/Overlay",
                "Draws boxes with their numbers and names on pictures",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let pad = |name, direction, caps| {
                let kind = AggregatorPad::static_type();
                gst::PadTemplate::with_gtype(name, direction, gst::PadPresence::Always, &caps, kind)
                    .expect("the caps are legal")
            };
            let video = VideoCapsBuilder::new().format_list(FORMATS).build();
            vec![
                pad("video", gst::PadDirection::Sink, video.clone()),
                pad("boxes", gst::PadDirection::Sink, box_caps::template(&[BoxFormat::Json])),
                pad("src", gst::PadDirection::Src, video),
            ]
        });
        &TEMPLATES
    }
}

impl AggregatorImpl for BoxOverlay {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        *self.stats.lock().unwrap() = Stats::default();
        *self.stream.lock().unwrap() = Stream::default();
        self.parent_start()
    }

    fn flush(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.stream.lock().unwrap().last = None;
        self.parent_flush()
    }

    fn aggregate(&self, timeout: bool) -> Result<gst::FlowSuccess, gst::FlowError> {
        let picture = self.next(&mut self.stream.lock().unwrap(), timeout);
        match picture {
            Ok(Some(picture)) => {
                let obj = self.obj();
                if let Some(pts) = picture.pts() {
                    obj.set_position(pts + picture.duration().unwrap_or(gst::ClockTime::ZERO));
                }
                gst::trace!(CAT, imp = self, "picture at {:?}", picture.pts());
                obj.finish_buffer(picture)
            }
            Ok(None) if self.video.is_eos() => Err(gst::FlowError::Eos),
            Ok(None) => Err(AGGREGATOR_FLOW_NEED_DATA),
            Err(why) => {
                gst::element_imp_error!(self, gst::StreamError::Decode, ("cannot draw boxes: {why}"));
                Err(gst::FlowError::Error)
            }
        }
    }

    /// A live picture waits up to its own time plus latency; without one there is nothing to be on time for, and after the
    /// last one no boxes are waited for.
    fn next_time(&self) -> Option<gst::ClockTime> {
        match self.video.peek_buffer() {
            Some(picture) => running_time(&self.video, &picture),
            None => self.video.is_eos().then_some(gst::ClockTime::ZERO),
        }
    }

    fn sink_event(&self, pad: &AggregatorPad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "{event:?}");
        match event.view() {
            gst::EventView::Caps(e) if *pad == self.video => match VideoInfo::from_caps(e.caps()) {
                Ok(info) => {
                    self.stream.lock().unwrap().info = Some(info);
                    self.obj().set_src_caps(&e.caps_owned());
                }
                Err(error) => {
                    gst::element_imp_error!(self, gst::CoreError::Negotiation, ("cannot take {}: {error}", e.caps()));
                    return false;
                }
            },
            gst::EventView::Segment(e) if *pad == self.video => match e.segment().downcast_ref::<gst::ClockTime>() {
                Some(segment) => self.obj().update_segment(segment),
                None => {
                    let format = e.segment().format();
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Format,
                        ("pictures in {format:?}, they must be in time")
                    );
                    return false;
                }
            },
            _ => {}
        }
        self.parent_sink_event(pad, event)
    }

    fn sink_query(&self, pad: &AggregatorPad, query: &mut gst::QueryRef) -> bool {
        use gst::QueryViewMut;
        match query.view_mut() {
            QueryViewMut::Caps(q) if *pad == self.video => {
                let template = pad.pad_template_caps();
                let peer = self.obj().src_pad().peer_query_caps(Some(&template));
                let caps = peer.intersect(&template);
                q.set_result(&box_caps::filtered(caps, q.filter_owned().as_ref()));
                true
            }
            // Whoever takes the pictures says how they should lie in memory.
            QueryViewMut::Allocation(_) if *pad == self.video => self.obj().src_pad().peer_query(query),
            _ => self.parent_sink_query(pad, query),
        }
    }

    fn src_query(&self, query: &mut gst::QueryRef) -> bool {
        use gst::QueryViewMut;
        match query.view_mut() {
            QueryViewMut::Caps(q) => {
                let template = self.video.pad_template_caps();
                let caps = self.video.peer_query_caps(Some(&template)).intersect(&template);
                q.set_result(&box_caps::filtered(caps, q.filter_owned().as_ref()));
                true
            }
            QueryViewMut::Position(_) | QueryViewMut::Duration(_) => self.video.peer_query(query),
            _ => self.parent_src_query(query),
        }
    }

    /// The caps are those of the pictures; they are set when they come.
    fn negotiate(&self) -> bool {
        true
    }
}
