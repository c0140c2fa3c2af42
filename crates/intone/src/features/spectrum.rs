//! From samples to the power of each frequency.

use std::f64::consts::TAU;
use std::sync::Arc;

use intone_fft::{Complex, Fft};

/// The Fourier transform of a frame under a periodic Hann window, planned for one length; only powers come out.
///
/// In double precision, as librosa's is: in single precision the rounding of a loud tone shows 80 dB below it, and
/// 7 of 400 tones and sweeps missed librosa's values by more than 1e-3 dB (now: by at most 1.5e-5 dB); it would
/// save a quarter of the time.
pub(super) struct Spectrum {
    /// Transforms `n_fft / 2` complex numbers: neighbouring samples taken as real and imaginary part.
    fft: Arc<dyn Fft<f64>>,
    /// Half the window, `[n_fft]`; the half is what [`Spectrum::power`] would divide by.
    half_window: Vec<f64>,
    /// `exp(-2 pi i k / n_fft)` for `k` in `0..=n_fft / 4`.
    twiddles: Vec<Complex<f64>>,
}

/// Memory that every frame uses again.
#[derive(Clone)]
pub(super) struct Scratch {
    packed: Vec<Complex<f64>>,
    fft: Vec<Complex<f64>>,
}

impl Spectrum {
    /// For frames of `n_fft` samples, an even number.
    pub(super) fn new(n_fft: usize) -> Spectrum {
        let turn = |n: usize| TAU * n as f64 / n_fft as f64;
        Spectrum {
            fft: intone_fft::forward_f64(n_fft / 2),
            half_window: (0..n_fft).map(|n| 0.25 - 0.25 * turn(n).cos()).collect(),
            twiddles: (0..=n_fft / 4).map(|k| Complex::from_polar(1.0, -turn(k))).collect(),
        }
    }

    /// Number of frequencies, `n_fft / 2 + 1`.
    pub(super) fn n_bins(&self) -> usize {
        self.fft.len() + 1
    }

    pub(super) fn scratch(&self) -> Scratch {
        Scratch {
            packed: vec![Complex::default(); self.fft.len()],
            fft: vec![Complex::default(); self.fft.get_inplace_scratch_len()],
        }
    }

    /// The power at each frequency, `[n_fft / 2 + 1]`, of one frame: `before` zeros, `samples`, and zeros up to
    /// its length.
    pub(super) fn power(&self, before: usize, samples: &[f32], scratch: &mut Scratch, power: &mut [f32]) {
        let Scratch { packed, fft } = scratch;
        self.pack(before, samples, packed);
        self.fft.process_with_scratch(packed, fft);

        // The transform z of the packed samples holds those of the even and of the odd ones, e and o. With both
        // doubled by now:
        //     e[k] = z[k] + conj z[n - k],   o[k] = (z[k] - conj z[n - k]) / i
        // and the frame's own is x[k] = e[k] + w^k o[k], x[n - k] = conj(e[k] - w^k o[k]), w = exp(-pi i / n).
        let n = packed.len();
        let (low, high) = power.split_at_mut(n / 2 + 1);
        let high_middle = high.len() - 1;
        let (rising, falling) = (packed[1..].iter(), packed[1..].iter().rev());
        let bins = low[1..].iter_mut().zip(high[..high_middle].iter_mut().rev());
        for (((a, b), w), (low, high)) in rising.zip(falling).zip(&self.twiddles[1..]).zip(bins) {
            let even = Complex::new(a.re + b.re, a.im - b.im);
            let odd = Complex::new(a.im + b.im, b.re - a.re) * w;
            *low = (even + odd).norm_sqr() as f32;
            *high = (even - odd).norm_sqr() as f32;
        }
        // The ends and, where there is one, the bin that is its own mirror image.
        let constant = packed[0];
        low[0] = (4.0 * (constant.re + constant.im).powi(2)) as f32;
        high[high_middle] = (4.0 * (constant.re - constant.im).powi(2)) as f32;
        if n.is_multiple_of(2) {
            low[n / 2] = (4.0 * packed[n / 2].norm_sqr()) as f32;
        }
    }

    /// The windowed frame, the even samples as real parts and the odd ones as imaginary parts.
    fn pack(&self, before: usize, samples: &[f32], packed: &mut [Complex<f64>]) {
        let n_fft = self.half_window.len();
        if samples.len() == n_fft {
            let windowed = samples.as_chunks::<2>().0.iter().zip(self.half_window.as_chunks::<2>().0);
            for (value, (sample, weight)) in packed.iter_mut().zip(windowed) {
                *value = Complex::new(f64::from(sample[0]) * weight[0], f64::from(sample[1]) * weight[1]);
            }
            return;
        }
        packed.fill(Complex::default());
        for (n, &sample) in (before..n_fft).zip(samples) {
            let value = f64::from(sample) * self.half_window[n];
            if n.is_multiple_of(2) { packed[n / 2].re = value } else { packed[n / 2].im = value }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_those_of_the_textbook_sum() {
        // Lengths with and without a bin in the middle of the packed transform, and one whose half is a prime.
        for n_fft in [16, 18, 20, 26, 64, 400, 2_048] {
            let samples: Vec<f32> =
                (0..n_fft).map(|n| ((n * n * 31 + 7 * n) % 97) as f32 / 97.0 - 0.3).collect();
            let spectrum = Spectrum::new(n_fft);
            for (before, kept) in [(0, n_fft), (0, n_fft - 3), (5, n_fft - 5), (n_fft - 1, 1), (7, 4), (3, 0)]
            {
                let mut power = vec![f32::NAN; spectrum.n_bins()];
                spectrum.power(before, &samples[..kept], &mut spectrum.scratch(), &mut power);
                assert_eq!(power.len(), n_fft / 2 + 1);
                let total: f32 = power.iter().sum();
                for (k, &got) in power.iter().enumerate() {
                    let (mut re, mut im) = (0.0, 0.0);
                    for (n, &sample) in (before..).zip(&samples[..kept]) {
                        let hann = (std::f64::consts::PI * n as f64 / n_fft as f64).sin().powi(2);
                        let angle = TAU * ((k * n) % n_fft) as f64 / n_fft as f64;
                        re += f64::from(sample) * hann * angle.cos();
                        im -= f64::from(sample) * hann * angle.sin();
                    }
                    let want = re * re + im * im;
                    let tolerance = 2e-7 * want + 1e-12 * f64::from(total);
                    assert!(
                        (f64::from(got) - want).abs() <= tolerance,
                        "{n_fft}, {before}, {k}: {got} {want}"
                    );
                }
            }
        }
    }
}
