//! A thread's part of a run, and how it keeps count.

use super::{Progress, Tally, Target};
use crate::cli::bench::clock::Clock;
use crate::cli::bench::ledger::{Kind, Ledger};
use crate::cli::bench::mark::Mark;
use crate::cli::bench::plan::Plan;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The delay is taken on every so many-th reader.
const SAMPLED: usize = 16;

/// Every `threads`-th reader, from `number` on.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pub(super) number: usize,
    pub(super) threads: usize,
    pub(super) plan: Arc<Plan>,
    pub(super) target: Target,
    pub(super) clock: Clock,
    pub(super) progress: Arc<Progress>,
}

impl Share {
    /// The number of the reader at this place in the share.
    pub(super) fn reader(&self, index: usize) -> usize {
        self.number + index * self.threads
    }

    /// A reader that connected when it `began` is answered.
    pub(super) fn opened(&self, tally: &mut Tally, began: u64) {
        let now = self.clock.micros();
        tally.connect.saturating_record(now - began);
        self.progress.last_open.fetch_max(now, Relaxed);
        self.progress.open.fetch_add(1, Relaxed);
    }

    /// So many events have just come.
    pub(super) fn received(&self, events: u64) {
        if events > 0 {
            let now = self.clock.micros();
            self.progress.last_received.fetch_max(now, Relaxed);
            self.progress.received.fetch_add(events, Relaxed);
        }
    }

    /// Begins to count what a reader reads.
    pub(super) fn count<'a>(&'a self, reader: usize, tally: &'a mut Tally) -> Count<'a> {
        Count {
            share: self,
            reader,
            tally,
            now: None,
            received: 0,
        }
    }

    /// How many events have not come. All that was published has been acknowledged or has failed.
    pub(super) fn lost(&self, index: usize, ledger: Option<&Ledger>) -> u64 {
        let received = ledger.map_or(0, |ledger| ledger.received);
        let expected = self.plan.expected(self.reader(index));
        expected.saturating_sub(received.into())
    }
}

/// Counts what one reader reads at one time.
pub(super) struct Count<'a> {
    share: &'a Share,
    reader: usize,
    tally: &'a mut Tally,
    /// When it was read.
    now: Option<u64>,
    /// Events, repeated ones left out.
    pub(super) received: u64,
}

impl Count<'_> {
    pub(super) fn add(&mut self, ledger: &mut Ledger, mark: Mark) {
        let Share { plan, clock, .. } = self.share;
        if mark.run != plan.run || mark.publisher >= plan.publishers() {
            return; // of another run, or from before this one's events
        }
        let track = plan.track(self.reader, mark.feed, mark.publisher);
        let Some(kind) = track.and_then(|track| ledger.note(track, mark.number)) else {
            self.tally.strays += 1;
            return;
        };
        self.received += u64::from(kind != Kind::Duplicate);
        self.tally.late += u64::from(kind == Kind::Late);
        self.tally.duplicates += u64::from(kind == Kind::Duplicate);
        if self.reader.is_multiple_of(SAMPLED) {
            let now = *self.now.get_or_insert_with(|| clock.micros());
            let delay = now.saturating_sub(mark.sent);
            self.tally.delay.saturating_record(delay);
        }
    }
}
