//! `intone model import keras`, the real program, with the files that `reference/keras_goldens.py` wrote.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod common;

use std::process::Output;

use common::{LABELS, Place, code, stderr, stdout};
use serde_json::Value;

/// A file of the goldens, put into a place.
fn golden(place: &Place, name: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../intone-keras/tests/goldens/");
    place.file(name, &std::fs::read(format!("{path}{name}")).unwrap());
}

fn import(place: &Place, args: &[&str]) -> Output {
    let output = place.intone().args(["model", "import", "keras"]).args(args).output().unwrap();
    common::assert_no_panic(&output);
    output
}

/// The samples of a synthetic recording at 22,050 Hz, as a WAV file.
fn clip(name: &str) -> (Vec<u8>, Vec<f32>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../intone-keras/tests/goldens/answers.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let answers = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let samples = answers.tensor(&format!("{name}.samples")).unwrap();
    let format = hound::WavSpec {
        channels: 1,
        sample_rate: 22_050,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut wav, format).unwrap();
    for &bytes in samples.data().as_chunks().0 {
        writer.write_sample(i16::from_le_bytes(bytes)).unwrap();
    }
    writer.finalize().unwrap();
    let output = answers.tensor(&format!("{name}.output")).unwrap();
    (wav.into_inner(), output.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}

#[test]
fn the_reference_projects_files_answer_as_its_program_does() {
    let place = Place::new();
    for name in ["reference.keras", "labels_text_4.pkl", "parameters_4.pkl"] {
        golden(&place, name);
    }
    let output = import(
        &place,
        &[
            "reference.keras",
            "--labels",
            "labels_text_4.pkl",
            "--params",
            "parameters_4.pkl",
            "--out",
            "model.safetensors",
        ],
    );
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    let text = stdout(&output);
    for part in
        ["model.safetensors: ", &LABELS.join(", "), "standardised, trimmed at 20 dB", "with their peak"]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    for name in ["short", "abrupt"] {
        let (wav, want) = clip(name);
        place.file("clip.wav", &wav);
        let row = place.rows(&["clip.wav"]).0.remove(0);
        common::assert_answer(&row);
        for (label, want) in LABELS.iter().zip(want) {
            let got = row["scores"][label].as_f64().unwrap();
            assert!((got - f64::from(want)).abs() < 1e-4, "{name}, {label}: {got}, expected {want}");
        }
    }

    let output = place.intone().args(["model", "info", "model.safetensors"]).output().unwrap();
    let text = stdout(&output);
    for part in [
        "architecture  chain",
        "input         128 mel bands x 130 frames",
        "convolution 3 x 3, same            128 x 130 x 4",
        "maximum of 4 x 4 by 4 x 4, valid   32 x 32 x 4",
        "flattened                          384",
        "filled up     with the window's peak",
        "trimmed       20 dB below the peak",
        "Imported from Keras 3.",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let output =
        place.intone().args(["model", "info", "--format", "json", "model.safetensors"]).output().unwrap();
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(json["architecture"]["name"], "chain");
    assert_eq!(json["architecture"]["layers"][0]["kind"], "standardise");
    assert_eq!(json["front_end"]["filling"], "peak");
}

#[test]
fn an_imported_model_is_one_like_any_other() {
    let place = Place::new();
    golden(&place, "reference.keras");
    let output = import(&place, &["reference.keras", "--values", "decibels", "--out", "model.safetensors"]);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    assert!(stdout(&output).contains("values in dB"), "{}", stdout(&output));
    let convert = ["model", "convert", "--precision", "int8", "model.safetensors", "model.safetensors"];
    assert_eq!(code(&place.intone().args(convert).output().unwrap()), 0);
    place.file("a.wav", &common::wav(&common::babble(8.0, 150.0)));
    common::assert_answer(&place.rows(&["a.wav"]).0[0]);
    let timeline =
        place.intone().args(["timeline", "--model", "model.safetensors", "a.wav"]).output().unwrap();
    assert_eq!((code(&timeline), stderr(&timeline).as_str()), (0, ""));
}

#[test]
fn what_cannot_be_imported_is_named_and_nothing_is_written() {
    let place = Place::new();
    for name in ["reference.keras", "flatten.keras", "numpy_4.pkl", "labels_text_4.pkl"] {
        golden(&place, name);
    }
    place.file("cut.keras", &std::fs::read(place.path("reference.keras")).unwrap()[..5_000]);
    place.file("few.pkl", b"\x80\x02](X\x03\0\0\0sadX\x05\0\0\0angrye.");
    place.file("twice.pkl", &[b"\x80\x02](".as_slice(), &b"X\x03\0\0\0sad".repeat(6), b"e."].concat());
    place.file("no-list.pkl", b"\x80\x02}X\x07\0\0\0classesNs.");
    place.file("few-classes.pkl", b"\x80\x02}X\x07\0\0\0classes]X\x03\0\0\0sadas.");
    place.file("evil.pkl", b"cos\nsystem\n(S'touch executed'\ntR.");
    for (args, expected) in [
        (vec!["cut.keras"], "cut.keras: "),
        (vec!["labels_text_4.pkl"], "labels_text_4.pkl: expected a .keras archive or an HDF5 file"),
        (vec!["no-such-file.keras"], "no-such-file.keras: "),
        (
            vec!["flatten.keras"],
            "flatten.keras: the model's configuration: the network's input has 16 mel bands",
        ),
        (
            vec!["reference.keras", "--labels", "evil.pkl"],
            "evil.pkl: pickle, byte 11: it asks for `os.system`",
        ),
        (
            vec!["reference.keras", "--params", "evil.pkl"],
            "evil.pkl: pickle, byte 11: it asks for `os.system`",
        ),
        // The file that is named is the one at fault.
        (vec!["reference.keras", "--params", "numpy_4.pkl"], "numpy_4.pkl: parameter `big`"),
        (
            vec!["reference.keras", "--labels", "few.pkl"],
            "few.pkl: labels: 2 classes (sad, angry), but the network has 6 outputs",
        ),
        (vec!["reference.keras", "--labels", "twice.pkl"], "twice.pkl: labels: the label `sad` stands twice"),
        (
            vec!["reference.keras", "--params", "no-list.pkl"],
            "no-list.pkl: parameter `classes`: labels: expected a label encoder or a list of names, got None",
        ),
        (
            vec!["reference.keras", "--params", "few-classes.pkl"],
            "few-classes.pkl: labels: 1 classes (sad), but the network has 6 outputs",
        ),
        (
            vec!["reference.keras", "--labels", "few.pkl", "--params", "few-classes.pkl"],
            "few.pkl: labels: sad, angry; but the parameters name the classes sad",
        ),
    ] {
        let output = import(&place, &[args, vec!["--out", "never.safetensors"]].concat());
        assert_eq!(code(&output), 2);
        let text = stderr(&output);
        assert!(text.starts_with(&format!("intone: {expected}")), "{expected} in\n{text}");
        assert!(!place.path("never.safetensors").exists() && !place.path("executed").exists());
    }
}
