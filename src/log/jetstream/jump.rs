//! Stretches of a stream that a consumer passes over.

/// A stretch of the stream that the consumer passed over: deleted, on other subjects, or expired.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jump {
    /// How many events were there before.
    pub(super) at: usize,
    /// The sequences that it lies between.
    pub(super) after: u64,
    pub(super) to: u64,
}

impl Jump {
    /// Whether retention has reached into it, where the stream begins at `first` afterwards. Then there may have
    /// been events in it.
    pub(super) fn doubtful(&self, first: u64) -> bool {
        self.after + 1 < first
    }

    /// Before which sequence events may have been lost in it.
    pub(super) fn lost_before(&self, first: u64) -> u64 {
        self.to.min(first)
    }
}
