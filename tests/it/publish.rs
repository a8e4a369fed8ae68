//! `POST /feeds/{feed}`: what is stored, what is refused, and what the answer promises.

use crate::call::{Answer, get, post, problem};
use crate::raw::Raw;
use crate::replica::Replica;
use crate::sse::Stream;
use futures::future::join_all;
use std::collections::HashSet;
use tidings::event::Position;

fn id(answer: &Answer) -> Position {
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    id.parse().expect("an id")
}

/// All that is on the feed `a`, up to an event which is published now.
async fn on_a(replica: &Replica) -> Vec<String> {
    replica.publish("a", "end").await;
    let (mut stream, _) = Stream::open(replica, "/feeds/a?after=start").await;
    let mut data = Vec::new();
    loop {
        match stream.data(1).await.remove(0) {
            end if end == "end" => return data,
            other => data.push(other),
        }
    }
}

#[tokio::test]
async fn a_new_event_is_201_with_its_id_and_feed() {
    let replica = Replica::start(&[]).await;
    let answer = post(&replica, "/feeds/orders.%C3%BC", &[], "x").await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let expected = format!("{{\"id\":\"{}\",\"feed\":\"orders.ü\"}}\n", id(&answer));
    assert_eq!(answer.text, expected);
    assert_eq!(id(&answer).sequence(), 1);
}

#[tokio::test]
async fn what_was_answered_can_be_read_at_once() {
    let replica = Replica::start(&[]).await;
    let mut before = Position::START;
    for n in 0..50 {
        let id = replica.publish("a", n.to_string()).await;
        for query in [format!("after={before}"), "last=1".to_owned()] {
            let (mut stream, _) = Stream::open(&replica, &format!("/feeds/a?{query}")).await;
            let event = stream.event().await;
            assert_eq!((event.id, event.data), (id.to_string(), n.to_string()));
        }
        before = id;
    }
}

#[tokio::test]
async fn a_repeat_under_the_same_key_is_200_with_the_first_id() {
    let replica = Replica::start(&[]).await;
    let key = [("Idempotency-Key", "k 1")];
    let first = post(&replica, "/feeds/a", &key, "first").await;
    let again = post(&replica, "/feeds/a", &key, "again").await;
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.text, again.text);
    let other_feed = post(&replica, "/feeds/b", &key, "other").await;
    assert_eq!(other_feed.status, 201);
    let other_key = post(
        &replica,
        "/feeds/a",
        &[("Idempotency-Key", "k 2")],
        "second",
    )
    .await;
    assert_eq!(other_key.status, 201);
    assert_eq!(on_a(&replica).await, ["first", "second"]);
}

#[tokio::test]
async fn repeats_at_the_same_time_are_one_event() {
    let replica = Replica::start(&[]).await;
    let key = [("Idempotency-Key", "k")];
    let posts = (0..20).map(|n| post(&replica, "/feeds/a", &key, n.to_string()));
    let answers = join_all(posts).await;
    let new = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(new, 1);
    assert!(answers.iter().all(|answer| answer.status <= 201));
    let ids: HashSet<Position> = answers.iter().map(id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(on_a(&replica).await.len(), 1);
}

#[tokio::test]
async fn a_repeat_of_an_event_that_has_expired_is_200_with_an_id_to_go_on_from() {
    let replica = Replica::start(&["--memory-events", "2", "--window-events", "2"]).await;
    let key = [("Idempotency-Key", "k")];
    post(&replica, "/feeds/a", &key, "first").await;
    for n in 0..5 {
        replica.publish("a", n.to_string()).await;
    }
    let again = post(&replica, "/feeds/a", &key, "first").await;
    assert_eq!(again.status, 200, "{again:?}");
    let id = id(&again).to_string();
    let (mut stream, _) = Stream::resume(&replica, "/feeds/a", &id).await;
    assert_eq!(stream.event().await.kind, "hub:gap");
    assert_eq!(stream.data(2).await, ["3", "4"]);
}

#[tokio::test]
async fn data_is_taken_up_to_the_limit_and_not_a_byte_more() {
    let replica = Replica::start(&["--max-event-bytes", "10"]).await;
    assert_eq!(
        post(&replica, "/feeds/a", &[], "0123456789").await.status,
        201
    );
    let detail = post(&replica, "/feeds/a", &[], "0123456789a")
        .await
        .problem(413);
    assert!(detail.contains("at most 10 bytes"), "{detail}");
    let chunks = ["01234", "56789", "a"].map(Ok::<_, std::io::Error>);
    let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    post(&replica, "/feeds/a", &[], body).await.problem(413);
    assert_eq!(on_a(&replica).await, ["0123456789"]);
}

#[tokio::test]
async fn an_event_that_the_log_in_memory_could_not_keep_is_refused() {
    let replica = Replica::start(&["--memory-bytes", "2000"]).await;
    replica.publish("a", "small").await;
    let large = "x".repeat(2000);
    post(&replica, "/feeds/a", &[], large).await.problem(413);
    assert_eq!(on_a(&replica).await, ["small"]);
}

#[tokio::test]
async fn types_and_keys_that_could_forge_a_field_or_speak_as_the_hub_are_422() {
    let replica = Replica::start(&[]).await;
    let long_key = "k".repeat(1025);
    let long_type = "t".repeat(256);
    for (name, value) in [
        ("Event-Type", "hub:gap"),
        ("Event-Type", "hub:"),
        ("Event-Type", "error"),
        ("Event-Type", "open"),
        ("Event-Type", &long_type),
        ("Event-Key", &long_key),
        ("Idempotency-Key", ""),
        ("Idempotency-Key", &long_type),
        ("Idempotency-Key", "a\tb"),
        ("Content-Type", &long_type),
    ] {
        let answer = post(&replica, "/feeds/a", &[(name, value)], "x").await;
        answer.problem(422);
    }
    assert_eq!(on_a(&replica).await, [""; 0]);
}

#[tokio::test]
async fn a_line_end_in_a_header_never_gets_as_far_as_a_stream() {
    let replica = Replica::start(&[]).await;
    for value in ["a\rb", "a\nid: 9", "a\r\n\r\nb", "a\0b"] {
        let request = format!(
            "POST /feeds/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nEvent-Type: {value}\r\nContent-Length: 1\r\n\r\nx"
        );
        let mut raw = Raw::send(replica.address, &request).await;
        raw.rest().await;
    }
    let (mut stream, _) = Stream::open(&replica, "/feeds/a?after=start").await;
    replica.publish("a", "end").await;
    loop {
        let event = stream.event().await;
        assert!(["a", "message"].contains(&event.kind.as_str()), "{event:?}");
        if event.data == "end" {
            break;
        }
    }
}

#[tokio::test]
async fn a_pattern_or_a_bad_name_can_not_be_published_to() {
    let replica = Replica::start(&[]).await;
    for (path, hint) in [
        ("/feeds/a.*", "`*`"),
        ("/feeds/a.%3E", "`>`"),
        ("/feeds/a..b", "empty token"),
        ("/feeds/a%20b", "white space"),
        ("/feeds/%0A", "control"),
        ("/feeds/a%zz", "`%25`"),
        ("/feeds/a%FFb", "UTF-8"),
    ] {
        let detail = post(&replica, path, &[], "x").await.problem(400);
        assert!(detail.contains(hint), "{path}: {detail}");
    }
}

#[tokio::test]
async fn where_too_many_are_under_way_it_is_503_and_nothing_was_stored() {
    let replica = Replica::start(&["--max-publishes", "0"]).await;
    let answer = post(&replica, "/feeds/a", &[], "x").await;
    assert!(answer.problem(503).contains("nothing was stored"));
    assert_eq!(answer.header("retry-after"), Some("2"));
    let metrics = get(&replica, "/metrics", &[]).await;
    assert!(metrics.text.contains("\ntidings_head_sequence 0\n"));
}

/// The detail of a raw answer that is a problem with this status.
async fn raw_problem(raw: &mut Raw, status: u16) -> String {
    let head = raw.head().await;
    assert_eq!(head.field("connection"), Some("close"));
    assert!(head.status.contains(&format!(" {status} ")), "{head:?}");
    assert_eq!(head.field("content-type"), Some("application/problem+json"));
    problem(&serde_json::from_slice(&raw.rest().await).unwrap(), status)
}

#[tokio::test]
async fn a_body_in_a_coding_that_is_not_read_is_501() {
    let replica = Replica::start(&[]).await;
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n"
        )
    };
    let body = "\r\n1\r\nx\r\n0\r\n\r\n";
    for path in ["/feeds/a", "/feeds"] {
        for coding in [
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
        ] {
            let request = format!("{}{coding}{body}", head(path));
            let mut raw = Raw::send(replica.address, &request).await;
            let detail = raw_problem(&mut raw, 501).await;
            assert!(detail.contains("`chunked`"), "{detail}");
        }
    }
    let request = format!("{}Transfer-Encoding: Chunked\r\n{body}", head("/feeds/a"));
    let mut raw = Raw::send(replica.address, &request).await;
    assert_eq!(raw.head().await.status, "HTTP/1.1 201 Created");
    assert_eq!(on_a(&replica).await, ["x"]);
}

#[tokio::test]
async fn a_body_in_a_content_coding_is_415() {
    let replica = Replica::start(&[]).await;
    let ndjson = ("content-type", "application/x-ndjson");
    for path in ["/feeds/a", "/feeds"] {
        for coding in ["gzip", "identity, br"] {
            let headers = [ndjson, ("content-encoding", coding)];
            let answer = post(&replica, path, &headers, "x").await;
            assert!(answer.problem(415).contains("`Content-Encoding`"));
        }
    }
    let plain = [("content-encoding", "identity")];
    assert_eq!(post(&replica, "/feeds/a", &plain, "x").await.status, 201);
    assert_eq!(on_a(&replica).await, ["x"]);
}

#[tokio::test]
async fn a_body_that_is_not_sent_in_time_is_408_and_the_end_of_the_connection() {
    let replica = Replica::start(&["--body-timeout", "1"]).await;
    for path in ["/feeds/a", "/feeds"] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 4\r\n\r\n12"
        );
        let mut raw = Raw::send(replica.address, &request).await;
        let detail = raw_problem(&mut raw, 408).await;
        assert!(detail.contains("within 1 s,"), "{detail}");
    }
    assert_eq!(on_a(&replica).await, [""; 0]);
}
