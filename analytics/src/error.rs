//! The one error type of the crate.

/// Result of the crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. The message names the offending value and what is legal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting out of its range.
    #[error("{0}")]
    Setting(String),
    /// Tensors of other sizes than the network has.
    #[error("{0}")]
    Tensors(String),
    /// A text that does not say what it should.
    #[error("line {line}: {message}")]
    Text {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A text that lacks something.
    #[error("{0}")]
    Missing(String),
}
