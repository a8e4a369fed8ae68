//! How far those streams are that no shard serves: over HTTP/2, HTTP/1.0 or TLS, or where there are no shards.

use crate::event::{Patterns, Position};
use crate::hub::Slow;
use crate::wire::Form;
use parking_lot::Mutex;
use slab::Slab;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::Instant;

/// All of them. Cloning it gives another handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paces(Arc<Mutex<Slab<Arc<Pace>>>>);

/// How far one is, among the others until it is dropped.
#[derive(Debug)]
pub(super) struct Paced {
    all: Paces,
    key: usize,
    pace: Arc<Pace>,
}

#[derive(Debug)]
struct Pace {
    patterns: Patterns,
    form: Form,
    peer: Option<SocketAddr>,
    now: Mutex<Now>,
}

#[derive(Clone, Copy, Debug)]
struct Now {
    /// The last id that it told, unless that was no position.
    told: Option<Position>,
    /// Since when it has been asked for nothing more: its client has not taken what there is.
    untaken: Option<Instant>,
}

impl Paces {
    pub(super) fn enter(
        &self,
        patterns: Patterns,
        form: Form,
        peer: Option<SocketAddr>,
        told: Option<Position>,
    ) -> Paced {
        let pace = Arc::new(Pace {
            patterns,
            form,
            peer,
            now: Mutex::new(Now {
                told,
                untaken: None,
            }),
        });
        Paced {
            key: self.0.lock().insert(pace.clone()),
            all: self.clone(),
            pace,
        }
    }

    /// Those that are behind `head` and not asked for more, the furthest behind first; `limit` at most.
    pub(super) fn slow(&self, head: u64, limit: usize) -> Vec<Slow> {
        let behind = |pace: &Arc<Pace>| {
            let now = *pace.now.lock();
            let behind = head.saturating_sub(now.told.map_or(0, Position::sequence));
            let since = now.untaken.filter(|_| behind > 0)?;
            Some((behind, now.told, since, pace.clone()))
        };
        let mut slow: Vec<_> = {
            let all = self.0.lock();
            all.iter().filter_map(|(_, pace)| behind(pace)).collect()
        };
        slow.sort_by_key(|(behind, ..)| std::cmp::Reverse(*behind));
        slow.truncate(limit);
        let slow = slow.into_iter().map(|(behind, told, since, pace)| Slow {
            patterns: pace.patterns.iter().map(|one| one.to_string()).collect(),
            form: pace.form,
            told,
            behind,
            stalled: Some(since.elapsed()),
            peer: pace.peer,
        });
        slow.collect()
    }
}

impl Paced {
    /// More is asked for.
    pub(super) fn asked(&self) {
        self.pace.now.lock().untaken = None;
    }

    /// What was asked for was given; `told` is the last id in it, or before it.
    pub(super) fn given(&self, told: Option<Position>) {
        *self.pace.now.lock() = Now {
            told,
            untaken: Some(Instant::now()),
        };
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        self.all.0.lock().remove(self.key);
    }
}
