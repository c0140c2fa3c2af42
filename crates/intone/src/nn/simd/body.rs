//! The kernels' text, compiled once for each instruction set by `kernels!`.

/// Expands to all kernels of one instruction set and their table `KERNELS`.
///
/// Expects in scope: `Vector`, a vector of `LANES` floats; `TILE`, the most pixels of a convolution's register tile;
/// `TILE_VECTORS`, the vectors of output channels in it; `GRAD_TILE`, the input channels of the weight
/// gradient's tile. The tile widths `1..=TILE` are listed, because each is compiled on its own. And `transpose`, which every
/// instruction set does in its own way.
macro_rules! kernels {
    ([$attr:meta], $name:literal, $($tile:literal)+; $zero:ident, $splat:ident, $load:ident, $store:ident, $fma:ident, $add:ident, $sub:ident, $mul:ident, $max:ident) => {
        use super::{Affine, BLOCK, Dropout, Kernels, Lot, NormGrad, Place, Product, Rows, TILE_IN, TILE_OUT, TILE_POSITIONS, TileKernels};

        /// Output channels in one register tile.
        const CHANNELS: usize = TILE_VECTORS * LANES;

        pub(super) static KERNELS: Kernels = Kernels {
            name: $name,
            conv_rows,
            weight_grad,
            tiles: TILES,
            winograd_grad,
            affine_relu,
            sums,
            relu_grad_sums,
            norm_grad_apply,
            pool_rows,
            pool_grad_sums,
            pool_grad_apply,
            transpose,
            dot,
            dot_int8,
            linear_rows,
            bias_gelu,
            bias_gelu_grad,
            layer_norm,
            layer_norm_grad,
            softmax_rows,
            softmax_grad_rows,
        };

        row_kernels!([$attr]);

        /// `P` pixels x `CHANNELS` output channels, summed over 3 x 3 x `c_in` inputs in registers.
        ///
        /// # Safety
        /// `input` is readable for the two rows and `P + 2` pixels below and right of it, `weight` for
        /// `9 * c_in * BLOCK` floats less the channel offset, `out` writable for `P` pixels.
        #[$attr]
        unsafe fn conv_tile<const P: usize>(input: *const f32, rows: &Rows, mut weight: *const f32, out: *mut f32) {
            unsafe {
                let c_in = rows.c_in;
                let mut sum = [[$zero(); TILE_VECTORS]; P];
                for ky in 0..3 {
                    for kx in 0..3 {
                        let base = input.add((ky * (rows.width + 2) + kx) * c_in);
                        for c in 0..c_in {
                            let mut w = [$zero(); TILE_VECTORS];
                            for v in 0..TILE_VECTORS {
                                w[v] = $load(weight.add(v * LANES));
                            }
                            weight = weight.add(BLOCK);
                            for p in 0..P {
                                let x = $splat(*base.add(p * c_in + c));
                                for v in 0..TILE_VECTORS {
                                    sum[p][v] = $fma(x, w[v], sum[p][v]);
                                }
                            }
                        }
                    }
                }
                for p in 0..P {
                    for v in 0..TILE_VECTORS {
                        $store(out.add(p * rows.c_out + v * LANES), sum[p][v]);
                    }
                }
            }
        }

        #[$attr]
        unsafe fn conv_rows(rows: Rows, padded: &[f32], weight: &[f32], out: &mut [f32]) {
            let Rows { n, width, c_in, c_out } = rows;
            let pitch = (width + 2) * c_in;
            let step = width.div_ceil(width.div_ceil(TILE));
            for channel in (0..c_out).step_by(CHANNELS) {
                // SAFETY: the caller has checked all lengths; the tile at (y, x) reads rows y..y + 3 and
                // pixels x..x + p + 2 of the padded input and writes pixels x..x + p of row y.
                unsafe {
                    let w = weight.as_ptr().add(channel / BLOCK * 9 * c_in * BLOCK + channel % BLOCK);
                    for y in 0..n {
                        let mut x = 0;
                        while x < width {
                            let p = step.min(width - x);
                            let input = padded.as_ptr().add(y * pitch + x * c_in);
                            let output = out.as_mut_ptr().add((y * width + x) * c_out + channel);
                            match p {
                                $($tile => conv_tile::<$tile>(input, &rows, w, output),)+
                                _ => unreachable!("a tile is at most TILE pixels"),
                            }
                            x += p;
                        }
                    }
                }
            }
        }

        /// Adds the outer products of `T` input and `CHANNELS` output channels over `n` rows.
        ///
        /// # Safety
        /// `input` and `d_out` are readable for `n` rows, `grad` writable for `T` rows of `BLOCK` floats.
        #[$attr]
        unsafe fn weight_grad_tile<const T: usize>(input: *const f32, d_out: *const f32, rows: &Rows, n: usize, grad: *mut f32) {
            unsafe {
                let mut sum = [[$zero(); TILE_VECTORS]; T];
                for t in 0..T {
                    for v in 0..TILE_VECTORS {
                        sum[t][v] = $load(grad.add(t * BLOCK + v * LANES));
                    }
                }
                for y in 0..n {
                    let mut i = input.add(y * (rows.width + 2) * rows.c_in);
                    let mut d = d_out.add(y * rows.width * rows.c_out);
                    for _ in 0..rows.width {
                        let mut g = [$zero(); TILE_VECTORS];
                        for v in 0..TILE_VECTORS {
                            g[v] = $load(d.add(v * LANES));
                        }
                        for t in 0..T {
                            let x = $splat(*i.add(t));
                            for v in 0..TILE_VECTORS {
                                sum[t][v] = $fma(x, g[v], sum[t][v]);
                            }
                        }
                        i = i.add(rows.c_in);
                        d = d.add(rows.c_out);
                    }
                }
                for t in 0..T {
                    for v in 0..TILE_VECTORS {
                        $store(grad.add(t * BLOCK + v * LANES), sum[t][v]);
                    }
                }
            }
        }

        #[$attr]
        unsafe fn weight_grad(rows: Rows, padded: &[f32], d_out: &[f32], grad: &mut [f32]) {
            let Rows { n, width, c_in, c_out } = rows;
            // About 64 pixels at a time: the inputs of a group stay in the first-level cache for all 9 taps.
            let group = 64usize.div_ceil(width);
            let mut y = 0;
            while y < n {
                let count = group.min(n - y);
                for tap in 0..9 {
                    let mut c = 0;
                    while c < c_in {
                        let wide = c_in - c >= GRAD_TILE;
                        for channel in (0..c_out).step_by(CHANNELS) {
                            // SAFETY: the caller has checked all lengths; rows y..y + count and the tap's
                            // offset of at most two rows and two pixels lie inside the padded input.
                            unsafe {
                                let i = padded.as_ptr().add(((y + tap / 3) * (width + 2) + tap % 3) * c_in + c);
                                let d = d_out.as_ptr().add(y * width * c_out + channel);
                                let at = ((channel / BLOCK * 9 + tap) * c_in + c) * BLOCK + channel % BLOCK;
                                let g = grad.as_mut_ptr().add(at);
                                if wide {
                                    weight_grad_tile::<GRAD_TILE>(i, d, &rows, count, g);
                                } else {
                                    weight_grad_tile::<1>(i, d, &rows, count, g);
                                }
                            }
                        }
                        c += if wide { GRAD_TILE } else { 1 };
                    }
                }
                y += count;
            }
        }

        product_kernels!([$attr], $($tile)+; $zero, $splat, $load, $store, $fma);

        const INTEGERS: bool = false;

        /// # Safety
        /// `m` is readable for a vector.
        #[$attr]
        unsafe fn load_sum(m: *const f32, _: *const f32) -> Vector {
            unsafe { $load(m) }
        }

        tile_kernels!([$attr]; $zero, $splat, $load, $store, $fma, $add, $sub, $mul, $max, load_sum);

        const TILES: TileKernels = TileKernels { transform: transform_tiles, back: transform_back };

        #[$attr]
        unsafe fn transform_tiles(rows: Rows, lot: Lot, padded: &[f32], v: &mut [f32], _: &mut [f32]) {
            let (c_in, pitch) = (rows.c_in, rows.tiled_pitch());
            for t in 0..lot.count {
                let (y, x) = rows.place_of(lot.first + t);
                // SAFETY: the caller has checked all lengths. Tile (ty, tx) reads 6 rows from 4 ty on and 6 pixels from 4 tx
                // on, which the padded input has; `v` holds 36 positions of `room` tiles.
                unsafe {
                    let input = padded.as_ptr().add(y * pitch + x * c_in);
                    transform_input(input, pitch, c_in, v.as_mut_ptr().add(t * c_in), lot.room * c_in);
                }
            }
        }

        /// `A d` of four values.
        #[$attr]
        fn gradient_column(d: [Vector; TILE_OUT]) -> [Vector; TILE_IN] {
            let [d0, d1, d2, d3] = d;
            let (even, odd) = ($add(d0, d2), $add(d1, d3));
            let even_two = $fma($splat(4.0), d2, d0);
            let odd_two = $fma($splat(8.0), d3, $add(d1, d1));
            [d0, $add(even, odd), $sub(even, odd), $add(even_two, odd_two), $sub(even_two, odd_two), d3]
        }

        /// `A d A^T` of the gradient of one tile, all channels: 4 x 4 pixels, those outside `height` x `width` 0.
        ///
        /// # Safety
        /// `d_out` is readable for those pixels, `out` writable at 36 positions `step` apart.
        #[$attr]
        unsafe fn transform_gradient(d_out: *const f32, pitch: usize, c_out: usize, height: usize, width: usize, out: *mut f32, step: usize) {
            for c in (0..c_out).step_by(LANES) {
                unsafe {
                    let mut rows = [[$zero(); TILE_IN]; TILE_OUT];
                    for y in 0..height.min(TILE_OUT) {
                        let mut d = [$zero(); TILE_OUT];
                        for x in 0..width.min(TILE_OUT) {
                            d[x] = $load(d_out.add(y * pitch + x * c_out + c));
                        }
                        rows[y] = gradient_column(d);
                    }
                    for x in 0..TILE_IN {
                        let mut d = [$zero(); TILE_OUT];
                        for y in 0..TILE_OUT {
                            d[y] = rows[y][x];
                        }
                        let column = gradient_column(d);
                        for y in 0..TILE_IN {
                            $store(out.add((y * TILE_IN + x) * step + c), column[y]);
                        }
                    }
                }
            }
        }

        #[$attr]
        unsafe fn winograd_grad(rows: Rows, padded: &[f32], d_out: &[f32], grad: &mut [f32], scratch: &mut [f32]) {
            let Rows { n, width, c_in, c_out } = rows;
            let pitch = rows.tiled_pitch();
            let at_once = rows.tiles_at_once(c_out);
            let (v, d) = scratch.split_at_mut(TILE_POSITIONS * at_once * c_in);
            let n_tiles = rows.n_tiles();
            let mut first = 0;
            while first < n_tiles {
                let count = at_once.min(n_tiles - first);
                let row = Rows { n: 1, width: count, c_in, c_out };
                // SAFETY: as in `transform_tiles`; gradients outside the image are taken as 0.
                unsafe {
                    for t in 0..count {
                        let (y, x) = rows.place_of(first + t);
                        let input = padded.as_ptr().add(y * pitch + x * c_in);
                        transform_input(input, pitch, c_in, v.as_mut_ptr().add(t * c_in), at_once * c_in);
                        let from = d_out.as_ptr().add((y * width + x) * c_out);
                        let to = d.as_mut_ptr().add(t * c_out);
                        transform_gradient(from, width * c_out, c_out, n - y, width - x, to, at_once * c_out);
                    }
                    for position in 0..TILE_POSITIONS {
                        for c in (0..c_in).step_by(GRAD_TILE) {
                            for channel in (0..c_out).step_by(CHANNELS) {
                                let input = v.as_ptr().add(position * at_once * c_in + c);
                                let gradient = d.as_ptr().add(position * at_once * c_out + channel);
                                let at = ((channel / BLOCK * TILE_POSITIONS + position) * c_in + c) * BLOCK + channel % BLOCK;
                                weight_grad_tile::<GRAD_TILE>(input, gradient, &row, 1, grad.as_mut_ptr().add(at));
                            }
                        }
                    }
                }
                first += count;
            }
        }

        #[$attr]
        unsafe fn affine_relu(x: &[f32], affine: &Affine, out: &mut [f32]) {
            let c = affine.scale.len();
            for (x, out) in x.chunks_exact(c).zip(out.chunks_exact_mut(c)) {
                for (((x, out), a), b) in x
                    .as_chunks::<BLOCK>().0.iter()
                    .zip(out.as_chunks_mut::<BLOCK>().0)
                    .zip(affine.scale.as_chunks::<BLOCK>().0)
                    .zip(affine.shift.as_chunks::<BLOCK>().0)
                {
                    for i in 0..BLOCK {
                        out[i] = (x[i] * a[i] + b[i]).max(0.0);
                    }
                }
            }
        }

        #[$attr]
        unsafe fn sums(x: &[f32], sum: &mut [f32], sum_sq: &mut [f32]) {
            let c = sum.len();
            for (block, (sum, sum_sq)) in sum.as_chunks_mut::<BLOCK>().0.iter_mut().zip(sum_sq.as_chunks_mut::<BLOCK>().0).enumerate() {
                let (mut s, mut q) = (*sum, *sum_sq);
                for x in x.as_chunks::<BLOCK>().0.iter().skip(block).step_by(c / BLOCK) {
                    for i in 0..BLOCK {
                        s[i] += x[i];
                        q[i] += x[i] * x[i];
                    }
                }
                (*sum, *sum_sq) = (s, q);
            }
        }

        #[$attr]
        unsafe fn relu_grad_sums(y: &[f32], affine: &Affine, grad: &mut [f32], sum: &mut [f32], sum_y: &mut [f32]) {
            let blocks = affine.scale.len() / BLOCK;
            for block in 0..blocks {
                let (a, b) = (&affine.scale.as_chunks::<BLOCK>().0[block], &affine.shift.as_chunks::<BLOCK>().0[block]);
                let (mut s, mut q) = ([0.0f32; BLOCK], [0.0f32; BLOCK]);
                for (y, g) in y.as_chunks::<BLOCK>().0.iter().zip(grad.as_chunks_mut::<BLOCK>().0).skip(block).step_by(blocks) {
                    for i in 0..BLOCK {
                        let z = if y[i] * a[i] + b[i] > 0.0 { g[i] } else { 0.0 };
                        g[i] = z;
                        s[i] += z;
                        q[i] += z * y[i];
                    }
                }
                for i in 0..BLOCK {
                    sum[block * BLOCK + i] += s[i];
                    sum_y[block * BLOCK + i] += q[i];
                }
            }
        }

        #[$attr]
        unsafe fn norm_grad_apply(y: &[f32], norm: &NormGrad, grad: &mut [f32]) {
            let c = norm.a.len();
            for (y, grad) in y.chunks_exact(c).zip(grad.chunks_exact_mut(c)) {
                for block in 0..c / BLOCK {
                    let y = &y.as_chunks::<BLOCK>().0[block];
                    let g = &mut grad.as_chunks_mut::<BLOCK>().0[block];
                    let a = &norm.a.as_chunks::<BLOCK>().0[block];
                    let k1 = &norm.k1.as_chunks::<BLOCK>().0[block];
                    let k2 = &norm.k2.as_chunks::<BLOCK>().0[block];
                    for i in 0..BLOCK {
                        g[i] = g[i] * a[i] + y[i] * k1[i] + k2[i];
                    }
                }
            }
        }

        #[$attr]
        unsafe fn pool_rows(y: &[f32], width: usize, affine: &Affine, dropout: Dropout, first: u32, out: &mut [f32]) {
            let c = affine.scale.len();
            let blocks = c / BLOCK;
            let half = width / 2;
            let y = y.as_chunks::<BLOCK>().0;
            for (at, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
                let (pixel, block) = (at / blocks, at % blocks);
                let top = ((pixel / half * 2) * width + pixel % half * 2) * blocks + block;
                let bottom = top + width * blocks;
                let (p, q, r, s) = (&y[top], &y[top + blocks], &y[bottom], &y[bottom + blocks]);
                let a = &affine.scale.as_chunks::<BLOCK>().0[block];
                let b = &affine.shift.as_chunks::<BLOCK>().0[block];
                for i in 0..BLOCK {
                    let z = |x: f32| x * a[i] + b[i];
                    out[i] = z(p[i]).max(z(q[i])).max(z(r[i]).max(z(s[i]))).max(0.0);
                }
                if dropout.threshold > 0 {
                    let index = first.wrapping_add((at * BLOCK) as u32);
                    for i in 0..BLOCK {
                        out[i] *= dropout.factor(index.wrapping_add(i as u32));
                    }
                }
            }
        }

        /// Which of the four of a window wins and what reaches it: `(g0, g1, g2, g3)`, at most one not 0.
        #[inline(always)]
        fn winner(z: [f32; 4], g: f32) -> [f32; 4] {
            let top = z[0].max(z[1]).max(z[2].max(z[3]));
            let g = if top > 0.0 { g } else { 0.0 };
            let w0 = z[0] == top;
            let w1 = !w0 & (z[1] == top);
            let w2 = !w0 & !w1 & (z[2] == top);
            let w3 = !w0 & !w1 & !w2;
            [if w0 { g } else { 0.0 }, if w1 { g } else { 0.0 }, if w2 { g } else { 0.0 }, if w3 { g } else { 0.0 }]
        }

        /// `d_out` after dropout's way back.
        #[inline(always)]
        fn masked(d: &[f32; BLOCK], dropout: Dropout, index: u32) -> [f32; BLOCK] {
            let mut g = *d;
            if dropout.threshold > 0 {
                for i in 0..BLOCK {
                    g[i] *= dropout.factor(index.wrapping_add(i as u32));
                }
            }
            g
        }

        #[$attr]
        #[allow(clippy::too_many_arguments, reason = "the tensors of one layer's way back")]
        unsafe fn pool_grad_sums(y: &[f32], width: usize, affine: &Affine, dropout: Dropout, first: u32, d_out: &[f32], sum: &mut [f32], sum_y: &mut [f32]) {
            let blocks = affine.scale.len() / BLOCK;
            let half = width / 2;
            let y = y.as_chunks::<BLOCK>().0;
            for (at, d) in d_out.as_chunks::<BLOCK>().0.iter().enumerate() {
                let (pixel, block) = (at / blocks, at % blocks);
                let top = ((pixel / half * 2) * width + pixel % half * 2) * blocks + block;
                let bottom = top + width * blocks;
                let (p, q, r, s) = (&y[top], &y[top + blocks], &y[bottom], &y[bottom + blocks]);
                let a = &affine.scale.as_chunks::<BLOCK>().0[block];
                let b = &affine.shift.as_chunks::<BLOCK>().0[block];
                let sum = &mut sum.as_chunks_mut::<BLOCK>().0[block];
                let sum_y = &mut sum_y.as_chunks_mut::<BLOCK>().0[block];
                let d = masked(d, dropout, first.wrapping_add((at * BLOCK) as u32));
                for i in 0..BLOCK {
                    let z = |x: f32| x * a[i] + b[i];
                    let g = winner([z(p[i]), z(q[i]), z(r[i]), z(s[i])], d[i]);
                    sum[i] += g[0] + g[1] + g[2] + g[3];
                    sum_y[i] += g[0] * p[i] + g[1] * q[i] + g[2] * r[i] + g[3] * s[i];
                }
            }
        }

        #[$attr]
        #[allow(clippy::too_many_arguments, reason = "the tensors of one layer's way back")]
        unsafe fn pool_grad_apply(y: &[f32], width: usize, affine: &Affine, dropout: Dropout, first: u32, d_out: &[f32], norm: &NormGrad, grad: &mut [f32]) {
            let blocks = affine.scale.len() / BLOCK;
            let half = width / 2;
            let y = y.as_chunks::<BLOCK>().0;
            let grad = grad.as_chunks_mut::<BLOCK>().0;
            let height = y.len() / (width * blocks);
            let norm_of = |block: usize| {
                (&norm.a.as_chunks::<BLOCK>().0[block], &norm.k1.as_chunks::<BLOCK>().0[block], &norm.k2.as_chunks::<BLOCK>().0[block])
            };
            for (at, d) in d_out.as_chunks::<BLOCK>().0.iter().enumerate() {
                let (pixel, block) = (at / blocks, at % blocks);
                let top = ((pixel / half * 2) * width + pixel % half * 2) * blocks + block;
                let bottom = top + width * blocks;
                let (p, q, r, s) = (&y[top], &y[top + blocks], &y[bottom], &y[bottom + blocks]);
                let scale = &affine.scale.as_chunks::<BLOCK>().0[block];
                let shift = &affine.shift.as_chunks::<BLOCK>().0[block];
                let (a, k1, k2) = norm_of(block);
                let d = masked(d, dropout, first.wrapping_add((at * BLOCK) as u32));
                let mut g = [[0.0f32; BLOCK]; 4];
                for i in 0..BLOCK {
                    let z = |x: f32| x * scale[i] + shift[i];
                    let w = winner([z(p[i]), z(q[i]), z(r[i]), z(s[i])], d[i]);
                    g[0][i] = w[0] * a[i] + p[i] * k1[i] + k2[i];
                    g[1][i] = w[1] * a[i] + q[i] * k1[i] + k2[i];
                    g[2][i] = w[2] * a[i] + r[i] * k1[i] + k2[i];
                    g[3][i] = w[3] * a[i] + s[i] * k1[i] + k2[i];
                }
                grad[top] = g[0];
                grad[top + blocks] = g[1];
                grad[bottom] = g[2];
                grad[bottom + blocks] = g[3];
            }
            // What pooling left out: an odd last column and an odd last row. Batch normalisation still reaches it.
            for row in 0..height {
                let from = if row == height - 1 && height % 2 == 1 { 0 } else { half * 2 };
                for at in (row * width + from) * blocks..(row + 1) * width * blocks {
                    let (_, k1, k2) = norm_of(at % blocks);
                    for i in 0..BLOCK {
                        grad[at][i] = y[at][i] * k1[i] + k2[i];
                    }
                }
            }
        }

        #[$attr]
        unsafe fn dot(a: &[f32], b: &[f32]) -> f32 {
            // 64 partial sums: enough independent additions to keep the multipliers busy.
            let ((a_wide, a_rest), (b_wide, b_rest)) = (a.as_chunks::<64>(), b.as_chunks::<64>());
            let mut sums = [0.0f32; 64];
            for (a, b) in a_wide.iter().zip(b_wide) {
                for i in 0..64 {
                    sums[i] += a[i] * b[i];
                }
            }
            let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
            sums.iter().sum::<f32>() + rest
        }

        #[$attr]
        unsafe fn dot_int8(a: &[f32], b: [&[i8]; 4]) -> [f32; 4] {
            let (a_wide, a_rest) = a.as_chunks::<32>();
            let [b0, b1, b2, b3] = b.map(|b| b.as_chunks::<32>().0);
            let [mut s0, mut s1, mut s2, mut s3] = [[0.0f32; 32]; 4];
            for ((((a, b0), b1), b2), b3) in a_wide.iter().zip(b0).zip(b1).zip(b2).zip(b3) {
                // One loop for each: as a loop over the four, it is not compiled to vectors.
                for i in 0..32 {
                    s0[i] += a[i] * f32::from(b0[i]);
                }
                for i in 0..32 {
                    s1[i] += a[i] * f32::from(b1[i]);
                }
                for i in 0..32 {
                    s2[i] += a[i] * f32::from(b2[i]);
                }
                for i in 0..32 {
                    s3[i] += a[i] * f32::from(b3[i]);
                }
            }
            let mut rows = [s0, s1, s2, s3].into_iter().zip(b).map(|(sums, b)| {
                let b_rest = &b[a.len() - a_rest.len()..];
                let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * f32::from(*b)).sum();
                sums.iter().sum::<f32>() + rest
            });
            std::array::from_fn(|_| rows.next().unwrap_or_default())
        }
    };
}
