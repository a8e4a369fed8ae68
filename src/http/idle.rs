//! Connections over HTTP/2 over which nothing is asked for: hyper has no limit of its own for these, and they would stay
//! for as long as their clients answer pings.

use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How many requests of a connection are under way. Cloning it gives another handle.
#[derive(Clone, Debug, Default)]
pub(super) struct Idle(watch::Sender<usize>);

/// A request under way, until its answer is sent, given up, or left by a client that takes nothing of it.
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

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
