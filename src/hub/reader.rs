//! A subscriber: a set of patterns, and a position in the log.

use super::cold::Segment;
use super::entry::Entry;
use super::window::{Cursor, Step, StepLimit};
use super::{Place, jittered};
use crate::event::{Feed, Patterns, Position};
use crate::log::{LogError, Range};
use crate::wire::{GapReason, Notice, Say};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// What one step brings at most: large enough to be cheap, small enough that its reader holds little.
const STEP: StepLimit = StepLimit {
    events: 256,
    bytes: 256 << 10,
};
/// How long a reader waits before it asks a log again that could not be read, before it is spread by ±50 %.
const RETRY: Duration = Duration::from_millis(500);

/// A reader of the log, by way of the window where that reaches back far enough.
///
/// It owns no queue: what it has not taken stays in the log. Dropping it ends it.
#[derive(Debug)]
pub struct Reader {
    place: Place,
    patterns: Patterns,
    /// Set where the patterns are one feed's name: only that feed is read from the log then.
    feed: Option<Feed>,
    cursor: Cursor,
    bell: Arc<Notify>,
    /// Whether to say first that the client's id is not of this log.
    reset: bool,
}

/// What a reader gets to hear, in order.
#[derive(Debug)]
pub enum Signal {
    /// The next events; at least one.
    Events(Vec<Arc<Entry>>),
    /// A gap or a reset.
    Notice(Notice),
}

impl Reader {
    pub(super) fn new(place: Place, patterns: Patterns, cursor: Cursor, reset: bool) -> Self {
        let bell = place.0.window.read().bell(&cursor);
        let feed = patterns.single();
        Self {
            place,
            patterns,
            feed,
            cursor,
            bell,
            reset,
        }
    }

    /// The log's newest position, where the reader is live and has been passed everything up to there.
    pub fn live_position(&mut self) -> Option<Position> {
        let mut ahead = self.cursor.clone();
        let step = self.place.0.window.read().step(&mut ahead, STEP);
        if !matches!(step, Step::Live) || self.reset {
            return None;
        }
        self.cursor = ahead;
        Some(self.cursor.known())
    }

    /// Waits for what comes next. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        if std::mem::take(&mut self.reset) {
            return reset(self.cursor.known());
        }
        loop {
            let bell = self.bell.clone();
            let mut rung = std::pin::pin!(bell.notified());
            rung.as_mut().enable(); // before the look, so that nothing falls in between
            let step = self.place.0.window.read().step(&mut self.cursor, STEP);
            match step {
                Step::Events(entries) if entries.is_empty() => tokio::task::yield_now().await,
                Step::Events(entries) => return Signal::Events(entries),
                Step::Reset(position) => return reset(position),
                Step::Live => rung.await,
                Step::Behind(through) => {
                    if let Some(signal) = self.catch_up(through).await {
                        return signal;
                    }
                }
            }
        }
    }

    async fn catch_up(&mut self, through: u64) -> Option<Signal> {
        match self.read_log(through).await {
            Ok(signal) => signal,
            Err(error) => {
                tracing::debug!(%error, "a reader waits for the log");
                tokio::time::sleep(jittered(RETRY)).await;
                None
            }
        }
    }

    async fn read_log(&mut self, through: u64) -> Result<Option<Signal>, LogError> {
        let after = self.cursor.sequence();
        let segment = self
            .place
            .0
            .cold
            .read(Range { after, through }, self.feed.as_ref())
            .await?;
        let gap = match segment.first > after + 1 {
            true => Some(self.gap(segment.first).await?),
            false => None,
        };
        if !self.cursor.is_of(self.place.0.window.read().generation()) {
            return Ok(None); // what was read may be of the log as it was
        }
        Ok(match gap {
            Some(notice) => {
                self.place.0.counters.gaps.inc();
                self.cursor.passed(notice.id.sequence(), Some(notice.id));
                Some(Signal::Notice(notice))
            }
            None => self.take(&segment),
        })
    }

    fn take(&mut self, segment: &Segment) -> Option<Signal> {
        let after = self.cursor.sequence();
        let mine = |entry: &&Arc<Entry>| {
            entry.sequence() > after && self.patterns.matches(&entry.event().message.feed)
        };
        let entries: Vec<_> = segment.entries.iter().filter(mine).cloned().collect();
        self.cursor.passed(
            segment.through,
            entries.last().map(|entry| entry.position()),
        );
        (!entries.is_empty()).then_some(Signal::Events(entries))
    }

    /// The gap from the cursor to `first`, the first sequence that the log holds.
    async fn gap(&self, first: u64) -> Result<Notice, LogError> {
        let (before, id) = match self.place.0.log.position_at(first).await? {
            Some(before) => (before, Position::before(first)),
            None => {
                let last = self.place.0.log.bounds().await?.last;
                (last, last)
            }
        };
        let say = Say::Gap {
            after: self.cursor.known(),
            before,
            reason: GapReason::Expired,
        };
        Ok(Notice { id, say })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.place.0.window.write().leave(&self.cursor);
    }
}

fn reset(id: Position) -> Signal {
    let say = Say::Reset {};
    Signal::Notice(Notice { id, say })
}
