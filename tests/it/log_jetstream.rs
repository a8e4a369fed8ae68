//! The log on JetStream, against real servers: the oldest supported and today's.

mod access;
mod append;
pub(crate) mod cluster;
mod fit;
mod follow;
mod outage;
mod read;
mod translate;

use crate::nats_server::NatsServer;
use async_nats::Client;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tidings::config::NatsSettings;
use tidings::event::{Data, Event, Message};
use tidings::log::{Append, Bounds, Follow, JetStreamLog, Log, LogError};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(90);
/// The largest event of these logs.
const MAX_EVENT_BYTES: usize = 100_000;

/// Waits for `what`, no longer than the deadline.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what)
        .await
        .expect("it comes in time")
}

/// A log, and its JetStream side.
fn log_of(settings: NatsSettings) -> (Log, JetStreamLog) {
    let log = JetStreamLog::new(settings, MAX_EVENT_BYTES).expect("the settings are right");
    (Log::JetStream(log.clone()), log)
}

/// A log on the server, opened.
async fn opened(server: &NatsServer) -> Log {
    let (log, _) = log_of(server.settings());
    log.open().await.expect("the log can be used");
    log
}

/// Opens a log as soon as it can be opened.
async fn reopened(log: &Log) -> Bounds {
    soon(async {
        loop {
            if let Ok(bounds) = log.open().await {
                return bounds;
            }
        }
    })
    .await
}

fn on(feed: &str, data: &str) -> Append {
    let feed = feed.parse().expect("a feed");
    Append {
        message: Message::new(feed, data.to_owned()),
        idempotency_key: None,
    }
}

/// Appends events `0` to `count - 1` to a feed.
async fn fill(log: &Log, feed: &str, count: usize) {
    for n in 0..count {
        log.append(on(feed, &n.to_string())).await.expect("stored");
    }
}

/// The next `count` events, none of them lost.
async fn next_events(follow: &mut Follow, count: usize) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    soon(async {
        while events.len() < count {
            let next = follow.next().await.expect("nothing is in doubt");
            assert_eq!(next.lost_before, None);
            events.extend(next.events);
        }
    })
    .await;
    events
}

/// How a follower ends, whatever comes before.
async fn end_of(follow: &mut Follow) -> String {
    soon(async {
        loop {
            if let Err(LogError::Unavailable(text)) = follow.next().await {
                return text;
            }
        }
    })
    .await
}

fn text(event: &Event) -> &str {
    match &event.message.data {
        Data::Bytes(bytes) => std::str::from_utf8(bytes).expect("text"),
        Data::Oversize { .. } => panic!("it is oversize"),
    }
}

fn texts(events: &[Arc<Event>]) -> Vec<&str> {
    events.iter().map(|event| text(event)).collect()
}

fn sequences(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|e| e.position.sequence()).collect()
}

/// A request to JetStream's API, which must succeed.
async fn api(client: &Client, request: &str, body: Value) -> Value {
    let answer = client
        .request(format!("$JS.API.{request}"), body.to_string().into())
        .await
        .expect("JetStream answers");
    let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    assert_eq!(answer.get("error"), None, "{request} {body}");
    answer
}

/// A stream that fits, with changes.
async fn create_stream(client: &Client, changes: Value) {
    let mut config = json!({
        "name": "TIDINGS",
        "subjects": ["feeds.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "num_replicas": 1,
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msg_size": -1,
        "max_msgs_per_subject": -1,
        "duplicate_window": 120_000_000_000_u64,
    });
    for (name, value) in changes.as_object().expect("an object") {
        config[name] = value.clone();
    }
    let name = config["name"].as_str().expect("a name").to_owned();
    api(client, &format!("STREAM.CREATE.{name}"), config).await;
}

/// A plain publish of `n`. Each 500th waits for its answer: today's servers drop plain publishes of which
/// more than 10,000 wait to be stored.
async fn publish_paced(client: &Client, n: usize) {
    let subject = format!("feeds.f{}", n % 100);
    let data = n.to_string().into();
    match n % 500 {
        0 => drop(client.request(subject, data).await.expect("stored")),
        _ => client.publish(subject, data).await.expect("published"),
    }
}

async fn delete_message(client: &Client, sequence: u64) {
    let body = json!({ "seq": sequence });
    api(client, "STREAM.MSG.DELETE.TIDINGS", body).await;
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, LogError>) -> String {
    let LogError::Unavailable(text) = result.expect_err("it can't be used");
    text
}
