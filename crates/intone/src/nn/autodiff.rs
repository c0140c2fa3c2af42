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

#[derive(Debug)]
struct ConvGrad;

impl<B: FastGrad> Backward<B, 2> for ConvGrad {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let (x, weight) = ops.state;
        let (by_x, by_weight) = B::fast_conv_grad(x, weight, grad, x_node.is_some());
        if let Some(node) = x_node {
            grads.register::<B>(node.id, by_x);
        }
        if let Some(node) = weight_node {
            grads.register::<B>(node.id, by_weight);
        }
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
        for (node, grad) in ops.parents.into_iter().zip(found) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
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
        for (node, grad) in ops.parents.into_iter().zip(found) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
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
        let nodes = [y.node(), gamma.node(), beta.node()];
        let inputs = [y, stats, gamma, beta].map(|tensor| tensor.into_primitive());
        let [y, stats, gamma, beta] = inputs.clone();
        let out = B::fast_norm_relu_pool(y, stats, gamma, beta, dropout_rate, seed);
        match NormReluPoolGrad.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish((inputs, (dropout_rate, seed)), out),
            OpsKind::UnTracked(step) => step.finish(out),
        }
    }
}
