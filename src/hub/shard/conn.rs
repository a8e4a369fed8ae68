//! A socket that was handed off.

use super::wheel::Tick;
use crate::clients::{Permit, Seat};
use crate::event::Position;
use crate::hub::{Place, Term};
use crate::metrics::OpenStream;
use crate::wire::{Closing, Form};
use bytes::Bytes;
use mio::net::TcpStream;
use std::collections::VecDeque;
use std::io::{self, Read, Write};

/// How much a client may send on a stream that it only has to read, in one go.
const MAX_UNASKED: usize = 64 << 10;

/// A connection: a socket, and what it has not taken yet.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) socket: TcpStream,
    /// The form in which it is spoken to.
    pub(super) form: Form,
    /// The group that serves it, and its place among that group's members.
    pub(super) group: u32,
    pub(super) at: u32,
    /// The rest of the chunk in which the socket was full, shared with all who are sent it, and what comes after
    /// it all the same: the next chunk after a heartbeat, or the stream's end.
    pub(super) left: VecDeque<Bytes>,
    /// The last id told to the client, unless that was no position.
    pub(super) told: Option<Position>,
    /// When something was last sent.
    pub(super) spoke: Tick,
    /// When the socket was full, or last took something of what is left.
    pub(super) took: Tick,
    /// When it is next looked at for a heartbeat.
    pub(super) due: Tick,
    /// How long it is served, if there is an end to that.
    pub(super) term: Option<Term>,
    /// Set where it is closed once the socket has taken what is left: why.
    pub(super) ending: Option<Closing>,
    /// It as it is counted.
    pub(super) open: OpenStream,
    /// What its address and its subject hold of it.
    pub(super) seat: Seat,
    _place: Place,
    _permit: Permit,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The socket took all.
    All,
    /// It took so many bytes and is full.
    Part(usize),
    /// The client is gone.
    Gone,
}

impl Conn {
    pub(super) fn new(
        socket: TcpStream,
        form: Form,
        told: Option<Position>,
        term: Option<Term>,
        seat: Seat,
        open: OpenStream,
        place: Place,
        permit: Permit,
    ) -> Self {
        Self {
            socket,
            form,
            group: u32::MAX,
            at: 0,
            left: VecDeque::new(),
            told,
            spoke: 0,
            took: 0,
            due: 0,
            term,
            ending: None,
            open,
            seat,
            _place: place,
            _permit: permit,
        }
    }

    /// Writes as much as the socket takes. Nothing may be left over from before.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Written {
        debug_assert!(self.left.is_empty());
        write(&mut self.socket, bytes)
    }

    /// Keeps what the socket did not take by now, after what it had not taken before.
    pub(super) fn keep(&mut self, rest: Bytes, now: Tick) {
        if !self.is_blocked() {
            self.took = now;
        }
        self.left.push_back(rest);
    }

    pub(super) fn is_blocked(&self) -> bool {
        !self.left.is_empty()
    }

    /// Writes what was left over; also says how many bytes of it were taken.
    pub(super) fn flush(&mut self, now: Tick) -> (Written, usize) {
        let mut total = 0;
        while let Some(next) = self.left.pop_front() {
            match write(&mut self.socket, &next) {
                Written::All => total += next.len(),
                Written::Part(count) => {
                    self.left.push_front(next.slice(count..));
                    if total + count > 0 {
                        self.took = now;
                    }
                    return (Written::Part(count), total + count);
                }
                Written::Gone => return (Written::Gone, total),
            }
        }
        (Written::All, total)
    }

    /// The last that it is sent: what is left, and `bytes`; `reason` is why it ends.
    pub(super) fn finish(&mut self, bytes: Bytes, reason: Closing, now: Tick) {
        self.keep(bytes, now);
        self.ending = Some(reason);
    }

    /// Reads what the client sends, which is nothing that matters. `false` if it is gone, or does not stop.
    pub(super) fn drain_input(&mut self) -> bool {
        let mut buffer = [0; 1024];
        let mut total = 0;
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => total += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            if total > MAX_UNASKED {
                return false;
            }
        }
    }
}

fn write(socket: &mut TcpStream, bytes: &[u8]) -> Written {
    let mut written = 0;
    while written < bytes.len() {
        match socket.write(&bytes[written..]) {
            Ok(0) => return Written::Gone,
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Written::Part(written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Written::Gone,
        }
    }
    Written::All
}
