//! Products of rows with a matrix of 8-bit integers.

use rayon::prelude::*;

use super::Packed;
use crate::nn::simd::{BLOCK, IntegerKernels, Product, buffer, integer_kernels, pair};

/// Inputs of fewer steps from 0 to their largest magnitude are too coarse.
const MIN_LIMIT: f32 = 2_048.0;

/// A matrix of 8-bit integers, as the kernel takes it: pairs along the input channels, `[c_out / 32, c_in / 2, 32]`. Inputs
/// are rounded to 16 bits, row by row, each to a scale of its own.
#[derive(Debug, Clone)]
pub(crate) struct Int8Packed {
    kernels: &'static IntegerKernels,
    pairs: Packed,
    c_in: usize,
    /// What each output is to be scaled with; those that fill up the last block with 0.
    scales: Vec<f32>,
    /// The largest magnitude that an input is rounded to, so that no sum overflows.
    limit: f32,
}

impl Int8Packed {
    /// From a layer's weight `[c_out, c_in]` and what its rows are to be scaled with. `None` where this processor has no
    /// instructions for it, and where so much is added up that inputs would have to be rounded to fewer than twelve bits.
    pub(crate) fn new(weight: &[i8], scales: &[f32]) -> Option<Int8Packed> {
        let kernels = integer_kernels()?;
        let c_in = weight.len() / scales.len();
        let rows = weight.chunks_exact(c_in);
        let sum = |row: &[i8]| row.iter().map(|w| u64::from(w.unsigned_abs())).sum();
        let largest_sum: u64 = rows.map(sum).max()?;
        let limit = (f64::from(i32::MAX) / largest_sum.max(1) as f64).floor().min(f64::from(i16::MAX)) as f32;
        if limit < MIN_LIMIT {
            return None;
        }
        let mut pairs = Packed::zeros(scales.len(), c_in.div_ceil(2));
        let (n_pairs, filled) = (pairs.c_in, pairs.c_out_filled());
        let blocks = pairs.values.par_chunks_mut(n_pairs * BLOCK).zip(weight.par_chunks(c_in * BLOCK));
        blocks.for_each(|(block, rows)| {
            for (at, pairs) in block.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
                for (to, row) in pairs.iter_mut().zip(rows.chunks_exact(c_in)) {
                    let high = row.get(2 * at + 1).copied().unwrap_or(0);
                    *to = pair(i16::from(row[2 * at]), i16::from(high));
                }
            }
        });
        let mut scales = scales.to_vec();
        scales.resize(filled, 0.0);
        Some(Int8Packed { kernels, pairs, c_in, scales, limit })
    }

    /// `x W` on all threads, `[n, c_out]`; row `t` of `x` begins at `t * pitch`.
    pub(crate) fn product(&self, x: &[f32], n: usize, pitch: usize) -> Vec<f32> {
        let (n_pairs, c_out) = (self.pairs.c_in, self.pairs.c_out_filled());
        let apply = |x: &[f32], n: usize, out: &mut [f32]| {
            // Each row's scale lies behind it.
            let mut rows = buffer::take(n * (n_pairs + 1));
            for (t, row) in rows.chunks_exact_mut(n_pairs + 1).enumerate() {
                let (pairs, scale) = row.split_at_mut(n_pairs);
                scale[0] = self.kernels.round(&x[t * pitch..][..self.c_in], self.limit, pairs);
            }
            let shape = Product::dense(n, n_pairs + 1, n_pairs, c_out);
            self.kernels.linear_rows(shape, &rows, &self.pairs.values, out);
            for (row, out) in rows.chunks_exact(n_pairs + 1).zip(out.chunks_exact_mut(c_out)) {
                self.kernels.rescale(out, row[n_pairs], &self.scales);
            }
            buffer::put(rows);
        };
        self.pairs.product_by(&apply, x, n, pitch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    /// The product in double precision is met as far as 16 bits of each row's largest value go.
    #[test]
    fn products_are_those_of_the_numbers() {
        if integer_kernels().is_none() {
            return println!("skipped: this processor has no instructions for products of 16-bit integers");
        }
        for (n, c_in, c_out, pitch) in
            [(1, 1, 1, 1), (3, 7, 33, 7), (130, 48, 96, 48), (40, 1536, 64, 1536), (21, 96, 32, 32)]
        {
            let x: Vec<f32> = noise((n - 1) * pitch + c_in, 1);
            // The largest there are, in the first row all of them: nothing may overflow.
            let weight: Vec<i8> = noise(c_in * c_out, 2)
                .iter()
                .enumerate()
                .map(|(i, x)| if i < c_in { -128 } else { (x * 127.0).clamp(-128.0, 127.0) as i8 })
                .collect();
            let scales: Vec<f32> = (0..c_out).map(|o| 0.001 + o as f32 * 0.0001).collect();
            let packed = Int8Packed::new(&weight, &scales).expect("enough bits");
            let got = packed.product(&x, n, pitch);
            assert_eq!(got.len(), n * c_out);
            for t in 0..n {
                let row = &x[t * pitch..][..c_in];
                let largest = f64::from(row.iter().fold(0.0f32, |max, x| max.max(x.abs())));
                for o in 0..c_out {
                    let w = &weight[o * c_in..][..c_in];
                    let pairs = row.iter().zip(w);
                    let want: f64 = pairs.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                    let want = want * f64::from(scales[o]);
                    let all: f64 = w.iter().map(|w| f64::from(*w).abs()).sum();
                    let bound = all * f64::from(scales[o]) * largest / f64::from(packed.limit);
                    let got = f64::from(got[t * c_out + o]);
                    assert!((got - want).abs() <= 0.6 * bound + 1e-6, "{n} x {c_in} x {c_out}: {got} {want}");
                }
            }
        }
    }

    #[test]
    fn sums_of_too_much_are_left_to_single_precision() {
        assert!(Int8Packed::new(&[127; 10_000], &[1.0]).is_none());
        assert_eq!(Int8Packed::new(&[1; 10_000], &[1.0]).is_some(), integer_kernels().is_some());
    }

    /// Wrong numbers are not made right by rounding, and rows of zeros are no trouble.
    #[test]
    fn what_is_no_number_stays_none() {
        let Some(packed) = Int8Packed::new(&[1; 64], &[1.0]) else {
            return assert!(integer_kernels().is_none());
        };
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = noise(128, 3);
            x[77] = wrong;
            let got = packed.product(&x, 2, 64);
            assert!(got[0].is_finite() && !got[1].is_finite(), "{wrong}: {got:?}");
        }
        assert_eq!(packed.product(&[0.0; 64], 1, 64), [0.0]);
    }
}
