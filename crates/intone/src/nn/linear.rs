//! Products of rows with a matrix, and the element-wise layers between them, on all threads.
//!
//! Rows are shared out in pieces whose size does not depend on the number of threads where sums are taken over them: the
//! result is the same to the bit on any machine with the same vector width.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::simd::{BLOCK, PairKernels, Product, Turned, buffer, kernels, pair_kernels};

mod bf16;
mod int8;

pub(crate) use int8::Int8Packed;

/// The numbers that matrix products of training are computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProductPrecision {
    /// Single precision.
    #[default]
    F32,
    /// Values rounded to bfloat16, sums in single precision: about twice as fast, where the processor has instructions
    /// for it (AVX-512 BF16); in single precision elsewhere.
    Bf16,
}

impl ProductPrecision {
    /// Whether this processor has instructions for it.
    pub fn is_native(self) -> bool {
        self == ProductPrecision::F32 || pair_kernels().is_some()
    }

    fn pairs(self) -> Option<&'static PairKernels> {
        match self {
            ProductPrecision::F32 => None,
            ProductPrecision::Bf16 => pair_kernels(),
        }
    }
}

/// The weights of a layer, row-major, as the file has them.
#[derive(Debug, Clone)]
pub(crate) enum LayerWeights {
    F32(Vec<f32>),
    /// 8-bit integers, and what the row of each output is to be scaled with.
    Int8 {
        values: Vec<i8>,
        scales: Vec<f32>,
    },
}

impl LayerWeights {
    /// The same in single precision.
    pub(crate) fn into_floats(self) -> Vec<f32> {
        match self {
            LayerWeights::F32(weight) => weight,
            LayerWeights::Int8 { values, scales } => {
                let rows = values.chunks_exact(values.len() / scales.len()).zip(scales);
                rows.flat_map(|(row, scale)| row.iter().map(move |&q| f32::from(q) * scale)).collect()
            }
        }
    }
}

/// Rows that sums are taken over in one piece.
const ROWS_IN_A_SUM: usize = 64;

/// A matrix as the kernel takes it, `[c_out / 32, c_in, 32]`; missing output channels are zeros.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Packed {
    c_in: usize,
    c_out: usize,
    values: Vec<f32>,
}

/// `apply(x, n, out)`: the product of `n` rows.
type ApplyRows<'a> = dyn Fn(&[f32], usize, &mut [f32]) + Sync + 'a;

impl Packed {
    /// From a layer's weight `[c_out, c_in]`.
    pub(crate) fn from_rows(weight: &[f32], c_in: usize) -> Packed {
        let mut packed = Packed::zeros(weight.len() / c_in, c_in);
        let blocks = packed.values.par_chunks_exact_mut(c_in * BLOCK);
        blocks.zip(weight.par_chunks(c_in * BLOCK)).for_each(|(values, rows)| {
            let shape = Turned { n: rows.len() / c_in, c: c_in, pitch: c_in, pitch_out: BLOCK };
            kernels().transpose(shape, rows, values);
        });
        packed
    }

    /// The same on this thread, from `c_out` rows that begin `pitch` apart.
    pub(crate) fn from_strided_rows(x: &[f32], c_out: usize, pitch: usize, c_in: usize) -> Packed {
        let mut packed = Packed::zeros(c_out, c_in);
        for (block, values) in packed.values.chunks_exact_mut(c_in * BLOCK).enumerate() {
            let n = BLOCK.min(c_out - block * BLOCK);
            let shape = Turned { n, c: c_in, pitch, pitch_out: BLOCK };
            kernels().transpose(shape, &x[block * BLOCK * pitch..], values);
        }
        packed
    }

    /// A matrix to be filled by [`put_row`](Packed::put_row).
    pub(crate) fn zeros(c_out: usize, c_in: usize) -> Packed {
        Packed { c_in, c_out, values: vec![0.0; c_out.next_multiple_of(BLOCK) * c_in] }
    }

    /// Row `o` of a layer's weight, `c_in` values.
    pub(crate) fn put_row(&mut self, o: usize, row: &[f32]) {
        let block = &mut self.values[o / BLOCK * self.c_in * BLOCK..];
        for (column, value) in block.as_chunks_mut::<BLOCK>().0.iter_mut().zip(row) {
            column[o % BLOCK] = *value;
        }
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
        let shape = Product::dense(n, pitch, self.c_in, self.c_out_filled());
        kernels().linear_rows(shape, x, &self.values, out);
    }

    /// `x W` on all threads, `[n, c_out]`; row `t` of `x` begins at `t * pitch`.
    pub(crate) fn product(&self, x: &[f32], n: usize, pitch: usize) -> Vec<f32> {
        self.product_by(&|x, n, out| self.apply(x, n, pitch, out), x, n, pitch)
    }

    /// The same by another kernel: `apply` does some of the rows on one thread.
    fn product_by(&self, apply: &ApplyRows<'_>, x: &[f32], n: usize, pitch: usize) -> Vec<f32> {
        let filled = self.c_out_filled();
        let mut out = buffer::take(n * filled);
        // Few and large pieces: each reads all weights.
        let rows = n.div_ceil(rayon::current_num_threads()).clamp(1, 256);
        out.par_chunks_mut(rows * filled).enumerate().for_each(|(piece, out)| {
            apply(&x[piece * rows * pitch..], out.len() / filled, out);
        });
        if self.c_out == filled {
            return out;
        }
        let narrow = out.chunks_exact(filled).flat_map(|row| &row[..self.c_out]).copied().collect();
        buffer::put(out);
        narrow
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

/// `x W^T` of `n` rows `x` `[n, c_in]` and a layer's weight `[c_out, c_in]` -> `[n, c_out]`.
pub(crate) fn forward(x: &[f32], weight: &[f32], n: usize, precision: ProductPrecision) -> Vec<f32> {
    let c_in = x.len() / n;
    match precision.pairs() {
        Some(kernels) => bf16::Pairs::from_rows(kernels, weight, c_in).product(x, n, c_in),
        None => Packed::from_rows(weight, c_in).product(x, n, c_in),
    }
}

/// The gradient by the input, `[n, c_in]`: `grad` `[n, c_out]`, `weight` `[c_out, c_in]`.
pub(crate) fn grad_by_input(
    grad: &[f32],
    weight: &[f32],
    c_in: usize,
    precision: ProductPrecision,
) -> Vec<f32> {
    let c_out = weight.len() / c_in;
    let n = grad.len() / c_out;
    match precision.pairs() {
        Some(kernels) => bf16::Pairs::from_columns(kernels, weight, c_in).product(grad, n, c_out),
        None => Packed::from_columns(weight, c_out, c_in, c_in).product(grad, n, c_out),
    }
}

/// The gradient by the weight, `[c_out, c_in]`: `grad` `[n, c_out]`, `x` `[n, c_in]`.
pub(crate) fn grad_by_weight(grad: &[f32], x: &[f32], n: usize, precision: ProductPrecision) -> Vec<f32> {
    let (c_out, c_in) = (grad.len() / n, x.len() / n);
    match precision.pairs() {
        Some(kernels) => bf16::Pairs::from_columns(kernels, x, c_in).product_of_columns(grad, c_out),
        None => {
            let turned = transposed(grad, n, c_out);
            let out = Packed::from_columns(x, n, c_in, c_in).product(&turned, c_out, n);
            buffer::put(turned);
            out
        }
    }
}

/// `[n, c]` to `[c, n]`.
fn transposed(x: &[f32], n: usize, c: usize) -> Vec<f32> {
    let mut out = buffer::take(x.len());
    out.par_chunks_mut(BLOCK * n).enumerate().for_each(|(block, out)| {
        let shape = Turned { n, c: out.len() / n, pitch: c, pitch_out: n };
        kernels().transpose(shape, &x[block * BLOCK..], out);
    });
    out
}

/// Adds `bias` `[c]` to each row.
pub(crate) fn add_to_rows(x: &mut [f32], bias: &[f32]) {
    x.par_chunks_mut(ROWS_IN_A_SUM * bias.len()).for_each(|x| {
        for row in x.chunks_exact_mut(bias.len()) {
            row.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
        }
    });
}

/// The sum of all rows `[n, c]`.
pub(crate) fn sum_of_rows(x: &[f32], c: usize) -> Vec<f32> {
    let sums = x.par_chunks(ROWS_IN_A_SUM * c).map(|x| {
        let mut total = vec![0.0; c];
        for row in x.chunks_exact(c) {
            total.iter_mut().zip(row).for_each(|(total, x)| *total += x);
        }
        total
    });
    sum(c, &sums.collect::<Vec<_>>())
}

/// What a convolution over three rows in steps of two sees, with zeros around each clip: `x` `[rows, c]` ->
/// `[rows / 2 rounded up for each clip, 3 c]`.
pub(crate) fn unfold(x: &[f32], c: usize, lengths: &[usize]) -> Vec<f32> {
    let n_out: usize = lengths.iter().map(|n| n.div_ceil(2)).sum();
    let mut out = buffer::take(n_out * 3 * c);
    let mut rows = out.chunks_exact_mut(3 * c);
    let mut first = 0;
    for &n in lengths {
        let clip = &x[first * c..(first + n) * c];
        for (t, row) in (0..n).step_by(2).zip(&mut rows) {
            for (tap, values) in row.chunks_exact_mut(c).enumerate() {
                match (t + tap).checked_sub(1).filter(|&at| at < n) {
                    Some(at) => values.copy_from_slice(&clip[at * c..(at + 1) * c]),
                    None => values.fill(0.0),
                }
            }
        }
        first += n;
    }
    out
}

/// The way back of [`unfold`]: each row's gradient is the sum over the places where it was seen.
pub(crate) fn fold(grad: &[f32], c: usize, lengths: &[usize]) -> Vec<f32> {
    let n_in: usize = lengths.iter().sum();
    let mut out = buffer::take(n_in * c);
    out.fill(0.0);
    let mut rows = grad.chunks_exact(3 * c);
    let mut first = 0;
    for &n in lengths {
        let clip = &mut out[first * c..(first + n) * c];
        for (t, row) in (0..n).step_by(2).zip(&mut rows) {
            for (tap, values) in row.chunks_exact(c).enumerate() {
                if let Some(at) = (t + tap).checked_sub(1).filter(|&at| at < n) {
                    clip[at * c..(at + 1) * c].iter_mut().zip(values).for_each(|(sum, g)| *sum += g);
                }
            }
        }
        first += n;
    }
    out
}
