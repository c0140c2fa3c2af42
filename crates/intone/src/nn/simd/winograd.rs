//! Winograd's minimal filtering F(4 x 4, 3 x 3) with the points 0, 1, -1, 2 and -2 (Lavin and Gray 2016): a 3 x 3
//! convolution with 4 times fewer multiplications, in single precision or in 16-bit integers.

use super::int16::{self, IntegerKernels, integer_kernels};
use super::{Affine, BLOCK, Kernels, Product, Rows, TILE_IN, TILE_POSITIONS, check_tiles};

/// Some of the tiles of a stretch of rows; position `i` of tile `first + t` is put to place `i * room + t`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lot {
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) room: usize,
}

/// Where sums belong: to a tile and a block of output channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) tile: usize,
    pub(super) block: usize,
}

/// `(rows, lot, padded, v, scales)`: integers lie in `v` as pairs, half as far apart, and have a scale for each tile.
type Transform = unsafe fn(Rows, Lot, &[f32], &mut [f32], &mut [f32]);

/// `(rows, place, sums, scales, scale, pool, out)`: sums `[36, 32]` of integers are to be scaled, each with its own and all with
/// the tile's.
type TransformBack = unsafe fn(Rows, Place, &[f32], &[f32], f32, Option<&Affine>, &mut [f32]);

/// The transforms of tiles.
#[derive(Debug)]
pub(super) struct TileKernels {
    pub(super) transform: Transform,
    pub(super) back: TransformBack,
}

/// The largest magnitude that an input is rounded to. The filters have the rest of a sum's 32 bits; the more channels are added
/// up, the fewer are left for both.
pub(super) fn input_limit(c_in: usize) -> f32 {
    // 14 bits of 32 channels, as many as the filters of Gaussian noise then have.
    (16_384.0 * (BLOCK as f32 / c_in as f32).sqrt()).floor()
}

/// What the inputs of each position are multiplied by before they are rounded to the scale of their tile: one over how large the
/// transform makes pixels that are as far from their mean as the mean is from 0, roughly what ReLU leaves.
pub(super) const POSITION_FACTORS: [f32; TILE_POSITIONS] = {
    // The root of the sum of the squares of a row of `B^T`, and of the square of its sum: 42 + 0, 34 + 36, 10 + 0.
    const ROWS: [f32; TILE_IN] = [6.480_741, 8.366_6, 8.366_6, 3.162_278, 3.162_278, 6.480_741];
    let mut factors = [0.0; TILE_POSITIONS];
    let mut i = 0;
    while i < TILE_POSITIONS {
        factors[i] = 1.0 / (ROWS[i / TILE_IN] * ROWS[i % TILE_IN]);
        i += 1;
    }
    factors
};

/// Transformed filters, `[c_out / 32, 36, c_in, 32]`.
#[derive(Debug, Clone)]
pub(crate) enum Filters {
    /// In single precision.
    F32(Vec<f32>),
    /// Pairs of 16-bit integers along the input channels, `[c_out / 32, 36, c_in / 2, 32]`, in the order of
    /// [`int16::tile_channel`], and what each output channel's sums at each position are to be scaled with,
    /// `[c_out / 32, 36, 32]`.
    Int16 { kernels: &'static IntegerKernels, pairs: Vec<f32>, scales: Vec<f32> },
}

/// Some blocks of [`Filters`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum FiltersRef<'a> {
    F32(&'a [f32]),
    Int16 { kernels: &'static IntegerKernels, pairs: &'a [f32], scales: &'a [f32] },
}

impl Filters {
    /// The same in 16-bit integers, if this processor has instructions for it.
    pub(crate) fn rounded(weight: Vec<f32>, c_in: usize) -> Filters {
        let Some(kernels) = integer_kernels() else { return Filters::F32(weight) };
        let mut pairs = vec![0.0; weight.len() / 2];
        let mut scales = Vec::with_capacity(weight.len() / c_in);
        let (limit, mut column) = (input_limit(c_in), vec![0.0; c_in]);
        let positions = weight.chunks_exact(c_in * BLOCK).zip(pairs.chunks_exact_mut(c_in / 2 * BLOCK));
        for ((weight, pairs), factor) in positions.zip(POSITION_FACTORS.iter().cycle()) {
            for o in 0..BLOCK {
                column.iter_mut().zip(weight[o..].iter().step_by(BLOCK)).for_each(|(to, w)| *to = *w);
                let scale = int16::scale_for(&column, limit);
                let ordered = (0..c_in).map(|i| int16::round(column[int16::tile_channel(i)], scale));
                int16::put_column(ordered, &mut pairs[o..]);
                scales.push(scale / factor);
            }
        }
        Filters::Int16 { kernels, pairs, scales }
    }

    pub(crate) fn view(&self) -> FiltersRef<'_> {
        match self {
            Filters::F32(weight) => FiltersRef::F32(weight),
            Filters::Int16 { kernels, pairs, scales } => FiltersRef::Int16 { kernels, pairs, scales },
        }
    }
}

impl<'a> FiltersRef<'a> {
    /// Part `part` of `n` equal ones, of the output channels.
    pub(crate) fn part(self, part: usize, n: usize) -> FiltersRef<'a> {
        let of = |x: &'a [f32]| &x[part * (x.len() / n)..][..x.len() / n];
        match self {
            FiltersRef::F32(weight) => FiltersRef::F32(of(weight)),
            FiltersRef::Int16 { kernels, pairs, scales } => {
                FiltersRef::Int16 { kernels, pairs: of(pairs), scales: of(scales) }
            }
        }
    }
}

impl Kernels {
    /// [`Kernels::conv_rows`] of transformed filters. `padded` is filled up with zeros to whole tiles, and all channels come
    /// in whole blocks. With a `pool`, `out` `[n / 2, width / 2, c_out]` is what 2 x 2 max pooling of
    /// `relu(x * scale + shift)` leaves.
    pub(crate) fn winograd_rows(
        &self,
        rows: Rows,
        padded: &[f32],
        filters: FiltersRef<'_>,
        pool: Option<&Affine>,
        out: &mut [f32],
        scratch: &mut [f32],
    ) {
        /// Sums of one tile and one block.
        const TILE: usize = TILE_POSITIONS * BLOCK;
        let Rows { n, width, c_in, c_out } = rows;
        check_tiles(rows, padded);
        match pool {
            None => assert_eq!(out.len(), rows.out_len()),
            Some(Affine { scale, shift }) => {
                assert!(scale.len() == c_out && shift.len() == c_out);
                assert_eq!(out.len(), n / 2 * (width / 2) * c_out);
            }
        }
        assert_eq!(scratch.len(), rows.scratch_len());
        let tiles = match filters {
            FiltersRef::F32(_) => &self.tiles,
            FiltersRef::Int16 { kernels, .. } => &kernels.tiles,
        };
        let (room, n_tiles) = (rows.tiles_at_once(BLOCK), rows.n_tiles());
        let (v, m) = scratch.split_at_mut(TILE_POSITIONS * room * c_in);
        let mut tile_scales = vec![0.0; room];
        for first in (0..n_tiles).step_by(room) {
            let lot = Lot { first, count: room.min(n_tiles - first), room };
            // SAFETY: these kernels' instructions were detected, the input's length is checked, and `v` and the scales have
            // room for all tiles of the lot.
            unsafe { (tiles.transform)(rows, lot, padded, v, &mut tile_scales) }
            for block in 0..c_out / BLOCK {
                let product =
                    |c_in| Product { n: lot.count, pitch: c_in, c_in, c_out: BLOCK, pitch_out: TILE };
                for position in 0..TILE_POSITIONS {
                    let (at, m) = (block * TILE_POSITIONS + position, &mut m[position * BLOCK..]);
                    match filters {
                        FiltersRef::F32(weight) => {
                            let weight = &weight[at * c_in * BLOCK..][..c_in * BLOCK];
                            self.linear_rows(product(c_in), &v[position * room * c_in..], weight, m);
                        }
                        FiltersRef::Int16 { kernels, pairs, .. } => {
                            let n_pairs = c_in / 2;
                            let weight = &pairs[at * n_pairs * BLOCK..][..n_pairs * BLOCK];
                            kernels.linear_rows(product(n_pairs), &v[position * room * n_pairs..], weight, m);
                        }
                    }
                }
                let scales = match filters {
                    FiltersRef::F32(_) => &[],
                    FiltersRef::Int16 { scales, .. } => &scales[block * TILE..][..TILE],
                };
                for (t, m) in m.chunks_exact(TILE).take(lot.count).enumerate() {
                    let place = Place { tile: first + t, block };
                    // SAFETY: as above; `m` and the scales have all positions of the tile, and `out` these rows.
                    unsafe { (tiles.back)(rows, place, m, scales, tile_scales[t], pool, out) }
                }
            }
        }
    }
}
