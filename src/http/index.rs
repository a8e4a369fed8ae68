//! `/`: for those who come with nothing but a browser, or `curl`.

use super::assets;
use super::examples::examples;
use super::{Part, Service};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{HeaderMap, Uri, header};

/// What is for clients, and for operators.
const FOR_CLIENTS: [&str; 4] = [
    "/tidings.js",
    "/websocket.md",
    "/examples/chat",
    "/examples/dashboard",
];
const FOR_OPERATORS: [&str; 4] = ["/livez", "/readyz", "/metrics", "/admin/status"];

/// What the server is, and what it lets everyone try: as text, and for browsers as a page.
pub(super) async fn index(
    State(service): State<Service>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let address = address(&uri, &headers).unwrap_or("<this address>");
    let base = &service.base;
    let url = format!("{}://{address}{base}", service.scheme);
    let commands = examples(&service.access, "curl", &url).join("\n");
    let vary = [(header::VARY, "Accept, Host")];
    if service.shows_console() && wants_page(&headers) {
        let page =
            include_str!("../../static/index.html").replace("{commands}", &escaped(&commands));
        return (vary, assets::page_headers(), page).into_response();
    }
    let operators: &[&str] = match service.part {
        Part::Whole | Part::Operators => &FOR_OPERATORS,
        Part::Clients => &[],
    };
    let paths = operators.iter().chain(&FOR_CLIENTS);
    let paths: Vec<String> = paths.map(|path| format!("{base}{path}")).collect();
    let paths = paths.join("  ");
    let text = format!(
        "Tidings: events in over HTTP or NATS, out as Server-Sent Events, JSON lines, polls and over WebSockets.\n\n{commands}\n\nAlso here: {paths}\n"
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
