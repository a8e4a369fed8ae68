//! An event in memory, with the forms in which it has been sent.

use crate::event::{Event, Position};
use crate::wire::{self, Chunk, Form};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Set in [`Entry::cost`] once the entry no longer counts.
const RELEASED: u64 = 1 << 63;

/// Bytes in use, counted by those who hold them.
#[derive(Debug, Default)]
pub(super) struct Gauge(AtomicU64);

impl Gauge {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// An event, encoded at most once for each form, by its first reader in that form.
#[derive(Debug)]
pub struct Entry {
    event: Arc<Event>,
    /// The position before it in the log.
    previous: Position,
    /// Boxed, as most events are sent in one form or none.
    forms: [OnceLock<Box<Chunk>>; Form::COUNT],
    /// What it and its encoded forms take, in bytes, and whether that still counts in `gauge`.
    cost: AtomicU64,
    gauge: Arc<Gauge>,
}

impl Entry {
    /// An entry that counts in `gauge` until it is released.
    pub(super) fn new(event: Arc<Event>, previous: Position, gauge: &Arc<Gauge>) -> Self {
        let fixed = size_of::<Self>() + size_of::<Event>() + 48; // the index slot and two headers
        let cost = (fixed + event.message.heap_bytes()) as u64;
        gauge.0.fetch_add(cost, Relaxed);
        Self {
            event,
            previous,
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

    /// The position before it in the log.
    pub(super) fn previous(&self) -> Position {
        self.previous
    }

    /// Its bytes in a form; all who ask share them.
    pub fn encoded(&self, form: Form) -> &Chunk {
        self.forms[form.index()].get_or_init(|| {
            let chunk = Chunk::new(&wire::encode(form, &self.event, self.previous));
            let bytes = (size_of::<Chunk>() + chunk.framed().len()) as u64;
            if self.cost.fetch_add(bytes, Relaxed) & RELEASED == 0 {
                self.gauge.0.fetch_add(bytes, Relaxed);
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
        let cost = self.cost.fetch_or(RELEASED, Relaxed);
        if cost & RELEASED == 0 {
            self.gauge.0.fetch_sub(cost, Relaxed);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.release();
    }
}
