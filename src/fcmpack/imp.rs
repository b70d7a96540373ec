//! The machine of `fcmpack`: one buffer of tensors in, one picture out, and an event before it for `fcmmux`.
//!
//! Locks as in `fcmenc`: the streaming thread takes the [`Stream`] out of its mutex while it works.

use super::settings::{self, Settings};
use crate::caps::{self, RawCaps, TensorFormat};
use crate::coding_element::{self, CodingElement, EventsBehindCaps};
use crate::picture::beside::{Beside, Record};
use crate::picture::formats::{self, Format};
use crate::tensor_io::{self, MappedFrame};
use crate::{error, inference, properties, transform_files};
use fcm_codec::picture::{PackerConfig, PicturePacker};
use fcm_codec::reduction::learned::InferenceRuntime;
use fcm_codec::{Error, ErrorKind, Layout, Limits, Transform};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_video::{VideoFrameRef, VideoInfo};
use std::sync::{Arc, LazyLock, Mutex};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("fcmpack", gst::DebugColorFlags::empty(), Some("Feature tensors as pictures"))
});

/// The frame rate of pictures where that of the features is unknown: timestamps are made up for it where buffers have none, and it
/// stands in the caps, since some encoders, as x265enc, do not start without one.
const UNKNOWN_RATE: caps::Framerate = (25, 1);

/// The frame rate of pictures of features with this one.
fn picture_rate(features: caps::Framerate) -> caps::Framerate {
    caps::known(features).unwrap_or(UNKNOWN_RATE)
}

/// The packer and the pictures that it makes.
struct Packing {
    packer: PicturePacker,
    format: Format,
    info: VideoInfo,
    pool: gst::BufferPool,
}

impl Drop for Packing {
    fn drop(&mut self) {
        let _ = self.pool.set_active(false);
    }
}

/// What the streaming thread keeps from frame to frame.
struct Stream {
    settings: Settings,
    limits: Limits,
    transform: Option<Arc<Transform>>,
    runtime: Option<Arc<dyn InferenceRuntime>>,
    names: Vec<String>,
    input: Option<RawCaps>,
    format: Option<Format>,
    packing: Option<Packing>,
    sent_caps: Option<gst::Caps>,
    /// Sticky events and gaps that came before the caps of pictures could be known.
    waiting: Vec<gst::Event>,
    segment: gst::FormattedSegment<gst::ClockTime>,
    /// Frames without a timestamp so far.
    untimed: u64,
}

/// What goes downstream once the stream is put back.
enum Output {
    Event(gst::Event),
    Buffer(gst::Buffer),
}

/// Why a buffer or caps could not be packed.
enum Failure {
    NotNegotiated,
    Flow(gst::FlowError),
    Codec(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Codec(error)
    }
}

/// The element.
pub struct FcmPack {
    sinkpad: gst::Pad,
    srcpad: gst::Pad,
    settings: Mutex<Settings>,
    stream: Mutex<Option<Stream>>,
}

impl Packing {
    fn new(config: PackerConfig, layout: Layout, format: Format) -> Result<Self, Error> {
        let framerate = picture_rate(config.framerate);
        let packer = PicturePacker::new(config, layout)?;
        let (width, height) = (packer.format().width, packer.format().height);
        let refused = |e: glib::BoolError| {
            Error::new(ErrorKind::LimitExceeded, format!("no pictures of {width} x {height} can be made: {e}"))
        };
        let info =
            VideoInfo::builder(format.video, width, height).fps(caps::fraction(framerate)).build().map_err(refused)?;
        let pool = gst_video::VideoBufferPool::new().upcast::<gst::BufferPool>();
        let mut config = pool.config();
        let size = u32::try_from(info.size()).map_err(|_| {
            Error::new(
                ErrorKind::LimitExceeded,
                format!("a picture of {} bytes, the most is {}", info.size(), u32::MAX),
            )
        })?;
        config.set_params(Some(&info.to_caps().map_err(refused)?), size, 0, 0);
        pool.set_config(config).and_then(|()| pool.set_active(true)).map_err(refused)?;
        Ok(Self { packer, format, info, pool })
    }
}

impl Stream {
    fn new(settings: Settings, runtime: Option<Arc<dyn InferenceRuntime>>) -> Result<Self, Error> {
        if ![0, 8, 10].contains(&settings.bit_depth) {
            let message = format!("bit-depth={}, legal are 0, 8 and 10", settings.bit_depth);
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        let limits = Limits::default();
        let transform = settings.transform.as_deref().map(|path| transform_files::load(path, &limits)).transpose()?;
        let names = settings.tensor_names.as_deref().unwrap_or("").split(',').map(|n| n.trim().to_owned()).collect();
        Ok(Self {
            settings,
            limits,
            transform,
            runtime,
            names,
            input: None,
            format: None,
            packing: None,
            sent_caps: None,
            waiting: Vec::new(),
            segment: gst::FormattedSegment::new(),
            untimed: 0,
        })
    }

    fn framerate(&self) -> caps::Framerate {
        self.input.as_ref().map_or((0, 1), |raw| raw.framerate)
    }

    fn layout_of(&self, tensors: &[caps::TensorInfo]) -> Result<Layout, Error> {
        tensor_io::layout(tensors, self.settings.layout.into(), &self.names, &self.limits)
    }

    /// A new packer for `layout`, unless the one there is is as good; and the caps of its pictures, if they are new.
    fn configure(&mut self, layout: Layout, out: &mut Vec<Output>) -> Result<(), Failure> {
        let Some(format) = self.format else { return Err(Failure::NotNegotiated) };
        let framerate = self.framerate();
        let same = |p: &Packing| {
            *p.packer.layout() == layout && p.format == format && p.packer.sequence().framerate == framerate
        };
        if !self.packing.as_ref().is_some_and(same) {
            let config = PackerConfig {
                statistics: self.settings.statistics.into(),
                restoration_strength: properties::asked_strength(self.settings.restoration_strength),
                transform: self.transform.clone(),
                runtime: self.runtime.clone(),
                components: (self.settings.components > 0).then_some(self.settings.components),
                depth: format.depth,
                chroma: format.chroma,
                threads: self.settings.threads as usize,
                framerate,
                limits: self.limits.clone(),
            };
            // The old one goes first: two of the largest size need not fit into memory together.
            self.packing = None;
            self.packing = Some(Packing::new(config, layout, format)?);
        }
        let Some(packing) = &self.packing else { return Err(Failure::NotNegotiated) };
        let caps = packing.info.to_caps().map_err(|_| Failure::NotNegotiated)?;
        if self.sent_caps.as_ref() != Some(&caps) {
            out.push(Output::Event(gst::event::Caps::new(&caps)));
            self.sent_caps = Some(caps);
        }
        out.extend(self.waiting.drain(..).map(Output::Event));
        Ok(())
    }

    /// The time of a frame that has none.
    fn made_up_time(&mut self) -> gst::ClockTime {
        let (n, d) = picture_rate(self.framerate());
        let start = self.segment.start().unwrap_or(gst::ClockTime::ZERO);
        let since = gst::ClockTime::SECOND.mul_div_floor(self.untimed.saturating_mul(d.into()), n.into());
        self.untimed += 1;
        start + since.unwrap_or(gst::ClockTime::ZERO)
    }
}

impl FcmPack {
    /// Lends the stream to `f`, with no lock held meanwhile; `None` when the element is stopped. Only the streaming
    /// thread calls this, and pads are deactivated before the stream is dropped.
    fn with_stream<R>(&self, f: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        let mut stream = self.stream.lock().unwrap().take()?;
        let result = f(&mut stream);
        *self.stream.lock().unwrap() = Some(stream);
        Some(result)
    }

    fn set_caps(&self, stream: &mut Stream, caps: &gst::CapsRef) -> Result<Vec<Output>, Failure> {
        let raw = caps::parse_raw(caps)?;
        let layout = match raw.format {
            TensorFormat::Static => Some(stream.layout_of(&raw.tensors)?),
            TensorFormat::Flexible => None,
        };
        stream.input = Some(raw);
        let mut out = Vec::new();
        self.srcpad.check_reconfigure();
        self.choose_format(stream)?;
        if let Some(layout) = layout {
            stream.configure(layout, &mut out)?;
        }
        Ok(out)
    }

    /// Asks downstream for the format of pictures.
    fn choose_format(&self, stream: &mut Stream) -> Result<(), Failure> {
        let peer = self.srcpad.peer_query_caps(None);
        gst::debug!(CAT, imp = self, "downstream takes {peer}");
        stream.format = formats::choose(&peer, stream.settings.bit_depth as u8);
        stream.format.map(|_| ()).ok_or(Failure::NotNegotiated)
    }

    fn pack(&self, stream: &mut Stream, buffer: &gst::Buffer) -> Result<Vec<Output>, Failure> {
        let mut out = Vec::new();
        if self.srcpad.check_reconfigure()
            && let Err(failure) = self.choose_format(stream)
        {
            self.srcpad.mark_reconfigure();
            return Err(failure);
        }
        let flexible = match &stream.input {
            Some(raw) => raw.format == TensorFormat::Flexible,
            None => return Err(Failure::NotNegotiated),
        };
        let frame = if flexible {
            let (frame, infos) = MappedFrame::map_flexible(buffer, &stream.limits)?;
            let layout = stream.layout_of(&infos)?;
            stream.configure(layout, &mut out)?;
            frame
        } else {
            let Some(layout) = stream.packing.as_ref().map(|p| p.packer.layout().clone()) else {
                return Err(Failure::NotNegotiated);
            };
            let frame = MappedFrame::map_static(buffer, &layout)?;
            stream.configure(layout, &mut out)?;
            frame
        };
        let pts = buffer.pts().unwrap_or_else(|| stream.made_up_time());
        let Some(Packing { packer, format, info, pool }) = stream.packing.as_mut() else {
            return Err(Failure::NotNegotiated);
        };
        let mut picture = pool.acquire_buffer(None).map_err(Failure::Flow)?;
        let unshared = picture.make_mut();
        let record = {
            let mut video = VideoFrameRef::from_buffer_ref_writable(unshared, info).map_err(|e| {
                Error::new(ErrorKind::InvalidInput, format!("a picture cannot be mapped for writing: {e}"))
            })?;
            format.flatten_chroma(&mut video)?;
            packer.pack(&frame.tensors()?, format.luma_mut(&mut video)?)?
        };
        let copied = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
        if let Err(error) = buffer.copy_into(unshared, copied, ..) {
            gst::warning!(CAT, imp = self, "not all metadata could be copied: {error}");
        }
        unshared.set_pts(pts);
        // Missing frames in time are no damage, and an encoder may not leave a picture out that others are predicted from.
        unshared.unset_flags(
            gst::BufferFlags::DELTA_UNIT
                | gst::BufferFlags::HEADER
                | gst::BufferFlags::GAP
                | gst::BufferFlags::DROPPABLE,
        );
        gst::log!(CAT, imp = self, "picture {} at {pts}, range {:?}", record.number, record.range);
        let segment = stream.segment.clone();
        let beside = Beside { content: Record(Arc::new(record)), pts, duration: buffer.duration(), segment };
        out.push(Output::Event(beside.event()));
        out.push(Output::Buffer(picture));
        Ok(out)
    }

    /// Pushes everything in order; no lock is held.
    fn push(&self, out: Vec<Output>) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut result = Ok(gst::FlowSuccess::Ok);
        for output in out {
            match output {
                // Why an event was refused shows in the result of the buffer after it.
                Output::Event(event) => drop(self.srcpad.push_event(event)),
                Output::Buffer(buffer) => result = Ok(self.srcpad.push(buffer)?),
            }
        }
        result
    }

    /// Posts what a failure is and says what the pad returns.
    fn fail(&self, failure: Failure) -> gst::FlowError {
        match failure {
            Failure::NotNegotiated => {
                let peer = self.srcpad.peer_query_caps(None);
                let depth = self.settings.lock().unwrap().bit_depth;
                gst::element_imp_error!(
                    self,
                    gst::CoreError::Negotiation,
                    ("downstream takes no pictures that features can be put into"),
                    ["bit-depth={depth}, downstream takes {peer}"]
                );
                gst::FlowError::NotNegotiated
            }
            Failure::Flow(flow) => flow,
            Failure::Codec(error) => {
                let transform = self.settings.lock().unwrap().transform.clone();
                let error = transform_files::with_files(error, transform.as_deref());
                error::post(self, "cannot make a picture of these tensors", &error);
                gst::FlowError::Error
            }
        }
    }
}

impl EventsBehindCaps for FcmPack {
    fn src_pad(&self) -> &gst::Pad {
        &self.srcpad
    }

    fn hold(&self, event: &gst::Event) -> bool {
        self.with_stream(|stream| coding_element::hold_if(stream.sent_caps.is_none(), &mut stream.waiting, event))
            == Some(true)
    }
}

impl CodingElement for FcmPack {
    fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        if buffer.size() == 0 && buffer.flags().contains(gst::BufferFlags::GAP) {
            if let Some(pts) = buffer.pts() {
                self.forward(gst::event::Gap::builder(pts).duration(buffer.duration()).build());
            }
            return Ok(gst::FlowSuccess::Ok);
        }
        match self.with_stream(|stream| self.pack(stream, &buffer)) {
            Some(Ok(out)) => self.push(out),
            Some(Err(failure)) => Err(self.fail(failure)),
            None => Err(gst::FlowError::Flushing),
        }
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "{event:?}");
        match event.view() {
            gst::EventView::Caps(e) => match self.with_stream(|stream| self.set_caps(stream, e.caps())) {
                Some(Ok(out)) => self.push(out).is_ok(),
                Some(Err(failure)) => {
                    let _ = self.fail(failure);
                    false
                }
                None => false,
            },
            gst::EventView::Segment(e) => {
                if let Some(segment) = e.segment().downcast_ref::<gst::ClockTime>().cloned() {
                    self.with_stream(|stream| {
                        stream.segment = segment;
                        stream.untimed = 0;
                    });
                    return self.forward(event);
                }
                // Video needs times. Frames of a stream of bytes get them made up.
                let segment = gst::FormattedSegment::<gst::ClockTime>::new();
                self.with_stream(|stream| stream.segment = segment.clone());
                self.forward(gst::event::Segment::builder(&segment).seqnum(event.seqnum()).build())
            }
            gst::EventView::StreamStart(_) | gst::EventView::FlushStop(_) => {
                let flush = event.type_() == gst::EventType::FlushStop;
                self.with_stream(|stream| {
                    if let Some(packing) = &mut stream.packing {
                        packing.packer.reset();
                    }
                    if flush {
                        stream.waiting.retain(|e| !matches!(e.type_(), gst::EventType::Segment | gst::EventType::Gap));
                    }
                });
                self.srcpad.push_event(event)
            }
            gst::EventView::Eos(_) => {
                let waiting = self.with_stream(|stream| std::mem::take(&mut stream.waiting));
                for event in waiting.unwrap_or_default() {
                    self.srcpad.push_event(event);
                }
                self.srcpad.push_event(event)
            }
            _ => self.forward(event),
        }
    }

    fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        match event.type_() {
            // The pad is marked; the next buffer negotiates. Nothing upstream is concerned.
            gst::EventType::Reconfigure => true,
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    fn query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            // Upstream's buffers are tensors.
            gst::QueryViewMut::Allocation(_) if *pad == self.sinkpad => false,
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for FcmPack {
    const NAME: &'static str = "GstFcmPack";
    type Type = super::FcmPack;
    type ParentType = gst::Element;

    fn new() -> Self {
        // Raw caps may lack fields of the template, such as the format.
        let (sinkpad, srcpad) = coding_element::pads::<Self>(gst::PadFlags::ACCEPT_INTERSECT);
        Self { sinkpad, srcpad, settings: Mutex::default(), stream: Mutex::default() }
    }
}

impl ObjectImpl for FcmPack {
    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.add_pad(&self.sinkpad).expect("a new element has no pads");
        obj.add_pad(&self.srcpad).expect("a new element has no source pad");
    }

    fn properties() -> &'static [glib::ParamSpec] {
        settings::properties()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        self.settings.lock().unwrap().set(pspec.name(), value);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        self.settings.lock().unwrap().get(pspec.name())
    }
}

impl GstObjectImpl for FcmPack {}

impl ElementImpl for FcmPack {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Feature tensors to pictures",
                "Converter/Video/Metadata",
                "Lays the feature tensors of a split neural network out as pictures for a video encoder",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> =
            LazyLock::new(|| coding_element::templates(caps::raw_template(), formats::template()));
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            let settings = self.settings.lock().unwrap().clone();
            let stream = Stream::new(settings, inference::runtime(&*self.obj())).map_err(|error| {
                error::post(self, "cannot start", &error);
                gst::StateChangeError
            })?;
            *self.stream.lock().unwrap() = Some(stream);
        }
        let result = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            // The pads are inactive now: the streaming thread is out.
            *self.stream.lock().unwrap() = None;
        }
        Ok(result)
    }
}
