//! Keeps the window at the log's end.

use super::status::{Session, Status};
use super::{Progress, Shared, jittered};
use crate::event::{Data, Event, Position};
use crate::log::{Bounds, Followed, LogError};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long it waits after a failure, before it is spread by ±50 %: from the first, doubling, to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The one task that moves the head.
pub(super) struct Follower {
    hub: Arc<Shared>,
    sessions: u64,
    /// When the log that the window is of was created; `None` before the first session.
    created: Option<u64>,
    /// Set while the window's floor is still to come: it is the first event that follows, or where none does,
    /// the end that the log had.
    floor_to_come: Option<Position>,
}

impl Follower {
    pub(super) fn new(hub: Arc<Shared>) -> Self {
        Self {
            hub,
            sessions: 0,
            created: None,
            floor_to_come: None,
        }
    }

    /// Follows the log through every failure, for ever.
    pub(super) async fn run(mut self) -> Infallible {
        let mut pause = FIRST_PAUSE;
        loop {
            let sessions = self.sessions;
            let Err(LogError::Unavailable(reason)) = self.follow().await;
            if self.hub.session.send_replace(None).is_some() {
                self.hub.progress.lock().at = Instant::now();
            }
            self.report(reason);
            pause = match self.sessions == sessions {
                true => LONGEST_PAUSE.min(pause * 2),
                false => FIRST_PAUSE,
            };
            tokio::time::sleep(jittered(pause)).await;
        }
    }

    fn report(&self, reason: String) {
        self.hub.status.send_if_modified(|status| {
            let (name, next) = match status {
                Status::Starting { .. } => ("starting", Status::Starting { reason }),
                Status::Live | Status::Degraded { .. } => ("degraded", Status::Degraded { reason }),
            };
            let new = *status != next;
            if new && let Status::Starting { reason } | Status::Degraded { reason } = &next {
                tracing::warn!(status = name, %reason, "the log can't be followed");
            }
            *status = next;
            new
        });
    }

    async fn follow(&mut self) -> Result<Infallible, LogError> {
        let bounds = self.hub.log.open().await?;
        let after = match self.created {
            None => self.begin(&bounds),
            Some(created) => self.verify(&bounds, created).await?,
        };
        let mut follow = self.hub.log.follow(after).await?;
        self.created = Some(bounds.created);
        self.sessions += 1;
        self.hub.session.send_replace(Some(Session {
            number: self.sessions,
            created: bounds.created,
            generation: self.hub.window.read().generation(),
        }));
        let mut warm = false;
        loop {
            let followed = follow.next().await?;
            warm |= followed.pending == 0;
            self.take(followed);
            if warm && *self.hub.status.borrow() != Status::Live {
                self.hub.status.send_replace(Status::Live);
                tracing::info!(head = %self.hub.window.read().head(), "following the log");
            }
        }
    }

    /// Where the window begins on a log that was not followed before.
    fn begin(&mut self, bounds: &Bounds) -> u64 {
        let limits = self.hub.limits.window;
        let reach = (limits.bytes / bounds.event_bytes.max(1))
            .min(limits.events as u64)
            .max(1);
        let start = bounds
            .first
            .max((bounds.last.sequence() + 1).saturating_sub(reach));
        self.floor_to_come = (start > bounds.first).then_some(bounds.last);
        if self.floor_to_come.is_some() {
            return start - 2; // the event before the window is its floor
        }
        self.hub.window.write().restart(Position::before(start));
        start - 1
    }

    /// Makes sure that the log is the one followed so far, or goes back to what both share. Returns where
    /// to go on.
    async fn verify(&mut self, bounds: &Bounds, created: u64) -> Result<u64, LogError> {
        if self.floor_to_come.is_some() {
            return Ok(self.begin(bounds)); // nothing was taken yet
        }
        let head = self.hub.window.read().head();
        if self.is_shared(head, bounds, created).await? {
            return Ok(head.sequence());
        }
        let shared = self.last_shared(bounds).await?;
        let anew = shared.is_none();
        let shared = shared.unwrap_or(Position::before(bounds.first));
        tracing::warn!(%head, %shared, "the log has changed: its readers are told, and go on from what both share");
        let bells = {
            let mut window = self.hub.window.write();
            window.change(shared, anew);
            window.bells()
        };
        self.hub.head.send_replace(shared.sequence());
        self.hub.counters.resets.inc();
        bells.iter().for_each(|bell| bell.ring());
        Ok(shared.sequence())
    }

    /// Whether a position that was followed is one of the log as it is now.
    async fn is_shared(
        &self,
        position: Position,
        bounds: &Bounds,
        created: u64,
    ) -> Result<bool, LogError> {
        if position == Position::START {
            return Ok(true);
        }
        if bounds.last.sequence() < position.sequence() {
            return Ok(false);
        }
        match self.hub.log.position_at(position.sequence()).await? {
            Some(found) => Ok(found == position),
            None if bounds.last.sequence() == position.sequence()
                && bounds.last.has_check()
                && position.has_check() =>
            {
                Ok(bounds.last == position)
            }
            None => Ok(bounds.created == created),
        }
    }

    /// The last position of the window that the log holds too. What they share is a beginning of both.
    async fn last_shared(&self, bounds: &Bounds) -> Result<Option<Position>, LogError> {
        // What has expired tells nothing.
        let (mut low, mut high) = {
            let window = self.hub.window.read();
            (window.index_from(bounds.first), window.len())
        };
        let mut shared = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(position) = self.hub.window.read().position(middle) else {
                break;
            };
            if self.is_held(position, bounds).await? {
                shared = Some(position);
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if shared.is_none() {
            let floor = self.hub.window.read().floor();
            if self.is_held(floor, bounds).await? {
                shared = Some(floor);
            }
        }
        Ok(shared)
    }

    async fn is_held(&self, position: Position, bounds: &Bounds) -> Result<bool, LogError> {
        let within = (bounds.first..=bounds.last.sequence()).contains(&position.sequence());
        Ok(within && self.hub.log.position_at(position.sequence()).await? == Some(position))
    }

    fn count(&self, events: &[Arc<Event>], pending: u64) {
        let bytes = |event: &Arc<Event>| match &event.message.data {
            Data::Bytes(bytes) => bytes.len() as u64,
            Data::Oversize { .. } => 0,
        };
        let counters = &self.hub.counters;
        counters.followed.inc_by(events.len() as u64);
        counters
            .followed_bytes
            .inc_by(events.iter().map(bytes).sum());
        let at = Instant::now();
        *self.hub.progress.lock() = Progress { at, pending };
    }

    fn take(&mut self, followed: Followed) {
        let mut events = followed.events;
        self.count(&events, followed.pending);
        let bells = {
            let mut window = self.hub.window.write();
            if let Some(first) = followed.lost_before {
                self.floor_to_come = None;
                window.restart(Position::before(first));
                self.hub.counters.overtaken.inc();
            } else if let Some(end) = self.floor_to_come
                && (!events.is_empty() || followed.pending == 0)
            {
                self.floor_to_come = None;
                window.restart(match events.is_empty() {
                    true => end, // nothing up to there was for us
                    false => events.remove(0).position,
                });
            }
            let mut bells = match followed.lost_before {
                Some(_) => window.bells(),
                None => Vec::new(),
            };
            bells.extend(window.extend(events));
            self.hub.head.send_replace(window.head().sequence());
            bells
        };
        bells.iter().for_each(|bell| bell.ring());
    }
}
