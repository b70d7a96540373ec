//! Caps of coded access units.

use super::{Framerate, RawCaps, TensorFormat, fraction, framerate, invalid, raw_caps, tensor_infos};
use fcm_codec::bitstream::{InnerCodec, Reduction};
use fcm_codec::picture::VideoCodec;
use fcm_codec::{Error, ErrorKind, Result, Sequence, StatisticsMode, StreamFormat, TransformId};

/// Media type of coded tensors.
pub const CODED: &str = "application/x-fcm";

/// Coded caps stay below this many characters as a string: some transports cut or refuse longer ones.
pub const LONGEST_CAPS: usize = 512;

/// Fixed coded caps, read or to be written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CodedCaps {
    /// Framing.
    pub format: StreamFormat,
    /// Frame rate; 0/1 is unknown.
    pub framerate: Framerate,
    /// Name of the inner codec.
    pub inner_codec: Option<String>,
    /// Statistics mode.
    pub statistics: Option<StatisticsMode>,
    /// Frames between refreshes of the statistics.
    pub statistics_period: Option<u32>,
    /// Calibrated transform.
    pub transform: Option<TransformId>,
    /// Parameter sets.
    pub codec_data: Option<Vec<u8>>,
    /// The raw caps that were coded.
    pub original: Option<gst::Caps>,
}

/// The name of a framing in coded caps.
pub const fn stream_format_name(format: StreamFormat) -> &'static str {
    match format {
        StreamFormat::ByteStream => "byte-stream",
        StreamFormat::Packetized => "packetized",
    }
}

/// Pad template of coded access units; byte streams are preferred.
pub fn coded_template() -> gst::Caps {
    gst::Caps::builder(CODED)
        .field("stream-format", gst::List::new(["byte-stream", "packetized"]))
        .field("alignment", "au")
        .build()
}

/// The framing to write for a peer that takes `allowed` of [`coded_template`]; `None` when it takes neither.
pub fn choose_stream_format(allowed: &gst::CapsRef) -> Option<StreamFormat> {
    [StreamFormat::ByteStream, StreamFormat::Packetized].into_iter().find(|&format| {
        let ours = gst::Caps::builder(CODED)
            .field("stream-format", stream_format_name(format))
            .field("alignment", "au")
            .field("parsed", true)
            .build();
        ours.can_intersect(allowed)
    })
}

impl CodedCaps {
    /// What a sequence parameter set says. `header` is that set, whole, for `codec_data`, which only a packetized stream has; `original` the raw
    /// caps that were coded, made up from the sequence where they are not known.
    pub fn of_sequence(
        sequence: &Sequence,
        format: StreamFormat,
        framerate: Framerate,
        header: Option<Vec<u8>>,
        original: Option<gst::Caps>,
    ) -> Self {
        Self {
            format,
            framerate,
            inner_codec: Some(sequence.inner.name().into()),
            statistics: Some(sequence.statistics),
            statistics_period: Some(sequence.stats_period),
            transform: match sequence.reduction {
                Reduction::Dct => None,
                Reduction::Calibrated(id) => Some(id),
            },
            codec_data: header.filter(|_| format == StreamFormat::Packetized),
            original: Some(original.unwrap_or_else(|| {
                raw_caps(&RawCaps { format: TensorFormat::Static, tensors: tensor_infos(&sequence.layout), framerate })
            })),
        }
    }

    /// The caps. `codec_data` and `original-caps`, which repeat what the stream says too, are left out where they would make
    /// the string longer than transports carry.
    pub fn to_caps(&self) -> gst::Caps {
        let mut s = gst::Structure::builder(CODED)
            .field("stream-format", stream_format_name(self.format))
            .field("alignment", "au")
            .field("parsed", true)
            .field("framerate", fraction(self.framerate))
            .field_if_some("inner-codec", self.inner_codec.as_deref())
            .field_if_some("statistics", self.statistics.map(StatisticsMode::name))
            .field_if_some("statistics-period", self.statistics_period.map(|p| i32::try_from(p).unwrap_or(i32::MAX)))
            .field_if_some("transform", self.transform.map(|id| id.to_string()))
            .build();
        let fits = |s: &gst::StructureRef| gst::Caps::from(s.to_owned()).to_string().len() < LONGEST_CAPS;
        if let Some(data) = &self.codec_data {
            s.set("codec_data", gst::Buffer::from_slice(data.clone()));
            if !fits(&s) {
                s.remove_field("codec_data");
            }
        }
        if let Some(original) = &self.original {
            s.set("original-caps", original);
            if !fits(&s) {
                s.remove_field("original-caps");
            }
        }
        gst::Caps::from(s)
    }

    /// Reads fixed coded caps. Fields that only describe are skipped where they make no sense: the stream says it all again.
    ///
    /// # Errors
    /// `InvalidInput` for other caps and for an unknown stream-format; `Unsupported` for another inner codec.
    pub fn parse(caps: &gst::CapsRef) -> Result<Self> {
        let s = caps
            .structure(0)
            .filter(|s| s.name() == CODED)
            .ok_or_else(|| invalid(format!("caps {caps} are not {CODED}")))?;
        let text = |field: &str| s.get::<Option<String>>(field).ok().flatten();
        let format = match text("stream-format").as_deref() {
            Some("byte-stream") => StreamFormat::ByteStream,
            Some("packetized") => StreamFormat::Packetized,
            other => {
                let found = other.unwrap_or("missing");
                return Err(invalid(format!("stream-format={found}, legal are byte-stream and packetized")));
            }
        };
        let inner_codec = text("inner-codec");
        let known = |name: &str| name == InnerCodec::Native.name() || VideoCodec::ALL.iter().any(|c| c.name() == name);
        if let Some(other) = inner_codec.as_deref().filter(|name| !known(name)) {
            let names = VideoCodec::ALL.map(VideoCodec::name).join(", ");
            let message = format!("inner-codec={other}, known are native, {names}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(Self {
            format,
            framerate: framerate(s),
            inner_codec,
            statistics: text("statistics").and_then(|name| name.parse().ok()),
            statistics_period: s.get::<i32>("statistics-period").ok().and_then(|p| p.try_into().ok()),
            transform: text("transform").and_then(|id| parse_transform_id(&id)),
            codec_data: s
                .get::<Option<gst::Buffer>>("codec_data")
                .ok()
                .flatten()
                .and_then(|data| data.map_readable().ok().map(|map| map.to_vec())),
            original: s.get::<Option<gst::Caps>>("original-caps").ok().flatten(),
        })
    }
}

/// Reads the 16 hexadecimal digits of a transform's identity.
pub fn parse_transform_id(text: &str) -> Option<TransformId> {
    let digits = text.as_bytes();
    let mut id = [0u8; 8];
    if digits.len() != 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(TransformId(id))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{caps, tensors};
    use super::*;
    use fcm_codec::Dtype;

    fn coded() -> CodedCaps {
        CodedCaps {
            format: StreamFormat::Packetized,
            framerate: (25, 1),
            inner_codec: Some("native".into()),
            statistics: Some(StatisticsMode::Ecs),
            statistics_period: Some(8),
            transform: Some(TransformId([0, 1, 2, 3, 0xfc, 5, 6, 7])),
            codec_data: Some(vec![1, 2, 3]),
            original: Some(caps("other/tensors,format=flexible,framerate=25/1")),
        }
    }

    #[test]
    fn coded_caps_are_read_back() {
        let written = coded().to_caps();
        assert!(written.is_fixed() && written.is_subset(&coded_template()), "{written}");
        assert_eq!(CodedCaps::parse(&written).unwrap(), coded());
        let again = caps(&written.to_string());
        assert_eq!(CodedCaps::parse(&again).unwrap(), coded());
        assert_eq!(written.structure(0).unwrap().get::<String>("transform").unwrap(), "00010203fc050607");
    }

    #[test]
    fn coded_caps_stay_short() {
        let long = vec![("1234:1234:1234", Dtype::F32); 12];
        let original = RawCaps { format: TensorFormat::Static, tensors: tensors(&long), framerate: (25, 1) };
        let with = CodedCaps {
            original: Some({
                gst::init().unwrap();
                raw_caps(&original)
            }),
            ..coded()
        }
        .to_caps();
        assert!(with.to_string().len() < LONGEST_CAPS);
        let s = with.structure(0).unwrap();
        assert!(s.has_field("codec_data") && !s.has_field("original-caps"));
        let with = CodedCaps { codec_data: Some(vec![0; 300]), ..coded() }.to_caps();
        let s = with.structure(0).unwrap();
        assert!(!s.has_field("codec_data") && s.has_field("original-caps"));
    }

    #[test]
    fn illegal_coded_caps_are_refused() {
        let error = |text: &str| CodedCaps::parse(&caps(text)).unwrap_err();
        assert!(error("application/x-fcm").to_string().contains("stream-format=missing"));
        assert!(error("application/x-fcm,stream-format=avc").to_string().contains("stream-format=avc"));
        let inner = error("application/x-fcm,stream-format=byte-stream,inner-codec=h265");
        assert_eq!(inner.kind(), ErrorKind::Unsupported);
        assert!(error("video/x-h265").to_string().contains("are not application/x-fcm"));
    }

    #[test]
    fn byte_streams_are_preferred() {
        gst::init().unwrap();
        let choose = |text: &str| choose_stream_format(&caps(text));
        assert_eq!(choose_stream_format(&coded_template()), Some(StreamFormat::ByteStream));
        assert_eq!(choose("application/x-fcm,stream-format={packetized,byte-stream}"), Some(StreamFormat::ByteStream));
        assert_eq!(choose("application/x-fcm,stream-format=packetized"), Some(StreamFormat::Packetized));
        assert_eq!(choose("application/x-fcm,alignment=frame"), None);
        assert_eq!(choose("EMPTY"), None);
    }

    #[test]
    fn transform_ids_are_sixteen_digits() {
        assert_eq!(parse_transform_id("00ff00ff00ff00fe"), Some(TransformId([0, 255, 0, 255, 0, 255, 0, 254])));
        for bad in ["", "00ff", "00ff00ff00ff00fg", "+0ff00ff00ff00fe", "00ff00ff00ff00fe0"] {
            assert_eq!(parse_transform_id(bad), None, "{bad}");
        }
    }
}
