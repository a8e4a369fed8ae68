//! How long events take from the log to the sockets, as a histogram.

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of the buckets, in microseconds; the last one has none.
const BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];
const BUCKETS: usize = BOUNDS.len() + 1;

/// Times that deliveries took. Without a lock, and each thread that delivers much has its own.
#[derive(Debug, Default)]
pub struct Delay {
    counts: [AtomicU64; BUCKETS],
    micros: AtomicU64,
}

/// The sum of several [`Delay`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    counts: [u64; BUCKETS],
    micros: u64,
}

impl Delay {
    /// So many deliveries took this long.
    pub fn observe(&self, took: Duration, deliveries: u64) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        self.counts[bucket].fetch_add(deliveries, Relaxed);
        self.micros
            .fetch_add(micros.saturating_mul(deliveries), Relaxed);
    }
}

impl Delays {
    /// All of them together.
    pub fn sum<'a>(all: impl Iterator<Item = &'a Delay>) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            for (count, more) in sum.counts.iter_mut().zip(&one.counts) {
                *count += more.load(Relaxed);
            }
            sum.micros += one.micros.load(Relaxed);
            sum
        })
    }

    /// How many deliveries were timed.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn encode(
        &self,
        to: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
    ) -> Result<(), fmt::Error> {
        let bounds = BOUNDS.iter().map(|micros| *micros as f64 / 1e6);
        let bounds = bounds.chain(std::iter::once(f64::INFINITY));
        let buckets: Vec<_> = bounds.zip(self.counts).collect();
        let seconds = self.micros as f64 / 1e6;
        to.encode_descriptor(name, help, None, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(seconds, self.count(), &buckets, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_bucket_that_is_not_below_it() {
        let (one, other) = (Delay::default(), Delay::default());
        one.observe(Duration::from_micros(100), 2);
        one.observe(Duration::from_micros(101), 1);
        other.observe(Duration::from_secs(11), 3);
        let sum = Delays::sum([&one, &other].into_iter());
        assert_eq!((sum.counts[0], sum.counts[1], sum.counts[16]), (2, 1, 3));
        assert_eq!((sum.count(), sum.micros), (6, 301 + 33_000_000));
    }
}
