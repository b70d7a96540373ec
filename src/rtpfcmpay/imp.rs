//! Machine of `rtpfcmpay`: asks `rtp::packet` how an access unit is cut, and makes RTP packets of that.

use super::settings::{self, Counters, Settings};
use crate::caps::{self, CodedCaps};
use crate::rtp::packet::{self, Packet};
use crate::rtp::{self, parameter_sets};
use crate::warnings::Warnings;
use fcm_codec::bitstream::UnitType;
use fcm_codec::bitstream::stream::{self, UnitSpan};
use fcm_codec::{FrameKind, Limits};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_rtp::prelude::*;
use gst_rtp::rtp_buffer::RTPBuffer;
use gst_rtp::subclass::prelude::*;
use std::ops::Range;
use std::sync::{LazyLock, Mutex};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("rtpfcmpay", gst::DebugColorFlags::empty(), Some("Feature stream payloader"))
});

/// What the streaming thread keeps.
#[derive(Default)]
struct State {
    limits: Limits,
    /// The sequence parameter set that the caps downstream name.
    announced: Option<Vec<u8>>,
    /// The one sent in the stream last, and when (running time).
    in_band: Option<(Vec<u8>, Option<gst::ClockTime>)>,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    warnings: Warnings,
    units: Vec<UnitSpan>,
    packets: Vec<Packet>,
}

/// How an access unit is sent.
struct Plan {
    kind: FrameKind,
    packets: Vec<Packet>,
    /// Where a sequence parameter set lies that the caps do not name yet.
    news: Option<Range<usize>>,
    omitted: bool,
}

/// The element.
#[derive(Default)]
pub struct RtpFcmPay {
    settings: Mutex<Settings>,
    counters: Mutex<Counters>,
    state: Mutex<State>,
}

impl State {
    /// Decides how the access unit `bytes` is sent in payloads of at most `capacity` bytes.
    fn plan(
        &mut self,
        bytes: &[u8],
        pts: Option<gst::ClockTime>,
        capacity: usize,
        config_interval: i32,
    ) -> fcm_codec::Result<Plan> {
        let (kind, _) = stream::split(bytes, &self.limits, &mut self.units)?;
        let set = self.units.first().filter(|unit| unit.unit_type == UnitType::Sequence).map(|unit| unit.range.clone());
        let now = self.segment.as_ref().zip(pts).and_then(|(segment, pts)| segment.to_running_time(pts));
        let omit = match set.clone().map(|set| &bytes[set]) {
            Some(set) if self.omits(set, now, config_interval) => parameter_sets::check_of(set),
            _ => None,
        };
        let mut packets = std::mem::take(&mut self.packets);
        packet::cut(&self.units, kind, capacity, omit, &mut packets)?;
        let news = set.filter(|set| self.announced.as_deref() != Some(&bytes[set.clone()]));
        if let Some(set) = &news {
            self.announced = Some(bytes[set.clone()].to_vec());
        }
        Ok(Plan { kind, packets, news, omitted: omit.is_some() })
    }

    /// Whether the sequence parameter set `set` may be left out of this access unit, which has running time `now`.
    fn omits(&mut self, set: &[u8], now: Option<gst::ClockTime>, config_interval: i32) -> bool {
        let Ok(interval) = u64::try_from(config_interval) else { return false };
        if interval == 0 {
            return true;
        }
        let recent = |since: &gst::ClockTime| {
            now.is_some_and(|now| now.saturating_sub(*since) < gst::ClockTime::from_seconds(interval))
        };
        if self.in_band.as_ref().is_some_and(|(sent, since)| sent == set && since.as_ref().is_some_and(recent)) {
            return true;
        }
        self.in_band = Some((set.to_vec(), now));
        false
    }
}

impl RtpFcmPay {
    /// Sets the caps downstream to those of a stream with this sequence parameter set.
    fn announce(&self, set: Option<&[u8]>) -> Result<(), glib::BoolError> {
        let mut s = gst::Structure::builder("application/x-rtp")
            // What a receiver sends when it has lost frames, and what fcmenc answers.
            .field("rtcp-fb-nack-pli", true)
            .field("rtcp-fb-ccm-fir", true)
            .build();
        if let Some(set) = set {
            s.set(rtp::SPROP_PARAMETER_SETS, glib::base64_encode(set).as_str());
        }
        self.obj().set_outcaps(Some(&s))
    }

    /// Warns of input that cannot be sent, at most once a second.
    fn refuse(&self, why: &fcm_codec::Error) {
        gst::warning!(CAT, imp = self, "not sent: {why}");
        self.counters.lock().unwrap().refused += 1;
        let due = self.state.lock().unwrap().warnings.due();
        if due.is_some() {
            gst::element_imp_warning!(
                self,
                gst::StreamError::Format,
                ("input that is not a whole access unit is not sent: {why}")
            );
        }
    }

    /// An RTP packet with `packet` of the access unit `bytes`.
    fn packet(
        &self,
        buffer: &gst::Buffer,
        bytes: &[u8],
        packet: &Packet,
        last: bool,
    ) -> Result<gst::Buffer, glib::BoolError> {
        let obj = self.obj();
        let size = packet.header.size();
        let csrcs = obj.source_count(buffer) as u8;
        let mut out = obj.allocate_output_buffer((size + packet.body.len()) as u32, 0, csrcs);
        let unshared = out.get_mut().ok_or_else(|| glib::bool_error!("a new packet is shared"))?;
        {
            let mut rtp = RTPBuffer::from_buffer_writable(unshared)?;
            rtp.set_marker(last);
            let payload = rtp.payload_mut()?;
            packet.header.write(payload);
            payload[size..].copy_from_slice(&bytes[packet.body.clone()]);
        }
        unshared.set_pts(buffer.pts());
        unshared.set_dts(buffer.dts());
        unshared.set_flags(if last { gst::BufferFlags::MARKER } else { gst::BufferFlags::empty() });
        if !packet.header.random_access {
            unshared.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        if packet.header.starts && buffer.flags().contains(gst::BufferFlags::DISCONT) {
            unshared.set_flags(gst::BufferFlags::DISCONT);
        }
        // When it was captured, for what is sent in header extensions.
        if packet.header.starts {
            for meta in buffer.iter_meta::<gst::ReferenceTimestampMeta>() {
                let reference = meta.reference().to_owned();
                gst::ReferenceTimestampMeta::add(unshared, &reference, meta.timestamp(), meta.duration());
            }
        }
        Ok(out)
    }
}

#[glib::object_subclass]
impl ObjectSubclass for RtpFcmPay {
    const NAME: &'static str = "GstRtpFcmPay";
    type Type = super::RtpFcmPay;
    type ParentType = gst_rtp::RTPBasePayload;
}

impl ObjectImpl for RtpFcmPay {
    fn properties() -> &'static [glib::ParamSpec] {
        settings::properties()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        match (pspec.name(), value.get::<i32>()) {
            ("config-interval", Ok(seconds)) => self.settings.lock().unwrap().config_interval = seconds,
            (name, _) => gst::error!(CAT, imp = self, "cannot set property {name} to {value:?}"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "config-interval" => self.settings.lock().unwrap().config_interval.to_value(),
            _ => self.counters.lock().unwrap().structure().to_value(),
        }
    }
}

impl GstObjectImpl for RtpFcmPay {}

impl ElementImpl for RtpFcmPay {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "RTP feature stream payloader",
                "Codec/Payloader/Network/RTP",
                "Payload-encodes coded feature streams into RTP packets (docs/rtp.md)",
                "The gst-plugin-fcm developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            // Only packetized: upstream then knows its parameter sets before the first access unit, and there are no
            // markers to take off.
            let sink = gst::Caps::builder(caps::CODED)
                .field("stream-format", caps::stream_format_name(fcm_codec::StreamFormat::Packetized))
                .field("alignment", "au")
                .build();
            let src = gst::Caps::builder("application/x-rtp")
                .field("media", rtp::MEDIA)
                .field("payload", gst::IntRange::new(96, 127))
                .field("clock-rate", rtp::CLOCK_RATE as i32)
                .field("encoding-name", rtp::ENCODING_NAME)
                .build();
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
            *self.state.lock().unwrap() = State::default();
            *self.counters.lock().unwrap() = Counters::default();
        }
        self.parent_change_state(transition)
    }
}

impl RTPBasePayloadImpl for RtpFcmPay {
    fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let coded = CodedCaps::parse(caps).map_err(|err| gst::loggable_error!(CAT, "{err}"))?;
        let limits = Limits::default();
        // The stream has the parameters too; a header that is no good is only a hint that is missing.
        let set = coded.codec_data.filter(|data| {
            let mut inspector = stream::Inspector::new(limits.clone());
            inspector.read_header(data).is_ok()
        });
        self.obj().set_options(rtp::MEDIA, true, rtp::ENCODING_NAME, rtp::CLOCK_RATE);
        self.state.lock().unwrap().announced.clone_from(&set);
        self.announce(set.as_deref())
            .map_err(|_| gst::loggable_error!(CAT, "downstream takes no {}", rtp::ENCODING_NAME))
    }

    fn handle_buffer(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let obj = self.obj();
        let config_interval = self.settings.lock().unwrap().config_interval;
        let map = buffer.map_readable().map_err(|_| {
            gst::element_imp_error!(
                self,
                gst::ResourceError::Read,
                ["cannot map an access unit of {} bytes", buffer.size()]
            );
            gst::FlowError::Error
        })?;
        let headers = gst_rtp::calc_header_len(obj.source_count(&buffer) as u8);
        let capacity = obj.mtu().saturating_sub(headers) as usize;

        let planned = self.state.lock().unwrap().plan(&map, buffer.pts(), capacity, config_interval);
        let Plan { kind, packets, news, omitted } = match planned {
            Ok(plan) => plan,
            Err(error) if error.kind() == fcm_codec::ErrorKind::InvalidConfig => {
                gst::element_imp_error!(self, gst::LibraryError::Settings, ("mtu of {} bytes: {error}", obj.mtu()));
                return Err(gst::FlowError::Error);
            }
            Err(error) => {
                self.refuse(&error);
                return Ok(gst::FlowSuccess::Ok);
            }
        };
        if let Some(set) = news {
            self.announce(Some(&map[set])).map_err(|_| gst::FlowError::NotNegotiated)?;
        }

        let mut list = gst::BufferList::new_sized(packets.len());
        let mut bytes = 0;
        for (n, packet) in packets.iter().enumerate() {
            let out = self.packet(&buffer, &map, packet, n + 1 == packets.len()).map_err(|err| {
                gst::element_imp_error!(self, gst::CoreError::Failed, ["no packet could be made: {err}"]);
                gst::FlowError::Error
            })?;
            bytes += out.size() as u64;
            list.get_mut().ok_or(gst::FlowError::Error)?.add(out);
        }
        {
            let mut counters = self.counters.lock().unwrap();
            let carried: u64 = packets.iter().map(|packet| packet.body.len() as u64).sum();
            counters.access_units += 1;
            counters.random_access_units += u64::from(kind == FrameKind::RandomAccess);
            counters.packets += packets.len() as u64;
            counters.bytes += carried;
            counters.overhead += bytes - carried;
            counters.omitted += u64::from(omitted);
        }
        gst::trace!(CAT, imp = self, "{kind:?} access unit of {} bytes in {} packets", map.len(), packets.len());
        // Kept, so that the next access unit needs no new one.
        self.state.lock().unwrap().packets = packets;
        obj.push_list(list)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::Segment(e) => {
                self.state.lock().unwrap().segment = e.segment().downcast_ref::<gst::ClockTime>().cloned();
            }
            gst::EventView::StreamStart(_) | gst::EventView::FlushStop(_) => self.state.lock().unwrap().in_band = None,
            _ => {}
        }
        self.parent_sink_event(event)
    }
}
