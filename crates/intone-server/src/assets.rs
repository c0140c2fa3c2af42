//! The page: files that are part of the program.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::state::Service;

/// A file of the page.
#[derive(Debug, Clone, Copy)]
struct Asset {
    path: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

macro_rules! assets {
    ($($path:literal, $file:literal, $content_type:ident;)*) => {
        [$(Asset { path: $path, content_type: $content_type, content: include_bytes!(concat!("../web/", $file)) }),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const ASSETS: &[Asset] = &assets! {
    "/", "index.html", HTML;
    "/api", "api.html", HTML;
    "/assets/style.css", "style.css", CSS;
    "/assets/app.js", "app.js", JS;
    "/assets/api.js", "api.js", JS;
    "/assets/client.js", "client.js", JS;
    "/assets/result.js", "result.js", JS;
    "/assets/timeline.js", "timeline.js", JS;
    "/assets/sound.js", "sound.js", JS;
    "/assets/microphone.js", "microphone.js", JS;
    "/assets/capture.js", "capture.js", JS;
    "/assets/live.js", "live.js", JS;
    "/assets/icon.svg", "icon.svg", SVG;
};

/// Adds the files of the page.
pub(crate) fn routes(router: Router<Service>) -> Router<Service> {
    ASSETS.iter().fold(router, |router, asset| {
        let tag = tag(asset.content);
        router.route(asset.path, get(move |headers: HeaderMap| async move { answer(*asset, &tag, &headers) }))
    })
}

fn answer(asset: Asset, tag: &str, headers: &HeaderMap) -> Response {
    // The browser asks each time, so that a new version of the program shows its own page.
    let caching = [(header::ETAG, tag), (header::CACHE_CONTROL, "no-cache")];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, asset.content_type)], asset.content).into_response()
}

fn tag(content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}
