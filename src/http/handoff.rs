//! How a socket gets from hyper to a shard.
//!
//! hyper serves the request like any other. The response's body, once it has given its first block, arms the
//! wrapper around the connection's socket; hyper then flushes the response's head, and in that flush the
//! wrapper gives its socket away and reports an error, at which hyper drops the connection with all its
//! buffers. Nothing that hyper was to write is lost, since it flushes only when all is written.

use super::stall::Stall;
use crate::clients::Permit;
use crate::hub::forget_unsent;
use crate::metrics::Fate;
use bytes::Bytes;
use http_body::Frame;
use parking_lot::Mutex;
use socket2::SockRef;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// What is done with a socket that is given away.
type Take = Box<dyn FnOnce(TcpStream, Permit) + Send>;

/// Where a response asks for its connection's socket; found among the request's extensions. Cloning it
/// gives another handle.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Wish>);

#[derive(Default)]
struct Wish {
    armed: AtomicBool,
    take: Mutex<Option<Take>>,
    fate: Fate,
}

impl Slot {
    fn arm(&self, take: Take) {
        *self.0.take.lock() = Some(take);
        self.0.armed.store(true, Release);
    }

    /// What tells whether the connection's client has stalled.
    pub(super) fn fate(&self) -> Fate {
        self.0.fate.clone()
    }

    /// Whether a shard has the socket, which looks like an error to those who served it before.
    pub(super) fn is_given_away(&self) -> bool {
        self.0.armed.load(Acquire) && self.0.take.lock().is_none()
    }

    fn taken(&self) -> Option<Take> {
        match self.0.armed.load(Acquire) {
            true => self.0.take.lock().take(),
            false => None,
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

/// An accepted socket, and its place among the connections.
pub(super) struct Socket {
    /// `None` once it was given away.
    inner: Option<(TcpStream, Permit)>,
    slot: Slot,
    stall: Stall,
    /// Set while the socket is full: when it will have taken nothing for too long.
    full: Option<Pin<Box<Sleep>>>,
    /// Whether the socket has shown to have room that the kernel has not told of yet.
    has_room: bool,
}

impl Socket {
    /// A socket that fails when it stalls.
    pub(super) fn new(stream: TcpStream, permit: Permit, slot: Slot, stall: Stall) -> Self {
        Self {
            inner: Some((stream, permit)),
            slot,
            stall,
            full: None,
            has_room: false,
        }
    }

    /// The first byte of what has come, which stays to be read.
    pub(super) async fn first_byte(&self) -> io::Result<u8> {
        let Some((stream, _)) = &self.inner else {
            return Err(given_away());
        };
        let mut byte = [0];
        match stream.peek(&mut byte).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(byte[0]),
        }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match &mut self.inner {
            Some((stream, _)) => Ok(Pin::new(stream)),
            None => Err(given_away()),
        }
    }

    /// What a write comes to: one that the socket has no room for fails once it had none for too long.
    ///
    /// The kernel tells of room only once a third of its buffer is free, and a slow client may be far from that. So it
    /// is tried at last; and where there is room, until there is none, or each small write would pass for a sign of life.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
        again: impl Fn(SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if polled.is_ready() {
            self.full = None;
            self.has_room = false;
            return polled;
        }
        let is_full = |result: &io::Result<usize>| matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        if self.has_room {
            let written = again(SockRef::from(&*self.stream()?));
            if !is_full(&written) {
                return Poll::Ready(written);
            }
            self.has_room = false;
        }
        let after = self.stall.after;
        let full = self
            .full
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        ready!(full.as_mut().poll(cx));
        let written = again(SockRef::from(&*self.stream()?));
        if is_full(&written) {
            self.stall.count.inc();
            self.slot.0.fate.stalled();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.full = None;
        self.has_room = true;
        Poll::Ready(written)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let (Some((stream, _)), Some(_)) = (&self.inner, &self.full) {
            forget_unsent(&SockRef::from(stream));
        }
    }
}

fn given_away() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the socket was handed to a shard",
    )
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = self.stream()?.poll_write(cx, bytes);
        self.written(cx, polled, |socket| socket.send(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.stream()?.poll_write_vectored(cx, slices);
        self.written(cx, polled, |socket| socket.send_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A TCP socket has nothing to flush.
        let Some(take) = self.slot.taken() else {
            return Poll::Ready(Ok(()));
        };
        if let Some((stream, permit)) = self.inner.take() {
            take(stream, permit);
        }
        Poll::Ready(Err(given_away()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream() {
            Ok(stream) => stream.poll_shutdown(cx),
            Err(_) => Poll::Ready(Ok(())),
        }
    }
}

/// A body that gives its first block, and then its connection's socket away.
pub(super) struct Body {
    first: Option<Bytes>,
    take: Option<Take>,
    slot: Slot,
}

impl Body {
    pub(super) fn new(
        first: Bytes,
        slot: Slot,
        take: impl FnOnce(TcpStream, Permit) + Send + 'static,
    ) -> Self {
        Self {
            first: Some(first),
            take: Some(Box::new(take)),
            slot,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if let Some(take) = self.take.take() {
            self.slot.arm(take);
        }
        Poll::Pending // for ever: the connection ends at the flush that follows
    }
}
