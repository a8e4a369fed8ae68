//! What is counted, in Prometheus' form.

mod credentials;
mod limits;
mod log;
mod replica;
mod tls;
mod values;
mod websocket;

pub use credentials::{Reason, Refused};
pub use limits::Bounded;
pub use tls::TlsCounters;
pub use websocket::{Counted, How, RequestFailure, WebSocketCounters};

use crate::hub::{ShardStats, Shards, Usage};
use crate::log::Log;
use crate::publish::{BodyBudget, Publisher};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::Semaphore;

/// What the hub counts. Cloning it shares the counts.
#[derive(Clone, Debug, Default)]
pub struct HubCounters {
    /// The log was found to have changed.
    pub resets: Counter,
    /// Retention overtook the follower.
    pub overtaken: Counter,
    /// Gaps told to readers.
    pub gaps: Counter,
    /// Reads of the log for readers behind the window.
    pub cold_reads: Counter,
    /// Clients that took nothing of what they were sent, and were closed.
    pub stalled: Counter,
    /// Readers who were told to come back, as there were as many as may be.
    pub refused: Counter,
}

/// The places for connections, and what the listener counts. Cloning it shares both.
#[derive(Clone, Debug)]
pub struct Connections {
    /// One for each connection that may be open.
    pub places: Arc<Semaphore>,
    /// How many places there are.
    pub max: usize,
    /// Connections accepted.
    pub accepted: Counter,
    /// Times that accepting failed for want of something, such as open files.
    pub accept_errors: Counter,
    /// Times that no place was left.
    pub full: Counter,
}

impl Connections {
    /// Places for `max` connections, at least 1.
    pub fn new(max: usize) -> Self {
        let max = max.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self {
            places: Arc::new(Semaphore::new(max)),
            max,
            accepted: Counter::default(),
            accept_errors: Counter::default(),
            full: Counter::default(),
        }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.max - self.places.available_permits()
    }
}

/// What may be held at once of bodies.
#[derive(Clone, Debug)]
pub struct Budgets {
    /// Of publishes.
    pub bodies: BodyBudget,
    /// Of the answers of polls.
    pub pages: BodyBudget,
    /// Of WebSockets: messages that have not come whole, requests and their answers.
    pub messages: BodyBudget,
}

/// All metrics of a replica.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Metrics over these counters, and what `usage` tells whenever they are asked for.
    pub fn new(
        hub: &HubCounters,
        usage: impl Fn() -> Usage + Send + Sync + 'static,
        shards: Arc<Shards>,
        log: Log,
        connections: Connections,
        publisher: &Publisher,
        budgets: Budgets,
    ) -> Self {
        let mut registry = Registry::with_prefix("tidings");
        let mut count =
            |name, help, counter: &Counter| registry.register(name, help, counter.clone());
        count(
            "log_resets",
            "Times the log was found to be another, or to have gone back",
            &hub.resets,
        );
        count(
            "log_overtaken",
            "Times the log dropped events before this replica had them",
            &hub.overtaken,
        );
        count("gaps", "Gaps told to readers", &hub.gaps);
        count(
            "readers_refused",
            "Readers told to come back because --max-streams was reached",
            &hub.refused,
        );
        count(
            "publishes_refused",
            "Publishes refused because --max-publishes was reached",
            publisher.refused(),
        );
        count(
            "cold_reads",
            "Reads of the log for readers behind the window, each for all who wait for it",
            &hub.cold_reads,
        );
        count(
            "stalled",
            "Connections, and streams and polls over HTTP/2, closed because their client took nothing for --stall-timeout",
            &hub.stalled,
        );
        count(
            "http_connections_accepted",
            "Connections accepted",
            &connections.accepted,
        );
        count(
            "http_accept_errors",
            "Times that no connection could be accepted, for want of open files or memory",
            &connections.accept_errors,
        );
        count(
            "http_connections_full",
            "Times that --max-connections was reached and the next connection had to wait",
            &connections.full,
        );
        count(
            "publish_bytes_refused",
            "Bodies of publishes refused because --publish-bytes was used up",
            budgets.bodies.refused(),
        );
        count(
            "page_bytes_refused",
            "Polls told to come back because --page-bytes was used up",
            budgets.pages.refused(),
        );
        count(
            "websocket_bytes_refused",
            "WebSocket messages, requests and their answers refused because --websocket-bytes was used up",
            budgets.messages.refused(),
        );
        registry.register_collector(Box::new(Looked {
            usage,
            shards,
            log,
            connections,
            budgets,
        }));
        Self { registry }
    }

    /// The text of all metrics, in OpenMetrics' form.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// What is looked up when the metrics are asked for.
struct Looked<F> {
    usage: F,
    shards: Arc<Shards>,
    log: Log,
    connections: Connections,
    budgets: Budgets,
}

impl<F> fmt::Debug for Looked<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looked").finish_non_exhaustive()
    }
}

impl<F: Fn() -> Usage + Send + Sync + 'static> Collector for Looked<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        gauge(
            &mut encoder,
            "http_connections",
            "Open connections, those of streams among them",
            self.connections.open() as u64,
        )?;
        gauge(
            &mut encoder,
            "publish_bytes",
            "Bytes that the bodies of publishes under way hold",
            self.budgets.bodies.held() as u64,
        )?;
        gauge(
            &mut encoder,
            "page_bytes",
            "Bytes that the answers of polls hold until they are sent",
            self.budgets.pages.held() as u64,
        )?;
        gauge(
            &mut encoder,
            "websocket_bytes",
            "Bytes that WebSockets hold of messages that have not come whole, requests and their answers",
            self.budgets.messages.held() as u64,
        )?;
        self.usage(&mut encoder)?;
        self.fan_out(&mut encoder)?;
        log::log(&mut encoder, &self.log)
    }
}

impl<F: Fn() -> Usage> Looked<F> {
    fn usage(&self, to: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let usage = (self.usage)();
        gauge(
            to,
            "window_events",
            "Events in the window",
            usage.events as u64,
        )?;
        gauge(
            to,
            "window_bytes",
            "Bytes in the window, encoded forms and index counted",
            usage.bytes,
        )?;
        gauge(
            to,
            "cold_bytes",
            "Bytes of what was read from the log for readers behind the window",
            usage.cold_bytes,
        )?;
        gauge(
            to,
            "feeds",
            "Feeds with an event in the window or a reader of their own",
            usage.feeds as u64,
        )?;
        gauge(
            to,
            "reader_groups",
            "Different sets of patterns that are read",
            usage.groups as u64,
        )?;
        gauge(
            to,
            "pattern_bytes",
            "Bytes of the patterns that are read, and of what finds them, about",
            usage.pattern_bytes as u64,
        )?;
        gauge(
            to,
            "readers",
            "Readers, over all transports",
            usage.readers as u64,
        )?;
        gauge(
            to,
            "head_sequence",
            "Sequence of the last event followed",
            usage.head.sequence(),
        )?;
        gauge(
            to,
            "floor_sequence",
            "Sequence before the first event in the window",
            usage.floor.sequence(),
        )
    }

    fn fan_out(&self, to: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let sum = |of: fn(&ShardStats) -> &AtomicU64| {
            self.shards
                .stats()
                .map(|stats| of(stats).load(Relaxed))
                .sum()
        };
        gauge(
            to,
            "shard_connections",
            "Connections that shards serve",
            sum(|stats| &stats.connections),
        )?;
        counter(
            to,
            "shard_deliveries",
            "Events and notices written by shards, one for each connection",
            sum(|stats| &stats.deliveries),
        )?;
        counter(
            to,
            "shard_writes",
            "Writes to sockets by shards",
            sum(|stats| &stats.writes),
        )?;
        counter(
            to,
            "shard_written_bytes",
            "Bytes written by shards, chunk framing counted",
            sum(|stats| &stats.bytes),
        )?;
        counter(
            to,
            "shard_blocked_writes",
            "Writes that a full socket cut short",
            sum(|stats| &stats.blocked),
        )
    }
}

fn gauge(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), fmt::Error> {
    put(to, name, help, &ConstGauge::new(value))
}

fn counter(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), fmt::Error> {
    put(to, name, help, &ConstCounter::new(value))
}

fn put(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    metric.encode(to.encode_descriptor(name, help, None, metric.metric_type())?)
}
