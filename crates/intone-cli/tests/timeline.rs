//! `intone timeline` and `intone listen`, the real program.

mod common;

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::process::{Command, Output, Stdio};

use common::{
    LABELS, Place, RATE, WavHeader, babble, code, json_lines, small_encoder, stderr, stdout, wav, wav_of,
};
use intone::model::Precision;
use serde_json::Value;

/// Four seconds of one voice, three of nothing, four of another.
fn samples() -> Vec<f32> {
    let pause = vec![0.0; 3 * RATE as usize];
    [babble(4.0, 110.0), pause, babble(4.0, 330.0)].concat()
}

fn place() -> Place {
    let place = Place::new();
    place.file("talk.wav", &wav(&samples()));
    place
}

fn timeline(place: &Place, args: &[&str]) -> Output {
    let mut command = place.intone();
    command.args(["timeline", "--model", "model.safetensors"]).args(args);
    command.output().expect("the program runs")
}

#[test]
fn readings_cover_the_recording_and_silence_is_a_gap() {
    let place = place();
    let output = timeline(&place, &["talk.wav", "--format", "jsonl"]);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    let readings = json_lines(&output);
    let mut told_s = 0.0;
    for reading in &readings {
        assert_eq!(reading["start_s"].as_f64(), Some(told_s), "{reading}");
        told_s = reading["end_s"].as_f64().unwrap();
        let scores = reading["scores"].as_object().unwrap();
        assert_eq!(scores.len(), LABELS.len());
        assert_eq!(reading["label"].is_null(), reading["silence"] == true, "{reading}");
    }
    assert_eq!(told_s, 11.0);
    let silent = |from: f64, to: f64| {
        let inside = |reading: &&Value| {
            reading["start_s"].as_f64() >= Some(from) && reading["end_s"].as_f64() <= Some(to)
        };
        readings.iter().filter(inside).map(|reading| reading["silence"] == true).collect::<Vec<_>>()
    };
    assert_eq!(silent(4.0, 7.0), [true; 3]);
    assert_eq!((silent(0.0, 4.0), silent(7.0, 11.0)), (vec![false; 3], vec![false; 3]));
}

#[test]
fn a_recording_of_one_window_is_scored_as_by_predict() {
    let place = place();
    place.file("short.wav", &wav(&babble(2.0, 200.0)));
    let reading = json_lines(&timeline(&place, &["short.wav", "--format", "jsonl"])).remove(0);
    let row = place.rows(&["short.wav"]).0.remove(0);
    assert_eq!((&reading["scores"], &reading["label"]), (&row["scores"], &row["label"]));
}

#[test]
fn an_encoder_takes_shorter_windows_and_none_that_are_longer() {
    let place = place();
    small_encoder().write(place.model(), Precision::F32).unwrap();
    let count = |window: &str| {
        let output =
            timeline(&place, &["talk.wav", "--window", window, "--format", "jsonl", "--smoothing", "0"]);
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{window}");
        json_lines(&output)
    };
    // Windows begin every second from 0 on, and the last ends with the 11 s.
    assert_eq!([count("5").len(), count("3").len(), count("1").len()], [7, 9, 11]);
    assert_eq!(count("2.5").len(), 10);
    assert_ne!(count("5")[0]["scores"], count("3")[0]["scores"]);
    let refused = timeline(&place, &["talk.wav", "--window", "5.5"]);
    assert_eq!(code(&refused), 2);
    assert!(stderr(&refused).contains("window: expected 0.5 to 5.00 s, which this model takes, got 5.5 s"));

    place.file("short.wav", &wav(&babble(2.2, 200.0)));
    let reading = json_lines(&timeline(&place, &["short.wav", "--format", "jsonl"])).remove(0);
    let row = place.rows(&["short.wav"]).0.remove(0);
    assert_eq!((&reading["scores"], &reading["label"]), (&row["scores"], &row["label"]));
}

#[test]
fn the_forms_agree() {
    let place = place();
    let readings = json_lines(&timeline(&place, &["talk.wav", "--format", "jsonl", "--hop", "0.5"]));
    let json = stdout(&timeline(&place, &["talk.wav", "--format", "json", "--hop", "0.5"]));
    assert_eq!(serde_json::from_str::<Vec<Value>>(&json).unwrap(), readings);

    let output = timeline(&place, &["talk.wav", "--format", "csv", "--hop", "0.5"]);
    let mut reader = csv::Reader::from_reader(output.stdout.as_slice());
    let header = reader.headers().unwrap().clone();
    let expected = [&["start_s", "end_s", "label"][..], &LABELS, &["silence", "uncertain", "voice"]].concat();
    assert_eq!(header.iter().collect::<Vec<_>>(), expected);
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), readings.len());
    for (record, reading) in records.iter().zip(&readings) {
        for (name, value) in header.iter().zip(record) {
            let expected = if LABELS.contains(&name) { &reading["scores"][name] } else { &reading[name] };
            match expected {
                Value::Null => assert_eq!(value, ""),
                Value::String(text) => assert_eq!(value, text),
                Value::Number(number) => {
                    assert_eq!(value.parse::<f64>().ok(), number.as_f64(), "{name} of {reading}")
                }
                other => assert_eq!(value, other.to_string()),
            }
        }
    }

    let table = stdout(&timeline(&place, &["talk.wav", "--hop", "0.5"]));
    assert!(
        table.starts_with("0:00.0 \u{2013} ") && table.lines().last().unwrap().contains("0:11.0"),
        "{table}"
    );
    assert!(table.lines().any(|line| line.ends_with('\u{2014}')), "the pause: {table}");
    assert!(table.lines().count() < readings.len(), "neighbours with the same label are one line:\n{table}");
    let all = stdout(&timeline(&place, &["talk.wav", "--hop", "0.5", "--all"]));
    assert_eq!(all.lines().count(), readings.len());

    let svg = stdout(&timeline(&place, &["talk.wav", "--format", "svg"]));
    assert!(svg.starts_with("<svg ") && LABELS.iter().all(|label| svg.contains(label)), "{svg}");
}

#[test]
fn what_cannot_be_done_is_said() {
    let place = place();
    place.file("bad.wav", b"this is no audio");
    for (args, exit, expected) in [
        (&["missing.wav"][..], 1, "missing.wav"),
        (&["bad.wav"], 1, "bad.wav: "),
        (&["."], 1, "."),
        (&["talk.wav", "--window", "5"], 2, "window: expected 3.00 s"),
        (&["talk.wav", "--hop", "0"], 2, "hop: expected 0.1"),
        (&["talk.wav", "--hop", "nan"], 2, "hop: expected 0.1"),
        (&["talk.wav", "--smoothing=-1"], 2, "smoothing: expected 0 to 60 s"),
        (&["talk.wav", "--format", "xml"], 2, "jsonl"),
        (&[], 2, "PATH"),
    ] {
        let output = timeline(&place, args);
        assert_eq!(code(&output), exit, "{args:?}: {output:?}");
        assert!(
            stderr(&output).contains(expected) && !stderr(&output).contains("panicked"),
            "{args:?}: {output:?}"
        );
    }
}

#[test]
fn where_there_is_no_recording_tables_and_lists_are_empty() {
    let place = place();
    for (format, starts, lines) in [("json", "[", 2), ("csv", "start_s,end_s,label,", 1), ("jsonl", "", 0)] {
        let out = stdout(&timeline(&place, &["missing.wav", "--format", format]));
        assert!(out.starts_with(starts) && out.trim_end().lines().count() == lines, "{format}: {out}");
        assert!(
            format != "json"
                || serde_json::from_str::<serde_json::Value>(&out).unwrap() == serde_json::json!([])
        );
    }
}

#[test]
fn standard_input_is_read_and_a_reader_that_goes_away_is_no_error() {
    let place = place();
    let mut command = place.intone();
    command.args(["timeline", "--model", "model.safetensors", "-", "--format", "jsonl"]);
    let output = command.write_stdin(wav(&samples())).output().unwrap();
    assert_eq!(json_lines(&output), json_lines(&timeline(&place, &["talk.wav", "--format", "jsonl"])));
    let mut child = Command::new(env!("CARGO_BIN_EXE_intone"))
        .current_dir(place.path(""))
        .args(["timeline", "--model", "model.safetensors", "talk.wav", "--format", "jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut messages = String::new();
    child.stderr.take().unwrap().read_to_string(&mut messages).unwrap();
    assert_eq!((child.wait().unwrap().code(), messages.as_str()), (Some(0), ""));
}

#[test]
fn samples_on_standard_input_give_the_readings_of_the_file() {
    let place = place();
    let pcm = &wav(&samples())[44..];
    let listen = |args: &[&str], input: &[u8]| {
        let mut command = place.intone();
        command.args(["listen", "--model", "model.safetensors"]).args(args);
        command.write_stdin(input).output().unwrap()
    };
    let expected = json_lines(&timeline(&place, &["talk.wav", "--format", "jsonl", "--hop", "0.5"]));
    let output = listen(&["--format", "jsonl", "--hop", "0.5"], pcm);
    assert_eq!((json_lines(&output), code(&output)), (expected.clone(), 0));
    let table = stdout(&listen(&["--hop", "0.5"], pcm));
    assert_eq!(table.lines().count(), expected.len());
    assert!(!table.contains('\x1b'), "nothing moves where there is no terminal: {table}");
    assert_eq!(stdout(&listen(&[], &[])), "");
    assert_eq!(stdout(&listen(&[], &[1])), "", "half a sample is no sound");
    assert_eq!(code(&listen(&["--rate", "10"], &[])), 2);
}

/// The most that the program may take, kilobytes.
#[cfg(target_os = "linux")]
const LIMIT_KB: u64 = 100_000;

#[cfg(target_os = "linux")]
#[test]
fn two_hours_are_read_in_bounded_memory() {
    const DURATION_S: u32 = 7_200;
    let place = Place::new();
    let header = WavHeader { rate: 8_000, n_bytes: DURATION_S * 16_000, ..WavHeader::default() };
    let mut file = std::fs::File::create(place.path("long.wav")).unwrap();
    file.write_all(&wav_of(&header, &[])).unwrap();
    // A voice at the end of a long hole, which is silence.
    file.set_len(44 + u64::from(header.n_bytes)).unwrap();
    file.seek(SeekFrom::End(-20 * 16_000)).unwrap();
    let voice: Vec<u8> =
        babble(8.0, 150.0).iter().flat_map(|x| ((x * 32_767.0) as i16).to_le_bytes()).collect();
    file.write_all(&voice).unwrap();
    drop(file);
    let mut child = Command::new(env!("CARGO_BIN_EXE_intone"))
        .current_dir(place.path(""))
        .args(["timeline", "--model", "model.safetensors", "--format", "jsonl", "long.wav"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // What is not read yet is far more than a pipe holds, so that the program still runs when it is looked at.
    let mut lines = BufReader::with_capacity(1_024, child.stdout.take().unwrap()).lines();
    let n_early = DURATION_S as usize - 1_000;
    assert_eq!(lines.by_ref().take(n_early).map(Result::unwrap).count(), n_early);
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success());
    let last: Value = serde_json::from_str(rest.last().unwrap()).unwrap();
    assert_eq!(last["end_s"], f64::from(DURATION_S));
    assert!(rest.iter().any(|line| line.contains("\"silence\":false")), "the voice at the end");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kb: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kb < LIMIT_KB, "{peak_kb} kB at the peak");
}
