//! The reference front end against librosa: golden values made by `reference/librosa_goldens.py`.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use intone::features::{Extractor, FrontEnd, trim};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

/// Largest difference of any value, dB. What is promised is 1e-3; a transform in single precision, which would
/// break the promise for some signals, must not pass here.
const TOLERANCE_DB: f32 = 5e-5;

/// What the script says about the file.
#[derive(Deserialize)]
struct About {
    librosa: String,
    scales: std::collections::BTreeMap<String, f32>,
    trim_top_db: Vec<f32>,
}

struct Goldens<'a> {
    about: About,
    tensors: SafeTensors<'a>,
}

impl<'a> Goldens<'a> {
    fn new(bytes: &'a [u8]) -> Goldens<'a> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).unwrap();
        let about = &metadata.metadata().as_ref().unwrap()["about"];
        let about: About = serde_json::from_str(about).unwrap();
        assert_eq!(about.librosa, "0.11.0");
        assert!(about.scales.len() >= 10);
        Goldens { about, tensors: SafeTensors::deserialize(bytes).unwrap() }
    }

    fn signals(&self) -> impl Iterator<Item = (&str, Vec<f32>)> {
        self.about.scales.iter().map(|(name, scale)| {
            let tensor = self.tensors.tensor(&format!("{name}.samples")).unwrap();
            assert_eq!(tensor.dtype(), Dtype::I16);
            let samples = tensor.data().as_chunks::<2>().0.iter();
            (name.as_str(), samples.map(|&bytes| f32::from(i16::from_le_bytes(bytes)) * scale).collect())
        })
    }

    /// Shape and values of a float tensor.
    fn floats(&self, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        let tensor = self.tensors.tensor(name).ok()?;
        assert_eq!(tensor.dtype(), Dtype::F32);
        let values = tensor.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
        Some((tensor.shape().to_vec(), values.collect()))
    }

    fn integers(&self, name: &str) -> Vec<usize> {
        let tensor = self.tensors.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), Dtype::I64);
        let values = tensor.data().as_chunks::<8>().0.iter().map(|&bytes| i64::from_le_bytes(bytes));
        values.map(|value| usize::try_from(value).unwrap()).collect()
    }
}

fn golden_bytes() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/librosa.safetensors")).unwrap()
}

fn largest_difference(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    got.iter()
        .zip(want)
        .map(|(got, want)| (got - want).abs())
        .fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a })
}

/// Panics with all of the failures at once.
fn report(failures: &[String]) {
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn log_mel_equals_librosa() {
    let bytes = golden_bytes();
    let goldens = Goldens::new(&bytes);
    let extractor = Extractor::new(&FrontEnd::reference()).unwrap();
    let mut failures = Vec::new();
    for (name, samples) in goldens.signals() {
        let (shape, want) = goldens.floats(&format!("{name}.log_mel")).unwrap();
        let got = extractor.log_mel(&samples);
        if shape != [got.n_mels(), got.n_frames()] {
            failures.push(format!("{name}: [{}, {}] instead of {shape:?}", got.n_mels(), got.n_frames()));
            continue;
        }
        let difference = largest_difference(got.data(), &want);
        println!("{name}: largest difference {difference:.1e} dB");
        if difference.is_nan() || difference > TOLERANCE_DB {
            failures.push(format!("{name}: largest difference {difference} dB"));
        }
    }
    report(&failures);
}

#[test]
fn the_window_of_a_short_clip_equals_librosa_on_the_padded_clip() {
    let bytes = golden_bytes();
    let goldens = Goldens::new(&bytes);
    let front_end = FrontEnd::reference();
    let extractor = Extractor::new(&front_end).unwrap();
    let mut failures = Vec::new();
    let mut n_cases = 0;
    for (name, samples) in goldens.signals() {
        let Some((shape, want)) = goldens.floats(&format!("{name}.window")) else { continue };
        assert_eq!(shape, [front_end.n_mels, front_end.n_frames]);
        let mut got = vec![f32::NAN; front_end.window_len()];
        extractor.frames(&samples).window(&front_end, 0, &mut got).unwrap();
        let difference = largest_difference(&got, &want) * front_end.top_db;
        if difference.is_nan() || difference > TOLERANCE_DB {
            failures.push(format!("{name}: largest difference {difference} dB"));
        }
        n_cases += 1;
    }
    assert!(n_cases >= 3);
    report(&failures);
}

#[test]
fn trim_equals_librosa() {
    let bytes = golden_bytes();
    let goldens = Goldens::new(&bytes);
    let mut failures = Vec::new();
    for (name, samples) in goldens.signals() {
        let wants = goldens.integers(&format!("{name}.trim"));
        assert_eq!(wants.len(), 2 * goldens.about.trim_top_db.len());
        for (&top_db, want) in goldens.about.trim_top_db.iter().zip(wants.as_chunks::<2>().0) {
            let got = trim(&samples, top_db);
            if [got.start, got.end] != *want {
                failures.push(format!("{name} at {top_db} dB: {got:?} instead of {want:?}"));
            }
        }
    }
    report(&failures);
}
