//! `intone evaluate`: how good a model is on speakers whose truth is known.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use intone::Emotion;
use intone_train::evaluate::{Scores, recognize, score, write_predictions};
use intone_train::split::{Part, Protocol};

use crate::predict::recognizer;

/// Seed of the bootstrap that the intervals come from.
const SEED: u64 = 1;

/// Measure a model on one side of a speaker-independent split
///
/// Recognises every clip as `intone predict` does and prints accuracy and unweighted average recall (UAR) with 95 %
/// intervals over speakers, and how clips of each emotion were answered.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model file; without one, the embedded model
    model: Option<PathBuf>,

    /// Directories with the recordings, as for `intone train`
    #[arg(long, required = true, num_args = 1.., value_name = "DIR")]
    data: Vec<PathBuf>,

    /// The split: default, audeering, tfds, emobox/N, luna-jimenez/N, by-speaker/K/FOLD, loso/SPEAKER, manifest
    #[arg(long, default_value = "default")]
    protocol: Protocol,

    /// The side of it: train, validation or test
    #[arg(long, default_value = "test")]
    part: Part,

    /// Also write the probabilities for each clip as CSV
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let recognizer = recognizer(args.model.as_deref())?;
    let split = args.protocol.split(&crate::data::read(&args.data)?)?;
    let clips = split.part(args.part);
    let predictions = recognize(&recognizer, clips)?;
    if let Some(path) = &args.out {
        write_predictions(&predictions, path)?;
    }
    let scores = score(&predictions, SEED)?;
    let mut out = io::stdout().lock();
    print(&scores, args, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn print(scores: &Scores, args: &Args, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{} clips of {} speakers, {} of '{}'",
        scores.n, scores.n_speakers, args.part, args.protocol
    )?;
    writeln!(out, "accuracy  {}", scores.accuracy)?;
    writeln!(out, "UAR       {}", scores.uar)?;
    write!(out, "\n{:>9} |", "truth")?;
    for answer in Emotion::ALL {
        write!(out, "{:>8}", answer.name())?;
    }
    writeln!(out, " |  recall\n{:->10}+{:->49}+--------", "", "")?;
    for (truth, row) in Emotion::ALL.into_iter().zip(scores.confusion.iter()) {
        write!(out, "{:>9} |", truth.name())?;
        for n in row {
            write!(out, "{n:>8}")?;
        }
        let n: usize = row.iter().sum();
        let recall = 100.0 * row[truth.index()] as f64 / n.max(1) as f64;
        writeln!(out, " |{recall:>6.1} %")?;
    }
    Ok(())
}
