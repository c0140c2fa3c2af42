//! The description of the API for programs, made from its types.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::OpenApi;

use crate::error::ErrorAnswer;
use crate::types::Hello;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Intone",
        description = "Speech emotion recognition: audio in, emotions out. Every error is `{\"error\": {\"code\", \"message\"}}`."
    ),
    paths(
        crate::audio::recognize,
        crate::audio::timeline,
        crate::log_mel::log_mel,
        crate::live::stream,
        crate::model::model,
    ),
    components(schemas(ErrorAnswer, Hello))
)]
struct Api;

static JSON: LazyLock<String> = LazyLock::new(|| Api::openapi().to_json().unwrap_or_default());

/// `GET /openapi.json`.
pub(crate) async fn json() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], JSON.as_str())
}
