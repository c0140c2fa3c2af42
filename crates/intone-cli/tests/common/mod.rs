//! What the tests of the program share: a place to work in, a small model, and recordings made on the spot.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use intone::features::FrontEnd;
use intone::model::chain::{Activation, ChainConfig, ChainLayer, Padding, Size};
use intone::model::encoder::EncoderNetwork;
use intone::model::{Architecture, EncoderConfig, ModelFile, ModelMeta, Precision, Tensor, VggConfig};
use intone_train::train::Device;
use serde_json::Value;
use tempfile::TempDir;

/// The labels of the small model.
pub(crate) const LABELS: [&str; 6] = ["angry", "disgust", "fear", "happy", "neutral", "sad"];

/// Sample rate of the recordings made here, Hz.
pub(crate) const RATE: u32 = 16_000;

/// A temporary folder with a model in it, where the program is run.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a temporary folder") };
        small_model().write(place.model(), Precision::F32).expect("the model is written");
        place
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn model(&self) -> PathBuf {
        self.path("model.safetensors")
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn file(&self, name: impl AsRef<Path>, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file in the folder")).expect("a folder");
        std::fs::write(&path, bytes).expect("the file is written");
        path
    }

    /// `intone`, in this place.
    pub(crate) fn intone(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_intone"));
        command.current_dir(self.folder.path()).env_remove("RUST_BACKTRACE");
        command
    }

    /// `intone predict --model model.safetensors ARGS`.
    pub(crate) fn predict<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Output {
        let mut command = self.intone();
        command.args(["predict", "--model", "model.safetensors"]).args(args);
        command.output().expect("the program runs")
    }

    /// The same, as JSON lines, and the exit code.
    pub(crate) fn rows<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> (Vec<Value>, i32) {
        let mut all: Vec<std::ffi::OsString> = vec!["--format=jsonl".into()];
        all.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        let output = self.predict(&all);
        assert_no_panic(&output);
        (json_lines(&output), code(&output))
    }
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the output is UTF-8")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("the messages are UTF-8")
}

pub(crate) fn assert_no_panic(output: &Output) {
    assert!(!stderr(output).contains("panicked"), "{}", stderr(output));
}

pub(crate) fn json_lines(output: &Output) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    stdout(output).lines().map(parse).collect()
}

/// A row that is an answer: a label that is the best of six probabilities whose sum is 1.
#[track_caller]
pub(crate) fn assert_answer(row: &Value) {
    let scores = row["scores"].as_object().unwrap_or_else(|| panic!("no scores: {row}"));
    let probability = |label: &str| scores[label].as_f64().expect("a number");
    let sum: f64 = LABELS.iter().map(|label| probability(label)).sum();
    assert!((sum - 1.0).abs() < 1e-5 && scores.len() == LABELS.len(), "{row}");
    let label = row["label"].as_str().unwrap_or_else(|| panic!("no label: {row}"));
    assert!(LABELS.iter().all(|other| probability(other) <= probability(label)), "{row}");
    assert_eq!(row["silence"], false, "{row}");
    assert!(row.get("error").is_none(), "{row}");
}

/// A row that says why there is no answer.
#[track_caller]
pub(crate) fn assert_error(row: &Value) -> String {
    assert!(row.get("scores").is_none() && row.get("label").is_none(), "{row}");
    let error = row["error"].as_str().unwrap_or_else(|| panic!("no error: {row}"));
    assert!(!error.is_empty() && !error.contains("please report"), "{row}");
    error.to_owned()
}

/// The reference front end, and a network with the reference shape but few channels and arbitrary weights.
pub(crate) fn small_model() -> ModelFile {
    let config = VggConfig {
        channels: vec![32; 4],
        convs_per_block: vec![1; 4],
        dense: vec![16],
        n_mels: 128,
        n_frames: 130,
        n_classes: LABELS.len(),
    };
    let mut tensors = BTreeMap::new();
    let mut random = Random(1);
    let mut layer = |name: &str, shape: &[usize], norm: bool| {
        let fan_in: usize = shape[1..].iter().product();
        let spread = (6.0 / fan_in as f32).sqrt();
        let data = (0..shape.iter().product()).map(|_| spread * random.next()).collect();
        tensors.insert(format!("{name}.weight"), Tensor { shape: shape.to_vec(), data });
        let mut vector = |part: &str, value: f32| {
            let tensor = Tensor { shape: vec![shape[0]], data: vec![value; shape[0]] };
            tensors.insert(format!("{name}.{part}"), tensor);
        };
        match norm {
            true => {
                vector("norm.gamma", 1.0);
                vector("norm.beta", 0.1);
                vector("norm.mean", 0.0);
                vector("norm.var", 1.0);
            }
            false => vector("bias", 0.0),
        }
    };
    for block in 0..4 {
        let c_in = if block == 0 { 1 } else { 32 };
        layer(&format!("blocks.{block}.convs.0"), &[32, c_in, 3, 3], true);
    }
    layer("dense.0", &[16, 32 * 8 * 8], true);
    layer("output", &[LABELS.len(), 16], false);
    let labels = LABELS.map(String::from).to_vec();
    ModelFile::new(ModelMeta::new(Architecture::Vgg(config), FrontEnd::reference(), labels), tensors)
}

/// The reference front end, and a chain with every kind of layer and arbitrary weights; its windows overlap and reach beyond
/// the edges by odd numbers.
pub(crate) fn small_chain() -> ModelFile {
    let conv = |channels, kernel, stride, padding| ChainLayer::Conv { channels, kernel, stride, padding };
    let activation = |function| ChainLayer::Activation { function };
    let layers = vec![
        ChainLayer::Standardise,
        conv(5, [4, 3], [2, 3], Padding::Same),
        ChainLayer::Affine,
        activation(Activation::Silu),
        ChainLayer::MaxPool { size: [3, 2], stride: [2, 2], padding: Padding::Same },
        conv(7, [3, 5], [2, 1], Padding::Valid),
        activation(Activation::Elu),
        ChainLayer::MaxPool { size: [2, 2], stride: [2, 2], padding: Padding::Valid },
        activation(Activation::Tanh),
        ChainLayer::Flatten,
        ChainLayer::Dense { width: 12 },
        ChainLayer::Affine,
        activation(Activation::Sigmoid),
        ChainLayer::Dense { width: LABELS.len() },
    ];
    let config = ChainConfig { n_mels: 128, n_frames: 130, n_classes: LABELS.len(), layers };
    let mut random = Random(3);
    let mut tensors = BTreeMap::new();
    let mut c_in = 1;
    for (index, (layer, behind)) in config.layers.iter().zip(config.sizes().expect("they fit")).enumerate() {
        let (Size::Picture { channels: c_out, .. } | Size::Row(c_out)) = behind;
        let shapes = match layer {
            ChainLayer::Conv { kernel, .. } => {
                vec![("weight", vec![c_out, c_in, kernel[0], kernel[1]]), ("bias", vec![c_out])]
            }
            ChainLayer::Dense { .. } => vec![("weight", vec![c_out, c_in]), ("bias", vec![c_out])],
            ChainLayer::Affine => vec![("scale", vec![c_out]), ("shift", vec![c_out])],
            _ => Vec::new(),
        };
        for (part, shape) in shapes {
            let n: usize = shape.iter().product();
            let spread = (6.0 / (n / shape[0]) as f32).sqrt();
            let data = (0..n).map(|_| spread * random.next()).collect();
            tensors.insert(format!("layers.{index}.{part}"), Tensor { shape, data });
        }
        c_in = c_out;
    }
    let labels = LABELS.map(String::from).to_vec();
    ModelFile::new(ModelMeta::new(Architecture::Chain(config), FrontEnd::reference(), labels), tensors)
}

/// Whisper's front end, and a small encoder with arbitrary weights.
pub(crate) fn small_encoder() -> ModelFile {
    let config = EncoderConfig {
        width: 32,
        n_heads: 2,
        hidden: 64,
        pooled_layers: vec![0, 1],
        dense: vec![16],
        ..EncoderConfig::tiny(1)
    };
    let mut random = Random(2);
    let network =
        EncoderNetwork::init(&config, BTreeMap::new(), &Device::flex(), &mut || 2.0 * random.next());
    let network = network.expect("tensors of its own making");
    let tensors = network.to_tensors(&config);
    let labels = LABELS.map(String::from).to_vec();
    ModelFile::new(ModelMeta::new(Architecture::Encoder(config), FrontEnd::whisper(), labels), tensors)
}

/// Numbers in [-1, 1) that are the same in every run (a linear congruential generator, Numerical Recipes).
pub(crate) struct Random(pub(crate) u32);

impl Random {
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Something with the rough shape of speech: a voice with harmonics in syllables, and a little noise.
pub(crate) fn babble(duration_s: f32, pitch_hz: f32) -> Vec<f32> {
    let mut random = Random(pitch_hz as u32);
    (0..(duration_s * RATE as f32) as usize)
        .map(|n| {
            let t = n as f32 / RATE as f32;
            let voice: f32 =
                (1..12).map(|k| (std::f32::consts::TAU * pitch_hz * k as f32 * t).sin() / k as f32).sum();
            let syllable = (std::f32::consts::PI * 3.0 * t).sin().abs();
            0.2 * syllable * voice + 0.01 * random.next()
        })
        .collect()
}

/// The bytes of a 16-bit mono WAV file.
pub(crate) fn wav(samples: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = samples
        .iter()
        .flat_map(|x| ((x * 32_767.0).clamp(-32_768.0, 32_767.0) as i16).to_le_bytes())
        .collect();
    wav_of(&WavHeader { n_bytes: data.len() as u32, ..WavHeader::default() }, &data)
}

/// The fields of a WAV header, whatever they say.
pub(crate) struct WavHeader {
    /// 1: integers, 3: floats.
    pub(crate) format: u16,
    pub(crate) channels: u16,
    pub(crate) rate: u32,
    pub(crate) bits: u16,
    /// The length of the data that the header promises.
    pub(crate) n_bytes: u32,
}

impl Default for WavHeader {
    fn default() -> Self {
        WavHeader { format: 1, channels: 1, rate: RATE, bits: 16, n_bytes: 0 }
    }
}

/// The bytes of a WAV file with this header and this data.
pub(crate) fn wav_of(header: &WavHeader, data: &[u8]) -> Vec<u8> {
    let block = header.channels * (header.bits / 8);
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(header.n_bytes.saturating_add(36).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0");
    bytes.extend(header.format.to_le_bytes());
    bytes.extend(header.channels.to_le_bytes());
    bytes.extend(header.rate.to_le_bytes());
    bytes.extend(header.rate.wrapping_mul(u32::from(block)).to_le_bytes());
    bytes.extend(block.to_le_bytes());
    bytes.extend(header.bits.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(header.n_bytes.to_le_bytes());
    bytes.extend(data);
    bytes
}

/// A file of the library's tests.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../intone/tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A manifest of speakers with two clips of each emotion: two train, one is the validation part, the others the test.
pub(crate) fn corpus(place: &Place, n_speakers: usize) {
    let mut manifest = String::from("path,label,speaker,split,sex\n");
    for speaker in 0..n_speakers {
        for (class, label) in LABELS.iter().enumerate() {
            for take in 0..2 {
                let name = format!("s{speaker}-{label}-{take}.wav");
                let pitch_hz = 100.0 + 31.0 * class as f32 + 7.0 * speaker as f32 + take as f32;
                place.file(Path::new("data").join(&name), &wav(&babble(0.6, pitch_hz)));
                let part = ["train", "train", "validation"].get(speaker).unwrap_or(&"test");
                let sex = ["female", "male"][speaker % 2];
                manifest += &format!("{name},{label},s{speaker},{part},{sex}\n");
            }
        }
    }
    place.file("data/manifest.csv", manifest.as_bytes());
}

/// Runs `intone` in a place: the exit code, what it printed, what it told.
pub(crate) fn run(place: &Place, args: &[&str]) -> (i32, String, String) {
    let output = place.intone().args(args).output().expect("the program runs");
    assert_no_panic(&output);
    (code(&output), stdout(&output), stderr(&output))
}

/// A text file of a place.
#[track_caller]
pub(crate) fn read(place: &Place, name: &str) -> String {
    std::fs::read_to_string(place.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
