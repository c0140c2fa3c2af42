//! IEMOCAP, the Interactive Emotional Dyadic Motion Capture database.
//!
//! Busso et al. (2008), Language Resources and Evaluation 42: 335-359; University of Southern California, for research
//! under its licence. 10,039 turns of five women and five men in five sessions, acted from scripts and improvised.
//!
//! Turns are `SessionN/sentences/wav/DIALOGUE/DIALOGUE_XNNN.wav`, such as `Ses01F_impro01_M012`: session 01; X the sex of
//! the speaker (the letter behind the session is that of the actor who wore the markers, which is another matter). Labels
//! are in `SessionN/dialog/EmoEvaluation/DIALOGUE.txt`, lines `[START - END] TURN LABEL [V, A, D]`: ang, dis, fea, hap,
//! neu, sad, and exc (excited), fru (frustrated), sur (surprised), oth (other), xxx (no majority), which have no place among
//! the six. Many papers count excited as happy; here it is left out, by name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use intone::Emotion;

use super::gather::{Candidate, Draft};
use super::{Corpus, FaultKind, Reason, Sex, Source, read_as};
use crate::error::{Error, Result};

/// As in [`Clip::corpus`](super::Clip::corpus).
pub const NAME: &str = "iemocap";

pub(super) const SOURCE: Source = Source {
    name: NAME,
    title: "IEMOCAP",
    source: "University of Southern California, for research under its licence",
    read,
};

/// The largest file of labels has 60 kB.
const MAX_LABEL_BYTES: u64 = 1 << 24;

/// Reads a directory as IEMOCAP.
///
/// # Errors
/// When the directory cannot be read. What is wrong with single files is a [`Fault`](super::Fault) in the result.
pub fn read(root: &Path) -> Result<Corpus> {
    read_as(root, |audio, _, draft| collect(audio, draft))
}

/// True for a file that is named as a turn of IEMOCAP.
pub(super) fn claims(path: &Path) -> bool {
    path.file_stem().and_then(|stem| stem.to_str()).and_then(turn).is_some()
}

/// Takes every file as a turn, with the labels of its session.
pub(super) fn collect(audio: Vec<PathBuf>, draft: &mut Draft) {
    let mut labels: HashMap<PathBuf, HashMap<String, String>> = HashMap::new();
    for path in audio {
        let Some(place) = path.file_stem().and_then(|stem| stem.to_str()).and_then(turn) else {
            let what = "expected Ses01F_impro01_M012".to_owned();
            draft.fault(path, FaultKind::BadName { corpus: "IEMOCAP", what });
            continue;
        };
        let Some(file) = label_file(&path, place.dialogue) else {
            let what = "expected it in SessionN/sentences/wav/DIALOGUE".to_owned();
            draft.fault(path, FaultKind::BadName { corpus: "IEMOCAP", what });
            continue;
        };
        if !labels.contains_key(&file) {
            let read = read_labels(&file).unwrap_or_else(|error| {
                draft.fault(file.clone(), FaultKind::from_table_error(error));
                HashMap::new()
            });
            labels.insert(file.clone(), read);
        }
        match labels[&file].get(place.stem) {
            Some(label) => draft.candidates.push(candidate(&path, &place, label)),
            None => {
                let what = format!("no label in {}.txt", place.dialogue);
                draft.fault(path, FaultKind::BadName { corpus: "IEMOCAP", what });
            }
        }
    }
}

/// What the name of a turn says.
struct Turn<'a> {
    stem: &'a str,
    /// `Ses01F_impro01`.
    dialogue: &'a str,
    /// `01`.
    session: &'a str,
    sex: Sex,
}

fn turn(stem: &str) -> Option<Turn<'_>> {
    let (dialogue, number) = stem.rsplit_once('_')?;
    let session = dialogue.strip_prefix("Ses")?.get(..2)?;
    let digits = number.get(1..)?;
    let sex = match number.get(..1)? {
        "F" => Sex::Female,
        "M" => Sex::Male,
        _ => return None,
    };
    let marked = matches!(dialogue.as_bytes().get(5), Some(b'F' | b'M'));
    let known = matches!(session, "01" | "02" | "03" | "04" | "05") && marked;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (known && plain).then_some(Turn { stem, dialogue, session, sex })
}

/// `SessionN/dialog/EmoEvaluation/DIALOGUE.txt` of `SessionN/sentences/wav/DIALOGUE/TURN.wav`.
fn label_file(path: &Path, dialogue: &str) -> Option<PathBuf> {
    let session = path.ancestors().nth(4)?;
    Some(session.join("dialog/EmoEvaluation").join(format!("{dialogue}.txt")))
}

/// The labels of a dialogue, turn by turn. Other lines, of single listeners, are passed over.
fn read_labels(path: &Path) -> Result<HashMap<String, String>> {
    let n_bytes = std::fs::metadata(path).map_err(Error::io(path))?.len();
    if n_bytes > MAX_LABEL_BYTES {
        let what = format!("expected labels of at most {MAX_LABEL_BYTES} bytes, got {n_bytes}");
        return Err(Error::Table { path: path.to_path_buf(), line: None, what });
    }
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let text = String::from_utf8_lossy(&bytes);
    let label = |line: &str| {
        let mut fields = line.strip_prefix('[')?.split_once(']')?.1.split_whitespace();
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    };
    Ok(text.lines().filter_map(label).collect())
}

fn candidate(path: &Path, turn: &Turn<'_>, label: &str) -> Candidate {
    let other = |name: &str| Err(Reason::OtherEmotion(name.to_owned()));
    let label = match label {
        "ang" => Ok(Emotion::Angry),
        "dis" => Ok(Emotion::Disgust),
        "fea" => Ok(Emotion::Fear),
        "hap" => Ok(Emotion::Happy),
        "neu" => Ok(Emotion::Neutral),
        "sad" => Ok(Emotion::Sad),
        "exc" => other("excited"),
        "fru" => other("frustrated"),
        "sur" => other("surprised"),
        "xxx" => other("no majority of listeners"),
        "oth" => other("other"),
        unknown => other(unknown),
    };
    let letter = if turn.sex == Sex::Female { 'F' } else { 'M' };
    Candidate {
        id: format!("{NAME}/{}", turn.stem),
        path: path.to_path_buf(),
        corpus: NAME.to_owned(),
        speaker: format!("{NAME}/Ses{}{letter}", turn.session),
        label,
        sex: Some(turn.sex),
        age: None,
        sentence: None,
        level: None,
        votes: None,
        part: None,
    }
}
