//! Fixed raw caps: what they say, read and written.

use super::{Framerate, fraction, framerate, invalid};
use crate::tensor_io::dimensions::{Dimensions, MAX_RANK};
use fcm_codec::{ChannelOrder, Dtype, Layer, Layout, Result};
use gst::glib;

/// Media type of raw tensors (NNStreamer's).
pub const RAW: &str = "other/tensors";

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

    pub(super) fn other(self) -> Self {
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
pub(super) fn dimensions(value: &glib::SendValue) -> Result<Vec<Dimensions>> {
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
pub(super) fn types(value: &glib::SendValue) -> Result<Vec<Dtype>> {
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
pub(super) fn spellings(tensors: &[TensorInfo]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for rank in [4, 1, 8, MAX_RANK] {
        let text = tensors.iter().map(|t| t.dimensions.spelling(rank)).collect::<Vec<_>>().join(",");
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

pub(super) fn type_names(tensors: &[TensorInfo]) -> String {
    tensors.iter().map(|t| type_name(t.dtype)).collect::<Vec<_>>().join(",")
}

/// Raw caps without a frame rate, dimensions and types as given.
pub(super) fn raw_structure(
    format: TensorFormat,
    tensors: &[TensorInfo],
    dimensions: &str,
    types: &str,
) -> gst::Structure {
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

#[cfg(test)]
mod tests {
    use super::super::raw_template;
    use super::super::tests::{caps, tensors};
    use super::*;

    fn parse(text: &str) -> Result<RawCaps> {
        parse_raw(&caps(text))
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
}
