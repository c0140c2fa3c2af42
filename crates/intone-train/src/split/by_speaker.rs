//! Cross-validation by speakers.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};

use super::{Part, Split};
use crate::corpus::{Clip, Sex};
use crate::error::{Error, Result};

/// `k` splits: in split `i`, the speakers of fold `i` are the test, those of the next fold the validation part, and
/// all others train.
///
/// Speakers are dealt to the folds group by group (corpus and sex), each group in the order of the SHA-256 of
/// `SEED:SPEAKER`. So the folds do not depend on the order of the clips or on a random generator's version, each fold
/// has its share of every corpus and sex, and fold sizes differ by one speaker at most.
///
/// # Errors
/// When `k` is below 3 or above the number of speakers.
pub fn by_speaker(clips: &[Clip], k: usize, seed: u64) -> Result<Vec<Split>> {
    let name = |fold: usize| format!("by-speaker/{k}/{fold}/{seed}");
    let refuse = |what| Error::Protocol { given: name(1), what };
    (1..=k.max(1))
        .map(|fold| {
            let side = one_fold(clips, k, fold, seed).map_err(refuse)?;
            Split::new(name(fold), clips.iter().cloned(), side)
        })
        .collect()
}

/// Where clips stand in fold `fold`, from 1, of [`by_speaker`]; nowhere, if their speaker is not among these. The error
/// is a sentence.
pub(super) fn one_fold<'a>(
    clips: impl IntoIterator<Item = &'a Clip>,
    k: usize,
    fold: usize,
    seed: u64,
) -> Result<impl FnMut(&Clip) -> Option<Part>, String> {
    if k < 3 {
        return Err(format!("expected at least 3 folds (training, validation, test), got {k}"));
    }
    if !(1..=k).contains(&fold) {
        return Err("there is no such fold".to_owned());
    }
    let test = fold - 1;
    let folds = owned(deal(clips, k, seed)?);
    Ok(move |clip: &Clip| {
        folds.get(&clip.speaker).map(|&fold| match fold {
            fold if fold == test => Part::Test,
            fold if fold == (test + 1) % k => Part::Validation,
            _ => Part::Train,
        })
    })
}

/// One split per speaker, in the order of their names: that speaker is the test, all others train. There is no
/// validation part; see [`Split::with_validation`].
///
/// # Errors
/// When there are fewer than two speakers.
pub fn leave_one_speaker_out(clips: &[Clip]) -> Result<impl Iterator<Item = Result<Split>>> {
    let mut speakers: Vec<String> = clips.iter().map(|clip| clip.speaker.clone()).collect();
    speakers.sort_unstable();
    speakers.dedup();
    if speakers.len() < 2 {
        let what = format!("expected at least 2 speakers, got {}", speakers.len());
        return Err(Error::Protocol { given: "loso".to_owned(), what });
    }
    Ok(speakers.into_iter().map(|speaker| one_speaker_out(clips, &speaker)))
}

/// The split in which one speaker is the test.
pub(super) fn one_speaker_out(clips: &[Clip], speaker: &str) -> Result<Split> {
    let given = format!("loso/{speaker}");
    if !clips.iter().any(|clip| clip.speaker == speaker) {
        return Err(Error::Protocol { given, what: "there is no such speaker among the data".to_owned() });
    }
    let side = |clip: &Clip| Some(if clip.speaker == speaker { Part::Test } else { Part::Train });
    Split::new(given, clips.iter().cloned(), side)
}

/// Where clips stand in fold `fold`, from 1, of `k` folds of speakers and of sentences: the speakers of the fold with the
/// sentences of the fold are the test; other speakers with other sentences train, those of the next fold are the
/// validation part; what shares one of both with the test is left out. The sentences of each corpus are dealt by
/// themselves, to `k` groups or as many as there are sentences. The error is a sentence.
pub(super) fn sentence_and_speaker(
    clips: &[Clip],
    k: usize,
    fold: usize,
    seed: u64,
) -> Result<impl FnMut(&Clip) -> Option<Part>, String> {
    let test = fold - 1;
    let speakers = owned(deal(clips, k, seed)?);
    let mut sentences: BTreeMap<&str, BTreeMap<[u8; 32], &str>> = BTreeMap::new();
    for clip in clips {
        if let Some(sentence) = &clip.sentence {
            let place = Sha256::digest(format!("{seed}:{}/{sentence}", clip.corpus)).into();
            sentences.entry(&clip.corpus).or_default().insert(place, sentence);
        }
    }
    let mut in_test: HashMap<(String, String), bool> = HashMap::new();
    for (corpus, sentences) in sentences.iter().filter(|(_, sentences)| sentences.len() > 1) {
        let n_groups = k.min(sentences.len());
        for (place, sentence) in sentences.values().enumerate() {
            let key = ((*corpus).to_owned(), (*sentence).to_owned());
            in_test.insert(key, place % n_groups == test % n_groups);
        }
    }
    if in_test.is_empty() {
        return Err("expected data whose sentences are known, two or more in a corpus".to_owned());
    }
    Ok(move |clip: &Clip| {
        let of_test = *in_test.get(&(clip.corpus.clone(), clip.sentence.clone()?))?;
        match (*speakers.get(&clip.speaker)?, of_test) {
            (fold, true) => (fold == test).then_some(Part::Test),
            (fold, false) if fold == test => None,
            (fold, false) if fold == (test + 1) % k => Some(Part::Validation),
            (_, false) => Some(Part::Train),
        }
    })
}

fn owned(folds: HashMap<&str, usize>) -> HashMap<String, usize> {
    folds.into_iter().map(|(speaker, fold)| (speaker.to_owned(), fold)).collect()
}

/// Deals the speakers to `k` folds. The error is a sentence.
pub(super) fn deal<'a>(
    clips: impl IntoIterator<Item = &'a Clip>,
    k: usize,
    seed: u64,
) -> Result<HashMap<&'a str, usize>, String> {
    /// The speakers of one group, by their hash.
    type Group<'a> = BTreeMap<[u8; 32], &'a str>;
    let mut groups: BTreeMap<(&str, Option<Sex>), Group<'_>> = BTreeMap::new();
    for clip in clips {
        let place: [u8; 32] = Sha256::digest(format!("{seed}:{}", clip.speaker)).into();
        groups.entry((&clip.corpus, clip.sex)).or_default().insert(place, &clip.speaker);
    }
    let speakers: Vec<&str> = groups.values().flat_map(BTreeMap::values).copied().collect();
    let mut folds = HashMap::new();
    for speaker in &speakers {
        let next = folds.len() % k.max(1);
        folds.entry(*speaker).or_insert(next);
    }
    if k < 2 || k > folds.len() {
        return Err(format!("expected 2 to {} folds (one speaker each), got {k}", folds.len()));
    }
    Ok(folds)
}
