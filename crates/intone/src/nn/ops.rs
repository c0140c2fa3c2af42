//! The fast layers as operations of the framework, with their own way back.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, backend_extension};
use burn::tensor::TensorData;

use super::conv::{self, ConvShape};
use super::norm::{self, Statistics};
use super::simd::{Dropout, buffer};

/// Layers on channels-last activations. `stats` is `[2, c]`: the mean and biased variance of each channel.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait FastOps: Backend {
    /// `x` `[n, h, w, c_in]`, `weight` `[c_out, c_in, 3, 3]` -> convolved `[n, h, w, c_out]` and its `stats`.
    fn fast_conv(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The same after batch normalisation and ReLU of `y` `[n, h, w, c_in]`.
    fn fast_norm_relu_conv(
        y: FloatTensor<Self>,
        stats: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Batch normalisation, ReLU, 2 x 2 max pooling and dropout of `y` `[n, h, w, c]` -> `[n, h / 2, w / 2, c]`.
    fn fast_norm_relu_pool(
        y: FloatTensor<Self>,
        stats: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        dropout_rate: f64,
        seed: u32,
    ) -> FloatTensor<Self>;
}

/// The ways back. The gradient that arrives is by the convolved output or the pooled output.
pub(super) trait FastGrad: FastOps {
    /// -> by `x` (empty if not wanted), by `weight`.
    fn fast_conv_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        want_x: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// -> by `y`, `gamma`, `beta`, `weight`.
    fn fast_norm_relu_conv_grad(
        y: FloatTensor<Self>,
        stats: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 4];

    /// -> by `y`, `gamma`, `beta`.
    fn fast_norm_relu_pool_grad(
        y: FloatTensor<Self>,
        stats: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        dropout: (f64, u32),
        grad: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 3];
}

pub(super) type FlexFloat = FloatTensor<Flex>;

pub(super) fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexFloat {
    let data = TensorData::from_bytes(buffer::into_bytes(values), shape, burn::tensor::DType::F32);
    FlexFloat::from_data(data)
}

pub(super) fn shape_of(tensor: &FlexFloat) -> Vec<usize> {
    tensor.layout().shape().to_vec()
}

/// Borrows the values of tensors as slices, in row-major order.
macro_rules! slices {
    ($($tensor:ident),+) => {
        $(let $tensor = $tensor.to_contiguous();
        let $tensor = $tensor.as_slice::<f32>().expect("the layers work in single precision on contiguous tensors");)+
    };
}

pub(super) use slices;

fn stats_tensor(stats: Statistics) -> FlexFloat {
    let c = stats.mean.len();
    tensor([stats.mean, stats.var].concat(), &[2, c])
}

fn stats_of(stats: &[f32]) -> Statistics {
    let (mean, var) = stats.split_at(stats.len() / 2);
    Statistics { mean: mean.to_vec(), var: var.to_vec() }
}

fn conv_shape(image: &[usize], c_in: usize, c_out: usize) -> ConvShape {
    ConvShape { height: image[1], width: image[2], c_in, c_out }
}

impl FastOps for Flex {
    fn fast_conv(x: FlexFloat, weight: FlexFloat) -> (FlexFloat, FlexFloat) {
        let (image, c_out) = (shape_of(&x), shape_of(&weight)[0]);
        slices!(x, weight);
        convolve(&image, x, None, weight, c_out)
    }

    fn fast_norm_relu_conv(
        y: FlexFloat,
        stats: FlexFloat,
        gamma: FlexFloat,
        beta: FlexFloat,
        weight: FlexFloat,
    ) -> (FlexFloat, FlexFloat) {
        let (image, c_out) = (shape_of(&y), shape_of(&weight)[0]);
        slices!(y, stats, gamma, beta, weight);
        convolve(&image, y, Some(&stats_of(stats).affine(gamma, beta)), weight, c_out)
    }

    fn fast_norm_relu_pool(
        y: FlexFloat,
        stats: FlexFloat,
        gamma: FlexFloat,
        beta: FlexFloat,
        dropout_rate: f64,
        seed: u32,
    ) -> FlexFloat {
        let [n, h, w, c] = image(&y);
        slices!(y, stats, gamma, beta);
        let affine = stats_of(stats).affine(gamma, beta);
        let mut out = buffer::take(n * (h / 2) * (w / 2) * c);
        norm::pool(y, h, w, &affine, Dropout::new(dropout_rate, seed), &mut out);
        tensor(out, &[n, h / 2, w / 2, c])
    }
}

fn image(tensor: &FlexFloat) -> [usize; 4] {
    let shape = shape_of(tensor);
    [shape[0], shape[1], shape[2], shape[3]]
}

fn convolve(
    image: &[usize],
    x: &[f32],
    affine: Option<&super::simd::Affine>,
    weight: &[f32],
    c_out: usize,
) -> (FlexFloat, FlexFloat) {
    let shape = conv_shape(image, image[3], c_out);
    let pixels = image[0] * image[1] * image[2];
    let mut out = buffer::take(pixels * c_out);
    let packed = conv::pack_weights(weight, shape.c_in, c_out);
    let sums = conv::forward(shape, x, affine, &packed, &mut out);
    buffer::put(packed);
    (tensor(out, &[image[0], image[1], image[2], c_out]), stats_tensor(Statistics::of(&sums, pixels)))
}

impl FastGrad for Flex {
    fn fast_conv_grad(
        x: FlexFloat,
        weight: FlexFloat,
        grad: FlexFloat,
        want_x: bool,
    ) -> (FlexFloat, FlexFloat) {
        let (image, w_shape) = (shape_of(&x), shape_of(&weight));
        slices!(x, weight, grad);
        let shape = conv_shape(&image, image[3], w_shape[0]);
        let mut d_x = want_x.then(|| buffer::take(x.len()));
        let found = conv::backward(shape, x, None, weight, grad, d_x.as_deref_mut());
        let d_x = d_x.map_or_else(|| tensor(Vec::new(), &[0]), |d_x| tensor(d_x, &image));
        (d_x, tensor(found.weight, &w_shape))
    }

    fn fast_norm_relu_conv_grad(
        y: FlexFloat,
        stats: FlexFloat,
        gamma: FlexFloat,
        beta: FlexFloat,
        weight: FlexFloat,
        grad: FlexFloat,
    ) -> [FlexFloat; 4] {
        let (image, w_shape) = (shape_of(&y), shape_of(&weight));
        let c = image[3];
        slices!(y, stats, gamma, beta, weight, grad);
        let stats = stats_of(stats);
        let shape = conv_shape(&image, c, w_shape[0]);
        let mut d_y = buffer::take(y.len());
        let affine = stats.affine(gamma, beta);
        let found = conv::backward(shape, y, Some(&affine), weight, grad, Some(&mut d_y));
        let (norm, d_gamma, d_beta) = stats.grad(gamma, &found.sums, y.len() / c);
        norm::apply_grad(y, &norm, &mut d_y);
        [tensor(d_y, &image), tensor(d_gamma, &[c]), tensor(d_beta, &[c]), tensor(found.weight, &w_shape)]
    }

    fn fast_norm_relu_pool_grad(
        y: FlexFloat,
        stats: FlexFloat,
        gamma: FlexFloat,
        beta: FlexFloat,
        dropout: (f64, u32),
        grad: FlexFloat,
    ) -> [FlexFloat; 3] {
        let [n, h, w, c] = image(&y);
        slices!(y, stats, gamma, beta, grad);
        let mut d_y = buffer::take(y.len());
        let dropout = Dropout::new(dropout.0, dropout.1);
        let (d_gamma, d_beta) =
            norm::pool_backward(y, h, w, &stats_of(stats), gamma, beta, dropout, grad, &mut d_y);
        [tensor(d_y, &[n, h, w, c]), tensor(d_gamma, &[c]), tensor(d_beta, &[c])]
    }
}
