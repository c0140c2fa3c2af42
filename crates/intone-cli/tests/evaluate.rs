//! `intone evaluate`, `report` and `model card`, the real program on recordings made here.

mod common;

use common::{LABELS, Place, corpus, read, run};
use intone::model::{CorpusInfo, ModelFile, Precision};
use serde_json::Value;

const EVALUATE: [&str; 7] =
    ["evaluate", "model.safetensors", "--data", "data", "--protocol", "manifest", "--out"];

#[test]
fn an_evaluation_leaves_predictions_and_a_report_that_can_be_made_again() {
    let place = Place::new();
    let mut model = common::small_model();
    model.meta.uncertain_below = 0.2;
    model.write(place.model(), Precision::F32).unwrap();
    corpus(&place, 6);
    place.file("data/broken.wav", b"RIFF, it says, and nothing follows");
    let manifest = read(&place, "data/manifest.csv") + "broken.wav,sad,s5,test,male\n";
    place.file("data/manifest.csv", manifest.as_bytes());
    let (exit, out, err) = run(&place, &[&EVALUATE[..], &["run"]].concat());
    assert_eq!(exit, 1, "a clip that cannot be read: {err}");
    assert!(
        err.contains("broken.wav") && out.starts_with("36 clips of 3 speakers, test of 'manifest'"),
        "{out}{err}"
    );
    assert!(out.contains("identical audio under two names: none among the 36 decoded clips\n"), "{out}");
    assert!(out.contains("recordings of the training: not at hand, so the clips"), "{out}");
    let predictions = read(&place, "run/predictions.csv");
    let header = "clip,corpus,speaker,sex,sentence,truth,angry,disgust,fear,happy,neutral,sad";
    assert_eq!((predictions.lines().next(), predictions.lines().count()), (Some(header), 37));
    let json: Value = serde_json::from_str(&read(&place, "run/report.json")).unwrap();
    assert_eq!((json["n"].as_u64(), json["n_speakers"].as_u64()), (Some(36), Some(3)));
    assert!(json["uar"]["value"].is_f64() && json["evaluation"]["failed"][0]["clip"] == "data/broken.wav");
    assert!(json["certain"]["threshold"] == 0.2 && json["evaluation"]["uncertain_below"] == 0.2, "{json}");
    assert!(read(&place, "run/report.html").contains("confidence below 20.0 % are called uncertain"));

    let before = ["json", "md", "html"].map(|ending| read(&place, &format!("run/report.{ending}")));
    let (exit, out, err) = run(&place, &["report", "run"]);
    assert_eq!((exit, err.as_str()), (0, ""), "{out}");
    assert!(before == ["json", "md", "html"].map(|ending| read(&place, &format!("run/report.{ending}"))));

    // A foreign file is scored by the same code; its other answers differ from ours.
    let foreign: Vec<String> = predictions
        .lines()
        .enumerate()
        .map(|(i, line)| match i {
            0 => line.to_owned(),
            _ => format!("{},1,0,0,0,0,0", line.split(',').take(6).collect::<Vec<_>>().join(",")),
        })
        .collect();
    place.file("foreign.csv", foreign.join("\n").as_bytes());
    let (exit, out, err) = run(&place, &["report", "foreign.csv"]);
    assert!(exit == 0 && out.contains("UAR       16.7 %"), "{out}");
    assert!(err.contains("no report was written") && err.contains("--out DIR"), "{err}");
    let (exit, _, err) = run(&place, &["report", "run", "foreign.csv"]);
    assert!(exit == 0 && err.contains("no comparison was written"), "{err}");
    place.file("other.csv", foreign.join("\n").replace("/s3,", "/s9,").as_bytes());
    let (exit, _, err) = run(&place, &["report", "run", "other.csv"]);
    assert!(exit == 2 && err.contains("run, other.csv: data/s3-") && err.contains("speaker"), "{err}");
    let (exit, out, _) = run(&place, &["report", "run", "foreign.csv", "--out", "both"]);
    assert!(
        exit == 0 && out.contains("36 clips of 3 speakers in common") && out.contains("foreign less run"),
        "{out}"
    );
    assert!(read(&place, "both/comparison.html").contains("foreign less run"));

    // The card takes its numbers from the report, and from no report on another model.
    let card = ["model", "card", "model.safetensors", "--report", "run/report.json", "-o", "CARD.md"];
    let (exit, _, err) = run(&place, &card);
    assert_eq!((exit, err.as_str()), (0, ""));
    let text = read(&place, "CARD.md");
    assert!(
        !text.contains("{{") && text.contains("36 clips of 3 speakers") && text.contains("| sex: female |"),
        "{text}"
    );
    for expected in [
        "| UAR of the worst tenth of the speakers, mean |",
        "| answers that are not `uncertain` (confidence of 20.0 % or more): coverage; accuracy |",
        "UAR of female less that of male: ",
        "too few speakers for an interval.",
    ] {
        assert!(text.contains(expected), "no '{expected}' in {text}");
    }
    common::small_encoder().write(place.model(), Precision::F32).unwrap();
    let (exit, _, err) = run(&place, &card);
    assert!(exit == 2 && err.contains("a report on another model"), "{err}");
    place.file("empty.json", b"{\"n\": 1}");
    let (exit, _, err) =
        run(&place, &["model", "card", "model.safetensors", "--report", "empty.json", "-o", "CARD.md"]);
    assert!(exit == 2 && err.contains("empty.json") && err.contains("n_speakers"), "{err}");
}

#[test]
fn silence_is_no_answer_and_is_left_out_by_name() {
    let place = Place::new();
    corpus(&place, 6);
    // Without an emotion all probabilities are equal, and the first class would have been right.
    place.file("data/s3-angry-0.wav", &common::wav(&[0.0; 16_000]));
    let quiet: Vec<f32> = common::babble(0.6, 99.0).iter().map(|x| 0.000_1 * x).collect();
    place.file("data/s4-sad-1.wav", &common::wav(&quiet));
    let (exit, out, err) = run(&place, &[&EVALUATE[..], &["run", "--robustness=6"]].concat());
    assert_eq!((exit, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("34 clips of 3 speakers, test of 'manifest'"), "{out}");
    let names = "data/s3-angry-0.wav, data/s4-sad-1.wav";
    let reason = format!("answered as silence, which is no emotion: {names}");
    assert!(out.contains(&format!("left out, 2 clips of data: {reason}\n")), "{out}");
    let predictions = read(&place, "run/predictions.csv");
    assert!(predictions.lines().count() == 35 && !predictions.contains("s3-angry-0"), "{predictions}");
    let json: Value = serde_json::from_str(&read(&place, "run/report.json")).unwrap();
    let excluded = serde_json::json!([{ "corpus": "data", "reason": reason, "n": 2 }]);
    assert!(json["n"] == 34 && json["evaluation"]["excluded"] == excluded, "{}", json["evaluation"]);
    assert!(json["evaluation"]["failed"].as_array().unwrap().is_empty(), "{}", json["evaluation"]);
    assert!(read(&place, "run/report.html").contains(names));
}

#[test]
fn predictions_that_cannot_be_scored_are_refused_by_file_line_and_column() {
    let place = Place::new();
    let header = "clip,corpus,speaker,sex,sentence,truth,angry,disgust,fear,happy,neutral,sad\n";
    let good = "c/1,c,c/a,female,,angry,1,0,0,0,0,0\n";
    for (text, expected) in [
        ("clip,corpus\n".to_owned(), "line 1: expected a column 'speaker'"),
        (
            format!("{header}{good}c/2,c,c/a,female,,angry,0.5,0,0,0,0,0\n"),
            "line 3: columns 'angry' to 'sad': expected",
        ),
        (
            format!("{header}{good}c/2,c,c/a,female,,bored,1,0,0,0,0,0\n"),
            "line 3: column 'truth': expected one of",
        ),
        (format!("{header}{good}{good}"), "line 3: column 'clip': c/1 stands in line 2 already"),
        (format!("{header}{good}"), "column 'truth': no clip of disgust, fear, happy, neutral, sad among 1"),
    ] {
        place.file("p.csv", text.as_bytes());
        let (exit, out, err) = run(&place, &["report", "p.csv"]);
        assert!(exit == 2 && out.is_empty() && err.contains("p.csv") && err.contains(expected), "{err}");
    }
    let (exit, out, _) = run(&place, &["report", "p.csv", "--missing-classes"]);
    assert!(exit == 0 && out.contains("UAR       100.0 %\n"), "{out}");
}

#[test]
fn a_planted_leak_stops_the_evaluation_by_name() {
    let place = Place::new();
    corpus(&place, 5);
    let manifest = read(&place, "data/manifest.csv");
    let refused = |expected: &[&str]| {
        let (exit, out, err) = run(&place, &[&EVALUATE[..], &["run"]].concat());
        assert_eq!((exit, out.as_str()), (2, ""), "{err}");
        expected.iter().for_each(|part| assert!(err.contains(part), "no '{part}' in {err}"));
        assert!(!place.path("run").exists());
    };
    // A speaker on two sides.
    place.file("data/manifest.csv", manifest.replacen("s4,test", "s4,train", 1).as_bytes());
    refused(&["speaker data/s4", "train", "test"]);
    // A clip under two names: the same bytes, and the same samples in another file.
    let bytes = std::fs::read(place.path("data/s0-angry-0.wav")).unwrap();
    place.file("data/copy.wav", &bytes);
    place.file("data/manifest.csv", (manifest.clone() + "copy.wav,angry,s4,test,female\n").as_bytes());
    refused(&["leak", "copy.wav", "s0-angry-0.wav"]);
    let mut longer = bytes.clone();
    longer.extend(b"note\x02\0\0\0hi");
    let n = (longer.len() as u32 - 8).to_le_bytes();
    longer[4..8].copy_from_slice(&n);
    let same_side = std::fs::read(place.path("data/s4-angry-0.wav")).unwrap();
    assert_ne!(same_side, bytes);
    place.file("data/copy.wav", &longer);
    let split = "clip,corpus,speaker,split\ndata/s0-angry-0.wav,data,data/s0,train\n";
    place.file("split.csv", split.as_bytes());
    refused(&["leak", "copy.wav", "s0-angry-0.wav"]);
    // A model that heard one of the speakers, as the split.csv beside it says.
    place.file("data/manifest.csv", manifest.as_bytes());
    place.file("split.csv", "clip,corpus,speaker,split\nx,data,data/s3,validation\n".as_bytes());
    refused(&["leak: speaker data/s3", "validation part", "split.csv"]);
    std::fs::remove_file(place.path("split.csv")).unwrap();
    let (exit, out, err) = run(&place, &[&EVALUATE[..], &["run"]].concat());
    assert!(exit == 0 && out.contains("speakers heard in training: not known"), "{out}{err}");
}

#[test]
fn weights_are_rounded_by_what_the_training_clips_ask_for() {
    let place = Place::new();
    corpus(&place, 5);
    let mut model = common::small_encoder();
    model.meta.provenance.protocol = "loso/data/s4".into();
    model.meta.provenance.corpora = vec![CorpusInfo { name: "data".into(), ..CorpusInfo::default() }];
    model.meta.provenance.scores.insert("validation_uar".into(), 0.5);
    model.write(place.model(), Precision::F32).unwrap();
    let convert = |to: &str, data: &[&str]| {
        run(&place, &[&["model", "convert", "model.safetensors", to, "--precision", "int8"], data].concat())
    };
    assert_eq!(convert("nearest", &[]).0, 0);
    assert_eq!(convert("by-clips", &["--data", "data"]), (0, String::new(), String::new()));
    assert_eq!(convert("again", &["--data", "data"]).0, 0);
    let bytes = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert_eq!(bytes("by-clips"), bytes("again"));
    let rounded = ModelFile::open(place.path("by-clips")).unwrap();
    let notes = "scores are those of the weights in f32; here in int8 by GPTQ";
    assert_eq!((rounded.precision, rounded.meta.provenance.notes.as_str()), (Precision::Int8, notes));

    // What the network says of a speaker that it has not heard changes less.
    let logits = |model: &str| -> Vec<f32> {
        let mut file = ModelFile::open(place.path(model)).unwrap();
        file.meta.temperature = 1.0;
        let recognizer = intone::Recognizer::from_file(file).unwrap();
        let clips = LABELS.iter().map(|label| place.path(format!("data/s4-{label}-0.wav")));
        let scores = clips.map(|clip| recognizer.recognize(&intone::Audio::open(clip).unwrap()).unwrap());
        scores.flat_map(|scores| scores.probabilities().to_vec()).collect()
    };
    let exact = logits("model.safetensors");
    let change = |model: &str| logits(model).iter().zip(&exact).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
    let (by_clips, nearest) = (change("by-clips"), change("nearest"));
    assert!(by_clips < 0.3 * nearest, "{by_clips} {nearest}");

    // A clip that cannot be read is named, and the others do.
    place.file("data/s0-angry-0.wav", b"RIFF, it says, and nothing follows");
    let (exit, _, err) = convert("without-one", &["--data", "data"]);
    assert!(exit == 1 && err.contains("s0-angry-0.wav"), "{err}");
    assert_eq!(ModelFile::open(place.path("without-one")).unwrap().precision, Precision::Int8);
}

#[test]
fn what_cannot_be_rounded_by_clips_is_said() {
    let place = Place::new();
    corpus(&place, 5);
    let refused = |model: &ModelFile, precision: &str, expected: &str| {
        model.write(place.model(), Precision::F32).unwrap();
        let args =
            ["model", "convert", "model.safetensors", "out", "--data", "data", "--precision", precision];
        let (exit, out, err) = run(&place, &args);
        assert_eq!((exit, out.as_str()), (2, ""), "{err}");
        assert!(err.contains(expected), "no '{expected}' in {err}");
        assert!(!place.path("out").exists());
    };
    let mut model = common::small_encoder();
    refused(&model, "f16", "--data shows how weights are rounded to int8; f16 has no use for it");
    refused(&model, "int8", "not known, because its file does not say what it was trained on");
    model.meta.provenance.protocol = "default".into();
    model.meta.provenance.corpora = vec![CorpusInfo { name: "ravdess".into(), ..CorpusInfo::default() }];
    refused(&model, "int8", "there are none among the 60 at hand");
    let mut model = common::small_model();
    model.meta.provenance.protocol = "loso/data/s4".into();
    model.meta.provenance.corpora = vec![CorpusInfo { name: "data".into(), ..CorpusInfo::default() }];
    refused(
        &model,
        "int8",
        "model.safetensors: the network to be rounded by recordings: expected an encoder, got 'vgg'",
    );
}

#[test]
fn what_cannot_be_evaluated_is_said() {
    let place = Place::new();
    corpus(&place, 5);
    let with =
        |args: &[&str]| run(&place, &[&["evaluate", "model.safetensors", "--data", "data"], args].concat());
    for (args, expected) in [
        (&["--protocol", "nonsense"][..], "expected one of default, final, audeering, tfds, emobox/1"),
        (&["--protocol", "by-speaker/5"], "has several folds"),
        (&["--protocol", "emobox/2"], "the data lack 4 of the speakers of its test part (ravdess/04"),
        (&["--protocol", "emobox/2", "--partial"], "no clips in the test part"),
        (&["--protocol", "loso/data/s9"], "no such speaker"),
        (&["--robustness"], "--out"),
        (&["--robustness=0", "--out", "run"], "0 is not in 1.."),
    ] {
        let (exit, _, err) = with(args);
        assert!(exit == 2 && err.contains(expected), "{args:?}: {err}");
    }
    let (exit, out, err) = with(&["--protocol", "by-speaker/5/1"]);
    assert!(exit == 0 && out.contains("test of 'by-speaker/5/1/0'"), "{out}{err}");
    let manifest: Vec<String> = read(&place, "data/manifest.csv")
        .lines()
        .filter(|line| !(line.contains(",fear,") && line.contains(",test")))
        .map(str::to_owned)
        .collect();
    place.file("data/manifest.csv", manifest.join("\n").as_bytes());
    let (exit, _, err) = with(&["--protocol", "manifest"]);
    assert!(exit == 2 && err.contains("no clip of fear"), "{err}");
    assert_eq!(with(&["--protocol", "manifest", "--missing-classes"]).0, 0);
}

#[test]
fn changed_clips_have_figures_of_their_own() {
    let place = Place::new();
    corpus(&place, 5);
    let mut model = common::small_model();
    model.meta.uncertain_below = 0.01;
    model.write(place.model(), Precision::F32).unwrap();
    let (exit, _, err) = run(&place, &[&EVALUATE[..], &["run", "--robustness=12"]].concat());
    assert_eq!(exit, 0, "{err}");
    let json: Value = serde_json::from_str(&read(&place, "run/report.json")).unwrap();
    let robustness = &json["robustness"];
    assert_eq!(robustness["n"], 12);
    let kinds = robustness["kinds"].as_array().unwrap();
    let names: Vec<&str> = kinds.iter().map(|kind| kind["name"].as_str().unwrap()).collect();
    for name in [
        "white noise",
        "babble",
        "mains hum",
        "narrow band",
        "reverberation",
        "clipping",
        "gain",
        "truncation",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(kinds.len() + robustness["skipped"].as_array().unwrap().len() == 14, "{robustness}");
    let page = read(&place, "run/report.html");
    assert!(page.contains("signal-to-noise ratio") && page.contains("answers not uncertain"), "{page}");
    // With all answers certain, those that are right are as many as of all clips.
    for level in kinds.iter().flat_map(|kind| kind["levels"].as_array().unwrap()) {
        assert_eq!(level["certain"]["coverage"], 1.0, "{robustness}");
        assert_eq!(level["certain"]["accuracy"], level["accuracy"]["value"], "{robustness}");
    }
    let again = run(&place, &[&EVALUATE[..], &["again", "--robustness=12"]].concat());
    assert!(again.0 == 0 && read(&place, "again/robustness.json") == read(&place, "run/robustness.json"));

    // There is no babble without another speaker, and it is no part of the mean.
    let place = Place::new();
    corpus(&place, 4);
    let (exit, _, err) = run(&place, &[&EVALUATE[..], &["run", "--robustness=7"]].concat());
    assert_eq!(exit, 0, "{err}");
    let json: Value = serde_json::from_str(&read(&place, "run/robustness.json")).unwrap();
    let names: Vec<&str> =
        json["kinds"].as_array().unwrap().iter().map(|kind| kind["name"].as_str().unwrap()).collect();
    assert!(json["n"] == 7 && !names.contains(&"babble") && !json.to_string().contains("certain"), "{json}");
    assert!(json["skipped"].to_string().contains("babble: it takes the voices of other speakers"), "{json}");
}
