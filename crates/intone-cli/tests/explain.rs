//! `intone explain`, the real program.

mod common;

use common::{Place, assert_no_panic, babble, code, stderr, stdout, wav};

#[test]
fn an_answer_is_explained_and_random_weights_give_another_picture() {
    let place = Place::new();
    place.file("a.wav", &wav(&babble(1.5, 150.0)));
    let args =
        ["explain", "a.wav", "--model", "model.safetensors", "--out", "a.png", "--random-weights", "r.svg"];
    let output = place.intone().args(args).output().unwrap();
    assert_no_panic(&output);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    let text = stdout(&output);
    let likeness: f64 =
        text.split("random weights: ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(likeness.abs() < 0.7 && text.contains("strongest evidence for it"), "{text}");
    assert!(std::fs::read(place.path("a.png")).unwrap().starts_with(b"\x89PNG"));
    let svg = std::fs::read_to_string(place.path("r.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg:.80}");
    assert!(
        svg.contains("Time (s)</text>") && svg.contains("href=\"data:image/png;base64,iVBOR"),
        "{svg:.900}"
    );
}

#[test]
fn what_cannot_be_explained_is_said() {
    let place = Place::new();
    place.file("a.wav", &wav(&babble(1.0, 150.0)));
    place.file("long.wav", &wav(&babble(40.0, 150.0)));
    place.file("silent.wav", &wav(&[0.0; 16_000]));
    place.file("bad.wav", b"no audio");
    let args = ["explain", "--model", "model.safetensors", "a.wav", "--out", "x.gif"];
    let output = place.intone().args(args).output().unwrap();
    assert!(code(&output) == 2 && stderr(&output).contains("x.gif: expected a picture's name"));
    for (args, expected) in [
        (&["long.wav"][..], "expected at most 30 s to explain"),
        (&["silent.wav"], "silence"),
        (&["bad.wav"], "bad.wav"),
        (
            &["a.wav", "--class", "bored"],
            "expected one of angry, disgust, fear, happy, neutral, sad, got 'bored'",
        ),
    ] {
        let mut command = place.intone();
        let output = command
            .args(["explain", "--model", "model.safetensors", "--out", "x.png"])
            .args(args)
            .output()
            .unwrap();
        assert_no_panic(&output);
        assert!(code(&output) == 2 && stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
        assert!(!place.path("x.png").exists());
    }
}
