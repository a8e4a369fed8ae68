//! Histories with faults made by hand: each is found, or excused where the reader was told.

mod histories;

use super::missing::MAX_SKIPPED;
use super::*;
use crate::event::Timestamp;
use crate::verify::ledger::Conflict;
use crate::verify::plan::Plan;

/// The reader of all feeds, and one of a single feed.
const ALL: u32 = 2;
const ONE: u32 = 0;

struct World {
    layout: Arc<Layout>,
    ledger: Arc<Ledger>,
    sequence: u64,
}

/// An event as it was published.
#[derive(Clone, Debug)]
struct Sent {
    track: usize,
    id: Position,
    told: Told,
}

impl World {
    fn new() -> Self {
        let mut plan = Plan::new(vec!["http://h".parse().unwrap()]);
        (plan.publishers, plan.feeds, plan.readers) = (2, 4, 4);
        let layout = Arc::new(Layout::new(&plan).unwrap());
        Self {
            ledger: Arc::new(Ledger::new(layout.tracks())),
            layout,
            sequence: 0,
        }
    }

    fn reader(&self, number: u32) -> Checker {
        let mut checker = Checker::new(number, self.layout.clone(), self.ledger.clone());
        checker.hear(&said("hub:position", Position::START, "{}"));
        checker
    }

    fn send(&mut self, track: usize) -> Sent {
        let number = self.ledger.send(track);
        self.stored(track, number)
    }

    /// The event as the log takes it in next.
    fn stored(&mut self, track: usize, number: u32) -> Sent {
        self.sequence += 1;
        let id = Position::new(self.sequence, Timestamp::from_nanos(self.sequence));
        let data = self.layout.mark(track, number).data(3);
        let told = Told {
            kind: "message".to_owned(),
            feed: None,
            data,
            id: id.to_string(),
        };
        Sent { track, id, told }
    }

    fn acknowledge(&self, sent: &Sent) -> Option<Conflict> {
        let (sequence, id) = (sent.id.sequence(), Some(sent.id));
        self.ledger.acknowledge(sent.track, sequence, id)
    }

    fn publish(&mut self, track: usize) -> Sent {
        let sent = self.send(track);
        assert_eq!(self.acknowledge(&sent), None);
        sent
    }

    fn publish_all(&mut self, tracks: &[usize]) -> Vec<Sent> {
        tracks.iter().map(|track| self.publish(*track)).collect()
    }
}

fn said(kind: &str, id: Position, data: &str) -> Told {
    Told {
        kind: kind.to_owned(),
        feed: None,
        data: data.to_owned(),
        id: id.to_string(),
    }
}

/// What is sent where retention has passed what lies between two events.
fn expired(after: Position, before: Position) -> Told {
    let data = format!(r#"{{"after":"{after}","before":"{before}","reason":"expired"}}"#);
    said("hub:gap", Position::before(before.sequence()), &data)
}

/// What is sent in the place of an event that is too large.
fn too_large(after: Position, event: Position) -> Told {
    let data = format!(r#"{{"after":"{after}","before":"{event}","reason":"limit"}}"#);
    said("hub:gap", event, &data)
}

fn hear(checker: &mut Checker, events: &[Sent]) {
    for sent in events {
        checker.hear(&sent.told);
    }
}

/// What was found at the end: lost, duplicates, disordered, strays, altered.
fn end(mut checker: Checker) -> ([u64; 5], Tally) {
    checker.lose();
    let tally = checker.finish();
    (tally.faults().map(|(_, found)| found.count), tally)
}

fn ids(found: &Found) -> Vec<&str> {
    found.examples.iter().map(|one| one.id.as_str()).collect()
}

#[test]
fn a_loss_is_named_and_a_stretch_of_losses_is_one_silent_gap() {
    let mut world = World::new();
    let mut checker = world.reader(ALL);
    let sent = world.publish_all(&[0; 8]);
    hear(&mut checker, &sent[..2]);
    hear(&mut checker, &sent[4..5]);
    hear(&mut checker, &sent[6..]);
    let (found, tally) = end(checker);
    assert_eq!((found, tally.silent_gaps), ([3, 0, 0, 0, 0], 2));
    let lost = [2, 3, 5].map(|index: usize| sent[index].id.to_string());
    assert_eq!(ids(&tally.lost), lost);
    assert_eq!(tally.lost.examples[0].after, sent[1].id.to_string());
}

#[test]
fn what_does_not_come_at_the_end_is_still_to_come_and_then_lost() {
    let mut world = World::new();
    let mut checker = world.reader(ALL);
    let sent = world.publish_all(&[0, 1]);
    hear(&mut checker, &sent[..1]);
    assert_eq!(checker.outstanding(), 1);
    checker.hear(&said("hub:position", sent[0].id, "{}"));
    assert_eq!(checker.outstanding(), 1);
    let (found, tally) = end(checker);
    assert_eq!(found, [1, 0, 0, 0, 0]);
    assert_eq!(ids(&tally.lost), [sent[1].id.to_string()]);
}

#[test]
fn a_position_beyond_an_event_that_never_came_makes_it_lost() {
    let mut world = World::new();
    let mut checker = world.reader(ALL);
    let sent = world.publish_all(&[0, 1]);
    checker.hear(&said("hub:position", sent[1].id, "{}"));
    assert_eq!(checker.outstanding(), 0);
    assert!(!checker.is_complete());
    assert_eq!(end(checker).0, [2, 0, 0, 0, 0]);
}

#[test]
fn what_was_before_the_first_position_is_not_due() {
    let mut world = World::new();
    let old = world.publish_all(&[0, 1, 2, 0]);
    let mut checker = Checker::new(ALL, world.layout.clone(), world.ledger.clone());
    checker.hear(&said("hub:position", old[2].id, "{}"));
    assert_eq!(checker.outstanding(), 1);
    hear(&mut checker, &old[3..]);
    assert_eq!(end(checker).0, [0; 5]);
}

#[test]
fn an_event_of_a_feed_that_was_not_asked_for_or_that_nobody_sent_is_a_stray() {
    let mut world = World::new();
    let mut checker = world.reader(ONE);
    let own: Vec<usize> = checker.tracks().map(|(_, track)| track).collect();
    let other = (0..8).find(|track| !own.contains(track)).unwrap();
    let stray = world.publish(other);
    let unsent = world.stored(own[0], 7);
    hear(&mut checker, &[stray.clone(), unsent.clone()]);
    let (found, tally) = end(checker);
    assert_eq!(found, [0, 0, 0, 2, 0]);
    let expected = [stray, unsent].map(|sent| sent.id.to_string());
    assert_eq!(ids(&tally.strays), expected);
}

#[test]
fn an_unknown_event_comes_once_or_never_and_late_if_it_likes() {
    let mut world = World::new();
    let mut once = world.reader(ALL);
    let mut never = world.reader(ALL);
    let mut twice = world.reader(ALL);
    let unknown = world.send(0);
    world.ledger.give_up(0);
    let next = world.publish(0);
    let stored_later = world.stored(0, 1);
    hear(&mut once, &[unknown.clone(), next.clone()]);
    hear(&mut never, std::slice::from_ref(&next));
    hear(&mut twice, &[unknown, next.clone(), stored_later.clone()]);
    assert_eq!(end(once).0, [0; 5]);
    assert_eq!(end(never).0, [0; 5]);
    assert_eq!(end(twice).0, [0, 1, 0, 0, 1], "and under another id");
    let mut world = World::new();
    world.ledger.send(0);
    world.ledger.give_up(0);
    let mut late = world.reader(ALL);
    let next = world.publish(0);
    hear(&mut late, &[next, world.stored(0, 1)]);
    assert_eq!(end(late).0, [0; 5]);
}

#[test]
fn an_event_has_one_id_for_all_readers_and_for_its_publisher() {
    let mut world = World::new();
    let mut readers = [world.reader(ALL), world.reader(ALL)];
    let sent = world.publish(0);
    let mut renamed = sent.clone();
    renamed.told.id = Position::new(1, Timestamp::from_nanos(99)).to_string();
    hear(&mut readers[0], std::slice::from_ref(&sent));
    hear(&mut readers[1], std::slice::from_ref(&renamed));
    assert_eq!(readers.map(|reader| end(reader).0[4]), [0, 1]);
    // Heard before it was acknowledged.
    let mut reader = world.reader(ALL);
    let sent = world.send(1);
    hear(&mut reader, std::slice::from_ref(&sent));
    let conflict = world.ledger.acknowledge(1, sent.id.sequence() + 1, None);
    let expected = Conflict {
        reader: ALL,
        seen: sent.id,
    };
    assert_eq!(conflict, Some(expected));
}

/// A server that dies with its log, and the publisher repeats what it has no word of.
#[test]
fn an_event_that_was_repeated_into_a_new_log_may_have_another_id_there() {
    let mut world = World::new();
    let mut checker = world.reader(ALL);
    let old = world.publish_all(&[0, 1]);
    hear(&mut checker, &old);
    let pending = world.send(0);
    hear(&mut checker, std::slice::from_ref(&pending));
    checker.hear(&said("hub:reset", Position::START, "{}"));
    world.sequence = 0;
    let again = world.stored(0, 2);
    assert_ne!(again.id, pending.id);
    assert_eq!(world.acknowledge(&again), None);
    hear(&mut checker, std::slice::from_ref(&again));
    hear(&mut checker, &[world.publish(1)]);
    assert_eq!(end(checker).0, [0; 5]);
}

#[test]
fn who_stands_further_on_in_the_old_log_than_the_new_one_reaches_waits_for_the_reset() {
    let mut world = World::new();
    let mut checker = world.reader(ALL);
    let old = world.publish_all(&[0, 1, 2]);
    hear(&mut checker, &old);
    world.sequence = 0;
    let new = world.publish_all(&[0, 1]);
    assert!(!checker.is_complete());
    checker.hear(&said("hub:reset", Position::START, "{}"));
    hear(&mut checker, &new);
    assert!(checker.is_complete());
    assert_eq!(end(checker).0, [0; 5]);
}

#[test]
fn a_gap_excuses_nothing_at_its_ends() {
    for (after, before, lost) in [(0, 3, 0), (1, 3, 1), (0, 2, 1), (0, 1, 2)] {
        let mut world = World::new();
        let mut checker = world.reader(ALL);
        let sent = world.publish_all(&[0, 1, 2, 3]);
        hear(&mut checker, &sent[..1]);
        checker.hear(&expired(sent[after].id, sent[before].id));
        hear(&mut checker, &sent[3..]);
        let (found, tally) = end(checker);
        assert_eq!(found, [lost, 0, 0, 0, 0], "after {after} before {before}");
        assert_eq!((tally.gaps.count, tally.gaps.events), (1, 2 - lost));
    }
}

#[test]
fn counts_are_exact_where_more_is_skipped_than_is_kept() {
    let mut world = World::new();
    let mut checker = world.reader(ALL);
    let count = 2 * MAX_SKIPPED + 10;
    let sent = world.publish_all(&vec![0; count]);
    hear(&mut checker, &sent[count - 1..]);
    let (found, tally) = end(checker);
    assert_eq!(found[0], count as u64 - 1);
    assert_eq!(tally.lost.examples.len(), 10);
}

#[test]
fn an_event_is_held_to_its_type_and_to_the_feed_that_is_named() {
    let mut world = World::new();
    let mut checker = world.reader(ALL);
    let sent = world.publish_all(&[0, 0, 0, 0]);
    let own = world.layout.feeds[0].to_string();
    for (sent, kind, feed) in [
        (&sent[0], "message", Some(own.clone())),
        (&sent[1], "other", Some(own)),
        (&sent[2], "message", Some("other".to_owned())),
        (&sent[3], "message", None),
    ] {
        let (kind, told) = (kind.to_owned(), sent.told.clone());
        checker.hear(&Told { kind, feed, ..told });
    }
    assert_eq!(end(checker).0, [0, 0, 0, 1, 1]);
}
