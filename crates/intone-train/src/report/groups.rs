//! The clips taken apart: by corpus, sex, age, sentence, level and fold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::files::Evaluation;
use super::{Clips, Measured, Tallies, page};
use crate::corpus::{Level, Sex, facts};
use crate::metrics::{Figure, Tally};
use crate::predictions::Answered;
use crate::training_set::N_CLASSES;

/// The most groups of which figures are computed: enough for every sentence of the corpora that are read by name and for
/// one fold for each speaker. Nobody reads a longer table, and each group costs the bootstrap some milliseconds.
pub const MAX_GROUPS: usize = 500;

/// The clips taken apart by one property.
#[derive(Debug, Clone, Serialize)]
pub struct Grouping {
    /// The property: `corpus`, `sex`, `age`, `sentence`, `level`, `fold`.
    pub by: &'static str,
    /// The groups, in the order of their names.
    pub groups: Vec<Group>,
    /// Why there are none: they would be more than [`MAX_GROUPS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Clips of which the property is not known.
    pub n_unknown: usize,
    /// How far two groups are apart, where there are two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

/// Clips that have something in common.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// What they have in common.
    pub name: String,
    /// Number of clips.
    pub n: usize,
    /// Number of their speakers.
    pub n_speakers: usize,
    /// Number of classes that occur.
    pub n_classes: usize,
    /// Over these classes.
    pub uar: Figure,
    /// Share of clips that are right.
    pub accuracy: Figure,
    /// Likewise.
    pub macro_f1: Figure,
}

/// The difference of two groups; as text, a sentence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Gap {
    /// The group that comes first.
    pub first: String,
    /// The group that is subtracted from it.
    pub second: String,
    /// The difference of their UAR, over the classes that occur in both; without an interval unless both have two speakers
    /// or more.
    pub uar: Figure,
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = match self.uar {
            uar if !uar.has_interval() => "too few speakers for an interval",
            uar if uar.low > 0.0 || uar.high < 0.0 => "the interval excludes 0",
            _ => "the interval includes 0",
        };
        let (first, second) = (&self.first, &self.second);
        write!(f, "UAR of {first} less that of {second}: {}; {verdict}.", page::points(&self.uar))
    }
}

/// What clips have in common, `None` where it is not known.
type Property<'a> = (&'static str, Box<dyn Fn(&Answered) -> Option<String> + 'a>);

/// Every grouping that divides these clips.
pub(super) fn groupings(clips: &Clips<'_>, evaluation: Option<&Evaluation>) -> Vec<Grouping> {
    let mut fold_of: BTreeMap<&str, &str> = BTreeMap::new();
    for fold in evaluation.iter().flat_map(|evaluation| &evaluation.folds) {
        fold_of.extend(fold.speakers.iter().map(|speaker| (speaker.as_str(), fold.name.as_str())));
    }
    let properties: [Property<'_>; 6] = [
        ("corpus", Box::new(|clip| Some(clip.corpus.clone()))),
        ("sex", Box::new(|clip| sex_of(clip).map(str::to_owned))),
        ("age", Box::new(|clip| facts(&clip.clip).age.map(|age| decade(age).to_owned()))),
        (
            "level",
            Box::new(|clip| {
                facts(&clip.clip).level.map(|level| format!("{}/{}", clip.corpus, level_name(level)))
            }),
        ),
        ("sentence", Box::new(sentence)),
        ("fold", Box::new(move |clip| fold_of.get(clip.speaker.as_str()).map(|&fold| fold.to_owned()))),
    ];
    properties.iter().filter_map(|property| grouping(clips, property)).collect()
}

/// `None` where the property does not divide the clips.
fn grouping(clips: &Clips<'_>, (by, property): &Property<'_>) -> Option<Grouping> {
    let mut tallies: BTreeMap<String, Tallies> = BTreeMap::new();
    let mut n_unknown = 0;
    for (answered, &speaker) in clips.answers.iter().zip(&clips.speaker_of) {
        match property(answered) {
            Some(name) => {
                let tally = tallies.entry(name).or_default().entry(speaker).or_default();
                tally.add(answered.truth.index(), &answered.probabilities);
            }
            None => n_unknown += 1,
        }
    }
    if tallies.len() < 2 {
        return None;
    }
    let n_groups = tallies.len();
    let mut grouping = Grouping { by, groups: Vec::new(), left_out: None, n_unknown, gap: None };
    if n_groups > MAX_GROUPS {
        let why = format!("These are {n_groups} groups; figures are computed of {MAX_GROUPS} at most.");
        return Some(Grouping { left_out: Some(why), ..grouping });
    }
    // Resamples are large: those of a group are gone before those of the next are made, unless they are to be compared.
    let mut first: Option<(String, Measured<'_>)> = None;
    for (name, tallies) in tallies {
        let measured = clips.measured_from(tallies);
        grouping.groups.push(group(name.clone(), &measured));
        if let Some((first, a)) = &first {
            grouping.gap = gap((first, a), (&name, &measured));
        } else if n_groups == 2 {
            first = Some((name, measured));
        }
    }
    Some(grouping)
}

fn group(name: String, measured: &Measured<'_>) -> Group {
    let whole = &measured.whole;
    Group {
        name,
        n: whole.n() as usize,
        n_speakers: measured.speakers.len(),
        n_classes: (0..whole.confusion.len()).filter(|&class| whole.n_of(class) > 0.0).count(),
        uar: measured.mean_over_classes(Tally::uar),
        accuracy: measured.certain(Tally::accuracy),
        macro_f1: measured.mean_over_classes(Tally::macro_f1_of_truths),
    }
}

fn gap((first, a): (&str, &Measured<'_>), (second, b): (&str, &Measured<'_>)) -> Option<Gap> {
    let value = a.whole.uar_less(&b.whole)?;
    let has_two = |of: &Measured<'_>, other: &Tally| of.has_two(|tally| tally.uar_less(other).is_some());
    let uar = match has_two(a, &b.whole) && has_two(b, &a.whole) {
        true => {
            let both = |class: usize| a.whole.n_of(class) > 0.0 && b.whole.n_of(class) > 0.0;
            let has_all = |tally: &Tally| (0..N_CLASSES).all(|c| !both(c) || tally.n_of(c) > 0.0);
            let resampled = a.resampled.iter().zip(&b.resampled);
            let comparable = resampled.filter(|(a, b)| has_all(a) && has_all(b));
            a.bootstrap.figure(value, comparable.map(|(a, b)| a.uar_less(b)))
        }
        false => Figure::alone(value),
    };
    Some(Gap { first: first.to_owned(), second: second.to_owned(), uar })
}

/// With its corpus: `02` of one is not `02` of the other.
fn sentence(clip: &Answered) -> Option<String> {
    let written = Some(clip.sentence.clone()).filter(|sentence| !sentence.is_empty());
    written.or(facts(&clip.clip).sentence).map(|sentence| format!("{}/{sentence}", clip.corpus))
}

/// As the file says, or else the clip's name.
pub(super) fn sex_of(clip: &Answered) -> Option<&'static str> {
    clip.sex.or(facts(&clip.clip).sex).map(Sex::name)
}

/// With a digit before it, so that the order of names is that of strength.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::Low => "1 low",
        Level::Medium => "2 medium",
        Level::High => "3 high",
        Level::Normal => "1 normal",
        Level::Strong => "2 strong",
    }
}

fn decade(age: u8) -> &'static str {
    match age {
        0..20 => "below 20",
        20..30 => "20 to 29",
        30..40 => "30 to 39",
        40..50 => "40 to 49",
        50..60 => "50 to 59",
        _ => "60 and older",
    }
}
