//! `POST /feeds/{feed}`: one event.

use super::problem::Problem;
use super::{Name, Params, Service};
use crate::event::{EventType, Feed, InvalidMeta, Key, Message};
use crate::publish::Published;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
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
    Name(name): Name,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    params.check(&[])?;
    let feed = parse_feed(&name)?;
    service.publisher.authorise(&feed)?;
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
    let data = read(&service, &headers, body, max, "an event").await?;
    // Copied: a slice would keep the connection's whole read buffer for as long as the event is kept.
    let data = Bytes::copy_from_slice(&data);
    let message = Message {
        kind,
        key,
        content_type,
        ..Message::new(feed, data)
    };
    let published = service.publisher.publish(message, idempotency_key).await?;
    Ok((status(&published), json(receipt(&published))).into_response())
}

/// A body in whole: of at most `max` bytes, without any coding, and sent within the time that a body may take.
pub(super) async fn read(
    service: &Service,
    headers: &HeaderMap,
    body: Body,
    max: usize,
    what: &str,
) -> Result<Bytes, Problem> {
    check_codings(headers)?;
    let whole = Limited::new(body, max).collect();
    let Ok(read) = tokio::time::timeout(service.body_timeout, whole).await else {
        let seconds = service.body_timeout.as_secs();
        let detail = format!(
            "the body was not sent within {seconds} s, as long as it may take; nothing was stored"
        );
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail));
    };
    match read {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let detail = format!(
                "the body is larger than {what} may be: this server takes at most {max} bytes"
            );
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
        }
        Err(error) => Err(Problem::bad_request(format!(
            "the body ended early: {error}"
        ))),
    }
}

/// Refuses transfer codings besides `chunked` (RFC 9112, section 6.1), which hyper leaves in the body, and content
/// codings (RFC 9110, section 8.4), of which readers would not be told.
fn check_codings(headers: &HeaderMap) -> Result<(), Problem> {
    let mut transfer = codings(headers, header::TRANSFER_ENCODING);
    let first = transfer.next();
    let plain = first.is_none_or(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    if !plain || transfer.next().is_some() {
        return Err(Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "the only `Transfer-Encoding` that this server reads is `chunked`, once",
        ));
    }
    let is_identity = |coding: &[u8]| coding.eq_ignore_ascii_case(b"identity");
    match codings(headers, header::CONTENT_ENCODING).all(is_identity) {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "this server reads bodies as they are, without a `Content-Encoding`",
        )),
    }
}

fn codings(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(name).iter();
    fields
        .flat_map(|field| field.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty())
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
