//! Who may ask, from where, and how much at the same time; and what browsers are told about every answer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};

use crate::body;
use crate::error::{Code, Failure};
use crate::origin::Origin;
use crate::state::Service;

/// The one path whose token may also come in its first message: browsers cannot set headers of a WebSocket.
const STREAM: &str = "/v1/stream";

/// Lets in those who may use the API.
pub(crate) async fn guard(State(app): State<Service>, mut request: Request, next: Next) -> Response {
    let foreign = match foreign_origin(request.headers(), &app.options.allow_origins) {
        Ok(foreign) => foreign,
        Err(failure) => return refuse(&app, request, failure).await,
    };
    let mut response = match enter(&app, &request) {
        _ if foreign.is_some() && request.method() == Method::OPTIONS => preflight(),
        Err(failure) => refuse(&app, request, failure).await,
        Ok(visit) => {
            // A stream keeps its own, and outlives this function.
            request.extensions_mut().insert(visit.clone());
            let response = next.run(request).await;
            // The visit lasts until the answer was taken.
            response.map(|body| Body::new(Visited { body, _visit: visit }))
        }
    };
    if let Some(origin) = foreign {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// An answer to a visitor.
struct Visited {
    body: Body,
    _visit: Arc<Visit>,
}

impl HttpBody for Visited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn enter(app: &Service, request: &Request) -> Result<Arc<Visit>, Failure> {
    let authorized = is_authorized(request.headers(), app.options.token.as_deref());
    if !authorized && request.uri().path() != STREAM {
        return Err(unauthorized());
    }
    app.clients.enter(request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()))
}

async fn refuse(app: &Service, request: Request, failure: Failure) -> Response {
    body::discard(app, request.into_body()).await;
    failure.into_response()
}

pub(crate) fn unauthorized() -> Failure {
    Failure::new(Code::Unauthorized, "expected `Authorization: Bearer` with the token of this service")
}

/// Whether a request has the token, where one is wanted. The scheme's name may be in any case (RFC 9110, 11.1 and 11.4).
pub(crate) fn is_authorized(headers: &HeaderMap, token: Option<&str>) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    token.is_none_or(|token| {
        let credentials = given.and_then(|value| value.split_once(' '));
        credentials.is_some_and(|(scheme, given)| {
            scheme.eq_ignore_ascii_case("Bearer") && same(given.trim_start_matches(' '), token)
        })
    })
}

/// Whether two tokens are the same, in a time that does not tell how much of them is.
pub(crate) fn same(given: &str, token: &str) -> bool {
    let (given, token) = (given.as_bytes(), token.as_bytes());
    let differences = given.iter().zip(token).fold(0, |differences, (a, b)| differences | (a ^ b));
    given.len() == token.len() && differences == 0
}

/// The origin of the page that asks, if it is another one than this service's and may ask.
fn foreign_origin(headers: &HeaderMap, allowed: &[Origin]) -> Result<Option<HeaderValue>, Failure> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(None) };
    let text = origin.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let authority = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if authority.is_some_and(|authority| !host.is_empty() && authority.eq_ignore_ascii_case(host)) {
        return Ok(None);
    }
    if allowed.iter().any(|allowed| allowed.as_str() == text) {
        return Ok(Some(origin.clone()));
    }
    Err(Failure::new(Code::ForbiddenOrigin, "pages of other origins may not use this service"))
}

fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Adds what browsers are told about every answer.
pub(crate) async fn headers(State(app): State<Service>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let embed_in: Vec<&str> = app.options.embed_in.iter().map(Origin::as_str).collect();
    let ancestors = if embed_in.is_empty() { "'none'".to_owned() } else { embed_in.join(" ") };
    // Everything from this service and nothing from elsewhere; `blob:` are recordings of the page itself.
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; \
         media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
    );
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let permissions = HeaderName::from_static("permissions-policy");
    headers.insert(permissions, HeaderValue::from_static("microphone=(self), camera=(), geolocation=()"));
    response
}

/// Number of requests of each address.
type Visits = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// Requests of each address that are under way.
#[derive(Debug)]
pub(crate) struct Clients {
    limit: usize,
    visits: Visits,
}

impl Clients {
    pub(crate) fn new(limit: usize) -> Clients {
        Clients { limit, visits: Arc::default() }
    }

    /// One request more; it is over when the last clone of the visit is dropped.
    fn enter(&self, address: Option<IpAddr>) -> Result<Arc<Visit>, Failure> {
        let Some(address) = address.filter(|address| !address.to_canonical().is_loopback()) else {
            return Ok(Arc::new(Visit(None)));
        };
        let mut visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        let n = visits.entry(address).or_insert(0);
        if *n >= self.limit {
            let message = format!("{} requests of this address are under way, which is the limit", *n);
            return Err(Failure::new(Code::TooManyRequests, message));
        }
        *n += 1;
        Ok(Arc::new(Visit(Some((address, self.visits.clone())))))
    }
}

/// One request of one address.
#[derive(Debug)]
pub(crate) struct Visit(Option<(IpAddr, Visits)>);

impl Drop for Visit {
    fn drop(&mut self) {
        let Some((address, visits)) = &self.0 else { return };
        let mut visits = visits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = visits.get_mut(address) {
            *n -= 1;
            if *n == 0 {
                visits.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_limit_and_this_machine_none() {
        let clients = Clients::new(2);
        let other = Some(IpAddr::from([192, 0, 2, 1]));
        let (first, _second) = (clients.enter(other).unwrap(), clients.enter(other).unwrap());
        assert_eq!(clients.enter(other).unwrap_err().code, Code::TooManyRequests);
        assert!(clients.enter(Some(IpAddr::from([192, 0, 2, 2]))).is_ok());
        drop(first);
        assert!(clients.enter(other).is_ok());
        let local: Vec<_> = (0..5).map(|_| clients.enter(Some(IpAddr::from([127, 0, 0, 1])))).collect();
        assert!(local.iter().all(Result::is_ok));
    }

    #[test]
    fn pages_of_other_origins_are_told_apart() {
        let check = |origin: &str, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
            headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            foreign_origin(&headers, &["https://friend.example".parse().unwrap()])
                .map(|foreign| foreign.is_some())
        };
        assert_eq!(check("http://127.0.0.1:7860", "127.0.0.1:7860"), Ok(false));
        assert_eq!(check("https://Intone.example", "intone.example"), Ok(false));
        assert_eq!(check("https://friend.example", "intone.example"), Ok(true));
        for (origin, host) in [
            ("http://127.0.0.1:7861", "127.0.0.1:7860"),
            ("https://evil.example", "intone.example"),
            ("null", "intone.example"),
            ("null", ""),
            ("http://", ""),
        ] {
            assert_eq!(check(origin, host).unwrap_err().code, Code::ForbiddenOrigin, "{origin} {host}");
        }
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same("secret", "secret") && same("", ""));
        assert!(!same("secre", "secret") && !same("secrets", "secret") && !same("Secret", "secret"));
    }
}
