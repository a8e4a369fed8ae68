//! A connection's bytes, in the clear or within TLS, until it is clear which version of HTTP they are.

use super::handoff::Socket;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;

/// A connection as HTTP and WebSockets see it.
pub(super) struct Transport {
    inner: Inner,
    /// `None` once it is clear which version of HTTP is spoken.
    greeting: Option<Greeting>,
}

enum Inner {
    Clear(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// What a connection over HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The beginning of a connection, up to where it differs from the preface, or the preface's end: so long hyper
/// waits for more without a limit of its own.
struct Greeting {
    heard: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Greeting {
    /// Whether it is still open how this will go on.
    fn hear(&mut self, bytes: &[u8]) -> bool {
        let expected = &PREFACE[self.heard..];
        self.heard += bytes.len();
        bytes.len() < expected.len() && expected.starts_with(bytes)
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl Transport {
    /// The bytes of the socket itself; it fails where it has not shown by `deadline` which version of HTTP it speaks.
    pub(super) fn clear(socket: Socket, deadline: Instant) -> Self {
        Self::new(Inner::Clear(socket), deadline)
    }

    /// Those within TLS, likewise.
    pub(super) fn tls(stream: Box<TlsStream<Socket>>, deadline: Instant) -> Self {
        Self::new(Inner::Tls(stream), deadline)
    }

    fn new(inner: Inner, deadline: Instant) -> Self {
        let deadline = Box::pin(tokio::time::sleep_until(deadline));
        Self {
            inner,
            greeting: Some(Greeting { heard: 0, deadline }),
        }
    }

    fn inner(&mut self) -> Pin<&mut dyn Duplex> {
        match &mut self.inner {
            Inner::Clear(socket) => Pin::new(socket),
            Inner::Tls(stream) => Pin::new(stream.as_mut()),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = self.inner().poll_read(cx, buffer);
        let Some(greeting) = &mut self.greeting else {
            return polled;
        };
        if polled.is_pending() && greeting.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if polled.is_ready() && !greeting.hear(&buffer.filled()[before..]) {
            self.greeting = None;
        }
        polled
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }
}
