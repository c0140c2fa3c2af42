//! `intone report`: the figures of predictions, by this program or any other.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use intone_train::corpus::crema_d;
use intone_train::report::{self, Comparison, Input, Report};

use crate::progress::note;

/// Report on predictions, and compare systems
///
/// A run is a folder with a predictions.csv, as `intone evaluate --out` and `intone cross-validate` leave it, or such a
/// file of any other system: clip,corpus,speaker,sex,sentence,truth,angry,disgust,fear,happy,neutral,sad. One run gives
/// report.html, report.json and report.md, in its own folder unless --out names another; several give comparison.html,
/// .json and .md on the clips that all answered, in the folder of --out. Without --out, a file and several runs are only
/// summed up on standard output.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folders of runs, or files of predictions; the others are compared with the first
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,

    /// The folder to write into [default: that of a single run; nothing is written for a file or several runs]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// CREMA-D's tabulatedVotes.csv: puts listeners beside a single system
    #[arg(long, value_name = "FILE")]
    votes: Option<PathBuf>,

    /// Report also where a class has no clips: UAR and macro-F1 are then those of the others
    #[arg(long)]
    missing_classes: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.votes.is_some() && args.runs.len() > 1 {
        anyhow::bail!("--votes puts listeners beside one system: expected one run, got {}", args.runs.len());
    }
    let votes = args.votes.as_deref().map(crema_d::read_votes).transpose()?.unwrap_or_default();
    let mut inputs: Vec<Input> = Vec::new();
    for path in &args.runs {
        let mut input = report::read_run(path)?;
        for answered in &input.answers {
            let stem = answered.clip.strip_prefix("crema-d/");
            if let Some(votes) = stem.and_then(|stem| votes.get(stem)) {
                input.votes.insert(answered.clip.clone(), *votes);
            }
        }
        inputs.push(input);
    }
    let mut out = io::stdout().lock();
    match &inputs[..] {
        [input] => {
            let dir = args.out.as_deref().or_else(|| args.runs[0].is_dir().then_some(args.runs[0].as_path()));
            let in_run = || args.runs[0].display().to_string();
            let report = Report::new(input, args.missing_classes).with_context(in_run)?;
            writeln!(out, "{} clips of {} speakers", report.n, report.n_speakers)?;
            writeln!(out, "UAR       {}", report.uar)?;
            writeln!(out, "accuracy  {}", report.accuracy)?;
            writeln!(out, "macro-F1  {}", report.macro_f1)?;
            writeln!(out, "ECE       {}", report.ece)?;
            match dir {
                Some(dir) => {
                    report::write(&report, dir)?;
                    writeln!(out, "\n{}", dir.join("report.html").display())?;
                }
                None => note(
                    "no report was written, because a file has no folder of its own: --out DIR writes it",
                ),
            }
        }
        _ => compare(&inputs, args, &mut out)?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn compare(inputs: &[Input], args: &Args, out: &mut impl Write) -> anyhow::Result<()> {
    let runs = || args.runs.iter().map(|run| run.display().to_string()).collect::<Vec<_>>().join(", ");
    let comparison = Comparison::new(inputs, args.missing_classes).with_context(runs)?;
    let width =
        comparison.systems.iter().map(|system| crate::terminal::width(&system.name)).max().unwrap_or(0);
    writeln!(out, "{} clips of {} speakers in common", comparison.n, comparison.n_speakers)?;
    for system in &comparison.systems {
        let name = crate::terminal::column(&crate::terminal::printable(&system.name), width);
        writeln!(out, "{name}  UAR {}  accuracy {}", system.uar, system.accuracy)?;
    }
    for difference in &comparison.differences {
        let uar = difference.uar;
        let (name, less) = (&difference.name, &difference.less);
        let (name, less) = (crate::terminal::printable(name), crate::terminal::printable(less));
        write!(out, "{name} less {less}: UAR {:+.1} points", 100.0 * uar.value)?;
        match uar.has_interval() {
            true => writeln!(out, " [{:+.1}, {:+.1}]", 100.0 * uar.low, 100.0 * uar.high)?,
            false => writeln!(out)?,
        }
    }
    match args.out.as_deref() {
        Some(dir) => {
            report::write_comparison(&comparison, dir)?;
            writeln!(out, "\n{}", dir.join("comparison.html").display())?;
        }
        None => note("no comparison was written: --out DIR writes it"),
    }
    Ok(())
}
