//! Real recordings, where they are at hand: every file decodes to the length that its publishers give it.

#![expect(clippy::print_stdout, reason = "a skipped test says so")]

use std::path::{Path, PathBuf};

use intone::audio::{Audio, SampleRate};

/// The folder of the corpora: `INTONE_DATA`, or `shared/data` beside the checkout. Missing data skips a test,
/// except on the machine that decides (`CI=true`).
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("INTONE_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is missing", folder.display());
    println!("skipped: real recordings, because {} is missing", folder.display());
    None
}

#[test]
fn published_originals_decode_to_their_length() {
    let Some(data) = data() else { return };
    // Frames as the `data` chunks say; RAVDESS files carry FLLR and bext chunks, one of these is stereo.
    let cases = [
        ("CREMA-D/AudioWAV/1001_DFA_ANG_XX.wav", 16_000, 36_409),
        ("CREMA-D/AudioWAV/1002_IEO_HAP_HI.wav", 16_000, 40_040),
        ("CREMA-D/AudioWAV/1006_TIE_HAP_XX.wav", 16_000, 39_506),
        ("CREMA-D/AudioWAV/1006_TIE_NEU_XX.wav", 16_000, 39_506),
        ("CREMA-D/AudioWAV/1040_ITH_SAD_X.wav", 16_000, 43_777),
        ("RAVDESS/Actor_05/03-01-02-01-02-02-05.wav", 48_000, 203_403),
        ("RAVDESS/Actor_05/03-01-05-02-01-01-05.wav", 48_000, 163_363),
        ("RAVDESS/Actor_07/03-01-03-01-02-01-07.wav", 48_000, 163_363),
        ("RAVDESS/Actor_07/03-01-03-01-02-02-07.wav", 48_000, 163_363),
    ];
    for (name, rate, n_samples) in cases {
        let audio = Audio::open(data.join("originals").join(name)).unwrap();
        assert_eq!((audio.sample_rate(), audio.samples().len()), (SampleRate(rate), n_samples), "{name}");
        assert_eq!(audio.warnings(), [], "{name}");
        let peak = audio.samples().iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
        assert!((0.001..=1.0).contains(&peak), "{name}: {peak}");
        let resampled = audio.resample(SampleRate(22_050)).unwrap();
        assert!((resampled.duration_s() - audio.duration_s()).abs() < 0.5 / 22_050.0, "{name}");
    }
}

#[test]
fn a_sample_of_the_corpora_decodes() {
    let Some(data) = data() else { return };
    let mut files = Vec::new();
    for folder in ["CREMA-D/AudioWAV", "RAVDESS/Actor_02", "RAVDESS/Actor_15"] {
        files.extend(std::fs::read_dir(data.join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "flac"));
    files.sort();
    assert!(files.len() > 100);
    for path in files.iter().step_by(97) {
        let audio = Audio::open(path).unwrap();
        assert_eq!(
            (audio.sample_rate(), audio.warnings()),
            (SampleRate(16_000), [].as_slice()),
            "{}",
            path.display()
        );
        assert!((1.2..5.5).contains(&audio.duration_s()), "{}: {audio:?}", path.display());
    }
}
