//! Bounds on what untrusted bytes may make the codec do. Every bound is checked before memory is taken.

use crate::error::{Error, Result};

/// Resource bounds of an encoder, decoder or parser.
///
/// The defaults suit the largest shapes the project is designed for: the feature pyramid of a large
/// detector at 1080p, 22 million values a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Layers in a feature set. Default and largest legal value: 256.
    pub max_layers: u32,
    /// Values in one frame, all layers together. Default: 2^25 (33.5 million).
    pub max_elements: u64,
    /// Components (planes) of the fused tensor. Default: 2^22.
    pub max_components: u32,
    /// Values in the fused tensor, padding included. Default: 2^26.
    pub max_fused: u64,
    /// Bytes in one access unit. Default: 128 MiB.
    pub max_access_unit: u64,
    /// Entropy-coded binary decisions in one access unit: a bound on decoding time that is the same on
    /// every machine. One decision takes in the order of 10 ns. Default: 2^29.
    pub max_decisions: u64,
    /// Bytes in a calibrated transform file. Default: 1 GiB.
    pub max_transform: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_layers: 256,
            max_elements: 1 << 25,
            max_components: 1 << 22,
            max_fused: 1 << 26,
            max_access_unit: 128 << 20,
            max_decisions: 1 << 29,
            max_transform: 1 << 30,
        }
    }
}

/// Fails with [`crate::ErrorKind::LimitExceeded`] unless `asked <= allowed`.
pub(crate) fn check(name: &str, asked: u64, allowed: u64) -> Result<()> {
    if asked > allowed { Err(Error::limit(name, asked, allowed)) } else { Ok(()) }
}
