//! The one error type of the codec, and what a caller can do about each kind.

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an [`Error`].
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A setting is out of its legal range. Change the setting.
    InvalidConfig,
    /// The tensors handed to the encoder are not usable (wrong shape, NaN, infinite). Fix the producer.
    InvalidInput,
    /// A legal stream uses something this build does not implement.
    Unsupported,
    /// The stream was written by an incompatible version of the format.
    Compatibility,
    /// The bytes break docs/bitstream.md. The access unit is lost; go on at the next random access point.
    Corruption,
    /// The input ended inside a unit. With framed input this is corruption, with a byte stream wait for more.
    InsufficientData,
    /// A [`crate::Limits`] bound was asked to be exceeded. Nothing was allocated.
    LimitExceeded,
    /// The calibrated transform cannot be used: a stream names one that the decoder does not have, it does not fit the layers, or it is a
    /// learned pair whose networks cannot be run. Give another one, or an inference runtime.
    Transform,
}

/// Why the codec refused an operation. Messages name the offending value and the legal range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// Makes an error of `kind`; `message` is a noun phrase without a full stop that carries the numbers.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidConfig, message)
    }

    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corruption, message)
    }

    pub(crate) fn truncated(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InsufficientData, message)
    }

    pub(crate) fn limit(name: &str, asked: u64, allowed: u64) -> Self {
        Self::new(ErrorKind::LimitExceeded, format!("{name} is {asked}, the limit is {allowed}"))
    }
}
