//! Why a file of another program cannot be taken over.

use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be wrong with a published model and the files beside it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error that belongs to one file.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<Error>,
    },

    /// The operating system refused to read.
    #[error(transparent)]
    Io(#[from] std::io::Error),

    /// What was made of the file is no model that the library takes.
    #[error(transparent)]
    Intone(#[from] intone::Error),

    /// Neither of the two kinds of file that Keras writes, or a broken one.
    #[error("{0}")]
    Archive(String),

    /// The HDF5 file is broken, hostile, or of a form that Keras does not write.
    #[error("HDF5, byte {at}: {what}")]
    Hdf5 {
        /// Where, counted from the beginning of the HDF5 file.
        at: u64,
        /// What was expected and what came.
        what: String,
    },

    /// The pickle is broken, or asks for more than plain data.
    #[error("pickle, byte {at}: {what}")]
    Pickle {
        /// Where.
        at: usize,
        /// What was expected and what came.
        what: String,
    },

    /// The description of the model cannot be understood.
    #[error("the model's configuration: {0}")]
    Config(String),

    /// A layer that has no counterpart, or does not fit.
    #[error("layer {index} (`{name}`, {class}): {what}")]
    Layer {
        /// Its place in the model, counted from 0.
        index: usize,
        /// Its name.
        name: String,
        /// Its class in Keras.
        class: String,
        /// What was expected and what came.
        what: String,
    },

    /// The classes cannot be read, or do not fit the model.
    #[error("labels: {0}")]
    Labels(String),

    /// A parameter of the way from samples to the network that cannot be honoured.
    #[error("parameter `{key}`: {what}")]
    Parameter {
        /// Its name, as it stands in the file.
        key: String,
        /// What was expected and what came.
        what: String,
    },
}

impl Error {
    /// The same error, with the file that it belongs to. Keeps the first path when called twice.
    pub fn in_file(self, path: impl Into<PathBuf>) -> Error {
        match self {
            Error::InFile { .. } => self,
            other => Error::InFile { path: path.into(), error: Box::new(other) },
        }
    }

    /// The same error, with the file that its cause was read from, if it was one.
    pub(crate) fn in_source(self, path: Option<&Path>) -> Error {
        match path {
            Some(path) => self.in_file(path),
            None => self,
        }
    }
}
