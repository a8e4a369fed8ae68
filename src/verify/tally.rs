//! What was found, counted, with the first of each kind as examples.

use serde::Serialize;
use std::fmt;

/// How many examples of each kind are kept.
const EXAMPLES: usize = 10;

/// An event that something is wrong with, as one reader met it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The reader's number.
    pub reader: u32,
    /// The event's id, or the id that something else has come with; where only the sequence is known, that.
    pub id: String,
    /// The last id that the reader had been told before.
    pub after: String,
    /// What it is about.
    pub what: String,
}

/// So many of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Exactly how many.
    pub count: u64,
    /// The first of them, ten at most.
    pub examples: Vec<Example>,
}

/// What was announced, as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Announced {
    /// How often, over all readers.
    pub count: u64,
    /// How many events it excuses that readers would have been due.
    pub events: u64,
    /// The first announcements, ten at most.
    pub examples: Vec<Example>,
}

/// What readers have met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Acknowledged events that a reader was due and has not had, without a word.
    pub lost: Found,
    /// In how many stretches these lie, each of consecutive numbers of one publisher on one feed: gaps that
    /// were not announced.
    pub silent_gaps: u64,
    /// Events that came again.
    pub duplicates: Found,
    /// Events that came behind later ones.
    pub disordered: Found,
    /// Events that no reader asked for, or nobody published.
    pub strays: Found,
    /// Events with other data, or under another id than elsewhere.
    pub altered: Found,
    /// Gaps that were announced.
    pub gaps: Announced,
    /// Resets that were announced.
    pub resets: Announced,
}

impl Found {
    pub(super) fn note(&mut self, example: impl FnOnce() -> Example) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.count += other.count;
        add(&mut self.examples, other.examples);
    }
}

impl Announced {
    pub(super) fn note(&mut self, example: impl FnOnce() -> Example) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.events += other.events;
        add(&mut self.examples, other.examples);
    }
}

fn add(examples: &mut Vec<Example>, others: Vec<Example>) {
    let room = EXAMPLES - examples.len();
    examples.extend(others.into_iter().take(room));
}

impl Tally {
    /// Each kind of silent fault, by its name.
    pub fn faults(&self) -> [(&'static str, &Found); 5] {
        [
            ("lost", &self.lost),
            ("doubled", &self.duplicates),
            ("out of order", &self.disordered),
            ("not asked for", &self.strays),
            ("altered", &self.altered),
        ]
    }

    pub(super) fn add(&mut self, other: Self) {
        self.lost.add(other.lost);
        self.silent_gaps += other.silent_gaps;
        self.duplicates.add(other.duplicates);
        self.disordered.add(other.disordered);
        self.strays.add(other.strays);
        self.altered.add(other.altered);
        self.gaps.add(other.gaps);
        self.resets.add(other.resets);
    }
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reader,
            id,
            after,
            what,
        } = self;
        write!(f, "reader {reader}")?;
        if id != "-" {
            write!(f, ", {id}")?;
        }
        if !after.is_empty() {
            write!(f, " after {after}")?;
        }
        write!(f, ": {what}")
    }
}
