//! What a connection holds of messages that have not come whole.

use crate::http::handoff;
use crate::publish::Share;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What each connection may hold without asking, in bytes: most messages are smaller.
const FREE: usize = 16 << 10;
/// In steps of how many bytes it asks for more.
const STEP: usize = 64 << 10;

/// A socket that counts what it has read of a message against what all that is published may hold together. Otherwise
/// many clients that each send the beginning of a large message would fill the memory.
pub(super) struct Metered {
    io: handoff::Socket,
    share: Share,
    /// Bytes read since the last message was whole.
    pending: usize,
    /// The largest message, in bytes.
    most: usize,
    /// Whether there was no more to be had.
    used_up: bool,
}

impl Metered {
    /// `read` bytes have been read of it already.
    pub(super) fn new(io: handoff::Socket, share: Share, read: usize, most: usize) -> Self {
        Self {
            io,
            share,
            pending: read,
            most,
            used_up: false,
        }
    }

    /// Whether reading has failed because there was no more to be had.
    pub(super) fn is_used_up(&self) -> bool {
        self.used_up
    }

    /// A message has come whole.
    pub(super) fn whole(&mut self) {
        self.pending = 0;
        self.give_back();
    }

    /// A control frame has come, maybe within a message, with so many bytes.
    pub(super) fn control(&mut self, bytes: usize) {
        self.pending = self.pending.saturating_sub(bytes);
        if self.pending == 0 {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        // Less is always to be had.
        let _ = self.share.resize(0);
    }

    fn count(&mut self, bytes: usize) -> io::Result<()> {
        self.pending = (self.pending + bytes).min(self.most);
        let needed = match self.pending {
            0..=FREE => 0,
            pending => pending.next_multiple_of(STEP),
        };
        self.share.resize(needed).map_err(|error| {
            self.used_up = true;
            io::Error::other(error)
        })
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let read = buffer.filled().len() - before;
        Poll::Ready(match self.used_up {
            true => Ok(()), // the rest is thrown away
            false => self.count(read),
        })
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
