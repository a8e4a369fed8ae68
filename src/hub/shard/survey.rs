//! Which readers of a shard are behind.

use super::thread::Shard;
use super::{Order, Shards};
use crate::event::Position;
use crate::wire::Form;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::oneshot;

/// A reader that has not had all that there is for it, or has not taken it.
#[derive(Clone, Debug)]
pub struct Slow {
    /// Its patterns; none while the log is read for it.
    pub patterns: Vec<String>,
    /// The form in which it is sent its events.
    pub form: Form,
    /// The last id that it was told, unless that was no position.
    pub told: Option<Position>,
    /// How far the window's head is ahead of that, in sequences.
    pub behind: u64,
    /// For how long its client has taken nothing of what it was sent.
    pub stalled: Option<Duration>,
    /// The other end of its connection: the client, or a proxy.
    pub peer: Option<SocketAddr>,
}

impl Shards {
    /// The readers that are furthest behind, of each shard `limit` at most, in no order.
    pub async fn slow(&self, limit: usize) -> Vec<Slow> {
        let asked = self.shards.iter().map(|(desk, _)| {
            let (answer, answered) = oneshot::channel();
            desk.tell(Order::Survey { limit, answer });
            answered
        });
        let asked: Vec<_> = asked.collect();
        let mut slow = Vec::new();
        for answered in asked {
            slow.extend(answered.await.unwrap_or_default()); // one that has stopped has none
        }
        slow
    }
}

impl Shard {
    /// Those that are in no common group: a live one with nothing to take is in one.
    pub(super) fn survey(&self, limit: usize) -> Vec<Slow> {
        let told = |conn: usize| self.conns[conn].told.map_or(0, |id| id.sequence());
        let mut behind: Vec<usize> = self
            .groups
            .iter()
            .filter(|(_, group)| group.common.is_none())
            .flat_map(|(_, group)| group.members.iter().map(|&name| name as usize))
            .collect();
        if behind.len() > limit && limit > 0 {
            behind.select_nth_unstable_by_key(limit - 1, |&conn| told(conn));
        }
        behind.truncate(limit);
        let head = self.hub.window.read().head().sequence();
        let slow = behind.into_iter().map(|conn| self.slow(conn, head));
        slow.collect()
    }

    fn slow(&self, conn: usize, head: u64) -> Slow {
        let known = &self.conns[conn];
        let group = self.groups.get(known.group as usize);
        let reader = group.and_then(|group| group.reader.as_ref());
        let stood = self.tick.saturating_sub(known.took);
        Slow {
            patterns: reader.map_or_else(Vec::new, |reader| reader.patterns()),
            form: known.form,
            told: known.told,
            behind: head.saturating_sub(known.told.map_or(0, |id| id.sequence())),
            stalled: known.is_blocked().then(|| self.wheel.time(stood)),
            peer: known.socket.peer_addr().ok(),
        }
    }
}
