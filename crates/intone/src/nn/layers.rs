//! The layers of a VGG network on tensors of the framework, for training.
//!
//! A block is written as [`conv`], [`norm_relu_conv`] and [`norm_relu_pool`]. On the CPU these run on our kernels; on any
//! other device, and for channel counts that are no multiple of 32, they are composed of the framework's
//! operations. Both give the same numbers, and the tests hold one against the other.

use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor, TensorData};

use super::EPSILON;
use super::norm::is_fast as are_blocks;
use super::ops::FastOps;
use super::simd::Dropout;

/// The output of a convolution on its way into batch normalisation.
#[derive(Debug, Clone)]
pub(crate) struct Convolved {
    /// `[n, h, w, c]`.
    pub(crate) y: Tensor<4>,
    /// Mean and biased variance of each channel over the batch, `[2, c]`.
    pub(crate) stats: Tensor<2>,
}

/// The scale and shift of batch normalisation, `[c]` each.
#[derive(Debug, Clone)]
pub(crate) struct Gain {
    pub(crate) gamma: Tensor<1>,
    pub(crate) beta: Tensor<1>,
}

/// 3 x 3 convolution of `x` `[n, h, w, c_in]` with zero padding; `weight` `[c_out, c_in, 3, 3]`.
pub(crate) fn conv(x: Tensor<4>, weight: Tensor<4>) -> Convolved {
    if !is_fast(&x, &weight) {
        return composed::conv(x, weight);
    }
    let (y, stats) = Dispatch::fast_conv(x.into_dispatch(), weight.into_dispatch());
    Convolved { y: Tensor::from_dispatch(y), stats: Tensor::from_dispatch(stats) }
}

/// Batch normalisation with the batch's own statistics, ReLU, and the next convolution.
pub(crate) fn norm_relu_conv(x: Convolved, gain: Gain, weight: Tensor<4>) -> Convolved {
    if !is_fast(&x.y, &weight) {
        return composed::conv(composed::norm_relu(x, gain), weight);
    }
    let (y, stats) = Dispatch::fast_norm_relu_conv(
        x.y.into_dispatch(),
        x.stats.into_dispatch(),
        gain.gamma.into_dispatch(),
        gain.beta.into_dispatch(),
        weight.into_dispatch(),
    );
    Convolved { y: Tensor::from_dispatch(y), stats: Tensor::from_dispatch(stats) }
}

/// Batch normalisation with the batch's own statistics, ReLU, 2 x 2 max pooling (an odd last row or column is left
/// out) and dropout of single units with probability `dropout_rate`; which ones is decided by `seed`.
pub(crate) fn norm_relu_pool(x: Convolved, gain: Gain, dropout_rate: f64, seed: u32) -> Tensor<4> {
    let channels = x.y.dims()[3];
    if !(on_cpu(&x.y.device()) && are_blocks(channels)) {
        return composed::dropout(composed::pool(composed::norm_relu(x, gain)), dropout_rate, seed);
    }
    Tensor::from_dispatch(Dispatch::fast_norm_relu_pool(
        x.y.into_dispatch(),
        x.stats.into_dispatch(),
        gain.gamma.into_dispatch(),
        gain.beta.into_dispatch(),
        dropout_rate,
        seed,
    ))
}

/// Dropout of a dense layer's units.
pub(crate) fn dropout<const D: usize>(x: Tensor<D>, rate: f64, seed: u32) -> Tensor<D> {
    composed::dropout(x, rate, seed)
}

/// Whether the kernels take this convolution: the device is the CPU and both channel counts are whole blocks
/// (the input's may be 1, of which no gradient is wanted).
fn is_fast(x: &Tensor<4>, weight: &Tensor<4>) -> bool {
    let [c_out, c_in, ..] = weight.dims();
    on_cpu(&x.device()) && are_blocks(c_out) && (are_blocks(c_in) || !x.is_tracked())
}

/// Whether our kernels run there.
pub(super) fn on_cpu(device: &Device) -> bool {
    matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Flex(_))
}

/// The same layers from the framework's operations, for every device.
mod composed {
    use super::*;

    pub(super) fn conv(x: Tensor<4>, weight: Tensor<4>) -> Convolved {
        let options = burn::tensor::ops::ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        let y = conv2d(x.permute([0, 3, 1, 2]), weight, None, options).permute([0, 2, 3, 1]);
        let [n, h, w, c] = y.dims();
        let flat = y.clone().reshape([n * h * w, c]);
        let mean = flat.clone().mean_dim(0);
        let var = (flat - mean.clone()).square().mean_dim(0);
        Convolved { y, stats: Tensor::cat(vec![mean, var], 0) }
    }

    pub(super) fn norm_relu(x: Convolved, gain: Gain) -> Tensor<4> {
        let c = x.y.dims()[3];
        let row = |tensor: Tensor<1>| tensor.reshape([1, 1, 1, c]);
        let mean = row(x.stats.clone().slice([0..1, 0..c]).reshape([c]));
        let var = row(x.stats.slice([1..2, 0..c]).reshape([c]));
        let y = (x.y - mean) / (var + EPSILON).sqrt() * row(gain.gamma) + row(gain.beta);
        burn::tensor::activation::relu(y)
    }

    pub(super) fn pool(x: Tensor<4>) -> Tensor<4> {
        let pooled = max_pool2d(x.permute([0, 3, 1, 2]), MaxPoolOptions::new([2, 2]));
        pooled.permute([0, 2, 3, 1])
    }

    pub(super) fn dropout<const D: usize>(x: Tensor<D>, rate: f64, seed: u32) -> Tensor<D> {
        if rate == 0.0 {
            return x;
        }
        let dropout = Dropout::new(rate, seed);
        let factors: Vec<f32> = (0..x.shape().num_elements()).map(|i| dropout.factor(i as u32)).collect();
        let mask = Tensor::from_data(TensorData::new(factors, x.shape()), &x.device());
        x * mask
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Gradients;

    use super::*;
    use crate::testing::{leaf_of, small_noise as noise, values};

    fn leaf<const D: usize>(shape: [usize; D], seed: u32) -> Tensor<D> {
        leaf_of(noise(shape.iter().product(), seed), shape)
    }

    fn gradient<const D: usize>(tensor: &Tensor<D>, gradients: &Gradients) -> Vec<f32> {
        values(tensor.grad(gradients).unwrap())
    }

    /// Fails with the worst difference, relative to the largest value.
    fn assert_close(what: &str, fast: &[f32], composed: &[f32]) {
        assert_eq!(fast.len(), composed.len(), "{what}");
        let scale = composed.iter().fold(1e-3f32, |m, x| m.max(x.abs()));
        let worst = fast.iter().zip(composed).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
        assert!(worst <= 2e-5 * scale, "{what}: differs by {worst}, largest value {scale}");
    }

    struct Inputs {
        x: Tensor<4>,
        w1: Tensor<4>,
        gain1: Gain,
        w2: Tensor<4>,
        gain2: Gain,
    }

    fn inputs() -> Inputs {
        let gain = |c: usize, seed: u32| Gain { gamma: leaf([c], seed), beta: leaf([c], seed + 1) };
        Inputs {
            x: leaf([3, 9, 15, 32], 1),
            w1: leaf([32, 32, 3, 3], 2),
            gain1: gain(32, 3),
            w2: leaf([64, 32, 3, 3], 5),
            gain2: gain(64, 6),
        }
    }

    /// A block of two convolutions on the fast and on the composed layers: everything that comes out and goes back.
    fn block(fast: bool, rate: f64) -> Vec<(&'static str, Vec<f32>)> {
        let Inputs { x, w1, gain1, w2, gain2 } = inputs();
        let out = if fast {
            assert!(is_fast(&x, &w1) && is_fast(&x, &w2));
            let first = conv(x.clone(), w1.clone());
            let second = norm_relu_conv(first, gain1.clone(), w2.clone());
            norm_relu_pool(second, gain2.clone(), rate, 9)
        } else {
            let first = composed::conv(x.clone(), w1.clone());
            let second = composed::conv(composed::norm_relu(first, gain1.clone()), w2.clone());
            composed::dropout(composed::pool(composed::norm_relu(second, gain2.clone())), rate, 9)
        };
        let direction = Tensor::from_data(
            TensorData::new(noise(out.shape().num_elements(), 11), out.shape()),
            &out.device(),
        );
        let gradients = (out.clone() * direction).sum().backward();
        vec![
            ("output", values(out)),
            ("by x", gradient(&x, &gradients)),
            ("by the first weight", gradient(&w1, &gradients)),
            ("by the first gamma", gradient(&gain1.gamma, &gradients)),
            ("by the first beta", gradient(&gain1.beta, &gradients)),
            ("by the second weight", gradient(&w2, &gradients)),
            ("by the second gamma", gradient(&gain2.gamma, &gradients)),
            ("by the second beta", gradient(&gain2.beta, &gradients)),
        ]
    }

    #[test]
    fn fast_layers_and_their_gradients_are_those_of_the_framework() {
        for rate in [0.0, 0.3] {
            for ((what, fast), (_, composed)) in block(true, rate).iter().zip(&block(false, rate)) {
                assert_close(&format!("{what}, dropout {rate}"), fast, composed);
            }
        }
    }

    #[test]
    fn the_first_convolution_takes_one_channel() {
        let device = Device::flex().autodiff();
        let x = Tensor::<4>::from_data(TensorData::new(noise(2 * 12 * 13, 1), [2, 12, 13, 1]), &device);
        let w = leaf([32, 1, 3, 3], 2);
        assert!(is_fast(&x, &w));
        let run = |fast: bool| {
            let out = if fast { conv(x.clone(), w.clone()) } else { composed::conv(x.clone(), w.clone()) };
            let direction =
                Tensor::from_data(TensorData::new(noise(2 * 12 * 13 * 32, 3), [2, 12, 13, 32]), &device);
            let gradients = (out.y.clone() * direction).sum().backward();
            (values(out.y), values(out.stats), gradient(&w, &gradients))
        };
        let (fast, composed) = (run(true), run(false));
        assert_close("output", &fast.0, &composed.0);
        assert_close("statistics", &fast.1, &composed.1);
        assert_close("by the weight", &fast.2, &composed.2);
    }

    #[test]
    fn dropout_drops_the_given_share() {
        for rate in [0.1, 0.5, 0.7] {
            let dropout = Dropout::new(rate, 3);
            let kept = (0..100_000).filter(|&i| dropout.factor(i) != 0.0).count() as f64 / 1e5;
            assert!((kept - (1.0 - rate)).abs() < 0.01, "rate {rate}: kept {kept}");
        }
    }

    #[test]
    fn other_channel_counts_go_through_the_framework() {
        let (x, w) = (leaf([1, 4, 4, 3], 1), leaf([5, 3, 3, 3], 2));
        assert!(!is_fast(&x, &w));
        let out = norm_relu_pool(conv(x, w), Gain { gamma: leaf([5], 3), beta: leaf([5], 4) }, 0.0, 0);
        assert_eq!(out.dims(), [1, 2, 2, 5]);
    }
}
