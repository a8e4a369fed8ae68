//! What replicas of the same log tell each other.

use super::Log;
use bytes::Bytes;

/// What another replica says, or this one itself.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a>(pub &'a [u8]);

impl Log {
    /// Tells all replicas of this log, this one among them, and gives what they have answered within a second. A log
    /// of this process' own has no others.
    pub async fn tell_replicas(&self, text: Bytes) -> Result<Vec<Bytes>, String> {
        match self {
            Self::JetStream(log) => log.tell_replicas(text).await,
            _ => Ok(Vec::new()),
        }
    }

    /// Answers what replicas say, for as long as it is polled.
    pub async fn hear_replicas(&self, answer: impl Fn(Told<'_>) -> Option<Bytes>) {
        match self {
            Self::JetStream(log) => log.hear_replicas(answer).await,
            _ => std::future::pending().await,
        }
    }
}
