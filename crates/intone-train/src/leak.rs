//! Looking for leaks: speakers and recordings of the test that were heard in training. Most published figures of this
//! field owe their height to one.
//!
//! A [`Split`](crate::split::Split) proves that its own sides share no speaker and no file. What is looked for here is
//! what it cannot see: the same recording under two names or in two formats, and a model that was trained on another
//! split than the one it is evaluated on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use intone::model::Provenance;

use crate::corpus::{Clip, Corpus, FaultKind, Reason, survey};
use crate::error::{Error, Result};
use crate::provenance::split_hash;
use crate::split::{Part, Protocol, read_csv};

/// What is known of a model's training.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// The speakers of its training and validation part; `None` where nothing is known.
    speakers: Option<BTreeMap<String, Part>>,
    /// The corpora of these parts; empty where nothing is known.
    corpora: BTreeSet<String>,
    /// Where this is known from.
    how: String,
}

impl Heard {
    /// The speakers of the model's training and validation part, and which of the two.
    ///
    /// # Errors
    /// [`Error::Empty`] where they are not known, with the reason.
    pub fn speakers(&self) -> Result<&BTreeMap<String, Part>> {
        let unknown =
            || Error::Empty(format!("the model's training clips are not known, because {}", self.how));
        self.speakers.as_ref().ok_or_else(unknown)
    }
}

/// The `split.csv` that a training left beside its model, if one lies there.
pub fn split_beside(model: &Path) -> Option<PathBuf> {
    Some(model.with_file_name("split.csv")).filter(|path| path.is_file())
}

/// What a model heard: from the `split.csv` beside it, which a training leaves, or from the protocol that its file names.
///
/// # Errors
/// A `split.csv` that cannot be read.
pub fn heard(origin: &Provenance, split_file: Option<&Path>, corpus: &Corpus) -> Result<Heard> {
    if let Some(path) = split_file {
        let mut rows = read_csv(path)?;
        rows.retain(|row| row.split != Part::Test);
        return Ok(Heard {
            corpora: rows.iter().map(|row| row.corpus.clone()).collect(),
            speakers: Some(rows.into_iter().map(|row| (row.speaker, row.split)).collect()),
            how: "the split.csv of its training".to_owned(),
        });
    }
    let trained_on: BTreeSet<&str> = origin.corpora.iter().map(|corpus| corpus.name.as_str()).collect();
    let corpora: BTreeSet<String> = trained_on.iter().map(|&name| name.to_owned()).collect();
    let unknown = |how: &str| Heard { speakers: None, corpora: corpora.clone(), how: how.to_owned() };
    if trained_on.is_empty() || origin.protocol.is_empty() {
        return Ok(unknown("its file does not say what it was trained on"));
    }
    let there: BTreeSet<&str> = corpus.clips.iter().map(|clip| clip.corpus.as_str()).collect();
    if there.is_disjoint(&trained_on) {
        let how = format!("its file, which names {}", join(trained_on));
        return Ok(Heard { speakers: Some(BTreeMap::new()), corpora, how });
    }
    let Ok(protocol) = origin.protocol.parse::<Protocol>() else {
        return Ok(unknown("its file names a split that this program does not know"));
    };
    // The sides of these are a matter of the data at hand: other data, other sides.
    let dealt = matches!(
        protocol,
        Protocol::BySpeaker { .. } | Protocol::SentenceAndSpeaker { .. } | Protocol::Manifest
    );
    let Ok(split) = protocol.sides(corpus) else {
        return Ok(unknown("the data at hand lack some of what its split takes apart"));
    };
    if dealt && split_hash(&split) != origin.split_hash {
        return Ok(unknown("it was trained on other data, whose speakers were dealt otherwise"));
    }
    let heard = split
        .iter()
        .filter(|(part, clip)| *part != Part::Test && trained_on.contains(clip.corpus.as_str()))
        .map(|(part, clip)| (clip.speaker.clone(), part));
    Ok(Heard {
        speakers: Some(heard.collect()),
        how: format!("its file, which names the split '{protocol}'"),
        corpora,
    })
}

/// Looks for speakers of these clips among those that a model heard. `part` says what the clips are meant to be: those of
/// a training part are not looked at, and those of a validation part may be of its validation speakers. The answer is a
/// sentence for the report.
///
/// # Errors
/// [`Error::Leak`] with the speaker.
pub fn check_speakers(heard: &Heard, part: Part, clips: &[Clip]) -> Result<String> {
    let Some(speakers) = &heard.speakers else {
        return Ok(format!("speakers heard in training: not known, because {}", heard.how));
    };
    if part == Part::Train {
        return Ok("speakers heard in training: these are the training clips, and no test".to_owned());
    }
    let allowed = |side: Part| part == Part::Validation && side == Part::Validation;
    for clip in clips {
        if let Some(side) = speakers.get(&clip.speaker).filter(|side| !allowed(**side)) {
            return Err(Error::Leak(format!(
                "speaker {} is evaluated ({}) and stands in the {side} part of the model's training, known from {}",
                clip.speaker, clip.id, heard.how
            )));
        }
    }
    let n: BTreeSet<&str> = clips.iter().map(|clip| clip.speaker.as_str()).collect();
    Ok(format!(
        "speakers heard in training: none of the {} evaluated is among the model's, known from {}",
        n.len(),
        heard.how
    ))
}

/// The clips of a corpus whose speakers stand in this part of a model's training.
///
/// # Errors
/// [`Error::Empty`] where they are not known, or none of them is there.
pub fn clips_of(heard: &Heard, part: Part, corpus: &Corpus) -> Result<Vec<Clip>> {
    let speakers = heard.speakers()?;
    let of_part =
        |clip: &&Clip| heard.corpora.contains(&clip.corpus) && speakers.get(&clip.speaker) == Some(&part);
    let clips: Vec<Clip> = corpus.clips.iter().filter(of_part).cloned().collect();
    if clips.is_empty() {
        return Err(Error::Empty(format!(
            "expected clips of the {part} part of the model's training, known from {}; there are none among the {} at hand",
            heard.how,
            corpus.clips.len()
        )));
    }
    Ok(clips)
}

/// The clips of a corpus whose speakers a model heard: those that evaluated ones can be compared with.
pub fn heard_clips(heard: &Heard, corpus: &Corpus) -> Vec<Clip> {
    let known =
        |clip: &&Clip| heard.speakers.as_ref().is_some_and(|speakers| speakers.contains_key(&clip.speaker));
    corpus.clips.iter().filter(known).cloned().collect()
}

/// Looks for files with the same bytes under two names, known faults of the corpora aside.
///
/// # Errors
/// [`Error::Leak`] with both files.
pub fn check_files(corpus: &Corpus) -> Result<()> {
    let copies = corpus.excluded.iter().filter_map(|exclusion| match &exclusion.reason {
        Reason::SameBytes(other) => Some((&exclusion.path, other)),
        _ => None,
    });
    let conflicts = corpus.faults.iter().filter_map(|fault| match &fault.kind {
        FaultKind::Conflict(other) => Some((&fault.path, other)),
        _ => None,
    });
    match copies.chain(conflicts).next() {
        Some((path, other)) => Err(same_audio(path, other)),
        None => Ok(()),
    }
}

/// Decodes these clips and looks for the same samples under two names, in whatever formats. The answer is a sentence for
/// the report. Copies that were resampled or compressed with loss are not found, and what was heard in training is
/// compared only if it is among these clips: [`compared`] says so.
///
/// # Errors
/// [`Error::Leak`] with both files.
pub fn check_audio(clips: &[Clip], progress: &(dyn Fn() + Sync)) -> Result<String> {
    let survey = survey(clips, progress);
    for fault in &survey.faults {
        if let FaultKind::SameAudio(other) = &fault.kind {
            return Err(same_audio(&fault.path, other));
        }
    }
    let n = survey.heard.iter().flatten().count();
    Ok(format!("identical audio under two names: none among the {n} decoded clips"))
}

/// Which recordings of the training the clips of a `part` were compared with: a sentence for the report. `at_hand` are
/// those of [`heard_clips`] that are not evaluated.
pub fn compared(heard: &Heard, part: Part, at_hand: &[Clip]) -> String {
    let what = "recordings of the training";
    if part == Part::Train {
        return format!("{what}: these are the training clips, compared with one another");
    }
    if at_hand.is_empty() {
        return format!("{what}: not at hand, so the clips that are evaluated were not compared with them");
    }
    let there: BTreeSet<&str> = at_hand.iter().map(|clip| clip.corpus.as_str()).collect();
    let absent = heard.corpora.iter().map(String::as_str).filter(|name| !there.contains(name));
    let absent = join(absent);
    let n = at_hand.len();
    match absent.is_empty() {
        true => format!("{what}: {n} clips of its speakers were compared with those that are evaluated"),
        false => format!(
            "{what}: {n} clips of its speakers were compared with those that are evaluated; those of {absent} were not at \
             hand and were not compared"
        ),
    }
}

fn same_audio(path: &Path, other: &Path) -> Error {
    let (path, other) = (path.display(), other.display());
    Error::Leak(format!("the same recording under two names: {path} and {other}; remove one of them"))
}

fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use intone::Emotion;

    use super::*;

    fn clip(corpus: &str, name: &str) -> Clip {
        Clip::bare(corpus, "anna", name, Emotion::Sad)
    }

    #[test]
    fn a_comparison_that_was_not_made_is_not_claimed() {
        let heard = Heard {
            speakers: Some(BTreeMap::from([("a/anna".to_owned(), Part::Train)])),
            corpora: ["a", "b"].map(str::to_owned).into(),
            how: "a test".to_owned(),
        };
        let corpus = Corpus { clips: vec![clip("a", "1"), clip("c", "2")], ..Corpus::default() };
        let at_hand = heard_clips(&heard, &corpus);
        assert_eq!(at_hand.len(), 1);
        for (part, at_hand, expected) in [
            (Part::Test, &[][..], "recordings of the training: not at hand, so the clips"),
            (
                Part::Test,
                &at_hand[..],
                "1 clips of its speakers were compared with those that are evaluated; those of b",
            ),
            (Part::Train, &[][..], "these are the training clips"),
        ] {
            let sentence = compared(&heard, part, at_hand);
            assert!(sentence.contains(expected), "{part}: {sentence}");
        }
        let all = Heard { corpora: ["a"].map(str::to_owned).into(), ..heard };
        assert!(compared(&all, Part::Test, &at_hand).ends_with("with those that are evaluated"));
    }
}
