//! The Fourier transforms of Intone and what is built on them, without type parameters.
//!
//! The transforms of the libraries below are generic over the number type, so the compiler makes them anew in the crate
//! that first names the type, whenever that crate changes: more than a minute of work. Here they are compiled once.

use std::sync::Arc;

use rubato::Resampler as _;
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{FixedSync, WindowFunction};
pub use rustfft::Fft;
pub use rustfft::num_complex::Complex;

/// The forward transform of `len` complex numbers in double precision.
pub fn forward_f64(len: usize) -> Arc<dyn Fft<f64>> {
    rustfft::FftPlanner::new().plan_fft_forward(len)
}

/// Sample rate conversion by overlap-add in the frequency domain: blocks of one length become blocks of another, delayed
/// by half a block, under a squared Blackman-Harris window.
pub struct BlockResampler(rubato::Fft<f32>);

impl BlockResampler {
    /// Turns `step_in` samples into `step_out`, a power of two of such steps at a time: `len_in` samples in a block.
    ///
    /// # Errors
    /// What the resampler cannot do, in words.
    pub fn new(step_in: usize, step_out: usize, len_in: usize) -> Result<BlockResampler, String> {
        let window = WindowFunction::BlackmanHarris2;
        let resampler = rubato::Fft::new_custom(step_in, step_out, len_in, 1, 1, window, FixedSync::Both)
            .map_err(|error| error.to_string())?;
        debug_assert_eq!((resampler.fft_size_in(), resampler.input_frames_next()), (len_in, len_in));
        Ok(BlockResampler(resampler))
    }

    /// Samples of a block that comes out.
    pub fn len_out(&self) -> usize {
        self.0.output_frames_next()
    }

    /// Samples by which the output is late.
    pub fn delay(&self) -> usize {
        self.0.output_delay()
    }

    /// Converts one block.
    ///
    /// # Panics
    /// Where the blocks are not as long as they must be.
    pub fn process(&mut self, block_in: &[f32], block_out: &mut [f32]) {
        let (len_in, len_out) = (block_in.len(), block_out.len());
        let result = InterleavedSlice::new(block_in, 1, len_in)
            .and_then(|input| Ok((input, InterleavedSlice::new_mut(block_out, 1, len_out)?)))
            .map(|(input, mut output)| self.0.process_into_buffer(&input, &mut output, None));
        assert!(matches!(result, Ok(Ok(_))), "blocks have the lengths that the resampler asked for");
    }

    /// Forgets the signal so far.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

impl std::fmt::Debug for BlockResampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockResampler").field("len_out", &self.len_out()).finish_non_exhaustive()
    }
}
