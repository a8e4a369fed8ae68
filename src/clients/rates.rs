//! How much each client does: so many a second, and so many at once after a pause (a token bucket).

use super::Address;
use governor::clock::{Clock, MonotonicClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::RwLock;
use prometheus_client::metrics::counter::Counter;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// After how many more clients it is looked which of them are to be remembered still.
const SWEEP: usize = 1024;

/// Whose doing something is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// A subject's.
    Subject(Arc<str>),
    /// That of someone of whom no subject is known.
    Address(Address),
}

/// What may still be done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// So many.
    pub count: u32,
    /// Out of so many.
    pub burst: u32,
    /// How many more there will be in a second.
    pub rate: u32,
}

/// Somebody has done as much as he may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// When the next may be done.
    pub after: Duration,
    /// What is never left.
    pub left: Left,
}

/// The rates of all clients. Cloning it gives another handle.
#[derive(Clone)]
pub struct Rates<C: Clock + Clone = MonotonicClock>(Arc<Shared<C>>);

type Limiter<C> = RateLimiter<Account, HashMapStateStore<Account>, C, StateInformationMiddleware>;

struct Shared<C: Clock + Clone> {
    current: RwLock<Current<C>>,
    clock: C,
    refused: Counter,
    /// With how many clients it is looked next which of them are to be remembered.
    sweep_at: AtomicUsize,
}

/// What holds now.
struct Current<C: Clock + Clone> {
    limiter: Limiter<C>,
    rate: NonZeroU32,
    burst: NonZeroU32,
}

impl Rates {
    /// So many a second, and so many at once, for each client.
    pub fn new(rate: NonZeroU32, burst: NonZeroU32) -> Self {
        Self::by(MonotonicClock, rate, burst)
    }
}

impl<C: Clock + Clone> Rates<C> {
    fn by(clock: C, rate: NonZeroU32, burst: NonZeroU32) -> Self {
        Self(Arc::new(Shared {
            current: RwLock::new(Current::new(clock.clone(), rate, burst)),
            clock,
            refused: Counter::default(),
            sweep_at: AtomicUsize::new(SWEEP),
        }))
    }

    /// From now on so many a second, and so many at once. Where that is a change, each client begins anew.
    pub fn set(&self, rate: NonZeroU32, burst: NonZeroU32) {
        let mut current = self.0.current.write();
        if (current.rate, current.burst) != (rate, burst) {
            *current = Current::new(self.0.clock.clone(), rate, burst);
        }
    }

    /// How many a second.
    pub fn rate(&self) -> u32 {
        self.0.current.read().rate.get()
    }

    /// How many at once after a pause.
    pub fn burst(&self) -> u32 {
        self.0.current.read().burst.get()
    }

    /// What was refused.
    pub fn refused(&self) -> &Counter {
        &self.0.refused
    }

    /// How many clients are remembered: those who have not had a pause long enough for all that may come at once.
    pub fn known(&self) -> usize {
        self.0.current.read().limiter.len()
    }

    /// Takes one of what a client may do; `None` for those who are not held to account.
    pub fn take(&self, account: Option<&Account>) -> Result<Option<Left>, Over> {
        let Some(account) = account else {
            return Ok(None);
        };
        let current = self.0.current.read();
        self.sweep(&current.limiter);
        match current.limiter.check_key(account) {
            Ok(state) => Ok(Some(current.left(state.remaining_burst_capacity()))),
            Err(not_until) => {
                self.0.refused.inc();
                Err(Over {
                    after: not_until.wait_time_from(self.0.clock.now()),
                    left: current.left(0),
                })
            }
        }
    }

    /// Forgets those who have all that they may do before them, where many are known.
    fn sweep(&self, limiter: &Limiter<C>) {
        if limiter.len() < self.0.sweep_at.load(Relaxed) {
            return;
        }
        limiter.retain_recent();
        limiter.shrink_to_fit();
        // Twice as many as are left: so that looking costs each of them little.
        self.0.sweep_at.store(2 * limiter.len() + SWEEP, Relaxed);
    }
}

impl<C: Clock + Clone> Current<C> {
    fn new(clock: C, rate: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_second(rate).allow_burst(burst);
        Self {
            limiter: RateLimiter::new(quota, HashMapStateStore::default(), clock),
            rate,
            burst,
        }
    }

    fn left(&self, count: u32) -> Left {
        Left {
            count,
            burst: self.burst.get(),
            rate: self.rate.get(),
        }
    }
}

impl<C: Clock + Clone> fmt::Debug for Rates<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates")
            .field("rate", &self.rate())
            .field("burst", &self.burst())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    fn of(name: &str) -> Account {
        Account::Subject(name.into())
    }

    fn rates(clock: &FakeRelativeClock, rate: u32, burst: u32) -> Rates<FakeRelativeClock> {
        let nonzero = |count| NonZeroU32::new(count).unwrap();
        Rates::by(clock.clone(), nonzero(rate), nonzero(burst))
    }

    #[test]
    fn each_has_a_burst_and_then_its_rate() {
        let clock = FakeRelativeClock::default();
        let rates = rates(&clock, 10, 3);
        let ann = of("ann");
        for left in [2, 1, 0] {
            assert_eq!(rates.take(Some(&ann)).unwrap().unwrap().count, left);
        }
        let over = rates.take(Some(&ann)).unwrap_err();
        assert_eq!(over.after, Duration::from_millis(100));
        assert_eq!((over.left.burst, over.left.rate), (3, 10));
        assert!(rates.take(Some(&of("bob"))).is_ok());
        clock.advance(Duration::from_millis(99));
        assert!(rates.take(Some(&ann)).is_err());
        clock.advance(Duration::from_millis(1));
        assert!(rates.take(Some(&ann)).is_ok());
        assert!(rates.take(Some(&ann)).is_err());
        assert_eq!(rates.refused().get(), 3);
        assert_eq!(rates.take(None), Ok(None));
    }

    #[test]
    fn others_hold_from_when_they_are_set_and_the_same_change_nothing() {
        let clock = FakeRelativeClock::default();
        let rates = rates(&clock, 10, 1);
        let nonzero = |count| NonZeroU32::new(count).unwrap();
        let ann = of("ann");
        assert!(rates.take(Some(&ann)).is_ok());
        rates.set(nonzero(10), nonzero(1));
        assert!(rates.take(Some(&ann)).is_err());
        rates.set(nonzero(10), nonzero(2));
        let left = rates.take(Some(&ann)).unwrap().unwrap();
        assert_eq!((left.count, left.burst), (1, 2));
    }

    #[test]
    fn those_who_have_paused_are_forgotten() {
        let clock = FakeRelativeClock::default();
        let rates = rates(&clock, 10, 1);
        for number in 0..20 * SWEEP {
            assert!(rates.take(Some(&of(&number.to_string()))).is_ok());
            clock.advance(Duration::from_millis(1));
        }
        assert!(rates.known() <= 2 * SWEEP, "{}", rates.known());
        // And nobody has more for it.
        let last = of(&(20 * SWEEP - 1).to_string());
        assert!(rates.take(Some(&last)).is_err());
    }
}
