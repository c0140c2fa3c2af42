//! Everything that can go wrong, said so that a user can act on it.

use std::path::PathBuf;

use crate::model::ModelError;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a recording and an answer.
///
/// Values that come from a file carry its path: use [`Error::in_file`] to add it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error that belongs to one file.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Error>,
    },

    /// The operating system refused to read or write.
    #[error("{0}")]
    Io(#[from] std::io::Error),

    /// The bytes are no audio that can be decoded.
    #[error("{0}")]
    Audio(String),

    /// A value lies outside what is possible; `what` names it.
    #[error("{what}: expected {expected}, got {actual}")]
    OutOfRange {
        /// The name of the value.
        what: &'static str,
        /// The values that are allowed.
        expected: String,
        /// The value that came.
        actual: String,
    },

    /// A model file cannot be used.
    #[error("not a usable model: {0}")]
    Model(#[from] ModelError),
}

impl Error {
    /// The same error, with the file that it belongs to. Keeps the first path when called twice.
    pub fn in_file(self, path: impl Into<PathBuf>) -> Error {
        match self {
            Error::InFile { .. } => self,
            other => Error::InFile { path: path.into(), source: Box::new(other) },
        }
    }
}
