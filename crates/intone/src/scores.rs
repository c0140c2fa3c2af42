//! Answers: a probability for each class.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::Calibration;
use crate::voice::Hearing;
use crate::{Error, Result};

/// What was recognised in one recording: a probability for each class, in the order of
/// [`Recognizer::labels`](crate::Recognizer::labels); their sum is 1.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Scores {
    /// Nothing was to be heard. All probabilities are then equal: silence is no emotion.
    pub silence: bool,
    /// Length of the recording, seconds.
    pub duration_s: f64,
    /// Number of windows that the recording was cut into.
    pub n_windows: usize,
    /// Number of those that had no say in the answer: nothing was to be heard in them, or no voice where others have one.
    pub n_silent: usize,
    labels: Arc<[String]>,
    probabilities: Vec<f32>,
    uncertain_below: f32,
    /// Whether the answer that this one is a restriction of was uncertain.
    was_uncertain: bool,
    embedding: Vec<f32>,
}

impl Scores {
    /// What the network makes of the recording before it decides, the mean over the windows as in the answer: what is pooled
    /// over time in an encoder, the last hidden layer in a network of convolutions. Zeros for silence.
    ///
    /// Recordings that sound alike have embeddings that point the same way; it is the input for a classifier of one's own.
    pub fn embedding(&self) -> &[f32] {
        &self.embedding
    }

    /// Whether the model, as it was calibrated, is too often wrong when it is as unsure as here
    /// ([`ModelMeta::uncertain_below`](crate::model::ModelMeta::uncertain_below)). Silence is not uncertain. A
    /// [restricted](Scores::restrict) answer is uncertain also where that among all classes is: what sounds like none of the
    /// chosen classes may be told apart by chance alone.
    pub fn uncertain(&self) -> bool {
        let below = || self.top(1).first().is_some_and(|(_, top)| *top < self.uncertain_below);
        !self.silence && (self.was_uncertain || below())
    }

    /// The most probable class; of equal ones the first. `None` for silence.
    pub fn label(&self) -> Option<&str> {
        if self.silence { None } else { self.top(1).first().map(|&(label, _)| label) }
    }

    /// The `n` most probable classes with their probabilities, the most probable first; equal ones in the order
    /// of the labels.
    pub fn top(&self, n: usize) -> Vec<(&str, f32)> {
        let mut ranking: Vec<_> = self.iter().collect();
        ranking.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranking.truncate(n);
        ranking
    }

    /// All classes with their probabilities, in the order of the labels.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, f32)> + Clone {
        self.labels.iter().map(String::as_str).zip(self.probabilities.iter().copied())
    }

    /// The probability of one class; `None` where the model does not have it.
    pub fn get(&self, label: &str) -> Option<f32> {
        self.iter().find(|(name, _)| *name == label).map(|(_, probability)| probability)
    }

    /// The names of the classes.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The probabilities, `[n_labels]`, in [0, 1], sum 1.
    pub fn probabilities(&self) -> &[f32] {
        &self.probabilities
    }

    /// Moves the probabilities, and the embedding, by `share` of the way towards those of another answer of the same model.
    pub(crate) fn mix(&mut self, other: &Scores, share: f64) {
        let towards = |mine: &mut [f32], theirs: &[f32]| {
            for (mine, &theirs) in mine.iter_mut().zip(theirs) {
                *mine = (f64::from(*mine) * (1.0 - share) + f64::from(theirs) * share) as f32;
            }
        };
        towards(&mut self.probabilities, &other.probabilities);
        towards(&mut self.embedding, &other.embedding);
    }

    /// The answer if only these classes were possible: their probabilities divided by their sum, in the order of
    /// the model's labels. Where none of them had any probability, all have the same. It is as uncertain as before, or more,
    /// see [`Scores::uncertain`].
    ///
    /// # Errors
    /// [`Error::UnknownLabel`]; [`Error::OutOfRange`] for an empty list.
    pub fn restrict<S: AsRef<str>>(&self, classes: &[S]) -> Result<Scores> {
        check_classes(classes, &self.labels)?;
        let wanted: BTreeSet<&str> = classes.iter().map(AsRef::as_ref).collect();
        if self.labels.iter().all(|label| wanted.contains(label.as_str())) {
            return Ok(self.clone());
        }
        let kept: Vec<_> = self.iter().filter(|(label, _)| wanted.contains(label)).collect();
        let kept = || kept.iter().copied();
        let sum: f64 = kept().map(|(_, probability)| f64::from(probability)).sum();
        let n = kept().count() as f64;
        let share = |probability: f32| {
            if sum > 0.0 { (f64::from(probability) / sum) as f32 } else { (1.0 / n) as f32 }
        };
        Ok(Scores {
            labels: kept().map(|(label, _)| label.to_owned()).collect(),
            probabilities: kept().map(|(_, probability)| share(probability)).collect(),
            was_uncertain: self.uncertain(),
            embedding: self.embedding.clone(),
            ..*self
        })
    }
}

/// Whether a model with these `labels` can answer for these `classes`.
///
/// # Errors
/// As [`Scores::restrict`].
pub fn check_classes<S: AsRef<str>>(classes: &[S], labels: &[String]) -> Result<()> {
    if classes.is_empty() {
        let expected = format!("at least one of {}", labels.join(", "));
        return Err(Error::OutOfRange { what: "classes", expected, actual: "none".into() });
    }
    match classes.iter().map(AsRef::as_ref).find(|class| !labels.iter().any(|label| label == class)) {
        Some(label) => Err(Error::UnknownLabel { label: label.to_owned(), known: labels.to_vec() }),
        None => Ok(()),
    }
}

/// The sum of what the windows of one recording say.
#[derive(Debug)]
pub(crate) struct Votes {
    /// Sum of the probabilities over the windows that have a say, each times what it counts, `[n_labels]`.
    sums: Vec<f64>,
    /// The same sum of the embeddings of these windows.
    embedding: Vec<f64>,
    /// The sum of what they count.
    weight: f64,
    /// Whether a voice was heard.
    voice: bool,
    n_windows: usize,
    n_silent: usize,
}

impl Votes {
    pub(crate) fn new(n_labels: usize, n_embedding: usize) -> Votes {
        let (sums, embedding) = (vec![0.0; n_labels], vec![0.0; n_embedding]);
        Votes { sums, embedding, weight: 0.0, voice: false, n_windows: 0, n_silent: 0 }
    }

    /// A window in which nothing is to be heard, or what is too faint to count beside a voice.
    pub(crate) fn add_silent(&mut self) {
        self.n_windows += 1;
        self.n_silent += 1;
    }

    /// What the network says of a window with so many seconds of sound. The logits must be finite. After the first voice, what is
    /// faint has no say, and had none.
    pub(crate) fn add(
        &mut self,
        logits: &[f32],
        embedding: &[f32],
        calibration: Calibration,
        sound_s: f64,
        hearing: Hearing,
    ) {
        let Some(weight) = hearing.weight(self.voice) else { return self.add_silent() };
        if hearing.is_voice() && !self.voice {
            let n = self.n_windows;
            let none = Votes::new(self.sums.len(), self.embedding.len());
            *self = Votes { voice: true, n_windows: n, n_silent: n, ..none };
        }
        self.n_windows += 1;
        self.weight += weight;
        self.embedding.iter_mut().zip(embedding).for_each(|(sum, x)| *sum += weight * f64::from(*x));
        let probabilities = calibration.probabilities(logits, sound_s);
        self.sums.iter_mut().zip(probabilities).for_each(|(sum, p)| *sum += weight * p);
    }

    /// The weighted mean of the windows that have a say; all classes alike where there is none.
    pub(crate) fn scores(&self, labels: Arc<[String]>, duration_s: f64, uncertain_below: f32) -> Scores {
        let silence = self.n_windows == self.n_silent;
        let mean =
            |sum: &f64, of_none: f64| if silence { of_none as f32 } else { (sum / self.weight) as f32 };
        let alike = 1.0 / self.sums.len() as f64;
        Scores {
            silence,
            duration_s,
            n_windows: self.n_windows,
            n_silent: self.n_silent,
            labels,
            probabilities: self.sums.iter().map(|sum| mean(sum, alike)).collect(),
            uncertain_below,
            was_uncertain: false,
            embedding: self.embedding.iter().map(|sum| mean(sum, 0.0)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Arc<[String]> {
        ["angry", "happy", "neutral", "sad"].map(String::from).into()
    }

    fn summed(probabilities: [f64; 4]) -> Votes {
        Votes { sums: probabilities.to_vec(), weight: 1.0, n_windows: 1, ..Votes::new(4, 0) }
    }

    fn scores(probabilities: [f64; 4]) -> Scores {
        summed(probabilities).scores(labels(), 1.0, 0.0)
    }

    /// A window that is sure of one class.
    fn sure(votes: &mut Votes, class: usize, hearing: Hearing) {
        let mut logits = [0.0; 4];
        logits[class] = 2000.0;
        votes.add(&logits, &[class as f32, 2.0], Calibration::default(), 5.0, hearing);
    }

    #[test]
    fn windows_count_as_much_as_there_is_voice_in_them_and_silent_ones_have_no_say() {
        let mut votes = Votes::new(4, 2);
        sure(&mut votes, 0, Hearing::Voice(2.0));
        votes.add_silent();
        sure(&mut votes, 1, Hearing::Voice(1.0));
        sure(&mut votes, 0, Hearing::Voice(0.5));
        sure(&mut votes, 3, Hearing::Nothing);
        let scores = votes.scores(labels(), 5.0, 0.0);
        assert_eq!(scores.probabilities(), [2.5 / 3.5, 1.0 / 3.5, 0.0, 0.0]);
        assert_eq!(scores.embedding(), [1.0 / 3.5, 2.0]);
        assert_eq!((scores.n_windows, scores.n_silent, scores.silence), (5, 2, false));
        assert_eq!(scores.label(), Some("angry"));
    }

    #[test]
    fn what_is_faint_counts_where_there_is_no_voice() {
        let mut votes = Votes::new(4, 2);
        for class in [0, 1, 0] {
            sure(&mut votes, class, Hearing::Faint);
        }
        votes.add_silent();
        let scores = votes.scores(labels(), 5.0, 0.0);
        assert_eq!(scores.probabilities(), [2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
        assert_eq!((scores.n_windows, scores.n_silent), (4, 1));
        sure(&mut votes, 2, Hearing::Voice(0.1));
        sure(&mut votes, 0, Hearing::Faint);
        let scores = votes.scores(labels(), 5.0, 0.0);
        assert_eq!(scores.probabilities(), [0.0, 0.0, 1.0, 0.0]);
        assert_eq!((scores.n_windows, scores.n_silent), (6, 5));
        assert_eq!(scores.embedding(), [2.0, 2.0]);
    }

    #[test]
    fn silence_is_no_emotion() {
        let mut votes = Votes::new(4, 2);
        votes.add_silent();
        let scores = votes.scores(labels(), 5.0, 0.0);
        assert!(scores.silence);
        assert_eq!(scores.probabilities(), [0.25; 4]);
        assert_eq!(scores.label(), None);
        let restricted = scores.restrict(&["sad", "angry"]).unwrap();
        assert!(restricted.silence && restricted.label().is_none());
        assert_eq!(restricted.probabilities(), [0.5; 2]);
    }

    #[test]
    fn top_ranks_and_keeps_the_order_of_equals() {
        let scores = scores([0.25, 0.4, 0.1, 0.25]);
        assert_eq!(scores.top(3), [("happy", 0.4), ("angry", 0.25), ("sad", 0.25)]);
        assert_eq!(scores.top(0), []);
        assert_eq!(scores.top(100).len(), 4);
        assert_eq!(scores.get("neutral"), Some(0.1));
        assert_eq!(scores.get("bored"), None);
    }

    #[test]
    fn a_restriction_renormalises_in_the_order_of_the_labels() {
        let scores = scores([0.5, 0.2, 0.2, 0.1]);
        let few = scores.restrict(&["sad", "happy", "sad"]).unwrap();
        assert_eq!(few.labels(), ["happy", "sad"]);
        assert!((few.probabilities()[0] - 2.0 / 3.0).abs() < 1e-6, "{few:?}");
        assert!((few.probabilities().iter().sum::<f32>() - 1.0).abs() < 1e-6, "{few:?}");
        assert_eq!(few.label(), Some("happy"));
        assert_eq!(scores.restrict(&["sad"]).unwrap().probabilities(), [1.0]);
    }

    #[test]
    fn an_answer_below_the_models_confidence_is_uncertain() {
        let mut votes = Votes::new(4, 2);
        votes.add(&[1.0, 0.0, 0.0, 0.0], &[1.0, 2.0], Calibration::default(), 5.0, Hearing::Faint);
        let top = votes.scores(labels(), 1.0, 0.0).probabilities()[0];
        for (uncertain_below, uncertain) in [(0.0, false), (top, false), (top + 1e-4, true), (1.0, true)] {
            let scores = votes.scores(labels(), 1.0, uncertain_below);
            assert_eq!(scores.uncertain(), uncertain, "{uncertain_below}");
        }
        let mut silent = Votes::new(4, 2);
        silent.add_silent();
        assert!(!silent.scores(labels(), 1.0, 1.0).uncertain());
    }

    #[test]
    fn a_restriction_is_as_uncertain_as_the_answer_or_more() {
        let of =
            |probabilities, uncertain_below| summed(probabilities).scores(labels(), 1.0, uncertain_below);
        let uncertain = |scores: &Scores, classes: &[&str]| scores.restrict(classes).unwrap().uncertain();
        // Sure between these two, and unsure among all.
        let unsure = of([0.4, 0.3, 0.3, 0.0], 0.5);
        assert!(unsure.uncertain() && uncertain(&unsure, &["angry", "sad"]));
        assert!(uncertain(&unsure.restrict(&["angry", "sad", "happy"]).unwrap(), &["angry", "sad"]));
        // The other way round: what it was sure of is none of them.
        let sure = of([0.8, 0.1, 0.1, 0.0], 0.6);
        assert!(!sure.uncertain() && uncertain(&sure, &["happy", "neutral"]));
        assert!(!uncertain(&sure, &["angry", "happy"]) && !uncertain(&sure, &["happy", "sad"]));
        let mut silent = Votes::new(4, 2);
        silent.add_silent();
        assert!(!uncertain(&silent.scores(labels(), 1.0, 1.0), &["sad", "happy"]));
    }

    #[test]
    fn a_restriction_to_the_impossible_is_undecided() {
        let few = scores([1.0, 0.0, 0.0, 0.0]).restrict(&["sad", "happy"]).unwrap();
        assert_eq!(few.probabilities(), [0.5; 2]);
    }

    #[test]
    fn unknown_classes_are_refused_with_the_choices() {
        let error = scores([0.25; 4]).restrict(&["sad", "bored"]).unwrap_err();
        assert_eq!(error.to_string(), "no class `bored`; the model knows angry, happy, neutral, sad");
        let none: [&str; 0] = [];
        assert!(matches!(scores([0.25; 4]).restrict(&none), Err(Error::OutOfRange { .. })));
    }
}
