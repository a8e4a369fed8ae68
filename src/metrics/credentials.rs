//! Credentials that were refused.

use super::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// Credentials that were refused, by why. Cloning it shares the counts.
pub type Refused = Family<Reason, Counter>;

/// Why credentials were refused; `missing` where there were none, and nothing is for everyone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// That, in a word.
    pub reason: &'static str,
}

impl Metrics {
    /// The same with the credentials that were refused.
    #[must_use]
    pub fn with_credentials(mut self, refused: &Refused) -> Self {
        self.registry.register(
            "credentials_refused",
            "Requests whose credentials were refused, or that had none where they are needed, by the reason",
            refused.clone(),
        );
        self
    }
}
