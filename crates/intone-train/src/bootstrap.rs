//! Intervals from a bootstrap over speakers (Efron and Tibshirani 1993): clips of one voice are not independent, so
//! voices are drawn again and not clips.

use rand::RngExt;
use rayon::prelude::*;

use crate::metrics::{Figure, Tally};
use crate::random::{Purpose, stream};

/// Resamples of the speakers.
pub const N_RESAMPLES: usize = 2000;

/// The same resamples of a set of speakers for every figure, so that figures can be compared pair by pair.
#[derive(Debug)]
pub struct Bootstrap {
    n_speakers: usize,
    /// How often each speaker was drawn, `[N_RESAMPLES][n_speakers]`.
    times: Vec<Vec<u16>>,
}

impl Bootstrap {
    /// As many draws as there are speakers, [`N_RESAMPLES`] times. The same seed gives the same draws.
    pub fn new(n_speakers: usize, seed: u64) -> Bootstrap {
        let mut rng = stream(seed, Purpose::Bootstrap, 0, 0);
        let resample = |_| {
            let mut times = vec![0; n_speakers];
            for _ in 0..n_speakers {
                let slot: &mut u16 = &mut times[rng.random_range(0..n_speakers)];
                *slot = slot.saturating_add(1);
            }
            times
        };
        Bootstrap { n_speakers, times: (0..N_RESAMPLES).map(resample).collect() }
    }

    /// How often each speaker was drawn, resample by resample.
    pub fn resamples(&self) -> &[Vec<u16>] {
        &self.times
    }

    /// The tally of each resample, from those of the speakers: the number of each, below `n_speakers`, and its tally.
    /// Speakers without clips need not be among them.
    pub fn tallies<'a>(&self, speakers: impl IntoIterator<Item = (usize, &'a Tally)>) -> Vec<Tally> {
        let there: Vec<(usize, &Tally)> = speakers.into_iter().collect();
        let sum = |times: &Vec<u16>| {
            let mut sum = Tally::default();
            for &(speaker, tally) in &there {
                if times[speaker] > 0 {
                    sum.add_tally(tally, f64::from(times[speaker]));
                }
            }
            sum
        };
        self.times.par_iter().map(sum).collect()
    }

    /// A figure with its interval. Resamples in which it is not defined, such as the recall of a class that was not
    /// drawn, have no say.
    pub fn figure(&self, value: f64, resampled: impl IntoIterator<Item = Option<f64>>) -> Figure {
        let mut resampled: Vec<f64> = resampled.into_iter().flatten().collect();
        if self.n_speakers < 2 || resampled.is_empty() {
            return Figure::alone(value);
        }
        resampled.sort_unstable_by(f64::total_cmp);
        Figure { value, low: percentile(&resampled, 0.025), high: percentile(&resampled, 0.975) }
    }
}

impl Bootstrap {
    /// The same of a figure that resampling itself raises, because it is a mean of distances, such as the calibration error: the
    /// percentiles are lowered by as much as the resamples' mean is above the value. `least` is the lowest value it can have.
    pub fn figure_less_bias(
        &self,
        value: f64,
        least: f64,
        resampled: impl IntoIterator<Item = Option<f64>>,
    ) -> Figure {
        let resampled: Vec<f64> = resampled.into_iter().flatten().collect();
        let bias = resampled.iter().sum::<f64>() / resampled.len().max(1) as f64 - value;
        let figure = self.figure(value, resampled.into_iter().map(Some));
        // Not a number stays none.
        let lowered = |bound: f64| if bound.is_finite() { (bound - bias).max(least) } else { bound };
        Figure { low: lowered(figure.low), high: lowered(figure.high), ..figure }
    }
}

/// The value below which a share of sorted values lies, between neighbours in proportion.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let below = (place.floor() as usize).min(last);
    let above = (below + 1).min(last);
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training_set::N_CLASSES;

    #[test]
    fn percentiles_are_those_of_numpy() {
        // numpy.percentile([1, 2, 4, 8], [0, 2.5, 50, 97.5, 100])
        let sorted = [1.0, 2.0, 4.0, 8.0];
        for (share, expected) in [(0.0, 1.0), (0.025, 1.075), (0.5, 3.0), (0.975, 7.7), (1.0, 8.0)] {
            assert!((percentile(&sorted, share) - expected).abs() < 1e-12, "{share}");
        }
        assert!(percentile(&[], 0.5).is_nan());
    }

    #[test]
    fn the_interval_is_that_of_speakers() {
        // Speakers who are always right and always wrong: as if 40 coins were thrown, whatever the number of clips.
        let right = Tally::of(vec![(0, &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]); 50]);
        let wrong = Tally::of(vec![(0, &[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]); 50]);
        let speakers: Vec<Tally> = (0..40).map(|i| [right.clone(), wrong.clone()][i % 2].clone()).collect();
        let bootstrap = Bootstrap::new(speakers.len(), 1);
        let resampled = bootstrap.tallies(speakers.iter().enumerate());
        let figure = bootstrap.figure(0.5, resampled.iter().map(Tally::accuracy));
        // The binomial's standard error is 0.079, so the interval is about 0.155 on both sides.
        assert!((0.25..0.36).contains(&(figure.high - figure.low)), "{figure:?}");
        assert!(figure.low < 0.5 && figure.high > 0.5);
        assert_eq!(bootstrap.resamples(), Bootstrap::new(40, 1).resamples());
        assert_ne!(bootstrap.resamples(), Bootstrap::new(40, 2).resamples());
    }

    #[test]
    fn one_speaker_leaves_no_interval() {
        let bootstrap = Bootstrap::new(1, 1);
        let tally = Tally::of([(0, &[1.0 / N_CLASSES as f64; N_CLASSES])]);
        let resampled = bootstrap.tallies([(0, &tally)]);
        assert!(!bootstrap.figure(1.0, resampled.iter().map(Tally::accuracy)).has_interval());
        assert!(!Bootstrap::new(5, 1).figure(1.0, [None, None]).has_interval());
    }
}
