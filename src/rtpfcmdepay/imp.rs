//! Machine of `rtpfcmdepay`: hands packets to `rtp::assembly`, and gives what comes out its caps and flags.

use super::settings::{self, Counters, Settings};
use crate::caps::{self, CodedCaps};
use crate::force_key_unit::Pacer;
use crate::rtp;
use crate::rtp::assembly::{Assembled, Assembler, Received};
use fcm_codec::bitstream::stream::{Inspector, MARKER};
use fcm_codec::{FrameKind, Limits, StreamFormat};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_rtp::prelude::*;
use gst_rtp::rtp_buffer::{RTPBuffer, Readable};
use gst_rtp::subclass::prelude::*;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("rtpfcmdepay", gst::DebugColorFlags::empty(), Some("Feature stream depayloader"))
});

/// What the streaming thread keeps from packet to packet.
struct Stream {
    limits: Limits,
    assembler: Assembler,
    /// The sequence parameter set that the caps downstream were made from, and the framing they have.
    announced: Option<(Vec<u8>, StreamFormat)>,
    /// No use in predicted access units before the next random access unit.
    waiting: bool,
    /// A random access point was seen.
    joined: bool,
    requests: Pacer,
    /// When the access unit that is being put together was captured, if its packets say so.
    captured: Vec<(gst::Caps, gst::ClockTime, Option<gst::ClockTime>)>,
    /// Time of its first packet.
    pts: Option<gst::ClockTime>,
}

impl Stream {
    fn new(limits: Limits) -> Self {
        Self {
            assembler: Assembler::new(limits.clone()),
            limits,
            announced: None,
            waiting: true,
            joined: false,
            requests: Pacer::default(),
            captured: Vec::new(),
            pts: None,
        }
    }
}

/// What a packet led to.
#[derive(Default)]
struct Taken {
    /// An event to send upstream.
    request: Option<gst::Event>,
    /// What is usable of the access unit before, of which packets are missing.
    partial: Option<gst::Buffer>,
    /// The access unit that is complete.
    buffer: Option<gst::Buffer>,
    /// An error to post.
    error: Option<String>,
}

/// The element.
#[derive(Default)]
pub struct RtpFcmDepay {
    settings: Mutex<Settings>,
    counters: Mutex<Counters>,
    stream: Mutex<Option<Stream>>,
}

impl RtpFcmDepay {
    /// Lends the stream to `f`, with no lock held meanwhile; `None` when the element is stopped. Only the streaming thread calls this.
    fn with_stream<R>(&self, f: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        let mut stream = self.stream.lock().unwrap().take()?;
        let result = f(&mut stream);
        *self.stream.lock().unwrap() = Some(stream);
        Some(result)
    }

    /// Something cannot be used for want of a random access point. Returns the event to send upstream, if it is time to ask.
    fn miss(&self, stream: &mut Stream, settings: &Settings, new_loss: bool) -> Option<gst::Event> {
        if !settings.request_keyframe {
            return None;
        }
        let request = stream.requests.ask(new_loss, Duration::ZERO)?;
        self.counters.lock().unwrap().sync_requests += 1;
        gst::debug!(CAT, imp = self, "asking for a random access point");
        Some(request)
    }

    /// Chooses the framing and sets the caps downstream for the sequence parameter set that came last, unless they are set.
    fn announce(&self, stream: &mut Stream) -> Result<StreamFormat, String> {
        let Some(set) = stream.assembler.parameter_set() else { return Err("no parameter set is known".into()) };
        let obj = self.obj();
        let pad = obj.src_pad();
        let reconfigure = pad.check_reconfigure();
        if let Some((announced, format)) = &stream.announced
            && announced == set
            && !reconfigure
        {
            return Ok(*format);
        }
        let mut inspector = Inspector::new(stream.limits.clone());
        let sequence = inspector.read_header(set).map_err(|err| err.to_string())?;
        let peer = pad.peer_query_caps(Some(&pad.pad_template_caps()));
        let format = caps::choose_stream_format(&peer)
            .ok_or_else(|| format!("downstream takes {peer}, legal are byte-stream and packetized"))?;
        let framerate = caps::known(sequence.framerate).unwrap_or((0, 1));
        let caps = CodedCaps::of_sequence(sequence, format, framerate, Some(set.to_vec()), None).to_caps();
        if pad.current_caps().as_ref() != Some(&caps) {
            gst::info!(CAT, imp = self, "caps: {caps}");
            // Why they were refused shows in the result of the buffer after them.
            pad.push_event(gst::event::Caps::new(&caps));
        }
        stream.announced = Some((set.to_vec(), format));
        Ok(format)
    }

    /// Notes the capture time of a packet; the first of an access unit forgets those of the one before.
    fn note_capture_time(stream: &mut Stream, buffer: &gst::BufferRef) {
        for meta in buffer.iter_meta::<gst::ReferenceTimestampMeta>() {
            stream.captured.push((meta.reference().to_owned(), meta.timestamp(), meta.duration()));
        }
    }

    /// The buffer for a whole access unit; `None` when it is of no use.
    fn finish(&self, stream: &mut Stream, settings: &Settings, unit: Assembled) -> Result<Option<gst::Buffer>, String> {
        let random_access = unit.kind == FrameKind::RandomAccess;
        if random_access {
            stream.waiting = false;
            stream.joined = true;
            stream.requests.recovered();
        }
        // Before the first random access point there may be no caps, and there is nothing that could use it.
        if stream.waiting && (settings.wait_for_keyframe || !stream.joined) {
            self.counters.lock().unwrap().dropped_units += 1;
            return Ok(None);
        }
        let format = self.announce(stream)?;

        let mut bytes = unit.bytes;
        if random_access && format == StreamFormat::ByteStream {
            bytes.splice(0..0, MARKER);
        }
        {
            let mut counters = self.counters.lock().unwrap();
            counters.access_units += 1;
            counters.random_access_units += u64::from(random_access);
            counters.bytes += bytes.len() as u64;
            counters.missing_frames += u64::from(unit.missing);
        }
        gst::trace!(CAT, imp = self, "frame {} is {:?}, {} bytes", unit.number, unit.kind, bytes.len());
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        if let Some(unshared) = buffer.get_mut() {
            if !random_access {
                unshared.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
            for (reference, timestamp, duration) in stream.captured.drain(..) {
                gst::ReferenceTimestampMeta::add(unshared, &reference, timestamp, duration);
            }
        }
        Ok(Some(buffer))
    }

    /// Takes one packet.
    fn take(&self, stream: &mut Stream, settings: &Settings, rtp: &RTPBuffer<'_, Readable>, payload: &[u8]) -> Taken {
        let after_loss = rtp.buffer().flags().contains(gst::BufferFlags::DISCONT);
        let received = Received { payload, timestamp: rtp.timestamp(), marker: rtp.is_marker(), after_loss };
        // The base class flags the very first packet of some senders too: that is no loss.
        let loss = after_loss && self.counters.lock().unwrap().packets > 0;
        let outcome = stream.assembler.push(&received);
        let partial = outcome.partial.map(|unit| self.finish_partial(stream, settings, unit)).transpose();
        {
            let mut counters = self.counters.lock().unwrap();
            counters.packets += 1;
            counters.losses += u64::from(loss);
            counters.stray_packets += u64::from(outcome.stray);
            counters.damaged_units += u64::from(outcome.damage.is_some());
        }
        if outcome.starts {
            stream.captured.clear();
            stream.pts = rtp.buffer().pts();
        }
        Self::note_capture_time(stream, rtp.buffer());
        if let Some(why) = &outcome.damage {
            gst::debug!(CAT, imp = self, "packet {}: {why}", rtp.seq());
        }
        let new_loss = loss || outcome.damage.is_some();
        stream.waiting |= new_loss;
        let useless = new_loss || outcome.stray || outcome.unit.is_some();
        let whole = outcome.unit.map(|unit| self.finish(stream, settings, unit)).transpose();
        let mut taken = Taken::default();
        for (result, buffer) in [(partial, &mut taken.partial), (whole, &mut taken.buffer)] {
            match result {
                Ok(made) => *buffer = made.flatten(),
                Err(error) => taken.error = Some(error),
            }
        }
        // The base class gives a time to the first buffer only that a packet leads to.
        if let (Some(_), Some(buffer)) = (&taken.partial, &mut taken.buffer)
            && let Some(unshared) = buffer.get_mut()
        {
            unshared.set_pts(rtp.buffer().pts());
        }
        // What would be asked for may be coming already.
        let ask = stream.waiting && useless && !stream.assembler.random_access_under_way();
        taken.request = ask.then(|| self.miss(stream, settings, new_loss)).flatten();
        taken
    }

    /// Sends all but the buffer that the base class is to send, which is returned. No lock is held.
    fn send(&self, taken: Taken) -> Option<gst::Buffer> {
        let obj = self.obj();
        if let Some(event) = taken.request {
            obj.sink_pad().push_event(event);
        }
        if let Some(error) = taken.error {
            gst::element_imp_error!(self, gst::CoreError::Negotiation, ("cannot agree on coded caps: {error}"));
        }
        if let Some(buffer) = taken.partial {
            // Why it was refused shows in the result of the buffer after it.
            let _ = obj.push(buffer);
        }
        taken.buffer
    }

    /// The buffer for what is usable of an access unit whose last packet is missing.
    fn finish_partial(
        &self,
        stream: &mut Stream,
        settings: &Settings,
        unit: Assembled,
    ) -> Result<Option<gst::Buffer>, String> {
        if settings.wait_for_keyframe {
            self.counters.lock().unwrap().dropped_units += 1;
            return Ok(None);
        }
        let pts = stream.pts;
        let mut buffer = self.finish(stream, settings, unit)?;
        // Part of a random access unit does not end the wait for a whole one.
        stream.waiting = true;
        self.counters.lock().unwrap().partial_units += u64::from(buffer.is_some());
        if let Some(unshared) = buffer.as_mut().and_then(|buffer| buffer.get_mut()) {
            // The base class would give it the time of the packet that comes now.
            unshared.set_pts(pts);
        }
        Ok(buffer)
    }
}

#[glib::object_subclass]
impl ObjectSubclass for RtpFcmDepay {
    const NAME: &'static str = "GstRtpFcmDepay";
    type Type = super::RtpFcmDepay;
    type ParentType = gst_rtp::RTPBaseDepayload;
}

impl ObjectImpl for RtpFcmDepay {
    fn properties() -> &'static [glib::ParamSpec] {
        settings::properties()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        self.settings.lock().unwrap().set(pspec.name(), value);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "fcm-stats" => self.counters.lock().unwrap().structure().to_value(),
            name => self.settings.lock().unwrap().get(name),
        }
    }
}

impl GstObjectImpl for RtpFcmDepay {}

impl ElementImpl for RtpFcmDepay {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "RTP feature stream depayloader",
                "Codec/Depayloader/Network/RTP",
                "Extracts coded feature streams from RTP packets (docs/rtp.md)",
                "The gst-plugin-fcm developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let sink = gst::Caps::builder("application/x-rtp")
                .field("media", rtp::MEDIA)
                .field("clock-rate", rtp::CLOCK_RATE as i32)
                .field("encoding-name", rtp::ENCODING_NAME)
                .build();
            let mut src = caps::coded_template();
            src.make_mut().set("parsed", true);
            let template = |name, direction, caps: &gst::Caps| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, caps)
                    .expect("the template of a static pad with plain caps is valid")
            };
            vec![template("sink", gst::PadDirection::Sink, &sink), template("src", gst::PadDirection::Src, &src)]
        });
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            let max_access_unit = self.settings.lock().unwrap().max_access_unit;
            *self.counters.lock().unwrap() = Counters::default();
            *self.stream.lock().unwrap() = Some(Stream::new(Limits { max_access_unit, ..Limits::default() }));
        }
        let result = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            *self.stream.lock().unwrap() = None;
        }
        Ok(result)
    }
}

impl RTPBaseDepayloadImpl for RtpFcmDepay {
    fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let text = caps.structure(0).and_then(|s| s.get::<Option<String>>(rtp::SPROP_PARAMETER_SETS).ok().flatten());
        let set = text.map(|text| glib::base64_decode(&text));
        let result = self.with_stream(|stream| {
            let Some(set) = set else { return Ok(()) };
            if let Err(error) = stream.assembler.add_parameter_set(&set) {
                // The stream may well have them too.
                gst::warning!(CAT, imp = self, "ignoring {}: {error}", rtp::SPROP_PARAMETER_SETS);
                return Ok(());
            }
            self.announce(stream).map(|_| ())
        });
        match result {
            Some(Err(error)) => Err(gst::loggable_error!(CAT, "cannot negotiate: {error}")),
            _ => Ok(()),
        }
    }

    fn handle_event(&self, event: gst::Event) -> bool {
        if matches!(event.view(), gst::EventView::FlushStop(_) | gst::EventView::StreamStart(_)) {
            self.with_stream(|stream| {
                stream.assembler.restart();
                stream.waiting = true;
                stream.joined = false;
            });
        }
        self.parent_handle_event(event)
    }

    fn packet_lost(&self, event: &gst::EventRef) -> bool {
        // Told before the next packet comes: so much sooner can be asked for what repairs it.
        let settings = self.settings.lock().unwrap().clone();
        let flag = |name: &str| event.structure().and_then(|s| s.get::<bool>(name).ok()).unwrap_or(false);
        if !flag("might-have-been-fec") {
            let taken = self.with_stream(|stream| {
                let (damaged, unit) = stream.assembler.lost();
                self.counters.lock().unwrap().damaged_units += u64::from(damaged);
                let partial = unit.map(|unit| self.finish_partial(stream, &settings, unit)).transpose();
                stream.waiting = true;
                let request = self.miss(stream, &settings, true);
                let (partial, error) = match partial {
                    Ok(buffer) => (buffer.flatten(), None),
                    Err(error) => (None, Some(error)),
                };
                Taken { request, partial, error, buffer: None }
            });
            if let Some(taken) = taken {
                self.send(taken);
            }
        }
        self.parent_packet_lost(event)
    }

    fn process_rtp_packet(&self, rtp: &RTPBuffer<'_, Readable>) -> Option<gst::Buffer> {
        let settings = self.settings.lock().unwrap().clone();
        // Packets without a payload (padding) have no memory to look at.
        let payload = if rtp.payload_size() == 0 { &[][..] } else { rtp.payload().ok()? };
        let taken = self.with_stream(|stream| self.take(stream, &settings, rtp, payload))?;
        self.send(taken)
    }
}
