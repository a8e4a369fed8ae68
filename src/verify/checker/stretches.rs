//! Stretches of the log about which a reader was told something.

use std::collections::VecDeque;

/// Stretches that are kept at most; of more, the oldest are forgotten, which a reader has long passed.
const MAX_STRETCHES: usize = 1024;

/// Why nothing in a stretch is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// A gap was announced.
    Gap,
    /// Something else came there, and is counted as such.
    Altered,
}

#[derive(Debug, Default)]
pub(super) struct Stretches(VecDeque<(u64, u64, Why)>);

impl Stretches {
    /// What lies after a sequence, and through another.
    pub(super) fn add(&mut self, after: u64, through: u64, why: Why) {
        if self.is_full() {
            self.0.pop_front();
        }
        self.0.push_back((after, through, why));
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_STRETCHES
    }

    /// Why an event is not due, if it is in one.
    pub(super) fn why(&self, sequence: u64) -> Option<Why> {
        let holds =
            |(after, through, _): &&(u64, u64, Why)| (after + 1..=*through).contains(&sequence);
        self.0.iter().rev().find(holds).map(|(_, _, why)| *why)
    }
}
