//! From corpora to a trained model: readers, splits, augmentation, the training loop.

pub mod augment;
pub mod bootstrap;
pub mod calibrate;
pub mod config;
pub mod corpus;
pub mod cross_validate;
pub mod curve;
pub mod dataset;
pub mod error;
pub mod evaluate;
pub mod explain;
pub mod fetch;
pub mod leak;
pub mod learner;
pub mod metrics;
pub mod phase;
pub mod predictions;
pub mod report;
pub mod robustness;
pub mod run_log;
pub mod split;
pub mod train;
pub mod training_set;

mod checkpoint;
mod given;
mod mixing;
mod optimizer;
mod provenance;
mod random;
mod stretch;
mod svg;
mod teachers;

pub use config::Config;
pub use error::{Error, Result};
