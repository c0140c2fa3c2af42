//! `intone predict` on many recordings, the real program: output files, interruptions, parts.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{LABELS, Place, babble, code, json_lines, stderr, stdout, wav};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Value, json};

/// A place with `n` recordings `in/NN.wav`, one of which is none.
fn place(n: usize) -> Place {
    let place = Place::new();
    for i in 0..n {
        place.file(format!("in/{i:02}.wav"), &wav(&babble(0.5, 100.0 + i as f32)));
    }
    place.file("in/bad.wav", b"this is no audio");
    place
}

/// The rows of a Parquet file, as JSON: each column that is there under its name.
fn parquet_rows(path: &Path) -> Vec<BTreeMap<String, Value>> {
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let names: Vec<_> = reader.metadata().file_metadata().schema().get_fields().to_vec();
    let names: Vec<&str> = names.iter().map(|field| field.name()).collect();
    let behind = ["silence", "uncertain", "duration_s", "windows", "error"];
    assert_eq!(names, [&["path", "label"][..], &LABELS, &behind].concat());
    let value = |field: Field| match field {
        Field::Null => None,
        Field::Str(text) => Some(json!(text)),
        Field::Bool(value) => Some(json!(value)),
        Field::Float(value) => Some(json!(value)),
        Field::Double(value) => Some(json!(value)),
        Field::Long(value) => Some(json!(value)),
        other => panic!("{other}"),
    };
    let row = |row: parquet::record::Row| {
        row.into_columns().into_iter().filter_map(|(name, field)| Some((name, value(field)?))).collect()
    };
    reader.into_iter().map(|result| row(result.unwrap())).collect()
}

/// What a row of JSON says in those columns.
fn flat(row: &Value) -> BTreeMap<String, Value> {
    let fields = row.as_object().unwrap().clone().into_iter();
    let mut flat: BTreeMap<String, Value> = fields
        .filter(|(name, value)| !value.is_null() && name != "scores" && name != "silent_windows")
        .collect();
    for (label, score) in row["scores"].as_object().into_iter().flatten() {
        flat.insert(label.clone(), json!(score.as_f64().unwrap() as f32));
    }
    flat
}

#[test]
fn the_files_hold_what_is_printed() {
    let place = place(3);
    place.file("in/quiet.wav", &wav(&[0.0; 16_000]));
    let printed = place.predict(&["--format", "jsonl", "in"]);
    for name in ["x.jsonl", "x.csv", "x.parquet"] {
        let output = place.predict(&["--out", name, "in"]);
        assert_eq!((code(&output), stdout(&output).as_str()), (1, ""), "{name}");
        assert!(stderr(&output).contains("1 of 5 recordings could not"), "{}", stderr(&output));
    }
    assert_eq!(std::fs::read(place.path("x.jsonl")).unwrap(), printed.stdout);
    let csv = place.predict(&["--format", "csv", "in"]);
    assert_eq!(std::fs::read(place.path("x.csv")).unwrap(), csv.stdout);
    let rows: Vec<_> = json_lines(&printed).iter().map(flat).collect();
    assert_eq!(parquet_rows(&place.path("x.parquet")), rows);
    assert!(
        rows.iter().any(|row| row.contains_key("error"))
            && rows.iter().any(|row| row["path"] == "in/quiet.wav")
    );

    // The form may be named, whatever the ending.
    let output = place.predict(&["--format", "csv", "--out", "x.txt", "in"]);
    assert_eq!(code(&output), 1);
    assert_eq!(std::fs::read(place.path("x.txt")).unwrap(), csv.stdout);
}

#[test]
fn a_run_that_was_killed_goes_on() {
    let place = place(8);
    let all: Vec<String> = (0..400).map(|i| format!("in/more/{i:03}.wav")).collect();
    let recording = wav(&babble(0.5, 100.0));
    all.iter().for_each(|path| _ = place.file(path, &recording));
    let expected: Vec<_> = place.rows(&["in"]).0;
    for (name, rows) in [("x.jsonl", "x.jsonl"), ("x.csv", "x.csv"), ("x.parquet", "x.parquet.part.jsonl")] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_intone"))
            .current_dir(place.path(""))
            .args(["predict", "--model", "model.safetensors", "--jobs", "1", "--out", name, "in"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let n_bytes = || std::fs::metadata(place.path(rows)).map_or(0, |file| file.len());
        while n_bytes() < 2_000 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let output = place.predict(&["--resume", "--out", name, "in"]);
        assert!(stderr(&output).contains(&format!("of {} recordings are there already", expected.len())));
        match name {
            "x.parquet" => {
                let expected: Vec<_> = expected.iter().map(flat).collect();
                assert_eq!(parquet_rows(&place.path(name)), expected);
                assert!(!place.path(rows).exists());
            }
            "x.jsonl" => {
                let text = std::fs::read_to_string(place.path(name)).unwrap();
                let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                assert_eq!(rows, expected);
            }
            _ => {
                let csv = place.predict(&["--format", "csv", "in"]);
                assert_eq!(std::fs::read(place.path(name)).unwrap(), csv.stdout);
            }
        }
        // All is there: nothing is done, and nothing changes. The one error is still an error.
        let before = std::fs::read(place.path(name)).unwrap();
        let output = place.predict(&["--resume", "--out", name, "in"]);
        assert_eq!(code(&output), 1, "{}", stderr(&output));
        assert!(stderr(&output).contains("1 of them with an error"), "{}", stderr(&output));
        assert_eq!(std::fs::read(place.path(name)).unwrap(), before);
        // What came later is added.
        place.file("in/new.wav", &recording);
        assert_eq!(code(&place.predict(&["--resume", "--out", name, "in"])), 1);
        assert!(std::fs::read(place.path(name)).unwrap().len() > before.len());
        std::fs::remove_file(place.path("in/new.wav")).unwrap();
    }
}

#[test]
fn the_parts_are_the_whole() {
    let place = place(20);
    let whole = place.rows(&["in"]).0;
    let mut parts = Vec::new();
    for part in 1..=3 {
        parts.extend(place.rows(&["in", "--shard", &format!("{part}/3")]).0);
    }
    assert_eq!(parts.len(), whole.len());
    parts.sort_by_key(|row| row["path"].as_str().unwrap().to_owned());
    assert_eq!(parts, whole);
    let (rows, exit) = place.rows(&["in/00.wav", "--shard", "1/1"]);
    assert_eq!((rows.len(), exit), (1, 0));
    // A part may be empty: that is an empty file, and no error.
    for part in 1..=2 {
        let output = place.predict(&[
            "in/00.wav",
            "--shard",
            &format!("{part}/2"),
            "--out",
            &format!("{part}.parquet"),
        ]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
    }
    let mut sizes = [1, 2].map(|part| parquet_rows(&place.path(format!("{part}.parquet"))).len());
    sizes.sort();
    assert_eq!(sizes, [0, 1]);
}

#[test]
fn wrong_usage_ends_with_2_and_leaves_nothing() {
    let place = place(1);
    place.file("notes.jsonl", b"my notes\n");
    let cases: [(&[&str], &str); 10] = [
        (&["in", "--format", "parquet"], "--out FILE"),
        (&["in", "--out", "x.json"], "jsonl, csv or parquet"),
        (&["in", "--out", "x"], "jsonl, csv or parquet"),
        (&["in", "--format", "table", "--out", "x.csv"], "jsonl, csv or parquet"),
        (&["in", "--format", "parquet", "--embedding", "--out", "x.parquet"], "--embedding"),
        (&["in", "--resume"], "--out"),
        (&["in", "--shard", "4/3"], "I from 1 to N"),
        (&["in", "--out", "absent/x.csv"], "absent/x.csv"),
        (&["in", "--out", "notes.jsonl"], "notes.jsonl: there already; --resume goes on with it"),
        (&["in", "--resume", "--out", "notes.jsonl"], "cannot go on with notes.jsonl: line 1"),
    ];
    for (args, expected) in cases {
        let output = place.predict(args);
        assert_eq!(code(&output), 2, "{args:?}: {output:?}");
        assert!(stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
    }
    assert_eq!(std::fs::read(place.path("notes.jsonl")).unwrap(), b"my notes\n");
    let names = std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["in", "model.safetensors", "notes.jsonl"]);
}
