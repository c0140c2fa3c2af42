//! CaFE, the Canadian French Emotional speech dataset.
//!
//! Gournay, Lahaie & Lefebvre (2018), ACM MMSys: 399-402; Zenodo record 1478765; CC BY-NC-SA 4.0. 936 files: six women and
//! six men say six sentences in seven emotions, neutral once and the others at two intensities. The 144 files of surprise
//! have no place among the six.
//!
//! File names are `AA-E-I-S`: actor 01 to 12 (odd numbers are male, even numbers female); C anger (colère), D disgust, J
//! happiness (joie), N neutral, P fear (peur), S surprise, T sadness (tristesse); intensity 1 low, 2 high (neutral has 1);
//! sentence 1 to 6.

use std::path::{Path, PathBuf};

use intone::Emotion;

use super::gather::{Candidate, Draft};
use super::{Corpus, Level, Reason, Sex, Source, named, read_as};
use crate::error::Result;

/// As in [`Clip::corpus`](super::Clip::corpus).
pub const NAME: &str = "cafe";

pub(super) const SOURCE: Source =
    Source { name: NAME, title: "CaFE", source: "Zenodo record 1478765, CC BY-NC-SA 4.0", read };

/// Reads a directory as CaFE.
///
/// # Errors
/// When the directory cannot be read. What is wrong with single files is a [`Fault`](super::Fault) in the result.
pub fn read(root: &Path) -> Result<Corpus> {
    read_as(root, |audio, _, draft| collect(audio, draft))
}

/// True for a file that is named as in CaFE.
pub(super) fn claims(path: &Path) -> bool {
    candidate(path).is_some()
}

/// Takes every file as CaFE.
pub(super) fn collect(audio: Vec<PathBuf>, draft: &mut Draft) {
    named(audio, "CaFE", "ACTOR-EMOTION-INTENSITY-SENTENCE (01-C-1-6)", candidate, draft);
}

/// What the name of a file tells.
pub(super) fn candidate(path: &Path) -> Option<Candidate> {
    let stem = path.file_stem()?.to_str()?;
    let fields: Vec<&str> = stem.split('-').collect();
    let &[actor, emotion, intensity, sentence] = fields.as_slice() else { return None };
    let number: u8 = actor.parse().ok().filter(|n| (1..=12).contains(n) && actor.len() == 2)?;
    let level = match intensity {
        "1" => Level::Normal,
        "2" => Level::Strong,
        _ => return None,
    };
    if !matches!(sentence, "1" | "2" | "3" | "4" | "5" | "6") {
        return None;
    }
    let label = match emotion {
        "C" => Ok(Emotion::Angry),
        "D" => Ok(Emotion::Disgust),
        "P" => Ok(Emotion::Fear),
        "J" => Ok(Emotion::Happy),
        "N" if level == Level::Normal => Ok(Emotion::Neutral),
        "T" => Ok(Emotion::Sad),
        "S" => Err(Reason::OtherEmotion("surprise".to_owned())),
        _ => return None,
    };
    Some(Candidate {
        id: format!("{NAME}/{stem}"),
        path: path.to_path_buf(),
        corpus: NAME.to_owned(),
        speaker: format!("{NAME}/{actor}"),
        label,
        sex: Some(if number % 2 == 1 { Sex::Male } else { Sex::Female }),
        age: None,
        sentence: Some(sentence.to_owned()),
        level: Some(level),
        votes: None,
        part: None,
    })
}
