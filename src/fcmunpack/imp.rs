//! The machine of `fcmunpack`: one picture in, one buffer of tensors out.

use crate::caps::{self, Framerate, RawCaps, TensorFormat, TensorInfo};
use crate::coding_element::{self, CodingElement};
use crate::picture::beside::{Beside, Info, Waiting};
use crate::picture::formats::{self, Format};
use crate::tensor_io::{self, pool::TensorPool};
use crate::warnings::Warnings;
use crate::{error, inference, properties, statistics_meta, transform_files};
use fcm_codec::bitstream::InnerCodec;
use fcm_codec::picture::PictureUnpacker;
use fcm_codec::reduction::learned::InferenceRuntime;
use fcm_codec::{DecoderConfig, Error, ErrorKind, Limits};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_video::{VideoFrameRef, VideoInfo};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("fcmunpack", gst::DebugColorFlags::empty(), Some("Pictures into feature tensors"))
});

/// What the user wishes.
#[derive(Debug, Clone)]
struct Settings {
    transform: Option<String>,
    threads: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { transform: None, threads: 1 }
    }
}

/// What the property `stats` counts since the element was started.
#[derive(Debug, Clone, Default)]
struct Stats {
    frames: u64,
    /// The decoder marked them.
    corrupt: u64,
    /// Nothing was known of them.
    unknown: u64,
    /// Announced, but the decoder did not give them.
    missing: u64,
}

/// What is sent at present.
struct Sent {
    caps: gst::Caps,
    format: TensorFormat,
    tensors: Vec<TensorInfo>,
    framerate: Framerate,
}

/// What the streaming thread keeps from picture to picture.
struct Stream {
    unpacker: PictureUnpacker,
    input: Option<(VideoInfo, Format)>,
    beside: Waiting<Info>,
    segment: gst::FormattedSegment<gst::ClockTime>,
    sent: Option<Sent>,
    sent_segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    pool: Option<(Vec<usize>, TensorPool)>,
    /// Sticky events and gaps that came before the raw caps could be known.
    waiting: Vec<gst::Event>,
    discont: bool,
    warnings: Warnings,
}

/// What goes out once the stream is put back.
enum Output {
    Event(gst::Event),
    Buffer(gst::Buffer),
    Warning(String),
}

/// Why a picture gave no tensors and the stream cannot go on.
enum Failure {
    NotNegotiated(String),
    Flow(gst::FlowError),
    Codec(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Codec(error)
    }
}

/// The element.
pub struct FcmUnpack {
    sinkpad: gst::Pad,
    srcpad: gst::Pad,
    settings: Mutex<Settings>,
    stats: Mutex<Stats>,
    stream: Mutex<Option<Stream>>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some((_, pool)) = &self.pool {
            let _ = pool.set_active(false);
        }
    }
}

impl Stream {
    fn new(settings: &Settings, runtime: Option<Arc<dyn InferenceRuntime>>) -> Result<Self, Error> {
        let limits = Limits::default();
        let paths = settings.transform.as_deref().unwrap_or("").split(',').map(str::trim).filter(|p| !p.is_empty());
        let transforms =
            paths.map(|path| transform_files::load(Path::new(path), &limits)).collect::<Result<Vec<_>, _>>()?;
        let threads = settings.threads as usize;
        let config = DecoderConfig { transforms, runtime, threads, limits, ..DecoderConfig::default() };
        Ok(Self {
            unpacker: PictureUnpacker::new(config)?,
            input: None,
            beside: Waiting::default(),
            segment: gst::FormattedSegment::new(),
            sent: None,
            sent_segment: None,
            pool: None,
            waiting: Vec::new(),
            discont: true,
            warnings: Warnings::default(),
        })
    }

    fn warn(&mut self, text: impl Into<String>) -> Vec<Output> {
        self.discont = true;
        self.warnings.due().map(|_| Output::Warning(text.into())).into_iter().collect()
    }
}

impl FcmUnpack {
    /// Lends the stream to `f`, with no lock held meanwhile; `None` when the element is stopped.
    fn with_stream<R>(&self, f: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        let mut stream = self.stream.lock().unwrap().take()?;
        let result = f(&mut stream);
        *self.stream.lock().unwrap() = Some(stream);
        Some(result)
    }

    /// Chooses raw caps for these tensors, unless those sent say the same already and downstream did not ask anew.
    fn negotiate(
        &self,
        stream: &mut Stream,
        tensors: Vec<TensorInfo>,
        framerate: Framerate,
        out: &mut Vec<Output>,
    ) -> Result<(), Failure> {
        let anew = self.srcpad.check_reconfigure();
        let same = |sent: &Sent| sent.tensors == tensors && sent.framerate == framerate;
        if !anew && stream.sent.as_ref().is_some_and(same) {
            return Ok(());
        }
        let peer = self.srcpad.peer_query_caps(None);
        let Some((chosen, format)) = caps::fixate_raw(&tensors, framerate, TensorFormat::Static, None, &peer) else {
            self.srcpad.mark_reconfigure();
            let ours = caps::raw_caps(&RawCaps { format: TensorFormat::Static, tensors, framerate });
            return Err(Failure::NotNegotiated(format!("the stream holds {ours}, downstream takes {peer}")));
        };
        if stream.sent.as_ref().is_none_or(|sent| sent.caps != chosen) {
            out.push(Output::Event(gst::event::Caps::new(&chosen)));
        }
        stream.sent = Some(Sent { caps: chosen, format, tensors, framerate });
        Ok(())
    }

    fn unpack(&self, stream: &mut Stream, buffer: &gst::Buffer) -> Result<Vec<Output>, Failure> {
        let Some(pts) = buffer.pts() else {
            let message = "a picture without a timestamp, which tells what features are in it";
            return Err(Error::new(ErrorKind::InvalidInput, message).into());
        };
        let segment = stream.segment.clone();
        let found = stream.beside.take(&segment, pts);
        // Decoders give pictures in the order of presentation.
        let missing = stream.beside.forget_before(&segment, pts);
        self.stats.lock().unwrap().missing += missing as u64;
        stream.discont |= missing > 0;
        let Some(beside) = found else {
            self.stats.lock().unwrap().unknown += 1;
            if stream.sent.is_none() {
                let message = format!(
                    "nothing is known of the picture at {pts}: fcmdemux must be upstream, with nothing between that changes times or drops events"
                );
                return Err(Error::new(ErrorKind::InvalidInput, message).into());
            }
            return Ok(stream.warn(format!("the decoder gave a picture at {pts} that it was not asked for; dropped")));
        };
        if buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
            self.stats.lock().unwrap().corrupt += 1;
            return Ok(stream.warn(format!("the decoder says that the picture at {pts} is damaged; dropped")));
        }
        let Some((info, format)) = stream.input.clone() else {
            return Err(Failure::NotNegotiated("pictures came before their caps".into()));
        };
        let known = &*beside.content.0;
        let picture = &known.info;
        let sequence = picture.sequence();
        if let InnerCodec::Picture(expected) = &sequence.inner
            && (expected.depth != format.depth || expected.width > info.width() || expected.height > info.height())
        {
            return Err(Failure::NotNegotiated(format!(
                "the stream holds pictures of {} x {}, {} bit; the decoder gives {} x {} in {}",
                expected.width,
                expected.height,
                expected.depth,
                info.width(),
                info.height(),
                info.format()
            )));
        }
        {
            let video = VideoFrameRef::from_buffer_ref_readable(buffer, &info).map_err(|e| {
                Error::new(ErrorKind::InvalidInput, format!("the picture cannot be mapped for reading: {e}"))
            })?;
            stream.unpacker.unpack(picture, format.luma(&video)?)?;
        }

        let mut out = Vec::new();
        let layout = &sequence.layout;
        let rate = caps::known(caps::framerate_of(info.fps())).unwrap_or(sequence.framerate);
        self.negotiate(stream, caps::tensor_infos(layout), rate, &mut out)?;
        if stream.sent_segment.as_ref() != Some(&beside.segment) {
            out.push(Output::Event(gst::event::Segment::new(&beside.segment)));
            stream.sent_segment = Some(beside.segment.clone());
        }
        out.extend(stream.waiting.drain(..).map(Output::Event));
        let Some(sent) = &stream.sent else { return Err(Failure::Flow(gst::FlowError::NotNegotiated)) };
        let sizes = tensor_io::memory_sizes(layout, sent.format);
        let pool = match &mut stream.pool {
            Some((of, pool)) if *of == sizes => pool,
            other => {
                if let Some((_, pool)) = other.take() {
                    let _ = pool.set_active(false);
                }
                let pool = TensorPool::new(sizes.clone()).map_err(|e| {
                    Error::new(ErrorKind::LimitExceeded, format!("no pool of raw buffers could be made: {e}"))
                })?;
                &mut other.insert((sizes, pool)).1
            }
        };
        let mut raw = pool.acquire_buffer(None).map_err(Failure::Flow)?;
        let unshared = raw.make_mut();
        let unpacker = &mut stream.unpacker;
        tensor_io::write_tensors(unshared, layout, sent.format, |n, tensor| unpacker.write(n, tensor))?;
        unshared.set_pts(beside.pts);
        unshared.set_duration(beside.duration.or(buffer.duration()));
        if std::mem::take(&mut stream.discont) | known.discont {
            unshared.set_flags(gst::BufferFlags::DISCONT);
        }
        if let Some(statistics) = stream.unpacker.statistics() {
            statistics_meta::attach(unshared, layout, statistics, known.refreshed);
        }
        self.stats.lock().unwrap().frames += 1;
        gst::log!(CAT, imp = self, "picture at {pts}");
        out.push(Output::Buffer(raw));
        Ok(out)
    }

    /// Pushes and posts everything in order; no lock is held.
    fn push(&self, out: Vec<Output>) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut result = Ok(gst::FlowSuccess::Ok);
        for output in out {
            match output {
                // Why an event was refused shows in the result of the buffer after it.
                Output::Event(event) => drop(self.srcpad.push_event(event)),
                Output::Buffer(buffer) => result = Ok(self.srcpad.push(buffer)?),
                Output::Warning(text) => gst::element_imp_warning!(self, gst::StreamError::Decode, ("{text}")),
            }
        }
        result
    }

    fn set_caps(&self, caps: &gst::CapsRef) -> Result<(), Error> {
        let info = VideoInfo::from_caps(caps)
            .map_err(|e| Error::new(ErrorKind::InvalidInput, format!("pictures with caps {caps}: {e}")))?;
        let format = Format::of(&info)?;
        self.with_stream(|stream| stream.input = Some((info, format)));
        Ok(())
    }

    fn restart(stream: &mut Stream) {
        stream.beside.clear();
        stream.sent_segment = None;
        stream.discont = true;
    }
}

impl CodingElement for FcmUnpack {
    fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let failure = match self.with_stream(|stream| self.unpack(stream, &buffer)) {
            Some(Ok(out)) => return self.push(out),
            Some(Err(failure)) => failure,
            None => return Err(gst::FlowError::Flushing),
        };
        match failure {
            Failure::NotNegotiated(why) => {
                gst::element_imp_error!(self, gst::CoreError::Negotiation, ("cannot make tensors: {why}"));
                Err(gst::FlowError::NotNegotiated)
            }
            Failure::Flow(flow) => Err(flow),
            Failure::Codec(error) => {
                let transform = self.settings.lock().unwrap().transform.clone();
                let error = transform_files::with_files(error, transform.as_deref().map(Path::new));
                error::post(self, "cannot make tensors of a picture", &error);
                Err(gst::FlowError::Error)
            }
        }
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "{event:?}");
        if let Some(beside) = Beside::<Info>::parse(&event) {
            self.with_stream(|stream| stream.beside.insert(beside));
            return true;
        }
        match event.view() {
            gst::EventView::Caps(e) => match self.set_caps(e.caps()) {
                // Caps of tensors follow with the first picture.
                Ok(()) => true,
                Err(error) => {
                    error::post(self, "cannot make tensors of these pictures", &error);
                    false
                }
            },
            gst::EventView::Segment(e) => {
                // That of fcmdemux is sent in its place, once the caps are known.
                if let Some(segment) = e.segment().downcast_ref::<gst::ClockTime>().cloned() {
                    self.with_stream(|stream| stream.segment = segment);
                }
                true
            }
            gst::EventView::StreamStart(_) | gst::EventView::FlushStop(_) => {
                self.with_stream(Self::restart);
                self.srcpad.push_event(event)
            }
            // Before the first picture there is no segment that it could refer to.
            gst::EventView::Gap(_) if self.with_stream(|s| s.sent_segment.is_none()) == Some(true) => true,
            gst::EventView::Eos(_) => self.srcpad.push_event(event),
            _ if event.is_serialized() && event.is_sticky() => {
                let kept = self.with_stream(|stream| {
                    let wait = stream.sent.is_none();
                    if wait {
                        stream.waiting.push(event.clone());
                    }
                    wait
                });
                kept == Some(true) || self.srcpad.push_event(event)
            }
            _ => self.srcpad.push_event(event),
        }
    }

    fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        match event.type_() {
            // The pad is marked; the next picture negotiates. Nothing upstream is concerned.
            gst::EventType::Reconfigure => true,
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    fn query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Allocation(q) if *pad == self.sinkpad => {
                // Decoders may pad rows and leave borders; planes say where they are.
                q.add_allocation_meta::<gst_video::VideoMeta>(None);
                true
            }
            gst::QueryViewMut::Allocation(_) => false,
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for FcmUnpack {
    const NAME: &'static str = "GstFcmUnpack";
    type Type = super::FcmUnpack;
    type ParentType = gst::Element;

    fn new() -> Self {
        let (sinkpad, srcpad) = coding_element::pads::<Self>(gst::PadFlags::empty());
        Self { sinkpad, srcpad, settings: Mutex::default(), stats: Mutex::default(), stream: Mutex::default() }
    }
}

impl ObjectImpl for FcmUnpack {
    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.add_pad(&self.sinkpad).expect("a new element has no pads");
        obj.add_pad(&self.srcpad).expect("a new element has no source pad");
    }

    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let default = Settings::default();
            vec![
                properties::transforms(),
                properties::threads("Worker threads", default.threads),
                glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                    .nick("Stats")
                    .blurb("Counts since the element was started: frames, corrupt (by the decoder's word), unknown (pictures without parameters), missing (not given by the decoder)")
                    .read_only()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        const TYPE: &str = "GObject checks the type of a property";
        let mut settings = self.settings.lock().unwrap();
        match pspec.name() {
            "transform" => settings.transform = value.get().expect(TYPE),
            "threads" => settings.threads = value.get().expect(TYPE),
            name => unreachable!("property {name} is not writable"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "transform" => self.settings.lock().unwrap().transform.to_value(),
            "threads" => self.settings.lock().unwrap().threads.to_value(),
            _ => {
                let stats = self.stats.lock().unwrap();
                gst::Structure::builder("application/x-fcmunpack-stats")
                    .field("frames", stats.frames)
                    .field("corrupt", stats.corrupt)
                    .field("unknown", stats.unknown)
                    .field("missing", stats.missing)
                    .build()
                    .to_value()
            }
        }
    }
}

impl GstObjectImpl for FcmUnpack {}

impl ElementImpl for FcmUnpack {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Pictures to feature tensors",
                "Converter/Video/Metadata",
                "Makes feature tensors of decoded pictures and restores their statistics",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> =
            LazyLock::new(|| coding_element::templates(formats::template(), caps::raw_template()));
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            let settings = self.settings.lock().unwrap().clone();
            let stream = Stream::new(&settings, inference::runtime(&*self.obj())).map_err(|error| {
                error::post(self, "cannot start", &error);
                gst::StateChangeError
            })?;
            *self.stats.lock().unwrap() = Stats::default();
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
