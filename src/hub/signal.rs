//! What a reader gets to hear, and how it is sent.

use super::Shared;
use super::entry::Entry;
use crate::event::Position;
use crate::wire::{self, Chunk, Form, Notice, Say};
use bytes::{Bytes, BytesMut};
use std::ops::Deref;
use std::slice;
use std::sync::Arc;

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
}

/// An event or a notice by itself, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its bytes.
    pub bytes: Bytes,
    /// The id with which a client that has heard it goes on.
    pub id: Position,
    /// Whether it tells of a gap.
    pub is_gap: bool,
}

/// An event or a notice, as a chunk of a body.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) chunk: Chunk,
    /// The id with which a client that has heard it goes on.
    pub(super) id: Option<Position>,
    /// Whether it tells of a gap.
    pub(super) is_gap: bool,
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
                is_gap: is_gap(notice),
            }],
            Self::Events(events) => {
                let told = |entry: &Arc<Entry>| Told {
                    bytes: match wanted(entry) {
                        true => entry.encoded(form).payload(),
                        false => Bytes::new(),
                    },
                    id: entry.position(),
                    is_gap: entry.is_gap(),
                };
                let told = events.iter().map(told).collect();
                events.hub.make_room();
                told
            }
        }
    }

    /// How many gaps it tells of.
    pub(super) fn gaps(&self) -> usize {
        match self {
            Self::Notice(notice) => usize::from(is_gap(notice)),
            Self::Events(events) => events.iter().filter(|entry| entry.is_gap()).count(),
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
            is_gap: is_gap(notice),
        });
        let part = move |entry: &Arc<Entry>| Part {
            chunk: entry.encoded(form).clone(),
            id: Some(entry.position()),
            is_gap: entry.is_gap(),
        };
        notice.into_iter().chain(entries.iter().map(part))
    }
}

fn is_gap(notice: &Notice) -> bool {
    matches!(notice.say, Say::Gap { .. })
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
