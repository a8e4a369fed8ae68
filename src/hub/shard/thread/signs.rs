//! Signs of life, of both sides.

use super::{STARTED, Shard, name_of};
use crate::hub::reader::Reader;
use crate::hub::shard::frame::Frame;
use crate::hub::shard::wheel::Tick;
use crate::hub::signal::{Notices, Part, heartbeat};
use crate::metrics::STALLED;
use crate::wire::Chunk;
use std::time::Duration;

impl Shard {
    /// Has a connection looked at when it will have been silent, or its client have taken nothing, for long enough.
    pub(super) fn watch(&mut self, conn: usize) {
        let known = &mut self.conns[conn];
        let after = |time: Duration, since: Tick| {
            let gone = self.tick.saturating_sub(since);
            self.wheel.ticks(time).saturating_sub(gone)
        };
        let stall = self.settings.stall_timeout();
        let after = match known.is_blocked() {
            // By then that much has passed for sure.
            true => after(stall, known.took).saturating_add(STARTED),
            // It may be blocked right after this.
            false => after(self.settings.heartbeat(), known.spoke).min(self.wheel.ticks(stall)),
        };
        known.due = self.wheel.insert(name_of(conn), after);
    }

    /// Looks at those whose time has come.
    pub(super) fn look_around(&mut self) {
        let mut due = Vec::new();
        self.wheel.take_due(&mut due);
        for (name, tick) in due {
            let conn = name as usize;
            // Another connection may have its number now.
            if self.conns.get(conn).is_some_and(|known| known.due == tick) {
                self.look_at(conn);
            }
        }
    }

    fn look_at(&mut self, conn: usize) {
        let shortest = self.wheel.ticks(self.settings.heartbeat_bounds().0);
        let known = &self.conns[conn];
        let silent = self.tick.saturating_sub(known.spoke) >= shortest;
        if self.has_stalled(conn) {
            // The kernel tells of room only once a third of its buffer is free: a slow client may be far from that.
            self.flush(conn);
            if self.conns.contains(conn) && self.has_stalled(conn) {
                self.hub.counters.stalled.inc();
                self.close(conn, STALLED);
            }
        } else if silent && !known.is_blocked() && known.ending.is_none() {
            self.heartbeat(conn);
        }
        if self.conns.contains(conn) {
            self.watch(conn);
        }
    }

    /// Whether a client has taken nothing for too long.
    fn has_stalled(&self, conn: usize) -> bool {
        let known = &self.conns[conn];
        let stood = self.tick.saturating_sub(known.took);
        let most = self.wheel.ticks(self.settings.stall_timeout());
        known.is_blocked() && stood >= most.saturating_add(STARTED)
    }

    pub(super) fn heartbeat(&mut self, conn: usize) {
        let known = &self.conns[conn];
        let Some(group) = self.groups.get_mut(known.group as usize) else {
            return;
        };
        let live = group.reader.as_mut().and_then(Reader::live_position);
        let (bytes, told) = heartbeat(group.form, live, known.told);
        self.conns[conn].told = told;
        self.say(conn, &bytes);
    }

    /// Sends a connection that has a group something beside events. Nothing has to be sent anew after it: it has no id to
    /// go back to.
    pub(in crate::hub::shard) fn say(&mut self, conn: usize, bytes: &[u8]) {
        let frame = Frame::new(vec![Part {
            chunk: Chunk::new(bytes),
            id: None,
            notices: Notices::default(),
        }]);
        let form = self.conns[conn].form;
        self.write(conn, &frame);
        self.count_sent(form);
    }
}
