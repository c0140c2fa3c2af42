//! Families of splits: all folds of one protocol, for a cross-validation.
//!
//! | text | folds |
//! |---|---|
//! | `emobox` | the six of EmoBox |
//! | `luna-jimenez` | the five of Luna-Jimenez et al. |
//! | `by-speaker/K[/SEED]` | K folds of speakers, dealt by corpus and sex |
//! | `nested/K[/SEED]` | the same of the speakers that `default` trains on |
//! | `sentence-and-speaker/K[/SEED]` | as `by-speaker`, and the sentences of the test are not heard in training either |
//! | `loso` | one for each speaker |
//! | `cross-corpus` | one for each corpus: train on all others, test on it |
//! | any [`Protocol`] | that one |

use std::collections::BTreeSet;

use super::Protocol;
use super::published::{EMOBOX_TEST, LUNA_JIMENEZ_TEST};
use crate::corpus::Corpus;
use crate::error::{Error, Result};

/// All folds of one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// RAVDESS as in EmoBox.
    EmoBox,
    /// RAVDESS as in Luna-Jimenez et al.
    LunaJimenez,
    /// Folds of speakers.
    BySpeaker {
        /// Number of folds, at least 3.
        k: usize,
        /// Which of the many ways to deal the speakers.
        seed: u64,
    },
    /// Folds of the speakers that the default protocol trains on.
    Nested {
        /// Number of folds, at least 3.
        k: usize,
        /// Which of the many ways to deal the speakers.
        seed: u64,
    },
    /// Folds of speakers and sentences.
    SentenceAndSpeaker {
        /// Number of folds, at least 3.
        k: usize,
        /// Which of the many ways to deal them.
        seed: u64,
    },
    /// Each speaker in turn.
    LeaveOneSpeakerOut,
    /// Each corpus in turn, after training on all others.
    CrossCorpus,
    /// A protocol that has no folds, or one fold of one that has.
    One(Protocol),
}

impl Family {
    /// The folds, in their order.
    ///
    /// # Errors
    /// [`Error::Protocol`] where the data have fewer than two speakers or corpora to take apart.
    pub fn folds(&self, corpus: &Corpus) -> Result<Vec<Protocol>> {
        let distinct = |name: fn(&crate::corpus::Clip) -> &str| -> Result<Vec<String>> {
            let names: BTreeSet<&str> = corpus.clips.iter().map(name).collect();
            match names.len() {
                0 | 1 => {
                    let there = names.into_iter().next().unwrap_or("nothing");
                    let what = format!("expected two or more to take apart, got {there}");
                    Err(Error::Protocol { given: self.to_string(), what })
                }
                _ => Ok(names.into_iter().map(str::to_owned).collect()),
            }
        };
        Ok(match self {
            Family::EmoBox => (1..=EMOBOX_TEST.len()).map(|fold| Protocol::EmoBox { fold }).collect(),
            Family::LunaJimenez => {
                (0..LUNA_JIMENEZ_TEST.len()).map(|fold| Protocol::LunaJimenez { fold }).collect()
            }
            Family::BySpeaker { k, seed } => {
                (1..=*k).map(|fold| Protocol::BySpeaker { k: *k, fold, seed: *seed }).collect()
            }
            Family::Nested { k, seed } => {
                (1..=*k).map(|fold| Protocol::Nested { k: *k, fold, seed: *seed }).collect()
            }
            Family::SentenceAndSpeaker { k, seed } => {
                (1..=*k).map(|fold| Protocol::SentenceAndSpeaker { k: *k, fold, seed: *seed }).collect()
            }
            Family::LeaveOneSpeakerOut => {
                let speakers = distinct(|clip| &clip.speaker)?;
                speakers.into_iter().map(|speaker| Protocol::LeaveOneSpeakerOut { speaker }).collect()
            }
            Family::CrossCorpus => {
                let corpora = distinct(|clip| &clip.corpus)?;
                let others = |test: &String| {
                    let others: Vec<&str> =
                        corpora.iter().filter(|name| *name != test).map(String::as_str).collect();
                    others.join("+")
                };
                corpora
                    .iter()
                    .map(|test| Protocol::CrossCorpus { train: others(test), test: test.clone() })
                    .collect()
            }
            Family::One(protocol) => vec![protocol.clone()],
        })
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Family::EmoBox => f.write_str("emobox"),
            Family::LunaJimenez => f.write_str("luna-jimenez"),
            Family::BySpeaker { k, seed } => write!(f, "by-speaker/{k}/{seed}"),
            Family::Nested { k, seed } => write!(f, "nested/{k}/{seed}"),
            Family::SentenceAndSpeaker { k, seed } => write!(f, "sentence-and-speaker/{k}/{seed}"),
            Family::LeaveOneSpeakerOut => f.write_str("loso"),
            Family::CrossCorpus => f.write_str("cross-corpus"),
            Family::One(protocol) => protocol.fmt(f),
        }
    }
}

impl std::str::FromStr for Family {
    type Err = Error;

    /// `by_speaker/5` is `by-speaker/5`, with the seed 0.
    fn from_str(text: &str) -> Result<Family> {
        let plain = text.replace('_', "-");
        let fields: Vec<&str> = plain.split('/').collect();
        Ok(match *fields {
            ["emobox"] => Family::EmoBox,
            ["luna-jimenez"] => Family::LunaJimenez,
            ["loso"] => Family::LeaveOneSpeakerOut,
            ["cross-corpus"] => Family::CrossCorpus,
            [name @ ("by-speaker" | "nested" | "sentence-and-speaker"), k, ref seed @ ..]
                if seed.len() < 2 =>
            {
                let refuse = |what: String| Error::Protocol { given: text.to_owned(), what };
                let (k, seed) = (k.parse().ok(), seed.first().map_or(Ok(0), |seed| seed.parse::<u64>()));
                let k = k.filter(|k| *k >= 3).ok_or_else(|| refuse("K: expected 3 or more".to_owned()))?;
                let seed = seed.map_err(|_| refuse("SEED: expected a whole number".to_owned()))?;
                match name {
                    "by-speaker" => Family::BySpeaker { k, seed },
                    "nested" => Family::Nested { k, seed },
                    _ => Family::SentenceAndSpeaker { k, seed },
                }
            }
            _ => Family::One(text.parse()?),
        })
    }
}
