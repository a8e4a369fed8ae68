//! The time of a run.

use std::time::{Duration, Instant};

/// Counts microseconds since the run began; the same for those who publish and those who read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn micros(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// How long it is until then.
    pub(super) fn until(self, micros: u64) -> Duration {
        Duration::from_micros(micros.saturating_sub(self.micros()))
    }
}
