//! An event in memory, with the forms in which it has been sent.

use crate::event::{Data, Event, Position};
use crate::wire::{self, Chunk, Form};
use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Relaxed},
};
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;

/// Set in [`Entry::cost`] once the entry no longer counts.
const RELEASED: u64 = 1 << 63;

/// Bytes in use, counted by those who hold them.
#[derive(Debug)]
pub(super) struct Gauge {
    bytes: AtomicU64,
    most: u64,
}

impl Gauge {
    /// A gauge of what there may be `most` bytes of.
    pub(super) fn new(most: u64) -> Self {
        Self {
            bytes: AtomicU64::new(0),
            most,
        }
    }

    pub(super) fn get(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Whether there are more than there may be.
    pub(super) fn is_over(&self) -> bool {
        self.get() > self.most
    }
}

/// An event, encoded at most once for each form, by its first reader in that form.
#[derive(Debug)]
pub struct Entry {
    event: Arc<Event>,
    /// The position before it in the log.
    previous: Position,
    /// When it came, unless it was read once it was old.
    arrived: Option<Instant>,
    /// Boxed, as most events are sent in one form or none.
    forms: [OnceLock<Box<Chunk>>; Form::COUNT],
    /// What it and its encoded forms take, in bytes, and whether that still counts in `gauge`.
    cost: AtomicU64,
    gauge: Arc<Gauge>,
}

impl Entry {
    /// An entry that counts in `gauge` until it is released.
    pub(super) fn new(
        event: Arc<Event>,
        previous: Position,
        arrived: Option<Instant>,
        gauge: &Arc<Gauge>,
    ) -> Self {
        let fixed = size_of::<Self>() + size_of::<Event>() + 48; // the index slot and two headers
        let cost = (fixed + event.message.heap_bytes()) as u64;
        gauge.bytes.fetch_add(cost, Relaxed);
        Self {
            event,
            previous,
            arrived,
            forms: Default::default(),
            cost: AtomicU64::new(cost),
            gauge: gauge.clone(),
        }
    }

    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The event's position.
    pub fn position(&self) -> Position {
        self.event.position
    }

    /// The event's sequence.
    pub fn sequence(&self) -> u64 {
        self.event.position.sequence()
    }

    /// When the log brought it, unless it was read once it was old.
    pub(super) fn arrived(&self) -> Option<Instant> {
        self.arrived
    }

    /// The position before it in the log.
    pub(super) fn previous(&self) -> Position {
        self.previous
    }

    /// Whether its readers are told of a gap in its place.
    pub(super) fn is_gap(&self) -> bool {
        matches!(self.event.message.data, Data::Oversize { .. })
    }

    /// Its bytes in a form; all who ask share them.
    pub fn encoded(&self, form: Form) -> &Chunk {
        self.forms[form.index()].get_or_init(|| {
            let chunk = Chunk::new(&wire::encode(form, &self.event, self.previous));
            let bytes = (size_of::<Chunk>() + chunk.framed().len()) as u64;
            // Counted first, and taken back where it is released: so the gauge never falls below zero.
            self.gauge.bytes.fetch_add(bytes, Relaxed);
            if self.cost.fetch_add(bytes, AcqRel) & RELEASED != 0 {
                self.gauge.bytes.fetch_sub(bytes, Relaxed);
            }
            Box::new(chunk)
        })
    }

    /// Bytes that it takes now, its encoded forms counted.
    pub(super) fn cost(&self) -> u64 {
        self.cost.load(Relaxed) & !RELEASED
    }

    /// It is kept no longer: what it takes stops counting, and what readers still encode never will.
    pub(super) fn release(&self) {
        let cost = self.cost.fetch_or(RELEASED, AcqRel);
        if cost & RELEASED == 0 {
            self.gauge.bytes.fetch_sub(cost, Relaxed);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.release();
    }
}
