//! `intone model export onnx`, the real program: ONNX Runtime, where it is at hand, gives the answers that the program gives.
//!
//! It is at hand where `INTONE_PYTHON`, or else `python3`, has `reference/requirements-onnx.txt` installed; under `CI=true`
//! it must be.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]
#![expect(clippy::print_stdout, reason = "a skipped test says so")]

mod common;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Place, babble, code, small_chain, small_encoder, small_model, stderr, stdout, wav};
use intone::model::Precision;

/// How many real recordings are compared.
const N_REAL: usize = 40;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A Python with ONNX Runtime.
fn python() -> Option<OsString> {
    let python = std::env::var_os("INTONE_PYTHON").unwrap_or_else(|| "python3".into());
    let found = Command::new(&python).args(["-c", "import numpy, onnxruntime"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let why = format!("{} has no onnxruntime: see INTONE_PYTHON in CONTRIBUTING.md", python.display());
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    println!("skipped: the comparison with ONNX Runtime, because {why}");
    None
}

/// Some of CREMA-D's recordings, where they are.
fn real_recordings() -> Vec<PathBuf> {
    let data =
        std::env::var_os("INTONE_DATA").map_or_else(|| workspace().join("../shared/data"), PathBuf::from);
    let folder = data.join("CREMA-D/AudioWAV");
    let mut found: Vec<_> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(error) => {
            println!("skipped: real recordings in the comparison, because {}: {error}", folder.display());
            return Vec::new();
        }
    };
    found.sort();
    let step = (found.len() / N_REAL).max(1);
    found.into_iter().step_by(step).collect()
}

#[test]
fn onnx_runtime_gives_the_same_answers() {
    let Some(python) = python() else { return };
    let place = Place::new();
    let mut recordings = real_recordings();
    for (i, duration_s) in [1.5, 2.3, 2.3, 0.2].into_iter().enumerate() {
        recordings.push(place.file(format!("{i}.wav"), &wav(&babble(duration_s, 110.0 + 60.0 * i as f32))));
    }
    let mut models = vec![workspace().join("crates/intone/models/default.safetensors")];
    for precision in [Precision::F32, Precision::F16, Precision::Int8] {
        for (name, mut file) in
            [("vgg", small_model()), ("chain", small_chain()), ("encoder", small_encoder())]
        {
            file.meta.temperature = 1.3;
            file.meta.gap_exponent = if precision == Precision::F16 { 1.0 } else { 0.8 };
            // One of the recordings is shorter, and the others are not.
            file.meta.short_s = if name == "encoder" && precision != Precision::Int8 { 1.0 } else { 0.0 };
            models.push(place.path(format!("{name}-{}.safetensors", precision.name())));
            file.write(models.last().unwrap(), precision).unwrap();
        }
    }
    for model in models {
        let output = Command::new(&python)
            .arg(workspace().join("reference/onnx_check.py"))
            .args(["--intone", env!("CARGO_BIN_EXE_intone"), "--tolerance", "1e-5"])
            .arg(&model)
            .args(&recordings)
            .output()
            .unwrap();
        print!("{}: {}", model.display(), stdout(&output));
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    }
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let place = Place::new();
    let export =
        |args: &[&str]| place.intone().args(["model", "export", "onnx"]).args(args).output().unwrap();
    let output = export(&["model.safetensors", "--out", "model.onnx"]);
    assert_eq!((code(&output), stderr(&output).as_str(), stdout(&output).as_str()), (0, "", ""));
    // The weights of the small model, and some kilobytes.
    let n_bytes = std::fs::metadata(place.path("model.onnx")).unwrap().len() as usize;
    let n_weights = 4 * small_model().n_values();
    assert!((n_weights..n_weights + 20_000).contains(&n_bytes), "{n_bytes} bytes for {n_weights}");

    let output = export(&["--out", "embedded.onnx"]);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));

    place.file("noise.safetensors", b"this is no model");
    let mut odd = small_model();
    odd.tensors.remove("dense.0.weight");
    odd.write(place.path("odd.safetensors"), Precision::F32).unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&["noise.safetensors", "-o", "never.onnx"], "noise.safetensors: not a usable model"),
        (
            &["odd.safetensors", "-o", "never.onnx"],
            "odd.safetensors: not a usable model: tensor `dense.0.weight` is missing",
        ),
        (&["absent.safetensors", "-o", "never.onnx"], "absent.safetensors: "),
        (&["model.safetensors", "-o", "absent/never.onnx"], "never.onnx: "),
        (&["model.safetensors"], "--out"),
    ];
    for (args, expected) in cases {
        let output = export(args);
        assert_eq!(code(&output), 2, "{args:?}: {output:?}");
        assert!(stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
    }
    let names: Vec<_> =
        std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("never")), "{names:?}");
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with('.')), "nothing half: {names:?}");
}
