//! From corpora to a trained model: readers, splits, augmentation, the training loop.

pub mod augment;
pub mod calibrate;
pub mod config;
pub mod corpus;
pub mod curve;
pub mod dataset;
pub mod error;
pub mod evaluate;
pub mod fetch;
pub mod learner;
pub mod phase;
pub mod run_log;
pub mod split;
pub mod train;
pub mod training_set;

mod checkpoint;
mod optimizer;
mod provenance;
mod random;

pub use config::Config;
pub use error::{Error, Result};
