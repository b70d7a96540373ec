//! Coded pictures into access units.

use super::{PRESENTATION_NUMBERS, PictureRecord, VideoCodec, has_range};
use crate::bitstream::access_unit::frame_head;
use crate::bitstream::picture::{Pair, PictureParameters};
use crate::bitstream::stream::MARKER;
use crate::bitstream::unit::{self, UnitHeader, UnitType};
use crate::bitstream::{FRAME_NUMBERS, InnerCodec, PictureFormat, Sequence, StreamFormat};
use crate::encoder::FrameKind;
use crate::error::{Error, Result};
use crate::limits::{self, Limits};
use crate::statistics::{self, StatisticsMode};
use std::sync::Arc;

/// Settings of a [`PictureWriter`].
#[derive(Debug, Clone)]
pub struct WriterConfig {
    /// Who coded the pictures. Default: HEVC.
    pub codec: VideoCodec,
    /// Framing of the access units. Default: byte stream.
    pub format: StreamFormat,
    /// Frames between refreshes of the signalled statistics; 0 = with every random access point only. Default: 0.
    pub stats_period: u32,
    /// Drift past which statistics are refreshed at once, as in [`crate::EncoderConfig`]. Default: 0.05.
    pub stats_threshold: f32,
    /// Bounds on sizes.
    pub limits: Limits,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            codec: VideoCodec::default(),
            format: StreamFormat::default(),
            stats_period: 0,
            stats_threshold: 0.05,
            limits: Limits::default(),
        }
    }
}

/// What became of one coded picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenPicture {
    /// Random access or predicted.
    pub kind: FrameKind,
    /// Bytes of the access unit.
    pub bytes: usize,
    /// Bytes of it that are statistics values.
    pub statistics_bytes: usize,
    /// Whether the statistics were refreshed.
    pub refreshed: bool,
}

/// Writes access units in the order of decoding. It decides when statistics travel; a random access point is where the video encoder made
/// one.
pub struct PictureWriter {
    config: WriterConfig,
    /// As the packer gave it, and as it is written.
    source: Option<Arc<Sequence>>,
    sequence: Vec<u8>,
    mode: StatisticsMode,
    parameters: PictureParameters,
    payload: Vec<u8>,
    index: u64,
    since_refresh: u32,
}

impl PictureWriter {
    /// A writer whose first picture must be a random access point.
    ///
    /// # Errors
    /// `InvalidConfig` for a threshold that is negative or no number.
    pub fn new(config: WriterConfig) -> Result<Self> {
        if !(config.stats_threshold.is_finite() && config.stats_threshold >= 0.0) {
            let message = format!("a statistics threshold of {}, legal is 0 and above", config.stats_threshold);
            return Err(Error::config(message));
        }
        Ok(Self {
            config,
            source: None,
            sequence: Vec::new(),
            mode: StatisticsMode::None,
            parameters: PictureParameters::default(),
            payload: Vec::new(),
            index: 0,
            since_refresh: 0,
        })
    }

    /// The settings in force.
    pub fn config(&self) -> &WriterConfig {
        &self.config
    }

    /// Writes in another framing from the next picture on.
    pub fn set_format(&mut self, format: StreamFormat) {
        self.config.format = format;
    }

    /// The next picture starts a new stream.
    pub fn reset(&mut self) {
        self.source = None;
        self.index = 0;
    }

    /// The stream that `record` belongs to, with the video codec in it.
    ///
    /// # Errors
    /// `InvalidInput` for a record without pictures.
    pub fn sequence(&self, record: &PictureRecord) -> Result<Sequence> {
        let InnerCodec::Picture(format) = record.sequence.inner else {
            return Err(Error::input("the record of a picture of a stream without pictures"));
        };
        let format = PictureFormat { codec: self.config.codec, ..format };
        let stats_period = self.config.stats_period;
        Ok(Sequence { inner: InnerCodec::Picture(format), stats_period, ..Sequence::clone(&record.sequence) })
    }

    /// The parameter sets of that stream, for `codec_data`.
    ///
    /// # Errors
    /// As [`Self::sequence`].
    pub fn sequence_header(&self, record: &PictureRecord) -> Result<Vec<u8>> {
        let (mut payload, mut out) = (Vec::new(), Vec::new());
        self.sequence(record)?.write(&mut payload);
        unit::write(&mut out, UnitHeader { unit_type: UnitType::Sequence, last: false, nibble: 0 }, &payload);
        Ok(out)
    }

    /// Appends the access unit of the coded picture `video` to `out`; `random_access`: a decoder can start at it. `None` for a predicted
    /// picture before which there is no random access point.
    ///
    /// # Errors
    /// `InvalidInput` for a picture of 0 bytes, and for one of another sequence that is no random access point; `LimitExceeded`. After an
    /// error `out` is as it was.
    pub fn write(
        &mut self,
        record: &PictureRecord,
        video: &[u8],
        random_access: bool,
        out: &mut Vec<u8>,
    ) -> Result<Option<WrittenPicture>> {
        if video.is_empty() {
            return Err(Error::input("a coded picture of 0 bytes"));
        }
        let same = self.source.as_ref().is_some_and(|s| Arc::ptr_eq(s, &record.sequence) || **s == *record.sequence);
        if !random_access && !same {
            return match self.source {
                None => Ok(None),
                Some(_) => Err(Error::input("other tensors from a picture on that is no random access point")),
            };
        }
        limits::check("number of bytes in a coded picture", video.len() as u64, self.config.limits.max_access_unit)?;
        if !same {
            let sequence = self.sequence(record)?;
            self.mode = sequence.statistics;
            self.sequence.clear();
            sequence.write(&mut self.sequence);
            self.source = Some(record.sequence.clone());
        }
        let refresh = random_access || self.refresh_is_due(record);
        let start = out.len();
        if random_access {
            if self.config.format == StreamFormat::ByteStream {
                out.extend_from_slice(&MARKER);
            }
            unit::write(out, UnitHeader { unit_type: UnitType::Sequence, last: false, nibble: 0 }, &self.sequence);
        }
        let mut statistics_bytes = 0;
        if refresh {
            self.update(record);
            self.payload.clear();
            self.parameters.write(self.mode, &mut self.payload);
            statistics_bytes = self.payload.len();
            unit::write(out, UnitHeader { unit_type: UnitType::Picture, last: false, nibble: 0 }, &self.payload);
        }
        let (nibble, head) = frame_head((self.index % u64::from(FRAME_NUMBERS)) as u32, 0);
        self.payload.clear();
        self.payload.extend([head, (record.number % PRESENTATION_NUMBERS) as u8]);
        if has_range(self.mode) {
            self.payload.extend_from_slice(&record.range.min.to_le_bytes());
            self.payload.extend_from_slice(&record.range.max.to_le_bytes());
        }
        self.payload.extend_from_slice(video);
        let unit_type = if random_access { UnitType::RandomAccessFrame } else { UnitType::PredictedFrame };
        unit::write(out, UnitHeader { unit_type, last: true, nibble }, &self.payload);
        let bytes = out.len() - start;
        limits::check("number of bytes in an access unit", bytes as u64, self.config.limits.max_access_unit)
            .inspect_err(|_| out.truncate(start))?;
        self.index += 1;
        self.since_refresh = if refresh { 1 } else { self.since_refresh.saturating_add(1) };
        let kind = if random_access { FrameKind::RandomAccess } else { FrameKind::Predicted };
        Ok(Some(WrittenPicture { kind, bytes, statistics_bytes, refreshed: refresh }))
    }

    fn refresh_is_due(&self, record: &PictureRecord) -> bool {
        let (period, threshold) = (self.config.stats_period, f64::from(self.config.stats_threshold));
        let held = &self.parameters.layers;
        let layers = record.statistics.layers.iter().copied();
        let drift = match self.mode {
            StatisticsMode::None => return false,
            StatisticsMode::Ecs => return true,
            StatisticsMode::Simplified => {
                held.first().map_or(f64::INFINITY, |h| h.drift(statistics::aggregate(layers)))
            }
            StatisticsMode::ZScore => held.iter().zip(layers).map(|(h, now)| h.drift(now)).fold(0.0, f64::max),
        };
        (period > 0 && self.since_refresh >= period) || (threshold > 0.0 && drift > threshold)
    }

    /// Takes the statistics of `record` as those that hold from now on.
    fn update(&mut self, record: &PictureRecord) {
        let measured = &record.statistics;
        let p = &mut self.parameters;
        p.fused.clear();
        p.layers.clear();
        p.peaks.clear();
        match self.mode {
            StatisticsMode::ZScore => {
                p.fused.push(Pair::wide(measured.fused));
                p.layers.extend(measured.layers.iter().map(|&m| Pair::wide(m)));
            }
            StatisticsMode::Simplified => {
                p.fused.push(Pair::narrow(measured.fused));
                p.layers.push(Pair::narrow(statistics::aggregate(measured.layers.iter().copied())));
            }
            StatisticsMode::Ecs => p.peaks.extend_from_slice(&record.peaks),
            StatisticsMode::None => {}
        }
    }
}
