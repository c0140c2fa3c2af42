//! RAVDESS, the Ryerson Audio-Visual Database of Emotional Speech and Song.
//!
//! Livingstone & Russo (2018), PLoS ONE 13(5): e0196391; Zenodo record 1188976; CC BY-NC-SA 4.0. The speech archive
//! holds 1,440 files: 24 actors x 60. With calm and surprised (192 each) left out, and one recording that is stored
//! twice, 1,055 clips in the six classes stay.
//!
//! File names are seven two-digit numbers, `MM-VC-EM-IN-ST-RE-AA`:
//!
//! | field | values |
//! |---|---|
//! | modality | 01 audio and video, 02 video only, 03 audio only |
//! | vocal channel | 01 speech, 02 song |
//! | emotion | 01 neutral, 02 calm, 03 happy, 04 sad, 05 angry, 06 fearful, 07 disgust, 08 surprised |
//! | intensity | 01 normal, 02 strong (never with neutral) |
//! | statement | 01 "Kids are talking by the door", 02 "Dogs are sitting by the door" |
//! | repetition | 01, 02 |
//! | actor | 01 to 24; odd numbers are male, even numbers female |

use std::path::{Path, PathBuf};

use intone::Emotion;

use super::gather::{Candidate, Draft};
use super::{Corpus, Facts, FaultKind, Level, Published, Reason, Remedy, Sex, faults, read_as};
use crate::error::Result;

/// As in [`Clip::corpus`](super::Clip::corpus).
pub const NAME: &str = "ravdess";

pub(super) const PUBLISHED: Published = Published {
    name: NAME,
    title: "RAVDESS",
    source: "Zenodo record 1188976, CC BY-NC-SA 4.0",
    n_published: 1440,
    n_usable: 1055,
    n_speakers: 24,
    read,
    stems: || published_stems().collect(),
    speaker_of: |stem| stem.rsplit('-').next().unwrap_or_default(),
};

/// Reads a directory as RAVDESS, WAV or FLAC, in any folder structure.
///
/// Kaggle's archive repeats every file under a nested `audio_speech_actors_01-24/`: 2,880 paths, 1,440 recordings. The
/// second path of each is left out as [`Reason::SameClip`].
///
/// # Errors
/// When the directory cannot be read. What is wrong with single files is a [`Fault`](super::Fault) in the result.
pub fn read(root: &Path) -> Result<Corpus> {
    read_as(root, |audio, _, draft| collect(audio, draft))
}

/// Every clip of the published speech archive: file stems in the order of their actors.
pub fn published_stems() -> impl Iterator<Item = String> {
    (1..=24).flat_map(|actor| {
        (1..=8).flat_map(move |emotion| {
            let n_intensities = if emotion == 1 { 1 } else { 2 };
            (1..=n_intensities).flat_map(move |intensity| {
                (1..=4).map(move |take: u8| {
                    let (statement, repetition) = (take.div_ceil(2), 2 - take % 2);
                    format!("03-01-{emotion:02}-{intensity:02}-{statement:02}-{repetition:02}-{actor:02}")
                })
            })
        })
    })
}

/// The sex of an actor, 1 to 24.
pub fn sex(actor: u8) -> Sex {
    if actor % 2 == 1 { Sex::Male } else { Sex::Female }
}

/// What a file stem tells. The ages of the actors (21 to 33) were not published one by one.
pub(super) fn facts(stem: &str) -> Option<Facts> {
    let name = parse(stem).ok()?;
    let level = if name.intensity == 2 { Level::Strong } else { Level::Normal };
    let sentence = Some(format!("{:02}", name.statement));
    Some(Facts { sex: Some(sex(name.actor)), age: None, sentence, level: Some(level) })
}

/// True for a file that wants to be RAVDESS: by the form of its name, or by its folder.
pub(super) fn claims(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
    let by_name = matches!(name, [a, b, b'-', c, d, b'-', e, f, b'-', ..]
        if [a, b, c, d, e, f].iter().all(|byte| byte.is_ascii_digit()));
    let folder =
        path.parent().and_then(Path::file_name).map(|name| name.as_encoded_bytes()).unwrap_or_default();
    let by_folder = matches!(folder, [name @ .., a, b]
        if name.eq_ignore_ascii_case(b"actor_") && a.is_ascii_digit() && b.is_ascii_digit());
    by_name || by_folder
}

/// Takes every file as RAVDESS.
pub(super) fn collect(audio: Vec<PathBuf>, draft: &mut Draft) {
    for path in audio {
        let parsed = match path.file_stem().and_then(|stem| stem.to_str()) {
            Some(stem) => parse(stem).map(|name| (stem.to_owned(), name)),
            None => Err("not UTF-8".to_owned()),
        };
        match parsed {
            Ok((stem, name)) => draft.candidates.push(candidate(path, &stem, &name)),
            Err(what) => draft.fault(path, FaultKind::BadName { corpus: "RAVDESS", what }),
        }
    }
}

fn candidate(path: PathBuf, stem: &str, name: &Name) -> Candidate {
    let label = match faults::known_fault(NAME, stem) {
        Some(fault) if fault.remedy == Remedy::Drop => Err(Reason::Known(fault)),
        _ if name.modality == 1 => {
            Err(Reason::NotSpeech("video with sound, the same takes as the audio files"))
        }
        _ if name.modality == 2 => Err(Reason::NotSpeech("video without sound")),
        _ if name.channel == 2 => Err(Reason::NotSpeech("song")),
        _ => name.emotion.map_err(|label| Reason::OtherEmotion(label.to_owned())),
    };
    Candidate {
        id: format!("{NAME}/{stem}"),
        path,
        corpus: NAME.to_owned(),
        speaker: format!("{NAME}/{:02}", name.actor),
        label,
        sex: Some(sex(name.actor)),
        age: None,
        sentence: Some(format!("{:02}", name.statement)),
        level: Some(if name.intensity == 2 { Level::Strong } else { Level::Normal }),
        votes: None,
        part: None,
    }
}

#[derive(Debug, PartialEq)]
struct Name {
    modality: u8,
    channel: u8,
    /// One of the six, or the name of another emotion.
    emotion: Result<Emotion, &'static str>,
    intensity: u8,
    statement: u8,
    actor: u8,
}

/// Reads a file stem, or says what does not fit.
fn parse(stem: &str) -> Result<Name, String> {
    let mut fields = [0; 7];
    let mut n_fields = 0;
    for field in stem.split('-') {
        let two_digits = field.len() == 2 && field.bytes().all(|byte| byte.is_ascii_digit());
        let number = field.parse::<u8>().ok().filter(|_| two_digits);
        match (number, fields.get_mut(n_fields)) {
            (Some(number), Some(slot)) => *slot = number,
            _ => {
                return Err(format!("expected seven two-digit numbers (03-01-05-01-02-01-12), got '{stem}'"));
            }
        }
        n_fields += 1;
    }
    if n_fields != fields.len() {
        return Err(format!("expected seven two-digit numbers (03-01-05-01-02-01-12), got {n_fields}"));
    }
    let [modality, channel, emotion, intensity, statement, repetition, actor] = fields;
    let limits = [
        ("modality", modality, 3),
        ("vocal channel", channel, 2),
        ("emotion", emotion, 8),
        ("intensity", intensity, 2),
        ("statement", statement, 2),
        ("repetition", repetition, 2),
        ("actor", actor, 24),
    ];
    for (field, value, max) in limits {
        if !(1..=max).contains(&value) {
            return Err(format!("{field}: expected 01 to {max:02}, got {value:02}"));
        }
    }
    let emotion = match emotion {
        1 => Ok(Emotion::Neutral),
        2 => Err("calm"),
        3 => Ok(Emotion::Happy),
        4 => Ok(Emotion::Sad),
        5 => Ok(Emotion::Angry),
        6 => Ok(Emotion::Fear),
        7 => Ok(Emotion::Disgust),
        _ => Err("surprised"),
    };
    if emotion == Ok(Emotion::Neutral) && intensity == 2 {
        return Err("intensity: there is no strong neutral".to_owned());
    }
    Ok(Name { modality, channel, emotion, intensity, statement, actor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        let name = parse("03-01-06-02-01-02-12").unwrap();
        let expected = Name {
            modality: 3,
            channel: 1,
            emotion: Ok(Emotion::Fear),
            intensity: 2,
            statement: 1,
            actor: 12,
        };
        assert_eq!(name, expected);
        assert_eq!(parse("03-01-02-01-01-01-01").unwrap().emotion, Err("calm"));
        assert_eq!(parse("03-01-08-01-01-01-01").unwrap().emotion, Err("surprised"));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let cases = [
            ("03-01-06-02-01-02", "seven"),
            ("03-01-06-02-01-02-12-01", "seven"),
            ("03-01-6-02-01-02-12", "two-digit"),
            ("03-01-06-02-01-02-12 (1)", "two-digit"),
            ("03-01-+6-02-01-02-12", "two-digit"),
            ("", "two-digit"),
            ("03-01-09-02-01-02-12", "emotion: expected 01 to 08, got 09"),
            ("03-01-06-02-01-02-25", "actor: expected 01 to 24, got 25"),
            ("03-01-06-02-01-02-00", "actor"),
            ("03-01-06-03-01-02-12", "intensity"),
            ("04-01-06-02-01-02-12", "modality"),
            ("03-01-01-02-01-02-12", "no strong neutral"),
        ];
        for (stem, expected) in cases {
            let error = parse(stem).unwrap_err();
            assert!(error.contains(expected), "{stem}: {error}");
        }
    }

    #[test]
    fn the_published_archive_has_its_1440_names() {
        let stems: Vec<_> = published_stems().collect();
        let distinct: std::collections::HashSet<_> = stems.iter().collect();
        assert_eq!((stems.len(), distinct.len()), (1440, 1440));
        for stem in &stems {
            parse(stem).unwrap_or_else(|what| panic!("{stem}: {what}"));
        }
        let calm = stems.iter().filter(|stem| parse(stem).unwrap().emotion == Err("calm")).count();
        let usable = stems.iter().filter(|stem| parse(stem).unwrap().emotion.is_ok()).count();
        assert_eq!((calm, usable), (192, 1056));
    }
}
