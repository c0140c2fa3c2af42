//! What a request brings: the bytes of one recording, within the limits.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::header;
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{Code, Failure};
use crate::state::Service;

/// A recording, and the room that it takes.
pub(crate) struct Upload {
    pub(crate) bytes: Vec<u8>,
    /// Held as long as the bytes are.
    pub(crate) room: OwnedSemaphorePermit,
}

/// Reads the recording that is the body, or the first file of a form.
pub(crate) async fn read(app: &Service, request: Request) -> Result<Upload, Failure> {
    let (parts, mut body) = request.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_form = content_type.is_some_and(|value| value.to_ascii_lowercase().starts_with("multipart/"));
    let upload = match read_whole(app, &mut body).await {
        Ok(upload) => upload,
        Err(failure) => {
            if failure.code != Code::ClientTooSlow {
                discard(app, body).await;
            }
            return Err(failure);
        }
    };
    let bytes = match is_form {
        false => upload.bytes,
        true => first_file(Request::from_parts(parts, Body::from(upload.bytes))).await?.into(),
    };
    if bytes.is_empty() {
        return Err(Failure::new(Code::BadRequest, "expected a recording as the body, got nothing"));
    }
    Ok(Upload { bytes, ..upload })
}

async fn read_whole(app: &Service, body: &mut Body) -> Result<Upload, Failure> {
    let limits = &app.options.limits;
    let too_large = || {
        let message = format!("expected at most {} bytes, got more", limits.body_bytes);
        Failure::new(Code::BodyTooLarge, message)
    };
    if axum::body::HttpBody::size_hint(body).lower() > limits.body_bytes as u64 {
        return Err(too_large());
    }
    let no_room = || Failure::busy("too many recordings are in memory");
    let mut room = app.room.clone().try_acquire_many_owned(1).map_err(|_| no_room())?;
    let mut bytes = Vec::new();
    let until = Instant::now() + limits.upload;
    while let Some(data) = next(body, until, limits.idle).await? {
        if bytes.len() + data.len() > limits.body_bytes {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
        let n_held = room.num_permits();
        let n_more = (bytes.len() / 1_024).saturating_sub(n_held - 1) as u32;
        let more = app.room.clone().try_acquire_many_owned(n_more).map_err(|_| no_room())?;
        room.merge(more);
    }
    Ok(Upload { bytes, room })
}

/// The next part of a body.
async fn next(body: &mut Body, until: Instant, idle: Duration) -> Result<Option<Bytes>, Failure> {
    let too_slow = |what: String| Failure::new(Code::ClientTooSlow, what);
    loop {
        let frame = timeout_at(until, timeout(idle, body.frame()))
            .await
            .map_err(|_| too_slow("the body took too long to arrive".to_owned()))?
            .map_err(|_| too_slow(format!("nothing came for {} s", idle.as_secs_f64())))?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => {
                return Err(Failure::new(Code::BadRequest, format!("the body ends early: {error}")));
            }
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Lets the rest of a body pass, as long as it does not take longer than a client may be silent: an answer that comes before
/// its request is through may get lost.
pub(crate) async fn discard(app: &Service, mut body: Body) {
    let limits = &app.options.limits;
    let until = Instant::now() + limits.idle;
    let mut n_left = 2 * limits.body_bytes;
    while let Ok(Some(data)) = next(&mut body, until, limits.idle).await {
        n_left = n_left.saturating_sub(data.len());
        if n_left == 0 {
            return;
        }
    }
}

/// The first file of a form; if it has none, its first field.
async fn first_file(mut request: Request) -> Result<Bytes, Failure> {
    // The whole form was read within our own limits.
    DefaultBodyLimit::disable().apply(&mut request);
    let bad = |error: &dyn std::fmt::Display| {
        Failure::new(Code::BadRequest, format!("the form cannot be read: {error}"))
    };
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| bad(&error.body_text()))?;
    let mut first = None;
    while let Some(field) = form.next_field().await.map_err(|error| bad(&error.body_text()))? {
        let is_file = field.file_name().is_some();
        let bytes = field.bytes().await.map_err(|error| bad(&error.body_text()))?;
        if is_file {
            return Ok(bytes);
        }
        first.get_or_insert(bytes);
    }
    first.ok_or_else(|| Failure::new(Code::BadRequest, "expected a form with a file, got an empty one"))
}
