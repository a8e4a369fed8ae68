//! The forms in which readers ask, and what they are told in each.

use crate::wire::{Block, Parser};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The most that is held of a line or a page, in bytes.
const MAX_HELD: usize = 256 << 20;

/// A form in which a reader asks for its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Server-Sent Events.
    Sse,
    /// Server-Sent Events with envelopes.
    SseEnvelope,
    /// Envelopes, each on a line (NDJSON).
    Lines,
    /// Envelopes in pages, some of them waited for.
    Poll,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sse, Self::SseEnvelope, Self::Lines, Self::Poll];

    /// Its name, as in `sse-envelope`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::SseEnvelope => "sse-envelope",
            Self::Lines => "ndjson",
            Self::Poll => "poll",
        }
    }

    pub(super) fn media(self) -> &'static str {
        match self {
            Self::Sse | Self::SseEnvelope => "text/event-stream",
            Self::Lines => "application/x-ndjson",
            Self::Poll => "application/json",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is of no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a form is sse, sse-envelope, ndjson or poll")]
pub struct InvalidForm;

impl FromStr for Form {
    type Err = InvalidForm;

    fn from_str(text: &str) -> Result<Self, InvalidForm> {
        let found = Self::ALL.into_iter().find(|form| form.as_str() == text);
        found.ok_or(InvalidForm)
    }
}

/// What a reader was told: the same in every form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) kind: String,
    /// The id from which to go on after it; empty where there was none.
    pub(super) id: String,
    /// The event's feed, where the form names it.
    pub(super) feed: Option<String>,
    /// Of an event its data; of what the hub has to say JSON; of what can't be read all of it.
    pub(super) data: String,
}

/// An answer that is being read.
#[derive(Debug)]
pub(super) enum Reading {
    Sse { parser: Parser, is_wrapped: bool },
    Lines(Vec<u8>),
    Page(Vec<u8>),
}

/// An envelope, or what the hub has to say on a line.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default, borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    feed: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    next: String,
}

impl Reading {
    pub(super) fn new(form: Form) -> Self {
        match form {
            Form::Sse | Form::SseEnvelope => Self::Sse {
                parser: Parser::default(),
                is_wrapped: form == Form::SseEnvelope,
            },
            Form::Lines => Self::Lines(Vec::new()),
            Form::Poll => Self::Page(Vec::new()),
        }
    }

    /// Reads on. The bytes may be cut anywhere.
    pub(super) fn read(&mut self, bytes: &[u8], told: &mut Vec<Told>) -> anyhow::Result<()> {
        match self {
            Self::Sse { parser, is_wrapped } => {
                let mut blocks = Vec::new();
                let read = parser.read(bytes, &mut blocks);
                told.extend(blocks.into_iter().map(|block| Told::of(block, *is_wrapped)));
                read?;
            }
            Self::Lines(held) => {
                let mut rest = bytes;
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    held.extend_from_slice(&rest[..end]);
                    told.push(Told::line(&String::from_utf8_lossy(held)));
                    held.clear();
                    rest = &rest[end + 1..];
                }
                hold(held, rest)?;
            }
            Self::Page(held) => hold(held, bytes)?,
        }
        Ok(())
    }

    /// What an answer tells with its end, if that has come: a page, and from where to go on, as a `hub:position`.
    pub(super) fn end(self, told: &mut Vec<Told>) -> anyhow::Result<()> {
        if let Self::Page(held) = self {
            let page: Page<'_> = serde_json::from_slice(&held)?;
            told.extend(page.events.iter().map(|event| Told::line(event.get())));
            told.push(Told::position(page.next));
        }
        Ok(())
    }

    /// How long to wait before coming back, if it has said so.
    pub(super) fn retry(&self) -> Option<Duration> {
        match self {
            Self::Sse { parser, .. } => parser.retry(),
            Self::Lines(_) | Self::Page(_) => None,
        }
    }
}

fn hold(held: &mut Vec<u8>, bytes: &[u8]) -> anyhow::Result<()> {
    anyhow::ensure!(
        held.len() + bytes.len() <= MAX_HELD,
        "a line or a page has more than {MAX_HELD} bytes"
    );
    held.extend_from_slice(bytes);
    Ok(())
}

impl Told {
    /// Where it goes on.
    pub(super) fn position(id: String) -> Self {
        Self {
            kind: "hub:position".to_owned(),
            id,
            feed: None,
            data: "{}".to_owned(),
        }
    }

    fn of(block: Block, is_wrapped: bool) -> Self {
        let Block { kind, data, id } = block;
        if is_wrapped && !kind.starts_with("hub:") {
            let envelope = Self::envelope(&data).filter(|told| told.id == id && kind == "message");
            return envelope.unwrap_or_else(|| Self::unreadable(id, data));
        }
        let feed = None;
        Self {
            kind,
            id,
            feed,
            data,
        }
    }

    fn line(text: &str) -> Self {
        Self::envelope(text).unwrap_or_else(|| Self::unreadable(String::new(), text.to_owned()))
    }

    fn envelope(text: &str) -> Option<Self> {
        let Envelope {
            kind,
            id,
            feed,
            data,
        } = serde_json::from_str(text).ok()?;
        // An event's data is text, and is meant; what the hub has to say is an object.
        let data = serde_json::from_str(data.get()).unwrap_or_else(|_| data.get().to_owned());
        Some(Self {
            kind: kind.into_owned(),
            id: id.into_owned(),
            feed: feed.map(Cow::into_owned),
            data,
        })
    }

    /// It is taken for an event whose data is not as it was sent.
    fn unreadable(id: String, data: String) -> Self {
        let (kind, feed) = ("message".to_owned(), None);
        Self {
            kind,
            id,
            feed,
            data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENT: &str = r#"{"id":"7-abcdef","feed":"a.b","type":"message","data":"ö \"x\""}"#;
    const GAP: &str = r#"{"type":"hub:gap","id":"8-abcdef","data":{"after":"1-a"}}"#;

    fn read(form: Form, bytes: &[u8], cut: usize) -> Vec<Told> {
        let (mut reading, mut told) = (Reading::new(form), Vec::new());
        let cut = cut.min(bytes.len());
        reading.read(&bytes[..cut], &mut told).unwrap();
        reading.read(&bytes[cut..], &mut told).unwrap();
        reading.end(&mut told).unwrap();
        told
    }

    fn told(kind: &str, id: &str, feed: Option<&str>, data: &str) -> Told {
        Told {
            kind: kind.to_owned(),
            id: id.to_owned(),
            feed: feed.map(str::to_owned),
            data: data.to_owned(),
        }
    }

    proptest! {
        #[test]
        fn every_form_tells_the_same_wherever_it_is_cut(cut in 0usize..400) {
            let event = told("message", "7-abcdef", Some("a.b"), "ö \"x\"");
            let gap = told("hub:gap", "8-abcdef", None, r#"{"after":"1-a"}"#);
            let stream = format!("retry: 5\nid: 7-abcdef\ndata: {EVENT}\n\nevent: hub:gap\nid: 8-abcdef\ndata: {}\n\n", gap.data);
            let both = [event, gap];
            prop_assert_eq!(read(Form::SseEnvelope, stream.as_bytes(), cut), &both);
            let lines = format!("{EVENT}\n{GAP}\n{{\"type\":");
            prop_assert_eq!(read(Form::Lines, lines.as_bytes(), cut), &both);
            let page = format!("{{\"events\":[{EVENT},{GAP}],\"next\":\"9-abcdef\"}}\n");
            let paged = read(Form::Poll, page.as_bytes(), cut);
            prop_assert_eq!(&paged[..2], &both);
            prop_assert_eq!(&paged[2..], &[Told::position("9-abcdef".to_owned())]);
        }
    }

    #[test]
    fn what_is_no_envelope_or_anothers_is_no_event_as_it_was_sent() {
        for (id, data) in [("7-abcdef", "{\"id\":"), ("6-abcdef", EVENT)] {
            let stream = format!("id: {id}\ndata: {data}\n\n");
            let found = read(Form::SseEnvelope, stream.as_bytes(), 0);
            assert_eq!(found, [told("message", id, None, data)]);
        }
        let found = read(Form::Lines, b"nonsense\n", 0);
        assert_eq!(found, [told("message", "", None, "nonsense")]);
        let (mut reading, mut told) = (Reading::new(Form::Poll), Vec::new());
        reading.read(b"{\"events\":[", &mut told).unwrap();
        assert!(reading.end(&mut told).is_err());
    }

    #[test]
    fn a_form_is_read_by_its_name() {
        for form in Form::ALL {
            assert_eq!(form.to_string().parse(), Ok(form));
        }
        assert_eq!("json".parse::<Form>(), Err(InvalidForm));
    }
}
