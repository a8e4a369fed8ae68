//! A shard's thread: what wakes it, and its connections' coming and going.

use super::conn::{Conn, Written};
use super::group::Group;
use super::wheel::{Tick, Wheel};
use super::{Desk, Handed, Order, ShardStats, forget_unsent};
use crate::config::StreamSettings;
use crate::hub::bell::Ear;
use crate::hub::reader::Reader;
use crate::hub::{End, Shared};
use crate::metrics::CLIENT;
use crate::wire::{Closing, Form};
use ending::departure;
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

mod ending;
mod signs;
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
        self.noted |= handed.open.is_noted();
        let form = handed.form;
        let (conn, reader) = Conn::new(handed);
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
        self.end_if_revoked(id);
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
}

pub(super) fn name_of(number: usize) -> u32 {
    u32::try_from(number).expect("files end before 2^32 of them are open")
}
