//! `intone model info`, the real program.

mod common;

use common::{LABELS, Place, code, small_model, stderr, stdout};
use intone::model::Precision;
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
