//! The mel filter bank: triangles on Slaney's mel scale.

/// Triangular filters over the bins of a power spectrum, stored without their zeros: at 128 bands over 1,025
/// bins two weights in a hundred are not zero.
///
/// Weights equal `librosa.filters.mel(htk=False, norm="slaney")` (0.11). Scale and normalisation are those of
/// M. Slaney, "Auditory Toolbox, Version 2", Interval Research 1998-010, `mfcc.m`: linear below 1 kHz,
/// logarithmic above, each triangle of area 2 / (its width in Hz).
#[derive(Debug)]
pub(super) struct MelBank {
    bands: Vec<Band>,
    /// The weights of all bands, one band after the other, each filled up with zeros.
    weights: Vec<[f32; LANES]>,
}

/// Weights that are applied at once.
const LANES: usize = 8;

/// One filter: `n_bins` weights for the bins from `first_bin` on.
#[derive(Debug)]
struct Band {
    first_bin: usize,
    n_bins: usize,
}

impl MelBank {
    /// `n_mels` triangles between `fmin_hz` and `fmax_hz` for a transform of `n_fft` samples. A triangle
    /// that is narrower than the distance of two bins can be empty; its band is then silent.
    pub(super) fn new(
        sample_rate_hz: u32,
        n_fft: usize,
        n_mels: usize,
        fmin_hz: f64,
        fmax_hz: f64,
    ) -> MelBank {
        // The operations and their order are librosa's, so that the weights are equal to the last bit.
        let bin_hz = 1.0 / (n_fft as f64 * (1.0 / f64::from(sample_rate_hz)));
        let corners_hz = mel_corners_hz(n_mels, fmin_hz, fmax_hz);
        let mut bank = MelBank { bands: Vec::with_capacity(n_mels), weights: Vec::new() };
        for corner in corners_hz.windows(3) {
            let (low, centre, high) = (corner[0], corner[1], corner[2]);
            let norm = 2.0 / (high - low);
            let weight = |bin: usize| {
                let hz = bin as f64 * bin_hz;
                let rising = -(low - hz) / (centre - low);
                let falling = (high - hz) / (high - centre);
                let triangle = rising.min(falling).max(0.0) as f32;
                (f64::from(triangle) * norm) as f32
            };
            let mut bins = (low / bin_hz) as usize..((high / bin_hz) as usize + 2).min(n_fft / 2 + 1);
            while !bins.is_empty() && weight(bins.start) == 0.0 {
                bins.start += 1;
            }
            while !bins.is_empty() && weight(bins.end - 1) == 0.0 {
                bins.end -= 1;
            }
            bank.bands.push(Band { first_bin: bins.start, n_bins: bins.len() });
            bank.weights.extend(bins.clone().step_by(LANES).map(|first| {
                let weights = |lane| if first + lane < bins.end { weight(first + lane) } else { 0.0 };
                std::array::from_fn(weights)
            }));
        }
        bank
    }

    /// Length of a power spectrum for [`MelBank::apply`]: its bins, and room for the zeros behind the last weight.
    pub(super) fn power_len(n_fft: usize) -> usize {
        n_fft / 2 + LANES
    }

    /// Band energies of one power spectrum: `power` has [`MelBank::power_len`] finite values, of which the first
    /// `n_fft / 2 + 1` count, `out` has `n_mels`.
    #[inline(always)]
    pub(super) fn apply(&self, power: &[f32], out: &mut [f32]) {
        let mut weights = self.weights.as_slice();
        for (out, band) in out.iter_mut().zip(&self.bands) {
            let (own, rest) = weights.split_at(band.n_bins.div_ceil(LANES));
            weights = rest;
            // Running sums in a fixed order.
            let mut sums = [0.0f32; LANES];
            for (weights, power) in own.iter().zip(power[band.first_bin..].as_chunks::<LANES>().0) {
                for lane in 0..LANES {
                    sums[lane] += weights[lane] * power[lane];
                }
            }
            let [a, b, c, d, e, f, g, h] = sums;
            *out = ((a + e) + (c + g)) + ((b + f) + (d + h));
        }
    }
}

/// The `n_mels + 2` corner frequencies of the triangles, Hz, evenly spaced in mel.
pub(super) fn mel_corners_hz(n_mels: usize, fmin_hz: f64, fmax_hz: f64) -> Vec<f64> {
    let (low, high) = (hz_to_mel(fmin_hz), hz_to_mel(fmax_hz));
    let step = (high - low) / (n_mels + 1) as f64;
    let mut mels: Vec<f64> = (0..n_mels + 1).map(|i| i as f64 * step + low).collect();
    mels.push(high);
    mels.into_iter().map(mel_to_hz).collect()
}

/// Slaney's scale: a mel is 200/3 Hz up to here.
const LOG_FROM_HZ: f64 = 1_000.0;
const LOG_FROM_MEL: f64 = LOG_FROM_HZ / HZ_PER_MEL;
const HZ_PER_MEL: f64 = 200.0 / 3.0;

/// Above 1 kHz, 27 mels multiply the frequency by 6.4.
fn log_step() -> f64 {
    6.4f64.ln() / 27.0
}

fn hz_to_mel(hz: f64) -> f64 {
    if hz >= LOG_FROM_HZ { LOG_FROM_MEL + (hz / LOG_FROM_HZ).ln() / log_step() } else { hz / HZ_PER_MEL }
}

fn mel_to_hz(mel: f64) -> f64 {
    if mel >= LOG_FROM_MEL {
        LOG_FROM_HZ * (log_step() * (mel - LOG_FROM_MEL)).exp()
    } else {
        HZ_PER_MEL * mel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sparse_bank_is_the_textbook_sum() {
        // Slaney's triangles written out as a dense matrix, in double precision.
        for (rate, n_fft, n_mels, fmin, fmax) in [
            (22_050, 2_048, 128, 0.0, 11_025.0),
            (16_000, 400, 80, 20.0, 7_600.0),
            (8_000, 64, 60, 0.0, 4_000.0),
        ] {
            let bank = MelBank::new(rate, n_fft, n_mels, fmin, fmax);
            let power: Vec<f32> =
                (0..MelBank::power_len(n_fft)).map(|k| ((k * 7919) % 101) as f32 + 0.5).collect();
            let mut got = vec![f32::NAN; n_mels];
            bank.apply(&power, &mut got);
            let corners = mel_corners_hz(n_mels, fmin, fmax);
            for m in 0..n_mels {
                let want: f64 = (0..=n_fft / 2)
                    .map(|k| {
                        let hz = k as f64 * f64::from(rate) / n_fft as f64;
                        let rising = (hz - corners[m]) / (corners[m + 1] - corners[m]);
                        let falling = (corners[m + 2] - hz) / (corners[m + 2] - corners[m + 1]);
                        let height = 2.0 / (corners[m + 2] - corners[m]);
                        rising.min(falling).max(0.0) * height * f64::from(power[k])
                    })
                    .sum();
                assert!(
                    (f64::from(got[m]) - want).abs() <= 1e-6 * want.max(1e-3),
                    "band {m}: {} {want}",
                    got[m]
                );
            }
        }
    }

    #[test]
    fn the_mel_scale_meets_slaneys_values() {
        for (hz, mel) in [(0.0, 0.0), (200.0 / 3.0, 1.0), (1_000.0, 15.0), (6_400.0, 42.0)] {
            assert!((hz_to_mel(hz) - mel).abs() < 1e-12, "{hz} Hz");
            assert!((mel_to_hz(mel) - hz).abs() < 1e-9, "{mel} mel");
        }
    }

    #[test]
    fn the_weights_are_librosas_to_the_last_bit() {
        // Made by reference/librosa_goldens.py, which describes the layout.
        let bytes =
            std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/librosa.safetensors")).unwrap();
        let goldens = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let integers = |name: &str| -> Vec<usize> {
            let tensor = goldens.tensor(name).unwrap();
            tensor.data().as_chunks::<8>().0.iter().map(|&x| i64::from_le_bytes(x) as usize).collect()
        };
        let want = goldens.tensor("mel_filters").unwrap();
        let want: Vec<f32> = want.data().as_chunks::<4>().0.iter().map(|&x| f32::from_le_bytes(x)).collect();
        let bank = MelBank::new(22_050, 2_048, 128, 0.0, 11_025.0);
        let first_bins: Vec<usize> = bank.bands.iter().map(|band| band.first_bin).collect();
        let n_bins: Vec<usize> = bank.bands.iter().map(|band| band.n_bins).collect();
        assert_eq!(first_bins, integers("mel_first_bin"));
        assert_eq!(n_bins, integers("mel_n_bins"));
        let mut weights = bank.weights.as_slice();
        let mut got = Vec::new();
        for band in &bank.bands {
            let (own, rest) = weights.split_at(band.n_bins.div_ceil(LANES));
            let (own, filling) = own.as_flattened().split_at(band.n_bins);
            assert!(filling.iter().all(|weight| *weight == 0.0));
            got.extend_from_slice(own);
            weights = rest;
        }
        assert_eq!(got, want);
    }
}
