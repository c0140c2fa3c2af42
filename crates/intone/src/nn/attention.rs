//! Self-attention with several heads, forward and back (Vaswani et al. 2017), of clips of different lengths that lie one
//! behind the other: no clip sees another, and nothing is filled up.
//!
//! A head is three small matrix products and a softmax on the kernels of [`simd`](super::simd). The probabilities are
//! not kept for the way back but computed again: they would be larger than everything else together.

use std::cell::RefCell;

use rayon::prelude::*;

use super::linear::Packed;
use super::simd::{BLOCK, Turned, kernels};

/// The shape of a layer's attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heads {
    /// Number of heads.
    pub(crate) n: usize,
    /// Values of a row, all heads together.
    pub(crate) c: usize,
}

impl Heads {
    fn width(self) -> usize {
        self.c / self.n
    }

    /// What queries are multiplied with.
    fn scale(self) -> f32 {
        1.0 / (self.width() as f32).sqrt()
    }
}

/// Memory of one thread that is used again and again.
#[derive(Default)]
struct Scratch {
    probabilities: Vec<f32>,
    gradient: Vec<f32>,
    transposed: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Attention of clips with these numbers of rows. `qkv` `[rows, 3 c]`: queries, keys and values side by side -> `[rows, c]`.
pub(crate) fn forward(heads: Heads, lengths: &[usize], qkv: &[f32], out: &mut [f32]) {
    let clips = split_rows(lengths, 3 * heads.c, qkv);
    let outs = split_rows_mut(lengths, heads.c, out);
    clips.into_par_iter().zip(outs).for_each(|(qkv, out)| {
        let parts: Vec<Vec<f32>> =
            (0..heads.n).into_par_iter().map(|head| Head::new(heads, qkv, head).forward()).collect();
        for (head, part) in parts.iter().enumerate() {
            put(part, heads.width(), out, heads.c, head * heads.width());
        }
    });
}

/// The way back of [`forward`]: from the gradient by its answer `[rows, c]` to that by `qkv`, written to all of `d_qkv`.
pub(crate) fn backward(heads: Heads, lengths: &[usize], qkv: &[f32], d_out: &[f32], d_qkv: &mut [f32]) {
    let clips = split_rows(lengths, 3 * heads.c, qkv).into_par_iter();
    let d_outs = split_rows(lengths, heads.c, d_out);
    let d_qkvs = split_rows_mut(lengths, 3 * heads.c, d_qkv);
    clips.zip(d_outs).zip(d_qkvs).for_each(|((qkv, d_out), d_qkv)| {
        let parts: Vec<[Vec<f32>; 3]> =
            (0..heads.n).into_par_iter().map(|head| Head::new(heads, qkv, head).backward(d_out)).collect();
        for (head, part) in parts.iter().enumerate() {
            for (which, part) in part.iter().enumerate() {
                let first = which * heads.c + head * heads.width();
                put(part, heads.width(), d_qkv, 3 * heads.c, first);
            }
        }
    });
}

/// The rows of each clip.
pub(super) fn split_rows<'a>(lengths: &[usize], c: usize, mut x: &'a [f32]) -> Vec<&'a [f32]> {
    let split = lengths.iter().map(|n| {
        let (clip, rest) = x.split_at(n * c);
        x = rest;
        clip
    });
    split.collect()
}

pub(super) fn split_rows_mut<'a>(lengths: &[usize], c: usize, mut x: &'a mut [f32]) -> Vec<&'a mut [f32]> {
    let split = lengths.iter().map(|n| {
        let (clip, rest) = std::mem::take(&mut x).split_at_mut(n * c);
        x = rest;
        clip
    });
    split.collect()
}

/// Writes the first `width` values of each row of `part` into a wider matrix, from column `first` on.
fn put(part: &[f32], width: usize, out: &mut [f32], pitch: usize, first: usize) {
    let rows = part.chunks_exact(width.next_multiple_of(BLOCK));
    for (part, out) in rows.zip(out.chunks_exact_mut(pitch)) {
        out[first..first + width].copy_from_slice(&part[..width]);
    }
}

/// One head of one clip.
struct Head<'a> {
    /// Its first column.
    first: usize,
    width: usize,
    /// Rows.
    n: usize,
    pitch: usize,
    /// From the first key and the first value on, rows `pitch` apart.
    k: &'a [f32],
    v: &'a [f32],
    /// The queries, scaled, `[n, width]`.
    q: Vec<f32>,
    scale: f32,
}

impl<'a> Head<'a> {
    fn new(heads: Heads, qkv: &'a [f32], head: usize) -> Head<'a> {
        let (width, pitch, scale) = (heads.width(), 3 * heads.c, heads.scale());
        let first = head * width;
        let mut q = Vec::with_capacity(qkv.len() / pitch * width);
        qkv.chunks_exact(pitch).for_each(|row| q.extend(row[first..first + width].iter().map(|q| q * scale)));
        let (k, v) = (&qkv[heads.c + first..], &qkv[2 * heads.c + first..]);
        Head { first, width, n: qkv.len() / pitch, pitch, k, v, q, scale }
    }

    /// Keys to the product with queries, `[width, n]`, or values to that with gradients.
    fn across(&self, x: &[f32]) -> Packed {
        Packed::from_strided_rows(x, self.n, self.pitch, self.width)
    }

    fn n_filled(&self) -> usize {
        self.n.next_multiple_of(BLOCK)
    }

    /// How much each row looks at each other one, `[n, n_filled]`.
    fn probabilities(&self, out: &mut Vec<f32>) {
        out.resize(self.n * self.n_filled(), 0.0);
        self.across(self.k).apply(&self.q, self.n, self.width, out);
        kernels().softmax_rows(out, self.n_filled(), self.n);
    }

    /// `[n, width filled up]`.
    fn forward(&self) -> Vec<f32> {
        SCRATCH.with_borrow_mut(|Scratch { probabilities, .. }| {
            self.probabilities(probabilities);
            let v = Packed::from_columns(self.v, self.n, self.pitch, self.width);
            let mut out = vec![0.0; self.n * v.c_out_filled()];
            v.apply(probabilities, self.n, self.n_filled(), &mut out);
            out
        })
    }

    /// From the gradient of all heads `[n, c]` to those by queries, keys and values, `[n, width filled up]` each.
    fn backward(&self, d_out: &[f32]) -> [Vec<f32>; 3] {
        let c = d_out.len() / self.n;
        let own = self.first..self.first + self.width;
        let rows: Vec<&[f32]> = d_out.chunks_exact(c).map(|row| &row[own.clone()]).collect();
        let d_out = rows.concat();
        SCRATCH.with_borrow_mut(|Scratch { probabilities, gradient, transposed }| {
            self.probabilities(probabilities);
            let times = |x: &[f32], matrix: &Packed| {
                let mut out = vec![0.0; self.n * matrix.c_out_filled()];
                matrix.apply(x, self.n, self.n_filled(), &mut out);
                out
            };
            self.transpose(probabilities, transposed);
            let d_v = times(transposed, &Packed::from_columns(&d_out, self.n, self.width, self.width));
            gradient.resize(self.n * self.n_filled(), 0.0);
            self.across(self.v).apply(&d_out, self.n, self.width, gradient);
            kernels().softmax_grad_rows(probabilities, gradient, self.n_filled(), self.n);
            let mut d_q = times(gradient, &Packed::from_columns(self.k, self.n, self.pitch, self.width));
            d_q.iter_mut().for_each(|d| *d *= self.scale);
            self.transpose(gradient, transposed);
            let d_k = times(transposed, &Packed::from_columns(&self.q, self.n, self.width, self.width));
            [d_q, d_k, d_v]
        })
    }

    /// `[n, n_filled]` to `[n, n_filled]`.
    fn transpose(&self, x: &[f32], out: &mut Vec<f32>) {
        let pitch = self.n_filled();
        out.resize(self.n * pitch, 0.0);
        kernels().transpose(Turned { n: self.n, c: self.n, pitch, pitch_out: pitch }, x, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    /// The textbook, in double precision; clip after clip, head after head.
    fn textbook(heads: Heads, lengths: &[usize], qkv: &[f64]) -> Vec<f64> {
        let (c, width) = (heads.c, heads.c / heads.n);
        let mut out = vec![0.0; qkv.len() / 3];
        let mut first_row = 0;
        for &n in lengths {
            for head in 0..heads.n {
                let at = |which: usize, t: usize, i: usize| {
                    qkv[((first_row + t) * 3 + which) * c + head * width + i]
                };
                for t in 0..n {
                    let scores: Vec<f64> = (0..n)
                        .map(|s| {
                            (0..width).map(|i| at(0, t, i) * at(1, s, i)).sum::<f64>() / (width as f64).sqrt()
                        })
                        .map(f64::exp)
                        .collect();
                    let total: f64 = scores.iter().sum();
                    for i in 0..width {
                        let value: f64 = (0..n).map(|s| scores[s] / total * at(2, s, i)).sum();
                        out[(first_row + t) * c + head * width + i] = value;
                    }
                }
            }
            first_row += n;
        }
        out
    }

    #[test]
    fn attention_is_the_textbooks_and_so_is_its_gradient() {
        for (heads, lengths) in [
            (Heads { n: 2, c: 128 }, vec![5, 1, 40]),
            (Heads { n: 3, c: 30 }, vec![33, 2]),
            (Heads { n: 1, c: 64 }, vec![70]),
        ] {
            let rows: usize = lengths.iter().sum();
            let qkv = noise(rows * 3 * heads.c, 1);
            let exact: Vec<f64> = qkv.iter().map(|&x| f64::from(x)).collect();
            let want = textbook(heads, &lengths, &exact);
            let mut out = vec![f32::NAN; rows * heads.c];
            forward(heads, &lengths, &qkv, &mut out);
            for (got, want) in out.iter().zip(&want) {
                assert!((f64::from(*got) - want).abs() < 2e-6, "{heads:?}: {got} {want}");
            }
            let d_out = noise(out.len(), 2);
            let mut d_qkv = vec![f32::NAN; qkv.len()];
            backward(heads, &lengths, &qkv, &d_out, &mut d_qkv);
            // Differences of the textbook's answer, weighted with the gradient, at some places.
            for at in (0..qkv.len()).step_by(qkv.len() / 60 + 1) {
                let moved = |by: f64| {
                    let mut qkv = exact.clone();
                    qkv[at] += by;
                    let out = textbook(heads, &lengths, &qkv);
                    out.iter().zip(&d_out).map(|(out, d)| out * f64::from(*d)).sum::<f64>()
                };
                let want = (moved(1e-4) - moved(-1e-4)) / 2e-4;
                let got = f64::from(d_qkv[at]);
                assert!((got - want).abs() < 1e-5 * want.abs().max(1.0), "{heads:?} at {at}: {got} {want}");
            }
        }
    }
}
