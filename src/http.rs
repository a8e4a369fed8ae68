//! HTTP: every route in one place.

mod access;
mod admin;
mod asked;
mod assets;
mod base;
mod batch;
mod body;
mod client;
mod credentials;
mod examples;
mod explain;
mod handoff;
mod health;
mod idle;
mod index;
mod line;
mod negotiate;
mod origins;
mod pace;
mod page;
mod poll;
mod problem;
mod publish;
mod refusal;
mod server;
mod stall;
mod stream;
mod subscribe;
mod tls;
mod transport;
mod url;
mod validator;
mod websocket;

pub(crate) use credentials::Credentials;
pub(crate) use examples::examples;
pub(crate) use pace::Paces;
pub(crate) use server::{Bounds, Door, Drain, Server};
pub(crate) use stall::{Stall, Watch};
pub(crate) use tls::{Certificate, Tls, TlsError};
pub(crate) use websocket::max_message;

use crate::auth::{Access, Caller, Unauthorized};
use crate::clients::{Proxies, Rates, Seats};
use crate::config::{StreamSettings, WebSocketSettings};
use crate::hub::{Hub, Shards};
use crate::metrics::{self, Refused, Requests, StreamCounters, WebSocketCounters};
use crate::publish::{BodyBudget, Publisher};
use crate::revoke::Revoker;
use access::Callers;
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};
use http_body::Body;
use parking_lot::RwLock;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use problem::Problem;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stream::Ending;
use tokio::sync::Semaphore;
use url::{Name, Params};

/// What the routes need.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) hub: Hub,
    pub(crate) publisher: Publisher,
    pub(crate) access: Arc<Access>,
    pub(crate) credentials: Arc<Credentials>,
    /// Those of now, for who shows others on a WebSocket that was open before they changed.
    pub(crate) renewing: Arc<RwLock<Arc<Credentials>>>,
    pub(crate) shards: Arc<Shards>,
    pub(crate) streams: StreamSettings,
    pub(crate) websockets: WebSocketSettings,
    pub(crate) websocket_counters: WebSocketCounters,
    pub(crate) ending: Ending,
    /// How far the streams are that no shard serves.
    pub(crate) paces: Paces,
    pub(crate) metrics: Arc<crate::metrics::Metrics>,
    pub(crate) proxies: Arc<Proxies>,
    /// What was refused for who sent it, or from where.
    pub(crate) refused: Refused,
    /// What each client has open.
    pub(crate) seats: Seats,
    /// How much each may publish.
    pub(crate) publish_rates: Rates,
    /// How many messages each may send over WebSockets.
    pub(crate) message_rates: Rates,
    pub(crate) revoker: Revoker,
    /// `https` with TLS, and `http` without.
    pub(crate) scheme: &'static str,
    /// Which routes are served.
    pub(crate) part: Part,
    /// The path below which they are: empty, or without a slash at its end.
    pub(crate) base: Arc<str>,
    /// Whether there is a console page.
    pub(crate) console: bool,
    pub(crate) started: Instant,
    pub(crate) stream_counters: StreamCounters,
    pub(crate) requests_answered: Requests,
    /// Its name among the replicas.
    pub(crate) replica: Arc<str>,
    pub(crate) max_streams: usize,
    pub(crate) max_connections: usize,
    pub(crate) max_patterns: usize,
    pub(crate) max_event_bytes: usize,
    pub(crate) max_batch_bytes: usize,
    pub(crate) head_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) bodies: BodyBudget,
    pub(crate) pages: BodyBudget,
    /// What WebSockets hold of messages that are on their way.
    pub(crate) messages: BodyBudget,
    /// The places for requests to backends.
    pub(crate) requests: Arc<Semaphore>,
}

/// Which routes a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of them, being the only listener.
    Whole,
    /// Those for clients: operators have a listener of their own.
    Clients,
    /// All of them, for operators: the console reads and publishes as clients do.
    Operators,
}

/// The routes of a listener.
pub(crate) fn router(service: Service) -> Router {
    let origins = service.credentials.origins().clone();
    let callers = match *service.access {
        Access::Local => Callers::Loopback(origins.into()),
        Access::Anonymous { .. } | Access::Nothing => Callers::Everyone(origins.into()),
    };
    let operators = match service.part {
        Part::Whole | Part::Operators => admin::routes(),
        Part::Clients => admin::elsewhere(),
    };
    let (base, requests) = (service.base.clone(), service.requests_answered.clone());
    let refusals = (service.refused.clone(), service.proxies.clone());
    let routes = Router::new()
        .route("/", get(index::index))
        .route("/feeds", get(subscribe::several).post(batch::many))
        .route("/feeds/{feed}", get(subscribe::one).post(publish::one))
        .route("/explain", get(explain::explain))
        .route("/ws", get(websocket::open))
        .merge(operators)
        .merge(assets::routes(service.shows_console()))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(service.request_timeout, bound_time))
        .layer(DefaultBodyLimit::disable()) // each route that reads a body bounds it
        .with_state(service);
    base::below(&base, routes)
        .layer(from_fn_with_state(callers, access::guard))
        .layer(from_fn(finish))
        .layer(from_fn_with_state(requests, count))
        .layer(from_fn_with_state(refusals, refusal::watch))
}

/// What is answered to those who speak HTTP without TLS where TLS is spoken.
fn no_tls() -> Router {
    let answer = async || {
        Problem::bad_request("this port speaks TLS: use https:// in place of http://").closing()
    };
    Router::new().fallback(answer).layer(from_fn(finish))
}

impl Service {
    /// The same for operators, on a listener of their own where this may be done without credentials.
    pub(crate) fn for_operators(&self, access: Access) -> Self {
        Self {
            part: Part::Operators,
            credentials: Arc::new(self.credentials.with_access(&access)),
            access: Arc::new(access),
            ..self.clone()
        }
    }

    /// Whether a caller whom a request has shown would be let in still: that may have taken its time.
    fn still(&self, caller: &Caller) -> Result<(), Unauthorized> {
        let now = self.renewing.read().clone();
        self.credentials.still(&now, caller)
    }

    /// Whether the console page is served.
    fn shows_console(&self) -> bool {
        self.console && self.part != Part::Clients
    }
}

async fn not_found(State(service): State<Service>, uri: Uri) -> Problem {
    let base = &service.base;
    let path = uri.path().escape_debug();
    let detail = match dotted(uri.path()) {
        Some(right) => {
            let right = right.escape_debug();
            format!(
                "there is nothing at `{path}`; tokens are joined by dots: `{base}/feeds/{right}`"
            )
        }
        None => format!("there is nothing at `{path}`; feeds are at `{base}/feeds/{{name}}`"),
    };
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// The feed that is meant by a path below `/feeds/` with further slashes.
fn dotted(path: &str) -> Option<String> {
    let tokens: Vec<&str> = path
        .strip_prefix("/feeds/")?
        .split('/')
        .filter(|token| !token.is_empty())
        .collect();
    (!tokens.is_empty()).then(|| tokens.join("."))
}

async fn method_not_allowed(State(service): State<Service>, uri: Uri) -> Problem {
    let base = &service.base;
    let path = uri.path();
    let detail = match path == "/feeds" || path.starts_with("/feeds/") {
        true => "feeds are read with GET, and published to with POST".to_owned(),
        false if path.contains("/admin/subjects/") => {
            "what a subject has open is ended with DELETE".to_owned()
        }
        false => {
            format!("`{path}` is read with GET; events are published to `{base}/feeds/{{name}}`")
        }
    };
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// Answers for what takes too long: until an answer begins, and not until it ends.
async fn bound_time(State(most): State<Duration>, request: Request, next: Next) -> Response {
    let is_safe = request.method().is_safe();
    match tokio::time::timeout(most, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::overdue(most, is_safe).into_response(),
    }
}

/// Counts a request by its route.
async fn count(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route: Option<MatchedPath> = request.extensions().get().cloned();
    let response = next.run(request).await;
    let route = response.extensions().get().or(route.as_ref());
    let route = route.map(MatchedPath::as_str);
    let request = metrics::Request::new(route, &method, response.status());
    requests.get_or_create(&request).inc();
    response
}

/// What holds for the answers of all routes.
async fn finish(request: Request, next: Next) -> Response {
    let version = request.version();
    let mut response = next.run(request).await;
    if version == Version::HTTP_10 {
        close_after_open_end(&mut response);
    }
    forbid_guessing(response.headers_mut());
    response
}

/// Promises no further use of a connection whose end ends the body: over HTTP/1.0, which has no chunks.
fn close_after_open_end(response: &mut Response) {
    if response.body().size_hint().exact().is_none() {
        // To one in HTTP/1.1 hyper would add `Connection: keep-alive` where the client has asked for it.
        *response.version_mut() = Version::HTTP_10;
    }
}

/// Tells browsers to take the content type at its word: answers quote what was sent. Streams are told apart
/// by theirs, and bear nothing that they need not.
fn forbid_guessing(headers: &mut HeaderMap) {
    let is_stream = |form| form == "text/event-stream";
    if !headers.get(header::CONTENT_TYPE).is_some_and(is_stream) {
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
    }
}

/// A feed's or pattern's name as a URL has it, in its path, in its query, and within a shell's single quotes.
pub(crate) fn in_url(name: &str) -> PercentEncode<'_> {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b'*');
    utf8_percent_encode(name, ESCAPED)
}
