//! The publishers: over HTTP, a thread with one connection each; over NATS, a task each.

mod http;
mod nats;

pub(super) use http::{Door, HttpTarget};
pub(super) use nats::NatsTarget;

use super::clock::Clock;
use super::mark::Mark;
use super::plan::Plan;
use super::subscribers::{add, histogram};
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use tokio::runtime::Handle;

/// A publisher gives up after so many failures in a row.
const PATIENCE: u32 = 10;

/// Where events are published.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Http(HttpTarget),
    Nats(NatsTarget),
}

/// What is published, and when.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) plan: Arc<Plan>,
    pub(super) clock: Clock,
    /// Of all publishers together.
    pub(super) events: u32,
    /// Events a second, of all publishers together; `None` is as fast as they are taken.
    pub(super) rate: Option<f64>,
    /// Bytes of an event's data.
    pub(super) payload: usize,
    /// When the first is due, in microseconds since the run began.
    pub(super) began: u64,
    /// After this none is sent any more, likewise.
    pub(super) ends: u64,
    /// Events that were sent, for the progress line.
    pub(super) sent: Arc<AtomicU32>,
}

/// What the publishers have seen.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) acknowledged: u64,
    pub(super) failed: u64,
    /// Why the first one failed that did.
    pub(super) trouble: Option<String>,
    /// From sending an event to its acknowledgement, in microseconds.
    pub(super) ack: Histogram<u64>,
    /// When the first event was due, in microseconds since the run began.
    pub(super) began: u64,
    /// When the last acknowledgement came.
    pub(super) ended: u64,
    in_a_row: u32,
}

/// An event to be sent.
#[derive(Clone, Copy, Debug)]
struct Due {
    feed: u32,
    publisher: u32,
    number: u32,
    /// In microseconds since the run began.
    at: u64,
}

impl Schedule {
    /// Publishes it all, and returns when all is acknowledged or has failed.
    pub(super) fn run(&self, target: &Target, runtime: &Handle) -> Tally {
        let tally = match target {
            Target::Http(target) => http::run(self, target),
            Target::Nats(target) => runtime.block_on(nats::run(self, target)),
        };
        Tally {
            began: self.began,
            ..tally
        }
    }

    /// What one publisher sends.
    fn of(&self, publisher: u32) -> impl Iterator<Item = Due> + '_ {
        let publishers = self.plan.publishers();
        let all = (publisher..self.events).step_by(publishers as usize);
        let due = (0..).zip(all).map(move |(count, overall)| {
            let (feed, number) = self.plan.event(publisher, count);
            let after = self
                .rate
                .map_or(0.0, |rate| f64::from(overall) / rate * 1e6);
            Due {
                feed,
                publisher,
                number,
                at: self.began + after as u64,
            }
        });
        due.take_while(|due| due.at.max(self.clock.micros()) <= self.ends)
    }

    /// The data of an event that is sent now.
    fn data(&self, due: &Due, now: u64) -> String {
        let mark = Mark {
            run: self.plan.run,
            feed: due.feed,
            publisher: due.publisher,
            number: due.number,
            sent: now,
        };
        mark.payload(self.payload)
    }

    fn settle(&self, tally: &mut Tally, due: &Due, began: u64, result: anyhow::Result<()>) {
        self.sent.fetch_add(1, Relaxed);
        match result {
            Ok(()) => {
                let now = self.clock.micros();
                self.plan.acknowledge(due.feed, due.publisher);
                tally.acknowledged += 1;
                tally.in_a_row = 0;
                tally.ended = now;
                tally.ack.saturating_record(now - began);
            }
            Err(error) => tally.fail(&error),
        }
    }
}

impl Tally {
    fn new() -> Self {
        Self {
            acknowledged: 0,
            failed: 0,
            trouble: None,
            ack: histogram(),
            began: 0,
            ended: 0,
            in_a_row: 0,
        }
    }

    fn fail(&mut self, error: &anyhow::Error) {
        self.failed += 1;
        self.in_a_row += 1;
        self.trouble.get_or_insert_with(|| format!("{error:#}"));
    }

    fn gives_up(&self) -> bool {
        self.in_a_row >= PATIENCE
    }

    fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.failed += other.failed;
        self.trouble = self.trouble.take().or(other.trouble);
        self.ended = self.ended.max(other.ended);
        add(&mut self.ack, &other.ack);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::plan::Interest;

    #[test]
    fn publishers_share_the_events_and_keep_the_rate() {
        let schedule = Schedule {
            plan: Arc::new(Plan::new(0, 0, 2, 3, Interest::Feed)),
            clock: Clock::start(),
            events: 10,
            rate: Some(100.0),
            payload: 0,
            began: 5,
            ends: u64::MAX,
            sent: Arc::default(),
        };
        let mut all: Vec<u64> = (0..3)
            .flat_map(|publisher| schedule.of(publisher).map(|due| due.at))
            .collect();
        all.sort_unstable();
        let expected: Vec<u64> = (0..10).map(|event| 5 + event * 10_000).collect();
        assert_eq!(all, expected);
    }
}
