//! What a group's members are sent in one write.

use crate::event::Position;
use crate::hub::signal::{Notices, Part};
use bytes::{Bytes, BytesMut};
use std::iter::Peekable;

/// Chunks in one piece.
#[derive(Debug)]
pub(super) struct Frame {
    joined: Bytes,
    parts: Vec<Part>,
    notices: Notices,
    events: usize,
}

/// What a socket left of a frame: the rest of the chunk in which it was full.
#[derive(Debug)]
pub(super) struct Rest {
    /// The bytes, shared with all who are sent this chunk.
    pub(super) bytes: Bytes,
    /// The id that the chunk tells, if it tells one: what comes after it is to be sent anew.
    pub(super) id: Option<Position>,
    /// The notices that were told up to its end.
    pub(super) notices: Notices,
    /// How many events and notices were sent up to its end.
    pub(super) events: usize,
}

impl Frame {
    /// A frame of the next parts, of at most so many bytes unless the first has more; `None` where there are none.
    pub(super) fn next(
        from: &mut Peekable<impl Iterator<Item = Part>>,
        most: usize,
    ) -> Option<Self> {
        let mut parts = Vec::new();
        let mut bytes = 0;
        while let Some(part) = from.next_if(|part| {
            bytes += part.chunk.framed().len();
            parts.is_empty() || bytes <= most
        }) {
            parts.push(part);
        }
        (!parts.is_empty()).then(|| Self::new(parts))
    }

    /// A frame of these parts, of which there is at least one.
    pub(super) fn new(parts: Vec<Part>) -> Self {
        let joined = match &*parts {
            [only] => only.chunk.framed().clone(),
            parts => {
                let size = parts.iter().map(|part| part.chunk.framed().len()).sum();
                let mut joined = BytesMut::with_capacity(size);
                parts
                    .iter()
                    .for_each(|part| joined.extend_from_slice(part.chunk.framed()));
                joined.freeze()
            }
        };
        Self {
            joined,
            notices: notices(&parts),
            events: events(&parts),
            parts,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.joined
    }

    /// The notices that it tells.
    pub(super) fn notices(&self) -> Notices {
        self.notices
    }

    /// How many events and notices it has; a sign of life is none.
    pub(super) fn events(&self) -> usize {
        self.events
    }

    /// The id that its last chunk tells.
    pub(super) fn id(&self) -> Option<Position> {
        self.parts.last().and_then(|part| part.id)
    }

    /// What is left to a socket that took `written` bytes: of the chunk in which it stopped. Where it
    /// stopped between two, that is the whole of the next.
    pub(super) fn rest(&self, written: usize) -> Option<Rest> {
        let mut start = 0;
        for (at, part) in self.parts.iter().enumerate() {
            let end = start + part.chunk.framed().len();
            if written < end {
                return Some(Rest {
                    bytes: part.chunk.framed().slice(written - start..),
                    id: part.id,
                    notices: notices(&self.parts[..=at]),
                    events: events(&self.parts[..=at]),
                });
            }
            start = end;
        }
        None
    }
}

fn notices(parts: &[Part]) -> Notices {
    parts.iter().map(|part| part.notices).sum()
}

fn events(parts: &[Part]) -> usize {
    parts.iter().filter(|part| part.id.is_some()).count()
}
