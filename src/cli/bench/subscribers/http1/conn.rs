//! One reader's connection.

use crate::cli::bench::http::{self, Head};
use crate::cli::bench::ledger::Ledger;
use crate::cli::bench::mark::{MAX_TAIL, Mark, Scanner};
use crate::cli::bench::subscribers::source::source;
use anyhow::{Context, bail, ensure};
use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

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

    /// Reads what is there, and passes on each mark that it finds.
    pub(super) fn receive(
        &mut self,
        scanner: &Scanner,
        buffer: &mut Buffer,
        mut found: impl FnMut(&mut Ledger, Mark),
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
            let hold = scanner.scan(bytes, |mark| found(&mut self.ledger, mark));
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

/// How long the head is, once it is whole.
fn stream_begins(head: &[u8]) -> anyhow::Result<Option<usize>> {
    match Head::parse(head)? {
        Some(parsed) if parsed.status == 200 => Ok(Some(parsed.length)),
        Some(parsed) => {
            let detail = http::detail(&head[parsed.length..]);
            bail!("a reader was answered with {}: {detail}", parsed.status)
        }
        None if head.len() > MAX_HEAD => bail!("an answer's head does not end"),
        None => Ok(None),
    }
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
