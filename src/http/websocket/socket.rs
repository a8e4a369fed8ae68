//! The frames of one WebSocket, and its end in good order.

use super::ended::Ended;
use super::metered::Metered;
use crate::metrics::{OpenStream, WebSocketCounters};
use crate::wire::Closing;
use bytes::{Buf, Bytes};
use futures::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// What a frame holds at most that is sent: a larger message goes out in pieces, so that no connection keeps a buffer
/// as large as the largest event that it was ever sent.
const FRAME: usize = 16 << 10;
/// What is read at once. A buffer of this size stays with each connection.
const READ_BUFFER: usize = 4 << 10;
/// What a control frame of a client has before its bytes.
const CONTROL_HEAD: usize = 6;
/// How long the end of a connection may take, from its closing frame to the client's own end.
const CLOSING: Duration = Duration::from_secs(5);

/// Making a WebSocket of a connection waits for nothing, so that nobody meets one half made.
const WHOLE: &str = "a WebSocket is made anew at once";

/// A WebSocket.
pub(super) struct Socket {
    /// `None` only while it is made anew.
    inner: Option<WebSocketStream<Metered>>,
    config: WebSocketConfig,
    /// Whether a message has begun of which not all frames are out.
    unfinished: bool,
    counters: WebSocketCounters,
    /// It as it is counted.
    pub(super) open: OpenStream,
}

/// What a client has sent.
#[derive(Debug)]
pub(super) enum Incoming {
    Text(Utf8Bytes),
    Binary(Bytes),
    /// A ping or pong: a sign of life.
    Sign,
}

impl Socket {
    /// A WebSocket for messages of at most `max_message` bytes.
    pub(super) async fn new(
        io: Metered,
        max_message: usize,
        counters: WebSocketCounters,
        counted: OpenStream,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(FRAME)
            .max_message_size(Some(max_message))
            .max_frame_size(Some(max_message));
        Self {
            inner: Some(open(io, config).await),
            config,
            unfinished: false,
            counters,
            open: counted,
        }
    }

    fn inner(&mut self) -> &mut WebSocketStream<Metered> {
        self.inner.as_mut().expect(WHOLE)
    }

    /// When bytes last came, of a whole message or not.
    pub(super) fn came(&self) -> Instant {
        self.inner.as_ref().expect(WHOLE).get_ref().came()
    }

    /// When a message began that has not come whole.
    pub(super) fn began(&self) -> Option<Instant> {
        self.inner.as_ref().expect(WHOLE).get_ref().began()
    }

    /// Gives up the room that was made for a large message, once that is let go.
    pub(super) async fn shrink(&mut self) -> Result<(), Ended> {
        match self.inner().get_ref().has_large() {
            // Boxed, as each connection's task would be larger by it.
            true => Box::pin(self.make_anew()).await,
            false => Ok(()),
        }
    }

    async fn make_anew(&mut self) -> Result<(), Ended> {
        self.flush().await?; // what is still to be sent would be lost
        let mut io = self.inner.take().expect(WHOLE).into_inner();
        io.read_anew();
        self.inner = Some(open(io, self.config).await);
        Ok(())
    }

    /// What comes next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Incoming, Ended> {
        let message = match self.inner().next().await {
            Some(Ok(message)) => message,
            Some(Err(_)) if self.inner().get_ref().is_used_up() => {
                return Err(Ended::Closing(Closing::Overload));
            }
            Some(Err(error)) => return Err(error.into()),
            None => return Err(Ended::ByClient),
        };
        let incoming = match message {
            Message::Text(text) => Incoming::Text(text),
            Message::Binary(bytes) => Incoming::Binary(bytes),
            Message::Close(_) => return Err(Ended::ByClient),
            Message::Ping(bytes) | Message::Pong(bytes) => {
                self.inner().get_mut().control(CONTROL_HEAD + bytes.len());
                return Ok(Incoming::Sign);
            }
            Message::Frame(_) => return Ok(Incoming::Sign),
        };
        self.inner().get_mut().whole();
        self.counters.received.inc();
        Ok(incoming)
    }

    /// Sends a text message.
    pub(super) async fn text(&mut self, text: String) -> Result<(), Ended> {
        self.feed(Data::Text, "", text.into()).await?;
        self.flush().await
    }

    /// Sends a binary message: a line of JSON, and bytes.
    pub(super) async fn binary(&mut self, head: &str, bytes: Bytes) -> Result<(), Ended> {
        self.feed(Data::Binary, head, bytes).await?;
        self.flush().await
    }

    /// Sends a message that consists of `head` and `rest`; the last of it may be kept until [`flush`](Self::flush).
    pub(super) async fn feed(
        &mut self,
        form: Data,
        head: &str,
        mut rest: Bytes,
    ) -> Result<(), Ended> {
        let begun = cut(&rest, FRAME.saturating_sub(head.len()));
        let bytes = head.len() + rest.len();
        let mut first = Vec::with_capacity(head.len() + begun);
        first.extend_from_slice(head.as_bytes());
        first.extend_from_slice(&rest[..begun]);
        rest.advance(begun);
        self.frame(first.into(), form, rest.is_empty()).await?;
        while !rest.is_empty() {
            let piece = rest.split_to(cut(&rest, FRAME));
            self.frame(piece, Data::Continue, rest.is_empty()).await?;
        }
        self.counters.sent.inc();
        self.open.delivered(0, bytes as u64);
        Ok(())
    }

    async fn frame(&mut self, bytes: Bytes, form: Data, is_last: bool) -> Result<(), Ended> {
        let frame = Frame::message(bytes, OpCode::Data(form), is_last);
        self.inner().feed(Message::Frame(frame)).await?;
        self.unfinished = !is_last;
        Ok(())
    }

    /// Asks for a sign of life.
    pub(super) async fn ping(&mut self) -> Result<(), Ended> {
        Ok(self.inner().send(Message::Ping(Bytes::new())).await?)
    }

    /// Waits until the client has been sent all, pongs among it.
    pub(super) async fn flush(&mut self) -> Result<(), Ended> {
        Ok(self.inner().flush().await?)
    }

    /// Whether a message may be sent: none may begin within another.
    pub(super) fn is_between_messages(&self) -> bool {
        !self.unfinished
    }

    /// Tells the client why it is closed, waits until it has understood that, and closes the connection so that
    /// nothing is lost on the way: what comes of a closed socket that was sent more makes the client's system drop
    /// what it has not read.
    pub(super) async fn close(mut self, ended: &Ended) {
        if let Ended::Lost(_) = ended {
            return;
        }
        let closing = async {
            if let Some((code, reason)) = ended.frame() {
                let frame = CloseFrame {
                    code,
                    reason: reason.into(),
                };
                self.inner().send(Message::Close(Some(frame))).await?;
            }
            while let Some(Ok(_)) = self.inner().next().await {}
            let io = self.inner().get_mut();
            io.discard();
            io.shutdown().await?;
            tokio::io::copy(io, &mut tokio::io::sink()).await?;
            Ok::<_, tokio_tungstenite::tungstenite::Error>(())
        };
        // One that takes longer, or breaks, has ended all the same.
        let _ = tokio::time::timeout(CLOSING, closing).await;
    }
}

async fn open(io: Metered, config: WebSocketConfig) -> WebSocketStream<Metered> {
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// Where to cut off at most `most` bytes, not within a character of a text.
fn cut(bytes: &[u8], most: usize) -> usize {
    if bytes.len() <= most {
        return bytes.len();
    }
    let starts_character = |at: &usize| bytes[*at] & 0xc0 != 0x80;
    (most.saturating_sub(3)..=most)
        .rev()
        .find(starts_character)
        .unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_text_is_not_cut_within_a_character_and_bytes_are_cut_anyhow() {
        let text = "aé€😀".as_bytes();
        let cuts: Vec<usize> = (0..=text.len()).map(|most| cut(text, most)).collect();
        assert_eq!(cuts, [0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10]);
        assert_eq!(cut(&[0x80; 10], 8), 8);
    }
}
