//! Connections over HTTP/2 over which nothing is asked for: hyper has no limit of its own for these, and they would stay
//! for as long as their clients answer pings.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How many requests of a connection are under way. Cloning it gives another handle.
#[derive(Clone, Debug, Default)]
pub(super) struct Idle(watch::Sender<usize>);

/// A request under way, until its answer is sent or given up.
#[derive(Debug)]
pub(super) struct Busy(Idle);

impl Idle {
    /// One more has come.
    pub(super) fn request(&self) -> Busy {
        self.0.send_modify(|count| *count += 1);
        Busy(self.clone())
    }

    /// The connection speaks HTTP/1, whose pauses hyper bounds: from now on it is never idle.
    pub(super) fn is_bounded(&self) {
        self.0
            .send_if_modified(|count| std::mem::replace(count, 1) == 0);
    }

    /// Waits until none has been under way for so long.
    pub(super) async fn over(&self, patience: Duration) {
        let mut count = self.0.subscribe();
        loop {
            let is_idle = *count.borrow_and_update() == 0;
            // The sender is there, so it ends by a change.
            if !is_idle {
                let _ = count.changed().await;
            } else if timeout(patience, count.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Busy {
    /// The same answer, with which this lasts.
    pub(super) fn until_sent(self, response: Response) -> Response {
        response.map(|body| Body::new(Sent { body, _busy: self }))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

struct Sent {
    body: Body,
    _busy: Busy,
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
