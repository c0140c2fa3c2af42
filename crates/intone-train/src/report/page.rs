//! The page of a report: what is said of each figure, and in which order.

use super::document::{Document, Table};
use super::{Crowd, Grouping, Report, plots};
use crate::metrics::Figure;
use crate::robustness::Robustness;

/// The share of single listeners' answers that name the intended emotion, voice only (Cao et al. 2014), and that of
/// majorities; all 7,442 clips of CREMA-D.
const PEOPLE: &str = "Published for all of CREMA-D, voice only: one listener names the intended emotion in 40.9 % of \
                      all answers, the majority in 44.6 % of the clips.";

/// Sentences with more rows than this are left to the table.
const MAX_PLOTTED: usize = 24;

/// Lays a report out.
pub(super) fn document(report: &Report) -> Document {
    let mut page = Document::new("Speech emotion recognition: evaluation");
    summary(report, &mut page);
    evaluation(report, &mut page);
    classes(report, &mut page);
    report.groups.iter().for_each(|grouping| group(grouping, report, &mut page));
    speakers(report, &mut page);
    confidence(report, &mut page);
    report.crowd.iter().for_each(|crowd| people(crowd, &mut page));
    report.robustness.iter().for_each(|robustness| changed(robustness, &mut page));
    mistakes(report, &mut page);
    page
}

fn summary(report: &Report, page: &mut Document) {
    page.text(format!(
        "{} clips of {} speakers. Intervals are 95 % percentiles of a bootstrap over speakers ({} resamples): clips of \
         one voice are not independent.",
        report.n,
        report.n_speakers,
        crate::bootstrap::N_RESAMPLES
    ));
    let row = |name: &str, figure: String| [name.to_owned(), figure];
    page.table(Table::new(
        ["figure", "value [95 % interval]"],
        vec![
            row("UAR (unweighted average recall, balanced accuracy)", report.uar.to_string()),
            row("accuracy", report.accuracy.to_string()),
            row("macro-F1", report.macro_f1.to_string()),
            row("expected calibration error, 15 bins", report.ece.to_string()),
            row(
                "the same if each answer were right as often as its confidence says",
                report.ece_if_calibrated.to_string(),
            ),
            row("Brier score, 0 to 2", plain(&report.brier)),
            row("cross-entropy, nats", plain(&report.log_loss)),
        ],
    ));
    let absent: Vec<&str> = report.classes.iter().filter(|c| c.n == 0).map(|c| c.emotion.name()).collect();
    if !absent.is_empty() {
        page.text(format!(
            "There is no clip of {}: UAR is a mean over the classes that occur, macro-F1 over those that occur or are \
             answers, and neither can be compared with figures over all six.",
            absent.join(", ")
        ));
    }
}

fn plain(figure: &Figure) -> String {
    match figure.has_interval() {
        true => format!("{:.3} [{:.3}, {:.3}]", figure.value, figure.low, figure.high),
        false => format!("{:.3}", figure.value),
    }
}

fn optional(figure: &Option<Figure>) -> String {
    figure.map_or_else(|| "\u{2013}".to_owned(), |figure| figure.to_string())
}

/// Without the sign of percent, for tables that are wide.
pub(super) fn bare(figure: &Option<Figure>) -> String {
    optional(figure).replace(" %", "")
}

fn evaluation(report: &Report, page: &mut Document) {
    let Some(evaluation) = &report.evaluation else { return };
    page.heading("How it was made");
    let mut rows = vec![
        ["protocol".to_owned(), evaluation.protocol.clone()],
        ["part".to_owned(), evaluation.part.clone()],
    ];
    if let Some(model) = &evaluation.model {
        rows.insert(0, ["model".to_owned(), model.clone()]);
    }
    if !evaluation.command.is_empty() {
        rows.push(["command".to_owned(), evaluation.command.clone()]);
    }
    rows.extend(evaluation.checks.iter().map(|check| ["leak check".to_owned(), check.clone()]));
    page.table(Table::new(["", "value"], rows).text_columns(2));
    let excluded = evaluation
        .excluded
        .iter()
        .map(|excluded| [excluded.corpus.clone(), excluded.reason.clone(), excluded.n.to_string()]);
    let excluded: Vec<_> = excluded.collect();
    let n_failed = evaluation.failed.len();
    if excluded.is_empty() && n_failed == 0 {
        page.text("Nothing was left out.");
        return;
    }
    page.text("What was left out, and why:");
    page.table(Table::new(["corpus", "reason", "files"], excluded).text_columns(2));
    let failed = evaluation.failed.iter().map(|failed| [failed.clip.clone(), failed.error.clone()]);
    page.table(Table::new(["clip that could not be recognised", "error"], failed.collect()).text_columns(2));
}

fn classes(report: &Report, page: &mut Document) {
    page.heading("Classes");
    let row = |class: &super::Class| {
        [
            class.emotion.name().to_owned(),
            class.n.to_string(),
            optional(&class.recall),
            optional(&class.precision),
            optional(&class.f1),
        ]
    };
    let rows = report.classes.iter().map(row).collect();
    page.table(Table::new(["class", "clips", "recall", "precision", "F1"], rows));
    page.picture(
        plots::confusion(&report.confusion, &report.confusion_rows),
        "Confusion matrix: the share of each intended emotion's clips that got each answer, and their number.",
    );
    let names = report.classes.iter().map(|class| class.emotion.name().to_owned());
    let header: Vec<String> = std::iter::once("truth, clips".to_owned()).chain(names).collect();
    let counts = report.classes.iter().zip(&report.confusion).map(|(class, row)| {
        std::iter::once(class.emotion.name().to_owned()).chain(row.iter().map(usize::to_string)).collect()
    });
    page.table(Table { header: header.clone(), rows: counts.collect(), n_text: 1 });
    let shares = report.classes.iter().zip(&report.confusion_rows).map(|(class, row)| {
        std::iter::once(class.emotion.name().to_owned()).chain(row.iter().map(bare)).collect()
    });
    let header = std::iter::once("truth, %".to_owned()).chain(header.into_iter().skip(1)).collect();
    page.table(Table { header, rows: shares.collect(), n_text: 1 });
}

fn group(grouping: &Grouping, report: &Report, page: &mut Document) {
    page.heading(&format!("By {}", grouping.by));
    if let Some(why) = &grouping.left_out {
        page.text(why.clone());
        return;
    }
    let row = |group: &super::Group| {
        [
            group.name.clone(),
            group.n.to_string(),
            group.n_speakers.to_string(),
            group.n_classes.to_string(),
            group.uar.to_string(),
            group.accuracy.to_string(),
            group.macro_f1.to_string(),
        ]
    };
    let rows = grouping.groups.iter().map(row).collect();
    let header = [grouping.by, "clips", "speakers", "classes", "UAR", "accuracy", "macro-F1"];
    page.table(Table::new(header, rows));
    if let Some(gap) = &grouping.gap {
        page.text(gap.to_string());
    }
    if grouping.by == "fold" {
        let uars: Vec<f64> = grouping.groups.iter().map(|group| group.uar.value).collect();
        let accuracies: Vec<f64> = grouping.groups.iter().map(|group| group.accuracy.value).collect();
        page.text(format!(
            "Mean over the folds and standard deviation between them: UAR {}, accuracy {}. The figures at the top are those \
             of all folds' clips together.",
            mean_and_deviation(&uars),
            mean_and_deviation(&accuracies)
        ));
    }
    if grouping.n_unknown > 0 {
        page.text(format!("Of {} clips the {} is not known.", grouping.n_unknown, grouping.by));
    }
    if grouping.groups.iter().any(|group| group.n_classes < report.classes.len()) {
        page.text(
            "UAR and macro-F1 of a group are means over the classes that occur in it, a difference of two is one over the \
             classes that occur in both.",
        );
    }
    if grouping.groups.len() <= MAX_PLOTTED {
        page.picture(
            plots::groups(grouping.by, &grouping.groups, &report.uar),
            format!("UAR by {} with 95 % intervals; the broken line is the UAR of all clips.", grouping.by),
        );
    }
}

/// A difference in percentage points.
pub(super) fn points(figure: &Figure) -> String {
    let value = format!("{:+.1} points", 100.0 * figure.value);
    let text = match figure.has_interval() {
        true => format!("{value} [{:+.1}, {:+.1}]", 100.0 * figure.low, 100.0 * figure.high),
        false => value,
    };
    text.replace('-', "\u{2212}")
}

/// Mean and standard deviation of shares, in percent (`n - 1` in the variance); the mean alone of a single one.
pub fn mean_and_deviation(values: &[f64]) -> String {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n.max(1.0);
    if values.len() < 2 {
        return format!("{:.1} %", 100.0 * mean);
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    format!("{:.1} % \u{b1} {:.1}", 100.0 * mean, 100.0 * variance.sqrt())
}

fn speakers(report: &Report, page: &mut Document) {
    page.heading("Speakers");
    let spread = &report.spread;
    let percent = |value: f64| format!("{:.1} %", 100.0 * value);
    page.text(format!(
        "UAR of single speakers: {} for the worst, {} for the best; the mean of the worst tenth is {}. Half of them lie between \
         {} and {}, the median is {}.",
        percent(spread.min),
        percent(spread.max),
        percent(spread.worst_tenth),
        percent(spread.lower_quartile),
        percent(spread.upper_quartile),
        percent(spread.median)
    ));
    page.picture(plots::speakers(&report.speakers, &report.uar), "Each dot is a speaker.");
    let row = |s: &super::Speaker| [s.speaker.clone(), s.n.to_string(), percent(s.uar), percent(s.accuracy)];
    page.table(Table::new(
        ["speaker", "clips", "UAR", "accuracy"],
        report.speakers.iter().map(row).collect(),
    ));
}

fn confidence(report: &Report, page: &mut Document) {
    page.heading("Confidence");
    page.text(
        "How far probabilities can be believed: of the answers with a confidence of 70 %, 70 % should be right. And what \
         is gained by withholding the answers that are unsure.",
    );
    page.picture(
        plots::reliability(&report.calibration),
        format!(
            "Accuracy of answers by their confidence, with 95 % intervals, and the number of clips in each bin. Expected \
             calibration error: {}. If each answer were right as often as its confidence says, chance alone would make it \
             {}: mean and range of 95 % of the draws.",
            report.ece, report.ece_if_calibrated
        ),
    );
    page.picture(
        plots::coverage(&report.coverage),
        format!(
            "Accuracy of the most confident answers, with its 95 % interval. The mean over all coverages is {:.1} %.",
            100.0 * report.coverage_mean
        ),
    );
    if let Some(certain) = &report.certain {
        page.text(certain.to_string());
    }
    let row = |point: &super::CoveragePoint| {
        [
            format!("{:.0} %", 100.0 * point.coverage),
            point.accuracy.to_string(),
            format!("{:.1} %", 100.0 * point.confidence),
        ]
    };
    // Every tenth of the clips.
    let rows = report.coverage.iter().skip(1).step_by(2).map(row).collect();
    page.table(Table::new(["coverage", "accuracy", "least confidence"], rows));
}

fn people(crowd: &Crowd, page: &mut Document) {
    page.heading("Beside people");
    page.text(format!(
        "On {} of these clips listeners gave {} answers to the voice alone. {PEOPLE}",
        crowd.n, crowd.n_votes
    ));
    let row = |name: &str, judge: &super::crowd::Judge| {
        [name.to_owned(), judge.uar.to_string(), judge.accuracy.to_string()]
    };
    let mut rows = vec![
        row("one listener", &crowd.listener),
        row("most listeners", &crowd.majority),
        row("this system", &crowd.system),
    ];
    for one in &crowd.by_sex {
        rows.push(row(&format!("one listener, {} speakers", one.sex), &one.listener));
        rows.push(row(&format!("this system, {} speakers", one.sex), &one.system));
    }
    page.table(Table::new(["who names the intended emotion", "UAR", "accuracy"], rows));
    let mut rows = vec![
        ["the system says what most listeners heard".to_owned(), crowd.agreement.to_string()],
        ["one listener says what the system says".to_owned(), crowd.listener_agreement.to_string()],
    ];
    for (name, figure) in [
        ("accuracy where most listeners heard the intended emotion", &crowd.accuracy_where_heard),
        ("accuracy where they did not", &crowd.accuracy_where_not),
    ] {
        rows.push([name.to_owned(), optional(figure)]);
    }
    rows.push([
        "mean divergence of probabilities and votes (Jensen-Shannon, bits)".to_owned(),
        format!("{:.3}", crowd.divergence),
    ]);
    page.table(Table::new(["", "share of clips"], rows));
}

fn changed(robustness: &Robustness, page: &mut Document) {
    page.heading("Robustness");
    page.text(format!(
        "The same {} clips, changed. Clean, their UAR is {}; the mean over all changes is {:.1} %, {}.",
        robustness.n,
        robustness.clean,
        100.0 * robustness.mean_uar,
        robustness.left()
    ));
    page.picture(
        plots::robustness(robustness),
        "UAR of the changed clips with 95 % intervals; the broken line is the UAR of the clean ones.",
    );
    let mut rows = Vec::new();
    for kind in &robustness.kinds {
        rows.extend(kind.levels.iter().map(|level| {
            [
                kind.name.clone(),
                kind.unit.clone(),
                crate::svg::number(level.level),
                level.uar.to_string(),
                level.accuracy.to_string(),
                level.certain.map_or_else(String::new, |certain| certain.to_string()),
            ]
        }));
    }
    let header = ["change", "measured in", "level", "UAR", "accuracy", "answers not uncertain"];
    page.table(Table::new(header, rows).text_columns(2));
    if !robustness.skipped.is_empty() {
        page.text(format!("Left out: {}.", robustness.skipped.join("; ")));
    }
}

fn mistakes(report: &Report, page: &mut Document) {
    page.heading("The most confident mistakes");
    let any_heard = report.mistakes.iter().any(|mistake| mistake.heard.is_some());
    let row = |mistake: &super::Mistake| {
        let mut row =
            vec![mistake.clip.clone(), mistake.truth.name().to_owned(), mistake.answer.name().to_owned()];
        if any_heard {
            row.push(mistake.heard.map_or("\u{2013}", |heard| heard.name()).to_owned());
        }
        row.push(format!("{:.1} %", 100.0 * mistake.confidence));
        row
    };
    let mut header = vec!["clip", "truth", "answer"];
    if any_heard {
        header.push("most listeners heard");
    }
    header.push("confidence");
    let n_text = header.len() - 1;
    let header = header.into_iter().map(str::to_owned).collect();
    page.table(Table { header, rows: report.mistakes.iter().map(row).collect(), n_text });
    if report.mistakes.is_empty() {
        page.text("There are no mistakes.");
    }
}
