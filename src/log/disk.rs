//! The log on disk: in a folder of this process alone, and as durable as its disk.
//!
//! Everything is in one file of [redb](https://docs.rs/redb): the events by their sequence, the idempotency keys
//! of the last two minutes, and how far the log reaches. One task, the `Writer`, appends. It takes all that waits,
//! stores it in one transaction, and answers when that is on disk, so that many publishers share one `fsync`.
//! Readers have snapshots, and wait for nobody.
//!
//! Why redb, and not fjall, the other well-kept store: it opens at once after `kill -9` whatever its size, gives room
//! back as the oldest events go, and never cuts off the end of a log for a damaged byte before it. fjall appends
//! faster, and both are far beyond what publishers over HTTP bring.
//!
//! A disk that fails, or is full, fails appends and nothing else: the file is opened anew, if need be for reading
//! alone, and tried again every second. What is stored bears checksums: where it is damaged, its readers are
//! told of a gap.

mod place;
mod record;
mod scan;
mod shared;
mod store;
mod trouble;
mod writer;

#[cfg(test)]
mod tests;

use super::{
    Append, AppendError, Appended, Batch, Bounds, Followed, Held, Limit, LogError, Range, Select,
};
use crate::event::{Position, Timestamp};
use parking_lot::{Mutex, RwLock};
use place::Place;
use prometheus_client::metrics::counter::Counter;
use shared::Shared;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::{State, Store};
use tokio::sync::{mpsc, oneshot, watch};
use trouble::{Kind, Trouble};
use writer::{Order, Writer};

/// Appends that wait for the writer. The bound in practice is that of publishes under way: those beyond wait for their turn,
/// and may then go before one another.
const WAITING: usize = 1 << 16;
/// What one step of a follower brings at most.
const FOLLOW: Limit = Limit {
    events: 1024,
    bytes: 4 << 20,
};

/// How much a log on disk holds; beyond that the oldest events go.
#[derive(Clone, Copy, Debug)]
pub struct DiskLimits {
    /// How old an event gets; `None` is for ever.
    pub age: Option<Duration>,
    /// Bytes in all, as stored.
    pub bytes: u64,
    /// Events in all.
    pub events: u64,
    /// Idempotency keys remembered at once; beyond that the oldest are forgotten before their time.
    pub keys: usize,
    /// Bytes of the file that are kept in memory.
    pub cache_bytes: usize,
}

/// Why a folder can't be used for a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("can't keep the log in {folder} (--data): {reason}", folder = folder.display())]
pub struct DiskError {
    /// The folder.
    pub folder: PathBuf,
    /// Why, and what would be right.
    pub reason: String,
}

/// What a log on disk has met.
#[derive(Debug, Default)]
pub struct DiskCounters {
    /// Transactions that added events or dropped them, each with one wait for the disk.
    pub commits: Counter,
    /// Transactions and reads that failed.
    pub failures: Counter,
    /// Reads that met damaged events.
    pub damaged: Counter,
    /// Idempotency keys that were forgotten before their time.
    pub(super) keys_forgotten: Counter,
}

/// A log in a folder. Cloning it gives another handle on the same log.
#[derive(Clone, Debug)]
pub struct DiskLog {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
}

impl DiskLog {
    /// Opens the log in a folder, or begins one there. Needs a tokio runtime.
    pub fn open(folder: PathBuf, limits: DiskLimits) -> Result<Self, DiskError> {
        let place = Place::Folder(folder.clone());
        locked(&folder)
            .and_then(|lock| Self::at(place, limits, Some(lock)))
            .map_err(|Trouble { reason, .. }| DiskError { folder, reason })
    }

    fn at(place: Place, limits: DiskLimits, lock: Option<File>) -> Result<Self, Trouble> {
        let opening = place.clone();
        // In a thread of its own, as it may panic over a file that is none of its own.
        let opened = std::thread::spawn(move || {
            let store = Store::open(&opening, limits.cache_bytes, true)?;
            let (state, keys) = (store.state()?, store.keys(writer::keys_since())?);
            Ok((store, state, keys))
        });
        let opened = opened.join().unwrap_or_else(|_| Err(Trouble::panic()));
        let (store, state, keys) = opened?;
        let shared = Arc::new(Shared {
            place,
            limits,
            store: RwLock::new(Some(store)),
            state: Mutex::new(state),
            last: watch::Sender::new(state.last),
            trouble: watch::Sender::new(None),
            damage: Mutex::default(),
            counters: Arc::default(),
            unread: Mutex::default(),
            _lock: lock,
        });
        let (orders, received) = mpsc::channel(WAITING);
        tokio::spawn(Writer::new(shared.clone(), received, keys).run());
        Ok(Self { shared, orders })
    }

    pub(super) fn bounds(&self) -> Bounds {
        let state = self.shared.state();
        let events = state.last + 1 - state.first;
        Bounds {
            created: state.created,
            first: state.first,
            last: state.position(),
            event_bytes: state.bytes / events.max(1),
        }
    }

    pub(super) async fn position_at(&self, sequence: u64) -> Result<Option<Position>, LogError> {
        let state = self.shared.state();
        if sequence == state.last && state.first <= state.last {
            return Ok(Some(state.position()));
        }
        let find = move |store: &Store| store.position_at(sequence);
        Ok(self.shared.with_store(find).await?)
    }

    pub(super) async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let (answer, answered) = oneshot::channel();
        let gone = || "the log is being closed".to_owned();
        let sent = self.orders.send(Order { append, answer }).await;
        sent.map_err(|_| AppendError::NotStored(gone()))?;
        answered
            .await
            .unwrap_or_else(|_| Err(AppendError::Unknown(gone())))
    }

    pub(super) fn follow(&self, after: u64) -> Follow {
        Follow {
            log: self.clone(),
            last: self.shared.last.subscribe(),
            after,
            began: false,
        }
    }

    /// See [`Log::read`](super::Log::read). Where the store can't make sense of a part of its file, it reads up to there,
    /// or from the next place on that it can read.
    pub(super) async fn read(
        &self,
        range: Range,
        select: &Select,
        limit: Limit,
    ) -> Result<Batch, LogError> {
        let mut shorter = range;
        loop {
            let read = self.shared.read(shorter, select.clone(), limit).await;
            let events = shorter.through.saturating_sub(shorter.after);
            match read {
                Err(trouble) if trouble.kind == Kind::Damage && events > 1 => {
                    shorter.through = shorter.after + events / 2;
                }
                Err(trouble) if trouble.kind == Kind::Damage => {
                    return Ok(self.shared.after_damage(range).await?);
                }
                read => return Ok(read?),
            }
        }
    }

    /// Why nothing can be appended now, or what was found to be damaged.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.shared.trouble().map(|trouble| trouble.reason);
        trouble
            .or_else(|| self.shared.unread.lock().clone())
            .or_else(|| self.shared.damage.lock().clone())
    }

    /// What it has met.
    pub fn counters(&self) -> Arc<DiskCounters> {
        self.shared.counters.clone()
    }

    pub(super) fn held(&self) -> Held {
        let state = self.shared.state();
        Held {
            events: state.last + 1 - state.first,
            bytes: state.bytes,
            max_bytes: self.shared.limits.bytes,
            keys_forgotten: self.shared.counters.keys_forgotten.get(),
        }
    }
}

/// The folder, made where there is none, and kept from others as long as what is returned is open.
fn locked(folder: &Path) -> Result<File, Trouble> {
    std::fs::create_dir_all(folder)?;
    let lock = File::open(folder)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Trouble::new(
            "another process uses it; each needs a folder of its own",
        )),
        // Some file systems have no locks; the file is locked by itself too.
        Err(TryLockError::Error(_)) => Ok(lock),
    }
}

impl State {
    /// The last position.
    fn position(&self) -> Position {
        match self.last {
            0 => Position::START,
            last => Position::new(last, Timestamp::from_nanos(self.last_time)),
        }
    }
}

/// A follower of a [`DiskLog`].
#[derive(Debug)]
pub struct Follow {
    log: DiskLog,
    last: watch::Receiver<u64>,
    after: u64,
    began: bool,
}

impl Follow {
    pub(super) async fn next(&mut self) -> Result<Followed, LogError> {
        let after = self.after;
        if std::mem::replace(&mut self.began, true) {
            // The sender lives in `self.log`, so it can't be gone.
            let _ = self.last.wait_for(|&last| last > after).await;
        }
        let last = *self.last.borrow();
        let range = Range {
            after,
            through: last,
        };
        let batch = self.log.read(range, &Select::All, FOLLOW).await?;
        self.after = batch.through;
        Ok(Followed {
            lost_before: (batch.first > after + 1).then_some(batch.first),
            events: batch.events,
            pending: last.saturating_sub(self.after),
        })
    }
}
