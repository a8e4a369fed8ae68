//! Clients that take nothing of what they are sent.
//!
//! Over HTTP/1 the connection's socket shows it. Over HTTP/2 a client may take other answers and leave one: that
//! one is not polled any more once it has given what is not taken. So a [`Watch`] looks at all of them together.

use super::idle::Busy;
use crate::metrics::Fate;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use slab::Slab;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// The largest piece that is given over HTTP/2 at once: each one that is taken shows that the client is alive.
const PIECE_BYTES: usize = 16 << 10;
/// How often answers are looked at within the time that they may stand still.
const LOOKS: u32 = 4;

/// How long a client may take nothing, and where those are counted that did for longer.
#[derive(Clone, Debug)]
pub(crate) struct Stall {
    pub(crate) after: Duration,
    pub(crate) count: Counter,
}

/// Looks after all answers over HTTP/2. Cloning it gives another handle.
#[derive(Clone, Debug)]
pub(crate) struct Watch(Arc<All>);

#[derive(Debug)]
struct All {
    stall: Stall,
    answers: Mutex<Slab<Arc<Mutex<Held>>>>,
}

/// An answer, until it is taken away from a client that takes nothing.
#[derive(Debug)]
struct Held(Option<Given>);

#[derive(Debug)]
struct Given {
    body: Body,
    /// What it gave last and is not given on yet.
    rest: Bytes,
    /// When a piece was last given on, unless more has been asked for since.
    given: Option<Instant>,
    fate: Fate,
    /// It is under way for its connection until it is taken away.
    _busy: Busy,
}

/// The client has taken nothing for too long.
#[derive(Debug, thiserror::Error)]
#[error("the client has taken nothing for too long")]
pub(super) struct Stalled;

/// A body that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    key: usize,
    held: Arc<Mutex<Held>>,
    watch: Watch,
}

impl Watch {
    pub(crate) fn new(stall: Stall) -> Self {
        Self(Arc::new(All {
            stall,
            answers: Mutex::default(),
        }))
    }

    /// A body that ends with an error when its client has taken nothing of it for too long; it is let go then, and
    /// `fate` says so.
    pub(super) fn over(&self, body: Body, fate: Fate, busy: Busy) -> Body {
        let given = Given {
            body,
            rest: Bytes::new(),
            given: Some(Instant::now()),
            fate,
            _busy: busy,
        };
        let held = Arc::new(Mutex::new(Held(Some(given))));
        Body::new(Watched {
            key: self.0.answers.lock().insert(held.clone()),
            held,
            watch: self.clone(),
        })
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

    /// Takes away the answers of those who have taken nothing for too long.
    fn stalled(&self) -> Vec<Given> {
        let answers = self.0.answers.lock();
        let stalled = answers.iter().filter_map(|(_, held)| {
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

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut held = self.held.lock();
        let Some(one) = &mut held.0 else {
            return Poll::Ready(Some(Err(axum::Error::new(Stalled))));
        };
        one.given = None;
        if one.rest.is_empty() {
            match ready!(Pin::new(&mut one.body).poll_frame(cx))
                .map(|next| next.map(Frame::into_data))
            {
                Some(Ok(Ok(data))) => one.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        one.given = Some(Instant::now());
        let piece = one.rest.split_to(one.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        let held = self.held.lock();
        let is_over = |one: &Given| one.rest.is_empty() && one.body.is_end_stream();
        held.0.as_ref().is_some_and(is_over)
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.lock();
        match &held.0 {
            Some(one) if one.rest.is_empty() => one.body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.0.answers.lock().remove(self.key);
    }
}
