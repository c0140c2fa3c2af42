//! Network architectures and the files they live in.

mod calibration;
pub mod chain;
pub mod encoder;
pub mod error;
pub mod file;
pub mod meta;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod rounding;
#[cfg(feature = "train")]
mod train;
pub mod vgg;
pub mod whisper;

pub use calibration::Calibration;
pub use chain::ChainConfig;
pub use error::ModelError;
pub use file::{ModelFile, Precision, Tensor, Weights};
pub use meta::{Architecture, CorpusInfo, EncoderConfig, ModelMeta, Provenance, VggConfig};
pub use rounding::Rounding;
#[cfg(feature = "train")]
pub use train::{Parameter, Update, Values};
pub use whisper::WhisperEncoder;

use std::collections::BTreeMap;

use file::FileView;

use crate::nn::infer::Network;
use crate::parallel::in_pool;
use crate::{Error, Result};

/// A network that is ready to answer, of any architecture.
#[derive(Debug, Clone)]
pub struct Model {
    network: AnyNetwork,
    n_mels: usize,
    n_frames: usize,
}

#[derive(Debug, Clone)]
enum AnyNetwork {
    /// The reference network, or another plain chain of layers.
    Chain(Network),
    Encoder(Box<encoder::Encoder>),
}

impl Model {
    /// Builds the network of a model file's architecture and tensors.
    ///
    /// # Errors
    /// A tensor that is missing, has another shape, or does not belong there.
    pub fn new(architecture: &Architecture, tensors: BTreeMap<String, Tensor>) -> Result<Model> {
        Model::from_weights(architecture, Weights::new(tensors))
    }

    /// Builds the network of a file that lies in memory. Unlike a [`ModelFile`], which has all weights as floats, this leaves
    /// 8-bit integers what they are: see [`Precision::Int8`].
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn from_bytes(bytes: &[u8]) -> Result<(ModelMeta, Model)> {
        // Weights go from the file's form to the network's one by one: all at once they are the peak of memory.
        let (meta, weights) = FileView::new(bytes)?.into_parts();
        let model = Model::from_weights(&meta.architecture, weights)?;
        Ok((meta, model))
    }

    fn from_weights(architecture: &Architecture, weights: Weights<'_>) -> Result<Model> {
        let (n_mels, n_frames, _) = architecture.dimensions();
        let network = match architecture {
            Architecture::Vgg(config) => AnyNetwork::Chain(vgg::compile(config, weights)?),
            Architecture::Chain(config) => AnyNetwork::Chain(chain::compile(config, weights)?),
            Architecture::Encoder(config) => {
                AnyNetwork::Encoder(Box::new(encoder::Encoder::new(config, weights)?))
            }
        };
        Ok(Model { network, n_mels, n_frames })
    }

    /// Logits `[n, n_classes]` of `n` windows `[n, n_mels, n_frames]`. An encoder takes windows with fewer frames than
    /// its configuration says, too, all of the same length.
    ///
    /// # Errors
    /// If there are not `n` whole windows, or none.
    pub fn logits(&self, windows: &[f32], n: usize) -> Result<Vec<f32>> {
        in_pool(|| Ok(self.classify(&self.embed(windows, n)?, n)))
    }

    /// Number of values of an embedding.
    pub fn n_embedding(&self) -> usize {
        match &self.network {
            AnyNetwork::Chain(network) => network.n_embedding(),
            AnyNetwork::Encoder(encoder) => encoder.n_embedding(),
        }
    }

    /// Embeddings `[n, n_embedding]` of the same windows: what the last layers decide by.
    ///
    /// # Errors
    /// As [`Model::logits`].
    pub fn embed(&self, windows: &[f32], n: usize) -> Result<Vec<f32>> {
        let window = windows.len() / n.max(1);
        let n_frames = window / self.n_mels;
        let fits = match self.network {
            AnyNetwork::Chain(_) => n_frames == self.n_frames,
            AnyNetwork::Encoder(_) => (1..=self.n_frames).contains(&n_frames),
        };
        if n == 0 || windows.len() != n * n_frames * self.n_mels || !fits {
            return Err(Error::OutOfRange {
                what: "length of the windows",
                expected: format!("{n} x {} x {}, at least one window", self.n_mels, self.n_frames),
                actual: windows.len().to_string(),
            });
        }
        Ok(in_pool(|| match &self.network {
            AnyNetwork::Chain(network) => network.embed(windows, n),
            AnyNetwork::Encoder(encoder) => encoder.embed(windows, n),
        }))
    }

    /// Logits `[n, n_classes]` of `n` embeddings.
    ///
    /// # Panics
    /// If there are not `n` whole embeddings, or none.
    pub fn classify(&self, embeddings: &[f32], n: usize) -> Vec<f32> {
        assert!(n > 0 && embeddings.len() == n * self.n_embedding(), "{n} whole embeddings");
        in_pool(|| match &self.network {
            AnyNetwork::Chain(network) => network.classify(embeddings, n),
            AnyNetwork::Encoder(encoder) => encoder.classify(embeddings, n),
        })
    }
}
