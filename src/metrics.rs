//! What is counted, in Prometheus' form.

mod credentials;
mod delay;
mod limits;
mod log;
mod looked;
mod process;
mod publishes;
mod replica;
mod requests;
mod streams;
mod text;
mod tls;
mod values;
mod websocket;

pub use credentials::{Reason, Refused};
pub use delay::{Delay, Delays};
pub use limits::Bounded;
pub use publishes::{Outcome, Publish, Publishes, Way, publishes};
pub use requests::{Request, Requests};
pub use streams::{
    ANSWERED, CLIENT, Delivered, FAILED, Fate, Kind, OpenStream, Protocol, REFUSED, Reader,
    STALLED, StreamCounters, Transport,
};
pub use text::TextForm;
pub use tls::TlsCounters;
pub use websocket::{Counted, How, RequestFailure, WebSocketCounters};

use crate::hub::{Hub, Shards};
use crate::publish::{BodyBudget, Publisher};
use looked::Looked;
use process::Process;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
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
    /// Resets told to readers.
    pub resets_told: Counter,
    /// Events that were followed, and the bytes of their data.
    pub followed: Counter,
    /// See there.
    pub followed_bytes: Counter,
    /// Readers that began to catch up from the window.
    pub caught_up_in_window: Counter,
    /// Readers that began to catch up from the log.
    pub caught_up_in_log: Counter,
    /// How long events took that readers outside of shards were live for.
    pub delay: Arc<Delay>,
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
    /// Those that are named alike for programs of all kinds.
    process: Registry,
}

impl Metrics {
    /// Metrics over these counters, and what is looked up whenever they are asked for.
    pub fn new(
        counters: &HubCounters,
        streams: &StreamCounters,
        hub: Hub,
        shards: Arc<Shards>,
        connections: Connections,
        publisher: &Publisher,
        budgets: Budgets,
    ) -> Self {
        let mut registry = Registry::with_prefix("tidings");
        of_hub(&mut registry, counters);
        of_connections(&mut registry, &connections);
        of_publishes(&mut registry, publisher, &budgets);
        streams.register(&mut registry);
        registry.register_collector(Box::new(Looked {
            delay: counters.delay.clone(),
            streams: streams.clone(),
            hub,
            shards,
            connections,
            budgets,
        }));
        let mut process = Registry::default();
        process.register_collector(Box::new(Process::new()));
        Self { registry, process }
    }

    /// The text of all metrics, in OpenMetrics' form.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &self.process);
        let _ = encode_eof(&mut text);
        text
    }

    /// The same, in a form.
    pub fn text_in(&self, form: TextForm) -> String {
        match form {
            TextForm::OpenMetrics => self.text(),
            TextForm::Prometheus => text::classic(&self.text()),
        }
    }
}

fn of_hub(registry: &mut Registry, hub: &HubCounters) {
    let mut count = |name, help, counter: &Counter| registry.register(name, help, counter.clone());
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
    count(
        "followed_events",
        "Events that the log has brought to this replica, by whatever way they were published",
        &hub.followed,
    );
    count(
        "followed_bytes",
        "Bytes of the data of these events",
        &hub.followed_bytes,
    );
    count(
        "gaps",
        "Gaps told to readers, once for each reader",
        &hub.gaps,
    );
    count(
        "resets",
        "Resets told to readers, once for each reader",
        &hub.resets_told,
    );
    count(
        "readers_refused",
        "Readers told to come back because --max-streams was reached",
        &hub.refused,
    );
    count(
        "window_catch_ups",
        "Readers that began behind the newest event and were given what they had missed from the window",
        &hub.caught_up_in_window,
    );
    count(
        "log_catch_ups",
        "Readers that stood before the window and were given what they had missed from the log",
        &hub.caught_up_in_log,
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
}

fn of_connections(registry: &mut Registry, connections: &Connections) {
    let mut count = |name, help, counter: &Counter| registry.register(name, help, counter.clone());
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
}

fn of_publishes(registry: &mut Registry, publisher: &Publisher, budgets: &Budgets) {
    registry.register(
        "publishes",
        "Publishes that came to the log's door through this server, by their way and outcome",
        publisher.counts().clone(),
    );
    let mut count = |name, help, counter: &Counter| registry.register(name, help, counter.clone());
    count(
        "publishes_refused",
        "Publishes refused because --max-publishes was reached",
        publisher.refused(),
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

/// Gauges of one name, each with its labels.
fn gauge_of<L: EncodeLabelSet>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    all: impl Iterator<Item = (L, u64)>,
) -> Result<(), fmt::Error> {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in all {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Counters of one name, likewise.
fn counter_of<L: EncodeLabelSet>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    all: impl Iterator<Item = (L, u64)>,
) -> Result<(), fmt::Error> {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in all {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
