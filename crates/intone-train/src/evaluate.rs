//! How good a model is on clips whose truth is known: probabilities for each clip, and figures computed from them alone.

use std::collections::BTreeMap;
use std::path::Path;

use intone::features::{Frames, FrontEnd};
use intone::model::{Calibration, Model};
use intone::recognizer::Seen;
use intone::{AudioStream, Emotion, Recognizer};
use rayon::prelude::*;
use serde::Serialize;

use crate::bootstrap::Bootstrap;
use crate::corpus::{Clip, Sex};
use crate::dataset::window_starts;
use crate::error::{Error, Result};
pub use crate::metrics::Figure;
use crate::metrics::Tally;
use crate::training_set::N_CLASSES;

/// Windows that go through the network together.
const BATCH: usize = 32;

/// What a model says about one clip whose truth is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The clip's identity.
    pub clip: String,
    /// Its corpus.
    pub corpus: String,
    /// Its speaker, with the corpus.
    pub speaker: String,
    /// The speaker's sex, empty where unknown.
    pub sex: String,
    /// The sentence, empty where unknown.
    pub sentence: String,
    /// The intended emotion.
    pub truth: Emotion,
    /// Probabilities in the order of [`Emotion::ALL`], sum 1.
    pub probabilities: [f32; N_CLASSES],
}

impl Prediction {
    /// The class with the highest probability; of equal ones the first.
    pub fn answer(&self) -> usize {
        crate::metrics::answer(&self.probabilities.map(f64::from))
    }

    /// The probability of that class.
    pub fn confidence(&self) -> f32 {
        self.probabilities[self.answer()]
    }
}

/// What a network says of one window of a clip.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowLogits {
    /// Its logits.
    pub logits: [f32; N_CLASSES],
    /// Seconds of sound in it.
    pub sound_s: f64,
    /// What it counts beside the clip's other windows, more than 0.
    pub weight: f64,
}

/// What a network says of one clip: its windows, one at least.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipLogits {
    /// The windows that have a say.
    pub windows: Vec<WindowLogits>,
}

impl ClipLogits {
    /// A clip of one window.
    pub(crate) fn of(logits: [f32; N_CLASSES], sound_s: f64) -> ClipLogits {
        ClipLogits { windows: vec![WindowLogits { logits, sound_s, weight: 1.0 }] }
    }
}

/// The logits of every window of every clip, from the clips' features.
///
/// A [`Recognizer`] gives a window as much weight as there is voice in it, and shows an encoder no silent ends of one of several
/// windows. Frames tell neither: here a clip of several windows is answered by all of them, whole and alike. Of 5,949 clips of
/// CREMA-D and RAVDESS one has several in an encoder with windows of 5 s.
///
/// # Errors
/// Features that do not fit the model.
pub fn logits(model: &Model, front_end: &FrontEnd, frames: &[Frames]) -> Result<Vec<ClipLogits>> {
    let windows = |frames: &Frames| -> Vec<Seen> {
        let n = frames.range().end;
        let window = |start| Seen { frames: start..start + front_end.window_frames(n), weight: 1.0 };
        window_starts(n, front_end).into_iter().map(window).collect()
    };
    let windows: Vec<Vec<Seen>> = frames.iter().map(windows).collect();
    logits_of(model, front_end, frames.iter().zip(windows.iter().map(Vec::as_slice)))
}

/// The logits of these windows of every clip.
pub(crate) fn logits_of<'a>(
    model: &Model,
    front_end: &FrontEnd,
    clips: impl Iterator<Item = (&'a Frames, &'a [Seen])> + Clone,
) -> Result<Vec<ClipLogits>> {
    let mut places: Vec<(usize, &Frames, &Seen)> = clips
        .clone()
        .enumerate()
        .flat_map(|(clip, (frames, windows))| windows.iter().map(move |seen| (clip, frames, seen)))
        .collect();
    // Windows of one length go through the network together.
    places.sort_by_key(|(_, _, seen)| seen.frames.len());
    let mut logits: Vec<ClipLogits> = clips.map(|_| ClipLogits { windows: Vec::new() }).collect();
    for same in places.chunk_by(|a, b| a.2.frames.len() == b.2.frames.len()) {
        for batch in same.chunks(BATCH) {
            let n_frames = batch[0].2.frames.len();
            let len = n_frames * front_end.n_mels;
            let mut windows = vec![0.0; batch.len() * len];
            for (window, (_, frames, seen)) in windows.chunks_exact_mut(len).zip(batch) {
                frames.window(front_end, seen.frames.start, window)?;
            }
            let answers = model.logits(&windows, batch.len())?;
            for ((clip, _, seen), &logits_of_one) in batch.iter().zip(answers.as_chunks().0) {
                let (sound_s, weight) = (front_end.frames_s(n_frames), seen.weight);
                logits[*clip].windows.push(WindowLogits { logits: logits_of_one, sound_s, weight });
            }
        }
    }
    Ok(logits)
}

/// Answers from the logits of the clips' windows, as [`intone::Recognizer`] gives them: the weighted mean of the windows'
/// probabilities, calibrated so.
pub fn predictions(clips: &[Clip], logits: &[ClipLogits], calibration: Calibration) -> Vec<Prediction> {
    clips.iter().zip(logits).map(|(clip, logits)| prediction(clip, pooled(logits, calibration))).collect()
}

/// The weighted mean of the windows' probabilities; zeros where none has a say.
pub(crate) fn pooled(logits: &ClipLogits, calibration: Calibration) -> [f32; N_CLASSES] {
    let (mut sum, mut total) = ([0.0f64; N_CLASSES], 0.0);
    for WindowLogits { logits, sound_s, weight } in &logits.windows {
        let probabilities = calibration.probabilities(logits, *sound_s);
        sum.iter_mut().zip(probabilities).for_each(|(sum, p)| *sum += weight * p);
        total += weight;
    }
    sum.map(|sum| if total > 0.0 { (sum / total) as f32 } else { 0.0 })
}

/// A recogniser's answers for these clips, from the audio files, as a user gets them: one for each clip, none where it is
/// silence to the recogniser, or what is wrong with it. `progress` is told of each clip, from any thread.
///
/// # Errors
/// A model with other labels than [`Emotion::ALL`].
pub fn recognize(
    recognizer: &Recognizer,
    clips: &[Clip],
    progress: &(dyn Fn() + Sync),
) -> Result<Vec<Result<Option<Prediction>>>> {
    check_labels(recognizer)?;
    let one = |clip: &Clip| -> Result<Option<Prediction>> {
        let scores =
            AudioStream::open(&clip.path).and_then(|mut audio| recognizer.recognize_stream(&mut audio));
        progress();
        Ok(answered(clip, &scores.map_err(|error| error.in_file(&clip.path))?))
    };
    Ok(clips.par_iter().map(one).collect())
}

/// Whether a model's labels are those that evaluations know.
pub(crate) fn check_labels(recognizer: &Recognizer) -> Result<()> {
    let expected = Emotion::ALL.map(Emotion::name);
    if recognizer.labels() == expected {
        return Ok(());
    }
    let (expected, actual) = (expected.join(", "), recognizer.labels().join(", "));
    Err(Error::Config { key: "the model's labels".into(), expected, actual })
}

/// The answer for a clip; none for silence. The labels must be those of [`Emotion::ALL`].
pub(crate) fn answered(clip: &Clip, scores: &intone::Scores) -> Option<Prediction> {
    let mut probabilities = [0.0; N_CLASSES];
    probabilities.iter_mut().zip(scores.probabilities()).for_each(|(slot, p)| *slot = *p);
    (!scores.silence).then(|| prediction(clip, probabilities))
}

/// What stands for an answer where a clip with speech in it was taken for silence: wrong, and as unsure as a wrong one can be.
pub(crate) fn unheard(clip: &Clip) -> Prediction {
    let mut probabilities = [1.0 / (N_CLASSES - 1) as f32; N_CLASSES];
    probabilities[clip.emotion.index()] = 0.0;
    prediction(clip, probabilities)
}

fn prediction(clip: &Clip, probabilities: [f32; N_CLASSES]) -> Prediction {
    Prediction {
        clip: clip.id.clone(),
        corpus: clip.corpus.clone(),
        speaker: clip.speaker.clone(),
        sex: clip.sex.map_or("", Sex::name).to_owned(),
        sentence: clip.sentence.clone().unwrap_or_default(),
        truth: clip.emotion,
        probabilities,
    }
}

/// Writes `clip,corpus,speaker,sex,sentence,truth,angry,disgust,fear,happy,neutral,sad`.
///
/// # Errors
/// What the operating system says.
pub fn write_predictions(predictions: &[Prediction], path: &Path) -> Result<()> {
    let mut writer = csv::Writer::from_path(path).map_err(|e| table_error(path, &e))?;
    let mut header = vec!["clip", "corpus", "speaker", "sex", "sentence", "truth"];
    header.extend(Emotion::ALL.map(Emotion::name));
    writer.write_record(&header).map_err(|e| table_error(path, &e))?;
    for p in predictions {
        let mut row =
            vec![p.clip.clone(), p.corpus.clone(), p.speaker.clone(), p.sex.clone(), p.sentence.clone()];
        row.push(p.truth.name().to_owned());
        row.extend(p.probabilities.iter().map(f32::to_string));
        writer.write_record(&row).map_err(|e| table_error(path, &e))?;
    }
    writer.flush().map_err(Error::io(path))
}

fn table_error(path: &Path, error: &csv::Error) -> Error {
    Error::Table { path: path.to_path_buf(), line: None, what: error.to_string() }
}

/// The figures of a set of predictions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// Number of clips.
    pub n: usize,
    /// Number of speakers.
    pub n_speakers: usize,
    /// Share of clips that are right.
    pub accuracy: Figure,
    /// Unweighted average recall: the mean over classes of the share that is right.
    pub uar: Figure,
    /// Expected calibration error (Naeini et al. 2015): the mean distance of confidence and accuracy, over 15 bins of equal
    /// width.
    pub ece: f64,
    /// Clips by truth (row) and answer (column), in the order of [`Emotion::ALL`].
    pub confusion: Box<[[usize; N_CLASSES]; N_CLASSES]>,
}

/// Accuracy and UAR with intervals from a bootstrap over speakers: clips of one voice are not independent, so voices are
/// resampled and not clips.
///
/// # Errors
/// [`Error::Empty`] for no predictions.
pub fn score(predictions: &[Prediction], seed: u64) -> Result<Scores> {
    let mut by_speaker: BTreeMap<&str, Tally> = BTreeMap::new();
    for p in predictions {
        by_speaker.entry(&p.speaker).or_default().add(p.truth.index(), &p.probabilities.map(f64::from));
    }
    let speakers: Vec<Tally> = by_speaker.into_values().collect();
    let whole = Tally::sum(&speakers);
    let (Some(accuracy), Some(uar), Some(ece)) = (whole.accuracy(), whole.uar(), whole.ece()) else {
        return Err(Error::Empty("there are no predictions to score".to_owned()));
    };
    let bootstrap = Bootstrap::new(speakers.len(), seed);
    let resampled = bootstrap.tallies(speakers.iter().enumerate());
    Ok(Scores {
        n: predictions.len(),
        n_speakers: speakers.len(),
        accuracy: bootstrap.figure(accuracy, resampled.iter().map(Tally::accuracy)),
        uar: bootstrap.figure(uar, resampled.iter().filter(|t| t.has_classes_of(&whole)).map(Tally::uar)),
        ece,
        confusion: Box::new(whole.confusion.map(|row| row.map(|n| n as usize))),
    })
}

/// Of clips whose answers are at least this confident: the share of all clips, and of them those that are right.
pub fn coverage(predictions: &[Prediction], uncertain_below: f32) -> (f64, f64) {
    let kept: Vec<&Prediction> = predictions.iter().filter(|p| p.confidence() >= uncertain_below).collect();
    let right = kept.iter().filter(|p| p.answer() == p.truth.index()).count();
    (kept.len() as f64 / predictions.len().max(1) as f64, right as f64 / kept.len().max(1) as f64)
}

/// Mean cross-entropy of the pooled probabilities, nats.
pub fn cross_entropy(predictions: &[Prediction]) -> f64 {
    mean_cross_entropy(predictions.iter().map(|p| (p.truth, p.probabilities)))
}

/// The same of truths and probabilities.
pub(crate) fn mean_cross_entropy(answers: impl ExactSizeIterator<Item = (Emotion, [f32; N_CLASSES])>) -> f64 {
    let n = answers.len().max(1) as f64;
    let of =
        |(truth, p): (Emotion, [f32; N_CLASSES])| -f64::from(p[truth.index()].max(f32::MIN_POSITIVE)).ln();
    answers.map(of).sum::<f64>() / n
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(speaker: usize, truth: Emotion, answer: Emotion) -> Prediction {
        let mut probabilities = [0.1; N_CLASSES];
        probabilities[answer.index()] = 0.5;
        Prediction {
            clip: format!("c/{speaker}"),
            corpus: "c".to_owned(),
            speaker: format!("c/{speaker}"),
            sex: String::new(),
            sentence: String::new(),
            truth,
            probabilities,
        }
    }

    #[test]
    fn uar_weighs_classes_and_accuracy_weighs_clips() {
        let mut predictions: Vec<Prediction> =
            (0..9).map(|i| prediction(i, Emotion::Angry, Emotion::Angry)).collect();
        predictions.push(prediction(9, Emotion::Sad, Emotion::Fear));
        let scores = score(&predictions, 1).unwrap();
        assert_eq!((scores.n, scores.n_speakers), (10, 10));
        assert!((scores.accuracy.value - 0.9).abs() < 1e-12);
        assert!((scores.uar.value - 0.5).abs() < 1e-12);
        assert_eq!(scores.confusion[Emotion::Sad.index()][Emotion::Fear.index()], 1);
        assert!((cross_entropy(&predictions) - (9.0 * 2.0f64.ln() + 10.0f64.ln()) / 10.0).abs() < 1e-6);
        assert!(score(&[], 1).is_err());
    }

    #[test]
    fn what_is_not_heard_is_no_right_answer() {
        for emotion in Emotion::ALL {
            let answer = unheard(&Clip::bare("c", "anna", "1", emotion));
            assert_ne!(answer.answer(), emotion.index());
            assert!((answer.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!(answer.confidence() < 0.21);
        }
    }

    #[test]
    fn calibration_and_coverage_are_those_of_the_definition() {
        let mut predictions = Vec::new();
        // Nine of ten right with 0.7, one of two right with 0.4.
        for (n, n_right, confidence) in [(10, 9, 0.7), (2, 1, 0.4)] {
            for i in 0..n {
                let truth = if i < n_right { Emotion::Angry } else { Emotion::Sad };
                let mut p = prediction(i, truth, Emotion::Angry);
                p.probabilities = [(1.0 - confidence) / 5.0; N_CLASSES];
                p.probabilities[0] = confidence;
                predictions.push(p);
            }
        }
        let ece = score(&predictions, 1).unwrap().ece;
        assert!((ece - (10.0 * 0.2 + 2.0 * 0.1) / 12.0).abs() < 1e-6, "{ece}");
        let (share, right) = coverage(&predictions, 0.5);
        assert!((share - 10.0 / 12.0).abs() < 1e-12 && (right - 0.9).abs() < 1e-12);
        assert_eq!(coverage(&predictions, 1.0), (0.0, 0.0));
    }
}
