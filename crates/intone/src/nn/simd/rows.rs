//! The kernels of a Transformer's element-wise layers, in plain arrays that the compiler turns into vectors.

/// Expands to the kernels of one instruction set. All take whole rows of `c` values.
macro_rules! row_kernels {
    ([$attr:meta]) => {
        use super::{LAYER_NORM_EPSILON, Moments};

        /// Values that are worked on together.
        const WIDE: usize = 32;

        /// `e^x` for `x` in [-50, 88.3], and the value at the nearer end outside; relative error below 2e-7.
        ///
        /// Single precision reaches down to -87, but numbers there become subnormal with the next factor, and a product of
        /// rows that holds some takes several times as long. Beside 1, 2e-22 is as good as nothing.
        ///
        /// `2^n e^r` with `|r| <= ln(2) / 2`; the polynomial is that of S. L. Moshier's Cephes library (`expf`).
        #[inline(always)]
        fn exp(x: f32) -> f32 {
            // Adding this leaves the nearest integer in the low bits.
            const ROUND: f32 = 12_582_912.0;
            let x = x.clamp(-50.0, 88.3);
            let shifted = x * std::f32::consts::LOG2_E + ROUND;
            let n = shifted - ROUND;
            // ln(2) in two parts, the first so short that its products with n are exact.
            let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
            let mut p = 1.987_569_1e-4;
            p = p * r + 1.398_199_9e-3;
            p = p * r + 8.333_452e-3;
            p = p * r + 4.166_579_6e-2;
            p = p * r + 0.166_666_66;
            p = p * r + 0.5;
            let y = p * r * r + r + 1.0;
            let power_of_two = (shifted.to_bits() << 23).wrapping_add(127 << 23);
            y * f32::from_bits(power_of_two)
        }

        /// The error function, within 5e-7: the rational approximation of Eigen (`generic_fast_erf_float`).
        #[inline(always)]
        fn erf(x: f32) -> f32 {
            let x = x.clamp(-4.0, 4.0);
            let z = x * x;
            let mut p = -2.726_142_4e-10;
            p = p * z + 2.770_681_5e-8;
            p = p * z - 2.101_024e-6;
            p = p * z - 5.692_506_2e-5;
            p = p * z - 7.349_906_4e-4;
            p = p * z - 2.954_6e-3;
            p = p * z - 1.609_603_3e-2;
            let mut q = -1.456_607_15e-5;
            q = q * z - 2.133_740_5e-4;
            q = q * z - 1.682_827e-3;
            q = q * z - 7.373_329_3e-3;
            q = q * z - 1.426_473_9e-2;
            x * p / q
        }

        /// `x * Phi(x)`, with the normal distribution's `Phi` (Hendrycks and Gimpel 2016, exact form).
        #[inline(always)]
        fn gelu(x: f32) -> f32 {
            0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
        }

        /// The derivative of [`gelu`].
        #[inline(always)]
        fn gelu_slope(x: f32) -> f32 {
            const DENSITY_AT_0: f32 = 0.398_942_3;
            0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)) + x * DENSITY_AT_0 * exp(-0.5 * x * x)
        }

        /// Sum of the values, in `WIDE` running sums.
        #[inline(always)]
        fn sum_of(x: &[f32], f: impl Fn(usize, f32) -> f32) -> f32 {
            let (wide, rest) = x.as_chunks::<WIDE>();
            let mut sums = [0.0f32; WIDE];
            for (block, x) in wide.iter().enumerate() {
                for i in 0..WIDE {
                    sums[i] += f(block * WIDE + i, x[i]);
                }
            }
            let from = wide.len() * WIDE;
            let rest: f32 = rest.iter().enumerate().map(|(i, &x)| f(from + i, x)).sum();
            sums.iter().sum::<f32>() + rest
        }

        #[$attr]
        unsafe fn bias_gelu(x: &[f32], bias: &[f32], out: &mut [f32]) {
            for (x, out) in x.chunks_exact(bias.len()).zip(out.chunks_exact_mut(bias.len())) {
                for ((x, bias), out) in x.iter().zip(bias).zip(out) {
                    *out = gelu(x + bias);
                }
            }
        }

        #[$attr]
        unsafe fn bias_gelu_grad(x: &[f32], bias: &[f32], grad: &mut [f32], by_bias: &mut [f32]) {
            for (x, grad) in x.chunks_exact(bias.len()).zip(grad.chunks_exact_mut(bias.len())) {
                for (((x, bias), grad), by_bias) in x.iter().zip(bias).zip(grad).zip(&mut *by_bias) {
                    *grad *= gelu_slope(x + bias);
                    *by_bias += *grad;
                }
            }
        }

        /// Mean and reciprocal standard deviation of one row.
        #[inline(always)]
        fn moments(x: &[f32]) -> Moments {
            let n = x.len() as f32;
            let mean = sum_of(x, |_, x| x) / n;
            let var = sum_of(x, |_, x| (x - mean) * (x - mean)) / n;
            Moments { mean, rstd: 1.0 / (var + LAYER_NORM_EPSILON).sqrt() }
        }

        #[$attr]
        unsafe fn layer_norm(x: &[f32], gamma: &[f32], beta: &[f32], out: &mut [f32]) {
            for (x, out) in x.chunks_exact(gamma.len()).zip(out.chunks_exact_mut(gamma.len())) {
                let Moments { mean, rstd } = moments(x);
                for (((x, out), gamma), beta) in x.iter().zip(out).zip(gamma).zip(beta) {
                    *out = (x - mean) * rstd * gamma + beta;
                }
            }
        }

        #[$attr]
        unsafe fn layer_norm_grad(
            x: &[f32],
            gamma: &[f32],
            grad: &mut [f32],
            by_gamma: &mut [f32],
            by_beta: &mut [f32],
        ) {
            let n = gamma.len() as f32;
            for (x, grad) in x.chunks_exact(gamma.len()).zip(grad.chunks_exact_mut(gamma.len())) {
                let Moments { mean, rstd } = moments(x);
                let sum = sum_of(grad, |i, g| g * gamma[i]) / n;
                let sum_x = sum_of(grad, |i, g| g * gamma[i] * ((x[i] - mean) * rstd)) / n;
                for i in 0..gamma.len() {
                    let normed = (x[i] - mean) * rstd;
                    by_gamma[i] += grad[i] * normed;
                    by_beta[i] += grad[i];
                    grad[i] = rstd * (grad[i] * gamma[i] - sum - normed * sum_x);
                }
            }
        }

        #[$attr]
        unsafe fn softmax_rows(x: &mut [f32], pitch: usize, n: usize) {
            for row in x.chunks_exact_mut(pitch) {
                let (row, beyond) = row.split_at_mut(n);
                let (wide, rest) = row.as_chunks::<WIDE>();
                let mut tops = [f32::NEG_INFINITY; WIDE];
                for x in wide {
                    for i in 0..WIDE {
                        tops[i] = tops[i].max(x[i]);
                    }
                }
                let top = tops.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
                for x in &mut *row {
                    *x = exp(*x - top);
                }
                let scale = 1.0 / sum_of(row, |_, x| x);
                for x in &mut *row {
                    *x *= scale;
                }
                beyond.fill(0.0);
            }
        }

        #[$attr]
        unsafe fn softmax_grad_rows(p: &[f32], grad: &mut [f32], pitch: usize, n: usize) {
            for (p, grad) in p.chunks_exact(pitch).zip(grad.chunks_exact_mut(pitch)) {
                let (p, grad) = (&p[..n], &mut grad[..n]);
                let sum = sum_of(grad, |i, g| g * p[i]);
                for (grad, p) in grad.iter_mut().zip(p) {
                    *grad = p * (*grad - sum);
                }
            }
        }
    };
}
