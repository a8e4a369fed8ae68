//! The hub: follows the log, keeps its newest part in memory, and serves readers.
//!
//! One `Follower` task moves the *head*. A [`Reader`] is a set of patterns and a position; it takes its
//! next events from the window, or from the log where the window no longer reaches back (in segments that
//! are shared by all who wait for them), until it has caught up. From then on it is live: its group's bell
//! rings when something for it has come. The hub knows nothing of HTTP or NATS.

mod bell;
mod cold;
mod end;
mod entry;
mod feeds;
mod follower;
mod groups;
mod join;
#[cfg(test)]
mod model;
mod overview;
mod reader;
mod shard;
mod signal;
mod status;
mod term;
#[cfg(test)]
mod testing;
mod trie;
mod wildcards;
mod window;

pub use end::End;
pub use entry::Entry;
pub use join::{Joined, NO_ID, Refusal, Start};
pub use reader::Reader;
pub(crate) use shard::forget_unsent;
pub use shard::{Handed, ShardStats, Shards, Slow};
pub use signal::{Events, Notices, Piece, Signal, Told, heartbeat};
pub use status::Status;
pub use term::{Due, Term};
pub use window::{Newest, Reach, WindowLimits};

use crate::config::StreamSettings;
use crate::event::{Patterns, Position};
use crate::log::{Log, LogError};
use crate::metrics::HubCounters;
use cold::Cold;
use entry::Gauge;
use follower::Follower;
use parking_lot::{Mutex, RwLock};
use status::Session;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use window::Window;

/// The bounds of a hub.
#[derive(Clone, Copy, Debug)]
pub struct HubLimits {
    /// Of the window.
    pub window: WindowLimits,
    /// Bytes of what was read of the log for readers behind the window, kept for others.
    pub cold_bytes: u64,
    /// Readers at once.
    pub readers: usize,
}

/// A handle on the hub; cloning it gives another one.
#[derive(Clone, Debug)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    log: Log,
    limits: HubLimits,
    window: RwLock<Window>,
    window_gauge: Arc<Gauge>,
    cold: Arc<Cold>,
    status: watch::Sender<Status>,
    /// The stretch of following that goes on now.
    session: watch::Sender<Option<Session>>,
    /// The head's sequence, for those who wait for one.
    head: watch::Sender<u64>,
    progress: Mutex<Progress>,
    readers: AtomicUsize,
    /// Told when the last reader has left.
    vacated: Notify,
    counters: HubCounters,
}

/// What stands at a sequence of the log.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) position: Position,
    /// The event, where the window holds it.
    pub(crate) entry: Option<Arc<Entry>>,
}

/// How the follower gets on.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// When it last heard of the log, or lost it.
    at: Instant,
    /// How many events the log held then after the last one followed.
    pending: u64,
}

/// How full a hub is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Events in the window.
    pub events: usize,
    /// How many there may be.
    pub max_events: usize,
    /// Bytes in the window.
    pub bytes: u64,
    /// How many there may be.
    pub max_bytes: u64,
    /// Bytes of what was read from the log for readers behind the window.
    pub cold_bytes: u64,
    /// How many of them are kept for others.
    pub max_cold_bytes: u64,
    /// Feeds known.
    pub feeds: usize,
    /// Different sets of patterns that are read.
    pub groups: usize,
    /// Bytes of these patterns, and of what finds them, about.
    pub pattern_bytes: usize,
    /// Readers.
    pub readers: usize,
    /// How many there may be.
    pub max_readers: usize,
    /// The last position followed.
    pub head: Position,
    /// The position before the window's first event.
    pub floor: Position,
    /// How many events the log is known to hold after the last one followed.
    pub pending: u64,
    /// For how long the log has not been followed though it holds more, or could not be followed.
    pub behind: Duration,
}

impl Hub {
    /// A hub on `log`; it stands still until [`follow`](Self::follow) runs.
    pub fn new(log: Log, limits: HubLimits, counters: HubCounters) -> Self {
        let session = watch::Sender::new(None);
        let starting = Status::Starting {
            reason: "the log has not been reached yet".to_owned(),
        };
        let window = Window::new(limits.window);
        let shared = Shared {
            window_gauge: window.gauge().clone(),
            window: RwLock::new(window),
            cold: Arc::new(Cold::new(
                log.clone(),
                session.subscribe(),
                limits.cold_bytes,
                counters.cold_reads.clone(),
            )),
            log,
            limits,
            status: watch::Sender::new(starting),
            session,
            head: watch::Sender::new(0),
            progress: Mutex::new(Progress {
                at: Instant::now(),
                pending: 0,
            }),
            readers: AtomicUsize::new(0),
            vacated: Notify::new(),
            counters,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Follows the log until it is dropped. To be run once.
    pub async fn follow(self) -> Infallible {
        Follower::new(self.shared).run().await
    }

    /// Adds a reader.
    pub async fn join(&self, patterns: Patterns, start: Start) -> Result<Joined, Refusal> {
        self.shared.join(patterns, start).await
    }

    /// Starts `count` threads that serve sockets. Needs a tokio runtime.
    pub fn shards(&self, count: usize, settings: StreamSettings) -> io::Result<Shards> {
        Shards::start(&self.shared, count, settings)
    }

    /// The log that it follows.
    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    /// How the hub stands to its log, and every change of that.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// The position of a sequence that the log has given out, once this replica has followed it; where that
    /// takes longer than `patience`, by the log's own word.
    pub async fn position_of(
        &self,
        sequence: u64,
        patience: Duration,
    ) -> Result<Option<Position>, LogError> {
        let found = self.found_at(sequence, patience).await?;
        Ok(found.map(|found| found.position))
    }

    /// The same, with the event where the window holds it.
    pub(crate) async fn found_at(
        &self,
        sequence: u64,
        patience: Duration,
    ) -> Result<Option<Found>, LogError> {
        let followed = self.shared.followed(sequence);
        if tokio::time::timeout(patience, followed).await.is_ok() {
            let window = self.shared.window.read();
            let reaches_back = window.floor().sequence() < sequence;
            let reaches_up = sequence <= window.head().sequence();
            if reaches_back && reaches_up {
                return Ok(window.entry(sequence).cloned().map(|entry| Found {
                    position: entry.position(),
                    entry: Some(entry),
                }));
            }
        }
        let position = self.shared.log.position_at(sequence).await?;
        Ok(position.map(|position| Found {
            position,
            entry: self.shared.window.read().entry(sequence).cloned(),
        }))
    }

    /// The last sequence that was followed.
    pub fn head(&self) -> u64 {
        *self.shared.head.borrow()
    }

    /// Waits until there is no reader.
    pub async fn vacant(&self) {
        loop {
            let vacated = self.shared.vacated.notified(); // before the look, so that nothing falls in between
            if self.shared.readers.load(Relaxed) == 0 {
                return;
            }
            vacated.await;
        }
    }

    /// How full it is.
    pub fn usage(&self) -> Usage {
        let limits = &self.shared.limits;
        let (pending, behind) = self.shared.lag();
        let window = self.shared.window.read();
        Usage {
            events: window.len(),
            max_events: limits.window.events,
            bytes: self.shared.window_gauge.get(),
            max_bytes: limits.window.bytes,
            cold_bytes: self.shared.cold.bytes(),
            max_cold_bytes: limits.cold_bytes,
            feeds: window.feeds(),
            groups: window.groups(),
            pattern_bytes: window.pattern_bytes(),
            readers: self.shared.readers.load(Relaxed),
            max_readers: limits.readers,
            head: window.head(),
            floor: window.floor(),
            pending,
            behind,
        }
    }
}

impl Shared {
    /// How many events are known to come still, and for how long none has though there are, or it is not known.
    fn lag(&self) -> (u64, Duration) {
        let Progress { at, pending } = *self.progress.lock();
        let is_behind = pending > 0 || self.session.borrow().is_none();
        let behind = if is_behind {
            at.elapsed()
        } else {
            Duration::ZERO
        };
        (pending, behind)
    }

    /// Waits until the head has reached a sequence.
    async fn followed(&self, sequence: u64) {
        // The sender lives in `self`, so it can't be gone.
        let _ = self
            .head
            .subscribe()
            .wait_for(|&head| head >= sequence)
            .await;
    }

    /// Lets go of the oldest where what was encoded takes more than there is for it. To be called after
    /// encoding, with no lock held.
    fn make_room(&self) {
        if self.window_gauge.is_over() {
            self.window.write().evict();
        }
        self.cold.make_room();
    }

    /// Counts gaps and resets that were told.
    fn count(&self, notices: Notices) {
        let Notices { gaps, resets } = notices;
        if gaps > 0 {
            self.counters.gaps.inc_by(gaps);
        }
        if resets > 0 {
            self.counters.resets_told.inc_by(resets);
        }
    }
}

/// One of the places for readers, given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<Shared>);

impl Place {
    fn take(hub: &Arc<Shared>) -> Result<Self, Refusal> {
        let max = hub.limits.readers;
        let place = Self(hub.clone());
        match hub.readers.fetch_add(1, Relaxed) >= max {
            true => {
                hub.counters.refused.inc();
                Err(Refusal::Overload { max }) // `place` is given back
            }
            false => Ok(place),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.readers.fetch_sub(1, Relaxed) == 1 {
            self.0.vacated.notify_waiters();
        }
    }
}

/// A time spread by ±50 %, so that many who wait do not come back as one.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.5 + fastrand::f64())
}
