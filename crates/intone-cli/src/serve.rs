//! `intone serve`: The page and the service.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use intone_server::{App, Limits, Options, Origin, serve};
use tokio::net::TcpListener;

use crate::progress::is_quiet;
use crate::terminal::{complain, thousands};

/// Serve a page to upload, record and listen live, and an HTTP API
///
/// Everything is part of the program: it works without a network. Ctrl-C ends it after what runs is answered; a second
/// one at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address to listen on; 0.0.0.0 lets other machines in
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,

    /// Port to listen on; 0 for any that is free
    #[arg(long, default_value_t = 7860)]
    port: u16,

    /// Model to use instead of the embedded one: a file, or hf:OWNER/NAME[@REVISION][/FILE]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,

    /// Token that clients of the API must give; better in the environment than here, where others can see it
    #[arg(long, env = "INTONE_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = token)]
    token: Option<String>,

    /// Let web pages of this origin use the API, e.g. https://example.org
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<Origin>,

    /// Let web pages of this origin show the page in a frame, e.g. https://example.org
    #[arg(long, value_name = "ORIGIN")]
    embed_in: Vec<Origin>,

    #[command(flatten)]
    limits: LimitArgs,
}

/// One option for each limit. The defaults that they name are compared with those of [`Limits`] by a test.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Longest body of a request, MB [default: 50]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max_body_mb: Option<u32>,

    /// Longest recording, seconds [default: 3600]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    max_duration: Option<u32>,

    /// Recordings worked on at the same time [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,

    /// Requests that may wait for a worker [default: 64]
    #[arg(long, value_name = "N")]
    queue: Option<u16>,

    /// Requests at the same time from one address [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    max_per_client: Option<u16>,

    /// Time for an answer, seconds [default: 600]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    max_time: Option<u32>,

    /// Time after which a client that says nothing is let go, seconds [default: 15]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    max_idle: Option<u32>,

    /// Live streams at the same time [default: 16]
    #[arg(long, value_name = "N")]
    max_streams: Option<u16>,

    /// Connections at the same time [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    max_connections: Option<u16>,
}

impl LimitArgs {
    fn limits(&self) -> Limits {
        let default = Limits::default();
        let seconds = |s: u32| Duration::from_secs(u64::from(s));
        let body_bytes = self.max_body_mb.map_or(default.body_bytes, |mb| mb as usize * 1_000_000);
        Limits {
            body_bytes,
            all_bodies_bytes: default.all_bodies_bytes.max(2 * body_bytes),
            duration_s: self.max_duration.map_or(default.duration_s, f64::from),
            workers: self.workers.map_or(default.workers, usize::from),
            queue: self.queue.map_or(default.queue, usize::from),
            per_client: self.max_per_client.map_or(default.per_client, usize::from),
            request: self.max_time.map_or(default.request, seconds),
            idle: self.max_idle.map_or(default.idle, seconds),
            streams: self.max_streams.map_or(default.streams, usize::from),
            connections: self.max_connections.map_or(default.connections, usize::from),
            ..default
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let limits = args.limits.limits();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // As many workers for recordings as for streams, and some for the runtime itself.
        .max_blocking_threads(2 * limits.workers + 2)
        .enable_all()
        .build()
        .context("starting the threads of the service")?;
    let address = SocketAddr::new(args.host, args.port);
    let listener = runtime
        .block_on(TcpListener::bind(address))
        .with_context(|| format!("listening on {address}; --port chooses another port"))?;
    let address = listener.local_addr()?;
    let recognizer = crate::predict::recognizer(args.model.as_deref())?;
    let options = Options {
        limits,
        token: args.token.clone(),
        allow_origins: args.allow_origin.clone(),
        embed_in: args.embed_in.clone(),
        log: !is_quiet(),
    };
    greet(address, &options)?;
    let in_time = runtime.block_on(serve(App::new(recognizer, options), listener, stop()));
    // Work that nobody waits for any more must not keep the program.
    runtime.shutdown_background();
    if !in_time {
        complain("intone: some requests did not end in time");
    }
    Ok(ExitCode::SUCCESS)
}

/// An empty token would be one that no client can give.
fn token(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    match text.is_empty() {
        true => Err("it is empty; leave it out, and INTONE_TOKEN unset, to let everybody in"),
        false => Ok(text.to_owned()),
    }
}

fn greet(address: SocketAddr, options: &Options) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "Intone listens on http://{address}")?;
    if !address.ip().is_loopback() && options.token.is_none() {
        complain("intone: everybody who reaches this address can use it; --token asks for a token");
    }
    let limits = &options.limits;
    let megabytes = thousands(limits.body_bytes / 1_000_000);
    writeln!(
        out,
        "{megabytes} MB and {} s at most, {} at a time; Ctrl-C ends it",
        limits.duration_s, limits.workers
    )?;
    out.flush()?;
    Ok(())
}

/// Until Ctrl-C or the system's request to end; the second one ends the program at once.
async fn stop() {
    asked().await;
    tokio::spawn(async {
        asked().await;
        std::process::exit(130);
    });
}

async fn asked() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    // Where signals cannot be had, the system ends the program itself.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
