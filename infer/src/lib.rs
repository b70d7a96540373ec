//! Runs ONNX networks, whole or cut at named tensors, on pictures and tensors.
//!
//! * [`Model`] opens an ONNX file, keeps the part between the tensors that [`ModelOptions`] names, and runs it in ONNX
//!   Runtime, whose library is looked for when the first model is opened ([`library`]).
//! * [`OnnxRuntime`] runs the networks of learned transforms for the codec.
//! * [`picture`] turns pictures into the input tensors of a network.
//!
//! The crate knows no GStreamer. docs/inference.md says how models are cut and why this runtime was chosen.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod cut;
mod error;
mod learned;
pub mod library;
mod model;
mod names;
mod onnx;
pub mod picture;

pub use error::{Error, Result};
pub use fcm_analytics::geometry::{Placement, Scaling};
pub use learned::OnnxRuntime;
pub use model::{Dtype, Model, ModelOptions, Outputs, TensorSpec};
pub use picture::{ChannelOrder, Picture, PictureFormat, PictureInput, Preprocess, TensorLayout};
