//! `intone train`, the real program on tones made here.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod common;

use std::path::Path;

use common::{LABELS, Place, RATE, Random, assert_no_panic, code, stderr, stdout, wav};
use intone::model::ModelFile;

/// A network that trains in a moment.
const SETTINGS: [&str; 13] = [
    "protocol=manifest",
    "front_end.n_mels=16",
    "front_end.n_frames=16",
    "front_end.n_fft=1024",
    "model.channels=[32, 32]",
    "model.convs_per_block=[1, 1]",
    "model.dense=[16]",
    "model.block_dropout=[0.1, 0.1]",
    "model.dense_dropout=[0.1]",
    "training.batch_size=5",
    "training.learning_rate=0.003",
    "training.patience=1000",
    "seed=7",
];

/// A recording of half a second: a tone whose pitch is the class, in noise.
fn tone(class: usize, speaker: usize) -> Vec<u8> {
    let pitch_hz = 200.0 * 1.6f32.powi(class as i32) * (1.0 + 0.02 * speaker as f32);
    let mut random = Random((7 * class + speaker) as u32);
    let sample = |n: u32| {
        let phase = std::f32::consts::TAU * pitch_hz * n as f32 / RATE as f32;
        0.2 * phase.sin() + 0.02 * random.next()
    };
    wav(&(0..RATE / 2).map(sample).collect::<Vec<f32>>())
}

/// Four speakers with a clip of each emotion, two of them to train on; and an experiment that says nothing.
fn place() -> Place {
    let place = Place::new();
    let mut manifest = String::from("path,label,speaker,split\n");
    for (class, label) in LABELS.iter().enumerate() {
        for (speaker, part) in ["train", "train", "validation", "test"].iter().enumerate() {
            let name = format!("{label}-{speaker}.wav");
            place.file(Path::new("data").join(&name), &tone(class, speaker));
            manifest += &format!("{name},{label},s{speaker},{part}\n");
        }
    }
    place.file("data/manifest.csv", manifest.as_bytes());
    place.file("tiny.toml", b"[training]\nmax_epochs = 2\n");
    place
}

/// `intone train tiny.toml SETTINGS MORE`.
fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let place = ["--data", "data", "--out", "run", "--cache", "cache"];
    [&["train", "tiny.toml"][..], &SETTINGS, more, &place].concat()
}

/// The exit code, and what was told.
fn train(place: &Place, more: &[&str]) -> (i32, String) {
    let output = place.intone().args(args(more)).output().unwrap();
    assert_no_panic(&output);
    assert_eq!(stdout(&output), "");
    (code(&output), stderr(&output))
}

fn read(place: &Place, name: &str) -> String {
    std::fs::read_to_string(place.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn a_run_leaves_a_model_that_answers() {
    let place = place();
    let (exit, told) = train(&place, &[]);
    assert_eq!(exit, 0, "{told}");
    for expected in [
        "train         12 clips of  2 speakers\n",
        "test           6 clips of  1 speakers\n",
        "epoch   1  loss ",
        "epoch   2  loss ",
        "; its model is run/best.safetensors\n",
        "validation accuracy ",
        "test       accuracy ",
    ] {
        assert!(told.contains(expected), "{expected:?} in\n{told}");
    }
    for name in ["split.csv", "log.csv", "curve.svg", "checkpoint.safetensors", "validation.csv"] {
        assert!(place.path("run").join(name).is_file(), "{name}");
    }
    assert_eq!(read(&place, "run/log.csv").lines().count(), 3);
    assert_eq!(read(&place, "run/predictions.csv").lines().count(), 7);
    // What was set holds, and stands beside the result.
    let config = read(&place, "run/config.toml");
    for expected in ["seed = 7\n", "batch_size = 5\n", "max_epochs = 2\n", "n_mels = 16\n"] {
        assert!(config.contains(expected), "{expected:?} in\n{config}");
    }
    let meta = ModelFile::open(place.path("run/best.safetensors")).unwrap().meta;
    assert_eq!((meta.labels.as_slice(), meta.front_end.n_mels), (&LABELS.map(String::from)[..], 16));
    assert!(meta.provenance.scores.contains_key("test_uar"), "{meta:?}");
    let predict = ["predict", "--format", "jsonl", "--model", "run/best.safetensors", "data/sad-3.wav"];
    let output = place.intone().args(predict).output().unwrap();
    common::assert_answer(&common::json_lines(&output)[0]);

    let (exit, told) = train(&place, &[]);
    assert_eq!(exit, 2);
    assert!(told.contains("it holds a run already"), "{told}");
}

#[test]
fn a_run_without_test_does_not_look_at_it() {
    let place = place();
    let (exit, told) = train(&place, &["--no-test"]);
    assert_eq!(exit, 0, "{told}");
    assert!(told.contains("validation accuracy ") && !told.contains("test       accuracy"), "{told}");
    assert!(place.path("run/validation.csv").is_file() && !place.path("run/predictions.csv").exists());
    let scores = ModelFile::open(place.path("run/best.safetensors")).unwrap().meta.provenance.scores;
    assert!(!scores.is_empty() && !scores.keys().any(|name| name.starts_with("test")), "{scores:?}");
}

#[test]
fn what_cannot_be_trained_ends_with_2_and_its_reason() {
    let place = place();
    for (more, expected) in [
        (&["--resume"][..], "intone: run: no checkpoint to resume from\n"),
        (&["training.patients=9"], "unknown field `patients`"),
        (&["training.batch_size=1"], "training.batch_size: expected 2 to 4096, got 1"),
        (&["training.max_epochs=many"], "invalid type: string \"many\""),
        (&["training.batch_size"], "expected key=value"),
        (&["protocol=nobody"], "nobody"),
        (&["--threads", "few"], "--threads"),
    ] {
        let (exit, told) = train(&place, more);
        assert_eq!(exit, 2, "{more:?}: {told}");
        assert!(told.contains(expected), "{more:?}: {expected:?} in\n{told}");
        assert!(!place.path("run").exists(), "{more:?}");
    }
    let without = |gone: &str| {
        let manifest = read(&place, "data/manifest.csv");
        let kept: Vec<&str> = manifest.lines().filter(|line| !line.starts_with(gone)).collect();
        place.file("data/manifest.csv", kept.join("\n").as_bytes());
    };
    without("fear-");
    let (exit, told) = train(&place, &[]);
    assert_eq!(exit, 2);
    assert!(told.contains("no training clip shows 'fear'"), "{told}");
}

#[cfg(unix)]
mod interrupted {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Child, ChildStderr, Command, Stdio};

    use super::*;

    /// A program that runs, and what it tells.
    struct Running {
        child: Child,
        told: BufReader<ChildStderr>,
    }

    impl Running {
        fn start(place: &Place, args: &[&str]) -> Running {
            let mut child = Command::new(env!("CARGO_BIN_EXE_intone"))
                .current_dir(place.path(""))
                .args(args)
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let told = BufReader::new(child.stderr.take().unwrap());
            Running { child, told }
        }

        /// Waits for a line that begins so.
        fn await_line(&mut self, begins: &str) {
            let mut all = String::new();
            loop {
                let at = all.len();
                assert!(self.told.read_line(&mut all).unwrap() > 0, "{begins:?} never came:\n{all}");
                if all[at..].starts_with(begins) {
                    return;
                }
            }
        }

        /// Ctrl-C.
        fn interrupt(&self) {
            let id = self.child.id().to_string();
            assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        }

        /// The exit code, and what was told since.
        fn end(mut self) -> (Option<i32>, String) {
            let mut told = String::new();
            self.told.read_to_string(&mut told).unwrap();
            (self.child.wait().unwrap().code(), told)
        }
    }

    #[test]
    fn a_run_saves_itself_and_goes_on() {
        let place = place();
        let more = ["training.max_epochs=150"];
        let mut running = Running::start(&place, &args(&more));
        running.await_line("epoch   1 ");
        running.interrupt();
        let (exit, told) = running.end();
        assert_eq!(exit, Some(1), "{told}");
        assert!(told.contains("stopping after the step that runs"), "{told}");
        assert!(told.contains("the same command with --resume goes on from there\n"), "{told}");
        assert!(place.path("run/checkpoint.safetensors").is_file());
        assert!(!place.path("run/predictions.csv").exists());

        let (exit, told) = train(&place, &[&more[..], &["--resume"]].concat());
        assert_eq!(exit, 0, "{told}");
        assert!(!told.contains("epoch   1 "), "it begins again:\n{told}");
        assert_eq!(read(&place, "run/log.csv").lines().count(), 151);
        assert_eq!(read(&place, "run/predictions.csv").lines().count(), 7);
    }

    #[test]
    fn the_second_ctrl_c_ends_it_at_once() {
        let place = place();
        // It takes a while to load: five minutes of noise, in 400,000 wide frames.
        let mut random = Random(1);
        let hiss: Vec<f32> = (0..5 * 60 * RATE).map(|_| 0.1 * random.next()).collect();
        place.file("data/sad-2.wav", &wav(&hiss));
        let train = args(&["front_end.hop_length=16", "front_end.n_fft=8192"]);
        let mut cross_validate = train.clone();
        cross_validate[0] = "cross-validate";
        cross_validate.extend(["--protocol", "manifest"]);
        for (args, begun) in [(train, "test "), (cross_validate, "manifest: ")] {
            let mut running = Running::start(&place, &args);
            running.await_line(begun);
            running.interrupt();
            running.await_line("stopping after the step that runs; Ctrl-C again stops at once");
            running.interrupt();
            let (exit, told) = running.end();
            assert_eq!((exit, told.as_str()), (Some(130), ""), "{args:?}");
        }
    }
}
