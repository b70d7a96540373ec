//! Caps of raw and of coded tensors to the codec's terms and back: pure functions. Tables are in docs/caps.md.

use crate::statistics_meta;
use crate::tensor_io::dimensions::{Dimensions, MAX_RANK};
use fcm_codec::bitstream::{InnerCodec, Reduction};
use fcm_codec::picture::VideoCodec;
use fcm_codec::{
    ChannelOrder, Dtype, Error, ErrorKind, Layer, Layout, Result, Sequence, StatisticsMode, StreamFormat, TransformId,
};
use gst::glib;
use gst::prelude::*;

/// Media type of raw tensors (NNStreamer's).
pub const RAW: &str = "other/tensors";
/// Media type of coded tensors.
pub const CODED: &str = "application/x-fcm";
/// Coded caps stay below this many characters as a string: some transports cut or refuse longer ones.
pub const LONGEST_CAPS: usize = 512;

/// Most tensors that the caps may announce.
const MAX_TENSORS: i32 = 256;

/// Formats of raw tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorFormat {
    /// Shapes in the caps.
    Static,
    /// Shapes in a header of every tensor.
    Flexible,
}

impl TensorFormat {
    /// The name in caps.
    pub const fn name(self) -> &'static str {
        match self {
            TensorFormat::Static => "static",
            TensorFormat::Flexible => "flexible",
        }
    }

    fn other(self) -> Self {
        match self {
            TensorFormat::Static => TensorFormat::Flexible,
            TensorFormat::Flexible => TensorFormat::Static,
        }
    }
}

/// What caps and headers say of one tensor. Which dimension is the channel they do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorInfo {
    /// Dimensions, innermost first.
    pub dimensions: Dimensions,
    /// Type of the values.
    pub dtype: Dtype,
}

impl From<&Layer> for TensorInfo {
    fn from(layer: &Layer) -> Self {
        Self { dimensions: Dimensions::from_shape(&layer.shape, layer.order), dtype: layer.dtype }
    }
}

/// The tensors of a layout as caps describe them.
pub fn tensor_infos(layout: &Layout) -> Vec<TensorInfo> {
    layout.layers().iter().map(TensorInfo::from).collect()
}

/// A frame rate; 0/1 is an unknown or variable one.
pub type Framerate = (u32, u32);

/// Fixed raw caps, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawCaps {
    /// Format.
    pub format: TensorFormat,
    /// The tensors; none when flexible.
    pub tensors: Vec<TensorInfo>,
    /// Frame rate.
    pub framerate: Framerate,
}

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

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

/// The name of a type in raw caps.
pub const fn type_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "float16",
        Dtype::F32 => "float32",
    }
}

/// Cuts a list in raw caps: NNStreamer takes `,` and, because that needs quotes on a command line, `.`.
fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', '.']).map(str::trim)
}

/// `dimensions` of raw caps. Without `(string)` on a command line, `dimensions=10` arrives as a number, which is
/// understood; `10:5` and `10.5` as a flag set and a fraction of a number, whose digits are lost.
fn dimensions(value: &glib::SendValue) -> Result<Vec<Dimensions>> {
    if let Ok(number) = value.get::<i32>() {
        let number =
            u32::try_from(number).map_err(|_| invalid(format!("dimensions={number}, numbers above 0 are legal")))?;
        return Ok(vec![Dimensions::new(&[number])?]);
    }
    match value.get::<Option<String>>() {
        Ok(Some(text)) => list(&text).map(str::parse).collect(),
        _ => Err(invalid(format!("dimensions of type {}, write dimensions=(string)\"W:H:C\"", value.type_()))),
    }
}

/// `types` of raw caps.
fn types(value: &glib::SendValue) -> Result<Vec<Dtype>> {
    let Ok(Some(text)) = value.get::<Option<String>>() else {
        return Err(invalid(format!("types of type {}, a string is legal", value.type_())));
    };
    let legal = "legal are float16 and float32";
    list(&text)
        .enumerate()
        .map(|(n, name)| match name {
            "float16" => Ok(Dtype::F16),
            "float32" => Ok(Dtype::F32),
            other => Err(invalid(format!("the type of tensor {n} is {other:?}, {legal}"))),
        })
        .collect()
}

fn framerate(s: &gst::StructureRef) -> Framerate {
    match s.get::<gst::Fraction>("framerate") {
        Ok(f) if f.numer() > 0 && f.denom() > 0 => (f.numer() as u32, f.denom() as u32),
        _ => (0, 1),
    }
}

fn fraction(rate: Framerate) -> gst::Fraction {
    let part = |n: u32| i32::try_from(n).ok();
    match (part(rate.0), part(rate.1)) {
        (Some(n), Some(d)) if d > 0 => gst::Fraction::new(n, d),
        _ => gst::Fraction::new(0, 1),
    }
}

/// Reads fixed raw caps.
///
/// # Errors
/// `InvalidInput` naming the field, what it holds and what is legal.
pub fn parse_raw(caps: &gst::CapsRef) -> Result<RawCaps> {
    let s =
        caps.structure(0).filter(|s| s.name() == RAW).ok_or_else(|| invalid(format!("caps {caps} are not {RAW}")))?;
    let format = match s.get::<Option<String>>("format").ok().flatten().as_deref() {
        // NNStreamer itself takes a missing format for static.
        None | Some("static") => TensorFormat::Static,
        Some("flexible") => TensorFormat::Flexible,
        Some(other) => return Err(invalid(format!("format={other}, legal are static and flexible"))),
    };
    let framerate = framerate(s);
    if format == TensorFormat::Flexible {
        return Ok(RawCaps { format, tensors: Vec::new(), framerate });
    }
    let field = |name: &str| s.value(name).map_err(|_| invalid(format!("static raw caps without {name}")));
    let dimensions = dimensions(field("dimensions")?)?;
    let types = types(field("types")?)?;
    let number = s.get::<i32>("num_tensors").map_or(dimensions.len() as i64, i64::from);
    if number != dimensions.len() as i64 || number != types.len() as i64 {
        return Err(invalid(format!(
            "num_tensors={number}, but dimensions has {} entries and types has {}",
            dimensions.len(),
            types.len()
        )));
    }
    let tensors =
        dimensions.into_iter().zip(types).map(|(dimensions, dtype)| TensorInfo { dimensions, dtype }).collect();
    Ok(RawCaps { format, tensors, framerate })
}

/// Spellings of the dimensions of all tensors that NNStreamer's elements use, the usual one first: four dimensions,
/// no padding, eight, sixteen.
fn spellings(tensors: &[TensorInfo]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for rank in [4, 1, 8, MAX_RANK] {
        let text = tensors.iter().map(|t| t.dimensions.spelling(rank)).collect::<Vec<_>>().join(",");
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

fn type_names(tensors: &[TensorInfo]) -> String {
    tensors.iter().map(|t| type_name(t.dtype)).collect::<Vec<_>>().join(",")
}

/// Raw caps without a frame rate, dimensions and types as given.
fn raw_structure(format: TensorFormat, tensors: &[TensorInfo], dimensions: &str, types: &str) -> gst::Structure {
    let s = gst::Structure::builder(RAW).field("format", format.name());
    match format {
        TensorFormat::Flexible => s.build(),
        TensorFormat::Static => {
            s.field("num_tensors", tensors.len() as i32).field("types", types).field("dimensions", dimensions).build()
        }
    }
}

/// Fixed raw caps in the usual spelling.
pub fn raw_caps(raw: &RawCaps) -> gst::Caps {
    let dimensions = spellings(&raw.tensors).swap_remove(0);
    let mut s = raw_structure(raw.format, &raw.tensors, &dimensions, &type_names(&raw.tensors));
    s.set("framerate", fraction(raw.framerate));
    gst::Caps::from(s)
}

/// Both forms of a structure: plain, and with the feature that says the statistics meta is on every buffer.
fn append_both(caps: &mut gst::CapsRef, s: gst::Structure) {
    caps.append_structure(s.clone());
    caps.append_structure_full(s, Some(gst::CapsFeatures::new([statistics_meta::FEATURE])));
}

/// Pad template of raw tensors.
pub fn raw_template() -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    let unshared = caps.make_mut();
    let rates = gst::FractionRange::new(gst::Fraction::new(0, 1), gst::Fraction::new(i32::MAX, 1));
    for format in [TensorFormat::Static, TensorFormat::Flexible] {
        let mut s = gst::Structure::builder(RAW).field("format", format.name()).field("framerate", rates).build();
        if format == TensorFormat::Static {
            s.set("num_tensors", gst::IntRange::new(1, MAX_TENSORS));
        }
        append_both(unshared, s);
    }
    caps
}

/// Everything that a decoder of these tensors could send, for a caps query.
pub fn raw_offer(tensors: &[TensorInfo], rate: Framerate) -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    let unshared = caps.make_mut();
    let types = type_names(tensors);
    let mut offer = |mut s: gst::Structure| {
        if rate.0 > 0 {
            s.set("framerate", fraction(rate));
        }
        append_both(unshared, s);
    };
    for dimensions in spellings(tensors) {
        offer(raw_structure(TensorFormat::Static, tensors, &dimensions, &types));
    }
    offer(raw_structure(TensorFormat::Flexible, tensors, "", ""));
    caps
}

/// All values that a field of unfixed caps may have, as far as they are listed.
fn alternatives(value: &glib::SendValue) -> Vec<&glib::SendValue> {
    match value.get::<gst::ListRef<'_>>() {
        Ok(listed) => listed.as_slice().iter().collect(),
        Err(_) => vec![value],
    }
}

/// Whether raw caps mean static tensors although they may not say so: flexible ones have none of these fields.
fn is_static(s: &gst::StructureRef) -> bool {
    ["dimensions", "types", "num_tensors"].iter().any(|&field| s.has_field(field))
}

/// What of [`raw_offer`] passes a filter.
pub fn filter_offer(offer: &gst::Caps, filter: &gst::CapsRef) -> gst::Caps {
    let flexible = gst::Structure::builder(RAW).field("format", TensorFormat::Flexible.name()).build();
    let common = filter.intersect_with_mode(offer, gst::CapsIntersectMode::First);
    // A filter with dimensions but no format would otherwise turn the flexible offer into flexible caps with dimensions.
    let sensible = |(s, _): &(&gst::StructureRef, &gst::CapsFeaturesRef)| !(is_static(s) && s.can_intersect(&flexible));
    common.iter_with_features().filter(sensible).map(|(s, f)| (s.to_owned(), f.to_owned())).collect()
}

/// Chooses the raw caps that a decoder sends: `preferred` format first, in the words of the `peer` where they mean the same
/// tensors, else in those of `original`. `None` when the peer takes neither format.
///
/// Caps compare strings; `3:224:224` and `3:224:224:1` mean the same, so a peer's own string must be given back to it.
pub fn fixate_raw(
    tensors: &[TensorInfo],
    rate: Framerate,
    preferred: TensorFormat,
    original: Option<&gst::CapsRef>,
    peer: &gst::CapsRef,
) -> Option<(gst::Caps, TensorFormat)> {
    let means_ours =
        |value: &glib::SendValue| dimensions(value).is_ok_and(|d| d.iter().eq(tensors.iter().map(|t| &t.dimensions)));
    let types_ours =
        |value: &glib::SendValue| types(value).is_ok_and(|t| t.iter().eq(tensors.iter().map(|t| &t.dtype)));
    // The words of one structure for a field, if it has any and they mean ours.
    let words = |s: &gst::StructureRef, field: &str, ours: &dyn Fn(&glib::SendValue) -> bool| {
        s.value(field).ok().and_then(|v| alternatives(v).into_iter().find(|v| ours(v)).cloned())
    };
    let original = original.and_then(|caps| caps.structure(0));
    let usual = original
        .and_then(|s| words(s, "dimensions", &means_ours))
        .unwrap_or_else(|| spellings(tensors).swap_remove(0).to_send_value());

    for format in [preferred, preferred.other()] {
        let mut candidate = raw_structure(format, tensors, "", &type_names(tensors));
        if format == TensorFormat::Static {
            candidate.set_value("dimensions", usual.clone());
        }
        if rate.0 > 0 {
            candidate.set("framerate", fraction(rate));
        }
        if peer.is_any() {
            candidate.set("framerate", fraction(rate));
            return Some((gst::Caps::from(candidate), format));
        }
        for (s, features) in peer.iter_with_features().filter(|(s, _)| s.name() == RAW) {
            if format == TensorFormat::Flexible && is_static(s) {
                continue;
            }
            let mut candidate = candidate.clone();
            if format == TensorFormat::Static {
                for (field, ours) in
                    [("dimensions", &means_ours as &dyn Fn(&glib::SendValue) -> bool), ("types", &types_ours)]
                {
                    if let Some(theirs) = words(s, field, ours) {
                        candidate.set_value(field, theirs);
                    }
                }
            }
            let mut ours = gst::Caps::new_empty();
            append_both(ours.make_mut(), candidate);
            let mut theirs = gst::Caps::new_empty();
            theirs.make_mut().append_structure_full(s.to_owned(), Some(features.to_owned()));
            let mut common = ours.intersect_with_mode(&theirs, gst::CapsIntersectMode::First);
            if common.is_empty() {
                continue;
            }
            let chosen = common.make_mut();
            if let Some(s) = chosen.structure_mut(0) {
                if s.has_field("framerate") {
                    s.fixate_field_nearest_fraction("framerate", fraction(rate));
                } else {
                    s.set("framerate", fraction(rate));
                }
            }
            common.fixate();
            return Some((common, format));
        }
    }
    None
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

/// The channel order that an element's `layout` property names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstFcmTensorLayout")]
pub enum TensorLayout {
    /// Channel, row, column.
    #[default]
    #[enum_value(name = "Channel planes: dimensions are width:height:channels", nick = "nchw")]
    Nchw = 0,
    /// Row, column, channel.
    #[enum_value(name = "Interleaved channels: dimensions are channels:width:height", nick = "nhwc")]
    Nhwc = 1,
}

impl From<TensorLayout> for ChannelOrder {
    fn from(layout: TensorLayout) -> Self {
        match layout {
            TensorLayout::Nchw => ChannelOrder::Chw,
            TensorLayout::Nhwc => ChannelOrder::Hwc,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn caps(text: &str) -> gst::Caps {
        gst::init().unwrap();
        gst::Caps::from_str(text).unwrap_or_else(|_| panic!("{text} does not parse"))
    }

    fn parse(text: &str) -> Result<RawCaps> {
        parse_raw(&caps(text))
    }

    fn tensors(text: &[(&str, Dtype)]) -> Vec<TensorInfo> {
        text.iter().map(|&(d, dtype)| TensorInfo { dimensions: d.parse().unwrap(), dtype }).collect()
    }

    #[test]
    fn every_spelling_of_raw_caps_means_the_same() {
        let expected = RawCaps {
            format: TensorFormat::Static,
            tensors: tensors(&[("136:76:64", Dtype::F32), ("512", Dtype::F16)]),
            framerate: (25, 1),
        };
        for text in [
            "other/tensors,format=static,num_tensors=2,types=(string)\"float32,float16\",dimensions=(string)\"136:76:64:1,512:1:1:1\",framerate=25/1",
            "other/tensors,format=static,num_tensors=2,types=float32.float16,dimensions=136:76:64.512,framerate=25/1",
            "other/tensors,num_tensors=2,types=(string)\"float32, float16\",dimensions=136:76:64:1:1:1:1:1.512:1,framerate=25/1",
            "other/tensors(meta:GstFcmStatisticsMeta),types=float32.float16,dimensions=136:76:64.512,framerate=25/1",
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn number_typed_dimensions_are_a_vector() {
        let raw = parse("other/tensors,format=static,num_tensors=1,types=float32,dimensions=512").unwrap();
        assert_eq!(raw.tensors, tensors(&[("512", Dtype::F32)]));
        assert_eq!(raw.framerate, (0, 1));
    }

    #[test]
    fn flexible_caps_have_no_tensors() {
        let raw = parse("other/tensors,format=flexible,framerate=30/1").unwrap();
        assert_eq!(raw, RawCaps { format: TensorFormat::Flexible, tensors: vec![], framerate: (30, 1) });
    }

    #[test]
    fn illegal_raw_caps_are_refused_by_field() {
        let error = |text: &str| parse(text).unwrap_err().to_string();
        assert!(error("video/x-raw").contains("are not other/tensors"));
        assert!(error("other/tensors,format=sparse").contains("format=sparse"));
        assert!(error("other/tensors,format=static,types=float32").contains("without dimensions"));
        assert!(error("other/tensors,format=static,dimensions=1:2:3").contains("without types"));
        assert!(error("other/tensors,types=uint8,dimensions=1:2:3").contains("tensor 0 is \"uint8\""));
        assert!(error("other/tensors,types=float32,dimensions=-3").contains("dimensions=-3"));
        assert!(error("other/tensors,types=float32,dimensions=true").contains("gboolean"));
        assert!(error("other/tensors,types=float32,dimensions=1:2").contains("dimensions of type GstFlagSet"));
        assert!(error("other/tensors,types=float32,dimensions=1.5").contains("dimensions of type gdouble"));
        let count = error("other/tensors,num_tensors=3,types=float32.float32,dimensions=1:2.3:4");
        assert_eq!(count, "num_tensors=3, but dimensions has 2 entries and types has 2");
    }

    #[test]
    fn written_raw_caps_are_read_back() {
        gst::init().unwrap();
        let raw = RawCaps {
            format: TensorFormat::Static,
            tensors: tensors(&[("136:76:64", Dtype::F32), ("512", Dtype::F16)]),
            framerate: (30000, 1001),
        };
        let caps = raw_caps(&raw);
        assert!(caps.is_fixed());
        assert_eq!(caps.structure(0).unwrap().get::<String>("dimensions").unwrap(), "136:76:64:1,512:1:1:1");
        assert_eq!(parse_raw(&caps).unwrap(), raw);
        assert!(caps.is_subset(&raw_template()));
    }

    #[test]
    fn decoder_speaks_the_peers_spelling() {
        let ours = tensors(&[("3:224:224", Dtype::F32)]);
        for theirs in ["3:224:224", "3:224:224:1", "3:224:224:1:1:1:1:1", "3:224:224:1:1:1:1:1:1"] {
            let peer = caps(&format!(
                "other/tensors,format=static,num_tensors=1,types=float32,dimensions=(string){theirs},framerate=(fraction)[0/1,2147483647/1]"
            ));
            let (chosen, format) = fixate_raw(&ours, (25, 1), TensorFormat::Static, None, &peer).unwrap();
            assert_eq!(format, TensorFormat::Static);
            assert!(chosen.is_fixed() && chosen.is_subset(&peer), "{chosen} is not {peer}");
            assert_eq!(parse_raw(&chosen).unwrap().framerate, (25, 1));
        }
        let vector = tensors(&[("10", Dtype::F32)]);
        let peer = caps("other/tensors,format=static,dimensions=10,types=float32");
        let (chosen, _) = fixate_raw(&vector, (0, 1), TensorFormat::Static, None, &peer).unwrap();
        assert!(chosen.is_subset(&peer), "{chosen} is not {peer}");
    }

    #[test]
    fn decoder_refuses_what_means_other_tensors() {
        let ours = tensors(&[("3:224:224", Dtype::F32)]);
        for other in [
            "other/tensors,format=static,dimensions=(string)224:224:3",
            "other/tensors,format=static,types=float16",
            "other/tensors,dimensions=(string)224:224:3",
            "other/tensors,format=static,num_tensors=2",
            "other/tensors,format=static,framerate=30/1",
            "other/tensors(memory:DMABuf),format=static",
            "other/tensors,format=sparse",
            "video/x-raw",
        ] {
            let chosen = fixate_raw(&ours, (25, 1), TensorFormat::Static, None, &caps(other));
            assert_eq!(chosen, None, "{other}");
        }
    }

    #[test]
    fn peer_decides_format_feature_and_unknown_rate() {
        let ours = tensors(&[("3:224:224", Dtype::F32)]);
        let flexible = caps("other/tensors,format=flexible");
        let (chosen, format) = fixate_raw(&ours, (25, 1), TensorFormat::Static, None, &flexible).unwrap();
        assert_eq!(
            (format, chosen.to_string()),
            (TensorFormat::Flexible, caps("other/tensors,format=flexible,framerate=25/1").to_string())
        );
        let feature = caps("other/tensors(meta:GstFcmStatisticsMeta)");
        let (chosen, format) = fixate_raw(&ours, (25, 1), TensorFormat::Static, None, &feature).unwrap();
        assert_eq!(format, TensorFormat::Static);
        assert!(chosen.features(0).unwrap().contains(statistics_meta::FEATURE));
        let (chosen, _) =
            fixate_raw(&ours, (0, 1), TensorFormat::Static, None, &caps("other/tensors,framerate=30/1")).unwrap();
        assert_eq!(parse_raw(&chosen).unwrap().framerate, (30, 1));
        let (chosen, _) = fixate_raw(&ours, (0, 1), TensorFormat::Static, None, &raw_template()).unwrap();
        assert_eq!(parse_raw(&chosen).unwrap().framerate, (0, 1));
        assert!(
            chosen.features(0).unwrap().is_equal(&gst::CapsFeatures::new_empty())
                || !chosen.features(0).unwrap().contains(statistics_meta::FEATURE)
        );
    }

    #[test]
    fn original_spelling_is_given_back_where_nobody_else_asks() {
        let ours = tensors(&[("3:224:224", Dtype::F32)]);
        let original = caps("other/tensors,format=static,types=float32,dimensions=(string)3:224:224");
        let any = gst::Caps::new_any();
        let (chosen, _) = fixate_raw(&ours, (25, 1), TensorFormat::Static, Some(&original), &any).unwrap();
        assert_eq!(chosen.structure(0).unwrap().get::<String>("dimensions").unwrap(), "3:224:224");
        let lying = caps("other/tensors,format=static,types=float32,dimensions=(string)9:9:9");
        let (chosen, _) = fixate_raw(&ours, (25, 1), TensorFormat::Static, Some(&lying), &any).unwrap();
        assert_eq!(chosen.structure(0).unwrap().get::<String>("dimensions").unwrap(), "3:224:224:1");
    }

    #[test]
    fn offer_holds_every_spelling() {
        gst::init().unwrap();
        let offer = raw_offer(&tensors(&[("3:224:224", Dtype::F32)]), (25, 1));
        for dimensions in ["3:224:224", "3:224:224:1"] {
            let peer = format!("other/tensors,format=static,dimensions=(string){dimensions}");
            assert!(offer.can_intersect(&caps(&peer)), "{dimensions}");
        }
        assert!(offer.can_intersect(&caps("other/tensors(meta:GstFcmStatisticsMeta),format=flexible")));
        assert!(!offer.can_intersect(&caps("other/tensors,format=static,dimensions=(string)9:224:224")));
        assert!(filter_offer(&offer, &caps("other/tensors,dimensions=(string)9:224:224")).is_empty());
        assert_eq!(filter_offer(&offer, &caps("other/tensors,dimensions=(string)3:224:224")).size(), 1);
    }

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
