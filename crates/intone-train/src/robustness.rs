//! Robustness: the same clips again, changed in ways that the world changes them, at stated levels.
//!
//! Each [`Perturbation`] is a pure function of the samples and a named generator: the same clip and seed give the same
//! samples. Noise is added at a ratio of mean powers over the whole clip. Codecs are those of `lame` and `opus-tools`,
//! where these programs are installed, and babble needs other speakers; a report names what was left out.

use std::collections::{BTreeMap, BTreeSet};

use intone::audio::{Audio, SampleRate};
use intone::{Emotion, Recognizer};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::corpus::Clip;
use crate::error::{Error, Result};
use crate::evaluate::{Prediction, Scores, answered, check_labels, coverage, score, unheard};
use crate::metrics::Figure;
use crate::random::{Purpose, stream};
use crate::report::SEED;

mod codec;
mod perturb;
mod spectrum;

pub(crate) use perturb::TELEPHONE_HZ;
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
    /// Of what the UAR on clean clips is above chance (one by the number of classes that occur), the share that is left in
    /// `mean_uar`; none where it is not above chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retained: Option<f64>,
    /// What was left out, and why: `MP3: lame is not installed`.
    pub skipped: Vec<String>,
}

impl Robustness {
    /// What is left of a system's worth, as the end of a sentence.
    pub fn left(&self) -> String {
        match self.retained {
            Some(share) => format!("which leaves {:.0} % of what the system is above chance", 100.0 * share),
            None => "while the system is not above chance on the clean ones".to_owned(),
        }
    }
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

impl KindResult {
    /// The mean over the levels of the UAR.
    pub fn mean_uar(&self) -> f64 {
        mean(self.levels.iter().map(|level| level.uar.value))
    }
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
    /// Of the answers that are not uncertain; none where the system calls none so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certain: Option<Certain>,
}

/// What is left of a system's answers without the uncertain ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Certain {
    /// Their share of all answers.
    pub coverage: f64,
    /// Share of them that are right; 0 where there are none.
    pub accuracy: f64,
}

impl std::fmt::Display for Certain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} %", 100.0 * self.coverage)?;
        if self.coverage > 0.0 { write!(f, ", right {:.0} %", 100.0 * self.accuracy) } else { Ok(()) }
    }
}

/// At most `most` clips, about the same share of every emotion's, evenly spaced in the order of their names. No emotion
/// has two before each has one.
pub fn sample(clips: &[Clip], most: usize) -> Vec<Clip> {
    if clips.len() <= most {
        return clips.to_vec();
    }
    let mut by_emotion: BTreeMap<Emotion, (Vec<&Clip>, usize)> = BTreeMap::new();
    clips.iter().for_each(|clip| by_emotion.entry(clip.emotion).or_default().0.push(clip));
    for _ in 0..most {
        // Seats by equal proportions (Huntington and Hill), as the United States deals them to their states.
        let claim =
            |(of_emotion, n): &(Vec<&Clip>, usize)| of_emotion.len().pow(2) as f64 / (n * (n + 1)) as f64;
        if let Some((_, n)) = by_emotion.values_mut().reduce(|a, b| if claim(b) > claim(a) { b } else { a }) {
            *n += 1;
        }
    }
    let mut taken: Vec<Clip> = Vec::new();
    for (of_emotion, n) in by_emotion.values() {
        taken.extend((0..*n).map(|i| of_emotion[i * of_emotion.len() / n].clone()));
    }
    taken.sort_by(|a, b| a.id.cmp(&b.id));
    taken
}

/// Number of times that clips are recognised by [`measure`].
pub fn n_passes() -> usize {
    1 + Perturbation::all().len()
}

/// Recognises the clips as they are and under every perturbation. A clip that is taken for silence is a wrong answer. `progress`
/// is told of each clip of each pass.
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
    let n_voices = voices.iter().map(|(speaker, _)| speaker).collect::<BTreeSet<_>>().len();
    let threshold = recognizer.meta().uncertain_below;
    let pass =
        |change: &(dyn Fn(&Clip, &Audio) -> Result<Audio> + Sync)| -> Result<(Scores, Option<Certain>)> {
            let one = |clip: &Clip| -> Result<Prediction> {
                let scores = recognizer.recognize(&change(clip, &open(clip)?)?);
                progress();
                let scores = scores.map_err(|error| error.in_file(&clip.path))?;
                Ok(answered(clip, &scores).unwrap_or_else(|| unheard(clip)))
            };
            let predictions = clips.par_iter().map(one).collect::<Result<Vec<_>>>()?;
            let (coverage, accuracy) = coverage(&predictions, threshold);
            Ok((score(&predictions, SEED)?, (threshold > 0.0).then_some(Certain { coverage, accuracy })))
        };
    let (as_they_are, _) = pass(&|_, audio| Ok(audio.clone()))?;
    let mut kinds: Vec<KindResult> = Vec::new();
    let mut skipped = Vec::new();
    for (number, perturbation) in (0..).zip(Perturbation::all()) {
        if let Some(why) = left_out(perturbation.kind, n_voices) {
            if !skipped.contains(&why) {
                skipped.push(why);
            }
            continue;
        }
        let (scores, certain) = pass(&|clip, audio| {
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
        let (uar, accuracy) = (scores.uar, scores.accuracy);
        let level = LevelResult { level: perturbation.level, uar, accuracy, certain };
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
    let mean_uar = mean(kinds.iter().map(KindResult::mean_uar));
    let clean = as_they_are.uar;
    let n_classes = as_they_are.confusion.iter().filter(|row| row.iter().any(|&n| n > 0)).count();
    let retained = retained(clean.value, mean_uar, n_classes);
    Ok(Robustness { n: clips.len(), clean, kinds, mean_uar, retained, skipped })
}

/// Why clips cannot be changed in this way here: its name and the reason; `None` where they can. `n_voices` are the
/// speakers that babble can be made of.
fn left_out(kind: Kind, n_voices: usize) -> Option<String> {
    let why = match kind {
        Kind::Babble if n_voices < 2 => {
            Some("it takes the voices of other speakers, and there are none".to_owned())
        }
        _ => kind.unavailable(),
    };
    why.map(|why| format!("{}: {why}", kind.name()))
}

/// The share of what the clean UAR is above chance that is left.
fn retained(clean_uar: f64, mean_uar: f64, n_classes: usize) -> Option<f64> {
    let chance = 1.0 / n_classes.max(1) as f64;
    (clean_uar > chance).then(|| (mean_uar - chance) / (clean_uar - chance))
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    values.sum::<f64>() / n
}

/// The audio of changed samples. What no recording can hold does not come out of these functions.
fn audio(samples: Vec<f32>, rate: SampleRate) -> Result<Audio> {
    Ok(Audio::new(samples, rate)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(emotion: Emotion, number: usize) -> Clip {
        Clip::bare("c", "anna", &format!("{emotion}-{number:04}"), emotion)
    }

    #[test]
    fn a_sample_is_never_larger_than_was_asked_for() {
        let clips: Vec<Clip> = Emotion::ALL
            .into_iter()
            .zip([128, 128, 128, 128, 104, 1])
            .flat_map(|(emotion, n)| (0..n).map(move |number| clip(emotion, number)))
            .collect();
        for most in [1, 5, 6, 7, 12, 150, 300, 616, 617, 1000] {
            let taken = sample(&clips, most);
            assert_eq!(taken.len(), most.min(clips.len()), "{most}");
            let n_of = |emotion| taken.iter().filter(|clip| clip.emotion == emotion).count();
            let counts = Emotion::ALL.map(n_of);
            assert!(counts.iter().all(|&n| n >= usize::from(most >= 6)) && counts[5] <= 1, "{counts:?}");
            assert!(counts[0].abs_diff(counts[3]) <= 1, "{most}: {counts:?}");
            assert!(taken.windows(2).all(|two| two[0].id < two[1].id), "{most}");
        }
        assert_eq!(sample(&clips, 150).iter().filter(|clip| clip.emotion == Emotion::Neutral).count(), 25);
        assert!(sample(&clips, 0).is_empty());
    }

    #[test]
    fn what_is_left_is_measured_from_the_chance_of_the_classes_that_occur() {
        assert_eq!(retained(0.75, 0.5, 2), Some(0.0));
        assert_eq!(retained(0.75, 0.625, 2), Some(0.5));
        assert!((retained(0.79, 0.716, 6).unwrap() - 0.8813).abs() < 1e-3);
        for not_above in [0.5, 0.4] {
            assert_eq!(retained(not_above, 0.5, 2), None);
        }
    }

    #[test]
    fn babble_of_a_single_speaker_is_left_out() {
        let why = left_out(Kind::Babble, 1).unwrap();
        assert!(why.starts_with("babble: it takes the voices of other speakers"), "{why}");
        assert_eq!((left_out(Kind::Babble, 2), left_out(Kind::White, 1)), (None, None));
        let kinds = [(Kind::Mp3, "MP3: lame"), (Kind::Opus, "Opus: opus")];
        for (kind, expected) in kinds {
            assert!(left_out(kind, 2).is_none_or(|why| why.starts_with(expected)), "{kind:?}");
        }
    }
}
