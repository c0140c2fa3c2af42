//! Every layer against its textbook sum, in double precision.

use super::*;
use crate::testing::noise;

/// A picture `[height, width, c]`.
#[derive(Clone)]
struct Picture {
    height: usize,
    width: usize,
    c: usize,
    values: Vec<f64>,
}

impl Picture {
    fn at(&self, y: isize, x: isize, channel: usize) -> Option<f64> {
        let inside = (0..self.height as isize).contains(&y) && (0..self.width as isize).contains(&x);
        inside.then(|| self.values[(y as usize * self.width + x as usize) * self.c + channel])
    }

    /// All that a sliding window sees from each place: `f(picture, y of the first pixel, x of it, output channel)`.
    fn slide(
        &self,
        c: usize,
        [down, across]: [Slide; 2],
        f: impl Fn(&Picture, isize, isize, usize) -> f64,
    ) -> Picture {
        let (height, width) = (down.n_out, across.n_out);
        let mut values = Vec::new();
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let start = |place: usize, slide: Slide| (place * slide.stride) as isize - slide.before as isize;
            values.extend((0..c).map(|channel| f(self, start(y, down), start(x, across), channel)));
        }
        Picture { height, width, c, values }
    }

    fn conv(&self, weight: &[f32], bias: &[f32], slides: [Slide; 2]) -> Picture {
        let (kh, kw) = (slides[0].size, slides[1].size);
        self.slide(bias.len(), slides, |picture, y0, x0, o| {
            let mut sum = f64::from(bias[o]);
            for (i, dy, dx) in
                (0..picture.c).flat_map(|i| (0..kh).flat_map(move |dy| (0..kw).map(move |dx| (i, dy, dx))))
            {
                let w = weight[((o * picture.c + i) * kh + dy) * kw + dx];
                sum += f64::from(w) * picture.at(y0 + dy as isize, x0 + dx as isize, i).unwrap_or(0.0);
            }
            sum
        })
    }

    fn max_pool(&self, slides: [Slide; 2]) -> Picture {
        self.slide(self.c, slides, |picture, y0, x0, o| {
            (0..slides[0].size as isize)
                .flat_map(|dy| (0..slides[1].size as isize).map(move |dx| (dy, dx)))
                .filter_map(|(dy, dx)| picture.at(y0 + dy, x0 + dx, o))
                .fold(f64::NEG_INFINITY, f64::max)
        })
    }

    fn map(&self, f: impl Fn(usize, f64) -> f64) -> Picture {
        let values = self.values.iter().enumerate().map(|(at, x)| f(at % self.c, *x)).collect();
        Picture { values, ..*self }
    }
}

/// Values of both signs around 0.
fn values(n: usize, seed: u32) -> Vec<f32> {
    noise(n, seed).into_iter().map(|x| 0.7 * x).collect()
}

fn scale(n: usize, seed: u32) -> Affine {
    Affine { scale: values(n, seed).iter().map(|x| 1.0 + 0.5 * x).collect(), shift: values(n, seed + 1) }
}

fn affine(picture: &Picture, Affine { scale, shift }: &Affine) -> Picture {
    picture.map(|c, x| x * f64::from(scale[c]) + f64::from(shift[c]))
}

fn floats(weight: &[f32]) -> LayerWeights {
    LayerWeights::F32(weight.to_vec())
}

/// The network's last layer sees the same as the textbook says; two windows, so that they are not mixed up.
fn check(
    name: &str,
    height: usize,
    width: usize,
    build: impl Fn(&mut Builder),
    textbook: impl Fn(Picture) -> Picture,
) {
    check_within(2e-5, name, height, width, build, textbook);
}

/// The same with a tolerance, relative to the largest value.
fn check_within(
    tolerance: f64,
    name: &str,
    height: usize,
    width: usize,
    build: impl Fn(&mut Builder),
    textbook: impl Fn(Picture) -> Picture,
) {
    let mut builder = Builder::new(height, width);
    build(&mut builder);
    let n_in = match builder.shape {
        Shape::Row(n) => n,
        Shape::Picture { .. } => panic!("{name}: a row at the end"),
    };
    builder.dense(floats(&vec![0.0; n_in]), vec![0.0]);
    let network = builder.finish().expect("a dense layer at the end");
    let x = values(2 * height * width, 77);
    let got = network.embed(&x, 2);
    let want: Vec<f64> = x
        .chunks_exact(height * width)
        .flat_map(|x| {
            let values = x.iter().map(|&x| f64::from(x)).collect();
            textbook(Picture { height, width, c: 1, values }).values
        })
        .collect();
    assert_eq!(got.len(), want.len(), "{name}");
    let largest = want.iter().fold(1.0f64, |max, x| max.max(x.abs()));
    for (at, (got, want)) in got.iter().zip(&want).enumerate() {
        assert!(
            (f64::from(*got) - want).abs() < tolerance * largest,
            "{name}, value {at}: {got} instead of {want}"
        );
    }
}

#[test]
fn convolutions_of_any_size_are_the_textbook_sum() {
    // Around the sizes of tiles and blocks, at the edges of what fits.
    let sizes = [(1, 1), (2, 3), (3, 3), (4, 5), (7, 6), (9, 13)];
    let kernels = [
        ((3, 3), (1, 1)),
        ((1, 1), (1, 1)),
        ((5, 3), (1, 1)),
        ((3, 3), (2, 2)),
        ((2, 4), (1, 3)),
        ((7, 7), (2, 1)),
    ];
    for ((height, width), ((kh, kw), (sy, sx)), same, c) in sizes.into_iter().flat_map(|size| {
        kernels.into_iter().flat_map(move |kernel| {
            [true, false].into_iter().flat_map(move |same| [3, 32, 40].map(|c| (size, kernel, same, c)))
        })
    }) {
        if !same && (kh > height || kw > width) {
            continue;
        }
        let first = [Slide::new(height, 3, 1, true), Slide::new(width, 3, 1, true)];
        let second = [Slide::new(height, kh, sy, same), Slide::new(width, kw, sx, same)];
        let (w1, b1) = (values(c * 9, 1), values(c, 2));
        let (w2, b2) = (values(35 * c * kh * kw, 3), values(35, 4));
        let bias = |bias: &[f32]| Affine { scale: vec![1.0; bias.len()], shift: bias.to_vec() };
        check(
            &format!("{height} x {width}, {kh} x {kw} by {sy} x {sx}, same: {same}, {c} channels"),
            height,
            width,
            |network| {
                network.conv(floats(&w1), c, first);
                network.affine(bias(&b1));
                network.activation(Function::Relu);
                network.conv(floats(&w2), 35, second);
                network.affine(bias(&b2));
                network.flatten();
            },
            |picture| picture.conv(&w1, &b1, first).map(|_, x| x.max(0.0)).conv(&w2, &b2, second),
        );
    }
}

#[test]
fn windows_of_the_input_itself_may_have_any_size() {
    for (kernel, stride, same) in [(3, 1, false), (5, 2, true), (4, 4, false)] {
        let slides = [Slide::new(10, kernel, stride, same), Slide::new(11, kernel, stride, same)];
        let (w, b) = (values(4 * kernel * kernel, 1), values(4, 2));
        check(
            &format!("{kernel} by {stride}"),
            10,
            11,
            |network| {
                network.conv(floats(&w), 4, slides);
                network.affine(Affine { scale: vec![1.0; 4], shift: b.clone() });
                network.flatten();
            },
            |picture| picture.conv(&w, &b, slides),
        );
    }
}

#[test]
fn poolings_of_any_size_take_the_largest() {
    let w = values(5 * 9, 1);
    for (height, width) in [(4, 6), (5, 7)] {
        for (size, stride, same) in
            [(2, 2, false), (2, 2, true), (3, 2, true), (3, 1, false), (4, 3, true), (2, 3, true)]
        {
            let first = [Slide::new(height, 3, 1, true), Slide::new(width, 3, 1, true)];
            let pool = [Slide::new(height, size, stride, same), Slide::new(width, size, stride, same)];
            for relu in [true, false] {
                check(
                    &format!("{height} x {width}, {size} by {stride}, same: {same}, ReLU: {relu}"),
                    height,
                    width,
                    |network| {
                        network.conv(floats(&w), 5, first);
                        network.affine(scale(5, 3));
                        if relu {
                            network.activation(Function::Relu);
                        }
                        network.max_pool(pool);
                        network.flatten();
                    },
                    |picture| {
                        let x = affine(&picture.conv(&w, &[0.0; 5], first), &scale(5, 3));
                        x.map(|_, x| if relu { x.max(0.0) } else { x }).max_pool(pool)
                    },
                );
            }
        }
    }
}

#[test]
fn scales_and_functions_in_any_order() {
    let slides = [Slide::new(6, 3, 1, true), Slide::new(5, 3, 1, true)];
    let (w, w2) = (values(7 * 9, 1), values(7 * 7 * 9, 2));
    type Textbook = fn(f64) -> f64;
    let functions: [(Function, Textbook); 5] = [
        (Function::Relu, |x| x.max(0.0)),
        (Function::Elu, |x| if x > 0.0 { x } else { x.exp() - 1.0 }),
        (Function::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        (Function::Tanh, f64::tanh),
        (Function::Silu, |x| x / (1.0 + (-x).exp())),
    ];
    for (function, textbook) in functions {
        check(
            &format!("{function:?} before and behind, twice in a row"),
            6,
            5,
            |network| {
                network.affine(scale(1, 9));
                network.activation(function);
                network.conv(floats(&w), 7, slides);
                network.affine(scale(7, 3));
                network.affine(scale(7, 5));
                network.activation(function);
                network.activation(function);
                network.affine(scale(7, 7));
                network.conv(floats(&w2), 7, slides);
                network.activation(function);
                network.affine(scale(7, 11));
                network.activation(Function::Relu);
                network.activation(function);
                network.mean();
                network.affine(scale(7, 13));
                network.activation(function);
            },
            |picture| {
                let x = affine(&picture, &scale(1, 9)).map(|_, x| textbook(x)).conv(&w, &[0.0; 7], slides);
                let x = affine(&affine(&x, &scale(7, 3)), &scale(7, 5)).map(|_, x| textbook(textbook(x)));
                let x = affine(&x, &scale(7, 7)).conv(&w2, &[0.0; 7], slides).map(|_, x| textbook(x));
                let x = affine(&x, &scale(7, 11)).map(|_, x| textbook(x.max(0.0)));
                let mean = |c: usize| x.values.iter().skip(c).step_by(7).sum::<f64>() / 30.0;
                let mean = Picture { height: 1, width: 1, c: 7, values: (0..7).map(mean).collect() };
                affine(&mean, &scale(7, 13)).map(|_, x| textbook(x))
            },
        );
    }
}

#[test]
fn a_scale_behind_a_dense_layer_goes_into_its_weights() {
    for (before_relu, behind_relu) in [(true, false), (false, true), (true, true)] {
        let (w, b) = (values(3 * 12, 1), values(3, 2));
        check(
            "dense",
            3,
            4,
            |network| {
                network.flatten();
                network.dense(floats(&w), b.clone());
                if before_relu {
                    network.affine(scale(3, 3));
                }
                network.activation(Function::Relu);
                if behind_relu {
                    network.affine(scale(3, 5));
                }
            },
            |picture| {
                let row = |o: usize| -> f64 {
                    let products = w[o * 12..][..12].iter().zip(&picture.values);
                    f64::from(b[o]) + products.map(|(w, x)| f64::from(*w) * x).sum::<f64>()
                };
                let mut x = Picture { height: 1, width: 1, c: 3, values: (0..3).map(row).collect() };
                if before_relu {
                    x = affine(&x, &scale(3, 3));
                }
                x = x.map(|_, x| x.max(0.0));
                if behind_relu { affine(&x, &scale(3, 5)) } else { x }
            },
        );
    }
}

/// Weights of 8 bits, and the numbers that they are.
fn int8(n: usize, n_rows: usize, seed: u32) -> (LayerWeights, Vec<f32>) {
    let values: Vec<i8> = values(n, seed).iter().map(|x| (x * 127.0) as i8).collect();
    let scales: Vec<f32> = (0..n_rows).map(|row| 0.004 + 0.0002 * row as f32).collect();
    let weights = LayerWeights::Int8 { values, scales };
    let floats = weights.clone().into_floats();
    (weights, floats)
}

/// Convolutions round what they see and their transformed filters to 15 bits or fewer, of which the way back costs some;
/// dense layers round nothing.
#[test]
fn weights_of_8_bits_give_the_textbook_sum_to_one_percent() {
    for (height, width, c) in [(4, 5, 32), (9, 13, 64), (16, 16, 128)] {
        let slides = [Slide::new(height, 3, 1, true), Slide::new(width, 3, 1, true)];
        let (w1, f1) = int8(c * 9, c, 1);
        let (w2, f2) = int8(40 * c * 9, 40, 2);
        let (w3, f3) = int8(5 * 40 * height * width, 5, 3);
        let pictures = |picture: Picture| {
            let x = picture.conv(&f1, &vec![0.0; c], slides);
            affine(&x, &scale(c, 4)).map(|_, x| x.max(0.0)).conv(&f2, &[0.0; 40], slides)
        };
        let convolutions = |network: &mut Builder| {
            network.conv(w1.clone(), c, slides);
            network.affine(scale(c, 4));
            network.activation(Function::Relu);
            network.conv(w2.clone(), 40, slides);
            network.flatten();
        };
        let name = format!("{height} x {width}, {c} channels");
        check_within(1e-2, &name, height, width, convolutions, pictures);
        check_within(
            1e-2,
            &format!("{name}, dense"),
            height,
            width,
            |network| {
                convolutions(network);
                network.dense(w3.clone(), vec![0.5; 5]);
                network.affine(scale(5, 6));
            },
            |picture| {
                let picture = pictures(picture);
                let row = |o: usize| -> f64 {
                    let products = f3.chunks_exact(picture.values.len()).nth(o).unwrap().iter();
                    0.5 + products.zip(&picture.values).map(|(w, x)| f64::from(*w) * x).sum::<f64>()
                };
                affine(
                    &Picture { height: 1, width: 1, c: 5, values: (0..5).map(row).collect() },
                    &scale(5, 6),
                )
            },
        );
    }
}

#[test]
fn standardised_windows_have_no_mean_and_a_deviation_of_one() {
    check(
        "standardised",
        4,
        9,
        |network| {
            network.standardise();
            network.flatten();
        },
        |picture| {
            let mean = picture.values.iter().sum::<f64>() / 36.0;
            let var = picture.values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 36.0;
            picture.map(|_, x| (x - mean) / var.sqrt())
        },
    );
    let mut flat = vec![0.25; 12];
    standardise(&mut flat, 1);
    assert_eq!(flat, [0.0; 12], "nothing is made of no contrast");
}

#[test]
fn only_a_dense_layer_can_be_the_last() {
    let mut builder = Builder::new(2, 2);
    builder.flatten();
    assert!(builder.finish().is_none());
    let mut builder = Builder::new(2, 2);
    builder.flatten();
    builder.dense(floats(&[0.0; 4]), vec![0.0]);
    builder.activation(Function::Relu);
    assert!(builder.finish().is_none(), "it gives logits");
}
