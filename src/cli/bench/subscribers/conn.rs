//! One reader's connection.

use crate::cli::bench::http::Head;
use crate::cli::bench::ledger::{Kind, Ledger};
use crate::cli::bench::mark::{MAX_TAIL, Mark, Scanner};
use crate::cli::bench::plan::Plan;
use anyhow::{Context, bail, ensure};
use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Connections from one address; the kernel has some 28,000 ports for each by default.
const PER_SOURCE: usize = 20_000;
/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// What `connect` reports for a non-blocking socket that is on its way.
const IN_PROGRESS: i32 = if cfg!(target_os = "linux") { 115 } else { 36 };

/// Where reads go, shared by all connections of a thread. What a stream held back is put in front.
pub(super) struct Buffer(Box<[u8]>);

impl Buffer {
    pub(super) fn new() -> Self {
        Self(vec![0; MAX_TAIL + (256 << 10)].into())
    }
}

/// A connection, and what its reader has received.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) socket: TcpStream,
    /// When it was opened, in microseconds since the run began.
    pub(super) began: u64,
    stage: Stage,
    tail: [u8; MAX_TAIL],
    held: u8,
    pub(super) ledger: Ledger,
}

#[derive(Debug)]
enum Stage {
    Connecting,
    /// The request is sent; so much of the answer's head is there.
    Head(Vec<u8>),
    Open,
    Ended,
}

/// What has become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    None,
    /// Its stream has begun.
    Opened,
    /// Its stream has ended.
    Closed,
}

/// What was found in a read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    Event(Mark, Kind),
    /// An event that the reader did not ask for.
    Stray,
}

impl Conn {
    /// Begins to connect reader number `reader`.
    pub(super) fn open(
        address: SocketAddr,
        reader: usize,
        began: u64,
        tracks: usize,
    ) -> io::Result<Self> {
        let socket = match source(address, reader) {
            None => TcpStream::connect(address)?,
            Some(source) => connect_from(source, address)?,
        };
        Ok(Self {
            socket,
            began,
            stage: Stage::Connecting,
            tail: [0; MAX_TAIL],
            held: 0,
            ledger: Ledger::new(tracks),
        })
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.stage, Stage::Connecting)
    }

    pub(super) fn end(&mut self) {
        self.stage = Stage::Ended;
    }

    /// Sends the request, if the connection stands.
    pub(super) fn send(&mut self, request: impl FnOnce() -> String) -> anyhow::Result<()> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error).context("a connect failed");
        }
        match self.socket.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
            Err(error) => return Err(error).context("a connect failed"),
        }
        let request = request();
        let sent = self.socket.write(request.as_bytes())?;
        ensure!(
            sent == request.len(),
            "a new socket took only half a request"
        );
        self.stage = Stage::Head(Vec::new());
        Ok(())
    }

    /// Reads what is there, and passes on what it finds.
    pub(super) fn receive(
        &mut self,
        plan: &Plan,
        reader: usize,
        scanner: &Scanner,
        buffer: &mut Buffer,
        mut found: impl FnMut(Found),
    ) -> anyhow::Result<News> {
        let mut news = News::None;
        let buffer = &mut *buffer.0;
        loop {
            let count = match self.socket.read(&mut buffer[MAX_TAIL..]) {
                Ok(0) => return self.closed(),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(news),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return self.closed(),
            };
            let mut start = MAX_TAIL;
            if let Stage::Head(head) = &mut self.stage {
                let before = head.len();
                head.extend_from_slice(&buffer[start..start + count]);
                match stream_begins(head)? {
                    Some(length) => start += length - before,
                    None => continue,
                }
                self.stage = Stage::Open;
                news = News::Opened;
            }
            let held = usize::from(self.held);
            let end = MAX_TAIL + count;
            buffer[start - held..start].copy_from_slice(&self.tail[..held]);
            let bytes = &buffer[start - held..end];
            let hold = scanner.scan(bytes, |mark| {
                if let Some(event) = note(&mut self.ledger, plan, reader, mark) {
                    found(event);
                }
            });
            self.tail[..hold].copy_from_slice(&bytes[bytes.len() - hold..]);
            self.held = u8::try_from(hold).expect("a tail is short");
            // A read that leaves room in the buffer has emptied the socket (epoll(7)).
            if end < buffer.len() {
                return Ok(news);
            }
        }
    }

    fn closed(&mut self) -> anyhow::Result<News> {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Open => Ok(News::Closed),
            Stage::Ended => Ok(News::None),
            Stage::Connecting | Stage::Head(_) => {
                bail!("the server closed a connection unanswered")
            }
        }
    }
}

fn note(ledger: &mut Ledger, plan: &Plan, reader: usize, mark: Mark) -> Option<Found> {
    if mark.run != plan.run || mark.publisher >= plan.publishers() {
        return None; // of another run, or from before this one's events
    }
    let kind = plan
        .track(reader, mark.feed, mark.publisher)
        .and_then(|track| ledger.note(track, mark.number));
    Some(kind.map_or(Found::Stray, |kind| Found::Event(mark, kind)))
}

/// How long the head is, once it is whole.
fn stream_begins(head: &[u8]) -> anyhow::Result<Option<usize>> {
    match Head::parse(head)? {
        Some(parsed) if parsed.status == 200 => Ok(Some(parsed.length)),
        Some(parsed) => {
            let text = String::from_utf8_lossy(&head[parsed.length..]);
            bail!(
                "a reader was answered with {}: {}",
                parsed.status,
                text.trim()
            )
        }
        None if head.len() > MAX_HEAD => bail!("an answer's head does not end"),
        None => Ok(None),
    }
}

/// The address to connect from, where the one that the kernel takes would run out of ports.
fn source(target: SocketAddr, reader: usize) -> Option<Ipv4Addr> {
    let number = u8::try_from(1 + reader / PER_SOURCE).ok()?;
    let target = match target.ip() {
        IpAddr::V4(target) if target.is_loopback() && number > 1 => target,
        _ => return None,
    };
    let [a, b, c, _] = target.octets();
    Some(Ipv4Addr::new(a, b, c, number))
}

fn connect_from(source: Ipv4Addr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_to_loopback_come_from_several_addresses() {
        let local = "127.0.0.1:80".parse().unwrap();
        assert_eq!(source(local, 0), None);
        assert_eq!(source(local, 19_999), None);
        assert_eq!(source(local, 20_000), Some(Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!(source("192.0.2.1:80".parse().unwrap(), 20_000), None);
    }
}
