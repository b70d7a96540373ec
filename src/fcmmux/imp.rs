//! The machine of `fcmmux`: one coded picture in, one access unit out.

use crate::caps::{self, CodedCaps};
use crate::coding_element::{self, CodingElement};
use crate::picture::beside::{Beside, Record, Waiting};
use crate::picture::video;
use crate::{error, properties, statistics_meta};
use fcm_codec::picture::{PictureWriter, VideoCodec, WriterConfig};
use fcm_codec::{Error, ErrorKind, FrameKind, Sequence, StreamFormat};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::{Arc, LazyLock, Mutex};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("fcmmux", gst::DebugColorFlags::empty(), Some("Coded pictures into access units"))
});

/// What the user wishes.
#[derive(Debug, Clone, Copy)]
struct Settings {
    stats_period: u32,
    stats_threshold: f32,
}

impl Default for Settings {
    fn default() -> Self {
        let codec = WriterConfig::default();
        Self { stats_period: codec.stats_period, stats_threshold: codec.stats_threshold }
    }
}

/// What the property `stats` counts since the element was started.
#[derive(Debug, Clone, Default)]
struct Stats {
    pictures: u64,
    random_access_pictures: u64,
    refreshes: u64,
    video_bytes: u64,
    bytes_out: u64,
    statistics_bytes: u64,
    /// Pictures that the encoder made before its first key frame.
    dropped: u64,
}

/// What the streaming thread keeps from picture to picture.
struct Stream {
    settings: Settings,
    codec: Option<VideoCodec>,
    writer: Option<PictureWriter>,
    beside: Waiting<Record>,
    /// The encoder's.
    segment: gst::FormattedSegment<gst::ClockTime>,
    sent_segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    /// What the caps sent were made from.
    announced: Option<(Arc<Sequence>, VideoCodec, StreamFormat)>,
    sent_caps: Option<gst::Caps>,
    /// Sticky events that came before the caps could be known.
    waiting: Vec<gst::Event>,
    /// Parameter sets of the video that came in a buffer of their own, for the next picture.
    header: Vec<u8>,
    discont: bool,
}

/// What goes downstream once the stream is put back.
enum Output {
    Event(gst::Event),
    Buffer(gst::Buffer),
}

/// Why a buffer could not be taken.
enum Failure {
    NotNegotiated(String),
    Codec(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Codec(error)
    }
}

/// The element.
pub struct FcmMux {
    sinkpad: gst::Pad,
    srcpad: gst::Pad,
    settings: Mutex<Settings>,
    stats: Mutex<Stats>,
    stream: Mutex<Option<Stream>>,
}

impl Stream {
    fn new(settings: Settings) -> Self {
        Self {
            settings,
            codec: None,
            writer: None,
            beside: Waiting::default(),
            segment: gst::FormattedSegment::new(),
            sent_segment: None,
            announced: None,
            sent_caps: None,
            waiting: Vec::new(),
            header: Vec::new(),
            discont: true,
        }
    }

    /// The next picture starts a new stream.
    fn restart(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.reset();
        }
        self.beside.clear();
        self.header.clear();
        self.sent_segment = None;
        self.discont = true;
    }
}

impl FcmMux {
    /// Lends the stream to `f`, with no lock held meanwhile; `None` when the element is stopped.
    fn with_stream<R>(&self, f: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        let mut stream = self.stream.lock().unwrap().take()?;
        let result = f(&mut stream);
        *self.stream.lock().unwrap() = Some(stream);
        Some(result)
    }

    /// Caps of the stream that `record` belongs to, if they are new.
    fn announce(&self, stream: &mut Stream, record: &Record, out: &mut Vec<Output>) -> Result<(), Failure> {
        let Some(codec) = stream.codec else {
            return Err(Failure::NotNegotiated("coded pictures came before their caps".into()));
        };
        let reconfigure = self.srcpad.check_reconfigure();
        let sequence = &record.0.sequence;
        let known = |(s, c, _): &(Arc<Sequence>, VideoCodec, StreamFormat)| Arc::ptr_eq(s, sequence) && *c == codec;
        if !reconfigure && stream.announced.as_ref().is_some_and(known) {
            return Ok(());
        }
        let allowed = self.srcpad.allowed_caps().unwrap_or_else(caps::coded_template);
        let Some(format) = caps::choose_stream_format(&allowed) else {
            self.srcpad.mark_reconfigure();
            return Err(Failure::NotNegotiated(format!("downstream takes {allowed}")));
        };
        let writer = match &mut stream.writer {
            Some(writer) if writer.config().codec == codec => writer,
            writer => writer.insert(PictureWriter::new(WriterConfig {
                codec,
                stats_period: stream.settings.stats_period,
                stats_threshold: stream.settings.stats_threshold,
                ..WriterConfig::default()
            })?),
        };
        writer.set_format(format);
        let written = writer.sequence(&record.0)?;
        let header = writer.sequence_header(&record.0)?;
        let caps = CodedCaps::of_sequence(&written, format, written.framerate, Some(header), None).to_caps();
        if stream.sent_caps.as_ref() != Some(&caps) {
            out.push(Output::Event(gst::event::Caps::new(&caps)));
            stream.sent_caps = Some(caps);
        }
        stream.announced = Some((sequence.clone(), codec, format));
        Ok(())
    }

    fn mux(&self, stream: &mut Stream, buffer: &gst::Buffer) -> Result<Vec<Output>, Failure> {
        let mut out = Vec::new();
        let map = buffer.map_readable().map_err(|e| {
            Error::new(ErrorKind::InvalidInput, format!("the buffer cannot be mapped for reading: {e}"))
        })?;
        let Some(pts) = buffer.pts() else {
            if buffer.flags().contains(gst::BufferFlags::HEADER) {
                stream.header.extend_from_slice(&map);
                return Ok(out);
            }
            let message = "a coded picture without a timestamp, which tells what features are in it";
            return Err(Error::new(ErrorKind::InvalidInput, message).into());
        };
        let Some(beside) = stream.beside.take(&stream.segment, pts) else {
            let message = format!(
                "nothing is known of the picture at {pts}: fcmpack must be upstream, with nothing between that changes times or drops events"
            );
            return Err(Error::new(ErrorKind::InvalidInput, message).into());
        };
        self.announce(stream, &beside.content, &mut out)?;
        let Some(writer) = &mut stream.writer else {
            return Err(Failure::NotNegotiated("coded pictures came before their caps".into()));
        };
        if stream.sent_segment.as_ref() != Some(&beside.segment) {
            let segment = gst::event::Segment::new(&beside.segment);
            stream.sent_segment = Some(beside.segment.clone());
            out.push(Output::Event(segment));
        }
        out.extend(stream.waiting.drain(..).map(Output::Event));

        let random_access = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let record = &beside.content.0;
        let mut unit = Vec::with_capacity(map.len() + 256);
        let written = if stream.header.is_empty() {
            writer.write(record, &map, random_access, &mut unit)?
        } else {
            stream.header.extend_from_slice(&map);
            let whole = std::mem::take(&mut stream.header);
            writer.write(record, &whole, random_access, &mut unit)?
        };
        let mut stats = self.stats.lock().unwrap();
        let Some(written) = written else {
            gst::debug!(CAT, imp = self, "the picture at {pts} is before the first key frame");
            stats.dropped += 1;
            return Ok(out);
        };
        stats.pictures += 1;
        stats.random_access_pictures += u64::from(random_access);
        stats.refreshes += u64::from(written.refreshed);
        stats.video_bytes += map.len() as u64;
        stats.bytes_out += written.bytes as u64;
        stats.statistics_bytes += written.statistics_bytes as u64;
        drop(stats);
        gst::log!(CAT, imp = self, "picture {} at {}: {written:?}", record.number, beside.pts);

        let mut coded = gst::Buffer::from_mut_slice(unit);
        let unshared = coded.make_mut();
        unshared.set_pts(beside.pts);
        unshared.set_duration(beside.duration.or(buffer.duration()));
        // As far from the time of presentation as the encoder says; before 0 there are no times.
        let dts = buffer
            .dts()
            .map(|dts| i128::from(dts.nseconds()) - i128::from(pts.nseconds()) + i128::from(beside.pts.nseconds()));
        unshared.set_dts(dts.and_then(|dts| u64::try_from(dts).ok()).map(gst::ClockTime::from_nseconds));
        if written.kind == FrameKind::Predicted {
            unshared.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        if std::mem::take(&mut stream.discont) {
            unshared.set_flags(gst::BufferFlags::DISCONT);
        }
        statistics_meta::attach(unshared, &record.sequence.layout, &record.statistics, written.refreshed);
        out.push(Output::Buffer(coded));
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
}

impl CodingElement for FcmMux {
    fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        match self.with_stream(|stream| self.mux(stream, &buffer)) {
            Some(Ok(out)) => self.push(out),
            Some(Err(Failure::NotNegotiated(why))) => {
                gst::element_imp_error!(
                    self,
                    gst::CoreError::Negotiation,
                    ("cannot agree on {} with alignment=au: {why}", caps::CODED)
                );
                Err(gst::FlowError::NotNegotiated)
            }
            Some(Err(Failure::Codec(error))) => {
                error::post(self, "cannot write an access unit", &error);
                Err(gst::FlowError::Error)
            }
            None => Err(gst::FlowError::Flushing),
        }
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "{event:?}");
        if let Some(beside) = Beside::<Record>::parse(&event) {
            self.with_stream(|stream| stream.beside.insert(beside));
            return true;
        }
        match event.view() {
            gst::EventView::Caps(e) => match video::codec(e.caps()) {
                // Our caps follow with the first picture: what they say of the features comes beside it.
                Ok(codec) => self.with_stream(|stream| stream.codec = Some(codec)).is_some(),
                Err(error) => {
                    error::post(self, "cannot take this video", &error);
                    false
                }
            },
            gst::EventView::Segment(e) => {
                // The encoder's may be moved; that of fcmpack is sent in its place.
                if let Some(segment) = e.segment().downcast_ref::<gst::ClockTime>().cloned() {
                    self.with_stream(|stream| stream.segment = segment);
                }
                true
            }
            gst::EventView::StreamStart(_) | gst::EventView::FlushStop(_) => {
                self.with_stream(Stream::restart);
                self.srcpad.push_event(event)
            }
            // Before the first picture there is no segment that it could refer to.
            gst::EventView::Gap(_) if self.with_stream(|s| s.sent_segment.is_none()) == Some(true) => true,
            _ if event.is_serialized() && event.is_sticky() && event.type_() != gst::EventType::Eos => {
                let kept = self.with_stream(|stream| {
                    let wait = stream.sent_caps.is_none();
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
            // The pad is marked; the next picture negotiates.
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
impl ObjectSubclass for FcmMux {
    const NAME: &'static str = "GstFcmMux";
    type Type = super::FcmMux;
    type ParentType = gst::Element;

    fn new() -> Self {
        // av1enc of GStreamer 1.22 does not say that it writes OBUs.
        let (sinkpad, srcpad) = coding_element::pads::<Self>(gst::PadFlags::ACCEPT_INTERSECT);
        Self { sinkpad, srcpad, settings: Mutex::default(), stats: Mutex::default(), stream: Mutex::default() }
    }
}

impl ObjectImpl for FcmMux {
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
                properties::stats_period(default.stats_period),
                properties::stats_threshold(default.stats_threshold),
                glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                    .nick("Stats")
                    .blurb("Counts since the element was started: pictures, random-access-pictures, refreshes, video-bytes, bytes-out, statistics-bytes, dropped (pictures before the first key frame)")
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
            "stats-period" => settings.stats_period = value.get().expect(TYPE),
            "stats-threshold" => settings.stats_threshold = value.get().expect(TYPE),
            name => unreachable!("property {name} is not writable"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats-period" => self.settings.lock().unwrap().stats_period.to_value(),
            "stats-threshold" => self.settings.lock().unwrap().stats_threshold.to_value(),
            _ => {
                let stats = self.stats.lock().unwrap();
                gst::Structure::builder("application/x-fcmmux-stats")
                    .field("pictures", stats.pictures)
                    .field("random-access-pictures", stats.random_access_pictures)
                    .field("refreshes", stats.refreshes)
                    .field("video-bytes", stats.video_bytes)
                    .field("bytes-out", stats.bytes_out)
                    .field("statistics-bytes", stats.statistics_bytes)
                    .field("dropped", stats.dropped)
                    .build()
                    .to_value()
            }
        }
    }
}

impl GstObjectImpl for FcmMux {}

impl ElementImpl for FcmMux {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Feature picture muxer",
                "Codec/Muxer/Metadata",
                "Puts coded pictures of feature tensors, and their statistics, into access units",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> =
            LazyLock::new(|| coding_element::templates(video::template(), caps::coded_template()));
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            let settings = *self.settings.lock().unwrap();
            *self.stats.lock().unwrap() = Stats::default();
            *self.stream.lock().unwrap() = Some(Stream::new(settings));
        }
        let result = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            // The pads are inactive now: the streaming thread is out.
            *self.stream.lock().unwrap() = None;
        }
        Ok(result)
    }
}
