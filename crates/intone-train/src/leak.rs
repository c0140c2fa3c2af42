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

/// How many recordings that could not be decoded are named.
const MAX_NAMED: usize = 5;

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

/// What a model heard: from the `split.csv` beside it, which a training leaves, and from the protocol that its file names. Both have
/// a say, because the table beside a model may be that of another.
///
/// # Errors
/// A `split.csv` that cannot be read.
pub fn heard(origin: &Provenance, split_file: Option<&Path>, corpus: &Corpus) -> Result<Heard> {
    let by_protocol = heard_by_protocol(origin, corpus);
    let Some(path) = split_file else { return Ok(by_protocol) };
    let mut rows = read_csv(path)?;
    rows.retain(|row| row.split != Part::Test);
    let mut corpora: BTreeSet<String> = rows.iter().map(|row| row.corpus.clone()).collect();
    let mut speakers: BTreeMap<String, Part> = rows.into_iter().map(|row| (row.speaker, row.split)).collect();
    let n_in_table = speakers.len();
    corpora.extend(by_protocol.corpora);
    for (speaker, part) in by_protocol.speakers.into_iter().flatten() {
        speakers.entry(speaker).or_insert(part);
    }
    let how = match speakers.len() == n_in_table {
        true => "the split.csv of its training".to_owned(),
        false => format!("the split.csv beside it and {}", by_protocol.how),
    };
    Ok(Heard { speakers: Some(speakers), corpora, how })
}

/// What a model heard, by the protocol that its file names.
fn heard_by_protocol(origin: &Provenance, corpus: &Corpus) -> Heard {
    let trained_on: BTreeSet<&str> = origin.corpora.iter().map(|corpus| corpus.name.as_str()).collect();
    let corpora: BTreeSet<String> = trained_on.iter().map(|&name| name.to_owned()).collect();
    let unknown = |how: &str| Heard { speakers: None, corpora: corpora.clone(), how: how.to_owned() };
    if trained_on.is_empty() || origin.protocol.is_empty() {
        return unknown("its file does not say what it was trained on");
    }
    let there: BTreeSet<&str> = corpus.clips.iter().map(|clip| clip.corpus.as_str()).collect();
    if there.is_disjoint(&trained_on) {
        let how = format!("its file, which names {}", join(trained_on));
        return Heard { speakers: Some(BTreeMap::new()), corpora, how };
    }
    let Ok(protocol) = origin.protocol.parse::<Protocol>() else {
        return unknown("its file names a split that this program does not know");
    };
    let of_training = |clip: &&Clip| trained_on.contains(clip.corpus.as_str());
    let heard: BTreeMap<String, Part> = match &protocol {
        // Whom these train on is known without the speaker or the corpus that they test on.
        Protocol::LeaveOneSpeakerOut { speaker } => corpus
            .clips
            .iter()
            .filter(|clip| of_training(clip) && clip.speaker != *speaker)
            .map(|clip| (clip.speaker.clone(), Part::Train))
            .collect(),
        Protocol::CrossCorpus { .. } => {
            corpus.clips.iter().filter(of_training).map(|clip| (clip.speaker.clone(), Part::Train)).collect()
        }
        _ => {
            let Ok(split) = protocol.sides(corpus) else {
                return unknown("the data at hand lack some of what its split takes apart");
            };
            if protocol.is_dealt() && split_hash(&split) != origin.split_hash {
                return unknown("it was trained on other data, whose speakers were dealt otherwise");
            }
            let heard = split.iter().filter(|(part, clip)| *part != Part::Test && of_training(clip));
            heard.map(|(part, clip)| (clip.speaker.clone(), part)).collect()
        }
    };
    Heard { speakers: Some(heard), how: format!("its file, which names the split '{protocol}'"), corpora }
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

/// What a comparison of recordings came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioCheck {
    /// A sentence for the report.
    pub sentence: String,
    /// The clips that could not be decoded, and so were not compared.
    pub unreadable: BTreeSet<String>,
}

/// Decodes these clips and looks for the same samples under two names, in whatever formats. Copies that were resampled or
/// compressed with loss are not found, and what was heard in training is compared only if it is among these clips:
/// [`compared`] says so.
///
/// # Errors
/// [`Error::Leak`] with both files.
pub fn check_audio(clips: &[Clip], progress: &(dyn Fn() + Sync)) -> Result<AudioCheck> {
    let survey = survey(clips, progress);
    for fault in &survey.faults {
        if let FaultKind::SameAudio(other) = &fault.kind {
            return Err(same_audio(&fault.path, other));
        }
    }
    let pairs = clips.iter().zip(&survey.heard);
    let unreadable: BTreeSet<String> =
        pairs.filter(|(_, heard)| heard.is_none()).map(|(clip, _)| clip.id.clone()).collect();
    let n = clips.len() - unreadable.len();
    let sentence = format!("identical audio under two names: none among the {n} decoded clips");
    Ok(AudioCheck { sentence, unreadable })
}

/// Which recordings of the training the clips of a `part` were compared with: a sentence for the report. `at_hand` are
/// those of [`heard_clips`] that are not evaluated, `unreadable` the clips that could not be decoded.
pub fn compared(heard: &Heard, part: Part, at_hand: &[Clip], unreadable: &BTreeSet<String>) -> String {
    let what = "recordings of the training";
    if part == Part::Train {
        return format!("{what}: these are the training clips, compared with one another");
    }
    let (failed, at_hand): (Vec<&Clip>, Vec<&Clip>) =
        at_hand.iter().partition(|clip| unreadable.contains(&clip.id));
    let mut sentence = if at_hand.is_empty() {
        format!("{what}: not at hand, so the clips that are evaluated were not compared with them")
    } else {
        let n = at_hand.len();
        format!("{what}: {n} clips of its speakers were compared with those that are evaluated")
    };
    let there: BTreeSet<&str> = at_hand.iter().map(|clip| clip.corpus.as_str()).collect();
    let absent = join(heard.corpora.iter().map(String::as_str).filter(|name| !there.contains(name)));
    if !at_hand.is_empty() && !absent.is_empty() {
        sentence += &format!("; those of {absent} were not at hand and were not compared");
    }
    if !failed.is_empty() {
        let named = join(failed.iter().map(|clip| clip.id.as_str()).take(MAX_NAMED));
        let more = if failed.len() > MAX_NAMED { ", ..." } else { "" };
        sentence += &format!("; {} could not be decoded and were not compared ({named}{more})", failed.len());
    }
    sentence
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
    use sha2::{Digest, Sha256};

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
            let sentence = compared(&heard, part, at_hand, &BTreeSet::new());
            assert!(sentence.contains(expected), "{part}: {sentence}");
        }
        let all = Heard { corpora: ["a"].map(str::to_owned).into(), ..heard };
        let none = BTreeSet::new();
        assert!(compared(&all, Part::Test, &at_hand, &none).ends_with("with those that are evaluated"));
    }

    #[test]
    fn what_cannot_be_decoded_is_not_said_to_have_been_compared() {
        let clips: Vec<Clip> = (0..7).map(|number| clip("a", &format!("missing-{number}.wav"))).collect();
        let check = check_audio(&clips, &|| ()).unwrap();
        assert_eq!(check.unreadable.len(), 7);
        assert!(check.sentence.ends_with("none among the 0 decoded clips"), "{}", check.sentence);
        let heard = Heard { corpora: ["a".to_owned()].into(), ..Heard::default() };
        let unreadable = BTreeSet::from(["a/missing-3.wav".to_owned()]);
        let sentence = compared(&heard, Part::Test, &clips, &unreadable);
        assert!(
            sentence.contains(": 6 clips of its speakers were compared")
                && sentence.ends_with("; 1 could not be decoded and were not compared (a/missing-3.wav)"),
            "{sentence}"
        );
        let sentence = compared(&heard, Part::Test, &clips, &check.unreadable);
        let expected = "; 7 could not be decoded and were not compared (a/missing-0.wav, ";
        assert!(sentence.contains("not at hand") && sentence.contains(expected), "{sentence}");
        assert!(sentence.ends_with(", ...)"), "{sentence}");
    }

    /// Speakers of two corpora, two clips each.
    fn two_corpora() -> Corpus {
        let speakers = |corpus: &'static str| (0..9).map(move |n| (corpus, format!("s{n}")));
        let clips = speakers("a").chain(speakers("b")).flat_map(|(corpus, speaker)| {
            [Emotion::Sad, Emotion::Happy].map(|emotion| {
                let name = format!("{speaker}-{emotion}");
                Clip {
                    sha256: Sha256::digest(format!("{corpus}/{name}")).into(),
                    ..Clip::bare(corpus, &speaker, &name, emotion)
                }
            })
        });
        Corpus { clips: clips.collect(), ..Corpus::default() }
    }

    fn origin(protocol: &str, corpora: &[&str], corpus: &Corpus) -> Provenance {
        let split = protocol.parse::<Protocol>().unwrap().sides(corpus).unwrap();
        let corpora = corpora
            .iter()
            .map(|name| intone::model::CorpusInfo { name: (*name).to_owned(), ..Default::default() });
        Provenance {
            protocol: protocol.to_owned(),
            split_hash: split_hash(&split),
            corpora: corpora.collect(),
            ..Provenance::default()
        }
    }

    /// The same without some clips.
    fn without(corpus: &Corpus, gone: impl Fn(&Clip) -> bool) -> Corpus {
        Corpus {
            clips: corpus.clips.iter().filter(|clip| !gone(clip)).cloned().collect(),
            ..Corpus::default()
        }
    }

    #[test]
    fn whom_a_model_heard_is_known_also_where_its_test_side_is_not_at_hand() {
        let both = two_corpora();
        for (protocol, trained_on, gone) in
            [("loso/b/s3", &["a", "b"][..], "b/s3"), ("cross-corpus/a/b", &["a"][..], "b/")]
        {
            let origin = origin(protocol, trained_on, &both);
            let rest = without(&both, |clip| clip.speaker.starts_with(gone));
            for corpus in [&both, &rest] {
                let heard = heard(&origin, None, corpus).unwrap();
                let known = heard.speakers().unwrap();
                assert!(known.contains_key("a/s0") && !known.contains_key("b/s3"), "{protocol}: {heard:?}");
                let error = check_speakers(&heard, Part::Test, &rest.clips).unwrap_err().to_string();
                assert!(error.contains("speaker a/s0 is evaluated"), "{protocol}: {error}");
            }
        }
    }

    #[test]
    fn sides_that_the_data_dealt_are_not_believed_of_other_data() {
        let both = two_corpora();
        let one = without(&both, |clip| clip.corpus == "b");
        for protocol in ["by-speaker/3/1/0", "by-speaker/4/2/7"] {
            let origin = origin(protocol, &["a", "b"], &both);
            let error = heard(&origin, None, &one).unwrap().speakers().unwrap_err().to_string();
            assert!(error.contains("dealt otherwise"), "{protocol}: {error}");
        }
        assert!("nested/3/1/0".parse::<Protocol>().unwrap().is_dealt());
        assert!(!Protocol::Default.is_dealt());
    }

    #[test]
    fn a_table_that_is_not_of_the_models_training_does_not_hide_what_the_model_says() {
        let corpus = two_corpora();
        let origin = origin("loso/b/s3", &["a", "b"], &corpus);
        let split = Protocol::LeaveOneSpeakerOut { speaker: "b/s3".to_owned() }.sides(&corpus).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("split.csv");
        crate::split::write_csv(&split, &path).unwrap();
        let its = heard(&origin, Some(&path), &corpus).unwrap();
        assert_eq!(its.how, "the split.csv of its training");
        assert_eq!(its.speakers().unwrap().len(), 17);

        // Two that name a single speaker.
        for speaker in ["b/s3", "a/s0"] {
            let text = format!("clip,corpus,speaker,split\nx,x,{speaker},train\n");
            std::fs::write(&path, text).unwrap();
            let heard = heard(&origin, Some(&path), &corpus).unwrap();
            assert_eq!(heard.speakers().unwrap().len(), if speaker == "b/s3" { 18 } else { 17 }, "{heard:?}");
            assert!(heard.how.starts_with("the split.csv beside it and its file"), "{}", heard.how);
        }
    }
}
