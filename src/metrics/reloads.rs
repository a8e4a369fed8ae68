//! Settings that were read again.

use super::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use std::time::{SystemTime, UNIX_EPOCH};

/// What came of reading the settings again. Cloning it shares the counts.
#[derive(Clone, Debug)]
pub struct Reloads {
    outcomes: Family<Outcome, Counter>,
    /// When the settings in force were read, in seconds since 1970.
    read_at: Gauge,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Reloads {
    /// None yet; the settings in force were read just now.
    pub fn new() -> Self {
        let reloads = Self {
            outcomes: Family::default(),
            read_at: Gauge::default(),
        };
        // Both are there from the start: an alert can't be about what is not.
        for outcome in ["applied", "refused"] {
            drop(reloads.outcomes.get_or_create(&Outcome { outcome }));
        }
        reloads.read_now();
        reloads
    }

    /// They were put into force.
    pub fn applied(&self) {
        self.count("applied");
        self.read_now();
    }

    /// They were wrong, and those of before stay in force.
    pub fn refused(&self) {
        self.count("refused");
    }

    fn count(&self, outcome: &'static str) {
        self.outcomes.get_or_create(&Outcome { outcome }).inc();
    }

    fn read_now(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.unwrap_or_default().as_secs();
        self.read_at.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }
}

impl Default for Reloads {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// The same with what came of reading the settings again.
    #[must_use]
    pub fn with_reloads(mut self, reloads: &Reloads) -> Self {
        self.registry.register(
            "config_reloads",
            "Times that the settings were read again, by whether they were applied or refused",
            reloads.outcomes.clone(),
        );
        self.registry.register(
            "config_read_timestamp_seconds",
            "When the settings in force were read, in seconds since 1970",
            reloads.read_at.clone(),
        );
        self
    }
}
