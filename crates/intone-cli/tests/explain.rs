//! `intone explain`, the real program.

mod common;

use common::{Place, Random, assert_no_panic, babble, code, stderr, stdout, wav};

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
    let answer = place.rows(&["a.wav"]).0.remove(0);
    let label = answer["label"].as_str().unwrap();
    let probability = answer["scores"][label].as_f64().unwrap();
    let first = format!("{label}, probability {:.1} %\n", 100.0 * probability);
    assert!(text.starts_with(&first), "{first}{text}");
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
fn a_recording_comes_from_standard_input_too() {
    let place = Place::new();
    let bytes = wav(&babble(0.8, 150.0));
    place.file("a.wav", &bytes);
    let args = ["explain", "--model", "model.safetensors", "--out", "a.png"];
    let by_name = place.intone().args(args).arg("a.wav").output().unwrap();
    let piped = place.intone().args(args).arg("-").write_stdin(bytes).output().unwrap();
    assert_eq!((code(&piped), stderr(&piped).as_str()), (0, ""));
    assert_eq!(stdout(&piped), stdout(&by_name));
}

#[test]
fn what_cannot_be_explained_is_said() {
    let place = Place::new();
    place.file("a.wav", &wav(&babble(1.0, 150.0)));
    place.file("long.wav", &wav(&babble(40.0, 150.0)));
    place.file("longer.wav", &wav(&babble(61.0, 150.0)));
    place.file("silent.wav", &wav(&[0.0; 16_000]));
    // What `intone predict` calls silence is silence.
    let mut random = Random(1);
    let noise: Vec<f32> = (0..32_000).map(|_| random.next()).collect();
    let scaled = |factor: f32| noise.iter().map(|x| factor * x).collect::<Vec<_>>();
    place.file("quiet.wav", &wav(&scaled(0.000_8)));
    place.file("room.wav", &wav(&scaled(0.003)));
    place.file("offset.wav", &wav(&[0.3; 16_000]));
    place.file("sample.wav", &wav(&[0.3]));
    place.file("bad.wav", b"no audio");
    for (args, exit, expected) in [
        (&["a.wav", "--out", "x.gif"][..], 2, "x.gif: expected a picture's name"),
        (
            &["a.wav", "--class", "bored"],
            2,
            "expected one of angry, disgust, fear, happy, neutral, sad, got 'bored'",
        ),
        (&["long.wav"], 1, "intone: long.wav: expected at most 30 s to explain, got 40.0 s"),
        (&["longer.wav"], 1, "intone: longer.wav: expected at most 30 s to explain, got more than 60 s"),
        (&["silent.wav"], 1, "intone: silent.wav: silence"),
        (&["quiet.wav"], 1, "silence"),
        (&["room.wav"], 1, "silence"),
        (&["offset.wav"], 1, "silence"),
        (&["sample.wav"], 1, "silence"),
        (&["bad.wav"], 1, "intone: bad.wav: "),
        (&["nosuch.wav"], 1, "intone: nosuch.wav: "),
    ] {
        let mut command = place.intone();
        command.args(["explain", "--model", "model.safetensors"]).args(args);
        if !args.contains(&"--out") {
            command.args(["--out", "x.png"]);
        }
        let output = command.output().unwrap();
        assert_no_panic(&output);
        assert_eq!(code(&output), exit, "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
        assert!(!place.path("x.png").exists() && stdout(&output).is_empty());
    }
}
