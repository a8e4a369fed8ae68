//! What the window holds, feed by feed.

use super::{NONE, Window};
use crate::event::Timestamp;
use crate::hub::entry::Entry;
use std::sync::Arc;

/// A feed, by its newest event.
#[derive(Clone, Debug)]
pub struct Newest {
    /// That event.
    pub entry: Arc<Entry>,
    /// How many of the feed's events the window holds.
    pub events: usize,
}

/// How far the window reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// When its first event came into the log, and its last.
    pub times: Option<(Timestamp, Timestamp)>,
}

impl Window {
    pub(in crate::hub) fn reach(&self) -> Reach {
        let time = |slot: &super::Slot| slot.entry.event().time;
        let ends = self.slots.front().zip(self.slots.back());
        Reach {
            times: ends.map(|(first, last)| (time(first), time(last))),
        }
    }

    /// Passes over `most` events that stand before a sequence, from the newest on, and adds those to `found` that are
    /// the newest of a feed that begins with `prefix`, until there are `limit`. Returns the sequence before which to go
    /// on; `None` at the window's beginning.
    pub(in crate::hub) fn newest_of_feeds(
        &self,
        before: u64,
        prefix: &str,
        most: usize,
        limit: usize,
        found: &mut Vec<Newest>,
    ) -> Option<u64> {
        let end = self.index_from(before);
        let start = end.saturating_sub(most);
        for slot in self.slots.range(start..end).rev() {
            let is_newest = slot.newer == NONE;
            if is_newest && slot.entry.event().message.feed.as_str().starts_with(prefix) {
                found.push(Newest {
                    entry: slot.entry.clone(),
                    events: self.feeds.get(slot.feed).events,
                });
                if found.len() == limit {
                    return Some(slot.entry.sequence());
                }
            }
        }
        match start {
            0 => None,
            start => Some(self.slots.get(start)?.entry.sequence()),
        }
    }
}
