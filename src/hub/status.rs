//! How the hub stands to its log.

/// One unbroken stretch of following the log, after the log was verified to be the one followed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// Rises from session to session.
    pub(super) number: u64,
    /// When the log was created, by its own word.
    pub(super) created: u64,
    /// How often the log had changed when it began: while it goes on, the log does not change.
    pub(super) generation: u64,
}

/// Whether readers get what is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The window is not warm yet.
    Starting {
        /// What it waits for.
        reason: String,
    },
    /// The log is followed.
    Live,
    /// The log can't be followed: readers are served from the window, and new events wait in the log.
    Degraded {
        /// Why.
        reason: String,
    },
}
