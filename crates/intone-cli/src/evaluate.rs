//! `intone evaluate`: how good a model is on speakers whose truth is known.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use intone::recognizer::EMBEDDED_MODEL;
use intone::{Emotion, Recognizer};
use intone_train::corpus::{Clip, Corpus};
use intone_train::evaluate::{Prediction, Scores, recognize, score};
use intone_train::leak;
use intone_train::predictions::check_classes;
use intone_train::report::{self, Evaluation, Excluded, Failed, Report, RunFiles, SEED};
use intone_train::robustness::{self, Robustness};
use intone_train::split::{Family, Part, Protocol, Split};

use crate::predict::recognizer;
use crate::progress::counting_bar;
use crate::terminal::complain;

/// Measure a model on one side of a speaker-independent split
///
/// Recognises every clip as `intone predict` does and prints accuracy and unweighted average recall (UAR) with 95 %
/// intervals over speakers, and how clips of each emotion were answered. Clips that are answered with silence are left out and
/// named. With --out, a folder receives predictions.csv, and from it report.html, report.json and report.md. A speaker or a
/// recording that the model heard in training stops the evaluation.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model: a file, or hf:OWNER/NAME[@REVISION][/FILE]; without one, the embedded model
    pub(crate) model: Option<PathBuf>,

    /// Directories with the recordings, as for `intone train`
    #[arg(long, required = true, num_args = 1.., value_name = "DIR")]
    data: Vec<PathBuf>,

    /// The split: default, final, audeering, tfds, emobox/N, luna-jimenez/N, by-speaker/K/FOLD,
    /// sentence-and-speaker/K/FOLD, loso/SPEAKER, cross-corpus/TRAIN/TEST, all, manifest
    #[arg(long, default_value = "default")]
    protocol: String,

    /// The side of it: train, validation or test
    #[arg(long, default_value = "test")]
    part: Part,

    /// The folder of the report
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,

    /// Evaluate also where speakers of a published protocol are missing
    #[arg(long)]
    partial: bool,

    /// Recognise the clips again under noise, codecs, reverberation, other speeds and more: at most N of them, evenly spaced,
    /// or all, 50 times; needs --out
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, requires = "out",
        value_parser = clap::value_parser!(u32).range(1..))]
    robustness: Option<Option<u32>>,

    /// Evaluate also where a class has no clips: UAR and macro-F1 are then those of the others
    #[arg(long)]
    missing_classes: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let protocol = one_protocol(&args.protocol)?;
    args.out.as_deref().map_or(Ok(()), spares_trainings)?;
    let recognizer = recognizer(args.model.as_deref())?;
    let corpus = crate::data::read(&args.data)?;
    let split = protocol.split_for(args.part, &corpus, args.partial)?;
    let clips = split.part(args.part);
    if !args.missing_classes {
        check_classes(clips.iter().map(|clip| clip.emotion))?;
    }
    let checks = look_for_leaks(&recognizer, args, &corpus, clips)?;
    let bar = counting_bar(clips.len(), "clips");
    let answers = recognize(&recognizer, clips, &|| bar.inc(1))?;
    bar.finish_and_clear();
    let mut predictions: Vec<Prediction> = Vec::new();
    let (mut silent, mut failed) = (Vec::new(), Vec::new());
    for (clip, answer) in clips.iter().zip(answers) {
        match answer {
            Ok(Some(prediction)) => predictions.push(prediction),
            Ok(None) => silent.push(clip),
            Err(error) => {
                complain(format_args!("intone: {error}"));
                failed.push(Failed { clip: clip.id.clone(), error: without_folder(&error, &clip.path) });
            }
        }
    }
    let scores = score(&predictions, SEED)?;
    let n_failed = failed.len();
    if let Some(dir) = &args.out {
        let bytes = args.model.as_deref().map(std::fs::read).transpose()?;
        let evaluation = Evaluation {
            model: Some(model_name(args.model.as_deref())),
            model_sha256: Some(report::model_sha256(bytes.as_deref().unwrap_or(EMBEDDED_MODEL))),
            protocol: named(&protocol.to_string(), &protocol.absent_speakers(args.part, &corpus)),
            part: args.part.to_string(),
            uncertain_below: Some(recognizer.meta().uncertain_below).filter(|&threshold| threshold > 0.0),
            command: command(args, &protocol),
            checks: checks.clone(),
            excluded: left_out(&corpus, &split, &silent),
            failed,
            folds: Vec::new(),
        };
        let votes: BTreeMap<_, _> =
            clips.iter().filter_map(|clip| Some((clip.id.clone(), clip.votes?))).collect();
        report::write_run(dir, &RunFiles { predictions: &predictions, votes, evaluation })?;
        if let Some(most) = args.robustness {
            report::write_robustness(dir, &changed(&recognizer, clips, &predictions, most)?)?;
        }
        report::write(&Report::new(&report::read_run(dir)?, args.missing_classes)?, dir)?;
    }
    let mut out = io::stdout().lock();
    print(&scores, &protocol, args.part, &mut out)?;
    for excluded in report::silent(silent.iter().copied()) {
        let n = excluded.n;
        let clips = if n == 1 { "1 clip" } else { &format!("{n} clips") };
        writeln!(out, "left out, {clips} of {}: {}", excluded.corpus, excluded.reason)?;
    }
    checks.iter().try_for_each(|check| writeln!(out, "{check}"))?;
    if let Some(dir) = &args.out {
        writeln!(out, "\n{}", dir.join("report.html").display())?;
    }
    out.flush()?;
    Ok(if n_failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The clips that could be recognised once more, changed.
fn changed(
    recognizer: &Recognizer,
    clips: &[Clip],
    predictions: &[Prediction],
    most: Option<u32>,
) -> anyhow::Result<Robustness> {
    let answered: HashSet<&str> = predictions.iter().map(|prediction| prediction.clip.as_str()).collect();
    let good: Vec<Clip> = clips.iter().filter(|clip| answered.contains(clip.id.as_str())).cloned().collect();
    let some = robustness::sample(&good, most.map_or(usize::MAX, |most| most as usize));
    let bar = counting_bar(some.len() * robustness::n_passes(), "changed clips");
    let robustness = robustness::measure(recognizer, &some, &|| bar.inc(1));
    bar.finish_and_clear();
    Ok(robustness?)
}

/// Refuses a folder in which a training has left answers of its own.
fn spares_trainings(out: &Path) -> anyhow::Result<()> {
    let left =
        ["checkpoint.safetensors", "fold.json", "folds.csv"].into_iter().find(|name| out.join(name).exists());
    left.map_or(Ok(()), |name| {
        anyhow::bail!(
            "{}: holds a training ({name}), whose predictions.csv would be lost; choose another folder",
            out.display()
        )
    })
}

/// A protocol of one fold: a model can be evaluated on no other.
fn one_protocol(text: &str) -> anyhow::Result<Protocol> {
    // A family comes second: `by-speaker/5/1` is all folds dealt with the seed 1 to a cross-validation, and the first fold here.
    text.parse().or_else(|_| {
        text.parse::<Family>()?;
        anyhow::bail!(
            "split protocol '{text}' has several folds, and a model belongs to one of them: name that one, as in \
             emobox/1 or by-speaker/5/1, or train and test all with `intone cross-validate`"
        )
    })
}

/// Proves that the model heard neither the speakers nor the recordings, as far as it can be proven.
fn look_for_leaks(
    recognizer: &Recognizer,
    args: &Args,
    corpus: &Corpus,
    clips: &[Clip],
) -> anyhow::Result<Vec<String>> {
    leak::check_files(corpus)?;
    let beside = args.model.as_deref().and_then(leak::split_beside);
    let heard = leak::heard(&recognizer.meta().provenance, beside.as_deref(), corpus)?;
    let speakers = leak::check_speakers(&heard, args.part, clips)?;
    let mut training = Vec::new();
    if args.part != Part::Train {
        let evaluated: HashSet<&str> = clips.iter().map(|clip| clip.id.as_str()).collect();
        training = leak::heard_clips(&heard, corpus);
        training.retain(|clip| !evaluated.contains(clip.id.as_str()));
    }
    let all = [clips, &training[..]].concat();
    let bar = counting_bar(all.len(), "clips compared");
    let audio = leak::check_audio(&all, &|| bar.inc(1));
    bar.finish_and_clear();
    let audio = audio?;
    let compared = leak::compared(&heard, args.part, &training, &audio.unreadable);
    Ok(vec![speakers, audio.sentence, compared])
}

/// The name of a protocol, and how much of it is missing.
pub(crate) fn named(protocol: &str, absent: &[String]) -> String {
    match absent.len() {
        0 => protocol.to_owned(),
        n => format!("{protocol}, without {n} of its speakers ({})", absent.join(", ")),
    }
}

/// What was left out of the data, what the protocol puts on no side, and what is silence to the model.
fn left_out(corpus: &Corpus, split: &Split, silent: &[&Clip]) -> Vec<Excluded> {
    let mut excluded = report::excluded(corpus);
    excluded.extend(report::silent(silent.iter().copied()));
    excluded.extend(report::left_out(split.left_out(), &format!("on no side of '{}'", split.protocol())));
    excluded
}

/// The message without the folder of the file: reports are the same wherever the data lie.
fn without_folder(error: &intone_train::Error, path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    error.to_string().replace(&*path.to_string_lossy(), &name)
}

fn model_name(model: Option<&Path>) -> String {
    let name = model.map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    name.unwrap_or_else(|| "the embedded model".to_owned())
}

fn command(args: &Args, protocol: &Protocol) -> String {
    let model = args.model.as_deref().map(|_| "MODEL ").unwrap_or_default();
    let robustness = match args.robustness {
        None => String::new(),
        Some(None) => " --robustness".to_owned(),
        Some(Some(n)) => format!(" --robustness={n}"),
    };
    let flags = [(args.partial, " --partial"), (args.missing_classes, " --missing-classes")];
    let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect();
    format!(
        "intone evaluate {model}--data DIR --protocol {protocol} --part {}{robustness}{flags} --out RUN",
        args.part
    )
}

fn print(scores: &Scores, protocol: &Protocol, part: Part, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{} clips of {} speakers, {part} of '{protocol}'", scores.n, scores.n_speakers)?;
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
        match n {
            0 => writeln!(out, " |{:>8}", "-")?,
            _ => writeln!(out, " |{:>6.1} %", 100.0 * row[truth.index()] as f64 / n as f64)?,
        }
    }
    writeln!(out)
}
