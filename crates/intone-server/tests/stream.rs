//! The WebSocket and the socket beneath it, on the loopback interface.

mod common;

use std::time::Duration;

use common::{RATE, RECOGNIZER, RUNTIME, Server, app, babble, limited, pcm, post, wav};
use futures_util::{SinkExt, StreamExt};
use intone::{Audio, Window};
use intone_server::{Limits, Options, ReadingAnswer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(server: &Server) -> Socket {
    connect_async(format!("ws://{}/v1/stream", server.address)).await.expect("a WebSocket").0
}

async fn say(socket: &mut Socket, message: impl Into<Message>) {
    socket.send(message.into()).await.expect("the service listens");
}

async fn hello(socket: &mut Socket, hello: Value) {
    say(socket, hello.to_string()).await;
}

/// The next text, or the close frame's code.
async fn hear(socket: &mut Socket) -> Result<Value, u16> {
    match socket.next().await.expect("not closed without a word").expect("a message") {
        Message::Text(text) => Ok(serde_json::from_str(&text).expect("JSON")),
        Message::Close(frame) => Err(frame.map_or(1005, |frame| frame.code.into())),
        other => panic!("{other:?}"),
    }
}

/// All readings up to the end.
async fn readings(socket: &mut Socket) -> (Vec<Value>, Value) {
    let mut readings = Vec::new();
    loop {
        let mut message = hear(socket).await.expect("an end before the close");
        if message["type"] == "end" {
            assert_eq!(hear(socket).await, Err(1000));
            return (readings, message);
        }
        let kind = message.as_object_mut().expect("as made here").remove("type");
        assert_eq!(kind, Some(json!("reading")), "{message}");
        readings.push(message);
    }
}

fn expected(samples: &[f32], window: Window) -> Vec<Value> {
    // Through the file, so that the samples are the same 16 bits.
    let audio = Audio::from_bytes(wav(samples)).expect("as made here");
    let readings = RECOGNIZER.timeline(&audio, window).expect("as made here");
    let text = |reading| serde_json::to_string(&ReadingAnswer::from(reading)).expect("as made here");
    readings.iter().map(|reading| serde_json::from_str(&text(reading)).expect("as made here")).collect()
}

#[test]
fn readings_are_those_of_the_whole_recording_however_it_is_sent() {
    RUNTIME.block_on(async {
        let server = Server::start(app(Options::default())).await;
        let samples = [babble(4.0, 150.0), vec![0.0; 3 * RATE as usize], babble(3.0, 220.0)].concat();
        let want = expected(&samples, Window::default().hop(0.5).smoothing(0.0));
        for n_bytes in [1_599, 6_400, 1_000_000] {
            let mut socket = connect(&server).await;
            hello(&mut socket, json!({"sample_rate": RATE, "hop": 0.5, "smoothing": 0})).await;
            let ready = hear(&mut socket).await.unwrap();
            assert_eq!((&ready["type"], &ready["hop_s"]), (&json!("ready"), &json!(0.5)));
            assert_eq!(ready["labels"], json!(RECOGNIZER.labels()));
            let (mut sender, mut receiver) = socket.split();
            let bytes = pcm(&samples);
            let sending = tokio::spawn(async move {
                for chunk in bytes.chunks(n_bytes) {
                    sender.send(Message::binary(chunk.to_vec())).await.unwrap();
                }
                sender.send("end".into()).await.unwrap();
                sender
            });
            let mut got = Vec::new();
            let end = loop {
                let Message::Text(text) = receiver.next().await.unwrap().unwrap() else { panic!("no text") };
                let mut message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] == "end" {
                    break message;
                }
                message.as_object_mut().unwrap().remove("type");
                got.push(message);
            };
            let _open = sending.await.unwrap();
            assert_eq!(got, want, "{n_bytes} bytes at a time");
            assert_eq!(end, json!({"type": "end", "duration_s": 10.0, "readings": want.len()}));
        }
        assert!(server.stop().await);
    });
}

#[test]
fn one_window_is_scored_as_the_recording_is() {
    RUNTIME.block_on(async {
        let service = app(Options::default());
        let samples = babble(2.5, 150.0);
        let whole = post(&service, "/v1/recognize", wav(&samples)).await.json();
        let server = Server::start(service).await;
        let mut socket = connect(&server).await;
        hello(&mut socket, json!({"sample_rate": RATE})).await;
        hear(&mut socket).await.unwrap();
        say(&mut socket, Message::binary(pcm(&samples))).await;
        say(&mut socket, "end").await;
        let (readings, _) = readings(&mut socket).await;
        assert_eq!(readings.len(), 1);
        assert_eq!((&readings[0]["scores"], &readings[0]["label"]), (&whole["scores"], &whole["label"]));
    });
}

#[test]
fn what_is_said_wrongly_ends_with_a_reason() {
    RUNTIME.block_on(async {
        let server = Server::start(app(Options::default())).await;
        let rate = || Message::text(json!({"sample_rate": RATE}).to_string());
        let cases: Vec<(Vec<Message>, &str, u16)> = vec![
            (vec![Message::binary(vec![0; 4])], "bad_request", 1008),
            (vec!["hello".into()], "bad_parameter", 1008),
            (vec!["{}".into()], "bad_parameter", 1008),
            (vec![r#"{"sample_rate": 16000, "gain": 2}"#.into()], "bad_parameter", 1008),
            (vec![r#"{"sample_rate": 0}"#.into()], "bad_parameter", 1008),
            (vec![r#"{"sample_rate": 16000, "window": 99}"#.into()], "bad_parameter", 1008),
            (vec![r#"{"sample_rate": 16000, "hop": 0}"#.into()], "bad_parameter", 1008),
            (vec![rate(), "stop".into()], "bad_request", 1008),
        ];
        for (messages, code, close) in cases {
            let mut socket = connect(&server).await;
            for message in messages.clone() {
                say(&mut socket, message).await;
            }
            let mut heard = hear(&mut socket).await.unwrap();
            if heard["type"] == "ready" {
                heard = hear(&mut socket).await.unwrap();
            }
            assert_eq!(heard["error"]["code"], code, "{messages:?}: {heard}");
            assert_eq!(hear(&mut socket).await, Err(close), "{messages:?}");
        }
        assert!(server.stop().await);
    });
}

#[test]
fn a_message_has_a_mebibyte_at_most() {
    RUNTIME.block_on(async {
        let server = Server::start(app(Options::default())).await;
        let part = |kind, n, is_last| Message::Frame(Frame::message(vec![0; n], OpCode::Data(kind), is_last));
        for too_long in [
            vec![Message::binary(vec![0; (1 << 20) + 1])],
            vec![part(Data::Binary, 1 << 20, false), part(Data::Continue, 1, true)],
        ] {
            let mut socket = connect(&server).await;
            hello(&mut socket, json!({"sample_rate": RATE, "hop": 3})).await;
            hear(&mut socket).await.unwrap();
            say(&mut socket, Message::binary(vec![0; 1 << 20])).await;
            assert_eq!(hear(&mut socket).await.unwrap()["type"], "reading", "the longest is heard");
            for message in too_long {
                // The service may have answered before all of it was sent.
                let _ = socket.send(message).await;
            }
            let error = loop {
                let heard = hear(&mut socket).await.unwrap();
                if heard["type"] != "reading" {
                    break heard;
                }
            };
            assert_eq!(error["error"]["code"], "body_too_large", "{error}");
            assert_eq!(hear(&mut socket).await, Err(1009));
        }
        assert!(server.stop().await);
    });
}

#[test]
fn silence_on_the_line_and_too_many_streams_come_to_an_end() {
    RUNTIME.block_on(async {
        let limits =
            Limits { idle: Duration::from_millis(1_500), streams: 1, stream_s: 2.0, ..Limits::default() };
        let server = Server::start(limited(limits)).await;
        let mut first = connect(&server).await;
        let error = connect_async(format!("ws://{}/v1/stream", server.address)).await.unwrap_err();
        let Error::Http(response) = error else { panic!("{error}") };
        assert_eq!(response.status().as_u16(), 503);
        assert_eq!(hear(&mut first).await.unwrap()["error"]["code"], "client_too_slow");
        assert_eq!(hear(&mut first).await, Err(1008));
        drop(first);
        let mut next = loop {
            if let Ok((socket, _)) = connect_async(format!("ws://{}/v1/stream", server.address)).await {
                break socket;
            }
        };
        hello(&mut next, json!({"sample_rate": RATE})).await;
        hear(&mut next).await.unwrap();
        say(&mut next, Message::binary(pcm(&babble(2.1, 150.0)))).await;
        assert_eq!(hear(&mut next).await.unwrap()["error"]["code"], "audio_too_long");
        assert_eq!(hear(&mut next).await, Err(1009));
    });
}

#[test]
fn pages_of_other_origins_and_those_without_the_token_get_no_stream() {
    RUNTIME.block_on(async {
        let server = Server::start(app(Options { token: Some("secret".into()), ..Options::default() })).await;
        let mut request = format!("ws://{}/v1/stream", server.address).into_client_request().unwrap();
        request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
        let error = connect_async(request).await.unwrap_err();
        assert!(matches!(error, Error::Http(ref response) if response.status() == 403), "{error}");

        let mut socket = connect(&server).await;
        hello(&mut socket, json!({"sample_rate": RATE, "token": "wrong"})).await;
        assert_eq!(hear(&mut socket).await.unwrap()["error"]["code"], "unauthorized");
        let mut socket = connect(&server).await;
        hello(&mut socket, json!({"sample_rate": RATE, "token": "secret"})).await;
        assert_eq!(hear(&mut socket).await.unwrap()["type"], "ready");
        let mut request = format!("ws://{}/v1/stream", server.address).into_client_request().unwrap();
        request.headers_mut().insert("authorization", "Bearer secret".parse().unwrap());
        request.headers_mut().insert("origin", format!("http://{}", server.address).parse().unwrap());
        let mut socket = connect_async(request).await.unwrap().0;
        hello(&mut socket, json!({"sample_rate": RATE})).await;
        assert_eq!(hear(&mut socket).await.unwrap()["type"], "ready");
    });
}

#[test]
fn a_stop_finishes_what_runs() {
    RUNTIME.block_on(async {
        let server = Server::start(app(Options::default())).await;
        let samples = babble(5.0, 150.0);
        let mut socket = connect(&server).await;
        hello(&mut socket, json!({"sample_rate": RATE})).await;
        hear(&mut socket).await.unwrap();
        say(&mut socket, Message::binary(pcm(&samples))).await;
        // The first reading says that the samples arrived.
        let mut first = hear(&mut socket).await.unwrap();
        first.as_object_mut().unwrap().remove("type");

        // A request whose body is on its way.
        let body = wav(&babble(10.0, 150.0));
        let mut request = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "POST /v1/recognize HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        request.write_all(head.as_bytes()).await.unwrap();
        // The service says when it begins to read.
        let mut go_on = [0; 25];
        request.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        request.write_all(&body[..body.len() / 2]).await.unwrap();

        let address = server.address;
        let stopped = tokio::spawn(server.stop());
        let (rest, end) = readings(&mut socket).await;
        assert_eq!([vec![first], rest].concat(), expected(&samples, Window::default()));
        assert_eq!(end["duration_s"], 5.0);
        request.write_all(&body[body.len() / 2..]).await.unwrap();
        let mut answer = String::new();
        request.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"scores\""), "{answer}");
        assert!(stopped.await.unwrap(), "in time");
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    });
}

#[test]
fn those_who_say_nothing_do_not_keep_others_waiting() {
    RUNTIME.block_on(async {
        let idle = Duration::from_millis(300);
        let server = Server::start(limited(Limits { idle, connections: 20, ..Limits::default() })).await;
        let mut silent = Vec::new();
        for n in 0..20 {
            let mut connection = TcpStream::connect(server.address).await.unwrap();
            if n % 2 == 0 {
                connection.write_all(b"POST /v1/recognize HTTP/1.1\r\nHost: x\r\nContent-Le").await.unwrap();
            }
            silent.push(connection);
        }
        // All places are taken; after a while they are free again.
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok\n"), "{answer}");
        for mut connection in silent {
            // Closed, with or without a word.
            let mut rest = Vec::new();
            let _ = connection.read_to_end(&mut rest).await;
        }
        assert!(server.stop().await);
    });
}

#[test]
fn a_client_that_does_not_take_its_answers_is_gone() {
    RUNTIME.block_on(async {
        let idle = Duration::from_millis(300);
        let server = Server::start(limited(Limits { idle, ..Limits::default() })).await;
        let mut client = TcpStream::connect(server.address).await.unwrap();
        let requests = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
        // Until both sides' buffers are full; then the line is cut.
        let sending = async { while client.write_all(&requests).await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(30), sending).await.expect("an end");
        assert!(server.stop().await);
    });
}

#[test]
fn pings_are_no_hello() {
    RUNTIME.block_on(async {
        let limits = Limits { idle: Duration::from_millis(500), ..Limits::default() };
        let server = Server::start(limited(limits)).await;
        let mut socket = connect(&server).await;
        let pinging = async {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                say(&mut socket, Message::Ping(Vec::new().into())).await;
                if let Ok(Some(Ok(message))) =
                    tokio::time::timeout(Duration::from_millis(10), socket.next()).await
                    && let Ok(text) = message.to_text()
                    && text.contains("error")
                {
                    break text.to_owned();
                }
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(20), pinging).await.expect("an end");
        assert!(told.contains("client_too_slow"), "{told}");
    });
}

#[test]
fn a_stream_that_the_client_closes_is_closed_in_order() {
    RUNTIME.block_on(async {
        let server = Server::start(limited(Limits::default())).await;
        let mut socket = connect(&server).await;
        hello(&mut socket, json!({"sample_rate": RATE})).await;
        hear(&mut socket).await.unwrap();
        socket.close(None).await.unwrap();
        let answer = socket.next().await;
        assert!(matches!(answer, Some(Ok(Message::Close(_)))), "{answer:?}");
        assert!(server.stop().await);
    });
}

#[test]
fn strangers_do_not_keep_those_with_the_token_out() {
    RUNTIME.block_on(async {
        let limits = Limits { streams: 1, ..Limits::default() };
        let options = Options { token: Some("secret".into()), limits, ..Options::default() };
        let server = Server::start(app(options)).await;
        let _strangers = [connect(&server).await, connect(&server).await];
        let mut socket = connect(&server).await;
        hello(&mut socket, json!({"sample_rate": RATE, "token": "secret"})).await;
        assert_eq!(hear(&mut socket).await.unwrap()["type"], "ready");
        let mut late = connect(&server).await;
        hello(&mut late, json!({"sample_rate": RATE, "token": "secret"})).await;
        assert_eq!(hear(&mut late).await.unwrap()["error"]["code"], "busy");
    });
}
