//! Which replica this is.

use super::Metrics;
use prometheus_client::metrics::info::Info;

impl Metrics {
    /// The same with the replica's name, by which it is told from others.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        let info = Info::new(vec![("name", name.to_owned())]);
        self.registry
            .register("replica", "This replica, as `/explain` names it", info);
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        self.registry
            .register("build", "The program that runs, by its version", build);
        self
    }
}
