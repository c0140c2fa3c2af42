//! `split.csv`: which clip stood on which side.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Part, Split};
use crate::error::{Error, Result};

/// One row of `split.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitRow {
    /// [`Clip::id`](crate::corpus::Clip::id).
    pub clip: String,
    /// The corpus.
    pub corpus: String,
    /// The speaker, with the corpus.
    pub speaker: String,
    /// The side.
    pub split: Part,
}

/// Writes a split as CSV with the columns `clip,corpus,speaker,split`: training, validation, test.
///
/// # Errors
/// When the file cannot be written.
pub fn write_csv(split: &Split, path: &Path) -> Result<()> {
    let write = || -> csv::Result<()> {
        let mut writer = csv::Writer::from_path(path)?;
        for (part, clip) in split.iter() {
            writer.serialize(SplitRow {
                clip: clip.id.clone(),
                corpus: clip.corpus.clone(),
                speaker: clip.speaker.clone(),
                split: part,
            })?;
        }
        writer.flush()?;
        Ok(())
    };
    write().map_err(|error| table_error(path, error))
}

/// Reads what [`write_csv`] wrote.
///
/// # Errors
/// When the file cannot be read, lacks a column or names another side.
pub fn read_csv(path: &Path) -> Result<Vec<SplitRow>> {
    let read = || csv::Reader::from_path(path)?.deserialize().collect::<csv::Result<Vec<SplitRow>>>();
    read().map_err(|error| table_error(path, error))
}

fn table_error(path: &Path, error: csv::Error) -> Error {
    let line = error.position().map(csv::Position::line);
    let what = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Error::Io { path: path.to_path_buf(), error },
        _ => Error::Table { path: path.to_path_buf(), line, what },
    }
}
