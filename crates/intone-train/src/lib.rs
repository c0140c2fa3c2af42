//! From corpora to a trained model: readers, splits, augmentation, the training loop.

pub mod corpus;
pub mod error;
pub mod fetch;
pub mod split;

pub use error::{Error, Result};
