//! Clients that take nothing of what they are sent.
//!
//! Over HTTP/1 the connection's socket shows it. Over HTTP/2 a client may take other streams and leave one: that
//! one is not polled any more once it has given what is not taken. So a [`Watch`] looks at all of them together.

use crate::metrics::Fate;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http_body::Frame;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use slab::Slab;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// The largest piece that is given over HTTP/2 at once: each one that is taken shows that the client is alive.
const PIECE_BYTES: usize = 16 << 10;
/// How often streams are looked at within the time that they may stand still.
const LOOKS: u32 = 4;

/// How long a client may take nothing, and where those are counted that did for longer.
#[derive(Clone, Debug)]
pub(crate) struct Stall {
    pub(crate) after: Duration,
    pub(crate) count: Counter,
}

/// Looks after all streams over HTTP/2, and pages. Cloning it gives another handle.
#[derive(Clone, Debug)]
pub(crate) struct Watch(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    stall: Stall,
    streams: Mutex<Slab<Arc<Mutex<Held>>>>,
}

/// A stream, until it is taken away from a client that takes nothing.
#[derive(Debug)]
struct Held(Option<Given>);

struct Given {
    stream: BoxStream<'static, Bytes>,
    /// What it gave last and is not given on yet.
    rest: Bytes,
    /// When a piece was last given on, unless more has been asked for since.
    given: Option<Instant>,
    fate: Fate,
}

/// The client has taken nothing for too long.
#[derive(Debug, thiserror::Error)]
#[error("the client has taken nothing for too long")]
pub(super) struct Stalled;

/// A watched stream as the body of a response.
pub(super) struct Body {
    key: usize,
    held: Arc<Mutex<Held>>,
    watch: Watch,
}

impl Watch {
    pub(crate) fn new(stall: Stall) -> Self {
        Self(Arc::new(Watched {
            stall,
            streams: Mutex::default(),
        }))
    }

    /// A body that ends with an error when its client has taken nothing of it for too long; the stream is let
    /// go then, and `fate` says so.
    pub(super) fn body(
        &self,
        stream: impl futures::Stream<Item = Bytes> + Send + 'static,
        fate: Fate,
    ) -> Body {
        let given = Given {
            stream: stream.boxed(),
            rest: Bytes::new(),
            given: Some(Instant::now()),
            fate,
        };
        let held = Arc::new(Mutex::new(Held(Some(given))));
        Body {
            key: self.0.streams.lock().insert(held.clone()),
            held,
            watch: self.clone(),
        }
    }

    /// Looks after them until it is dropped. To be run once.
    pub(crate) async fn run(self) -> Infallible {
        let mut looks = interval(self.0.stall.after / LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            // They are dropped here, with nothing locked.
            let stalled = self.stalled();
            stalled.iter().for_each(|one| one.fate.stalled());
            self.0.stall.count.inc_by(stalled.len() as u64);
        }
    }

    /// Takes away the streams of those who have taken nothing for too long.
    fn stalled(&self) -> Vec<Given> {
        let streams = self.0.streams.lock();
        let stalled = streams.iter().filter_map(|(_, held)| {
            let mut held = held.try_lock()?; // one that is locked gives something just now
            let given = held.0.as_ref()?.given?;
            match given.elapsed() >= self.0.stall.after {
                true => held.0.take(),
                false => None,
            }
        });
        stalled.collect()
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").finish_non_exhaustive()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Stalled;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stalled>>> {
        let mut held = self.held.lock();
        let Some(one) = &mut held.0 else {
            return Poll::Ready(Some(Err(Stalled)));
        };
        one.given = None;
        if one.rest.is_empty() {
            let Some(next) = ready!(one.stream.poll_next_unpin(cx)) else {
                return Poll::Ready(None);
            };
            one.rest = next;
        }
        one.given = Some(Instant::now());
        let piece = one.rest.split_to(one.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.watch.0.streams.lock().remove(self.key);
    }
}
