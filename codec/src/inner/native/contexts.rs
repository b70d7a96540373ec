//! What a level is coded under: buckets and classes of components, activity, and the contexts made of them
//! (docs/bitstream.md §7.3).

use std::ops::Range;

/// Components whose index has a context of its own; the others share that of the last.
pub const INDEXED: usize = 4096;
/// Classes of components.
pub const CLASSES: usize = 16;
/// Classes of activity.
pub const ACTIVITIES: usize = 8;
/// First component of each group: levels of a group are coded without anything of weaker groups, so that a frame may be cut
/// between them. All are first components of a class.
pub const GROUP_STARTS: [usize; GROUPS] = [0, 3, 10, 25, 40, 63, 101, 161];
/// Most groups of a frame.
pub const GROUPS: usize = 8;

/// Groups that `components` components have.
pub fn groups_of(components: usize) -> usize {
    GROUP_STARTS.iter().filter(|&&start| start < components).count()
}

/// Components of group `group` of `components` in all.
pub fn group_of_components(group: usize, components: usize) -> Range<usize> {
    let end = GROUP_STARTS.get(group + 1).map_or(components, |&end| end.min(components));
    GROUP_STARTS[group].min(end)..end
}

/// Group of component `c`.
fn group(c: usize) -> usize {
    groups_of(c + 1) - 1
}

/// What is known of a level before it is coded.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings {
    /// Index of the component, at most [`INDEXED`] − 1, its class, and its group.
    pub index: usize,
    pub class: usize,
    pub group: usize,
    /// How the position is predicted.
    pub mode: usize,
    /// Magnitudes of the left and upper level of the component, each at most 2, added.
    pub near: usize,
    /// Magnitude of the level in the frame before, at most 2.
    pub was: usize,
    /// Class of the activity here, and of the mean activity left and above.
    pub activity: usize,
    pub near_activity: usize,
    /// Buckets from this component's to the position's.
    pub to_bound: usize,
}

/// Counters of the second context for each component or class.
pub const BY_INDEX: usize = 9;
/// Counters of the third context for each group.
pub const BY_BOUND: usize = 2 * 16 * 3 * 3 * 4;

impl Surroundings {
    /// Counters that each way of looking needs.
    pub const fn sizes(indices: usize, groups: usize) -> [usize; 4] {
        [CLASSES * 5 * 3 * ACTIVITIES * 2, indices * BY_INDEX, groups * BY_BOUND, CLASSES * ACTIVITIES * ACTIVITIES * 2]
    }

    /// Index of the counter that each way of looking leads to.
    #[inline(always)]
    pub fn contexts(self) -> [usize; 4] {
        let Self { index, class, group, mode, near, was, activity, near_activity, to_bound } = self;
        [
            (((class * 5 + near) * 3 + was) * ACTIVITIES + activity) * 2 + mode,
            index * BY_INDEX + near.min(2) * 3 + (activity / 2).min(2),
            ((((group * 2 + mode) * 16 + to_bound) * 3 + near.min(2)) * 3 + was) * 4 + activity / 2,
            ((class * ACTIVITIES + activity) * ACTIVITIES + near_activity) * 2 + usize::from(was > 0),
        ]
    }
}

/// Class, index and group of component `c`, of which only the first has meaning without groups.
pub fn place_of(c: usize, grouped: bool) -> (usize, usize, usize) {
    (class(c), c.min(INDEXED - 1), if grouped { group(c) } else { 0 })
}

/// Components with about the same behaviour: classes grow with the index.
pub fn class(c: usize) -> usize {
    const STARTS: [usize; CLASSES] = [1, 2, 3, 4, 7, 11, 16, 26, 41, 64, 102, 162, 256, 407, 646, 1024];
    STARTS.iter().filter(|&&start| c + 1 >= start).count() - 1
}

/// Bucket of the number of components up to the last non-zero one: 0 for none, then half octaves.
pub fn bucket_of(count: usize) -> u8 {
    if count < 3 {
        return count as u8;
    }
    let octave = count.ilog2();
    let half = (count >> (octave - 1)) & 1;
    (2 * octave + half as u32) as u8
}

/// Components below the end of bucket `b`.
pub fn bound_of(b: u8) -> usize {
    match b {
        0..=2 => usize::from(b),
        _ => {
            let octave = u32::from(b / 2);
            let half = usize::from(b % 2);
            (1 << octave) + ((1 + half) << (octave - 1)) - 1
        }
    }
}

#[inline(always)]
pub fn activity_class(a: u16) -> usize {
    const STEPS: [u16; ACTIVITIES - 1] = [80, 200, 410, 820, 1640, 2870, 4500];
    STEPS.iter().map(|&s| usize::from(a >= s)).sum()
}

/// Running activity: 15 % of the way to the magnitude (at most 3), which counts 4096.
#[inline(always)]
pub fn activity_after(a: u16, magnitude: u32) -> u16 {
    let target = (magnitude.min(3) << 12) as i32;
    (i32::from(a) + (((target - i32::from(a)) * 39) >> 8)) as u16
}
