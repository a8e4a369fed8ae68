//! Subjects whose credentials of before are taken no more.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How many subjects are remembered at once.
pub const MAX_REVOKED: usize = 100_000;
/// For how long at most.
pub const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is remembered of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Credentials are taken that were issued after this.
    pub at: SystemTime,
    /// Until when that is remembered.
    pub until: SystemTime,
}

/// As many subjects are remembered as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_REVOKED} subjects are revoked already, as many as are remembered")]
pub struct TooMany;

/// The subjects that are remembered, on this replica and as long as it runs. Cloning it gives another handle.
#[derive(Clone, Debug, Default)]
pub struct Revoked(Arc<Mutex<BTreeMap<Box<str>, Revocation>>>);

impl Revoked {
    /// Remembers a subject, in place of what was remembered of it before.
    pub fn add(&self, subject: &str, revocation: Revocation) -> Result<(), TooMany> {
        let mut all = self.0.lock();
        if all.len() >= MAX_REVOKED && !all.contains_key(subject) {
            let now = SystemTime::now();
            all.retain(|_, one| one.until > now);
            if all.len() >= MAX_REVOKED {
                return Err(TooMany);
            }
        }
        all.insert(subject.into(), revocation);
        Ok(())
    }

    /// Forgets what was remembered of a subject.
    pub fn remove(&self, subject: &str) {
        self.0.lock().remove(subject);
    }

    /// Whether credentials of a subject are taken no more that were issued then, or nobody knows when.
    pub fn holds(&self, subject: &str, issued: Option<SystemTime>, now: SystemTime) -> bool {
        let known = self.0.lock().get(subject).copied();
        known.is_some_and(|one| now < one.until && issued.is_none_or(|issued| issued <= one.at))
    }

    /// Those that are remembered then, in the order of their names: the first `limit` after this one, and how many there are
    /// in all.
    pub fn list(
        &self,
        after: Option<&str>,
        limit: usize,
        now: SystemTime,
    ) -> (Vec<(Box<str>, Revocation)>, usize) {
        let all = self.0.lock();
        let is_kept = |one: &Revocation| now < one.until;
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found = all
            .range::<str, _>((after, Bound::Unbounded))
            .filter(|(_, one)| is_kept(one))
            .take(limit)
            .map(|(subject, one)| (subject.clone(), *one))
            .collect();
        (found, all.values().filter(|one| is_kept(one)).count())
    }

    /// How many are remembered.
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn what_was_issued_before_is_refused_for_a_while() {
        let now = SystemTime::now();
        let revoked = Revoked::default();
        let revocation = Revocation {
            at: now,
            until: now + seconds(60),
        };
        revoked.add("ann", revocation).unwrap();
        assert!(revoked.holds("ann", None, now));
        assert!(revoked.holds("ann", Some(now), now));
        assert!(!revoked.holds("ann", Some(now + seconds(1)), now));
        assert!(!revoked.holds("bob", None, now));
        assert!(!revoked.holds("ann", None, now + seconds(60)));
    }

    #[test]
    fn those_whose_time_is_over_make_room() {
        let now = SystemTime::now();
        let revoked = Revoked::default();
        let over = Revocation {
            at: now,
            until: now,
        };
        for number in 0..MAX_REVOKED {
            revoked.add(&number.to_string(), over).unwrap();
        }
        let lasting = Revocation {
            at: now,
            until: now + LONGEST,
        };
        revoked.add("ann", lasting).unwrap();
        assert_eq!(revoked.count(), 1);
        for number in 1..MAX_REVOKED {
            revoked.add(&number.to_string(), lasting).unwrap();
        }
        assert_eq!(revoked.add("bob", lasting), Err(TooMany));
        assert_eq!(revoked.add("ann", over), Ok(()));
        revoked.remove("ann");
        assert_eq!(revoked.add("bob", lasting), Ok(()));
    }
}
