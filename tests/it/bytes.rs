//! A stream is what the standard and the design say, byte for byte.

use crate::raw::Raw;
use crate::replica::Replica;
use crate::sse::Stream;
use serde_json::{Value, json};

/// A stream over HTTP/1.1, its head and first block read.
async fn open(replica: &Replica, path: &str) -> Raw {
    let mut raw = Raw::get(replica, path).await;
    assert_eq!(raw.head().await.status, "HTTP/1.1 200 OK");
    raw.body_until("\n\n").await;
    raw
}

async fn post(replica: &Replica, kind: &str, data: impl Into<reqwest::Body>) -> String {
    let headers = [("Event-Type", kind)];
    let answer = crate::call::post(replica, "/feeds/a", &headers, data).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// The milliseconds of a first block, which is this and nothing else.
fn retry_of_opening(block: &str, id: &str) -> u32 {
    let rest = format!("\nevent: hub:position\nid: {id}\ndata: {{}}\n\n");
    let retry = block
        .strip_prefix("retry: ")
        .and_then(|block| block.strip_suffix(&rest));
    retry
        .unwrap_or_else(|| panic!("{block:?}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn the_head_says_what_proxies_and_browsers_have_to_know() {
    let replica = Replica::start(&[]).await;
    let mut raw = Raw::get(&replica, "/feeds/a").await;
    let head = raw.head().await;
    assert_eq!(head.status, "HTTP/1.1 200 OK");
    let fields: Vec<(&str, &str)> = head
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let expected = [
        ("cache-control", "no-store, no-transform"),
        ("content-type", "text/event-stream"),
        ("transfer-encoding", "chunked"),
        ("vary", "Origin"),
        ("x-accel-buffering", "no"),
    ];
    assert_eq!(fields, expected);
}

#[tokio::test]
async fn the_first_block_is_when_and_where_to_come_back_and_differs_from_client_to_client() {
    let replica = Replica::start(&["--retry", "100000"]).await;
    let id = replica.publish("a", "x").await.to_string();
    let mut retries = Vec::new();
    for _ in 0..5 {
        let mut raw = Raw::get(&replica, "/feeds/a").await;
        raw.head().await;
        retries.push(retry_of_opening(&raw.body_until("\n\n").await, &id));
    }
    assert!(
        retries
            .iter()
            .all(|retry| (50_000..=150_000).contains(retry)),
        "{retries:?}"
    );
    assert!(
        retries.iter().any(|retry| *retry != retries[0]),
        "{retries:?}"
    );
}

#[tokio::test]
async fn no_data_can_forge_a_field_or_end_a_block() {
    let replica = Replica::start(&[]).await;
    let mut raw = open(&replica, "/feeds/a").await;
    for (data, lines) in [
        ("plain", &["plain"][..]),
        ("", &[""]),
        ("\n", &["", ""]),
        ("\r\n\r\n", &["", "", ""]),
        ("a\rb\nc\r\nd\n\re", &["a", "b", "c", "d", "", "e"]),
        (
            "x\n\nid: 9-aaaaaa\nevent: hub:gap\ndata: {}\n\n",
            &[
                "x",
                "",
                "id: 9-aaaaaa",
                "event: hub:gap",
                "data: {}",
                "",
                "",
            ],
        ),
        ("retry: 1", &["retry: 1"]),
        (":", &[":"]),
        (" leading and trailing ", &[" leading and trailing "]),
        ("\u{feff}bom", &["\u{feff}bom"]),
        (
            "nul\0, \u{b} and \u{2028} and \u{85} are no line ends",
            &["nul\0, \u{b} and \u{2028} and \u{85} are no line ends"],
        ),
        ("öäü 😀", &["öäü 😀"]),
    ] {
        let id = replica.publish("a", data).await;
        let lines: String = lines.iter().map(|line| format!("data: {line}\n")).collect();
        assert_eq!(
            raw.body_until("\n\n").await,
            format!("id: {id}\n{lines}\n"),
            "{data:?}"
        );
    }
}

#[tokio::test]
async fn a_type_is_named_unless_it_is_message() {
    let replica = Replica::start(&[]).await;
    let mut raw = open(&replica, "/feeds/a").await;
    for kind in [
        "created",
        "order.created/v1",
        "änderung 😀",
        "Hub:x",
        "a: b",
    ] {
        let id = post(&replica, kind, "x").await;
        let expected = format!("event: {kind}\nid: {id}\ndata: x\n\n");
        assert_eq!(raw.body_until("\n\n").await, expected);
    }
    for kind in ["message", ""] {
        let id = post(&replica, kind, "x").await;
        assert_eq!(
            raw.body_until("\n\n").await,
            format!("id: {id}\ndata: x\n\n")
        );
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_base64() {
    let replica = Replica::start(&[]).await;
    let mut raw = open(&replica, "/feeds/a").await;
    let id = replica.publish("a", vec![0xff, 0x0a, 0x00]).await;
    assert_eq!(
        raw.body_until("\n\n").await,
        format!("id: {id}\ndata: /woA\n\n")
    );
}

#[tokio::test]
async fn an_envelope_is_one_line_of_data_without_a_type() {
    let replica = Replica::start(&[]).await;
    let mut raw = open(&replica, "/feeds?feed=a&envelope=1").await;
    let id = post(&replica, "created", "{\"n\":\r\n1}\n").await;
    let block = raw.body_until("\n\n").await;
    let start = format!(
        "id: {id}\ndata: {{\"id\":\"{id}\",\"feed\":\"a\",\"type\":\"created\",\"time\":\""
    );
    assert!(block.starts_with(&start), "{block:?}");
    assert!(
        block.ends_with("Z\",\"data\":{\"n\":  1}}\n\n"),
        "{block:?}"
    );
}

#[tokio::test]
async fn data_that_a_strict_parser_would_not_take_as_json_is_a_string_in_an_envelope() {
    let replica = Replica::start(&[]).await;
    let (mut stream, _) = Stream::open(&replica, "/feeds/a?envelope=1").await;
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    for data in [nested(128), r#""\ud800""#.into(), "1e999".into()] {
        replica.publish("a", data.clone()).await;
        let envelope: Value = serde_json::from_str(&stream.data(1).await[0]).unwrap();
        assert_eq!(envelope["data"], data);
    }
    replica.publish("a", nested(127)).await;
    let envelope = stream.data(1).await.remove(0);
    assert!(envelope.ends_with(&format!(",\"data\":{}}}", nested(127))));
}

#[tokio::test]
async fn in_an_envelope_what_the_hub_says_keeps_its_type() {
    let replica = Replica::start(&[]).await;
    replica.publish("a", "x").await;
    let mut raw = open(&replica, "/feeds/a?after=nonsense&envelope=1").await;
    assert_eq!(
        raw.body_until("\n\n").await,
        "event: hub:reset\nid: 0-0\ndata: {}\n\n"
    );
    let event = raw.body_until("\n\n").await;
    let data = event.split_once("\ndata: ").unwrap().1;
    let envelope: Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        (&envelope["type"], &envelope["data"]),
        (&json!("message"), &json!("x"))
    );
}

#[tokio::test]
async fn a_silent_stream_shows_a_sign_of_life_and_a_quiet_feed_moves_its_position() {
    let replica = Replica::start(&["--heartbeat", "1"]).await;
    let mut raw = open(&replica, "/feeds/a").await;
    assert_eq!(raw.body_until("\n").await, ":\n");
    replica.publish("b", "elsewhere").await;
    let id = replica.publish("b", "elsewhere").await;
    // A sign of life may have been on its way when that was published.
    let mut block = raw.body_until("\n").await;
    while block == ":\n" {
        block = raw.body_until("\n").await;
    }
    block += &raw.body_until("\n\n").await;
    assert_eq!(
        block,
        format!("event: hub:position\nid: {id}\ndata: {{}}\n\n")
    );
    assert_eq!(raw.body_until("\n").await, ":\n");
    let id = replica.publish("a", "here").await;
    assert_eq!(
        raw.body_until("\n\n").await.trim_start_matches(":\n"),
        format!("id: {id}\ndata: here\n\n")
    );
}

#[tokio::test]
async fn over_http_1_0_the_end_of_the_connection_ends_the_stream() {
    let replica = Replica::start(&[]).await;
    for request in [
        "GET /feeds/a HTTP/1.0\r\n\r\n",
        "GET /feeds/a HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
    ] {
        let mut raw = Raw::send(replica.address, request).await;
        let head = raw.head().await;
        assert!(head.status.ends_with(" 200 OK"), "{head:?}");
        assert_eq!(head.field("transfer-encoding"), None);
        assert_eq!(head.field("content-length"), None);
        assert_eq!(head.field("connection"), None);
        assert_eq!(head.field("content-type"), Some("text/event-stream"));
        let opening = String::from_utf8(raw.until(b"\n\n").await).unwrap();
        assert!(opening.starts_with("retry: "), "{opening:?}");
        let id = replica.publish("a", "x").await;
        let event = raw.until(b"\n\n").await;
        assert_eq!(
            String::from_utf8(event).unwrap(),
            format!("id: {id}\ndata: x\n\n")
        );
    }
    let request = "GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let mut raw = Raw::send(replica.address, request).await;
    assert_eq!(raw.head().await.field("connection"), Some("keep-alive"));
    let mut raw = Raw::send(replica.address, "GET /feeds/a HTTP/1.0\r\n\r\n").await;
    raw.head().await;
    replica.stop().await;
    let rest = String::from_utf8(raw.rest().await).unwrap();
    assert!(
        rest.ends_with("data: {\"reason\":\"drain\"}\n\n"),
        "{rest:?}"
    );
}

#[tokio::test]
async fn over_http_2_many_streams_share_a_connection() {
    let replica = Replica::start(&[]).await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let mut streams = Vec::new();
    for n in 0..20 {
        let request = client.get(replica.url(&format!("/feeds?feed=all&feed=one.{n}")));
        let (stream, _) = Stream::begin(request).await;
        assert_eq!(stream.response().version(), reqwest::Version::HTTP_2);
        assert_eq!(
            stream.response().headers()["content-type"],
            "text/event-stream"
        );
        streams.push(stream);
    }
    replica.publish("all", "for all").await;
    for n in 0..20 {
        replica.publish(&format!("one.{n}"), n.to_string()).await;
    }
    for (n, stream) in streams.iter_mut().enumerate() {
        assert_eq!(stream.data(2).await, ["for all".to_owned(), n.to_string()]);
    }
    replica.stop().await;
    for stream in &mut streams {
        assert_eq!(stream.event().await.kind, "hub:closing");
        assert_eq!(stream.next().await, None);
    }
}
