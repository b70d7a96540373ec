//! The machine of `fcmenc`: one buffer of tensors in, one access unit out.
//!
//! The streaming thread takes the [`Stream`] out of its mutex while it works and puts it back before it pushes, so no
//! lock is held across a call out; what other threads read or ask for is in [`State`].

use super::settings::{self, Settings};
use super::stats::Stats;
use crate::caps::{self, CodedCaps, RawCaps, TensorFormat};
use crate::coding_element::{self, CodingElement, EventsBehindCaps};
use crate::force_key_unit::{self, Request};
use crate::tensor_io::{self, MappedFrame};
use crate::{error, inference, properties, statistics_meta, transform_files};
use fcm_codec::bitstream::InnerCodec;
use fcm_codec::reduction::learned::InferenceRuntime;
use fcm_codec::{Encoder, EncoderConfig, Error, ErrorKind, FrameKind, FrameRequest, Layout, Limits, RateControl};
use fcm_codec::{StreamFormat, Transform};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Instant;

static CAT: LazyLock<gst::DebugCategory> =
    LazyLock::new(|| gst::DebugCategory::new("fcmenc", gst::DebugColorFlags::empty(), Some("Feature tensor encoder")));

/// What threads other than the streaming thread read or write.
#[derive(Debug, Default)]
struct State {
    stats: Stats,
    requests: Vec<Request>,
}

impl State {
    /// Notes a request; one for the same time as another is the same request.
    fn request(&mut self, request: Request) {
        match self.requests.iter_mut().find(|r| r.running_time == request.running_time) {
            Some(same) => {
                same.all_headers |= request.all_headers;
                same.count = same.count.max(request.count);
            }
            None => self.requests.push(request),
        }
    }

    /// The requests that a frame at `now` answers, joined into one.
    fn due(&self, now: Option<gst::ClockTime>) -> Option<Request> {
        self.requests.iter().filter(|r| is_due(r, now)).copied().reduce(|a, b| Request {
            running_time: None,
            all_headers: a.all_headers | b.all_headers,
            count: a.count.max(b.count),
        })
    }
}

fn is_due(request: &Request, now: Option<gst::ClockTime>) -> bool {
    match (request.running_time, now) {
        (Some(wanted), Some(now)) => wanted <= now,
        // Without a clock to compare with, waiting could last for ever.
        _ => true,
    }
}

/// What the streaming thread keeps from frame to frame.
struct Stream {
    settings: Settings,
    limits: Limits,
    transform: Option<Arc<Transform>>,
    runtime: Option<Arc<dyn InferenceRuntime>>,
    names: Vec<String>,
    input: Option<(RawCaps, gst::Caps)>,
    format: Option<StreamFormat>,
    encoder: Option<Encoder>,
    coded_caps: Option<gst::Caps>,
    /// Sticky events and gaps that came before the coded caps could be known.
    waiting: Vec<gst::Event>,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    last_key_unit: Option<gst::ClockTime>,
    upstream_tags: Option<gst::TagList>,
    tags_due: bool,
    discont: bool,
    capacity: usize,
}

/// What goes downstream once the stream is put back.
enum Output {
    Event(gst::Event),
    Buffer(gst::Buffer),
    /// What the settings are not good for.
    Advice(String),
}

/// Why a buffer or caps could not be coded.
enum Failure {
    NotNegotiated,
    Codec(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Codec(error)
    }
}

/// The element.
pub struct FcmEnc {
    sinkpad: gst::Pad,
    srcpad: gst::Pad,
    settings: Mutex<Settings>,
    state: Mutex<State>,
    stream: Mutex<Option<Stream>>,
}

impl Stream {
    fn new(settings: Settings, runtime: Option<Arc<dyn InferenceRuntime>>) -> Result<Self, Error> {
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
            encoder: None,
            coded_caps: None,
            waiting: Vec::new(),
            segment: None,
            last_key_unit: None,
            upstream_tags: None,
            tags_due: false,
            discont: true,
            capacity: 0,
        })
    }

    fn framerate(&self) -> caps::Framerate {
        self.input.as_ref().map_or((0, 1), |(raw, _)| raw.framerate)
    }

    fn rate_control(&self) -> Result<RateControl, Error> {
        if self.settings.bitrate == 0 {
            return Ok(self.settings.qp.map_or(RateControl::DefaultQp, |qp| RateControl::ConstantQp(qp as u8)));
        }
        let framerate = self.framerate();
        if framerate.0 == 0 {
            let message = format!("bitrate={} needs a frame rate, the caps have framerate=0/1", self.settings.bitrate);
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        Ok(RateControl::Bitrate { kbit_per_second: self.settings.bitrate, frames_per_second: framerate })
    }

    fn layout_of(&self, tensors: &[caps::TensorInfo]) -> Result<Layout, Error> {
        tensor_io::layout(tensors, self.settings.layout.into(), &self.names, &self.limits)
    }

    /// A new encoder for `layout`, unless the one there is is as good. The next frame of a new one is a random access point.
    fn configure(&mut self, layout: Layout) -> Result<(), Error> {
        let format = self.format.unwrap_or_default();
        let framerate = self.framerate();
        if let Some(encoder) = &self.encoder {
            let config = encoder.config();
            if *encoder.layout() == layout && config.format == format && config.framerate == framerate {
                return Ok(());
            }
        }
        let config = EncoderConfig {
            rate_control: self.rate_control()?,
            key_int_max: self.settings.key_int_max,
            stats_period: self.settings.stats_period,
            stats_threshold: self.settings.stats_threshold,
            statistics: self.settings.statistics.into(),
            restoration_strength: properties::asked_strength(self.settings.restoration_strength),
            restoration_gain: (self.settings.restoration_gain > 0.0).then_some(self.settings.restoration_gain),
            transform: self.transform.clone(),
            runtime: self.runtime.clone(),
            components: (self.settings.components > 0).then_some(self.settings.components),
            background_offset: self.settings.background_offset as u8,
            skip_threshold: self.settings.skip_threshold,
            rd_strength: self.settings.rd_strength,
            error_resilient: self.settings.error_resilient,
            motion_compensation: self.settings.motion_compensation,
            intra_prediction: self.settings.intra_prediction,
            slice_size: self.settings.slice_size,
            threads: self.settings.threads as usize,
            format,
            framerate,
            limits: self.limits.clone(),
            ..EncoderConfig::default()
        };
        self.encoder = None;
        self.encoder = Some(Encoder::new(config, layout)?);
        self.tags_due = true;
        Ok(())
    }

    /// Caps of the stream that the encoder writes, pushed when they are new, and what waited for them.
    fn caps_events(&mut self, out: &mut Vec<Output>) {
        let Some(encoder) = &self.encoder else { return };
        let config = encoder.config();
        let coded = CodedCaps {
            format: config.format,
            framerate: config.framerate,
            inner_codec: Some(InnerCodec::default().name().to_owned()),
            statistics: Some(config.statistics),
            statistics_period: Some(config.stats_period),
            transform: config.transform.as_ref().map(|t| t.id()),
            codec_data: (config.format == StreamFormat::Packetized).then(|| encoder.sequence_header()),
            original: self.input.as_ref().map(|(_, caps)| caps.clone()),
        };
        let caps = coded.to_caps();
        if self.coded_caps.as_ref() != Some(&caps) {
            out.push(Output::Event(gst::event::Caps::new(&caps)));
            self.coded_caps = Some(caps);
        }
        out.extend(self.waiting.drain(..).map(Output::Event));
    }

    /// Tags of the coded stream: those from upstream and what this element knows.
    fn tag_event(&self) -> gst::Event {
        let mut tags = self.upstream_tags.clone().unwrap_or_default();
        let unshared = tags.make_mut();
        unshared.add::<gst::tags::Codec>(&"Feature Coding for Machines", gst::TagMergeMode::Replace);
        unshared.add::<gst::tags::Encoder>(&"fcmenc", gst::TagMergeMode::Replace);
        if let Some(rate) = self.settings.bitrate.checked_mul(1000).filter(|&rate| rate > 0) {
            unshared.add::<gst::tags::NominalBitrate>(&rate, gst::TagMergeMode::Replace);
        }
        gst::event::Tag::new(tags)
    }
}

impl FcmEnc {
    /// Posts an error of the codec.
    fn post(&self, what: &str, error: Error) {
        let transform = self.settings.lock().unwrap().transform.clone();
        error::post(self, what, &transform_files::with_files(error, transform.as_deref()));
    }

    /// Lends the stream to `f`, with no lock held meanwhile; `None` when the element is stopped. Only the streaming
    /// thread calls this, and pads are deactivated before the stream is dropped.
    fn with_stream<R>(&self, f: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        let mut stream = self.stream.lock().unwrap().take()?;
        let result = f(&mut stream);
        *self.stream.lock().unwrap() = Some(stream);
        Some(result)
    }

    /// The framing that downstream takes.
    fn negotiate_format(&self) -> Option<StreamFormat> {
        let allowed = self.srcpad.allowed_caps().unwrap_or_else(caps::coded_template);
        gst::debug!(CAT, imp = self, "downstream allows {allowed}");
        caps::choose_stream_format(&allowed)
    }

    fn set_caps(&self, stream: &mut Stream, caps: &gst::Caps, format: StreamFormat) -> Result<Vec<Output>, Error> {
        let raw = caps::parse_raw(caps)?;
        let layout = match raw.format {
            TensorFormat::Static => Some(stream.layout_of(&raw.tensors)?),
            TensorFormat::Flexible => None,
        };
        stream.input = Some((raw, caps.clone()));
        stream.format = Some(format);
        let mut out = Vec::new();
        if let Some(layout) = layout {
            stream.configure(layout)?;
            stream.caps_events(&mut out);
        }
        Ok(out)
    }

    /// Takes the settings that may change while playing.
    fn update_rate(&self, stream: &mut Stream) -> Result<(), Error> {
        let (qp, bitrate) = {
            let settings = self.settings.lock().unwrap();
            (settings.qp, settings.bitrate)
        };
        if (qp, bitrate) == (stream.settings.qp, stream.settings.bitrate) {
            return Ok(());
        }
        stream.tags_due |= bitrate != stream.settings.bitrate;
        (stream.settings.qp, stream.settings.bitrate) = (qp, bitrate);
        let rate_control = stream.rate_control()?;
        gst::debug!(CAT, imp = self, "{rate_control:?} from the next frame on");
        stream.encoder.as_mut().map_or(Ok(()), |encoder| encoder.set_rate_control(rate_control))
    }

    fn code(
        &self,
        stream: &mut Stream,
        buffer: &gst::Buffer,
        format: Option<StreamFormat>,
    ) -> Result<Vec<Output>, Failure> {
        let mut out = Vec::new();
        self.update_rate(stream)?;
        if format.is_some() {
            stream.format = format;
        }
        let flexible = match &stream.input {
            Some((raw, _)) => raw.format == TensorFormat::Flexible,
            None => return Err(Failure::NotNegotiated),
        };
        let frame = if flexible {
            let (frame, infos) = MappedFrame::map_flexible(buffer, &stream.limits)?;
            let layout = stream.layout_of(&infos)?;
            stream.configure(layout)?;
            stream.caps_events(&mut out);
            frame
        } else {
            if let Some(encoder) = stream.encoder.as_ref().filter(|_| format.is_some()) {
                let layout = encoder.layout().clone();
                stream.configure(layout)?;
                stream.caps_events(&mut out);
            }
            let Some(encoder) = &stream.encoder else { return Err(Failure::NotNegotiated) };
            MappedFrame::map_static(buffer, encoder.layout())?
        };
        let Some(encoder) = stream.encoder.as_mut() else { return Err(Failure::NotNegotiated) };

        let now = stream.segment.as_ref().and_then(|segment| segment.to_running_time(buffer.pts()));
        let interval = self.settings.lock().unwrap().min_force_key_unit_interval;
        let throttled = match (stream.last_key_unit, now) {
            (Some(last), Some(now)) => now.saturating_sub(last) < interval,
            _ => false,
        };
        let due = self.state.lock().unwrap().due(now);
        let request = FrameRequest { random_access: due.is_some() && !throttled };

        let mut unit = Vec::with_capacity(stream.capacity);
        let started = Instant::now();
        let encoded = encoder.encode(&frame.tensors()?, request, &mut unit)?;
        let elapsed = started.elapsed();
        // Room for a unit a quarter larger than this one spares most of the growing next time.
        stream.capacity = unit.len() + unit.len() / 4;
        drop(frame);

        let random_access = encoded.kind == FrameKind::RandomAccess;
        let mut coded = gst::Buffer::from_mut_slice(unit);
        let unshared = coded.make_mut();
        let copied = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META;
        if let Err(error) = buffer.copy_into(unshared, copied, ..) {
            gst::warning!(CAT, imp = self, "not all metadata could be copied: {error}");
        }
        // DISCONT of raw tensors says that frames are missing in time (a leaky queue dropped some). A decoder would take it for
        // lost access units and wait for a random access point, though it has all it needs. GAP and DROPPABLE units would be
        // thrown away by transports, although later ones need them.
        unshared.unset_flags(
            gst::BufferFlags::DISCONT
                | gst::BufferFlags::DELTA_UNIT
                | gst::BufferFlags::HEADER
                | gst::BufferFlags::GAP
                | gst::BufferFlags::DROPPABLE,
        );
        if !random_access {
            unshared.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        if std::mem::take(&mut stream.discont) {
            unshared.set_flags(gst::BufferFlags::DISCONT);
        }
        statistics_meta::attach(unshared, encoder.layout(), encoder.statistics(), encoded.refreshed);

        let duration = buffer.duration().or_else(|| caps::period(encoder.config().framerate));
        {
            let mut state = self.state.lock().unwrap();
            if random_access {
                state.requests.retain(|r| !is_due(r, now));
            }
            let stats = &mut state.stats;
            stats.frames += 1;
            stats.random_access_frames += u64::from(random_access);
            stats.refreshes += u64::from(encoded.refreshed);
            stats.forced_key_units += u64::from(random_access && due.is_some());
            stats.bytes_in += encoder.layout().bytes();
            stats.bytes_out += encoded.bytes as u64;
            stats.header_bytes += encoded.header_bytes as u64;
            stats.statistics_bytes += encoded.statistics_bytes as u64;
            stats.media_time += duration.unwrap_or(gst::ClockTime::ZERO);
            stats.encode_time += elapsed;
            stats.last_qp = encoded.qp.into();
        }
        gst::log!(
            CAT,
            imp = self,
            "frame {} is {:?}, {} bytes, qp {}",
            encoded.index,
            encoded.kind,
            encoded.bytes,
            encoded.qp
        );

        if std::mem::take(&mut stream.tags_due) {
            out.push(Output::Event(stream.tag_event()));
            out.extend(stream.encoder.as_ref().and_then(|e| e.config().advice()).map(Output::Advice));
        }
        if random_access {
            stream.last_key_unit = now.or(stream.last_key_unit);
            if let Some(request) = due {
                let stream_time = stream.segment.as_ref().and_then(|segment| segment.to_stream_time(buffer.pts()));
                let event = force_key_unit::downstream(buffer.pts(), stream_time, now, &request);
                out.push(Output::Event(event));
            }
        }
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
                Output::Advice(advice) => gst::element_imp_info!(self, gst::LibraryError::Settings, ("{advice}")),
            }
        }
        result
    }

    fn refuse(&self) {
        let allowed = self.srcpad.allowed_caps();
        gst::element_imp_error!(
            self,
            gst::CoreError::Negotiation,
            ("downstream takes no {} with alignment=au", caps::CODED),
            ["downstream takes {allowed:?}"]
        );
    }

    /// The next frame starts a new stream.
    fn restart(stream: &mut Stream) {
        if let Some(encoder) = &mut stream.encoder {
            encoder.reset();
        }
        stream.discont = true;
        stream.last_key_unit = None;
    }
}

impl EventsBehindCaps for FcmEnc {
    fn src_pad(&self) -> &gst::Pad {
        &self.srcpad
    }

    fn hold(&self, event: &gst::Event) -> bool {
        self.with_stream(|stream| coding_element::hold_if(stream.coded_caps.is_none(), &mut stream.waiting, event))
            == Some(true)
    }
}

impl CodingElement for FcmEnc {
    fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        if buffer.size() == 0 && buffer.flags().contains(gst::BufferFlags::GAP) {
            // An empty buffer that stands for "nothing at this time" is what a gap event says.
            if let Some(pts) = buffer.pts() {
                self.forward(gst::event::Gap::builder(pts).duration(buffer.duration()).build());
            }
            return Ok(gst::FlowSuccess::Ok);
        }
        let format = if self.srcpad.check_reconfigure() {
            let format = self.negotiate_format();
            if format.is_none() {
                self.srcpad.mark_reconfigure();
                self.refuse();
                return Err(gst::FlowError::NotNegotiated);
            }
            format
        } else {
            None
        };
        match self.with_stream(|stream| self.code(stream, &buffer, format)) {
            Some(Ok(out)) => self.push(out),
            Some(Err(Failure::NotNegotiated)) => {
                gst::element_imp_error!(self, gst::CoreError::Negotiation, ("tensors came before their caps"));
                Err(gst::FlowError::NotNegotiated)
            }
            Some(Err(Failure::Codec(error))) => {
                self.post("cannot encode", error);
                Err(gst::FlowError::Error)
            }
            None => Err(gst::FlowError::Flushing),
        }
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "{event:?}");
        if let Some(request) = force_key_unit::parse(&event) {
            self.state.lock().unwrap().request(request);
            return true;
        }
        match event.view() {
            gst::EventView::Caps(e) => {
                self.srcpad.check_reconfigure();
                let Some(format) = self.negotiate_format() else {
                    self.refuse();
                    return false;
                };
                let caps = e.caps_owned();
                match self.with_stream(|stream| self.set_caps(stream, &caps, format)) {
                    Some(Ok(out)) => self.push(out).is_ok(),
                    Some(Err(error)) => {
                        self.post("cannot encode these tensors", error);
                        false
                    }
                    None => false,
                }
            }
            gst::EventView::Segment(e) => {
                let segment = e.segment().downcast_ref::<gst::ClockTime>().cloned();
                self.with_stream(|stream| stream.segment = segment);
                self.forward(event)
            }
            gst::EventView::StreamStart(_) => {
                self.with_stream(Self::restart);
                self.srcpad.push_event(event)
            }
            gst::EventView::FlushStop(_) => {
                self.with_stream(|stream| {
                    Self::restart(stream);
                    stream.segment = None;
                    stream.waiting.retain(|e| !matches!(e.type_(), gst::EventType::Segment | gst::EventType::Gap));
                });
                self.srcpad.push_event(event)
            }
            gst::EventView::Tag(e) if e.tag().scope() == gst::TagScope::Stream => {
                // They go on together with what this element says of the stream, before the next access unit.
                self.with_stream(|stream| {
                    let tags = e.tag_owned();
                    stream.upstream_tags = Some(match stream.upstream_tags.take() {
                        Some(before) => before.merge(&tags, gst::TagMergeMode::Replace),
                        None => tags,
                    });
                    stream.tags_due = true;
                });
                true
            }
            gst::EventView::Eos(_) => {
                // No frame is held back; events may still wait for caps that will never come, and tags for a frame.
                let waiting = self.with_stream(|stream| {
                    let mut waiting = std::mem::take(&mut stream.waiting);
                    let tags = stream.tags_due && stream.upstream_tags.is_some();
                    waiting.extend(tags.then(|| stream.tag_event()));
                    waiting
                });
                for event in waiting.unwrap_or_default() {
                    self.srcpad.push_event(event);
                }
                self.srcpad.push_event(event)
            }
            _ => self.forward(event),
        }
    }

    fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "{event:?}");
        if let Some(request) = force_key_unit::parse(&event) {
            self.state.lock().unwrap().request(request);
            return true;
        }
        match event.type_() {
            // The pad is marked; the next buffer negotiates. Nothing upstream is concerned.
            gst::EventType::Reconfigure => true,
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    fn query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        use gst::QueryViewMut;
        match query.view_mut() {
            // Downstream's pools are for coded units, upstream's buffers are tensors.
            QueryViewMut::Allocation(_) => false,
            // Bytes of tensors are not bytes of the stream.
            QueryViewMut::Position(q) if q.format() == gst::Format::Bytes => false,
            QueryViewMut::Duration(q) if q.format() == gst::Format::Bytes => false,
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for FcmEnc {
    const NAME: &'static str = "GstFcmEnc";
    type Type = super::FcmEnc;
    type ParentType = gst::Element;

    fn new() -> Self {
        // Raw caps may lack fields of the template, such as the format.
        let (sinkpad, srcpad) = coding_element::pads::<Self>(gst::PadFlags::ACCEPT_INTERSECT);
        Self { sinkpad, srcpad, settings: Mutex::default(), state: Mutex::default(), stream: Mutex::default() }
    }
}

impl ObjectImpl for FcmEnc {
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
        match pspec.name() {
            "stats" => self.state.lock().unwrap().stats.structure().to_value(),
            name => self.settings.lock().unwrap().get(name),
        }
    }
}

impl GstObjectImpl for FcmEnc {}

impl ElementImpl for FcmEnc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Feature tensor encoder",
                "Codec/Encoder/Metadata",
                "Codes the feature tensors of a split neural network, with their statistics",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> =
            LazyLock::new(|| coding_element::templates(caps::raw_template(), caps::coded_template()));
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            let settings = self.settings.lock().unwrap().clone();
            let stream = Stream::new(settings, inference::runtime(&*self.obj())).map_err(|error| {
                error::post(self, "cannot start", &error);
                gst::StateChangeError
            })?;
            *self.state.lock().unwrap() = State::default();
            *self.stream.lock().unwrap() = Some(stream);
        }
        let result = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            // The pads are inactive now: the streaming thread is out. Counts stay readable until the next start.
            *self.stream.lock().unwrap() = None;
        }
        Ok(result)
    }
}
