//! The machine of `fcmdec`: one access unit in, one buffer of tensors out, or none when it is lost.
//!
//! Locks as in `fcmenc`: the streaming thread takes the [`Stream`] out of its mutex while it works.

mod downstream;
mod lateness;
mod loss;

use self::downstream::Downstream;
use self::lateness::Lateness;
use self::loss::Loss;
use super::Conceal;
use super::settings::{self, Settings};
use super::stats::Stats;
use crate::caps::{self, CodedCaps, Framerate, TensorFormat, TensorInfo};
use crate::coding_element::{self, CodingElement, EventsBehindCaps};
use crate::force_key_unit::Pacer;
use crate::tensor_io;
use crate::warnings::Warnings;
use crate::{error, inference, statistics_meta, transform_files};
use fcm_codec::bitstream::{FRAME_NUMBERS, InnerCodec, stream::Inspector};
use fcm_codec::reduction::learned::InferenceRuntime;
use fcm_codec::{
    Damage, Decoded, Decoder, DecoderConfig, Error, ErrorKind, FrameKind, FrameStatistics, Layout, Limits,
};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Instant;

static CAT: LazyLock<gst::DebugCategory> =
    LazyLock::new(|| gst::DebugCategory::new("fcmdec", gst::DebugColorFlags::empty(), Some("Feature tensor decoder")));

/// What threads other than the streaming thread read or write.
#[derive(Debug, Default)]
struct State {
    stats: Stats,
    lateness: Option<Lateness>,
    /// What the caps query on the source pad answers with.
    offer: Option<(Vec<TensorInfo>, Framerate)>,
}

/// What the streaming thread keeps from frame to frame.
struct Stream {
    decoder: Decoder,
    limits: Limits,
    transforms: Vec<fcm_codec::TransformId>,
    input: Option<CodedCaps>,
    layout: Option<Layout>,
    downstream: Downstream,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    discont: bool,
    /// Frames are being lost up to the next random access point.
    losing: bool,
    had_input: bool,
    had_output: bool,
    /// The frame sent last, if it may have to be repeated.
    last_raw: Option<(gst::Buffer, FrameStatistics)>,
    /// How often it was repeated.
    repeated: u32,
    errors_in_a_row: u32,
    last_number: Option<u32>,
    /// Time of the access unit decoded last.
    last_pts: Option<gst::ClockTime>,
    requests: Pacer,
    warnings: Warnings,
}

/// What goes out once the stream is put back.
enum Output {
    Event(gst::Event),
    Upstream(gst::Event),
    Buffer(gst::Buffer),
    Message(gst::Message),
    Warning(String),
}

/// Why an access unit gave no frame and the stream cannot go on.
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
pub struct FcmDec {
    sinkpad: gst::Pad,
    srcpad: gst::Pad,
    settings: Mutex<Settings>,
    state: Mutex<State>,
    stream: Mutex<Option<Stream>>,
}

impl Stream {
    fn new(settings: &Settings, runtime: Option<Arc<dyn InferenceRuntime>>) -> Result<Self, Error> {
        let limits = Limits::default();
        let paths = settings.transform.as_deref().unwrap_or("").split(',').map(str::trim).filter(|p| !p.is_empty());
        let transforms =
            paths.map(|path| transform_files::load(Path::new(path), &limits)).collect::<Result<Vec<_>, _>>()?;
        let config = DecoderConfig {
            transforms: transforms.clone(),
            runtime,
            threads: settings.threads as usize,
            exact_only: settings.discard_corrupted_frames,
            limits: limits.clone(),
        };
        Ok(Self {
            decoder: Decoder::new(config)?,
            limits,
            transforms: transforms.iter().map(|t| t.id()).collect(),
            input: None,
            layout: None,
            downstream: Downstream::default(),
            segment: None,
            discont: true,
            losing: false,
            had_input: false,
            had_output: false,
            last_raw: None,
            repeated: 0,
            errors_in_a_row: 0,
            last_number: None,
            last_pts: None,
            requests: Pacer::default(),
            warnings: Warnings::default(),
        })
    }

    /// The tensors that the coded caps announce, if they do.
    fn announced(&self, coded: &CodedCaps) -> Option<Vec<TensorInfo>> {
        let mut inspector = Inspector::new(self.limits.clone());
        let from_header = coded.codec_data.as_deref().and_then(|data| inspector.read_header(data).ok());
        from_header.map(|sequence| caps::tensor_infos(&sequence.layout)).or_else(|| {
            let raw = caps::parse_raw(coded.original.as_deref()?).ok()?;
            (raw.format == TensorFormat::Static).then_some(raw.tensors)
        })
    }

    /// Upstream says that something is missing before a buffer of time `pts`.
    fn discontinuity(&mut self, pts: Option<gst::ClockTime>) {
        self.discont = true;
        // Frame numbers, which start anew after 64, tell better what is missing, if that can be so much at most.
        let framerate = self.decoder.sequence().filter(|s| s.error_resilient).map(|s| s.framerate);
        let span = framerate.map(|(n, d)| match n {
            0 => gst::ClockTime::SECOND,
            _ => gst::ClockTime::from_nseconds(
                (FRAME_NUMBERS as u64 - 4).saturating_mul(1_000_000_000).saturating_mul(d.into()) / u64::from(n),
            ),
        });
        let passed = pts.zip(self.last_pts).map(|(now, then)| now.saturating_sub(then));
        if span.zip(passed).is_none_or(|(span, passed)| passed > span) {
            self.decoder.discontinuity();
            self.last_number = None;
        }
    }

    /// Forgets the coded stream; what is known of downstream stays.
    fn restart(&mut self) {
        self.decoder.reset();
        self.discont = true;
        self.losing = false;
        self.last_number = None;
        self.last_pts = None;
        self.last_raw = None;
        self.requests.restart();
    }
}

impl FcmDec {
    /// Lends the stream to `f`, with no lock held meanwhile; `None` when the element is stopped. Only the streaming
    /// thread calls this, and pads are deactivated before the stream is dropped.
    fn with_stream<R>(&self, f: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        let mut stream = self.stream.lock().unwrap().take()?;
        let result = f(&mut stream);
        *self.stream.lock().unwrap() = Some(stream);
        Some(result)
    }

    fn set_caps(&self, stream: &mut Stream, caps: &gst::CapsRef) -> Result<Vec<Output>, Failure> {
        let coded = CodedCaps::parse(caps)?;
        if let Some(name) = coded.inner_codec.as_deref().filter(|&name| name != InnerCodec::Native.name()) {
            let message =
                format!("inner-codec={name}: fcmvideodec decodes it, or fcmdemux, a video decoder and fcmunpack");
            return Err(Error::new(ErrorKind::Unsupported, message).into());
        }
        if let Some(id) = coded.transform.filter(|id| !stream.transforms.contains(id)) {
            let have = stream.transforms.iter().map(ToString::to_string).collect::<Vec<_>>();
            let have =
                if have.is_empty() { "none is given".to_owned() } else { format!("given are {}", have.join(", ")) };
            let message = format!("the stream needs the calibrated transform {id}, {have} (property transform)");
            return Err(Error::new(ErrorKind::Transform, message).into());
        }
        let tensors = stream.announced(&coded);
        let framerate = coded.framerate;
        stream.input = Some(coded);
        let mut out = Vec::new();
        // The access unit itself has the last word; this spares elements downstream from waiting for it.
        if let Some(tensors) = tensors {
            self.srcpad.check_reconfigure();
            self.negotiate(&mut stream.downstream, stream.input.as_ref(), tensors, framerate, true, &mut out)?;
        }
        Ok(out)
    }

    fn decode(&self, stream: &mut Stream, buffer: &gst::Buffer) -> Result<Vec<Output>, Failure> {
        if stream.input.is_none() {
            return Err(Failure::NotNegotiated("access units came before their caps".into()));
        }
        let settings = self.settings.lock().unwrap().clone();
        let mut out = Vec::new();
        stream.had_input = true;
        let discont = buffer.flags().contains(gst::BufferFlags::DISCONT);
        if discont {
            stream.discontinuity(buffer.pts());
        }
        let map = buffer.map_readable().map_err(|e| {
            Error::new(ErrorKind::InvalidInput, format!("the buffer cannot be mapped for reading: {e}"))
        })?;
        self.state.lock().unwrap().stats.bytes_in += map.len() as u64;

        let started = Instant::now();
        let mut frame = match stream.decoder.decode(&map) {
            Ok(Decoded::Frame(frame)) => frame,
            Ok(Decoded::AwaitingRandomAccess { missing }) => {
                let out = self.lose(stream, &settings, Loss::Unpredictable(missing), discont)?;
                return Ok(self.conceal(stream, &settings, buffer, out));
            }
            Err(error) if error::costs_only_frames(error.kind()) => {
                let out = self.lose(stream, &settings, Loss::Damaged(error), discont)?;
                return Ok(self.conceal(stream, &settings, buffer, out));
            }
            Err(error) => return Err(error.into()),
        };
        let (number, kind, qp, refreshed) = (frame.number(), frame.kind(), frame.qp(), frame.refreshed());
        if stream.layout.as_ref() != Some(frame.layout()) {
            stream.layout = Some(frame.layout().clone());
        }
        let Some(layout) = &stream.layout else { return Err(Failure::Flow(gst::FlowError::Error)) };
        // Of a random access frame, what is missing before it is counted below.
        let damage = frame.damage().map(|damage| match kind {
            FrameKind::RandomAccess => Damage { missing: Some(0), ..damage },
            FrameKind::Predicted => damage,
        });
        if damage.is_none() {
            stream.losing = false;
            stream.requests.recovered();
        }
        stream.errors_in_a_row = 0;
        stream.last_pts = buffer.pts();
        let mut gap = damage.and_then(|damage| damage.missing).unwrap_or(0);
        // Units lost just before a random access point do no harm to the ones after, but are missing all the same. A number
        // of 0 may also be a new start of the encoder.
        let expected = stream.last_number.replace(number).map(|last| (last + 1) % FRAME_NUMBERS);
        if let Some(expected) = expected.filter(|&e| kind == FrameKind::RandomAccess && e != number && number != 0) {
            let missing = (number + FRAME_NUMBERS - expected) % FRAME_NUMBERS;
            gst::warning!(CAT, imp = self, "{missing} access units are missing before a random access point");
            self.state.lock().unwrap().stats.missing += u64::from(missing);
            stream.discont = true;
            gap = missing;
        }

        // The frame was decoded, since later ones are predicted from it; only writing it is spared.
        let late = {
            let state = &mut self.state.lock().unwrap();
            let may_be = settings.qos && stream.had_output;
            let late = may_be.then(|| self.too_late(state, stream.segment.as_ref(), buffer)).flatten();
            if late.is_some() {
                state.stats.decode_time += started.elapsed();
            }
            late
        };
        if let Some(message) = late {
            gst::debug!(CAT, imp = self, "frame {number} comes too late, not sent");
            stream.discont = true;
            out.push(Output::Message(message));
            if let Some(damage) = damage {
                out.extend(self.lose(stream, &settings, Loss::Inexact(damage), discont)?);
            }
            return Ok(out);
        }

        // A rate that the caps do not say may be in the stream.
        let in_caps = stream.input.as_ref().map_or((0, 1), |input| input.framerate);
        let framerate = caps::known(in_caps).unwrap_or(frame.sequence().framerate);
        let anew = self.srcpad.check_reconfigure();
        let tensors = caps::tensor_infos(layout);
        let result = self.negotiate(&mut stream.downstream, stream.input.as_ref(), tensors, framerate, anew, &mut out);
        if result.is_err() && anew {
            self.srcpad.mark_reconfigure();
        }
        result?;
        let Some(format) = stream.downstream.sent.as_ref().map(|sent| sent.format) else {
            return Err(Failure::Flow(gst::FlowError::NotNegotiated));
        };
        let mut raw = stream.downstream.buffer(layout, format)?;
        let unshared = raw.make_mut();
        tensor_io::write_tensors(unshared, layout, format, |n, tensor| frame.write(n, tensor))?;

        self.take_metadata(unshared, buffer, std::mem::take(&mut stream.discont));
        statistics_meta::attach(unshared, layout, frame.statistics(), refreshed);
        statistics_meta::note_damage(unshared, damage.map_or(0, |damage| damage.frames));
        if damage.is_some() {
            unshared.set_flags(gst::BufferFlags::CORRUPTED);
        }
        let repeatable = (settings.conceal == Conceal::Repeat).then(|| frame.statistics().clone());
        if gap > 0 && !frame.layout_changed() {
            self.fill(stream, &settings, gap, buffer.pts(), &mut out);
        }
        stream.repeated = 0;
        stream.last_raw = repeatable.map(|statistics| (raw.clone(), statistics));
        stream.had_output = true;
        {
            let stats = &mut self.state.lock().unwrap().stats;
            stats.frames += 1;
            stats.random_access_frames += u64::from(kind == FrameKind::RandomAccess);
            stats.refreshes += u64::from(refreshed);
            stats.bytes_out += layout.bytes();
            stats.decode_time += started.elapsed();
            stats.last_qp = qp.into();
        }
        gst::log!(CAT, imp = self, "frame {number} is {kind:?}, {} bytes, qp {qp}", map.len());
        out.push(Output::Buffer(raw));
        if let Some(damage) = damage {
            out.extend(self.lose(stream, &settings, Loss::Inexact(damage), discont)?);
        }
        Ok(out)
    }

    /// Gives a raw buffer flags, times and metas of the coded one.
    fn take_metadata(&self, raw: &mut gst::BufferRef, coded: &gst::BufferRef, discont: bool) {
        let copied = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META;
        if let Err(error) = coded.copy_into(raw, copied, ..) {
            gst::warning!(CAT, imp = self, "not all metadata could be copied: {error}");
        }
        raw.unset_flags(gst::BufferFlags::DISCONT | gst::BufferFlags::DELTA_UNIT | gst::BufferFlags::HEADER);
        if discont {
            raw.set_flags(gst::BufferFlags::DISCONT);
        }
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
                Output::Message(message) => drop(self.obj().post_message(message)),
                Output::Warning(text) => gst::element_imp_warning!(self, gst::StreamError::Decode, ("{text}")),
            }
        }
        result
    }

    /// Posts what a failure is and says what the pad returns.
    fn fail(&self, failure: Failure) -> gst::FlowError {
        match failure {
            Failure::NotNegotiated(why) => {
                gst::element_imp_error!(self, gst::CoreError::Negotiation, ("cannot agree on raw caps: {why}"));
                gst::FlowError::NotNegotiated
            }
            Failure::Flow(flow) => flow,
            Failure::Codec(error) => {
                let transform = self.settings.lock().unwrap().transform.clone();
                let error = transform_files::with_files(error, transform.as_deref().map(Path::new));
                error::post(self, "cannot decode", &error);
                gst::FlowError::Error
            }
        }
    }
}

impl EventsBehindCaps for FcmDec {
    fn src_pad(&self) -> &gst::Pad {
        &self.srcpad
    }

    fn hold(&self, event: &gst::Event) -> bool {
        self.with_stream(|stream| {
            coding_element::hold_if(stream.downstream.sent.is_none(), &mut stream.downstream.waiting, event)
        }) == Some(true)
    }
}

impl CodingElement for FcmDec {
    fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        if buffer.size() == 0 && buffer.flags().contains(gst::BufferFlags::GAP) {
            // An empty buffer that stands for "nothing at this time" is what a gap event says.
            if let Some(pts) = buffer.pts() {
                self.forward(gst::event::Gap::builder(pts).duration(buffer.duration()).build());
            }
            return Ok(gst::FlowSuccess::Ok);
        }
        match self.with_stream(|stream| self.decode(stream, &buffer)) {
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
                let segment = e.segment().downcast_ref::<gst::ClockTime>().cloned();
                self.with_stream(|stream| stream.segment = segment);
                self.state.lock().unwrap().lateness = None;
                self.forward(event)
            }
            gst::EventView::StreamStart(_) => {
                self.with_stream(Stream::restart);
                self.srcpad.push_event(event)
            }
            gst::EventView::FlushStop(_) => {
                self.with_stream(|stream| {
                    stream.restart();
                    stream.segment = None;
                    stream.errors_in_a_row = 0;
                    let waiting = &mut stream.downstream.waiting;
                    waiting.retain(|e| !matches!(e.type_(), gst::EventType::Segment | gst::EventType::Gap));
                });
                self.state.lock().unwrap().lateness = None;
                self.srcpad.push_event(event)
            }
            gst::EventView::Eos(_) => {
                let (fruitless, waiting) = self
                    .with_stream(|stream| {
                        let fruitless = stream.had_input && !stream.had_output;
                        (fruitless, std::mem::take(&mut stream.downstream.waiting))
                    })
                    .unwrap_or_default();
                for event in waiting {
                    self.srcpad.push_event(event);
                }
                if fruitless {
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Decode,
                        ("no frame could be decoded before the end of the stream")
                    );
                }
                self.srcpad.push_event(event)
            }
            _ => self.forward(event),
        }
    }

    fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "{event:?}");
        match event.view() {
            gst::EventView::Qos(e) => {
                self.state.lock().unwrap().lateness = Lateness::of_event(e);
                gst::Pad::event_default(pad, Some(&*self.obj()), event)
            }
            // The pad is marked; the next buffer negotiates. Nothing upstream is concerned.
            gst::EventView::Reconfigure(_) => true,
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    fn query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        use gst::QueryViewMut;
        match query.view_mut() {
            QueryViewMut::Caps(q) if *pad == self.srcpad => {
                let caps = self.offer(q.filter());
                q.set_result(&caps);
                true
            }
            // Downstream's pools are for tensors, upstream's buffers are coded units.
            QueryViewMut::Allocation(_) => false,
            // Bytes of tensors are not bytes of the stream.
            QueryViewMut::Position(q) if q.format() == gst::Format::Bytes => false,
            QueryViewMut::Duration(q) if q.format() == gst::Format::Bytes => false,
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for FcmDec {
    const NAME: &'static str = "GstFcmDec";
    type Type = super::FcmDec;
    type ParentType = gst::Element;

    fn new() -> Self {
        let (sinkpad, srcpad) = coding_element::pads::<Self>(gst::PadFlags::empty());
        Self { sinkpad, srcpad, settings: Mutex::default(), state: Mutex::default(), stream: Mutex::default() }
    }
}

impl ObjectImpl for FcmDec {
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

impl GstObjectImpl for FcmDec {}

impl ElementImpl for FcmDec {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Feature tensor decoder",
                "Codec/Decoder/Metadata",
                "Decodes the feature tensors of a split neural network and restores their statistics",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> =
            LazyLock::new(|| coding_element::templates(caps::coded_template(), caps::raw_template()));
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            let settings = self.settings.lock().unwrap().clone();
            let stream = Stream::new(&settings, inference::runtime(&*self.obj())).map_err(|error| {
                error::post(self, "cannot start", &error);
                gst::StateChangeError
            })?;
            *self.state.lock().unwrap() = State::default();
            *self.stream.lock().unwrap() = Some(stream);
        }
        let result = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            // The pads are inactive now: the streaming thread is out. Counts stay readable until the next start.
            let stream = self.stream.lock().unwrap().take();
            if let Some(mut stream) = stream {
                stream.downstream.close();
            }
            self.state.lock().unwrap().offer = None;
        }
        Ok(result)
    }
}
