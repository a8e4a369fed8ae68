//! What a log holds and has held, as the model knows it.

use crate::event::{Feed, Message, Patterns, Position};
use crate::log::{Append, Bounds, Log, MemoryLimits, MemoryLog};
use fastrand::Rng;
use std::sync::Arc;

const FEEDS: [&str; 7] = ["a", "a.b", "a.c", "a.b.c", "b", "b.b", "b.c.a"];

/// Every event that a log has ever had, by sequence, and the first that it still holds.
#[derive(Clone, Debug)]
pub(super) struct Line {
    events: Vec<Option<Arc<Past>>>,
    pub(super) first: u64,
}

#[derive(Debug)]
pub(super) struct Past {
    pub(super) position: Position,
    pub(super) feed: Feed,
    pub(super) data: String,
}

/// A log, and what is known of it.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) log: MemoryLog,
    pub(super) line: Line,
}

impl Line {
    /// The last sequence.
    pub(super) fn last(&self) -> u64 {
        self.events.len() as u64
    }

    pub(super) fn at(&self, sequence: u64) -> Option<&Past> {
        let index = usize::try_from(sequence.checked_sub(1)?).ok()?;
        self.events.get(index)?.as_deref()
    }

    /// The position of the event that is still held at a sequence.
    pub(super) fn held(&self, sequence: u64) -> Option<Position> {
        let event = self.at(sequence).filter(|_| sequence >= self.first)?;
        Some(event.position)
    }

    /// The events of these patterns after a sequence, up to another.
    pub(super) fn between(
        &self,
        patterns: &Patterns,
        after: u64,
        through: u64,
    ) -> impl Iterator<Item = &Past> {
        let end = usize::try_from(through).unwrap().min(self.events.len());
        let start = usize::try_from(after).unwrap().min(end);
        self.events[start..end]
            .iter()
            .flatten()
            .map(|event| &**event)
            .filter(|event| patterns.matches(&event.feed))
    }

    pub(super) fn push(&mut self, event: Arc<Past>, first: u64) {
        let index = usize::try_from(event.position.sequence() - 1).unwrap();
        self.events.resize(index, None);
        self.events.push(Some(event));
        self.first = first;
    }

    /// This up to a sequence, and from there on another.
    pub(super) fn onto(&self, through: u64, other: &Self) -> Self {
        let through = usize::try_from(through).unwrap();
        let mut events = self.events[..through.min(self.events.len())].to_vec();
        events.resize(through, None);
        events.extend_from_slice(other.events.get(through..).unwrap_or_default());
        let first = other.first;
        Self { events, first }
    }

    /// Whether both have had the same, up to a sequence.
    pub(super) fn agrees(&self, other: &Self, through: u64) -> bool {
        let position = |line: &Self, sequence| line.at(sequence).map(|event| event.position);
        (1..=through).all(|sequence| position(self, sequence) == position(other, sequence))
    }
}

impl Known {
    /// A log whose first event is to stand at a sequence.
    pub(super) fn empty(first: u64, limits: MemoryLimits) -> Self {
        let mut events = Vec::new();
        events.resize_with(usize::try_from(first - 1).unwrap(), || None);
        Self {
            log: MemoryLog::beginning_at(first, limits),
            line: Line { events, first },
        }
    }

    /// A copy that ends with `last`, and has lost what stood before `first`.
    pub(super) fn part(&self, first: u64, last: u64) -> Self {
        let mut line = self.line.clone();
        line.events.truncate(usize::try_from(last).unwrap());
        line.first = first.max(self.line.first).min(last + 1);
        let log = self.log.part(first, last);
        Self { log, line }
    }

    pub(super) async fn bounds(&self) -> Bounds {
        let bounds = Log::Memory(self.log.clone()).bounds().await;
        let bounds = bounds.expect("it is in memory");
        assert_eq!(bounds.first, self.line.first);
        assert_eq!(bounds.last.sequence(), self.line.last());
        bounds
    }

    /// Puts an event on a random feed.
    pub(super) async fn append(&mut self, rng: &mut Rng) -> Arc<Past> {
        let feed: Feed = FEEDS[rng.usize(..FEEDS.len())].parse().unwrap();
        let data = format!("{} on {feed}", self.line.last() + 1);
        let append = Append {
            message: Message::new(feed.clone(), data.clone()),
            idempotency_key: None,
        };
        let log = Log::Memory(self.log.clone());
        let sequence = log.append(append).await.unwrap().sequence;
        let position = log.position_at(sequence).await.unwrap().unwrap();
        let event = Arc::new(Past {
            position,
            feed,
            data,
        });
        let first = log.bounds().await.unwrap().first;
        self.line.push(event.clone(), first);
        event
    }
}
