//! The kernels of Winograd's tiles, for sums in single precision and of integers.

/// Expands to `transform_input` and `transform_back`.
///
/// Expects in scope what `kernels!` does, and `INTEGERS`, whether sums are integers, of which `$load_sum` makes numbers by their
/// scales.
macro_rules! tile_kernels {
    ([$attr:meta]; $zero:ident, $splat:ident, $load:ident, $store:ident, $fma:ident, $add:ident, $sub:ident, $mul:ident, $max:ident, $load_sum:ident) => {
        /// `B^T d` of six values.
        #[$attr]
        fn input_column(d: [Vector; TILE_IN]) -> [Vector; TILE_IN] {
            let [d0, d1, d2, d3, d4, d5] = d;
            let (two, four, minus_four, minus_five) = ($splat(2.0), $splat(4.0), $splat(-4.0), $splat(-5.0));
            let (even, odd) = ($fma(minus_four, d2, d4), $fma(minus_four, d1, d3));
            let (even_two, odd_two) = ($sub(d4, d2), $sub(d3, d1));
            [
                $fma(four, d0, $fma(minus_five, d2, d4)),
                $add(even, odd),
                $sub(even, odd),
                $fma(two, odd_two, even_two),
                $sub(even_two, $add(odd_two, odd_two)),
                $fma(four, d1, $fma(minus_five, d3, d5)),
            ]
        }

        /// `A^T m` of six values.
        #[$attr]
        fn output_column(m: [Vector; TILE_IN]) -> [Vector; TILE_OUT] {
            let [m0, m1, m2, m3, m4, m5] = m;
            let (sum, difference) = ($add(m1, m2), $sub(m1, m2));
            let (sum_two, difference_two) = ($add(m3, m4), $sub(m3, m4));
            [
                $add($add(m0, sum), sum_two),
                $fma($splat(2.0), difference_two, difference),
                $fma($splat(4.0), sum_two, sum),
                $add($fma($splat(8.0), difference_two, difference), m5),
            ]
        }

        /// `B^T d B` of one 6 x 6 tile, all channels: position `i` goes to `out + i * step`.
        ///
        /// # Safety
        /// `input` is readable for 6 rows of `pitch` floats and 6 pixels, `out` writable at all 36 positions.
        #[$attr]
        unsafe fn transform_input(input: *const f32, pitch: usize, c_in: usize, out: *mut f32, step: usize) {
            for c in (0..c_in).step_by(LANES) {
                unsafe {
                    let mut rows = [[$zero(); TILE_IN]; TILE_IN];
                    for y in 0..TILE_IN {
                        let row = input.add(y * pitch + c);
                        let mut d = [$zero(); TILE_IN];
                        for x in 0..TILE_IN {
                            d[x] = $load(row.add(x * c_in));
                        }
                        rows[y] = input_column(d);
                    }
                    for x in 0..TILE_IN {
                        let mut d = [$zero(); TILE_IN];
                        for y in 0..TILE_IN {
                            d[y] = rows[y][x];
                        }
                        let d = input_column(d);
                        for y in 0..TILE_IN {
                            $store(out.add((y * TILE_IN + x) * step + c), d[y]);
                        }
                    }
                }
            }
        }

        /// `A^T m A` of one tile, column by column.
        ///
        /// # Safety
        /// `m` is readable at 36 positions `BLOCK` apart, and for integers so are the `scales`.
        #[$attr]
        unsafe fn output_tile(m: *const f32, scales: *const f32) -> [[Vector; TILE_OUT]; TILE_OUT] {
            let mut rows = [[$zero(); TILE_OUT]; TILE_IN];
            for y in 0..TILE_IN {
                let mut m_row = [$zero(); TILE_IN];
                for x in 0..TILE_IN {
                    // SAFETY: as the caller promises.
                    let at = (y * TILE_IN + x) * BLOCK;
                    m_row[x] = unsafe { $load_sum(m.add(at), scales.wrapping_add(at)) };
                }
                rows[y] = output_column(m_row);
            }
            let mut tile = [[$zero(); TILE_OUT]; TILE_OUT];
            for x in 0..TILE_OUT {
                let mut m_column = [$zero(); TILE_IN];
                for y in 0..TILE_IN {
                    m_column[y] = rows[y][x];
                }
                tile[x] = output_column(m_column);
            }
            tile
        }

        #[$attr]
        unsafe fn transform_back(
            rows: Rows,
            at: Place,
            m: &[f32],
            scales: &[f32],
            scale: f32,
            pool: Option<&Affine>,
            out: &mut [f32],
        ) {
            let Rows { n, width, c_out, .. } = rows;
            let (y, x) = rows.place_of(at.tile);
            for c in (0..BLOCK).step_by(LANES) {
                let channel = at.block * BLOCK + c;
                // SAFETY: as above; pixels outside the image, of half the size where there is a pool, are not written.
                unsafe {
                    let mut tile = output_tile(m.as_ptr().add(c), scales.as_ptr().wrapping_add(c));
                    if INTEGERS {
                        for dx in 0..TILE_OUT {
                            for dy in 0..TILE_OUT {
                                tile[dx][dy] = $mul(tile[dx][dy], $splat(scale));
                            }
                        }
                    }
                    let Some(affine) = pool else {
                        let out = out.as_mut_ptr().add((y * width + x) * c_out + channel);
                        for dx in 0..(width - x).min(TILE_OUT) {
                            for dy in 0..(n - y).min(TILE_OUT) {
                                $store(out.add((dy * width + dx) * c_out), tile[dx][dy]);
                            }
                        }
                        continue;
                    };
                    let (y, x, half) = (y / 2, x / 2, width / 2);
                    let scale = $load(affine.scale.as_ptr().add(channel));
                    let shift = $load(affine.shift.as_ptr().add(channel));
                    for dx in 0..(half - x).min(TILE_OUT / 2) {
                        for dy in 0..(n / 2 - y).min(TILE_OUT / 2) {
                            let mut largest = $zero();
                            for [x, y] in [[0, 0], [1, 0], [0, 1], [1, 1]] {
                                largest = $max($fma(tile[2 * dx + x][2 * dy + y], scale, shift), largest);
                            }
                            $store(
                                out.as_mut_ptr().add(((y + dy) * half + x + dx) * c_out + channel),
                                largest,
                            );
                        }
                    }
                }
            }
        }
    };
}
