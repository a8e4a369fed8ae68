//! Fan-out at the cost of a `write`: threads that serve the sockets which HTTP has handed off.
//!
//! A shard is a thread with a `mio::Poll` of its own. Its connections stand in *groups*, each a [`Reader`]
//! for all its members: the live ones with the same patterns and form share one, so that what has come is
//! looked up, joined and framed once, and then written once a connection. The busier a shard is, the more
//! gathers for the next write.
//!
//! A socket that is full, or a client that has to catch up, gets a group of its own, which goes on from its
//! own position, and merges with the common one when both meet at the head. Nothing is ever queued for a
//! connection but the rest of the one chunk in which its socket was full, shared with all who are sent it.
//! A shard never blocks: what the window no longer holds is read by a tokio task.

mod conn;
mod frame;
mod wheel;

use super::bell::{Ear, Listening};
use super::reader::{Progress, Reader, Signal, heartbeat};
use super::{Place, Shared};
use crate::config::StreamSettings;
use crate::event::Position;
use crate::wire::{self, Chunk, Closing, Form, LAST_CHUNK};
use conn::{Conn, Written};
use frame::Frame;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;
use slab::Slab;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use wheel::{Tick, Wheel};

/// The token of a shard's waker.
const WAKER: Token = Token(usize::MAX);
/// How many steps a connection with a group of its own takes before others get their turn.
const TURN: usize = 16;

/// A socket whose response head and first block were written by HTTP, and its reader.
#[derive(Debug)]
pub struct Handed {
    /// The socket, in non-blocking mode.
    pub socket: std::net::TcpStream,
    /// Its reader.
    pub reader: Reader,
    /// The reader's place.
    pub place: Place,
    /// The connection's place.
    pub permit: OwnedSemaphorePermit,
    /// The form in which it is sent its events.
    pub form: Form,
    /// The id that it was told, unless that was no position.
    pub told: Option<Position>,
}

/// The shards of a hub, which end when this is dropped.
#[derive(Debug)]
pub struct Shards {
    shards: Vec<(Arc<Desk>, JoinHandle<()>)>,
    next: AtomicUsize,
}

/// What a shard has done so far, and has to do.
#[derive(Debug, Default)]
pub struct ShardStats {
    /// Connections that it serves.
    pub connections: AtomicU64,
    /// Events and notices written, one for each connection.
    pub deliveries: AtomicU64,
    /// Bytes written.
    pub bytes: AtomicU64,
    /// Writes.
    pub writes: AtomicU64,
    /// Writes that a full socket cut short.
    pub blocked: AtomicU64,
}

/// Where a shard is told what it has to do.
#[derive(Debug)]
struct Desk {
    inbox: Mutex<Vec<Order>>,
    ear: Arc<Ear>,
    stats: ShardStats,
}

#[derive(Debug)]
enum Order {
    Serve(Box<Handed>),
    /// A reader is back from the log.
    Back(Box<Back>),
    /// End all connections in good order.
    End(Closing),
    /// End the thread.
    Stop,
}

#[derive(Debug)]
struct Back {
    group: usize,
    serial: u64,
    reader: Reader,
    signal: Option<Signal>,
}

impl Desk {
    fn tell(&self, order: Order) {
        self.inbox.lock().push(order);
        self.ear.wake();
    }
}

impl Shards {
    pub(super) fn start(
        hub: &Arc<Shared>,
        count: usize,
        settings: StreamSettings,
    ) -> io::Result<Self> {
        let shards = (0..count).map(|number| {
            let shard = Shard::new(hub.clone(), settings)?;
            let desk = shard.desk.clone();
            let thread = std::thread::Builder::new().name(format!("shard-{number}"));
            Ok((desk, thread.spawn(move || shard.run())?))
        });
        Ok(Self {
            shards: shards.collect::<io::Result<_>>()?,
            next: AtomicUsize::new(0),
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    /// Hands a socket to the next shard; there must be one.
    pub fn serve(&self, handed: Handed) {
        let number = self.next.fetch_add(1, Relaxed) % self.shards.len();
        self.shards[number].0.tell(Order::Serve(Box::new(handed)));
    }

    /// Ends all connections with `hub:closing`, as fast as their sockets take it.
    pub fn end(&self, reason: Closing) {
        self.shards
            .iter()
            .for_each(|(desk, _)| desk.tell(Order::End(reason)));
    }

    /// What each shard has done.
    pub fn stats(&self) -> impl Iterator<Item = &ShardStats> {
        self.shards.iter().map(|(desk, _)| &desk.stats)
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        self.shards
            .iter()
            .for_each(|(desk, _)| desk.tell(Order::Stop));
        for (_, thread) in self.shards.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a shard has panicked");
            }
        }
    }
}

/// Connections that are served by one reader.
#[derive(Debug)]
struct Group {
    /// `None` while it is away to read the log.
    reader: Option<Reader>,
    form: Form,
    members: Vec<u32>,
    /// Set where others may join: it listens to its patterns' bell.
    common: Option<Common>,
    /// Groups that wait for the reader's return, to merge with this one.
    waiting: Vec<u32>,
    /// Tells it from others that had its number.
    serial: u64,
}

/// What a group has that others may join.
#[derive(Debug)]
struct Common {
    /// Its patterns' number, and its form.
    key: (usize, Form),
    _listening: Listening,
}

struct Shard {
    hub: Arc<Shared>,
    settings: StreamSettings,
    runtime: Handle,
    poll: Poll,
    desk: Arc<Desk>,
    conns: Slab<Conn>,
    groups: Slab<Group>,
    /// The groups that others may join, by their patterns' number and form.
    common: HashMap<(usize, Form), u32>,
    serials: u64,
    wheel: Wheel,
    /// The time of this round.
    tick: Tick,
    /// Groups of a single member that had their turn and have more to send.
    unfinished: Vec<u32>,
    ending: Option<Closing>,
    stopped: bool,
}

impl Shard {
    fn new(hub: Arc<Shared>, settings: StreamSettings) -> io::Result<Self> {
        let poll = Poll::new()?;
        let ear = Arc::new(Ear::new(Waker::new(poll.registry(), WAKER)?));
        let desk = Desk {
            inbox: Mutex::default(),
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
            wheel: Wheel::new(settings.heartbeat_bounds().1),
            tick: 0,
            settings,
            unfinished: Vec::new(),
            ending: None,
            stopped: false,
        })
    }

    fn run(mut self) {
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
            for group in heard.drain(..) {
                self.advance(group);
            }
            for group in std::mem::take(&mut self.unfinished) {
                self.advance(group);
            }
            self.heartbeats();
        }
    }

    fn wait(&mut self, events: &mut Events) {
        let pause = match self.unfinished.is_empty() {
            true => self.wheel.pause(),
            false => Some(std::time::Duration::ZERO),
        };
        match self.poll.poll(events, pause) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => tracing::error!(%error, "a shard can't wait for its sockets"),
        }
    }

    fn on_event(&mut self, conn: usize, readable: bool, writable: bool) {
        let Some(known) = self.conns.get_mut(conn) else {
            return;
        };
        if readable && !known.drain_input() {
            return self.close(conn);
        }
        if writable && known.is_blocked() {
            match known.flush() {
                Written::Gone => self.close(conn),
                Written::Part(_) => {}
                Written::All if known.ending => self.close(conn),
                Written::All => {
                    let group = known.group;
                    self.advance(group);
                }
            }
        }
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Serve(handed) => self.admit(*handed),
            Order::Back(back) => self.back(*back),
            Order::End(reason) => self.end_all(reason),
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
        } = handed;
        let conn = Conn::new(TcpStream::from_std(socket), told, place, permit);
        let id = self.conns.insert(conn);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let socket = &mut self.conns[id].socket;
        if let Err(error) = self.poll.registry().register(socket, Token(id), interest) {
            tracing::error!(%error, "a socket can't be watched, and is closed");
            self.conns.remove(id);
            return;
        }
        self.desk.stats.connections.fetch_add(1, Relaxed);
        if let Some(reason) = self.ending {
            return self.end(id, reason);
        }
        self.conns[id].spoke = self.tick;
        self.watch(id);
        let group = self.alone(id, reader, form);
        self.advance(group);
    }

    /// Puts a connection that no group has into one of its own.
    fn alone(&mut self, conn: usize, reader: Reader, form: Form) -> u32 {
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

    fn close(&mut self, conn: usize) {
        self.leave_group(conn);
        let mut conn = self.conns.remove(conn);
        if let Err(error) = self.poll.registry().deregister(&mut conn.socket) {
            tracing::debug!(%error, "a closed socket was not watched");
        }
        self.desk.stats.connections.fetch_sub(1, Relaxed);
    }

    /// Takes a connection out of its group, and ends the group with its last member.
    fn leave_group(&mut self, conn: usize) {
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

    fn end_all(&mut self, reason: Closing) {
        self.ending = Some(reason);
        let all: Vec<usize> = self.conns.iter().map(|(id, _)| id).collect();
        all.into_iter().for_each(|id| self.end(id, reason));
    }

    /// Tells a client that its stream ends, and closes it once the socket has taken that.
    fn end(&mut self, conn: usize, reason: Closing) {
        self.leave_group(conn);
        let known = &mut self.conns[conn];
        let id = known.told.map(|id| id.to_string());
        let closing = wire::closing(self.settings.retry(), id.as_deref(), reason);
        let mut last = Chunk::new(closing.as_bytes()).framed().to_vec();
        last.extend_from_slice(LAST_CHUNK);
        match known.finish(&last) {
            Written::Part(_) => {}
            Written::All | Written::Gone => self.close(conn),
        }
    }
}

/// Groups move on.
impl Shard {
    /// Sends a group what is at hand for it, a turn's worth at most.
    fn advance(&mut self, group: u32) {
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
        let serial = known.serial;
        let frame = Frame::new(signal.chunks(known.form));
        let mut at = 0;
        let mut writes = 0;
        while let Some(&name) = self
            .group(group, serial)
            .and_then(|known| known.members.get(at))
        {
            writes += 1;
            at += self.write(name as usize, &frame);
        }
        let stats = &self.desk.stats;
        stats
            .deliveries
            .fetch_add(writes * frame.len() as u64, Relaxed);
    }

    /// Writes a frame to a connection; returns 1 if it is still in its place in its group.
    fn write(&mut self, conn: usize, frame: &Frame) -> usize {
        let known = &mut self.conns[conn];
        known.told = frame.id().or(known.told);
        known.spoke = self.tick;
        let stats = &self.desk.stats;
        stats.writes.fetch_add(1, Relaxed);
        match known.write(frame.bytes()) {
            Written::All => {
                stats.bytes.fetch_add(frame.bytes().len() as u64, Relaxed);
                1
            }
            Written::Gone => {
                self.close(conn);
                0
            }
            Written::Part(count) => {
                stats.bytes.fetch_add(count as u64, Relaxed);
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
        let known = &mut self.conns[conn];
        known.keep(rest.bytes);
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
        let Some(mut reader) = known.reader.take() else {
            return;
        };
        let (serial, desk) = (known.serial, self.desk.clone());
        self.runtime.spawn(async move {
            let signal = reader.catch_up(through).await;
            let group = group as usize;
            desk.tell(Order::Back(Box::new(Back {
                group,
                serial,
                reader,
                signal,
            })));
        });
    }

    fn back(&mut self, back: Back) {
        let group = name_of(back.group);
        let Some(known) = self.group(group, back.serial) else {
            return; // all its members are gone
        };
        known.reader = Some(back.reader);
        let waiting = std::mem::take(&mut known.waiting);
        if let Some(signal) = back.signal {
            self.send(group, &signal);
        }
        self.advance(group);
        waiting.into_iter().for_each(|one| self.advance(one));
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

/// Signs of life.
impl Shard {
    /// Has a connection looked at when it will have been silent for long enough.
    fn watch(&mut self, conn: usize) {
        let known = &mut self.conns[conn];
        let silent = self.tick.saturating_sub(known.spoke);
        let after = self
            .wheel
            .ticks(self.settings.heartbeat())
            .saturating_sub(silent);
        known.due = self.wheel.insert(name_of(conn), after);
    }

    fn heartbeats(&mut self) {
        let mut due = Vec::new();
        self.wheel.take_due(&mut due);
        let shortest = self.wheel.ticks(self.settings.heartbeat_bounds().0);
        for (name, tick) in due {
            let conn = name as usize;
            // Another connection may have its number now.
            let Some(known) = self
                .conns
                .get(conn)
                .filter(|known| known.due == tick && !known.ending)
            else {
                continue;
            };
            if self.tick.saturating_sub(known.spoke) >= shortest && !known.is_blocked() {
                self.heartbeat(conn);
            }
            if self.conns.contains(conn) {
                self.watch(conn);
            }
        }
    }

    fn heartbeat(&mut self, conn: usize) {
        let known = &self.conns[conn];
        let Some(group) = self.groups.get_mut(known.group as usize) else {
            return;
        };
        let live = group.reader.as_mut().and_then(Reader::live_position);
        let (bytes, told) = heartbeat(group.form, live, known.told);
        // Nothing has to be sent anew after it: it has no id to go back to.
        let frame = Frame::new(vec![(Chunk::new(&bytes), None)]);
        self.conns[conn].told = told;
        self.write(conn, &frame);
    }
}

fn name_of(number: usize) -> u32 {
    u32::try_from(number).expect("files end before 2^32 of them are open")
}
