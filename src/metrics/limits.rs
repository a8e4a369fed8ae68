//! What single clients were refused.

use super::Metrics;
use crate::clients::{Rates, Seats};
use prometheus_client::metrics::counter::Counter;

/// What of each client is bounded.
#[derive(Debug)]
pub struct Bounded<'a> {
    /// Connections of each address.
    pub connections: &'a Seats,
    /// Streams, polls and WebSockets.
    pub seats: &'a Seats,
    /// Publishes.
    pub publishes: &'a Rates,
    /// Messages over WebSockets.
    pub messages: &'a Rates,
    /// Connections that were ended by revoking their subject.
    pub revoked: &'a Counter,
}

impl Metrics {
    /// The same with what single clients were refused.
    #[must_use]
    pub fn with_clients(mut self, bounded: &Bounded<'_>) -> Self {
        let mut count =
            |name, help, counter: &Counter| self.registry.register(name, help, counter.clone());
        count(
            "address_connections_refused",
            "Connections closed at once because --max-connections-per-address was reached",
            &bounded.connections.refused().address,
        );
        count(
            "address_streams_refused",
            "Streams, polls and WebSockets refused because --max-connections-per-address was reached",
            &bounded.seats.refused().address,
        );
        count(
            "subject_streams_refused",
            "Streams, polls and WebSockets refused because --max-connections-per-subject was reached",
            &bounded.seats.refused().subject,
        );
        count(
            "publish_rate_refused",
            "Publishes refused because their client had used up --publish-rate",
            bounded.publishes.refused(),
        );
        count(
            "message_rate_refused",
            "WebSocket messages refused because their client had used up --message-rate",
            bounded.messages.refused(),
        );
        count(
            "connections_revoked",
            "Streams, polls and WebSockets ended by revoking their subject",
            bounded.revoked,
        );
        self
    }
}
