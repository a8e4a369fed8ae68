//! `GET /ws`: WebSockets (RFC 6455), as `static/websocket.md` describes them.
//!
//! The request is checked here; tungstenite reads and writes the frames. One task serves a connection.

mod answer;
mod authority;
mod connection;
mod doing;
mod ended;
mod frames;
mod message;
mod metered;
mod socket;
mod subscription;

use super::client::Client;
use super::problem::Problem;
use super::publish::trace;
use super::transport;
use super::{Params, Service};
use crate::event::Trace;
use crate::metrics::{Kind, OpenStream, Protocol, Reader, Transport};
use authority::Authority;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use connection::Connection;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use http_body::Body as _;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use metered::Metered;
use socket::Socket;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The subprotocol.
const PROTOCOL: &str = "tidings.v1";
/// What a message may have beside the largest event's data in base64.
const MESSAGE_ALLOWANCE: usize = 8 << 10;
/// The letters and digits of connections' names: 32, none of them easily taken for another.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// How many a name has.
const LETTERS_OF_NAME: usize = 16;

pub(super) async fn open(
    State(service): State<Service>,
    client: Client,
    params: Params,
    request: Request,
) -> Response {
    let accepted = match accept(&request, &params) {
        Ok(accepted) => accepted,
        Err(refused) => return refused.into_response(),
    };
    let answer = match Authority::of(&service, client, request.uri(), request.headers()).await {
        Ok(authority) => upgrade(service, request, &accepted, authority),
        Err(problem) => Err(problem),
    };
    answer.unwrap_or_else(Problem::into_response)
}

/// What a handshake is answered with.
struct Accepted {
    /// For `Sec-WebSocket-Accept`.
    key: String,
    /// Whether the client has named the subprotocol.
    names_protocol: bool,
}

/// Why there is no handshake, and what the answer has to name.
struct Refused {
    problem: Problem,
    field: Option<(HeaderName, &'static str)>,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        let field = None;
        Self { problem, field }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = self.problem.into_response();
        if let Some((name, value)) = self.field {
            let headers = response.headers_mut();
            if name == header::UPGRADE {
                let upgrade = HeaderValue::from_static("upgrade");
                headers.insert(header::CONNECTION, upgrade);
            }
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl Refused {
    fn upgrade(detail: &str, name: HeaderName, value: &'static str) -> Self {
        Self {
            problem: Problem::new(StatusCode::UPGRADE_REQUIRED, detail),
            field: Some((name, value)),
        }
    }
}

/// Checks a client's handshake (RFC 6455, section 4.2.1).
fn accept(request: &Request, params: &Params) -> Result<Accepted, Refused> {
    check(request)?;
    params.check(&[])?;
    let headers = request.headers();
    let names_protocol = names_protocol(headers)?;
    Ok(Accepted {
        key: key(headers)?,
        names_protocol,
    })
}

fn check(request: &Request) -> Result<(), Refused> {
    let headers = request.headers();
    if request.version() != Version::HTTP_11 {
        let detail = "a WebSocket is opened over HTTP/1.1 here";
        return Err(Problem::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, detail).into());
    }
    let names = |name, token| tokens(headers, name).any(|one| one.eq_ignore_ascii_case(token));
    let asks = names(header::CONNECTION, "upgrade") && names(header::UPGRADE, "websocket");
    if request.method() != Method::GET || !asks {
        return Err(Refused::upgrade(
            "here is a WebSocket: it is opened with GET, `Connection: Upgrade` and `Upgrade: websocket`, as WebSocket clients do; to read a feed, GET `/feeds/{name}`",
            header::UPGRADE,
            "websocket",
        ));
    }
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if version.map(HeaderValue::as_bytes) != Some(b"13") {
        return Err(Refused::upgrade(
            "`Sec-WebSocket-Version` is 13 (RFC 6455)",
            header::SEC_WEBSOCKET_VERSION,
            "13",
        ));
    }
    if !request.body().is_end_stream() {
        let detail = "the request that opens a WebSocket has no body";
        return Err(Problem::bad_request(detail).closing().into());
    }
    Ok(())
}

/// The elements of a header that is a list.
fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    values
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let key = keys.next().map(HeaderValue::as_bytes).unwrap_or_default();
    let is_key = STANDARD.decode(key).is_ok_and(|key| key.len() == 16);
    match is_key && keys.next().is_none() {
        true => Ok(derive_accept_key(key)),
        false => Err(Problem::bad_request(
            "`Sec-WebSocket-Key` is the base64 of 16 bytes, once (RFC 6455, section 4.1)",
        )),
    }
}

fn names_protocol(headers: &HeaderMap) -> Result<bool, Problem> {
    let named = || tokens(headers, header::SEC_WEBSOCKET_PROTOCOL);
    let is_ours = named().any(|name| name == PROTOCOL);
    match is_ours || named().next().is_none() {
        true => Ok(is_ours),
        false => Err(Problem::bad_request(format!(
            "none of the subprotocols in `Sec-WebSocket-Protocol` is spoken here: it is `{PROTOCOL}`"
        ))),
    }
}

/// Answers the handshake, and has the connection served once hyper has let go of it.
fn upgrade(
    service: Service,
    mut request: Request,
    accepted: &Accepted,
    authority: Authority,
) -> Result<Response, Problem> {
    let name = name()?;
    let upgrade = hyper::upgrade::on(&mut request);
    let trace = trace(request.headers());
    tokio::spawn(serve(service, upgrade, name, authority, trace));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let key = HeaderValue::from_str(&accepted.key).expect("base64 is a header's value");
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    if accepted.names_protocol {
        let protocol = HeaderValue::from_static(PROTOCOL);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

/// A new connection's name, unlike that of any other on any replica.
fn name() -> Result<String, Problem> {
    let mut random = [0; LETTERS_OF_NAME];
    getrandom::fill(&mut random).map_err(|error| {
        tracing::error!(%error, "the system gives no random bytes");
        let detail = "the system gives no random bytes to name the connection with";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    let letter = |byte: u8| char::from(LETTERS[usize::from(byte) % LETTERS.len()]);
    Ok("c-".chars().chain(random.map(letter)).collect())
}

/// The largest message, in bytes, for events of at most `max_event_bytes`.
pub(crate) fn max_message(max_event_bytes: usize) -> usize {
    max_event_bytes
        .div_ceil(3)
        .saturating_mul(4)
        .saturating_add(MESSAGE_ALLOWANCE)
}

async fn serve(
    service: Service,
    upgrade: OnUpgrade,
    name: String,
    authority: Authority,
    trace: Option<Box<Trace>>,
) {
    let (io, read) = match upgrade
        .await
        .map_err(|error| error.to_string())
        .and_then(parts)
    {
        Ok(parts) => parts,
        Err(error) => {
            tracing::debug!(%error, "a connection did not become a WebSocket");
            return;
        }
    };
    let counters = service.websocket_counters.clone();
    let kind = Kind {
        transport: Transport::WebSocket,
        protocol: Protocol::Http11,
    };
    let who = Reader {
        peer: authority.peer(),
        ..Reader::default()
    };
    let open = OpenStream::new(&service.stream_counters, kind, who);
    let max_message = max_message(service.max_event_bytes);
    let io = Metered::new(
        io,
        &read,
        service.messages.share(authority.account()),
        max_message,
    );
    let socket = Socket::new(io, max_message, counters, open).await;
    let connection = Connection::new(service, name.into(), socket, authority, trace);
    connection.run().await;
}

/// The connection itself, without hyper's buffers, and what these held.
fn parts(upgraded: Upgraded) -> Result<(transport::Transport, Bytes), String> {
    match downcast::<TokioIo<transport::Transport>>(upgraded) {
        Ok(parts) => Ok((parts.io.into_inner(), parts.read_buf)),
        Err(_) => Err("it is none of the listener's own".to_owned()),
    }
}
