//! The clips taken apart: by corpus, sex, age, sentence, level and fold.

use std::collections::BTreeMap;

use serde::Serialize;

use super::files::Evaluation;
use super::{Clips, Measured};
use crate::corpus::{Level, Sex, facts};
use crate::metrics::{Figure, Tally};
use crate::predictions::Answered;

/// The clips taken apart by one property.
#[derive(Debug, Clone, Serialize)]
pub struct Grouping {
    /// The property: `corpus`, `sex`, `age`, `sentence`, `level`, `fold`.
    pub by: &'static str,
    /// The groups, in the order of their names.
    pub groups: Vec<Group>,
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
    /// Over the classes that are truth or answer.
    pub macro_f1: Figure,
}

/// The difference of two groups.
#[derive(Debug, Clone, Serialize)]
pub struct Gap {
    /// The group that comes first.
    pub first: String,
    /// The group that is subtracted from it.
    pub second: String,
    /// The difference of their UAR.
    pub uar: Figure,
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
        ("sex", Box::new(|clip| clip.sex.or(facts(&clip.clip).sex).map(|sex| sex_name(sex).to_owned()))),
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
    let mut tallies: BTreeMap<String, Vec<Tally>> = BTreeMap::new();
    let mut n_unknown = 0;
    for (answered, &speaker) in clips.answers.iter().zip(&clips.speaker_of) {
        match property(answered) {
            Some(name) => {
                let group =
                    tallies.entry(name).or_insert_with(|| vec![Tally::default(); clips.speakers.len()]);
                group[speaker].add(answered.truth.index(), &answered.probabilities);
            }
            None => n_unknown += 1,
        }
    }
    if tallies.len() < 2 {
        return None;
    }
    let measured: Vec<(String, Measured<'_>)> =
        tallies.into_iter().map(|(name, tallies)| (name, clips.measured_from(&tallies))).collect();
    let gap = match &measured[..] {
        [(first, a), (second, b)] => gap(clips, (first, a), (second, b)),
        _ => None,
    };
    let groups = measured.into_iter().map(|(name, measured)| group(name, &measured)).collect();
    Some(Grouping { by, groups, n_unknown, gap })
}

fn group(name: String, measured: &Measured<'_>) -> Group {
    let whole = &measured.whole;
    Group {
        name,
        n: whole.n() as usize,
        n_speakers: measured.n_speakers,
        n_classes: (0..whole.confusion.len()).filter(|&class| whole.n_of(class) > 0.0).count(),
        uar: measured.certain(Tally::uar),
        accuracy: measured.certain(Tally::accuracy),
        macro_f1: measured.certain(Tally::macro_f1_of_truths),
    }
}

fn gap(clips: &Clips<'_>, first: (&str, &Measured<'_>), second: (&str, &Measured<'_>)) -> Option<Gap> {
    let value = first.1.whole.uar_less(&second.1.whole)?;
    let resampled = first.1.resampled.iter().zip(&second.1.resampled);
    let uar = clips.bootstrap.figure(value, resampled.map(|(a, b)| a.uar_less(b)));
    Some(Gap { first: first.0.to_owned(), second: second.0.to_owned(), uar })
}

/// With its corpus: `02` of one is not `02` of the other.
fn sentence(clip: &Answered) -> Option<String> {
    let written = Some(clip.sentence.clone()).filter(|sentence| !sentence.is_empty());
    written.or(facts(&clip.clip).sentence).map(|sentence| format!("{}/{sentence}", clip.corpus))
}

fn sex_name(sex: Sex) -> &'static str {
    match sex {
        Sex::Female => "female",
        Sex::Male => "male",
    }
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
