//! Batch normalisation over channels, and max pooling with what surrounds it.
//!
//! Normalisation never makes a pass of its own: its statistics come from the convolution before it, its scale
//! and shift go into the convolution or the pooling behind it, and here are the few numbers per channel between.

use rayon::prelude::*;

use super::conv::ChannelSums;
use super::simd::{Affine, BLOCK, Dropout, NormGrad, kernels};

/// What batch normalisation adds to the variance (Ioffe and Szegedy 2015; the default of PyTorch).
pub(crate) const EPSILON: f32 = 1e-5;

/// Mean and biased variance of each channel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Statistics {
    pub(crate) mean: Vec<f32>,
    pub(crate) var: Vec<f32>,
}

impl Statistics {
    /// From sums and sums of squares over `count` values.
    pub(crate) fn of(sums: &ChannelSums, count: usize) -> Statistics {
        let n = count as f64;
        let mean: Vec<f64> = sums.sum.iter().map(|s| s / n).collect();
        let var = sums.sum_product.iter().zip(&mean).map(|(q, m)| (q / n - m * m).max(0.0) as f32).collect();
        Statistics { mean: mean.into_iter().map(|m| m as f32).collect(), var }
    }

    /// Normalisation with these statistics as a factor and a summand.
    pub(crate) fn affine(&self, gamma: &[f32], beta: &[f32]) -> Affine {
        let scale: Vec<f32> = gamma.iter().zip(&self.var).map(|(g, v)| g / (v + EPSILON).sqrt()).collect();
        let shift = beta.iter().zip(&self.mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
        Affine { scale, shift }
    }

    /// The constants of the way back, and the gradients by gamma and beta, from the sums of the gradient `g`
    /// behind the normalisation and of `g * y`, over `count` values.
    pub(crate) fn grad(
        &self,
        gamma: &[f32],
        sums: &ChannelSums,
        count: usize,
    ) -> (NormGrad, Vec<f32>, Vec<f32>) {
        let n = count as f64;
        let c = gamma.len();
        let mut norm = NormGrad { a: vec![0.0; c], k1: vec![0.0; c], k2: vec![0.0; c] };
        let (mut d_gamma, mut d_beta) = (vec![0.0; c], vec![0.0; c]);
        for i in 0..c {
            let (mean, rstd) = (f64::from(self.mean[i]), 1.0 / f64::from(self.var[i] + EPSILON).sqrt());
            let a = f64::from(gamma[i]) * rstd;
            let by_gamma = (sums.sum_product[i] - sums.sum[i] * mean) * rstd;
            // dy = a * (g - mean(g) - y_hat * mean(g * y_hat)), with y_hat = (y - mean) * rstd.
            let k1 = -a * rstd * by_gamma / n;
            norm.a[i] = a as f32;
            norm.k1[i] = k1 as f32;
            norm.k2[i] = (-a * sums.sum[i] / n - k1 * mean) as f32;
            d_gamma[i] = by_gamma as f32;
            d_beta[i] = sums.sum[i] as f32;
        }
        (norm, d_gamma, d_beta)
    }
}

/// In place on a whole batch: `grad = grad * a + y * k1 + k2`.
pub(crate) fn apply_grad(y: &[f32], norm: &NormGrad, grad: &mut [f32]) {
    let len = 256 * norm.a.len();
    grad.par_chunks_mut(len).zip(y.par_chunks(len)).for_each(|(g, y)| kernels().norm_grad_apply(y, norm, g));
}

/// 2 x 2 max pooling of `relu(y * scale + shift)` with dropout: `y` `[n, height, width, c]`, `out`
/// `[n, height / 2, width / 2, c]`.
pub(crate) fn pool(
    y: &[f32],
    height: usize,
    width: usize,
    affine: &Affine,
    dropout: Dropout,
    out: &mut [f32],
) {
    let c = affine.scale.len();
    let out_len = (height / 2) * (width / 2) * c;
    out.par_chunks_mut(out_len).zip(y.par_chunks(height * width * c)).enumerate().for_each(
        |(i, (out, y))| {
            kernels().pool_rows(y, width, affine, dropout, (i * out_len) as u32, out);
        },
    );
}

/// The way back of [`pool`] behind batch normalisation: writes the gradient by `y` to `d_y` and returns the
/// gradients by gamma and beta.
#[expect(clippy::too_many_arguments, reason = "the tensors of one layer's way back")]
pub(crate) fn pool_backward(
    y: &[f32],
    height: usize,
    width: usize,
    statistics: &Statistics,
    gamma: &[f32],
    beta: &[f32],
    dropout: Dropout,
    d_out: &[f32],
    d_y: &mut [f32],
) -> (Vec<f32>, Vec<f32>) {
    let c = gamma.len();
    let (in_len, out_len) = (height * width * c, (height / 2) * (width / 2) * c);
    let affine = &statistics.affine(gamma, beta);
    let parts: Vec<ChannelSums> = y
        .par_chunks(in_len)
        .zip(d_out.par_chunks(out_len))
        .enumerate()
        .map(|(i, (y, d_out))| {
            let mut sums = ChannelSums::zero(c);
            let (mut sum, mut sum_y) = (vec![0.0; c], vec![0.0; c]);
            // A few rows at a time, so that no sum in single precision grows long.
            let (rows, out_rows) = (16 * width * c, 8 * (width / 2) * c);
            let pooled = y[..height / 2 * 2 * width * c].chunks(rows).zip(d_out.chunks(out_rows));
            for (block, (y, d_out)) in pooled.enumerate() {
                sum.fill(0.0);
                sum_y.fill(0.0);
                let first = (i * out_len + block * out_rows) as u32;
                kernels().pool_grad_sums(y, width, affine, dropout, first, d_out, &mut sum, &mut sum_y);
                sums.add(&sum, &sum_y);
            }
            sums
        })
        .collect();
    let (norm, d_gamma, d_beta) = statistics.grad(gamma, &ChannelSums::total(c, parts), y.len() / c);
    d_y.par_chunks_mut(in_len).zip(y.par_chunks(in_len)).zip(d_out.par_chunks(out_len)).enumerate().for_each(
        |(i, ((d_y, y), d_out))| {
            kernels().pool_grad_apply(y, width, affine, dropout, (i * out_len) as u32, d_out, &norm, d_y);
        },
    );
    (d_gamma, d_beta)
}

/// Whether the kernels take this number of channels; others go through the framework's own operations.
pub(crate) fn is_fast(channels: usize) -> bool {
    channels > 0 && channels.is_multiple_of(BLOCK)
}
