//! EmoDB, the Berlin Database of Emotional Speech; German.
//!
//! Burkhardt et al. (2005), Interspeech: 1517-1520; <http://emodb.bilderbar.info>, free for research. 535 files of five
//! women and five men, ten sentences. The 81 files of boredom have no place among the six.
//!
//! File names are `SSTTTEV`: speaker 03, 08 to 16; text a01 a02 a04 a05 a07 b01 b02 b03 b09 b10; emotion W anger (Wut), L
//! boredom (Langeweile), E disgust (Ekel), A fear (Angst), F happiness (Freude), T sadness (Trauer), N neutral; version a
//! letter.

use std::path::{Path, PathBuf};

use intone::Emotion;

use super::gather::{Candidate, Draft};
use super::{Corpus, Reason, Sex, Source, named, read_as};
use crate::error::Result;

/// As in [`Clip::corpus`](super::Clip::corpus).
pub const NAME: &str = "emodb";

pub(super) const SOURCE: Source = Source {
    name: NAME,
    title: "EmoDB",
    source: "Technical University of Berlin, emodb.bilderbar.info, for research",
    read,
};

/// Number, sex and age of the speakers, from the documentation of the database.
const SPEAKERS: [(&str, Sex, u8); 10] = [
    ("03", Sex::Male, 31),
    ("08", Sex::Female, 34),
    ("09", Sex::Female, 21),
    ("10", Sex::Male, 32),
    ("11", Sex::Male, 26),
    ("12", Sex::Male, 30),
    ("13", Sex::Female, 32),
    ("14", Sex::Female, 35),
    ("15", Sex::Male, 25),
    ("16", Sex::Female, 31),
];

/// The texts.
const TEXTS: [&str; 10] = ["a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10"];

/// Reads a directory as EmoDB.
///
/// # Errors
/// When the directory cannot be read. What is wrong with single files is a [`Fault`](super::Fault) in the result.
pub fn read(root: &Path) -> Result<Corpus> {
    read_as(root, |audio, _, draft| collect(audio, draft))
}

/// True for a file that is named as in EmoDB.
pub(super) fn claims(path: &Path) -> bool {
    candidate(path).is_some()
}

/// Takes every file as EmoDB.
pub(super) fn collect(audio: Vec<PathBuf>, draft: &mut Draft) {
    named(audio, "EmoDB", "speaker, text, emotion and version (03a01Fa)", candidate, draft);
}

/// What the name of a file tells.
pub(super) fn candidate(path: &Path) -> Option<Candidate> {
    let stem = path.file_stem()?.to_str()?;
    if stem.len() != 7 || !stem.is_ascii() || !stem.as_bytes()[6].is_ascii_lowercase() {
        return None;
    }
    let (speaker, text) = (&stem[..2], &stem[2..5]);
    let &(speaker, sex, age) = SPEAKERS.iter().find(|(number, ..)| *number == speaker)?;
    if !TEXTS.contains(&text) {
        return None;
    }
    let label = match &stem[5..6] {
        "W" => Ok(Emotion::Angry),
        "E" => Ok(Emotion::Disgust),
        "A" => Ok(Emotion::Fear),
        "F" => Ok(Emotion::Happy),
        "N" => Ok(Emotion::Neutral),
        "T" => Ok(Emotion::Sad),
        "L" => Err(Reason::OtherEmotion("boredom".to_owned())),
        _ => return None,
    };
    Some(Candidate {
        id: format!("{NAME}/{stem}"),
        path: path.to_path_buf(),
        corpus: NAME.to_owned(),
        speaker: format!("{NAME}/{speaker}"),
        label,
        sex: Some(sex),
        age: Some(age),
        sentence: Some(text.to_owned()),
        level: None,
        votes: None,
        part: None,
    })
}
