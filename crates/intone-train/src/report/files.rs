//! The folder of a run: its predictions, what is known beside them, and the report's three files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use intone::Emotion;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Comparison, Input, Report, compare, page};
use crate::corpus::table::Table;
use crate::corpus::{Clip, Corpus, Inventory, Votes};
use crate::error::{Error, Result};
use crate::evaluate::{Prediction, write_predictions};
use crate::predictions::read_predictions;
use crate::robustness::Robustness;

/// What was said of each clip; all figures come from here.
pub const PREDICTIONS_FILE: &str = "predictions.csv";

/// The folder of a fold of a cross-validation, before its number.
pub(crate) const FOLD_PREFIX: &str = "fold-";

/// How the predictions were made, as JSON: an [`Evaluation`].
pub const EVALUATION_FILE: &str = "evaluation.json";

/// What listeners heard: `clip,angry,disgust,fear,happy,neutral,sad`, numbers of votes.
pub const VOTES_FILE: &str = "votes.csv";

/// How the same clips are answered when they are changed: a [`Robustness`].
pub const ROBUSTNESS_FILE: &str = "robustness.json";

/// How predictions were made. A report without it is complete but for these facts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// What answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// SHA-256 of the model's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_sha256: Option<String>,
    /// The protocol.
    pub protocol: String,
    /// The side of its split, or `test` for all folds together.
    pub part: String,
    /// Answers less confident than this are called uncertain; none where no such threshold was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertain_below: Option<f32>,
    /// The command that makes the predictions again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// What was done to find speakers and recordings of the test in training, and what came of it.
    #[serde(default)]
    pub checks: Vec<String>,
    /// What was left out.
    #[serde(default)]
    pub excluded: Vec<Excluded>,
    /// Clips that could not be recognised.
    #[serde(default)]
    pub failed: Vec<Failed>,
    /// The folds of a cross-validation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folds: Vec<Fold>,
}

/// Recordings that were left out for one reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excluded {
    /// The corpus.
    pub corpus: String,
    /// Why; where files are faulty, with their names.
    pub reason: String,
    /// How many.
    pub n: usize,
}

/// A clip that could not be recognised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// The clip.
    pub clip: String,
    /// What is wrong with it.
    pub error: String,
}

/// One fold of a cross-validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fold {
    /// Its name, such as `by-speaker/5/1/0`.
    pub name: String,
    /// The speakers that were tested in it.
    pub speakers: Vec<String>,
}

/// Files of one kind that are named; `intone data check` names all faulty ones.
const MAX_NAMED: usize = 10;

/// What of a corpus was left out, counted by reason; faulty files with their names, below the folder of the data.
pub fn excluded(corpus: &Corpus) -> Vec<Excluded> {
    let inventory = Inventory::new(corpus, None);
    let left_out = inventory.excluded.into_iter();
    let left_out = left_out.map(|e| Excluded { corpus: e.corpus, reason: e.reason, n: e.count });
    let folder = common_folder(corpus);
    let mut faults: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for fault in &corpus.faults {
        let below = fault.path.strip_prefix(folder).unwrap_or(&fault.path);
        faults.entry(fault.kind.to_string()).or_default().push(below.display().to_string());
    }
    let faults = faults.into_iter().map(|(what, files)| {
        let n = files.len();
        Excluded { corpus: "any".to_owned(), reason: format!("{what}: {}", few(files)), n }
    });
    let mut excluded: Vec<Excluded> = left_out.chain(faults).collect();
    excluded.sort_by(|a, b| (&a.corpus, &a.reason).cmp(&(&b.corpus, &b.reason)));
    excluded
}

/// The innermost folder in which all files of a corpus lie: paths below it are the same wherever the data lie.
fn common_folder(corpus: &Corpus) -> &Path {
    let clips = corpus.clips.iter().map(|clip| clip.path.as_path());
    let faults = corpus.faults.iter().map(|fault| fault.path.as_path());
    let paths = clips.chain(faults).chain(corpus.excluded.iter().map(|exclusion| exclusion.path.as_path()));
    let folders = paths.map(|path| path.parent().unwrap_or(Path::new("")));
    let common =
        folders.reduce(|a, b| a.ancestors().find(|folder| b.starts_with(folder)).unwrap_or(Path::new("")));
    common.unwrap_or(Path::new(""))
}

/// Clips that are silence to what was evaluated, corpus by corpus, with their names.
pub fn silent<'a>(clips: impl IntoIterator<Item = &'a Clip>) -> Vec<Excluded> {
    let mut by_corpus: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for clip in clips {
        by_corpus.entry(&clip.corpus).or_default().push(clip.id.clone());
    }
    let excluded = |(corpus, names): (&str, Vec<String>)| {
        let (corpus, n) = (corpus.to_owned(), names.len());
        Excluded { corpus, reason: format!("answered as silence, which is no emotion: {}", few(names)), n }
    };
    by_corpus.into_iter().map(excluded).collect()
}

/// Some of these names, in order, and how many more there are.
fn few(mut names: Vec<String>) -> String {
    names.sort_unstable();
    let n = names.len();
    let more = if n > MAX_NAMED { format!(" and {} more", n - MAX_NAMED) } else { String::new() };
    names.truncate(MAX_NAMED);
    names.join(", ") + &more
}

/// Clips that were left out for one reason, corpus by corpus.
pub fn left_out<'a>(clips: impl IntoIterator<Item = &'a Clip>, reason: &str) -> Vec<Excluded> {
    let mut by_corpus: BTreeMap<&str, usize> = BTreeMap::new();
    for clip in clips {
        *by_corpus.entry(&clip.corpus).or_default() += 1;
    }
    let excluded =
        |(corpus, n): (&str, usize)| Excluded { corpus: corpus.to_owned(), reason: reason.to_owned(), n };
    by_corpus.into_iter().map(excluded).collect()
}

/// What a run leaves beside its report.
#[derive(Debug, Default)]
pub struct RunFiles<'a> {
    /// What was said of each clip.
    pub predictions: &'a [Prediction],
    /// What listeners heard, by clip.
    pub votes: BTreeMap<String, Votes>,
    /// How the predictions were made.
    pub evaluation: Evaluation,
}

/// What tells a model's file from all others: its SHA-256, in hexadecimal digits.
pub fn model_sha256(bytes: &[u8]) -> String {
    crate::dataset::hex(&Sha256::digest(bytes))
}

/// Writes the files that a report is made of into a folder, which is made where it is missing. What an earlier evaluation
/// left there goes.
///
/// # Errors
/// What the operating system says.
pub fn write_run(dir: &Path, files: &RunFiles<'_>) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
    let stale = [VOTES_FILE, ROBUSTNESS_FILE, "report.json", "report.md", "report.html"];
    for path in stale.map(|name| dir.join(name)) {
        if path.exists() {
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    write_predictions(files.predictions, &dir.join(PREDICTIONS_FILE))?;
    write_votes(&files.votes, &dir.join(VOTES_FILE))?;
    write_json(&files.evaluation, &dir.join(EVALUATION_FILE))
}

/// Writes how the clips of a run are answered when they are changed, beside its predictions.
///
/// # Errors
/// What the operating system says.
pub fn write_robustness(dir: &Path, robustness: &Robustness) -> Result<()> {
    write_json(robustness, &dir.join(ROBUSTNESS_FILE))
}

/// Writes what listeners heard; no file where nobody was asked.
///
/// # Errors
/// What the operating system says.
pub fn write_votes(votes: &BTreeMap<String, Votes>, path: &Path) -> Result<()> {
    if votes.is_empty() {
        return Ok(());
    }
    let mut text = format!("clip,{}\n", Emotion::ALL.map(Emotion::name).join(","));
    for (clip, votes) in votes {
        let counts = votes.0.map(|n| n.to_string()).join(",");
        text += &format!("\"{}\",{counts}\n", clip.replace('"', "\"\""));
    }
    std::fs::write(path, text).map_err(Error::io(path))
}

fn read_votes(path: &Path) -> Result<BTreeMap<String, Votes>> {
    let mut table = Table::open(path)?;
    let clip = table.column("clip")?;
    let mut columns = [0; 6];
    for (slot, emotion) in columns.iter_mut().zip(Emotion::ALL) {
        *slot = table.column(emotion.name())?;
    }
    let mut votes = BTreeMap::new();
    while let Some(row) = table.next_row()? {
        let mut counts = [0; 6];
        for ((slot, &column), emotion) in counts.iter_mut().zip(&columns).zip(Emotion::ALL) {
            *slot = row.number(column, emotion.name())?;
        }
        votes.insert(row.text(clip).to_owned(), Votes(counts));
    }
    Ok(votes)
}

/// Reads what a report is made of: the folder of a run, or a file of predictions alone.
///
/// # Errors
/// A folder without predictions, what [`read_predictions`] refuses, and files beside them that cannot be read.
pub fn read_run(path: &Path) -> Result<Input> {
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    let dir = metadata.is_dir().then_some(path);
    let file = dir.map_or_else(|| path.to_path_buf(), |dir| dir.join(PREDICTIONS_FILE));
    if let Some(dir) = dir
        && !file.try_exists().map_err(Error::io(&file))?
    {
        let mut names =
            std::fs::read_dir(dir).map_err(Error::io(dir))?.flatten().map(|entry| entry.file_name());
        let found = match names.any(|name| name.to_string_lossy().starts_with(FOLD_PREFIX)) {
            true => "folds, whose answers `intone cross-validate` puts together when all are done",
            false => "none; `intone evaluate --out` and `intone cross-validate --out` make one",
        };
        let what = format!("expected a {PREDICTIONS_FILE} in this folder, found {found}");
        return Err(Error::Table { path: dir.to_path_buf(), line: None, what });
    }
    let beside = |name: &str| dir.map(|dir| dir.join(name)).filter(|path| path.is_file());
    let evaluation = beside(EVALUATION_FILE).map(|path| read_json(&path)).transpose()?;
    let votes = beside(VOTES_FILE).map(|path| read_votes(&path)).transpose()?.unwrap_or_default();
    let robustness = beside(ROBUSTNESS_FILE).map(|path| read_json(&path)).transpose()?;
    Ok(Input { name: name_of(path), answers: read_predictions(&file)?, votes, evaluation, robustness })
}

/// The name of a folder, also when it is given as `.`, or that of a file without its ending.
fn name_of(path: &Path) -> String {
    let real: PathBuf = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = if real.is_dir() { real.file_name() } else { real.file_stem() };
    name.map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Writes `report.json`, `report.md` and `report.html` into a folder.
///
/// # Errors
/// What the operating system says.
pub fn write(report: &Report, dir: &Path) -> Result<()> {
    write_three(report, &page::document(report), dir, "report")
}

/// Writes `comparison.json`, `comparison.md` and `comparison.html` into a folder.
///
/// # Errors
/// What the operating system says.
pub fn write_comparison(comparison: &Comparison, dir: &Path) -> Result<()> {
    write_three(comparison, &compare::document(comparison), dir, "comparison")
}

fn write_three(
    value: &impl Serialize,
    document: &super::document::Document,
    dir: &Path,
    stem: &str,
) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
    write_json(value, &dir.join(format!("{stem}.json")))?;
    for (ending, text) in [("md", document.to_markdown()), ("html", document.to_html())] {
        let path = dir.join(format!("{stem}.{ending}"));
        std::fs::write(&path, text).map_err(Error::io(&path))?;
    }
    Ok(())
}

pub(crate) fn write_json(value: &impl Serialize, path: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| in_file(path, &error))?;
    std::fs::write(path, text + "\n").map_err(Error::io(path))
}

pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    serde_json::from_str(&text).map_err(|error| in_file(path, &error))
}

fn in_file(path: &Path, error: &serde_json::Error) -> Error {
    let line = (error.line() > 0).then_some(error.line() as u64);
    Error::Table { path: path.to_path_buf(), line, what: error.to_string() }
}
