//! A second look at a stream while it is followed, for what its consumer does not tell: that it was edited, rolled
//! back or re-created, or that the consumer has been paused.

use super::api::{ApiError, StreamInfo};
use super::link::Failure;
use super::{Opened, Shared};
use crate::log::LogError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// How often the stream is looked at.
const INTERVAL: Duration = Duration::from_secs(2);
/// After how many looks at which nothing had come of what the stream has, something is wrong.
const STALLED_LOOKS: u32 = 3;

/// The one who looks; ends when dropped.
#[derive(Debug)]
pub(super) struct Watch {
    progress: Arc<Progress>,
    doubt: watch::Receiver<Option<LogError>>,
    task: AbortHandle,
}

/// How far the follower has come.
#[derive(Debug)]
struct Progress {
    /// The last sequence that came.
    last: AtomicU64,
    /// Counts whenever anything came, signs of life included.
    heard: AtomicU64,
}

impl Watch {
    /// Begins to look at the stream of `opened`, which is followed from `after` on.
    pub(super) fn begin(shared: &Arc<Shared>, opened: &Opened, after: u64) -> Self {
        let progress = Arc::new(Progress {
            last: AtomicU64::new(after),
            heard: AtomicU64::new(0),
        });
        let (tell, doubt) = watch::channel(None);
        let looking = look_on(shared.clone(), opened.clone(), progress.clone());
        let task = tokio::spawn(async move {
            tell.send_replace(Some(looking.await));
        });
        Self {
            progress,
            doubt,
            task: task.abort_handle(),
        }
    }

    /// Something came, of which the last message stands at `last`.
    pub(super) fn heard(&self, last: u64) {
        self.progress.last.store(last, Relaxed);
        self.progress.heard.fetch_add(1, Relaxed);
    }

    /// What is wrong, if anything was found to be.
    pub(super) fn doubt(&self) -> Option<LogError> {
        self.doubt.borrow().clone()
    }

    /// Waits until something is found to be wrong. Cancel-safe.
    pub(super) async fn doubted(&mut self) {
        if self.doubt.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Looks until something is wrong.
async fn look_on(shared: Arc<Shared>, opened: Opened, progress: Arc<Progress>) -> LogError {
    let mut stalled = Stalled::default();
    loop {
        let in_turn = tokio::select! {
            () = sleep(INTERVAL) => true,
            () = shared.nudge.notified() => false,
        };
        let heard = progress.heard.load(Relaxed);
        let info = match shared.api.stream_info().await {
            Ok(info) => info,
            // NATS is slow, but there: the consumer still says so.
            Err(ApiError::Link {
                failure: Failure::TimedOut(_),
                ..
            }) if progress.heard.load(Relaxed) > heard => continue,
            Err(error) => return shared.api.explain("describe the stream", &error),
        };
        if let Err(error) = shared.is_still(&opened, &info) {
            return error;
        }
        shared.note_limits(&info);
        let last = progress.last.load(Relaxed);
        if in_turn && stalled.look(&info, last) && is_waiting(&shared, &opened, last).await {
            return LogError::Unavailable(format!(
                "the consumer brings nothing after sequence {last}, though the stream has more"
            ));
        }
    }
}

/// A place at which a follower stands while the stream goes on.
#[derive(Default)]
struct Stalled {
    last: u64,
    looks: u32,
}

impl Stalled {
    /// Whether it has stood at `last` for too many looks.
    fn look(&mut self, info: &StreamInfo, last: u64) -> bool {
        let stands = last == self.last && info.state.last_seq > last;
        self.looks = if stands { self.looks + 1 } else { 0 };
        self.last = last;
        self.looks >= STALLED_LOOKS
    }
}

/// Whether the stream holds a message that should have come: its last ones may have been deleted, or be on other
/// subjects.
async fn is_waiting(shared: &Shared, opened: &Opened, last: u64) -> bool {
    let next = shared.api.next_message(last + 1, opened.filter.as_deref());
    next.await.is_ok_and(|message| message.is_some())
}
