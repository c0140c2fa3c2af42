//! The service on a socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

use crate::state::App;

/// The most that a request's headers may take, bytes.
const MAX_HEADERS_BYTES: usize = 32 * 1024;

/// Serves until `stop` is done; then takes no more connections, finishes what runs within
/// [`Limits::shutdown`](crate::Limits::shutdown), and says whether it could.
pub async fn serve(app: App, listener: TcpListener, stop: impl Future<Output = ()>) -> bool {
    let router = app.router();
    let App(app) = app;
    let limits = app.options.limits.clone();
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(MAX_HEADERS_BYTES);
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((connection, address, place)) = accepted else { continue };
        let router = router.clone();
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(ConnectInfo(address));
            router.clone().oneshot(request)
        });
        // A client that does not read its answer is gone.
        let mut connection = TimeoutStream::new(connection);
        connection.set_write_timeout(Some(limits.idle));
        let connection = http.serve_connection(TokioIo::new(Box::pin(connection)), service).with_upgrades();
        let mut stopping = app.stopping.subscribe();
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                _ = connection.as_mut() => true,
                _ = stopping.wait_for(|stopping| *stopping) => false,
            };
            if !ended {
                connection.as_mut().graceful_shutdown();
                // A client that breaks off is no error of ours.
                let _ = connection.await;
            }
            drop(place);
        });
    }
    drop(listener);
    app.stopping.send_replace(true);
    let ended = async {
        // All places are free when no connection is open, and no stream.
        let _ = places.acquire_many(limits.connections as u32).await;
        let _ = app.streams.acquire_many(limits.streams as u32).await;
    };
    timeout(limits.shutdown, ended).await.is_ok()
}

/// The next connection, and its place among those at the same time.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((connection, address)) => {
            // Readings are small and must not wait for more.
            let _ = connection.set_nodelay(true);
            Some((connection, address, place))
        }
        Err(_) => {
            // Out of file descriptors, or the client was gone before it was greeted: both pass.
            sleep(Duration::from_millis(20)).await;
            None
        }
    }
}
