//! Server-Sent Events, as WHATWG HTML 9.2 reads them.

use super::{Closing, Notice, envelope};
use crate::event::Event;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::fmt::Write;

/// A sign of life that no parser makes an event of.
pub(super) const HEARTBEAT: &str = ":\n";

/// The first block of a stream: when to come back, and from where.
pub(super) fn opening(retry_ms: u32, id: Option<&str>) -> String {
    retry(retry_ms) + &said("hub:position", id, "{}")
}

/// The last block of a stream that ends, likewise.
pub(super) fn closing(retry_ms: u32, id: Option<&str>, reason: Closing) -> String {
    retry(retry_ms) + &ended(id, reason)
}

pub(super) fn ended(id: Option<&str>, reason: Closing) -> String {
    said("hub:closing", id, &reason.json())
}

fn retry(retry_ms: u32) -> String {
    format!("retry: {retry_ms}\n")
}

pub(super) fn said(kind: &str, id: Option<&str>, data: &str) -> String {
    let mut out = String::new();
    field(&mut out, "event", kind);
    if let Some(id) = id {
        field(&mut out, "id", id);
    }
    field(&mut out, "data", data);
    out.push('\n');
    out
}

pub(super) fn event(event: &Event, data: &Bytes) -> Bytes {
    match std::str::from_utf8(data) {
        Ok(text) => block(event, text),
        Err(_) => block(event, &STANDARD.encode(data)),
    }
}

/// The event's envelope as data of a block without a type, so that `onmessage` hears every event.
pub(super) fn wrapped(event: &Event, data: &Bytes) -> Bytes {
    let mut out = String::with_capacity(data.len() + 256);
    field(&mut out, "id", event.position);
    out.push_str("data: ");
    envelope::write(&mut out, event, data);
    out.push_str("\n\n");
    out.into()
}

pub(super) fn notice(notice: &Notice) -> Bytes {
    let mut out = String::new();
    field(&mut out, "event", notice.say.kind());
    field(&mut out, "id", notice.id);
    field(&mut out, "data", envelope::json(&notice.say));
    out.push('\n');
    out.into()
}

fn block(event: &Event, text: &str) -> Bytes {
    let mut out = String::with_capacity(text.len() + 64);
    if !event.message.kind.is_default() {
        field(&mut out, "event", event.message.kind.as_str());
    }
    field(&mut out, "id", event.position);
    for line in lines(text) {
        field(&mut out, "data", line);
    }
    out.push('\n');
    out.into()
}

fn field(out: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a String can't fail.
    let _ = writeln!(out, "{name}: {value}");
}

/// The lines of a text, in which CR, LF and CRLF all end one; at least one line, the last without an end.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\r', '\n']) else {
            rest = None;
            return Some(text);
        };
        let width = if text[end..].starts_with("\r\n") {
            2
        } else {
            1
        };
        rest = Some(&text[end + width..]);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_line_end_ends_a_line() {
        let of = |text| lines(text).collect::<Vec<_>>();
        assert_eq!(of(""), [""]);
        assert_eq!(of("a\rb\nc\r\nd"), ["a", "b", "c", "d"]);
        assert_eq!(of("\n\r"), ["", "", ""]);
        assert_eq!(of("a\n"), ["a", ""]);
    }

    proptest! {
        #[test]
        fn lines_joined_by_lf_are_the_text_with_its_line_ends_made_lf(text in "[a\r\n\u{1F600}:]{0,40}") {
            let normal = text.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(lines(&text).collect::<Vec<_>>().join("\n"), normal);
        }
    }

    #[test]
    fn the_opening_block_is_as_the_design_gives_it() {
        assert_eq!(
            opening(2500, Some("0-0")),
            "retry: 2500\nevent: hub:position\nid: 0-0\ndata: {}\n\n"
        );
    }
}
