//! `intone model card`: a model card, filled in from the model's file and a report on it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use intone::recognizer::EMBEDDED_MODEL;
use intone_train::metrics::Figure;
use intone_train::report::model_sha256;
use serde::Deserialize;

use super::{Info, megabytes, read};
use crate::terminal::thousands;

/// The card that is filled in where no other is given.
const TEMPLATE: &str = include_str!("card.md");

/// The largest report that is read; one of 10,000 clips of 1,000 speakers has 300 kB.
const MAX_REPORT_BYTES: u64 = 1 << 28;

/// Fill in a model card from the model's file and the report.json of `intone evaluate --out`
///
/// The template is Markdown with places such as {{results}}: file, size, precision, sha256, network, data, protocol,
/// split_hash, seed, created, commit, command, part, evaluated_protocol, n, n_speakers, results, classes, confusion,
/// groups, crowd, robustness, checks, intended_use, licence, notes. A report on another model is refused.
#[derive(Debug, clap::Args)]
pub(super) struct CardArgs {
    /// Model: a file, or hf:OWNER/NAME[@REVISION][/FILE]; without one, the embedded model
    pub(super) model: Option<PathBuf>,

    /// The report.json of an evaluation of this very file
    #[arg(long, value_name = "FILE")]
    report: PathBuf,

    /// Card to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,

    /// Markdown with places to fill in, instead of the built-in one
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
}

/// What a card takes of a report.
#[derive(Debug, Deserialize)]
struct Report {
    n: usize,
    n_speakers: usize,
    uar: Figure,
    accuracy: Figure,
    macro_f1: Figure,
    ece: Figure,
    brier: Figure,
    classes: Vec<Class>,
    confusion: Vec<Vec<usize>>,
    groups: Vec<Grouping>,
    evaluation: Option<Evaluation>,
    crowd: Option<Crowd>,
    robustness: Option<Robustness>,
}

#[derive(Debug, Deserialize)]
struct Class {
    emotion: String,
    n: usize,
    precision: Option<Figure>,
    recall: Option<Figure>,
    f1: Option<Figure>,
}

#[derive(Debug, Deserialize)]
struct Grouping {
    by: String,
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    name: String,
    n: usize,
    n_speakers: usize,
    uar: Figure,
    accuracy: Figure,
}

#[derive(Debug, Deserialize)]
struct Evaluation {
    model_sha256: Option<String>,
    protocol: String,
    part: String,
    #[serde(default)]
    command: String,
    #[serde(default)]
    checks: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Crowd {
    n: usize,
    listener: Judge,
    majority: Judge,
    system: Judge,
}

#[derive(Debug, Deserialize)]
struct Judge {
    uar: Figure,
    accuracy: Figure,
}

#[derive(Debug, Deserialize)]
struct Robustness {
    n: usize,
    clean: Figure,
    mean_uar: f64,
    retained: f64,
}

pub(super) fn card(args: &CardArgs) -> Result<ExitCode> {
    let info = read(args.model.as_deref())?;
    let report = read_report(&args.report)?;
    let bytes = args.model.as_deref().map(std::fs::read).transpose()?;
    let sha256 = model_sha256(bytes.as_deref().unwrap_or(EMBEDDED_MODEL));
    let Some(evaluation) = &report.evaluation else {
        bail!("{}: expected 'evaluation', which says what was evaluated and how", args.report.display());
    };
    match &evaluation.model_sha256 {
        Some(evaluated) if *evaluated == sha256 => {}
        evaluated => bail!(
            "{}: a report on another model: expected SHA-256 {sha256}, got {}",
            args.report.display(),
            evaluated.as_deref().unwrap_or("none")
        ),
    }
    let (template, name) = match &args.template {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            (text, path.display().to_string())
        }
        None => (TEMPLATE.to_owned(), "the built-in template".to_owned()),
    };
    let text = filled(&template, |place| value(place, &info, &report, evaluation, &sha256))
        .with_context(|| name.clone())?;
    std::fs::write(&args.out, text).with_context(|| args.out.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn read_report(path: &Path) -> Result<Report> {
    let in_file = || path.display().to_string();
    let n_bytes = std::fs::metadata(path).with_context(in_file)?.len();
    if n_bytes > MAX_REPORT_BYTES {
        bail!("{}: expected at most {MAX_REPORT_BYTES} bytes, got {n_bytes}", path.display());
    }
    let text = std::fs::read_to_string(path).with_context(in_file)?;
    serde_json::from_str(&text).with_context(in_file)
}

/// The template with every `{{place}}` replaced; paragraphs that come out empty are dropped.
fn filled(template: &str, value: impl Fn(&str) -> Option<String>) -> Result<String> {
    let mut paragraphs = Vec::new();
    for (number, paragraph) in template.split("\n\n").enumerate() {
        let mut text = String::new();
        let mut rest = paragraph;
        while let Some((before, after)) = rest.split_once("{{") {
            let (place, after) = after
                .split_once("}}")
                .with_context(|| format!("paragraph {}: '{{{{' without '}}}}'", number + 1))?;
            let place = place.trim();
            text += before;
            text +=
                &value(place).with_context(|| format!("paragraph {}: no such place: {place}", number + 1))?;
            rest = after;
        }
        text += rest;
        if !text.trim().is_empty() {
            paragraphs.push(text.trim_end().to_owned());
        }
    }
    Ok(paragraphs.join("\n\n") + "\n")
}

/// What belongs into a place; `None` for a place that is not known.
fn value(place: &str, info: &Info, report: &Report, evaluation: &Evaluation, sha256: &str) -> Option<String> {
    let origin = &info.meta.provenance;
    Some(match place {
        "file" => file_name(info),
        "size" => megabytes(info.bytes),
        "precision" => info.precision.to_owned(),
        "sha256" => sha256.to_owned(),
        "network" => format!("{}, {} weights", info.meta.architecture.name(), thousands(info.weights)),
        "data" => {
            let corpora = origin.corpora.iter().map(|c| format!("{}: {} clips", c.name, thousands(c.clips)));
            or_unknown(&corpora.collect::<Vec<_>>().join("; "))
        }
        "protocol" => or_unknown(&origin.protocol),
        "split_hash" => or_unknown(origin.split_hash.get(..12).unwrap_or_default()),
        "seed" => origin.seed.to_string(),
        "created" => or_unknown(&origin.created),
        "commit" => or_unknown(&origin.commit),
        "command" => or_unknown(&evaluation.command),
        "part" => evaluation.part.clone(),
        "evaluated_protocol" => evaluation.protocol.clone(),
        "n" => thousands(report.n),
        "n_speakers" => thousands(report.n_speakers),
        "results" => results(report),
        "classes" => classes(report),
        "confusion" => confusion(report),
        "groups" => groups(report),
        "crowd" => report.crowd.as_ref().map(crowd).unwrap_or_default(),
        "robustness" => report.robustness.as_ref().map(robustness).unwrap_or_default(),
        "checks" => evaluation.checks.iter().map(|check| format!("- {check}")).collect::<Vec<_>>().join("\n"),
        "intended_use" => or_unknown(&origin.intended_use),
        "licence" => or_unknown(origin.licence.trim_end_matches('.')),
        "notes" => origin.notes.clone(),
        _ => return None,
    })
}

fn file_name(info: &Info) -> String {
    let path = info.file.as_deref().map(Path::new).and_then(Path::file_name);
    path.map_or_else(|| "default.safetensors".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { "not known".to_owned() } else { text.to_owned() }
}

fn optional(figure: &Option<Figure>) -> String {
    figure.map_or_else(|| "\u{2013}".to_owned(), |figure| figure.to_string())
}

fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let mut lines = vec![
        line(&header.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()),
        format!("|---{}|", "|---:".repeat(header.len() - 1)),
    ];
    lines.extend(rows.into_iter().map(|row| line(&row)));
    lines.join("\n")
}

fn results(report: &Report) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let brier = report.brier.value;
    table(
        &["figure", "value [95 % interval]"],
        [
            row("UAR", report.uar.to_string()),
            row("accuracy", report.accuracy.to_string()),
            row("macro-F1", report.macro_f1.to_string()),
            row("expected calibration error", report.ece.to_string()),
            row("Brier score, 0 to 2", format!("{brier:.3}")),
        ],
    )
}

fn classes(report: &Report) -> String {
    let row = |class: &Class| {
        vec![
            class.emotion.clone(),
            class.n.to_string(),
            optional(&class.recall),
            optional(&class.precision),
            optional(&class.f1),
        ]
    };
    table(&["class", "clips", "recall", "precision", "F1"], report.classes.iter().map(row))
}

fn confusion(report: &Report) -> String {
    let mut header = vec![""];
    header.extend(report.classes.iter().map(|class| class.emotion.as_str()));
    let row = |(class, counts): (&Class, &Vec<usize>)| {
        std::iter::once(class.emotion.clone()).chain(counts.iter().map(usize::to_string)).collect()
    };
    table(&header, report.classes.iter().zip(&report.confusion).map(row))
}

/// By corpus, sex and age: who is served worse should be seen on the card.
fn groups(report: &Report) -> String {
    let shown =
        report.groups.iter().filter(|grouping| ["corpus", "sex", "age"].contains(&grouping.by.as_str()));
    let rows = shown.flat_map(|grouping| {
        grouping.groups.iter().map(|group| {
            vec![
                format!("{}: {}", grouping.by, group.name),
                group.n.to_string(),
                group.n_speakers.to_string(),
                group.uar.to_string(),
                group.accuracy.to_string(),
            ]
        })
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    table(&["group", "clips", "speakers", "UAR", "accuracy"], rows)
}

fn crowd(crowd: &Crowd) -> String {
    let row =
        |name: &str, judge: &Judge| vec![name.to_owned(), judge.uar.to_string(), judge.accuracy.to_string()];
    let rows = [
        row("one listener", &crowd.listener),
        row("most listeners", &crowd.majority),
        row("this model", &crowd.system),
    ];
    let n = thousands(crowd.n);
    format!(
        "Beside people who heard the voice alone, on the {n} clips that were voted on:\n\n{}",
        table(&["who", "UAR", "accuracy"], rows)
    )
}

fn robustness(robustness: &Robustness) -> String {
    format!(
        "Under noise, codecs, reverberation, clipping, other levels, speeds and lengths ({} clips): mean UAR {:.1} %, against {} \
         clean; {:.0} % of what it is above chance is left.",
        thousands(robustness.n),
        100.0 * robustness.mean_uar,
        robustness.clean,
        100.0 * robustness.retained
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_and_empty_paragraphs_dropped() {
        let value = |place: &str| match place {
            "a" => Some("1".to_owned()),
            "none" => Some(String::new()),
            _ => None,
        };
        assert_eq!(filled("x {{a}} {{ a }}\n\n{{none}}\n\ny\n", value).unwrap(), "x 1 1\n\ny\n");
        let error = |text: &str| format!("{:#}", filled(text, value).unwrap_err());
        assert_eq!(error("{{b}}"), "paragraph 1: no such place: b");
        assert_eq!(error("x\n\n{{a"), "paragraph 2: '{{' without '}}'");
    }
}
