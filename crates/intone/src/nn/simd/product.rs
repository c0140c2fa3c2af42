//! The kernel of matrix products, for all kinds of numbers that a vector instruction multiplies and adds up.

/// Expands to `product_tile` and `linear_rows`.
///
/// Expects in scope what `kernels!` does, and `CHANNELS`, the output channels of a register tile. An input may be any
/// 32 bits that `$fma` understands: one float, or two in half precision.
macro_rules! product_kernels {
    ([$attr:meta], $($tile:literal)+; $zero:ident, $splat:ident, $load:ident, $store:ident, $fma:ident) => {
        /// `P` rows x `CHANNELS` output channels of a matrix product over `c_in`.
        ///
        /// # Safety
        /// `input` is readable for `P` rows of `c_in` floats that begin `pitch.0` apart, `weight` for `c_in * BLOCK`
        /// floats less the channel offset, `out` writable for `P` rows of `CHANNELS` floats `pitch.1` apart.
        #[$attr]
        unsafe fn product_tile<const P: usize>(input: *const f32, pitch: (usize, usize), c_in: usize, mut weight: *const f32, out: *mut f32) {
            unsafe {
                let mut sum = [[$zero(); TILE_VECTORS]; P];
                for c in 0..c_in {
                    let mut w = [$zero(); TILE_VECTORS];
                    for v in 0..TILE_VECTORS {
                        w[v] = $load(weight.add(v * LANES));
                    }
                    weight = weight.add(BLOCK);
                    for p in 0..P {
                        let x = $splat(*input.add(p * pitch.0 + c));
                        for v in 0..TILE_VECTORS {
                            sum[p][v] = $fma(x, w[v], sum[p][v]);
                        }
                    }
                }
                for p in 0..P {
                    for v in 0..TILE_VECTORS {
                        $store(out.add(p * pitch.1 + v * LANES), sum[p][v]);
                    }
                }
            }
        }

        #[$attr]
        unsafe fn linear_rows(shape: Product, x: &[f32], weight: &[f32], out: &mut [f32]) {
            let Product { n, pitch, c_in, c_out, pitch_out } = shape;
            let step = n.div_ceil(n.div_ceil(TILE));
            for channel in (0..c_out).step_by(CHANNELS) {
                // SAFETY: the caller has checked all lengths: row t begins at t * pitch, and at t * pitch_out.
                unsafe {
                    let w = weight.as_ptr().add(channel / BLOCK * c_in * BLOCK + channel % BLOCK);
                    let mut t = 0;
                    while t < n {
                        let p = step.min(n - t);
                        let input = x.as_ptr().add(t * pitch);
                        let output = out.as_mut_ptr().add(t * pitch_out + channel);
                        match p {
                            $($tile => product_tile::<$tile>(input, (pitch, pitch_out), c_in, w, output),)+
                            _ => unreachable!("a tile is at most TILE rows"),
                        }
                        t += p;
                    }
                }
            }
        }
    };
}
