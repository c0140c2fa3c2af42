//! Network architectures and the files they live in.

pub mod error;
pub mod file;
pub mod meta;
pub mod vgg;

pub use error::ModelError;
pub use file::{ModelFile, Precision, Tensor, Weights};
pub use meta::{Architecture, CorpusInfo, ModelMeta, Provenance, VggConfig};

use std::collections::BTreeMap;

use crate::nn::infer::Network;
use crate::{Error, Result};

/// A network that is ready to answer, of any architecture.
#[derive(Debug, Clone)]
pub struct Model {
    network: Network,
    window_len: usize,
}

impl Model {
    /// Builds the network of a model file's architecture and tensors.
    ///
    /// # Errors
    /// A tensor that is missing, has another shape, or does not belong there.
    pub fn new(architecture: &Architecture, tensors: BTreeMap<String, Tensor>) -> Result<Model> {
        let (n_mels, n_frames, _) = architecture.dimensions();
        let weights = Weights::new(tensors);
        let network = match architecture {
            Architecture::Vgg(config) => vgg::compile(config, weights)?,
        };
        Ok(Model { network, window_len: n_mels * n_frames })
    }

    /// Logits `[n, n_classes]` of `n` windows `[n, n_mels, n_frames]`.
    ///
    /// # Errors
    /// If there are not `n` whole windows, or none.
    pub fn logits(&self, windows: &[f32], n: usize) -> Result<Vec<f32>> {
        if n == 0 || windows.len() != n * self.window_len {
            return Err(Error::OutOfRange {
                what: "length of the windows",
                expected: format!("{n} x {}, at least one window", self.window_len),
                actual: windows.len().to_string(),
            });
        }
        Ok(self.network.forward(windows, n))
    }
}
