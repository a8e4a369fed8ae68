//! How long what a reader has shown of himself holds.

use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep_until};

/// How long before its end a reader is told of it: less where there is less than twice as much.
const AHEAD: Duration = Duration::from_secs(30);
/// What is further ahead than this comes to the same.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// When a reader's time is over, and when he is told ahead of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// When he is told; `None` once he was.
    pub warns: Option<Instant>,
    /// When it is over.
    pub ends: Instant,
}

/// What has come due of a [`Term`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It will be over in so many seconds.
    Soon(u64),
    /// It is over.
    Over,
}

impl Term {
    /// One that begins now.
    pub fn new(expires: SystemTime) -> Self {
        let now = Instant::now();
        let rest = expires.duration_since(SystemTime::now());
        let rest = rest.unwrap_or_default().min(LONGEST);
        Self {
            warns: Some(now + (rest - AHEAD.min(rest / 2))),
            ends: now + rest,
        }
    }

    /// When something comes due next.
    pub fn at(&self) -> Instant {
        self.warns.unwrap_or(self.ends)
    }

    /// What has come due by now, each once.
    pub fn take(&mut self) -> Option<Due> {
        let now = Instant::now();
        if now >= self.ends {
            return Some(Due::Over);
        }
        self.warns.take_if(|at| *at <= now)?;
        Some(Due::Soon((self.ends - now).as_secs()))
    }

    /// Waits for what comes due next. Cancel-safe.
    pub async fn next(&mut self) -> Due {
        loop {
            if let Some(due) = self.take() {
                return due;
            }
            sleep_until(self.at()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_is_told_30_s_ahead_or_at_half_time_and_then_at_the_end() {
        for (rest, ahead) in [(3600, 30), (60, 30), (20, 10), (2, 1)] {
            let mut term = Term::new(SystemTime::now() + Duration::from_secs(rest));
            let (warns, ends) = (term.warns.unwrap(), term.ends);
            assert_eq!((ends - warns).as_secs_f64().round() as u64, ahead);
            let Due::Soon(told) = term.next().await else {
                panic!("it is over at once");
            };
            assert!(told.abs_diff(ahead) <= 1 && Instant::now() >= warns);
            assert_eq!(term.next().await, Due::Over);
            assert!(Instant::now() >= ends);
        }
    }

    #[tokio::test]
    async fn what_is_over_already_is_over_and_what_never_ends_does_not_overflow() {
        let mut term = Term::new(SystemTime::UNIX_EPOCH);
        assert_eq!(term.next().await, Due::Over);
        let far = SystemTime::now() + Duration::from_secs(1 << 40);
        assert_eq!(Term::new(far).take(), None);
    }
}
