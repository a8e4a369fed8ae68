//! The end of all that a subject has open, on every replica.

use crate::auth::jwt::{LEEWAY, MAX_TOKEN_BYTES};
use crate::auth::revoked::LONGEST;
use crate::auth::{Revocation, Revoked};
use crate::clients::Seats;
use crate::hub::Shards;
use crate::log::{Log, Told};
use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Ends what subjects have open, and refuses their credentials of before. Cloning it gives another handle.
#[derive(Clone, Debug)]
pub struct Revoker {
    /// The replica's name.
    pub replica: Arc<str>,
    /// Who has what open.
    pub seats: Seats,
    /// Those that have sockets of their own.
    pub shards: Arc<Shards>,
    /// Whose credentials are refused.
    pub revoked: Revoked,
    /// What other replicas are told by.
    pub log: Log,
    /// How many connections were ended.
    pub ended: Counter,
}

/// What replicas are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Whose connections are to end.
    pub subject: String,
    /// Credentials are refused that were issued up to then, in seconds since 1970.
    pub at: u64,
    /// For so many seconds; 0 to refuse none any more.
    pub seconds: u64,
    /// The replica that passes it on, which has done it by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whose word it is, where that is known: for the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What a replica has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Its name.
    pub replica: String,
    /// How many connections it has ended.
    pub ended: usize,
    /// Why it could not do all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Order {
    /// One of now.
    pub fn new(subject: String, time: Duration, by: Option<String>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            subject,
            at: now.unwrap_or_default().as_secs(),
            seconds: time.as_secs(),
            from: None,
            by,
        }
    }

    /// What is to be remembered. Whoever may publish to the subject of the replicas can send any number: what is later than
    /// our clock and its leeway, or longer than may be, is taken for just that.
    fn revocation(&self) -> Revocation {
        let now = SystemTime::now();
        let latest = now + LEEWAY;
        // Whole seconds are all that most tokens say.
        let at = UNIX_EPOCH
            .checked_add(Duration::from_secs(self.at))
            .and_then(|at| at.checked_add(Duration::from_millis(999)));
        Revocation {
            at: at.map_or(latest, |at| at.min(latest)),
            until: now + Duration::from_secs(self.seconds).min(LONGEST),
        }
    }

    fn log(&self, ended: usize) {
        let (subject, by) = (self.subject.as_str(), self.by.as_deref());
        match self.seconds {
            0 => tracing::info!(
                subject,
                by,
                ended,
                "a revocation is taken back: what the subject has open was told to end, and its credentials are taken again"
            ),
            seconds => tracing::info!(
                subject,
                by,
                seconds,
                ended,
                "a subject is revoked: what it has open was told to end, and its credentials of before are refused"
            ),
        }
    }
}

impl Revoker {
    /// Does it on this replica and on all others; what each of those has done that have answered, this one first, and
    /// why others may not have heard of it.
    pub async fn everywhere(&self, order: &Order) -> (Vec<Done>, Result<(), String>) {
        let mut done = vec![self.here(order)];
        let order = Order {
            from: Some(self.replica.to_string()),
            ..order.clone()
        };
        let text = serde_json::to_vec(&order).expect("strings and numbers are JSON");
        let answers = self.log.tell_replicas(text.into()).await;
        let told = answers.map(|answers| {
            let answers = answers
                .iter()
                .filter_map(|one| serde_json::from_slice(one).ok());
            done.extend(answers.filter(|one: &Done| *one.replica != *self.replica));
        });
        (done, told)
    }

    /// Does it on this replica.
    pub fn here(&self, order: &Order) -> Done {
        // Before their connections end: who comes back at once is refused.
        let refused = match order.seconds {
            0 => {
                self.revoked.remove(&order.subject);
                Ok(())
            }
            _ => self.revoked.add(&order.subject, order.revocation()),
        };
        let ended = self.end(&order.subject);
        order.log(ended);
        Done {
            replica: self.replica.to_string(),
            ended,
            error: refused.err().map(|error| error.to_string()),
        }
    }

    /// Ends what a subject has open on this replica, and says how much that was.
    pub fn end(&self, subject: &str) -> usize {
        let ended = self.seats.revoke(subject);
        self.shards.end_revoked();
        self.ended.inc_by(ended as u64);
        ended
    }

    /// Does what other replicas say, for as long as it is polled.
    pub async fn listen(self) {
        let log = self.log.clone();
        log.hear_replicas(move |told: Told<'_>| self.told(told))
            .await;
    }

    fn told(&self, Told(text): Told<'_>) -> Option<Bytes> {
        let order: Order = serde_json::from_slice(text)
            .inspect_err(|error| tracing::warn!(%error, "another replica says what is not understood here; is its version newer?"))
            .ok()?;
        // No credentials have room for it, and each that is remembered takes its room.
        let names = [Some(&order.subject), order.by.as_ref()];
        if names
            .into_iter()
            .flatten()
            .any(|name| name.len() > MAX_TOKEN_BYTES)
        {
            tracing::warn!(
                bytes = order.subject.len(),
                "another replica says a subject that is none"
            );
            return None;
        }
        let done = match order.from.as_deref() == Some(&*self.replica) {
            true => Done {
                replica: self.replica.to_string(),
                ended: 0,
                error: None,
            },
            false => self.here(&order),
        };
        let done = serde_json::to_vec(&done);
        Some(done.expect("strings and numbers are JSON").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_replica_adds_to_an_order_is_passed_over() {
        let order = Order::new("ann".to_owned(), Duration::from_secs(60), None);
        let mut text = serde_json::to_value(&order).unwrap();
        text["reason"] = "she has left".into();
        assert_eq!(serde_json::from_value::<Order>(text).unwrap(), order);
        let done = serde_json::from_str::<Done>(r#"{"replica":"r","ended":1,"polls":2}"#);
        assert_eq!(done.unwrap().ended, 1);
    }
}
