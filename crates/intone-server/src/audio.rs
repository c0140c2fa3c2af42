//! Recordings in, emotions out.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use intone::timeline::Spans;
use intone::{AudioStream, SampleRate};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::body::{self, Upload};
use crate::error::{Code, ErrorAnswer, Failure};
use crate::log::AudioSeconds;
use crate::pool::Wanted;
use crate::state::Service;
use crate::types::{Answer, ReadingAnswer, TimelineAnswer, WindowQuery, milliseconds};

/// What a request for one answer can ask for.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RecognizeQuery {
    /// Whether to add what the network decides by.
    #[serde(default)]
    embedding: bool,
}

/// Recognise the emotion in a recording.
///
/// The body is the recording, or a form whose first file is the recording: WAV, FLAC, Ogg Vorbis, MP3, AAC, AIFF, or the
/// audio of MP4 and Matroska. What it is says its content.
#[utoipa::path(
    post, path = "/v1/recognize", params(RecognizeQuery), tag = "recordings",
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "the recording"),
    responses(
        (status = 200, description = "the emotion", body = Answer),
        (status = "4XX", description = "the request or the recording cannot be used", body = ErrorAnswer),
        (status = 503, description = "too much to do, or it took too long", body = ErrorAnswer),
    )
)]
pub(crate) async fn recognize(
    State(app): State<Service>,
    query: Result<Query<RecognizeQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let query = match parameters(query) {
        Ok(query) => query,
        Err(failure) => return refuse(&app, request, failure).await,
    };
    let answer = on_upload(&app, request, move |app, stream, wanted| {
        let limit_s = app.options.limits.duration_s;
        let mut too_long = false;
        let go_on = |duration_s: f64| {
            too_long = duration_s > limit_s;
            !too_long && wanted.still()
        };
        match app.recognizer.recognize_while(stream, go_on).map_err(|error| Failure::of_audio(&error))? {
            None if too_long => Err(audio_too_long(app)),
            None => Err(unwanted()),
            Some(scores) => {
                let embedding = query.embedding.then(|| scores.embedding().to_vec());
                let answer = Answer::new(&scores, scores.labels().len(), warnings(stream));
                Ok(Answer { embedding, ..answer })
            }
        }
    })
    .await?;
    Ok((AudioSeconds(answer.duration_s).extension(), Json(answer)).into_response())
}

/// Recognise the emotions over the course of a recording.
///
/// Takes what `/v1/recognize` takes. Where nobody speaks there is a gap, not an emotion.
#[utoipa::path(
    post, path = "/v1/timeline", params(WindowQuery), tag = "recordings",
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "the recording"),
    responses(
        (status = 200, description = "the emotions over time", body = TimelineAnswer),
        (status = "4XX", description = "the request or the recording cannot be used", body = ErrorAnswer),
        (status = 503, description = "too much to do, or it took too long", body = ErrorAnswer),
    )
)]
pub(crate) async fn timeline(
    State(app): State<Service>,
    query: Result<Query<WindowQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let checked = parameters(query).and_then(|query| check_window(&app, query.window()));
    let window = match checked {
        Ok(window) => window,
        Err(failure) => return refuse(&app, request, failure).await,
    };
    let answer = on_upload(&app, request, move |app, audio, wanted| {
        let failed = |error: intone::Error| Failure::of_audio(&error);
        let mut stream = app.recognizer.stream_of(audio.sample_rate(), window).map_err(failed)?;
        // As they will be sent: without what the network decides by, which is hundreds of numbers each.
        let (mut of_all, mut spans, mut joined) = (Vec::new(), Vec::new(), Spans::default());
        let mut keep = |readings: Vec<intone::Reading>| {
            of_all.extend(readings.iter().map(ReadingAnswer::from));
            let ended = readings.into_iter().filter_map(|reading| joined.push(reading));
            spans.extend(ended.map(|span| ReadingAnswer::from(&span)));
        };
        while let Some(samples) = audio.next_chunk().map_err(failed)? {
            keep(stream.push(samples).map_err(failed)?);
            if stream.duration_s() > app.options.limits.duration_s {
                return Err(audio_too_long(app));
            }
            if !wanted.still() {
                return Err(unwanted());
            }
        }
        let (duration_s, window_s, hop_s) = (stream.duration_s(), stream.window_s(), stream.hop_s());
        keep(stream.finish().map_err(failed)?);
        spans.extend(joined.finish().iter().map(ReadingAnswer::from));
        Ok(TimelineAnswer {
            labels: app.recognizer.labels().to_vec(),
            duration_s: milliseconds(duration_s),
            window_s,
            hop_s,
            readings: of_all,
            spans,
            warnings: warnings(audio),
        })
    })
    .await?;
    Ok((AudioSeconds(answer.duration_s).extension(), Json(answer)).into_response())
}

/// Reads the recording that a request brings, and has a worker look at it.
pub(crate) async fn on_upload<T: Send + 'static>(
    app: &Service,
    request: Request,
    work: impl FnOnce(&Service, &mut AudioStream, &Wanted) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let Upload { bytes, room } = body::read(app, request).await?;
    let job = {
        let app = app.clone();
        move |wanted: &Wanted| {
            let _room = room;
            let mut stream = AudioStream::from_bytes(bytes).map_err(|error| Failure::of_audio(&error))?;
            work(&app, &mut stream, wanted)
        }
    };
    app.pool.request(app.options.limits.request, job).await
}

/// The same windows, if they fit the model.
pub(crate) fn check_window(app: &Service, window: intone::Window) -> Result<intone::Window, Failure> {
    let fits = app.recognizer.stream_of(SampleRate(16_000), window);
    fits.map(|_| window).map_err(|error| Failure::new(Code::BadParameter, error.to_string()))
}

pub(crate) async fn refuse(app: &Service, request: Request, failure: Failure) -> Result<Response, Failure> {
    body::discard(app, request.into_body()).await;
    Err(failure)
}

pub(crate) fn parameters<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Failure> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => Err(Failure::new(Code::BadParameter, rejection.body_text())),
    }
}

fn audio_too_long(app: &Service) -> Failure {
    let limit_s = app.options.limits.duration_s;
    Failure::new(Code::AudioTooLong, format!("expected at most {limit_s} s of audio, got more"))
}

/// Nobody will read this: the one who asked has an answer already, or is gone.
fn unwanted() -> Failure {
    Failure::new(Code::Timeout, "no longer wanted")
}

fn warnings(stream: &AudioStream) -> Vec<String> {
    stream.warnings().iter().map(ToString::to_string).collect()
}
