//! What a reader may be told, and what not.

use super::line::Line;
use crate::event::{Data, Event, Patterns, Position};
use crate::hub::Signal;
use crate::wire::{GapReason, Notice, Say};

/// How many changes of the log the window tells apart.
const CHANGES: usize = 64;

/// A reader as the model sees it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) patterns: Patterns,
    /// It has been told everything up to this sequence.
    pub(super) at: u64,
    /// The last id that it was told: what it would come back with.
    pub(super) id: String,
    /// How many changes of the log it has seen, or heard of.
    pub(super) seen: usize,
    /// How far it may have come without a word.
    pub(super) reach: u64,
    /// Whether it may have seen more changes, in the middle of what it was asked.
    pub(super) vague: bool,
    /// From where it is to go on, where its id was of another log and it has not been told so yet.
    pub(super) welcome: Option<Position>,
}

/// What the hub vouches for.
pub(super) struct Told {
    /// All that its readers have been told or will be, as far as the log is known to it.
    pub(super) line: Line,
    /// The log as it is, which may be another.
    pub(super) log: Line,
    /// What it has been before: a gap may name an event of a log that is gone again.
    pub(super) passed: Vec<Line>,
    /// The highest that the log's first sequence has been since all was followed.
    pub(super) first: u64,
    /// Each change of the log that the follower has found: what both share, and whether that is nothing.
    pub(super) changes: Vec<(Position, bool)>,
    /// The last position that was followed.
    pub(super) head: Position,
    /// The window's first event.
    pub(super) oldest: Option<Position>,
}

impl Told {
    /// The next event for a reader.
    pub(super) fn next(&self, place: &Place) -> Option<Position> {
        let mut events = self
            .line
            .between(&place.patterns, place.at, self.line.last());
        Some(events.next()?.position)
    }

    /// Whether something is to come for a reader, once all has been followed.
    pub(super) fn is_pending(&self, place: &Place) -> bool {
        place.welcome.is_some() || self.reset(place).is_some() || self.next(place).is_some()
    }

    /// Whether both, at the same place of the same log, are to be told the same. Of those who are still to hear that
    /// this log has become another the next event says nothing: it is the other's, after that from which they go on.
    pub(super) fn meet(&self, one: &Place, other: &Place) -> bool {
        let is_up_to_date = |place: &Place| place.seen == self.changes.len();
        !is_up_to_date(one) || !is_up_to_date(other) || self.next(one) == self.next(other)
    }

    /// To where the changes that a reader has not seen are to take it back.
    fn reset(&self, place: &Place) -> Option<Position> {
        let newest = self.changes.len().saturating_sub(1);
        let seen = if place.vague {
            newest.max(place.seen)
        } else {
            place.seen
        };
        self.reset_after(seen, place.at)
    }

    /// To where the changes after so many take back who has come as far as `at`: the least that the logs have
    /// shared since one shared nothing with the one before.
    fn reset_after(&self, seen: usize, at: u64) -> Option<Position> {
        let missed = self.changes.len() - seen;
        let changes = &self.changes[if missed < CHANGES { seen } else { 0 }..];
        let concerned =
            |(shared, anew): &(Position, bool)| at > shared.sequence() || *anew && at > 0;
        if missed == 0 || !changes.iter().any(concerned) {
            return None;
        }
        let begin = changes.iter().rposition(|(_, anew)| *anew).unwrap_or(0);
        let shared = changes[begin..].iter().map(|(shared, _)| *shared);
        shared.reduce(|least, next| match next.sequence() < least.sequence() {
            true => next,
            false => least,
        })
    }

    /// Whether a reader that may have come further than it was told may be taken back there.
    fn may_reset(&self, place: &Place, id: Position) -> bool {
        let known = if place.vague {
            self.changes.len()
        } else {
            place.seen + 1
        };
        let mut seen = place.seen..known.min(self.changes.len());
        let reach = place.reach.max(place.at);
        seen.any(|seen| self.reset_after(seen, reach) == Some(id))
    }

    /// The reader has looked, and there was nothing for it yet.
    pub(super) fn hear_nothing(&self, place: &mut Place) {
        assert_eq!(place.welcome, None, "{place:?} was not told of its reset");
        let reset = self.reset(place);
        assert_eq!(reset, None, "{place:?} was not told, {:?}", self.changes);
        self.saw(place);
    }

    /// The reader was asked, and is in the middle of that.
    pub(super) fn asked(&self, place: &mut Place) {
        place.vague = true;
        self.passed_over(place);
    }

    /// The reader may have come further without a word.
    pub(super) fn passed_over(&self, place: &mut Place) {
        place.reach = place.reach.max(self.head.sequence());
    }

    /// The reader has come as far as there is anything.
    fn saw(&self, place: &mut Place) {
        place.seen = self.changes.len();
        place.reach = self.head.sequence().max(place.at);
        place.vague = false;
    }

    /// The reader was told something; of events the first `count` alone.
    pub(super) fn hear(&self, place: &mut Place, signal: &Signal, count: usize) {
        if let Some(welcome) = place.welcome.take() {
            let Signal::Notice(Notice { id, say }) = signal else {
                panic!("{place:?}: {signal:?}, not a reset to {welcome}");
            };
            assert_eq!((*say, *id), (Say::Reset {}, welcome), "{place:?}");
            return place.go_to(*id);
        }
        let reset = self.reset(place);
        match signal {
            Signal::Notice(Notice {
                id,
                say: Say::Reset {},
            }) => {
                assert!(
                    self.may_reset(place, *id),
                    "{place:?} was reset to {id} by {:?}, not to {reset:?}",
                    self.changes
                );
                place.go_to(*id);
                place.reach = id.sequence();
            }
            _ if reset.is_some() => panic!("{place:?}: {signal:?}, not a reset to {reset:?}"),
            Signal::Events(entries) => {
                assert!(!entries.is_empty());
                for entry in entries.iter().take(count) {
                    self.hear_event(place, entry.event());
                }
            }
            Signal::Notice(notice) => self.hear_gap(place, notice),
        }
        self.saw(place);
    }

    fn hear_event(&self, place: &mut Place, event: &Event) {
        let expected = self
            .line
            .between(&place.patterns, place.at, self.line.last())
            .next();
        let Some(expected) = expected else {
            panic!("{place:?} was told {event:?}");
        };
        assert_eq!(event.position, expected.position, "{place:?}");
        assert_eq!(event.message.feed, expected.feed);
        let data = Data::Bytes(expected.data.clone().into());
        assert_eq!(event.message.data, data);
        place.go_to(event.position);
    }

    fn hear_gap(&self, place: &mut Place, notice: &Notice) {
        let Say::Gap {
            after,
            before,
            reason,
        } = notice.say
        else {
            panic!("{place:?}: {notice:?}");
        };
        assert_eq!(reason, GapReason::Expired);
        if after.to_string() != place.id {
            self.check(after); // else it is the client's own, which may be of no log
        }
        self.check(before);
        let told: Position = place.id.parse().unwrap_or(Position::before(place.at + 1));
        let passed_over = self
            .line
            .between(&place.patterns, place.at, after.sequence())
            .next();
        assert!(
            after.sequence() >= told.sequence() && passed_over.is_none(),
            "{place:?}: {notice:?}, but {passed_over:?}"
        );
        let nothing_held = before == notice.id; // then all is missing, up to there and with it
        let missing = before.sequence() + u64::from(nothing_held);
        assert!(
            missing > after.sequence() + 1 && notice.id.sequence() >= place.at,
            "{place:?}: {notice:?}, but nothing is missing"
        );
        let in_window = self
            .oldest
            .is_some_and(|oldest| oldest.sequence() < before.sequence());
        assert!(
            missing <= self.first && !in_window,
            "{place:?}: {notice:?}, but the log begins with {}, and the window with {:?}",
            self.first,
            self.oldest
        );
        if !nothing_held {
            assert_eq!(notice.id, Position::before(before.sequence()));
        }
        place.go_to(notice.id);
    }

    /// The reader was told that there is nothing for it up to here.
    pub(super) fn hear_position(&self, place: &mut Place, id: Position) {
        self.hear_nothing(place);
        self.check(id);
        let missed = self
            .line
            .between(&place.patterns, place.at, id.sequence())
            .next();
        assert!(missed.is_none(), "{place:?} has not been told {missed:?}");
        assert!(
            id.sequence() >= place.at,
            "{place:?} was taken back to {id}"
        );
        place.go_to(id);
    }

    /// A position that is no event's has no check, and stands for the place before the next.
    pub(super) fn check(&self, position: Position) {
        let sequence = position.sequence();
        let is_of = |line: &Line| match position.has_check() {
            true => line.at(sequence).map(|event| event.position) == Some(position),
            false => sequence <= line.last() + 1,
        };
        assert!(
            is_of(&self.line) || is_of(&self.log) || self.passed.iter().any(is_of),
            "{position} is of no log"
        );
    }

    /// Whether who comes with an id is to be told that it is of another log, where the window holds what follows
    /// `floor`, and all has been followed.
    pub(super) fn is_foreign(&self, id: &str, floor: Position, head: Position) -> bool {
        let Ok(id) = id.parse::<Position>() else {
            return true;
        };
        let sequence = id.sequence();
        let known = self.line.at(sequence).map(|event| event.position);
        if [Some(Position::START), Some(floor), Some(head), known].contains(&Some(id)) {
            return false;
        }
        // A place without a check is one where the log held nothing any more, though the window may.
        let at_hand = id.has_check() && known.is_some() && sequence > floor.sequence();
        sequence > self.log.last() || self.log.held(sequence).is_some() || at_hand
        // Else what stood there is gone: there is a gap, or nothing was missed.
    }
}

impl Place {
    fn go_to(&mut self, id: Position) {
        self.at = id.sequence();
        self.id = id.to_string();
    }
}
