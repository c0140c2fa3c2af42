//! A CSV manifest: `path,label,speaker[,split][,sex]`.
//!
//! The first line names the columns, in any order and case; other columns are ignored. Paths are absolute or relative
//! to the manifest. Labels are read by [`Emotion::from_label`](intone::Emotion::from_label); `split` is `train`,
//! `validation` or `test` (see [`Part`]) or empty; `sex` is `female` or `male`, or empty where another row of the speaker
//! tells or nobody knows.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::gather::{Candidate, Draft};
use super::table::{Row, Table};
use super::{Corpus, FaultKind, Sex, folder};
use crate::error::{Error, Result};
use crate::split::Part;

/// In a directory, this file is taken as its manifest.
pub const FILE_NAME: &str = "manifest.csv";

/// Reads a manifest.
///
/// # Errors
/// When the file cannot be read or lacks one of its three columns. What is wrong with single rows is a
/// [`Fault`](super::Fault) in the result.
pub fn read(path: &Path) -> Result<Corpus> {
    let mut draft = Draft::default();
    collect(path, &mut draft)?;
    Ok(draft.finish())
}

/// Takes every row of a manifest.
pub(super) fn collect(path: &Path, draft: &mut Draft) -> Result<()> {
    let mut table = Table::open(path)?;
    let columns = Columns {
        path: table.column("path")?,
        label: table.column("label")?,
        speaker: table.column("speaker")?,
        split: table.column("split").ok(),
        sex: table.column("sex").ok(),
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let is_default = path.file_name().is_some_and(|name| name == FILE_NAME);
    let folder_or_here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let corpus =
        draft.unique_name(&if is_default { folder::folder_name(folder_or_here) } else { stem.into() });

    // Where each file was listed first, and as what.
    let mut listed: HashMap<PathBuf, (Option<u64>, String)> = HashMap::new();
    // Where each speaker's sex was given first.
    let mut sexes: HashMap<String, (Option<u64>, Sex)> = HashMap::new();
    let first = draft.candidates.len();
    loop {
        let row = match table.next_row() {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => {
                draft.fault(path.to_path_buf(), FaultKind::from_table_error(error));
                continue;
            }
        };
        let candidate = candidate(&row, &columns, folder, &corpus).and_then(|candidate| {
            if let Some(sex) = candidate.sex {
                let (line, known) = *sexes.entry(candidate.speaker.clone()).or_insert((row.line(), sex));
                if known != sex {
                    let (speaker, line) = (row.text(columns.speaker), line.unwrap_or_default());
                    let (sex, known) = (sex.name(), known.name());
                    return Err(format!("sex: speaker '{speaker}' is {sex} here and {known} in line {line}"));
                }
            }
            let label = row.text(columns.label).to_ascii_lowercase();
            match listed.get(&candidate.path) {
                Some((line, other)) if *other != label => Err(format!(
                    "{} is '{label}' here and '{other}' in line {}",
                    candidate.path.display(),
                    line.unwrap_or_default()
                )),
                Some(_) => Ok(candidate),
                None => {
                    listed.insert(candidate.path.clone(), (row.line(), label));
                    Ok(candidate)
                }
            }
        });
        match candidate {
            Ok(candidate) => draft.candidates.push(candidate),
            Err(what) => {
                draft.fault(path.to_path_buf(), FaultKind::BadTable { line: row.line(), what });
            }
        }
    }
    for candidate in &mut draft.candidates[first..] {
        candidate.sex = sexes.get(&candidate.speaker).map(|(_, sex)| *sex);
    }
    Ok(())
}

struct Columns {
    path: usize,
    label: usize,
    speaker: usize,
    split: Option<usize>,
    sex: Option<usize>,
}

fn candidate(row: &Row<'_>, columns: &Columns, folder: &Path, corpus: &str) -> Result<Candidate, String> {
    let written = row.text(columns.path);
    if written.is_empty() {
        return Err("path: expected a file, got nothing".to_owned());
    }
    let label = row.text(columns.label);
    let label = folder::label(label).ok_or_else(|| {
        let names = intone::Emotion::ALL.map(intone::Emotion::name).join(", ");
        format!("label: expected one of {names}, got '{label}'")
    })?;
    let speaker = row.text(columns.speaker);
    if speaker.is_empty() {
        return Err("speaker: expected a name, got nothing".to_owned());
    }
    let part = match columns.split.map(|split| row.text(split)) {
        None | Some("") => None,
        Some(part) => Some(part.parse::<Part>().map_err(|error| format!("split: {error}"))?),
    };
    let sex = match columns.sex.map(|sex| row.text(sex).to_ascii_lowercase()).as_deref() {
        None | Some("") => None,
        Some("female" | "f") => Some(Sex::Female),
        Some("male" | "m") => Some(Sex::Male),
        Some(other) => return Err(format!("sex: expected female or male, got '{other}'")),
    };
    Ok(Candidate {
        id: format!("{corpus}/{written}"),
        path: folder.join(written),
        corpus: corpus.to_owned(),
        speaker: format!("{corpus}/{speaker}"),
        label,
        sex,
        age: None,
        sentence: None,
        level: None,
        votes: None,
        part,
    })
}
