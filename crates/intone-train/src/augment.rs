//! Augmentation of training clips: pure functions of the input and a random generator, first on the audio, then on its
//! frames, then on the network's input.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use intone::audio::{Audio, SampleRate};
use intone::features::{FrontEnd, Style};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::config::{in_range, is_zero};
use crate::dataset::Recording;
use crate::error::Result;
use crate::mixing::{add_noise, add_voice, decibels};
use crate::random::{beta, normal};
use crate::stretch::stretched;

mod filter;

pub use filter::filter_frames;

/// The fastest and the slowest that a clip is made is this far from its own speed.
const MAX_SPEED: f64 = 0.5;

/// Voices in a babble.
const BABBLING: RangeInclusive<usize> = 3..=8;

/// How much to augment. Zero switches an ingredient off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentConfig {
    /// The share of clips of which only a stretch is heard.
    #[serde(default)]
    pub cut_share: f64,
    /// The shortest and the longest such stretch, seconds; a clip that is no longer is heard whole.
    #[serde(default = "cut_s")]
    pub cut_s: [f64; 2],
    /// The share of clips that keep some of the silent ends which trimming takes away. Noise and babble lie over these too, no louder
    /// than they would be without. What is cut to a stretch has no ends.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ends_share: f64,
    /// The least and the most of each end that is kept, seconds, drawn for either side by itself. Where a recording has less, there
    /// is digital silence before or behind it. Where all is longer than a window, a window may hold little of the speech.
    #[serde(default = "ends_s", skip_serializing_if = "is_ends_s")]
    pub ends_s: [f64; 2],
    /// The share of clips whose pitch is shifted at the same speed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pitch_share: f64,
    /// The pitch of such a clip is shifted up or down by up to this much, semitones, in steps of one percent of the frequency.
    #[serde(default = "pitch_semitones", skip_serializing_if = "is_pitch_semitones")]
    pub pitch_semitones: f64,
    /// A clip is played faster or slower by up to this share, in steps of one percent, pitch and all (Ko et al. 2015).
    pub speed: f64,
    /// A clip is made louder or softer by up to this much, dB.
    pub gain_db: f64,
    /// The share of clips that noise is added to: white, or darker by a random one-pole filter.
    pub noise_share: f64,
    /// The share of clips that the babble of three to eight other training clips is added to.
    #[serde(default)]
    pub babble_share: f64,
    /// The least and the most that clips are louder than their noise, dB.
    pub noise_snr_db: [f64; 2],
    /// The least and the most that clips are louder than their babble, dB.
    #[serde(default = "snr_db")]
    pub babble_snr_db: [f64; 2],
    /// The share of clips that are heard through a random filter, smooth over the mel bands, such as microphones and rooms are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub filter_share: f64,
    /// The most that such a filter makes a band louder or softer, dB.
    #[serde(default = "filter_db", skip_serializing_if = "is_filter_db")]
    pub filter_db: f64,
    /// The share of clips that are heard as over a telephone: what lies below 300 and above 3,400 Hz is 40 dB softer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub band_limit_share: f64,
    /// Number of masks over time (Park et al. 2019, SpecAugment).
    pub time_masks: usize,
    /// Longest mask over time, frames; each mask's length is drawn from `0..=` this.
    pub time_mask_frames: usize,
    /// Number of masks over frequency.
    pub frequency_masks: usize,
    /// Widest mask over frequency, mel bands; each mask's width is drawn from `0..=` this.
    pub frequency_mask_bands: usize,
    /// Standard deviation of the noise that is added to every value of a window, in units of its scale.
    pub noise_std: f64,
    /// Each window, and its target with it, is mixed with another of its batch, in shares from the distribution
    /// Beta(this, this) (Zhang et al. 2018); at most 1.
    pub mixup_alpha: f64,
}

impl AugmentConfig {
    /// No augmentation.
    pub fn off() -> AugmentConfig {
        AugmentConfig {
            cut_share: 0.0,
            cut_s: cut_s(),
            ends_share: 0.0,
            ends_s: ends_s(),
            pitch_share: 0.0,
            pitch_semitones: pitch_semitones(),
            speed: 0.0,
            gain_db: 0.0,
            noise_share: 0.0,
            babble_share: 0.0,
            noise_snr_db: snr_db(),
            babble_snr_db: snr_db(),
            filter_share: 0.0,
            filter_db: filter_db(),
            band_limit_share: 0.0,
            time_masks: 0,
            time_mask_frames: 0,
            frequency_masks: 0,
            frequency_mask_bands: 0,
            noise_std: 0.0,
            mixup_alpha: 0.0,
        }
    }

    /// Whether the audio is changed, so that features cannot be computed beforehand.
    pub fn changes_audio(&self) -> bool {
        let &AugmentConfig {
            cut_share,
            ends_share,
            pitch_share,
            speed,
            gain_db,
            noise_share,
            babble_share,
            ..
        } = self;
        [cut_share, ends_share, pitch_share, speed, gain_db, noise_share, babble_share]
            .into_iter()
            .any(|much| much > 0.0)
    }

    /// The most of a silent end that is heard, seconds.
    pub fn longest_end_s(&self) -> f64 {
        if self.ends_share > 0.0 { self.ends_s[1] } else { 0.0 }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let unit = |key, value: f64| in_range(key, value, (0.0..=1.0).contains(&value), "0 to 1");
        unit("augment.cut_share", self.cut_share)?;
        ordered("augment.cut_s", self.cut_s, 0.05..=60.0, "the least, then the most, within 0.05 to 60")?;
        unit("augment.ends_share", self.ends_share)?;
        ordered("augment.ends_s", self.ends_s, 0.0..=10.0, "the least, then the most, within 0 to 10")?;
        unit("augment.pitch_share", self.pitch_share)?;
        let semitones = self.pitch_semitones;
        in_range("augment.pitch_semitones", semitones, (0.0..=12.0).contains(&semitones), "0 to 12")?;
        let speed = self.speed;
        in_range("augment.speed", speed, (0.0..=MAX_SPEED).contains(&speed), "0 to 0.5")?;
        let gain = self.gain_db;
        in_range("augment.gain_db", gain, (0.0..=60.0).contains(&gain), "0 to 60")?;
        unit("augment.noise_share", self.noise_share)?;
        unit("augment.babble_share", self.babble_share)?;
        for (key, snr_db) in
            [("augment.noise_snr_db", self.noise_snr_db), ("augment.babble_snr_db", self.babble_snr_db)]
        {
            ordered(key, snr_db, -60.0..=120.0, "the least, then the most, within -60 to 120")?;
        }
        unit("augment.filter_share", self.filter_share)?;
        let filter = self.filter_db;
        in_range("augment.filter_db", filter, (0.0..=60.0).contains(&filter), "0 to 60")?;
        unit("augment.band_limit_share", self.band_limit_share)?;
        for (key, n) in
            [("augment.time_masks", self.time_masks), ("augment.frequency_masks", self.frequency_masks)]
        {
            in_range(key, n, n <= 100, "at most 100")?;
        }
        unit("augment.noise_std", self.noise_std)?;
        unit("augment.mixup_alpha", self.mixup_alpha)
    }
}

fn cut_s() -> [f64; 2] {
    [0.5, 1.5]
}

fn snr_db() -> [f64; 2] {
    [10.0, 40.0]
}

// These are not written down where they are as here, and so must stay what they are.

fn ends_s() -> [f64; 2] {
    [0.0, 1.0]
}

fn is_ends_s(value: &[f64; 2]) -> bool {
    *value == ends_s()
}

fn pitch_semitones() -> f64 {
    2.0
}

fn is_pitch_semitones(value: &f64) -> bool {
    *value == pitch_semitones()
}

fn filter_db() -> f64 {
    6.0
}

fn is_filter_db(value: &f64) -> bool {
    *value == filter_db()
}

/// Refuses limits that are out of range or in the wrong order.
fn ordered(
    key: &'static str,
    [least, most]: [f64; 2],
    within: RangeInclusive<f64>,
    expected: &'static str,
) -> Result<()> {
    let fits = least <= most && within.contains(&least) && within.contains(&most);
    in_range(key, format!("[{least}, {most}]"), fits, expected)
}

/// A stretch, ends, pitch, speed, gain, noise and babble of one clip. `voices` are those that babble; without any there is
/// none.
///
/// # Errors
/// None for rates that audio has.
pub fn augment_audio(
    clip: &Recording,
    sample_rate: SampleRate,
    voices: &[Recording],
    config: &AugmentConfig,
    rng: &mut impl Rng,
) -> Result<Vec<f32>> {
    let (part, ends) = excerpt(clip, sample_rate, config, rng);
    let n = part.len();
    let part = at_another_pitch(part, sample_rate, config, rng)?;
    let mut samples = at_another_speed(&part, sample_rate, config.speed, rng)?;
    // Where what trimming leaves lies now: it decides how loud noise is.
    let [before, behind] = ends.map(|end| (end as f64 * samples.len() as f64 / n as f64).round() as usize);
    let speech = before..samples.len().saturating_sub(behind).max(before);
    if config.gain_db > 0.0 {
        let gain = decibels(rng.random_range(-config.gain_db..=config.gain_db));
        samples.iter_mut().for_each(|x| *x *= gain);
    }
    let drawn_from = |[least, most]: [f64; 2]| least..=most;
    if rng.random_bool(config.noise_share) {
        let snr_db = rng.random_range(drawn_from(config.noise_snr_db));
        let noise = coloured_noise(samples.len(), rng);
        add_noise(&mut samples, &noise, speech.clone(), snr_db);
    }
    // Where there is none, the generator is left alone.
    if config.babble_share > 0.0 && !voices.is_empty() && rng.random_bool(config.babble_share) {
        let snr_db = rng.random_range(drawn_from(config.babble_snr_db));
        let mut babble = vec![0.0; samples.len()];
        for _ in 0..rng.random_range(BABBLING) {
            add_voice(&mut babble, voices[rng.random_range(0..voices.len())].trimmed(), rng);
        }
        add_noise(&mut samples, &babble, speech, snr_db);
    }
    Ok(samples)
}

/// Of some clips a random stretch; of others more than trimming leaves, and how many samples of it lie before and behind
/// that.
fn excerpt<'a>(
    clip: &'a Recording,
    sample_rate: SampleRate,
    config: &AugmentConfig,
    rng: &mut impl Rng,
) -> (Cow<'a, [f32]>, [usize; 2]) {
    let samples = clip.trimmed();
    // Where none is cut, the generator is left alone; and where none keeps its ends.
    if config.cut_share > 0.0 && rng.random_bool(config.cut_share) {
        let n = length(config.cut_s, sample_rate, rng).min(samples.len());
        let start = rng.random_range(0..=samples.len() - n);
        return (Cow::Borrowed(&samples[start..][..n]), [0; 2]);
    }
    if config.ends_share > 0.0 && rng.random_bool(config.ends_share) {
        let ends = [(); 2].map(|()| length(config.ends_s, sample_rate, rng));
        return (Cow::Owned(clip.widened(ends)), ends);
    }
    (Cow::Borrowed(samples), [0; 2])
}

/// Between the least and the most seconds, samples.
fn length([least, most]: [f64; 2], sample_rate: SampleRate, rng: &mut impl Rng) -> usize {
    (rng.random_range(least..=most) * f64::from(sample_rate.0)).round() as usize
}

/// Some clips higher or lower at the same speed.
fn at_another_pitch<'a>(
    samples: Cow<'a, [f32]>,
    sample_rate: SampleRate,
    config: &AugmentConfig,
    rng: &mut impl Rng,
) -> Result<Cow<'a, [f32]>> {
    // Where none is, the generator is left alone.
    if config.pitch_share == 0.0 || !rng.random_bool(config.pitch_share) {
        return Ok(samples);
    }
    let most = config.pitch_semitones;
    let percent = (100.0 * 2f64.powf(rng.random_range(-most..=most) / 12.0)).round() as i32;
    if percent == 100 {
        return Ok(samples);
    }
    let longer = stretched(&samples, f64::from(sample_rate.0), f64::from(percent) / 100.0);
    Ok(Cow::Owned(at_speed(longer, sample_rate, percent)?))
}

/// Played faster or slower by up to the share `most`.
fn at_another_speed(
    samples: &[f32],
    sample_rate: SampleRate,
    most: f64,
    rng: &mut impl Rng,
) -> Result<Vec<f32>> {
    let most = (100.0 * most).round() as i32;
    let percent = 100 + rng.random_range(-most..=most);
    if percent == 100 {
        return Ok(samples.to_vec());
    }
    at_speed(samples.to_vec(), sample_rate, percent)
}

/// Played at so many percent of its speed, pitch and all. Whole percents make short blocks for the resampler.
fn at_speed(samples: Vec<f32>, sample_rate: SampleRate, percent: i32) -> Result<Vec<f32>> {
    let faster = SampleRate((u64::from(sample_rate.0) * percent as u64 / 100) as u32);
    let audio = Audio::new(samples, faster)?.resample(sample_rate)?;
    Ok(audio.samples().to_vec())
}

/// Noise that is white, or darker.
fn coloured_noise(n: usize, rng: &mut impl Rng) -> Vec<f32> {
    let memory = rng.random_range(0.0..0.95f32);
    let mut last = 0.0;
    let mut next = || {
        last = memory * last + normal(rng);
        last
    };
    (0..n).map(|_| next()).collect()
}

/// Masks and noise on one window `[n_mels, n_frames]`, row-major, as [`intone::features::Frames::window`] gives it.
/// Masks set to the floor of the scale where that is the same for all clips ([`Style::Librosa`]), and else to the
/// window's mean.
pub fn augment_window(window: &mut [f32], front_end: &FrontEnd, config: &AugmentConfig, rng: &mut impl Rng) {
    let n_frames = window.len() / front_end.n_mels;
    let (fill, range) = match front_end.style {
        Style::Librosa => (0.0, 0.0..=1.0),
        Style::Whisper => {
            (window.iter().sum::<f32>() / window.len() as f32, f32::NEG_INFINITY..=f32::INFINITY)
        }
    };
    for _ in 0..config.time_masks {
        mask_time(window, n_frames, config.time_mask_frames, fill, rng);
    }
    for _ in 0..config.frequency_masks {
        mask_frequency(window, n_frames, config.frequency_mask_bands, fill, rng);
    }
    if config.noise_std > 0.0 {
        let std = config.noise_std as f32;
        for value in window {
            *value = (*value + std * normal(rng)).clamp(*range.start(), *range.end());
        }
    }
}

/// The share of a window that stays its own in mixup: the larger of the two.
pub(crate) fn mixup_share(alpha: f64, rng: &mut impl Rng) -> f32 {
    let share = beta(alpha, rng);
    share.max(1.0 - share) as f32
}

/// `share` of a window `[n_mels, n]` and the rest from another, which is repeated or cut to the same length.
pub(crate) fn mix_windows(window: &mut [f32], other: &[f32], n_mels: usize, share: f32) {
    let (n, n_other) = (window.len() / n_mels, other.len() / n_mels);
    for (row, other) in window.chunks_exact_mut(n).zip(other.chunks_exact(n_other)) {
        for (x, other) in row.iter_mut().zip(other.iter().cycle()) {
            *x = share * *x + (1.0 - share) * other;
        }
    }
}

/// Sets up to `widest` neighbouring frames to `fill`.
fn mask_time(window: &mut [f32], n_frames: usize, widest: usize, fill: f32, rng: &mut impl Rng) {
    let (start, width) = span(n_frames, widest, rng);
    for row in window.chunks_exact_mut(n_frames) {
        row[start..start + width].fill(fill);
    }
}

/// Sets up to `widest` neighbouring mel bands to `fill`.
fn mask_frequency(window: &mut [f32], n_frames: usize, widest: usize, fill: f32, rng: &mut impl Rng) {
    let (start, width) = span(window.len() / n_frames, widest, rng);
    window[start * n_frames..(start + width) * n_frames].fill(fill);
}

/// A random stretch of `0..n`, of a length in `0..=widest`: start and length.
fn span(n: usize, widest: usize, rng: &mut impl Rng) -> (usize, usize) {
    let width = rng.random_range(0..=widest.min(n));
    (rng.random_range(0..=n - width), width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    const N_MELS: usize = 12;
    const N_FRAMES: usize = 20;
    const RATE: SampleRate = SampleRate(16_000);

    fn augmented(config: &AugmentConfig, draw: u64) -> Vec<f32> {
        let mut window = vec![0.5; N_MELS * N_FRAMES];
        let front_end = FrontEnd { n_mels: N_MELS, n_frames: N_FRAMES, ..FrontEnd::reference() };
        augment_window(&mut window, &front_end, config, &mut stream(1, Purpose::Augment, draw, 0));
        window
    }

    fn off() -> AugmentConfig {
        AugmentConfig { time_mask_frames: 5, frequency_mask_bands: 4, ..AugmentConfig::off() }
    }

    fn tone(n: usize) -> Vec<f32> {
        (0..n).map(|i| 0.2 * (i as f32 * 0.3).sin()).collect()
    }

    /// Another sound, shorter than the tone.
    fn voice() -> Vec<f32> {
        (0..7_000).map(|i| 0.5 * (i as f32 * 0.11).sin()).collect()
    }

    fn heard(config: &AugmentConfig, draw: u64) -> Vec<f32> {
        changed(&Recording::whole(tone(16_000)), config, draw)
    }

    fn changed(clip: &Recording, config: &AugmentConfig, draw: u64) -> Vec<f32> {
        let voices = [voice(), Vec::new()].map(Recording::whole);
        augment_audio(clip, RATE, &voices, config, &mut stream(1, Purpose::Augment, draw, 0)).unwrap()
    }

    fn power(samples: &[f32]) -> f64 {
        samples.iter().map(|x| f64::from(x * x)).sum::<f64>() / samples.len() as f64
    }

    #[test]
    fn audio_is_not_changed_when_all_is_off() {
        assert!(!off().changes_audio());
        assert_eq!(heard(&off(), 0), tone(16_000));
    }

    #[test]
    fn some_clips_are_cut_to_a_stretch_of_them() {
        let config = AugmentConfig { cut_share: 0.5, cut_s: [0.25, 0.75], ..off() };
        assert!(config.changes_audio());
        let whole = tone(16_000);
        let (mut n_cut, mut starts) = (0, std::collections::BTreeSet::new());
        for draw in 0..200 {
            let heard = heard(&config, draw);
            if heard.len() < whole.len() {
                n_cut += 1;
                assert!((4_000..=12_000).contains(&heard.len()), "{}", heard.len());
                starts.insert(whole.windows(heard.len()).position(|part| part == heard).unwrap());
            }
        }
        assert!((75..125).contains(&n_cut) && starts.len() > n_cut / 2, "{n_cut} of 200, {}", starts.len());
        // What is shorter than the shortest stretch stays whole.
        assert_eq!(changed(&Recording::whole(whole[..300].to_vec()), &config, 0), whole[..300]);
    }

    /// A loud tone of 0.5 s with 0.25 s of a soft one before it and behind it, of which it is trimmed.
    fn with_ends() -> Recording {
        let samples = tone(16_000).into_iter().enumerate();
        let samples = samples.map(|(i, x)| if (4_000..12_000).contains(&i) { x } else { 0.01 * x });
        Recording::new(samples.collect(), 4_000..12_000, usize::MAX)
    }

    #[test]
    fn some_clips_keep_some_of_their_ends() {
        let config = AugmentConfig { ends_share: 0.5, ends_s: [0.1, 0.4], ..off() };
        assert!(config.changes_audio() && config.longest_end_s() == 0.4 && off().longest_end_s() == 0.0);
        let clip = with_ends();
        let (mut n_wide, mut longest) = (0, [0; 2]);
        for draw in 0..200 {
            let heard = changed(&clip, &config, draw);
            if heard.len() == 8_000 {
                assert_eq!(heard, clip.trimmed());
                continue;
            }
            n_wide += 1;
            let before = heard.windows(8_000).position(|part| part == clip.trimmed()).unwrap();
            let ends = [before, heard.len() - 8_000 - before];
            assert!(ends.iter().all(|end| (1_600..=6_400).contains(end)), "{ends:?}");
            // Its own 0.25 s, and silence beyond.
            assert_eq!(heard, clip.widened(ends));
            longest = [longest[0].max(ends[0]), longest[1].max(ends[1])];
        }
        assert!(
            (75..125).contains(&n_wide) && longest.iter().all(|end| *end > 5_500),
            "{n_wide} {longest:?}"
        );
        // What is cut to a stretch has none.
        let cut = AugmentConfig { cut_share: 1.0, cut_s: [0.1, 0.2], ends_share: 1.0, ..config };
        assert!((0..50).all(|draw| changed(&clip, &cut, draw).len() <= 3_200));
    }

    #[test]
    fn noise_lies_over_the_ends_and_is_as_soft_as_the_speech_asks_for() {
        let clip = with_ends();
        let wide = AugmentConfig { ends_share: 1.0, ends_s: [0.5, 0.5], ..off() };
        let clean = changed(&clip, &wide, 0);
        assert_eq!(clean.len(), 24_000);
        let noise = AugmentConfig { noise_share: 1.0, noise_snr_db: [10.0, 10.0], ..wide.clone() };
        let babble = AugmentConfig { babble_share: 1.0, babble_snr_db: [10.0, 10.0], ..wide.clone() };
        for (name, config) in [("noise", noise), ("babble", babble)] {
            for speed in [0.0, 0.2] {
                let config = AugmentConfig { speed, ..config.clone() };
                // The same draw without noise.
                let clean = changed(&clip, &AugmentConfig { speed, ..wide.clone() }, 0);
                let noisy = changed(&clip, &config, 0);
                assert!((clean.len() != 24_000) == (speed > 0.0), "{} samples", clean.len());
                let noise: Vec<f32> = noisy.iter().zip(&clean).map(|(x, clean)| x - clean).collect();
                let third = clean.len() / 3;
                let snr_db = 10.0 * (power(&clean[third..2 * third]) / power(&noise)).log10();
                assert!((snr_db - 10.0).abs() < 0.1, "{name} at {speed}: {snr_db}");
                for part in noise.chunks(third) {
                    let share = power(part) / power(&noise);
                    assert!(part.len() < 9 || (0.3..2.0).contains(&share), "{name} at {speed}: {share}");
                }
            }
        }
    }

    #[test]
    fn some_clips_are_higher_or_lower_at_the_same_speed() {
        let config = AugmentConfig { pitch_share: 0.5, pitch_semitones: 3.0, ..off() };
        assert!(config.changes_audio());
        let hz = |samples: &[f32]| {
            let middle = &samples[2_000..14_000];
            let crossings = middle.windows(2).filter(|two| two[0] < 0.0 && two[1] >= 0.0).count();
            crossings as f64 * 16_000.0 / middle.len() as f64
        };
        let own_hz = 0.3 * 16_000.0 / std::f64::consts::TAU;
        let (mut n_shifted, mut lowest, mut highest) = (0, f64::MAX, f64::MIN);
        for draw in 0..200 {
            let heard = heard(&config, draw);
            assert!(heard.len().abs_diff(16_000) <= 1, "{}", heard.len());
            if heard == tone(16_000) {
                continue;
            }
            n_shifted += 1;
            let semitones = 12.0 * (hz(&heard) / own_hz).log2();
            (lowest, highest) = (semitones.min(lowest), semitones.max(highest));
            let loudness = power(&heard) / power(&tone(16_000));
            assert!((0.8..1.25).contains(&loudness), "{semitones} semitones: {loudness}");
        }
        assert!((75..125).contains(&n_shifted), "{n_shifted} of 200");
        assert!((-3.3..-2.0).contains(&lowest) && (2.0..3.3).contains(&highest), "{lowest} {highest}");
    }

    #[test]
    fn speed_changes_the_length_by_up_to_its_share() {
        let config = AugmentConfig { speed: 0.1, ..off() };
        let lengths: Vec<usize> = (0..100).map(|draw| heard(&config, draw).len()).collect();
        let expected: Vec<usize> =
            (90..=110).map(|percent| (16_000.0 / (f64::from(percent) / 100.0)).round() as usize).collect();
        assert!(lengths.iter().all(|n| expected.contains(n)), "{lengths:?}");
        let distinct: std::collections::BTreeSet<_> = lengths.iter().collect();
        assert!(distinct.len() > 15, "{distinct:?}");
    }

    #[test]
    fn gain_and_noise_have_the_given_size() {
        let loudness = |config: &AugmentConfig, draw| 10.0 * (power(&heard(config, draw)) / 0.02).log10();
        let gains: Vec<f64> =
            (0..200).map(|draw| loudness(&AugmentConfig { gain_db: 6.0, ..off() }, draw)).collect();
        let (least, most) =
            gains.iter().fold((f64::MAX, f64::MIN), |(least, most), g| (least.min(*g), most.max(*g)));
        assert!((-6.1..-5.0).contains(&least) && (5.0..6.1).contains(&most), "{least} {most}");

        let noisy = AugmentConfig { noise_share: 0.5, noise_snr_db: [10.0, 20.0], ..off() };
        let babbling =
            AugmentConfig { babble_share: 0.5, babble_snr_db: noisy.noise_snr_db, ..noisy.clone() };
        for config in [&noisy, &AugmentConfig { noise_share: 0.0, ..babbling }] {
            let mut n_noisy = 0;
            for draw in 0..200 {
                let noise: Vec<f32> =
                    heard(config, draw).iter().zip(tone(16_000)).map(|(a, b)| a - b).collect();
                if power(&noise) > 0.0 {
                    n_noisy += 1;
                    let snr_db = 10.0 * (power(&tone(16_000)) / power(&noise)).log10();
                    assert!((9.9..20.1).contains(&snr_db), "{snr_db}");
                }
            }
            assert!((75..125).contains(&n_noisy), "{n_noisy} of 200");
        }
        assert_eq!(changed(&Recording::whole(vec![0.0; 100]), &noisy, 0), [0.0; 100]);
    }

    #[test]
    fn mixing_takes_shares_of_both_and_repeats_the_shorter() {
        let mut window = vec![1.0, 1.0, 1.0, 2.0, 2.0, 2.0];
        mix_windows(&mut window, &[0.0, 4.0, 8.0, 0.0], 2, 0.75);
        assert_eq!(window, [0.75, 1.75, 0.75, 3.5, 1.5, 3.5]);
        let mut rng = stream(1, Purpose::Augment, 0, 0);
        let shares: Vec<f32> = (0..1000).map(|_| mixup_share(0.2, &mut rng)).collect();
        assert!(shares.iter().all(|share| (0.5..=1.0).contains(share)));
        // Of Beta(0.2, 0.2) 48 % lie beyond 0.98 or below 0.02.
        let extreme = shares.iter().filter(|share| **share > 0.98).count();
        assert!((430..530).contains(&extreme), "{extreme} of 1000");
    }

    #[test]
    fn nothing_is_changed_when_all_is_off() {
        assert_eq!(augmented(&off(), 0), vec![0.5; N_MELS * N_FRAMES]);
    }

    #[test]
    fn masks_are_whole_frames_and_bands_of_at_most_the_given_width() {
        let mut widths = [0usize; 8];
        for draw in 0..500 {
            let window = augmented(&AugmentConfig { time_masks: 1, ..off() }, draw);
            let masked: Vec<usize> =
                (0..N_FRAMES).filter(|&t| (0..N_MELS).all(|m| window[m * N_FRAMES + t] == 0.0)).collect();
            assert_eq!(window.iter().filter(|v| **v == 0.0).count(), masked.len() * N_MELS);
            assert!(masked.windows(2).all(|pair| pair[1] == pair[0] + 1));
            widths[masked.len()] += 1;

            let window = augmented(&AugmentConfig { frequency_masks: 1, ..off() }, draw);
            let masked = window.chunks(N_FRAMES).filter(|row| row.iter().all(|v| *v == 0.0)).count();
            assert!(masked <= 4);
            assert_eq!(window.iter().filter(|v| **v == 0.0).count(), masked * N_FRAMES);
        }
        assert!(widths[..6].iter().all(|&n| n > 40) && widths[6..] == [0, 0], "{widths:?}");
    }

    #[test]
    fn noise_has_the_given_size_and_stays_in_range() {
        let window = augmented(&AugmentConfig { noise_std: 0.05, ..off() }, 0);
        let var = window.iter().map(|v| (v - 0.5).powi(2)).sum::<f32>() / window.len() as f32;
        assert!((var.sqrt() - 0.05).abs() < 0.01);
        let window = augmented(&AugmentConfig { noise_std: 2.0, ..off() }, 0);
        assert!(window.iter().all(|v| (0.0..=1.0).contains(v)));
    }
}
