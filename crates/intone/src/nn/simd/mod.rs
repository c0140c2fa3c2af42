//! The vector kernels, and the only place with `unsafe` code.
//!
//! Every kernel is written once, as a macro body over a handful of vector instructions, and compiled for
//! AVX-512, for AVX2 with FMA and for plain arrays that any compiler can vectorise. [`kernels`] picks the best
//! set that this processor runs; the tests run all that it runs against the textbook sums.
//!
//! Why `unsafe` pays here: the register tile of the convolution reaches 80 % of the processor's peak, where
//! the best safe formulation (im2col and a matrix product) reaches 40 %. The functions of [`Kernels`] are safe: they check
//! every length before a kernel sees a pointer.
//!
//! All activations are channels-last (`[height, width, channels]`), with channels in blocks of [`BLOCK`].

#![allow(
    unsafe_code,
    reason = "vector intrinsics; each kernel's bounds are checked by its safe wrapper below"
)]

#[macro_use]
mod rows;
#[macro_use]
mod product;
#[macro_use]
mod tiles;
#[macro_use]
mod body;
pub(crate) mod buffer;
mod int16;
mod winograd;

pub(crate) use int16::{IntegerKernels, integer_kernels, pair};
pub(crate) use winograd::{Filters, FiltersRef};

use std::sync::OnceLock;

use winograd::{Lot, Place, TileKernels};

/// Output channels that one register tile holds; channel counts are multiples of this.
pub(crate) const BLOCK: usize = 32;

/// Output pixels along one side of a tile in Winograd's convolution.
pub(crate) const TILE_OUT: usize = 4;

/// Input pixels along one side of a tile.
pub(crate) const TILE_IN: usize = TILE_OUT + 2;

/// Values that a tile, or a 3 x 3 filter, is transformed to.
pub(crate) const TILE_POSITIONS: usize = TILE_IN * TILE_IN;

/// Floats of transformed tiles that are worked on at once: 256 KiB, a quarter of a second-level cache of 1 MiB.
const TRANSFORMED_FLOATS: usize = 64 * 1024;

/// The shape of one stretch of rows in a 3 x 3 convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    /// Output rows.
    pub(crate) n: usize,
    /// Pixels in a row.
    pub(crate) width: usize,
    /// Input channels.
    pub(crate) c_in: usize,
    /// Output channels, a multiple of [`BLOCK`].
    pub(crate) c_out: usize,
}

impl Rows {
    /// Floats in the padded input, `[n + 2, width + 2, c_in]`.
    pub(crate) fn padded_len(&self) -> usize {
        (self.n + 2) * (self.width + 2) * self.c_in
    }

    /// Floats in the output, `[n, width, c_out]`.
    pub(crate) fn out_len(&self) -> usize {
        self.n * self.width * self.c_out
    }

    /// Tiles in a row of tiles.
    pub(crate) fn tiles_across(&self) -> usize {
        self.width.div_ceil(TILE_OUT)
    }

    /// Rows of tiles.
    pub(crate) fn tiles_down(&self) -> usize {
        self.n.div_ceil(TILE_OUT)
    }

    fn n_tiles(&self) -> usize {
        self.tiles_across() * self.tiles_down()
    }

    /// Row and column of a tile's first output pixel.
    #[inline(always)]
    fn place_of(&self, tile: usize) -> (usize, usize) {
        (tile / self.tiles_across() * TILE_OUT, tile % self.tiles_across() * TILE_OUT)
    }

    /// Floats in a row of the padded input of [`Kernels::winograd_rows`], which has room for whole tiles.
    pub(crate) fn tiled_pitch(&self) -> usize {
        (TILE_OUT * self.tiles_across() + 2) * self.c_in
    }

    /// Floats in the padded input of [`Kernels::winograd_rows`], which has room for whole tiles in both directions.
    pub(crate) fn tiled_padded_len(&self) -> usize {
        (TILE_OUT * self.tiles_down() + 2) * self.tiled_pitch()
    }

    /// Tiles that are transformed before they are multiplied, beside others of `c_beside` channels: a compromise between
    /// the caches, which like few, and the weights, which are read again for each lot.
    pub(crate) fn tiles_at_once(&self, c_beside: usize) -> usize {
        (TRANSFORMED_FLOATS / TILE_POSITIONS / (self.c_in + c_beside)).clamp(14, 140)
    }

    /// Floats of scratch memory for the transformed tiles.
    pub(crate) fn scratch_len(&self) -> usize {
        let len = |c_beside: usize| TILE_POSITIONS * self.tiles_at_once(c_beside) * (self.c_in + c_beside);
        len(BLOCK).max(len(self.c_out))
    }

    /// Floats in the packed weights, `[c_out / 32, 9, c_in, 32]`.
    pub(crate) fn weight_len(&self) -> usize {
        9 * self.c_in * self.c_out
    }
}

/// The shape of a product of rows with a matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    /// Rows, on both sides.
    pub(crate) n: usize,
    /// Floats from the beginning of one input row to that of the next: less than `c_in` where they overlap, as those of
    /// a convolution over time do.
    pub(crate) pitch: usize,
    /// Floats of an input row.
    pub(crate) c_in: usize,
    /// Floats of an output row, a multiple of [`BLOCK`].
    pub(crate) c_out: usize,
    /// Floats from the beginning of one output row to that of the next.
    pub(crate) pitch_out: usize,
}

impl Product {
    /// With output rows one behind the other.
    pub(crate) fn dense(n: usize, pitch: usize, c_in: usize, c_out: usize) -> Product {
        Product { n, pitch, c_in, c_out, pitch_out: c_out }
    }

    /// Floats of the input that are read.
    pub(crate) fn in_len(&self) -> usize {
        (self.n - 1) * self.pitch + self.c_in
    }

    /// Floats from the first that is written to the last.
    pub(crate) fn out_len(&self) -> usize {
        (self.n - 1) * self.pitch_out + self.c_out
    }
}

/// Mean and reciprocal standard deviation.
#[derive(Debug, Clone, Copy)]
struct Moments {
    mean: f32,
    rstd: f32,
}

/// What layer normalisation adds to the variance (Whisper's, and PyTorch's default).
pub(crate) const LAYER_NORM_EPSILON: f32 = 1e-5;

/// How many times each unit of a dropout layer is kept, and with what it is scaled.
///
/// A unit is dropped when a hash of `(seed, index)` is below the rate: nothing is stored for the way back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Dropout {
    /// Units whose 24-bit hash is below this are dropped.
    pub(crate) threshold: u32,
    /// Scale of what is kept, `1 / (1 - rate)`.
    pub(crate) scale: f32,
    /// What makes this layer's mask differ from another's.
    pub(crate) seed: u32,
}

impl Dropout {
    /// Drops each unit with probability `rate`, in `[0, 1)`.
    pub(crate) fn new(rate: f64, seed: u32) -> Dropout {
        Dropout { threshold: (rate * f64::from(1u32 << 24)) as u32, scale: (1.0 / (1.0 - rate)) as f32, seed }
    }

    /// Keeps everything.
    pub(crate) const OFF: Dropout = Dropout { threshold: 0, scale: 1.0, seed: 0 };

    /// The factor of unit `index`: 0 or `scale`.
    #[inline(always)]
    pub(crate) fn factor(&self, index: u32) -> f32 {
        // The finaliser of MurmurHash3 (Appleby, public domain) over a Weyl sequence.
        let mut h = index.wrapping_mul(0x9E37_79B9).wrapping_add(self.seed);
        h ^= h >> 16;
        h = h.wrapping_mul(0x85EB_CA6B);
        h ^= h >> 13;
        h = h.wrapping_mul(0xC2B2_AE35);
        h ^= h >> 16;
        if (h >> 8) < self.threshold { 0.0 } else { self.scale }
    }
}

/// Per-channel constants of batch normalisation's way back: `dy = g * a + y * k1 + k2`.
#[derive(Debug, Clone)]
pub(crate) struct NormGrad {
    /// Scale of the forward pass, `gamma / sqrt(var + eps)`.
    pub(crate) a: Vec<f32>,
    /// Factor of the input.
    pub(crate) k1: Vec<f32>,
    /// Constant.
    pub(crate) k2: Vec<f32>,
}

/// A per-channel `x * scale + shift`, as batch normalisation applies it.
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    /// Factor of each channel.
    pub(crate) scale: Vec<f32>,
    /// Summand of each channel.
    pub(crate) shift: Vec<f32>,
}

impl Affine {
    /// Part `part` of `n` equal ones.
    pub(crate) fn part(&self, part: usize, n: usize) -> Affine {
        let of = |x: &[f32]| x[part * (x.len() / n)..][..x.len() / n].to_vec();
        Affine { scale: of(&self.scale), shift: of(&self.shift) }
    }
}

/// `n` rows of `c` values that begin `pitch` apart, to be `c` rows of `n` values that begin `pitch_out` apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turned {
    pub(crate) n: usize,
    pub(crate) c: usize,
    pub(crate) pitch: usize,
    pub(crate) pitch_out: usize,
}

/// Rows to columns, a square after the other, so that no cache line is fetched twice.
fn transpose_by_squares(Turned { n, c, pitch, pitch_out }: Turned, x: &[f32], out: &mut [f32]) {
    for rows in (0..n).step_by(BLOCK) {
        for columns in (0..c).step_by(BLOCK) {
            for row in rows..(rows + BLOCK).min(n) {
                for column in columns..(columns + BLOCK).min(c) {
                    out[column * pitch_out + row] = x[row * pitch + column];
                }
            }
        }
    }
}

type ConvRows = unsafe fn(Rows, &[f32], &[f32], &mut [f32]);
type WeightGrad = unsafe fn(Rows, &[f32], &[f32], &mut [f32]);
type WinogradGrad = unsafe fn(Rows, &[f32], &[f32], &mut [f32], &mut [f32]);
type AffineRelu = unsafe fn(&[f32], &Affine, &mut [f32]);
type Sums = unsafe fn(&[f32], &mut [f32], &mut [f32]);
type ReluGradSums = unsafe fn(&[f32], &Affine, &mut [f32], &mut [f32], &mut [f32]);
type NormGradApply = unsafe fn(&[f32], &NormGrad, &mut [f32]);
type PoolRows = unsafe fn(&[f32], usize, &Affine, Dropout, u32, &mut [f32]);
type PoolGradSums = unsafe fn(&[f32], usize, &Affine, Dropout, u32, &[f32], &mut [f32], &mut [f32]);
type PoolGradApply = unsafe fn(&[f32], usize, &Affine, Dropout, u32, &[f32], &NormGrad, &mut [f32]);
type Transpose = unsafe fn(Turned, &[f32], &mut [f32]);
type Dot = unsafe fn(&[f32], &[f32]) -> f32;
type DotInt8 = unsafe fn(&[f32], [&[i8]; 4]) -> [f32; 4];
type LinearRows = unsafe fn(Product, &[f32], &[f32], &mut [f32]);
type BiasGelu = unsafe fn(&[f32], &[f32], &mut [f32]);
type BiasGeluGrad = unsafe fn(&[f32], &[f32], &mut [f32], &mut [f32]);
type LayerNorm = unsafe fn(&[f32], &[f32], &[f32], &mut [f32]);
type LayerNormGrad = unsafe fn(&[f32], &[f32], &mut [f32], &mut [f32], &mut [f32]);
type SoftmaxRows = unsafe fn(&mut [f32], usize, usize);
type SoftmaxGradRows = unsafe fn(&[f32], &mut [f32], usize, usize);

/// One set of kernels, for one instruction set.
#[derive(Debug)]
pub(crate) struct Kernels {
    /// What it is compiled for.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests say which kernel is wrong"))]
    pub(crate) name: &'static str,
    conv_rows: ConvRows,
    weight_grad: WeightGrad,
    tiles: TileKernels,
    winograd_grad: WinogradGrad,
    affine_relu: AffineRelu,
    sums: Sums,
    relu_grad_sums: ReluGradSums,
    norm_grad_apply: NormGradApply,
    pool_rows: PoolRows,
    pool_grad_sums: PoolGradSums,
    pool_grad_apply: PoolGradApply,
    transpose: Transpose,
    dot: Dot,
    dot_int8: DotInt8,
    linear_rows: LinearRows,
    bias_gelu: BiasGelu,
    bias_gelu_grad: BiasGeluGrad,
    layer_norm: LayerNorm,
    layer_norm_grad: LayerNormGrad,
    softmax_rows: SoftmaxRows,
    softmax_grad_rows: SoftmaxGradRows,
}

/// Matrix products in bfloat16: values are rounded to the 8 bits of its mantissa, sums are in single precision.
///
/// Two neighbours along the sum share the 32 bits of one float, the first in the lower half: a pair. What a pair is as a
/// float means nothing.
#[derive(Debug)]
pub(crate) struct PairKernels {
    to_pairs: unsafe fn(&[f32], &mut [f32]),
    pair_up: unsafe fn(&[f32], &[f32], &mut [f32]),
    turn: unsafe fn(&[f32], usize, usize, &mut [f32]),
    linear_rows: LinearRows,
}

/// The kernels for bfloat16, where this processor has instructions for it.
pub(crate) fn pair_kernels() -> Option<&'static PairKernels> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
        return Some(&avx512_bf16::KERNELS);
    }
    None
}

/// The best kernels that this processor runs.
pub(crate) fn kernels() -> &'static Kernels {
    static BEST: OnceLock<&'static Kernels> = OnceLock::new();
    BEST.get_or_init(|| available()[0])
}

/// All kernels that this processor runs, best first.
pub(crate) fn available() -> Vec<&'static Kernels> {
    let mut all: Vec<&'static Kernels> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
            all.push(&avx512::KERNELS);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            all.push(&avx2::KERNELS);
        }
    }
    all.push(&portable::KERNELS);
    all
}

/// Work whose loops a compiler can turn into vectors by itself.
pub(crate) trait Vectorised {
    /// Does it. To be marked `#[inline(always)]`, and so is what it calls: only what ends up in [`vectorised`] is
    /// compiled for its instructions.
    fn run(self);
}

/// Does the work with the widest vectors that this processor has. The answer is the same to the last bit: products and
/// sums stay apart.
pub(crate) fn vectorised<W: Vectorised>(work: W) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn avx2<W: Vectorised>(work: W) {
            work.run();
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has these instructions.
            return unsafe { avx2(work) };
        }
    }
    work.run();
}

// SAFETY of the calls below: a set of kernels is only handed out by `available` after its instructions were
// detected, and every kernel stays inside the lengths that its wrapper asserts.
impl Kernels {
    /// `out = conv3x3(padded)`: `padded` `[n + 2, width + 2, c_in]`, `weight` `[c_out / 32, 9, c_in, 32]`, `out` `[n, width, c_out]`.
    pub(crate) fn conv_rows(&self, rows: Rows, padded: &[f32], weight: &[f32], out: &mut [f32]) {
        assert!(rows.c_out.is_multiple_of(BLOCK) && rows.c_out > 0 && rows.c_in > 0);
        assert_eq!(padded.len(), rows.padded_len());
        assert_eq!(weight.len(), rows.weight_len());
        assert_eq!(out.len(), rows.out_len());
        unsafe { (self.conv_rows)(rows, padded, weight, out) }
    }

    /// Adds the gradient by the weights of these rows to `grad` `[c_out / 32, 9, c_in, 32]`; `d_out` `[n, width, c_out]`.
    pub(crate) fn weight_grad(&self, rows: Rows, padded: &[f32], d_out: &[f32], grad: &mut [f32]) {
        assert!(rows.c_out.is_multiple_of(BLOCK) && rows.c_out > 0 && rows.c_in > 0);
        assert_eq!(padded.len(), rows.padded_len());
        assert_eq!(d_out.len(), rows.out_len());
        assert_eq!(grad.len(), rows.weight_len());
        unsafe { (self.weight_grad)(rows, padded, d_out, grad) }
    }

    /// Adds the gradient by the transformed weights of these rows to `grad` `[c_out / 32, 36, c_in, 32]`.
    pub(crate) fn winograd_grad(
        &self,
        rows: Rows,
        padded: &[f32],
        d_out: &[f32],
        grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        check_winograd(rows, padded, grad, scratch);
        assert_eq!(d_out.len(), rows.out_len());
        unsafe { (self.winograd_grad)(rows, padded, d_out, grad, scratch) }
    }

    /// `out = relu(x * scale + shift)`; `x` and `out` `[pixels, c]`.
    pub(crate) fn affine_relu(&self, x: &[f32], affine: &Affine, out: &mut [f32]) {
        check_channels(x.len(), affine.scale.len());
        assert_eq!(affine.scale.len(), affine.shift.len());
        assert_eq!(x.len(), out.len());
        unsafe { (self.affine_relu)(x, affine, out) }
    }

    /// Adds the sum and the sum of squares of each channel of `x` `[pixels, c]`.
    pub(crate) fn sums(&self, x: &[f32], sum: &mut [f32], sum_sq: &mut [f32]) {
        check_channels(x.len(), sum.len());
        assert_eq!(sum.len(), sum_sq.len());
        unsafe { (self.sums)(x, sum, sum_sq) }
    }

    /// The way back through ReLU, in place: `grad = 0` where `y * scale + shift <= 0`. Adds the sums of `grad` and of `grad * y`.
    pub(crate) fn relu_grad_sums(
        &self,
        y: &[f32],
        affine: &Affine,
        grad: &mut [f32],
        sum: &mut [f32],
        sum_y: &mut [f32],
    ) {
        check_channels(y.len(), affine.scale.len());
        assert_eq!(y.len(), grad.len());
        for len in [affine.shift.len(), sum.len(), sum_y.len()] {
            assert_eq!(len, affine.scale.len());
        }
        unsafe { (self.relu_grad_sums)(y, affine, grad, sum, sum_y) }
    }

    /// In place: `grad = grad * a + y * k1 + k2`.
    pub(crate) fn norm_grad_apply(&self, y: &[f32], norm: &NormGrad, grad: &mut [f32]) {
        check_channels(y.len(), norm.a.len());
        assert_eq!(y.len(), grad.len());
        assert!(norm.a.len() == norm.k1.len() && norm.a.len() == norm.k2.len());
        unsafe { (self.norm_grad_apply)(y, norm, grad) }
    }

    /// 2 x 2 max pooling of `relu(y * scale + shift)` with dropout. `y` `[2 n, width, c]` (an odd last row is
    /// left out), `out` `[n, width / 2, c]`; `first` is the dropout index of `out[0]`.
    pub(crate) fn pool_rows(
        &self,
        y: &[f32],
        width: usize,
        affine: &Affine,
        dropout: Dropout,
        first: u32,
        out: &mut [f32],
    ) {
        check_pool(y.len(), width, affine, out.len());
        unsafe { (self.pool_rows)(y, width, affine, dropout, first, out) }
    }

    /// The sums of [`Kernels::relu_grad_sums`] for a pooled layer: `d_out` `[n, width / 2, c]` reaches only the
    /// winner of each window.
    #[expect(clippy::too_many_arguments, reason = "the tensors of one layer's way back")]
    pub(crate) fn pool_grad_sums(
        &self,
        y: &[f32],
        width: usize,
        affine: &Affine,
        dropout: Dropout,
        first: u32,
        d_out: &[f32],
        sum: &mut [f32],
        sum_y: &mut [f32],
    ) {
        check_pool(y.len(), width, affine, d_out.len());
        assert!(sum.len() == affine.scale.len() && sum_y.len() == affine.scale.len());
        unsafe { (self.pool_grad_sums)(y, width, affine, dropout, first, d_out, sum, sum_y) }
    }

    /// The gradient by `y` of pooling, ReLU and batch normalisation, written to all of `grad` (as long as `y`).
    #[expect(clippy::too_many_arguments, reason = "the tensors of one layer's way back")]
    pub(crate) fn pool_grad_apply(
        &self,
        y: &[f32],
        width: usize,
        affine: &Affine,
        dropout: Dropout,
        first: u32,
        d_out: &[f32],
        norm: &NormGrad,
        grad: &mut [f32],
    ) {
        check_pool(y.len(), width, affine, d_out.len());
        assert_eq!(y.len(), grad.len());
        for len in [norm.a.len(), norm.k1.len(), norm.k2.len()] {
            assert_eq!(len, affine.scale.len());
        }
        unsafe { (self.pool_grad_apply)(y, width, affine, dropout, first, d_out, norm, grad) }
    }

    /// The sum of the products of two vectors of the same length.
    pub(crate) fn dot(&self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        unsafe { (self.dot)(a, b) }
    }

    /// The same with four vectors of 8-bit integers at once.
    pub(crate) fn dot_int8(&self, a: &[f32], b: [&[i8]; 4]) -> [f32; 4] {
        assert!(b.iter().all(|b| b.len() == a.len()));
        unsafe { (self.dot_int8)(a, b) }
    }

    /// `out = x W`: row `t` of `x` is the `c_in` floats from `t * pitch` on, `weight` `[c_out / 32, c_in, 32]`, row `t` of
    /// `out` the `c_out` floats from `t * pitch_out` on.
    pub(crate) fn linear_rows(&self, shape: Product, x: &[f32], weight: &[f32], out: &mut [f32]) {
        check_product(shape, x, weight, out);
        unsafe { (self.linear_rows)(shape, x, weight, out) }
    }

    /// `out = gelu(x + bias)`; `x` and `out` `[n, c]`, `bias` `[c]`.
    pub(crate) fn bias_gelu(&self, x: &[f32], bias: &[f32], out: &mut [f32]) {
        check_rows(x.len(), bias.len());
        assert_eq!(x.len(), out.len());
        unsafe { (self.bias_gelu)(x, bias, out) }
    }

    /// The way back of [`Kernels::bias_gelu`], in place; adds the gradient by the bias to `by_bias`.
    pub(crate) fn bias_gelu_grad(&self, x: &[f32], bias: &[f32], grad: &mut [f32], by_bias: &mut [f32]) {
        check_rows(x.len(), bias.len());
        assert!(x.len() == grad.len() && bias.len() == by_bias.len());
        unsafe { (self.bias_gelu_grad)(x, bias, grad, by_bias) }
    }

    /// Layer normalisation of each row; `x` and `out` `[n, c]`, `gamma` and `beta` `[c]`.
    pub(crate) fn layer_norm(&self, x: &[f32], gamma: &[f32], beta: &[f32], out: &mut [f32]) {
        check_rows(x.len(), gamma.len());
        assert!(x.len() == out.len() && gamma.len() == beta.len());
        unsafe { (self.layer_norm)(x, gamma, beta, out) }
    }

    /// The way back of [`Kernels::layer_norm`], in place; adds the gradients by `gamma` and `beta`.
    pub(crate) fn layer_norm_grad(
        &self,
        x: &[f32],
        gamma: &[f32],
        grad: &mut [f32],
        by_gamma: &mut [f32],
        by_beta: &mut [f32],
    ) {
        check_rows(x.len(), gamma.len());
        assert_eq!(x.len(), grad.len());
        assert!(by_gamma.len() == gamma.len() && by_beta.len() == gamma.len());
        unsafe { (self.layer_norm_grad)(x, gamma, grad, by_gamma, by_beta) }
    }

    /// Softmax of the first `n` values of each row of `pitch`, in place; what lies beyond becomes 0.
    pub(crate) fn softmax_rows(&self, x: &mut [f32], pitch: usize, n: usize) {
        check_rows(x.len(), pitch);
        assert!(n > 0 && n <= pitch);
        unsafe { (self.softmax_rows)(x, pitch, n) }
    }

    /// Rows to columns.
    pub(crate) fn transpose(&self, shape: Turned, x: &[f32], out: &mut [f32]) {
        let Turned { n, c, pitch, pitch_out } = shape;
        assert!(n > 0 && c > 0 && c <= pitch && n <= pitch_out);
        assert!(x.len() >= (n - 1) * pitch + c && out.len() >= (c - 1) * pitch_out + n);
        unsafe { (self.transpose)(shape, x, out) }
    }

    /// The way back of [`Kernels::softmax_rows`] from its answer `p`, in place.
    pub(crate) fn softmax_grad_rows(&self, p: &[f32], grad: &mut [f32], pitch: usize, n: usize) {
        check_rows(p.len(), pitch);
        assert_eq!(p.len(), grad.len());
        assert!(n > 0 && n <= pitch);
        unsafe { (self.softmax_grad_rows)(p, grad, pitch, n) }
    }
}

// SAFETY of the calls below: as of those above, with `pair_kernels` in place of `available`.
impl PairKernels {
    /// Neighbours of `x` as pairs; the partner of an odd last value is 0.
    pub(crate) fn to_pairs(&self, x: &[f32], pairs: &mut [f32]) {
        assert_eq!(pairs.len(), x.len().div_ceil(2));
        unsafe { (self.to_pairs)(x, pairs) }
    }

    /// `pairs[i]` of `first[i]` and `second[i]`.
    pub(crate) fn pair_up(&self, first: &[f32], second: &[f32], pairs: &mut [f32]) {
        assert!(first.len() == second.len() && first.len() == pairs.len());
        unsafe { (self.pair_up)(first, second, pairs) }
    }

    /// Pairs along the columns of `x` `[n, c]`, turned: `[columns, n / 2]` of the columns from `first` on. The partner of an odd
    /// last row is 0.
    pub(crate) fn turn(&self, x: &[f32], c: usize, first: usize, pairs: &mut [f32]) {
        check_rows(x.len(), c);
        let n_pairs = (x.len() / c).div_ceil(2);
        assert!(pairs.len().is_multiple_of(n_pairs) && first + pairs.len() / n_pairs <= c);
        unsafe { (self.turn)(x, c, first, pairs) }
    }

    /// [`Kernels::linear_rows`] of pairs: `pitch` and `c_in` count them.
    pub(crate) fn linear_rows(&self, shape: Product, x: &[f32], weight: &[f32], out: &mut [f32]) {
        check_product(shape, x, weight, out);
        unsafe { (self.linear_rows)(shape, x, weight, out) }
    }
}

fn check_product(shape: Product, x: &[f32], weight: &[f32], out: &[f32]) {
    assert!(shape.n > 0 && shape.c_in > 0 && shape.c_out > 0 && shape.c_out.is_multiple_of(BLOCK));
    assert!(shape.pitch_out >= shape.c_out);
    assert!(x.len() >= shape.in_len() && out.len() >= shape.out_len());
    assert_eq!(weight.len(), shape.c_in * shape.c_out);
}

fn check_rows(len: usize, c: usize) {
    assert!(c > 0 && len.is_multiple_of(c));
}

fn check_channels(len: usize, c: usize) {
    assert!(c > 0 && c.is_multiple_of(BLOCK) && len.is_multiple_of(c));
}

fn check_winograd(rows: Rows, padded: &[f32], weight: &[f32], scratch: &[f32]) {
    check_tiles(rows, padded);
    assert_eq!(weight.len(), TILE_POSITIONS * rows.c_in * rows.c_out);
    assert_eq!(scratch.len(), rows.scratch_len());
}

fn check_tiles(rows: Rows, padded: &[f32]) {
    assert!(rows.n > 0 && rows.width > 0);
    assert!(rows.c_in > 0 && rows.c_in.is_multiple_of(BLOCK));
    assert!(rows.c_out > 0 && rows.c_out.is_multiple_of(BLOCK));
    assert_eq!(padded.len(), rows.tiled_padded_len());
}

fn check_pool(y_len: usize, width: usize, affine: &Affine, out_len: usize) {
    let c = affine.scale.len();
    assert!(c > 0 && c.is_multiple_of(BLOCK) && affine.shift.len() == c && width > 0);
    assert!(y_len.is_multiple_of(width * c));
    assert_eq!(out_len, y_len / (width * c) / 2 * (width / 2) * c);
}

/// The mask of the first `n` of 16 lanes; of all, where there are no more.
#[cfg(target_arch = "x86_64")]
fn first(n: usize) -> std::arch::x86_64::__mmask16 {
    if n >= 16 { !0 } else { (1 << n) - 1 }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::Turned;

    type Vector = __m512;
    const LANES: usize = 16;
    /// 14 pixels x 2 vectors = 28 of 32 registers.
    const TILE: usize = 14;
    const TILE_VECTORS: usize = 2;
    const GRAD_TILE: usize = 8;
    /// Lane `j` of vector `i` becomes lane `i` of vector `j`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn transposed(x: [__m512i; LANES]) -> [__m512i; LANES] {
        let mut twos = x;
        for i in (0..LANES).step_by(2) {
            twos[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
            twos[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
        }
        // A quarter of vector `i + j` has column `4 q + j` of rows `i` to `i + 3`, where it is the quarter `q`.
        let mut fours = twos;
        for i in (0..LANES).step_by(4) {
            fours[i] = _mm512_unpacklo_epi64(twos[i], twos[i + 2]);
            fours[i + 1] = _mm512_unpackhi_epi64(twos[i], twos[i + 2]);
            fours[i + 2] = _mm512_unpacklo_epi64(twos[i + 1], twos[i + 3]);
            fours[i + 3] = _mm512_unpackhi_epi64(twos[i + 1], twos[i + 3]);
        }
        let mut out = fours;
        for j in 0..4 {
            // Quarters 0 and 2 of two vectors, and 1 and 3.
            let even = |a, b| _mm512_shuffle_i32x4::<0x88>(a, b);
            let odd = |a, b| _mm512_shuffle_i32x4::<0xDD>(a, b);
            let [a, b, c, d] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
            let (upper, lower) = (even(a, b), even(c, d));
            (out[j], out[8 + j]) = (even(upper, lower), odd(upper, lower));
            let (upper, lower) = (odd(a, b), odd(c, d));
            (out[4 + j], out[12 + j]) = (even(upper, lower), odd(upper, lower));
        }
        out
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn transpose(shape: Turned, x: &[f32], out: &mut [f32]) {
        let Turned { n, c, pitch, pitch_out } = shape;
        for column in (0..c).step_by(LANES) {
            let columns = super::first(c - column);
            for row in (0..n).step_by(LANES) {
                let rows = super::first(n - row);
                // SAFETY: rows end with `n`, columns with `c`, at the masks.
                unsafe {
                    let mut block = [_mm512_setzero_si512(); LANES];
                    for (i, vector) in block.iter_mut().enumerate().take(n - row) {
                        let input = x.as_ptr().add((row + i) * pitch + column);
                        *vector = _mm512_castps_si512(_mm512_maskz_loadu_ps(columns, input));
                    }
                    for (i, vector) in transposed(block).into_iter().enumerate().take(c - column) {
                        let output = out.as_mut_ptr().add((column + i) * pitch_out + row);
                        _mm512_mask_storeu_ps(output, rows, _mm512_castsi512_ps(vector));
                    }
                }
            }
        }
    }

    kernels!([target_feature(enable = "avx512f,fma")], "avx512", 1 2 3 4 5 6 7 8 9 10 11 12 13 14; _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_max_ps);
}

#[cfg(target_arch = "x86_64")]
mod avx512_bf16 {
    use std::arch::x86_64::*;
    use std::mem::transmute;

    use super::avx512::transposed;
    use super::{BLOCK, PairKernels, Product, first};

    const LANES: usize = 16;
    const TILE: usize = 14;
    const TILE_VECTORS: usize = 2;
    const CHANNELS: usize = TILE_VECTORS * LANES;

    pub(super) static KERNELS: PairKernels = PairKernels { to_pairs, pair_up, turn, linear_rows };

    product_kernels!([target_feature(enable = "avx512f,avx512bf16")], 1 2 3 4 5 6 7 8 9 10 11 12 13 14; _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, multiply_add_pairs);

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn multiply_add_pairs(x: __m512, weight: __m512, sum: __m512) -> __m512 {
        // SAFETY: both are 512 bits, and any bits are values of bfloat16.
        let (x, weight) =
            unsafe { (transmute::<__m512, __m512bh>(x), transmute::<__m512, __m512bh>(weight)) };
        _mm512_dpbf16_ps(sum, x, weight)
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn to_pairs(x: &[f32], pairs: &mut [f32]) {
        for i in (0..x.len()).step_by(2 * LANES) {
            let left = x.len() - i;
            // SAFETY: the masks keep every access inside the slices; `pairs` has half the length of `x`, rounded up.
            unsafe {
                let input = x.as_ptr().add(i);
                let low = _mm512_maskz_loadu_ps(first(left), input);
                let high =
                    _mm512_maskz_loadu_ps(first(left.saturating_sub(LANES)), input.wrapping_add(LANES));
                let rounded = transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(high, low));
                _mm512_mask_storeu_ps(pairs.as_mut_ptr().add(i / 2), first(left.div_ceil(2)), rounded);
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn pair_up(low: &[f32], high: &[f32], pairs: &mut [f32]) {
        for i in (0..pairs.len()).step_by(LANES) {
            let mask = first(pairs.len() - i);
            // SAFETY: the mask keeps every access inside the slices, which are equally long.
            unsafe {
                let low = _mm512_maskz_loadu_ps(mask, low.as_ptr().add(i));
                let high = _mm512_maskz_loadu_ps(mask, high.as_ptr().add(i));
                let pair = _mm512_castsi512_ps(lane_by_lane(low, high));
                _mm512_mask_storeu_ps(pairs.as_mut_ptr().add(i), mask, pair);
            }
        }
    }

    /// A pair of each lane's two values.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn lane_by_lane(low: __m512, high: __m512) -> __m512i {
        // SAFETY: both are 256 bits.
        let [low, high] =
            [low, high].map(|x| unsafe { transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x)) });
        _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(high)))
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn turn(x: &[f32], c: usize, first_column: usize, pairs: &mut [f32]) {
        let n = x.len() / c;
        let n_pairs = n.div_ceil(2);
        let n_columns = pairs.len() / n_pairs;
        for column in (0..n_columns).step_by(LANES) {
            let columns = first(n_columns - column);
            for pair in (0..n_pairs).step_by(LANES) {
                // SAFETY: rows end with `n`, columns and pairs at the masks.
                unsafe {
                    let row = |t: usize| {
                        let columns = if t < n { columns } else { 0 };
                        _mm512_maskz_loadu_ps(columns, x.as_ptr().wrapping_add(t * c + first_column + column))
                    };
                    let mut block = [_mm512_setzero_si512(); LANES];
                    for (i, rows) in block.iter_mut().enumerate() {
                        *rows = lane_by_lane(row(2 * (pair + i)), row(2 * (pair + i) + 1));
                    }
                    let turned = transposed(block);
                    for (i, turned) in turned.into_iter().enumerate().take(n_columns - column) {
                        let out = pairs.as_mut_ptr().add((column + i) * n_pairs + pair);
                        _mm512_mask_storeu_ps(out, first(n_pairs - pair), _mm512_castsi512_ps(turned));
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;
    type Vector = __m256;
    const LANES: usize = 8;
    /// 6 pixels x 2 vectors = 12 of 16 registers.
    const TILE: usize = 6;
    const TILE_VECTORS: usize = 2;
    const GRAD_TILE: usize = 4;
    use super::transpose_by_squares as transpose;
    kernels!([target_feature(enable = "avx2,fma")], "avx2", 1 2 3 4 5 6; _mm256_setzero_ps, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_max_ps);
}

mod portable {
    type Vector = [f32; 8];
    const LANES: usize = 8;
    const TILE: usize = 3;
    const TILE_VECTORS: usize = 1;
    const GRAD_TILE: usize = 4;

    #[inline(always)]
    fn zero() -> Vector {
        [0.0; 8]
    }
    #[inline(always)]
    fn splat(x: f32) -> Vector {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Vector {
        unsafe { p.cast::<Vector>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Vector) {
        unsafe { p.cast::<Vector>().write_unaligned(v) }
    }
    #[inline(always)]
    fn add(a: Vector, b: Vector) -> Vector {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(a: Vector, b: Vector) -> Vector {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn multiply_add(a: Vector, b: Vector, c: Vector) -> Vector {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn multiply(a: Vector, b: Vector) -> Vector {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn max(a: Vector, b: Vector) -> Vector {
        std::array::from_fn(|i| a[i].max(b[i]))
    }
    use super::transpose_by_squares as transpose;
    kernels!([inline], "portable", 1 2 3; zero, splat, load, store, multiply_add, add, sub, multiply, max);
}

#[cfg(test)]
mod tests;
