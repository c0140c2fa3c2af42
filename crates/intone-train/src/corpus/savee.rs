//! SAVEE, Surrey Audio-Visual Expressed Emotion.
//!
//! Haq & Jackson (2010), University of Surrey, <http://kahlan.eps.surrey.ac.uk/savee/>; for research, after registration.
//! 480 files of four men, each with 15 sentences for every emotion and 30 for neutral. The 60 files of surprise have no
//! place among the six.
//!
//! Files lie in a folder of their speaker, `DC/a01.wav`, or carry him in their name, as at Kaggle: `DC_a01.wav`. Letters: a
//! anger, d disgust, f fear, h happiness, n neutral, sa sadness, su surprise. The number counts the sentences of one
//! emotion and names no sentence by itself.

use std::path::{Path, PathBuf};

use intone::Emotion;

use super::gather::{Candidate, Draft};
use super::{Corpus, Reason, Sex, Source, named, read_as};
use crate::error::Result;

/// As in [`Clip::corpus`](super::Clip::corpus).
pub const NAME: &str = "savee";

pub(super) const SOURCE: Source = Source {
    name: NAME,
    title: "SAVEE",
    source: "University of Surrey, for research after registration",
    read,
};

/// The speakers.
const SPEAKERS: [&str; 4] = ["DC", "JE", "JK", "KL"];

/// Reads a directory as SAVEE.
///
/// # Errors
/// When the directory cannot be read. What is wrong with single files is a [`Fault`](super::Fault) in the result.
pub fn read(root: &Path) -> Result<Corpus> {
    read_as(root, |audio, _, draft| collect(audio, draft))
}

/// True for a file that is named as in SAVEE.
pub(super) fn claims(path: &Path) -> bool {
    candidate(path).is_some()
}

/// Takes every file as SAVEE.
pub(super) fn collect(audio: Vec<PathBuf>, draft: &mut Draft) {
    named(audio, "SAVEE", "DC/a01 or DC_a01", candidate, draft);
}

/// What the name of a file tells.
pub(super) fn candidate(path: &Path) -> Option<Candidate> {
    let stem = path.file_stem()?.to_str()?;
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    let (speaker, take) = stem.split_once('_').unwrap_or((folder, stem));
    let letters = take.trim_end_matches(|c: char| c.is_ascii_digit());
    if !SPEAKERS.contains(&speaker) || take.len() != letters.len() + 2 {
        return None;
    }
    let label = match letters {
        "a" => Ok(Emotion::Angry),
        "d" => Ok(Emotion::Disgust),
        "f" => Ok(Emotion::Fear),
        "h" => Ok(Emotion::Happy),
        "n" => Ok(Emotion::Neutral),
        "sa" => Ok(Emotion::Sad),
        "su" => Err(Reason::OtherEmotion("surprise".to_owned())),
        _ => return None,
    };
    Some(Candidate {
        id: format!("{NAME}/{speaker}_{take}"),
        path: path.to_path_buf(),
        corpus: NAME.to_owned(),
        speaker: format!("{NAME}/{speaker}"),
        label,
        sex: Some(Sex::Male),
        age: None,
        sentence: None,
        level: None,
        votes: None,
        part: None,
    })
}
