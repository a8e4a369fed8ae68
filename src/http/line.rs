//! An event as one JSON object: a line of a batch, or a message over WebSocket.

use super::problem::Problem;
use super::publish::{parse_content_type, parse_feed, parse_key, parse_kind};
use crate::event::{EventType, Message, Trace};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// How many members of an object are looked at: none has so many fields.
const MEMBERS: usize = 16;

/// The members of a JSON object, in order, each name once.
pub(super) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The members of the object that `text` is; `what` names it in an error.
    pub(super) fn parse(text: &'a [u8], what: &str) -> Result<Self, Problem> {
        let members: Self = serde_json::from_slice(text).map_err(|error| {
            Problem::unprocessable(format!(
                "the {what} is not one JSON object: {}",
                reason(&error)
            ))
        })?;
        Ok(members)
    }

    /// Takes out a member, as JSON.
    pub(super) fn take_raw(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.0.iter().position(|(one, _)| one == name)?;
        Some(self.0.remove(at).1)
    }

    /// Takes out a member that is `form`, as in "a string"; one that is null is as good as none.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        name: &str,
        form: &str,
    ) -> Result<Option<T>, Problem> {
        match self.take_raw(name) {
            Some(value) => parse(name, value, form),
            None => Ok(None),
        }
    }

    /// Refuses a name that is there twice: parsers differ in which they take.
    pub(super) fn check_unique(&self) -> Result<(), Problem> {
        for (index, (name, _)) in self.0.iter().enumerate() {
            if self.0[..index].iter().any(|(earlier, _)| earlier == name) {
                let name = name.escape_debug();
                return Err(Problem::unprocessable(format!("`{name}` is there twice")));
            }
        }
        Ok(())
    }

    /// The name of one that has not been taken.
    pub(super) fn left(&self) -> Option<&str> {
        self.0.first().map(|(name, _)| name.as_str())
    }
}

fn parse<T: DeserializeOwned>(
    name: &str,
    value: &RawValue,
    form: &str,
) -> Result<Option<T>, Problem> {
    serde_json::from_str(value.get()).map_err(|error| {
        Problem::unprocessable(format!("`{name}` is not {form}: {}", reason(&error)))
    })
}

/// What is published, as it is written.
#[derive(Default)]
pub(super) struct Line<'a> {
    feed: Option<String>,
    kind: Option<String>,
    key: Option<String>,
    idempotency_key: Option<String>,
    trace_parent: Option<String>,
    trace_state: Option<String>,
    pub(super) payload: Payload<'a>,
}

/// Data as it is written, and what is said of it.
#[derive(Default)]
pub(super) struct Payload<'a> {
    data: Option<&'a RawValue>,
    content_type: Option<String>,
    encoding: Option<String>,
    /// What came beside the JSON, in a binary message.
    pub(super) bytes: Option<&'a [u8]>,
}

impl<'a> Line<'a> {
    /// The fields of an object that has no others.
    pub(super) fn read(members: Members<'a>) -> Result<Self, Problem> {
        members.check_unique()?;
        let mut line = Self::default();
        for (name, value) in members.0 {
            line.set(&name, value)?;
        }
        Ok(line)
    }

    fn set(&mut self, name: &str, value: &'a RawValue) -> Result<(), Problem> {
        let field = match name {
            "data" => {
                self.payload.data = Some(value);
                return Ok(());
            }
            "feed" => &mut self.feed,
            "type" => &mut self.kind,
            "key" => &mut self.key,
            "content_type" => &mut self.payload.content_type,
            "encoding" => &mut self.payload.encoding,
            "idempotency_key" => &mut self.idempotency_key,
            "traceparent" => &mut self.trace_parent,
            "tracestate" => &mut self.trace_state,
            name => {
                let name = name.escape_debug();
                return Err(Problem::unprocessable(format!(
                    "`{name}` is no field of an event; the fields are `feed`, `type`, `data`, `key`, `content_type`, `encoding`, `idempotency_key`, `traceparent` and `tracestate`"
                )));
            }
        };
        *field = parse(name, value, "a string")?;
        Ok(())
    }

    /// What is published, and under which idempotency key; `what` names the object in an error.
    pub(super) fn message(self, what: &str) -> Result<(Message, Option<String>), Problem> {
        let (data, content_type) = self.payload.read()?;
        let feed = self.feed.ok_or_else(|| {
            Problem::unprocessable(format!(
                "the {what} has no `feed`, as in {{\"feed\":\"orders.eu\",\"data\":1}}"
            ))
        })?;
        let message = Message {
            kind: self
                .kind
                .as_deref()
                .map_or(Ok(EventType::default()), parse_kind)?,
            key: self.key.as_deref().map(parse_key).transpose()?,
            content_type,
            trace: trace(self.trace_parent.as_deref(), self.trace_state.as_deref()),
            ..Message::new(parse_feed(&feed)?, data)
        };
        Ok((message, self.idempotency_key))
    }
}

/// The trace that an object names; as with headers, what is not valid is passed over.
pub(super) fn trace(parent: Option<&str>, state: Option<&str>) -> Option<Box<Trace>> {
    Trace::read(parent?, state).map(Box::new)
}

impl<'a> Payload<'a> {
    /// Takes these fields out of an object.
    pub(super) fn take(members: &mut Members<'a>) -> Result<Self, Problem> {
        Ok(Self {
            data: members.take_raw("data"),
            content_type: members.take("content_type", "a string")?,
            encoding: members.take("encoding", "a string")?,
            bytes: None,
        })
    }

    /// The data as bytes, and its content type: where none is named, that of how it is written.
    pub(super) fn read(&self) -> Result<(Bytes, Option<Box<str>>), Problem> {
        let (data, implied) = match self.bytes {
            Some(bytes) => (self.beside(bytes)?, Some("application/octet-stream")),
            None => self.written()?,
        };
        let content_type = match self.content_type.as_deref() {
            Some(content_type) => Some(parse_content_type(content_type)?),
            None => implied.map(Into::into),
        };
        // Without the room that was not needed: as an event it is kept for long.
        Ok((data.into_boxed_slice().into(), content_type))
    }

    fn beside(&self, bytes: &[u8]) -> Result<Vec<u8>, Problem> {
        match (self.data, self.encoding.as_ref()) {
            // Copied: it is a slice of a buffer of the connection.
            (None, None) => Ok(bytes.to_vec()),
            _ => Err(Problem::unprocessable(
                "the data of a binary message is what comes after its line of JSON: there is no `data` and no `encoding` in that",
            )),
        }
    }

    /// Data is written as in an envelope: JSON is JSON, text is a string, other bytes are base64.
    fn written(&self) -> Result<(Vec<u8>, Option<&'static str>), Problem> {
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
            // With so many one is wrong already: the others need not be kept.
            if members.len() < MEMBERS {
                members.push(member);
            }
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Data;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(line: &[u8]) -> Result<(Message, Option<String>), Problem> {
        Members::parse(line, "line")
            .and_then(Line::read)
            .and_then(|line| line.message("line"))
    }

    fn bytes(message: &Message) -> &[u8] {
        match &message.data {
            Data::Bytes(bytes) => bytes,
            Data::Oversize { .. } => panic!("it is whole"),
        }
    }

    proptest! {
        #[test]
        fn an_event_is_read_as_it_was_written(
            feed in "[a-z]{1,3}(\\.[a-zü]{1,3}){0,2}", kind in "[a-z ]{1,8}x", key in prop::option::of("\\PC{1,8}"),
            data in prop_oneof!["\\PC{0,20}".prop_map(Value::from), any::<i64>().prop_map(Value::from), Just(json!({"a": [null]}))],
            in_base64 in any::<bool>(), idempotency_key in prop::option::of("\\PC{1,8}"),
        ) {
            let text = data.as_str().map_or_else(|| data.to_string(), str::to_owned);
            let mut line = json!({"feed": feed, "type": kind, "key": key, "data": data, "idempotency_key": idempotency_key});
            if in_base64 {
                line["data"] = json!(STANDARD.encode(&text));
                line["encoding"] = json!("base64");
            }
            let (message, read_key) = read(line.to_string().as_bytes()).unwrap();
            prop_assert_eq!(message.feed.as_str(), feed);
            prop_assert_eq!(message.kind.as_str(), kind);
            prop_assert_eq!(message.key.as_ref().map(|key| key.as_str()), key.as_deref());
            prop_assert_eq!(bytes(&message), text.as_bytes());
            prop_assert_eq!(read_key, idempotency_key);
        }

        #[test]
        fn whatever_bytes_come_it_is_an_event_or_a_problem_of_its_sender(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                r#"\{?("feed"|"type"|"data"|"key"|"encoding"|:|,|"a"|"base64"|null|1e9|\[|\]|\{|\}|"\\u0000"|"\\ud800"){0,12}\}?"#
                    .prop_map(String::into_bytes),
            ],
        ) {
            match read(&bytes) {
                // What is taken is JSON that every parser takes, without a name that comes twice.
                Ok((message, _)) => {
                    let value: Value = serde_json::from_slice(&bytes).unwrap();
                    prop_assert_eq!(value["feed"].as_str(), Some(message.feed.as_str()));
                }
                Err(problem) => prop_assert!(matches!(problem.status.as_u16(), 400 | 422)),
            }
        }
    }
}
