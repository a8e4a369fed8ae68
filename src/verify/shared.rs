//! What the tasks of a run share.

use super::checker::Checker;
use super::ledger::Ledger;
use super::plan::{Layout, Plan};
use crate::wire;
use http::StatusCode;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use tokio::sync::watch;
use tokio_rustls::rustls::ClientConfig;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Readers are connecting.
    Opening,
    /// Events are published.
    Publishing,
    /// Publishers come to an end.
    Stopping,
    /// Nothing more is published; readers cut themselves off no more, and none is slow.
    Settling,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) layout: Arc<Layout>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) readers: Vec<Account>,
    pub(super) counts: Counts,
    pub(super) phase: watch::Sender<Phase>,
    /// What last went wrong for a publisher.
    pub(super) trouble: Mutex<Option<String>>,
}

/// A reader's books.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) checker: Mutex<Checker>,
    pub(super) is_connected: AtomicBool,
    /// What last went wrong for it.
    pub(super) trouble: Mutex<Option<String>>,
}

/// See [`Progress`].
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) repeats: AtomicU64,
    pub(super) deliveries: AtomicU64,
    pub(super) begun: AtomicU64,
    pub(super) heard: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) cuts: AtomicU64,
    pub(super) ends: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) gaps: AtomicU64,
    pub(super) resets: AtomicU64,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Progress {
    /// Events sent.
    pub sent: u64,
    /// Events that were acknowledged.
    pub acknowledged: u64,
    /// Events of which nobody can tell whether the log has them.
    pub unknown: u64,
    /// Publishes that were repeated.
    pub repeats: u64,
    /// Events received, over all readers.
    pub deliveries: u64,
    /// Readers that were told where they begin.
    pub begun: u64,
    /// Readers that have received an event.
    pub heard: u64,
    /// Streams opened, and connections polled over.
    pub connections: u64,
    /// Those that readers cut off themselves.
    pub cuts: u64,
    /// Those that the server ended, or that broke.
    pub ends: u64,
    /// Connects that led to neither.
    pub failures: u64,
    /// Gaps announced.
    pub gaps: u64,
    /// Resets announced.
    pub resets: u64,
}

impl Shared {
    pub(super) fn new(plan: Plan, layout: Layout, tls: ClientConfig) -> Self {
        let layout = Arc::new(layout);
        let ledger = Arc::new(Ledger::new(layout.tracks()));
        let account = |number| Account {
            checker: Mutex::new(Checker::new(number, layout.clone(), ledger.clone())),
            is_connected: AtomicBool::new(false),
            trouble: Mutex::default(),
        };
        Self {
            readers: (0..plan.readers).map(account).collect(),
            plan,
            tls: Arc::new(tls),
            layout,
            ledger,
            counts: Counts::default(),
            phase: watch::Sender::new(Phase::Opening),
            trouble: Mutex::default(),
        }
    }

    /// Returns once the run is as far as this, or further.
    pub(super) async fn reaches(&self, phase: Phase) {
        // The sender lives in `self`, so it can't be gone.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    pub(super) fn has_reached(&self, phase: Phase) -> bool {
        *self.phase.borrow() >= phase
    }

    /// Has every reader pass what it can't get any more, and drops what all of them have passed.
    pub(super) fn tidy(&self) {
        let mut lowest = vec![None::<u32>; self.layout.tracks()];
        for account in &self.readers {
            let mut checker = account.checker.lock();
            if checker.has_begun() {
                checker.sweep();
                for (track, number) in checker.passed() {
                    let low = &mut lowest[track];
                    *low = Some(low.map_or(number, |low| low.min(number)));
                }
            }
        }
        for (track, number) in lowest.into_iter().enumerate() {
            self.ledger.drop_through(track, number.unwrap_or(u32::MAX));
        }
    }
}

impl Counts {
    pub(super) fn progress(&self) -> Progress {
        let of = |count: &AtomicU64| count.load(Relaxed);
        Progress {
            sent: of(&self.sent),
            acknowledged: of(&self.acknowledged),
            unknown: of(&self.unknown),
            repeats: of(&self.repeats),
            deliveries: of(&self.deliveries),
            begun: of(&self.begun),
            heard: of(&self.heard),
            connections: of(&self.connections),
            cuts: of(&self.cuts),
            ends: of(&self.ends),
            failures: of(&self.failures),
            gaps: of(&self.gaps),
            resets: of(&self.resets),
        }
    }
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// How an answer that was none wanted is told: with the detail of its problem, where it has one.
pub(super) fn refusal(status: StatusCode, body: &[u8]) -> String {
    match wire::detail(body) {
        Some(detail) => format!("{status}: {}", detail.escape_debug()),
        None => status.to_string(),
    }
}
