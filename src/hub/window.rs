//! The newest part of the log, in memory: bounded in bytes and in events, indexed by feed.
//!
//! Events stand in the log's order and are counted by *ordinals*, which rise without gaps. Each event
//! links to the one before and the one after it on its feed, so that a reader of one feed never touches
//! another's; a reader with wildcards passes over all, and asks once for each feed whether it matches.

use super::bell::Bell;
use super::entry::{Entry, Gauge};
use super::feeds::{FeedId, Feeds};
use super::groups::{Group, GroupId, Groups, Noted};
use crate::event::{Event, Patterns, Position};
use std::collections::VecDeque;
use std::sync::Arc;

/// No ordinal: the end of a feed's chain.
const NONE: u64 = u64::MAX;
/// How many entries a step of a reader passes over at most, so that no lock is held for long.
const STEP_SCAN: u64 = 16_384;
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

/// How much a reader takes in one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepLimit {
    /// Events.
    pub(super) events: usize,
    /// Bytes of the events as they are in memory.
    pub(super) bytes: u64,
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
    /// How often the log has changed under us, and to which shared position it went back, newest last.
    generation: u64,
    changes: VecDeque<Position>,
}

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    feed: FeedId,
    /// Ordinals of the neighbours on the same feed. That of the older one may be gone from the window.
    older: u64,
    newer: u64,
}

/// How far a reader has come.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    group: GroupId,
    generation: u64,
    /// Everything up to and including this sequence has been passed on, or was not for the reader.
    sequence: u64,
    /// The ordinal from which to go on; `None` while the window does not reach back that far.
    ordinal: Option<u64>,
    /// The last position that can be told to the client: at or before `sequence`.
    known: Position,
}

/// What a step of a reader in the window has come to.
#[derive(Debug)]
pub(super) enum Step {
    /// The next events; there may be none yet, and more to pass over.
    Events(Vec<Arc<Entry>>),
    /// All is passed on, up to the head.
    Live,
    /// The window does not reach back to the cursor: read the log up to this sequence.
    Behind(u64),
    /// The log has changed, and the reader goes on from this position, which both logs share.
    Reset(Position),
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
            gauge: Arc::default(),
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

    pub(super) fn bytes(&self) -> u64 {
        self.gauge.get()
    }

    pub(super) fn feeds(&self) -> usize {
        self.feeds.len()
    }

    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The position of the entry with this index, counted from the oldest.
    pub(super) fn position(&self, index: usize) -> Option<Position> {
        Some(self.slots.get(index)?.entry.position())
    }

    /// The position followed last among those up to `sequence`, if it is here.
    pub(super) fn find(&self, sequence: u64) -> Option<Position> {
        let index = usize::try_from(self.ordinal_after(sequence) - self.base).ok()?;
        let position = self.position(index.checked_sub(1)?)?;
        (position.sequence() == sequence).then_some(position)
    }

    pub(super) fn lookup(&self, position: Position) -> Lookup {
        let sequence = position.sequence();
        if sequence > self.head.sequence() {
            return Lookup::Ahead;
        }
        if position == self.floor || position == self.head || position == Position::START {
            return Lookup::Ours;
        }
        match self.find(sequence) {
            Some(found) if found == position => Lookup::Ours,
            Some(_) => Lookup::Foreign,
            None => Lookup::Unknown,
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

/// What the follower does.
impl Window {
    /// Appends events, and returns the bell of each group that has one of them.
    pub(super) fn extend(&mut self, events: Vec<Arc<Event>>) -> Vec<Arc<Bell>> {
        let mut bells = Vec::new();
        let since = self.end();
        for event in events {
            self.push(event, since, &mut bells);
            self.evict();
        }
        bells
    }

    fn push(&mut self, event: Arc<Event>, since: u64, bells: &mut Vec<Arc<Bell>>) {
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
        let entry = Arc::new(Entry::new(event, previous, &self.gauge));
        self.slots.push_back(Slot {
            entry,
            feed,
            older,
            newer: NONE,
        });
    }

    fn evict(&mut self) {
        while self.slots.len() > self.limits.events || self.gauge.get() > self.limits.bytes {
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
        // A reader goes back to the earliest of all that it has missed; where nothing is shared, to the
        // beginning.
        self.changes.push_back(shared);
        if self.changes.len() > CHANGES
            && let (Some(first), Some(second)) =
                (self.changes.pop_front(), self.changes.front_mut())
            && first.sequence() < second.sequence()
        {
            *second = first;
        }
    }

    fn unlink(&mut self, slot: &Slot) {
        self.feeds.get_mut(slot.feed).newest = slot.older;
        if let Some(older) = self.slot_mut(slot.older) {
            older.newer = NONE;
        }
    }

    /// Rings for every group: something other than an event has happened.
    pub(super) fn bells(&self) -> Vec<Arc<Bell>> {
        self.groups.bells()
    }
}

/// What readers do.
impl Window {
    /// Adds a reader that has had everything up to and including `after`.
    pub(super) fn join(&mut self, patterns: &Patterns, after: Position) -> Cursor {
        let end = self.end();
        Cursor {
            group: self.groups.join(patterns, &mut self.feeds, end),
            generation: self.generation,
            sequence: after.sequence(),
            ordinal: None,
            known: after,
        }
    }

    /// Adds a reader with the patterns and at the place of another.
    pub(super) fn fork(&mut self, cursor: &Cursor) -> Cursor {
        self.groups.add_member(cursor.group);
        cursor.clone()
    }

    pub(super) fn leave(&mut self, cursor: &Cursor) {
        self.groups.leave(cursor.group, &mut self.feeds);
    }

    pub(super) fn bell(&self, cursor: &Cursor) -> Arc<Bell> {
        self.groups.get(cursor.group).bell.clone()
    }

    /// Adds a reader that is to begin with the newest `count` events of its patterns, as far as the window
    /// reaches.
    pub(super) fn join_last(&mut self, patterns: &Patterns, count: usize) -> Cursor {
        let mut cursor = self.join(patterns, self.head);
        let group = self.groups.get(cursor.group);
        let mut oldest = None;
        if let Some(feed) = group.single {
            let known = self.feeds.get(feed);
            let mut next = if known.events > 0 { known.newest } else { NONE };
            for _ in 0..count {
                let Some(slot) = self.slot(next) else { break };
                oldest = Some(slot);
                next = slot.older;
            }
        } else {
            let mut matcher = group.matcher(&self.feeds);
            let newest = self
                .slots
                .iter()
                .rev()
                .filter(|slot| matcher.matches(slot.feed));
            oldest = newest.take(count).last();
        }
        if let Some(slot) = oldest {
            cursor.passed(
                slot.entry.previous().sequence(),
                Some(slot.entry.previous()),
            );
        }
        cursor
    }

    /// Passes the reader's next events on, and moves its cursor.
    pub(super) fn step(&self, cursor: &mut Cursor, limit: StepLimit) -> Step {
        if let Some(shared) = self.missed_changes(cursor) {
            return Step::Reset(shared);
        }
        let group = self.groups.get(cursor.group);
        let Some(start) = self.locate(cursor, group) else {
            return Step::Behind(self.floor.sequence());
        };
        if start == self.end() {
            // A reader can be ahead: where the log has dropped what the follower is still to come to.
            if cursor.sequence <= self.head.sequence() {
                cursor.reach(start, self.head);
            }
            return Step::Live;
        }
        let mut take = Take {
            entries: Vec::new(),
            bytes: 0,
            limit,
        };
        let stop = if let Some(recent) = group.recent(start) {
            self.take_all(recent, &mut take)
        } else if let Some(feed) = group.single {
            self.take_chain(feed, start, &mut take)
        } else {
            self.take_scan(group, start, &mut take)
        };
        match stop {
            Some(next) => cursor.reach(next, self.before(next)),
            None => cursor.reach(self.end(), self.head),
        }
        match take.entries.is_empty() && stop.is_none() {
            true => Step::Live,
            false => Step::Events(take.entries),
        }
    }

    /// The position of the entry before an ordinal, which is in the window or just behind it.
    fn before(&self, ordinal: u64) -> Position {
        let before = ordinal
            .checked_sub(1)
            .and_then(|ordinal| self.slot(ordinal));
        before.map_or(self.floor, |slot| slot.entry.position())
    }

    /// Where the reader goes on in the window; `None` if it has to read the log first.
    fn locate(&self, cursor: &Cursor, group: &Group) -> Option<u64> {
        match cursor.ordinal {
            Some(ordinal) if ordinal >= self.base => Some(ordinal),
            // What was evicted since is no loss where none of it was for this reader.
            Some(ordinal) if let Some(mut recent) = group.recent(ordinal) => {
                let next = recent.next().unwrap_or(self.end());
                (next >= self.base).then_some(next)
            }
            _ => (cursor.sequence >= self.floor.sequence())
                .then(|| self.ordinal_after(cursor.sequence)),
        }
    }

    /// Follows the changes of the log that the reader has not seen; where to, if it had come further.
    fn missed_changes(&self, cursor: &mut Cursor) -> Option<Position> {
        let missed = usize::try_from(self.generation - cursor.generation).unwrap_or(usize::MAX);
        if missed == 0 {
            return None;
        }
        cursor.generation = self.generation;
        cursor.ordinal = None;
        let known = self.changes.len().min(missed);
        let shared = self
            .changes
            .iter()
            .rev()
            .take(known)
            .min_by_key(|position| position.sequence())?;
        if cursor.sequence <= shared.sequence() {
            return None;
        }
        cursor.sequence = shared.sequence();
        cursor.known = *shared;
        Some(*shared)
    }

    fn take_all(&self, ordinals: impl Iterator<Item = u64>, take: &mut Take) -> Option<u64> {
        for ordinal in ordinals {
            if let Some(slot) = self.slot(ordinal)
                && take.is_full_after(&slot.entry)
            {
                return Some(ordinal + 1);
            }
        }
        None
    }

    fn take_chain(&self, feed: FeedId, start: u64, take: &mut Take) -> Option<u64> {
        let known = self.feeds.get(feed);
        let mut next = match start.checked_sub(1).and_then(|before| self.slot(before)) {
            Some(slot) if slot.feed == feed => slot.newer,
            _ if known.events == 0 => NONE,
            _ => self.first_on_chain(known.newest, start),
        };
        while let Some(slot) = self.slot(next) {
            if take.is_full_after(&slot.entry) {
                return Some(next + 1);
            }
            next = slot.newer;
        }
        None
    }

    /// The oldest event from `start` on of the feed whose newest is `newest`.
    fn first_on_chain(&self, newest: u64, start: u64) -> u64 {
        let mut first = NONE;
        let mut next = newest;
        while next != NONE
            && next >= start
            && let Some(slot) = self.slot(next)
        {
            first = next;
            next = slot.older;
        }
        first
    }

    fn take_scan(&self, group: &Group, start: u64, take: &mut Take) -> Option<u64> {
        let end = self.end().min(start + STEP_SCAN);
        let mut matcher = group.matcher(&self.feeds);
        for ordinal in start..end {
            if let Some(slot) = self.slot(ordinal)
                && matcher.matches(slot.feed)
                && take.is_full_after(&slot.entry)
            {
                return Some(ordinal + 1);
            }
        }
        (end < self.end()).then_some(end)
    }
}

impl Cursor {
    fn reach(&mut self, ordinal: u64, position: Position) {
        self.ordinal = Some(ordinal);
        self.sequence = position.sequence();
        self.known = position;
    }

    /// The sequence up to which the reader has been served.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The last position that can be told to the client.
    pub(super) fn known(&self) -> Position {
        self.known
    }

    /// Whether both stand at the same place of the same log, up to date.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.ordinal.is_some()
            && self.ordinal == other.ordinal
            && self.generation == other.generation
    }

    /// The group whose patterns it is for.
    pub(super) fn group(&self) -> GroupId {
        self.group
    }

    /// Moves on over what was read from the log.
    pub(super) fn passed(&mut self, sequence: u64, known: Option<Position>) {
        self.ordinal = None;
        self.sequence = sequence;
        self.known = known.unwrap_or(self.known);
    }

    /// Whether the log has not changed since the reader's last step.
    pub(super) fn is_of(&self, generation: u64) -> bool {
        self.generation == generation
    }
}

/// What a step gathers.
struct Take {
    entries: Vec<Arc<Entry>>,
    bytes: u64,
    limit: StepLimit,
}

impl Take {
    fn is_full_after(&mut self, entry: &Arc<Entry>) -> bool {
        self.entries.push(entry.clone());
        self.bytes += entry.cost();
        self.entries.len() >= self.limit.events || self.bytes >= self.limit.bytes
    }
}
