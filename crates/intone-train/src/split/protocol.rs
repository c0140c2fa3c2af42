//! Named ways to split.

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
const CHOICES: &str = "default, audeering, tfds, emobox/1 to emobox/6, luna-jimenez/0 to luna-jimenez/4, \
                       by-speaker/K/FOLD[/SEED], loso/SPEAKER, manifest";

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
    /// One speaker is the test, all others train.
    LeaveOneSpeakerOut {
        /// The speaker, with its corpus: `ravdess/07`.
        speaker: String,
    },
    /// The sides that a manifest or the folders give.
    Manifest,
}

impl Protocol {
    /// Splits a corpus.
    ///
    /// # Errors
    /// When there is nothing to train on or a side that the protocol knows is empty (the data lack its speakers), or
    /// what [`Split::new`] and [`by_speaker`](super::by_speaker()) refuse.
    pub fn split(&self, corpus: &Corpus) -> Result<Split> {
        let clips = || corpus.clips.iter().cloned();
        let by_table = |side: fn(&str, u16) -> Option<Part>| {
            Split::new(self.to_string(), clips(), |clip| side(&clip.corpus, actor(clip)?))
        };
        let split = match self {
            Protocol::Default => by_table(default_side)?,
            Protocol::Audeering => by_table(audeering_side)?,
            Protocol::Tfds => by_table(tfds_side)?,
            Protocol::EmoBox { fold } => {
                self.fold_of(fold.checked_sub(1).and_then(|at| EMOBOX_TEST.get(at)), corpus)?
            }
            Protocol::LunaJimenez { fold } => self.fold_of(LUNA_JIMENEZ_TEST.get(*fold), corpus)?,
            Protocol::BySpeaker { k, fold, seed } => {
                let splits = by_speaker::by_speaker(&corpus.clips, *k, *seed)?;
                let mut from_fold =
                    splits.into_iter().skip(fold.checked_sub(1).ok_or_else(|| self.no_fold())?);
                from_fold.next().ok_or_else(|| self.no_fold())?
            }
            Protocol::LeaveOneSpeakerOut { speaker } => by_speaker::one_speaker_out(&corpus.clips, speaker)?,
            Protocol::Manifest => Split::new(self.to_string(), clips(), |clip| clip.part)?,
        };
        let needed: &[Part] = match self {
            Protocol::Default | Protocol::Audeering | Protocol::Tfds | Protocol::BySpeaker { .. } => {
                &Part::ALL
            }
            Protocol::Manifest => &[Part::Train],
            _ => &[Part::Train, Part::Test],
        };
        match needed.iter().find(|&&part| split.part(part).is_empty()) {
            Some(part) => Err(Error::Empty(format!(
                "split protocol '{self}': no clips in the {part} part; the data have {} clips, and {} of them are of \
                 speakers that this protocol does not know",
                corpus.clips.len(),
                split.left_out().len()
            ))),
            None => Ok(split),
        }
    }

    fn no_fold(&self) -> Error {
        Error::Protocol { given: self.to_string(), what: "there is no such fold".to_owned() }
    }

    /// RAVDESS alone: these actors are the test, the others train.
    fn fold_of(&self, test: Option<&&[u16]>, corpus: &Corpus) -> Result<Split> {
        let test = test.ok_or_else(|| self.no_fold())?;
        Split::new(self.to_string(), corpus.clips.iter().cloned(), |clip| {
            let actor = actor(clip).filter(|_| clip.corpus == ravdess::NAME)?;
            Some(if test.contains(&actor) { Part::Test } else { Part::Train })
        })
    }
}

/// The number of an actor of a published corpus: 1001 of `crema-d/1001`.
fn actor(clip: &Clip) -> Option<u16> {
    clip.speaker.strip_prefix(&clip.corpus)?.strip_prefix('/')?.parse().ok()
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
            Protocol::Audeering => f.write_str("audeering"),
            Protocol::Tfds => f.write_str("tfds"),
            Protocol::EmoBox { fold } => write!(f, "emobox/{fold}"),
            Protocol::LunaJimenez { fold } => write!(f, "luna-jimenez/{fold}"),
            Protocol::BySpeaker { k, fold, seed } => write!(f, "by-speaker/{k}/{fold}/{seed}"),
            Protocol::LeaveOneSpeakerOut { speaker } => write!(f, "loso/{speaker}"),
            Protocol::Manifest => f.write_str("manifest"),
        }
    }
}

impl std::str::FromStr for Protocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Protocol> {
        let refuse = |what: String| Error::Protocol { given: text.to_owned(), what };
        let (name, arguments) = text.split_once('/').unwrap_or((text, ""));
        let number = |argument: &str, min: usize, max: usize| {
            let number = argument.parse().ok().filter(|number| (min..=max).contains(number));
            number.ok_or_else(|| refuse(format!("fold: expected {min} to {max}, got '{argument}'")))
        };
        let protocol = match name {
            "default" => Protocol::Default,
            "audeering" => Protocol::Audeering,
            "tfds" => Protocol::Tfds,
            "manifest" => Protocol::Manifest,
            "emobox" => return Ok(Protocol::EmoBox { fold: number(arguments, 1, EMOBOX_TEST.len())? }),
            "luna-jimenez" => {
                return Ok(Protocol::LunaJimenez {
                    fold: number(arguments, 0, LUNA_JIMENEZ_TEST.len() - 1)?,
                });
            }
            "by-speaker" => return by_speaker_from(arguments).map_err(refuse),
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
fn by_speaker_from(arguments: &str) -> Result<Protocol, String> {
    let fields: Vec<&str> = arguments.split('/').collect();
    let (k, fold, seed) = match *fields {
        [k, fold] => (k, fold, "0"),
        [k, fold, seed] => (k, fold, seed),
        _ => return Err("expected by-speaker/K/FOLD or by-speaker/K/FOLD/SEED".to_owned()),
    };
    let k = k.parse().ok().filter(|&k| k >= 3).ok_or_else(|| format!("K: expected 3 or more, got '{k}'"))?;
    let in_range = fold.parse().ok().filter(|fold| (1..=k).contains(fold));
    let fold = in_range.ok_or_else(|| format!("FOLD: expected 1 to {k}, got '{fold}'"))?;
    let seed = seed.parse().map_err(|_| format!("SEED: expected a whole number, got '{seed}'"))?;
    Ok(Protocol::BySpeaker { k, fold, seed })
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
