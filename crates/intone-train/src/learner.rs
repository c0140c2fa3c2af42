//! A network, its optimiser, and the step that moves them.

use std::collections::BTreeMap;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use intone::Error as IntoneError;
use intone::model::encoder::{ClipBatch, EncoderNetwork, FrozenClip, FrozenEncoder, ProductPrecision};
use intone::model::vgg::{DropoutRates, Vgg};
use intone::model::{
    Architecture, EncoderConfig, Tensor as Weights, Update, Values, VggConfig, WhisperEncoder,
};

use crate::config::{Config, EncoderModel, ModelConfig};
use crate::error::{Error, Result};
use crate::optimizer::Optimizer;
use crate::phase::Phase;
use crate::random::{Purpose, normal, stream};
use crate::training_set::N_CLASSES;

/// What is trained, and how.
#[derive(Debug)]
pub struct Learner {
    config: Config,
    device: Device,
    network: Network,
    pub(crate) optimizer: Optimizer,
    /// The published encoder, where what is kept is to be extrapolated from it.
    published: BTreeMap<String, Weights>,
}

/// Any of the networks that are trained here.
#[derive(Debug, Clone)]
enum Network {
    Vgg { config: VggConfig, dropout: DropoutRates, network: Box<Vgg> },
    Encoder { config: EncoderConfig, precision: ProductPrecision, dropout: f64, network: Box<EncoderNetwork> },
}

/// What a step looks at.
#[derive(Debug, Clone, Copy)]
pub enum Inputs<'a> {
    /// Windows `[n_mels, n_frames]`.
    Windows(&'a [Vec<f32>]),
    /// What a frozen encoder said of them.
    Frozen(&'a [&'a FrozenClip]),
}

/// What came out of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Mean cross-entropy of the batch, nats. Not finite if the run has diverged; then nothing has moved.
    pub loss: f64,
    /// Clips of the batch whose most probable class is that of the target.
    pub n_right: usize,
}

impl Learner {
    /// A network with random weights, or with published ones where the configuration names them.
    ///
    /// # Errors
    /// Published weights that cannot be read, or are of another size than the network.
    pub fn new(config: &Config, device: &Device) -> Result<Learner> {
        let device = device.clone().autodiff();
        let mut rng = stream(config.seed, Purpose::Weights, 0, 0);
        let mut normal = || normal(&mut rng);
        let mut start = BTreeMap::new();
        let network = match (config.architecture(N_CLASSES), &config.model) {
            (Architecture::Vgg(vgg), ModelConfig::Vgg { .. }) => {
                Network::vgg(config, &vgg, Vgg::init(&vgg, &device, &mut normal))
            }
            (Architecture::Encoder(encoder), ModelConfig::Encoder(model)) => {
                let known = published(model, &encoder)?;
                if is_extrapolated(model) {
                    start.clone_from(&known);
                }
                let network = EncoderNetwork::init(&encoder, known, &device, &mut normal);
                Network::encoder(config, &encoder, network.map_err(IntoneError::from)?)
            }
            (other, _) => return Err(untrained(&other)),
        };
        let (config, optimizer) = (config.clone(), Optimizer::default());
        Ok(Learner { config, device, network, optimizer, published: start })
    }

    /// Goes on with the weights and the optimiser of a checkpoint.
    pub(crate) fn restore(
        config: &Config,
        device: &Device,
        tensors: BTreeMap<String, Weights>,
        optimizer: Optimizer,
    ) -> Result<Learner> {
        let device = device.clone().autodiff();
        let network = match config.architecture(N_CLASSES) {
            Architecture::Vgg(vgg) => {
                Vgg::from_tensors(&vgg, tensors, &device).map(|network| Network::vgg(config, &vgg, network))
            }
            Architecture::Encoder(encoder) => EncoderNetwork::from_tensors(&encoder, tensors, &device)
                .map(|network| Network::encoder(config, &encoder, network)),
            other => return Err(untrained(&other)),
        };
        let network = network.map_err(IntoneError::from)?;
        let published = match (&network, &config.model) {
            (Network::Encoder { config, .. }, ModelConfig::Encoder(model)) if is_extrapolated(model) => {
                published(model, config)?
            }
            _ => BTreeMap::new(),
        };
        Ok(Learner { config: config.clone(), device, network, optimizer, published })
    }

    /// All tensors of the network as it is, as they lie in a model file.
    pub fn tensors(&self) -> BTreeMap<String, Weights> {
        self.network.tensors()
    }

    /// All tensors of what has been learned so far: averaged over the steps and extrapolated where the configuration says so,
    /// with the statistics that inference normalises with taken from these batches of windows.
    pub fn result(&self, batches: impl IntoIterator<Item = Vec<Vec<f32>>>) -> BTreeMap<String, Weights> {
        let mut network = self.network.clone();
        network.replace(self.optimizer.average.clone());
        if let Network::Vgg { config, network, .. } = &mut network {
            let batches = batches.into_iter().map(|windows| pictures(&windows, config, &self.device));
            network.estimate_statistics(batches);
        }
        let mut tensors = network.tensors();
        if let ModelConfig::Encoder(model) = &self.config.model {
            let times = model.extrapolation as f32;
            for (name, start) in &self.published {
                let learned = tensors.get_mut(name).map_or(&mut [][..], |tensor| &mut tensor.data);
                learned.iter_mut().zip(&start.data).for_each(|(x, start)| *x = start + times * (*x - start));
            }
        }
        tensors
    }

    /// Whether [`result`](Learner::result) needs batches.
    pub fn has_statistics(&self) -> bool {
        matches!(self.network, Network::Vgg { .. })
    }

    /// Whether there is an encoder to be [frozen](Learner::freeze).
    pub fn has_encoder(&self) -> bool {
        matches!(self.network, Network::Encoder { .. })
    }

    /// Begins a phase of training with what the last one has learned and an optimiser that remembers nothing.
    pub fn begin_phase(&mut self) {
        let Optimizer { average, .. } = std::mem::take(&mut self.optimizer);
        self.network.replace(average);
    }

    /// The encoder as it is now, for training the head above it alone.
    ///
    /// # Errors
    /// A network that has no encoder.
    pub fn freeze(&self) -> Result<FrozenEncoder> {
        match &self.network {
            Network::Encoder { config, .. } => {
                Ok(FrozenEncoder::new(config, self.tensors()).map_err(IntoneError::from)?)
            }
            Network::Vgg { config, .. } => Err(untrained(&Architecture::Vgg(config.clone()))),
        }
    }

    /// Prepares the head for what the encoder says of the training clips.
    pub fn standardise(&mut self, clips: &[FrozenClip]) {
        if let Network::Encoder { config, network, .. } = &mut self.network {
            network.standardise(config, clips);
        }
    }

    /// One step of AdamW on the cross-entropy with these targets, which are probabilities. `phase` gives the step sizes, as
    /// shares `factor` of those of the configuration; the same `seed` drops the same units.
    pub fn step(
        &mut self,
        inputs: Inputs<'_>,
        targets: &[[f32; N_CLASSES]],
        phase: &Phase,
        factor: f64,
        seed: u64,
    ) -> Step {
        // Within the pool: a step has hundreds of parallel parts, for each of which two threads would have to wake up.
        rayon::scope(|_| {
            let n = targets.len();
            let target = TensorData::new(targets.as_flattened().to_vec(), [n, N_CLASSES]);
            let target = Tensor::<2>::from_data(target, &self.device);
            let log_p = log_softmax(self.network.forward(inputs, seed, &self.device), 1);
            let loss = (log_p.clone() * target).sum() / -(n as f64);
            let value = f64::from(floats(loss.clone())[0]);
            let log_p = floats(log_p);
            let answers = log_p.chunks_exact(N_CLASSES).zip(targets);
            let n_right = answers.filter(|(log_p, target)| top(log_p) == top(*target)).count();
            if value.is_finite() {
                let mut gradients = loss.backward();
                let (config, optimizer) = (&self.config, &mut self.optimizer);
                self.network.update(&mut gradients, &mut |parameters| {
                    optimizer.step(parameters, &config.training, &|name| factor * phase.rate(config, name));
                });
            }
            Step { loss: value, n_right }
        })
    }
}

impl Network {
    fn vgg(config: &Config, vgg: &VggConfig, network: Vgg) -> Network {
        let dropout = match &config.model {
            ModelConfig::Vgg { block_dropout, dense_dropout, .. } => {
                DropoutRates { blocks: block_dropout.clone(), dense: dense_dropout.clone() }
            }
            ModelConfig::Encoder(_) => DropoutRates::default(),
        };
        Network::Vgg { config: vgg.clone(), dropout, network: Box::new(network) }
    }

    fn encoder(config: &Config, encoder: &EncoderConfig, network: EncoderNetwork) -> Network {
        let (dropout, n_frozen, precision) = match &config.model {
            ModelConfig::Encoder(model) => (model.dropout, model.frozen_blocks, model.products),
            ModelConfig::Vgg { .. } => (0.0, 0, ProductPrecision::F32),
        };
        let network = Box::new(network.freeze_lowest(n_frozen));
        if !precision.is_native() {
            log::warn!("no instructions for bfloat16 here: products are computed in single precision");
        }
        Network::Encoder { config: encoder.clone(), precision, dropout, network }
    }

    fn tensors(&self) -> BTreeMap<String, Weights> {
        match self {
            Network::Vgg { config, network, .. } => network.to_tensors(config),
            Network::Encoder { config, network, .. } => network.to_tensors(config),
        }
    }

    fn replace(&mut self, values: Values) {
        match self {
            Network::Vgg { config, network, .. } => network.replace(config, values),
            Network::Encoder { config, network, .. } => network.replace(config, values),
        }
    }

    fn update(&mut self, gradients: &mut Gradients, update: Update<'_>) {
        match self {
            Network::Vgg { config, network, .. } => network.update(gradients, config, update),
            Network::Encoder { config, network, .. } => network.update(gradients, config, update),
        }
    }

    /// One training pass to logits `[n, n_classes]`.
    fn forward(&self, inputs: Inputs<'_>, seed: u64, device: &Device) -> Tensor<2> {
        match (self, inputs) {
            (Network::Vgg { config, dropout, network }, Inputs::Windows(windows)) => {
                network.forward_train(pictures(windows, config, device), dropout, seed)
            }
            (Network::Encoder { config, precision, dropout, network }, Inputs::Windows(windows)) => {
                let batch = ClipBatch::new(windows.iter().map(Vec::as_slice), config.n_mels);
                network.forward(config, &batch, *precision, *dropout, seed)
            }
            (Network::Encoder { config, dropout, network, .. }, Inputs::Frozen(clips)) => {
                network.forward_frozen(config, clips, *dropout, seed)
            }
            (Network::Vgg { .. }, Inputs::Frozen(_)) => unreachable!("only an encoder can be frozen"),
        }
    }
}

/// Whether what is kept lies elsewhere than training came, on the line from the published weights.
fn is_extrapolated(model: &EncoderModel) -> bool {
    model.extrapolation != 1.0
}

/// The part of the published weights that the network has.
fn published(model: &EncoderModel, config: &EncoderConfig) -> Result<BTreeMap<String, Weights>> {
    let Some(path) = &model.init else { return Ok(BTreeMap::new()) };
    let whisper = WhisperEncoder::open(path)?;
    let there = [whisper.n_mels, whisper.width, whisper.n_heads, whisper.hidden];
    let wanted = [config.n_mels, config.width, config.n_heads, config.hidden];
    if there != wanted || whisper.n_blocks < config.n_blocks {
        let size = |[n_mels, width, n_heads, hidden]: [usize; 4], n_blocks: usize| {
            format!("{n_mels} mel bands, width {width}, {n_heads} heads, hidden {hidden}, {n_blocks} blocks")
        };
        return Err(Error::Config {
            key: "model.init".into(),
            expected: size(wanted, config.n_blocks),
            actual: format!("{} has {}", path.display(), size(there, whisper.n_blocks)),
        });
    }
    let block = |name: &str| name.strip_prefix("blocks.")?.split('.').next()?.parse::<usize>().ok();
    let mut tensors = whisper.tensors;
    tensors.retain(|name, _| block(name).is_none_or(|block| block < config.n_blocks));
    Ok(tensors)
}

/// Windows `[n_mels, n_frames]`, all of the network's size, as one tensor.
fn pictures(windows: &[Vec<f32>], config: &VggConfig, device: &Device) -> Tensor<4> {
    let shape = [windows.len(), config.n_mels, config.n_frames, 1];
    Tensor::from_data(TensorData::new(windows.concat(), shape), device)
}

fn untrained(architecture: &Architecture) -> Error {
    let actual = architecture.name().to_owned();
    Error::Config {
        key: "model.name".into(),
        expected: "a network that can be trained so".to_owned(),
        actual,
    }
}

/// The place of the largest value.
fn top(values: &[f32]) -> usize {
    (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap_or(0)
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("networks compute in single precision")
}
