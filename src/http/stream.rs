//! A reader as the body of a response.

use crate::config::StreamSettings;
use crate::event::Position;
use crate::hub::{Entry, Reader, Signal};
use crate::wire::{self, Closing, Form, Notice, Say};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// When streams are to end, and why.
pub(super) type Ending = watch::Receiver<Option<Closing>>;

/// A stream of Server-Sent Events.
pub(super) struct Stream {
    reader: Reader,
    form: Form,
    settings: StreamSettings,
    ending: Ending,
    /// The last id told to the client, as text.
    id: String,
    opening: Option<Bytes>,
    ended: bool,
}

impl Stream {
    pub(super) fn new(
        reader: Reader,
        opening: String,
        form: Form,
        settings: StreamSettings,
        ending: Ending,
    ) -> Self {
        let first = wire::opening(settings.retry(), Some(&opening));
        Self {
            reader,
            form,
            settings,
            ending,
            id: opening,
            opening: Some(first.into()),
            ended: false,
        }
    }

    /// The stream as a body, which ends when the server does.
    pub(super) fn into_body(self) -> Body {
        Body::from_stream(futures::stream::unfold(self, async |mut stream| {
            let bytes = stream.next().await?;
            Some((Ok::<_, Infallible>(bytes), stream))
        }))
    }

    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if let Some(opening) = self.opening.take() {
            return Some(opening);
        }
        let heartbeat = Instant::now() + self.settings.heartbeat();
        tokio::select! {
            biased;
            reason = ended(&mut self.ending) => {
                self.ended = true;
                Some(wire::closing(self.settings.retry(), Some(&self.id), reason).into())
            }
            signal = self.reader.next() => Some(self.take(signal)),
            () = tokio::time::sleep_until(heartbeat) => Some(self.heartbeat()),
        }
    }

    fn take(&mut self, signal: Signal) -> Bytes {
        match signal {
            Signal::Events(entries) => {
                if let Some(last) = entries.last() {
                    self.id = last.position().to_string();
                }
                join(&entries, self.form)
            }
            Signal::Notice(notice) => self.say(&notice),
        }
    }

    fn say(&mut self, notice: &Notice) -> Bytes {
        self.id = notice.id.to_string();
        wire::notice(self.form, notice)
    }

    /// The log's newest position where it has moved on, so that a quiet feed's reader does not fall behind
    /// while it is away; else a line that says nothing.
    fn heartbeat(&mut self) -> Bytes {
        match self.reader.live_position() {
            Some(id) if self.has_moved(id) => {
                let say = Say::Position {};
                self.say(&Notice { id, say })
            }
            _ => Bytes::from_static(wire::HEARTBEAT.as_bytes()),
        }
    }

    fn has_moved(&self, id: Position) -> bool {
        self.id != id.to_string()
    }
}

async fn ended(ending: &mut Ending) -> Closing {
    match ending.wait_for(Option::is_some).await {
        Ok(reason) => reason.unwrap_or(Closing::Drain),
        Err(_) => Closing::Drain, // the server itself is gone
    }
}

/// One event's bytes as they are, shared by all its readers; of several, a copy in one piece.
fn join(entries: &[Arc<Entry>], form: Form) -> Bytes {
    if let [only] = entries {
        return only.encoded(form).clone();
    }
    let mut joined =
        BytesMut::with_capacity(entries.iter().map(|entry| entry.encoded(form).len()).sum());
    for entry in entries {
        joined.extend_from_slice(entry.encoded(form));
    }
    joined.freeze()
}
