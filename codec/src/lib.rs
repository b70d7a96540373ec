//! Feature coding for machines: compresses the feature tensors of split neural networks, frame by frame.
//!
//! The chain, downwards in an [`Encoder`] and upwards in a [`Decoder`]:
//! tensors → statistics → reduction → inner codec → bitstream. Nothing here knows GStreamer.
//! The bytes are specified in docs/bitstream.md, the words in docs/terminology.md.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod bitstream;
mod conversion;
pub mod decoder;
pub mod encoder;
mod error;
mod inner;
mod intra;
mod kernels;
mod limits;
mod motion;
pub mod picture;
mod quantiser;
mod rate_control;
pub mod reduction;
mod refinement;
#[cfg(feature = "calibrate")]
mod restoration_trial;
mod slices;
pub mod statistics;
pub mod tensor;
mod threads;

pub use bitstream::{Sequence, StreamFormat};
pub use decoder::{Damage, Decoded, DecodedFrame, Decoder, DecoderConfig};
pub use encoder::{EncodedFrame, Encoder, EncoderConfig, FrameKind, FrameRequest, RateControl};
pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "calibrate")]
pub use inner::native::PriorTrainer;
pub use intra::IntraWeights;
pub use limits::Limits;
pub use reduction::{Transform, TransformId};
pub use refinement::{Restoration, RestorationGain, RestorationStrength};
#[cfg(feature = "calibrate")]
pub use restoration_trial::RestorationTrial;
pub use statistics::{FrameStatistics, MeanStd, StatisticsMode};
pub use tensor::{ChannelOrder, Dtype, Layer, Layout, Shape, TensorMut, TensorRef};
