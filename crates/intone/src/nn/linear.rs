//! Products of rows with a matrix, and the element-wise layers between them, on all threads.
//!
//! Rows are shared out in pieces whose size does not depend on the number of threads where sums are taken over them: the
//! result is the same to the bit on any machine with the same vector width.

use rayon::prelude::*;

use super::simd::{BLOCK, Product, kernels};

/// Rows that sums are taken over in one piece.
const ROWS_IN_A_SUM: usize = 64;

/// A matrix as the kernel takes it, `[c_out / 32, c_in, 32]`; missing output channels are zeros.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Packed {
    c_in: usize,
    c_out: usize,
    values: Vec<f32>,
}

impl Packed {
    /// From a layer's weight `[c_out, c_in]`.
    pub(crate) fn from_rows(weight: &[f32], c_in: usize) -> Packed {
        let c_out = weight.len() / c_in;
        let mut values = vec![0.0; c_out.next_multiple_of(BLOCK) * c_in];
        for (o, row) in weight.chunks_exact(c_in).enumerate() {
            let block = &mut values[o / BLOCK * c_in * BLOCK..];
            for (i, value) in row.iter().enumerate() {
                block[i * BLOCK + o % BLOCK] = *value;
            }
        }
        Packed { c_in, c_out, values }
    }

    /// From `n` rows of `c_out` values that begin `pitch` apart, `[c_in, c_out]`.
    pub(crate) fn from_columns(x: &[f32], n: usize, pitch: usize, c_out: usize) -> Packed {
        let mut values = vec![0.0; c_out.next_multiple_of(BLOCK) * n];
        for (block, values) in values.chunks_exact_mut(n * BLOCK).enumerate() {
            let width = BLOCK.min(c_out - block * BLOCK);
            for (t, values) in values.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
                values[..width].copy_from_slice(&x[t * pitch + block * BLOCK..][..width]);
            }
        }
        Packed { c_in: n, c_out, values }
    }

    /// Output channels with those that fill up the last block.
    pub(crate) fn c_out_filled(&self) -> usize {
        self.c_out.next_multiple_of(BLOCK)
    }

    /// `x W` on this thread, `[n, c_out_filled]`; row `t` of `x` begins at `t * pitch`.
    pub(crate) fn apply(&self, x: &[f32], n: usize, pitch: usize, out: &mut [f32]) {
        let shape = Product { n, pitch, c_in: self.c_in, c_out: self.c_out_filled() };
        kernels().linear_rows(shape, x, &self.values, out);
    }

    /// `x W` on all threads.
    pub(crate) fn apply_all(&self, x: &[f32], n: usize, pitch: usize, out: &mut [f32]) {
        let c_out = self.c_out_filled();
        // Few and large pieces: each reads all weights.
        let rows = n.div_ceil(rayon::current_num_threads()).clamp(1, 256);
        out.par_chunks_mut(rows * c_out).enumerate().for_each(|(piece, out)| {
            self.apply(&x[piece * rows * pitch..], out.len() / c_out, pitch, out);
        });
    }
}

/// `gelu(x + bias)`; `x` `[n, c]`.
pub(crate) fn bias_gelu(x: &[f32], bias: &[f32], out: &mut [f32]) {
    let piece = ROWS_IN_A_SUM * bias.len();
    out.par_chunks_mut(piece).zip(x.par_chunks(piece)).for_each(|(out, x)| kernels().bias_gelu(x, bias, out));
}

/// Layer normalisation of each row; `x` `[n, c]`.
pub(crate) fn layer_norm(x: &[f32], gamma: &[f32], beta: &[f32], out: &mut [f32]) {
    let piece = ROWS_IN_A_SUM * gamma.len();
    out.par_chunks_mut(piece)
        .zip(x.par_chunks(piece))
        .for_each(|(out, x)| kernels().layer_norm(x, gamma, beta, out));
}

/// The way back of [`bias_gelu`], in place. Returns the gradient by the bias.
pub(crate) fn bias_gelu_grad(x: &[f32], bias: &[f32], grad: &mut [f32]) -> Vec<f32> {
    let piece = ROWS_IN_A_SUM * bias.len();
    let parts: Vec<Vec<f32>> = grad
        .par_chunks_mut(piece)
        .zip(x.par_chunks(piece))
        .map(|(grad, x)| {
            let mut by_bias = vec![0.0; bias.len()];
            kernels().bias_gelu_grad(x, bias, grad, &mut by_bias);
            by_bias
        })
        .collect();
    sum(bias.len(), &parts)
}

/// The way back of [`layer_norm`], in place. Returns the gradients by `gamma` and `beta`.
pub(crate) fn layer_norm_grad(x: &[f32], gamma: &[f32], grad: &mut [f32]) -> (Vec<f32>, Vec<f32>) {
    let piece = ROWS_IN_A_SUM * gamma.len();
    let parts: (Vec<Vec<f32>>, Vec<Vec<f32>>) = grad
        .par_chunks_mut(piece)
        .zip(x.par_chunks(piece))
        .map(|(grad, x)| {
            let (mut by_gamma, mut by_beta) = (vec![0.0; gamma.len()], vec![0.0; gamma.len()]);
            kernels().layer_norm_grad(x, gamma, grad, &mut by_gamma, &mut by_beta);
            (by_gamma, by_beta)
        })
        .unzip();
    (sum(gamma.len(), &parts.0), sum(gamma.len(), &parts.1))
}

/// The sum of all parts, in their order.
fn sum(n: usize, parts: &[Vec<f32>]) -> Vec<f32> {
    let mut total = vec![0.0; n];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    total
}
