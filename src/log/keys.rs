//! Idempotency keys: what was stored under which key within the last two minutes.

use prometheus_client::metrics::counter::Counter;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a repeated idempotency key is the same event: JetStream's default duplicate window.
pub(super) const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// A feed and a key on it, as one.
pub(super) type KeyDigest = [u8; 32];

/// One key for a feed and a key on it; also what JetStream is given as `Nats-Msg-Id`.
pub(super) fn digest(feed: &str, key: &str) -> KeyDigest {
    let mut hash = Sha256::new();
    hash.update(feed);
    hash.update([0]); // no feed's name has it, so no two pairs run together
    hash.update(key);
    hash.finalize().into()
}

/// The keys of the last two minutes, and what was stored under them; at most `max` of them.
#[derive(Debug)]
pub(super) struct Keys {
    max: usize,
    forgotten: Counter,
    sequences: HashMap<KeyDigest, u64>,
    by_age: VecDeque<Known>,
}

#[derive(Debug)]
struct Known {
    since: Instant,
    key: KeyDigest,
    sequence: u64,
}

impl Keys {
    /// None yet; `forgotten` counts those that go before their time.
    pub(super) fn new(max: usize, forgotten: Counter) -> Self {
        Self {
            max,
            forgotten,
            sequences: HashMap::new(),
            by_age: VecDeque::new(),
        }
    }

    /// How many have gone before their time.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.get()
    }

    /// The sequence that was stored under a key.
    pub(super) fn get(&mut self, key: &KeyDigest) -> Option<u64> {
        self.forget_old();
        self.sequences.get(key).copied()
    }

    /// Remembers a key that is not known, stored so long ago; the oldest goes where there are too many.
    pub(super) fn insert(&mut self, key: KeyDigest, sequence: u64, age: Duration) {
        if self.by_age.len() >= self.max {
            self.forgotten.inc();
            self.forget_oldest();
        }
        let now = Instant::now();
        self.sequences.insert(key, sequence);
        self.by_age.push_back(Known {
            since: now.checked_sub(age).unwrap_or(now),
            key,
            sequence,
        });
    }

    /// Forgets what was stored at this sequence and after it.
    pub(super) fn forget_from(&mut self, sequence: u64) {
        while let Some(newest) = self
            .by_age
            .pop_back_if(|newest| newest.sequence >= sequence)
        {
            self.sequences.remove(&newest.key);
        }
    }

    /// The sequence of the oldest key that is remembered.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.by_age.front().map(|oldest| oldest.sequence)
    }

    fn forget_old(&mut self) {
        while let Some(oldest) = self.by_age.front()
            && oldest.since.elapsed() >= DUPLICATE_WINDOW
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.by_age.pop_front() {
            self.sequences.remove(&oldest.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> KeyDigest {
        [number; 32]
    }

    #[test]
    fn a_key_is_forgotten_after_two_minutes() {
        let mut keys = Keys::new(10, Counter::default());
        keys.insert(key(1), 1, DUPLICATE_WINDOW);
        keys.insert(key(2), 2, DUPLICATE_WINDOW / 2);
        assert_eq!((keys.get(&key(1)), keys.get(&key(2))), (None, Some(2)));
        assert_eq!(keys.oldest(), Some(2));
    }

    #[test]
    fn the_oldest_goes_before_its_time_where_there_are_too_many() {
        let mut keys = Keys::new(2, Counter::default());
        (1..=3).for_each(|n| keys.insert(key(n), n.into(), Duration::ZERO));
        let found: Vec<_> = (1..=3).map(|n| keys.get(&key(n))).collect();
        assert_eq!(found, [None, Some(2), Some(3)]);
    }

    #[test]
    fn what_was_not_stored_after_all_is_forgotten() {
        let mut keys = Keys::new(10, Counter::default());
        (1..=4).for_each(|n| keys.insert(key(n), n.into(), Duration::ZERO));
        keys.forget_from(3);
        let found: Vec<_> = (1..=4).map(|n| keys.get(&key(n))).collect();
        assert_eq!(found, [Some(1), Some(2), None, None]);
    }

    #[test]
    fn a_feed_and_a_key_do_not_run_together() {
        assert_ne!(digest("a", "bc"), digest("ab", "c"));
    }
}
