//! `intone model calibrate`: Confidences of a model, fitted on speakers that it did not learn from.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use intone::model::{ModelFile, ModelMeta};
use intone_train::calibrate::{FoldAnswers, calibrate, recalibrate};
use intone_train::corpus::Clip;
use intone_train::dataset::load_features;
use intone_train::evaluate::{Prediction, Scores, coverage, cross_entropy, score};
use intone_train::leak::{self, Heard};
use intone_train::report::SEED;
use intone_train::split::Part;

use crate::progress::counting_bar;
use crate::terminal::thousands;

/// Fit a model's confidences: on its validation speakers, or by the folds of a cross-validation of its recipe
///
/// A training ends with this on its validation speakers: the temperature, how much higher it is for sounds of a second and less,
/// and the confidence below which an answer is uncertain. Ten speakers may be easier or harder than most. The models of `intone
/// cross-validate` answer every speaker who was left out of their own training: with --folds the answers to the speakers that MODEL
/// knows, never those that it is tested on, say all this, and the exponent of the gaps between the logits too. The weights stay as
/// they are.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Model to read: a file, or hf:OWNER/NAME[@REVISION][/FILE]
    pub(super) model: PathBuf,

    /// The folder of a cross-validation with the model's configuration; folds that are done count
    #[arg(long, value_name = "RUN")]
    folds: Option<PathBuf>,

    /// Directories with the corpora that the model was trained on
    #[arg(long, required = true, num_args = 1.., value_name = "DIR")]
    data: Vec<PathBuf>,

    /// Model file to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let file = ModelFile::open(&args.model)?;
    let corpus = crate::data::read(&args.data)?;
    let beside = leak::split_beside(&args.model);
    let heard = leak::heard(&file.meta.provenance, beside.as_deref(), &corpus)?;
    match &args.folds {
        Some(folds) => by_folds(args, file.meta, folds, &heard),
        None => by_validation(args, file, leak::clips_of(&heard, Part::Validation, &corpus)?),
    }
}

/// By a cross-validation's answers to the speakers that the model knows.
fn by_folds(args: &Args, before: ModelMeta, folds: &Path, heard: &Heard) -> anyhow::Result<ExitCode> {
    let answers = FoldAnswers::read(folds, &before, heard)?;
    let mut now = before.clone();
    let scores = recalibrate(&mut now, &answers)?;
    ModelFile::write_again(&args.model, &args.out, &now)?;
    let rows = [&before, &now].map(|meta| (meta, answers.at(meta.calibration())));
    let held_out = (answers.n_folds() > 1).then_some(scores.ece);
    print(&scores, &rows, held_out)
}

/// On the validation speakers of its training.
fn by_validation(args: &Args, mut file: ModelFile, clips: Vec<Clip>) -> anyhow::Result<ExitCode> {
    let before = file.meta.clone();
    let bar = counting_bar(clips.len(), "clips");
    let frames = load_features(&clips, &before.front_end, None, &|done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    let answers = calibrate(&mut file, &clips, &frames)?;
    ModelFile::write_again(&args.model, &args.out, &file.meta)?;
    print(&answers.scores, &[(&before, answers.before), (&file.meta, answers.now)], None)
}

/// How well the confidences of before and of now fit the same answers, and those of now where they were not fitted on the answer's
/// own fold.
fn print(
    scores: &Scores,
    rows: &[(&ModelMeta, Vec<Prediction>); 2],
    held_out: Option<f64>,
) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{} answers to {} speakers: UAR {}  accuracy {}\n",
        thousands(scores.n),
        scores.n_speakers,
        scores.uar,
        scores.accuracy
    )?;
    writeln!(
        out,
        "        temperature  gap exponent  short  cross-entropy    ECE  uncertain below  coverage  accuracy of these"
    )?;
    for (when, (meta, answers)) in ["before", "now"].iter().zip(rows) {
        writeln!(out, "{}", row(when, meta, answers)?)?;
    }
    if let Some(ece) = held_out {
        writeln!(out, "\nEach fold as the others would have it calibrated: ECE {ece:.3}")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn row(when: &str, meta: &ModelMeta, answers: &[Prediction]) -> anyhow::Result<String> {
    let (ece, (share, right)) = (score(answers, SEED)?.ece, coverage(answers, meta.uncertain_below));
    Ok(format!(
        "{when:<6} {:>12.3} {:>13.3} {:>4.2} s {:>14.4} {ece:>6.3} {:>14.1} % {:>7.1} % {:>16.1} %",
        meta.temperature,
        meta.gap_exponent,
        meta.short_s,
        cross_entropy(answers),
        100.0 * meta.uncertain_below,
        100.0 * share,
        100.0 * right
    ))
}
