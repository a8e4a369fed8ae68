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
mod group;
mod survey;
mod terms;
mod thread;
mod wheel;

pub use survey::Slow;

use super::bell::Ear;
use super::reader::Reader;
use super::signal::Signal;
use super::term::Term;
use super::{End, Place, Shared};
use crate::clients::{Permit, Seat};
use crate::config::StreamSettings;
use crate::event::Position;
use crate::metrics::{Delay, Delivered, OpenStream};
use crate::wire::Form;
use parking_lot::Mutex;
use socket2::SockRef;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::thread::JoinHandle;
use std::time::Duration;
use thread::Shard;
use tokio::sync::oneshot;

/// How long a socket may wait for its shard, so that one waking serves many that come in a row.
const ADMISSION: Duration = Duration::from_millis(1);

/// A socket whose response head and first block were written by HTTP, and its reader.
#[derive(Debug)]
pub struct Handed {
    /// The socket, in non-blocking mode.
    pub socket: std::net::TcpStream,
    /// Its reader.
    pub reader: Reader,
    /// The reader's place.
    pub place: Place,
    /// What its address and its subject hold of it.
    pub seat: Seat,
    /// The connection's place.
    pub permit: Permit,
    /// The form in which it is sent its events.
    pub form: Form,
    /// The id that it was told, unless that was no position.
    pub told: Option<Position>,
    /// How long it is served, if there is an end to that.
    pub term: Option<Term>,
    /// It as it is counted.
    pub open: OpenStream,
}

/// Has the kernel let go of what a client has not taken as soon as its socket is closed, and not keep it for
/// minutes in case that the client takes it still.
pub(crate) fn forget_unsent(socket: &SockRef<'_>) {
    if let Err(error) = socket.set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "SO_LINGER was refused");
    }
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
    /// Events and notices written, one for each connection, and bytes.
    pub delivered: Delivered,
    /// How long events took to readers that were live.
    pub delay: Delay,
    /// Writes.
    pub writes: AtomicU64,
    /// Writes that a full socket cut short.
    pub blocked: AtomicU64,
}

/// Where a shard is told what it has to do.
#[derive(Debug)]
struct Desk {
    inbox: Mutex<Vec<Order>>,
    /// Whether the shard is to be woken shortly.
    waking: AtomicBool,
    ear: Arc<Ear>,
    stats: ShardStats,
}

#[derive(Debug)]
enum Order {
    Serve(Box<Handed>),
    /// A reader is back from the log, or lost on the way.
    Back(Box<Back>),
    /// Tell which readers are furthest behind, so many at most.
    Survey {
        limit: usize,
        answer: oneshot::Sender<Vec<Slow>>,
    },
    /// End all connections in good order, spread over a time.
    End(End),
    /// End those connections in good order whose subject was revoked.
    Revoked,
    /// End the thread.
    Stop,
}

#[derive(Debug)]
struct Back {
    group: usize,
    serial: u64,
    /// The reader, and what it has heard, if anything; `None` where its task has panicked.
    found: Option<(Reader, Option<Signal>)>,
}

/// A reader's way to the log, from which a shard hears however it ends.
struct Errand {
    desk: Arc<Desk>,
    back: Option<Box<Back>>,
}

impl Errand {
    fn new(desk: Arc<Desk>, group: usize, serial: u64) -> Self {
        let back = Back {
            group,
            serial,
            found: None,
        };
        Self {
            desk,
            back: Some(Box::new(back)),
        }
    }

    async fn run(mut self, mut reader: Reader, through: u64) {
        let signal = reader.catch_up(through).await;
        if let Some(back) = &mut self.back {
            back.found = Some((reader, signal));
        }
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            self.desk.tell(Order::Back(back));
        }
    }
}

impl Desk {
    fn tell(&self, order: Order) {
        self.inbox.lock().push(order);
        self.ear.wake();
    }

    /// The same, for the shard to see within [`ADMISSION`] together with what else comes until then.
    fn tell_soon(self: &Arc<Self>, order: Order) {
        self.inbox.lock().push(order);
        if self.waking.swap(true, AcqRel) {
            return;
        }
        let desk = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(ADMISSION).await;
            desk.waking.store(false, Release);
            desk.ear.wake();
        });
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
        self.shards[number]
            .0
            .tell_soon(Order::Serve(Box::new(handed)));
    }

    /// Ends all connections with `hub:closing`, each at its own random moment, as fast as their sockets take it; those
    /// that come later likewise.
    pub fn end(&self, end: End) {
        self.shards
            .iter()
            .for_each(|(desk, _)| desk.tell(Order::End(end)));
    }

    /// Ends those connections with `hub:closing` whose [seat](Seat) was revoked.
    pub fn end_revoked(&self) {
        self.shards
            .iter()
            .for_each(|(desk, _)| desk.tell(Order::Revoked));
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
