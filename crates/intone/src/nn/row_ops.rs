//! The layers of a Transformer as operations of the framework, with their own way back.
//!
//! Rows of all clips of a batch lie one behind the other, `[rows, c]`; `lengths` says how many belong to each clip. Nothing
//! is filled up, so nothing has to be masked.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};

use super::attention::{self, Heads};
use super::autodiff::{register, tracked};
use super::linear::{self, ProductPrecision};
use super::ops::{FlexFloat, shape_of, slices, tensor};
use super::pooling;
use super::simd::buffer;

/// Layers on rows.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait RowOps: Backend {
    /// `x W^T`: `x` `[n, c_in]`, `weight` `[c_out, c_in]` -> `[n, c_out]`.
    fn row_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        precision: ProductPrecision,
    ) -> FloatTensor<Self>;

    /// `x W^T + bias`, `bias` `[c_out]`.
    fn row_linear_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: ProductPrecision,
    ) -> FloatTensor<Self>;

    /// `gelu(x + bias)`, `bias` `[c]`.
    fn row_bias_gelu(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Layer normalisation; `gamma` and `beta` `[c]`.
    fn row_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Self-attention of each clip: `qkv` `[rows, 3 c]` -> `[rows, c]`.
    fn row_attention(qkv: FloatTensor<Self>, heads: usize, lengths: Vec<usize>) -> FloatTensor<Self>;

    /// What a convolution over three rows in steps of two sees, zeros around each clip: `[rows, c]` ->
    /// `[rows / 2 rounded up for each clip, 3 c]`.
    fn row_unfold(x: FloatTensor<Self>, lengths: Vec<usize>) -> FloatTensor<Self>;

    /// Attentive statistics of each clip: `x` `[rows, c]`, `scores` `[rows, 1]` -> `[n, 2 c]`.
    fn row_pool(x: FloatTensor<Self>, scores: FloatTensor<Self>, lengths: Vec<usize>) -> FloatTensor<Self>;
}

/// The ways back.
pub(super) trait RowGrad: RowOps {
    /// -> by `x`, by `weight`.
    fn row_linear_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        precision: ProductPrecision,
        wanted: [bool; 2],
    ) -> [Option<FloatTensor<Self>>; 2];

    /// The sum over rows.
    fn row_sum(grad: FloatTensor<Self>) -> FloatTensor<Self>;

    /// -> by `x`, by `bias`.
    fn row_bias_gelu_grad(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2];

    /// -> by `x`, `gamma`, `beta`.
    fn row_layer_norm_grad(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 3];

    /// -> by `qkv`.
    fn row_attention_grad(
        qkv: FloatTensor<Self>,
        heads: usize,
        lengths: &[usize],
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// -> by `x`.
    fn row_unfold_grad(lengths: &[usize], grad: FloatTensor<Self>) -> FloatTensor<Self>;

    /// -> by `x`, by `scores`.
    fn row_pool_grad(
        x: FloatTensor<Self>,
        scores: FloatTensor<Self>,
        lengths: &[usize],
        grad: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2];
}

impl RowOps for Flex {
    fn row_linear(x: FlexFloat, weight: FlexFloat, precision: ProductPrecision) -> FlexFloat {
        let (n, c_out) = (shape_of(&x)[0], shape_of(&weight)[0]);
        slices!(x, weight);
        tensor(linear::forward(x, weight, n, precision), &[n, c_out])
    }

    fn row_linear_bias(
        x: FlexFloat,
        weight: FlexFloat,
        bias: FlexFloat,
        precision: ProductPrecision,
    ) -> FlexFloat {
        let (n, c_out) = (shape_of(&x)[0], shape_of(&weight)[0]);
        slices!(x, weight, bias);
        let mut out = linear::forward(x, weight, n, precision);
        linear::add_to_rows(&mut out, bias);
        tensor(out, &[n, c_out])
    }

    fn row_bias_gelu(x: FlexFloat, bias: FlexFloat) -> FlexFloat {
        let shape = shape_of(&x);
        slices!(x, bias);
        let mut out = buffer::take(x.len());
        linear::bias_gelu(x, bias, &mut out);
        tensor(out, &shape)
    }

    fn row_layer_norm(x: FlexFloat, gamma: FlexFloat, beta: FlexFloat) -> FlexFloat {
        let shape = shape_of(&x);
        slices!(x, gamma, beta);
        let mut out = buffer::take(x.len());
        linear::layer_norm(x, gamma, beta, &mut out);
        tensor(out, &shape)
    }

    fn row_attention(qkv: FlexFloat, heads: usize, lengths: Vec<usize>) -> FlexFloat {
        let shape = shape_of(&qkv);
        let c = shape[1] / 3;
        slices!(qkv);
        let mut out = buffer::take(qkv.len() / 3);
        attention::forward(Heads { n: heads, c }, &lengths, qkv, &mut out);
        tensor(out, &[shape[0], c])
    }

    fn row_unfold(x: FlexFloat, lengths: Vec<usize>) -> FlexFloat {
        let c = shape_of(&x)[1];
        slices!(x);
        let out = linear::unfold(x, c, &lengths);
        let n = out.len() / (3 * c);
        tensor(out, &[n, 3 * c])
    }

    fn row_pool(x: FlexFloat, scores: FlexFloat, lengths: Vec<usize>) -> FlexFloat {
        let c = shape_of(&x)[1];
        slices!(x, scores);
        tensor(pooling::forward(x, scores, c, &lengths), &[lengths.len(), 2 * c])
    }
}

impl RowGrad for Flex {
    fn row_linear_grad(
        x: FlexFloat,
        weight: FlexFloat,
        grad: FlexFloat,
        precision: ProductPrecision,
        wanted: [bool; 2],
    ) -> [Option<FlexFloat>; 2] {
        let (x_shape, weight_shape) = (shape_of(&x), shape_of(&weight));
        slices!(x, weight, grad);
        let by_x =
            wanted[0].then(|| tensor(linear::grad_by_input(grad, weight, x_shape[1], precision), &x_shape));
        let by_weight =
            wanted[1].then(|| tensor(linear::grad_by_weight(grad, x, x_shape[0], precision), &weight_shape));
        [by_x, by_weight]
    }

    fn row_sum(grad: FlexFloat) -> FlexFloat {
        let c = shape_of(&grad)[1];
        slices!(grad);
        tensor(linear::sum_of_rows(grad, c), &[c])
    }

    fn row_bias_gelu_grad(x: FlexFloat, bias: FlexFloat, grad: FlexFloat) -> [FlexFloat; 2] {
        let shape = shape_of(&x);
        slices!(x, bias, grad);
        let mut by_x = buffer::take(x.len());
        by_x.copy_from_slice(grad);
        let by_bias = linear::bias_gelu_grad(x, bias, &mut by_x);
        [tensor(by_x, &shape), tensor(by_bias, &shape[1..])]
    }

    fn row_layer_norm_grad(x: FlexFloat, gamma: FlexFloat, grad: FlexFloat) -> [FlexFloat; 3] {
        let shape = shape_of(&x);
        slices!(x, gamma, grad);
        let mut by_x = buffer::take(x.len());
        by_x.copy_from_slice(grad);
        let (by_gamma, by_beta) = linear::layer_norm_grad(x, gamma, &mut by_x);
        [tensor(by_x, &shape), tensor(by_gamma, &shape[1..]), tensor(by_beta, &shape[1..])]
    }

    fn row_attention_grad(qkv: FlexFloat, heads: usize, lengths: &[usize], grad: FlexFloat) -> FlexFloat {
        let shape = shape_of(&qkv);
        slices!(qkv, grad);
        let mut by_qkv = buffer::take(qkv.len());
        attention::backward(Heads { n: heads, c: shape[1] / 3 }, lengths, qkv, grad, &mut by_qkv);
        tensor(by_qkv, &shape)
    }

    fn row_unfold_grad(lengths: &[usize], grad: FlexFloat) -> FlexFloat {
        let c = shape_of(&grad)[1] / 3;
        slices!(grad);
        let by_x = linear::fold(grad, c, lengths);
        let n = by_x.len() / c;
        tensor(by_x, &[n, c])
    }

    fn row_pool_grad(x: FlexFloat, scores: FlexFloat, lengths: &[usize], grad: FlexFloat) -> [FlexFloat; 2] {
        let (x_shape, scores_shape) = (shape_of(&x), shape_of(&scores));
        slices!(x, scores, grad);
        let (by_x, by_scores) = pooling::backward(x, scores, x_shape[1], lengths, grad);
        [tensor(by_x, &x_shape), tensor(by_scores, &scores_shape)]
    }
}

#[derive(Debug)]
struct LinearGrad;

impl<B: RowGrad> Backward<B, 2> for LinearGrad {
    type State = ([FloatTensor<B>; 2], ProductPrecision);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let ([x, weight], precision) = ops.state;
        let wanted = ops.parents.each_ref().map(Option::is_some);
        register!(grads, ops.parents, B::row_linear_grad(x, weight, grad, precision, wanted));
    }
}

#[derive(Debug)]
struct LinearBiasGrad;

impl<B: RowGrad> Backward<B, 3> for LinearBiasGrad {
    type State = ([FloatTensor<B>; 2], ProductPrecision);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let ([x, weight], precision) = ops.state;
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let by_bias = wanted[2].then(|| B::row_sum(grad.clone()));
        let [by_x, by_weight] = B::row_linear_grad(x, weight, grad, precision, [wanted[0], wanted[1]]);
        register!(grads, ops.parents, [by_x, by_weight, by_bias]);
    }
}

#[derive(Debug)]
struct BiasGeluGrad;

impl<B: RowGrad> Backward<B, 2> for BiasGeluGrad {
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let [x, bias] = ops.state;
        register!(grads, ops.parents, B::row_bias_gelu_grad(x, bias, grad).map(Some));
    }
}

#[derive(Debug)]
struct LayerNormGrad;

impl<B: RowGrad> Backward<B, 3> for LayerNormGrad {
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let [x, gamma] = ops.state;
        register!(grads, ops.parents, B::row_layer_norm_grad(x, gamma, grad).map(Some));
    }
}

#[derive(Debug)]
struct AttentionGrad;

impl<B: RowGrad> Backward<B, 1> for AttentionGrad {
    type State = (FloatTensor<B>, usize, Vec<usize>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (qkv, heads, lengths) = ops.state;
        register!(grads, ops.parents, [Some(B::row_attention_grad(qkv, heads, &lengths, grad))]);
    }
}

#[derive(Debug)]
struct UnfoldGrad;

impl<B: RowGrad> Backward<B, 1> for UnfoldGrad {
    type State = Vec<usize>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        register!(grads, ops.parents, [Some(B::row_unfold_grad(&ops.state, grad))]);
    }
}

#[derive(Debug)]
struct PoolGrad;

impl<B: RowGrad> Backward<B, 2> for PoolGrad {
    type State = ([FloatTensor<B>; 2], Vec<usize>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let ([x, scores], lengths) = ops.state;
        register!(grads, ops.parents, B::row_pool_grad(x, scores, &lengths, grad).map(Some));
    }
}

impl<B: RowGrad, C: CheckpointStrategy> RowOps for Autodiff<B, C> {
    fn row_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        precision: ProductPrecision,
    ) -> FloatTensor<Self> {
        let (px, pw) = (x.primitive().clone(), weight.primitive().clone());
        let state = ([px.clone(), pw.clone()], precision);
        tracked!(LinearGrad, [x, weight], state, B::row_linear(px, pw, precision))
    }

    fn row_linear_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: ProductPrecision,
    ) -> FloatTensor<Self> {
        let (px, pw, pb) = (x.primitive().clone(), weight.primitive().clone(), bias.primitive().clone());
        let state = ([px.clone(), pw.clone()], precision);
        tracked!(LinearBiasGrad, [x, weight, bias], state, B::row_linear_bias(px, pw, pb, precision))
    }

    fn row_bias_gelu(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let (px, pb) = (x.primitive().clone(), bias.primitive().clone());
        tracked!(BiasGeluGrad, [x, bias], [px.clone(), pb.clone()], B::row_bias_gelu(px, pb))
    }

    fn row_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (px, pg, pb) = (x.primitive().clone(), gamma.primitive().clone(), beta.primitive().clone());
        tracked!(LayerNormGrad, [x, gamma, beta], [px.clone(), pg.clone()], B::row_layer_norm(px, pg, pb))
    }

    fn row_attention(qkv: FloatTensor<Self>, heads: usize, lengths: Vec<usize>) -> FloatTensor<Self> {
        let p = qkv.primitive().clone();
        tracked!(
            AttentionGrad,
            [qkv],
            (p.clone(), heads, lengths.clone()),
            B::row_attention(p, heads, lengths)
        )
    }

    fn row_unfold(x: FloatTensor<Self>, lengths: Vec<usize>) -> FloatTensor<Self> {
        let p = x.primitive().clone();
        tracked!(UnfoldGrad, [x], lengths.clone(), B::row_unfold(p, lengths))
    }

    fn row_pool(x: FloatTensor<Self>, scores: FloatTensor<Self>, lengths: Vec<usize>) -> FloatTensor<Self> {
        let (px, ps) = (x.primitive().clone(), scores.primitive().clone());
        tracked!(
            PoolGrad,
            [x, scores],
            ([px.clone(), ps.clone()], lengths.clone()),
            B::row_pool(px, ps, lengths)
        )
    }
}
