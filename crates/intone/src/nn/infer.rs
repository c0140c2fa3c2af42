//! A trained network of these layers, made ready for answers: no gradients, packed weights, known statistics.

use rayon::prelude::*;

use super::conv::{self, ConvShape};
use super::norm::{self, Statistics};
use super::simd::{Affine, BLOCK, Dropout, buffer, kernels};

/// A convolution and the normalisation behind it.
#[derive(Debug, Clone)]
pub(crate) struct ConvLayer {
    shape: ConvShape,
    packed: Vec<f32>,
    affine: Affine,
    /// Whether the block ends here, in ReLU and 2 x 2 max pooling.
    pool: bool,
}

/// What a [`ConvLayer`] is made of.
#[derive(Debug)]
pub(crate) struct ConvWeights<'a> {
    /// `[c_out, c_in, 3, 3]`.
    pub(crate) weight: &'a [f32],
    /// `[c_out]`.
    pub(crate) gamma: &'a [f32],
    /// `[c_out]`.
    pub(crate) beta: &'a [f32],
    /// Of `[c_out]` channels.
    pub(crate) statistics: Statistics,
}

impl ConvLayer {
    /// For images of `height` x `width`. Channels are filled up to whole blocks with zeros.
    pub(crate) fn new(
        height: usize,
        width: usize,
        c_in: usize,
        weights: &ConvWeights<'_>,
        pool: bool,
    ) -> ConvLayer {
        let c_out = weights.gamma.len();
        let fill = |c: usize| if c == 1 { 1 } else { c.next_multiple_of(BLOCK) };
        let shape = ConvShape { height, width, c_in: fill(c_in), c_out: c_out.next_multiple_of(BLOCK) };
        let mut weight = vec![0.0; c_out * shape.c_in * 9];
        for (wide, narrow) in
            weight.chunks_exact_mut(shape.c_in * 9).zip(weights.weight.chunks_exact(c_in * 9))
        {
            wide[..c_in * 9].copy_from_slice(narrow);
        }
        let mut affine = weights.statistics.affine(weights.gamma, weights.beta);
        affine.scale.resize(shape.c_out, 0.0);
        affine.shift.resize(shape.c_out, 0.0);
        ConvLayer { shape, packed: conv::pack_weights(&weight, shape.c_in, c_out), affine, pool }
    }

    /// Channels of the output, with those that fill up the last block.
    pub(crate) fn c_out(&self) -> usize {
        self.shape.c_out
    }
}

/// A dense layer, its normalisation folded in.
#[derive(Debug, Clone)]
pub(crate) struct DenseLayer {
    /// `[n_out, n_in]`.
    pub(crate) weight: Vec<f32>,
    /// `[n_out]`.
    pub(crate) bias: Vec<f32>,
    pub(crate) relu: bool,
}

/// A whole network: convolutions, and dense layers, one at least.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) convs: Vec<ConvLayer>,
    pub(crate) dense: Vec<DenseLayer>,
}

impl Network {
    /// Values that the last layer sees.
    pub(crate) fn n_embedding(&self) -> usize {
        let last = self.output();
        last.weight.len() / last.bias.len()
    }

    fn output(&self) -> &DenseLayer {
        self.dense.last().expect("the last layer is a dense one")
    }

    /// What the last layer sees, `[n, n_embedding]`, to `[n, n_out]`.
    pub(crate) fn classify(&self, embeddings: &[f32], n: usize) -> Vec<f32> {
        self.output().forward(embeddings, n)
    }

    /// `x` `[n, height, width]` to what the last layer sees, `[n, n_embedding]`.
    pub(crate) fn embed(&self, x: &[f32], n: usize) -> Vec<f32> {
        let mut x = x.to_vec();
        // The normalisation and ReLU of a layer are applied when the next one reads it.
        let mut pending: Option<&Affine> = None;
        for layer in &self.convs {
            let ConvShape { height, width, c_out, .. } = layer.shape;
            let mut out = buffer::take(n * height * width * c_out);
            conv::infer(layer.shape, &x, pending, &layer.packed, &mut out);
            buffer::put(std::mem::replace(&mut x, out));
            pending = Some(&layer.affine);
            if layer.pool {
                let mut pooled = buffer::take(n * (height / 2) * (width / 2) * c_out);
                norm::pool(&x, height, width, &layer.affine, Dropout::OFF, &mut pooled);
                buffer::put(std::mem::replace(&mut x, pooled));
                pending = None;
            }
        }
        for layer in &self.dense[..self.dense.len() - 1] {
            let out = layer.forward(&x, n);
            buffer::put(std::mem::replace(&mut x, out));
        }
        x
    }
}

impl DenseLayer {
    /// A layer with batch normalisation and ReLU behind it; `weight` `[n_out, n_in]`, `gamma` and `beta` `[n_out]`.
    pub(crate) fn normalised(
        mut weight: Vec<f32>,
        statistics: &Statistics,
        gamma: &[f32],
        beta: &[f32],
    ) -> DenseLayer {
        let Affine { scale, shift } = statistics.affine(gamma, beta);
        let n_in = weight.len() / scale.len();
        for (row, scale) in weight.chunks_exact_mut(n_in).zip(&scale) {
            row.iter_mut().for_each(|w| *w *= scale);
        }
        DenseLayer { weight, bias: shift, relu: true }
    }

    fn forward(&self, x: &[f32], n: usize) -> Vec<f32> {
        let (n_out, n_in) = (self.bias.len(), x.len() / n);
        let mut out = vec![0.0; n * n_out];
        // One row of weights serves all samples while it is in the cache.
        let columns: Vec<Vec<f32>> = self
            .weight
            .par_chunks_exact(n_in)
            .with_min_len(16)
            .map(|row| x.chunks_exact(n_in).map(|x| kernels().dot(row, x)).collect())
            .collect();
        for (o, column) in columns.iter().enumerate() {
            for (i, value) in column.iter().enumerate() {
                let value = value + self.bias[o];
                out[i * n_out + o] = if self.relu { value.max(0.0) } else { value };
            }
        }
        out
    }
}
