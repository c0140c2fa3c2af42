//! What can be set, and what holds if nothing is.

use std::time::Duration;

use crate::origin::Origin;

/// What a service takes on at most. Each limit has an answer of its own when it is passed, see [`Code`](crate::Code).
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Length of the body of a request, bytes. The default, 50 MB, holds an hour of compressed speech or nine minutes of
    /// 48 kHz 16-bit WAV.
    pub body_bytes: usize,
    /// Bodies that are held in memory at the same time, bytes all together; at least one of the longest fits.
    pub all_bodies_bytes: usize,
    /// Length of a recording, seconds.
    pub duration_s: f64,
    /// Recordings that are worked on at the same time; each takes a processor.
    pub workers: usize,
    /// Requests that wait for a worker.
    pub queue: usize,
    /// Requests at the same time from one address, streams included. This machine's own address is exempt: proxies
    /// on it speak for many.
    pub per_client: usize,
    /// Time for a body to arrive.
    pub upload: Duration,
    /// Time for an answer once the body is there, waiting included. The default, ten minutes, is enough for the longest
    /// recording on one processor; work that nobody waits for any more ends by itself.
    pub request: Duration,
    /// Time in which a client must send something: headers, the next part of a body, the next message of a stream; and in
    /// which it must take some of its answer.
    pub idle: Duration,
    /// Streams at the same time.
    pub streams: usize,
    /// Length of a stream, seconds of audio.
    pub stream_s: f64,
    /// Connections at the same time; more wait in the operating system.
    pub connections: usize,
    /// Time that running requests have to end when the service is stopped.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes: 50_000_000,
            all_bodies_bytes: 400_000_000,
            duration_s: 3_600.0,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            queue: 64,
            per_client: 16,
            upload: Duration::from_secs(120),
            request: Duration::from_secs(600),
            idle: Duration::from_secs(15),
            streams: 16,
            stream_s: 12.0 * 3_600.0,
            connections: 1_024,
            shutdown: Duration::from_secs(10),
        }
    }
}

/// How a service behaves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// What it takes on at most.
    pub limits: Limits,
    /// What a client of the API must know (`Authorization: Bearer TOKEN`). `None`: everybody may use it.
    pub token: Option<String>,
    /// Web pages of other origins that may use the API. None by default.
    pub allow_origins: Vec<Origin>,
    /// Origins whose pages may show this page in a frame. None by default.
    pub embed_in: Vec<Origin>,
    /// Whether each request makes a line on standard error, JSON.
    pub log: bool,
}
