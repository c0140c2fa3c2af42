//! Counters for Prometheus, in its text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::state::Service;

/// Upper bounds of the histogram of times, seconds.
const BOUNDS_S: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// What happened since the service was started.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Requests by route and status.
    requests: BTreeMap<(String, u16), u64>,
    /// Times by route.
    times: BTreeMap<String, Times>,
    /// Recordings that were recognised, and readings of streams, seconds.
    audio_s: f64,
    n_readings: u64,
}

#[derive(Debug, Default)]
struct Times {
    /// Requests up to each bound.
    up_to: [u64; BOUNDS_S.len()],
    n: u64,
    sum_s: f64,
}

impl Metrics {
    /// Counts a request. `route` must come from a list that does not grow.
    pub(crate) fn count(&self, route: &str, status: u16, seconds: f64, audio_s: f64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.requests.entry((route.to_owned(), status)).or_default() += 1;
        counts.audio_s += audio_s;
        let times = counts.times.entry(route.to_owned()).or_default();
        times.n += 1;
        times.sum_s += seconds;
        for (n, bound_s) in times.up_to.iter_mut().zip(BOUNDS_S) {
            *n += u64::from(seconds <= bound_s);
        }
    }

    /// Counts what came out of a stream.
    pub(crate) fn count_stream(&self, n_readings: usize, audio_s: f64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.n_readings += n_readings as u64;
        counts.audio_s += audio_s;
    }

    fn write(&self, out: &mut String, gauges: &[(&str, &str, usize)]) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        head(out, "intone_requests_total", "counter", "Requests by route and status.")?;
        for ((route, status), n) in &counts.requests {
            writeln!(out, "intone_requests_total{{route=\"{route}\",status=\"{status}\"}} {n}")?;
        }
        head(out, "intone_request_seconds", "histogram", "Time from a request's headers to its answer.")?;
        for (route, times) in &counts.times {
            let bounds = BOUNDS_S.iter().map(ToString::to_string).zip(times.up_to);
            for (bound, n) in bounds.chain([("+Inf".to_owned(), times.n)]) {
                writeln!(out, "intone_request_seconds_bucket{{route=\"{route}\",le=\"{bound}\"}} {n}")?;
            }
            writeln!(out, "intone_request_seconds_sum{{route=\"{route}\"}} {}", times.sum_s)?;
            writeln!(out, "intone_request_seconds_count{{route=\"{route}\"}} {}", times.n)?;
        }
        head(out, "intone_audio_seconds_total", "counter", "Audio that was recognised.")?;
        writeln!(out, "intone_audio_seconds_total {}", counts.audio_s)?;
        head(out, "intone_stream_readings_total", "counter", "Readings that streams were given.")?;
        writeln!(out, "intone_stream_readings_total {}", counts.n_readings)?;
        for (name, help, value) in gauges {
            head(out, name, "gauge", help)?;
            writeln!(out, "{name} {value}")?;
        }
        Ok(())
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(app): State<Service>) -> impl IntoResponse {
    let n_streams = app.options.limits.streams - app.streams.available_permits();
    let gauges = [
        ("intone_workers_busy", "Recordings that are worked on now.", app.pool.n_running()),
        ("intone_requests_inside", "Requests that wait for a worker or have one.", app.pool.n_inside()),
        ("intone_streams_open", "Streams that are open now.", n_streams),
    ];
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = app.metrics.write(&mut text, &gauges);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
