//! The whole way: from NATS clients that know nothing of us, over a real nats-server, to readers that we did
//! not write.

use super::client::{Client, Heard, Reader, script_command};
use super::curl::Curl;
use super::{FEED, Published, Publisher, Sample, assert_heard, hostile};
use crate::nats_server::{NatsServer, Version};
use crate::tools::within;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use eventsource_stream::Eventsource;
use futures::{StreamExt, stream};
use serde_json::json;
use std::convert::Infallible;
use tokio::io::AsyncWriteExt;

/// The interpreter of a script that publishes, and the script.
const NPM: (&str, &str) = ("TIDINGS_TEST_NODE", "nats-publish.mjs");
const PYPI: (&str, &str) = ("TIDINGS_TEST_PYTHON", "nats-publish.py");

mod what_a_nats_client_publishes_comes_to_curl_and_chromium {
    use super::*;

    #[tokio::test]
    async fn from_npm_over_2_9() {
        comes_through(NPM, Version::V2_9).await;
    }

    #[tokio::test]
    async fn from_npm_over_2_15() {
        comes_through(NPM, Version::V2_15).await;
    }

    #[tokio::test]
    async fn from_pypi_over_2_9() {
        comes_through(PYPI, Version::V2_9).await;
    }

    #[tokio::test]
    async fn from_pypi_over_2_15() {
        comes_through(PYPI, Version::V2_15).await;
    }
}

async fn comes_through(publish: (&str, &str), version: Version) {
    let nats = NatsServer::start(version);
    let publisher = Publisher::start(&["--nats", &nats.url()]).await;
    let mut curl = Curl::start(&publisher.stream("start"), &[]);
    let mut chromium = Client::start(Reader::Chromium, &publisher.stream("start"));
    chromium.joined().await;
    let samples = hostile::samples();
    publish_by(publish, &nats.url(), &samples).await;
    let end = publisher.publish_end().await;

    curl.read_through(&end.id).await;
    let read = events_in(curl.body()).await;
    // Only the log knows their ids.
    let published: Vec<_> = samples
        .into_iter()
        .zip(&read)
        .map(|(sample, read)| Published {
            sample,
            id: read.id.clone(),
        })
        .collect();
    let heard = chromium.events_before(&end).await;
    assert_heard(&chromium, &heard, published.iter());
    assert!(
        read[..read.len() - 1] == heard,
        "curl and Chromium were sent the same"
    );
    chromium.end().await;
}

async fn publish_by((interpreter, script): (&str, &str), server: &str, samples: &[Sample]) {
    let mut child = script_command(interpreter, script)
        .arg(server)
        .spawn()
        .unwrap();
    let lines: String = samples.iter().map(line).collect();
    let mut stdin = child.stdin.take().unwrap();
    let publishing = async {
        stdin.write_all(lines.as_bytes()).await.unwrap();
        drop(stdin);
        child.wait_with_output().await.unwrap()
    };
    let output = within("end of the publisher", publishing, String::new).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
}

/// A sample as the scripts are given it, one a line.
fn line(sample: &Sample) -> String {
    let mut headers = serde_json::Map::new();
    if sample.kind != "message" {
        headers.insert("Event-Type".to_owned(), sample.kind.as_str().into());
    }
    if let Some(content_type) = sample.content_type {
        headers.insert("Content-Type".to_owned(), content_type.into());
    }
    let subject = format!("feeds.{FEED}");
    let data = BASE64_STANDARD.encode(&sample.data);
    let line = json!({ "subject": subject, "headers": headers, "data": data });
    format!("{line}\n")
}

/// The events in a stream's bytes that are not the hub's own.
async fn events_in(body: &[u8]) -> Vec<Heard> {
    let bytes = stream::iter([Ok::<_, Infallible>(body)]);
    let events = bytes.eventsource().map(|event| event.unwrap());
    events
        .filter(|event| std::future::ready(!event.event.starts_with("hub:")))
        .map(|event| Heard {
            kind: event.event,
            data: event.data,
            id: event.id,
        })
        .collect()
        .await
}
