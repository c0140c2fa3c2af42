//! Training on a tiny corpus of tones: it learns, it resumes to the same result, and it refuses what cannot be.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use intone::Emotion;
use intone::model::{ModelFile, WhisperEncoder};
use intone_train::config::{Config, EncoderModel, ModelConfig};
use intone_train::corpus::read_roots;
use intone_train::run_log::{self, Epoch};
use intone_train::split::{Protocol, Split};
use intone_train::train::{Device, Outcome, Progress, RunOptions, has_begun, train};

/// A folder for each emotion, four speakers, two clips of each: a tone whose pitch is the class, in noise.
fn write_corpus(root: &Path) {
    let mut state = 1u32;
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 24) as f32 - 0.5
    };
    let mut manifest = String::from("path,label,speaker,split\n");
    for emotion in Emotion::ALL {
        for speaker in 0..4 {
            for take in 0..2 {
                let name = format!("{emotion}-{speaker}-{take}.wav");
                let spec = hound::WavSpec {
                    channels: 1,
                    sample_rate: 16_000,
                    bits_per_sample: 16,
                    sample_format: hound::SampleFormat::Int,
                };
                let mut writer = hound::WavWriter::create(root.join(&name), spec).unwrap();
                let pitch_hz = 200.0 * 1.6f32.powi(emotion.index() as i32) * (1.0 + 0.02 * speaker as f32);
                for i in 0..8_000 + 400 * take {
                    let tone = (std::f32::consts::TAU * pitch_hz * i as f32 / 16_000.0).sin();
                    writer.write_sample((8_000.0 * (0.5 * tone + 0.05 * noise())) as i16).unwrap();
                }
                writer.finalize().unwrap();
                let part = ["train", "train", "validation", "test"][speaker];
                manifest.push_str(&format!("{name},{emotion},s{speaker},{part}\n"));
            }
        }
    }
    std::fs::write(root.join("manifest.csv"), manifest).unwrap();
}

/// A folder for runs, and the corpus in it.
fn corpus() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    write_corpus(&data);
    (dir, data)
}

/// A network that trains in a moment, with every ingredient of the large one.
fn config(root: &Path) -> Config {
    let path = root.join("tiny.toml");
    let text = "protocol = 'manifest'\n\
         [front_end]\nn_mels = 16\nn_frames = 16\nn_fft = 1024\n\
         [model]\nname = 'vgg'\nchannels = [32, 32]\nconvs_per_block = [2, 1]\ndense = [16]\n\
         block_dropout = [0.1, 0.1]\ndense_dropout = [0.1]\n\
         [training]\nbatch_size = 5\nlearning_rate = 0.003\nmax_epochs = 8\npatience = 8\n\
         [augment]\ntime_mask_frames = 4\nfrequency_mask_bands = 2\n";
    std::fs::write(&path, text).unwrap();
    Config::load(&path, &[]).unwrap()
}

/// An encoder of the same kind: its head alone first, and every ingredient switched on.
fn encoder_config(root: &Path) -> Config {
    let path = root.join("encoder.toml");
    let text = "protocol = 'manifest'\n\
         [front_end]\nn_mels = 16\nn_frames = 30\n\
         [model]\nname = 'encoder'\nwidth = 32\nn_heads = 2\nhidden = 64\nn_blocks = 2\npooling = 8\ndense = [16]\n\
         frozen_epochs = 3\nfrozen_learning_rate = 0.01\nencoder_learning_rate = 0.003\n\
         [training]\nbatch_size = 5\nlearning_rate = 0.003\nwarmup_steps = 3\nema_decay = 0.8\nmax_epochs = 8\n\
         [augment]\ntime_mask_frames = 4\nfrequency_mask_bands = 2\ngain_db = 3.0\n";
    std::fs::write(&path, text).unwrap();
    Config::load(&path, &[]).unwrap()
}

fn split(root: &Path) -> Split {
    Protocol::Manifest.split(&read_roots(&[root.to_path_buf()]).unwrap()).unwrap()
}

fn options(out: &Path, resume: bool) -> RunOptions {
    RunOptions {
        out: out.to_path_buf(),
        cache: Some(out.with_extension("cache")),
        resume,
        device: Device::flex(),
        test: true,
    }
}

/// Everything that must not depend on when a run was cut: weights, and the log without its clock.
fn result(out: &Path) -> (ModelFile, Vec<Epoch>, Vec<String>) {
    let mut log = run_log::read(&out.join("log.csv")).unwrap();
    log.iter_mut().for_each(|row| row.seconds = 0.0);
    let mut file = ModelFile::open(out.join("best.safetensors")).unwrap();
    file.meta.provenance.created = String::new();
    let texts = ["predictions.csv", "validation.csv", "config.toml", "split.csv"];
    (file, log, texts.map(|name| std::fs::read_to_string(out.join(name)).unwrap()).to_vec())
}

#[test]
fn a_run_that_is_cut_and_resumed_gives_the_same_result_to_the_bit() {
    cut_and_resumed(config, 8, &[(1, Some((2, 3))), (3, Some((4, 0))), (1, None)]);
}

#[test]
fn so_does_a_run_in_two_phases() {
    // In the first phase, between the two, in the second.
    cut_and_resumed(encoder_config, 3, &[(1, Some((2, 3))), (3, Some((4, 0))), (2, Some((6, 1))), (1, None)]);
}

/// Trains as a whole, and once more with pauses (threads, and the epoch and step to stop at). At the end of the epoch
/// `learned` the loss must be well below that of the first.
fn cut_and_resumed(
    config: impl Fn(&Path) -> Config,
    learned: usize,
    pieces: &[(usize, Option<(usize, usize)>)],
) {
    let (dir, data) = corpus();
    let (config, split) = (config(dir.path()), split(&data));
    let go_on = AtomicBool::new(false);

    let whole = dir.path().join("whole");
    let outcome = train(&config, &split, &options(&whole, false), &go_on, &|_| ()).unwrap();
    let Outcome::Finished { best_epoch, test: Some(test), .. } = outcome else { panic!("{outcome:?}") };
    assert!((1..=8).contains(&best_epoch));
    assert_eq!((test.n, test.n_speakers), (12, 1));
    assert!(test.accuracy.value >= 0.5, "tones are easily told apart: {test:?}");
    let log = run_log::read(&whole.join("log.csv")).unwrap();
    assert!(log[learned - 1].train_loss < 0.72 * log[0].train_loss, "{log:?}");

    let cut = dir.path().join("cut");
    for &(n_threads, cut_at) in pieces {
        let stop = AtomicBool::new(false);
        let watch = |progress: Progress| match (progress, cut_at) {
            (Progress::Step { epoch, done, .. }, Some((at_epoch, at_step)))
                if epoch == at_epoch && done == at_step =>
            {
                stop.store(true, Ordering::Relaxed);
            }
            (Progress::Epoch { row, .. }, Some((at_epoch, 0))) if row.epoch + 1 == at_epoch => {
                stop.store(true, Ordering::Relaxed);
            }
            _ => (),
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let resume = cut.exists();
        let outcome = pool.install(|| train(&config, &split, &options(&cut, resume), &stop, &watch)).unwrap();
        match cut_at {
            Some((epoch, _)) => assert_eq!(outcome, Outcome::Interrupted { epoch }),
            None => assert!(matches!(outcome, Outcome::Finished { .. })),
        }
    }
    assert!(result(&cut) == result(&whole));

    // A finished run that is resumed has nothing left to do and says the same.
    train(&config, &split, &options(&cut, true), &go_on, &|_| ()).unwrap();
    assert!(result(&cut) == result(&whole));
}

#[test]
fn a_run_without_test_does_not_look_at_it_and_calibrates_all_the_same() {
    let (dir, data) = corpus();
    let out = dir.path().join("run");
    let options = RunOptions { test: false, ..options(&out, false) };
    let outcome =
        train(&encoder_config(dir.path()), &split(&data), &options, &AtomicBool::new(false), &|_| ())
            .unwrap();
    assert!(matches!(outcome, Outcome::Finished { test: None, .. }), "{outcome:?}");
    assert!(!out.join("predictions.csv").exists());
    let meta = ModelFile::open(out.join("best.safetensors")).unwrap().meta;
    assert!(meta.temperature != 1.0 && (0.0..=1.0).contains(&meta.uncertain_below), "{meta:?}");
    assert!(meta.gap_exponent == 1.0 && meta.short_s > 0.0, "{meta:?}");
    assert!(meta.provenance.scores.contains_key("validation_ece"));
    assert!(!meta.provenance.scores.keys().any(|name| name.starts_with("test")));
}

/// A small encoder as others publish it, under `root`, and a configuration that begins with it.
fn published(root: &Path) -> (PathBuf, Config) {
    let goldens = concat!(env!("CARGO_MANIFEST_DIR"), "/../intone/tests/goldens/whisper_encoder.safetensors");
    let all = std::fs::read(goldens).unwrap();
    let all = safetensors::SafeTensors::deserialize(&all).unwrap();
    let published = all.tensors().into_iter().filter(|(name, _)| name.starts_with("model.encoder."));
    let path = root.join("whisper.safetensors");
    std::fs::write(&path, safetensors::serialize(published, None).unwrap()).unwrap();
    let mut config = encoder_config(root);
    config.front_end.n_mels = 80;
    let model = encoder_of(&mut config);
    (model.width, model.n_heads, model.hidden, model.init) = (128, 2, 96, Some(path.clone()));
    (path, config)
}

fn encoder_of(config: &mut Config) -> &mut EncoderModel {
    match &mut config.model {
        ModelConfig::Encoder(model) => model,
        other => panic!("{other:?}"),
    }
}

#[test]
fn published_weights_of_another_size_are_refused() {
    let (dir, data) = corpus();
    let (path, fitting) = published(dir.path());
    let mut config = encoder_config(dir.path());
    encoder_of(&mut config).init = Some(path);
    let out = dir.path().join("run");
    let run = |config: &Config| {
        train(config, &split(&data), &options(&out, false), &AtomicBool::new(true), &|_| ())
    };
    let message = run(&config).unwrap_err().to_string();
    assert!(message.contains("whisper.safetensors has 80 mel bands, width 128"), "{message}");
    assert!(matches!(run(&fitting), Ok(Outcome::Interrupted { epoch: 1 })));
}

#[test]
fn the_encoder_that_is_kept_is_extrapolated_from_the_published_one() {
    let (dir, data) = corpus();
    let (path, config) = published(dir.path());
    let start = WhisperEncoder::open(path).unwrap().tensors;
    let kept = |times: f64| {
        let mut config = config.clone();
        (config.training.max_epochs, encoder_of(&mut config).extrapolation) = (5, times);
        let out = dir.path().join(times.to_string());
        // Cut and resumed: the published weights are needed again.
        let stop = AtomicBool::new(false);
        let stop_in_4 = |progress: Progress| {
            let in_4 = matches!(progress, Progress::Step { epoch: 4, done: 1, .. });
            stop.fetch_or(in_4, Ordering::Relaxed);
        };
        train(&config, &split(&data), &options(&out, false), &stop, &stop_in_4).unwrap();
        let outcome = train(&config, &split(&data), &options(&out, true), &AtomicBool::new(false), &|_| ());
        assert!(
            matches!(outcome, Ok(Outcome::Finished { best_epoch: 5, .. })),
            "the last epoch: {outcome:?}"
        );
        ModelFile::open(out.join("best.safetensors")).unwrap().tensors
    };
    let (learned, further) = (kept(1.0), kept(1.25));
    let mut n_moved = 0;
    for (name, tensor) in &learned {
        for (i, (learned, further)) in tensor.data.iter().zip(&further[name].data).enumerate() {
            // The head is kept as it is.
            let expected = start.get(name).map_or(*learned, |start| {
                n_moved += usize::from(start.data[i] != *learned);
                start.data[i] + 1.25 * (learned - start.data[i])
            });
            assert_eq!(*further, expected, "{name} {i}");
        }
    }
    assert!(n_moved > 10_000, "{n_moved}");
}

#[test]
fn a_run_goes_on_with_the_published_weights_that_it_began_with() {
    let (dir, data) = corpus();
    let (path, mut config) = published(dir.path());
    config.training.max_epochs = 2;
    let out = dir.path().join("run");
    let run = |resume: bool, stop: bool| {
        train(&config, &split(&data), &options(&out, resume), &AtomicBool::new(stop), &|_| ())
    };
    run(false, true).unwrap();
    let weights = std::fs::read(&path).unwrap();
    std::fs::write(&path, b"others").unwrap();
    let message = run(true, false).unwrap_err().to_string();
    assert!(message.starts_with("model.init: expected the file that the run began with"), "{message}");
    assert!(message.contains("whisper.safetensors with SHA-256"), "{message}");
    std::fs::write(&path, &weights).unwrap();
    run(true, false).unwrap();
    let init_sha256 = || ModelFile::open(out.join("best.safetensors")).unwrap().meta.provenance.init_sha256;
    assert_eq!(init_sha256().map(|sum| sum.len()), Some(64));
    assert!(message.contains(&init_sha256().unwrap()), "{message}");

    // The checkpoint of an older version did not know: its run goes on, and does not say.
    let out = dir.path().join("older");
    train(&config, &split(&data), &options(&out, false), &AtomicBool::new(true), &|_| ()).unwrap();
    let checkpoint = out.join("checkpoint.safetensors");
    let mut bytes = std::fs::read(&checkpoint).unwrap();
    let place = bytes.windows(5).position(|part| part == b"given").unwrap();
    bytes[place..place + 5].copy_from_slice(b"other");
    std::fs::write(&checkpoint, bytes).unwrap();
    train(&config, &split(&data), &options(&out, true), &AtomicBool::new(false), &|_| ()).unwrap();
    assert_eq!(ModelFile::open(out.join("best.safetensors")).unwrap().meta.provenance.init_sha256, None);
}

/// The encoder with so many teachers, shorter.
fn taught_config(root: &Path, teachers: usize) -> Config {
    let mut config = encoder_config(root);
    config.training.max_epochs = 5;
    (config.training.teachers, config.training.soft_share) = (teachers, 0.7);
    config
}

#[test]
fn a_run_learns_from_its_teachers() {
    let (dir, data) = corpus();
    let run = |config: &Config, name: &str| {
        let out = dir.path().join(name);
        train(config, &split(&data), &options(&out, false), &AtomicBool::new(false), &|_| ()).unwrap();
        out
    };
    let tensors = |out: &Path| ModelFile::open(out.join("best.safetensors")).unwrap().tensors;

    let config = taught_config(dir.path(), 1);
    let taught = run(&config, "taught");
    let teacher = taught.join("teacher-1");
    let mut alone = config.clone();
    (alone.training.teachers, alone.training.soft_share) = (0, 0.0);
    assert_eq!(tensors(&teacher), tensors(&run(&alone, "alone")));
    assert!(!teacher.join("predictions.csv").exists(), "a teacher is not tested");
    assert_eq!(std::fs::read_to_string(teacher.join("train.csv")).unwrap().lines().count(), 1 + 24);

    // Just as from the same answers in a file.
    let mut soft = config.clone();
    (soft.training.teachers, soft.training.soft_targets) = (0, Some(teacher.join("train.csv")));
    assert_eq!(tensors(&taught), tensors(&run(&soft, "soft")));
    assert_ne!(tensors(&taught), tensors(&teacher));
}

#[test]
fn a_run_that_is_cut_while_its_teachers_learn_goes_on_from_there() {
    let (dir, data) = corpus();
    let (config, split) = (taught_config(dir.path(), 2), split(&data));
    let whole = dir.path().join("whole");
    train(&config, &split, &options(&whole, false), &AtomicBool::new(false), &|_| ()).unwrap();
    let seed = |number: usize| {
        let file = whole.join(format!("teacher-{number}/best.safetensors"));
        ModelFile::open(file).unwrap().meta.provenance.seed
    };
    assert_eq!((seed(1), seed(2)), (config.seed, config.seed + 1));

    let cut = dir.path().join("cut");
    assert!(!has_begun(&cut));
    // In the first epoch of the second teacher, in the last one of the run itself, and not again.
    for (n_begun, epoch) in [(2, 1), (3, 5), (9, 0)] {
        let (stop, begun) = (AtomicBool::new(false), AtomicUsize::new(0));
        let watch = |progress: Progress| match progress {
            Progress::Teacher { .. } | Progress::Taught => drop(begun.fetch_add(1, Ordering::Relaxed)),
            Progress::Step { epoch: at, .. } if at == epoch => {
                stop.fetch_or(begun.load(Ordering::Relaxed) == n_begun, Ordering::Relaxed);
            }
            _ => (),
        };
        let resume = has_begun(&cut);
        let outcome = train(&config, &split, &options(&cut, resume), &stop, &watch).unwrap();
        match epoch {
            0 => assert!(matches!(outcome, Outcome::Finished { .. }), "{outcome:?}"),
            epoch => assert_eq!(outcome, Outcome::Interrupted { epoch }),
        }
        let again = train(&config, &split, &options(&cut, false), &stop, &|_| ()).unwrap_err();
        assert!(again.to_string().contains("it holds a run already"), "{again}");
    }
    assert!(result(&cut) == result(&whole));

    // Teachers of another recipe or of other clips.
    let go_on = AtomicBool::new(false);
    std::fs::remove_file(cut.join("checkpoint.safetensors")).unwrap();
    let mut other = config.clone();
    other.training.learning_rate = 0.004;
    let message = train(&other, &split, &options(&cut, true), &go_on, &|_| ()).unwrap_err().to_string();
    assert!(message.contains("teacher-1: this teacher was trained with another configuration"), "{message}");
    let clips = split.iter().map(|(_, clip)| clip.clone()).filter(|clip| !clip.id.contains("sad-0-1"));
    let fewer = Split::new("manifest", clips, |clip| clip.part).unwrap();
    let message = train(&config, &fewer, &options(&cut, true), &go_on, &|_| ()).unwrap_err().to_string();
    assert!(message.contains("teacher-1: this teacher was trained with other data"), "{message}");
}

#[test]
fn what_cannot_be_trained_is_refused_with_its_reason() {
    let (dir, data) = corpus();
    let stop = AtomicBool::new(false);
    let refused = |config: &Config, split: &Split, out: &Path, resume: bool| {
        train(config, split, &options(out, resume), &stop, &|_| ()).unwrap_err().to_string()
    };
    let whole = split(&data);

    let fine = config(dir.path());
    let mut out_of_range = fine.clone();
    out_of_range.training.batch_size = 0;
    let message = refused(&out_of_range, &whole, &dir.path().join("a"), false);
    assert!(message.contains("training.batch_size"), "{message}");

    let clips = whole.iter().map(|(part, clip)| (part, clip.clone())).collect::<Vec<_>>();
    let without = |emotion: Emotion| {
        let kept = clips.iter().filter(|(_, clip)| clip.emotion != emotion).map(|(_, clip)| clip.clone());
        Split::new("manifest", kept, |clip| clip.part).unwrap()
    };
    let message = refused(&fine, &without(Emotion::Fear), &dir.path().join("b"), false);
    assert!(message.contains("no training clip shows 'fear'"), "{message}");

    let no_validation = Split::new("manifest", clips.iter().map(|(_, clip)| clip.clone()), |clip| {
        clip.part.filter(|part| part.name() != "validation")
    });
    let message = refused(&fine, &no_validation.unwrap(), &dir.path().join("c"), false);
    assert!(message.contains("no validation clips"), "{message}");

    let damaged = data.join("angry-0-0.wav");
    let intact = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, b"RIFF").unwrap();
    let message = refused(&fine, &split(&data), &dir.path().join("d"), false);
    assert!(message.contains("1 of 24 clips") && message.contains("angry-0-0.wav"), "{message}");
    std::fs::write(&damaged, intact).unwrap();

    let out = dir.path().join("e");
    let mut short = fine.clone();
    short.training.max_epochs = 1;
    train(&short, &whole, &options(&out, false), &stop, &|_| ()).unwrap();
    let message = refused(&short, &whole, &out, false);
    assert!(message.contains("holds a run already"), "{message}");
    let message = refused(&Config { seed: 9, ..short.clone() }, &whole, &out, true);
    assert!(message.contains("another configuration"), "{message}");
    let message = refused(&short, &without(Emotion::Happy), &out, true);
    assert!(message.contains("no training clip"), "{message}");
    std::fs::write(out.join("checkpoint.safetensors"), b"{}").unwrap();
    let message = refused(&short, &whole, &out, true);
    assert!(message.contains("checkpoint.safetensors"), "{message}");
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = config(dir.path());
    let split = split(dir.path());
    let out = dir.path().join("run");
    let stop = AtomicBool::new(false);
    let watch = |progress: Progress| {
        if matches!(&progress, Progress::Epoch { row, .. } if row.epoch == 1) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    train(&config, &split, &options(&out, false), &stop, &watch).unwrap();
    // Weights that have run away.
    let path = out.join("checkpoint.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let n_header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + n_header].to_vec()).unwrap();
    let json: serde_json::Value = serde_json::from_str(&header).unwrap();
    let start = json["model/output.weight"]["data_offsets"][0].as_u64().unwrap() as usize + 8 + n_header;
    bytes[start..start + 4].copy_from_slice(&f32::MAX.to_le_bytes());
    bytes[start + 4..start + 8].copy_from_slice(&f32::MAX.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    stop.store(false, Ordering::Relaxed);
    let message = train(&config, &split, &options(&out, true), &stop, &|_| ()).unwrap_err().to_string();
    assert!(message.contains("epoch 2, step 1") && message.contains("learning_rate"), "{message}");
}
