//! The one error type.

use std::path::{Path, PathBuf};

/// What can go wrong. Every message names the offending value and what to do or what is legal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No usable library of ONNX Runtime.
    #[error("{0}")]
    Library(String),
    /// The model file cannot be read.
    #[error("model {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no ONNX model, or one that ONNX Runtime does not take.
    #[error("model {}: {reason}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A name that is no tensor of the model.
    #[error("model {}: there is no tensor {name:?}{}", path.display(), crate::names::suggestion(near))]
    UnknownTensor {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// Names of tensors that look like it, or of outputs.
        near: Vec<String>,
    },
    /// The model cannot be cut at the tensors asked for.
    #[error("model {} cannot be cut: {reason}", path.display())]
    Cut {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A tensor of another size, shape or type than the model has.
    #[error("{0}")]
    Shape(String),
    /// A setting out of range.
    #[error("{0}")]
    Setting(String),
    /// A picture that cannot be placed in the input.
    #[error(transparent)]
    Placement(#[from] fcm_analytics::Error),
    /// ONNX Runtime failed.
    #[error("ONNX Runtime: {0}")]
    Runtime(String),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn model(path: &Path, reason: impl Into<String>) -> Self {
        Error::Model { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn cut(path: &Path, reason: impl Into<String>) -> Self {
        Error::Cut { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn runtime<R>(error: ort::Error<R>) -> Self {
        Error::Runtime(error.message().to_owned())
    }
}
