//! Access units into coded pictures and what is known of them.

use super::{PictureInfo, Range, has_range};
use crate::bitstream::access_unit::AccessUnit;
use crate::bitstream::picture::PictureParameters;
use crate::bitstream::{FRAME_NUMBERS, InnerCodec, Sequence};
use crate::encoder::FrameKind;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use std::sync::Arc;

/// Reads access units in the order of decoding. Nothing of a damaged one, and nothing that is predicted from it, is handed out.
pub struct PictureReader {
    limits: Limits,
    payload: Vec<u8>,
    sequence: Option<Arc<Sequence>>,
    parameters: Arc<PictureParameters>,
    number: Option<u32>,
}

/// What an access unit gave.
#[derive(Debug)]
pub enum Read<'a> {
    /// A picture for the video decoder.
    Picture(CodedPicture<'a>),
    /// A predicted picture whose predecessor is missing, as in [`crate::Decoded`].
    AwaitingRandomAccess {
        /// Pictures missing before this one, modulo 64; `None` when nothing was read before.
        missing: Option<u32>,
    },
}

/// A coded picture.
#[derive(Debug)]
pub struct CodedPicture<'a> {
    /// What the unpacker of the decoded picture must know.
    pub info: PictureInfo,
    /// Random access or predicted.
    pub kind: FrameKind,
    /// Number in the order of decoding, modulo 64.
    pub number: u32,
    /// Number in the order of presentation, modulo [`super::PRESENTATION_NUMBERS`].
    pub presentation: u8,
    /// Whether the access unit carried statistics.
    pub refreshed: bool,
    /// What the video encoder wrote.
    pub video: &'a [u8],
}

impl PictureReader {
    /// A reader that waits for a random access point.
    pub fn new(limits: Limits) -> Self {
        Self { limits, payload: Vec::new(), sequence: None, parameters: Arc::default(), number: None }
    }

    /// Forgets the stream and waits for a random access point.
    pub fn reset(&mut self) {
        self.number = None;
    }

    /// Parameters of the stream, once a random access point was seen.
    pub fn sequence(&self) -> Option<&Arc<Sequence>> {
        self.sequence.as_ref()
    }

    /// Reads one whole access unit of either format.
    ///
    /// # Errors
    /// `Corruption`, `InsufficientData`, `LimitExceeded`: it is dropped, the reader waits for the next random access point. `Unsupported` for
    /// a stream of another inner codec, `Compatibility`.
    pub fn read<'a>(&mut self, access_unit: &'a [u8]) -> Result<Read<'a>> {
        let before = self.number.take();
        let unit = AccessUnit::read_whole(access_unit, &self.limits)?;
        match unit.sequence {
            Some(payload) => self.start(payload)?,
            None => {
                let missing = before.map(|b| unit.number.wrapping_sub(b + 1) % FRAME_NUMBERS);
                if missing != Some(0) {
                    return Ok(Read::AwaitingRandomAccess { missing });
                }
            }
        }
        let Some(sequence) = &self.sequence else { return Ok(Read::AwaitingRandomAccess { missing: None }) };
        if let Some((payload, explicit)) = unit.picture {
            if explicit {
                return Err(Error::corrupt("a reference scale in a stream of pictures"));
            }
            let layers = sequence.layout.layers().len();
            Arc::make_mut(&mut self.parameters).parse(payload, sequence.statistics, layers, 1, false)?;
        }
        let [data] = unit.slices() else {
            return Err(Error::corrupt(format!("a coded picture in {} slices, one is legal", unit.slices().len())));
        };
        let ranged = has_range(sequence.statistics);
        let head = if ranged { 9 } else { 1 };
        if unit.qp != 0 {
            return Err(Error::corrupt(format!(
                "the first byte of a coded picture with {:#04x} in bits that are 0",
                unit.qp
            )));
        }
        let (head, video) = data.split_at_checked(head).filter(|(_, video)| !video.is_empty()).ok_or_else(|| {
            Error::corrupt(format!("a coded picture of {} bytes, at least {} are needed", data.len(), head + 1))
        })?;
        let value = |at: usize| f32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let range = ranged.then(|| Range { min: value(1), max: value(5) });
        if let Some(Range { min, max }) = range
            && !(min.is_finite() && max.is_finite() && min <= max)
        {
            return Err(Error::corrupt(format!("a fused tensor from {min} to {max}")));
        }
        self.number = Some(unit.number);
        Ok(Read::Picture(CodedPicture {
            info: PictureInfo { sequence: sequence.clone(), parameters: self.parameters.clone(), range },
            kind: unit.kind,
            number: unit.number,
            presentation: head[0],
            refreshed: unit.picture.is_some(),
            video,
        }))
    }

    fn start(&mut self, payload: &[u8]) -> Result<()> {
        if self.sequence.is_some() && self.payload == payload {
            return Ok(());
        }
        let sequence = Sequence::parse(payload, &self.limits)?;
        if sequence.inner == InnerCodec::Native {
            let message = "a stream of the native inner codec: it has no pictures";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        self.sequence = Some(Arc::new(sequence));
        self.payload = payload.to_vec();
        Ok(())
    }
}
