//! Probes, metrics, and a page for those who come with nothing but a browser.

use super::assets;
use super::examples::examples;
use super::problem::Problem;
use super::{Params, Service};
use crate::hub::Status;
use crate::metrics::TextForm;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::Serialize;

/// What `/readyz` answers.
#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(super) async fn livez() -> &'static str {
    "alive\n"
}

/// Red only before the window is warm and while draining: an outage of NATS takes no replica out of the load
/// balancer, since every one would go at once. With `strict=1` it is red then too.
pub(super) async fn readyz(
    State(service): State<Service>,
    params: Params,
) -> Result<Response, Problem> {
    let strict = params.switch("strict")?;
    let (code, readiness) = readiness(&service, strict);
    let body = serde_json::to_string(&readiness).expect("strings are JSON") + "\n";
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((code, headers, body).into_response())
}

fn readiness(service: &Service, strict: bool) -> (StatusCode, Readiness) {
    if service.ending.borrow().is_some() {
        let reason = "this replica shuts down".to_owned();
        return not_ready("draining", reason);
    }
    let status = service.hub.status().borrow().clone();
    let status = match (status, service.hub.log().trouble()) {
        (Status::Live, Some(reason)) => Status::Degraded { reason },
        (status, _) => status,
    };
    match status {
        Status::Live => (StatusCode::OK, Readiness::new("ready", None)),
        Status::Starting { reason } => not_ready("starting", reason),
        Status::Degraded { reason } if strict => not_ready("degraded", reason),
        Status::Degraded { reason } => (StatusCode::OK, Readiness::new("degraded", Some(reason))),
    }
}

fn not_ready(status: &'static str, reason: String) -> (StatusCode, Readiness) {
    let readiness = Readiness::new(status, Some(reason));
    (StatusCode::SERVICE_UNAVAILABLE, readiness)
}

impl Readiness {
    fn new(status: &'static str, reason: Option<String>) -> Self {
        Self { status, reason }
    }
}

/// In OpenMetrics' form where that is asked for, and otherwise in the one that every Prometheus reads.
pub(super) async fn metrics(State(service): State<Service>, headers: HeaderMap) -> Response {
    let form = TextForm::wanted(&headers);
    let head = [
        (header::CONTENT_TYPE, form.content_type()),
        (header::VARY, "Accept"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (head, service.metrics.text_in(form)).into_response()
}

/// What the server is, and what it lets everyone try: as text, and for browsers as a page.
pub(super) async fn index(
    State(service): State<Service>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let address = address(&uri, &headers).unwrap_or("<this address>");
    let commands = examples(&service.access, address).join("\n");
    let vary = [(header::VARY, "Accept, Host")];
    if wants_page(&headers) {
        let page =
            include_str!("../../static/index.html").replace("{commands}", &escaped(&commands));
        let head = [
            (header::CONTENT_TYPE, HeaderValue::from_static(assets::HTML)),
            (header::CONTENT_SECURITY_POLICY, assets::POLICY),
        ];
        return (vary, head, page).into_response();
    }
    let text = format!(
        "Tidings: events in over HTTP or NATS, out as Server-Sent Events, JSON lines, polls and over WebSockets.\n\n{commands}\n\nAlso here: /livez  /readyz  /metrics  /tidings.js  /websocket.md  /examples/chat  /examples/dashboard\n"
    );
    (vary, text).into_response()
}

/// Browsers name it when they open a page, and nobody else does.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let mut texts = accepted.filter_map(|value| value.to_str().ok());
    texts.any(|text| text.contains("text/html"))
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

/// How the client calls this server, where that can stand in a shell's quotes.
fn address<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let address = uri.authority().map(Authority::as_str).or(host)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.:[]_".contains(c);
    (!address.is_empty() && address.chars().all(plain)).then_some(address)
}
