//! What can go wrong between a folder of recordings and a trained model, said so that a user can act on it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while corpora are read, fetched, split and learned from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of the recogniser's library: audio, features or a model file.
    #[error(transparent)]
    Intone(#[from] intone::Error),

    /// The operating system refused to read or write.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },

    /// A table (manifest, votes, demographics, split) cannot be read.
    #[error("{}: {}{what}", path.display(), line.map(|n| format!("line {n}: ")).unwrap_or_default())]
    Table {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, where it is known.
        line: Option<u64>,
        /// What was expected and what came.
        what: String,
    },

    /// A path holds nothing that a reader can take as a corpus.
    #[error("{}: {what}", path.display())]
    NoCorpus {
        /// The directory or file that was given.
        path: PathBuf,
        /// What was looked for.
        what: String,
    },

    /// A split protocol that does not exist, or whose arguments are out of range.
    #[error("split protocol '{given}': {what}")]
    Protocol {
        /// The name as it was given.
        given: String,
        /// What is wrong, and what would be right.
        what: String,
    },

    /// One speaker stands on two sides of a split.
    #[error("speaker {speaker} is both in {first} and in {second}: a split must be speaker-independent")]
    SpeakerOnTwoSides {
        /// The speaker, with its corpus.
        speaker: String,
        /// One side.
        first: crate::split::Part,
        /// The other side.
        second: crate::split::Part,
    },

    /// The same recording stands on two sides of a split.
    #[error(
        "the same recording is both in {first_part} ({}) and in {second_part} ({})",
        first.display(),
        second.display()
    )]
    AudioOnTwoSides {
        /// One side.
        first_part: crate::split::Part,
        /// The file on that side.
        first: PathBuf,
        /// The other side.
        second_part: crate::split::Part,
        /// The file on that side.
        second: PathBuf,
    },

    /// A model on the Hugging Face hub that cannot be had.
    #[error("{asked}: {what}")]
    Hub {
        /// What was asked for.
        asked: String,
        /// What was expected and what came.
        what: String,
    },

    /// A file could not be fetched.
    #[error("{url}: {what}")]
    Fetch {
        /// Where it was looked for.
        url: String,
        /// What went wrong, in the last attempt.
        what: String,
    },

    /// Some of many files could not be fetched.
    #[error("{n_failed} of {n_wanted} files could not be fetched; the first error: {first}")]
    Incomplete {
        /// Files that are still missing.
        n_failed: usize,
        /// Files that were to be fetched.
        n_wanted: usize,
        /// The first error.
        first: Box<Error>,
    },

    /// An archive that cannot be unpacked, or must not be.
    #[error("{}: {what}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },

    /// Two files of predictions say different things of one clip.
    #[error("{clip}: its {what} is {first} and {second}")]
    Disagree {
        /// The clip.
        clip: String,
        /// What they disagree on.
        what: &'static str,
        /// What the first says, and its name.
        first: String,
        /// What the other says, and its name.
        second: String,
    },

    /// A speaker or a recording of the test was heard in training.
    #[error("leak: {0}")]
    Leak(String),

    /// A part of a split, or a class in it, has no clips.
    #[error("{0}")]
    Empty(String),

    /// A value of the configuration that cannot be.
    #[error("{key}: expected {expected}, got {actual}")]
    Config {
        /// The key, with its table.
        key: Cow<'static, str>,
        /// The values that are allowed.
        expected: String,
        /// The value that came.
        actual: String,
    },

    /// Training clips that cannot be decoded.
    #[error("{n_failed} of {n_wanted} clips cannot be read:\n  {}", errors.join("\n  "))]
    Unreadable {
        /// Clips that cannot be read.
        n_failed: usize,
        /// Clips that were to be read.
        n_wanted: usize,
        /// The first errors, each with its file.
        errors: Vec<String>,
    },

    /// The loss is not a number any more.
    #[error("epoch {epoch}, step {step}: the loss is {loss}; a smaller training.learning_rate may help")]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
        /// The step in it, from 1.
        step: usize,
        /// What came.
        loss: f64,
    },

    /// Folds of a cross-validation that cannot be used.
    #[error("{}: {what}", path.display())]
    Folds {
        /// The folder of the cross-validation, or a file of a fold.
        path: PathBuf,
        /// What was expected and what came.
        what: String,
    },

    /// A checkpoint that cannot be gone on with.
    #[error("{}: {what}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl Error {
    /// Turns an I/O error into one that names its file: `.map_err(Error::io(path))`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |error| Error::Io { path, error }
    }
}
