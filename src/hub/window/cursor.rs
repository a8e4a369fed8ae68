//! A reader's way through the window.

use super::{Change, NONE, Window};
use crate::event::{Patterns, Position};
use crate::hub::bell::Bell;
use crate::hub::entry::Entry;
use crate::hub::feeds::FeedId;
use crate::hub::groups::{Group, GroupId};
use std::sync::Arc;

/// How many entries a step of a reader passes over at most, so that no lock is held for long.
const STEP_SCAN: u64 = 16_384;

/// How much a reader takes in one step.
#[derive(Clone, Copy, Debug)]
pub(in crate::hub) struct StepLimit {
    /// Events.
    pub(in crate::hub) events: usize,
    /// Bytes of the events as they are in memory.
    pub(in crate::hub) bytes: u64,
}

/// How far a reader has come.
#[derive(Clone, Debug)]
pub(in crate::hub) struct Cursor {
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
pub(in crate::hub) enum Step {
    /// The next events; there may be none yet, and more to pass over.
    Events(Vec<Arc<Entry>>),
    /// All is passed on, up to the head.
    Live,
    /// The window does not reach back to the cursor: read the log up to this sequence.
    Behind(u64),
    /// The log has changed, and the reader goes on from this position, which both logs share.
    Reset(Position),
}

impl Window {
    /// Adds a reader that has had everything up to and including `after`.
    pub(in crate::hub) fn join(&mut self, patterns: &Patterns, after: Position) -> Cursor {
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
    pub(in crate::hub) fn fork(&mut self, cursor: &Cursor) -> Cursor {
        self.groups.add_member(cursor.group);
        cursor.clone()
    }

    pub(in crate::hub) fn leave(&mut self, cursor: &Cursor) {
        self.groups.leave(cursor.group, &mut self.feeds);
    }

    pub(in crate::hub) fn bell(&self, cursor: &Cursor) -> Arc<Bell> {
        self.groups.get(cursor.group).bell.clone()
    }

    /// Adds a reader that is to begin with the newest `count` events of its patterns, as far as the window
    /// reaches.
    pub(in crate::hub) fn join_last(&mut self, patterns: &Patterns, count: usize) -> Cursor {
        let mut cursor = self.join(patterns, self.head);
        if count == 0 {
            return cursor;
        }
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
    pub(in crate::hub) fn step(&self, cursor: &mut Cursor, limit: StepLimit) -> Step {
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
        let seen = self.changes.len().saturating_sub(missed);
        let changes = self.changes.iter().skip(seen).copied();
        let change = changes.reduce(Change::and_then)?;
        if !change.concerns(cursor.sequence) {
            return None;
        }
        cursor.sequence = change.shared.sequence();
        cursor.known = change.shared;
        Some(change.shared)
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
    pub(in crate::hub) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The last position that can be told to the client.
    pub(in crate::hub) fn known(&self) -> Position {
        self.known
    }

    /// Whether both stand at the same place of the same log, up to date.
    pub(in crate::hub) fn meets(&self, other: &Self) -> bool {
        self.ordinal.is_some()
            && self.ordinal == other.ordinal
            && self.generation == other.generation
    }

    /// The group whose patterns it is for.
    pub(in crate::hub) fn group(&self) -> GroupId {
        self.group
    }

    /// How often the log had changed at the reader's last step.
    pub(in crate::hub) fn generation(&self) -> u64 {
        self.generation
    }

    /// Moves on over what was read from the log.
    pub(in crate::hub) fn passed(&mut self, sequence: u64, known: Option<Position>) {
        self.ordinal = None;
        self.sequence = sequence;
        self.known = known.unwrap_or(self.known);
    }

    /// Whether the log has not changed since the reader's last step.
    pub(in crate::hub) fn is_of(&self, generation: u64) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Message, Timestamp};
    use crate::hub::window::{CHANGES, WindowLimits};

    const ALL: StepLimit = StepLimit {
        events: 100,
        bytes: 1 << 20,
    };

    fn event(sequence: u64) -> Arc<Event> {
        let time = Timestamp::from_nanos(sequence);
        Arc::new(Event {
            position: Position::new(sequence, time),
            time,
            message: Message::new("a".parse().unwrap(), "1"),
        })
    }

    /// A window of the events 1 to 9, and a reader that has had those up to `sequence`.
    fn reading(sequence: u64) -> (Window, Cursor) {
        let mut window = Window::new(WindowLimits {
            bytes: 1 << 20,
            events: 100,
        });
        window.extend((1..=9).map(event).collect());
        let patterns = Patterns::from("a".parse::<crate::event::Pattern>().unwrap());
        let after = match sequence {
            0 => Position::START,
            sequence => event(sequence).position,
        };
        let cursor = window.join(&patterns, after);
        (window, cursor)
    }

    fn reset(window: &Window, cursor: &mut Cursor) -> Option<Position> {
        match window.step(cursor, ALL) {
            Step::Reset(position) => Some(position),
            _ => None,
        }
    }

    #[test]
    fn a_log_made_anew_is_told_to_all_who_have_had_anything_wherever_it_begins() {
        for (sequence, told) in [(0, false), (2, true), (4, true), (5, true), (9, true)] {
            let (mut window, mut cursor) = reading(sequence);
            window.change(Position::before(5), true);
            let told = told.then_some(Position::before(5));
            assert_eq!(reset(&window, &mut cursor), told, "at {sequence}");
            assert_eq!(reset(&window, &mut cursor), None, "at {sequence}");
        }
    }

    #[test]
    fn a_log_rolled_back_is_told_to_those_beyond_what_both_share() {
        for (sequence, told) in [(0, false), (4, false), (5, true), (9, true)] {
            let (mut window, mut cursor) = reading(sequence);
            let shared = event(4).position;
            window.change(shared, false);
            let told = told.then_some(shared);
            assert_eq!(reset(&window, &mut cursor), told, "at {sequence}");
        }
    }

    #[test]
    fn who_has_missed_many_changes_goes_on_in_the_log_as_it_is_now() {
        for rollbacks in [1, CHANGES, 2 * CHANGES] {
            let (mut window, mut cursor) = reading(3);
            window.change(Position::before(1), true);
            window.change(Position::before(5), true);
            for _ in 0..rollbacks {
                window.change(Position::before(5), false);
            }
            let told = reset(&window, &mut cursor);
            assert_eq!(told, Some(Position::before(5)), "after {rollbacks}");
        }
    }
}
