//! Answers in a file: every row is there as soon as it is known, and a run that was interrupted can go on.
//!
//! JSON lines and comma-separated values are written row by row to the file itself. Parquet cannot be read before its end is
//! written; so its rows are kept as JSON lines in `FILE.part.jsonl` beside it, and at the end of the run they make the file,
//! with the rows of one that was there already: it is written under another name and then takes its place.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use intone::model::file::write_atomically;

use super::output::{Format, in_row};
use super::parquet::{self, Table};
use super::rows::{Held, held_by_csv, held_by_jsonl, read_jsonl};

/// The file that `--out` names.
pub(super) struct OutFile {
    target: PathBuf,
    /// Where rows are written: the target, or for Parquet the file beside it.
    part: PathBuf,
    rows: BufWriter<File>,
    format: Format,
    labels: Vec<String>,
    /// What was in the rows' file when the run began.
    held: Held,
    /// The recordings in the Parquet file that is there already, and whether there is an error instead of an answer.
    finished: HashMap<String, bool>,
}

impl OutFile {
    /// Makes the file, or opens it to go on.
    ///
    /// # Errors
    /// A file that is there already without `resume`, or that holds something else; one that another run writes to.
    pub(super) fn open(
        target: &Path,
        format: Format,
        labels: &[String],
        resume: bool,
    ) -> anyhow::Result<OutFile> {
        let part = match format {
            Format::Parquet => {
                parquet::schema(labels)?;
                let mut name = target.as_os_str().to_owned();
                name.push(".part.jsonl");
                PathBuf::from(name)
            }
            _ => target.to_owned(),
        };
        if !resume && let Some(there) = [target, part.as_path()].into_iter().find(|path| path.exists()) {
            bail!("{}: there already; --resume goes on with it", there.display());
        }
        let mut finished = HashMap::new();
        if format == Format::Parquet && target.exists() {
            parquet::read(target, labels, |row| {
                finished.insert(row.path, row.error.is_some());
                Ok(())
            })
            .with_context(|| format!("cannot go on with {}", target.display()))?;
        }
        let mut rows = File::options()
            .read(true)
            .write(true)
            .create_new(!resume)
            .create(resume)
            .truncate(false)
            .open(&part)
            .with_context(|| format!("cannot write {}", part.display()))?;
        match rows.try_lock() {
            Err(TryLockError::WouldBlock) => bail!("{}: another run is writing to it", part.display()),
            // A file system without locks is no reason not to write to it.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let held = match format {
            Format::Csv => held_by_csv(&mut rows, labels),
            _ => held_by_jsonl(&mut rows, labels),
        };
        let held = held.with_context(|| format!("cannot go on with {}", part.display()))?;
        // A row that was cut off goes: its recording is asked again.
        rows.set_len(held.n_bytes)?;
        rows.seek(SeekFrom::End(0))?;
        let (target, labels) = (target.to_owned(), labels.to_vec());
        Ok(OutFile { target, part, rows: BufWriter::new(rows), format, labels, held, finished })
    }

    /// The form of the rows.
    pub(super) fn row_format(&self) -> Format {
        if self.format == Format::Parquet { Format::Jsonl } else { self.format }
    }

    /// Whether nothing was written yet.
    pub(super) fn is_new(&self) -> bool {
        self.held.n_bytes == 0
    }

    /// Whether there is an error instead of an answer for this recording; `None` where there is neither.
    pub(super) fn holds(&self, path: &Path) -> Option<bool> {
        let path = in_row(path);
        self.held.paths.get(&path).or_else(|| self.finished.get(&path)).copied()
    }

    /// Ends the file.
    ///
    /// # Errors
    /// What the operating system says. For Parquet, what was written stays in the file beside it, to go on with.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let OutFile { target, part, rows, format, labels, finished, .. } = self;
        let mut rows = rows.into_inner().map_err(io::IntoInnerError::into_error)?;
        rows.sync_all()?;
        if format != Format::Parquet {
            return Ok(());
        }
        if rows.metadata()?.len() > 0 || !target.exists() {
            merge(&target, &mut rows, &labels, &finished)
                .with_context(|| format!("cannot write {}", target.display()))?;
        }
        fs::remove_file(&part).with_context(|| format!("cannot remove {}", part.display()))
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rows.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.rows.flush()
    }
}

/// Makes the Parquet file of what it holds already, `finished`, and of these rows.
fn merge(
    target: &Path,
    rows: &mut File,
    labels: &[String],
    finished: &HashMap<String, bool>,
) -> anyhow::Result<()> {
    write_atomically(target, |file| {
        let mut table = Table::new(file.try_clone()?, labels)?;
        if target.exists() {
            parquet::read(target, labels, |row| table.push(row))?;
        }
        // Of a run that ended between making the file and removing its rows, they are in both.
        read_jsonl(rows, labels, |row| match finished.contains_key(&row.path) {
            true => Ok(()),
            false => table.push(row),
        })?;
        table.finish()
    })
}

#[cfg(test)]
mod tests;
