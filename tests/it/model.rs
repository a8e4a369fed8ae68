//! Random publishers, readers and evictions against a naive model of what each reader must be told.
//!
//! The model keeps every event for ever. A reader's next event is the first one in it after the reader's
//! place that one of its patterns matches; nothing else will do, but for a gap with right bounds, or a reset.

mod http;
mod hub;

use fastrand::Rng;
use tidings::event::{Feed, Message, Pattern, Patterns, Position};
use tidings::log::{Append, Log};

const FEEDS: [&str; 7] = ["a", "a.b", "a.c", "a.b.c", "b", "b.b", "b.c.a"];
const PATTERNS: [&str; 12] = [
    "a", "a.b", "b.c.a", "none", "*", "a.*", "*.b", "*.*", "a.>", "b.>", "*.b.>", ">",
];

/// Every event that there ever was, and how many of them the log keeps.
struct Model {
    events: Vec<Past>,
    kept: usize,
}

#[derive(Clone, Debug)]
struct Past {
    position: Position,
    feed: Feed,
    data: String,
}

/// A reader as the model sees it.
#[derive(Clone, Debug)]
struct Place {
    patterns: Patterns,
    /// It has been told everything up to this sequence.
    at: u64,
    /// The last id that it was told: what it would come back with.
    id: String,
}

/// What a joining reader is to be told first.
#[derive(Debug, PartialEq, Eq)]
enum Welcome {
    /// Nothing but its own id.
    Welcome,
    /// That its id is not of this log.
    Reset,
}

impl Model {
    fn new(kept: usize) -> Self {
        let events = Vec::new();
        Self { events, kept }
    }

    /// The last sequence.
    fn last(&self) -> u64 {
        self.events.len() as u64
    }

    /// The first sequence that the log holds.
    fn first(&self) -> u64 {
        self.last() + 1 - self.events.len().min(self.kept) as u64
    }

    fn event(&self, sequence: u64) -> Option<&Past> {
        let index = usize::try_from(sequence.checked_sub(1)?).ok()?;
        self.events.get(index)
    }

    /// Puts an event on a random feed, into the log and here.
    async fn append(&mut self, log: &Log, rng: &mut Rng) {
        let feed: Feed = FEEDS[rng.usize(..FEEDS.len())].parse().unwrap();
        let data = format!("{} on {feed}", self.last() + 1);
        let append = Append {
            message: Message::new(feed.clone(), data.clone()),
            idempotency_key: None,
        };
        let appended = log.append(append).await.expect("a log in memory takes it");
        assert_eq!(appended.sequence, self.last() + 1);
        let position = log.position_at(appended.sequence).await.unwrap();
        let position = position.expect("the log has it");
        self.events.push(Past {
            position,
            feed,
            data,
        });
    }

    /// The events of these patterns after a sequence, up to another.
    fn between(
        &self,
        patterns: &Patterns,
        after: u64,
        through: u64,
    ) -> impl Iterator<Item = &Past> {
        let range = usize::try_from(after).unwrap()..usize::try_from(through.max(after)).unwrap();
        self.events[range]
            .iter()
            .filter(|event| patterns.matches(&event.feed))
    }

    /// Whether something is to come for a reader, now that all has been followed.
    fn is_pending(&self, place: &Place) -> bool {
        self.between(&place.patterns, place.at, self.last())
            .next()
            .is_some()
    }

    /// A position that is no event's has no check, and stands for the place before the next.
    fn check_position(&self, position: Position) {
        let sequence = position.sequence();
        match position.has_check() {
            true => assert_eq!(
                Some(position),
                self.event(sequence).map(|event| event.position)
            ),
            false => assert!(sequence <= self.last(), "{position} has not been yet"),
        }
    }

    /// The reader was told an event.
    fn hear_event(&self, place: &mut Place, id: &str, feed: Option<&str>, data: &str) {
        let expected = self.between(&place.patterns, place.at, self.last()).next();
        let expected = expected.unwrap_or_else(|| panic!("{place:?} was told {id}: {data}"));
        assert_eq!(id, expected.position.to_string(), "{place:?}");
        assert_eq!(data, expected.data);
        assert!(feed.is_none_or(|feed| feed == expected.feed.as_str()));
        place.at = expected.position.sequence();
        id.clone_into(&mut place.id);
    }

    /// The reader was told that the log does not hold what lies between two positions.
    fn hear_gap(&self, place: &mut Place, id: Position, after: Position, before: Position) {
        if after.to_string() != place.id {
            self.check_position(after); // else it is the client's own, which may be of no log
        }
        self.check_position(before);
        let told: Position = place.id.parse().unwrap_or(Position::before(place.at + 1));
        assert!(
            after.sequence() >= told.sequence(),
            "{place:?}: told of a gap after {after} and before {before}, and to go on from {id}"
        );
        let passed_over = self
            .between(&place.patterns, place.at, after.sequence())
            .next();
        assert!(
            passed_over.is_none(),
            "{place:?}: {passed_over:?} is not in the gap after {after}"
        );
        assert!(
            before.sequence() > after.sequence() + 1,
            "from {after} to {before} nothing is missing"
        );
        assert!(
            before.sequence() <= self.first(),
            "{place:?}: the log holds events before {before}, from {} on",
            self.first()
        );
        assert_eq!(
            id,
            Position::before(before.sequence()),
            "after the gap comes {before}"
        );
        self.hear_position(place, id);
    }

    /// The reader was told that the log is not the one which it knows.
    fn hear_reset(&self, place: &mut Place, id: Position) {
        assert!(!id.has_check(), "{id}");
        assert!(
            id.sequence() < self.first(),
            "{id} is not before the log's first event, {}",
            self.first()
        );
        place.at = id.sequence();
        place.id = id.to_string();
    }

    /// The reader was told that there is nothing for it up to here.
    fn hear_position(&self, place: &mut Place, id: Position) {
        self.check_position(id);
        assert!(
            id.sequence() >= place.at,
            "{place:?} was taken back to {id}"
        );
        place.at = id.sequence();
        place.id = id.to_string();
    }

    /// What a reader that comes with an id is to be told, where the window reaches back to `floor`.
    fn welcome(&self, id: &str, floor: u64) -> Welcome {
        let Ok(id) = id.parse::<Position>() else {
            return Welcome::Reset;
        };
        // A place without a check is one where the log held nothing any more, though the window may.
        let held = id.sequence() >= self.first() || id.has_check() && id.sequence() > floor;
        let known = self.event(id.sequence()).map(|event| event.position);
        match id {
            Position::START => Welcome::Welcome,
            id if known == Some(id) => Welcome::Welcome,
            id if id.sequence() > self.last() || held => Welcome::Reset,
            _ => Welcome::Welcome, // what stood there is gone: there is a gap, or nothing was missed
        }
    }
}

/// One to four patterns.
fn patterns(rng: &mut Rng) -> Patterns {
    let some = (0..=rng.usize(..4)).map(|_| PATTERNS[rng.usize(..PATTERNS.len())]);
    let some: Vec<Pattern> = some.map(|text| text.parse().unwrap()).collect();
    Patterns::new(some, 4).unwrap()
}

/// How often a reader listens, if there is so much for it: until it has heard all, or a few times.
fn patience(rng: &mut Rng) -> usize {
    match rng.bool() {
        true => usize::MAX,
        false => rng.usize(..4),
    }
}

/// The id of an event, or one like it that is of no log.
fn some_id(model: &Model, rng: &mut Rng) -> String {
    let sequence = rng.u64(1..=model.last() + 3);
    match (rng.u8(..8), model.event(sequence)) {
        (0, _) => "nonsense".to_owned(),
        (1, _) => format!("{sequence}-abcdef"),
        (2, _) if sequence > 1 => Position::before(sequence).to_string(),
        (3, _) => "0-0".to_owned(),
        (_, Some(event)) => event.position.to_string(),
        (_, None) => format!("{sequence}-zzzzzz"),
    }
}
