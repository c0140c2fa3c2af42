//! `intone data` as the real binary.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests, which may panic and print")]

use std::path::{Path, PathBuf};

use assert_cmd::Command;

#[path = "../../intone-train/tests/common/server.rs"]
#[allow(dead_code, reason = "shared with the tests of intone-train, which use all of it")]
mod server;

use server::{Reply, Server};

const LFS_POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 72862\n";

/// What a run of `intone data` gave.
struct Run {
    code: i32,
    out: String,
    err: String,
}

fn intone<I: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = I>) -> Run {
    let output = Command::cargo_bin("intone").unwrap().arg("data").args(args).output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The line of a table that begins with a word, its cells.
fn cells<'a>(text: &'a str, first: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(first));
    line.unwrap_or_else(|| panic!("no line '{first}' in:\n{text}")).split_whitespace().collect()
}

/// A second of a tone; each pitch is another recording.
fn write_tone(path: &Path, hz: f32, channels: u16) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let spec = hound::WavSpec {
        channels,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for n in 0..16_000_u16 {
        let phase = f32::from(n) / 16_000.0 * hz * std::f32::consts::TAU;
        for _ in 0..channels {
            writer.write_sample((phase.sin() * 8000.0).round() as i16).unwrap();
        }
    }
    writer.finalize().unwrap();
}

/// Two actors of RAVDESS and one of CREMA-D, as published, and a surprise of TESS.
fn small_tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let names = [
        "RAVDESS/Actor_01/03-01-05-01-01-01-01.wav",
        "RAVDESS/Actor_01/03-01-02-01-01-01-01.wav",
        "RAVDESS/Actor_02/03-01-01-01-01-01-02.wav",
        "CREMA-D/AudioWAV/1001_DFA_SAD_XX.wav",
        "CREMA-D/AudioWAV/1076_MTI_SAD_XX.wav",
        "Tess/OAF_pleasant_surprised/OAF_back_ps.wav",
    ];
    for (index, name) in names.iter().enumerate() {
        write_tone(&root.path().join(name), 200.0 + 10.0 * index as f32, 1 + u16::from(index == 0));
    }
    root
}

#[test]
fn check_shows_what_is_there_what_is_not_and_why() {
    let root = small_tree();
    let run = intone(["check".as_ref(), root.path().as_os_str()]);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{}", run.out);
    assert_eq!(cells(&run.out, "RAVDESS")[..9], ["RAVDESS", "2", "2", "1", "1", "0.00", "1.0", "-", "1.0"]);
    assert_eq!(cells(&run.out, "total")[..5], ["total", "3", "3", "1", "2"]);
    for expected in [
        "3 of 1,440 recordings and 2 of 24 speakers are here",
        "Of the others, 117 recordings are missing",
        "1 file has several channels",
        "left out: 3 files",
        "pleasant surprise: none of the six emotions",
        "calm: none of the six emotions",
        "1076_MTI_SAD_XX: every sample is zero",
        "no faults",
    ] {
        assert!(run.out.contains(expected), "no '{expected}' in:\n{}", run.out);
    }
    let long = run.out.lines().filter(|line| line.chars().count() > 80 && !line.contains("/tmp"));
    assert_eq!(long.collect::<Vec<_>>(), [""; 0]);
    assert!(!run.out.contains('\x1b'));
}

#[test]
fn check_as_json_has_everything() {
    let root = small_tree();
    let run = intone(["check".as_ref(), "--format=json".as_ref(), root.path().as_os_str()]);
    assert_eq!(run.code, 0);
    let report: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(report["total"]["n_clips"], 3);
    let corpora = report["corpora"].as_array().unwrap();
    let ravdess = corpora.iter().find(|entry| entry["name"] == "ravdess").unwrap();
    assert_eq!(ravdess["emotions"]["angry"], 1);
    assert_eq!(ravdess["audio"]["total_s"], 2.0);
    assert_eq!(ravdess["audio"]["n_multichannel"], 1);
    assert_eq!(ravdess["published"]["absent_speakers"].as_array().unwrap().len(), 22);
    assert_eq!(report["excluded"].as_array().unwrap().len(), 3);
    assert_eq!(report["faults"].as_array().unwrap().len(), 0);

    let quick =
        intone(["check".as_ref(), "--format=json".as_ref(), "--quick".as_ref(), root.path().as_os_str()]);
    let report: serde_json::Value = serde_json::from_str(&quick.out).unwrap();
    assert!(report["corpora"][0]["audio"].is_null());
}

#[test]
fn check_names_faults_and_says_so_with_its_exit_code() {
    let root = tempfile::tempdir().unwrap();
    let audio = root.path().join("AudioWAV");
    for n in 0..5 {
        write_tone(&audio.join(format!("100{}_DFA_ANG_XX.wav", n + 1)), 200.0 + n as f32, 1);
    }
    std::fs::write(audio.join("1001_IEO_ANG_HI.wav"), "not audio at all, whatever the name says").unwrap();
    std::fs::write(audio.join("1001_DFA_SUR_XX.wav"), "x").unwrap();
    write_tone(&audio.join("1002_DFA_SAD_XX.wav"), 0.0, 1);
    // The same samples in a file with one more chunk at its end.
    let mut copy = std::fs::read(audio.join("1001_DFA_ANG_XX.wav")).unwrap();
    copy.extend(b"note\x02\0\0\0hi");
    let riff_bytes = (copy.len() as u32 - 8).to_le_bytes();
    copy[4..8].copy_from_slice(&riff_bytes);
    std::fs::write(audio.join("1003_DFA_ANG_XX.wav"), copy).unwrap();
    for n in 0..7 {
        std::fs::write(audio.join(format!("101{n}_DFA_ANG_XX.wav")), LFS_POINTER).unwrap();
    }
    let run = intone(["check".as_ref(), root.path().as_os_str()]);
    assert_eq!(run.code, 1, "{}", run.out);
    for expected in [
        "11 faults",
        "7 files: a Git-LFS pointer, not audio",
        "and 4 more",
        "1001_IEO_ANG_HI.wav: ",
        "emotion: expected one of ANG DIS FEA HAP NEU SAD, got 'SUR'",
        "1002_DFA_SAD_XX.wav: every sample is zero",
        "the same audio as",
    ] {
        let unwrapped = run.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(unwrapped.contains(expected), "no '{expected}' in:\n{}", run.out);
    }
}

#[test]
fn what_cannot_be_used_is_told_before_an_evaluation() {
    let root = small_tree();
    let audio = root.path().join("CREMA-D/AudioWAV");
    for n in 0..7 {
        std::fs::write(audio.join(format!("101{n}_DFA_ANG_XX.wav")), LFS_POINTER).unwrap();
    }
    let mut command = Command::cargo_bin("intone").unwrap();
    command.args(["evaluate", "--protocol=loso/ravdess/01", "--missing-classes", "--data"]).arg(root.path());
    let output = command.output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{err}");
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("1 clips of 1 speakers"));
    for expected in [
        "1010_DFA_ANG_XX.wav: a Git-LFS pointer, not audio",
        "not used: 2 files more; `intone data check` lists all",
        "left out: 3 files",
    ] {
        assert!(err.contains(expected), "no '{expected}' in:\n{err}");
    }
}

#[test]
fn check_of_nothing_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("readme.txt"), "x").unwrap();
    let run = intone(["check".as_ref(), root.path().as_os_str()]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(run.err.contains("no audio under"), "{}", run.err);
    let run = intone(["check".as_ref(), root.path().join("nowhere").as_os_str()]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("nowhere"), "{}", run.err);
    assert_eq!(intone(["check"]).code, 2);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let root = small_tree();
    for format in ["--format=table", "--format=json"] {
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("intone"))
            .args(["data", "check", format])
            .arg(root.path())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{format}");
    }
}

#[test]
fn check_of_the_real_recordings() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder =
        std::env::var_os("INTONE_DATA").map_or_else(|| workspace.join("../shared/data"), PathBuf::from);
    if !folder.join("CREMA-D").is_dir() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no speech data in {}", folder.display());
        println!("skipped: check_of_the_real_recordings, because there is nothing in {}", folder.display());
        return;
    }
    let run = intone(["check".as_ref(), "--quick".as_ref(), folder.as_os_str()]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    assert_eq!(cells(&run.out, "CREMA-D")[..5], ["CREMA-D", "6,046", "74", "35", "39"]);
    assert_eq!(cells(&run.out, "RAVDESS")[..5], ["RAVDESS", "879", "20", "11", "9"]);
    assert!(run.out.contains("Absent speakers: 01 11 20 21\n"), "{}", run.out);

    // Decoded, the nine originals: one stereo file among them, and twins on both sides of a table of faults.
    let run = intone(["check".as_ref(), folder.join("originals").as_os_str()]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    assert_eq!(cells(&run.out, "total")[1], "6");
    for expected in ["1006_TIE_HAP_XX", "03-01-03-01-02-02-07", "calm", "1040_ITH_SAD_X"] {
        assert!(run.out.contains(expected), "no '{expected}' in:\n{}", run.out);
    }
}

#[test]
fn fetch_keeps_what_is_right_and_names_what_is_missing() {
    let server = Server::start(|_| Reply::status("404 Not Found"));
    let out = tempfile::tempdir().unwrap();
    let run = intone([
        "fetch".as_ref(),
        "crema-d".as_ref(),
        "--base-url".as_ref(),
        server.url.as_ref(),
        "--out".as_ref(),
        out.path().as_os_str(),
    ]);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("7444 of 7444 files could not be fetched"), "{}", run.err);
    assert!(run.err.contains("404 Not Found") && run.err.contains("the same command goes on"), "{}", run.err);
}

#[test]
fn fetch_of_a_wrong_archive_leaves_nothing_that_looks_right() {
    let server = Server::start(|request| Reply::file(b"<html>maintenance</html>", request));
    let out = tempfile::tempdir().unwrap();
    let run = intone([
        "fetch".as_ref(),
        "ravdess".as_ref(),
        "--base-url".as_ref(),
        server.url.as_ref(),
        "--out".as_ref(),
        out.path().as_os_str(),
    ]);
    assert_eq!(run.code, 2);
    let expected = "could not fetch RAVDESS: ";
    assert!(run.err.contains(expected), "{}", run.err);
    assert!(run.err.contains("expected 208468073 bytes, the server has 24"), "{}", run.err);
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    assert_eq!(server.requests()[0].path, "Audio_Speech_Actors_01-24.zip");
}

#[test]
fn fetch_refuses_what_it_does_not_know() {
    let run = intone(["fetch", "tess"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("ravdess, crema-d"), "{}", run.err);
    let run = intone(["fetch", "crema-d", "--connections", "0"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("connections: expected 1 to 32, got 0"), "{}", run.err);
}
