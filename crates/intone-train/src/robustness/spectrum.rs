//! Filters by way of the spectrum.

use intone_fft::{Complex, forward_f64};

/// The convolution of two signals, as long as both together less one.
pub(super) fn convolved(a: &[f32], b: &[f32]) -> Vec<f32> {
    let n = a.len() + b.len() - 1;
    let len = n.next_power_of_two();
    let product: Vec<_> = transformed(a, len).iter().zip(transformed(b, len)).map(|(a, b)| a * b).collect();
    inverse(product, n)
}

/// What lies between two frequencies; the edges are half a cosine of a tenth of their frequency.
pub(super) fn band(samples: &[f32], rate_hz: f64, (low_hz, high_hz): (f64, f64)) -> Vec<f32> {
    let len = (samples.len() + (rate_hz * 0.1) as usize).next_power_of_two();
    let mut spectrum = transformed(samples, len);
    for (bin, value) in spectrum.iter_mut().enumerate() {
        let hz = bin.min(len - bin) as f64 * rate_hz / len as f64;
        *value *= edge(hz, low_hz) * (1.0 - edge(hz, high_hz));
    }
    inverse(spectrum, samples.len())
}

/// 0 below the edge, 1 above it.
fn edge(hz: f64, edge_hz: f64) -> f64 {
    let place = ((hz - edge_hz) / (0.1 * edge_hz) + 0.5).clamp(0.0, 1.0);
    0.5 - 0.5 * (std::f64::consts::PI * place).cos()
}

fn transformed(samples: &[f32], len: usize) -> Vec<Complex<f64>> {
    let mut values: Vec<_> = samples.iter().map(|&x| Complex::new(f64::from(x), 0.0)).collect();
    values.resize(len, Complex::new(0.0, 0.0));
    forward_f64(len).process(&mut values);
    values
}

/// The first `n` samples of a spectrum that belongs to real ones: the conjugate of the conjugate's transform.
fn inverse(mut spectrum: Vec<Complex<f64>>, n: usize) -> Vec<f32> {
    let len = spectrum.len();
    spectrum.iter_mut().for_each(|value| *value = value.conj());
    forward_f64(len).process(&mut spectrum);
    spectrum.iter().take(n).map(|value| (value.re / len as f64) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn convolution_is_the_textbooks_sum() {
        let (a, b) = ([1.0, -2.0, 3.0, 0.5], [0.5, 4.0, -1.0]);
        let mut expected = vec![0.0; 6];
        for (i, x) in a.iter().enumerate() {
            b.iter().enumerate().for_each(|(j, y)| expected[i + j] += x * y);
        }
        let got = convolved(&a, &b);
        assert_eq!(got.len(), 6);
        assert!(got.iter().zip(&expected).all(|(x, y)| (x - y).abs() < 1e-6), "{got:?} {expected:?}");
    }
}
