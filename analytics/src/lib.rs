//! What is left to do once a network has run: boxes from its outputs, tracks from boxes, and how good both are.
//!
//! | module | holds |
//! |---|---|
//! | [`geometry`] | rectangles; how a picture lies in the input of a network |
//! | [`detection`] | boxes from the outputs of YOLOX and NanoDet; suppression of doubles |
//! | [`tracking`] | boxes of successive frames joined to tracks |
//! | [`json`] | boxes as lines of JSON |
//! | [`mot`] | the text files of MOTChallenge |
//! | [`metrics`] | average precision, CLEAR MOT, IDF1, HOTA, BD-rate |
//!
//! Pure Rust, no GStreamer. Coordinates are pixels, x to the right and y down, (0, 0) the top left corner of the picture.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod assignment;
pub mod detection;
mod error;
pub mod geometry;
pub mod json;
pub mod metrics;
pub mod mot;
pub mod tracking;

pub use error::{Error, Result};
