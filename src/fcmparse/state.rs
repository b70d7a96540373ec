//! Where the parser stands in a stream: what the next bytes are, what was lost before them, when the next frame is due.

use fcm_codec::bitstream::FRAME_NUMBERS;
use fcm_codec::bitstream::stream::{self, Inspector, MARKER, Scan};
use fcm_codec::{FrameKind, Limits, Sequence, StreamFormat};
use gst::prelude::*;

use crate::caps::{self, CodedCaps};

/// Bytes after which the parser looks again at an access unit that goes on, if its length says more; then at every
/// doubling.
const LOOK_AGAIN: usize = 4096;
/// Resync markers that are tried each time: data full of false ones must not cost time without end.
const MARKERS_TRIED: usize = 4;

/// What upstream says in its caps.
#[derive(Debug, Default)]
pub struct Upstream {
    pub format: StreamFormat,
    /// Every buffer is one access unit: its end needs no looking for.
    pub aligned: bool,
    pub framerate: Option<(u32, u32)>,
    pub original_caps: Option<gst::Caps>,
}

impl Upstream {
    /// Reads its caps; the error says what of them is not legal.
    pub fn parse(structure: &gst::StructureRef) -> Result<Self, String> {
        let format = match structure.get_optional::<&str>("stream-format") {
            Ok(Some("packetized")) => StreamFormat::Packetized,
            Ok(None | Some("byte-stream")) => StreamFormat::ByteStream,
            other => return Err(format!("stream-format is {other:?}, legal are byte-stream and packetized")),
        };
        Ok(Self {
            format,
            aligned: structure.get::<&str>("alignment") == Ok("au"),
            framerate: caps::known(caps::framerate(structure)),
            original_caps: structure.get::<gst::Caps>("original-caps").ok(),
        })
    }
}

/// Where the parser stands in the stream.
pub struct State {
    pub limits: Limits,
    pub upstream: Upstream,
    pub inspector: Inspector,
    /// The parameter sets that the inspector read last, for `codec_data`.
    pub header: Option<Vec<u8>>,
    /// Whether the next byte follows a whole access unit.
    synced: bool,
    /// Number of the last access unit, if nothing but damage lies between it and the next one.
    last_number: Option<u32>,
    /// Bytes dropped since the last access unit.
    dropped: u64,
    /// What the caps downstream were made from.
    pub announced: Option<(Sequence, StreamFormat)>,
    /// Access units since the frame rate began to count: exact durations need the number of the frame.
    frames: u64,
    /// Time of the next frame in a timed segment without any timestamps.
    pub clock: Option<gst::ClockTime>,
    /// Where the next byte is expected when this element reads by itself; elsewhere means that it has seeked.
    pub next_offset: Option<u64>,
}

impl State {
    pub fn new(limits: Limits) -> Self {
        Self {
            inspector: Inspector::new(limits.clone()),
            limits,
            header: None,
            upstream: Upstream::default(),
            synced: false,
            last_number: None,
            dropped: 0,
            announced: None,
            frames: 0,
            clock: None,
            next_offset: None,
        }
    }

    /// Forgets the position in the stream, not the stream.
    pub fn seeked(&mut self) {
        self.synced = false;
        self.last_number = None;
        self.dropped = 0;
        self.next_offset = None;
    }

    /// Decides what the start of `bytes` is. `at_end`: no more bytes will come before they are dealt with.
    pub fn examine(&mut self, bytes: &[u8], at_end: bool) -> Verdict {
        // A packetized stream has nothing to find the next access unit by but the edge of the buffer.
        let whole_buffer = self.upstream.aligned && self.upstream.format == StreamFormat::Packetized;
        let scanned = stream::scan(bytes, self.upstream.format, self.synced, at_end, &self.limits);
        match scanned {
            Scan::AccessUnit { len, kind, number } => self.found(&bytes[..len], kind, number),
            Scan::EndOfStream { len } => {
                // What follows is another stream, its numbers begin anew.
                self.synced = true;
                self.last_number = None;
                Verdict::EndOfStream { len }
            }
            Scan::NeedMore { at_least } if !at_end => match self.later_unit(bytes) {
                Some(len) => self.lost(len, None),
                None => Verdict::NeedMore { at_least: at_least.min(LOOK_AGAIN.max(2 * bytes.len())) },
            },
            Scan::Skip { len } if !whole_buffer => self.lost(len.min(bytes.len()), None),
            Scan::NeedMore { .. } | Scan::Skip { .. } => self.lost(bytes.len(), None),
        }
    }

    /// Where a whole random access unit begins among bytes that seem to belong to an unfinished access unit: damage to
    /// a length could otherwise claim all that comes in the next minutes of a slow stream.
    fn later_unit(&self, bytes: &[u8]) -> Option<usize> {
        if self.upstream.format != StreamFormat::ByteStream {
            return None;
        }
        let markers = bytes.windows(MARKER.len()).enumerate().skip(1).filter(|(_, window)| *window == MARKER);
        markers.map(|(at, _)| at).take(MARKERS_TRIED).find(|at| {
            let scanned = stream::scan(&bytes[*at..], self.upstream.format, false, false, &self.limits);
            matches!(scanned, Scan::AccessUnit { .. })
        })
    }

    /// Takes a whole access unit.
    fn found(&mut self, unit: &[u8], kind: FrameKind, number: u32) -> Verdict {
        if kind == FrameKind::RandomAccess {
            if let Err(err) = self.inspector.inspect(unit) {
                return self.lost(unit.len(), Some(err));
            }
            if self.announced.as_ref().map(|(sequence, _)| sequence) != self.inspector.sequence() {
                self.header = stream::sequence_header(unit, &self.limits).ok().flatten().map(<[u8]>::to_vec);
            }
        }
        // A random access unit right behind another unit may as well begin another stream, with numbers of its own.
        let counts_on = self.dropped > 0 || kind == FrameKind::Predicted;
        let missing = match self.last_number {
            Some(last) if counts_on => (number + 2 * FRAME_NUMBERS - last - 1) % FRAME_NUMBERS,
            _ => 0,
        };
        let after_loss = std::mem::take(&mut self.dropped) > 0 || missing > 0;
        self.synced = true;
        self.last_number = Some(number);
        Verdict::AccessUnit(AccessUnit { len: unit.len(), kind, missing, after_loss })
    }

    /// Gives up `len` bytes, and what can no longer be decoded without them.
    fn lost(&mut self, len: usize, reason: Option<fcm_codec::Error>) -> Verdict {
        let lost_sync = std::mem::take(&mut self.synced) || reason.is_some();
        self.dropped += len as u64;
        Verdict::Drop { len, lost_sync, reason }
    }

    /// The exact duration of the next frame, so that durations add up to the frame rate; and of `missing` frames
    /// before it.
    pub fn durations(&mut self, missing: u32) -> Option<(gst::ClockTime, gst::ClockTime)> {
        let (num, den) = self.framerate()?;
        let second = gst::ClockTime::SECOND.nseconds();
        let at = |frames: u64| {
            frames.mul_div_floor(second * u64::from(den), u64::from(num)).map(gst::ClockTime::from_nseconds)
        };
        let begin = at(self.frames)?;
        self.frames = self.frames.checked_add(u64::from(missing))?;
        let start = at(self.frames)?;
        self.frames += 1;
        self.clock = self.clock.map(|clock| clock + (start - begin));
        Some((start - begin, at(self.frames)? - start))
    }

    /// The frame rate: the stream's, else that of the caps of upstream; `None` = unknown.
    fn framerate(&self) -> Option<(u32, u32)> {
        self.inspector.sequence().and_then(|s| caps::known(s.framerate)).or(self.upstream.framerate)
    }

    /// The caps of the stream, in the framing `format`.
    pub fn coded_caps(&self, sequence: &Sequence, format: StreamFormat) -> CodedCaps {
        let framerate = self.framerate().unwrap_or((0, 1));
        let original = self.upstream.original_caps.clone();
        CodedCaps::of_sequence(sequence, format, framerate, self.header.clone(), original)
    }
}

/// What lies at the start of the bytes at hand.
pub enum Verdict {
    AccessUnit(AccessUnit),
    EndOfStream { len: usize },
    NeedMore { at_least: usize },
    Drop { len: usize, lost_sync: bool, reason: Option<fcm_codec::Error> },
}

pub struct AccessUnit {
    pub len: usize,
    pub kind: FrameKind,
    /// Frames lost just before it.
    pub missing: u32,
    pub after_loss: bool,
}
