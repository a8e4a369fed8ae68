//! `GET /feeds/{pattern}` and `GET /feeds?feed=P1&feed=P2`.

use super::handoff::{self, Slot};
use super::negotiate;
use super::problem::Problem;
use super::stream::Stream;
use super::{Name, Params, Service};
use crate::event::{Pattern, Patterns, Position};
use crate::hub::{Handed, Joined, Refusal, Start};
use crate::wire::{self, Closing, Form};
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use futures::StreamExt;
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use std::convert::Infallible;

const LAST_EVENT_ID: &str = "last-event-id";
const REFUSED: HeaderName = HeaderName::from_static("tidings-refused");
/// What a stream's URL may say.
const PARAMETERS: [&str; 6] = [
    "feed",
    "after",
    "lastEventId",
    "lastEventID",
    "last",
    "envelope",
];
/// Where to begin: the name of our own, and those that clients have for it.
const AFTER: [&str; 3] = ["after", "lastEventId", "lastEventID"];
/// The most events that `last=` may ask for.
const MAX_LAST: usize = 1000;

/// How a request came, and what may be done with its connection.
pub(super) struct Way {
    version: Version,
    /// Where its socket may be asked for.
    slot: Option<Slot>,
}

/// What a request for a stream says.
struct Asked {
    patterns: Patterns,
    start: Start,
    /// The id with which the client came, to be given back where it can't be served now.
    id: Option<String>,
    form: Form,
}

pub(super) async fn one(
    State(service): State<Service>,
    way: Way,
    Name(name): Name,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if params.get("feed").is_some() {
        return Err(Problem::bad_request(
            "the path names a pattern already; for several, use `/feeds?feed=P1&feed=P2`",
        ));
    }
    subscribe(&service, way, vec![name], &params, &headers).await
}

pub(super) async fn several(
    State(service): State<Service>,
    way: Way,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let patterns = params.all("feed").map(str::to_owned).collect();
    subscribe(&service, way, patterns, &params, &headers).await
}

async fn subscribe(
    service: &Service,
    way: Way,
    patterns: Vec<String>,
    params: &Params,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let asked = Asked::read(service, &patterns, params, headers)?;
    service.access.subscribe(&asked.patterns)?;
    if let Some(end) = *service.ending.borrow() {
        let mut response = refuse(service, &asked, end.reason);
        // Who comes back over the same connection would come back here.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        return Ok(response);
    }
    match service.hub.join(asked.patterns.clone(), asked.start).await {
        Ok(joined) => Ok(event_stream(body(service, joined, asked.form, way))),
        Err(refusal) => {
            tracing::debug!(%refusal, "a reader was told to come back");
            Ok(refuse(service, &asked, closing(&refusal)))
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Way {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self {
            version: parts.version,
            slot: parts.extensions.get().cloned(),
        })
    }
}

impl Asked {
    fn read(
        service: &Service,
        patterns: &[String],
        params: &Params,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        if negotiate::preferred(headers).is_none() {
            let detail = format!(
                "feeds are served as {}; the Accept header allows none of these",
                negotiate::served()
            );
            return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, detail));
        }
        params.check(&PARAMETERS)?;
        let parse = |text: &String| {
            text.parse::<Pattern>()
                .map_err(|error| Problem::pattern(text, &error))
        };
        let patterns = patterns.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let (start, id) = start(params, headers)?;
        Ok(Self {
            patterns: Patterns::new(patterns, service.max_patterns)?,
            start,
            id,
            form: form(params)?,
        })
    }
}

fn form(params: &Params) -> Result<Form, Problem> {
    Ok(match params.switch("envelope")? {
        true => Form::SseEnvelope,
        false => Form::Sse,
    })
}

/// Where to start: the header before the parameters, so that a client which comes back goes on from its
/// last event, whatever its URL says. Only ids come in the header: `now` and `start` are words of the URL.
fn start(params: &Params, headers: &HeaderMap) -> Result<(Start, Option<String>), Problem> {
    let header = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty());
    let header = header.map(|value| value.to_str().unwrap_or("?"));
    let last = params.get("last").map(last).transpose()?;
    let named = AFTER.iter().find_map(|name| params.get(name));
    let after = named.filter(|text| !text.is_empty());
    if header.is_none() && after.is_some() && last.is_some() {
        return Err(Problem::bad_request(
            "`after` and `last` both say where to start; one of them must go",
        ));
    }
    Ok(match (header, after) {
        (Some(id), _) => after_id(id),
        (None, Some("now")) => (Start::Now, None),
        (None, Some("start")) => (Start::First, None),
        (None, Some(id)) => after_id(id),
        (None, None) => (last.map_or(Start::Now, Start::Last), None),
    })
}

fn after_id(text: &str) -> (Start, Option<String>) {
    match text.parse::<Position>() {
        Ok(position) => (Start::After(position), Some(text.to_owned())),
        Err(_) => (Start::Unknown, Some(crate::hub::NO_ID.to_owned())),
    }
}

fn last(text: &str) -> Result<usize, Problem> {
    // `usize::from_str` would take a sign and leading zeros.
    let plain = text == "0" || !text.starts_with(['0', '+']);
    let parsed = text.parse().ok().filter(|count| *count <= MAX_LAST);
    parsed.filter(|_| plain).ok_or_else(|| {
        Problem::bad_request(format!(
            "`last` is how many of the newest events to begin with, 0 to {MAX_LAST}"
        ))
    })
}

/// The stream as a body: one that gives its socket to a shard where that can be, or one that hyper serves.
fn body(service: &Service, joined: Joined, form: Form, way: Way) -> Body {
    let Some(slot) = way.slot.filter(|_| !service.shards.is_empty()) else {
        let stream = Stream::new(joined, form, service.streams, service.ending.clone());
        let pieces = stream.into_pieces();
        return match way.version {
            Version::HTTP_2 => Body::new(service.watch.body(pieces)),
            _ => Body::from_stream(pieces.map(Ok::<_, Infallible>)),
        };
    };
    let first = wire::opening(service.streams.retry(), Some(&joined.opening));
    let shards = service.shards.clone();
    Body::new(handoff::Body::new(
        first.into(),
        slot,
        move |stream, permit| match stream.into_std() {
            Ok(socket) => shards.serve(Handed {
                socket,
                told: joined.opening.parse().ok(),
                reader: joined.reader,
                place: joined.place,
                permit,
                form,
            }),
            Err(error) => {
                tracing::error!(%error, "a socket can't be handed to a shard, and is closed")
            }
        },
    ))
}

fn closing(refusal: &Refusal) -> Closing {
    match refusal {
        Refusal::Overload { .. } => Closing::Overload,
        Refusal::Starting(_) => Closing::Starting,
        Refusal::Unavailable(_) => Closing::Unavailable,
    }
}

/// An answer that tells a browser's EventSource to come back: any status but 200 it would take for good.
fn refuse(service: &Service, asked: &Asked, reason: Closing) -> Response {
    let body = wire::refusal(service.streams.retry(), asked.id.as_deref(), reason);
    let mut response = event_stream(body.into());
    response
        .headers_mut()
        .insert(REFUSED, HeaderValue::from_static(reason.as_str()));
    response
}

fn event_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-transform"),
    );
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}
