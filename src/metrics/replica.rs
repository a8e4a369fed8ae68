//! Which replica this is.

use super::Metrics;
use crate::version::{COMMIT, VERSION};
use prometheus_client::metrics::info::Info;

impl Metrics {
    /// The same with the replica's name, by which it is told from others.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        let info = Info::new(vec![("name", name.to_owned())]);
        self.registry
            .register("replica", "This replica, as `/explain` names it", info);
        let build = Info::new(vec![("version", VERSION), ("commit", COMMIT)]);
        self.registry.register(
            "build",
            "The program that runs, by its version and the commit that it was built from",
            build,
        );
        self
    }
}
