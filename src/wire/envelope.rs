//! The JSON envelope: an event with all that is known of it, on one line.

use super::check_json;
use crate::event::{Event, Position};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

/// Writes the envelope of `event`, whose data is `data`.
pub(super) fn write(out: &mut String, event: &Event, data: &[u8]) {
    open(out, event);
    out.push_str(",\"data\":");
    write_data(out, event.message.content_type.as_deref(), data);
    out.push('}');
}

/// The envelope of `event` without its data, for where that stands beside it.
pub fn head(event: &Event) -> String {
    let mut out = String::with_capacity(256);
    open(&mut out, event);
    out.push('}');
    out
}

/// The members `data` and `encoding` as an envelope has them, without braces.
pub fn data_members(content_type: Option<&str>, data: &[u8]) -> String {
    let mut out = String::with_capacity(data.len() + 16);
    out.push_str("\"data\":");
    write_data(&mut out, content_type, data);
    out
}

/// Writes the envelope up to its data.
fn open(out: &mut String, event: &Event) {
    let message = &event.message;
    out.push_str("{\"id\":");
    out.push_str(&json(&event.position));
    let time = event.time.to_string();
    let fields = [
        ("feed", Some(message.feed.as_str())),
        ("type", Some(message.kind.as_str())),
        ("time", Some(time.as_str())),
        ("key", message.key.as_ref().map(|key| key.as_str())),
        ("sender", message.sender.as_deref()),
        ("connection", message.connection.as_deref()),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            out.push_str(&format!(",\"{name}\":"));
            out.push_str(&json(&value));
        }
    }
}

/// The data as JSON where it is JSON, else as a string, and base64 where it is not even text.
fn write_data(out: &mut String, content_type: Option<&str>, data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        out.push('"');
        STANDARD.encode_string(data, out);
        out.push_str("\",\"encoding\":\"base64\"");
        return;
    };
    if may_be_json(content_type) && check_json(text).is_ok() {
        // Line ends in JSON can only be white space between its tokens.
        out.extend(
            text.trim()
                .chars()
                .map(|c| if matches!(c, '\r' | '\n') { ' ' } else { c }),
        );
    } else {
        out.push_str(&json(&text));
    }
}

/// Data without a type, or with the one that `curl -d` sends for anything, may be JSON as well as data with JSON's.
fn may_be_json(content_type: Option<&str>) -> bool {
    content_type.is_none_or(|content_type| {
        is_json(content_type)
            || matches!(
                essence(content_type).as_str(),
                "" | "application/x-www-form-urlencoded"
            )
    })
}

/// Whether a content type is JSON's (RFC 6839 for the suffix).
pub fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

fn essence(content_type: &str) -> String {
    content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// JSON text of a value that can always be written as JSON.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings, numbers and structs of them are JSON")
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Feed, Message, Timestamp};
    use serde_json::{Value, json as value};

    fn envelope(content_type: Option<&str>, data: &[u8]) -> String {
        let time = Timestamp::from_nanos(1_795_359_845_123_456_789);
        let mut message = Message::new("orders.eu.42".parse::<Feed>().unwrap(), data.to_vec());
        message.kind = "created".parse().unwrap();
        message.content_type = content_type.map(Into::into);
        let mut out = String::new();
        write(
            &mut out,
            &Event {
                position: Position::new(48213, time),
                time,
                message,
            },
            data,
        );
        out
    }

    fn data(content_type: Option<&str>, data: &[u8]) -> Value {
        serde_json::from_str::<Value>(&envelope(content_type, data)).unwrap()["data"].clone()
    }

    #[test]
    fn the_fields_stand_in_the_order_of_the_design() {
        let id = Position::new(48213, Timestamp::from_nanos(1_795_359_845_123_456_789));
        assert_eq!(
            envelope(None, br#"{"n":1}"#),
            format!(
                r#"{{"id":"{id}","feed":"orders.eu.42","type":"created","time":"2026-11-22T15:04:05.123Z","data":{{"n":1}}}}"#
            )
        );
    }

    #[test]
    fn data_is_json_only_where_it_may_be_and_is() {
        assert_eq!(
            data(None, b"{\"a\":\r\n [1.0, 2]}\n"),
            value!({"a": [1.0, 2]})
        );
        assert_eq!(
            data(Some("Application/JSON; charset=utf-8"), b"1"),
            value!(1)
        );
        assert_eq!(data(Some("application/problem+json"), b"[]"), value!([]));
        assert_eq!(
            data(Some("application/x-www-form-urlencoded"), b"true"),
            value!(true)
        );
        assert_eq!(data(Some("text/plain"), b"1"), value!("1"));
        assert_eq!(data(None, b"{broken"), value!("{broken"));
        assert_eq!(data(Some("application/json"), b""), value!(""));
    }

    #[test]
    fn what_a_strict_parser_would_refuse_is_a_string() {
        let deep = "[".repeat(128) + &"]".repeat(128);
        for text in ["\"\\ud800\"", "[1e999]", &deep] {
            assert_eq!(data(None, text.as_bytes()), value!(text));
        }
    }

    #[test]
    fn json_that_spans_lines_makes_an_envelope_of_one_line() {
        assert!(!envelope(None, b"{\"a\":\n\r\n1}\r").contains(['\r', '\n']));
    }

    #[test]
    fn bytes_that_are_no_text_are_base64_and_say_so() {
        let all: Value = serde_json::from_str(&envelope(None, b"\xff\x00")).unwrap();
        assert_eq!(
            (&all["data"], &all["encoding"]),
            (&value!("/wA="), &value!("base64"))
        );
    }
}
