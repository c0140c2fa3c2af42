//! The network as it is trained.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Gradients, Tensor, TensorData};

use super::layers;
use crate::model::train::{mix_seed, parameter, read_all, replace_all, set, update_all, values};
use crate::model::{ModelError, Tensor as Weights, Update, Values, VggConfig, Weights as FileWeights};
use crate::nn::EPSILON;
use crate::nn::layers::{self as nn, Convolved, Gain};
use crate::nn::linear::ProductPrecision;
use crate::nn::rows::linear;

/// The network, for training and as the definition that inference is made from.
#[derive(Module, Debug)]
pub struct Vgg {
    blocks: Vec<Block>,
    dense: Vec<Dense>,
    output_weight: Param<Tensor<2>>,
    output_bias: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Block {
    convs: Vec<Conv>,
}

#[derive(Module, Debug)]
struct Conv {
    /// `[c_out, c_in, 3, 3]`.
    weight: Param<Tensor<4>>,
    norm: Norm,
}

#[derive(Module, Debug)]
struct Dense {
    /// `[n_out, n_in]`.
    weight: Param<Tensor<2>>,
    norm: Norm,
}

/// Batch normalisation: gain, offset, and the statistics that inference normalises with.
#[derive(Module, Debug)]
struct Norm {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
    mean: Param<Tensor<1>>,
    var: Param<Tensor<1>>,
}

/// Probabilities of dropping a unit, each in `[0, 1)`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DropoutRates {
    /// After the pooling of each block.
    pub blocks: Vec<f64>,
    /// After each hidden dense layer.
    pub dense: Vec<f64>,
}

impl Vgg {
    /// A network with random weights (He et al. 2015: normal with variance `2 / fan_in`), drawn from `normal`,
    /// which gives one value of a standard normal distribution at each call.
    pub fn init(config: &VggConfig, device: &Device, normal: &mut dyn FnMut() -> f32) -> Vgg {
        let mut draw = |n: usize, fan_in: usize, gain: f32| -> Vec<f32> {
            let scale = (gain / fan_in as f32).sqrt();
            (0..n).map(|_| normal() * scale).collect()
        };
        let mut tensors = BTreeMap::new();
        let mut put = |name: String, shape: Vec<usize>, data: Vec<f32>| {
            tensors.insert(name, Weights { shape, data });
        };
        for layer in layers(config) {
            let n = layer.shape.iter().product();
            let fan_in = layer.shape[1..].iter().product();
            let gain = if layer.norm { 2.0 } else { 1.0 };
            put(format!("{}.weight", layer.name), layer.shape.clone(), draw(n, fan_in, gain));
            let c = layer.shape[0];
            if layer.norm {
                for (part, value) in [("gamma", 1.0), ("beta", 0.0), ("mean", 0.0), ("var", 1.0)] {
                    put(format!("{}.norm.{part}", layer.name), vec![c], vec![value; c]);
                }
            } else {
                put(format!("{}.bias", layer.name), vec![c], vec![0.0; c]);
            }
        }
        Vgg::from_tensors(config, tensors, device).expect("these are the tensors of this configuration")
    }

    /// The network of a model file.
    ///
    /// # Errors
    /// A tensor that is missing, has another shape, or does not belong there.
    pub fn from_tensors(
        config: &VggConfig,
        tensors: BTreeMap<String, Weights>,
        device: &Device,
    ) -> Result<Vgg, ModelError> {
        let mut weights = FileWeights::new(tensors);
        let mut blocks = Vec::new();
        let mut dense = Vec::new();
        let mut output = None;
        for layer in layers(config) {
            let values = weights.take(&format!("{}.weight", layer.name), &layer.shape)?;
            let c = layer.shape[0];
            if !layer.norm {
                let bias = weights.take(&format!("{}.bias", layer.name), &[c])?;
                output = Some((parameter(values, [c, layer.shape[1]], device), parameter(bias, [c], device)));
                continue;
            }
            let mut part = |part: &str| weights.take(&format!("{}.norm.{part}", layer.name), &[c]);
            let norm = Norm {
                gamma: parameter(part("gamma")?, [c], device),
                beta: parameter(part("beta")?, [c], device),
                mean: parameter(part("mean")?, [c], device).set_require_grad(false),
                var: parameter(part("var")?, [c], device).set_require_grad(false),
            };
            match layer.block {
                Some(block) => {
                    if blocks.len() <= block {
                        blocks.push(Block { convs: Vec::new() });
                    }
                    let shape = [c, layer.shape[1], 3, 3];
                    blocks[block].convs.push(Conv { weight: parameter(values, shape, device), norm });
                }
                None => dense.push(Dense { weight: parameter(values, [c, layer.shape[1]], device), norm }),
            }
        }
        weights.finish()?;
        let (output_weight, output_bias) = output.expect("the last layer is the output");
        Ok(Vgg { blocks, dense, output_weight, output_bias })
    }

    /// All tensors, as they lie in a model file.
    pub fn to_tensors(&self, config: &VggConfig) -> BTreeMap<String, Weights> {
        let tensors = tensors(config).zip(read_all(self));
        tensors.map(|((name, shape), data)| (name, Weights { shape, data })).collect()
    }

    /// One training pass: `x` `[n, n_mels, n_frames, 1]` -> logits `[n, n_classes]`. Batch normalisation uses the
    /// batch's own statistics. The same `seed` drops the same units.
    ///
    /// # Panics
    /// If there are not as many rates as blocks and hidden dense layers.
    pub fn forward_train(&self, x: Tensor<4>, dropout: &DropoutRates, seed: u64) -> Tensor<2> {
        self.forward(x, dropout, seed, &mut |_, _| ())
    }

    /// Takes the statistics that inference normalises with: the means over these batches `[n, n_mels, n_frames, 1]`,
    /// without dropout.
    ///
    /// A running average over the training steps, as is common, would be of inputs with dropout and augmentation. The
    /// variance behind dropout is nearly twice that without (Li et al. 2019, doi:10.1109/CVPR.2019.00279), and in its first
    /// epochs a network with such statistics gives every clip the same answer. See Wu and Johnson 2021,
    /// arXiv:2105.07576, for this remedy.
    pub fn estimate_statistics(&mut self, batches: impl IntoIterator<Item = Tensor<4>>) {
        let off = DropoutRates { blocks: vec![0.0; self.blocks.len()], dense: vec![0.0; self.dense.len()] };
        // For each layer, the sums over batches of the means and of the unbiased variances, `[2 c]`.
        let mut sums: Vec<Vec<f64>> = Vec::new();
        let mut n_batches = 0;
        // Nothing goes back through these passes: with gradients in mind, all their activations would be kept.
        let network = self.valid();
        for x in batches {
            let mut layer = 0;
            network.forward(x.without_autodiff(), &off, 0, &mut |stats, count| {
                let unbiased = count as f64 / (count as f64 - 1.0).max(1.0);
                let stats = values(stats);
                if sums.len() == layer {
                    sums.push(vec![0.0; stats.len()]);
                }
                let n_channels = stats.len() / 2;
                for (i, (sum, value)) in sums[layer].iter_mut().zip(stats).enumerate() {
                    *sum += f64::from(value) * if i < n_channels { 1.0 } else { unbiased };
                }
                layer += 1;
            });
            n_batches += 1;
        }
        for (norm, sums) in self.norms_mut().zip(sums) {
            let means: Vec<f32> = sums.iter().map(|sum| (sum / f64::from(n_batches)) as f32).collect();
            let (mean, var) = means.split_at(means.len() / 2);
            let device = norm.mean.val().device();
            set(&mut norm.mean, TensorData::new(mean.to_vec(), [mean.len()]), &device, false);
            set(&mut norm.var, TensorData::new(var.to_vec(), [var.len()]), &device, false);
        }
    }

    /// A pass that tells the statistics `[2, c]` of each normalisation, in the order of the layers, and over how many
    /// values they are.
    fn forward(
        &self,
        x: Tensor<4>,
        dropout: &DropoutRates,
        seed: u64,
        observe: &mut dyn FnMut(Tensor<2>, usize),
    ) -> Tensor<2> {
        assert_eq!(dropout.blocks.len(), self.blocks.len());
        assert_eq!(dropout.dense.len(), self.dense.len());
        let mut seeds = (0u64..).map(|layer| mix_seed(seed, layer));
        let mut next_seed = move || seeds.next().unwrap_or_default();
        let mut x = x;
        for (block, &rate) in self.blocks.iter().zip(&dropout.blocks) {
            let mut last: Option<(Convolved, Gain)> = None;
            for conv in &block.convs {
                let weight = conv.weight.val();
                let convolved = match last.take() {
                    None => nn::conv(x.clone(), weight),
                    Some((previous, gain)) => nn::norm_relu_conv(previous, gain, weight),
                };
                let [n, h, w, _] = convolved.y.dims();
                observe(convolved.stats.clone(), n * h * w);
                last = Some((convolved, conv.norm.gain()));
            }
            if let Some((convolved, gain)) = last {
                x = nn::norm_relu_pool(convolved, gain, rate, next_seed());
            }
        }
        let mut x = x.flatten::<2>(1, 3);
        for (dense, &rate) in self.dense.iter().zip(&dropout.dense) {
            x = dense.forward(x, observe);
            x = nn::dropout(x, rate, next_seed());
        }
        let bias = self.output_bias.val().unsqueeze::<2>();
        x.matmul(self.output_weight.val().transpose()) + bias
    }

    fn norms_mut(&mut self) -> impl Iterator<Item = &mut Norm> {
        let convs = self.blocks.iter_mut().flat_map(|block| &mut block.convs);
        convs.map(|conv| &mut conv.norm).chain(self.dense.iter_mut().map(|dense| &mut dense.norm))
    }

    /// Calls `update` with every parameter that has a gradient, by the name it has in the model file.
    pub fn update(&mut self, gradients: &mut Gradients, config: &VggConfig, update: Update<'_>) {
        update_all(self, tensors(config).map(|(name, _)| name), gradients, update);
    }

    /// Puts these values in place of those that the parameters of these names have.
    pub fn replace(&mut self, config: &VggConfig, values: Values) {
        replace_all(self, tensors(config).map(|(name, _)| name), values);
    }
}

/// Name and shape of every tensor, in the order in which the network declares them.
fn tensors(config: &VggConfig) -> impl Iterator<Item = (String, Vec<usize>)> {
    layers(config).into_iter().flat_map(|layer| {
        let behind: &[&str] =
            if layer.norm { &["norm.gamma", "norm.beta", "norm.mean", "norm.var"] } else { &["bias"] };
        let (name, c) = (layer.name.clone(), layer.shape[0]);
        let behind = behind.iter().map(move |part| (format!("{name}.{part}"), vec![c]));
        std::iter::once((format!("{}.weight", layer.name), layer.shape)).chain(behind)
    })
}

impl Norm {
    fn gain(&self) -> Gain {
        Gain { gamma: self.gamma.val(), beta: self.beta.val() }
    }
}

impl Dense {
    /// `x` `[n, n_in]` -> `[n, n_out]`, normalised and rectified.
    fn forward(&self, x: Tensor<2>, observe: &mut dyn FnMut(Tensor<2>, usize)) -> Tensor<2> {
        let y = linear(x, self.weight.val(), ProductPrecision::F32);
        let [n, c] = y.dims();
        let mean = y.clone().mean_dim(0);
        let centred = y - mean.clone();
        let var = centred.clone().square().mean_dim(0);
        observe(Tensor::cat(vec![mean, var.clone()], 0), n);
        let row = |tensor: Tensor<1>| tensor.reshape([1, c]);
        let y = centred / (var + EPSILON).sqrt();
        relu(y * row(self.norm.gamma.val()) + row(self.norm.beta.val()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::FrontEnd;
    use crate::model::{Architecture, Model, ModelFile, ModelMeta, Parameter, Precision};
    use crate::testing::uniform;

    fn noise(seed: u32) -> impl FnMut() -> f32 {
        let mut next = uniform(seed);
        move || (next() - 0.5) * 3.4
    }

    fn small(channels: [usize; 2]) -> VggConfig {
        VggConfig {
            channels: channels.to_vec(),
            convs_per_block: vec![2, 1],
            dense: vec![16],
            n_mels: 12,
            n_frames: 17,
            n_classes: 3,
        }
    }

    #[test]
    fn the_reference_has_the_published_size() {
        // 4,812,006 with the convolutions' and hidden dense layers' redundant biases (704 + 384).
        assert_eq!(super::super::n_parameters(&VggConfig::reference()) + 704 + 384, 4_812_006);
    }

    /// The network in inference mode, from the framework's operations.
    fn textbook(vgg: &Vgg, x: Tensor<4>) -> Tensor<2> {
        use burn::tensor::module::{conv2d, max_pool2d};
        use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
        let affine = |norm: &Norm| {
            let scale = norm.gamma.val() / (norm.var.val() + EPSILON).sqrt();
            (scale.clone(), norm.beta.val() - norm.mean.val() * scale)
        };
        let mut x = x.permute([0, 3, 1, 2]);
        for block in &vgg.blocks {
            for conv in &block.convs {
                let (scale, shift) = affine(&conv.norm);
                let c = scale.dims()[0];
                let y = conv2d(x, conv.weight.val(), None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
                x = relu(y * scale.reshape([1, c, 1, 1]) + shift.reshape([1, c, 1, 1]));
            }
            x = max_pool2d(x, MaxPoolOptions::new([2, 2]));
        }
        let mut x = x.permute([0, 2, 3, 1]).flatten::<2>(1, 3);
        for dense in &vgg.dense {
            let (scale, shift) = affine(&dense.norm);
            x = relu(
                x.matmul(dense.weight.val().transpose()) * scale.unsqueeze::<2>() + shift.unsqueeze::<2>(),
            );
        }
        x.matmul(vgg.output_weight.val().transpose()) + vgg.output_bias.val().unsqueeze::<2>()
    }

    #[test]
    fn inference_is_the_textbook_network_with_the_estimated_statistics() {
        // Whole blocks of channels, counts that are filled up, and enough for an image to be cut by channels.
        for channels in [[32, 64], [5, 40], [32, 192]] {
            let config = small(channels);
            let device = Device::flex().autodiff();
            let mut draw = noise(5);
            let mut vgg = Vgg::init(&config, &device, &mut draw);
            let n = 5;
            let data: Vec<f32> = (0..n * 12 * 17).map(|_| draw()).collect();
            let x = Tensor::<4>::from_data(TensorData::new(data.clone(), [n, 12, 17, 1]), &device);
            let rates = DropoutRates { blocks: vec![0.2, 0.2], dense: vec![0.2] };
            let first = x.clone().slice([0..3, 0..12, 0..17, 0..1]);
            vgg.estimate_statistics([x.clone(), first]);
            // In inference too the network of a batch is its own: nothing of the training pass is left behind.
            vgg.forward_train(x.clone(), &rates, 1);
            let expected = textbook(&vgg, x).into_data().try_into_vec::<f32>().unwrap();
            let front_end = FrontEnd { n_mels: 12, n_frames: 17, ..FrontEnd::reference() };
            let labels = ["a", "b", "c"].map(str::to_owned).to_vec();
            let meta = ModelMeta::new(Architecture::Vgg(config.clone()), front_end, labels);
            let file = ModelFile::new(meta, vgg.to_tensors(&config));
            let file = ModelFile::read(&file.to_bytes(Precision::F32).unwrap()).unwrap();
            let model = Model::new(&file.meta.architecture, file.tensors).unwrap();
            let actual = model.logits(&data, n).unwrap();
            for (a, e) in actual.iter().zip(&expected) {
                assert!((a - e).abs() < 1e-4 * e.abs().max(1.0), "{channels:?}: {a}, textbook {e}");
            }
            let one_by_one: Vec<f32> =
                data.chunks(12 * 17).flat_map(|x| model.logits(x, 1).unwrap()).collect();
            assert_eq!(one_by_one, actual, "a window's answer does not depend on its neighbours");
        }
    }

    #[test]
    fn with_the_statistics_of_one_batch_inference_and_training_agree_on_it() {
        let config = small([32, 64]);
        let device = Device::flex().autodiff();
        let mut draw = noise(3);
        let mut vgg = Vgg::init(&config, &device, &mut draw);
        let n = 6;
        let data: Vec<f32> = (0..n * 12 * 17).map(|_| draw()).collect();
        let x = Tensor::<4>::from_data(TensorData::new(data, [n, 12, 17, 1]), &device);
        let off = DropoutRates { blocks: vec![0.0; 2], dense: vec![0.0] };
        let trained = values(vgg.forward_train(x.clone(), &off, 0));
        vgg.estimate_statistics([x.clone()]);
        // All that is left between them is the factor n / (n - 1) of the unbiased variance, largest in the dense layer.
        for (a, b) in values(textbook(&vgg, x)).iter().zip(&trained) {
            assert!((a - b).abs() < 0.15 * b.abs().max(0.3), "{a} in inference, {b} in training");
        }
    }

    #[test]
    fn training_reduces_the_loss_and_the_same_seed_gives_the_same_network() {
        let run = || {
            let config = small([32, 32]);
            let device = Device::flex().autodiff();
            let mut draw = noise(7);
            let mut vgg = Vgg::init(&config, &device, &mut draw);
            let data: Vec<f32> = (0..6 * 12 * 17).map(|_| draw()).collect();
            let x = Tensor::<4>::from_data(TensorData::new(data, [6, 12, 17, 1]), &device);
            let target: Tensor<2> = Tensor::from_data(
                TensorData::new(
                    (0..18).map(|i| if i % 3 == i / 3 % 3 { 1.0f32 } else { 0.0 }).collect::<Vec<_>>(),
                    [6, 3],
                ),
                &device,
            );
            let rates = DropoutRates { blocks: vec![0.1, 0.1], dense: vec![0.1] };
            let mut losses = Vec::new();
            for step in 0..20 {
                let logits = vgg.forward_train(x.clone(), &rates, step);
                let log_p = burn::tensor::activation::log_softmax(logits, 1);
                let loss = -(log_p * target.clone()).sum() / 6.0;
                losses.push(loss.clone().into_data().try_into_vec::<f32>().unwrap()[0]);
                let mut gradients = loss.backward();
                let mut n_updated = 0;
                vgg.update(&mut gradients, &config, &mut |parameters| {
                    for Parameter { values, gradient, .. } in parameters {
                        n_updated += values.len();
                        values.iter_mut().zip(gradient).for_each(|(v, g)| *v -= 0.05 * *g);
                    }
                });
                assert_eq!(n_updated, super::super::n_parameters(&config));
            }
            (losses, vgg.to_tensors(&config))
        };
        let (losses, tensors) = run();
        assert!(losses[19] < 0.5 * losses[0], "{losses:?}");
        assert!(run() == (losses, tensors));
    }
}
