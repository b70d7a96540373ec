//! Machine of `fcmparse`: asks the codec core where access units are, and gives them the caps, flags and timestamps
//! they have in GStreamer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use fcm_codec::bitstream::stream::{self, MARKER};
use fcm_codec::{FrameKind, Limits, StreamFormat};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::BaseParseFrameFlags;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;

use super::state::{AccessUnit, State, Upstream, Verdict};
use crate::caps;

static CAT: LazyLock<gst::DebugCategory> =
    LazyLock::new(|| gst::DebugCategory::new("fcmparse", gst::DebugColorFlags::empty(), Some("Feature stream parser")));

/// What the user wishes.
#[derive(Debug, Clone)]
struct Settings {
    max_access_unit: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_access_unit: Limits::default().max_access_unit }
    }
}

/// What `stats` reports; since the element started.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    access_units: u64,
    random_access_units: u64,
    bytes: u64,
    skipped_bytes: u64,
    sync_losses: u64,
    missing_frames: u64,
}

/// The element's machine.
#[derive(Default)]
pub struct FcmParse {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
    counters: Mutex<Counters>,
    /// Duration of the buffer that came last, in nanoseconds; `u64::MAX` = none. The base class forgets it.
    upstream_duration: AtomicU64,
}

#[glib::object_subclass]
impl ObjectSubclass for FcmParse {
    const NAME: &'static str = "GstFcmParse";
    type Type = super::FcmParse;
    type ParentType = gst_base::BaseParse;
}

impl ObjectImpl for FcmParse {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            vec![
                glib::ParamSpecUInt64::builder("max-access-unit")
                    .nick("Maximum Access Unit")
                    .blurb("Largest access unit accepted, in bytes: bounds the memory that a damaged stream can claim")
                    .minimum(1024)
                    .maximum(i32::MAX as u64)
                    .default_value(Settings::default().max_access_unit)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                    .nick("Statistics")
                    .blurb(
                        "Counters since the element started, each a 64-bit unsigned number: access-units, \
                         random-access-units, bytes (of access units), skipped-bytes (garbage, damaged access units, \
                         and what came before the first random access point), sync-losses (times that a stream in \
                         progress was damaged), missing-frames (as told by the frame numbers after a loss)",
                    )
                    .read_only()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        match (pspec.name(), value.get::<u64>()) {
            ("max-access-unit", Ok(bytes)) => lock(&self.settings).max_access_unit = bytes,
            (name, _) => gst::error!(CAT, imp = self, "cannot set property {name} to {value:?}"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "max-access-unit" => lock(&self.settings).max_access_unit.to_value(),
            _ => {
                let counters = *lock(&self.counters);
                gst::Structure::builder("application/x-fcmparse-stats")
                    .field("access-units", counters.access_units)
                    .field("random-access-units", counters.random_access_units)
                    .field("bytes", counters.bytes)
                    .field("skipped-bytes", counters.skipped_bytes)
                    .field("sync-losses", counters.sync_losses)
                    .field("missing-frames", counters.missing_frames)
                    .build()
                    .to_value()
            }
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        self.upstream_duration.store(u64::MAX, Ordering::Relaxed);
        let weak = self.downgrade();
        // The base class wipes the duration of timed input before the subclass sees the buffer, and guesses another
        // from the frame rate. An access unit that came with a duration keeps it.
        self.obj().sink_pad().add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let (Some(imp), Some(buffer)) = (weak.upgrade(), info.buffer()) {
                let duration = buffer.duration().map_or(u64::MAX, gst::ClockTime::nseconds);
                imp.upstream_duration.store(duration, Ordering::Relaxed);
            }
            gst::PadProbeReturn::Ok
        });
    }
}

impl GstObjectImpl for FcmParse {}

impl ElementImpl for FcmParse {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Feature stream parser",
                "Codec/Parser",
                "Cuts a coded feature stream into access units, resynchronises after damage, converts the framing",
                "The gst-plugin-fcm developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let sink = gst::Caps::new_empty_simple(caps::CODED);
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
}

impl BaseParseImpl for FcmParse {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let limits = Limits { max_access_unit: lock(&self.settings).max_access_unit, ..Limits::default() };
        *lock(&self.state) = Some(State::new(limits));
        *lock(&self.counters) = Counters::default();
        self.obj().set_min_frame_size(1);
        self.parent_start()
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = None;
        self.parent_stop()
    }

    fn sink_caps(&self, filter: Option<&gst::Caps>) -> gst::Caps {
        let template = self.obj().sink_pad().pad_template_caps();
        // Downstream's wishes reach upstream, except where this element can serve both.
        let free = |caps: &gst::CapsRef| {
            let mut caps = caps.to_owned();
            for structure in caps.make_mut().iter_mut() {
                structure.remove_fields(["stream-format", "alignment", "parsed", "codec_data", "original-caps"]);
            }
            caps
        };
        let wanted = self.obj().src_pad().peer_query_caps(filter.map(|f| free(f)).as_ref());
        let caps = template.intersect_with_mode(&free(&wanted), gst::CapsIntersectMode::First);
        match filter {
            Some(filter) => filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
            None => caps,
        }
    }

    fn set_sink_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let structure = caps.structure(0).ok_or_else(|| gst::loggable_error!(CAT, "empty caps"))?;
        let upstream = Upstream::parse(structure).map_err(|message| gst::loggable_error!(CAT, "{message}"))?;
        let codec_data = structure.get::<gst::Buffer>("codec_data").ok();
        let codec_data = codec_data.and_then(|data| data.map_readable().ok().map(|map| map.to_vec()));
        gst::debug!(CAT, imp = self, "upstream: {upstream:?}");

        let announce = {
            let mut state = lock(&self.state);
            let state = state.as_mut().ok_or_else(|| gst::loggable_error!(CAT, "not started"))?;
            if state.upstream.format != upstream.format {
                state.seeked();
            }
            state.upstream = upstream;
            // The caps downstream may have to change with these.
            state.announced = None;
            match codec_data.as_deref().map(|data| state.inspector.read_header(data).map(|_| ())) {
                Some(Ok(())) => {
                    state.header = codec_data;
                    true
                }
                // Every random access unit has the parameter sets too, so nothing is lost yet.
                Some(Err(err)) => {
                    gst::warning!(CAT, imp = self, "ignoring the codec_data: {err}");
                    false
                }
                None => false,
            }
        };
        if announce {
            self.announce().map_err(|err| gst::loggable_error!(CAT, "cannot negotiate: {err:?}"))?;
        }
        Ok(())
    }

    fn handle_frame(&self, frame: gst_base::BaseParseFrame) -> Result<(gst::FlowSuccess, u32), gst::FlowError> {
        let obj = self.obj();
        let draining = obj.is_draining();
        let offset = frame.offset();
        let verdict = {
            let map = frame.buffer().ok_or(gst::FlowError::Error)?.map_readable().map_err(|_| {
                gst::element_imp_error!(self, gst::ResourceError::Read, ["cannot map the input at byte {offset}"]);
                gst::FlowError::Error
            })?;
            let mut state = lock(&self.state);
            let state = state.as_mut().ok_or(gst::FlowError::Flushing)?;
            let pulling = obj.sink_pad().mode() == gst::PadMode::Pull;
            if pulling && state.next_offset.is_some_and(|next| next != offset) {
                gst::debug!(CAT, imp = self, "reading goes on at byte {offset}, not at {:?}", state.next_offset);
                state.seeked();
            }
            let verdict = state.examine(&map, draining || (state.upstream.aligned && !pulling));
            let consumed = match &verdict {
                Verdict::AccessUnit(AccessUnit { len, .. })
                | Verdict::EndOfStream { len }
                | Verdict::Drop { len, .. } => *len as u64,
                Verdict::NeedMore { .. } => 0,
            };
            state.next_offset = Some(offset + consumed);
            verdict
        };
        // Waiting for the rest of one access unit must not hold up the next one.
        obj.set_min_frame_size(match &verdict {
            Verdict::NeedMore { at_least } => u32::try_from(*at_least).unwrap_or(u32::MAX),
            _ => 1,
        });
        match verdict {
            Verdict::NeedMore { at_least } => {
                gst::log!(CAT, imp = self, "at byte {offset}: {at_least} bytes wanted");
                return Ok((gst::FlowSuccess::Ok, 0));
            }
            Verdict::AccessUnit(unit) => self.finish(frame, unit),
            Verdict::EndOfStream { len } => {
                gst::debug!(CAT, imp = self, "end of the coded stream at byte {offset}");
                self.discard(frame, len)
            }
            Verdict::Drop { len, lost_sync, reason } => {
                {
                    let mut counters = lock(&self.counters);
                    counters.skipped_bytes += len as u64;
                    counters.sync_losses += u64::from(lost_sync);
                }
                if lost_sync {
                    let reason = reason.map_or_else(|| "damaged or foreign data".to_string(), |err| err.to_string());
                    gst::element_imp_warning!(
                        self,
                        gst::StreamError::Decode,
                        ["{reason} at byte {offset} of the stream: frames up to the next random access point are lost"]
                    );
                }
                gst::debug!(CAT, imp = self, "dropping {len} bytes at byte {offset}");
                self.discard(frame, len)
            }
        }
        .map(|flow| (flow, 0))
    }

    fn pre_push_frame(&self, frame: &mut gst_base::BaseParseFrame) -> Result<gst::FlowSuccess, gst::FlowError> {
        // The base class counts frames only where the segment is one of bytes.
        if let Some(buffer) = frame.buffer_mut()
            && let Some(duration) = buffer.duration()
            && let Some(state) = lock(&self.state).as_mut()
        {
            if buffer.pts().is_none() {
                buffer.set_pts(state.clock);
            }
            state.clock = buffer.pts().map(|pts| pts + duration);
        }
        // The base class drops what lies before the segment unless it is video. Here too the frames from the random
        // access point to the start of the segment are needed to decode what follows; the sink drops what comes of them.
        let segment = self.obj().segment();
        let start = segment.downcast_ref::<gst::ClockTime>().and_then(|segment| segment.start());
        if frame.buffer().and_then(|buffer| buffer.pts()) >= start {
            frame.set_flags(BaseParseFrameFlags::CLIP);
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        use gst::EventView;
        let reset = match event.view() {
            EventView::FlushStop(_) => true,
            // A segment of bytes comes from a seek; one of time may come at any moment of a live stream.
            EventView::Segment(segment) => segment.segment().format() == gst::Format::Bytes,
            _ => false,
        };
        let start = match event.view() {
            EventView::Segment(segment) => segment.segment().downcast_ref::<gst::ClockTime>().and_then(|s| s.start()),
            _ => None,
        };
        let handled = self.parent_sink_event(event);
        if let Some(state) = lock(&self.state).as_mut().filter(|_| start.is_some()) {
            state.clock = start;
        }
        // After the parent, which may still have had bytes of the old position to drain.
        if reset && let Some(state) = lock(&self.state).as_mut() {
            state.seeked();
            self.obj().set_min_frame_size(1);
        }
        handled
    }

    fn src_event(&self, event: gst::Event) -> bool {
        if let gst::EventView::Seek(seek) = event.view()
            && seek.get().0 < 0.0
        {
            gst::info!(CAT, imp = self, "refusing to play backwards: predicted frames need those before them");
            return false;
        }
        self.parent_src_event(event)
    }
}

impl FcmParse {
    /// Consumes `len` bytes of `frame` without output.
    fn discard(&self, mut frame: gst_base::BaseParseFrame, len: usize) -> Result<gst::FlowSuccess, gst::FlowError> {
        // Not by way of the number of bytes to skip that `handle_frame` may return: the base class gives the whole
        // stream up after 2 MiB of those, which can be less than one access unit.
        frame.set_flags(BaseParseFrameFlags::DROP | BaseParseFrameFlags::NO_FRAME);
        frame.set_output_buffer(gst::Buffer::new());
        self.obj().finish_frame(frame, len as u32)
    }

    /// Sends the access unit at the start of `frame` downstream.
    fn finish(
        &self,
        mut frame: gst_base::BaseParseFrame,
        unit: AccessUnit,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let to = self.announce()?;
        let (from, limits, aligned, timing) = {
            let mut state = lock(&self.state);
            let state = state.as_mut().ok_or(gst::FlowError::Flushing)?;
            (state.upstream.format, state.limits.clone(), state.upstream.aligned, state.durations(unit.missing))
        };
        {
            let mut counters = lock(&self.counters);
            counters.access_units += 1;
            counters.random_access_units += u64::from(unit.kind == FrameKind::RandomAccess);
            counters.bytes += unit.len as u64;
            counters.missing_frames += u64::from(unit.missing);
        }

        let buffer = frame.buffer_mut().ok_or(gst::FlowError::Error)?;
        let whole = buffer.size() == unit.len;
        let set = |buffer: &mut gst::BufferRef, flag, on| {
            if on { buffer.set_flags(flag) } else { buffer.unset_flags(flag) }
        };
        set(buffer, gst::BufferFlags::DELTA_UNIT, unit.kind == FrameKind::Predicted);
        if unit.after_loss {
            buffer.set_flags(gst::BufferFlags::DISCONT);
        }
        let own = Some(self.upstream_duration.load(Ordering::Relaxed)).filter(|d| aligned && whole && *d != u64::MAX);
        buffer.set_duration(own.map(gst::ClockTime::from_nseconds).or(timing.map(|(_, duration)| duration)));
        if let Some((hole, _)) = timing.filter(|(hole, _)| !hole.is_zero()) {
            // Only the timestamps that the base class made up: it puts those of upstream back in place of these.
            buffer.set_pts(buffer.pts().map(|pts| pts + hole));
            buffer.set_dts(buffer.dts().map(|dts| dts + hole));
        }

        // One access unit is one memory; without conversion that of the input, if it already is one.
        if from != to || buffer.n_memory() > 1 {
            let mut bytes = Vec::with_capacity(unit.len + MARKER.len());
            {
                let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
                if from == to {
                    bytes.extend_from_slice(&map[..unit.len]);
                } else if let Err(err) = stream::convert(&map[..unit.len], to, &limits, &mut bytes) {
                    drop(map);
                    gst::element_imp_warning!(self, gst::StreamError::Format, ["cannot convert an access unit: {err}"]);
                    return self.discard(frame, unit.len);
                }
            }
            let mut output = gst::Buffer::from_mut_slice(bytes);
            let mut copied = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
            copied.set(gst::BufferCopyFlags::META, whole);
            if let Some(output) = output.get_mut() {
                buffer.copy_into(output, copied, ..).map_err(|_| gst::FlowError::Error)?;
            }
            frame.set_output_buffer(output);
        }
        gst::trace!(CAT, imp = self, "{:?} access unit of {} bytes", unit.kind, unit.len);
        self.obj().finish_frame(frame, unit.len as u32)
    }

    /// Sets the caps downstream if they are not yet those of the stream. Returns the framing chosen.
    fn announce(&self) -> Result<StreamFormat, gst::FlowError> {
        let obj = self.obj();
        let reconfigure = obj.src_pad().check_reconfigure();
        let (sequence, upstream_format) = {
            let state = lock(&self.state);
            let state = state.as_ref().ok_or(gst::FlowError::Flushing)?;
            let sequence = state.inspector.sequence().ok_or(gst::FlowError::NotNegotiated)?;
            if let Some((announced, format)) = &state.announced
                && announced == sequence
                && !reconfigure
            {
                return Ok(*format);
            }
            (sequence.clone(), state.upstream.format)
        };
        let format = self.choose_format(upstream_format)?;
        let coded = {
            let state = lock(&self.state);
            state.as_ref().ok_or(gst::FlowError::Flushing)?.coded_caps(&sequence, format)
        };
        let (num, den) = coded.framerate;
        let caps = coded.to_caps();
        if obj.src_pad().current_caps().as_ref() != Some(&caps) {
            gst::info!(CAT, imp = self, "caps: {caps}");
            obj.src_pad().push_event(gst::event::Caps::new(&caps));
        }
        obj.set_frame_rate(gst::Fraction::new(num as i32, den as i32), 0, 0);
        if let Some(state) = lock(&self.state).as_mut() {
            state.announced = Some((sequence, format));
        }
        Ok(format)
    }

    /// The framing that downstream takes: that of upstream if it can be.
    fn choose_format(&self, upstream: StreamFormat) -> Result<StreamFormat, gst::FlowError> {
        let allowed = self.obj().src_pad().allowed_caps();
        let Some(allowed) = allowed else { return Ok(upstream) };
        let other = match upstream {
            StreamFormat::ByteStream => StreamFormat::Packetized,
            StreamFormat::Packetized => StreamFormat::ByteStream,
        };
        let taken = |format: &StreamFormat| {
            let name = caps::stream_format_name(*format);
            gst::Caps::builder(caps::CODED).field("stream-format", name).build().can_intersect(&allowed)
        };
        [upstream, other].into_iter().find(taken).ok_or_else(|| {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ["downstream takes {allowed}, which has neither byte-stream nor packetized"]
            );
            gst::FlowError::NotNegotiated
        })
    }
}

/// Locks `mutex`, whatever happened to other holders: the bindings already make an element unusable that panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
