//! Connections that are served by one reader, and how they move on.

use super::conn::Written;
use super::frame::Frame;
use super::thread::{Shard, name_of};
use super::{Back, Errand};
use crate::hub::bell::Listening;
use crate::hub::reader::{Progress, Reader};
use crate::hub::signal::Signal;
use crate::metrics::{CLIENT, FAILED};
use crate::wire::Form;
use std::sync::atomic::Ordering::Relaxed;

/// How many steps a group takes before others get their turn.
const TURN: usize = 16;
/// How many bytes are joined for one write to several connections, and to a single one, which may be slow: what
/// its socket does not take is joined anew for its next write. A larger chunk is written as it is.
const SHARED_BYTES: usize = 256 << 10;
const ALONE_BYTES: usize = 64 << 10;

/// Connections that are served by one reader.
#[derive(Debug)]
pub(super) struct Group {
    /// `None` while it is away to read the log.
    pub(super) reader: Option<Reader>,
    pub(super) form: Form,
    pub(super) members: Vec<u32>,
    /// Set where others may join: it listens to its patterns' bell.
    pub(super) common: Option<Common>,
    /// Groups that wait for the reader's return, or for something to come, to merge with this one.
    pub(super) waiting: Vec<u32>,
    /// Tells it from others that had its number.
    pub(super) serial: u64,
}

/// What a group has that others may join.
#[derive(Debug)]
pub(super) struct Common {
    /// Its patterns' number, and its form.
    pub(super) key: (usize, Form),
    _listening: Listening,
}

impl Shard {
    /// Sends a group what is at hand for it, a turn's worth at most.
    pub(super) fn advance(&mut self, group: u32) {
        let Some(serial) = self.groups.get(group as usize).map(|known| known.serial) else {
            return;
        };
        for _ in 0..TURN {
            if self.is_blocked(group) {
                return; // goes on when the socket has room
            }
            let Some(known) = self.group(group, serial) else {
                return;
            };
            let common = known.common.is_some();
            let Some(reader) = &mut known.reader else {
                return; // goes on when it is back
            };
            match reader.step() {
                Progress::Heard(signal) => self.send(group, &signal),
                Progress::Behind(through) => return self.fetch(group, through),
                Progress::Live if common || self.merge(group) => return,
                Progress::Live => {}
            }
        }
        self.unfinished.push(group);
    }

    /// The same, and then for those who wait for it.
    pub(super) fn advance_all(&mut self, group: u32) {
        self.advance(group);
        let known = self.groups.get_mut(group as usize);
        if let Some(known) = known.filter(|known| known.reader.is_some()) {
            let waiting = std::mem::take(&mut known.waiting);
            waiting.into_iter().for_each(|one| self.advance(one));
        }
    }

    /// The group of this number, unless another has it by now.
    fn group(&mut self, group: u32, serial: u64) -> Option<&mut Group> {
        self.groups
            .get_mut(group as usize)
            .filter(|known| known.serial == serial)
    }

    /// Whether a group is a single connection whose socket is full.
    fn is_blocked(&self, group: u32) -> bool {
        let Some(known) = self
            .groups
            .get(group as usize)
            .filter(|known| known.common.is_none())
        else {
            return false;
        };
        known
            .members
            .iter()
            .any(|&name| self.conns[name as usize].is_blocked())
    }

    /// Sends all members of a group what its reader has heard.
    fn send(&mut self, group: u32, signal: &Signal) {
        let Some(known) = self.groups.get(group as usize) else {
            return;
        };
        let (serial, form) = (known.serial, known.form);
        // Who is by himself catches up, or is slow.
        let live = known.common.as_ref().map_or(0, |_| known.members.len());
        let most = match known.members.len() {
            1 => ALONE_BYTES,
            _ => SHARED_BYTES,
        };
        let mut parts = signal.parts(form).peekable();
        while let Some(frame) = Frame::next(&mut parts, most) {
            self.hub.make_room();
            self.send_frame(group, serial, form, &frame);
            if self.group(group, serial).is_none() || self.is_blocked(group) {
                return; // its reader has gone back to where the socket was full
            }
        }
        if live > 0 {
            signal.observe(&self.desk.stats.delay, live);
        }
    }

    fn send_frame(&mut self, group: u32, serial: u64, form: Form, frame: &Frame) {
        let mut at = 0;
        while let Some(&name) = self
            .group(group, serial)
            .and_then(|known| known.members.get(at))
        {
            at += self.write(name as usize, frame);
        }
        self.count_sent(form);
    }

    /// Notes what was written to a connection, to be counted.
    pub(super) fn sent(&mut self, conn: usize, events: usize, bytes: usize) {
        let (events, bytes) = (events as u64, bytes as u64);
        self.sent.0 += events;
        self.sent.1 += bytes;
        if self.noted {
            self.conns[conn].open.note(events, bytes);
        }
    }

    /// Counts what was sent in a form.
    pub(super) fn count_sent(&mut self, form: Form) {
        let (events, bytes) = std::mem::take(&mut self.sent);
        self.desk.stats.delivered.add(form.into(), events, bytes);
    }

    /// Writes a frame to a connection; returns 1 if it is still in its place in its group.
    pub(super) fn write(&mut self, conn: usize, frame: &Frame) -> usize {
        let known = &mut self.conns[conn];
        known.told = frame.id().or(known.told);
        known.spoke = self.tick;
        let stats = &self.desk.stats;
        stats.writes.fetch_add(1, Relaxed);
        // One whose group's reader is away may be blocked by a heartbeat.
        let written = match known.is_blocked() {
            true => Written::Part(0),
            false => known.write(frame.bytes()),
        };
        match written {
            Written::All => {
                self.sent(conn, frame.events(), frame.bytes().len());
                self.hub.count(frame.notices());
                1
            }
            Written::Gone => {
                self.close(conn, CLIENT);
                0
            }
            Written::Part(count) => {
                stats.blocked.fetch_add(1, Relaxed);
                self.fall_behind(conn, frame, count)
            }
        }
    }

    /// A socket is full: it keeps the rest of the chunk in which it stopped, and goes on from there in a group
    /// of its own. Returns 1 if it had that already.
    fn fall_behind(&mut self, conn: usize, frame: &Frame, written: usize) -> usize {
        let Some(rest) = frame.rest(written) else {
            return 1;
        };
        self.hub.count(rest.notices);
        self.sent(conn, rest.events, written); // the rest once it is taken
        let known = &mut self.conns[conn];
        known.keep(rest.bytes, self.tick);
        known.told = rest.id.or(known.told);
        let group = &mut self.groups[known.group as usize];
        let form = group.form;
        if group.common.is_none() {
            if let (Some(reader), Some(id)) = (&mut group.reader, rest.id) {
                reader.rewind(id);
            }
            return 1;
        }
        let Some(mut reader) = group.reader.as_ref().map(Reader::fork) else {
            return 1;
        };
        if let Some(id) = rest.id {
            reader.rewind(id);
        }
        self.leave_group(conn);
        self.alone(conn, reader, form);
        0
    }

    /// Has the log read for a group, by a task.
    fn fetch(&mut self, group: u32, through: u64) {
        let known = &mut self.groups[group as usize];
        let Some(reader) = known.reader.take() else {
            return;
        };
        let errand = Errand::new(self.desk.clone(), group as usize, known.serial);
        self.runtime.spawn(errand.run(reader, through));
    }

    pub(super) fn back(&mut self, back: Back) {
        let group = name_of(back.group);
        let Some(known) = self.group(group, back.serial) else {
            return; // all its members are gone
        };
        let Some((reader, signal)) = back.found else {
            return self.cut_off(group, back.serial);
        };
        known.reader = Some(reader);
        let waiting = std::mem::take(&mut known.waiting);
        if let Some(signal) = signal {
            self.send(group, &signal);
        }
        self.advance(group);
        waiting.into_iter().for_each(|one| self.advance(one));
    }

    /// Closes the connections of a group that has lost its reader: they come back with their ids.
    fn cut_off(&mut self, group: u32, serial: u64) {
        tracing::error!("reading the log has panicked, and those who waited for it are cut off");
        while let Some(&name) = self
            .group(group, serial)
            .and_then(|known| known.members.first())
        {
            self.close(name as usize, FAILED);
        }
    }

    /// Merges a single connection's group, which is live, with the common one of its patterns and form.
    /// `false` where something has come in between, and it has to go on by itself first.
    fn merge(&mut self, group: u32) -> bool {
        let known = &mut self.groups[group as usize];
        let Some(reader) = &known.reader else {
            return true;
        };
        let key = (reader.group(), known.form);
        let Some(&common) = self.common.get(&key) else {
            let listening = reader.listen(&self.desk.ear, group);
            known.common = Some(Common {
                key,
                _listening: listening,
            });
            self.common.insert(key, group);
            return false; // to look once more, now that it listens
        };
        self.advance(common);
        if self.common.get(&key) != Some(&common) {
            return false; // it has ended, and another may have its number
        }
        self.meet(group, common)
    }

    /// Has a single connection join the common group where their readers meet. Returns what [`merge`](Self::merge)
    /// does.
    fn meet(&mut self, group: u32, common: u32) -> bool {
        let Some((one, other)) = self.groups.get2_mut(group as usize, common as usize) else {
            return false;
        };
        let Some(reader) = &mut other.reader else {
            other.waiting.push(group);
            return true;
        };
        let hub = self.hub.clone();
        let (first, second) = {
            let window = hub.window.read();
            let first = reader.step_in(&window);
            (
                first,
                one.reader
                    .as_mut()
                    .and_then(|reader| reader.step_in(&window)),
            )
        };
        let meet = one.reader.as_ref().is_some_and(|one| one.meets(reader));
        match (first, second) {
            (Some(Progress::Live), Some(Progress::Live)) if meet => {
                self.join(group, common);
                true
            }
            (Some(Progress::Live), Some(Progress::Live)) => {
                // One of them is ahead of what was followed: they meet when there is something for them.
                other.waiting.push(group);
                true
            }
            (first, second) => {
                self.follow_up(common, first);
                self.follow_up(group, second);
                false
            }
        }
    }

    /// What to do with a step that was taken while another was wanted.
    fn follow_up(&mut self, group: u32, progress: Option<Progress>) {
        match progress {
            Some(Progress::Heard(signal)) => self.send(group, &signal),
            Some(Progress::Behind(through)) => self.fetch(group, through),
            Some(Progress::Live) | None => {}
        }
    }

    fn join(&mut self, group: u32, common: u32) {
        let alone = self.groups.remove(group as usize);
        for &name in &alone.members {
            let members = &mut self.groups[common as usize].members;
            let conn = &mut self.conns[name as usize];
            conn.group = common;
            conn.at = name_of(members.len());
            members.push(name);
        }
    }
}
