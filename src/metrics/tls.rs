//! TLS.

use super::{Metrics, Reason};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

/// What TLS counts. Cloning it shares the counts.
#[derive(Clone, Debug, Default)]
pub struct TlsCounters {
    /// Handshakes that came to nothing, by why.
    pub failed: Family<Reason, Counter>,
    /// Changes of the files that could not be taken over.
    pub reloads_failed: Counter,
    /// When the certificate runs out, in seconds since 1970.
    pub not_after: Gauge,
}

impl Metrics {
    /// The same with what TLS counts, where it is spoken.
    #[must_use]
    pub fn with_tls(mut self, counters: Option<&TlsCounters>) -> Self {
        let Some(counters) = counters else {
            return self;
        };
        self.registry.register(
            "tls_handshakes_failed",
            "TLS handshakes that came to nothing, by the reason: closed, plaintext, protocol, refused or timeout",
            counters.failed.clone(),
        );
        self.registry.register(
            "tls_reloads_failed",
            "Changes of --tls-cert and --tls-key that could not be taken over",
            counters.reloads_failed.clone(),
        );
        self.registry.register(
            "tls_certificate_not_after_timestamp_seconds",
            "When the certificate runs out, in seconds since 1970; 0 where that is not known",
            counters.not_after.clone(),
        );
        self
    }
}
