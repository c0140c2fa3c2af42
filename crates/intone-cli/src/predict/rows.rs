//! Rows of answers that were written before, read back.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::output::columns;

/// One row: an answer or an error.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Row {
    pub(super) path: String,
    #[serde(default)]
    pub(super) label: Option<String>,
    #[serde(default)]
    pub(super) scores: BTreeMap<String, f32>,
    pub(super) silence: Option<bool>,
    pub(super) uncertain: Option<bool>,
    pub(super) duration_s: Option<f64>,
    pub(super) windows: Option<i64>,
    pub(super) error: Option<String>,
}

/// What a file of rows holds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Held {
    /// The paths of its recordings, and whether there is an error instead of an answer.
    pub(super) paths: HashMap<String, bool>,
    /// Bytes of its whole rows. What stands behind them is a row that was cut off.
    pub(super) n_bytes: u64,
}

/// How every row begins in JSON.
const JSON_START: &[u8] = b"{\"path\":";

/// Calls `take` for the rows of a file of JSON lines, and says where the last whole one ends.
///
/// # Errors
/// A line that is no row with scores of these labels, by its number. Not so the last one, where it has the beginning of a
/// row and no end.
pub(super) fn read_jsonl(
    file: &mut File,
    labels: &[String],
    mut take: impl FnMut(Row) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::new(file);
    let (mut n_bytes, mut line) = (0, Vec::new());
    for number in 1.. {
        line.clear();
        let n_read = reader.read_until(b'\n', &mut line)?;
        let is_cut = !line.ends_with(b"\n");
        if n_read == 0 || is_cut && begins_alike(&line, JSON_START) {
            break;
        }
        let row: Row = serde_json::from_slice(&line)
            .with_context(|| format!("line {number} is no answer of intone predict"))?;
        if let Some(label) = row.scores.keys().find(|label| !labels.contains(label)) {
            bail!("line {number}: expected scores of {}, got one of {label}", labels.join(", "));
        }
        if is_cut {
            bail!("line {number} has no end");
        }
        take(row)?;
        n_bytes += n_read as u64;
    }
    Ok(n_bytes)
}

/// What a file of JSON lines holds.
///
/// # Errors
/// As [`read_jsonl`].
pub(super) fn held_by_jsonl(file: &mut File, labels: &[String]) -> anyhow::Result<Held> {
    let mut paths = HashMap::new();
    let n_bytes = read_jsonl(file, labels, |row| {
        paths.insert(row.path, row.error.is_some());
        Ok(())
    })?;
    Ok(Held { paths, n_bytes })
}

/// What a file of comma-separated values holds.
///
/// # Errors
/// Another header than that of these labels; a row with another number of fields that is not the last.
pub(super) fn held_by_csv(file: &mut File, labels: &[String]) -> anyhow::Result<Held> {
    let expected = columns(labels);
    file.seek(SeekFrom::Start(0))?;
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&mut *file);
    let (mut record, mut rows) = (csv::ByteRecord::new(), Vec::new());
    let mut start = 0;
    while reader.read_byte_record(&mut record)? {
        let path = String::from_utf8_lossy(record.get(0).unwrap_or_default()).into_owned();
        let failed = record.iter().next_back().is_some_and(|error| !error.is_empty());
        let header =
            rows.is_empty().then(|| record.iter().map(|field| String::from_utf8_lossy(field).into_owned()));
        let header = header.map(Iterator::collect::<Vec<_>>);
        rows.push(((path, failed), record.len(), header, start));
        start = reader.position().byte();
    }
    drop(reader);
    let Some((_, _, _, last)) = rows.last() else { return Ok(Held::default()) };
    let mut n_bytes = start;
    if is_cut_record(file, *last)? {
        n_bytes = *last;
        let (_, _, header, _) = rows.pop().unwrap_or_default();
        if let Some(header) = header {
            let (header, expected) = (header.join(","), expected.join(","));
            if !begins_alike(header.as_bytes(), expected.as_bytes()) {
                bail!("its columns: expected {expected}, got {header}");
            }
        }
    }
    let mut paths = HashMap::new();
    for (number, ((path, failed), n_fields, header, _)) in rows.into_iter().enumerate() {
        match header {
            Some(header) if header != expected => {
                bail!("its columns: expected {}, got {}", expected.join(","), header.join(","));
            }
            Some(_) => {}
            None if n_fields != expected.len() => {
                bail!("row {}: expected {} fields, got {n_fields}", number + 1, expected.len());
            }
            None => _ = paths.insert(path, failed),
        }
    }
    Ok(Held { paths, n_bytes })
}

/// Whether the record from here to the end of the file has no end: no line break, or one within quotes.
fn is_cut_record(file: &mut File, start: u64) -> io::Result<bool> {
    let mut record = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.read_to_end(&mut record)?;
    let n_quotes = record.iter().filter(|byte| **byte == b'"').count();
    Ok(!record.ends_with(b"\n") || n_quotes % 2 == 1)
}

/// Whether one of the two begins as the other one.
fn begins_alike(a: &[u8], b: &[u8]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b)
}
