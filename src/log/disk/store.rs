//! The store: a file of redb's, in which one transaction is one `fsync` for all that it holds.

use super::place::{Identity, Place};
use super::record;
use super::scan::Scan;
use super::trouble::Trouble;
use crate::event::{Position, Timestamp};
use crate::log::keys::KeyDigest;
use crate::log::{Batch, Limit, Range, Select};
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of what is described here: the tables, and what stands in them.
const VERSION: u32 = 1;

/// By name: `version`, a number in decimal digits, and `state`, a sealed [`State`].
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// By sequence: the event, as in [`record`].
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
/// By sequence: the idempotency key under which it was stored, a sealed [`StoredKey`].
const KEYS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("keys");

/// How many events one transaction drops at most, since publishers wait for it.
const DROPS: u64 = 4096;
/// As large as what has to fit before a full disk is taken to have room again.
const PROBE: usize = 1 << 20;
/// What an event costs beside its record, in bytes.
const EVENT_OVERHEAD: u64 = 16;

/// The store, open.
pub(super) struct Store {
    database: Database,
    /// Why it can't be written, where it can't.
    unwritable: Option<Trouble>,
    place: Place,
    identity: Identity,
}

/// How far the log reaches; sealed in every transaction with what it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// When the log was created, in nanoseconds since the Unix epoch.
    pub(super) created: u64,
    /// The first sequence that is held; `last + 1` where none is.
    pub(super) first: u64,
    /// The last sequence that was given out, and its time; 0 where none was.
    pub(super) last: u64,
    pub(super) last_time: u64,
    /// Bytes of all that is held.
    pub(super) bytes: u64,
}

/// An idempotency key, and when it was used.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct StoredKey {
    pub(super) digest: KeyDigest,
    pub(super) time: u64,
}

/// What is held at most; what is over goes from the oldest on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    /// Events stored before this go, in nanoseconds since the Unix epoch.
    pub(super) before: u64,
    pub(super) bytes: u64,
    pub(super) events: u64,
}

/// What one transaction adds.
#[derive(Debug, Default)]
pub(super) struct Addition {
    /// Records, in order and one sequence after the other.
    pub(super) records: Vec<Vec<u8>>,
    /// The time of the last of them.
    pub(super) last_time: u64,
    /// Keys, by the sequence at which they were used.
    pub(super) keys: Vec<(u64, StoredKey)>,
    /// Keys used before this sequence are needed no more.
    pub(super) keys_from: u64,
}

impl Store {
    /// Opens the file, which is made where there is none and `may_make` says so.
    pub(super) fn open(place: &Place, cache_bytes: usize, may_make: bool) -> Result<Self, Trouble> {
        if may_make && place.is_new()? {
            place.make(&Database::builder(), initialise)?;
        }
        Self {
            database: place.open(Database::builder().set_cache_size(cache_bytes))?,
            unwritable: None,
            identity: place.identity()?,
            place: place.clone(),
        }
        .checked()
    }

    /// Opens the file for reading alone, and says why.
    pub(super) fn open_untouched(
        place: &Place,
        cache_bytes: usize,
        why: Trouble,
    ) -> Result<Self, Trouble> {
        Self {
            database: place.open_untouched(Database::builder().set_cache_size(cache_bytes))?,
            unwritable: Some(why),
            identity: place.identity()?,
            place: place.clone(),
        }
        .checked()
    }

    /// Removes or replaces records, as a disk may.
    #[cfg(test)]
    pub(super) fn damage(&self, places: &[(u64, Option<&[u8]>)]) {
        let writing = self.writing().unwrap();
        let mut events = writing.open_table(EVENTS).unwrap();
        for (sequence, bytes) in places {
            match bytes {
                Some(bytes) => drop(events.insert(sequence, *bytes).unwrap()),
                None => drop(events.remove(sequence).unwrap()),
            }
        }
        drop(events);
        writing.commit().unwrap();
    }

    /// Writes what it likes.
    #[cfg(test)]
    pub(super) fn put_meta(&self, name: &str, bytes: &[u8]) {
        let writing = self.writing().unwrap();
        writing
            .open_table(META)
            .unwrap()
            .insert(name, bytes)
            .unwrap();
        writing.commit().unwrap();
    }

    /// Refuses what was written by another version.
    fn checked(self) -> Result<Self, Trouble> {
        let reading = self.reading()?;
        let meta = reading.open_table(META).map_err(other)?;
        let found = meta.get("version")?;
        let found = found.map(|found| String::from_utf8_lossy(found.value()).into_owned());
        match found {
            Some(version) if version == VERSION.to_string() => Ok(self),
            Some(version) => Err(Trouble::new(format!(
                "it holds a log of version {version}, and this program reads version {VERSION}: use the tidings that wrote it, or another --data"
            ))),
            None => Err(Trouble::damage("it does not say of which version it is")),
        }
    }

    /// Stores something large and takes it back.
    pub(super) fn probe(&self) -> Result<(), Trouble> {
        let room = vec![0; PROBE];
        for stored in [Some(room), None] {
            let writing = self.writing()?;
            {
                let mut meta = writing.open_table(META).map_err(other)?;
                match stored {
                    Some(room) => meta.insert("probe", room.as_slice())?,
                    None => meta.remove("probe")?,
                };
            }
            writing.commit().map_err(other)?;
        }
        Ok(())
    }

    pub(super) fn state(&self) -> Result<State, Trouble> {
        let reading = self.reading()?;
        let state = state(&reading.open_table(META).map_err(other)?)?;
        let events = reading.open_table(EVENTS).map_err(other)?;
        let last = events.last()?.map(|(sequence, _)| sequence.value());
        match last.is_none_or(|last| last == state.last) {
            true => Ok(state),
            false => Err(Trouble::damage("its end is not where it should be")),
        }
    }

    /// The idempotency keys used since `since`, oldest first, each with its sequence.
    pub(super) fn keys(&self, since: u64) -> Result<Vec<(u64, StoredKey)>, Trouble> {
        let reading = self.reading()?;
        let table = reading.open_table(KEYS).map_err(other)?;
        let mut keys = Vec::new();
        for entry in table.iter()? {
            let (sequence, bytes) = entry?;
            match record::unseal::<StoredKey>(sequence.value(), bytes.value()) {
                Some(key) if key.time >= since => keys.push((sequence.value(), key)),
                Some(_) => {}
                None => tracing::error!(
                    sequence = sequence.value(),
                    "an idempotency key is damaged: a repeat of this event would be stored again"
                ),
            }
        }
        Ok(keys)
    }

    /// Adds to the log, lets go of what is over, and returns once all that is on disk.
    pub(super) fn commit(
        &self,
        addition: &Addition,
        retention: &Retention,
    ) -> Result<State, Trouble> {
        let writing = self.writing()?;
        let state = {
            let mut meta = writing.open_table(META).map_err(other)?;
            let mut state = state(&meta)?;
            let mut events = writing.open_table(EVENTS).map_err(other)?;
            for record in &addition.records {
                state.last += 1;
                state.bytes += cost(record);
                events.insert(state.last, record.as_slice())?;
            }
            if !addition.records.is_empty() {
                state.last_time = addition.last_time;
            }
            drop_oldest(&mut events, &mut state, retention)?;
            let mut keys = writing.open_table(KEYS).map_err(other)?;
            for (sequence, key) in &addition.keys {
                keys.insert(sequence, record::seal(*sequence, key).as_slice())?;
            }
            forget_keys(&mut keys, addition.keys_from)?;
            put_state(&mut meta, &state)?;
            state
        };
        writing.commit().map_err(other)?;
        Ok(state)
    }

    /// Whether something is over what is held at most.
    pub(super) fn is_over(&self, retention: &Retention) -> Result<bool, Trouble> {
        let reading = self.reading()?;
        let state = state(&reading.open_table(META).map_err(other)?)?;
        let events = reading.open_table(EVENTS).map_err(other)?;
        let first = events.first()?;
        Ok(first.is_some_and(|(sequence, bytes)| {
            retention.drops(&state, sequence.value(), bytes.value())
        }))
    }

    /// The position at a sequence; `None` where nothing is held, or it is damaged.
    pub(super) fn position_at(&self, sequence: u64) -> Result<Option<Position>, Trouble> {
        let events = self.reading()?.open_table(EVENTS).map_err(other)?;
        let found = events.get(sequence)?;
        let time = found.and_then(|bytes| record::time(sequence, bytes.value()));
        Ok(time.map(|time| Position::new(sequence, time)))
    }

    /// See [`Log::read`](crate::log::Log::read).
    ///
    /// Where events are damaged or missing the batch ends before them, or begins after them: [`Batch::first`] is
    /// the first one after them then, so that they are lost as those are that have expired. The sequence where
    /// that was met comes with it.
    pub(super) fn read(
        &self,
        range: Range,
        select: &Select,
        limit: Limit,
    ) -> Result<(Batch, Option<u64>), Trouble> {
        let reading = self.reading()?;
        let state = state(&reading.open_table(META).map_err(other)?)?;
        let events = reading.open_table(EVENTS).map_err(other)?;
        let start = (range.after + 1).max(state.first);
        let end = range.through.min(state.last).max(start - 1);
        let mut scan = Scan::new(start, end, state.first);
        for entry in events.range(start..=end)? {
            let (sequence, bytes) = entry?;
            let more = scan.take(sequence.value(), bytes.value(), select);
            if !more || scan.is_full(limit) {
                return Ok(scan.stopped(state.created));
            }
        }
        Ok(scan.ended(state.created))
    }

    fn reading(&self) -> Result<ReadTransaction, Trouble> {
        self.database.begin_read().map_err(other)
    }

    /// A transaction that is on disk once it is committed, and that needs no repair whenever the process ends: the file's
    /// free space is saved with it, and the commit made in two phases.
    fn writing(&self) -> Result<WriteTransaction, Trouble> {
        if let Some(why) = &self.unwritable {
            return Err(why.clone());
        }
        if self.place.identity()? != self.identity {
            return Err(Trouble::untouched(
                "another file stands in the place of its own",
            ));
        }
        let mut writing = self.database.begin_write().map_err(other)?;
        writing.set_quick_repair(true);
        Ok(writing)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Retention {
    /// Whether the oldest event has to go.
    fn drops(&self, state: &State, sequence: u64, record: &[u8]) -> bool {
        let is_old = || {
            // One that is damaged has no time, and is of no use.
            record::time(sequence, record).is_none_or(|time| time.nanos() < self.before)
        };
        state.bytes > self.bytes || state.last - sequence >= self.events || is_old()
    }
}

/// Makes what was just created a log of ours.
fn initialise(database: &Database) -> Result<(), Trouble> {
    let created = Timestamp::now().nanos();
    let state = State {
        created,
        first: 1,
        last: 0,
        last_time: created,
        bytes: 0,
    };
    let writing = database.begin_write().map_err(other)?;
    {
        let mut meta = writing.open_table(META).map_err(other)?;
        meta.insert("version", VERSION.to_string().as_bytes())?;
        put_state(&mut meta, &state)?;
        writing.open_table(EVENTS).map_err(other)?;
        writing.open_table(KEYS).map_err(other)?;
    }
    writing.commit().map_err(other)
}

/// Drops the oldest events that are over what is held, a bounded number of them.
fn drop_oldest(
    events: &mut Table<'_, u64, &'static [u8]>,
    state: &mut State,
    retention: &Retention,
) -> Result<(), Trouble> {
    for _ in 0..DROPS {
        let cost = events.first()?.and_then(|(sequence, bytes)| {
            let bytes = bytes.value();
            let drops = retention.drops(state, sequence.value(), bytes);
            drops.then(|| cost(bytes))
        });
        let Some(cost) = cost else {
            break;
        };
        events.pop_first()?;
        state.bytes = state.bytes.saturating_sub(cost);
    }
    let first = events.first()?.map(|(sequence, _)| sequence.value());
    state.first = first.unwrap_or(state.last + 1);
    Ok(())
}

fn forget_keys(keys: &mut Table<'_, u64, &'static [u8]>, from: u64) -> Result<(), Trouble> {
    for _ in 0..DROPS {
        let oldest = keys.first()?.map(|(sequence, _)| sequence.value());
        if oldest.is_none_or(|oldest| oldest >= from) {
            break;
        }
        keys.pop_first()?;
    }
    Ok(())
}

fn state(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<State, Trouble> {
    let found = meta.get("state")?;
    let state = found.and_then(|bytes| record::unseal(0, bytes.value()));
    state.ok_or_else(|| Trouble::damage("how far it reaches can't be read"))
}

fn put_state(
    meta: &mut Table<'_, &'static str, &'static [u8]>,
    state: &State,
) -> Result<(), Trouble> {
    meta.insert("state", record::seal(0, state).as_slice())?;
    Ok(())
}

fn cost(record: &[u8]) -> u64 {
    record.len() as u64 + EVENT_OVERHEAD
}

fn other(error: impl Into<redb::Error>) -> Trouble {
    Trouble::from(error.into())
}
