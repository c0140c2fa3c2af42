//! Every kernel of every instruction set that this processor has, against the textbook sum.

use super::*;
use crate::testing::small_noise as noise;

fn assert_close(what: &str, actual: &[f32], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((f64::from(*a) - e).abs() <= 1e-5 * scale, "{what} at {i}: {a}, textbook {e}");
    }
}

fn affine(c: usize) -> Affine {
    Affine { scale: noise(c, 91), shift: noise(c, 92) }
}

fn z(y: f32, affine: &Affine, channel: usize) -> f64 {
    f64::from(y) * f64::from(affine.scale[channel]) + f64::from(affine.shift[channel])
}

/// Input `[n + 2, width + 2, c_in]` at row `y`, pixel `x`, channel `c`.
fn at(rows: &Rows, padded: &[f32], y: usize, x: usize, c: usize) -> f64 {
    f64::from(padded[(y * (rows.width + 2) + x) * rows.c_in + c])
}

#[test]
fn convolution_and_its_weight_gradient() {
    for (n, width, c_in, c_out) in
        [(1, 1, 1, 32), (2, 5, 3, 32), (3, 13, 32, 64), (2, 29, 33, 32), (5, 16, 8, 96)]
    {
        let rows = Rows { n, width, c_in, c_out };
        let padded = noise(rows.padded_len(), 1);
        let weight = noise(rows.weight_len(), 2);
        let d_out = noise(rows.out_len(), 3);
        let start = noise(rows.weight_len(), 4);
        let packed_at =
            |o: usize, tap: usize, c: usize| ((o / BLOCK * 9 + tap) * c_in + c) * BLOCK + o % BLOCK;
        let mut out = vec![0.0f64; rows.out_len()];
        let mut grad: Vec<f64> = start.iter().map(|&g| f64::from(g)).collect();
        for y in 0..n {
            for x in 0..width {
                for o in 0..c_out {
                    let pixel = (y * width + x) * c_out + o;
                    for tap in 0..9 {
                        for c in 0..c_in {
                            let input = at(&rows, &padded, y + tap / 3, x + tap % 3, c);
                            out[pixel] += input * f64::from(weight[packed_at(o, tap, c)]);
                            grad[packed_at(o, tap, c)] += input * f64::from(d_out[pixel]);
                        }
                    }
                }
            }
        }
        for kernels in available() {
            let what = format!("{} {rows:?}", kernels.name);
            let mut actual = vec![f32::NAN; rows.out_len()];
            kernels.conv_rows(rows, &padded, &weight, &mut actual);
            assert_close(&format!("convolution, {what}"), &actual, &out);
            let mut actual = start.clone();
            kernels.weight_grad(rows, &padded, &d_out, &mut actual);
            assert_close(&format!("weight gradient, {what}"), &actual, &grad);
        }
    }
}

/// `G g G^T`.
fn transformed(g: [f64; 9]) -> [f64; TILE_POSITIONS] {
    const G: [[f64; 3]; TILE_IN] = [
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ];
    std::array::from_fn(|i| {
        let (y, x) = (i / TILE_IN, i % TILE_IN);
        (0..9).map(|tap| G[y][tap / 3] * g[tap] * G[x][tap % 3]).sum()
    })
}

#[test]
fn winograds_convolution_and_its_weight_gradient() {
    for (n, width, c_in, c_out) in
        [(1, 1, 32, 32), (2, 5, 32, 64), (3, 13, 64, 32), (6, 64, 32, 32), (5, 16, 96, 64)]
    {
        let rows = Rows { n, width, c_in, c_out };
        let (pitch, height) = (rows.tiled_pitch() / c_in, rows.tiled_padded_len() / rows.tiled_pitch());
        let mut padded = noise(rows.tiled_padded_len(), 1);
        // What fills up to whole tiles is zero.
        for y in 0..height {
            for x in 0..pitch {
                if y >= n + 2 || x >= width + 2 {
                    padded[(y * pitch + x) * c_in..][..c_in].fill(0.0);
                }
            }
        }
        let taps = noise(9 * c_in * c_out, 2);
        let d_out = noise(rows.out_len(), 3);
        let index = |o: usize, position: usize, c: usize| {
            ((o / BLOCK * TILE_POSITIONS + position) * c_in + c) * BLOCK + o % BLOCK
        };
        let mut weight = vec![0.0; TILE_POSITIONS * c_in * c_out];
        for o in 0..c_out {
            for c in 0..c_in {
                let g = std::array::from_fn(|tap| f64::from(taps[(o * c_in + c) * 9 + tap]));
                for (position, u) in transformed(g).into_iter().enumerate() {
                    weight[index(o, position, c)] = u as f32;
                }
            }
        }
        // The gradient by the taps, and through `G` by the transformed weights' own definition: `dg = G^T dU G`.
        let mut out = vec![0.0f64; rows.out_len()];
        let mut by_taps = vec![0.0f64; taps.len()];
        for y in 0..n {
            for x in 0..width {
                for o in 0..c_out {
                    let pixel = (y * width + x) * c_out + o;
                    for tap in 0..9 {
                        for c in 0..c_in {
                            let input = f64::from(padded[((y + tap / 3) * pitch + x + tap % 3) * c_in + c]);
                            out[pixel] += input * f64::from(taps[(o * c_in + c) * 9 + tap]);
                            by_taps[(o * c_in + c) * 9 + tap] += input * f64::from(d_out[pixel]);
                        }
                    }
                }
            }
        }
        for kernels in available() {
            let what = format!("{} {rows:?}", kernels.name);
            let mut scratch = vec![f32::NAN; rows.scratch_len()];
            let mut actual = vec![f32::NAN; rows.out_len()];
            kernels.winograd_rows(rows, &padded, FiltersRef::F32(&weight), None, &mut actual, &mut scratch);
            assert_close(&format!("convolution, {what}"), &actual, &out);
            let affine = affine(c_out);
            let (half, down) = (width / 2, n / 2);
            let pooled: Vec<f64> = (0..down * half * c_out)
                .map(|i| {
                    let (y, x, o) = (i / c_out / half * 2, i / c_out % half * 2, i % c_out);
                    let four = [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter();
                    four.map(|(dy, dx)| out[((y + dy) * width + x + dx) * c_out + o])
                        .map(|value| value * f64::from(affine.scale[o]) + f64::from(affine.shift[o]))
                        .fold(0.0, f64::max)
                })
                .collect();
            let mut actual = vec![f32::NAN; pooled.len()];
            kernels.winograd_rows(
                rows,
                &padded,
                FiltersRef::F32(&weight),
                Some(&affine),
                &mut actual,
                &mut scratch,
            );
            assert_close(&format!("convolution and pooling, {what}"), &actual, &pooled);
            let mut grad = vec![0.0; weight.len()];
            kernels.winograd_grad(rows, &padded, &d_out, &mut grad, &mut scratch);
            let mut actual = vec![0.0f32; taps.len()];
            for o in 0..c_out {
                for c in 0..c_in {
                    for tap in 0..9 {
                        let mut unit = [0.0; 9];
                        unit[tap] = 1.0;
                        let along = transformed(unit);
                        actual[(o * c_in + c) * 9 + tap] = (0..TILE_POSITIONS)
                            .map(|i| along[i] * f64::from(grad[index(o, i, c)]))
                            .sum::<f64>() as f32;
                    }
                }
            }
            assert_close(&format!("weight gradient, {what}"), &actual, &by_taps);
        }
    }
}

#[test]
fn passes_over_pixels() {
    for c in [32, 96] {
        let n = 7 * c;
        let (y, g, affine) = (noise(n, 1), noise(n, 2), affine(c));
        let norm = NormGrad { a: noise(c, 3), k1: noise(c, 4), k2: noise(c, 5) };
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let (mut sum, mut sum_sq, mut sum_g, mut sum_gy) =
            (vec![0.0; c], vec![0.0; c], vec![0.0; c], vec![0.0; c]);
        let (mut relu, mut masked, mut applied) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        for i in 0..n {
            let (ch, y, g) = (i % c, f64::from(y[i]), f64::from(g[i]));
            let z = z(y as f32, &affine, ch);
            relu[i] = z.max(0.0);
            masked[i] = if z > 0.0 { g } else { 0.0 };
            applied[i] = g * f64::from(norm.a[ch]) + y * f64::from(norm.k1[ch]) + f64::from(norm.k2[ch]);
            sum[ch] += y;
            sum_sq[ch] += y * y;
            sum_g[ch] += masked[i];
            sum_gy[ch] += masked[i] * y;
        }
        for kernels in available() {
            let name = kernels.name;
            let mut out = vec![f32::NAN; n];
            kernels.affine_relu(&y, &affine, &mut out);
            assert_close(&format!("affine_relu {name}"), &out, &relu);
            let (mut s, mut q) = (vec![0.0; c], vec![0.0; c]);
            kernels.sums(&y, &mut s, &mut q);
            assert_close(&format!("sums {name}"), &s, &sum);
            assert_close(&format!("sums of squares {name}"), &q, &sum_sq);
            let (mut grad, mut s, mut q) = (g.clone(), vec![0.0; c], vec![0.0; c]);
            kernels.relu_grad_sums(&y, &affine, &mut grad, &mut s, &mut q);
            assert_close(&format!("relu gradient {name}"), &grad, &masked);
            assert_close(&format!("relu gradient sums {name}"), &s, &sum_g);
            assert_close(&format!("relu gradient sums with y {name}"), &q, &sum_gy);
            let mut grad = g.clone();
            kernels.norm_grad_apply(&y, &norm, &mut grad);
            assert_close(&format!("norm gradient {name}"), &grad, &applied);
            let dot: f64 = wide(&y).iter().zip(wide(&g)).map(|(a, b)| a * b).sum();
            assert_close(&format!("dot {name}"), &[kernels.dot(&y, &g)], &[dot]);
        }
    }
}

#[test]
fn pooling_with_dropout_and_its_way_back() {
    for (height, width, c) in [(2, 2, 32), (4, 6, 64), (5, 7, 32), (7, 2, 32)] {
        let y = noise(height * width * c, 1);
        let (half_h, half_w) = (height / 2, width / 2);
        let d_out = noise(half_h * half_w * c, 2);
        let affine = affine(c);
        let norm = NormGrad { a: noise(c, 3), k1: noise(c, 4), k2: noise(c, 5) };
        for dropout in [Dropout::OFF, Dropout::new(0.4, 77)] {
            let first = 1000u32;
            let mut out = vec![0.0; d_out.len()];
            let (mut sum, mut sum_y) = (vec![0.0; c], vec![0.0; c]);
            let mut grad: Vec<f64> = (0..y.len())
                .map(|i| f64::from(y[i]) * f64::from(norm.k1[i % c]) + f64::from(norm.k2[i % c]))
                .collect();
            for i in 0..out.len() {
                let (ch, pixel) = (i % c, i / c);
                let corner = |dy: usize, dx: usize| {
                    ((pixel / half_w * 2 + dy) * width + pixel % half_w * 2 + dx) * c + ch
                };
                let window = [corner(0, 0), corner(0, 1), corner(1, 0), corner(1, 1)];
                let factor = f64::from(dropout.factor(first + i as u32));
                let best = window
                    .into_iter()
                    .reduce(|a, b| if z(y[b], &affine, ch) > z(y[a], &affine, ch) { b } else { a });
                let best = best.unwrap();
                let top = z(y[best], &affine, ch);
                out[i] = top.max(0.0) * factor;
                if top > 0.0 {
                    let g = f64::from(d_out[i]) * factor;
                    sum[ch] += g;
                    sum_y[ch] += g * f64::from(y[best]);
                    grad[best] += g * f64::from(norm.a[ch]);
                }
            }
            for kernels in available() {
                let what = format!("{} {height} x {width} x {c}, {dropout:?}", kernels.name);
                let mut actual = vec![f32::NAN; out.len()];
                kernels.pool_rows(&y, width, &affine, dropout, first, &mut actual);
                assert_close(&format!("pooling {what}"), &actual, &out);
                let (mut s, mut q) = (vec![0.0; c], vec![0.0; c]);
                kernels.pool_grad_sums(&y, width, &affine, dropout, first, &d_out, &mut s, &mut q);
                assert_close(&format!("sums of the way back {what}"), &s, &sum);
                assert_close(&format!("sums with y {what}"), &q, &sum_y);
                let mut actual = vec![f32::NAN; y.len()];
                kernels.pool_grad_apply(&y, width, &affine, dropout, first, &d_out, &norm, &mut actual);
                assert_close(&format!("way back {what}"), &actual, &grad);
            }
        }
    }
}

/// The error function within 2e-8: by its series, which loses digits where it is all but 1.
fn erf(x: f64) -> f64 {
    if x.abs() > 4.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / 2f64.sqrt()))
}

#[test]
fn products_of_rows_with_a_matrix() {
    for (n, pitch, c_in, c_out) in
        [(1, 1, 1, 32), (2, 5, 5, 32), (29, 40, 40, 96), (15, 8, 24, 64), (7, 33, 20, 32)]
    {
        let shape = Product::dense(n, pitch, c_in, c_out);
        let (x, weight) = (noise(shape.in_len() + 3, 1), noise(c_in * c_out, 2));
        let mut want = vec![0.0f64; n * c_out];
        for t in 0..n {
            for o in 0..c_out {
                let products = (0..c_in).map(|c| {
                    f64::from(x[t * pitch + c])
                        * f64::from(weight[(o / BLOCK * c_in + c) * BLOCK + o % BLOCK])
                });
                want[t * c_out + o] = products.sum();
            }
        }
        for kernels in available() {
            let mut out = vec![f32::NAN; n * c_out];
            kernels.linear_rows(shape, &x, &weight, &mut out);
            assert_close(&format!("{} {shape:?}", kernels.name), &out, &want);
        }
    }
}

#[test]
fn rows_become_columns() {
    for (n, c) in [(1, 1), (3, 17), (16, 16), (33, 40), (100, 5), (5, 100)] {
        let shape = Turned { n, c, pitch: c + 3, pitch_out: n + 2 };
        let x = noise((n - 1) * shape.pitch + c, 1);
        let mut want = vec![7.0; (c - 1) * shape.pitch_out + n];
        for row in 0..n {
            for column in 0..c {
                want[column * shape.pitch_out + row] = x[row * shape.pitch + column];
            }
        }
        for kernels in available() {
            // What lies between the rows stays.
            let mut out = vec![7.0; want.len()];
            kernels.transpose(shape, &x, &mut out);
            assert_eq!(out, want, "{} {shape:?}", kernels.name);
        }
    }
}

#[test]
fn gelu_over_its_whole_range_and_its_slope() {
    // Rows of an odd length, and values far outside of where the function bends.
    let c = 37;
    let x: Vec<f32> =
        (0..c * 41).map(|i| (i as f32 - 750.0) / 60.0).chain([-200.0; 37]).chain([200.0; 37]).collect();
    let bias = noise(c, 3);
    let z = |i: usize| f64::from(x[i] + bias[i % c]);
    let grad = noise(x.len(), 4);
    for kernels in available() {
        let mut out = vec![f32::NAN; x.len()];
        kernels.bias_gelu(&x, &bias, &mut out);
        let (mut d_x, mut d_bias) = (grad.clone(), vec![1.0; c]);
        kernels.bias_gelu_grad(&x, &bias, &mut d_x, &mut d_bias);
        let mut want_bias = vec![1.0f64; c];
        for i in 0..x.len() {
            let want = gelu(z(i));
            assert!(
                (f64::from(out[i]) - want).abs() < 1e-6 * want.abs().max(1.0),
                "{}: gelu({}) = {}",
                kernels.name,
                z(i),
                out[i]
            );
            let density = (-0.5 * z(i) * z(i)).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let want = f64::from(grad[i]) * (0.5 * (1.0 + erf(z(i) / 2f64.sqrt())) + z(i) * density);
            assert!(
                (f64::from(d_x[i]) - want).abs() < 2e-6,
                "{}: slope at {}: {}, {want}",
                kernels.name,
                z(i),
                d_x[i]
            );
            want_bias[i % c] += want;
        }
        assert_close(kernels.name, &d_bias, &want_bias);
    }
}

#[test]
fn layer_normalisation_and_its_way_back() {
    for c in [1, 7, 32, 100] {
        let n = 5;
        // A mean that is larger than the deviation.
        let x: Vec<f32> = noise(n * c, 5).iter().map(|x| x + 3.0).collect();
        let (gamma, beta, grad) = (noise(c, 6), noise(c, 7), noise(n * c, 8));
        let normed = |x: &[f64]| -> Vec<f64> {
            let rows = x.chunks(c).flat_map(|row| {
                let mean = row.iter().sum::<f64>() / c as f64;
                let var = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / c as f64;
                row.iter().map(move |x| (x - mean) / (var + f64::from(LAYER_NORM_EPSILON)).sqrt())
            });
            rows.collect()
        };
        let apply = |x: &[f64]| -> Vec<f64> {
            let y = normed(x).into_iter().enumerate();
            y.map(|(i, y)| y * f64::from(gamma[i % c]) + f64::from(beta[i % c])).collect()
        };
        let exact: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let y = normed(&exact);
        let by = |f: &dyn Fn(usize) -> f64, channel: usize| -> f64 {
            (0..n * c).filter(|i| i % c == channel).map(|i| f64::from(grad[i]) * f(i)).sum()
        };
        let want_gamma: Vec<f64> = (0..c).map(|channel| by(&|i| y[i], channel)).collect();
        let want_beta: Vec<f64> = (0..c).map(|channel| by(&|_| 1.0, channel)).collect();
        for kernels in available() {
            let mut out = vec![f32::NAN; n * c];
            kernels.layer_norm(&x, &gamma, &beta, &mut out);
            assert_close(kernels.name, &out, &apply(&exact));
            let (mut d_x, mut by_gamma, mut by_beta) = (grad.clone(), vec![0.0; c], vec![0.0; c]);
            kernels.layer_norm_grad(&x, &gamma, &mut d_x, &mut by_gamma, &mut by_beta);
            assert_close(kernels.name, &by_gamma, &want_gamma);
            assert_close(kernels.name, &by_beta, &want_beta);
            for at in (0..n * c).step_by(3) {
                let moved = |by: f64| -> f64 {
                    let mut x = exact.clone();
                    x[at] += by;
                    apply(&x).iter().zip(&grad).map(|(y, g)| y * f64::from(*g)).sum()
                };
                let want = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!(
                    (f64::from(d_x[at]) - want).abs() < 1e-4,
                    "{} at {at}: {} {want}",
                    kernels.name,
                    d_x[at]
                );
            }
        }
    }
}

#[test]
fn softmax_of_rows_and_its_way_back() {
    for (n, pitch) in [(1, 1), (5, 32), (32, 32), (45, 64), (70, 96)] {
        let x: Vec<f32> = noise(3 * pitch, 9).iter().map(|x| 40.0 * x).collect();
        let grad = noise(3 * pitch, 10);
        for kernels in available() {
            let mut p = x.clone();
            kernels.softmax_rows(&mut p, pitch, n);
            let mut d_x = grad.clone();
            kernels.softmax_grad_rows(&p, &mut d_x, pitch, n);
            for row in 0..3 {
                let at = |i: usize| f64::from(x[row * pitch + i]);
                let total: f64 = (0..n).map(|i| at(i).exp()).sum();
                let want = |i: usize| at(i).exp() / total;
                let mean: f64 = (0..n).map(|i| want(i) * f64::from(grad[row * pitch + i])).sum();
                for i in 0..pitch {
                    let (got, slope) = (f64::from(p[row * pitch + i]), f64::from(d_x[row * pitch + i]));
                    if i >= n {
                        assert_eq!(got, 0.0);
                        continue;
                    }
                    assert!((got - want(i)).abs() < 1e-6, "{}: {got} {}", kernels.name, want(i));
                    let want_slope = want(i) * (f64::from(grad[row * pitch + i]) - mean);
                    assert!((slope - want_slope).abs() < 1e-6, "{}: {slope} {want_slope}", kernels.name);
                }
            }
        }
    }
}

#[test]
fn pairs_are_rounded_to_the_nearest_bfloat16() {
    use half::bf16;
    let Some(kernels) = pair_kernels() else {
        println!("skipped: this processor has no instructions for bfloat16");
        return;
    };
    let pair = |a: f32, b: f32| {
        u32::from(bf16::from_f32(a).to_bits()) | u32::from(bf16::from_f32(b).to_bits()) << 16
    };
    for n in [1, 2, 15, 16, 31, 32, 33, 64, 77] {
        let (x, y) = (noise(n, 1), noise(n, 2));
        let mut pairs = vec![f32::NAN; n.div_ceil(2)];
        kernels.to_pairs(&x, &mut pairs);
        for (i, got) in pairs.iter().enumerate() {
            let want = pair(x[2 * i], x.get(2 * i + 1).copied().unwrap_or(0.0));
            assert_eq!(got.to_bits(), want, "{n}: pair {i}");
        }
        let mut pairs = vec![f32::NAN; n];
        kernels.pair_up(&x, &y, &mut pairs);
        for (i, got) in pairs.iter().enumerate() {
            assert_eq!(got.to_bits(), pair(x[i], y[i]), "{n}: pair {i}");
        }
    }
}
