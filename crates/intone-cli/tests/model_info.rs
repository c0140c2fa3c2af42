//! `intone model`, the real program.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod common;

use common::{LABELS, Place, code, small_model, stderr, stdout};
use intone::model::{ModelFile, Precision, WhisperEncoder};
use serde_json::Value;

#[test]
fn a_model_file_says_what_it_is() {
    let place = Place::new();
    let mut model = small_model();
    model.meta.provenance.licence = "CC BY-NC-SA 4.0".into();
    model.write(place.path("half.safetensors"), Precision::F16).unwrap();
    let output = place.intone().args(["model", "info", "half.safetensors"]).output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    let text = stdout(&output);
    for expected in
        ["vgg", "f16", "128 mel bands x 130 frames", "22050 Hz", &LABELS.join(", "), "CC BY-NC-SA"]
    {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    assert!(!text.contains('\x1b'));

    let output =
        place.intone().args(["model", "info", "--format", "json", "half.safetensors"]).output().unwrap();
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(json["precision"], "f16");
    assert_eq!(json["weights"], model.n_values());
    assert_eq!(json["bytes"], std::fs::metadata(place.path("half.safetensors")).unwrap().len());
    assert_eq!(json["labels"], serde_json::json!(LABELS));
    assert_eq!(json["architecture"]["name"], "vgg");
    assert_eq!(json["front_end"]["sample_rate_hz"], 22_050);
    assert_eq!(json["provenance"]["licence"], "CC BY-NC-SA 4.0");
}

#[test]
fn a_window_is_as_long_as_it_is() {
    let place = Place::new();
    let embedded = place.intone().args(["model", "info"]).output().unwrap();
    assert!(stdout(&embedded).contains("window        5.00 s at 16000 Hz"), "{}", stdout(&embedded));
    let reference = place.intone().args(["model", "info", "model.safetensors"]).output().unwrap();
    assert!(stdout(&reference).contains("window        3.00 s at 22050 Hz"), "{}", stdout(&reference));
}

#[test]
fn coarser_weights_say_whose_scores_they_carry() {
    let place = Place::new();
    let mut model = small_model();
    let notes = |place: &Place, precision: &str, from: &str, to: &str| {
        let args = ["model", "convert", "--precision", precision, from, to];
        let output = place.intone().args(args).output().unwrap();
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
        ModelFile::open(place.path(to)).unwrap().meta.provenance.notes
    };
    assert_eq!(notes(&place, "int8", "model.safetensors", "a.safetensors"), "", "there are no scores");
    model.meta.provenance.scores.insert("test_uar".into(), 0.6);
    model.write(place.model(), Precision::F32).unwrap();
    assert_eq!(notes(&place, "f32", "model.safetensors", "a.safetensors"), "");
    let expected = "scores are those of the weights in f32; here in int8";
    assert_eq!(notes(&place, "int8", "model.safetensors", "b.safetensors"), expected);
    assert_eq!(notes(&place, "f32", "b.safetensors", "c.safetensors"), expected, "it is no finer for that");
}

#[test]
fn the_precisions_answer_alike() {
    let place = Place::new();
    place.file("a.wav", &common::wav(&common::babble(2.0, 150.0)));
    let scores = |precision| {
        small_model().write(place.model(), precision).unwrap();
        let row = place.rows(&["a.wav"]).0.remove(0);
        LABELS.map(|label| row["scores"][label].as_f64().unwrap())
    };
    let exact = scores(Precision::F32);
    for (precision, tolerance) in [(Precision::F16, 0.002), (Precision::Int8, 0.05)] {
        let got = scores(precision);
        for (x, y) in exact.iter().zip(got) {
            assert!((x - y).abs() < tolerance, "{precision:?}: {exact:?} became {got:?}");
        }
        assert_ne!(exact, got, "{precision:?} is not exact");
    }
}

/// The published part of the goldens of Whisper's encoder.
fn published() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../intone/tests/goldens/whisper_encoder.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let all = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let encoder = all.tensors().into_iter().filter(|(name, _)| name.starts_with("model.encoder."));
    safetensors::serialize(encoder, None).unwrap()
}

#[test]
fn whispers_encoder_is_imported() {
    let place = Place::new();
    let from = place.file("model.safetensors", &published());
    let args = ["model", "import", "whisper", "model.safetensors", "--out", "encoder.safetensors"];
    let output = place.intone().args(args).output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    assert!(
        stdout(&output).starts_with("encoder.safetensors: 2 blocks of 128 values, "),
        "{}",
        stdout(&output)
    );
    let (imported, published) = (place.path("encoder.safetensors"), WhisperEncoder::open(from).unwrap());
    assert_eq!(WhisperEncoder::open(imported).unwrap(), published);

    place.file("cut.safetensors", &published_cut());
    let args = ["model", "import", "whisper", "cut.safetensors", "--out", "never.safetensors"];
    let output = place.intone().args(args).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("cut.safetensors: ") && !place.path("never.safetensors").exists());

    // Nothing of the file that it would have been written through.
    std::fs::create_dir(place.path("folder")).unwrap();
    for (out, expected) in [
        ("nowhere/x.safetensors", "nowhere/x.safetensors: there is no folder nowhere\n"),
        ("folder", "folder: expected the name of a file, got a folder\n"),
    ] {
        let args = ["model", "import", "whisper", "model.safetensors", "--out", out];
        let output = place.intone().args(args).output().unwrap();
        assert!(code(&output) == 2 && stderr(&output).ends_with(expected), "{}", stderr(&output));
    }
}

fn published_cut() -> Vec<u8> {
    let mut bytes = published();
    bytes.truncate(bytes.len() - 1);
    bytes
}

#[test]
fn an_encoder_answers_for_short_and_for_long_recordings() {
    let place = Place::new();
    common::small_encoder().write(place.model(), Precision::Int8).unwrap();
    let output = place.intone().args(["model", "info"]).arg(place.model()).output().unwrap();
    assert!(stdout(&output).contains("encoder"), "{}", stdout(&output));
    for (name, duration_s, windows) in [("blip.wav", 0.01, 1), ("short.wav", 1.3, 1), ("long.wav", 12.0, 4)] {
        place.file(name, &common::wav(&common::babble(duration_s, 150.0)));
        let row = place.rows(&[name]).0.remove(0);
        common::assert_answer(&row);
        assert_eq!(row["windows"], windows, "{row}");
    }
}
