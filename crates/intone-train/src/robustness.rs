//! Robustness: the same clips again, changed in ways that the world changes them, at stated levels.
//!
//! Each [`Perturbation`] is a pure function of the samples and a named generator: the same clip and seed give the same
//! samples. Noise is added at a ratio of mean powers over the whole clip. Codecs are those of `lame` and `opus-tools`,
//! where these programs are installed; a report names what was left out.

use std::collections::BTreeMap;

use intone::audio::{Audio, SampleRate};
use intone::{Emotion, Recognizer};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::corpus::Clip;
use crate::error::{Error, Result};
use crate::evaluate::{Prediction, answered, check_labels, score};
use crate::metrics::Figure;
use crate::random::{Purpose, stream};
use crate::report::SEED;

mod codec;
mod perturb;
mod spectrum;
mod stretch;

pub use perturb::{Kind, Perturbation};

/// The most clips that babble is mixed from.
const MAX_VOICES: usize = 48;

/// How a system does on changed clips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Robustness {
    /// Number of clips that were changed.
    pub n: usize,
    /// UAR on these clips as they are.
    pub clean: Figure,
    /// Each way of changing them.
    pub kinds: Vec<KindResult>,
    /// The mean over the kinds of the mean over their levels of the UAR.
    pub mean_uar: f64,
    /// Of what the UAR on clean clips is above chance (1 / 6), the share that is left in `mean_uar`.
    pub retained: f64,
    /// What was left out, and why.
    pub skipped: Vec<String>,
}

/// One way of changing clips, at several levels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KindResult {
    /// Its name.
    pub name: String,
    /// What its levels are measured in.
    pub unit: String,
    /// Level by level.
    pub levels: Vec<LevelResult>,
}

/// One way of changing clips at one level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelResult {
    /// The level.
    pub level: f64,
    /// Unweighted average recall.
    pub uar: Figure,
    /// Share of clips that are right.
    pub accuracy: Figure,
}

/// At most `most` clips, the same share of every emotion's, evenly spaced in the order of their names.
pub fn sample(clips: &[Clip], most: usize) -> Vec<Clip> {
    if clips.len() <= most {
        return clips.to_vec();
    }
    let mut by_emotion: BTreeMap<Emotion, Vec<&Clip>> = BTreeMap::new();
    clips.iter().for_each(|clip| by_emotion.entry(clip.emotion).or_default().push(clip));
    let share = most as f64 / clips.len() as f64;
    let mut taken: Vec<Clip> = Vec::new();
    for of_emotion in by_emotion.values() {
        let n = ((of_emotion.len() as f64 * share).round() as usize).clamp(1, of_emotion.len());
        taken.extend((0..n).map(|i| of_emotion[i * of_emotion.len() / n].clone()));
    }
    taken.sort_by(|a, b| a.id.cmp(&b.id));
    taken
}

/// Number of times that clips are recognised by [`measure`].
pub fn n_passes() -> usize {
    1 + Perturbation::all().len()
}

/// Recognises the clips as they are and under every perturbation. `progress` is told of each clip of each pass.
///
/// # Errors
/// A clip that cannot be read, or a model with other labels than the six.
pub fn measure(recognizer: &Recognizer, clips: &[Clip], progress: &(dyn Fn() + Sync)) -> Result<Robustness> {
    check_labels(recognizer)?;
    let open = |clip: &Clip| Audio::open(&clip.path);
    let step = (clips.len() / MAX_VOICES).max(1);
    let voices: Vec<(String, Audio)> = clips
        .iter()
        .step_by(step)
        .take(MAX_VOICES)
        .map(|clip| Ok((clip.speaker.clone(), open(clip)?)))
        .collect::<Result<_>>()?;
    let pass = |change: &(dyn Fn(&Clip, &Audio) -> Result<Audio> + Sync)| -> Result<crate::evaluate::Scores> {
        let one = |clip: &Clip| -> Result<Prediction> {
            let scores = recognizer.recognize(&change(clip, &open(clip)?)?);
            progress();
            Ok(answered(clip, &scores.map_err(|error| error.in_file(&clip.path))?))
        };
        score(&clips.par_iter().map(one).collect::<Result<Vec<_>>>()?, SEED)
    };
    let clean = pass(&|_, audio| Ok(audio.clone()))?.uar;
    let mut kinds: Vec<KindResult> = Vec::new();
    let mut skipped = Vec::new();
    for (number, perturbation) in (0..).zip(Perturbation::all()) {
        if let Some(why) = perturbation.kind.unavailable() {
            if !skipped.contains(&why) {
                skipped.push(why);
            }
            continue;
        }
        let scores = pass(&|clip, audio| {
            let name: u64 =
                clip.id.bytes().fold(7, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
            let mut rng = stream(SEED, Purpose::Perturb, number, name);
            let others: Vec<&Audio> = voices
                .iter()
                .filter(|(speaker, _)| *speaker != clip.speaker)
                .map(|(_, audio)| audio)
                .collect();
            let changed = perturbation.apply(audio.samples(), audio.sample_rate(), &others, &mut rng);
            changed.map_err(|error| match error {
                Error::Intone(error) => error.in_file(&clip.path).into(),
                other => other,
            })
        })?;
        let level = LevelResult { level: perturbation.level, uar: scores.uar, accuracy: scores.accuracy };
        let name = perturbation.kind.name();
        match kinds.iter_mut().find(|kind| kind.name == name) {
            Some(kind) => kind.levels.push(level),
            None => kinds.push(KindResult {
                name: name.to_owned(),
                unit: perturbation.kind.unit().to_owned(),
                levels: vec![level],
            }),
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let of_kind = |kind: &KindResult| mean(&kind.levels.iter().map(|l| l.uar.value).collect::<Vec<_>>());
    let mean_uar = mean(&kinds.iter().map(of_kind).collect::<Vec<_>>());
    let chance = 1.0 / Emotion::ALL.len() as f64;
    let retained = (mean_uar - chance) / (clean.value - chance).max(f64::EPSILON);
    Ok(Robustness { n: clips.len(), clean, kinds, mean_uar, retained, skipped })
}

/// The audio of changed samples. What no recording can hold does not come out of these functions.
fn audio(samples: Vec<f32>, rate: SampleRate) -> Result<Audio> {
    Ok(Audio::new(samples, rate)?)
}
