//! The native inner codec: levels of the fused tensor ⇄ bytes (docs/bitstream.md §7).
//!
//! [`range_coder`] turns binary decisions into bytes, [`models`] holds the adaptive probabilities, [`planes`] is the syntax: which
//! decisions there are, [`contexts`] what they are coded under, [`tables`] and [`prior`] where the models start.

pub mod contexts;
pub mod costs;
mod models;
pub mod planes;
mod prior;
pub mod range_coder;
pub mod tables;
pub mod vectors;

pub use contexts::GROUPS;
#[cfg(feature = "calibrate")]
pub use prior::PriorTrainer;
