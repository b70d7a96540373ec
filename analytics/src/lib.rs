//! What is left to do once a network has run: boxes from its outputs, tracks from boxes, and how good both are.
//!
//! | module | holds |
//! |---|---|
//! | [`geometry`] | rectangles; how a picture lies in the input of a network |
//!
//! Pure Rust, no GStreamer. Coordinates are pixels, x to the right and y down, (0, 0) the top left corner of the picture.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod error;
pub mod geometry;

pub use error::{Error, Result};
