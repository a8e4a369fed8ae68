//! What a hub has, for those who operate it.

use super::window::{Newest, Reach};
use super::{Hub, HubLimits};

/// How many events are passed over at once, so that the window is not locked for long.
const LOOK: usize = 4096;

impl Hub {
    /// Its bounds.
    pub fn limits(&self) -> HubLimits {
        self.shared.limits
    }

    /// How far its window reaches.
    pub fn reach(&self) -> Reach {
        self.shared.window.read().reach()
    }

    /// Feeds in the window whose names begin with `prefix` and whose newest event stands before a sequence, the newest
    /// first, `limit` at most; and the sequence before which to go on, if there may be more. A feed that gets an
    /// event meanwhile is among the first.
    pub async fn newest_of_feeds(
        &self,
        mut before: u64,
        prefix: &str,
        limit: usize,
    ) -> (Vec<Newest>, Option<u64>) {
        let mut found = Vec::new();
        loop {
            let next = {
                let window = self.shared.window.read();
                window.newest_of_feeds(before, prefix, LOOK, limit, &mut found)
            };
            match next {
                Some(next) if found.len() < limit => before = next,
                next => return (found, next),
            }
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Data;
    use crate::hub::testing::{hub, publish};

    #[tokio::test]
    async fn feeds_are_told_once_each_by_their_newest_event_page_by_page() {
        let hub = hub(100_000, 1 << 30).await;
        let more_than_a_look = LOOK + 10;
        for n in 0..more_than_a_look {
            let feed = match n % 3 {
                0 => "a.often".to_owned(),
                1 => format!("a.{}", n % 7),
                _ => "b.x".to_owned(),
            };
            publish(&hub, &feed, Data::Bytes("x".into())).await;
        }
        let mut names = Vec::new();
        let mut before = Some(u64::MAX);
        while let Some(from) = before {
            let (found, next) = hub.newest_of_feeds(from, "a.", 3).await;
            assert!(found.len() <= 3);
            let sequences = found.iter().map(|one| one.entry.sequence());
            assert!(sequences.clone().all(|sequence| sequence < from));
            assert!(sequences.is_sorted_by(|one, other| one > other));
            names.extend(
                found
                    .iter()
                    .map(|one| one.entry.event().message.feed.to_string()),
            );
            before = next;
        }
        names.sort_unstable();
        let expected: Vec<_> = (0..7)
            .map(|n| format!("a.{n}"))
            .chain(["a.often".to_owned()])
            .collect();
        assert_eq!(names, expected);
        let (all, next) = hub.newest_of_feeds(u64::MAX, "", 100).await;
        assert_eq!((all.len(), next), (9, None));
        assert_eq!(
            all.iter().map(|one| one.events).sum::<usize>(),
            more_than_a_look
        );
    }
}
