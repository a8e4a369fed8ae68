//! The only door in: authorise, validate, append.

mod budget;
#[cfg(test)]
mod tests;

pub use budget::{BodyBudget, Share, UsedUp};

use crate::auth::{Caller, Denied, Who};
use crate::event::{Data, Feed, Message, Position};
use crate::hub::{Entry, Hub};
use crate::log::{Append, AppendError, Appended, LogError};
use crate::metrics::{Outcome, Publish, Publishes, Way, publishes};
use prometheus_client::metrics::counter::Counter;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, TryAcquireError};

/// The longest idempotency key, in bytes.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;
/// How long a publisher waits for this replica to follow its event, before the log is asked for its id.
const FOLLOW: Duration = Duration::from_secs(2);

/// Takes in what is published over HTTP and WebSocket. Cloning it gives another handle.
#[derive(Clone, Debug)]
pub struct Publisher {
    hub: Hub,
    max_event_bytes: usize,
    max_publishes: usize,
    places: Arc<Semaphore>,
    refused: Counter,
    counts: Publishes,
}

/// An event that the log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its position.
    pub id: Position,
    /// Its feed.
    pub feed: Feed,
    /// Whether the log had it already, under the same idempotency key.
    pub repeated: bool,
}

/// Why a publish failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It is not allowed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The data is larger than the hub takes.
    #[error("the event has {bytes} bytes of data; this server takes at most {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest that is taken.
        max: usize,
    },
    /// The idempotency key can't be used.
    #[error(
        "the idempotency key must have 1 to {MAX_IDEMPOTENCY_KEY_BYTES} bytes, and no control character"
    )]
    IdempotencyKey,
    /// Too many are under way.
    #[error("{0} publishes are under way, as many as may be; nothing was stored")]
    Overload(usize),
    /// The log did not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl PublishError {
    /// The same for those who are not to know how the log is reached.
    fn without_reason(self) -> Self {
        let Self::Append(error) = self else {
            return self;
        };
        Self::Append(match error {
            AppendError::NotStored(_) => {
                AppendError::NotStored("the log does not take it now".to_owned())
            }
            AppendError::Full(_) => AppendError::Full("the log has no room now".to_owned()),
            AppendError::Unknown(_) => {
                AppendError::Unknown("the log has not told its id".to_owned())
            }
            error @ AppendError::TooLarge { .. } => error,
        })
    }
}

impl Publisher {
    /// A door to the log that `hub` follows, for `max_publishes` at once.
    pub fn new(hub: Hub, max_event_bytes: usize, max_publishes: usize) -> Self {
        Self {
            hub,
            max_event_bytes,
            max_publishes,
            places: Arc::new(Semaphore::new(max_publishes)),
            refused: Counter::default(),
            counts: publishes(),
        }
    }

    /// How many may be under way at once.
    pub fn max_publishes(&self) -> usize {
        self.max_publishes
    }

    /// Publishes refused because there were as many under way as may be.
    pub fn refused(&self) -> &Counter {
        &self.refused
    }

    /// All publishes, by their way and outcome.
    pub fn counts(&self) -> &Publishes {
        &self.counts
    }

    /// Publishes a message, as the caller's. Success means that the log's promise holds for it, and that this replica
    /// has followed it, or that the log has named its id.
    ///
    /// To those of other machines an error leaves out the log's own reasons, which name servers and streams.
    pub async fn publish(
        &self,
        way: Way,
        caller: &Caller,
        mut message: Message,
        idempotency_key: Option<String>,
    ) -> Result<Published, PublishError> {
        message.sender = caller.subject().map(Box::from);
        let (feed, trace) = (message.feed.clone(), message.trace.clone());
        let published = match caller.publish(&message.feed) {
            Ok(()) => self.authorised(message, idempotency_key).await,
            Err(denied) => Err(denied.into()),
        };
        let outcome = outcome(&published);
        self.counts.get_or_create(&Publish::new(way, outcome)).inc();
        tracing::debug!(
            way = way.as_str(),
            outcome = outcome.as_str(),
            %feed,
            id = published.as_ref().ok().map(|published| tracing::field::display(published.id)),
            error = published.as_ref().err().map(tracing::field::display),
            sender = caller.subject(),
            trace_id = trace.as_ref().map(|trace| trace.id()),
            "a publish"
        );
        published.map_err(|error| match caller.who() {
            Who::Local => error,
            Who::Anonymous | Who::Known(_) => error.without_reason(),
        })
    }

    async fn authorised(
        &self,
        message: Message,
        idempotency_key: Option<String>,
    ) -> Result<Published, PublishError> {
        self.validate(&message, idempotency_key.as_deref())?;
        let _place = self.place()?;
        let (feed, data) = (message.feed.clone(), message.data.clone());
        let append = Append {
            message,
            idempotency_key,
        };
        let head = self.hub.head();
        // Handed over when it is first polled. Where tokio's budget is used up, those that follow would be before it.
        let appended = tokio::task::unconstrained(self.hub.log().append(append)).await?;
        let id = self.id_of(appended, head, &feed, &data).await;
        let id = id.map_err(|reason| {
            AppendError::Unknown(format!(
                "it was stored, but its id is not to be had: {reason}"
            ))
        })?;
        Ok(Published {
            id,
            feed,
            repeated: appended.repeated,
        })
    }

    /// The id of an event that the log has taken, when it had been followed as far as `head`; else why there is
    /// none. A log that is rolled back in between gives the sequence to another event.
    async fn id_of(
        &self,
        appended: Appended,
        head: u64,
        feed: &Feed,
        data: &Data,
    ) -> Result<Position, String> {
        let Appended { sequence, repeated } = appended;
        if !repeated && sequence <= head {
            return Err("the log has been rolled back, or made anew".to_owned());
        }
        let found = self.hub.found_at(sequence, FOLLOW).await;
        let found = found.map_err(|LogError::Unavailable(reason)| reason)?;
        // A repeat need not have the same data as the first.
        let is_another = |entry: &Entry| {
            let known = &entry.event().message;
            known.feed != *feed || !(repeated || known.data == *data)
        };
        match found {
            Some(found) if found.entry.as_deref().is_some_and(is_another) => {
                Err("the log has been rolled back since".to_owned())
            }
            Some(found) => Ok(found.position),
            // It has expired, as an event may; the place just after it is known still.
            None if repeated => Ok(Position::before(sequence + 1)),
            None => Err("the log does not hold it any more".to_owned()),
        }
    }

    fn validate(
        &self,
        message: &Message,
        idempotency_key: Option<&str>,
    ) -> Result<(), PublishError> {
        let Data::Bytes(data) = &message.data else {
            return Ok(());
        };
        if data.len() > self.max_event_bytes {
            let (bytes, max) = (data.len(), self.max_event_bytes);
            return Err(PublishError::TooLarge { bytes, max });
        }
        match idempotency_key.is_none_or(is_idempotency_key) {
            true => Ok(()),
            false => Err(PublishError::IdempotencyKey),
        }
    }

    fn place(&self) -> Result<impl Drop + use<>, PublishError> {
        match self.places.clone().try_acquire_owned() {
            Ok(permit) => Ok(permit),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                self.refused.inc();
                Err(PublishError::Overload(self.max_publishes))
            }
        }
    }
}

fn outcome(published: &Result<Published, PublishError>) -> Outcome {
    match published {
        Ok(published) if published.repeated => Outcome::Repeated,
        Ok(_) => Outcome::Stored,
        Err(PublishError::Denied(_)) => Outcome::Denied,
        Err(
            PublishError::TooLarge { .. }
            | PublishError::IdempotencyKey
            | PublishError::Append(AppendError::TooLarge { .. }),
        ) => Outcome::Invalid,
        Err(PublishError::Overload(_)) => Outcome::Overload,
        Err(PublishError::Append(AppendError::NotStored(_) | AppendError::Full(_))) => {
            Outcome::NotStored
        }
        Err(PublishError::Append(AppendError::Unknown(_))) => Outcome::Unknown,
    }
}

/// What may be one in a batch is what may be one in a header.
fn is_idempotency_key(text: &str) -> bool {
    (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&text.len()) && !text.contains(char::is_control)
}
