//! What the world does to a recording, as pure functions.

use intone::audio::{Audio, SampleRate};
use rand::{Rng, RngExt};

use super::{audio, codec, spectrum};
use crate::error::Result;
use crate::mixing::{add_noise, add_voice, decibels, power};
use crate::random::normal;
use crate::stretch::stretched;

/// Voices in a babble.
const N_VOICES: usize = 6;

/// A telephone's band, Hz (ITU-T G.712).
pub(crate) const TELEPHONE_HZ: (f64, f64) = (300.0, 3_400.0);

/// A way of changing a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// White noise; the level is the signal's power above that of the noise.
    White,
    /// Six other voices of the same data; likewise.
    Babble,
    /// Mains hum of 50 Hz with its harmonics up to the tenth; likewise.
    Hum,
    /// 8,000 samples a second; at level 3.4 also without what a telephone does not carry (below 300, above 3,400 Hz).
    Band,
    /// MP3 of so many kilobits a second, by `lame`.
    Mp3,
    /// Opus of so many kilobits a second, by `opusenc`.
    Opus,
    /// A room whose sound falls by 60 dB in so many seconds: decaying noise behind the direct sound, as loud as it.
    Reverberation,
    /// Cut off at so many decibels below the peak.
    Clipping,
    /// Louder or softer, cut off at full scale.
    Gain,
    /// Faster or slower with its pitch, such as a tape: the factor.
    Tape,
    /// Faster or slower at the same pitch: the factor.
    Speed,
    /// Higher or lower at the same speed: semitones.
    Pitch,
    /// So many seconds of digital silence before it.
    LeadingSilence,
    /// So many seconds from its middle.
    Truncation,
}

/// A way of changing a recording, and how far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Perturbation {
    /// The way.
    pub kind: Kind,
    /// How far, in the unit of the kind.
    pub level: f64,
}

/// All kinds and their levels.
const LEVELS: [(Kind, &[f64]); 14] = [
    (Kind::White, &[30.0, 20.0, 10.0, 5.0, 0.0]),
    (Kind::Babble, &[30.0, 20.0, 10.0, 5.0, 0.0]),
    (Kind::Hum, &[30.0, 20.0, 10.0, 5.0, 0.0]),
    (Kind::Band, &[4.0, 3.4]),
    (Kind::Mp3, &[32.0, 16.0]),
    (Kind::Opus, &[16.0, 8.0]),
    (Kind::Reverberation, &[0.3, 0.6, 1.2]),
    (Kind::Clipping, &[6.0, 12.0, 20.0]),
    (Kind::Gain, &[-30.0, -20.0, -10.0, 6.0, 12.0]),
    (Kind::Tape, &[0.8, 0.9, 1.1, 1.2]),
    (Kind::Speed, &[0.8, 0.9, 1.1, 1.2]),
    (Kind::Pitch, &[-4.0, -2.0, 2.0, 4.0]),
    (Kind::LeadingSilence, &[0.5, 1.0, 2.0]),
    (Kind::Truncation, &[1.0, 0.5]),
];

impl Kind {
    /// A name for people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::White => "white noise",
            Kind::Babble => "babble",
            Kind::Hum => "mains hum",
            Kind::Band => "narrow band",
            Kind::Mp3 => "MP3",
            Kind::Opus => "Opus",
            Kind::Reverberation => "reverberation",
            Kind::Clipping => "clipping",
            Kind::Gain => "gain",
            Kind::Tape => "tape speed",
            Kind::Speed => "speed",
            Kind::Pitch => "pitch",
            Kind::LeadingSilence => "leading silence",
            Kind::Truncation => "truncation",
        }
    }

    /// What levels are measured in.
    pub fn unit(self) -> &'static str {
        match self {
            Kind::White | Kind::Babble | Kind::Hum => "signal-to-noise ratio, dB",
            Kind::Band => "upper edge, kHz (3.4: telephone, from 300 Hz)",
            Kind::Mp3 | Kind::Opus => "bit rate, kbit/s",
            Kind::Reverberation => "reverberation time, s",
            Kind::Clipping => "cut below the peak, dB",
            Kind::Gain => "gain, dB",
            Kind::Tape | Kind::Speed => "factor",
            Kind::Pitch => "semitones",
            Kind::LeadingSilence => "silence, s",
            Kind::Truncation => "length, s",
        }
    }

    /// Why this cannot be done here; `None` where it can.
    pub(super) fn unavailable(self) -> Option<String> {
        match self {
            Kind::Mp3 => codec::missing(&["lame"]),
            Kind::Opus => codec::missing(&["opusenc", "opusdec"]),
            _ => None,
        }
    }
}

impl Perturbation {
    /// Every kind at every level.
    pub fn all() -> Vec<Perturbation> {
        let of_kind = |(kind, levels): (Kind, &[f64])| -> Vec<Perturbation> {
            levels.iter().map(|&level| Perturbation { kind, level }).collect()
        };
        LEVELS.into_iter().flat_map(of_kind).collect()
    }

    /// Changes a recording. `others` are voices to babble; without any there is none.
    ///
    /// # Errors
    /// A codec that fails.
    pub fn apply(
        self,
        samples: &[f32],
        rate: SampleRate,
        others: &[&Audio],
        rng: &mut impl Rng,
    ) -> Result<Audio> {
        let hz = f64::from(rate.0);
        let changed = match self.kind {
            Kind::White => {
                let noise: Vec<f32> = samples.iter().map(|_| normal(rng)).collect();
                mixed(samples, &noise, self.level)
            }
            Kind::Babble => mixed(samples, &babble(samples.len(), rate, others, rng)?, self.level),
            Kind::Hum => mixed(samples, &hum(samples.len(), hz), self.level),
            Kind::Band => return narrow(samples, rate, self.level),
            Kind::Mp3 => return codec::mp3(samples, rate, self.level as u32),
            Kind::Opus => return codec::opus(samples, rate, self.level as u32),
            Kind::Reverberation => reverberant(samples, hz, self.level, rng),
            Kind::Clipping => {
                let peak = samples.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
                let limit = peak * decibels(-self.level);
                samples.iter().map(|x| x.clamp(-limit, limit)).collect()
            }
            Kind::Gain => {
                let gain = decibels(self.level);
                samples.iter().map(|x| (gain * x).clamp(-1.0, 1.0)).collect()
            }
            Kind::Tape => return at_speed(samples, rate, self.level),
            Kind::Speed => stretched(samples, hz, 1.0 / self.level),
            Kind::Pitch => {
                let factor = 2f64.powf(self.level / 12.0);
                return at_speed(&stretched(samples, hz, factor), rate, factor);
            }
            Kind::LeadingSilence => {
                let mut silence = vec![0.0; (self.level * hz).round() as usize];
                silence.extend_from_slice(samples);
                silence
            }
            Kind::Truncation => {
                let n = ((self.level * hz).round() as usize).clamp(1, samples.len());
                let start = (samples.len() - n) / 2;
                samples[start..start + n].to_vec()
            }
        };
        audio(changed, rate)
    }
}

/// The signal with noise, `snr_db` of power below it.
fn mixed(samples: &[f32], noise: &[f32], snr_db: f64) -> Vec<f32> {
    let mut mixed = samples.to_vec();
    add_noise(&mut mixed, noise, 0..samples.len(), snr_db);
    mixed
}

/// Other voices at once.
fn babble(n: usize, rate: SampleRate, others: &[&Audio], rng: &mut impl Rng) -> Result<Vec<f32>> {
    let mut sum = vec![0.0; n];
    if others.is_empty() {
        return Ok(sum);
    }
    for _ in 0..N_VOICES {
        let voice = others[rng.random_range(0..others.len())].resample(rate)?;
        add_voice(&mut sum, voice.samples(), rng);
    }
    Ok(sum)
}

/// 50 Hz and its harmonics, each 6 dB below the one before.
fn hum(n: usize, hz: f64) -> Vec<f32> {
    let at = |i: usize| -> f64 {
        let phase = std::f64::consts::TAU * 50.0 * i as f64 / hz;
        (1..=10).map(|k| (f64::from(k) * phase).sin() * 0.5f64.powi(k)).sum()
    };
    (0..n).map(|i| at(i) as f32).collect()
}

/// What is left at 8,000 samples a second, at that rate.
fn narrow(samples: &[f32], rate: SampleRate, edge_khz: f64) -> Result<Audio> {
    let narrow = audio(samples.to_vec(), rate)?.resample(SampleRate(8_000))?;
    if edge_khz >= 4.0 {
        return Ok(narrow);
    }
    audio(spectrum::band(narrow.samples(), 8_000.0, TELEPHONE_HZ), SampleRate(8_000))
}

/// The direct sound and, as loud as it, noise that decays by 60 dB in `rt60_s` seconds; as loud as before.
fn reverberant(samples: &[f32], hz: f64, rt60_s: f64, rng: &mut impl Rng) -> Vec<f32> {
    let n = (rt60_s * hz).ceil().max(1.0) as usize;
    // 60 dB are a factor of 1,000 in amplitude.
    let decay = |i: usize| (-(i as f64) / hz / rt60_s * 1000f64.ln()).exp() as f32;
    let mut response: Vec<f32> = (0..n).map(|i| decay(i) * normal(rng)).collect();
    let tail = power(&response).sqrt() as f32;
    response.iter_mut().for_each(|x| *x /= tail.max(f32::MIN_POSITIVE));
    response[0] = 1.0;
    let mut wet = spectrum::convolved(samples, &response);
    wet.truncate(samples.len());
    let gain = (power(samples) / power(&wet).max(f64::MIN_POSITIVE)).sqrt() as f32;
    wet.iter_mut().for_each(|x| *x *= gain);
    wet
}

/// Played at another speed, with its pitch.
fn at_speed(samples: &[f32], rate: SampleRate, factor: f64) -> Result<Audio> {
    let faster = SampleRate((f64::from(rate.0) * factor).round() as u32);
    Ok(audio(samples.to_vec(), faster)?.resample(rate)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    const RATE: SampleRate = SampleRate(16_000);

    fn tone(hz: f64, seconds: f64) -> Vec<f32> {
        let n = (seconds * 16_000.0) as usize;
        (0..n).map(|i| (0.3 * (std::f64::consts::TAU * hz * i as f64 / 16_000.0).sin()) as f32).collect()
    }

    fn apply(kind: Kind, level: f64, samples: &[f32]) -> Audio {
        let other = Audio::new(tone(333.0, 0.7), SampleRate(22_050)).unwrap();
        let mut rng = stream(1, Purpose::Perturb, 0, 0);
        Perturbation { kind, level }.apply(samples, RATE, &[&other], &mut rng).unwrap()
    }

    /// The frequency of a tone, by its zero crossings.
    fn pitch_hz(audio: &Audio) -> f64 {
        let middle = &audio.samples()[audio.samples().len() / 4..audio.samples().len() * 3 / 4];
        let crossings = middle.windows(2).filter(|two| two[0] < 0.0 && two[1] >= 0.0).count();
        crossings as f64 / (middle.len() as f64 / f64::from(audio.sample_rate().0))
    }

    #[test]
    fn noise_has_the_ratio_that_is_asked_for() {
        let clean = tone(440.0, 1.0);
        for kind in [Kind::White, Kind::Babble, Kind::Hum] {
            for snr_db in [20.0, 0.0] {
                let noisy = apply(kind, snr_db, &clean);
                let noise: Vec<f32> = noisy.samples().iter().zip(&clean).map(|(x, c)| x - c).collect();
                let ratio_db = 10.0 * (power(&clean) / power(&noise)).log10();
                assert!((ratio_db - snr_db).abs() < 0.05, "{kind:?} {snr_db}: {ratio_db}");
            }
        }
    }

    #[test]
    fn speed_and_pitch_are_changed_apart() {
        let clean = tone(400.0, 1.5);
        let cases = [
            (Kind::Tape, 1.2, 480.0, 1.25),
            (Kind::Tape, 0.8, 320.0, 1.875),
            (Kind::Speed, 1.2, 400.0, 1.25),
            (Kind::Speed, 0.8, 400.0, 1.875),
            (Kind::Pitch, 4.0, 503.97, 1.5),
            (Kind::Pitch, -4.0, 317.48, 1.5),
        ];
        for (kind, level, hz, seconds) in cases {
            let changed = apply(kind, level, &clean);
            assert!(
                (pitch_hz(&changed) / hz - 1.0).abs() < 0.02,
                "{kind:?} {level}: {} Hz",
                pitch_hz(&changed)
            );
            assert!(
                (changed.duration_s() - seconds).abs() < 0.06,
                "{kind:?} {level}: {} s",
                changed.duration_s()
            );
        }
    }

    #[test]
    fn bands_levels_and_lengths_are_as_stated() {
        let clean = tone(440.0, 1.5);
        let loudness = |audio: &Audio| 10.0 * (power(audio.samples()) / audio.samples().len() as f64).log10();
        let before = loudness(&Audio::new(clean.clone(), RATE).unwrap());
        assert!((loudness(&apply(Kind::Gain, -20.0, &clean)) - before + 20.0).abs() < 0.01);
        assert!(apply(Kind::Gain, 12.0, &clean).samples().iter().all(|x| x.abs() <= 1.0));
        let peak = |audio: &Audio| audio.samples().iter().fold(0.0f32, |p, x| p.max(x.abs()));
        assert!((peak(&apply(Kind::Clipping, 6.0, &clean)) - 0.3 * decibels(-6.0)).abs() < 1e-3);
        // A telephone carries 440 Hz, not 100 Hz and not 3,900 Hz.
        assert!((loudness(&apply(Kind::Band, 3.4, &clean)) - before).abs() < 0.5);
        for hz in [100.0, 3_900.0] {
            assert!(loudness(&apply(Kind::Band, 3.4, &tone(hz, 1.5))) < before - 25.0, "{hz} Hz");
        }
        assert_eq!(apply(Kind::Band, 4.0, &clean).sample_rate(), SampleRate(8_000));
        assert_eq!(apply(Kind::LeadingSilence, 0.5, &clean).samples()[..8_000], [0.0; 8_000]);
        assert_eq!(apply(Kind::Truncation, 0.5, &clean).samples(), &clean[8_000..16_000]);
        assert_eq!(apply(Kind::Truncation, 2.0, &clean).samples(), &clean[..]);
        let wet = apply(Kind::Reverberation, 0.6, &clean);
        assert!((loudness(&wet) - before).abs() < 0.01 && wet.samples().len() == clean.len());
    }

    #[test]
    fn a_room_decays_as_it_should() {
        let mut click = vec![0.0; 16_000];
        click[0] = 1.0;
        let wet = apply(Kind::Reverberation, 0.6, &click);
        // 0.2 s later the tail is 20 dB softer.
        let part = |from: usize| 10.0 * power(&wet.samples()[from..from + 1_600]).log10();
        let fall_db = part(800) - part(800 + 3_200);
        assert!((fall_db - 20.0).abs() < 1.5, "{fall_db}");
    }

    #[test]
    fn everything_works_on_a_single_sample() {
        for perturbation in Perturbation::all() {
            if perturbation.kind.unavailable().is_none() {
                assert!(!apply(perturbation.kind, perturbation.level, &[0.1]).samples().is_empty());
                apply(perturbation.kind, perturbation.level, &[0.0; 700]);
            }
        }
    }
}
