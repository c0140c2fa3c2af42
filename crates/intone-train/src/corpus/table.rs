//! CSV tables in which columns are found by their names.

use std::path::Path;

use super::FaultKind;
use crate::error::{Error, Result};

/// The largest table of a corpus here is 4 MB; a manifest of two million clips has some 200 MB.
const MAX_BYTES: u64 = 1 << 30;

/// A CSV file with a header, in which columns are found by their names.
pub(crate) struct Table<'a> {
    path: &'a Path,
    header: csv::StringRecord,
    reader: csv::Reader<std::fs::File>,
    record: csv::StringRecord,
}

/// One row of a table.
pub(crate) struct Row<'a> {
    path: &'a Path,
    record: &'a csv::StringRecord,
}

impl<'a> Table<'a> {
    pub(crate) fn open(path: &'a Path) -> Result<Table<'a>> {
        let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
        if !metadata.is_file() || metadata.len() > MAX_BYTES {
            let what = format!("expected a CSV file of at most {} MiB", MAX_BYTES >> 20);
            return Err(Error::Table { path: path.to_path_buf(), line: None, what });
        }
        let file = std::fs::File::open(path).map_err(Error::io(path))?;
        let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(file);
        let header = reader.headers().map_err(|error| csv_error(path, error))?.clone();
        Ok(Table { path, header, reader, record: csv::StringRecord::new() })
    }

    /// The place of a column; names are compared without regard to case.
    pub(crate) fn column(&self, name: &str) -> Result<usize> {
        let of_name = |column: &str| column.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name);
        self.header.iter().position(of_name).ok_or_else(|| {
            let header = self.header.iter().take(12).collect::<Vec<_>>().join(",");
            let what = format!("expected a column '{name}', got '{header}'");
            Error::Table { path: self.path.to_path_buf(), line: Some(1), what }
        })
    }

    pub(crate) fn next_row(&mut self) -> Result<Option<Row<'_>>> {
        match self.reader.read_record(&mut self.record) {
            Ok(true) => Ok(Some(Row { path: self.path, record: &self.record })),
            Ok(false) => Ok(None),
            Err(error) => Err(csv_error(self.path, error)),
        }
    }
}

impl Row<'_> {
    /// A cell, empty where the row is too short.
    pub(crate) fn text(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or_default()
    }

    pub(crate) fn line(&self) -> Option<u64> {
        self.record.position().map(csv::Position::line)
    }

    pub(crate) fn number(&self, column: usize, name: &str) -> Result<u16> {
        let text = self.text(column);
        // Some exports write whole numbers as 3.0.
        let whole = text.strip_suffix(".0").unwrap_or(text);
        whole.parse().map_err(|_| self.error(format!("{name}: expected a whole number, got '{text}'")))
    }

    pub(crate) fn error(&self, what: String) -> Error {
        Error::Table { path: self.path.to_path_buf(), line: self.line(), what }
    }
}

fn csv_error(path: &Path, error: csv::Error) -> Error {
    let line = error.position().map(csv::Position::line);
    let what = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Error::Io { path: path.to_path_buf(), error },
        _ => Error::Table { path: path.to_path_buf(), line, what },
    }
}

impl FaultKind {
    /// The fault that a table's error is.
    pub(super) fn from_table_error(error: Error) -> FaultKind {
        match error {
            Error::Table { line, what, .. } => FaultKind::BadTable { line, what },
            Error::Io { error, .. } => FaultKind::Unreadable(error.to_string()),
            other => FaultKind::BadTable { line: None, what: other.to_string() },
        }
    }
}
