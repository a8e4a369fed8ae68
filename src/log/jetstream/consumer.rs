//! Ephemeral consumers, each for one follower or one range, deleted when dropped.

use super::Shared;
use super::api::{Api, ApiError};
use super::link::Epoch;
use super::message::Place;
use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How often the server says that a follower's consumer is alive while nothing else is to be sent.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);
/// When the server removes a consumer of ours whose replica went without deleting it.
const INACTIVE: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Config<'a> {
    name: &'a str,
    description: &'a str,
    deliver_policy: &'a str,
    opt_start_seq: u64,
    ack_policy: &'a str,
    replay_policy: &'a str,
    inactive_threshold: u64,
    num_replicas: u8,
    mem_storage: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter_subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliver_subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_heartbeat: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    flow_control: bool,
}

/// A consumer, its inbox, and where it is in its own sequence.
#[derive(Debug)]
pub(super) struct Consumer {
    api: Api,
    name: String,
    inbox: String,
    messages: Subscriber,
    /// The connection that it was made over.
    pub(super) epoch: Epoch,
    /// How many messages it had to deliver when it was made.
    pub(super) pending: u64,
}

/// What came of waiting for a message.
#[derive(Debug)]
pub(super) enum Heard {
    Message(Message),
    /// The connection is no longer the one that the consumer was made over.
    Cut,
    /// Nothing in time.
    Silence,
}

/// Who sends: the server all by itself, or only what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Push,
    Pull,
}

impl Consumer {
    /// A consumer of all messages after the sequence `after` that are in `filter`.
    pub(super) async fn create(
        shared: &Shared,
        mode: Mode,
        epoch: Epoch,
        after: u64,
        filter: Option<&str>,
    ) -> Result<Self, ApiError> {
        let api = &shared.api;
        let name = format!("tidings-{}-{}", mode.name(), token());
        let (inbox, messages) = api.link.inbox().await.map_err(|failure| {
            let subject = "an inbox".to_owned();
            ApiError::Link { subject, failure }
        })?;
        let push = mode == Mode::Push;
        // In the consumer's keeping from here on: it is deleted also where the answer never comes.
        let mut consumer = Self {
            api: api.clone(),
            name,
            inbox,
            messages,
            epoch,
            pending: 0,
        };
        let config = Config {
            name: &consumer.name,
            description: mode.description(),
            deliver_policy: "by_start_sequence",
            opt_start_seq: after + 1,
            ack_policy: "none",
            replay_policy: "instant",
            inactive_threshold: nanos(INACTIVE),
            num_replicas: 1,
            mem_storage: true,
            filter_subject: filter,
            deliver_subject: push.then_some(consumer.inbox.as_str()),
            idle_heartbeat: push.then_some(nanos(HEARTBEAT)),
            flow_control: push,
        };
        match api.create_consumer(&consumer.name, filter, &config).await {
            Ok(info) => {
                consumer.pending = info.num_pending;
                Ok(consumer)
            }
            Err(error) => {
                consumer.give_up(shared, after, filter);
                Err(error)
            }
        }
    }

    /// Ends it before anything was taken of what came after the sequence `after`: maybe what came has cut the
    /// connection.
    pub(super) fn give_up(mut self, shared: &Shared, after: u64, filter: Option<&str>) {
        let mut last = after;
        while let Some(Heard::Message(message)) = self.ready() {
            last = Place::of(&message).map_or(last, |place| place.sequence.max(last));
        }
        shared.caution.cut_after(last, filter);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What has come already. Outside of tokio's budget, so that batches grow with what there is to do.
    pub(super) fn ready(&mut self) -> Option<Heard> {
        let next = tokio::task::unconstrained(self.messages.next());
        let next = next.now_or_never()?;
        Some(self.heard(next))
    }

    fn heard(&self, message: Option<Message>) -> Heard {
        match message {
            Some(message) => Heard::Message(message),
            None => {
                // The subscription is still ours, so it is the client that has ended.
                self.api.link.replace(self.epoch);
                Heard::Cut
            }
        }
    }

    /// The next that comes, no later than `until`. Cancel-safe. What came before a cut still comes first.
    pub(super) async fn hear(&mut self, until: Instant) -> Heard {
        if let Some(heard) = self.ready() {
            return heard;
        }
        tokio::select! {
            biased;
            message = self.messages.next() => self.heard(message),
            () = self.api.link.ended(self.epoch) => Heard::Cut,
            () = sleep_until(until) => Heard::Silence,
        }
    }

    /// Asks for the next messages of a pulled consumer.
    pub(super) async fn pull(&self, messages: usize, max_bytes: Option<usize>) {
        let mut request = serde_json::json!({
            "batch": messages,
            "expires": nanos(self.api.link.timeout),
        });
        if let Some(bytes) = max_bytes {
            request["max_bytes"] = bytes.into();
        }
        let subject = self.api.subject("CONSUMER.MSG.NEXT");
        let subject = format!("{subject}.{}", self.name);
        let payload = Bytes::from(request.to_string());
        // An error means that the client has ended; then nothing comes, and the wait for it ends.
        let _ = self
            .api
            .link
            .client()
            .publish_with_reply(subject, self.inbox.clone(), payload)
            .await;
    }
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Push => "follow",
            Self::Pull => "read",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Push => "Tidings: one replica follows the log",
            Self::Pull => "Tidings: one replica reads a range of the log",
        }
    }
}

impl Drop for Consumer {
    /// As well as it can be done: what is left over, the server removes when it has been idle.
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        // A queue that is not drained would keep the request until after the next connect.
        if self.api.link.current() != Ok(self.epoch) {
            return;
        }
        let link = self.api.link.clone();
        let subject = format!("{}.{}", self.api.subject("CONSUMER.DELETE"), self.name);
        runtime.spawn(async move { link.say(subject, Bytes::new()).await });
    }
}

fn token() -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(10)
        .collect()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
