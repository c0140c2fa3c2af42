//! Products of 16-bit integers with sums of 32 bits: about twice as fast as in single precision, where the processor has
//! instructions for it (AVX-512 VNNI).
//!
//! As in [`PairKernels`](super::PairKernels), two neighbours along the sum share the 32 bits of one float, the first in the
//! lower half, and what they are as a float means nothing; nor do the sums, until they are scaled. No sum can overflow:
//! whoever rounds sees to it that the largest input times all weights of an output stays inside 32 bits.

use super::winograd::TileKernels;
use super::{BLOCK, LinearRows, Product, check_product};

/// The largest magnitude of a rounded value.
const LIMIT: f32 = 32_767.0;

/// What a value is to be divided by before it is rounded, so that inputs up to `input_limit` cannot make the sum of their
/// products with all of `weights` overflow, rounding included.
pub(super) fn scale_for(weights: &[f32], input_limit: f32) -> f32 {
    let (largest, sum) = weights
        .iter()
        .fold((0.0f32, 0.0f64), |(largest, sum), w| (largest.max(w.abs()), sum + f64::from(w.abs())));
    let room = f64::from(i32::MAX) / f64::from(input_limit) - weights.len() as f64;
    (largest / LIMIT).max((sum / room) as f32)
}

/// The channel whose value lies at place `i` of the integers that [`TileKernels`] makes: of each block of channels, four of its
/// first half, then four of its second half, and so on.
pub(super) fn tile_channel(i: usize) -> usize {
    let (block, i) = (i / BLOCK * BLOCK, i % BLOCK);
    block + i / 8 * 4 + i % 4 + if i % 8 < 4 { 0 } else { BLOCK / 2 }
}

/// `weight` in units of `scale`; a scale of 0 has only zeros.
pub(super) fn round(weight: f32, scale: f32) -> i16 {
    if scale > 0.0 { (weight / scale).round() as i16 } else { 0 }
}

/// Puts the weights of one output channel into a block, of which `pairs` is what begins with this channel.
pub(super) fn put_column(weights: impl IntoIterator<Item = i16>, pairs: &mut [f32]) {
    let mut weights = weights.into_iter();
    for to in pairs.iter_mut().step_by(BLOCK) {
        let low = weights.next().unwrap_or(0);
        *to = pair(low, weights.next().unwrap_or(0));
    }
}

/// Two neighbours.
pub(crate) fn pair(low: i16, high: i16) -> f32 {
    f32::from_bits(u32::from(low as u16) | u32::from(high as u16) << 16)
}

/// What makes values up to `largest` integers up to `limit`, and what makes them values again.
fn scales_of(largest: f32, limit: f32) -> (f32, f32) {
    (if largest > 0.0 { limit / largest } else { 0.0 }, largest / limit)
}

/// The kernels for 16-bit integers.
#[derive(Debug)]
pub(crate) struct IntegerKernels {
    largest: unsafe fn(&[f32]) -> f32,
    round: unsafe fn(*const f32, usize, f32, *mut i16),
    rescale: unsafe fn(&mut [f32], f32, &[f32]),
    linear_rows: LinearRows,
    pub(super) tiles: TileKernels,
}

/// The kernels for 16-bit integers, where this processor has instructions for them.
pub(crate) fn integer_kernels() -> Option<&'static IntegerKernels> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
    {
        return Some(&avx512_vnni::KERNELS);
    }
    None
}

// SAFETY of the calls below: `integer_kernels` has detected the instructions, and the lengths are checked.
impl IntegerKernels {
    /// Rounds `x` to pairs of integers from `-limit` to `limit`, the partner of an odd last value 0. Returns the scale, times
    /// which the integers are about `x`: no number, or infinity, if `x` has a value that is.
    pub(crate) fn round(&self, x: &[f32], limit: f32, pairs: &mut [f32]) -> f32 {
        assert_eq!(pairs.len(), x.len().div_ceil(2));
        // The half of the last pair that may be left over.
        if let Some(last) = pairs.last_mut() {
            *last = 0.0;
        }
        let (inverse, scale) = scales_of(unsafe { (self.largest)(x) }, limit);
        unsafe { (self.round)(x.as_ptr(), x.len(), inverse, pairs.as_mut_ptr().cast()) }
        scale
    }

    /// Rows of sums `[n, c]` to numbers: times `scale`, times `scales` `[c]`.
    pub(crate) fn rescale(&self, sums: &mut [f32], scale: f32, scales: &[f32]) {
        assert!(!scales.is_empty() && scales.len().is_multiple_of(BLOCK));
        assert!(sums.len().is_multiple_of(scales.len()));
        unsafe { (self.rescale)(sums, scale, scales) }
    }

    /// The sums of [`Kernels::linear_rows`](super::Kernels::linear_rows) of pairs: `pitch` and `c_in` count them.
    pub(crate) fn linear_rows(&self, shape: Product, x: &[f32], weight: &[f32], sums: &mut [f32]) {
        check_product(shape, x, weight, sums);
        unsafe { (self.linear_rows)(shape, x, weight, sums) }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512_vnni {
    use std::arch::x86_64::*;

    use super::super::winograd::{Lot, POSITION_FACTORS, Place, TileKernels, input_limit};
    use super::super::{Affine, BLOCK, Product, Rows, TILE_IN, TILE_OUT, TILE_POSITIONS, first};
    use super::{IntegerKernels, scales_of};

    type Vector = __m512;
    const LANES: usize = 16;
    const TILE: usize = 14;
    const TILE_VECTORS: usize = 2;
    const CHANNELS: usize = TILE_VECTORS * LANES;
    const INTEGERS: bool = true;

    pub(super) static KERNELS: IntegerKernels =
        IntegerKernels { largest, round, rescale, linear_rows, tiles: TILES };

    tile_kernels!([target_feature(enable = "avx512f,fma")]; _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_max_ps, load_sum);

    const TILES: TileKernels = TileKernels { transform: transform_tiles, back: transform_back };

    /// The larger magnitude of each two; as integers, so that what is no number stays.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn larger(x: __m512, magnitude: __m512) -> __m512 {
        let (x, magnitude) = (_mm512_castps_si512(_mm512_abs_ps(x)), _mm512_castps_si512(magnitude));
        _mm512_castsi512_ps(_mm512_max_epu32(x, magnitude))
    }

    /// Sums as numbers.
    ///
    /// # Safety
    /// Both are readable for a vector.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_sum(sums: *const f32, scales: *const f32) -> __m512 {
        unsafe { _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums.cast())), _mm512_loadu_ps(scales)) }
    }

    product_kernels!([target_feature(enable = "avx512f,avx512vnni")], 1 2 3 4 5 6 7 8 9 10 11 12 13 14; _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, multiply_add_pairs);

    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn multiply_add_pairs(x: __m512, weight: __m512, sum: __m512) -> __m512 {
        let (x, weight, sum) =
            (_mm512_castps_si512(x), _mm512_castps_si512(weight), _mm512_castps_si512(sum));
        _mm512_castsi512_ps(_mm512_dpwssd_epi32(sum, x, weight))
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn largest(x: &[f32]) -> f32 {
        let mut largest = _mm512_setzero_ps();
        for i in (0..x.len()).step_by(LANES) {
            // SAFETY: the mask keeps the access inside.
            let x = unsafe { _mm512_maskz_loadu_ps(first(x.len() - i), x.as_ptr().add(i)) };
            largest = larger(x, largest);
        }
        reduce(largest)
    }

    #[target_feature(enable = "avx512f,avx512bw,fma")]
    unsafe fn transform_tiles(rows: Rows, lot: Lot, padded: &[f32], v: &mut [f32], scales: &mut [f32]) {
        let (c_in, pitch) = (rows.c_in, rows.tiled_pitch());
        // One tile of floats at a time, behind the pairs.
        let (pairs, tile) = v.split_at_mut(TILE_POSITIONS * lot.room * c_in / 2);
        let tile = &mut tile[..TILE_POSITIONS * c_in];
        for (t, scale) in scales[..lot.count].iter_mut().enumerate() {
            let (y, x) = rows.place_of(lot.first + t);
            // SAFETY: the caller has checked all lengths. Tile (ty, tx) reads 6 rows from 4 ty on and 6 pixels from 4 tx on,
            // which the padded input has; the pairs have 36 positions of `room` tiles.
            unsafe {
                let input = padded.as_ptr().add(y * pitch + x * c_in);
                transform_input(input, pitch, c_in, tile.as_mut_ptr(), c_in);
                let mut seen = _mm512_setzero_ps();
                for (x, factor) in tile.chunks_exact(c_in).zip(POSITION_FACTORS) {
                    let factor = _mm512_set1_ps(factor);
                    for c in (0..c_in).step_by(LANES) {
                        let x = _mm512_loadu_ps(x.as_ptr().add(c));
                        seen = larger(_mm512_mul_ps(x, factor), seen);
                    }
                }
                let inverse;
                (inverse, *scale) = scales_of(reduce(seen), input_limit(c_in));
                for (position, (x, factor)) in tile.chunks_exact(c_in).zip(POSITION_FACTORS).enumerate() {
                    let inverse = _mm512_set1_ps(inverse * factor);
                    let to = pairs.as_mut_ptr().add((position * lot.room + t) * c_in / 2);
                    for c in (0..c_in).step_by(BLOCK) {
                        let low = _mm512_mul_ps(_mm512_loadu_ps(x.as_ptr().add(c)), inverse);
                        let high = _mm512_mul_ps(_mm512_loadu_ps(x.as_ptr().add(c + LANES)), inverse);
                        let (low, high) = (_mm512_cvtps_epi32(low), _mm512_cvtps_epi32(high));
                        _mm512_storeu_si512(to.add(c / 2).cast(), _mm512_packs_epi32(low, high));
                    }
                }
            }
        }
    }

    /// The largest magnitude of a vector of them.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn reduce(magnitudes: __m512) -> f32 {
        f32::from_bits(_mm512_reduce_max_epu32(_mm512_castps_si512(magnitudes)))
    }

    /// # Safety
    /// `x` is readable for `n` floats, `integers` writable for as many.
    #[target_feature(enable = "avx512f")]
    unsafe fn round(x: *const f32, n: usize, inverse: f32, integers: *mut i16) {
        let inverse = _mm512_set1_ps(inverse);
        let rounded = |x: __m512| _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(_mm512_mul_ps(x, inverse)));
        let whole = n / LANES * LANES;
        // SAFETY: whole vectors lie inside, and of the rest the mask keeps what is read inside, and `n` what is written.
        unsafe {
            for i in (0..whole).step_by(LANES) {
                _mm256_storeu_si256(integers.add(i).cast(), rounded(_mm512_loadu_ps(x.add(i))));
            }
            if whole < n {
                let mut rest = [0i16; LANES];
                let x = _mm512_maskz_loadu_ps(first(n - whole), x.add(whole));
                _mm256_storeu_si256(rest.as_mut_ptr().cast(), rounded(x));
                integers.add(whole).copy_from_nonoverlapping(rest.as_ptr(), n - whole);
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn rescale(sums: &mut [f32], scale: f32, scales: &[f32]) {
        let c = scales.len();
        for channel in (0..c).step_by(BLOCK) {
            // SAFETY: both have whole blocks, the sums in whole rows of `c`.
            unsafe {
                let factors = [0, LANES].map(|v| {
                    _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_loadu_ps(scales.as_ptr().add(channel + v)))
                });
                for row in (0..sums.len()).step_by(c) {
                    for (v, factor) in factors.into_iter().enumerate() {
                        let at = sums.as_mut_ptr().add(row + channel + v * LANES);
                        let sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(at.cast()));
                        _mm512_storeu_ps(at, _mm512_mul_ps(sum, factor));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    fn halves(pairs: &[f32]) -> Vec<i16> {
        let pairs = pairs.iter().map(|pair| pair.to_bits());
        pairs.flat_map(|pair| [pair as i16, (pair >> 16) as i16]).collect()
    }

    #[test]
    fn values_are_rounded_to_the_nearest_step_of_the_largest() {
        let Some(kernels) = integer_kernels() else {
            return println!("skipped: this processor has no instructions for products of 16-bit integers");
        };
        for n in [1, 2, 15, 16, 17, 31, 32, 33, 64, 77, 131] {
            for limit in [LIMIT, 4_095.0] {
                let x = noise(n, 5);
                let mut pairs = vec![f32::NAN; n.div_ceil(2)];
                let scale = kernels.round(&x, limit, &mut pairs);
                let largest = x.iter().fold(0.0f32, |max, x| max.max(x.abs()));
                assert!((scale * limit / largest - 1.0).abs() < 1e-6, "{n}: {scale}");
                let got = halves(&pairs);
                for (i, got) in got.iter().enumerate() {
                    let want = x.get(i).map_or(0.0, |x| x / scale);
                    assert!(
                        (f32::from(*got) - want).abs() <= 0.51,
                        "{n}, value {i}: {got} instead of {want}"
                    );
                }
            }
        }
    }

    /// The largest inputs and weights of the sign that adds up: the sum is the exact one.
    #[test]
    fn no_sum_overflows() {
        let Some(kernels) = integer_kernels() else { return };
        for (n, limit) in [(2, LIMIT), (64, 16_383.0), (1_000, 16_383.0), (4_000, 8_191.0)] {
            let weights: Vec<f32> = noise(n, 6).iter().map(|x| x + x.signum()).collect();
            let scale = scale_for(&weights, limit);
            let rounded: Vec<i16> = weights.iter().map(|w| round(*w, scale)).collect();
            let x: Vec<f32> = weights.iter().map(|w| w.signum()).collect();
            let mut inputs = vec![0.0; n / 2];
            let input_scale = kernels.round(&x, limit, &mut inputs);
            let mut packed = vec![0.0; n / 2 * BLOCK];
            put_column(rounded.iter().copied(), &mut packed);
            let mut sums = vec![f32::NAN; BLOCK];
            let shape = Product::dense(1, n / 2, n / 2, BLOCK);
            kernels.linear_rows(shape, &inputs, &packed, &mut sums);
            let want: i64 = rounded.iter().map(|w| i64::from(w.unsigned_abs()) * limit as i64).sum();
            assert_eq!(i64::from(sums[0].to_bits() as i32), want, "{n} weights");
            assert_eq!(sums[1].to_bits(), 0);
            kernels.rescale(&mut sums, input_scale, &[scale; BLOCK]);
            let exact: f64 = weights.iter().map(|w| f64::from(w.abs())).sum();
            assert!((f64::from(sums[0]) / exact - 1.0).abs() < 1e-3, "{n} weights: {} {exact}", sums[0]);
        }
    }

    #[test]
    fn weights_of_zero_have_a_scale_of_zero() {
        assert_eq!(scale_for(&[0.0; 4], LIMIT), 0.0);
        assert_eq!(round(0.0, 0.0), 0);
    }
}
