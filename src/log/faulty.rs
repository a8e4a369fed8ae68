//! A log for tests, which can be made to fail, and to come back as another.
//!
//! It treats its users as JetStream does: what was opened is good until the connection is cut, while bounds and
//! positions are those of whatever is there now. No call is answered at once.

use super::{
    Append, AppendError, Appended, Batch, Bounds, Followed, Limit, LogError, MemoryLog, Range,
    Select, memory,
};
use crate::event::Position;
use fastrand::Rng;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::watch;

/// A log in memory behind a connection that can be cut. Cloning it gives another handle on the same.
#[derive(Clone, Debug)]
pub struct FaultyLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Rises with every cut.
    epoch: watch::Sender<u64>,
    /// The epoch in which it was last followed.
    followed: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    log: MemoryLog,
    away: bool,
    /// The epoch in which it was last opened.
    opened: u64,
    rng: Rng,
}

impl FaultyLog {
    /// It can be reached, until it is told otherwise; `rng` says how long each answer takes.
    pub(crate) fn new(log: MemoryLog, rng: Rng) -> Self {
        let state = State {
            log,
            away: false,
            opened: 0,
            rng,
        };
        let shared = Shared {
            state: Mutex::new(state),
            epoch: watch::Sender::new(1),
            followed: watch::Sender::new(0),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// From now on it can't be reached.
    pub(crate) fn go_away(&self) {
        self.shared.state.lock().away = true;
        self.cut();
    }

    /// From now on it can be reached.
    pub(crate) fn come_back(&self) {
        self.shared.state.lock().away = false;
    }

    /// From now on it is another, behind another connection.
    pub(crate) fn replace(&self, log: MemoryLog) {
        self.shared.state.lock().log = log;
        self.cut();
    }

    /// Ends whatever is under way.
    pub(crate) fn cut(&self) {
        self.shared.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// What is there now, whether it can be reached or not.
    pub(crate) fn inner(&self) -> MemoryLog {
        self.shared.state.lock().log.clone()
    }

    /// How far that reaches.
    pub(crate) fn reaches(&self) -> Bounds {
        self.inner().bounds()
    }

    pub(crate) fn is_away(&self) -> bool {
        self.shared.state.lock().away
    }

    /// Whether what is there now has been followed.
    pub(crate) fn is_followed(&self) -> bool {
        *self.shared.followed.borrow() == *self.shared.epoch.borrow()
    }

    /// Waits until what is there now is followed.
    pub(crate) async fn until_followed(&self) {
        let now = *self.shared.epoch.borrow();
        // The sender lives in `self`, so it can't be gone.
        let _ = self
            .shared
            .followed
            .subscribe()
            .wait_for(|&epoch| epoch == now)
            .await;
    }

    /// What is there, after a while.
    async fn reach(&self) -> Result<MemoryLog, LogError> {
        let turns = self.shared.state.lock().rng.u8(..4);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let state = self.shared.state.lock();
        match state.away {
            true => Err(LogError::Unavailable("it is away".to_owned())),
            false => Ok(state.log.clone()),
        }
    }

    /// The epoch, where what was opened is still there.
    fn opened(&self) -> Result<u64, LogError> {
        let (opened, now) = (self.shared.state.lock().opened, *self.shared.epoch.borrow());
        match opened == now {
            true => Ok(now),
            false => Err(cut()),
        }
    }

    pub(super) async fn open(&self) -> Result<Bounds, LogError> {
        self.reach().await?;
        let epoch = *self.shared.epoch.borrow();
        let bounds = self.bounds().await?;
        self.shared.state.lock().opened = epoch;
        self.opened().map(|_| bounds)
    }

    pub(super) async fn bounds(&self) -> Result<Bounds, LogError> {
        Ok(self.reach().await?.bounds())
    }

    pub(super) async fn position_at(&self, sequence: u64) -> Result<Option<Position>, LogError> {
        let found = self.reach().await?.position_at(sequence);
        Ok(found.filter(|position| position.has_check()))
    }

    pub(super) async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let log = self.reach().await;
        log.map_err(|error| AppendError::NotStored(error.to_string()))?
            .append(append)
    }

    pub(super) async fn follow(&self, after: u64) -> Result<Follow, LogError> {
        let log = self.reach().await?;
        let epoch = self.opened()?;
        if log.bounds().last.sequence() < after {
            return Err(LogError::Unavailable("it ends before that".to_owned()));
        }
        self.shared.followed.send_replace(epoch);
        Ok(Follow {
            follow: log.follow(after),
            log: self.clone(),
            opened: epoch,
            epoch: self.shared.epoch.subscribe(),
        })
    }

    pub(super) async fn read(
        &self,
        range: Range,
        select: &Select,
        limit: Limit,
    ) -> Result<Batch, LogError> {
        let opened = self.opened()?;
        let batch = self.reach().await?.read(range, select, limit);
        self.reach().await?;
        match self.opened()? == opened {
            true => Ok(batch),
            false => Err(cut()),
        }
    }
}

fn cut() -> LogError {
    LogError::Unavailable("the connection was cut".to_owned())
}

/// A follower of a [`FaultyLog`].
#[derive(Debug)]
pub struct Follow {
    log: FaultyLog,
    follow: memory::Follow,
    opened: u64,
    epoch: watch::Receiver<u64>,
}

impl Follow {
    pub(super) async fn next(&mut self) -> Result<Followed, LogError> {
        self.log.reach().await?;
        let opened = self.opened;
        tokio::select! {
            biased;
            _ = self.epoch.wait_for(|&epoch| epoch != opened) => Err(cut()),
            followed = self.follow.next() => Ok(followed),
        }
    }
}
