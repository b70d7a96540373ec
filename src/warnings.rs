//! Warnings about what recurs, for elements that go on after it: one a second at most.

use std::time::{Duration, Instant};

/// Least time between two warnings.
const INTERVAL: Duration = Duration::from_secs(1);

/// Decides which events of a kind an element warns of.
#[derive(Debug, Default)]
pub struct Warnings {
    last: Option<Instant>,
    unreported: u64,
}

impl Warnings {
    /// Counts an event. `None`: there was a warning a moment ago. Else it is time for one, and the text says of how many events beside
    /// this one, empty if there were none.
    pub fn due(&mut self) -> Option<String> {
        self.unreported += 1;
        if self.last.is_some_and(|at| at.elapsed() < INTERVAL) {
            return None;
        }
        self.last = Some(Instant::now());
        Some(match std::mem::take(&mut self.unreported) {
            1 => String::new(),
            n => format!(" ({n} such events since the last warning)"),
        })
    }
}

/// An access unit that is predicted from one that is not there, `missing` units before it being lost, if that is known: how many to count,
/// and what to tell of it, if anything. `fresh`: nothing was lost just before; `joined`: units were decoded before.
pub fn unpredictable(missing: Option<u32>, fresh: bool, joined: bool) -> (u64, Option<String>) {
    match missing.filter(|&n| n > 0 && fresh) {
        Some(n) => (n.into(), Some(missing_units(n))),
        // Joining a stream in its middle is no fault.
        None => (0, (fresh && joined).then(not_continuous)),
    }
}

/// What to tell of `count` access units that are missing.
pub fn missing_units(count: u32) -> String {
    format!("{count} access units are missing")
}

/// What to tell of a loss of unknown size.
pub fn not_continuous() -> String {
    "the stream is not continuous".into()
}
