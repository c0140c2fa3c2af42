//! How the fast layers enter the graph of gradients.

use burn::backend::Autodiff;
use burn::backend::Backend;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::ops::{FastGrad, FastOps};

/// A tensor of the inner backend that is no part of the graph.
fn constant<B: Backend, C: CheckpointStrategy>(tensor: FloatTensor<B>) -> FloatTensor<Autodiff<B, C>> {
    <FloatTensor<Autodiff<B, C>>>::new(tensor)
}

/// Hands gradients to the parents that want one.
macro_rules! register {
    ($grads:ident, $parents:expr, $found:expr) => {
        for (node, grad) in $parents.into_iter().zip($found) {
            if let (Some(node), Some(grad)) = (node, grad) {
                $grads.register::<B>(node.id, grad);
            }
        }
    };
}

/// One operation of the graph: from the tracked tensors and what the way back needs to the answer.
macro_rules! tracked {
    ($grad:ident, [$($node:ident),+], $state:expr, $out:expr) => {
        match $grad.prepare::<C>([$($node.node()),+]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                let state = $state;
                step.finish(state, $out)
            }
            OpsKind::UnTracked(step) => step.finish($out),
        }
    };
}

pub(super) use {register, tracked};

#[derive(Debug)]
struct ConvGrad;

impl<B: FastGrad> Backward<B, 2> for ConvGrad {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (x, weight) = ops.state;
        let (by_x, by_weight) = B::fast_conv_grad(x, weight, grad, ops.parents[0].is_some());
        register!(grads, ops.parents, [Some(by_x), Some(by_weight)]);
    }
}

#[derive(Debug)]
struct NormReluConvGrad;

impl<B: FastGrad> Backward<B, 4> for NormReluConvGrad {
    type State = [FloatTensor<B>; 5];

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let [y, stats, gamma, beta, weight] = ops.state;
        let found = B::fast_norm_relu_conv_grad(y, stats, gamma, beta, weight, grad);
        register!(grads, ops.parents, found.map(Some));
    }
}

#[derive(Debug)]
struct NormReluPoolGrad;

impl<B: FastGrad> Backward<B, 3> for NormReluPoolGrad {
    type State = ([FloatTensor<B>; 4], (f64, u32));

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let ([y, stats, gamma, beta], dropout) = ops.state;
        let found = B::fast_norm_relu_pool_grad(y, stats, gamma, beta, dropout, grad);
        register!(grads, ops.parents, found.map(Some));
    }
}

impl<B: FastGrad, C: CheckpointStrategy> FastOps for Autodiff<B, C> {
    fn fast_conv(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        match ConvGrad.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                let (out, stats) = B::fast_conv(x.primitive().clone(), weight.primitive().clone());
                let state = (x.into_primitive(), weight.into_primitive());
                (step.finish(state, out), constant::<B, C>(stats))
            }
            OpsKind::UnTracked(step) => {
                let (out, stats) = B::fast_conv(x.into_primitive(), weight.into_primitive());
                (step.finish(out), constant::<B, C>(stats))
            }
        }
    }

    fn fast_norm_relu_conv(
        y: FloatTensor<Self>,
        stats: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [y.node(), gamma.node(), beta.node(), weight.node()];
        let inputs = [y, stats, gamma, beta, weight].map(|tensor| tensor.into_primitive());
        let [y, stats, gamma, beta, weight] = inputs.clone();
        match NormReluConvGrad.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                let (out, out_stats) = B::fast_norm_relu_conv(y, stats, gamma, beta, weight);
                (step.finish(inputs, out), constant::<B, C>(out_stats))
            }
            OpsKind::UnTracked(step) => {
                let (out, out_stats) = B::fast_norm_relu_conv(y, stats, gamma, beta, weight);
                (step.finish(out), constant::<B, C>(out_stats))
            }
        }
    }

    fn fast_norm_relu_pool(
        y: FloatTensor<Self>,
        stats: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        dropout_rate: f64,
        seed: u32,
    ) -> FloatTensor<Self> {
        let inputs = [&y, &stats, &gamma, &beta].map(|tensor| tensor.primitive().clone());
        let [py, pstats, pgamma, pbeta] = inputs.clone();
        tracked!(
            NormReluPoolGrad,
            [y, gamma, beta],
            (inputs, (dropout_rate, seed)),
            B::fast_norm_relu_pool(py, pstats, pgamma, pbeta, dropout_rate, seed)
        )
    }
}
