//! The service: what all requests share, and the routes.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use intone::Recognizer;
use tokio::sync::{Semaphore, watch};

use crate::access::{self, Clients};
use crate::error::{Code, Failure};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::pool::Pool;
use crate::{assets, audio, live, log, log_mel, model, openapi};

/// A service, ready to answer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App(pub(crate) Service);

/// What the parts of the service know of it.
#[derive(Debug, Clone)]
pub(crate) struct Service(Arc<Shared>);

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) recognizer: Recognizer,
    pub(crate) options: Options,
    pub(crate) pool: Pool,
    pub(crate) metrics: Metrics,
    pub(crate) clients: Clients,
    /// Room for bodies, KiB.
    pub(crate) room: Arc<Semaphore>,
    /// Streams that may yet be opened.
    pub(crate) streams: Arc<Semaphore>,
    /// WebSockets that may yet be opened by clients who have not shown the token.
    pub(crate) strangers: Arc<Semaphore>,
    /// Whether the service is being stopped.
    pub(crate) stopping: watch::Sender<bool>,
}

impl std::ops::Deref for Service {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// A service that answers with this model.
    pub fn new(recognizer: Recognizer, options: Options) -> App {
        let limits = &options.limits;
        let room_kib = limits.all_bodies_bytes.max(limits.body_bytes).div_ceil(1_024) + 1;
        App(Service(Arc::new(Shared {
            pool: Pool::new(limits.workers, limits.queue),
            metrics: Metrics::default(),
            clients: Clients::new(limits.per_client),
            room: Arc::new(Semaphore::new(room_kib.min(Semaphore::MAX_PERMITS))),
            streams: Arc::new(Semaphore::new(limits.streams)),
            // More than one address can take.
            strangers: Arc::new(Semaphore::new(4 * limits.per_client.max(limits.streams))),
            stopping: watch::Sender::new(false),
            recognizer,
            options,
        })))
    }

    /// All routes, without a socket. Requests from a socket carry
    /// [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo), for [`Limits::per_client`](crate::Limits::per_client).
    pub fn router(&self) -> Router {
        let api = Router::new()
            .route("/v1/recognize", post(audio::recognize))
            .route("/v1/timeline", post(audio::timeline))
            .route("/v1/log-mel", post(log_mel::log_mel))
            .route("/v1/stream", get(live::stream))
            .route("/v1/model", get(model::model))
            .method_not_allowed_fallback(wrong_method)
            .layer(from_fn_with_state(self.0.clone(), access::guard));
        let router = Router::new()
            .merge(api)
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/metrics", get(crate::metrics::metrics))
            .route("/openapi.json", get(openapi::json));
        assets::routes(router)
            .fallback(|| async { Failure::new(Code::NotFound, "there is nothing here; see /api") })
            .method_not_allowed_fallback(wrong_method)
            .layer(from_fn_with_state(self.0.clone(), access::headers))
            .layer(from_fn_with_state(self.0.clone(), log::track))
            .with_state(self.0.clone())
    }
}

async fn wrong_method() -> Failure {
    Failure::new(Code::MethodNotAllowed, "this path does not take that method; see /api")
}
