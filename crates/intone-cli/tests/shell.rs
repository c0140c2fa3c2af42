//! What shells know of the program, and how much it tells.

mod common;

use std::process::{Command as System, Stdio};

use common::{Place, babble, code, stderr, stdout, wav};

#[test]
fn completions_name_the_commands_and_are_valid_for_their_shells() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = place.intone().args(["completions", shell]).output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let text = stdout(&output);
        for word in ["predict", "cross-validate", "top"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
        let file = place.file(format!("completions.{shell}"), text.as_bytes());
        match System::new(shell).arg("-n").arg(&file).stdout(Stdio::null()).status() {
            Ok(status) => assert!(status.success(), "{shell} does not read its completions"),
            Err(_) => println!("skipped: no {shell} here to read its completions"),
        }
    }
    let output = place.intone().args(["completions", "tcsh"]).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("possible values: bash"), "{}", stderr(&output));
}

#[test]
fn every_command_has_a_manual_page() {
    let place = Place::new();
    let output = place.intone().args(["man", "--out", "man1"]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    for (page, says) in [
        ("intone.1", "intone\\-predict(1)"),
        ("intone-predict.1", "\\fB\\-\\-classes\\fR"),
        ("intone-data-fetch.1", "ravdess"),
    ] {
        let text = std::fs::read_to_string(place.path("man1").join(page)).unwrap();
        assert!(text.contains(says), "{page}: {text}");
    }
    let output = place.intone().arg("man").output().unwrap();
    assert_eq!(stdout(&output), std::fs::read_to_string(place.path("man1/intone.1")).unwrap());

    place.file("occupied", b"");
    let output = place.intone().args(["man", "--out", "occupied"]).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("occupied"), "{}", stderr(&output));
}

#[test]
fn how_much_is_told_is_the_users_choice() {
    let place = Place::new();
    place.file("a.wav", &wav(&babble(1.0, 200.0)));
    let tell = |args: &[&str], log: Option<&str>| {
        let mut command = place.intone();
        command.args(["predict", "--model", "model.safetensors", "a.wav"]).args(args).env_remove("RUST_LOG");
        if let Some(log) = log {
            command.env("RUST_LOG", log);
        }
        let output = command.output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert!(stdout(&output).contains("a.wav"));
        stderr(&output)
    };
    assert_eq!(tell(&[], None), "");
    assert_eq!(tell(&["--quiet"], None), "");
    let info = tell(&["-v"], None);
    assert!(info.contains("[INFO") && info.contains("a.wav: 1.00 s of audio"), "{info}");
    assert!(!info.contains("[DEBUG"), "{info}");
    assert!(tell(&["-vv"], None).contains("[DEBUG"));
    let chosen = tell(&[], Some("intone::audio=debug"));
    assert!(chosen.contains("Hz, 1 channels") && !chosen.contains("[INFO"), "{chosen}");

    let output = place.intone().args(["predict", "-q", "-v", "a.wav"]).output().unwrap();
    assert_eq!(code(&output), 2, "quiet and verbose at once");
}

#[test]
fn quiet_silences_notes_but_no_error() {
    let place = Place::new();
    place.file("a.wav", &wav(&babble(1.0, 200.0)));
    place.file("b.wav", b"no audio");
    let output = place.predict(&["--quiet", "a.wav", "b.wav"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("b.wav"), "{}", stderr(&output));
}
