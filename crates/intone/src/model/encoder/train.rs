//! The network as it is trained.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::activation::{softmax, tanh};
use burn::tensor::{Device, Gradients, Tensor, TensorData};

use super::{POOLING_EPSILON, padded_frames, positions, rows_of, taps_first, tensors};
use crate::model::train::{mix_seed, parameter, read_all, update_all};
use crate::model::{EncoderConfig, ModelError, Tensor as Weights, Update, Weights as FileWeights};
use crate::nn::layers::dropout;
use crate::nn::rows::{LayerGain, attention, bias_gelu, layer_norm, linear, linear_bias, unfold};

/// The network, for training and as the definition that inference is made from.
#[derive(Module, Debug)]
pub struct EncoderNetwork {
    conv1: Linear,
    conv2: Linear,
    blocks: Vec<Block>,
    mix: Param<Tensor<1>>,
    pooling_hidden: Linear,
    pooling_score: Param<Tensor<2>>,
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
            let data = if name.ends_with(".gamma") {
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
        let mut n_in = 2 * c;
        let mut dense = Vec::with_capacity(config.dense.len());
        for (i, &n) in config.dense.iter().enumerate() {
            dense.push(linear(&mut weights, &format!("dense.{i}"), n, n_in)?);
            n_in = n;
        }
        let output = linear(&mut weights, "output", n_classes, n_in)?;
        weights.finish()?;
        Ok(EncoderNetwork { conv1, conv2, blocks, mix, pooling_hidden, pooling_score, dense, output })
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
    /// `dropout_rate`; the same `seed` drops the same ones.
    pub fn forward(
        &self,
        config: &EncoderConfig,
        batch: &ClipBatch,
        dropout_rate: f64,
        seed: u64,
    ) -> Tensor<2> {
        let (rows, lengths) = self.encode(config, batch);
        self.head(rows, &lengths, dropout_rate, seed)
    }

    /// What the head sees: the weighted sum of the layers' outputs, and the rows of each clip.
    fn encode(&self, config: &EncoderConfig, batch: &ClipBatch) -> (Tensor<2>, Vec<usize>) {
        let (c, device) = (config.width, self.mix.val().device());
        let n_frames: usize = batch.lengths.iter().sum();
        let shape = [n_frames, 3 * config.n_mels];
        let x = Tensor::<2>::from_data(TensorData::new(batch.unfolded.clone(), shape), &device);
        let x = self.conv1.gelu(x);
        let x = self.conv2.gelu(unfold(x, &batch.lengths));
        let lengths: Vec<usize> = batch.lengths.iter().map(|&n| rows_of(n)).collect();
        let longest = positions(lengths.iter().copied().max().unwrap_or(0), c);
        let places: Vec<f32> = lengths.iter().flat_map(|&n| &longest[..n * c]).copied().collect();
        let n_rows: usize = lengths.iter().sum();
        let mut x = x + Tensor::<2>::from_data(TensorData::new(places, [n_rows, c]), &device);

        let mix = softmax(self.mix.val(), 0);
        let unit = LayerGain { gamma: Tensor::ones([c], &device), beta: Tensor::zeros([c], &device) };
        let share = |layer: usize, x: &Tensor<2>| {
            let weight = mix.clone().slice(layer..layer + 1).reshape([1, 1]);
            layer_norm(x.clone(), unit.clone()) * weight
        };
        let mut mixed = share(0, &x);
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, config.n_heads, &lengths);
            mixed = mixed + share(i + 1, &x);
        }
        (mixed, lengths)
    }

    fn head(&self, rows: Tensor<2>, lengths: &[usize], dropout_rate: f64, seed: u64) -> Tensor<2> {
        let scores = linear(tanh(self.pooling_hidden.apply(rows.clone())), self.pooling_score.val());
        let c = rows.dims()[1];
        let mut first = 0;
        let pooled = lengths.iter().map(|&n| {
            let x = rows.clone().slice([first..first + n, 0..c]);
            let weight = softmax(scores.clone().slice([first..first + n, 0..1]), 0);
            first += n;
            let mean = (x.clone() * weight.clone()).sum_dim(0);
            let square = (x.square() * weight).sum_dim(0);
            let var = (square - mean.clone().square()).clamp_min(0.0);
            Tensor::cat(vec![mean, (var + POOLING_EPSILON).sqrt()], 1)
        });
        let mut x = Tensor::cat(pooled.collect(), 0);
        for (i, dense) in self.dense.iter().enumerate() {
            x = dropout(x, dropout_rate, mix_seed(seed, i as u64));
            x = dense.gelu(x);
        }
        x = dropout(x, dropout_rate, mix_seed(seed, self.dense.len() as u64));
        self.output.apply(x)
    }

    /// Calls `update` with every parameter that has a gradient, by the name it has in the model file. Values of a
    /// convolution come in the order of computation, taps first.
    pub fn update(&mut self, gradients: &mut Gradients, config: &EncoderConfig, update: Update<'_>) {
        let names = tensors(config).into_iter().map(|(name, _)| name);
        update_all(self, names, gradients, update);
    }
}

impl Linear {
    fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        linear_bias(x, self.weight.val(), self.bias.val())
    }

    fn gelu(&self, x: Tensor<2>) -> Tensor<2> {
        bias_gelu(linear(x, self.weight.val()), self.bias.val())
    }
}

impl Norm {
    fn gain(&self) -> LayerGain {
        LayerGain { gamma: self.gamma.val(), beta: self.beta.val() }
    }
}

impl Block {
    fn forward(&self, x: Tensor<2>, n_heads: usize, lengths: &[usize]) -> Tensor<2> {
        let qkv = self.qkv.apply(layer_norm(x.clone(), self.attention_norm.gain()));
        let x = x + self.attention_out.apply(attention(qkv, n_heads, lengths));
        let hidden = self.up.gelu(layer_norm(x.clone(), self.mlp_norm.gain()));
        x + self.down.apply(hidden)
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
            dense: vec![12],
            n_classes: 3,
        }
    }

    /// A network with lively biases too.
    fn network(config: &EncoderConfig, device: &Device) -> EncoderNetwork {
        let mut draw = noise(3);
        let known = tensors(config).into_iter().filter(|(_, shape)| shape.len() == 1).map(|(name, shape)| {
            let data = (0..shape[0])
                .map(|_| 0.3 * draw() + if name.ends_with("gamma") { 1.0 } else { 0.0 })
                .collect();
            (name, Weights { shape, data })
        });
        let known = known.collect();
        EncoderNetwork::init(config, known, device, &mut noise(4)).unwrap()
    }

    #[test]
    fn inference_is_the_trained_network() {
        let config = small();
        let device = Device::flex().autodiff();
        let network = network(&config, &device);
        let mut draw = noise(5);
        let windows: Vec<Vec<f32>> =
            [40, 1, 17, 2].iter().map(|n| (0..config.n_mels * n).map(|_| draw()).collect()).collect();
        let batch = ClipBatch::new(windows.iter().map(Vec::as_slice), config.n_mels);
        assert_eq!((batch.len(), batch.is_empty()), (4, false));
        let logits = network.forward(&config, &batch, 0.0, 0).into_data().try_into_vec::<f32>().unwrap();
        let model = Model::new(&Architecture::Encoder(config.clone()), network.to_tensors(&config)).unwrap();
        for (window, logits) in windows.iter().zip(logits.chunks(3)) {
            let got = model.logits(window, 1).unwrap();
            for (a, b) in got.iter().zip(logits) {
                assert!((a - b).abs() < 1e-5, "{got:?} {logits:?}");
            }
        }
    }

    #[test]
    fn tensors_come_back_as_they_went_in() {
        let config = small();
        let device = Device::flex().autodiff();
        let tensors = network(&config, &device).to_tensors(&config);
        assert_eq!(
            tensors.values().map(|t| t.data.len()).sum::<usize>(),
            super::super::n_parameters(&config)
        );
        let again = EncoderNetwork::from_tensors(&config, tensors.clone(), &device).unwrap();
        assert_eq!(again.to_tensors(&config), tensors);
        let mut more = tensors.clone();
        more.insert("extra".into(), Weights { shape: vec![1], data: vec![0.0] });
        assert!(EncoderNetwork::from_tensors(&config, more, &device).is_err());
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
                let logits = network.forward(&config, &batch, 0.1, step);
                let log_p = burn::tensor::activation::log_softmax(logits, 1);
                let loss = -(log_p * target.clone()).sum() / 6.0;
                losses.push(loss.clone().into_data().try_into_vec::<f32>().unwrap()[0]);
                let mut gradients = loss.backward();
                let mut n_updated = 0;
                network.update(&mut gradients, &config, &mut |_, values, gradient| {
                    n_updated += values.len();
                    values.iter_mut().zip(gradient).for_each(|(v, g)| *v -= 0.05 * g);
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
