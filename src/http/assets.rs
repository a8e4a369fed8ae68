//! What is served from the binary itself: the client for browsers, its types, the protocol, and examples.

use super::validator::Tag;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};

/// A page may use what is of this server, and nothing else; nobody may frame it.
pub(super) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
pub(super) const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Path, media type and content.
const ASSETS: [(&str, &str, &str); 12] = [
    ("/tidings.js", JS, include_str!("../../static/tidings.js")),
    (
        "/tidings-upstream.js",
        JS,
        include_str!("../../static/tidings-upstream.js"),
    ),
    (
        "/tidings.d.ts",
        TEXT,
        include_str!("../../static/tidings.d.ts"),
    ),
    (
        "/websocket.md",
        TEXT,
        include_str!("../../static/websocket.md"),
    ),
    ("/style.css", CSS, include_str!("../../static/style.css")),
    (
        "/examples/chat",
        HTML,
        include_str!("../../static/examples/chat.html"),
    ),
    (
        "/examples/chat.js",
        JS,
        include_str!("../../static/examples/chat.js"),
    ),
    (
        "/examples/dashboard",
        HTML,
        include_str!("../../static/examples/dashboard.html"),
    ),
    (
        "/examples/dashboard.js",
        JS,
        include_str!("../../static/examples/dashboard.js"),
    ),
    (
        "/examples/dashboard.sh",
        TEXT,
        include_str!("../../static/examples/dashboard.sh"),
    ),
    (
        "/examples/orders.mjs",
        TEXT,
        include_str!("../../static/examples/orders.mjs"),
    ),
    (
        "/examples/orders.py",
        TEXT,
        include_str!("../../static/examples/orders.py"),
    ),
];

/// Their routes.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS
        .into_iter()
        .fold(Router::new(), |router, (path, media, text)| {
            let tag = Tag::of([text.as_bytes()]);
            let answer =
                move |headers: HeaderMap| async move { asset(media, text, &tag, &headers) };
            router.route(path, get(answer))
        })
}

fn asset(media: &'static str, text: &'static str, tag: &Tag, headers: &HeaderMap) -> Response {
    // Another version of the server has other files at the same paths.
    let known = [
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (ETAG, tag.header()),
    ];
    if tag.is_known(headers) {
        return (StatusCode::NOT_MODIFIED, known).into_response();
    }
    let mut response = (known, [(CONTENT_TYPE, media)], text).into_response();
    if media == HTML {
        response
            .headers_mut()
            .insert(CONTENT_SECURITY_POLICY, POLICY);
    }
    response
}
