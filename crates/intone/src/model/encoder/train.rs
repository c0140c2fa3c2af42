//! The network as it is trained.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::activation::{softmax, tanh};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use half::f16;
use half::slice::HalfFloatSliceExt;

use super::{Encoder, POOLED_MEAN, POOLED_SCALE, padded_frames, positions, rows_of, taps_first, tensors};
use crate::model::train::{mix_seed, parameter, read_all, replace_all, update_all, values};
use crate::model::{EncoderConfig, ModelError, Tensor as Weights, Update, Values, Weights as FileWeights};
use crate::nn::layers::dropout;
use crate::nn::linear::ProductPrecision;
use crate::nn::rows::{LayerGain, attention, bias_gelu, layer_norm, linear, linear_bias, pool, unfold};

/// The network, for training and as the definition that inference is made from.
#[derive(Module, Debug)]
pub struct EncoderNetwork {
    conv1: Linear,
    conv2: Linear,
    blocks: Vec<Block>,
    mix: Param<Tensor<1>>,
    pooling_hidden: Linear,
    pooling_score: Param<Tensor<2>>,
    pooled_mean: Param<Tensor<1>>,
    pooled_scale: Param<Tensor<1>>,
    dense: Vec<Linear>,
    output: Linear,
}

#[derive(Module, Debug)]
struct Linear {
    /// `[c_out, c_in]`; of a convolution `[c_out, 3 c_in]`, taps first.
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Norm {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Block {
    attention_norm: Norm,
    qkv: Linear,
    attention_out: Linear,
    mlp_norm: Norm,
    up: Linear,
    down: Linear,
}

/// Clips of different lengths, ready for the network.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipBatch {
    /// What the first convolution sees of every frame, `[frames, 3 n_mels]`, clip after clip.
    unfolded: Vec<f32>,
    /// Frames of each clip.
    lengths: Vec<usize>,
}

impl ClipBatch {
    /// From windows `[n_mels, n_frames]`, each with its own number of frames, one at least.
    ///
    /// # Panics
    /// Where a window has no frames, or no whole ones.
    pub fn new<'a>(windows: impl IntoIterator<Item = &'a [f32]>, n_mels: usize) -> ClipBatch {
        let mut batch = ClipBatch { unfolded: Vec::new(), lengths: Vec::new() };
        for window in windows {
            assert!(!window.is_empty() && window.len().is_multiple_of(n_mels), "a window has whole frames");
            let padded = padded_frames(window, n_mels);
            for frame in padded.windows(3 * n_mels).step_by(n_mels) {
                batch.unfolded.extend_from_slice(frame);
            }
            batch.lengths.push(window.len() / n_mels);
        }
        batch
    }

    /// Number of clips.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there are no clips.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }
}

impl EncoderNetwork {
    /// A network with random weights (normal, variance `1 / fan_in`, no biases), drawn from `normal`, which gives one
    /// value of a standard normal distribution at each call; but with those tensors that `known` has.
    ///
    /// # Errors
    /// A known tensor of another shape, or one that does not belong there.
    pub fn init(
        config: &EncoderConfig,
        known: BTreeMap<String, Weights>,
        device: &Device,
        normal: &mut dyn FnMut() -> f32,
    ) -> Result<EncoderNetwork, ModelError> {
        let mut all = known;
        for (name, shape) in tensors(config) {
            let n: usize = shape.iter().product();
            let fan_in: usize = shape[1..].iter().product();
            let data = if name.ends_with(".gamma") || name == POOLED_SCALE {
                vec![1.0; n]
            } else if shape.len() == 1 {
                vec![0.0; n]
            } else {
                let scale = (1.0 / fan_in as f32).sqrt();
                (0..n).map(|_| normal() * scale).collect()
            };
            all.entry(name).or_insert(Weights { shape, data });
        }
        EncoderNetwork::from_tensors(config, all, device)
    }

    /// The network of a model file.
    ///
    /// # Errors
    /// A tensor that is missing, has another shape, or does not belong there.
    pub fn from_tensors(
        config: &EncoderConfig,
        tensors: BTreeMap<String, Weights>,
        device: &Device,
    ) -> Result<EncoderNetwork, ModelError> {
        let EncoderConfig { n_mels, width: c, hidden, n_blocks, pooling, n_classes, .. } = *config;
        let mut weights = FileWeights::new(tensors);
        let linear = |weights: &mut FileWeights, name: &str, c_out: usize, c_in: usize| {
            let weight = weights.take(&format!("{name}.weight"), &[c_out, c_in])?;
            let bias = weights.take(&format!("{name}.bias"), &[c_out])?;
            Ok::<_, ModelError>(Linear {
                weight: parameter(weight, [c_out, c_in], device),
                bias: parameter(bias, [c_out], device),
            })
        };
        let conv = |weights: &mut FileWeights, name: &str, c_in: usize| {
            let weight = weights.take(&format!("{name}.weight"), &[c, c_in, 3])?;
            let bias = weights.take(&format!("{name}.bias"), &[c])?;
            Ok::<_, ModelError>(Linear {
                weight: parameter(taps_first(&weight, c_in), [c, 3 * c_in], device),
                bias: parameter(bias, [c], device),
            })
        };
        let norm = |weights: &mut FileWeights, name: &str| {
            let gamma = weights.take(&format!("{name}.gamma"), &[c])?;
            let beta = weights.take(&format!("{name}.beta"), &[c])?;
            Ok::<_, ModelError>(Norm {
                gamma: parameter(gamma, [c], device),
                beta: parameter(beta, [c], device),
            })
        };
        let (conv1, conv2) = (conv(&mut weights, "conv1", n_mels)?, conv(&mut weights, "conv2", c)?);
        let mut blocks = Vec::with_capacity(n_blocks);
        for block in 0..n_blocks {
            let name = |part: &str| format!("blocks.{block}.{part}");
            blocks.push(Block {
                attention_norm: norm(&mut weights, &name("attention.norm"))?,
                qkv: linear(&mut weights, &name("attention.qkv"), 3 * c, c)?,
                attention_out: linear(&mut weights, &name("attention.out"), c, c)?,
                mlp_norm: norm(&mut weights, &name("mlp.norm"))?,
                up: linear(&mut weights, &name("mlp.up"), hidden, c)?,
                down: linear(&mut weights, &name("mlp.down"), c, hidden)?,
            });
        }
        let mix = parameter(weights.take("mix", &[n_blocks + 1])?, [n_blocks + 1], device);
        let pooling_hidden = linear(&mut weights, "pooling.hidden", pooling, c)?;
        let score = weights.take("pooling.score.weight", &[1, pooling])?;
        let pooling_score = parameter(score, [1, pooling], device);
        let mut n_in = config.n_pooled();
        let statistics = |data| parameter(data, [n_in], device).set_require_grad(false);
        let pooled_mean = statistics(weights.take(POOLED_MEAN, &[n_in])?);
        let pooled_scale = statistics(weights.take(POOLED_SCALE, &[n_in])?);
        let mut dense = Vec::with_capacity(config.dense.len());
        for (i, &n) in config.dense.iter().enumerate() {
            dense.push(linear(&mut weights, &format!("dense.{i}"), n, n_in)?);
            n_in = n;
        }
        let output = linear(&mut weights, "output", n_classes, n_in)?;
        weights.finish()?;
        Ok(EncoderNetwork {
            conv1,
            conv2,
            blocks,
            mix,
            pooling_hidden,
            pooling_score,
            pooled_mean,
            pooled_scale,
            dense,
            output,
        })
    }

    /// Keeps the convolutions and the lowest `n` blocks as they are: they have no gradient from here on, which
    /// saves its computation. With `n` of 0 all moves, the convolutions too.
    pub fn freeze_lowest(mut self, n: usize) -> EncoderNetwork {
        if n > 0 {
            self.conv1 = self.conv1.no_grad();
            self.conv2 = self.conv2.no_grad();
            self.blocks = self
                .blocks
                .into_iter()
                .enumerate()
                .map(|(i, b)| if i < n { b.no_grad() } else { b })
                .collect();
        }
        self
    }

    /// All tensors, as they lie in a model file.
    pub fn to_tensors(&self, config: &EncoderConfig) -> BTreeMap<String, Weights> {
        let shaped = tensors(config).into_iter().zip(read_all(self)).map(|((name, shape), mut data)| {
            if let [_, c_in, 3] = shape[..] {
                data = taps_last(&data, c_in);
            }
            (name, Weights { shape, data })
        });
        shaped.collect()
    }

    /// One pass: clips to logits `[n, n_classes]`. Units of the dense layers are dropped with the probability
    /// `dropout_rate`; the same `seed` drops the same ones. `precision` is that of the products in the convolutions and
    /// blocks, there and back; the head computes in single precision.
    pub fn forward(
        &self,
        config: &EncoderConfig,
        batch: &ClipBatch,
        precision: ProductPrecision,
        dropout_rate: f64,
        seed: u64,
    ) -> Tensor<2> {
        let (layers, lengths) = self.encode(config, batch, precision);
        self.head(config, layers, &lengths, dropout_rate, seed)
    }

    /// As [`forward`](EncoderNetwork::forward), but from what the frozen encoder said of the clips: only the head has
    /// gradients.
    pub fn forward_frozen(
        &self,
        config: &EncoderConfig,
        clips: &[&FrozenClip],
        dropout_rate: f64,
        seed: u64,
    ) -> Tensor<2> {
        let (layers, lengths) = self.thaw(config, clips);
        self.head(config, layers, &lengths, dropout_rate, seed)
    }

    /// Takes the statistics that what is pooled is standardised with from these clips.
    pub fn standardise(&mut self, config: &EncoderConfig, clips: &[FrozenClip]) {
        /// Clips that are pooled together.
        const BATCH: usize = 64;
        let n_pooled = config.n_pooled();
        let mut sums = vec![(0.0f64, 0.0f64); n_pooled];
        // Nothing goes back through these passes: with gradients in mind, all they compute would be kept.
        let network = self.valid();
        for clips in clips.chunks(BATCH) {
            let (layers, lengths) = network.thaw(config, &clips.iter().collect::<Vec<_>>());
            let pooled = values(network.pool(config, layers, &lengths));
            for clip in pooled.chunks_exact(n_pooled) {
                for ((sum, square), x) in sums.iter_mut().zip(clip) {
                    *sum += f64::from(*x);
                    *square += f64::from(*x).powi(2);
                }
            }
        }
        let n = clips.len().max(1) as f64;
        let mean = sums.iter().map(|(sum, _)| (sum / n) as f32).collect();
        let deviation = |(sum, square): &(f64, f64)| (square / n - (sum / n).powi(2)).max(0.0).sqrt();
        // What hardly varies says nothing, and is not to be blown up.
        let scale = sums.iter().map(|sums| (1.0 / deviation(sums).max(1e-4)) as f32).collect();
        let device = self.mix.val().device();
        let statistics = |data| parameter(data, [n_pooled], &device).set_require_grad(false);
        (self.pooled_mean, self.pooled_scale) = (statistics(mean), statistics(scale));
    }

    /// What the frozen encoder said of these clips: every layer's rows, and the rows of each clip.
    fn thaw(&self, config: &EncoderConfig, clips: &[&FrozenClip]) -> (Vec<Tensor<2>>, Vec<usize>) {
        let (c, n_layers, device) = (config.width, config.n_blocks + 1, self.mix.val().device());
        let lengths: Vec<usize> = clips.iter().map(|clip| clip.0.len() / n_layers / c).collect();
        let n_rows: usize = lengths.iter().sum();
        let rows_of_layer = |layer: usize| {
            let mut rows = vec![0.0; n_rows * c];
            let mut out = &mut rows[..];
            for (clip, &n) in clips.iter().zip(&lengths) {
                let (of_clip, rest) = out.split_at_mut(n * c);
                clip.0[layer * n * c..][..n * c].convert_to_f32_slice(of_clip);
                out = rest;
            }
            Tensor::<2>::from_data(TensorData::new(rows, [n_rows, c]), &device)
        };
        ((0..n_layers).map(rows_of_layer).collect(), lengths)
    }

    /// What the head sees: the rows of every layer, layer-normalised without parameters, and the rows of each clip.
    fn encode(
        &self,
        config: &EncoderConfig,
        batch: &ClipBatch,
        precision: ProductPrecision,
    ) -> (Vec<Tensor<2>>, Vec<usize>) {
        let (c, device) = (config.width, self.mix.val().device());
        let n_frames: usize = batch.lengths.iter().sum();
        let shape = [n_frames, 3 * config.n_mels];
        let x = Tensor::<2>::from_data(TensorData::new(batch.unfolded.clone(), shape), &device);
        let x = self.conv1.gelu(x, precision);
        let x = self.conv2.gelu(unfold(x, &batch.lengths), precision);
        let lengths: Vec<usize> = batch.lengths.iter().map(|&n| rows_of(n)).collect();
        let longest = positions(lengths.iter().copied().max().unwrap_or(0), c);
        let places: Vec<f32> = lengths.iter().flat_map(|&n| &longest[..n * c]).copied().collect();
        let n_rows: usize = lengths.iter().sum();
        let mut x = x + Tensor::<2>::from_data(TensorData::new(places, [n_rows, c]), &device);

        let unit = LayerGain { gamma: Tensor::ones([c], &device), beta: Tensor::zeros([c], &device) };
        let mut layers = vec![layer_norm(x.clone(), unit.clone())];
        for block in &self.blocks {
            x = block.forward(x, config.n_heads, &lengths, precision);
            layers.push(layer_norm(x.clone(), unit.clone()));
        }
        (layers, lengths)
    }

    fn head(
        &self,
        config: &EncoderConfig,
        layers: Vec<Tensor<2>>,
        lengths: &[usize],
        dropout_rate: f64,
        seed: u64,
    ) -> Tensor<2> {
        let pooled = self.pool(config, layers, lengths);
        let mut x = (pooled - self.pooled_mean.val().unsqueeze()) * self.pooled_scale.val().unsqueeze();
        for (i, dense) in self.dense.iter().enumerate() {
            x = dropout(x, dropout_rate, mix_seed(seed, i as u64));
            x = dense.gelu(x, ProductPrecision::F32);
        }
        x = dropout(x, dropout_rate, mix_seed(seed, self.dense.len() as u64));
        self.output.apply(x, ProductPrecision::F32)
    }

    /// What is pooled of each clip, `[n, n_pooled]`.
    fn pool(&self, config: &EncoderConfig, layers: Vec<Tensor<2>>, lengths: &[usize]) -> Tensor<2> {
        let single = ProductPrecision::F32;
        let mix = softmax(self.mix.val(), 0);
        let weighted = layers.iter().enumerate().map(|(layer, x)| {
            let weight = mix.clone().slice(layer..layer + 1).reshape([1, 1]);
            x.clone() * weight
        });
        let mixed = weighted.reduce(|sum, x| sum + x).expect("the first block's input is a layer");
        let hidden = tanh(self.pooling_hidden.apply(mixed.clone(), single));
        let scores = linear(hidden, self.pooling_score.val(), single);
        if config.pooled_layers.is_empty() {
            return pool(mixed, scores, lengths);
        }
        let of_layer = |&layer: &usize| pool(layers[layer].clone(), scores.clone(), lengths);
        Tensor::cat(config.pooled_layers.iter().map(of_layer).collect(), 1)
    }

    /// Calls `update` with every parameter that has a gradient, by the name it has in the model file.
    pub fn update(&mut self, gradients: &mut Gradients, config: &EncoderConfig, update: Update<'_>) {
        update_all(self, names(config), gradients, update);
    }

    /// Puts these values in place of those that the parameters of these names have.
    pub fn replace(&mut self, config: &EncoderConfig, values: Values) {
        replace_all(self, names(config), values);
    }
}

fn names(config: &EncoderConfig) -> impl Iterator<Item = String> {
    tensors(config).into_iter().map(|(name, _)| name)
}

/// An encoder that stays as it is, for training the head above it.
#[derive(Debug, Clone)]
pub struct FrozenEncoder(Encoder);

/// What a [`FrozenEncoder`] says of one clip: the layer-normalised output of every layer, `[n_blocks + 1, rows, width]`,
/// in half precision.
#[derive(Debug, Clone, PartialEq)]
pub struct FrozenClip(Vec<f16>);

impl FrozenEncoder {
    /// From all tensors of a network, as they lie in a model file.
    ///
    /// # Errors
    /// A tensor that is missing, has another shape, or does not belong there.
    pub fn new(
        config: &EncoderConfig,
        tensors: BTreeMap<String, Weights>,
    ) -> Result<FrozenEncoder, ModelError> {
        Ok(FrozenEncoder(Encoder::new(config, FileWeights::new(tensors))?))
    }

    /// What it says of a window `[n_mels, n_frames]` of one frame at least.
    pub fn encode(&self, window: &[f32]) -> FrozenClip {
        let mut clip = Vec::new();
        self.0.normalised_layers(window, 1, &mut |_, rows| {
            let first = clip.len();
            clip.resize(first + rows.len(), f16::ZERO);
            clip[first..].convert_from_f32_slice(&rows);
        });
        FrozenClip(clip)
    }
}

impl Linear {
    fn apply(&self, x: Tensor<2>, precision: ProductPrecision) -> Tensor<2> {
        linear_bias(x, self.weight.val(), self.bias.val(), precision)
    }

    fn gelu(&self, x: Tensor<2>, precision: ProductPrecision) -> Tensor<2> {
        bias_gelu(linear(x, self.weight.val(), precision), self.bias.val())
    }
}

impl Norm {
    fn gain(&self) -> LayerGain {
        LayerGain { gamma: self.gamma.val(), beta: self.beta.val() }
    }
}

impl Block {
    fn forward(
        &self,
        x: Tensor<2>,
        n_heads: usize,
        lengths: &[usize],
        precision: ProductPrecision,
    ) -> Tensor<2> {
        let qkv = self.qkv.apply(layer_norm(x.clone(), self.attention_norm.gain()), precision);
        let x = x + self.attention_out.apply(attention(qkv, n_heads, lengths), precision);
        let hidden = self.up.gelu(layer_norm(x.clone(), self.mlp_norm.gain()), precision);
        x + self.down.apply(hidden, precision)
    }
}

/// The way back of [`taps_first`]: `[c_out, 3, c_in]` as `[c_out, c_in, 3]`.
fn taps_last(weight: &[f32], c_in: usize) -> Vec<f32> {
    let filters = weight.chunks_exact(3 * c_in);
    filters.flat_map(|filter| (0..3 * c_in).map(|i| filter[i % 3 * c_in + i / 3])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Parameter;
    use crate::model::{Architecture, Model};
    use crate::testing::uniform;

    fn noise(seed: u32) -> impl FnMut() -> f32 {
        let mut next = uniform(seed);
        move || 2.0 * next() - 1.0
    }

    fn small() -> EncoderConfig {
        EncoderConfig {
            n_mels: 6,
            n_frames: 40,
            width: 32,
            n_heads: 2,
            hidden: 64,
            n_blocks: 2,
            pooling: 5,
            pooled_layers: Vec::new(),
            dense: vec![12],
            n_classes: 3,
        }
    }

    /// The sum of the layers pooled, and some of them one by one.
    fn small_ones() -> [EncoderConfig; 2] {
        [small(), EncoderConfig { pooled_layers: vec![0, 2], ..small() }]
    }

    /// A network with lively biases too.
    fn network(config: &EncoderConfig, device: &Device) -> EncoderNetwork {
        let mut draw = noise(3);
        let known = tensors(config).into_iter().filter(|(_, shape)| shape.len() == 1).map(|(name, shape)| {
            let data = (0..shape[0])
                .map(|_| {
                    0.3 * draw() + if name.ends_with("gamma") || name == POOLED_SCALE { 1.0 } else { 0.0 }
                })
                .collect();
            (name, Weights { shape, data })
        });
        let known = known.collect();
        EncoderNetwork::init(config, known, device, &mut noise(4)).unwrap()
    }

    #[test]
    fn inference_is_the_trained_network() {
        for config in small_ones() {
            let device = Device::flex().autodiff();
            let network = network(&config, &device);
            let mut draw = noise(5);
            let windows: Vec<Vec<f32>> =
                [40, 1, 17, 2].iter().map(|n| (0..config.n_mels * n).map(|_| draw()).collect()).collect();
            let batch = ClipBatch::new(windows.iter().map(Vec::as_slice), config.n_mels);
            assert_eq!((batch.len(), batch.is_empty()), (4, false));
            let logits = network
                .forward(&config, &batch, ProductPrecision::F32, 0.0, 0)
                .into_data()
                .try_into_vec::<f32>()
                .unwrap();
            let model =
                Model::new(&Architecture::Encoder(config.clone()), network.to_tensors(&config)).unwrap();
            for (window, logits) in windows.iter().zip(logits.chunks(3)) {
                let got = model.logits(window, 1).unwrap();
                for (a, b) in got.iter().zip(logits) {
                    assert!((a - b).abs() < 1e-5, "{got:?} {logits:?}");
                }
            }
        }
    }

    #[test]
    fn a_head_on_frozen_layers_is_the_network_without_its_encoders_gradients() {
        for config in small_ones() {
            let device = Device::flex().autodiff();
            let mut network = network(&config, &device);
            let frozen = FrozenEncoder::new(&config, network.to_tensors(&config)).unwrap();
            let mut draw = noise(5);
            let windows: Vec<Vec<f32>> =
                [40, 1, 17].iter().map(|n| (0..config.n_mels * n).map(|_| draw()).collect()).collect();
            let batch = ClipBatch::new(windows.iter().map(Vec::as_slice), config.n_mels);
            let clips: Vec<FrozenClip> = windows.iter().map(|window| frozen.encode(window)).collect();
            let clips: Vec<&FrozenClip> = clips.iter().collect();
            let step = |network: &mut EncoderNetwork, logits: Tensor<2>| {
                let values = logits.clone().into_data().try_into_vec::<f32>().unwrap();
                let mut moved = BTreeMap::new();
                let mut gradients = (logits.clone() * logits).sum().backward();
                network.update(&mut gradients, &config, &mut |parameters| {
                    moved = parameters.iter().map(|p| (p.name.clone(), p.gradient.clone())).collect();
                });
                (values, moved)
            };
            let whole = network.forward(&config, &batch, ProductPrecision::F32, 0.2, 9);
            let (expected, all) = step(&mut network, whole);
            let head = network.forward_frozen(&config, &clips, 0.2, 9);
            let (actual, head) = step(&mut network, head);
            let close =
                |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.01 * b.abs().max(0.3));
            assert!(close(&actual, &expected), "{actual:?} {expected:?}");
            assert_eq!(all.len(), tensors(&config).len() - 2);
            let names: Vec<&str> = head.keys().map(String::as_str).collect();
            let expected = ["dense.0.bias", "dense.0.weight", "mix", "output.bias", "output.weight"];
            let pooling = ["pooling.hidden.bias", "pooling.hidden.weight", "pooling.score.weight"];
            assert_eq!(names, [expected.as_slice(), &pooling].concat());
            for (name, gradient) in &head {
                let scale = all[name].iter().fold(0.1f32, |max, g| max.max(g.abs()));
                assert!(gradient.iter().zip(&all[name]).all(|(a, b)| (a - b).abs() < 0.02 * scale), "{name}");
            }
        }
    }

    #[test]
    fn what_is_pooled_is_standardised() {
        for config in small_ones() {
            let device = Device::flex().autodiff();
            let mut network = network(&config, &device);
            let tensors = |network: &EncoderNetwork| network.to_tensors(&config);
            let frozen = FrozenEncoder::new(&config, tensors(&network)).unwrap();
            let mut draw = noise(5);
            let windows: Vec<Vec<f32>> =
                (0..70).map(|i| (0..config.n_mels * (20 + i % 20)).map(|_| draw()).collect()).collect();
            let clips: Vec<FrozenClip> = windows.iter().map(|window| frozen.encode(window)).collect();
            network.standardise(&config, &clips);
            let encoder = Encoder::new(&config, FileWeights::new(tensors(&network))).unwrap();
            let pooled: Vec<Vec<f32>> = windows.iter().map(|window| encoder.embed(window, 1)).collect();
            for i in 0..config.n_pooled() {
                let mean = pooled.iter().map(|clip| clip[i]).sum::<f32>() / 70.0;
                let var = pooled.iter().map(|clip| (clip[i] - mean).powi(2)).sum::<f32>() / 70.0;
                // Half precision lies between the two.
                assert!(mean.abs() < 0.05 && (var - 1.0).abs() < 0.05, "{i}: mean {mean}, variance {var}");
            }
        }
    }

    #[test]
    fn parameters_can_be_replaced() {
        let config = small();
        let device = Device::flex().autodiff();
        let mut first = network(&config, &device);
        let second = EncoderNetwork::init(&config, BTreeMap::new(), &device, &mut noise(11)).unwrap();
        let all: Values = names(&config).zip(read_all(&second)).collect();
        let some: Values =
            all.iter().filter(|(name, _)| *name != "mix").map(|(n, v)| (n.clone(), v.clone())).collect();
        let mix = first.to_tensors(&config)["mix"].clone();
        first.replace(&config, some);
        let mut expected = second.to_tensors(&config);
        expected.insert("mix".into(), mix);
        assert_eq!(first.to_tensors(&config), expected);
    }

    #[test]
    fn tensors_come_back_as_they_went_in() {
        for config in small_ones() {
            let device = Device::flex().autodiff();
            let tensors = network(&config, &device).to_tensors(&config);
            assert_eq!(
                tensors.values().map(|t| t.data.len()).sum::<usize>(),
                super::super::n_parameters(&config) + 2 * config.n_pooled()
            );
            let again = EncoderNetwork::from_tensors(&config, tensors.clone(), &device).unwrap();
            assert_eq!(again.to_tensors(&config), tensors);
            let mut more = tensors.clone();
            more.insert("extra".into(), Weights { shape: vec![1], data: vec![0.0] });
            assert!(EncoderNetwork::from_tensors(&config, more, &device).is_err());
        }
    }

    #[test]
    fn frozen_blocks_have_no_gradient_and_the_others_the_same_one() {
        let config = small();
        let device = Device::flex().autodiff();
        let mut draw = noise(5);
        let window: Vec<f32> = (0..config.n_mels * 20).map(|_| draw()).collect();
        let batch = ClipBatch::new([&window[..]], config.n_mels);
        let gradients = |n_frozen: usize| {
            let mut network = network(&config, &device).freeze_lowest(n_frozen);
            let mut gradients =
                network.forward(&config, &batch, ProductPrecision::F32, 0.0, 0).square().sum().backward();
            let mut all = BTreeMap::new();
            network.update(&mut gradients, &config, &mut |parameters| {
                all.extend(parameters.iter().map(|p| (p.name.clone(), p.gradient.clone())));
            });
            all
        };
        let mut all = gradients(0);
        assert!(all.contains_key("conv1.weight"));
        all.retain(|name, _| !name.starts_with("conv") && !name.starts_with("blocks.0."));
        assert_eq!(gradients(1), all);
        assert!(all.contains_key("blocks.1.mlp.up.weight"));
    }

    #[test]
    fn training_reduces_the_loss_and_the_same_seed_gives_the_same_network() {
        let run = || {
            let config = small();
            let device = Device::flex().autodiff();
            let mut network = network(&config, &device);
            let mut draw = noise(8);
            let windows: Vec<Vec<f32>> = [30, 12, 9, 25, 40, 7]
                .iter()
                .map(|n| (0..config.n_mels * n).map(|_| draw()).collect())
                .collect();
            let batch = ClipBatch::new(windows.iter().map(Vec::as_slice), config.n_mels);
            let one_hot: Vec<f32> = (0..18).map(|i| if i % 3 == i / 3 % 3 { 1.0 } else { 0.0 }).collect();
            let target = Tensor::<2>::from_data(TensorData::new(one_hot, [6, 3]), &device);
            let mut losses = Vec::new();
            for step in 0..60 {
                let logits = network.forward(&config, &batch, ProductPrecision::F32, 0.1, step);
                let log_p = burn::tensor::activation::log_softmax(logits, 1);
                let loss = -(log_p * target.clone()).sum() / 6.0;
                losses.push(loss.clone().into_data().try_into_vec::<f32>().unwrap()[0]);
                let mut gradients = loss.backward();
                let mut n_updated = 0;
                network.update(&mut gradients, &config, &mut |parameters| {
                    for Parameter { values, gradient, .. } in parameters {
                        n_updated += values.len();
                        values.iter_mut().zip(gradient).for_each(|(v, g)| *v -= 0.05 * *g);
                    }
                });
                assert_eq!(n_updated, super::super::n_parameters(&config));
            }
            (losses, network.to_tensors(&config))
        };
        let (losses, tensors) = run();
        let last = losses[55..].iter().sum::<f32>() / 5.0;
        assert!(last < 0.6 * losses[0], "{losses:?}");
        assert!(run() == (losses, tensors));
    }
}
