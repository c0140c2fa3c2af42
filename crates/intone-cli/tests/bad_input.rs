//! Bad input to the real program: every file gets an answer or a reason, and nothing else happens.

mod common;

use common::{
    LABELS, Place, RATE, WavHeader, assert_answer, assert_error, assert_no_panic, babble, code, fixture,
    stderr, stdout, wav, wav_of,
};
use intone::model::{ModelFile, Precision};

/// The single row for a file with these bytes, and that the exit code fits it.
fn row_of(place: &Place, name: &str, bytes: &[u8]) -> serde_json::Value {
    place.file(name, bytes);
    let (mut rows, code) = place.rows(&[name]);
    assert_eq!(rows.len(), 1, "{name}");
    let row = rows.remove(0);
    assert_eq!(row["path"], name);
    assert_eq!(code, i32::from(row.get("error").is_some()), "{name}: {row}");
    row
}

fn floats(samples: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
    wav_of(&WavHeader { format: 3, bits: 32, n_bytes: data.len() as u32, ..WavHeader::default() }, &data)
}

#[test]
fn files_that_are_no_audio_are_refused() {
    let place = Place::new();
    let noise: Vec<u8> = (0..5_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (name, bytes) in [
        ("empty.wav", &b""[..]),
        ("one-byte.wav", b"R"),
        ("text.wav", b"These are the times that try men's souls.\n".repeat(50).as_slice()),
        ("noise.wav", &noise),
        ("only-a-header.wav", &wav(&[])),
        ("model.wav", &std::fs::read(place.model()).unwrap()),
    ] {
        assert_error(&row_of(&place, name, bytes));
    }
}

#[test]
fn headers_that_cannot_be_are_refused() {
    let place = Place::new();
    let data = [1u8; 20_000];
    let n_bytes = data.len() as u32;
    for (name, header) in [
        ("no-channels.wav", WavHeader { channels: 0, n_bytes, ..WavHeader::default() }),
        ("rate-0.wav", WavHeader { rate: 0, n_bytes, ..WavHeader::default() }),
        ("rate-10-mhz.wav", WavHeader { rate: 10_000_000, n_bytes, ..WavHeader::default() }),
        ("rate-max.wav", WavHeader { rate: u32::MAX, n_bytes, ..WavHeader::default() }),
        ("bits-0.wav", WavHeader { bits: 0, n_bytes, ..WavHeader::default() }),
        ("unknown-format.wav", WavHeader { format: 0x7777, n_bytes, ..WavHeader::default() }),
    ] {
        assert_error(&row_of(&place, name, &wav_of(&header, &data)));
    }
}

#[test]
fn samples_that_are_no_numbers_are_refused_with_their_place() {
    let place = Place::new();
    for (name, bad) in [("nan", f32::NAN), ("inf", f32::INFINITY), ("-inf", f32::NEG_INFINITY)] {
        let mut samples = babble(2.0, 150.0);
        samples[20_000] = bad;
        let error = assert_error(&row_of(&place, &format!("with {name}.wav"), &floats(&samples)));
        assert!(error.contains("20000") && error.to_lowercase().contains(name), "{error}");
    }
}

#[test]
fn a_header_that_promises_four_gigabytes_is_answered_for_what_is_there() {
    let place = Place::new();
    let data = wav(&babble(2.0, 150.0)).split_off(44);
    let whole = row_of(&place, "whole.wav", &wav(&babble(2.0, 150.0)));
    for n_bytes in [0xffff_fff0, u32::MAX - 36, 1 << 31] {
        let bytes = wav_of(&WavHeader { n_bytes, ..WavHeader::default() }, &data);
        let row = row_of(&place, "huge.wav", &bytes);
        assert_answer(&row);
        assert_eq!(row["scores"], whole["scores"]);
    }
}

#[test]
fn truncated_files_are_answered_as_far_as_they_go() {
    let place = Place::new();
    for (name, bytes) in [
        ("cut.wav", wav(&babble(2.0, 150.0))),
        ("cut.flac", fixture("chirp.flac")),
        ("cut.mp3", fixture("chirp.mp3")),
    ] {
        let whole = row_of(&place, name, &bytes);
        assert_answer(&whole);
        assert!(whole.get("warnings").is_none(), "{whole}");
        // Most of the FLAC file is its header.
        let cut = row_of(&place, name, &bytes[..bytes.len() / 8 * 7]);
        assert_answer(&cut);
        let warnings = cut["warnings"].to_string();
        assert!(warnings.contains("cut short") || warnings.contains("damaged"), "{cut}");
        assert!(cut["duration_s"].as_f64() < whole["duration_s"].as_f64(), "{cut}");
        // At any other place: an answer or a reason.
        for n in (0..60).chain((60..bytes.len()).step_by(bytes.len() / 20)) {
            let row = row_of(&place, name, &bytes[..n]);
            if row.get("error").is_none() {
                assert!(row["scores"].is_object(), "{n} bytes of {name}: {row}");
            }
        }
    }
}

#[test]
fn silence_is_no_emotion() {
    let place = Place::new();
    let hiss: Vec<f32> = babble(2.0, 150.0).iter().map(|x| 0.001 * x).collect();
    for (name, samples) in [
        ("zeros.wav", vec![0.0; 3 * RATE as usize]),
        ("long.wav", vec![0.0; 30 * RATE as usize]),
        ("offset.wav", vec![0.2; 3 * RATE as usize]),
        ("hiss.wav", hiss),
    ] {
        let row = row_of(&place, name, &wav(&samples));
        assert_eq!((&row["silence"], &row["label"]), (&true.into(), &serde_json::Value::Null), "{row}");
        for label in LABELS {
            let probability = row["scores"][label].as_f64().unwrap();
            assert!((probability - 1.0 / 6.0).abs() < 1e-6, "{row}");
        }
    }
    assert!(stdout(&place.predict(&["zeros.wav"])).contains("silence"));
}

#[test]
fn ten_milliseconds_are_answered() {
    let place = Place::new();
    let voice = babble(0.5, 150.0);
    let row = row_of(&place, "short.wav", &wav(&voice[2_000..2_160]));
    assert_answer(&row);
    assert_eq!((row["duration_s"].as_f64(), row["windows"].as_u64()), (Some(0.01), Some(1)));
    assert_answer(&row_of(&place, "two-samples.wav", &wav(&[0.5, -0.5])));
}

#[test]
fn paths_that_are_no_files_are_refused() {
    let place = Place::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    std::fs::create_dir(place.path("folder.wav")).unwrap();
    place.file("texts/notes.txt", b"hello");
    let (rows, code) = place.rows(&["empty", "texts", "folder.wav", "missing.wav"]);
    assert_eq!((rows.len(), code), (4, 1));
    for (row, expected) in
        rows.iter().zip(["without audio", "without audio", "without audio", "No such file"])
    {
        let error = assert_error(row);
        assert!(error.contains(expected) && !error.contains(row["path"].as_str().unwrap()), "{row}");
    }
}

#[cfg(unix)]
#[test]
fn files_that_cannot_be_read_are_refused() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let place = Place::new();
    symlink("nowhere", place.path("dangling.wav")).unwrap();
    symlink("loop.wav", place.path("loop.wav")).unwrap();
    let secret = place.file("secret.wav", &wav(&babble(1.0, 150.0)));
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).unwrap();
    let (rows, code) = place.rows(&["dangling.wav", "loop.wav", "model.safetensors/a.wav"]);
    assert_eq!((rows.len(), code), (3, 1));
    rows.iter().for_each(|row| _ = assert_error(row));
    assert!(assert_error(&rows[2]).contains("Not a directory"), "{}", rows[2]);
    let (rows, code) = place.rows(&["secret.wav"]);
    match std::fs::File::open(&secret) {
        Err(_) => {
            assert_eq!(code, 1);
            assert!(assert_error(&rows[0]).contains("Permission denied"), "{}", rows[0]);
        }
        // The administrator may read everything.
        Ok(_) => {
            assert_eq!(code, 0);
            assert_answer(&rows[0]);
        }
    }
    let (rows, _) = place.rows(&["."]);
    assert_eq!(rows.len(), 3, "in a folder they are not passed over in silence");
}

#[cfg(target_os = "linux")]
#[test]
fn paths_that_are_not_utf8_are_opened() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.wav");
    place.file(name, &wav(&babble(1.0, 150.0)));
    for args in [vec![name], vec![std::ffi::OsStr::new(".")]] {
        let (rows, code) = place.rows(&args);
        assert_eq!((rows.len(), code), (1, 0));
        assert_answer(&rows[0]);
        assert!(rows[0]["path"].as_str().unwrap().ends_with(r"caf\xe9.wav"), "{}", rows[0]);
    }
    for (format, shown) in [("table", "caf\u{fffd}.wav"), ("csv", r"caf\xe9.wav"), ("json", r"caf\\xe9.wav")]
    {
        let output = place.predict(&[std::ffi::OsStr::new("--format"), format.as_ref(), name]);
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains(shown), "{}", stdout(&output));
    }
    // Names that differ in such a byte alone are two recordings.
    let resume = |path: &std::ffi::OsStr| {
        let all = ["--out", "rows.jsonl", "--resume"].map(std::ffi::OsStr::new);
        code(&place.predict(&[&all[..], &[path]].concat()))
    };
    let other = std::ffi::OsStr::from_bytes(b"caf\xea.wav");
    place.file(other, b"no audio");
    assert_eq!((resume(name), resume(other)), (0, 1));
    // Asked again, neither is done again, and the failure is not forgotten.
    assert_eq!((resume(name), resume(other)), (0, 1));
    let rows = std::fs::read_to_string(place.path("rows.jsonl")).unwrap();
    assert_eq!(rows.lines().count(), 2, "{rows}");
}

#[cfg(unix)]
#[test]
fn names_cannot_write_to_the_terminal() {
    let place = Place::new();
    let name = "evil\x1b[31m\n.wav";
    place.file(name, b"no audio");
    let output = place.predict(&[name]);
    assert_eq!(code(&output), 1);
    assert!(!stdout(&output).contains('\x1b') && !stderr(&output).contains('\x1b'), "{output:?}");
    let (rows, _) = place.rows(&[name]);
    assert_eq!(rows[0]["path"], name);
}

#[test]
fn files_cannot_write_to_the_terminal() {
    let place = Place::new();
    place.file("evil.csv", b"clip,corpus\x1b[31m,speaker\n");
    place.file("evil.toml", b"seed = \x1b[31m\n");
    let train = ["train", "evil.toml", "--data", ".", "--out", "run"];
    for (args, expected) in [
        (&["report", "evil.csv"][..], "intone: evil.csv: line 1: expected a column 'corpus', got"),
        // Its lines stay lines.
        (&train, "\n1 | seed = \u{fffd}[31m\n"),
    ] {
        let output = place.intone().args(args).output().unwrap();
        assert_eq!(code(&output), 2, "{output:?}");
        let message = stderr(&output);
        assert!(message.contains(expected) && message.contains("\u{fffd}[31m"), "{message}");
        assert!(!message.contains('\x1b'), "{message}");
    }
}

#[test]
fn a_pipe_that_is_no_audio_is_refused() {
    let place = Place::new();
    for bytes in [&b""[..], b"hello"] {
        let mut command = place.intone();
        command.args(["predict", "--model", "model.safetensors", "--format", "jsonl", "-"]);
        let output = command.write_stdin(bytes).output().unwrap();
        assert_eq!(code(&output), 1);
        assert_error(&common::json_lines(&output)[0]);
    }
}

#[test]
fn one_bad_file_among_a_hundred() {
    let place = Place::new();
    for n in 0..100 {
        let bytes = if n == 37 { b"no audio".to_vec() } else { wav(&babble(0.3, 80.0 + n as f32)) };
        place.file(format!("many/{n:03}.wav"), &bytes);
    }
    let (rows, code) = place.rows(&["many"]);
    assert_eq!((rows.len(), code), (100, 1));
    for (n, row) in rows.iter().enumerate() {
        assert_eq!(row["path"].as_str().unwrap().replace('\\', "/"), format!("many/{n:03}.wav"));
        match n {
            37 => _ = assert_error(row),
            _ => assert_answer(row),
        }
    }
}

/// Runs `predict` and `model info` with a bad model: both say what is wrong with it and end with 2.
fn refused_model(place: &Place, bytes: &[u8], expected: &str) {
    place.file("bad.safetensors", bytes);
    for args in
        [&["predict", "--model", "bad.safetensors", "a.wav"][..], &["model", "info", "bad.safetensors"]]
    {
        let output = place.intone().args(args).output().expect("the program runs");
        assert_no_panic(&output);
        let message = stderr(&output);
        assert_eq!((code(&output), stdout(&output).as_str()), (2, ""), "{expected}: {message}");
        assert!(message.contains("bad.safetensors"), "{message}");
        assert_eq!(message.matches(expected).count(), 1, "{expected:?} in {message}");
    }
}

#[test]
fn models_that_cannot_be_used_are_refused() {
    let place = Place::new();
    place.file("a.wav", &wav(&babble(1.0, 150.0)));
    let good = std::fs::read(place.model()).unwrap();
    refused_model(&place, b"", "only 0 bytes");
    refused_model(&place, b"this is no model at all", "header claims");
    refused_model(&place, &good[..good.len() / 2], "but there are");
    refused_model(&place, &good[..100], "but there are");

    let mut claim = good.clone();
    claim[..8].copy_from_slice(&(4u64 << 30).to_le_bytes());
    refused_model(&place, &claim, "claims 4294967296 bytes");

    // The version lies in the header as text; one digit is another version of the same length.
    let key = b"format_version\\\":1";
    let at = good.windows(key.len()).position(|window| window == key).unwrap() + key.len() - 1;
    let mut version = good.clone();
    version[at] = b'9';
    refused_model(&place, &version, "format version 9");

    let file = ModelFile::read(&good).unwrap();
    let with = |change: &dyn Fn(&mut ModelFile)| {
        let mut file = file.clone();
        change(&mut file);
        file.to_bytes(Precision::F32).unwrap()
    };
    let wrong_shape = with(&|file| {
        let tensor = file.tensors.get_mut("dense.0.weight").unwrap();
        tensor.shape.reverse();
    });
    refused_model(&place, &wrong_shape, "expected shape [16, 2048], got [2048, 16]");
    let missing = with(&|file| _ = file.tensors.remove("output.bias"));
    refused_model(&place, &missing, "`output.bias` is missing");
    let unexpected = with(&|file| {
        let tensor = file.tensors["output.bias"].clone();
        file.tensors.insert("surprise".into(), tensor);
    });
    refused_model(&place, &unexpected, "`surprise` is not part");

    let mut nan = good.clone();
    let last = nan.len() - 4;
    nan[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    refused_model(&place, &nan, "not a finite number");

    let output =
        place.intone().args(["predict", "--model", "missing.safetensors", "a.wav"]).output().unwrap();
    assert_eq!(code(&output), 2);
    assert_eq!(stderr(&output), "intone: missing.safetensors: No such file or directory (os error 2)\n");
}

#[test]
fn weights_that_overflow_give_an_error_and_no_numbers() {
    let place = Place::new();
    let mut file = common::small_model();
    for tensor in file.tensors.values_mut().filter(|tensor| tensor.shape.len() > 1) {
        tensor.data.fill(f32::MAX);
    }
    file.write(place.model(), Precision::F32).unwrap();
    let row = row_of(&place, "a.wav", &wav(&babble(1.0, 150.0)));
    assert!(assert_error(&row).contains("not a finite number"), "{row}");
}
