//! A network, its optimiser, and the step that moves them.

use std::collections::BTreeMap;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use intone::model::vgg::{DropoutRates, Vgg};
use intone::model::{Architecture, Tensor as Weights, VggConfig};
use rand::Rng;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::optimizer::Adam;
use crate::random::{Purpose, normal, stream};

/// What is trained, and how.
#[derive(Debug)]
pub struct Learner {
    vgg: VggConfig,
    dropout: DropoutRates,
    learning_rate: f64,
    seed: u64,
    device: Device,
    network: Vgg,
    pub(crate) adam: Adam,
}

/// What came out of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Mean cross-entropy of the batch, nats. Not finite if the run has diverged; then nothing has moved.
    pub loss: f64,
    /// Clips of the batch whose class had the highest probability.
    pub n_right: usize,
}

impl Learner {
    /// A network with random weights.
    ///
    /// # Errors
    /// An architecture that is not trained here.
    pub fn new(config: &Config, n_classes: usize, device: &Device) -> Result<Learner> {
        let Architecture::Vgg(vgg) = config.architecture(n_classes) else {
            return Err(Error::Config {
                key: "model.name",
                expected: "vgg".to_owned(),
                actual: config.architecture(n_classes).name().to_owned(),
            });
        };
        let device = device.clone().autodiff();
        let mut rng = stream(config.seed, Purpose::Weights, 0, 0);
        let network = Vgg::init(&vgg, &device, &mut || normal(&mut rng));
        Ok(Learner {
            vgg,
            dropout: config.dropout(),
            learning_rate: config.training.learning_rate,
            seed: config.seed,
            device,
            network,
            adam: Adam::default(),
        })
    }

    /// Puts the weights and moments of a checkpoint in place of the present ones.
    pub(crate) fn restore(&mut self, tensors: BTreeMap<String, Weights>, adam: Adam) -> Result<()> {
        self.network = Vgg::from_tensors(&self.vgg, tensors, &self.device).map_err(intone::Error::from)?;
        self.adam = adam;
        Ok(())
    }

    /// All tensors of the network, as they lie in a model file.
    pub fn tensors(&self) -> BTreeMap<String, Weights> {
        self.network.to_tensors(&self.vgg)
    }

    /// Takes the statistics that inference normalises with from these batches of windows `[n, n_mels, n_frames]`.
    pub fn estimate_statistics(&mut self, batches: impl IntoIterator<Item = Vec<f32>>) {
        let (n_mels, n_frames) = (self.vgg.n_mels, self.vgg.n_frames);
        let tensor = |windows: Vec<f32>| {
            let n = windows.len() / (n_mels * n_frames);
            Tensor::<4>::from_data(TensorData::new(windows, [n, n_mels, n_frames, 1]), &self.device)
        };
        self.network.estimate_statistics(batches.into_iter().map(tensor));
    }

    /// One step of Adam on the cross-entropy of these windows `[n, n_mels, n_frames]` and their classes `[n]`.
    pub fn step(&mut self, windows: Vec<f32>, classes: &[usize]) -> Step {
        let (n, n_classes) = (classes.len(), self.vgg.n_classes);
        let shape = [n, self.vgg.n_mels, self.vgg.n_frames, 1];
        let x = Tensor::<4>::from_data(TensorData::new(windows, shape), &self.device);
        let mut one_hot = vec![0.0f32; n * n_classes];
        classes.iter().enumerate().for_each(|(i, &class)| one_hot[i * n_classes + class] = 1.0);
        let target = Tensor::<2>::from_data(TensorData::new(one_hot, [n, n_classes]), &self.device);

        let seed = stream(self.seed, Purpose::Dropout, self.adam.n_steps, 0).next_u64();
        let log_p = log_softmax(self.network.forward_train(x, &self.dropout, seed), 1);
        let loss = (log_p.clone() * target).sum() / -(n as f64);
        let value = f64::from(floats(loss.clone())[0]);
        let log_p = floats(log_p);
        let is_right = |log_p: &[f32], class: usize| {
            (0..n_classes).all(|other| other == class || log_p[other] < log_p[class])
        };
        let answers = log_p.chunks_exact(n_classes).zip(classes);
        let n_right = answers.filter(|(log_p, class)| is_right(log_p, **class)).count();
        if value.is_finite() {
            let mut gradients = loss.backward();
            self.adam.begin_step();
            self.network.update(&mut gradients, &self.vgg, &mut |name, values, gradient| {
                self.adam.update(name, values, gradient, self.learning_rate);
            });
        }
        Step { loss: value, n_right }
    }
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("networks compute in single precision")
}
