//! Speech emotion recognition as a service: a page to upload, record and listen live, and an HTTP API.
//!
//! [`App::new`] makes the service from a [`Recognizer`](intone::Recognizer) and [`Options`]; [`App::router`] is all of it
//! without a socket, and [`serve`] puts it on one:
//!
//! | route | |
//! |---|---|
//! | `POST /v1/recognize` | a recording in, its emotion out |
//! | `POST /v1/timeline` | the emotions over the course of a recording |
//! | `POST /v1/log-mel` | the log-mel spectrogram of a recording, PNG |
//! | `GET /v1/stream` | WebSocket: 16-bit samples in, readings out while they come |
//! | `GET /v1/model` | what the model says about itself |
//! | `GET /healthz`, `/metrics`, `/openapi.json` | for those who run it |
//! | `GET /` | the page; `/api` is the description of this interface for people |
//!
//! Every error is `{"error": {"code", "message"}}` under a fitting status, see [`Code`]. Limits are in [`Limits`].
//! Neither audio nor file names are kept or logged.

mod access;
mod assets;
mod audio;
mod body;
mod error;
mod live;
mod log;
mod log_mel;
mod metrics;
mod model;
mod openapi;
mod options;
mod origin;
mod pool;
mod serve;
mod state;
mod types;

pub use error::Code;
pub use options::{Limits, Options};
pub use origin::{NoOrigin, Origin};
pub use serve::serve;
pub use state::App;
pub use types::{Answer, Message, ReadingAnswer, TimelineAnswer};
