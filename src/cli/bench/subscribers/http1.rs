//! A thread of readers over HTTP/1.1: one `mio::Poll`, one buffer, one scanner, and connections with next to
//! no state of their own.

mod conn;

use super::share::Share;
use super::{Order, Tally};
use crate::cli::bench::mark::Scanner;
use conn::{Buffer, Conn, News};
use mio::{Events, Interest, Poll, Token, Waker};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;

const WAKER: Token = Token(usize::MAX);

pub(super) struct Thread {
    share: Share,
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
    pub(super) fn new(share: Share, orders: Receiver<Order>) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let thread = Self {
            share,
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
                self.share.progress.fail(&error.into());
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
            self.share.received(received);
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

    fn open_more(&mut self) {
        while self.opening < self.share.target.at_once
            && self.share.reader(self.conns.len()) < self.through
        {
            let index = self.conns.len();
            let reader = self.share.reader(index);
            match self.connect(index, reader) {
                Ok(conn) => {
                    self.opening += 1;
                    self.conns.push(Some(Box::new(conn)));
                }
                Err(error) => {
                    self.conns.push(None);
                    self.share.progress.fail(&error.into());
                }
            }
        }
    }

    fn connect(&self, index: usize, reader: usize) -> io::Result<Conn> {
        let tracks = self.share.plan.tracks_of(reader);
        let began = self.share.clock.micros();
        let mut conn = Conn::open(self.share.target.url.address, reader, began, tracks)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut conn.socket, Token(index), interest)?;
        Ok(conn)
    }

    /// Returns how many new events have come.
    fn on_event(&mut self, index: usize, buffer: &mut Buffer) -> u64 {
        let reader = self.share.reader(index);
        let Self {
            share,
            scanner,
            conns,
            id,
            opening,
            tally,
            ..
        } = self;
        let Some(conn) = conns[index].as_mut().filter(|conn| !conn.has_ended()) else {
            return 0;
        };
        let was_open = conn.is_open();
        let mut count = share.count(reader, tally);
        let news = match conn.is_connecting() {
            true => conn
                .send(|| share.target.request(&share.plan, reader, id.as_deref()))
                .map(|()| News::None),
            false => conn.receive(scanner, buffer, |ledger, mark| count.add(ledger, mark)),
        };
        let received = count.received;
        match news {
            Ok(News::None) => {}
            Ok(News::Opened) => {
                share.opened(tally, conn.began);
                *opening -= 1;
            }
            Ok(News::Closed) => {
                share.progress.closed.fetch_add(1, Relaxed);
            }
            Err(error) => {
                conn.end();
                *opening -= usize::from(!was_open);
                share.progress.fail(&error);
            }
        }
        received
    }

    fn report(mut self) -> Tally {
        for (index, conn) in self.conns.iter().enumerate() {
            let ledger = conn.as_ref().map(|conn| &conn.ledger);
            self.tally.lost += self.share.lost(index, ledger);
        }
        self.tally
    }
}
