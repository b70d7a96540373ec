//! The sequence parameter set (docs/bitstream.md §4.1): parse, validate and write, in the order of the bytes.

use super::bytes::{Cursor, push_varint};
use super::video::PictureFormat;
use crate::error::{Error, ErrorKind, Result};
use crate::inner::native::tables::Syntax;
use crate::limits::{self, Limits};
use crate::reduction::TransformId;
use crate::refinement::RestorationStrength;
use crate::statistics::StatisticsMode;
use crate::tensor::{ChannelOrder, Dtype, Layer, Layout, Shape};

/// Newest version of the format that this build reads.
pub const VERSION: u8 = 7;
/// First version with picture inner codecs.
const PICTURES: u8 = 2;
/// First version in which components form groups and models start from the prior.
const GROUPED: u8 = 3;
/// First version with motion; in force where a stream has no newer tool.
const MOTION: u8 = 4;
/// First version with restoration in part.
const PARTIAL_RESTORATION: u8 = 5;
/// First version with intra prediction, by the weights of a transform.
const INTRA_PREDICTION: u8 = 6;
/// First version in which the block DCT has weights too.
const INTRA_PREDICTION_OF_DCT: u8 = 7;
/// Tools of a sequence, from version 2 on: positions have a relevance.
const TOOL_RELEVANCE: u8 = 1;
/// From version 3 on: frames are entropy-coded independently and may be cut into slices.
const TOOL_ERROR_RESILIENT: u8 = 2;
/// From version 4 on: blocks of positions are predicted along vectors.
const TOOL_MOTION: u8 = 4;
/// From version 5 on: layers are restored only part of the way.
const TOOL_PARTIAL_RESTORATION: u8 = 8;
/// From version 6 on: intra positions are predicted from those around them.
const TOOL_INTRA_PREDICTION: u8 = 16;

/// Tools that a version has.
const fn tools_of(version: u8) -> u8 {
    match version {
        0 | 1 => 0,
        2 => TOOL_RELEVANCE,
        3 => tools_of(2) | TOOL_ERROR_RESILIENT,
        4 => tools_of(3) | TOOL_MOTION,
        5 => tools_of(4) | TOOL_PARTIAL_RESTORATION,
        _ => tools_of(5) | TOOL_INTRA_PREDICTION,
    }
}

/// Inner codec of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum InnerCodec {
    /// The project's own coder of fused planes.
    #[default]
    Native,
    /// A video codec that codes the fused planes as tiles of a picture.
    Picture(PictureFormat),
}

impl InnerCodec {
    /// The name used in caps.
    pub const fn name(self) -> &'static str {
        match self {
            InnerCodec::Native => "native",
            InnerCodec::Picture(format) => format.codec.name(),
        }
    }
}

/// Feature reduction of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Block DCT of every cell; needs no side data.
    Dct,
    /// Calibrated transform with this identity; whether that is a basis or a learned pair, the transform says.
    Calibrated(TransformId),
}

/// What holds for all frames of a coded sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Version of the format, 1 to [`VERSION`].
    pub version: u8,
    /// The layers.
    pub layout: Layout,
    /// Inner codec.
    pub inner: InnerCodec,
    /// Statistics mode.
    pub statistics: StatisticsMode,
    /// Reduction.
    pub reduction: Reduction,
    /// Components K of the fused tensor.
    pub components: u32,
    /// Frame rate as a fraction; `(0, 1)` = unknown or variable.
    pub framerate: (u32, u32),
    /// Frames between refreshes of the statistics; 0 = with random access points only.
    pub stats_period: u32,
    /// Whether the fixed-point fused tensor is coded without loss.
    pub lossless: bool,
    /// Whether frames tell relevant positions from background, each with a quantiser step and statistics of its own.
    pub relevance: bool,
    /// Whether every frame can be entropy-decoded without the one before, and may be cut into slices. From version 3 on.
    pub error_resilient: bool,
    /// Whether blocks of positions are predicted along vectors. From version 4 on, and not in lossless streams.
    pub motion: bool,
    /// How far layers are moved to the statistics signalled. In full before version 5, and in modes ecs and none.
    pub restoration: RestorationStrength,
    /// Whether intra positions are predicted from those around them, by weights of the reduction. From version 6 on, with a block DCT from 7 on.
    pub intra_prediction: bool,
}

impl Sequence {
    /// The oldest version of streams of this inner codec that knows this strength, and intra prediction of such a reduction if there is any.
    pub(crate) fn version_for(
        pictures: bool,
        restoration: RestorationStrength,
        intra_prediction: Option<Reduction>,
    ) -> u8 {
        match (restoration, pictures) {
            _ if intra_prediction == Some(Reduction::Dct) => INTRA_PREDICTION_OF_DCT,
            _ if intra_prediction.is_some() => INTRA_PREDICTION,
            (RestorationStrength::FULL, true) => PICTURES,
            (RestorationStrength::FULL, false) => MOTION,
            _ => PARTIAL_RESTORATION,
        }
    }

    /// Reads the payload of a sequence parameter set.
    ///
    /// # Errors
    /// `Corruption`, `InsufficientData`, `LimitExceeded`; `Compatibility` for another version;
    /// `Unsupported` for an inner codec that this build does not have.
    pub fn parse(payload: &[u8], limits: &Limits) -> Result<Self> {
        let mut c = Cursor::new(payload);
        let version = c.u8()?;
        if !(1..=VERSION).contains(&version) {
            return Err(Error::new(
                ErrorKind::Compatibility,
                format!("a stream of format version {version}, this build reads versions 1 to {VERSION}"),
            ));
        }
        let flags = c.u8()?;
        let tools = if version >= 2 { c.u8()? } else { 0 };
        if tools & !tools_of(version) != 0 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("tools {tools:#04x} in version {version}, this build has {:#04x}", tools_of(version)),
            ));
        }
        let statistics = StatisticsMode::ALL[usize::from(flags & 3)];
        let pictures = match flags >> 2 & 3 {
            0 => false,
            1 if version >= PICTURES => true,
            n => {
                let message = format!(
                    "inner codec {n} in version {version}, this build has 0 (native) and from version 2 on 1 (picture)"
                );
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        };
        if flags >> 6 != 0 {
            return Err(Error::corrupt(format!("sequence flags {flags:#04x} with a reserved bit set")));
        }
        let count = c.varint()?;
        limits::check("number of layers", u64::from(count), u64::from(limits.max_layers.min(256)))?;
        let layers = (0..count).map(|_| parse_layer(&mut c)).collect::<Result<Vec<_>>>()?;
        let layout = Layout::new(layers, limits).map_err(as_corruption)?;
        let components = c.varint()?;
        limits::check("number of components", u64::from(components), u64::from(limits.max_components))?;
        if components == 0 {
            return Err(Error::corrupt("a fused tensor of 0 components"));
        }
        let reduction = if flags >> 4 & 1 == 1 {
            Reduction::Calibrated(TransformId(c.take(8)?.try_into().expect("8 bytes")))
        } else {
            Reduction::Dct
        };
        let framerate = (c.varint()?, c.varint()?);
        if framerate.1 == 0 {
            return Err(Error::corrupt(format!("a frame rate of {}/0", framerate.0)));
        }
        let stats_period = c.varint()?;
        let lossless = flags >> 5 & 1 == 1;
        let relevance = tools & TOOL_RELEVANCE != 0;
        let error_resilient = tools & TOOL_ERROR_RESILIENT != 0;
        let motion = tools & TOOL_MOTION != 0;
        if motion && lossless {
            return Err(Error::corrupt("a lossless stream with motion"));
        }
        let intra_prediction = tools & TOOL_INTRA_PREDICTION != 0;
        if intra_prediction && reduction == Reduction::Dct && version < INTRA_PREDICTION_OF_DCT {
            return Err(Error::corrupt(format!("intra prediction without a transform in version {version}")));
        }
        let restoration = if tools & TOOL_PARTIAL_RESTORATION == 0 {
            RestorationStrength::FULL
        } else {
            parse_restoration(c.u8()?, statistics)?
        };
        let inner = match pictures {
            true if lossless || tools & !TOOL_PARTIAL_RESTORATION != 0 => {
                return Err(Error::corrupt(format!("pictures with flags {flags:#04x} and tools {tools:#04x}")));
            }
            true => InnerCodec::Picture(PictureFormat::parse(&mut c, components, limits)?),
            false => InnerCodec::Native,
        };
        c.finish("a sequence parameter set")?;
        Ok(Self {
            version,
            layout,
            inner,
            statistics,
            reduction,
            components,
            framerate,
            stats_period,
            lossless,
            relevance,
            error_resilient,
            motion,
            restoration,
            intra_prediction,
        })
    }

    /// What the syntax of its frames depends on.
    pub(crate) fn syntax(&self) -> Syntax {
        Syntax {
            regions: self.regions(),
            grouped: self.version >= GROUPED,
            independent: self.error_resilient,
            motion: self.motion,
        }
    }

    /// Regions that statistics are signalled for: relevant positions and background, or all positions as one.
    pub fn regions(&self) -> usize {
        if self.relevance { 2 } else { 1 }
    }

    /// Appends the payload that [`Self::parse`] reads.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mode = StatisticsMode::ALL.iter().position(|&m| m == self.statistics).unwrap_or(0) as u8;
        let calibrated = matches!(self.reduction, Reduction::Calibrated(_));
        let pictures = matches!(self.inner, InnerCodec::Picture(_));
        out.push(self.version);
        out.push(mode | u8::from(pictures) << 2 | u8::from(calibrated) << 4 | u8::from(self.lossless) << 5);
        if self.version >= 2 {
            let tool = |used, tool| if used { tool } else { 0 };
            out.push(
                tool(self.relevance, TOOL_RELEVANCE)
                    | tool(self.error_resilient, TOOL_ERROR_RESILIENT)
                    | tool(self.motion, TOOL_MOTION)
                    | tool(self.restoration != RestorationStrength::FULL, TOOL_PARTIAL_RESTORATION)
                    | tool(self.intra_prediction, TOOL_INTRA_PREDICTION),
            );
        }
        push_varint(out, self.layout.layers().len() as u32);
        self.layout.layers().iter().for_each(|l| write_layer(l, out));
        push_varint(out, self.components);
        if let Reduction::Calibrated(id) = self.reduction {
            out.extend_from_slice(&id.0);
        }
        push_varint(out, self.framerate.0);
        push_varint(out, self.framerate.1);
        push_varint(out, self.stats_period);
        if self.restoration != RestorationStrength::FULL {
            out.push(self.restoration.sixteenths());
        }
        if let InnerCodec::Picture(format) = &self.inner {
            format.write(out);
        }
    }
}

fn parse_restoration(sixteenths: u8, statistics: StatisticsMode) -> Result<RestorationStrength> {
    if !statistics.restores_deviations() {
        return Err(Error::corrupt(format!("a restoration strength in statistics mode {}", statistics.name())));
    }
    RestorationStrength::partial(sixteenths)
        .ok_or_else(|| Error::corrupt(format!("a restoration strength of {sixteenths}/16, legal are 0 to 15")))
}

fn parse_layer(c: &mut Cursor<'_>) -> Result<Layer> {
    let flags = c.u8()?;
    let dtype = match flags & 3 {
        0 => Dtype::F16,
        1 => Dtype::F32,
        n => return Err(Error::corrupt(format!("value type {n} of a layer, legal are 0 (float16) and 1 (float32)"))),
    };
    if flags >> 4 != 0 {
        return Err(Error::corrupt(format!("layer flags {flags:#04x} with a reserved bit set")));
    }
    let order = if flags >> 3 & 1 == 1 { ChannelOrder::Hwc } else { ChannelOrder::Chw };
    let channels = c.varint()?;
    let shape =
        if flags >> 2 & 1 == 1 { Shape::vector(channels) } else { Shape::chw(channels, c.varint()?, c.varint()?) };
    let length = c.u8()?;
    let name = std::str::from_utf8(c.take(usize::from(length))?)
        .map_err(|e| Error::corrupt(format!("a layer name that is not UTF-8: {e}")))?;
    Ok(Layer { name: name.to_owned(), shape, dtype, order })
}

fn write_layer(layer: &Layer, out: &mut Vec<u8>) {
    let dtype = match layer.dtype {
        Dtype::F16 => 0,
        Dtype::F32 => 1,
    };
    let vector = layer.shape.is_vector();
    out.push(dtype | u8::from(vector) << 2 | u8::from(layer.order == ChannelOrder::Hwc) << 3);
    push_varint(out, layer.shape.channels());
    if !vector {
        push_varint(out, layer.shape.height());
        push_varint(out, layer.shape.width());
    }
    out.push(layer.name.len() as u8);
    out.extend_from_slice(layer.name.as_bytes());
}

/// What is bad input of an encoder is corruption when it comes from a stream.
fn as_corruption(e: Error) -> Error {
    if e.kind() == ErrorKind::InvalidInput { Error::corrupt(e.to_string()) } else { e }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence() -> Sequence {
        let layers = vec![
            Layer::new("p3", Shape::chw(64, 76, 136), Dtype::F16),
            Layer { order: ChannelOrder::Hwc, ..Layer::new("é", Shape::chw(3, 1, 300), Dtype::F32) },
            Layer::new("", Shape::vector(512), Dtype::F32),
        ];
        Sequence {
            version: 1,
            layout: Layout::new(layers, &Limits::default()).unwrap(),
            inner: InnerCodec::Native,
            statistics: StatisticsMode::Simplified,
            reduction: Reduction::Calibrated(TransformId([1, 2, 3, 4, 5, 6, 7, 8])),
            components: 640,
            framerate: (25, 1),
            stats_period: 300,
            lossless: false,
            relevance: false,
            error_resilient: false,
            motion: false,
            restoration: RestorationStrength::FULL,
            intra_prediction: false,
        }
    }

    #[test]
    fn tools_need_the_version_that_has_them() {
        let mut bytes = Vec::new();
        let with = Sequence { version: 2, relevance: true, ..sequence() };
        with.write(&mut bytes);
        assert_eq!(bytes[..4], [2, 0x11, 1, 3]);
        assert_eq!(Sequence::parse(&bytes, &Limits::default()).unwrap(), with);
        bytes[2] = 2;
        assert_eq!(Sequence::parse(&bytes, &Limits::default()).unwrap_err().kind(), ErrorKind::Unsupported);
        bytes[0] = 3;
        let resilient = Sequence { version: 3, error_resilient: true, ..sequence() };
        assert_eq!(Sequence::parse(&bytes, &Limits::default()).unwrap(), resilient);
        bytes[2] = 4;
        assert_eq!(Sequence::parse(&bytes, &Limits::default()).unwrap_err().kind(), ErrorKind::Unsupported);
        bytes[0] = 4;
        let moving = Sequence { version: 4, motion: true, ..sequence() };
        assert_eq!(Sequence::parse(&bytes, &Limits::default()).unwrap(), moving);
        bytes[1] |= 0x20;
        assert_eq!(Sequence::parse(&bytes, &Limits::default()).unwrap_err().kind(), ErrorKind::Corruption);
        (bytes[1], bytes[2]) = (0x11, 8);
        assert_eq!(Sequence::parse(&bytes, &Limits::default()).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_part_of_the_restoration_is_a_tool_of_version_5_and_follows_the_period() {
        let mut bytes = Vec::new();
        let partial = Sequence { version: 5, restoration: RestorationStrength::new(6).unwrap(), ..sequence() };
        partial.write(&mut bytes);
        assert_eq!((&bytes[..4], bytes.last()), (&[5, 0x11, 8, 3][..], Some(&6)));
        assert_eq!(Sequence::parse(&bytes, &Limits::default()).unwrap(), partial);
        let parse = |bytes: &[u8]| Sequence::parse(bytes, &Limits::default()).unwrap_err();
        let cut = parse(&bytes[..bytes.len() - 1]);
        assert_eq!(cut.kind(), ErrorKind::InsufficientData);
        let last = bytes.len() - 1;
        for full in [16, 17, 255] {
            bytes[last] = full;
            assert!(parse(&bytes).to_string().contains(&format!("{full}/16, legal are 0 to 15")));
        }
        bytes[last] = 6;
        for mode in [2, 3] {
            bytes[1] = 0x10 | mode;
            assert_eq!(parse(&bytes).kind(), ErrorKind::Corruption);
        }
    }

    #[test]
    fn intra_prediction_is_a_tool_of_version_6_and_without_a_transform_of_version_7() {
        let mut bytes = Vec::new();
        let predicted = Sequence { version: 6, intra_prediction: true, ..sequence() };
        predicted.write(&mut bytes);
        assert_eq!(bytes[..4], [6, 0x11, 16, 3]);
        assert_eq!(Sequence::parse(&bytes, &Limits::default()).unwrap(), predicted);
        let parse = |bytes: &[u8]| Sequence::parse(bytes, &Limits::default()).unwrap_err();
        bytes[0] = 5;
        assert_eq!(parse(&bytes).kind(), ErrorKind::Unsupported);
        bytes.clear();
        let without = Sequence { version: 7, reduction: Reduction::Dct, ..predicted };
        without.write(&mut bytes);
        assert_eq!(Sequence::parse(&bytes, &Limits::default()).unwrap(), without);
        bytes[0] = 6;
        assert_eq!(parse(&bytes).kind(), ErrorKind::Corruption);
    }

    #[test]
    fn bytes_are_those_of_the_specification() {
        let mut bytes = Vec::new();
        sequence().write(&mut bytes);
        #[rustfmt::skip]
        assert_eq!(bytes, [
            1, 0x11, 3,
            0x00, 64, 76, 0x88, 0x01, 2, b'p', b'3',
            0x09, 3, 1, 0xAC, 0x02, 2, 0xC3, 0xA9,
            0x05, 0x80, 0x04, 0,
            0x80, 0x05, 1, 2, 3, 4, 5, 6, 7, 8, 25, 1, 0xAC, 0x02,
        ]);
        assert_eq!(Sequence::parse(&bytes, &Limits::default()).unwrap(), sequence());
    }

    #[test]
    fn every_cut_is_insufficient_data() {
        let mut bytes = Vec::new();
        sequence().write(&mut bytes);
        for cut in 0..bytes.len() {
            let error = Sequence::parse(&bytes[..cut], &Limits::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InsufficientData, "cut at {cut}: {error}");
        }
        bytes.push(0);
        assert_eq!(Sequence::parse(&bytes, &Limits::default()).unwrap_err().kind(), ErrorKind::Corruption);
    }

    #[test]
    fn another_version_and_absurd_sizes_are_named() {
        let mut bytes = Vec::new();
        sequence().write(&mut bytes);
        bytes[0] = 8;
        let error = Sequence::parse(&bytes, &Limits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Compatibility);
        assert_eq!(error.to_string(), "a stream of format version 8, this build reads versions 1 to 7");
        let huge = [1, 0, 1, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 2, 0, 1, 0, 1, 0];
        assert_eq!(Sequence::parse(&huge, &Limits::default()).unwrap_err().kind(), ErrorKind::LimitExceeded);
        let many = [1, 0, 0x81, 0x02];
        assert_eq!(Sequence::parse(&many, &Limits::default()).unwrap_err().kind(), ErrorKind::LimitExceeded);
    }
}
