//! Network architectures and the files they live in.

pub mod error;
pub mod file;
pub mod meta;

pub use error::ModelError;
pub use file::{ModelFile, Precision, Tensor, Weights};
pub use meta::{Architecture, CorpusInfo, ModelMeta, Provenance, VggConfig};
