//! What the service does not take on, and from whom, without a socket.

mod common;

use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode, header};
use common::{RUNTIME, app, ask, babble, expected, get, limited, post, wav};
use intone_server::{Limits, Options};

#[test]
fn too_much_is_refused() {
    RUNTIME.block_on(async {
        let bytes = wav(&babble(2.0, 150.0));
        let small = limited(Limits { body_bytes: bytes.len() - 1, ..Limits::default() });
        let reply = post(&small, "/v1/recognize", bytes.clone()).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (413, "body_too_large"));
        // In pieces, without saying how much there will be.
        let pieces = bytes.chunks(1_000).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)));
        let pieces: Vec<_> = pieces.collect();
        let reply =
            post(&small, "/v1/recognize", Body::from_stream(futures_util::stream::iter(pieces))).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (413, "body_too_large"));
        let exact = limited(Limits { body_bytes: bytes.len(), ..Limits::default() });
        assert_eq!(post(&exact, "/v1/recognize", bytes.clone()).await.status, StatusCode::OK);

        let short = limited(Limits { duration_s: 1.5, ..Limits::default() });
        for path in ["/v1/recognize", "/v1/timeline", "/v1/log-mel"] {
            let reply = post(&short, path, bytes.clone()).await;
            assert_eq!((reply.status.as_u16(), reply.code().as_str()), (413, "audio_too_long"), "{path}");
        }

        let hasty = limited(Limits { request: Duration::ZERO, ..Limits::default() });
        let reply = post(&hasty, "/v1/recognize", bytes).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, "timeout"));
    });
}

#[test]
fn a_body_that_stops_is_not_waited_for() {
    RUNTIME.block_on(async {
        let patience = Duration::from_millis(50);
        let service = limited(Limits { idle: patience, ..Limits::default() });
        let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let reply = post(&service, "/v1/recognize", body).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (408, "client_too_slow"));
    });
}

#[test]
fn when_all_are_busy_the_rest_is_told_so() {
    RUNTIME.block_on(async {
        let service = limited(Limits { workers: 1, queue: 1, ..Limits::default() });
        let bytes = wav(&babble(20.0, 150.0));
        let want = expected(&bytes);
        let requests: Vec<_> = (0..12)
            .map(|_| {
                let (service, bytes) = (service.clone(), bytes.clone());
                tokio::spawn(async move { post(&service, "/v1/recognize", bytes).await })
            })
            .collect();
        let (mut n_answered, mut n_busy) = (0, 0);
        for request in requests {
            let reply = request.await.unwrap();
            if reply.status == StatusCode::OK {
                assert_eq!(reply.json(), want);
                n_answered += 1;
            } else {
                assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, "busy"));
                assert_eq!(reply.headers[header::RETRY_AFTER], "1");
                n_busy += 1;
            }
        }
        assert!(n_answered >= 2 && n_busy >= 1, "{n_answered} answered, {n_busy} busy");
        assert_eq!(post(&service, "/v1/recognize", bytes).await.status, StatusCode::OK, "and goes on");
    });
}

#[test]
fn an_address_cannot_take_everything() {
    RUNTIME.block_on(async {
        let service = limited(Limits { per_client: 1, ..Limits::default() });
        let from = |address: [u8; 4], body: Body| {
            let mut request = Request::post("/v1/recognize").body(body).unwrap();
            request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 1_000))));
            request
        };
        let speech = || Body::from(wav(&babble(0.5, 150.0)));
        // A body that never comes holds the only place of its address.
        let endless = || Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let mut first = Box::pin(ask(&service, from([192, 0, 2, 1], endless())));
        let waits = std::future::poll_fn(|context| Poll::Ready(first.as_mut().poll(context).is_pending()));
        assert!(waits.await);
        let reply = ask(&service, from([192, 0, 2, 1], speech())).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (429, "too_many_requests"));
        assert_eq!(ask(&service, from([192, 0, 2, 2], speech())).await.status, StatusCode::OK);
        drop(first);
        assert_eq!(ask(&service, from([192, 0, 2, 1], speech())).await.status, StatusCode::OK);
    });
}

#[test]
fn a_token_is_wanted_where_there_is_one() {
    RUNTIME.block_on(async {
        let service = app(Options { token: Some("correct horse".into()), ..Options::default() });
        let with = |authorization: Option<&str>| {
            let mut request = Request::get("/v1/model");
            if let Some(value) = authorization {
                request = request.header(header::AUTHORIZATION, value);
            }
            request.body(Body::empty()).unwrap()
        };
        for wrong in [
            None,
            Some("Bearer battery"),
            Some("Bearer "),
            Some("correct horse"),
            Some("Bearer Correct horse"),
            Some("Basic correct horse"),
        ] {
            let reply = ask(&service, with(wrong)).await;
            assert_eq!((reply.status.as_u16(), reply.code().as_str()), (401, "unauthorized"), "{wrong:?}");
            assert_eq!(reply.headers[header::WWW_AUTHENTICATE], "Bearer");
        }
        for right in ["Bearer correct horse", "bearer correct horse", "BEARER  correct horse"] {
            assert_eq!(ask(&service, with(Some(right))).await.status, StatusCode::OK, "{right}");
        }
        assert_eq!(
            post(&service, "/v1/recognize", wav(&babble(0.5, 150.0))).await.status,
            StatusCode::UNAUTHORIZED
        );
        assert_eq!(get(&service, "/").await.status, StatusCode::OK, "the page asks for it");
        assert_eq!(get(&service, "/healthz").await.status, StatusCode::OK);
    });
}

#[test]
fn pages_of_other_origins_are_kept_out_unless_they_are_friends() {
    RUNTIME.block_on(async {
        let friend = "https://friend.example";
        let service = app(Options {
            allow_origins: vec!["https://Friend.example/".parse().unwrap()],
            ..Options::default()
        });
        let from = |method: Method, origin: &str| {
            let request = Request::builder().method(method).uri("/v1/model");
            request
                .header(header::HOST, "127.0.0.1:7860")
                .header(header::ORIGIN, origin)
                .body(Body::empty())
                .unwrap()
        };
        let reply = ask(&service, from(Method::GET, "https://evil.example")).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (403, "forbidden_origin"));
        assert!(reply.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
        let reply = ask(&service, from(Method::OPTIONS, "https://evil.example")).await;
        assert!(reply.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
        let own = ask(&service, from(Method::GET, "http://127.0.0.1:7860")).await;
        assert_eq!(own.status, StatusCode::OK);
        assert!(own.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
        for method in [Method::GET, Method::OPTIONS] {
            let reply = ask(&service, from(method, friend)).await;
            assert!(reply.status.is_success(), "{}", reply.status);
            assert_eq!(reply.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], friend);
        }
    });
}
