//! Readers for speech corpora: from folders as users have them to labelled clips of known speakers.
//!
//! [`read_roots`] takes any number of directories and recognises what lies under them, file by file:
//!
//! | what | recognised by | speaker | reader |
//! |---|---|---|---|
//! | RAVDESS | names `03-01-05-...-12`, or an `Actor_12` folder | `ravdess/12` | [`ravdess`] |
//! | CREMA-D | names `1001_DFA_ANG_XX`, or an `AudioWAV` folder | `crema-d/1001` | [`crema_d`] |
//! | a manifest | a CSV file that is given, or `manifest.csv` in a folder | `NAME/` + its column | [`manifest`] |
//! | a folder per label | a folder named after an emotion | the folder above or below | [`folder`] |
//!
//! So the published archives, Kaggle's doubled RAVDESS tree and Kaggle's combined tree all work as they are. For
//! evaluations on other corpora than those that were trained on there are also [`tess`], [`savee`], [`emodb`], [`emovo`],
//! [`cafe`], [`meld`] and [`iemocap`], recognised by the names of their files. Nothing is skipped in silence: what does not
//! become a clip is an [`Exclusion`] with its reason or a [`Fault`] with its path.

use std::path::{Path, PathBuf};

use intone::Emotion;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::split::Part;

pub mod cafe;
pub mod crema_d;
pub mod emodb;
pub mod emovo;
pub mod folder;
pub mod iemocap;
pub mod manifest;
pub mod meld;
pub mod ravdess;
pub mod savee;
pub mod tess;

mod facts;
mod faults;
mod gather;
mod inventory;
mod survey;
pub(crate) mod table;
mod walk;

pub use facts::{Facts, facts};
pub use faults::{KNOWN_FAULTS, KnownFault, Remedy};
pub use inventory::{AudioEntry, Entry, Excluded, FaultEntry, Inventory, PublishedEntry, Renamed};
pub use survey::{Heard, Survey, survey};

/// One labelled recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// The recording's identity, the same wherever the file lies and whatever its container:
    /// `crema-d/1001_DFA_ANG_XX`.
    pub id: String,
    /// The audio file.
    pub path: PathBuf,
    /// The corpus: `ravdess`, `crema-d`, or the name of the folder or manifest.
    pub corpus: String,
    /// The speaker, with the corpus: `crema-d/1001`.
    pub speaker: String,
    /// The intended emotion.
    pub emotion: Emotion,
    /// The speaker's sex, where the corpus tells.
    pub sex: Option<Sex>,
    /// The speaker's age at the recording, years, where the corpus tells.
    pub age: Option<u8>,
    /// The sentence that is spoken, as the corpus numbers it: `DFA`, `02`.
    pub sentence: Option<String>,
    /// How strongly the emotion was to be acted.
    pub level: Option<Level>,
    /// What listeners heard, where a crowd was asked about the voice alone.
    pub votes: Option<Votes>,
    /// SHA-256 of the file's bytes.
    pub sha256: [u8; 32],
    /// Size of the file, bytes.
    pub bytes: u64,
    /// The side of a split that a manifest puts this clip on.
    pub part: Option<Part>,
}

#[cfg(test)]
impl Clip {
    /// A clip of which no more is known, for tests.
    pub(crate) fn bare(corpus: &str, speaker: &str, name: &str, emotion: Emotion) -> Clip {
        Clip {
            id: format!("{corpus}/{name}"),
            path: PathBuf::from(format!("{name}.wav")),
            corpus: corpus.to_owned(),
            speaker: format!("{corpus}/{speaker}"),
            emotion,
            sex: None,
            age: None,
            sentence: None,
            level: None,
            votes: None,
            sha256: [0; 32],
            bytes: 0,
            part: None,
        }
    }
}

/// The sex of a speaker, as the corpora record it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sex {
    /// Female.
    Female,
    /// Male.
    Male,
}

impl Sex {
    /// The name, as it stands in tables.
    pub fn name(self) -> &'static str {
        match self {
            Sex::Female => "female",
            Sex::Male => "male",
        }
    }
}

/// How strongly an emotion was to be acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// CREMA-D `LO`.
    Low,
    /// CREMA-D `MD`.
    Medium,
    /// CREMA-D `HI`.
    High,
    /// RAVDESS intensity 01.
    Normal,
    /// RAVDESS intensity 02.
    Strong,
}

/// How many listeners heard which emotion in the voice alone, in the order of [`Emotion::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Votes(pub [u16; 6]);

impl Votes {
    /// The share of each emotion, `[6]` in the order of [`Emotion::ALL`], sum 1. `None` when nobody voted.
    pub fn soft_label(self) -> Option<[f32; 6]> {
        let total: u32 = self.0.iter().map(|&count| u32::from(count)).sum();
        (total > 0).then(|| self.0.map(|count| f32::from(count) / total as f32))
    }
}

/// What was found under one or more roots.
#[derive(Debug, Clone, Default)]
pub struct Corpus {
    /// The clips that can be learned from, sorted by corpus and id.
    pub clips: Vec<Clip>,
    /// Recordings that were understood and left out, with reasons.
    pub excluded: Vec<Exclusion>,
    /// Files that were read under another name than their own.
    pub renamed: Vec<(PathBuf, &'static KnownFault)>,
    /// What is wrong with the data: nothing here became a clip.
    pub faults: Vec<Fault>,
    /// CSV tables of a corpus that were read (votes, demographics).
    pub tables: Vec<PathBuf>,
}

/// A recording that was understood and left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Exclusion {
    /// The file.
    pub path: PathBuf,
    /// As in [`Clip::id`]; `None` for what is no recording at all.
    pub id: Option<String>,
    /// The corpus.
    pub corpus: String,
    /// Why.
    pub reason: Reason,
}

/// Why a recording is left out.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// It shows an emotion that is none of the six: `calm`.
    OtherEmotion(String),
    /// It is not audio-only speech: `song`.
    NotSpeech(&'static str),
    /// A fault in the published corpus.
    Known(&'static KnownFault),
    /// Another file is the same clip.
    SameClip(PathBuf),
    /// Another file, under another name, has the same bytes and the same label.
    SameBytes(PathBuf),
    /// A file of macOS's own (`._name`), which holds no audio.
    MacOs,
}

/// Something wrong with a file, a folder or a row of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong.
    pub kind: FaultKind,
}

/// What is wrong with a file, a folder or a row of a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The name does not follow the grammar of its corpus.
    BadName {
        /// The corpus whose grammar was expected.
        corpus: &'static str,
        /// What does not fit.
        what: String,
    },
    /// An audio file that no reader knows what to make of.
    Unknown,
    /// A Git-LFS pointer stands in place of the audio.
    LfsPointer,
    /// The file has no bytes.
    Empty,
    /// The system refused.
    Unreadable(String),
    /// A table, or one row of it, cannot be used.
    BadTable {
        /// The line, counted from 1, where it is known.
        line: Option<u64>,
        /// What is wrong.
        what: String,
    },
    /// A file with the same bytes carries another label, and no table says which is right: both are left out.
    Conflict(PathBuf),
    /// The audio cannot be decoded ([`survey`]).
    Undecodable(String),
    /// The audio can be decoded only in part ([`survey`]).
    Damaged(String),
    /// Every sample is zero ([`survey`]).
    Silent,
    /// Decoded, this is the same audio as another clip ([`survey`]).
    SameAudio(PathBuf),
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FaultKind::BadName { corpus, what } => write!(f, "not a {corpus} name: {what}"),
            FaultKind::Unknown => {
                f.write_str("no reader knows what this is: neither its name nor its folder tells")
            }
            FaultKind::LfsPointer => f.write_str("a Git-LFS pointer, not audio: `git lfs pull` fetches it"),
            FaultKind::Empty => f.write_str("an empty file"),
            FaultKind::Unreadable(what) | FaultKind::Undecodable(what) | FaultKind::Damaged(what) => {
                f.write_str(what)
            }
            FaultKind::Silent => f.write_str("every sample is zero"),
            FaultKind::SameAudio(other) => write!(f, "the same audio as {}", other.display()),
            FaultKind::BadTable { line: Some(line), what } => write!(f, "line {line}: {what}"),
            FaultKind::BadTable { line: None, what } => f.write_str(what),
            FaultKind::Conflict(other) => {
                write!(f, "the same bytes as {} under another label", other.display())
            }
        }
    }
}

/// A published corpus whose recordings are all known by name.
#[derive(Debug)]
pub struct Published {
    /// As in [`Clip::corpus`].
    pub name: &'static str,
    /// As people write it.
    pub title: &'static str,
    /// Where it is from, and its licence.
    pub source: &'static str,
    /// Audio files in the published speech archive.
    pub n_published: usize,
    /// Clips that are left after the exclusions of this crate.
    pub n_usable: usize,
    /// Speakers.
    pub n_speakers: usize,
    /// Reads a directory as this corpus.
    pub read: fn(&Path) -> Result<Corpus>,
    /// The names of all published recordings, without their endings.
    pub stems: fn() -> Vec<String>,
    /// The speaker in such a name.
    pub speaker_of: fn(&str) -> &str,
}

/// The published corpora that can be compared with what is here, recording by recording.
pub static PUBLISHED: [Published; 2] = [ravdess::PUBLISHED, crema_d::PUBLISHED];

/// A published corpus that can be read.
#[derive(Debug)]
pub struct Source {
    /// As in [`Clip::corpus`].
    pub name: &'static str,
    /// As people write it.
    pub title: &'static str,
    /// Where it is from, and its licence.
    pub source: &'static str,
    /// Reads a directory as this corpus.
    pub read: fn(&Path) -> Result<Corpus>,
}

/// The other published corpora that can be read.
pub static SOURCES: [Source; 7] =
    [tess::SOURCE, savee::SOURCE, emodb::SOURCE, emovo::SOURCE, cafe::SOURCE, meld::SOURCE, iemocap::SOURCE];

/// Title and source, with the licence, of a published corpus; `None` for folders and manifests.
pub fn published(name: &str) -> Option<(&'static str, &'static str)> {
    let known = PUBLISHED.iter().map(|corpus| (corpus.name, corpus.title, corpus.source));
    let others = SOURCES.iter().map(|corpus| (corpus.name, corpus.title, corpus.source));
    known.chain(others).find(|(other, ..)| *other == name).map(|(_, title, source)| (title, source))
}

/// Tells whether a file belongs to a corpus.
type Claims = fn(&Path) -> bool;

/// Takes the files of a corpus, with the CSV files among which its tables are.
type Collect = fn(Vec<PathBuf>, &[PathBuf], &mut gather::Draft);

/// The readers of the corpora whose files tell by their names where they belong; an earlier one has the first say.
const READERS: [(Claims, Collect); 9] = [
    (ravdess::claims, |files, _, draft| ravdess::collect(files, draft)),
    (crema_d::claims, crema_d::collect),
    (tess::claims, |files, _, draft| tess::collect(files, draft)),
    (savee::claims, |files, _, draft| savee::collect(files, draft)),
    (emodb::claims, |files, _, draft| emodb::collect(files, draft)),
    (emovo::claims, |files, _, draft| emovo::collect(files, draft)),
    (cafe::claims, |files, _, draft| cafe::collect(files, draft)),
    (meld::claims, meld::collect),
    (iemocap::claims, |files, _, draft| iemocap::collect(files, draft)),
];

/// Reads everything under the given directories, and every manifest among the given files.
///
/// A directory that holds a `manifest.csv` is read through it. Files are taken in the order of the roots and, within
/// one, of their paths; where one recording is there more than once, a lossless file wins over a lossy one and then the
/// first in this order. The result does not depend on the order in which the system lists directories.
///
/// # Errors
/// A root that does not exist, that is neither a directory nor a CSV file, or a manifest without its columns. What is
/// wrong further down is a [`Fault`] in the result.
pub fn read_roots(roots: &[PathBuf]) -> Result<Corpus> {
    let mut draft = gather::Draft::default();
    let mut visited = walk::Visited::default();
    for root in roots {
        let metadata = std::fs::metadata(root).map_err(Error::io(root))?;
        if metadata.is_dir() {
            read_directory(root, &mut visited, &mut draft)?;
        } else if walk::has_extension(root, &["csv"]) {
            manifest::collect(root, &mut draft)?;
        } else {
            return Err(Error::NoCorpus {
                path: root.clone(),
                what: "neither a directory nor a CSV manifest".to_owned(),
            });
        }
    }
    let corpus = draft.finish();
    let (n_excluded, n_faults) = (corpus.excluded.len(), corpus.faults.len());
    log::info!("{} clips, {n_excluded} left out, {n_faults} with faults", corpus.clips.len());
    Ok(corpus)
}

/// Sorts the files of one directory among the readers.
fn read_directory(root: &Path, visited: &mut walk::Visited, draft: &mut gather::Draft) -> Result<()> {
    let manifest_path = root.join(manifest::FILE_NAME);
    if manifest_path.is_file() {
        match manifest::collect(&manifest_path, draft) {
            Ok(()) => return Ok(()),
            // Nobody named this file: it may be a table of something else.
            Err(error) => draft.fault(manifest_path, FaultKind::from_table_error(error)),
        }
    }
    let listing = walk::walk(root, visited)?;
    let mut rest = listing.audio;
    for (claims, collect) in READERS {
        let (files, others) = partition(rest, claims);
        collect(files, &listing.tables, draft);
        rest = others;
    }
    let (folder_files, rest) = partition(rest, |path| folder::claims(root, path));
    folder::collect(root, folder_files, draft);
    for path in rest {
        draft.fault(path, FaultKind::Unknown);
    }
    draft.faults.extend(listing.faults);
    draft.mac_os(listing.mac_os);
    Ok(())
}

fn partition(paths: Vec<PathBuf>, claims: impl Fn(&Path) -> bool) -> (Vec<PathBuf>, Vec<PathBuf>) {
    paths.into_iter().partition(|path| claims(path))
}

/// Reads one directory as one published corpus: every audio file in it must follow its grammar.
fn read_as(
    root: &Path,
    collect: impl FnOnce(Vec<PathBuf>, &[PathBuf], &mut gather::Draft),
) -> Result<Corpus> {
    let listing = walk::walk(root, &mut walk::Visited::default())?;
    let mut draft = gather::Draft { faults: listing.faults, ..Default::default() };
    collect(listing.audio, &listing.tables, &mut draft);
    draft.mac_os(listing.mac_os);
    Ok(draft.finish())
}

/// Takes every file that a grammar reads, and names those that it does not.
fn named(
    files: Vec<PathBuf>,
    corpus: &'static str,
    expected: &str,
    candidate: impl Fn(&Path) -> Option<gather::Candidate>,
    draft: &mut gather::Draft,
) {
    for path in files {
        match candidate(&path) {
            Some(candidate) => draft.candidates.push(candidate),
            None => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                let what = format!("expected {expected}, got '{stem}'");
                draft.fault(path, FaultKind::BadName { corpus, what });
            }
        }
    }
}
