//! Models that others trained with Keras, as model files of [`intone`].
//!
//! ```no_run
//! use intone_keras::{Beside, KerasModel, Labels, Parameters};
//!
//! let beside = Beside {
//!     labels: Some(Labels::open("label_encoder.pkl")?),
//!     parameters: Some(Parameters::open("audio_params.pkl")?),
//!     ..Beside::default()
//! };
//! let file = KerasModel::open("best_ser_2dcnn.keras")?.into_file(beside)?;
//! let recognizer = intone::Recognizer::from_file(file)?;
//! # Ok::<(), intone_keras::Error>(())
//! ```
//!
//! Convolutional classifiers over a log-mel picture are read: `Sequential`, or `Functional` as a plain chain, of Keras 3 and
//! 2. The files may come from anyone: nothing in them is executed, and what is not understood is refused by name.

mod archive;
mod convert;
mod error;
mod hdf5;
mod labels;
mod layers;
mod parameters;
mod parts;
mod pickle;

pub use convert::{Beside, KerasModel};
pub use error::{Error, Result};
pub use labels::Labels;
pub use parameters::{Parameters, Picture, Values};

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A whole file, if it is not larger than `limit` bytes.
fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path)?;
    let n = file.metadata()?.len();
    let mut bytes = Vec::with_capacity(n.min(limit) as usize);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(Error::Archive(format!("more than {limit} bytes"))),
        false => Ok(bytes),
    }
}
