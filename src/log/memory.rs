//! The log in memory: nothing to set up, and gone with the process.

use super::keys::{Keys, digest};
use super::{Append, AppendError, Appended, Batch, Bounds, Followed, Held, Limit, Range, Select};
use crate::event::{Event, Message, Position, Timestamp};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What an event costs beside what it carries, in bytes, counted against the log's bound.
const EVENT_OVERHEAD: usize = size_of::<Event>() + size_of::<Arc<Event>>() + 16;
/// How many events one step of a follower brings at most.
const FOLLOW_BATCH: usize = 1024;
/// How many events a read passes over at most, since all others wait for it.
const READ_SCAN: u64 = 16_384;

/// How much a memory log holds; beyond that the oldest events go.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimits {
    /// Bytes in all, bookkeeping counted.
    pub bytes: usize,
    /// Events in all.
    pub events: usize,
    /// Idempotency keys remembered at once; beyond that the oldest are forgotten before their time.
    pub keys: usize,
}

/// A log in this process's memory. Cloning it gives another handle on the same log.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    created: u64,
    limits: MemoryLimits,
    state: Mutex<State>,
    /// The last sequence, for followers to wait on.
    last: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    /// Sequences are consecutive: `events[0]` stands at `last + 1 - events.len()`.
    events: VecDeque<Arc<Event>>,
    last: Position,
    last_time: u64,
    bytes: usize,
    keys: Keys,
}

impl MemoryLog {
    /// An empty log.
    pub fn new(limits: MemoryLimits) -> Self {
        let created = Timestamp::now().nanos();
        Self::with(created, limits, State::new(created, &limits))
    }

    fn with(created: u64, limits: MemoryLimits, state: State) -> Self {
        let shared = Shared {
            created,
            limits,
            last: watch::Sender::new(state.last.sequence()),
            state: Mutex::new(state),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        let state = self.shared.state.lock();
        Bounds {
            created: self.shared.created,
            first: state.first(),
            last: state.last,
            event_bytes: (state.bytes / state.events.len().max(1)) as u64,
        }
    }

    pub(super) fn held(&self) -> Held {
        let state = self.shared.state.lock();
        Held {
            events: state.events.len() as u64,
            bytes: state.bytes as u64,
            max_bytes: self.shared.limits.bytes as u64,
            keys_forgotten: state.keys.forgotten(),
        }
    }

    pub(super) fn position_at(&self, sequence: u64) -> Option<Position> {
        Some(self.shared.state.lock().at(sequence)?.position)
    }

    pub(super) fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let (bytes, max) = (cost(&append.message), self.shared.limits.bytes);
        if bytes > max {
            return Err(AppendError::TooLarge { bytes, max });
        }
        let mut state = self.shared.state.lock();
        let key = append
            .idempotency_key
            .map(|key| digest(append.message.feed.as_str(), &key));
        if let Some(sequence) = key.and_then(|key| state.keys.get(&key)) {
            return Ok(Appended {
                sequence,
                repeated: true,
            });
        }
        let sequence = state.last.sequence() + 1;
        // Rising even where the clock stands still, so that no two logs agree by accident.
        let time = Timestamp::now().nanos().max(state.last_time + 1);
        let event = Event {
            position: Position::new(sequence, Timestamp::from_nanos(time)),
            time: Timestamp::from_nanos(time),
            message: append.message,
        };
        state.push(event, &self.shared.limits);
        if let Some(key) = key {
            state.keys.insert(key, sequence, Duration::ZERO);
        }
        self.shared.last.send_replace(sequence);
        Ok(Appended {
            sequence,
            repeated: false,
        })
    }

    pub(super) fn follow(&self, after: u64) -> Follow {
        Follow {
            log: self.clone(),
            last: self.shared.last.subscribe(),
            after,
            began: false,
        }
    }

    pub(super) fn read(&self, range: Range, select: &Select, limit: Limit) -> Batch {
        let state = self.shared.state.lock();
        let first = state.first();
        let mut batch = Batch {
            events: Vec::new(),
            through: range.through,
            first,
            created: self.shared.created,
        };
        let mut bytes = 0;
        let start = (range.after + 1).max(first);
        let mut last = range.through.min(state.last.sequence());
        if last >= start.saturating_add(READ_SCAN) {
            last = start + READ_SCAN - 1;
            batch.through = last;
        }
        for sequence in start..=last {
            let Some(event) = state.at(sequence) else {
                break;
            };
            if matches!(select, Select::Feed(feed) if *feed != event.message.feed) {
                continue;
            }
            bytes += event.message.heap_bytes();
            batch.events.push(event.clone());
            if batch.events.len() >= limit.events || bytes >= limit.bytes {
                batch.through = sequence;
                break;
            }
        }
        batch
    }
}

/// For tests of what a log may come back as.
#[cfg(test)]
impl MemoryLog {
    /// An empty log whose first event is to stand at a sequence.
    pub(crate) fn beginning_at(first: u64, limits: MemoryLimits) -> Self {
        let created = Timestamp::now().nanos();
        let mut state = State::new(created, &limits);
        state.last = Position::before(first);
        Self::with(created, limits, state)
    }

    /// A copy that ends with `last`, and has lost what stood before `first`.
    pub(crate) fn part(&self, first: u64, last: u64) -> Self {
        let limits = self.shared.limits;
        let known = self.shared.state.lock();
        // What comes next has another time than what came next here.
        let mut state = State::new(known.last_time, &limits);
        state.last = match last == known.last.sequence() {
            true => known.last,
            false => known
                .at(last)
                .map_or(Position::before(last + 1), |event| event.position),
        };
        let kept = |event: &&Arc<Event>| (first..=last).contains(&event.position.sequence());
        state.events = known.events.iter().filter(kept).cloned().collect();
        state.bytes = state.events.iter().map(|event| cost(&event.message)).sum();
        Self::with(self.shared.created, limits, state)
    }
}

impl State {
    fn new(last_time: u64, limits: &MemoryLimits) -> Self {
        Self {
            events: VecDeque::new(),
            last: Position::START,
            last_time,
            bytes: 0,
            keys: Keys::new(limits.keys, Counter::default()),
        }
    }

    fn first(&self) -> u64 {
        self.last.sequence() + 1 - self.events.len() as u64
    }

    fn at(&self, sequence: u64) -> Option<&Arc<Event>> {
        let index = sequence.checked_sub(self.first())?;
        self.events.get(usize::try_from(index).ok()?)
    }

    fn push(&mut self, event: Event, limits: &MemoryLimits) {
        self.last = event.position;
        self.last_time = event.time.nanos();
        self.bytes += cost(&event.message);
        self.events.push_back(Arc::new(event));
        while self.bytes > limits.bytes || self.events.len() > limits.events {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= cost(&oldest.message);
        }
    }
}

/// A follower of a [`MemoryLog`].
#[derive(Debug)]
pub struct Follow {
    log: MemoryLog,
    last: watch::Receiver<u64>,
    after: u64,
    began: bool,
}

impl Follow {
    pub(super) async fn next(&mut self) -> Followed {
        if std::mem::replace(&mut self.began, true) {
            let after = self.after;
            // The sender lives in `self.log`, so it can't be gone.
            let _ = self.last.wait_for(|&last| last > after).await;
        }
        let state = self.log.shared.state.lock();
        let lost_before = (state.first() > self.after + 1).then_some(state.first());
        let start = state.first().max(self.after + 1);
        let skip = usize::try_from(start - state.first()).unwrap_or(usize::MAX);
        let events: Vec<_> = state
            .events
            .iter()
            .skip(skip)
            .take(FOLLOW_BATCH)
            .cloned()
            .collect();
        self.after = events
            .last()
            .map_or(start - 1, |event| event.position.sequence());
        Followed {
            lost_before,
            events,
            pending: state.last.sequence() - self.after,
        }
    }
}

/// What a message takes of the log's bound, in bytes.
fn cost(message: &Message) -> usize {
    EVENT_OVERHEAD + message.heap_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_of_a_rare_feed_passes_over_the_others_in_steps() {
        let log = MemoryLog::new(MemoryLimits {
            bytes: 1 << 30,
            events: usize::MAX,
            keys: 1,
        });
        let last = 2 * READ_SCAN + 1;
        for sequence in 1..=last {
            let feed = if sequence == last { "rare" } else { "common" };
            let append = Append {
                message: Message::new(feed.parse().unwrap(), "1"),
                idempotency_key: None,
            };
            log.append(append).unwrap();
        }
        let select = Select::Feed("rare".parse().unwrap());
        let limit = Limit {
            events: 10,
            bytes: 1000,
        };
        let mut range = Range {
            after: 0,
            through: last,
        };
        let mut reads = Vec::new();
        while range.after < last {
            let batch = log.read(range, &select, limit);
            reads.push((batch.through, batch.events.len()));
            range.after = batch.through;
        }
        assert_eq!(reads, [(READ_SCAN, 0), (2 * READ_SCAN, 0), (last, 1)]);
    }
}
