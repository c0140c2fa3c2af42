//! Longer or shorter at the same pitch: waveform-similarity overlap-add (Verhelst and Roelands 1993).

use std::ops::RangeInclusive;
use std::sync::Arc;

use intone_fft::{Complex, Fft, forward_f64};

/// Length of the pieces that are put together, seconds: some periods of a low voice.
const PIECE_S: f64 = 0.04;

/// How far a piece may be moved to fit the one before, seconds: half a period of 70 Hz.
const SEARCH_S: f64 = 0.007;

/// A recording made `factor` times as long.
pub(crate) fn stretched(samples: &[f32], rate_hz: f64, factor: f64) -> Vec<f32> {
    let half = ((PIECE_S * rate_hz / 2.0) as usize).max(1);
    let search = (SEARCH_S * rate_hz) as usize;
    let n_out = ((samples.len() as f64 * factor).round() as usize).max(1);
    if samples.len() < 2 * half + 2 * search {
        // Too short for pieces: as it is, repeated or cut.
        return samples.iter().copied().cycle().take(n_out).collect();
    }
    let last = samples.len() - 2 * half;
    let mut out = vec![0.0; n_out + 2 * half];
    let mut weights = vec![0.0f32; n_out + 2 * half];
    let window: Vec<f32> = (0..2 * half)
        .map(|i| (0.5 - 0.5 * (std::f64::consts::PI * (i as f64 + 0.5) / half as f64).cos()) as f32)
        .collect();
    let likeness = Likeness::new(samples, half, 2 * search + 1);
    let mut from: Option<usize> = None;
    for at in (0..n_out).step_by(half) {
        let wanted = ((at as f64 / factor) as usize).min(last);
        let start = match from {
            // The piece that resembles most how the one before goes on.
            Some(before) => {
                let follows = (before + half).min(last);
                likeness.best(wanted.saturating_sub(search)..=(wanted + search).min(last), follows)
            }
            None => wanted,
        };
        for (i, weight) in window.iter().enumerate() {
            out[at + i] += weight * samples[start + i];
            weights[at + i] += weight;
        }
        from = Some(start);
    }
    out.truncate(n_out);
    out.iter_mut().zip(weights).for_each(|(x, weight)| *x /= weight.max(1e-3));
    out
}

/// How much parts of a recording, all of one length, resemble each other.
struct Likeness<'a> {
    samples: &'a [f32],
    len: usize,
    transform: Arc<dyn Fft<f64>>,
}

impl Likeness<'_> {
    /// Of parts of `len` samples, up to `n_starts` of which are compared with another at once.
    fn new(samples: &[f32], len: usize, n_starts: usize) -> Likeness<'_> {
        Likeness { samples, len, transform: forward_f64((len + n_starts).next_power_of_two()) }
    }

    /// The cosine of the two parts, times the length of the one from `follows` on.
    fn of(&self, start: usize, follows: usize) -> f64 {
        let pair = self.samples[start..][..self.len].iter().zip(&self.samples[follows..][..self.len]);
        let (dot, energy) = pair
            .fold((0.0, 1e-12), |(dot, energy), (a, b)| (dot + f64::from(a * b), energy + f64::from(a * a)));
        dot / energy.sqrt()
    }

    /// Which of the parts resembles most the one from `follows` on; of equal ones the last. All are compared by way of the
    /// spectrum, and then those once more that this cannot tell from the best: what is found is what a search among all
    /// of them finds, much sooner.
    fn best(&self, starts: RangeInclusive<usize>, follows: usize) -> usize {
        let (first, last) = (*starts.start(), *starts.end());
        let region = &self.samples[first..last + self.len];
        let follows_part = &self.samples[follows..][..self.len];
        let square = |x: &f32| f64::from(*x).powi(2);
        let (region_norm, norm) = (
            region.iter().map(square).sum::<f64>().sqrt(),
            follows_part.iter().map(square).sum::<f64>().sqrt(),
        );
        if region_norm == 0.0 || norm == 0.0 {
            // All are alike.
            return last;
        }
        let dots = self.dots((region, region_norm), (follows_part, norm));
        let mut energy: f64 = region[..self.len].iter().map(square).sum();
        // Of each part the least and the most that its likeness is.
        let bounds = dots.iter().take(last - first + 1).enumerate().map(|(i, dot)| {
            let part_norm = (energy.max(0.0) + 1e-12).sqrt();
            if let Some(next) = region.get(i + self.len) {
                energy += square(next) - square(&region[i]);
            }
            let times = region_norm / part_norm;
            // Products of single precision in the definition; sums of double precision here, of which more is lost where the
            // part is much softer than what lies around it.
            let error = norm * (1e-6 + 1e-12 * times.powi(2));
            let likeness = norm * times * dot;
            (likeness - error, likeness + error)
        });
        let bounds: Vec<(f64, f64)> = bounds.collect();
        let least = bounds.iter().fold(f64::NEG_INFINITY, |least, bounds| least.max(bounds.0));
        let close = (first..=last).zip(&bounds).filter(|(_, (_, most))| *most >= least);
        let close = close.map(|(start, _)| (self.of(start, follows), start));
        close.max_by(|a, b| a.0.total_cmp(&b.0)).map_or(last, |(_, start)| start)
    }

    /// The scalar products of a part with those from each place of a region on, both divided by their norms.
    fn dots(&self, (region, region_norm): (&[f32], f64), (part, norm): (&[f32], f64)) -> Vec<f64> {
        let n = self.transform.len();
        let scaled = |x: Option<&f32>, norm: f64| x.map_or(0.0, |x| f64::from(*x) / norm);
        // Both at once: the spectrum of real values is even in its real part and odd in its imaginary part.
        let mut both: Vec<Complex<f64>> = (0..n)
            .map(|i| Complex::new(scaled(region.get(i), region_norm), scaled(part.get(i), norm)))
            .collect();
        self.transform.process(&mut both);
        let mut product: Vec<Complex<f64>> = (0..n)
            .map(|k| {
                let (here, mirrored) = (both[k], both[(n - k) % n].conj());
                let (of_region, of_part) = (here + mirrored, (here - mirrored) * Complex::new(0.0, -1.0));
                (of_region * of_part.conj()).conj()
            })
            .collect();
        // Backwards: the conjugate of the conjugate's transform, and real. The two halves above are yet to be taken.
        self.transform.process(&mut product);
        product.iter().map(|value| value.re / (4 * n) as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, normal, stream};

    const RATE_HZ: f64 = 16_000.0;

    /// A voice whose pitch and loudness change, with `noise` in it, and a pause of digital silence.
    fn voice(noise: f32) -> Vec<f32> {
        let mut rng = stream(1, Purpose::Perturb, 0, 0);
        let mut phase = 0.0f32;
        let mut samples: Vec<f32> = (0..20_000)
            .map(|i| {
                let t = i as f32 / RATE_HZ as f32;
                phase += std::f32::consts::TAU * (150.0 + 60.0 * (7.0 * t).sin()) / RATE_HZ as f32;
                let sound: f32 = (1..12).map(|k| (k as f32 * phase).sin() / k as f32).sum();
                0.2 * (5.0 * t).sin().abs() * sound + noise * normal(&mut rng)
            })
            .collect();
        samples[8_000..11_000].fill(0.0);
        samples
    }

    #[test]
    fn the_likeness_that_is_found_is_the_textbooks_largest() {
        let soft: Vec<f32> =
            voice(0.01).iter().enumerate().map(|(i, x)| x * 10f32.powi(-(i as i32) / 2_500)).collect();
        let tone: Vec<f32> = (0..20_000).map(|i| (i as f32 * 0.1).sin()).collect();
        let cases = [voice(0.0), voice(0.01), voice(1.0), soft, tone, vec![0.25; 20_000]];
        for (case, samples) in cases.iter().enumerate() {
            let likeness = Likeness::new(samples, 320, 225);
            for place in 0..120usize {
                let (wanted, follows) = (place * 160, (place * 160 + 97 * (place % 7)).min(19_000));
                let starts = wanted.saturating_sub(112)..=(wanted + 112).min(19_680);
                let of = |start: usize| likeness.of(start, follows);
                let expected = starts.clone().max_by(|&a, &b| of(a).total_cmp(&of(b)));
                assert_eq!(Some(likeness.best(starts, follows)), expected, "case {case}, place {place}");
            }
        }
    }

    #[test]
    fn lengths_are_as_asked_for() {
        for (n, factor, expected) in
            [(20_000, 1.25, 25_000), (20_000, 0.8, 16_000), (300, 1.5, 450), (0, 2.0, 0)]
        {
            assert_eq!(stretched(&voice(0.01)[..n], RATE_HZ, factor).len(), expected, "{n} {factor}");
        }
    }
}
