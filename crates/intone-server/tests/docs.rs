//! The commands of `docs/api.md` do what it says: each is run against a service, and the form of its answer compared.

mod common;

use std::path::Path;
use std::process::Command;

use common::{RATE, RUNTIME, Server, app, babble, wav};
use intone_server::{Limits, Options};
use serde_json::Value;

/// The address in the document.
const ADDRESS: &str = "http://127.0.0.1:7860";

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api.md");
    std::fs::read_to_string(path).expect("a part of the repository")
}

/// Commands that begin with `curl`, and what stands below each.
fn examples(document: &str) -> Vec<(String, String)> {
    let mut examples: Vec<(String, String)> = Vec::new();
    let blocks = document.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    for line in blocks.flat_map(str::lines) {
        match (line.strip_prefix("$ "), examples.last_mut()) {
            (Some(command), _) => examples.push((command.to_owned(), String::new())),
            (None, Some((_, answer))) => *answer += &format!("{line}\n"),
            (None, None) => panic!("an answer before its command: {line}"),
        }
    }
    examples.retain(|(command, _)| command.starts_with("curl "));
    examples
}

/// Values without what differs between recordings and models: all numbers, strings and labels alike, and one element of each list.
fn form(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), form(value))).collect(),
        Value::Array(elements) => elements.iter().take(1).map(form).collect(),
        Value::Number(_) => 0.into(),
        Value::String(_) | Value::Null => "".into(),
        Value::Bool(_) => false.into(),
    }
}

#[test]
fn the_documented_commands_answer_as_documented() {
    if Command::new("curl").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "continuous integration must have curl");
        println!("skipped: curl is not installed");
        return;
    }
    let examples = examples(&document());
    assert!(examples.len() >= 6, "{examples:?}");
    let place = tempfile::tempdir().unwrap();
    let speech = [babble(4.0, 150.0), vec![0.0; RATE as usize / 2], babble(3.0, 220.0)].concat();
    std::fs::write(place.path().join("call.wav"), wav(&speech)).unwrap();
    let server = RUNTIME.block_on(Server::start(app(Options::default())));
    for (command, expected) in examples {
        let here = command.replace(ADDRESS, &format!("http://{}", server.address));
        let output = Command::new("sh").args(["-c", &here]).current_dir(place.path()).output().unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{command}: {answer}");
        match serde_json::from_str::<Value>(&expected) {
            Ok(expected) => {
                let answer: Value =
                    serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{command}: {e}: {answer}"));
                assert_eq!(form(&answer), form(&expected), "{command}: {answer}");
            }
            Err(_) => assert_eq!(answer, expected, "{command}"),
        }
    }
    assert!(RUNTIME.block_on(server.stop()));
}

#[test]
fn the_documented_limits_are_those_that_hold() {
    let limits = Limits::default();
    let document = document();
    for (limit, value) in [
        ("body", format!("{} MB", limits.body_bytes / 1_000_000)),
        ("length of a recording", format!("{} h", limits.duration_s / 3_600.0)),
        ("requests that wait", limits.queue.to_string()),
        ("bodies in memory, together", format!("{} MB", limits.all_bodies_bytes / 1_000_000)),
        ("requests of one address at a time", format!("{}; none for this machine's own", limits.per_client)),
        ("time for a body", format!("{} s", limits.upload.as_secs())),
        ("time for an answer", format!("{} s", limits.request.as_secs())),
        ("silence of a client", format!("{} s", limits.idle.as_secs())),
        ("streams", limits.streams.to_string()),
        ("length of a stream", format!("{} h", limits.stream_s / 3_600.0)),
        // What a stream takes is tested where streams are.
        ("message of a stream", "1 MiB".to_owned()),
        ("connections", format!("{},{:03}", limits.connections / 1_000, limits.connections % 1_000)),
    ] {
        let cells = format!("\n| {limit} | {value} | ");
        assert!(document.contains(&cells), "expected {cells} in docs/api.md");
    }
}
