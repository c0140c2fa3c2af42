//! `intone predict`, the real program: what it reads, what it prints, how it ends.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{LABELS, Place, assert_answer, babble, code, json_lines, stderr, stdout, wav};
use serde_json::Value;

/// A place with three recordings: `a.wav`, `more/b.wav`, `more/c.wav`.
fn place() -> Place {
    let place = Place::new();
    place.file("a.wav", &wav(&babble(1.5, 110.0)));
    place.file("more/b.wav", &wav(&babble(3.0, 220.0)));
    place.file("more/c.wav", &wav(&babble(7.0, 330.0)));
    place
}

#[test]
fn a_json_line_has_the_promised_form() {
    let place = place();
    let output = place.predict(&["--format", "jsonl", "more/b.wav"]);
    let line = stdout(&output);
    let start = format!(
        "{{\"path\":\"more/b.wav\",\"label\":\"{}\",",
        json_lines(&output)[0]["label"].as_str().unwrap()
    );
    assert!(line.starts_with(&start), "{line}");
    let scores = line.split("\"scores\":{").nth(1).unwrap();
    let order: Vec<_> = LABELS.iter().map(|label| scores.find(&format!("\"{label}\":")).unwrap()).collect();
    assert!(order.is_sorted(), "the scores stand in the order of the labels: {line}");
    let row = &json_lines(&output)[0];
    assert_answer(row);
    assert_eq!((row["duration_s"].as_f64(), row["windows"].as_u64()), (Some(3.0), Some(1)));
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[test]
fn folders_are_searched_and_the_order_is_kept() {
    let place = place();
    let (rows, code) = place.rows(&["more", "a.wav", "more/c.wav", "--jobs", "4"]);
    let paths: Vec<_> = rows.iter().map(|row| row["path"].as_str().unwrap().replace('\\', "/")).collect();
    assert_eq!(paths, ["more/b.wav", "more/c.wav", "a.wav", "more/c.wav"]);
    assert_eq!(code, 0);
    rows.iter().for_each(assert_answer);
    assert_eq!(rows[1]["scores"], rows[3]["scores"]);
    assert!(rows[1]["windows"].as_u64() > Some(2), "all windows of the long one: {}", rows[1]);
    assert_eq!(place.rows(&["more", "a.wav", "more/c.wav", "--jobs", "1"]).0, rows);
}

#[test]
fn standard_input_gives_the_same_answer_as_the_file() {
    let place = place();
    let mut command = place.intone();
    command.args(["predict", "--model", "model.safetensors", "-f", "jsonl", "-", "more/c.wav"]);
    let output = command.write_stdin(wav(&babble(7.0, 330.0))).output().unwrap();
    let rows = json_lines(&output);
    assert_eq!(rows[0]["path"], "-");
    assert_eq!(rows[0]["scores"], rows[1]["scores"]);
    assert_answer(&rows[0]);
}

#[test]
fn the_content_decides_what_a_file_is() {
    let place = place();
    place.file("really.wav.mp3", &wav(&babble(1.5, 110.0)));
    let (rows, _) = place.rows(&["a.wav", "really.wav.mp3"]);
    assert_eq!(rows[0]["scores"], rows[1]["scores"]);
}

#[test]
fn classes_are_renormalised() {
    let place = place();
    let all = place.rows(&["a.wav"]).0.remove(0);
    let few = place.rows(&["a.wav", "--classes", "sad, angry"]).0.remove(0);
    let scores = few["scores"].as_object().unwrap();
    assert_eq!(scores.len(), 2);
    let probability = |row: &Value, label: &str| row["scores"][label].as_f64().unwrap();
    let sum = probability(&all, "angry") + probability(&all, "sad");
    for label in ["angry", "sad"] {
        let expected = probability(&all, label) / sum;
        assert!((probability(&few, label) - expected).abs() < 1e-5, "{few} of {all}");
    }
    assert!(["angry", "sad"].contains(&few["label"].as_str().unwrap()));
}

#[test]
fn embeddings_come_on_request_where_there_is_room() {
    let place = place();
    let row = &json_lines(&place.predict(&["--format", "jsonl", "--embedding", "a.wav"]))[0];
    let embedding: Vec<f64> =
        row["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert!(embedding.len() > 1 && embedding.iter().any(|x| *x != 0.0), "{row}");
    assert!(json_lines(&place.predict(&["--format", "jsonl", "a.wav"]))[0].get("embedding").is_none());
    let output = place.predict(&["--embedding", "a.wav"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("--format json"), "{}", stderr(&output));
}

#[test]
fn top_keeps_the_best() {
    let place = place();
    let all = place.rows(&["a.wav"]).0.remove(0);
    let best = place.rows(&["a.wav", "--top", "2"]).0.remove(0);
    let mut expected: Vec<_> = LABELS.map(|label| all["scores"][label].as_f64().unwrap()).to_vec();
    expected.sort_by(|a, b| b.total_cmp(a));
    let mut got: Vec<_> =
        best["scores"].as_object().unwrap().values().map(|score| score.as_f64().unwrap()).collect();
    got.sort_by(|a, b| b.total_cmp(a));
    assert_eq!(got, expected[..2]);
    assert_eq!(best["label"], all["label"]);
}

#[test]
fn the_forms_agree() {
    let place = place();
    place.file("more/bad.wav", b"this is no audio");
    let (rows, exit) = place.rows(&["more"]);
    assert_eq!(exit, 1);

    let json = place.predict(&["--format", "json", "more"]);
    assert_eq!(serde_json::from_str::<Vec<Value>>(&stdout(&json)).unwrap(), rows);
    assert_eq!(code(&json), 1);

    let output = place.predict(&["--format", "csv", "more"]);
    let mut reader = csv::Reader::from_reader(output.stdout.as_slice());
    let header = reader.headers().unwrap().clone();
    assert_eq!(header.iter().take(8).collect::<Vec<_>>(), [&["path", "label"][..], &LABELS[..]].concat());
    for (record, row) in reader.records().map(Result::unwrap).zip(&rows) {
        for (name, value) in header.iter().zip(&record) {
            let expected = match &row["scores"][name] {
                Value::Null => &row[name],
                score => score,
            };
            match expected {
                Value::Null => assert_eq!(value, "", "{name} of {row}"),
                Value::String(text) => assert_eq!(value, text, "{name} of {row}"),
                Value::Number(number) => {
                    assert!(
                        (value.parse::<f64>().unwrap() - number.as_f64().unwrap()).abs() < 1e-6,
                        "{name} of {row}"
                    );
                }
                other => assert_eq!(value, other.to_string(), "{name} of {row}"),
            }
        }
    }

    let table = place.predict(&["more"]);
    let text = stdout(&table);
    assert_eq!(text.lines().count(), 4, "a heading and three rows:\n{text}");
    for (line, row) in text.lines().skip(1).zip(&rows) {
        assert!(line.starts_with(row["path"].as_str().unwrap()), "{line}");
        match row["label"].as_str() {
            Some(label) => {
                let percent = format!("{:3.0} %", 100.0 * row["scores"][label].as_f64().unwrap());
                assert!(line.contains(label) && line.contains(&percent), "{line} for {row}");
            }
            None => assert!(line.contains(row["error"].as_str().unwrap()), "{line} for {row}"),
        }
    }
    assert!(!text.contains('\x1b'), "no colours where there is no terminal");
    assert!(
        stderr(&table).contains("more/bad.wav") && stderr(&table).contains("1 of 3"),
        "{}",
        stderr(&table)
    );
    assert_eq!(code(&table), 1);
}

#[test]
fn one_recording_is_shown_as_a_chart_of_all_classes() {
    let place = place();
    let text = stdout(&place.predict(&["a.wav"]));
    assert_eq!(text.lines().count(), 7, "{text}");
    assert!(LABELS.iter().all(|label| text.contains(label)) && text.starts_with("a.wav  1.5 s\n"), "{text}");
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_right() {
    let place = place();
    let cases: [(&[&str], &str); 8] = [
        (&["a.wav", "--classes", "angry,bored"], "angry, disgust, fear, happy, neutral, sad"),
        (&["a.wav", "--classes", ""], "angry, disgust, fear, happy, neutral, sad"),
        (&["a.wav", "--top", "0"], "--top"),
        (&["a.wav", "--jobs", "0"], "--jobs"),
        (&["a.wav", "--format", "xml"], "jsonl"),
        (&["-", "a.wav", "-"], "only once"),
        (&["a.wav", "--frob"], "--frob"),
        (&[], "PATH"),
    ];
    for (args, expected) in cases {
        let output = place.predict(args);
        assert_eq!(code(&output), 2, "{args:?}: {output:?}");
        assert!(stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = place();
    for format in ["jsonl", "json", "csv", "table"] {
        // More output than a pipe holds (64 KiB), so that the program is still writing when the reader leaves.
        let mut child = Command::new(env!("CARGO_BIN_EXE_intone"))
            .current_dir(place.path(""))
            .args(["predict", "--model", "model.safetensors", "--format", format])
            .args(vec!["a.wav"; 1_500])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(!first.is_empty());
        let mut messages = String::new();
        child.stderr.take().unwrap().read_to_string(&mut messages).unwrap();
        assert_eq!((child.wait().unwrap().code(), messages.as_str()), (Some(0), ""), "{format}");
    }
}

#[test]
fn a_reader_that_never_was_is_no_error() {
    let place = place();
    let mut child = Command::new(env!("CARGO_BIN_EXE_intone"))
        .current_dir(place.path(""))
        .args(["predict", "--model", "model.safetensors", "a.wav"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut messages = String::new();
    child.stderr.take().unwrap().read_to_string(&mut messages).unwrap();
    assert_eq!((child.wait().unwrap().code(), messages.as_str()), (Some(0), ""));
}

/// From int8 the program computes with integers where the processor can; what it says is about what the same numbers say in
/// single precision.
#[test]
fn weights_of_8_bits_say_what_their_numbers_say() {
    let place = Place::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (model, file) in
        [("encoder", "crates/intone/models/default.safetensors"), ("vgg", "models/vgg.safetensors")]
    {
        let answers = ["int8", "f32"].map(|precision| {
            // Twice, so that both have the numbers of int8.
            for (from, to, precision) in [
                (root.join(file), "int8.safetensors", "int8"),
                (place.path("int8.safetensors"), "m.safetensors", precision),
            ] {
                let mut convert = place.intone();
                convert.args(["model", "convert", "--precision", precision]).arg(from).arg(to);
                assert_eq!(code(&convert.output().unwrap()), 0);
            }
            let mut predict = place.intone();
            predict.args(["predict", "--model", "m.safetensors", "-f", "jsonl"]).arg(root.join("samples"));
            json_lines(&predict.output().unwrap())
        });
        assert_eq!(answers[0].len(), 4);
        for (int8, f32) in answers[0].iter().zip(&answers[1]) {
            for label in LABELS {
                let [a, b] = [int8, f32].map(|answer| answer["scores"][label].as_f64().unwrap());
                assert!((a - b).abs() < 2e-3, "{model}, {}, {label}: {a} and {b}", int8["path"]);
            }
        }
    }
}
