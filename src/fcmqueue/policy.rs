//! What a queue of access units holds, and what it gives up when it is too full. Knows no GStreamer: `T` is whatever goes with an entry.
//!
//! Fullness is the largest of number, bytes and time in the queue, each over its limit. Above the mark where degrading begins the
//! slices of queued units go in the order of [`ORDER`], each step at a higher mark; above the limit whole frames go, and what is older than the time limit goes where a random access unit follows. Slices come first
//! because what is without them is still a frame of its time; and they go below the limit because to drop them shortens no time in the
//! queue: it makes the queue empty faster, which takes as long as it takes.

use fcm_codec::FrameKind;
use fcm_codec::bitstream::MAX_SLICES;
use std::collections::VecDeque;

/// Highest priority number: what goes first.
pub const LEAST: usize = 3;

/// What goes before what: slices of a kind of frame and of a priority (docs/rtp.md §4.1).
///
/// Within a priority predicted frames come first: what one of them lacks is a change, what a random access frame lacks is missing in all that is
/// predicted from it. Across priorities they do not: at the start of a group, components whose changes are gone anyhow are worth little. Measured on
/// the features of examples/data/scene.npz in slices of 250 bytes, against the whole stream, once priority 3 is gone from predicted frames: priority 3 of
/// random access frames costs 4 to 12 times less error a byte than priority 2 of predicted frames at qp 16 and 22, whether of all frames or of
/// the first seven; at qp 28, where few frames have so many slices, ten times more.
pub const ORDER: [(FrameKind, usize); 6] = [
    (FrameKind::Predicted, 3),
    (FrameKind::RandomAccess, 3),
    (FrameKind::Predicted, 2),
    (FrameKind::RandomAccess, 2),
    (FrameKind::Predicted, 1),
    (FrameKind::RandomAccess, 1),
];

/// Priority of the slice with this index in its frame.
pub fn priority(slice: usize) -> usize {
    slice.min(LEAST)
}

/// An access unit in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Random access or predicted.
    pub kind: FrameKind,
    /// Whether a decoder goes on without a frame before it.
    pub resilient: bool,
    /// Running time in nanoseconds, where it is known.
    pub time: Option<u64>,
    /// Nanoseconds that it lasts: to the unit before it, or its duration if that is shorter. 0 = not known.
    pub length: u64,
    /// Something before it was dropped here.
    pub after_drop: bool,
    /// Bytes that it has with the first slice, the first two …
    ends: [usize; MAX_SLICES],
    /// Slices that it came with, 1 to [`MAX_SLICES`].
    came: usize,
    /// Slices that are left.
    left: usize,
}

impl Unit {
    /// `ends`: bytes of the unit when it ends with each of its slices, at most [`MAX_SLICES`]; what is no whole access unit has one.
    pub fn new(kind: FrameKind, resilient: bool, ends: impl Iterator<Item = usize>) -> Self {
        let mut unit =
            Self { kind, resilient, time: None, length: 0, after_drop: false, ends: [0; MAX_SLICES], came: 0, left: 0 };
        for (place, end) in unit.ends.iter_mut().zip(ends) {
            *place = end;
            unit.came += 1;
        }
        unit.came = unit.came.max(1);
        unit.left = unit.came;
        unit
    }

    /// Bytes of what is left.
    pub fn bytes(&self) -> usize {
        self.ends[self.left - 1]
    }

    /// Slices that are left; `None` when all are.
    pub fn shortened(&self) -> Option<usize> {
        (self.left < self.came).then_some(self.left)
    }
}

/// What is in the queue, or may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Level {
    /// Access units.
    pub units: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Nanoseconds that the units last, the oldest left out: it may go out now, and there is no backlog of one frame however long it lasts.
    pub time: u64,
}

/// When the queue degrades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Above any of these frames are dropped; 0 = no limit.
    pub most: Level,
    /// Percent of a limit above which slices are dropped, 1 to 100.
    pub degrade_percent: u32,
}

impl Limits {
    /// Whether `level` is above `percent` / `of` percent of a limit.
    fn above(&self, level: &Level, percent: u64, of: u64) -> bool {
        let pairs = [(level.units, self.most.units), (level.bytes, self.most.bytes), (level.time, self.most.time)];
        pairs.iter().any(|&(level, most)| {
            most > 0 && u128::from(level) * 100 * u128::from(of) > u128::from(most) * u128::from(percent)
        })
    }

    /// Whether slices of step `step` of [`ORDER`] are to go.
    fn sheds(&self, level: &Level, step: usize) -> bool {
        let (first, steps) = (u64::from(self.degrade_percent.clamp(1, 100)), ORDER.len() as u64);
        self.above(level, first * steps + (100 - first) * step as u64, steps)
    }

    /// Whether nothing is to go.
    pub fn well(&self, level: &Level) -> bool {
        !self.sheds(level, 0)
    }

    /// Whether frames are to go.
    fn full(&self, level: &Level) -> bool {
        self.above(level, 100, 1)
    }
}

/// What was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Slices by priority, 1 to 3; index 0 is not used.
    pub slices: [u64; LEAST + 1],
    /// Whole predicted frames.
    pub predicted: u64,
    /// Whole random access frames.
    pub random_access: u64,
    /// Bytes of all that.
    pub bytes: u64,
}

impl Dropped {
    /// Whether it is nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Whole frames.
    pub fn frames(&self) -> u64 {
        self.predicted + self.random_access
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        for (sum, slices) in self.slices.iter_mut().zip(other.slices) {
            *sum += slices;
        }
        self.predicted += other.predicted;
        self.random_access += other.random_access;
        self.bytes += other.bytes;
    }
}

/// What is in the queue, in order.
#[derive(Debug)]
pub enum Entry<T> {
    /// An access unit.
    Unit(Unit, T),
    /// Anything else; it is never dropped.
    Other(T),
}

impl<T> Entry<T> {
    fn unit(&self) -> Option<&Unit> {
        match self {
            Entry::Unit(unit, _) => Some(unit),
            Entry::Other(_) => None,
        }
    }

    fn unit_mut(&mut self) -> Option<&mut Unit> {
        match self {
            Entry::Unit(unit, _) => Some(unit),
            Entry::Other(_) => None,
        }
    }

    fn is(&self, kind: FrameKind) -> bool {
        self.unit().is_some_and(|unit| unit.kind == kind)
    }
}

/// The queue.
#[derive(Debug)]
pub struct Queue<T> {
    entries: VecDeque<Entry<T>>,
    units: u64,
    bytes: u64,
    /// The next unit follows dropped ones.
    after_drop: bool,
    /// Nothing can be predicted from what went through last: predicted frames are of no use before a random access unit.
    broken: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), units: 0, bytes: 0, after_drop: false, broken: false }
    }
}

impl<T> Queue<T> {
    /// What is in it.
    pub fn level(&self) -> Level {
        let lengths = self.entries.iter().filter_map(Entry::unit).skip(1).map(|unit| unit.length);
        Level { units: self.units, bytes: self.bytes, time: lengths.fold(0, u64::saturating_add) }
    }

    /// What comes out next.
    pub fn front(&self) -> Option<&Entry<T>> {
        self.entries.front()
    }

    /// Takes what comes out next.
    pub fn pop(&mut self) -> Option<Entry<T>> {
        let entry = self.entries.pop_front()?;
        self.left(&entry);
        Some(entry)
    }

    /// Adds what is never dropped.
    pub fn push_other(&mut self, what: T) {
        self.entries.push_back(Entry::Other(what));
    }

    /// Adds an access unit, and gives up what is too much; that may be this one.
    pub fn push(&mut self, mut unit: Unit, what: T, limits: &Limits) -> Dropped {
        let mut dropped = Dropped::default();
        if unit.kind == FrameKind::RandomAccess {
            self.broken = false;
        } else if self.broken && !unit.resilient {
            self.after_drop = true;
            dropped.predicted = 1;
            dropped.bytes = unit.bytes() as u64;
            return dropped;
        }
        unit.after_drop |= std::mem::take(&mut self.after_drop);
        self.units += 1;
        self.bytes += unit.bytes() as u64;
        self.entries.push_back(Entry::Unit(unit, what));
        dropped.add(&self.relieve(limits));
        dropped
    }

    /// Gives up what is too much, as when limits were lowered.
    pub fn relieve(&mut self, limits: &Limits) -> Dropped {
        let mut dropped = Dropped::default();
        self.drop_stale(limits.most.time, &mut dropped);
        for (step, &(kind, priority)) in ORDER.iter().enumerate() {
            if !limits.sheds(&self.level(), step) {
                return dropped;
            }
            self.shed(kind, priority, &mut dropped, |level| limits.sheds(level, step));
        }
        while self.units > 1 && limits.full(&self.level()) {
            let Some(at) = self.victim() else { break };
            self.drop_unit(at, &mut dropped);
        }
        dropped
    }

    /// Forgets everything, and returns it.
    pub fn clear(&mut self) -> impl Iterator<Item = Entry<T>> + use<T> {
        std::mem::take(self).entries.into_iter()
    }

    /// Drops the slices of this priority from frames of this kind, oldest first, while `more` says that the level asks for it.
    fn shed(&mut self, kind: FrameKind, of: usize, dropped: &mut Dropped, more: impl Fn(&Level) -> bool) {
        let mut level = self.level();
        for unit in self.entries.iter_mut().filter_map(Entry::unit_mut).filter(|unit| unit.kind == kind) {
            if !more(&level) {
                break;
            }
            let before = unit.bytes();
            while unit.left > 1 && priority(unit.left - 1) >= of {
                dropped.slices[priority(unit.left - 1)] += 1;
                unit.left -= 1;
            }
            let gone = (before - unit.bytes()) as u64;
            level.bytes -= gone;
            dropped.bytes += gone;
        }
        self.bytes = level.bytes;
    }

    /// Drops what is older than `oldest` nanoseconds and stands before a random access unit: nothing after that needs it, and a link that comes
    /// back has better things to do. Predicted frames that are not too old keep the random access unit that they were predicted from.
    fn drop_stale(&mut self, oldest: u64, dropped: &mut Dropped) {
        let newest = self.entries.iter().rev().find_map(|entry| entry.unit()?.time);
        let last = self.entries.iter().rposition(|entry| entry.is(FrameKind::RandomAccess));
        let (Some(newest), Some(mut last)) = (newest.filter(|_| oldest > 0), last) else { return };
        let stale = |unit: &Unit| unit.time.is_some_and(|time| newest.saturating_sub(time) > oldest);
        // Something that the next one was predicted from is gone.
        let mut broken = false;
        let mut at = 0;
        while at < last {
            match self.entries[at].unit().copied() {
                Some(unit) if unit.kind == FrameKind::Predicted && (stale(&unit) || (broken && !unit.resilient)) => {
                    broken = true;
                    self.drop_unit(at, dropped);
                    last -= 1;
                }
                unit => {
                    broken &= unit.is_none_or(|unit| unit.kind == FrameKind::Predicted);
                    at += 1;
                }
            }
        }
        at = 0;
        while at < last {
            let next = self.entries.iter().skip(at + 1).find_map(Entry::unit).map(|unit| unit.kind);
            let alone = next == Some(FrameKind::RandomAccess);
            if alone && self.entries[at].unit().is_some_and(|unit| unit.kind == FrameKind::RandomAccess && stale(unit))
            {
                self.drop_unit(at, dropped);
                last -= 1;
            } else {
                at += 1;
            }
        }
    }

    /// The frame to give up next.
    ///
    /// Predicted frames first, those whose loss harms no other before all: right before a random access unit, and from there backwards. Then, if the
    /// stream is error resilient, the oldest, which is the latest; if it is not, the newest, for all after it are lost with any.
    /// Random access units last, the oldest first.
    fn victim(&self) -> Option<usize> {
        let is = |kind| move |entry: &Entry<T>| entry.is(kind);
        let Some(first) = self.entries.iter().position(is(FrameKind::Predicted)) else {
            return self.entries.iter().position(is(FrameKind::RandomAccess));
        };
        let random_access = self.entries.iter().skip(first).position(is(FrameKind::RandomAccess));
        match (random_access, self.entries[first].unit()) {
            (None, Some(unit)) if unit.resilient => Some(first),
            (None, _) => self.entries.iter().rposition(is(FrameKind::Predicted)),
            (Some(next), _) => self.entries.range(..first + next).rposition(is(FrameKind::Predicted)),
        }
    }

    fn drop_unit(&mut self, at: usize, dropped: &mut Dropped) {
        let Some(entry) = self.entries.remove(at) else { return };
        self.left(&entry);
        let Some(unit) = entry.unit() else { return };
        match unit.kind {
            FrameKind::RandomAccess => dropped.random_access += 1,
            FrameKind::Predicted => dropped.predicted += 1,
        }
        dropped.bytes += unit.bytes() as u64;
        match self.entries.iter_mut().skip(at).find_map(Entry::unit_mut) {
            Some(next) => next.after_drop = true,
            None => {
                self.after_drop = true;
                self.broken |= unit.kind == FrameKind::Predicted && !unit.resilient;
            }
        }
    }

    fn left(&mut self, entry: &Entry<T>) {
        if let Some(unit) = entry.unit() {
            self.units -= 1;
            self.bytes -= unit.bytes() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FrameKind::{Predicted, RandomAccess};

    const MS: u64 = 1_000_000;

    /// A queue fed with frames of 40 ms; what goes with a frame is its number.
    struct Fed {
        queue: Queue<u32>,
        limits: Limits,
        resilient: bool,
        frames: u32,
        dropped: Dropped,
    }

    impl Fed {
        fn new(most: Level) -> Self {
            let limits = Limits { most, degrade_percent: 50 };
            Self { queue: Queue::default(), limits, resilient: true, frames: 0, dropped: Dropped::default() }
        }

        fn of_time(ms: u64) -> Self {
            Self::new(Level { time: ms * MS, ..Level::default() })
        }

        fn of_bytes(bytes: u64) -> Self {
            Self::new(Level { bytes, ..Level::default() })
        }

        /// `R` and `P`: frames of five slices of 100 bytes; `r` and `p`: of one.
        fn push(&mut self, kinds: &str) -> &mut Self {
            for kind in kinds.chars() {
                let slices = if kind.is_uppercase() { 5 } else { 1 };
                let kind = if kind.eq_ignore_ascii_case(&'r') { RandomAccess } else { Predicted };
                let mut unit = Unit::new(kind, self.resilient, (1..=slices).map(|n| 100 * n));
                unit.time = Some(u64::from(self.frames) * 40 * MS);
                unit.length = 40 * MS;
                let dropped = self.queue.push(unit, self.frames, &self.limits);
                self.dropped.add(&dropped);
                self.frames += 1;
            }
            self
        }

        /// Number, slices left, and whether something is missing before it, of every unit in the queue.
        fn left(&self) -> Vec<(u32, usize, bool)> {
            let entries = self.queue.entries.iter();
            entries
                .filter_map(|e| match e {
                    Entry::Unit(unit, n) => Some((*n, unit.left, unit.after_drop)),
                    Entry::Other(_) => None,
                })
                .collect()
        }

        fn numbers(&self) -> Vec<u32> {
            self.left().iter().map(|&(n, ..)| n).collect()
        }

        /// What was pushed is in the queue, was taken, or is counted.
        fn adds_up(&self, pushed_bytes: u64, taken: &[Entry<u32>]) {
            let out: u64 = taken.iter().filter_map(Entry::unit).map(|unit| unit.bytes() as u64).sum();
            assert_eq!(pushed_bytes, self.queue.level().bytes + self.dropped.bytes + out);
            assert_eq!(u64::from(self.frames), self.queue.level().units + self.dropped.frames() + taken.len() as u64);
        }
    }

    #[test]
    fn up_to_the_mark_nothing_is_touched() {
        let mut fed = Fed::of_time(400);
        fed.push("RPPPPP");
        assert_eq!(fed.queue.level(), Level { units: 6, bytes: 3000, time: 200 * MS });
        assert!(fed.dropped.is_nothing());
        let mut all = Fed::new(Level::default());
        all.push(&"RPPP".repeat(100));
        assert!(all.dropped.is_nothing(), "without limits");
    }

    #[test]
    fn weaker_slices_go_first_and_of_a_priority_those_of_predicted_frames() {
        // Marks at 50, 58.3, 66.7, 75, 83.3 and 91.7 percent of 480 ms: one after each frame from the seventh on.
        let mut fed = Fed::of_time(480);
        let mut slices = Vec::new();
        for n in 0..13 {
            fed.push(if n == 0 { "R" } else { "P" });
            let left = fed.left();
            slices.push((left[0].1, left[n].1));
            assert!(
                left[1..].iter().all(|&(_, left, _)| left == slices[n].1),
                "{n}: the same of every predicted frame"
            );
        }
        assert_eq!(slices[..7], [(5, 5); 7]);
        assert_eq!(slices[7..], [(5, 3), (3, 3), (3, 2), (2, 2), (2, 1), (1, 1)]);
        assert_eq!(fed.dropped.slices, [0, 13, 13, 26]);
        assert_eq!(fed.dropped.frames(), 0);
        fed.adds_up(13 * 500, &[]);
    }

    #[test]
    fn of_bytes_no_more_goes_than_has_to_and_the_oldest_first() {
        let mut fed = Fed::of_bytes(4000);
        fed.push("RPPPP");
        // 2500 bytes are too many; two slices of the first predicted frame, two of the second and of the third are 1900.
        let slices: Vec<usize> = fed.left().iter().map(|&(_, left, _)| left).collect();
        assert_eq!(slices, [5, 3, 3, 3, 5]);
        assert_eq!(fed.queue.level().bytes, 1900);
        fed.adds_up(2500, &[]);
    }

    #[test]
    fn where_slices_are_not_enough_the_oldest_predicted_frames_go() {
        let mut fed = Fed::of_bytes(800);
        fed.push("RPPPPPPPPP");
        // Ten first slices are 1000 bytes.
        assert_eq!(fed.numbers(), [0, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(fed.left()[1], (3, 1, true));
        assert!(fed.left().iter().all(|&(n, left, after_drop)| left == 1 && after_drop == (n == 3)));
        assert_eq!((fed.dropped.predicted, fed.dropped.random_access), (2, 0));
        fed.adds_up(5000, &[]);
    }

    #[test]
    fn frames_that_nothing_after_them_needs_go_before_others() {
        let mut fed = Fed::new(Level { units: 6, ..Level::default() });
        fed.push("ppprpp");
        assert_eq!(fed.numbers(), [0, 1, 2, 3, 4, 5]);
        fed.push("p");
        assert_eq!(fed.left()[1..3], [(1, 1, false), (3, 1, true)]);
        fed.push("pp");
        assert_eq!(fed.left()[0], (3, 1, true), "the first frames are gone, backwards");
        fed.push("pp");
        assert_eq!(fed.numbers(), [3, 6, 7, 8, 9, 10], "then the oldest");
    }

    #[test]
    fn a_random_access_frame_goes_last_and_only_for_a_newer_one() {
        let mut fed = Fed::new(Level { units: 3, ..Level::default() });
        fed.push("rpppppppp");
        assert_eq!(fed.numbers(), [0, 7, 8]);
        fed.push("rr");
        assert_eq!(fed.numbers(), [0, 9, 10]);
        fed.push("r");
        assert_eq!(fed.numbers(), [9, 10, 11]);
        assert_eq!((fed.dropped.predicted, fed.dropped.random_access), (8, 1));
        let mut single = Fed::of_bytes(10);
        single.push("RPR");
        assert_eq!(single.left(), [(2, 1, true)], "one is always left, with its first slice");
    }

    #[test]
    fn a_stream_that_is_not_resilient_keeps_what_can_be_decoded() {
        let mut fed = Fed::new(Level { units: 4, ..Level::default() });
        fed.resilient = false;
        fed.push("rpppppp");
        assert_eq!(fed.numbers(), [0, 1, 2, 3]);
        let mut taken: Vec<_> = std::iter::from_fn(|| fed.queue.pop()).collect();
        fed.push("ppp");
        assert!(fed.queue.front().is_none(), "nothing can be predicted from what is missing");
        fed.push("rp");
        assert_eq!(fed.left(), [(10, 1, true), (11, 1, false)]);
        assert_eq!(fed.dropped.predicted, 6);
        taken.extend(std::iter::from_fn(|| fed.queue.pop()));
        fed.adds_up(1200, &taken);
        // Before a queued random access frame a group loses its end, not its beginning.
        fed.push("rpprpp");
        assert_eq!(fed.numbers(), [12, 15, 16, 17]);
        fed.push("p");
        assert_eq!(fed.numbers(), [12, 15, 16, 17]);
    }

    #[test]
    fn what_waited_too_long_makes_way_for_a_random_access_frame() {
        let mut fed = Fed::of_time(400);
        fed.push("rp");
        fed.frames += 10;
        fed.push("p");
        assert_eq!(fed.numbers(), [0, 1, 12], "no random access frame behind them");
        fed.push("r");
        assert_eq!(fed.left(), [(0, 1, false), (12, 1, true), (13, 1, false)], "12 is not too old, and needs 0");
        fed.frames += 9;
        fed.push("r");
        assert_eq!(fed.left(), [(13, 1, true), (23, 1, false)]);
        let mut plain = Fed::of_time(400);
        plain.resilient = false;
        plain.push("p");
        plain.frames += 8;
        plain.push("pppr");
        assert_eq!(plain.left(), [(12, 1, true)]);
    }

    #[test]
    fn other_entries_keep_their_place_and_are_never_dropped() {
        let mut fed = Fed::new(Level { units: 2, ..Level::default() });
        for n in 0..20 {
            fed.queue.push_other(1000 + n);
            fed.push("p");
        }
        let mut order = Vec::new();
        while let Some(entry) = fed.queue.pop() {
            order.push(match entry {
                Entry::Unit(_, n) | Entry::Other(n) => n,
            });
        }
        let wanted: Vec<u32> = (1000..1019).chain([18, 1019, 19]).collect();
        assert_eq!(order, wanted);
        assert_eq!(fed.queue.level(), Level::default());
    }

    #[test]
    fn a_pause_of_the_stream_is_no_backlog() {
        let mut fed = Fed::of_time(400);
        fed.push("rp");
        // A frame after ten seconds, which lasts 40 ms as any other.
        fed.frames += 250;
        fed.push("pp");
        assert_eq!(fed.queue.level().time, 120 * MS);
        assert!(fed.dropped.is_nothing());
    }

    #[test]
    fn lower_limits_take_effect_at_once() {
        let mut fed = Fed::of_time(4000);
        fed.push("RPPPPPPPPPPPPPPP");
        assert!(fed.dropped.is_nothing());
        fed.limits.most.time = 200 * MS;
        let dropped = fed.queue.relieve(&fed.limits);
        assert_eq!(fed.queue.level().time, 200 * MS);
        assert_eq!((dropped.predicted, dropped.slices), (10, [0, 16, 16, 32]));
    }

    /// Any feeding and taking: the limits hold, everything is accounted for, and what comes out of a stream that is not resilient can be decoded.
    #[test]
    fn limits_hold_whatever_comes() {
        let mut seed = 5u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for round in 0..400 {
            let most = Level { units: random(12), bytes: random(8) * 500, time: random(12) * 40 * MS };
            let mut fed = Fed::new(most);
            fed.limits.degrade_percent = 1 + random(100) as u32;
            fed.resilient = round % 2 == 0;
            let (mut taken, mut pushed) = (Vec::new(), 0);
            for _ in 0..120 {
                if random(3) < 2 {
                    let kind = ["R", "P", "P", "P", "r", "p", "p"][random(7) as usize];
                    fed.push(kind);
                    pushed += if kind == kind.to_uppercase() { 500 } else { 100 };
                    let level = fed.queue.level();
                    assert!(level.units <= 1 || !fed.limits.full(&level), "{level:?} of {most:?}");
                } else {
                    taken.extend(fed.queue.pop());
                }
            }
            taken.extend(std::iter::from_fn(|| fed.queue.pop()));
            fed.adds_up(pushed, &taken);
            let mut last = None;
            for entry in &taken {
                let Entry::Unit(unit, n) = entry else { panic!("an entry that was not pushed") };
                let follows = last.is_none_or(|last| *n == last + 1);
                assert_eq!(unit.after_drop, last.map_or(*n > 0, |last| *n != last + 1), "frame {n} in round {round}");
                assert!(fed.resilient || follows || unit.kind == RandomAccess, "frame {n} after {last:?}");
                last = Some(*n);
            }
        }
    }
}
