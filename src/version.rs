//! Which program this is.

/// Its version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from; empty where that was not known then.
pub const COMMIT: &str = env!("TIDINGS_COMMIT");

/// Both for people, as in `0.1.0 (af03233)`, or the version alone.
pub const BUILD: &str = env!("TIDINGS_BUILD");
