//! Requests that were refused for who sent them, or from where.

use super::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// Requests that were refused, by why. Cloning it shares the counts.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    /// For their credentials; `missing` where there were none, and what was asked for is not for everyone.
    pub credentials: Family<Reason, Counter>,
    /// For the page or the name by which they came.
    pub origins: Family<Reason, Counter>,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// That, in a word.
    pub reason: &'static str,
}

impl Metrics {
    /// The same with the requests that were refused.
    #[must_use]
    pub fn with_refused(mut self, refused: &Refused) -> Self {
        self.registry.register(
            "credentials_refused",
            "Requests whose credentials were refused, or that had none where they are needed, by the reason",
            refused.credentials.clone(),
        );
        self.registry.register(
            "origins_refused",
            "Requests refused for their Host, Origin or Sec-Fetch-Site, or for a cookie that does not count for them, by the reason",
            refused.origins.clone(),
        );
        self
    }
}
