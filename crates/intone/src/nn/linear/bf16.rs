//! Products of rows with a matrix in bfloat16.

use rayon::prelude::*;

use super::Packed;
use crate::nn::simd::{self, BLOCK, PairKernels, Product, Turned, buffer};

/// A matrix of pairs along its input channels, `[c_out / 32, c_in / 2, 32]`.
#[derive(Debug)]
pub(super) struct Pairs {
    packed: Packed,
    kernels: &'static PairKernels,
}

impl Pairs {
    /// From a layer's weight `[c_out, c_in]`.
    pub(super) fn from_rows(kernels: &'static PairKernels, weight: &[f32], c_in: usize) -> Pairs {
        let (c_out, n_pairs) = (weight.len() / c_in, c_in.div_ceil(2));
        let mut values = blocks(c_out, n_pairs);
        values.par_chunks_mut(n_pairs * BLOCK).zip(weight.par_chunks(c_in * BLOCK)).for_each(
            |(block, rows)| {
                let n = rows.len() / c_in;
                let mut pairs = buffer::take(n * n_pairs);
                for (row, pairs) in rows.chunks_exact(c_in).zip(pairs.chunks_exact_mut(n_pairs)) {
                    kernels.to_pairs(row, pairs);
                }
                let shape = Turned { n, c: n_pairs, pitch: n_pairs, pitch_out: BLOCK };
                simd::kernels().transpose(shape, &pairs, block);
                buffer::put(pairs);
            },
        );
        Pairs { packed: Packed { c_in: n_pairs, c_out, values }, kernels }
    }

    /// From rows of `c_out` values, `[c_in, c_out]`.
    pub(super) fn from_columns(kernels: &'static PairKernels, x: &[f32], c_out: usize) -> Pairs {
        let n_pairs = (x.len() / c_out).div_ceil(2);
        let mut values = blocks(c_out, n_pairs);
        values.par_chunks_mut(n_pairs * BLOCK).enumerate().for_each(|(block, values)| {
            let columns = block * BLOCK..((block + 1) * BLOCK).min(c_out);
            let zeros = [0.0; BLOCK];
            for (rows, pairs) in x.chunks(2 * c_out).zip(values.as_chunks_mut::<BLOCK>().0) {
                let (first, second) = rows.split_at(c_out);
                let second = second.get(columns.clone()).unwrap_or(&zeros[..columns.len()]);
                kernels.pair_up(&first[columns.clone()], second, &mut pairs[..columns.len()]);
            }
        });
        Pairs { packed: Packed { c_in: n_pairs, c_out, values }, kernels }
    }

    /// `x W` on all threads, `[n, c_out]`; `x` `[n, c_in]`.
    pub(super) fn product(&self, x: &[f32], n: usize, c_in: usize) -> Vec<f32> {
        /// Rows that one thread rounds at a time.
        const ROWS: usize = 64;
        let n_pairs = self.packed.c_in;
        let mut pairs = buffer::take(n * n_pairs);
        pairs.par_chunks_mut(ROWS * n_pairs).zip(x.par_chunks(ROWS * c_in)).for_each(|(pairs, x)| {
            for (pairs, x) in pairs.chunks_exact_mut(n_pairs).zip(x.chunks_exact(c_in)) {
                self.kernels.to_pairs(x, pairs);
            }
        });
        let out = self.product_of_pairs(&pairs, n);
        buffer::put(pairs);
        out
    }

    /// `x^T W` on all threads, `[n, c_out]`; `x` `[c_in, n]`.
    pub(super) fn product_of_columns(&self, x: &[f32], n: usize) -> Vec<f32> {
        let n_pairs = self.packed.c_in;
        let mut pairs = buffer::take(n * n_pairs);
        pairs.par_chunks_mut(BLOCK * n_pairs).enumerate().for_each(|(block, pairs)| {
            self.kernels.turn(x, n, block * BLOCK, pairs);
        });
        let out = self.product_of_pairs(&pairs, n);
        buffer::put(pairs);
        out
    }

    fn product_of_pairs(&self, pairs: &[f32], n: usize) -> Vec<f32> {
        let (n_pairs, c_out) = (self.packed.c_in, self.packed.c_out_filled());
        let apply = |pairs: &[f32], n: usize, out: &mut [f32]| {
            let shape = Product::dense(n, n_pairs, n_pairs, c_out);
            self.kernels.linear_rows(shape, pairs, &self.packed.values, out);
        };
        self.packed.product_by(&apply, pairs, n, n_pairs)
    }
}

impl Drop for Pairs {
    fn drop(&mut self) {
        buffer::put(std::mem::take(&mut self.packed.values));
    }
}

/// Room for a matrix of pairs; output channels that fill up the last block are zeros.
fn blocks(c_out: usize, n_pairs: usize) -> Vec<f32> {
    let filled = c_out.next_multiple_of(BLOCK);
    let mut values = buffer::take(filled * n_pairs);
    if filled > c_out {
        values[(filled - BLOCK) * n_pairs..].fill(0.0);
    }
    values
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::super::{ProductPrecision, forward, grad_by_input, grad_by_weight};
    use crate::testing::small_noise as noise;

    /// Of values that bfloat16 has, the products are those in single precision, the way back too.
    #[test]
    fn rounded_values_give_the_same_products_in_both_precisions() {
        if !ProductPrecision::Bf16.is_native() {
            println!("skipped: this processor has no instructions for bfloat16");
            return;
        }
        let rounded = |n: usize, seed: u32| -> Vec<f32> {
            noise(n, seed).into_iter().map(|x| bf16::from_f32(x).to_f32()).collect()
        };
        for (n, c_in, c_out) in [(1, 2, 32), (3, 7, 33), (130, 48, 96), (77, 96, 64), (15, 1, 1)] {
            let (x, weight, grad) = (rounded(n * c_in, 1), rounded(c_in * c_out, 2), rounded(n * c_out, 3));
            let all = |precision| {
                [
                    forward(&x, &weight, n, precision),
                    grad_by_input(&grad, &weight, c_in, precision),
                    grad_by_weight(&grad, &x, n, precision),
                ]
            };
            let (single, half) = (all(ProductPrecision::F32), all(ProductPrecision::Bf16));
            for (what, (a, b)) in ["forward", "by input", "by weight"].iter().zip(single.iter().zip(&half)) {
                assert_eq!(a.len(), b.len());
                for (a, b) in a.iter().zip(b) {
                    assert!(
                        (a - b).abs() <= 1e-5 * a.abs().max(0.1),
                        "{what}, {n} x {c_in} x {c_out}: {a} {b}"
                    );
                }
            }
        }
    }
}
