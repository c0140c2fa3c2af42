//! Sounds laid over sounds: noise of a given level, and babble.

use std::ops::Range;

use rand::{Rng, RngExt};

/// The factor of amplitude that is this many decibels.
pub(crate) fn decibels(db: f64) -> f32 {
    10f64.powf(db / 20.0) as f32
}

/// The sum of the squares.
pub(crate) fn power(samples: &[f32]) -> f64 {
    samples.iter().map(|x| f64::from(*x).powi(2)).sum()
}

/// Adds noise of the same length whose mean power is `snr_db` below that of the signal where it is `heard`.
pub(crate) fn add_noise(samples: &mut [f32], noise: &[f32], heard: Range<usize>, snr_db: f64) {
    let times_as_long = samples.len() as f64 / heard.len().max(1) as f64;
    let ratio = times_as_long * power(&samples[heard]) / power(noise).max(f64::MIN_POSITIVE);
    let gain = ratio.sqrt().min(1e6) as f32 * decibels(-snr_db);
    samples.iter_mut().zip(noise).for_each(|(x, noise)| *x += gain * noise);
}

/// Adds a voice to a babble, from anywhere in it on and repeated where it is too short: as loud as all others.
pub(crate) fn add_voice(babble: &mut [f32], voice: &[f32], rng: &mut impl Rng) {
    if voice.is_empty() {
        return;
    }
    let loudness = (power(voice) / voice.len() as f64).sqrt().max(1e-9) as f32;
    let start = rng.random_range(0..voice.len());
    for (x, voice) in babble.iter_mut().zip(voice.iter().cycle().skip(start)) {
        *x += voice / loudness;
    }
}
