//! What was published: each event with what is known of it, until all readers have passed it.

use crate::event::Position;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Records that are kept at most, some 50 MB of them. Publishers wait where there are as many.
const MAX_KEPT: usize = 1_000_000;

/// What is known of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is being sent.
    Pending,
    /// The log has it, at this sequence.
    Acknowledged(u64),
    /// It may be in the log or not.
    Unknown,
}

/// An event that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) outcome: Outcome,
    /// Its id, once it was acknowledged with one or a reader has seen it.
    pub(super) id: Option<Position>,
    /// The reader whose word the id is.
    pub(super) seen_by: Option<u32>,
}

/// The events of one publisher on one feed, numbered from 1 on.
#[derive(Debug, Default)]
pub(super) struct Track {
    /// How many were dropped from the front.
    dropped: u32,
    records: VecDeque<Record>,
}

/// A reader has seen an event under another id than that under which it was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) reader: u32,
    pub(super) seen: Position,
}

/// All tracks of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    tracks: Vec<Mutex<Track>>,
    kept: AtomicUsize,
}

impl Ledger {
    pub(super) fn new(tracks: usize) -> Self {
        Self {
            tracks: (0..tracks).map(|_| Mutex::default()).collect(),
            kept: AtomicUsize::new(0),
        }
    }

    pub(super) fn track(&self, track: usize) -> MutexGuard<'_, Track> {
        self.tracks[track].lock()
    }

    pub(super) fn is_full(&self) -> bool {
        self.kept.load(Relaxed) >= MAX_KEPT
    }

    /// The number of the next event of a track, which is about to be sent.
    pub(super) fn send(&self, track: usize) -> u32 {
        self.kept.fetch_add(1, Relaxed);
        let mut track = self.track(track);
        track.records.push_back(Record {
            outcome: Outcome::Pending,
            id: None,
            seen_by: None,
        });
        track.sent()
    }

    /// Notes that the log has the event which was sent last.
    pub(super) fn acknowledge(
        &self,
        track: usize,
        sequence: u64,
        id: Option<Position>,
    ) -> Option<Conflict> {
        let mut track = self.track(track);
        let record = track.records.back_mut()?;
        record.outcome = Outcome::Acknowledged(sequence);
        let seen = record.id.zip(record.seen_by);
        if id.is_some() {
            (record.id, record.seen_by) = (id, None);
        }
        let (seen, reader) = seen?;
        let is_same = id.map_or(seen.sequence() == sequence, |id| id == seen);
        (!is_same).then_some(Conflict { reader, seen })
    }

    /// Notes that nobody can tell whether the log has the event which was sent last.
    pub(super) fn give_up(&self, track: usize) {
        if let Some(record) = self.track(track).records.back_mut() {
            record.outcome = Outcome::Unknown;
        }
    }

    /// Drops what all readers have passed.
    pub(super) fn drop_through(&self, track: usize, number: u32) {
        let mut track = self.track(track);
        let settled = track.settled();
        while track.dropped < number.min(settled) {
            track.records.pop_front();
            track.dropped += 1;
            self.kept.fetch_sub(1, Relaxed);
        }
    }
}

impl Track {
    /// The last number that was sent.
    pub(super) fn sent(&self) -> u32 {
        self.dropped + u32::try_from(self.records.len()).unwrap_or(u32::MAX)
    }

    /// The last number whose outcome is known, or is known to be unknown.
    pub(super) fn settled(&self) -> u32 {
        let pending = self.records.back().map(|record| record.outcome) == Some(Outcome::Pending);
        self.sent() - u32::from(pending)
    }

    /// `None` where it was dropped, or not sent yet.
    pub(super) fn get(&self, number: u32) -> Option<&Record> {
        let index = number.checked_sub(self.dropped + 1)?;
        self.records.get(index as usize)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Record> {
        let index = number.checked_sub(self.dropped + 1)?;
        self.records.get_mut(index as usize)
    }

    /// The acknowledged events after a number, and their sequences.
    pub(super) fn acknowledged_after(&self, number: u32) -> impl Iterator<Item = (u32, u64)> {
        let first = number.max(self.dropped) + 1;
        (first..=self.settled()).filter_map(|number| match self.get(number)?.outcome {
            Outcome::Acknowledged(sequence) => Some((number, sequence)),
            Outcome::Pending | Outcome::Unknown => None,
        })
    }
}
