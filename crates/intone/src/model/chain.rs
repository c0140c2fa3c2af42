//! A plain chain of layers over the log-mel picture, described layer by layer in the model file: convolutional
//! classifiers that others trained, whatever the order of their layers.
//!
//! The tensors of layer `i`, counted from 0:
//!
//! | layer | tensors |
//! |---|---|
//! | [`Conv`](ChainLayer::Conv) | `layers.{i}.weight` `[channels, channels before, height, width]`, `layers.{i}.bias` `[channels]` |
//! | [`Affine`](ChainLayer::Affine) | `layers.{i}.scale` and `layers.{i}.shift`, `[channels]` |
//! | [`Dense`](ChainLayer::Dense) | `layers.{i}.weight` `[width, width before]`, `layers.{i}.bias` `[width]` |
//!
//! Batch normalisation is an [`Affine`](ChainLayer::Affine) here, what only training needs (dropout) is left out, and the
//! softmax behind the last layer belongs to the answer.

use serde::{Deserialize, Serialize};

use super::meta::{MAX_LABELS, MAX_WIDTH, same, within};
use super::{ModelError, Weights};
use crate::nn::Affine;
use crate::nn::infer::{Builder, Function, Network, Slide};

/// The largest number of layers: ten times those of the reference network, counted one by one.
pub const MAX_CHAIN: usize = 320;

/// The largest side of a convolution's or a pooling's window, and the largest stride.
pub const MAX_WINDOW: usize = 1_024;

/// The most values between two layers, for one window of the recording, its channels filled up to a multiple of 32: 256
/// MiB, a hundred times those of the reference network.
pub const MAX_VALUES: usize = 1 << 26;

/// The most values that one unit of a convolution sees.
pub const MAX_FIELD: usize = 1 << 18;

/// The layers of a plain chain, and the sizes at its ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// Height of the input: mel bands.
    pub n_mels: usize,
    /// Width of the input: frames.
    pub n_frames: usize,
    /// Number of outputs.
    pub n_classes: usize,
    /// The layers, in the order of computation. The last one is [`Dense`](ChainLayer::Dense) and gives logits.
    pub layers: Vec<ChainLayer>,
}

/// One layer. Pictures are `[height, width, channels]`; sides are given as `[height, width]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ChainLayer {
    /// Each window minus its mean, over its standard deviation + 1e-8; the first layer, where there is one.
    Standardise,
    /// A convolution with a bias.
    Conv {
        /// Output channels.
        channels: usize,
        /// Sides of its kernel.
        kernel: [usize; 2],
        /// Distances between two places of the kernel.
        stride: [usize; 2],
        /// What lies beyond the picture's edges.
        padding: Padding,
    },
    /// `x * scale + shift`, for each channel, or for each value of a row.
    Affine,
    /// A function of each value.
    Activation {
        /// Which.
        function: Activation,
    },
    /// The largest value under a sliding window.
    MaxPool {
        /// Sides of the window.
        size: [usize; 2],
        /// Distances between two places of the window.
        stride: [usize; 2],
        /// Whether windows may reach beyond the picture's edges, where nothing has a say.
        padding: Padding,
    },
    /// The mean of each channel over the picture: a row.
    GlobalMean,
    /// The picture as a row, in the order (mel band, frame, channel).
    Flatten,
    /// A dense layer with a bias, on a row.
    Dense {
        /// Number of outputs.
        width: usize,
    },
}

/// What lies beyond the edges of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// Nothing: windows lie wholly within the picture.
    Valid,
    /// Zeros, as many that there is one output for each stride; half of them in front, and the odd one behind.
    Same,
}

/// A function of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, else `e^x - 1`.
    Elu,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `x / (1 + e^-x)`.
    Silu,
}

impl ChainLayer {
    /// The name, as it stands in the file.
    pub fn kind(&self) -> &'static str {
        match self {
            ChainLayer::Standardise => "standardise",
            ChainLayer::Conv { .. } => "conv",
            ChainLayer::Affine => "affine",
            ChainLayer::Activation { .. } => "activation",
            ChainLayer::MaxPool { .. } => "max-pool",
            ChainLayer::GlobalMean => "global-mean",
            ChainLayer::Flatten => "flatten",
            ChainLayer::Dense { .. } => "dense",
        }
    }
}

/// What lies between two layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// A picture.
    Picture {
        /// Rows: mel bands at first.
        height: usize,
        /// Columns: frames at first.
        width: usize,
        /// Values of each pixel.
        channels: usize,
    },
    /// So many values in a row.
    Row(usize),
}

impl ChainConfig {
    /// What lies behind each layer, for each of [`layers`](ChainConfig::layers).
    ///
    /// # Errors
    /// [`ModelError::Layer`] with the first layer that does not fit what comes before it, or is out of range.
    pub fn sizes(&self) -> Result<Vec<Size>, ModelError> {
        let mut size = Size::Picture { height: self.n_mels, width: self.n_frames, channels: 1 };
        let sizes = self.layers.iter().enumerate().map(|(index, layer)| {
            size = behind(index, layer, size).map_err(|what| {
                let kind = layer.kind();
                ModelError::Layer { index, kind, what }
            })?;
            Ok(size)
        });
        sizes.collect()
    }

    pub(super) fn validate(&self) -> Result<(), ModelError> {
        within("n_mels", self.n_mels, 1, MAX_WIDTH)?;
        within("n_frames", self.n_frames, 1, MAX_WIDTH)?;
        within("n_classes", self.n_classes, 1, MAX_LABELS)?;
        within("number of layers", self.layers.len(), 1, MAX_CHAIN)?;
        let (mut before, mut n_weights) = (1, 0usize);
        for (layer, size) in self.layers.iter().zip(self.sizes()?) {
            if let ChainLayer::Conv { channels, kernel, .. } = layer {
                n_weights += kernel[0] * kernel[1] * filled(before) * filled(*channels);
            }
            if let Size::Picture { channels, .. } = size {
                before = channels;
            }
        }
        within("weights of all convolutions, filled up to blocks of channels", n_weights, 0, MAX_VALUES)?;
        match self.layers.last() {
            Some(ChainLayer::Dense { width }) => same("width of the last layer", self.n_classes, *width),
            other => Err(ModelError::Architecture {
                what: "the last layer",
                expected: "dense".to_owned(),
                actual: other.map_or("none", ChainLayer::kind).to_owned(),
            }),
        }
    }
}

/// What lies behind a layer; an error says what does not fit.
fn behind(index: usize, layer: &ChainLayer, before: Size) -> Result<Size, String> {
    let range = |what: &str, n: usize, max: usize| match n {
        1.. if n <= max => Ok(n),
        _ => Err(format!("{what}: expected 1 to {max}, got {n}")),
    };
    let picture = || match before {
        Size::Picture { height, width, channels } => Ok((height, width, channels)),
        Size::Row(n) => Err(format!("expected a picture before it, got a row of {n} values")),
    };
    let slide = |size: [usize; 2], stride: [usize; 2], padding: Padding| {
        let (height, width, _) = picture()?;
        for side in size {
            range("side of the window", side, MAX_WINDOW)?;
        }
        for distance in stride {
            range("stride", distance, MAX_WINDOW)?;
        }
        if padding == Padding::Valid && (size[0] > height || size[1] > width) {
            return Err(format!(
                "a window of {} x {} does not fit into {height} x {width}",
                size[0], size[1]
            ));
        }
        let [down, across] = slides([height, width], size, stride, padding);
        Ok((down.n_out, across.n_out))
    };
    let size = match layer {
        ChainLayer::Standardise if index == 0 => before,
        ChainLayer::Standardise => return Err("expected it to be the first layer".to_owned()),
        ChainLayer::Affine | ChainLayer::Activation { .. } => before,
        ChainLayer::Conv { channels, kernel, stride, padding } => {
            let (_, _, c_in) = picture()?;
            range("channels", *channels, MAX_WIDTH)?;
            let (height, width) = slide(*kernel, *stride, *padding)?;
            range("values under the kernel", kernel[0] * kernel[1] * filled(c_in), MAX_FIELD)?;
            Size::Picture { height, width, channels: *channels }
        }
        ChainLayer::MaxPool { size, stride, padding } => {
            let (_, _, channels) = picture()?;
            let (height, width) = slide(*size, *stride, *padding)?;
            Size::Picture { height, width, channels }
        }
        ChainLayer::GlobalMean => Size::Row(picture()?.2),
        ChainLayer::Flatten => {
            let (height, width, channels) = picture()?;
            Size::Row(height * width * channels)
        }
        ChainLayer::Dense { width } => match before {
            Size::Row(_) => Size::Row(range("width", *width, MAX_WIDTH)?),
            Size::Picture { height, width, channels } => {
                return Err(format!(
                    "expected a row before it, got a picture of {height} x {width} x {channels}"
                ));
            }
        },
    };
    let n_values = match size {
        Size::Picture { height, width, channels } => height * width * filled(channels),
        Size::Row(n) => n,
    };
    range("values behind it", n_values, MAX_VALUES)?;
    Ok(size)
}

/// Channels as the kernels take them.
pub(super) fn filled(channels: usize) -> usize {
    channels.next_multiple_of(32)
}

/// How a window slides over a picture of these sides.
pub(super) fn slides(
    [height, width]: [usize; 2],
    size: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
) -> [Slide; 2] {
    let same = padding == Padding::Same;
    [Slide::new(height, size[0], stride[0], same), Slide::new(width, size[1], stride[1], same)]
}

/// The network of a model file, ready for answers.
pub(super) fn compile(config: &ChainConfig, mut weights: Weights) -> Result<Network, ModelError> {
    config.validate()?;
    let mut network = Builder::new(config.n_mels, config.n_frames);
    let mut before = Size::Picture { height: config.n_mels, width: config.n_frames, channels: 1 };
    for (index, (layer, behind)) in config.layers.iter().zip(config.sizes()?).enumerate() {
        let name = |part: &str| format!("layers.{index}.{part}");
        match (layer, before) {
            (
                ChainLayer::Conv { channels, kernel, stride, padding },
                Size::Picture { height, width, channels: c_in },
            ) => {
                let weight = weights.take_layer(&name("weight"), &[*channels, c_in, kernel[0], kernel[1]])?;
                network.conv(weight, *channels, slides([height, width], *kernel, *stride, *padding));
                let shift = weights.take(&name("bias"), &[*channels])?;
                network.affine(Affine { scale: vec![1.0; *channels], shift });
            }
            (ChainLayer::MaxPool { size, stride, padding }, Size::Picture { height, width, .. }) => {
                network.max_pool(slides([height, width], *size, *stride, *padding));
            }
            (ChainLayer::Dense { width }, Size::Row(n_in)) => {
                let weight = weights.take_layer(&name("weight"), &[*width, n_in])?;
                network.dense(weight, weights.take(&name("bias"), &[*width])?);
            }
            (ChainLayer::Affine, Size::Picture { channels: n, .. } | Size::Row(n)) => {
                let scale = weights.take(&name("scale"), &[n])?;
                network.affine(Affine { scale, shift: weights.take(&name("shift"), &[n])? });
            }
            (ChainLayer::Activation { function }, _) => network.activation(match function {
                Activation::Relu => Function::Relu,
                Activation::Elu => Function::Elu,
                Activation::Sigmoid => Function::Sigmoid,
                Activation::Tanh => Function::Tanh,
                Activation::Silu => Function::Silu,
            }),
            (ChainLayer::Standardise, _) => network.standardise(),
            (ChainLayer::GlobalMean, _) => network.mean(),
            (ChainLayer::Flatten, _) => network.flatten(),
            (ChainLayer::Conv { .. } | ChainLayer::MaxPool { .. } | ChainLayer::Dense { .. }, _) => {
                unreachable!("`validate` has compared the sizes")
            }
        }
        before = behind;
    }
    weights.finish()?;
    Ok(network.finish().expect("`validate` has seen a dense layer at the end"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Model, Tensor};

    fn conv(channels: usize, kernel: usize, stride: usize, padding: Padding) -> ChainLayer {
        ChainLayer::Conv { channels, kernel: [kernel; 2], stride: [stride; 2], padding }
    }

    fn chain(layers: Vec<ChainLayer>) -> ChainConfig {
        ChainConfig { n_mels: 16, n_frames: 12, n_classes: 3, layers }
    }

    fn small() -> ChainConfig {
        chain(vec![
            ChainLayer::Standardise,
            conv(2, 3, 1, Padding::Same),
            ChainLayer::Affine,
            ChainLayer::Activation { function: Activation::Relu },
            ChainLayer::MaxPool { size: [2, 3], stride: [2, 3], padding: Padding::Valid },
            ChainLayer::Flatten,
            ChainLayer::Dense { width: 3 },
        ])
    }

    fn tensors() -> BTreeMap<String, Tensor> {
        let tensors = [
            ("layers.1.weight", vec![2, 1, 3, 3]),
            ("layers.1.bias", vec![2]),
            ("layers.2.scale", vec![2]),
            ("layers.2.shift", vec![2]),
            ("layers.6.weight", vec![3, 64]),
            ("layers.6.bias", vec![3]),
        ];
        let filled = |(name, shape): (&str, Vec<usize>)| {
            let data = vec![0.5; shape.iter().product()];
            (name.to_owned(), Tensor { shape, data })
        };
        tensors.into_iter().map(filled).collect()
    }

    #[test]
    fn sizes_are_those_behind_each_layer() {
        let picture = |height, width, channels| Size::Picture { height, width, channels };
        let sizes = small().sizes().unwrap();
        assert_eq!(sizes[0], picture(16, 12, 1));
        assert_eq!(sizes[1..4], [picture(16, 12, 2); 3]);
        assert_eq!(sizes[4..], [picture(8, 4, 2), Size::Row(64), Size::Row(3)]);
        let strided =
            chain(vec![conv(1, 5, 2, Padding::Valid), conv(1, 4, 3, Padding::Same)]).sizes().unwrap();
        assert_eq!(strided, [picture(6, 4, 1), picture(2, 2, 1)]);
    }

    #[test]
    fn json_holds_the_layers_as_they_are() {
        let json = serde_json::to_value(small()).unwrap();
        assert_eq!(json["layers"][0], serde_json::json!({"kind": "standardise"}));
        let expected = serde_json::json!({"kind": "conv", "channels": 2, "kernel": [3, 3], "stride": [1, 1], "padding": "same"});
        assert_eq!(json["layers"][1], expected);
        assert_eq!(json["layers"][3], serde_json::json!({"kind": "activation", "function": "relu"}));
        assert_eq!(serde_json::from_value::<ChainConfig>(json.clone()).unwrap(), small());
        let unknown = json.to_string().replace("stride", "dilation");
        assert!(serde_json::from_str::<ChainConfig>(&unknown).is_err());
    }

    #[test]
    fn layers_that_cannot_be_are_refused_with_their_place() {
        let with = |at: usize, layer: ChainLayer| {
            let mut layers = small().layers;
            layers[at] = layer;
            chain(layers)
        };
        let dense = |width| ChainLayer::Dense { width };
        let pool = |size, stride| ChainLayer::MaxPool {
            size: [size; 2],
            stride: [stride; 2],
            padding: Padding::Same,
        };
        for (config, expected) in [
            (with(1, ChainLayer::Standardise), "layer 1 (standardise): expected it to be the first"),
            (with(1, conv(0, 3, 1, Padding::Same)), "layer 1 (conv): channels: expected 1 to 16384, got 0"),
            (with(1, conv(usize::MAX, 3, 1, Padding::Same)), "channels"),
            (with(1, conv(2, 0, 1, Padding::Same)), "side of the window"),
            (with(1, conv(2, usize::MAX, 1, Padding::Same)), "side of the window"),
            (with(1, conv(2, 3, 0, Padding::Same)), "stride"),
            (with(1, conv(2, 13, 1, Padding::Valid)), "a window of 13 x 13 does not fit into 16 x 12"),
            (with(1, conv(2, 1_024, 1, Padding::Same)), "values under the kernel"),
            (with(4, pool(usize::MAX, 1)), "layer 4 (max-pool): side of the window"),
            (with(4, pool(2, usize::MAX)), "layer 4 (max-pool): stride"),
            (
                with(4, ChainLayer::GlobalMean),
                "layer 5 (flatten): expected a picture before it, got a row of 2 values",
            ),
            (
                with(5, ChainLayer::Affine),
                "layer 6 (dense): expected a row before it, got a picture of 8 x 4 x 2",
            ),
            (with(6, dense(0)), "layer 6 (dense): width"),
            (with(6, dense(4)), "width of the last layer: expected 3, got 4"),
            (with(6, ChainLayer::Affine), "the last layer: expected dense, got affine"),
            (chain(Vec::new()), "number of layers"),
            (
                // Nine thousand weights each, which fill up to a thousand times as many.
                chain(
                    [vec![conv(1, 90, 1, Padding::Same); 300], vec![ChainLayer::Flatten, dense(3)]].concat(),
                ),
                "weights of all convolutions",
            ),
            (chain(vec![ChainLayer::Flatten; MAX_CHAIN + 1]), "number of layers"),
            (ChainConfig { n_mels: 0, ..small() }, "n_mels"),
            (ChainConfig { n_frames: usize::MAX, ..small() }, "n_frames"),
            (
                ChainConfig { n_mels: 16_384, n_frames: 16_384, ..small() },
                "layer 0 (standardise): values behind it",
            ),
        ] {
            let error = config.validate().expect_err(expected).to_string();
            assert!(error.contains(expected), "{expected:?} is not in: {error}");
        }
    }

    #[test]
    fn tensors_are_asked_for_by_name_and_shape() {
        let build = |tensors| Model::new(&crate::model::Architecture::Chain(small()), tensors);
        let model = build(tensors()).unwrap();
        assert_eq!(model.n_embedding(), 64);
        assert_eq!(model.logits(&[0.1; 2 * 16 * 12], 2).unwrap().len(), 6);
        assert!(model.logits(&[0.1; 16 * 11], 1).is_err());
        for name in tensors().keys() {
            let mut fewer = tensors();
            fewer.remove(name);
            assert!(build(fewer).unwrap_err().to_string().contains(name));
            let mut other = tensors();
            other.insert(name.clone(), Tensor { shape: vec![1], data: vec![1.0] });
            assert!(build(other).unwrap_err().to_string().contains(name));
        }
        let mut more = tensors();
        more.insert("layers.3.weight".to_owned(), Tensor { shape: vec![1], data: vec![1.0] });
        assert!(build(more).unwrap_err().to_string().contains("layers.3.weight"));
    }
}
