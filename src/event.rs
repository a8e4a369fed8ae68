//! What travels: an [`Event`] on a [`Feed`], selected by [`Pattern`]s, placed by a [`Position`].
//!
//! Every type here is parsed once, at the edge, and is valid ever after.

mod feed;
mod meta;
mod pattern;
mod position;
mod trace;

pub use feed::{Feed, InvalidName, MAX_NAME_BYTES};
pub use meta::{EventType, InvalidMeta, Key, MAX_KEY_BYTES, MAX_TYPE_BYTES};
pub use pattern::{InvalidPatterns, Pattern, Patterns};
pub use position::{InvalidPosition, Position};
pub use trace::{InvalidTrace, Trace};

use bytes::Bytes;
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// An event as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it stands in the log.
    pub position: Position,
    /// When the log took it in.
    pub time: Timestamp,
    /// What was published.
    pub message: Message,
}

/// What a publisher says: an event before the log has given it a position and a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The feed it is for.
    pub feed: Feed,
    /// Its type; `message` unless said otherwise.
    pub kind: EventType,
    /// The publisher's own key for it, if there is one.
    pub key: Option<Key>,
    /// The data's media type, if it was given.
    pub content_type: Option<Box<str>>,
    /// The authenticated subject that sent it, set by the server alone.
    pub sender: Option<Box<str>>,
    /// The connection that it was sent on, set by the server alone.
    pub connection: Option<Box<str>>,
    /// The trace that it is a part of, if its publisher has said so. Readers are not told; backends are.
    pub trace: Option<Box<Trace>>,
    /// What it carries.
    pub data: Data,
}

/// What an event carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// The bytes that were published.
    Bytes(Bytes),
    /// It was larger than this hub's limit for one event, and its readers are told of a gap in its place.
    Oversize {
        /// How large it was.
        bytes: usize,
    },
}

impl Message {
    /// A message of type `message` with these bytes and nothing else.
    pub fn new(feed: Feed, data: impl Into<Bytes>) -> Self {
        Self {
            feed,
            kind: EventType::default(),
            key: None,
            content_type: None,
            sender: None,
            connection: None,
            trace: None,
            data: Data::Bytes(data.into()),
        }
    }

    /// The bytes it carries on the heap, its feed's name left out (it is shared).
    pub fn heap_bytes(&self) -> usize {
        let text = |field: &Option<Box<str>>| field.as_ref().map_or(0, |text| text.len());
        let data = match &self.data {
            Data::Bytes(bytes) => bytes.len(),
            Data::Oversize { .. } => 0,
        };
        self.kind.heap_bytes()
            + self.key.as_ref().map_or(0, |key| key.as_str().len())
            + text(&self.content_type)
            + text(&self.sender)
            + text(&self.connection)
            + self.trace.as_ref().map_or(0, |trace| trace.heap_bytes())
            + data
    }
}

/// A moment by the log's clock, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Now, by the system's clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn nanos(self) -> u64 {
        self.0
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// RFC 3339 in UTC with milliseconds, as in `2026-11-22T15:04:05.123Z`.
impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const FORM: &[BorrowedFormatItem<'_>] = format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        );
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0))
            .ok()
            .and_then(|time| time.format(FORM).ok());
        f.write_str(text.as_deref().unwrap_or("1970-01-01T00:00:00.000Z"))
    }
}
