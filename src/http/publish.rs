//! `POST /feeds/{feed}`: one event. `POST /feeds`: many, one a line.

use super::problem::Problem;
use super::{Name, Service};
use crate::event::{EventType, Feed, InvalidMeta, Key, Message};
use crate::publish::{Published, Publisher};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::convert::Infallible;

/// The longest content type kept, in bytes.
const MAX_CONTENT_TYPE_BYTES: usize = 255;
/// How many events of a batch are under way at once. They are handed to the log in their order.
const PIPELINE: usize = 64;

#[derive(Serialize)]
struct Receipt<'a> {
    id: String,
    feed: &'a str,
}

pub(super) async fn one(
    State(service): State<Service>,
    Name(name): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
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
    let data = read(body, service.max_event_bytes, "an event").await?;
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

pub(super) async fn many(
    State(service): State<Service>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let content_type = text(&headers, "content-type")?.unwrap_or_default();
    if !content_type
        .split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-ndjson"))
    {
        let detail = "many events are published with `Content-Type: application/x-ndjson`, one JSON object a line; one event is published to `/feeds/{feed}`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let body = read(body, service.max_batch_bytes, "a batch").await?;
    let publisher = service.publisher;
    let pipeline = PIPELINE.min(publisher.max_publishes()).max(1);
    let results = futures::stream::iter(lines(body))
        .map(move |line| publish_line(publisher.clone(), line))
        .buffered(pipeline)
        .map(Ok::<_, Infallible>);
    Ok((
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(results),
    )
        .into_response())
}

/// One line of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    feed: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    key: Option<String>,
    content_type: Option<String>,
    encoding: Option<String>,
    idempotency_key: Option<String>,
}

/// A value that is there, `null` too.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// The lines of a batch that are not blank.
fn lines(body: Bytes) -> impl Iterator<Item = Bytes> + Send {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .unwrap_or(rest.len() - 1);
        Some(rest.split_to(end + 1))
    })
    .filter(|line| !line.trim_ascii().is_empty())
}

async fn publish_line(publisher: Publisher, line: Bytes) -> String {
    let published = match parse_line(&line) {
        Ok((message, key)) => publisher.publish(message, key).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match published {
        Ok(published) => format!("{}\n", receipt(&published)),
        Err(problem) => format!("{}\n", problem.json()),
    }
}

fn parse_line(line: &[u8]) -> Result<(Message, Option<String>), Problem> {
    let line: Line<'_> = serde_json::from_slice(line)
        .map_err(|error| Problem::unprocessable(format!("the line is no event: {error}")))?;
    let (data, implied) = line_data(&line)?;
    let content_type = match line.content_type.as_deref() {
        Some(content_type) => Some(parse_content_type(content_type)?),
        None => implied.map(Into::into),
    };
    let message = Message {
        kind: line
            .kind
            .as_deref()
            .map_or(Ok(EventType::default()), parse_kind)?,
        key: line.key.as_deref().map(parse_key).transpose()?,
        content_type,
        ..Message::new(parse_feed(&line.feed)?, data)
    };
    Ok((message, line.idempotency_key))
}

/// A line's data as bytes, and the content type that these have where the line names none.
///
/// Data is written as in an envelope: JSON is JSON, text is a string, other bytes are base64.
fn line_data(line: &Line<'_>) -> Result<(Vec<u8>, Option<&'static str>), Problem> {
    let raw = line.data.map_or("\"\"", RawValue::get);
    let as_text = serde_json::from_str::<String>(raw).ok();
    match (line.encoding.as_deref(), as_text) {
        (None, Some(text)) => match line
            .content_type
            .as_deref()
            .is_some_and(crate::wire::is_json)
        {
            true => Ok((raw.into(), None)),
            false => Ok((text.into(), Some("text/plain; charset=utf-8"))),
        },
        (None, None) => Ok((raw.into(), Some("application/json"))),
        (Some("base64"), Some(text)) => match STANDARD.decode(text) {
            Ok(bytes) => Ok((bytes, Some("application/octet-stream"))),
            Err(error) => Err(Problem::unprocessable(format!(
                "`data` is not base64: {error}"
            ))),
        },
        (Some("base64"), None) => Err(Problem::unprocessable(
            "with `encoding` base64, `data` is a string",
        )),
        (Some(_), _) => Err(Problem::unprocessable(
            "`encoding` is `base64`, or left out",
        )),
    }
}

async fn read(body: Body, max: usize, what: &str) -> Result<Bytes, Problem> {
    match Limited::new(body, max).collect().await {
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

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
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

fn parse_feed(text: &str) -> Result<Feed, Problem> {
    text.parse().map_err(|error| {
        Problem::bad_request(format!("`{}` is no feed: {error}", text.escape_debug()))
    })
}

fn parse_kind(text: &str) -> Result<EventType, Problem> {
    text.parse().map_err(|error: InvalidMeta| {
        Problem::unprocessable(format!("the event type is refused: {error}"))
    })
}

fn parse_key(text: &str) -> Result<Key, Problem> {
    text.parse().map_err(|error: InvalidMeta| {
        Problem::unprocessable(format!("the event key is refused: {error}"))
    })
}

fn parse_content_type(text: &str) -> Result<Box<str>, Problem> {
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

fn receipt(published: &Published) -> String {
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
