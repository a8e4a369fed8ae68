//! What one reader is due, and whether it gets just that: no sockets, no clock.

mod missing;
mod notices;
mod stretches;

#[cfg(test)]
mod tests;

use super::form::Told;
use super::ledger::{Ledger, Outcome, Track};
use super::mark::Mark;
use super::plan::Layout;
use super::tally::{Example, Found, Tally};
use crate::event::Position;
use std::sync::Arc;
use stretches::{Stretches, Why};

/// How many characters are shown of what is no event.
const SHOWN: usize = 60;

/// What a reader was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Event,
    Gap,
    Reset,
    Other,
}

/// One reader's account, through all its connections.
///
/// For each track it keeps the last number that it has passed, and apart from that only what was skipped.
#[derive(Debug)]
pub(super) struct Checker {
    reader: u32,
    layout: Arc<Layout>,
    ledger: Arc<Ledger>,
    /// What comes after this sequence is due; `None` before the first position was told.
    base: Option<u64>,
    /// The furthest position that was told.
    last: Option<Position>,
    /// By place of the feed among the reader's, then by publisher.
    passed: Vec<Passed>,
    /// Stretches of the log about which everything is told already.
    told: Stretches,
    skipped: Vec<Skipped>,
    /// Skipped events that were given up for lost.
    given_up: u64,
    /// Events under other ids than elsewhere. A reset that comes later explains them.
    renamed: Found,
    tally: Tally,
}

/// How far a reader is on a track.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    /// Up to this number all have come or were skipped, since the last reset.
    through: u32,
    /// Up to this number all were acknowledged before the last reset: they may come again, or not.
    settled: u32,
    /// Up to this number all were sent before the last reset: those after `settled` may have got a new id.
    sent: u32,
}

/// An event that has not come, though a later one has.
#[derive(Clone, Debug)]
struct Skipped {
    track: usize,
    number: u32,
    /// `None` where it is not known whether the log has it.
    due: Option<Example>,
}

/// What can be wrong with an event before it is known which it is.
enum Wrong {
    Altered(String),
    Stray(String),
}

impl Checker {
    pub(super) fn new(reader: u32, layout: Arc<Layout>, ledger: Arc<Ledger>) -> Self {
        let feeds = layout.readers[reader as usize].feeds.len();
        let passed = vec![Passed::default(); feeds * layout.publishers as usize];
        Self {
            reader,
            layout,
            ledger,
            base: None,
            last: None,
            passed,
            told: Stretches::default(),
            skipped: Vec::new(),
            given_up: 0,
            renamed: Found::default(),
            tally: Tally::default(),
        }
    }

    /// Whether it was told where it begins.
    pub(super) fn has_begun(&self) -> bool {
        self.base.is_some()
    }

    /// The last id that it was told.
    pub(super) fn last(&self) -> String {
        self.last.map_or_else(String::new, |last| last.to_string())
    }

    /// The sequence of that; 0 before the first.
    pub(super) fn sequence(&self) -> u64 {
        self.last.map_or(0, Position::sequence)
    }

    /// Takes what the reader was told.
    pub(super) fn hear(&mut self, told: &Told) -> Heard {
        let id = told.id.parse::<Position>().ok();
        match told.kind.as_str() {
            "hub:gap" => {
                self.gap(id, told);
                Heard::Gap
            }
            "hub:reset" => {
                self.reset(id, told);
                Heard::Reset
            }
            kind if kind.starts_with("hub:") => {
                id.into_iter().for_each(|id| self.come_to(id));
                Heard::Other
            }
            _ => {
                self.event(id, told);
                Heard::Event
            }
        }
    }

    fn come_to(&mut self, id: Position) {
        self.base.get_or_insert(id.sequence());
        if self
            .last
            .is_none_or(|last| last.sequence() <= id.sequence())
        {
            self.last = Some(id);
        }
    }

    fn example(&self, id: &str, what: String) -> Example {
        Example {
            reader: self.reader,
            id: id.to_owned(),
            after: self.last(),
            what,
        }
    }

    /// What an event was, for an example.
    fn name(&self, track: usize, number: u32) -> String {
        let mark = self.layout.mark(track, number);
        let feed = &self.layout.feeds[mark.feed as usize];
        format!("event {number} of publisher {} on {feed}", mark.publisher)
    }

    /// The reader's tracks: the place of each, and its number in the ledger.
    fn tracks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (layout, reader) = (self.layout.clone(), self.reader as usize);
        let publishers = layout.publishers;
        (0..self.passed.len()).map(move |place| {
            let (index, publisher) = (
                place / publishers as usize,
                (place % publishers as usize) as u32,
            );
            let feed = layout.readers[reader].feeds[index];
            (place, layout.track(feed, publisher))
        })
    }

    /// Where a track is among the reader's own; `None` where it did not ask for the feed.
    fn place(&self, mark: &Mark) -> Option<usize> {
        let feeds = &self.layout.readers[self.reader as usize].feeds;
        let index = feeds.binary_search(&mark.feed).ok()?;
        Some(index * self.layout.publishers as usize + mark.publisher as usize)
    }
}

/// Events.
impl Checker {
    fn event(&mut self, id: Option<Position>, told: &Told) {
        let Some(id) = id else {
            let example = self.example(&told.id, "an event without an id of its own".to_owned());
            self.tally.altered.note(|| example);
            return;
        };
        self.base.get_or_insert(id.sequence().saturating_sub(1));
        match self.read(id, told) {
            Some((place, mark)) => self.take(id, place, &mark),
            None => {
                // It stands for what was to come there, which is not lost beside.
                let sequence = id.sequence();
                self.make_room();
                self.told
                    .add(sequence.saturating_sub(1), sequence, Why::Altered);
            }
        }
        self.come_to(id);
    }

    /// Which event it is, and its place; else it is noted what is wrong with it.
    fn read(&mut self, id: Position, told: &Told) -> Option<(usize, Mark)> {
        let found = decode(told);
        let found = found.and_then(|mark| Ok((self.find(&mark, told.feed.as_deref())?, mark)));
        let wrong = match found {
            Ok(found) => return Some(found),
            Err(wrong) => wrong,
        };
        let (Wrong::Altered(what) | Wrong::Stray(what)) = &wrong;
        let example = self.example(&id.to_string(), what.clone());
        match wrong {
            Wrong::Altered(_) => self.tally.altered.note(|| example),
            Wrong::Stray(_) => self.tally.strays.note(|| example),
        }
        None
    }

    /// The place of an event that was sent, and that the reader has asked for.
    fn find(&self, mark: &Mark, feed: Option<&str>) -> Result<usize, Wrong> {
        let is_known = mark.run == self.layout.run
            && mark.publisher < self.layout.publishers
            && (mark.feed as usize) < self.layout.feeds.len();
        if !is_known {
            let what = format!("an event of another run, {:016x}", mark.run);
            return Err(Wrong::Stray(what));
        }
        let track = self.layout.track(mark.feed, mark.publisher);
        let own = self.layout.feeds[mark.feed as usize].as_str();
        let is_of_its_feed = feed.is_none_or(|feed| feed == own);
        let was_sent = (1..=self.ledger.track(track).sent()).contains(&mark.number);
        let place = self.place(mark).filter(|_| is_of_its_feed && was_sent);
        place.ok_or_else(|| {
            let name = self.name(track, mark.number);
            Wrong::Stray(format!(
                "{name}, which is not for this reader or was never sent"
            ))
        })
    }

    fn take(&mut self, id: Position, place: usize, mark: &Mark) {
        let track = self.layout.track(mark.feed, mark.publisher);
        let (ledger, number) = (self.ledger.clone(), mark.number);
        let mut records = ledger.track(track);
        let rises = self.last.is_none_or(|last| last.sequence() < id.sequence());
        let passed = self.passed[place];
        let fault = match number <= passed.through {
            true => match self.take_skipped(track, number) {
                Some(skipped) if skipped.due.is_none() && rises => None,
                Some(_) => Some(true),
                None if number <= passed.settled && rises => None,
                None => Some(false),
            },
            false => {
                self.skip(&records, track, place, number - 1);
                self.passed[place].through = number;
                (!rises).then_some(true)
            }
        };
        if let Some(is_disordered) = fault {
            let example = self.example(&id.to_string(), self.name(track, number));
            match is_disordered {
                true => self.tally.disordered.note(|| example),
                false => self.tally.duplicates.note(|| example),
            }
        }
        self.compare(&mut records, track, number, passed, id);
    }

    fn take_skipped(&mut self, track: usize, number: u32) -> Option<Skipped> {
        let is_it = |one: &Skipped| (one.track, one.number) == (track, number);
        let index = self.skipped.iter().position(is_it)?;
        Some(self.skipped.swap_remove(index))
    }

    /// The id is the same for all readers, and the one with which it was acknowledged.
    fn compare(
        &mut self,
        records: &mut Track,
        track: usize,
        number: u32,
        passed: Passed,
        id: Position,
    ) {
        let Some(record) = records.get_mut(number) else {
            return;
        };
        let is_settled = record.outcome != Outcome::Pending;
        let may_be_renamed = number <= passed.settled || (number <= passed.sent && !is_settled);
        let is_same = match (record.id, record.outcome) {
            (Some(known), _) => known == id,
            (None, Outcome::Acknowledged(sequence)) => sequence == id.sequence(),
            (None, Outcome::Pending | Outcome::Unknown) => true,
        };
        if record.id.is_none() || (may_be_renamed && !is_settled) {
            (record.id, record.seen_by) = (Some(id), Some(self.reader));
        } else if !is_same && !may_be_renamed {
            let known = record.id.map(|id| id.to_string()).unwrap_or_default();
            let what = format!("{}, which is {known} elsewhere", self.name(track, number));
            let example = self.example(&id.to_string(), what);
            self.renamed.note(|| example);
        }
    }

    /// This reader has seen an event under another id than it was then acknowledged with.
    pub(super) fn conflict(&mut self, track: usize, number: u32, seen: Position) {
        let what = format!("{}, acknowledged under another", self.name(track, number));
        let example = self.example(&seen.to_string(), what);
        self.renamed.note(|| example);
    }
}

/// What its data says.
fn decode(told: &Told) -> Result<Mark, Wrong> {
    let mark = Mark::parse(&told.data).filter(|_| told.kind == "message");
    mark.ok_or_else(|| {
        let start: String = told.data.chars().take(SHOWN).collect();
        Wrong::Altered(format!("this is no event as sent: {start:?}"))
    })
}
