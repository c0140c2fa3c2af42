//! Models from a server with the routes of the Hugging Face hub, the real program.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod common;
#[path = "../../intone-train/tests/common/server.rs"]
#[expect(dead_code, reason = "shared with the tests of intone-train, which use all of it")]
mod server;

use std::process::Output;

use common::{Place, assert_answer, babble, code, json_lines, small_model, stderr, stdout, wav};
use intone::model::Precision;
use server::{Reply, Server};

const COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";

/// A server with a repository `me/emotions`, whose only model file has this content.
fn server(content: Vec<u8>) -> Server {
    let size = content.len();
    // As for a file that is not kept apart: with git's hash.
    let list = format!(
        r#"{{"sha":"{COMMIT}","siblings":[{{"rfilename":"model.safetensors","size":{size},"blobId":"{COMMIT}"}}]}}"#
    );
    Server::start(move |request| match request.path.as_str() {
        "api/models/me/emotions/revision/main?blobs=true" => Reply::whole(list.as_bytes()),
        path if path == format!("me/emotions/resolve/{COMMIT}/model.safetensors") => {
            Reply::file(&content, request)
        }
        _ => Reply::status("404 Not Found"),
    })
}

fn intone(place: &Place, endpoint: &str, args: &[&str]) -> Output {
    let mut command = place.intone();
    for name in ["HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"] {
        command.env_remove(name);
    }
    command.env("HF_ENDPOINT", endpoint).env("HF_HOME", place.path("hf")).args(args).output().unwrap()
}

#[test]
fn a_model_on_the_hub_is_as_good_as_a_file() {
    let place = Place::new();
    place.file("a.wav", &wav(&babble(1.5, 110.0)));
    let server = server(small_model().to_bytes(Precision::F32).unwrap());
    let args = ["predict", "--format", "jsonl", "--model", "hf:me/emotions", "a.wav"];
    let output = intone(&place, &server.url, &args);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    assert_answer(&json_lines(&output)[0]);
    assert_eq!(stdout(&output), stdout(&place.predict(&["--format", "jsonl", "a.wav"])));
    assert_eq!(server.requests().len(), 2, "{:?}", server.requests());
    let path = format!("hf/hub/models--me--emotions/snapshots/{COMMIT}/model.safetensors");
    assert!(place.path(path).exists());

    // Without a network, for every command that takes a model.
    let nowhere = "http://127.0.0.1:9";
    assert_eq!(stdout(&intone(&place, nowhere, &args)), stdout(&output));
    for args in [
        &["model", "info", "hf:me/emotions"][..],
        &["model", "export", "onnx", "hf:me/emotions", "--out", "x.onnx"],
        &["model", "convert", "hf:me/emotions", "x.safetensors", "--precision", "int8"],
        &["timeline", "--model", "hf:me/emotions", "a.wav"],
        &["explain", "--model", "hf:me/emotions", "a.wav", "--out", "x.png"],
        &["features", "--model", "hf:me/emotions", "a.wav", "--out", "x"],
    ] {
        let output = intone(&place, nowhere, args);
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn errors_name_what_was_asked_and_what_came() {
    let place = Place::new();
    place.file("a.wav", &wav(&babble(1.5, 110.0)));
    let server = server(b"this is no model".to_vec());
    let cases = [
        (
            server.url.as_str(),
            "hf:me/emotions",
            "model.safetensors: not a usable model: not a safetensors file",
        ),
        (server.url.as_str(), "hf:me/emotions@v9", "hf:me/emotions@v9: no such repository or revision 'v9'"),
        (server.url.as_str(), "hf:me", "hf:me: expected hf:OWNER/NAME[@REVISION][/FILE]"),
        (
            "http://127.0.0.1:9",
            "hf:you/emotions",
            "hf:you/emotions: http://127.0.0.1:9/api/models/you/emotions/",
        ),
    ];
    for (endpoint, model, expected) in cases {
        let output = intone(&place, endpoint, &["predict", "--model", model, "a.wav"]);
        assert_eq!(code(&output), 2, "{model}: {output:?}");
        assert!(stderr(&output).contains(expected), "{model}: {}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
}
