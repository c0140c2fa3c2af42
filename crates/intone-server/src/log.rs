//! A line for each request: which route, how it ended, how long it took. No audio, no file names, no addresses.

use std::io::Write;
use std::time::{Instant, SystemTime};

use axum::Extension;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use serde::Serialize;

use crate::error::Code;
use crate::state::Service;

/// Length of the recording that an answer is about, for the log and the metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AudioSeconds(pub(crate) f64);

impl AudioSeconds {
    pub(crate) fn extension(self) -> Extension<AudioSeconds> {
        Extension(self)
    }
}

/// A request that was answered.
#[derive(Debug, Serialize)]
struct Line<'a> {
    time: String,
    method: &'a str,
    /// The route, or `other`: paths that do not exist may hold anything.
    route: &'a str,
    status: u16,
    milliseconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Code>,
}

/// Measures a request, counts it, and writes its line.
pub(crate) async fn track(State(app): State<Service>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let route = match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().to_owned(),
        None => "other".to_owned(),
    };
    let response = next.run(request).await;
    let seconds = start.elapsed().as_secs_f64();
    let status = response.status().as_u16();
    let audio_s = response.extensions().get::<AudioSeconds>().map(|audio| audio.0);
    app.metrics.count(&route, status, seconds, audio_s.unwrap_or(0.0));
    if app.options.log {
        let error = response.extensions().get::<Code>().copied();
        // Standard methods only: any other is text of the client's choice.
        let method = if STANDARD.contains(&method.as_str()) { method.as_str() } else { "other" };
        let milliseconds = (seconds * 1e6).round() / 1e3;
        write(&Line { time: now(), method, route: &route, status, milliseconds, audio_s, error });
    }
    response
}

const STANDARD: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// If nobody can read the log, there is nobody to tell.
fn write(line: &impl Serialize) {
    if let Ok(mut text) = serde_json::to_string(line) {
        text.push('\n');
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}
