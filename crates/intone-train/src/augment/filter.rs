//! Filters over the mel bands of a clip: the microphone and the room that it is heard through, and a telephone.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use intone::features::{Frames, FrontEnd};
use rand::{Rng, RngExt};

use super::AugmentConfig;
use crate::error::Result;
use crate::robustness::TELEPHONE_HZ;

/// Points that a filter goes through, evenly spaced over the bands.
const POINTS: RangeInclusive<usize> = 4..=6;

/// How much softer what a telephone does not carry is, dB. Much less than the 80 dB that a window spans: lines have noise.
const TELEPHONE_DB: f32 = 40.0;

/// Frames of a clip, through a filter and over a telephone where the draw says so.
///
/// The filter lies on absolute powers, before a window is made of them: so a window's peak and floor are those of what is
/// heard, whatever the style of the front end. Silence stays silence.
///
/// # Errors
/// None for frames that an extractor made.
pub fn filter_frames<'a>(
    frames: &'a Frames,
    front_end: &FrontEnd,
    config: &AugmentConfig,
    rng: &mut impl Rng,
) -> Result<Cow<'a, Frames>> {
    let mut gains_db = vec![0.0; front_end.n_mels];
    // Where there is none, the generator is left alone.
    if config.filter_share > 0.0 && rng.random_bool(config.filter_share) {
        gains_db = smooth(front_end.n_mels, config.filter_db, rng);
    }
    if config.band_limit_share > 0.0 && rng.random_bool(config.band_limit_share) {
        let (low_hz, high_hz) = TELEPHONE_HZ;
        let corners_hz = front_end.mel_corners_hz();
        for (gain, corners_hz) in gains_db.iter_mut().zip(corners_hz.windows(3)) {
            if !(low_hz..=high_hz).contains(&corners_hz[1]) {
                *gain -= TELEPHONE_DB;
            }
        }
    }
    if gains_db.iter().all(|gain| *gain == 0.0) {
        return Ok(Cow::Borrowed(frames));
    }
    let silence_db = 10.0 * front_end.amin.log10();
    let mut values = frames.values().to_vec();
    for frame in values.chunks_exact_mut(front_end.n_mels) {
        for (db, gain) in frame.iter_mut().zip(&gains_db) {
            // By more than rounding.
            if *db > silence_db + 1e-3 {
                *db = (*db + gain).max(silence_db);
            }
        }
    }
    Ok(Cow::Owned(Frames::from_values(front_end.n_mels, values)?))
}

/// A random curve over `n` bands within `most` of 0, dB, that goes from point to point as half a period of the cosine.
fn smooth(n: usize, most: f64, rng: &mut impl Rng) -> Vec<f32> {
    let n_points = rng.random_range(POINTS);
    let points: Vec<f64> = (0..n_points).map(|_| rng.random_range(-most..=most)).collect();
    let at = |band: usize| {
        let place = (band * (n_points - 1)) as f64 / (n - 1).max(1) as f64;
        let before = (place as usize).min(n_points - 2);
        let share = 0.5 - 0.5 * (std::f64::consts::PI * (place - before as f64)).cos();
        (points[before] + share * (points[before + 1] - points[before])) as f32
    };
    (0..n).map(at).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::random::{Purpose, stream};

    /// Ten frames of all levels from silence to a peak of 20 dB in the middle of the bands.
    fn frames(front_end: &FrontEnd) -> Frames {
        let n = front_end.n_mels;
        let values = (0..10 * n).map(|i| if i % n == n / 2 { 20.0 } else { -((i * 37 % 101) as f32) });
        Frames::from_values(n, values.collect()).unwrap()
    }

    /// What is added to each band of the loudest values of [`frames`]; `None` where they are as they were.
    fn gains_db(config: &AugmentConfig, draw: u64) -> Option<Vec<f32>> {
        let front_end = FrontEnd::whisper();
        let before = frames(&front_end);
        let mut rng = stream(1, Purpose::Augment, draw, 0);
        let Cow::Owned(after) = filter_frames(&before, &front_end, config, &mut rng).unwrap() else {
            return None;
        };
        let n = front_end.n_mels;
        let loudest = |band: usize| {
            let of_band = (band..10 * n).step_by(n);
            of_band.max_by(|&a, &b| before.values()[a].total_cmp(&before.values()[b])).unwrap()
        };
        Some((0..n).map(loudest).map(|i| after.values()[i] - before.values()[i]).collect())
    }

    #[test]
    fn without_shares_nothing_is_changed_and_the_generator_is_left_alone() {
        let front_end = FrontEnd::whisper();
        let mut rng = stream(1, Purpose::Augment, 0, 0);
        let before = rng.clone();
        let frames = frames(&front_end);
        let same = filter_frames(&frames, &front_end, &AugmentConfig::off(), &mut rng).unwrap();
        assert!(matches!(same, Cow::Borrowed(_)));
        assert!(rng == before);
    }

    #[test]
    fn filters_are_smooth_and_stay_within_their_size() {
        let config = AugmentConfig { filter_share: 0.5, filter_db: 6.0, ..AugmentConfig::off() };
        let curves: Vec<Vec<f32>> = (0..400).filter_map(|draw| gains_db(&config, draw)).collect();
        assert!((160..240).contains(&curves.len()), "{} of 400", curves.len());
        let mut extremes = BTreeSet::new();
        for curve in &curves {
            assert!(curve.iter().all(|gain| gain.abs() <= 6.001), "{curve:?}");
            // From -6 to 6 dB over a fifth of the bands, at the steepest half pi times as fast as on average.
            let steepest = curve.windows(2).map(|two| (two[1] - two[0]).abs()).fold(0.0, f32::max);
            assert!(steepest <= 12.0 / (79.0 / 5.0) * 1.58, "{steepest}");
            let spread = curve.iter().fold(f32::MIN, |most, x| most.max(*x))
                - curve.iter().fold(f32::MAX, |least, x| least.min(*x));
            extremes.insert(spread as i32);
        }
        // Some are nearly flat, some are not, and no two are alike.
        assert!(extremes.first() < Some(&4) && extremes.last() > Some(&9), "{extremes:?}");
        assert!(curves.windows(2).all(|two| two[0] != two[1]));
    }

    #[test]
    fn a_telephone_carries_its_band_alone() {
        let config = AugmentConfig { band_limit_share: 1.0, ..AugmentConfig::off() };
        let front_end = FrontEnd::whisper();
        let gains = gains_db(&config, 0).unwrap();
        let centres_hz: Vec<f64> = front_end.mel_corners_hz()[1..=80].to_vec();
        for (gain, centre_hz) in gains.iter().zip(centres_hz) {
            let carried = (300.0..=3_400.0).contains(&centre_hz);
            assert!((gain - if carried { 0.0 } else { -40.0 }).abs() < 1e-4, "{centre_hz} Hz: {gain}");
        }
        let n_lost = gains.iter().filter(|gain| **gain < -1.0).count();
        assert!((15..40).contains(&n_lost), "{n_lost}");
    }

    #[test]
    fn a_window_spans_what_it_does_and_silence_stays_silence() {
        for front_end in [FrontEnd::whisper(), FrontEnd { n_mels: 80, n_frames: 10, ..FrontEnd::reference() }]
        {
            let before = frames(&front_end);
            let config = AugmentConfig {
                filter_share: 1.0,
                filter_db: 20.0,
                band_limit_share: 0.5,
                ..AugmentConfig::off()
            };
            for draw in 0..50 {
                let mut rng = stream(1, Purpose::Augment, draw, 0);
                let after = filter_frames(&before, &front_end, &config, &mut rng).unwrap();
                let mut window = vec![0.0; 800];
                after.window(&front_end, 0, &mut window).unwrap();
                let (least, most) = window
                    .iter()
                    .fold((f32::MAX, f32::MIN), |(least, most), x| (least.min(*x), most.max(*x)));
                let spanned = if front_end == FrontEnd::whisper() { 2.0 } else { 1.0 };
                assert!((most - least - spanned).abs() < 1e-5, "draw {draw}: {least} to {most}");
            }
            let silence = Frames::from_values(80, vec![-100.0; 800]).unwrap();
            let mut rng = stream(1, Purpose::Augment, 0, 0);
            let after = filter_frames(&silence, &front_end, &config, &mut rng).unwrap();
            assert_eq!(after.values(), silence.values());
        }
    }
}
