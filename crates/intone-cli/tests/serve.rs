//! `intone serve`, the real program.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use common::{Place, babble, code, stderr, stdout, wav};
use intone_server::Limits;
use serde_json::Value;

struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start(place: &Place, args: &[&str]) -> Service {
        let mut child = Command::new(env!("CARGO_BIN_EXE_intone"))
            .current_dir(place.path(""))
            .args(["serve", "--model", "model.safetensors", "--port", "0"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("as made here");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("as made here"))
            .read_line(&mut line)
            .expect("as made here");
        let address =
            line.trim().strip_prefix("Intone listens on http://").unwrap_or_else(|| panic!("{line}"));
        Service { address: address.to_owned(), child }
    }

    /// The status and the body of an answer.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        let mut connection = TcpStream::connect(&self.address).expect("as made here");
        let n = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {n}\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).expect("as made here");
        connection.write_all(body).expect("as made here");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("as made here");
        let status = answer.split(' ').nth(1).expect("as made here").parse().expect("as made here");
        (status, answer.split_once("\r\n\r\n").expect("as made here").1.to_owned())
    }

    /// Asks it to end, as the system does; what it wrote on standard error.
    #[cfg(unix)]
    fn stop(mut self) -> String {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().expect("as made here").success());
        let mut messages = String::new();
        self.child.stderr.take().expect("as made here").read_to_string(&mut messages).expect("as made here");
        assert_eq!(self.child.wait().expect("as made here").code(), Some(0), "{messages}");
        messages
    }
}

#[cfg(unix)]
#[test]
fn scores_are_those_of_predict_and_nothing_private_is_logged() {
    let place = Place::new();
    let speech = wav(&babble(5.0, 150.0));
    place.file("private-name.wav", &speech);
    let mut expected = place.rows(&["private-name.wav"]).0.remove(0);
    expected.as_object_mut().unwrap().remove("path");
    let service = Service::start(&place, &[]);
    let (status, body) = service.ask("POST", "/v1/recognize", &speech);
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (200, expected));
    assert!(service.ask("GET", "/", &[]).1.starts_with("<!doctype html>"));
    assert_eq!(service.ask("GET", "/private-name.wav", &[]).0, 404);
    let log = service.stop();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> =
        lines.iter().map(|line| (line["route"].as_str().unwrap(), line["status"].as_u64())).collect();
    assert_eq!(seen, [("/v1/recognize", Some(200)), ("/", Some(200)), ("other", Some(404))]);
    assert_eq!((&lines[0]["audio_s"], &lines[2]["error"]), (&5.0.into(), &"not_found".into()));
    assert!(!log.contains("private"), "{log}");
}

#[cfg(unix)]
#[test]
fn options_reach_the_service() {
    let place = Place::new();
    let args = ["--quiet", "--max-body-mb", "1", "--token", "secret", "--embed-in", "https://host.example"];
    let service = Service::start(&place, &args);
    assert_eq!(service.ask("GET", "/v1/model", &[]).0, 401);
    assert_eq!(service.stop(), "");
    let service = Service::start(&place, &["--quiet", "--max-body-mb", "1", "--max-duration", "1"]);
    assert_eq!(service.ask("POST", "/v1/recognize", &vec![0; 1_000_001]).0, 413);
    assert_eq!(service.ask("POST", "/v1/recognize", &wav(&babble(1.5, 150.0))).0, 413);
    service.stop();
}

#[test]
fn help_and_manual_page_have_the_limits_that_hold() {
    let place = Place::new();
    let help = stdout(&place.intone().args(["serve", "--help"]).output().unwrap());
    place.intone().args(["man", "--out", "man1"]).output().unwrap();
    let page = std::fs::read_to_string(place.path("man1/intone-serve.1")).unwrap().replace('\\', "");
    let limits = Limits::default();
    for (option, default) in [
        ("--max-body-mb", (limits.body_bytes / 1_000_000).to_string()),
        ("--max-duration", limits.duration_s.to_string()),
        ("--workers", "one per processor".to_owned()),
        ("--queue", limits.queue.to_string()),
        ("--max-per-client", limits.per_client.to_string()),
        ("--max-time", limits.request.as_secs().to_string()),
        ("--max-idle", limits.idle.as_secs().to_string()),
        ("--max-streams", limits.streams.to_string()),
        ("--max-connections", limits.connections.to_string()),
    ] {
        for text in [&help, &page] {
            // After the list of all options, and up to the next one.
            let about = text.rsplit(option).next().and_then(|rest| rest.split("--").next());
            let says = format!("[default: {default}]");
            assert!(about.is_some_and(|about| about.contains(&says)), "{option} {says} in {text}");
        }
    }
}

#[test]
fn what_cannot_be_served_ends_with_2() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (args, expected) in [
        (&["--port", &port][..], "--port chooses another"),
        (&["--port", "0", "--model", "missing.safetensors"], "missing.safetensors"),
        (&["--host", "nowhere"], "--host"),
        (&["--workers", "0"], "--workers"),
        (&["--token", ""], "it is empty"),
        (&["--allow-origin", "example.org"], "expected scheme://host"),
        (&["--allow-origin", "https://example.org/page"], "expected scheme://host"),
        (&["--embed-in", "*"], "expected scheme://host"),
        (&["--embed-in", "https://a.example\nX-Header: 1"], "expected scheme://host"),
    ] {
        let mut command = place.intone();
        let output = command.arg("serve").args(args).output().unwrap();
        assert_eq!(code(&output), 2, "{args:?}: {output:?}");
        assert!(stderr(&output).contains(expected), "{args:?}: {output:?}");
    }
}
