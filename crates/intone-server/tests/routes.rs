//! Each route and each error, without a socket.

mod common;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use common::{RATE, RECOGNIZER, RUNTIME, app, ask, babble, expected, fixture, get, post, text_and_back, wav};
use intone::{Audio, Window};
use intone_server::{App, Options, ReadingAnswer};
use serde_json::{Value, json};

fn service() -> App {
    app(Options::default())
}

fn form(parts: &[(&str, &[u8])]) -> Request<Body> {
    let mut body = Vec::new();
    for (head, content) in parts {
        body.extend(format!("--xyz\r\nContent-Disposition: form-data; {head}\r\n\r\n").bytes());
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(b"--xyz--\r\n");
    Request::post("/v1/recognize")
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=xyz")
        .body(body.into())
        .expect("as made here")
}

#[test]
fn a_recording_is_recognised_as_by_the_library() {
    RUNTIME.block_on(async {
        let service = service();
        let bytes = wav(&babble(4.0, 150.0));
        let want = expected(&bytes);
        let reply = post(&service, "/v1/recognize", bytes.clone()).await;
        assert_eq!((reply.status, reply.json()), (StatusCode::OK, want.clone()));
        assert_eq!(reply.headers[header::CONTENT_TYPE], "application/json");
        let keys = ["label", "scores", "silence", "uncertain", "duration_s", "windows", "silent_windows"];
        assert!(keys.iter().all(|key| want.get(key).is_some()), "{want}");

        let file: (&str, &[u8]) = ("name=\"file\"; filename=\"../../<b>.wav\"", &bytes);
        for parts in
            [vec![file], vec![("name=\"note\"", b"x" as &[u8]), file], vec![("name=\"audio\"", &bytes)]]
        {
            let reply = ask(&service, form(&parts)).await;
            assert_eq!((reply.status, reply.json()), (StatusCode::OK, want.clone()));
        }

        // More than web frameworks let in by themselves.
        let long = vec![0; 3 << 20];
        let reply = ask(&service, form(&[file, ("name=\"other\"; filename=\"long\"", &long)])).await;
        assert_eq!((reply.status, reply.json()), (StatusCode::OK, want.clone()));

        let with = post(&service, "/v1/recognize?embedding=true", bytes).await.json();
        let embedding = with["embedding"].as_array().unwrap();
        assert!(embedding.len() > 1 && embedding.iter().all(Value::is_number));
    });
}

#[test]
fn every_format_of_the_library_is_taken() {
    RUNTIME.block_on(async {
        let service = service();
        for name in [
            "chirp.mp3",
            "chirp.flac",
            "chirp.ogg",
            "chirp.m4a",
            "chirp.aac",
            "chirp.aiff",
            "chirp.mkv",
            "adpcm_ms.wav",
        ] {
            let bytes = fixture(name);
            let reply = post(&service, "/v1/recognize", bytes.clone()).await;
            assert_eq!((reply.status, reply.json()), (StatusCode::OK, expected(&bytes)), "{name}");
        }
    });
}

#[test]
fn a_timeline_is_that_of_the_library() {
    RUNTIME.block_on(async {
        let service = service();
        let samples = [babble(5.0, 150.0), vec![0.0; 4 * RATE as usize], babble(3.5, 220.0)].concat();
        let bytes = wav(&samples);
        let audio = Audio::from_bytes(bytes.clone()).unwrap();
        for (query, window) in [
            ("", Window::default()),
            ("?window=3&hop=1", Window::seconds(3.0).hop(1.0)),
            ("?hop=0.5&smoothing=0", Window::default().hop(0.5).smoothing(0.0)),
        ] {
            let readings = RECOGNIZER.timeline(&audio, window).unwrap();
            let reply = post(&service, &format!("/v1/timeline{query}"), bytes.clone()).await;
            assert_eq!(reply.status, StatusCode::OK, "{query}: {}", reply.text());
            let json = reply.json();
            let want: Vec<Value> = readings.iter().map(|r| text_and_back(&ReadingAnswer::from(r))).collect();
            assert_eq!(json["readings"], Value::from(want), "{query}");
            assert_eq!((&json["duration_s"], &json["labels"]), (&json!(12.5), &json!(RECOGNIZER.labels())));
            let spans = json["spans"].as_array().unwrap();
            assert!(spans.iter().any(|span| span["silence"] == true), "four seconds of nothing: {json}");
            assert!(spans.windows(2).all(|pair| pair[0]["end_s"] == pair[1]["start_s"]), "{json}");
        }
    });
}

#[test]
fn the_picture_is_of_the_whole_recording_and_not_too_wide() {
    RUNTIME.block_on(async {
        let silence = vec![0.0; RATE as usize];
        let long = [silence.clone(), babble(24.0, 150.0), silence].concat();
        for (samples, duration_s, per_column) in [(babble(2.0, 150.0), 2, 1), (long, 26, 2)] {
            let reply = post(&service(), "/v1/log-mel", wav(&samples)).await;
            assert_eq!(
                (reply.status, &reply.headers[header::CONTENT_TYPE]),
                (StatusCode::OK, &"image/png".parse().unwrap())
            );
            let front_end = &RECOGNIZER.meta().front_end;
            let picture = png::Decoder::new(std::io::Cursor::new(reply.body)).read_info().unwrap();
            let n_frames = front_end.frames_of(duration_s * front_end.sample_rate_hz as usize);
            assert_eq!(
                (picture.info().width as usize, picture.info().height as usize),
                (n_frames.div_ceil(per_column), front_end.n_mels),
                "{duration_s} s"
            );
        }
    });
}

#[test]
fn the_model_says_what_its_file_says() {
    RUNTIME.block_on(async {
        let json = get(&service(), "/v1/model").await.json();
        assert_eq!(json["labels"], json!(RECOGNIZER.labels()));
        let from = &RECOGNIZER.meta().provenance;
        assert_eq!(json["provenance"]["scores"], text_and_back(&from.scores));
        assert_eq!(json["provenance"]["intended_use"], json!(from.intended_use));
        let window = &json["window"];
        assert!(
            window["min_s"].as_f64() <= window["max_s"].as_f64() && window["default_s"].as_f64() > Some(0.0)
        );
        assert_eq!(json["limits"]["body_bytes"], 50_000_000);
    });
}

#[test]
fn what_cannot_be_answered_is_an_error_with_a_code() {
    RUNTIME.block_on(async {
        let service = service();
        let speech = || Body::from(wav(&babble(0.5, 150.0)));
        let opus = || Body::from(fixture("opus.ogg"));
        let cases: Vec<(Method, &str, Body, u16, &str)> = vec![
            (Method::POST, "/v1/recognize", Body::empty(), 400, "bad_request"),
            (Method::POST, "/v1/recognize", "this is no audio, only text".into(), 422, "bad_audio"),
            (Method::POST, "/v1/timeline", vec![0; 100_000].into(), 422, "bad_audio"),
            (Method::POST, "/v1/log-mel", "RIFF....WAVE".into(), 422, "bad_audio"),
            (Method::POST, "/v1/recognize", opus(), 422, "unsupported_codec"),
            (Method::POST, "/v1/recognize?top=3", speech(), 400, "bad_parameter"),
            (Method::POST, "/v1/log-mel?top=3", speech(), 400, "bad_parameter"),
            (Method::GET, "/v1/model?top=3", Body::empty(), 400, "bad_parameter"),
            (Method::GET, "/v1/stream?top=3", Body::empty(), 400, "bad_parameter"),
            (Method::POST, "/v1/timeline?window=99", speech(), 400, "bad_parameter"),
            (Method::POST, "/v1/timeline?window=-1", speech(), 400, "bad_parameter"),
            (Method::POST, "/v1/timeline?window=NaN", speech(), 400, "bad_parameter"),
            (Method::POST, "/v1/timeline?hop=0", speech(), 400, "bad_parameter"),
            (Method::POST, "/v1/timeline?hop=x", speech(), 400, "bad_parameter"),
            (Method::GET, "/v1/recognize", Body::empty(), 405, "method_not_allowed"),
            (Method::POST, "/v1/model", Body::empty(), 405, "method_not_allowed"),
            (Method::DELETE, "/", Body::empty(), 405, "method_not_allowed"),
            (Method::GET, "/v1/stream", Body::empty(), 400, "bad_request"),
            (Method::GET, "/v1/nothing", Body::empty(), 404, "not_found"),
            (Method::GET, "/assets/../Cargo.toml", Body::empty(), 404, "not_found"),
            (Method::GET, "/assets/%2e%2e/Cargo.toml", Body::empty(), 404, "not_found"),
            (Method::GET, "//etc/passwd", Body::empty(), 404, "not_found"),
        ];
        for (method, path, body, status, code) in cases {
            let request = Request::builder().method(&method).uri(path).body(body).unwrap();
            let reply = ask(&service, request).await;
            assert_eq!((reply.status.as_u16(), reply.code().as_str()), (status, code), "{method} {path}");
        }
        let message = post(&service, "/v1/timeline?window=99", speech()).await.json();
        assert!(message["error"]["message"].as_str().unwrap().starts_with("window: expected "), "{message}");
        let empty = ask(&service, form(&[])).await;
        assert_eq!((empty.status.as_u16(), empty.code().as_str()), (400, "bad_request"));
        let broken =
            Request::post("/v1/recognize").header(header::CONTENT_TYPE, "multipart/form-data; boundary=xyz");
        let broken = ask(&service, broken.body("--xyz\r\nnonsense".into()).unwrap()).await;
        assert_eq!((broken.status.as_u16(), broken.code().as_str()), (400, "bad_request"));
    });
}

#[test]
fn nothing_of_a_request_is_reflected() {
    RUNTIME.block_on(async {
        let service = service();
        for reply in [
            get(&service, "/%3Cscript%3Ealert(1)%3C/script%3E").await,
            post(&service, "/v1/recognize", "<script>alert(1)</script>").await,
        ] {
            assert!(!reply.text().contains("script"), "{}", reply.text());
            assert_eq!(reply.headers[header::CONTENT_TYPE], "application/json");
            assert_eq!(reply.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    });
}

#[test]
fn the_page_is_whole_and_strict() {
    RUNTIME.block_on(async {
        let host = "https://host.example".parse().unwrap();
        let service = app(Options { embed_in: vec![host], ..Options::default() });
        let page = get(&service, "/").await;
        let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert!(
            !policy.contains("unsafe") && policy.ends_with("frame-ancestors https://host.example"),
            "{policy}"
        );
        let mut n_seen = 0;
        let mut waiting = vec!["/".to_owned(), "/api".to_owned()];
        let mut seen = std::collections::BTreeSet::new();
        while let Some(path) = waiting.pop() {
            if !seen.insert(path.clone()) {
                continue;
            }
            let reply = get(&service, &path).await;
            assert_eq!(reply.status, StatusCode::OK, "{path}");
            assert!(reply.headers.contains_key(header::CONTENT_SECURITY_POLICY), "{path}");
            n_seen += 1;
            let text = reply.text();
            assert!(!text.contains("https://") || !path.ends_with(".js"), "{path} reaches out");
            assert!(!text.contains(" style=") && !text.contains(" onclick="), "{path}");
            for part in text.split('"').filter(|part| part.starts_with("/assets/")) {
                waiting.push(part.to_owned());
            }
            for part in text
                .split('"')
                .filter_map(|part| part.strip_prefix("./"))
                .filter(|part| part.ends_with(".js"))
            {
                waiting.push(format!("/assets/{part}"));
            }
        }
        assert_eq!(n_seen, 13, "all files are reached from the two pages: {seen:?}");

        let tag = page.headers[header::ETAG].clone();
        let again = Request::get("/").header(header::IF_NONE_MATCH, tag).body(Body::empty()).unwrap();
        assert_eq!(ask(&service, again).await.status, StatusCode::NOT_MODIFIED);
    });
}

#[test]
fn what_happened_is_counted() {
    RUNTIME.block_on(async {
        let service = service();
        post(&service, "/v1/recognize", wav(&babble(1.5, 150.0))).await;
        post(&service, "/v1/recognize", "no audio").await;
        get(&service, "/some/path/of/my/choice").await;
        assert_eq!(get(&service, "/healthz").await.text(), "ok\n");
        let text = get(&service, "/metrics").await.text();
        for line in [
            "intone_requests_total{route=\"/v1/recognize\",status=\"200\"} 1",
            "intone_requests_total{route=\"/v1/recognize\",status=\"422\"} 1",
            "intone_requests_total{route=\"other\",status=\"404\"} 1",
            "intone_request_seconds_count{route=\"/v1/recognize\"} 2",
            "intone_request_seconds_bucket{route=\"/v1/recognize\",le=\"+Inf\"} 2",
            "intone_audio_seconds_total 1.5",
            "intone_workers_busy 0",
            "intone_streams_open 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
        }
        assert!(!text.contains("choice"), "{text}");
    });
}

#[test]
fn the_description_has_all_routes_and_types() {
    RUNTIME.block_on(async {
        let json = get(&service(), "/openapi.json").await.json();
        let paths: Vec<_> = json["paths"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(paths, ["/v1/log-mel", "/v1/model", "/v1/recognize", "/v1/stream", "/v1/timeline"]);
        let stream = json["paths"]["/v1/stream"]["get"]["description"].as_str().unwrap();
        assert!(stream.contains("binary messages of at most 1 MiB"), "{stream}");
        let schemas = &json["components"]["schemas"];
        for name in [
            "Answer",
            "TimelineAnswer",
            "ReadingAnswer",
            "ModelAnswer",
            "ErrorAnswer",
            "Code",
            "Hello",
            "Message",
        ] {
            assert!(schemas.get(name).is_some(), "{name} in {schemas}");
        }
        let answer = post(&service(), "/v1/recognize", wav(&babble(0.5, 150.0))).await.json();
        for key in answer.as_object().unwrap().keys() {
            assert!(schemas["Answer"]["properties"].get(key).is_some(), "{key}");
        }
        let text = json.to_string();
        for reference in
            text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next())
        {
            assert!(schemas.get(reference).is_some(), "{reference} is described");
        }
    });
}
