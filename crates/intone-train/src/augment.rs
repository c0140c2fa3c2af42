//! Augmentation of the network's inputs: pure functions of the input and a random generator.
//!
//! A window is `[n_mels, n_frames]`, row-major, in [0, 1], as [`intone::features::Frames::window`] gives it. Masks
//! set to 0, the floor of the scale (Park et al. 2019, SpecAugment, with the floor in place of the mean).

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::random::normal;

/// How much to augment. Zero switches an ingredient off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentConfig {
    /// Number of masks over time.
    pub time_masks: usize,
    /// Longest mask over time, frames; each mask's length is drawn from `0..=` this.
    pub time_mask_frames: usize,
    /// Number of masks over frequency.
    pub frequency_masks: usize,
    /// Widest mask over frequency, mel bands; each mask's width is drawn from `0..=` this.
    pub frequency_mask_bands: usize,
    /// Standard deviation of the noise that is added to every value, in units of the scale (`top_db` dB).
    pub noise_std: f64,
}

/// Masks and noise on one window `[n_mels, n_frames]`.
pub fn augment(window: &mut [f32], n_frames: usize, config: &AugmentConfig, rng: &mut impl Rng) {
    for _ in 0..config.time_masks {
        mask_time(window, n_frames, config.time_mask_frames, rng);
    }
    for _ in 0..config.frequency_masks {
        mask_frequency(window, n_frames, config.frequency_mask_bands, rng);
    }
    if config.noise_std > 0.0 {
        add_noise(window, config.noise_std as f32, rng);
    }
}

/// Sets up to `widest` neighbouring frames to 0.
fn mask_time(window: &mut [f32], n_frames: usize, widest: usize, rng: &mut impl Rng) {
    let (start, width) = span(n_frames, widest, rng);
    for row in window.chunks_exact_mut(n_frames) {
        row[start..start + width].fill(0.0);
    }
}

/// Sets up to `widest` neighbouring mel bands to 0.
fn mask_frequency(window: &mut [f32], n_frames: usize, widest: usize, rng: &mut impl Rng) {
    let (start, width) = span(window.len() / n_frames, widest, rng);
    window[start * n_frames..(start + width) * n_frames].fill(0.0);
}

/// Adds normal noise of this standard deviation, and keeps the values in [0, 1].
fn add_noise(window: &mut [f32], std: f32, rng: &mut impl Rng) {
    for value in window {
        *value = (*value + std * normal(rng)).clamp(0.0, 1.0);
    }
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

    fn augmented(config: &AugmentConfig, draw: u64) -> Vec<f32> {
        let mut window = vec![0.5; N_MELS * N_FRAMES];
        augment(&mut window, N_FRAMES, config, &mut stream(1, Purpose::Augment, draw, 0));
        window
    }

    fn off() -> AugmentConfig {
        AugmentConfig {
            time_masks: 0,
            time_mask_frames: 5,
            frequency_masks: 0,
            frequency_mask_bands: 4,
            noise_std: 0.0,
        }
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
