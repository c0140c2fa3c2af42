//! TESS, the Toronto Emotional Speech Set.
//!
//! Dupuis & Pichora-Fuller (2010), University of Toronto, doi 10.5683/SP2/E8H2MF; CC BY-NC-ND 4.0. 2,800 files: two
//! women, `OAF` of 64 years and `YAF` of 26, say 200 words in "Say the word ...", each in seven emotions. The 400 files of
//! pleasant surprise have no place among the six.
//!
//! File names are `SPEAKER_WORD_EMOTION`: angry, disgust, fear, happy, neutral, ps, sad. One name is misspelt
//! (`OA_bite_neutral`), two files are AIFF under the name of WAV, and one has 96,000 samples a second: all are read. The
//! archive at Kaggle holds the whole tree twice, one inside the other.

use std::path::{Path, PathBuf};

use intone::Emotion;

use super::gather::{Candidate, Draft};
use super::{Corpus, Reason, Sex, Source, named, read_as};
use crate::error::Result;

/// As in [`Clip::corpus`](super::Clip::corpus).
pub const NAME: &str = "tess";

pub(super) const SOURCE: Source = Source {
    name: NAME,
    title: "TESS",
    source: "University of Toronto, doi 10.5683/SP2/E8H2MF, CC BY-NC-ND 4.0",
    read,
};

/// Reads a directory as TESS.
///
/// # Errors
/// When the directory cannot be read. What is wrong with single files is a [`Fault`](super::Fault) in the result.
pub fn read(root: &Path) -> Result<Corpus> {
    read_as(root, |audio, _, draft| collect(audio, draft))
}

/// True for a file that is named as in TESS.
pub(super) fn claims(path: &Path) -> bool {
    candidate(path).is_some()
}

/// Takes every file as TESS.
pub(super) fn collect(audio: Vec<PathBuf>, draft: &mut Draft) {
    named(audio, "TESS", "SPEAKER_WORD_EMOTION (OAF_back_angry)", candidate, draft);
}

/// What the name of a file tells.
pub(super) fn candidate(path: &Path) -> Option<Candidate> {
    let stem = path.file_stem()?.to_str()?;
    let fields: Vec<&str> = stem.split('_').collect();
    let &[speaker, word, emotion] = fields.as_slice() else { return None };
    let (speaker, age) = match speaker {
        // `OA` is the misspelt one.
        "OAF" | "OA" => ("OAF", 64),
        "YAF" => ("YAF", 26),
        _ => return None,
    };
    let label = match emotion.to_ascii_lowercase().as_str() {
        "angry" => Ok(Emotion::Angry),
        "disgust" => Ok(Emotion::Disgust),
        "fear" => Ok(Emotion::Fear),
        "happy" => Ok(Emotion::Happy),
        "neutral" => Ok(Emotion::Neutral),
        "sad" => Ok(Emotion::Sad),
        "ps" => Err(Reason::OtherEmotion("pleasant surprise".to_owned())),
        _ => return None,
    };
    Some(Candidate {
        id: format!("{NAME}/{speaker}_{word}_{}", emotion.to_ascii_lowercase()),
        path: path.to_path_buf(),
        corpus: NAME.to_owned(),
        speaker: format!("{NAME}/{speaker}"),
        label,
        sex: Some(Sex::Female),
        age: Some(age),
        sentence: Some(word.to_ascii_lowercase()),
        level: None,
        votes: None,
        part: None,
    })
}
