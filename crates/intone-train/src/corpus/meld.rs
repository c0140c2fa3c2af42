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
//! Known faults, from the issues of the repository: `dia125_utt3` of the training part cannot be decoded (39), `dia110_utt7`
//! of the development part is missing (22), `dia38_utt4` and `dia220_utt0` of the test part go on for minutes (20), and
//! videos without a row in the tables lie among the others (22): these are faults here, with their paths.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::gather::{Candidate, Draft};
use super::table::Table;
use super::{Corpus, FaultKind, Source, folder, read_as};
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

/// Label and speaker of the utterances of one part, by dialogue and utterance.
type Rows = HashMap<(u32, u32), (String, String)>;

/// Takes every file as MELD, with what the tables among `csv_files` say of it.
pub(super) fn collect(audio: Vec<PathBuf>, csv_files: &[PathBuf], draft: &mut Draft) {
    if audio.is_empty() {
        return;
    }
    let mut tables: HashMap<&str, Rows> = HashMap::new();
    for (part, file_name) in PARTS {
        for path in csv_files.iter().filter(|path| path.file_name().is_some_and(|name| name == file_name)) {
            match rows(path) {
                Ok(rows) => {
                    tables.insert(part, rows);
                    draft.tables.push(path.clone());
                }
                Err(error) => draft.fault(path.clone(), FaultKind::from_table_error(error)),
            }
        }
    }
    for path in audio {
        match candidate(&path, &tables) {
            Ok(candidate) => draft.candidates.push(candidate),
            Err(what) => draft.fault(path, FaultKind::BadName { corpus: "MELD", what }),
        }
    }
}

fn rows(path: &Path) -> Result<Rows> {
    let mut table = Table::open(path)?;
    let [speaker, emotion, dialogue, utterance] = ["Speaker", "Emotion", "Dialogue_ID", "Utterance_ID"];
    let speaker = table.column(speaker)?;
    let emotion = table.column(emotion)?;
    let (dialogue, utterance) = (table.column(dialogue)?, table.column(utterance)?);
    let mut rows = Rows::new();
    while let Some(row) = table.next_row()? {
        let key =
            (row.number(dialogue, "Dialogue_ID")?.into(), row.number(utterance, "Utterance_ID")?.into());
        rows.insert(key, (row.text(emotion).to_owned(), row.text(speaker).to_owned()));
    }
    Ok(rows)
}

/// Dialogue and utterance of a file.
fn utterance(path: &Path) -> Option<(u32, u32)> {
    let (dialogue, utterance) = path.file_stem()?.to_str()?.strip_prefix("dia")?.split_once("_utt")?;
    let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    Some((number(dialogue)?, number(utterance)?))
}

fn candidate(path: &Path, tables: &HashMap<&str, Rows>) -> Result<Candidate, String> {
    let (dialogue, utterance) = utterance(path).ok_or("expected diaD_uttU (dia0_utt3)")?;
    let folders: Vec<String> =
        path.iter().rev().skip(1).map(|name| name.to_string_lossy().to_ascii_lowercase()).collect();
    // The nearest folder that names a part.
    let part = folders.iter().find_map(|folder| {
        PARTS
            .iter()
            .map(|(part, _)| *part)
            .find(|part| folder.split(['_', '-', '.']).any(|word| word == *part))
    });
    let part = part.ok_or("expected a folder named after train, dev or test above it")?;
    let row = tables.get(part).and_then(|rows| rows.get(&(dialogue, utterance)));
    let (emotion, speaker) = row.ok_or_else(|| format!("no row for it in {part}_sent_emo.csv"))?;
    let label = folder::label(emotion)
        .ok_or_else(|| format!("Emotion in {part}_sent_emo.csv: expected an emotion, got '{emotion}'"))?;
    Ok(Candidate {
        id: format!("{NAME}/{part}/dia{dialogue}_utt{utterance}"),
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
