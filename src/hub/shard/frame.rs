//! What a group's members are sent in one write.

use crate::event::Position;
use crate::wire::Chunk;
use bytes::{Bytes, BytesMut};
use std::iter::Peekable;

/// Chunks in one piece.
#[derive(Debug)]
pub(super) struct Frame {
    joined: Bytes,
    parts: Vec<(Chunk, Option<Position>)>,
}

/// What a socket left of a frame: the rest of the chunk in which it was full.
#[derive(Debug)]
pub(super) struct Rest {
    /// The bytes, shared with all who are sent this chunk.
    pub(super) bytes: Bytes,
    /// The id that the chunk tells, if it tells one: what comes after it is to be sent anew.
    pub(super) id: Option<Position>,
}

impl Frame {
    /// A frame of the next chunks, of at most so many bytes unless the first has more; `None` where there are none.
    pub(super) fn next(
        chunks: &mut Peekable<impl Iterator<Item = (Chunk, Option<Position>)>>,
        most: usize,
    ) -> Option<Self> {
        let mut parts = Vec::new();
        let mut bytes = 0;
        while let Some(part) = chunks.next_if(|(chunk, _)| {
            bytes += chunk.framed().len();
            parts.is_empty() || bytes <= most
        }) {
            parts.push(part);
        }
        (!parts.is_empty()).then(|| Self::new(parts))
    }

    /// A frame of these chunks, of which there is at least one.
    pub(super) fn new(parts: Vec<(Chunk, Option<Position>)>) -> Self {
        let joined = match &*parts {
            [(only, _)] => only.framed().clone(),
            parts => {
                let size = parts.iter().map(|(chunk, _)| chunk.framed().len()).sum();
                let mut joined = BytesMut::with_capacity(size);
                parts
                    .iter()
                    .for_each(|(chunk, _)| joined.extend_from_slice(chunk.framed()));
                joined.freeze()
            }
        };
        Self { joined, parts }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.joined
    }

    /// How many chunks it has.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// The id that its last chunk tells.
    pub(super) fn id(&self) -> Option<Position> {
        self.parts.last().and_then(|(_, id)| *id)
    }

    /// What is left to a socket that took `written` bytes: of the chunk in which it stopped. Where it
    /// stopped between two, that is the whole of the next.
    pub(super) fn rest(&self, written: usize) -> Option<Rest> {
        let mut start = 0;
        for (chunk, id) in &self.parts {
            let end = start + chunk.framed().len();
            if written < end {
                let bytes = chunk.framed().slice(written - start..);
                return Some(Rest { bytes, id: *id });
            }
            start = end;
        }
        None
    }
}
