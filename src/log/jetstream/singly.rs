//! Messages fetched each by itself, as JSON, and so past the client's own parser.
//!
//! Whoever may publish can store a message that async-nats does not read: it ends the connection over it, or
//! panics, each time that it is delivered. A follower would stop at it for ever. So where the connection was
//! cut, the message that was to come next is looked at; if it is such a one, all messages are fetched singly
//! until none has been met for a while.

use super::Shared;
use super::api::{ApiError, RawMessage};
use super::headers::Headers;
use super::message::Stored;
use crate::event::Timestamp;
use crate::log::LogError;
use futures::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// How long messages are fetched singly after the last that had to be.
const CAUTIOUS: Duration = Duration::from_secs(30);
/// How many places of cuts are remembered until they have been looked at.
const MAX_CUTS: usize = 64;
/// How many sequences one step covers at most.
const STEP_MESSAGES: u64 = 256;
/// After how many bytes of data a step ends.
const STEP_BYTES: usize = 4 << 20;
/// How many messages are asked for at once.
const AT_ONCE: usize = 8;

/// Where the connection was cut, and until when care is taken.
#[derive(Debug, Default)]
pub(super) struct Caution {
    cuts: Mutex<Vec<Cut>>,
    until: Mutex<Option<Instant>>,
}

/// The last message that a consumer brought before the connection was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cut {
    after: u64,
    /// What the consumer was limited to.
    filter: Option<Box<str>>,
}

/// A message fetched by itself.
#[derive(Debug)]
pub(super) struct Single {
    raw: RawMessage,
    payload: Vec<u8>,
    time: Timestamp,
    headers: Headers,
}

impl Caution {
    /// The connection was cut when the message at `after` was the last that had come to a consumer.
    pub(super) fn cut_after(&self, after: u64, filter: Option<&str>) {
        let filter = filter.map(Box::from);
        let cut = Cut { after, filter };
        let mut cuts = self.cuts.lock();
        if cuts.len() < MAX_CUTS && !cuts.contains(&cut) {
            cuts.push(cut);
        }
    }

    /// Whether messages are to be fetched singly now.
    pub(super) fn is_on(&self) -> bool {
        let mut until = self.until.lock();
        if until.is_some_and(|until| until <= Instant::now()) {
            *until = None;
            tracing::info!("NATS messages come from consumers again");
        }
        until.is_some()
    }

    /// Returns whether it was off.
    fn turn_on(&self) -> bool {
        let until = Instant::now() + CAUTIOUS;
        self.until.lock().replace(until).is_none()
    }
}

impl Single {
    fn new(raw: RawMessage) -> Result<Self, LogError> {
        let time = raw.time().ok_or_else(|| {
            let text = format!("JetStream tells no time of message {}", raw.seq);
            LogError::Unavailable(text)
        })?;
        Ok(Self {
            payload: raw.payload(),
            time,
            headers: Headers::parse(&raw.headers()),
            raw,
        })
    }

    pub(super) fn stored(&self) -> Stored<'_> {
        Stored {
            subject: &self.raw.subject,
            payload: &self.payload,
            sequence: self.raw.seq,
            time: self.time,
        }
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.headers.pairs.iter();
        pairs.map(|(name, value)| (&**name, &**value))
    }

    /// Whether the client reads it. A subject in JSON has U+FFFD in the place of what is not UTF-8.
    fn is_readable(&self) -> bool {
        self.headers.readable && !self.raw.subject.contains(char::REPLACEMENT_CHARACTER)
    }
}

impl Shared {
    /// Whether messages are to be fetched singly, once the places of all cuts have been looked at.
    pub(super) async fn is_cautious(&self) -> Result<bool, LogError> {
        loop {
            let Some(cut) = self.caution.cuts.lock().last().cloned() else {
                return Ok(self.caution.is_on());
            };
            if let Some(next) = self.single_after(cut.after, cut.filter.as_deref()).await? {
                self.look_at(&next);
            }
            self.caution.cuts.lock().retain(|other| *other != cut);
        }
    }

    /// The next messages after `after`, as far as `through`; none only where there is none. One step brings up
    /// to [`STEP_MESSAGES`].
    pub(super) async fn singles(
        &self,
        after: u64,
        through: u64,
        filter: Option<&str>,
    ) -> Result<Vec<Single>, LogError> {
        let first = self.single_after(after, filter).await?;
        let Some(first) = first.filter(|single| single.raw.seq <= through) else {
            return Ok(Vec::new());
        };
        let end = through.min(first.raw.seq + STEP_MESSAGES - 1);
        let rest = first.raw.seq + 1..end + 1;
        let mut singles = Singles {
            shared: self,
            taken: Vec::new(),
            bytes: 0,
        };
        singles.take(first);
        match filter {
            None => singles.fetch_all(rest).await?,
            Some(_) => singles.fetch_filtered(end, filter).await?,
        }
        Ok(singles.taken)
    }

    /// The first message after the sequence `after` that is in `filter`.
    async fn single_after(
        &self,
        after: u64,
        filter: Option<&str>,
    ) -> Result<Option<Single>, LogError> {
        self.single(self.api.next_message(after + 1, filter)).await
    }

    async fn single(
        &self,
        asked: impl Future<Output = Result<Option<RawMessage>, ApiError>>,
    ) -> Result<Option<Single>, LogError> {
        let found = asked.await;
        let found = found.map_err(|error| self.api.explain("look up a message", &error))?;
        found.map(Single::new).transpose()
    }

    /// Takes care from now on, where the client could not read the message.
    fn look_at(&self, single: &Single) {
        if single.is_readable() {
            return;
        }
        let (sequence, subject) = (single.raw.seq, &single.raw.subject);
        match self.caution.turn_on() {
            true => tracing::warn!(
                sequence,
                subject,
                "the NATS client can't read a message's headers or subject: messages are fetched singly for {} s",
                CAUTIOUS.as_secs()
            ),
            false => tracing::debug!(sequence, subject, "another message that it can't read"),
        }
    }
}

/// The messages of one step.
struct Singles<'a> {
    shared: &'a Shared,
    taken: Vec<Single>,
    bytes: usize,
}

impl Singles<'_> {
    fn take(&mut self, single: Single) {
        self.shared.look_at(&single);
        if !single.is_readable() {
            let counter = &self.shared.counters.unreadable_messages;
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.bytes += single.payload.len();
        self.taken.push(single);
    }

    fn is_full(&self) -> bool {
        self.bytes >= STEP_BYTES
    }

    async fn fetch_all(&mut self, sequences: Range<u64>) -> Result<(), LogError> {
        let shared = self.shared;
        let fetched = sequences.map(|sequence| shared.single(shared.api.message(sequence)));
        let mut fetched = pin!(stream::iter(fetched).buffered(AT_ONCE));
        while !self.is_full()
            && let Some(single) = fetched.try_next().await?
        {
            single.into_iter().for_each(|single| self.take(single));
        }
        Ok(())
    }

    async fn fetch_filtered(&mut self, end: u64, filter: Option<&str>) -> Result<(), LogError> {
        while !self.is_full()
            && let Some(last) = self.taken.last()
            && let Some(next) = self.shared.single_after(last.raw.seq, filter).await?
            && next.raw.seq <= end
        {
            self.take(next);
        }
        Ok(())
    }
}
