//! Models, label encoders and parameters that Keras, scikit-learn and Python wrote, against what they say themselves.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod common;

use common::{Answers, LABELS, MODELS, close, golden, golden_path, parameters_for, softmax};
use intone::features::{Extractor, Filling, FrontEnd};
use intone::model::{Architecture, Model, ModelFile, Precision};
use intone::{Audio, Recognizer, SampleRate};
use intone_keras::{Beside, KerasModel, Labels, Parameters, Values};

/// The model file of a golden, whatever the shape of its input.
fn import(name: &str) -> ModelFile {
    let model = KerasModel::open(golden_path(name)).unwrap();
    let [n_mels, n_frames] = model.input().map(Option::unwrap);
    let parameters = Some(parameters_for(n_mels, n_frames));
    model.into_file(Beside { parameters, ..Beside::default() }).unwrap()
}

#[test]
fn every_model_answers_as_keras_does() {
    let answers = Answers::new();
    for name in MODELS {
        let (shape, x) = answers.tensor(&format!("{name}.input"));
        let (_, want) = answers.tensor(&format!("{name}.output"));
        let file = import(name);
        let [n, n_mels, n_frames] = shape[..] else { panic!("{shape:?}") };
        assert_eq!(file.meta.architecture.dimensions(), (n_mels, n_frames, 6), "{name}");
        let model = Model::new(&file.meta.architecture, file.tensors).unwrap();
        let got: Vec<f32> = model.logits(&x, n).unwrap().chunks(6).flat_map(softmax).collect();
        close(name, &got, &want, 1e-6);
    }
}

#[test]
fn a_model_file_survives_its_way_through_a_file() {
    let answers = Answers::new();
    let (_, x) = answers.tensor("mean.keras.input");
    let file = import("mean.keras");
    let read = ModelFile::read(&file.to_bytes(Precision::F32).unwrap()).unwrap();
    assert_eq!(read, file);
    assert_eq!(read.meta.labels, LABELS);
    assert!(read.meta.provenance.notes.contains("Keras 3."), "{}", read.meta.provenance.notes);
    let logits = |file: &ModelFile| {
        Model::new(&file.meta.architecture, file.tensors.clone()).unwrap().logits(&x, 2).unwrap()
    };
    assert_eq!(logits(&read), logits(&file));
    let half = ModelFile::read(&file.to_bytes(Precision::F16).unwrap()).unwrap();
    assert_eq!(logits(&half), logits(&file), "the goldens' weights are halves");
    let int8 = ModelFile::read(&file.to_bytes(Precision::Int8).unwrap()).unwrap();
    close("int8", &logits(&int8), &logits(&file), 0.05);
}

#[test]
fn label_encoders_of_every_protocol_are_read() {
    for kind in ["text", "object"] {
        for protocol in 2..=5 {
            let name = format!("labels_{kind}_{protocol}.pkl");
            assert_eq!(Labels::open(golden_path(&name)).unwrap().names(), LABELS, "{name}");
        }
    }
    // Before numpy 2 and scikit-learn 0.22 the modules had other names; protocols below 4 have them in lines.
    let replaced = |bytes: &[u8], from: &str, to: &str| {
        let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).expect("it is there");
        [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
    };
    let old = replaced(&golden("labels_object_3.pkl"), "numpy._core.", "numpy.core.");
    let old = replaced(&old, "preprocessing._label\n", "preprocessing.label\n");
    assert_eq!(Labels::read(&old).unwrap().names(), LABELS);
}

#[test]
fn the_reference_projects_parameters_are_taken_with_what_its_notebook_does() {
    let expected = FrontEnd { trim_top_db: Some(20.0), filling: Filling::Peak, ..FrontEnd::reference() };
    for protocol in 2..=5 {
        let parameters = Parameters::open(golden_path(&format!("parameters_{protocol}.pkl"))).unwrap();
        assert!(parameters.are_the_reference_projects());
        let picture = parameters.picture([Some(128), Some(130)]).unwrap();
        assert_eq!((picture.values, &picture.front_end), (Values::Standardised, &expected));
        assert_eq!(parameters.labels().unwrap().unwrap().names(), LABELS);
    }
}

#[test]
fn numpys_numbers_are_parameters_too() {
    // They have a key that is not known, and are plain data all the same.
    for protocol in 2..=5 {
        let parameters = Parameters::open(golden_path(&format!("numpy_{protocol}.pkl"))).unwrap();
        let error = parameters.picture([Some(64), Some(94)]).unwrap_err().to_string();
        let expected = format!("numpy_{protocol}.pkl: parameter `big`: 1099511627776");
        assert!(error.contains(&expected), "{error}");
    }
}

/// From the recording to the answer, as the reference project's own program gives it.
#[test]
fn recordings_are_answered_as_the_reference_project_does() {
    let answers = Answers::new();
    let file = KerasModel::open(golden_path("reference.keras"))
        .unwrap()
        .into_file(Beside {
            labels: Some(Labels::open(golden_path("labels_text_4.pkl")).unwrap()),
            parameters: Some(Parameters::open(golden_path("parameters_4.pkl")).unwrap()),
            values: None,
        })
        .unwrap();
    assert!(matches!(file.meta.architecture, Architecture::Chain(_)));
    let front_end = file.meta.front_end.clone();
    let recognizer = Recognizer::from_file(file).unwrap();
    for clip in ["three_seconds", "short", "silent_ends", "abrupt"] {
        let audio = Audio::new(answers.samples(clip), SampleRate(22_050)).unwrap();
        let scores = recognizer.recognize(&audio).unwrap();
        assert_eq!(scores.n_windows, 1, "{clip}");
        let (_, want) = answers.tensor(&format!("{clip}.output"));
        close(clip, scores.probabilities(), &want, 1e-4);
    }

    let samples = answers.samples("short");
    let mut picture = vec![0.0; 128 * 130];
    let extractor = Extractor::new(&front_end).unwrap();
    extractor.frames(&front_end.trimmed(&samples)).window(&front_end, 0, &mut picture).unwrap();
    let mean = picture.iter().map(|&x| f64::from(x)).sum::<f64>() / picture.len() as f64;
    let var = picture.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / picture.len() as f64;
    let got: Vec<f32> = picture.iter().map(|&x| ((f64::from(x) - mean) / var.sqrt()) as f32).collect();
    close("picture", &got, &answers.tensor("short.picture").1, 1e-3);
}
