//! A long recording is never held decoded in memory.
#![cfg(target_os = "linux")]

mod common;

use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};

use common::{Place, WavHeader, babble, wav, wav_of};

/// Half an hour at 8 kHz; decoded and resampled to the 22,050 Hz of the model it would take 159 MB.
const DURATION_S: u32 = 1_800;

/// The most that the program may take, kilobytes.
const LIMIT_KB: u64 = 100_000;

#[test]
fn half_an_hour_is_recognised_in_bounded_memory() {
    let place = Place::new();
    let header = WavHeader { rate: 8_000, n_bytes: DURATION_S * 16_000, ..WavHeader::default() };
    let mut file = std::fs::File::create(place.path("long.wav")).unwrap();
    file.write_all(&wav_of(&header, &[])).unwrap();
    // Half a minute of something to hear at the end of a long hole, which is silence.
    file.set_len(44 + u64::from(header.n_bytes)).unwrap();
    file.seek(SeekFrom::End(-30 * 16_000)).unwrap();
    let voice: Vec<u8> =
        babble(15.0, 150.0).iter().flat_map(|x| ((x * 32_767.0) as i16).to_le_bytes()).collect();
    file.write_all(&voice).unwrap();
    drop(file);

    let (line, peak_kb) = first_answer(&place, &["--model", "model.safetensors", "--jobs", "1", "long.wav"]);
    let row: serde_json::Value = serde_json::from_str(&line).unwrap();
    common::assert_answer(&row);
    assert_eq!(row["duration_s"], f64::from(DURATION_S));
    assert!(row["windows"].as_u64() > Some(1_000), "{row}");
    assert!(peak_kb < LIMIT_KB, "{peak_kb} kB at the peak");
}

#[test]
fn the_embedded_model_takes_little_memory() {
    let place = Place::new();
    place.file("one.wav", &wav(&babble(3.0, 150.0)));
    let (line, peak_kb) = first_answer(&place, &["--jobs", "1", "one.wav"]);
    common::assert_answer(&serde_json::from_str(&line).unwrap());
    assert!(peak_kb < LIMIT_KB, "{peak_kb} kB at the peak");
}

/// The first line of `intone predict --format jsonl ARGS -`, and the most memory that it took until then, kilobytes.
fn first_answer(place: &Place, args: &[&str]) -> (String, u64) {
    // After the recording the program waits for standard input, and can be looked at.
    let mut child = Command::new(env!("CARGO_BIN_EXE_intone"))
        .current_dir(place.path(""))
        // Each thread has memory of its own.
        .env("RAYON_NUM_THREADS", "2")
        .args(["predict", "--format", "jsonl"])
        .args(args)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line).expect("an answer");
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it waits");
    drop(child.stdin.take());
    child.wait().expect("it ends");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
    (line, peak.trim().trim_end_matches(" kB").parse().expect("a number"))
}
