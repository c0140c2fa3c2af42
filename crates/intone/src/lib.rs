//! Speech emotion recognition: audio in, emotions out.

pub mod audio;
pub mod emotion;
pub mod error;
pub mod features;
pub mod model;
mod nn;
pub mod recognizer;
pub mod scores;
#[cfg(test)]
mod testing;
mod window;

pub use audio::{Audio, AudioStream, SampleRate};
pub use emotion::Emotion;
pub use error::{Error, Result};
pub use recognizer::Recognizer;
pub use scores::Scores;
