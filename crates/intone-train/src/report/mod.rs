//! Reports: everything that a `predictions.csv` tells, with intervals over speakers.
//!
//! [`Report::new`] computes the figures, [`write()`] makes `report.json`, `report.md` and `report.html` of them. The same
//! predictions give the same bytes. What a run knows beside its predictions (what was left out, which checks were made,
//! what a crowd heard) lies beside them in `evaluation.json` and `votes.csv`; a report does without where they are
//! missing, so that it can be made of any system's predictions.

use std::collections::BTreeMap;

use intone::Emotion;
use serde::Serialize;

use crate::bootstrap::{Bootstrap, percentile};
use crate::corpus::Votes;
use crate::error::Result;
use crate::metrics::{Figure, N_BINS, Tally};
use crate::predictions::{Answered, check_classes};
use crate::robustness::Robustness;
use crate::training_set::N_CLASSES;

mod calibrated;
mod compare;
mod crowd;
mod document;
mod files;
mod groups;
mod page;
mod plots;
mod selective;

pub use compare::{Comparison, Difference, System};
pub use crowd::Crowd;
pub use files::{
    EVALUATION_FILE, Evaluation, Excluded, Failed, Fold, PREDICTIONS_FILE, ROBUSTNESS_FILE, RunFiles,
    VOTES_FILE, excluded, left_out, model_sha256, read_run, silent, write, write_comparison,
    write_robustness, write_run, write_votes,
};
pub(crate) use files::{FOLD_PREFIX, read_json, write_json};
pub use groups::{Gap, Group, Grouping, MAX_GROUPS};
pub use page::mean_and_deviation;
pub use selective::{Certain, CoveragePoint};

/// Seed of the bootstrap: the same for all reports, so that they can be compared.
pub const SEED: u64 = 1;

/// How many of the most confident mistakes are listed.
pub const N_MISTAKES: usize = 20;

/// What a set of predictions tells.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Number of clips.
    pub n: usize,
    /// Number of speakers.
    pub n_speakers: usize,
    /// Unweighted average recall, over the classes that occur.
    pub uar: Figure,
    /// Share of clips that are right.
    pub accuracy: Figure,
    /// Mean F1 over the classes.
    pub macro_f1: Figure,
    /// Expected calibration error, 15 bins of equal width.
    pub ece: Figure,
    /// What that would be if each answer were right as often as its confidence says: mean and range of 95 % of the draws.
    pub ece_if_calibrated: Figure,
    /// Brier's score, in [0, 2].
    pub brier: Figure,
    /// Mean cross-entropy, nats.
    pub log_loss: Figure,
    /// Each class by itself.
    pub classes: Vec<Class>,
    /// Clips by truth (row) and answer (column), in the order of [`Emotion::ALL`].
    pub confusion: [[usize; N_CLASSES]; N_CLASSES],
    /// The same as shares of each row; none for a class without clips.
    pub confusion_rows: [[Option<Figure>; N_CLASSES]; N_CLASSES],
    /// The clips taken apart: by corpus, sex, age, sentence, level and fold.
    pub groups: Vec<Grouping>,
    /// Each speaker by itself.
    pub speakers: Vec<Speaker>,
    /// How the speakers differ.
    pub spread: Spread,
    /// The reliability diagram's bins.
    pub calibration: Vec<Calibration>,
    /// Accuracy of the most confident answers.
    pub coverage: Vec<CoveragePoint>,
    /// The mean of that accuracy over all numbers of answers that may be kept.
    pub coverage_mean: f64,
    /// What is left when the model's own `uncertain` answers are withheld, where it has a threshold for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certain: Option<Certain>,
    /// What listeners heard, and how this compares with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crowd: Option<Crowd>,
    /// How it does on changed clips.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub robustness: Option<Robustness>,
    /// The most confident answers that are wrong.
    pub mistakes: Vec<Mistake>,
    /// How the predictions were made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
}

/// One class of a [`Report`].
#[derive(Debug, Clone, Serialize)]
pub struct Class {
    /// The class.
    pub emotion: Emotion,
    /// Clips that are of it.
    pub n: usize,
    /// Share of its answers that are right; none where it was never the answer.
    pub precision: Option<Figure>,
    /// Share of its clips that are right; none where there are none.
    pub recall: Option<Figure>,
    /// Their harmonic mean.
    pub f1: Option<Figure>,
}

/// One speaker of a [`Report`].
#[derive(Debug, Clone, Serialize)]
pub struct Speaker {
    /// With the corpus.
    pub speaker: String,
    /// Number of clips.
    pub n: usize,
    /// Share of clips that are right.
    pub accuracy: f64,
    /// Over the classes of this speaker.
    pub uar: f64,
}

/// The distribution of the speakers' UAR.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spread {
    /// The worst speaker's.
    pub min: f64,
    /// The mean of the tenth of the speakers who are understood worst, at least one of them.
    pub worst_tenth: f64,
    /// A quarter of the speakers is below.
    pub lower_quartile: f64,
    /// Half of them.
    pub median: f64,
    /// Three quarters.
    pub upper_quartile: f64,
    /// The best speaker's.
    pub max: f64,
}

/// One bin of the reliability diagram that is not empty.
#[derive(Debug, Clone, Serialize)]
pub struct Calibration {
    /// Confidences from here.
    pub from: f64,
    /// Up to here.
    pub to: f64,
    /// Number of clips.
    pub n: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// Share of them that is right.
    pub accuracy: Figure,
}

/// A confident answer that is wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Mistake {
    /// The clip.
    pub clip: String,
    /// The intended emotion.
    pub truth: Emotion,
    /// The answer.
    pub answer: Emotion,
    /// The answer's probability.
    pub confidence: f64,
    /// What most listeners heard, where a crowd was asked; of equally many the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard: Option<Emotion>,
}

/// What a report is made of.
#[derive(Debug, Clone, Default)]
pub struct Input {
    /// What tells it from others in a comparison: the name of the run's folder or file.
    pub name: String,
    /// What was said of each clip, sorted by clip; see [`read_predictions`](crate::predictions::read_predictions).
    pub answers: Vec<Answered>,
    /// What listeners heard in each clip, by clip.
    pub votes: BTreeMap<String, Votes>,
    /// How the answers were made.
    pub evaluation: Option<Evaluation>,
    /// How the same clips are answered when they are changed.
    pub robustness: Option<Robustness>,
}

impl Report {
    /// Computes everything.
    ///
    /// # Errors
    /// [`Error::Empty`](crate::Error::Empty) without predictions, and where a class has no clips unless
    /// `missing_classes` are agreed to.
    pub fn new(input: &Input, missing_classes: bool) -> Result<Report> {
        let answers = input.answers.as_slice();
        if answers.is_empty() || !missing_classes {
            check_classes(answers.iter().map(|answered| answered.truth))?;
        }
        let clips = Clips::new(answers);
        let everybody = clips.measured(|_| true);
        let whole = &everybody.whole;
        let speakers: Vec<Speaker> = everybody
            .speakers
            .iter()
            .map(|(&number, tally)| speaker(clips.speakers[number], tally))
            .collect();
        let class = |emotion: Emotion| {
            let c = emotion.index();
            Class {
                emotion,
                n: whole.n_of(c) as usize,
                precision: everybody.figure(|t| t.precision(c)),
                recall: everybody.figure(|t| t.recall(c)),
                f1: everybody.figure(|t| t.f1(c)),
            }
        };
        let row_share = |truth: usize, answer: usize| {
            everybody.figure(|t| t.recall(truth).map(|_| t.confusion[truth][answer] / t.n_of(truth)))
        };
        let calibration = (0..N_BINS).filter_map(|bin| {
            let share = |t: &Tally| (t.bins[bin].n > 0.0).then(|| t.bins[bin].right / t.bins[bin].n);
            let accuracy = everybody.figure(share)?;
            Some(Calibration {
                from: bin as f64 / N_BINS as f64,
                to: (bin + 1) as f64 / N_BINS as f64,
                n: whole.bins[bin].n as usize,
                confidence: whole.bins[bin].confidence / whole.bins[bin].n,
                accuracy,
            })
        });
        let (coverage, coverage_mean) = selective::coverage(&clips);
        let uncertain_below = input.evaluation.as_ref().and_then(|evaluation| evaluation.uncertain_below);
        Ok(Report {
            n: answers.len(),
            n_speakers: clips.speakers.len(),
            uar: everybody.mean_over_classes(Tally::uar),
            accuracy: everybody.certain(Tally::accuracy),
            macro_f1: everybody.mean_over_classes(Tally::macro_f1),
            ece: everybody.ece(),
            ece_if_calibrated: calibrated::ece_if_calibrated(answers),
            brier: everybody.certain(Tally::brier),
            log_loss: everybody.certain(Tally::log_loss),
            classes: Emotion::ALL.map(class).to_vec(),
            confusion: whole.confusion.map(|row| row.map(|n| n as usize)),
            confusion_rows: std::array::from_fn(|t| std::array::from_fn(|a| row_share(t, a))),
            groups: groups::groupings(&clips, input.evaluation.as_ref()),
            spread: spread(&speakers),
            speakers,
            calibration: calibration.collect(),
            coverage,
            coverage_mean,
            certain: uncertain_below.map(|threshold| selective::certain(&clips, threshold)),
            crowd: crowd::crowd(&clips, &input.votes),
            robustness: input.robustness.clone(),
            mistakes: mistakes(answers, &input.votes),
            evaluation: input.evaluation.clone(),
        })
    }
}

/// The tallies of those speakers who have a part in some clips, by the speaker's number.
type Tallies = BTreeMap<usize, Tally>;

/// Answers, the speaker of each, and the resamples of the speakers.
struct Clips<'a> {
    answers: &'a [Answered],
    /// Sorted.
    speakers: Vec<&'a str>,
    /// The index of each clip's speaker.
    speaker_of: Vec<usize>,
    bootstrap: Bootstrap,
}

impl<'a> Clips<'a> {
    fn new(answers: &'a [Answered]) -> Clips<'a> {
        let mut speakers: Vec<&str> = answers.iter().map(|answered| answered.speaker.as_str()).collect();
        speakers.sort_unstable();
        speakers.dedup();
        let index =
            |answered: &Answered| speakers.binary_search(&answered.speaker.as_str()).unwrap_or_default();
        let speaker_of = answers.iter().map(index).collect();
        let bootstrap = Bootstrap::new(speakers.len(), SEED);
        Clips { answers, speakers, speaker_of, bootstrap }
    }

    /// These clips alone, with their resamples.
    fn measured(&self, take: impl Fn(&Answered) -> bool) -> Measured<'_> {
        let mut tallies = Tallies::new();
        for (answered, &speaker) in self.answers.iter().zip(&self.speaker_of) {
            if take(answered) {
                let tally = tallies.entry(speaker).or_default();
                tally.add(answered.truth.index(), &answered.probabilities);
            }
        }
        self.measured_from(tallies)
    }

    /// Speakers of whom these are the tallies, with their resamples.
    fn measured_from(&self, speakers: Tallies) -> Measured<'_> {
        let resampled = match speakers.len() {
            // However often one speaker is drawn, the figures are the same.
            0 | 1 => Vec::new(),
            _ => self.bootstrap.tallies(speakers.iter().map(|(&number, tally)| (number, tally))),
        };
        Measured { whole: Tally::sum(speakers.values()), resampled, speakers, bootstrap: &self.bootstrap }
    }
}

/// A set of clips, and what resampling its speakers makes of it.
struct Measured<'a> {
    whole: Tally,
    /// Resample by resample; none of fewer than two speakers.
    resampled: Vec<Tally>,
    speakers: Tallies,
    bootstrap: &'a Bootstrap,
}

impl Measured<'_> {
    /// A figure, with an interval where two speakers or more have a part in it: the recall of a class that one speaker
    /// alone has is the same in every resample that has it.
    fn figure(&self, of: impl Fn(&Tally) -> Option<f64>) -> Option<Figure> {
        let value = of(&self.whole)?;
        if !self.has_two(|tally| of(tally).is_some()) {
            return Some(Figure::alone(value));
        }
        Some(self.bootstrap.figure(value, self.resampled.iter().map(of)))
    }

    /// A figure that every set of clips has.
    fn certain(&self, of: impl Fn(&Tally) -> Option<f64>) -> Figure {
        self.figure(of).unwrap_or(Figure::alone(0.0))
    }

    /// The same of a mean over classes: resamples that lack a class have no say.
    fn mean_over_classes(&self, of: impl Fn(&Tally) -> Option<f64>) -> Figure {
        let value = of(&self.whole).unwrap_or_default();
        if !self.has_two(|tally| of(tally).is_some()) {
            return Figure::alone(value);
        }
        let comparable = self.resampled.iter().filter(|tally| tally.has_classes_of(&self.whole));
        self.bootstrap.figure(value, comparable.map(of))
    }

    /// The expected calibration error, whose percentiles are without what resampling adds to it.
    fn ece(&self) -> Figure {
        let value = self.whole.ece().unwrap_or_default();
        match self.speakers.len() {
            0 | 1 => Figure::alone(value),
            _ => self.bootstrap.figure_less_bias(value, 0.0, self.resampled.iter().map(Tally::ece)),
        }
    }

    /// Whether there are two speakers with such a tally, or more.
    fn has_two(&self, such: impl Fn(&Tally) -> bool) -> bool {
        self.speakers.values().filter(|tally| such(tally)).nth(1).is_some()
    }
}

fn speaker(name: &str, tally: &Tally) -> Speaker {
    Speaker {
        speaker: name.to_owned(),
        n: tally.n() as usize,
        accuracy: tally.accuracy().unwrap_or_default(),
        uar: tally.uar().unwrap_or_default(),
    }
}

fn spread(speakers: &[Speaker]) -> Spread {
    let mut uars: Vec<f64> = speakers.iter().map(|speaker| speaker.uar).collect();
    uars.sort_unstable_by(f64::total_cmp);
    let worst = &uars[..(uars.len() / 10).max(1).min(uars.len())];
    Spread {
        min: percentile(&uars, 0.0),
        worst_tenth: worst.iter().sum::<f64>() / worst.len().max(1) as f64,
        lower_quartile: percentile(&uars, 0.25),
        median: percentile(&uars, 0.5),
        upper_quartile: percentile(&uars, 0.75),
        max: percentile(&uars, 1.0),
    }
}

fn mistakes(answers: &[Answered], votes: &BTreeMap<String, Votes>) -> Vec<Mistake> {
    let mut wrong: Vec<&Answered> = answers.iter().filter(|answered| !answered.is_right()).collect();
    // Clips are sorted by name, and the sort is stable.
    wrong.sort_by(|a, b| b.confidence().total_cmp(&a.confidence()));
    let mistake = |answered: &&Answered| Mistake {
        clip: answered.clip.clone(),
        truth: answered.truth,
        answer: Emotion::ALL[answered.answer()],
        confidence: answered.confidence(),
        heard: votes.get(&answered.clip).and_then(|votes| crowd::plurality(*votes).first().copied()),
    };
    wrong.iter().take(N_MISTAKES).map(mistake).collect()
}

#[cfg(test)]
mod tests;
