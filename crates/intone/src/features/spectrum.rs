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
    /// Real and imaginary parts of `exp(-2 pi i k / n_fft)` for `k` in `1..=n_fft / 4`.
    twiddles: [Vec<f64>; 2],
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
            twiddles: [|x: f64| x.cos(), |x: f64| -x.sin()]
                .map(|part| (1..=n_fft / 4).map(|k| part(turn(k))).collect()),
        }
    }

    pub(super) fn scratch(&self) -> Scratch {
        Scratch {
            packed: vec![Complex::default(); self.fft.len()],
            fft: vec![Complex::default(); self.fft.get_inplace_scratch_len()],
        }
    }

    /// The power at each frequency, `[n_fft / 2 + 1]`, of one frame: `before` zeros, `samples`, and zeros up to
    /// its length. What `power` has beyond these stays as it is.
    #[inline(always)]
    pub(super) fn power(&self, before: usize, samples: &[f32], scratch: &mut Scratch, power: &mut [f32]) {
        let Scratch { packed, fft } = scratch;
        self.pack(before, samples, packed);
        self.fft.process_with_scratch(packed, fft);

        // The transform z of the packed samples holds those of the even and of the odd ones, e and o. With both
        // doubled by now:
        //     e[k] = z[k] + conj z[n - k],   o[k] = (z[k] - conj z[n - k]) / i
        // and the frame's own is x[k] = e[k] + w^k o[k], x[n - k] = conj(e[k] - w^k o[k]), w = exp(-pi i / n).
        const LANES: usize = 4;
        let n = packed.len();
        let n_pairs = (n - 1) / 2;
        let [w_re, w_im] = self.twiddles.each_ref().map(|part| &part[..n_pairs]);
        let (rising, falling) = (&packed[1..][..n_pairs], &packed[n - n_pairs..]);
        let (low, high) = power[..=n].split_at_mut(n / 2 + 1);
        let high_middle = high.len() - 1;
        let (low_pairs, high_pairs) = (&mut low[1..][..n_pairs], &mut high[..high_middle]);
        let whole = n_pairs / LANES * LANES;
        for i in (0..whole).step_by(LANES) {
            pair_powers::<LANES>(i, rising, falling, [w_re, w_im], low_pairs, high_pairs);
        }
        for i in whole..n_pairs {
            pair_powers::<1>(i, rising, falling, [w_re, w_im], low_pairs, high_pairs);
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
    #[inline(always)]
    fn pack(&self, before: usize, samples: &[f32], packed: &mut [Complex<f64>]) {
        let n_fft = self.half_window.len();
        if samples.len() == n_fft {
            // Eight at a time, as vectors like it.
            let (packed, last) = packed.as_chunks_mut::<4>();
            let (samples, last_samples) = samples.as_chunks::<8>();
            let (weights, last_weights) = self.half_window.as_chunks::<8>();
            for ((packed, samples), weights) in packed.iter_mut().zip(samples).zip(weights) {
                let windowed: [f64; 8] = std::array::from_fn(|i| f64::from(samples[i]) * weights[i]);
                *packed = std::array::from_fn(|i| Complex::new(windowed[2 * i], windowed[2 * i + 1]));
            }
            let last_pairs = last_samples.as_chunks::<2>().0.iter().zip(last_weights.as_chunks::<2>().0);
            for (value, (sample, weight)) in last.iter_mut().zip(last_pairs) {
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

/// The powers of `N` bins from the `i`th pair on, counted up from the one end, and of their mirror images, counted down from
/// the other. All slices hold one value for each pair. Without branches and in plain arrays, so that it becomes vectors.
#[inline(always)]
fn pair_powers<const N: usize>(
    i: usize,
    rising: &[Complex<f64>],
    falling: &[Complex<f64>],
    [w_re, w_im]: [&[f64]; 2],
    low: &mut [f32],
    high: &mut [f32],
) {
    let mirror = rising.len() - i - N;
    let (a, b) = (&rising[i..][..N], &falling[mirror..][..N]);
    let (w_re, w_im) = (&w_re[i..][..N], &w_im[i..][..N]);
    let (mut low_powers, mut high_powers) = ([0.0; N], [0.0; N]);
    for k in 0..N {
        let (a, b) = (a[k], b[N - 1 - k]);
        let (even_re, even_im) = (a.re + b.re, a.im - b.im);
        let (odd_re, odd_im) = (a.im + b.im, b.re - a.re);
        let (odd_re, odd_im) = (odd_re * w_re[k] - odd_im * w_im[k], odd_re * w_im[k] + odd_im * w_re[k]);
        let (sum_re, sum_im) = (even_re + odd_re, even_im + odd_im);
        let (difference_re, difference_im) = (even_re - odd_re, even_im - odd_im);
        low_powers[k] = (sum_re * sum_re + sum_im * sum_im) as f32;
        high_powers[N - 1 - k] = (difference_re * difference_re + difference_im * difference_im) as f32;
    }
    low[i..][..N].copy_from_slice(&low_powers);
    high[mirror..][..N].copy_from_slice(&high_powers);
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
                let mut power = vec![f32::NAN; n_fft / 2 + 1];
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
