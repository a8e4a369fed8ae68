//! What the window no longer holds, read from the log for those who wait for it.
//!
//! The log is read in *segments*, which all readers of the same stretch share: while they are being read,
//! and for as long as the memory set aside for them lasts.

use super::entry::{Entry, Gauge};
use super::status::Session;
use crate::event::{Feed, Position};
use crate::log::{Limit, Log, LogError, Range, Select};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use hashbrown::HashMap;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// Reads of the log at once.
const READS: usize = 8;
/// A segment's bounds, and where unfiltered ones begin: at multiples of this sequence.
const SEGMENT_EVENTS: u64 = 4096;
const SEGMENT_BYTES: usize = 1 << 20;
/// Segments that are kept: those of quiet feeds may hold next to nothing.
const KEPT_SEGMENTS: usize = 1024;

/// A stretch of the log: what it holds after `start`, up to and including `through`.
#[derive(Debug)]
pub(super) struct Segment {
    select: Select,
    start: u64,
    pub(super) through: u64,
    /// The first sequence that the log held when this was read.
    pub(super) first: u64,
    pub(super) entries: Vec<Arc<Entry>>,
}

/// A read under way, for all who wait for it.
type Reading = Shared<BoxFuture<'static, Result<Arc<Segment>, LogError>>>;

/// The part of the log behind the window.
#[derive(Debug)]
pub(super) struct Cold {
    log: Log,
    session: watch::Receiver<Option<Session>>,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
    gauge: Arc<Gauge>,
    reads: Counter,
}

#[derive(Debug, Default)]
struct State {
    session: Option<Session>,
    /// By what is read, and after which sequence.
    reading: HashMap<(Select, u64), Reading>,
    /// Least recently used first.
    kept: VecDeque<Arc<Segment>>,
}

impl Segment {
    fn covers(&self, select: &Select, after: u64) -> bool {
        self.start <= after && after < self.through && self.select == *select
    }
}

impl Cold {
    pub(super) fn new(
        log: Log,
        session: watch::Receiver<Option<Session>>,
        kept_bytes: u64,
        reads: Counter,
    ) -> Self {
        Self {
            log,
            session,
            permits: Arc::new(Semaphore::new(READS)),
            state: Mutex::default(),
            gauge: Arc::new(Gauge::new(kept_bytes)),
            reads,
        }
    }

    /// Bytes of the segments kept and in readers' hands.
    pub(super) fn bytes(&self) -> u64 {
        self.gauge.get()
    }

    /// Keeps less where what was encoded takes more than there is for it.
    pub(super) fn make_room(&self) {
        if self.gauge.is_over() {
            self.state.lock().make_room(&self.gauge);
        }
    }

    /// A segment that goes on after `after`, of everything or of one feed; nothing after `through` is wanted.
    ///
    /// Reads only what the follower has verified to be the log that it follows, and is cancel-safe: what
    /// was begun is finished for whoever asks next. A range that was wanted of another `generation` of the log
    /// may go beyond the end of this one, and is not read.
    pub(super) async fn read(
        self: &Arc<Self>,
        range: Range,
        feed: Option<&Feed>,
        generation: u64,
    ) -> Result<Arc<Segment>, LogError> {
        let select = feed.map_or(Select::All, |feed| Select::Feed(feed.clone()));
        let shared = self.segment(&select, range, generation, true).await?;
        match shared.covers(&select, range.after) {
            true => Ok(shared),
            // It was cut short by its size before it came to what is wanted here.
            false => self.segment(&select, range, generation, false).await,
        }
    }

    async fn segment(
        self: &Arc<Self>,
        select: &Select,
        range: Range,
        generation: u64,
        aligned: bool,
    ) -> Result<Arc<Segment>, LogError> {
        let reading = {
            let Some(session) = *self.session.borrow() else {
                return Err(LogError::Unavailable("the log can't be reached".to_owned()));
            };
            if session.generation != generation {
                return Err(LogError::Unavailable("the log has changed".to_owned()));
            }
            let mut state = self.state.lock();
            state.turn_to(session);
            if let Some(segment) = state.kept(select, range.after) {
                return Ok(segment);
            }
            let range = if aligned { align(select, range) } else { range };
            match state.reading.get(&(select.clone(), range.after)) {
                Some(reading) => reading.clone(),
                None => self.begin(&mut state, session, select.clone(), range),
            }
        };
        reading.await
    }

    fn begin(
        self: &Arc<Self>,
        state: &mut State,
        session: Session,
        select: Select,
        range: Range,
    ) -> Reading {
        let cold = self.clone();
        let wanted = select.clone();
        let read = async move {
            let segment = cold.fetch(session, &wanted, range).await?;
            let mut state = cold.state.lock();
            if state.session == Some(session) {
                state.keep(segment.clone(), &cold.gauge);
            }
            Ok(segment)
        };
        self.share(state, (select, range.after), read)
    }

    /// Has a task read for all who wait, until it ends, in whatever way.
    fn share(
        self: &Arc<Self>,
        state: &mut State,
        key: (Select, u64),
        read: impl Future<Output = Result<Arc<Segment>, LogError>> + Send + 'static,
    ) -> Reading {
        let (cold, known) = (self.clone(), key.clone());
        let task = tokio::spawn(async move {
            // Made here, and not outside: a task that never runs is dropped where `state` is locked.
            let _under_way = UnderWay { cold, key: known };
            read.await
        });
        let cut_off = |error| LogError::Unavailable(format!("the read was cut off: {error}"));
        let reading = task
            .map(move |joined| joined.unwrap_or_else(|error| Err(cut_off(error))))
            .boxed()
            .shared();
        state.reading.insert(key, reading.clone());
        reading
    }

    async fn fetch(
        &self,
        session: Session,
        select: &Select,
        range: Range,
    ) -> Result<Arc<Segment>, LogError> {
        let _permit = self.permits.acquire().await;
        let limit = Limit {
            events: usize::try_from(SEGMENT_EVENTS).unwrap_or(usize::MAX),
            bytes: SEGMENT_BYTES,
        };
        self.reads.inc();
        let batch = self.log.read(range, select, limit).await?;
        if *self.session.borrow() != Some(session) || batch.created != session.created {
            return Err(LogError::Unavailable(
                "the log may have changed while it was read".to_owned(),
            ));
        }
        let mut previous = Position::before(
            batch
                .events
                .first()
                .map_or(0, |event| event.position.sequence()),
        );
        let mut entries = Vec::with_capacity(batch.events.len());
        for event in batch.events {
            let position = event.position;
            entries.push(Arc::new(Entry::new(event, previous, None, &self.gauge)));
            previous = position;
        }
        Ok(Arc::new(Segment {
            select: select.clone(),
            start: range.after,
            through: batch.through,
            first: batch.first,
            entries,
        }))
    }
}

/// A read under way, which ends when this is dropped, be it by a panic.
struct UnderWay {
    cold: Arc<Cold>,
    key: (Select, u64),
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.cold.state.lock().reading.remove(&self.key);
    }
}

/// Unfiltered segments begin and end where others do, so that they can be shared.
fn align(select: &Select, range: Range) -> Range {
    if *select != Select::All {
        return range;
    }
    let after = range.after - range.after % SEGMENT_EVENTS;
    let through = range.through.min(after + SEGMENT_EVENTS);
    Range { after, through }
}

impl State {
    fn turn_to(&mut self, session: Session) {
        if self.session != Some(session) {
            *self = Self {
                session: Some(session),
                ..Self::default()
            };
        }
    }

    fn kept(&mut self, select: &Select, after: u64) -> Option<Arc<Segment>> {
        let at = self
            .kept
            .iter()
            .position(|segment| segment.covers(select, after))?;
        let segment = self.kept.remove(at)?;
        self.kept.push_back(segment.clone());
        Some(segment)
    }

    fn keep(&mut self, segment: Arc<Segment>, gauge: &Gauge) {
        self.kept.push_back(segment);
        self.make_room(gauge);
    }

    fn make_room(&mut self, gauge: &Gauge) {
        while (gauge.is_over() || self.kept.len() > KEPT_SEGMENTS)
            && let Some(oldest) = self.kept.pop_front()
        {
            drop(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Message;
    use crate::log::{Append, MemoryLimits, MemoryLog};
    use crate::wire::Form;
    use bytes::Bytes;

    /// The part of a log of one event behind a window.
    const KEPT: u64 = 32 << 20;

    async fn cold() -> Arc<Cold> {
        cold_of(1, "1".into()).await
    }

    /// The same, of so many events with these data.
    async fn cold_of(events: usize, data: Bytes) -> Arc<Cold> {
        let log = Log::Memory(MemoryLog::new(MemoryLimits {
            bytes: 16 << 20,
            events: 10,
            keys: 1,
        }));
        for _ in 0..events {
            let message = Message::new("a".parse().unwrap(), data.clone());
            let append = Append {
                message,
                idempotency_key: None,
            };
            log.append(append).await.unwrap();
        }
        let created = log.bounds().await.unwrap().created;
        let session = watch::Sender::new(Some(Session {
            number: 1,
            created,
            generation: 0,
        }));
        Arc::new(Cold::new(
            log,
            session.subscribe(),
            KEPT,
            Counter::default(),
        ))
    }

    #[tokio::test]
    async fn a_read_that_panics_fails_those_who_wait_and_is_begun_anew_by_the_next() {
        let cold = cold().await;
        let range = Range {
            after: 0,
            through: 1,
        };
        let torn = async { panic!("as a log might") };
        let session = *cold.session.borrow();
        let reading = {
            let mut state = cold.state.lock();
            state.turn_to(session.unwrap());
            cold.share(&mut state, (Select::All, 0), torn)
        };
        let waiting = cold.read(range, None, 0).await;
        assert!(waiting.is_err() && reading.await.is_err());
        let segment = cold.read(range, None, 0).await.unwrap();
        assert_eq!(segment.entries.len(), 1);
    }

    #[tokio::test]
    async fn what_is_kept_makes_room_for_what_is_encoded() {
        let through = 6;
        let cold = cold_of(6, vec![0; 1 << 20].into()).await;
        let mut segments = Vec::new();
        let mut after = 0;
        while after < through {
            let range = Range { after, through };
            segments.push(cold.read(range, None, 0).await.unwrap());
            after = segments.last().unwrap().through;
        }
        for entry in segments.iter().flat_map(|segment| &segment.entries) {
            entry.encoded(Form::SseEnvelope);
        }
        drop(segments);
        assert!(cold.bytes() > KEPT);
        cold.make_room();
        assert!(cold.bytes() <= KEPT);
        assert!(cold.bytes() > 0);
    }

    #[tokio::test]
    async fn segments_that_hold_nothing_are_not_kept_for_ever() {
        let cold = cold().await;
        let range = Range {
            after: 0,
            through: 1,
        };
        for number in 0..2 * KEPT_SEGMENTS {
            let feed = format!("quiet.{number}").parse().unwrap();
            let segment = cold.read(range, Some(&feed), 0).await.unwrap();
            assert!(segment.entries.is_empty());
        }
        let state = cold.state.lock();
        assert_eq!(state.kept.len(), KEPT_SEGMENTS);
        assert!(state.reading.is_empty());
    }
}
