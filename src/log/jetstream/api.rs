//! JetStream's own requests and answers, with the fields that every server from 2.9 on knows.

use super::link::{Failure, Link};
use crate::event::Timestamp;
use crate::log::LogError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Codes of JetStream's errors (`errors.json` of nats-server).
const STREAM_NOT_FOUND: u64 = 10059;
const NO_MESSAGE_FOUND: u64 = 10037;
const NOT_ENABLED: [u64; 2] = [10039, 10076];
const NO_LEADER: [u64; 4] = [10005, 10008, 10009, 10118];

/// The API of one stream.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) link: Link,
    /// `$JS.API.`, with the domain in it where there is one.
    prefix: Arc<str>,
    pub(super) stream: Arc<str>,
    inbox_prefix: Arc<str>,
}

/// Why a request to the API failed.
#[derive(Debug)]
pub(super) enum ApiError {
    /// It got no answer.
    Link { subject: String, failure: Failure },
    /// JetStream said no.
    Server(ServerError),
    /// The answer is none that JetStream gives.
    Garbled { subject: String, reason: String },
}

/// An error in an answer of JetStream's.
#[derive(Debug, Deserialize)]
pub(super) struct ServerError {
    #[serde(default)]
    pub(super) err_code: u64,
    #[serde(default)]
    pub(super) description: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: Option<ServerError>,
}

#[derive(Debug, Deserialize)]
pub(super) struct StreamInfo {
    pub(super) config: StreamConfig,
    created: String,
    pub(super) state: StreamState,
}

/// A stream's settings, as far as we mind; unknown ones are passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StreamConfig {
    pub(super) subjects: Vec<String>,
    pub(super) retention: String,
    pub(super) max_msgs_per_subject: i64,
    pub(super) max_msg_size: i64,
    pub(super) duplicate_window: i64,
    pub(super) allow_rollup_hdrs: bool,
    pub(super) allow_msg_ttl: bool,
    pub(super) allow_msg_counter: bool,
    pub(super) no_ack: bool,
    pub(super) sealed: bool,
    pub(super) mirror: Option<serde_json::Value>,
    pub(super) sources: Option<Vec<serde_json::Value>>,
    pub(super) subject_transform: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct StreamState {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    first_seq: u64,
    pub(super) last_seq: u64,
    last_ts: String,
}

#[derive(Deserialize)]
struct MessageAnswer {
    message: RawMessage,
}

/// A message as the stream leader tells it.
#[derive(Debug, Deserialize)]
pub(super) struct RawMessage {
    pub(super) subject: String,
    pub(super) seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ConsumerInfo {
    #[serde(default)]
    pub(super) num_pending: u64,
}

impl StreamInfo {
    /// When the stream was created, in nanoseconds since the Unix epoch.
    pub(super) fn created(&self) -> u64 {
        nanos(&self.created).unwrap_or_default()
    }
}

impl StreamConfig {
    /// The largest message with its headers, where there is a limit.
    pub(super) fn max_message(&self) -> Option<usize> {
        usize::try_from(self.max_msg_size)
            .ok()
            .filter(|&max| max > 0)
    }
}

impl StreamState {
    /// The first sequence held; `last_seq + 1` where none is.
    pub(super) fn first(&self) -> u64 {
        match self.messages {
            0 => self.last_seq + 1,
            _ => self.first_seq,
        }
    }

    /// When the last message was stored, where the server still knows: 2.9 forgets it over a restart
    /// when that message was deleted, and says 1970.
    pub(super) fn last_time(&self) -> Option<Timestamp> {
        nanos(&self.last_ts).map(Timestamp::from_nanos)
    }
}

impl RawMessage {
    pub(super) fn time(&self) -> Option<Timestamp> {
        nanos(&self.time).map(Timestamp::from_nanos)
    }

    /// Its payload.
    pub(super) fn payload(&self) -> Vec<u8> {
        STANDARD.decode(&self.data).unwrap_or_default()
    }

    /// The block of its headers.
    pub(super) fn headers(&self) -> Vec<u8> {
        STANDARD.decode(&self.hdrs).unwrap_or_default()
    }
}

/// RFC 3339 as nanoseconds since the Unix epoch; `None` for none, 1970 and the year 1, which stand for none.
fn nanos(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let nanos = u64::try_from(time.unix_timestamp_nanos()).ok()?;
    (nanos > 0).then_some(nanos)
}

impl Api {
    pub(super) fn new(link: Link, settings: &crate::config::NatsSettings) -> Self {
        let prefix = match &settings.domain {
            Some(domain) => format!("$JS.{domain}.API."),
            None => "$JS.API.".to_owned(),
        };
        Self {
            link,
            prefix: prefix.into(),
            stream: settings.stream.as_str().into(),
            inbox_prefix: settings.inbox_prefix.as_str().into(),
        }
    }

    /// The subject of a request about the stream, as in `STREAM.INFO`.
    pub(super) fn subject(&self, request: &str) -> String {
        format!("{}{request}.{}", self.prefix, self.stream)
    }

    pub(super) async fn stream_info(&self) -> Result<StreamInfo, ApiError> {
        self.call(self.subject("STREAM.INFO"), Bytes::new()).await
    }

    pub(super) async fn create_stream(&self, config: &impl Serialize) -> Result<(), ApiError> {
        let answer: Result<StreamInfo, _> =
            self.call(self.subject("STREAM.CREATE"), body(config)).await;
        answer.map(|_| ())
    }

    /// The message at `sequence`, by the leader's word.
    pub(super) async fn message(&self, sequence: u64) -> Result<Option<RawMessage>, ApiError> {
        self.get(&json!({ "seq": sequence })).await
    }

    /// The first message from `sequence` on whose subject is in `filter`, by the leader's word.
    pub(super) async fn next_message(
        &self,
        sequence: u64,
        filter: Option<&str>,
    ) -> Result<Option<RawMessage>, ApiError> {
        let filter = filter.unwrap_or(">");
        self.get(&json!({ "seq": sequence, "next_by_subj": filter }))
            .await
    }

    async fn get(&self, query: &serde_json::Value) -> Result<Option<RawMessage>, ApiError> {
        let answer: Result<MessageAnswer, _> =
            self.call(self.subject("STREAM.MSG.GET"), body(query)).await;
        match answer {
            Ok(answer) => Ok(Some(answer.message)),
            Err(ApiError::Server(error)) if error.err_code == NO_MESSAGE_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn create_consumer(
        &self,
        name: &str,
        filter: Option<&str>,
        config: &impl Serialize,
    ) -> Result<ConsumerInfo, ApiError> {
        let mut subject = format!("{}.{name}", self.subject("CONSUMER.CREATE"));
        if let Some(filter) = filter {
            subject = format!("{subject}.{filter}");
        }
        let request = json!({ "stream_name": &*self.stream, "config": config });
        self.call(subject, body(&request)).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        subject: String,
        payload: Bytes,
    ) -> Result<T, ApiError> {
        let answer = match self.link.ask(subject.clone(), None, payload).await {
            Ok(answer) => answer,
            Err(failure) => return Err(ApiError::Link { subject, failure }),
        };
        let garbled = |error: serde_json::Error| ApiError::Garbled {
            subject: subject.clone(),
            reason: error.to_string(),
        };
        let refusal: Refusal = serde_json::from_slice(&answer.payload).map_err(garbled)?;
        match refusal.error {
            Some(error) => Err(ApiError::Server(error)),
            None => serde_json::from_slice(&answer.payload).map_err(garbled),
        }
    }

    /// Says what went wrong and what would be right; `doing` completes "JetStream would not …".
    pub(super) fn explain(&self, doing: &str, error: &ApiError) -> LogError {
        let stream = &self.stream;
        let text = match error {
            ApiError::Link { subject, failure } => self.explain_failure(subject, failure),
            ApiError::Garbled { subject, reason } => {
                format!("the answer to `{subject}` is none that JetStream gives: {reason}")
            }
            ApiError::Server(error) => match error.err_code {
                STREAM_NOT_FOUND => format!("there is no stream `{stream}`"),
                code if NOT_ENABLED.contains(&code) => format!(
                    "JetStream is not enabled for this NATS account ({}); enable it for the account, or check --nats-domain",
                    error.description
                ),
                code if NO_LEADER.contains(&code) => format!(
                    "the stream `{stream}` has no leader yet, or JetStream has none: {}",
                    error.description
                ),
                code => format!(
                    "JetStream would not {doing}: {} (error {code})",
                    error.description
                ),
            },
        };
        LogError::Unavailable(text)
    }

    fn explain_failure(&self, subject: &str, failure: &Failure) -> String {
        match failure {
            Failure::NoResponders => format!(
                "JetStream is not enabled on NATS: nobody answers on `{subject}`; start the servers with JetStream (`-js`), or check --nats-domain"
            ),
            Failure::Refused(text) | Failure::Deaf(text) => format!(
                "no permission: NATS says \"{text}\"; its user must be allowed to publish to `{subject}` and to subscribe to `{}.>`",
                self.inbox_prefix
            ),
            Failure::TimedOut(timeout) => format!(
                "no answer on `{subject}` within {} s: the stream `{}` has no leader yet, or NATS is overloaded",
                timeout.as_secs(),
                self.stream
            ),
            failure => failure.to_string(),
        }
    }
}

impl ApiError {
    pub(super) fn no_stream(&self) -> bool {
        matches!(self, Self::Server(error) if error.err_code == STREAM_NOT_FOUND)
    }
}

fn body(request: &impl Serialize) -> Bytes {
    serde_json::to_vec(request)
        .expect("plain structs and maps with text keys are JSON")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_stands_for_none_is_none() {
        assert_eq!(nanos("0001-01-01T00:00:00Z"), None);
        assert_eq!(nanos("1970-01-01T00:00:00Z"), None);
        assert_eq!(nanos("1970-01-01T00:00:01.000000002Z"), Some(1_000_000_002));
    }
}
