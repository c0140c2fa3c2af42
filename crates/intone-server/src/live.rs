//! Audio that comes while it is spoken: a WebSocket.
//!
//! The client says hello as JSON text, `{"sample_rate": 48000}`, and gets [`Message::Ready`]. It then sends binary messages of
//! at most 1 MiB, 16-bit little-endian samples, mono, and gets a [`Message::Reading`] for each hop. The text `end` ends the
//! audio: the last readings follow, and [`Message::End`].

use std::error::Error;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::{Extension, body::Bytes};
use intone::{Reading, SampleRate};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::CapacityError;

use crate::access::{self, Visit};
use crate::audio::{check_window, parameters};
use crate::error::{Code, ErrorAnswer, Failure};
use crate::state::Service;
use crate::types::{Hello, Message, NoQuery, ReadingAnswer, WindowQuery, milliseconds};

/// The largest message of a client, bytes: ten seconds at 48 kHz. Longer audio comes in several.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Recognise audio while it is spoken: a WebSocket.
///
/// First a text from the client, a `Hello`: `{"sample_rate": 48000, "window": 3, "hop": 0.5}`; the service answers with a
/// message of the type `ready`. Then binary messages of at most 1 MiB, 16-bit little-endian samples, mono; the service answers
/// with a `reading` for each hop. The text `end` ends the audio: the last readings follow, and `end`. An error is the same
/// object as elsewhere, and the end of the stream.
#[utoipa::path(
    get, path = "/v1/stream", tag = "recordings",
    responses(
        (status = 101, description = "the messages of the WebSocket", body = Message),
        (status = "4XX", description = "no WebSocket, or not allowed", body = ErrorAnswer),
        (status = 503, description = "too many streams", body = ErrorAnswer),
    )
)]
pub(crate) async fn stream(
    State(app): State<Service>,
    Extension(visit): Extension<Arc<Visit>>,
    query: Result<Query<NoQuery>, QueryRejection>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let bad = |message: String| Failure::new(Code::BadRequest, message);
    // Its parameters are in its hello.
    parameters(query)?;
    let upgrade =
        upgrade.map_err(|rejection| bad(format!("expected a WebSocket: {}", rejection.body_text())))?;
    if *app.stopping.borrow() {
        return Err(Failure::new(Code::Stopping, "the service is being stopped"));
    }
    let authorized = access::is_authorized(&headers, app.options.token.as_deref());
    // Those who have not shown the token yet keep nobody's stream occupied.
    let places = if authorized { &app.streams } else { &app.strangers };
    let place = places.clone().try_acquire_owned().map_err(|_| busy())?;
    let upgrade = upgrade.max_message_size(MAX_MESSAGE_BYTES).max_frame_size(MAX_MESSAGE_BYTES);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let mut line = Line { socket, app };
        let mut place = place;
        let result = converse(&mut line, authorized, &mut place).await;
        line.close(result.err().unwrap_or(Farewell::Normal)).await;
        drop((place, visit));
    }))
}

fn busy() -> Failure {
    Failure::busy("too many streams are open")
}

/// Why a stream ends.
enum Farewell {
    /// Everything was said.
    Normal,
    /// The client is gone.
    Gone,
    /// The client is told what is wrong.
    Failed(Failure),
}

impl From<Failure> for Farewell {
    fn from(failure: Failure) -> Farewell {
        Farewell::Failed(failure)
    }
}

/// What came from the client.
enum Heard {
    Text(String),
    Samples(Bytes),
    /// The service is being stopped.
    Stop,
}

/// What a client that is waited for has to send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SignOfLife {
    /// A text or samples: before its hello a client may be anybody.
    Message,
    /// A ping will do.
    AnyFrame,
}

/// The line to one client.
struct Line {
    socket: WebSocket,
    app: Service,
}

/// Talks to a client, from its hello on. A stranger who shows the token gets a `place` among the streams.
async fn converse(
    line: &mut Line,
    authorized: bool,
    place: &mut OwnedSemaphorePermit,
) -> Result<(), Farewell> {
    let app = line.app.clone();
    let hello = match line.hear(SignOfLife::Message).await? {
        Heard::Text(text) => hello(&text)?,
        Heard::Samples(_) => {
            let message = "expected a hello as text, {\"sample_rate\": 48000}, got binary data";
            return Err(Failure::new(Code::BadRequest, message).into());
        }
        Heard::Stop => return Err(stopping().into()),
    };
    let token = app.options.token.as_deref();
    if !authorized {
        if !hello.token.as_deref().zip(token).is_some_and(|(given, token)| access::same(given, token)) {
            return Err(access::unauthorized().into());
        }
        *place = app.streams.clone().try_acquire_owned().map_err(|_| busy())?;
    }
    let query = WindowQuery { window: hello.window, hop: hello.hop, smoothing: hello.smoothing };
    check_window(&app, query.window())?;
    let stream = app.recognizer.stream_of(SampleRate(hello.sample_rate), query.window());
    let mut stream = stream.map_err(|error| Failure::new(Code::BadParameter, error.to_string()))?;
    let labels = app.recognizer.labels().to_vec();
    line.say(&Message::Ready { labels, window_s: stream.window_s(), hop_s: stream.hop_s() }).await?;

    let mut half = None;
    let mut n_readings = 0;
    let mut count = |readings: &[Reading], audio_s: f64| {
        n_readings += readings.len();
        app.metrics.count_stream(readings.len(), audio_s);
        n_readings
    };
    loop {
        let samples = match line.hear(SignOfLife::AnyFrame).await? {
            Heard::Samples(bytes) => samples(&bytes, &mut half),
            Heard::Text(text) if text == "end" => break,
            Heard::Text(_) => {
                let message = "expected binary samples or the text `end`, got another text";
                return Err(Failure::new(Code::BadRequest, message).into());
            }
            // What was said so far shall not be lost.
            Heard::Stop => break,
        };
        // A second at a time, however much comes at once: the worker is shared, and a client that is gone is noticed.
        for piece in samples.chunks(hello.sample_rate.max(1) as usize) {
            let audio_s = piece.len() as f64 / f64::from(hello.sample_rate);
            let piece = piece.to_vec();
            let pushed = app.pool.stream(move || {
                let readings = stream.push(&piece).map_err(|error| Failure::of_audio(&error))?;
                Ok((stream, readings))
            });
            let (back, readings) = pushed.await?;
            stream = back;
            count(&readings, audio_s);
            line.say_readings(&readings).await?;
            let limit_s = app.options.limits.stream_s;
            if stream.duration_s() > limit_s {
                let message = format!("expected at most {limit_s} s of audio, got more");
                return Err(Failure::new(Code::AudioTooLong, message).into());
            }
        }
    }
    let duration_s = milliseconds(stream.duration_s());
    let finished = app.pool.stream(move || stream.finish().map_err(|error| Failure::of_audio(&error)));
    let readings = finished.await?;
    let n_readings = count(&readings, 0.0);
    line.say_readings(&readings).await?;
    line.say(&Message::End { duration_s, readings: n_readings }).await
}

fn hello(text: &str) -> Result<Hello, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let message = format!("expected a hello such as {{\"sample_rate\": 48000}}: {error}");
        Failure::new(Code::BadParameter, message)
    })
}

/// Too large a message, or what is no WebSocket any more.
fn unreadable(error: &axum::Error) -> Failure {
    match error.source().and_then(|cause| cause.downcast_ref()) {
        Some(tungstenite::Error::Capacity(CapacityError::MessageTooLong { max_size, .. })) => {
            let message = format!("expected messages of at most {max_size} bytes, got a longer one");
            Failure::new(Code::BodyTooLarge, message)
        }
        _ => Failure::new(Code::BadRequest, error.to_string()),
    }
}

fn stopping() -> Failure {
    Failure::new(Code::Stopping, "the service is being stopped")
}

/// Samples of full scale 1; a byte that is half a sample waits in `half` for the other one.
fn samples(bytes: &[u8], half: &mut Option<u8>) -> Vec<f32> {
    let value = |pair: [u8; 2]| f32::from(i16::from_le_bytes(pair)) / 32_768.0;
    let mut samples = Vec::with_capacity(bytes.len() / 2 + 1);
    let mut rest = bytes;
    if let (Some(low), Some((&high, after))) = (*half, bytes.split_first()) {
        samples.push(value([low, high]));
        (*half, rest) = (None, after);
    }
    let (pairs, odd) = rest.as_chunks::<2>();
    samples.extend(pairs.iter().map(|pair| value(*pair)));
    if let Some(&byte) = odd.first() {
        *half = Some(byte);
    }
    samples
}

impl Line {
    /// The next text or samples.
    async fn hear(&mut self, sign: SignOfLife) -> Result<Heard, Farewell> {
        let idle = self.app.options.limits.idle;
        let mut until = Instant::now() + idle;
        let mut stopping = self.app.stopping.subscribe();
        loop {
            let frame = tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => return Ok(Heard::Stop),
                frame = timeout_at(until, self.socket.recv()) => frame,
            };
            match frame {
                Err(_) => {
                    let message = format!("nothing came for {} s", idle.as_secs_f64());
                    return Err(Failure::new(Code::ClientTooSlow, message).into());
                }
                Ok(Some(Ok(Frame::Text(text)))) => return Ok(Heard::Text(text.to_string())),
                Ok(Some(Ok(Frame::Binary(bytes)))) => return Ok(Heard::Samples(bytes)),
                Ok(Some(Ok(Frame::Ping(_) | Frame::Pong(_)))) => {
                    if sign == SignOfLife::AnyFrame {
                        until = Instant::now() + idle;
                    }
                }
                Ok(Some(Ok(Frame::Close(_)))) => {
                    // Receiving once more sends the answer to it.
                    let _ = timeout(idle, self.socket.recv()).await;
                    return Err(Farewell::Gone);
                }
                Ok(None) => return Err(Farewell::Gone),
                Ok(Some(Err(error))) => return Err(unreadable(&error).into()),
            }
        }
    }

    async fn say_readings(&mut self, readings: &[Reading]) -> Result<(), Farewell> {
        for reading in readings {
            self.say(&Message::Reading(ReadingAnswer::from(reading))).await?;
        }
        Ok(())
    }

    async fn say(&mut self, message: &impl Serialize) -> Result<(), Farewell> {
        let text = serde_json::to_string(message)
            .map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
        self.send(Frame::Text(text.into())).await
    }

    /// A client that does not read is gone.
    async fn send(&mut self, frame: Frame) -> Result<(), Farewell> {
        match timeout(self.app.options.limits.idle, self.socket.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Farewell::Gone),
        }
    }

    async fn close(mut self, farewell: Farewell) {
        let code = match farewell {
            Farewell::Gone => return,
            Farewell::Normal => 1000,
            Farewell::Failed(failure) => {
                let code = failure.code.close();
                if self.say(&ErrorAnswer { error: failure }).await.is_err() {
                    return;
                }
                code
            }
        };
        // Whether it arrives makes no difference any more.
        let _ = self.send(Frame::Close(Some(CloseFrame { code, reason: "".into() }))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_may_end_within_a_sample() {
        let bytes: Vec<u8> = [0i16, 1, -1, i16::MAX, i16::MIN].iter().flat_map(|x| x.to_le_bytes()).collect();
        let whole = samples(&bytes, &mut None);
        assert_eq!(whole, [0.0, 1.0 / 32_768.0, -1.0 / 32_768.0, 32_767.0 / 32_768.0, -1.0]);
        for n in 1..=bytes.len() {
            let mut half = None;
            let pieces: Vec<f32> = bytes.chunks(n).flat_map(|piece| samples(piece, &mut half)).collect();
            assert_eq!((pieces, half), (whole.clone(), None), "{n} bytes each");
        }
        let mut half = None;
        assert_eq!((samples(&[1], &mut half), half), (vec![], Some(1)));
        assert_eq!((samples(&[], &mut half), half), (vec![], Some(1)));
    }
}
