//! What WebSockets count.

use super::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use std::borrow::Cow;

/// What WebSockets count. Cloning it shares the counts.
#[derive(Clone, Debug, Default)]
pub struct WebSocketCounters {
    /// Messages of clients.
    pub received: Counter,
    /// Messages to clients.
    pub sent: Counter,
    /// Those that have ended, by how.
    pub ended: Family<How, Counter>,
    /// Requests to backends under way.
    pub requests: Gauge,
    /// Requests that came to nothing, by the status of the answer.
    pub requests_failed: Family<RequestFailure, Counter>,
    /// Subscriptions refused, as there were as many on a connection as may be.
    pub subscriptions_refused: Counter,
    /// Times that a connection was read no further, as much was under way for it as may be.
    pub outstanding_full: Counter,
}

/// How a WebSocket has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct How {
    /// The code that it was closed with, `client` where the client did, `lost` where the connection broke.
    pub code: Cow<'static, str>,
}

/// How a request to a backend has failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestFailure {
    /// The status of the error that it was answered with, as over HTTP.
    pub status: u16,
}

/// One of those that a gauge counts, until it is dropped.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    /// One more.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// The same with those of WebSockets.
    #[must_use]
    pub fn with_websockets(mut self, counters: &WebSocketCounters) -> Self {
        let to = &mut self.registry;
        to.register(
            "websocket_messages_received",
            "Messages of WebSocket clients",
            counters.received.clone(),
        );
        to.register(
            "websocket_messages_sent",
            "Messages sent over WebSockets",
            counters.sent.clone(),
        );
        to.register(
            "websockets_ended",
            "WebSockets that have ended: by the code they were closed with, by the client, or lost",
            counters.ended.clone(),
        );
        to.register(
            "requests",
            "Requests to backends under way",
            counters.requests.clone(),
        );
        to.register(
            "requests_failed",
            "Requests to backends that were answered with an error, by its status",
            counters.requests_failed.clone(),
        );
        to.register(
            "websocket_subscriptions_refused",
            "Subscriptions refused because a WebSocket had --max-subscriptions",
            counters.subscriptions_refused.clone(),
        );
        to.register(
            "websocket_outstanding_full",
            "Times that a WebSocket was read no further because --max-outstanding was reached",
            counters.outstanding_full.clone(),
        );
        self
    }
}
