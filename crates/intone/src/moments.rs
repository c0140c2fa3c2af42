//! Sums over samples, from which follows how loud they are.

use std::iter::Sum;

use crate::blocks::Block;

/// Number of some samples, their sum and that of their squares. Samples that come in pieces give the same as at once, bit for bit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Moments {
    n: usize,
    sum: f64,
    squares: f64,
}

impl Moments {
    pub(crate) fn of(samples: &[f32]) -> Moments {
        let mut moments = Moments::default();
        moments.push(samples);
        moments
    }

    /// Sum of the squares about the mean, that is without a constant offset, which no one hears. 0 where a sample is no number.
    pub(crate) fn energy(self) -> f64 {
        (self.squares - self.sum * self.sum / self.n.max(1) as f64).max(0.0)
    }

    /// Mean square about the mean; 0 of no samples.
    pub(crate) fn power(self) -> f64 {
        self.energy() / self.n.max(1) as f64
    }
}

impl Block for Moments {
    type Kept = Moments;

    fn push(&mut self, samples: &[f32]) {
        self.n += samples.len();
        for &x in samples {
            let x = f64::from(x);
            self.sum += x;
            self.squares += x * x;
        }
    }

    fn close(self) -> Moments {
        self
    }
}

impl Sum for Moments {
    fn sum<I: Iterator<Item = Moments>>(parts: I) -> Moments {
        parts.fold(Moments::default(), |a, b| Moments {
            n: a.n + b.n,
            sum: a.sum + b.sum,
            squares: a.squares + b.squares,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    #[test]
    fn power_is_the_variance_of_the_textbook() {
        let samples = noise(1_000, 1);
        let mean = samples.iter().map(|&x| f64::from(x)).sum::<f64>() / 1_000.0;
        let variance = samples.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / 1_000.0;
        assert!((Moments::of(&samples).power() / variance - 1.0).abs() < 1e-12);
        let loud: Vec<f32> = samples.iter().map(|x| x + 0.7).collect();
        assert!((Moments::of(&loud).power() / variance - 1.0).abs() < 1e-5, "an offset is not heard");
        let parts: Moments = samples.chunks(300).map(Moments::of).sum();
        assert!((parts.power() / variance - 1.0).abs() < 1e-12 && parts.n == 1_000);
        for samples in [&[][..], &[0.3; 50], &[f32::NAN, 1.0], &[f32::INFINITY]] {
            assert!(Moments::of(samples).power() < 1e-15, "{samples:?}");
        }
    }
}
