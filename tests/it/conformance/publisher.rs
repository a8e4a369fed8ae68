//! What is published, and to what.

use super::{FEED, Published};
use crate::replica::Replica;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::fmt::Display;
use std::net::SocketAddr;

/// Something to publish.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// What it is called when it fails.
    pub(super) name: String,
    /// The event's type.
    pub(super) kind: String,
    /// The event's data.
    pub(super) data: Vec<u8>,
    /// The event's content type.
    pub(super) content_type: Option<&'static str>,
}

impl Sample {
    /// Data without a content type.
    pub(super) fn new(name: &str, kind: &str, data: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            data: data.as_ref().to_owned(),
            content_type: None,
        }
    }

    /// The same, said to be JSON.
    pub(super) fn json(self) -> Self {
        Self {
            content_type: Some("application/json"),
            ..self
        }
    }

    /// The data as SSE can carry it: every line end is LF, and what is not UTF-8 is base64.
    pub(super) fn text(&self) -> String {
        match std::str::from_utf8(&self.data) {
            Ok(text) => text.replace("\r\n", "\n").replace('\r', "\n"),
            Err(_) => BASE64_STANDARD.encode(&self.data),
        }
    }
}

/// A replica, and what is published to it.
pub(super) struct Publisher {
    replica: Replica,
    http: reqwest::Client,
}

impl Publisher {
    /// To a replica of its own, with these arguments.
    pub(super) async fn start(arguments: &[&str]) -> Self {
        Self {
            replica: Replica::start(arguments).await,
            http: reqwest::Client::new(),
        }
    }

    /// Where the replica listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.replica.address
    }

    /// What is read there, from this position on.
    pub(super) fn stream(&self, after: &str) -> String {
        stream_at(self.address(), after)
    }

    /// Publishes one event over HTTP.
    pub(super) async fn publish(&self, sample: &Sample) -> Published {
        let url = self.replica.url(&format!("/feeds/{FEED}"));
        let mut request = self.http.post(url).body(sample.data.clone());
        if sample.kind != "message" {
            request = request.header("Event-Type", sample.kind.as_bytes());
        }
        if let Some(content_type) = sample.content_type {
            request = request.header("Content-Type", content_type);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let body = response.text().await.unwrap();
        assert_eq!(status, 201, "publishing {:?}: {body}", sample.name);
        Published {
            id: id_in(&body),
            sample: sample.clone(),
        }
    }

    /// Publishes the event that ends a test.
    pub(super) async fn publish_end(&self) -> Published {
        self.publish(&Sample::new("end", "end", "")).await
    }

    /// Publishes each of them, in order.
    pub(super) async fn publish_all(&self, samples: &[Sample]) -> Vec<Published> {
        let mut published = Vec::with_capacity(samples.len());
        for sample in samples {
            published.push(self.publish(sample).await);
        }
        published
    }

    /// Publishes many at once, in order, as NDJSON.
    pub(super) async fn publish_lines(&self, samples: &[Sample]) -> Vec<Published> {
        let lines: Vec<_> = samples.iter().map(line).collect();
        let response = self
            .http
            .post(self.replica.url("/feeds"))
            .header("Content-Type", "application/x-ndjson")
            .body(lines.concat())
            .send()
            .await
            .unwrap();
        let status = response.status();
        let body = response.text().await.unwrap();
        assert!(status.is_success(), "publishing lines: {status} {body}");
        let published: Vec<_> = body
            .lines()
            .zip(samples)
            .map(|(answer, sample)| Published {
                id: id_in(answer),
                sample: sample.clone(),
            })
            .collect();
        assert_eq!(published.len(), samples.len(), "one result a line: {body}");
        published
    }
}

/// The feed that the tests read, at this address: a replica's, or one that leads to it.
pub(super) fn stream_at(address: impl Display, after: &str) -> String {
    format!("http://{address}/feeds/{FEED}?after={after}")
}

fn line(sample: &Sample) -> String {
    let text = std::str::from_utf8(&sample.data).expect("lines of text");
    let line = json!({ "feed": FEED, "type": sample.kind, "data": text });
    format!("{line}\n")
}

fn id_in(answer: &str) -> String {
    let value: Value = serde_json::from_str(answer).unwrap_or_default();
    let id = value["id"].as_str();
    id.unwrap_or_else(|| panic!("no id in the answer to a publish: {answer}"))
        .to_owned()
}
