//! Speech emotion recognition: audio in, emotions out.

pub mod audio;
mod blocks;
pub mod emotion;
mod ends;
pub mod error;
pub mod features;
pub mod model;
mod moments;
mod nn;
mod parallel;
mod pass;
pub mod recognizer;
pub mod scores;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod timeline;
mod voice;
mod window;

pub use audio::{Audio, AudioStream, SampleRate};
pub use emotion::Emotion;
pub use error::{Error, Result};
pub use recognizer::Recognizer;
pub use scores::Scores;
pub use stream::Stream;
pub use timeline::{Reading, Window};
