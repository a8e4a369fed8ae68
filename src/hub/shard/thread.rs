//! A shard's thread: what wakes it, and its connections' coming and going.

use super::conn::{Conn, Written};
use super::frame::Frame;
use super::group::Group;
use super::wheel::{Tick, Wheel};
use super::{Desk, Handed, Order, ShardStats, forget_unsent};
use crate::config::StreamSettings;
use crate::hub::bell::Ear;
use crate::hub::reader::Reader;
use crate::hub::signal::{Notices, Part, heartbeat};
use crate::hub::{End, Shared};
use crate::metrics::{CLIENT, STALLED};
use crate::wire::{self, Chunk, Closing, Form, LAST_CHUNK};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;
use slab::Slab;
use socket2::SockRef;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

#[cfg(test)]
mod tests;

/// The token of a shard's waker.
const WAKER: Token = Token(usize::MAX);
/// Between two points in time there is up to so much less than the difference of their ticks, and a whole number of
/// ticks is up to one less than a time.
const STARTED: Tick = 2;

/// See [`super`].
pub(super) struct Shard {
    pub(super) hub: Arc<Shared>,
    settings: StreamSettings,
    pub(super) runtime: Handle,
    poll: Poll,
    pub(super) desk: Arc<Desk>,
    pub(super) conns: Slab<Conn>,
    pub(super) groups: Slab<Group>,
    /// The groups that others may join, by their patterns' number and form.
    pub(super) common: HashMap<(usize, Form), u32>,
    serials: u64,
    pub(super) wheel: Wheel,
    /// The time of this round.
    pub(super) tick: Tick,
    /// Groups that had their turn and have more to send.
    pub(super) unfinished: Vec<u32>,
    ending: Option<End>,
    /// Connections that are to end, and when: the next is the last of them.
    departures: Vec<(Instant, u32)>,
    /// When something comes due of the connections' terms.
    pub(super) terms: BTreeSet<(Instant, u32)>,
    stopped: bool,
    /// Events and bytes that were sent and are to be counted.
    pub(super) sent: (u64, u64),
    /// Whether there was a connection whose end will be logged: else nothing is noted of any.
    pub(super) noted: bool,
}

impl Shard {
    pub(super) fn new(hub: Arc<Shared>, settings: StreamSettings) -> io::Result<Self> {
        let poll = Poll::new()?;
        let ear = Arc::new(Ear::new(Waker::new(poll.registry(), WAKER)?));
        let desk = Desk {
            inbox: Mutex::default(),
            waking: AtomicBool::new(false),
            ear,
            stats: ShardStats::default(),
        };
        Ok(Self {
            hub,
            runtime: Handle::current(),
            poll,
            desk: Arc::new(desk),
            conns: Slab::new(),
            groups: Slab::new(),
            common: HashMap::new(),
            serials: 0,
            wheel: Wheel::new(settings.heartbeat_bounds().1.min(settings.stall_timeout())),
            tick: 0,
            settings,
            unfinished: Vec::new(),
            ending: None,
            departures: Vec::new(),
            terms: BTreeSet::new(),
            stopped: false,
            sent: (0, 0),
            noted: false,
        })
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut heard = Vec::new();
        while !self.stopped {
            self.wait(&mut events);
            self.tick = self.wheel.now();
            for event in &events {
                if event.token() != WAKER {
                    self.on_event(
                        event.token().0,
                        event.is_readable() || event.is_read_closed(),
                        event.is_writable(),
                    );
                }
            }
            let orders = std::mem::take(&mut *self.desk.inbox.lock());
            orders.into_iter().for_each(|order| self.on_order(order));
            heard = self.desk.ear.take(heard);
            heard.append(&mut self.unfinished);
            heard.sort_unstable();
            heard.dedup();
            for group in heard.drain(..) {
                self.advance_all(group);
            }
            self.look_around();
            self.end_due();
            self.look_at_terms();
        }
        for (_, conn) in &mut self.conns {
            conn.open.closes(Closing::Drain);
            if conn.is_blocked() {
                forget_unsent(&SockRef::from(&conn.socket));
            }
        }
    }

    fn wait(&mut self, events: &mut Events) {
        let pause = match self.unfinished.is_empty() {
            true => self.pause(),
            false => Some(Duration::ZERO),
        };
        match self.poll.poll(events, pause) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => tracing::error!(%error, "a shard can't wait for its sockets"),
        }
    }

    /// How long there will be nothing to do by itself.
    fn pause(&self) -> Option<Duration> {
        let next = self.departures.last();
        let departure = next.map(|(at, _)| at.saturating_duration_since(Instant::now()));
        let due = departure.into_iter().chain(self.until_term());
        self.wheel.pause().into_iter().chain(due).min()
    }

    fn on_event(&mut self, conn: usize, readable: bool, writable: bool) {
        let Some(known) = self.conns.get_mut(conn) else {
            return;
        };
        if readable && !known.drain_input() {
            return self.close(conn, CLIENT);
        }
        if writable && known.is_blocked() {
            self.flush(conn);
        }
    }

    /// Writes what was left over to a connection, and then goes on.
    fn flush(&mut self, conn: usize) {
        let known = &mut self.conns[conn];
        let (form, group, ending) = (known.form, known.group, known.ending);
        let (written, bytes) = known.flush(self.tick);
        self.sent(conn, 0, bytes);
        self.count_sent(form);
        match (written, ending) {
            (Written::Gone, _) => self.close(conn, CLIENT),
            (Written::Part(_), _) => {}
            (Written::All, Some(reason)) => self.close(conn, reason.as_str()),
            (Written::All, None) => self.advance(group),
        }
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Serve(handed) => self.admit(*handed),
            Order::Back(back) => self.back(*back),
            // Who asked may have gone.
            Order::Survey { limit, answer } => drop(answer.send(self.survey(limit))),
            Order::End(end) => self.end_all(end),
            Order::Revoked => self.end_revoked(),
            Order::Stop => self.stopped = true,
        }
    }
}

/// Connections come and go.
impl Shard {
    fn admit(&mut self, handed: Handed) {
        let Handed {
            socket,
            reader,
            place,
            permit,
            form,
            told,
            term,
            seat,
            open,
        } = handed;
        self.noted |= open.is_noted();
        let socket = TcpStream::from_std(socket);
        let conn = Conn::new(socket, form, told, term, seat, open, place, permit);
        let id = self.conns.insert(conn);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let socket = &mut self.conns[id].socket;
        if let Err(error) = self.poll.registry().register(socket, Token(id), interest) {
            tracing::error!(%error, "a socket can't be watched, and is closed");
            self.conns.remove(id);
            return;
        }
        self.desk.stats.connections.fetch_add(1, Relaxed);
        self.conns[id].spoke = self.tick;
        self.watch(id);
        // It began before the end did, and was on its way here.
        if let Some(ending) = self.ending {
            let departure = departure(&ending, id);
            let at = self.departures.partition_point(|one| *one > departure);
            self.departures.insert(at, departure);
        }
        self.await_term(id);
        let group = self.alone(id, reader, form);
        self.advance(group);
        // Likewise.
        if self
            .conns
            .get(id)
            .is_some_and(|conn| conn.seat.is_revoked())
        {
            self.end(id, Closing::Revoked);
        }
    }

    /// Puts a connection that no group has into one of its own.
    pub(super) fn alone(&mut self, conn: usize, reader: Reader, form: Form) -> u32 {
        self.serials += 1;
        let name = name_of(conn);
        let group = name_of(self.groups.insert(Group {
            reader: Some(reader),
            form,
            members: vec![name],
            common: None,
            waiting: Vec::new(),
            serial: self.serials,
        }));
        self.conns[conn].group = group;
        self.conns[conn].at = 0;
        group
    }

    pub(super) fn close(&mut self, conn: usize, reason: &'static str) {
        self.leave_group(conn);
        self.forget_term(conn);
        let mut conn = self.conns.remove(conn);
        conn.open.ends(reason);
        if conn.is_blocked() {
            forget_unsent(&SockRef::from(&conn.socket));
        }
        if let Err(error) = self.poll.registry().deregister(&mut conn.socket) {
            tracing::debug!(%error, "a closed socket was not watched");
        }
        self.desk.stats.connections.fetch_sub(1, Relaxed);
    }

    /// Takes a connection out of its group, and ends the group with its last member.
    pub(super) fn leave_group(&mut self, conn: usize) {
        let (group, at) = (self.conns[conn].group, self.conns[conn].at as usize);
        let Some(known) = self.groups.get_mut(group as usize) else {
            return;
        };
        known.members.swap_remove(at);
        if let Some(&moved) = known.members.get(at) {
            self.conns[moved as usize].at = name_of(at);
        }
        self.conns[conn].group = u32::MAX;
        if known.members.is_empty() {
            self.end_group(group);
        }
    }

    fn end_group(&mut self, group: u32) {
        let ended = self.groups.remove(group as usize);
        if let Some(common) = ended.common {
            self.common.remove(&common.key);
        }
        ended.waiting.into_iter().for_each(|one| self.advance(one));
    }

    /// Ends all connections, each at its own moment; until then it is served.
    fn end_all(&mut self, end: End) {
        self.ending = Some(end);
        let all = self.conns.iter();
        self.departures = all.map(|(id, _)| departure(&end, id)).collect();
        self.departures
            .sort_unstable_by(|one, other| other.cmp(one));
        self.end_due();
    }

    /// Ends those whose subject was revoked.
    fn end_revoked(&mut self) {
        let all = self.conns.iter();
        let ended = all.filter(|(_, conn)| conn.seat.is_revoked() && conn.ending.is_none());
        let ended: Vec<usize> = ended.map(|(id, _)| id).collect();
        for conn in ended {
            self.end(conn, Closing::Revoked);
        }
    }

    /// Ends those whose moment has come.
    fn end_due(&mut self) {
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
    pub(super) fn end(&mut self, conn: usize, reason: Closing) {
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

/// Signs of life, of both sides.
impl Shard {
    /// Has a connection looked at when it will have been silent, or its client have taken nothing, for long enough.
    fn watch(&mut self, conn: usize) {
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
    fn look_around(&mut self) {
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

    fn heartbeat(&mut self, conn: usize) {
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
    pub(super) fn say(&mut self, conn: usize, bytes: &[u8]) {
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

/// When a connection is to end.
fn departure(end: &End, conn: usize) -> (Instant, u32) {
    (end.moment().into_std(), name_of(conn))
}

pub(super) fn name_of(number: usize) -> u32 {
    u32::try_from(number).expect("files end before 2^32 of them are open")
}
