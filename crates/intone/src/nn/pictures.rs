//! Convolutions and poolings of any size and stride over channels-last pictures, for networks that others made; those of
//! our own have faster ways, in [`conv`](super::conv) and [`norm`](super::norm).

use rayon::prelude::*;

use super::infer::Slide;
use super::linear::Packed;
use super::simd::{BLOCK, buffer};

/// Output pixels that a convolution works on at once.
const PIXELS_AT_ONCE: usize = 64;

/// A window that slides over pictures `[height, width, c]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sliding {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) c: usize,
    pub(crate) down: Slide,
    pub(crate) across: Slide,
}

impl Sliding {
    /// The part of the window at `place` that lies in a picture of `n` pixels: where it begins in the window, and in the
    /// picture, and how long it is.
    fn inside(slide: Slide, place: usize, n: usize) -> (usize, usize, usize) {
        let first = place * slide.stride;
        let skipped = slide.before.saturating_sub(first);
        let start = first.saturating_sub(slide.before);
        (skipped, start, (slide.size - skipped.min(slide.size)).min(n.saturating_sub(start)))
    }

    /// The largest value of each window, `[n, down.n_out, across.n_out, c]`; what lies outside has no say.
    pub(crate) fn max(&self, x: &[f32], n: usize) -> Vec<f32> {
        let Sliding { height, width, c, down, across } = *self;
        let mut out = buffer::take(n * down.n_out * across.n_out * c);
        out.par_chunks_exact_mut(across.n_out * c).enumerate().for_each(|(row, out)| {
            let picture = &x[row / down.n_out * height * width * c..][..height * width * c];
            let (_, y, n_rows) = Sliding::inside(down, row % down.n_out, height);
            for (column, out) in out.chunks_exact_mut(c).enumerate() {
                let (_, x, n_columns) = Sliding::inside(across, column, width);
                out.fill(f32::NEG_INFINITY);
                for y in y..y + n_rows {
                    for pixel in picture[(y * width + x) * c..][..n_columns * c].chunks_exact(c) {
                        out.iter_mut().zip(pixel).for_each(|(max, x)| *max = max.max(*x));
                    }
                }
            }
        });
        out
    }
}

/// A convolution as a product of unfolded windows with a matrix; outside of the picture there are zeros.
#[derive(Debug, Clone)]
pub(crate) struct WindowConv {
    sliding: Sliding,
    packed: Packed,
}

impl WindowConv {
    /// `weight` `[c_out, c_in, down.size, across.size]`; the picture has `sliding.c` channels, of which the first `c_in`
    /// are there. The output's channels are filled up to whole blocks.
    pub(crate) fn new(weight: &[f32], c_in: usize, c_out: usize, sliding: Sliding) -> WindowConv {
        let n_taps = sliding.down.size * sliding.across.size;
        let mut rows = vec![0.0; c_out * n_taps * sliding.c];
        for (row, filter) in rows.chunks_exact_mut(n_taps * sliding.c).zip(weight.chunks_exact(n_taps * c_in))
        {
            for (i, taps) in filter.chunks_exact(n_taps).enumerate() {
                taps.iter().enumerate().for_each(|(tap, w)| row[tap * sliding.c + i] = *w);
            }
        }
        WindowConv { sliding, packed: Packed::from_rows(&rows, n_taps * sliding.c) }
    }

    /// `x` `[n, height, width, c]` to `[n, down.n_out, across.n_out, c_out]`.
    pub(crate) fn forward(&self, x: &[f32], n: usize) -> Vec<f32> {
        let Sliding { height, width, c, down, across } = self.sliding;
        let (filled, n_out) = (self.packed.c_out_filled(), down.n_out * across.n_out);
        debug_assert!(filled.is_multiple_of(BLOCK));
        let mut out = buffer::take(n * n_out * filled);
        let pictures = out.par_chunks_exact_mut(n_out * filled).zip(x.par_chunks_exact(height * width * c));
        pictures.for_each(|(out, picture)| {
            out.par_chunks_mut(PIXELS_AT_ONCE * filled).enumerate().for_each(|(piece, out)| {
                let (n_pixels, row) = (out.len() / filled, down.size * across.size * c);
                let mut unfolded = buffer::take(n_pixels * row);
                for (i, taps) in unfolded.chunks_exact_mut(row).enumerate() {
                    self.unfold(picture, piece * PIXELS_AT_ONCE + i, taps);
                }
                self.packed.apply(&unfolded, n_pixels, row, out);
                buffer::put(unfolded);
            });
        });
        out
    }

    /// What the output pixel `at` sees, `[down.size, across.size, c]`.
    fn unfold(&self, picture: &[f32], at: usize, taps: &mut [f32]) {
        let Sliding { height, width, c, down, across } = self.sliding;
        let (above, y, n_rows) = Sliding::inside(down, at / across.n_out, height);
        let (left, x, n_columns) = Sliding::inside(across, at % across.n_out, width);
        for (row, taps) in taps.chunks_exact_mut(across.size * c).enumerate() {
            match row.checked_sub(above).filter(|row| *row < n_rows) {
                None => taps.fill(0.0),
                Some(row) => {
                    let (start, end) = (left * c, (left + n_columns) * c);
                    taps[..start].fill(0.0);
                    taps[start..end].copy_from_slice(&picture[((y + row) * width + x) * c..][..end - start]);
                    taps[end..].fill(0.0);
                }
            }
        }
    }
}
