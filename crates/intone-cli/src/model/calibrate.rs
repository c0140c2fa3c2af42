//! `intone model calibrate`: Confidences of a model, fitted on the speakers of a cross-validation.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use intone::model::{ModelFile, ModelMeta};
use intone_train::calibrate::{FoldAnswers, recalibrate};
use intone_train::evaluate::{coverage, cross_entropy, score};
use intone_train::leak;
use intone_train::report::SEED;

use crate::terminal::thousands;

/// Fit a model's confidences by the folds of a cross-validation of its recipe
///
/// A training calibrates its model on its validation speakers; ten of them may be easier or harder than most. The models of `intone
/// cross-validate` answer every speaker who was left out of their own training: from the answers to the speakers that MODEL knows,
/// never those that it is tested on, come its temperature, the exponent of the gaps between its logits, and the confidence below
/// which an answer is uncertain. The weights stay as they are.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Model to read: a file, or hf:OWNER/NAME[@REVISION][/FILE]
    pub(super) model: PathBuf,

    /// The folder of a cross-validation with the model's configuration; folds that are done count
    #[arg(long, value_name = "RUN")]
    folds: PathBuf,

    /// Directories with the corpora that the model was trained on
    #[arg(long, required = true, num_args = 1.., value_name = "DIR")]
    data: Vec<PathBuf>,

    /// Model file to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut meta = ModelFile::open(&args.model)?.meta;
    let corpus = crate::data::read(&args.data)?;
    let beside = leak::split_beside(&args.model);
    let heard = leak::heard(&meta.provenance, beside.as_deref(), &corpus)?;
    let answers = FoldAnswers::read(&args.folds, &meta, &heard)?;
    let before = meta.clone();
    let scores = recalibrate(&mut meta, &answers)?;
    ModelFile::write_again(&args.model, &args.out, &meta)?;
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
        "        temperature  gap exponent  cross-entropy    ECE  uncertain below  coverage  accuracy of these"
    )?;
    writeln!(out, "{}", row("before", &before, &answers)?)?;
    writeln!(out, "{}", row("now", &meta, &answers)?)?;
    if answers.n_folds() > 1 {
        writeln!(out, "\nEach fold as the others would have it calibrated: ECE {:.3}", scores.ece)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// How well the model's confidences fit these answers.
fn row(when: &str, meta: &ModelMeta, answers: &FoldAnswers) -> anyhow::Result<String> {
    let answers = answers.at(meta.calibration());
    let (ece, (share, right)) = (score(&answers, SEED)?.ece, coverage(&answers, meta.uncertain_below));
    Ok(format!(
        "{when:<6} {:>12.3} {:>13.3} {:>14.4} {ece:>6.3} {:>14.1} % {:>7.1} % {:>16.1} %",
        meta.temperature,
        meta.gap_exponent,
        cross_entropy(&answers),
        100.0 * meta.uncertain_below,
        100.0 * share,
        100.0 * right
    ))
}
