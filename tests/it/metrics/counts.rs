//! What is counted, way by way.

use super::{comes_to, sum, value};
use crate::call::{get, post};
use crate::raw::Raw;
use crate::replica::{Replica, within};
use crate::sse::Stream;
use crate::websocket::Client;
use serde_json::json;

const LINES: (&str, &str) = ("accept", "application/x-ndjson");
const JSON: (&str, &str) = ("accept", "application/json");

/// A replica that is open to everyone, and takes tokens.
pub(super) async fn open(more: &[&str]) -> Replica {
    let all = [
        "--anonymous-subscribe=>",
        "--anonymous-publish=>",
        "--anonymous-request=>",
        "--jwt-key=0123456789abcdef0123456789abcdef",
        "--jwt-audience=tidings-test",
        "--jwt-cookie=id",
    ];
    Replica::start(&[&all, more].concat()).await
}

/// Has every family appear that is there only once something has happened.
pub(super) async fn provoke(replica: &Replica) {
    drop(Stream::open(replica, "/feeds/a").await);
    let wrong = [("authorization", "Bearer x")];
    assert_eq!(get(replica, "/explain?feed=a", &wrong).await.status, 401);
    let elsewhere = [("cookie", "id=x"), ("origin", "https://evil.example")];
    assert_eq!(get(replica, "/feeds/a", &elsewhere).await.status, 403);
    let mut client = Client::connect(replica).await;
    let request = json!({"op": "request", "ref": 1, "name": "nobody", "timeout": 0.1});
    client.refusal(request).await;
    client.socket.close(None).await.expect("it closes");
    for (name, labels) in [
        ("tidings_websockets_ended_total", "code"),
        ("tidings_streams_closed_total", "transport=\"sse\""),
        ("tidings_streams_closed_total", "transport=\"websocket\""),
    ] {
        comes_to(replica, name, &[labels], 1.0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_and_bytes_are_counted_over_every_way() {
    for shards in ["0", "1"] {
        let replica = Replica::start(&["--shards", shards]).await;
        let (mut sse, _) = Stream::open(&replica, "/feeds/a").await;
        let lines = replica.url("/feeds/a");
        let lines = reqwest::Client::new().get(lines).header(LINES.0, LINES.1);
        let mut lines = within("lines", lines.send()).await.expect("an answer");
        let request = "GET /feeds/a HTTP/1.0\r\nHost: localhost\r\n\r\n";
        let mut old = Raw::send(replica.address, request).await;
        old.head().await;
        let mut client = Client::connect(&replica).await;
        client
            .result(json!({"op": "subscribe", "ref": 1, "feeds": ["a"]}))
            .await;
        for (labels, open) in [
            (["transport=\"sse\"", "http/1.1"], 1.0),
            (["transport=\"sse\"", "http/1.0"], 1.0),
            (["transport=\"lines\"", "http/1.1"], 1.0),
            (["transport=\"websocket\"", "http/1.1"], 1.0),
            (["transport=\"poll\"", ""], 0.0),
        ] {
            comes_to(&replica, "tidings_streams", &labels, open).await;
        }
        replica.publish("a", "x").await;
        sse.next().await.expect("the event");
        while !String::from_utf8_lossy(&within("a line", lines.chunk()).await.unwrap().unwrap())
            .contains("\"data\":\"x\"")
        {}
        old.until(b"data: x\n\n").await;
        while client.text().await["type"] != "message" {}
        let page = get(&replica, "/feeds/a?after=start", &[JSON]).await;
        for (transport, deliveries, least) in [
            ("sse", 2.0, 100.0),
            ("lines", 1.0, 50.0),
            ("websocket", 1.0, 50.0),
            ("poll", 1.0, page.text.len() as f64),
        ] {
            let label = format!("transport=\"{transport}\"");
            let labels = [label.as_str()];
            comes_to(&replica, "tidings_deliveries_total", &labels, deliveries).await;
            let bytes = value(&replica, "tidings_delivered_bytes_total", &labels).await;
            assert!(bytes >= least, "{transport}: {bytes}");
        }
        // One for each that was live: the poll was not.
        comes_to(&replica, "tidings_delivery_delay_seconds_count", &[], 4.0).await;
        let text = super::metrics(&replica).await;
        let buckets = |le| sum(&text, "tidings_delivery_delay_seconds_bucket", &[le]);
        assert_eq!(buckets("le=\"+Inf\""), 4.0);
        assert_eq!(sum(&text, "tidings_followed_events_total", &[]), 1.0);
        assert_eq!(sum(&text, "tidings_followed_bytes_total", &[]), 1.0);
        let by_shards = sum(&text, "tidings_shard_deliveries_total", &[]);
        assert_eq!(by_shards, if shards == "0" { 0.0 } else { 2.0 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_2_a_stream_is_one_of_its_own() {
    let replica = Replica::start(&[]).await;
    let client = reqwest::Client::builder().http2_prior_knowledge();
    let client = client.build().expect("a client");
    let request = |feed: &str| client.get(replica.url(&format!("/feeds/{feed}")));
    let (first, _) = Stream::begin(request("a")).await;
    let (_second, _) = Stream::begin(request("b")).await;
    let labels = ["transport=\"sse\"", "protocol=\"http/2\""];
    comes_to(&replica, "tidings_streams", &labels, 2.0).await;
    drop(first);
    comes_to(&replica, "tidings_streams", &labels, 1.0).await;
    assert_eq!(
        value(&replica, "tidings_streams_opened_total", &labels).await,
        2.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_are_counted_by_their_way_and_outcome() {
    let replica = Replica::start(&["--max-event-bytes", "100"]).await;
    let key = [("idempotency-key", "k")];
    assert_eq!(post(&replica, "/feeds/a", &key, "1").await.status, 201);
    assert_eq!(post(&replica, "/feeds/a", &key, "1").await.status, 200);
    let batch = [("content-type", "application/x-ndjson")];
    let large = json!({"feed": "a", "data": "x".repeat(101)});
    let lines = format!("{{\"feed\":\"a\",\"data\":1}}\n{large}\n");
    post(&replica, "/feeds", &batch, lines).await;
    let mut client = Client::connect(&replica).await;
    client.publish("a", json!(1)).await;
    for (way, outcome, count) in [
        ("http", "stored", 1.0),
        ("http", "repeated", 1.0),
        ("batch", "stored", 1.0),
        ("batch", "invalid", 1.0),
        ("websocket", "stored", 1.0),
        ("websocket", "unknown", 0.0),
    ] {
        let labels = [format!("way=\"{way}\""), format!("outcome=\"{outcome}\"")];
        let labels = labels.each_ref().map(String::as_str);
        let found = value(&replica, "tidings_publishes_total", &labels).await;
        assert_eq!(found, count, "{labels:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_for_a_reason() {
    for shards in ["0", "1"] {
        let replica = Replica::start(&["--shards", shards]).await;
        let (gone, _) = Stream::open(&replica, "/feeds/a").await;
        drop(gone);
        let closed = "tidings_streams_closed_total";
        comes_to(&replica, closed, &["sse", "reason=\"client\""], 1.0).await;
        get(&replica, "/feeds/a", &[JSON]).await;
        comes_to(&replica, closed, &["poll", "reason=\"answered\""], 1.0).await;
        let mut client = Client::connect(&replica).await;
        client.send_binary(&json!("no object"), b"").await;
        comes_to(&replica, closed, &["websocket", "reason=\"refused\""], 1.0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_client_is_told_from_one_that_is_gone() {
    for shards in ["0", "1"] {
        let replica = Replica::start(&["--shards", shards, "--stall-timeout", "1"]).await;
        for version in ["1.0", "1.1"] {
            let request = format!("GET /feeds/a HTTP/{version}\r\nHost: localhost\r\n\r\n");
            let _unread = Raw::send(replica.address, &request).await;
            comes_to(&replica, "tidings_readers", &[], 1.0).await;
            let labels = ["sse", "reason=\"stalled\""];
            let closed = "tidings_streams_closed_total";
            let before = value(&replica, closed, &labels).await;
            within("the stall", async {
                while value(&replica, closed, &labels).await == before {
                    replica.publish("a", vec![b'x'; 500_000]).await;
                }
            })
            .await;
            comes_to(&replica, "tidings_readers", &[], 0.0).await;
        }
        assert_eq!(value(&replica, "tidings_stalled_total", &[]).await, 2.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_counted_once_for_each_reader_and_catching_up_by_where_from() {
    let replica = Replica::start(&["--window-events", "2"]).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(replica.publish("a", n.to_string()).await.to_string());
    }
    let (mut lost, _) = Stream::resume(&replica, "/feeds/a", "7-abcdef").await;
    lost.next().await.expect("the reset");
    comes_to(&replica, "tidings_resets_total", &[], 1.0).await;
    let log = value(&replica, "tidings_log_catch_ups_total", &[]).await;
    let (mut near, _) = Stream::resume(&replica, "/feeds/a", &ids[3]).await;
    near.next().await.expect("the last event");
    comes_to(&replica, "tidings_window_catch_ups_total", &[], 1.0).await;
    let (mut far, _) = Stream::resume(&replica, "/feeds/a", &ids[0]).await;
    far.next().await.expect("the second event");
    comes_to(&replica, "tidings_log_catch_ups_total", &[], log + 1.0).await;
    assert_eq!(value(&replica, "tidings_gaps_total", &[]).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_route_method_and_class() {
    let replica = Replica::start(&[]).await;
    for feed in ["a", "b.c"] {
        replica.publish(feed, "1").await;
    }
    get(&replica, "/feeds/a..b", &[]).await;
    get(&replica, "/nowhere", &[]).await;
    for (route, method, status, count) in [
        ("/feeds/{feed}", "POST", "2xx", 2.0),
        ("/feeds/{feed}", "GET", "4xx", 1.0),
        ("none", "GET", "4xx", 1.0),
    ] {
        let route = format!("route=\"{route}\"");
        let labels = [route.as_str(), method, status];
        let found = value(&replica, "tidings_http_requests_total", &labels).await;
        assert_eq!(found, count, "{labels:?}");
    }
}
