//! `intone cross-validate`: all folds of a protocol, trained and tested, and one report.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use intone_train::cross_validate::{Ended, FoldProgress, FoldResult, cross_validate, plan, write_all};
use intone_train::leak;
use intone_train::predictions::check_classes;
use intone_train::report::{self, Evaluation, Report};
use intone_train::split::{Family, Part};

use crate::evaluate::named;
use crate::progress::{counting_bar, note};
use crate::train::{Display, Experiment, stop_on_ctrl_c};

/// Train and test a model for every fold of a protocol
///
/// Each fold is a run of its own under RUN; a fold that is done is not done again, and one that was cut goes on from its
/// checkpoint. In the end predictions.csv has the test clips of all folds, and report.html, report.json, report.md and
/// folds.csv are made of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    experiment: Experiment,

    /// The folds: by-speaker/K[/SEED], sentence-and-speaker/K[/SEED], nested/K[/SEED] (of the speakers that `default` trains
    /// on), loso, emobox, luna-jimenez, cross-corpus, or one protocol as for `intone evaluate`
    #[arg(long, default_value = "by-speaker/5")]
    protocol: Family,

    /// Only these folds, the first being 1; the report is made once all are done. Several processes, or machines with one folder,
    /// can so share the work
    #[arg(long, num_args = 1.., value_name = "N")]
    fold: Vec<usize>,

    /// Go on where speakers of a published protocol are missing; folds without test clips are left out
    #[arg(long)]
    partial: bool,

    /// Report also where a class has no test clips: UAR and macro-F1 are then those of the others
    #[arg(long)]
    missing_classes: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (config, corpus) = args.experiment.begin()?;
    let run = &args.experiment.out;
    let folds = plan(&config, &args.protocol, &corpus, run, args.partial)?;
    if !args.missing_classes {
        check_classes(folds.iter().flat_map(|fold| fold.split.test()).map(|clip| clip.emotion))?;
    }
    leak::check_files(&corpus)?;
    let bar = counting_bar(corpus.clips.len(), "clips compared");
    let audio = leak::check_audio(&corpus.clips, &|| bar.inc(1));
    bar.finish_and_clear();
    let checks = vec![
        "speakers heard in training: none is tested in a fold that trains on it, proven for every fold"
            .to_owned(),
        audio?.sentence,
    ];
    let stop = stop_on_ctrl_c()?;
    let display = Display::new();
    let options = args.experiment.options(true, true);
    let ended = cross_validate(&folds, &args.fold, &options, &stop, &|progress| match progress {
        FoldProgress::Begin(fold) => display.say(&format!(
            "{}: {} clips to train on, {} to choose the epoch by, {} to test",
            fold.protocol,
            fold.split.train().len(),
            fold.split.validation().len(),
            fold.split.test().len()
        )),
        FoldProgress::Training(step) => display.show(&step),
        FoldProgress::Done(result) => display.say(&line(result)),
    })?;
    display.finish();
    let results = match ended {
        Ended::Finished(results) => results,
        Ended::Missing(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
            note(format_args!("no report yet: fold {} is not done", numbers.join(", ")));
            return Ok(ExitCode::SUCCESS);
        }
        Ended::Interrupted => {
            note("stopped; the same command goes on from there");
            return Ok(ExitCode::FAILURE);
        }
    };
    let tested: HashSet<&str> =
        folds.iter().flat_map(|fold| fold.split.test()).map(|clip| clip.id.as_str()).collect();
    let untested = corpus.clips.iter().filter(|clip| !tested.contains(clip.id.as_str()));
    let mut excluded = report::excluded(&corpus);
    excluded.extend(report::left_out(untested, &format!("tested in no fold of '{}'", args.protocol)));
    let mut absent: BTreeSet<String> = BTreeSet::new();
    for fold in args.protocol.folds(&corpus)? {
        absent.extend(Part::ALL.into_iter().flat_map(|part| fold.absent_speakers(part, &corpus)));
    }
    let evaluation = Evaluation {
        protocol: named(&args.protocol.to_string(), &Vec::from_iter(absent)),
        part: "test".to_owned(),
        command: args.command(),
        checks,
        excluded,
        ..Evaluation::default()
    };
    let report = write_all(&folds, &results, evaluation, run, args.missing_classes)?;
    let mut out = io::stdout().lock();
    print(&results, &report, &mut out)?;
    writeln!(out, "\n{}", run.join("report.html").display())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// The command that does the same again.
    fn command(&self) -> String {
        let flags = [(self.partial, " --partial"), (self.missing_classes, " --missing-classes")];
        let flags: String = flags.into_iter().filter_map(|(given, flag)| given.then_some(flag)).collect();
        let (recipe, protocol) = (self.experiment.recipe(), &self.protocol);
        format!("intone cross-validate {recipe} --data DIR --protocol {protocol}{flags} --out RUN")
    }
}

fn line(result: &FoldResult) -> String {
    format!(
        "{}: UAR {:.1} %  accuracy {:.1} %  ({} clips, {} speakers; epoch {})",
        result.fold,
        100.0 * result.uar,
        100.0 * result.accuracy,
        result.n,
        result.n_speakers,
        result.best_epoch
    )
}

fn print(results: &[FoldResult], report: &Report, out: &mut impl Write) -> io::Result<()> {
    results.iter().try_for_each(|result| writeln!(out, "{}", line(result)))?;
    let of = |value: fn(&FoldResult) -> f64| -> Vec<f64> { results.iter().map(value).collect() };
    writeln!(
        out,
        "\nmean over {} folds and standard deviation between them: UAR {}  accuracy {}",
        results.len(),
        report::mean_and_deviation(&of(|result| result.uar)),
        report::mean_and_deviation(&of(|result| result.accuracy))
    )?;
    writeln!(
        out,
        "all {} test clips of {} speakers: UAR {}  accuracy {}",
        report.n, report.n_speakers, report.uar, report.accuracy
    )
}
