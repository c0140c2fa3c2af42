//! EMOVO; Italian.
//!
//! Costantini et al. (2014), LREC: 3501-3504; for research. 588 files: three women and three men say 14 sentences in seven
//! emotions. The 84 files of surprise have no place among the six.
//!
//! File names are `EMOTION-SPEAKER-SENTENCE`: rab anger (rabbia), dis disgust, pau fear (paura), gio happiness (gioia), neu
//! neutral, tri sadness (tristezza), sor surprise (sorpresa); f1 to f3, m1 to m3; b1 to b3, l1 to l4, n1 to n5, d1, d2.

use std::path::{Path, PathBuf};

use intone::Emotion;

use super::gather::{Candidate, Draft};
use super::{Corpus, Reason, Sex, Source, named, read_as};
use crate::error::Result;

/// As in [`Clip::corpus`](super::Clip::corpus).
pub const NAME: &str = "emovo";

pub(super) const SOURCE: Source =
    Source { name: NAME, title: "EMOVO", source: "Costantini et al. 2014, for research", read };

/// The sentences.
const SENTENCES: [&str; 14] =
    ["b1", "b2", "b3", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5", "d1", "d2"];

/// Reads a directory as EMOVO.
///
/// # Errors
/// When the directory cannot be read. What is wrong with single files is a [`Fault`](super::Fault) in the result.
pub fn read(root: &Path) -> Result<Corpus> {
    read_as(root, |audio, _, draft| collect(audio, draft))
}

/// True for a file that is named as in EMOVO.
pub(super) fn claims(path: &Path) -> bool {
    candidate(path).is_some()
}

/// Takes every file as EMOVO.
pub(super) fn collect(audio: Vec<PathBuf>, draft: &mut Draft) {
    named(audio, "EMOVO", "EMOTION-SPEAKER-SENTENCE (rab-f1-b1)", candidate, draft);
}

/// What the name of a file tells.
pub(super) fn candidate(path: &Path) -> Option<Candidate> {
    let stem = path.file_stem()?.to_str()?.to_ascii_lowercase();
    let fields: Vec<&str> = stem.split('-').collect();
    let &[emotion, speaker, sentence] = fields.as_slice() else { return None };
    let sex = match speaker {
        "f1" | "f2" | "f3" => Sex::Female,
        "m1" | "m2" | "m3" => Sex::Male,
        _ => return None,
    };
    if !SENTENCES.contains(&sentence) {
        return None;
    }
    let label = match emotion {
        "rab" => Ok(Emotion::Angry),
        "dis" => Ok(Emotion::Disgust),
        "pau" => Ok(Emotion::Fear),
        "gio" => Ok(Emotion::Happy),
        "neu" => Ok(Emotion::Neutral),
        "tri" => Ok(Emotion::Sad),
        "sor" => Err(Reason::OtherEmotion("surprise".to_owned())),
        _ => return None,
    };
    Some(Candidate {
        id: format!("{NAME}/{stem}"),
        path: path.to_path_buf(),
        corpus: NAME.to_owned(),
        speaker: format!("{NAME}/{speaker}"),
        label,
        sex: Some(sex),
        age: None,
        sentence: Some(sentence.to_owned()),
        level: None,
        votes: None,
        part: None,
    })
}
