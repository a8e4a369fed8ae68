//! The body of a poll's answer: the events' own bytes, shared with all who are sent them, and what joins them.

use crate::clients::Seat;
use crate::hub::Place;
use crate::metrics::{ANSWERED, OpenStream};
use crate::publish::{Share, UsedUp};
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use std::convert::Infallible;
use std::iter::Peekable;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

/// What an event takes in a page beside its bytes: those of itself and of the comma after it.
const EACH: usize = 2 * size_of::<Bytes>();
/// Smaller pieces are joined up to this before they are sent.
const JOINED: usize = 16 << 10;

/// The events of a page, which may hold no more together with those of all others than there is for them.
pub(super) struct Events {
    lines: Vec<Bytes>,
    /// What they hold, in bytes.
    cost: usize,
    share: Share,
}

/// A page piece by piece, with its place among the readers for as long as any of it is there.
pub(super) struct Pieces {
    pieces: Peekable<vec::IntoIter<Bytes>>,
    /// How many bytes are still to come.
    left: u64,
    _share: Share,
    _place: Place,
    _seat: Seat,
    open: OpenStream,
}

impl Events {
    /// None yet.
    pub(super) fn new(share: Share) -> Self {
        Self {
            lines: Vec::new(),
            cost: 0,
            share,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// What the page would hold with an event of so many bytes more.
    pub(super) fn cost_with(&self, bytes: usize) -> usize {
        self.cost + bytes + EACH
    }

    /// Adds one more, as a line of JSON.
    pub(super) fn add(&mut self, mut line: Bytes) -> Result<(), UsedUp> {
        line.truncate(line.trim_ascii_end().len());
        let cost = self.cost_with(line.len());
        self.share.resize(cost)?;
        self.cost = cost;
        self.lines.push(line);
        Ok(())
    }

    /// They as they stand in the list.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let comma = |at| if at > 0 { &b","[..] } else { b"" };
        let lines = self.lines.iter().enumerate();
        lines.flat_map(move |(at, line)| [comma(at), line])
    }

    /// The page, which says in the end from where to go on.
    pub(super) fn into_pieces(
        self,
        next: &str,
        place: Place,
        seat: Seat,
        mut open: OpenStream,
    ) -> Pieces {
        let events = self.lines.len() as u64;
        let mut all = Vec::with_capacity(2 * self.lines.len() + 1);
        for line in self.lines {
            let before: &[u8] = if all.is_empty() { OPENING } else { b"," };
            all.extend([Bytes::from_static(before), line]);
        }
        let opening = if all.is_empty() { OPENING } else { b"" };
        let end = [opening, b"],\"next\":\"", next.as_bytes(), b"\"}\n"];
        all.push(end.concat().into());
        let bytes = all.iter().map(|piece| piece.len() as u64).sum();
        open.delivered(events, bytes);
        Pieces {
            pieces: all.into_iter().peekable(),
            left: bytes,
            _share: self.share,
            _place: place,
            _seat: seat,
            open,
        }
    }
}

/// What a page begins with.
const OPENING: &[u8] = b"{\"events\":[";

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let first = self.pieces.next()?;
        let mut bytes = first.len();
        if bytes >= JOINED {
            self.taken();
            return Some(first);
        }
        let mut joined = BytesMut::from(first);
        while let Some(piece) = self.pieces.next_if(|piece| bytes + piece.len() <= JOINED) {
            bytes += piece.len();
            joined.extend_from_slice(&piece);
        }
        self.taken();
        Some(joined.freeze())
    }
}

impl Pieces {
    /// Notes that the client takes what there was, where that was all.
    fn taken(&mut self) {
        if self.pieces.peek().is_none() {
            self.open.ends(ANSWERED);
        }
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.next();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
