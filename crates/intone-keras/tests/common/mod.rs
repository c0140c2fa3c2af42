//! The files that `reference/keras_goldens.py` wrote.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::PathBuf;

use intone_keras::Parameters;
use safetensors::SafeTensors;

/// All models in the folder.
pub(crate) const MODELS: [&str; 10] = [
    "flatten.keras",
    "chunked.keras",
    "mean.keras",
    "valid.h5",
    "functions.keras",
    "double.keras",
    "latest.keras",
    "keras2.h5",
    "keras2_flatten.keras",
    "reference.keras",
];

pub(crate) const LABELS: [&str; 6] = ["angry", "disgust", "fear", "happy", "neutral", "sad"];

pub(crate) fn golden_path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "goldens", name].iter().collect()
}

pub(crate) fn golden(name: &str) -> Vec<u8> {
    std::fs::read(golden_path(name)).unwrap()
}

/// A pickled dictionary of an input's shape, protocol 2.
pub(crate) fn parameters_for(n_mels: usize, n_frames: usize) -> Parameters {
    let pair = |key: &str, n: usize| {
        [b"X".as_slice(), &(key.len() as u32).to_le_bytes(), key.as_bytes(), b"J", &(n as u32).to_le_bytes()]
            .concat()
    };
    let pairs = [pair("n_mels", n_mels), pair("n_frames", n_frames)].concat();
    Parameters::read(&[b"\x80\x02}(".as_slice(), &pairs, b"u."].concat()).unwrap()
}

/// What Keras and librosa said.
pub(crate) struct Answers(Vec<u8>);

impl Answers {
    pub(crate) fn new() -> Answers {
        Answers(golden("answers.safetensors"))
    }

    pub(crate) fn tensor(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let values = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        (view.shape().to_vec(), values)
    }

    /// Samples of a recording at 22,050 Hz.
    pub(crate) fn samples(&self, clip: &str) -> Vec<f32> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(&format!("{clip}.samples")).unwrap();
        view.data()
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| f32::from(i16::from_le_bytes(bytes)) / 32_768.0)
            .collect()
    }
}

/// The probabilities of logits.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f32> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|x| f64::from(x - top).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|x| (x / total) as f32).collect()
}

/// Asserts that all values are as close as `tolerance`; the largest distance.
pub(crate) fn close(name: &str, got: &[f32], want: &[f32], tolerance: f32) -> f32 {
    assert_eq!(got.len(), want.len(), "{name}");
    let mut largest = 0.0f32;
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance, "{name}, value {at}: {got}, expected {want}");
        largest = largest.max((got - want).abs());
    }
    largest
}
