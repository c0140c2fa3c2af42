//! The layers of a Transformer on tensors of the framework, for training.
//!
//! On the CPU these run on our kernels; on any other device they are composed of the framework's operations. Both give
//! the same numbers, and the tests hold one against the other.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use super::layers::on_cpu;
use super::linear::ProductPrecision;
use super::row_ops::RowOps;

/// The gain and offset of layer normalisation, `[c]` each.
#[derive(Debug, Clone)]
pub(crate) struct LayerGain {
    pub(crate) gamma: Tensor<1>,
    pub(crate) beta: Tensor<1>,
}

/// `x W^T`: `x` `[n, c_in]`, `weight` `[c_out, c_in]`.
pub(crate) fn linear(x: Tensor<2>, weight: Tensor<2>, precision: ProductPrecision) -> Tensor<2> {
    if !on_cpu(&x.device()) {
        return composed::linear(x, weight);
    }
    Tensor::from_dispatch(Dispatch::row_linear(x.into_dispatch(), weight.into_dispatch(), precision))
}

/// `x W^T + bias`.
pub(crate) fn linear_bias(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    precision: ProductPrecision,
) -> Tensor<2> {
    if !on_cpu(&x.device()) {
        return composed::linear(x, weight) + bias.unsqueeze();
    }
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::row_linear_bias(x, weight, bias, precision))
}

/// `gelu(x + bias)`.
pub(crate) fn bias_gelu(x: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    if !on_cpu(&x.device()) {
        return composed::bias_gelu(x, bias);
    }
    Tensor::from_dispatch(Dispatch::row_bias_gelu(x.into_dispatch(), bias.into_dispatch()))
}

/// Layer normalisation of each row.
pub(crate) fn layer_norm(x: Tensor<2>, gain: LayerGain) -> Tensor<2> {
    if !on_cpu(&x.device()) {
        return composed::layer_norm(x, gain);
    }
    let (gamma, beta) = (gain.gamma.into_dispatch(), gain.beta.into_dispatch());
    Tensor::from_dispatch(Dispatch::row_layer_norm(x.into_dispatch(), gamma, beta))
}

/// Self-attention of each clip: `qkv` `[rows, 3 c]` -> `[rows, c]`; `lengths` are the clips' numbers of rows.
pub(crate) fn attention(qkv: Tensor<2>, heads: usize, lengths: &[usize]) -> Tensor<2> {
    if !on_cpu(&qkv.device()) {
        return composed::attention(qkv, heads, lengths);
    }
    Tensor::from_dispatch(Dispatch::row_attention(qkv.into_dispatch(), heads, lengths.to_vec()))
}

/// What a convolution over three rows in steps of two sees of each clip, zeros around it: `[rows, c]` ->
/// `[rows / 2 rounded up for each clip, 3 c]`.
pub(crate) fn unfold(x: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
    if !on_cpu(&x.device()) {
        return composed::unfold(x, lengths);
    }
    Tensor::from_dispatch(Dispatch::row_unfold(x.into_dispatch(), lengths.to_vec()))
}

/// Attentive statistics of each clip: `x` `[rows, c]` and `scores` `[rows, 1]` -> `[n, 2 c]`, means, then standard
/// deviations.
pub(crate) fn pool(x: Tensor<2>, scores: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
    if !on_cpu(&x.device()) {
        return composed::pool(x, scores, lengths);
    }
    Tensor::from_dispatch(Dispatch::row_pool(x.into_dispatch(), scores.into_dispatch(), lengths.to_vec()))
}

/// The same layers from the framework's operations, for every device.
mod composed {
    use burn::tensor::activation::{gelu, softmax};

    use super::*;
    use crate::nn::pooling::POOLING_EPSILON;
    use crate::nn::simd::LAYER_NORM_EPSILON;

    pub(super) fn linear(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        x.matmul(weight.transpose())
    }

    pub(super) fn bias_gelu(x: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
        gelu(x + bias.unsqueeze())
    }

    pub(super) fn layer_norm(x: Tensor<2>, gain: LayerGain) -> Tensor<2> {
        let centred = x.clone() - x.mean_dim(1);
        let var = centred.clone().square().mean_dim(1);
        centred / (var + LAYER_NORM_EPSILON).sqrt() * gain.gamma.unsqueeze() + gain.beta.unsqueeze()
    }

    pub(super) fn attention(qkv: Tensor<2>, heads: usize, lengths: &[usize]) -> Tensor<2> {
        let c = qkv.dims()[1] / 3;
        let width = c / heads;
        let clips = each_clip(&qkv, lengths, |clip, n| {
            // `[heads, n, width]`.
            let part = |which: usize| {
                let part = clip.clone().slice([0..n, which * c..(which + 1) * c]);
                part.reshape([n, heads, width]).swap_dims(0, 1)
            };
            let scores = part(0).matmul(part(1).transpose()) / (width as f32).sqrt();
            softmax(scores, 2).matmul(part(2)).swap_dims(0, 1).reshape([n, c])
        });
        Tensor::cat(clips, 0)
    }

    pub(super) fn unfold(x: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
        let c = x.dims()[1];
        let clips = each_clip(&x, lengths, |clip, n| {
            let device = clip.device();
            let zeros = |rows: usize| Tensor::zeros([rows, c], &device);
            let n_out = n.div_ceil(2);
            let padded = Tensor::cat(vec![zeros(1), clip, zeros(2)], 0);
            // Rows two by two: the first two of three taps; and the third from one pair on.
            let pairs =
                |from: usize| padded.clone().slice([from..from + 2 * n_out, 0..c]).reshape([n_out, 2 * c]);
            Tensor::cat(vec![pairs(0), pairs(2).slice([0..n_out, 0..c])], 1)
        });
        Tensor::cat(clips, 0)
    }

    pub(super) fn pool(x: Tensor<2>, scores: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
        let weights = each_clip(&scores, lengths, |scores, _| softmax(scores, 0));
        let clips = each_clip(&x, lengths, |x, _| x);
        let pooled = clips.into_iter().zip(weights).map(|(x, weight)| {
            let mean = (x.clone() * weight.clone()).sum_dim(0);
            let var = ((x - mean.clone()).square() * weight).sum_dim(0);
            Tensor::cat(vec![mean, (var + POOLING_EPSILON).sqrt()], 1)
        });
        Tensor::cat(pooled.collect(), 0)
    }

    /// The rows of each clip through `f`.
    fn each_clip(
        x: &Tensor<2>,
        lengths: &[usize],
        f: impl Fn(Tensor<2>, usize) -> Tensor<2>,
    ) -> Vec<Tensor<2>> {
        let c = x.dims()[1];
        let mut first = 0;
        let clips = lengths.iter().map(|&n| {
            let clip = x.clone().slice([first..first + n, 0..c]);
            first += n;
            f(clip, n)
        });
        clips.collect()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::testing::{leaf_of, noise, values};

    fn leaf<const D: usize>(shape: [usize; D], seed: u32) -> Tensor<D> {
        leaf_of(noise(shape.iter().product(), seed), shape)
    }

    /// Runs a layer in both ways, and holds the answers and all gradients against each other.
    fn compare(
        what: &str,
        leaves: &[Tensor<2>],
        fast: impl Fn() -> Tensor<2>,
        composed: impl Fn() -> Tensor<2>,
    ) {
        let run = |f: &dyn Fn() -> Tensor<2>| {
            let out = f();
            let shape = out.dims();
            let direction = TensorData::new(noise(shape[0] * shape[1], 99), shape);
            let gradients = (out.clone() * Tensor::from_data(direction, &out.device())).sum().backward();
            let mut found = vec![values(out)];
            found.extend(leaves.iter().map(|leaf| values(leaf.grad(&gradients).unwrap())));
            found
        };
        for (i, (fast, composed)) in run(&fast).iter().zip(&run(&composed)).enumerate() {
            assert_eq!(fast.len(), composed.len(), "{what}, {i}");
            let scale = composed.iter().fold(1e-3f32, |max, x| max.max(x.abs()));
            let off = fast.iter().zip(composed).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
            assert!(off <= 1e-5 * scale, "{what}, {i} (0: the answer): off by {off} of {scale}");
        }
    }

    #[test]
    fn every_layer_and_its_gradients_are_those_of_the_framework() {
        // Three clips, more rows than a piece has, and counts that do not fill a block.
        let lengths = [70, 1, 34];
        let x = leaf([105, 48], 1);
        let weight = leaf([40, 48], 2);
        let row = |tensor: &Tensor<2>| tensor.clone().flatten::<1>(0, 1);
        let bias = leaf([1, 40], 3);
        compare(
            "linear",
            &[x.clone(), weight.clone()],
            || linear(x.clone(), weight.clone(), ProductPrecision::F32),
            || composed::linear(x.clone(), weight.clone()),
        );
        compare(
            "linear with bias",
            &[x.clone(), weight.clone(), bias.clone()],
            || linear_bias(x.clone(), weight.clone(), row(&bias), ProductPrecision::F32),
            || composed::linear(x.clone(), weight.clone()) + bias.clone(),
        );
        let (gamma, beta) = (leaf([1, 48], 4), leaf([1, 48], 5));
        compare(
            "gelu",
            &[x.clone(), beta.clone()],
            || bias_gelu(x.clone(), row(&beta)),
            || composed::bias_gelu(x.clone(), row(&beta)),
        );
        let gain = || LayerGain { gamma: row(&gamma), beta: row(&beta) };
        compare(
            "layer norm",
            &[x.clone(), gamma.clone(), beta.clone()],
            || layer_norm(x.clone(), gain()),
            || composed::layer_norm(x.clone(), gain()),
        );
        let qkv = leaf([105, 3 * 64], 6);
        compare(
            "attention",
            std::slice::from_ref(&qkv),
            || attention(qkv.clone(), 2, &lengths),
            || composed::attention(qkv.clone(), 2, &lengths),
        );
        compare(
            "unfold",
            std::slice::from_ref(&x),
            || unfold(x.clone(), &lengths),
            || composed::unfold(x.clone(), &lengths),
        );
    }

    #[test]
    fn pooling_and_its_gradients_are_those_of_the_framework() {
        let lengths = [70, 1, 34];
        let (x, scores) = (leaf([105, 48], 1), leaf([105, 1], 2));
        compare(
            "pool",
            &[x.clone(), scores.clone()],
            || pool(x.clone(), scores.clone(), &lengths),
            || composed::pool(x.clone(), scores.clone(), &lengths),
        );
    }

    #[test]
    fn constants_need_no_gradient() {
        let device = Device::flex().autodiff();
        let x = Tensor::<2>::from_data(TensorData::new(noise(6, 1), [2, 3]), &device);
        let weight = leaf([4, 3], 2);
        let gradients = linear(x.clone(), weight.clone(), ProductPrecision::F32).sum().backward();
        assert!(weight.grad(&gradients).is_some() && x.grad(&gradients).is_none());
    }
}
