//! A folder per label: `angry/call-17.wav`.
//!
//! A folder counts as a label when [`Emotion::from_label`] reads its name, in any case. The speaker is the folder right
//! below the label (`angry/anna/17.wav`) or right above it (`anna/angry/17.wav`). Folders named after the part of a
//! split (`train`, `valid`, `test`) are no speakers; they set [`Clip::part`](super::Clip::part). Where no folder names a
//! speaker, all clips belong to one speaker, `unknown`: then only a manifest can tell who speaks, and a
//! speaker-independent split puts the whole folder on one side.

use std::path::{Path, PathBuf};

use intone::Emotion;

use super::gather::{Candidate, Draft};
use super::{Corpus, Reason, walk};
use crate::error::Result;
use crate::split::Part;

/// Emotions that other corpora know and the six do not contain.
const OTHER_EMOTIONS: [&str; 17] = [
    "calm",
    "surprise",
    "surprised",
    "pleasant_surprise",
    "pleasant_surprised",
    "ps",
    "contempt",
    "bored",
    "boredom",
    "excited",
    "excitement",
    "frustrated",
    "frustration",
    "sarcastic",
    "amused",
    "sleepy",
    "other",
];

/// Reads a directory as a folder per label.
///
/// # Errors
/// When the directory cannot be read. A file that is in no label's folder is a [`Fault`](super::Fault).
pub fn read(root: &Path) -> Result<Corpus> {
    let listing = walk::walk(root, &mut walk::Visited::default())?;
    let mut draft = Draft { faults: listing.faults, ..Default::default() };
    let (files, rest) = super::partition(listing.audio, |path| claims(root, path));
    collect(root, files, &mut draft);
    for path in rest {
        draft.fault(path, super::FaultKind::Unknown);
    }
    draft.mac_os(listing.mac_os);
    Ok(draft.finish())
}

/// Reads a label: one of the six, or the reason why its clips are left out. `None` when it is no emotion.
pub(super) fn label(text: &str) -> Option<Result<Emotion, Reason>> {
    let known = Emotion::from_label(text).map(Ok);
    known.or_else(|| {
        let text = text.trim().to_ascii_lowercase();
        OTHER_EMOTIONS.contains(&text.as_str()).then_some(Err(Reason::OtherEmotion(text)))
    })
}

/// True when a folder names the emotion of this file.
pub(super) fn claims(root: &Path, path: &Path) -> bool {
    placed(root, path).is_some()
}

/// Takes every file that lies in a label's folder.
pub(super) fn collect(root: &Path, files: Vec<PathBuf>, draft: &mut Draft) {
    if files.is_empty() {
        return;
    }
    let corpus = draft.unique_name(&folder_name(root));
    for path in files {
        let Some(Place { label, speaker, part }) = placed(root, &path) else { continue };
        let below = path.strip_prefix(root).unwrap_or(&path);
        let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
        draft.candidates.push(Candidate {
            id: format!("{corpus}/{}", parts.join("/")),
            corpus: corpus.clone(),
            speaker: format!("{corpus}/{}", speaker.as_deref().unwrap_or("unknown")),
            label,
            sex: None,
            age: None,
            sentence: None,
            level: None,
            votes: None,
            part,
            path,
        });
    }
}

/// The name of a folder, also when it is given as `.` or `..`.
pub(super) fn folder_name(folder: &Path) -> String {
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    real.file_name().map_or_else(|| "folder".to_owned(), |name| name.to_string_lossy().into_owned())
}

struct Place {
    label: Result<Emotion, Reason>,
    speaker: Option<String>,
    part: Option<Part>,
}

/// What the folders between the root and the file say. The root itself may be a label's folder.
fn placed(root: &Path, path: &Path) -> Option<Place> {
    let below = path.strip_prefix(root).ok()?.parent()?;
    let mut folders = vec![root.file_name().unwrap_or_default().to_string_lossy()];
    folders.extend(below.iter().map(|name| name.to_string_lossy()));
    let (at, label) =
        folders.iter().enumerate().rev().find_map(|(at, name)| label(name).map(|label| (at, label)))?;
    let is_person = |name: &&std::borrow::Cow<'_, str>| name.parse::<Part>().is_err();
    // The root itself names the corpus, not a speaker.
    let above = folders.get(1..at).and_then(<[_]>::last).filter(is_person);
    let speaker = folders.get(at + 1).filter(is_person).or(above).map(|name| name.to_string());
    let part = folders[1..].iter().find_map(|name| name.parse().ok());
    Some(Place { label, speaker, part })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_tell_label_speaker_and_part() {
        let cases = [
            ("data/angry/17.wav", Some((Ok(Emotion::Angry), None, None))),
            ("data/Anger/anna/17.wav", Some((Ok(Emotion::Angry), Some("anna"), None))),
            ("data/anna/SAD/17.wav", Some((Ok(Emotion::Sad), Some("anna"), None))),
            ("data/anna/sad/monday/17.wav", Some((Ok(Emotion::Sad), Some("monday"), None))),
            ("data/train/sad/17.wav", Some((Ok(Emotion::Sad), None, Some(Part::Train)))),
            ("data/sad/dev/17.wav", Some((Ok(Emotion::Sad), None, Some(Part::Validation)))),
            ("data/test/bert/sad/17.wav", Some((Ok(Emotion::Sad), Some("bert"), Some(Part::Test)))),
            ("data/calm/17.wav", Some((Err(Reason::OtherEmotion("calm".to_owned())), None, None))),
            ("data/17.wav", None),
            ("data/angy/17.wav", None),
        ];
        for (path, expected) in cases {
            let place = placed(Path::new("data"), Path::new(path));
            let place = place.map(|place| (place.label, place.speaker, place.part));
            let expected = expected.map(|(label, speaker, part)| (label, speaker.map(str::to_owned), part));
            assert_eq!(place, expected, "{path}");
        }
        let place = placed(Path::new("data/angry"), Path::new("data/angry/17.wav")).unwrap();
        assert_eq!((place.label, place.speaker), (Ok(Emotion::Angry), None));
    }
}
