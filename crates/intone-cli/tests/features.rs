//! `intone features`, the real binary.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use tempfile::TempDir;

/// Runs `intone features` in a folder.
fn features(folder: &Path, arguments: &[&str]) -> Assert {
    let mut command = Command::cargo_bin("intone").unwrap();
    command.current_dir(folder).arg("features").args(arguments).assert()
}

fn stderr(run: &Assert) -> String {
    String::from_utf8(run.get_output().stderr.clone()).unwrap()
}

/// Writes mono samples as a WAV file of 32-bit floats, which keeps them as they are.
fn write_wav(path: impl AsRef<Path>, rate_hz: u32, samples: &[f32]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate_hz,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for &sample in samples {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
}

fn tone(n: usize) -> Vec<f32> {
    (0..n).map(|n| 0.5 * (n as f32 * 0.2).sin()).collect()
}

/// A signal of librosa's goldens (`reference/librosa_goldens.py`), its log-mel and its limits after trimming.
struct Golden {
    samples: Vec<f32>,
    shape: [usize; 2],
    log_mel: Vec<f32>,
    /// By `top_db`.
    trims: Vec<(f32, [usize; 2])>,
}

fn golden(name: &str) -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../intone/tests/goldens/librosa.safetensors");
    let bytes = fs::read(path).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let about: serde_json::Value =
        serde_json::from_str(&metadata.metadata().as_ref().unwrap()["about"]).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |part: &str| tensors.tensor(&format!("{name}.{part}")).unwrap();
    let scale = about["scales"][name].as_f64().unwrap() as f32;
    let samples = tensor("samples").data().as_chunks::<2>().0.iter();
    let limits = tensor("trim").data().as_chunks::<8>().0.iter().map(|&x| i64::from_le_bytes(x) as usize);
    let limits: Vec<usize> = limits.collect();
    let top_dbs = about["trim_top_db"].as_array().unwrap().iter().map(|db| db.as_f64().unwrap() as f32);
    Golden {
        samples: samples.map(|&x| f32::from(i16::from_le_bytes(x)) * scale).collect(),
        shape: tensor("log_mel").shape().try_into().unwrap(),
        log_mel: tensor("log_mel").data().as_chunks::<4>().0.iter().map(|&x| f32::from_le_bytes(x)).collect(),
        trims: top_dbs.zip(limits.as_chunks::<2>().0.iter().copied()).collect(),
    }
}

/// Reads a `.npy` file by the rules of `numpy.lib.format`, as far as an array of two dimensions needs them.
fn read_npy(path: impl AsRef<Path>) -> ([usize; 2], Vec<f32>) {
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()));
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header_len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!((10 + header_len) % 64, 0);
    let header = std::str::from_utf8(&bytes[10..10 + header_len]).unwrap();
    assert!(header.ends_with('\n'));
    let shape = header
        .strip_prefix("{'descr': '<f4', 'fortran_order': False, 'shape': (")
        .and_then(|rest| rest.trim_end().strip_suffix("), }"))
        .unwrap_or_else(|| panic!("{header}"));
    let (n_mels, n_frames) = shape.split_once(", ").unwrap();
    let shape = [n_mels.parse().unwrap(), n_frames.parse().unwrap()];
    let (values, rest) = bytes[10 + header_len..].as_chunks::<4>();
    assert!(rest.is_empty());
    assert_eq!(values.len(), shape[0] * shape[1]);
    (shape, values.iter().map(|&value| f32::from_le_bytes(value)).collect())
}

/// All files below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_owned())
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_array_is_librosas() {
    let folder = TempDir::new().unwrap();
    for name in ["speech", "very_short", "one_sample", "dc"] {
        let golden = golden(name);
        write_wav(folder.path().join("clip.wav"), 22_050, &golden.samples);
        features(folder.path(), &["clip.wav", "--out", "new/out"]).success().stdout("").stderr("");
        let (shape, values) = read_npy(folder.path().join("new/out/clip.npy"));
        assert_eq!(shape, golden.shape, "{name}");
        for (i, (got, want)) in values.iter().zip(&golden.log_mel).enumerate() {
            assert!((got - want).abs() <= 1e-3, "{name}: value {i} is {got} instead of {want}");
        }
    }
}

#[test]
fn whispers_array_is_whispers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../intone/tests/goldens/whisper_features.safetensors");
    let bytes = fs::read(path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let samples = tensors.tensor("quiet_then_loud.samples").unwrap();
    let samples = samples.data().as_chunks::<2>().0.iter();
    let samples: Vec<f32> = samples.map(|&x| f32::from(i16::from_le_bytes(x)) / 32_768.0).collect();
    let folder = TempDir::new().unwrap();
    write_wav(folder.path().join("a.wav"), 16_000, &samples);
    features(folder.path(), &["--front-end", "whisper", "a.wav", "--out", "out", "--png"]).success();
    let (shape, got) = read_npy(folder.path().join("out/a.npy"));
    let want = tensors.tensor("quiet_then_loud.log_mel").unwrap();
    assert_eq!(shape, want.shape());
    let want = want.data().as_chunks::<4>().0.iter().map(|&x| f32::from_le_bytes(x));
    let off = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 2e-5, "off by {off}");
    assert!(folder.path().join("out/a.png").exists());
}

#[test]
fn trimming_is_librosas() {
    let folder = TempDir::new().unwrap();
    let golden = golden("faded");
    write_wav(folder.path().join("faded.wav"), 22_050, &golden.samples);
    let mut lengths = Vec::new();
    for (top_db, [start, end]) in golden.trims {
        features(folder.path(), &["faded.wav", "--out", ".", "--trim", &top_db.to_string()]).success();
        let (shape, _) = read_npy(folder.path().join("faded.npy"));
        assert_eq!(shape, [128, 1 + (end - start) / 512], "{top_db} dB");
        lengths.push(shape[1]);
    }
    lengths.dedup();
    assert!(lengths.len() > 2, "the golden signal is one that trimming changes");
}

#[test]
fn a_long_recording_is_not_trimmed_where_the_model_would_not() {
    let folder = TempDir::new().unwrap();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../intone/models/default.safetensors");
    // Two seconds of silence before a tone: trimmed up to a minute in all, as `intone predict` does.
    for (n_tone, n_frames) in [(57 * 16_000, 5_700..5_720), (59 * 16_000, 6_100..6_101)] {
        let samples = [vec![0.0; 32_000], tone(n_tone)].concat();
        write_wav(folder.path().join("long.wav"), 16_000, &samples);
        features(folder.path(), &["long.wav", "--out", ".", "--model", model]).success();
        let (shape, _) = read_npy(folder.path().join("long.npy"));
        assert!(shape[0] == 80 && n_frames.contains(&shape[1]), "{shape:?}");
    }
    // What was asked for by itself is done.
    features(folder.path(), &["long.wav", "--out", ".", "--front-end", "whisper", "--trim", "30"]).success();
    let (shape, _) = read_npy(folder.path().join("long.npy"));
    assert!((5_900..5_920).contains(&shape[1]), "{shape:?}");
}

#[test]
fn other_rates_are_brought_to_the_front_ends() {
    let folder = TempDir::new().unwrap();
    for (rate_hz, n_samples) in [(48_000u32, 96_000), (16_000, 8_000), (8_000, 80)] {
        write_wav(folder.path().join("clip.wav"), rate_hz, &tone(n_samples));
        features(folder.path(), &["clip.wav", "--out", "."]).success();
        let resampled = (n_samples as f64 * 22_050.0 / f64::from(rate_hz)).round() as usize;
        let (shape, _) = read_npy(folder.path().join("clip.npy"));
        assert_eq!(shape, [128, 1 + resampled / 512], "{rate_hz} Hz");
    }
}

#[test]
fn a_picture_stands_beside_the_array() {
    let folder = TempDir::new().unwrap();
    write_wav(folder.path().join("clip.wav"), 22_050, &tone(22_050 * 3));
    features(folder.path(), &["clip.wav", "--out", "out", "--png"]).success();
    assert_eq!(files(&folder.path().join("out")), [Path::new("clip.npy"), Path::new("clip.png")]);
    let file = fs::File::open(folder.path().join("out/clip.png")).unwrap();
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert!(info.width > 1_200 && info.height > 512, "{} x {}", info.width, info.height);
    let brightest = pixels.as_chunks::<3>().0.iter().filter(|&&pixel| pixel == [0xfc, 0xfd, 0xbf]).count();
    assert!(brightest > 0, "the tone has the colour of the peak");
}

#[test]
fn folders_keep_their_shape() {
    let folder = TempDir::new().unwrap();
    for path in ["in/a.wav", "in/x/a.wav", "in/x/y/b.c.wav"] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_wav(path, 22_050, &tone(1_000));
    }
    fs::write(folder.path().join("in/notes.txt"), "not audio").unwrap();
    features(folder.path(), &["in", "--out", "out"]).success().stderr("");
    let want = ["a.npy", "x/a.npy", "x/y/b.c.npy"].map(PathBuf::from);
    assert_eq!(files(&folder.path().join("out")), want);
}

#[test]
fn two_recordings_never_share_a_name() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("other")).unwrap();
    for path in ["a.wav", "a.flac", "b.wav", "other/a.wav"] {
        write_wav(folder.path().join(path), 22_050, &tone(1_000));
    }
    for second in ["a.flac", "other/a.wav", "other", "a.wav"] {
        let run = features(folder.path(), &["b.wav", "a.wav", second, "--out", "out"]).code(2).stdout("");
        let message = stderr(&run);
        assert!(message.contains("a.wav and ") && message.contains("a.npy"), "{second}: {message}");
        assert!(!folder.path().join("out").exists(), "{second}: nothing is written");
    }
}

#[test]
fn one_bad_recording_stops_no_other() {
    let folder = TempDir::new().unwrap();
    let mut arguments = Vec::new();
    for i in 0..20 {
        let name = format!("{i}.wav");
        if i == 7 {
            fs::write(folder.path().join(&name), "this is text").unwrap();
        } else {
            write_wav(folder.path().join(&name), 22_050, &tone(600 + i));
        }
        arguments.push(name);
    }
    arguments.extend(["missing.wav", "--out", "out"].map(String::from));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let run = features(folder.path(), &arguments).code(1).stdout("");
    assert_eq!(files(&folder.path().join("out")).len(), 19);
    let message = stderr(&run);
    assert_eq!(message.lines().filter(|line| line.starts_with("intone: 7.wav: ")).count(), 1, "{message}");
    assert_eq!(
        message.lines().filter(|line| line.starts_with("intone: missing.wav: ")).count(),
        1,
        "{message}"
    );
    assert!(message.contains("2 of 21 recordings"), "{message}");
}

#[test]
fn a_folder_without_audio_is_an_error() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    let run = features(folder.path(), &["empty", "--out", "out"]).code(1);
    assert!(stderr(&run).starts_with("intone: empty: "), "{}", stderr(&run));
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let folder = TempDir::new().unwrap();
    write_wav(folder.path().join("a.wav"), 22_050, &tone(1_000));
    write_wav(folder.path().join("b.wav"), 22_050, &tone(1_000));
    fs::create_dir_all(folder.path().join("out/a.npy")).unwrap();
    let run = features(folder.path(), &["a.wav", "b.wav", "--out", "out"]).code(1);
    assert!(stderr(&run).contains("a.npy"), "{}", stderr(&run));
    assert!(folder.path().join("out/b.npy").is_file());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let folder = TempDir::new().unwrap();
    write_wav(folder.path().join("a.wav"), 22_050, &tone(1_000));
    fs::write(folder.path().join("file"), "").unwrap();
    let cases: [&[&str]; 8] = [
        &["--out", "out"],
        &["a.wav"],
        &["a.wav", "--out", "file"],
        &["a.wav", "--out", "out", "--trim", "-3"],
        &["a.wav", "--out", "out", "--trim", "nan"],
        &["a.wav", "--out", "out", "--trim", "many"],
        &["a.wav", "--out", "out", "--front-end", "unknown"],
        &["-", "--out", "out"],
    ];
    for arguments in cases {
        let run = features(folder.path(), arguments).code(2).stdout("");
        assert!(!stderr(&run).is_empty(), "{arguments:?}");
        assert!(!folder.path().join("out").exists(), "{arguments:?}");
    }
}

#[cfg(unix)]
#[test]
fn names_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let folder = TempDir::new().unwrap();
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe.wav");
    write_wav(folder.path().join(name), 22_050, &tone(1_000));
    let mut command = Command::cargo_bin("intone").unwrap();
    command.current_dir(folder.path()).arg("features").arg(name).args(["--out", "out"]).assert().success();
    let written = folder.path().join("out").join(std::ffi::OsStr::from_bytes(b"\xff\xfe.npy"));
    assert_eq!(read_npy(written).0, [128, 2]);
}
