//! The native inner codec: levels of the fused tensor ⇄ bytes (docs/bitstream.md §7).
//!
//! [`range_coder`] turns binary decisions into bytes, [`models`] holds the adaptive probabilities, [`planes`] is the syntax: which
//! decisions there are and under which contexts.

mod models;
pub mod planes;
pub mod range_coder;
