//! What is learned from: clips with their targets, and the batches that steps are made of.

use std::collections::HashMap;

use intone::Emotion;
use intone::audio::SampleRate;
use intone::features::{Extractor, Frames, FrontEnd};
use rand::RngExt;
use rayon::prelude::*;

use crate::augment::{augment_audio, augment_window, filter_frames, mix_windows, mixup_share};
use crate::config::Config;
use crate::corpus::Clip;
use crate::dataset::Recording;
use crate::error::{Error, Result};
use crate::predictions::{Answered, answer_to, read_predictions};
use crate::random::{Purpose, permutation, stream};
use crate::split::{Part, Split};

/// Number of classes.
pub const N_CLASSES: usize = Emotion::ALL.len();

/// Inputs to learn from. The only kind of set that can be augmented.
#[derive(Debug)]
pub struct TrainingSet {
    sounds: Sounds,
    /// Probabilities of the classes, one target a clip.
    targets: Vec<[f32; N_CLASSES]>,
    /// The clips of each corpus.
    by_corpus: Vec<Vec<usize>>,
    extractor: Extractor,
    config: Config,
}

/// What is known of the clips.
#[derive(Debug)]
pub enum Sounds {
    /// Features, where the audio itself is not augmented.
    Frames(Vec<Frames>),
    /// Samples, and what the front end trims them to.
    Audio(Vec<Recording>),
}

/// What a step learns from.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Windows `[n_mels, n_frames]`, each with as many frames as the front end gives it.
    pub windows: Vec<Vec<f32>>,
    /// Probabilities of the classes, one target a window.
    pub targets: Vec<[f32; N_CLASSES]>,
}

/// What another system says of clips, by their identity: probabilities of the classes, sum 1.
pub type SoftTargets = HashMap<String, [f32; N_CLASSES]>;

/// Reads the [`soft_targets`](crate::config::TrainingConfig::soft_targets) of a configuration; none where it names none.
///
/// # Errors
/// What [`read_predictions`] refuses; a file that answers no training clip, or clips of another side: whatever made it has
/// been taught by the truth of these, and would pass it on.
pub fn read_soft_targets(config: &Config, split: &Split) -> Result<SoftTargets> {
    let Some(path) = &config.training.soft_targets else { return Ok(SoftTargets::new()) };
    let answers = read_predictions(path)?;
    let refuse = |what: String| Err(Error::Table { path: path.clone(), line: None, what });
    let sides: HashMap<&str, Part> = split.iter().map(|(part, clip)| (clip.id.as_str(), part)).collect();
    let side = |answered: &Answered| sides.get(answered.clip.as_str()).copied();
    if let Some(answered) = answers.iter().find(|a| side(a).is_some_and(|part| part != Part::Train)) {
        return refuse(format!(
            "expected predictions for training clips, got one for {}, which split '{}' keeps for another side",
            answered.clip,
            split.protocol()
        ));
    }
    let of = |clip: &Clip| {
        let answered = answer_to(&answers, &clip.id)?;
        Some((clip.id.clone(), answered.probabilities.map(|p| p as f32)))
    };
    let soft: SoftTargets = split.train().iter().filter_map(of).collect();
    if soft.is_empty() {
        return refuse(format!("expected predictions for training clips, got {} for others", answers.len()));
    }
    let n_train = split.train().len();
    if soft.len() < n_train {
        log::warn!("{}: predictions for {} of {n_train} training clips", path.display(), soft.len());
    }
    Ok(soft)
}

/// A clip that an epoch takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// Which one.
    pub clip: usize,
    /// How many times the same epoch takes it besides, counted as earlier ones: no two draws of a clip are augmented alike.
    pub round: usize,
}

impl Draw {
    /// What tells the draw from all others of its epoch.
    fn key(self) -> u64 {
        (self.round as u64) << 32 | self.clip as u64
    }
}

impl TrainingSet {
    /// The clips, what is known of each, and what another system says of some.
    ///
    /// # Errors
    /// A front end out of range.
    ///
    /// # Panics
    /// Where there are not as many clips as sounds.
    pub fn new(clips: &[Clip], sounds: Sounds, soft: &SoftTargets, config: &Config) -> Result<TrainingSet> {
        let n = match &sounds {
            Sounds::Frames(frames) => frames.len(),
            Sounds::Audio(audio) => audio.len(),
        };
        assert_eq!(n, clips.len(), "one sound a clip");
        let mut corpora: Vec<&str> = clips.iter().map(|clip| clip.corpus.as_str()).collect();
        corpora.sort_unstable();
        corpora.dedup();
        let of = |name: &&str| (0..n).filter(|&clip| clips[clip].corpus == *name).collect();
        Ok(TrainingSet {
            sounds,
            targets: clips.iter().map(|clip| target(clip, soft.get(&clip.id), config)).collect(),
            by_corpus: corpora.iter().map(of).collect(),
            extractor: Extractor::new(&config.front_end)?,
            config: config.clone(),
        })
    }

    /// Number of clips, and of those that an epoch takes.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are no clips.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The clips of an epoch, in random order: as many as there are, from each corpus as
    /// [`corpus_balance`](crate::config::TrainingConfig::corpus_balance) says.
    pub fn order(&self, epoch: usize) -> Vec<Draw> {
        let (seed, epoch) = (self.config.seed, epoch as u64);
        let weight =
            |clips: &Vec<usize>| (clips.len() as f64).powf(1.0 - self.config.training.corpus_balance);
        let total: f64 = self.by_corpus.iter().map(weight).sum();
        let mut drawn = Vec::with_capacity(self.len());
        let mut share = 0.0;
        for (corpus, clips) in self.by_corpus.iter().enumerate() {
            share += weight(clips) / total;
            let end = (share * self.len() as f64).round() as usize;
            // Every clip once, then every clip once more, as long as there is room.
            for round in 0.. {
                let n = end.saturating_sub(drawn.len()).min(clips.len());
                if n == 0 {
                    break;
                }
                let place = (corpus as u64 + 1) << 32 | round;
                let order = permutation(clips.len(), &mut stream(seed, Purpose::Order, epoch, place));
                drawn.extend(order[..n].iter().map(|&i| Draw { clip: clips[i], round: round as usize }));
            }
        }
        let order = permutation(drawn.len(), &mut stream(seed, Purpose::Order, epoch, 0));
        order.into_iter().map(|i| drawn[i]).collect()
    }

    /// The augmented windows of these clips. Clips that are longer than a window are cut at random. The same draws of the
    /// same epoch give the same batch.
    ///
    /// # Errors
    /// None for sounds that fit the front end.
    pub fn batch(&self, epoch: usize, draws: &[Draw]) -> Result<Batch> {
        let windows = draws.par_iter().map(|&draw| {
            let clip = draw.clip;
            let mut rng = stream(self.config.seed, Purpose::Augment, epoch as u64, draw.key());
            match &self.sounds {
                Sounds::Frames(frames) => self.augmented(&frames[clip], &mut rng),
                Sounds::Audio(audio) => {
                    let rate = SampleRate(self.config.front_end.sample_rate_hz);
                    let samples = augment_audio(&audio[clip], rate, audio, &self.config.augment, &mut rng)?;
                    self.augmented(&self.extractor.frames(&samples), &mut rng)
                }
            }
        });
        let windows = windows.collect::<Result<Vec<_>>>()?;
        let batch = Batch { windows, targets: draws.iter().map(|draw| self.targets[draw.clip]).collect() };
        Ok(if self.config.augment.mixup_alpha > 0.0 { self.mixed(batch, epoch, draws) } else { batch })
    }

    /// The same clips as they are, without augmentation.
    ///
    /// # Errors
    /// As [`TrainingSet::batch`].
    pub fn plain(&self, epoch: usize, clips: &[usize]) -> Result<Vec<Vec<f32>>> {
        let window = |&clip: &usize| {
            let mut rng = stream(self.config.seed, Purpose::Window, epoch as u64, clip as u64);
            match &self.sounds {
                Sounds::Frames(frames) => self.cut(&frames[clip], &mut rng),
                Sounds::Audio(audio) => self.cut(&self.extractor.frames(audio[clip].trimmed()), &mut rng),
            }
        };
        clips.par_iter().map(window).collect()
    }

    /// The target of a clip, sum 1.
    pub fn target(&self, clip: usize) -> [f32; N_CLASSES] {
        self.targets[clip]
    }

    /// An augmented window from anywhere in these frames.
    fn augmented(&self, frames: &Frames, rng: &mut impl rand::Rng) -> Result<Vec<f32>> {
        let Config { augment, front_end, .. } = &self.config;
        let frames = filter_frames(frames, front_end, augment, rng)?;
        let mut window = self.cut(&frames, rng)?;
        augment_window(&mut window, front_end, augment, rng);
        Ok(window)
    }

    /// A window from anywhere in these frames.
    fn cut(&self, frames: &Frames, rng: &mut impl rand::Rng) -> Result<Vec<f32>> {
        let front_end = &self.config.front_end;
        let (n, n_window) = window_of(frames, front_end);
        let mut window = vec![0.0; n_window * front_end.n_mels];
        frames.window(front_end, rng.random_range(0..=n - n_window), &mut window)?;
        Ok(window)
    }

    /// Each window and target mixed with the next one of the batch, the last with the first.
    fn mixed(&self, batch: Batch, epoch: usize, draws: &[Draw]) -> Batch {
        let Config { seed, augment, front_end, .. } = &self.config;
        let mut mixed = batch.clone();
        for (i, draw) in draws.iter().enumerate() {
            let next = (i + 1) % draws.len();
            let mut rng = stream(*seed, Purpose::Mixup, epoch as u64, draw.key());
            let share = mixup_share(augment.mixup_alpha, &mut rng);
            mix_windows(&mut mixed.windows[i], &batch.windows[next], front_end.n_mels, share);
            let targets = mixed.targets[i].iter_mut().zip(batch.targets[next]);
            targets.for_each(|(target, other)| *target = share * *target + (1.0 - share) * other);
        }
        mixed
    }
}

/// Frames of a clip, and of a window of it.
fn window_of(frames: &Frames, front_end: &FrontEnd) -> (usize, usize) {
    let n = frames.range().end;
    (n, front_end.window_frames(n))
}

/// What is to be learned of a clip: the intended emotion, in part replaced by what the crowd heard, then by what another
/// system says, and smoothed.
fn target(clip: &Clip, soft: Option<&[f32; N_CLASSES]>, config: &Config) -> [f32; N_CLASSES] {
    let mut target = [0.0; N_CLASSES];
    target[clip.emotion.index()] = 1.0;
    let blend = |target: &mut [f32; N_CLASSES], share: f64, with: [f32; N_CLASSES]| {
        let share = share as f32;
        target.iter_mut().zip(with).for_each(|(t, w)| *t += share * (w - *t));
    };
    if let Some(heard) = clip.votes.and_then(crate::corpus::Votes::soft_label) {
        blend(&mut target, config.training.vote_share, heard);
    }
    if let Some(soft) = soft {
        blend(&mut target, config.training.soft_share, *soft);
    }
    blend(&mut target, config.training.label_smoothing, [1.0 / N_CLASSES as f32; N_CLASSES]);
    target
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::AugmentConfig;
    use crate::corpus::Votes;

    fn clip(corpus: &str, emotion: Emotion, votes: Option<Votes>) -> Clip {
        Clip { votes, ..Clip::bare(corpus, "s", "x", emotion) }
    }

    fn config(augment: AugmentConfig) -> Config {
        let front_end = FrontEnd { n_mels: 4, n_frames: 10, trim_top_db: None, ..FrontEnd::reference() };
        Config { front_end, augment, seed: 3, ..Config::default() }
    }

    fn set(augment: AugmentConfig) -> TrainingSet {
        let frames = (0..3)
            .map(|i| Frames::from_values(4, (0..4 * (12 + i)).map(|v| -(v as f32)).collect()).unwrap())
            .collect();
        let clips = [Emotion::Fear, Emotion::Angry, Emotion::Disgust].map(|e| clip("a", e, None));
        TrainingSet::new(&clips, Sounds::Frames(frames), &SoftTargets::new(), &config(augment)).unwrap()
    }

    /// Clips that are drawn once.
    fn once<const N: usize>(clips: [usize; N]) -> [Draw; N] {
        clips.map(|clip| Draw { clip, round: 0 })
    }

    #[test]
    fn a_batch_depends_on_epoch_and_draws_alone() {
        let set =
            set(AugmentConfig { time_masks: 1, time_mask_frames: 3, noise_std: 0.1, ..AugmentConfig::off() });
        let whole = set.batch(4, &once([0, 1, 2])).unwrap();
        let turned = set.batch(4, &once([2, 0])).unwrap();
        assert_eq!(whole.targets[0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(turned.targets, [whole.targets[2], whole.targets[0]]);
        assert_eq!(turned.windows, [whole.windows[2].clone(), whole.windows[0].clone()]);
        assert_ne!(set.batch(5, &once([0])).unwrap().windows[0], whole.windows[0]);
        // What is drawn twice is augmented twice.
        let again = set.batch(4, &[Draw { clip: 0, round: 1 }]).unwrap();
        assert_ne!(again.windows[0], whole.windows[0]);
        assert_eq!(again.targets[0], whole.targets[0]);
        assert_ne!(set.plain(4, &[0]).unwrap()[0], whole.windows[0]);
    }

    #[test]
    fn mixing_blends_neighbours_and_their_targets() {
        let (plain, mixed) = (
            set(AugmentConfig::off()).batch(1, &once([0, 1, 2])).unwrap(),
            set(AugmentConfig { mixup_alpha: 1.0, ..AugmentConfig::off() })
                .batch(1, &once([0, 1, 2]))
                .unwrap(),
        );
        for i in 0..3 {
            let (own, next) = (plain.targets[i], plain.targets[(i + 1) % 3]);
            let share: f32 = mixed.targets[i].iter().zip(own).map(|(m, own)| m * own).sum();
            assert!((0.5..1.0).contains(&share));
            for class in 0..N_CLASSES {
                assert!(
                    (mixed.targets[i][class] - share * own[class] - (1.0 - share) * next[class]).abs() < 1e-6
                );
            }
            let expected =
                |j: usize| share * plain.windows[i][j] + (1.0 - share) * plain.windows[(i + 1) % 3][j];
            assert!((0..40).all(|j| (mixed.windows[i][j] - expected(j)).abs() < 1e-6));
        }
    }

    #[test]
    fn targets_take_in_the_crowd_and_are_smoothed() {
        let mut config = config(AugmentConfig::off());
        config.training.vote_share = 0.5;
        config.training.label_smoothing = 0.12;
        let heard = clip("a", Emotion::Angry, Some(Votes([1, 3, 0, 0, 0, 0])));
        let expected = [0.625 * 0.88 + 0.02, 0.375 * 0.88 + 0.02, 0.02, 0.02, 0.02, 0.02];
        let close = |a: [f32; 6], b: [f32; 6]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(target(&heard, None, &config), expected), "{:?}", target(&heard, None, &config));
        let unheard = clip("a", Emotion::Angry, None);
        assert!(close(target(&unheard, None, &config), [0.9, 0.02, 0.02, 0.02, 0.02, 0.02]));
        config.training.soft_share = 0.25;
        let soft = [0.2, 0.0, 0.0, 0.0, 0.0, 0.8];
        let expected = [0.8 * 0.88 + 0.02, 0.02, 0.02, 0.02, 0.02, 0.2 * 0.88 + 0.02];
        assert!(close(target(&unheard, Some(&soft), &config), expected));
    }

    #[test]
    fn soft_targets_are_of_training_clips_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("predictions.csv");
        let clip = |name: &str, speaker: &str| Clip {
            id: format!("a/{name}"),
            speaker: format!("a/{speaker}"),
            sha256: [name.len() as u8; 32],
            ..clip("a", Emotion::Sad, None)
        };
        let side = |clip: &Clip| match clip.speaker.as_str() {
            "a/anna" => Some(Part::Train),
            "a/bert" => Some(Part::Test),
            _ => None,
        };
        let clips = [clip("x", "anna"), clip("yy", "anna"), clip("zzz", "bert"), clip("wwww", "carl")];
        let split = Split::new("mine", clips, side).unwrap();
        let mut config = config(AugmentConfig::off());
        assert!(read_soft_targets(&config, &split).unwrap().is_empty());
        config.training.soft_targets = Some(path.clone());
        let read = |rows: &[(&str, &str)]| {
            let mut text =
                "clip,corpus,speaker,sex,sentence,truth,angry,disgust,fear,happy,neutral,sad\n".to_owned();
            for (clip, speaker) in rows {
                text += &format!("a/{clip},a,a/{speaker},,,sad,0.5,0,0,0,0,0.5\n");
            }
            std::fs::write(&path, text).unwrap();
            read_soft_targets(&config, &split).map_err(|error| error.to_string())
        };
        let soft = read(&[("x", "anna"), ("wwww", "carl")]).unwrap();
        assert_eq!(soft, SoftTargets::from([("a/x".to_owned(), [0.5, 0.0, 0.0, 0.0, 0.0, 0.5])]));
        let error = read(&[("x", "anna"), ("zzz", "bert")]).unwrap_err();
        assert!(error.contains("predictions.csv") && error.contains("a/zzz"), "{error}");
        let error = read(&[("wwww", "carl")]).unwrap_err();
        assert!(error.contains("got 1 for others"), "{error}");
    }

    #[test]
    fn corpora_are_drawn_in_balance() {
        let clips: Vec<Clip> =
            (0..90).map(|i| clip(if i < 10 { "small" } else { "large" }, Emotion::Sad, None)).collect();
        let drawn = |balance: f64| {
            let mut config = config(AugmentConfig::off());
            config.training.corpus_balance = balance;
            let sounds = Sounds::Audio(vec![Recording::whole(vec![0.0]); 90]);
            let set = TrainingSet::new(&clips, sounds, &SoftTargets::new(), &config).unwrap();
            let order = set.order(1);
            assert_ne!(order, set.order(2));
            assert_eq!(order.len(), 90);
            let mut times = vec![0; 90];
            order.iter().for_each(|draw| times[draw.clip] += 1);
            // Rounds count the draws of each clip.
            for (clip, &n) in times.iter().enumerate() {
                let mut rounds: Vec<_> = order.iter().filter(|d| d.clip == clip).map(|d| d.round).collect();
                rounds.sort_unstable();
                assert!(rounds.into_iter().eq(0..n));
            }
            times
        };
        assert_eq!(drawn(0.0), vec![1; 90]);
        let times = drawn(1.0);
        assert!(times[..10].iter().all(|n| [4, 5].contains(n)), "{times:?}");
        assert_eq!(times[..10].iter().sum::<usize>(), 45);
        assert!(times[10..].iter().all(|n| [0, 1].contains(n)));
        // As sqrt(10) to sqrt(80).
        assert_eq!(drawn(0.5)[..10].iter().sum::<usize>(), 24);
    }

    #[test]
    fn ends_are_heard_in_batches_alone() {
        let mut config =
            config(AugmentConfig { ends_share: 1.0, ends_s: [0.25, 0.25], ..AugmentConfig::off() });
        config.front_end = FrontEnd { n_frames: 300, ..FrontEnd::whisper() };
        let audio: Vec<f32> = (0..24_000).map(|i| 0.1 * (i as f32 * 0.2).sin()).collect();
        let sounds = Sounds::Audio(vec![Recording::new(audio.clone(), 8_000..16_000, 4_000)]);
        let clips = [clip("a", Emotion::Sad, None)];
        let set = TrainingSet::new(&clips, sounds, &SoftTargets::new(), &config).unwrap();
        let window =
            |samples: &[f32]| set.cut(&set.extractor.frames(samples), &mut stream(1, Purpose::Window, 0, 0));
        assert_eq!(set.batch(1, &once([0])).unwrap().windows[0], window(&audio[4_000..20_000]).unwrap());
        assert_eq!(set.plain(1, &[0]).unwrap()[0], window(&audio[8_000..16_000]).unwrap());
    }

    #[test]
    fn features_are_filtered_too() {
        let plain = set(AugmentConfig::off()).batch(1, &once([0])).unwrap();
        let filtered = set(AugmentConfig { filter_share: 1.0, ..AugmentConfig::off() });
        assert!(!filtered.config.augment.changes_audio());
        assert_eq!(filtered.plain(1, &[0]).unwrap(), set(AugmentConfig::off()).plain(1, &[0]).unwrap());
        let filtered = filtered.batch(1, &once([0])).unwrap();
        assert_eq!(filtered.targets, plain.targets);
        assert_ne!(filtered.windows, plain.windows);
        assert!(filtered.windows[0].iter().all(|x| (0.0..=1.0).contains(x)));
    }

    #[test]
    fn audio_is_augmented_before_the_front_end() {
        let mut config = config(AugmentConfig { gain_db: 6.0, speed: 0.1, ..AugmentConfig::off() });
        config.front_end = FrontEnd { n_frames: 30, ..FrontEnd::whisper() };
        let audio: Vec<f32> = (0..16_000).map(|i| 0.1 * (i as f32 * 0.2).sin()).collect();
        let clips = [clip("a", Emotion::Sad, None)];
        let sounds = Sounds::Audio(vec![Recording::whole(audio)]);
        let set = TrainingSet::new(&clips, sounds, &SoftTargets::new(), &config).unwrap();
        let (plain, batch) = (set.plain(1, &[0]).unwrap(), set.batch(1, &once([0])).unwrap());
        assert_eq!((plain[0].len(), batch.windows[0].len()), (80 * 30, 80 * 30));
        assert_ne!(plain[0], batch.windows[0]);
    }
}
