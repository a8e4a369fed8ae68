//! `GET /feeds/{pattern}` and `GET /feeds?feed=P1&feed=P2`.

use super::asked::{Answer, Asked};
use super::client::Client;
use super::client::NoSeat;
use super::handoff::{self, Slot};
use super::negotiate::Media;
use super::poll;
use super::problem::Problem;
use super::refusal;
use super::stream::{Lease, Stream};
use super::{Name, Params, Service};
use crate::auth::Caller;
use crate::clients::{Account, Seat};
use crate::event::Patterns;
use crate::hub::{Handed, Joined, Refusal, Term};
use crate::metrics::{self, Fate, Kind, OpenStream, Transport};
use crate::wire::{self, Closing, Form};
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use std::convert::Infallible;

const REFUSED: HeaderName = HeaderName::from_static("tidings-refused");

/// How a request came, and what may be done with its connection.
pub(super) struct Way {
    pub(super) version: Version,
    pub(super) client: Client,
    /// Where its socket may be asked for.
    slot: Option<Slot>,
    /// What tells whether its client has stalled.
    fate: Option<Fate>,
}

pub(super) async fn one(
    State(service): State<Service>,
    caller: Result<Caller, Problem>,
    way: Way,
    Name(name): Name,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = known(caller)?;
    if params.get("feed").is_some() {
        return Err(Problem::bad_request(
            "the path names a pattern already; for several, use `/feeds?feed=P1&feed=P2`",
        ));
    }
    subscribe(&service, caller, way, vec![name], &params, &headers).await
}

pub(super) async fn several(
    State(service): State<Service>,
    caller: Result<Caller, Problem>,
    way: Way,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let patterns = params.all("feed").map(str::to_owned).collect();
    subscribe(&service, known(caller)?, way, patterns, &params, &headers).await
}

/// Who calls, or why that can't be told just now; fails where it will not be told later either.
fn known(caller: Result<Caller, Problem>) -> Result<Result<Caller, Problem>, Problem> {
    match caller {
        Err(problem) if problem.status != StatusCode::SERVICE_UNAVAILABLE => Err(problem),
        caller => Ok(caller),
    }
}

async fn subscribe(
    service: &Service,
    caller: Result<Caller, Problem>,
    way: Way,
    patterns: Vec<String>,
    params: &Params,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let asked = Asked::read(service, &patterns, params, headers)?;
    let caller = match (caller, asked.answer) {
        (Ok(caller), _) => caller,
        // The keys of tokens are not to be had: a browser's EventSource has to be kept alive until they are.
        (Err(problem), Answer::Stream(form @ (Form::Sse | Form::SseEnvelope))) => {
            let mut response = refuse(service, &asked, form, Closing::Unavailable);
            refusal::mark(&mut response, &problem);
            return Ok(response);
        }
        (Err(problem), _) => return Err(problem),
    };
    caller.subscribe(&asked.patterns)?;
    let term = caller.expires().map(Term::new);
    let seat = match (way.client.seat(service, &caller), asked.answer) {
        (Ok(seat), _) => seat,
        (Err(NoSeat::Unauthorized(error)), _) => return Err(error.into()),
        (Err(NoSeat::Full(full)), Answer::Stream(form @ (Form::Sse | Form::SseEnvelope))) => {
            tracing::debug!(%full, "a reader was told to come back");
            return Ok(refuse(service, &asked, form, Closing::Limit));
        }
        (Err(NoSeat::Full(full)), _) => {
            return Ok(refused(Problem::from(full).into_response(), Closing::Limit));
        }
    };
    let held = Held {
        seat,
        term,
        account: way.client.account(&caller),
        patterns: asked.patterns.clone(),
        subject: caller.subject().map(Box::from),
    };
    match asked.answer {
        Answer::Stream(form) => stream(service, way, asked, form, held).await,
        Answer::Page(page) => poll::answer(service, way, asked, page, headers, held).await,
    }
}

/// What an answer holds for its client, and how long it may.
pub(super) struct Held {
    pub(super) seat: Seat,
    pub(super) term: Option<Term>,
    /// Whose doing it is.
    pub(super) account: Option<Account>,
    patterns: Patterns,
    subject: Option<Box<str>>,
}

async fn stream(
    service: &Service,
    way: Way,
    asked: Asked,
    form: Form,
    held: Held,
) -> Result<Response, Problem> {
    if let Some(end) = *service.ending.borrow() {
        let mut response = refuse(service, &asked, form, end.reason);
        // Who comes back over the same connection would come back here.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        return Ok(response);
    }
    match service.hub.join(asked.patterns.clone(), asked.start).await {
        Ok(joined) => {
            let open = way.open(service, form.into(), &held);
            Ok(opened(form, body(service, joined, form, way, held, open)))
        }
        Err(refusal) => {
            tracing::debug!(%refusal, "a reader was told to come back");
            Ok(refuse(service, &asked, form, closing(&refusal)))
        }
    }
}

impl Way {
    /// A stream that begins now, as it is counted.
    pub(super) fn open(&self, service: &Service, transport: Transport, held: &Held) -> OpenStream {
        let kind = Kind {
            transport,
            protocol: self.version.into(),
        };
        let who = metrics::Reader {
            patterns: Some(held.patterns.clone()),
            subject: held.subject.clone(),
            peer: self.client.peer,
        };
        let mut open = OpenStream::new(&service.stream_counters, kind, who);
        open.heed(self.fate.clone().unwrap_or_default());
        open
    }
}

impl FromRequestParts<Service> for Way {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Infallible> {
        Ok(Self {
            client: Client::from_request_parts(parts, service).await?,
            version: parts.version,
            slot: parts.extensions.get().cloned(),
            fate: parts.extensions.get().cloned(),
        })
    }
}

/// The stream as a body: one that gives its socket to a shard where that can be, or one that hyper serves.
fn body(
    service: &Service,
    joined: Joined,
    form: Form,
    way: Way,
    held: Held,
    mut open: OpenStream,
) -> Body {
    let Held {
        seat,
        term,
        patterns,
        ..
    } = held;
    let Some(slot) = way.slot.filter(|_| !service.shards.is_empty()) else {
        let ending = service.ending.clone();
        let told = joined.opening.parse().ok();
        let pace = service.paces.enter(patterns, form, way.client.peer, told);
        let lease = Lease {
            term,
            seat,
            open,
            pace,
        };
        let stream = Stream::new(joined, form, service.streams, ending, lease);
        return Body::from_stream(stream.into_pieces().map(Ok::<_, Infallible>));
    };
    let first = wire::opening(form, service.streams.retry(), Some(&joined.opening));
    open.delivered(0, first.len() as u64);
    let shards = service.shards.clone();
    Body::new(handoff::Body::new(
        first.into(),
        slot,
        move |stream, permit| match stream.into_std() {
            Ok(socket) => shards.serve(Handed {
                open,
                socket,
                told: joined.opening.parse().ok(),
                reader: joined.reader,
                place: joined.place,
                permit,
                seat,
                form,
                term,
            }),
            Err(error) => {
                tracing::error!(%error, "a socket can't be handed to a shard, and is closed")
            }
        },
    ))
}

pub(super) fn closing(refusal: &Refusal) -> Closing {
    match refusal {
        Refusal::Overload { .. } => Closing::Overload,
        Refusal::Starting(_) => Closing::Starting,
        Refusal::Unavailable(_) => Closing::Unavailable,
    }
}

/// An answer that tells a client to come back. A browser's EventSource would take any status but 200 for good.
fn refuse(service: &Service, asked: &Asked, form: Form, reason: Closing) -> Response {
    let response = match form {
        Form::Sse | Form::SseEnvelope => {
            let body = wire::refusal(service.streams.retry(), asked.id.as_deref(), reason);
            opened(form, body.into())
        }
        Form::Lines => Problem::unavailable(reason).into_response(),
    };
    refused(response, reason)
}

/// An answer that says in its head why it is none.
pub(super) fn refused(mut response: Response, reason: Closing) -> Response {
    let reason = HeaderValue::from_static(reason.as_str());
    response.headers_mut().insert(REFUSED, reason);
    response
}

/// A stream that has begun.
fn opened(form: Form, body: Body) -> Response {
    let media = match form {
        Form::Sse | Form::SseEnvelope => Media::EventStream,
        Form::Lines => Media::Ndjson,
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(media.as_str()),
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
