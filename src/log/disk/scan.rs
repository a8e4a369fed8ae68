//! A read under way: record after record, with an eye on what is missing.

use super::record;
use crate::event::Event;
use crate::log::{Batch, Limit, Select};
use std::sync::Arc;

/// How many events one read passes over at most.
const READ_SCAN: u64 = 65_536;

/// See there.
pub(super) struct Scan {
    start: u64,
    end: u64,
    /// The sequence that comes next where nothing is missing.
    next: u64,
    /// Where what was read without a hole began.
    first: u64,
    /// Where something was missing.
    damaged: Option<u64>,
    events: Vec<Arc<Event>>,
    bytes: usize,
}

impl Scan {
    pub(super) fn new(start: u64, end: u64, first: u64) -> Self {
        Self {
            start,
            end,
            next: start,
            first,
            damaged: None,
            events: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes in the next record; `false` if it is to be left to the next read, as something is missing before it.
    pub(super) fn take(&mut self, sequence: u64, bytes: &[u8], select: &Select) -> bool {
        let wanted = |feed: &str| match select {
            Select::All => true,
            Select::Feed(wanted) => wanted.as_str() == feed,
        };
        let decoded = record::decode_if(sequence, bytes, wanted);
        if sequence != self.next || decoded.is_none() {
            self.damaged.get_or_insert(self.next);
            if self.next > self.start.max(self.first) {
                return false;
            }
            self.first = sequence + u64::from(decoded.is_none());
        }
        self.next = sequence + 1;
        if let Some(event) = decoded.flatten() {
            self.bytes += event.message.heap_bytes();
            self.events.push(Arc::new(event));
        }
        true
    }

    pub(super) fn is_full(&self, limit: Limit) -> bool {
        self.events.len() >= limit.events
            || self.bytes >= limit.bytes
            || self.next - self.start >= READ_SCAN
    }

    /// What was read until it was stopped.
    pub(super) fn stopped(self, created: u64) -> (Batch, Option<u64>) {
        let batch = Batch {
            events: self.events,
            through: self.next - 1,
            first: self.first,
            created,
        };
        (batch, self.damaged)
    }

    /// The same, where there was no more to read; what is missing at the end is left to the next read, unless
    /// there is nothing else.
    pub(super) fn ended(mut self, created: u64) -> (Batch, Option<u64>) {
        if self.next == self.start.max(self.first) && self.next <= self.end {
            self.damaged.get_or_insert(self.next);
            self.next = self.end + 1;
            self.first = self.next;
        }
        self.stopped(created)
    }
}
