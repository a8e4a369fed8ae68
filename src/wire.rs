//! Events as bytes: pure functions, one for each form on the wire.

mod chunk;
mod envelope;
mod json;
mod lines;
mod problem;
mod sse;
mod stream;

pub use chunk::{Chunk, LAST_CHUNK};
pub use envelope::{data_members, head, is_json};
pub use json::check_json;
pub(crate) use problem::detail;
pub(crate) use stream::{Block, Parser};

use crate::event::{Data, Event, Position};
use bytes::Bytes;
use serde::Serialize;

/// The type of what says that a token will soon have expired.
pub const EXPIRING: &str = "hub:token-expiring";

/// The form in which a reader is sent its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Server-Sent Events, the data as it was published.
    Sse,
    /// Server-Sent Events, each with its envelope as data.
    SseEnvelope,
    /// Envelopes, each on a line of its own.
    Lines,
}

impl Form {
    /// How many forms there are.
    pub const COUNT: usize = 3;

    /// Its place among them, from 0 on.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// What the hub itself has to say on a stream, with the id from which to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// From where a client goes on that has heard this.
    pub id: Position,
    /// What it says.
    pub say: Say,
}

/// The content of a [`Notice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged, rename_all = "lowercase")]
pub enum Say {
    /// `hub:position`: the stream has come this far.
    Position {},
    /// `hub:gap`: what lay between is not to be had any more.
    Gap {
        /// The last position before the gap.
        after: Position,
        /// The first event after it that the log holds; for [`GapReason::Limit`] the event left out itself.
        before: Position,
        /// Why.
        reason: GapReason,
    },
    /// `hub:reset`: the id is not of this log, or the log has changed; what the client knows may not hold.
    Reset {},
}

/// Why events are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// The log's retention has passed them.
    Expired,
    /// The event was larger than the hub's limit.
    Limit,
}

/// Why a stream is closed, or refused before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closing {
    /// This replica shuts down.
    Drain,
    /// It serves as many as it may.
    Overload,
    /// It has not read enough of the log yet.
    Starting,
    /// The log can't be reached, and is needed to tell what the client has missed; or the keys of tokens.
    Unavailable,
    /// The client's token has expired.
    Token,
    /// Its address or its subject has as many connections open as it may have.
    Limit,
    /// Its credentials were revoked.
    Revoked,
}

impl Closing {
    /// As it is written in `hub:closing` and in the `Tidings-Refused` header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Overload => "overload",
            Self::Starting => "starting",
            Self::Unavailable => "unavailable",
            Self::Token => "token",
            Self::Limit => "limit",
            Self::Revoked => "revoked",
        }
    }

    /// The data of a `hub:closing`.
    fn json(self) -> String {
        format!("{{\"reason\":\"{}\"}}", self.as_str())
    }
}

impl Say {
    /// Its event type.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Position {} => "hub:position",
            Self::Gap { .. } => "hub:gap",
            Self::Reset {} => "hub:reset",
        }
    }
}

/// An event in a form. `previous` is the position before it, needed where it is too large to be sent.
pub fn encode(form: Form, event: &Event, previous: Position) -> Bytes {
    let Data::Bytes(data) = &event.message.data else {
        return notice(form, &limit(event, previous));
    };
    match form {
        Form::Sse => sse::event(event, data),
        Form::SseEnvelope => sse::wrapped(event, data),
        Form::Lines => lines::event(event, data),
    }
}

/// What the hub has to say, in a form.
pub fn notice(form: Form, notice: &Notice) -> Bytes {
    match form {
        Form::Sse | Form::SseEnvelope => sse::notice(notice),
        Form::Lines => lines::notice(notice),
    }
}

/// The first that a stream says: from where it goes on, and to browsers after which time to come back.
///
/// The id is text because a client that came with an id of no log is given one like it back.
pub fn opening(form: Form, retry_ms: u32, id: Option<&str>) -> String {
    match form {
        Form::Sse | Form::SseEnvelope => sse::opening(retry_ms, id),
        Form::Lines => lines::said("hub:position", id, "{}"),
    }
}

/// The last that a stream says when it ends, likewise.
pub fn closing(form: Form, retry_ms: u32, id: Option<&str>, reason: Closing) -> String {
    match form {
        Form::Sse | Form::SseEnvelope => sse::closing(retry_ms, id, reason),
        Form::Lines => lines::said("hub:closing", id, &reason.json()),
    }
}

/// Says that the token of a stream's client holds for so many seconds more.
pub fn expiring(form: Form, id: Option<&str>, seconds: u64) -> String {
    let data = format!("{{\"in\":{seconds}}}");
    match form {
        Form::Sse | Form::SseEnvelope => sse::said(EXPIRING, id, &data),
        Form::Lines => lines::said(EXPIRING, id, &data),
    }
}

/// All of a stream that ends as it begins. It is Server-Sent Events: other clients are told by a status.
pub fn refusal(retry_ms: u32, id: Option<&str>, reason: Closing) -> String {
    sse::opening(retry_ms, id) + &sse::ended(id, reason)
}

/// A sign of life of a stream that has told the id `told` and has nothing new to say.
pub fn heartbeat(form: Form, told: Option<Position>) -> Bytes {
    match form {
        Form::Sse | Form::SseEnvelope => Bytes::from_static(sse::HEARTBEAT.as_bytes()),
        // Not every parser passes over an empty line.
        Form::Lines => {
            let id = told.map(|id| id.to_string());
            lines::said("hub:position", id.as_deref(), "{}").into()
        }
    }
}

fn limit(event: &Event, previous: Position) -> Notice {
    let say = Say::Gap {
        after: previous,
        before: event.position,
        reason: GapReason::Limit,
    };
    Notice {
        id: event.position,
        say,
    }
}
