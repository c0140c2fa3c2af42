//! The reference network of the field: a VGG-style 2D CNN over the log-mel picture.
//!
//! Blocks of 3 x 3 convolutions, each followed by batch normalisation and ReLU; each block ends in 2 x 2 max pooling
//! and dropout. Then dense layers, each with batch normalisation, ReLU and dropout, and one for the classes.
//! Biases in front of a batch normalisation are left out, because it subtracts them again.
//!
//! Activations are channels-last; the picture is flattened in the order (mel, frame, channel).

use super::{ModelError, VggConfig, Weights};
use crate::nn::Statistics;
use crate::nn::infer::{Builder, Function, Network, Slide};

#[cfg(feature = "train")]
mod train;
#[cfg(feature = "train")]
pub use train::{DropoutRates, Vgg};

/// One layer with weights: its name in the model file and the shape of its weight.
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// The block of a convolution; a dense layer has none.
    pub(super) block: Option<usize>,
    /// Whether batch normalisation follows; the output has a bias instead.
    pub(super) norm: bool,
}

impl Layer {
    /// Whether pooling follows.
    pub(super) fn is_last_of_block(&self, config: &VggConfig) -> bool {
        let last = |block: usize| format!("blocks.{block}.convs.{}", config.convs_per_block[block] - 1);
        self.block.is_some_and(|block| self.name == last(block))
    }
}

/// The batch normalisation behind a layer, of `[c]` channels.
pub(super) struct Normalised {
    pub(super) gamma: Vec<f32>,
    pub(super) beta: Vec<f32>,
    pub(super) statistics: Statistics,
}

impl Normalised {
    pub(super) fn take(weights: &mut Weights, layer: &Layer) -> Result<Normalised, ModelError> {
        let mut part = |part: &str| weights.take(&format!("{}.norm.{part}", layer.name), &layer.shape[..1]);
        let (gamma, beta, mean, var) = (part("gamma")?, part("beta")?, part("mean")?, part("var")?);
        match var.iter().position(|v| *v < 0.0) {
            Some(index) => Err(ModelError::NotFinite { tensor: format!("{}.norm.var", layer.name), index }),
            None => Ok(Normalised { gamma, beta, statistics: Statistics { mean, var } }),
        }
    }
}

/// All layers, in the order of computation.
pub(super) fn layers(config: &VggConfig) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut c_in = 1;
    let (mut height, mut width) = (config.n_mels, config.n_frames);
    for (block, (&c, &n)) in config.channels.iter().zip(&config.convs_per_block).enumerate() {
        for conv in 0..n {
            let name = format!("blocks.{block}.convs.{conv}");
            layers.push(Layer { name, shape: vec![c, c_in, 3, 3], block: Some(block), norm: true });
            c_in = c;
        }
        (height, width) = (height / 2, width / 2);
    }
    let mut n_in = height * width * c_in;
    for (i, &n) in config.dense.iter().enumerate() {
        layers.push(Layer { name: format!("dense.{i}"), shape: vec![n, n_in], block: None, norm: true });
        n_in = n;
    }
    let shape = vec![config.n_classes, n_in];
    layers.push(Layer { name: "output".to_owned(), shape, block: None, norm: false });
    layers
}

/// Number of trainable parameters.
pub fn n_parameters(config: &VggConfig) -> usize {
    let of = |layer: &Layer| {
        layer.shape.iter().product::<usize>() + layer.shape[0] * if layer.norm { 2 } else { 1 }
    };
    layers(config).iter().map(of).sum()
}

/// The network of a model file, ready for answers.
pub(super) fn compile(config: &VggConfig, mut weights: Weights) -> Result<Network, ModelError> {
    let mut network = Builder::new(config.n_mels, config.n_frames);
    let (mut height, mut width) = (config.n_mels, config.n_frames);
    let mut in_pictures = true;
    for layer in layers(config) {
        let weight = weights.take_layer(&format!("{}.weight", layer.name), &layer.shape)?;
        let c = layer.shape[0];
        if layer.block.is_none() && in_pictures {
            network.flatten();
            in_pictures = false;
        }
        if !layer.norm {
            network.dense(weight, weights.take(&format!("{}.bias", layer.name), &[c])?);
            continue;
        }
        let pool = layer.is_last_of_block(config);
        let Normalised { gamma, beta, statistics } = Normalised::take(&mut weights, &layer)?;
        match layer.block {
            Some(_) => network.conv(weight, c, [height, width].map(|n| Slide::new(n, 3, 1, true))),
            None => network.dense(weight, vec![0.0; c]),
        }
        network.affine(statistics.affine(&gamma, &beta));
        network.activation(Function::Relu);
        if pool {
            network.max_pool([height, width].map(|n| Slide::new(n, 2, 2, false)));
            (height, width) = (height / 2, width / 2);
        }
    }
    weights.finish()?;
    Ok(network.finish().expect("the last layer is a dense one"))
}
