//! Everything that a client can be told instead of an answer.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What went wrong, in a word that programs can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// 400: the request itself makes no sense.
    BadRequest,
    /// 400: a parameter is unknown or out of range.
    BadParameter,
    /// 401: the token is missing or wrong.
    Unauthorized,
    /// 403: a web page of another origin.
    ForbiddenOrigin,
    /// 404: there is nothing under this path.
    NotFound,
    /// 405: not with this method.
    MethodNotAllowed,
    /// 408: the client sends too slowly.
    ClientTooSlow,
    /// 413: more bytes than are taken.
    BodyTooLarge,
    /// 413: a longer recording than is taken.
    AudioTooLong,
    /// 422: what came cannot be decoded.
    BadAudio,
    /// 422: the format is known, but not decoded here.
    UnsupportedCodec,
    /// 429: too many requests of this client at the same time.
    TooManyRequests,
    /// 500: a fault of the service.
    Internal,
    /// 503: too much to do; come again later.
    Busy,
    /// 503: the work took longer than is allowed.
    Timeout,
    /// 503: the service is being stopped.
    Stopping,
}

impl Code {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Code::BadRequest | Code::BadParameter => StatusCode::BAD_REQUEST,
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::ForbiddenOrigin => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::ClientTooSlow => StatusCode::REQUEST_TIMEOUT,
            Code::BodyTooLarge | Code::AudioTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Code::BadAudio | Code::UnsupportedCodec => StatusCode::UNPROCESSABLE_ENTITY,
            Code::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Code::Busy | Code::Timeout | Code::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The code of a WebSocket's close frame (RFC 6455, 7.4.1 and the registry at IANA).
    pub(crate) fn close(self) -> u16 {
        match self {
            Code::Internal => 1011,
            Code::Busy | Code::Timeout | Code::TooManyRequests => 1013,
            Code::Stopping => 1012,
            Code::BodyTooLarge | Code::AudioTooLong => 1009,
            _ => 1008,
        }
    }
}

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// For people: what was expected, and what came.
    pub(crate) message: String,
}

/// The form of every error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorAnswer {
    pub(crate) error: Failure,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }

    pub(crate) fn busy(what: &str) -> Failure {
        Failure::new(Code::Busy, format!("{what}; try again in a moment"))
    }

    /// What the library says of a recording.
    pub(crate) fn of_audio(error: &intone::Error) -> Failure {
        let code = match error {
            intone::Error::UnsupportedCodec { .. } => Code::UnsupportedCodec,
            intone::Error::Model(_) => Code::Internal,
            _ => Code::BadAudio,
        };
        Failure::new(code, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = self.code;
        let mut response = (code.status(), Json(ErrorAnswer { error: self })).into_response();
        let headers = response.headers_mut();
        match code {
            Code::Busy | Code::TooManyRequests => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Code::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        // For the log.
        response.extensions_mut().insert(code);
        response
    }
}
