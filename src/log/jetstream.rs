//! The log on NATS JetStream.

use super::{
    Append, AppendError, Appended, Batch, Bounds, Followed, Limit, LogError, Range, Select,
};
use crate::config::NatsSettings;
use crate::event::Position;

/// A log in a JetStream stream.
#[derive(Clone, Debug)]
pub struct JetStreamLog {}

impl JetStreamLog {
    /// A log on the servers of `settings`; connects in the background, for as long as it takes.
    pub fn new(_settings: NatsSettings, _max_event_bytes: usize) -> Result<Self, LogError> {
        Err(LogError::Unavailable("not built yet".to_owned()))
    }

    pub(super) async fn open(&self) -> Result<Bounds, LogError> {
        self.bounds().await
    }

    pub(super) async fn bounds(&self) -> Result<Bounds, LogError> {
        Err(LogError::Unavailable("not built yet".to_owned()))
    }

    pub(super) async fn position_at(&self, _sequence: u64) -> Result<Option<Position>, LogError> {
        Err(LogError::Unavailable("not built yet".to_owned()))
    }

    pub(super) async fn append(&self, _append: Append) -> Result<Appended, AppendError> {
        Err(AppendError::NotStored("not built yet".to_owned()))
    }

    pub(super) async fn follow(&self, _after: u64) -> Result<Follow, LogError> {
        Err(LogError::Unavailable("not built yet".to_owned()))
    }

    pub(super) async fn read(
        &self,
        _range: Range,
        _select: &Select,
        _limit: Limit,
    ) -> Result<Batch, LogError> {
        Err(LogError::Unavailable("not built yet".to_owned()))
    }
}

/// A follower of a [`JetStreamLog`].
#[derive(Debug)]
pub struct Follow {}

impl Follow {
    pub(super) async fn next(&mut self) -> Result<Followed, LogError> {
        Err(LogError::Unavailable("not built yet".to_owned()))
    }
}
