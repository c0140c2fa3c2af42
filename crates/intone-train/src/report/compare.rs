//! Several systems on the same clips: side by side, and pair by pair.

use std::collections::BTreeMap;

use serde::Serialize;

use super::document::{Document, Table};
use super::{Clips, Input, Measured, page, plots};
use crate::bootstrap::Bootstrap;
use crate::error::{Error, Result};
use crate::metrics::{Figure, Tally};
use crate::predictions::{Answered, check_classes};

/// Several systems on the clips that all of them answered.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Number of these clips.
    pub n: usize,
    /// Number of their speakers.
    pub n_speakers: usize,
    /// The systems, in the order in which they were given.
    pub systems: Vec<System>,
    /// Each system less the first one.
    pub differences: Vec<Difference>,
}

/// One system.
#[derive(Debug, Clone, Serialize)]
pub struct System {
    /// The name of its run.
    pub name: String,
    /// Clips that it answered and another did not: they are left out.
    pub n_left_out: usize,
    /// Unweighted average recall.
    pub uar: Figure,
    /// Share of clips that are right.
    pub accuracy: Figure,
    /// Mean F1 over the classes.
    pub macro_f1: Figure,
    /// Expected calibration error.
    pub ece: Figure,
    /// Brier's score.
    pub brier: Figure,
    /// Recall of each class, in the order of [`Emotion::ALL`](intone::Emotion::ALL).
    pub recall: Vec<Option<Figure>>,
}

/// One system less the first one, on the same resamples of the speakers.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The system.
    pub name: String,
    /// The system that is subtracted.
    pub less: String,
    /// Of the UAR.
    pub uar: Figure,
    /// Of the accuracy.
    pub accuracy: Figure,
    /// Of the macro-F1.
    pub macro_f1: Figure,
    /// Of the expected calibration error: negative is better.
    pub ece: Figure,
    /// The share of resamples in which the UAR is higher; none of a single speaker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_better: Option<f64>,
}

impl Comparison {
    /// Compares on the clips that all systems answered.
    ///
    /// # Errors
    /// [`Error::Config`] for fewer than two systems, [`Error::Empty`] where they have no clip in common or a class has none
    /// (unless `missing_classes` are agreed to), [`Error::Disagree`] where they do not agree on what a clip is.
    pub fn new(inputs: &[Input], missing_classes: bool) -> Result<Comparison> {
        let [first, others @ ..] = inputs else { return Err(too_few(inputs.len())) };
        if others.is_empty() {
            return Err(too_few(inputs.len()));
        }
        let names = unique_names(inputs);
        let common = common(first, others, &names)?;
        let of = |input: &Input| -> Vec<Answered> {
            input.answers.iter().filter(|a| common.contains_key(a.clip.as_str())).cloned().collect()
        };
        let answers: Vec<Vec<Answered>> = inputs.iter().map(of).collect();
        if common.is_empty() || !missing_classes {
            check_classes(answers[0].iter().map(|answered| answered.truth))?;
        }
        let clips: Vec<Clips<'_>> = answers.iter().map(|answers| Clips::new(answers)).collect();
        let measured: Vec<_> = clips.iter().map(|clips| clips.measured(|_| true)).collect();
        let systems = names.iter().zip(inputs).zip(&measured).map(|((name, input), measured)| System {
            name: name.clone(),
            n_left_out: input.answers.len() - common.len(),
            uar: measured.mean_over_classes(Tally::uar),
            accuracy: measured.certain(Tally::accuracy),
            macro_f1: measured.mean_over_classes(Tally::macro_f1),
            ece: measured.ece(),
            brier: measured.certain(Tally::brier),
            recall: (0..crate::training_set::N_CLASSES).map(|c| measured.figure(|t| t.recall(c))).collect(),
        });
        let base = &measured[0];
        let difference = |measured: &Measured<'_>, of: fn(&Tally) -> Option<f64>| Paired {
            value: of(&measured.whole).unwrap_or_default() - of(&base.whole).unwrap_or_default(),
            resampled: pairs(measured, base).map(|(a, b)| Some(of(a)? - of(b)?)).collect(),
        };
        // Of a mean over classes the resamples that lack one have no say.
        let over_classes = |measured: &Measured<'_>, of: fn(&Tally) -> Option<f64>| Paired {
            resampled: pairs(measured, base)
                .map(|(a, b)| Some(of(a)? - of(b)?).filter(|_| a.has_classes_of(&base.whole)))
                .collect(),
            ..difference(measured, of)
        };
        let bootstrap = &clips[0].bootstrap;
        let differences = names.iter().zip(&measured).skip(1).map(|(name, measured)| {
            let uar = over_classes(measured, Tally::uar);
            let ece = difference(measured, Tally::ece);
            Difference {
                name: name.clone(),
                less: names[0].clone(),
                share_better: uar.share_better(),
                uar: uar.figure(bootstrap),
                accuracy: difference(measured, Tally::accuracy).figure(bootstrap),
                macro_f1: over_classes(measured, Tally::macro_f1).figure(bootstrap),
                ece: bootstrap.figure_less_bias(ece.value, -1.0, ece.resampled),
            }
        });
        Ok(Comparison {
            n: common.len(),
            n_speakers: clips[0].speakers.len(),
            differences: differences.collect(),
            systems: systems.collect(),
        })
    }
}

/// The same resample of the same speakers, answered by both.
fn pairs<'a>(
    measured: &'a Measured<'_>,
    base: &'a Measured<'_>,
) -> impl Iterator<Item = (&'a Tally, &'a Tally)> {
    measured.resampled.iter().zip(&base.resampled)
}

/// A difference on the clips as they are, and on each resample.
struct Paired {
    value: f64,
    resampled: Vec<Option<f64>>,
}

impl Paired {
    fn figure(self, bootstrap: &Bootstrap) -> Figure {
        bootstrap.figure(self.value, self.resampled)
    }

    /// The share of the resamples in which it is above 0; `None` without any.
    fn share_better(&self) -> Option<f64> {
        let n = self.resampled.iter().flatten().count();
        let n_better = self.resampled.iter().flatten().filter(|difference| **difference > 0.0).count();
        (n > 0).then(|| n_better as f64 / n as f64)
    }
}

fn too_few(n: usize) -> Error {
    Error::Config { key: "runs".into(), expected: "two or more".to_owned(), actual: n.to_string() }
}

/// The clips that all have; they must mean the same to all. `names` tell the systems apart.
fn common<'a>(
    first: &'a Input,
    others: &[Input],
    names: &[String],
) -> Result<BTreeMap<&'a str, &'a Answered>> {
    let mut common: BTreeMap<&str, &Answered> = first.answers.iter().map(|a| (a.clip.as_str(), a)).collect();
    for (other, name) in others.iter().zip(&names[1..]) {
        let theirs: BTreeMap<&str, &Answered> = other.answers.iter().map(|a| (a.clip.as_str(), a)).collect();
        for (clip, ours) in &common {
            let Some(theirs) = theirs.get(clip) else { continue };
            for (what, a, b) in [
                ("truth", ours.truth.name(), theirs.truth.name()),
                ("speaker", &ours.speaker, &theirs.speaker),
            ] {
                if a != b {
                    return Err(Error::Disagree {
                        clip: (*clip).to_owned(),
                        what,
                        first: format!("{a} ({})", names[0]),
                        second: format!("{b} ({name})"),
                    });
                }
            }
        }
        common.retain(|clip, _| theirs.contains_key(clip));
    }
    if common.is_empty() {
        let example = |input: &Input| input.answers.first().map(|a| a.clip.clone()).unwrap_or_default();
        let examples: Vec<String> = std::iter::once(first)
            .chain(others)
            .zip(names)
            .map(|(input, name)| format!("{name}: {}", example(input)))
            .collect();
        return Err(Error::Empty(format!("the runs have no clip in common ({})", examples.join("; "))));
    }
    Ok(common)
}

/// Names that tell the systems apart.
fn unique_names(inputs: &[Input]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for input in inputs {
        let numbered = (2..).map(|n| format!("{} ({n})", input.name));
        let mut all = std::iter::once(input.name.clone()).chain(numbered);
        // The iterator has no end.
        names.push(all.find(|name| !names.contains(name)).unwrap_or_default());
    }
    names
}

/// Lays a comparison out.
pub(super) fn document(comparison: &Comparison) -> Document {
    let mut page = Document::new("Speech emotion recognition: comparison");
    page.text(format!(
        "{} systems on the {} clips of {} speakers that all of them answered. Intervals are 95 % percentiles of a \
         bootstrap over speakers; differences are taken pair by pair, on the same resamples.",
        comparison.systems.len(),
        comparison.n,
        comparison.n_speakers
    ));
    let row = |system: &System| {
        [
            system.name.clone(),
            system.uar.to_string(),
            system.accuracy.to_string(),
            system.macro_f1.to_string(),
            system.ece.to_string(),
            system.n_left_out.to_string(),
        ]
    };
    let header = ["system", "UAR", "accuracy", "macro-F1", "ECE", "clips left out"];
    page.table(Table::new(header, comparison.systems.iter().map(row).collect()));
    let uars: Vec<_> = comparison.systems.iter().map(|system| (system.name.clone(), system.uar)).collect();
    page.picture(plots::forest("UAR of each system", "UAR, %", &uars, None), "UAR with 95 % intervals.");
    page.heading("Differences");
    let row = |difference: &Difference| {
        [
            format!("{} less {}", difference.name, difference.less),
            bare_points(&difference.uar),
            bare_points(&difference.accuracy),
            bare_points(&difference.macro_f1),
            bare_points(&difference.ece),
            difference.share_better.map_or_else(|| "\u{2013}".to_owned(), |s| format!("{:.1} %", 100.0 * s)),
        ]
    };
    let header = ["percentage points", "UAR", "accuracy", "macro-F1", "ECE", "UAR higher in"];
    page.table(Table::new(header, comparison.differences.iter().map(row).collect()));
    let differences: Vec<_> =
        comparison.differences.iter().map(|d| (format!("{} less {}", d.name, d.less), d.uar)).collect();
    page.picture(
        plots::forest("Differences of UAR", "Difference of UAR, percentage points", &differences, Some(0.0)),
        "Difference of UAR with its 95 % interval: where it does not reach the broken line, the systems differ.",
    );
    page.text("The last column is the share of the resamples in which the UAR of the one is higher than that of the other.");
    page.heading("Recall of each class, %");
    let mut header = vec!["system".to_owned()];
    header.extend(intone::Emotion::ALL.map(|emotion| emotion.name().to_owned()));
    let row = |system: &System| {
        let recalls = system.recall.iter().map(page::bare);
        std::iter::once(system.name.clone()).chain(recalls).collect()
    };
    page.table(Table { header, rows: comparison.systems.iter().map(row).collect(), n_text: 1 });
    page
}

/// A difference in percentage points, without their name.
fn bare_points(figure: &Figure) -> String {
    page::points(figure).replace(" points", "")
}
