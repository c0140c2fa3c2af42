//! What the model and the service say about themselves.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use intone::{SampleRate, Window};
use serde::Serialize;
use utoipa::ToSchema;

use crate::audio::parameters;
use crate::error::{ErrorAnswer, Failure};
use crate::state::Service;
use crate::types::NoQuery;

/// The model, as its file describes it, and what the service takes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelAnswer {
    /// The emotions, in the order of every answer.
    labels: Vec<String>,
    /// The kind of network.
    architecture: &'static str,
    /// Version of this program.
    version: &'static str,
    /// An answer whose highest probability is below this is uncertain.
    uncertain_below: f32,
    /// The windows that it takes.
    window: WindowAnswer,
    /// Where it comes from.
    provenance: ProvenanceAnswer,
    /// What the service takes.
    limits: LimitsAnswer,
}

#[derive(Debug, Serialize, ToSchema)]
struct WindowAnswer {
    /// The shortest, seconds.
    min_s: f64,
    /// The longest, seconds.
    max_s: f64,
    /// The one that is taken if none is asked for, seconds.
    default_s: f64,
    /// The hop that is taken if none is asked for, seconds.
    default_hop_s: f64,
}

#[derive(Debug, Serialize, ToSchema)]
struct ProvenanceAnswer {
    /// When training ended.
    created: String,
    /// The evaluation protocol, by name.
    protocol: String,
    /// Results, by name: fractions of 1 (`test_uar`, `folds_accuracy`), and how many clips and speakers they are of
    /// (`test_clips`, `test_speakers`); nothing where the file has none.
    scores: BTreeMap<String, f64>,
    /// The corpora that it was trained on.
    corpora: Vec<CorpusAnswer>,
    /// Licence of the weights.
    licence: String,
    /// What it is meant for, and what not.
    intended_use: String,
    /// Anything else that a user should know.
    notes: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct CorpusAnswer {
    name: String,
    clips: usize,
    licence: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct LimitsAnswer {
    /// Length of a body, bytes.
    body_bytes: usize,
    /// Length of a recording, seconds.
    duration_s: f64,
}

/// What the model is: emotions, windows, origin, results, licence.
#[utoipa::path(
    get, path = "/v1/model", tag = "service",
    responses(
        (status = 200, description = "the model", body = ModelAnswer),
        (status = 400, description = "it takes no parameters", body = ErrorAnswer),
        (status = 401, description = "a token is wanted", body = ErrorAnswer),
    )
)]
pub(crate) async fn model(
    State(app): State<Service>,
    query: Result<Query<NoQuery>, QueryRejection>,
) -> Result<Json<ModelAnswer>, Failure> {
    parameters(query)?;
    let meta = app.recognizer.meta();
    let range = app.recognizer.window_s();
    let default = app.recognizer.stream_of(SampleRate(16_000), Window::default()).ok();
    let from = &meta.provenance;
    let corpora = from.corpora.iter().map(|corpus| CorpusAnswer {
        name: corpus.name.clone(),
        clips: corpus.clips,
        licence: corpus.licence.clone(),
    });
    Ok(Json(ModelAnswer {
        labels: meta.labels.clone(),
        architecture: meta.architecture.name(),
        version: env!("CARGO_PKG_VERSION"),
        uncertain_below: meta.uncertain_below,
        window: WindowAnswer {
            min_s: *range.start(),
            max_s: *range.end(),
            default_s: default.as_ref().map_or(*range.end(), intone::Stream::window_s),
            default_hop_s: default.as_ref().map_or(*range.end(), intone::Stream::hop_s),
        },
        provenance: ProvenanceAnswer {
            created: from.created.clone(),
            protocol: from.protocol.clone(),
            scores: from.scores.clone(),
            corpora: corpora.collect(),
            licence: from.licence.clone(),
            intended_use: from.intended_use.clone(),
            notes: from.notes.clone(),
        },
        limits: LimitsAnswer {
            body_bytes: app.options.limits.body_bytes,
            duration_s: app.options.limits.duration_s,
        },
    }))
}
