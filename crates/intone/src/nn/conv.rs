//! 3 x 3 convolution with zero padding ("same"), forward and back, as an implicit matrix product.
//!
//! No column matrix is built: a few padded rows are copied to a buffer that stays in the second-level cache, and
//! the register tile of [`simd`](super::simd) runs over them. What comes before the convolution (batch
//! normalisation and ReLU) is applied during that copy, and what comes after (the statistics of the next batch
//! normalisation) is taken while the output is still in the cache, so that neither costs a pass over memory.
//!
//! Sums over the batch are taken in the order of the samples, in groups whose number does not depend on the
//! number of threads: the result is the same to the bit on any machine with the same vector width.

use std::cell::RefCell;

use rayon::prelude::*;

use super::simd::{Affine, BLOCK, Rows, kernels};

/// Floats of padded input that are worked on at once: 256 KiB, which leaves room in a second-level cache of 1 MiB.
const SCRATCH_FLOATS: usize = 64 * 1024;

/// Partial sums of the gradient by the weights. A constant, so that the order of summation is one too.
const GROUPS: usize = 8;

thread_local! {
    static SCRATCH: RefCell<(Vec<f32>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// The size of one image and its channels on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConvShape {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) c_in: usize,
    /// A multiple of [`BLOCK`].
    pub(crate) c_out: usize,
}

impl ConvShape {
    fn in_len(&self) -> usize {
        self.height * self.width * self.c_in
    }

    fn out_len(&self) -> usize {
        self.height * self.width * self.c_out
    }

    fn rows(&self, n: usize) -> Rows {
        Rows { n, width: self.width, c_in: self.c_in, c_out: self.c_out }
    }

    /// The same image, with the channels the other way round.
    fn reversed(&self) -> ConvShape {
        ConvShape { c_in: self.c_out, c_out: self.c_in, ..*self }
    }

    /// Rows whose padded input fills the scratch buffer.
    fn rows_at_once(&self) -> usize {
        (SCRATCH_FLOATS / ((self.width + 2) * self.c_in.max(1))).clamp(4, self.height.max(4))
    }
}

/// Sums over all pixels of a batch, per channel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChannelSums {
    /// Of the value.
    pub(crate) sum: Vec<f64>,
    /// Of its square, or of its product with another value.
    pub(crate) sum_product: Vec<f64>,
}

impl ChannelSums {
    pub(crate) fn zero(c: usize) -> ChannelSums {
        ChannelSums { sum: vec![0.0; c], sum_product: vec![0.0; c] }
    }

    pub(crate) fn add(&mut self, sum: &[f32], sum_product: &[f32]) {
        for (total, s) in self.sum.iter_mut().zip(sum) {
            *total += f64::from(*s);
        }
        for (total, s) in self.sum_product.iter_mut().zip(sum_product) {
            *total += f64::from(*s);
        }
    }

    /// The sum of all parts, in their order.
    pub(crate) fn total(c: usize, parts: impl IntoIterator<Item = ChannelSums>) -> ChannelSums {
        parts.into_iter().fold(ChannelSums::zero(c), |mut total, part| {
            total.sum.iter_mut().zip(part.sum).for_each(|(t, s)| *t += s);
            total.sum_product.iter_mut().zip(part.sum_product).for_each(|(t, s)| *t += s);
            total
        })
    }
}

/// `[c_out, c_in, 3, 3]` to the kernel's `[c_out / 32, 9, c_in, 32]`; missing output channels become zeros.
pub(crate) fn pack_weights(weight: &[f32], c_in: usize, c_out: usize) -> Vec<f32> {
    let mut packed = vec![0.0; c_out.next_multiple_of(BLOCK) * 9 * c_in];
    for (o, filter) in weight.chunks_exact(c_in * 9).enumerate() {
        for (i, taps) in filter.as_chunks::<9>().0.iter().enumerate() {
            for (tap, w) in taps.iter().enumerate() {
                packed[packed_index(o, i, tap, c_in)] = *w;
            }
        }
    }
    packed
}

/// The weights of the way back by the input: turned by 180 degrees, input and output channels exchanged, packed.
fn pack_reversed(weight: &[f32], c_in: usize, c_out: usize) -> Vec<f32> {
    let mut packed = vec![0.0; weight.len()];
    for (o, filter) in weight.chunks_exact(c_in * 9).enumerate() {
        for (i, taps) in filter.as_chunks::<9>().0.iter().enumerate() {
            for (tap, w) in taps.iter().enumerate() {
                packed[packed_index(i, o, 8 - tap, c_out)] = *w;
            }
        }
    }
    packed
}

/// The kernel's layout back to `[c_out, c_in, 3, 3]`.
fn unpack_weights(packed: &[f32], c_in: usize, c_out: usize) -> Vec<f32> {
    let mut weight = vec![0.0; packed.len()];
    for o in 0..c_out {
        for i in 0..c_in {
            for tap in 0..9 {
                weight[(o * c_in + i) * 9 + tap] = packed[packed_index(o, i, tap, c_in)];
            }
        }
    }
    weight
}

fn packed_index(o: usize, i: usize, tap: usize, c_in: usize) -> usize {
    ((o / BLOCK * 9 + tap) * c_in + i) * BLOCK + o % BLOCK
}

/// Copies rows `y0 - 1 ..= y0 + n` of an image `[height, width, c]` with a border of zeros, through
/// `relu(x * scale + shift)` if there is an `affine`.
fn pad_rows(
    image: &[f32],
    c: usize,
    width: usize,
    y0: usize,
    n: usize,
    affine: Option<&Affine>,
    out: &mut Vec<f32>,
) {
    let height = image.len() / (width * c);
    let pitch = (width + 2) * c;
    out.resize((n + 2) * pitch, 0.0);
    for (row, out) in out.chunks_exact_mut(pitch).enumerate() {
        let y = y0 + row;
        if y < 1 || y > height {
            out.fill(0.0);
            continue;
        }
        let line = &image[(y - 1) * width * c..][..width * c];
        out[..c].fill(0.0);
        out[pitch - c..].fill(0.0);
        match affine {
            None => out[c..pitch - c].copy_from_slice(line),
            Some(affine) => kernels().affine_relu(line, affine, &mut out[c..pitch - c]),
        }
    }
}

/// The convolution of a batch `x` `[n, height, width, c_in]`, optionally of `relu(x * scale + shift)`, into `out`
/// `[n, height, width, c_out]`. Returns the sums and sums of squares of the output.
pub(crate) fn forward(
    shape: ConvShape,
    x: &[f32],
    affine: Option<&Affine>,
    packed: &[f32],
    out: &mut [f32],
) -> ChannelSums {
    let parts: Vec<ChannelSums> = out
        .par_chunks_mut(shape.out_len())
        .zip(x.par_chunks(shape.in_len()))
        .map(|(out, x)| forward_one(shape, x, affine, packed, out))
        .collect();
    ChannelSums::total(shape.c_out, parts)
}

fn forward_one(
    shape: ConvShape,
    x: &[f32],
    affine: Option<&Affine>,
    packed: &[f32],
    out: &mut [f32],
) -> ChannelSums {
    let mut sums = ChannelSums::zero(shape.c_out);
    let (mut sum, mut sum_sq) = (vec![0.0; shape.c_out], vec![0.0; shape.c_out]);
    let step = shape.rows_at_once();
    for (block, out) in out.chunks_mut(step * shape.width * shape.c_out).enumerate() {
        convolve_rows(shape, x, affine, packed, block * step, out);
        sum.fill(0.0);
        sum_sq.fill(0.0);
        kernels().sums(out, &mut sum, &mut sum_sq);
        sums.add(&sum, &sum_sq);
    }
    sums
}

/// Output rows from `y0` on, as many as `out` holds.
fn convolve_rows(
    shape: ConvShape,
    x: &[f32],
    affine: Option<&Affine>,
    packed: &[f32],
    y0: usize,
    out: &mut [f32],
) {
    let rows = out.len() / (shape.width * shape.c_out);
    SCRATCH.with_borrow_mut(|(scratch, _)| {
        pad_rows(x, shape.c_in, shape.width, y0, rows, affine, scratch);
        kernels().conv_rows(shape.rows(rows), scratch, packed, out);
    });
}

/// [`forward`] without the statistics: for inference, where one image alone must keep all threads busy.
pub(crate) fn infer(shape: ConvShape, x: &[f32], affine: Option<&Affine>, packed: &[f32], out: &mut [f32]) {
    let n = out.len() / shape.out_len();
    let threads = rayon::current_num_threads();
    // Four pieces a thread, so that a thread which is held up does not hold up the others for long.
    let pieces = if n >= 2 * threads { 1 } else { (4 * threads).div_ceil(n) };
    let step = shape.height.div_ceil(pieces).min(shape.rows_at_once());
    out.par_chunks_mut(shape.out_len()).zip(x.par_chunks(shape.in_len())).for_each(|(out, x)| {
        out.par_chunks_mut(step * shape.width * shape.c_out)
            .enumerate()
            .for_each(|(block, out)| convolve_rows(shape, x, affine, packed, block * step, out));
    });
}

/// What [`backward`] found.
#[derive(Debug)]
pub(crate) struct ConvGrad {
    /// By the weights, `[c_out, c_in, 3, 3]`.
    pub(crate) weight: Vec<f32>,
    /// With an `affine`: the sums of the gradient behind ReLU and of its product with `x`.
    pub(crate) sums: ChannelSums,
}

/// The way back of [`forward`]. `d_out` `[n, height, width, c_out]`.
///
/// If `d_x` is wanted it is written to the slice (as long as `x`): the gradient by `x`, or, with an `affine`, the
/// gradient by `x * scale + shift` (before batch normalisation's own way back).
pub(crate) fn backward(
    shape: ConvShape,
    x: &[f32],
    affine: Option<&Affine>,
    weight: &[f32],
    d_out: &[f32],
    d_x: Option<&mut [f32]>,
) -> ConvGrad {
    let n = d_out.len() / shape.out_len();
    let per_group = n.div_ceil(GROUPS).max(1);
    let reversed = d_x.is_some().then(|| pack_reversed(weight, shape.c_in, shape.c_out));
    let one_group = |x: &[f32], d_out: &[f32], mut d_x: Option<&mut [f32]>| {
        let mut grad = vec![0.0; weight.len()];
        let mut sums = ChannelSums::zero(shape.c_in);
        for (i, (x, d_out)) in
            x.chunks_exact(shape.in_len()).zip(d_out.chunks_exact(shape.out_len())).enumerate()
        {
            weight_grad_one(shape, x, affine, d_out, &mut grad);
            if let (Some(d_x), Some(reversed)) = (d_x.as_deref_mut(), &reversed) {
                let d_x = &mut d_x[i * shape.in_len()..][..shape.in_len()];
                input_grad_one(shape, x, affine, reversed, d_out, d_x, &mut sums);
            }
        }
        (grad, sums)
    };
    let xs = x.par_chunks(per_group * shape.in_len());
    let d_outs = d_out.par_chunks(per_group * shape.out_len());
    let parts: Vec<(Vec<f32>, ChannelSums)> = match d_x {
        Some(d_x) => xs
            .zip(d_outs)
            .zip(d_x.par_chunks_mut(per_group * shape.in_len()))
            .map(|((x, d_out), d_x)| one_group(x, d_out, Some(d_x)))
            .collect(),
        None => xs.zip(d_outs).map(|(x, d_out)| one_group(x, d_out, None)).collect(),
    };
    let mut total = vec![0.0; weight.len()];
    let mut sums = Vec::with_capacity(parts.len());
    for (grad, part) in parts {
        total.iter_mut().zip(grad).for_each(|(t, g)| *t += g);
        sums.push(part);
    }
    ConvGrad {
        weight: unpack_weights(&total, shape.c_in, shape.c_out),
        sums: ChannelSums::total(shape.c_in, sums),
    }
}

fn weight_grad_one(shape: ConvShape, x: &[f32], affine: Option<&Affine>, d_out: &[f32], grad: &mut [f32]) {
    let step = shape.rows_at_once();
    SCRATCH.with_borrow_mut(|(scratch, _)| {
        for (block, d_out) in d_out.chunks(step * shape.width * shape.c_out).enumerate() {
            let rows = d_out.len() / (shape.width * shape.c_out);
            pad_rows(x, shape.c_in, shape.width, block * step, rows, affine, scratch);
            kernels().weight_grad(shape.rows(rows), scratch, d_out, grad);
        }
    });
}

fn input_grad_one(
    shape: ConvShape,
    x: &[f32],
    affine: Option<&Affine>,
    reversed: &[f32],
    d_out: &[f32],
    d_x: &mut [f32],
    sums: &mut ChannelSums,
) {
    let back = shape.reversed();
    let step = back.rows_at_once();
    let (mut sum, mut sum_x) = (vec![0.0; shape.c_in], vec![0.0; shape.c_in]);
    SCRATCH.with_borrow_mut(|(_, scratch)| {
        let len = step * shape.width * shape.c_in;
        for (block, (d_x, x)) in d_x.chunks_mut(len).zip(x.chunks(len)).enumerate() {
            let rows = d_x.len() / (shape.width * shape.c_in);
            pad_rows(d_out, back.c_in, back.width, block * step, rows, None, scratch);
            kernels().conv_rows(back.rows(rows), scratch, reversed, d_x);
            if let Some(affine) = affine {
                sum.fill(0.0);
                sum_x.fill(0.0);
                kernels().relu_grad_sums(x, affine, d_x, &mut sum, &mut sum_x);
                sums.add(&sum, &sum_x);
            }
        }
    });
}
