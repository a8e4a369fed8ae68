//! The newest part of the log, in memory: bounded in bytes and in events, indexed by feed.
//!
//! Events stand in the log's order and are counted by *ordinals*, which rise without gaps. Each event
//! links to the one before and the one after it on its feed, so that a reader of one feed never touches
//! another's; a reader with wildcards passes over all, and asks once for each feed whether it matches.

mod cursor;
mod overview;

pub(super) use cursor::{Cursor, Step, StepLimit};
pub use overview::{Newest, Reach};

use super::bell::Bell;
use super::entry::{Entry, Gauge};
use super::feeds::{FeedId, Feeds};
use super::groups::{Groups, Noted};
use crate::event::{Event, Position};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

/// No ordinal: the end of a feed's chain.
const NONE: u64 = u64::MAX;
/// How many changes of the log are told apart; of older ones only the furthest step back is kept.
const CHANGES: usize = 64;

/// How much the window holds; beyond that the oldest events go.
#[derive(Clone, Copy, Debug)]
pub struct WindowLimits {
    /// Bytes in all: events, their encoded forms, and the index.
    pub bytes: u64,
    /// Events in all.
    pub events: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    limits: WindowLimits,
    slots: VecDeque<Slot>,
    /// The ordinal of `slots[0]`, or of the next event where there is none.
    base: u64,
    /// The position before the first event here: everything after it, up to `head`, is here.
    floor: Position,
    /// The last position followed.
    head: Position,
    feeds: Feeds,
    groups: Groups,
    gauge: Arc<Gauge>,
    /// How often the log has changed under us, and how, newest last.
    generation: u64,
    changes: VecDeque<Change>,
}

/// A change of the log.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// Where a reader that has come further goes on.
    shared: Position,
    /// Whether the logs share nothing: then a place in the one says nothing about the other.
    anew: bool,
}

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    feed: FeedId,
    /// Ordinals of the neighbours on the same feed. That of the older one may be gone from the window.
    older: u64,
    newer: u64,
}

/// What the window can say of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// It is of this log.
    Ours,
    /// Another event stands at its sequence.
    Foreign,
    /// It lies ahead of what was followed.
    Ahead,
    /// Only the log can tell.
    Unknown,
}

impl Window {
    pub(super) fn new(limits: WindowLimits) -> Self {
        Self {
            limits,
            slots: VecDeque::new(),
            base: 0,
            floor: Position::START,
            head: Position::START,
            feeds: Feeds::default(),
            groups: Groups::default(),
            gauge: Arc::new(Gauge::new(limits.bytes)),
            generation: 0,
            changes: VecDeque::new(),
        }
    }

    pub(super) fn head(&self) -> Position {
        self.head
    }

    pub(super) fn floor(&self) -> Position {
        self.floor
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What counts its bytes.
    pub(super) fn gauge(&self) -> &Arc<Gauge> {
        &self.gauge
    }

    pub(super) fn feeds(&self) -> usize {
        self.feeds.len()
    }

    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn pattern_bytes(&self) -> usize {
        self.groups.pattern_bytes()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The position of the entry with this index, counted from the oldest.
    pub(super) fn position(&self, index: usize) -> Option<Position> {
        Some(self.slots.get(index)?.entry.position())
    }

    /// The entry at a sequence.
    pub(super) fn entry(&self, sequence: u64) -> Option<&Arc<Entry>> {
        let slot = self.slots.get(self.index_from(sequence))?;
        (slot.entry.sequence() == sequence).then_some(&slot.entry)
    }

    /// The index of the first entry that does not stand before `sequence`.
    pub(super) fn index_from(&self, sequence: u64) -> usize {
        self.slots
            .partition_point(|slot| slot.entry.sequence() < sequence)
    }

    pub(super) fn lookup(&self, position: Position) -> Lookup {
        let sequence = position.sequence();
        if sequence > self.head.sequence() {
            return Lookup::Ahead;
        }
        if position == self.floor || position == self.head || position == Position::START {
            return Lookup::Ours;
        }
        match self.entry(sequence) {
            Some(found) if found.position() == position => Lookup::Ours,
            // A place without a check was told where the log held no event any more; the window may still.
            Some(_) if position.has_check() => Lookup::Foreign,
            Some(_) | None => Lookup::Unknown,
        }
    }

    fn end(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    fn slot(&self, ordinal: u64) -> Option<&Slot> {
        self.slots
            .get(usize::try_from(ordinal.checked_sub(self.base)?).ok()?)
    }

    fn slot_mut(&mut self, ordinal: u64) -> Option<&mut Slot> {
        self.slots
            .get_mut(usize::try_from(ordinal.checked_sub(self.base)?).ok()?)
    }

    /// The ordinal of the first entry after a sequence.
    fn ordinal_after(&self, sequence: u64) -> u64 {
        self.base
            + self
                .slots
                .partition_point(|slot| slot.entry.sequence() <= sequence) as u64
    }
}

impl Change {
    /// Both as one, for a reader that has missed them: it goes back as far as either says, in the log as it is
    /// now.
    fn and_then(self, next: Self) -> Self {
        let further = next.shared.sequence() < self.shared.sequence();
        Self {
            shared: if next.anew || further {
                next.shared
            } else {
                self.shared
            },
            anew: self.anew || next.anew,
        }
    }

    /// Whether it is news to a reader that has come as far as `sequence`.
    fn concerns(self, sequence: u64) -> bool {
        sequence > self.shared.sequence() || (self.anew && sequence > 0)
    }
}

/// What the follower does.
impl Window {
    /// Appends events, and returns the bell of each group that has one of them.
    pub(super) fn extend(&mut self, events: Vec<Arc<Event>>) -> Vec<Arc<Bell>> {
        let mut bells = Vec::new();
        let (since, now) = (self.end(), Instant::now());
        for event in events {
            self.push(event, since, now, &mut bells);
            self.evict();
        }
        bells
    }

    fn push(&mut self, event: Arc<Event>, since: u64, now: Instant, bells: &mut Vec<Arc<Bell>>) {
        debug_assert!(event.position.sequence() > self.head.sequence());
        let ordinal = self.end();
        let feed = self.feeds.intern(&event.message.feed);
        let known = self.feeds.get_mut(feed);
        let older = if known.events > 0 { known.newest } else { NONE };
        known.newest = ordinal;
        known.events += 1;
        let noted = Noted { ordinal, since };
        self.groups
            .note(noted, &event.message.feed, &known.groups, bells);
        if let Some(slot) = self.slot_mut(older) {
            slot.newer = ordinal;
        }
        let previous = std::mem::replace(&mut self.head, event.position);
        let entry = Arc::new(Entry::new(event, previous, Some(now), &self.gauge));
        self.slots.push_back(Slot {
            entry,
            feed,
            older,
            newer: NONE,
        });
    }

    /// Lets the oldest events go that there is no room for.
    pub(super) fn evict(&mut self) {
        while self.slots.len() > self.limits.events || self.gauge.is_over() {
            let Some(slot) = self.slots.pop_front() else {
                break;
            };
            self.base += 1;
            self.floor = slot.entry.position();
            self.drop_slot(&slot);
        }
    }

    fn drop_slot(&mut self, slot: &Slot) {
        slot.entry.release();
        self.feeds.get_mut(slot.feed).events -= 1;
        self.feeds.tidy(slot.feed);
    }

    /// Empties the window, and begins anew after `floor`.
    pub(super) fn restart(&mut self, floor: Position) {
        // One ordinal stays unused, so that no reader stands at the new beginning: each has to see for
        // itself what it has missed.
        self.base = self.end() + 1;
        for slot in std::mem::take(&mut self.slots) {
            self.drop_slot(&slot);
        }
        self.groups.forget_matches(self.base);
        self.floor = floor;
        self.head = floor;
    }

    /// The log is another one after `shared`, which lies in the window or is its floor, or from the
    /// beginning of the other log where the two share nothing: then `anew` is set.
    ///
    /// Every reader that has come further is told so, and goes on from there.
    pub(super) fn change(&mut self, shared: Position, anew: bool) {
        if anew {
            self.restart(shared);
        } else {
            while let Some(slot) = self
                .slots
                .pop_back_if(|slot| slot.entry.sequence() > shared.sequence())
            {
                self.unlink(&slot);
                self.drop_slot(&slot);
            }
            self.groups.forget_matches(self.end());
            self.head = shared;
        }
        self.generation += 1;
        self.changes.push_back(Change { shared, anew });
        if self.changes.len() > CHANGES
            && let (Some(first), Some(second)) =
                (self.changes.pop_front(), self.changes.front_mut())
        {
            *second = first.and_then(*second);
        }
    }

    fn unlink(&mut self, slot: &Slot) {
        self.feeds.get_mut(slot.feed).newest = slot.older;
        if let Some(older) = self.slot_mut(slot.older) {
            older.newer = NONE;
        }
    }

    /// The changes since a generation, as far as they are told apart: what both logs share, and whether that is
    /// nothing.
    #[cfg(test)]
    pub(super) fn changes_since(&self, generation: u64) -> Vec<(Position, bool)> {
        let count = usize::try_from(self.generation - generation).unwrap();
        let newest = self.changes.iter().rev().take(count).rev();
        newest.map(|change| (change.shared, change.anew)).collect()
    }

    /// Rings for every group: something other than an event has happened.
    pub(super) fn bells(&self) -> Vec<Arc<Bell>> {
        self.groups.bells()
    }
}
