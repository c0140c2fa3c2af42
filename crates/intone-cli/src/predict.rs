//! `intone predict`: Recognise the emotions in recordings.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use intone::Recognizer;

use self::in_order::in_order;
use self::out_file::OutFile;
pub(crate) use self::output::shown;
use self::output::{Answer, Format, Outcome, Report};
use self::shard::Shard;
use crate::inputs::{self, Input};
use crate::progress::{bar_for_many, note};
use crate::terminal::{Style, complain};

mod in_order;
mod out_file;
mod output;
mod parquet;
mod rows;
mod shard;

/// Recognise the emotions in recordings
///
/// Reads WAV, FLAC, Ogg Vorbis, MP3, AAC, AIFF, and the audio of MP4 and Matroska files; what a file is says its
/// content. docs/scale.md is about a great many. Exit code 0: all recordings were recognised; 1: some were not; 2: the command line or the model
/// cannot be used.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Recordings; folders, which are searched for audio files; `-` for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Model to use instead of the embedded one: a file, or hf:OWNER/NAME[@REVISION][/FILE]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,

    /// Form of the output [default: table, or what the ending of --out says]
    #[arg(short, long, value_enum)]
    format: Option<Format>,

    /// Write to this file (jsonl, csv or parquet), each row as soon as it is known
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Go on with the file of --out: leave out the recordings that it holds, answers and errors, and add the others
    #[arg(long, requires = "out")]
    resume: bool,

    /// Only part I of N of the recordings, for jobs that share them: which part one belongs to says its path
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,

    /// Show only the N most probable emotions
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top: Option<u32>,

    /// Choose among these emotions only (their probabilities then sum to 1); an answer that is uncertain among all stays so
    #[arg(short, long, value_name = "A,B", value_delimiter = ',')]
    classes: Option<Vec<String>>,

    /// Add what the network decides by, a vector for each recording (json and jsonl)
    #[arg(long)]
    embedding: bool,

    /// Number of recordings to work on at the same time [default: one per processor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let format = format(args)?;
    if args.embedding && !matches!(format, Format::Json | Format::Jsonl) {
        bail!("--embedding: expected --format json or jsonl, which have room for vectors");
    }
    let recognizer = recognizer(args.model.as_deref())?;
    let labels = chosen_labels(args.classes.as_deref(), recognizer.labels())?;
    let mut inputs = inputs::expand(&args.paths)?;
    if let Some(shard) = args.shard {
        inputs.retain(|input| shard.contains(&input.path));
    }
    let open = |path: &PathBuf| OutFile::open(path, format, &labels, args.resume);
    let Some(mut file) = args.out.as_ref().map(open).transpose()? else {
        let n_failed =
            answer_all(args, recognizer, inputs.into(), labels, format, true, &mut io::stdout().lock())?;
        return Ok(exit_code(n_failed));
    };
    let (n_all, mut n_failed_before) = (inputs.len(), 0);
    inputs.retain(|input| {
        let held = file.holds(&input.path);
        n_failed_before += usize::from(held == Some(true));
        held.is_none()
    });
    if inputs.len() < n_all {
        let n_held = n_all - inputs.len();
        let failed = match n_failed_before {
            0 => String::new(),
            n => format!(", {n} of them with an error"),
        };
        note(format_args!("intone: {n_held} of {n_all} recordings are there already{failed}"));
    }
    let (format, is_new) = (file.row_format(), file.is_new());
    let n_failed = answer_all(args, recognizer, inputs.into(), labels, format, is_new, &mut file)?;
    file.finish()?;
    Ok(exit_code(n_failed_before + n_failed))
}

/// The form of the output, from what was asked for and the ending of the file.
fn format(args: &Args) -> anyhow::Result<Format> {
    let Some(path) = &args.out else {
        return match args.format {
            Some(Format::Parquet) => bail!("--format parquet: expected --out FILE, which it is written to"),
            format => Ok(format.unwrap_or_default()),
        };
    };
    match (args.format, path.extension().and_then(|ending| ending.to_str())) {
        (Some(format @ (Format::Jsonl | Format::Csv | Format::Parquet)), _) => Ok(format),
        (None, Some("jsonl")) => Ok(Format::Jsonl),
        (None, Some("csv")) => Ok(Format::Csv),
        (None, Some("parquet")) => Ok(Format::Parquet),
        _ => bail!(
            "--out {}: expected --format jsonl, csv or parquet, or one of these endings",
            path.display()
        ),
    }
}

/// Writes an answer for each of the inputs. Gives the number of those that could not be recognised.
fn answer_all(
    args: &Args,
    recognizer: Recognizer,
    inputs: Arc<[Input]>,
    labels: Vec<String>,
    format: Format,
    is_new: bool,
    out: &mut impl Write,
) -> anyhow::Result<usize> {
    let top = args.top.map(|top| top as usize);
    let n_jobs = match args.jobs {
        Some(n_jobs) => usize::from(n_jobs),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let paths = inputs.iter().map(|input| input.path.as_path());
    let mut report = Report::new(format, Style::of_stdout(), labels.clone(), top, paths);
    if is_new {
        report.begin(out)?;
    }
    let progress = bar_for_many(inputs.len(), "recordings");
    let mut n_failed = 0;
    let work = {
        let (inputs, embedding) = (inputs.clone(), args.embedding);
        move |index: usize| recognize(&recognizer, &inputs[index], &labels, top, embedding)
    };
    in_order(inputs.len(), n_jobs, work, |index, outcome| {
        let path = &inputs[index].path;
        n_failed += usize::from(matches!(outcome, Outcome::Error(_)));
        progress.suspend(|| {
            tell(format, path, &outcome);
            report.write(out, path, &outcome)?;
            out.flush()
        })?;
        progress.inc(1);
        io::Result::Ok(())
    })?;
    progress.finish_and_clear();
    report.end(out)?;
    out.flush()?;
    if n_failed > 0 && inputs.len() > 1 {
        complain(format_args!("intone: {n_failed} of {} recordings could not be recognised", inputs.len()));
    }
    Ok(n_failed)
}

fn exit_code(n_failed: usize) -> ExitCode {
    if n_failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The recogniser of a model file, or of the embedded model.
pub(crate) fn recognizer(model: Option<&Path>) -> anyhow::Result<Recognizer> {
    Ok(match model {
        Some(path) => Recognizer::open(path)?,
        None => Recognizer::embedded()?,
    })
}

/// The classes to choose among, in the order of the model's labels.
fn chosen_labels(classes: Option<&[String]>, labels: &[String]) -> intone::Result<Vec<String>> {
    let Some(classes) = classes else { return Ok(labels.to_vec()) };
    let classes: Vec<&str> = classes.iter().map(|class| class.trim()).collect();
    intone::scores::check_classes(&classes, labels)?;
    Ok(labels.iter().filter(|label| classes.contains(&label.as_str())).cloned().collect())
}

fn recognize(
    recognizer: &Recognizer,
    input: &Input,
    labels: &[String],
    top: Option<usize>,
    embedding: bool,
) -> Outcome {
    let answer = || -> anyhow::Result<Answer> {
        let begin = Instant::now();
        let mut stream = input.open()?;
        let scores = recognizer.recognize_stream(&mut stream)?.restrict(labels)?;
        let milliseconds = 1e3 * begin.elapsed().as_secs_f64();
        log::info!("{}: {:.2} s of audio in {milliseconds:.1} ms", shown(&input.path), scores.duration_s);
        let warnings = stream.warnings().iter().map(ToString::to_string).collect();
        let embedding = embedding.then(|| scores.embedding().to_vec());
        Ok(Answer { embedding, ..Answer::new(&scores, top.unwrap_or(labels.len()), warnings) })
    };
    // Decoders are large and read hostile bytes. None is known to panic; if one does, the other recordings
    // shall have their answers nevertheless. Nothing that is shared is changed on the way.
    match catch_unwind(AssertUnwindSafe(answer)) {
        Ok(Ok(answer)) => Outcome::Answer(answer),
        Ok(Err(error)) => Outcome::Error(without_path(&error)),
        Err(_) => Outcome::Error("the decoder failed on this file; please report it".into()),
    }
}

/// What is wrong, without the name of the file: that stands beside it.
pub(crate) fn without_path(error: &anyhow::Error) -> String {
    match error.downcast_ref::<intone::Error>() {
        Some(intone::Error::InFile { error, .. }) => error.to_string(),
        _ => format!("{error:#}"),
    }
}

/// Says on standard error what the output itself does not say to the person who reads it.
fn tell(format: Format, path: &Path, outcome: &Outcome) {
    use std::io::IsTerminal;
    match outcome {
        Outcome::Answer(answer) if format == Format::Table => {
            for warning in &answer.warnings {
                complain(format_args!("intone: {}: warning: {warning}", shown(path)));
            }
        }
        // On a terminal the error stands in the table already.
        Outcome::Error(error) if format == Format::Table && !io::stdout().is_terminal() => {
            complain(format_args!("intone: {}: {error}", shown(path)));
        }
        _ => {}
    }
}
