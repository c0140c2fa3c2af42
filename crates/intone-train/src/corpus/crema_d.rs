//! CREMA-D, the Crowd-sourced Emotional Multimodal Actors Dataset.
//!
//! Cao et al. (2014), IEEE Transactions on Affective Computing 5(4): 377-390; repository
//! CheyneyComputerScience/CREMA-D on GitHub; ODbL 1.0, contents DbCL 1.0. 7,442 files of 91 actors (48 male, 43
//! female). Three byte-identical pairs under conflicting labels lose one file each, and one file is empty of sound:
//! 7,438 clips stay.
//!
//! File names are `AAAA_SSS_EMO_LV`: actor 1001 to 1091; one of twelve sentences; ANG DIS FEA HAP NEU SAD; level LO MD
//! HI, or XX where none was asked for. Two tables beside the audio are read when they are there:
//! `VideoDemographics.csv` (age, sex) and `processedResults/tabulatedVotes.csv` (what listeners heard). Most archives
//! hold the audio alone, so the actors' sexes and ages are also part of this module.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use intone::Emotion;

use super::gather::{Candidate, Draft};
use super::{Corpus, Facts, FaultKind, Level, Published, Reason, Remedy, Sex, Votes, faults, read_as};
use crate::error::Result;

mod published;
mod tables;

pub use published::{PublishedFile, published_files};
pub use tables::{DEMOGRAPHICS_FILE, Demographics, VOTES_FILE, read_demographics, read_votes};

/// As in [`Clip::corpus`](super::Clip::corpus).
pub const NAME: &str = "crema-d";

pub(super) const PUBLISHED: Published = Published {
    name: NAME,
    title: "CREMA-D",
    source: "GitHub CheyneyComputerScience/CREMA-D, ODbL 1.0",
    n_published: 7442,
    n_usable: 7438,
    n_speakers: 91,
    read,
    stems: || published_files().map(|file| file.stem()).collect(),
    speaker_of: |stem| stem.split('_').next().unwrap_or_default(),
};

/// The twelve sentences: "Don't forget a jacket", "It's eleven o'clock", "I'm on my way to the meeting", "I think I
/// have a doctor's appointment", "I think I've seen this before", "I would like a new alarm clock", "I wonder what
/// this is about", "Maybe tomorrow it will be cold", "The airplane is almost full", "That is exactly what happened",
/// "The surface is slick", "We'll stop in a couple of minutes".
pub const SENTENCES: [&str; 12] =
    ["DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI"];

/// The 43 female actors; the other 48 of 1001 to 1091 are male. From `VideoDemographics.csv` of the repository.
#[rustfmt::skip]
const FEMALE: [u16; 43] = [
    1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025, 1028, 1029, 1030, 1037,
    1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060, 1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078,
    1079, 1082, 1084, 1089, 1091,
];

/// The ages of actors 1001 to 1091 at the recording, years. From `VideoDemographics.csv` of the repository.
#[rustfmt::skip]
const AGES: [u8; 91] = [
    51, 21, 21, 42, 29, 58, 38, 46, 24, 27, 32, 23, 22, 24, 32, 61, 42, 25, 29, 61, 30, 22, 22, 59, 48, 33,
    44, 57, 33, 42, 31, 30, 31, 74, 48, 49, 45, 21, 51, 42, 42, 37, 25, 40, 22, 22, 22, 38, 25, 62, 56, 33,
    35, 36, 57, 52, 25, 36, 21, 28, 51, 56, 33, 53, 38, 25, 66, 34, 27, 25, 41, 33, 24, 31, 40, 25, 20, 21,
    21, 21, 30, 20, 45, 46, 34, 33, 62, 23, 24, 50, 29,
];

/// Reads a directory as CREMA-D, WAV, FLAC or MP3, in any folder structure.
///
/// # Errors
/// When the directory cannot be read. What is wrong with single files is a [`Fault`](super::Fault) in the result.
pub fn read(root: &Path) -> Result<Corpus> {
    read_as(root, collect)
}

/// The sex of an actor, 1001 to 1091.
pub fn sex(actor: u16) -> Sex {
    if FEMALE.contains(&actor) { Sex::Female } else { Sex::Male }
}

/// The age of an actor, 1001 to 1091, at the recording, years.
pub fn age(actor: u16) -> Option<u8> {
    AGES.get(usize::from(actor.checked_sub(1001)?)).copied()
}

/// What a file stem tells.
pub(super) fn facts(stem: &str) -> Option<Facts> {
    let Name { actor, sentence, level, .. } = parse(stem).ok()?;
    Some(Facts { sex: Some(sex(actor)), age: age(actor), sentence: Some(sentence.to_owned()), level })
}

/// True for a file that wants to be CREMA-D: by the form of its name, or by its folder.
pub(super) fn claims(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
    let by_name = matches!(name, [b'1', a, b, c, b'_', ..]
        if [a, b, c].iter().all(|byte| byte.is_ascii_digit()));
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    by_name || folder.is_some_and(|folder| folder.eq_ignore_ascii_case("AudioWAV"))
}

/// Takes every file as CREMA-D, with what the tables among `csv_files` say of it.
pub(super) fn collect(audio: Vec<PathBuf>, csv_files: &[PathBuf], draft: &mut Draft) {
    if audio.is_empty() {
        return;
    }
    let demographics = read_tables(csv_files, DEMOGRAPHICS_FILE, read_demographics, draft);
    let votes: HashMap<String, Votes> = read_tables(csv_files, VOTES_FILE, read_votes, draft);
    for path in audio {
        let parsed = match path.file_stem().and_then(|stem| stem.to_str()) {
            Some(stem) => right_name(stem, &path, draft).map_or_else(|| parse(stem), parse),
            None => Err("not UTF-8".to_owned()),
        };
        match parsed {
            Ok(name) => draft.candidates.push(candidate(path, &name, &demographics, &votes)),
            Err(what) => draft.fault(path, FaultKind::BadName { corpus: "CREMA-D", what }),
        }
    }
}

/// The name that a misspelt file should have; the report says so.
fn right_name(stem: &str, path: &Path, draft: &mut Draft) -> Option<&'static str> {
    let fault = faults::known_fault(NAME, stem).filter(|fault| fault.remedy == Remedy::Rename)?;
    draft.renamed.push((path.to_path_buf(), fault));
    fault.other
}

/// Reads every table of one name; the first file that knows an entry is right about it.
fn read_tables<K: Eq + std::hash::Hash, V>(
    csv_files: &[PathBuf],
    file_name: &str,
    read: impl Fn(&Path) -> Result<HashMap<K, V>>,
    draft: &mut Draft,
) -> HashMap<K, V> {
    let mut all = HashMap::new();
    let named = |path: &&PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().eq_ignore_ascii_case(file_name))
    };
    for path in csv_files.iter().filter(named) {
        match read(path) {
            Ok(table) => {
                for (key, value) in table {
                    all.entry(key).or_insert(value);
                }
                draft.tables.push(path.clone());
            }
            Err(error) => {
                let kind = FaultKind::from_table_error(error);
                draft.fault(path.clone(), kind);
            }
        }
    }
    all
}

fn candidate(
    path: PathBuf,
    name: &Name,
    demographics: &HashMap<u16, Demographics>,
    votes: &HashMap<String, Votes>,
) -> Candidate {
    let person = demographics.get(&name.actor);
    Candidate {
        id: format!("{NAME}/{}", name.stem),
        path,
        corpus: NAME.to_owned(),
        speaker: format!("{NAME}/{}", name.actor),
        label: match faults::known_fault(NAME, &name.stem) {
            Some(fault) if fault.remedy == Remedy::Drop => Err(Reason::Known(fault)),
            _ => Ok(name.emotion),
        },
        sex: Some(person.map_or_else(|| sex(name.actor), |person| person.sex)),
        age: person.map_or_else(|| age(name.actor), |person| person.age),
        sentence: Some(name.sentence.to_owned()),
        level: name.level,
        votes: votes.get(&name.stem).copied(),
        part: None,
    }
}

#[derive(Debug, PartialEq)]
struct Name {
    /// The whole name, in capitals.
    stem: String,
    actor: u16,
    sentence: &'static str,
    emotion: Emotion,
    level: Option<Level>,
}

/// Reads a file stem, or says what does not fit.
fn parse(stem: &str) -> Result<Name, String> {
    let stem = stem.to_ascii_uppercase();
    let fields: Vec<&str> = stem.split('_').collect();
    let &[actor, sentence, emotion, level] = fields.as_slice() else {
        return Err(format!("expected ACTOR_SENTENCE_EMOTION_LEVEL (1001_DFA_ANG_XX), got '{stem}'"));
    };
    let number = actor.parse().ok().filter(|number| (1001..=1091).contains(number) && actor.len() == 4);
    let actor = number.ok_or_else(|| format!("actor: expected 1001 to 1091, got '{actor}'"))?;
    let sentence = *SENTENCES
        .iter()
        .find(|&&known| known == sentence)
        .ok_or_else(|| format!("sentence: expected one of {}, got '{sentence}'", SENTENCES.join(" ")))?;
    let emotion = match emotion {
        "ANG" => Emotion::Angry,
        "DIS" => Emotion::Disgust,
        "FEA" => Emotion::Fear,
        "HAP" => Emotion::Happy,
        "NEU" => Emotion::Neutral,
        "SAD" => Emotion::Sad,
        _ => return Err(format!("emotion: expected one of ANG DIS FEA HAP NEU SAD, got '{emotion}'")),
    };
    let level = match level {
        "LO" => Some(Level::Low),
        "MD" => Some(Level::Medium),
        "HI" => Some(Level::High),
        "XX" => None,
        _ => return Err(format!("level: expected one of LO MD HI XX, got '{level}'")),
    };
    Ok(Name { actor, sentence, emotion, level, stem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        let name = parse("1001_IEO_ANG_HI").unwrap();
        let expected = Name {
            stem: "1001_IEO_ANG_HI".to_owned(),
            actor: 1001,
            sentence: "IEO",
            emotion: Emotion::Angry,
            level: Some(Level::High),
        };
        assert_eq!(name, expected);
        assert_eq!(parse("1091_wsi_sad_xx").unwrap().stem, "1091_WSI_SAD_XX");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let cases = [
            ("1001_IEO_ANG", "ACTOR_SENTENCE_EMOTION_LEVEL"),
            ("1001_IEO_ANG_HI_2", "ACTOR_SENTENCE_EMOTION_LEVEL"),
            ("1000_IEO_ANG_HI", "actor: expected 1001 to 1091, got '1000'"),
            ("1092_IEO_ANG_HI", "actor"),
            ("+1001_IEO_ANG_HI", "actor"),
            ("1001_XYZ_ANG_HI", "sentence"),
            ("1001_IEO_SUR_HI", "emotion"),
            ("1001_IEO_ANG_X", "level"),
            ("", "ACTOR"),
        ];
        for (stem, expected) in cases {
            let error = parse(stem).unwrap_err();
            assert!(error.contains(expected), "{stem}: {error}");
        }
    }

    #[test]
    fn the_embedded_sexes_count_as_published() {
        let n_female = (1001..=1091).filter(|&actor| sex(actor) == Sex::Female).count();
        assert_eq!((n_female, 91 - n_female), (43, 48));
    }
}
