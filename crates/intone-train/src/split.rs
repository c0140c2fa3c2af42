//! Speaker-independent splits: there is no other kind.
//!
//! A [`Split`] can only be made by a constructor that proves that no speaker and no recording stands on two sides. A
//! [`Protocol`] is a named way to make one; its text form is what a configuration and the command line say:
//!
//! | text | what |
//! |---|---|
//! | `default` | the project's own: CREMA-D and RAVDESS, three parts (see [`Protocol::Default`]) |
//! | `final` | the same for a last training: validation actors of CREMA-D train too (see [`Protocol::Final`]) |
//! | `audeering` | CREMA-D as published by audEERING (version 1.1.0), three parts |
//! | `tfds` | CREMA-D as in TensorFlow Datasets (crema_d 1.0.0), three parts |
//! | `emobox/1` .. `emobox/6` | RAVDESS as in EmoBox, training and test |
//! | `luna-jimenez/0` .. `/4` | RAVDESS as in Luna-Jimenez et al., training and test |
//! | `by-speaker/K/FOLD[/SEED]` | fold FOLD (1..=K) of [`by_speaker`] |
//! | `nested/K/FOLD[/SEED]` | fold FOLD of the speakers that `default` trains on |
//! | `sentence-and-speaker/K/FOLD[/SEED]` | as `by-speaker`, and the test's sentences are not heard in training either |
//! | `loso/SPEAKER` | one speaker is the test, all others train: `loso/ravdess/07` |
//! | `cross-corpus/TRAIN/TEST` | corpora that train and others that are the test: `cross-corpus/crema-d/ravdess` |
//! | `all` | everything is the test, for a model that was trained on other data |
//! | `manifest` | the `split` column of a manifest, or folders named `train`, `valid` and `test` |
//!
//! A [`Family`] is all folds of one of them. Published partitions say nothing of a validation part where there is none; [`Split::with_validation`] takes one from
//! the training speakers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::corpus::{Clip, Corpus};
use crate::error::{Error, Result};

mod by_speaker;
mod family;
mod protocol;
mod published;
mod table;

pub use by_speaker::{by_speaker, leave_one_speaker_out};
pub use family::Family;
pub use protocol::Protocol;
pub use table::{SplitRow, read_csv, write_csv};

/// One side of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// What a model learns from.
    Train,
    /// What decides when to stop and which settings to keep.
    Validation,
    /// What a finished model is judged by, and nothing is chosen by.
    Test,
}

impl Part {
    /// All three, in the order of their use.
    pub const ALL: [Part; 3] = [Part::Train, Part::Validation, Part::Test];

    /// `train`, `validation` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Validation => "validation",
            Part::Test => "test",
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Part {
    type Err = String;

    /// Reads the names in use, in any case: `train`, `training`; `validation`, `valid`, `val`, `dev`; `test`, `testing`.
    fn from_str(text: &str) -> Result<Part, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "train" | "training" => Ok(Part::Train),
            "validation" | "valid" | "val" | "dev" => Ok(Part::Validation),
            "test" | "testing" => Ok(Part::Test),
            other => Err(format!("expected train, validation or test, got '{other}'")),
        }
    }
}

/// Clips on three sides, no speaker and no recording on two of them. Any side may be empty.
#[derive(Debug, Clone)]
pub struct Split {
    protocol: String,
    /// In the order of [`Part::ALL`].
    parts: [Vec<Clip>; 3],
    left_out: Vec<Clip>,
}

impl Split {
    /// A split in which `side` says where each clip stands, `None` for nowhere. `protocol` is its name in reports.
    ///
    /// # Errors
    /// [`Error::SpeakerOnTwoSides`] or [`Error::AudioOnTwoSides`] (the same clip, or the same bytes).
    pub fn new(
        protocol: impl Into<String>,
        clips: impl IntoIterator<Item = Clip>,
        mut side: impl FnMut(&Clip) -> Option<Part>,
    ) -> Result<Split> {
        let mut split = Split { protocol: protocol.into(), parts: Default::default(), left_out: Vec::new() };
        for clip in clips {
            match side(&clip) {
                Some(part) => split.parts[part as usize].push(clip),
                None => split.left_out.push(clip),
            }
        }
        split.prove()?;
        Ok(split)
    }

    /// The name of the protocol.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// The clips of one side.
    pub fn part(&self, part: Part) -> &[Clip] {
        &self.parts[part as usize]
    }

    /// What a model learns from.
    pub fn train(&self) -> &[Clip] {
        self.part(Part::Train)
    }

    /// What decides when to stop.
    pub fn validation(&self) -> &[Clip] {
        self.part(Part::Validation)
    }

    /// What a finished model is judged by.
    pub fn test(&self) -> &[Clip] {
        self.part(Part::Test)
    }

    /// Clips of speakers or corpora that the protocol puts on no side.
    pub fn left_out(&self) -> &[Clip] {
        &self.left_out
    }

    /// Every clip on a side, with its side.
    pub fn iter(&self) -> impl Iterator<Item = (Part, &Clip)> {
        Part::ALL.into_iter().flat_map(|part| self.part(part).iter().map(move |clip| (part, clip)))
    }

    /// The speakers of one side, sorted.
    pub fn speakers(&self, part: Part) -> Vec<&str> {
        let mut speakers: Vec<&str> = self.part(part).iter().map(|clip| clip.speaker.as_str()).collect();
        speakers.sort_unstable();
        speakers.dedup();
        speakers
    }

    /// The same split with one of every `one_in` training speakers moved to the validation part, balanced by corpus and
    /// sex as in [`by_speaker`]. For protocols that publish no validation part.
    ///
    /// # Errors
    /// When the validation part is not empty, `one_in` is below 2, or there are fewer training speakers than that.
    pub fn with_validation(self, one_in: usize, seed: u64) -> Result<Split> {
        if !self.validation().is_empty() {
            return Err(Error::Protocol {
                given: self.protocol,
                what: "it has a validation part of its own".to_owned(),
            });
        }
        let folds = by_speaker::deal(self.train(), one_in, seed)
            .map_err(|what| Error::Protocol { given: self.protocol.clone(), what })?;
        let held_out = |clip: &Clip| folds.get(clip.speaker.as_str()) == Some(&0);
        let sides: HashMap<String, Part> = self
            .iter()
            .map(|(part, clip)| (clip.speaker.clone(), if held_out(clip) { Part::Validation } else { part }))
            .collect();
        let mut split = Split::new(self.protocol, self.parts.into_iter().flatten(), |clip| {
            sides.get(&clip.speaker).copied()
        })?;
        split.left_out = self.left_out;
        Ok(split)
    }

    /// Proves that no speaker and no recording stands on two sides.
    fn prove(&self) -> Result<()> {
        let mut speakers: HashMap<&str, Part> = HashMap::new();
        let mut ids: HashMap<&str, (Part, &Path)> = HashMap::new();
        let mut contents: HashMap<&[u8; 32], (Part, &Path)> = HashMap::new();
        for (part, clip) in self.iter() {
            let first = *speakers.entry(&clip.speaker).or_insert(part);
            if first != part {
                let speaker = clip.speaker.clone();
                return Err(Error::SpeakerOnTwoSides { speaker, first, second: part });
            }
            let same_id = *ids.entry(&clip.id).or_insert((part, &clip.path));
            let same_bytes = *contents.entry(&clip.sha256).or_insert((part, &clip.path));
            for (first_part, first) in [same_id, same_bytes] {
                if first_part != part {
                    return Err(Error::AudioOnTwoSides {
                        first_part,
                        first: first.to_path_buf(),
                        second_part: part,
                        second: clip.path.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Reads back a split that was written to a file, for the clips of a corpus.
///
/// # Errors
/// When the file cannot be read, names a clip that is not in the corpus, or is no speaker-independent split.
pub fn from_csv(path: &Path, corpus: &Corpus) -> Result<Split> {
    let rows = read_csv(path)?;
    let mut sides: HashMap<&str, Part> = HashMap::new();
    for row in &rows {
        sides.insert(&row.clip, row.split);
    }
    let known: std::collections::HashSet<&str> = corpus.clips.iter().map(|clip| clip.id.as_str()).collect();
    if let Some(missing) = rows.iter().find(|row| !known.contains(row.clip.as_str())) {
        let what = format!("clip {} is not among the data", missing.clip);
        return Err(Error::Table { path: PathBuf::from(path), line: None, what });
    }
    Split::new(path.display().to_string(), corpus.clips.iter().cloned(), |clip| sides.get(&*clip.id).copied())
}

#[cfg(test)]
mod tests;
