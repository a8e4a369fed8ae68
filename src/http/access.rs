//! Whose requests are answered, and which pages may read the answers.
//!
//! A server without authentication trusts everything on its own machine, and nothing else: a page from
//! elsewhere, open in a browser here, must not reach it. Such a page's requests bear its `Origin`, or, where
//! it had its own name resolved to this machine (DNS rebinding), its `Host`.

use super::problem::Problem;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use std::net::Ipv4Addr;

const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");
const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "accept, authorization, cache-control, content-type, event-key, event-type, idempotency-key, last-event-id",
);
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("retry-after, tidings-refused");

/// Whose `Host` and `Origin` are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Callers {
    /// Those of this machine: whoever reaches the server may do everything.
    Loopback,
    /// All: what may be done is meant for everyone, by way of whichever proxy and name.
    Everyone,
}

/// Refuses callers from elsewhere, and answers CORS (Fetch, section 3.3) for the others.
pub(super) async fn guard(
    State(callers): State<Callers>,
    request: Request,
    next: Next,
) -> Response {
    if callers == Callers::Loopback
        && let Err(problem) = from_here(&request)
    {
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
    allow_origin(headers, callers, origin);
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

fn allow_origin(headers: &mut HeaderMap, callers: Callers, origin: Option<HeaderValue>) {
    let allowed = match callers {
        Callers::Everyone => Some(HeaderValue::from_static("*")),
        Callers::Loopback => {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
            origin
        }
    };
    if let Some(allowed) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    }
}

fn from_here(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let mut hosts: Vec<&str> = request
        .uri()
        .authority()
        .map(Authority::as_str)
        .into_iter()
        .collect();
    for value in headers.get_all(header::HOST) {
        hosts.push(value.to_str().unwrap_or("?"));
    }
    for host in hosts {
        let authority = host.parse::<Authority>();
        if !authority.is_ok_and(|authority| is_loopback(authority.host())) {
            return Err(refused("Host", host));
        }
    }
    for value in headers.get_all(header::ORIGIN) {
        let origin = value.to_str().unwrap_or("?");
        if !origin
            .parse::<Uri>()
            .is_ok_and(|uri| uri.scheme().is_some() && uri.host().is_some_and(is_loopback))
        {
            return Err(refused("Origin", origin));
        }
    }
    Ok(())
}

fn refused(header: &str, value: &str) -> Problem {
    let value = value.escape_debug();
    let detail = format!(
        "the {header} `{value}` is not of this machine: without authentication only loopback names are accepted, as in http://localhost:8080; what is meant for everyone is said with --anonymous-subscribe and --anonymous-publish"
    );
    Problem::new(StatusCode::FORBIDDEN, detail)
}

/// `localhost` and names below it (RFC 6761, section 6.3), 127.0.0.0/8 and ::1.
fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let name = host.strip_suffix('.').unwrap_or(&host);
    name == "localhost"
        || name.ends_with(".localhost")
        || name == "[::1]"
        || name
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
