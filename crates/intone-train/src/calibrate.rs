//! Confidences that mean something: the temperature of the softmax (Guo et al. 2017), and the confidence below which an
//! answer is called uncertain. Both are fitted on clips that were not learned from: by a training on its validation clips, and
//! once more by [`recalibrate`] on the many speakers of a cross-validation, which can tell the whole [`Calibration`].

use std::collections::{BTreeMap, BTreeSet};

use intone::Emotion;
use intone::features::{Frames, FrontEnd};
use intone::model::meta::{
    MAX_GAP_EXPONENT, MAX_SHORT_S, MAX_TEMPERATURE, MIN_GAP_EXPONENT, MIN_TEMPERATURE,
};
use intone::model::{Calibration, Model, ModelFile, Provenance};

use crate::bootstrap::Bootstrap;
use crate::corpus::Clip;
use crate::error::Result;
use crate::evaluate::{
    ClipLogits, Prediction, Scores, coverage, logits, mean_cross_entropy, pooled, predictions, score,
};
use crate::provenance::Results;
use crate::split::Part;

pub use folds::{FoldAnswers, recalibrate};

mod folds;

/// Of the answers that are not called uncertain, at least this share is to be right.
pub const WANTED_ACCURACY: f64 = 0.8;

/// How sure that is to be of speakers who were not among those it was fitted on: the share of the bootstrap's resamples.
pub const WANTED_CERTAINTY: f64 = 0.95;

/// How exactly the best temperature is known, as a share of it; of the exponent's the root of this.
const PRECISION: f64 = 1e-6;

/// How a note on a model begins that says what it was calibrated by.
const NOTE: &str = "calibrated by ";

/// Lengths that clips are cut to, to see how sure a network is of a short sound, seconds.
const SHORT_S: [f64; 8] = [0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0];

/// A model's answers to its validation clips.
#[derive(Debug, Clone)]
pub struct Calibrated {
    /// With the confidences that its file had.
    pub before: Vec<Prediction>,
    /// With those that were fitted on these clips.
    pub now: Vec<Prediction>,
    /// How the latter score.
    pub scores: Scores,
}

/// Fits temperature, short sounds and threshold of a model on its validation clips, from their features, and takes down in its
/// metadata with what result.
///
/// # Errors
/// Features that do not fit the model; no clips.
pub fn calibrate(file: &mut ModelFile, clips: &[Clip], frames: &[Frames]) -> Result<Calibrated> {
    let model = Model::new(&file.meta.architecture, file.tensors.clone())?;
    let meta = &mut file.meta;
    let logits = logits(&model, &meta.front_end, frames)?;
    let before = predictions(clips, &logits, meta.calibration());
    let truths: Vec<Emotion> = clips.iter().map(|clip| clip.emotion).collect();
    (meta.temperature, meta.gap_exponent) = (fit_temperature(&truths, &logits), 1.0);
    if meta.front_end.makes_shorter_windows() {
        meta.short_s = fit_short(&model, &meta.front_end, meta.calibration(), clips, frames)?;
    }
    let now = predictions(clips, &logits, meta.calibration());
    meta.uncertain_below = fit_uncertain_below(&now, meta.provenance.seed);
    forget_calibration(&mut meta.provenance);
    let scores = score(&now, meta.provenance.seed)?;
    meta.provenance.note(Part::Validation, &scores, coverage(&now, meta.uncertain_below));
    Ok(Calibrated { before, now, scores })
}

/// Drops what was noted of a model's confidences as they were before; accuracy and UAR stay.
fn forget_calibration(origin: &mut Provenance) {
    for part in [Part::Validation, Part::Test] {
        for of_confidences in ["ece", "coverage", "accuracy_when_certain"] {
            origin.scores.remove(&format!("{part}_{of_confidences}"));
        }
    }
    origin.scores.retain(|name, _| !name.starts_with("folds_"));
    origin.notes = origin.notes.lines().filter(|line| !line.starts_with(NOTE)).collect::<Vec<_>>().join("\n");
}

/// The length below which sounds must count as short for the cross-entropy of the clips' middles to be least.
fn fit_short(
    model: &Model,
    front_end: &FrontEnd,
    calibration: Calibration,
    clips: &[Clip],
    frames: &[Frames],
) -> Result<f32> {
    let (mut truths, mut middles) = (Vec::new(), Vec::new());
    for length_s in SHORT_S {
        let n = ((length_s / front_end.frames_s(1)).round() as usize).max(1);
        for (clip, frames) in clips.iter().zip(frames).filter(|(_, frames)| frames.range().len() > n) {
            let (n_mels, start) = (frames.n_mels(), (frames.range().len() - n) / 2);
            let middle = &frames.values()[start * n_mels..][..n * n_mels];
            truths.push(clip.emotion);
            middles.push(Frames::from_values(n_mels, middle.to_vec())?);
        }
    }
    let logits = logits(model, front_end, &middles)?;
    let loss = |short_s: f32| {
        let answers = logits.iter().map(|logits| pooled(logits, Calibration { short_s, ..calibration }));
        mean_cross_entropy(truths.iter().copied().zip(answers))
    };
    Ok(least(&loss, SHORT_S[0] as f32, MAX_SHORT_S, PRECISION.sqrt()).1)
}

/// The temperature at which the cross-entropy is least: there is one such for one window a clip, and nearly so for the mean over
/// several.
fn fit_temperature(truths: &[Emotion], logits: &[ClipLogits]) -> f32 {
    best_temperature(truths, logits, Calibration::default().gap_exponent).1
}

/// The calibration at which the cross-entropy is least. Its two numbers ask for more answers than a temperature alone.
fn fit(truths: &[Emotion], logits: &[ClipLogits]) -> Calibration {
    let loss = |exponent: f32| best_temperature(truths, logits, exponent).0;
    let gap_exponent = least(&loss, MIN_GAP_EXPONENT, MAX_GAP_EXPONENT, PRECISION.sqrt()).1;
    let temperature = best_temperature(truths, logits, gap_exponent).1;
    Calibration { temperature, gap_exponent, ..Calibration::default() }
}

/// The least cross-entropy at this exponent, and the temperature that gives it.
fn best_temperature(truths: &[Emotion], logits: &[ClipLogits], gap_exponent: f32) -> (f64, f32) {
    let loss = |temperature: f32| {
        let calibration = Calibration { temperature, gap_exponent, ..Calibration::default() };
        let answers = logits.iter().map(|logits| pooled(logits, calibration));
        mean_cross_entropy(truths.iter().copied().zip(answers))
    };
    least(&loss, MIN_TEMPERATURE, MAX_TEMPERATURE, PRECISION)
}

/// The least value of a function with one minimum in this range, and where it has it, to within a share of the place: by
/// golden-section search over the place's logarithm.
fn least(value: &dyn Fn(f32) -> f64, lowest: f32, highest: f32, precision: f64) -> (f64, f32) {
    let place = |log: f64| (log.exp() as f32).clamp(lowest, highest);
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (f64::from(lowest).ln(), f64::from(highest).ln());
    let mut inner = [high - golden * (high - low), low + golden * (high - low)];
    let mut values = inner.map(|log| value(place(log)));
    while high - low > precision {
        if values[0] < values[1] {
            high = inner[1];
            inner = [high - golden * (high - low), inner[0]];
            values = [value(place(inner[0])), values[0]];
        } else {
            low = inner[0];
            inner = [inner[1], low + golden * (high - low)];
            values = [values[1], value(place(inner[1]))];
        }
    }
    let best = place((low + high) / 2.0);
    (value(best), best)
}

/// These answers calibrated in another way, from the logits of their windows.
fn at(calibration: Calibration, predictions: &[Prediction], logits: &[ClipLogits]) -> Vec<Prediction> {
    let at = |(prediction, logits): (&Prediction, &ClipLogits)| Prediction {
        probabilities: pooled(logits, calibration),
        ..prediction.clone()
    };
    predictions.iter().zip(logits).map(at).collect()
}

/// The confidence below which answers are to be called uncertain, so that as many as possible of these clips are answered
/// and at least [`WANTED_ACCURACY`] of those answers are right, also of most other speakers: in [`WANTED_CERTAINTY`] of the
/// resamples of the speakers. 0 where all may be answered, 1 where none. A single speaker says nothing of others; then only
/// the clips themselves count.
pub fn fit_uncertain_below(predictions: &[Prediction], seed: u64) -> f32 {
    let numbers: BTreeSet<&str> = predictions.iter().map(|p| &*p.speaker).collect();
    let numbers: BTreeMap<&str, usize> = numbers.into_iter().zip(0..).collect();
    let mut ranking: Vec<(f32, usize, bool)> = predictions
        .iter()
        .map(|p| (p.confidence(), numbers[&*p.speaker], p.answer() == p.truth.index()))
        .collect();
    ranking.sort_by(|a, b| b.0.total_cmp(&a.0));
    // Equally confident answers are kept or not as one.
    let ends_here = |i: usize| ranking.get(i + 1).is_none_or(|next| next.0 < ranking[i].0);
    let mut n_good = vec![0usize; ranking.len()];
    let bootstrap = Bootstrap::new(numbers.len(), seed);
    for times in bootstrap.resamples() {
        let (mut n_right, mut n_kept) = (0.0, 0.0);
        for (&(_, speaker, right), n_good) in ranking.iter().zip(&mut n_good) {
            let times = f64::from(times[speaker]);
            n_kept += times;
            n_right += if right { times } else { 0.0 };
            *n_good += usize::from(n_kept > 0.0 && n_right >= WANTED_ACCURACY * n_kept);
        }
    }
    let enough = WANTED_CERTAINTY * bootstrap.resamples().len() as f64;
    let n_kept =
        (0..ranking.len()).rfind(|&i| ends_here(i) && n_good[i] as f64 >= enough).map_or(0, |i| i + 1);
    match (n_kept, ranking.get(n_kept)) {
        (_, None) => 0.0,
        (0, _) => 1.0,
        (_, Some(next)) => (ranking[n_kept - 1].0 + next.0) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::evaluate::cross_entropy;
    use crate::random::{Purpose, normal, stream};
    use crate::training_set::N_CLASSES;

    fn prediction(truth: Emotion, probabilities: [f32; N_CLASSES]) -> Prediction {
        Prediction {
            clip: "c".into(),
            corpus: "c".into(),
            speaker: "c/s".into(),
            sex: String::new(),
            sentence: String::new(),
            truth,
            probabilities,
        }
    }

    /// What a network says of a clip of one window.
    fn of(logits: [f32; N_CLASSES]) -> ClipLogits {
        ClipLogits::of(logits, 2.0)
    }

    /// Answers of a network that is not calibrated.
    fn plain(truths: &[Emotion], logits: &[ClipLogits]) -> Vec<Prediction> {
        let answer = |(&truth, logits)| prediction(truth, pooled(logits, Calibration::default()));
        truths.iter().zip(logits).map(answer).collect()
    }

    /// A speaker's clip with an answer of this confidence.
    fn answer(speaker: usize, confidence: f32, right: bool) -> Prediction {
        let rest = (1.0 - confidence) / 5.0;
        let speaker = format!("c/{speaker}");
        let truth = Emotion::ALL[usize::from(!right)];
        Prediction { speaker, ..prediction(truth, [confidence, rest, rest, rest, rest, rest]) }
    }

    /// Truths drawn from the probabilities of random logits.
    fn drawn(n: usize) -> (Vec<Emotion>, Vec<[f32; N_CLASSES]>) {
        let mut rng = stream(1, Purpose::Bootstrap, 0, 0);
        (0..n)
            .map(|_| {
                let logits: [f32; N_CLASSES] = std::array::from_fn(|_| 1.5 * normal(&mut rng));
                let (p, mut place) = (pooled(&of(logits), Calibration::default()), rng.random::<f32>());
                let truth = (0..N_CLASSES).find(|&i| {
                    place -= p[i];
                    place < 0.0
                });
                (Emotion::ALL[truth.unwrap_or(0)], logits)
            })
            .unzip()
    }

    #[test]
    fn the_temperature_undoes_over_and_underconfidence() {
        let (truths, logits) = drawn(4000);
        for wrong in [0.4f32, 1.0, 3.0] {
            let windows: Vec<_> = logits.iter().map(|logits| of(logits.map(|l| wrong * l))).collect();
            let predictions = plain(&truths, &windows);
            let temperature = fit_temperature(&truths, &windows);
            assert!((temperature / wrong - 1.0).abs() < 0.1, "{wrong}: {temperature}");
            let calibrated =
                at(Calibration { temperature, ..Calibration::default() }, &predictions, &windows);
            let (before, after) = (score(&predictions, 1).unwrap().ece, score(&calibrated, 1).unwrap().ece);
            assert!(after < 0.03 && (wrong == 1.0 || before > 0.1), "{wrong}: {before} {after}");
        }
    }

    #[test]
    fn temperature_and_exponent_undo_what_was_done_to_the_gaps() {
        let (truths, logits) = drawn(4000);
        for (wrong, exponent) in [(1.0f32, 1.0f32), (0.5, 0.7), (2.0, 1.5)] {
            let bent = |logits: &[f32; N_CLASSES]| {
                let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                of(logits.map(|l| -(wrong * (highest - l)).powf(1.0 / exponent)))
            };
            let windows: Vec<_> = logits.iter().map(bent).collect();
            let found = fit(&truths, &windows);
            assert!((found.temperature / wrong - 1.0).abs() < 0.1, "{wrong} {exponent}: {found:?}");
            assert!((found.gap_exponent / exponent - 1.0).abs() < 0.1, "{wrong} {exponent}: {found:?}");
            // A temperature is what it would be alone, or better.
            let alone =
                Calibration { temperature: fit_temperature(&truths, &windows), ..Calibration::default() };
            let predictions = plain(&truths, &windows);
            let loss = |calibration| cross_entropy(&at(calibration, &predictions, &windows));
            assert!(loss(found) <= loss(alone) + 1e-9, "{found:?} {alone:?}");
        }
    }

    #[test]
    fn a_network_that_is_always_right_or_always_wrong_stays_in_range() {
        for truth in [0, 1] {
            let windows = vec![of([3.0, 0.0, 0.0, 0.0, 0.0, 0.0]); 5];
            let truths = vec![Emotion::ALL[truth]; 5];
            let temperature = fit_temperature(&truths, &windows);
            let expected = if truth == 0 { MIN_TEMPERATURE..=0.3 } else { 30.0..=MAX_TEMPERATURE };
            assert!(expected.contains(&temperature), "{temperature}");
            let Calibration { temperature, gap_exponent, .. } = fit(&truths, &windows);
            assert!((MIN_TEMPERATURE..=MAX_TEMPERATURE).contains(&temperature), "{temperature}");
            assert!((MIN_GAP_EXPONENT..=MAX_GAP_EXPONENT).contains(&gap_exponent), "{gap_exponent}");
        }
    }

    #[test]
    fn enough_of_the_answers_that_remain_are_right() {
        let mut predictions: Vec<_> = (0..50).map(|i| answer(0, 0.9, i % 10 != 0)).collect();
        predictions.extend((0..50).map(|i| answer(0, 0.5, i % 2 == 0)));
        let threshold = fit_uncertain_below(&predictions, 1);
        assert!((threshold - 0.7).abs() < 1e-6, "{threshold}");
        assert_eq!(fit_uncertain_below(&predictions[..50], 1), 0.0);
        assert_eq!(fit_uncertain_below(&predictions[50..], 1), 1.0);
        assert_eq!(fit_uncertain_below(&[], 1), 0.0);
    }

    #[test]
    fn speakers_who_differ_ask_for_more_confidence() {
        // Sure answers are right, of all speakers. Of the others 70 % are right of each speaker, or all of seven speakers and
        // none of three: 85 % of all clips, either way.
        let with_others_of = |n_right: &dyn Fn(usize) -> usize| {
            let mut predictions = Vec::new();
            for speaker in 0..10 {
                predictions.extend((0..10).map(|_| answer(speaker, 0.9, true)));
                predictions.extend((0..10).map(|i| answer(speaker, 0.5, i < n_right(speaker))));
            }
            predictions
        };
        assert_eq!(fit_uncertain_below(&with_others_of(&|_| 7), 1), 0.0);
        let threshold = fit_uncertain_below(&with_others_of(&|speaker| if speaker < 3 { 0 } else { 10 }), 1);
        assert!((threshold - 0.7).abs() < 1e-6, "{threshold}");
    }
}
