//! Whose requests are answered, and which pages may read the answers.
//!
//! A server without authentication trusts everything on its own machine, and nothing else: a page from
//! elsewhere, open in a browser here, must not reach it. Such a page's requests bear its `Origin`, or, where
//! it had its own name resolved to this machine (DNS rebinding), its `Host`; those of its images and scripts
//! have `Sec-Fetch-Site` alone.

use super::origins::Origins;
use super::problem::Problem;
use super::refusal::Refusal;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use std::net::Ipv4Addr;
use std::sync::Arc;

const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");
const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "accept, authorization, cache-control, content-type, event-key, event-type, idempotency-key, if-none-match, last-event-id, tidings-explain-token, traceparent, tracestate",
);
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "etag, ratelimit, ratelimit-policy, retry-after, tidings-next, tidings-refused, www-authenticate",
);

/// Whose `Host` and `Origin` are accepted.
#[derive(Clone, Debug)]
pub(super) enum Callers {
    /// Those of this machine, and pages that are allowed: whoever reaches the server may do everything.
    Loopback(Arc<Origins>),
    /// All: what may be done is meant for everyone, or takes credentials, by way of whichever proxy and name.
    Everyone(Arc<Origins>),
}

/// Refuses callers from elsewhere, and answers CORS (Fetch, section 3.3) for the others.
pub(super) async fn guard(
    State(callers): State<Callers>,
    request: Request,
    next: Next,
) -> Response {
    let allowed = has_host(&request).and_then(|()| match &callers {
        Callers::Loopback(origins) => from_here(&request, origins),
        Callers::Everyone(_) => Ok(()),
    });
    if let Err(problem) = allowed {
        return problem.into_response();
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let preflight = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let private = request.headers().contains_key(REQUEST_PRIVATE_NETWORK);
    let mut response = match preflight {
        true => StatusCode::NO_CONTENT.into_response(),
        false => next.run(request).await,
    };
    let headers = response.headers_mut();
    allow_origin(headers, &callers, origin);
    if preflight {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST"),
        );
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        headers.insert(
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static("600"),
        );
        if private {
            headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
    }
    response
}

fn allow_origin(headers: &mut HeaderMap, callers: &Callers, origin: Option<HeaderValue>) {
    let allowed = match (callers, origin) {
        (Callers::Everyone(origins), origin) => origins.allow(headers, origin),
        (Callers::Loopback(_), origin) => {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
            let origin = origin.map(|one| headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, one));
            origin.is_some()
        }
    };
    if allowed {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    }
}

/// An HTTP/1.1 request names its host, once (RFC 9112, section 3.2).
fn has_host(request: &Request) -> Result<(), Problem> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    match request.version() == Version::HTTP_11 && hosts != 1 {
        true => Err(Problem::bad_request(
            "a request over HTTP/1.1 has one `Host` header, no more and no less",
        )),
        false => Ok(()),
    }
}

fn from_here(request: &Request, origins: &Origins) -> Result<(), Problem> {
    let headers = request.headers();
    let authority = request.uri().authority().map(Authority::as_str);
    let hosts = authority.into_iter().chain(texts(headers, header::HOST));
    for host in hosts {
        if !is_authority_here(host) {
            return Err(refused("Host", host, "host"));
        }
    }
    for origin in texts(headers, header::ORIGIN) {
        if !is_origin_here(origin) && !origins.lists(origin) {
            return Err(refused("Origin", origin, "origin"));
        }
    }
    // Where there is an `Origin`, it says more: a page on another port of this machine is `same-site`. And who
    // follows a link has left the page that it was on.
    let follows_link = texts(headers, SEC_FETCH_DEST).eq(["document"]);
    for site in texts(headers, SEC_FETCH_SITE) {
        let is_ours = follows_link || matches!(site, "same-origin" | "none");
        if !headers.contains_key(header::ORIGIN) && !is_ours {
            return Err(refused("Sec-Fetch-Site", site, "site"));
        }
    }
    Ok(())
}

fn texts(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    values.map(|value| value.to_str().unwrap_or("?"))
}

fn refused(header: &str, value: &str, reason: &'static str) -> Problem {
    let value = value.escape_debug();
    let detail = format!(
        "the {header} `{value}` is not of this machine: without authentication only loopback names are accepted, as in http://localhost:8080; what is meant for everyone is said with --anonymous-subscribe and --anonymous-publish, and other pages are named with --allow-origin"
    );
    Problem::new(StatusCode::FORBIDDEN, detail).refusing(Refusal::origin(reason))
}

/// Whether an origin is of this machine, and written as browsers do: scheme, host and port, and nothing else
/// (RFC 6454, section 6.2).
fn is_origin_here(origin: &str) -> bool {
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(is_authority_here)
}

/// A host of this machine, with or without a port.
fn is_authority_here(text: &str) -> bool {
    // A colon within brackets is of an address.
    let (host, port) = match text
        .rsplit_once(':')
        .filter(|(_, port)| !port.ends_with(']'))
    {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_loopback(host) && port.is_none_or(is_port)
}

/// `localhost` and names below it (RFC 6761, section 6.3), 127.0.0.0/8 and ::1.
fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let name = host.strip_suffix('.').unwrap_or(&host);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    name == "localhost"
        || name.ends_with(".localhost") && name.bytes().all(plain)
        || name == "[::1]"
        || name
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_names_and_addresses_of_this_machine_are_loopback() {
        for host in [
            "localhost",
            "LOCALHOST.",
            "app.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "localhost.evil.com",
            "127.0.0.1.nip.io",
            "0.0.0.0",
            "[::]",
            "127.1",
            "10.0.0.1",
            "evil.com@app.localhost",
            "evil.com/.localhost",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port_and_nothing_else() {
        for authority in ["localhost", "localhost:1", "[::1]", "[::1]:65535"] {
            assert!(is_authority_here(authority), "{authority}");
        }
        for authority in [
            "",
            ":80",
            "localhost:",
            "localhost:abc",
            "localhost:+80",
            "localhost:65536",
            "localhost:80:80",
            "a@localhost",
            "localhost/",
            "::1",
            "[::1]80",
        ] {
            assert!(!is_authority_here(authority), "{authority}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_of_the_web_and_an_authority() {
        for origin in ["http://localhost", "https://127.0.0.1:1"] {
            assert!(is_origin_here(origin), "{origin}");
        }
        for origin in [
            "localhost",
            "file://localhost",
            "http:localhost",
            "http://http://localhost",
            "http://localhost/",
            "http://localhost?",
        ] {
            assert!(!is_origin_here(origin), "{origin}");
        }
    }

    /// Whether a browser that is led to this authority comes to this machine, and sees nothing but a host and a port.
    fn leads_here(scheme: &str, authority: &str) -> bool {
        let Ok(url) = reqwest::Url::parse(&format!("{scheme}://{authority}/")) else {
            return false;
        };
        let host = url
            .host_str()
            .unwrap_or_default()
            .trim_end_matches('.')
            .to_owned();
        let here = host == "localhost"
            || host.ends_with(".localhost")
            || host == "[::1]"
            || host
                .parse::<Ipv4Addr>()
                .is_ok_and(|address| address.is_loopback());
        here && url.path() == "/"
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
    }

    /// Pieces of authorities, right ones and others.
    const PIECES: &str = "(localhost|LOCALHOST|127\\.0\\.0\\.1|\\[::1\\]|evil|example|[a-z0-9]|\\.|:|@|/|\\\\|\\?|#|%2e|-|:80|:65536| |\\[|\\]){1,6}";

    proptest! {
        #[test]
        fn what_passes_for_this_machine_is_this_machine_to_a_browser(text in PIECES) {
            if is_authority_here(&text) {
                prop_assert!(leads_here("http", &text), "{}", text);
            }
            for scheme in ["http", "https"] {
                let is_here = is_origin_here(&format!("{scheme}://{text}"));
                prop_assert_eq!(is_here, is_authority_here(&text));
            }
        }

        #[test]
        fn no_text_breaks_what_reads_it(text in "\\PC{0,40}") {
            prop_assert!(!is_authority_here(&text) || leads_here("http", &text), "{}", text);
            prop_assert!(!is_origin_here(&text), "{}", text);
        }
    }
}
