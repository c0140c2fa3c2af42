//! Speech emotion recognition: audio in, emotions out.

pub mod audio;
pub mod emotion;
pub mod error;
pub mod features;
pub mod model;
mod nn;

pub use audio::{Audio, AudioStream, SampleRate};
pub use emotion::Emotion;
pub use error::{Error, Result};
