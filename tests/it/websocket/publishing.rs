//! What is published over a WebSocket.

use super::Client;
use super::ending::metric;
use crate::nats_server::{NatsServer, Version};
use crate::replica::{Replica, within};
use futures::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn a_publish_has_the_fields_of_a_line_of_a_batch() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    let mut reader = Client::connect(&replica).await;
    reader.subscribe("s", &[">"], json!({})).await;
    let publish = json!({
        "op": "publish", "ref": "x", "feed": "files.a", "type": "created", "key": "k",
        "content_type": "image/png", "encoding": "base64", "data": "/wA=",
    });
    let result = client.result(publish).await;
    let event = reader.text().await;
    assert_eq!(result, json!({"id": event["id"], "feed": "files.a"}));
    for (name, value) in [
        ("type", "created"),
        ("key", "k"),
        ("encoding", "base64"),
        ("data", "/wA="),
    ] {
        assert_eq!(event[name], value);
    }
}

#[tokio::test]
async fn a_repeat_is_the_first_one() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    let publish =
        json!({"op": "publish", "ref": 1, "feed": "a", "data": 1, "idempotency_key": "k"});
    let first = client.result(publish.clone()).await;
    let mut repeated = first.clone();
    repeated["repeated"] = json!(true);
    assert_eq!(client.result(publish).await, repeated);
    assert_eq!(first["repeated"], Value::Null);
}

#[tokio::test]
async fn bytes_are_published_in_a_binary_message() {
    let replica = Replica::start(&[]).await;
    let mut client = Client::connect(&replica).await;
    client.subscribe("s", &["a"], json!({"binary": true})).await;
    let bytes = b"\xff\n\x00";
    let head = json!({"op": "publish", "ref": 1, "feed": "a", "content_type": "image/png"});
    client.send_binary(&head, bytes).await;
    let mut heard = (None, None);
    while heard.0.is_none() || heard.1.is_none() {
        match client.message().await {
            Message::Text(text) => {
                heard.0 = Some(serde_json::from_str::<Value>(&text).unwrap());
            }
            message => heard.1 = Some(message.into_data()),
        }
    }
    let (answer, event) = (heard.0.unwrap(), heard.1.unwrap());
    assert_eq!(answer["result"]["feed"], "a");
    assert!(event.ends_with(&[b"}\n", &bytes[..]].concat()));
    // Text may come so too, and none at all.
    for bytes in [&b"caf\xc3\xa9"[..], b""] {
        client.send_binary(&head, bytes).await;
        let messages = [client.text().await, client.text().await];
        let event = messages.iter().find(|one| one["sub"] == "s").unwrap();
        assert_eq!(event["data"].as_str().map(str::as_bytes), Some(bytes));
    }
}

on_both!(publishes_stand_in_jetstream_in_their_order);

/// Sends so many publishes as fast as they are taken, and checks that they stand in the log as they were sent.
async fn stand_in_order(arguments: &[&str], count: u64) {
    let replica = Replica::start(arguments).await;
    let mut client = Client::connect(&replica).await;
    let mut reader = Client::connect(&replica).await;
    reader.subscribe("s", &["a"], json!({})).await;
    for n in 0..count {
        let publish = json!({"op": "publish", "ref": n, "feed": "a", "data": n}).to_string();
        let fed = client.socket.feed(Message::text(publish));
        within("a message to be sent", fed).await.unwrap();
    }
    let sent = client.socket.flush();
    within("all to be sent", sent).await.unwrap();
    for n in 0..count {
        assert_eq!(reader.text().await["data"], n);
    }
    let mut answered: Vec<u64> = Vec::new();
    for _ in 0..count {
        let answer = client.text().await;
        assert!(answer["result"]["id"].is_string(), "{answer}");
        answered.push(answer["ref"].as_u64().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..count).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_stand_in_the_log_in_their_order() {
    for outstanding in ["--max-outstanding=8", "--max-outstanding=1000"] {
        stand_in_order(&[outstanding], 500).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_stand_on_disk_in_their_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("text");
    stand_in_order(&["--max-outstanding=1000", "--data", data], 1000).await;
}

async fn publishes_stand_in_jetstream_in_their_order(version: Version) {
    let server = NatsServer::start(version);
    let arguments = ["--max-outstanding=1000", "--nats", &server.url()];
    stand_in_order(&arguments, 1000).await;
}

#[tokio::test]
async fn what_is_read_no_further_and_what_is_refused_is_counted() {
    let arguments = ["--max-outstanding=1", "--max-subscriptions=1"];
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("text");
    let replica = Replica::start(&[&arguments[..], &["--data", data]].concat()).await;
    let mut client = Client::connect(&replica).await;
    client.subscribe("s", &["none"], json!({})).await;
    for _ in 0..2 {
        let subscribe = json!({"op": "subscribe", "ref": "t", "feeds": ["none"]});
        assert_eq!(client.refusal(subscribe).await.0, 429);
    }
    let refused = "tidings_websocket_subscriptions_refused_total";
    assert_eq!(metric(&replica, refused).await, 2);
    let full = "tidings_websocket_outstanding_full_total";
    let before = metric(&replica, full).await;
    client.publish("a", json!(1)).await;
    assert_eq!(metric(&replica, full).await, before + 1);
}

#[tokio::test]
async fn what_can_not_be_published_is_answered_as_over_http() {
    let replica = Replica::start(&["--max-event-bytes=1000", "--max-publishes=0"]).await;
    let mut client = Client::connect(&replica).await;
    let publish = |more: Value| {
        let mut publish = json!({"op": "publish", "ref": 1, "feed": "a", "data": 1});
        let fields = publish.as_object_mut().unwrap();
        fields.extend(more.as_object().cloned().unwrap());
        publish
    };
    for (more, status, part) in [
        (json!({"data": "x".repeat(1001)}), 413, "1001 bytes"),
        (json!({"feed": "a..b"}), 400, "is no feed"),
        (json!({"feed": null}), 422, "no `feed`"),
        (json!({"type": "hub:x"}), 422, "event type"),
        (json!({"key": "a\nb"}), 422, "event key"),
        (json!({"idempotency_key": ""}), 422, "idempotency key"),
        (json!({"encoding": "hex"}), 422, "`encoding`"),
        (json!({"encoding": "base64"}), 422, "is a string"),
        (
            json!({"connection": "c-1"}),
            422,
            "`connection` is no field",
        ),
        (json!({}), 503, "under way"),
    ] {
        let (found, detail) = client.refusal(publish(more.clone())).await;
        assert_eq!(found, status, "{more}: {detail}");
        assert!(detail.contains(part), "{more}: {detail}");
    }
}

#[tokio::test]
async fn data_on_its_way_counts_with_the_bodies_of_publishes() {
    let replica = Replica::start(&[
        "--publish-bytes=1000",
        "--max-event-bytes=1000",
        "--max-batch-bytes=1000",
    ])
    .await;
    let mut client = Client::connect(&replica).await;
    let publish = |data: String| json!({"op": "publish", "ref": 1, "feed": "a", "data": data});
    let (status, detail) = client.refusal(publish("x".repeat(1001))).await;
    assert_eq!(status, 503, "{detail}");
    within("a publish", client.result(publish("x".repeat(1000)))).await;
}
