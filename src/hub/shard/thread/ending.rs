//! How connections end that are to.

use super::{Shard, name_of};
use crate::hub::End;
use crate::wire::{self, Chunk, Closing, LAST_CHUNK};
use std::time::Instant;

impl Shard {
    /// Ends all connections, each at its own moment; until then it is served.
    pub(super) fn end_all(&mut self, end: End) {
        self.ending = Some(end);
        let all = self.conns.iter();
        self.departures = all.map(|(id, _)| departure(&end, id)).collect();
        self.departures
            .sort_unstable_by(|one, other| other.cmp(one));
        self.end_due();
    }

    /// Ends those whose subject was revoked.
    pub(super) fn end_revoked(&mut self) {
        let all: Vec<usize> = self.conns.iter().map(|(id, _)| id).collect();
        all.into_iter().for_each(|conn| self.end_if_revoked(conn));
    }

    pub(super) fn end_if_revoked(&mut self, conn: usize) {
        let known = self.conns.get(conn);
        if known.is_some_and(|known| known.seat.is_revoked() && known.ending.is_none()) {
            self.end(conn, Closing::Revoked);
        }
    }

    /// Ends those whose moment has come.
    pub(super) fn end_due(&mut self) {
        let Some(End { reason, .. }) = self.ending else {
            return;
        };
        let now = Instant::now();
        while let Some((_, name)) = self.departures.pop_if(|(at, _)| *at <= now) {
            let conn = name as usize;
            // It may have gone before; one that has its number since then ends by that.
            if self
                .conns
                .get(conn)
                .is_some_and(|known| known.ending.is_none())
            {
                self.end(conn, reason);
            }
        }
    }

    /// Tells a client that its stream ends, and closes it once the socket has taken that.
    pub(in crate::hub::shard) fn end(&mut self, conn: usize, reason: Closing) {
        self.leave_group(conn);
        self.forget_term(conn);
        let known = &mut self.conns[conn];
        let id = known.told.map(|id| id.to_string());
        let retry = self.settings.retry_after(reason);
        let closing = wire::closing(known.form, retry, id.as_deref(), reason);
        let mut last = Chunk::new(closing.as_bytes()).framed().to_vec();
        last.extend_from_slice(LAST_CHUNK);
        known.finish(last.into(), reason, self.tick);
        self.flush(conn);
    }
}

/// When a connection is to end.
pub(super) fn departure(end: &End, conn: usize) -> (Instant, u32) {
    (end.moment().into_std(), name_of(conn))
}
