//! Calibration by a cross-validation: a model's few validation speakers may be easier or harder than others, and all folds
//! together have answers to every speaker by a model of the same recipe that had not heard them. Those models may have heard
//! the speakers that the model is tested on; none of the answers that count is to one of these.

use std::path::Path;

use intone::Emotion;
use intone::model::{Calibration, ModelMeta};
use rayon::prelude::*;

use super::{NOTE, at, fit, fit_uncertain_below, forget_calibration};
use crate::config::Config;
use crate::corpus::Sex;
use crate::cross_validate::{FoldResult, finished};
use crate::error::{Error, Result};
use crate::evaluate::{ClipLogits, Prediction, Scores, coverage, score};
use crate::leak::Heard;
use crate::predictions::Answered;
use crate::provenance::Results;

/// The answers of a cross-validation's models to clips of speakers that a model heard in training or validation, and those that
/// answered had not.
#[derive(Debug, Clone)]
pub struct FoldAnswers {
    n_folds: usize,
    /// Which fold's model each answer is of.
    folds: Vec<usize>,
    predictions: Vec<Prediction>,
    logits: Vec<ClipLogits>,
    /// The mean of the folds of which it is known, else 0.
    short_s: f32,
}

impl FoldAnswers {
    /// Those in the folder of a cross-validation with the recipe of the model that `meta` describes. Speakers whom the model had
    /// not `heard` are left out: they are the ones that it is tested on.
    ///
    /// Of an answer over several windows the mean counts, as if it were of one.
    ///
    /// # Errors
    /// A folder without finished folds, or with folds of another recipe; predictions that cannot be read; a model of which it is
    /// not known whom it heard, or that heard none of these speakers.
    pub fn read(run: &Path, meta: &ModelMeta, heard: &Heard) -> Result<FoldAnswers> {
        let heard = heard.speakers()?;
        let folds = finished(run)?;
        let n_folds = folds.len();
        let known: Vec<f32> = folds.iter().map(|fold| fold.result.short_s).filter(|&s| s > 0.0).collect();
        let short_s = known.iter().sum::<f32>() / known.len().max(1) as f32;
        let mut answers =
            FoldAnswers { n_folds, folds: vec![], predictions: vec![], logits: vec![], short_s };
        for (number, fold) in folds.into_iter().enumerate() {
            if !Config::same_recipe(&fold.config, &meta.provenance.config) {
                let what = format!(
                    "fold '{}' is of another recipe than the model: expected a configuration that differs in nothing but seed \
                     and protocol",
                    fold.result.fold
                );
                return Err(Error::Folds { path: run.to_path_buf(), what });
            }
            for answered in fold.answers.into_iter().filter(|clip| heard.contains_key(&clip.speaker)) {
                answers.folds.push(number);
                answers.logits.push(logits(&answered, &fold.result));
                answers.predictions.push(prediction(answered));
            }
        }
        if answers.predictions.is_empty() {
            let what = "expected answers to speakers of the model's training or validation part, found none"
                .to_owned();
            return Err(Error::Folds { path: run.to_path_buf(), what });
        }
        Ok(answers)
    }

    /// Folds that answers are of.
    pub fn n_folds(&self) -> usize {
        self.n_folds
    }

    /// The answers, calibrated so.
    pub fn at(&self, calibration: Calibration) -> Vec<Prediction> {
        at(calibration, &self.predictions, &self.logits)
    }

    /// The answers of each fold, calibrated by those of all other folds: what a fit is worth on speakers whom it has not seen. Where
    /// there are no others, by its own.
    pub fn cross_fitted(&self) -> Vec<Prediction> {
        let of = |here: &dyn Fn(usize) -> bool| {
            let here = |&i: &usize| here(self.folds[i]);
            let places = || (0..self.folds.len()).filter(here);
            let predictions: Vec<_> = places().map(|i| self.predictions[i].clone()).collect();
            (predictions, places().map(|i| self.logits[i].clone()).collect::<Vec<_>>())
        };
        let calibrated = |fold: usize| {
            let own = of(&|other| other == fold);
            let others = of(&|other| other != fold);
            let (answers, logits) = if others.0.is_empty() { &own } else { &others };
            at(fit(&truths(answers), logits), &own.0, &own.1)
        };
        (0..self.n_folds).into_par_iter().flat_map_iter(calibrated).collect()
    }
}

/// What a model's answer was divided by its temperature for: the logits, up to a constant. Those of a short sound are as much
/// smaller as its temperature was higher, which is how the model that they are for will treat it.
fn logits(answered: &Answered, fold: &FoldResult) -> ClipLogits {
    let smallest = f64::from(f32::MIN_POSITIVE);
    let logits = answered.probabilities.map(|p| (f64::from(fold.temperature) * p.max(smallest).ln()) as f32);
    ClipLogits::of(logits, f64::INFINITY)
}

fn truths(answers: &[Prediction]) -> Vec<Emotion> {
    answers.iter().map(|answer| answer.truth).collect()
}

fn prediction(answered: Answered) -> Prediction {
    Prediction {
        clip: answered.clip,
        corpus: answered.corpus,
        speaker: answered.speaker,
        sex: answered.sex.map_or("", Sex::name).to_owned(),
        sentence: answered.sentence,
        truth: answered.truth,
        probabilities: answered.probabilities.map(|p| p as f32),
    }
}

/// Fits calibration and threshold of a model anew by these answers, and takes down in its metadata that and with what result,
/// under `folds_...`. What was noted of validation and test clips with the confidences of before is dropped; accuracy and UAR
/// stay. Answers with how the folds' answers score, [each calibrated by the other folds](FoldAnswers::cross_fitted).
///
/// # Errors
/// None for answers that were read.
pub fn recalibrate(meta: &mut ModelMeta, answers: &FoldAnswers) -> Result<Scores> {
    let calibration = fit(&truths(&answers.predictions), &answers.logits);
    (meta.temperature, meta.gap_exponent) = (calibration.temperature, calibration.gap_exponent);
    if answers.short_s > 0.0 {
        meta.short_s = answers.short_s;
    }
    let calibrated = answers.at(calibration);
    let origin = &mut meta.provenance;
    meta.uncertain_below = fit_uncertain_below(&calibrated, origin.seed);
    forget_calibration(origin);
    let scores = score(&answers.cross_fitted(), origin.seed)?;
    origin.note("folds", &scores, coverage(&calibrated, meta.uncertain_below));
    let note = format!(
        "{NOTE}{} answers to {} speakers, of {} models of the same recipe that had not heard them",
        scores.n, scores.n_speakers, answers.n_folds
    );
    origin.notes = origin.notes.lines().chain([&*note]).collect::<Vec<_>>().join("\n");
    Ok(scores)
}
