//! What one reader is due, and whether it gets just that: no sockets, no clock.

mod stretches;

#[cfg(test)]
mod tests;

use super::ledger::{Ledger, Outcome, Track};
use super::mark::Mark;
use super::plan::Layout;
use super::tally::{Example, Found, Tally};
use crate::event::Position;
use crate::wire::Block;
use serde::Deserialize;
use std::sync::Arc;
use stretches::{Stretches, Why};

/// Events that were skipped and may come late, at most; of more, the first are given up for lost.
const MAX_SKIPPED: usize = 10_000;

/// What a block was.
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

#[derive(Deserialize)]
struct Envelope {
    id: String,
    feed: String,
    #[serde(rename = "type")]
    kind: String,
    data: String,
}

#[derive(Deserialize)]
struct Gap {
    after: String,
    before: String,
    reason: String,
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

    /// Takes a block that has come to its end.
    pub(super) fn hear(&mut self, block: &Block) -> Heard {
        let id = block.id.parse::<Position>().ok();
        match block.kind.as_str() {
            "hub:gap" => {
                self.gap(id, block);
                Heard::Gap
            }
            "hub:reset" => {
                self.reset(id, block);
                Heard::Reset
            }
            kind if kind.starts_with("hub:") => {
                id.into_iter().for_each(|id| self.come_to(id));
                Heard::Other
            }
            _ => {
                self.event(id, block);
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
    fn event(&mut self, id: Option<Position>, block: &Block) {
        let Some(id) = id else {
            let example = self.example(&block.id, "an event without an id of its own".to_owned());
            self.tally.altered.note(|| example);
            return;
        };
        self.base.get_or_insert(id.sequence().saturating_sub(1));
        match self.read(id, block) {
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
    fn read(&mut self, id: Position, block: &Block) -> Option<(usize, Mark)> {
        let interest = &self.layout.readers[self.reader as usize];
        let parsed = match interest.envelope {
            true => serde_json::from_str::<Envelope>(&block.data).ok(),
            false => None,
        };
        let (kind, data) = match &parsed {
            Some(envelope) => (envelope.kind.as_str(), envelope.data.as_str()),
            None => (block.kind.as_str(), block.data.as_str()),
        };
        let is_under_its_id = parsed
            .as_ref()
            .is_none_or(|envelope| envelope.id == block.id);
        let mark = Mark::parse(data).filter(|_| kind == "message" && is_under_its_id);
        let Some(mark) = mark else {
            let start: String = data.chars().take(60).collect();
            let example = self.example(&block.id, format!("this is no event as sent: {start:?}"));
            self.tally.altered.note(|| example);
            return None;
        };
        let is_known = mark.run == self.layout.run
            && mark.publisher < self.layout.publishers
            && (mark.feed as usize) < self.layout.feeds.len();
        let feed = parsed.as_ref().map(|envelope| envelope.feed.as_str());
        let is_of_its_feed = |feed| self.layout.feeds[mark.feed as usize].as_str() == feed;
        let place = self
            .place(&mark)
            .filter(|_| is_known && feed.is_none_or(is_of_its_feed));
        let was_sent = |_: &usize| {
            let track = self.layout.track(mark.feed, mark.publisher);
            (1..=self.ledger.track(track).sent()).contains(&mark.number)
        };
        match place.filter(was_sent) {
            Some(place) => Some((place, mark)),
            None => {
                let what = match is_known {
                    true => {
                        self.name(self.layout.track(mark.feed, mark.publisher), mark.number)
                            + ", which is not for this reader"
                    }
                    false => format!("an event of another run, {:016x}", mark.run),
                };
                let example = self.example(&id.to_string(), what);
                self.tally.strays.note(|| example);
                None
            }
        }
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

/// What has not come.
impl Checker {
    /// Notes what was due after the last number passed, and through this one.
    fn skip(&mut self, records: &Track, track: usize, place: usize, through: u32) {
        let passed = self.passed[place];
        let base = self.base.unwrap_or(u64::MAX);
        for number in passed.through + 1..=through {
            // What was dropped, the reader had passed before a reset.
            let Some(record) = records.get(number) else {
                continue;
            };
            let sequence = match record.outcome {
                Outcome::Acknowledged(sequence) => Some(sequence),
                Outcome::Pending | Outcome::Unknown => None,
            };
            let due = match sequence {
                Some(sequence) if number <= passed.settled || sequence <= base => continue,
                Some(sequence) => match self.told.why(sequence) {
                    Some(Why::Gap) => {
                        self.tally.gaps.events += 1;
                        continue;
                    }
                    Some(Why::Altered) => continue,
                    None => {
                        let id = record.id.map_or(sequence.to_string(), |id| id.to_string());
                        Some(self.example(&id, self.name(track, number)))
                    }
                },
                None => None,
            };
            if self.skipped.len() >= MAX_SKIPPED {
                self.give_up();
            }
            self.skipped.push(Skipped { track, number, due });
        }
    }

    fn give_up(&mut self) {
        let half = self.skipped.drain(..MAX_SKIPPED / 2);
        self.given_up += half.filter(|one| one.due.is_some()).count() as u64;
    }

    /// Passes what lies before the position that was told last and has not come: it can't come in order any more.
    pub(super) fn sweep(&mut self) {
        let Some(last) = self.last else { return };
        let ledger = self.ledger.clone();
        for (place, track) in self.tracks() {
            let records = ledger.track(track);
            let through = self.passed[place].through;
            let behind = records.acknowledged_after(through);
            let behind = behind.take_while(|(_, sequence)| *sequence <= last.sequence());
            if let Some((number, _)) = behind.last() {
                self.skip(&records, track, place, number);
                self.passed[place].through = number;
            }
        }
    }

    /// Whether nothing is due any more that could come in order.
    pub(super) fn is_complete(&mut self) -> bool {
        self.outstanding() == 0
    }

    /// What is due behind the last number passed.
    fn due<'a>(
        &'a self,
        records: &'a Track,
        place: usize,
    ) -> impl Iterator<Item = (u32, u64)> + 'a {
        let Passed {
            through, settled, ..
        } = self.passed[place];
        let base = self.base.unwrap_or(u64::MAX);
        records
            .acknowledged_after(through.max(settled))
            .filter(move |(_, sequence)| *sequence > base && self.told.why(*sequence).is_none())
    }

    /// Up to which number each of its tracks is passed for good.
    pub(super) fn passed(&self) -> impl Iterator<Item = (usize, u32)> {
        self.tracks().map(|(place, track)| {
            let passed = self.passed[place];
            (track, passed.through.max(passed.settled))
        })
    }

    /// How much is due that could still come in order.
    pub(super) fn outstanding(&mut self) -> u64 {
        self.sweep();
        let count = |(place, track)| self.due(&self.ledger.track(track), place).count() as u64;
        self.tracks().map(count).sum()
    }

    /// Takes for lost what is due behind the last number passed.
    pub(super) fn lose(&mut self) {
        let ledger = self.ledger.clone();
        for (place, track) in self.tracks() {
            let records = ledger.track(track);
            if let Some((number, _)) = records.acknowledged_after(0).last() {
                self.skip(&records, track, place, number);
            }
        }
    }

    /// What was found.
    pub(super) fn finish(&mut self) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        let mut lost: Vec<_> = std::mem::take(&mut self.skipped);
        lost.retain(|one| one.due.is_some());
        lost.sort_by_key(|one| (one.track, one.number));
        let goes_on =
            |two: &&[Skipped]| (two[0].track, two[0].number + 1) == (two[1].track, two[1].number);
        let joined = lost.windows(2).filter(goes_on).count();
        tally.silent_gaps += (lost.len() - joined) as u64 + self.given_up.min(1);
        for one in lost {
            one.due
                .into_iter()
                .for_each(|example| tally.lost.note(|| example));
        }
        tally.lost.count += std::mem::take(&mut self.given_up);
        tally.altered.add(std::mem::take(&mut self.renamed));
        tally
    }
}

/// What the hub says.
impl Checker {
    /// Excuses what lies after `after` and up to the id from which to go on: the place before the first event
    /// that is still to be had, or for the reason `limit` that of the event itself, which is left out.
    fn gap(&mut self, id: Option<Position>, block: &Block) {
        let gap = serde_json::from_str::<Gap>(&block.data).ok();
        let ends = gap.as_ref().and_then(|gap| {
            let ends = (
                gap.after.parse::<Position>(),
                gap.before.parse::<Position>(),
            );
            Some((ends.0.ok()?, ends.1.ok()?))
        });
        let (Some(id), Some((after, before)), Some(gap)) = (id, ends, gap) else {
            let example = self.example(&block.id, format!("a gap of {:?}", block.data));
            self.tally.altered.note(|| example);
            return;
        };
        let what = format!(
            "gap after {after} and before {before} ({})",
            gap.reason.escape_debug()
        );
        let example = self.example(&block.id, what);
        self.tally.gaps.note(|| example);
        self.make_room();
        let through = id.sequence().min(before.sequence());
        self.told.add(after.sequence(), through, Why::Gap);
        self.come_to(id);
        self.sweep();
    }

    fn make_room(&mut self) {
        if self.told.is_full() {
            self.sweep();
        }
    }

    /// Excuses what was acknowledged by now and has not come. All that has come may come again.
    fn reset(&mut self, id: Option<Position>, block: &Block) {
        let Some(id) = id else {
            let example = self.example(&block.id, "a reset without an id".to_owned());
            self.tally.altered.note(|| example);
            return;
        };
        let example = self.example(&block.id, "reset".to_owned());
        self.tally.resets.note(|| example);
        self.sweep();
        let skipped = self.skipped.iter().filter(|one| one.due.is_some()).count();
        let mut covered = skipped as u64 + std::mem::take(&mut self.given_up);
        let ledger = self.ledger.clone();
        for (place, track) in self.tracks() {
            let mut records = ledger.track(track);
            covered += self.due(&records, place).count() as u64;
            let (settled, sent) = (records.settled(), records.sent());
            self.passed[place] = Passed {
                through: 0,
                settled,
                sent,
            };
            // What it has seen of an event that is not acknowledged may have been of the log as it was.
            if let Some(record) = records.get_mut(sent).filter(|_| sent > settled)
                && record.seen_by == Some(self.reader)
            {
                (record.id, record.seen_by) = (None, None);
            }
        }
        self.tally.resets.events += covered;
        self.skipped.clear();
        self.renamed = Found::default();
        self.told = Stretches::default();
        self.base = Some(id.sequence());
        self.last = Some(id);
    }
}
