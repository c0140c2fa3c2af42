//! MELD, the Multimodal EmotionLines Dataset: scenes of a television series.
//!
//! Poria et al. (2019), ACL: 527-536; repository declare-lab/MELD on GitHub, GPL-3.0 (the recordings are the
//! broadcaster's). 13,708 utterances; those of surprise have no place among the six.
//!
//! Files are `diaD_uttU`, as video or audio, in a folder for each part (`train_splits`, `dev_splits_complete`,
//! `output_repeated_splits_test`). Labels and speakers are in `train_sent_emo.csv`, `dev_sent_emo.csv` and
//! `test_sent_emo.csv`. The published parts share their speakers, so they are not set as [`Clip::part`](super::Clip::part):
//! no split here could be made of them.
//!
//! Known faults, from the issues of the repository: `dia38_utt4` and `dia220_utt0` of the test part go on for minutes (20)
//! and are left out ([`KNOWN_FAULTS`](super::KNOWN_FAULTS)); `dia125_utt3` of the training part cannot be decoded (39),
//! which [`survey`](super::survey()) finds; `dia110_utt7` of the development part is missing, and videos without a row in the
//! tables lie among the others (22). Rows without a file, in a part of which there are any, and files without a row are
//! faults here.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::gather::{Candidate, Draft};
use super::table::Table;
use super::{Corpus, FaultKind, Reason, Remedy, Source, faults, folder, read_as};
use crate::error::Result;

/// As in [`Clip::corpus`](super::Clip::corpus).
pub const NAME: &str = "meld";

pub(super) const SOURCE: Source =
    Source { name: NAME, title: "MELD", source: "GitHub declare-lab/MELD, GPL-3.0", read };

/// The parts: what a folder of it is called by, and the name of its table.
const PARTS: [(&str, &str); 3] =
    [("train", "train_sent_emo.csv"), ("dev", "dev_sent_emo.csv"), ("test", "test_sent_emo.csv")];

/// Reads a directory as MELD.
///
/// # Errors
/// When the directory cannot be read. What is wrong with single files is a [`Fault`](super::Fault) in the result.
pub fn read(root: &Path) -> Result<Corpus> {
    read_as(root, collect)
}

/// True for a file that is named as in MELD.
pub(super) fn claims(path: &Path) -> bool {
    utterance(path).is_some()
}

/// The table of a part.
struct Rows {
    path: PathBuf,
    /// By dialogue and utterance.
    rows: HashMap<(u32, u32), Row>,
}

struct Row {
    emotion: String,
    speaker: String,
    line: Option<u64>,
}

/// Takes every file as MELD, with what the tables among `csv_files` say of it.
pub(super) fn collect(audio: Vec<PathBuf>, csv_files: &[PathBuf], draft: &mut Draft) {
    if audio.is_empty() {
        return;
    }
    let mut tables: HashMap<&str, Rows> = HashMap::new();
    for (part, file_name) in PARTS {
        for path in csv_files.iter().filter(|path| path.file_name().is_some_and(|name| name == file_name)) {
            match read_rows(path) {
                Ok(rows) => {
                    tables.insert(part, rows);
                    draft.tables.push(path.clone());
                }
                Err(error) => draft.fault(path.clone(), FaultKind::from_table_error(error)),
            }
        }
    }
    let mut present: HashMap<&str, HashSet<(u32, u32)>> = HashMap::new();
    for path in audio {
        match place(&path) {
            Ok((part, number)) => {
                present.entry(part).or_default().insert(number);
                match candidate(&path, part, number, tables.get(part)) {
                    Ok(candidate) => draft.candidates.push(candidate),
                    Err(what) => draft.fault(path, FaultKind::BadName { corpus: "MELD", what }),
                }
            }
            Err(what) => draft.fault(path, FaultKind::BadName { corpus: "MELD", what }),
        }
    }
    for (part, _) in PARTS {
        let (Some(table), Some(present)) = (tables.get(part), present.get(part)) else { continue };
        let mut absent: Vec<_> = table.rows.iter().filter(|(number, _)| !present.contains(number)).collect();
        absent.sort_unstable_by_key(|(number, _)| **number);
        for ((dialogue, utterance), row) in absent {
            let what = format!("no file dia{dialogue}_utt{utterance} in the {part} part");
            draft.fault(table.path.clone(), FaultKind::BadTable { line: row.line, what });
        }
    }
}

fn read_rows(path: &Path) -> Result<Rows> {
    let mut table = Table::open(path)?;
    let [speaker, emotion, dialogue, utterance] = ["Speaker", "Emotion", "Dialogue_ID", "Utterance_ID"];
    let speaker = table.column(speaker)?;
    let emotion = table.column(emotion)?;
    let (dialogue, utterance) = (table.column(dialogue)?, table.column(utterance)?);
    let mut rows = HashMap::new();
    while let Some(row) = table.next_row()? {
        let key =
            (row.number(dialogue, "Dialogue_ID")?.into(), row.number(utterance, "Utterance_ID")?.into());
        let (emotion, speaker) = (row.text(emotion).to_owned(), row.text(speaker).to_owned());
        rows.insert(key, Row { emotion, speaker, line: row.line() });
    }
    Ok(Rows { path: path.to_path_buf(), rows })
}

/// Dialogue and utterance of a file.
fn utterance(path: &Path) -> Option<(u32, u32)> {
    let (dialogue, utterance) = path.file_stem()?.to_str()?.strip_prefix("dia")?.split_once("_utt")?;
    let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    Some((number(dialogue)?, number(utterance)?))
}

/// Part, dialogue and utterance of a file.
fn place(path: &Path) -> Result<(&'static str, (u32, u32)), String> {
    let number = utterance(path).ok_or("expected diaD_uttU (dia0_utt3)")?;
    let folders: Vec<String> =
        path.iter().rev().skip(1).map(|name| name.to_string_lossy().to_ascii_lowercase()).collect();
    // The nearest folder that names a part.
    let part = folders.iter().find_map(|folder| {
        PARTS
            .iter()
            .map(|(part, _)| *part)
            .find(|part| folder.split(['_', '-', '.']).any(|word| word == *part))
    });
    Ok((part.ok_or("expected a folder named after train, dev or test above it")?, number))
}

fn candidate(
    path: &Path,
    part: &str,
    (dialogue, utterance): (u32, u32),
    table: Option<&Rows>,
) -> Result<Candidate, String> {
    let row = table.and_then(|table| table.rows.get(&(dialogue, utterance)));
    let Row { emotion, speaker, .. } = row.ok_or_else(|| format!("no row for it in {part}_sent_emo.csv"))?;
    let label = folder::label(emotion)
        .ok_or_else(|| format!("Emotion in {part}_sent_emo.csv: expected an emotion, got '{emotion}'"))?;
    // The same names stand in every part.
    let stem = format!("{part}/dia{dialogue}_utt{utterance}");
    let label = match faults::known_fault(NAME, &stem) {
        Some(fault) if fault.remedy == Remedy::Drop => Err(Reason::Known(fault)),
        _ => label,
    };
    Ok(Candidate {
        id: format!("{NAME}/{stem}"),
        path: path.to_path_buf(),
        corpus: NAME.to_owned(),
        speaker: format!("{NAME}/{speaker}"),
        label,
        sex: None,
        age: None,
        sentence: None,
        level: None,
        votes: None,
        part: None,
    })
}
