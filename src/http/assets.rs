//! What is served from the binary itself: the client for browsers, its types, the protocol, and examples.

use super::validator::Tag;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, REFERRER_POLICY,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};

/// A page may use what is of this server, and nothing else; nobody may frame it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// What a page may do beside that: nothing of what it needs not.
const PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), microphone=(), midi=(), payment=(), usb=()",
);

/// The headers of a page.
pub(super) fn page_headers() -> HeaderMap {
    const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
    const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(HTML)),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (OPENER_POLICY, HeaderValue::from_static("same-origin")),
        (PERMISSIONS_POLICY, PERMISSIONS),
    ];
    headers.into_iter().collect()
}

/// Path, media type and content.
const ASSETS: [(&str, &str, &str); 23] = [
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
    (
        "/openapi.json",
        "application/json",
        include_str!("../../static/openapi.json"),
    ),
    ("/style.css", CSS, include_str!("../../static/style.css")),
    (
        "/console/console.css",
        CSS,
        include_str!("../../static/console/console.css"),
    ),
    (
        "/console/console.js",
        JS,
        include_str!("../../static/console/console.js"),
    ),
    (
        "/console/dom.js",
        JS,
        include_str!("../../static/console/dom.js"),
    ),
    (
        "/console/explain.js",
        JS,
        include_str!("../../static/console/explain.js"),
    ),
    (
        "/console/feeds.js",
        JS,
        include_str!("../../static/console/feeds.js"),
    ),
    (
        "/console/readers.js",
        JS,
        include_str!("../../static/console/readers.js"),
    ),
    (
        "/console/server.js",
        JS,
        include_str!("../../static/console/server.js"),
    ),
    (
        "/console/status.js",
        JS,
        include_str!("../../static/console/status.js"),
    ),
    (
        "/console/subjects.js",
        JS,
        include_str!("../../static/console/subjects.js"),
    ),
    (
        "/console/watch.js",
        JS,
        include_str!("../../static/console/watch.js"),
    ),
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

/// Their routes; those of the console's files where there is one.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(console: bool) -> Router<S> {
    ASSETS
        .into_iter()
        .filter(|(path, ..)| console || !path.starts_with("/console/"))
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
        response.headers_mut().extend(page_headers());
    }
    response
}
