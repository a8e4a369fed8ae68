//! Connections that are served for a time of their own, and are told when it is over.

use super::thread::{Shard, name_of};
use crate::hub::{Due, Term};
use crate::wire::{self, Closing};
use std::time::{Duration, Instant};

impl Shard {
    /// Notes when something comes due of a connection's term.
    pub(super) fn await_term(&mut self, conn: usize) {
        if let Some(term) = self.conns[conn].term {
            self.terms.insert(entry(&term, conn));
        }
    }

    /// Has nothing come due of it any more.
    pub(super) fn forget_term(&mut self, conn: usize) {
        if let Some(term) = self.conns[conn].term.take() {
            self.terms.remove(&entry(&term, conn));
        }
    }

    /// How long until something comes due.
    pub(super) fn until_term(&self) -> Option<Duration> {
        let (at, _) = self.terms.first()?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Does what has come due.
    pub(super) fn look_at_terms(&mut self) {
        let now = Instant::now();
        while let Some((_, name)) = self.terms.first().copied().filter(|(at, _)| *at <= now) {
            self.terms.pop_first();
            let conn = name as usize;
            let due = self.conns[conn].term.as_mut().and_then(Term::take);
            match due {
                Some(Due::Over) => self.end(conn, Closing::Token),
                Some(Due::Soon(seconds)) => {
                    self.await_term(conn);
                    self.warn(conn, seconds);
                }
                None => self.await_term(conn),
            }
        }
    }

    /// Tells a client how long it is served still.
    fn warn(&mut self, conn: usize, seconds: u64) {
        let known = &self.conns[conn];
        if self.groups.contains(known.group as usize) {
            let id = known.told.map(|id| id.to_string());
            let text = wire::expiring(known.form, id.as_deref(), seconds);
            self.say(conn, text.as_bytes());
        }
    }
}

fn entry(term: &Term, conn: usize) -> (Instant, u32) {
    (term.at().into_std(), name_of(conn))
}
