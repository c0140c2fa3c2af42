//! What the tests of the service share: recordings made on the spot, and a service to ask.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use intone::{AudioStream, Recognizer};
use intone_server::{Answer, App, Limits, Options};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tower::ServiceExt;

/// Sample rate of the recordings made here, Hz.
pub(crate) const RATE: u32 = 16_000;

/// The embedded model. No test depends on what it says.
pub(crate) static RECOGNIZER: LazyLock<Recognizer> =
    LazyLock::new(|| Recognizer::embedded().expect("the embedded model is whole"));

/// The threads that tests run on.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
});

pub(crate) fn app(options: Options) -> App {
    App::new(RECOGNIZER.clone(), options)
}

pub(crate) fn limited(limits: Limits) -> App {
    app(Options { limits, ..Options::default() })
}

/// A service on a socket of its own. Stops when it is told to.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<bool>,
}

impl Server {
    pub(crate) async fn start(app: App) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(intone_server::serve(app, listener, async {
            let _ = stopped.await;
        }));
        Server { address, stop, ended }
    }

    /// Stops it, and says whether everything came to its end in time.
    pub(crate) async fn stop(self) -> bool {
        self.stop.send(()).expect("it runs");
        self.ended.await.expect("no panic")
    }
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    /// The code of an error, whose form is checked.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        let error = json["error"].as_object().unwrap_or_else(|| panic!("no error: {json}"));
        assert_eq!((json.as_object().expect("as made here").len(), error.len()), (1, 2), "{json}");
        assert!(!error["message"].as_str().expect("a message").is_empty(), "{json}");
        error["code"].as_str().expect("a code").to_owned()
    }
}

/// Asks a service, without a socket.
pub(crate) async fn ask(app: &App, request: Request<Body>) -> Reply {
    let response = app.router().oneshot(request).await.expect("it cannot fail");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes().to_vec();
    Reply { status: parts.status, headers: parts.headers, body }
}

pub(crate) async fn get(app: &App, path: &str) -> Reply {
    ask(app, Request::get(path).body(Body::empty()).expect("a request")).await
}

pub(crate) async fn post(app: &App, path: &str, body: impl Into<Body>) -> Reply {
    ask(app, Request::post(path).body(body.into()).expect("a request")).await
}

/// Something with the rough shape of speech: a voice with harmonics in syllables, and a little noise (a linear congruential
/// generator, Numerical Recipes).
pub(crate) fn babble(duration_s: f32, pitch_hz: f32) -> Vec<f32> {
    let mut random = pitch_hz as u32;
    (0..(duration_s * RATE as f32) as usize)
        .map(|n| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (random >> 8) as f32 / (1 << 23) as f32 - 1.0;
            let t = n as f32 / RATE as f32;
            let voice: f32 =
                (1..12).map(|k| (std::f32::consts::TAU * pitch_hz * k as f32 * t).sin() / k as f32).sum();
            0.2 * (std::f32::consts::PI * 3.0 * t).sin().abs() * voice + 0.003 * noise
        })
        .collect()
}

/// 16-bit little-endian samples.
pub(crate) fn pcm(samples: &[f32]) -> Vec<u8> {
    let sample = |x: &f32| ((x * 32_767.0).clamp(-32_768.0, 32_767.0) as i16).to_le_bytes();
    samples.iter().flat_map(sample).collect()
}

/// The bytes of a 16-bit mono WAV file.
pub(crate) fn wav(samples: &[f32]) -> Vec<u8> {
    let data = pcm(samples);
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((data.len() as u32 + 36).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(RATE.to_le_bytes());
    bytes.extend((RATE * 2).to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}

/// A file of the library's tests.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../intone/tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What the library says of a recording, as it should be written.
pub(crate) fn expected(bytes: &[u8]) -> Value {
    let mut stream = AudioStream::from_bytes(bytes).expect("as made here");
    let scores = RECOGNIZER.recognize_stream(&mut stream).expect("as made here");
    let warnings = stream.warnings().iter().map(ToString::to_string).collect();
    text_and_back(&Answer::new(&scores, usize::MAX, warnings))
}

/// As text, and read again: `f32` and `f64` are written differently.
pub(crate) fn text_and_back(value: &impl serde::Serialize) -> Value {
    serde_json::from_str(&serde_json::to_string(value).expect("as made here")).expect("as made here")
}
