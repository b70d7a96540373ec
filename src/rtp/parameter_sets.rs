//! Sequence parameter sets that travel apart from the access units that need them (docs/rtp.md §5). They are known by the check
//! that each unit ends with, so that an access unit never meets another stream's parameters.

use fcm_codec::bitstream::stream;
use fcm_codec::{Limits, Result};

/// Bytes of a unit's check.
pub const CHECK: usize = 3;

/// The check of a unit.
pub type Check = [u8; CHECK];

/// Sets that are kept: one for each change of a stream, and the streams of a sender that restarts come one after the other.
const KEPT: usize = 4;

/// The check at the end of a whole sequence parameter set.
pub fn check_of(sequence: &[u8]) -> Option<Check> {
    sequence.last_chunk::<CHECK>().copied()
}

/// The parameter sets that a receiver knows, the latest first.
#[derive(Debug, Default)]
pub struct ParameterSets {
    sets: Vec<Vec<u8>>,
}

impl ParameterSets {
    /// Keeps a whole sequence parameter set, one unit with its check.
    ///
    /// # Errors
    /// `Corruption`, `InsufficientData`, `LimitExceeded` if it is not one; nothing changes.
    pub fn add(&mut self, sequence: &[u8], limits: &Limits) -> Result<()> {
        if self.sets.first().is_some_and(|first| first == sequence) {
            return Ok(());
        }
        match stream::sequence_header(sequence, limits)? {
            Some(unit) if unit.len() == sequence.len() => {}
            _ => return Err(super::packet::corrupt("parameter sets that are not one sequence parameter set".into())),
        }
        self.sets.retain(|set| set != sequence);
        self.sets.insert(0, sequence.to_vec());
        self.sets.truncate(KEPT);
        Ok(())
    }

    /// The set with this check, if it is known.
    pub fn get(&self, check: Check) -> Option<&[u8]> {
        self.sets.iter().map(Vec::as_slice).find(|set| check_of(set) == Some(check))
    }

    /// The set that came last.
    pub fn latest(&self) -> Option<&[u8]> {
        self.sets.first().map(Vec::as_slice)
    }
}
