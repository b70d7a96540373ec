//! The decoder's chain from a picture on: inverse conversion → refinement → inverse reduction → refinement.

use super::{Decoder, DecoderConfig, RENEWAL, Stream, fused_moments, to_pair};
use crate::bitstream::{InnerCodec, Reduction, Sequence};
use crate::conversion::Plane;
use crate::conversion::quantise::{Range, top};
use crate::conversion::tiling::Tiling;
use crate::error::{Error, Result};
use crate::picture::PictureInfo;
use crate::reduction::grid::Grid;
use crate::refinement::Affine;
use crate::statistics::FrameStatistics;
use crate::statistics::MeanStd;
use crate::tensor::{Layout, TensorMut};
use crate::{Transform, TransformId};
use std::sync::Arc;

/// Turns pictures that a video decoder gave back into features, in any order.
pub struct PictureUnpacker {
    decoder: Decoder,
    unpacking: Option<Unpacking>,
}

/// What depends on the sequence. The restoring half of a native stream does the same here, on levels instead of fixed-point values.
struct Unpacking {
    sequence: Arc<Sequence>,
    tiling: Tiling,
    top: u16,
    levels: Vec<i32>,
    /// The level that the reconstruction is relative to: the most frequent one, so that most values are 0 and cost nothing.
    base: i32,
    histogram: Vec<u32>,
    stream: Stream,
}

impl PictureUnpacker {
    /// An unpacker that has seen no picture.
    ///
    /// # Errors
    /// `InvalidConfig` for more than 64 threads.
    pub fn new(config: DecoderConfig) -> Result<Self> {
        Ok(Self { decoder: Decoder::new(config)?, unpacking: None })
    }

    /// Adds a transform that streams may name.
    pub fn add_transform(&mut self, transform: Arc<Transform>) {
        self.decoder.add_transform(transform);
    }

    /// Restores the features of one picture; [`Self::write`] gives them.
    ///
    /// # Errors
    /// `Transform` when the stream's transform is missing or a learned pair that cannot be run; `Corruption` for a sequence that makes no sense; `InvalidInput` for a plane
    /// that is no such picture; `LimitExceeded`.
    pub fn unpack(&mut self, info: &PictureInfo, picture: Plane<'_>) -> Result<()> {
        let same = self
            .unpacking
            .as_ref()
            .is_some_and(|u| Arc::ptr_eq(&u.sequence, &info.sequence) || u.sequence == info.sequence);
        if !same {
            self.unpacking = None;
            let transform = match info.sequence.reduction {
                Reduction::Dct => None,
                Reduction::Calibrated(id) => Some(self.transform(id)?),
            };
            self.unpacking = Some(Unpacking::new(info.sequence.clone(), transform.as_deref(), &self.decoder.config)?);
        }
        let Some(unpacking) = &mut self.unpacking else { return Err(Error::input("a picture without its sequence")) };
        unpacking.unpack(info, picture, self.decoder.pool.as_ref())
    }

    fn transform(&self, id: TransformId) -> Result<Arc<Transform>> {
        self.decoder.transform(id)
    }

    /// Layers of the picture unpacked last.
    pub fn layout(&self) -> Option<&Layout> {
        self.unpacking.as_ref().map(|u| &u.sequence.layout)
    }

    /// Statistics of the picture unpacked last: of the tensors as written (before rounding to binary16), and those signalled for the
    /// fused tensor (measured ones when the stream's mode signals none).
    pub fn statistics(&self) -> Option<&FrameStatistics> {
        self.unpacking.as_ref().map(|u| &u.stream.statistics)
    }

    /// Writes layer `n` of the picture unpacked last, restored, into `out`.
    ///
    /// # Errors
    /// `InvalidInput` when there is no such layer or `out` has another length or type.
    pub fn write(&mut self, n: usize, out: TensorMut<'_>) -> Result<()> {
        let Some(unpacking) = &mut self.unpacking else { return Err(Error::input("no picture was unpacked")) };
        unpacking.stream.write(n, out)
    }
}

impl Unpacking {
    fn new(sequence: Arc<Sequence>, transform: Option<&Transform>, config: &DecoderConfig) -> Result<Self> {
        let InnerCodec::Picture(format) = sequence.inner else {
            return Err(Error::input("a sequence without pictures"));
        };
        let grid = Grid::new(&sequence.layout, &config.limits)?;
        let tiling = Tiling::new(&format, sequence.components as usize, grid.height, grid.width)?;
        let stream = Stream::new(Sequence::clone(&sequence), Vec::new(), transform, config)?;
        let top = top(format.depth);
        Ok(Self {
            tiling,
            top,
            levels: vec![0; stream.reconstruction.len()],
            base: 0,
            histogram: vec![0; usize::from(top) + 1],
            stream,
            sequence,
        })
    }

    fn unpack(&mut self, info: &PictureInfo, picture: Plane<'_>, pool: Option<&rayon::ThreadPool>) -> Result<()> {
        self.tiling.unpack(picture, &mut self.levels)?;
        self.reconstruct(pool);
        self.stream.signalled.clone_from(&info.parameters);
        self.refine_fused(info.range)?;
        self.stream.refine_layers();
        Ok(())
    }

    /// Brings the vectors of the grid from the picture before to this one, or makes them anew where that is less work.
    fn reconstruct(&mut self, pool: Option<&rayon::ThreadPool>) {
        let stream = &mut self.stream;
        self.histogram.fill(0);
        let top = i32::from(self.top);
        let mut changed = 0usize;
        for (level, &before) in self.levels.iter_mut().zip(&stream.reconstruction) {
            // A plane of 10 bits in 16 may hold anything.
            *level = (*level).min(top);
            self.histogram[*level as usize] += 1;
            changed += usize::from(*level - self.base != before);
        }
        let (frequent, count) =
            self.histogram.iter().enumerate().max_by_key(|&(_, &n)| n).map_or((0, 0), |(l, &n)| (l, n));
        stream.since_renewal += 1;
        if stream.since_renewal >= RENEWAL || self.levels.len() - count as usize <= changed {
            stream.since_renewal = 0;
            self.base = frequent as i32;
            stream.inverse.clear();
            stream.reconstruction.fill(0);
        }
        let (mut sum, mut squares) = (0i64, 0i64);
        let values = self.levels.iter().zip(&mut stream.reconstruction).zip(&mut stream.levels.levels);
        for ((&level, value), change) in values {
            let now = level - self.base;
            *change = now - *value;
            *value = now;
            sum += i64::from(now);
            squares += i64::from(now) * i64::from(now);
        }
        (stream.sum, stream.squares) = (sum.into(), squares.into());
        stream.inverse.add(&stream.levels.levels, 1.0, pool);
    }

    /// The refinement of the fused tensor, or the inverse of the normalisation where nothing is signalled for it.
    fn refine_fused(&mut self, range: Option<Range>) -> Result<()> {
        let stream = &mut self.stream;
        let decoded = fused_moments(stream.sum, stream.squares, stream.reconstruction.len(), 1.0);
        let refine = match (stream.signalled.fused.first(), range) {
            (Some(&to), _) => {
                stream.statistics.fused = MeanStd::from(to);
                to_pair(decoded, to)
            }
            (None, Some(range)) => {
                let scale = range.step(self.top);
                let refine = Affine { scale, offset: f64::from(range.min) + scale * f64::from(self.base) };
                stream.statistics.fused =
                    MeanStd { mean: refine.scale * decoded.mean + refine.offset, std_dev: scale * decoded.std_dev };
                refine
            }
            (None, None) => return Err(Error::input("a picture with neither statistics nor a range")),
        };
        stream.restore(1.0, [refine; 2])
    }
}
