//! The store through everything that a disk may do: opened anew where it has failed, passed over where it is damaged.

use super::place::Place;
use super::store::{State, Store};
use super::trouble::{Kind, Trouble};
use super::{DiskCounters, DiskLimits};
use crate::log::{AppendError, Batch, Limit, Range, Select};
use parking_lot::{Mutex, RwLock};
use std::fs::File;
use std::sync::Arc;
use tokio::sync::watch;

/// See there.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) place: Place,
    pub(super) limits: DiskLimits,
    /// `None` while it can't be opened.
    pub(super) store: RwLock<Option<Store>>,
    /// As the last transaction left it.
    pub(super) state: Mutex<State>,
    /// The last sequence, for followers to wait on.
    pub(super) last: watch::Sender<u64>,
    /// Why nothing can be appended now.
    pub(super) trouble: watch::Sender<Option<Trouble>>,
    /// What was found to be damaged, ever since the start.
    pub(super) damage: Mutex<Option<String>>,
    /// Why the last read failed, if it did.
    pub(super) unread: Mutex<Option<String>>,
    pub(super) counters: Arc<DiskCounters>,
    /// Held on the folder, so that nobody else uses it, whatever becomes of the file.
    pub(super) _lock: Option<File>,
}

impl Shared {
    pub(super) fn state(&self) -> State {
        *self.state.lock()
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble.borrow().clone()
    }

    pub(super) fn is_open(&self) -> bool {
        self.store.read().is_some()
    }

    pub(super) async fn read(
        self: &Arc<Self>,
        range: Range,
        select: Select,
        limit: Limit,
    ) -> Result<Batch, Trouble> {
        let read = move |store: &Store| store.read(range, &select, limit);
        let read = self.with_store(read).await;
        self.note_read(read.as_ref().err());
        let (batch, damaged) = read?;
        if let Some(sequence) = damaged {
            self.found_damage(sequence);
        }
        Ok(batch)
    }

    /// What can be said of a range at whose first place nothing can be read: where it can be read again, looked for
    /// in ever longer steps.
    pub(super) async fn after_damage(self: &Arc<Self>, range: Range) -> Result<Batch, Trouble> {
        self.found_damage(range.after + 1);
        let mut step = 1;
        let next = loop {
            let next = range.after.saturating_add(1 + step);
            let find = move |store: &Store| store.position_at(next);
            if next > range.through {
                break range.through.saturating_add(1);
            }
            match self.with_store(find).await {
                Ok(Some(_)) => break next,
                Err(trouble) if trouble.kind != Kind::Damage => return Err(trouble),
                Ok(None) | Err(_) => step *= 2,
            }
        };
        Ok(Batch {
            events: Vec::new(),
            through: next - 1,
            first: next,
            created: self.state().created,
        })
    }

    /// Does something with the store, on a thread that may wait for the disk.
    pub(super) async fn with_store<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Store) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let shared = self.clone();
        let done = tokio::task::spawn_blocking(move || match &*shared.store.read() {
            Some(store) => work(store),
            None => Err(shared
                .trouble()
                .unwrap_or_else(|| Trouble::new("it is closed"))),
        });
        match done.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(Trouble::panic()),
            Err(_) => Err(Trouble::new("the program ends")),
        }
    }

    /// A transaction has left the log like this.
    pub(super) fn reached(&self, state: State) {
        *self.state.lock() = state;
        self.last.send_if_modified(|last| {
            let moved = *last != state.last;
            *last = state.last;
            moved
        });
    }

    /// A transaction has failed: nothing is appended until the disk works again.
    pub(super) async fn fail(self: &Arc<Self>, trouble: Trouble) {
        self.counters.failures.inc();
        tracing::error!(reason = %trouble.reason, "nothing can be stored");
        self.trouble.send_replace(Some(trouble));
        self.reopen().await;
    }

    /// Tries whether the disk works again.
    pub(super) async fn mend(self: &Arc<Self>) {
        match self.with_store(Store::probe).await {
            Ok(()) => {
                self.trouble.send_replace(None);
                tracing::info!("the disk works again: events are stored");
            }
            Err(trouble) => {
                self.trouble.send_replace(Some(trouble));
                self.reopen().await;
            }
        }
    }

    /// Opens the file anew, as the store does nothing more once it has failed.
    async fn reopen(self: &Arc<Self>) {
        let shared = self.clone();
        let reopened = tokio::task::spawn_blocking(move || {
            let mut place = shared.store.write();
            drop(place.take());
            let (file, cache) = (&shared.place, shared.limits.cache_bytes);
            let store = Store::open(file, cache, false)
                .or_else(|why| Store::open_untouched(file, cache, why))?;
            let (state, known) = (store.state()?, shared.state());
            if state.created != known.created || state.last < known.last {
                return Err(Trouble::new(
                    "another log, or an older copy, stands in the place of its own: to use that one, start anew",
                ));
            }
            *place = Some(store);
            Ok(state)
        });
        match reopened.await {
            Ok(Ok(state)) => self.reached(state),
            Ok(Err(trouble)) => {
                tracing::error!(reason = %trouble.reason, "the log on disk can't be opened");
            }
            Err(error) => tracing::error!(%error, "the log on disk can't be opened"),
        }
    }

    /// What became of an append whose transaction has failed.
    pub(super) fn outcome(&self, sequence: u64, trouble: &Trouble) -> AppendError {
        let is_known = self.is_open() && self.state().last < sequence;
        match is_known || trouble.kind == Kind::Untouched {
            true => trouble.not_stored(),
            false => AppendError::Unknown(trouble.reason.clone()),
        }
    }

    /// Keeps why reading fails, as long as it does; what is damaged is told elsewhere.
    fn note_read(&self, failed: Option<&Trouble>) {
        let failed = failed.filter(|trouble| trouble.kind != Kind::Damage);
        let mut unread = self.unread.lock();
        match failed {
            Some(Trouble { reason, .. }) => {
                self.counters.failures.inc();
                if unread.is_none() {
                    tracing::error!(%reason, "the log on disk can't be read: readers behind the window wait");
                }
                *unread = Some(reason.clone());
            }
            None if unread.take().is_some() => tracing::info!("the log on disk can be read again"),
            None => {}
        }
    }

    fn found_damage(&self, sequence: u64) {
        self.counters.damaged.inc();
        let what =
            format!("the log on disk is damaged at sequence {sequence}: events are lost there");
        tracing::error!("{what}");
        self.damage.lock().get_or_insert(what);
    }
}
