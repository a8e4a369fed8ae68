//! The log: every accepted event, in one total order.
//!
//! [`Log`] is one of three: in memory, on disk, or on NATS JetStream. All have the same small surface: [`append`](Log::append), [`follow`](Log::follow), [`read`](Log::read) and
//! [`open`](Log::open), which also gives the [`Bounds`]. A log knows nothing of its readers.

mod disk;
#[cfg(test)]
mod faulty;
mod jetstream;
mod keys;
mod memory;
mod replicas;
mod request;

pub use disk::{DiskCounters, DiskError, DiskLimits, DiskLog};
#[cfg(test)]
pub(crate) use faulty::FaultyLog;
pub use jetstream::{ConnectionState, JetStreamLog, LogCounters};
pub use memory::{MemoryLimits, MemoryLog};
pub use replicas::Told;
pub use request::{Ask, REQUESTS, Reply, RequestError};

use crate::event::{Event, Feed, Message, Position};
use std::sync::Arc;

/// Where the events are kept. Cloning it gives another handle on the same log.
#[derive(Clone, Debug)]
pub enum Log {
    /// In this process, and gone with it.
    Memory(MemoryLog),
    /// In a folder, for this process alone.
    Disk(DiskLog),
    /// In a JetStream stream, shared by all replicas.
    JetStream(JetStreamLog),
    /// In this process, and failing as it is told.
    #[cfg(test)]
    Faulty(FaultyLog),
}

/// How far a log reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// When the log was created, in nanoseconds since the Unix epoch; what tells it from a successor.
    pub created: u64,
    /// The first sequence that it still holds; `last + 1` where it holds none.
    pub first: u64,
    /// The last position that was ever given out; its check is that of [`Position::before`] where
    /// the log itself no longer knows it. [`Position::START`] where there was none.
    pub last: Position,
    /// About how many bytes it holds for each event.
    pub event_bytes: u64,
}

/// How much a log of this process' own holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Events.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many bytes they may have.
    pub max_bytes: u64,
    /// How many idempotency keys were forgotten before their time, so far.
    pub keys_forgotten: u64,
}

/// A message on its way into the log.
#[derive(Clone, Debug)]
pub struct Append {
    /// What is published.
    pub message: Message,
    /// Under which key a repeat on the same feed within two minutes is the same event.
    pub idempotency_key: Option<String>,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Where the event stands; for a repeat, where it has stood from the first time on.
    pub sequence: u64,
    /// Whether the log had it already.
    pub repeated: bool,
}

/// A stretch of the log: everything after `after`, up to and including `through`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// The sequence before the first one wanted.
    pub after: u64,
    /// The last sequence wanted.
    pub through: u64,
}

/// Which events of a range are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Select {
    /// All.
    All,
    /// Those of one feed.
    Feed(Feed),
}

/// Where a read stops before the end of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// After this many events.
    pub events: usize,
    /// After the event with which the data read reaches this many bytes.
    pub bytes: usize,
}

/// What a read has found.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The events, in the log's order.
    pub events: Vec<Arc<Event>>,
    /// The range was read up to and including this sequence.
    pub through: u64,
    /// The first sequence that the log held, looked up once the first event was at hand. What lies
    /// between the range's start and this is lost.
    pub first: u64,
    /// When the log that was read was created, as in [`Bounds::created`].
    pub created: u64,
}

/// What following the log has brought.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Set where retention overtook the follower: events before this sequence were lost to it, and stand
    /// before `events`.
    pub lost_before: Option<u64>,
    /// The next events, in the log's order.
    pub events: Vec<Arc<Event>>,
    /// How many more the log holds already.
    pub pending: u64,
}

/// Why the log could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It can't be reached, or can't be used as it is; the text says why, and what would be right.
    #[error("{0}")]
    Unavailable(String),
}

/// Why an append failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Nothing was handed to the log.
    #[error("nothing was stored: {0}")]
    NotStored(String),
    /// The same, for want of room.
    #[error("nothing was stored: {0}")]
    Full(String),
    /// It was handed over, and no answer came: it may be stored, now or later.
    #[error("the event may be stored: {0}")]
    Unknown(String),
    /// The log takes no event of that size.
    #[error(
        "the event has {bytes} bytes with its headers; NATS takes at most {max} (`max_payload` of the server, or `max_msg_size` of the stream)"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest that the log takes.
        max: usize,
    },
}

/// A position in the log that moves as events come in.
#[derive(Debug)]
pub enum Follow {
    /// Of a [`MemoryLog`].
    Memory(memory::Follow),
    /// Of a [`DiskLog`].
    Disk(disk::Follow),
    /// Of a [`JetStreamLog`].
    JetStream(Box<jetstream::Follow>),
    /// Of a [`FaultyLog`].
    #[cfg(test)]
    Faulty(faulty::Follow),
}

impl Log {
    /// Connects where there is something to connect to, makes sure that the log can be used, and says how
    /// far it reaches. To be called before every [`follow`](Self::follow).
    pub async fn open(&self) -> Result<Bounds, LogError> {
        match self {
            Self::Memory(log) => Ok(log.bounds()),
            Self::Disk(log) => Ok(log.bounds()),
            Self::JetStream(log) => log.open().await,
            #[cfg(test)]
            Self::Faulty(log) => log.open().await,
        }
    }

    /// How far the log reaches, by its own word (on JetStream: the stream leader's).
    pub async fn bounds(&self) -> Result<Bounds, LogError> {
        match self {
            Self::Memory(log) => Ok(log.bounds()),
            Self::Disk(log) => Ok(log.bounds()),
            Self::JetStream(log) => log.bounds().await,
            #[cfg(test)]
            Self::Faulty(log) => log.bounds().await,
        }
    }

    /// The position at `sequence`, by the log's own word; `None` where it holds nothing there.
    pub async fn position_at(&self, sequence: u64) -> Result<Option<Position>, LogError> {
        match self {
            Self::Memory(log) => Ok(log.position_at(sequence)),
            Self::Disk(log) => log.position_at(sequence).await,
            Self::JetStream(log) => log.position_at(sequence).await,
            #[cfg(test)]
            Self::Faulty(log) => log.position_at(sequence).await,
        }
    }

    /// Appends an event, and answers once the log's promise holds for it. Never repeats by itself.
    pub async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        match self {
            Self::Memory(log) => log.append(append),
            Self::Disk(log) => log.append(append).await,
            Self::JetStream(log) => log.append(append).await,
            #[cfg(test)]
            Self::Faulty(log) => log.append(append).await,
        }
    }

    /// Follows the log from the first event after the sequence `after`.
    ///
    /// It ends with an error as soon as anything is in doubt: a connection that was cut, a consumer that
    /// skipped or went. Then [`open`](Self::open) the log again, verify that it still is the same, and follow anew.
    pub async fn follow(&self, after: u64) -> Result<Follow, LogError> {
        match self {
            Self::Memory(log) => Ok(Follow::Memory(log.follow(after))),
            Self::Disk(log) => Ok(Follow::Disk(log.follow(after))),
            Self::JetStream(log) => Ok(Follow::JetStream(Box::new(log.follow(after).await?))),
            #[cfg(test)]
            Self::Faulty(log) => Ok(Follow::Faulty(log.follow(after).await?)),
        }
    }

    /// Reads the selected events of a range, until a limit is reached.
    ///
    /// Ends when the range's last sequence is passed, never because nothing came; fails where that can't
    /// be known.
    pub async fn read(
        &self,
        range: Range,
        select: &Select,
        limit: Limit,
    ) -> Result<Batch, LogError> {
        match self {
            Self::Memory(log) => Ok(log.read(range, select, limit)),
            Self::Disk(log) => log.read(range, select, limit).await,
            Self::JetStream(log) => log.read(range, select, limit).await,
            #[cfg(test)]
            Self::Faulty(log) => log.read(range, select, limit).await,
        }
    }

    /// What it is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "in memory",
            Self::Disk(_) => "on disk",
            Self::JetStream(_) => "NATS JetStream",
            #[cfg(test)]
            Self::Faulty(_) => "in a test",
        }
    }

    /// What it has met that it could not pass on as it was; nothing where it takes in nothing but our own.
    pub fn counters(&self) -> Option<Arc<LogCounters>> {
        match self {
            Self::Memory(_) | Self::Disk(_) => None,
            Self::JetStream(log) => Some(log.counters()),
            #[cfg(test)]
            Self::Faulty(_) => None,
        }
    }

    /// How much it holds; nothing where others hold it.
    pub fn held(&self) -> Option<Held> {
        match self {
            Self::Memory(log) => Some(log.held()),
            Self::Disk(log) => Some(log.held()),
            Self::JetStream(_) => None,
            #[cfg(test)]
            Self::Faulty(_) => None,
        }
    }

    /// Why it does not do all that it should, though it can be followed.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Memory(_) | Self::JetStream(_) => None,
            Self::Disk(log) => log.trouble(),
            #[cfg(test)]
            Self::Faulty(_) => None,
        }
    }

    /// What it means when a publish is answered with success.
    pub fn promise(&self) -> &'static str {
        match self {
            Self::Memory(_) => "accepted means: in this process's memory, and lost when it ends",
            Self::Disk(_) => "accepted means: on disk, past an fsync",
            Self::JetStream(_) => {
                "accepted means: stored by JetStream, as durable as its stream is set up to be"
            }
            #[cfg(test)]
            Self::Faulty(_) => "accepted means nothing",
        }
    }
}

impl Follow {
    /// The next events, as soon as there are any; at the first call also an empty answer, where the log has
    /// nothing more yet. Cancel-safe.
    pub async fn next(&mut self) -> Result<Followed, LogError> {
        match self {
            Self::Memory(follow) => Ok(follow.next().await),
            Self::Disk(follow) => follow.next().await,
            Self::JetStream(follow) => follow.next().await,
            #[cfg(test)]
            Self::Faulty(follow) => follow.next().await,
        }
    }
}
