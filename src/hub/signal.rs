//! What a reader gets to hear, and how it is sent.

use super::Shared;
use super::entry::Entry;
use crate::event::Position;
use crate::metrics::Delay;
use crate::wire::{self, Chunk, Form, Notice, Say};
use bytes::{Bytes, BytesMut};
use std::iter::Sum;
use std::ops::Deref;
use std::slice;
use std::sync::Arc;
use tokio::time::Instant;

/// How much of a signal is joined to be sent at once: a slow client's connection holds no more.
const PIECE_BYTES: usize = 64 << 10;

/// What a reader gets to hear, in order.
#[derive(Debug)]
pub enum Signal {
    /// The next events; at least one.
    Events(Events),
    /// A gap or a reset.
    Notice(Notice),
}

/// Events of a reader.
#[derive(Debug)]
pub struct Events {
    entries: Vec<Arc<Entry>>,
    /// Where room is made for what is encoded of them.
    hub: Arc<Shared>,
}

/// A part of a signal, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes.
    pub bytes: Bytes,
    /// The id with which a client that has heard it goes on.
    pub id: Option<Position>,
    /// From which of the signal's events on there is more.
    pub next: Option<usize>,
    /// How many events and notices it has.
    pub count: usize,
}

/// How many gaps and resets are told: those are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// Gaps.
    pub gaps: u64,
    /// Resets.
    pub resets: u64,
}

/// An event or a notice by itself, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its bytes.
    pub bytes: Bytes,
    /// The id with which a client that has heard it goes on.
    pub id: Position,
    /// The notices that it tells.
    pub notices: Notices,
}

/// An event or a notice, as a chunk of a body.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) chunk: Chunk,
    /// The id with which a client that has heard it goes on.
    pub(super) id: Option<Position>,
    /// The notices that it tells.
    pub(super) notices: Notices,
}

impl Notices {
    /// Those that an entry tells: a gap in its place, or none.
    fn of_entry(entry: &Entry) -> Self {
        Self {
            gaps: u64::from(entry.is_gap()),
            resets: 0,
        }
    }

    fn of(notice: &Notice) -> Self {
        Self {
            gaps: u64::from(matches!(notice.say, Say::Gap { .. })),
            resets: u64::from(matches!(notice.say, Say::Reset {})),
        }
    }
}

impl Sum for Notices {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |one, other| Self {
            gaps: one.gaps + other.gaps,
            resets: one.resets + other.resets,
        })
    }
}

impl Events {
    pub(super) fn new(entries: Vec<Arc<Entry>>, hub: Arc<Shared>) -> Self {
        Self { entries, hub }
    }

    fn piece(&self, form: Form, from: usize) -> Piece {
        let entries = &self.entries[from..];
        let mut bytes = 0;
        let fits = |entry: &&Arc<Entry>| {
            bytes += entry.encoded(form).framed().len();
            bytes <= PIECE_BYTES
        };
        let count = entries.iter().take_while(fits).count().max(1);
        let (now, later) = entries.split_at(count.min(entries.len()));
        Piece {
            bytes: match now {
                [only] => only.encoded(form).payload(),
                several => {
                    let payloads = several.iter().map(|entry| entry.encoded(form).payload());
                    let mut joined = BytesMut::with_capacity(bytes.min(PIECE_BYTES));
                    payloads.for_each(|payload| joined.extend_from_slice(&payload));
                    joined.freeze()
                }
            },
            id: now.last().map(|entry| entry.position()),
            next: (!later.is_empty()).then_some(from + count),
            count: now.len(),
        }
    }
}

impl Deref for Events {
    type Target = [Arc<Entry>];

    fn deref(&self) -> &Self::Target {
        &self.entries
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Arc<Entry>;
    type IntoIter = slice::Iter<'a, Arc<Entry>>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter()
    }
}

impl Signal {
    /// The next bytes to send of it in a form, from its event number `from` on: of a single event those that all
    /// its readers share, of several a copy of up to 64 KiB.
    pub fn piece(&self, form: Form, from: usize) -> Piece {
        match self {
            Self::Notice(notice) => Piece {
                bytes: wire::notice(form, notice),
                id: Some(notice.id),
                next: None,
                count: 1,
            },
            Self::Events(events) => {
                let piece = events.piece(form, from);
                events.hub.make_room();
                piece
            }
        }
    }

    /// All that it tells in a form; of an event that is not `wanted` in it no bytes, and nothing is encoded.
    pub fn each(&self, form: Form, wanted: impl Fn(&Entry) -> bool) -> Vec<Told> {
        match self {
            Self::Notice(notice) => vec![Told {
                bytes: wire::notice(form, notice),
                id: notice.id,
                notices: Notices::of(notice),
            }],
            Self::Events(events) => {
                let told = |entry: &Arc<Entry>| Told {
                    bytes: match wanted(entry) {
                        true => entry.encoded(form).payload(),
                        false => Bytes::new(),
                    },
                    id: entry.position(),
                    notices: Notices::of_entry(entry),
                };
                let told = events.iter().map(told).collect();
                events.hub.make_room();
                told
            }
        }
    }

    /// The notices that it tells.
    pub(super) fn notices(&self) -> Notices {
        match self {
            Self::Notice(notice) => Notices::of(notice),
            Self::Events(events) => events.iter().map(|entry| Notices::of_entry(entry)).sum(),
        }
    }

    /// Counts how long its events took to so many readers. Looks at the clock once.
    pub(super) fn observe(&self, delay: &Delay, readers: usize) {
        let Self::Events(events) = self else {
            return;
        };
        let now = Instant::now();
        // What came together took as long.
        for together in events.chunk_by(|one, other| one.arrived() == other.arrived()) {
            if let Some(arrived) = together.first().and_then(|entry| entry.arrived()) {
                let deliveries = (together.len() * readers) as u64;
                delay.observe(now.saturating_duration_since(arrived), deliveries);
            }
        }
    }

    /// It as parts of a body. Who has taken them has room made for what they took.
    pub(super) fn parts(&self, form: Form) -> impl Iterator<Item = Part> {
        let (notice, entries) = match self {
            Self::Notice(notice) => (Some(notice), &[][..]),
            Self::Events(events) => (None, &events[..]),
        };
        let notice = notice.map(|notice| Part {
            chunk: Chunk::new(&wire::notice(form, notice)),
            id: Some(notice.id),
            notices: Notices::of(notice),
        });
        let part = move |entry: &Arc<Entry>| Part {
            chunk: entry.encoded(form).clone(),
            id: Some(entry.position()),
            notices: Notices::of_entry(entry),
        };
        notice.into_iter().chain(entries.iter().map(part))
    }
}

/// What is sent after a silence: the log's newest position, where the reader is live and that is news to it,
/// so that a quiet feed's reader does not fall behind while it is away; else a mere sign of life.
///
/// Returns its bytes, and the id that it tells.
pub fn heartbeat(
    form: Form,
    live: Option<Position>,
    told: Option<Position>,
) -> (Bytes, Option<Position>) {
    match live {
        Some(id) if told != Some(id) => {
            let say = Say::Position {};
            (wire::notice(form, &Notice { id, say }), Some(id))
        }
        _ => (wire::heartbeat(form, told), told),
    }
}

#[cfg(test)]
mod tests;
