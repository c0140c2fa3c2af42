//! Named ways to split.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::published::{
    AUDEERING_DEV, AUDEERING_TEST, AUDEERING_TRAIN, DEFAULT_CREMA_D_VALIDATION, DEFAULT_RAVDESS_TEST_FOLD,
    DEFAULT_RAVDESS_TRAIN_FOLDS, DEFAULT_RAVDESS_VALIDATION, EMOBOX_TEST, LUNA_JIMENEZ_TEST, TFDS_TEST,
    TFDS_TRAIN, TFDS_VALIDATION,
};
use super::{Part, Split, by_speaker};
use crate::corpus::{Clip, Corpus, crema_d, ravdess};
use crate::error::{Error, Result};

/// What is offered when a name is not known.
const CHOICES: &str = "default, final, audeering, tfds, emobox/1 to emobox/6, luna-jimenez/0 to luna-jimenez/4, \
                       by-speaker/K/FOLD[/SEED], nested/K/FOLD[/SEED], sentence-and-speaker/K/FOLD[/SEED], \
                       loso/SPEAKER, cross-corpus/TRAIN/TEST, all, manifest; for a cross-validation also emobox, \
                       luna-jimenez, by-speaker/K[/SEED], nested/K[/SEED], sentence-and-speaker/K[/SEED], loso, \
                       cross-corpus";

/// A named way to split a corpus. The text form is in the module's table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Protocol {
    /// The project's own, used for all numbers until told otherwise.
    ///
    /// | part | CREMA-D | RAVDESS |
    /// |---|---|---|
    /// | train | audEERING `train` (56 actors) | EmoBox folds 3 to 6 without actors 03 and 08 (14 actors) |
    /// | validation | 1049 1053 1054 1055 (female), 1059 1062 1064 1065 (male): of audEERING `dev`, the lowest numbers of each sex | 03, 08 |
    /// | test | the other ten of audEERING `dev`: 1058 1061 1063 1075 (female), 1066 1067 1068 1070 1080 1085 (male) | EmoBox fold 2: 04 10 12 14 |
    ///
    /// audEERING's `test` actors and EmoBox fold 1 stand on no side: they are kept for the acceptance of a finished
    /// model. Clips of other corpora are left out.
    #[default]
    Default,
    /// [`Protocol::Default`] for a last training, once everything has been chosen: its eight validation actors of CREMA-D train
    /// as well. The two of RAVDESS stay the validation part, too few to choose by; the test is the same.
    Final,
    /// CREMA-D as published by audEERING.
    Audeering,
    /// CREMA-D as in TensorFlow Datasets.
    Tfds,
    /// RAVDESS as in EmoBox.
    EmoBox {
        /// 1 to 6.
        fold: usize,
    },
    /// RAVDESS as in Luna-Jimenez et al.
    LunaJimenez {
        /// 0 to 4.
        fold: usize,
    },
    /// One fold of [`by_speaker`](super::by_speaker()).
    BySpeaker {
        /// Number of folds, at least 3.
        k: usize,
        /// 1 to `k`.
        fold: usize,
        /// Which of the many ways to deal the speakers.
        seed: u64,
    },
    /// One fold of the speakers that [`Protocol::Default`] trains on, dealt as in [`by_speaker`](super::by_speaker()): a
    /// cross-validation in which nobody hears its validation and test speakers.
    Nested {
        /// Number of folds, at least 3.
        k: usize,
        /// 1 to `k`.
        fold: usize,
        /// Which of the many ways to deal the speakers.
        seed: u64,
    },
    /// One speaker is the test, all others train.
    LeaveOneSpeakerOut {
        /// The speaker, with its corpus: `ravdess/07`.
        speaker: String,
    },
    /// One fold of speakers and of sentences: the clips of the test share neither with those of the training, and clips that
    /// would share one of them are left out.
    SentenceAndSpeaker {
        /// Number of folds, at least 3.
        k: usize,
        /// 1 to `k`.
        fold: usize,
        /// Which of the many ways to deal them.
        seed: u64,
    },
    /// Some corpora train, another is the test.
    CrossCorpus {
        /// The corpora that train, joined by `+`: `crema-d+ravdess`.
        train: String,
        /// The corpora that are the test, likewise.
        test: String,
    },
    /// Everything is the test: for a model that was trained on other data.
    All,
    /// The sides that a manifest or the folders give.
    Manifest,
}

impl Protocol {
    /// Splits a corpus to train on.
    ///
    /// # Errors
    /// When there is nothing to train on or a side that the protocol knows is empty (the data lack its speakers), or
    /// what [`Protocol::sides`] refuses.
    pub fn split(&self, corpus: &Corpus) -> Result<Split> {
        let split = self.sides(corpus)?;
        let needed: &[Part] = match self {
            Protocol::Default
            | Protocol::Final
            | Protocol::Audeering
            | Protocol::Tfds
            | Protocol::BySpeaker { .. }
            | Protocol::Nested { .. }
            | Protocol::SentenceAndSpeaker { .. } => &Part::ALL,
            Protocol::Manifest => &[Part::Train],
            _ => &[Part::Train, Part::Test],
        };
        self.needs(&split, needed, corpus)?;
        self.needs_training_corpora(corpus)?;
        for part in Part::ALL {
            let absent = self.absent_speakers(part, corpus);
            if !absent.is_empty() {
                let (n, names) = (absent.len(), absent.join(", "));
                log::warn!(
                    "split protocol '{self}': the data lack {n} of the speakers of its {part} part ({names})"
                );
            }
        }
        Ok(split)
    }

    /// Checks that every corpus that is to train is among the data.
    ///
    /// # Errors
    /// [`Error::Protocol`] with the one that is not.
    pub fn needs_training_corpora(&self, corpus: &Corpus) -> Result<()> {
        let Protocol::CrossCorpus { train, .. } = self else { return Ok(()) };
        let absent = train.split('+').find(|name| !corpus.clips.iter().any(|clip| clip.corpus == **name));
        absent.map_or(Ok(()), |name| {
            let what = format!("'{name}', which is to train, is not among the data");
            Err(Error::Protocol { given: self.to_string(), what })
        })
    }

    /// Splits a corpus to evaluate on one side, which alone must have clips.
    ///
    /// # Errors
    /// What [`Protocol::sides`] refuses; [`Error::Empty`] when the side has no clips, and unless `partial` is agreed to
    /// also when speakers of a published side are missing, with their names.
    pub fn split_for(&self, part: Part, corpus: &Corpus, partial: bool) -> Result<Split> {
        let split = self.sides(corpus)?;
        let absent = self.absent_speakers(part, corpus);
        if !absent.is_empty() && !partial {
            return Err(Error::Empty(format!(
                "split protocol '{self}': the data lack {} of the speakers of its {part} part ({}); --partial evaluates the \
                 others, and the figures are then not those of the protocol",
                absent.len(),
                absent.join(", ")
            )));
        }
        self.needs(&split, &[part], corpus)?;
        Ok(split)
    }

    /// Whether the sides are a matter of the data at hand: other data, other sides.
    pub(crate) fn is_dealt(&self) -> bool {
        matches!(
            self,
            Protocol::BySpeaker { .. }
                | Protocol::Nested { .. }
                | Protocol::SentenceAndSpeaker { .. }
                | Protocol::Manifest
        )
    }

    /// The speakers that a published partition puts on a side and that the data lack.
    pub fn absent_speakers(&self, part: Part, corpus: &Corpus) -> Vec<String> {
        let side: Side = match self {
            Protocol::Default => Box::new(default_side),
            Protocol::Final => Box::new(final_side),
            Protocol::Audeering => Box::new(audeering_side),
            Protocol::Tfds => Box::new(tfds_side),
            Protocol::EmoBox { fold } => {
                one_fold(fold.checked_sub(1).and_then(|at| EMOBOX_TEST.get(at)).copied())
            }
            Protocol::LunaJimenez { fold } => one_fold(LUNA_JIMENEZ_TEST.get(*fold).copied()),
            _ => return Vec::new(),
        };
        let there: HashSet<&str> = corpus.clips.iter().map(|clip| clip.speaker.as_str()).collect();
        let ravdess = (1..=24).map(|actor| (ravdess::NAME, actor, format!("{}/{actor:02}", ravdess::NAME)));
        let crema_d = (1001..=1091).map(|actor| (crema_d::NAME, actor, format!("{}/{actor}", crema_d::NAME)));
        ravdess
            .chain(crema_d)
            .filter(|(corpus, actor, name)| {
                side(corpus, *actor) == Some(part) && !there.contains(name.as_str())
            })
            .map(|(_, _, name)| name)
            .collect()
    }

    /// Says where every clip stands. Any side may be empty.
    ///
    /// # Errors
    /// What [`Split::new`] and [`by_speaker`](super::by_speaker()) refuse, and a corpus that is not among the data.
    pub fn sides(&self, corpus: &Corpus) -> Result<Split> {
        let clips = || corpus.clips.iter().cloned();
        let refuse = |what: String| Error::Protocol { given: self.to_string(), what };
        let by_table = |side: fn(&str, u16) -> Option<Part>| {
            Split::new(self.to_string(), clips(), |clip| side(&clip.corpus, actor(clip)?))
        };
        match self {
            Protocol::Default => by_table(default_side),
            Protocol::Final => by_table(final_side),
            Protocol::Audeering => by_table(audeering_side),
            Protocol::Tfds => by_table(tfds_side),
            Protocol::EmoBox { fold } => {
                self.fold_of(fold.checked_sub(1).and_then(|at| EMOBOX_TEST.get(at)), corpus)
            }
            Protocol::LunaJimenez { fold } => self.fold_of(LUNA_JIMENEZ_TEST.get(*fold), corpus),
            Protocol::BySpeaker { k, fold, seed } => {
                let side = by_speaker::one_fold(&corpus.clips, *k, *fold, *seed).map_err(refuse)?;
                Split::new(self.to_string(), clips(), side)
            }
            Protocol::Nested { k, fold, seed } => {
                let trains = |clip: &&Clip| {
                    actor(clip).and_then(|a| default_side(&clip.corpus, a)) == Some(Part::Train)
                };
                let heard = corpus.clips.iter().filter(trains);
                let side = by_speaker::one_fold(heard, *k, *fold, *seed).map_err(refuse)?;
                Split::new(self.to_string(), clips(), side)
            }
            Protocol::SentenceAndSpeaker { k, fold, seed } => {
                if !(1..=*k).contains(fold) || *k < 3 {
                    return Err(self.no_fold());
                }
                let side =
                    by_speaker::sentence_and_speaker(&corpus.clips, *k, *fold, *seed).map_err(refuse)?;
                Split::new(self.to_string(), clips(), side)
            }
            Protocol::LeaveOneSpeakerOut { speaker } => by_speaker::one_speaker_out(&corpus.clips, speaker),
            Protocol::CrossCorpus { train, test } => self.cross_corpus(train, test, corpus),
            Protocol::All => Split::new(self.to_string(), clips(), |_| Some(Part::Test)),
            Protocol::Manifest => Split::new(self.to_string(), clips(), |clip| clip.part),
        }
    }

    fn needs(&self, split: &Split, parts: &[Part], corpus: &Corpus) -> Result<()> {
        match parts.iter().find(|&&part| split.part(part).is_empty()) {
            Some(part) => Err(Error::Empty(format!(
                "split protocol '{self}': no clips in the {part} part; the data have {} clips, and {} of them are of \
                 speakers that this protocol does not know",
                corpus.clips.len(),
                split.left_out().len()
            ))),
            None => Ok(()),
        }
    }

    fn cross_corpus(&self, train: &str, test: &str, corpus: &Corpus) -> Result<Split> {
        let [train, test]: [Vec<&str>; 2] = [train, test].map(|names| names.split('+').collect());
        let there: BTreeSet<&str> = corpus.clips.iter().map(|clip| clip.corpus.as_str()).collect();
        let refuse = |what: String| Err(Error::Protocol { given: self.to_string(), what });
        if let Some(both) = train.iter().find(|name| test.contains(name)) {
            return refuse(format!("'{both}' cannot both train and be the test"));
        }
        if let Some(absent) = test.iter().find(|name| !there.contains(*name)) {
            let there = there.into_iter().collect::<Vec<_>>().join(", ");
            return refuse(format!("expected one of the data's corpora ({there}), got '{absent}'"));
        }
        Split::new(self.to_string(), corpus.clips.iter().cloned(), |clip| {
            let name = clip.corpus.as_str();
            if train.contains(&name) { Some(Part::Train) } else { test.contains(&name).then_some(Part::Test) }
        })
    }

    fn no_fold(&self) -> Error {
        Error::Protocol { given: self.to_string(), what: "there is no such fold".to_owned() }
    }

    fn fold_of(&self, test: Option<&&'static [u16]>, corpus: &Corpus) -> Result<Split> {
        let side = one_fold(Some(test.ok_or_else(|| self.no_fold())?));
        Split::new(self.to_string(), corpus.clips.iter().cloned(), |clip| side(&clip.corpus, actor(clip)?))
    }
}

/// Where an actor of a corpus stands.
type Side = Box<dyn Fn(&str, u16) -> Option<Part>>;

/// The number of an actor of a published corpus: 1001 of `crema-d/1001`.
fn actor(clip: &Clip) -> Option<u16> {
    clip.speaker.strip_prefix(&clip.corpus)?.strip_prefix('/')?.parse().ok()
}

/// RAVDESS alone: these actors are the test, the others train.
fn one_fold(test: Option<&'static [u16]>) -> Side {
    Box::new(move |corpus, actor| {
        let test = test.filter(|_| corpus == ravdess::NAME)?;
        Some(if test.contains(&actor) { Part::Test } else { Part::Train })
    })
}

fn default_side(corpus: &str, actor: u16) -> Option<Part> {
    match corpus {
        ravdess::NAME if DEFAULT_RAVDESS_VALIDATION.contains(&actor) => Some(Part::Validation),
        ravdess::NAME => match EMOBOX_TEST.iter().position(|fold| fold.contains(&actor))? + 1 {
            DEFAULT_RAVDESS_TEST_FOLD => Some(Part::Test),
            fold => DEFAULT_RAVDESS_TRAIN_FOLDS.contains(&fold).then_some(Part::Train),
        },
        crema_d::NAME if AUDEERING_TRAIN.contains(&actor) => Some(Part::Train),
        crema_d::NAME if DEFAULT_CREMA_D_VALIDATION.contains(&actor) => Some(Part::Validation),
        crema_d::NAME if AUDEERING_DEV.contains(&actor) => Some(Part::Test),
        _ => None,
    }
}

fn final_side(corpus: &str, actor: u16) -> Option<Part> {
    match default_side(corpus, actor)? {
        Part::Validation if corpus == crema_d::NAME => Some(Part::Train),
        part => Some(part),
    }
}

fn audeering_side(corpus: &str, actor: u16) -> Option<Part> {
    three_parts(corpus, actor, [&AUDEERING_TRAIN, &AUDEERING_DEV, &AUDEERING_TEST])
}

fn tfds_side(corpus: &str, actor: u16) -> Option<Part> {
    three_parts(corpus, actor, [&TFDS_TRAIN, &TFDS_VALIDATION, &TFDS_TEST])
}

fn three_parts(corpus: &str, actor: u16, parts: [&[u16]; 3]) -> Option<Part> {
    let of_actor = |(part, actors): (Part, &[u16])| actors.contains(&actor).then_some(part);
    (corpus == crema_d::NAME).then(|| Part::ALL.into_iter().zip(parts).find_map(of_actor))?
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Protocol::Default => f.write_str("default"),
            Protocol::Final => f.write_str("final"),
            Protocol::Audeering => f.write_str("audeering"),
            Protocol::Tfds => f.write_str("tfds"),
            Protocol::EmoBox { fold } => write!(f, "emobox/{fold}"),
            Protocol::LunaJimenez { fold } => write!(f, "luna-jimenez/{fold}"),
            Protocol::BySpeaker { k, fold, seed } => write!(f, "by-speaker/{k}/{fold}/{seed}"),
            Protocol::Nested { k, fold, seed } => write!(f, "nested/{k}/{fold}/{seed}"),
            Protocol::SentenceAndSpeaker { k, fold, seed } => {
                write!(f, "sentence-and-speaker/{k}/{fold}/{seed}")
            }
            Protocol::LeaveOneSpeakerOut { speaker } => write!(f, "loso/{speaker}"),
            Protocol::CrossCorpus { train, test } => write!(f, "cross-corpus/{train}/{test}"),
            Protocol::All => f.write_str("all"),
            Protocol::Manifest => f.write_str("manifest"),
        }
    }
}

impl std::str::FromStr for Protocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Protocol> {
        let refuse = |what: String| Error::Protocol { given: text.to_owned(), what };
        let (name, arguments) = text.split_once('/').unwrap_or((text, ""));
        let name = name.replace('_', "-");
        let number = |argument: &str, min: usize, max: usize| {
            let number = argument.parse().ok().filter(|number| (min..=max).contains(number));
            number.ok_or_else(|| refuse(format!("fold: expected {min} to {max}, got '{argument}'")))
        };
        let protocol = match name.as_str() {
            "default" => Protocol::Default,
            "final" => Protocol::Final,
            "audeering" => Protocol::Audeering,
            "tfds" => Protocol::Tfds,
            "all" => Protocol::All,
            "manifest" => Protocol::Manifest,
            "emobox" => return Ok(Protocol::EmoBox { fold: number(arguments, 1, EMOBOX_TEST.len())? }),
            "luna-jimenez" => {
                return Ok(Protocol::LunaJimenez {
                    fold: number(arguments, 0, LUNA_JIMENEZ_TEST.len() - 1)?,
                });
            }
            "by-speaker" => {
                let (k, fold, seed) = fold_from(&name, arguments).map_err(refuse)?;
                return Ok(Protocol::BySpeaker { k, fold, seed });
            }
            "nested" => {
                let (k, fold, seed) = fold_from(&name, arguments).map_err(refuse)?;
                return Ok(Protocol::Nested { k, fold, seed });
            }
            "sentence-and-speaker" => {
                let (k, fold, seed) = fold_from(&name, arguments).map_err(refuse)?;
                return Ok(Protocol::SentenceAndSpeaker { k, fold, seed });
            }
            "cross-corpus" => {
                let (train, test) = arguments.split_once('/').unwrap_or_default();
                if train.is_empty() || test.is_empty() || test.contains('/') {
                    return Err(refuse("expected cross-corpus/TRAIN/TEST".to_owned()));
                }
                return Ok(Protocol::CrossCorpus { train: train.to_owned(), test: test.to_owned() });
            }
            "loso" if !arguments.is_empty() => {
                return Ok(Protocol::LeaveOneSpeakerOut { speaker: arguments.to_owned() });
            }
            _ => return Err(refuse(format!("expected one of {CHOICES}"))),
        };
        if text.contains('/') {
            return Err(refuse(format!("'{name}' has no folds")));
        }
        Ok(protocol)
    }
}

/// Reads `K/FOLD[/SEED]`.
fn fold_from(name: &str, arguments: &str) -> Result<(usize, usize, u64), String> {
    let fields: Vec<&str> = arguments.split('/').collect();
    let (k, fold, seed) = match *fields {
        [k, fold] => (k, fold, "0"),
        [k, fold, seed] => (k, fold, seed),
        _ => return Err(format!("expected {name}/K/FOLD or {name}/K/FOLD/SEED")),
    };
    let k = k.parse().ok().filter(|&k| k >= 3).ok_or_else(|| format!("K: expected 3 or more, got '{k}'"))?;
    let in_range = fold.parse().ok().filter(|fold| (1..=k).contains(fold));
    let fold = in_range.ok_or_else(|| format!("FOLD: expected 1 to {k}, got '{fold}'"))?;
    let seed = seed.parse().map_err(|_| format!("SEED: expected a whole number, got '{seed}'"))?;
    Ok((k, fold, seed))
}

impl TryFrom<String> for Protocol {
    type Error = Error;

    fn try_from(text: String) -> Result<Protocol> {
        text.parse()
    }
}

impl From<Protocol> for String {
    fn from(protocol: Protocol) -> String {
        protocol.to_string()
    }
}
