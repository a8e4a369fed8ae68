//! A thread of readers: one `mio::Poll`, one buffer, one scanner.

use super::conn::{Buffer, Conn, Found, News};
use super::{Order, Progress, Tally, Target};
use crate::cli::bench::clock::Clock;
use crate::cli::bench::ledger::Kind;
use crate::cli::bench::mark::Scanner;
use crate::cli::bench::plan::Plan;
use mio::{Events, Interest, Poll, Token, Waker};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;

const WAKER: Token = Token(usize::MAX);
/// The delay is taken on every so many-th connection.
const SAMPLED: usize = 16;

/// Which readers are a thread's own: every `threads`-th, from `number` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) number: usize,
    pub(super) threads: usize,
}

pub(super) struct Thread {
    share: Share,
    plan: Arc<Plan>,
    target: Target,
    clock: Clock,
    progress: Arc<Progress>,
    orders: Receiver<Order>,
    poll: Poll,
    scanner: Scanner,
    /// The readers of its share, in order. Boxed, so that a row of thousands can grow without a copy.
    conns: Vec<Option<Box<Conn>>>,
    /// Up to which reader to open.
    through: usize,
    id: Option<Arc<str>>,
    /// Connects under way.
    opening: usize,
    tally: Tally,
}

impl Thread {
    pub(super) fn new(
        share: Share,
        plan: Arc<Plan>,
        target: Target,
        clock: Clock,
        progress: Arc<Progress>,
        orders: Receiver<Order>,
    ) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let thread = Self {
            share,
            plan,
            target,
            clock,
            progress,
            orders,
            poll,
            scanner: Scanner::new(),
            conns: Vec::new(),
            through: 0,
            id: None,
            opening: 0,
            tally: Tally::new(),
        };
        Ok((thread, waker))
    }

    pub(super) fn run(mut self) -> Tally {
        let mut events = Events::with_capacity(1024);
        let mut buffer = Buffer::new();
        loop {
            if let Err(error) = self.poll.poll(&mut events, None)
                && error.kind() != io::ErrorKind::Interrupted
            {
                self.progress.fail(&error.into());
                return self.report();
            }
            let mut received = 0;
            for event in &events {
                match event.token() {
                    WAKER if self.is_told_to_end() => return self.report(),
                    WAKER => {}
                    Token(index) => received += self.on_event(index, &mut buffer),
                }
            }
            if received > 0 {
                let now = self.clock.micros();
                self.progress.last_received.fetch_max(now, Relaxed);
                self.progress.received.fetch_add(received, Relaxed);
            }
            self.open_more();
        }
    }

    fn is_told_to_end(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Open { through, id } => {
                    self.through = through;
                    self.id = id;
                }
                Order::End => return true,
            }
        }
        false
    }

    fn reader(&self, index: usize) -> usize {
        self.share.number + index * self.share.threads
    }

    fn open_more(&mut self) {
        while self.opening < self.target.at_once && self.reader(self.conns.len()) < self.through {
            let index = self.conns.len();
            let reader = self.reader(index);
            match self.connect(index, reader) {
                Ok(conn) => {
                    self.opening += 1;
                    self.conns.push(Some(Box::new(conn)));
                }
                Err(error) => {
                    self.conns.push(None);
                    self.progress.fail(&error.into());
                }
            }
        }
    }

    fn connect(&self, index: usize, reader: usize) -> io::Result<Conn> {
        let tracks = self.plan.tracks_of(reader);
        let began = self.clock.micros();
        let mut conn = Conn::open(self.target.url.address, reader, began, tracks)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut conn.socket, Token(index), interest)?;
        Ok(conn)
    }

    /// Returns how many new events have come.
    fn on_event(&mut self, index: usize, buffer: &mut Buffer) -> u64 {
        let reader = self.reader(index);
        let Self {
            plan,
            target,
            clock,
            progress,
            scanner,
            conns,
            id,
            tally,
            opening,
            ..
        } = self;
        let Some(conn) = &mut conns[index] else {
            return 0;
        };
        if conn.has_ended() {
            return 0;
        }
        let was_open = conn.is_open();
        let mut received = 0;
        let sampled = reader.is_multiple_of(SAMPLED);
        let mut now = None;
        let found = |found: Found| match found {
            Found::Event(mark, kind) => {
                received += u64::from(kind != Kind::Duplicate);
                tally.late += u64::from(kind == Kind::Late);
                tally.duplicates += u64::from(kind == Kind::Duplicate);
                if sampled {
                    let now = *now.get_or_insert_with(|| clock.micros());
                    tally.delay.saturating_record(now.saturating_sub(mark.sent));
                }
            }
            Found::Stray => tally.strays += 1,
        };
        let news = match conn.is_connecting() {
            true => conn
                .send(|| request(plan, target, reader, id.as_deref()))
                .map(|()| News::None),
            false => conn.receive(plan, reader, scanner, buffer, found),
        };
        match news {
            Ok(News::None) => {}
            Ok(News::Opened) => {
                let now = clock.micros();
                tally.connect.saturating_record(now - conn.began);
                progress.last_open.fetch_max(now, Relaxed);
                progress.open.fetch_add(1, Relaxed);
                *opening -= 1;
            }
            Ok(News::Closed) => {
                progress.closed.fetch_add(1, Relaxed);
            }
            Err(error) => {
                conn.end();
                *opening -= usize::from(!was_open);
                progress.fail(&error);
            }
        }
        received
    }

    /// Takes stock. All that was published has been acknowledged or has failed.
    fn report(mut self) -> Tally {
        for (index, conn) in self.conns.iter().enumerate() {
            let expected = self.plan.expected(self.reader(index));
            let received = conn.as_ref().map_or(0, |conn| conn.ledger.received);
            self.tally.lost += expected.saturating_sub(received.into());
        }
        self.tally
    }
}

fn request(plan: &Plan, target: &Target, reader: usize, id: Option<&str>) -> String {
    let asked = plan.asks_for(reader);
    let path = target.url.target(asked.iter().map(String::as_str));
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n{}",
        target.url.authority, target.headers
    );
    if let Some(id) = id {
        request.push_str(&format!("Last-Event-ID: {id}\r\n"));
    }
    request.push_str("\r\n");
    request
}
