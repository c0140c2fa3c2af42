//! `log.csv`: one row for each epoch of a run.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One row. Losses are mean cross-entropies in nats; accuracies and UAR are fractions of 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Over the augmented training windows, with dropout, while the weights moved.
    pub train_loss: f64,
    /// Likewise.
    pub train_accuracy: f64,
    /// Of the pooled probabilities of the validation clips.
    pub validation_loss: f64,
    /// Likewise.
    pub validation_accuracy: f64,
    /// Likewise.
    pub validation_uar: f64,
    /// Wall-clock time of the epoch.
    pub seconds: f64,
}

/// The file, rewritten as a whole at each epoch: it is small, and so it is never torn.
#[derive(Debug)]
pub(crate) struct RunLog {
    path: PathBuf,
    rows: Vec<Epoch>,
}

impl RunLog {
    /// Opens the log of a run that is about to compute `next_epoch`. Rows from that epoch on are forgotten: the run was
    /// cut between writing them and its checkpoint.
    pub(crate) fn open(path: &Path, next_epoch: usize) -> Result<RunLog> {
        let mut rows = if next_epoch > 1 { read(path)? } else { Vec::new() };
        rows.retain(|row| row.epoch < next_epoch);
        Ok(RunLog { path: path.to_path_buf(), rows })
    }

    pub(crate) fn rows(&self) -> &[Epoch] {
        &self.rows
    }

    pub(crate) fn append(&mut self, row: &Epoch) -> Result<()> {
        self.rows.push(*row);
        let temporary = self.path.with_extension("tmp");
        let write = || -> csv::Result<()> {
            let mut writer = csv::Writer::from_path(&temporary)?;
            self.rows.iter().try_for_each(|row| writer.serialize(row))?;
            Ok(writer.flush()?)
        };
        write().map_err(|error| table_error(&temporary, &error))?;
        std::fs::rename(&temporary, &self.path).map_err(Error::io(&self.path))
    }
}

/// Reads the log of a run.
///
/// # Errors
/// A file that is missing or no such table.
pub fn read(path: &Path) -> Result<Vec<Epoch>> {
    let read = || csv::Reader::from_path(path)?.deserialize().collect::<csv::Result<Vec<Epoch>>>();
    read().map_err(|error| table_error(path, &error))
}

fn table_error(path: &Path, error: &csv::Error) -> Error {
    let line = error.position().map(csv::Position::line);
    Error::Table { path: path.to_path_buf(), line, what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: usize) -> Epoch {
        Epoch {
            epoch,
            train_loss: 1.5,
            train_accuracy: 0.25,
            validation_loss: 1.25,
            validation_accuracy: 1.0 / 3.0,
            validation_uar: 0.5,
            seconds: 60.0,
        }
    }

    #[test]
    fn rows_beyond_the_checkpoint_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.csv");
        let mut log = RunLog::open(&path, 1).unwrap();
        (1..=3).for_each(|epoch| log.append(&row(epoch)).unwrap());
        assert_eq!(read(&path).unwrap(), [row(1), row(2), row(3)]);
        RunLog::open(&path, 3).unwrap().append(&row(3)).unwrap();
        assert_eq!(read(&path).unwrap(), [row(1), row(2), row(3)]);
        assert!(RunLog::open(&dir.path().join("none.csv"), 2).is_err());
    }
}
