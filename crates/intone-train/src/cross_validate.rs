//! Cross-validation: one training for each fold of a [`Family`], and one report over the tests of all.
//!
//! ```text
//! fold-1/            the run of the first fold, as `intone train` leaves it
//!     fold.json      written last: the fold is done
//! fold-2/ ...
//! folds.csv          one row for each fold
//! predictions.csv    the test clips of all folds, each answered by the model that had not heard its speaker
//! report.html ...    the report on these
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::corpus::{Corpus, Votes};
use crate::error::{Error, Result};
use crate::metrics::Tally;
use crate::predictions::{Answered, check_classes, read_predictions};
use crate::provenance::{other, split_hash};
use crate::report::{
    self, EVALUATION_FILE, Evaluation, FOLD_PREFIX, Fold, PREDICTIONS_FILE, Report, VOTES_FILE,
};
use crate::split::{Family, Part, Protocol, Split};
use crate::train::{Outcome, Progress, RunOptions, train};

/// Where a protocol has no validation part, one of so many training speakers becomes it: 2 of 20 for a fold of RAVDESS.
pub const VALIDATION_ONE_IN: usize = 10;

/// The file in a fold's folder that says that it is done.
const DONE_FILE: &str = "fold.json";

/// How one fold went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldResult {
    /// Its name, such as `by-speaker/5/1/0`.
    pub fold: String,
    /// Number of test clips.
    pub n: usize,
    /// Number of test speakers.
    pub n_speakers: usize,
    /// The epoch whose model was kept.
    pub best_epoch: usize,
    /// On the validation clips, which chose the epoch.
    pub validation_uar: f64,
    /// The temperature of its model, by which the answers to the test clips are calibrated.
    pub temperature: f32,
    /// Its sounds shorter than this, seconds, have a higher temperature; 0 where none have, or it is not known.
    #[serde(default)]
    pub short_s: f32,
    /// On the test clips.
    pub uar: f64,
    /// Likewise.
    pub accuracy: f64,
}

/// The fold is done, and with what.
#[derive(Debug, Serialize, Deserialize)]
struct Done {
    config: String,
    split_hash: String,
    result: FoldResult,
}

/// One fold that is to be run.
#[derive(Debug)]
pub struct Planned {
    /// Its place among the folds of its protocol, from 1 on; those that were left out are counted.
    pub number: usize,
    /// What splits.
    pub protocol: Protocol,
    /// How it splits the data, with a validation part.
    pub split: Split,
    dir: PathBuf,
    config: Config,
}

/// What a cross-validation tells while it works.
#[derive(Debug)]
pub enum FoldProgress<'a> {
    /// A fold begins or goes on.
    Begin(&'a Planned),
    /// Its training.
    Training(Progress),
    /// A fold is done, now or by an earlier run.
    Done(&'a FoldResult),
}

/// How a cross-validation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// All folds are done.
    Finished(Vec<FoldResult>),
    /// Those that were chosen are done, and these others are not.
    Missing(Vec<usize>),
    /// It was told to stop: the same call goes on from there.
    Interrupted,
}

/// All folds with their splits, each proven to be speaker-independent before the first of them is trained.
///
/// # Errors
/// A protocol whose speakers are missing (unless `partial` is agreed to: then folds without test clips are left out), or
/// whose folds share test speakers; what [`Split`] refuses.
pub fn plan(
    config: &Config,
    family: &Family,
    corpus: &Corpus,
    out: &Path,
    partial: bool,
) -> Result<Vec<Planned>> {
    let mut planned: Vec<Planned> = Vec::new();
    let mut tested: BTreeMap<String, String> = BTreeMap::new();
    for (index, protocol) in family.folds(corpus)?.into_iter().enumerate() {
        for part in [Part::Test, Part::Train, Part::Validation] {
            let absent = protocol.absent_speakers(part, corpus);
            if !partial && !absent.is_empty() {
                return Err(Error::Empty(format!(
                    "split protocol '{protocol}': the data lack {} of the speakers of its {part} part ({}); --partial goes \
                     on without them, and the figures are then not those of the protocol",
                    absent.len(),
                    absent.join(", ")
                )));
            }
        }
        protocol.needs_training_corpora(corpus)?;
        let mut split = protocol.sides(corpus)?;
        if partial && split.test().is_empty() {
            continue;
        }
        if split.validation().is_empty() {
            let n_speakers = split.speakers(Part::Train).len();
            if n_speakers < 2 {
                return Err(Error::Empty(format!(
                    "split protocol '{protocol}': expected two or more speakers in the train part, one of whom becomes the \
                     validation part, got {n_speakers}"
                )));
            }
            split = split.with_validation(VALIDATION_ONE_IN.min(n_speakers), 0)?;
        }
        if let Some(part) = Part::ALL.into_iter().find(|&part| split.part(part).is_empty()) {
            return Err(Error::Empty(format!("split protocol '{protocol}': no clips in the {part} part")));
        }
        for speaker in split.speakers(Part::Test) {
            if let Some(other) = tested.insert(speaker.to_owned(), protocol.to_string()) {
                let what = format!("speaker {speaker} is tested in '{other}' already");
                return Err(Error::Protocol { given: protocol.to_string(), what });
            }
        }
        let config = Config { protocol: protocol.to_string(), ..config.clone() };
        let number = index + 1;
        planned.push(Planned {
            number,
            protocol,
            split,
            dir: out.join(format!("{FOLD_PREFIX}{number}")),
            config,
        });
    }
    match planned.is_empty() {
        true => Err(Error::Empty(format!("split protocol '{family}': no fold has test clips"))),
        false => Ok(planned),
    }
}

/// Trains and tests every fold that is not done yet; of `only` these, where it names some.
///
/// Folds do not touch each other's folders, so that several processes can work on folds of one cross-validation.
///
/// # Errors
/// What [`train`] refuses; a number in `only` that no fold has; a folder that holds a fold of another configuration or of
/// other data, or other answers than those of the fold.
pub fn cross_validate(
    planned: &[Planned],
    only: &[usize],
    options: &RunOptions,
    stop: &AtomicBool,
    progress: &(dyn Fn(FoldProgress<'_>) + Sync),
) -> Result<Ended> {
    if let Some(unknown) = only.iter().find(|&&number| planned.iter().all(|fold| fold.number != number)) {
        let numbers: Vec<String> = planned.iter().map(|fold| fold.number.to_string()).collect();
        let what = format!("there is no fold {unknown}: expected one of {}", numbers.join(", "));
        return Err(Error::Empty(what));
    }
    let (mut results, mut missing) = (Vec::new(), Vec::new());
    for fold in planned {
        let result = match fold.done()? {
            Some(result) => result,
            None if !only.is_empty() && !only.contains(&fold.number) => {
                missing.push(fold.number);
                continue;
            }
            None => match fold.run(options, stop, progress)? {
                Some(result) => result,
                None => return Ok(Ended::Interrupted),
            },
        };
        progress(FoldProgress::Done(&result));
        results.push(result);
    }
    Ok(if missing.is_empty() { Ended::Finished(results) } else { Ended::Missing(missing) })
}

impl Planned {
    /// The result of an earlier run, if this fold is done.
    fn done(&self) -> Result<Option<FoldResult>> {
        let path = self.dir.join(DONE_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let done: Done = report::read_json(&path)?;
        let Some(other) = other(&self.config, &self.split, &done.config, &done.split_hash) else {
            answers(&self.dir, &done.result)?;
            return Ok(Some(done.result));
        };
        let what = format!("this fold was done with {other}: choose another folder, or remove it");
        Err(Error::Checkpoint { path, what })
    }

    fn run(
        &self,
        options: &RunOptions,
        stop: &AtomicBool,
        progress: &(dyn Fn(FoldProgress<'_>) + Sync),
    ) -> Result<Option<FoldResult>> {
        progress(FoldProgress::Begin(self));
        let options = RunOptions { out: self.dir.clone(), resume: true, test: true, ..options.clone() };
        let tell = |step| progress(FoldProgress::Training(step));
        let Outcome::Finished { best_epoch, calibration, validation, test } =
            train(&self.config, &self.split, &options, stop, &tell)?
        else {
            return Ok(None);
        };
        let test = test.ok_or_else(|| Error::Empty(format!("fold '{}' has no test clips", self.protocol)))?;
        let result = FoldResult {
            fold: self.protocol.to_string(),
            n: test.n,
            n_speakers: test.n_speakers,
            best_epoch,
            validation_uar: validation.uar.value,
            temperature: calibration.temperature,
            short_s: calibration.short_s,
            uar: test.uar.value,
            accuracy: test.accuracy.value,
        };
        let done = Done {
            config: self.config.to_toml(),
            split_hash: split_hash(&self.split),
            result: result.clone(),
        };
        // Whole or not at all.
        let temporary = self.dir.join("fold.tmp");
        report::write_json(&done, &temporary)?;
        let path = self.dir.join(DONE_FILE);
        std::fs::rename(&temporary, &path).map_err(Error::io(&path))?;
        Ok(Some(result))
    }
}

/// The answers to a fold's test clips, which must be those that its result is of.
///
/// # Errors
/// [`Error::Folds`] where they are others; a file that cannot be read.
fn answers(folder: &Path, result: &FoldResult) -> Result<Vec<Answered>> {
    let path = folder.join(PREDICTIONS_FILE);
    let answers = read_predictions(&path)?;
    let speakers: BTreeSet<&str> = answers.iter().map(|answered| answered.speaker.as_str()).collect();
    let tally = Tally::of(answers.iter().map(|answered| (answered.truth.index(), &answered.probabilities)));
    let figures = |n: usize, n_speakers: usize, uar: f64, accuracy: f64| {
        let percent = |share: f64| format!("{:.4} %", 100.0 * share);
        format!("{n} clips of {n_speakers} speakers, accuracy {}, UAR {}", percent(accuracy), percent(uar))
    };
    let (uar, accuracy) = (tally.uar().unwrap_or_default(), tally.accuracy().unwrap_or_default());
    let actual = figures(answers.len(), speakers.len(), uar, accuracy);
    let expected = figures(result.n, result.n_speakers, result.uar, result.accuracy);
    if actual != expected {
        let what = format!(
            "expected the answers that {DONE_FILE} beside it is of ({expected}), got others ({actual}): remove the folder, \
             and the fold is trained again"
        );
        return Err(Error::Folds { path, what });
    }
    Ok(answers)
}

/// A fold that is done.
pub(crate) struct Finished {
    /// Its configuration, as TOML.
    pub config: String,
    pub result: FoldResult,
    /// The answers to its test clips.
    pub answers: Vec<Answered>,
}

/// The folds of a cross-validation that are done, in the order of their names.
///
/// # Errors
/// A folder that has none; what cannot be read; answers that are not those of the fold's result.
pub(crate) fn finished(run: &Path) -> Result<Vec<Finished>> {
    let entries = std::fs::read_dir(run).map_err(Error::io(run))?;
    let mut folders = Vec::new();
    for entry in entries {
        let folder = entry.map_err(Error::io(run))?.path();
        if folder.join(DONE_FILE).is_file() {
            folders.push(folder);
        }
    }
    if folders.is_empty() {
        let what = format!(
            "expected folds of `intone cross-validate` that are done (fold-N/{DONE_FILE}), found none"
        );
        return Err(Error::Folds { path: run.to_path_buf(), what });
    }
    folders.sort();
    let read = |folder: PathBuf| {
        let Done { config, result, .. } = report::read_json(&folder.join(DONE_FILE))?;
        let answers = answers(&folder, &result)?;
        Ok(Finished { config, result, answers })
    };
    folders.into_iter().map(read).collect()
}

/// Puts the tests of all folds together, with their report, into `out`.
///
/// # Errors
/// Files that cannot be read or written; a class without clips unless `missing_classes` are agreed to.
pub fn write_all(
    planned: &[Planned],
    results: &[FoldResult],
    evaluation: Evaluation,
    out: &Path,
    missing_classes: bool,
) -> Result<Report> {
    let clips = || planned.iter().flat_map(|fold| fold.split.test());
    if !missing_classes {
        check_classes(clips().map(|clip| clip.emotion))?;
    }
    let path = out.join("folds.csv");
    let write = || -> csv::Result<()> {
        let mut writer = csv::Writer::from_path(&path)?;
        results.iter().try_for_each(|result| writer.serialize(result))?;
        Ok(writer.flush()?)
    };
    write().map_err(|error| Error::Table { path: path.clone(), line: None, what: error.to_string() })?;

    // One table: the header of the first fold and the rows of all.
    let mut text = String::new();
    for fold in planned {
        let path = fold.dir.join(PREDICTIONS_FILE);
        let rows = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        let skipped = if text.is_empty() { 0 } else { rows.find('\n').map_or(0, |end| end + 1) };
        text.push_str(&rows[skipped..]);
    }
    let path = out.join(PREDICTIONS_FILE);
    std::fs::write(&path, text).map_err(Error::io(&path))?;
    let votes: BTreeMap<String, Votes> =
        clips().filter_map(|clip| Some((clip.id.clone(), clip.votes?))).collect();
    report::write_votes(&votes, &out.join(VOTES_FILE))?;
    let folds = planned.iter().map(|fold| Fold {
        name: fold.protocol.to_string(),
        speakers: fold.split.speakers(Part::Test).into_iter().map(str::to_owned).collect(),
    });
    let evaluation = Evaluation { folds: folds.collect(), ..evaluation };
    report::write_json(&evaluation, &out.join(EVALUATION_FILE))?;
    let report = Report::new(&report::read_run(out)?, missing_classes)?;
    report::write(&report, out)?;
    Ok(report)
}
