//! Training on recordings of one's own: `cargo run --release -p intone-train --example custom_corpus -- DIR`.
//!
//! `DIR` holds recordings and a `manifest.csv` with `path,label,speaker,split`, where the split is `train`, `validation` or
//! `test` and no speaker stands on two sides. Without `DIR`, tones stand in for speech, to show the layout and the steps.

#![allow(clippy::print_stdout, reason = "it is what the example does")]

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use intone::{Audio, Emotion, Recognizer};
use intone_train::Config;
use intone_train::corpus::read_roots;
use intone_train::split::{Part, Protocol};
use intone_train::train::{Device, Outcome, Progress, RunOptions, train};

/// A network of the reference's kind, small enough to be trained in seconds.
const CONFIG: &str = r#"
protocol = "manifest"

[front_end]
n_mels = 32
n_frames = 32

[model]
name = "vgg"
channels = [32, 32]
convs_per_block = [1, 1]
dense = [32]
block_dropout = [0.1, 0.1]
dense_dropout = [0.2]

[training]
batch_size = 8
learning_rate = 2e-3
max_epochs = 6

[augment]
time_mask_frames = 4
frequency_mask_bands = 4
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let place = tempfile::tempdir()?;
    let data = match std::env::args().nth(1) {
        Some(dir) => PathBuf::from(dir),
        None => tones(place.path())?,
    };
    let config = place.path().join("config.toml");
    std::fs::write(&config, CONFIG)?;
    let config = Config::load(&config, &[])?;

    let corpus = read_roots(std::slice::from_ref(&data))?;
    let split = Protocol::Manifest.split(&corpus)?;
    for part in Part::ALL {
        println!("{part}: {} clips of {} speakers", split.part(part).len(), split.speakers(part).len());
    }

    let options = RunOptions {
        out: place.path().join("run"),
        cache: None,
        resume: false,
        device: Device::flex(),
        test: true,
    };
    let show = |progress: Progress| {
        if let Progress::Epoch { row, .. } = progress {
            println!("epoch {}: validation accuracy {:.0} %", row.epoch, 100.0 * row.validation_accuracy);
        }
    };
    let outcome = train(&config, &split, &options, &AtomicBool::new(false), &show)?;
    let Outcome::Finished { test: Some(test), .. } = outcome else { return Err("no test clips".into()) };
    println!("test: accuracy {}, {} clips of {} speakers", test.accuracy, test.n, test.n_speakers);

    let recognizer = Recognizer::open(options.out.join("best.safetensors"))?;
    let clip = &split.part(Part::Test)[0];
    let scores = recognizer.recognize(&Audio::open(&clip.path)?)?;
    println!("{}: {}", clip.path.display(), scores.label().unwrap_or("silence"));
    Ok(())
}

/// A corpus of tones: four "speakers", the pitch is the emotion.
fn tones(root: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
    const RATE_HZ: u32 = 16_000;
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut manifest = String::from("path,label,speaker,split\n");
    for (speaker, part) in ["train", "train", "validation", "test"].into_iter().enumerate() {
        for emotion in Emotion::ALL {
            for take in 0..4 {
                let name = format!("{emotion}-{speaker}-{take}.wav");
                let pitch_hz = 200.0 * 1.6f32.powi(emotion.index() as i32) * (1.0 + 0.02 * speaker as f32);
                let mut writer = hound::WavWriter::create(root.join(&name), spec)?;
                for i in 0..RATE_HZ / 2 + 800 * take {
                    let tone = (std::f32::consts::TAU * pitch_hz * i as f32 / RATE_HZ as f32).sin();
                    writer.write_sample((8_000.0 * tone) as i16)?;
                }
                writer.finalize()?;
                manifest.push_str(&format!("{name},{emotion},speaker-{speaker},{part}\n"));
            }
        }
    }
    std::fs::write(root.join("manifest.csv"), manifest)?;
    Ok(root.to_owned())
}
