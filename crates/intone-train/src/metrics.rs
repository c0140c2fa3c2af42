//! Figures of merit, each as its textbook has it. `reference/metrics_goldens.py` writes what scikit-learn says of the
//! same clips.
//!
//! A [`Tally`] is what figures are computed from, and it adds up: the tally of a corpus is the sum of those of its
//! speakers. So an interval over resampled speakers costs a few additions, however many clips there are.

use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Deserializer, Serialize};

use crate::training_set::N_CLASSES;

/// Bins of the calibration error, of equal width.
pub const N_BINS: usize = 15;

/// A figure with its 95 % interval, all as fractions of 1.
///
/// In JSON `{"value", "low", "high"}`, and the value alone where there is no interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// On the clips as they are.
    pub value: f64,
    /// The 2.5th percentile over resampled speakers; not a number where fewer than two speakers have a part in it.
    pub low: f64,
    /// The 97.5th percentile, likewise.
    pub high: f64,
}

impl Figure {
    /// A figure without an interval.
    pub fn alone(value: f64) -> Figure {
        Figure { value, low: f64::NAN, high: f64::NAN }
    }

    /// Whether there is an interval.
    pub fn has_interval(&self) -> bool {
        self.low.is_finite() && self.high.is_finite()
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} %", 100.0 * self.value)?;
        match self.has_interval() {
            true => write!(f, " [{:.1}, {:.1}]", 100.0 * self.low, 100.0 * self.high),
            false => Ok(()),
        }
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.has_interval() {
            return serializer.serialize_f64(self.value);
        }
        let mut object = serializer.serialize_struct("Figure", 3)?;
        object.serialize_field("value", &self.value)?;
        object.serialize_field("low", &self.low)?;
        object.serialize_field("high", &self.high)?;
        object.end()
    }
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Figure, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Alone(f64),
            Interval { value: f64, low: f64, high: f64 },
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Alone(value) => Figure::alone(value),
            Either::Interval { value, low, high } => Figure { value, low, high },
        })
    }
}

/// The class with the highest probability; of equal ones the first.
pub fn answer(probabilities: &[f64; N_CLASSES]) -> usize {
    let better = |best: usize, class: usize| {
        if probabilities[class] > probabilities[best] { class } else { best }
    };
    (0..N_CLASSES).fold(0, better)
}

/// The bin of a confidence from 0 to 1.
pub(crate) fn bin_of(confidence: f64) -> usize {
    ((confidence * N_BINS as f64) as usize).min(N_BINS - 1)
}

/// Clips whose confidence lies in one bin.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bin {
    /// Number of clips.
    pub n: f64,
    /// Sum of their confidences.
    pub confidence: f64,
    /// Number of those that are right.
    pub right: f64,
}

/// What figures are computed from. Numbers of clips are floats: resampled clips count several times.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tally {
    /// Clips by truth (row) and answer (column), in the order of [`Emotion::ALL`](intone::Emotion::ALL).
    pub confusion: [[f64; N_CLASSES]; N_CLASSES],
    /// Clips by the confidence of their answers, from 0 to 1.
    pub bins: [Bin; N_BINS],
    /// Sum over clips of the squared distance of probabilities and truth.
    brier: f64,
    /// Sum over clips of the negative logarithm of the truth's probability.
    log_loss: f64,
}

impl Tally {
    /// The tally of these clips: truth and probabilities of each.
    pub fn of<'a>(clips: impl IntoIterator<Item = (usize, &'a [f64; N_CLASSES])>) -> Tally {
        let mut tally = Tally::default();
        clips.into_iter().for_each(|(truth, probabilities)| tally.add(truth, probabilities));
        tally
    }

    /// Takes in one clip.
    pub fn add(&mut self, truth: usize, probabilities: &[f64; N_CLASSES]) {
        let answer = answer(probabilities);
        let confidence = probabilities[answer];
        self.confusion[truth][answer] += 1.0;
        let bin = &mut self.bins[bin_of(confidence)];
        bin.n += 1.0;
        bin.confidence += confidence;
        bin.right += f64::from(u8::from(answer == truth));
        for (class, p) in probabilities.iter().enumerate() {
            self.brier += (p - f64::from(u8::from(class == truth))).powi(2);
        }
        // As scikit-learn: a truth that was held impossible costs 36 nats, not infinitely many.
        self.log_loss -= probabilities[truth].max(f64::EPSILON).ln();
    }

    /// Takes in another tally, `times` times.
    pub fn add_tally(&mut self, other: &Tally, times: f64) {
        for (sum, part) in self.confusion.as_flattened_mut().iter_mut().zip(other.confusion.as_flattened()) {
            *sum += times * part;
        }
        for (sum, part) in self.bins.iter_mut().zip(&other.bins) {
            sum.n += times * part.n;
            sum.confidence += times * part.confidence;
            sum.right += times * part.right;
        }
        self.brier += times * other.brier;
        self.log_loss += times * other.log_loss;
    }

    /// The sum of several tallies.
    pub fn sum<'a>(parts: impl IntoIterator<Item = &'a Tally>) -> Tally {
        let mut sum = Tally::default();
        parts.into_iter().for_each(|part| sum.add_tally(part, 1.0));
        sum
    }

    /// Number of clips.
    pub fn n(&self) -> f64 {
        self.confusion.as_flattened().iter().sum()
    }

    /// Number of clips whose truth is this class.
    pub fn n_of(&self, class: usize) -> f64 {
        self.confusion[class].iter().sum()
    }

    /// Number of clips that were answered with this class.
    pub fn n_answered(&self, class: usize) -> f64 {
        self.confusion.iter().map(|row| row[class]).sum()
    }

    /// The share of clips that are right; `None` of no clips.
    pub fn accuracy(&self) -> Option<f64> {
        let right: f64 = (0..N_CLASSES).map(|class| self.confusion[class][class]).sum();
        ratio(right, self.n())
    }

    /// The share of clips of a class that are right; `None` where there are none.
    pub fn recall(&self, class: usize) -> Option<f64> {
        ratio(self.confusion[class][class], self.n_of(class))
    }

    /// The share of answers of a class that are right; `None` where it was never the answer.
    pub fn precision(&self, class: usize) -> Option<f64> {
        ratio(self.confusion[class][class], self.n_answered(class))
    }

    /// The harmonic mean of precision and recall; `None` for a class that is neither truth nor answer.
    pub fn f1(&self, class: usize) -> Option<f64> {
        ratio(2.0 * self.confusion[class][class], self.n_of(class) + self.n_answered(class))
    }

    /// Unweighted average recall: the mean of the recalls of the classes that occur.
    pub fn uar(&self) -> Option<f64> {
        mean((0..N_CLASSES).filter_map(|class| self.recall(class)))
    }

    /// Whether every class that occurs in the other occurs here. A mean over classes, such as the UAR, of a resample that lacks
    /// one is a mean over fewer: another figure.
    pub fn has_classes_of(&self, other: &Tally) -> bool {
        (0..N_CLASSES).all(|class| self.n_of(class) > 0.0 || other.n_of(class) == 0.0)
    }

    /// The mean, over the classes that occur in both, of this recall less the other.
    pub fn uar_less(&self, other: &Tally) -> Option<f64> {
        mean((0..N_CLASSES).filter_map(|class| Some(self.recall(class)? - other.recall(class)?)))
    }

    /// The mean of the F1 of the classes that occur.
    pub fn macro_f1_of_truths(&self) -> Option<f64> {
        mean((0..N_CLASSES).filter(|&class| self.n_of(class) > 0.0).filter_map(|class| self.f1(class)))
    }

    /// The mean of the F1 of the classes that are truth or answer, as scikit-learn's.
    pub fn macro_f1(&self) -> Option<f64> {
        mean((0..N_CLASSES).filter_map(|class| self.f1(class)))
    }

    /// Expected calibration error (Naeini et al. 2015): the mean distance of confidence and accuracy over the bins.
    pub fn ece(&self) -> Option<f64> {
        ratio(self.bins.iter().map(|bin| (bin.confidence - bin.right).abs()).sum(), self.n())
    }

    /// Brier's score of several classes, in [0, 2]: the mean squared distance of probabilities and truth.
    pub fn brier(&self) -> Option<f64> {
        ratio(self.brier, self.n())
    }

    /// Mean cross-entropy, nats.
    pub fn log_loss(&self) -> Option<f64> {
        ratio(self.log_loss, self.n())
    }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (n, sum) = values.fold((0, 0.0), |(n, sum), value| (n + 1, sum + value));
    ratio(sum, f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nine of ten clips right with a confidence of 0.7, one of two with 0.4; the answer is always the first class.
    fn tally() -> Tally {
        let mut tally = Tally::default();
        for (n, n_right, confidence) in [(10, 9, 0.7), (2, 1, 0.4)] {
            for i in 0..n {
                let mut probabilities = [(1.0 - confidence) / 5.0; N_CLASSES];
                probabilities[0] = confidence;
                tally.add(if i < n_right { 0 } else { 5 }, &probabilities);
            }
        }
        tally
    }

    #[test]
    fn figures_are_those_of_their_definitions() {
        let close = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() < 1e-12;
        let tally = tally();
        assert_eq!((tally.n(), tally.n_of(5), tally.n_answered(0)), (12.0, 2.0, 12.0));
        assert!(close(tally.accuracy(), 10.0 / 12.0) && close(tally.uar(), 0.5));
        assert!(close(tally.precision(0), 10.0 / 12.0) && tally.precision(5).is_none());
        assert!(close(tally.macro_f1(), (20.0 / 22.0 + 0.0) / 2.0));
        assert!(close(tally.ece(), (10.0 * 0.2 + 2.0 * 0.1) / 12.0));
        assert_eq!((tally.recall(1), tally.f1(1)), (None, None));
        let empty = Tally::default();
        assert_eq!((empty.accuracy(), empty.uar(), empty.ece(), empty.brier()), (None, None, None, None));
    }

    #[test]
    fn tallies_add_up() {
        let once = tally();
        let mut thrice = Tally::sum([&once, &once]);
        thrice.add_tally(&once, 1.0);
        let mut at_once = Tally::default();
        at_once.add_tally(&once, 3.0);
        assert_eq!(thrice.confusion, at_once.confusion);
        assert!((thrice.brier().unwrap() - once.brier().unwrap()).abs() < 1e-12);
        assert!((at_once.log_loss().unwrap() - once.log_loss().unwrap()).abs() < 1e-12);
    }

    #[test]
    fn of_equal_probabilities_the_first_is_the_answer() {
        assert_eq!(answer(&[1.0 / 6.0; N_CLASSES]), 0);
        assert_eq!(answer(&[0.1, 0.3, 0.1, 0.3, 0.1, 0.1]), 1);
    }

    #[test]
    fn a_figure_without_an_interval_is_a_number() {
        let with = Figure { value: 0.5, low: 0.25, high: 0.75 };
        let without = Figure::alone(0.5);
        assert_eq!(serde_json::to_string(&with).unwrap(), r#"{"value":0.5,"low":0.25,"high":0.75}"#);
        assert_eq!(serde_json::to_string(&without).unwrap(), "0.5");
        assert_eq!(serde_json::from_str::<Figure>(r#"{"value":0.5,"low":0.25,"high":0.75}"#).unwrap(), with);
        assert!(!serde_json::from_str::<Figure>("0.5").unwrap().has_interval());
        assert_eq!((with.to_string(), without.to_string()), ("50.0 % [25.0, 75.0]".into(), "50.0 %".into()));
    }
}
