//! Learning a prior from coded streams.

use super::{COUNT_SHIFT, Prior, WEIGHT_SHIFT};
use crate::bitstream::access_unit::AccessUnit;
use crate::bitstream::stream::{self, Scan};
use crate::bitstream::{Sequence, StreamFormat};
use crate::encoder::FrameKind;
use crate::error::{Error, Result};
use crate::inner::native::contexts::{ACTIVITIES, BY_INDEX, CLASSES, class};
use crate::inner::native::models::Counter;
use crate::inner::native::planes::{Levels, PlaneCoder};
use crate::inner::native::range_coder::Bits;
use crate::inner::native::tables::{BUCKETS, Syntax, Tables};
use crate::limits::Limits;
use crate::reduction::grid::Grid;
use crate::slices;

/// Largest count that a counter starts with: it still learns from a frame of its own.
const COUNT_MAX: f64 = 40.0;

/// A coder of decisions that goes nowhere.
struct Nowhere;

impl Bits for Nowhere {
    fn bit(&mut self, bit: bool, _: u16) -> bool {
        bit
    }
}

/// Where a counter stood after the frames that it was used in.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    frames: f64,
}

impl Mean {
    fn pool(means: impl IntoIterator<Item = Mean>) -> Mean {
        means.into_iter().fold(Mean::default(), |a, m| Mean { sum: a.sum + m.sum, frames: a.frames + m.frames })
    }

    /// The counter in its two bytes, of `frames` seen in all; `otherwise` where none used it.
    fn word(self, frames: f64, otherwise: Counter) -> u16 {
        let (p, n) = match self.frames {
            0.0 => (f64::from(otherwise.p()), f64::from(otherwise.count())),
            used => (self.sum / used, COUNT_MAX * used / frames),
        };
        let count = ((n / f64::from(1 << COUNT_SHIFT)).round() as u16).min(15);
        (p as u16 & !15) | count
    }
}

/// Means of every counter of some tables.
struct Means(Vec<Vec<Mean>>);

/// The tables of counters, in one order.
fn counters(t: &Tables) -> [&[Counter]; 10] {
    let ([b0, b1, b2], [z0, z1, z2, z3]) = (&t.bucket, &t.zero);
    [&t.relevance, &t.mode, b0, b1, b2, z0, z1, z2, z3, &t.magnitude]
}

impl Means {
    fn of(tables: &Tables) -> Self {
        Self(counters(tables).iter().map(|table| vec![Mean::default(); table.len()]).collect())
    }

    fn add(&mut self, before: &Tables, after: &Tables) {
        for ((means, before), after) in self.0.iter_mut().zip(counters(before)).zip(counters(after)) {
            for ((mean, b), a) in means.iter_mut().zip(before).zip(after).filter(|((_, b), a)| b != a) {
                let _ = b;
                mean.sum += f64::from(a.p());
                mean.frames += 1.0;
            }
        }
    }
}

/// A frame of a training stream.
struct Frame {
    random_access: bool,
    levels: Levels,
}

/// A training stream's frames and shape.
struct Stream {
    components: usize,
    height: usize,
    width: usize,
    frames: Vec<Frame>,
}

/// Learns a [`Prior`] from streams of the same number of components.
#[derive(Default)]
pub struct PriorTrainer {
    streams: Vec<Stream>,
}

impl PriorTrainer {
    /// Starts without streams.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a whole byte stream. No transform is needed.
    ///
    /// # Errors
    /// As [`crate::Decoder::decode`] for damaged streams, and for one that has another number of components than those before.
    pub fn add(&mut self, bytes: &[u8]) -> Result<()> {
        let limits = Limits::default();
        let (mut at, mut state) = (0, None);
        while at < bytes.len() {
            let len = match stream::scan(&bytes[at..], StreamFormat::ByteStream, true, true, &limits) {
                Scan::AccessUnit { len, .. } => len,
                Scan::EndOfStream { .. } => break,
                _ => return Err(Error::corrupt(format!("no access unit at byte {at}"))),
            };
            let unit = AccessUnit::read_whole(&bytes[at..at + len], &limits)?;
            at += len;
            if let Some(payload) = unit.sequence.filter(|_| state.is_none()) {
                let sequence = Sequence::parse(payload, &limits)?;
                let grid = Grid::new(&sequence.layout, &limits)?;
                let components = sequence.components as usize;
                if self.streams.first().is_some_and(|s| s.components != components) {
                    return Err(Error::config(format!(
                        "a stream of {components} components, others have another number"
                    )));
                }
                self.streams.push(Stream { components, height: grid.height, width: grid.width, frames: Vec::new() });
                let coder =
                    PlaneCoder::new(components, grid.height, grid.width, sequence.syntax(), limits.max_decisions);
                state = Some((sequence, coder));
            }
            let Some(((sequence, coder), stream)) = state.as_mut().zip(self.streams.last_mut()) else {
                return Err(Error::corrupt("a stream that does not begin with a random access unit"));
            };
            let mut levels = Levels::new(stream.components, stream.height, stream.width);
            let random_access = unit.kind == FrameKind::RandomAccess;
            slices::read(&unit, sequence, coder, &mut levels)?;
            stream.frames.push(Frame { random_access, levels });
        }
        Ok(())
    }

    /// The prior in the bytes of `prior.bin`, and its frames' bits under the prior that is built in now.
    ///
    /// # Errors
    /// `InvalidConfig` without streams.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        let Some(components) = self.streams.first().map(|s| s.components) else {
            return Err(Error::config("a prior needs at least one stream"));
        };
        let frames = self.streams.iter().map(|s| s.frames.len()).sum::<usize>() as f64;
        let syntax = Syntax { regions: 1, grouped: true, independent: true, motion: false };
        let alone = self.count(components, syntax);
        let chained = self.count(components, Syntax { independent: false, ..syntax });
        let blank = Tables::blank(components, syntax);
        let mut words = Vec::new();
        let first = counters(&blank);
        let [relevance, mode, near, _, by_mode, z0, z1, z2, z3, magnitude] = &alone.0[..] else {
            unreachable!("ten tables")
        };
        let plain = |words: &mut Vec<u16>, means: &[Mean], of: usize| {
            words.extend(means.iter().zip(first[of]).map(|(m, &otherwise)| m.word(frames, otherwise)));
        };
        plain(&mut words, relevance, 0);
        plain(&mut words, mode, 1);
        // Buckets: rows without a bucket before.
        for around in 0..BUCKETS {
            let row = around * BUCKETS * BUCKETS;
            plain(&mut words, &near[row..row + BUCKETS], 2);
        }
        for mode in 0..2 {
            plain(&mut words, &by_mode[mode * BUCKETS..][..BUCKETS], 4);
        }
        // A level in the frame before is known only where frames are not independent.
        let was = |i: usize, stride: usize| !(i / stride).is_multiple_of(3);
        let mixed = |words: &mut Vec<u16>, means: &[Mean], of: usize, was: &dyn Fn(usize) -> bool| {
            for (i, &mean) in means.iter().enumerate() {
                let mean = if was(i) { chained.0[of][i] } else { mean };
                words.push(mean.word(frames, first[of][i]));
            }
        };
        mixed(&mut words, z0, 5, &|i| was(i, 2 * ACTIVITIES));
        for wanted in 0..CLASSES {
            for i in 0..BY_INDEX {
                let of_class = z1.chunks_exact(BY_INDEX).enumerate().filter(|&(c, _)| class(c) == wanted);
                let members = of_class.clone().count().max(1) as f64;
                words.push(Mean::pool(of_class.map(|(_, m)| m[i])).word(frames * members, first[6][0]));
            }
        }
        mixed(&mut words, z2, 7, &|i| was(i, 4));
        mixed(&mut words, z3, 8, &|i| i % 2 == 1);
        plain(&mut words, magnitude, 9);
        let mut bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        bytes.resize(Prior::BYTES, 0);
        self.learn_weights(components, syntax, &mut bytes)?;
        Ok(bytes)
    }

    /// Means of counters that are never set back.
    fn count(&mut self, components: usize, syntax: Syntax) -> Means {
        let mut kept = Tables::blank(components, syntax);
        let mut means = Means::of(&kept);
        for stream in &mut self.streams {
            let mut coder = PlaneCoder::new(components, stream.height, stream.width, syntax, u64::MAX);
            for frame in &mut stream.frames {
                coder.begin(frame.random_access);
                coder.tables.restart(&kept);
                coder.code_begun(frame);
                means.add(&kept, &coder.tables);
                kept.restart(&coder.tables);
            }
        }
        means
    }

    /// Writes the weights that mixers come to behind the counters in `bytes`.
    fn learn_weights(&mut self, components: usize, syntax: Syntax, bytes: &mut [u8]) -> Result<()> {
        let whole: &[u8; Prior::BYTES] = (&*bytes).try_into().expect("the length that it was given");
        let first = Tables::blank(components, syntax);
        let mut weights = first.zero_mix.clone();
        let tables = first.with(&Prior::from_bytes(whole), components, syntax.regions);
        for stream in &mut self.streams {
            let mut coder = PlaneCoder::new(components, stream.height, stream.width, syntax, u64::MAX);
            for frame in &mut stream.frames {
                coder.begin(frame.random_access);
                coder.tables.restart(&tables);
                coder.tables.zero_mix.copy_from_slice(&weights);
                coder.code_begun(frame);
                weights.copy_from_slice(&coder.tables.zero_mix);
            }
        }
        let words = weights.iter().flat_map(|mixer| mixer.weights());
        let stored = words.flat_map(|w| ((w >> WEIGHT_SHIFT) as i16).to_le_bytes());
        let start = bytes.len() - weights.len() * 4 * 2;
        bytes[start..].iter_mut().zip(stored).for_each(|(to, from)| *to = from);
        Ok(())
    }
}

impl PlaneCoder {
    /// Codes a frame behind [`PlaneCoder::begin`] to nowhere, for what the models learn.
    fn code_begun(&mut self, frame: &mut Frame) {
        let Frame { random_access, levels } = frame;
        self.code_positions(&mut Nowhere, levels, *random_access, false);
        for group in 0..self.groups() {
            self.code_group(&mut Nowhere, levels, group).expect("levels that were read are legal");
        }
        self.end(levels);
    }
}
