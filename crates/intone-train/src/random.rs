//! Random numbers that are named, not counted: each use has its own generator, seeded by what it is for.
//!
//! So the augmentation of a clip in an epoch does not depend on the order of threads, and a run that is resumed
//! needs no state of a generator: it only has to know where it stands.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream of random numbers is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Weights = 1,
    Order = 2,
    Augment = 3,
    Dropout = 4,
    Bootstrap = 5,
    Mixup = 6,
    Window = 7,
    Perturb = 8,
    Calibrated = 9,
}

/// The generator for one purpose and place, of a run with this seed.
pub(crate) fn stream(seed: u64, purpose: Purpose, major: u64, minor: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (part, value) in key.as_chunks_mut::<8>().0.iter_mut().zip([seed, purpose as u64, major, minor]) {
        *part = value.to_le_bytes();
    }
    ChaCha8Rng::from_seed(key)
}

/// A value of the standard normal distribution (Box and Muller 1958).
pub(crate) fn normal(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    radius * (std::f32::consts::TAU * rng.random::<f32>()).cos()
}

/// A value of the distribution Beta(`alpha`, `alpha`), `alpha` in (0, 1] (Johnk 1964).
pub(crate) fn beta(alpha: f64, rng: &mut impl Rng) -> f64 {
    loop {
        // Logarithms: powers with a large exponent leave no number.
        let [a, b] = [(); 2].map(|()| (1.0 - rng.random::<f64>()).ln() / alpha);
        let top = a.max(b);
        let log_sum = top + ((a - top).exp() + (b - top).exp()).ln();
        if log_sum <= 0.0 {
            return (a - log_sum).exp();
        }
    }
}

/// `0..n` in random order.
pub(crate) fn permutation(n: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, rng.random_range(0..=last));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reproducible_and_differ() {
        let draw = |purpose, major, minor| stream(7, purpose, major, minor).next_u64();
        assert_eq!(draw(Purpose::Order, 1, 2), draw(Purpose::Order, 1, 2));
        let all = [draw(Purpose::Order, 1, 2), draw(Purpose::Augment, 1, 2), draw(Purpose::Order, 2, 1)];
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
    }

    #[test]
    fn normal_values_have_mean_0_and_variance_1() {
        let mut rng = stream(1, Purpose::Weights, 0, 0);
        let draws: Vec<f64> = (0..100_000).map(|_| f64::from(normal(&mut rng))).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let var = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.01 && (var - 1.0).abs() < 0.02, "mean {mean}, variance {var}");
    }

    #[test]
    fn beta_has_its_mean_and_variance() {
        let mut rng = stream(1, Purpose::Mixup, 0, 0);
        for alpha in [0.1, 0.4, 1.0] {
            let draws: Vec<f64> = (0..50_000).map(|_| beta(alpha, &mut rng)).collect();
            let mean = draws.iter().sum::<f64>() / 5e4;
            let var = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 5e4;
            let expected = 0.25 / (2.0 * alpha + 1.0);
            assert!(
                (mean - 0.5).abs() < 0.01 && (var / expected - 1.0).abs() < 0.03,
                "{alpha}: {mean} {var}"
            );
        }
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut order = permutation(100, &mut stream(1, Purpose::Order, 0, 0));
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }
}
