//! The one task that writes: it takes all that waits, stores it in one transaction, and answers then.

use super::record;
use super::shared::Shared;
use super::store::{Addition, Retention, State, Store, StoredKey};
use super::trouble::Trouble;
use crate::event::Timestamp;
use crate::log::keys::{DUPLICATE_WINDOW, Keys, digest};
use crate::log::{Append, AppendError, Appended};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How many appends one transaction holds at most, and how many bytes unless one alone has more.
const MOST_APPENDS: usize = 1024;
const MOST_BYTES: usize = 16 << 20;
/// How often the log is looked at for what is too old, and a failed disk for whether it works again.
const LOOK: Duration = Duration::from_secs(1);

/// An append, and where its answer goes.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) append: Append,
    pub(super) answer: oneshot::Sender<Result<Appended, AppendError>>,
}

type Answer = (oneshot::Sender<Result<Appended, AppendError>>, Appended);

/// See the module.
pub(super) struct Writer {
    shared: Arc<Shared>,
    orders: mpsc::Receiver<Order>,
    keys: Keys,
}

impl Writer {
    /// A writer that knows these keys, oldest first, each with its sequence.
    pub(super) fn new(
        shared: Arc<Shared>,
        orders: mpsc::Receiver<Order>,
        stored: Vec<(u64, StoredKey)>,
    ) -> Self {
        let mut keys = Keys::new(shared.limits.keys, shared.counters.keys_forgotten.clone());
        let now = Timestamp::now().nanos();
        for (sequence, key) in stored {
            let age = Duration::from_nanos(now.saturating_sub(key.time));
            keys.insert(key.digest, sequence, age);
        }
        Self {
            shared,
            orders,
            keys,
        }
    }

    /// Writes until nobody is left who could append.
    pub(super) async fn run(mut self) {
        let mut waiting = Vec::new();
        let mut look = Instant::now() + LOOK;
        while self.wait(&mut waiting, look).await {
            if Instant::now() >= look {
                let is_over = self.look().await;
                look = Instant::now() + if is_over { Duration::ZERO } else { LOOK };
            }
            while !waiting.is_empty() {
                self.store(take_batch(&mut waiting)).await;
            }
        }
    }

    /// Waits for appends, until it is time to look; `false` if there can be no more.
    async fn wait(&mut self, waiting: &mut Vec<Order>, look: Instant) -> bool {
        tokio::select! {
            count = self.orders.recv_many(waiting, MOST_APPENDS) => count > 0,
            () = tokio::time::sleep_until(look) => true,
        }
    }

    /// Lets go of some of what is too old, and tries again what has failed; returns whether there is more to let go of.
    async fn look(&mut self) -> bool {
        if self.shared.trouble().is_some() {
            self.shared.mend().await;
            self.forget_what_is_not_there();
        }
        let retention = self.retention();
        let is_over = move |store: &Store| store.is_over(&retention);
        let Ok(true) = self.shared.with_store(is_over).await else {
            return false;
        };
        let addition = Addition {
            keys_from: self.keys_from(),
            ..Addition::default()
        };
        match self.commit(addition).await {
            Ok(()) => true,
            Err(trouble) => {
                self.shared.fail(trouble).await;
                false
            }
        }
    }

    /// Stores what is new of a batch, and answers all of it.
    async fn store(&mut self, batch: Vec<Order>) {
        if let Some(trouble) = self.shared.trouble() {
            return self.refuse(batch, &trouble);
        }
        let before = self.shared.state().last;
        let (addition, answers) = self.assign(batch);
        let stored = match addition.records.is_empty() {
            true => Ok(()), // what was there already is on disk
            false => self.commit(addition).await,
        };
        if let Err(trouble) = &stored {
            self.shared.fail(trouble.clone()).await;
            self.forget_what_is_not_there();
        }
        for (answer, appended) in answers {
            let outcome = match &stored {
                Err(trouble) if appended.sequence > before => {
                    Err(self.shared.outcome(appended.sequence, trouble))
                }
                _ => Ok(appended),
            };
            // Whoever asked may be gone.
            let _ = answer.send(outcome);
        }
    }

    /// Answers what is known already, and refuses the rest.
    fn refuse(&mut self, batch: Vec<Order>, trouble: &Trouble) {
        let last = self.shared.state().last;
        for Order { append, answer } in batch {
            let feed = append.message.feed;
            let key = append
                .idempotency_key
                .map(|key| digest(feed.as_str(), &key));
            let known = key.and_then(|key| self.keys.get(&key));
            // What was under way when the disk failed may be there or not.
            let known = known.filter(|&sequence| sequence <= last);
            let outcome = known.map(|sequence| appended(sequence, true));
            // Whoever asked may be gone.
            let _ = answer.send(outcome.ok_or_else(|| trouble.not_stored()));
        }
    }

    /// A transaction that failed may have been stored nevertheless: the store itself knows, once it is open.
    fn forget_what_is_not_there(&mut self) {
        if self.shared.is_open() {
            self.keys.forget_from(self.shared.state().last + 1);
        }
    }

    /// Gives each new event its place, and each repeated one that of the first.
    fn assign(&mut self, batch: Vec<Order>) -> (Addition, Vec<Answer>) {
        let State {
            last: mut sequence,
            last_time: mut time,
            ..
        } = self.shared.state();
        let mut addition = Addition::default();
        let mut answers = Vec::with_capacity(batch.len());
        for Order { append, answer } in batch {
            let message = append.message;
            let key = append
                .idempotency_key
                .map(|key| digest(message.feed.as_str(), &key));
            if let Some(first) = key.and_then(|key| self.keys.get(&key)) {
                answers.push((answer, appended(first, true)));
                continue;
            }
            sequence += 1;
            // Rising even where the clock stands still or goes back, so that no two logs agree by accident.
            time = Timestamp::now().nanos().max(time + 1);
            let record = record::encode(sequence, Timestamp::from_nanos(time), &message);
            addition.records.push(record);
            if let Some(digest) = key {
                self.keys.insert(digest, sequence, Duration::ZERO);
                addition.keys.push((sequence, StoredKey { digest, time }));
            }
            answers.push((answer, appended(sequence, false)));
        }
        addition.last_time = time;
        addition.keys_from = self.keys_from();
        (addition, answers)
    }

    async fn commit(&self, addition: Addition) -> Result<(), Trouble> {
        let retention = self.retention();
        let commit = move |store: &Store| store.commit(&addition, &retention);
        let state = self.shared.with_store(commit).await?;
        self.shared.counters.commits.inc();
        self.shared.reached(state);
        Ok(())
    }

    fn retention(&self) -> Retention {
        let limits = &self.shared.limits;
        let age = limits.age.map_or(u128::MAX, |age| age.as_nanos());
        let age = u64::try_from(age).unwrap_or(u64::MAX);
        Retention {
            before: Timestamp::now().nanos().saturating_sub(age),
            bytes: limits.bytes,
            events: limits.events,
        }
    }

    fn keys_from(&self) -> u64 {
        self.keys.oldest().unwrap_or(u64::MAX)
    }
}

fn appended(sequence: u64, repeated: bool) -> Appended {
    Appended { sequence, repeated }
}

/// The first of those that wait, as many as one transaction is to hold.
fn take_batch(waiting: &mut Vec<Order>) -> Vec<Order> {
    let mut bytes = 0;
    let fits = |order: &&Order| {
        let before = bytes;
        bytes += order.append.message.heap_bytes();
        before == 0 || bytes <= MOST_BYTES
    };
    let count = waiting.iter().take_while(fits).count();
    waiting.drain(..count).collect()
}

/// Since when keys are of use, in nanoseconds since the Unix epoch.
pub(super) fn keys_since() -> u64 {
    let window = u64::try_from(DUPLICATE_WINDOW.as_nanos()).unwrap_or(u64::MAX);
    Timestamp::now().nanos().saturating_sub(window)
}
