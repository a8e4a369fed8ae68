//! A publisher: sends one event after the other, each until its outcome is known.

mod http;
mod nats;

use super::shared::{Phase, Shared, count};
use crate::event::Position;
use fastrand::Rng;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How long the first pause is before an event is repeated, and the longest, to which it doubles; each spread.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often to look whether there is room again.
const FULL: Duration = Duration::from_millis(50);

pub(super) struct Publisher {
    shared: Arc<Shared>,
    number: u32,
    random: Rng,
    door: Door,
}

/// The way in.
enum Door {
    Http(http::Door),
    Nats(nats::Door),
}

/// An event as it is sent.
struct Sending {
    feed: String,
    /// The same for every repeat, and for nothing else.
    key: String,
    data: String,
}

/// What the log has said of an event.
struct Receipt {
    sequence: u64,
    id: Option<Position>,
}

/// Why an event is not known to be in the log.
enum Failure {
    /// It is to be repeated.
    Again(String),
    /// It was refused for good, as it would be again.
    Refused(String),
}

impl Publisher {
    pub(super) fn new(shared: Arc<Shared>, number: u32, mut random: Rng) -> anyhow::Result<Self> {
        let plan = &shared.plan;
        let is_odd = number % 2 == 1 || plan.publishers == 1;
        let door = match plan.nats.as_ref().filter(|_| is_odd) {
            Some(target) => Door::Nats(nats::Door::new(target.clone())),
            None => Door::Http(http::Door::new(
                &shared,
                random.usize(..plan.replicas.len()),
            )?),
        };
        Ok(Self {
            shared,
            number,
            random,
            door,
        })
    }

    /// Publishes until it is told to stop, then the last events.
    pub(super) async fn run(mut self) {
        let shared = self.shared.clone();
        shared.reaches(Phase::Publishing).await;
        let period = f64::from(shared.plan.publishers) / shared.plan.rate;
        let mut due = Instant::now() + Duration::from_secs_f64(period * self.random.f64());
        loop {
            tokio::select! {
                biased;
                () = shared.reaches(Phase::Stopping) => break,
                () = sleep_until(due) => {}
            }
            while shared.ledger.is_full() && !shared.has_reached(Phase::Stopping) {
                sleep(FULL).await;
            }
            if !self.may_send() {
                shared.reaches(Phase::Stopping).await;
                break;
            }
            let feed = self.random.u32(..shared.plan.feeds);
            self.publish(feed).await;
            // What could not be sent in time is not caught up with.
            due = (due + Duration::from_secs_f64(period)).max(Instant::now());
        }
        for feed in (self.number..shared.plan.feeds).step_by(shared.plan.publishers as usize) {
            count(&shared.counts.sent);
            self.publish(feed).await;
        }
    }

    /// Whether one more may be sent, which is counted then.
    fn may_send(&self) -> bool {
        let most = self.shared.plan.events.unwrap_or(u64::MAX);
        let more = |sent| (sent < most).then_some(sent + 1);
        let sent = &self.shared.counts.sent;
        sent.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    async fn publish(&mut self, feed: u32) {
        let shared = self.shared.clone();
        let track = shared.layout.track(feed, self.number);
        let number = shared.ledger.send(track);
        let padding = self.random.usize(..=shared.plan.padding);
        let sending = Sending {
            feed: shared.layout.feeds[feed as usize].to_string(),
            key: format!(
                "verify-{:016x}-{}-{feed}-{number}",
                shared.layout.run, self.number
            ),
            data: shared.layout.mark(track, number).data(padding),
        };
        let receipt = tokio::select! {
            receipt = self.insist(&sending) => receipt,
            () = shared.reaches(Phase::Settling) => None,
        };
        let Some(receipt) = receipt else {
            shared.ledger.give_up(track);
            count(&shared.counts.unknown);
            return;
        };
        let Receipt { sequence, id } = receipt;
        let conflict = shared.ledger.acknowledge(track, sequence, id);
        count(&shared.counts.acknowledged);
        if let Some(conflict) = conflict {
            let account = &shared.readers[conflict.reader as usize];
            account
                .checker
                .lock()
                .conflict(track, number, conflict.seen);
        }
    }

    /// Repeats until the log has the event, or has had time enough.
    async fn insist(&mut self, sending: &Sending) -> Option<Receipt> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match self.door.publish(sending).await {
                Ok(receipt) => return Some(receipt),
                Err(failure) => failure,
            };
            let (reason, again) = match failure {
                Failure::Again(reason) => (reason, true),
                Failure::Refused(reason) => (reason, false),
            };
            *self.shared.trouble.lock() = Some(reason);
            sleep(pause.mul_f64(0.5 + self.random.f64())).await;
            if !again || began.elapsed() > self.shared.plan.patience {
                return None;
            }
            count(&self.shared.counts.repeats);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Door {
    async fn publish(&mut self, sending: &Sending) -> Result<Receipt, Failure> {
        match self {
            Self::Http(door) => door.publish(sending).await,
            Self::Nats(door) => door.publish(sending).await,
        }
    }
}
