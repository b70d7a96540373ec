//! The machine of `fcmdemux`: one access unit in, one coded picture out and an event before it, or nothing when it is lost.

use super::retiming::Retiming;
use crate::caps::{self, CodedCaps};
use crate::coding_element::{self, CodingElement, EventsBehindCaps};
use crate::error;
use crate::force_key_unit::Pacer;
use crate::picture::beside::{Beside, Info, Known};
use crate::picture::video;
use crate::warnings::{self, Warnings};
use fcm_codec::bitstream::{InnerCodec, stream::Inspector};
use fcm_codec::picture::{PictureReader, Read};
use fcm_codec::{Error, ErrorKind, FrameKind, Limits, Sequence};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("fcmdemux", gst::DebugColorFlags::empty(), Some("Access units into coded pictures"))
});

/// What the property `stats` counts since the element was started.
#[derive(Debug, Clone, Default)]
struct Stats {
    pictures: u64,
    random_access_pictures: u64,
    corrupt: u64,
    missing: u64,
    awaiting: u64,
    sync_requests: u64,
}

/// What the streaming thread keeps from picture to picture.
struct Stream {
    reader: PictureReader,
    /// Frame rate in the caps.
    framerate: caps::Framerate,
    segment: gst::FormattedSegment<gst::ClockTime>,
    retiming: Retiming,
    announced: Option<Arc<Sequence>>,
    sent_caps: Option<gst::Caps>,
    /// Sticky events and gaps that came before the caps could be known.
    waiting: Vec<gst::Event>,
    discont: bool,
    losing: bool,
    had_input: bool,
    had_output: bool,
    requests: Pacer,
    warnings: Warnings,
}

/// What goes out once the stream is put back.
enum Output {
    Event(gst::Event),
    Upstream(gst::Event),
    Buffer(gst::Buffer),
    Warning(String),
}

/// Why an access unit gave no picture although the stream can go on.
enum Loss {
    Damaged(Error),
    Unpredictable(Option<u32>),
}

/// The element.
pub struct FcmDemux {
    sinkpad: gst::Pad,
    srcpad: gst::Pad,
    stats: Mutex<Stats>,
    stream: Mutex<Option<Stream>>,
}

impl Stream {
    fn new() -> Self {
        Self {
            reader: PictureReader::new(Limits::default()),
            framerate: (0, 1),
            segment: gst::FormattedSegment::new(),
            retiming: Retiming::default(),
            announced: None,
            sent_caps: None,
            waiting: Vec::new(),
            discont: true,
            losing: false,
            had_input: false,
            had_output: false,
            requests: Pacer::default(),
            warnings: Warnings::default(),
        }
    }

    /// Forgets the coded stream; what is known of downstream stays.
    fn restart(&mut self) {
        self.reader.reset();
        self.retiming = Retiming::default();
        self.discont = true;
        self.losing = false;
        self.requests.restart();
    }

    /// Caps of the video of `sequence`, if they are new, and what waited for them.
    fn announce(&mut self, sequence: &Arc<Sequence>, out: &mut Vec<Output>) {
        if self.announced.as_ref().is_some_and(|s| Arc::ptr_eq(s, sequence)) {
            return;
        }
        if let InnerCodec::Picture(format) = &sequence.inner {
            let caps = video::caps(format, self.rate(sequence));
            if self.sent_caps.as_ref() != Some(&caps) {
                out.push(Output::Event(gst::event::Caps::new(&caps)));
                self.sent_caps = Some(caps);
            }
            out.extend(self.waiting.drain(..).map(Output::Event));
        }
        self.announced = Some(sequence.clone());
    }

    /// The frame rate that the caps of upstream say, else that of the stream.
    fn rate(&self, sequence: &Sequence) -> caps::Framerate {
        caps::known(self.framerate).unwrap_or(sequence.framerate)
    }

    /// From one frame to the next, in nanoseconds.
    fn period(&self, sequence: &Sequence) -> Option<u64> {
        caps::period(self.rate(sequence)).map(gst::ClockTime::nseconds)
    }
}

impl FcmDemux {
    /// Lends the stream to `f`, with no lock held meanwhile; `None` when the element is stopped.
    fn with_stream<R>(&self, f: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        let mut stream = self.stream.lock().unwrap().take()?;
        let result = f(&mut stream);
        *self.stream.lock().unwrap() = Some(stream);
        Some(result)
    }

    fn set_caps(&self, stream: &mut Stream, caps: &gst::CapsRef) -> Result<Vec<Output>, Error> {
        let coded = CodedCaps::parse(caps)?;
        if coded.inner_codec.as_deref() == Some(InnerCodec::Native.name()) {
            let message = "inner-codec=native: fcmdec decodes it, there are no pictures in it";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        stream.framerate = coded.framerate;
        let mut out = Vec::new();
        // The access unit itself has the last word; this spares elements downstream from waiting for it.
        let mut inspector = Inspector::new(Limits::default());
        if let Some(sequence) = coded.codec_data.as_deref().and_then(|data| inspector.read_header(data).ok()) {
            stream.announce(&Arc::new(sequence.clone()), &mut out);
        }
        Ok(out)
    }

    /// Counts and reports an access unit that gave no picture, and asks for a random access point.
    fn lose(&self, stream: &mut Stream, loss: &Loss, discont: bool) -> Vec<Output> {
        let mut out = Vec::new();
        let fresh = !std::mem::replace(&mut stream.losing, true);
        stream.discont = true;
        let mut stats = self.stats.lock().unwrap();
        let problem = match loss {
            Loss::Damaged(error) => {
                stats.corrupt += 1;
                Some(format!("an access unit is damaged: {error}"))
            }
            Loss::Unpredictable(missing) => {
                stats.awaiting += 1;
                let (count, problem) = warnings::unpredictable(*missing, fresh, stream.had_output);
                stats.missing += count;
                problem
            }
        };
        if let Some(problem) = problem {
            gst::warning!(CAT, imp = self, "{problem}");
            out.extend(stream.warnings.due().map(|times| {
                Output::Warning(format!("{problem}; pictures are lost up to the next random access point{times}"))
            }));
        }
        let new_loss = discont || matches!(loss, Loss::Damaged(_));
        if let Some(request) = stream.requests.ask(new_loss, Duration::ZERO) {
            out.push(Output::Upstream(request));
            stats.sync_requests += 1;
        }
        out
    }

    fn demux(&self, stream: &mut Stream, buffer: &gst::Buffer) -> Result<Vec<Output>, Error> {
        stream.had_input = true;
        let discont = buffer.flags().contains(gst::BufferFlags::DISCONT);
        if discont {
            stream.reader.reset();
            stream.discont = true;
        }
        let map = buffer.map_readable().map_err(|e| {
            Error::new(ErrorKind::InvalidInput, format!("the buffer cannot be mapped for reading: {e}"))
        })?;
        let picture = match stream.reader.read(&map) {
            Ok(Read::Picture(picture)) => picture,
            Ok(Read::AwaitingRandomAccess { missing }) => {
                return Ok(self.lose(stream, &Loss::Unpredictable(missing), discont));
            }
            Err(error) if error::costs_only_frames(error.kind()) => {
                return Ok(self.lose(stream, &Loss::Damaged(error), discont));
            }
            Err(error) => return Err(error),
        };
        stream.losing = false;
        stream.requests.recovered();
        let mut out = Vec::new();
        let sequence = picture.info.sequence().clone();
        stream.announce(&sequence, &mut out);
        let random_access = picture.kind == FrameKind::RandomAccess;
        let pts = buffer.pts().map(gst::ClockTime::nseconds);
        let time = stream.retiming.time(picture.presentation, random_access, pts, stream.period(&sequence));
        let Some(time) = time.filter(|&time| time != u64::MAX).map(gst::ClockTime::from_nseconds) else {
            let message = "an access unit without a timestamp in a stream without a frame rate";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        };
        // The video is what the unit has before its check, which ends the access unit: its memory is shared, not copied.
        let end = map.as_ptr_range().end as usize - picture.video.as_ptr_range().end as usize;
        let start = map.len() - end - picture.video.len();
        let length = picture.video.len();
        let mut coded = buffer.copy_region(gst::BufferCopyFlags::MEMORY, start..start + length).map_err(|e| {
            Error::new(ErrorKind::InvalidInput, format!("the picture cannot be taken out of its access unit: {e}"))
        })?;
        let unshared = coded.make_mut();
        unshared.set_pts(time);
        unshared.set_duration(buffer.duration());
        // A decoding time that was made up together with the time that was put right would contradict it.
        unshared.set_dts(buffer.dts().filter(|_| buffer.pts() == Some(time)));
        if !random_access {
            unshared.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        let discont = std::mem::take(&mut stream.discont);
        if discont {
            unshared.set_flags(gst::BufferFlags::DISCONT);
        }
        let content = Info(Arc::new(Known { info: picture.info, refreshed: picture.refreshed, discont }));
        let segment = stream.segment.clone();
        out.push(Output::Event(Beside { content, pts: time, duration: buffer.duration(), segment }.event()));
        out.push(Output::Buffer(coded));
        stream.had_output = true;
        let mut stats = self.stats.lock().unwrap();
        stats.pictures += 1;
        stats.random_access_pictures += u64::from(random_access);
        Ok(out)
    }

    /// Pushes and posts everything in order; no lock is held.
    fn push(&self, out: Vec<Output>) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut result = Ok(gst::FlowSuccess::Ok);
        for output in out {
            match output {
                // Why an event was refused shows in the result of the buffer after it.
                Output::Event(event) => drop(self.srcpad.push_event(event)),
                Output::Upstream(event) => drop(self.sinkpad.push_event(event)),
                Output::Buffer(buffer) => result = Ok(self.srcpad.push(buffer)?),
                Output::Warning(text) => gst::element_imp_warning!(self, gst::StreamError::Decode, ("{text}")),
            }
        }
        result
    }
}

impl EventsBehindCaps for FcmDemux {
    fn src_pad(&self) -> &gst::Pad {
        &self.srcpad
    }

    fn hold(&self, event: &gst::Event) -> bool {
        self.with_stream(|stream| coding_element::hold_if(stream.sent_caps.is_none(), &mut stream.waiting, event))
            == Some(true)
    }
}

impl CodingElement for FcmDemux {
    fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        if buffer.size() == 0 && buffer.flags().contains(gst::BufferFlags::GAP) {
            if let Some(pts) = buffer.pts() {
                self.forward(gst::event::Gap::builder(pts).duration(buffer.duration()).build());
            }
            return Ok(gst::FlowSuccess::Ok);
        }
        match self.with_stream(|stream| self.demux(stream, &buffer)) {
            Some(Ok(out)) => self.push(out),
            Some(Err(error)) => {
                error::post(self, "cannot take a picture out of this access unit", &error);
                Err(gst::FlowError::Error)
            }
            None => Err(gst::FlowError::Flushing),
        }
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "{event:?}");
        match event.view() {
            gst::EventView::Caps(e) => match self.with_stream(|stream| self.set_caps(stream, e.caps())) {
                Some(Ok(out)) => self.push(out).is_ok(),
                Some(Err(error)) => {
                    error::post(self, "cannot take pictures out of this stream", &error);
                    false
                }
                None => false,
            },
            gst::EventView::Segment(e) => {
                if let Some(segment) = e.segment().downcast_ref::<gst::ClockTime>().cloned() {
                    self.with_stream(|stream| stream.segment = segment);
                    return self.forward(event);
                }
                // Decoders of video need times; access units tell theirs where the transport does not.
                let segment = gst::FormattedSegment::<gst::ClockTime>::new();
                self.with_stream(|stream| stream.segment = segment.clone());
                self.forward(gst::event::Segment::builder(&segment).seqnum(event.seqnum()).build())
            }
            gst::EventView::StreamStart(_) => {
                self.with_stream(Stream::restart);
                self.srcpad.push_event(event)
            }
            gst::EventView::FlushStop(_) => {
                self.with_stream(|stream| {
                    stream.restart();
                    stream.waiting.retain(|e| !matches!(e.type_(), gst::EventType::Segment | gst::EventType::Gap));
                });
                self.srcpad.push_event(event)
            }
            gst::EventView::Eos(_) => {
                let (fruitless, waiting) = self
                    .with_stream(|s| (s.had_input && !s.had_output, std::mem::take(&mut s.waiting)))
                    .unwrap_or_default();
                for event in waiting {
                    self.srcpad.push_event(event);
                }
                if fruitless {
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Decode,
                        ("no picture could be taken out of the stream before its end")
                    );
                }
                self.srcpad.push_event(event)
            }
            _ => self.forward(event),
        }
    }

    fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        match event.type_() {
            // Caps are those of the stream; there is nothing to choose.
            gst::EventType::Reconfigure => true,
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    fn query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        use gst::QueryViewMut;
        match query.view_mut() {
            // Buffers of the two sides have nothing in common.
            QueryViewMut::Allocation(_) => false,
            QueryViewMut::Position(q) if q.format() == gst::Format::Bytes => false,
            QueryViewMut::Duration(q) if q.format() == gst::Format::Bytes => false,
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for FcmDemux {
    const NAME: &'static str = "GstFcmDemux";
    type Type = super::FcmDemux;
    type ParentType = gst::Element;

    fn new() -> Self {
        let (sinkpad, srcpad) = coding_element::pads::<Self>(gst::PadFlags::empty());
        Self { sinkpad, srcpad, stats: Mutex::default(), stream: Mutex::default() }
    }
}

impl ObjectImpl for FcmDemux {
    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.add_pad(&self.sinkpad).expect("a new element has no pads");
        obj.add_pad(&self.srcpad).expect("a new element has no source pad");
    }

    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            vec![
                glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                    .nick("Stats")
                    .blurb("Counts since the element was started: pictures, random-access-pictures, corrupt, missing, awaiting, sync-requests")
                    .read_only()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn property(&self, _id: usize, _pspec: &glib::ParamSpec) -> glib::Value {
        let stats = self.stats.lock().unwrap();
        gst::Structure::builder("application/x-fcmdemux-stats")
            .field("pictures", stats.pictures)
            .field("random-access-pictures", stats.random_access_pictures)
            .field("corrupt", stats.corrupt)
            .field("missing", stats.missing)
            .field("awaiting", stats.awaiting)
            .field("sync-requests", stats.sync_requests)
            .build()
            .to_value()
    }
}

impl GstObjectImpl for FcmDemux {}

impl ElementImpl for FcmDemux {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Feature picture demuxer",
                "Codec/Demuxer/Metadata",
                "Takes coded pictures of feature tensors out of access units",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> =
            LazyLock::new(|| coding_element::templates(caps::coded_template(), video::template()));
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            *self.stats.lock().unwrap() = Stats::default();
            *self.stream.lock().unwrap() = Some(Stream::new());
        }
        let result = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            // The pads are inactive now: the streaming thread is out.
            *self.stream.lock().unwrap() = None;
        }
        Ok(result)
    }
}
