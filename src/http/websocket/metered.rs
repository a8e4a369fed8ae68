//! What a connection holds of messages that have not come whole.

use super::frames::Frames;
use crate::http::transport::Transport;
use crate::publish::Share;
use bytes::Bytes;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What each connection may hold without asking, in bytes, and keep: most messages are smaller.
const FREE: usize = 16 << 10;
/// In steps of how many bytes it asks for more.
const STEP: usize = 64 << 10;

/// A socket that counts what it has read of a message against what all that is published may hold together. Otherwise
/// many clients that each send the beginning of a large message would fill the memory.
pub(super) struct Metered {
    io: Transport,
    /// What was read of it before, and comes first.
    front: Bytes,
    frames: Frames,
    /// When bytes last came.
    came: Instant,
    /// When the first of a message came that is not whole.
    began: Option<Instant>,
    share: Share,
    /// Bytes read since the last message was whole.
    pending: usize,
    /// The largest message, in bytes.
    most: usize,
    /// Whether there was no more to be had.
    used_up: bool,
    /// Whether the rest is thrown away.
    discards: bool,
}

impl Metered {
    /// `read` has been read of it already.
    pub(super) fn new(io: Transport, read: &[u8], share: Share, most: usize) -> Self {
        Self {
            io,
            front: Bytes::copy_from_slice(read), // without the buffer that it is a part of
            frames: Frames::new(FREE),
            came: Instant::now(),
            began: None,
            share,
            pending: 0,
            most,
            used_up: false,
            discards: false,
        }
    }

    /// Whether reading has failed because there was no more to be had.
    pub(super) fn is_used_up(&self) -> bool {
        self.used_up
    }

    /// When bytes last came.
    pub(super) fn came(&self) -> Instant {
        self.came
    }

    /// When the first bytes came of a message that has not come whole.
    pub(super) fn began(&self) -> Option<Instant> {
        self.began
    }

    /// Whether there was a large frame, for which whoever reads has made room, and nothing was read beyond it.
    pub(super) fn has_large(&self) -> bool {
        self.frames.ends_large()
    }

    /// Somebody else reads from now on.
    pub(super) fn read_anew(&mut self) {
        self.frames.forget();
    }

    /// Nobody keeps any more of what is read.
    pub(super) fn discard(&mut self) {
        self.discards = true;
    }

    /// A message has come whole.
    pub(super) fn whole(&mut self) {
        self.pending = 0;
        self.began = None;
        self.give_back();
    }

    /// A control frame has come, maybe within a message, with so many bytes.
    pub(super) fn control(&mut self, bytes: usize) {
        self.pending = self.pending.saturating_sub(bytes);
        if self.pending == 0 {
            self.began = None;
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        // Less is always to be had.
        let _ = self.share.resize(0);
    }

    fn count(&mut self, bytes: usize) -> io::Result<()> {
        self.pending = (self.pending + bytes).min(self.most);
        if bytes > 0 {
            self.began.get_or_insert_with(Instant::now);
        }
        let kept = usize::try_from(self.frames.kept()).unwrap_or(usize::MAX);
        let needed = match self.pending.saturating_add(kept) {
            0..=FREE => 0,
            held => held.next_multiple_of(STEP).min(self.most.saturating_mul(2)),
        };
        self.share.resize(needed).map_err(|error| {
            (self.used_up, self.discards) = (true, true);
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
        let most = buffer.remaining().min(self.frames.allowance());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        match self.front.is_empty() {
            true => ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?,
            false => {
                let count = most.min(self.front.len());
                part.put_slice(&self.front.split_to(count));
            }
        }
        let read = part.filled().len();
        self.frames.follow(part.filled());
        buffer.advance(read);
        if read > 0 {
            self.came = Instant::now();
        }
        Poll::Ready(match self.discards {
            true => Ok(()),
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
