//! Everything that can go wrong, said so that a user can act on it.

use std::path::PathBuf;

use crate::model::ModelError;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a recording and an answer.
///
/// Values that come from a file carry its path: use [`Error::in_file`] to add it. The text of an error says all that is known;
/// [`source`](std::error::Error::source) has no more of it, so that a chain of causes does not say it twice.
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

    /// The operating system refused to read or write.
    #[error(transparent)]
    Io(#[from] std::io::Error),

    /// The bytes are no audio that can be decoded.
    #[error("{0}")]
    Audio(String),

    /// The audio is in a format that is known and not decoded here.
    #[error("encoded as {codec}, which is not decoded here; convert it first, e.g. `ffmpeg -i IN OUT.wav`")]
    UnsupportedCodec {
        /// The name of the codec or format.
        codec: String,
    },

    /// The file decodes to nothing.
    #[error("the audio holds no samples")]
    NoSamples,

    /// A sample is NaN, infinite or absurdly large.
    #[error("sample {index} is {}", describe_bad_sample(*value))]
    BadSample {
        /// Its index, counted from the beginning of the recording (per channel).
        index: u64,
        /// Its value, after the channels were mixed.
        value: f32,
    },

    /// The audio is too long to be held in memory at once.
    #[error(
        "the audio is longer than the {limit_s:.0} s that are held in memory; decode it as an AudioStream"
    )]
    TooLong {
        /// The longest recording of its sample rate that would be accepted, seconds.
        limit_s: f64,
    },

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

    /// A class that the model does not have.
    #[error("no class `{label}`; the model knows {}", known.join(", "))]
    UnknownLabel {
        /// The name that was asked for.
        label: String,
        /// The names of the model's classes.
        known: Vec<String>,
    },

    /// A model file cannot be used.
    #[error("not a usable model: {0}")]
    Model(ModelError),
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Error {
        Error::Model(error)
    }
}

impl Error {
    /// The same error, with the file that it belongs to. Keeps the first path when called twice.
    pub fn in_file(self, path: impl Into<PathBuf>) -> Error {
        match self {
            Error::InFile { .. } => self,
            other => Error::InFile { path: path.into(), error: Box::new(other) },
        }
    }
}

fn describe_bad_sample(value: f32) -> String {
    if value.is_finite() {
        let limit = crate::audio::MAX_AMPLITUDE;
        format!("{value:e}, and more than {limit:e} in magnitude is taken for damage (full scale is 1)")
    } else {
        format!("not a finite number ({value})")
    }
}
