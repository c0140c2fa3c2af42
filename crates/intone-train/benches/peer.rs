//! Our side of the comparison with other frameworks; `reference/bench/compare.py` starts it and asks for rounds.
//!
//! `peer train|infer|infer32|train-encoder|train-encoder-bf16|encoder|encoder-int8|front-end` prepares its work, then, for each
//! line on standard input, does it once and answers with the milliseconds it took. The allocator is the system's, so that both sides can be given the same settings.

use std::io::{BufRead, Write};
use std::time::Instant;

use intone::Recognizer;
use intone::audio::{Audio, SampleRate};
use intone::features::{Extractor, FrontEnd};
use intone::model::encoder::ProductPrecision;
use intone::model::{Model, ModelFile, ModelMeta, Precision};
use intone_train::Config;
use intone_train::config::ModelConfig;
use intone_train::learner::{Inputs, Learner};
use intone_train::phase::Phase;
use intone_train::train::Device;

/// Reproducible values in [0, 1), as the front end gives them.
fn noise(n: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 24) as f32
    };
    (0..n).map(|_| next()).collect()
}

/// Frames of 3 s, of 10 ms each.
const ENCODER_FRAMES: usize = 300;

/// One class after the other.
fn targets(n: usize) -> Vec<[f32; 6]> {
    (0..n).map(|i| std::array::from_fn(|class| if class == i % 6 { 1.0 } else { 0.0 })).collect()
}

fn work(what: &str) -> Box<dyn FnMut()> {
    let config = Config::default();
    let window = config.front_end.window_len();
    match what {
        "train" => {
            let mut learner = Learner::new(&config, &Device::flex()).expect("it is trained here");
            let windows: Vec<Vec<f32>> = noise(32 * window).chunks(window).map(<[f32]>::to_vec).collect();
            let targets = targets(32);
            let phase = Phase::of(&config, 1);
            Box::new(move || {
                let step = learner.step(Inputs::Windows(&windows), &targets, &phase, 1.0, 1);
                assert!(step.loss.is_finite());
            })
        }
        "infer" | "infer32" => {
            let n = if what == "infer" { 1 } else { 32 };
            let learner = Learner::new(&config, &Device::flex()).expect("it is trained here");
            let model = Model::new(&config.architecture(6), learner.tensors()).expect("its own tensors");
            let windows = noise(n * window);
            Box::new(move || assert_eq!(model.logits(&windows, n).expect("whole windows").len(), n * 6))
        }
        "train-encoder" | "train-encoder-bf16" => {
            let mut config = Config::whisper_tiny();
            let ModelConfig::Encoder(model) = &mut config.model else { unreachable!("it has an encoder") };
            model.products =
                if what == "train-encoder" { ProductPrecision::F32 } else { ProductPrecision::Bf16 };
            let mut learner = Learner::new(&config, &Device::flex()).expect("it is trained here");
            let window = ENCODER_FRAMES * config.front_end.n_mels;
            let windows: Vec<Vec<f32>> = noise(16 * window).chunks(window).map(<[f32]>::to_vec).collect();
            let targets = targets(16);
            // Behind the epochs in which the encoder is frozen.
            let phase = Phase::of(&config, config.training.max_epochs);
            Box::new(move || {
                let step = learner.step(Inputs::Windows(&windows), &targets, &phase, 1.0, 1);
                assert!(step.loss.is_finite());
            })
        }
        "encoder" | "encoder-int8" => {
            // From 3 s of audio to the answer: the front end is part of it.
            let config = Config::whisper_tiny();
            let learner = Learner::new(&config, &Device::flex()).expect("it is trained here");
            let front_end = FrontEnd { trim_top_db: None, ..config.front_end.clone() };
            let labels = intone::Emotion::ALL.map(|emotion| emotion.name().to_owned()).to_vec();
            let meta = ModelMeta::new(config.architecture(6), front_end, labels);
            let precision = if what == "encoder" { Precision::F32 } else { Precision::Int8 };
            let file = ModelFile::new(meta, learner.tensors()).to_bytes(precision).expect("finite weights");
            let recognizer = Recognizer::from_bytes(&file).expect("its own tensors");
            let samples = noise(48_000).into_iter().map(|x| 0.2 * (x - 0.5)).collect();
            let audio = Audio::new(samples, SampleRate(16_000)).expect("finite samples");
            Box::new(move || assert!(recognizer.recognize(&audio).expect("an answer").label().is_some()))
        }
        "front-end" => {
            // 3 s at the rate of the corpora, as decoding leaves them.
            let samples = noise(48_000).into_iter().map(|x| 0.2 * (x - 0.5)).collect();
            let audio = Audio::new(samples, SampleRate(16_000)).expect("finite samples");
            let front_end = FrontEnd::reference();
            let extractor = Extractor::new(&front_end).expect("the reference front end");
            Box::new(move || {
                let audio = audio.resample(SampleRate(front_end.sample_rate_hz)).expect("known rates");
                assert_eq!(extractor.log_mel(audio.samples()).data().len(), front_end.window_len());
            })
        }
        other => panic!("expected a task of reference/bench/compare.py, got {other}"),
    }
}

fn main() -> std::io::Result<()> {
    // `cargo bench` and `cargo test --benches` add flags of their own.
    let Some(what) = std::env::args().skip(1).find(|argument| !argument.starts_with("--")) else {
        return Ok(());
    };
    let mut work = work(&what);
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let repeats: u32 = line?.trim().parse().unwrap_or(1);
        let started = Instant::now();
        (0..repeats).for_each(|_| work());
        writeln!(out, "{}", started.elapsed().as_secs_f64() * 1e3 / f64::from(repeats))?;
        out.flush()?;
    }
    Ok(())
}
