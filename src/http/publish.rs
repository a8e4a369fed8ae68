//! `POST /feeds/{feed}`: one event.

use super::body::read;
use super::client::{self, Client};
use super::problem::Problem;
use super::{Name, Params, Service};
use crate::auth::Caller;
use crate::clients::{Account, Left};
use crate::event::{EventType, Feed, InvalidMeta, Key, Message, Trace};
use crate::metrics::Way;
use crate::publish::Published;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

/// The longest content type kept, in bytes.
const MAX_CONTENT_TYPE_BYTES: usize = 255;

#[derive(Serialize)]
struct Receipt<'a> {
    id: String,
    feed: &'a str,
}

pub(super) async fn one(
    State(service): State<Service>,
    caller: Caller,
    client: Client,
    Name(name): Name,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    params.check(&[])?;
    let feed = parse_feed(&name)?;
    caller.publish(&feed)?;
    let account = client.account(&caller);
    let left = take_publish(&service, account.as_ref()).map_err(Problem::closing)?;
    let kind = match text(&headers, "event-type")? {
        Some(kind) => parse_kind(kind)?,
        None => EventType::default(),
    };
    let key = text(&headers, "event-key")?.map(parse_key).transpose()?;
    let content_type = text(&headers, "content-type")?
        .map(parse_content_type)
        .transpose()?;
    let idempotency_key = text(&headers, "idempotency-key")?.map(str::to_owned);
    let max = service.max_event_bytes;
    let body = read(&service, &headers, body, max, "an event", account).await?;
    service.still(&caller)?;
    let message = Message {
        kind,
        key,
        content_type,
        trace: trace(&headers),
        ..Message::new(feed, body.bytes.clone())
    };
    let publisher = &service.publisher;
    let published = publisher.publish(Way::Http, &caller, message, idempotency_key);
    let published = published.await?;
    let mut response = (status(&published), json(receipt(&published))).into_response();
    if let Some(left) = left {
        client::tell(response.headers_mut(), left);
    }
    Ok(response)
}

/// Takes one of what a client may publish.
pub(super) fn take_publish(
    service: &Service,
    account: Option<&Account>,
) -> Result<Option<Left>, Problem> {
    client::take(&service.publish_rates, account, "publish", "publish")
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Problem::unprocessable(format!(
            "the header {name} is not UTF-8"
        ))),
    }
}

/// The trace that a request is a part of, if it says so in headers that are valid (W3C Trace Context).
pub(super) fn trace(headers: &HeaderMap) -> Option<Box<Trace>> {
    let mut parents = headers.get_all("traceparent").iter();
    let parent = parents.next()?.to_str().ok()?;
    if parents.next().is_some() {
        return None;
    }
    let states = headers.get_all("tracestate").iter();
    let states: Result<Vec<&str>, _> = states.map(HeaderValue::to_str).collect();
    let state = states.ok().map(|states| states.join(","));
    Trace::read(parent, state.as_deref()).map(Box::new)
}

pub(super) fn parse_feed(text: &str) -> Result<Feed, Problem> {
    text.parse().map_err(|error| {
        Problem::bad_request(format!("`{}` is no feed: {error}", text.escape_debug()))
    })
}

pub(super) fn parse_kind(text: &str) -> Result<EventType, Problem> {
    text.parse().map_err(|error: InvalidMeta| {
        Problem::unprocessable(format!("the event type is refused: {error}"))
    })
}

pub(super) fn parse_key(text: &str) -> Result<Key, Problem> {
    text.parse().map_err(|error: InvalidMeta| {
        Problem::unprocessable(format!("the event key is refused: {error}"))
    })
}

pub(super) fn parse_content_type(text: &str) -> Result<Box<str>, Problem> {
    match text.len() > MAX_CONTENT_TYPE_BYTES || text.contains(['\r', '\n', '\0']) {
        true => Err(Problem::unprocessable(format!(
            "the content type must be one line of at most {MAX_CONTENT_TYPE_BYTES} bytes"
        ))),
        false => Ok(text.into()),
    }
}

/// 201 for a new event, 200 for one that the log had already.
fn status(published: &Published) -> StatusCode {
    match published.repeated {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    }
}

pub(super) fn receipt(published: &Published) -> String {
    let receipt = Receipt {
        id: published.id.to_string(),
        feed: published.feed.as_str(),
    };
    serde_json::to_string(&receipt).expect("strings are JSON")
}

fn json(text: String) -> impl IntoResponse {
    (
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )],
        text + "\n",
    )
}
