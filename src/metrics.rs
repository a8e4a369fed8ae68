//! What is counted, in Prometheus' form.

use crate::hub::Usage;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What the hub counts. Cloning it shares the counts.
#[derive(Clone, Debug, Default)]
pub struct HubCounters {
    /// The log was found to have changed.
    pub resets: Counter,
    /// Retention overtook the follower.
    pub overtaken: Counter,
    /// Gaps told to readers.
    pub gaps: Counter,
}

/// All metrics of a replica.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    usage: UsageGauges,
}

/// The hub's fill, set when the metrics are asked for.
#[derive(Debug, Default)]
struct UsageGauges {
    events: Gauge,
    bytes: Gauge,
    cold_bytes: Gauge,
    feeds: Gauge,
    groups: Gauge,
    readers: Gauge,
    head: Gauge,
    floor: Gauge,
}

impl Metrics {
    /// Metrics over these counters.
    pub fn new(hub: &HubCounters) -> Self {
        let mut registry = Registry::with_prefix("tidings");
        let usage = UsageGauges::default();
        registry.register(
            "log_resets",
            "Times the log was found to be another, or to have gone back",
            hub.resets.clone(),
        );
        registry.register(
            "log_overtaken",
            "Times the log dropped events before this replica had them",
            hub.overtaken.clone(),
        );
        registry.register("gaps", "Gaps told to readers", hub.gaps.clone());
        registry.register(
            "window_events",
            "Events in the window",
            usage.events.clone(),
        );
        registry.register(
            "window_bytes",
            "Bytes in the window, encoded forms and index counted",
            usage.bytes.clone(),
        );
        registry.register(
            "cold_bytes",
            "Bytes of what was read from the log for readers behind the window",
            usage.cold_bytes.clone(),
        );
        registry.register(
            "feeds",
            "Feeds with an event in the window or a reader of their own",
            usage.feeds.clone(),
        );
        registry.register(
            "reader_groups",
            "Different sets of patterns that are read",
            usage.groups.clone(),
        );
        registry.register("readers", "Readers", usage.readers.clone());
        registry.register(
            "head_sequence",
            "Sequence of the last event followed",
            usage.head.clone(),
        );
        registry.register(
            "floor_sequence",
            "Sequence before the first event in the window",
            usage.floor.clone(),
        );
        Self { registry, usage }
    }

    /// The text of all metrics, in OpenMetrics' form.
    pub fn text(&self, usage: &Usage) -> String {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.usage.events.set(gauge(usage.events as u64));
        self.usage.bytes.set(gauge(usage.bytes));
        self.usage.cold_bytes.set(gauge(usage.cold_bytes));
        self.usage.feeds.set(gauge(usage.feeds as u64));
        self.usage.groups.set(gauge(usage.groups as u64));
        self.usage.readers.set(gauge(usage.readers as u64));
        self.usage.head.set(gauge(usage.head.sequence()));
        self.usage.floor.set(gauge(usage.floor.sequence()));
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
