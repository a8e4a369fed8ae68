//! The end of all streams of a replica.

use crate::wire::Closing;
use std::time::Duration;
use tokio::time::Instant;

/// Over which time streams are to end, each at its own random moment, and why.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Why.
    pub reason: Closing,
    began: Instant,
    spread: Duration,
}

impl End {
    /// An end that begins now.
    pub fn new(reason: Closing, spread: Duration) -> Self {
        Self {
            reason,
            began: Instant::now(),
            spread,
        }
    }

    /// When one of them is to end.
    pub fn moment(&self) -> Instant {
        self.began + self.spread.mul_f64(fastrand::f64())
    }
}
