//! A subscriber: a set of patterns, and a position in the log.

use super::bell::{Bell, Ear, Listening};
use super::cold::Segment;
use super::entry::Entry;
use super::signal::{Events, Notices, Signal};
use super::window::{Cursor, Step, StepLimit, Window};
use super::{Shared, jittered};
use crate::event::{Feed, Patterns, Position};
use crate::log::{LogError, Range};
use crate::wire::{GapReason, Notice, Say};
use std::sync::Arc;
use std::time::Duration;

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
    hub: Arc<Shared>,
    patterns: Patterns,
    /// Set where the patterns are one feed's name: only that feed is read from the log then.
    feed: Option<Feed>,
    cursor: Cursor,
    bell: Arc<Bell>,
    /// Whether to say first that the client's id is not of this log.
    reset: bool,
    way: Way,
}

/// Where a reader has what it hears from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It has heard nothing yet.
    New,
    /// It catches up in the window.
    Window,
    /// It catches up, and stood before the window.
    Log,
    /// It has caught up, and not fallen behind the window since.
    Live,
}

/// How far a reader has come with what is at hand.
#[derive(Debug)]
pub(super) enum Progress {
    /// There is more to hear.
    Heard(Signal),
    /// Nothing more for now: its bell will ring.
    Live,
    /// The log has to be read up to this sequence: see [`Reader::catch_up`].
    Behind(u64),
}

impl Reader {
    pub(super) fn new(hub: Arc<Shared>, patterns: Patterns, cursor: Cursor, reset: bool) -> Self {
        let bell = hub.window.read().bell(&cursor);
        let feed = patterns.single();
        Self {
            hub,
            patterns,
            feed,
            cursor,
            bell,
            reset,
            way: Way::New,
        }
    }

    /// The log's newest position, where the reader is live and has been passed everything up to there.
    pub fn live_position(&mut self) -> Option<Position> {
        let hub = self.hub.clone();
        let window = hub.window.read();
        let mut ahead = self.cursor.clone();
        if self.reset || !matches!(window.step(&mut ahead, STEP), Step::Live) {
            return None;
        }
        self.cursor = ahead;
        Some(self.cursor.known())
    }

    /// Waits for what comes next. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        let signal = self.hear().await;
        self.hub.count(signal.notices());
        signal
    }

    /// What there is for it up to the sequence `end`, read from the log where need be; `None` once it has had all. Who
    /// reads more slowly than the log grows would else never be done. Its gaps are not counted. Cancel-safe.
    pub async fn at_hand(&mut self, end: u64) -> Option<Signal> {
        loop {
            match self.step() {
                Progress::Heard(signal) => return Some(signal),
                Progress::Live => return None,
                // A log that was rolled back may end before that.
                Progress::Behind(_)
                    if self.cursor.sequence() >= end.min(*self.hub.head.borrow()) =>
                {
                    return None;
                }
                Progress::Behind(through) => {
                    if let Some(signal) = self.catch_up(through).await {
                        return Some(signal);
                    }
                }
            }
        }
    }

    /// Counts gaps and resets that were told: for those who need not tell all that they hear.
    pub fn count(&self, notices: Notices) {
        self.hub.count(notices);
    }

    /// Counts how long what was heard took to be told, where it was live.
    pub fn observe(&self, signal: &Signal) {
        if self.way == Way::Live {
            signal.observe(&self.hub.counters.delay, 1);
        }
    }

    /// The last position that it has passed, as far as that can be told to a client.
    pub fn position(&self) -> Position {
        self.cursor.known()
    }

    /// Waits for what comes next, without counting its gaps. Cancel-safe.
    pub async fn hear(&mut self) -> Signal {
        loop {
            let bell = self.bell.clone();
            let mut rung = std::pin::pin!(bell.rung());
            rung.as_mut().enable(); // before the look, so that nothing falls in between
            match self.step() {
                Progress::Heard(signal) => return signal,
                Progress::Live => rung.await,
                Progress::Behind(through) => {
                    if let Some(signal) = self.catch_up(through).await {
                        return signal;
                    }
                }
            }
        }
    }

    /// Takes what is at hand.
    pub(super) fn step(&mut self) -> Progress {
        let hub = self.hub.clone();
        loop {
            let progress = self.step_in(&hub.window.read());
            if let Some(progress) = progress {
                return progress;
            }
        }
    }

    /// The same, with the window locked already; `None` where there is more to search.
    pub(super) fn step_in(&mut self, window: &Window) -> Option<Progress> {
        if std::mem::take(&mut self.reset) {
            return Some(Progress::Heard(reset(self.cursor.known())));
        }
        match window.step(&mut self.cursor, STEP) {
            Step::Events(entries) if entries.is_empty() => None,
            Step::Events(entries) => {
                self.goes(Way::Window);
                Some(Progress::Heard(self.heard(entries)))
            }
            Step::Reset(position) => Some(Progress::Heard(reset(position))),
            Step::Live => {
                self.goes(Way::Live);
                Some(Progress::Live)
            }
            Step::Behind(through) => {
                self.goes(Way::Log);
                Some(Progress::Behind(through))
            }
        }
    }

    /// Notes where it has what it hears from, and counts where it begins to catch up.
    fn goes(&mut self, way: Way) {
        match (self.way, way) {
            (Way::New, Way::Window) => {
                self.hub.counters.caught_up_in_window.inc();
            }
            (Way::New | Way::Window | Way::Live, Way::Log) => {
                self.hub.counters.caught_up_in_log.inc();
            }
            (_, Way::Live) => {}
            _ => return,
        }
        self.way = way;
    }

    /// Reads on from the log; nothing where nothing was found yet. Cancel-safe.
    pub(super) async fn catch_up(&mut self, through: u64) -> Option<Signal> {
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
            .hub
            .cold
            .read(
                Range { after, through },
                self.feed.as_ref(),
                self.cursor.generation(),
            )
            .await?;
        let gap = match segment.first > after + 1 {
            true => Some(self.gap(&segment).await?),
            false => None,
        };
        if !self.cursor.is_of(self.hub.window.read().generation()) {
            return Ok(None); // what was read may be of the log as it was
        }
        Ok(match gap {
            Some(notice) => {
                self.cursor.passed(notice.id.sequence(), Some(notice.id));
                Some(Signal::Notice(notice))
            }
            None => self.take(&segment),
        })
    }

    fn take(&mut self, segment: &Segment) -> Option<Signal> {
        let after = self.cursor.sequence();
        let begin = segment
            .entries
            .partition_point(|entry| entry.sequence() <= after);
        let (mut entries, mut bytes, mut last) = (Vec::new(), 0, None);
        let mut through = segment.through;
        for entry in &segment.entries[begin..] {
            // Also what was for others has been passed.
            last = Some(entry.position());
            if self.patterns.matches(&entry.event().message.feed) {
                bytes += entry.cost();
                entries.push(entry.clone());
                if bytes >= STEP.bytes {
                    through = entry.sequence();
                    break;
                }
            }
        }
        self.cursor.passed(through, last);
        (!entries.is_empty()).then(|| self.heard(entries))
    }

    fn heard(&self, entries: Vec<Arc<Entry>>) -> Signal {
        Signal::Events(Events::new(entries, self.hub.clone()))
    }

    /// The gap from the cursor to the first event that is still to be had: the first that the log held when the
    /// segment was read, or the window's first, where that reaches further back.
    async fn gap(&self, segment: &Segment) -> Result<Notice, LogError> {
        let first = segment.first;
        let at_hand = segment.entries.first().map(|entry| entry.position());
        let found = match at_hand.filter(|position| position.sequence() == first) {
            Some(position) => Some(position),
            None => self.hub.log.position_at(first).await?,
        };
        let (before, id) = match found {
            Some(before) => (before, Position::before(first)),
            None => self.first_held().await?, // it has expired since
        };
        let oldest = self.hub.window.read().position(0);
        let (before, id) = match oldest {
            Some(oldest) if oldest.sequence() <= before.sequence() => {
                (oldest, Position::before(oldest.sequence()))
            }
            _ => (before, id),
        };
        if id.sequence() <= self.cursor.sequence() {
            // Another log was asked than was read, and the follower is still to find that out.
            return Err(LogError::Unavailable("the log has changed".to_owned()));
        }
        let say = Say::Gap {
            after: self.cursor.known(),
            before,
            reason: GapReason::Expired,
        };
        Ok(Notice { id, say })
    }

    /// The first event that the log holds, and the place before it; of a log that holds none the last
    /// position. Where retention is faster than the log can be asked, the event's check is not known.
    async fn first_held(&self) -> Result<(Position, Position), LogError> {
        let bounds = self.hub.log.bounds().await?;
        let (first, last) = (bounds.first, bounds.last);
        if first > last.sequence() {
            return Ok((last, last));
        }
        let found = self.hub.log.position_at(first).await?;
        let position = found.unwrap_or(Position::before(first + 1));
        Ok((position, Position::before(first)))
    }
}

/// For those who serve many sockets with one reader.
impl Reader {
    /// Another reader of the same patterns, at the same place.
    pub(super) fn fork(&self) -> Self {
        Self {
            hub: self.hub.clone(),
            patterns: self.patterns.clone(),
            feed: self.feed.clone(),
            cursor: self.hub.window.write().fork(&self.cursor),
            bell: self.bell.clone(),
            reset: self.reset,
            way: self.way,
        }
    }

    /// Goes back to a position that it was passed.
    pub(super) fn rewind(&mut self, position: Position) {
        self.cursor.passed(position.sequence(), Some(position));
    }

    /// Its patterns, as text.
    pub(super) fn patterns(&self) -> Vec<String> {
        self.patterns.iter().map(|one| one.to_string()).collect()
    }

    /// Whether both have been passed the same, and are to be passed the same from now on.
    pub(super) fn meets(&self, other: &Self) -> bool {
        !self.reset && !other.reset && self.cursor.meets(&other.cursor)
    }

    /// The number of its patterns: the same for all readers with the same ones, while there is one.
    pub(super) fn group(&self) -> usize {
        self.cursor.group()
    }

    /// From now on `ear` hears `name` when something has come, until what is returned is dropped.
    pub(super) fn listen(&self, ear: &Arc<Ear>, name: u32) -> Listening {
        Listening::new(self.bell.clone(), ear.clone(), name)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.hub.window.write().leave(&self.cursor);
    }
}

fn reset(id: Position) -> Signal {
    let say = Say::Reset {};
    Signal::Notice(Notice { id, say })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Data;
    use crate::hub::testing::{hub, publish};
    use crate::hub::{Hub, Start};

    /// More than the window has room for.
    async fn publish_many(hub: &Hub, feed: &str) -> Position {
        let mut last = Position::START;
        for _ in 0..100 {
            last = publish(hub, feed, Data::Bytes(vec![b'x'; 100].into())).await;
        }
        last
    }

    async fn reader(hub: &Hub, pattern: &str) -> Reader {
        let patterns = Patterns::new(vec![pattern.parse().unwrap()], 1).unwrap();
        let joined = hub.join(patterns, Start::First).await;
        joined.unwrap().reader
    }

    #[tokio::test]
    async fn what_is_at_hand_ends_where_the_log_ended_also_where_it_grows_faster_than_it_is_read() {
        let hub = hub(100_000, 4 << 10).await;
        publish_many(&hub, "a").await;
        let mut reader = reader(&hub, "a").await;
        let end = hub.head();
        let mut heard = Vec::new();
        while let Some(signal) = reader.at_hand(end).await {
            let Signal::Events(events) = signal else {
                panic!("nothing was lost");
            };
            heard.extend(events.iter().map(|event| event.position().sequence()));
            publish_many(&hub, "a").await;
            assert!(heard.len() < 1_000, "it has no end");
        }
        assert!(heard.len() as u64 >= end && reader.live_position().is_none());
        assert_eq!(heard, (1..=heard.len() as u64).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_was_for_others_is_passed_also_where_it_is_read_from_the_log() {
        let hub = hub(100_000, 4 << 10).await;
        publish_many(&hub, "a.b").await;
        let mut reader = reader(&hub, "*.c").await;
        let end = hub.head();
        publish_many(&hub, "a.b").await;
        assert!(reader.at_hand(end).await.is_none());
        assert!(reader.position().sequence() >= end && reader.position().has_check());
    }
}
