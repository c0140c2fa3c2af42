//! 3 x 3 convolution with zero padding ("same"), forward and back, as an implicit matrix product.
//!
//! No column matrix is built: a few padded rows are copied to a buffer that stays in the second-level cache, and
//! the kernels of [`simd`](super::simd) run over them: Winograd's F(4 x 4, 3 x 3) where the input's channels come in whole
//! blocks, the plain sum for the first layer's single channel. What comes before the convolution (batch
//! normalisation and ReLU) is applied during that copy, and what comes after (the statistics of the next batch
//! normalisation) is taken while the output is still in the cache, so that neither costs a pass over memory.
//!
//! Sums over the batch are taken in the order of the samples, in groups whose number does not depend on the
//! number of threads: the result is the same to the bit on any machine with the same vector width.

use std::cell::RefCell;

use rayon::prelude::*;

use super::simd::{
    Affine, BLOCK, Filters, FiltersRef, Rows, TILE_IN, TILE_OUT, TILE_POSITIONS, buffer, kernels,
};

/// Floats of padded input that are worked on at once: 256 KiB, which leaves room in a second-level cache of 1 MiB.
const SCRATCH_FLOATS: usize = 64 * 1024;

/// Images of at most this size are cut by output channels instead of rows, if one alone is to keep all threads busy.
const MAX_PIXELS_BY_CHANNELS: usize = 2_048;

/// Partial sums of the gradient by the weights. A constant, so that the order of summation is one too.
const GROUPS: usize = 8;

/// Floats of the partial sums that one thread adds up at once.
const SUMMED_AT_ONCE: usize = 16 * 1024;

/// Memory of one thread that is used again and again.
#[derive(Default)]
struct Scratch {
    padded: Vec<f32>,
    tiles: Vec<f32>,
    /// Rows of a picture of one channel, padded, and a row of what a convolution makes of them.
    first: Vec<f32>,
    row: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a convolution sees of each pixel.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Input<'a> {
    /// As it is.
    Plain,
    /// `relu(x * scale + shift)`.
    Relu(&'a Affine),
    /// The same of what another convolution, of these packed weights, makes of a picture of a single channel.
    Convolved { taps: &'a [f32], affine: &'a Affine },
}

impl Input<'_> {
    /// Of the picture, for a convolution that sees `c_in`.
    fn channels(self, c_in: usize) -> usize {
        match self {
            Input::Plain | Input::Relu(_) => c_in,
            Input::Convolved { .. } => 1,
        }
    }
}

impl<'a> From<Option<&'a Affine>> for Input<'a> {
    fn from(affine: Option<&'a Affine>) -> Input<'a> {
        affine.map_or(Input::Plain, Input::Relu)
    }
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

    /// Floats of `n` output rows, an even number where there is a `pool`; of half as many pixels both ways then.
    fn rows_len(&self, n: usize, pool: Option<&Affine>) -> usize {
        let shrink = if pool.is_some() { 2 } else { 1 };
        n / shrink * (self.width / shrink) * self.c_out
    }

    /// Floats of the output.
    pub(crate) fn kept_len(&self, pool: Option<&Affine>) -> usize {
        self.rows_len(self.height, pool)
    }

    fn rows(&self, n: usize) -> Rows {
        Rows { n, width: self.width, c_in: self.c_in, c_out: self.c_out }
    }

    /// The same image, with the channels the other way round.
    fn reversed(&self) -> ConvShape {
        ConvShape { c_in: self.c_out, c_out: self.c_in, ..*self }
    }

    /// Parts of the output channels to work on apart from each other, where that is better than rows: 1 where it is not,
    /// which is where an image has many pixels for each weight.
    fn channel_groups(&self, wanted: usize) -> usize {
        let blocks = self.c_out / BLOCK;
        let pixels = self.height * self.width;
        if wanted == 1 || pixels > MAX_PIXELS_BY_CHANNELS {
            return 1;
        }
        // At least two blocks in a group: each group transforms the input again.
        (1..=(blocks / 2).min(wanted)).rev().find(|groups| blocks.is_multiple_of(*groups)).unwrap_or(1)
    }

    /// Rows whose padded input fills the scratch buffer.
    fn rows_at_once(&self) -> usize {
        (SCRATCH_FLOATS / ((self.width + 2) * self.c_in.max(1)))
            .clamp(4, self.height.max(4))
            .next_multiple_of(TILE_OUT)
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

/// Values of a 3 x 3 filter in the kernel: its taps, or Winograd's transform of them.
fn positions(c_in: usize) -> usize {
    if is_winograd(c_in) { TILE_POSITIONS } else { 9 }
}

fn is_winograd(c_in: usize) -> bool {
    c_in.is_multiple_of(BLOCK)
}

/// `[c_out, c_in, 3, 3]` to the kernel's `[c_out / 32, positions, c_in, 32]`; missing output channels become zeros.
pub(crate) fn pack_weights(weight: &[f32], c_in: usize, c_out: usize) -> Vec<f32> {
    pack(c_in, c_out, |o, i| weight.as_chunks::<9>().0[o * c_in + i])
}

/// [`pack_weights`] for [`infer`]; `rounded` to 16-bit integers where there is a kernel for them.
pub(crate) fn pack_filters(weight: &[f32], c_in: usize, c_out: usize, rounded: bool) -> Filters {
    let packed = pack_weights(weight, c_in, c_out);
    if rounded && is_winograd(c_in) { Filters::rounded(packed, c_in) } else { Filters::F32(packed) }
}

/// The weights of the way back by the input: turned by 180 degrees, input and output channels exchanged, packed.
fn pack_reversed(weight: &[f32], c_in: usize, c_out: usize) -> Vec<f32> {
    pack(c_out, c_in, |o, i| {
        let mut turned = weight.as_chunks::<9>().0[i * c_in + o];
        turned.reverse();
        turned
    })
}

/// Packs the filters `taps(o, i)` from input channel `i` to output channel `o`, in memory of the pool.
fn pack(c_in: usize, c_out: usize, taps: impl Fn(usize, usize) -> [f32; 9] + Sync) -> Vec<f32> {
    let block_len = positions(c_in) * c_in * BLOCK;
    let mut packed = buffer::take(c_out.div_ceil(BLOCK) * block_len);
    packed.par_chunks_mut(block_len).enumerate().for_each(|(block, packed)| {
        let first = block * BLOCK;
        // The filters of a block of output channels at once: whole lines are written, far apart as they are.
        let mut filters = [[0.0; BLOCK]; 9];
        let mut transformed = [[0.0; BLOCK]; TILE_POSITIONS];
        for i in 0..c_in {
            for o in first..c_out.min(first + BLOCK) {
                for (filters, tap) in filters.iter_mut().zip(taps(o, i)) {
                    filters[o - first] = tap;
                }
            }
            let mut put = |values: &[Lanes]| {
                for (position, values) in values.iter().enumerate() {
                    packed[(position * c_in + i) * BLOCK..][..BLOCK].copy_from_slice(values);
                }
            };
            if is_winograd(c_in) {
                transform(&filters, &mut transformed);
                put(&transformed);
            } else {
                put(&filters);
            }
        }
    });
    packed
}

/// The gradient by the kernel's weights back to `[c_out, c_in, 3, 3]`.
fn unpack_gradient(packed: &[f32], c_in: usize, c_out: usize) -> Vec<f32> {
    let mut weight = vec![0.0; c_out * c_in * 9];
    let blocks = packed.par_chunks(positions(c_in) * c_in * BLOCK);
    weight.par_chunks_mut(c_in * 9 * BLOCK).zip(blocks).for_each(|(weight, packed)| {
        let mut transformed = [[0.0; BLOCK]; TILE_POSITIONS];
        let mut filters = [[0.0; BLOCK]; 9];
        for i in 0..c_in {
            let take = |values: &mut [Lanes]| {
                for (position, values) in values.iter_mut().enumerate() {
                    values.copy_from_slice(&packed[(position * c_in + i) * BLOCK..][..BLOCK]);
                }
            };
            if is_winograd(c_in) {
                take(&mut transformed);
                transform_back(&transformed, &mut filters);
            } else {
                take(&mut filters);
            }
            for (o, weight) in weight.chunks_exact_mut(c_in * 9).enumerate() {
                weight.as_chunks_mut::<9>().0[i] = std::array::from_fn(|tap| filters[tap][o]);
            }
        }
    });
    weight
}

/// A value for each output channel of a block.
type Lanes = [f32; BLOCK];

/// `G g G^T` of a block of filters, with `G = [1/4 0 0; -1/6 -1/6 -1/6; -1/6 1/6 -1/6; 1/24 1/12 1/6; 1/24 -1/12 1/6; 0 0 1]`
/// (Lavin and Gray 2016).
fn transform(g: &[Lanes; 9], u: &mut [Lanes; TILE_POSITIONS]) {
    let along = |[a, b, c]: [&Lanes; 3]| {
        let mut out = [[0.0; BLOCK]; TILE_IN];
        for o in 0..BLOCK {
            let (a, b, c) = (a[o], b[o], c[o]);
            let (even, even_two) = (-(a + c) / 6.0, a / 24.0 + c / 6.0);
            let (odd, odd_two) = (b / 6.0, b / 12.0);
            let all = [a / 4.0, even - odd, even + odd, even_two + odd_two, even_two - odd_two, c];
            (0..TILE_IN).for_each(|y| out[y][o] = all[y]);
        }
        out
    };
    let columns: [[Lanes; TILE_IN]; 3] = std::array::from_fn(|x| along([&g[x], &g[3 + x], &g[6 + x]]));
    for (y, row) in u.as_chunks_mut::<TILE_IN>().0.iter_mut().enumerate() {
        *row = along([&columns[0][y], &columns[1][y], &columns[2][y]]);
    }
}

/// `G^T u G`: the way back of [`transform`].
fn transform_back(u: &[Lanes; TILE_POSITIONS], g: &mut [Lanes; 9]) {
    let along = |u: [&Lanes; TILE_IN]| {
        let mut out = [[0.0; BLOCK]; 3];
        for o in 0..BLOCK {
            let u = u.map(|u| u[o]);
            let (sum, sum_two) = (u[1] + u[2], u[3] + u[4]);
            let (difference, difference_two) = (u[2] - u[1], u[3] - u[4]);
            let all = [
                u[0] / 4.0 - sum / 6.0 + sum_two / 24.0,
                difference / 6.0 + difference_two / 12.0,
                (sum_two - sum) / 6.0 + u[5],
            ];
            (0..3).for_each(|y| out[y][o] = all[y]);
        }
        out
    };
    let columns: [[Lanes; 3]; TILE_IN] =
        std::array::from_fn(|x| along(std::array::from_fn(|y| &u[y * TILE_IN + x])));
    for (y, row) in g.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        *row = along(std::array::from_fn(|x| &columns[x][y]));
    }
}

/// Copies rows `y0 - 1 ..= y0 + rows.n` of what a convolution sees of an image, with a border of zeros, in the form that the
/// kernel for these channels takes. Returns whether that is Winograd's.
fn pad_rows(rows: Rows, image: &[f32], y0: usize, input: Input<'_>, scratch: &mut Scratch) -> bool {
    let Rows { n, width, c_in, .. } = rows;
    let is_winograd = is_winograd(c_in);
    let (len, pitch) = if is_winograd {
        (rows.tiled_padded_len(), rows.tiled_pitch())
    } else {
        (rows.padded_len(), (width + 2) * c_in)
    };
    let line_len = width * input.channels(c_in);
    let height = image.len() / line_len;
    let line_of = |y: usize| &image[(y - 1) * line_len..][..line_len];
    let Scratch { padded, first, row: convolved, .. } = scratch;
    if let Input::Convolved { .. } = input {
        // With one more row above and below.
        first.resize((n + 4) * (width + 2), 0.0);
        for (row, out) in first.chunks_exact_mut(width + 2).enumerate() {
            out.fill(0.0);
            // Counted from 1, as below.
            if let Some(y) = (y0 + row).checked_sub(1).filter(|y| (1..=height).contains(y)) {
                out[1..=width].copy_from_slice(line_of(y));
            }
        }
        convolved.resize(width * c_in, 0.0);
    }
    padded.resize(len, 0.0);
    for (row, out) in padded.chunks_exact_mut(pitch).enumerate() {
        let y = y0 + row;
        if y < 1 || y > height || row > n + 1 {
            out.fill(0.0);
            continue;
        }
        let (left, right) = (c_in, c_in + width * c_in);
        out[..left].fill(0.0);
        out[right..].fill(0.0);
        let out = &mut out[left..right];
        match input {
            Input::Plain => out.copy_from_slice(line_of(y)),
            Input::Relu(affine) => kernels().affine_relu(line_of(y), affine, out),
            Input::Convolved { taps, affine } => {
                let one = Rows { n: 1, width, c_in: 1, c_out: c_in };
                kernels().conv_rows(one, &first[row * (width + 2)..][..3 * (width + 2)], taps, convolved);
                kernels().affine_relu(convolved, affine, out);
            }
        }
    }
    is_winograd
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
        convolve_rows(shape, x, affine.into(), FiltersRef::F32(packed), None, block * step, out);
        sum.fill(0.0);
        sum_sq.fill(0.0);
        kernels().sums(out, &mut sum, &mut sum_sq);
        sums.add(&sum, &sum_sq);
    }
    sums
}

/// Output rows from `y0` on, as many as `out` holds; with a `pool`, twice as many, of which half the pixels are left.
fn convolve_rows(
    shape: ConvShape,
    x: &[f32],
    input: Input<'_>,
    filters: FiltersRef<'_>,
    pool: Option<&Affine>,
    y0: usize,
    out: &mut [f32],
) {
    let rows = shape.rows(match pool {
        None => out.len() / (shape.width * shape.c_out),
        Some(_) => 2 * out.len() / (shape.width / 2 * shape.c_out),
    });
    SCRATCH.with_borrow_mut(|scratch| {
        let is_winograd = pad_rows(rows, x, y0, input, scratch);
        let Scratch { padded, tiles, .. } = scratch;
        match filters {
            FiltersRef::F32(taps) if !is_winograd => {
                debug_assert!(pool.is_none());
                kernels().conv_rows(rows, padded, taps, out);
            }
            filters => {
                tiles.resize(rows.scratch_len(), 0.0);
                kernels().winograd_rows(rows, padded, filters, pool, out, tiles);
            }
        }
    });
}

/// [`forward`] without the statistics: for inference, where one image alone must keep all threads busy. With a `pool`, `out`
/// `[n, height / 2, width / 2, c_out]` is what 2 x 2 max pooling of `relu(x * scale + shift)` leaves of it: not where the
/// input has a single channel.
pub(crate) fn infer(
    shape: ConvShape,
    x: &[f32],
    input: Input<'_>,
    filters: FiltersRef<'_>,
    pool: Option<&Affine>,
    out: &mut [f32],
) {
    let len = shape.kept_len(pool);
    let n = out.len() / len;
    let images =
        out.par_chunks_mut(len).zip(x.par_chunks(shape.height * shape.width * input.channels(shape.c_in)));
    let wanted = pieces_wanted(n);
    let groups = shape.channel_groups(wanted);
    if groups > 1 {
        return images.for_each(|(out, x)| infer_by_channels(shape, x, input, filters, pool, out, groups));
    }
    let step = shape.height.div_ceil(wanted).min(shape.rows_at_once()).next_multiple_of(TILE_OUT);
    images.for_each(|(out, x)| {
        out.par_chunks_mut(shape.rows_len(step, pool))
            .enumerate()
            .for_each(|(block, out)| convolve_rows(shape, x, input, filters, pool, block * step, out));
    });
}

/// Pieces that each of `n` images is cut into: four for each thread, so that a thread which is held up does not hold up
/// the others for long.
fn pieces_wanted(n: usize) -> usize {
    let threads = rayon::current_num_threads();
    if threads == 1 || n >= 2 * threads { 1 } else { (4 * threads).div_ceil(n) }
}

/// One small image, a part of the output channels at a time: each part needs only its own weights, while rows would all
/// need all of them.
fn infer_by_channels(
    shape: ConvShape,
    x: &[f32],
    input: Input<'_>,
    filters: FiltersRef<'_>,
    pool: Option<&Affine>,
    out: &mut [f32],
    groups: usize,
) {
    let part = ConvShape { c_out: shape.c_out / groups, ..shape };
    let part_len = out.len() / groups;
    let mut parts = buffer::take(out.len());
    let step = part.rows_at_once();
    parts.par_chunks_mut(part_len).enumerate().for_each(|(group, out)| {
        let filters = filters.part(group, groups);
        let pool = pool.map(|pool| pool.part(group, groups));
        let pool = pool.as_ref();
        for (block, out) in out.chunks_mut(part.rows_len(step, pool)).enumerate() {
            convolve_rows(part, x, input, filters, pool, block * step, out);
        }
    });
    for (pixel, out) in out.chunks_exact_mut(shape.c_out).enumerate() {
        for (out, part) in out.chunks_exact_mut(part.c_out).zip(parts.chunks_exact(part_len)) {
            out.copy_from_slice(&part[pixel * out.len()..][..out.len()]);
        }
    }
    buffer::put(parts);
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
        let mut grad = buffer::take(weight.len() / 9 * positions(shape.c_in));
        grad.fill(0.0);
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
    if let Some(reversed) = reversed {
        buffer::put(reversed);
    }
    let (grads, sums): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let mut grads = grads.into_iter();
    let mut total = grads.next().unwrap_or_default();
    let others: Vec<Vec<f32>> = grads.collect();
    total.par_chunks_mut(SUMMED_AT_ONCE).enumerate().for_each(|(piece, total)| {
        for other in &others {
            let other = &other[piece * SUMMED_AT_ONCE..];
            total.iter_mut().zip(other).for_each(|(total, x)| *total += x);
        }
    });
    let weight = unpack_gradient(&total, shape.c_in, shape.c_out);
    others.into_iter().chain([total]).for_each(buffer::put);
    ConvGrad { weight, sums: ChannelSums::total(shape.c_in, sums) }
}

fn weight_grad_one(shape: ConvShape, x: &[f32], affine: Option<&Affine>, d_out: &[f32], grad: &mut [f32]) {
    let step = shape.rows_at_once();
    SCRATCH.with_borrow_mut(|scratch| {
        for (block, d_out) in d_out.chunks(step * shape.width * shape.c_out).enumerate() {
            let rows = shape.rows(d_out.len() / (shape.width * shape.c_out));
            let is_winograd = pad_rows(rows, x, block * step, affine.into(), scratch);
            let Scratch { padded, tiles, .. } = &mut *scratch;
            if is_winograd {
                tiles.resize(rows.scratch_len(), 0.0);
                kernels().winograd_grad(rows, padded, d_out, grad, tiles);
            } else {
                kernels().weight_grad(rows, padded, d_out, grad);
            }
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
    let len = step * shape.width * shape.c_in;
    for (block, (d_x, x)) in d_x.chunks_mut(len).zip(x.chunks(len)).enumerate() {
        convolve_rows(back, d_out, Input::Plain, FiltersRef::F32(reversed), None, block * step, d_x);
        if let Some(affine) = affine {
            sum.fill(0.0);
            sum_x.fill(0.0);
            kernels().relu_grad_sums(x, affine, d_x, &mut sum, &mut sum_x);
            sums.add(&sum, &sum_x);
        }
    }
}
