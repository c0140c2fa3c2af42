//! `intone model card`: a model card, filled in from the model's file and a report on it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use intone::recognizer::EMBEDDED_MODEL;
use intone_train::metrics::Figure;
use intone_train::report::{Gap, model_sha256};
use intone_train::robustness::{KindResult, Robustness};
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
/// groups (with the gap between the sexes), crowd, robustness (with a table of all changes), checks, intended_use, licence,
/// notes. A report on another model is refused.
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
    ece_if_calibrated: Option<Figure>,
    brier: Figure,
    classes: Vec<Class>,
    confusion: Vec<Vec<usize>>,
    groups: Vec<Grouping>,
    spread: Spread,
    certain: Option<Certain>,
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
    gap: Option<Gap>,
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
struct Spread {
    worst_tenth: f64,
}

#[derive(Debug, Deserialize)]
struct Certain {
    threshold: f32,
    coverage: Figure,
    accuracy: Option<Figure>,
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
    by_sex: Vec<OneSex>,
}

#[derive(Debug, Deserialize)]
struct OneSex {
    sex: String,
    listener: Judge,
    system: Judge,
}

#[derive(Debug, Deserialize)]
struct Judge {
    uar: Figure,
    accuracy: Figure,
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

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let cell = |cell: &String| cell.replace('|', "\\|").replace(['\n', '\r'], " ");
    let line = |cells: &[String]| format!("| {} |", cells.iter().map(cell).collect::<Vec<_>>().join(" | "));
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
    let mut rows = vec![
        row("UAR", report.uar.to_string()),
        row("UAR of the worst tenth of the speakers, mean", percent(report.spread.worst_tenth)),
        row("accuracy", report.accuracy.to_string()),
        row("macro-F1", report.macro_f1.to_string()),
        row("expected calibration error", report.ece.to_string()),
    ];
    if let Some(drawn) = report.ece_if_calibrated {
        let name =
            "the same if each answer were right as often as its confidence says: mean, 95 % of the draws";
        rows.push(row(name, drawn.to_string()));
    }
    rows.push(row("Brier score, 0 to 2", format!("{brier:.3}")));
    if let Some(certain) = &report.certain {
        let threshold = percent(certain.threshold.into());
        let (coverage, accuracy) = (certain.coverage, optional(&certain.accuracy));
        rows.push(row(
            &format!(
                "answers that are not `uncertain` (confidence of {threshold} or more): coverage; accuracy"
            ),
            format!("{coverage}; {accuracy}"),
        ));
    }
    table(&["figure", "value [95 % interval]"], rows)
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

/// By corpus, sex and age, and how far the sexes are apart: who is served worse should be seen on the card.
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
    let gaps =
        report.groups.iter().filter(|grouping| grouping.by == "sex").filter_map(|sex| sex.gap.as_ref());
    let gaps: String = gaps.map(|gap| format!("\n\n{gap}")).collect();
    table(&["group", "clips", "speakers", "UAR", "accuracy"], rows) + &gaps
}

fn crowd(crowd: &Crowd) -> String {
    let row =
        |name: &str, judge: &Judge| vec![name.to_owned(), judge.uar.to_string(), judge.accuracy.to_string()];
    let mut rows = vec![
        row("one listener", &crowd.listener),
        row("most listeners", &crowd.majority),
        row("this model", &crowd.system),
    ];
    for one in &crowd.by_sex {
        rows.push(row(&format!("one listener, {} speakers", one.sex), &one.listener));
        rows.push(row(&format!("this model, {} speakers", one.sex), &one.system));
    }
    let n = thousands(crowd.n);
    format!(
        "Beside people who heard the voice alone, on the {n} clips that were voted on:\n\n{}",
        table(&["who", "UAR", "accuracy"], rows)
    )
}

/// How many kinds of change are named as those that cost most and least.
const N_NAMED: usize = 3;

fn robustness(robustness: &Robustness) -> String {
    let mut sorted: Vec<&KindResult> = robustness.kinds.iter().collect();
    sorted.sort_by(|a, b| a.mean_uar().total_cmp(&b.mean_uar()));
    let named = |kinds: &[&KindResult]| {
        let named = kinds.iter().map(|kind| format!("{} ({})", kind.name, percent(kind.mean_uar())));
        named.collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        "The same speech changed in {} ways ({} clips): the mean of their UAR is {}, against {} clean, {}.",
        sorted.len(),
        thousands(robustness.n),
        percent(robustness.mean_uar),
        robustness.clean,
        robustness.left()
    );
    if sorted.len() >= 2 * N_NAMED {
        let (worst, rest) = sorted.split_at(N_NAMED);
        let best = &rest[rest.len() - N_NAMED..];
        text += &format!(" It is lowest under {} and highest under {}.", named(worst), named(best));
    }
    if !robustness.skipped.is_empty() {
        text += &format!(" Left out: {}.", robustness.skipped.join("; "));
    }
    let row = |kind: &KindResult| {
        let levels = kind.levels.iter().map(|level| format!("{}: {}", level.level, percent(level.uar.value)));
        let levels = levels.collect::<Vec<_>>().join(", ");
        let certain =
            kind.levels.iter().filter_map(|level| Some(format!("{}: {}", level.level, level.certain?)));
        let certain = certain.collect::<Vec<_>>().join("; ");
        vec![kind.name.clone(), kind.unit.clone(), percent(kind.mean_uar()), levels, certain]
    };
    let header = ["change", "measured in", "mean UAR", "UAR at each level", "answers not `uncertain`"];
    format!("{text}\n\n{}", table(&header, robustness.kinds.iter().map(row)))
}

#[cfg(test)]
mod tests {
    use intone_train::robustness::{Certain, LevelResult};

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

    fn figure(value: f64, low: f64, high: f64) -> Figure {
        Figure { value, low, high }
    }

    fn changed(names: &[&str], skipped: &[&str], retained: Option<f64>) -> Robustness {
        let kind = |(number, name): (usize, &&str)| {
            let level = |level: f64| LevelResult {
                level,
                uar: Figure::alone(0.1 * (number + 1) as f64),
                accuracy: Figure::alone(0.5),
                certain: (level > 0.0).then_some(Certain { coverage: 0.25, accuracy: 0.75 }),
            };
            KindResult {
                name: (*name).to_owned(),
                unit: "dB".to_owned(),
                levels: vec![level(20.0), level(-3.5)],
            }
        };
        Robustness {
            n: 1_234,
            clean: figure(0.8, 0.7, 0.9),
            kinds: names.iter().enumerate().map(kind).collect(),
            mean_uar: 0.5,
            retained,
            skipped: skipped.iter().map(|&why| why.to_owned()).collect(),
        }
    }

    #[test]
    fn what_is_said_of_changes_follows_from_their_figures() {
        let names = ["noise", "babble", "hum", "band", "gain", "pitch", "length"];
        let text = robustness(&changed(&names, &["MP3: lame is not installed"], Some(0.875)));
        let expected = "The same speech changed in 7 ways (1,234 clips): the mean of their UAR is 50.0 %, against 80.0 % \
                        [70.0, 90.0] clean, which leaves 88 % of what the system is above chance. It is lowest under noise \
                        (10.0 %), babble (20.0 %), hum (30.0 %) and highest under gain (50.0 %), pitch (60.0 %), length \
                        (70.0 %). Left out: MP3: lame is not installed.\n\n| change | measured in | mean UAR | UAR at each \
                        level | answers not `uncertain` |\n|---|---:|---:|---:|---:|\n| noise | dB | 10.0 % | 20: 10.0 %, \
                        -3.5: 10.0 % | 20: 25 %, right 75 % |\n";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(text.lines().count(), 2 + 2 + names.len());
        let text = robustness(&changed(&names[..5], &[], None));
        assert!(text.contains("while the system is not above chance") && !text.contains("lowest"), "{text}");
        assert!(!text.contains("Left out"), "{text}");
    }

    #[test]
    fn the_figures_of_a_card_are_those_of_the_report() {
        let report = r#"{"n": 9, "n_speakers": 3, "uar": 0.5, "accuracy": 0.5, "macro_f1": 0.5, "ece": 0.1,
            "ece_if_calibrated": {"value": 0.03, "low": 0.02, "high": 0.04}, "brier": 0.5, "classes": [], "confusion": [], "spread": {"min": 0.1, "worst_tenth": 0.125},
            "certain": {"threshold": 0.47, "coverage": {"value": 0.8, "low": 0.7, "high": 0.9}, "accuracy": 0.75},
            "groups": [{"by": "sex", "groups": [{"name": "female", "n": 5, "n_speakers": 2, "uar": 0.5, "accuracy": 0.5}],
            "gap": {"first": "female", "second": "male", "uar": {"value": 0.1, "low": 0.05, "high": 0.2}}}]}"#;
        let mut report: Report = serde_json::from_str(report).unwrap();
        let text = results(&report);
        for expected in [
            "| UAR of the worst tenth of the speakers, mean | 12.5 % |",
            "its confidence says: mean, 95 % of the draws | 3.0 % [2.0, 4.0] |\n| Brier score, 0 to 2 | 0.500 |",
            "| answers that are not `uncertain` (confidence of 47.0 % or more): coverage; accuracy | 80.0 % [70.0, 90.0]; 75.0 % |",
        ] {
            assert!(text.contains(expected), "{text}");
        }
        let text = groups(&report);
        let gap = "\n\nUAR of female less that of male: +10.0 points [+5.0, +20.0]; the interval excludes 0.";
        assert!(text.starts_with("| group |") && text.ends_with(gap), "{text}");
        (report.certain, report.groups) = (None, Vec::new());
        assert!(!results(&report).contains("uncertain") && groups(&report).is_empty());
    }
}
