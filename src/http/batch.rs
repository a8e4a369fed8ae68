//! `POST /feeds`: many events, one a line.

use super::body::{Whole, read};
use super::problem::Problem;
use super::publish::{parse_content_type, parse_feed, parse_key, parse_kind, receipt, text};
use super::server::Cut;
use super::{Params, Service};
use crate::event::{EventType, Message};
use crate::publish::Publisher;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::{FutureExt, ready};
use futures::stream::{StreamExt, unfold};
use http::{HeaderMap, StatusCode, header};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// How many fields a line may have.
const FIELDS: usize = 7;
/// How many events of a batch are under way at once. They are handed to the log in their order.
const PIPELINE: usize = 64;

pub(super) async fn many(
    State(service): State<Service>,
    params: Params,
    cut: Option<Extension<Cut>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    params.check(&[])?;
    let content_type = text(&headers, "content-type")?.unwrap_or_default();
    if !content_type
        .split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-ndjson"))
    {
        let detail = "many events are published with `Content-Type: application/x-ndjson`, one JSON object a line; one event is published to `/feeds/{feed}`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let max = service.max_batch_bytes;
    let body = read(&service, &headers, body, max, "a batch").await?;
    let (answer, results) = Answer::new(service.body_timeout, cut.map(|Extension(cut)| cut));
    tokio::spawn(publish_lines(service.publisher, body, answer));
    Ok((
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(ReceiverStream::new(results)),
    )
        .into_response())
}

/// A line's result, or why none comes any more.
type Outcome = Result<String, Untaken>;
type Place = mpsc::OwnedPermit<Outcome>;

/// A client has taken nothing of its answer for too long.
#[derive(Debug, thiserror::Error)]
#[error("the client has taken nothing of the answer for too long")]
struct Untaken;

/// The results of a batch on their way to its client.
struct Answer {
    results: mpsc::Sender<Outcome>,
    /// The place for the error that ends an answer.
    last: Option<Place>,
    patience: Duration,
    cut: Option<Cut>,
}

impl Answer {
    fn new(patience: Duration, cut: Option<Cut>) -> (Self, mpsc::Receiver<Outcome>) {
        // As many again as are under way: one who waits for a place waits for the client alone.
        let (results, taken) = mpsc::channel(2 * PIPELINE + 1);
        let last = results.clone().try_reserve_owned().ok();
        let answer = Self {
            results,
            last,
            patience,
            cut,
        };
        (answer, taken)
    }

    /// A place for one more result; `None` once the client is gone, or has taken nothing for too long.
    async fn place(&mut self) -> Option<Place> {
        let place = self.results.clone().reserve_owned();
        if let Ok(place) = tokio::time::timeout(self.patience, place).await {
            return place.ok();
        }
        if let Some(last) = self.last.take() {
            last.send(Err(Untaken));
        }
        // Over HTTP/1 that error is not looked at before all else is written.
        if let Some(cut) = &self.cut {
            cut.now();
        }
        None
    }
}

/// Publishes lines for as long as somebody takes their results. A line begins once there is a place for its
/// result, so that none that is under way has to wait for the client.
async fn publish_lines(publisher: Publisher, body: Whole, answer: Answer) {
    let Whole { bytes, share } = body;
    let pipeline = PIPELINE.min(publisher.max_publishes()).max(1);
    let gone = answer.results.clone();
    let places = unfold((lines(bytes), answer), async |(mut lines, mut answer)| {
        let line = lines.next()?;
        let place = answer.place().await?;
        Some(((line, place), (lines, answer)))
    });
    let publish = places
        .map(|(line, place)| publish_line(publisher.clone(), line).map(|result| (place, result)))
        .buffered(pipeline)
        .for_each(|(place, result)| {
            place.send(Ok(result));
            ready(())
        });
    tokio::select! {
        () = publish => {}
        () = gone.closed() => {}
    }
    drop(share); // the lines are let go
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
    let line = Line::parse(line)?;
    let (data, implied) = line.data()?;
    let content_type = match line.content_type.as_deref() {
        Some(content_type) => Some(parse_content_type(content_type)?),
        None => implied.map(Into::into),
    };
    let feed = line.feed.ok_or_else(|| {
        Problem::unprocessable("the line has no `feed`, as in {\"feed\":\"orders.eu\",\"data\":1}")
    })?;
    let message = Message {
        kind: line
            .kind
            .as_deref()
            .map_or(Ok(EventType::default()), parse_kind)?,
        key: line.key.as_deref().map(parse_key).transpose()?,
        content_type,
        ..Message::new(parse_feed(&feed)?, data)
    };
    Ok((message, line.idempotency_key))
}

/// One line of a batch.
#[derive(Default)]
struct Line<'a> {
    feed: Option<String>,
    kind: Option<String>,
    data: Option<&'a RawValue>,
    key: Option<String>,
    content_type: Option<String>,
    encoding: Option<String>,
    idempotency_key: Option<String>,
}

impl<'a> Line<'a> {
    fn parse(text: &'a [u8]) -> Result<Self, Problem> {
        let Members(members) = serde_json::from_slice(text).map_err(|error| {
            Problem::unprocessable(format!(
                "the line is not one JSON object: {}",
                reason(&error)
            ))
        })?;
        let mut line = Self::default();
        for (index, (name, value)) in members.iter().enumerate() {
            if members[..index].iter().any(|(earlier, _)| earlier == name) {
                let name = name.escape_debug();
                return Err(Problem::unprocessable(format!("`{name}` is there twice")));
            }
            line.set(name, value)?;
        }
        Ok(line)
    }

    fn set(&mut self, name: &str, value: &'a RawValue) -> Result<(), Problem> {
        let field = match name {
            "data" => {
                self.data = Some(value);
                return Ok(());
            }
            "feed" => &mut self.feed,
            "type" => &mut self.kind,
            "key" => &mut self.key,
            "content_type" => &mut self.content_type,
            "encoding" => &mut self.encoding,
            "idempotency_key" => &mut self.idempotency_key,
            name => {
                let name = name.escape_debug();
                return Err(Problem::unprocessable(format!(
                    "`{name}` is no field of an event; the fields are `feed`, `type`, `data`, `key`, `content_type`, `encoding` and `idempotency_key`"
                )));
            }
        };
        *field = serde_json::from_str(value.get()).map_err(|error| {
            Problem::unprocessable(format!("`{name}` is not a string: {}", reason(&error)))
        })?;
        Ok(())
    }

    /// The data as bytes, and the content type that these have where the line names none.
    ///
    /// Data is written as in an envelope: JSON is JSON, text is a string, other bytes are base64.
    fn data(&self) -> Result<(Vec<u8>, Option<&'static str>), Problem> {
        let raw = self.data.map_or("\"\"", RawValue::get);
        crate::wire::check_json(raw).map_err(|error| {
            let reason = reason(&error);
            Problem::unprocessable(format!(
                "`data` is not JSON that every client can read: {reason}"
            ))
        })?;
        let as_text = serde_json::from_str::<String>(raw).ok();
        match (self.encoding.as_deref(), as_text) {
            (None, Some(text)) => match self
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
}

/// What serde_json says of a text, without the line: its text is one line, and that is not the batch's.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(" at line ") {
        Some((text, _)) => format!("{text} at column {}", error.column()),
        None => text,
    }
}

/// The members of a JSON object, in order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object such as {\"feed\":\"orders.eu\",\"data\":1}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            // One more than there are fields is wrong already: the others need not be kept.
            if members.len() <= FIELDS {
                members.push(member);
            }
        }
        Ok(Members(members))
    }
}
