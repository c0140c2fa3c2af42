//! `intone cross-validate`, and `intone model calibrate` by its folds, the real program on recordings made here.

mod common;

use common::{Place, corpus, read, run};
use intone::model::{ModelFile, Precision};
use serde_json::Value;

/// A network that trains in a moment.
const CONFIG: &str = "[front_end]\nn_mels = 16\nn_frames = 16\nn_fft = 1024\n\
    [model]\nname = 'vgg'\nchannels = [32, 32]\nconvs_per_block = [1, 1]\ndense = [16]\n\
    block_dropout = [0.1, 0.1]\ndense_dropout = [0.1]\n\
    [training]\nbatch_size = 8\nlearning_rate = 0.003\nmax_epochs = 2\n\
    [augment]\ntime_mask_frames = 4\nfrequency_mask_bands = 2\n";

#[test]
fn a_cross_validation_goes_on_where_it_was_and_reports_on_all_folds() {
    let place = Place::new();
    corpus(&place, 6);
    place.file("tiny.toml", CONFIG.as_bytes());
    let args = ["cross-validate", "tiny.toml", "--data", "data", "--out", "cv", "--protocol", "by_speaker/3"];
    let (exit, out, err) = run(&place, &args);
    assert_eq!(exit, 0, "{err}");
    assert!(out.contains("mean over 3 folds") && out.contains("all 72 test clips of 6 speakers"), "{out}");
    let json: Value = serde_json::from_str(&read(&place, "cv/report.json")).unwrap();
    let folds = json["groups"].as_array().unwrap().iter().find(|grouping| grouping["by"] == "fold").unwrap();
    assert_eq!(folds["groups"].as_array().unwrap().len(), 3);
    assert_eq!(read(&place, "cv/folds.csv").lines().count(), 4);

    // One fold is gone and another was cut before its end: the third is not touched.
    let predictions = read(&place, "cv/predictions.csv");
    let untouched = std::fs::metadata(place.path("cv/fold-3/best.safetensors")).unwrap().modified().unwrap();
    std::fs::remove_dir_all(place.path("cv/fold-1")).unwrap();
    std::fs::remove_file(place.path("cv/fold-2/fold.json")).unwrap();
    let (exit, again, err) = run(&place, &args);
    assert_eq!(exit, 0, "{err}");
    assert_eq!((again, read(&place, "cv/predictions.csv")), (out, predictions));
    assert_eq!(
        std::fs::metadata(place.path("cv/fold-3/best.safetensors")).unwrap().modified().unwrap(),
        untouched
    );
    let (exit, _, err) = run(&place, &[&args[..], &["seed=2"]].concat());
    assert!(exit == 2 && err.contains("another configuration"), "{err}");

    // Answers that are not those of the fold's result, and an evaluation that would put others in their place.
    let answers = read(&place, "cv/fold-2/predictions.csv");
    let short = answers.lines().take(20).map(|line| format!("{line}\n")).collect::<String>();
    place.file("cv/fold-2/predictions.csv", short.as_bytes());
    let (exit, out, err) = run(&place, &args);
    assert!(exit == 2 && out.is_empty(), "{out}");
    for expected in
        ["fold-2/predictions.csv: expected the answers that fold.json beside it is of (24 clips", "(19 clips"]
    {
        assert!(err.contains(expected), "no '{expected}' in {err}");
    }
    place.file("cv/fold-2/predictions.csv", answers.as_bytes());
    for (folder, what) in [("cv/fold-2", "checkpoint.safetensors"), ("cv", "folds.csv")] {
        let evaluate =
            ["evaluate", "cv/fold-2/best.safetensors", "--data", "data", "--protocol", "by-speaker/3/2"];
        let (exit, out, err) = run(&place, &[&evaluate[..], &["--out", folder]].concat());
        assert!(
            exit == 2 && out.is_empty() && err.contains(&format!("{folder}: holds a training ({what})")),
            "{err}"
        );
    }
    assert_eq!(read(&place, "cv/fold-2/predictions.csv"), answers);

    // Fold by fold, in any order, it comes to the same; there is no report before the last one is done.
    let args =
        ["cross-validate", "tiny.toml", "--data", "data", "--out", "apart", "--protocol", "by_speaker/3"];
    for (folds, missing) in [(&["3"][..], "fold 1, 2 is not done"), (&["1", "3"], "fold 2 is not done")] {
        let (exit, out, err) = run(&place, &[&args[..], &["--fold"], folds].concat());
        assert!(exit == 0 && out.is_empty() && err.contains(missing), "{out}{err}");
        assert!(!place.path("apart/report.json").exists());
    }
    let (exit, _, err) = run(&place, &[&args[..], &["--fold", "2"]].concat());
    assert_eq!(
        (exit, read(&place, "apart/predictions.csv")),
        (0, read(&place, "cv/predictions.csv")),
        "{err}"
    );
    let (exit, _, err) = run(&place, &[&args[..], &["--fold", "4"]].concat());
    assert!(exit == 2 && err.contains("there is no fold 4: expected one of 1, 2, 3"), "{err}");
    let (exit, _, err) = run(&place, &[&args[..6], &["--protocol", "emobox"]].concat());
    assert!(exit == 2 && err.contains("emobox/1") && err.contains("ravdess/01"), "{err}");
}

/// Six speakers, four of whom a model heard and two of whom it is tested on; the model, its weights in int8; and the folds of a
/// cross-validation of its configuration.
fn calibrated() -> Place {
    let place = Place::new();
    corpus(&place, 6);
    let heard = read(&place, "data/manifest.csv").replace(",s3,test,", ",s3,train,");
    place.file("data/manifest.csv", heard.as_bytes());
    place.file("tiny.toml", CONFIG.as_bytes());
    let data = ["--data", "data", "--out"];
    for (args, out) in [
        (&["train", "tiny.toml", "protocol=manifest", "seed=3"][..], "run"),
        (&["cross-validate", "tiny.toml", "--protocol", "by-speaker/3"], "cv"),
    ] {
        let (exit, _, err) = run(&place, &[args, &data, &[out]].concat());
        assert_eq!(exit, 0, "{err}");
    }
    let convert =
        ["model", "convert", "run/best.safetensors", "run/small.safetensors", "--precision", "int8"];
    assert_eq!(run(&place, &convert).0, 0);
    place
}

const CALIBRATE: [&str; 8] =
    ["model", "calibrate", "run/small.safetensors", "--folds", "cv", "--data", "data", "--out"];

#[test]
fn confidences_are_fitted_on_the_folds_answers_to_speakers_that_the_model_knows() {
    let place = calibrated();
    let (exit, out, err) = run(&place, &[&CALIBRATE[..], &["out.safetensors"]].concat());
    assert_eq!((exit, err.as_str()), (0, ""));
    assert!(out.starts_with("48 answers to 4 speakers: UAR "), "{out}");
    let cross_entropy = |when: &str| -> f64 {
        let row = out.lines().find(|line| line.starts_with(when)).unwrap();
        row.split_whitespace().nth(5).unwrap().parse().unwrap()
    };
    assert!(cross_entropy("now") <= cross_entropy("before"), "{out}");
    let held_out: f64 = out
        .lines()
        .find_map(|line| line.strip_prefix("Each fold as the others would have it calibrated: ECE "))
        .map(|ece| ece.parse().unwrap())
        .unwrap();

    let [before, after] =
        ["run/small.safetensors", "out.safetensors"].map(|name| ModelFile::open(place.path(name)).unwrap());
    assert_eq!((&before.tensors, before.precision), (&after.tensors, after.precision));
    assert_ne!(before.meta.temperature, after.meta.temperature);
    assert!(before.meta.gap_exponent == 1.0 && after.meta.gap_exponent != 1.0, "{:?}", after.meta);
    let scores = &after.meta.provenance.scores;
    for name in ["validation_ece", "test_ece", "test_coverage"] {
        assert!(before.meta.provenance.scores.contains_key(name) && !scores.contains_key(name), "{scores:?}");
    }
    assert_eq!(scores["test_uar"], before.meta.provenance.scores["test_uar"]);
    assert_eq!((scores["folds_clips"], scores["folds_speakers"]), (48.0, 4.0));
    assert!((scores["folds_ece"] - held_out).abs() < 6e-4, "{scores:?} {out}");
    let note =
        "calibrated by 48 answers to 4 speakers, of 3 models of the same recipe that had not heard them";
    assert_eq!(after.meta.provenance.notes, format!("{}\n{note}", before.meta.provenance.notes));

    // Once more comes to the same, from the calibrated file too; what the folds say of the tested speakers has no part in it.
    assert!(read(&place, "cv/predictions.csv").contains(",data/s4,"));
    for fold in 1..=3 {
        let name = format!("cv/fold-{fold}/predictions.csv");
        // The same answers, as sure as can be.
        let changed = |line: &str| {
            let fields: Vec<&str> = line.split(',').collect();
            if !line.contains(",data/s4,") && !line.contains(",data/s5,") {
                return format!("{line}\n");
            }
            let probabilities: Vec<f64> = fields[6..].iter().map(|field| field.parse().unwrap()).collect();
            let first = |best, i| if probabilities[i] > probabilities[best] { i } else { best };
            let answer = (0..probabilities.len()).fold(0, first);
            let sure: Vec<&str> =
                (0..probabilities.len()).map(|i| if i == answer { "1" } else { "0" }).collect();
            format!("{},{}\n", fields[..6].join(","), sure.join(","))
        };
        let predictions: Vec<String> = read(&place, &name).lines().map(changed).collect();
        place.file(&name, predictions.concat().as_bytes());
    }
    std::fs::copy(place.path("out.safetensors"), place.path("run/small.safetensors")).unwrap();
    let (exit, again, err) = run(&place, &[&CALIBRATE[..], &["run/small.safetensors"]].concat());
    assert_eq!(exit, 0, "{err}");
    let now =
        |out: &str| out.lines().filter(|line| !line.starts_with("before")).collect::<Vec<_>>().join("\n");
    assert_eq!(now(&again), now(&out));
    let bytes = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert_eq!(bytes("run/small.safetensors"), bytes("out.safetensors"));
}

#[test]
fn without_folds_confidences_are_fitted_as_a_training_does() {
    let place = calibrated();
    let trained = ModelFile::open(place.path("run/best.safetensors")).unwrap();
    let mut changed = ModelFile::open(place.path("run/best.safetensors")).unwrap();
    (changed.meta.temperature, changed.meta.gap_exponent, changed.meta.uncertain_below) = (3.0, 0.7, 0.9);
    changed.meta.provenance.scores.insert("folds_ece".to_owned(), 0.1);
    changed.write(place.path("run/changed.safetensors"), Precision::F32).unwrap();
    let arguments =
        ["model", "calibrate", "run/changed.safetensors", "--data", "data", "--out", "again.safetensors"];
    let (exit, out, err) = run(&place, &arguments);
    assert_eq!((exit, err.as_str()), (0, ""));
    assert!(out.lines().count() == 5 && out.contains("\nbefore        3.000         0.700 "), "{out}");

    let again = ModelFile::open(place.path("again.safetensors")).unwrap();
    let mut expected = trained.meta;
    // What was known of the test had other confidences.
    expected.provenance.scores.retain(|name, _| {
        !["test_ece", "test_coverage", "test_accuracy_when_certain"].contains(&name.as_str())
    });
    assert_eq!((again.meta, again.tensors), (expected, trained.tensors));
}

#[test]
fn folds_that_say_nothing_of_a_model_are_refused() {
    let place = calibrated();
    let refused = |expected: &str| {
        let (exit, out, err) = run(&place, &[&CALIBRATE[..], &["out.safetensors"]].concat());
        assert!(exit == 2 && out.is_empty() && err.contains(expected), "no '{expected}' in {err}");
        assert!(!place.path("out.safetensors").exists());
    };
    let change = |name: &str, from: &str, to: &str| {
        let text = read(&place, name);
        assert!(text.contains(from), "{text}");
        place.file(name, text.replace(from, to).as_bytes());
    };
    change("cv/fold-2/fold.json", "batch_size = 8", "batch_size = 9");
    refused("cv: fold 'by-speaker/3/2/0' is of another recipe than the model");
    change("cv/fold-2/fold.json", "batch_size = 9", "batch_size = 8");
    change("cv/fold-2/fold.json", "\"temperature\"", "\"warmth\"");
    refused("fold.json: ");
    change("cv/fold-2/fold.json", "\"warmth\"", "\"temperature\"");
    change("cv/fold-2/predictions.csv", ",sad\n", ",blue\n");
    refused("predictions.csv: line 1: expected a column 'sad'");
    change("cv/fold-2/predictions.csv", ",blue\n", ",sad\n");
    // Of other speakers than those that the model heard.
    let folds = [1, 2, 3].map(|fold| format!("cv/fold-{fold}/predictions.csv"));
    let answers = folds.each_ref().map(|name| read(&place, name));
    for (name, text) in folds.iter().zip(&answers) {
        place.file(name, text.replace(",data/s", ",data/other").as_bytes());
    }
    refused("cv: expected answers to speakers of the model's training or validation part, found none");
    for (name, text) in folds.iter().zip(&answers) {
        place.file(name, text.as_bytes());
    }
    for fold in 1..=3 {
        std::fs::remove_file(place.path(format!("cv/fold-{fold}/fold.json"))).unwrap();
    }
    refused("cv: expected folds of `intone cross-validate` that are done");
    std::fs::remove_dir_all(place.path("cv")).unwrap();
    refused("cv: ");
    // Nobody knows whom this one heard.
    common::small_model().write(place.path("run/small.safetensors"), intone::model::Precision::F32).unwrap();
    std::fs::remove_file(place.path("run/split.csv")).unwrap();
    refused("not known, because its file does not say what it was trained on");
}
